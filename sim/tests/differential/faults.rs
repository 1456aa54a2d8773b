//! Writes that the bus refuses, in the RTL alone: the golden model knows at once what the RTL is told by the response.

use super::dut::Dut;
use super::golden_rig::wire::Seg;
use super::golden_rig::{pattern, Rig, IRS, ISS, WINDOW};
use chimney_abi::cmd::{Opcode, Status, UploadReason};
use chimney_abi::desc::RecvDesc;
use chimney_abi::regs;

/// Two connections; the first has posted a buffer that the device may not write.
fn rig() -> Rig<Dut> {
    let mut rig = Rig::around(false, Default::default(), Dut::rtl);
    for conn in 0..2 {
        assert_eq!(rig.offload(conn, 1, |_| ()), Status::Success);
    }
    let nowhere = RecvDesc { addr: 0x7fff_0000_0000, len: 4000, flags: 0, seq: IRS };
    rig.write_post(0, 0, 4000, 0, IRS);
    rig.put(super::golden_rig::RECV_RINGS, &nowhere.to_bytes());
    rig.ring_receive(0, 1, IRS + WINDOW);
    rig.sent();
    rig
}

/// Verifies: laws L1, L2, L5
#[test]
fn text_that_is_not_in_memory_is_never_acknowledged() {
    let mut rig = rig();
    for i in 0..4 {
        for conn in 0..2 {
            let seg = Seg::new(IRS + 1000 * i, ISS).text(&pattern(IRS + 1000 * i, 1000));
            rig.peer(Seg { conn, psh: true, ..seg });
        }
    }
    rig.run_for(1_000_000);
    let acked = |conn: u16, sent: &[Seg]| sent.iter().filter(|s| s.conn == conn).map(|s| s.ack).max();
    let sent = rig.sent();
    assert!(acked(0, &sent).is_none_or(|ack| ack == IRS), "{sent:?}");
    assert_eq!(acked(1, &sent), Some(IRS + 4000), "the other one goes on");
    assert_eq!(rig.shadow(0).state >> 4, UploadReason::HardwareFailure.code());
    let (status, image) = rig.take_back(0, 1, Opcode::Terminate);
    assert_eq!(status, Status::Success);
    assert_eq!(image.durable_rcv_nxt, IRS, "the stream ends before what is not there");
    // The next one under this number has nothing to do with it.
    assert_eq!(rig.offload(0, 2, |_| ()), Status::Success);
    rig.peer(Seg::new(IRS, ISS).text(&pattern(IRS, 1000)));
    rig.run_for(1_000_000);
    assert_eq!(acked(0, &rig.sent()), Some(IRS + 1000));
}

/// A hole in the event ring hides everything behind it: the heart stops.
///
/// Verifies: laws L2, L5
#[test]
fn an_event_that_cannot_be_written_stops_the_heart() {
    let mut rig = Rig::around(false, Default::default(), Dut::rtl);
    assert_eq!(rig.offload(0, 1, |_| ()), Status::Success);
    rig.run_for(100_000);
    let beats = rig.status_line().heartbeat;
    rig.run_for(100_000);
    assert_eq!(rig.status_line().heartbeat, beats + 10);
    rig.write(&regs::EVENT_BASE_HI, 0x7fff);
    rig.peer(Seg::new(IRS, ISS).text(&pattern(IRS, 1000)));
    rig.run_for(10_000);
    let beats = rig.status_line().heartbeat;
    rig.run_for(100_000);
    assert_eq!(rig.status_line().heartbeat, beats);
}
