//! What PROTO writes to host memory: one command per state (laws L1 and L2: all on one AXI ID, in order).
use super::news::shadow;
use super::record::Work;
use super::step::{Ctx, St, Step};
use crate::mirror::{PageMapEntry, RecvDesc, Shadow};
use crate::prelude::*;
use crate::types::{ReadReq, RxSeg, WriteCmd, WRITE_FREE, WRITE_INLINE, WRITE_PAYLOAD};
use chimney_abi::desc::{PAGE_MAP_STRIDE, RECV_RETIRED, SHADOW_STRIDE};

const RETIRED: u64 = RECV_RETIRED as u64;
const SHADOW_BYTES: u64 = SHADOW_STRIDE as u64 / 2;

/// Address of the receive ring entry in use.
#[kernel]
fn post_at(w: Work) -> Bits<64> {
    let mask = (bits::<16>(1) << w.fixed.recv_ring_log2) - 1;
    w.fixed.recv_ring + (bit_cast::<64, 16>(w.post.idx & mask) << bits::<3>(4))
}

/// The read of the receive descriptor in use.
#[kernel]
pub fn post_req(w: Work) -> ReadReq {
    ReadReq { iova: post_at(w), beats: bits::<6>(2) }
}

/// Write-back of a used post: its second beat.
#[kernel]
fn write_back(w: Work) -> Bits<64> {
    let d = RecvDesc {
        addr: bits::<64>(0),
        len: bit_cast::<24, 32>(w.post.off),
        flags: w.post.flags | bits::<8>(RETIRED),
        // In direct mode every byte placed since was in order.
        seq: w.rcv.nxt - w.post.off,
    };
    pack::<128, RecvDesc>(d).get_bits::<64>(64)
}

/// The map entry of the page in hand.
#[kernel]
fn map_entry(w: Work, c: Ctx) -> Bits<64> {
    let e = PageMapEntry {
        page: c.page,
        generation: w.fixed.generation,
        valid: bits::<8>(1),
        seq: cat::<32, _>((c.cur.get_bits::<20>(12), bits::<12>(0))),
    };
    pack::<64, PageMapEntry>(e)
}

/// Index `conn` into a table of `1 << log2` bytes per connection.
#[kernel]
fn row(base: Bits<64>, conn: Bits<16>, log2: u64) -> Bits<64> {
    base + (bit_cast::<64, 16>(conn) << bits::<4>(log2))
}

const SHADOW_LOG2: u64 = SHADOW_STRIDE.ilog2() as u64;
const MAP_LOG2: u64 = PAGE_MAP_STRIDE.ilog2() as u64;

/// The command that the state offers to the write engine.
#[kernel]
pub fn command(s: Step, seg: RxSeg, shadow_base: Bits<64>, page_map_base: Bits<64>) -> WriteCmd {
    let (w, c) = (s.w, s.c);
    let frame = (seg.frame_len + 7) & bits::<16>(0xFFF8);
    let slot = cat::<9, _>((w.shadow_tag.get_bit(0), bits::<8>(0))) >> bits::<2>(3);
    let mut cmd = WriteCmd { tag: bit_cast::<48, 16>(c.conn), ..WriteCmd::default() };
    if s.st == St::Piece {
        cmd.kind = bits::<2>(WRITE_PAYLOAD);
        cmd.iova = c.iova;
        cmd.len = c.len;
        cmd.src = c.src;
    } else if s.st == St::RxFree {
        cmd.kind = bits::<2>(WRITE_FREE);
        cmd.len = frame;
    } else if s.st == St::PageMap {
        cmd.kind = bits::<2>(WRITE_INLINE);
        cmd.iova = row(page_map_base, c.conn, MAP_LOG2)
            + (bit_cast::<64, 5>(c.cur.get_bits::<5>(12)) << bits::<2>(3));
        cmd.len = bits::<16>(8);
        cmd.data = bit_cast::<256, 64>(map_entry(w, c));
    } else if s.st == St::Retire {
        cmd.kind = bits::<2>(WRITE_INLINE);
        cmd.iova = post_at(w) + 8;
        cmd.len = bits::<16>(8);
        cmd.data = bit_cast::<256, 64>(write_back(w));
    } else {
        cmd.kind = bits::<2>(WRITE_INLINE);
        cmd.iova = row(shadow_base, c.conn, SHADOW_LOG2) + bit_cast::<64, 9>(slot);
        cmd.len = bits::<16>(SHADOW_BYTES);
        cmd.data = pack::<256, Shadow>(shadow(w));
        cmd.notify = true;
    }
    cmd
}
