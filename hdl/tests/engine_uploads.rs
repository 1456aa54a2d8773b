//! Upload requests of the engine: each reason has its counter, and a connection is counted once (native simulation).
mod engine_env;

use chimney_abi::cmd::{Opcode, UploadReason};
use chimney_abi::state::TcpRecord;
use chimney_hdl::types::{TCP_SYN, TCP_URG};
use engine_env::world::{image, text, World, GEN, OURS, PEER};
use engine_env::Todo;

/// Counters of `Env::counts` from here on: one for each mandatory reason.
const FIRST: usize = 12;

/// What makes the engine ask, in the order of the counters.
fn cause(w: &mut World, reason: UploadReason) {
    match reason {
        UploadReason::ReceivedUrgentData => w.segment(PEER, OURS, TCP_URG, &text(10, 1)),
        UploadReason::TimeoutExpiration => {
            w.bell(false, 1, OURS + 100, 0);
            w.run();
            // A probe, and timeouts with their back-off.
            (0..3).for_each(|_| {
                w.e.plan(Todo::Time(2_000_000));
                w.e.plan(Todo::Wait(100));
            });
        }
        UploadReason::InvalidState => w.e.command(Opcode::Invalidate, 2, GEN, None),
        UploadReason::UploadRequested => w.segment(PEER, OURS, TCP_SYN, &[]),
        UploadReason::HardwareFailure => {
            w.e.plan(Todo::Fail);
            w.segment(PEER, OURS, 0, &text(10, 1));
        }
        other => panic!("{other:?} is not mandatory"),
    }
    w.run();
    w.run_for(200);
}

/// Verifies
#[test]
fn each_reason_is_counted_once_for_each_connection() {
    let reasons = [
        UploadReason::ReceivedUrgentData,
        UploadReason::TimeoutExpiration,
        UploadReason::InvalidState,
        UploadReason::UploadRequested,
        UploadReason::HardwareFailure,
    ];
    for (i, reason) in reasons.into_iter().enumerate() {
        let mut w = World::with(4, &TcpRecord { max_retransmissions: 1, ..image() });
        cause(&mut w, reason);
        assert_eq!(w.e.shadow(2).expect("a record").state >> 4, reason.code());
        // Neither the next segment nor the last record is another request.
        w.segment(PEER, OURS, TCP_URG, &text(10, 1));
        w.run();
        assert_eq!(w.take().1.upload_reason, reason.code());
        let mut want = [0; 5];
        want[i] = 1;
        assert_eq!(w.e.counts[FIRST..FIRST + want.len()], want, "{reason:?}");
    }
}
