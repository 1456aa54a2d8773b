//! Transmit: frames of connections and of the ordinary TX ring, on their way to the MAC.
//!
//! ```text
//!   TxJob -> [fifo] --+                +-> Tables (path -> neighbor, IP ID)
//!                     +-> Transmit ----+-> Fetch (send ring walk, bursts) --ReadReq--> host memory
//!   TX ring -> OrdTx -+    |           `-> header beats             |
//!                          |                                  Pack (realign, sum) <--ReadBeat--
//!                          v                                        v
//!                     checksums -> two frame buffers -> TxStream -> m_axis or loopback
//! ```
//! Ports of `transmit::Transmit<CONN, TABLE>` (log2 of connections, log2 of paths and of neighbors):
//!
//! | port | way | meaning |
//! |---|---|---|
//! | `clock`, `reset` | in | after `reset` the tables are cleared for `1 << TABLE` cycles |
//! | `enable` | in | `CTRL.enable`: gates the ordinary ring |
//! | `idle` | out | nothing in work or outstanding |
//! | `mac: Bits<48>` | in | interface MAC address |
//! | `job: TxJob` | in, valid/ready | a FIFO of 4 behind it |
//! | `done: TxDone` | out, valid/ready | one per job, in order; nothing reads the send ring for it any more |
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
//! A path or neighbor is made unusable (invalidate, terminate) by storing it again with `usable` = 0; jobs accepted but not
//! yet looked up then end with result 1. The command block holds the image bodies; only the counter changes here.

pub mod build;
pub mod fetch;
pub mod header;
pub mod pack;
pub mod tables;
pub mod transmit;
