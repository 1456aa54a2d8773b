//! Giving a connection away and taking it back.
//!
//! ```text
//!            freeze                 release
//!   Host --------------> Frozen --------------> Away
//!    ^  ^                  |                      |
//!    |  `----- resume -----'                      |    held segments: take_held (forward them),
//!    `------------------- thaw -------------------'    or processed here after resume and thaw
//! ```
//! Law L1: between `freeze` and `resume` or `thaw` nothing here changes the connection or sends for it.

use crate::socket::{ConnId, Place, StackError, StackEvent};
use crate::stack::{Connection, Stack, MAX_HELD};
use crate::tcp::snapshot;
use crate::wire::tcp::{parse_trusted, TcpSegment};
use chimney_abi::offload::{NeighborState, PathState, TcpBlockState};
use chimney_host_stack_core::segment::Flags;
use std::net::IpAddr;

impl Connection {
    /// Keeps a segment for whoever has the connection in the end (R-115); false if there is no room.
    ///
    /// Of pure acknowledgments that move on, only the last is kept. It says all that the others say, and those could be
    /// forwarded when the new owner has already seen younger ones: then it would have to answer each as too old
    /// (RFC 7323 5.3 R1). Repeated acknowledgments are kept: they count (RFC 5681 3.2).
    pub(crate) fn hold(&mut self, segment: &TcpSegment<'_>, bytes: &[u8]) -> bool {
        if let Some(last) = self.held.back_mut() {
            let is_superseded = parse_trusted(last).is_ok_and(|old| {
                is_pure_ack(&old)
                    && is_pure_ack(segment)
                    && old.seq == segment.seq
                    && old.ack.before(segment.ack)
            });
            if is_superseded {
                *last = bytes.to_vec();
                return true;
            }
        }
        let has_room = self.held.len() < MAX_HELD;
        if has_room {
            self.held.push_back(bytes.to_vec());
        }
        has_room
    }
}

/// Nothing but an acknowledgment.
fn is_pure_ack(segment: &TcpSegment<'_>) -> bool {
    segment.text.is_empty() && segment.flags == Flags::ACK
}

impl Stack {
    /// Stops a connection and returns all of it. The acknowledgment owed goes out with the next poll.
    ///
    /// # Errors
    /// `NoSuchId`, `NotInHost`, `WrongState` for the states that may not be offloaded (R-066).
    pub fn freeze(&mut self, now_us: u64, id: ConnId) -> Result<TcpBlockState, StackError> {
        let connection = self.connections.get_mut(&id).ok_or(StackError::NoSuchId)?;
        if connection.place != Place::Host {
            return Err(StackError::NotInHost);
        }
        if !connection.tcb.state.may_offload() {
            return Err(StackError::WrongState);
        }
        connection.place = Place::Frozen;
        let tuple = connection.tcb.tuple;
        let ack = connection.tcb.flush_ack(now_us);
        let block = snapshot::export(&connection.tcb, now_us);
        if let Some(ack) = ack {
            self.send_segment(now_us, &tuple, &ack);
        }
        Ok(block)
    }

    /// The target has the connection: forget the bytes that it has now (R-099).
    ///
    /// # Errors
    /// `NoSuchId`, `InHost`.
    pub fn release(&mut self, id: ConnId) -> Result<(), StackError> {
        let connection = self.connections.get_mut(&id).ok_or(StackError::NoSuchId)?;
        if connection.place == Place::Host {
            return Err(StackError::InHost);
        }
        connection.place = Place::Away;
        connection.tcb.send.release();
        connection.tcb.receive.release();
        Ok(())
    }

    /// The hand-over failed: go on here as if nothing had happened.
    ///
    /// # Errors
    /// `NoSuchId`, `InHost`, `NotInHost` if the bytes were released already.
    pub fn resume(&mut self, now_us: u64, id: ConnId) -> Result<(), StackError> {
        let connection = self.connections.get_mut(&id).ok_or(StackError::NoSuchId)?;
        match connection.place {
            Place::Host => return Err(StackError::InHost),
            Place::Away => return Err(StackError::NotInHost),
            Place::Frozen => {}
        }
        connection.place = Place::Host;
        self.process_held(now_us, id);
        Ok(())
    }

    /// Takes a connection back, alive (R-159), and processes what was held for it.
    ///
    /// # Errors
    /// `NoSuchId`, `InHost`, `BadState` (then the connection stays away; abort it with `discard`).
    pub fn thaw(&mut self, now_us: u64, id: ConnId, block: TcpBlockState) -> Result<(), StackError> {
        let connection = self.connections.get_mut(&id).ok_or(StackError::NoSuchId)?;
        if connection.place == Place::Host {
            return Err(StackError::InHost);
        }
        snapshot::import(&mut connection.tcb, now_us, block)?;
        connection.place = Place::Host;
        self.report(StackEvent::Readable(id));
        self.report(StackEvent::Writable(id));
        self.settle(id);
        self.process_held(now_us, id);
        Ok(())
    }

    /// Segments that arrived while the connection was away, without IP header, oldest first (R-240).
    ///
    /// # Errors
    /// `NoSuchId`.
    pub fn take_held(&mut self, id: ConnId) -> Result<Vec<Vec<u8>>, StackError> {
        let connection = self.connections.get_mut(&id).ok_or(StackError::NoSuchId)?;
        Ok(connection.held.drain(..).collect())
    }

    /// Puts a segment back that a forward returned with "upload in progress" (R-243).
    ///
    /// # Errors
    /// `NoSuchId`.
    pub fn give_back_held(&mut self, now_us: u64, id: ConnId, segment: Vec<u8>) -> Result<(), StackError> {
        let connection = self.connections.get_mut(&id).ok_or(StackError::NoSuchId)?;
        if connection.held.len() < MAX_HELD {
            connection.held.push_back(segment);
        } else {
            self.counters.held_overflow += 1;
        }
        if connection.place == Place::Host {
            self.process_held(now_us, id);
        }
        Ok(())
    }

    /// Forgets a connection that is away and will not come back (its state is lost, R-156).
    ///
    /// # Errors
    /// `NoSuchId`, `InHost`.
    pub fn discard(&mut self, id: ConnId) -> Result<(), StackError> {
        let connection = self.connections.get_mut(&id).ok_or(StackError::NoSuchId)?;
        if connection.place == Place::Host {
            return Err(StackError::InHost);
        }
        self.lookup.remove(&connection.tcb.tuple);
        self.connections.remove(&id);
        self.report(StackEvent::Closed(id));
        Ok(())
    }

    /// The path object of a connection, for an initiate (spec 4.3).
    ///
    /// # Errors
    /// `NoSuchId`.
    pub fn path_state(&mut self, id: ConnId) -> Result<PathState, StackError> {
        let tuple = self.tcb(id)?.tuple;
        Ok(self.path_at(tuple.local.ip(), tuple.remote.ip()))
    }

    /// The path object of two addresses.
    pub fn path_at(&mut self, src: IpAddr, dst: IpAddr) -> PathState {
        let path = *self.paths.get(src, dst);
        PathState {
            src: path.src,
            dst: path.dst,
            mtu: path.mtu,
            ip_id_start: crate::iface::path::Path::TARGET_ID_START,
            ip_id_counter: path.target_counter,
        }
    }

    /// Keeps the counter that a target handed back with a path, so that the next offload goes on from
    /// there (R-280).
    pub fn return_path(&mut self, path: &PathState) {
        self.paths.get(path.src, path.dst).target_counter = path.ip_id_counter;
    }

    /// The counter of a path that a target had does not come back.
    pub fn lose_path(&mut self, src: IpAddr, dst: IpAddr) {
        self.paths.get(src, dst).lose_target();
    }

    /// The neighbor object of a connection, for an initiate (spec 4.2); `None` while its MAC address is
    /// not known.
    ///
    /// # Errors
    /// `NoSuchId`.
    pub fn neighbor_state(&self, now_us: u64, id: ConnId) -> Result<Option<NeighborState>, StackError> {
        Ok(self.neighbor_at(now_us, self.next_hop(self.tcb(id)?.tuple.remote.ip())))
    }

    /// The neighbor object of a next hop, if its MAC address is known.
    #[must_use]
    pub fn neighbor_at(&self, now_us: u64, next_hop: IpAddr) -> Option<NeighborState> {
        let age_ms = self.neighbors.age_us(next_hop, now_us).unwrap_or(0) / 1000;
        let age_ms = u32::try_from(age_ms).unwrap_or(u32::MAX);
        // Spec 16.1: the target begins with the host's confirmation as its own.
        let (host_reachability_ms, nic_reachability_ms) = (age_ms, age_ms);
        self.neighbors.lookup(next_hop).map(|mac| NeighborState {
            dst_mac: mac.0,
            host_reachability_ms,
            nic_reachability_ms,
            ..NeighborState::default()
        })
    }

    fn process_held(&mut self, now_us: u64, id: ConnId) {
        let held = self.take_held(id).unwrap_or_default();
        for bytes in held {
            // Its checksum was verified before it was held.
            if let Ok(segment) = parse_trusted(&bytes) {
                self.process(now_us, id, &segment);
            }
        }
    }
}
