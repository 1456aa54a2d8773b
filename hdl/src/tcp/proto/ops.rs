//! Commands for connections: beats in, a pass through PROTO, further passes for a Terminate, beats out.
//!
//! ```text
//!   Idle -> Pass -> Wait -> [Clear] [Pages] [Told] -> Done        Terminate: Wait -> list
//!   Idle -> Close -> Wait           the oldest of the list has a turn -> its image goes out, or back into the list
//! ```
//! | file | job |
//! |---|---|
//! | `ops.rs` | the command in hand, answers |
//! | `hold.rs` | the image register: the image of the next command comes in while the last one is carried out; that of a Terminate goes out while others have their passes |
//! | `leavers.rs` | Terminates that wait for what is under way of their connections (law L1); so a list of them costs one memory latency, not each its own |
//!
//! `Told`: the placer has carried out the last order; so what a command wrote is accepted by the write engine before it is answered.
//!
//! Latency: 12 cycles for a command without beats. Throughput: a new connection each 44 cycles, one that leaves each 47.
//! Back-pressure: `op_in` is taken in every cycle of `In`; in `Pages` an entry that is in use takes 3. Commands are answered in the
//! order taken, but for Terminates. Reset: no command in work.
use super::admit::Image;
use super::event::{is_done, Jobs};
use super::hold::Hold;
use super::image::posts;
use super::leavers::{Leaver, Leavers};
use super::op::{page_slot, INITIATE, QUERY, TERMINATE, UPDATE};
use super::step::SUCCESS;
use crate::mirror::TcpRecord;
use crate::prelude::*;
use crate::stream::Fifo;
use crate::tcp::pages::{ClearMap, LoadSlot, CONN_MOST, SLOT_AT};
use crate::tcp::place::order::Posts;
use crate::types::{ConnOp, OpDone, TcpParams};
use chimney_abi::desc::PAGE_SLOTS;

/// Bits of a record in an image.
pub const RECORD: usize = TcpRecord::BITS;
const LAST_SLOT: u64 = PAGE_SLOTS as u64 - 1;
/// Answers that may wait when a pass begins: it brings one at most, and an image that goes out another.
const DONE_MOST: u64 = 2;

/// Where the command in hand stands.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
pub enum OpState {
    /// None.
    Idle,
    /// Offered to the intake.
    Pass,
    /// In the pipeline.
    Wait,
    /// The page map is emptied.
    Clear,
    /// The page map comes in.
    Pages,
    /// The placer carries its order out.
    Told,
    /// It is answered.
    Done,
    /// A Terminate's turn.
    Close,
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
    /// Of another pass: it reads command and image in this cycle, for the last time.
    pub read: Bit,
}

/// The block.
#[derive(LogicBlock, Default)]
pub struct Ops {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// Registers.
    pub params: Signal<In, TcpParams>,
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
    /// Tag of its command.
    pub op_out_tag: Signal<Out, Bits<16>>,
    /// Beat offered.
    pub op_out_valid: Signal<Out, Bit>,
    /// Beat taken.
    pub op_out_ready: Signal<In, Bit>,
    /// A command is done.
    pub done: Signal<Out, OpDone>,
    /// The answer is offered.
    pub done_valid: Signal<Out, Bit>,
    /// The answer is taken.
    pub done_ready: Signal<In, Bit>,
    /// The command in hand.
    pub current: Signal<Out, ConnOp>,
    /// Its image, as it was admitted.
    pub image: Signal<Out, Image>,
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
    /// Jobs issued and done.
    pub numbers: Signal<In, Jobs>,
    /// Posts at the start of an offload.
    pub load: Signal<Out, Posts>,
    /// Posts at its end.
    pub told: Signal<In, Posts>,
    /// They are there.
    pub told_valid: Signal<In, Bit>,
    /// Page map entry.
    pub load_slot: Signal<Out, LoadSlot>,
    /// It is taken.
    pub load_ready: Signal<In, Bit>,
    /// A new connection's page map.
    pub clear: Signal<Out, ClearMap>,
    /// It is empty.
    pub clear_ready: Signal<In, Bit>,
    st: Dff<OpState>,
    cmd: Dff<ConnOp>,
    job: Dff<Bits<16>>,
    status: Dff<Bits<8>>,
    slot: Dff<Bits<5>>,
    ports: Dff<Bits<48>>,
    posts: Dff<Posts>,
    is_told: Dff<Bit>,
    /// The last pass was a turn of the list.
    closed: Dff<Bit>,
    hold: Hold,
    list: Leavers,
    dones: Fifo<OpDone, 2, 3>,
}

/// It brings an image.
#[kernel]
fn brings(opcode: Bits<8>) -> bool {
    opcode == INITIATE || opcode == UPDATE
}

/// An image goes out with its answer.
#[kernel]
fn gives(opcode: Bits<8>) -> bool {
    opcode == QUERY || opcode == TERMINATE
}

/// An answer.
#[kernel]
fn answer(op: ConnOp, status: Bits<8>, ports: Bits<48>) -> OpDone {
    OpDone {
        opcode: op.opcode,
        conn: op.conn,
        generation: op.generation,
        tag: op.tag,
        discard: op.discard,
        status,
        ports,
    }
}

/// Ports and `const_flags` of a record: its first beat but for the shifts.
#[kernel]
fn ports(r: TcpRecord) -> Bits<48> {
    cat::<48, _>((r.const_flags, r.remote_port, r.local_port))
}

/// The command whose pass begins: of the image that came, or the one that is offered.
#[kernel]
fn begun(runs: bool, held: ConnOp, op: ConnOp) -> ConnOp {
    if runs {
        held
    } else {
        op
    }
}

/// A Terminate for the list.
#[kernel]
fn leaver(op: ConnOp, job: Bits<16>) -> Leaver {
    Leaver { conn: op.conn, generation: op.generation, tag: op.tag, discard: op.discard, job }
}

/// The turn of a Terminate from the list.
#[kernel]
fn turn_of(l: Leaver) -> ConnOp {
    ConnOp {
        opcode: bits::<8>(TERMINATE),
        conn: l.conn,
        generation: l.generation,
        tag: l.tag,
        discard: l.discard,
        ..ConnOp::default()
    }
}

/// What moves a command on.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
struct Moves {
    /// A pass is to begin; a turn of the list.
    begins: Bit,
    /// See `begins`.
    closes: Bit,
    /// The pass began.
    taken: Bit,
    /// The jobs before a turn are done.
    quiet: Bit,
    /// The end of the pass.
    result: OpResult,
    /// The command in hand.
    cmd: ConnOp,
    /// The page map is empty.
    cleared: Bit,
    /// It is loaded.
    loaded: Bit,
    /// Its connection was accepted.
    good: Bit,
    /// The placer has told.
    told: Bit,
    /// The answer is taken.
    answered: Bit,
}

/// What follows a pass.
#[kernel]
fn after(cmd: ConnOp, r: OpResult) -> OpState {
    let is_new = cmd.opcode == INITIATE;
    if r.waits || r.tells && gives(cmd.opcode) {
        OpState::Idle
    } else if is_new && r.tells {
        OpState::Clear
    } else if is_new && cmd.has_map {
        OpState::Pages
    } else if r.tells {
        OpState::Told
    } else {
        OpState::Done
    }
}

/// One state or the other.
#[kernel]
fn pick(b: bool, yes: OpState, no: OpState) -> OpState {
    if b {
        yes
    } else {
        no
    }
}

/// The next state.
#[kernel]
fn next_state(st: OpState, m: Moves) -> OpState {
    let turn = pick(m.closes, OpState::Close, st);
    let ended = pick(m.good, OpState::Told, OpState::Done);
    match st {
        OpState::Idle => pick(m.begins, OpState::Pass, turn),
        OpState::Pass => pick(m.taken, OpState::Wait, st),
        OpState::Wait => pick(m.result.valid, after(m.cmd, m.result), st),
        OpState::Clear => pick(m.cleared, pick(m.cmd.has_map, OpState::Pages, OpState::Told), st),
        OpState::Pages => pick(m.loaded, ended, st),
        OpState::Told => pick(m.told, OpState::Done, st),
        OpState::Done => pick(m.answered, OpState::Idle, st),
        OpState::Close => pick(m.quiet, pick(m.taken, OpState::Wait, st), OpState::Idle),
    }
}

#[kernel]
impl Logic for Ops {
    fn update(&mut self) {
        dff_setup!(self, clock, st, cmd, job, status, slot, ports, posts, is_told, closed);
        clock!(self, clock, hold, list, dones);
        reset!(self, reset, hold, list, dones);
        let (st, cmd, result) = (self.st.q.val(), self.cmd.q.val(), self.result.val());
        let (op, has_op, held) = (self.op.val(), self.op_valid.val(), self.hold.held.val());
        let (idle, is_turn, next) = (st == OpState::Idle, st == OpState::Close, self.list.head.val());

        // What may begin: a pass for an image that came, for a command without one, or a turn of the list, which takes turns with these.
        let free = self.hold.free.val() && !(!idle && gives(cmd.opcode));
        let fills = has_op && brings(op.opcode) && free;
        let bare = has_op && !brings(op.opcode) && self.list.room.val();
        let may = idle && self.dones.level.val() < DONE_MOST && !self.hold.waits.val();
        let runs = may && self.hold.full.val();
        let others = may && !self.hold.full.val();
        let open = self.hold.open.val();
        let closes = others && open && !fills && self.list.valid.val() && !(bare && self.closed.q.val());
        let takes = others && bare && !closes && (open || op.opcode != QUERY);
        let numbers = self.numbers.val();
        let quiet = is_done(numbers, self.job.q.val());
        let ended = st == OpState::Wait && result.valid;
        let back = is_turn && !quiet;
        let goes = ended && result.tells && gives(cmd.opcode);

        self.idle.next =
            idle && self.hold.empty.val() && !has_op && self.list.empty.val() && !self.dones.m_valid.val();
        self.op_ready.next = if brings(op.opcode) { free } else { takes };
        self.current.next = cmd;
        self.image.next = self.hold.image.val();
        self.hold.params.next = self.params.val();
        self.pass_valid.next = st == OpState::Pass;
        self.close_valid.next = is_turn && quiet;
        self.load.next = self.posts.q.val();
        if runs || takes || closes {
            self.cmd.d.next = if closes { turn_of(next) } else { begun(runs, held, op) };
            self.job.d.next = next.job;
            self.closed.d.next = closes;
        }

        // The list.
        self.list.take.next = closes;
        self.list.push.next = back || ended && result.waits;
        self.list.entry.next = leaver(cmd, if back { self.job.q.val() } else { numbers.issued + result.job });
        self.list.stores.next = self.stores.val();
        self.list.finished.next = numbers.finished;

        // The page map.
        let at = cat::<SLOT_AT, _>((cmd.conn.get_bits::<CONN_MOST>(0), self.slot.q.val()));
        let (used, slot) = page_slot(self.op_in.val(), cmd.generation);
        let in_pages = st == OpState::Pages && self.op_in_valid.val();
        let good = self.status.q.val() == SUCCESS;
        let loads = in_pages && used && good;
        let next_slot = in_pages && (!loads || self.load_ready.val());
        self.load_slot.next = LoadSlot { valid: loads, at, slot };
        self.clear.next = ClearMap { valid: st == OpState::Clear, conn: cmd.conn };

        // Images.
        self.hold.fill.next = fills;
        self.hold.op.next = op;
        self.hold.op_in.next = self.op_in.val();
        self.hold.op_in_valid.next = self.op_in_valid.val();
        self.op_in_ready.next = self.hold.op_in_ready.val() || next_slot;
        self.hold.read.next = result.read && brings(cmd.opcode);
        self.hold.give.next = goes;
        self.hold.gives.next = cmd;
        self.hold.stored.next = self.stored.val();
        self.hold.has_told.next = self.is_told.q.val();
        self.hold.posts.next = self.posts.q.val();
        self.op_out.next = self.hold.op_out.val();
        self.op_out_tag.next = self.hold.op_out_tag.val();
        self.op_out_valid.next = self.hold.op_out_valid.val();
        self.hold.op_out_ready.next = self.op_out_ready.val();

        // Posts: of an image at its pass, of a connection when the placer tells them.
        let begins = st == OpState::Pass && self.pass_ready.val() && brings(cmd.opcode);
        if self.told_valid.val() {
            self.posts.d.next = self.told.val();
            self.is_told.d.next = true;
        } else if self.hold.takes_told.val() || st == OpState::Told {
            self.is_told.d.next = false;
        }
        if begins {
            self.posts.d.next = posts(self.hold.image.val().record);
            self.ports.d.next = ports(self.hold.image.val().record);
        } else if goes {
            self.ports.d.next = self.stored.val().get_bits::<48>(0);
        }

        // Answers; an image that is out goes first.
        let leaves = self.hold.leaves.val();
        self.dones.s_valid.next = leaves || st == OpState::Done;
        let status = if leaves { bits::<8>(SUCCESS) } else { self.status.q.val() };
        self.dones.s_data.next = answer(if leaves { held } else { cmd }, status, self.ports.q.val());
        self.done.next = self.dones.m_data.val();
        self.done_valid.next = self.dones.m_valid.val();
        self.dones.m_ready.next = self.done_ready.val();

        self.status.d.next = if ended { result.status } else { self.status.q.val() };
        self.slot.d.next = if ended { bits::<5>(0) } else { self.slot.q.val() + next_slot };
        let moves = Moves {
            begins: runs || takes,
            closes,
            taken: if is_turn { self.close_ready.val() } else { self.pass_ready.val() },
            quiet,
            result,
            cmd,
            cleared: self.clear_ready.val(),
            loaded: next_slot && self.slot.q.val() == LAST_SLOT,
            good,
            told: self.is_told.q.val(),
            answered: !leaves,
        };
        self.st.d.next = next_state(st, moves);
        dff_reset!(self, reset, st, is_told, closed);
    }
}
