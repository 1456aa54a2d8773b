//! Images: what is admitted beat by beat is, as a whole, what a pass relies on.
//!
//! Any image, after any other, with any registers.

use crate::proof::{Error, Proof};
use chimney_hdl::mirror::TcpRecord;
use chimney_hdl::prelude::*;
use chimney_hdl::tcp::proto::admit::{admitted, look, Seen};
use chimney_hdl::tcp::proto::beats::{BEAT, BEATS};
use chimney_hdl::tcp::proto::op::is_too_far;
use chimney_hdl::tcp::proto::ops::RECORD;
use chimney_hdl::tcp::proto::record::{Flags, Running};
use chimney_hdl::tcp::proto::step::FIN_WAIT_2;
use chimney_hdl::tcp::ranges::RANGES;
use chimney_hdl::types::TcpParams;

/// Bits of a shift by whole beats.
const SHIFT: usize = BEAT + 6;

/// Send variables in order.
#[kernel]
fn is_ordered(r: TcpRecord) -> bool {
    let fin_sent = unpack::<Flags, 16>(r.deleg_flags).fin_sent;
    let (nxt, max, limit) = (r.snd_nxt - r.snd_una, r.snd_max - r.snd_una, r.snd_limit - r.snd_una);
    nxt <= max && max <= limit + fin_sent && !is_too_far(limit, fin_sent)
}

/// What must have the retransmission timer has it.
#[kernel]
fn is_timed(r: TcpRecord) -> bool {
    let waits = r.snd_una != r.snd_max || unpack::<Flags, 16>(r.deleg_flags).persist;
    !(waits || r.tcp_state == FIN_WAIT_2) || unpack::<Running, 8>(r.timers).rtx
}

/// What a pass relies on.
#[kernel]
pub fn is_fit(r: TcpRecord) -> bool {
    is_ordered(r) && is_timed(r)
}

/// A range of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
struct Span {
    /// First byte.
    start: Bits<32>,
    /// One past the last byte.
    end: Bits<32>,
}

/// `b` is empty, or behind `a` with a gap, and in the window.
#[kernel]
fn is_apart(a: Span, b: Span, r: TcpRecord) -> bool {
    let (start, end) = (b.start - r.rcv_nxt, b.end - r.rcv_nxt);
    let follows = a.start != a.end && a.end - r.rcv_nxt < start;
    b.start == b.end || (follows && start < end && end <= r.rcv_right - r.rcv_nxt)
}

/// The ranges: those in use first, in order, with gaps between them, behind RCV.NXT; and the newest is one of them.
#[kernel]
fn is_listed(r: TcpRecord) -> bool {
    let first = Span { start: r.ooo0_start, end: r.ooo0_end };
    let list = [
        first,
        Span { start: r.ooo1_start, end: r.ooo1_end },
        Span { start: r.ooo2_start, end: r.ooo2_end },
        Span { start: r.ooo3_start, end: r.ooo3_end },
    ];
    // As if one byte in front of RCV.NXT were there: the first range has a gap in front of it.
    let before = Span { start: r.rcv_nxt - 1, end: r.rcv_nxt };
    let apart = is_apart(before, list[0], r)
        && is_apart(list[0], list[1], r)
        && is_apart(list[1], list[2], r)
        && is_apart(list[2], list[3], r);
    let newest = select(list, bit_cast::<2, 8>(r.ooo_recent));
    apart && r.ooo_recent < RANGES as u64 && (r.ooo_recent == 0 || newest.start != newest.end)
}

/// An image, beat by beat.
#[derive(LogicBlock, Default)]
pub struct AdmitChecker {
    /// The image.
    pub image: Signal<In, Bits<RECORD>>,
    /// What was seen of the one before.
    pub last: Signal<In, Seen>,
    /// Registers.
    pub params: Signal<In, TcpParams>,
    /// What is admitted is what a pass relies on.
    pub ok: Signal<Out, Bit>,
}

#[kernel]
impl Logic for AdmitChecker {
    fn update(&mut self) {
        let (image, p) = (self.image.val(), self.params.val());
        let (mut seen, mut record) = (self.last.val(), bits::<RECORD>(0));
        for i in 0..BEATS {
            let (beat, word) = (bits::<BEAT>(i as u64), image.get_bits::<64>(64 * i));
            let r = unpack::<TcpRecord, RECORD>(record);
            let taken = admitted(beat, word, r, seen, p);
            seen = look(seen, beat, word, r);
            record = record | bit_cast::<RECORD, 64>(taken) << bits::<SHIFT>(64 * i as u64);
        }
        let r = unpack::<TcpRecord, RECORD>(record);
        self.ok.next = seen.is_bad || (is_fit(r) && is_listed(r));
    }
}

/// The proof.
///
/// # Errors
/// A checker that is no hardware.
pub fn proofs() -> Result<Vec<Proof>, Error> {
    let admitted = Proof::new(
        "image_admitted",
        "an image that nothing is said against has its send variables in order, its timer, and its ranges sorted, apart and in the window",
        AdmitChecker::default(),
    )?
    .fails_if(
        "SND.NXT behind SND.MAX is not seen",
        "(6'h8 == 6'h8) && look$falls$8)",
        "(6'h8 == 6'h8) && 1'h0)",
    );
    Ok(vec![admitted])
}
