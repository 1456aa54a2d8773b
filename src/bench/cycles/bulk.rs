//! A thousand connections handed over with one command, and taken back with one.
//!
//! From the host's look at its rings that rings the command's doorbell to the one that finds the last connection at its new owner's;
//! the host looks every 128 cycles. Nothing is sent or received meanwhile, and all bytes are acknowledged.

use super::super::load::{Load, Traffic};
use super::rows::PERIOD_NS;
use anyhow::{bail, Result};
use chimney_sim::bfm::axi_memory::AxiTiming;
use chimney_sim::clock::SimClock;
use chimney_sim::ffi::Nic1024;
use chimney_sim::host_mem::HostMemory;
use chimney_sim::model::RtlNic;
use serde::Serialize;

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub struct BulkRow {
    /// Connections of the command.
    pub connections: usize,
    /// Cycles of latency of each AXI read and write.
    pub axi_latency: u32,
    /// Cycles until all are the NIC's, and until all are the host's again.
    pub offload: u64,
    /// See `offload`.
    pub upload: u64,
}

/// Hands so many connections over and takes them back.
///
/// # Errors
/// When a connection does not open or move, or a watcher saw a violation.
pub fn measure(connections: usize, axi_latency: u32) -> Result<BulkRow> {
    let memory = HostMemory::new();
    let (model, clock) = (Nic1024::new(), SimClock::virtual_time(PERIOD_NS));
    let device = RtlNic::new(model, &memory, AxiTiming::fixed(axi_latency), clock);
    let traffic = Traffic {
        connections,
        segment_bytes: 1460,
        receives: false,
        sends: false,
        most_ahead: 0,
        distance: 0,
    };
    let mut load = Load::open(device, memory, traffic)?;
    let offload = load.offload()?;
    let upload = load.upload()?;
    if let Some(text) = load.device().violations() {
        bail!("a watcher saw a violation:\n{text}");
    }
    Ok(BulkRow { connections, axi_latency, offload, upload })
}
