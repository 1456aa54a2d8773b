//! Events: what a pass begins with, whose turn it is, and when a connection may not be read.
use super::step::Pick;
use crate::prelude::*;
use crate::tcp::place::order::{Commit, PlaceFits};
use crate::types::{Doorbell, RxSeg, TxDone};
use chimney_abi::desc::PAGE_BYTES;

/// Which sources have something.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Offers {
    /// A durable shadow record.
    pub commit: Bit,
    /// An answer of the loss unit.
    pub loss: Bit,
    /// A doorbell.
    pub bell: Bit,
    /// A command.
    pub op: Bit,
    /// A failed job.
    pub tx_fail: Bit,
    /// A deadline.
    pub timer: Bit,
    /// A Terminate that may go on.
    pub close: Bit,
    /// A SND.UNA to publish.
    pub publish: Bit,
    /// A segment.
    pub rx: Bit,
    /// A connection that may send.
    pub tx: Bit,
}

/// The placer's answer waits until the segment that it is for has started.
#[kernel]
pub fn waits_for(held: PlaceFits, fits: PlaceFits, started: bool) -> PlaceFits {
    if fits.valid {
        fits
    } else if started {
        PlaceFits::default()
    } else {
        held
    }
}

/// The source whose turn it is.
#[kernel]
pub fn pick(o: Offers) -> Pick {
    if o.commit {
        Pick::Commit
    } else if o.loss {
        Pick::Loss
    } else if o.bell {
        Pick::Bell
    } else if o.op {
        Pick::Op
    } else if o.tx_fail {
        Pick::TxFail
    } else if o.timer {
        Pick::Timer
    } else if o.close {
        Pick::Close
    } else if o.publish {
        Pick::Publish
    } else if o.rx {
        Pick::Rx
    } else if o.tx {
        Pick::Tx
    } else {
        Pick::None
    }
}

/// An event.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Event {
    /// Its kind; `None`: there is none.
    pub pick: Pick,
    /// Its connection.
    pub conn: Bits<16>,
    /// Segment.
    pub seg: RxSeg,
    /// Doorbell.
    pub bell: Doorbell,
    /// Failed job.
    pub done: TxDone,
    /// Durable shadow record.
    pub commit: Commit,
    /// Pages reserved.
    pub reserved: Bits<3>,
    /// There are no pages for all of the text.
    pub no_pages: Bit,
    /// The post in use does not take all of it either.
    pub no_post: Bit,
    /// There is room for a job of it.
    pub may_send: Bit,
    /// A segment: the loss unit has too much to do to hear its acknowledgment.
    pub is_deaf: Bit,
    /// The loss unit has room for a job of this pass.
    pub has_unit: Bit,
    /// With a deadline: see `watchdog::Due`.
    pub notice: Bits<4>,
    /// With a durable record: its acknowledgment is a job already (`issue`).
    pub is_acked: Bit,
}

/// Connections whose records are not to be read now: the fetch stage, those before the
/// stage whose result the next pass takes over, and the one whose record would be written while it is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Busy {
    /// A pass is there.
    pub v0: Bit,
    /// Its connection.
    pub c0: Bits<16>,
    /// See `v0`.
    pub v1: Bit,
    /// See `c0`.
    pub c1: Bits<16>,
    /// See `v0`.
    pub v2: Bit,
    /// See `c0`.
    pub c2: Bits<16>,
    /// See `v0`.
    pub v3: Bit,
    /// See `c0`.
    pub c3: Bits<16>,
    /// See `v0`.
    pub v4: Bit,
    /// See `c0`.
    pub c4: Bits<16>,
    /// See `v0`; one stage is left out in front of it.
    pub v6: Bit,
    /// See `c0`.
    pub c6: Bits<16>,
    /// A pass is anywhere.
    pub any: Bit,
}

/// The same row of the memory of `1 << LOG2` records; the rest of an id only says that it is none of ours.
#[kernel]
fn is_row<const LOG2: usize>(a: Bits<16>, b: Bits<16>) -> bool {
    bit_cast::<LOG2, 16>(a) == bit_cast::<LOG2, 16>(b)
}

/// The connection may be read.
#[kernel]
pub fn is_clear<const LOG2: usize>(b: Busy, conn: Bits<16>) -> bool {
    !((b.v0 && is_row::<LOG2>(b.c0, conn))
        || (b.v1 && is_row::<LOG2>(b.c1, conn))
        || (b.v2 && is_row::<LOG2>(b.c2, conn))
        || (b.v3 && is_row::<LOG2>(b.c3, conn))
        || (b.v4 && is_row::<LOG2>(b.c4, conn))
        || (b.v6 && is_row::<LOG2>(b.c6, conn)))
}

/// What the last stage tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Outcome {
    /// The connection.
    pub conn: Bits<16>,
    /// An order went to the placer.
    pub order: Bit,
    /// A job was issued.
    pub job: Bit,
    /// The room for one was not used.
    pub no_job: Bit,
    /// The connection goes into the ready list.
    pub ready: Bit,
    /// Its SND.UNA waits for the jobs issued before.
    pub wait: Bit,
}

/// Jobs of the transmitter, numbered from 1 on as they are issued and done in that order.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Jobs {
    /// The newest issued.
    pub issued: Bits<16>,
    /// The newest done.
    pub finished: Bits<16>,
}

/// The job with this number is done. One of more than 2^15 jobs ago may not look so: then who asks waits for the newest of all.
#[kernel]
pub fn is_done(jobs: Jobs, number: Bits<16>) -> bool {
    !(jobs.finished - number).get_bit(15)
}

/// Pages that text may touch.
#[kernel]
pub fn pages_for(seq: Bits<32>, len: Bits<16>) -> Bits<3> {
    let end = bit_cast::<16, 12>(seq.get_bits::<12>(0)) + len + LAST;
    if len == 0 {
        bits::<3>(0)
    } else {
        end.get_bits::<3>(12)
    }
}

/// Rounds up to a page.
const LAST: u64 = PAGE_BYTES as u64 - 1;

/// The connection of the event. `named`: that of a command, of an answer of the loss unit, of a deadline; `waiting`: of a SND.UNA to
/// publish; `ready`: of the ready list.
#[kernel]
pub fn conn_of(
    p: Pick,
    e: Event,
    named: (Bits<16>, Bits<16>, Bits<16>),
    waiting: Bits<16>,
    ready: Bits<16>,
) -> Bits<16> {
    let (op, answered, expired) = named;
    match p {
        Pick::Commit => e.commit.conn,
        Pick::Loss => answered,
        Pick::Bell => e.bell.conn,
        Pick::Op | Pick::Close => op,
        Pick::TxFail => e.done.conn,
        Pick::Timer => expired,
        Pick::Publish => waiting,
        Pick::Rx => e.seg.conn,
        Pick::Tx | Pick::None => ready,
    }
}
