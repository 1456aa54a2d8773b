//! FIFO, skid buffer, bundles and byte lanes agree with their Verilog, and do what they say.
#![allow(missing_docs)]

use chimney_hdl::prelude::*;
use chimney_hdl::stream::axis::Beat;
use chimney_hdl::stream::lanes::*;
use chimney_hdl::stream::{
    AxiReadMaster, AxiReadSlave, AxiWriteMaster, AxiWriteSlave, AxilMaster, AxilSlave, AxisMaster, AxisSlave,
    Fifo, RamFifo, Skid, Spill,
};
use chimney_hdl_kernel::diff::{diff, Bench, Rnd};
use std::collections::VecDeque;

#[test]
fn fifo_agrees_with_its_verilog() {
    diff(
        "fifo",
        Fifo::<Bits<20>, 3, 4>::default(),
        5000,
        |u, r| {
            u.reset.next = r.chance(1, 200);
            u.s_valid.next = r.any();
            u.m_ready.next = r.any();
            u.s_data.next = r.any();
        },
        |u, c| u.clock.next = c.into(),
    );
}

#[test]
fn block_ram_fifo_agrees_with_its_verilog() {
    diff(
        "ram_fifo",
        RamFifo::<Bits<20>, 3, 4>::default(),
        5000,
        |u, r| {
            u.reset.next = r.chance(1, 200);
            u.s_valid.next = r.any();
            u.m_ready.next = r.any();
            u.s_data.next = r.any();
        },
        |u, c| u.clock.next = c.into(),
    );
}

#[test]
fn skid_buffer_agrees_with_its_verilog() {
    diff(
        "skid",
        Skid::<Beat>::default(),
        5000,
        |u, r| {
            u.reset.next = r.chance(1, 200);
            u.s_valid.next = r.any();
            u.m_ready.next = r.any();
            u.s_data.next = r.any();
        },
        |u, c| u.clock.next = c.into(),
    );
}

#[test]
fn spill_register_agrees_with_its_verilog() {
    diff(
        "spill",
        Spill::<Beat>::default(),
        5000,
        |u, r| {
            u.reset.next = r.chance(1, 200);
            u.s_valid.next = r.any();
            u.m_ready.next = r.any();
            u.s_data.next = r.any();
        },
        |u, c| u.clock.next = c.into(),
    );
}

/// Pushes and pops at random; what comes out is what went in. `step` is (offer, take) -> (taken in, came out).
fn keeps_order(name: &str, mut step: impl FnMut(Option<u64>, bool) -> (bool, Option<u64>)) {
    let mut r = Rnd::new(Rnd::seed_for(name));
    let (mut queue, mut next, mut popped) = (VecDeque::new(), 0u64, 0);
    for phase in 0..4 {
        for _ in 0..500 {
            // Phases: balanced, filling, draining, full rate.
            let (push, pop) = [(1, 1), (3, 1), (1, 3), (4, 4)][phase];
            let offer = r.chance(push, 4).then_some(next);
            let (taken, out) = step(offer, r.chance(pop, 4));
            if taken {
                queue.push_back(next);
                next = (next + 1) & 0xffff;
            }
            if let Some(o) = out {
                assert_eq!(queue.pop_front(), Some(o));
                popped += 1;
            }
        }
    }
    assert!(popped > 500);
}

/// Pushes and pops of a block with the ports of a stream.
macro_rules! keeps_order_of {
    ($name:literal, $block:ty) => {{
        let mut b = Bench::new(<$block>::default(), |u, c| u.clock.next = c.into());
        keeps_order($name, |offer, take| {
            b.settle(|u| {
                u.s_valid.next = offer.is_some();
                u.s_data.next = offer.unwrap_or(0).into();
                u.m_ready.next = take;
            });
            let taken = offer.is_some() && b.u.s_ready.val();
            let out = (take && b.u.m_valid.val()).then(|| b.u.m_data.val().to_u64());
            b.edge();
            (taken, out)
        });
    }};
}

#[test]
fn fifo_keeps_order_and_loses_nothing() {
    keeps_order_of!("fifo_order", Fifo<Bits<16>, 2, 3>);
}

#[test]
fn block_ram_fifo_keeps_order_and_loses_nothing() {
    keeps_order_of!("ram_fifo_order", RamFifo<Bits<16>, 2, 3>);
}

#[test]
fn skid_buffer_keeps_order_and_loses_nothing() {
    keeps_order_of!("skid_order", Skid<Bits<16>>);
}

#[test]
fn spill_register_keeps_order_and_loses_nothing() {
    keeps_order_of!("spill_order", Spill<Bits<16>>);
}

/// All pure functions of `lanes`.
#[derive(LogicBlock, Default)]
struct Lanes {
    a: Signal<In, Bits<64>>,
    b: Signal<In, Bits<64>>,
    n: Signal<In, Bits<4>>,
    keep: Signal<In, Bits<8>>,
    sum: Signal<Out, Bits<16>>,
    sum64: Signal<Out, Bits<16>>,
    s16: Signal<Out, Bits<16>>,
    s32: Signal<Out, Bits<32>>,
    s64: Signal<Out, Bits<64>>,
    rot: Signal<Out, Bits<64>>,
    at: Signal<Out, Bits<64>>,
    kept: Signal<Out, Bits<8>>,
    count: Signal<Out, Bits<4>>,
    masked: Signal<Out, Bits<64>>,
}

#[kernel]
impl Logic for Lanes {
    fn update(&mut self) {
        let (a, b) = (self.a.val(), self.b.val());
        let n = self.n.val();
        self.sum.next = oc_add(a.get_bits::<16>(0), b.get_bits::<16>(0));
        self.sum64.next = oc_add64(b.get_bits::<16>(0), a);
        self.s16.next = swap16(a.get_bits::<16>(0));
        self.s32.next = swap32(a.get_bits::<32>(0));
        self.s64.next = swap64(a);
        self.rot.next = rotate_bytes(a, n.get_bits::<3>(0));
        self.at.next = bytes_at(b, a, n.get_bits::<3>(0));
        self.kept.next = keep_of(n);
        self.count.next = count_keep(self.keep.val());
        self.masked.next = mask_bytes(a, self.keep.val());
    }
}

#[test]
fn byte_lanes_agree_with_their_verilog() {
    diff(
        "lanes",
        Lanes::default(),
        4000,
        |u, r| {
            u.a.next = r.any();
            u.b.next = r.any();
            u.n.next = r.any();
            u.keep.next = r.any();
        },
        |_, _| {},
    );
}

#[test]
fn byte_lanes_do_what_their_names_say() {
    let mut r = Rnd::new(Rnd::seed_for("lanes_native"));
    for _ in 0..2000 {
        let (a, b, n) = (r.next_u64(), r.next_u64(), r.below(16));
        let (x, y): (Bits<64>, Bits<64>) = (a.into(), b.into());
        let k = (n % 8) as u32;
        assert_eq!(swap64(x).to_u64(), a.swap_bytes());
        assert_eq!(swap32(x.get_bits(0)).to_u64(), u64::from((a as u32).swap_bytes()));
        assert_eq!(swap16(x.get_bits(0)).to_u64(), u64::from((a as u16).swap_bytes()));
        assert_eq!(rotate_bytes(x, (u64::from(k)).into()).to_u64(), a.rotate_left(8 * k));
        let both = (u128::from(b) << 64 | u128::from(a)) >> (8 * k);
        assert_eq!(bytes_at(y, x, u64::from(k).into()).to_u64(), both as u64);
        let keep = if n >= 8 { 0xff } else { (1u64 << n) - 1 };
        assert_eq!(keep_of(n.into()).to_u64(), keep);
        assert_eq!(count_keep(keep.into()).to_u64(), n.min(8));
        let fold = |mut s: u64| {
            while s > 0xffff {
                s = (s & 0xffff) + (s >> 16);
            }
            s
        };
        let words = (0..4).map(|i| a >> (16 * i) & 0xffff).sum::<u64>() + (b & 0xffff);
        assert_eq!(oc_add64(y.get_bits(0), x).to_u64(), fold(words));
        let mask = (0..8).filter(|i| keep >> i & 1 == 1).map(|i| 0xffu64 << (8 * i)).sum::<u64>();
        assert_eq!(mask_bytes(x, keep.into()).to_u64(), a & mask);
    }
}

/// A stage that passes every bundle through registers or wires, so that `link` and `join` carry all of them.
#[derive(LogicBlock, Default)]
struct Stage {
    clock: Signal<In, Clock>,
    s_axis: AxisSlave,
    m_axis: AxisMaster,
    s_rd: AxiReadSlave<4>,
    m_rd: AxiReadMaster<4>,
    s_wr: AxiWriteSlave<3>,
    m_wr: AxiWriteMaster<3>,
    s_axil: AxilSlave<12>,
    m_axil: AxilMaster<12>,
    beat: Dff<Bits<64>>,
}

#[kernel]
impl Logic for Stage {
    fn update(&mut self) {
        dff_setup!(self, clock, beat);
        if self.s_axis.tvalid.val() {
            self.beat.d.next = self.s_axis.tdata.val();
        }
        self.m_axis.tdata.next = self.beat.q.val() ^ self.s_axis.tdata.val();
        self.m_axis.tkeep.next = self.s_axis.tkeep.val();
        self.m_axis.tlast.next = self.s_axis.tlast.val();
        self.m_axis.tuser.next = self.s_axis.tuser.val();
        self.m_axis.tvalid.next = self.s_axis.tvalid.val();
        self.s_axis.tready.next = self.m_axis.tready.val();
        AxiReadSlave::<4>::pass(&mut self.s_rd, &mut self.m_rd);
        AxiWriteSlave::<3>::pass(&mut self.s_wr, &mut self.m_wr);
        AxilSlave::<12>::pass(&mut self.s_axil, &mut self.m_axil);
    }
}

/// Two stages in a row. Every handshake passes both ways through both: no false loop may appear.
#[derive(LogicBlock, Default)]
struct Chain {
    clock: Signal<In, Clock>,
    s_axis: AxisSlave,
    m_axis: AxisMaster,
    s_rd: AxiReadSlave<4>,
    m_rd: AxiReadMaster<4>,
    s_wr: AxiWriteSlave<3>,
    m_wr: AxiWriteMaster<3>,
    s_axil: AxilSlave<12>,
    m_axil: AxilMaster<12>,
    one: Stage,
    two: Stage,
}

#[kernel]
impl Logic for Chain {
    fn update(&mut self) {
        clock!(self, clock, one, two);
        AxisSlave::link(&mut self.s_axis, &mut self.one.s_axis);
        AxisMaster::join(&mut self.one.m_axis, &mut self.two.s_axis);
        AxisMaster::link(&mut self.m_axis, &mut self.two.m_axis);
        AxiReadSlave::<4>::link(&mut self.s_rd, &mut self.one.s_rd);
        AxiReadMaster::<4>::join(&mut self.one.m_rd, &mut self.two.s_rd);
        AxiReadMaster::<4>::link(&mut self.m_rd, &mut self.two.m_rd);
        AxiWriteSlave::<3>::link(&mut self.s_wr, &mut self.one.s_wr);
        AxiWriteMaster::<3>::join(&mut self.one.m_wr, &mut self.two.s_wr);
        AxiWriteMaster::<3>::link(&mut self.m_wr, &mut self.two.m_wr);
        AxilSlave::<12>::link(&mut self.s_axil, &mut self.one.s_axil);
        AxilMaster::<12>::join(&mut self.one.m_axil, &mut self.two.s_axil);
        AxilMaster::<12>::link(&mut self.m_axil, &mut self.two.m_axil);
    }
}

macro_rules! poke {
    ($r:ident; $($b:expr => $($f:ident)*;)*) => { $($($b.$f.next = $r.any();)*)* };
}

#[test]
fn bundles_carry_every_signal_without_false_loops() {
    let poke = |u: &mut Chain, r: &mut Rnd| {
        poke!(r;
            u.s_axis => tdata tkeep tlast tuser tvalid;
            u.m_axis => tready;
            u.s_rd => arid araddr arlen arvalid rready;
            u.m_rd => arready rid rdata rresp rlast rvalid;
            u.s_wr => awid awaddr awlen awvalid wdata wstrb wlast wvalid bready;
            u.m_wr => awready wready bid bresp bvalid;
            u.s_axil => awaddr awvalid wdata wstrb wvalid bready araddr arvalid rready;
            u.m_axil => awready wready bresp bvalid arready rdata rresp rvalid;);
    };
    diff("bundles", Chain::default(), 1500, poke, |u, c| u.clock.next = c.into());
}
