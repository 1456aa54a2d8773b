//! The job where only a device is: it is told to whoever reads standard output, a serial console for example.
//!
//! ```text
//!   driver up --> "ready", waits for a line --> transfers, "progress" --> "transferred", waits --> counters --> "done"
//! ```
//! It waits, so that who counts at the device's side can tell the transfers from what is before and after them.

use super::{switch_config, transfers, Host, HostSide, Job, Progress, Stage, Unseen};
use crate::machine::{open, PATIENCE_US};
use crate::site::Site;
use anyhow::{bail, Context, Result};
use chimney_driver::Driver;
use chimney_host_stack::switch::Switch;
use chimney_host_stack::Stack;
use serde::{Deserialize, Serialize};
use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

/// How a line begins that is for whoever ordered the job.
const MARK: &str = "JOB ";
/// Least time between two lines about progress: a serial console is slow.
const SHOW_EVERY: Duration = Duration::from_millis(200);

/// What is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Said {
    /// The device is up; goes on when a line was read.
    Ready,
    /// A transfer went on.
    Progress(Progress),
    /// Both transfers are over; goes on when a line was read.
    Transferred,
    /// All that the host knows; the device was stopped.
    Done(HostSide),
    /// The job failed.
    Failed(String),
}

impl Said {
    /// Reads a line; nothing if it is another one.
    pub fn parse(line: &str) -> Option<Self> {
        // A console may have put something before it.
        let (_, text) = line.split_once(MARK)?;
        serde_json::from_str(text.trim_end()).ok()
    }

    /// The line.
    ///
    /// # Errors
    /// Never in practice.
    pub fn line(&self) -> Result<String> {
        Ok(format!("{MARK}{}", serde_json::to_string(self)?))
    }
}

/// Driver and host stack over a site's bus.
struct Guest<'a, S: Site> {
    site: &'a mut S,
    driver: Driver<S::Bus>,
    switch: Switch,
    shown: Instant,
    told: Result<()>,
}

impl<S: Site> Stage for Guest<'_, S> {
    type Bus = S::Bus;
    type Wire<'w>
        = Unseen
    where
        Self: 'w;

    fn step(&mut self) -> Result<()> {
        self.site.turn()?;
        self.switch.poll(self.site.now_us(), &mut self.driver);
        if let Some(error) = self.driver.lost() {
            bail!("the NIC was lost: {error}");
        }
        std::mem::replace(&mut self.told, Ok(()))
    }

    fn host(&mut self) -> Host<'_, S::Bus, Unseen> {
        let now_us = self.site.now_us();
        Host { switch: &mut self.switch, driver: &mut self.driver, now_us, wire: Unseen }
    }

    fn show(&mut self, progress: Progress) {
        if self.shown.elapsed() >= SHOW_EVERY {
            self.shown = Instant::now();
            self.told = tell(&Said::Progress(progress));
        }
    }
}

fn tell(said: &Said) -> Result<()> {
    let line = said.line()?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("standard output")
}

/// Waits for a line. If there is nobody to send one, it goes on.
fn wait_for_line() -> Result<()> {
    std::io::stdin().lock().read_line(&mut String::new()).context("standard input")?;
    Ok(())
}

/// Does the job on the device of a site, and tells of it on standard output. True if it was done.
///
/// # Errors
/// When nothing can be told.
pub fn work<S: Site>(site: &mut S, job: &Job) -> Result<bool> {
    let said = match done(site, job) {
        Ok(side) => Said::Done(side),
        Err(error) => Said::Failed(format!("{error:#}")),
    };
    tell(&said)?;
    Ok(matches!(said, Said::Done(_)))
}

fn done<S: Site>(site: &mut S, job: &Job) -> Result<HostSide> {
    let driver = open(site, PATIENCE_US)?;
    let switch = Switch::new(Stack::new(job.stack()), switch_config());
    let mut guest = Guest { site, driver, switch, shown: Instant::now(), told: Ok(()) };
    tell(&Said::Ready)?;
    wait_for_line()?;
    let mut side = transfers(&mut guest, job)?;
    tell(&Said::Transferred)?;
    wait_for_line()?;
    side.count(&mut guest)?;
    guest.driver.stop()?;
    Ok(side)
}

#[cfg(test)]
mod tests {
    use super::super::{HandoverRow, Owner, Way};
    use super::*;

    #[test]
    fn what_is_told_is_one_line_and_is_understood() {
        let row = HandoverRow {
            transfer: Way::Upload,
            direction: "offload".into(),
            status: "Success".into(),
            at_ms: 1.5,
            unsent: 1,
            unacknowledged: 2,
            undelivered: 3,
            out_of_order: 4,
        };
        let side = HostSide {
            received_sha256: "00".into(),
            handover: vec![row],
            nic_counters: [("CNT_TX_FRAMES".to_owned(), u64::MAX)].into(),
            ..HostSide::default()
        };
        let progress = Progress { way: Way::Download, done_bytes: 7, owner: Owner::Nic };
        let failed = Said::Failed("a line\nand another".into());
        for said in [Said::Ready, Said::Progress(progress), Said::Transferred, Said::Done(side), failed] {
            let line = said.line().expect("a line");
            assert!(!line.contains('\n'));
            assert_eq!(Said::parse(&format!("{line}\r")), Some(said));
        }
    }

    #[test]
    fn other_lines_of_a_console_are_no_words_of_the_job() {
        for line in ["", "[    1.0] Linux", "JOB", "JOB {", "JOB \"nonsense\"", "PASS one"] {
            assert_eq!(Said::parse(line), None, "{line}");
        }
        assert_eq!(Said::parse("[ 1.0] noiseJOB \"ready\""), Some(Said::Ready));
    }
}
