//! Header capture: picks the fields of an IPv4 or IPv6 datagram with TCP or UDP out of the beats of a frame, in any of the
//! four framings of [`crate::eth::framing`].
//!
//! ```text
//!   beat --> framing --Place--> [words lo, hi] --> fields of word n, n + 1 (IP) and t, t + 1 (TCP, UDP)
//!                         |          `--------> options (RxOptions)
//!                         `--> sums (RxSums)
//!   clock 0: the last beat is here    1: lengths and addresses    2: verdict    3: `meta_valid`
//! ```
//! Fields are taken whatever the datagram is; [`checks`] says afterwards what they are worth. IPv4 with options, IPv6 with
//! extension headers, fragments and two tags are not looked into (they go up, law L4; R-233, R-235).
//!
//! Latency: `meta_valid` 3 clocks after the last beat, always. Throughput: one beat per clock. Back-pressure: none; the
//! last beats of two kept frames must be 4 clocks apart (`RxStream`), so that no field is overwritten before it was used:
//! word 0 of a frame cannot come before its third beat. Reset: nothing waits.
use crate::eth::framing::{framing_step, ip_at, Framing, Place, RxClass};
use crate::ip::checksum::{be16, be32};
use crate::ip::rx_sums::RxSums;
use crate::ip::tx_build::VLAN;
use crate::prelude::*;
use crate::tcp::lookup::{Address, Flow, FlowKey};
use crate::tcp::rx_options::TcpOptions;
use crate::tcp::rx_parse::{checks, frame_meta, verdict, RxChecks, RxVerdict};
use crate::types::FrameMeta;
use chimney_abi::wire::{ip_protocol, ipv4, ipv6, tcp, udp};

const VERSION_IHL_PLAIN: u64 = ipv4::VERSION_IHL_PLAIN as u64;
const VERSION_6: u64 = 6;
const V4_LEN: u64 = ipv4::HEADER_LEN as u64;
const V6_LEN: u64 = ipv6::HEADER_LEN as u64;
const TCP: u64 = ip_protocol::TCP as u64;
const UDP: u64 = ip_protocol::UDP as u64;
/// MF and the fragment offset: anything set means a fragment.
const FRAGMENT: u64 = (ipv4::FLAG_MF | ipv4::FRAGMENT_MASK) as u64;
/// Word in which an address begins.
const V4_SRC: u64 = ipv4::SRC as u64 / 4;
const V4_DST: u64 = ipv4::DST as u64 / 4;
const V6_SRC: u64 = ipv6::SRC as u64 / 4;
const V6_DST: u64 = ipv6::DST as u64 / 4;

// The positions that the capture knows by heart.
const _: () =
    assert!(ipv4::TOTAL_LEN == 2 && ipv4::FLAGS_FRAGMENT == 6 && ipv4::PROTOCOL == 9 && ipv4::TOS == 1);
const _: () = assert!(ipv6::PAYLOAD_LEN == 4 && ipv6::NEXT_HEADER == 6);
const _: () = assert!(tcp::SEQ == 4 && tcp::ACK == 8 && tcp::DATA_OFFSET == 12 && tcp::WINDOW == 14);
const _: () = assert!(udp::LEN == 4 && udp::CHECKSUM == 6);

/// One beat of a frame (stream block -> parser).
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct RxBeat {
    /// Eight bytes, first one low.
    pub data: Bits<64>,
    /// What they could mean.
    pub class: RxClass,
    /// Number of the beat in its frame.
    pub idx: Bits<13>,
    /// 1 = the frame is kept and complete with this beat.
    pub commit: Bit,
    /// With `commit`: where the frame lies in packet memory, byte address.
    pub src: Bits<16>,
    /// With `commit`: frame length, bytes.
    pub len: Bits<16>,
    /// 1 = the host forwarded the frame: it came from the loopback.
    pub forwarded: Bit,
}

/// The two words of a beat, and what they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Words {
    /// The last two bytes of the beat before, and the first two of this one.
    pub lo: Bits<32>,
    /// The next four bytes.
    pub hi: Bits<32>,
    /// Where they stand.
    pub place: Place,
}

/// A word that may be in this beat.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Got {
    /// It is.
    pub is: Bit,
    /// The word, first wire byte low.
    pub word: Bits<32>,
}

/// Word `k` of the IP header.
#[kernel]
fn ip_word(w: Words, k: u64) -> Got {
    let in_lo = w.place.on && w.place.n == k;
    let in_hi = if k == 0 { w.place.first_hi } else { w.place.on && w.place.n == (k + 63) % 64 };
    Got { is: in_lo || in_hi, word: if in_lo { w.lo } else { w.hi } }
}

/// Word `k` of the TCP or UDP header.
#[kernel]
fn l4_word(w: Words, k: u64) -> Got {
    let in_lo = w.place.on && w.place.t == k;
    let in_hi = w.place.on && w.place.t == (k + 63) % 64;
    Got { is: in_lo || in_hi, word: if in_lo { w.lo } else { w.hi } }
}

/// The fields of a frame, as captured.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct RxHeader {
    /// Version (IPv4: and header length) as it must be.
    pub version_ok: Bit,
    /// No fragment.
    pub is_whole: Bit,
    /// ECN field.
    pub ecn: Bits<2>,
    /// Bytes of the datagram.
    pub dgram_len: Bits<17>,
    /// Bytes of it after the IP header (IPv4: modulo 65536).
    pub l4_len: Bits<16>,
    /// The protocol is TCP.
    pub is_tcp: Bit,
    /// The protocol is UDP.
    pub is_udp: Bit,
    /// Source, first wire byte low.
    pub remote_ip: Bits<128>,
    /// Destination.
    pub local_ip: Bits<128>,
    /// Source port.
    pub remote_port: Bits<16>,
    /// Destination port.
    pub local_port: Bits<16>,
    /// TCP sequence number.
    pub seq: Bits<32>,
    /// UDP length.
    pub udp_len: Bits<16>,
    /// There is a UDP checksum.
    pub has_udp_sum: Bit,
    /// TCP acknowledgment number.
    pub ack: Bits<32>,
    /// TCP header length, words.
    pub data_offset: Bits<4>,
    /// The bit below it that was once NS.
    pub ns: Bit,
    /// TCP flags.
    pub flags: Bits<8>,
    /// TCP window.
    pub wnd: Bits<16>,
}

/// The frame that a header belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct RxEnd {
    /// Byte address in packet memory.
    pub src: Bits<16>,
    /// Frame length, bytes.
    pub len: Bits<16>,
    /// 1 = the destination is our MAC address.
    pub is_ours: Bit,
    /// How the frame begins.
    pub framing: Framing,
    /// Byte at which the IP header begins.
    pub ip_at: Bits<5>,
    /// See [`RxBeat`].
    pub forwarded: Bit,
}

/// What names the connection.
#[kernel]
fn flow_of(h: RxHeader, f: Framing) -> Flow {
    let key = FlowKey {
        is_v6: f.is_v6,
        remote_ip: unpack::<Address, 128>(h.remote_ip),
        local_ip: unpack::<Address, 128>(h.local_ip),
        remote_port: h.remote_port,
        local_port: h.local_port,
    };
    Flow { key, tagged: f.tagged, vid: f.tci.get_bits::<VLAN>(0) }
}

/// One word of an address: `v6` or `v4` are its numbers; a word that IPv4 does not have is 0.
#[kernel]
fn address(old: Bits<128>, w: Words, v4: u64, v6: u64) -> Bits<128> {
    let starts = ip_word(w, 0).is;
    let words = array::<4, _>(|i| {
        let at_6 = ip_word(w, v6 + i as u64);
        let at_4 = ip_word(w, v4);
        let at = if w.place.is_v6 { at_6 } else { at_4 };
        let mine = if i == 0 { at.is } else { at.is && w.place.is_v6 };
        if mine {
            at.word
        } else if starts {
            bits::<32>(0)
        } else {
            old.get_bits::<32>(32 * i)
        }
    });
    cat::<128, _>((words[3], words[2], words[1], words[0]))
}

/// The fields of the IP header.
#[kernel]
fn capture_ip(h: RxHeader, w: Words) -> RxHeader {
    let mut n = h;
    let (w0, w1, w2) = (ip_word(w, 0), ip_word(w, 1), ip_word(w, 2));
    let (first, second) = (w0.word.get_bits::<8>(0), w0.word.get_bits::<8>(8));
    let high = be16(w0.word.get_bits::<16>(16));
    let low_1 = be16(w1.word.get_bits::<16>(0));
    if w.place.is_v6 {
        if w0.is {
            n.version_ok = first.get_bits::<4>(4) == VERSION_6;
            n.ecn = second.get_bits::<2>(4);
            n.is_whole = true;
        }
        if w1.is {
            n.dgram_len = bit_cast::<17, 16>(low_1) + V6_LEN;
            n.l4_len = low_1;
            n.is_tcp = w1.word.get_bits::<8>(16) == TCP;
            n.is_udp = w1.word.get_bits::<8>(16) == UDP;
        }
    } else {
        if w0.is {
            n.version_ok = first == VERSION_IHL_PLAIN;
            n.ecn = second.get_bits::<2>(0);
            n.dgram_len = bit_cast::<17, 16>(high);
            n.l4_len = high - V4_LEN;
        }
        if w1.is {
            n.is_whole = (be16(w1.word.get_bits::<16>(16)) & FRAGMENT) == 0;
        }
        if w2.is {
            n.is_tcp = w2.word.get_bits::<8>(8) == TCP;
            n.is_udp = w2.word.get_bits::<8>(8) == UDP;
        }
    }
    n.remote_ip = address(h.remote_ip, w, V4_SRC, V6_SRC);
    n.local_ip = address(h.local_ip, w, V4_DST, V6_DST);
    n
}

/// The fields of the TCP or UDP header.
#[kernel]
fn capture_l4(h: RxHeader, w: Words) -> RxHeader {
    let mut n = h;
    let (ports, seq, ack, flags) = (l4_word(w, 0), l4_word(w, 1), l4_word(w, 2), l4_word(w, 3));
    if ports.is {
        n.remote_port = be16(ports.word.get_bits::<16>(0));
        n.local_port = be16(ports.word.get_bits::<16>(16));
    }
    if seq.is {
        n.seq = be32(seq.word);
        n.udp_len = be16(seq.word.get_bits::<16>(0));
        n.has_udp_sum = seq.word.get_bits::<16>(16) != 0;
    }
    if ack.is {
        n.ack = be32(ack.word);
    }
    if flags.is {
        n.data_offset = flags.word.get_bits::<4>(4);
        n.ns = flags.word.get_bit(0);
        n.flags = flags.word.get_bits::<8>(8);
        n.wnd = be16(flags.word.get_bits::<16>(16));
    }
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
    /// A beat is there.
    pub beat_valid: Signal<In, Bit>,
    /// The beat.
    pub beat: Signal<In, RxBeat>,
    /// To the options: its words.
    pub words: Signal<Out, Words>,
    /// It is the first of its frame.
    pub first: Signal<Out, Bit>,
    /// TCP header length, words, as soon as it is known.
    pub data_offset: Signal<Out, Bits<4>>,
    /// What the options are, with `meta_valid`.
    pub options: Signal<In, TcpOptions>,
    /// What names its connection, from the clock after its ports came in until the frame is described.
    pub flow: Signal<Out, Flow>,
    /// Pulse: a kept frame is described.
    pub meta_valid: Signal<Out, Bit>,
    /// The description.
    pub meta: Signal<Out, FrameMeta>,
    sums: RxSums,
    prev: Dff<Bits<16>>,
    framing: Dff<Framing>,
    ours: Dff<Bit>,
    h: Dff<RxHeader>,
    frame: Dff<RxEnd>,
    checks: Dff<RxChecks>,
    verdict: Dff<RxVerdict>,
    ended: Dff<Bit>,
    checked: Dff<Bit>,
    valid: Dff<Bit>,
}

#[kernel]
impl Logic for RxParse {
    fn update(&mut self) {
        dff_setup!(self, clock, prev, framing, ours, h, frame, checks, verdict, ended, checked, valid);
        clock!(self, clock, sums);
        let b = self.beat.val();
        let f = self.framing.q.val();
        let h = self.h.q.val();
        let (next, place) = framing_step(f, b.idx, b.data, b.class);
        let lo = cat::<32, _>((b.data.get_bits::<16>(0), self.prev.q.val()));
        let w = Words { lo, hi: b.data.get_bits::<32>(16), place };
        let first = b.idx == 0;
        self.words.next = w;
        self.first.next = first;
        self.data_offset.next = h.data_offset;
        self.sums.beat_valid.next = self.beat_valid.val();
        self.sums.first.next = first;
        self.sums.data.next = b.data;
        self.sums.place.next = place;
        if self.beat_valid.val() {
            self.prev.d.next = b.data.get_bits::<16>(48);
            self.framing.d.next = next;
            self.h.d.next = capture_l4(capture_ip(h, w), w);
            if first {
                self.ours.d.next = b.data.get_bits::<48>(0) == self.mac.val();
            }
            if b.commit {
                let framing = if first { Framing::default() } else { f };
                self.frame.d.next = RxEnd {
                    src: b.src,
                    len: b.len,
                    is_ours: self.ours.q.val(),
                    framing,
                    ip_at: ip_at(f),
                    forwarded: b.forwarded,
                };
            }
        }
        self.ended.d.next = self.beat_valid.val() && b.commit;
        self.checked.d.next = self.ended.q.val();
        self.valid.d.next = self.checked.q.val();
        if self.ended.q.val() {
            self.checks.d.next = checks(h, self.frame.q.val());
        }
        if self.checked.q.val() {
            let clean = (self.sums.ip_clean.val(), self.sums.tcp_clean.val(), self.sums.udp_clean.val());
            self.verdict.d.next = verdict(self.checks.q.val(), clean);
        }
        // The next frame may have begun, but its words have not come.
        let past = self.ended.q.val() || self.checked.q.val() || self.valid.q.val();
        self.flow.next = flow_of(h, if past { self.frame.q.val().framing } else { f });
        self.meta_valid.next = self.valid.q.val();
        self.meta.next =
            frame_meta(h, self.frame.q.val(), self.checks.q.val(), self.verdict.q.val(), self.options.val());
        dff_reset!(self, reset, ended, checked, valid);
    }
}
