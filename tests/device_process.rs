//! A device in another process: drivers and devices that are killed.

use chimney_abi::offload::Residence;
use chimney_check::{Machine, Site, SocketSite};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Checks in the list.
const CHECKS: u64 = 9;
/// How long anything may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// A process that does not outlive its test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn chimney(args: &[&str], socket: &Path) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chimney"));
    command.args(args).arg("--socket").arg(socket).stdout(Stdio::piped()).stderr(Stdio::piped());
    Process(command.spawn().expect("the program starts"))
}

/// A device at its own socket, with the echo peer.
fn device(name: &str, model: &str) -> (Process, PathBuf) {
    let socket = std::env::temp_dir().join(format!("chimney-{}-{name}", std::process::id()));
    let device = chimney(&["device", "--json", "--wire", "echo", "--model", model], &socket);
    let start = Instant::now();
    while !socket.exists() {
        assert!(start.elapsed() < LIMIT, "the device does not listen");
        std::thread::sleep(Duration::from_millis(10));
    }
    (device, socket)
}

/// All that comes out of a pipe.
fn read(pipe: Option<impl Read>) -> String {
    let mut text = String::new();
    pipe.expect("a pipe").read_to_string(&mut text).expect("text");
    text
}

/// The line that the device prints when a client has left.
fn report(lines: &mut impl BufRead) -> Value {
    let mut line = String::new();
    lines.read_line(&mut line).expect("a line");
    serde_json::from_str(&line).expect("JSON")
}

#[test]
fn a_driver_killed_at_any_moment_leaves_the_rtl_in_order() {
    let (mut device, socket) = device("driver-killed", "rtl");
    let mut lines = BufReader::new(device.0.stdout.take().expect("a pipe"));
    // Most of the time of a list goes by in transfers.
    for ms in [150, 700, 1300] {
        let client = chimney(&["check"], &socket);
        std::thread::sleep(Duration::from_millis(ms));
        drop(client);
    }
    let mut client = chimney(&["check"], &socket);
    let text = read(client.0.stdout.take());
    assert!(client.0.wait().expect("an end").success(), "{text}");
    println!("{text}");
    // Each check of the last list was a client of its own, one looked for the device before, and there was at least one of
    // each list that was killed.
    for number in 1..=CHECKS + 4 {
        let report = report(&mut lines);
        assert_eq!(report["client"], number);
        assert_eq!((&report["forced_resets"], &report["broken"]), (&0.into(), &0.into()), "{report}");
    }
}

#[test]
fn connections_survive_a_device_that_is_killed() {
    let (mut device, socket) = device("device-killed", "golden");
    let mut site = SocketSite::at(&socket);
    let mut machine = Machine::open_with(&mut site, 21, 200_000).expect("it comes up");
    let id = machine.connect().expect("a connection");
    machine.move_to(id, Residence::Offloaded).expect("an offload");
    machine.echo(id, 50_000, 1).expect("an echo");
    machine.switch.send(id, &[7; 30_000]).expect("room");
    machine.step().expect("it is alive");
    device.0.kill().expect("a process");
    let start = Instant::now();
    while machine.step().is_ok() {
        assert!(start.elapsed() < LIMIT, "nobody noticed");
    }
    assert!(machine.driver.lost().is_some() && machine.switch.is_lost());
    assert_eq!(machine.switch.residence(id), Residence::InHost);
    assert!(machine.switch.unfinished_bytes(id) > 0, "what was not acknowledged is in the host's queue");
    println!("given up {} ms after its end: {:?}", start.elapsed().as_millis(), machine.driver.lost());
    assert!(machine.site().connect().is_err(), "there is no device any more");
}

#[test]
fn what_is_wrong_is_said_in_one_line() {
    let nowhere = std::env::temp_dir().join(format!("chimney-{}-nowhere", std::process::id()));
    let mut client = chimney(&["check"], &nowhere);
    let text = read(client.0.stderr.take());
    assert!(text.contains("`chimney device --socket") && text.lines().count() == 1, "{text}");
    assert!(!client.0.wait().expect("an end").success());
    let mut wrong = chimney(&["device", "--wire", "string"], &nowhere);
    let text = read(wrong.0.stderr.take());
    assert!(text.contains("tap:NAME") && text.lines().count() == 1, "{text}");
}
