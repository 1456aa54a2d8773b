//! Commands for connections: beats in, a pass through PROTO, further passes for a Terminate, beats out.
//!
//! ```text
//!   commands:  Idle -> Pass -> Wait -> [Clear] [Pages] [Told] -> Done        Terminate: Wait -> list
//!              Idle -> Close -> Wait          the oldest of the list has a turn -> freed, or back into the list
//!   the image: Free -> In -> Full -> Free     (pass)  ->  Told -> Out -> Free
//! ```
//! There is one image register. The image of the next command comes in while the last one is carried out; that of a Terminate
//! goes out, through a queue of 16 beats, while others have their passes. `Told`: the placer has carried out the last order; so what a command wrote is
//! accepted by the write engine before it is answered.
//!
//! A Terminate waits in a list of 16 for what is under way of its connection. Its turn comes again whenever something was
//! stored, and the jobs issued until its last pass are done (law L1). So a list of them costs one memory latency, not each its own.
//!
//! Latency: 12 cycles for a command without beats. Throughput: a new connection each 44 cycles, one that leaves each 47.
//! Back-pressure: `op_in` is taken in every cycle of `In`; in `Pages` an entry that is in use takes 3. Commands are answered in the
//! order taken, but for Terminates. Reset: no command in work.
use super::image::{posts, with_posts};
use super::op::{page_slot, INITIATE, QUERY, RECORD_BEATS, TERMINATE, UPDATE};
use super::step::SUCCESS;
use crate::mirror::TcpRecord;
use crate::prelude::*;
use crate::stream::Fifo;
use crate::tcp::pages::{ClearMap, LoadSlot, CONN_MOST, SLOT_AT};
use crate::tcp::place::order::Posts;
use crate::types::{ConnOp, OpDone};
use chimney_abi::desc::PAGE_SLOTS;

/// Bits of a record in an image.
pub const RECORD: usize = RECORD_BEATS as usize * 64;
/// The same without its lowest beat.
const RECORD_REST: usize = RECORD - 64;
const LAST_BEAT: u64 = RECORD_BEATS - 1;
const LAST_SLOT: u64 = PAGE_SLOTS as u64 - 1;
/// log2 of the Terminates that may wait.
const LIST_LOG2: usize = 4;
/// log2 of the beats that may wait to go out.
const OUT_LOG2: usize = 4;
/// So many beats find room whenever no more than these wait.
const OUT_ROOM: u64 = 8;
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

/// What the image register holds.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
pub enum Hold {
    /// Nothing.
    Free,
    /// Beats come in.
    In,
    /// An image for a pass.
    Full,
    /// An image without its posts.
    Told,
    /// Beats go out.
    Out,
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

/// A Terminate in the list.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Leaver {
    /// See [`ConnOp`].
    pub conn: Bits<16>,
    /// See [`ConnOp`].
    pub generation: Bits<8>,
    /// See [`ConnOp`].
    pub tag: Bits<16>,
    /// See [`ConnOp`].
    pub discard: Bit,
    /// Newest job at its last pass.
    pub job: Bits<16>,
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
    /// The pipeline reads command and image for the last time.
    pub read: Signal<In, Bit>,
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
    hold: Dff<Hold>,
    record: Dff<Bits<RECORD>>,
    beat: Dff<Bits<6>>,
    /// The command whose image is in the register.
    held: Dff<ConnOp>,
    /// Tag of the beats that go out.
    tag: Dff<Bits<16>>,
    ports: Dff<Bits<48>>,
    posts: Dff<Posts>,
    is_told: Dff<Bit>,
    list: Fifo<Leaver, LIST_LOG2, { LIST_LOG2 + 1 }>,
    /// Turns of the list without anything new between them.
    turns: Dff<Bits<5>>,
    seen: Dff<Bits<16>>,
    closed: Dff<Bit>,
    outs: Fifo<Bits<64>, OUT_LOG2, { OUT_LOG2 + 1 }>,
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

/// An image with its posts.
#[kernel]
fn told(record: Bits<RECORD>, posts: Posts) -> Bits<RECORD> {
    pack::<RECORD, TcpRecord>(with_posts(unpack::<TcpRecord, RECORD>(record), posts))
}

#[kernel]
impl Logic for Ops {
    fn update(&mut self) {
        dff_setup!(self, clock, st, cmd, job, status, slot, hold, record, beat, held, ports, posts, is_told);
        dff_setup!(self, clock, tag, turns, seen, closed);
        clock!(self, clock, list, outs, dones);
        reset!(self, reset, list, outs, dones);
        let (st, cmd, hold, beat) = (self.st.q.val(), self.cmd.q.val(), self.hold.q.val(), self.beat.q.val());
        let (record, held, result) = (self.record.q.val(), self.held.q.val(), self.result.val());
        let (op, has_op) = (self.op.val(), self.op_valid.val());
        let level = self.outs.level.val();
        let next = self.list.m_data.val();

        // What may begin. A pass whose image goes out needs the register, which is free in time when the rest of the last one finds room.
        let idle = st == OpState::Idle;
        let room = self.dones.level.val() < DONE_MOST && hold != Hold::Told;
        let ends = hold == Hold::Out && beat >= RECORD_BEATS - OUT_ROOM && level <= OUT_ROOM;
        let open = hold == Hold::Free || ends;
        let claims = !idle && gives(cmd.opcode);
        let fills = has_op && brings(op.opcode) && hold == Hold::Free && !claims;
        let runs = idle && room && hold == Hold::Full;
        let bare = has_op && !brings(op.opcode) && self.list.s_ready.val();
        let closes = idle
            && room
            && hold != Hold::Full
            && open
            && !fills
            && self.list.m_valid.val()
            && self.turns.q.val().any()
            && !(bare && self.closed.q.val());
        let takes = idle && room && hold != Hold::Full && bare && !closes && (open || op.opcode != QUERY);
        let quiet = !(self.finished.val() - self.job.q.val()).get_bit(15);
        let back = st == OpState::Close && !quiet;
        let waits = st == OpState::Wait && result.valid && result.waits;
        let gone = st == OpState::Wait && result.valid && result.tells && gives(cmd.opcode);

        self.idle.next = idle
            && hold == Hold::Free
            && !has_op
            && !self.list.m_valid.val()
            && !self.outs.m_valid.val()
            && !self.dones.m_valid.val();
        self.op_ready.next = if brings(op.opcode) { hold == Hold::Free && !claims } else { takes };
        self.current.next = cmd;
        self.image.next = record;
        self.pass_valid.next = st == OpState::Pass;
        self.close_valid.next = st == OpState::Close && quiet;
        self.load.next = self.posts.q.val();

        // The list. Its turns are used up until something happens.
        let happens = self.stores.val() || self.finished.val() != self.seen.q.val();
        self.seen.d.next = self.finished.val();
        self.list.m_ready.next = closes;
        self.list.s_valid.next = back || waits;
        self.list.s_data.next = Leaver {
            conn: cmd.conn,
            generation: cmd.generation,
            tag: cmd.tag,
            discard: cmd.discard,
            job: if back { self.job.q.val() } else { self.issued.val() + result.job },
        };
        if happens {
            self.turns.d.next = self.list.level.val() + 1;
        } else if closes {
            self.turns.d.next = self.turns.q.val() - 1;
        }
        if closes || takes {
            self.closed.d.next = closes;
        }

        // The page map.
        let at = cat::<SLOT_AT, _>((cmd.conn.get_bits::<CONN_MOST>(0), self.slot.q.val()));
        let (used, slot) = page_slot(self.op_in.val(), cmd.generation);
        let in_pages = st == OpState::Pages && self.op_in_valid.val();
        let loads = in_pages && used && self.status.q.val() == SUCCESS;
        let next_slot = in_pages && (!loads || self.load_ready.val());
        self.load_slot.next = LoadSlot { valid: loads, at, slot };
        self.clear.next = ClearMap { valid: st == OpState::Clear, conn: cmd.conn };
        if next_slot {
            self.slot.d.next = self.slot.q.val() + 1;
        }

        // The image shifts in and out by beats.
        let comes = hold == Hold::In && self.op_in_valid.val();
        let goes = hold == Hold::Out && self.outs.s_ready.val();
        self.op_in_ready.next = hold == Hold::In || next_slot;
        self.outs.s_valid.next = goes;
        self.outs.s_data.next = record.get_bits::<64>(0);
        self.op_out.next = self.outs.m_data.val();
        self.op_out_valid.next = self.outs.m_valid.val();
        self.outs.m_ready.next = self.op_out_ready.val();
        self.op_out_tag.next = self.tag.q.val();
        let has_told = self.is_told.q.val();
        let sends = hold == Hold::Told && has_told && level == 0;
        if gone {
            self.record.d.next = self.stored.val();
        } else if sends {
            self.record.d.next = told(record, self.posts.q.val());
        } else if comes || goes {
            self.record.d.next = cat::<RECORD, _>((self.op_in.val(), record.get_bits::<RECORD_REST>(64)));
        }
        if comes || goes {
            self.beat.d.next = beat + 1;
        }
        if fills || sends {
            self.beat.d.next = bits::<6>(0);
        }
        if fills {
            self.held.d.next = op;
        }
        if sends {
            self.tag.d.next = held.tag;
        }
        if runs || takes || closes {
            self.cmd.d.next = if runs {
                held
            } else if takes {
                op
            } else {
                turn_of(next)
            };
            self.job.d.next = next.job;
        }
        let leaves = hold == Hold::Told && has_told && held.discard || goes && beat == LAST_BEAT;
        match hold {
            Hold::Free => {
                if fills {
                    self.hold.d.next = Hold::In;
                }
            }
            Hold::In => {
                if comes && beat == LAST_BEAT {
                    self.hold.d.next = Hold::Full;
                }
            }
            Hold::Full => {
                if self.read.val() && brings(cmd.opcode) {
                    self.hold.d.next = Hold::Free;
                }
            }
            Hold::Told => {
                if leaves {
                    self.hold.d.next = Hold::Free;
                } else if sends {
                    self.hold.d.next = Hold::Out;
                }
            }
            Hold::Out => {
                if leaves {
                    self.hold.d.next = Hold::Free;
                }
            }
        }
        if gone {
            self.hold.d.next = Hold::Told;
            self.held.d.next = cmd;
            self.ports.d.next = self.stored.val().get_bits::<48>(0);
        }

        // Posts: of an image at its pass, of a connection when the placer tells them.
        let begins = st == OpState::Pass && self.pass_ready.val() && brings(cmd.opcode);
        if self.told_valid.val() {
            self.posts.d.next = self.told.val();
            self.is_told.d.next = true;
        } else if begins {
            self.posts.d.next = posts(unpack::<TcpRecord, RECORD>(record));
            self.ports.d.next = record.get_bits::<48>(0);
        }
        if sends || leaves || st == OpState::Told && has_told {
            self.is_told.d.next = false;
        }

        // Answers; an image that is out goes first.
        self.dones.s_valid.next = leaves || st == OpState::Done;
        self.dones.s_data.next = if leaves {
            answer(held, bits::<8>(SUCCESS), self.ports.q.val())
        } else {
            answer(cmd, self.status.q.val(), self.ports.q.val())
        };
        self.done.next = self.dones.m_data.val();
        self.done_valid.next = self.dones.m_valid.val();
        self.dones.m_ready.next = self.done_ready.val();

        match st {
            OpState::Idle => {
                if runs || takes {
                    self.st.d.next = OpState::Pass;
                } else if closes {
                    self.st.d.next = OpState::Close;
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
                    self.slot.d.next = bits::<5>(0);
                    self.st.d.next = after(cmd, result);
                }
            }
            OpState::Clear => {
                if self.clear_ready.val() {
                    self.st.d.next = if cmd.has_map { OpState::Pages } else { OpState::Told };
                }
            }
            OpState::Pages => {
                if next_slot && self.slot.q.val() == LAST_SLOT {
                    let good = self.status.q.val() == SUCCESS;
                    self.st.d.next = if good { OpState::Told } else { OpState::Done };
                }
            }
            OpState::Told => {
                if has_told {
                    self.st.d.next = OpState::Done;
                }
            }
            OpState::Done => {
                if !leaves {
                    self.st.d.next = OpState::Idle;
                }
            }
            OpState::Close => {
                if !quiet {
                    self.st.d.next = OpState::Idle;
                } else if self.close_ready.val() {
                    self.st.d.next = OpState::Wait;
                }
            }
        }
        dff_reset!(self, reset, st, hold, is_told, turns, closed);
    }
}
