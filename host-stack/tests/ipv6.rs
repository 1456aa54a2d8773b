//! One stack with an IPv6 address against hand-made frames; what two stacks say to each other is in `pair`.

use chimney_host_stack::{Address, ConnId, MacAddr, Stack, StackConfig, StackError, TcpConfig};
use etherparse::{icmpv6, Icmpv6Type, NetSlice, PacketBuilder, SlicedPacket, TcpHeader, TransportSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const OUR_IP: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
const PEER_IP: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);
const ROUTER_IP: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 9);
const OUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const PORT: u16 = 80;
const ETHERNET: usize = 14;
const IPV6: usize = 40;

fn stack() -> Stack {
    let mut stack = Stack::new(StackConfig {
        mac: MacAddr(OUR_MAC),
        addresses: vec![Address::new(OUR_IP, 64)],
        mtu: 1500,
        secret: 1,
        tcp: TcpConfig { is_nagle: false, ..TcpConfig::default() },
    });
    stack.add_neighbor(0, PEER_IP.into(), MacAddr(PEER_MAC));
    stack.add_neighbor(0, ROUTER_IP.into(), MacAddr(PEER_MAC));
    stack
}

/// A connection to a peer whose SYN has no options, and the port it has.
fn connected(stack: &mut Stack) -> (ConnId, u32) {
    let id = stack.connect(0, SocketAddr::new(PEER_IP.into(), PORT)).expect("a free port");
    let syn = stack.poll(0).remove(0);
    let (header, _) = tcp(&syn);
    let mut answer = TcpHeader::new(PORT, header.source_port, 1000, 60_000);
    (answer.syn, answer.ack) = (true, true);
    answer.acknowledgment_number = header.sequence_number.wrapping_add(1);
    stack.handle_frame(0, &from_peer(|b, out| b.tcp_header(answer.clone()).write(out, b"").expect("fits")));
    stack.poll(0);
    (id, header.sequence_number)
}

type Ipv6Builder = etherparse::PacketBuilderStep<etherparse::IpHeaders>;

fn from_peer(write: impl FnOnce(Ipv6Builder, &mut Vec<u8>)) -> Vec<u8> {
    from(PEER_IP, write)
}

fn from(src: Ipv6Addr, write: impl FnOnce(Ipv6Builder, &mut Vec<u8>)) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(PEER_MAC, OUR_MAC).ipv6(src.octets(), OUR_IP.octets(), 64);
    let mut frame = Vec::new();
    write(builder, &mut frame);
    frame
}

/// A sent frame's TCP header and text, its checksum verified.
fn tcp(frame: &[u8]) -> (TcpHeader, Vec<u8>) {
    let packet = SlicedPacket::from_ethernet(frame).expect("well formed");
    let Some(NetSlice::Ipv6(ip)) = &packet.net else { panic!("not IPv6") };
    let Some(TransportSlice::Tcp(tcp)) = packet.transport else { panic!("not TCP") };
    let header = ip.header().to_header();
    let sum = tcp.calc_checksum_ipv6(header.source, header.destination).expect("fits");
    assert_eq!(sum, tcp.checksum());
    (tcp.to_header(), tcp.payload().to_vec())
}

/// The report of a router that `frame` is too long.
fn too_big(frame: &[u8], mtu: u32, seq_change: u8) -> Vec<u8> {
    let mut quoted = frame[ETHERNET..][..IPV6 + 20].to_vec();
    quoted[IPV6 + 4] ^= seq_change;
    let write = |b: Ipv6Builder, out: &mut Vec<u8>| {
        b.icmpv6(Icmpv6Type::PacketTooBig { mtu }).write(out, &quoted).expect("fits");
    };
    from(ROUTER_IP, write)
}

#[test]
fn segments_fit_what_the_family_leaves() {
    let mut stack = stack();
    let (id, _) = connected(&mut stack);
    // RFC 9293 3.7.1: 1220 from a peer that names no MSS.
    stack.send(id, &[1; 3000]).expect("open");
    let lengths: Vec<usize> = stack.poll(0).iter().map(|f| tcp(f).1.len()).collect();
    assert_eq!(lengths, [1220, 1220, 560]);
}

#[test]
fn packet_too_big_makes_segments_smaller_only_for_a_segment_in_flight() {
    let mut stack = stack();
    let id = stack.connect(0, SocketAddr::new(PEER_IP.into(), PORT)).expect("a free port");
    let syn = tcp(&stack.poll(0).remove(0)).0;
    let mut answer = TcpHeader::new(PORT, syn.source_port, 1000, 60_000);
    (answer.syn, answer.ack) = (true, true);
    answer.acknowledgment_number = syn.sequence_number.wrapping_add(1);
    answer.set_options(&[etherparse::TcpOptionElement::MaximumSegmentSize(1440)]).expect("it fits");
    stack.handle_frame(0, &from_peer(|b, out| b.tcp_header(answer).write(out, b"").expect("fits")));
    stack.poll(0);
    stack.send(id, &[1; 1440]).expect("open");
    let frame = stack.poll(0).remove(0);
    assert_eq!(tcp(&frame).1.len(), 1440);
    stack.handle_frame(0, &too_big(&frame, 1300, 0x80));
    assert!(stack.poll(0).is_empty(), "RFC 5927: a sequence number that is not in flight");
    // RFC 8201 4: never below 1280.
    stack.handle_frame(0, &too_big(&frame, 600, 0));
    let lengths: Vec<usize> = stack.poll(0).iter().map(|f| tcp(f).1.len()).collect();
    assert_eq!(lengths, [1220], "the first one, at once");
}

#[test]
fn echo_requests_are_answered_from_the_address_that_was_asked() {
    let mut stack = stack();
    let frame = from_peer(|b, out| b.icmpv6_echo_request(7, 9).write(out, b"abc").expect("fits"));
    stack.handle_frame(0, &frame);
    let reply = stack.poll(0).remove(0);
    let packet = SlicedPacket::from_ethernet(&reply).expect("well formed");
    let Some(NetSlice::Ipv6(ip)) = &packet.net else { panic!("not IPv6") };
    let (src, dst) = (ip.header().source_addr(), ip.header().destination_addr());
    assert_eq!((src, dst), (OUR_IP, PEER_IP));
    let Some(TransportSlice::Icmpv6(icmp)) = packet.transport else { panic!("not ICMP") };
    assert!(icmp.is_checksum_valid(src.octets(), dst.octets()));
    assert_eq!(icmp.icmp_type(), Icmpv6Type::EchoReply(etherparse::IcmpEchoHeader { id: 7, seq: 9 }));
    assert_eq!(icmp.payload(), b"abc");
}

/// RFC 4861 7.2.3: asked in the group, which the frame's MAC address names.
#[test]
fn a_question_in_the_group_of_our_address_is_answered() {
    let mut stack = stack();
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 1);
    let mut target = OUR_IP.octets().to_vec();
    target.extend([1, 1]);
    target.extend(PEER_MAC);
    let solicit = |group_mac, hop_limit| {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(PEER_MAC, group_mac)
            .ipv6(PEER_IP.octets(), group.octets(), hop_limit)
            .icmpv6_raw(icmpv6::TYPE_NEIGHBOR_SOLICITATION, 0, [0; 4])
            .write(&mut frame, &target)
            .expect("fits");
        frame
    };
    let ours = [0x33, 0x33, 0xff, 0, 0, 1];
    stack.handle_frame(0, &solicit([0x33, 0x33, 0xff, 0, 0, 7], 255));
    assert_eq!(stack.counters().not_ours, 1, "somebody else's group");
    stack.handle_frame(0, &solicit(ours, 254));
    assert_eq!(stack.counters().malformed, 1, "it has passed a router");
    assert!(stack.poll(0).is_empty());
    stack.handle_frame(0, &solicit(ours, 255));
    let answer = stack.poll(0).remove(0);
    let packet = SlicedPacket::from_ethernet(&answer).expect("well formed");
    let Some(TransportSlice::Icmpv6(icmp)) = packet.transport else { panic!("not ICMP") };
    assert_eq!((answer[..6].to_vec(), icmp.type_u8()), (PEER_MAC.to_vec(), 136));
    assert!(icmp.is_checksum_valid(OUR_IP.octets(), PEER_IP.octets()));
}

/// RFC 4861 7.2.6: a neighbor whose MAC address changed tells all nodes.
#[test]
fn a_neighbor_that_moves_tells_all_nodes_and_is_believed() {
    let mut stack = stack();
    let (id, _) = connected(&mut stack);
    let (moved, all_nodes) = ([2, 0, 0, 0, 0, 9], Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1));
    let mut target = PEER_IP.octets().to_vec();
    target.extend([2, 1]);
    target.extend(moved);
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(moved, [0x33, 0x33, 0, 0, 0, 1])
        .ipv6(PEER_IP.octets(), all_nodes.octets(), 255)
        .icmpv6_raw(icmpv6::TYPE_NEIGHBOR_ADVERTISEMENT, 0, [0x20, 0, 0, 0])
        .write(&mut frame, &target)
        .expect("fits");
    stack.handle_frame(0, &frame);
    stack.send(id, b"where are you").expect("open");
    assert_eq!(stack.poll(0).remove(0)[..6], moved);
}

#[test]
fn a_family_without_an_address_is_refused_by_name() {
    let mut stack = stack();
    let four = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)), PORT);
    assert_eq!(stack.connect(0, four), Err(StackError::NoAddress));
}
