//! One list of checks on every transport of the driver, and on both devices.

use chimney::device::Card;
use chimney::pace::Pace;
use chimney::transports::{echo_wire, InProcess, VfioUserSite};
use chimney_check::{run, Outcome};
use chimney_sim::golden::{self, Golden};
use chimney_sim::model::RtlNic;
use std::path::PathBuf;

fn socket(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("chimney-{}-{name}", std::process::id()))
}

/// Every check passed, and what is claimed of the driver was counted.
fn assert_all_pass(transport: &str, outcomes: &[Outcome]) {
    for outcome in outcomes {
        println!("{transport}: {outcome}");
    }
    assert!(outcomes.iter().all(Outcome::has_passed));
    let counts = |outcome: &Outcome| outcome.result.as_ref().map_or(0, |seen| seen.counts.len());
    assert_eq!(outcomes.iter().map(counts).sum::<usize>(), 3);
}

#[test]
fn the_list_passes_in_process() {
    assert_all_pass("in-process, golden model", &run(&mut InProcess::golden().expect("a device")));
    assert_all_pass("in-process, RTL", &run(&mut InProcess::rtl().expect("a device")));
}

#[test]
fn the_list_passes_over_vfio_user_with_the_golden_model() {
    let start = VfioUserSite::start(&socket("transports-golden"), |memory| {
        let device = Golden::new(golden::Config::default(), memory.port());
        Ok(Card::new(device, echo_wire()?, Pace::Wall))
    });
    assert_all_pass("vfio-user, golden model", &run(&mut start.expect("a device")));
}

#[test]
fn the_list_passes_over_vfio_user_with_the_rtl() {
    let start = VfioUserSite::start(&socket("transports-rtl"), |memory| {
        let device = RtlNic::wall_time(memory, 400_000.0, None)?;
        Ok(Card::new(device, echo_wire()?, Pace::Cycles(64)))
    });
    assert_all_pass("vfio-user, RTL", &run(&mut start.expect("a device")));
}
