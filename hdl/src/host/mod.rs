//! The host side: registers, DMA, rings.

pub mod axil;
pub mod bells;
pub mod clock;
pub mod counters;
pub mod csr;
pub mod dispatch;
pub mod dma_read;
pub mod dma_write;
pub mod events;
pub mod irq;
pub mod mailbox;
pub mod ord_rx;
pub mod ord_tx;
pub mod reader;
pub mod regfile;
pub mod rx_done;
pub mod rx_ring;
pub mod status;
pub mod vlans;
pub mod write_issue;
pub mod write_report;
