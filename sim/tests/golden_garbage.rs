//! Golden model against nonsense: mutated frames, random doorbells, registers, descriptors and images.
//!
//! Nothing makes it panic, and afterwards it still carries a new connection. The ordinary run is short;
//! `CHIMNEY_LONG=1` runs the full counts. The seed is printed; `CHIMNEY_SEED` replays it.

mod golden_rig;

use chimney_abi::cmd::{Opcode, Status};
use chimney_abi::desc::*;
use chimney_abi::regs;
use chimney_abi::state::*;
use chimney_sim::device::Device;
use chimney_sim::rng::{test_seed, Rng};
use golden_rig::wire::Seg;
use golden_rig::*;

fn rounds(short: u32, long: u32) -> u32 {
    if std::env::var_os("CHIMNEY_LONG").is_some() {
        long
    } else {
        short
    }
}

/// A frame that is almost right for connection 0 to 3.
fn plausible(rng: &mut Rng, nxt: u32, una: u32) -> Seg {
    let near = |rng: &mut Rng, at: u32| match rng.below(4) {
        0 => at,
        1 => at.wrapping_add(rng.below(3000) as u32),
        2 => at.wrapping_sub(rng.below(3000) as u32),
        _ => rng.next_u64() as u32,
    };
    let seq = near(rng, nxt);
    let text = vec![rng.next_u64() as u8; rng.below(1400) as usize * rng.below(2) as usize];
    Seg {
        conn: rng.below(5) as u16,
        ack: near(rng, una),
        wnd: rng.next_u64() as u16 >> rng.below(16),
        fin: rng.one_in_256(4),
        syn: rng.one_in_256(4),
        rst: rng.one_in_256(2),
        psh: rng.one_in_256(100),
        urg: rng.one_in_256(2),
        no_ack: rng.one_in_256(4),
        ts: rng.one_in_256(100).then(|| (rng.next_u64() as u32, rng.next_u64() as u32)),
        ..Seg::new(seq, 0).text(&text)
    }
}

/// Flips, cuts and grows a frame; sometimes repairs the checksums by building it anew.
fn mutate(rng: &mut Rng, mut frame: Vec<u8>) -> Vec<u8> {
    for _ in 0..rng.below(4) {
        let at = rng.below(frame.len() as u64) as usize;
        frame[at] = rng.next_u64() as u8;
    }
    match rng.below(8) {
        0 => frame.truncate(rng.below(frame.len() as u64) as usize),
        1 => frame.resize(frame.len() + rng.below(700) as usize, 0xA5),
        2 => repair(&mut frame),
        _ => {}
    }
    frame
}

/// Right checksums over whatever the frame says now: nonsense that gets past them.
fn repair(frame: &mut [u8]) {
    use chimney_host_stack_core::checksum::{pseudo_v4, Checksum};
    if frame.len() < 54 {
        return;
    }
    frame[24..26].fill(0);
    let mut ip = Checksum::default();
    ip.add_bytes(&frame[14..34]);
    frame[24..26].copy_from_slice(&ip.finish().to_be_bytes());
    let total = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
    if !(40..=frame.len() - 14).contains(&total) {
        return;
    }
    frame[50..52].fill(0);
    let at = |i: usize| [frame[i], frame[i + 1], frame[i + 2], frame[i + 3]];
    let mut sum = pseudo_v4(at(26), at(30), 6, (total - 20) as u16);
    sum.add_bytes(&frame[34..14 + total]);
    frame[50..52].copy_from_slice(&sum.finish().to_be_bytes());
}

/// A rig with four busy connections.
fn busy() -> Rig {
    let mut rig = Rig::new();
    for conn in 0..4 {
        rig.write_send(conn, ISS, &pattern(ISS, 5000), SEND_PUSH);
        rig.write_post(conn, USER + u64::from(conn) * 0x1000, 3000, conn as u8 & 1, IRS);
        let status = rig.offload(conn, 1, |r| {
            r.snd_limit = ISS + 5000;
            r.const_flags = CONST_SACK | if conn == 3 { CONST_TIMESTAMPS } else { 0 };
            r.eff_mss = 1448;
            r.max_rt_us = MAX_RT_UNLIMITED;
        });
        assert_eq!(status, Status::Success);
    }
    rig
}

/// The device still carries a new connection.
fn assert_alive(rig: &mut Rig) {
    for conn in 0..8 {
        for generation in 0..=255 {
            rig.take_back(conn, generation, Opcode::Terminate);
        }
    }
    rig.give_pages(8);
    assert_eq!(rig.offload(7, 200, |_| {}), Status::Success);
    rig.sent_any();
    rig.peer(Seg { conn: 7, fin: true, ..Seg::new(IRS, ISS).text(b"alive") });
    assert_eq!(rig.shadow(7).rcv_nxt, IRS + 6);
    assert_eq!(rig.sent_one().ack, IRS + 6);
}

impl Rig {
    /// Throws away what was sent.
    fn sent_any(&mut self) -> usize {
        std::iter::from_fn(|| self.nic.pop_tx_frame()).count()
    }
}

/// Verifies: R-237
#[test]
fn mutated_frames_never_stop_the_device() {
    let mut rng = Rng::new(test_seed(1));
    let mut rig = busy();
    let mut engine = 0;
    for i in 0..rounds(100_000, 1_000_000) {
        let s = rig.shadow(rng.below(4) as u16);
        let frame = plausible(&mut rng, s.rcv_nxt, s.snd_una).frame();
        let frame = if rng.one_in_256(180) { mutate(&mut rng, frame) } else { frame };
        rig.nic.rx_frame(&frame, rng.one_in_256(2));
        rig.run_for(rng.below(3) * rng.below(50_000));
        rig.sent_any();
        let up = rig.handed_up().len() as u16;
        rig.give_rx_buffers(up);
        if i % 64 == 63 {
            engine += rig.count(&regs::CNT_RX_OFFLOADED);
            let pages = rig.status_line().pool_consumer.wrapping_add(64).wrapping_sub(rig.pool);
            rig.give_pages(pages.min(64));
            rig.events(true);
            let right = rig.shadow(0).rcv_nxt.wrapping_add(WINDOW);
            rig.ring_receive(0, 1, right);
        }
        if i % 500 == 499 {
            assert_eq!(rig.mem.violations().0, 0, "the peer cannot steer DMA");
            rig = busy();
        }
    }
    assert!(engine > 0);
    assert_alive(&mut rig);
}

/// A word that is often near something meaningful.
fn word(rng: &mut Rng, base: u32) -> u32 {
    match rng.below(5) {
        0 => 0,
        1 => u32::MAX,
        2 => base.wrapping_add(rng.below(4000) as u32).wrapping_sub(2000),
        3 => 1 << rng.below(32),
        _ => rng.next_u64() as u32,
    }
}

#[test]
fn a_mad_driver_never_stops_the_device() {
    let mut rng = Rng::new(test_seed(2));
    let mut rig = busy();
    for i in 0..rounds(100_000, 1_000_000) {
        match rng.below(8) {
            0 | 1 => {
                let low = word(&mut rng, 1 << 16 | 1) & 0xFFFF | 1 << 16 | word(&mut rng, 0) << 24;
                let near = if rng.chance(0.5) { ISS + 5000 } else { IRS + WINDOW };
                let limit = word(&mut rng, near);
                rig.doorbell(rng.below(6) as u16, rng.chance(0.5), low, limit);
            }
            2 => {
                // Anything but the switches and addresses that the test itself needs.
                let offset = (rng.below(0x300) as u32 & !3).max(0x100);
                rig.nic.mmio_write(offset, word(&mut rng, 0x1000));
            }
            3 => {
                let ring = 0x4_0000 + rng.below(0x8_0000 / 8) * 8;
                rig.put(ring, &rng.next_u64().to_le_bytes());
            }
            4 => {
                let mut record = rig.record(rng.below(6) as u16).to_bytes();
                for _ in 0..rng.below(4) {
                    let at = rng.below(record.len() as u64 / 4) as usize * 4;
                    record[at..at + 4].copy_from_slice(&word(&mut rng, IRS).to_le_bytes());
                }
                let ops =
                    [Opcode::Initiate, Opcode::Terminate, Opcode::Query, Opcode::Update, Opcode::Invalidate];
                let h = tcp_header(rng.below(8) as u16, rng.below(3) as u8);
                rig.image(ops[rng.below(5) as usize], h, &record);
            }
            5 => {
                let mut raw = [0; Command::BYTES];
                raw.iter_mut().for_each(|b| *b = rng.next_u64() as u8);
                let mut command = Command::from_bytes(&raw);
                command.opcode %= 8;
                command.count %= 4;
                rig.command(command);
            }
            _ => {
                let s = rig.shadow(rng.below(4) as u16);
                let frame = plausible(&mut rng, s.rcv_nxt, s.snd_una).frame();
                rig.nic.rx_frame(&frame, false);
            }
        }
        rig.run_for(rng.below(2) * rng.below(400_000));
        rig.sent_any();
        if i % 200 == 199 {
            rig = busy();
        }
    }
    for reg in regs::ALL.iter().filter(|r| (0x100..0x200).contains(&r.offset)) {
        rig.write(reg, reg.reset);
    }
    assert_alive(&mut rig);
}

/// Law L5 and L1: with a bus that refuses at random, connections stop with a reason and the others go on.
#[test]
fn dma_errors_stop_one_connection_and_not_the_device() {
    let mut rng = Rng::new(test_seed(3));
    for _ in 0..rounds(200, 2_000) {
        let mut rig = busy();
        rig.sent_any();
        // Connection 0's first post lies outside of memory.
        rig.put(0x8_0000, &RecvDesc { addr: rng.next_u64(), len: 100, flags: 0, seq: IRS }.to_bytes());
        for conn in 0..3 {
            rig.peer(Seg { conn, psh: true, ..Seg::new(IRS, ISS).text(b"to everybody") });
        }
        assert_eq!(rig.shadow(0).state >> 4, chimney_abi::cmd::UploadReason::HardwareFailure.code());
        assert_eq!(rig.shadow(0).rcv_nxt, IRS, "nothing unplaced is counted");
        assert_eq!((rig.shadow(1).rcv_nxt, rig.shadow(2).rcv_nxt), (IRS + 12, IRS + 12));
        assert_eq!(rig.nic.mmio_read(regs::STATUS.offset), 2);
    }
}
