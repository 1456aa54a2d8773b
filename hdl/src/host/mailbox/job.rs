//! What the parts of the command block say to each other.
use crate::mirror::ImageHeader;
use crate::prelude::*;
use crate::types::{WriteCmd, TAG_BITS, WRITE_INLINE};
use chimney_abi::cmd::{ImageKind, Opcode, Status};
use chimney_abi::state;

/// `Opcode` numbers.
pub const NOP: u64 = Opcode::Nop.code() as u64;
/// See [`NOP`].
pub const INITIATE: u64 = Opcode::Initiate.code() as u64;
/// See [`NOP`].
pub const TERMINATE: u64 = Opcode::Terminate.code() as u64;
/// See [`NOP`].
pub const QUERY: u64 = Opcode::Query.code() as u64;
/// See [`NOP`].
pub const UPDATE: u64 = Opcode::Update.code() as u64;
/// See [`NOP`].
pub const INVALIDATE: u64 = Opcode::Invalidate.code() as u64;
/// See [`NOP`].
pub const ABORT: u64 = Opcode::Abort.code() as u64;

/// `ImageKind` numbers.
pub const KIND_NEIGHBOR: u64 = ImageKind::Neighbor.code() as u64;
/// See [`KIND_NEIGHBOR`].
pub const KIND_PATH: u64 = ImageKind::Path.code() as u64;
/// See [`KIND_NEIGHBOR`].
pub const KIND_TCP: u64 = ImageKind::Tcp.code() as u64;

/// `Status` numbers.
pub const SUCCESS: u64 = Status::Success.code() as u64;
/// See [`SUCCESS`].
pub const BAD_REQUEST: u64 = Status::BadRequest.code() as u64;
/// See [`SUCCESS`].
pub const STALE: u64 = Status::Stale.code() as u64;
/// See [`SUCCESS`].
pub const TCP_ENTRIES: u64 = Status::TcpEntries.code() as u64;
/// See [`Status`].
pub const REJECTED: u64 = Status::Rejected.code() as u64;
/// See [`SUCCESS`].
pub const NO_PARENT: u64 = Status::NoParent.code() as u64;
/// See [`SUCCESS`].
pub const HARDWARE_FAILURE: u64 = Status::HardwareFailure.code() as u64;

/// Bytes of an image header.
pub const HEADER_BYTES: u64 = state::HEADER_BYTES as u64;
const IPV6: u64 = state::CONST_IPV6 as u64;
/// Tag of an image's last write.
pub const LAST: u64 = 1;

/// One image in work, or an Abort; stable from `go` to `done`.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Job {
    /// The command's opcode.
    pub opcode: Bits<8>,
    /// The image's header; for an Abort only `id` and `generation` count.
    pub header: ImageHeader,
    /// Address of the image's body.
    pub body: Bits<64>,
    /// Its place in the command.
    pub index: Bits<16>,
    /// A connection's body could not be read whole.
    pub body_failed: Bit,
    /// A connection's record has out-of-order ranges.
    pub has_ranges: Bit,
}

/// What became of an image (its part -> [`Answers`](super::answers::Answers)).
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Answer {
    /// Its place in the command.
    pub index: Bits<16>,
    /// `Status` number.
    pub status: Bits<8>,
    /// The image has a header to which the status is written.
    pub write: Bit,
    /// It was written, with [`last`] at the end.
    pub lands: Bit,
}

/// A connection's ports and family, as they lie in its record.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Ports {
    /// Own.
    pub local: Bits<16>,
    /// The peer's.
    pub remote: Bits<16>,
    /// `const_flags`.
    pub flags: Bits<16>,
}

/// The connection's family.
#[kernel]
pub fn is_v6(p: Ports) -> bool {
    (p.flags & bits::<16>(IPV6)).any()
}

/// A run of beats to read (a part -> [`Fetch`](super::fetch::Fetch)).
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Run {
    /// Pulse: start. Only when no run is being read, or with [`RunBeat::done`] of the last one.
    pub start: Bit,
    /// Address, a multiple of 8.
    pub iova: Bits<64>,
    /// Beats, 1 to 127.
    pub beats: Bits<7>,
}

/// What comes of a run (`Fetch` -> all parts; it belongs to the part that started the run).
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct RunBeat {
    /// A beat is there; it must be taken.
    pub valid: Bit,
    /// The beat.
    pub data: Bits<64>,
    /// Pulse, at least one clock after the last beat: the run is complete.
    pub done: Bit,
    /// With `done`: some beat came with an error response.
    pub error: Bit,
}

/// What is left of a command at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Outcome {
    /// Status of the last image that failed, or Success.
    pub worst: Bits<8>,
    /// Images that failed, 255 = 255 or more; 1 when there was none to try.
    pub failed: Bits<8>,
}

/// Offers a command to the write engine's port; it stays until taken.
#[derive(LogicInterface, Default)]
#[join = "WriteSlave"]
pub struct WriteMaster {
    /// Offered.
    pub valid: Signal<Out, Bit>,
    /// Taken.
    pub ready: Signal<In, Bit>,
    /// The command.
    pub cmd: Signal<Out, WriteCmd>,
}

/// The other side of [`WriteMaster`].
#[derive(LogicInterface, Default)]
#[join = "WriteMaster"]
pub struct WriteSlave {
    /// Offered.
    pub valid: Signal<In, Bit>,
    /// Taken.
    pub ready: Signal<Out, Bit>,
    /// The command.
    pub cmd: Signal<In, WriteCmd>,
}

/// A write of `len` bytes of `data`, unreported.
#[kernel]
pub fn inline(iova: Bits<64>, len: Bits<16>, data: Bits<256>) -> WriteCmd {
    WriteCmd { kind: bits::<2>(WRITE_INLINE), iova, len, data, ..WriteCmd::default() }
}

/// The same with a report: the status of its image waits for it.
#[kernel]
pub fn reported(iova: Bits<64>, len: Bits<16>, data: Bits<256>) -> WriteCmd {
    WriteCmd { notify: true, ..inline(iova, len, data) }
}

/// The same for the last write of an image: when it has landed, all of the image has.
#[kernel]
pub fn last(c: WriteCmd) -> WriteCmd {
    WriteCmd { tag: bits::<TAG_BITS>(LAST), ..c }
}

/// The run that is started; at most one part does so at a time.
#[kernel]
pub fn one_of(runs: [Run; 3]) -> Run {
    let mut one = runs[0];
    for run in runs {
        if run.start {
            one = run;
        }
    }
    one
}
