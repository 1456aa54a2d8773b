//! `if` and `match`: run one branch while elaborating, or record all of them.

use super::ctx::{cx, scoped, Stmt, VarId};
use super::ex::{Ex, Idx};
use super::expr::{konst, E};
use super::val::Joint;
use super::value::Res;
use rust_hdl_core::prelude::Synth;
use std::collections::HashSet;

/// The condition of an `if`.
pub trait Cond {
    /// Runs one branch, or records both.
    fn branch<R: Res>(self, t: impl Fn() -> R, e: impl Fn() -> R) -> R;
}
impl Cond for bool {
    fn branch<R: Res>(self, t: impl Fn() -> R, e: impl Fn() -> R) -> R {
        if self {
            t()
        } else {
            e()
        }
    }
}
impl Cond for E<bool> {
    fn branch<R: Res>(self, t: impl Fn() -> R, e: impl Fn() -> R) -> R {
        let (before, mark) = cx(|c| (c.written.clone(), c.vars.len()));
        let (r1, then) = scoped(t);
        let after_then = between(before);
        let (r2, other) = scoped(e);
        after(&after_then);
        if then.is_empty() && other.is_empty() && !R::WIDE {
            return R::tern(&self, r1, r2);
        }
        let mut j = Joint::new(mark, vec![then, other]);
        let v = R::join(vec![r1, r2], &mut j);
        record_if(&self.x(), j);
        v
    }
}
fn between(before: HashSet<VarId>) -> HashSet<VarId> {
    cx(|c| std::mem::replace(&mut c.written, before))
}
fn after(after_then: &HashSet<VarId>) {
    cx(|c| c.written.retain(|n| after_then.contains(n)));
}
fn record_if(cond: &Ex, mut j: Joint) {
    let (other, then) = (j.arms.pop().unwrap_or_default(), j.arms.pop().unwrap_or_default());
    cx(|c| {
        c.stmts.append(&mut j.before);
        c.push(Stmt::If { cond: cond.rhs(), then, other });
    });
}
/// `if c { t() } else { e() }`.
pub fn branch<C: Cond, R: Res>(c: C, t: impl Fn() -> R, e: impl Fn() -> R) -> R {
    c.branch(t, e)
}

/// A value that `match` can look at, and the type of its patterns.
pub trait Scrutinee {
    /// Type of a pattern.
    type P;
    /// The value of the `case`; `None` when it is known while elaborating.
    fn hardware(&self) -> Option<Ex>;
    /// A pattern as a label; `None` when it can never match.
    fn label(&self, p: &Self::P) -> Option<String>;
    /// Whether a known value equals the pattern.
    fn is(&self, p: &Self::P) -> bool;
}
impl<T: Synth> Scrutinee for E<T> {
    type P = T;
    fn hardware(&self) -> Option<Ex> {
        Some(self.x())
    }
    fn label(&self, p: &T) -> Option<String> {
        Some(konst(*p).x().text)
    }
    fn is(&self, _: &T) -> bool {
        false
    }
}
impl Scrutinee for Idx {
    type P = usize;
    fn hardware(&self) -> Option<Ex> {
        Some(self.0.clone())
    }
    fn label(&self, p: &usize) -> Option<String> {
        let fits = self.1 >= 64 || p >> self.1 == 0;
        fits.then(|| Ex::int(self.1, *p as u64).text)
    }
    fn is(&self, _: &usize) -> bool {
        false
    }
}
macro_rules! known {
    ($($t:ty),*) => { $(
        impl Scrutinee for $t {
            type P = $t;
            fn hardware(&self) -> Option<Ex> {
                None
            }
            fn label(&self, _: &$t) -> Option<String> {
                None
            }
            fn is(&self, p: &$t) -> bool {
                self == p
            }
        }
    )* };
}
known!(usize, u64, bool);

struct Arm<R> {
    labels: Vec<String>,
    stmts: Vec<Stmt>,
    value: R,
}
/// A `match` under construction.
pub struct Case<S: Scrutinee, R> {
    on: S,
    arms: Vec<Arm<R>>,
    before: HashSet<VarId>,
    after: Option<HashSet<VarId>>,
    chosen: Option<R>,
    mark: usize,
}
/// `match on {`.
pub fn case<S: Scrutinee, R>(on: S) -> Case<S, R> {
    Case {
        on,
        arms: vec![],
        before: cx(|c| c.written.clone()),
        after: None,
        chosen: None,
        mark: cx(|c| c.vars.len()),
    }
}
impl<S: Scrutinee, R: Res> Case<S, R> {
    /// One arm; no patterns mean the last one (Rust has checked that the arms are exhaustive).
    pub fn arm(mut self, pats: &[S::P], last: bool, body: impl Fn() -> R) -> Self {
        if self.on.hardware().is_none() {
            if self.chosen.is_none() && (last || pats.iter().any(|p| self.on.is(p))) {
                self.chosen = Some(body());
            }
            return self;
        }
        let labels: Vec<_> = pats.iter().filter_map(|p| self.on.label(p)).collect();
        if labels.is_empty() && !last {
            return self; // it can never match
        }
        let before = self.before.clone();
        let (value, stmts) = scoped(|| {
            cx(|c| c.written = before);
            body()
        });
        let w = cx(|c| c.written.clone());
        self.after = Some(match self.after {
            Some(a) => a.intersection(&w).copied().collect(),
            None => w,
        });
        self.arms.push(Arm { labels: if last { vec![] } else { labels }, stmts, value });
        self
    }
    /// `}`.
    pub fn end(mut self) -> R {
        if let Some(r) = self.chosen {
            return r;
        }
        let sel = self.on.hardware().expect("a known match chose an arm").rhs();
        if let Some(w) = self.after.take() {
            cx(|c| c.written = w);
        }
        let (mut labels, mut bodies, mut values) = (vec![], vec![], vec![]);
        for a in self.arms {
            labels.push(a.labels);
            bodies.push(a.stmts);
            values.push(a.value);
        }
        let mut j = Joint::new(self.mark, bodies);
        let v = R::join(values, &mut j);
        let arms = labels.into_iter().zip(j.arms).collect();
        cx(|c| {
            c.stmts.append(&mut j.before);
            c.push(Stmt::Case { sel, arms });
        });
        v
    }
}
