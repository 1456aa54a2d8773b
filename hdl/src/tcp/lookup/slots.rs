//! The two tables of slots, and what they and the stash say to a hash.
//!
//! A hash is cut into the place in table 1, the place in table 2 and a tag. Both places are looked at at once. A slot is written
//! where the last probe looked; the reader sees to it that none begins in that clock.
//!
//! Latency: `mask`, `picked` and `slots` answer in the clock after `probe`, and stay until the next one. Throughput: one probe per
//! clock. Back-pressure: none but `cleared`. Reset: empty after `1 << AW` clocks.
use super::{first_of, Entry, Slot, PLACES, REST, SLOTS, STASH};
use crate::mem::SdpRam;
use crate::prelude::*;

/// The bits of a hash that count, by `AW`.
const KEPT: [u64; 12] = {
    let mut kept = [0xffff_ffff; 12];
    let mut aw = 0;
    while REST + aw < 32 {
        kept[aw] = (1 << (REST + aw)) - 1;
        aw += 1;
    }
    kept
};

/// The bits of a hash that slots keep.
#[kernel]
pub fn kept<const AW: usize>(hash: Bits<32>) -> Bits<32> {
    hash & bits::<32>(KEPT[AW])
}

/// What a slot of table 1 keeps of a hash.
#[kernel]
fn rest_1<const AW: usize>(hash: Bits<32>) -> Bits<REST> {
    (hash >> (AW as u64)).get_bits::<REST>(0)
}

/// What a slot of table 2 keeps of a hash: the place in table 1 first.
#[kernel]
fn rest_2<const AW: usize>(hash: Bits<32>) -> Bits<REST> {
    let tag = (hash >> (2 * AW as u64)) << (AW as u64);
    (tag | bit_cast::<32, AW>(hash.get_bits::<AW>(0))).get_bits::<REST>(0)
}

/// The hash of what lies in a slot of table 1 at `place`.
#[kernel]
pub fn hash_1<const AW: usize>(rest: Bits<REST>, place: Bits<AW>) -> Bits<32> {
    (bit_cast::<32, REST>(rest) << (AW as u64)) | bit_cast::<32, AW>(place)
}

/// The hash of what lies in a slot of table 2 at `place`.
#[kernel]
pub fn hash_2<const AW: usize>(rest: Bits<REST>, place: Bits<AW>) -> Bits<32> {
    let low = bit_cast::<32, AW>(rest.get_bits::<AW>(0));
    let tag = bit_cast::<32, REST>(rest >> (AW as u64)) << (2 * AW as u64);
    tag | (bit_cast::<32, AW>(place) << (AW as u64)) | low
}

/// The block. See the module page. `AW`: log2 of the buckets of a table.
#[derive(LogicBlock, Default)]
pub struct Slots<const AW: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// The slots were cleared since reset; nothing may be asked or written before.
    pub cleared: Signal<Out, Bit>,
    /// Look at the places of a hash.
    pub probe: Signal<In, Bit>,
    /// The hash.
    pub hash: Signal<In, Bits<32>>,
    /// Its key is of IPv6.
    pub is_v6: Signal<In, Bit>,
    /// The stash.
    pub stash: [Signal<In, Entry>; STASH],
    /// Places that hold the hash: slots first.
    pub mask: Signal<Out, Bits<PLACES>>,
    /// Some of the places.
    pub pick: Signal<In, Bits<PLACES>>,
    /// The connection in the first of them.
    pub picked: Signal<Out, Bits<12>>,
    /// The slots.
    pub slots: [Signal<Out, Slot>; SLOTS],
    /// The hash of the last probe, as far as slots keep it.
    pub probed: Signal<Out, Bits<32>>,
    /// Write these slots; not in the clock of a probe.
    pub we: Signal<In, Bits<SLOTS>>,
    /// 0 = they become free.
    pub put: Signal<In, Bit>,
    /// The connection that gets them, with the hash and family of the last probe.
    pub put_conn: Signal<In, Bits<12>>,
    a: SdpRam<Slot, AW>,
    b: SdpRam<Slot, AW>,
    c: SdpRam<Slot, AW>,
    d: SdpRam<Slot, AW>,
    clear: Dff<Bits<AW>>,
    live: Dff<Bit>,
    asked: Dff<Bits<32>>,
    asked_v6: Dff<Bit>,
}

#[kernel]
impl<const AW: usize> Logic for Slots<AW> {
    fn update(&mut self) {
        dff_setup!(self, clock, clear, live, asked, asked_v6);
        clock!(self, clock, a, b, c, d);
        let (probe, live) = (self.probe.val(), self.live.q.val());
        let to = self.hash.val();
        let (asked, is_v6) = (self.asked.q.val(), self.asked_v6.q.val());
        self.cleared.next = live;
        if probe {
            self.asked.d.next = kept::<AW>(to);
            self.asked_v6.d.next = self.is_v6.val();
        }
        self.a.re.next = probe;
        self.b.re.next = probe;
        self.c.re.next = probe;
        self.d.re.next = probe;
        self.a.raddr.next = to.get_bits::<AW>(0);
        self.b.raddr.next = to.get_bits::<AW>(0);
        self.c.raddr.next = to.get_bits::<AW>(AW);
        self.d.raddr.next = to.get_bits::<AW>(AW);

        // Answers.
        let slots = [self.a.rdata.val(), self.b.rdata.val(), self.c.rdata.val(), self.d.rdata.val()];
        let rests = [rest_1::<AW>(asked), rest_2::<AW>(asked)];
        let mut mask = bits::<PLACES>(0);
        let (first, none) = (first_of(self.pick.val()), bits::<12>(0));
        let mut picked = none;
        for i in 0..SLOTS {
            let (slot, entry) = (slots[i], self.stash[i].val());
            mask = mask.replace_bit(i, slot.valid && slot.is_v6 == is_v6 && slot.rest == rests[i / 2]);
            let in_stash = entry.valid && entry.is_v6 == is_v6 && entry.hash == asked;
            mask = mask.replace_bit(SLOTS + i, in_stash);
            self.slots[i].next = slot;
            picked = picked | if first.get_bit(i) { slot.conn } else { none };
            picked = picked | if first.get_bit(SLOTS + i) { entry.conn } else { none };
        }
        self.mask.next = mask;
        self.picked.next = picked;
        self.probed.next = asked;

        // Writes.
        let we = self.we.val();
        let new = Slot { valid: self.put.val() && live, is_v6, conn: self.put_conn.val(), rest: rests[0] };
        let (at_1, at_2) = (asked.get_bits::<AW>(0), asked.get_bits::<AW>(AW));
        let clear = self.clear.q.val();
        self.a.we.next = we.get_bit(0) || !live;
        self.b.we.next = we.get_bit(1) || !live;
        self.c.we.next = we.get_bit(2) || !live;
        self.d.we.next = we.get_bit(3) || !live;
        self.a.waddr.next = if live { at_1 } else { clear };
        self.b.waddr.next = if live { at_1 } else { clear };
        self.c.waddr.next = if live { at_2 } else { clear };
        self.d.waddr.next = if live { at_2 } else { clear };
        let new_2 = Slot { rest: rests[1], ..new };
        self.a.wdata.next = new;
        self.b.wdata.next = new;
        self.c.wdata.next = new_2;
        self.d.wdata.next = new_2;
        if !live {
            self.clear.d.next = clear + 1;
            self.live.d.next = clear.all();
        }
        dff_reset!(self, reset, clear, live);
    }
}
