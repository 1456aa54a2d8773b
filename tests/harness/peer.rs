//! The other end of the connection, as simple as TCP can be: go-back-N, cumulative acknowledgments, one timer.
//! Frames are built and read by `etherparse`, which knows nothing of this project.

use std::collections::BTreeMap;

use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};

use super::{
    HOST_IP, HOST_MAC, HOST_PORT, HOST_WINDOW_SHIFT, MSS, PEER_IP, PEER_ISS, PEER_MAC, PEER_PORT, PEER_WINDOW,
};

/// Time after which everything unacknowledged is sent again.
const RTO_US: u64 = 250_000;

/// A received segment, as far as tests look at it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    pub seq: u32,
    pub ack: u32,
    pub fin: bool,
    pub rst: bool,
    pub psh: bool,
    /// Bytes, scaled.
    pub window: u32,
    pub payload: Vec<u8>,
}

/// Reads a frame from the device. Panics on a wrong address or checksum: the device sends nothing malformed.
pub fn parse(frame: &[u8]) -> Segment {
    let packet = SlicedPacket::from_ethernet(frame).expect("a well-formed frame");
    let Some(NetSlice::Ipv4(ip)) = packet.net else { panic!("not IPv4") };
    let Some(TransportSlice::Tcp(tcp)) = packet.transport else { panic!("not TCP") };
    let header = ip.header();
    assert_eq!((header.source(), header.destination()), (HOST_IP, PEER_IP));
    assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum(), "IPv4 checksum");
    let want =
        tcp.to_header().calc_checksum_ipv4(&header.to_header(), tcp.payload()).expect("a small payload");
    assert_eq!(tcp.checksum(), want, "TCP checksum");
    Segment {
        seq: tcp.sequence_number(),
        ack: tcp.acknowledgment_number(),
        fin: tcp.fin(),
        rst: tcp.rst(),
        psh: tcp.psh(),
        window: u32::from(tcp.window_size()) << HOST_WINDOW_SHIFT,
        payload: tcp.payload().to_vec(),
    }
}

/// Peer state. Sequence arithmetic is modulo 2^32.
#[derive(Debug)]
pub struct Peer {
    pub port: u16,
    pub host_port: u16,
    /// Everything this peer will ever send; grows at the end.
    pub outgoing: Vec<u8>,
    /// Bytes of `outgoing` sent and acknowledged.
    pub sent: usize,
    pub acked: usize,
    /// Host's right edge, as an offset in `outgoing`.
    edge: usize,
    pub fin_after_data: bool,
    fin_sent: bool,
    pub fin_acked: bool,
    /// Everything received in order.
    pub incoming: Vec<u8>,
    pub host_fin: bool,
    host_iss: u32,
    early: BTreeMap<usize, Vec<u8>>,
    fin_at: Option<usize>,
    ack_due: bool,
    timer_us: u64,
    /// Resets received.
    pub resets: u32,
    /// Set PSH on every n-th segment.
    pub push_every: usize,
    segments: usize,
    max_edge: usize,
    max_ack: usize,
}

impl Peer {
    /// A peer that has received everything before `host_iss`.
    pub fn new(host_iss: u32) -> Self {
        Self {
            port: PEER_PORT,
            host_port: HOST_PORT,
            outgoing: Vec::new(),
            sent: 0,
            acked: 0,
            edge: 0,
            fin_after_data: false,
            fin_sent: false,
            fin_acked: false,
            incoming: Vec::new(),
            host_fin: false,
            host_iss,
            early: BTreeMap::new(),
            fin_at: None,
            ack_due: false,
            timer_us: 0,
            resets: 0,
            push_every: 1,
            segments: 0,
            max_edge: 0,
            max_ack: 0,
        }
    }

    /// A segment of this connection with the present acknowledgment.
    pub fn frame(&self, at: usize, payload: &[u8], flags: &str) -> Vec<u8> {
        let seq = PEER_ISS.wrapping_add(at as u32);
        let ack = self.rcv_nxt();
        let mut tcp = PacketBuilder::ethernet2(PEER_MAC, HOST_MAC)
            .ipv4(PEER_IP, HOST_IP, 64)
            .tcp(self.port, self.host_port, seq, PEER_WINDOW)
            .ack(ack);
        tcp = if flags.contains('P') { tcp.psh() } else { tcp };
        tcp = if flags.contains('F') { tcp.fin() } else { tcp };
        tcp = if flags.contains('R') { tcp.rst() } else { tcp };
        tcp = if flags.contains('U') { tcp.urg(1) } else { tcp };
        let mut frame = Vec::new();
        tcp.write(&mut frame, payload).expect("a vector takes everything");
        frame.resize(frame.len().max(60), 0);
        frame
    }

    /// What the peer acknowledges.
    pub fn rcv_nxt(&self) -> u32 {
        self.host_iss.wrapping_add(self.incoming.len() as u32).wrapping_add(self.host_fin.into())
    }

    /// Sets the host's right edge before the first segment came.
    pub fn allow(&mut self, bytes: usize) {
        self.edge = bytes;
        self.max_edge = bytes;
    }

    /// Law L3, in the order of sending: the right edge never moves left (the scale is exact: `aligned_edge`).
    pub fn watch(&mut self, frame: &[u8]) {
        let s = parse(frame);
        if !s.rst {
            let ack = s.ack.wrapping_sub(PEER_ISS) as usize;
            let edge = ack + s.window as usize;
            self.max_ack = self.max_ack.max(ack);
            assert!(edge >= self.max_edge, "right edge {edge} after {}", self.max_edge);
            self.max_edge = self.max_edge.max(edge);
        }
    }

    /// The largest acknowledgment that the device ever sent, as an offset.
    pub fn max_acknowledged(&self) -> usize {
        self.max_ack
    }

    /// Takes a frame of the device.
    pub fn receive(&mut self, frame: &[u8]) {
        let s = parse(frame);
        if s.rst {
            self.resets += 1;
            return;
        }
        self.take_ack(&s);
        let at = s.seq.wrapping_sub(self.host_iss) as i32;
        assert!(at >= -1, "the host sends nothing before its first byte");
        if s.payload.is_empty() && !s.fin {
            return;
        }
        self.ack_due = true;
        let at = at.max(0) as usize;
        if s.fin {
            self.fin_at = Some(at + s.payload.len());
        }
        if !s.payload.is_empty() {
            let known = self.early.get(&at).map_or(0, Vec::len);
            if s.payload.len() > known {
                self.early.insert(at, s.payload);
            }
        }
        while let Some((&at, _)) = self.early.iter().next().filter(|(&at, _)| at <= self.incoming.len()) {
            let bytes = self.early.remove(&at).expect("it was just seen");
            let have = self.incoming.len() - at;
            self.incoming.extend(bytes.iter().skip(have));
        }
        self.host_fin |= self.fin_at == Some(self.incoming.len());
    }

    fn take_ack(&mut self, s: &Segment) {
        let acked = s.ack.wrapping_sub(PEER_ISS) as usize;
        let end = self.outgoing.len() + usize::from(self.fin_sent);
        assert!(acked <= end, "acknowledged {acked} of {end}");
        let edge = acked + s.window as usize;
        self.fin_acked |= self.fin_sent && acked == end;
        self.acked = self.acked.max(acked.min(self.outgoing.len()));
        self.sent = self.sent.max(self.acked);
        self.edge = self.edge.max(edge);
    }

    /// Frames due now.
    pub fn poll(&mut self, now_us: u64) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        let outstanding = self.acked < self.sent || self.fin_sent && !self.fin_acked;
        if outstanding && now_us >= self.timer_us {
            self.sent = self.acked; // go back N
            self.fin_sent = false;
        }
        while self.sent < self.outgoing.len().min(self.edge) {
            let end = self.outgoing.len().min(self.edge).min(self.sent + usize::from(MSS));
            self.segments += 1;
            let push = self.push_every > 0 && self.segments.is_multiple_of(self.push_every);
            frames.push(self.frame(self.sent, &self.outgoing[self.sent..end], if push { "P" } else { "" }));
            self.sent = end;
            self.timer_us = now_us + RTO_US;
            self.ack_due = false;
        }
        let all_sent = self.sent == self.outgoing.len();
        if self.fin_after_data && all_sent && !self.fin_sent && !self.fin_acked {
            self.fin_sent = true;
            self.timer_us = now_us + RTO_US;
            frames.push(self.frame(self.sent, &[], "F"));
            self.ack_due = false;
        }
        // A window probe, so that a lost window update stalls nobody.
        if self.sent < self.outgoing.len() && self.sent == self.acked && now_us >= self.timer_us {
            self.timer_us = now_us + RTO_US;
            let at = self.sent;
            frames.push(self.frame(at, &self.outgoing[at..=at], ""));
        }
        if std::mem::take(&mut self.ack_due) {
            frames.push(self.frame(self.sent + usize::from(self.fin_sent), &[], ""));
        }
        frames
    }

    /// When the peer acts next without anything arriving.
    pub fn deadline_us(&self) -> Option<u64> {
        let waits = self.acked < self.outgoing.len() || self.fin_sent && !self.fin_acked;
        waits.then_some(self.timer_us)
    }
}
