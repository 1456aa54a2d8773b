//! Places: reading and driving signals, registers, part selects, links between interfaces.

use super::ctx::{cx, fail, Rhs, Role, Stmt, VarId};
use super::ex::{literal, merged, Ex, Idx, Offset};
use super::expr::E;
use super::lift::Hw;
use super::val::{assign_all, shape, Leaf, Val};
use crate::dff::Dff;
use rust_hdl_core::prelude::{
    Atom, AtomKind, Bits, Block, Clock, Constant, Direction, In, Out, Probe, Signal, Synth,
};

/// Anything with a `val()`.
pub trait Readable {
    /// Its type.
    type T: Synth;
    /// Its identity.
    fn atom(&self) -> usize;
}
impl<D: Direction, T: Synth> Readable for Signal<D, T> {
    type T = T;
    fn atom(&self) -> usize {
        Atom::id(self)
    }
}
impl<T: Synth> Readable for Constant<T> {
    type T = T;
    fn atom(&self) -> usize {
        Atom::id(self)
    }
}

#[track_caller]
fn find(atom: usize) -> Option<VarId> {
    let id = cx(|c| c.by_atom.get(&atom).copied());
    if id.is_none() {
        fail("this signal belongs neither to the block nor to one of its children");
    }
    id
}

/// `place.val()`.
#[track_caller]
pub fn read<S: Readable>(s: &S) -> E<S::T> {
    E::val(read_atom(s.atom(), S::T::BITS))
}

#[track_caller]
fn read_atom(atom: usize, width: usize) -> Val {
    let Some(id) = find(atom) else { return Val::One(Ex::lit(width, "0")) };
    let (role, name, written) = cx(|c| (c.vars[id].role, c.vars[id].name.clone(), c.written.contains(&id)));
    match role {
        Role::ChildIn | Role::DffD => fail(format!("`{name}` is an input of a child and cannot be read")),
        Role::Out | Role::Local if !written => fail(format!("`{name}` is read before it is wholly written")),
        Role::Const => return Val::One(Ex::new(cx(|c| c.vars[id].init.clone()), true, vec![], true)),
        _ => {}
    }
    value(id)
}

/// What a variable holds, field by field if it is one per field.
fn value(id: VarId) -> Val {
    let fields = cx(|c| c.vars[id].split.clone());
    if fields.is_empty() {
        return Val::One(Ex::var(id));
    }
    Val::Many(fields.into_iter().map(|(at, id)| Leaf { at, x: Ex::var(id) }).collect())
}

#[track_caller]
fn driven(atom: usize) -> Option<VarId> {
    let id = find(atom)?;
    let (role, name) = cx(|c| (c.vars[id].role, c.vars[id].name.clone()));
    if !matches!(role, Role::Out | Role::Local | Role::ChildIn | Role::DffD) {
        fail(format!("`{name}` cannot be driven here"));
        return None;
    }
    Some(id)
}

/// `place.next = v`.
#[track_caller]
pub fn assign<D: Direction, T: Synth>(s: &Signal<D, T>, v: impl Hw<T>) {
    let v = v.hw().0;
    let Some(id) = driven(Atom::id(s)) else { return };
    if is_clock::<T>() {
        let x = v.flat();
        return wire_clock(id, x.text, x.base.is_some());
    }
    cx(|c| c.written.insert(id));
    drive(id, v);
}

/// `variable = v`, field by field if it is one per field.
fn drive(id: VarId, v: Val) {
    let fields = cx(|c| c.vars[id].split.clone());
    if fields.is_empty() {
        let rhs = v.flat().rhs();
        return cx(|c| c.push(Stmt::Assign { dst: id, part: None, rhs }));
    }
    let (shape, ids): (Vec<_>, Vec<_>) = fields.into_iter().unzip();
    assign_all(ids.into_iter().zip(v.leaves(&shape).into_iter().map(|l| l.x)).collect());
}

fn is_clock<T: Synth>() -> bool {
    T::descriptor().name == "clock"
}

#[track_caller]
fn wire_clock(id: VarId, text: String, plain: bool) {
    if !plain || cx(|c| c.depth > 0) {
        fail("a clock is handed on as it is, outside any `if`");
    }
    cx(|c| {
        c.written.insert(id);
        c.clocks.insert(id, text);
    });
}

/// `field(e, |s| s.f, |s| s.offset_of_f())`: a field of a record.
pub fn field<S: Synth, F: Synth>(e: E<S>, get: impl Fn(&S) -> F, off: impl Fn(&S) -> usize) -> E<F> {
    let _ = get;
    E::val(e.0.part(S::BITS, off(&S::default()), F::BITS))
}

#[track_caller]
fn part(id: VarId, off: usize, w: usize, rhs: Rhs) {
    let (name, width, written) = cx(|c| {
        let v = &c.vars[id];
        (v.name.clone(), v.width, v.role == Role::Let || c.written.contains(&id))
    });
    if !written {
        fail(format!("a part of `{name}` is written before the whole"));
    }
    let part = (w != width).then_some((off, w));
    cx(|c| c.push(Stmt::Assign { dst: id, part, rhs }));
}

/// `place.next.f = v`.
#[track_caller]
pub fn assign_field<D: Direction, S: Synth, F: Synth>(
    s: &Signal<D, S>,
    get: impl Fn(&S) -> F,
    off: impl Fn(&S) -> usize,
    v: impl Hw<F>,
) {
    let _ = get;
    let (off, v) = (off(&S::default()), v.hw().0);
    let Some(id) = driven(Atom::id(s)) else { return };
    let fields = cx(|c| c.vars[id].split.clone());
    if fields.is_empty() {
        return part(id, off, F::BITS, v.flat().rhs());
    }
    let inside =
        fields.iter().filter(|f| f.0.off >= off && f.0.off + f.0.width <= off + F::BITS).map(|f| f.1);
    assign_all(inside.zip(v.leaves(&shape::<F>()).into_iter().map(|l| l.x)).collect());
}

/// The variable behind a `let mut` name.
fn variable(x: &Ex) -> Option<VarId> {
    x.base.filter(|b| b.1 == 0 && !x.fix).map(|b| b.0)
}

/// The variables behind a `let mut` record from bit `off`, `w` bits; `None` when it is something else.
fn variables(x: &Val, off: usize, w: usize) -> Option<Vec<VarId>> {
    match x {
        Val::One(x) => variable(x).map(|v| vec![v]),
        Val::Many(m) => m
            .iter()
            .filter(|l| l.at.off >= off && l.at.off + l.at.width <= off + w)
            .map(|l| variable(&l.x))
            .collect(),
    }
}

/// `x = v` on a `let mut`.
#[track_caller]
pub fn set<T: Synth>(x: &E<T>, v: impl Hw<T>) {
    let v = v.hw().0.leaves(&shape::<T>());
    match variables(&x.0, 0, T::BITS) {
        Some(ids) if ids.len() == v.len() => {
            assign_all(ids.into_iter().zip(v.into_iter().map(|l| l.x)).collect())
        }
        _ => fail("assignment to something that is not a `let mut` variable"),
    }
}

/// `x.f = v` on a `let mut`.
#[track_caller]
pub fn set_field<S: Synth, F: Synth>(
    x: &E<S>,
    get: impl Fn(&S) -> F,
    off: impl Fn(&S) -> usize,
    v: impl Hw<F>,
) {
    let _ = get;
    let v = v.hw().0.leaves(&shape::<F>());
    match variables(&x.0, off(&S::default()), F::BITS) {
        Some(ids) if ids.len() == v.len() => {
            assign_all(ids.into_iter().zip(v.into_iter().map(|l| l.x)).collect())
        }
        _ => fail("assignment to a field of something that is not a `let mut` variable"),
    }
}

/// A bit position: the integer if it is one, and the index expression.
pub(crate) type At = (Option<usize>, Idx);

#[track_caller]
fn write_bits(id: VarId, n: usize, i: At, v: &Ex, m: usize) {
    match i.0 {
        Some(i) if i + m > n => fail(format!("bits {i}..{} of {n} bits", i + m)),
        Some(i) => part(id, i, m, v.rhs()),
        None => part(id, 0, n, with_bits(Ex::var(id), n, i, v.clone(), m).rhs()),
    }
}

/// `place.next.set_bits::<M>(i, v)`.
#[track_caller]
pub fn assign_bits<D: Direction, const N: usize, const M: usize>(
    s: &Signal<D, Bits<N>>,
    i: impl Offset,
    v: impl Hw<Bits<M>>,
) {
    if let Some(id) = driven(Atom::id(s)) {
        write_bits(id, N, (i.fixed(), i.idx()), &v.hw().x(), M);
    }
}

/// `x.set_bits::<M>(i, v)` on a `let mut`.
#[track_caller]
pub fn set_bits<const N: usize, const M: usize>(x: &E<Bits<N>>, i: impl Offset, v: impl Hw<Bits<M>>) {
    match variable(&x.x()) {
        Some(id) => write_bits(id, N, (i.fixed(), i.idx()), &v.hw().x(), M),
        None => fail("`set_bits` on something that is not a `let mut` variable"),
    }
}

/// The `n` bits of `e` with `m` bits replaced from position `i`; bits that fall outside vanish.
#[track_caller]
pub(crate) fn with_bits(e: Ex, n: usize, i: At, v: Ex, m: usize) -> Ex {
    if let Some(k) = i.0.filter(|k| k + m > n) {
        fail(format!("bits {k}..{} of {n} bits", k + m));
        return e;
    }
    let by = &i.1 .0;
    let mask = Ex::new(literal(m, &hex_ones(m)), true, vec![], true).resize(n, m);
    let v = v.resize(n, m);
    let reads = merged(&merged(&e.reads, &by.reads), &v.reads);
    let text = format!("({} & ~({} << {b})) | ({} << {b})", e.p(), mask.p(), v.p(), b = by.p());
    Ex::new(text, false, reads, e.fix && by.fix && v.fix)
}

pub(crate) fn hex_ones(n: usize) -> String {
    let head = ["", "1", "3", "7"][n % 4];
    format!("{head}{}", "f".repeat(n / 4))
}

/// Something that `dff_setup!` and `dff_reset!` accept: a register, or an array of them.
pub trait Registers {
    /// Every register holds its value; natively.
    fn hold(&mut self, clock: Clock);
    /// Every register goes to its initial value; natively.
    fn clear(&mut self);
    /// The same, recorded. `None` holds, `Some(clock)` also names the clock.
    fn record(&self, clock: &str);
    /// Records the clearing.
    fn record_clear(&self);
}
impl<T: Synth> Registers for Dff<T> {
    fn hold(&mut self, clock: Clock) {
        self.clock.next = clock;
        self.d.next = self.q.val();
    }
    fn clear(&mut self) {
        self.d.next = self.initial();
    }
    fn record(&self, clock: &str) {
        let (Some(d), Some(q)) = (find(Atom::id(&self.d)), find(Atom::id(&self.q))) else { return };
        cx(|c| {
            c.written.insert(d);
            for (d, q) in cells(c, d).into_iter().zip(cells(c, q)) {
                if let Some(r) = c.regs.iter_mut().find(|r| r.d == d) {
                    r.clock = Some(clock.into());
                }
                c.written.insert(d);
                let text = c.vars[q].name.clone();
                c.push(Stmt::Assign { dst: d, part: None, rhs: Rhs { text, reads: vec![q] } });
            }
        });
    }
    fn record_clear(&self) {
        let Some(d) = find(Atom::id(&self.d)) else { return };
        cx(|c| {
            c.written.insert(d);
            for d in cells(c, d) {
                let text = c.regs.iter().find(|r| r.d == d).map(|r| c.vars[r.q].init.clone());
                let rhs = Rhs { text: text.unwrap_or_default(), reads: vec![] };
                c.written.insert(d);
                c.push(Stmt::Assign { dst: d, part: None, rhs });
            }
        });
    }
}
/// The variables of a register: one per field.
fn cells(c: &super::ctx::Ctx, id: VarId) -> Vec<VarId> {
    match c.vars[id].split.as_slice() {
        [] => vec![id],
        s => s.iter().map(|f| f.1).collect(),
    }
}
impl<R: Registers, const N: usize> Registers for [R; N] {
    fn hold(&mut self, clock: Clock) {
        self.iter_mut().for_each(|r| r.hold(clock));
    }
    fn clear(&mut self) {
        self.iter_mut().for_each(Registers::clear);
    }
    fn record(&self, clock: &str) {
        self.iter().for_each(|r| r.record(clock));
    }
    fn record_clear(&self) {
        self.iter().for_each(Registers::record_clear);
    }
}
/// Native side of `dff_setup!`.
pub fn hold(r: &mut impl Registers, clock: Clock) {
    r.hold(clock);
}
/// Native side of `dff_reset!`.
pub fn clear(r: &mut impl Registers) {
    r.clear();
}
/// Symbolic side of `dff_setup!`.
#[track_caller]
pub fn record_hold(r: &impl Registers, clock: &Signal<In, Clock>) {
    if cx(|c| c.depth > 0) {
        fail("`dff_setup!` belongs to the top of the kernel");
    }
    r.record(&read(clock).x().text);
}
/// Symbolic side of `dff_reset!`.
pub fn record_clear(r: &impl Registers) {
    r.record_clear();
}

#[derive(Default)]
struct Ports {
    ns: Vec<String>,
    list: Vec<(String, usize)>,
}
impl Probe for Ports {
    fn visit_start_namespace(&mut self, n: &str, _: &dyn Block) {
        self.ns.push(n.into());
    }
    fn visit_atom(&mut self, n: &str, a: &dyn Atom) {
        let mut path = self.ns[1..].join("$");
        path += n;
        self.list.push((path, a.id()));
    }
    fn visit_end_namespace(&mut self, _: &str, _: &dyn Block) {
        self.ns.pop();
    }
}
fn ports<L: Block>(l: &L) -> Vec<(String, usize)> {
    let mut p = Ports { ns: vec![String::new()], list: vec![] };
    l.accept("x", &mut p);
    p.list
}

/// How two bundles are connected.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wiring {
    /// `T::link(&mut self.x, &mut self.child.x)`: a bundle of the block and the same bundle of its child.
    Link,
    /// `T::join(&mut self.a.x, &mut self.b.y)`: opposite bundles of two children.
    Join,
    /// `T::pass(&mut self.s, &mut self.m)`: opposite bundles of the block itself.
    Pass,
}

/// Native side of [`Wiring::Pass`], signal by signal.
pub trait Pass<O> {
    /// Drives whichever of the two is an output.
    fn pass(&mut self, other: &mut O);
}
impl<T: Synth> Pass<Signal<Out, T>> for Signal<In, T> {
    fn pass(&mut self, other: &mut Signal<Out, T>) {
        other.next = self.val();
    }
}
impl<T: Synth> Pass<Signal<In, T>> for Signal<Out, T> {
    fn pass(&mut self, other: &mut Signal<In, T>) {
        self.next = other.val();
    }
}

/// Connects two bundles with the same field names.
#[track_caller]
pub fn connect<A: Block, B: Block>(a: &A, b: &B, how: Wiring) {
    let (pa, pb) = (ports(a), ports(b));
    if pa.iter().map(|p| &p.0).ne(pb.iter().map(|p| &p.0)) {
        fail("the two bundles have different fields");
        return;
    }
    for ((name, x), (_, y)) in pa.iter().zip(&pb) {
        let (Some(x), Some(y)) = (find(*x), find(*y)) else { continue };
        let roles = cx(|c| (c.vars[x].role, c.vars[y].role));
        // Exactly the cases in which the native functions copy in the right direction.
        let (from, to) = match (how, roles) {
            (Wiring::Link, (Role::In, Role::ChildIn))
            | (Wiring::Join, (Role::ChildOut, Role::ChildIn))
            | (Wiring::Pass, (Role::In, Role::Out)) => (x, y),
            (Wiring::Link, (Role::Out, Role::ChildOut))
            | (Wiring::Join, (Role::ChildIn, Role::ChildOut))
            | (Wiring::Pass, (Role::Out, Role::In)) => (y, x),
            _ => {
                fail(format!("`{name}`: link(own, child), join(child, child), pass(own slave, own master)"));
                continue;
            }
        };
        cx(|c| c.written.insert(to));
        drive(to, value(from));
    }
}

/// Hides an atom's direction: registers and their like are variables of the block that holds them.
pub(crate) struct Inline<'a> {
    pub atom: &'a dyn Atom,
    pub kind: AtomKind,
}
impl Atom for Inline<'_> {
    fn bits(&self) -> usize {
        self.atom.bits()
    }
    fn connected(&self) -> bool {
        true
    }
    fn changed(&self) -> bool {
        self.atom.changed()
    }
    fn kind(&self) -> AtomKind {
        self.kind
    }
    fn descriptor(&self) -> rust_hdl_core::prelude::TypeDescriptor {
        self.atom.descriptor()
    }
    fn vcd(&self) -> rust_hdl_core::prelude::VCDValue {
        self.atom.vcd()
    }
    fn id(&self) -> usize {
        self.atom.id()
    }
    fn verilog(&self) -> rust_hdl_core::prelude::VerilogLiteral {
        self.atom.verilog()
    }
    fn constraints(&self) -> Vec<rust_hdl_core::prelude::PinConstraint> {
        vec![]
    }
}

/// A record literal: the fields given, the others from `base`.
pub fn record<S: Synth>(fields: Vec<Piece>, base: Option<E<S>>) -> E<S> {
    let mut leaves: Vec<Leaf> = vec![];
    for f in fields {
        let inner = f.value.leaves(&f.shape);
        leaves.extend(inner.into_iter().map(|l| {
            let at = super::val::Spot { off: l.at.off + f.off, ..l.at };
            Leaf { at, x: l.x }
        }));
    }
    if let Some(b) = base {
        let given: Vec<usize> = leaves.iter().map(|l| l.at.off).collect();
        leaves.extend(b.0.leaves(&shape::<S>()).into_iter().filter(|l| !given.contains(&l.at.off)));
    }
    leaves.sort_by_key(|l| l.at.off);
    let mut all = shape::<S>();
    if all.len() == 1 {
        return E::of(leaves.remove(0).x);
    }
    leaves.iter_mut().zip(all.drain(..)).for_each(|(l, s)| l.at = s);
    E::val(Val::Many(leaves))
}

/// One field of a record literal.
pub struct Piece {
    off: usize,
    shape: Vec<super::val::Spot>,
    value: Val,
}
/// `f: v` in a record literal.
pub fn piece<S: Synth, F: Synth>(get: impl Fn(&S) -> F, off: impl Fn(&S) -> usize, v: impl Hw<F>) -> Piece {
    let _ = get;
    Piece { off: off(&S::default()), shape: shape::<F>(), value: v.hw().0 }
}
