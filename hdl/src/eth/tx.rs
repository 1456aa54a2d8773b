//! Frames out: header words and payload ring become beats for the MAC, or for the loopback.
//!
//! ```text
//!   frame --> beat counter --> header words (of a slot) --+
//!                        `---> payload ring --------------+--> mask, checksums --> m_axis
//!                                 (1 clock)                              `-------> lb
//! ```
//! A frame taken leaves without gaps of our making: it is complete, or (`late`) its header words and its checksums are there before the beats that
//! carry them. The header's first `head_len` bytes come from
//! the slot, the others from the ring, where they already lie in the lanes they have in the frame. What was not known when
//! the header was written is put in here: IP ID, IPv4 checksum, PSH, and two checksum bytes at any place. On the wire frames
//! below 60 bytes are padded with zeros; a loopback frame keeps its length (R-242: it looks as it would from the wire,
//! unpadded like the host made it).
//!
//! Every frame takes the next slot, also one of which nothing leaves. Ring words are given back as they are read.
//!
//! Latency: 2 clocks from `frame_valid` to `tvalid`. Throughput: one beat per clock, no clock between frames.
//! Back-pressure: `frame_ready` is low while two frames wait. Reset state: nothing waits, ring and slots empty.
use crate::ip::tx_build::{tcp_at, Form};
use crate::mem::LutRam;
use crate::prelude::*;
use crate::stream::lanes::{keep_of, mask_bytes, swap16};
use crate::stream::Skid;
use chimney_abi::wire::{ethernet, ipv4, tcp};

/// log2 of the frames under way.
pub const SLOT_LOG2: usize = 5;
/// Bits of a slot counter: one more, so that full and empty differ.
pub const SLOTS: usize = SLOT_LOG2 + 1;
/// log2 of the header words of a slot.
pub const HEAD_WORDS_LOG2: usize = 4;
/// Word address of the header words.
pub const HEAD_LOG2: usize = SLOT_LOG2 + HEAD_WORDS_LOG2;
/// log2 of the payload ring, words.
pub const RING_LOG2: usize = 11;
/// Bits of a place in the ring: one more, so that full and empty differ.
pub const PLACE: usize = RING_LOG2 + 1;
/// Bits of a beat's number.
pub const BEAT_LOG2: usize = 11;
const MIN_LEN: u64 = ethernet::MIN_FRAME_LEN as u64;
/// Beat of the IP ID in a frame without LLC/SNAP, tagged or not; the checksum is one later.
const IP_ID_BEAT: u64 = ((ethernet::HEADER_LEN + ipv4::ID) / 8) as u64;
/// Words from the beginning of TCP to the end of the one with the flags, in word numbers that begin at byte 2.
const FLAGS_WORDS: u64 = (tcp::FLAGS as u64 + 2) / 4;
const PSH: u64 = tcp::FLAG_PSH as u64;

// The lanes that `patched` knows by heart; a tag moves them by four, LLC/SNAP by a beat.
const _: () = assert!((ethernet::HEADER_LEN + ipv4::ID) % 8 == 2 && ethernet::VLAN_TAG_LEN == 4);
const _: () = assert!((ethernet::HEADER_LEN + ipv4::CHECKSUM).is_multiple_of(8) && ethernet::SNAP_LEN == 8);
const _: () = assert!((ethernet::HEADER_LEN + ipv4::HEADER_LEN + tcp::FLAGS) % 8 == 7);

/// log2 of the frames whose late checksums are kept: two that wait, the one whose last beat stands at the port, and the next.
pub const LATE_LOG2: usize = 2;

/// The checksums of a header of our own.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Checksums {
    /// Of IPv4, in lane order.
    pub ip: Bits<16>,
    /// Of TCP, the first byte in bits 7:0.
    pub tcp: Bits<16>,
}

/// Checksums of a late frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Late {
    /// They are told, and told again until they are right.
    pub valid: Bit,
    /// The last bits of the frame's slot.
    pub slot: Bits<LATE_LOG2>,
    /// The checksums.
    pub sums: Checksums,
}

/// A frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct TxFrame {
    /// 0 = nothing leaves: slot and ring words are only given back.
    pub sends: Bit,
    /// 1 = to the receive path, 0 = to the MAC.
    pub loopback: Bit,
    /// Length, bytes, without padding.
    pub len: Bits<14>,
    /// Number of its last beat, padding included.
    pub last: Bits<BEAT_LOG2>,
    /// Bytes of that beat.
    pub keep: Bits<8>,
    /// Bytes that come from the slot, 0 to 126.
    pub head_len: Bits<7>,
    /// Its first ring word.
    pub start: Bits<PLACE>,
    /// The word behind its last one.
    pub end: Bits<PLACE>,
    /// 1 = a segment of IPv4: IP ID and IPv4 checksum are put in.
    pub numbered: Bit,
    /// Where they lie, and PSH.
    pub form: Form,
    /// 1 = PSH is set.
    pub push: Bit,
    /// IP ID.
    pub ip_id: Bits<16>,
    /// IPv4 checksum, in lane order.
    pub ip_csum: Bits<16>,
    /// 1 = `csum` is put in.
    pub has_csum: Bit,
    /// Its place, bytes from the frame's start.
    pub csum_at: Bits<9>,
    /// Its two bytes, the first one in bits 7:0.
    pub csum: Bits<16>,
    /// 1 = both checksums come by `late` instead, each before the clock in which the first of its bytes is offered.
    pub late: Bit,
}

/// What goes with the words that were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct OutBeat {
    /// There is one.
    pub valid: Bit,
    /// Bytes of the beat.
    pub keep: Bits<8>,
    /// Bytes that come from the slot.
    pub head: Bits<8>,
    /// Bytes that come from the ring; what is in neither is padding.
    pub body: Bits<8>,
    /// Last beat.
    pub last: Bit,
    /// To the receive path.
    pub loopback: Bit,
    /// The IP ID is in this beat: in lanes 2 and 3, in lanes 6 and 7.
    pub has_id: Bits<2>,
    /// The IPv4 checksum is: in lanes 0 and 1, in lanes 4 and 5.
    pub has_ip_csum: Bits<2>,
    /// PSH is to be set: in lane 3, in lane 7.
    pub push: Bits<2>,
    /// Lane of the first checksum byte.
    pub first: Bits<8>,
    /// Lane of the second.
    pub second: Bits<8>,
    /// See [`TxFrame::ip_id`].
    pub ip_id: Bits<16>,
    /// See [`TxFrame::ip_csum`].
    pub ip_csum: Bits<16>,
    /// See [`TxFrame::csum`].
    pub csum: Bits<16>,
    /// See [`TxFrame::late`].
    pub late: Bit,
    /// Where its checksums are then.
    pub slot: Bits<LATE_LOG2>,
}

/// The block. See the module page.
#[derive(LogicBlock, Default)]
pub struct TxStream {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// A frame may leave.
    pub frame_valid: Signal<In, Bit>,
    /// It is taken.
    pub frame_ready: Signal<Out, Bit>,
    /// The frame.
    pub frame: Signal<In, TxFrame>,
    /// Checksums of a late frame.
    pub late: Signal<In, Late>,
    /// Both memories: read.
    pub mem_re: Signal<Out, Bit>,
    /// Header words: address, the slot's number on top.
    pub head_addr: Signal<Out, Bits<HEAD_LOG2>>,
    /// Header words: the word, one clock later.
    pub head_data: Signal<In, Bits<64>>,
    /// Ring: address.
    pub ring_addr: Signal<Out, Bits<RING_LOG2>>,
    /// Ring: the word, one clock later.
    pub ring_data: Signal<In, Bits<64>>,
    /// Slots given back, modulo their counter.
    pub slots_done: Signal<Out, Bits<SLOTS>>,
    /// Ring words given back: everything before this place.
    pub ring_done: Signal<Out, Bits<PLACE>>,
    /// MAC: data.
    pub m_axis_tdata: Signal<Out, Bits<64>>,
    /// MAC: which bytes count.
    pub m_axis_tkeep: Signal<Out, Bits<8>>,
    /// MAC: beat valid.
    pub m_axis_tvalid: Signal<Out, Bit>,
    /// MAC: beat taken.
    pub m_axis_tready: Signal<In, Bit>,
    /// MAC: last beat.
    pub m_axis_tlast: Signal<Out, Bit>,
    /// Loopback: data.
    pub lb_tdata: Signal<Out, Bits<64>>,
    /// Loopback: which bytes count.
    pub lb_tkeep: Signal<Out, Bits<8>>,
    /// Loopback: beat valid.
    pub lb_tvalid: Signal<Out, Bit>,
    /// Loopback: beat taken.
    pub lb_tready: Signal<In, Bit>,
    /// Loopback: last beat.
    pub lb_tlast: Signal<Out, Bit>,
    /// Nothing is on its way to a port.
    pub idle: Signal<Out, Bit>,
    frames: Skid<TxFrame>,
    lates: LutRam<Checksums, LATE_LOG2>,
    slot: Dff<Bits<SLOTS>>,
    beat: Dff<Bits<BEAT_LOG2>>,
    place: Dff<Bits<PLACE>>,
    done: Dff<Bits<PLACE>>,
    out: Dff<OutBeat>,
}

/// Length of a frame as it leaves, bytes.
#[kernel]
pub fn wire_len(len: Bits<14>, loopback: bool) -> Bits<14> {
    if !loopback && len < MIN_LEN {
        bits::<14>(MIN_LEN)
    } else {
        len
    }
}

/// The bytes of beat `i` that lie before byte `len` of a frame.
#[kernel]
fn before(i: Bits<BEAT_LOG2>, len: Bits<14>) -> Bits<8> {
    let word = len.get_bits::<BEAT_LOG2>(3);
    if i < word {
        bits::<8>(0xff)
    } else if i == word {
        keep_of(bit_cast::<4, 3>(len.get_bits(0)))
    } else {
        bits::<8>(0)
    }
}

/// Something lies in this beat: in its first or in its second half.
#[kernel]
fn half(here: bool, second: bool) -> Bits<2> {
    cat::<2, _>((here && second, here && !second))
}

/// The beat number `i` of a frame.
#[kernel]
fn out_beat(f: TxFrame, i: Bits<BEAT_LOG2>) -> OutBeat {
    let last = i == f.last;
    let head = before(i, bit_cast::<14, 7>(f.head_len));
    // The second byte of a checksum may lie in the next beat.
    let at = bits::<16>(1) << f.csum_at.get_bits::<3>(0);
    let word = bit_cast::<BEAT_LOG2, 6>(f.csum_at.get_bits(3));
    let here = f.has_csum && i == word;
    let next = f.has_csum && i == word + 1 && at.get_bit(7);
    let id_beat = bit_cast::<BEAT_LOG2, 1>(f.form.snap.into()) + IP_ID_BEAT;
    let to_flags = tcp_at(f.form) + FLAGS_WORDS;
    let flags = bit_cast::<BEAT_LOG2, 4>(to_flags.get_bits(1));
    OutBeat {
        valid: true,
        keep: if last { f.keep } else { bits::<8>(0xff) },
        head,
        body: before(i, f.len) & !head,
        last,
        loopback: f.loopback,
        has_id: half(f.numbered && i == id_beat, f.form.tagged),
        has_ip_csum: half(f.numbered && i == id_beat + 1, f.form.tagged),
        push: half(f.push && i == flags, to_flags.get_bit(0)),
        first: if here { at.get_bits::<8>(0) } else { bits::<8>(0) },
        second: if here {
            cat::<8, _>((at.get_bits::<7>(0), bits::<1>(0)))
        } else {
            bit_cast::<8, 1>(next.into())
        },
        ip_id: f.ip_id,
        ip_csum: f.ip_csum,
        csum: f.csum,
        late: f.late,
        slot: bits::<LATE_LOG2>(0),
    }
}

/// The beat with the checksums that came late.
#[kernel]
fn with_late(o: OutBeat, late: Checksums) -> OutBeat {
    OutBeat {
        ip_csum: if o.late { late.ip } else { o.ip_csum },
        csum: if o.late { late.tcp } else { o.csum },
        ..o
    }
}

/// Half a word with number, IPv4 checksum and PSH.
#[kernel]
fn patched_half(half: Bits<32>, o: OutBeat, i: usize) -> Bits<32> {
    let high = if o.has_id.get_bit(i) { swap16(o.ip_id) } else { half.get_bits::<16>(16) };
    let low = if o.has_ip_csum.get_bit(i) { o.ip_csum } else { half.get_bits::<16>(0) };
    let push = if o.push.get_bit(i) { bits::<8>(PSH) } else { bits::<8>(0) };
    cat::<32, _>((high.get_bits::<8>(8) | push, high.get_bits::<8>(0), low))
}

/// The word with what was not known before.
#[kernel]
fn patched(word: Bits<64>, o: OutBeat) -> Bits<64> {
    let fixed = cat::<64, _>((
        patched_half(word.get_bits::<32>(32), o, 1),
        patched_half(word.get_bits::<32>(0), o, 0),
    ));
    cat::<64, _>(array::<8>(|i| {
        if o.first.get_bit(7 - i) {
            o.csum.get_bits::<8>(0)
        } else if o.second.get_bit(7 - i) {
            o.csum.get_bits::<8>(8)
        } else {
            fixed.get_bits::<8>(56 - 8 * i)
        }
    }))
}

#[kernel]
impl Logic for TxStream {
    fn update(&mut self) {
        dff_setup!(self, clock, slot, beat, place, done, out);
        clock!(self, clock, frames, lates);
        reset!(self, reset, frames);
        let out = self.out.q.val();
        let late = self.late.val();
        self.lates.we.next = late.valid;
        self.lates.waddr.next = late.slot;
        self.lates.wdata.next = late.sums;
        self.lates.raddr.next = out.slot;
        let o = with_late(out, self.lates.rdata.val());
        let word = mask_bytes(self.head_data.val(), o.head) | mask_bytes(self.ring_data.val(), o.body);
        let data = patched(word, o);
        self.m_axis_tdata.next = data;
        self.m_axis_tkeep.next = o.keep;
        self.m_axis_tlast.next = o.last;
        self.m_axis_tvalid.next = o.valid && !o.loopback;
        self.lb_tdata.next = data;
        self.lb_tkeep.next = o.keep;
        self.lb_tlast.next = o.last;
        self.lb_tvalid.next = o.valid && o.loopback;

        let waits = self.frames.m_valid.val();
        let f = self.frames.m_data.val();
        let beat = self.beat.q.val();
        let taken = if o.loopback { self.lb_tready.val() } else { self.m_axis_tready.val() };
        let go = !o.valid || taken;
        let read = go && waits && f.sends;
        let slot = self.slot.q.val();
        let next = OutBeat { slot: slot.get_bits::<LATE_LOG2>(0), ..out_beat(f, beat) };
        let ends = (read && next.last) || (waits && !f.sends);
        let place = if beat == 0 { f.start } else { self.place.q.val() };
        self.mem_re.next = read;
        self.head_addr.next =
            cat::<HEAD_LOG2, _>((slot.get_bits::<SLOT_LOG2>(0), beat.get_bits::<HEAD_WORDS_LOG2>(0)));
        self.ring_addr.next = place.get_bits::<RING_LOG2>(0);
        self.frames.s_valid.next = self.frame_valid.val();
        self.frames.s_data.next = self.frame.val();
        self.frame_ready.next = self.frames.s_ready.val();
        self.frames.m_ready.next = ends;
        self.slots_done.next = slot;
        self.ring_done.next = self.done.q.val();
        self.idle.next = !waits && !o.valid;
        if read {
            self.out.d.next = next;
            self.beat.d.next = beat + 1;
            let after = if next.body.any() { place + 1 } else { place };
            self.place.d.next = after;
            self.done.d.next = after;
        } else if go {
            self.out.d.next.valid = false;
        }
        if ends {
            self.beat.d.next = bits::<BEAT_LOG2>(0);
            self.done.d.next = f.end;
            self.slot.d.next = slot + 1;
        }
        dff_reset!(self, reset, slot, beat, place, done, out);
    }
}
