//! Driver and host stack in another process, behind a socket; the guest of `cargo xtask demo --vm` does the same over its kernel.

use crate::capture;
use crate::run::{directory, read_result, Demo};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// The program as the machine of a demo.
const MACHINE: [&str; 3] = ["--", env!("CARGO_BIN_EXE_chimney"), "check"];

fn with_machine<'a>(args: &[&'a str], machine: &[&'a str]) -> Vec<&'a str> {
    [args, machine].concat()
}

/// A run that is good, and left nothing.
fn assert_good(name: &str, demo: Demo) {
    let outcome = demo.finish();
    assert!(outcome.status.success(), "{outcome:#?}");
    outcome.assert_nothing_left();
    let result = read_result(name);
    assert_eq!((&result["received_ok"], &result["sent_ok"]), (&true.into(), &true.into()), "{result}");
    assert_eq!(result["device_side"]["mmio_reads"], 0, "no register is read during the transfers");
    assert!(result["device_side"]["send_doorbells"].as_u64() > Some(0), "{result}");
}

#[test]
fn the_job_is_done_over_a_socket() {
    let name = "outside";
    assert_good(name, Demo::start(name, &with_machine(&[], &MACHINE)));
    let result = read_result(name);
    let rows = result["handover"].as_array().expect("rows");
    for transfer in ["download", "upload"] {
        let good = |row: &&serde_json::Value| row["transfer"] == transfer && row["status"] == "Success";
        assert!(rows.iter().filter(good).count() >= 4, "{result}");
    }
    if crate::run::has_tool("tshark") {
        assert_eq!(capture::broken(name, &[]), Vec::<String>::new());
        assert_eq!(Some(capture::bytes(name)), result["bytes_in_capture"].as_u64());
    }
}

#[test]
fn the_rtl_serves_another_process_on_a_bad_wire() {
    let name = "outside-rtl";
    let args = ["--ipv6", "--loss", "1%", "--seed", "4", "--ecn", "--mtu", "1280"];
    assert_good(name, Demo::start_rtl(name, &with_machine(&args, &MACHINE)));
}

#[test]
fn a_machine_that_does_not_do_its_job_is_named() {
    let cases: [(&[&str], &str); 4] = [
        (&["--", "no-such-program-here"], "cannot start no-such-program-here"),
        (&["--", "sh", "-c", "echo out of order; exit 3"], "exit status: 3); it said: out of order"),
        (
            &["--", "sh", "-c", r#"echo 'JOB {"failed":"download failed: why"}'; sleep 60"#],
            "download failed: why",
        ),
        (&["--", "sh", "-c", r#"echo 'JOB "transferred"'; sleep 60"#], "in place of Ready"),
    ];
    for (machine, words) in cases {
        Demo::start("machine-fails", &with_machine(&["--peer", "builtin"], machine))
            .finish()
            .assert_clean_failure(words);
    }
    Demo::start("no-machine", &["--vm"]).finish().assert_clean_failure("cargo xtask demo --vm");
    let long = with_machine(&["--vm", "--bytes", "256M"], &MACHINE);
    Demo::start("long", &long).finish().assert_clean_failure("memory for 128 MiB");
}

/// A demo whose machine is at work, and where that listens.
fn at_work(name: &str) -> (Demo, String) {
    let _ = fs::remove_dir_all(directory(name));
    let mut demo = Demo::start(name, &with_machine(&["--bytes", "256M"], &MACHINE));
    if !demo.wait_for_capture(1 << 20) {
        panic!("it ended early: {:#?}", demo.finish());
    }
    let socket = std::env::temp_dir().join(format!("chimney-{}-nic.sock", demo.pid()));
    (demo, socket.display().to_string())
}

#[test]
fn a_signal_ends_the_machine_too() {
    for signal in ["INT", "TERM", "HUP"] {
        let (demo, socket) = at_work("outside-signal");
        demo.signal(signal);
        // What is left is looked for by the name of the socket, among others.
        demo.finish().assert_clean_failure("interrupted");
        assert!(!Path::new(&socket).exists());
    }
}

#[test]
fn a_machine_ends_with_a_demo_that_is_killed() {
    let (demo, socket) = at_work("outside-killed");
    demo.signal("KILL");
    let outcome = demo.finish();
    assert!(!outcome.status.success());
    outcome.assert_nothing_left();
    let _ = fs::remove_file(socket);
}

#[test]
fn a_machine_that_is_killed_is_noticed() {
    let (demo, socket) = at_work("machine-killed");
    let start = Instant::now();
    let machine = loop {
        let found = crate::run::processes_that_name(&socket).into_iter().next();
        if let Some(pid) = found.and_then(|line| line.split([' ', ':']).nth(1).map(str::to_owned)) {
            break pid;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "no machine");
    };
    assert!(std::process::Command::new("kill").args(["-9", &machine]).status().is_ok_and(|s| s.success()));
    demo.finish().assert_clean_failure("the machine ended (signal: 9");
}
