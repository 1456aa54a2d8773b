//! A Linux kernel as the peer: a fresh network namespace with one TAP in it.
//!
//! ```text
//!   our process                         namespace chimney-<pid>-<n>
//!   Tap (file descriptor) ============= tap0  10.85.0.1/24   programs of net::peer
//! ```
//!
//! Everything a test depends on is set explicitly, because a new namespace inherits from the machine: congestion control
//! (CUBIC through the route, which needs no change of the machine), buffer sizes, TCP options; IPv6 only if the peer speaks it.
//!
//! **Clean-up** does not rely on destructors. A small shell, the reaper, holds the reading end of a pipe whose writing end
//! is ours. When the pipe closes, for whatever reason (drop, panic, SIGINT, SIGTERM, SIGKILL), the reaper kills what
//! still runs in the namespace and deletes it. It ignores SIGINT, SIGTERM and SIGHUP, which a terminal sends to it too. Dropping
//! a [`PeerNet`] closes the pipe and waits until the reaper has finished.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use thiserror::Error;

use super::counters::Counters;
use super::tap::{Tap, TapError, TUN_DEVICE};

/// Name of the interface inside the namespace.
pub const INTERFACE: &str = "tap0";

/// Why there is no peer.
#[derive(Debug, Error)]
pub enum NetnsError {
    /// Namespaces and TAPs need root.
    #[error("not root: a network namespace and a TAP device need it")]
    NotRoot,
    /// No TUN/TAP in this kernel or container.
    #[error("{TUN_DEVICE} does not exist: no TUN/TAP driver here")]
    NoTun,
    /// A program could not be started.
    #[error("cannot run `{program}`: {source}")]
    Spawn {
        /// The program.
        program: String,
        /// Reason.
        #[source]
        source: io::Error,
    },
    /// A program failed.
    #[error("`{command}` failed: {message}")]
    Failed {
        /// Command line.
        command: String,
        /// What it wrote to stderr, in one line.
        message: String,
    },
    /// The TAP could not be made.
    #[error(transparent)]
    Tap(#[from] TapError),
}

/// Addresses and TCP settings of the peer.
#[derive(Debug, Clone)]
pub struct PeerConfig {
    /// The kernel's address.
    pub peer_ip: IpAddr,
    /// Our address.
    pub host_ip: IpAddr,
    /// Prefix length of their network.
    pub prefix_len: u8,
    /// The kernel's MAC address.
    pub peer_mac: [u8; 6],
    /// Our MAC address as a permanent neighbour; `None` leaves it to ARP.
    pub host_mac: Option<[u8; 6]>,
    /// MTU of the interface.
    pub mtu: u16,
    /// Congestion control of the kernel.
    pub congestion_control: &'static str,
    /// Settings, `/proc/sys` path (with dots) and value. One that this kernel does not have is left out.
    pub sysctls: Vec<(&'static str, String)>,
}

impl Default for PeerConfig {
    fn default() -> Self {
        Self {
            peer_ip: Ipv4Addr::new(10, 85, 0, 1).into(),
            host_ip: Ipv4Addr::new(10, 85, 0, 2).into(),
            prefix_len: 24,
            peer_mac: [0x02, 0xc4, 0x1e, 0, 0, 0x01],
            host_mac: None,
            mtu: 1500,
            congestion_control: "cubic",
            sysctls: default_sysctls(),
        }
    }
}

impl PeerConfig {
    /// The default, with addresses of IPv6.
    pub fn v6() -> Self {
        let ip = |last| Ipv6Addr::new(0xfd85, 0, 0, 0, 0, 0, 0, last).into();
        Self { peer_ip: ip(1), host_ip: ip(2), prefix_len: 64, ..Self::default() }
    }
}

fn default_sysctls() -> Vec<(&'static str, String)> {
    [
        ("net.ipv6.conf.tap0.accept_ra", "0"),
        ("net.ipv6.conf.tap0.router_solicitations", "0"),
        ("net.ipv4.conf.all.rp_filter", "0"),
        ("net.ipv4.tcp_timestamps", "1"),
        ("net.ipv4.tcp_sack", "1"),
        ("net.ipv4.tcp_dsack", "1"),
        ("net.ipv4.tcp_window_scaling", "1"),
        ("net.ipv4.tcp_ecn", "0"),
        ("net.ipv4.tcp_fastopen", "0"),
        ("net.ipv4.tcp_mtu_probing", "0"),
        ("net.ipv4.tcp_syncookies", "1"),
        ("net.ipv4.tcp_slow_start_after_idle", "1"),
        // What one connection learned about the path must not change the next one.
        ("net.ipv4.tcp_no_metrics_save", "1"),
        ("net.ipv4.tcp_rmem", "4096 131072 6291456"),
        ("net.ipv4.tcp_wmem", "4096 65536 4194304"),
    ]
    .map(|(key, value)| (key, value.to_owned()))
    .to_vec()
}

/// A namespace with a TAP in it; deleted, with everything that runs there, when dropped.
#[derive(Debug)]
pub struct PeerNet {
    name: String,
    config: PeerConfig,
    reaper: Child,
}

impl PeerNet {
    /// Make the namespace and our end of the wire.
    ///
    /// # Errors
    /// [`NetnsError`] with one sentence for the user; nothing is left behind.
    pub fn create(config: PeerConfig) -> Result<(Self, Tap), NetnsError> {
        check_rights()?;
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let serial = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("chimney-{}-{serial}", std::process::id());
        let reaper = start_reaper(&name)?;
        // From here on every return cleans up through the reaper.
        let this = Self { name, config, reaper };
        run(Command::new("ip").args(["netns", "add", &this.name]))?;
        let tap = Tap::create("chimney%d")?;
        run(Command::new("ip").args([
            "link",
            "set",
            "dev",
            tap.name(),
            "name",
            INTERFACE,
            "netns",
            &this.name,
        ]))?;
        this.apply_sysctls()?;
        this.configure_interface()?;
        Ok((this, tap))
    }

    /// Name of the namespace.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Addresses and settings.
    pub fn config(&self) -> &PeerConfig {
        &self.config
    }

    /// A command that runs `program` inside the namespace.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Run a program inside and wait for it.
    ///
    /// # Errors
    /// [`NetnsError`] when it cannot be started or fails.
    pub fn run(&self, program: &str, args: &[&str]) -> Result<String, NetnsError> {
        let output = run(self.command(program).args(args))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// All SNMP counters of the kernel in the namespace, for a before/after comparison: the kernel checks every checksum
    /// that we send and counts the bad ones.
    ///
    /// # Errors
    /// [`NetnsError`] when they cannot be read.
    pub fn counters(&self) -> Result<Counters, NetnsError> {
        Ok(Counters::parse(&self.run("cat", &["/proc/net/snmp", "/proc/net/netstat"])?))
    }

    fn apply_sysctls(&self) -> Result<(), NetnsError> {
        let mut script = String::from("set -e\nput() { [ ! -e \"$1\" ] || echo \"$2\" > \"$1\"; }\n");
        let family =
            ("net.ipv6.conf.tap0.disable_ipv6", if self.config.peer_ip.is_ipv6() { "0" } else { "1" });
        let sysctls = self.config.sysctls.iter().map(|(key, value)| (*key, value.as_str()));
        for (key, value) in sysctls.chain([family]) {
            script += &format!("put /proc/sys/{} '{value}'\n", key.replace('.', "/"));
        }
        self.run("sh", &["-c", &script]).map(|_| ())
    }

    fn configure_interface(&self) -> Result<(), NetnsError> {
        let PeerConfig { peer_ip, host_ip, prefix_len, mtu, congestion_control, .. } = &self.config;
        let network = network(*peer_ip, *prefix_len);
        // Without duplicate address detection: nobody else is there, and a program could not bind to the address before its end.
        let nodad = if peer_ip.is_ipv6() { " nodad" } else { "" };
        let mut batch = format!(
            "link set dev lo up\n\
             link set dev {INTERFACE} address {} mtu {mtu} txqueuelen 1000\n\
             link set dev {INTERFACE} up\n\
             addr add {peer_ip}/{prefix_len} dev {INTERFACE}{nodad}\n\
             route replace {network}/{prefix_len} dev {INTERFACE} src {peer_ip} congctl {congestion_control}\n",
            mac_text(self.config.peer_mac)
        );
        if let Some(mac) = self.config.host_mac {
            batch +=
                &format!("neigh replace {host_ip} lladdr {} nud permanent dev {INTERFACE}\n", mac_text(mac));
        }
        let mut command = Command::new("ip");
        command.args(["-n", &self.name, "-batch", "-"]);
        run_with_input(&mut command, batch.as_bytes())?;
        // A TAP without vnet_hdr offers no offloads; say so again for kernels that disagree. ethtool may be missing.
        let offloads = ["tx", "rx", "tso", "gso", "gro"].map(|o| [o, "off"]);
        let _ = self.command("ethtool").args(["-K", INTERFACE]).args(offloads.concat()).output();
        Ok(())
    }
}

impl Drop for PeerNet {
    fn drop(&mut self) {
        drop(self.reaper.stdin.take());
        let _ = self.reaper.wait();
    }
}

/// Can this machine run a Linux peer? The reason when it cannot.
///
/// # Errors
/// [`NetnsError`], whose text is for the user.
pub fn probe() -> Result<(), NetnsError> {
    PeerNet::create(PeerConfig::default()).map(|_| ())
}

fn check_rights() -> Result<(), NetnsError> {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0);
    if !is_root {
        return Err(NetnsError::NotRoot);
    }
    if !Path::new(TUN_DEVICE).exists() {
        return Err(NetnsError::NoTun);
    }
    Ok(())
}

/// See the module page. `cat` returns when our end of the pipe is closed; the last loop catches programs that were
/// just being started.
fn start_reaper(name: &str) -> Result<Child, NetnsError> {
    let script = "trap '' INT TERM HUP\n\
                  cat > /dev/null\n\
                  [ -e /run/netns/$1 ] || [ -e /var/run/netns/$1 ] || exit 0\n\
                  for round in 1 2 3; do\n\
                    pids=$(ip netns pids $1) && [ -n \"$pids\" ] && kill -9 $pids\n\
                  done\n\
                  ip netns delete $1\n";
    Command::new("sh")
        .args(["-c", script, "chimney-reaper", name])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|source| NetnsError::Spawn { program: "sh".to_owned(), source })
}

fn run(command: &mut Command) -> Result<Output, NetnsError> {
    run_with_input(command, &[])
}

fn run_with_input(command: &mut Command, input: &[u8]) -> Result<Output, NetnsError> {
    let stdin = if input.is_empty() { Stdio::null() } else { Stdio::piped() };
    let result =
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().and_then(|mut child| {
            if let Some(mut pipe) = child.stdin.take() {
                // A program that ends early says so through its status.
                let _ = pipe.write_all(input);
            }
            child.wait_with_output()
        });
    let output = match result {
        Ok(output) => output,
        Err(source) => return Err(NetnsError::Spawn { program: text(command), source }),
    };
    if output.status.success() {
        return Ok(output);
    }
    let message = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
    let message = if message.is_empty() { output.status.to_string() } else { message };
    Err(NetnsError::Failed { command: text(command), message })
}

fn text(command: &Command) -> String {
    let args = command.get_args().map(|a| a.to_string_lossy().lines().next().unwrap_or("").to_owned());
    std::iter::once(command.get_program().to_string_lossy().into_owned())
        .chain(args)
        .collect::<Vec<_>>()
        .join(" ")
}

/// The network that an address belongs to.
fn network(ip: IpAddr, prefix_len: u8) -> IpAddr {
    let host_bits = |all: u32| all.saturating_sub(prefix_len.into());
    match ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(host_bits(32)).unwrap_or(0);
            Ipv4Addr::from(u32::from(ip) & mask).into()
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(host_bits(128)).unwrap_or(0);
            Ipv6Addr::from(u128::from(ip) & mask).into()
        }
    }
}

fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
