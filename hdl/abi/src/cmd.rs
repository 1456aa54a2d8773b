//! Command opcodes, statuses, upload reasons and TCP states: one number each.

/// Declares an enum of codes with `TryFrom<u8>` and a name table.
macro_rules! codes {
    ($(#[$m:meta])* $name:ident { $($(#[$d:meta])* $v:ident = $n:literal,)* }) => {
        $(#[$m])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $name { $($(#[$d])* $v = $n,)* }

        impl $name {
            /// All codes, in numeric order.
            pub const ALL: &'static [$name] = &[$($name::$v,)*];
            /// The number that crosses the interface.
            pub const fn code(self) -> u8 { self as u8 }
        }

        impl TryFrom<u8> for $name {
            type Error = UnknownCode;
            fn try_from(n: u8) -> Result<Self, UnknownCode> {
                match n { $($n => Ok($name::$v),)* _ => Err(UnknownCode { kind: stringify!($name), code: n }) }
            }
        }
    };
}

/// A number that names nothing; the other side is newer, broken or hostile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownCode {
    /// Which enum was expected.
    pub kind: &'static str,
    /// The number read.
    pub code: u8,
}

impl core::fmt::Display for UnknownCode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} is no {}", self.code, self.kind)
    }
}

impl core::error::Error for UnknownCode {}

codes! {
    /// Command opcodes ([`crate::desc::Command::opcode`]).
    Opcode {
        /// Does nothing, completes with success.
        Nop = 0,
        /// Take over the objects of the image array (spec 6).
        Initiate = 1,
        /// Hand back the objects of the image array (spec 7.4).
        Terminate = 2,
        /// Fill in the images without giving anything up (spec 7.1).
        Query = 3,
        /// New cached values, or a path's new neighbor (spec 7.2).
        Update = 4,
        /// Stop sending on the objects (spec 7.3).
        Invalidate = 5,
        /// Send a RST for one connection and stop it.
        Abort = 6,
    }
}

codes! {
    /// Result of a command or of one image (spec 17.2; numbers are ours).
    Status {
        /// Done.
        Success = 0,
        /// Uncategorised failure; for query, update, invalidate, terminate the only failure.
        Failure = 1,
        /// No free TCP entry, or no place for it in the lookup.
        TcpEntries = 2,
        /// Path index out of range or in use.
        PathEntries = 3,
        /// Neighbor index out of range or in use.
        NeighborEntries = 4,
        /// Receive window larger than the device can promise.
        TcpRcvWindow = 5,
        /// Path MTU larger than the device supports.
        PathMtu = 6,
        /// The parent object does not exist in the device.
        NoParent = 7,
        /// Object id and generation do not name a live object.
        Stale = 8,
        /// TCP state or parameter that cannot be offloaded, or a 4-tuple that is offloaded already.
        Rejected = 9,
        /// Unknown opcode, image kind, length or revision.
        BadRequest = 10,
        /// A DMA transfer of the command failed.
        HardwareFailure = 11,
        /// Own state offloaded, some dependent was not (set by the driver, R-095).
        PartialSuccess = 12,
        /// The connection is being handed back; the host takes the request over.
        UploadInProgress = 13,
        /// The connection was reset.
        RequestAborted = 14,
        /// A receive posted after the peer's FIN was indicated.
        InvalidState = 15,
        /// VLAN id not one of the interface's.
        VlanMismatch = 16,
        /// Host or device memory ran out.
        Resources = 17,
    }
}

codes! {
    /// Why the device asks for an upload; numbers of spec 7.6.
    UploadReason {
        /// Too little traffic.
        LowActivity = 1,
        /// Too many transmitted segments lost.
        HighDropRate = 2,
        /// Posted receive buffers too small.
        SmallIo = 3,
        /// No receives posted.
        NoBufferPreposting = 4,
        /// URG segment received; mandatory.
        ReceivedUrgentData = 5,
        /// Too many IP fragments.
        HighFragmentation = 6,
        /// Too much reordering.
        HighOutOfOrderPackets = 7,
        /// Retransmission, probe or FIN_WAIT_2 limit reached; mandatory.
        TimeoutExpiration = 8,
        /// Object or its parent invalidated; mandatory.
        InvalidState = 9,
        /// Unspecified (also TIME_WAIT, R-166); mandatory.
        UploadRequested = 10,
        /// Connection state or DMA failed; mandatory.
        HardwareFailure = 11,
    }
}

impl UploadReason {
    /// the host must upload and the device has stopped processing.
    pub const fn is_mandatory(self) -> bool {
        matches!(
            self,
            Self::ReceivedUrgentData
                | Self::TimeoutExpiration
                | Self::InvalidState
                | Self::UploadRequested
                | Self::HardwareFailure
        )
    }
}

codes! {
    /// TCP connection states, numbered as in spec 4.6.
    TcpState {
        /// No connection.
        Closed = 0,
        /// Waiting for a connection request.
        Listen = 1,
        /// SYN sent.
        SynSent = 2,
        /// SYN received.
        SynRcvd = 3,
        /// Data flows both ways.
        Established = 4,
        /// Our FIN sent, not acknowledged.
        FinWait1 = 5,
        /// Our FIN acknowledged.
        FinWait2 = 6,
        /// The peer's FIN received.
        CloseWait = 7,
        /// Both FINs sent, ours not acknowledged, theirs received.
        Closing = 8,
        /// Peer's FIN received, ours sent and not acknowledged.
        LastAck = 9,
        /// Both sides closed; waiting out old segments.
        TimeWait = 10,
    }
}

impl TcpState {
    /// the six states in which a connection may be offloaded.
    pub const fn may_offload(self) -> bool {
        matches!(
            self,
            Self::Established
                | Self::FinWait1
                | Self::FinWait2
                | Self::CloseWait
                | Self::Closing
                | Self::LastAck
        )
    }
}

codes! {
    /// Loss recovery phase of the sender.
    Phase {
        /// Normal: slow start or congestion avoidance.
        Open = 0,
        /// Fast recovery until `recover` is acknowledged (RFC 6582).
        FastRecovery = 1,
        /// After a retransmission time-out, until `recover` is acknowledged.
        RtoRecovery = 2,
    }
}

codes! {
    /// Image kinds ([`crate::state::ImageHeader::kind`]).
    ImageKind {
        /// [`crate::state::NeighborImage`].
        Neighbor = 1,
        /// [`crate::state::PathImage`].
        Path = 2,
        /// [`crate::state::TcpRecord`].
        Tcp = 3,
    }
}

codes! {
    /// Event kinds ([`crate::desc::Event::kind`]).
    EventKind {
        /// Something in the connection's shadow record changed.
        Connection = 1,
    }
}
