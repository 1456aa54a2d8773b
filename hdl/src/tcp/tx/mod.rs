//! Transmit: frames of connections and of the ordinary TX ring, on their way to the MAC.
//!
//! ```text
//!   TxJob ----------------+          +--header words--> [32 slots x 16 words] ----------------+
//!                         +-> Head --+--Item, sums--> [list] ---------> Retire --TxFrame--> TxStream -> m_axis
//!   TX ring > OrdTx > Lso-+    |     |                      Tables -------^  ^                 ^  `-> loopback
//!                           Tables   `-> [list] -> Walk -> Cut -> Land ------+                 |
//!                      (path, neighbor)             |       |      ^ `--> [payload ring, 16 KiB]
//!                                       descriptors v       v data |
//!                                              ---- host memory ----
//! ```
//! Up to 32 frames are under way at once, begun and finished in order; what lies between has no order:
//!
//! | block | for each frame | several at once because |
//! |---|---|---|
//! | `lso` | pieces of a large ordinary frame, each a frame of its own | |
//! | `head` | slot, room in the payload ring, header words, sum of the header | |
//! | `walk` | where its bytes are: cursor, else send descriptors | 8 descriptor reads of different connections wait |
//! | `cut` | bursts within 256-byte blocks | 32 bursts of any frames wait |
//! | `land` | bytes into the lanes of the payload ring, their sum | a burst knows its place; no state between beats |
//! | `retire` | when all is there: number, checksums, result; without payload and with none in front at once | in order: R-279, and `done` |
//! | `eth::tx` | beats; gives slot and ring words back | |
//!
//! Room is taken before anything is read, so whatever was asked for has a place: no wait of one depends on another's.
//!
//! Ports of `transmit::Transmit<CONN, TABLE>` (log2 of connections, log2 of paths and of neighbors):
//!
//! | port | way | meaning |
//! |---|---|---|
//! | `clock`, `reset` | in | after `reset` the tables are cleared for `1 << TABLE` cycles |
//! | `enable` | in | `CTRL.enable`: gates the ordinary ring |
//! | `idle` | out | nothing in work or outstanding |
//! | `mac: Bits<48>` | in | interface MAC address |
//! | `job: TxJob` | in, valid/ready | stays until `ready`, which comes with its last header word |
//! | `done: TxDone` | out, valid/ready | one per job, in order, after the clock in which the job is taken; nothing reads the send ring for it any more |
//! | `table_op: TableOp` | in, valid/ready | command block: see `tables::TableOp`; carried out in the cycle of valid and ready |
//! | `table_counter: Bits<16>` | out | IP ID counter of the path of the last operation (as it was before it), from the next cycle on until the next operation |
//! | `tx_base`, `tx_log2: Bits<8>`, `tx_producer` | in | registers of the ordinary TX ring |
//! | `tx_consumer: Bits<16>` | out | entries done, for the status line |
//! | `tx_moved` | out | one-cycle pulse: `tx_consumer` moved in this cycle (interrupt cause once the status line is written) |
//! | `ord_req`, `desc_req`, `payload_req: ReadReq` | out, valid/ready | three read clients: TX ring, send descriptors, payload and frames |
//! | `ord_beat_valid`, `desc_beat_valid`, `payload_beat_valid`, `beat: ReadBeat` | in | their data |
//! | `m_axis_*` | out | to the MAC: `tdata tkeep tvalid tlast`, `tready` in |
//! | `lb_*` | out | loopback to `Rx`, the same |
//! | `counts: TxCounts` | out | counter increments of this cycle |
//!
//! A path or neighbor is made unusable (invalidate, terminate) by storing it again with `usable` = 0; jobs that are not
//! looked up yet then end with result 1. A job that begins in the clock of an operation still sees what was there before.
//! The command block holds the image bodies; only the counter changes here.

pub mod cut;
pub mod head;
pub mod header;
pub mod heads;
pub mod item;
pub mod land;
pub mod large;
pub mod large_head;
pub mod lso;
pub mod ordinary;
pub mod parking;
pub mod retire;
pub mod search;
pub mod sums;
pub mod tables;
pub mod transmit;
pub mod walk;
