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
//!
//! yosys reads the blocks in the form that synthesis does, a net for each value: the other takes it ten times as long. A value that
//! changes on its way has a net for each version, `name$v7`, a condition is `n$8`; a broken copy is told without these numbers.

use chimney_hdl_kernel::core::prelude::Block;
use chimney_hdl_kernel::{ports, synthesis, ElabError, Port};
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
    /// The case in which the proof must fail, if it has cases.
    pub case: Option<u64>,
}

/// An input whose values are looked at one by one.
#[derive(Clone, Debug)]
struct Cases {
    port: Port,
    count: u64,
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
    cases: Option<Cases>,
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
/// The input that has one value in each case.
const CASE: &str = "the_case";

/// The file that holds the formula of a case.
pub fn formula(file: &str, case: Option<u64>) -> String {
    case.map_or(format!("{file}.smt2"), |n| format!("{file}_case{n}.smt2"))
}

impl Proof {
    /// A proof that `checker` always says `ok`: one step of it, when it holds no state.
    ///
    /// # Errors
    /// The checker is no hardware.
    pub fn new<B: Block>(name: &'static str, about: &'static str, checker: B) -> Result<Proof, Error> {
        let verilog =
            synthesis(&checker, CHECKER).map_err(|source| Error::Elab { name: name.into(), source })?;
        let ports = ports(&checker);
        Ok(Proof {
            name,
            about,
            depth: 1,
            induction: None,
            mutations: vec![],
            verilog,
            ports,
            cases: None,
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

    /// For each of the values 0 to `count - 1` of the input `port` alone, which are all that it can have: much of the circuit is not
    /// needed then.
    ///
    /// # Panics
    /// There is no such input.
    #[must_use]
    pub fn each(self, port: &str, count: u64) -> Proof {
        let port = self.ports.iter().find(|p| p.input && p.name == port).expect("an input is named").clone();
        Proof { cases: Some(Cases { port, count }), ..self }
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
            synthesis(&block, INVARIANT).map_err(|source| Error::Elab { name: self.name.into(), source })?;
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
        self.mutations.push(Mutation { about, from, to, case: None });
        self
    }

    /// The copy told last must fail in this case of [`each`](Self::each).
    #[must_use]
    pub fn in_case(mut self, case: u64) -> Proof {
        self.mutations.last_mut().into_iter().for_each(|m| m.case = Some(case));
        self
    }

    /// The cases that decide: all, or for a broken copy the one in which it must fail. Without cases there is one, `None`.
    pub fn cases(&self, mutation: Option<&Mutation>) -> Vec<Option<u64>> {
        match (&self.cases, mutation.and_then(|m| m.case)) {
            (None, _) => vec![None],
            (Some(_), Some(one)) => vec![Some(one)],
            (Some(all), None) => (0..all.count).map(Some).collect(),
        }
    }

    /// The checker's Verilog, broken if asked for.
    ///
    /// # Errors
    /// The text to be broken is not there exactly once.
    pub fn checker(&self, mutation: Option<&Mutation>) -> Result<String, Error> {
        let Some(m) = mutation else { return Ok(self.verilog.clone()) };
        let (plain, places) = without_versions(&self.verilog);
        let times = plain.matches(m.from).count();
        match (plain.find(m.from), times) {
            (Some(at), 1) => {
                // What both have in common stays, with its numbers.
                let same = |a: &[u8], b: &[u8]| a.iter().zip(b).take_while(|(x, y)| x == y).count();
                let front = same(m.from.as_bytes(), m.to.as_bytes());
                let (from, to) = (&m.from[front..], &m.to[front..]);
                let reversed = |x: &str| x.bytes().rev().collect::<Vec<u8>>();
                let back = same(&reversed(from), &reversed(to));
                let (start, end) = (places[at + front], places[at + m.from.len() - back]);
                Ok(format!("{}{}{}", &self.verilog[..start], &to[..to.len() - back], &self.verilog[end..]))
            }
            _ => Err(Error::Mutation { name: self.name.into(), from: m.from.into(), times }),
        }
    }

    /// The module around the checker (and around the invariant) that has the assertions.
    pub fn wrapper(&self, with_invariant: bool) -> String {
        let tied = self.cases.as_ref().map(|c| c.port.name.as_str());
        let (tied, inputs): (Vec<&Port>, Vec<&Port>) =
            self.ports.iter().filter(|p| p.input).partition(|p| Some(p.name.as_str()) == tied);
        let has = |name: &str| self.ports.iter().any(|p| p.name == name);
        let names: Vec<String> = inputs.iter().map(|p| p.name.replace('$', "_")).collect();
        let mut text = format!("module proof({});\n", names.join(", "));
        for (p, name) in inputs.iter().zip(&names) {
            let _ = writeln!(text, "input wire {}{name};", range(p.bits));
        }
        let mut wired: Vec<String> =
            inputs.iter().zip(&names).map(|(p, name)| format!(".\\{} ({name})", p.name)).collect();
        wired.push(".ok(ok)".into());
        for p in tied {
            let _ = writeln!(text, "(* keep *) wire {}{CASE};", range(p.bits));
            wired.push(format!(".\\{} ({CASE})", p.name));
        }
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

    /// What yosys does: `file`.v and `file`_proof.v become a file for each of `cases`, named by [`formula`].
    pub fn script(&self, file: &str, cases: &[Option<u64>], with_invariant: bool) -> String {
        // Words of memories become registers: they have names then, and the solver is faster without arrays.
        let mut text = format!("read_verilog {file}.v\nhierarchy -top {CHECKER}\nproc\nflatten\nopt_clean\n");
        text += "memory_dff\nmemory_collect\nmemory_map\nopt_clean\n";
        if let Some(inv) = self.invariant.as_ref().filter(|_| with_invariant) {
            for (.., path) in &inv.wires {
                let _ = writeln!(text, "expose w:{}", glob(path));
            }
            let _ = writeln!(text, "read_verilog {file}_invariant.v");
        }
        let _ = writeln!(
            text,
            "read_verilog -formal {file}_proof.v\nprep -flatten -top proof\nasync2sync\ndffunmap\nrename -hide w:*$v*"
        );
        text += "design -save all\n";
        for case in cases {
            text += "design -load all\n";
            if let (Some(value), Some(c)) = (case, &self.cases) {
                let _ = writeln!(text, "connect -set {CASE} {}'d{value}\nopt", c.port.bits);
            }
            let _ = writeln!(text, "opt_clean\nwrite_smt2 -wires {}", formula(file, *case));
        }
        text
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

/// The text without the numbers that tell nets apart, `x$v7` and `n$8`, and where each byte of it (and its end) stands in `text`.
fn without_versions(text: &str) -> (String, Vec<usize>) {
    let (mut plain, mut places) = (String::with_capacity(text.len()), Vec::with_capacity(text.len()));
    let is_name = |c: u8| c.is_ascii_alphanumeric() || c == b'_' || c == b'$';
    let (bytes, mut at) = (text.as_bytes(), 0);
    for (mark, _) in text.match_indices('$') {
        let is_version = bytes.get(mark + 1) == Some(&b'v');
        let is_condition = mark > 0 && bytes[mark - 1] == b'n' && (mark == 1 || !is_name(bytes[mark - 2]));
        let start = if is_version { mark + 2 } else { mark + 1 };
        let end = start + bytes[start..].iter().take_while(|c| c.is_ascii_digit()).count();
        if (is_version || is_condition) && end > start && !bytes.get(end).copied().is_some_and(is_name) {
            let kept = if is_version { mark } else { start };
            plain += &text[at..kept];
            places.extend(at..kept);
            at = end;
        }
    }
    plain += &text[at..];
    places.extend(at..=text.len());
    (plain, places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_found_whatever_versions_are_numbered() {
        let text = "wire x$v1 = n$31 ? a$v12[3] : b$value;\nassign x = x$v1;";
        let (plain, places) = without_versions(text);
        assert_eq!(plain, "wire x = n$ ? a[3] : b$value;\nassign x = x;");
        let at = plain.find("a[3] :").expect("it is there");
        assert_eq!(&text[places[at]..places[at + 6]], "a$v12[3] :");
        assert_eq!(places.len(), plain.len() + 1);
    }
}
