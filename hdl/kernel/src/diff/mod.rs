//! The differential harness: a block under native simulation and the same block Verilated get the same random inputs;
//! all outputs of all steps must agree, and every output must change.
//!
//! ```ignore
//! diff("adder", Adder::default(), 20_000, |u, r| { u.s_valid.next = r.any(); u.s_word.next = r.any(); },
//!      |u, clk| u.clock.next = clk.into());
//! ```
//!
//! A step: clock low, inputs set, everything settles, outputs are compared; then the rising edge. The stimulus may look
//! at the block (it sees the outputs before the new inputs), so that it can keep to a protocol. Models are cached by
//! content under `target/verilated`; names must be unique within a workspace. [`Bench`] is the native side alone, [`Verilated`]
//! the other one alone, for tests that need many clocks. A failure prints the seed, which
//! `CHIMNEY_SEED` replays, and the Verilog file.

mod bench;
mod model;
#[doc(hidden)]
pub mod ops;
mod rnd;
pub(crate) mod tools;
mod verilated;

pub use bench::{Bench, Clocked};
pub use rnd::{Rnd, SEED_VAR};
pub use tools::Error;
#[doc(hidden)]
pub use verilated::{put, take, Pin};
pub use verilated::{Pins, Verilated};

use crate::netlist::{ports, synthesis, verilog, Port};
use model::{words, Model};
use rust_hdl_core::prelude::{Atom, AtomKind, Block, Probe};
use std::collections::HashSet;

/// True when the long counts of random tests are wanted (`CHIMNEY_LONG=1`).
pub fn long() -> bool {
    std::env::var("CHIMNEY_LONG").is_ok_and(|v| v == "1")
}

/// Compares a block with its Verilog over `steps` clocks.
///
/// # Panics
/// On the first difference, on an output that never changes, or when the block cannot become a model.
pub fn diff<B: Block>(
    name: &str,
    block: B,
    steps: usize,
    poke: impl FnMut(&mut B, &mut Rnd),
    clock: impl FnMut(&mut B, bool),
) {
    Diff::new(name, steps).run(block, poke, clock);
}

/// A comparison with options.
#[derive(Clone, Debug)]
pub struct Diff {
    name: String,
    steps: usize,
    constant: Vec<String>,
    quick: bool,
    nets: bool,
}

/// What one run found out.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Differences, in words; at most a few.
    pub differences: Vec<String>,
    /// Outputs that never changed and were not expected to be constant.
    pub stuck: Vec<String>,
}

impl Diff {
    /// A comparison of `steps` clocks; `name` is also the name of the Verilog module.
    pub fn new(name: &str, steps: usize) -> Self {
        Diff { name: name.into(), steps, constant: vec![], quick: false, nets: false }
    }

    /// The output `port` (bundle fields joined by `$`) is constant on purpose.
    pub fn constant(mut self, port: &str) -> Self {
        self.constant.push(port.into());
        self
    }

    /// Compiles the model without optimisation: right for few steps of a large block.
    pub fn quick(mut self) -> Self {
        self.quick = true;
        self
    }

    /// Takes the form of the Verilog that is meant for synthesis.
    pub fn nets(mut self) -> Self {
        self.nets = true;
        self
    }

    /// Compares.
    ///
    /// # Panics
    /// On the first difference, on an output that never changes, or when the block cannot become a model.
    pub fn run<B: Block>(
        &self,
        block: B,
        poke: impl FnMut(&mut B, &mut Rnd),
        clock: impl FnMut(&mut B, bool),
    ) {
        self.judge(self.outcome(block, poke, clock));
    }

    /// Compares, and shows the block to `see` in every step when its outputs have settled: a test sees what the outputs
    /// say to the inputs of the same step.
    ///
    /// # Panics
    /// On the first difference, on an output that never changes, or when the block cannot become a model.
    pub fn run_seen<B: Block>(
        &self,
        block: B,
        poke: impl FnMut(&mut B, &mut Rnd),
        see: impl FnMut(&B),
        clock: impl FnMut(&mut B, bool),
    ) {
        self.judge(self.compared(block, poke, see, clock));
    }

    fn judge(&self, o: Result<Outcome, Error>) {
        let o = match o {
            Ok(o) => o,
            Err(e) => panic!("{}: {e}", self.name),
        };
        assert!(
            o.differences.is_empty(),
            "{}: native and Verilated differ\n{}",
            self.name,
            o.differences.join("\n")
        );
        assert!(o.stuck.is_empty(), "{}: outputs that never changed: {}", self.name, o.stuck.join(" "));
    }

    /// Compares and reports, without judging.
    ///
    /// # Errors
    /// When the block cannot become Verilog, or a tool fails.
    pub fn outcome<B: Block>(
        &self,
        block: B,
        poke: impl FnMut(&mut B, &mut Rnd),
        clock: impl FnMut(&mut B, bool),
    ) -> Result<Outcome, Error> {
        self.compared(block, poke, |_| {}, clock)
    }

    fn compared<B: Block>(
        &self,
        block: B,
        mut poke: impl FnMut(&mut B, &mut Rnd),
        mut see: impl FnMut(&B),
        clock: impl FnMut(&mut B, bool),
    ) -> Result<Outcome, Error> {
        let text = if self.nets { synthesis(&block, &self.name) } else { verilog(&block, &self.name) }
            .map_err(|e| Error::Tool { what: "elaboration".into(), log: e.to_string() })?;
        let ports = ports(&block);
        let clocks = clock_ports(&block);
        let mut rnd = Rnd::new(Rnd::seed_for(&self.name));
        let (mut stimuli, mut expected) = (vec![], vec![]);
        let pins = (ports.as_slice(), clocks.as_slice());
        let model = std::thread::scope(|scope| {
            // The native side does not wait for the C++ compiler.
            let model = scope.spawn(|| Model::build(&self.name, &text, pins, self.quick));
            let mut bench = Bench::new(block, clock);
            for _ in 0..self.steps {
                bench.settle(|u| poke(u, &mut rnd));
                see(&bench.u);
                let (i, o) = sample(&*bench.u, &clocks);
                stimuli.push(i);
                expected.push(o);
                bench.edge();
            }
            model.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })?;
        let got = model.simulate(&stimuli)?;
        let mut o = compare(&ports, &clocks, &stimuli, &expected, &got);
        o.stuck.retain(|p| !self.constant.contains(p));
        if !o.differences.is_empty() {
            o.differences.push(format!("see {}", model.verilog.display()));
        }
        Ok(o)
    }
}

/// Differences shown in full.
const SHOWN: usize = 5;

fn compare(
    ports: &[Port],
    clocks: &[String],
    stimuli: &[Vec<u32>],
    expected: &[Vec<u32>],
    got: &[u32],
) -> Outcome {
    let outs: Vec<&Port> = ports.iter().filter(|p| !p.input).collect();
    let ins: Vec<&Port> = ports.iter().filter(|p| p.input && !clocks.contains(&p.name)).collect();
    let per_step: usize = outs.iter().map(|p| words(p)).sum();
    let mut r = Outcome::default();
    if got.len() != per_step * expected.len() {
        r.differences.push(format!(
            "the model gave {} words, expected {}",
            got.len(),
            per_step * expected.len()
        ));
        return r;
    }
    let mut seen = vec![HashSet::new(); outs.len()];
    for (step, e) in expected.iter().enumerate() {
        let mut at = 0;
        for (k, p) in outs.iter().enumerate() {
            let w = words(p);
            let native = &e[at..at + w];
            let other = &got[step * per_step + at..step * per_step + at + w];
            at += w;
            seen[k].insert(native);
            if native != other {
                if r.differences.is_empty() {
                    r.differences.push(format!("step {step} inputs:{}", named(&ins, &stimuli[step])));
                }
                if r.differences.len() <= SHOWN {
                    let (n, v) = (hex(native), hex(other));
                    r.differences.push(format!("step {step} port {}: native {n} Verilated {v}", p.name));
                }
            }
        }
    }
    let still = |k: &usize| seen[*k].len() < 2 && !expected.is_empty();
    r.stuck = (0..outs.len()).filter(still).map(|k| outs[k].name.clone()).collect();
    r
}

fn named(ports: &[&Port], record: &[u32]) -> String {
    let mut at = 0;
    let mut text = String::new();
    for p in ports {
        text += &format!(" {}={}", p.name, hex(&record[at..at + words(p)]));
        at += words(p);
    }
    text
}

fn hex(w: &[u32]) -> String {
    w.iter().rev().map(|x| format!("{x:08x}")).collect::<Vec<_>>().join("_")
}

/// Collects the values of the ports of the outermost block.
struct Sampler<'a> {
    clocks: &'a [String],
    depth: usize,
    ns: Vec<String>,
    ins: Vec<u32>,
    outs: Vec<u32>,
    clock_names: Vec<String>,
}

impl Probe for Sampler<'_> {
    fn visit_start_scope(&mut self, _: &str, _: &dyn Block) {
        self.depth += 1;
    }
    fn visit_start_namespace(&mut self, n: &str, _: &dyn Block) {
        self.ns.push(n.into());
    }
    fn visit_atom(&mut self, n: &str, a: &dyn Atom) {
        if self.depth != 1 || !matches!(a.kind(), AtomKind::InputParameter | AtomKind::OutputParameter) {
            return;
        }
        let name = self.ns.iter().map(String::as_str).chain([n]).collect::<Vec<_>>().join("$");
        if a.descriptor().name == "clock" && a.kind() == AtomKind::InputParameter {
            self.clock_names.push(name.clone());
        }
        if self.clocks.contains(&name) {
            return;
        }
        let text = format!("{:x}", a.verilog());
        let digits = text.split_once("'h").map_or("0", |t| t.1);
        let to = if a.kind() == AtomKind::InputParameter { &mut self.ins } else { &mut self.outs };
        for k in 0..a.bits().div_ceil(32) {
            let end = digits.len().saturating_sub(8 * k);
            let start = end.saturating_sub(8);
            to.push(u32::from_str_radix(&digits[start..end], 16).unwrap_or(0));
        }
    }
    fn visit_end_namespace(&mut self, _: &str, _: &dyn Block) {
        self.ns.pop();
    }
    fn visit_end_scope(&mut self, _: &str, _: &dyn Block) {
        self.depth -= 1;
    }
}

fn probe<B: Block>(u: &B, clocks: &[String]) -> (Vec<u32>, Vec<u32>, Vec<String>) {
    let mut s = Sampler { clocks, depth: 0, ns: vec![], ins: vec![], outs: vec![], clock_names: vec![] };
    u.accept("top", &mut s);
    (s.ins, s.outs, s.clock_names)
}

fn sample<B: Block>(u: &B, clocks: &[String]) -> (Vec<u32>, Vec<u32>) {
    let (i, o, _) = probe(u, clocks);
    (i, o)
}

fn clock_ports<B: Block>(u: &B) -> Vec<String> {
    probe(u, &[]).2
}
