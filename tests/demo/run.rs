//! Starts the `chimney` program and watches it.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A run that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(120);

/// What a run printed and how it ended.
#[derive(Debug)]
pub struct Outcome {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    /// Namespaces and processes that are still there.
    pub left: Vec<String>,
}

/// A running demo.
pub struct Demo {
    child: Child,
    out: PathBuf,
    /// One demo at a time: the machine's cores are few, and a peer in real time does not wait.
    _turn: MutexGuard<'static, ()>,
}

impl Demo {
    /// Starts the demo on the golden model; results go to a directory of this name.
    pub fn start(name: &str, args: &[&str]) -> Demo {
        Self::start_with(name, &[&["--golden"], args].concat(), |_| ())
    }

    /// Starts the demo on the RTL.
    pub fn start_rtl(name: &str, args: &[&str]) -> Demo {
        Self::start_with(name, args, |_| ())
    }

    /// With exactly these arguments, and a change of the command, for example of its environment.
    pub fn start_with(name: &str, args: &[&str], change: impl FnOnce(&mut Command)) -> Demo {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let out = directory(name);
        let mut command = Command::new(env!("CARGO_BIN_EXE_chimney"));
        command.args(["demo", "--out"]).arg(&out).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        change(&mut command);
        let child = command.spawn().expect("the program that was just built");
        Demo { child, out, _turn: turn }
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the capture has so many bytes: the transfer is under way. False if the demo ended before.
    pub fn wait_for_capture(&mut self, bytes: u64) -> bool {
        let since = Instant::now();
        loop {
            if fs::metadata(self.out.join("wire.pcapng")).is_ok_and(|m| m.len() >= bytes) {
                return true;
            }
            let has_ended = self.child.try_wait().expect("our child").is_some();
            if has_ended || since.elapsed() > LIMIT {
                return false;
            }
            std::thread::yield_now();
        }
    }

    /// Closes the pipe that it writes its output to.
    pub fn stop_listening(&mut self) {
        self.child.stdout = None;
    }

    /// Sends it a signal.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        assert!(status.is_ok_and(|s| s.success()), "kill -{name}");
    }

    /// Waits for the end; a demo that hangs is killed and fails the test.
    pub fn finish(mut self) -> Outcome {
        let (stdout, stderr) = (drain(self.child.stdout.take()), drain(self.child.stderr.take()));
        let since = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("our child") {
                break status;
            }
            if since.elapsed() > LIMIT {
                let _ = self.child.kill();
                panic!("the demo hangs; its results are in {}", self.out.display());
            }
            std::thread::yield_now();
        };
        let text =
            |thread: std::thread::JoinHandle<String>| thread.join().expect("a reader that cannot fail");
        Outcome { status, left: left_behind(self.child.id()), stdout: text(stdout), stderr: text(stderr) }
    }
}

impl Outcome {
    /// The demo failed with one line that contains `words`, and left nothing.
    pub fn assert_clean_failure(&self, words: &str) {
        assert!(!self.status.success(), "it must fail: {self:#?}");
        let lines: Vec<&str> = self.stderr.lines().collect();
        assert!(lines.len() == 1 && lines[0].contains(words), "one line with {words:?}: {self:#?}");
        assert!(lines[0].starts_with("error: "), "{self:#?}");
        assert!(self.status.code().is_some(), "it must end by itself: {self:#?}");
        self.assert_nothing_left();
    }

    /// No namespace and no process is left.
    pub fn assert_nothing_left(&self) {
        assert!(self.left.is_empty(), "left behind: {:?}", self.left);
    }
}

/// A thread that reads everything, so that the program never waits for us.
fn drain(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Results of the run of this name.
pub fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("demo").join(name)
}

/// The namespaces of the demo with this process id; their names carry it.
pub fn namespaces(pid: u32) -> Vec<String> {
    let output = Command::new("ip").args(["netns", "list"]).output();
    let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    let prefix = format!("chimney-{pid}-");
    text.lines()
        .filter_map(|l| l.split_whitespace().next())
        .filter(|n| n.starts_with(&prefix))
        .map(str::to_owned)
        .collect()
}

/// What a demo that has ended left: namespaces, and processes whose command line names one.
fn left_behind(pid: u32) -> Vec<String> {
    let since = Instant::now();
    loop {
        let mut left = namespaces(pid);
        left.extend(processes_that_name(&format!("chimney-{pid}-")));
        // After a failure inside the program its reaper still works for a moment.
        if left.is_empty() || since.elapsed() > Duration::from_secs(10) {
            return left;
        }
        std::thread::yield_now();
    }
}

/// Processes with this in their command line, as "process PID: command line".
pub fn processes_that_name(word: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let lines = entries.filter_map(|entry| {
        let bytes = fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&bytes).replace('\0', " ");
        line.contains(word).then(|| format!("process {}: {line}", entry.file_name().to_string_lossy()))
    });
    lines.collect()
}

/// Can this machine run a Linux peer? Says why not.
pub fn has_linux_peer() -> bool {
    match chimney_sim::net::netns::probe() {
        Ok(()) => true,
        Err(why) => {
            println!("skipped: {why}");
            false
        }
    }
}

/// The long counts of random tests were asked for.
pub fn is_long() -> bool {
    std::env::var_os("CHIMNEY_LONG").is_some()
}

/// Is this program there? Says so if not.
pub fn has_tool(tool: &str) -> bool {
    let is_there = Command::new(tool).arg("--version").output().is_ok();
    if !is_there {
        println!("skipped: {tool} is not installed");
    }
    is_there
}

/// `result.json` of the run of this name.
pub fn read_result(name: &str) -> serde_json::Value {
    let text = fs::read_to_string(directory(name).join("result.json")).expect("result.json");
    serde_json::from_str(&text).expect("JSON")
}
