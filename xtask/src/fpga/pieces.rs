//! The core in pieces, so that synthesis of it goes on all processors and takes minutes.
//!
//! Each block of the core is a piece, flat with all that is inside it. A block that is *open* is a piece of its own logic alone, and the
//! blocks in it are pieces again. Nothing is simplified across the border of a piece, so their sum is somewhat more than the core as a
//! whole.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};

/// A piece.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its module.
    pub module: String,
    /// How often the core has it.
    pub times: u64,
    /// Its Verilog, with everything inside.
    pub verilog: String,
    /// The Verilog of blocks that are pieces of their own; only their ports count.
    pub boxes: String,
}

/// The modules of a Verilog text, by name.
type Modules<'a> = BTreeMap<&'a str, &'a str>;

/// The pieces of `top`, the longest first; `open`: blocks whose inner blocks are pieces, by the end of their names.
///
/// # Errors
/// No module of that name.
pub fn pieces(verilog: &str, top: &str, open: &[&str]) -> Result<Vec<Piece>> {
    let modules = modules(verilog);
    let is_open = |name: &str| name == top || open.iter().any(|end| name == format!("{top}__{end}"));
    let mut times: BTreeMap<&str, u64> = BTreeMap::new();
    let mut waiting = vec![top];
    while let Some(name) = waiting.pop() {
        let body = modules.get(name).with_context(|| format!("the Verilog has no module {name}"))?;
        *times.entry(name).or_default() += 1;
        if is_open(name) {
            waiting.extend(instances(body, &modules));
        }
    }
    let mut found: Vec<Piece> = times
        .into_iter()
        .map(|(name, times)| {
            let inner = instances(modules[name], &modules);
            let (verilog, boxes) = match is_open(name) {
                true => (modules[name].to_owned(), text(inner.iter().copied().collect(), &modules)),
                false => (text(inside(name, &modules), &modules), String::new()),
            };
            Piece { module: name.to_owned(), times, verilog, boxes }
        })
        .collect();
    found.sort_by_key(|piece| (std::cmp::Reverse(piece.verilog.len()), piece.module.clone()));
    Ok(found)
}

fn text(names: BTreeSet<&str>, modules: &Modules) -> String {
    names.into_iter().map(|name| modules[name]).collect()
}

/// Each from its first line to its `endmodule`.
fn modules(verilog: &str) -> Modules<'_> {
    let mut found = Modules::new();
    let mut begins = None;
    let mut at = 0;
    for line in verilog.split_inclusive('\n') {
        if let Some(rest) = line.strip_prefix("module ") {
            let end = rest.find(|c: char| !is_name(c)).unwrap_or(rest.len());
            begins = Some((at, &rest[..end]));
        }
        at += line.len();
        if line.trim_end() == "endmodule" {
            if let Some((begin, name)) = begins.take() {
                found.insert(name, &verilog[begin..at]);
            }
        }
    }
    found
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '$'
}

/// The blocks in a module, one for each instance: lines that begin with the name of a module.
fn instances<'a>(body: &str, modules: &Modules<'a>) -> Vec<&'a str> {
    let first = |line: &str| line.split(|c: char| !is_name(c)).next().unwrap_or("").to_owned();
    body.lines()
        .filter_map(|line| modules.get_key_value(first(line).as_str()).map(|(name, _)| *name))
        .collect()
}

/// A module and all that is inside it.
fn inside<'a>(name: &'a str, modules: &Modules<'a>) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut waiting = vec![name];
    while let Some(name) = waiting.pop() {
        if found.insert(name) {
            waiting.extend(instances(modules[name], modules));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERILOG: &str = "// Generated\n\nmodule top(a);\ntop__one one(.a(a));\ntop__two two(.a(a));\ntop__ram more(.a(a));\nendmodule\n\
        module top__one(a);\ntop__ram ram(.a(a));\nendmodule\nmodule top__two(a);\nwire top__x;\ntop__ram r(.a(a));\nendmodule\n\
        module top__ram(a);\nendmodule\n";

    #[test]
    fn an_open_block_is_its_own_logic_and_its_blocks_are_pieces() {
        let found = pieces(VERILOG, "top", &["two"]).expect("well formed");
        let seen: Vec<_> = found.iter().map(|p| (p.module.as_str(), p.times)).collect();
        assert_eq!(seen, [("top", 1), ("top__one", 1), ("top__two", 1), ("top__ram", 2)]);
        let count = |text: &str| text.matches("endmodule").count();
        let sizes: Vec<_> = found.iter().map(|p| (count(&p.verilog), count(&p.boxes))).collect();
        assert_eq!(sizes, [(1, 3), (2, 0), (1, 1), (1, 0)]);
    }

    #[test]
    fn a_core_that_is_not_there_is_an_error() {
        assert!(pieces(VERILOG, "nic", &[]).is_err());
    }
}
