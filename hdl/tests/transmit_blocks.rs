//! The blocks of the transmitter, each alone under random inputs: native against Verilated, and every output moves.

use chimney_hdl::eth::tx::{TxFrame, TxStream, PLACE};
use chimney_hdl::host::ord_tx::{OrdFrame, OrdTx};
use chimney_hdl::mirror::SendDesc;
use chimney_hdl::prelude::*;
use chimney_hdl::tcp::tx::cut::Cut;
use chimney_hdl::tcp::tx::head::Head;
use chimney_hdl::tcp::tx::item::{Item, Piece, WalkJob};
use chimney_hdl::tcp::tx::land::Land;
use chimney_hdl::tcp::tx::lso::Lso;
use chimney_hdl::tcp::tx::retire::Retire;
use chimney_hdl::tcp::tx::tables::Tables;
use chimney_hdl::tcp::tx::walk::Walk;
use chimney_hdl::types::{ReadBeat, TxJob};
use chimney_hdl_kernel::diff::{diff, Rnd};

const STEPS: usize = 6_000;

#[test]
fn tables_agree() {
    let poke = |u: &mut Tables<2>, r: &mut Rnd| {
        u.reset.next = r.chance(1, 500);
        u.mac.next = r.any();
        u.op_valid.next = r.any();
        u.op.next = r.any();
        u.path.next = r.bits_below(4);
        u.busy.next = r.any();
        u.packet_path.next = r.bits_below(4);
        u.count.next = r.any();
    };
    diff("tx_tables", Tables::<2>::default(), STEPS, poke, |u, c| u.clock.next = c.into());
}

#[test]
fn ordinary_ring_agrees() {
    let poke = |u: &mut OrdTx, r: &mut Rnd| {
        u.reset.next = r.chance(1, 200);
        u.enable.next = r.chance(7, 8);
        u.base.next = r.any();
        u.log2.next = r.bits_below(16);
        u.producer.next = r.any();
        u.req_ready.next = r.any();
        u.beat_valid.next = r.chance(1, 4);
        u.beat.next = r.any();
        u.frame_ready.next = r.any();
        u.done.next = r.chance(1, 8);
    };
    diff("tx_ordinary", OrdTx::default(), STEPS, poke, |u, c| u.clock.next = c.into());
}

#[test]
fn lso_agrees() {
    // Header beats that are often those of IPv4 or IPv6, so that the block comes to cutting; requests and frames stay until taken.
    let mut frame = OrdFrame::default();
    let mut reads = 0i32;
    let poke = |u: &mut Lso, r: &mut Rnd| {
        u.reset.next = r.chance(1, 2000);
        if u.s_ready.val() || u.reset.next {
            frame =
                OrdFrame { lso: r.chance(3, 4), good: r.chance(7, 8), len: r.bits_below(4000), ..r.any() };
            frame.mss = 1000u64.into();
            frame.addr = (0x1000 + 6 + 8 * r.below(8)).into();
        }
        u.s_frame.next = frame;
        u.s_valid.next = r.chance(7, 8);
        u.ring_valid.next = (u.ring_valid.next && !u.ring_ready.val()) || r.chance(1, 20);
        u.ring_req.next = r.any();
        u.req_ready.next = u.req_valid.val() && r.any();
        let (asked, beats) = (u.req_valid.val() && u.req_ready.next, u.req.val().beats.to_u64());
        reads += if asked { beats as i32 } else { 0 };
        u.beat_valid.next = reads > 0 && r.any();
        reads -= i32::from(u.beat_valid.next);
        u.beat.next = ReadBeat { last: reads == 0 || r.chance(1, 17), ..r.any() };
        u.frame_ready.next = r.any();
    };
    diff("tx_lso", Lso::default(), 4 * STEPS, poke, |u, c| u.clock.next = c.into());
}

fn job(r: &mut Rnd) -> TxJob {
    let len = [0, 1, 6, 700, 1448, 9000, 40_000][r.below(7) as usize];
    TxJob { len: len.into(), sack_count: r.bits_below(5), ..r.any() }
}

#[test]
fn head_agrees() {
    // Slots and ring words are given back at once, so that most of the time there is room.
    let poke = |u: &mut Head, r: &mut Rnd| {
        u.reset.next = r.chance(1, 300);
        let ready = u.job_ready.val() || u.frame_ready.val() || !u.job_valid.val();
        if ready {
            u.job.next = job(r);
            u.frame.next = r.any();
            u.segment.next = r.any();
            u.segment.next.header.form.snap = false;
        }
        u.large_words.next = r.any();
        u.job_valid.next = r.any();
        u.frame_valid.next = r.any();
        u.route.next = r.any();
        if r.chance(7, 8) {
            u.slots_done.next = r.bits_below(64);
            u.ring_done.next = r.any();
        }
        u.walk_room.next = r.chance(7, 8);
        u.item_room.next = r.chance(7, 8);
        u.number.next = r.any();
    };
    diff("tx_head", Head::default(), STEPS, poke, |u, c| u.clock.next = c.into());
}

#[test]
fn walk_agrees() {
    // Descriptors near the sequence numbers that are looked for.
    let poke = |u: &mut Walk<3>, r: &mut Rnd| {
        u.reset.next = r.chance(1, 500);
        u.req_valid.next = r.chance(3, 4);
        u.req.next = WalkJob {
            walk: r.chance(7, 8),
            conn: r.bits_below(8),
            reset: r.chance(1, 8),
            log2: r.bits_below(3),
            seq: r.bits_below(2000),
            len: r.bits_below(500),
            ..r.any()
        };
        u.piece_ready.next = r.any();
        u.desc_req_ready.next = r.any();
        u.desc_beat_valid.next = r.chance(1, 4);
        let desc = SendDesc { len: r.bits_below(800), seq: r.bits_below(2000), ..r.any() };
        let words: Bits<128> = pack(desc);
        let last = r.any();
        u.beat.next.last = last;
        u.beat.next.data = words.get_bits::<64>(if last { 64 } else { 0 });
        u.beat.next.error = r.chance(1, 20);
    };
    diff("tx_walk", Walk::<3>::default(), STEPS, poke, |u, c| u.clock.next = c.into());
}

#[test]
fn cut_agrees() {
    let poke = |u: &mut Cut, r: &mut Rnd| {
        u.reset.next = r.chance(1, 300);
        u.piece_valid.next = r.any();
        u.piece.next = Piece { len: r.bits_below(1200), ..r.any() };
        u.req_ready.next = r.any();
        u.land_room.next = r.chance(7, 8);
    };
    diff("tx_cut", Cut::default(), STEPS, poke, |u, c| u.clock.next = c.into());
}

#[test]
fn land_agrees() {
    let poke = |u: &mut Land, r: &mut Rnd| {
        u.reset.next = r.chance(1, 300);
        u.burst_valid.next = r.chance(1, 3);
        u.burst.next = r.any();
        u.burst_beats.next = r.bits_below(4);
        u.beat_valid.next = r.any();
        u.beat.next = r.any();
        u.slot.next = r.any();
    };
    diff("tx_land", Land::default(), STEPS, poke, |u, c| u.clock.next = c.into());
}

#[test]
fn retire_agrees() {
    let poke = |u: &mut Retire, r: &mut Rnd| {
        u.reset.next = r.chance(1, 300);
        u.item_valid.next = r.chance(1, 8);
        u.item.next = Item { result: r.bits_below(2), ..r.any() };
        u.taken.next = r.any();
        u.sums_valid.next = r.chance(1, 6);
        u.sums.next = r.any();
        u.fetched_valid.next = r.chance(1, 2);
        u.fetched_slot.next = r.any();
        u.fetched.next = r.any();
        u.fetched.next.lost = r.chance(1, 8);
        u.bursts.next = r.any();
        u.landed.next = r.any();
        u.counter.next = r.any();
        u.frame_ready.next = r.any();
        u.done_ready.next = r.any();
    };
    diff("tx_retire", Retire::default(), STEPS, poke, |u, c| u.clock.next = c.into());
}

#[test]
fn stream_agrees() {
    let poke = |u: &mut TxStream, r: &mut Rnd| {
        u.reset.next = r.chance(1, 300);
        if u.frame_ready.val() || !u.frame_valid.val() {
            let len = if r.chance(1, 8) { r.below(300) } else { r.below(90) };
            let last = if len < 60 { 7 } else { (len - 1) / 8 };
            let start: Bits<PLACE> = r.any();
            u.frame.next = TxFrame {
                sends: r.chance(7, 8),
                len: len.into(),
                last: last.into(),
                head_len: r.bits_below(127),
                start,
                end: start + len / 8,
                csum_at: r.bits_below(100),
                ..r.any()
            };
        }
        u.frame_valid.next = r.any();
        u.late.next = r.any();
        u.head_data.next = r.any();
        u.ring_data.next = r.any();
        u.m_axis_tready.next = r.any();
        u.lb_tready.next = r.any();
    };
    diff("tx_stream", TxStream::default(), STEPS, poke, |u, c| u.clock.next = c.into());
}
