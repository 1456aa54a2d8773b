//! The register block and the read arbiter: agree with their Verilog, and do what the register table says.
#![allow(missing_docs)]

use chimney_abi::regs;
use chimney_hdl::host::{clock::DeviceClock, counters::Counters, csr::Csr, dma_read::ReadArbiter, irq::Irq};
use chimney_hdl::prelude::*;
use chimney_hdl::types::{ReadBeat, ReadReq};
use chimney_hdl_kernel::diff::{diff, Bench, Diff, Rnd};

#[test]
fn clock_agrees_with_its_verilog() {
    diff(
        "device_clock",
        DeviceClock::default(),
        5000,
        |u, r| {
            u.reset.next = r.chance(1, 500);
            u.increment.next = r.any();
            u.preset.next = r.chance(1, 300);
            u.preset_us.next = r.any();
        },
        |u, c| u.clock.next = c.into(),
    );
}

#[test]
fn interrupt_agrees_with_its_verilog() {
    diff(
        "interrupt",
        Irq::default(),
        5000,
        |u, r| {
            u.reset.next = r.chance(1, 300);
            u.cause.next = if r.chance(1, 8) { r.any() } else { bits::<4>(0) };
            u.clear.next = if r.chance(1, 4) { r.any() } else { bits::<4>(0) };
            u.enable.next = r.any();
            u.holdoff_us.next = r.bits_below(20);
            u.now_us.next = r.any();
        },
        |u, c| u.clock.next = c.into(),
    );
}

#[test]
fn read_arbiter_agrees_with_its_verilog() {
    Diff::new("read_arbiter", 5000).constant("m_axi$rready").run(
        ReadArbiter::<3>::default(),
        |u, r| {
            u.reset.next = r.chance(1, 500);
            for i in 0..3 {
                u.req_valid[i].next = r.any();
                u.req[i].next = ReadReq { iova: r.any(), beats: r.any() };
            }
            u.m_axi.arready.next = r.any();
            u.m_axi.rvalid.next = r.any();
            u.m_axi.rid.next = r.bits_below(3);
            u.m_axi.rdata.next = r.any();
            u.m_axi.rresp.next = r.any();
            u.m_axi.rlast.next = r.any();
        },
        |u, c| u.clock.next = c.into(),
    );
}

#[test]
fn read_arbiter_serves_every_client_and_returns_its_beats() {
    let mut r = Rnd::new(Rnd::seed_for("read_arbiter_directed"));
    let mut b = Bench::new(ReadArbiter::<4>::default(), |u, c| u.clock.next = c.into());
    let mut asked = [0u32; 4];
    let mut got = [0u32; 4];
    let mut bursts: Vec<(u64, u64)> = vec![];
    let mut beat = 0u64;
    for _ in 0..4000 {
        let ready = r.chance(2, 3);
        let serve = !bursts.is_empty() && r.chance(3, 4);
        b.settle(|u| {
            for i in 0..4 {
                u.req_valid[i].next = true;
                u.req[i].next =
                    ReadReq { iova: bits::<64>(0x1000 * (i as u64 + 1)), beats: bits::<6>(i as u64 + 1) };
            }
            u.m_axi.arready.next = ready;
            u.m_axi.rvalid.next = serve;
            if serve {
                u.m_axi.rid.next = bits::<4>(bursts[0].0);
                u.m_axi.rdata.next = bits::<64>(bursts[0].0);
                u.m_axi.rlast.next = beat == bursts[0].1;
            }
        });
        for (i, got) in got.iter_mut().enumerate() {
            if b.u.beat_valid[i].val() {
                let ReadBeat { data, .. } = b.u.beat.val();
                assert_eq!(data, bits::<64>(i as u64));
                *got += 1;
            }
        }
        if b.u.m_axi.arvalid.val() && ready {
            let id = b.u.m_axi.arid.val().index() as u64;
            assert_eq!(b.u.m_axi.araddr.val(), bits::<64>(0x1000 * (id + 1)));
            let len = b.u.m_axi.arlen.val().index() as u64;
            assert_eq!(len, id);
            asked[id as usize] += 1;
            bursts.push((id, len));
        }
        if serve {
            beat += 1;
            if beat > bursts[0].1 {
                bursts.remove(0);
                beat = 0;
            }
        }
        b.edge();
    }
    let (least, most) = (asked.iter().min(), asked.iter().max());
    assert!(least.unwrap() + 1 >= *most.unwrap(), "round robin: {asked:?}");
    assert!(got.iter().all(|n| *n > 100), "{got:?}");
}

/// The most that a counter may be told in a clock.
fn most(counter: usize) -> u64 {
    let reg = &regs::ALL[regs::ALL.len() - regs::COUNTERS + counter];
    match reg.name {
        "CNT_STALE" | "CNT_BAD_REQUEST" => 3,
        name if name.ends_with("BYTES") => 0xFFFF,
        _ => 1,
    }
}

/// What a counter may be told in a clock.
fn amount(r: &mut Rnd, counter: usize) -> u64 {
    let most = most(counter);
    match r.below(4) {
        0 => r.below(most + 1),
        1 => most,
        _ => 0,
    }
}

#[test]
fn counters_lose_nothing_whatever_comes_in_each_clock() {
    let mut r = Rnd::new(Rnd::seed_for("counters"));
    let mut b = Bench::new(Counters::default(), |u, c| u.clock.next = c.into());
    for clocks in [7, 60, 400, 3000] {
        b.cycle(|u| u.reset.next = true);
        let mut sums = [0u64; regs::COUNTERS];
        for clock in 0..clocks {
            // Most, all the time, in every second run; what comes while others are read counts as well.
            let full = clocks % 100 == 0 && clock < 300;
            b.settle(|u| {
                u.reset.next = false;
                for (c, sum) in sums.iter_mut().enumerate() {
                    let more = if full { most(c) } else { amount(&mut r, c) };
                    u.amount[c].next = bits::<16>(more);
                    *sum += more;
                }
            });
            b.edge();
        }
        b.settle(|u| u.amount.iter_mut().for_each(|a| a.next = bits::<16>(0)));
        for _ in 0..2 * regs::COUNTERS + 3 {
            b.cycle(|_| {});
        }
        for (c, sum) in sums.iter().enumerate() {
            b.settle(|u| u.index.next = bits::<8>(c as u64));
            let mut waited = 0;
            while !b.u.found.val() {
                waited += 1;
                assert!(waited <= regs::COUNTERS, "counter {c} is not visited");
                b.edge();
                b.settle(|_| {});
            }
            assert_eq!(b.u.data.val(), bits::<64>(*sum), "counter {c} after {clocks} clocks");
        }
    }
}

#[test]
fn register_block_agrees_with_its_verilog() {
    Diff::new("csr", 6000).constant("s_axil$bresp").constant("s_axil$rresp").run(
        Csr::default(),
        |u, r| {
            u.reset.next = r.chance(1, 2000);
            u.s_axil.awvalid.next = r.any();
            u.s_axil.wvalid.next = r.any();
            u.s_axil.arvalid.next = r.any();
            u.s_axil.bready.next = r.any();
            u.s_axil.rready.next = r.any();
            let some = regs::ALL[r.below(regs::ALL.len() as u64) as usize].offset;
            let bell = regs::doorbell(r.below(64) as u16, r.chance(1, 2)) + 4 * r.below(2) as u32;
            let at = if r.chance(2, 3) { some } else { bell };
            let quiet = at == regs::RESET.offset && r.chance(9, 10);
            u.s_axil.awaddr.next = bits::<20>(if quiet { 0 } else { u64::from(at) });
            u.s_axil.araddr.next = bits::<20>(
                u64::from(regs::ALL[r.below(regs::ALL.len() as u64) as usize].offset) + 4 * r.below(2),
            );
            u.s_axil.wdata.next = r.any();
            u.conn_log2.next = r.any();
            u.table_log2.next = r.any();
            u.idle.next = r.any();
            u.dma_error.next = r.chance(1, 100);
            u.cause.next = if r.chance(1, 10) { r.any() } else { bits::<4>(0) };
            for c in 0..regs::COUNTERS {
                u.count[c].next = bits::<16>(amount(r, c));
            }
            u.doorbell_ready.next = r.any();
        },
        |u, c| u.clock.next = c.into(),
    );
}

/// An AXI4-Lite write.
fn write(b: &mut Bench<Csr, impl FnMut(&mut Csr, bool)>, at: u32, word: u32) {
    let (mut aw, mut w) = (true, true);
    for _ in 0..200 {
        b.settle(|u| {
            u.s_axil.awvalid.next = aw;
            u.s_axil.awaddr.next = bits::<20>(at.into());
            u.s_axil.wvalid.next = w;
            u.s_axil.wdata.next = bits::<32>(word.into());
            u.s_axil.bready.next = true;
        });
        aw &= !b.u.s_axil.awready.val();
        w &= !b.u.s_axil.wready.val();
        let done = b.u.s_axil.bvalid.val();
        b.edge();
        if done {
            return;
        }
    }
    panic!("write to {at:#x} never ended");
}

/// An AXI4-Lite read.
fn read(b: &mut Bench<Csr, impl FnMut(&mut Csr, bool)>, at: u32) -> u32 {
    let mut ar = true;
    for _ in 0..50 {
        b.settle(|u| {
            u.s_axil.arvalid.next = ar;
            u.s_axil.araddr.next = bits::<20>(at.into());
            u.s_axil.rready.next = true;
        });
        ar &= !b.u.s_axil.arready.val();
        let (done, data) = (b.u.s_axil.rvalid.val(), b.u.s_axil.rdata.val());
        b.edge();
        if done {
            return data.index() as u32;
        }
    }
    panic!("read of {at:#x} never ended");
}

#[test]
fn registers_read_back_reset_values_and_what_was_written() {
    use chimney_abi::layout::Access;
    let mut b = Bench::new(Csr::default(), |u, c| u.clock.next = c.into());
    b.settle(|u| u.idle.next = true);
    assert_eq!(read(&mut b, regs::ID.offset), regs::ID.reset);
    for r in regs::ALL.iter().filter(|r| matches!(r.access, Access::Rw)) {
        assert_eq!(read(&mut b, r.offset), r.reset, "{} after reset", r.name);
    }
    let calm =
        |r: &&&chimney_abi::layout::Reg| matches!(r.access, Access::Rw) && r.offset != regs::RESET.offset;
    for (i, r) in regs::ALL.iter().filter(calm).enumerate() {
        write(&mut b, r.offset, 0x0101_0101 * (i as u32 + 1));
    }
    for (i, r) in regs::ALL.iter().filter(calm).enumerate() {
        assert_eq!(read(&mut b, r.offset), 0x0101_0101 * (i as u32 + 1), "{}", r.name);
    }
    write(&mut b, regs::ID.offset, 7);
    assert_eq!(read(&mut b, regs::ID.offset), regs::ID.reset, "read only");
    write(&mut b, regs::RESET.offset, 1);
    for _ in 0..20 {
        b.cycle(|_| {});
    }
    assert_eq!(read(&mut b, regs::RESET.offset), 0);
    assert_eq!(read(&mut b, regs::MAC_LO.offset), 0);
}

#[test]
fn counters_are_64_bits_and_read_consistently() {
    let mut b = Bench::new(Csr::default(), |u, c| u.clock.next = c.into());
    let n = ((regs::CNT_TX_BYTES.offset - regs::CNT_RX_FRAMES.offset) / 8) as usize;
    for _ in 0..70_000 / 16 {
        b.cycle(|u| u.count[n].next = bits::<16>(0xFFFF));
    }
    b.settle(|u| u.count[n].next = bits::<16>(0));
    let low = u64::from(read(&mut b, regs::CNT_TX_BYTES.offset));
    let high = u64::from(read(&mut b, regs::CNT_TX_BYTES.offset + 4));
    assert_eq!(high << 32 | low, 0xFFFF * (70_000 / 16));
}

#[test]
fn a_read_that_meets_a_write_of_the_same_register_waits_for_it() {
    let mut b = Bench::new(Csr::default(), |u, c| u.clock.next = c.into());
    for delay in 0..6u32 {
        // Address and data of the write come at once, the read `delay` clocks before or after.
        let word = 0x5000 + delay;
        let (mut aw, mut ar, mut got) = (true, true, None);
        for clock in 0..40 {
            b.settle(|u| {
                u.s_axil.awvalid.next = aw && clock >= 3;
                u.s_axil.wvalid.next = aw && clock >= 3;
                u.s_axil.awaddr.next = bits::<20>(regs::PUSH_US.offset.into());
                u.s_axil.wdata.next = bits::<32>(word.into());
                u.s_axil.bready.next = true;
                u.s_axil.arvalid.next = ar && clock >= delay;
                u.s_axil.araddr.next = bits::<20>(regs::PUSH_US.offset.into());
                u.s_axil.rready.next = true;
            });
            aw &= !(clock >= 3 && b.u.s_axil.awready.val());
            ar &= !(clock >= delay && b.u.s_axil.arready.val());
            if b.u.s_axil.rvalid.val() {
                got = Some(b.u.s_axil.rdata.val().index() as u32);
            }
            b.edge();
        }
        let before = if delay == 0 { regs::PUSH_US.reset } else { word - 1 };
        assert!(got == Some(word) || got == Some(before), "{got:?} after {delay} clocks");
        assert!(delay < 3 || got == Some(word), "{got:?} after {delay} clocks");
        assert_eq!(read(&mut b, regs::PUSH_US.offset), word);
    }
}

#[test]
fn a_command_producer_waits_for_the_doorbells_before_it() {
    let mut b = Bench::new(Csr::default(), |u, c| u.clock.next = c.into());
    let bell = regs::doorbell(5, true);
    write(&mut b, bell, 0x0109_0007);
    write(&mut b, bell + 4, 0xABCD);
    write(&mut b, regs::CMD_PRODUCER.offset, 3);
    for _ in 0..30 {
        b.cycle(|_| {});
    }
    assert_eq!(b.u.rings.val().cmd_producer, bits::<16>(0));
    b.settle(|u| u.doorbell_ready.next = true);
    assert!(b.u.doorbell_valid.val());
    let d = b.u.doorbell.val();
    assert_eq!((d.conn, d.receive, d.producer), (bits::<16>(5), true, bits::<16>(7)));
    assert_eq!((d.generation, d.flags, d.limit), (bits::<8>(9), bits::<8>(1), bits::<32>(0xABCD)));
    for _ in 0..4 {
        b.edge();
        b.settle(|_| {});
    }
    assert_eq!(b.u.rings.val().cmd_producer, bits::<16>(3));
}
