//! Neighbor cache with ARP: next-hop address to MAC, and the frames that wait for an answer.
//!
//! ```text
//!   (none) --send--> Incomplete --answer--> Reachable --30 s--> (stale: used, and probed by unicast)
//!                        | 3 requests, 1 s apart, no answer           | no answer
//!                        `-----> waiting frames dropped, counted <----'
//! ```
//! Acknowledged progress of a connection also confirms its neighbor (R-268's rule on the host side).

use crate::wire::arp::{ArpPacket, Operation};
use crate::wire::ethernet::{EthernetHeader, MacAddr};
use chimney_abi::wire::ethernet::TYPE_IPV4;
use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;

/// Time between requests.
const RETRY_US: u64 = 1_000_000;
/// Requests before an address counts as unreachable.
const MAX_TRIES: u8 = 3;
/// A confirmation older than this makes an entry stale (RFC 4861's REACHABLE_TIME).
const REACHABLE_US: u64 = 30_000_000;
/// Frames that may wait for one address; the oldest goes first.
const MAX_WAITING: usize = 16;

#[derive(Debug, Default)]
struct Entry {
    mac: Option<MacAddr>,
    confirmed_us: u64,
    tries: u8,
    retry_us: Option<u64>,
    waiting: VecDeque<Vec<u8>>,
}

/// The cache of one interface.
#[derive(Debug)]
pub struct NeighborCache {
    mac: MacAddr,
    ip: Ipv4Addr,
    entries: BTreeMap<Ipv4Addr, Entry>,
    /// Frames dropped because nobody answered.
    pub unreachable_drops: u64,
}

impl NeighborCache {
    /// An empty cache of the interface with these addresses.
    #[must_use]
    pub fn new(mac: MacAddr, ip: Ipv4Addr) -> NeighborCache {
        NeighborCache { mac, ip, entries: BTreeMap::new(), unreachable_drops: 0 }
    }

    /// The MAC address of a next hop, if known.
    #[must_use]
    pub fn lookup(&self, next_hop: Ipv4Addr) -> Option<MacAddr> {
        self.entries.get(&next_hop).and_then(|entry| entry.mac)
    }

    /// Age of the last confirmation, microseconds (the neighbor object's HRD).
    #[must_use]
    pub fn age_us(&self, next_hop: Ipv4Addr, now_us: u64) -> Option<u64> {
        let entry = self.entries.get(&next_hop).filter(|entry| entry.mac.is_some())?;
        Some(now_us.saturating_sub(entry.confirmed_us))
    }

    /// Sends a frame whose Ethernet header is still empty, or keeps it until the address is known.
    pub fn send(&mut self, now_us: u64, next_hop: Ipv4Addr, mut frame: Vec<u8>, out: &mut VecDeque<Vec<u8>>) {
        let entry = self.entries.entry(next_hop).or_default();
        let is_stale = now_us.saturating_sub(entry.confirmed_us) > REACHABLE_US;
        let mac = entry.mac;
        if let Some(dst) = mac {
            EthernetHeader { dst, src: self.mac, ethertype: TYPE_IPV4 }.write(&mut frame);
            crate::wire::ethernet::pad(&mut frame);
            out.push_back(frame);
        } else {
            entry.waiting.push_back(frame);
            if entry.waiting.len() > MAX_WAITING {
                entry.waiting.pop_front();
                self.unreachable_drops += 1;
            }
        }
        if (is_stale || mac.is_none()) && entry.retry_us.is_none() {
            entry.tries = 1;
            entry.retry_us = Some(now_us + RETRY_US);
            out.push_back(self.request(next_hop, mac));
        }
    }

    /// Handles an ARP packet that arrived.
    pub fn handle(&mut self, now_us: u64, packet: &ArpPacket, out: &mut VecDeque<Vec<u8>>) {
        let is_for_us = packet.target_ip == self.ip;
        // RFC 826: update what we have; make a new entry only if we were addressed.
        if is_for_us || self.entries.contains_key(&packet.sender_ip) {
            self.learn(now_us, packet.sender_ip, packet.sender_mac, out);
        }
        if is_for_us && packet.operation == Operation::Request {
            let reply = ArpPacket {
                operation: Operation::Reply,
                sender_mac: self.mac,
                sender_ip: self.ip,
                target_mac: packet.sender_mac,
                target_ip: packet.sender_ip,
            };
            out.push_back(reply.to_frame(packet.sender_mac));
        }
    }

    /// Stores an address and sends what waited for it.
    pub fn learn(&mut self, now_us: u64, ip: Ipv4Addr, mac: MacAddr, out: &mut VecDeque<Vec<u8>>) {
        // A group address as somebody's own would make us flood.
        if mac.is_group() || ip.is_unspecified() {
            return;
        }
        let entry = self.entries.entry(ip).or_default();
        entry.mac = Some(mac);
        entry.confirmed_us = now_us;
        entry.tries = 0;
        entry.retry_us = None;
        for mut frame in entry.waiting.drain(..) {
            EthernetHeader { dst: mac, src: self.mac, ethertype: TYPE_IPV4 }.write(&mut frame);
            crate::wire::ethernet::pad(&mut frame);
            out.push_back(frame);
        }
    }

    /// Forward progress through a neighbor: it is reachable.
    pub fn confirm(&mut self, now_us: u64, ip: Ipv4Addr) {
        if let Some(entry) = self.entries.get_mut(&ip).filter(|entry| entry.mac.is_some()) {
            entry.confirmed_us = now_us;
            entry.retry_us = None;
        }
    }

    /// Repeats requests that are due and gives up on addresses that never answered.
    pub fn poll(&mut self, now_us: u64, out: &mut VecDeque<Vec<u8>>) {
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
            out.push_back(self.request(ip, mac));
        }
    }

    /// When [`NeighborCache::poll`] has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        self.entries.values().filter_map(|entry| entry.retry_us).min()
    }

    fn request(&self, target_ip: Ipv4Addr, known: Option<MacAddr>) -> Vec<u8> {
        let packet = ArpPacket {
            operation: Operation::Request,
            sender_mac: self.mac,
            sender_ip: self.ip,
            target_mac: MacAddr::default(),
            target_ip,
        };
        packet.to_frame(known.unwrap_or(MacAddr::BROADCAST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
    const PEER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

    fn cache() -> NeighborCache {
        NeighborCache::new(MacAddr([2, 0, 0, 0, 0, 1]), Ipv4Addr::new(10, 0, 0, 1))
    }

    fn reply() -> ArpPacket {
        ArpPacket {
            operation: Operation::Reply,
            sender_mac: PEER_MAC,
            sender_ip: PEER,
            target_mac: MacAddr([2, 0, 0, 0, 0, 1]),
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
        assert_eq!(out.iter().map(Vec::len).collect::<Vec<_>>(), [61, 62]);
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
    fn a_stale_entry_is_used_and_probed_by_unicast() {
        let (mut cache, mut out) = (cache(), VecDeque::new());
        cache.learn(0, PEER, PEER_MAC, &mut out);
        cache.send(REACHABLE_US + 1, PEER, vec![0; 60], &mut out);
        assert_eq!(out.len(), 2);
        assert_eq!(out[1][..6], PEER_MAC.0, "unicast request");
        cache.confirm(REACHABLE_US + 2, PEER);
        assert_eq!(cache.next_deadline(), None);
    }
}
