//! Sequence numbers: the comparisons are an order on every half of the circle.

use crate::proof::{Error, Proof};
use chimney_hdl::prelude::*;
use chimney_hdl::tcp::seq::{
    after, at_or_after, at_or_before, before, earlier, in_window, later, max32, min32,
};

/// Three numbers, and everything that is true of the comparisons between them.
#[derive(LogicBlock, Default)]
pub struct SeqChecker {
    /// A number.
    pub a: Signal<In, Bits<32>>,
    /// Another.
    pub b: Signal<In, Bits<32>>,
    /// A third; also a distance.
    pub c: Signal<In, Bits<32>>,
    /// A length.
    pub len: Signal<In, Bits<32>>,
    /// `a` and `b` are not exactly opposite: there "before" has no meaning (RFC 9293 3.4).
    pub fits: Signal<Out, Bit>,
    /// The property.
    pub ok: Signal<Out, Bit>,
}

/// Half of the circle.
const HALF: u64 = 1 << 31;
/// A quarter of it.
const QUARTER: u64 = 1 << 30;

#[kernel]
impl Logic for SeqChecker {
    fn update(&mut self) {
        let (a, b, c) = (self.a.val(), self.b.val(), self.c.val());
        self.fits.next = a - b != HALF;
        let antisymmetric = before(a, b) == after(b, a) && !(before(a, b) && before(b, a)) && !before(a, a);
        let total = a == b || before(a, b) || before(b, a);
        let weak =
            at_or_before(a, b) == (before(a, b) || a == b) && at_or_after(a, b) == (after(a, b) || a == b);
        // Wherever on the circle they lie.
        let turned = before(a + c, b + c) == before(a, b);
        let near = b - a < QUARTER && c - b < QUARTER;
        let transitive = !(near && before(a, b) && before(b, c)) || before(a, c);
        let (l, e) = (later(a, b), earlier(a, b));
        let chosen = (l == a || l == b)
            && at_or_after(l, a)
            && at_or_after(l, b)
            && l - e == if before(a, b) { b - a } else { a - b };
        let window = in_window(a + c, a, self.len.val()) == (c < self.len.val());
        let amounts = min32(a, b) + max32(a, b) == a + b && !(min32(a, b) > max32(a, b));
        self.ok.next = antisymmetric && total && weak && turned && transitive && chosen && window && amounts;
    }
}

/// The proofs.
///
/// # Errors
/// A checker that is no hardware.
pub fn proofs() -> Result<Vec<Proof>, Error> {
    let about = "before and after are an order on every half of the circle, wherever it lies";
    let proof = Proof::new("seq", about, SeqChecker::default())?
        .fails_if(
            "the later one is taken for the earlier",
            "later$before$t = a - b",
            "later$before$t = b - a",
        )
        .fails_if(
            "at or after is no longer at",
            "at_or_after$before$t = a - b",
            "at_or_after$before$t = b - a",
        )
        .fails_if("a window begins one too late", "in_window$x = a + c", "in_window$x = a + c - 32'h1");
    Ok(vec![proof])
}
