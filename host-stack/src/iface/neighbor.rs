//! Neighbor cache with ARP and Neighbor Discovery: next-hop address to MAC, and the frames that wait for an answer.
//!
//! ```text
//!   (none) --send--> Incomplete --answer--> Reachable --30 s--> (stale: used, and probed by unicast)
//!                        | 3 requests, 1 s apart, no answer           | no answer
//!                        `-----> waiting frames dropped, counted <----'
//! ```
//! Acknowledged progress of a connection also confirms its neighbor (R-268's rule on the host side). What becomes of a stale
//! one that a target asks about is in `delay.rs`.

use super::address::Addresses;
use super::delay::Delay;
use super::frame::Frame;
use crate::wire::arp::{ArpPacket, Operation};
use crate::wire::ethernet::{self, EthernetHeader, MacAddr};
use crate::wire::icmpv6::{self, group_mac, solicited_node, Icmpv6Message, ALL_NODES};
use crate::wire::ip::ethertype;
use crate::wire::ipv6::Ipv6Header;
use chimney_abi::wire::{ethernet as we, icmpv6 as w, ip_protocol};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};

/// Time between requests.
const RETRY_US: u64 = 1_000_000;
/// Requests before an address counts as unreachable.
const MAX_TRIES: u8 = 3;
/// Time that a neighbor is probed, milliseconds.
pub(crate) const PROBE_MS: u32 = RETRY_US as u32 / 1000 * MAX_TRIES as u32;
/// A confirmation older than this makes an entry stale (RFC 4861's REACHABLE_TIME).
pub(super) const REACHABLE_US: u64 = 30_000_000;
/// Frames that may wait for one address; the oldest goes first.
const MAX_WAITING: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Entry {
    pub mac: Option<MacAddr>,
    pub confirmed_us: u64,
    tries: u8,
    pub retry_us: Option<u64>,
    /// For the address, or for the end of DELAY.
    pub waiting: VecDeque<Frame>,
    pub delay: Option<Delay>,
}

/// The cache of one interface.
#[derive(Debug)]
pub struct NeighborCache {
    mac: MacAddr,
    addresses: Addresses,
    pub(super) entries: BTreeMap<IpAddr, Entry>,
    /// Frames dropped because nobody answered.
    pub unreachable_drops: u64,
}

impl NeighborCache {
    /// An empty cache of the interface with these addresses.
    #[must_use]
    pub fn new(mac: MacAddr, addresses: Addresses) -> NeighborCache {
        NeighborCache { mac, addresses, entries: BTreeMap::new(), unreachable_drops: 0 }
    }

    /// The MAC address of a next hop, if known.
    #[must_use]
    pub fn lookup(&self, next_hop: IpAddr) -> Option<MacAddr> {
        self.entries.get(&next_hop).and_then(|entry| entry.mac)
    }

    /// Age of the last confirmation, microseconds (the neighbor object's HRD).
    #[must_use]
    pub fn age_us(&self, next_hop: IpAddr, now_us: u64) -> Option<u64> {
        let entry = self.entries.get(&next_hop).filter(|entry| entry.mac.is_some())?;
        Some(now_us.saturating_sub(entry.confirmed_us))
    }

    /// Sends a frame whose Ethernet header is still empty, or keeps it until the address is known, or DELAY has ended.
    pub fn send(
        &mut self,
        now_us: u64,
        next_hop: IpAddr,
        frame: impl Into<Frame>,
        out: &mut VecDeque<Frame>,
    ) {
        let Some(frame) = self.hold(now_us, next_hop, frame.into(), out) else { return };
        let entry = self.entries.entry(next_hop).or_default();
        let is_stale = now_us.saturating_sub(entry.confirmed_us) > REACHABLE_US;
        let mac = entry.mac;
        if let Some(dst) = mac {
            out.push_back(address(frame, self.mac, dst, next_hop));
        } else {
            entry.waiting.push_back(frame);
            if entry.waiting.len() > MAX_WAITING {
                entry.waiting.pop_front();
                self.unreachable_drops += 1;
            }
        }
        if (is_stale || mac.is_none()) && entry.retry_us.is_none() {
            self.probe(now_us, next_hop, out);
        }
    }

    /// Begins to ask for a neighbor.
    pub(super) fn probe(&mut self, now_us: u64, next_hop: IpAddr, out: &mut VecDeque<Frame>) {
        let Some(entry) = self.entries.get_mut(&next_hop) else { return };
        entry.tries = 1;
        entry.retry_us = Some(now_us + RETRY_US);
        let mac = entry.mac;
        out.extend(self.request(next_hop, mac).map(Frame::from));
    }

    /// Sends what waited for a neighbor.
    pub(super) fn send_waiting(&mut self, next_hop: IpAddr, out: &mut VecDeque<Frame>) {
        let Some(entry) = self.entries.get_mut(&next_hop) else { return };
        let Some(mac) = entry.mac else { return };
        for frame in entry.waiting.drain(..) {
            out.push_back(address(frame, self.mac, mac, next_hop));
        }
    }

    /// Handles an ARP packet that arrived.
    pub fn handle(&mut self, now_us: u64, packet: &ArpPacket, out: &mut VecDeque<Frame>) {
        let (sender_ip, target_ip) = (IpAddr::V4(packet.sender_ip), IpAddr::V4(packet.target_ip));
        let is_for_us = self.addresses.owns(target_ip);
        // RFC 826: update what we have; make a new entry only if we were addressed.
        if is_for_us || self.entries.contains_key(&sender_ip) {
            self.learn(now_us, sender_ip, packet.sender_mac, out);
        }
        if is_for_us && packet.operation == Operation::Request {
            let reply = ArpPacket {
                operation: Operation::Reply,
                sender_mac: self.mac,
                sender_ip: packet.target_ip,
                target_mac: packet.sender_mac,
                target_ip: packet.sender_ip,
            };
            out.push_back(reply.to_frame(packet.sender_mac).into());
        }
    }

    /// Stores an address and sends what waited for it.
    pub fn learn(&mut self, now_us: u64, ip: IpAddr, mac: MacAddr, out: &mut VecDeque<Frame>) {
        // A group address as somebody's own would make us flood.
        if mac.is_group() || ip.is_unspecified() || ip.is_multicast() {
            return;
        }
        let entry = self.entries.entry(ip).or_default();
        entry.mac = Some(mac);
        entry.confirmed_us = now_us;
        entry.tries = 0;
        entry.retry_us = None;
        entry.delay = None;
        self.send_waiting(ip, out);
    }

    /// Forward progress through a neighbor: it is reachable.
    pub fn confirm(&mut self, now_us: u64, ip: IpAddr, out: &mut VecDeque<Frame>) {
        if let Some(entry) = self.entries.get_mut(&ip).filter(|entry| entry.mac.is_some()) {
            entry.confirmed_us = now_us;
            entry.retry_us = None;
            entry.delay = None;
            self.send_waiting(ip, out);
        }
    }

    /// Repeats requests that are due and gives up on addresses that never answered.
    pub fn poll(&mut self, now_us: u64, out: &mut VecDeque<Frame>) {
        let mut requests = Vec::new();
        for (ip, entry) in &mut self.entries {
            if entry.retry_us.is_none_or(|at| now_us < at) {
                continue;
            }
            if entry.tries < MAX_TRIES {
                entry.tries += 1;
                entry.retry_us = Some(now_us + RETRY_US);
                requests.push((*ip, entry.mac));
            } else {
                self.unreachable_drops += entry.waiting.len() as u64;
                *entry = Entry::default();
            }
        }
        for (ip, mac) in requests {
            out.extend(self.request(ip, mac).map(Frame::from));
        }
    }

    /// Says to everybody where our addresses are: a gratuitous ARP request (RFC 5227 3) or an unsolicited advertisement (RFC 4861
    /// 7.2.6) for each.
    #[must_use]
    pub fn announcements(&self) -> Vec<Vec<u8>> {
        let announce = |ip| match ip {
            IpAddr::V4(ip) => ArpPacket {
                operation: Operation::Request,
                sender_mac: self.mac,
                sender_ip: ip,
                target_mac: MacAddr::default(),
                target_ip: ip,
            }
            .to_frame(MacAddr::BROADCAST),
            IpAddr::V6(ip) => {
                let (header, kind) = (neighbor_header(ip, ALL_NODES), w::TYPE_ADVERTISEMENT);
                let packet = icmpv6::neighbor_packet(&header, kind, w::FLAG_OVERRIDE, ip, self.mac);
                self.frame(group_mac(ALL_NODES), ALL_NODES, &packet)
            }
        };
        self.addresses.all().map(announce).collect()
    }

    /// When [`NeighborCache::poll`] has something to do, or [`NeighborCache::undecided`] something to say.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        let due = |entry: &Entry| entry.retry_us.or_else(|| entry.delay.and_then(|delay| delay.deadline()));
        self.entries.values().filter_map(due).min()
    }

    /// The question for an address, by unicast if it is only to be confirmed; none without an address of its family.
    fn request(&self, target: IpAddr, known: Option<MacAddr>) -> Option<Vec<u8>> {
        match (target, self.addresses.source_for(target)?) {
            (IpAddr::V4(target_ip), IpAddr::V4(sender_ip)) => {
                let packet = ArpPacket {
                    operation: Operation::Request,
                    sender_mac: self.mac,
                    sender_ip,
                    target_mac: MacAddr::default(),
                    target_ip,
                };
                Some(packet.to_frame(known.unwrap_or(MacAddr::BROADCAST)))
            }
            (IpAddr::V6(target), IpAddr::V6(src)) => Some(self.solicitation(src, target, known)),
            _ => None,
        }
    }

    /// RFC 4861 7.2.2; by unicast 7.3.3.
    fn solicitation(&self, src: Ipv6Addr, target: Ipv6Addr, known: Option<MacAddr>) -> Vec<u8> {
        let group = solicited_node(target);
        let (dst, mac) = known.map_or((group, group_mac(group)), |mac| (target, mac));
        let packet =
            icmpv6::neighbor_packet(&neighbor_header(src, dst), w::TYPE_SOLICITATION, 0, target, self.mac);
        self.frame(mac, dst, &packet)
    }

    /// Handles a neighbor message that arrived in a packet with `header`; other messages mean nothing here.
    pub fn handle_v6(
        &mut self,
        now_us: u64,
        header: &Ipv6Header,
        message: &Icmpv6Message<'_>,
        out: &mut VecDeque<Frame>,
    ) {
        match *message {
            Icmpv6Message::Solicitation { target, source_mac } if self.addresses.owns(target.into()) => {
                // RFC 4861 7.2.3 and 7.2.4: whoever asks will be spoken to. One without an address hears it with all others.
                let is_probe = header.src.is_unspecified();
                if let Some(mac) = source_mac {
                    self.learn(now_us, header.src.into(), mac, out);
                }
                let dst = if is_probe { ALL_NODES } else { header.src };
                let flags = w::FLAG_OVERRIDE | if is_probe { 0 } else { w::FLAG_SOLICITED };
                let answer = neighbor_header(target, dst);
                let packet = icmpv6::neighbor_packet(&answer, w::TYPE_ADVERTISEMENT, flags, target, self.mac);
                let frame = self.frame(group_mac(ALL_NODES), dst, &packet);
                if is_probe {
                    out.push_back(frame.into());
                } else {
                    self.send(now_us, dst.into(), frame, out);
                }
            }
            Icmpv6Message::Advertisement { target, target_mac, is_solicited, is_override } => {
                // RFC 4861 7.2.5: nobody is remembered who was not asked for.
                let Some(entry) = self.entries.get(&target.into()) else { return };
                let is_same = target_mac.is_none_or(|mac| entry.mac == Some(mac));
                match target_mac.or(entry.mac) {
                    Some(mac) if entry.mac.is_none() || is_override || (is_same && is_solicited) => {
                        self.learn(now_us, target.into(), mac, out);
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }

    fn frame(&self, mac: MacAddr, dst: Ipv6Addr, packet: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; we::HEADER_LEN];
        frame.extend(packet);
        address(frame.into(), self.mac, mac, dst.into()).bytes
    }
}

fn neighbor_header(src: Ipv6Addr, dst: Ipv6Addr) -> Ipv6Header {
    let (next_header, hop_limit) = (ip_protocol::ICMPV6, w::NEIGHBOR_HOP_LIMIT);
    Ipv6Header { src, dst, next_header, hop_limit, traffic_class: 0, flow_label: 0 }
}

/// A frame with its Ethernet header, padded; `ip` says which family is in it.
fn address(mut frame: Frame, src: MacAddr, dst: MacAddr, ip: IpAddr) -> Frame {
    EthernetHeader { dst, src, ethertype: ethertype(ip) }.write(&mut frame.bytes);
    ethernet::pad(&mut frame.bytes);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iface::address::Address;
    use std::net::Ipv4Addr;

    const PEER_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
    const PEER: IpAddr = IpAddr::V4(PEER_V4);
    const OUR_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
    const PEER_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);
    const OUR_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const PEER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

    fn cache() -> NeighborCache {
        let given = [Address::new(Ipv4Addr::new(10, 0, 0, 1), 24), Address::new(OUR_V6, 64)];
        NeighborCache::new(OUR_MAC, Addresses::new(OUR_MAC, &given))
    }

    fn reply() -> ArpPacket {
        ArpPacket {
            operation: Operation::Reply,
            sender_mac: PEER_MAC,
            sender_ip: PEER_V4,
            target_mac: OUR_MAC,
            target_ip: Ipv4Addr::new(10, 0, 0, 1),
        }
    }

    #[test]
    fn frames_wait_for_the_answer_and_leave_in_order() {
        let (mut cache, mut out) = (cache(), VecDeque::new());
        cache.send(0, PEER, vec![0; 61], &mut out);
        cache.send(0, PEER, vec![0; 62], &mut out);
        assert_eq!(out.len(), 1, "one request, not two");
        out.clear();
        cache.handle(5, &reply(), &mut out);
        assert_eq!(out.iter().map(|f| f.len()).collect::<Vec<_>>(), [61, 62]);
        assert_eq!(out[0][..6], PEER_MAC.0);
        assert_eq!(cache.next_deadline(), None);
    }

    #[test]
    fn silence_drops_the_waiting_frames_after_three_requests() {
        let (mut cache, mut out) = (cache(), VecDeque::new());
        cache.send(0, PEER, vec![0; 60], &mut out);
        for now in [1_000_000, 2_000_000, 3_000_000] {
            assert_eq!(cache.next_deadline(), Some(now));
            cache.poll(now, &mut out);
        }
        assert_eq!((out.len(), cache.unreachable_drops, cache.next_deadline()), (3, 1, None));
    }

    #[test]
    fn who_knows_us_learns_our_new_place_from_an_announcement() {
        let frames = cache().announcements();
        assert_eq!(frames[0][..6], [0xff; 6]);
        let packet = crate::wire::arp::parse(&frames[0][we::HEADER_LEN..]).unwrap();
        assert_eq!((packet.sender_ip, packet.sender_mac), (packet.target_ip, OUR_MAC));
        let ours = IpAddr::V4(packet.sender_ip);
        let mut other = NeighborCache::new(PEER_MAC, Addresses::new(PEER_MAC, &[Address::new(PEER_V4, 24)]));
        let mut out = VecDeque::new();
        other.learn(0, ours, PEER_MAC, &mut out);
        other.handle(1, &packet, &mut out);
        assert_eq!((other.lookup(ours), out.len()), (Some(OUR_MAC), 0));
        assert!(frames.len() >= 2 && frames[1][..2] == [0x33, 0x33], "IPv6 says it to all nodes");
    }

    #[test]
    fn a_stale_entry_is_used_and_probed_by_unicast() {
        let (mut cache, mut out) = (cache(), VecDeque::new());
        cache.learn(0, PEER, PEER_MAC, &mut out);
        cache.send(REACHABLE_US + 1, PEER, vec![0; 60], &mut out);
        assert_eq!(out.len(), 2);
        assert_eq!(out[1][..6], PEER_MAC.0, "unicast request");
        cache.confirm(REACHABLE_US + 2, PEER, &mut out);
        assert_eq!(cache.next_deadline(), None);
    }

    /// The message in a frame, read as its receiver does.
    fn read(frame: &[u8]) -> (MacAddr, Ipv6Header, Icmpv6Message<'_>) {
        let (ethernet, packet) = ethernet::parse(frame).expect("a frame");
        let (header, payload) = crate::wire::ipv6::parse(packet).expect("a packet");
        (ethernet.dst, header, icmpv6::parse(&header, payload).expect("a message"))
    }

    fn advertisement(flags: (bool, bool), mac: MacAddr) -> Icmpv6Message<'static> {
        let (is_solicited, is_override) = flags;
        Icmpv6Message::Advertisement { target: PEER_V6, target_mac: Some(mac), is_solicited, is_override }
    }

    #[test]
    fn an_ipv6_neighbor_is_asked_in_its_group_and_frames_wait_for_it() {
        let (mut cache, mut out) = (cache(), VecDeque::new());
        cache.send(0, PEER_V6.into(), vec![0; 70], &mut out);
        let question = out.pop_front().expect("a solicitation");
        let (mac, header, message) = read(&question);
        assert_eq!((mac, header.dst), (group_mac(header.dst), solicited_node(PEER_V6)));
        let wanted = Icmpv6Message::Solicitation { target: PEER_V6, source_mac: Some(OUR_MAC) };
        assert_eq!((header.src, message), (OUR_V6, wanted));
        let header = neighbor_header(PEER_V6, OUR_V6);
        cache.handle_v6(5, &header, &advertisement((true, true), PEER_MAC), &mut out);
        assert_eq!((out.len(), out[0].len(), &out[0][..6]), (1, 70, &PEER_MAC.0[..]));
    }

    #[test]
    fn an_advertisement_nobody_asked_for_changes_only_what_it_may() {
        let (mut cache, mut out) = (cache(), VecDeque::new());
        let (header, other) = (neighbor_header(PEER_V6, OUR_V6), MacAddr([2, 0, 0, 0, 0, 9]));
        cache.handle_v6(0, &header, &advertisement((false, true), PEER_MAC), &mut out);
        assert_eq!(cache.lookup(PEER_V6.into()), None, "a stranger");
        cache.learn(0, PEER_V6.into(), PEER_MAC, &mut out);
        cache.handle_v6(0, &header, &advertisement((true, false), other), &mut out);
        assert_eq!(cache.lookup(PEER_V6.into()), Some(PEER_MAC), "without override");
        cache.handle_v6(0, &header, &advertisement((false, true), other), &mut out);
        assert_eq!(cache.lookup(PEER_V6.into()), Some(other));
    }

    #[test]
    fn whoever_asks_for_our_address_is_answered_and_learned() {
        let (mut cache, mut out) = (cache(), VecDeque::new());
        let ask = Icmpv6Message::Solicitation { target: OUR_V6, source_mac: Some(PEER_MAC) };
        cache.handle_v6(0, &neighbor_header(PEER_V6, solicited_node(OUR_V6)), &ask, &mut out);
        let (mac, header, answer) = read(&out[0]);
        assert_eq!((mac, header.dst, cache.lookup(PEER_V6.into())), (PEER_MAC, PEER_V6, Some(PEER_MAC)));
        let (target, target_mac) = (OUR_V6, Some(OUR_MAC));
        let wanted =
            Icmpv6Message::Advertisement { target, target_mac, is_solicited: true, is_override: true };
        assert_eq!(answer, wanted);
        // Somebody who wants the address for itself hears that it is taken.
        let probe = Icmpv6Message::Solicitation { target: OUR_V6, source_mac: None };
        cache.handle_v6(0, &neighbor_header(Ipv6Addr::UNSPECIFIED, solicited_node(OUR_V6)), &probe, &mut out);
        let (mac, header, _) = read(&out[1]);
        assert_eq!((mac, header.dst), (group_mac(ALL_NODES), ALL_NODES));
    }
}
