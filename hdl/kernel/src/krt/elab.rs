//! `elaborate`: finds out what a block consists of, runs the twin of its kernel, checks it, returns the module body.

use super::ctx::{enter, leave, report, Child, Ctx, Reg, Role, VarId};
use super::emit;
use super::val::{hex_slice, spots, Spot};
use rust_hdl_core::prelude::{Atom, AtomKind, Block, Probe, Verilog};

/// Looks at one block: its own signals, its registers, and the ports of its children.
#[derive(Default)]
struct Survey {
    ctx: Ctx,
    depth: usize,
    ns: Vec<String>,
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
        if matches!(role, Role::DffD | Role::DffQ) {
            self.register((id, name), role, &spots(&a.descriptor(), a.bits()), &init);
        }
    }
    /// A register has a variable per field of its record.
    fn register(&mut self, (id, name): (VarId, String), role: Role, fields: &[Spot], init: &str) {
        let mut ids = vec![id];
        if fields.len() > 1 {
            let (stem, tail) = name.strip_suffix("$d").map_or((name.as_str(), ""), |s| (s, "$d"));
            let hex = init.split_once("'h").map_or("0", |x| x.1);
            let leaf = |f: &Spot| {
                let text = super::ex::literal(f.width, &hex_slice(hex, f.off, f.width));
                self.ctx.add_var(format!("{stem}${}{tail}", f.name), f.width, role, text)
            };
            ids = fields.iter().map(leaf).collect();
            self.ctx.vars[id].split = fields.iter().cloned().zip(ids.iter().copied()).collect();
        }
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
        let id = self.ctx.add_var(format!("{child}${name}"), a.bits(), role, String::new());
        self.ctx.by_atom.insert(a.id(), id);
        if let Some(c) = self.ctx.children.last_mut() {
            c.ports.push((name, id));
        }
    }
}

impl Probe for Survey {
    fn visit_start_scope(&mut self, name: &str, _: &dyn Block) {
        self.depth += 1;
        self.ns.clear();
        if self.depth == 2 {
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
    let mut survey = Survey::default();
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
    for (id, v) in c.vars.iter().enumerate() {
        let must = matches!(v.role, Role::Out | Role::Local | Role::ChildIn | Role::DffD);
        if must && v.split.is_empty() && !c.written.contains(&id) {
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
