//! One boot of the guest: what is built for it, what is started, what it says, and what that means.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{bail, ensure, Context, Result};
use sha2::{Digest, Sha256};

use super::archive::Archive;
use super::columns::{Column, Table};
use super::demo;
use super::device::{Device, Outside};
use super::kit::{self, Kit};
use crate::process::{self, Event};
use crate::{paths, setup};

/// Rust's name of a machine whose programs need no library.
const STATIC_TARGET: &str = "x86_64-unknown-linux-musl";
/// The guest's first process.
const INIT: &str = include_str!("../../vm/init.sh");
/// The guest's file system.
const DISK: &str = "initramfs.cpio";
/// The line after which nothing more is to be said.
const END: &str = "END";
/// The guest's memory.
const MEMORY: &str = "512M";
/// Longest time of a boot and its checks, seconds, on a busy machine.
const LIMIT_S: u32 = 600;
/// The table of transports, for programs.
const TABLE: &str = "transports.json";
/// How long QEMU waits for an answer of a device, milliseconds: many times what a simulated NIC takes on a busy machine. A command that is
/// queued in the moment in which the device's process dies is never answered, and QEMU 11.1 does not notice: the guest stands so long.
const ANSWER_MS: u32 = 30_000;
/// How a line begins that wants the second NIC's process killed.
const KILL: &str = "KILL";
/// The parts of the list in the guest.
const PARTS: [&str; 4] = ["kill", "huge", "unbind", "two"];
/// The part that is a guest of its own.
const DEMO: &str = "demo";
/// Environment variable that replays random moments.
const SEED_VARIABLE: &str = "CHIMNEY_SEED";
/// What happens at a random moment after the first bytes: a driver is killed, its function is unbound, a NIC is killed.
const MOMENTS: [&str; 3] = ["kill_ms", "unbind_ms", "nic_ms"];
/// The latest of them, milliseconds.
const LATEST_MS: u64 = 2000;

/// Options of `cargo xtask vm test`.
#[derive(clap::Args)]
pub struct Args {
    /// The golden model in the NIC's place: faster
    #[arg(long)]
    golden: bool,
    /// So many boots, one after the other
    #[arg(long, default_value_t = 1)]
    boots: u32,
    /// Only the parts whose names have this in them: kill, huge, unbind, two (NICs), demo
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// The table of transports as a line of JSON, last; it is in the target directory in any case
    #[arg(long)]
    json: bool,
}

/// The moments of a seed, milliseconds.
fn moments(seed: u64) -> [(&'static str, u64); 3] {
    MOMENTS.map(|name| {
        let hash = Sha256::digest(format!("{seed} {name}"));
        let number = hash.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte));
        (name, number % LATEST_MS)
    })
}

/// The seed of the first boot; each further one has the next.
fn first_seed() -> Result<u64> {
    if let Some(text) = std::env::var_os(SEED_VARIABLE) {
        return text.to_string_lossy().parse().with_context(|| format!("{SEED_VARIABLE} is no number"));
    }
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Ok(since.map_or(0, |since| u64::from(since.subsec_nanos())))
}

/// What the guest said.
#[derive(Debug, Default, PartialEq, Eq)]
struct Verdicts {
    passed: u32,
    failed: Vec<String>,
}

impl Verdicts {
    /// Reads a line of the console; true if it is to be shown.
    fn read(&mut self, line: &str) -> bool {
        let line = line.trim_end();
        if line.starts_with("PASS ") {
            self.passed += 1;
        } else if let Some(what) = line.strip_prefix("FAIL ") {
            self.failed.push(what.to_owned());
        } else {
            return false;
        }
        true
    }

    /// Another verdict: what passed, or why it did not.
    fn add(&mut self, result: Result<String>) {
        match result {
            Ok(what) => {
                self.passed += 1;
                println!("PASS {what}");
            }
            Err(why) => {
                self.failed.push(format!("{why:#}"));
                println!("FAIL {why:#}");
            }
        }
    }

    fn is_good(&self) -> bool {
        self.passed > 0 && self.failed.is_empty()
    }
}

/// Builds what the guest and its device need, boots it, and reports each of its lines.
///
/// # Errors
/// No kit, nothing built, no device. Checks that failed are in the exit status.
pub fn run(args: &Args) -> Result<ExitCode> {
    let kit = Kit::ensure()?;
    let found = setup::ensure(setup::Purpose::Demo)?;
    let check = build_check()?;
    let chimney = build_chimney(&found)?;
    let dir = make_disk(&kit, &check)?;
    // One part alone is no column.
    let outside =
        if args.only.is_empty() { Column::outside(&chimney, &dir, args.golden)? } else { Vec::new() };
    let mut is_good = true;
    let first = first_seed()?;
    for number in 1..=args.boots {
        let started = Instant::now();
        let seed = first.wrapping_add(u64::from(number) - 1);
        println!("boot {number} of {}, {SEED_VARIABLE}={seed}", args.boots);
        let mut verdicts = Verdicts::default();
        if PARTS.iter().any(|part| part.contains(&args.only)) {
            let console;
            (verdicts, console) = boot(&kit, &chimney, &dir, args, seed)?;
            if !outside.is_empty() {
                compare(&outside, &Column::of_guest(&console), &dir, args, &mut verdicts)?;
            }
        }
        if DEMO.contains(&args.only) {
            verdicts.add(demo::check(&chimney, &dir, args.golden, seed));
        }
        ensure!(verdicts != Verdicts::default(), "no part has '{}' in its name", args.only);
        is_good &= verdicts.is_good();
        for what in &verdicts.failed {
            println!("test {what} ... FAILED");
        }
        println!(
            "test result: {}. {} passed; {} failed; boot {number} of {} in {:.1} s",
            if verdicts.is_good() { "ok" } else { "FAILED" },
            verdicts.passed,
            verdicts.failed.len(),
            args.boots,
            started.elapsed().as_secs_f64()
        );
    }
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Puts the guest's column beside the others.
fn compare(
    outside: &[Column],
    guest: &Column,
    dir: &Path,
    args: &Args,
    verdicts: &mut Verdicts,
) -> Result<()> {
    let table = Table(outside.iter().chain([guest]).collect());
    let (failures, json) = (table.failures(), table.json().to_string());
    println!("\n{table}");
    if args.json {
        println!("{json}");
    }
    fs::write(dir.join(TABLE), json).context(TABLE)?;
    if failures.is_empty() {
        println!("PASS the same list on {} transports", outside.len() + 1);
        verdicts.passed += 1;
    }
    verdicts.failed.extend(failures);
    Ok(())
}

/// Rust's library for programs that need none of the system's.
pub fn static_target() -> Result<()> {
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", STATIC_TARGET]).current_dir(paths::root());
    let output = rustup.output().context("rustup")?;
    ensure!(output.status.success(), "rustup target add {STATIC_TARGET}: {}", output.status);
    Ok(())
}

/// The program that runs in the guest: static, without the simulator.
pub fn build_check() -> Result<PathBuf> {
    static_target()?;
    let mut cargo = paths::cargo();
    cargo.args(["build", "--locked", "--package", "chimney-check", "--target", STATIC_TARGET]);
    // The guest's memory holds it twice.
    cargo.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_PROFILE_DEV_STRIP", "symbols");
    build(cargo)?;
    Ok(paths::target_dir().join(STATIC_TARGET).join("debug/chimney-check"))
}

/// The program that is the device: the one that the tests use. With the features of the whole workspace, so that it is built
/// once.
fn build_chimney(found: &setup::Found) -> Result<PathBuf> {
    let mut cargo = paths::cargo();
    found.apply(&mut cargo);
    cargo.args(["test", "--no-run", "--locked", "--workspace", "--test", "device_process"]);
    build(cargo)?;
    Ok(paths::target_dir().join("debug/chimney"))
}

fn build(command: Command) -> Result<()> {
    let mut lines = Vec::new();
    let status = process::run(command, |event| {
        if let Event::Line(line) = event {
            lines.push(line.to_owned());
        }
    })?;
    if !status.success() {
        bail!("cargo: {}\n{}", process::describe(status), lines.join("\n"));
    }
    Ok(())
}

/// Writes the guest's file system with the program in it. The folder where it is.
pub fn make_disk(kit: &Kit, check: &Path) -> Result<PathBuf> {
    let dir = paths::state_dir().join("vm");
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let disk = dir.join(DISK);
    // Another guest may be reading the old one.
    let new = dir.join(format!("{DISK}.{}", std::process::id()));
    fs::write(&new, file_system(kit, check)?).with_context(|| new.display().to_string())?;
    fs::rename(&new, &disk).with_context(|| disk.display().to_string())?;
    Ok(dir)
}

fn file_system(kit: &Kit, check: &Path) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for folder in ["bin", "dev", "etc", "mod", "proc", "sys"] {
        archive.folder(folder);
    }
    archive.program("init", INIT.as_bytes());
    archive.copy("bin/busybox", &kit.dir.join("busybox"))?;
    archive.copy("bin/chimney-check", check)?;
    for module in kit::modules() {
        archive.copy(&module, &kit.dir.join(&module))?;
    }
    let order: String = kit::modules().map(|module| format!("/{module}\n")).collect();
    archive.program("mod/order", order.as_bytes());
    Ok(archive.finish())
}

/// Boots once: what was said in verdicts, and all that was said.
fn boot(kit: &Kit, chimney: &Path, dir: &Path, args: &Args, seed: u64) -> Result<(Verdicts, Vec<String>)> {
    let mut outside = Outside::start(chimney, dir, args.golden)?;
    let moments = moments(seed);
    // The kernel hands what it does not know to the first process, as variables.
    let mut words: Vec<String> = moments.iter().map(|(name, ms)| format!("{name}={ms}")).collect();
    words.push(format!("only={}", args.only));
    let mut was_killed = false;
    let mut has_ended = false;
    let mut console = Vec::new();
    let mut verdicts = Verdicts::default();
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", &LIMIT_S.to_string()]);
    let sockets: Vec<&Path> = outside.devices.iter().map(|device| device.socket.as_path()).collect();
    command.args(qemu(kit, dir, &sockets, &words));
    // The guest's second serial port ends where the first NIC is asked for its counters.
    if let Some(device) = outside.devices.first() {
        let socket = format!("socket,id=counters,path={}", device.counters.display());
        command.args(["-chardev", &socket, "-serial", "chardev:counters"]);
    }
    let status = process::run(command, |event| {
        if let Event::Line(line) = event {
            if verdicts.read(line) {
                println!("{}", line.trim_end());
            }
            has_ended |= line.trim_end() == END;
            if line.starts_with(KILL) {
                std::thread::sleep(Duration::from_millis(moments[2].1));
                outside.devices.get_mut(1).into_iter().for_each(Device::kill);
                was_killed = true;
            }
            console.push(line.to_owned());
        }
    })?;
    fs::write(dir.join("console.log"), console.join("\n")).context("the log of the console")?;
    if has_ended {
        judge_devices(&mut outside.devices, was_killed, &mut verdicts)?;
    } else {
        let end = &console[console.len().saturating_sub(20)..];
        verdicts.failed.push(format!(
            "the guest did not come to its end ({}); the last lines of its console:\n  {}",
            process::describe(status),
            end.join("\n  ")
        ));
    }
    Ok((verdicts, console))
}

/// Each device saw one client, QEMU, and nothing that it had to refuse or force, also where the kernel took bus master away from a
/// NIC in mid-transfer. One that was killed has no more to say.
fn judge_devices(devices: &mut [Device], was_killed: bool, verdicts: &mut Verdicts) -> Result<()> {
    for (number, device) in devices.iter_mut().enumerate().filter(|(n, _)| !(was_killed && *n == 1)) {
        let (said, why) = device.report()?;
        let report: serde_json::Value = serde_json::from_str(&said).unwrap_or_default();
        if ["refused", "forced_resets", "broken"].into_iter().all(|name| report[name] == 0) {
            verdicts.passed += 1;
            println!("PASS device {number} was reset in order each time: {said}");
        } else {
            verdicts.failed.push(format!("device {number}: {said} {why}"));
        }
    }
    Ok(())
}

/// QEMU with the guest of the file system in `dir`, the NICs behind these sockets, and words for its first process.
pub fn qemu(kit: &Kit, dir: &Path, sockets: &[&Path], words: &[String]) -> Vec<OsString> {
    let memory = format!("memory-backend-memfd,id=mem,size={MEMORY},share=on");
    // Without no_timer_check a busy machine makes some boots fail: "timer doesn't work through IO-APIC". And on a machine that
    // does other things for 20 s, nosoftlockup: it is no defect of the guest's kernel, and its alarm would break a line in two.
    let kernel =
        "console=ttyS0 quiet panic=-1 intel_iommu=on no_timer_check nosoftlockup nokaslr mitigations=off";
    let mut command = Words(kit.qemu().into_iter().map(OsString::from).collect());
    // TCG even if there is a /dev/kvm: not every one of them boots a stock kernel.
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-accel", "tcg"]);
    command.args(["-M", "q35,memory-backend=mem", "-cpu", "max", "-m", MEMORY, "-object", &memory]);
    command.args(["-device", "intel-iommu,intremap=on,caching-mode=on"]);
    for (number, socket) in sockets.iter().enumerate() {
        let port = format!("pcie-root-port,id=root{number},chassis={0},slot={0}", number + 1);
        let nic = serde_json::json!({
            "driver": "vfio-user-pci", "id": format!("nic{number}"), "bus": format!("root{number}"),
            // A simulated NIC may be away for longer than the 5 s that QEMU allows.
            "x-msg-timeout": ANSWER_MS,
            "socket": { "path": socket, "type": "unix" },
        });
        command.args(["-device", &port, "-device", &nic.to_string()]);
    }
    command.args([Path::new("-kernel"), &kit.kernel(), Path::new("-initrd"), &dir.join(DISK)]);
    command.args(["-serial", "stdio", "-append", &format!("{kernel} {}", words.join(" "))]);
    command.0
}

/// The words of a command.
struct Words(Vec<OsString>);

impl Words {
    fn args<T: AsRef<OsStr>>(&mut self, words: impl IntoIterator<Item = T>) {
        self.0.extend(words.into_iter().map(|word| word.as_ref().to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_is_judged_by_its_lines_and_by_its_end() {
        let mut verdicts = Verdicts::default();
        let shown = ["[ 0.1] noise", "PASS one (0.1 s)\r", END].map(|line| verdicts.read(line));
        assert_eq!(shown, [false, true, false]);
        assert!(verdicts.is_good());
        assert!(verdicts.read("FAIL two: why"));
        assert_eq!((verdicts.is_good(), verdicts.failed), (false, vec!["two: why".to_owned()]));
        assert!(!Verdicts::default().is_good(), "nothing was checked");
        let mut more = Verdicts::default();
        more.add(Ok("three".into()));
        assert!(more.is_good());
        more.add(Err(anyhow::anyhow!("why").context("four")));
        assert_eq!((more.is_good(), more.failed), (false, vec!["four: why".to_owned()]));
    }

    #[test]
    fn a_seed_has_its_moments_and_the_guest_knows_them() {
        assert_eq!(moments(7), moments(7));
        assert_ne!(moments(7), moments(8));
        assert!((0..100).flat_map(moments).all(|(_, ms)| ms < LATEST_MS));
        assert!(PARTS.iter().all(|part| INIT.contains(&format!("part {part}"))));
        // The last one happens outside.
        assert!(MOMENTS[..2].iter().all(|name| INIT.contains(&format!("${name}"))));
    }
}
