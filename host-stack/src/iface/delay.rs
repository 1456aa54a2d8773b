//! The DELAY state of a neighbor (RFC 4861 7.3.3, spec 16.1): the host's confirmation is old, and the target uses the neighbor.
//!
//! ```text
//!   stale --the target asks, and hears 0--> Delay --5 s, or the host has something to send--> how old is the target's own?
//!                                             | an answer, progress                             |              |
//!                                             v                                                 | younger      | not
//!                                         Reachable <-------------------------------------------'              v
//!                                       (none) <--no answer to 3 requests by unicast, 1 s apart-------------- Probe
//! ```
//! The target sees progress that the host does not, so it is asked before anybody on the wire is. What the host has to send
//! meanwhile waits for its word (R-273). IPv4 and IPv6 go the same way (R-275).

use super::frame::Frame;
use super::neighbor::{NeighborCache, REACHABLE_US};
use crate::wire::ethernet::MacAddr;
use std::collections::VecDeque;
use std::net::IpAddr;

/// RFC 4861's DELAY_FIRST_PROBE_TIME.
const DELAY_US: u64 = 5_000_000;
/// Frames that may wait for the target's word; with one more the host probes without it.
const MAX_HELD: usize = 1024;
/// Ages are whole milliseconds, and each of two clocks loses part of one: so much younger is no news, microseconds.
const ROUNDING_US: u64 = 2000;

/// A neighbor in DELAY.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delay {
    /// When the host would probe.
    until_us: u64,
    /// Age of the target's confirmation when it asked.
    target_ms: u32,
    /// The host has something to send.
    is_wanted: bool,
    /// The target is being asked.
    is_asked: bool,
}

impl Delay {
    /// When the target is to be asked, if it is not yet.
    pub fn deadline(&self) -> Option<u64> {
        let at = if self.is_wanted { 0 } else { self.until_us };
        (!self.is_asked).then_some(at)
    }
}

impl NeighborCache {
    /// R-270: what a target hears that asks for a neighbor: the age of our confirmation, or 0 if that is stale, milliseconds.
    #[must_use]
    pub fn answer_ms(&self, now_us: u64, next_hop: IpAddr) -> u32 {
        match self.age_us(next_hop, now_us) {
            Some(age_us) if age_us <= REACHABLE_US => u32::try_from(age_us / 1000).unwrap_or(u32::MAX).max(1),
            _ => 0,
        }
    }

    /// A target whose own confirmation is `target_ms` old has heard 0. A neighbor that is being probed, or in DELAY already,
    /// stays so.
    pub fn delay(&mut self, now_us: u64, next_hop: IpAddr, target_ms: u32) {
        let is_stale = self.answer_ms(now_us, next_hop) == 0;
        let Some(entry) = self.entries.get_mut(&next_hop) else { return };
        if is_stale && entry.mac.is_some() && entry.retry_us.is_none() {
            let until_us = now_us + DELAY_US;
            entry.delay.get_or_insert(Delay { until_us, target_ms, is_wanted: false, is_asked: false });
        }
    }

    /// The host wants to send through a neighbor; true if the target's word comes first (R-273).
    pub fn want(&mut self, next_hop: IpAddr) -> bool {
        let delay = self.entries.get_mut(&next_hop).and_then(|entry| entry.delay.as_mut());
        delay.map(|delay| delay.is_wanted = true).is_some()
    }

    /// Keeps a frame for a neighbor in DELAY; gives it back if the neighbor is not.
    pub(super) fn hold(
        &mut self,
        now_us: u64,
        next_hop: IpAddr,
        frame: Frame,
        out: &mut VecDeque<Frame>,
    ) -> Option<Frame> {
        if !self.want(next_hop) {
            return Some(frame);
        }
        let entry = self.entries.entry(next_hop).or_default();
        entry.waiting.push_back(frame);
        if entry.waiting.len() > MAX_HELD {
            self.decide(now_us, next_hop, None, out);
        }
        None
    }

    /// The neighbors for which the target's word is due (R-272, R-273).
    #[must_use]
    pub fn undecided(&self, now_us: u64) -> Vec<IpAddr> {
        let due = |delay: &Delay| delay.deadline().is_some_and(|at| now_us >= at);
        let entries = self.entries.iter().filter(|(_, entry)| entry.delay.as_ref().is_some_and(due));
        entries.map(|(ip, _)| *ip).collect()
    }

    /// The target is being asked.
    pub fn asked(&mut self, next_hop: IpAddr) {
        if let Some(delay) = self.entries.get_mut(&next_hop).and_then(|entry| entry.delay.as_mut()) {
            delay.is_asked = true;
        }
    }

    /// The end of DELAY: the target's confirmation is `target_ms` old, or nothing is known of it.
    pub fn decide(
        &mut self,
        now_us: u64,
        next_hop: IpAddr,
        target_ms: Option<u32>,
        out: &mut VecDeque<Frame>,
    ) {
        let Some(entry) = self.entries.get_mut(&next_hop) else { return };
        let Some(delay) = entry.delay.take() else { return };
        // R-272: younger than when it asked means that there was progress.
        match target_ms.filter(|ms| *ms < delay.target_ms) {
            Some(ms) => entry.confirmed_us = entry.confirmed_us.max(confirmation_us(now_us, ms)),
            None => self.probe(now_us, next_hop, out),
        }
        self.send_waiting(next_hop, out);
    }

    /// No target is there to be asked any more.
    pub fn decide_all(&mut self, now_us: u64, out: &mut VecDeque<Frame>) {
        let delayed: Vec<_> =
            self.entries.iter().filter(|(_, entry)| entry.delay.is_some()).map(|(ip, _)| *ip).collect();
        for next_hop in delayed {
            self.decide(now_us, next_hop, None, out);
        }
    }

    /// A target gives a neighbor back, with its own confirmation: if that is younger it is the host's, too.
    pub fn give_back(&mut self, now_us: u64, next_hop: IpAddr, target_ms: u32, out: &mut VecDeque<Frame>) {
        self.decide(now_us, next_hop, Some(target_ms), out);
        let Some(entry) = self.entries.get_mut(&next_hop).filter(|entry| entry.mac.is_some()) else { return };
        let at_us = confirmation_us(now_us, target_ms);
        if at_us > entry.confirmed_us + ROUNDING_US {
            entry.confirmed_us = at_us;
        }
    }

    /// Nobody answered here, but the target has seen progress since: the address that it uses is right (RFC 4861 7.3.1).
    pub fn restore(
        &mut self,
        now_us: u64,
        next_hop: IpAddr,
        mac: MacAddr,
        target_ms: u32,
        out: &mut VecDeque<Frame>,
    ) {
        self.learn(confirmation_us(now_us, target_ms), next_hop, mac, out);
    }
}

fn confirmation_us(now_us: u64, age_ms: u32) -> u64 {
    now_us.saturating_sub(u64::from(age_ms) * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iface::address::{Address, Addresses};
    use std::net::{Ipv4Addr, Ipv6Addr};

    const V4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
    const V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2));
    const OUR_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
    const OUR_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const PEER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
    /// When the target asks.
    const ASKED_US: u64 = 40_000_000;
    /// Age of its own confirmation then.
    const TARGET_MS: u32 = 35_000;

    fn cache() -> NeighborCache {
        let given = [Address::new(Ipv4Addr::new(10, 0, 0, 1), 24), Address::new(OUR_V6, 64)];
        NeighborCache::new(OUR_MAC, Addresses::new(OUR_MAC, &given))
    }

    /// A cache with a neighbor in DELAY.
    fn delayed(ip: IpAddr) -> (NeighborCache, VecDeque<Frame>) {
        let (mut cache, mut out) = (cache(), VecDeque::new());
        cache.learn(0, ip, PEER_MAC, &mut out);
        assert_eq!(cache.answer_ms(ASKED_US, ip), 0);
        cache.delay(ASKED_US, ip, TARGET_MS);
        (cache, out)
    }

    /// Verifies: R-270
    #[test]
    fn a_target_hears_the_age_of_a_fresh_entry_and_zero_of_a_stale_one() {
        let (mut cache, mut out) = (cache(), VecDeque::new());
        assert_eq!(cache.answer_ms(0, V4), 0, "nobody knows it");
        cache.learn(1_000_000, V4, PEER_MAC, &mut out);
        assert_eq!(cache.answer_ms(1_000_000, V4), 1, "an answer of 0 would say something else");
        assert_eq!(cache.answer_ms(31_000_000, V4), 30_000);
        cache.delay(31_000_000, V4, TARGET_MS);
        assert_eq!(cache.next_deadline(), None, "reachable: nothing to wait for");
        assert_eq!(cache.answer_ms(31_000_001, V4), 0);
        cache.delay(31_000_001, V4, TARGET_MS);
        assert_eq!(cache.next_deadline(), Some(36_000_001));
        assert!(out.is_empty(), "nothing is sent yet");
        assert!(cache.undecided(36_000_000).is_empty());
        assert_eq!(cache.undecided(36_000_001), [V4]);
        cache.asked(V4);
        assert_eq!((cache.undecided(36_000_002).len(), cache.next_deadline()), (0, None));
    }

    /// Verifies: R-272
    #[test]
    fn a_younger_confirmation_of_the_target_becomes_the_hosts_and_nobody_is_probed() {
        let (mut cache, mut out) = delayed(V4);
        let now_us = ASKED_US + DELAY_US;
        cache.decide(now_us, V4, Some(3000), &mut out);
        assert_eq!((cache.age_us(V4, now_us), cache.next_deadline()), (Some(3_000_000), None));
        assert_eq!((out.len(), cache.answer_ms(now_us, V4)), (0, 3000));
    }

    /// The requests are by unicast, of both families.
    ///
    /// Verifies: R-272, R-275
    #[test]
    fn a_neighbor_without_progress_is_probed_and_without_an_answer_forgotten() {
        for (ip, target_ms) in [(V4, Some(TARGET_MS)), (V4, None), (V6, Some(TARGET_MS + 5000))] {
            let (mut cache, mut out) = delayed(ip);
            let now_us = ASKED_US + DELAY_US;
            cache.decide(now_us, ip, target_ms, &mut out);
            for n in 1..=3 {
                assert_eq!(cache.next_deadline(), Some(now_us + n * 1_000_000), "{ip}");
                cache.poll(now_us + n * 1_000_000, &mut out);
            }
            assert!(out.iter().all(|frame| frame[..6] == PEER_MAC.0), "{ip}: by unicast");
            let ethertype = if ip.is_ipv4() { [0x08, 0x06] } else { [0x86, 0xDD] };
            assert!(out.iter().all(|frame| frame[12..14] == ethertype), "{ip}: ARP, or Neighbor Discovery");
            assert_eq!((out.len(), cache.lookup(ip)), (3, None), "{ip}");
        }
    }

    /// Verifies: R-273
    #[test]
    fn what_the_host_sends_in_delay_waits_for_the_targets_word() {
        for (target_ms, requests) in [(Some(10), 0), (Some(TARGET_MS + 1), 1)] {
            let (mut cache, mut out) = delayed(V4);
            cache.send(ASKED_US + 10, V4, vec![0; 61], &mut out);
            cache.send(ASKED_US + 10, V4, vec![0; 62], &mut out);
            assert_eq!((out.len(), cache.undecided(ASKED_US + 10)), (0, vec![V4]));
            cache.decide(ASKED_US + 20, V4, target_ms, &mut out);
            let frames: Vec<_> = out.iter().filter(|f| f[12..14] == [0x08, 0x00]).map(|f| f.len()).collect();
            assert_eq!((frames, out.len()), (vec![61, 62], 2 + requests));
            out.clear();
            cache.send(ASKED_US + 30, V4, vec![0; 63], &mut out);
            assert_eq!(out.len(), 1, "no other question, no other probe");
        }
    }

    #[test]
    fn what_confirms_a_neighbor_ends_its_delay() {
        let (mut cache, mut out) = delayed(V4);
        cache.send(ASKED_US, V4, vec![0; 61], &mut out);
        cache.confirm(ASKED_US + 1, V4, &mut out);
        assert_eq!((out.len(), cache.next_deadline()), (1, None));
        let (mut cache, mut out) = delayed(V6);
        cache.send(ASKED_US, V6, vec![0; 71], &mut out);
        cache.learn(ASKED_US + 1, V6, PEER_MAC, &mut out);
        assert_eq!((out.len(), cache.next_deadline()), (1, None));
        cache.decide(ASKED_US + 2, V6, None, &mut out);
        assert_eq!(out.len(), 1, "a late word says nothing");
    }

    #[test]
    fn a_host_with_much_to_say_probes_without_the_targets_word_and_loses_nothing() {
        let (mut cache, mut out) = delayed(V4);
        for _ in 0..MAX_HELD {
            cache.send(ASKED_US, V4, vec![0; 61], &mut out);
        }
        assert!(out.is_empty());
        cache.send(ASKED_US, V4, vec![0; 61], &mut out);
        assert_eq!((out.len(), cache.unreachable_drops), (MAX_HELD + 2, 0));
    }

    /// A neighbor that goes down and up without progress does not become younger.
    #[test]
    fn a_confirmation_that_comes_back_is_taken_if_it_is_news() {
        let (mut cache, mut out) = (cache(), VecDeque::new());
        cache.learn(999, V4, PEER_MAC, &mut out);
        for now_us in [3000, 7000, 9999] {
            let age_ms = cache.age_us(V4, now_us).expect("known") / 1000;
            cache.give_back(now_us, V4, age_ms as u32, &mut out);
            assert_eq!(cache.age_us(V4, now_us), Some(now_us - 999));
        }
        cache.give_back(10_000, V4, 2, &mut out);
        assert_eq!(cache.age_us(V4, 10_000), Some(2000));
        let (mut cache, mut out) = delayed(V4);
        cache.give_back(ASKED_US + 10, V4, TARGET_MS, &mut out);
        assert_eq!(out.len(), 1, "the end of DELAY is the same: probed");
    }
}
