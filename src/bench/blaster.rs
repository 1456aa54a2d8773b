//! A peer without scruples: it sends as fast as the window allows, acknowledges everything at once and never waits.
//!
//! It is no TCP: it has no congestion window, but at most a count of segments under way and the window that the NIC offers, and it goes
//! back to what is not acknowledged when a connection stands still. What a NIC can do is seen only when its peer is never
//! the reason to wait.

use anyhow::{bail, Context, Result};
use etherparse::{ArpHardwareId, ArpOperation, ArpPacket, EtherType};
use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TcpHeader, TcpOptionElement, TransportSlice};
use std::collections::VecDeque;
use std::net::Ipv4Addr;

/// Window that the peer offers: 65535 << 7 bytes, never the reason to wait.
const WINDOW_SHIFT: u8 = 7;
const WINDOW: u16 = u16::MAX;
const TTL: u8 = 64;
/// A direction without progress for so long starts again: at the first unacknowledged byte, or with an ACK; microseconds.
const STILL_US: u64 = 400;
/// What every byte of its streams is.
const BYTE: u8 = 0x5a;

/// How the peer behaves.
#[derive(Clone, Copy, Debug)]
pub struct Habit {
    /// Text of a segment it sends, bytes; also the MSS it offers.
    pub segment_bytes: u16,
    /// It sends data.
    pub sends: bool,
    /// Data segments that are sent and not acknowledged, of all connections together. The NIC's windows limit it besides.
    pub most_ahead: u32,
    /// Data segments it takes before it acknowledges them.
    pub ack_every: u32,
}

/// One connection at the peer.
#[derive(Clone, Debug)]
struct Flow {
    port: u16,
    local_port: u16,
    snd_una: u32,
    snd_nxt: u32,
    /// Right edge of the host's window.
    edge: u32,
    shift: u8,
    rcv_nxt: u32,
    /// Data segments not acknowledged.
    owed: u32,
    /// When something was acknowledged last, microseconds.
    acked_us: u64,
    /// When something arrived last.
    taken_us: u64,
    is_open: bool,
}

/// The peer. See the module page.
pub struct Blaster {
    mac: [u8; 6],
    ip: Ipv4Addr,
    host_mac: [u8; 6],
    host_ip: Ipv4Addr,
    habit: Habit,
    flows: Vec<Flow>,
    /// Whose turn it is to send data.
    turn: usize,
    replies: VecDeque<Vec<u8>>,
    text: Vec<u8>,
    /// Data starts when the connections are where they belong.
    is_started: bool,
    count: Segments,
}

/// Segments with text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segments {
    /// Sent by the peer and acknowledged by the NIC.
    pub acknowledged: u64,
    /// Taken by the peer.
    pub taken: u64,
}

impl Blaster {
    /// A peer at `mac`, `ip` for the host at `host_mac`, `host_ip`.
    pub fn new(mac: [u8; 6], ip: Ipv4Addr, host_mac: [u8; 6], host_ip: Ipv4Addr, habit: Habit) -> Self {
        let text = vec![BYTE; usize::from(habit.segment_bytes)];
        let (flows, replies) = (Vec::new(), VecDeque::new());
        Self {
            mac,
            ip,
            host_mac,
            host_ip,
            habit,
            flows,
            turn: 0,
            replies,
            text,
            is_started: false,
            count: Segments::default(),
        }
    }

    /// Segments with text so far.
    pub fn segments(&self) -> Segments {
        self.count
    }

    /// From now on it sends data, if that is its habit.
    pub fn start(&mut self) {
        self.is_started = true;
    }

    /// Takes a frame of the host.
    ///
    /// # Errors
    /// A frame that is not clean, or a stream with a hole: this wire loses nothing.
    pub fn take(&mut self, now_us: u64, frame: &[u8]) -> Result<()> {
        let packet = SlicedPacket::from_ethernet(frame).context("the NIC sent a frame that is not clean")?;
        match (packet.net, packet.transport) {
            (Some(NetSlice::Arp(arp)), _) => self.answer_arp(&arp.to_packet()),
            (Some(NetSlice::Ipv4(_)), Some(TransportSlice::Tcp(tcp))) => {
                let options: Vec<_> = tcp.options_iterator().filter_map(Result::ok).collect();
                self.take_segment(now_us, &tcp.to_header(), &options, tcp.payload().len() as u32)
                // at most a frame
            }
            _ => Ok(()),
        }
    }

    /// The next frame for the host, if it has one to send.
    pub fn next_frame(&mut self, now_us: u64) -> Option<Vec<u8>> {
        if let Some(frame) = self.replies.pop_front() {
            return Some(frame);
        }
        let len = u32::from(self.habit.segment_bytes);
        let ahead: u32 = self.flows.iter().map(|f| f.snd_nxt.wrapping_sub(f.snd_una)).sum();
        let sends = self.is_started && self.habit.sends && ahead / len < self.habit.most_ahead;
        for _ in 0..self.flows.len() {
            let at = self.turn;
            self.turn = (at + 1) % self.flows.len();
            let flow = &mut self.flows[at];
            // The directions stand still apart: a NIC that sends all the time may have lost what it was sent.
            if now_us > flow.acked_us + STILL_US && self.is_started {
                flow.snd_nxt = flow.snd_una;
                flow.acked_us = now_us;
            }
            if now_us > flow.taken_us + STILL_US && self.is_started {
                flow.owed = self.habit.ack_every;
                flow.taken_us = now_us;
            }
            let has_room = flow.edge.wrapping_sub(flow.snd_nxt) as i32 >= len as i32;
            if flow.is_open && (sends && has_room || flow.owed >= self.habit.ack_every) {
                flow.owed = 0;
                let seq = flow.snd_nxt;
                let text = if sends && has_room { self.text.as_slice() } else { &[] };
                flow.snd_nxt = seq.wrapping_add(text.len() as u32); // at most a segment
                let flow = flow.clone();
                return Some(self.segment(&flow, seq, text));
            }
        }
        None
    }

    fn answer_arp(&mut self, arp: &ArpPacket) -> Result<()> {
        if arp.operation != ArpOperation::REQUEST || arp.target_protocol_addr() != self.ip.octets() {
            return Ok(());
        }
        let (mac, ip) = (self.host_mac, self.host_ip.octets());
        let reply = ArpPacket::new(
            ArpHardwareId::ETHERNET,
            EtherType::IPV4,
            ArpOperation::REPLY,
            &self.mac,
            &self.ip.octets(),
            &mac,
            &ip,
        )
        .context("an ARP reply")?;
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(self.mac, mac).arp(reply).write(&mut frame)?;
        self.replies.push_back(frame);
        Ok(())
    }

    fn take_segment(
        &mut self,
        now_us: u64,
        tcp: &TcpHeader,
        options: &[TcpOptionElement],
        len: u32,
    ) -> Result<()> {
        if tcp.syn {
            return self.answer_syn(tcp, options);
        }
        if tcp.rst {
            bail!("the NIC reset a connection");
        }
        let segment = u32::from(self.habit.segment_bytes);
        let Some(flow) = self.flows.iter_mut().find(|f| f.port == tcp.source_port) else { return Ok(()) };
        flow.is_open = true;
        let (una, ack) = (flow.snd_una, tcp.acknowledgment_number);
        if ack.wrapping_sub(una) as i32 > 0 {
            self.count.acknowledged += u64::from(ack.wrapping_sub(una) / segment);
            flow.snd_una = ack;
            flow.acked_us = now_us;
            // After going back, an ACK for what was sent before.
            if ack.wrapping_sub(flow.snd_nxt) as i32 > 0 {
                flow.snd_nxt = ack;
            }
        }
        flow.edge = ack.wrapping_add(u32::from(tcp.window_size) << flow.shift);
        if len > 0 {
            let offset = tcp.sequence_number.wrapping_sub(flow.rcv_nxt) as i32;
            if offset > 0 {
                bail!("the NIC left a hole in its stream");
            }
            if offset == 0 {
                flow.rcv_nxt = tcp.sequence_number.wrapping_add(len);
                flow.taken_us = now_us;
                self.count.taken += 1;
            }
            flow.owed += 1;
        }
        Ok(())
    }

    fn answer_syn(&mut self, tcp: &TcpHeader, options: &[TcpOptionElement]) -> Result<()> {
        let offered = options.iter().find_map(|o| match o {
            TcpOptionElement::WindowScale(shift) => Some(*shift),
            _ => None,
        });
        let iss = u32::from(tcp.source_port) << 12;
        let flow = Flow {
            port: tcp.source_port,
            local_port: tcp.destination_port,
            snd_una: iss.wrapping_add(1),
            snd_nxt: iss.wrapping_add(1),
            edge: iss.wrapping_add(1),
            shift: offered.unwrap_or(0),
            rcv_nxt: tcp.sequence_number.wrapping_add(1),
            owed: 0,
            acked_us: 0,
            taken_us: 0,
            is_open: false,
        };
        let mut mine = vec![TcpOptionElement::MaximumSegmentSize(self.habit.segment_bytes)];
        mine.extend(offered.map(|_| TcpOptionElement::WindowScale(WINDOW_SHIFT)));
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(self.mac, self.host_mac)
            .ipv4(self.ip.octets(), self.host_ip.octets(), TTL)
            .tcp(flow.local_port, flow.port, iss, WINDOW)
            .syn()
            .ack(flow.rcv_nxt)
            .options(&mine)?
            .write(&mut frame, &[])?;
        self.flows.push(flow);
        self.replies.push_back(frame);
        Ok(())
    }

    fn segment(&self, flow: &Flow, seq: u32, text: &[u8]) -> Vec<u8> {
        let builder = PacketBuilder::ethernet2(self.mac, self.host_mac)
            .ipv4(self.ip.octets(), self.host_ip.octets(), TTL)
            .tcp(flow.local_port, flow.port, seq, WINDOW)
            .ack(flow.rcv_nxt);
        let mut frame = Vec::with_capacity(builder.size(text.len()));
        // Writing to a vector fails only for a length that no frame here has.
        builder.write(&mut frame, text).expect("a short frame");
        frame.resize(frame.len().max(chimney_abi::wire::ethernet::MIN_FRAME_LEN), 0);
        frame
    }
}
