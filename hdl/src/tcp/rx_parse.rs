//! The end of the receive parser: scans the TCP options and makes the dispatcher's [`FrameMeta`].
//!
//! A frame is a *candidate* for the engine when everything in the programmer's guide 3 that can be
//! known without the lookup holds. Of the options only timestamps (RFC 7323) matter to the engine; the
//! others are skipped. Several timestamps: the last one counts. A malformed list ends where it makes no sense, and what
//! was seen before counts, as in `host-stack/core`. (Such a frame must not go up: the host would forward it back, R-239, and a
//! hostile peer could keep both busy with one segment for ever.)
//!
//! Latency: 1 cycle without options, 7 with NOP NOP TS, at most 43. Throughput: one frame per latency
//! plus 1; a frame of 60 bytes takes 8 beats. Back-pressure: `header_ready` is low while scanning.
//! Reset: idle.
use crate::ip::checksum::be32;
use crate::ip::rx_parse::{ip_ok, l4_ok, RxHeader, OPTION_BITS, TCP_AT};
use crate::prelude::*;
use crate::types::{FrameMeta, RxSeg};
use chimney_abi::desc::{RX_IP_CSUM_OK, RX_L4_CSUM_OK};
use chimney_abi::wire::tcp;

const OPT_END: u64 = tcp::OPT_END as u64;
const OPT_NOP: u64 = tcp::OPT_NOP as u64;
const OPT_TIMESTAMPS: u64 = tcp::OPT_TIMESTAMPS as u64;
const TIMESTAMPS_LEN: u64 = tcp::OPT_TIMESTAMPS_LEN as u64;
const HEADER_WORDS: u64 = tcp::HEADER_LEN as u64 / 4;
const IP_OK: u64 = RX_IP_CSUM_OK as u64;
const L4_OK: u64 = RX_L4_CSUM_OK as u64;
/// IPv4 and TCP header without options.
const IP_TCP_LEN: u64 = (chimney_abi::wire::ipv4::HEADER_LEN + tcp::HEADER_LEN) as u64;

/// What the scan knows so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct OptionScan {
    /// Option bytes not yet looked at.
    pub left: Bits<6>,
    /// Of these, bytes that belong to an option already seen.
    pub skip: Bits<6>,
    /// Bytes to drop from the front now, 0 to 4.
    pub shift: Bits<3>,
    /// 1 = timestamps were seen.
    pub has_ts: Bit,
    /// TSval.
    pub ts_val: Bits<32>,
    /// TSecr.
    pub ts_ecr: Bits<32>,
}

#[kernel]
fn at_most_4(n: Bits<6>) -> Bits<3> {
    if n >= 4 {
        bits::<3>(4)
    } else {
        n.get_bits::<3>(0)
    }
}

/// One step of the scan; `opts` begins at the first byte not yet looked at.
#[kernel]
pub fn option_step(s: OptionScan, opts: Bits<OPTION_BITS>) -> OptionScan {
    let mut n = s;
    let kind = opts.get_bits::<8>(0);
    let len = opts.get_bits::<8>(8);
    let len6 = len.get_bits::<6>(0);
    n.shift = bits::<3>(0);
    if s.skip != 0 {
        n.shift = at_most_4(s.skip);
        n.skip = s.skip - bit_cast::<6, 3>(at_most_4(s.skip));
        n.left = s.left - bit_cast::<6, 3>(at_most_4(s.skip));
    } else if kind == OPT_END {
        n.left = bits::<6>(0);
    } else if kind == OPT_NOP {
        let pair = s.left >= 2 && len == OPT_NOP;
        n.shift = if pair { bits::<3>(2) } else { bits::<3>(1) };
        n.left = if pair { s.left - 2 } else { s.left - 1 };
    } else if s.left < 2 || len < 2 || len > bit_cast::<8, 6>(s.left) {
        n.left = bits::<6>(0);
    } else {
        if kind == OPT_TIMESTAMPS && len == TIMESTAMPS_LEN {
            n.has_ts = true;
            n.ts_val = be32(opts.get_bits::<32>(16));
            n.ts_ecr = be32(opts.get_bits::<32>(48));
        }
        n.shift = at_most_4(len6);
        n.skip = len6 - bit_cast::<6, 3>(at_most_4(len6));
        n.left = s.left - bit_cast::<6, 3>(at_most_4(len6));
    };
    n
}

/// Drops up to four bytes from the front.
#[kernel]
fn shifted(opts: Bits<OPTION_BITS>, by: Bits<3>) -> Bits<OPTION_BITS> {
    match by.index() {
        1 => opts >> 8,
        2 => opts >> 16,
        3 => opts >> 24,
        4 => opts >> 32,
        _ => opts,
    }
}

/// The scan's start: how many option bytes the header claims.
#[kernel]
fn start(h: RxHeader) -> OptionScan {
    let words = h.data_offset - HEADER_WORDS;
    let bytes = cat::<6>((words, bits::<2>(0)));
    OptionScan {
        left: if h.data_offset > HEADER_WORDS { bytes } else { bits::<6>(0) },
        skip: bits::<6>(0),
        shift: bits::<3>(0),
        has_ts: false,
        ts_val: bits::<32>(0),
        ts_ecr: bits::<32>(0),
    }
}

/// Everything about the frame, for the dispatcher.
#[kernel]
fn frame_meta(h: RxHeader, s: OptionScan) -> FrameMeta {
    let header = cat::<16>((bits::<10>(0), h.data_offset, bits::<2>(0)));
    let option_len = header - (HEADER_WORDS * 4);
    let body = h.total_len - IP_TCP_LEN;
    let good = l4_ok(h);
    let ip = if ip_ok(h) { bits::<16>(IP_OK) } else { bits::<16>(0) };
    let l4 = if good { bits::<16>(L4_OK) } else { bits::<16>(0) };
    let fits = h.data_offset >= HEADER_WORDS && option_len <= body;
    FrameMeta {
        src: h.src,
        len: h.len,
        verdict: ip | l4,
        candidate: good && h.is_ours && fits,
        remote_ip: h.remote_ip,
        local_ip: h.local_ip,
        remote_port: h.remote_port,
        local_port: h.local_port,
        seg: RxSeg {
            conn: bits::<16>(0),
            seq: h.seq,
            ack: h.ack,
            wnd: h.wnd,
            flags: h.flags,
            has_ts: s.has_ts,
            ts_val: s.ts_val,
            ts_ecr: s.ts_ecr,
            payload_src: h.src + header + TCP_AT,
            payload_len: body - option_len,
            frame_len: h.len,
        },
    }
}

/// The option scanner.
#[derive(LogicBlock, Default)]
pub struct RxFinish {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// A header waits.
    pub header_valid: Signal<In, Bit>,
    /// The header.
    pub header: Signal<In, RxHeader>,
    /// Its option bytes.
    pub options: Signal<In, Bits<OPTION_BITS>>,
    /// It is taken in this cycle.
    pub header_ready: Signal<Out, Bit>,
    /// A frame is described.
    pub meta_valid: Signal<Out, Bit>,
    /// The description.
    pub meta: Signal<Out, FrameMeta>,
    /// The description is taken.
    pub meta_ready: Signal<In, Bit>,
    h: Dff<RxHeader>,
    opts: Dff<Bits<OPTION_BITS>>,
    scan: Dff<OptionScan>,
    busy: Dff<Bit>,
}

#[kernel]
impl Logic for RxFinish {
    fn update(&mut self) {
        dff_setup!(self, clock, h, opts, scan, busy);
        let s = self.scan.q.val();
        let finished = s.left == 0;
        self.header_ready.next = !self.busy.q.val();
        self.meta_valid.next = self.busy.q.val() && finished;
        self.meta.next = frame_meta(self.h.q.val(), s);
        if self.busy.q.val() {
            let n = option_step(s, self.opts.q.val());
            if finished {
                self.busy.d.next = !self.meta_ready.val();
            } else {
                self.scan.d.next = n;
                self.opts.d.next = shifted(self.opts.q.val(), n.shift);
            }
        } else if self.header_valid.val() {
            self.busy.d.next = true;
            self.h.d.next = self.header.val();
            self.opts.d.next = self.options.val();
            self.scan.d.next = start(self.header.val());
        }
        dff_reset!(self, reset, busy);
    }
}
