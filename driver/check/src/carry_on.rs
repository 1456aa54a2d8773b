//! Transfers that outlive their NIC, and transfers that last until somebody ends them.
//!
//! ```text
//!   connections, all but one offloaded --> "working" is said --> NIC gone --> rebuilt from host memory --> the other NIC's
//!                                                                             ordinary rings --> all bytes are back
//! ```
//! Bytes go on until the NIC is gone, so that this may be at any time.

use crate::machine::{noise, Machine, CHUNK_BYTES, STALL_LIMIT};
use crate::site::Site;
use anyhow::{bail, ensure, Context, Result};
use chimney_abi::offload::Residence;
use chimney_abi::regs;
use chimney_driver::nic::HEARTBEAT;
use chimney_driver::{Bus, DriverError};
use chimney_host_stack::ConnId;
use sha2::{Digest, Sha256};
use std::time::{Duration, Instant};

/// Connections; the last one stays in the host.
const FLOWS: u64 = 4;
/// Bytes of each, over and over; no multiple of any buffer, so that a byte in the wrong place is a wrong byte.
const PATTERN_BYTES: usize = 100_003;
/// Bytes that are back on each connection before the NIC may be taken away.
const WARM_BYTES: u64 = 64 << 10;
/// Bytes that go each way of each when it is gone.
const LAST_BYTES: u64 = 256 << 10;
/// A NIC without heartbeat for so long is looked at, microseconds; a simulated one may be away for some time.
const HEARTBEAT_LIMIT_US: u64 = 500_000;

/// Bytes that go to the echo peer and back on one connection.
struct Flow {
    id: ConnId,
    pattern: Vec<u8>,
    sent: u64,
    received: u64,
    /// So many bytes in all, once that is known.
    end: Option<u64>,
    hash_sent: Sha256,
    hash_received: Sha256,
}

impl Flow {
    /// A connection with bytes of its own.
    fn open<S: Site>(machine: &mut Machine<'_, S>, seed: u64, residence: Residence) -> Result<Self> {
        let id = machine.connect()?;
        if residence == Residence::Offloaded {
            machine.move_to(id, residence)?;
        }
        let pattern = noise(PATTERN_BYTES, seed);
        let (hash_sent, hash_received) = (Sha256::new(), Sha256::new());
        Ok(Self { id, pattern, sent: 0, received: 0, end: None, hash_sent, hash_received })
    }

    /// Sends and receives what can be at the moment; true if something moved.
    fn work<S: Site>(&mut self, machine: &mut Machine<'_, S>) -> Result<bool> {
        let chunk = u64::from(CHUNK_BYTES);
        let is_low = machine.switch.unfinished_bytes(self.id) as u64 <= chunk; // a length in memory
        let left = self.end.map_or(chunk, |end| chunk.min(end.saturating_sub(self.sent)));
        let mut sent = 0;
        if is_low && left > 0 {
            // `as`: both are below the length of the pattern.
            let start = (self.sent % self.pattern.len() as u64) as usize;
            let piece = &self.pattern[start..self.pattern.len().min(start + left as usize)];
            sent = machine.switch.send(self.id, piece)?;
            self.hash_sent.update(&piece[..sent]);
        }
        let mut buffer = vec![0; CHUNK_BYTES as usize];
        let received = machine.switch.recv(&mut machine.driver, self.id, &mut buffer)?;
        self.hash_received.update(&buffer[..received]);
        self.sent += sent as u64; // a length in memory
        self.received += received as u64; // a length in memory
        Ok(sent + received > 0)
    }

    fn is_done(&self) -> bool {
        self.end.is_some_and(|end| self.received >= end)
    }
}

/// Flows, and what was seen of them.
struct Flows {
    all: Vec<Flow>,
    progress: Instant,
    /// For how long nothing may move.
    patience: Duration,
    is_warm: bool,
}

impl Flows {
    /// `count` connections, all offloaded but the last, if there are several.
    fn open<S: Site>(machine: &mut Machine<'_, S>, count: u64) -> Result<Self> {
        let residence = |n| if n > 0 && n + 1 == count { Residence::InHost } else { Residence::Offloaded };
        let flow = |n| Flow::open(machine, 30 + n, residence(n));
        Ok(Self {
            all: (0..count).map(flow).collect::<Result<_>>()?,
            progress: Instant::now(),
            patience: STALL_LIMIT,
            is_warm: false,
        })
    }

    /// Moves what can be moved. Says "working" as soon as all have begun.
    fn work<S: Site>(&mut self, machine: &mut Machine<'_, S>, say: &mut dyn FnMut(&str)) -> Result<()> {
        for flow in &mut self.all {
            if flow.work(machine)? {
                self.progress = Instant::now();
            }
        }
        if !self.is_warm && self.all.iter().all(|flow| flow.received >= WARM_BYTES) {
            self.is_warm = true;
            say("working");
        }
        if self.progress.elapsed() < self.patience {
            return Ok(());
        }
        let flows: Vec<_> = self.all.iter().map(|flow| (flow.sent, flow.received, flow.end)).collect();
        let mut read = |reg| machine.driver.counter(reg).map_err(|error| error.to_string());
        let (sent, received) = (read(&regs::CNT_TX_FRAMES), read(&regs::CNT_RX_FRAMES));
        let status = machine.driver.bus().read32(regs::STATUS.offset);
        bail!("stalled; (sent, back, end) {flows:?}, frames out {sent:?}, in {received:?}, STATUS {status:#x}, {:?}", machine.driver.stats())
    }

    fn is_done(&self) -> bool {
        self.all.iter().all(Flow::is_done)
    }

    /// From now on they have an end, and a new NIC: how long the lost one made them wait says nothing, but the peer's timeout has doubled in that time
    /// (RFC 6298 5.5), so it may be silent for as long again. How many bytes were back so far.
    fn end(&mut self) -> u64 {
        self.patience = STALL_LIMIT + self.progress.elapsed();
        self.progress = Instant::now();
        for flow in &mut self.all {
            flow.end = Some(flow.sent + LAST_BYTES);
        }
        self.all.iter().map(|flow| flow.received).sum()
    }
}

/// Works on an offloaded connection until the device or this process is gone. Says "working" when bytes are on their way.
///
/// # Errors
/// Always: why it ended.
pub fn endless<S: Site>(site: &mut S, mut say: impl FnMut(&str)) -> Result<()> {
    let mut machine = Machine::open(site, 17)?;
    let mut flows = Flows::open(&mut machine, 1)?;
    loop {
        flows.work(&mut machine, &mut say)?;
        machine.step()?;
    }
}

/// Whether a driver can lose a NIC for this reason whose process ended: it does not beat any more, or its identity reads all ones.
/// Anything else (a command that takes too long, an index that cannot be, somebody who wants it back) is another story.
fn is_death(reason: DriverError) -> bool {
    reason == DriverError::Timeout { what: HEARTBEAT }
        || reason == DriverError::Gone { register: regs::ID.name }
}

/// Works on `site` until it is lost, and goes on over `spare`. Says "working" when the NIC may be taken away, and what was seen when all
/// bytes are back; to close a NIC that is gone takes the kernel a minute after that.
///
/// # Errors
/// When a connection does not survive it.
pub fn carry_on<S: Site>(site: &mut S, spare: &mut S, mut say: impl FnMut(&str)) -> Result<()> {
    let mut machine = Machine::open_with(site, 16, HEARTBEAT_LIMIT_US)?;
    machine.add_spare(spare).context("the other NIC")?;
    let mut flows = Flows::open(&mut machine, FLOWS)?;
    let mut lost = None;
    while !flows.is_done() {
        flows.work(&mut machine, &mut say)?;
        if let Err(error) = machine.step() {
            let (Some(reason), None) = (machine.driver.lost(), &lost) else { return Err(error) };
            ensure!(is_death(reason), "the NIC was not lost because it was gone: {reason}");
            // A heartbeat alone could be that of a NIC that is only slow.
            let id = machine.driver.bus().read32(regs::ID.offset);
            ensure!(id == u32::MAX, "a NIC that is there was given up: {reason}; ID reads {id:#010x}");
            lost = Some((reason, flows.end()));
            let in_host = |flow: &Flow| machine.switch.residence(flow.id) == Residence::InHost;
            ensure!(flows.all.iter().all(in_host), "a connection did not come back");
            machine.take_spare()?;
        }
    }
    let Some((reason, before)) = lost else { bail!("the NIC was not taken away") };
    for flow in flows.all {
        let is_same = flow.hash_received.finalize() == flow.hash_sent.finalize();
        ensure!(is_same && flow.received == flow.sent, "other bytes came back than were sent");
    }
    let frames = machine.driver.counter(&regs::CNT_TX_FRAMES)?;
    ensure!(frames > 0, "the other NIC sent nothing");
    machine.driver.stop()?;
    say(&format!(
        "PASS every connection survives the loss of its NIC: {reason}; {before} bytes were back then, the rest came in the host over {frames} frames of the other"
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chimney_driver::{Alarm, BusError};

    /// QEMU lets a read of a device that died wait for half a minute.
    #[test]
    fn a_long_wait_for_a_lost_nic_is_no_stall_nor_is_that_of_the_peer() {
        let Some(before) = Instant::now().checked_sub(2 * STALL_LIMIT) else { return };
        let mut flows = Flows { all: Vec::new(), progress: before, patience: STALL_LIMIT, is_warm: true };
        flows.end();
        assert!(flows.progress.elapsed() < STALL_LIMIT);
        assert!(flows.patience >= 3 * STALL_LIMIT, "the peer waits for as long again");
    }

    #[test]
    fn a_nic_that_is_gone_is_lost_for_one_of_two_reasons() {
        assert!(is_death(DriverError::Timeout { what: HEARTBEAT }));
        assert!(is_death(DriverError::Gone { register: regs::ID.name }));
        let index = DriverError::BadIndex { ring: "transmit", index: 1, consumer: 2, producer: 3 };
        for other in [
            index,
            DriverError::Timeout { what: "a command" },
            DriverError::Gone { register: regs::CTRL.name },
            DriverError::Alarm(Alarm::Wanted),
            DriverError::Alarm(Alarm::Uncorrected),
            DriverError::Bus(BusError::Gone { what: "a read" }),
        ] {
            assert!(!is_death(other), "{other}");
        }
    }
}
