//! What must hold for every frame, read by somebody else's parser.

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use std::collections::HashMap;

/// Ports of a connection, sender's first.
type Flow = (usize, u16, u16);

/// Checks frames and remembers windows.
#[derive(Default)]
pub struct Oracle {
    /// RSTs seen; a test that expects none checks this.
    pub resets: u64,
    /// Segments with SACK blocks.
    pub sacks: u64,
    /// TCP segments.
    pub segments: u64,
    /// Segments with ECE and segments with CWR, SYNs apart, and ECN-capable ones.
    pub ecn: [u64; 3],
    shifts: HashMap<Flow, Option<u8>>,
    edges: HashMap<Flow, u32>,
    labels: HashMap<Flow, u32>,
}

impl Oracle {
    /// RFC 6437 3: all packets of a connection in one direction have the same flow label.
    fn check_label(&mut self, from: usize, (src, dst): (u16, u16), label: u32) {
        assert_eq!(*self.labels.entry((from, src, dst)).or_insert(label), label, "flow label");
    }

    /// Checks a frame; true if it is an RST.
    pub fn check(&mut self, from: usize, frame: &[u8]) -> bool {
        assert!(frame.len() >= 60 && frame.len() <= 1514, "length {}", frame.len());
        let packet = SlicedPacket::from_ethernet(frame).expect("etherparse reads the frame");
        let (ecn, tcp, sum) = match (&packet.net, &packet.transport) {
            (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Tcp(tcp))) => {
                let header = ip.header().to_header();
                assert_eq!(header.calc_header_checksum(), header.header_checksum, "IPv4 checksum");
                assert!(header.dont_fragment);
                assert!(header.identification <= 0x7FFF, "R-278: the host's half");
                (header.ecn.value(), tcp, tcp.calc_checksum_ipv4(header.source, header.destination))
            }
            (Some(NetSlice::Ipv6(ip)), Some(TransportSlice::Tcp(tcp))) => {
                let header = ip.header().to_header();
                self.check_label(
                    from,
                    (tcp.source_port(), tcp.destination_port()),
                    header.flow_label.value(),
                );
                let sum = tcp.calc_checksum_ipv6(header.source, header.destination);
                (header.traffic_class & 3, tcp, sum)
            }
            _ => return false,
        };
        assert_eq!(sum.expect("length fits"), tcp.checksum(), "TCP checksum");
        self.segments += 1;
        let marks = [tcp.ece() && !tcp.syn(), tcp.cwr() && !tcp.syn(), ecn != 0];
        self.ecn.iter_mut().zip(marks).for_each(|(count, is)| *count += u64::from(is));
        assert!(ecn == 0 || !tcp.payload().is_empty(), "RFC 3168 6.1.4: only text is ECN-capable");
        let flow = (from, tcp.source_port(), tcp.destination_port());
        if tcp.rst() {
            self.resets += 1;
            return true;
        }
        for option in tcp.options_iterator() {
            match option.expect("options are well formed") {
                etherparse::TcpOptionElement::WindowScale(shift) => {
                    self.shifts.insert(flow, Some(shift));
                }
                etherparse::TcpOptionElement::SelectiveAcknowledgement(..) => self.sacks += 1,
                _ => {}
            }
        }
        self.check_edge(flow, tcp);
        false
    }

    /// Law L3: the right edge that the peer computes never moves left.
    fn check_edge(&mut self, flow: Flow, tcp: &etherparse::TcpSlice<'_>) {
        if tcp.syn() {
            self.edges.remove(&flow);
            return;
        }
        let reverse = (1 - flow.0, flow.2, flow.1);
        let scaled = self.shifts.contains_key(&flow) && self.shifts.contains_key(&reverse);
        let shift = if scaled { self.shifts[&flow].unwrap_or(0) } else { 0 };
        let edge = tcp.acknowledgment_number().wrapping_add(u32::from(tcp.window_size()) << shift);
        let last = self.edges.entry(flow).or_insert(edge);
        // Acknowledging a FIN at the right edge moves it by that one.
        assert!(edge.wrapping_sub(*last) < 1 << 31, "right edge moved left: {last} -> {edge}");
        *last = edge;
    }
}
