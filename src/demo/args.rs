//! Options of the demo.

use chimney_abi::wire::ethernet::{MAX_JUMBO_MTU, MAX_MTU};
use chimney_sim::net::impairment::Impairment;
use std::ffi::OsString;
use std::path::PathBuf;

/// Options of `chimney demo`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Frames lost on the wire, each way, for example 1%
    #[arg(long, default_value = "0%", value_parser = percent)]
    pub loss: f64,
    /// Other impairments, spelled like netem: "delay 2ms 1ms reorder 1% duplicate 0.1%"
    #[arg(long, default_value = "", value_parser = impairment)]
    pub link: Impairment,
    /// Seed of every random decision
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Bytes each way, for example 4M, 6000K
    #[arg(long, default_value = "4M", value_parser = size)]
    pub bytes: u64,
    /// IPv6 instead of IPv4
    #[arg(long)]
    pub ipv6: bool,
    /// Bytes of the longest packet, both ways, 576 to 9000; IPv6 wants 1280
    #[arg(long, default_value_t = MAX_MTU, value_parser = clap::value_parser!(u16).range(576..=i64::from(MAX_JUMBO_MTU)))]
    pub mtu: u16,
    /// Both ends negotiate classic ECN (RFC 3168); --link "loss 1% ecn" marks instead of losing
    #[arg(long)]
    pub ecn: bool,
    /// No hand-over: the connections stay in the host, on the NIC's ordinary path with its segmentation offload
    #[arg(long)]
    pub in_host: bool,
    /// TCP options that the Linux peer does not know, for example sack,timestamps
    #[arg(long, value_enum, value_delimiter = ',')]
    pub without: Vec<TcpOption>,
    /// The golden model instead of the RTL: fast, untimed
    #[arg(long)]
    pub golden: bool,
    /// The peer: the Linux kernel in a network namespace, or a second instance of our own stack
    #[arg(long, value_enum, default_value_t = PeerChoice::Auto)]
    pub peer: PeerChoice,
    /// Write a wave of the NIC as well: wave.fst beside the results, for GTKWave. `cargo xtask demo` builds for it;
    /// else build with --features trace
    #[arg(long, conflicts_with = "golden")]
    pub wave: bool,
    /// Where results, capture and wave go
    #[arg(long, default_value = "target/demo")]
    pub out: PathBuf,
    /// Only the JSON on standard output
    #[arg(long)]
    pub json: bool,
    /// Driver and host stack in a guest: a stock kernel in QEMU, with the NIC as a PCI device outside of it. With `cargo xtask
    /// demo`, which makes the guest
    #[arg(long)]
    pub vm: bool,
    /// A command that starts a machine for driver and host stack, for example `chimney check`; the NIC's socket and the job are
    /// added to it as --socket PATH --job JOB
    #[arg(last = true, value_name = "COMMAND")]
    pub machine: Vec<OsString>,
}

/// Who is at the other end.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerChoice {
    /// Linux where this machine can, else our own stack
    Auto,
    /// The Linux kernel; an error where this machine cannot
    Linux,
    /// A second instance of our own stack
    Builtin,
}

/// What a Linux kernel can be told not to offer.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpOption {
    /// Timestamps (RFC 7323)
    Timestamps,
    /// Selective acknowledgments (RFC 2018), and D-SACK with them
    Sack,
    /// Window scaling (RFC 7323)
    WindowScaling,
}

impl TcpOption {
    /// The kernel's setting.
    pub fn sysctl(self) -> &'static str {
        match self {
            TcpOption::Timestamps => "net.ipv4.tcp_timestamps",
            TcpOption::Sack => "net.ipv4.tcp_sack",
            TcpOption::WindowScaling => "net.ipv4.tcp_window_scaling",
        }
    }
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.trim().trim_end_matches('%');
    match number.parse::<f64>() {
        Ok(p) if (0.0..=50.0).contains(&p) => Ok(p / 100.0),
        _ => Err("a loss is a percentage from 0% to 50%".into()),
    }
}

fn impairment(text: &str) -> Result<Impairment, String> {
    text.parse().map_err(|e: chimney_sim::net::impairment::ParseError| e.to_string())
}

fn size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let unit: u64 = match unit.to_ascii_uppercase().as_str() {
        "" => 1,
        "K" | "KIB" => 1 << 10,
        "M" | "MIB" => 1 << 20,
        _ => return Err("a size is a number, with K or M if you like".into()),
    };
    match number.parse::<u64>().ok().and_then(|n| n.checked_mul(unit)) {
        Some(n) if (4 << 20..=1 << 30).contains(&n) => Ok(n),
        // Less would hardly leave the NIC its share: what waits at the switch passes in the host.
        _ => Err("a size is from 4M to 1024M".into()),
    }
}
