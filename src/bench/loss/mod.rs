//! Goodput over a link that loses frames: the NIC as sender against a Linux kernel (CUBIC, SACK) as sender.
//!
//! ```text
//!   NIC   -- host stack, driver, device --+
//!                                         |-- rate, queue of one BDP, lost frames, delay --> Linux receiver
//!   Linux -- namespace, TAP --------------+
//! ```
//! A pair is two transfers with the same list of lost frames, counted from the first frame that the sender sends; the
//! first ones, among them the handshake, are spared. Goodput is counted from the first frame with data to the end
//! of the stream at the receiver, a Linux kernel both times. A run in which the clock that NIC and link share lagged
//! behind the kernels' by more than a hundredth of the transfer is void and made again; after three attempts another seed takes the pair's place.

mod run;

use anyhow::{bail, Result};
use clap::ValueEnum;
use run::{Outcome, Plan};
use serde::Serialize;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Mutex;

/// Attempts at a run until its clock does not lag.
const ATTEMPTS: u32 = 3;
/// Largest lag of the clock, as a part of the transfer.
const MOST_LAG: f64 = 0.01;

/// Options of `chimney bench loss`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Pairs of each row
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// First seed
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// Bytes of a transfer, in KiB
    #[arg(long, default_value_t = 4096, value_parser = clap::value_parser!(u64).range(64..=65_536))]
    kib: u64,
    /// Frames lost, percent
    #[arg(long, default_values_t = [0.1, 1.0, 3.0])]
    loss: Vec<f64>,
    /// The NIC on the slow link
    #[arg(long, value_enum, default_value_t = DeviceKind::Rtl)]
    device: DeviceKind,
    /// Only this link
    #[arg(long, value_enum)]
    link: Option<LinkKind>,
    /// Pairs at the same time; the RTL needs a processor of its own
    #[arg(long)]
    jobs: Option<usize>,
    /// Captures of the NIC's runs go there
    #[arg(long)]
    captures: Option<std::path::PathBuf>,
}

/// Behind the registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum DeviceKind {
    /// The RTL under Verilator
    Rtl,
    /// The golden model
    Model,
}

/// The two links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LinkKind {
    /// 5 Mbit/s, 80 ms
    Slow,
    /// 100 Mbit/s, 20 ms
    Fast,
}

impl LinkKind {
    /// Bits per second, and round trip without queue, milliseconds.
    pub(super) fn numbers(self) -> (u64, u64) {
        match self {
            LinkKind::Slow => (5_000_000, 80),
            LinkKind::Fast => (100_000_000, 20),
        }
    }
}

impl fmt::Display for LinkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rate, rtt_ms) = self.numbers();
        write!(f, "{} Mbit/s, {rtt_ms} ms", rate / 1_000_000)
    }
}

/// One loss rate on one link.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    link: String,
    device: DeviceKind,
    /// Percent of the frames.
    loss: f64,
    /// Medians.
    nic_mbit: f64,
    linux_mbit: f64,
    /// Median of the pairs' ratios, and their quartiles.
    ratio: f64,
    ratio_quartiles: [f64; 2],
    /// Pairs that count.
    seeds: usize,
    /// Pairs without a run that was not void.
    void: usize,
    /// Largest lag of the clock in a run that counts, as a part of the transfer.
    lag: f64,
    /// Segments that the NIC and Linux retransmitted, means.
    nic_retransmits: f64,
    linux_retransmits: f64,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Goodput {
    bytes: u64,
    rows: Vec<Row>,
}

impl fmt::Display for Goodput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "goodput under loss, {} KiB a transfer; Linux: CUBIC, SACK", self.bytes >> 10)?;
        writeln!(
            f,
            "  {:<20} {:<6} {:>6} {:>10} {:>12} {:>7} {:>15} {:>6} {:>5} {:>13}",
            "link",
            "NIC",
            "loss %",
            "NIC Mbit/s",
            "Linux Mbit/s",
            "ratio",
            "quartiles",
            "pairs",
            "void",
            "resent"
        )?;
        for r in &self.rows {
            let device = if r.device == DeviceKind::Rtl { "RTL" } else { "model" };
            let [low, high] = r.ratio_quartiles;
            writeln!(
                f,
                "  {:<20} {device:<6} {:>6} {:>10.3} {:>12.3} {:>7.3} {:>15} {:>6} {:>5} {:>13}",
                r.link,
                r.loss,
                r.nic_mbit,
                r.linux_mbit,
                r.ratio,
                format!("{low:.3} .. {high:.3}"),
                r.seeds,
                r.void,
                format!("{:.0} / {:.0}", r.nic_retransmits, r.linux_retransmits)
            )?;
        }
        Ok(())
    }
}

/// A link with a device and a loss rate, and what its pairs gave.
struct Scenario {
    link: LinkKind,
    device: DeviceKind,
    loss: f64,
    pairs: Vec<Option<(Outcome, Outcome)>>,
}

/// Measures; `progress`: with a bar.
///
/// # Errors
/// Without root, and when a transfer fails.
pub fn measure(args: &Args, progress: bool) -> Result<Goodput> {
    chimney_sim::net::netns::probe()?;
    if args.loss.iter().any(|l| !(0.0..=50.0).contains(l)) {
        bail!("a loss is a percentage from 0 to 50");
    }
    let scenarios = Mutex::new(scenarios(args));
    let plans = Mutex::new(plans(args, &scenarios.lock().expect("no thread runs yet")));
    let next = || plans.lock().expect("no thread panics with the lock").pop_front();
    let failure = Mutex::new(None);
    let bar = super::bar(plans.lock().expect("no thread runs yet").len() as u64, progress);
    let jobs = args.jobs.unwrap_or(if args.device == DeviceKind::Rtl { 1 } else { 6 }).clamp(1, 64);
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some((scenario, plan)) = next() {
                    let result = pair(&plan);
                    let mut plans = plans.lock().expect("no thread panics with the lock");
                    match result {
                        Ok(result) => {
                            let pairs = &mut scenarios.lock().expect("no thread panics with the lock")
                                [scenario]
                                .pairs;
                            pairs.push(result);
                            if let Some(seed) =
                                instead(args, pairs).filter(|_| pairs.last().is_some_and(Option::is_none))
                            {
                                bar.inc_length(1);
                                plans.push_back((scenario, Plan { seed, ..plan }));
                            }
                        }
                        Err(error) => {
                            plans.clear();
                            *failure.lock().expect("no thread panics with the lock") = Some(error);
                        }
                    }
                    bar.inc(1);
                }
            });
        }
    });
    bar.finish_and_clear();
    if let Some(error) = failure.into_inner().expect("no thread panics with the lock") {
        return Err(error);
    }
    let scenarios = scenarios.into_inner().expect("no thread panics with the lock");
    Ok(Goodput { bytes: args.kib << 10, rows: scenarios.into_iter().map(row).collect() })
}

fn scenarios(args: &Args) -> Vec<Scenario> {
    let mut all = Vec::new();
    // The RTL is too slow for 100 Mbit/s.
    for (link, device) in [(LinkKind::Slow, args.device), (LinkKind::Fast, DeviceKind::Model)] {
        if args.link.is_none_or(|only| only == link) {
            let each = args.loss.iter().map(|&loss| Scenario { link, device, loss, pairs: Vec::new() });
            all.extend(each);
        }
    }
    all
}

/// Every pair, with the index of its scenario.
fn plans(args: &Args, scenarios: &[Scenario]) -> VecDeque<(usize, Plan)> {
    let plan = |s: &Scenario, seed| Plan {
        link: s.link,
        device: s.device,
        loss: s.loss / 100.0,
        seed,
        bytes: args.kib << 10,
        captures: args.captures.clone(),
    };
    let seeds = args.first_seed..args.first_seed + args.seeds;
    scenarios
        .iter()
        .enumerate()
        .flat_map(|(i, s)| seeds.clone().map(move |seed| (i, plan(s, seed))))
        .collect()
}

/// The seed of a pair that takes the place of a void one; none if as many were void as are wanted.
fn instead<T>(args: &Args, pairs: &[Option<T>]) -> Option<u64> {
    // `as`: few.
    let void = pairs.iter().filter(|p| p.is_none()).count() as u64;
    (1..=args.seeds).contains(&void).then(|| args.first_seed + args.seeds + void - 1)
}

/// Both transfers of a pair; `None` if the clock lagged each time.
fn pair(plan: &Plan) -> Result<Option<(Outcome, Outcome)>> {
    let Some(nic) = until_valid(|| run::nic(plan))? else { return Ok(None) };
    Ok(until_valid(|| run::linux(plan))?.map(|linux| (nic, linux)))
}

fn until_valid(mut run: impl FnMut() -> Result<Outcome>) -> Result<Option<Outcome>> {
    for _ in 0..ATTEMPTS {
        let outcome = run()?;
        if outcome.lag <= MOST_LAG {
            return Ok(Some(outcome));
        }
    }
    Ok(None)
}

fn row(scenario: Scenario) -> Row {
    let valid: Vec<_> = scenario.pairs.iter().flatten().collect();
    let quantile = |q: f64, of: &dyn Fn(&(Outcome, Outcome)) -> f64| {
        let mut values: Vec<f64> = valid.iter().map(|p| of(p)).collect();
        values.sort_by(f64::total_cmp);
        quantile(&values, q)
    };
    let mean = |of: &dyn Fn(&(Outcome, Outcome)) -> f64| {
        valid.iter().map(|p| of(p)).sum::<f64>() / valid.len().max(1) as f64
    };
    let ratio = |p: &(Outcome, Outcome)| p.0.mbit / p.1.mbit;
    Row {
        link: scenario.link.to_string(),
        device: scenario.device,
        loss: scenario.loss,
        nic_mbit: quantile(0.5, &|p| p.0.mbit),
        linux_mbit: quantile(0.5, &|p| p.1.mbit),
        ratio: quantile(0.5, &ratio),
        ratio_quartiles: [quantile(0.25, &ratio), quantile(0.75, &ratio)],
        seeds: valid.len(),
        void: scenario.pairs.len() - valid.len(),
        lag: valid.iter().map(|p| p.0.lag.max(p.1.lag)).fold(0.0, f64::max),
        nic_retransmits: mean(&|p| p.0.retransmits as f64),
        linux_retransmits: mean(&|p| p.1.retransmits as f64),
    }
}

/// Of sorted values, between the two nearest; 0 of none.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let place = q * last as f64;
    // `as`: an index below the length.
    let below = place.floor() as usize;
    let above = (below + 1).min(last);
    sorted[below] + (sorted[above] - sorted[below]) * (place - below as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_lies_between_the_middle_values() {
        assert_eq!(quantile(&[], 0.5), 0.0);
        assert_eq!(quantile(&[3.0], 0.5), 3.0);
        assert_eq!(quantile(&[1.0, 2.0, 4.0, 9.0], 0.5), 3.0);
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.25), 1.5);
    }

    #[test]
    fn another_seed_takes_the_place_of_a_void_pair() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            args: Args,
        }
        let args = <Line as clap::Parser>::parse_from(["bench", "--seeds", "2", "--first-seed", "5"]).args;
        assert_eq!(instead(&args, &[None, Some(())]), Some(7));
        assert_eq!(instead(&args, &[None, Some(()), None]), Some(8));
        assert_eq!(instead(&args, &[None, Some(()), None, None]), None, "the machine is too slow");
        assert_eq!(instead(&args, &[Some(())]), None);
    }

    #[test]
    fn a_run_whose_clock_lags_is_made_again_and_void_in_the_end() {
        let outcome = |lag| Outcome { mbit: 1.0, lag, retransmits: 0 };
        let mut runs = 0;
        let third = until_valid(|| {
            runs += 1;
            Ok(outcome(if runs < 3 { 0.5 } else { 0.005 }))
        });
        assert_eq!((third.expect("it ran").map(|o| o.lag), runs), (Some(0.005), 3));
        assert!(until_valid(|| Ok(outcome(0.02))).expect("it ran").is_none());
    }
}
