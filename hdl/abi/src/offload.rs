//! The chimney functions: the trait between host stack and driver, and its call-backs.
//!
//! ```text
//!   host stack --- Offload:  initiate query update invalidate terminate ---------> driver
//!              --- Offload:  send receive receive_return disconnect forward -----> driver
//!              <-- OffloadClient: completions, indications, questions, events (inside poll) --
//! ```
//! Every call returns at once; results come through [`OffloadClient`] while the host runs
//! [`Offload::poll`] (R-033, R-034). Payload lies in buffers of the driver's registered arenas
//! ([`BufferId`]), so nothing is mapped or copied per call.
//!
//! Trees are the contract's block lists as Rust values: neighbors hold paths hold connections;
//! order, placeholder, linker and new-offload roles and statuses keep their meaning (R-074 to R-086).

use crate::cmd::{Status, TcpState, UploadReason};
use crate::state::TcpRecord;
use crate::watch::WatchLimits;
use alloc::vec::Vec;

/// The host's name for one of its objects; the driver echoes it in indications (R-083).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostHandle(pub u32);

/// The driver's name for an offloaded object: table index and generation. Stable while it is offloaded (R-082).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    /// Table index.
    pub index: u16,
    /// Generation; a stale token is refused (law L1).
    pub generation: u8,
}

/// A buffer in a registered arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufferId(pub u32);

/// What a block of a tree stands for (R-077, R-078, R-080).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Only links to its dependents.
    Placeholder,
    /// References an object that is already offloaded.
    Linker(Token),
    /// A new object; the driver replaces it by `Linker(token)` when the offload succeeded (R-081).
    New,
}

/// Neighbor state (spec 4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NeighborState {
    /// CONST: source MAC; all zero = the interface's (R-053).
    pub src_mac: [u8; 6],
    /// CONST: VLAN id (R-281), 0 = not significant.
    pub vlan: u16,
    /// CACHED: send LLC/SNAP (RFC 1042) instead of Ethernet II.
    pub llc_snap: bool,
    /// CACHED: next hop's MAC.
    pub dst_mac: [u8; 6],
    /// CACHED: age of the host's reachability confirmation, milliseconds modulo 2^32 (HRD, R-274).
    pub host_reachability_ms: u32,
    /// DELEGATED: age of the target's confirmation, the same (NRD).
    pub nic_reachability_ms: u32,
}

/// Path state (spec 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathState {
    /// CONST: local address.
    pub src: core::net::IpAddr,
    /// CONST: remote address.
    pub dst: core::net::IpAddr,
    /// CACHED: path MTU, bytes.
    pub mtu: u16,
    /// DELEGATED: IP ID start value (R-279).
    pub ip_id_start: u16,
    /// DELEGATED: packets sent so far (R-280).
    pub ip_id_counter: u16,
}

/// A byte range of the stream, by sequence number, with its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// Sequence number of the first byte.
    pub seq: u32,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// What the target counted for one connection since it took it over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpCounts {
    /// Segments received.
    pub segs_in: u64,
    /// Segments sent.
    pub segs_out: u64,
    /// Of those, sent again.
    pub retransmits: u64,
    /// Segments taken out of order.
    pub out_of_order: u64,
    /// Segments that were duplicates or not acceptable.
    pub duplicates: u64,
    /// Segments dropped for want of a page or range.
    pub drops: u64,
}

/// TCP state (spec 4.4 to 4.6) with the data that moves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TcpBlockState {
    /// Every scalar, in image form: deadlines are remaining microseconds or
    /// [`NO_TIMER`](crate::state::NO_TIMER), `*_us` stamps are ages, `ts_offset` is TSval now.
    /// Ring, post, durable and shadow fields are the driver's and ignored from the host.
    pub record: TcpRecord,
    /// Bytes from `snd_una` on: sent and unacknowledged, then unsent (R-103).
    pub send_data: Vec<u8>,
    /// Offsets in `send_data`, ascending, after which PSH is set (ends of application sends).
    pub push_marks: Vec<u32>,
    /// Received, acknowledged, undelivered bytes, ending right before `rcv_nxt` (R-099; not counting a FIN).
    pub buffered: Vec<u8>,
    /// Out-of-order ranges with data, sorted, disjoint, above `rcv_nxt` (ours; the edge mode drops them, R-146).
    pub out_of_order: Vec<Range>,
    /// From the target, with a query or an upload; nothing from the host.
    pub counts: TcpCounts,
}

/// One connection of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpBlock {
    /// Role.
    pub role: Role,
    /// The host's handle.
    pub handle: HostHandle,
    /// State; empty for invalidate and for linkers.
    pub state: Option<TcpBlockState>,
    /// Result, written before the completion (R-086).
    pub status: Status,
}

/// One path of a tree with its connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathBlock {
    /// Role.
    pub role: Role,
    /// The host's handle.
    pub handle: HostHandle,
    /// State.
    pub state: Option<PathState>,
    /// Result.
    pub status: Status,
    /// Dependents.
    pub connections: Vec<TcpBlock>,
    /// Terminate, query, update, invalidate: the request names this object itself, not only its dependents.
    pub selected: bool,
}

/// One neighbor of a tree with its paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeighborBlock {
    /// Role.
    pub role: Role,
    /// The host's handle.
    pub handle: HostHandle,
    /// State.
    pub state: Option<NeighborState>,
    /// Result.
    pub status: Status,
    /// Dependents.
    pub paths: Vec<PathBlock>,
    /// As for paths.
    pub selected: bool,
}

/// A state tree: any number of neighbors, paths and connections (R-075).
pub type Tree = Vec<NeighborBlock>;

/// What the device can do (spec 2.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// IPv4 connections.
    pub ipv4: bool,
    /// IPv6 connections.
    pub ipv6: bool,
    /// Tags by [`NeighborState::vlan`] and the connection's priority (R-281).
    pub vlan: bool,
    /// LLC/SNAP by [`NeighborState::llc_snap`] (R-017).
    pub llc_snap: bool,
    /// Generates SACK blocks.
    pub sack_receive: bool,
    /// Uses SACK blocks it receives.
    pub sack_send: bool,
    /// Classic ECN (RFC 3168).
    pub ecn: bool,
    /// Most connections at a time, both families.
    pub connections: u32,
    /// Most paths, and most neighbors.
    pub table_entries: u32,
    /// Largest receive window, bytes.
    pub max_rcv_window: u32,
    /// Largest frame that [`Offload::transmit_large`] takes, bytes; 0 = it takes none.
    pub max_large_frame: u32,
}

/// What the host sets (spec 2.6), in the units that the names have instead of ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// Segments before an ACK must be sent.
    pub ack_frequency: u32,
    /// Delayed-ACK time.
    pub delayed_ack_us: u32,
    /// Duplicate ACKs that start fast retransmit.
    pub dup_ack_threshold: u32,
    /// Push timer.
    pub push_us: u32,
    /// Smallest RTO.
    pub min_rto_us: u32,
    /// Largest RTO.
    pub max_rto_us: u32,
    /// FIN_WAIT_2 time-out.
    pub fin_wait_2_us: u32,
    /// A neighbor whose confirmations are older is stale, milliseconds (NceStaleTicks); `u32::MAX` = never. With less than the host's own
    /// limit the host may be asked as often as something is sent.
    pub nce_stale_ms: u32,
    /// When to ask for uploads that need not be granted.
    pub watch: WatchLimits,
}

/// [`Parameters::nce_stale_ms`] if the host says nothing: RFC 4861's REACHABLE_TIME.
pub const NCE_STALE_MS: u32 = 30_000;

impl Default for Parameters {
    fn default() -> Self {
        use crate::regs;
        Self {
            ack_frequency: regs::ACK_FREQUENCY.reset,
            delayed_ack_us: regs::DELAYED_ACK_US.reset,
            dup_ack_threshold: regs::DUP_ACK_THRESHOLD.reset,
            push_us: regs::PUSH_US.reset,
            min_rto_us: regs::MIN_RTO_US.reset,
            max_rto_us: regs::MAX_RTO_US.reset,
            fin_wait_2_us: regs::FIN_WAIT_2_US.reset,
            nce_stale_ms: NCE_STALE_MS,
            watch: WatchLimits::default(),
        }
    }
}

/// A send request: `len_bytes` bytes of a buffer (spec 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendRequest {
    /// The buffer; the driver's until the completion.
    pub buffer: BufferId,
    /// First byte.
    pub offset_bytes: u32,
    /// Length; 0 completes in order without a segment.
    pub len_bytes: u32,
}

/// A posted receive (spec 9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiveRequest {
    /// The buffer; the driver's until the completion.
    pub buffer: BufferId,
    /// Length of the buffer used; 0 only re-enables indication.
    pub len_bytes: u32,
    /// Bytes the host has already put at its start.
    pub prefilled_bytes: u32,
    /// Non-push mode (R-186).
    pub no_push: bool,
}

/// How to close (spec 10.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disconnect {
    /// FIN after everything posted.
    Graceful,
    /// RST at once.
    Abortive,
}

/// The host's answer to a receive indication (spec 9.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consumed {
    /// All of it; the pages come back through [`Offload::receive_return`].
    All,
    /// The first `n` bytes, copied by the host; the rest waits for a posted receive.
    Part(u32),
    /// Nothing; it waits for a posted receive.
    None,
}

/// Checksum verdict of an ordinary frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameInfo {
    /// IPv4 header checksum right.
    pub ip_checksum_ok: bool,
    /// TCP or UDP checksum right.
    pub l4_checksum_ok: bool,
}

/// An event about one connection (spec 17.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionEvent {
    /// The peer's FIN, after all earlier data was consumed (R-220).
    Disconnect,
    /// The device asks for an upload (R-162).
    Retrieve(UploadReason),
    /// Reset by the peer (R-221).
    Abort,
    /// Preferred bytes outstanding (R-178).
    SendBacklogChange(u32),
}

/// Target-wide indications (spec 16).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetStatus {
    /// Stop offloading.
    Pause,
    /// Offload again.
    Resume,
    /// Terminate everything.
    UploadAll,
}

/// A call that was refused; nothing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffloadError {
    /// The token names nothing offloaded.
    StaleToken,
    /// The buffer id names nothing, or is the driver's already.
    BadBuffer,
    /// A range lies outside its buffer, or is longer than can ever be posted.
    OutOfRange,
    /// No arena memory of that size.
    NoMemory,
    /// Not allowed in the object's present phase (spec 23.1).
    WrongPhase,
    /// The tree breaks a structural rule (R-074, R-126).
    BadTree,
    /// The device is gone or has failed.
    DeviceLost,
}

impl core::fmt::Display for OffloadError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::StaleToken => "no offloaded object has this token",
            Self::BadBuffer => "no such buffer, or the driver owns it",
            Self::OutOfRange => "range outside the buffer, or longer than can be posted",
            Self::NoMemory => "no arena memory of that size left",
            Self::WrongPhase => "not allowed while the object is being offloaded or uploaded",
            Self::BadTree => "malformed state tree",
            Self::DeviceLost => "the device is gone",
        })
    }
}

impl core::error::Error for OffloadError {}

/// A connection rebuilt from host memory after the device was lost (law L2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebuilt {
    /// Whose.
    pub handle: HostHandle,
    /// State and data as after an upload; estimates (RTT, cwnd) restart conservatively.
    pub state: TcpBlockState,
}

/// Calls from the host stack to the driver. None of them blocks (R-035).
pub trait Offload {
    /// What the device can do.
    fn capabilities(&self) -> Capabilities;
    /// Sets the parameters.
    ///
    /// # Errors
    /// `DeviceLost`.
    fn set_parameters(&mut self, p: &Parameters) -> Result<(), OffloadError>;

    /// Allocates a buffer of at least `len_bytes` in registered memory.
    ///
    /// # Errors
    /// `NoMemory`.
    fn allocate(&mut self, len_bytes: u32) -> Result<BufferId, OffloadError>;
    /// Frees a buffer the host owns.
    ///
    /// # Errors
    /// `BadBuffer`.
    fn release(&mut self, buffer: BufferId) -> Result<(), OffloadError>;
    /// Copies bytes into a buffer the host owns.
    ///
    /// # Errors
    /// `BadBuffer`, `OutOfRange`.
    fn write(&mut self, buffer: BufferId, offset_bytes: u32, bytes: &[u8]) -> Result<(), OffloadError>;
    /// Copies bytes out of a buffer the host owns.
    ///
    /// # Errors
    /// `BadBuffer`, `OutOfRange`.
    fn read(&self, buffer: BufferId, offset_bytes: u32, bytes: &mut [u8]) -> Result<(), OffloadError>;

    /// Offloads the new objects of the tree (spec 6).
    ///
    /// # Errors
    /// `BadTree`, `WrongPhase`, `DeviceLost`; then there is no completion.
    fn initiate(&mut self, tree: Tree) -> Result<(), OffloadError>;
    /// Fills in the states of the tree (spec 7.1).
    ///
    /// # Errors
    /// As `initiate`, and `StaleToken`.
    fn query(&mut self, tree: Tree) -> Result<(), OffloadError>;
    /// Sets cached state, or moves paths to another neighbor (spec 7.2).
    ///
    /// # Errors
    /// As `query`.
    fn update(&mut self, tree: Tree) -> Result<(), OffloadError>;
    /// Stops sending on the selected objects (spec 7.3).
    ///
    /// # Errors
    /// As `query`.
    fn invalidate(&mut self, tree: Tree) -> Result<(), OffloadError>;
    /// Takes connections (and selected paths and neighbors) back, alive (spec 7.4).
    ///
    /// # Errors
    /// As `query`.
    fn terminate(&mut self, tree: Tree) -> Result<(), OffloadError>;

    /// Posts send data (spec 8).
    ///
    /// # Errors
    /// `StaleToken`, `BadBuffer`, `OutOfRange`, `WrongPhase`.
    fn send(&mut self, token: Token, request: SendRequest) -> Result<(), OffloadError>;
    /// Posts a receive buffer (spec 9.1).
    ///
    /// # Errors
    /// As `send`.
    fn receive(&mut self, token: Token, request: ReceiveRequest) -> Result<(), OffloadError>;
    /// Says that the host has consumed `len_bytes` of the bytes it accepted in indications (R-199); opens the window.
    ///
    /// # Errors
    /// `StaleToken`.
    fn receive_return(&mut self, token: Token, len_bytes: u32) -> Result<(), OffloadError>;
    /// Closes the sending half, or aborts (spec 10.1).
    ///
    /// # Errors
    /// As `send`.
    fn disconnect(&mut self, token: Token, how: Disconnect) -> Result<(), OffloadError>;
    /// Gives the device a segment that reached the host: TCP header and payload (spec 12.1).
    ///
    /// # Errors
    /// `StaleToken`, `WrongPhase`.
    fn forward(&mut self, token: Token, segment: &[u8]) -> Result<(), OffloadError>;

    /// Sends an ordinary frame (without FCS).
    ///
    /// # Errors
    /// `NoMemory` when the ring is full: try again after `poll`. `OutOfRange` for a length that can never be sent: less than a
    /// header, or more than `MAX_JUMBO_LEN`.
    fn transmit(&mut self, frame: &[u8]) -> Result<(), OffloadError>;
    /// Sends a large frame of TCP (without FCS, checksums need not be right) as segments with `mss` bytes of text (R-006).
    ///
    /// # Errors
    /// `NoMemory` as above; `OutOfRange` for less than a header, more than `Capabilities::max_large_frame` bytes, or no MSS.
    fn transmit_large(&mut self, frame: &[u8], mss: u16) -> Result<(), OffloadError>;

    /// Looks at the rings and makes the call-backs that are due. Returns true if there was anything.
    fn poll(&mut self, now_us: u64, client: &mut dyn OffloadClient) -> bool;
}

/// Call-backs from the driver to the host stack; they must not block (R-035).
pub trait OffloadClient {
    /// An initiate is complete: tokens and statuses are in the tree.
    fn initiate_complete(&mut self, tree: Tree);
    /// A query is complete.
    fn query_complete(&mut self, tree: Tree);
    /// An update is complete.
    fn update_complete(&mut self, tree: Tree);
    /// An invalidate is complete.
    fn invalidate_complete(&mut self, tree: Tree);
    /// A terminate is complete: states and data are in the tree; tokens are dead.
    fn terminate_complete(&mut self, tree: Tree);
    /// A send is complete; the buffer is the host's. `bytes` were sent and acknowledged. With `UploadInProgress` the
    /// other bytes of the request are in the `send_data` of the terminate (or of the rebuilt connection), and nowhere
    /// else (R-148); with `RequestAborted` they are dropped (R-175).
    fn send_complete(&mut self, handle: HostHandle, buffer: BufferId, status: Status, bytes: u32);
    /// A posted receive is complete; the buffer is the host's. `bytes` were placed behind the prefilled ones; they are
    /// delivered whatever the status (R-190), in stream order with all other completions and indications.
    fn receive_complete(&mut self, handle: HostHandle, buffer: BufferId, status: Status, bytes: u32);
    /// A disconnect is complete.
    fn disconnect_complete(&mut self, handle: HostHandle, status: Status);
    /// A forward is complete. `UploadInProgress` gives the segment back in `segment`.
    fn forward_complete(&mut self, handle: HostHandle, status: Status, segment: Vec<u8>);
    /// Received data for which nothing is posted (spec 9.2).
    fn receive_indicate(&mut self, handle: HostHandle, data: &[u8]) -> Consumed;
    /// Something is to be sent through a neighbor that neither side has confirmed for long (R-269). Its block has all of its state,
    /// both ages as they are now, no dependents, and `Success` (R-276). The host answers in the block before it returns:
    /// `host_reachability_ms` is the age of its own confirmation, or 0, after which it is not asked again for as long (R-270).
    fn neighbor_reachability(&mut self, neighbor: &mut NeighborBlock);
    /// Something happened to a connection.
    fn event(&mut self, handle: HostHandle, event: ConnectionEvent);
    /// Target-wide status.
    fn status(&mut self, status: TargetStatus);
    /// An ordinary frame (the non-offload path).
    fn frame(&mut self, frame: &[u8], info: FrameInfo);
    /// The device is lost; these connections were rebuilt from host memory (law L2).
    fn device_lost(&mut self, connections: Vec<Rebuilt>);
}

/// State in which a connection stands at the boundary, for logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Residence {
    /// The host layers run it.
    InHost,
    /// Initiate issued.
    Offloading,
    /// The device runs it.
    Offloaded,
    /// Terminate issued.
    Uploading,
}

/// TCP state of a record, if it is one that may be offloaded (R-066).
pub fn offloadable_state(record: &TcpRecord) -> Option<TcpState> {
    TcpState::try_from(record.tcp_state).ok().filter(|s| s.may_offload())
}
