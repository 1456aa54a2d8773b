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

/// The text of block number `n`.
pub fn block(n: usize, outputs: usize, seed: u64) -> String {
    let mut g = Gen::new(seed);
    let mut text = format!("pub mod b{n} {{\nuse super::*;\n");
    for k in 0..3 {
        text += &helper(&mut g, k);
    }
    text += "#[derive(LogicBlock, Default)]\npub struct B {\n";
    let mut poke = String::new();
    for k in 0..WORDS {
        let w = g.width();
        g.words.push((format!("self.i{k}.val()"), w));
        let _ = writeln!(text, "    i{k}: Signal<In, Bits<{w}>>,");
        let _ = writeln!(poke, "    u.i{k}.next = r.any();");
    }
    for k in 0..FLAGS {
        g.flags.push(format!("self.c{k}.val()"));
        let _ = writeln!(text, "    c{k}: Signal<In, bool>,");
        let _ = writeln!(poke, "    u.c{k}.next = r.any();");
    }
    let mut body = variables(&mut g);
    for k in 0..outputs {
        let depth = 2 + g.below(3);
        if g.below(6) == 0 {
            let _ = writeln!(text, "    o{k}: Signal<Out, bool>,");
            let _ = writeln!(body, "        self.o{k}.next = {};", g.flag(depth));
        } else {
            let w = g.width();
            let _ = writeln!(text, "    o{k}: Signal<Out, Bits<{w}>>,");
            let _ = writeln!(body, "        self.o{k}.next = {};", g.word(w, depth));
        }
    }
    let _ = write!(
        text,
        "}}\n#[kernel]\nimpl Logic for B {{\n    fn update(&mut self) {{\n{body}    }}\n}}\n\
         pub fn check() -> usize {{\n    let poke = |u: &mut B, r: &mut Rnd| {{\n{poke}    }};\n    \
         super::compare(\"expr_{n}\", B::default(), poke, {outputs})\n}}\n}}\n"
    );
    text
}
