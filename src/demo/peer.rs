//! The far end: the Linux kernel with programs that nobody here wrote, or a second instance of our stack.

use anyhow::{bail, Context, Result};
use chimney_check::job::{file_bytes, hex, Job, DOWNLOAD_PORT, UPLOAD_PORT};
use chimney_host_stack::{Address, ConnId, ListenerId, MacAddr, Stack, StackConfig, StackEvent, TcpConfig};
use chimney_sim::net::counters::Counters;
use chimney_sim::net::netns::{PeerConfig, PeerNet};
use chimney_sim::net::peer::PeerProcess;
use chimney_sim::net::tap::{Tap, TapError};
use chimney_sim::net::wire::{FarEnd, QueueEnd};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;

/// What the far end says about the whole run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Packets with a wrong checksum that it received.
    pub checksum_errors: i64,
    /// Resets that it sent or that ended a connection.
    pub resets: i64,
}

/// A Linux kernel in its own network namespace.
pub struct LinuxPeer {
    net: PeerNet,
    http: PeerProcess,
    sink: PeerProcess,
    before: Counters,
}

impl LinuxPeer {
    /// Starts the programs; `directory` is served.
    ///
    /// # Errors
    /// When a program does not start.
    pub fn start(net: PeerNet, directory: &Path) -> Result<Self> {
        let http = PeerProcess::http_server(&net, DOWNLOAD_PORT, directory)?;
        let sink = PeerProcess::sha256_sink(&net, UPLOAD_PORT)?;
        let before = net.counters()?;
        Ok(Self { net, http, sink, before })
    }
}

/// The far end of the wire: carries frames and runs the peer's side.
pub enum FarSide {
    /// A TAP in the kernel's namespace.
    Linux(Tap, Box<LinuxPeer>),
    /// Queues to a second stack.
    Builtin(Box<BuiltinPeer>),
}

impl FarEnd for FarSide {
    fn take(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, TapError> {
        match self {
            FarSide::Linux(tap, _) => tap.take(buffer),
            FarSide::Builtin(peer) => peer.queue.take(buffer),
        }
    }

    fn give(&mut self, frame: &[u8]) -> Result<bool, TapError> {
        match self {
            FarSide::Linux(tap, _) => tap.give(frame),
            FarSide::Builtin(peer) => peer.queue.give(frame),
        }
    }
}

impl FarSide {
    /// The name in the results.
    pub fn name(&self) -> &'static str {
        match self {
            FarSide::Linux(..) => "linux",
            FarSide::Builtin(_) => "builtin",
        }
    }

    /// Runs what is due at the far end.
    ///
    /// # Errors
    /// When a program of the peer has ended.
    pub fn poll(&mut self, now_us: u64) -> Result<()> {
        match self {
            FarSide::Linux(_, peer) => {
                if !peer.http.is_running() {
                    bail!("the peer's HTTP server has ended");
                }
            }
            FarSide::Builtin(peer) => peer.poll(now_us)?,
        }
        Ok(())
    }

    /// SHA-256 of the upload, when the far end has all of it.
    ///
    /// # Errors
    /// When the receiving program ended without a word.
    pub fn take_upload_hash(&mut self) -> Result<Option<String>> {
        match self {
            FarSide::Linux(_, peer) => peer.sink.take_sha256().context("the peer's upload receiver"),
            FarSide::Builtin(peer) => Ok(peer.upload_hash.take()),
        }
    }

    /// Checksum errors and resets since the start.
    ///
    /// # Errors
    /// When the kernel's counters cannot be read.
    pub fn verdict(&mut self) -> Result<Verdict> {
        match self {
            FarSide::Linux(_, peer) => {
                let delta = peer.net.counters()?.since(&peer.before);
                Ok(Verdict { checksum_errors: delta.checksum_errors(), resets: delta.resets() })
            }
            FarSide::Builtin(peer) => {
                let c = peer.stack.counters();
                // `as`: counts of one run.
                Ok(Verdict {
                    checksum_errors: c.bad_checksum as i64,
                    resets: peer.resets + c.no_connection as i64,
                })
            }
        }
    }
}

/// A second instance of our stack: an HTTP-like server and a receiver of uploads.
pub struct BuiltinPeer {
    queue: QueueEnd,
    stack: Stack,
    http: ListenerId,
    sink: ListenerId,
    downloads: BTreeMap<ConnId, (Vec<u8>, usize)>,
    uploads: BTreeMap<ConnId, Sha256>,
    upload_hash: Option<String>,
    file: Vec<u8>,
    resets: i64,
}

/// MAC address of the builtin peer.
pub const BUILTIN_MAC: MacAddr = MacAddr([0x02, 0xc4, 0x1e, 0, 0, 0x01]);

impl BuiltinPeer {
    /// A peer that serves the file of this seed.
    ///
    /// # Errors
    /// Never in practice: the ports of a new stack are free.
    pub fn new(net: &PeerConfig, job: &Job) -> Result<Self> {
        let mut stack = Stack::new(StackConfig {
            mac: BUILTIN_MAC,
            addresses: vec![Address::new(net.peer_ip, net.prefix_len)],
            mtu: net.mtu,
            secret: job.seed ^ 0x5eed,
            tcp: TcpConfig { is_ecn: job.ecn, ..TcpConfig::default() },
        });
        let http = stack.listen(DOWNLOAD_PORT, 8)?;
        let sink = stack.listen(UPLOAD_PORT, 8)?;
        Ok(Self {
            queue: QueueEnd::default(),
            stack,
            http,
            sink,
            downloads: BTreeMap::new(),
            uploads: BTreeMap::new(),
            upload_hash: None,
            file: file_bytes(job.seed, job.bytes),
            resets: 0,
        })
    }

    fn poll(&mut self, now_us: u64) -> Result<()> {
        while let Some(frame) = self.queue.arrived.pop_front() {
            self.stack.handle_frame(now_us, &frame);
        }
        while let Some(event) = self.stack.next_event() {
            if let StackEvent::Closed(id) = event {
                self.resets += i64::from(self.stack.status(id).is_ok_and(|s| s.error.is_some()));
            }
        }
        while let Some(id) = self.stack.accept(self.http) {
            self.downloads.insert(id, (Vec::new(), 0));
        }
        while let Some(id) = self.stack.accept(self.sink) {
            self.uploads.insert(id, Sha256::new());
        }
        self.serve()?;
        self.receive()?;
        self.queue.to_send.extend(self.stack.poll(now_us));
        Ok(())
    }

    fn serve(&mut self) -> Result<()> {
        let mut done = Vec::new();
        for (id, (reply, sent)) in &mut self.downloads {
            let mut request = [0u8; 1024];
            if reply.is_empty() {
                if self.stack.recv(*id, &mut request).unwrap_or(0) == 0 {
                    continue;
                }
                *reply =
                    format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", self.file.len()).into_bytes();
                reply.extend(&self.file);
            }
            *sent += self.stack.send(*id, &reply[*sent..]).unwrap_or(0);
            if *sent == reply.len() {
                done.push(*id);
            }
        }
        for id in done {
            self.downloads.remove(&id);
            self.stack.close(id)?;
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<()> {
        let mut done = Vec::new();
        for (id, hash) in &mut self.uploads {
            let mut bytes = [0u8; 16 << 10];
            loop {
                match self.stack.recv(*id, &mut bytes) {
                    Ok(0) | Err(_) => break,
                    Ok(n) => hash.update(&bytes[..n]),
                }
            }
            if self.stack.status(*id)?.has_peer_closed {
                done.push(*id);
            }
        }
        for id in done {
            if let Some(hash) = self.uploads.remove(&id) {
                self.upload_hash = Some(hex(&hash.finalize()));
            }
            self.stack.close(id)?;
        }
        Ok(())
    }
}
