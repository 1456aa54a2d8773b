//! The engine with classic ECN (RFC 3168): directed scenarios under native simulation. Without it: `engine.rs`.
mod engine_env;

use chimney_abi::cmd::Opcode;
use chimney_abi::state::{TcpRecord, CONST_ECN, CONST_NEWRENO, CONST_SACK, ECN_CWR, ECN_ECHO, ECN_REDUCED};
use chimney_hdl::types::{RxSeg, TCP_ACK, TCP_CWR, TCP_ECE, TCP_PSH};
use engine_env::sent::Sent;
use engine_env::world::{image, seg, text, World, GEN, MSS, OURS, PEER};
use engine_env::{record, Todo};

/// Counters in `Env::counts`.
const FAST: usize = 2;
const MARKS: usize = 10;
const REDUCTIONS: usize = 11;
/// ECN field: understands marks; was marked.
const ECT_0: u64 = 2;
const CE: u64 = 3;
/// DSCP of the path.
const DSCP: u8 = 0x28;

/// NewReno without and with SACK, CUBIC.
const KINDS: [u16; 3] = [0, CONST_SACK | CONST_NEWRENO, CONST_SACK];

fn given(flags: u16) -> TcpRecord {
    TcpRecord { const_flags: flags | CONST_ECN, tos: DSCP | 1, ..image() }
}

/// Byte `n` segments after our first one.
fn at(n: u32) -> u32 {
    OURS + n * MSS
}

/// A connection that has sent `segments`.
fn sent(segments: u32, given: &TcpRecord) -> World {
    let mut w = World::with(4, given);
    let una = given.snd_una;
    w.bell(false, 1, una + segments * MSS, 0);
    w.run();
    w.e.plan(Todo::Time(1000));
    w
}

/// A text of the peer, 100 bytes at `at`, with this ECN field and these flags.
fn hear(w: &mut World, at: u32, ecn: u64, flags: u64) {
    let s = RxSeg { ecn: ecn.into(), ..seg(PEER.wrapping_add(at), OURS, flags, 100) };
    w.e.plan(Todo::Seg(s.into(), text(100, 1)));
    w.run();
}

/// An acknowledgment that echoes a mark.
fn echo(w: &mut World, ack: u32) {
    w.segment(PEER, ack, TCP_ECE, &[]);
    w.run();
}

/// The record as it is.
fn query(w: &mut World) -> TcpRecord {
    w.e.command(Opcode::Query, 2, GEN, None);
    w.run();
    record(&w.e.answers.pop().expect("an answer").1)
}

/// Does the segment carry ECE and CWR, and what stands beside the DSCP?
fn signs(s: &Sent) -> (bool, bool, u64) {
    assert_eq!(s.tos >> 2, u64::from(DSCP >> 2), "the path's DSCP");
    (s.flags & TCP_ECE != 0, s.flags & TCP_CWR != 0, s.tos & 3)
}

/// RFC 3168 6.1.3: in order or not, echoed until CWR; a segment with both begins a new echo. 6.1.4: bare ones cannot be marked.
#[test]
fn a_mark_is_echoed_until_the_peer_says_that_it_reduced() {
    let mut w = World::with(8, &given(CONST_SACK));
    let last = |w: &World| signs(w.e.sent.last().expect("an acknowledgment"));
    hear(&mut w, 0, ECT_0, TCP_PSH);
    hear(&mut w, 100, ECT_0, 0);
    assert_eq!(last(&w), (false, false, 0));
    hear(&mut w, 300, CE, 0);
    assert_eq!((last(&w), w.e.counts[MARKS]), ((true, false, 0), 1), "out of order");
    hear(&mut w, 200, ECT_0, 0);
    assert_eq!(last(&w), (true, false, 0));
    assert_eq!(query(&mut w).ecn, ECN_ECHO);
    hear(&mut w, 400, CE, TCP_CWR);
    hear(&mut w, 500, ECT_0, 0);
    assert_eq!((last(&w), w.e.counts[MARKS]), ((true, false, 0), 2));
    w.bell(false, 1, at(1), 0);
    w.run();
    assert_eq!(last(&w), (true, false, ECT_0), "text of our own");
    hear(&mut w, 600, ECT_0, TCP_CWR);
    hear(&mut w, 700, ECT_0, 0);
    assert_eq!(last(&w), (false, false, 0));
    // Without text it says nothing.
    let s = RxSeg { ecn: CE.into(), ..seg(PEER.wrapping_add(800), OURS, 0, 0) };
    w.e.plan(Todo::Seg(s.into(), vec![]));
    w.run();
    assert_eq!((query(&mut w).ecn, w.e.counts[MARKS]), (0, 2));
}

/// RFC 3168 6.1.2: once for each window of data, and CWR with the next new text, once.
#[test]
fn an_echo_reduces_the_window_once_and_is_answered_by_cwr() {
    for flags in KINDS {
        let mut w = sent(8, &given(flags));
        assert!(w.e.sent.iter().all(|s| signs(s) == (false, false, ECT_0)));
        // Without SACK and with: two segments are acknowledged (slow start), six in flight; of CUBIC's window of
        // twelve segments eight were in use.
        echo(&mut w, at(2));
        let r = query(&mut w);
        let want = if flags == CONST_SACK { 5599 } else { 3 * MSS };
        assert_eq!((r.cwnd, r.ssthresh), (want, want), "{flags}");
        assert_eq!((r.ecn, r.recover, w.e.counts[REDUCTIONS]), (ECN_CWR | ECN_REDUCED, at(8), 1));
        echo(&mut w, at(2));
        echo(&mut w, at(5));
        assert_eq!(w.e.counts[REDUCTIONS], 1, "the same window");
        w.bell(false, 1, at(10), 0);
        w.segment(PEER, at(8), TCP_ECE, &[]);
        w.run();
        let new: Vec<_> = w.e.sent[8..].iter().map(signs).collect();
        assert_eq!(new, [(false, true, ECT_0), (false, false, ECT_0)], "{flags}");
        assert_eq!((w.e.counts[REDUCTIONS], query(&mut w).ecn), (1, ECN_REDUCED), "CWR was not there yet");
        echo(&mut w, at(9));
        assert_eq!((w.e.counts[REDUCTIONS], query(&mut w).recover), (2, at(10)), "{flags}");
        assert_eq!(w.e.counts[FAST], 0);
    }
}

/// One reduction covers marks and losses of a window; what is sent again can be marked by nobody and carries no CWR.
#[test]
fn after_a_loss_marks_of_the_same_window_do_not_count() {
    for flags in KINDS {
        let mut w = sent(8, &given(flags));
        let block = if flags == 0 { None } else { Some((at(1), at(4))) };
        if let Some(block) = block {
            w.sack(at(0), &[block]);
        } else {
            (0..3).for_each(|_| w.segment(PEER, at(0), 0, &[]));
        }
        w.run();
        assert_eq!((w.e.counts[FAST], w.e.sent.len()), (1, 9), "{flags}");
        assert_eq!((w.e.sent[8].again, signs(&w.e.sent[8])), (true, (false, false, 0)));
        let reduced = query(&mut w).ssthresh;
        echo(&mut w, at(8));
        let r = query(&mut w);
        assert_eq!((r.ssthresh, w.e.counts[REDUCTIONS], r.ecn), (reduced, 0, ECN_CWR | ECN_REDUCED));
        w.bell(false, 1, at(9), 0);
        w.run();
        assert_eq!(signs(&w.e.sent[9]), (false, true, ECT_0));
    }
}

/// A mark's recovery point is in nobody's way: a loss in the same window begins recovery.
#[test]
fn a_loss_after_a_mark_is_repaired_without_a_timeout() {
    for flags in KINDS {
        let mut w = sent(8, &given(flags));
        echo(&mut w, at(1));
        if flags == 0 {
            (0..3).for_each(|_| w.segment(PEER, at(1), 0, &[]));
        } else {
            w.sack(at(1), &[(at(2), at(6))]);
        }
        w.run();
        assert_eq!((w.e.counts[FAST], w.e.counts[REDUCTIONS]), (1, 1), "{flags}");
        assert_eq!((w.e.sent[8].seq, w.e.sent[8].again), (at(1), true));
    }
}

/// RFC 3168 6.1.2: a timeout is a reduction too.
#[test]
fn after_a_timeout_marks_of_the_same_window_do_not_count() {
    for flags in KINDS {
        let mut w = sent(4, &given(flags));
        // With SACK a probe goes first.
        for us in if flags == 0 { vec![400_000] } else { vec![400_000, 900_000] } {
            w.e.plan(Todo::Time(us));
            w.run();
            w.run_for(200);
        }
        assert_eq!(w.e.counts[1], 1, "{flags}");
        assert!(w.e.sent[4..].iter().all(|s| s.again && signs(s) == (false, false, 0)));
        echo(&mut w, at(4));
        assert_eq!((w.e.counts[REDUCTIONS], query(&mut w).ecn), (0, ECN_CWR | ECN_REDUCED), "{flags}");
    }
}

/// Everything of it travels (design.md 7), in both directions.
#[test]
fn a_connection_is_taken_over_in_the_middle_of_it() {
    for flags in KINDS {
        let marked = TcpRecord {
            ecn: ECN_ECHO | ECN_CWR | ECN_REDUCED,
            recover: at(4),
            snd_max: at(4),
            snd_nxt: at(4),
            snd_limit: at(5),
            send_producer: 1,
            ..given(flags)
        };
        let mut w = World::with(4, &marked);
        w.run_for(300);
        assert_eq!(signs(&w.e.sent[0]), (true, true, ECT_0), "{flags}");
        echo(&mut w, at(4));
        assert_eq!(w.e.counts[REDUCTIONS], 0);
        let back = w.take().1;
        assert_eq!((back.ecn, back.recover), (ECN_ECHO | ECN_REDUCED, at(4)));
    }
}

#[test]
fn without_negotiation_nothing_happens() {
    for flags in KINDS {
        let plain = TcpRecord { const_flags: flags, ecn: 7, tos: 5, ..image() };
        let mut w = sent(8, &plain);
        hear(&mut w, 0, CE, 0);
        echo(&mut w, at(2));
        assert!(w.e.sent.iter().all(|s| s.tos == 5 && s.flags & !(TCP_ACK | TCP_PSH) == 0));
        assert_eq!((w.e.counts[MARKS], w.e.counts[REDUCTIONS], query(&mut w).ecn), (0, 0, 0));
    }
}
