//! A wire that is a UNIX socket: each frame with its length before it, 32 bits, big-endian; QEMU's `-netdev stream` and passt
//! speak the same.

use anyhow::{Context, Result};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Longest frame: jumbo with room for tags.
const MAX_FRAME_BYTES: usize = 16 * 1024;
/// Length of a frame's length, bytes.
const PREFIX_BYTES: usize = 4;

/// A wire on which one peer at a time listens and talks; frames without a peer are lost.
#[derive(Debug)]
pub struct FrameSocket {
    listener: UnixListener,
    path: PathBuf,
    peer: Option<UnixStream>,
    /// Bytes that came and are no whole frame yet.
    came: Vec<u8>,
    /// The rest of a frame that the socket did not take completely.
    rest: Vec<u8>,
}

impl FrameSocket {
    /// Listens at `path`.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn listen(path: &Path) -> Result<Self> {
        let listener = UnixListener::bind(path)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .with_context(|| format!("cannot make the wire {}", path.display()))?;
        Ok(Self { listener, path: path.to_owned(), peer: None, came: Vec::new(), rest: Vec::new() })
    }

    /// The next frame, if a whole one came: its length in `buffer`.
    pub fn take(&mut self, buffer: &mut [u8]) -> Option<usize> {
        self.accept();
        loop {
            if let Some(len) = self.whole() {
                let n = len.min(buffer.len());
                buffer[..n].copy_from_slice(&self.came[PREFIX_BYTES..PREFIX_BYTES + n]);
                self.came.drain(..PREFIX_BYTES + len);
                return Some(n);
            }
            let mut piece = [0; MAX_FRAME_BYTES];
            match self.peer.as_mut()?.read(&mut piece) {
                Ok(0) => return self.hang_up(),
                Ok(n) => self.came.extend_from_slice(&piece[..n]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                    return None
                }
                Err(_) => return self.hang_up(),
            }
            if self.prefix().is_some_and(|len| len == 0 || len > MAX_FRAME_BYTES) {
                return self.hang_up();
            }
        }
    }

    /// Gives the peer a frame. False if there is none, or it does not take it.
    pub fn give(&mut self, frame: &[u8]) -> bool {
        self.accept();
        let Some(peer) = &mut self.peer else { return false };
        if !self.rest.is_empty() {
            match peer.write(&self.rest) {
                Ok(n) => drop(self.rest.drain(..n)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return self.hang_up().is_some(),
            }
            if !self.rest.is_empty() {
                return false;
            }
        }
        // `as`: a frame is short.
        let bytes = [&(frame.len() as u32).to_be_bytes()[..], frame].concat();
        match peer.write(&bytes) {
            Ok(n) => self.rest.extend_from_slice(&bytes[n..]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(_) => return self.hang_up().is_some(),
        }
        true
    }

    fn prefix(&self) -> Option<usize> {
        let (len, _) = self.came.split_first_chunk()?;
        usize::try_from(u32::from_be_bytes(*len)).ok()
    }

    /// Length of the first frame, if it is all there and has a length that a frame may have.
    fn whole(&self) -> Option<usize> {
        let len = self.prefix().filter(|len| (1..=MAX_FRAME_BYTES).contains(len))?;
        (self.came.len() >= PREFIX_BYTES + len).then_some(len)
    }

    fn accept(&mut self) {
        if self.peer.is_none() {
            let accepted = self.listener.accept().map(|(peer, _)| peer);
            self.peer = accepted.ok().filter(|peer| peer.set_nonblocking(true).is_ok());
        }
    }

    fn hang_up(&mut self) -> Option<usize> {
        self.peer = None;
        self.came.clear();
        self.rest.clear();
        None
    }
}

impl Drop for FrameSocket {
    fn drop(&mut self) {
        // Who finds no socket knows that there is no wire.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(name: &str) -> (FrameSocket, UnixStream) {
        let path = std::env::temp_dir().join(format!("chimney-{}-{name}", std::process::id()));
        let wire = FrameSocket::listen(&path).unwrap();
        (wire, UnixStream::connect(path).unwrap())
    }

    #[test]
    fn frames_go_both_ways_with_their_length() {
        let (mut wire, mut peer) = wire("wire-frames");
        let mut buffer = [0; 2048];
        assert_eq!(wire.take(&mut buffer), None);
        peer.write_all(&[0, 0, 0, 3, 7, 8]).unwrap();
        assert_eq!(wire.take(&mut buffer), None);
        peer.write_all(&[9, 0, 0, 0, 1, 5]).unwrap();
        assert_eq!((wire.take(&mut buffer), &buffer[..3]), (Some(3), &[7, 8, 9][..]));
        assert_eq!((wire.take(&mut buffer), buffer[0]), (Some(1), 5));
        assert!(wire.give(&[1, 2]));
        let mut got = [0; 6];
        peer.read_exact(&mut got).unwrap();
        assert_eq!(got, [0, 0, 0, 2, 1, 2]);
    }

    #[test]
    fn a_peer_that_talks_nonsense_is_hung_up_on_and_the_next_is_heard() {
        let (mut wire, mut peer) = wire("wire-nonsense");
        let mut buffer = [0; 64];
        peer.write_all(&[0xff; 8]).unwrap();
        assert_eq!(wire.take(&mut buffer), None);
        assert_eq!(peer.read(&mut [0; 1]).unwrap_or(0), 0);
        let mut next = UnixStream::connect(&wire.path).unwrap();
        next.write_all(&[0, 0, 0, 1, 4]).unwrap();
        assert_eq!((wire.take(&mut buffer), buffer[0]), (Some(1), 4));
        drop(next);
        while wire.peer.is_some() {
            assert_eq!(wire.take(&mut buffer), None);
        }
        assert!(!wire.give(&[1]), "a frame without a peer is lost");
    }

    #[test]
    fn a_peer_that_does_not_listen_loses_frames_and_never_half_of_one() {
        let (mut wire, mut peer) = wire("wire-full");
        let frame = [3; 1500];
        let taken = (0..2000).filter(|_| wire.give(&frame)).count();
        assert!(taken > 0 && taken < 2000);
        peer.set_nonblocking(true).unwrap();
        let (mut bytes, mut piece, mut last) = (0, [0; 65536], false);
        while let Ok(n) = peer.read(&mut piece) {
            bytes += n;
            last |= wire.give(&frame);
            if bytes > 3000 * 1504 {
                break;
            }
        }
        assert!(last, "it goes on when there is room");
    }
}
