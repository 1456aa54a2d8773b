//! From recorded statements to Verilog text.
//!
//! One big `always @(*)` would be right, but a simulator sees it as one node: a block that drives `valid` forward and
//! `ready` backward would look like a combinational loop at its neighbours (UNOPTFLAT). So the statements are cut into
//! one `always` block per group of variables; every block holds the slice of the program that assigns its group.
//! Variables belong together when one is read before its last assignment, or when a `let` serves a single group.
//!
//! The group of the registers is a clocked process (see [`process`]).

use super::ctx::{is_for_synthesis, Ctx, Rhs, Role, Stmt, VarId};
use super::nets;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// Marks a body that declares its own output variables (hand-written text expects `output reg`).
pub(crate) const KERNEL: &str = "@kernel@\n";

/// Union-find over variables.
struct Groups {
    parent: Vec<usize>,
}
impl Groups {
    fn root(&mut self, v: usize) -> usize {
        let mut r = v;
        while self.parent[r] != r {
            r = self.parent[r];
        }
        self.parent[v] = r;
        r
    }
    fn union(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.parent[a.max(b)] = a.min(b);
    }
}

/// One assignment with everything it depends on: `(variable, position at which it is read)`.
struct Event {
    dst: VarId,
    reads: Vec<(VarId, usize)>,
}

fn flatten(stmts: &[Stmt], conds: &mut Vec<(VarId, usize)>, pos: &mut usize, out: &mut Vec<(usize, Event)>) {
    for s in stmts {
        *pos += 1;
        let here = *pos;
        match s {
            Stmt::Assign { dst, rhs, .. } => {
                let mut reads = conds.clone();
                reads.extend(rhs.reads.iter().map(|v| (*v, here)));
                out.push((here, Event { dst: *dst, reads }));
            }
            Stmt::If { cond, then, other } => {
                let n = conds.len();
                conds.extend(cond.reads.iter().map(|v| (*v, here)));
                flatten(then, conds, pos, out);
                flatten(other, conds, pos, out);
                conds.truncate(n);
            }
            Stmt::Case { sel, arms } => {
                let n = conds.len();
                conds.extend(sel.reads.iter().map(|v| (*v, here)));
                for (_, body) in arms {
                    flatten(body, conds, pos, out);
                }
                conds.truncate(n);
            }
        }
    }
}

/// Cuts the variables into groups; returns the group of each driven variable.
fn group(c: &Ctx) -> BTreeMap<VarId, usize> {
    let mut events = vec![];
    flatten(&c.stmts, &mut vec![], &mut 0, &mut events);
    let mut last = BTreeMap::new();
    for (pos, e) in &events {
        last.insert(e.dst, *pos);
    }
    let mut g = Groups { parent: (0..c.vars.len()).collect() };
    for (_, e) in &events {
        for (v, at) in &e.reads {
            if *v != e.dst && last.get(v).is_some_and(|l| l >= at) {
                g.union(*v, e.dst);
            }
        }
    }
    // Next values of registers are read by nobody here: they can share one block.
    let mut first_d = None;
    for r in c.regs.iter().filter(|r| last.contains_key(&r.d)) {
        let d = *first_d.get_or_insert(r.d);
        g.union(d, r.d);
    }
    join_ports(c, &events, &mut g);
    let readers = readers(&events, &last);
    merge_cycles(&readers, &mut g);
    merge_private_lets(c, &readers, &last, &mut g);
    last.keys().map(|v| (*v, g.root(*v))).collect()
}

/// The fields of a port that are assigned in branches belong together: each for itself would repeat the branches.
fn join_ports(c: &Ctx, events: &[(usize, Event)], g: &mut Groups) {
    let mut count: BTreeMap<VarId, usize> = BTreeMap::new();
    events.iter().for_each(|(_, e)| *count.entry(e.dst).or_default() += 1);
    let plain = |s: &Stmt| match s {
        Stmt::Assign { dst, part: None, .. } => Some(*dst),
        _ => None,
    };
    let plain: BTreeSet<VarId> = c.stmts.iter().filter_map(plain).collect();
    let is_net = |v: &VarId| count.get(v) == Some(&1) && plain.contains(v);
    for port in c.vars.iter().filter(|v| matches!(v.role, Role::Out | Role::ChildIn)) {
        let mut branched = port.split.iter().map(|f| f.1).filter(|v| count.contains_key(v) && !is_net(v));
        if let Some(first) = branched.next() {
            branched.for_each(|v| g.union(first, v));
        }
    }
}

/// For each driven variable, the variables whose assignments read it.
fn readers(events: &[(usize, Event)], last: &BTreeMap<VarId, usize>) -> BTreeMap<VarId, BTreeSet<VarId>> {
    let mut out: BTreeMap<VarId, BTreeSet<VarId>> = last.keys().map(|v| (*v, BTreeSet::new())).collect();
    for (_, e) in events {
        for (v, _) in &e.reads {
            if let Some(set) = out.get_mut(v) {
                set.insert(e.dst);
            }
        }
    }
    out
}

/// Groups that need each other become one: strongly connected components (Kosaraju).
fn merge_cycles(readers: &BTreeMap<VarId, BTreeSet<VarId>>, g: &mut Groups) {
    let mut next: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    let mut back: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (v, users) in readers {
        let from = g.root(*v);
        next.entry(from).or_default();
        for u in users {
            let to = g.root(*u);
            next.entry(from).or_default().insert(to);
            back.entry(to).or_default().insert(from);
        }
    }
    let (mut seen, mut order) = (BTreeSet::new(), vec![]);
    for start in next.keys() {
        // Depth first; a node is pushed a second time to be noted after its successors.
        let mut todo = vec![(*start, false)];
        while let Some((x, done)) = todo.pop() {
            if done {
                order.push(x);
            } else if seen.insert(x) {
                todo.push((x, true));
                todo.extend(next.get(&x).into_iter().flatten().map(|y| (*y, false)));
            }
        }
    }
    let mut placed = BTreeSet::new();
    for start in order.into_iter().rev() {
        let mut todo = vec![start];
        while let Some(x) = todo.pop() {
            if placed.insert(x) {
                g.union(start, x);
                todo.extend(back.get(&x).into_iter().flatten());
            }
        }
    }
}

/// A `let` that serves one group moves into its block.
fn merge_private_lets(
    c: &Ctx,
    readers: &BTreeMap<VarId, BTreeSet<VarId>>,
    last: &BTreeMap<VarId, usize>,
    g: &mut Groups,
) {
    let mut members: BTreeMap<usize, Vec<VarId>> = BTreeMap::new();
    for v in last.keys() {
        members.entry(g.root(*v)).or_default().push(*v);
    }
    let mut lets: Vec<VarId> = last.keys().copied().filter(|v| c.vars[*v].role == Role::Let).collect();
    lets.sort_by_key(|v| std::cmp::Reverse(last[v]));
    for v in lets {
        let mine = g.root(v);
        if members[&mine].iter().any(|m| c.vars[*m].role != Role::Let) {
            continue; // it drives something itself
        }
        let mut users = BTreeSet::new();
        for u in members[&mine].iter().flat_map(|m| &readers[m]) {
            let root = g.root(*u);
            if root != mine {
                users.insert(root);
            }
            if users.len() > 1 {
                break;
            }
        }
        if let (1, Some(u)) = (users.len(), users.first()) {
            let moved = members.remove(&mine).unwrap_or_default();
            let mut joined = members.remove(u).unwrap_or_default();
            joined.extend(moved);
            g.union(mine, *u);
            members.insert(g.root(mine), joined);
        }
    }
}

/// The statements that assign a variable of `keep`.
fn slice(stmts: &[Stmt], keep: &impl Fn(VarId) -> bool) -> Vec<Stmt> {
    let mut out = vec![];
    for s in stmts {
        match s {
            Stmt::Assign { dst, .. } if keep(*dst) => out.push(s.clone()),
            Stmt::Assign { .. } => {}
            Stmt::If { cond, then, other } => {
                let (then, other) = (slice(then, keep), slice(other, keep));
                if !then.is_empty() || !other.is_empty() {
                    out.push(Stmt::If { cond: cond.clone(), then, other });
                }
            }
            Stmt::Case { sel, arms } => {
                let arms: Vec<_> = arms.iter().map(|(l, b)| (l.clone(), slice(b, keep))).collect();
                if arms.iter().any(|a| !a.1.is_empty()) {
                    out.push(Stmt::Case { sel: sel.clone(), arms });
                }
            }
        }
    }
    out
}

/// Next values that are written straight into their registers, and the names of these.
type Held<'a> = BTreeMap<VarId, &'a str>;

fn print(c: &Ctx, stmts: &[Stmt], held: &Held, depth: usize, out: &mut String) {
    let pad = "    ".repeat(depth);
    for s in stmts {
        match s {
            Stmt::Assign { dst, part, rhs } => {
                let (name, op) = held.get(dst).map_or((c.vars[*dst].name.as_str(), "="), |q| (*q, "<="));
                let place = match part {
                    None => name.to_owned(),
                    Some((o, 1)) => format!("{name}[{o}]"),
                    Some((o, w)) => format!("{name}[{}:{o}]", o + w - 1),
                };
                let _ = writeln!(out, "{pad}{place} {op} {};", rhs.text);
            }
            Stmt::If { cond, then, other } => print_if(c, (cond, then, other), held, depth, out),
            Stmt::Case { sel, arms } => {
                let _ = writeln!(out, "{pad}case ({})", sel.text);
                for (labels, body) in arms {
                    let l = if labels.is_empty() { "default".into() } else { labels.join(", ") };
                    let _ = writeln!(out, "{pad}    {l}: begin");
                    print(c, body, held, depth + 2, out);
                    let _ = writeln!(out, "{pad}    end");
                }
                let _ = writeln!(out, "{pad}endcase");
            }
        }
    }
}

fn print_if(
    c: &Ctx,
    (cond, then, other): (&Rhs, &[Stmt], &[Stmt]),
    held: &Held,
    depth: usize,
    out: &mut String,
) {
    let pad = "    ".repeat(depth);
    if then.is_empty() {
        let _ = writeln!(out, "{pad}if (!({})) begin", cond.text);
        print(c, other, held, depth + 1, out);
    } else {
        let _ = writeln!(out, "{pad}if ({}) begin", cond.text);
        print(c, then, held, depth + 1, out);
    }
    let mut rest = if then.is_empty() { &[] } else { other };
    while let [Stmt::If { cond, then, other }] = rest {
        if then.is_empty() {
            break;
        }
        let _ = writeln!(out, "{pad}end else if ({}) begin", cond.text);
        print(c, then, held, depth + 1, out);
        rest = other;
    }
    if !rest.is_empty() {
        let _ = writeln!(out, "{pad}end else begin");
        print(c, rest, held, depth + 1, out);
    }
    let _ = writeln!(out, "{pad}end");
}

fn range(width: usize) -> String {
    if width > 1 {
        format!("[{}:0] ", width - 1)
    } else {
        String::new()
    }
}

/// The body of the module: declarations, instances, logic, registers.
pub(crate) fn body(c: &Ctx) -> String {
    let groups = group(c);
    let mut order: Vec<usize> = vec![];
    let mut members: BTreeMap<usize, Vec<VarId>> = BTreeMap::new();
    for (v, g) in &groups {
        members.entry(*g).or_default().push(*v);
    }
    last_assigned(&c.stmts, &groups, &mut order);
    let slices: BTreeMap<usize, Vec<Stmt>> =
        order.iter().map(|g| (*g, slice(&c.stmts, &|v| groups.get(&v) == Some(g)))).collect();
    let flat = is_for_synthesis();
    // A variable with one unconditional assignment is a net.
    let net = |v: VarId| {
        if flat && groups.contains_key(&v) {
            return true;
        }
        let only = groups.get(&v).and_then(|g| slices.get(g)).map(Vec::as_slice);
        let single = matches!(only, Some([Stmt::Assign { part: None, .. }]));
        match c.vars[v].role {
            Role::ChildOut => true,
            Role::Let | Role::Local | Role::ChildIn | Role::Out => single,
            _ => false,
        }
    };
    let clocked = clocked(c, &groups).filter(|_| !flat);
    let mut out = String::from(KERNEL);
    out += &declarations(c, &groups, &net, (flat, clocked));
    instances(c, &mut out);
    let mut count = 0;
    for g in order.iter().filter(|g| Some(**g) != clocked) {
        match flat {
            true => nets::print(c, &slices[g], &members[g], &mut count, &mut out),
            false => logic(c, &slices[g], &members[g], &mut out),
        }
    }
    initial(c, &mut out);
    match clocked {
        Some(g) => process(c, &slices[&g], &mut out),
        None => registers(c, &mut out),
    }
    out
}

fn last_assigned(stmts: &[Stmt], groups: &BTreeMap<VarId, usize>, order: &mut Vec<usize>) {
    for s in stmts {
        match s {
            Stmt::Assign { dst, .. } => {
                let g = groups[dst];
                order.retain(|x| *x != g);
                order.push(g);
            }
            Stmt::If { then, other, .. } => {
                last_assigned(then, groups, order);
                last_assigned(other, groups, order);
            }
            Stmt::Case { arms, .. } => arms.iter().for_each(|(_, b)| last_assigned(b, groups, order)),
        }
    }
}

fn declarations(
    c: &Ctx,
    groups: &BTreeMap<VarId, usize>,
    net: &impl Fn(VarId) -> bool,
    (flat, clocked): (bool, Option<usize>),
) -> String {
    let mut out = String::new();
    for (id, v) in c.vars.iter().enumerate() {
        let skip = match v.role {
            _ if !v.split.is_empty() => true,
            Role::In | Role::Const => true,
            Role::ChildIn => c.clocks.contains_key(&id),
            // An output that is a net is declared so by the header already.
            Role::Out => net(id),
            Role::Let => !groups.contains_key(&id),
            Role::DffD if clocked.is_some() => true,
            _ => false,
        };
        if !skip {
            let kind = if net(id) { "wire" } else { "reg" };
            let is_latch = is_loose(c, id) && (clocked.is_none() || groups.get(&id).copied() != clocked);
            let attr = if is_latch && !flat { "(* nosync *) " } else { "" };
            let _ = writeln!(out, "{attr}{kind} {}{};", range(v.width), v.name);
        }
    }
    out
}

/// `@child@` stands for the module name of the child, which only the netlist knows.
fn instances(c: &Ctx, out: &mut String) {
    for ch in &c.children {
        let ports: Vec<String> = ch
            .ports
            .iter()
            .map(|(p, id)| format!(".{p}({})", c.clocks.get(id).unwrap_or(&c.vars[*id].name)))
            .collect();
        let _ = writeln!(out, "@{n}@ {n}({});", ports.join(", "), n = ch.name);
    }
}

fn logic(c: &Ctx, stmts: &[Stmt], members: &[VarId], out: &mut String) {
    if let [Stmt::Assign { dst, part: None, rhs }] = stmts {
        if c.vars[*dst].role != Role::DffD {
            let _ = writeln!(out, "assign {} = {};", c.vars[*dst].name, rhs.text);
            return;
        }
    }
    let mut text = String::new();
    for v in members.iter().filter(|v| c.vars[**v].nested && !is_loose(c, **v)) {
        let v = &c.vars[*v];
        let _ = writeln!(text, "    {} = {};", v.name, super::ex::literal(v.width, "0"));
    }
    print(c, stmts, &Held::new(), 1, &mut text);
    // A block that reads nothing would never run in an event-driven simulator.
    let head = if reads_nothing(stmts) { "initial" } else { "always @(*)" };
    if members.iter().any(|v| is_loose(c, *v)) {
        let (off, on) = ("/* verilator lint_off LATCH */", "/* verilator lint_on LATCH */");
        let _ = write!(out, "{off}\n{head} begin\n{text}end\n{on}\n");
        return;
    }
    let _ = write!(out, "{head} begin\n{text}end\n");
}

/// Variables of a branch that are wider than this are not cleared outside of it.
const WIDE: usize = 64;

/// A wide variable that lives in one branch. It is written there before it is read, so no value of it ever outlives an
/// evaluation: clearing it each time elsewhere costs a simulator half its speed, and `nosync` tells synthesis that it
/// is no latch.
fn is_loose(c: &Ctx, v: VarId) -> bool {
    c.vars[v].nested && c.vars[v].width > WIDE
}

fn reads_nothing(stmts: &[Stmt]) -> bool {
    stmts.iter().all(|s| match s {
        Stmt::Assign { rhs, .. } => rhs.reads.is_empty(),
        Stmt::If { cond, then, other } => {
            cond.reads.is_empty() && reads_nothing(then) && reads_nothing(other)
        }
        Stmt::Case { sel, arms } => sel.reads.is_empty() && arms.iter().all(|a| reads_nothing(&a.1)),
    })
}

/// The group of the next values, if it can be a clocked process: nobody else reads what it works out, nobody reads a next
/// value, and there is one clock. See [`process`].
fn clocked(c: &Ctx, groups: &BTreeMap<VarId, usize>) -> Option<usize> {
    let mut written = c.regs.iter().filter(|r| groups.contains_key(&r.d));
    let first = written.next()?;
    if written.any(|r| r.clock != first.clock) {
        return None;
    }
    let mine = groups[&first.d];
    let in_mine = |v: &VarId| groups.get(v) == Some(&mine);
    let fits = |v: &VarId| matches!(c.vars[*v].role, Role::DffD | Role::Let);
    if !groups.keys().filter(|v| in_mine(v)).all(fits) {
        return None;
    }
    let mut events = vec![];
    flatten(&c.stmts, &mut vec![], &mut 0, &mut events);
    let leaks = |e: &Event, v: &VarId| {
        c.vars[*v].role == Role::DffD || (in_mine(v) && groups.get(&e.dst) != Some(&mine))
    };
    let is_closed = events.iter().all(|(_, e)| !e.reads.iter().any(|(v, _)| leaks(e, v)));
    is_closed.then_some(mine)
}

/// The registers as one clocked process. What is not taken this time is not worked out, and a register that holds costs
/// nothing: with the next values as variables of their own a simulator writes all of them, and copies all of them, each clock.
fn process(c: &Ctx, stmts: &[Stmt], out: &mut String) {
    let held: Held = c.regs.iter().map(|r| (r.d, c.vars[r.q].name.as_str())).collect();
    let rest = without_holds(stmts, &held, &mut BTreeSet::new());
    let Some(clock) = c.regs.iter().find_map(|r| r.clock.as_ref()) else { return };
    let (off, on) = ("/* verilator lint_off BLKSEQ */", "/* verilator lint_on BLKSEQ */");
    let _ = writeln!(out, "{off}\nalways @(posedge {clock}) begin");
    print(c, &rest, &held, 1, out);
    let _ = writeln!(out, "end\n{on}");
}

/// A register holds by itself; only a hold that takes back something written before stays.
fn without_holds(stmts: &[Stmt], held: &Held, written: &mut BTreeSet<VarId>) -> Vec<Stmt> {
    let mut out = vec![];
    for s in stmts {
        match s {
            Stmt::Assign { dst, part, rhs } => {
                let holds = part.is_none() && held.get(dst) == Some(&rhs.text.as_str());
                if !holds || written.contains(dst) {
                    written.insert(*dst);
                    out.push(s.clone());
                }
            }
            Stmt::If { cond, then, other } => {
                let mut after = written.clone();
                let then = without_holds(then, held, written);
                let other = without_holds(other, held, &mut after);
                written.append(&mut after);
                if !then.is_empty() || !other.is_empty() {
                    out.push(Stmt::If { cond: cond.clone(), then, other });
                }
            }
            Stmt::Case { sel, arms } => {
                let before = written.clone();
                let arm = |(labels, body): &(Vec<String>, Vec<Stmt>)| {
                    let mut after = before.clone();
                    let body = without_holds(body, held, &mut after);
                    written.append(&mut after);
                    (labels.clone(), body)
                };
                out.push(Stmt::Case { sel: sel.clone(), arms: arms.iter().map(arm).collect() });
            }
        }
    }
    out
}

fn initial(c: &Ctx, out: &mut String) {
    for r in &c.regs {
        let q = &c.vars[r.q];
        let _ = writeln!(out, "initial {} = {};", q.name, q.init);
    }
}

fn registers(c: &Ctx, out: &mut String) {
    let clocks: BTreeSet<&String> = c.regs.iter().filter_map(|r| r.clock.as_ref()).collect();
    for clock in clocks {
        let _ = writeln!(out, "always @(posedge {clock}) begin");
        for r in c.regs.iter().filter(|r| r.clock.as_ref() == Some(clock)) {
            let _ = writeln!(out, "    {} <= {};", c.vars[r.q].name, c.vars[r.d].name);
        }
        let _ = writeln!(out, "end");
    }
}
