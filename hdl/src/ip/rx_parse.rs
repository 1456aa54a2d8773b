//! Header capture: picks the fields of an untagged Ethernet/IPv4/TCP frame out of its beats and sums
//! the checksums on the way.
//!
//! ```text
//!   beat    0        1        2        3        4        5        6        7 ...     11
//!   byte    0..7     8..15    16..23   24..31   32..39   40..47   48..55   56..63    88..93
//!           MACs     type,ver len,frag IPs      ports    seq,ack  wnd,opts options...
//! ```
//! Fields are taken whatever the frame is; [`ip_ok`] and [`l4_ok`] say afterwards what they are worth.
//! IPv4 with options is not looked into (it goes up with clear verdict bits, law L4).
//!
//! Latency: the header is offered in the cycle after the last beat. Throughput: one beat per clock.
//! Back-pressure: `header_valid && !header_ready` means that no beat may come (the stream block's
//! `hold`). Reset: nothing waits.
use crate::ip::checksum::{be16, be32, head_mask, is_clean, lane_sum, SUM_BITS};
use crate::prelude::*;
use chimney_abi::wire::{ethernet, ip_protocol, ipv4, tcp};

/// Bytes of options kept: all that a TCP header can have.
pub const OPTION_BITS: usize = 320;
/// Where the IPv4 header begins.
const IP_AT: u64 = ethernet::HEADER_LEN as u64;
/// Where the TCP header begins (IPv4 header without options).
pub const TCP_AT: u64 = IP_AT + ipv4::HEADER_LEN as u64;
const IP_LEN: u64 = ipv4::HEADER_LEN as u64;
const TCP_LEN: u64 = tcp::HEADER_LEN as u64;
const TYPE_IPV4: u64 = ethernet::TYPE_IPV4 as u64;
const VERSION_IHL_PLAIN: u64 = ipv4::VERSION_IHL_PLAIN as u64;
const TCP: u64 = ip_protocol::TCP as u64;
/// MF and the fragment offset: anything set means a fragment.
const FRAGMENT: u64 = (ipv4::FLAG_MF | ipv4::FRAGMENT_MASK) as u64;
/// The pseudo header's protocol word in lane order.
const TCP_LANE: u64 = TCP << 8;
/// Bytes 14 and 15 of beat 1 (IPv4 header begins).
const MASK_BEAT_1: u64 = 0xffff_0000_0000_0000;
/// Bytes 32 and 33 of beat 4 (IPv4 header ends).
const MASK_BEAT_4: u64 = 0x0000_0000_0000_ffff;
/// Bytes 26 to 31 of beat 3 (addresses: the pseudo header begins).
const MASK_BEAT_3: u64 = 0xffff_ffff_ffff_0000;

// The positions that `capture` knows by heart.
const _: () = assert!(ethernet::ETHERTYPE == 12 && ethernet::HEADER_LEN == 14);
const _: () = assert!(ipv4::TOTAL_LEN == 2 && ipv4::FLAGS_FRAGMENT == 6 && ipv4::PROTOCOL == 9);
const _: () = assert!(ipv4::SRC == 12 && ipv4::DST == 16 && ipv4::HEADER_LEN == 20);
const _: () = assert!(tcp::SEQ == 4 && tcp::ACK == 8 && tcp::DATA_OFFSET == 12 && tcp::WINDOW == 14);

/// One beat of a frame (stream block -> parser).
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct RxBeat {
    /// Eight bytes, first one low.
    pub data: Bits<64>,
    /// Number of the beat in its frame.
    pub idx: Bits<13>,
    /// 1 = the frame is kept and complete with this beat.
    pub commit: Bit,
    /// With `commit`: where the frame lies in packet memory, byte address.
    pub src: Bits<16>,
    /// With `commit`: frame length, bytes.
    pub len: Bits<16>,
}

/// The fields of a frame, as captured.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct RxHeader {
    /// Byte address in packet memory.
    pub src: Bits<16>,
    /// Frame length, bytes.
    pub len: Bits<16>,
    /// 1 = the destination is our MAC address.
    pub is_ours: Bit,
    /// EtherType.
    pub ethertype: Bits<16>,
    /// IPv4 version and header length.
    pub version_ihl: Bits<8>,
    /// IPv4 total length.
    pub total_len: Bits<16>,
    /// IPv4 flags and fragment offset.
    pub fragment: Bits<16>,
    /// IPv4 protocol.
    pub protocol: Bits<8>,
    /// IPv4 source, first wire byte low.
    pub remote_ip: Bits<32>,
    /// IPv4 destination, first wire byte low.
    pub local_ip: Bits<32>,
    /// TCP source port.
    pub remote_port: Bits<16>,
    /// TCP destination port.
    pub local_port: Bits<16>,
    /// TCP sequence number.
    pub seq: Bits<32>,
    /// TCP acknowledgment number.
    pub ack: Bits<32>,
    /// TCP header length, words.
    pub data_offset: Bits<4>,
    /// TCP flags.
    pub flags: Bits<8>,
    /// TCP window.
    pub wnd: Bits<16>,
    /// Lane sum of the IPv4 header.
    pub ip_sum: Bits<SUM_BITS>,
    /// Lane sum of addresses and TCP segment (to the end of the datagram).
    pub tcp_sum: Bits<SUM_BITS>,
}

/// 1 = an IPv4 header without options and with the right checksum. The datagram need not be whole.
#[kernel]
pub fn ip_ok(h: RxHeader) -> bool {
    h.ethertype == TYPE_IPV4 && h.version_ihl == VERSION_IHL_PLAIN && h.len >= TCP_AT && is_clean(h.ip_sum)
}

/// 1 = additionally a whole, unfragmented TCP segment with the right checksum.
#[kernel]
pub fn l4_ok(h: RxHeader) -> bool {
    let end = bit_cast::<17, 16>(h.total_len) + IP_AT;
    let tcp_len = h.total_len - IP_LEN;
    let lane = bit_cast::<SUM_BITS, 16>(be16(tcp_len)) + TCP_LANE;
    let whole = h.total_len >= IP_LEN + TCP_LEN && end <= bit_cast::<17, 16>(h.len);
    let plain = (h.fragment & FRAGMENT) == 0 && h.protocol == TCP;
    ip_ok(h) && whole && plain && is_clean(h.tcp_sum + lane)
}

/// Takes the fields of one beat.
#[kernel]
fn capture(h: RxHeader, b: RxBeat, mac: Bits<48>) -> RxHeader {
    let mut n = h;
    let d = b.data;
    match b.idx.index() {
        0 => n.is_ours = d.get_bits::<48>(0) == mac,
        1 => {
            n.ethertype = be16(d.get_bits::<16>(32));
            n.version_ihl = d.get_bits::<8>(48);
        }
        2 => {
            n.total_len = be16(d.get_bits::<16>(0));
            n.fragment = be16(d.get_bits::<16>(32));
            n.protocol = d.get_bits::<8>(56);
        }
        3 => {
            n.remote_ip = d.get_bits::<32>(16);
            n.local_ip = cat::<32>((bits::<16>(0), d.get_bits::<16>(48)));
        }
        4 => {
            n.local_ip = cat::<32>((d.get_bits::<16>(0), h.local_ip.get_bits::<16>(0)));
            n.remote_port = be16(d.get_bits::<16>(16));
            n.local_port = be16(d.get_bits::<16>(32));
            n.seq = cat::<32>((be16(d.get_bits::<16>(48)), bits::<16>(0)));
        }
        5 => {
            n.seq = cat::<32>((h.seq.get_bits::<16>(16), be16(d.get_bits::<16>(0))));
            n.ack = be32(d.get_bits::<32>(16));
            n.data_offset = d.get_bits::<4>(52);
            n.flags = d.get_bits::<8>(56);
        }
        6 => n.wnd = be16(d.get_bits::<16>(0)),
        _ => {}
    };
    n.src = b.src;
    n.len = b.len;
    n
}

/// Mask of the bytes of a beat that belong to the IPv4 header.
#[kernel]
fn ip_mask(idx: Bits<13>) -> Bits<64> {
    match idx.index() {
        1 => bits::<64>(MASK_BEAT_1),
        2 | 3 => !bits::<64>(0),
        4 => bits::<64>(MASK_BEAT_4),
        _ => bits::<64>(0),
    }
}

/// Mask of the bytes of a beat that count for TCP; `left` = bytes of the datagram from this beat on.
#[kernel]
fn tcp_mask(idx: Bits<13>, left: Bits<16>) -> Bits<64> {
    let inside = head_mask(left);
    if idx < 3 {
        bits::<64>(0)
    } else if idx == 3 {
        inside & MASK_BEAT_3
    } else {
        inside
    }
}

/// Bytes of the datagram that are left for the beat after this one.
#[kernel]
fn left_after(idx: Bits<13>, left: Bits<16>, data: Bits<64>) -> Bits<16> {
    if idx == 2 {
        // Beat 3 begins at byte 24. A length below 10 wraps: such a frame is refused by `l4_ok`.
        be16(data.get_bits::<16>(0)) + IP_AT - 24
    } else if left >= 8 {
        left - 8
    } else {
        bits::<16>(0)
    }
}

/// The option bytes: 54 and 55 in beat 6, then whole beats.
#[kernel]
fn capture_options(o: Bits<OPTION_BITS>, b: RxBeat) -> Bits<OPTION_BITS> {
    let mut n = o;
    match b.idx.index() {
        6 => {
            n.set_bits::<16>(0, b.data.get_bits::<16>(48));
        }
        7 => {
            n.set_bits::<64>(16, b.data);
        }
        8 => {
            n.set_bits::<64>(80, b.data);
        }
        9 => {
            n.set_bits::<64>(144, b.data);
        }
        10 => {
            n.set_bits::<64>(208, b.data);
        }
        11 => {
            n.set_bits::<48>(272, b.data.get_bits::<48>(0));
        }
        _ => {}
    };
    n
}

/// The parser.
#[derive(LogicBlock, Default)]
pub struct RxParse {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// Interface MAC address, first byte low.
    pub mac: Signal<In, Bits<48>>,
    /// A beat is there; never while a header waits.
    pub beat_valid: Signal<In, Bit>,
    /// The beat.
    pub beat: Signal<In, RxBeat>,
    /// A committed frame's header waits.
    pub header_valid: Signal<Out, Bit>,
    /// The header.
    pub header: Signal<Out, RxHeader>,
    /// Its option bytes (those beyond the data offset are rubbish).
    pub options: Signal<Out, Bits<OPTION_BITS>>,
    /// The next block takes it.
    pub header_ready: Signal<In, Bit>,
    h: Dff<RxHeader>,
    opts: Dff<Bits<OPTION_BITS>>,
    left: Dff<Bits<16>>,
    done: Dff<Bit>,
}

#[kernel]
impl Logic for RxParse {
    fn update(&mut self) {
        dff_setup!(self, clock, h, opts, left, done);
        self.header_valid.next = self.done.q.val();
        self.header.next = self.h.q.val();
        self.options.next = self.opts.q.val();
        let b = self.beat.val();
        let h = self.h.q.val();
        if self.header_ready.val() {
            self.done.d.next = false;
        }
        if self.beat_valid.val() {
            let ip = bit_cast::<SUM_BITS, 18>(lane_sum(b.data & ip_mask(b.idx)));
            let tcp = bit_cast::<SUM_BITS, 18>(lane_sum(b.data & tcp_mask(b.idx, self.left.q.val())));
            let mut n = capture(h, b, self.mac.val());
            n.ip_sum = if b.idx == 0 { bits::<SUM_BITS>(0) } else { h.ip_sum + ip };
            n.tcp_sum = if b.idx == 0 { bits::<SUM_BITS>(0) } else { h.tcp_sum + tcp };
            self.h.d.next = n;
            self.opts.d.next = capture_options(self.opts.q.val(), b);
            self.left.d.next = left_after(b.idx, self.left.q.val(), b.data);
            self.done.d.next = b.commit;
        }
        dff_reset!(self, reset, done);
    }
}
