//! One random block: helper functions, `let`s, `let mut`s changed under conditions, outputs.

use crate::expr::Gen;
use std::fmt::Write;

const WORDS: usize = 10;
const FLAGS: usize = 3;

fn helper(g: &mut Gen, k: usize) -> String {
    let (a, b, r) = (g.width(), g.width(), g.width());
    let name = format!("h{k}");
    let mut inner = Gen::new(g.below(usize::MAX) as u64);
    inner.words = vec![("a".into(), a), ("b".into(), b)];
    inner.flags = vec!["c".into()];
    let (w, x) = (inner.width(), inner.below(3));
    let t = inner.word(w, 2);
    inner.words.push(("t".into(), w));
    let value = inner.word(r, 2 + x / 2);
    g.helpers.push((name.clone(), a, b, r));
    format!(
        "#[kernel]\npub fn {name}(a: Bits<{a}>, b: Bits<{b}>, c: bool) -> Bits<{r}> {{\n    let t = {t};\n    {value}\n}}\n"
    )
}

/// `let` and `let mut` statements; their names join the scope.
fn variables(g: &mut Gen) -> String {
    let mut s = String::new();
    for k in 0..6 {
        let (w, name) = (g.width(), format!("v{k}"));
        let e = g.word(w, 3);
        if k % 2 == 0 {
            let _ = writeln!(s, "        let {name} = {e};");
        } else {
            let _ = writeln!(s, "        let mut {name} = {e};");
            let (c, d, x, y, i) = (g.flag(2), g.flag(1), g.word(w, 2), g.word(w, 2), g.word(2, 1));
            let p = 1 + g.below(w);
            let (off, v) = (g.below(w - p + 1), g.word(p, 1));
            let _ = writeln!(
                s,
                "        if {c} {{ {name} = {x}; }} else if {d} {{ let u = {y}; {name} = {name} ^ u; \
                 {name}.set_bits::<{p}>({off}, {v}); }}\n        match {i}.index() {{ 2 => {name} = {name} + 1, 0 | 3 => {{ \
                 {name} = !{name}; }} _ => {{}} }}"
            );
        }
        g.words.push((name, w));
    }
    let f = g.flag(3);
    let _ = writeln!(s, "        let f0 = {f};");
    g.flags.push("f0".into());
    s
}

/// Two records, functions on them, a register of one, and statements that change copies of it under conditions.
struct Records {
    /// Types and functions.
    items: String,
    /// Statements of the kernel.
    body: String,
    /// Bits of the outer record.
    width: usize,
}

fn records(g: &mut Gen) -> Records {
    let (a, b, c) = (g.width(), g.width(), g.width());
    let mut inner = Gen::new(g.below(usize::MAX) as u64);
    inner.words = vec![("s.i.a".into(), a), ("s.i.b".into(), b), ("s.c".into(), c), ("w".into(), c)];
    inner.flags = vec!["s.i.f".into(), "go".into()];
    let e = |g: &mut Gen, w: usize| g.word(w, 2);
    let (a1, a2, a3, b1, b2, c1, c2) = (
        e(&mut inner, a),
        e(&mut inner, a),
        e(&mut inner, a),
        e(&mut inner, b),
        e(&mut inner, b),
        e(&mut inner, c),
        e(&mut inner, c),
    );
    let (f1, f2, f3, m) = (inner.flag(2), inner.flag(2), inner.flag(1), inner.word(3, 1));
    let items = format!(
        "#[derive(LogicState, Copy, Clone, PartialEq, Debug)]\npub enum K {{ P, Q, R }}\n\
         #[derive(LogicStruct, Copy, Clone, Default, PartialEq, Debug)]\npub struct I {{ a: Bits<{a}>, f: bool, b: Bits<{b}> }}\n\
         #[derive(LogicStruct, Copy, Clone, Default, PartialEq, Debug)]\npub struct S {{ i: I, k: K, c: Bits<{c}> }}\n\
         #[kernel]\npub fn r0(s: S, w: Bits<{c}>, go: bool) -> S {{\n    let mut n = s;\n    n.i.a = {a1};\n    if {f1} {{ n.i = I {{ b: {b1}, ..n.i }}; n.c = n.c ^ w; }}\n    n\n}}\n\
         #[kernel]\npub fn r1(s: S, w: Bits<{c}>, go: bool) -> S {{\n    S {{ c: {c1}, k: match s.k {{ K::P => K::R, K::Q => K::P, K::R => if go {{ K::Q }} else {{ K::P }} }}, ..s }}\n}}\n\
         #[kernel]\npub fn r2(s: S, w: Bits<{c}>, go: bool) -> S {{\n    match {m}.index() {{\n        0 => r0(s, w, go),\n        1 | 2 => r1(r0(s, w, {f2}), w, go),\n        \
         3 => {{ let mut n = r1(s, w, go); n.i.f = {f3}; n.i.a = {a2}; n }}\n        4 => S::default(),\n        \
         5 => {{ let mut n = s; let t = n; n.c = {c2}; S {{ i: t.i, ..n }} }}\n        _ => if {f1} {{ S {{ i: I {{ a: {a3}, f: go, b: {b2} }}, ..s }} }} else {{ s }},\n    }}\n}}\n"
    );
    let (w, v, go, x) = (g.word(c, 2), g.word(c, 1), g.flag(2), g.flag(2));
    let body = format!(
        "        let s = self.s.q.val();\n        let mut m = r2(s, {w}, {go});\n        if {x} {{ m = r2(m, {v}, true); }} else if s.i.f {{ m.i = s.i; m = r1(m, s.c, m.i.f); }}\n        \
         match m.k {{ K::P => m.c = m.c + 1, K::Q => {{ let o = m; m.i.f = !o.i.f; m = r0(m, o.c, m.i.f); }} K::R => {{}} }}\n        \
         self.s.d.next = m;\n        if s.i.f && m.i.f {{ self.s.d.next.i.b = m.i.b ^ s.i.b; }}\n        self.whole.next = s;\n        self.next.next = pack::<{}, _>(m);\n        \
         self.same.next = m == s;\n        self.inner.next = select([m.i, s.i, self.pin.val()], self.sel.val());\n",
        a + 1 + b + 2 + c
    );
    g.words.extend([
        ("s.i.a".into(), a),
        ("m.i.b".into(), b),
        ("m.c".into(), c),
        ("self.pin.val().a".into(), a),
    ]);
    g.flags.push("m.i.f".into());
    Records { items, body, width: a + 1 + b + 2 + c }
}

/// The text of block number `n`.
pub fn block(n: usize, outputs: usize, seed: u64) -> String {
    let mut g = Gen::new(seed);
    let mut text = format!("pub mod b{n} {{\nuse super::*;\n");
    for k in 0..3 {
        text += &helper(&mut g, k);
    }
    let mut fields = String::from(
        "    clock: Signal<In, Clock>,\n    s: Dff<S>,\n    pin: Signal<In, I>,\n    sel: Signal<In, Bits<2>>,\n    whole: Signal<Out, S>,\n    \
         same: Signal<Out, bool>,\n    inner: Signal<Out, I>,\n",
    );
    let mut poke = String::from("    u.pin.next = r.any();\n    u.sel.next = r.any();\n");
    for k in 0..WORDS {
        let w = g.width();
        g.words.push((format!("self.i{k}.val()"), w));
        let _ = writeln!(fields, "    i{k}: Signal<In, Bits<{w}>>,");
        let _ = writeln!(poke, "    u.i{k}.next = r.any();");
    }
    for k in 0..FLAGS {
        g.flags.push(format!("self.c{k}.val()"));
        let _ = writeln!(fields, "    c{k}: Signal<In, bool>,");
        let _ = writeln!(poke, "    u.c{k}.next = r.any();");
    }
    let r = records(&mut g);
    text += &r.items;
    let _ = writeln!(fields, "    next: Signal<Out, Bits<{}>>,", r.width);
    let mut body = String::from("        dff_setup!(self, clock, s);\n") + &r.body;
    body += &variables(&mut g);
    for k in 0..outputs {
        let depth = 2 + g.below(3);
        if g.below(6) == 0 {
            let _ = writeln!(fields, "    o{k}: Signal<Out, bool>,");
            let _ = writeln!(body, "        self.o{k}.next = {};", g.flag(depth));
        } else {
            let w = g.width();
            let _ = writeln!(fields, "    o{k}: Signal<Out, Bits<{w}>>,");
            let _ = writeln!(body, "        self.o{k}.next = {};", g.word(w, depth));
        }
    }
    let _ = write!(
        text,
        "#[derive(LogicBlock, Default)]\npub struct B {{\n{fields}}}\n#[kernel]\nimpl Logic for B {{\n    fn update(&mut self) {{\n{body}    }}\n}}\n\
         pub fn check() -> usize {{\n    let poke = |u: &mut B, r: &mut Rnd| {{\n{poke}    }};\n    \
         super::compare(\"expr_{n}\", B::default(), poke, |u, c| u.clock.next = c.into(), {})\n}}\n}}\n",
        outputs + 4
    );
    text
}
