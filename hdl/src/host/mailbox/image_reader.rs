//! Reads the images of a command ahead: up to eight of them, one burst behind the other, each handed out when it is whole.
//!
//! ```text
//!   base, count --> bursts --> read port ..beats.. --> memory, 64 words an image --> beat by beat
//!                                            `-errors, ranges--> list of whole images
//! ```
//! So a command costs one memory latency, not one per image, and nobody behind waits for host memory with half an image in hand
//! (law L5). An image has its header, or header and a record's length when bodies are wanted; a smaller body is followed by the
//! rest of its place in the array ([`IMAGE_STRIDE`](state::IMAGE_STRIDE)), which nobody looks at.
//!
//! Latency: the read port's. Throughput: one beat per clock; between two images 1 clock more. Back-pressure: no burst is asked for without room for its
//! image. Reset: nothing in work (the top resets only when nothing is outstanding).
use super::fetch::burst;
use super::job::HEADER_BYTES;
use crate::mem::SdpRam;
use crate::prelude::*;
use crate::stream::Fifo;
use crate::tcp::proto::beats::beat_of;
use crate::tcp::proto::op::RECORD_BEATS;
use crate::types::{ReadBeat, ReadReq};
use chimney_abi::desc::OOO_RANGES;
use chimney_abi::state;

/// Beats of a header.
pub const HEADER_BEATS: u64 = HEADER_BYTES / 8;
/// Beats of header and record.
pub const IMAGE_BEATS: u64 = HEADER_BEATS + RECORD_BEATS;
/// First beat of an image with an out-of-order range: start in the low half, end in the high one.
pub const RANGES_AT: u64 = HEADER_BEATS + beat_of("ooo0_start");
/// Ranges, a beat each.
pub const RANGES: u64 = OOO_RANGES as u64;
const STRIDE: u64 = state::IMAGE_STRIDE as u64;
/// log2 of the images that have room.
const AHEAD_LOG2: usize = 3;
/// log2 of the words of an image.
const PLACE_LOG2: usize = 6;

/// An image that is whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Whole {
    /// A beat of its header came with an error response.
    pub header_failed: Bit,
    /// A beat behind it did.
    pub body_failed: Bit,
    /// Read as a record, it has out-of-order ranges.
    pub has_ranges: Bit,
}

/// The block. See the module page.
#[derive(LogicBlock, Default)]
pub struct ImageReader {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// Pulse: read `count` images. Only when the last ones were all dropped.
    pub start: Signal<In, Bit>,
    /// With `start`: address of the first image, a multiple of 8.
    pub base: Signal<In, Bits<64>>,
    /// With `start`.
    pub count: Signal<In, Bits<16>>,
    /// With `start`: bodies as well.
    pub bodies: Signal<In, Bit>,
    /// The oldest image is whole; `whole` and `beat` are its.
    pub valid: Signal<Out, Bit>,
    /// See `valid`.
    pub whole: Signal<Out, Whole>,
    /// Its next beat.
    pub beat: Signal<Out, Bits<64>>,
    /// The beat is taken.
    pub take: Signal<In, Bit>,
    /// Pulse, while `valid`: the image is not needed any more.
    pub drop: Signal<In, Bit>,
    /// Read client: a request is offered.
    pub req_valid: Signal<Out, Bit>,
    /// It is taken.
    pub req_ready: Signal<In, Bit>,
    /// The request.
    pub req: Signal<Out, ReadReq>,
    /// A beat for this client.
    pub beat_valid: Signal<In, Bit>,
    /// The beat.
    pub beat_in: Signal<In, ReadBeat>,
    /// Images to ask for, and whether with bodies.
    images: Dff<Bits<16>>,
    whole_images: Dff<Bit>,
    /// The burst that is asked for.
    asking: Dff<Bit>,
    at: Dff<Bits<64>>,
    left: Dff<Bits<7>>,
    /// Images that have their room.
    used: Dff<Bits<4>>,
    /// Place of the next beat that comes, and what was seen of its image.
    in_image: Dff<Bits<AHEAD_LOG2>>,
    in_beat: Dff<Bits<PLACE_LOG2>>,
    seen: Dff<Whole>,
    /// Place of the next beat that goes.
    out_image: Dff<Bits<AHEAD_LOG2>>,
    out_beat: Dff<Bits<PLACE_LOG2>>,
    words: SdpRam<Bits<64>, { AHEAD_LOG2 + PLACE_LOG2 }>,
    wholes: Fifo<Whole, AHEAD_LOG2, { AHEAD_LOG2 + 1 }>,
}

/// What is known of an image with one more of its beats.
#[kernel]
fn look(seen: Whole, place: Bits<PLACE_LOG2>, beat: ReadBeat) -> Whole {
    let is_header = place < HEADER_BEATS;
    let is_range = place >= RANGES_AT && place < RANGES_AT + RANGES;
    let differ = beat.data.get_bits::<32>(0) != beat.data.get_bits::<32>(32);
    Whole {
        header_failed: seen.header_failed || beat.error && is_header,
        body_failed: seen.body_failed || beat.error && !is_header,
        has_ranges: seen.has_ranges || is_range && differ,
    }
}

#[kernel]
impl Logic for ImageReader {
    fn update(&mut self) {
        dff_setup!(self, clock, images, whole_images, asking, at, left, used, in_image, in_beat, seen);
        dff_setup!(self, clock, out_image, out_beat);
        clock!(self, clock, words, wholes);
        reset!(self, reset, wholes);
        let bodies = self.whole_images.q.val();
        let beats = if bodies { bits::<7>(IMAGE_BEATS) } else { bits::<7>(HEADER_BEATS) };
        let gap =
            if bodies { bits::<64>(STRIDE - 8 * IMAGE_BEATS) } else { bits::<64>(STRIDE - 8 * HEADER_BEATS) };

        // Asking.
        let (asking, at, left) = (self.asking.q.val(), self.at.q.val(), self.left.q.val());
        let begins = !asking && self.images.q.val().any() && !self.used.q.val().get_bit(AHEAD_LOG2);
        let n = burst(at, left);
        let goes = asking && self.req_ready.val();
        let is_last = left == n;
        self.req_valid.next = asking;
        self.req.next = ReadReq { iova: at, beats: bit_cast::<6, _>(n) };
        if begins {
            self.images.d.next = self.images.q.val() - 1;
            self.left.d.next = beats;
            self.asking.d.next = true;
        }
        if goes {
            let step = bit_cast::<64, _>(n) << 3u64;
            self.at.d.next = at + step + if is_last { gap } else { bits::<64>(0) };
            self.left.d.next = left - n;
            self.asking.d.next = !is_last;
        }
        if self.start.val() {
            self.images.d.next = self.count.val();
            self.at.d.next = self.base.val();
            self.whole_images.d.next = self.bodies.val();
        }
        let drop = self.drop.val();
        self.used.d.next = self.used.q.val() + begins - bit_cast::<4, 1>(drop.into());

        // Beats come.
        let (place, beat) = (self.in_beat.q.val(), self.beat_in.val());
        let comes = self.beat_valid.val();
        let seen = look(self.seen.q.val(), place, beat);
        let ends = comes && bit_cast::<7, _>(place) == beats - 1;
        self.words.we.next = comes;
        self.words.waddr.next = cat::<{ AHEAD_LOG2 + PLACE_LOG2 }, _>((self.in_image.q.val(), place));
        self.words.wdata.next = beat.data;
        self.wholes.s_valid.next = ends;
        self.wholes.s_data.next = seen;
        if comes {
            self.in_beat.d.next = place + 1;
            self.seen.d.next = seen;
        }
        if ends {
            self.in_beat.d.next = bits::<PLACE_LOG2>(0);
            self.in_image.d.next = self.in_image.q.val() + 1;
            self.seen.d.next = Whole::default();
        }

        // Beats go: the word that is next in the next clock is read in this one.
        let out_image = self.out_image.q.val() + drop;
        let out_beat = if drop { bits::<PLACE_LOG2>(0) } else { self.out_beat.q.val() + self.take.val() };
        self.out_image.d.next = out_image;
        self.out_beat.d.next = out_beat;
        self.words.re.next = true;
        self.words.raddr.next = cat::<{ AHEAD_LOG2 + PLACE_LOG2 }, _>((out_image, out_beat));
        self.beat.next = self.words.rdata.val();
        self.valid.next = self.wholes.m_valid.val();
        self.whole.next = self.wholes.m_data.val();
        self.wholes.m_ready.next = drop;
        dff_reset!(self, reset, images, asking, used, in_image, in_beat, seen, out_image, out_beat);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ranges_lie_where_they_are_looked_for() {
        let at = |name: &str| {
            let field = state::TcpRecord::FIELDS.iter().find(|f| f.name == name).expect("a field");
            field.offset_bits as u64
        };
        for i in 0..RANGES {
            let beat = 64 * (RANGES_AT - HEADER_BEATS + i);
            assert_eq!(at(&format!("ooo{i}_start")), beat);
            assert_eq!(at(&format!("ooo{i}_end")), beat + 32);
        }
    }
}
