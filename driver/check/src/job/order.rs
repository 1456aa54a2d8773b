//! What is to be done, in one word, so that it passes through a kernel's command line.

use crate::machine::HOST_MAC;
use anyhow::{bail, ensure, Context};
use chimney_abi::wire::ethernet::{MAX_JUMBO_MTU, MAX_MTU};
use chimney_host_stack::{Address, StackConfig, TcpConfig};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Most bytes of the file, which the host has in memory.
const MAX_BYTES: u64 = 1 << 30;

/// The job: `seed=1,bytes=4194304,host=10.85.0.2/24,peer=10.85.0.1,mtu=1500,ecn=0,offload=1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Seed of the file and of the moments of the hand-overs.
    pub seed: u64,
    /// Bytes each way.
    pub bytes: u64,
    /// The host's address.
    pub host: IpAddr,
    /// Prefix length of its network.
    pub prefix_len: u8,
    /// The peer's address.
    pub peer: IpAddr,
    /// Bytes of the longest packet, both ways.
    pub mtu: u16,
    /// Classic ECN (RFC 3168) is negotiated.
    pub ecn: bool,
    /// The connections are handed over; else they stay in the host.
    pub offload: bool,
}

impl Default for Job {
    fn default() -> Self {
        Self {
            seed: 1,
            bytes: 4 << 20,
            host: [10, 85, 0, 2].into(),
            prefix_len: 24,
            peer: [10, 85, 0, 1].into(),
            mtu: MAX_MTU,
            ecn: false,
            offload: true,
        }
    }
}

impl Job {
    /// The host's stack.
    pub fn stack(&self) -> StackConfig {
        StackConfig {
            mac: HOST_MAC,
            addresses: vec![Address::new(self.host, self.prefix_len)],
            mtu: self.mtu,
            secret: self.seed,
            tcp: TcpConfig { is_ecn: self.ecn, ..TcpConfig::default() },
        }
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, bytes, host, prefix_len, peer, mtu, ecn, offload } = self;
        write!(f, "seed={seed},bytes={bytes},host={host}/{prefix_len},peer={peer},mtu={mtu}")?;
        write!(f, ",ecn={},offload={}", u8::from(*ecn), u8::from(*offload))
    }
}

impl FromStr for Job {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut job = Self::default();
        for part in text.split(',') {
            let (name, value) = part.split_once('=').with_context(|| format!("'{part}' is no NAME=VALUE"))?;
            job.set(name, value).with_context(|| format!("'{part}' of a job"))?;
        }
        ensure!(job.bytes <= MAX_BYTES, "a job has at most {MAX_BYTES} bytes each way");
        ensure!((576..=MAX_JUMBO_MTU).contains(&job.mtu), "an MTU is from 576 to {MAX_JUMBO_MTU}");
        ensure!(job.host.is_ipv4() == job.peer.is_ipv4(), "host and peer have addresses of one family");
        Ok(job)
    }
}

impl Job {
    fn set(&mut self, name: &str, value: &str) -> anyhow::Result<()> {
        let flag = || Ok::<bool, anyhow::Error>(value.parse::<u8>()? != 0);
        match name {
            "seed" => self.seed = value.parse()?,
            "bytes" => self.bytes = value.parse()?,
            "host" => {
                let (host, len) = value.split_once('/').context("an address has a prefix length")?;
                (self.host, self.prefix_len) = (host.parse()?, len.parse()?);
                let most = if self.host.is_ipv4() { 32 } else { 128 };
                ensure!(self.prefix_len <= most, "a prefix has at most {most} bits");
            }
            "peer" => self.peer = value.parse()?,
            "mtu" => self.mtu = value.parse()?,
            "ecn" => self.ecn = flag()?,
            "offload" => self.offload = flag()?,
            _ => bail!("there is no such thing"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_survives_its_way_through_a_command_line() {
        let v6 = Job {
            seed: u64::MAX,
            host: "fd85::2".parse().expect("an address"),
            prefix_len: 64,
            peer: "fd85::1".parse().expect("an address"),
            mtu: 9000,
            ecn: true,
            offload: false,
            ..Job::default()
        };
        for job in [Job::default(), v6] {
            let text = job.to_string();
            assert!(!text.contains(char::is_whitespace), "{text}");
            assert_eq!(text.parse::<Job>().expect("a job"), job);
        }
    }

    #[test]
    fn what_is_no_job_is_refused_with_its_reason() {
        for (text, word) in [
            ("", "NAME=VALUE"),
            ("color=red", "no such thing"),
            ("mtu=5", "MTU"),
            ("bytes=99999999999", "at most"),
            ("host=10.0.0.1", "prefix length"),
            ("host=10.0.0.1/33", "at most 32"),
            ("peer=fd85::1", "family"),
        ] {
            let error = text.parse::<Job>().expect_err(text);
            assert!(format!("{error:#}").contains(word), "{error:#}");
        }
    }
}
