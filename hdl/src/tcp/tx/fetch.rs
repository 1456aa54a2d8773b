//! Fetch: which bytes of host memory make up a frame, and the bursts that read them.
//!
//! ```text
//!   Idle --start--> Look <------------------ Wait <-- Ask        walk of the send ring
//!     |              | holds seq    else: next or previous entry --^ ^
//!     | one buffer   v                                               |
//!     `----------> Plan <--> Send (burst) -- piece read, bytes left -'
//! ```
//! The send ring is walked from the descriptor used last (the cursor, kept per connection by the transmitter), forward or
//! backward until it holds the sequence number. Entries that are acknowledged may be overwritten; whatever stands
//! there, its second word tells whether to go forward or backward, and the ring closes on itself. So a walk ends at the
//! wanted entry or, in a ring that does not hold it, after two laps with `failed`. A cursor's descriptor is not
//! read again while it serves: it cannot change before `snd_una` has passed it (programmer's guide 7).
//!
//! Latency: 3 clocks to the first burst when the cursor serves, else one memory read per step. Throughput: one burst of up to
//! 256 bytes per 3 clocks; bursts stay within 256-byte blocks. Back-pressure: `room` (of the list of bursts). Reset: idle.
use crate::mirror::SendDesc;
use crate::prelude::*;
use crate::types::{ReadBeat, ReadReq};
use chimney_abi::desc::SEND_PUSH;

/// Beats in a 256-byte block.
const BLOCK_BEATS: u64 = 32;
/// Beats of a descriptor.
const DESC_BEATS: u64 = SendDesc::BITS as u64 / 64;
const PUSH_BIT: usize = SEND_PUSH.trailing_zeros() as usize;

/// Where the block stands.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
pub enum FetchState {
    /// Nothing to do, or done.
    Idle,
    /// The cursor's descriptor is compared with the wanted sequence number.
    Look,
    /// A descriptor's request is offered.
    Ask,
    /// The descriptor is on its way.
    Wait,
    /// The next burst is cut.
    Plan,
    /// It is offered.
    Send,
}

/// What to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct FetchJob {
    /// 1 = bytes of a send ring, 0 = `len` bytes at `addr`.
    pub walk: Bit,
    /// Ring address, or the buffer's.
    pub addr: Bits<64>,
    /// log2 of ring entries.
    pub log2: Bits<8>,
    /// Sequence number of the first byte.
    pub seq: Bits<32>,
    /// Bytes, at least 1.
    pub len: Bits<16>,
}

/// The entry of a send ring that was used last.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Cursor {
    /// 0 = none: begin at index 0.
    pub valid: Bit,
    /// Its index.
    pub index: Bits<16>,
    /// Its contents.
    pub desc: SendDesc,
}

/// What the receiving side must know of a burst.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Burst {
    /// Bytes to skip in the first beat.
    pub skip: Bits<3>,
    /// Bytes that count, 1 to 256.
    pub len: Bits<9>,
}

/// A descriptor seen from a sequence number.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Seen {
    /// It holds the byte.
    pub holds: Bit,
    /// The byte lies before it.
    pub before: Bit,
    /// The byte's address.
    pub addr: Bits<64>,
    /// Bytes to take from it.
    pub len: Bits<16>,
    /// Its last byte is taken, and it asks for PSH.
    pub push: Bit,
}

/// Compares a descriptor with `seq` and the number of bytes wanted.
#[kernel]
pub fn look(d: SendDesc, seq: Bits<32>, want: Bits<16>) -> Seen {
    let off = seq - d.seq;
    let len = bit_cast::<32, 24>(d.len);
    let left = len - off;
    let ends = left <= bit_cast::<32, 16>(want);
    Seen {
        holds: off < len,
        before: off.get_bit(31),
        addr: d.addr + bit_cast::<64, 32>(off),
        len: if ends { left.get_bits::<16>(0) } else { want },
        push: ends && d.flags.get_bit(PUSH_BIT),
    }
}

/// The next burst of `len` bytes at `addr`: its number of beats and bytes.
#[kernel]
pub fn cut(addr: Bits<64>, len: Bits<16>) -> (Bits<6>, Bits<9>) {
    let skip = addr.get_bits::<3>(0);
    let to_block = bits::<6>(BLOCK_BEATS) - bit_cast::<6, 5>(addr.get_bits::<5>(3));
    let all = (bit_cast::<17, 16>(len) + bit_cast::<17, 3>(skip) + 7).get_bits::<14>(3);
    let fits = all <= bit_cast::<14, 6>(to_block);
    let room = cat::<9, _>((to_block, bits::<3>(0))) - bit_cast::<9, 3>(skip);
    if fits {
        (all.get_bits::<6>(0), len.get_bits::<9>(0))
    } else {
        (to_block, room)
    }
}

/// The block.
#[derive(LogicBlock, Default)]
pub struct Fetch {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// Begin; only when `done`.
    pub start: Signal<In, Bit>,
    /// What to read; stays until `done`.
    pub job: Signal<In, FetchJob>,
    /// With `start`: the entry used last.
    pub cursor_in: Signal<In, Cursor>,
    /// All bursts have been asked for, or the walk failed; low from the clock after `start`.
    pub done: Signal<Out, Bit>,
    /// With `done`: a descriptor could not be read.
    pub error: Signal<Out, Bit>,
    /// With `done`: the ring does not hold the bytes.
    pub lost: Signal<Out, Bit>,
    /// With `done`: PSH is wanted.
    pub push: Signal<Out, Bit>,
    /// With `done`: the entry used last.
    pub cursor: Signal<Out, Cursor>,
    /// Descriptor client: request offered.
    pub desc_req_valid: Signal<Out, Bit>,
    /// Descriptor client: taken.
    pub desc_req_ready: Signal<In, Bit>,
    /// Descriptor client: the request.
    pub desc_req: Signal<Out, ReadReq>,
    /// Descriptor client: `beat` is a descriptor's.
    pub desc_beat_valid: Signal<In, Bit>,
    /// Read data.
    pub beat: Signal<In, ReadBeat>,
    /// Data client: request offered.
    pub req_valid: Signal<Out, Bit>,
    /// Data client: taken.
    pub req_ready: Signal<In, Bit>,
    /// Data client: the request.
    pub req: Signal<Out, ReadReq>,
    /// The list of bursts has room.
    pub room: Signal<In, Bit>,
    /// A burst was asked for.
    pub burst_valid: Signal<Out, Bit>,
    /// The burst.
    pub burst: Signal<Out, Burst>,
    state: Dff<FetchState>,
    at: Dff<Cursor>,
    low: Dff<Bits<64>>,
    seq: Dff<Bits<32>>,
    left: Dff<Bits<16>>,
    addr: Dff<Bits<64>>,
    piece: Dff<Bits<16>>,
    ask: Dff<ReadReq>,
    part: Dff<Burst>,
    steps: Dff<Bits<18>>,
    is_push: Dff<Bit>,
    is_error: Dff<Bit>,
    is_lost: Dff<Bit>,
}

#[kernel]
impl Logic for Fetch {
    fn update(&mut self) {
        dff_setup!(self, clock, state, at, low, seq, left, addr, piece, ask, part);
        dff_setup!(self, clock, steps, is_push, is_error, is_lost);
        let state = self.state.q.val();
        let job = self.job.val();
        let at = self.at.q.val();
        let slot = at.index & ((bits::<16>(1) << job.log2) - 1);
        self.done.next = state == FetchState::Idle;
        self.error.next = self.is_error.q.val();
        self.lost.next = self.is_lost.q.val();
        self.push.next = self.is_push.q.val();
        self.cursor.next = at;
        self.desc_req_valid.next = state == FetchState::Ask;
        self.desc_req.next = ReadReq {
            iova: job.addr + cat::<64, _>((bits::<44>(0), slot, bits::<4>(0))),
            beats: bits::<6>(DESC_BEATS),
        };
        self.req_valid.next = state == FetchState::Send;
        self.req.next = self.ask.q.val();
        self.burst_valid.next = state == FetchState::Send && self.req_ready.val();
        self.burst.next = self.part.q.val();
        match state {
            FetchState::Idle => {
                if self.start.val() {
                    self.is_push.d.next = false;
                    self.is_error.d.next = false;
                    self.is_lost.d.next = false;
                    self.steps.d.next = bits::<18>(0);
                    self.seq.d.next = job.seq;
                    self.left.d.next = if job.walk { job.len } else { bits::<16>(0) };
                    self.addr.d.next = job.addr;
                    self.piece.d.next = job.len;
                    self.at.d.next =
                        if self.cursor_in.val().valid { self.cursor_in.val() } else { Cursor::default() };
                    let first = if self.cursor_in.val().valid { FetchState::Look } else { FetchState::Ask };
                    self.state.d.next = if job.walk { first } else { FetchState::Plan };
                }
            }
            FetchState::Look => {
                let seen = look(at.desc, self.seq.q.val(), self.left.q.val());
                if seen.holds {
                    self.at.d.next.valid = true;
                    self.addr.d.next = seen.addr;
                    self.piece.d.next = seen.len;
                    self.left.d.next = self.left.q.val() - seen.len;
                    self.seq.d.next = self.seq.q.val() + bit_cast::<32, 16>(seen.len);
                    self.is_push.d.next = self.is_push.q.val() || seen.push;
                    self.state.d.next = FetchState::Plan;
                } else if at.desc.len == 0 || (self.steps.q.val() >> job.log2).get_bit(1) {
                    self.at.d.next.valid = false;
                    self.is_lost.d.next = true;
                    self.state.d.next = FetchState::Idle;
                } else {
                    self.steps.d.next = self.steps.q.val() + 1;
                    self.at.d.next.index = if seen.before { at.index - 1 } else { at.index + 1 };
                    self.state.d.next = FetchState::Ask;
                }
            }
            FetchState::Ask => {
                if self.desc_req_ready.val() {
                    self.state.d.next = FetchState::Wait;
                }
            }
            FetchState::Wait => {
                if self.desc_beat_valid.val() {
                    let b = self.beat.val();
                    let bad = self.is_error.q.val() || b.error;
                    self.low.d.next = b.data;
                    self.is_error.d.next = bad;
                    if b.last {
                        let whole = cat::<128, _>((b.data, self.low.q.val()));
                        self.at.d.next.desc = unpack::<SendDesc, 128>(whole);
                        self.at.d.next.valid = !bad;
                        self.state.d.next = if bad { FetchState::Idle } else { FetchState::Look };
                    }
                }
            }
            FetchState::Plan => {
                let addr = self.addr.q.val();
                let (beats, len) = cut(addr, self.piece.q.val());
                self.ask.d.next =
                    ReadReq { iova: cat::<64, _>((addr.get_bits::<61>(3), bits::<3>(0))), beats };
                self.part.d.next = Burst { skip: addr.get_bits::<3>(0), len };
                if self.room.val() {
                    self.addr.d.next = addr + bit_cast::<64, 9>(len);
                    self.piece.d.next = self.piece.q.val() - bit_cast::<16, 9>(len);
                    self.state.d.next = FetchState::Send;
                }
            }
            FetchState::Send => {
                if self.req_ready.val() {
                    if self.piece.q.val() != 0 {
                        self.state.d.next = FetchState::Plan;
                    } else if self.left.q.val() != 0 {
                        self.at.d.next.index = at.index + 1;
                        self.state.d.next = FetchState::Ask;
                    } else {
                        self.state.d.next = FetchState::Idle;
                    }
                }
            }
        }
        dff_reset!(self, reset, state, is_push, is_error, is_lost);
    }
}
