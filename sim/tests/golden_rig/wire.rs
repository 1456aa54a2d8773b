//! The peer's side of the wire: segments built and checked with etherparse, an implementation of its own.

use super::{Rig, NIC_MAC, PEER_MAC};
use chimney_sim::device::Device;
use chimney_sim::net::guise::Guise;
use etherparse::{
    Ethernet2Header, Ipv4Header, PacketBuilder, SlicedPacket, TcpOptionElement, TransportSlice,
};

/// A segment in the peer's words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seg {
    pub conn: u16,
    pub seq: u32,
    pub ack: u32,
    pub wnd: u16,
    pub fin: bool,
    pub syn: bool,
    pub rst: bool,
    pub psh: bool,
    pub urg: bool,
    pub ece: bool,
    pub cwr: bool,
    /// ECN field of the IP header.
    pub ecn: u8,
    pub no_ack: bool,
    pub ts: Option<(u32, u32)>,
    pub sack: Vec<(u32, u32)>,
    pub text: Vec<u8>,
    /// IPv4 identification (parsed frames).
    pub ip_id: u16,
}

impl Seg {
    /// The peer acknowledges everything and offers a large window.
    pub fn new(seq: u32, ack: u32) -> Seg {
        Seg { seq, ack, wnd: 65_000, ..Seg::default() }
    }

    pub fn text(mut self, text: &[u8]) -> Seg {
        self.text = text.to_vec();
        self
    }

    /// The frame on the wire.
    pub fn frame(&self) -> Vec<u8> {
        let ip = PacketBuilder::ethernet2(PEER_MAC, NIC_MAC).ipv4([10, 0, 0, 2], [10, 0, 0, 1], 64);
        let mut tcp = ip.tcp(2000 + self.conn, 1000, self.seq, self.wnd);
        if !self.no_ack {
            tcp = tcp.ack(self.ack);
        }
        tcp = if self.fin { tcp.fin() } else { tcp };
        tcp = if self.syn { tcp.syn() } else { tcp };
        tcp = if self.rst { tcp.rst() } else { tcp };
        tcp = if self.psh { tcp.psh() } else { tcp };
        tcp = if self.urg { tcp.urg(1) } else { tcp };
        tcp = if self.ece { tcp.ece() } else { tcp };
        tcp = if self.cwr { tcp.cwr() } else { tcp };
        let mut options = Vec::new();
        if let Some((val, ecr)) = self.ts {
            let stamps = TcpOptionElement::Timestamp(val, ecr);
            options.extend([TcpOptionElement::Noop, TcpOptionElement::Noop, stamps]);
        }
        if let [first, rest @ ..] = &self.sack[..] {
            let more = std::array::from_fn(|i| rest.get(i).copied());
            let blocks = TcpOptionElement::SelectiveAcknowledgement(*first, more);
            options.extend([TcpOptionElement::Noop, TcpOptionElement::Noop, blocks]);
        }
        // All at once: the builder forgets those of a call before.
        tcp = tcp.options(&options).unwrap();
        let mut frame = Vec::new();
        tcp.write(&mut frame, &self.text).unwrap();
        if self.ecn != 0 {
            let ip = Ethernet2Header::LEN..Ethernet2Header::LEN + Ipv4Header::MIN_LEN;
            let mut header = Ipv4Header::from_slice(&frame[ip.clone()]).unwrap().0;
            header.ecn = self.ecn.try_into().unwrap();
            header.header_checksum = header.calc_header_checksum();
            frame[ip].copy_from_slice(&header.to_bytes());
        }
        frame
    }

    /// Reads a frame of the device; every checksum must be right.
    pub fn parse(frame: &[u8]) -> Seg {
        let packet = SlicedPacket::from_ethernet(frame).expect("a clean frame");
        let Some(etherparse::NetSlice::Ipv4(ip)) = packet.net else { panic!("not IPv4") };
        let header = ip.header().to_header();
        assert_eq!(header.header_checksum, header.calc_header_checksum(), "IP header checksum");
        assert!(header.dont_fragment);
        assert_eq!((usize::from(header.total_len) + 14).max(60), frame.len(), "padded to 60 bytes, no more");
        let Some(TransportSlice::Tcp(tcp)) = packet.transport else { panic!("not TCP") };
        let sum = tcp.calc_checksum_ipv4(header.source, header.destination).unwrap();
        assert_eq!(tcp.checksum(), sum, "TCP checksum");
        let mut seg = Seg {
            conn: tcp.destination_port() - 2000,
            seq: tcp.sequence_number(),
            ack: tcp.acknowledgment_number(),
            wnd: tcp.window_size(),
            fin: tcp.fin(),
            syn: tcp.syn(),
            rst: tcp.rst(),
            psh: tcp.psh(),
            urg: tcp.urg(),
            ece: tcp.ece(),
            cwr: tcp.cwr(),
            ecn: header.ecn.value(),
            no_ack: !tcp.ack(),
            text: tcp.payload().to_vec(),
            ip_id: header.identification,
            ..Seg::default()
        };
        for option in tcp.options_iterator() {
            match option.expect("a clean option") {
                TcpOptionElement::Timestamp(val, ecr) => seg.ts = Some((val, ecr)),
                TcpOptionElement::SelectiveAcknowledgement(first, rest) => {
                    seg.sack.push(first);
                    seg.sack.extend(rest.iter().flatten());
                }
                _ => {}
            }
        }
        seg
    }
}

impl<D: Device> Rig<D> {
    /// A segment from the peer reaches the device.
    pub fn peer(&mut self, seg: Seg) {
        self.nic.rx_frame(&self.guise.dress(&seg.frame()), false);
        self.settle();
    }

    /// What the device sent since the last call.
    pub fn sent(&mut self) -> Vec<Seg> {
        let guise = self.guise;
        let plain = |frame: Vec<u8>| {
            let (seen, plain) = Guise::undress(&frame).expect("a segment in order");
            assert_eq!(seen, guise);
            Seg::parse(&plain)
        };
        std::iter::from_fn(|| self.nic.pop_tx_frame()).map(plain).collect()
    }

    /// The one segment that the device sent since the last call.
    pub fn sent_one(&mut self) -> Seg {
        let sent = self.sent();
        assert_eq!(sent.len(), 1, "{sent:?}");
        sent.into_iter().next().unwrap()
    }
}
