//! What is to be proved, as files for yosys.
//!
//! ```text
//!   free inputs --> checker [ block under test ] --> ok     assert
//!                       |                   `------> fits   assume
//!                       `-- named registers --> invariant --> ok   assert (induction only)
//! ```
//! From reset alone a model checker looks a number of clocks far ("bounded"). For all time it needs induction: if it
//! held for k clocks, it holds in the next. That fails from states which are never reached, so an *invariant* says more
//! about the state: a second block, its inputs wired to registers deep inside (yosys makes them outputs).

use chimney_hdl_kernel::core::prelude::Block;
use chimney_hdl_kernel::{ports, verilog, ElabError, Port};
use std::fmt::Write as _;

/// Why a proof could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The checker cannot become Verilog.
    #[error("{name}: {source}")]
    Elab {
        /// Of which proof.
        name: String,
        /// What is wrong.
        source: ElabError,
    },
    /// The text to be broken is not in the Verilog, or more than once.
    #[error("{name}: `{from}` stands {times} times in the Verilog, so it cannot be broken there")]
    Mutation {
        /// Of which proof.
        name: String,
        /// The text.
        from: String,
        /// How often it is there.
        times: usize,
    },
}

/// A copy of the block that is wrong on purpose; the proof must fail on it.
#[derive(Clone, Debug)]
pub struct Mutation {
    /// What is wrong with it.
    pub about: &'static str,
    /// A piece of the block's Verilog.
    pub from: &'static str,
    /// What stands there instead.
    pub to: &'static str,
}

/// One proof.
#[derive(Clone, Debug)]
pub struct Proof {
    /// Its name, also that of its files.
    pub name: &'static str,
    /// What it says, as a sentence.
    pub about: &'static str,
    /// Clocks from reset that are looked at.
    pub depth: usize,
    /// Clocks of the induction, if there is one.
    pub induction: Option<usize>,
    /// Copies on which it must fail.
    pub mutations: Vec<Mutation>,
    verilog: String,
    ports: Vec<Port>,
    invariant: Option<Invariant>,
}

#[derive(Clone, Debug)]
struct Invariant {
    verilog: String,
    wires: Vec<(String, usize, String)>,
}

/// The module that yosys sees as the checker.
const CHECKER: &str = "checker_block";
/// The invariant.
const INVARIANT: &str = "invariant_block";

impl Proof {
    /// A proof that `checker` always says `ok`: one step of it, when it holds no state.
    ///
    /// # Errors
    /// The checker is no hardware.
    pub fn new<B: Block>(name: &'static str, about: &'static str, checker: B) -> Result<Proof, Error> {
        let verilog =
            verilog(&checker, CHECKER).map_err(|source| Error::Elab { name: name.into(), source })?;
        let ports = ports(&checker);
        Ok(Proof {
            name,
            about,
            depth: 1,
            induction: None,
            mutations: vec![],
            verilog,
            ports,
            invariant: None,
        })
    }

    /// From reset over `depth` clocks.
    #[must_use]
    pub fn clocks(self, depth: usize) -> Proof {
        Proof { depth, ..self }
    }

    /// Also for all time, by induction over `k` clocks.
    #[must_use]
    pub fn induction(self, k: usize) -> Proof {
        Proof { induction: Some(k), ..self }
    }

    /// What else is true of the registers: each input of `block` and the path of the register it is wired to.
    ///
    /// # Errors
    /// The block is no hardware.
    ///
    /// # Panics
    /// A wire names no input.
    pub fn invariant<B: Block>(self, block: B, wires: &[(&str, &str)]) -> Result<Proof, Error> {
        let text =
            verilog(&block, INVARIANT).map_err(|source| Error::Elab { name: self.name.into(), source })?;
        let width = |port: &str| ports(&block).iter().find(|p| p.name == port).map(|p| p.bits);
        let wires = wires
            .iter()
            .map(|(port, path)| ((*port).into(), width(port).expect("a wire names an input"), (*path).into()))
            .collect();
        Ok(Proof { invariant: Some(Invariant { verilog: text, wires }), ..self })
    }

    /// A copy on which it must fail.
    #[must_use]
    pub fn fails_if(mut self, about: &'static str, from: &'static str, to: &'static str) -> Proof {
        self.mutations.push(Mutation { about, from, to });
        self
    }

    /// The checker's Verilog, broken if asked for.
    ///
    /// # Errors
    /// The text to be broken is not there exactly once.
    pub fn checker(&self, mutation: Option<&Mutation>) -> Result<String, Error> {
        let Some(m) = mutation else { return Ok(self.verilog.clone()) };
        let times = self.verilog.matches(m.from).count();
        if times != 1 {
            return Err(Error::Mutation { name: self.name.into(), from: m.from.into(), times });
        }
        Ok(self.verilog.replace(m.from, m.to))
    }

    /// The module around the checker (and around the invariant) that has the assertions.
    pub fn wrapper(&self, with_invariant: bool) -> String {
        let inputs: Vec<&Port> = self.ports.iter().filter(|p| p.input).collect();
        let has = |name: &str| self.ports.iter().any(|p| p.name == name);
        let names: Vec<String> = inputs.iter().map(|p| p.name.replace('$', "_")).collect();
        let mut text = format!("module proof({});\n", names.join(", "));
        for (p, name) in inputs.iter().zip(&names) {
            let _ = writeln!(text, "input wire {}{name};", range(p.bits));
        }
        let mut wired: Vec<String> =
            inputs.iter().zip(&names).map(|(p, name)| format!(".\\{} ({name})", p.name)).collect();
        wired.push(".ok(ok)".into());
        text += "wire ok;\n";
        if has("fits") {
            text += "wire fits;\n";
            wired.push(".fits(fits)".into());
        }
        let invariant = self.invariant.as_ref().filter(|_| with_invariant);
        let mut around = String::new();
        if let Some(inv) = invariant {
            let ports: Vec<String> =
                inv.wires.iter().map(|(port, ..)| format!(".{port}(i_{port})")).collect();
            for (port, bits, path) in &inv.wires {
                let _ = writeln!(text, "wire {}i_{port};", range(*bits));
                wired.push(format!(".\\{path} (i_{port})"));
            }
            let _ = writeln!(around, "wire holds;\n{INVARIANT} invariant({}, .ok(holds));", ports.join(", "));
        }
        let _ = writeln!(text, "{CHECKER} checker_({});\n{around}", wired.join(", "));
        let when = if has("clock") { "posedge clock" } else { "*" };
        let _ = writeln!(text, "always @({when}) begin");
        let lines =
            [(has("fits"), "assume(fits);"), (true, "assert(ok);"), (invariant.is_some(), "assert(holds);")];
        for line in lines.iter().filter(|l| l.0) {
            let _ = writeln!(text, "    {}", line.1);
        }
        text + "end\nendmodule\n"
    }

    /// What yosys does: `file`.v and `file`_proof.v become `file`.smt2.
    pub fn script(&self, file: &str, with_invariant: bool) -> String {
        // Words of memories become registers: they have names then, and the solver is faster without arrays.
        let mut text = format!("read_verilog {file}.v\nhierarchy -top {CHECKER}\nproc\nflatten\nopt_clean\n");
        text += "memory_dff\nmemory_collect\nmemory_map\nopt_clean\n";
        if let Some(inv) = self.invariant.as_ref().filter(|_| with_invariant) {
            for (.., path) in &inv.wires {
                let _ = writeln!(text, "expose w:{}", glob(path));
            }
            let _ = writeln!(text, "read_verilog {file}_invariant.v");
        }
        text + &format!(
            "read_verilog -formal {file}_proof.v\nprep -flatten -top proof\nasync2sync\ndffunmap\nwrite_smt2 -wires {file}.smt2\n"
        )
    }

    /// The invariant's Verilog, if there is one.
    pub fn invariant_verilog(&self) -> Option<&str> {
        self.invariant.as_ref().map(|i| i.verilog.as_str())
    }
}

fn range(bits: usize) -> String {
    if bits > 1 {
        format!("[{}:0] ", bits - 1)
    } else {
        String::new()
    }
}

/// A name as yosys selects it: brackets would be a pattern.
fn glob(path: &str) -> String {
    path.replace(['[', ']'], "?")
}
