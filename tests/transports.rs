//! One list of checks on every transport of the driver, and on both devices.

use chimney::device::{Card, Far};
use chimney::pace::Pace;
use chimney::transports::{InProcess, VfioUserSite};
use chimney_check::{run, table, Outcome};
use chimney_sim::golden::{self, Golden};
use chimney_sim::host_mem::{DmaPort, HostMemory};
use chimney_sim::model::RtlNic;
use chimney_sim::net::impairment::Impairment;
use chimney_sim::net::wire::Wire;
use std::path::PathBuf;

fn wire() -> Wire<Far> {
    let far = Far::open(&"echo".parse().expect("a wire")).expect("the echo peer");
    Wire::new(far, Impairment::default())
}

fn golden(memory: &HostMemory, pace: Pace) -> Card<Golden<DmaPort>, Far> {
    Card::new(Golden::new(golden::Config::default(), memory.port()), wire(), pace)
}

fn socket(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("chimney-{}-{name}", std::process::id()))
}

fn assert_all_pass(columns: &[(String, Vec<Outcome>)]) {
    println!("{}", table(columns));
    assert!(columns.iter().all(|(_, outcomes)| outcomes.iter().all(|outcome| outcome.result.is_ok())));
}

#[test]
fn the_list_passes_on_every_transport_with_the_golden_model() {
    let memory = HostMemory::new();
    let card = golden(&memory, Pace::Virtual(20));
    let in_process = run(&mut InProcess::new(card, memory));
    let path = socket("transports-golden");
    let start = VfioUserSite::start(&path, |memory| Ok(golden(memory, Pace::Wall)));
    let vfio_user = run(&mut start.expect("a device"));
    assert_all_pass(&[("in-process".into(), in_process), ("vfio-user".into(), vfio_user)]);
}

#[test]
fn the_list_passes_on_every_transport_with_the_rtl() {
    let memory = HostMemory::new();
    let card = Card::new(RtlNic::virtual_time(&memory, 8.0), wire(), Pace::Virtual(200));
    let in_process = run(&mut InProcess::new(card, memory));
    let path = socket("transports-rtl");
    let start = VfioUserSite::start(&path, |memory| {
        let device = RtlNic::wall_time(memory, 400_000.0, None)?;
        Ok(Card::new(device, wire(), Pace::Cycles(64)))
    });
    let vfio_user = run(&mut start.expect("a device"));
    assert_all_pass(&[("in-process".into(), in_process), ("vfio-user".into(), vfio_user)]);
}
