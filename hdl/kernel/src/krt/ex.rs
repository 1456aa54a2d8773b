//! `Ex`: a symbolic value without its Rust type. Everything that does not need the type is done here, once, so that the
//! typed layer above costs the compiler little.

use super::ctx::{cx, fail, Rhs, Role, Stmt, VarId};
use rust_hdl_core::prelude::VerilogLiteral;

/// Verilog text with what must be known about it.
#[derive(Clone)]
pub struct Ex {
    pub(crate) text: String,
    /// No parentheses are needed around `text`.
    pub(crate) atomic: bool,
    pub(crate) reads: Vec<VarId>,
    /// The variable and bit offset, when `text` is a variable or a slice of one.
    pub(crate) base: Option<(VarId, usize)>,
    /// The named variables cannot change within one evaluation of the kernel.
    pub(crate) fix: bool,
}

pub(crate) fn merged(a: &[VarId], b: &[VarId]) -> Vec<VarId> {
    let mut r = a.to_vec();
    r.extend(b.iter().filter(|x| !a.contains(x)));
    r
}

/// A sized literal as text.
pub(crate) fn literal(width: usize, hex: &str) -> String {
    format!("{width}'h{hex}")
}

pub(crate) fn konst_text(width: usize, v: &VerilogLiteral) -> String {
    let s = format!("{v:x}");
    literal(width, s.split_once("'h").map_or("0", |x| x.1))
}

impl Ex {
    pub(crate) fn new(text: String, atomic: bool, reads: Vec<VarId>, fix: bool) -> Ex {
        Ex { text, atomic, reads, base: None, fix }
    }
    pub(crate) fn lit(width: usize, hex: &str) -> Ex {
        Ex::new(literal(width, hex), true, vec![], true)
    }
    /// A plain integer as a literal; an error when it does not fit.
    #[track_caller]
    pub(crate) fn int(width: usize, v: u64) -> Ex {
        if width < 64 && v >> width != 0 {
            fail(format!("{v} does not fit into {width} bits"));
        }
        Ex::lit(width, &format!("{v:x}"))
    }
    /// A constant value.
    pub(crate) fn konst(width: usize, v: &VerilogLiteral) -> Ex {
        Ex::new(konst_text(width, v), true, vec![], true)
    }
    pub(crate) fn bool(v: bool) -> Ex {
        Ex::lit(1, if v { "1" } else { "0" })
    }
    pub(crate) fn var(id: VarId) -> Ex {
        cx(|c| {
            let v = &c.vars[id];
            let fix = matches!(v.role, Role::In | Role::ChildOut | Role::DffQ | Role::Const);
            Ex { text: v.name.clone(), atomic: true, reads: vec![id], base: Some((id, 0)), fix }
        })
    }
    /// The text as an operand.
    pub(crate) fn p(&self) -> String {
        if self.atomic {
            self.text.clone()
        } else {
            format!("({})", self.text)
        }
    }
    pub(crate) fn rhs(&self) -> Rhs {
        Rhs { text: self.text.clone(), reads: self.reads.clone() }
    }
    pub(crate) fn bin(&self, o: &str, b: &Ex) -> Ex {
        let text = format!("{} {o} {}", self.p(), b.p());
        Ex::new(text, false, merged(&self.reads, &b.reads), self.fix && b.fix)
    }
    pub(crate) fn unary(self, o: &str) -> Ex {
        Ex::new(format!("{o}{}", self.p()), false, self.reads, self.fix)
    }
    /// `self ? a : b`.
    pub(crate) fn choose(&self, a: &Ex, b: &Ex) -> Ex {
        let reads = merged(&self.reads, &merged(&a.reads, &b.reads));
        let text = format!("{} ? {} : {}", self.p(), a.p(), b.p());
        Ex::new(text, false, reads, a.fix && b.fix && self.fix)
    }
    /// Puts an expression into a variable of its own, so that it can be sliced or used many times.
    pub(crate) fn temp(&self, name: &str, width: usize) -> Ex {
        let id = cx(|c| {
            let id = c.fresh(name, width);
            c.push(Stmt::Assign { dst: id, part: None, rhs: self.rhs() });
            id
        });
        Ex { fix: true, ..Ex::var(id) } // assigned exactly here
    }
    /// A variable or a slice of one, if need be a new one.
    pub(crate) fn named(self, name: &str, width: usize) -> Ex {
        if self.base.is_some() {
            self
        } else {
            self.temp(name, width)
        }
    }
    /// Bits `off .. off + w` of this value of `n` bits. The caller has checked the range.
    pub(crate) fn slice(self, n: usize, off: usize, w: usize) -> Ex {
        if off == 0 && w == n {
            return self;
        }
        let e = self.named("t", n);
        let (id, o) = e.base.expect("a variable has a base");
        let o = o + off;
        let (name, full) = cx(|c| (c.vars[id].name.clone(), c.vars[id].width));
        let text = match w {
            _ if w == full => name,
            1 => format!("{name}[{o}]"),
            _ => format!("{name}[{}:{o}]", o + w - 1),
        };
        Ex { text, base: Some((id, o)), ..e }
    }
    /// Zero extension or truncation from `n` to `m` bits.
    pub(crate) fn resize(self, m: usize, n: usize) -> Ex {
        if m > n {
            Ex::new(format!("{{{}, {}}}", literal(m - n, "0"), self.text), true, self.reads, self.fix)
        } else {
            self.slice(n, 0, m)
        }
    }
    /// `let name = self;`
    pub(crate) fn bind(self, name: &str, width: usize) -> Ex {
        // A name (or literal) that cannot change needs no copy.
        if self.fix && (self.base.is_some() || self.reads.is_empty()) {
            self
        } else {
            self.temp(name, width)
        }
    }
    /// One or `m` bits from the fixed position `i` of `n` bits.
    #[track_caller]
    pub(crate) fn bits_at(self, n: usize, i: usize, m: usize) -> Ex {
        if i > n {
            fail(format!("bits from {i} of {n} bits"));
        }
        if i >= n {
            Ex::lit(m, "0")
        } else if i + m > n {
            self.slice(n, i, n - i).resize(m, n - i)
        } else {
            self.slice(n, i, m)
        }
    }
    /// `m` bits from the dynamic position `i` of `n` bits; zeros above.
    pub(crate) fn bits_from(self, n: usize, i: &Idx, m: usize) -> Ex {
        self.bin(">>", &i.0).resize(m, n)
    }
}

/// A hardware value used as an index (`x.index()`): arithmetic on it is exact, the width grows.
#[derive(Clone)]
pub struct Idx(pub(crate) Ex, pub(crate) usize);

impl Idx {
    pub(crate) fn of(v: usize) -> Idx {
        let width = (usize::BITS - v.leading_zeros()).max(1) as usize;
        Idx(Ex::lit(width, &format!("{v:x}")), width)
    }
    fn bin(self, o: &str, b: Idx, w: usize) -> Idx {
        Idx(self.0.resize(w, self.1).bin(o, &b.0.resize(w, b.1)), w)
    }
}
impl std::ops::Add for Idx {
    type Output = Idx;
    fn add(self, b: Idx) -> Idx {
        let w = self.1.max(b.1) + 1;
        self.bin("+", b, w)
    }
}
impl std::ops::Add<usize> for Idx {
    type Output = Idx;
    fn add(self, b: usize) -> Idx {
        self + Idx::of(b)
    }
}
impl std::ops::Mul<usize> for Idx {
    type Output = Idx;
    fn mul(self, b: usize) -> Idx {
        let b = Idx::of(b);
        let widths = [self.1, b.1];
        self.bin("*", b, widths.iter().sum())
    }
}

/// A bit position: a plain integer (checked while emitting), or an [`Idx`].
pub trait Offset {
    /// The integer, if it is one.
    fn fixed(&self) -> Option<usize>;
    /// As an index expression.
    fn idx(self) -> Idx;
}
impl Offset for usize {
    fn fixed(&self) -> Option<usize> {
        Some(*self)
    }
    fn idx(self) -> Idx {
        Idx::of(self)
    }
}
impl Offset for Idx {
    fn fixed(&self) -> Option<usize> {
        None
    }
    fn idx(self) -> Idx {
        self
    }
}
