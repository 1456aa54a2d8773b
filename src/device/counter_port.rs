//! A socket where the device's own counters can be asked for while it works: no register is read for it.

use anyhow::{Context, Result};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// A socket with one asker at a time. Each line it writes is a question, and is answered with one line.
#[derive(Debug)]
pub struct CounterPort {
    listener: UnixListener,
    path: PathBuf,
    asker: Option<UnixStream>,
}

impl CounterPort {
    /// Listens at `path`.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn listen(path: &Path) -> Result<Self> {
        let listener = UnixListener::bind(path)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .with_context(|| format!("cannot make the socket for counters {}", path.display()))?;
        Ok(Self { listener, path: path.to_owned(), asker: None })
    }

    /// Answers what was asked with what `answer` says. Who does not read answers is hung up on.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn poll(&mut self, answer: impl Fn() -> Result<String>) -> Result<()> {
        let Some(asker) = &mut self.asker else {
            let accepted = self.listener.accept().map(|(asker, _)| asker);
            self.asker = accepted.ok().filter(|asker| asker.set_nonblocking(true).is_ok());
            return Ok(());
        };
        let mut bytes = [0; 64];
        let count = match asker.read(&mut bytes) {
            Ok(0) => {
                self.asker = None;
                return Ok(());
            }
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(())
            }
            Err(_) => {
                self.asker = None;
                return Ok(());
            }
        };
        for _ in bytes[..count].iter().filter(|byte| **byte == b'\n') {
            let line = answer()? + "\n";
            if !asker.write(line.as_bytes()).is_ok_and(|written| written == line.len()) {
                self.asker = None;
                break;
            }
        }
        Ok(())
    }
}

impl Drop for CounterPort {
    fn drop(&mut self) {
        // Who finds no socket knows that there is nobody to be asked.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(asker: &mut UnixStream, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        asker.read_exact(&mut bytes).expect("an answer");
        bytes
    }

    #[test]
    fn each_line_is_answered_and_the_next_asker_is_heard() {
        let path = std::env::temp_dir().join(format!("chimney-{}-counter-port", std::process::id()));
        let mut port = CounterPort::listen(&path).expect("a socket");
        for _ in 0..2 {
            let mut asker = UnixStream::connect(&path).expect("somebody listens");
            asker.write_all(b"\n?\n").expect("room");
            for _ in 0..4 {
                port.poll(|| Ok("{}".into())).expect("an answer");
            }
            assert_eq!(read(&mut asker, 6), b"{}\n{}\n");
            drop(asker);
            port.poll(|| Ok(String::new())).expect("nothing to say");
            assert!(port.asker.is_none());
        }
        drop(port);
        assert!(!path.exists());
    }

    #[test]
    fn who_asks_and_does_not_listen_is_hung_up_on() {
        let path = std::env::temp_dir().join(format!("chimney-{}-counter-deaf", std::process::id()));
        let mut port = CounterPort::listen(&path).expect("a socket");
        let mut asker = UnixStream::connect(&path).expect("somebody listens");
        port.poll(|| Ok(String::new())).expect("an asker");
        let long = "x".repeat(1 << 16);
        while port.asker.is_some() {
            // The last question may find nobody.
            let _ = asker.write(b"\n");
            port.poll(|| Ok(long.clone())).expect("no answer is needed");
        }
    }
}
