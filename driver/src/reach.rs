//! Neighbor reachability (spec 16.1): the ages of both confirmations. They are the driver's; the device only stores what it is given.
//!
//! ```text
//!   a shadow record shows progress --------------> NRT = now                                     (R-268)
//!   something is to be sent, NRT and HRT are old -> the host is asked, HRT = now - its answer    (R-269 to R-271)
//! ```
//! The driver looks before it rings for new data. The device also transmits by itself, so the neighbors of connections with
//! something unacknowledged are looked at every [`CHECK_US`] besides. Keepalive probes of idle connections ask nobody: they
//! test the peer themselves.

use chimney_abi::cmd::Status;
use chimney_abi::offload::{NeighborBlock, NeighborState, OffloadClient, Role, Token};
use chimney_abi::state::TcpRecord;

use crate::bus::{Bus, DmaMemory};
use crate::conn::{Close, Conn, Phase};
use crate::driver::Driver;

/// Time between two looks at what the device sends by itself, microseconds.
pub(crate) const CHECK_US: u64 = 100_000;

/// The clock of ages: milliseconds modulo 2^32 (R-274).
pub(crate) fn clock_ms(now_us: u64) -> u32 {
    (now_us / 1000) as u32 // modulo 2^32
}

/// When a neighbor was confirmed last: on the clock of ages, so that an age is a difference modulo 2^32 (R-274).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    /// By the host (HRT).
    host_ms: u32,
    /// By the target (NRT).
    target_ms: u32,
}

impl Reach {
    /// From the ages in a state.
    pub fn of(state: &NeighborState, now_ms: u32) -> Self {
        Self {
            host_ms: now_ms.wrapping_sub(state.host_reachability_ms),
            target_ms: now_ms.wrapping_sub(state.nic_reachability_ms),
        }
    }

    /// The state with the ages as they are now.
    pub fn stamp(&self, state: NeighborState, now_ms: u32) -> NeighborState {
        NeighborState {
            host_reachability_ms: now_ms.wrapping_sub(self.host_ms),
            nic_reachability_ms: now_ms.wrapping_sub(self.target_ms),
            ..state
        }
    }

    /// R-268: the peer gets what is sent.
    pub fn progress(&mut self, now_ms: u32) {
        self.target_ms = now_ms;
    }

    /// R-271: the host's confirmation is so old.
    pub fn host_said(&mut self, now_ms: u32, age_ms: u32) {
        self.host_ms = now_ms.wrapping_sub(age_ms);
    }

    /// R-269: nobody has confirmed it for more than `limit_ms`.
    pub fn is_stale(&self, now_ms: u32, limit_ms: u32) -> bool {
        now_ms.wrapping_sub(self.target_ms) > limit_ms && now_ms.wrapping_sub(self.host_ms) > limit_ms
    }
}

/// How far the peer is: what it has acknowledged, and what it has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marks {
    snd_una: u32,
    rcv_nxt: u32,
}

impl From<&TcpRecord> for Marks {
    fn from(r: &TcpRecord) -> Self {
        Self { snd_una: r.snd_una, rcv_nxt: r.rcv_nxt }
    }
}

impl<M: DmaMemory> Conn<M> {
    /// As the device said last.
    pub(crate) fn marks(&self) -> Marks {
        let said = |s: chimney_abi::desc::Shadow| Marks { snd_una: s.snd_una, rcv_nxt: s.rcv_nxt };
        self.shadow.map_or(Marks::from(&self.record), said)
    }

    /// The device has something that the peer has not acknowledged, so it sends or may send again at any time.
    pub(crate) fn is_sending(&self) -> bool {
        let has_fin = self.close == Close::Told && !self.fin_acked;
        let is_stopped = self.aborted || self.reason.is_some_and(|reason| reason.is_mandatory()); // R-163
        self.phase == Phase::Offloaded && !is_stopped && (has_fin || self.send.una() != self.send.limit())
    }
}

impl<B: Bus> Driver<B> {
    /// Forward progress of a connection on this path.
    pub(crate) fn confirm(&mut self, path: Token) {
        let now_ms = clock_ms(self.now_us);
        let Some(neighbor) = self.paths.get(path).map(|path| path.neighbor) else { return };
        if let Some(own) = self.neighbors.get_mut(neighbor) {
            own.reach.progress(now_ms);
        }
    }

    /// Something is to be sent on this path: asks the host about the neighbor, if that is due. True if it was asked.
    pub(crate) fn ask_below(&mut self, path: Token, client: &mut dyn OffloadClient) -> bool {
        let (now_ms, limit_ms) = (clock_ms(self.now_us), self.nce_stale_ms);
        let Some(token) = self.paths.get(path).map(|path| path.neighbor) else { return false };
        let Some(own) = self.neighbors.get_mut(token) else { return false };
        // One that is invalid or leaves carries nothing.
        let is_live = own.phase == Phase::Offloaded && !own.is_invalid;
        if !is_live || !own.reach.is_stale(now_ms, limit_ms) {
            return false;
        }
        // R-276.
        let mut block = NeighborBlock {
            role: Role::Linker(token),
            handle: own.handle,
            state: Some(own.reach.stamp(own.state, now_ms)),
            status: Status::Success,
            paths: Vec::new(),
            selected: true,
        };
        client.neighbor_reachability(&mut block);
        // A host that takes the state away has said nothing, and is not asked again for as long.
        let age_ms = block.state.map_or(0, |state| state.host_reachability_ms);
        own.reach.host_said(now_ms, age_ms);
        self.reachability_queries += 1;
        true
    }

    /// Looks at what the device may send by itself.
    pub(crate) fn check_reach(&mut self, client: &mut dyn OffloadClient) -> bool {
        if self.now_us.saturating_sub(self.reach_checked_us) < CHECK_US {
            return false;
        }
        self.reach_checked_us = self.now_us;
        let now_ms = clock_ms(self.now_us);
        let is_stale =
            |token| self.neighbors.get(token).is_some_and(|n| n.reach.is_stale(now_ms, self.nce_stale_ms));
        if !self.neighbors.tokens().into_iter().any(is_stale) {
            return false;
        }
        let mut any = false;
        for token in self.conns.tokens() {
            let path = self.conns.get(token).filter(|conn| conn.is_sending()).map(|conn| conn.path);
            any |= path.is_some_and(|path| self.ask_below(path, client));
        }
        any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT_MS: u32 = 1000;

    /// An offloaded neighbor that was confirmed `age_ms` ago.
    fn offloaded(now_ms: u32, age_ms: u32) -> Reach {
        let state = NeighborState {
            host_reachability_ms: age_ms,
            nic_reachability_ms: age_ms,
            ..NeighborState::default()
        };
        Reach::of(&state, now_ms)
    }

    fn ages(reach: &Reach, now_ms: u32) -> (u32, u32) {
        let state = reach.stamp(NeighborState::default(), now_ms);
        (state.host_reachability_ms, state.nic_reachability_ms)
    }

    /// The numbers of spec 23.2.
    ///
    /// Verifies: R-269, R-271, R-274
    #[test]
    fn the_worked_example_of_the_contract() {
        let mut reach = offloaded(5000, 200);
        assert_eq!(reach, Reach { host_ms: 4800, target_ms: 4800 });
        assert!(!reach.is_stale(5800, LIMIT_MS), "1000 is not more than 1000");
        assert!(reach.is_stale(5801, LIMIT_MS));
        assert_eq!(ages(&reach, 5801), (1001, 1001));
        reach.host_said(5801, 0);
        assert_eq!(reach.host_ms, 5801);
        assert!(!reach.is_stale(6801, LIMIT_MS));
        assert!(reach.is_stale(6802, LIMIT_MS));
        let reach = offloaded(100, 200);
        assert_eq!((reach.target_ms, ages(&reach, 100)), (0xFFFF_FF9C, (200, 200)));
    }

    /// Verifies: R-268, R-274
    #[test]
    fn either_confirmation_is_enough_and_ages_go_on_where_the_clock_wraps() {
        let (before, after) = (u32::MAX - 99, 1000);
        let mut reach = offloaded(before, 0);
        assert_eq!(ages(&reach, after), (1100, 1100));
        assert!(reach.is_stale(after, LIMIT_MS));
        reach.progress(before.wrapping_add(200));
        assert!(!reach.is_stale(after, LIMIT_MS), "progress");
        assert_eq!(ages(&reach, after), (1100, 900));
        reach.host_said(after, 50);
        assert_eq!(ages(&reach, after + 200), (250, 1100));
        assert!(!reach.is_stale(after + 200, LIMIT_MS), "the host's word");
        assert_eq!((clock_ms(1999), clock_ms((1 << 32) * 1000 + 5000)), (1, 5));
    }
}
