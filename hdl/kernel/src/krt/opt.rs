//! Two clean-ups of the recorded statements, which taking records apart makes worthwhile: a variable that only renames
//! another one goes, and so does a variable that nobody reads.

use super::ctx::{Ctx, Rhs, Role, Stmt, VarId};
use std::collections::{HashMap, HashSet};

/// Removes renamings and dead variables.
pub(crate) fn tidy(c: &mut Ctx) {
    let names = renamings(c);
    let mut stmts = std::mem::take(&mut c.stmts);
    if !names.is_empty() {
        stmts = rename(stmts, &names, c);
    }
    c.stmts = live(stmts, c);
}

/// What is known about the assignments of a variable.
#[derive(Default)]
struct Uses {
    count: usize,
    copy_of: Option<VarId>,
}

fn collect(stmts: &[Stmt], c: &Ctx, out: &mut HashMap<VarId, Uses>) {
    for s in stmts {
        match s {
            Stmt::Assign { dst, part, rhs } => {
                let u = out.entry(*dst).or_default();
                u.count += 1;
                u.copy_of = match rhs.reads.as_slice() {
                    [v] if part.is_none()
                        && c.vars[*v].name == rhs.text
                        && c.vars[*v].width == c.vars[*dst].width =>
                    {
                        Some(*v)
                    }
                    _ => None,
                };
            }
            Stmt::If { then, other, .. } => {
                collect(then, c, out);
                collect(other, c, out);
            }
            Stmt::Case { arms, .. } => arms.iter().for_each(|a| collect(&a.1, c, out)),
        }
    }
}

/// `let` variables with a single assignment `v = w;` where `w` cannot change.
fn renamings(c: &Ctx) -> HashMap<VarId, VarId> {
    let mut uses = HashMap::new();
    collect(&c.stmts, c, &mut uses);
    let single = |v: &VarId| uses.get(v).is_some_and(|u| u.count == 1);
    let stable = |v: &VarId| match c.vars[*v].role {
        Role::In | Role::ChildOut | Role::DffQ => true,
        Role::Let => single(v),
        _ => false,
    };
    let direct: HashMap<VarId, VarId> = uses
        .iter()
        .filter(|(v, _)| c.vars[**v].role == Role::Let && single(v))
        .filter_map(|(v, u)| Some((*v, u.copy_of.filter(|w| stable(w) && w != v)?)))
        .collect();
    let end = |mut v: VarId| {
        while let Some(w) = direct.get(&v) {
            v = *w;
        }
        v
    };
    direct.keys().map(|v| (*v, end(*v))).collect()
}

/// Replaces whole identifiers in Verilog text.
fn replace(text: &str, names: &HashMap<&str, &str>) -> String {
    let is_word = |ch: char| ch.is_ascii_alphanumeric() || ch == '_' || ch == '$';
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(ch) = rest.chars().next() {
        // A word that starts with a digit or a quote is a literal.
        let start = if ch == '\'' { 1 } else { 0 };
        let len = rest[start..].find(|k| !is_word(k)).map_or(rest.len(), |n| n + start).max(1);
        let word = &rest[..len];
        out += names.get(word).unwrap_or(&word);
        rest = &rest[len..];
    }
    out
}

fn rename(stmts: Vec<Stmt>, map: &HashMap<VarId, VarId>, c: &Ctx) -> Vec<Stmt> {
    let name = |v: &VarId| c.vars[*v].name.as_str();
    let names: HashMap<&str, &str> = map.iter().map(|(a, b)| (name(a), name(b))).collect();
    let fix = |r: Rhs| {
        if r.reads.iter().any(|v| map.contains_key(v)) {
            let reads = r.reads.iter().map(|v| *map.get(v).unwrap_or(v)).collect();
            Rhs { text: replace(&r.text, &names), reads }
        } else {
            r
        }
    };
    walk(stmts, &|dst, _| !map.contains_key(&dst), &fix)
}

/// Keeps the assignments that `keep` wants, changes all expressions with `fix`, drops empty branches.
fn walk(stmts: Vec<Stmt>, keep: &impl Fn(VarId, &Rhs) -> bool, fix: &impl Fn(Rhs) -> Rhs) -> Vec<Stmt> {
    let mut out = vec![];
    for s in stmts {
        match s {
            Stmt::Assign { dst, part, rhs } => {
                if keep(dst, &rhs) {
                    out.push(Stmt::Assign { dst, part, rhs: fix(rhs) });
                }
            }
            Stmt::If { cond, then, other } => {
                let (then, other) = (walk(then, keep, fix), walk(other, keep, fix));
                if !then.is_empty() || !other.is_empty() {
                    out.push(Stmt::If { cond: fix(cond), then, other });
                }
            }
            Stmt::Case { sel, arms } => {
                let arms: Vec<_> = arms.into_iter().map(|(l, b)| (l, walk(b, keep, fix))).collect();
                if arms.iter().any(|a| !a.1.is_empty()) {
                    out.push(Stmt::Case { sel: fix(sel), arms });
                }
            }
        }
    }
    out
}

/// What each variable's assignments read, conditions around them included.
fn inputs(stmts: &[Stmt], conds: &mut Vec<VarId>, out: &mut HashMap<VarId, HashSet<VarId>>) {
    for s in stmts {
        match s {
            Stmt::Assign { dst, rhs, .. } => {
                let set = out.entry(*dst).or_default();
                set.extend(&rhs.reads);
                set.extend(conds.iter());
            }
            Stmt::If { cond, then, other } => {
                let n = conds.len();
                conds.extend(&cond.reads);
                inputs(then, conds, out);
                inputs(other, conds, out);
                conds.truncate(n);
            }
            Stmt::Case { sel, arms } => {
                let n = conds.len();
                conds.extend(&sel.reads);
                arms.iter().for_each(|a| inputs(&a.1, conds, out));
                conds.truncate(n);
            }
        }
    }
}

/// Drops the `let`s that no output, register or child needs.
fn live(stmts: Vec<Stmt>, c: &Ctx) -> Vec<Stmt> {
    let mut needs = HashMap::new();
    inputs(&stmts, &mut vec![], &mut needs);
    let mut todo: Vec<VarId> = needs.keys().copied().filter(|v| c.vars[*v].role != Role::Let).collect();
    let mut seen: HashSet<VarId> = todo.iter().copied().collect();
    while let Some(v) = todo.pop() {
        for r in needs.get(&v).into_iter().flatten() {
            if seen.insert(*r) {
                todo.push(*r);
            }
        }
    }
    walk(stmts, &|dst, _| seen.contains(&dst), &|r| r)
}
