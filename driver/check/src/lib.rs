//! One list of checks for every transport of the driver.
//!
//! ```text
//!   list of checks --> Site: in-process | vfio-user | VFIO   (a device with the echo peer on its wire, and a way to it)
//!                        |
//!                        v
//!                      Machine: driver and host stack over the site's bus
//! ```
//! A check knows a bus and nothing of what is behind it; where the device's side can be asked for its counters, it proves
//! what the driver claims about itself. Nothing here needs a simulator, so the program `chimney-check` runs where only a device
//! is: in a guest, on a machine with a card.
#![forbid(unsafe_code)]

mod carry_on;
mod checks;
mod counters;
pub mod job;
mod machine;
mod outcome;
mod site;

pub use carry_on::{carry_on, endless};
pub use counters::{Counters, Crossings};
pub use machine::Machine;
pub use outcome::{Count, Outcome, Seen};
pub use site::{FarSite, Site, SocketSite, VfioSite};

use job::Job;

use anyhow::{bail, ensure, Context, Result};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// TCP port of the echo peer (RFC 862).
pub const ECHO_PORT: u16 = 7;
/// Its address.
pub const ECHO_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 85, 0, 1));
/// Prefix length of its network.
pub const PREFIX_LEN: u8 = 24;
/// MTU of its network.
pub const MTU: u16 = 1500;

/// Options of `chimney check` and `chimney-check`: which device. The echo peer must be on its wire.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// The socket of a device in another process: `chimney device --wire echo --socket PATH`
    #[arg(long, value_name = "PATH", conflicts_with = "vfio")]
    pub socket: Option<PathBuf>,
    /// A PCI function that is bound to vfio-pci, for example 0000:01:00.0
    #[arg(long, value_name = "BDF")]
    pub vfio: Option<String>,
    /// Only the checks whose names have this in them
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub only: String,
    /// Where the device's side can be asked for its counters: the socket of `chimney device --counters PATH`, or a serial port that
    /// ends there
    #[arg(long, value_name = "PATH")]
    pub counters: Option<PathBuf>,
    /// Write a line of JSON for each check to this file, too
    #[arg(long, value_name = "PATH")]
    pub report: Option<PathBuf>,
    /// Not the list: connections work on the device until it is taken away, and go on over this one, of the same kind
    #[arg(long, value_name = "PATH or BDF", conflicts_with_all = ["endless", "job"])]
    pub spare: Option<String>,
    /// Not the list: an offloaded connection works until the device or this process is gone
    #[arg(long)]
    pub endless: bool,
    /// Not the list: driver and host stack of the demo, which has another peer on the wire and says what is to be done
    #[arg(long, value_name = "JOB", conflicts_with = "endless")]
    pub job: Option<Job>,
}

/// Runs the list, one line for each check as soon as it ended; true if all of it passed.
///
/// # Errors
/// When there is no such device, or nothing can be said.
pub fn check(args: &Args) -> Result<bool> {
    let counters = args.counters.as_deref().map(Counters::open).transpose()?;
    match (&args.socket, &args.vfio) {
        (Some(path), None) => {
            work(args, SocketSite::at(path).with_counters(counters), |path| SocketSite::at(path.as_ref()))
        }
        (None, Some(name)) => work(args, VfioSite::at(name).with_counters(counters), VfioSite::at),
        _ => bail!("name one device: --socket PATH or --vfio BDF"),
    }
}

fn work<S: Site>(args: &Args, mut site: S, at: impl Fn(&str) -> S) -> Result<bool> {
    let say = |text: &str| println!("{text}");
    if let Some(spare) = &args.spare {
        carry_on(&mut site, &mut at(spare), say)?;
        return Ok(true);
    }
    if let Some(job) = &args.job {
        return job::work(&mut site, job);
    }
    if args.endless {
        endless(&mut site, say)?;
    }
    check_site(&mut site, &args.only, args.report.as_deref())
}

/// Runs those of the list that have `only` in their names, as [`check`] does. Each is a line of JSON in the file `report`, too.
///
/// # Errors
/// When there is no device, nothing to do, or nothing can be said.
pub fn check_site<S: Site>(site: &mut S, only: &str, report: Option<&Path>) -> Result<bool> {
    ensure!(list::<S>().iter().any(|(name, _)| name.contains(only)), "no check has '{only}' in its name");
    let create = |path: &Path| File::create(path).with_context(|| path.display().to_string());
    let mut report = report.map(create).transpose()?;
    // One reason is enough for a device that cannot be opened at all.
    drop(site.connect()?);
    let mut said = Ok(());
    let outcomes = run_each(site, only, &mut |outcome| {
        if let Err(error) = say(outcome, report.as_mut()) {
            said = Err(error);
        }
    });
    said?;
    Ok(outcomes.iter().all(Outcome::has_passed))
}

fn say(outcome: &Outcome, report: Option<&mut File>) -> Result<()> {
    if let Some(report) = report {
        writeln!(report, "{}", outcome.json()?).context("the report")?;
    }
    let mut out = std::io::stdout();
    // That nobody listens any more is no reason to leave the device in the middle of something.
    writeln!(out, "{outcome}").and_then(|()| out.flush()).or_else(no_listener).context("standard output")
}

fn no_listener(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == ErrorKind::BrokenPipe {
        Ok(())
    } else {
        Err(error)
    }
}

/// A check.
type Check<S> = fn(&mut S) -> Result<Seen>;

/// The list, in order: first what later ones rest on.
fn list<S: Site>() -> [(&'static str, Check<S>); 9] {
    [
        ("config space names the function and its capabilities", checks::config_space),
        ("registers answer, and a reset makes them forget", checks::registers),
        ("no DMA without bus master, DMA with it", checks::bus_master),
        ("memory that the device may only read stays as it is", checks::read_only),
        ("DMA to memory that was given back is a fault", checks::unmapped),
        ("a connection in the host: ordinary frames both ways", checks::in_host),
        ("offload, 1 MiB each way, upload", checks::offloaded),
        ("the next driver finds a device in order", checks::after_a_crash),
        ("after a stop the device does nothing", checks::stopped),
    ]
}

/// Runs the list on a site.
pub fn run<S: Site>(site: &mut S) -> Vec<Outcome> {
    run_each(site, "", &mut |_| {})
}

/// Runs those of the list that have `only` in their names, and shows what became of each as soon as it ended.
pub fn run_each<S: Site>(site: &mut S, only: &str, each: &mut dyn FnMut(&Outcome)) -> Vec<Outcome> {
    let one = |(name, check): (&'static str, Check<S>)| {
        let start = Instant::now();
        let result = check(site).map_err(|error| format!("{error:#}"));
        let outcome = Outcome { name, result, took: start.elapsed() };
        each(&outcome);
        outcome
    };
    list().into_iter().filter(|(name, _)| name.contains(only)).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_not_there_fails_each_check_with_the_reason() {
        let outcomes = run(&mut VfioSite::at("ffff:ff:1f.7"));
        let why = "there is no PCI function ffff:ff:1f.7";
        assert!(outcomes.iter().all(|o| o.result.as_ref().is_err_and(|text| text.contains(why))));
    }
}
