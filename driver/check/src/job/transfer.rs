//! One transfer: a connection that is opened by the host, handed over, taken back, handed over again, and closed.
//!
//! ```text
//!   open -> 64 KiB in the host -> NIC -> half of the file -> host -> a little -> NIC -> end -> host -> closed
//! ```

use super::moment::{Moment, Place};
use super::{Host, Job, Losses};
use anyhow::{bail, Context, Result};
use chimney_abi::cmd::TcpState;
use chimney_abi::offload::Residence;
use chimney_driver::Bus;
use chimney_host_stack::switch::Switch;
use chimney_host_stack::{ConnId, StackEvent};
use chimney_rng::Rng;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::net::SocketAddr;

/// Port of the peer's HTTP server.
pub const DOWNLOAD_PORT: u16 = 8000;
/// Port of the peer's upload receiver.
pub const UPLOAD_PORT: u16 = 9000;
/// Name of the file that is downloaded.
pub const FILE_NAME: &str = "file.bin";
/// Bytes that pass in the host before the first hand-over.
const HOST_FIRST_BYTES: u64 = 64 << 10;
/// This part of the file passes in the host between the upload and the second offload.
const HOST_MIDDLE_PART: u64 = 64;

/// The file of a seed.
pub fn file_bytes(seed: u64, len: u64) -> Vec<u8> {
    let mut rng = Rng::new(seed ^ 0xf11e);
    // `as`: at most 1 GiB, checked with the arguments.
    let mut bytes = Vec::with_capacity(len as usize + 8);
    while (bytes.len() as u64) < len {
        bytes.extend(rng.next_u64().to_le_bytes());
    }
    bytes.truncate(len as usize);
    bytes
}

/// Which way the file goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// From the peer to us.
    Download,
    /// From us to the peer.
    Upload,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Download => "download",
            Self::Upload => "upload",
        })
    }
}

/// What the connection waits for next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    FirstOffload,
    Upload,
    SecondOffload,
    Finish,
    Closing,
}

/// A transfer in progress.
pub struct Transfer {
    way: Way,
    id: ConnId,
    total: u64,
    file: Vec<u8>,
    request: Vec<u8>,
    sent: usize,
    header: Vec<u8>,
    body_bytes: u64,
    in_body: bool,
    hash: Sha256,
    step: Step,
    moment: Moment,
    is_connected: bool,
    is_shut: bool,
    is_closed: bool,
}

impl Transfer {
    /// Opens the connection.
    ///
    /// # Errors
    /// When the stack has no port left.
    pub fn open<B: Bus, L: Losses>(host: &mut Host<'_, B, L>, way: Way, job: &Job) -> Result<Self> {
        let (seed, total) = (job.seed, job.bytes);
        let port = if way == Way::Download { DOWNLOAD_PORT } else { UPLOAD_PORT };
        let id = host.switch.stack().connect(host.now_us, SocketAddr::new(job.peer, port))?;
        let request = match way {
            Way::Download => format!("GET /{FILE_NAME} HTTP/1.0\r\n\r\n").into_bytes(),
            Way::Upload => Vec::new(),
        };
        Ok(Self {
            way,
            id,
            total,
            file: if way == Way::Upload { file_bytes(seed, total) } else { Vec::new() },
            request,
            sent: 0,
            header: Vec::new(),
            body_bytes: 0,
            in_body: false,
            hash: Sha256::new(),
            step: if job.offload { Step::FirstOffload } else { Step::Finish },
            moment: Moment::new(seed, port),
            is_connected: false,
            is_shut: false,
            is_closed: false,
        })
    }

    /// The connection.
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// Bytes of the file that have passed the application.
    pub fn done_bytes(&self) -> u64 {
        match self.way {
            Way::Download => self.body_bytes,
            Way::Upload => self.sent as u64,
        }
    }

    /// SHA-256 of what was downloaded.
    pub fn hash(&self) -> String {
        super::hex(&self.hash.clone().finalize())
    }

    /// The file was transferred and the connection has ended, in the host.
    pub fn is_finished(&self, switch: &Switch) -> bool {
        let is_home = switch.residence(self.id) == Residence::InHost;
        is_home && (self.is_closed || switch.state(self.id) == Some(TcpState::TimeWait))
    }

    /// A stack event about this connection.
    pub fn on_event(&mut self, event: StackEvent) {
        match event {
            StackEvent::Connected(id) if id == self.id => self.is_connected = true,
            StackEvent::Closed(id) if id == self.id => self.is_closed = true,
            _ => {}
        }
    }

    /// Reads, writes and hands over what is due.
    ///
    /// # Errors
    /// When the connection broke or the peer answered nonsense.
    pub fn poll<B: Bus, L: Losses>(&mut self, host: &mut Host<'_, B, L>) -> Result<()> {
        if let Some(error) = host.switch.stack().status(self.id).ok().and_then(|s| s.error) {
            bail!("the connection to the peer ended: {error}");
        }
        if self.is_closed && self.done_bytes() < self.total {
            bail!("the connection to the peer ended after {} of {} bytes", self.done_bytes(), self.total);
        }
        if !self.is_connected {
            return Ok(());
        }
        self.write(host)?;
        if self.moment.is_reading() {
            self.read(host)?;
        }
        self.hand_over(host)?;
        self.close(host)
    }

    fn write<B: Bus, L: Losses>(&mut self, host: &mut Host<'_, B, L>) -> Result<()> {
        if self.is_shut {
            return Ok(());
        }
        let (done, total) = match self.way {
            Way::Download => (self.sent, &self.request),
            Way::Upload => (self.sent, &self.file),
        };
        if done < total.len() {
            let end = total.len().min(done + (64 << 10));
            self.sent +=
                host.switch.send(self.id, &total[done..end]).context("the connection refuses to send")?;
        } else if self.way == Way::Upload {
            host.switch.shutdown(self.id)?;
            self.is_shut = true;
        }
        Ok(())
    }

    fn read<B: Bus, L: Losses>(&mut self, host: &mut Host<'_, B, L>) -> Result<()> {
        let mut bytes = [0u8; 16 << 10];
        loop {
            let n = host.switch.recv(host.driver, self.id, &mut bytes).unwrap_or(0);
            if n == 0 {
                return Ok(());
            }
            if self.way == Way::Upload {
                bail!("the upload receiver sent bytes");
            }
            self.take(&bytes[..n])?;
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        if self.in_body {
            self.hash.update(bytes);
            self.body_bytes += bytes.len() as u64;
            return Ok(());
        }
        self.header.extend(bytes);
        let Some(end) = self.header.windows(4).position(|w| w == b"\r\n\r\n") else {
            if self.header.len() > 16 << 10 {
                bail!("the HTTP header does not end");
            }
            return Ok(());
        };
        let first = String::from_utf8_lossy(&self.header).lines().next().unwrap_or("").to_owned();
        if !first.contains(" 200 ") {
            bail!("the HTTP server says: {first}");
        }
        let body = self.header.split_off(end + 4);
        self.in_body = true;
        self.take(&body)
    }

    /// Where the file must stand for the next hand-over.
    fn threshold(&self) -> Option<u64> {
        match self.step {
            Step::FirstOffload => Some(HOST_FIRST_BYTES),
            Step::Upload => Some(self.total / 2),
            Step::SecondOffload => Some(self.total / 2 + self.total / HOST_MIDDLE_PART),
            Step::Finish | Step::Closing => None,
        }
    }

    fn hand_over<B: Bus, L: Losses>(&mut self, host: &mut Host<'_, B, L>) -> Result<()> {
        let residence = host.switch.residence(self.id);
        let settled = matches!(residence, Residence::InHost | Residence::Offloaded);
        // What counts is what the peer has: the queues alone are larger than the pieces that pass in the host.
        let unfinished =
            if self.way == Way::Upload { host.switch.unfinished_bytes(self.id) as u64 } else { 0 };
        let passed = self.done_bytes().saturating_sub(unfinished);
        if !settled || self.threshold().is_none_or(|t| passed < t) {
            return Ok(());
        }
        let place = Place {
            is_receiving: self.way == Way::Download,
            is_in_nic: residence == Residence::Offloaded,
            passed,
            total: self.total,
        };
        if !self.moment.has_come(host, place) {
            return Ok(());
        }
        self.step = match (self.step, residence) {
            (Step::FirstOffload, Residence::InHost) => {
                host.switch.offload(self.id)?;
                Step::Upload
            }
            (Step::Upload, Residence::Offloaded) => {
                host.switch.upload(self.id)?;
                Step::SecondOffload
            }
            (Step::SecondOffload, Residence::InHost) => {
                host.switch.offload(self.id)?;
                Step::Finish
            }
            // The device asked for it back meanwhile, or refused: the next threshold will do.
            (Step::Upload, _) => Step::SecondOffload,
            (step, _) => step,
        };
        Ok(())
    }

    /// The end of the stream was read: close our half, and take the connection back when it has nothing to send.
    fn close<B: Bus, L: Losses>(&mut self, host: &mut Host<'_, B, L>) -> Result<()> {
        if !host.switch.is_at_end(self.id) {
            return Ok(());
        }
        if !self.is_shut {
            self.is_shut = true;
            host.switch.shutdown(self.id)?;
            return Ok(());
        }
        let residence = host.switch.residence(self.id);
        if self.step != Step::Closing
            && residence == Residence::Offloaded
            && host.switch.is_disconnected(self.id)
        {
            self.step = Step::Closing;
            host.switch.upload(self.id)?;
        }
        Ok(())
    }
}
