//! Random well-typed expressions of the kernel dialect, as text.

/// Widths around which representations and word sizes change.
const EDGES: &[usize] =
    &[1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 40, 63, 64, 65, 96, 100, 127, 128, 129, 255, 256];

/// Draws programs. The same seed draws the same program.
pub struct Gen {
    state: u64,
    /// Names in scope that are `Bits`, with their widths.
    pub words: Vec<(String, usize)>,
    /// Names in scope that are `bool`.
    pub flags: Vec<String>,
    /// Helper functions: name, widths of the two words, width of the result.
    pub helpers: Vec<(String, usize, usize, usize)>,
}

impl Gen {
    pub fn new(seed: u64) -> Gen {
        Gen { state: seed ^ 0x5851_f42d_4c95_7f2d, words: vec![], flags: vec![], helpers: vec![] }
    }
    pub fn below(&mut self, n: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }
    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }
    pub fn width(&mut self) -> usize {
        if self.below(3) == 0 {
            1 + self.below(256)
        } else {
            EDGES[self.below(EDGES.len())]
        }
    }
    fn number(&mut self, w: usize) -> u64 {
        let top = if w >= 63 { u64::MAX >> 1 } else { (1 << w) - 1 };
        match self.below(4) {
            0 => top,
            1 => u64::from(w > 0),
            _ => (self.below(usize::MAX) as u64) & top,
        }
    }

    /// A value of `w` bits without a computation.
    fn leaf(&mut self, w: usize) -> String {
        if self.below(12) == 0 {
            return format!("bits::<{w}>({})", self.number(w));
        }
        let same: Vec<String> = self.words.iter().filter(|v| v.1 == w).map(|v| v.0.clone()).collect();
        if !same.is_empty() && self.below(3) > 0 {
            return same[self.below(same.len())].clone();
        }
        let n = self.below(self.words.len());
        let (name, v) = self.words[n].clone();
        if v > w && self.below(2) == 0 {
            let off = self.below(v - w + 1);
            return format!("{name}.get_bits::<{w}>({off})");
        }
        format!("bit_cast::<{w}, _>({name})")
    }

    /// An expression of `w` bits that is one operand: a name, a call or in parentheses.
    pub fn word(&mut self, w: usize, depth: usize) -> String {
        if depth == 0 || self.below(8) == 0 {
            return self.leaf(w);
        }
        let d = depth - 1;
        match self.below(18) {
            0..=4 => self.chain(w, d),
            5 => {
                let m = 1 + self.below(9);
                let (a, o, b) = (self.word(w, d), self.pick(&["<<", ">>"]), self.word(m, d));
                format!("({a} {o} {b})")
            }
            6 => {
                let (a, o, k) = (self.word(w, d), self.pick(&["<<", ">>"]), self.below(w + 2));
                format!("({a} {o} {k})")
            }
            7 => format!("(!{})", self.word(w, d)),
            8 => {
                let v = self.width();
                format!("bit_cast::<{w}, _>({})", self.word(v, d))
            }
            9 => {
                let v = self.width();
                let off = self.below(v + 1);
                format!("{}.get_bits::<{w}>({off})", self.word(v, d))
            }
            10 => self.dynamic_slice(w, d),
            11 => self.concatenation(w, d),
            12 => {
                let (c, a, b) = (self.flag(d), self.word(w, d), self.word(w, d));
                format!("(if {c} {{ {a} }} else {{ {b} }})")
            }
            13 => self.choice(w, d),
            14 if (2..=128).contains(&w) => {
                let n = 1 + self.below(w - 1);
                let (a, b) = (self.word(n, d), self.word(w - n, d));
                format!("mul::<{w}, _, _>({a}, {b})")
            }
            15 => format!("({} + {})", self.word(w, d), self.flag(d)),
            16 => {
                let (i, b) = (self.below(w), self.flag(d));
                format!("{}.replace_bit({i}, {b})", self.word(w, d))
            }
            _ => self.helper(w, d),
        }
    }

    /// `a + b & c`: precedence is Rust's.
    fn chain(&mut self, w: usize, d: usize) -> String {
        let mut t = self.word(w, d);
        let mut number_before = false;
        for _ in 0..1 + self.below(3) {
            let o = self.pick(&["+", "-", "&", "|", "^"]);
            // Two numbers side by side might be added to each other first, and then not fit.
            number_before = !number_before && self.below(6) == 0;
            let b =
                if number_before { self.number(w).to_string() } else { self.word(w, d.saturating_sub(1)) };
            t = if self.below(2) == 0 { format!("({t}) {o} {b}") } else { format!("{t} {o} {b}") };
        }
        format!("({t})")
    }

    fn dynamic_slice(&mut self, w: usize, d: usize) -> String {
        let v = 8 + self.width();
        let m = 1 + self.below((v + 1).ilog2() as usize);
        let (x, i) = (self.word(v, d), self.word(m, d));
        match self.below(3) {
            // Index arithmetic is exact: at most (2^m - 1) + (v + 1 - 2^m) = v.
            0 => format!("{x}.get_bits::<{w}>({i}.index() + {})", v + 1 - (1 << m)),
            1 if m <= 2 => format!("{x}.get_bits::<{w}>({i}.index() * 2)"),
            _ => format!("{x}.get_bits::<{w}>({i}.index())"),
        }
    }

    fn concatenation(&mut self, w: usize, d: usize) -> String {
        let (mut left, mut parts) = (w, vec![]);
        while left > 0 && parts.len() < 5 {
            let n = if parts.len() == 4 { left } else { 1 + self.below(left) };
            parts.push(if n == 1 && self.below(2) == 0 {
                self.flag(d)
            } else {
                self.word(n, d.saturating_sub(1))
            });
            left -= n;
        }
        if parts.len() == 1 {
            return format!("cat::<{w}, _>(({},))", parts[0]);
        }
        format!("cat::<{w}, _>(({}))", parts.join(", "))
    }

    fn choice(&mut self, w: usize, d: usize) -> String {
        let m = 1 + self.below(3);
        let i = self.word(m, d);
        let (a, b, c) = (self.word(w, d), self.word(w, d), self.word(w, d.saturating_sub(1)));
        match self.below(2) {
            0 => format!("select([{a}, {b}, {c}], {i})"),
            _ => format!("(match {i}.index() {{ 0 => {a}, 1 | 5 => {{ let t = {b}; t ^ 1 }}, _ => {c} }})"),
        }
    }

    fn helper(&mut self, w: usize, d: usize) -> String {
        if self.helpers.is_empty() {
            return self.leaf(w);
        }
        let n = self.below(self.helpers.len());
        let (f, a, b, r) = self.helpers[n].clone();
        let (a, b, c) = (self.word(a, d), self.word(b, d.saturating_sub(1)), self.flag(d.saturating_sub(1)));
        let call = format!("{f}({a}, {b}, {c})");
        if r == w {
            call
        } else {
            format!("bit_cast::<{w}, _>({call})")
        }
    }

    /// A `bool` that is one operand.
    pub fn flag(&mut self, depth: usize) -> String {
        if depth == 0 || self.below(6) == 0 {
            let n = self.below(self.flags.len());
            return self.flags[n].clone();
        }
        let (d, w) = (depth - 1, self.width());
        match self.below(9) {
            0..=2 => {
                let o = self.pick(&["==", "!=", "<", "<=", ">", ">="]);
                let b = if self.below(4) == 0 { self.number(w).to_string() } else { self.word(w, d) };
                format!("({} {o} {b})", self.word(w, d))
            }
            3 => {
                let i = self.below(w);
                format!("{}.get_bit({i})", self.word(w, d))
            }
            4 => {
                let (x, m) = (self.pick(&["any", "all", "xor"]), self.word(w, d));
                format!("{m}.{x}()")
            }
            5 => format!("(!{})", self.flag(d)),
            6 | 7 => {
                let o = self.pick(&["&&", "||", "^", "&", "|", "==", "!="]);
                format!("({} {o} {})", self.flag(d), self.flag(d))
            }
            _ => format!("(if {} {{ {} }} else {{ {} }})", self.flag(d), self.flag(d), self.flag(d)),
        }
    }
}
