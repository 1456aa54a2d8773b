//! `Val`: a value as one expression, or as a record taken apart.
//!
//! A record in a variable is kept as one variable per field. So `Rec { a, ..old }` copies nothing, an `if` that changes
//! one field assigns one variable, and a simulator sees short scalars in place of long vectors.

use super::ctx::{cx, Ctx, Rhs, Role, Stmt, VarId};
use super::ex::{merged, Ex};
use rust_hdl_core::prelude::{Synth, TypeDescriptor, TypeKind};
use std::collections::{HashMap, HashSet};

/// Position of a field that is no record itself.
#[derive(Clone, Debug)]
pub(crate) struct Spot {
    pub off: usize,
    pub width: usize,
    /// Path from the record, joined by `$`; empty for a value that is no record.
    pub name: String,
}

/// A field and its value.
#[derive(Clone)]
pub struct Leaf {
    pub(crate) at: Spot,
    pub(crate) x: Ex,
}

/// A value.
#[derive(Clone)]
pub enum Val {
    /// One expression.
    One(Ex),
    /// A record, field by field, from bit 0 up, without gaps.
    Many(Vec<Leaf>),
}

fn add_spots(d: &TypeDescriptor, name: &str, out: &mut Vec<Spot>) {
    let off = out.last().map_or(0, |s| s.off + s.width);
    let width = match &d.kind {
        TypeKind::Bits(n) | TypeKind::Signed(n) => *n,
        TypeKind::Enum(v) => (v.len().max(2) - 1).ilog2() as usize + 1,
        TypeKind::Composite(fields) => {
            for f in fields {
                let full =
                    if name.is_empty() { f.fieldname.clone() } else { format!("{name}${}", f.fieldname) };
                add_spots(&f.kind, &full, out);
            }
            return;
        }
    };
    out.push(Spot { off, width, name: name.into() });
}

/// The fields of a type; a single nameless one if it is no record.
pub(crate) fn spots(d: &TypeDescriptor, bits: usize) -> Vec<Spot> {
    let mut s = vec![];
    add_spots(d, "", &mut s);
    if s.len() > 1 && s.iter().map(|s| s.width).sum::<usize>() == bits {
        s
    } else {
        vec![Spot { off: 0, width: bits, name: String::new() }]
    }
}

/// See [`spots`].
pub(crate) fn shape<T: Synth>() -> Vec<Spot> {
    spots(&T::descriptor(), T::BITS)
}

/// Bits `off .. off + width` of a hexadecimal number.
pub(crate) fn hex_slice(hex: &str, off: usize, width: usize) -> String {
    let digits: Vec<u32> = hex.chars().rev().map(|c| c.to_digit(16).unwrap_or(0)).collect();
    let bit = |i: usize| digits.get(i / 4).is_some_and(|d| d >> (i % 4) & 1 == 1);
    let digit = |k: usize| {
        (0..4).filter(|b| 4 * k + b < width && bit(off + 4 * k + b)).map(|b| 1u32 << b).sum::<u32>()
    };
    let text: String = (0..width.div_ceil(4)).rev().filter_map(|k| char::from_digit(digit(k), 16)).collect();
    let short = text.trim_start_matches('0');
    if short.is_empty() {
        "0".into()
    } else {
        short.into()
    }
}

impl Ex {
    /// The digits, if this is a plain literal.
    fn number(&self) -> Option<&str> {
        let (width, hex) = self.text.split_once("'h")?;
        let plain = width.chars().all(|c| c.is_ascii_digit()) && hex.chars().all(|c| c.is_ascii_hexdigit());
        plain.then_some(hex)
    }
}

impl Val {
    /// As one expression.
    pub(crate) fn flat(&self) -> Ex {
        let many = match self {
            Val::One(x) => return x.clone(),
            Val::Many(m) => m,
        };
        let total: usize = many.iter().map(|l| l.at.width).sum();
        // All slices of one variable, in order: a slice of it.
        if let Some((id, o)) = many.first().and_then(|l| l.x.base) {
            let full = cx(|c| c.vars[id].width);
            if o + total <= full && many.iter().all(|l| l.x.base == Some((id, o + l.at.off))) {
                let whole = Ex { fix: many[0].x.fix, ..Ex::var(id) };
                return whole.slice(full, o, total);
            }
        }
        let text = many.iter().rev().map(|l| l.x.text.clone()).collect::<Vec<_>>().join(", ");
        let reads = many.iter().fold(vec![], |r, l| merged(&r, &l.x.reads));
        Ex::new(format!("{{{text}}}"), true, reads, many.iter().all(|l| l.x.fix))
    }

    /// Field by field.
    pub(crate) fn leaves(self, shape: &[Spot]) -> Vec<Leaf> {
        let x = match self {
            Val::Many(m) => return m,
            Val::One(x) => x,
        };
        if shape.len() == 1 {
            return vec![Leaf { at: shape[0].clone(), x }];
        }
        if let Some(hex) = x.number() {
            let leaf = |s: &Spot| Ex::lit(s.width, &hex_slice(hex, s.off, s.width));
            return shape.iter().map(|s| Leaf { at: s.clone(), x: leaf(s) }).collect();
        }
        let total = shape.iter().map(|s| s.width).sum();
        let x = x.named("t", total);
        let leaf = |s: &Spot| Leaf { at: s.clone(), x: x.clone().slice(total, s.off, s.width) };
        shape.iter().map(leaf).collect()
    }

    /// Bits `off .. off + width`, a field or an inner record, of a value of `n` bits.
    pub(crate) fn part(self, n: usize, off: usize, width: usize) -> Val {
        let many = match self {
            Val::One(x) => {
                return Val::One(match x.number() {
                    Some(hex) => Ex::lit(width, &hex_slice(hex, off, width)),
                    None => x.slice(n, off, width),
                })
            }
            Val::Many(m) => m,
        };
        let mut inside: Vec<Leaf> =
            many.into_iter().filter(|l| l.at.off >= off && l.at.off + l.at.width <= off + width).collect();
        inside.iter_mut().for_each(|l| l.at.off -= off);
        if inside.len() == 1 {
            return Val::One(inside.remove(0).x);
        }
        Val::Many(inside)
    }

    fn map(self, shape: &[Spot], split: bool, f: impl Fn(&Spot, Ex) -> Ex) -> Val {
        match self {
            Val::One(x) if !split || shape.len() == 1 => {
                let width = shape.iter().map(|s| s.width).sum();
                Val::One(f(&Spot { off: 0, width, name: String::new() }, x))
            }
            v => {
                Val::Many(v.leaves(shape).into_iter().map(|l| Leaf { x: f(&l.at, l.x), at: l.at }).collect())
            }
        }
    }

    /// `let name = self;`
    pub(crate) fn bind(self, name: &str, shape: &[Spot]) -> Val {
        self.map(shape, false, |s, x| x.bind(&path(name, &s.name), s.width))
    }

    /// An argument: a name is good enough, because a function cannot change its caller's variables.
    pub(crate) fn bind_arg(self, name: &str, shape: &[Spot]) -> Val {
        self.map(
            shape,
            false,
            |s, x| if x.base.is_some() { x } else { x.bind(&path(name, &s.name), s.width) },
        )
    }

    /// `let mut name = self;`
    pub(crate) fn bind_mut(self, name: &str, shape: &[Spot]) -> Val {
        self.map(shape, true, |s, x| {
            let v = Ex { fix: false, ..x.temp(&path(name, &s.name), s.width) };
            cx(|c| c.vars[v.base.expect("a temporary is a variable").0].mutable = true);
            v
        })
    }

    /// `c ? a : b`.
    pub(crate) fn choose(c: &Ex, a: Val, b: Val, shape: &[Spot]) -> Val {
        let pick = |a: Ex, b: Ex| if a.text == b.text { a } else { c.choose(&a, &b) };
        match (a, b) {
            (Val::One(a), Val::One(b)) if shape.len() == 1 => Val::One(pick(a, b)),
            (a, b) => {
                let pairs = a.leaves(shape).into_iter().zip(b.leaves(shape));
                Val::Many(pairs.map(|(a, b)| Leaf { x: pick(a.x, b.x), at: a.at }).collect())
            }
        }
    }

    /// The value after a branch, given the value of each arm. Fields that are the same in all arms need no variable;
    /// what most arms leave as it was is assigned before the branch.
    pub(crate) fn join(arms: Vec<Val>, shape: &[Spot], j: &mut Joint) -> Val {
        let mut taken = vec![];
        for (k, a) in arms.into_iter().enumerate() {
            let (leaves, extra) = super::ctx::scoped(|| a.leaves(shape));
            j.arms[k].extend(extra);
            taken.push(leaves);
        }
        let mut out = vec![];
        for (i, spot) in shape.iter().enumerate() {
            let resolved: Vec<Ex> = taken.iter().enumerate().map(|(k, a)| j.origin(k, &a[i].x)).collect();
            let values: Vec<&Ex> = resolved.iter().collect();
            let x = j.field(&values, spot, shape.len() > 1);
            out.push(Leaf { at: spot.clone(), x });
        }
        if shape.len() == 1 {
            return Val::One(out.remove(0).x);
        }
        Val::Many(out)
    }
}

/// A branch whose arms are recorded and whose value is being made.
pub struct Joint {
    /// Variables below this number existed before the branch.
    pub(crate) mark: usize,
    /// Assigned in some arm.
    pub(crate) touched: HashSet<VarId>,
    /// Per arm: the variables with a single assignment, and what that is.
    pub(crate) single: Vec<HashMap<VarId, Rhs>>,
    /// To be assigned before the branch.
    pub(crate) before: Vec<Stmt>,
    /// The statements of the arms.
    pub(crate) arms: Vec<Vec<Stmt>>,
}

fn touched(stmts: &[Stmt], out: &mut HashSet<VarId>) {
    for s in stmts {
        match s {
            Stmt::Assign { dst, .. } => {
                out.insert(*dst);
            }
            Stmt::If { then, other, .. } => {
                touched(then, out);
                touched(other, out);
            }
            Stmt::Case { arms, .. } => arms.iter().for_each(|a| touched(&a.1, out)),
        }
    }
}

fn count(stmts: &[Stmt], out: &mut HashMap<VarId, Option<Rhs>>) {
    for s in stmts {
        match s {
            Stmt::Assign { dst, part, rhs } => {
                let again = out.contains_key(dst) || part.is_some();
                out.insert(*dst, (!again).then(|| rhs.clone()));
            }
            Stmt::If { then, other, .. } => {
                count(then, out);
                count(other, out);
            }
            Stmt::Case { arms, .. } => arms.iter().for_each(|a| count(&a.1, out)),
        }
    }
}

fn single(stmts: &[Stmt]) -> HashMap<VarId, Rhs> {
    let mut all = HashMap::new();
    count(stmts, &mut all);
    all.into_iter().filter_map(|(v, r)| Some((v, r?))).collect()
}

impl Joint {
    pub(crate) fn new(mark: usize, arms: Vec<Vec<Stmt>>) -> Joint {
        let mut set = HashSet::new();
        arms.iter().for_each(|a| touched(a, &mut set));
        let single = arms.iter().map(|a| single(a)).collect();
        Joint { mark, touched: set, single, before: vec![], arms }
    }

    /// A field that arm `k` only passes on: where it comes from.
    fn origin(&self, k: usize, x: &Ex) -> Ex {
        let mut x = x.clone();
        while let Some((id, 0)) = x.base {
            let (name, width) = cx(|c| (c.vars[id].name.clone(), c.vars[id].width));
            let Some(rhs) = self.single[k].get(&id).filter(|_| id >= self.mark && name == x.text) else {
                return x;
            };
            let literal = Ex::new(rhs.text.clone(), true, vec![], true);
            if rhs.reads.is_empty() && literal.number().is_some() {
                return literal;
            }
            let source = |v: &VarId| {
                cx(|c| (c.vars[*v].name == rhs.text && c.vars[*v].width == width, self.stable(c, *v, k)))
            };
            match rhs.reads.as_slice() {
                [v] if source(v) == (true, true) => x = Ex { fix: true, ..Ex::var(*v) },
                _ => return x,
            }
        }
        x
    }

    /// The variable keeps its value from its first assignment on.
    fn stable(&self, c: &Ctx, v: VarId, k: usize) -> bool {
        match c.vars[v].role {
            Role::In | Role::ChildOut | Role::DffQ => true,
            Role::Let if v < self.mark => !c.vars[v].mutable,
            Role::Let => self.single[k].contains_key(&v),
            _ => false,
        }
    }

    /// The value that most arms give, if it means the same before the branch.
    fn common<'a>(&self, values: &[&'a Ex]) -> Option<&'a Ex> {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        let early = |x: &Ex| x.reads.iter().all(|v| *v < self.mark && !self.touched.contains(v));
        values.iter().filter(|x| early(x)).for_each(|x| *counts.entry(x.text.as_str()).or_default() += 1);
        let most = counts.values().copied().max()?;
        values.iter().copied().find(|x| counts.get(x.text.as_str()) == Some(&most))
    }

    fn field(&mut self, values: &[&Ex], spot: &Spot, record: bool) -> Ex {
        if values.iter().all(|x| x.text == values[0].text) {
            return values[0].clone();
        }
        let id = cx(|c| c.fresh(&path("sel", &spot.name), spot.width));
        let common = self.common(values).filter(|_| record).cloned();
        if let Some(x) = &common {
            self.before.push(Stmt::Assign { dst: id, part: None, rhs: x.rhs() });
        }
        for (s, x) in self.arms.iter_mut().zip(values) {
            if common.as_ref().is_none_or(|m| m.text != x.text) {
                s.push(Stmt::Assign { dst: id, part: None, rhs: x.rhs() });
            }
        }
        // Nobody else assigns it, and its only use is right after.
        Ex { fix: true, ..Ex::var(id) }
    }
}

/// The name of a field of a variable.
pub(crate) fn path(name: &str, field: &str) -> String {
    if field.is_empty() {
        name.into()
    } else {
        format!("{name}${field}")
    }
}

/// Assigns to several variables at once: all right sides mean the values before.
pub(crate) fn assign_all(mut pairs: Vec<(VarId, Ex)>) {
    pairs.retain(|(id, x)| cx(|c| c.vars[*id].name != x.text));
    let targets: Vec<VarId> = pairs.iter().map(|p| p.0).collect();
    for (k, (id, x)) in pairs.iter_mut().enumerate() {
        // Only what is assigned earlier in this list would be seen too late.
        if x.reads.iter().any(|r| r != id && targets[..k].contains(r)) {
            let width = cx(|c| c.vars[*id].width);
            *x = x.temp("old", width);
        }
    }
    for (id, x) in pairs {
        cx(|c| c.push(Stmt::Assign { dst: id, part: None, rhs: x.rhs() }));
    }
}
