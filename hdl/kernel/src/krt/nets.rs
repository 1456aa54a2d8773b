//! The same logic without processes: every value has a net of its own, a branch ends in a multiplexer.
//!
//! A synthesis tool turns an `always` block into nets one variable after the other, and looks at the whole block for
//! each: for a block of eight thousand lines that takes yosys half an hour. Here it is done beforehand, in one pass.
//! A simulator on the other hand wants the branches, so this is for synthesis alone.
//!
//! ```text
//!   x = a;                    wire [7:0] x$v1 = a;
//!   if (c) begin              wire n$1 = c;
//!       x = x + 8'h1;         wire [7:0] x$v2 = x$v1 + 8'h1;
//!   end                       wire [7:0] x$v3 = n$1 ? x$v2 : x$v1;
//!                             assign x = x$v3;
//! ```

use super::ctx::{Ctx, Rhs, Stmt, VarId};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The net that holds each variable at some point of the program. A `let` of another branch has none.
type Env = BTreeMap<VarId, String>;

struct Nets<'a> {
    c: &'a Ctx,
    by_name: BTreeMap<&'a str, VarId>,
    /// Numbers given so far, in the whole module.
    count: &'a mut usize,
    out: &'a mut String,
}

/// The statements of one group as nets, and the `members`, its variables, joined to the last of theirs.
pub(crate) fn print(c: &Ctx, stmts: &[Stmt], members: &[VarId], count: &mut usize, out: &mut String) {
    let by_name = c.vars.iter().enumerate().map(|(id, v)| (v.name.as_str(), id)).collect();
    let mut env = Env::new();
    let mut nets = Nets { c, by_name, count, out };
    nets.run(stmts, &mut env);
    // Also a `let` of a branch: another group may read it.
    for v in members {
        if let Some(net) = env.get(v) {
            let _ = writeln!(nets.out, "assign {} = {net};", c.vars[*v].name);
        }
    }
}

impl Nets<'_> {
    fn run(&mut self, stmts: &[Stmt], env: &mut Env) {
        for s in stmts {
            match s {
                Stmt::Assign { dst, part, rhs } => self.assign(*dst, *part, rhs, env),
                Stmt::If { cond, then, other } => self.branch(cond, then, other, env),
                Stmt::Case { sel, arms } => self.case(sel, arms, env),
            }
        }
    }

    fn assign(&mut self, dst: VarId, part: Option<(usize, usize)>, rhs: &Rhs, env: &mut Env) {
        let (text, width) = (self.named(&rhs.text, env), self.c.vars[dst].width);
        let whole = match part {
            None => text,
            Some((at, n)) => {
                let old = env.get(&dst).cloned().unwrap_or_else(|| self.c.vars[dst].name.clone());
                let new = self.net("n$", n, &text);
                let above = (at + n < width).then(|| format!("{old}[{}:{}]", width - 1, at + n));
                let below = (at > 0).then(|| format!("{old}[{}:0]", at - 1));
                let parts: Vec<String> = [above, Some(new), below].into_iter().flatten().collect();
                format!("{{{}}}", parts.join(", "))
            }
        };
        let net = self.version(dst, &whole);
        env.insert(dst, net);
    }

    fn branch(&mut self, cond: &Rhs, then: &[Stmt], other: &[Stmt], env: &mut Env) {
        let text = self.named(&cond.text, env);
        let cond = self.net("n$", 1, &text);
        let (mut a, mut b) = (env.clone(), env.clone());
        self.run(then, &mut a);
        self.run(other, &mut b);
        for (v, x) in &a {
            let net = match b.get(v) {
                Some(y) if x != y => self.version(*v, &format!("{cond} ? {x} : {y}")),
                _ => x.clone(),
            };
            env.insert(*v, net);
        }
        b.into_iter().filter(|(v, _)| !a.contains_key(v)).for_each(|(v, net)| drop(env.insert(v, net)));
    }

    /// Each variable gets a small process of its own: the tool sees that the arms exclude each other.
    fn case(&mut self, sel: &Rhs, arms: &[(Vec<String>, Vec<Stmt>)], env: &mut Env) {
        let sel = self.named(&sel.text, env);
        let mut ends: Vec<(String, Env)> = vec![];
        let mut rest = env.clone();
        for (labels, body) in arms {
            let mut end = env.clone();
            self.run(body, &mut end);
            match labels.is_empty() {
                true => rest = end,
                false => ends.push((labels.join(", "), end)),
            }
        }
        let mut changed: Vec<VarId> =
            ends.iter().chain([&(String::new(), rest.clone())]).flat_map(|e| e.1.keys().copied()).collect();
        changed.sort_unstable();
        changed.dedup();
        for v in changed {
            let any = || ends.iter().find_map(|e| e.1.get(&v)).cloned().unwrap_or_default();
            let default = rest.get(&v).cloned().unwrap_or_else(any);
            let differ: Vec<(&str, &String)> = ends
                .iter()
                .filter_map(|(l, e)| Some((l.as_str(), e.get(&v)?)))
                .filter(|e| *e.1 != default)
                .collect();
            let net = if differ.is_empty() { default } else { self.chosen(v, &sel, &differ, &default) };
            env.insert(v, net);
        }
    }

    fn chosen(&mut self, v: VarId, sel: &str, arms: &[(&str, &String)], default: &str) -> String {
        let net = self.name(&format!("{}$v", self.c.vars[v].name));
        let _ = writeln!(self.out, "reg {}{net};", range(self.c.vars[v].width));
        let _ = writeln!(self.out, "always @(*) case ({sel})");
        for (labels, value) in arms {
            let _ = writeln!(self.out, "    {labels}: {net} = {value};");
        }
        let _ = writeln!(self.out, "    default: {net} = {default};\nendcase");
        net
    }

    fn version(&mut self, v: VarId, text: &str) -> String {
        let var = &self.c.vars[v];
        self.net(&format!("{}$v", var.name), var.width, text)
    }

    fn net(&mut self, stem: &str, width: usize, text: &str) -> String {
        let net = self.name(stem);
        let _ = writeln!(self.out, "wire {}{net} = {text};", range(width));
        net
    }

    fn name(&mut self, stem: &str) -> String {
        loop {
            *self.count += 1;
            let name = format!("{stem}{}", self.count);
            if !self.c.names.contains(&name) {
                return name;
            }
        }
    }

    /// The text with every variable replaced by the net that holds it here.
    fn named(&self, text: &str, env: &Env) -> String {
        let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '$' || c == '\'';
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let end = rest.find(|c: char| !is_part(c)).unwrap_or(rest.len()).max(if is_part(first) {
                0
            } else {
                1
            });
            let (word, tail) = rest.split_at(end);
            let net = self.by_name.get(word).and_then(|id| env.get(id));
            out += net.map_or(word, String::as_str);
            rest = tail;
        }
        out
    }
}

fn range(width: usize) -> String {
    if width > 1 {
        format!("[{}:0] ", width - 1)
    } else {
        String::new()
    }
}
