//! `cargo xtask fpga`: does the core fit, and how fast is it?
//!
//! | module | subject |
//! |---|---|
//! | [`part`] | the parts of the gate, and what they hold |
//! | [`flow`] | export, yosys, nextpnr, each with its log and its progress |
//! | [`cells`] | what yosys made, counted in the units of a data sheet |
//! | [`pieces`] | the core cut into pieces, for a synthesis that takes minutes |
//! | [`size`] | the limits of the core's size, a step of `cargo xtask test` |
//! | [`kept`] | committed reports of place and route |
//! | [`report`] | the table and the JSON |
//!
//! The core is placed alone, on four pins (`hdl/src/pins.rs` says why). Everything lies in `target/fpga`.

mod cells;
mod flow;
mod kept;
mod part;
mod pieces;
mod report;
mod size;

use std::process::ExitCode;

use anyhow::{ensure, Result};

use self::flow::Flow;
use self::part::Part;
use self::report::Row;
use crate::wheel;

/// Options of `cargo xtask fpga`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// The core, out of context; `target/fpga/core.json` and a table
    Core(Core),
    /// Is the core within its limits? Synthesis in pieces, on all processors
    Size,
    /// Do the committed reports of place and route belong to the RTL as it stands?
    Reports,
}

/// Options of `cargo xtask fpga core`.
#[derive(clap::Args)]
struct Core {
    /// Stop after synthesis: sizes, no clock
    #[arg(long)]
    synth_only: bool,
    /// Only this part, 45F or 85F (may be given twice)
    #[arg(long, value_name = "PART")]
    part: Vec<String>,
    /// Print the JSON in place of the table
    #[arg(long)]
    json: bool,
    /// Synthesis only, each block for itself: which one is how large
    #[arg(long)]
    blocks: bool,
    /// Keep what place and route finds in constraints/reports
    #[arg(long)]
    keep: bool,
    /// Another placement
    #[arg(long, default_value_t = 1)]
    seed: u32,
}

/// Runs it.
///
/// # Errors
/// One line: a tool is missing and cannot be installed, a step failed, an unknown part.
pub fn run(args: &Args) -> Result<ExitCode> {
    match &args.what {
        What::Core(args) => core(args),
        What::Size => size::run(),
        What::Reports => kept::check(),
    }
}

fn core(args: &Core) -> Result<ExitCode> {
    let parts = part::chosen(&args.part)?;
    let tools = wheel::FPGA.install()?;
    let steps = 1 + parts.len() * if args.synth_only || args.blocks { 1 } else { 2 };
    let mut flow = Flow::new(tools, steps)?;
    flow.export(&parts)?;
    let rows = parts.iter().map(|part| row(&mut flow, part, args)).collect::<Result<Vec<_>>>()?;
    let path = report::write(&rows)?;
    if args.json {
        println!("{}", report::json(&rows));
    } else {
        print!("{}", report::table(&rows));
        println!("{}", path.display());
    }
    if args.keep {
        kept::keep(rows)?.iter().for_each(|path| println!("{}", path.display()));
    }
    Ok(ExitCode::SUCCESS)
}

fn row(flow: &mut Flow, part: &'static Part, args: &Core) -> Result<Row> {
    let synthesis = flow.synthesize(part, args.blocks)?;
    let placement = match args.synth_only || args.blocks {
        true => None,
        false => Some(flow.place(part, args.seed)?),
    };
    ensure!(synthesis.core.lut > 0, "{}: yosys left nothing of the core", part.name);
    Ok(Row { part, synthesis, placement })
}
