//! Framing and family of a connection: 802.1Q, LLC/SNAP and IPv6, as neighbor, path and connection object say.

mod golden_rig;

use chimney_abi::cmd::{ImageKind, Opcode, Status};
use chimney_abi::regs;
use chimney_abi::state::*;
use chimney_abi::wire::ethernet;
use chimney_sim::device::Device;
use chimney_sim::golden::Config;
use chimney_sim::net::guise::{Guise, V6};
use golden_rig::wire::Seg;
use golden_rig::*;

const LABEL: u32 = 0xa_5c3e;

/// Every combination of no tag, priority alone, id alone and both, of both framings, and of both families.
fn all() -> Vec<Guise> {
    let tags = [None, Some(3 << 13), Some(5), Some(7 << 13 | 5)];
    let pairs = tags.iter().flat_map(|tci| [(*tci, false), (*tci, true)]);
    let v6 = Some(V6 { flow_label: LABEL });
    pairs.flat_map(|(tci, is_llc_snap)| [None, v6].map(|v6| Guise { tci, is_llc_snap, v6 })).collect()
}

fn rig_in(guise: Guise) -> Rig {
    let mut rig = Rig::in_guise(false, Config::default(), guise);
    assert_eq!(rig.offload(0, 1, |_| {}), Status::Success);
    rig
}

fn neighbor_body(change: impl FnOnce(&mut NeighborImage)) -> [u8; NeighborImage::BYTES] {
    let mut body =
        NeighborImage { dst_mac: 0x0200_0000_0002u64.swap_bytes() >> 16, ..NeighborImage::default() };
    change(&mut body);
    body.to_bytes()
}

/// Verifies
#[test]
fn every_framing_and_family_carries_text_both_ways() {
    for guise in all() {
        let mut rig = rig_in(guise);
        let len = 3 * u32::from(rig.mss());
        rig.send(ISS, &pattern(ISS, len as usize));
        // `sent` has looked at tag, framing, family and flow label.
        let sent = rig.sent();
        let lengths: Vec<_> = sent.iter().map(|s| s.text.len() as u16).collect();
        assert_eq!(lengths, [rig.mss(); 3], "{guise:?}");
        assert!(sent.iter().all(|s| s.text == pattern(s.seq, s.text.len())));
        rig.peer(Seg::new(IRS, ISS + len).text(&pattern(IRS, 1000)));
        rig.peer(Seg::new(IRS + 1000, ISS + len).text(&pattern(IRS + 1000, 1)));
        assert_eq!(rig.pooled(0, IRS, 1001), pattern(IRS, 1001), "{guise:?}");
        assert_eq!(rig.sent_one().ack, IRS + 1001);
        assert!(rig.handed_up().is_empty());
    }
}

/// Verifies
#[test]
fn only_ipv4_packets_take_an_identification() {
    for (v6, used) in [(None, 2), (Some(V6::default()), 0)] {
        let mut rig = rig_in(Guise { v6, ..Guise::default() });
        rig.send(ISS, b"first");
        rig.peer(Seg::new(IRS, ISS + 5));
        rig.send(ISS + 5, b"second");
        let h = header(ImageKind::Path, 0, 0, PathImage::BYTES);
        let (status, body) = rig.image(Opcode::Query, h, &[0; PathImage::BYTES]);
        let path = PathImage::from_bytes(&body);
        assert_eq!((status, path.ip_id_counter), (Status::Success, used));
    }
}

/// The neighbor's id decides; any priority, and either framing (RFC 1122 2.3.3), is accepted. What is not goes up (law L4).
///
/// Verifies: R-284
#[test]
fn a_neighbor_with_an_id_takes_frames_of_that_id_alone() {
    let tags = [None, Some(0), Some(3 << 13), Some(5), Some(6 << 13 | 5), Some(6), Some(5 << 13 | 6)];
    for neighbor in [None, Some(5)] {
        for (tci, is_llc_snap) in tags.iter().flat_map(|t| [(*t, false), (*t, true)]) {
            let mut rig = rig_in(Guise { tci: neighbor, ..Guise::default() });
            let frame =
                Guise { tci, is_llc_snap, v6: None }.dress(&Seg::new(IRS, ISS).text(b"hello").frame());
            rig.nic.rx_frame(&frame, false);
            rig.settle();
            let accepted = neighbor.is_none() || tci.is_some_and(|tci| tci & ethernet::VLAN_ID_MASK == 5);
            assert_eq!(rig.shadow(0).rcv_nxt, IRS + if accepted { 5 } else { 0 }, "{neighbor:?} {tci:?}");
            let up: Vec<_> = rig.handed_up().into_iter().map(|(f, _)| f).collect();
            assert_eq!(up, if accepted { vec![] } else { vec![frame] });
            assert_eq!(rig.count(&regs::CNT_HANDED_UP), 0, "it was never this connection's");
        }
    }
}

/// Verifies
#[test]
fn an_update_changes_what_the_headers_say() {
    let v6 = Some(V6 { flow_label: LABEL });
    let mut rig = rig_in(Guise { tci: Some(5), is_llc_snap: false, v6 });
    let mut record = rig.record(0);
    (record.flow_label, record.user_priority) = (0xffff_0001, 2);
    (record.tos, record.ttl) = (0xb8, 3);
    assert_eq!(rig.update(0, 1, &record), Status::Success);
    let h = header(ImageKind::Neighbor, 0, 0, NeighborImage::BYTES);
    let body = neighbor_body(|n| (n.vlan, n.flags) = (9, NEIGHBOR_LLC_SNAP));
    assert_eq!(rig.image(Opcode::Update, h, &body).0, Status::Success);
    rig.send(ISS, b"x");
    let frame = rig.nic.pop_tx_frame().expect("sent");
    let (seen, plain) = Guise::undress(&frame).expect("in order");
    let v6 = Some(V6 { flow_label: 0xf_0001 });
    assert_eq!(seen, Guise { tci: Some(2 << 13 | 5), is_llc_snap: true, v6 }, "the id is CONST");
    assert_eq!((plain[15], plain[22]), (0xb8, 3), "traffic class and hop limit");
}

/// Verifies
#[test]
fn what_no_frame_can_carry_is_refused() {
    let mut rig = Rig::new();
    let h = |id| header(ImageKind::Neighbor, id, 0, NeighborImage::BYTES);
    let mut offer = |id, body: &[u8; NeighborImage::BYTES]| rig.image(Opcode::Initiate, h(id), body).0;
    assert_eq!(offer(1, &neighbor_body(|n| n.vlan = 0xfff)), Status::VlanMismatch);
    assert_eq!(offer(1, &neighbor_body(|n| n.vlan = 0x1005)), Status::VlanMismatch);
    assert_eq!(offer(1, &neighbor_body(|n| n.vlan = ethernet::MAX_VLAN_ID)), Status::Success);
    assert_eq!(offer(2, &neighbor_body(|n| n.flags = NEIGHBOR_LLC_SNAP)), Status::Success);
    let table = [
        (1, 0, 9000, Status::Success),
        (1, 0, 9001, Status::PathMtu),
        (2, 0, 1492, Status::Success),
        (2, 0, 1493, Status::PathMtu),
        (1, 0, 68, Status::Success),
        (1, 0, 67, Status::Rejected),
        (1, PATH_IPV6, 1280, Status::Success),
        (1, PATH_IPV6, 1279, Status::Rejected),
    ];
    for (id, (parent, flags, mtu, want)) in (1..).zip(table) {
        let body = PathImage { flags, mtu, ..PathImage::default() }.to_bytes();
        let h = header(ImageKind::Path, id, parent, PathImage::BYTES);
        assert_eq!(rig.image(Opcode::Initiate, h, &body).0, want, "{parent} {flags} {mtu}");
    }
    assert_eq!(rig.offload(0, 1, |r| r.const_flags = CONST_IPV6), Status::Rejected, "its path is IPv4");
    let mut six =
        Rig::in_guise(false, Config::default(), Guise { v6: Some(V6::default()), ..Guise::default() });
    assert_eq!(six.offload(0, 1, |r| r.const_flags = 0), Status::Rejected, "its path is IPv6");
    assert_eq!(six.offload(0, 1, |r| r.eff_mss = 1441), Status::Rejected);
    assert_eq!(six.offload(0, 1, |r| r.eff_mss = 1440), Status::Success);
}

/// An IPv6 address is another one than the IPv4 address in its first bytes.
#[test]
fn families_do_not_meet_in_the_lookup() {
    let mut rig = rig_in(Guise { v6: Some(V6::default()), ..Guise::default() });
    let frame = Seg::new(IRS, ISS).text(b"hello").frame();
    rig.nic.rx_frame(&frame, false);
    rig.settle();
    assert_eq!((rig.shadow(0).rcv_nxt, rig.handed_up().len()), (IRS, 1));
}

/// Verifies
#[test]
fn ipv6_extension_headers_go_up_unmodified() {
    let guise = Guise { v6: Some(V6::default()), ..Guise::default() };
    let mut rig = rig_in(guise);
    // Hop-by-hop, routing, fragment, destination options: 8 bytes, then TCP.
    for next_header in [0, 43, 44, 60] {
        let mut frame = guise.dress(&Seg::new(IRS, ISS).text(b"hello").frame());
        frame.splice(54..54, [6, 0, 1, 4, 0, 0, 0, 0]);
        frame[20] = next_header;
        frame[19] += 8;
        rig.nic.rx_frame(&frame, false);
        rig.settle();
        assert_eq!(rig.handed_up().into_iter().map(|(f, _)| f).collect::<Vec<_>>(), [frame]);
    }
    assert_eq!(rig.shadow(0).rcv_nxt, IRS);
}

/// Trailing bytes are the link's: neither the 802.3 length nor the frame's says how long a segment is.
#[test]
fn padding_is_no_text() {
    for guise in all() {
        let mut rig = rig_in(guise);
        for (i, text) in [&b""[..], b"a", b"bc"].into_iter().enumerate() {
            let seq = IRS + [0, 0, 1][i];
            let mut frame = guise.dress(&Seg::new(seq, ISS).text(text).frame());
            frame.resize(frame.len() + 4, 0x55);
            rig.nic.rx_frame(&frame, false);
            rig.settle();
            assert_eq!(rig.shadow(0).rcv_nxt, seq + text.len() as u32, "{guise:?}");
        }
        assert!(rig.handed_up().is_empty());
    }
}
