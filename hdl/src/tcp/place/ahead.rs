//! The next post of a connection, read before it is needed.
//!
//! Stands between the placer and the memory. What the placer says it will want next is read and kept: 16 places, by the connection's
//! low bits. A connection that goes on from post to post finds its next one here; others find nothing, and wait for the memory.
//!
//! Latency: 2 cycles from a request to the first of its two beats if the post is here, else that of the memory, and of the read ahead
//! that is under way. Throughput: one request of the placer at a time, one read ahead beside it; a wish while one is under way is
//! forgotten. Back-pressure: `ready` as the memory's. Reset: nothing is kept.
use crate::mem::LutRam;
use crate::prelude::*;
use crate::types::{ReadBeat, ReadReq};

/// log2 of the posts kept.
const PLACES: usize = 4;

/// A post of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct PostAt {
    /// The connection.
    pub conn: Bits<16>,
    /// The entry of its ring.
    pub idx: Bits<16>,
    /// Where it lies.
    pub iova: Bits<64>,
}

/// A post that is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
struct Kept {
    conn: Bits<16>,
    idx: Bits<16>,
    first: Bits<64>,
    second: Bits<64>,
}

/// Where the request of the placer stands.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
enum Asked {
    /// There is none.
    No,
    /// The memory is asked.
    Memory,
    /// It is here: its first beat.
    First,
    /// Its second beat.
    Second,
}

/// Where the read ahead stands.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
enum Early {
    /// There is none.
    No,
    /// The memory is to be asked.
    Asks,
    /// It is asked.
    Reads,
}

/// The block.
#[derive(LogicBlock, Default)]
pub struct Ahead {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// Nothing is asked for or read.
    pub idle: Signal<Out, Bit>,
    /// A post.
    pub post: Signal<In, PostAt>,
    /// It is wanted now; stays until `ready`.
    pub valid: Signal<In, Bit>,
    /// The request is taken.
    pub ready: Signal<Out, Bit>,
    /// It will be wanted; never beside `valid` or between that and its answer.
    pub early: Signal<In, Bit>,
    /// Pulse, not beside `valid`: what is kept for a connection is worth nothing.
    pub forget: Signal<In, Bit>,
    /// That connection.
    pub forgotten: Signal<In, Bits<16>>,
    /// Answer.
    pub beat: Signal<Out, ReadBeat>,
    /// There is a beat.
    pub beat_valid: Signal<Out, Bit>,
    /// Read of a post.
    pub req: Signal<Out, ReadReq>,
    /// Read offered.
    pub req_valid: Signal<Out, Bit>,
    /// Read taken.
    pub req_ready: Signal<In, Bit>,
    /// Its answers, in the order of the requests.
    pub mem_beat: Signal<In, ReadBeat>,
    /// There is a beat.
    pub mem_beat_valid: Signal<In, Bit>,
    kept: LutRam<Kept, PLACES>,
    is_kept: Dff<Bits<{ 1 << PLACES }>>,
    asked: Dff<Asked>,
    reads: Dff<Early>,
    of: Dff<PostAt>,
    /// What is read is not to be kept.
    dropped: Dff<Bit>,
    first: Dff<Bits<64>>,
}

/// The place of a connection, one bit.
#[kernel]
fn place_of(conn: Bits<16>) -> Bits<{ 1 << PLACES }> {
    bits::<{ 1 << PLACES }>(1) << conn.get_bits::<PLACES>(0)
}

#[kernel]
impl Logic for Ahead {
    fn update(&mut self) {
        dff_setup!(self, clock, is_kept, asked, reads, of, dropped, first);
        clock!(self, clock, kept);
        let (post, asked, of) = (self.post.val(), self.asked.q.val(), self.of.q.val());
        let (early, is_kept) = (self.reads.q.val(), self.is_kept.q.val());
        let (reads, is_dropped) = (early == Early::Reads, self.dropped.q.val());

        // Is it here, or on its way?
        self.kept.raddr.next = post.conn.get_bits::<PLACES>(0);
        let k = self.kept.rdata.val();
        let is_here = (is_kept & place_of(post.conn)).any() && k.conn == post.conn && k.idx == post.idx;
        let is_coming = reads && !is_dropped && of.conn == post.conn && of.idx == post.idx;
        let is_new = asked == Asked::No && self.valid.val();

        // Requests: one ahead that waits, or the placer's.
        let asks = early == Early::Asks;
        let by_memory = is_new && !is_here && !is_coming && !asks;
        let taken = by_memory && self.req_ready.val();
        self.req_valid.next = asks || by_memory;
        self.req.next = ReadReq { iova: if asks { of.iova } else { post.iova }, beats: bits::<6>(2) };
        self.ready.next = is_new && is_here || taken;

        // Answers.
        let (b, comes) = (self.mem_beat.val(), self.mem_beat_valid.val());
        let theirs = comes && !reads;
        let ends = asked == Asked::Second;
        let data = if ends { k.second } else { k.first };
        self.beat.next = if asked == Asked::Memory { b } else { ReadBeat { data, last: ends, error: false } };
        self.beat_valid.next = theirs || asked == Asked::First || ends;
        self.asked.d.next = match asked {
            Asked::No => {
                if taken {
                    Asked::Memory
                } else if is_new && is_here {
                    Asked::First
                } else {
                    asked
                }
            }
            Asked::Memory => {
                if theirs && b.last {
                    Asked::No
                } else {
                    asked
                }
            }
            Asked::First => Asked::Second,
            Asked::Second => Asked::No,
        };

        // Reading ahead.
        let begins = self.early.val() && early == Early::No && !is_here;
        let arrives = comes && reads && b.last;
        let gone = self.forget.val() && self.forgotten.val() == of.conn;
        // Not while an answer is read from the place that may be the same.
        let is_read = is_new && is_here || asked == Asked::First;
        let keeps = arrives && !b.error && !is_dropped && !gone && !is_read;
        if begins {
            self.of.d.next = post;
        }
        self.reads.d.next = match early {
            Early::No => {
                if begins {
                    Early::Asks
                } else {
                    early
                }
            }
            Early::Asks => {
                if self.req_ready.val() {
                    Early::Reads
                } else {
                    early
                }
            }
            Early::Reads => {
                if arrives {
                    Early::No
                } else {
                    early
                }
            }
        };
        self.dropped.d.next = !begins && (is_dropped || gone || comes && reads && b.error);
        if comes && reads && !b.last {
            self.first.d.next = b.data;
        }
        self.kept.we.next = keeps;
        self.kept.waddr.next = of.conn.get_bits::<PLACES>(0);
        self.kept.wdata.next = Kept { conn: of.conn, idx: of.idx, first: self.first.q.val(), second: b.data };
        let none = bits::<{ 1 << PLACES }>(0);
        let used = if ends { place_of(post.conn) } else { none };
        let old = if self.forget.val() { place_of(self.forgotten.val()) } else { used };
        self.is_kept.d.next = (is_kept & !old) | if keeps { place_of(of.conn) } else { none };
        self.idle.next = asked == Asked::No && early == Early::No;
        dff_reset!(self, reset, is_kept, asked, reads, dropped);
    }
}
