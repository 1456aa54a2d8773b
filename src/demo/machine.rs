//! The machine that driver and host stack run on, where that is not this process: what it is told, and what it says.

use anyhow::{Context, Result};
use chimney_check::job::{Job, Said};
use rustix::process::{kill_process_group, Pid, Signal};
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, PipeReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::time::{Duration, Instant};

/// How long it may take to end when it is told to.
const GRACE: Duration = Duration::from_secs(5);
/// Last lines that are told when it did not do its job.
const LAST_LINES: usize = 12;

/// A process with everything below it; it does not outlive this.
pub struct Machine {
    process: Child,
    lines: Receiver<String>,
    log: File,
    last: Vec<String>,
    /// Nobody is left who could say something.
    is_silent: bool,
    /// When it was found to have ended.
    ended: Option<Instant>,
}

impl Machine {
    /// Starts `command`, with the NIC's socket and the job as its last arguments. All that it says is written to `log`, too.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(command: &[OsString], socket: &Path, job: &Job, log: &Path) -> Result<Self> {
        let (program, args) = command.split_first().context("no command for a machine")?;
        let (reader, writer) = std::io::pipe().context("a pipe")?;
        let log = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = Command::new(program);
        command.args(args).arg("--socket").arg(socket).arg("--job").arg(job.to_string());
        command.stdin(Stdio::piped()).stdout(writer.try_clone()?).stderr(writer);
        // A signal from the terminal is for us; what is below the process ends with it.
        command.process_group(0);
        let process =
            command.spawn().with_context(|| format!("cannot start {}", Path::new(program).display()))?;
        Ok(Self { process, lines: read_lines(reader), log, last: Vec::new(), is_silent: false, ended: None })
    }

    /// What it has said about the job since the last call, if anything.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub fn said(&mut self) -> Result<Option<Said>> {
        loop {
            let line = match self.lines.try_recv() {
                Ok(line) => line,
                Err(TryRecvError::Empty) => return Ok(None),
                Err(TryRecvError::Disconnected) => {
                    self.is_silent = true;
                    return Ok(None);
                }
            };
            writeln!(self.log, "{line}").context("the log of the machine")?;
            if let Some(said) = Said::parse(&line) {
                return Ok(Some(said));
            }
            self.last.push(line);
            if self.last.len() > LAST_LINES {
                self.last.remove(0);
            }
        }
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When it does not listen any more.
    pub fn go_on(&mut self) -> Result<()> {
        let mut pipe = self.process.stdin.as_ref().context("the machine does not listen")?;
        pipe.write_all(b"\n").context("the machine does not listen")
    }

    /// How it ended, if it has and all that it said was read. What it left behind may keep its output open, but not us.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn has_ended(&mut self) -> Result<Option<ExitStatus>> {
        let Some(status) = self.process.try_wait().context("the machine")? else { return Ok(None) };
        let since = *self.ended.get_or_insert_with(Instant::now);
        Ok((self.is_silent || since.elapsed() > GRACE).then_some(status))
    }

    /// What it said last beside the job, in one line.
    pub fn last_words(&self) -> String {
        let words: Vec<&str> =
            self.last.iter().map(|line| line.trim()).filter(|line| !line.is_empty()).collect();
        words.join(" | ")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // As long as it was not waited for nobody else has its number.
        let Some(group) = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw) else { return };
        let _ = kill_process_group(group, Signal::TERM);
        let start = Instant::now();
        while matches!(self.process.try_wait(), Ok(None)) && start.elapsed() < GRACE {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.process.wait();
    }
}

fn read_lines(reader: PipeReader) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    // Ends with the last process that has the other end.
    std::thread::spawn(move || {
        let (mut reader, mut bytes) = (BufReader::new(reader), Vec::new());
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

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(script: &str) -> Machine {
        let log = std::env::temp_dir().join(format!("chimney-{}-machine.log", std::process::id()));
        let command = ["sh", "-c", script].map(OsString::from);
        Machine::start(&command, Path::new("nic.sock"), &Job::default(), &log).expect("sh starts")
    }

    fn wait(machine: &mut Machine) -> Option<Said> {
        let start = Instant::now();
        loop {
            let said = machine.said().expect("a log");
            if said.is_some() || start.elapsed() > GRACE {
                return said;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn it_is_told_the_job_and_waits_to_go_on() {
        let mut machine =
            machine(r#"echo "$0 $1 $2"; echo 'JOB "ready"'; read x; echo 'JOB "transferred"'; sleep 60"#);
        assert_eq!(wait(&mut machine), Some(Said::Ready));
        assert_eq!(machine.last_words(), "--socket nic.sock --job");
        assert_eq!(machine.said().expect("a log"), None);
        machine.go_on().expect("it listens");
        assert_eq!(wait(&mut machine), Some(Said::Transferred));
    }

    #[test]
    fn what_it_said_is_heard_before_its_end() {
        let mut machine = machine(r#"echo 'JOB "ready"'; echo 'JOB "transferred"'"#);
        while matches!(machine.process.try_wait(), Ok(None)) {
            std::thread::yield_now();
        }
        assert_eq!(machine.has_ended().expect("a child"), None);
        assert_eq!((wait(&mut machine), wait(&mut machine)), (Some(Said::Ready), Some(Said::Transferred)));
        assert_eq!(wait_for_end(&mut machine), Some(0));
    }

    fn wait_for_end(machine: &mut Machine) -> Option<i32> {
        let start = Instant::now();
        loop {
            assert_eq!(machine.said().expect("a log"), None);
            if let Some(status) = machine.has_ended().expect("a child") {
                return status.code();
            }
            assert!(start.elapsed() < 2 * GRACE, "it does not end");
        }
    }

    #[test]
    fn everything_below_it_ends_with_it() {
        let mut machine = machine(r#"sleep 60 & echo $!; echo 'JOB "ready"'; wait"#);
        assert_eq!(wait(&mut machine), Some(Said::Ready));
        let below = format!("/proc/{}/cmdline", machine.last_words());
        assert!(Path::new(&below).exists());
        drop(machine);
        let start = Instant::now();
        // Somebody else may have to wait for it; then its command line is empty.
        while std::fs::read(&below).is_ok_and(|line| !line.is_empty()) {
            assert!(start.elapsed() < GRACE, "it goes on");
            std::thread::yield_now();
        }
    }
}
