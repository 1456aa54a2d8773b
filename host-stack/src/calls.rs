//! Socket calls. Each names a connection or listener by id; none of them blocks or sends by itself.

use crate::socket::{ConnId, ListenerId, Place, StackError, Status};
use crate::stack::{Connection, Listener, Stack};
use crate::tcp::tcb::{FourTuple, Tcb, TcpStats};
use chimney_abi::cmd::TcpState;
use std::collections::VecDeque;
use std::net::SocketAddr;

/// First port of the range for active opens (RFC 6335 6); it ends with the last of all.
const FIRST_EPHEMERAL_PORT: u16 = 49_152;
/// Ports in it.
const EPHEMERAL_PORTS: u16 = u16::MAX - FIRST_EPHEMERAL_PORT + 1;

impl Stack {
    /// Opens a connection from a port that nobody outside can guess (RFC 6056 3.3.3: one port after the other from a start of its own for each
    /// peer, so that none comes again soon). [`StackEvent::Connected`](crate::socket::StackEvent) or `Closed` follows.
    ///
    /// # Errors
    /// `NoAddress`, `NoFreePort`.
    pub fn connect(&mut self, now_us: u64, remote: SocketAddr) -> Result<ConnId, StackError> {
        let ip = self.addresses.source_for(remote.ip()).ok_or(StackError::NoAddress)?;
        let first = self.secret.first_port(ip, remote);
        for _ in 0..EPHEMERAL_PORTS {
            let port = FIRST_EPHEMERAL_PORT + first.wrapping_add(self.next_port) % EPHEMERAL_PORTS;
            self.next_port = self.next_port.wrapping_add(1);
            match self.connect_from(now_us, port, remote) {
                Err(StackError::PortInUse) => {}
                result => return result,
            }
        }
        Err(StackError::NoFreePort)
    }

    /// Opens a connection from a given local port.
    ///
    /// # Errors
    /// `PortInUse` if the pair of ends is in use; `NoAddress` if the stack has none of the remote end's family.
    pub fn connect_from(&mut self, now_us: u64, port: u16, remote: SocketAddr) -> Result<ConnId, StackError> {
        let ip = self.addresses.source_for(remote.ip()).ok_or(StackError::NoAddress)?;
        let tuple = FourTuple { local: SocketAddr::new(ip, port), remote };
        if self.lookup.contains_key(&tuple) {
            return Err(StackError::PortInUse);
        }
        let opening = self.opening(now_us, tuple);
        Ok(self.insert(Tcb::connect(&opening), None))
    }

    /// Accepts connections to `port`; at most `backlog` may wait for [`Stack::accept`].
    ///
    /// # Errors
    /// `PortInUse`.
    pub fn listen(&mut self, port: u16, backlog: usize) -> Result<ListenerId, StackError> {
        if self.listeners.values().any(|listener| listener.port == port) {
            return Err(StackError::PortInUse);
        }
        let id = ListenerId(self.next_id);
        self.next_id = self.next_id.wrapping_add(1).max(1);
        self.listeners.insert(id, Listener { port, backlog, ready: VecDeque::new() });
        Ok(id)
    }

    /// The oldest established connection of a listener, if any.
    pub fn accept(&mut self, listener: ListenerId) -> Option<ConnId> {
        let id = self.listeners.get_mut(&listener)?.ready.pop_front()?;
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.listener = None;
        }
        Some(id)
    }

    /// Stops listening; connections that nobody accepted are reset.
    pub fn unlisten(&mut self, now_us: u64, listener: ListenerId) {
        self.listeners.remove(&listener);
        let is_orphan = |c: &Connection| c.listener == Some(listener);
        let orphans: Vec<ConnId> =
            self.connections.iter().filter(|(_, c)| is_orphan(c)).map(|(id, _)| *id).collect();
        for id in orphans {
            // The id was just found.
            let _ = self.abort(now_us, id);
        }
    }

    /// Queues bytes; returns how many there was room for.
    ///
    /// # Errors
    /// `NoSuchId`, `NotInHost`, `Ended`, `WrongState` after [`Stack::shutdown`].
    pub fn send(&mut self, id: ConnId, bytes: &[u8]) -> Result<usize, StackError> {
        let tcb = self.in_host(id)?;
        match tcb.state {
            TcpState::Established | TcpState::CloseWait | TcpState::SynSent | TcpState::SynRcvd
                if !tcb.send.is_closed() =>
            {
                Ok(tcb.push(bytes))
            }
            TcpState::Closed => Err(tcb.error.map_or(StackError::WrongState, StackError::Ended)),
            _ => Err(StackError::WrongState),
        }
    }

    /// Reads bytes; 0 means none yet, or the end of the stream ([`Status::has_peer_closed`]).
    ///
    /// # Errors
    /// `NoSuchId`, `NotInHost`, `Ended` once nothing is left to read.
    pub fn recv(&mut self, id: ConnId, out: &mut [u8]) -> Result<usize, StackError> {
        let tcb = self.in_host(id)?;
        let count = tcb.read(out);
        match tcb.error {
            Some(error) if count == 0 => Err(StackError::Ended(error)),
            _ => Ok(count),
        }
    }

    /// Closes our half after what is queued; the peer's half stays open.
    ///
    /// # Errors
    /// `NoSuchId`, `NotInHost`.
    pub fn shutdown(&mut self, id: ConnId) -> Result<(), StackError> {
        self.in_host(id)?.shutdown();
        self.settle(id);
        Ok(())
    }

    /// Closes our half and gives the id back; the rest happens without the application.
    ///
    /// # Errors
    /// `NoSuchId`, `NotInHost`.
    pub fn close(&mut self, id: ConnId) -> Result<(), StackError> {
        let tcb = self.in_host(id)?;
        tcb.is_detached = true;
        tcb.shutdown();
        self.settle(id);
        Ok(())
    }

    /// Ends the connection with an RST and gives the id back.
    ///
    /// # Errors
    /// `NoSuchId`, `NotInHost`.
    pub fn abort(&mut self, now_us: u64, id: ConnId) -> Result<(), StackError> {
        let tcb = self.in_host(id)?;
        tcb.is_detached = true;
        let tuple = tcb.tuple;
        if let Some(reset) = tcb.abort(now_us) {
            self.send_segment(now_us, &tuple, &reset);
        }
        self.settle(id);
        Ok(())
    }

    /// How a connection stands.
    ///
    /// # Errors
    /// `NoSuchId`.
    pub fn status(&self, id: ConnId) -> Result<Status, StackError> {
        let connection = self.connections.get(&id).ok_or(StackError::NoSuchId)?;
        let tcb = &connection.tcb;
        let has_peer_closed = match tcb.state {
            TcpState::CloseWait | TcpState::Closing | TcpState::LastAck | TcpState::TimeWait => true,
            TcpState::Closed => tcb.error.is_none(),
            _ => false,
        };
        Ok(Status {
            state: tcb.state,
            place: connection.place,
            readable_bytes: tcb.receive.unread_len() as usize,
            writable_bytes: tcb.send.free(),
            unacknowledged_bytes: tcb.send.len(),
            has_peer_closed,
            error: tcb.error,
        })
    }

    /// The record of a connection, for logs, tests and statistics.
    ///
    /// # Errors
    /// `NoSuchId`.
    pub fn tcb(&self, id: ConnId) -> Result<&Tcb, StackError> {
        self.connections.get(&id).map(|c| &*c.tcb).ok_or(StackError::NoSuchId)
    }

    /// The counters of a connection; those of the host only.
    ///
    /// # Errors
    /// `NoSuchId`.
    pub fn stats(&self, id: ConnId) -> Result<TcpStats, StackError> {
        self.tcb(id).map(|tcb| tcb.stats)
    }

    fn in_host(&mut self, id: ConnId) -> Result<&mut Tcb, StackError> {
        let connection = self.connections.get_mut(&id).ok_or(StackError::NoSuchId)?;
        match connection.place {
            Place::Host => Ok(&mut connection.tcb),
            Place::Frozen | Place::Away => Err(StackError::NotInHost),
        }
    }
}
