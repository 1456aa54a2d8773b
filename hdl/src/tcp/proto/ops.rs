//! Commands for one connection: beats in, a pass through PROTO, further passes for a Terminate, beats out.
//!
//! ```text
//!   Idle -> [In] -> Pass -> Wait -> [Pages] [Close -> Wait ..] -> Told -> [Out] -> Done
//! ```
//! `Told`: the placer has carried out the last order; so what a command wrote is accepted by the write engine before it is answered.
//!
//! A Terminate asks again whenever something of a connection was stored and the jobs issued until its last pass are done (law L1).
//!
//! Latency: 12 cycles for a command without beats. Throughput: one command at a time. Back-pressure: `op_in` is taken in every cycle of
//! `In` and `Pages`. Reset: no command in work.
use super::image::{posts, with_posts};
use super::op::{page_slot, INITIATE, QUERY, RECORD_BEATS, TERMINATE, UPDATE};
use super::step::SUCCESS;
use crate::mirror::TcpRecord;
use crate::prelude::*;
use crate::tcp::pages::{LoadSlot, CONN_MOST, SLOT_AT};
use crate::tcp::place::order::Posts;
use crate::types::ConnOp;
use chimney_abi::desc::PAGE_SLOTS;

/// Bits of a record in an image.
pub const RECORD: usize = RECORD_BEATS as usize * 64;
/// The same without its lowest beat.
const RECORD_REST: usize = RECORD - 64;
const LAST_BEAT: u64 = RECORD_BEATS - 1;
const LAST_SLOT: u64 = PAGE_SLOTS as u64 - 1;

/// Where the command stands.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
pub enum OpState {
    /// None.
    Idle,
    /// Record beats come in.
    In,
    /// Offered to the intake.
    Pass,
    /// In the pipeline.
    Wait,
    /// The page map comes in.
    Pages,
    /// A Terminate waits for its next pass.
    Close,
    /// The placer tells its posts.
    Told,
    /// The image goes out.
    Out,
    /// The command is answered.
    Done,
}

/// The end of a pass for a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct OpResult {
    /// 1 = there is one in this cycle.
    pub valid: Bit,
    /// Status of the command.
    pub status: Bits<8>,
    /// It needs a later pass.
    pub waits: Bit,
    /// The placer will tell its posts when it is done with the pass's order.
    pub tells: Bit,
    /// The pass issued a job.
    pub job: Bit,
}

/// The block.
#[derive(LogicBlock, Default)]
pub struct Ops {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// No command in work.
    pub idle: Signal<Out, Bit>,
    /// Command.
    pub op: Signal<In, ConnOp>,
    /// Command offered.
    pub op_valid: Signal<In, Bit>,
    /// Command taken.
    pub op_ready: Signal<Out, Bit>,
    /// Beat of an image.
    pub op_in: Signal<In, Bits<64>>,
    /// Beat offered.
    pub op_in_valid: Signal<In, Bit>,
    /// Beat taken.
    pub op_in_ready: Signal<Out, Bit>,
    /// Beat of an image.
    pub op_out: Signal<Out, Bits<64>>,
    /// Beat offered.
    pub op_out_valid: Signal<Out, Bit>,
    /// Beat taken.
    pub op_out_ready: Signal<In, Bit>,
    /// Pulse: the command is done.
    pub op_done: Signal<Out, Bit>,
    /// Its status.
    pub op_status: Signal<Out, Bits<8>>,
    /// The command in work.
    pub current: Signal<Out, ConnOp>,
    /// Its record.
    pub image: Signal<Out, Bits<RECORD>>,
    /// A pass is wanted.
    pub pass_valid: Signal<Out, Bit>,
    /// It begins.
    pub pass_ready: Signal<In, Bit>,
    /// A Terminate's next pass is wanted.
    pub close_valid: Signal<Out, Bit>,
    /// It begins.
    pub close_ready: Signal<In, Bit>,
    /// A pass is over.
    pub result: Signal<In, OpResult>,
    /// The record of the connection, with `tells`.
    pub stored: Signal<In, Bits<RECORD>>,
    /// Some record was stored in this cycle.
    pub stores: Signal<In, Bit>,
    /// Number of the newest job.
    pub issued: Signal<In, Bits<16>>,
    /// Jobs done.
    pub finished: Signal<In, Bits<16>>,
    /// Posts at the start of an offload.
    pub load: Signal<Out, Posts>,
    /// Posts at its end.
    pub told: Signal<In, Posts>,
    /// They are there.
    pub told_valid: Signal<In, Bit>,
    /// Page map entry.
    pub load_slot: Signal<Out, LoadSlot>,
    st: Dff<OpState>,
    cmd: Dff<ConnOp>,
    record: Dff<Bits<RECORD>>,
    beat: Dff<Bits<6>>,
    status: Dff<Bits<8>>,
    job: Dff<Bits<16>>,
    check: Dff<Bit>,
    posts: Dff<Posts>,
    is_told: Dff<Bit>,
}

/// What follows a pass.
#[kernel]
fn after(opcode: Bits<8>, r: OpResult) -> OpState {
    if opcode == INITIATE {
        OpState::Pages
    } else if r.waits {
        OpState::Close
    } else if r.tells {
        OpState::Told
    } else {
        OpState::Done
    }
}

/// An image with its posts.
#[kernel]
fn told(record: Bits<RECORD>, posts: Posts) -> Bits<RECORD> {
    pack::<RECORD, TcpRecord>(with_posts(unpack::<TcpRecord, RECORD>(record), posts))
}

#[kernel]
impl Logic for Ops {
    fn update(&mut self) {
        dff_setup!(self, clock, st, cmd, record, beat, status, job, check, posts, is_told);
        let (st, cmd, beat) = (self.st.q.val(), self.cmd.q.val(), self.beat.q.val());
        let record = self.record.q.val();
        let result = self.result.val();
        let opcode = self.op.val().opcode;
        let brings = opcode == INITIATE || opcode == UPDATE;
        let next_beat = (self.op_in_valid.val() && (st == OpState::In || st == OpState::Pages))
            || (st == OpState::Out && self.op_out_ready.val());
        let quiet = !(self.finished.val() - self.job.q.val()).get_bit(15);

        self.idle.next = st == OpState::Idle && !self.op_valid.val();
        self.op_ready.next = st == OpState::Idle;
        self.op_in_ready.next = st == OpState::In || st == OpState::Pages;
        self.op_out.next = record.get_bits::<64>(0);
        self.op_out_valid.next = st == OpState::Out;
        self.op_done.next = st == OpState::Done;
        self.op_status.next = self.status.q.val();
        self.current.next = cmd;
        self.image.next = record;
        self.pass_valid.next = st == OpState::Pass;
        self.close_valid.next = st == OpState::Close && self.check.q.val() && quiet;
        self.load.next = posts(unpack::<TcpRecord, RECORD>(record));
        let loads = st == OpState::Pages && self.op_in_valid.val() && self.status.q.val() == SUCCESS;
        let at = cat::<SLOT_AT, _>((cmd.conn.get_bits::<CONN_MOST>(0), beat.get_bits::<5>(0)));
        self.load_slot.next =
            LoadSlot { valid: loads, at, slot: page_slot(self.op_in.val(), cmd.generation) };

        // The record shifts in and out by beats.
        let gives = cmd.opcode == QUERY || cmd.opcode == TERMINATE;
        if result.valid && result.tells && gives {
            self.record.d.next = self.stored.val();
        } else if st == OpState::Told && self.is_told.q.val() {
            self.record.d.next = told(record, self.posts.q.val());
        } else if next_beat && st != OpState::Pages {
            self.record.d.next = cat::<RECORD, _>((self.op_in.val(), record.get_bits::<RECORD_REST>(64)));
        }
        if next_beat {
            self.beat.d.next = beat + 1;
        }
        if self.told_valid.val() {
            self.posts.d.next = self.told.val();
            self.is_told.d.next = true;
        } else if st == OpState::Idle {
            self.is_told.d.next = false;
        }
        self.check.d.next = self.stores.val() || (self.check.q.val() && !self.close_ready.val());

        match st {
            OpState::Idle => {
                if self.op_valid.val() {
                    self.cmd.d.next = self.op.val();
                    self.beat.d.next = bits::<6>(0);
                    self.st.d.next = if brings { OpState::In } else { OpState::Pass };
                }
            }
            OpState::In => {
                if next_beat && beat == LAST_BEAT {
                    self.st.d.next = OpState::Pass;
                }
            }
            OpState::Pass => {
                if self.pass_ready.val() {
                    self.st.d.next = OpState::Wait;
                }
            }
            OpState::Wait => {
                if result.valid {
                    self.status.d.next = result.status;
                    self.beat.d.next = bits::<6>(0);
                    self.job.d.next = self.issued.val() + result.job;
                    self.st.d.next = after(cmd.opcode, result);
                }
            }
            OpState::Pages => {
                if next_beat && beat == LAST_SLOT {
                    let good = self.status.q.val() == SUCCESS;
                    self.st.d.next = if good { OpState::Told } else { OpState::Done };
                }
            }
            OpState::Close => {
                if self.close_ready.val() {
                    self.st.d.next = OpState::Wait;
                }
            }
            OpState::Told => {
                if self.is_told.q.val() {
                    self.st.d.next = if gives { OpState::Out } else { OpState::Done };
                }
            }
            OpState::Out => {
                if next_beat && beat == LAST_BEAT {
                    self.st.d.next = OpState::Done;
                }
            }
            OpState::Done => {
                self.st.d.next = OpState::Idle;
            }
        }
        dff_reset!(self, reset, st, check, is_told);
    }
}
