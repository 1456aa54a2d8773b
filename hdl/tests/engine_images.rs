//! What the engine makes of an image: what it takes over, what it refuses, what it gives back. Native simulation.
mod engine_env;

use chimney_abi::cmd::{Opcode, Status, TcpState};
use chimney_abi::state::{TcpRecord, CACHED_KEEP_ALIVE, DELEG_ACK_NOW, DELEG_PERSIST, NO_TIMER};
use engine_env::world::{image, seg, text, World, GEN, MSS, OURS, PEER};
use engine_env::{code, Todo};

/// The same as `images_that_cannot_be_run_are_refused_by_name` of the golden model.
/// Verifies: R-066
#[test]
fn images_that_cannot_be_run_are_refused() {
    type Change = fn(&mut TcpRecord);
    let table: [(&str, Change); 21] = [
        ("state", |r| r.tcp_state = TcpState::SynSent.code()),
        ("unknown state", |r| r.tcp_state = 99),
        ("shift", |r| r.snd_wind_shift = 15),
        ("ring", |r| r.send_ring_log2 = 16),
        ("producer", |r| r.recv_producer = 0x8001),
        ("no segment", |r| r.eff_mss = 0),
        ("phase", |r| r.phase = 3),
        ("next before una", |r| r.snd_nxt = r.snd_una.wrapping_sub(1)),
        ("next behind max", |r| r.snd_nxt = r.snd_max.wrapping_add(1)),
        ("max behind limit", |r| r.snd_max = r.snd_limit.wrapping_add(1)),
        ("max before una", |r| (r.snd_nxt, r.snd_max) = (r.snd_una, r.snd_una.wrapping_sub(1 << 30))),
        ("all around", |r| {
            let at = |part: u32| r.snd_una.wrapping_add(part);
            (r.snd_nxt, r.snd_max, r.snd_limit) = (at(0x5000_0000), at(0xa000_0000), at(0x1000_0000));
        }),
        ("too much posted", |r| r.snd_limit = r.snd_una.wrapping_add(1 << 30)),
        ("limit before una", |r| {
            (r.snd_limit, r.snd_max) = (r.snd_una.wrapping_sub(1), r.snd_una.wrapping_add(1 << 30));
        }),
        ("range at the next byte", |r| (r.ooo0_start, r.ooo0_end) = (r.rcv_nxt, r.rcv_nxt.wrapping_add(1))),
        ("range beyond the window", |r| {
            (r.ooo0_start, r.ooo0_end) = (r.rcv_nxt.wrapping_add(9), r.rcv_right.wrapping_add(1));
        }),
        ("range before the window", |r| {
            (r.ooo0_start, r.ooo0_end) = (r.rcv_nxt.wrapping_sub(9), r.rcv_nxt.wrapping_sub(5));
        }),
        ("range backwards", |r| {
            (r.ooo0_start, r.ooo0_end) = (r.rcv_nxt.wrapping_add(9), r.rcv_nxt.wrapping_add(5));
        }),
        ("ranges that touch", |r| {
            (r.ooo0_start, r.ooo0_end) = (r.rcv_nxt.wrapping_add(5), r.rcv_nxt.wrapping_add(9));
            (r.ooo1_start, r.ooo1_end) = (r.rcv_nxt.wrapping_add(9), r.rcv_nxt.wrapping_add(12));
        }),
        ("ranges not sorted", |r| {
            (r.ooo0_start, r.ooo0_end) = (r.rcv_nxt.wrapping_add(50), r.rcv_nxt.wrapping_add(90));
            (r.ooo1_start, r.ooo1_end) = (r.rcv_nxt.wrapping_add(9), r.rcv_nxt.wrapping_add(12));
        }),
        ("a hole in the list", |r| {
            (r.ooo1_start, r.ooo1_end) = (r.rcv_nxt.wrapping_add(9), r.rcv_nxt.wrapping_add(12));
        }),
    ];
    let mut w = World::new(4);
    for (name, change) in table {
        let mut r = image();
        change(&mut r);
        w.e.offload(2, GEN, &r, &[0; 32]);
        w.run();
        assert_eq!(w.e.answers.pop().map(|a| a.0), Some(code(Status::Rejected)), "{name}");
    }
}

/// Estimates out of range come back within bounds (programmer's guide 5), and timers that must run do.
#[test]
fn estimates_of_an_image_are_clamped() {
    let wild = TcpRecord {
        cwnd: u32::MAX,
        ssthresh: u32::MAX,
        cwnd_acc: u32::MAX,
        snd_wnd: u32::MAX,
        max_snd_wnd: 5,
        srtt_us_x8: u32::MAX,
        rttvar_us_x4: u32::MAX,
        rto_us: u32::MAX,
        ooo_recent: 200,
        cached_flags: CACHED_KEEP_ALIVE,
        ka_timeout_ms: 5_000,
        ka_deadline: NO_TIMER,
        ..image()
    };
    let mut w = World::with(4, &wild);
    let back = w.take().1;
    let most = 1 << 30;
    assert_eq!((back.cwnd, back.ssthresh, back.cwnd_acc), (most, most, most));
    assert_eq!((back.snd_wnd, back.max_snd_wnd), (most, most));
    assert_eq!((back.srtt_us_x8, back.rttvar_us_x4), (60_000_000 << 3, 60_000_000 << 2));
    assert!(back.rto_us < u32::MAX && back.rto_us > 0, "{}", back.rto_us);
    assert_eq!(back.ooo_recent, 0);
    assert!(back.ka_deadline <= 5_000, "keepalive is on");
    let small = TcpRecord { cwnd: 1, rto_us: 0, ..image() };
    let mut w = World::with(4, &small);
    let back = w.take().1;
    assert_eq!(back.cwnd, MSS);
    assert!(back.rto_us > 0);
}

/// A window that was closed may open without our hearing of it (RFC 9293 3.8.6.1): there is a probe although the image has no deadline.
///
/// Verifies: R-255
#[test]
fn an_image_in_persist_without_a_timer_gets_one() {
    let (deleg_flags, snd_limit) = (DELEG_PERSIST, OURS + 2000);
    let given = TcpRecord { deleg_flags, snd_limit, snd_wnd: 0, rtx_deadline: NO_TIMER, ..image() };
    let mut w = World::with(4, &TcpRecord { send_producer: 1, ..given });
    assert!(w.e.sent.is_empty());
    w.e.plan(Todo::Time(u64::from(given.rto_us) + 1));
    w.run();
    assert_eq!(w.e.sent.iter().map(|s| (s.seq, s.len)).collect::<Vec<_>>(), [(OURS - 1, 0)]);
    let back = w.take().1;
    assert!(back.rtx_deadline <= given.rto_us, "the next probe is due after {}", back.rtx_deadline);
}

/// Text waits, nothing is in flight, and the window is too small for a segment.
fn small_window() -> TcpRecord {
    let (snd_limit, rtx_deadline) = (OURS + 2000, NO_TIMER);
    TcpRecord { snd_limit, send_producer: 1, snd_wnd: 100, max_snd_wnd: 50_000, rtx_deadline, ..image() }
}

/// After the override timer what the window allows is sent (RFC 9293 3.8.6.2.1).
fn sends_what_fits(w: &mut World) {
    let before = w.e.sent.len();
    w.e.plan(Todo::Time(u64::from(image().rto_us) + 1));
    w.run();
    let sent: Vec<(u32, u64)> =
        w.e.sent[before..].iter().filter(|s| s.len > 0).map(|s| (s.seq, s.len)).collect();
    assert_eq!(sent, [(OURS, 100)]);
}

/// The turn that finds the window too small starts the override timer, also when it is the acknowledgment's.
#[test]
fn an_acknowledgment_does_not_take_the_turn_of_what_waits_for_the_window() {
    let mut w = World::with(4, &TcpRecord { deleg_flags: DELEG_ACK_NOW, ..small_window() });
    assert_eq!(w.e.sent.iter().map(|s| (s.seq, s.len)).collect::<Vec<_>>(), [(OURS, 0)]);
    sends_what_fits(&mut w);
}

/// A host that waits for a larger window calls that persist, too; the first segment that says the same window again ends it.
#[test]
fn persist_that_ends_without_news_of_the_window_forgets_nothing() {
    let given = TcpRecord { deleg_flags: DELEG_PERSIST, rtx_deadline: 200_000, ..small_window() };
    let mut w = World::with(4, &given);
    let mut same = seg(PEER, OURS, 0, 1000);
    same.wnd = 100u64.into();
    w.e.plan(Todo::Seg(same.into(), text(1000, 1)));
    w.run();
    assert!(w.e.sent.iter().all(|s| s.len == 0), "acknowledgments at most");
    sends_what_fits(&mut w);
}

/// Verifies
#[test]
fn an_image_whose_segments_do_not_fit_into_the_path_is_rejected() {
    let mut w = World::new(4);
    for (mtu, status) in [(1039, Status::Rejected), (1040, Status::Success)] {
        w.e.plan(Todo::Mtu(mtu));
        w.e.offload(2, GEN, &image(), &[0; 32]);
        w.run();
        assert_eq!(w.e.answers.pop().map(|a| a.0), Some(code(status)), "{mtu}");
    }
}

/// Verifies
#[test]
fn upload_gives_back_what_the_offload_brought() {
    let given = TcpRecord { rcv_right: PEER + 4000, snd_wl1: PEER - 9, ..image() };
    let mut w = World::with(4, &given);
    let s = w.e.shadow(2).expect("the first shadow record");
    assert_eq!((s.tag, s.generation, s.rcv_nxt, s.snd_una), (2, GEN as u8, PEER, OURS));
    let (status, back) = w.take();
    assert_eq!(status, code(Status::Success));
    let want = TcpRecord {
        generation: GEN as u8,
        path: 3,
        durable_rcv_nxt: given.rcv_nxt,
        durable_rcv_right: given.rcv_right,
        shadow_tag: 4,
        delack_deadline: NO_TIMER,
        push_deadline: NO_TIMER,
        ..given
    };
    assert_eq!(back, want);
    w.e.command(Opcode::Query, 2, GEN, None);
    w.run();
    assert_eq!(w.e.answers.pop(), Some((code(Status::Stale), vec![])), "the id is free");
    w.e.offload(2, GEN + 1, &given, &[0; 32]);
    w.e.offload(2, GEN + 2, &given, &[0; 32]);
    w.e.offload(3, GEN, &TcpRecord { rcv_right: PEER.wrapping_add(200_000), ..given }, &[0; 32]);
    w.e.offload(3, GEN, &TcpRecord { tcp_state: TcpState::SynSent.code(), ..given }, &[0; 32]);
    w.run();
    let got: Vec<u64> = w.e.answers.drain(..).map(|a| a.0).collect();
    let want = [Status::Success, Status::TcpEntries, Status::TcpRcvWindow, Status::Rejected].map(code);
    assert_eq!(got, want);
}
