//! What is outside of the guest: the processes of the NICs, and a Linux peer for those that share a network.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use rustix::process::{pidfd_getfd, pidfd_open, Pid, PidfdFlags, PidfdGetfdFlags};

use crate::needs::{self, Role};
use crate::process;

/// How long a device may take to listen, or to end when its client is gone.
const LIMIT: Duration = Duration::from_secs(60);
/// Makes the peer.
const PEER: &str = include_str!("../../vm/peer.sh");
/// NICs on the peer's network: the names of their TAPs.
const NICS: [&str; 2] = ["nic1", "nic2"];

/// The process of a NIC; it does not outlive the boot.
pub struct Device {
    process: Child,
    /// Where it listens.
    pub socket: PathBuf,
    /// Where it says its counters while it works.
    pub counters: PathBuf,
}

impl Drop for Device {
    fn drop(&mut self) {
        self.kill();
        let _ = self.process.wait();
    }
}

impl Device {
    /// One with the echo peer on its wire, that listens at `socket`.
    ///
    /// # Errors
    /// When it does not start.
    pub fn with_echo(chimney: &Path, socket: PathBuf, is_golden: bool, args: &[&str]) -> Result<Self> {
        let mut command = Command::new(chimney);
        command.args(["device", "--wire", "echo"]).args(args);
        Self::start(command, socket, is_golden)
    }

    /// Starts `command`, which is the program and the wire of a NIC, and waits until it listens.
    fn start(mut command: Command, socket: PathBuf, is_golden: bool) -> Result<Self> {
        let counters = socket.with_extension("counters");
        for left in [&socket, &counters] {
            let _ = fs::remove_file(left); // of a device that was killed
        }
        command.args(["--json", "--model", if is_golden { "golden" } else { "rtl" }]);
        command.arg("--socket").arg(&socket).arg("--counters").arg(&counters);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let process = command.spawn().with_context(|| format!("{command:?}"))?;
        let mut device = Self { process, socket, counters };
        let start = Instant::now();
        while !device.socket.exists() {
            if let Some(status) = device.process.try_wait().context("the device")? {
                let why = text(device.process.stderr.take());
                anyhow::bail!("the device ended at once ({}): {why}", process::describe(status));
            }
            ensure!(start.elapsed() < LIMIT, "the device does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(device)
    }

    /// Ends it in the middle of whatever it does.
    ///
    /// QEMU 11.1 aborts if a read from its device fails, and that is how a socket ends whose process had not read everything (it
    /// reports the failure twice). So the connection outlives the process until it is empty, and ends as QEMU can bear.
    pub fn kill(&mut self) {
        if !matches!(self.process.try_wait(), Ok(None)) {
            return; // it has ended by itself
        }
        let connections = connections(self.process.id());
        let _ = self.process.kill();
        let _ = self.process.wait();
        connections.into_iter().for_each(hang_up);
    }

    /// What it says when its client, QEMU, is gone: its report, and why there is none.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn report(&mut self) -> Result<(String, String)> {
        let start = Instant::now();
        while self.process.try_wait().context("the device")?.is_none() && start.elapsed() < LIMIT {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.kill(); // one that did not end by itself has no report
        Ok((text(self.process.stdout.take()), text(self.process.stderr.take())))
    }
}

/// The connections of a process over UNIX sockets, as descriptors of our own.
fn connections(process: u32) -> Vec<UnixStream> {
    let pid = i32::try_from(process).ok().and_then(Pid::from_raw);
    let Some(Ok(pidfd)) = pid.map(|pid| pidfd_open(pid, PidfdFlags::empty())) else { return Vec::new() };
    let files = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    let numbers = files.filter_map(|file| file.file_name().to_string_lossy().parse().ok());
    let sockets = numbers.filter_map(|number| pidfd_getfd(&pidfd, number, PidfdGetfdFlags::empty()).ok());
    // Only of a connection there is an address of the other end.
    sockets.map(UnixStream::from).filter(|socket| socket.peer_addr().is_ok()).collect()
}

/// Ends a connection with nothing left to be read from it.
fn hang_up(mut connection: UnixStream) {
    // From now on nothing more is taken in; an error leaves what was there to be seen by the other end.
    let _ = connection.shutdown(Shutdown::Read);
    let mut bytes = [0; 4096];
    while connection.read(&mut bytes).is_ok_and(|count| count > 0) {}
}

/// All that comes out of a pipe whose writer has ended.
fn text(pipe: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        // What could be read of it is enough.
        let _ = pipe.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

/// A network namespace with a bridge and the echo service; removed when dropped, or when this process ends.
struct Peer {
    name: String,
    script: Child,
}

impl Peer {
    fn start() -> Result<Self> {
        ensure!(needs::is_root(), "only root can make a network namespace");
        needs::check(Role::Peer).map_err(anyhow::Error::msg)?;
        ensure!(Path::new("/dev/net/tun").exists(), "there is no /dev/net/tun (modprobe tun)");
        let name = format!("chimney-vm-{}", std::process::id());
        let mut command = Command::new("sh");
        command.args(["-c", PEER, "peer.sh", &name]).args(NICS);
        let script = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut peer = Self { name, script: script.context("sh")? };
        let mut line = String::new();
        if let Some(pipe) = peer.script.stdout.take() {
            BufReader::new(pipe).read_line(&mut line).context("the peer")?;
        }
        ensure!(line.trim() == "READY", "the peer's network cannot be made (ip, bridge)");
        Ok(peer)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.script.stdin.take());
        let _ = self.script.wait();
    }
}

/// The NICs of a boot: one with the echo peer on its wire, and two on the network of a Linux peer, where this machine can have one.
/// Dropped in the order of the fields.
pub struct Outside {
    /// The NICs in the order in which the guest finds them.
    pub devices: Vec<Device>,
    peer: Option<Peer>,
}

impl Outside {
    /// Starts all of it, with sockets in `dir`.
    ///
    /// # Errors
    /// When a device does not start. Without peer there is only one NIC, and why is said.
    pub fn start(chimney: &Path, dir: &Path, is_golden: bool) -> Result<Self> {
        let first = Device::with_echo(chimney, dir.join("nic0.sock"), is_golden, &["--once"])?;
        let mut this = Self { devices: vec![first], peer: None };
        match Peer::start() {
            Ok(peer) => {
                for nic in NICS {
                    let mut command = Command::new("ip");
                    command.args(["netns", "exec", &peer.name]).arg(chimney);
                    command.args(["device", "--once", "--wire", &format!("tap:{nic}")]);
                    this.devices.push(Device::start(command, dir.join(format!("{nic}.sock")), is_golden)?);
                }
                this.peer = Some(peer);
            }
            Err(why) => println!("skipped: two NICs on a network with a Linux peer: {why:#}"),
        }
        Ok(this)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixListener;

    /// A process that takes a connection and reads nothing of it.
    fn deaf(socket: PathBuf) -> Result<(Device, UnixStream)> {
        let listener = UnixListener::bind(&socket)?;
        let client = UnixStream::connect(&socket)?;
        let (taken, _) = listener.accept()?;
        let mut process = Command::new("sleep");
        process.arg("60").stdin(std::os::fd::OwnedFd::from(taken));
        Ok((Device { process: process.spawn()?, counters: socket.clone(), socket }, client))
    }

    #[test]
    fn who_waits_for_a_device_that_is_killed_sees_an_end_and_no_error() -> Result<()> {
        let socket = std::env::temp_dir().join(format!("xtask-{}-kill.sock", std::process::id()));
        let (mut device, mut client) = deaf(socket.clone())?;
        client.write_all(b"a command that nobody reads")?;
        device.kill();
        let mut answer = Vec::new();
        assert_eq!(client.read_to_end(&mut answer)?, 0);
        assert!(client.write_all(b"another").is_err());
        Ok(fs::remove_file(socket)?)
    }
}
