//! What the placer writes to host memory: one command per state (laws L1 and L2: all on one AXI ID, in order).
use super::order::{Commit, Posts};
use super::step::{Hand, PlaceState};
use crate::mirror::{PageMapEntry, RecvDesc, Shadow};
use crate::prelude::*;
use crate::tcp::pages::CONN_MOST;
use crate::types::{TcpParams, WriteCmd, TAG_BITS, WRITE_FREE, WRITE_INLINE, WRITE_PAYLOAD};
use chimney_abi::desc::{PAGE_MAP_STRIDE, RECV_RETIRED, SHADOW_STRIDE};

const RETIRED: u64 = RECV_RETIRED as u64;
const SHADOW_BYTES: u64 = SHADOW_STRIDE as u64 / 2;
const SHADOW_LOG2: u64 = SHADOW_STRIDE.ilog2() as u64;
/// Bits of the generation in a tag.
const TURN_BITS: usize = TAG_BITS - CONN_MOST;
const MAP_LOG2: u64 = PAGE_MAP_STRIDE.ilog2() as u64;

/// The state offers a command to the write engine.
#[kernel]
pub fn writes(st: PlaceState) -> bool {
    st == PlaceState::Piece
        || st == PlaceState::PageMap
        || st == PlaceState::Retire
        || st == PlaceState::Free
        || st == PlaceState::Shadow
}

/// Address of the receive ring entry in use.
#[kernel]
pub fn post_at(p: Posts) -> Bits<64> {
    let mask = (bits::<16>(1) << p.ring_log2) - 1;
    p.ring + (bit_cast::<64, 16>(p.idx & mask) << bits::<3>(4))
}

/// Write-back of a used post: its second beat. In direct mode every byte placed was in order, and `cur` follows them.
#[kernel]
fn write_back(h: Hand) -> Bits<64> {
    let d = RecvDesc {
        addr: bits::<64>(0),
        len: bit_cast::<24, 32>(h.p.off),
        flags: h.p.flags | bits::<8>(RETIRED),
        seq: h.cur - h.p.off,
    };
    pack::<128, RecvDesc>(d).get_bits::<64>(64)
}

/// The map entry of the page in hand.
#[kernel]
fn map_entry(h: Hand) -> Bits<64> {
    let e = PageMapEntry {
        page: h.page,
        generation: h.o.generation,
        valid: bits::<8>(1),
        seq: cat::<32, _>((h.cur.get_bits::<20>(12), bits::<12>(0))),
    };
    pack::<64, PageMapEntry>(e)
}

/// Index `conn` into a table of `1 << log2` bytes per connection.
#[kernel]
fn row(base: Bits<64>, conn: Bits<16>, log2: u64) -> Bits<64> {
    base + (bit_cast::<64, 16>(conn) << bits::<4>(log2))
}

/// `Shadow.flags` bit by bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
struct ShadowFlags {
    pool_mode: Bit,
    peer_fin: Bit,
    fin_acked: Bit,
    aborted: Bit,
    retrieve: Bit,
    valid: Bit,
    spare: Bits<10>,
}

/// The shadow record.
#[kernel]
fn shadow(h: Hand) -> Shadow {
    let s = h.o.snap;
    let flags = ShadowFlags {
        pool_mode: h.p.pool_mode,
        peer_fin: s.peer_fin,
        fin_acked: s.fin_acked,
        aborted: s.aborted,
        retrieve: s.retrieve,
        valid: true,
        spare: bits::<10>(0),
    };
    Shadow {
        tag: h.p.tag,
        generation: h.o.generation,
        state: s.state,
        rcv_nxt: s.rcv_nxt,
        snd_una: s.snd_una,
        rcv_right: s.rcv_right,
        post_idx: h.p.idx,
        flags: pack::<16, ShadowFlags>(flags),
        post_off: h.p.off,
        snd_max: s.snd_max,
        snd_wnd: s.snd_wnd,
        tag_end: h.p.tag,
    }
}

/// What is durable when the shadow record is.
#[kernel]
pub fn commit(h: Hand) -> Commit {
    Commit {
        conn: h.o.conn,
        nxt: h.o.snap.rcv_nxt,
        right: h.o.snap.rcv_right,
        count: bit_cast::<2, 1>(h.o.publish.into()) + h.p.held.waits,
        data: bit_cast::<2, 1>(h.o.data.into()) + h.p.held.data,
        now: h.o.now || h.p.held.now,
        fault: h.p.fault,
    }
}

/// With the last piece of text its frame goes back, if it is the oldest one.
#[kernel]
pub fn frees(h: Hand, turn: bool) -> bool {
    h.st == PlaceState::Piece && turn && h.len == h.left
}

/// Tag of a connection's commands: what failed of one is not taken for the next one's under the same number.
#[kernel]
fn owner(h: Hand) -> Bits<TAG_BITS> {
    cat::<TAG_BITS, _>((h.o.generation.get_bits::<TURN_BITS>(0), h.o.conn.get_bits::<CONN_MOST>(0)))
}

/// The command of a state that [`writes`].
#[kernel]
fn command(h: Hand, frees: bool, shadow_base: Bits<64>, page_map_base: Bits<64>) -> WriteCmd {
    let slot = cat::<9, _>((h.p.tag.get_bit(0), bits::<8>(0))) >> bits::<2>(3);
    let mut cmd = WriteCmd { tag: owner(h), ..WriteCmd::default() };
    if h.st == PlaceState::Piece {
        cmd.kind = bits::<2>(WRITE_PAYLOAD);
        cmd.iova = h.iova;
        cmd.len = h.len;
        cmd.src = h.src;
        cmd.free = if frees { h.o.free } else { bits::<16>(0) };
    } else if h.st == PlaceState::Free {
        cmd.kind = bits::<2>(WRITE_FREE);
        cmd.len = h.o.free;
    } else if h.st == PlaceState::PageMap {
        cmd.kind = bits::<2>(WRITE_INLINE);
        cmd.iova = row(page_map_base, h.o.conn, MAP_LOG2)
            + (bit_cast::<64, 5>(h.cur.get_bits::<5>(12)) << bits::<2>(3));
        cmd.len = bits::<16>(8);
        cmd.data = bit_cast::<256, 64>(map_entry(h));
    } else if h.st == PlaceState::Retire {
        cmd.kind = bits::<2>(WRITE_INLINE);
        cmd.iova = post_at(h.p) + 8;
        cmd.len = bits::<16>(8);
        cmd.data = bit_cast::<256, 64>(write_back(h));
    } else {
        cmd.kind = bits::<2>(WRITE_INLINE);
        cmd.iova = row(shadow_base, h.o.conn, SHADOW_LOG2) + bit_cast::<64, 9>(slot);
        cmd.len = bits::<16>(SHADOW_BYTES);
        cmd.data = pack::<256, Shadow>(shadow(h));
        cmd.notify = true;
    }
    cmd
}

/// The command that the state offers to the write engine; all zero if none.
#[kernel]
pub fn offered(h: Hand, turn: bool, p: TcpParams) -> WriteCmd {
    if writes(h.st) {
        command(h, frees(h, turn), p.shadow_base, p.page_map_base)
    } else {
        WriteCmd::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chimney_abi::desc;

    #[test]
    fn shadow_flags_stand_where_the_contract_has_them() {
        let f = ShadowFlags::default();
        let table = [
            (ShadowFlags { pool_mode: true, ..f }, desc::SHADOW_POOL_MODE),
            (ShadowFlags { peer_fin: true, ..f }, desc::SHADOW_PEER_FIN),
            (ShadowFlags { fin_acked: true, ..f }, desc::SHADOW_FIN_ACKED),
            (ShadowFlags { aborted: true, ..f }, desc::SHADOW_ABORTED),
            (ShadowFlags { retrieve: true, ..f }, desc::SHADOW_RETRIEVE),
            (ShadowFlags { valid: true, ..f }, desc::SHADOW_VALID),
        ];
        for (x, want) in table {
            assert_eq!(pack::<16, ShadowFlags>(x), bits::<16>(u64::from(want)));
        }
    }
}
