//! Golden model, classic ECN (RFC 3168): marks echoed, windows reduced, hand-overs in the middle of it. The RTL: `hdl/tests/engine_ecn.rs`.

mod golden_rig;

use chimney_abi::cmd::{Opcode, Status};
use chimney_abi::regs;
use chimney_abi::state::*;
use chimney_sim::golden::{Algorithm, Config, Recovery};
use golden_rig::wire::Seg;
use golden_rig::*;

/// NewReno without and with SACK, CUBIC.
const KINDS: [u16; 3] = [0, CONST_SACK | CONST_NEWRENO, CONST_SACK];
const ECT_0: u8 = 2;
const CE: u8 = 3;

/// A connection that has sent `segments`.
fn sending(flags: u16, segments: u32, change: impl FnOnce(&mut TcpRecord)) -> Rig {
    let recovery = Recovery::Modern(Algorithm::Cubic);
    let mut rig = Rig::built(false, Config { recovery, ..Config::default() });
    let status = rig.offload(0, 1, |r| {
        r.const_flags = flags | CONST_ECN;
        r.cwnd = segments * MSS;
        change(r);
    });
    assert_eq!(status, Status::Success);
    rig.send(ISS, &pattern(ISS, (segments * MSS) as usize));
    rig
}

fn at(segment: u32) -> u32 {
    ISS + segment * MSS
}

fn echo(una: u32) -> Seg {
    Seg { ece: true, ..Seg::new(IRS, at(una)) }
}

/// ECE, CWR and the ECN field.
fn signs(s: &Seg) -> (bool, bool, u8) {
    (s.ece, s.cwr, s.ecn)
}

#[test]
fn a_mark_is_echoed_until_cwr() {
    let mut rig = sending(CONST_SACK, 1, |_| ());
    assert_eq!(signs(&rig.sent_one()), (false, false, ECT_0));
    let hear = |rig: &mut Rig, offset: u32, ecn, cwr| {
        rig.peer(Seg { ecn, cwr, ..Seg::new(IRS + offset, ISS).text(&[1; 100]) });
        rig.sent()
    };
    let sent = hear(&mut rig, 200, CE, false);
    assert_eq!(signs(&sent[0]), (true, false, 0), "out of order, acknowledged at once");
    let sent = hear(&mut rig, 0, ECT_0, false);
    assert_eq!(signs(&sent[0]), (true, false, 0));
    let (_, image) = rig.take_back(0, 1, Opcode::Query);
    assert_eq!((image.ecn, rig.count(&regs::CNT_CE_MARKS_IN)), (ECN_ECHO, 1));
    let sent = hear(&mut rig, 100, ECT_0, true);
    assert_eq!(signs(&sent[0]), (false, false, 0));
}

#[test]
fn an_echo_reduces_once_and_cwr_goes_with_new_text() {
    for flags in KINDS {
        let mut rig = sending(flags, 8, |_| ());
        assert!(rig.sent().iter().all(|s| signs(s) == (false, false, ECT_0)));
        rig.peer(echo(2));
        rig.peer(echo(8));
        assert_eq!(rig.count(&regs::CNT_ECE_REDUCTIONS), 1, "{flags}");
        let (_, image) = rig.take_back(0, 1, Opcode::Query);
        assert_eq!((image.ecn, image.recover), (ECN_CWR | ECN_REDUCED, at(8)));
        rig.send(at(8), &pattern(at(8), 2 * MSS as usize));
        let sent: Vec<_> = rig.sent().iter().map(signs).collect();
        assert_eq!(sent, [(false, true, ECT_0), (false, false, ECT_0)], "{flags}");
        rig.peer(echo(9));
        assert_eq!(rig.count(&regs::CNT_ECE_REDUCTIONS), 2);
    }
}

#[test]
fn an_image_carries_it_and_a_timeout_counts_as_a_reduction() {
    for flags in KINDS {
        let mut rig = sending(flags, 2, |r| (r.ecn, r.recover) = (ECN_ECHO | ECN_CWR | ECN_REDUCED, at(2)));
        let sent: Vec<_> = rig.sent().iter().map(signs).collect();
        assert_eq!(sent, [(true, true, ECT_0), (true, false, ECT_0)]);
        rig.peer(Seg { ece: true, ..Seg::new(IRS, at(1)) });
        assert_eq!(rig.count(&regs::CNT_ECE_REDUCTIONS), 0);
        rig.run_for(3_000_000);
        assert!(rig.count(&regs::CNT_RTO) > 0);
        assert!(rig.sent().iter().all(|s| signs(s) == (true, false, 0)), "retransmissions");
        let (_, image) = rig.take_back(0, 1, Opcode::Terminate);
        assert_eq!((image.ecn, image.recover), (ECN_ECHO | ECN_CWR | ECN_REDUCED, at(2)), "{flags}");
    }
}
