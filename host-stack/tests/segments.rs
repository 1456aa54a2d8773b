//! One stack against hand-made segments: the rules that two polite stacks never reach.
//!
//! The peer is a few numbers and etherparse; it has no options but what a test gives it.

use chimney_abi::cmd::TcpState;
use chimney_host_stack::{Address, ConnId, MacAddr, Stack, StackConfig, TcpConfig};
use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TcpHeader, TcpOptionElement, TransportSlice};
use std::net::{Ipv4Addr, SocketAddr};

const OUR_IP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const PEER_IP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const OUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const PORT: u16 = 80;
const ISS: u32 = 0xFFFF_FF00;

struct Rig {
    stack: Stack,
    now_us: u64,
    id: Option<ConnId>,
    our_port: u16,
    /// What the peer sends next, and what it expects.
    seq: u32,
    ack: u32,
}

impl Rig {
    fn new(tcp: TcpConfig) -> Rig {
        let config = StackConfig {
            mac: MacAddr(OUR_MAC),
            addresses: vec![Address::new(OUR_IP, 24)],
            mtu: 1500,
            secret: 1,
            tcp,
        };
        let mut stack = Stack::new(config);
        stack.add_neighbor(0, PEER_IP.into(), MacAddr(PEER_MAC));
        Rig { stack, now_us: 1_000_000, id: None, our_port: 0, seq: ISS, ack: 0 }
    }

    /// Connects to the peer, which speaks no options.
    fn connected() -> Rig {
        Rig::connected_with(&[])
    }

    /// Connects to the peer, whose SYN has these options.
    fn connected_with(options: &[TcpOptionElement]) -> Rig {
        let mut rig = Rig::new(TcpConfig { is_nagle: false, ..TcpConfig::default() });
        let id = rig.stack.connect(rig.now_us, SocketAddr::new(PEER_IP.into(), PORT)).expect("a free port");
        let syn = rig.sent_one();
        assert!(syn.syn && !syn.ack);
        (rig.id, rig.our_port) = (Some(id), syn.source_port);
        rig.ack = syn.sequence_number.wrapping_add(1);
        let answer = |h: &mut TcpHeader| {
            (h.syn, h.ack) = (true, true);
            h.set_options(options).expect("they fit");
        };
        rig.give(answer, b"");
        rig.seq = rig.seq.wrapping_add(1);
        let ack = rig.sent_one();
        assert!(ack.ack && ack.acknowledgment_number == rig.seq);
        rig
    }

    /// Sends a segment of the peer, changed by `edit`.
    fn give(&mut self, edit: impl FnOnce(&mut TcpHeader), text: &[u8]) {
        let mut header = TcpHeader::new(PORT, self.our_port, self.seq, 10_000);
        header.ack = true;
        header.acknowledgment_number = self.ack;
        edit(&mut header);
        let builder = PacketBuilder::ethernet2(PEER_MAC, OUR_MAC).ipv4(PEER_IP.octets(), OUR_IP.octets(), 64);
        let mut frame = Vec::new();
        builder.tcp_header(header).write(&mut frame, text).expect("fits");
        self.stack.handle_frame(self.now_us, &frame);
    }

    /// What the stack sends now.
    fn sent(&mut self) -> Vec<(TcpHeader, Vec<u8>)> {
        let read = |frame: Vec<u8>| {
            let packet = SlicedPacket::from_ethernet(&frame).expect("well formed");
            let Some(TransportSlice::Tcp(tcp)) = packet.transport else { panic!("not TCP") };
            (tcp.to_header(), tcp.payload().to_vec())
        };
        self.stack.poll(self.now_us).into_iter().map(read).collect()
    }

    fn sent_one(&mut self) -> TcpHeader {
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1, "{sent:?}");
        sent.remove(0).0
    }

    fn state(&self) -> TcpState {
        self.stack.status(self.id.expect("connected")).expect("known").state
    }

    fn wait(&mut self, us: u64) {
        self.now_us += us;
    }
}

/// Verifies
#[test]
fn blind_resets_and_syns_are_challenged() {
    let mut rig = Rig::connected();
    let seq = rig.seq;
    rig.give(|h| (h.rst, h.sequence_number) = (true, seq.wrapping_add(100)), b"");
    let challenge = rig.sent_one();
    assert_eq!((challenge.acknowledgment_number, challenge.rst), (seq, false));
    rig.give(|h| (h.rst, h.sequence_number) = (true, seq.wrapping_add(101)), b"");
    assert!(rig.sent().is_empty(), "at most one challenge ACK in a while");
    rig.give(|h| (h.rst, h.sequence_number) = (true, seq.wrapping_sub(1)), b"");
    assert!(rig.sent().is_empty(), "outside the window: silence");
    rig.wait(1_000_000);
    rig.give(|h| h.syn = true, b"");
    assert!(!rig.sent_one().rst);
    assert_eq!(rig.state(), TcpState::Established);
    rig.give(|h| h.rst = true, b"");
    assert_eq!(rig.state(), TcpState::Closed);
}

#[test]
fn acknowledgments_of_what_was_never_sent_are_refused() {
    let mut rig = Rig::connected();
    let ack = rig.ack;
    rig.give(|h| h.acknowledgment_number = ack.wrapping_add(1000), b"text");
    assert_eq!(rig.sent_one().acknowledgment_number, rig.seq, "the text was not taken");
    rig.wait(1_000_000);
    rig.give(|h| h.acknowledgment_number = ack.wrapping_sub(100_000), b"text");
    assert_eq!(rig.sent_one().acknowledgment_number, rig.seq, "RFC 5961 5.2");
}

/// Verifies: R-247
#[test]
fn one_segment_is_acknowledged_after_the_delay_and_two_at_once() {
    let mut rig = Rig::connected();
    rig.give(|_| {}, &[1; 1460]);
    assert!(rig.sent().is_empty());
    let deadline = rig.stack.next_deadline().expect("the delayed ACK");
    assert_eq!(deadline, rig.now_us + 40_000);
    rig.now_us = deadline;
    rig.seq = rig.seq.wrapping_add(1460);
    assert_eq!(rig.sent_one().acknowledgment_number, rig.seq);
    for _ in 0..2 {
        rig.give(|_| {}, &[1; 1460]);
        rig.seq = rig.seq.wrapping_add(1460);
    }
    assert_eq!(rig.sent_one().acknowledgment_number, rig.seq);
}

#[test]
fn three_duplicates_retransmit_and_a_partial_acknowledgment_too() {
    let mut rig = Rig::connected();
    let id = rig.id.expect("connected");
    rig.stack.send(id, &[7; 8 * 536]).expect("open");
    let sent = rig.sent();
    assert_eq!(sent.len(), 8, "ten segments of 536 bytes are the initial window");
    let first = rig.ack;
    for _ in 0..2 {
        rig.give(|_| {}, b"");
        assert!(rig.sent().is_empty());
    }
    rig.give(|_| {}, b"");
    assert_eq!(rig.sent_one().sequence_number, first);
    rig.ack = first.wrapping_add(3 * 536);
    rig.give(|_| {}, b"");
    assert_eq!(rig.sent_one().sequence_number, rig.ack, "the next hole, at once");
    rig.ack = first.wrapping_add(8 * 536);
    rig.give(|_| {}, b"");
    assert!(rig.sent().is_empty());
    assert_eq!(rig.stack.stats(id).expect("known").timeouts, 0);
}

/// RFC 6056 3.3.3: one after the other, from anywhere in the range.
#[test]
fn active_opens_take_one_port_after_the_other() {
    let mut rig = Rig::new(TcpConfig::default());
    let peer = SocketAddr::new(PEER_IP.into(), PORT);
    let mut ports = Vec::new();
    for _ in 0..300 {
        rig.stack.connect(rig.now_us, peer).expect("a free port");
        ports.push(rig.sent_one().source_port);
    }
    assert!(ports.iter().all(|port| *port >= 49_152), "{ports:?}");
    assert!(ports.windows(2).all(|two| two[1] == two[0].wrapping_add(1).max(49_152)), "{ports:?}");
    assert!(ports[0] > 49_152, "a start of its own: {}", ports[0]);
}

#[test]
fn an_acknowledgment_lies_in_a_window_that_shrank() {
    let mut rig = Rig::connected();
    rig.stack.send(rig.id.expect("connected"), &[7; 4 * 536]).expect("open");
    assert_eq!(rig.sent().len(), 4);
    // It took the first two, had no room for the others, and sends something itself that wants an answer.
    rig.ack = rig.ack.wrapping_add(2 * 536);
    for _ in 0..2 {
        rig.give(|h| h.window_size = 100, &[1; 1460]);
        rig.seq = rig.seq.wrapping_add(1460);
    }
    let answer = rig.sent_one();
    assert_eq!((answer.sequence_number, answer.acknowledgment_number), (rig.ack.wrapping_add(100), rig.seq));
}

#[test]
fn retransmission_timeouts_double_and_end_the_connection() {
    let mut rig = Rig::connected();
    rig.stack.send(rig.id.expect("connected"), b"x").expect("open");
    rig.sent_one();
    let mut last = rig.now_us;
    let mut waits = Vec::new();
    while let Some(deadline) = rig.stack.next_deadline() {
        rig.now_us = deadline;
        rig.stack.add_neighbor(deadline, PEER_IP.into(), MacAddr(PEER_MAC));
        if rig.sent().is_empty() {
            break;
        }
        waits.push(deadline - last);
        last = deadline;
    }
    assert_eq!(waits[..4], [200_000, 400_000, 800_000, 1_600_000]);
    assert_eq!((waits.len(), waits.last()), (15, Some(&60_000_000)));
    assert_eq!(rig.state(), TcpState::Closed);
}

#[test]
fn keepalive_probes_an_idle_peer_until_it_is_dead() {
    let tcp = TcpConfig { keep_alive_us: Some(10_000_000), keep_alive_probes: 2, ..TcpConfig::default() };
    let mut rig = Rig::new(tcp);
    let id = rig.stack.connect(rig.now_us, SocketAddr::new(PEER_IP.into(), PORT)).expect("a free port");
    let syn = rig.sent_one();
    (rig.id, rig.our_port, rig.ack) = (Some(id), syn.source_port, syn.sequence_number.wrapping_add(1));
    rig.give(|h| h.syn = true, b"");
    rig.seq = rig.seq.wrapping_add(1);
    rig.sent_one();
    rig.wait(10_000_000);
    assert_eq!(rig.sent_one().sequence_number, rig.ack.wrapping_sub(1), "left of the window");
    rig.give(|_| {}, b"");
    rig.wait(9_999_999);
    assert!(rig.sent().is_empty(), "an answer restarts the idle time");
    rig.wait(1);
    rig.sent_one();
    rig.wait(1_000_000);
    rig.sent_one();
    rig.wait(1_000_000);
    assert!(rig.sent().is_empty());
    assert_eq!(rig.state(), TcpState::Closed);
}

#[test]
fn simultaneous_open_meets_in_established() {
    let mut rig = Rig::new(TcpConfig::default());
    let id = rig.stack.connect(rig.now_us, SocketAddr::new(PEER_IP.into(), PORT)).expect("a free port");
    let syn = rig.sent_one();
    (rig.id, rig.our_port, rig.ack) = (Some(id), syn.source_port, syn.sequence_number.wrapping_add(1));
    rig.give(|h| (h.syn, h.ack) = (true, false), b"");
    let answer = rig.sent_one();
    assert!(answer.syn && answer.ack);
    assert_eq!(rig.state(), TcpState::SynRcvd);
    rig.give(|h| h.syn = true, b"");
    assert_eq!(rig.state(), TcpState::Established);
}

#[test]
fn new_syn_ends_time_wait() {
    let mut rig = Rig::connected();
    let id = rig.id.expect("connected");
    rig.stack.listen(rig.our_port, 4).expect("free");
    rig.stack.close(id).expect("open");
    rig.sent_one();
    rig.ack = rig.ack.wrapping_add(1);
    rig.give(|h| h.fin = true, b"");
    rig.sent_one();
    assert_eq!(rig.state(), TcpState::TimeWait);
    rig.seq = rig.seq.wrapping_add(100_000);
    rig.give(|h| (h.syn, h.ack) = (true, false), b"");
    let answer = rig.sent_one();
    assert!(answer.syn && answer.ack && answer.acknowledgment_number == rig.seq.wrapping_add(1));
}

#[test]
fn text_after_close_is_answered_with_a_reset() {
    let mut rig = Rig::connected();
    rig.stack.close(rig.id.expect("connected")).expect("open");
    rig.sent_one();
    rig.give(|_| {}, b"too late");
    assert!(rig.sent().iter().any(|(header, _)| header.rst));
}

/// The report of a router that `frame` is too long.
fn fragmentation_needed(frame: &[u8], mtu: u16, seq_change: u8) -> Vec<u8> {
    let mut quoted = frame[14..14 + 28].to_vec();
    quoted[24] ^= seq_change;
    let builder = PacketBuilder::ethernet2(PEER_MAC, OUR_MAC).ipv4([10, 0, 0, 9], OUR_IP.octets(), 64);
    let kind = etherparse::Icmpv4Type::DestinationUnreachable(
        etherparse::icmpv4::DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: mtu },
    );
    let mut icmp = Vec::new();
    builder.icmpv4(kind).write(&mut icmp, &quoted).expect("fits");
    icmp
}

#[test]
fn a_smaller_path_makes_a_connection_with_sack_send_everything_again_and_then_rest() {
    let options =
        [TcpOptionElement::MaximumSegmentSize(1460), TcpOptionElement::SelectiveAcknowledgementPermitted];
    let mut rig = Rig::connected_with(&options);
    let id = rig.id.expect("connected");
    rig.stack.send(id, &[1; 2920]).expect("open");
    let frames = rig.stack.poll(rig.now_us);
    assert_eq!(frames.len(), 2);
    rig.stack.handle_frame(rig.now_us, &fragmentation_needed(&frames[0], 1040, 0));
    let lengths: Vec<usize> = rig.sent().iter().map(|s| s.1.len()).collect();
    assert_eq!(lengths, [1000, 1000, 920]);
    assert_ne!(rig.stack.next_deadline(), Some(0), "nothing is owed any more");
}

#[test]
fn a_lost_tail_is_probed_before_the_timeout() {
    let options =
        [TcpOptionElement::MaximumSegmentSize(1460), TcpOptionElement::SelectiveAcknowledgementPermitted];
    let mut rig = Rig::connected_with(&options);
    let id = rig.id.expect("connected");
    // One round trip of 50 ms is known.
    rig.stack.send(id, &[1; 1460]).expect("open");
    rig.sent();
    rig.wait(50_000);
    rig.ack = rig.ack.wrapping_add(1460);
    rig.give(|_| {}, b"");
    rig.stack.send(id, &[2; 2920]).expect("open");
    assert_eq!(rig.sent().len(), 2);
    let deadline = rig.stack.next_deadline().expect("a probe");
    let rtt_us = rig.stack.tcb(id).expect("known").rtt.srtt_x8 / 8;
    assert_eq!(deadline, rig.now_us + 2 * u64::from(rtt_us));
    rig.wait(deadline - rig.now_us);
    let probe = rig.sent_one();
    assert_eq!(probe.sequence_number, rig.ack.wrapping_add(1460), "the last segment");
}

#[test]
fn fragmentation_needed_makes_segments_smaller_and_sends_them_again() {
    let mut rig = Rig::connected();
    let id = rig.id.expect("connected");
    rig.stack.send(id, &[1; 536]).expect("open");
    let frame = rig.stack.poll(rig.now_us).remove(0);
    rig.stack.handle_frame(rig.now_us, &fragmentation_needed(&frame, 576, 0x80));
    assert!(rig.sent().is_empty(), "RFC 5927: a sequence number that is not in flight");
    rig.stack.handle_frame(rig.now_us, &fragmentation_needed(&frame, 576, 0));
    let sent = rig.sent();
    assert_eq!((sent.len(), sent[0].1.len()), (1, 536), "576 less two headers is what it was");
}

#[test]
fn echo_requests_and_arp_requests_are_answered() {
    let mut rig = Rig::new(TcpConfig::default());
    let builder = PacketBuilder::ethernet2(PEER_MAC, OUR_MAC).ipv4(PEER_IP.octets(), OUR_IP.octets(), 64);
    let mut frame = Vec::new();
    builder.icmpv4_echo_request(7, 9).write(&mut frame, b"abc").expect("fits");
    rig.stack.handle_frame(rig.now_us, &frame);
    let reply = rig.stack.poll(rig.now_us).remove(0);
    let packet = SlicedPacket::from_ethernet(&reply).expect("well formed");
    let Some(NetSlice::Ipv4(ip)) = &packet.net else { panic!("not IPv4") };
    assert_eq!(ip.header().destination_addr(), PEER_IP);
    let Some(TransportSlice::Icmpv4(icmp)) = packet.transport else { panic!("not ICMP") };
    assert_eq!(
        icmp.header().icmp_type,
        etherparse::Icmpv4Type::EchoReply(etherparse::IcmpEchoHeader { id: 7, seq: 9 })
    );
    assert_eq!(icmp.payload()[..3], *b"abc");
    assert_eq!(icmp.header().checksum, icmp.header().icmp_type.calc_checksum(icmp.payload()));

    let mut arp = vec![0xFF; 6];
    arp.extend(PEER_MAC);
    arp.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    arp.extend(PEER_MAC);
    arp.extend(PEER_IP.octets());
    arp.extend([0; 6]);
    arp.extend(OUR_IP.octets());
    rig.stack.handle_frame(rig.now_us, &arp);
    let reply = rig.stack.poll(rig.now_us).remove(0);
    assert_eq!(reply[..6], PEER_MAC);
    assert_eq!(reply[20..32], [0, 2, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1]);
}

/// An echo request of the peer with so many bytes.
fn echo_request(len: usize) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(PEER_MAC, OUR_MAC).ipv4(PEER_IP.octets(), OUR_IP.octets(), 64);
    let mut frame = Vec::new();
    builder.icmpv4_echo_request(7, 9).write(&mut frame, &vec![5; len]).expect("fits");
    frame
}

#[test]
fn an_echo_request_longer_than_the_link_is_counted_and_not_answered() {
    let mut rig = Rig::new(TcpConfig::default());
    for (len, answers) in [(1500 - 28, 1), (1500 - 28 + 1, 0), (9000, 0)] {
        rig.stack.handle_frame(rig.now_us, &echo_request(len));
        let replies = rig.stack.poll(rig.now_us);
        assert_eq!(replies.len(), answers, "{len}");
        assert!(replies.iter().all(|r| r.len() <= 1514), "{len}");
    }
    assert_eq!(rig.stack.counters().too_long, 2);
}
