//! `elaborate`: finds out what a block consists of, runs the twin of its kernel, checks it, returns the module body.

use super::ctx::{asking_kind, asks_kind, enter, is_top, leave, report, Child, Ctx, Reg, Role, VarId};
use super::emit;
use super::val::{hex_slice, path, spots, Spot};
use rust_hdl_core::prelude::{Atom, AtomKind, Block, Probe, Verilog};
use std::collections::HashSet;

/// Whether a block has a kernel, so that its ports are a port per field inside a design; those of Verilog written by hand are not.
pub(crate) fn has_kernel(block: &dyn Block) -> bool {
    matches!(asking_kind(|| block.hdl()), Verilog::Custom(t) if t.starts_with(emit::KERNEL))
}

/// Looks at one block: its own signals, its registers, and the ports of its children.
#[derive(Default)]
struct Survey {
    ctx: Ctx,
    depth: usize,
    ns: Vec<String>,
    /// The block's own ports are a port per field.
    splits: bool,
    /// Those of the child in hand are.
    child_splits: bool,
}

impl Survey {
    fn own(&mut self, name: String, a: &dyn Atom) {
        let role = match a.kind() {
            AtomKind::InputParameter => Role::In,
            AtomKind::OutputParameter => Role::Out,
            AtomKind::LocalSignal => Role::Local,
            AtomKind::Constant => Role::Const,
            AtomKind::StubInputSignal => Role::DffD,
            AtomKind::StubOutputSignal => Role::DffQ,
            k => {
                self.ctx.errors.push(format!("`{name}`: {k:?} is not supported"));
                return;
            }
        };
        let init = super::ex::konst_text(a.bits(), &a.verilog());
        let id = self.ctx.add_var(name.clone(), a.bits(), role, init.clone());
        self.ctx.by_atom.insert(a.id(), id);
        let is_register = matches!(role, Role::DffD | Role::DffQ);
        if is_register || self.splits && matches!(role, Role::In | Role::Out) {
            let ids = self.fields((id, name), role, &spots(&a.descriptor(), a.bits()), &init);
            if is_register {
                self.register(role, ids);
            }
        }
    }
    /// A variable per field of a record.
    fn fields(&mut self, (id, name): (VarId, String), role: Role, fields: &[Spot], init: &str) -> Vec<VarId> {
        if fields.len() < 2 {
            return vec![id];
        }
        let (stem, tail) = match role {
            Role::DffD => (name.strip_suffix("$d").unwrap_or(&name), "$d"),
            _ => (name.as_str(), ""),
        };
        let hex = init.split_once("'h").map_or("0", |x| x.1);
        let leaf = |f: &Spot| {
            let text = super::ex::literal(f.width, &hex_slice(hex, f.off, f.width));
            self.ctx.add_var(path(stem, &f.name) + tail, f.width, role, text)
        };
        let ids: Vec<VarId> = fields.iter().map(leaf).collect();
        self.ctx.vars[id].split = fields.iter().cloned().zip(ids.iter().copied()).collect();
        ids
    }
    fn register(&mut self, role: Role, ids: Vec<VarId>) {
        if role == Role::DffD {
            self.ctx.regs.extend(ids.iter().map(|d| Reg { d: *d, q: *d, clock: None }));
        } else {
            let from = self.ctx.regs.len().saturating_sub(ids.len());
            self.ctx.regs[from..].iter_mut().zip(ids).for_each(|(r, q)| r.q = q);
        }
    }
    fn child(&mut self, name: String, a: &dyn Atom) {
        let role = match a.kind() {
            AtomKind::InputParameter => Role::ChildIn,
            AtomKind::OutputParameter => Role::ChildOut,
            _ => return,
        };
        let Some(child) = self.ctx.children.last().map(|c| c.name.clone()) else { return };
        let full = path(&child, &name);
        let id = self.ctx.add_var(full.clone(), a.bits(), role, String::new());
        self.ctx.by_atom.insert(a.id(), id);
        let mut ports = vec![(name.clone(), id)];
        if self.child_splits {
            let spots = spots(&a.descriptor(), a.bits());
            let ids = self.fields((id, full), role, &spots, "");
            ports = spots.iter().map(|s| path(&name, &s.name)).zip(ids).collect();
        }
        if let Some(c) = self.ctx.children.last_mut() {
            c.ports.append(&mut ports);
        }
    }
}

impl Probe for Survey {
    fn visit_start_scope(&mut self, name: &str, block: &dyn Block) {
        self.depth += 1;
        self.ns.clear();
        if self.depth == 2 {
            self.child_splits = has_kernel(block);
            self.ctx.names.insert(name.to_string());
            self.ctx.children.push(Child { name: name.to_string(), ports: vec![] });
        }
    }
    fn visit_start_namespace(&mut self, name: &str, _: &dyn Block) {
        self.ns.push(name.into());
    }
    fn visit_atom(&mut self, name: &str, a: &dyn Atom) {
        let full = self.ns.iter().map(String::as_str).chain([name]).collect::<Vec<_>>().join("$");
        match self.depth {
            1 => self.own(full, a),
            2 => self.child(full, a),
            _ => {}
        }
    }
    fn visit_end_namespace(&mut self, _: &str, _: &dyn Block) {
        self.ns.pop();
    }
    fn visit_end_scope(&mut self, _: &str, _: &dyn Block) {
        self.depth -= 1;
    }
}

/// Runs the twin of a kernel and returns the body of its module.
pub fn elaborate<B: Block>(block: &B, twin: impl FnOnce()) -> Verilog {
    if asks_kind() {
        return Verilog::Custom(emit::KERNEL.into());
    }
    let mut survey = Survey { splits: !is_top(), ..Survey::default() };
    block.accept("top", &mut survey);
    enter(survey.ctx);
    twin();
    let mut c = leave();
    let kind = std::any::type_name::<B>();
    check(&mut c);
    for e in &mut c.errors {
        *e = format!("{e} (in {kind})");
    }
    if !c.errors.is_empty() {
        report(c.errors);
        return Verilog::Empty;
    }
    super::opt::tidy(&mut c);
    Verilog::Custom(emit::body(&c))
}

/// What must be driven is driven, on every path.
fn check(c: &mut Ctx) {
    let mut errors = vec![];
    // A register's fields are counted one by one, a port's with the port.
    let (whole, fields): (Vec<_>, Vec<_>) =
        c.vars.iter().enumerate().filter(|v| !v.1.split.is_empty()).partition(|v| v.1.role != Role::DffD);
    let of_ports = whole.iter().flat_map(|v| v.1.split.iter().map(|f| f.1));
    let others: HashSet<VarId> = of_ports.chain(fields.iter().map(|v| v.0)).collect();
    for (id, v) in c.vars.iter().enumerate() {
        let must = matches!(v.role, Role::Out | Role::Local | Role::ChildIn | Role::DffD);
        if must && !others.contains(&id) && !c.written.contains(&id) {
            let what = if v.role == Role::DffD {
                "missing in `dff_setup!`"
            } else {
                "not driven on every path (latch)"
            };
            errors.push(format!("`{}` is {what}", v.name));
        }
    }
    for r in &c.regs {
        if r.clock.is_none() && c.written.contains(&r.d) {
            errors.push(format!("register `{}` has no clock", c.vars[r.q].name));
        }
    }
    c.errors.extend(errors);
}

/// A scope for the names of an inlined function.
pub struct Scope;
impl Scope {
    /// Enters the function `name`.
    pub fn enter(name: &str) -> Scope {
        super::ctx::cx(|c| {
            let full = match c.scopes.last() {
                Some(s) => format!("{s}${name}"),
                None => name.to_string(),
            };
            c.scopes.push(full);
        });
        Scope
    }
}
impl Drop for Scope {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            super::ctx::cx(|c| {
                c.scopes.pop();
            });
        }
    }
}
