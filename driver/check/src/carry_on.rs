//! Transfers that outlive their NIC: it is taken away in the middle, and every connection goes on over another one.
//!
//! ```text
//!   connections, all but one offloaded --> "working" is said --> NIC gone --> rebuilt from host memory --> the other NIC's
//!                                                                             ordinary rings --> all bytes are back
//! ```

use crate::machine::{noise, Machine, CHUNK_BYTES, STALL_LIMIT};
use crate::site::Site;
use anyhow::{bail, ensure, Context, Result};
use chimney_abi::offload::Residence;
use chimney_abi::regs;
use chimney_host_stack::ConnId;
use sha2::{Digest, Sha256};
use std::time::Instant;

/// Connections; the last one stays in the host.
const FLOWS: u64 = 4;
/// Bytes each way of each.
const FLOW_BYTES: usize = 512 << 10;
/// Bytes that are back on each connection before the NIC may be taken away.
const WARM_BYTES: usize = 64 << 10;
/// A NIC without heartbeat for so long is looked at, microseconds; a simulated one may be away for some time.
const HEARTBEAT_LIMIT_US: u64 = 500_000;

/// Bytes that go to the echo peer and back on one connection.
struct Flow {
    id: ConnId,
    bytes: Vec<u8>,
    sent: usize,
    received: usize,
    hash: Sha256,
}

impl Flow {
    /// Sends and receives what can be at the moment; true if something moved.
    fn work<S: Site>(&mut self, machine: &mut Machine<'_, S>) -> Result<bool> {
        let mut buffer = vec![0; CHUNK_BYTES as usize];
        let is_low = machine.switch.unfinished_bytes(self.id) <= CHUNK_BYTES as usize;
        let room = if is_low { CHUNK_BYTES as usize } else { 0 };
        let end = self.bytes.len().min(self.sent + room);
        let sent = machine.switch.send(self.id, &self.bytes[self.sent..end])?;
        let received = machine.switch.recv(&mut machine.driver, self.id, &mut buffer)?;
        self.sent += sent;
        self.received += received;
        self.hash.update(&buffer[..received]);
        Ok(sent + received > 0)
    }

    fn is_done(&self) -> bool {
        self.received >= self.bytes.len()
    }
}

fn flows<S: Site>(machine: &mut Machine<'_, S>) -> Result<Vec<Flow>> {
    (0..FLOWS)
        .map(|number| {
            let id = machine.connect()?;
            if number + 1 < FLOWS {
                machine.move_to(id, Residence::Offloaded)?;
            }
            let bytes = noise(FLOW_BYTES, 30 + number);
            Ok(Flow { id, bytes, sent: 0, received: 0, hash: Sha256::new() })
        })
        .collect()
}

/// Works on `site` until it is lost, and goes on over `spare`. Says "working" when the NIC may be taken away, and what was seen when all
/// bytes are back; to close a NIC that is gone takes the kernel minutes after that.
///
/// # Errors
/// When it is not taken away, or a connection does not survive it.
pub fn carry_on<S: Site>(site: &mut S, spare: &mut S, mut say: impl FnMut(&str)) -> Result<()> {
    let mut machine = Machine::open_with(site, 16, HEARTBEAT_LIMIT_US)?;
    machine.add_spare(spare).context("the other NIC")?;
    let mut flows = flows(&mut machine)?;
    let (mut progress, mut is_warm, mut lost) = (Instant::now(), false, None);
    while !flows.iter().all(Flow::is_done) {
        for flow in &mut flows {
            if flow.work(&mut machine)? {
                progress = Instant::now();
            }
        }
        if !is_warm && flows.iter().all(|flow| flow.received >= WARM_BYTES) {
            is_warm = true;
            say("working");
        }
        if let Err(error) = machine.step() {
            let reason = machine.driver.lost();
            let (Some(reason), None) = (reason, &lost) else { return Err(error) };
            lost = Some((reason, flows.iter().map(|flow| flow.received).sum::<usize>()));
            let in_host = |flow: &Flow| machine.switch.residence(flow.id) == Residence::InHost;
            ensure!(flows.iter().all(in_host), "a connection did not come back");
            machine.take_spare()?;
        }
        let back: Vec<usize> = flows.iter().map(|flow| flow.received).collect();
        ensure!(progress.elapsed() < STALL_LIMIT, "stalled after {back:?} bytes");
    }
    let Some((reason, before)) = lost else { bail!("the NIC was not taken away") };
    for flow in flows {
        ensure!(flow.hash.finalize() == Sha256::digest(&flow.bytes), "other bytes came back than were sent");
    }
    let frames = machine.driver.counter(&regs::CNT_TX_FRAMES)?;
    ensure!(frames > 0, "the other NIC sent nothing");
    machine.driver.stop()?;
    say(&format!(
        "PASS every connection survives the loss of its NIC: {reason}; {before} bytes were back then, the rest came in the host over {frames} frames of the other"
    ));
    Ok(())
}
