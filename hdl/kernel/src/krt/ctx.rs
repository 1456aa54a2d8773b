//! The recorder behind one `hdl()` call: which variables exist, what was assigned, what is wrong.
//!
//! While a kernel's symbolic twin runs, every assignment lands here as a [`Stmt`]. Nothing is printed until the twin
//! has returned; `emit.rs` then cuts the statements into `always` blocks.

use super::words::{is_reserved, refusal};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::panic::Location;

/// Index of a variable within one module.
pub(crate) type VarId = usize;

/// What a variable is, which decides who may read and write it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    /// Input port of this block.
    In,
    /// Output port of this block.
    Out,
    /// `Signal<Local, _>`.
    Local,
    /// `Constant<_>`.
    Const,
    /// Input of a child block.
    ChildIn,
    /// Output of a child block.
    ChildOut,
    /// Next value of a register.
    DffD,
    /// Present value of a register.
    DffQ,
    /// `let`, or a temporary.
    Let,
}

/// A Verilog variable of the module.
#[derive(Clone, Debug)]
pub(crate) struct Var {
    pub name: String,
    pub width: usize,
    pub role: Role,
    /// Born inside a branch: gets a zero default, because Rust's scope guarantees no other use.
    pub nested: bool,
    /// Value of a constant, or initial value of a register.
    pub init: String,
    /// A `let mut`: may be assigned again.
    pub mutable: bool,
    /// A record in a register, or at a port inside a design, is a variable per field; this one is then only their common name.
    pub split: Vec<(super::val::Spot, VarId)>,
}

/// Verilog text of an expression and the variables it mentions.
#[derive(Clone, Debug)]
pub(crate) struct Rhs {
    pub text: String,
    pub reads: Vec<VarId>,
}

/// One statement of the twin, in program order.
#[derive(Clone, Debug)]
pub(crate) enum Stmt {
    Assign {
        dst: VarId,
        part: Option<(usize, usize)>,
        rhs: Rhs,
    },
    If {
        cond: Rhs,
        then: Vec<Stmt>,
        other: Vec<Stmt>,
    },
    /// An arm without labels is `default`.
    Case {
        sel: Rhs,
        arms: Vec<(Vec<String>, Vec<Stmt>)>,
    },
}

/// A register: its two variables and its clock's name.
#[derive(Clone, Debug)]
pub(crate) struct Reg {
    pub d: VarId,
    pub q: VarId,
    pub clock: Option<String>,
}

/// A child instance and its port names.
#[derive(Clone, Debug)]
pub(crate) struct Child {
    pub name: String,
    pub ports: Vec<(String, VarId)>,
}

/// Everything known about the module that is being elaborated.
#[derive(Default)]
pub(crate) struct Ctx {
    pub vars: Vec<Var>,
    pub by_atom: HashMap<usize, VarId>,
    pub regs: Vec<Reg>,
    pub children: Vec<Child>,
    /// Clock inputs of children, wired straight to the named clock.
    pub clocks: HashMap<VarId, String>,
    pub stmts: Vec<Stmt>,
    /// Definitely and wholly assigned on every path to this point (`let`s always are).
    pub written: HashSet<VarId>,
    pub names: HashSet<String>,
    /// Last number given to a name.
    pub counts: HashMap<String, usize>,
    pub scopes: Vec<String>,
    pub depth: usize,
    pub errors: Vec<String>,
}

thread_local! {
    static CX: RefCell<Vec<Ctx>> = const { RefCell::new(Vec::new()) };
    static FOR_SYNTHESIS: Cell<bool> = const { Cell::new(false) };
    static IS_TOP: Cell<bool> = const { Cell::new(true) };
    static ASKS_KIND: Cell<bool> = const { Cell::new(false) };
    static COLLECT: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Runs `f` on the module that is being elaborated.
pub(crate) fn cx<R>(f: impl FnOnce(&mut Ctx) -> R) -> R {
    CX.with(|c| {
        let mut stack = c.borrow_mut();
        f(stack.last_mut().expect("symbolic values live only inside `hdl()`"))
    })
}

pub(crate) fn enter(c: Ctx) {
    CX.with(|s| s.borrow_mut().push(c));
}

pub(crate) fn leave() -> Ctx {
    CX.with(|s| s.borrow_mut().pop()).expect("enter and leave are paired")
}

/// Records an error at the kernel line that called into the library.
#[track_caller]
pub(crate) fn fail(msg: impl Into<String>) {
    let at = Location::caller();
    let msg = format!("{}:{}:{}: {}", at.file(), at.line(), at.column(), msg.into());
    cx(|c| c.errors.push(msg));
}

/// Collects elaboration errors of all `hdl()` calls made by `f`, in place of the panic that `hdl()` alone would give.
pub(crate) fn collecting<R>(f: impl FnOnce() -> R) -> (R, Vec<String>) {
    COLLECT.with(|c| *c.borrow_mut() = Some(Vec::new()));
    let r = f();
    let e = COLLECT.with(|c| c.borrow_mut().take()).unwrap_or_default();
    (r, e)
}

/// Has the `hdl()` calls made by `f` write nets in place of processes (`nets.rs`).
pub(crate) fn for_synthesis<R>(f: impl FnOnce() -> R) -> R {
    FOR_SYNTHESIS.set(true);
    let r = f();
    FOR_SYNTHESIS.set(false);
    r
}

/// Whether [`for_synthesis`] is under way.
pub(crate) fn is_for_synthesis() -> bool {
    FOR_SYNTHESIS.get()
}

/// Whether the next block to be elaborated is one whose ports others see.
pub(crate) fn set_top(is_top: bool) {
    IS_TOP.set(is_top);
}

/// See [`set_top`].
pub(crate) fn is_top() -> bool {
    IS_TOP.get()
}

/// Has the `hdl()` calls made by `f` say only what they are: `elaborate` returns nothing but its mark.
pub(crate) fn asking_kind<R>(f: impl FnOnce() -> R) -> R {
    ASKS_KIND.set(true);
    let r = f();
    ASKS_KIND.set(false);
    r
}

/// Whether [`asking_kind`] is under way.
pub(crate) fn asks_kind() -> bool {
    ASKS_KIND.get()
}

/// Hands errors to [`collecting`], or panics when nobody collects.
pub(crate) fn report(errors: Vec<String>) {
    if errors.is_empty() {
        return;
    }
    let kept = COLLECT.with(|c| match c.borrow_mut().as_mut() {
        Some(all) => {
            all.extend(errors.iter().cloned());
            true
        }
        None => false,
    });
    assert!(kept, "kernel cannot become Verilog:\n  {}", errors.join("\n  "));
}

impl Ctx {
    pub fn add_var(&mut self, name: String, width: usize, role: Role, init: String) -> VarId {
        if is_reserved(&name) {
            self.errors.push(refusal(&name));
        }
        self.names.insert(name.clone());
        self.vars.push(Var {
            name,
            width,
            role,
            nested: self.depth > 0,
            init,
            mutable: false,
            split: vec![],
        });
        self.vars.len() - 1
    }

    /// A new variable for a `let` or a temporary, with a name nobody has.
    pub fn fresh(&mut self, name: &str, width: usize) -> VarId {
        let mut base = String::new();
        if let Some(s) = self.scopes.last() {
            base = format!("{s}$");
        }
        base += name;
        let mut cand = base.clone();
        while self.names.contains(&cand) || is_reserved(&cand) {
            let n = self.counts.entry(base.clone()).or_default();
            *n += 1;
            cand = format!("{base}${n}");
        }
        self.add_var(cand, width, Role::Let, String::new())
    }

    pub fn push(&mut self, s: Stmt) {
        self.stmts.push(s);
    }
}

/// Runs `f` with a fresh statement buffer and returns what it recorded.
pub(crate) fn scoped<R>(f: impl FnOnce() -> R) -> (R, Vec<Stmt>) {
    let outer = cx(|c| {
        c.depth += 1;
        std::mem::take(&mut c.stmts)
    });
    let r = f();
    let inner = cx(|c| {
        c.depth -= 1;
        std::mem::replace(&mut c.stmts, outer)
    });
    (r, inner)
}
