//! PROTO: the only writer of connection records, and the blocks that serve it.
//!
//! `engine::Engine<LOG2, MAP, CUBIC, TABLE, EARLY>` (`MAP` = `LOG2` + 5, `CUBIC` = `LOG2` + 3, `TABLE`: log2 of paths, `EARLY` = 0) is what the top instantiates, wired together: the intake of events,
//! the pipeline that carries out a pass per event (`pipe`, `stages`), commands (`ops`), the placer with the page map (`tcp/place`), the deadlines
//! (`tcp/timers.rs`), the loss unit (`tcp/loss`) and the event ring (`host/events.rs`). Ports of the engine, all bundles with `_valid`/`_ready` as in `types.rs`:
//!
//! | port | way | meaning |
//! |---|---|---|
//! | `clock`, `reset` | in | after `reset` falls the engine clears its tables for 2^LOG2 cycles; all `_ready` are low meanwhile |
//! | `enable` | in | `CTRL.enable`; while 0 nothing is prefetched and nothing begins of itself: deadlines and turns to send wait. Segments, doorbells and commands that are there are done with, so that the engine comes to rest whatever was under way |
//! | `idle` | out | nothing in work, no commit, read or event outstanding |
//! | `now_us: Bits<32>`, `millis: Millis` | in | low words of the clock and of the millisecond counter |
//! | `params: TcpParams` | in | registers, stable while enabled |
//! | `path_mtu: PathMtu` | in | with `valid`: a path was stored or updated; kept here, and obeyed from the next event on |
//! | `rx_seg: RxSeg` | in, valid/ready | a segment whose 4-tuple was found; several may be under way, their verdicts come in order |
//! | `turn` | in | the oldest segment under way belongs to the oldest frame in packet memory; until then its memory is not freed and it gets no verdict |
//! | `verdict_valid`, `verdict_handed_up` | out | one-cycle pulse for every segment taken, in order, at least one cycle later. `handed_up` = 0: consumed, and all its commands, the one that gives the frame's memory back among them, have been accepted by the write engine. 1: not consumed, nothing was issued or freed; the frame is the ordinary path's |
//! | `doorbell: Doorbell` | in, valid/ready | a doorbell; taken before any command |
//! | `op: ConnOp` | in, valid/ready | a command for one connection; the next one only after `op_done` |
//! | `op_in: Bits<64>` | in, valid/ready | Initiate: 36 record beats, then 32 page map beats. Update: 36 record beats. Others: none. All beats are taken even when the command fails |
//! | `op_out: Bits<64>` | out, valid/ready | Terminate and Query: 36 record beats in image form, before `op_done`; none unless the status is Success |
//! | `op_done`, `op_status: Bits<8>` | out | one-cycle pulse with the `Status` code. Everything the command wrote has been accepted by the write engine; a terminated connection's transactions have been answered |
//! | `write_cmd: WriteCmd` | out, valid/ready | PROTO's port of the write engine |
//! | `write_done: WriteDone` | in, valid/ready | reports of that port; always ready |
//! | `event_cmd: WriteCmd`, `event_done: WriteDone` | out, in, valid/ready | the event ring's own port of the write engine |
//! | `tx_job: TxJob` | out, valid/ready | segments to build |
//! | `tx_done: TxDone` | in, valid/ready | one per job, in order, when its bytes have been read and nothing reads the ring any more |
//! | `post_req: ReadReq`, `post_beat: ReadBeat` | out, in | read client: receive posts, one burst of 2 beats at a time (`post_req_valid/ready`, `post_beat_valid`) |
//! | `pool_req: ReadReq`, `pool_beat: ReadBeat` | out, in | read client: pool ring |
//! | `pool_ring: Bits<64>`, `pool_log2: Bits<8>`, `pool_producer: Bits<16>` | in | registers of the pool ring |
//! | `pool_consumer: Bits<16>` | out | pool ring entries taken, for the status line |
//! | `event_ring: Bits<64>`, `event_log2: Bits<8>`, `event_consumer: Bits<16>` | in | registers of the event ring |
//! | `irq_event` | out | one-cycle pulse: an event is in host memory |
//! | `counts: EngineCounts` | out | counter increments of this cycle; `CNT_RETRANSMITS` and the TX counters are the transmitter's (`TxJob.retransmit` with `len` > 0) |
//!
//! The lookup is not asked by PROTO: the command block inserts the 4-tuple before or after a successful
//! Initiate and deletes it after a Terminate (key: ports of the record, addresses of the path). A segment for
//! an id that is not live is handed up, so the order does not matter.
//!
//! An Initiate op names the image's header values (`conn`, `generation`, `path`); the body's fields of the same
//! name are ignored. PROTO answers `TcpEntries` for an id in use, `Rejected` for a state that cannot be
//! offloaded, `TcpRcvWindow` for a window above `MAX_RCV_WINDOW`, `Stale` for a wrong generation.

pub mod admit;
pub mod beats;
pub mod engine;
pub mod event;
pub mod grow;
pub mod guard;
pub mod hold;
pub mod image;
pub mod intake;
pub mod issue;
pub mod leavers;
pub mod news;
pub mod op;
pub mod ops;
pub mod pipe;
pub mod queues;
pub mod rate;
pub mod record;
pub mod records;
pub mod room;
pub mod rx;
pub mod stages;
pub mod step;
pub mod text;
pub mod tx;
