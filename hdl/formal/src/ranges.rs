//! Ranges of out-of-order data: insertion and removal keep the list sorted and apart, and every byte where it belongs.
//!
//! One byte is followed, any. The list is any that a connection can have: used entries first, in order, with gaps between them, all among the
//! first 256 numbers of the circle. Wherever else they lay, near or far from each other, it would be the same: these functions only compare
//! numbers (what `seq` proves to be an order) and move them, and ten numbers have no order that they cannot have among 256. With numbers of 30
//! bits the solver takes hours.

use crate::proof::{Error, Proof};
use chimney_hdl::prelude::*;
use chimney_hdl::tcp::ranges::{insert, is_full_for, remove_first, Ranges, SeqRange, NEAR, RANGES};

/// log2 of how many numbers are tried.
const TRIED: usize = 8;
/// The numbers that are tried.
const REACH: u64 = 1 << TRIED;
/// Most ranges in a list.
const MOST: u64 = RANGES as u64;

/// The byte is in the range.
#[kernel]
fn has(r: SeqRange, one: Bits<NEAR>) -> bool {
    r.start <= one && one < r.end
}

/// The byte is in the list.
#[kernel]
fn list_has(l: Ranges, one: Bits<NEAR>) -> bool {
    has(l.r0, one) || has(l.r1, one) || has(l.r2, one) || has(l.r3, one)
}

/// Not empty.
#[kernel]
fn is_used(r: SeqRange) -> bool {
    r.start != r.end
}

/// It begins and ends in this order, within reach.
#[kernel]
fn is_near(r: SeqRange) -> bool {
    r.start <= r.end && r.end < REACH
}

/// `b` is empty, or there is a gap between `a` and it.
#[kernel]
fn is_apart(a: SeqRange, b: SeqRange) -> bool {
    !is_used(b) || (is_used(a) && a.end < b.start)
}

/// Used entries first, in order, with gaps between them; `recent` names one of them.
#[kernel]
fn is_sound(l: Ranges) -> bool {
    let in_reach = [
        !is_used(l.r0) || is_near(l.r0),
        !is_used(l.r1) || is_near(l.r1),
        !is_used(l.r2) || is_near(l.r2),
        !is_used(l.r3) || is_near(l.r3),
    ];
    let apart = is_apart(l.r0, l.r1) && is_apart(l.r1, l.r2) && is_apart(l.r2, l.r3);
    let named = l.recent == 0 || is_used(select([l.r0, l.r1, l.r2, l.r3], l.recent));
    in_reach[0] && in_reach[1] && in_reach[2] && in_reach[3] && apart && named
}

/// The list with its first `used` entries in use and near; the others are empty.
#[kernel]
fn first(l: Ranges, used: Bits<3>) -> Ranges {
    Ranges {
        r0: if used > 0 { near(l.r0) } else { empty(l.r0) },
        r1: if used > 1 { near(l.r1) } else { empty(l.r1) },
        r2: if used > 2 { near(l.r2) } else { empty(l.r2) },
        r3: if used > 3 { near(l.r3) } else { empty(l.r3) },
        recent: l.recent,
    }
}

/// Among the numbers that are tried. Bits that are known to be 0 spare the solver what it would learn of them again for each comparison.
#[kernel]
fn near(r: SeqRange) -> SeqRange {
    SeqRange {
        start: bit_cast::<NEAR, TRIED>(r.start.get_bits::<TRIED>(0)),
        end: bit_cast::<NEAR, TRIED>(r.end.get_bits::<TRIED>(0)),
    }
}

/// An empty one.
#[kernel]
fn empty(r: SeqRange) -> SeqRange {
    SeqRange { start: r.start, end: r.start }
}

/// What has overtaken something is put into the list: it stays a list, and has this more.
#[derive(LogicBlock, Default)]
pub struct InsertChecker {
    /// The list.
    pub list: Signal<In, Ranges>,
    /// How many of its entries are in use.
    pub used: Signal<In, Bits<3>>,
    /// What is added.
    pub range: Signal<In, SeqRange>,
    /// The byte that is followed.
    pub one: Signal<In, Bits<NEAR>>,
    /// The list is one that there can be, and there is room.
    pub fits: Signal<Out, Bit>,
    /// The property.
    pub ok: Signal<Out, Bit>,
}

#[kernel]
impl Logic for InsertChecker {
    fn update(&mut self) {
        let (list, range) = (first(self.list.val(), self.used.val()), near(self.range.val()));
        let list: Ranges = list;
        let one = self.one.val();
        let more = insert(list, range);
        let more: Ranges = more;
        self.fits.next = is_sound(list) && is_near(range) && !is_full_for(list, range);
        self.ok.next = is_sound(more) && list_has(more, one) == (list_has(list, one) || has(range, one));
    }
}

/// What has arrived in order leaves the list.
#[derive(LogicBlock, Default)]
pub struct RemoveChecker {
    /// The list.
    pub list: Signal<In, Ranges>,
    /// How many of its entries are in use.
    pub used: Signal<In, Bits<3>>,
    /// The byte that is followed.
    pub one: Signal<In, Bits<NEAR>>,
    /// The list is one that there can be.
    pub fits: Signal<Out, Bit>,
    /// The property.
    pub ok: Signal<Out, Bit>,
}

#[kernel]
impl Logic for RemoveChecker {
    fn update(&mut self) {
        let (list, one) = (first(self.list.val(), self.used.val()), self.one.val());
        let list: Ranges = list;
        let less = remove_first(list);
        let less: Ranges = less;
        self.fits.next = is_sound(list);
        let kept = list_has(less, one) == (list_has(list, one) && one >= list.r0.end);
        // What is expected next is not there.
        self.ok.next = is_sound(less) && kept && !list_has(less, list.r0.end);
    }
}

/// The proofs.
///
/// # Errors
/// A checker that is no hardware.
pub fn proofs() -> Result<Vec<Proof>, Error> {
    let insert = Proof::new(
        "ranges_insert",
        "a list of ranges stays sorted and apart when one is added, with every byte of both",
        InsertChecker::default(),
    )?
    .each("used", MOST + 1)
    .fails_if(
        "the third range never counts as lying in front of what is added",
        "(list$r2$start != list$r2$end) && insert$in_front$before$t$2[17];",
        "1'h0;",
    );
    let remove = Proof::new(
        "ranges_remove",
        "a list of ranges stays sorted and apart when its first one is removed, with every byte behind it and a gap in front",
        RemoveChecker::default(),
    )?
    .each("used", MOST + 1)
    .fails_if(
        "the newest range keeps its number",
        "(list[145:144] - 2'h1)",
        "list[145:144]",
    );
    Ok(vec![insert, remove])
}
