//! What the device's side counts, asked past the device: over a socket, or where the device is a card of a guest over a serial port
//! that ends in that socket.
//!
//! ```text
//!   asker --> a line end --> device
//!   asker <-- {"mmio_reads":455,"mmio_writes":4001, ...} and a line end
//! ```
//! No register is read for it, so that asking does not change what is counted.

use anyhow::{ensure, Context, Result};
use serde::Deserialize;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long an answer may take on a busy machine. At a serial port its settings say that.
const LIMIT: Duration = Duration::from_secs(20);
/// Longest answer, bytes.
const MOST_BYTES: u64 = 4096;

/// What crossed the boundary of the device so far, as its own side counted it.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct Crossings {
    /// Words read from BAR0.
    pub mmio_reads: u64,
    /// Words written to BAR0, doorbells included.
    pub mmio_writes: u64,
    /// Send doorbells rung.
    pub send_doorbells: u64,
    /// Receive doorbells rung.
    pub receive_doorbells: u64,
    /// Interrupts signalled.
    pub interrupts: u64,
    /// DMA refused.
    pub dma_faults: u64,
}

/// Somebody on the device's side who can be asked.
#[derive(Debug)]
pub struct Counters(BufReader<File>);

impl Counters {
    /// The one at `path`: a socket (`chimney device --counters PATH`), or a serial port that ends in one, set to `raw -echo` and a time
    /// limit.
    ///
    /// # Errors
    /// When nobody is there.
    pub fn open(path: &Path) -> Result<Self> {
        let open = || -> std::io::Result<File> {
            if !std::fs::metadata(path)?.file_type().is_socket() {
                return File::options().read(true).write(true).open(path);
            }
            let socket = UnixStream::connect(path)?;
            socket.set_read_timeout(Some(LIMIT))?;
            Ok(OwnedFd::from(socket).into())
        };
        let file = open().with_context(|| format!("the device's counters at {}", path.display()))?;
        Ok(Self(BufReader::new(file)))
    }

    /// What it counted so far.
    ///
    /// # Errors
    /// When it does not answer, or not with that.
    pub fn ask(&mut self) -> Result<Crossings> {
        self.0.get_mut().write_all(b"\n").context("asking the device for its counters")?;
        let mut line = String::new();
        let read = self.0.by_ref().take(MOST_BYTES).read_line(&mut line);
        read.context("the device's counters")?;
        ensure!(line.ends_with('\n'), "the device does not say its counters: '{line}'");
        serde_json::from_str(&line).with_context(|| format!("the device's counters: '{}'", line.trim_end()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    /// What is made of the answers to two questions.
    fn ask(name: &str, answers: &'static [u8]) -> [Result<Crossings>; 2] {
        let path = std::env::temp_dir().join(format!("chimney-{}-{name}", std::process::id()));
        let listener = UnixListener::bind(&path).expect("a socket");
        let mut counters = Counters::open(&path).expect("somebody");
        let (mut other, _) = listener.accept().expect("an asker");
        other.write_all(answers).expect("an asker");
        other.shutdown(std::net::Shutdown::Write).expect("a socket");
        let result = [counters.ask(), counters.ask()];
        let mut asked = [0; 2];
        other.read_exact(&mut asked).expect("two questions");
        std::fs::remove_file(path).expect("a socket");
        assert_eq!(&asked, b"\n\n");
        result
    }

    const ANSWER: &[u8] = br#"{"client":1,"mmio_reads":1,"mmio_writes":2,"send_doorbells":3,"receive_doorbells":4,"interrupts":5,"dma_faults":6}
{"mmio_reads":1}
"#;

    #[test]
    fn an_answer_is_a_line_with_all_of_it() {
        let [first, second] = ask("counters", ANSWER);
        let all = Crossings {
            mmio_reads: 1,
            mmio_writes: 2,
            send_doorbells: 3,
            receive_doorbells: 4,
            interrupts: 5,
            dma_faults: 6,
        };
        assert_eq!(first.expect("an answer"), all);
        assert!(second.expect_err("half of it").to_string().contains("mmio_reads"));
    }

    #[test]
    fn no_answer_is_an_error() {
        let [first, second] = ask("counters-silent", b"{\"mmio_reads\"");
        assert!(first.expect_err("cut off").to_string().contains("does not say"));
        assert!(second.is_err());
        assert!(Counters::open(Path::new("/nowhere")).is_err());
    }
}
