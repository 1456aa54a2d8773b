//! What an application sees: ids, status, events, errors.

use crate::tcp::snapshot::BadState;
use crate::tcp::tcb::ConnectionError;
use chimney_abi::cmd::TcpState;

/// A connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u32);

/// A listening port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub u32);

/// Who runs a connection, from the stack's point of view (spec 23.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// This stack.
    Host,
    /// Frozen: exported, but it may still be resumed here. Segments are held.
    Frozen,
    /// A target. Segments are held until they are taken for forwarding or the connection is back.
    Away,
}

/// A connection's state at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// TCP state.
    pub state: TcpState,
    /// Who runs it.
    pub place: Place,
    /// Bytes that can be read now.
    pub readable_bytes: usize,
    /// Bytes that can be queued now.
    pub writable_bytes: usize,
    /// Bytes queued and not acknowledged.
    pub unacknowledged_bytes: usize,
    /// The peer has closed its half, and everything before that is in `readable_bytes`.
    pub has_peer_closed: bool,
    /// Why the connection ended, if not by both FINs.
    pub error: Option<ConnectionError>,
}

/// Something happened; the truth is in [`Status`]. An event that was not taken yet is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StackEvent {
    /// A connection that we opened is established.
    Connected(ConnId),
    /// A connection waits for `accept`.
    Incoming(ListenerId),
    /// Bytes, or the end of the stream, can be read.
    Readable(ConnId),
    /// Queued bytes were acknowledged.
    Writable(ConnId),
    /// The connection is over.
    Closed(ConnId),
}

/// A call that was refused; nothing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StackError {
    /// The id names nothing (any more).
    #[error("no such connection or listener")]
    NoSuchId,
    /// The port is taken.
    #[error("local port is in use")]
    PortInUse,
    /// The interface has no address of the remote end's family.
    #[error("no local address of this family")]
    NoAddress,
    /// No ephemeral port is free for this peer.
    #[error("no free local port")]
    NoFreePort,
    /// The connection is frozen or away.
    #[error("the connection is not in the host")]
    NotInHost,
    /// The connection is in the host.
    #[error("the connection is in the host")]
    InHost,
    /// Not allowed in the connection's TCP state.
    #[error("not allowed in this TCP state")]
    WrongState,
    /// The connection has ended.
    #[error(transparent)]
    Ended(#[from] ConnectionError),
    /// An uploaded state was refused.
    #[error(transparent)]
    BadState(#[from] BadState),
}
