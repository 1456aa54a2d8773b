//! The image registers: a record on its way in, admitted beat by beat ([`super::admit`]), or one on its way out through a queue of 16 beats.
//!
//! ```text
//!   Free --a command that brings an image--> In --36 beats--> Full --its pass has read it--> Free
//!   Free --a pass that gives one--> Told --the placer tells the posts--> Out --36 beats--> Free
//! ```
//! A pass that gives an image takes 8 clocks and more: it may begin when the register is free, or when the rest of the last image finds
//! room in the queue (`open`). So a register is enough for images that follow each other.
//!
//! Latency: 1 clock per beat. Throughput: one beat per clock. Back-pressure: beats out wait in the queue; then the register does.
//! Reset: nothing held.
use super::admit::{admitted, look, Image, Seen};
use super::beats::{nth, Beats, BEAT};
use super::image::with_posts;
use super::op::RECORD_BEATS;
use super::ops::RECORD;
use crate::mirror::TcpRecord;
use crate::prelude::*;
use crate::stream::Fifo;
use crate::tcp::place::order::Posts;
use crate::types::{ConnOp, TcpParams};

const LAST_BEAT: u64 = RECORD_BEATS - 1;
/// log2 of the beats that may wait to go out.
const OUT_LOG2: usize = 4;
/// So many beats find room whenever no more than these wait.
const OUT_ROOM: u64 = 8;
/// From this beat on the rest is that many.
const END_AT: u64 = RECORD_BEATS - OUT_ROOM;

/// What the register holds.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
pub enum HoldState {
    /// Nothing.
    Free,
    /// Beats come in.
    In,
    /// An image for a pass.
    Full,
    /// An image without its posts.
    Told,
    /// Beats go out.
    Out,
}

/// The block. See the module page.
#[derive(LogicBlock, Default)]
pub struct Hold {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// Nothing is held.
    pub free: Signal<Out, Bit>,
    /// An image is complete.
    pub full: Signal<Out, Bit>,
    /// An image waits for its posts.
    pub waits: Signal<Out, Bit>,
    /// A pass that gives an image may begin.
    pub open: Signal<Out, Bit>,
    /// Neither register nor queue holds anything.
    pub empty: Signal<Out, Bit>,
    /// The command whose image is held.
    pub held: Signal<Out, ConnOp>,
    /// The image, as it was admitted.
    pub image: Signal<Out, Image>,
    /// Registers.
    pub params: Signal<In, TcpParams>,
    /// Pulse, while `free`: the image of `op` comes in.
    pub fill: Signal<In, Bit>,
    /// See `fill`.
    pub op: Signal<In, ConnOp>,
    /// Beat of an image.
    pub op_in: Signal<In, Bits<64>>,
    /// Beat offered.
    pub op_in_valid: Signal<In, Bit>,
    /// It is taken.
    pub op_in_ready: Signal<Out, Bit>,
    /// Pulse: the image was read.
    pub read: Signal<In, Bit>,
    /// Pulse: `stored` is the image of `gives`.
    pub give: Signal<In, Bit>,
    /// See `give`.
    pub gives: Signal<In, ConnOp>,
    /// See `give`.
    pub stored: Signal<In, Bits<RECORD>>,
    /// The posts are there.
    pub has_told: Signal<In, Bit>,
    /// See `has_told`.
    pub posts: Signal<In, Posts>,
    /// Pulse: they are taken.
    pub takes_told: Signal<Out, Bit>,
    /// Pulse: the image has left, or nobody wants it.
    pub leaves: Signal<Out, Bit>,
    /// Beat of an image.
    pub op_out: Signal<Out, Bits<64>>,
    /// Tag of its command.
    pub op_out_tag: Signal<Out, Bits<16>>,
    /// Beat offered.
    pub op_out_valid: Signal<Out, Bit>,
    /// Beat taken.
    pub op_out_ready: Signal<In, Bit>,
    state: Dff<HoldState>,
    image_in: Beats,
    known: Dff<Seen>,
    record: Dff<Bits<RECORD>>,
    ends: Dff<Posts>,
    beat: Dff<Bits<BEAT>>,
    of: Dff<ConnOp>,
    tag: Dff<Bits<16>>,
    outs: Fifo<Bits<64>, OUT_LOG2, { OUT_LOG2 + 1 }>,
}

/// An image with its posts.
#[kernel]
fn told(record: Bits<RECORD>, posts: Posts) -> Bits<RECORD> {
    pack::<RECORD, TcpRecord>(with_posts(unpack::<TcpRecord, RECORD>(record), posts))
}

#[kernel]
impl Logic for Hold {
    fn update(&mut self) {
        dff_setup!(self, clock, state, known, record, ends, beat, of, tag);
        clock!(self, clock, image_in, outs);
        reset!(self, reset, outs);
        let (state, of, known) = (self.state.q.val(), self.of.q.val(), self.known.q.val());
        let before = unpack::<TcpRecord, RECORD>(self.image_in.record.val());
        let (beat, level) = (self.beat.q.val(), self.outs.level.val());
        let (free, fill, give) = (state == HoldState::Free, self.fill.val(), self.give.val());
        let comes = state == HoldState::In && self.op_in_valid.val();
        let goes = state == HoldState::Out && self.outs.s_ready.val();
        let is_told = state == HoldState::Told && self.has_told.val();
        // The tag changes when no beat of the last image waits.
        let sends = is_told && level == 0 && !of.discard;
        let leaves = is_told && of.discard || goes && beat == LAST_BEAT;

        self.free.next = free;
        self.full.next = state == HoldState::Full;
        self.waits.next = state == HoldState::Told;
        self.open.next = free || state == HoldState::Out && beat >= END_AT && level <= OUT_ROOM;
        self.empty.next = free && !self.outs.m_valid.val();
        self.held.next = of;
        self.image.next = Image { record: before, seen: known };
        self.op_in_ready.next = state == HoldState::In;
        self.takes_told.next = sends || is_told && of.discard;
        self.leaves.next = leaves;
        self.outs.s_valid.next = goes;
        self.outs.s_data.next = nth(told(self.record.q.val(), self.ends.q.val()), beat);
        self.op_out.next = self.outs.m_data.val();
        self.op_out_valid.next = self.outs.m_valid.val();
        self.outs.m_ready.next = self.op_out_ready.val();
        self.op_out_tag.next = self.tag.q.val();

        if give {
            self.record.d.next = self.stored.val();
        }
        if sends {
            self.ends.d.next = self.posts.val();
        }
        let word = self.op_in.val();
        self.image_in.we.next = comes;
        self.image_in.beat.next = beat;
        self.image_in.word.next =
            if comes { admitted(beat, word, before, known, self.params.val()) } else { unread::<Bits<64>>() };
        if comes {
            self.known.d.next = look(known, beat, word, before);
        }
        if fill || sends {
            self.beat.d.next = bits::<BEAT>(0);
        } else if comes || goes {
            self.beat.d.next = beat + 1;
        }
        if fill || give {
            self.of.d.next = if give { self.gives.val() } else { self.op.val() };
        }
        if sends {
            self.tag.d.next = of.tag;
        }
        if give {
            self.state.d.next = HoldState::Told;
        } else if fill {
            self.state.d.next = HoldState::In;
        } else if comes && beat == LAST_BEAT {
            self.state.d.next = HoldState::Full;
        } else if leaves || state == HoldState::Full && self.read.val() {
            self.state.d.next = HoldState::Free;
        } else if sends {
            self.state.d.next = HoldState::Out;
        }
        dff_reset!(self, reset, state);
    }
}
