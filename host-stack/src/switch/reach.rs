//! Neighbors below connections that the target has, and whether they still answer (spec 16.1).
//!
//! ```text
//!   target asks --> hears our age, or 0: DELAY --due--> query: how old is its own? --younger than then--> Reachable
//!                                                                                  --not--> Probe --no answer--> gone here
//!   gone here --> query: how old is its own? --younger than the probes--> Reachable, by the MAC address that it uses
//!                                            --not--> invalidate --answers again--> what still hangs there is uploaded
//! ```
//! What the states mean is in `iface/delay.rs`; here they meet the target. Connections below an invalid neighbor ask for their
//! upload when they have something to send (R-135); those that have not are taken back when the neighbor answers again, so that
//! it can be offloaded anew.

use super::link::Wish;
use super::Switch;
use crate::iface::neighbor::PROBE_MS;
use crate::wire::ethernet::MacAddr;
use chimney_abi::cmd::Status;
use chimney_abi::offload::{HostHandle, Offload, Residence, Tree};
use std::net::IpAddr;

impl Switch {
    /// R-270: what the target hears if it asks in this poll.
    pub(super) fn set_ages(&mut self, now_us: u64) {
        let ages =
            self.objects.hops().map(|(handle, hop)| (handle, self.stack.neighbors.answer_ms(now_us, hop)));
        self.inbox.ages_ms = ages.collect();
    }

    /// The target heard 0.
    pub(super) fn in_doubt(&mut self, now_us: u64, handle: HostHandle, target_ms: u32) {
        if let Some(hop) = self.objects.hop(handle) {
            self.stack.neighbors.delay(now_us, hop, target_ms);
        }
    }

    /// Asks the target for its confirmations that decide something: the end of DELAY (R-272, R-273), and whether a neighbor is
    /// really gone that has not answered here. True if it is under way.
    pub(super) fn start_age_query(&mut self, now_us: u64, target: &mut dyn Offload) -> bool {
        let undecided = self.stack.neighbors.undecided(now_us);
        let mut tree = Tree::new();
        for hop in self.objects.good_hops() {
            if self.stack.neighbors.lookup(hop).is_none() {
                self.objects.select_hop(&mut tree, hop);
            }
        }
        let (asked, alone): (Vec<IpAddr>, Vec<IpAddr>) =
            undecided.into_iter().partition(|hop| self.objects.select_hop(&mut tree, *hop));
        self.is_busy = !tree.is_empty() && target.query(tree).is_ok();
        for hop in &asked {
            self.stack.neighbors.asked(*hop);
        }
        // Nobody can say anything about those that the target does not have.
        let unasked = if self.is_busy { Vec::new() } else { asked };
        for hop in alone.into_iter().chain(unasked) {
            self.stack.neighbors.decide(now_us, hop, None, &mut self.stack.tx);
        }
        self.is_busy
    }

    /// The neighbors in the answer of a query.
    pub(super) fn hear_ages(&mut self, now_us: u64, tree: &Tree) {
        for neighbor in tree.iter().filter(|n| n.selected) {
            let Some(hop) = self.objects.hop(neighbor.handle) else { continue };
            let state = neighbor.state.filter(|_| neighbor.status == Status::Success);
            let target_ms = state.map(|state| state.nic_reachability_ms);
            self.stack.neighbors.decide(now_us, hop, target_ms, &mut self.stack.tx);
            if self.stack.neighbors.lookup(hop).is_none() {
                self.judge(now_us, hop, target_ms);
            }
            if state.is_none() {
                self.leave_hop(hop); // R-123
            }
        }
    }

    /// A neighbor has not answered; the target saw progress within the time of the requests, or not.
    fn judge(&mut self, now_us: u64, hop: IpAddr, target_ms: Option<u32>) {
        match (target_ms.filter(|ms| *ms <= PROBE_MS), self.objects.mac(hop)) {
            (Some(ms), Some(mac)) => {
                self.stack.neighbors.restore(now_us, hop, MacAddr(mac), ms, &mut self.stack.tx);
            }
            _ => self.objects.set_silent(hop),
        }
    }

    /// Tells the target of neighbors that do not answer any more (R-272). True if it is under way.
    pub(super) fn start_invalidate(&mut self, target: &mut dyn Offload) -> bool {
        let neighbors = &self.stack.neighbors;
        let tree = self.objects.invalidate_tree(|hop| neighbors.lookup(hop).is_none());
        // Refused only when the device is lost.
        self.is_busy = !tree.is_empty() && target.invalidate(tree).is_ok();
        self.is_busy
    }

    pub(super) fn invalidated(&mut self, tree: &Tree) {
        self.is_busy = false;
        self.objects.invalidated(tree);
        for neighbor in tree.iter().filter(|n| n.selected && n.status != Status::Success) {
            if let Some(hop) = self.objects.hop(neighbor.handle) {
                self.leave_hop(hop); // the target goes on sending there
            }
        }
    }

    /// Takes back what hangs on invalid neighbors that answer again.
    pub(super) fn leave_invalid(&mut self) {
        for hop in self.objects.invalid_hops() {
            if self.stack.neighbors.lookup(hop).is_some() {
                self.leave_hop(hop);
            }
        }
    }

    fn leave_hop(&mut self, hop: IpAddr) {
        let is_there = |route: super::objects::Route| route.next_hop == hop;
        for link in self.links.values_mut().filter(|l| l.residence == Residence::Offloaded) {
            if link.route.is_some_and(is_there) {
                link.wants = Some(Wish::Upload);
            }
        }
    }

    /// A connection may be handed over by way of this neighbor. Not while it is in DELAY: a hand-over sends, too (R-273), and
    /// what waits there must not be overtaken (law L3). One that is invalid has no address, or is about to be uploaded.
    pub(super) fn may_use(&mut self, hop: IpAddr) -> bool {
        !self.stack.neighbors.want(hop)
    }
}
