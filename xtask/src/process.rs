//! A child process with everything it starts: its output as lines, and an end with ours.
//!
//! The child leads a process group of its own, so a Ctrl-C at the terminal comes to us alone. We
//! pass it on to the whole group and wait: cargo, the compilers and the tests below it all end, and
//! nothing keeps building behind the user's back.

use std::io::{BufRead, BufReader};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGKILL, SIGTERM};

/// How long a stopped group may take before it is killed.
const GRACE: Duration = Duration::from_secs(10);
/// How often the progress display is told that time passes.
const TICK: Duration = Duration::from_millis(100);

/// What happened while a child ran.
pub enum Event<'a> {
    /// A line of its output (standard output and error in the order written).
    Line(&'a str),
    /// A tenth of a second without one.
    Tick,
}

/// Whether the user asked us to stop. The first call installs the handlers.
fn stop_flag() -> &'static Arc<AtomicBool> {
    static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    FLAG.get_or_init(|| {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, flag.clone()).expect("these signals can be handled");
        }
        flag
    })
}

/// Whether Ctrl-C or SIGTERM has arrived.
pub fn is_stopped() -> bool {
    stop_flag().load(Ordering::Relaxed)
}

/// Runs `command` to its end and reports each line; after Ctrl-C or SIGTERM ends its whole group.
///
/// # Errors
/// The program cannot be started. How it ends is in the returned status.
pub fn run(mut command: Command, mut on_event: impl FnMut(Event)) -> Result<ExitStatus> {
    stop_flag();
    let (reader, writer) = std::io::pipe().context("pipe")?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer).process_group(0);
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
    drop(command); // it holds our ends of the pipe, and the reader waits for the last one to close
    let lines = read_lines(reader);
    let mut stopping = None;
    let status = loop {
        match lines.recv_timeout(TICK) {
            Ok(line) => on_event(Event::Line(&line)),
            Err(RecvTimeoutError::Timeout) => on_event(Event::Tick),
            Err(RecvTimeoutError::Disconnected) => thread::sleep(TICK),
        }
        if is_stopped() {
            stop(&child, &mut stopping);
        }
        if let Some(status) = child.try_wait().context("wait")? {
            break status;
        }
    };
    // What was written before the end is still in the pipe; a stray process that keeps the pipe
    // open must not keep us.
    while let Ok(line) = lines.recv_timeout(TICK) {
        on_event(Event::Line(&line));
    }
    Ok(status)
}

fn read_lines(reader: std::io::PipeReader) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut reader = BufReader::new(reader);
        let mut bytes = Vec::new();
        while reader.read_until(b'\n', &mut bytes).is_ok_and(|n| n > 0) {
            let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            bytes.clear();
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// First a polite signal to the group, after the grace period one that cannot be ignored.
fn stop(child: &Child, since: &mut Option<Instant>) {
    match since {
        None => {
            *since = Some(Instant::now());
            signal_group(child, SIGTERM);
        }
        Some(at) if at.elapsed() > GRACE => signal_group(child, SIGKILL),
        Some(_) => {}
    }
}

/// The shell's own `kill`: safe Rust has none for a group, and the program may not be installed.
fn signal_group(child: &Child, signal: i32) {
    // With `-s`: the shell of Debian takes no `--` after `-15`.
    let script = format!("kill -s {signal} -- -{}", child.id());
    let _ = Command::new("sh").args(["-c", &script]).stderr(Stdio::null()).status();
}

/// How a child ended, in words.
pub fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn lines_of(script: &str) -> (Vec<String>, ExitStatus) {
        let mut lines = Vec::new();
        let status = run(shell(script), |event| {
            if let Event::Line(line) = event {
                lines.push(line.to_owned());
            }
        });
        (lines, status.expect("sh starts"))
    }

    #[test]
    fn output_and_errors_arrive_in_the_order_written() {
        let (lines, status) = lines_of("echo one; echo two >&2; echo three; exit 3");
        assert_eq!(lines, ["one", "two", "three"]);
        assert_eq!(describe(status), "exit status 3");
    }

    #[test]
    fn a_line_without_end_and_bytes_that_are_no_text_arrive_too() {
        let (lines, _) = lines_of(r"printf 'a\377b\nlast'");
        assert_eq!(lines, ["a\u{fffd}b", "last"]);
    }

    #[test]
    fn a_process_left_behind_does_not_keep_us() {
        let (lines, status) = lines_of("sleep 5 & echo done");
        assert_eq!(lines, ["done"]);
        assert!(status.success());
    }

    #[test]
    fn a_stop_ends_the_whole_group() {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let mut command = shell("sleep 100 & sleep 100");
        command.stdout(writer).process_group(0);
        let mut child = command.spawn().expect("sh starts");
        drop(command);
        signal_group(&child, SIGTERM);
        assert_eq!(describe(child.wait().expect("a child")), "killed by signal 15");
        // The pipe ends only when the last process of the group is gone.
        assert_eq!(read_lines(reader).recv_timeout(GRACE), Err(RecvTimeoutError::Disconnected));
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run(Command::new("no-such-program-here"), |_| {}).expect_err("does not exist");
        assert!(format!("{error:#}").contains("no-such-program-here"));
    }
}
