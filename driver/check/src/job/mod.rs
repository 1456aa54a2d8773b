//! The main job of the demo: a download and an upload, each handed over and taken back on its way. The same code runs in the
//! demo's own process, and where only a device is.
//!
//! ```text
//!   Stage: whoever lets device and host stack work --> transfers(stage, job) --> Done --> count(stage) --> HostSide
//!     in-process: device, wire and peer, too              |
//!     guest ([`work`]): a bus to a device elsewhere       +--> download, then upload: Transfer, Moment
//! ```

mod console;
mod moment;
mod order;
mod transfer;

pub use crate::machine::STALL_LIMIT;
pub use console::{work, Said};
pub use order::Job;
pub use transfer::{file_bytes, Way, DOWNLOAD_PORT, FILE_NAME, UPLOAD_PORT};

use anyhow::{bail, Context, Result};
use chimney_abi::offload::Residence;
use chimney_abi::regs;
use chimney_driver::{Bus, Driver};
use chimney_host_stack::switch::{Direction, Handover, Switch, SwitchConfig};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use transfer::Transfer;

/// Time between two steps that counts at most: whoever gets no processor for longer cannot say that nothing went on.
const MOST_STEP: Duration = Duration::from_millis(100);

/// Less room than the window: when the application does not read, bytes stay with the connection's owner.
pub fn switch_config() -> SwitchConfig {
    SwitchConfig { receive_queue_bytes: 8 << 10, posted_receives: 1, ..SwitchConfig::default() }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// What can be seen of the frames that are lost on their way to the NIC.
pub trait Losses {
    /// Frames that were lost so far; nothing where none can be lost, or nobody sees it.
    fn lost(&self) -> Option<u64>;

    /// Frames that went to the NIC before the last one that was lost on its way there, if more than `seen` were lost.
    fn frames_before_loss(&self, seen: u64) -> Option<u64>;
}

/// A wire that cannot be seen.
#[derive(Clone, Copy, Debug)]
pub struct Unseen;

impl Losses for Unseen {
    fn lost(&self) -> Option<u64> {
        None
    }

    fn frames_before_loss(&self, _: u64) -> Option<u64> {
        None
    }
}

/// What a transfer works with.
pub struct Host<'a, B: Bus, L: Losses> {
    /// Host stack and switch.
    pub switch: &'a mut Switch,
    /// The miniport.
    pub driver: &'a mut Driver<B>,
    /// The host's time, microseconds.
    pub now_us: u64,
    /// The wire towards the NIC.
    pub wire: L,
}

/// How far a transfer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Which one.
    pub way: Way,
    /// Bytes of the file that have passed the application.
    pub done_bytes: u64,
    /// Who owns the connection.
    pub owner: Owner,
}

/// Who owns a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Owner {
    /// The host stack.
    Host,
    /// The NIC.
    Nic,
    /// Neither: it is on its way.
    Between,
}

impl From<Residence> for Owner {
    fn from(residence: Residence) -> Self {
        match residence {
            Residence::InHost => Self::Host,
            Residence::Offloaded => Self::Nic,
            Residence::Offloading | Residence::Uploading => Self::Between,
        }
    }
}

/// Whoever lets everything work that the job needs.
pub trait Stage {
    /// The transport.
    type Bus: Bus;
    /// The wire.
    type Wire<'a>: Losses
    where
        Self: 'a;

    /// One step of everything.
    ///
    /// # Errors
    /// When something broke, or the job was interrupted.
    fn step(&mut self) -> Result<()>;

    /// What a transfer works with.
    fn host(&mut self) -> Host<'_, Self::Bus, Self::Wire<'_>>;

    /// Is told after each progress.
    fn show(&mut self, progress: Progress);
}

/// One hand-over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HandoverRow {
    /// Of which transfer.
    pub transfer: Way,
    /// "offload", "upload" or "rebuild".
    pub direction: String,
    /// "Success" or the reason why not.
    pub status: String,
    /// When, milliseconds of the host's clock.
    pub at_ms: f64,
    /// Posted, never sent, bytes.
    pub unsent: u32,
    /// Sent, not acknowledged, bytes.
    pub unacknowledged: u32,
    /// Received in order, not delivered, bytes.
    pub undelivered: u32,
    /// Received ahead of a hole, bytes.
    pub out_of_order: u32,
}

impl HandoverRow {
    /// A row about a hand-over of a transfer.
    pub fn new(transfer: Way, h: &Handover) -> Self {
        let direction = match h.direction {
            Direction::Offload => "offload",
            Direction::Upload => "upload",
            Direction::Rebuild => "rebuild",
        };
        Self {
            transfer,
            direction: direction.to_owned(),
            status: format!("{:?}", h.status),
            at_ms: h.at_us as f64 / 1000.0,
            unsent: h.unsent_bytes,
            unacknowledged: h.unacknowledged_bytes,
            undelivered: h.undelivered_bytes,
            out_of_order: h.out_of_order_bytes,
        }
    }
}

/// What the host says about both transfers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HostSide {
    /// SHA-256 of what was downloaded, hexadecimal.
    pub received_sha256: String,
    /// Every hand-over.
    pub handover: Vec<HandoverRow>,
    /// Segments that the host stack sent again.
    pub retransmits: u64,
    /// Large frames of the host that the NIC divided (R-006).
    pub large_frames: u64,
    /// The segments that they became.
    pub segments_of_large_frames: u64,
    /// The NIC's counters by register name; empty until they are read.
    pub nic_counters: BTreeMap<String, u64>,
}

impl HostSide {
    /// Reads the counters: the NIC's and the stack's.
    ///
    /// # Errors
    /// When the NIC is gone.
    pub fn count<S: Stage>(&mut self, stage: &mut S) -> Result<()> {
        let host = stage.host();
        for reg in regs::ALL.iter().filter(|reg| reg.name.starts_with("CNT_")) {
            self.nic_counters.insert(reg.name.to_owned(), host.driver.counter(reg)?);
        }
        let stack = host.switch.stack().counters();
        (self.large_frames, self.segments_of_large_frames) = (stack.large_out, stack.large_segments_out);
        Ok(())
    }
}

/// Both transfers, one after the other. The counters are not read yet.
///
/// # Errors
/// When one of them fails: which, and why.
pub fn transfers<S: Stage>(stage: &mut S, job: &Job) -> Result<HostSide> {
    let mut side = HostSide::default();
    let download = one(stage, job, Way::Download, &mut side)?;
    side.received_sha256 = download.hash();
    one(stage, job, Way::Upload, &mut side)?;
    Ok(side)
}

/// How long nothing went on.
struct Patience {
    waited: Duration,
    last: Instant,
}

impl Patience {
    fn new() -> Self {
        Self { waited: Duration::ZERO, last: Instant::now() }
    }

    /// Looked at in every step.
    fn waited(&mut self, now: Instant) -> Duration {
        self.waited += now.saturating_duration_since(self.last).min(MOST_STEP);
        self.last = now;
        self.waited
    }
}

fn one<S: Stage>(stage: &mut S, job: &Job, way: Way, side: &mut HostSide) -> Result<Transfer> {
    let from = stage.host().switch.handovers().len();
    let mut transfer = Transfer::open(&mut stage.host(), way, job)?;
    let (mut done, mut patience) = ((0, 0), Patience::new());
    while !transfer.is_finished(stage.host().switch) {
        stage.step()?;
        let mut host = stage.host();
        while let Some(event) = host.switch.stack().next_event() {
            transfer.on_event(event);
        }
        transfer.poll(&mut host).with_context(|| format!("{way} failed"))?;
        let now = (transfer.done_bytes(), host.switch.handovers().len());
        let owner = host.switch.residence(transfer.id()).into();
        drop(host);
        if now != done {
            (done, patience) = (now, Patience::new());
            stage.show(Progress { way, done_bytes: now.0, owner });
        } else if patience.waited(Instant::now()) > STALL_LIMIT {
            bail!("{way} made no progress for {} s after {} bytes", STALL_LIMIT.as_secs(), now.0);
        }
    }
    let host = stage.host();
    side.handover.extend(host.switch.handovers()[from..].iter().map(|h| HandoverRow::new(way, h)));
    side.retransmits += host.switch.stack().stats(transfer.id()).map_or(0, |s| s.retransmits);
    Ok(transfer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_does_not_end_while_nobody_could_look() {
        let mut patience = Patience::new();
        let start = patience.last;
        assert_eq!(patience.waited(start + Duration::from_millis(10)), Duration::from_millis(10));
        let after = patience.waited(start + Duration::from_secs(3600));
        assert_eq!(after, Duration::from_millis(10) + MOST_STEP);
    }
}
