//! What can go wrong between driver and device.

use thiserror::Error;

/// What a transport could not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BusError {
    /// The transport has no memory of that size, or may not map more.
    #[error("no DMA memory of {len_bytes} bytes")]
    NoMemory {
        /// Length that was asked for.
        len_bytes: usize,
    },
    /// The kernel keeps this process from pinning so much memory.
    #[error("no DMA memory of {len_bytes} bytes: this process may pin {limit_bytes} bytes in all; raise RLIMIT_MEMLOCK (ulimit -l as root, or LimitMEMLOCK= of the service)")]
    Locked {
        /// Length that was asked for.
        len_bytes: usize,
        /// `RLIMIT_MEMLOCK`, bytes.
        limit_bytes: u64,
    },
    /// The other side said no.
    #[error("{what} was refused (errno {errno})")]
    Refused {
        /// What was asked for.
        what: &'static str,
        /// Its reason.
        errno: u32,
    },
    /// No answer in time. The transport is not used any more: an answer that comes late would be taken for another one.
    #[error("{what} was not answered within {ms} ms")]
    Timeout {
        /// What was asked for.
        what: &'static str,
        /// How long it was waited for, milliseconds.
        ms: u32,
    },
    /// The other side is gone.
    #[error("{what} failed: the device is gone")]
    Gone {
        /// What was asked for.
        what: &'static str,
    },
    /// An answer that cannot be one.
    #[error("{what} got an answer that makes no sense")]
    Nonsense {
        /// What was asked for.
        what: &'static str,
    },
}

/// What a transport hears about its device from whoever administers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Alarm {
    /// The bus reported an error that was not corrected (PCI Express advanced error reporting): what the device did since is
    /// not to be trusted.
    #[error("the bus reported an uncorrected error")]
    Uncorrected,
    /// Somebody wants the device: it is being unbound or removed. The transport is to be dropped within seconds; until
    /// then who asked is blocked.
    #[error("the device is wanted back: it is being unbound or removed")]
    Wanted,
}

/// A failure of the driver or of its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DriverError {
    /// The transport failed.
    #[error("the transport failed: {0}")]
    Bus(#[from] BusError),
    /// The device must be given up.
    #[error("{0}")]
    Alarm(Alarm),
    /// The device does not answer (all ones).
    #[error("the device is gone: register {register} reads all ones")]
    Gone {
        /// Register that was read.
        register: &'static str,
    },
    /// Something else answers at this address.
    #[error("no chimney device: ID reads {id:#010x}")]
    NotOurs {
        /// Value of `ID`.
        id: u32,
    },
    /// The device speaks another contract.
    #[error("the device has contract version {device}, the driver {driver}")]
    Version {
        /// The device's major version.
        device: u16,
        /// Ours.
        driver: u16,
    },
    /// The device did not reach a state in time.
    #[error("the device did not finish: {what}")]
    Timeout {
        /// What was awaited.
        what: &'static str,
    },
    /// The device did not say, asked twice, whether it has objects that the driver is about to forget (law L1).
    #[error("the device does not say whether it has let go of {objects} objects")]
    Undecided {
        /// How many.
        objects: usize,
    },
    /// A write to a register that only the device writes.
    #[error("register {register} is read only")]
    ReadOnly {
        /// The register.
        register: &'static str,
    },
    /// A configuration value outside of what the contract allows.
    #[error("configuration: {what}")]
    Config {
        /// Which value, and the rule.
        what: &'static str,
    },
    /// The device moved an index further than the driver ever allowed.
    #[error("the device moved {ring} to {index}, allowed are {consumer} to {producer}")]
    BadIndex {
        /// Ring name.
        ring: &'static str,
        /// What the device wrote.
        index: u16,
        /// Entries below are done.
        consumer: u16,
        /// Entries below are posted.
        producer: u16,
    },
}

/// A connection whose shadow record, write-backs or page map contradict what the driver posted.
///
/// The device is never trusted: such a connection is treated like a hardware failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ConnFault {
    /// `snd_una` outside of what was posted.
    #[error("snd_una {una} outside {from} to {to}")]
    SendAck {
        /// What the device wrote.
        una: u32,
        /// Oldest allowed.
        from: u32,
        /// Newest allowed.
        to: u32,
    },
    /// `rcv_nxt` moved back, or past the window.
    #[error("rcv_nxt {rcv_nxt} outside {from} to {to}")]
    ReceiveNext {
        /// What the device wrote.
        rcv_nxt: u32,
        /// Oldest allowed.
        from: u32,
        /// Newest allowed.
        to: u32,
    },
    /// A receive ring index or write-back that fits no post.
    #[error("receive ring entry {index} contradicts what was posted")]
    Post {
        /// Ring index.
        index: u16,
    },
    /// Text that the device counted and could not write: what lies between is not the peer's.
    #[error("text from {durable} to {rcv_nxt} is not in host memory")]
    NotInMemory {
        /// End of what is.
        durable: u32,
        /// What the device counted.
        rcv_nxt: u32,
    },
    /// Bytes that should lie in a page that the page map does not name.
    #[error("no page for sequence number {seq}")]
    Page {
        /// First byte that has no page.
        seq: u32,
    },
}
