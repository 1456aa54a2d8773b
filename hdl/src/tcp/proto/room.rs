//! What the MTUs of the paths leave for text, and the segment size that follows from it.
use super::record::Work;
use crate::mem::LutRam;
use crate::prelude::*;
use crate::types::PathMtu;
use chimney_abi::wire::{ipv4, ipv6, tcp};

/// What IPv4 and TCP take of an MTU without options.
const V4_HEADERS: u64 = (ipv4::HEADER_LEN + tcp::HEADER_LEN) as u64;
/// What IPv6 and TCP take.
const V6_HEADERS: u64 = (ipv6::HEADER_LEN + tcp::HEADER_LEN) as u64;
/// Padded timestamps option.
const TIMESTAMPS: u64 = tcp::TIMESTAMPS_PADDED_LEN as u64;

/// Text bytes of a segment: `eff_mss`, or less since the path's MTU shrank. `room`: see [`Rooms`]; an MTU is at least 68.
#[kernel]
pub fn smss(w: Work, room: Bits<16>) -> Bits<32> {
    let room = if w.fixed.flags.timestamps { room - TIMESTAMPS } else { room };
    bit_cast::<32, 16>(if w.fixed.eff_mss <= room { w.fixed.eff_mss } else { room })
}

/// Per path, what its MTU leaves for text and TCP options.
///
/// Latency: `room` follows `look` by one clock and stays until the next. Throughput: one look and one change per clock.
/// Back-pressure: none. Reset: none; a path is stored before anything uses it.
#[derive(LogicBlock, Default)]
pub struct Rooms<const TABLE: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// A path that was stored or updated.
    pub path_mtu: Signal<In, PathMtu>,
    /// Look `path` up.
    pub look: Signal<In, Bit>,
    /// Path id, with `look`.
    pub path: Signal<In, Bits<16>>,
    /// Its room, bytes.
    pub room: Signal<Out, Bits<16>>,
    rooms: LutRam<Bits<16>, TABLE>,
    held: Dff<Bits<16>>,
}

#[kernel]
impl<const TABLE: usize> Logic for Rooms<TABLE> {
    fn update(&mut self) {
        dff_setup!(self, clock, held);
        clock!(self, clock, rooms);
        let new = self.path_mtu.val();
        self.rooms.we.next = new.valid;
        self.rooms.waddr.next = bit_cast::<TABLE, 16>(new.path);
        self.rooms.wdata.next =
            new.mtu - if new.v6 { bits::<16>(V6_HEADERS) } else { bits::<16>(V4_HEADERS) };
        self.rooms.raddr.next = bit_cast::<TABLE, 16>(self.path.val());
        if self.look.val() {
            self.held.d.next = self.rooms.rdata.val();
        }
        self.room.next = self.held.q.val();
    }
}
