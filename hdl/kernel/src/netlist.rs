//! From a block to a Verilog file: module headers, instances, one module for identical text.

use crate::krt::ctx::{collecting, for_synthesis, set_top};
use crate::krt::elab::has_kernel;
use crate::krt::val::{path, spots};
use crate::krt::words::{is_reserved, refusal};
use crate::krt::KERNEL;
use rust_hdl_core::prelude::{Atom, AtomKind, Block, Probe, Verilog};
use std::collections::HashMap;

/// A port of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its name in Verilog; parts of a bundle are joined by `$`.
    pub name: String,
    /// Width.
    pub bits: usize,
    /// Direction.
    pub input: bool,
}

/// Why a block cannot become Verilog: one line per mistake, with the place in the kernel.
#[derive(Debug, Clone, thiserror::Error)]
#[error("not synthesizable:\n  {}", .0.join("\n  "))]
pub struct ElabError(pub Vec<String>);

#[derive(Default)]
struct Module {
    name: String,
    ports: Vec<Port>,
    text: String,
    children: Vec<Module>,
}

#[derive(Default)]
struct Tree {
    stack: Vec<Module>,
    ns: Vec<String>,
    top: Option<Module>,
    /// The ports of the module in hand are a port per field.
    splits: bool,
}

impl Probe for Tree {
    fn visit_start_scope(&mut self, name: &str, node: &dyn Block) {
        let is_top = self.stack.is_empty();
        self.splits = !is_top && has_kernel(node);
        set_top(is_top);
        let text = match node.hdl() {
            Verilog::Custom(t) => t,
            _ => String::new(),
        };
        set_top(true);
        self.ns.clear();
        self.stack.push(Module { name: name.into(), text, ..Module::default() });
    }
    fn visit_start_namespace(&mut self, name: &str, _: &dyn Block) {
        self.ns.push(name.into());
    }
    fn visit_atom(&mut self, name: &str, a: &dyn Atom) {
        let input = match a.kind() {
            AtomKind::InputParameter => true,
            AtomKind::OutputParameter => false,
            _ => return,
        };
        let name = self.ns.iter().map(String::as_str).chain([name]).collect::<Vec<_>>().join("$");
        let Some(m) = self.stack.last_mut() else { return };
        if self.splits {
            let fields = spots(&a.descriptor(), a.bits());
            m.ports.extend(fields.iter().map(|s| Port { name: path(&name, &s.name), bits: s.width, input }));
        } else {
            m.ports.push(Port { name, bits: a.bits(), input });
        }
    }
    fn visit_end_namespace(&mut self, _: &str, _: &dyn Block) {
        self.ns.pop();
    }
    fn visit_end_scope(&mut self, _: &str, _: &dyn Block) {
        let Some(m) = self.stack.pop() else { return };
        match self.stack.last_mut() {
            Some(parent) => parent.children.push(m),
            None => self.top = Some(m),
        }
    }
}

/// The ports of a block, in the order of its fields.
pub fn ports<B: Block>(block: &B) -> Vec<Port> {
    let (tree, _) = survey(block);
    tree.map(|m| m.ports).unwrap_or_default()
}

fn survey<B: Block>(block: &B) -> (Option<Module>, Vec<String>) {
    let mut t = Tree::default();
    let ((), errors) = collecting(|| block.accept("top", &mut t));
    (t.top, errors)
}

/// Verilog-2001 of a block and everything inside it; the top module is called `name`.
///
/// # Errors
/// Every mistake of every kernel that only shows while elaborating: latches, reads before writes, undriven inputs,
/// literals that do not fit, Verilog words as names.
pub fn verilog<B: Block>(block: &B, name: &str) -> Result<String, ElabError> {
    let (top, mut errors) = survey(block);
    for word in top.iter().flat_map(reserved).chain(is_reserved(name).then(|| name.to_string())) {
        let error = refusal(&word);
        if !errors.contains(&error) {
            errors.push(error);
        }
    }
    match top {
        Some(m) if errors.is_empty() => {
            let mut f = File::default();
            f.module(&m, name);
            Ok(f.out)
        }
        _ => Err(ElabError(errors)),
    }
}

/// The same circuit in the form that synthesis reads fastest: a net for each value in place of processes.
///
/// Read and check [`verilog`]; this is for a tool that needs minutes where the other form costs it an hour.
///
/// # Errors
/// As [`verilog`].
pub fn synthesis<B: Block>(block: &B, name: &str) -> Result<String, ElabError> {
    for_synthesis(|| verilog(block, name))
}

/// Ports and children, in here and below, whose names Verilog has for itself.
fn reserved(m: &Module) -> Vec<String> {
    let ports = m.ports.iter().map(|p| &p.name);
    let own = ports.chain(m.children.iter().map(|c| &c.name)).filter(|n| is_reserved(n)).cloned();
    own.chain(m.children.iter().flat_map(reserved)).collect()
}

/// The text so far, and the name of the module that has a given text.
#[derive(Default)]
struct File {
    out: String,
    known: HashMap<String, String>,
}

impl File {
    fn module(&mut self, m: &Module, name: &str) -> String {
        let mut body = m.text.clone();
        for c in &m.children {
            let kind = self.module(c, &format!("{name}__{}", c.name.replace('$', "_")));
            body = body.replace(&format!("@{}@", c.name), &kind);
        }
        let reg = if body.starts_with(KERNEL) { "" } else { "reg " };
        let body = body.strip_prefix(KERNEL).unwrap_or(&body);
        let names: Vec<&str> = m.ports.iter().map(|p| p.name.as_str()).collect();
        let mut text = format!("({});\n", names.join(", "));
        for p in &m.ports {
            let dir = if p.input { "input wire".into() } else { format!("output {reg}") };
            let range = if p.bits > 1 { format!(" [{}:0]", p.bits - 1) } else { String::new() };
            text += &format!("{}{range} {};\n", dir.trim_end(), p.name);
        }
        text += body;
        text += "endmodule\n\n";
        if let Some(k) = self.known.get(&text) {
            return k.clone();
        }
        self.out += &format!("module {name}{text}");
        self.known.insert(text, name.to_string());
        name.to_string()
    }
}
