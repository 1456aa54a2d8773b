//! 4-tuple -> connection id: a hash table with eight places for every key.
//!
//! ```text
//!   key --mix, 4 cycles--> h   probe slots h, h+1 .. h+7 (mod size), one per cycle, all fields compared
//! ```
//! The hash is keyed (register `HASH_KEY`), so that a remote host cannot aim at one bucket. A key may lie in
//! any of its eight slots, so a delete just empties the slot. An insert fails when the key is present or
//! all eight slots are taken (`TcpEntries`): at four slots per connection that is rare, and the host keeps the connection.
//!
//! Two clients: the dispatcher finds, the command block inserts and deletes; a waiting insert or delete goes first.
//! Latency: find 7 cycles when the first slot hits, 15 for a miss. One request at a time. Back-pressure: `*_ready`.
//! Reset: all slots are emptied, one per cycle; nothing is ready meanwhile.
use crate::mem::SdpRam;
use crate::prelude::*;

/// Slots that are looked at for one key.
const PROBES: u64 = 8;
/// Cycles of mixing.
const MIX_STEPS: u64 = 4;

/// What names a connection on the wire. Addresses: first wire byte low; ports: numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct FlowKey {
    /// Peer's address.
    pub remote_ip: Bits<32>,
    /// Own address.
    pub local_ip: Bits<32>,
    /// Peer's port.
    pub remote_port: Bits<16>,
    /// Own port.
    pub local_port: Bits<16>,
}

/// A change of the table (command block -> lookup).
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct LookupOp {
    /// 1 = insert, 0 = delete (only if key and connection id agree).
    pub insert: Bit,
    /// The key.
    pub key: FlowKey,
    /// Connection id.
    pub conn: Bits<16>,
}

/// One slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Slot {
    /// 1 = in use.
    pub valid: Bit,
    /// The key.
    pub key: FlowKey,
    /// Connection id.
    pub conn: Bits<16>,
}

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
pub enum LookupState {
    /// Emptying the table.
    Clear,
    /// Waiting for a request.
    Idle,
    /// Hashing.
    Mix,
    /// Reading slots.
    Probe,
    /// Changing a slot.
    Write,
    /// Answering.
    Answer,
}

/// One of the three operations.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
pub enum Request {
    /// Find.
    Find,
    /// Insert.
    Insert,
    /// Delete.
    Delete,
}

/// One step of the hash: words 0 to 2 of the key, then the final avalanche.
#[kernel]
pub fn mix(h: Bits<32>, key: FlowKey, step: Bits<3>) -> Bits<32> {
    let ports = cat::<32, _>((key.remote_port, key.local_port));
    let word = if step == 0 {
        key.remote_ip
    } else if step == 1 {
        key.local_ip
    } else {
        ports
    };
    let a = h ^ word;
    let b = a + (a << 10);
    let c = b ^ (b >> 6);
    let d = h + (h << 3);
    let e = d ^ (d >> 11);
    let f = e + (e << 15);
    if step == 3 {
        f ^ (f >> 16)
    } else {
        c
    }
}

/// The table; `AW` = log2 of the number of slots = log2 of the number of connections + 2.
#[derive(LogicBlock, Default)]
pub struct Lookup<const AW: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reset.
    pub reset: Signal<In, Bit>,
    /// `HASH_KEY`; stable while the table is not empty.
    pub hash_key: Signal<In, Bits<32>>,
    /// A key is to be found.
    pub find_valid: Signal<In, Bit>,
    /// The key.
    pub find_key: Signal<In, FlowKey>,
    /// It is taken.
    pub find_ready: Signal<Out, Bit>,
    /// Pulse: the answer is there.
    pub find_done: Signal<Out, Bit>,
    /// With `find_done`: the key is in the table.
    pub find_hit: Signal<Out, Bit>,
    /// With `find_hit`: its connection id.
    pub find_conn: Signal<Out, Bits<16>>,
    /// The table is to be changed.
    pub op_valid: Signal<In, Bit>,
    /// The change.
    pub op: Signal<In, LookupOp>,
    /// It is taken.
    pub op_ready: Signal<Out, Bit>,
    /// Pulse: it is done.
    pub op_done: Signal<Out, Bit>,
    /// With `op_done`: the slot was changed.
    pub op_ok: Signal<Out, Bit>,
    ram: SdpRam<Slot, AW>,
    state: Dff<LookupState>,
    what: Dff<Request>,
    prefer_op: Dff<Bit>,
    key: Dff<FlowKey>,
    conn: Dff<Bits<16>>,
    hash: Dff<Bits<32>>,
    step: Dff<Bits<3>>,
    probe: Dff<Bits<4>>,
    has_free: Dff<Bit>,
    place: Dff<Bits<AW>>,
    ok: Dff<Bit>,
}

#[kernel]
impl<const AW: usize> Logic for Lookup<AW> {
    fn update(&mut self) {
        dff_setup!(self, clock, state, what, prefer_op, key, conn, hash, step, probe, has_free, place, ok);
        clock!(self, clock, ram);
        let state = self.state.q.val();
        let what = self.what.q.val();
        let idle = state == LookupState::Idle;
        let prefer = self.prefer_op.q.val();
        self.find_ready.next = idle && !prefer;
        self.op_ready.next = idle && prefer;
        self.find_done.next = state == LookupState::Answer && what == Request::Find;
        self.find_hit.next = self.ok.q.val();
        self.find_conn.next = self.conn.q.val();
        self.op_done.next = state == LookupState::Answer && what != Request::Find;
        self.op_ok.next = self.ok.q.val();
        let at = self.hash.q.val().get_bits::<AW>(0) + bit_cast::<AW, _>(self.probe.q.val());
        self.ram.re.next = state == LookupState::Probe;
        self.ram.raddr.next = at;
        self.ram.we.next = state == LookupState::Clear || state == LookupState::Write;
        self.ram.waddr.next = self.place.q.val();
        self.ram.wdata.next = Slot {
            valid: state == LookupState::Write && what == Request::Insert,
            key: self.key.q.val(),
            conn: self.conn.q.val(),
        };
        let slot = self.ram.rdata.val();
        let looked = at - 1; // the slot that was read in the cycle before
        let read = self.probe.q.val() != 0;
        let hit = read && slot.valid && slot.key == self.key.q.val();
        let last = self.probe.q.val() == PROBES;
        let op = self.op.val();
        self.prefer_op.d.next = self.op_valid.val();
        match state {
            LookupState::Clear => {
                self.place.d.next = self.place.q.val() + 1;
                if self.place.q.val().all() {
                    self.state.d.next = LookupState::Idle;
                }
            }
            LookupState::Idle => {
                self.hash.d.next = self.hash_key.val();
                self.step.d.next = bits::<3>(0);
                self.ok.d.next = false;
                if prefer && self.op_valid.val() {
                    self.prefer_op.d.next = false;
                    self.what.d.next = if op.insert { Request::Insert } else { Request::Delete };
                    self.key.d.next = op.key;
                    self.conn.d.next = op.conn;
                    self.state.d.next = LookupState::Mix;
                } else if !prefer && self.find_valid.val() {
                    self.what.d.next = Request::Find;
                    self.key.d.next = self.find_key.val();
                    self.state.d.next = LookupState::Mix;
                }
            }
            LookupState::Mix => {
                self.hash.d.next = mix(self.hash.q.val(), self.key.q.val(), self.step.q.val());
                self.step.d.next = self.step.q.val() + 1;
                self.probe.d.next = bits::<4>(0);
                self.has_free.d.next = false;
                if self.step.q.val() == MIX_STEPS - 1 {
                    self.state.d.next = LookupState::Probe;
                }
            }
            LookupState::Probe => {
                self.probe.d.next = self.probe.q.val() + 1;
                if read && !slot.valid && !self.has_free.q.val() {
                    self.has_free.d.next = true;
                    self.place.d.next = looked;
                }
                if hit {
                    self.state.d.next = LookupState::Answer;
                    match what {
                        Request::Find => {
                            self.conn.d.next = slot.conn;
                            self.ok.d.next = true;
                        }
                        Request::Delete => {
                            self.place.d.next = looked;
                            if slot.conn == self.conn.q.val() {
                                self.state.d.next = LookupState::Write;
                            }
                        }
                        Request::Insert => {} // present: refused
                    }
                } else if last {
                    let free = self.has_free.q.val() || !slot.valid;
                    let insert = what == Request::Insert && free;
                    self.state.d.next = if insert { LookupState::Write } else { LookupState::Answer };
                }
            }
            LookupState::Write => {
                self.ok.d.next = true;
                self.state.d.next = LookupState::Answer;
            }
            LookupState::Answer => self.state.d.next = LookupState::Idle,
        }
        dff_reset!(self, reset, state, prefer_op, place);
    }
}
