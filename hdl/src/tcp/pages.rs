//! Page map of every connection, and the prefetched pool of free pages.
//!
//! A connection has 32 slots (`PAGE_SLOTS`); the byte with sequence number s belongs to slot `(s >> 12) mod
//! 32`, and the slot's page is the right one if its tag is s >> 12. Which slots are in use is a word of 32 bits per connection, so a
//! map is emptied with one write. A lookup that misses takes a page from
//! the pool. Entries of the pool ring are fetched ahead, up to 32 in a burst.
//!
//! Latency: a lookup is answered 3 cycles after it is offered. Throughput: one at a time; do not offer the
//! next before the answer; a load takes 3 cycles. Back-pressure: a load waits for lookups, a clear for a write of the same cycle;
//! lookups never wait, an empty pool answers "none" (law L5). Reset: the pool is empty, reading starts at entry 0; maps are
//! cleared at every Initiate and need no reset. `MAP` = `LOG2` + 5.
use crate::mem::SdpRam;
use crate::prelude::*;
use crate::types::{ReadBeat, ReadReq};
use chimney_abi::desc::PAGE_SLOTS;
use chimney_abi::regs;

/// log2 of the most connections a NIC is built for: as many as the doorbell region has room for.
pub const CONN_MOST: usize =
    ((regs::BAR0_BYTES - regs::DOORBELL_BASE) / regs::DOORBELL_STRIDE).ilog2() as usize;
/// Bits of a place in the map: connection and slot.
pub const SLOT_AT: usize = CONN_MOST + PAGE_SLOTS.ilog2() as usize;

/// An entry of the map.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct PageSlot {
    /// Page number.
    pub page: Bits<16>,
    /// Sequence number of the first byte >> 12.
    pub tag: Bits<20>,
}

/// A connection's map becomes empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct ClearMap {
    /// 1 = it does.
    pub valid: Bit,
    /// Connection.
    pub conn: Bits<16>,
}

/// A write to the map: the slot is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct LoadSlot {
    /// 1 = write.
    pub valid: Bit,
    /// Connection (from bit 5 on) and slot (bits 4:0).
    pub at: Bits<SLOT_AT>,
    /// The entry.
    pub slot: PageSlot,
}

/// A lookup.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct LookSlot {
    /// 1 = look up.
    pub valid: Bit,
    /// Connection and slot.
    pub at: Bits<SLOT_AT>,
    /// Sequence number >> 12.
    pub tag: Bits<20>,
    /// Only look: nothing is taken from the pool.
    pub peek: Bit,
}

/// The answer, for one cycle.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct FoundSlot {
    /// 1 = this is it.
    pub valid: Bit,
    /// There is a page.
    pub found: Bit,
    /// It was taken from the pool just now.
    pub fresh: Bit,
    /// The page.
    pub page: Bits<16>,
}

/// Where a lookup stands.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
pub enum LookState {
    /// Waits for a lookup.
    Idle,
    /// The entry is being read.
    Read,
    /// The entry is there.
    Check,
}

/// log2 of the pages held ready.
const READY_LOG2: usize = 6;
/// Bits of a count of them.
pub const COUNT: usize = READY_LOG2 + 1;
/// Pages held ready.
const READY: u64 = 1 << READY_LOG2;
/// Slots of a connection.
const SLOTS: usize = PAGE_SLOTS as usize;
/// log2 of them.
const SLOT_BITS: usize = PAGE_SLOTS.ilog2() as usize;
/// Entries in a 256-byte block of the pool ring.
const BURST: u64 = 32;

/// The block.
#[derive(LogicBlock, Default)]
pub struct Pages<const LOG2: usize, const MAP: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// Prefetch.
    pub enable: Signal<In, Bit>,
    /// No read outstanding.
    pub idle: Signal<Out, Bit>,
    /// Pool ring address.
    pub ring: Signal<In, Bits<64>>,
    /// log2 of its entries.
    pub ring_log2: Signal<In, Bits<8>>,
    /// Its producer index.
    pub producer: Signal<In, Bits<16>>,
    /// Entries taken.
    pub consumer: Signal<Out, Bits<16>>,
    /// Read client.
    pub req_valid: Signal<Out, Bit>,
    /// Burst wanted.
    pub req: Signal<Out, ReadReq>,
    /// Burst accepted.
    pub req_ready: Signal<In, Bit>,
    /// A beat for this client.
    pub beat_valid: Signal<In, Bit>,
    /// The beat.
    pub beat: Signal<In, ReadBeat>,
    /// Write an entry of the map; offered until `load_ready`.
    pub load: Signal<In, LoadSlot>,
    /// It is taken.
    pub load_ready: Signal<Out, Bit>,
    /// Empty a map; offered until `clear_ready`.
    pub clear: Signal<In, ClearMap>,
    /// It is done with this cycle.
    pub clear_ready: Signal<Out, Bit>,
    /// Look up the page of a byte.
    pub look: Signal<In, LookSlot>,
    /// Answer.
    pub answer: Signal<Out, FoundSlot>,
    /// Pages held ready.
    pub level: Signal<Out, Bits<COUNT>>,
    map: SdpRam<PageSlot, MAP>,
    used: SdpRam<Bits<SLOTS>, LOG2>,
    ready: SdpRam<Bits<16>, READY_LOG2>,
    state: Dff<LookState>,
    at: Dff<Bits<MAP>>,
    tag: Dff<Bits<20>>,
    peek: Dff<Bit>,
    /// A load's, with its page.
    loads: Dff<Bit>,
    page: Dff<Bits<16>>,
    result: Dff<FoundSlot>,
    fetched: Dff<Bits<16>>,
    asked: Dff<Bits<16>>,
    asking: Dff<Bit>,
    reading: Dff<Bit>,
    beats: Dff<Bits<6>>,
    head: Dff<Bits<COUNT>>,
    tail: Dff<Bits<COUNT>>,
    tail_seen: Dff<Bits<COUNT>>,
}

/// Entries to fetch with one burst: what is new, fits into the pool, and lies in one 256-byte block.
#[kernel]
fn burst_len(new: Bits<16>, room: Bits<COUNT>, to_end: Bits<16>, to_block: Bits<16>) -> Bits<6> {
    let fits = bit_cast::<16, COUNT>(room);
    let a = if new < fits { new } else { fits };
    let b = if to_end < to_block { to_end } else { to_block };
    let n = if a < b { a } else { b };
    bit_cast::<6, 16>(n)
}

#[kernel]
impl<const LOG2: usize, const MAP: usize> Logic for Pages<LOG2, MAP> {
    fn update(&mut self) {
        dff_setup!(
            self, clock, state, at, tag, peek, loads, page, result, fetched, asked, asking, reading, beats,
            head, tail, tail_seen
        );
        clock!(self, clock, map, used, ready);
        self.answer.next = self.result.q.val();
        self.consumer.next = self.fetched.q.val();
        self.level.next = self.tail_seen.q.val() - self.head.q.val();
        self.idle.next = !self.asking.q.val() && !self.reading.q.val();

        // The pool: `ready.rdata` is the page at `head`; an entry counts one cycle after it was written.
        self.tail_seen.d.next = self.tail.q.val();
        self.ready.re.next = true;
        self.ready.raddr.next = bit_cast::<READY_LOG2, COUNT>(self.head.q.val());
        self.ready.we.next = self.beat_valid.val() && !self.beat.val().error;
        self.ready.waddr.next = bit_cast::<READY_LOG2, COUNT>(self.tail.q.val());
        self.ready.wdata.next = self.beat.val().data.get_bits::<16>(0);

        // Lookup, or load.
        let (state, at, tag) = (self.state.q.val(), self.at.q.val(), self.tag.q.val());
        let (entry, used, loads) = (self.map.rdata.val(), self.used.rdata.val(), self.loads.q.val());
        let bit = bits::<SLOTS>(1) << at.get_bits::<SLOT_BITS>(0);
        let hit = (used & bit).any() && entry.tag == tag;
        let has_page = self.head.q.val() != self.tail_seen.q.val();
        let decides = state == LookState::Check && !loads;
        let take = decides && !hit && !self.peek.q.val() && has_page;
        let stores = take || state == LookState::Check && loads;
        let page = if loads { self.page.q.val() } else { self.ready.rdata.val() };
        self.map.re.next = state == LookState::Read;
        self.map.raddr.next = at;
        self.map.we.next = stores;
        self.map.waddr.next = at;
        self.map.wdata.next = PageSlot { page, tag };
        let (load, look, clear) = (self.load.val(), self.look.val(), self.clear.val());
        self.used.re.next = state == LookState::Read;
        self.used.raddr.next = bit_cast::<LOG2, MAP>(at >> bits::<3>(SLOT_BITS as u64));
        self.used.we.next = stores || clear.valid;
        self.used.waddr.next = if stores {
            bit_cast::<LOG2, MAP>(at >> bits::<3>(SLOT_BITS as u64))
        } else {
            bit_cast::<LOG2, 16>(clear.conn)
        };
        self.used.wdata.next = if stores { used | bit } else { bits::<SLOTS>(0) };
        self.clear_ready.next = !stores;
        self.load_ready.next = state == LookState::Idle && !look.valid;
        self.result.d.next = FoundSlot {
            valid: decides,
            found: hit || take,
            fresh: take,
            page: if hit { entry.page } else { page },
        };
        match self.state.q.val() {
            LookState::Idle => {
                self.loads.d.next = !look.valid;
                self.page.d.next = load.slot.page;
                self.peek.d.next = look.peek;
                self.at.d.next = bit_cast::<MAP, SLOT_AT>(if look.valid { look.at } else { load.at });
                self.tag.d.next = if look.valid { look.tag } else { load.slot.tag };
                if look.valid || load.valid {
                    self.state.d.next = LookState::Read;
                }
            }
            LookState::Read => {
                self.state.d.next = LookState::Check;
            }
            LookState::Check => {
                self.state.d.next = LookState::Idle;
            }
        }
        if take {
            self.head.d.next = self.head.q.val() + 1;
        }

        // Prefetch: decide, ask, read.
        let size = bits::<16>(1) << self.ring_log2.val();
        let index = self.fetched.q.val() & (size - 1);
        let addr = self.ring.val() + (bit_cast::<64, 16>(index) << bits::<2>(3));
        let to_block = bits::<16>(BURST) - bit_cast::<16, 5>(addr.get_bits::<5>(3));
        let room = bits::<COUNT>(READY) - (self.tail.q.val() - self.head.q.val());
        let want = burst_len(self.producer.val() - self.fetched.q.val(), room, size - index, to_block);
        self.req_valid.next = self.asking.q.val();
        self.req.next = ReadReq { iova: addr, beats: self.beats.q.val() };
        if !self.asking.q.val() && !self.reading.q.val() {
            self.beats.d.next = want;
            self.asking.d.next = self.enable.val() && want != 0;
        }
        if self.asking.q.val() && self.req_ready.val() {
            self.asking.d.next = false;
            self.reading.d.next = true;
            self.asked.d.next = self.fetched.q.val() + bit_cast::<16, 6>(self.beats.q.val());
        }
        if self.beat_valid.val() {
            // An entry that could not be read is lost for the pool, but the ring goes on.
            self.tail.d.next = self.tail.q.val() + !self.beat.val().error;
            if self.beat.val().last {
                self.reading.d.next = false;
                self.fetched.d.next = self.asked.q.val();
            }
        }
        dff_reset!(self, reset, state, result, fetched, asking, reading, head, tail, tail_seen);
    }
}
