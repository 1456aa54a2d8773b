//! What a received frame means: whose it is, which protocol, and what ICMP says of paths and neighbors.

use crate::socket::{ConnId, Place};
use crate::stack::{ipv6_header, Connection, Stack};
use crate::tcp::tcb::FourTuple;
use crate::wire::ethernet::{EthernetHeader, MacAddr};
use crate::wire::icmp::IcmpMessage;
use crate::wire::icmpv6::{group_mac, Icmpv6Message};
use crate::wire::ip::IpHeader;
use crate::wire::ipv4::Ipv4Header;
use crate::wire::ipv6::Ipv6Header;
use crate::wire::{arp, ethernet, icmp, icmpv6, ipv4, ipv6, tcp, WireError};
use chimney_abi::wire::{ethernet as we, ip_protocol};
use chimney_abi::SeqNum;
use std::net::{IpAddr, SocketAddr};

/// A segment that somebody on the way found too long for the next link.
#[derive(Clone, Copy, Debug)]
struct TooLong {
    mtu: u16,
    dst: IpAddr,
    /// Ours first.
    ports: (u16, u16),
    seq: SeqNum,
}

/// The same, if it quotes a connection that is not in the host: only whoever has it knows what is in flight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report {
    pub id: ConnId,
    mtu: u16,
    seq: SeqNum,
}

/// Reports that may wait; routers repeat them.
const MAX_REPORTS: usize = 16;

impl Stack {
    /// Processes one received frame (without FCS).
    pub fn handle_frame(&mut self, now_us: u64, frame: &[u8]) {
        self.counters.frames_in += 1;
        match self.dispatch(now_us, frame) {
            Ok(()) => {}
            Err(WireError::Truncated) => self.counters.truncated += 1,
            Err(WireError::Malformed) => self.counters.malformed += 1,
            Err(WireError::BadChecksum) => self.counters.bad_checksum += 1,
            Err(WireError::Unsupported) => self.counters.unsupported += 1,
        }
    }

    fn dispatch(&mut self, now_us: u64, frame: &[u8]) -> Result<(), WireError> {
        let (header, payload) = ethernet::parse(frame)?;
        if !self.is_addressed(&header) {
            self.counters.not_ours += 1;
            return Ok(());
        }
        match header.ethertype {
            we::TYPE_ARP => {
                self.neighbors.handle(now_us, &arp::parse(payload)?, &mut self.tx);
                Ok(())
            }
            we::TYPE_IPV4 => self.handle_ipv4(now_us, header.dst, payload),
            we::TYPE_IPV6 => self.handle_ipv6(now_us, header.dst, payload),
            _ => Err(WireError::Unsupported),
        }
    }

    /// To our MAC address, to everybody, or to a group of ours.
    fn is_addressed(&self, header: &EthernetHeader) -> bool {
        header.dst == self.config.mac
            || header.dst == MacAddr::BROADCAST
            || (header.dst.is_group() && self.addresses.groups().any(|group| group_mac(group) == header.dst))
    }

    fn handle_ipv4(&mut self, now_us: u64, dst_mac: MacAddr, packet: &[u8]) -> Result<(), WireError> {
        let (header, payload) = ipv4::parse(packet)?;
        // RFC 1122 3.2.1.3: a broadcast frame never carries TCP for us, and nobody's source is a group.
        if !self.addresses.owns(header.dst.into()) || dst_mac.is_group() || header.src.is_multicast() {
            self.counters.not_ours += 1;
            return Ok(());
        }
        match header.protocol {
            ip_protocol::ICMP => self.handle_icmp(now_us, &header, payload),
            ip_protocol::TCP => self.handle_tcp(now_us, &IpHeader::V4(header), payload),
            _ => Err(WireError::Unsupported),
        }
    }

    /// RFC 8200; groups are only those of Neighbor Discovery.
    fn handle_ipv6(&mut self, now_us: u64, dst_mac: MacAddr, packet: &[u8]) -> Result<(), WireError> {
        let (header, payload) = ipv6::parse(packet)?;
        let is_ours = self.addresses.owns(header.dst.into()) && !dst_mac.is_group();
        if header.src.is_multicast() || !(is_ours || self.addresses.groups().any(|group| group == header.dst))
        {
            self.counters.not_ours += 1;
            return Ok(());
        }
        match header.next_header {
            ip_protocol::ICMPV6 => self.handle_icmpv6(now_us, &header, is_ours, payload),
            ip_protocol::TCP if is_ours => self.handle_tcp(now_us, &IpHeader::V6(header), payload),
            _ => Err(WireError::Unsupported),
        }
    }

    fn handle_tcp(&mut self, now_us: u64, header: &IpHeader, bytes: &[u8]) -> Result<(), WireError> {
        let segment = tcp::parse(bytes, header)?;
        self.handle_segment(now_us, header, &segment, bytes);
        Ok(())
    }

    fn handle_icmp(&mut self, now_us: u64, header: &Ipv4Header, bytes: &[u8]) -> Result<(), WireError> {
        match icmp::parse(bytes)? {
            IcmpMessage::EchoRequest { rest } => {
                let reply = self.ipv4_header(header.dst, header.src, ip_protocol::ICMP);
                self.send_packet(now_us, header.src.into(), &icmp::echo_reply(&reply, rest));
            }
            IcmpMessage::FragmentationNeeded { mtu, dst, ports, seq } => {
                self.on_too_long(header.dst.into(), &TooLong { mtu, dst: dst.into(), ports, seq });
            }
        }
        Ok(())
    }

    fn handle_icmpv6(
        &mut self,
        now_us: u64,
        header: &Ipv6Header,
        is_ours: bool,
        bytes: &[u8],
    ) -> Result<(), WireError> {
        match icmpv6::parse(header, bytes)? {
            Icmpv6Message::EchoRequest { rest } if is_ours => {
                let reply = ipv6_header(header.dst, header.src, ip_protocol::ICMPV6);
                self.send_packet(now_us, header.src.into(), &icmpv6::echo_reply(&reply, rest));
            }
            Icmpv6Message::TooBig { mtu, dst, ports, seq } if is_ours => {
                let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
                self.on_too_long(header.dst.into(), &TooLong { mtu, dst: dst.into(), ports, seq });
            }
            message => self.neighbors.handle_v6(now_us, header, &message, &mut self.tx),
        }
        Ok(())
    }

    /// Sends a packet whole; one that is longer than the link allows is dropped and counted, because nobody here fragments.
    fn send_packet(&mut self, now_us: u64, dst: IpAddr, packet: &[u8]) {
        if packet.len() > usize::from(self.config.mtu) {
            self.counters.too_long += 1;
            return;
        }
        let mut frame = vec![0; we::HEADER_LEN];
        frame.extend(packet);
        self.send_frame(now_us, dst, frame);
    }

    /// RFC 1191, RFC 8201: a router reported that a segment of a connection of ours was too long.
    fn on_too_long(&mut self, src: IpAddr, report: &TooLong) {
        let TooLong { mtu, dst, ports, seq } = *report;
        let tuple = FourTuple { local: SocketAddr::new(src, ports.0), remote: SocketAddr::new(dst, ports.1) };
        let Some(id) = self.lookup.get(&tuple).copied() else { return };
        if !self.paths.is_smaller(src, dst, mtu) {
            return;
        }
        let report = Report { id, mtu, seq };
        match self.connections.get(&id).map(|c| (c.place, c.tcb.snd)) {
            Some((Place::Host, snd)) => self.judge_report(&report, snd.snd_una, snd.flight_size()),
            Some(_) if self.reports.len() < MAX_REPORTS => self.reports.push_back(report),
            Some(_) => self.counters.reports_overflow += 1,
            None => {}
        }
    }

    /// Whether the connection that a report quotes is in the host; then its own numbers are the right ones.
    pub(crate) fn numbers_of(&self, id: ConnId) -> Option<(SeqNum, u32)> {
        let connection = self.connections.get(&id).filter(|c| c.place == Place::Host)?;
        Some((connection.tcb.snd.snd_una, connection.tcb.snd.flight_size()))
    }

    /// RFC 5927 4.1: a report is believed only if the segment that it quotes is one of the `flight` bytes from `snd_una` on, as
    /// whoever runs the connection counts them (G-26).
    pub(crate) fn judge_report(&mut self, report: &Report, snd_una: SeqNum, flight: u32) {
        let Some(tuple) = self.connections.get(&report.id).map(|c| c.tcb.tuple) else { return };
        let (src, dst) = (tuple.local.ip(), tuple.remote.ip());
        if !report.seq.in_window(snd_una, flight) || !self.paths.reduce_mtu(src, dst, report.mtu) {
            return;
        }
        let path = *self.paths.get(src, dst);
        let on_path = |c: &&mut Connection| c.tcb.tuple.remote.ip() == dst && c.tcb.tuple.local.ip() == src;
        for connection in self.connections.values_mut().filter(on_path) {
            let n = connection.tcb.negotiated;
            let eff_mss = path.eff_mss(n.remote_mss, n.has_timestamps).min(connection.tcb.eff_mss);
            // One that is away keeps it for its return; its target hears of the path.
            connection.tcb.set_eff_mss(eff_mss);
            if connection.place != Place::Away {
                // G-20: resegment and send again at once (a frozen one: if it stays), without a congestion response.
                connection.tcb.send_again();
            }
        }
    }
}
