//! Both checksums of a frame, summed while its beats pass: that of the IPv4 header, and that of TCP or UDP with the
//! pseudo header of either family.
//!
//! ```text
//!   clock     0 (beat here)            1                  2                    3
//!             masks, sum of lanes -->  accumulate  -->    fold, compare -->    verdict (used in clock 2 as a wire)
//! ```
//! A pseudo header is not built: its addresses and its length are bytes of the IP header, which are simply left in the sum;
//! what is missing then (the protocol, and 20 bytes too many in the length of IPv4) is a constant for each of the four
//! cases, to which the sum must be congruent modulo 65535.
//!
//! Latency: [`RxSums::ip_clean`] and its fellow are right 2 clocks after the last beat, until the next frame's first beat is
//! 2 clocks old. Throughput: one beat per clock. Back-pressure: none. Reset: not needed.
use crate::eth::framing::Place;
use crate::ip::checksum::{be16, head_bytes, lane_sum};
use crate::prelude::*;
use crate::stream::lanes::mask_bytes;
use chimney_abi::wire::{ip_protocol, ipv4, ipv6};

/// Bits of a running sum: the lanes of a jumbo frame of 9024 bytes cannot overflow it.
const SUM_BITS: usize = 29;
/// The same for an IPv4 header.
const IP_SUM_BITS: usize = 21;
const ONES: u64 = 0xffff;
/// The 20 bytes of the header that the total length counts, in lane order.
const V4_EXCESS: u64 = (ipv4::HEADER_LEN as u64) << 8;
const TCP_LANE: u64 = (ip_protocol::TCP as u64) << 8;
const UDP_LANE: u64 = (ip_protocol::UDP as u64) << 8;
/// What the sum over a right datagram is congruent to.
const V4_TCP: u64 = V4_EXCESS + ONES - TCP_LANE - if V4_EXCESS >= TCP_LANE { ONES } else { 0 };
const V4_UDP: u64 = V4_EXCESS + ONES - UDP_LANE - if V4_EXCESS >= UDP_LANE { ONES } else { 0 };
const V6_TCP: u64 = ONES - TCP_LANE;
const V6_UDP: u64 = ONES - UDP_LANE;
/// Bytes of the datagram before the beat that follows the one in which its length is known (word 0 in `hi`, in `lo`).
const SEEN_HI: u64 = 6;
const SEEN_LO: u64 = 10;
const V6_HEADER: u64 = ipv6::HEADER_LEN as u64;

/// Lanes of a beat that count for the IPv4 header: half-words 0 to 9.
#[kernel]
fn ip_lanes(p: Place) -> Bits<4> {
    let v4 = !p.is_v6;
    cat::<4, _>((
        v4 && (p.on && p.n <= 2 || p.first_hi || p.next_lo),
        v4 && (p.on && p.n <= 3 || p.first_hi),
        v4 && (p.on && p.n <= 3 || p.first_hi),
        v4 && p.on && p.n <= 4,
    ))
}

/// Lanes that count for TCP or UDP: the length, the addresses, and everything behind them.
#[kernel]
fn l4_lanes(p: Place) -> Bits<4> {
    if p.is_v6 {
        cat::<4, _>((p.on || p.first_hi, p.on && p.n >= 1, p.on, p.on && p.n >= 2))
    } else {
        let lane_0 = p.on && (p.n == 0 || p.n >= 3);
        cat::<4, _>((p.on && p.n >= 1, p.on && p.n >= 2 || p.first_hi, p.on && p.n >= 2, lane_0))
    }
}

/// One enable per byte.
#[kernel]
fn lane_bytes(lanes: Bits<4>) -> Bits<8> {
    cat::<8, _>(array::<8, _>(|i| lanes.get_bit((7 - i) / 2)))
}

/// Bytes of the datagram that are left for the next beat. Lengths too small wrap: such a frame is refused by its length.
#[kernel]
fn left_after(first: bool, left: Bits<16>, p: Place, data: Bits<64>) -> Bits<16> {
    let lo = be16(if p.is_v6 { data.get_bits::<16>(16) } else { data.get_bits::<16>(0) });
    let hi = be16(if p.is_v6 { data.get_bits::<16>(48) } else { data.get_bits::<16>(32) });
    let in_lo = if p.is_v6 { bits::<16>(V6_HEADER - SEEN_LO) } else { bits::<16>(0x1_0000 - SEEN_LO) };
    let in_hi = if p.is_v6 { bits::<16>(V6_HEADER - SEEN_HI) } else { bits::<16>(0x1_0000 - SEEN_HI) };
    if first {
        bits::<16>(ONES) // not known yet: more than any frame uses up before it is
    } else if p.first_hi {
        hi + in_hi
    } else if p.on && p.n == 0 {
        lo + in_lo
    } else if left >= 8 {
        left - 8
    } else {
        bits::<16>(0)
    }
}

/// The sum folded once; congruent to it.
#[kernel]
fn folded(sum: Bits<SUM_BITS>) -> Bits<17> {
    bit_cast::<17, 16>(sum.get_bits::<16>(0)) + bit_cast::<17, 13>(sum.get_bits::<13>(16))
}

/// `x` is congruent to `c`, neither being 0.
#[kernel]
fn congruent(x: Bits<17>, c: u64) -> bool {
    x == c || x == c + ONES
}

/// The sums.
#[derive(LogicBlock, Default)]
pub struct RxSums {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// A beat is there.
    pub beat_valid: Signal<In, Bit>,
    /// It is the first of its frame.
    pub first: Signal<In, Bit>,
    /// Its data; what lies behind the frame's end does not matter for a datagram that lies in the frame.
    pub data: Signal<In, Bits<64>>,
    /// What it holds.
    pub place: Signal<In, Place>,
    /// The sum over the IPv4 header is right.
    pub ip_clean: Signal<Out, Bit>,
    /// The sum over the datagram is right for TCP.
    pub tcp_clean: Signal<Out, Bit>,
    /// For UDP.
    pub udp_clean: Signal<Out, Bit>,
    valid: Dff<Bit>,
    starts: Dff<Bit>,
    is_v6: Dff<Bit>,
    sum_v6: Dff<Bit>,
    in_dgram: Dff<Bits<8>>,
    left: Dff<Bits<16>>,
    ip_lane: Dff<Bits<18>>,
    l4_lane: Dff<Bits<18>>,
    ip_sum: Dff<Bits<IP_SUM_BITS>>,
    l4_sum: Dff<Bits<SUM_BITS>>,
}

#[kernel]
impl Logic for RxSums {
    fn update(&mut self) {
        dff_setup!(self, clock, valid, starts, is_v6, sum_v6, in_dgram, left);
        dff_setup!(self, clock, ip_lane, l4_lane, ip_sum, l4_sum);
        let (p, data) = (self.place.val(), self.data.val());
        self.valid.d.next = self.beat_valid.val();
        if self.beat_valid.val() {
            let left = left_after(self.first.val(), self.left.q.val(), p, data);
            self.left.d.next = left;
            self.in_dgram.d.next = head_bytes(left);
            self.starts.d.next = self.first.val();
            self.is_v6.d.next = p.is_v6;
            self.ip_lane.d.next = lane_sum(mask_bytes(data, lane_bytes(ip_lanes(p))));
            self.l4_lane.d.next = lane_sum(mask_bytes(data, lane_bytes(l4_lanes(p)) & self.in_dgram.q.val()));
        }
        if self.valid.q.val() {
            self.sum_v6.d.next = self.is_v6.q.val();
            let ip = bit_cast::<IP_SUM_BITS, 18>(self.ip_lane.q.val());
            let l4 = bit_cast::<SUM_BITS, 18>(self.l4_lane.q.val());
            self.ip_sum.d.next = if self.starts.q.val() { ip } else { self.ip_sum.q.val() + ip };
            self.l4_sum.d.next = if self.starts.q.val() { l4 } else { self.l4_sum.q.val() + l4 };
        }
        let x = folded(self.l4_sum.q.val());
        let v6 = self.sum_v6.q.val();
        self.ip_clean.next = congruent(folded(bit_cast::<SUM_BITS, _>(self.ip_sum.q.val())), ONES);
        self.tcp_clean.next = if v6 { congruent(x, V6_TCP) } else { congruent(x, V4_TCP) };
        self.udp_clean.next = if v6 { congruent(x, V6_UDP) } else { congruent(x, V4_UDP) };
    }
}
