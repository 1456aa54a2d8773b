//! Build: puts one frame together, segment or ordinary frame, and passes it on.
//!
//! ```text
//!   Idle -> Route -> Start -> Fill -> Flush -> Settle -> Total -> Fix (3) -> Commit -> Report -> Idle
//!      `--- ordinary ---^       `- fault ----------------------------------------------^
//!                               `- no checksum ------------------------------^
//! ```
//! `Fill` writes header beats whenever no payload word needs the frame buffer. The checksums and the PSH flag are known only
//! then; `Fix` puts them in place. While a frame is built the one before it is sent from the other buffer.
//!
//! Latency: 14 clocks from a job without payload to its first beat, with payload that of host memory and its beats more.
//! Throughput: about 12 clocks, the memory's latency and one clock per 8 bytes, per segment. Jobs and ordinary frames take
//! turns. Back-pressure: waits in `Idle` for a free frame buffer, in `Report` for `done_ready`. Reset: nothing in work.
use crate::eth::tx::{wire_len, TxFrame, FRAME_LOG2};
use crate::host::ord_tx::OrdFrame;
use crate::ip::checksum::{fold, lane_sum, SUM_BITS};
use crate::ip::tx_build::{ip_part, Route, CHECKSUM_BEAT as IP_CHECKSUM_BEAT};
use crate::prelude::*;
use crate::stream::lanes::{keep_of, swap16};
use crate::tcp::tx::header::{
    header_beat, headers_len, segment_len, tcp_part, CHECKSUM_BEAT as TCP_CHECKSUM_BEAT, FLAGS_BEAT,
};
use crate::types::{TxDone, TxJob, TCP_PSH};
use chimney_abi::wire::ip_protocol;

/// Bytes of a frame buffer.
const MAX_LEN: u64 = 1 << (FRAME_LOG2 + 3);
/// The pseudo header's protocol word in lane order.
const TCP_LANE: u64 = (ip_protocol::TCP as u64) << 8;
/// [`TxDone::result`]: sent.
pub const SENT: u64 = 0;
/// [`TxDone::result`]: path or neighbor not usable.
pub const NO_ROUTE: u64 = 1;
/// [`TxDone::result`]: a read failed, or the ring does not hold the bytes.
pub const NO_DATA: u64 = 2;

/// Where the block stands.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
pub enum TxState {
    /// Nothing in work.
    Idle,
    /// Job: path and neighbor are looked up.
    Route,
    /// The reading of bytes begins.
    Start,
    /// Bytes and header beats go into the frame buffer.
    Fill,
    /// The last bytes.
    Flush,
    /// The sum takes in the last word.
    Settle,
    /// The sum is folded.
    Total,
    /// Checksums and flags are put in place.
    Fix,
    /// The frame goes to the sender.
    Commit,
    /// The result is told.
    Report,
}

/// Counter increments of one clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct TxCounts {
    /// `CNT_TX_FRAMES`: a frame for the MAC.
    pub frame: Bit,
    /// `CNT_TX_OFFLOADED`: a segment of a connection.
    pub offloaded: Bit,
    /// `CNT_RETRANSMITS`.
    pub retransmit: Bit,
    /// `CNT_BAD_REQUEST`.
    pub bad_request: Bit,
    /// Length of the frame as it leaves, padding included: add to the byte counters that go with the frame counters.
    pub bytes: Bits<16>,
}

/// What decides about the next state.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Facts {
    /// A job has its turn next.
    pub job_turn: Bit,
    /// A job or frame waits, and there is a buffer for it.
    pub waits: Bit,
    /// The job has a way and fits.
    pub may_go: Bit,
    /// Everything asked for is here, or not to be had.
    pub fault: Bit,
    /// Headers and bytes are in the buffer.
    pub whole: Bit,
    /// There are checksums.
    pub csum: Bit,
    /// The last fix-up is made.
    pub fixed: Bit,
    /// The result is told.
    pub told: Bit,
}

/// The next state; see the picture at the top.
#[kernel]
pub fn next_state(state: TxState, f: Facts) -> TxState {
    let begin = if f.job_turn { TxState::Route } else { TxState::Start };
    let whole = if f.whole { TxState::Flush } else { TxState::Fill };
    match state {
        TxState::Idle => {
            if f.waits {
                begin
            } else {
                TxState::Idle
            }
        }
        TxState::Route => {
            if f.may_go {
                TxState::Start
            } else {
                TxState::Report
            }
        }
        TxState::Start => TxState::Fill,
        TxState::Fill => {
            if f.fault {
                TxState::Report
            } else {
                whole
            }
        }
        TxState::Flush => {
            if f.csum {
                TxState::Settle
            } else {
                TxState::Commit
            }
        }
        TxState::Settle => TxState::Total,
        TxState::Total => TxState::Fix,
        TxState::Fix => {
            if f.fixed {
                TxState::Commit
            } else {
                TxState::Fix
            }
        }
        TxState::Commit => TxState::Report,
        TxState::Report => {
            if f.told {
                TxState::Idle
            } else {
                TxState::Report
            }
        }
    }
}

/// A write to the frame buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Patch {
    /// Byte enables.
    pub we: Bits<8>,
    /// Word.
    pub word: Bits<FRAME_LOG2>,
    /// Data.
    pub data: Bits<64>,
}

/// 16 bits in every lane.
#[kernel]
fn lanes_of(x: Bits<16>) -> Bits<64> {
    cat::<64, _>([x; 4])
}

/// The checksum field's value for a sum, in lane order.
#[kernel]
fn checksum(sum: Bits<SUM_BITS>) -> Bits<16> {
    !fold(sum)
}

/// What the TCP sum lacks besides header beats and payload: length and protocol of the pseudo header (the addresses are
/// summed with the beats), and the flags that were added since; they are the high byte of their lane.
#[kernel]
fn pseudo(segment_len: Bits<16>, more_flags: Bits<8>) -> Bits<SUM_BITS> {
    let lane = bit_cast::<SUM_BITS, 16>(swap16(segment_len)) + TCP_LANE;
    lane + cat::<SUM_BITS, _>((bits::<11>(0), more_flags, bits::<8>(0)))
}

/// Header beat `i` as a write.
#[kernel]
fn header_patch(data: Bits<64>, i: Bits<4>, len: Bits<16>) -> Patch {
    let whole = bit_cast::<13, 4>(i) < len.get_bits::<13>(3);
    let tail = keep_of(bit_cast::<4, 3>(len.get_bits(0)));
    Patch { we: if whole { bits::<8>(0xff) } else { tail }, word: bit_cast::<FRAME_LOG2, 4>(i), data }
}

/// Fix-up `i` of a segment: IPv4 checksum, TCP checksum, flags.
#[kernel]
fn segment_fix(i: Bits<2>, ip: Bits<16>, tcp: Bits<16>, flags: Bits<8>) -> Patch {
    match i.index() {
        0 => Patch { we: bits::<8>(0x03), word: bits::<FRAME_LOG2>(IP_CHECKSUM_BEAT), data: lanes_of(ip) },
        1 => Patch { we: bits::<8>(0x0c), word: bits::<FRAME_LOG2>(TCP_CHECKSUM_BEAT), data: lanes_of(tcp) },
        _ => Patch {
            we: bits::<8>(0x80),
            word: bits::<FRAME_LOG2>(FLAGS_BEAT),
            data: lanes_of(cat::<16, _>((flags, flags))),
        },
    }
}

/// Fix-up `i` of an ordinary frame: the checksum field's bytes, one after the other, as it may lie anywhere. A sum that
/// began at an odd byte has its bytes the other way round (RFC 1071 2 (B)).
#[kernel]
fn ordinary_fix(i: Bits<2>, f: OrdFrame, csum: Bits<16>) -> Patch {
    let place = f.csum_field + bit_cast::<9, 2>(i);
    let c = if csum == 0 { !csum } else { csum };
    let byte = if f.csum_start.get_bit(0) == (i == 0) { c.get_bits::<8>(8) } else { c.get_bits::<8>(0) };
    Patch {
        we: bits::<8>(1) << place.get_bits::<3>(0),
        word: bit_cast::<FRAME_LOG2, 6>(place.get_bits(3)),
        data: lanes_of(cat::<16, _>((byte, byte))),
    }
}

/// The block.
#[derive(LogicBlock, Default)]
pub struct Build {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// A job waits.
    pub job_valid: Signal<In, Bit>,
    /// The job; it stays until `job_taken`.
    pub job: Signal<In, TxJob>,
    /// It is done.
    pub job_taken: Signal<Out, Bit>,
    /// An ordinary frame waits.
    pub frame_valid: Signal<In, Bit>,
    /// The frame; it stays until `frame_taken`.
    pub frame: Signal<In, OrdFrame>,
    /// It is done.
    pub frame_taken: Signal<Out, Bit>,
    /// The job's way is looked up in this clock.
    pub looks: Signal<Out, Bit>,
    /// With `looks`: the way.
    pub route: Signal<In, Route>,
    /// A job is in work, not a frame.
    pub is_job: Signal<Out, Bit>,
    /// Pulse: a new frame begins.
    pub starts: Signal<Out, Bit>,
    /// Bytes of host memory belong to it.
    pub reads: Signal<Out, Bit>,
    /// The reader's cursor is the job's as soon as it has `fetched`.
    pub keeps: Signal<Out, Bit>,
    /// With `starts`: bytes of headers in front of them.
    pub at: Signal<Out, Bits<8>>,
    /// All bytes have been asked for.
    pub fetched: Signal<In, Bit>,
    /// Descriptors could not be read.
    pub fetch_error: Signal<In, Bit>,
    /// Descriptors do not hold the bytes.
    pub lost: Signal<In, Bit>,
    /// They want PSH.
    pub push: Signal<In, Bit>,
    /// All bytes asked for are here.
    pub gathered: Signal<In, Bit>,
    /// Some of them could not be read.
    pub pack_error: Signal<In, Bit>,
    /// Their sum.
    pub sum: Signal<In, Bits<SUM_BITS>>,
    /// Pulse: the last of them must be written.
    pub flush: Signal<Out, Bit>,
    /// They use the frame buffer in this clock.
    pub payload: Signal<In, Bit>,
    /// Header bytes and fix-ups; must not be used with `payload`.
    pub patch: Signal<Out, Patch>,
    /// Frame buffer in work.
    pub buffer: Signal<Out, Bit>,
    /// A frame buffer is free.
    pub room: Signal<In, Bit>,
    /// Pulse: the frame is complete.
    pub out_valid: Signal<Out, Bit>,
    /// The frame.
    pub out: Signal<Out, TxFrame>,
    /// A job's result is offered.
    pub done_valid: Signal<Out, Bit>,
    /// It is taken.
    pub done_ready: Signal<In, Bit>,
    /// The result.
    pub done: Signal<Out, TxDone>,
    /// Counter increments.
    pub counts: Signal<Out, TxCounts>,
    /// Nothing in work.
    pub idle: Signal<Out, Bit>,
    state: Dff<TxState>,
    job_turn: Dff<Bit>,
    way: Dff<Route>,
    len: Dff<Bits<16>>,
    head_len: Dff<Bits<16>>,
    head: Dff<Bits<4>>,
    head_left: Dff<Bit>,
    ip_sum: Dff<Bits<SUM_BITS>>,
    tcp_sum: Dff<Bits<SUM_BITS>>,
    csum: Dff<Bits<16>>,
    fix: Dff<Bits<2>>,
    in_buffer: Dff<Bit>,
    result: Dff<Bits<2>>,
}

#[kernel]
impl Logic for Build {
    fn update(&mut self) {
        dff_setup!(self, clock, state, job_turn, way, len, head_len, head, head_left, ip_sum, tcp_sum);
        dff_setup!(self, clock, csum, fix, in_buffer, result);
        let state = self.state.q.val();
        let is_job = self.job_turn.q.val();
        let j = self.job.val();
        let f = self.frame.val();
        let len = self.len.q.val();
        let reads = !is_job || j.len != 0;
        let commit = state == TxState::Commit;
        let loopback = !is_job && f.loopback;
        let told = state == TxState::Report && (!is_job || self.done_ready.val());
        let read = self.fetched.val() && self.gathered.val();
        let fault = reads && (self.fetch_error.val() || self.lost.val() || self.pack_error.val());
        let job_turn = self.job_valid.val() && (!self.frame_valid.val() || !is_job);
        let waits = self.room.val() && (self.job_valid.val() || self.frame_valid.val());
        let too_long = len > MAX_LEN || j.len.get_bit(15);
        self.idle.next = state == TxState::Idle;
        self.looks.next = state == TxState::Route;
        self.is_job.next = is_job;
        self.starts.next = state == TxState::Start;
        self.reads.next = reads;
        self.keeps.next = state == TxState::Fill && is_job && reads;
        self.at.next = if is_job { self.head_len.q.val().get_bits::<8>(0) } else { bits::<8>(0) };
        self.flush.next = state == TxState::Flush;
        self.buffer.next = self.in_buffer.q.val();
        self.out_valid.next = commit;
        self.out.next = TxFrame { len, loopback };
        self.done_valid.next = state == TxState::Report && is_job;
        self.done.next = TxDone { conn: j.conn, result: self.result.q.val() };
        self.job_taken.next = told && is_job;
        self.frame_taken.next = told && !is_job;
        self.counts.next = TxCounts {
            frame: commit && !loopback,
            offloaded: commit && is_job,
            retransmit: commit && is_job && j.retransmit && reads,
            bad_request: (state == TxState::Route && self.route.val().ok && too_long)
                || (state == TxState::Fill && read && reads && self.lost.val()),
            bytes: wire_len(TxFrame { len, loopback }),
        };

        // The frame buffer belongs to payload first, then to the header or a fix-up.
        let head = self.head.q.val();
        let flags = if self.push.val() && reads { j.flags | TCP_PSH } else { j.flags };
        self.patch.next = Patch::default();
        if state == TxState::Fill && self.head_left.q.val() && !self.payload.val() {
            let word = header_beat(j, self.way.q.val(), head);
            let next_at = cat::<16, _>((bits::<9>(0), head + 1, bits::<3>(0)));
            self.patch.next = header_patch(word, head, self.head_len.q.val());
            self.ip_sum.d.next =
                self.ip_sum.q.val() + bit_cast::<SUM_BITS, 18>(lane_sum(ip_part(head, word)));
            self.tcp_sum.d.next =
                self.tcp_sum.q.val() + bit_cast::<SUM_BITS, 18>(lane_sum(tcp_part(head, word)));
            self.head.d.next = head + 1;
            self.head_left.d.next = next_at < self.head_len.q.val();
        } else if state == TxState::Fix && is_job {
            self.patch.next =
                segment_fix(self.fix.q.val(), checksum(self.ip_sum.q.val()), self.csum.q.val(), flags);
        } else if state == TxState::Fix {
            self.patch.next = ordinary_fix(self.fix.q.val(), f, self.csum.q.val());
        }

        self.state.d.next = next_state(
            state,
            Facts {
                job_turn,
                waits,
                may_go: self.route.val().ok && !too_long,
                fault: read && fault,
                whole: read && !self.head_left.q.val(),
                csum: is_job || f.csum,
                fixed: self.fix.q.val() == (if is_job { bits::<2>(2) } else { bits::<2>(1) }),
                told,
            },
        );
        match state {
            TxState::Idle => {
                // Who had his turn last is kept until there is a frame again.
                self.job_turn.d.next = if waits { job_turn } else { is_job };
                self.result.d.next = bits::<2>(SENT);
                self.head_left.d.next = job_turn;
                self.head.d.next = bits::<4>(0);
                self.ip_sum.d.next = bits::<SUM_BITS>(0);
                self.tcp_sum.d.next = bits::<SUM_BITS>(0);
                self.head_len.d.next = headers_len(j);
                self.len.d.next = if job_turn { headers_len(j) + j.len } else { f.len };
            }
            TxState::Route => {
                self.way.d.next = self.route.val();
                if !self.route.val().ok {
                    self.result.d.next = bits::<2>(NO_ROUTE);
                } else if too_long {
                    self.result.d.next = bits::<2>(NO_DATA);
                }
            }
            TxState::Fill => {
                self.result.d.next = if read && fault { bits::<2>(NO_DATA) } else { bits::<2>(SENT) };
            }
            TxState::Total => {
                let all = self.sum.val() + self.tcp_sum.q.val() + pseudo(segment_len(j), flags & !j.flags);
                self.csum.d.next = checksum(if is_job { all } else { self.sum.val() });
                self.fix.d.next = bits::<2>(0);
            }
            TxState::Fix => self.fix.d.next = self.fix.q.val() + 1,
            TxState::Commit => self.in_buffer.d.next = !self.in_buffer.q.val(),
            _ => {}
        }
        dff_reset!(self, reset, state, job_turn, in_buffer, result, head_left);
    }
}
