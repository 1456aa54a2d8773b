//! Messages with file descriptors over a UNIX socket, for either end. Nothing here blocks but the two waits.
//!
//! A message is taken out byte for byte as long as its header says, so its descriptors are those that came with
//! its own bytes, and a command that is refused does not disturb the next one. A length that no message can have ends the
//! connection: there is no telling where the next message begins.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{recvmsg, sendmsg, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use thiserror::Error;

use crate::message::{Header, HEADER_BYTES, MAX_FDS, MAX_MESSAGE_BYTES};

/// Why a connection cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ChannelError {
    /// The other end is gone.
    #[error("the other end closed the connection")]
    Closed,
    /// A length that no message has.
    #[error("a message of {size} bytes")]
    BadSize {
        /// What its header says.
        size: u32,
    },
    /// More descriptors in one message than allowed.
    #[error("more than {MAX_FDS} file descriptors in one message")]
    TooManyFds,
    /// The kernel refused.
    #[error("the socket failed: {0}")]
    System(Errno),
}

/// What came.
#[derive(Debug)]
pub struct Message {
    /// Its header.
    pub header: Header,
    /// What follows the header.
    pub payload: Vec<u8>,
    /// Descriptors that came with it.
    pub fds: Vec<OwnedFd>,
}

/// One end of a connection.
#[derive(Debug)]
pub struct Channel {
    socket: UnixStream,
    /// The message that is coming, as far as it came.
    taken: Vec<u8>,
    fds: Vec<OwnedFd>,
    /// Bytes that the socket did not take yet, and how many of them it took since.
    unsent: Vec<u8>,
    sent: usize,
}

impl Channel {
    /// A connection over `socket`, which becomes non-blocking.
    ///
    /// # Errors
    /// [`ChannelError::System`].
    pub fn new(socket: UnixStream) -> Result<Self, ChannelError> {
        let nonblocking = socket.set_nonblocking(true);
        nonblocking.map_err(|e| ChannelError::System(Errno::from_io_error(&e).unwrap_or(Errno::INVAL)))?;
        Ok(Self { socket, taken: Vec::new(), fds: Vec::new(), unsent: Vec::new(), sent: 0 })
    }

    /// The next message, if it has come completely.
    ///
    /// # Errors
    /// [`ChannelError`]; the connection is of no use afterwards.
    pub fn receive(&mut self) -> Result<Option<Message>, ChannelError> {
        loop {
            let wanted = self.wanted()?;
            if self.taken.len() >= HEADER_BYTES && self.taken.len() == wanted {
                let taken = std::mem::take(&mut self.taken);
                let header = Header::from_bytes(&taken).expect("a message has a header");
                let payload = taken[HEADER_BYTES..].to_vec();
                return Ok(Some(Message { header, payload, fds: std::mem::take(&mut self.fds) }));
            }
            if !self.fill(wanted)? {
                return Ok(None);
            }
        }
    }

    /// How many bytes of the message can be asked for now: its header, then all of it.
    fn wanted(&self) -> Result<usize, ChannelError> {
        let Some(header) = Header::from_bytes(&self.taken) else { return Ok(HEADER_BYTES) };
        match usize::try_from(header.size) {
            Ok(size) if (HEADER_BYTES..=MAX_MESSAGE_BYTES).contains(&size) => Ok(size),
            _ => Err(ChannelError::BadSize { size: header.size }),
        }
    }

    /// Takes bytes up to `wanted`; false if there are none now.
    fn fill(&mut self, wanted: usize) -> Result<bool, ChannelError> {
        let mut piece = [0u8; 4096];
        let len = piece.len().min(wanted - self.taken.len());
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let result = recvmsg(&self.socket, &mut [IoSliceMut::new(&mut piece[..len])], &mut control, flags);
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                self.fds.extend(fds);
            }
        }
        let n = match result {
            Ok(got) if got.flags.contains(ReturnFlags::CTRUNC) => return Err(ChannelError::TooManyFds),
            Ok(got) if got.bytes == 0 => return Err(ChannelError::Closed),
            Ok(got) => got.bytes,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(false),
            Err(Errno::CONNRESET) => return Err(ChannelError::Closed),
            Err(errno) => return Err(ChannelError::System(errno)),
        };
        if self.fds.len() > MAX_FDS {
            return Err(ChannelError::TooManyFds);
        }
        self.taken.extend_from_slice(&piece[..n]);
        Ok(true)
    }

    /// Sends a message as far as the socket takes it; the rest goes with [`Channel::flush`]. False if nothing of it was
    /// taken: earlier bytes still wait, or the socket is full. Then it is to be sent again later.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub fn send(&mut self, message: &[u8], fds: &[BorrowedFd<'_>]) -> Result<bool, ChannelError> {
        self.flush()?;
        if self.has_unsent() {
            return Ok(false);
        }
        // Descriptors go with the first byte.
        let n = self.push(message, fds)?;
        if n > 0 {
            self.unsent.extend_from_slice(&message[n..]);
        }
        Ok(n > 0)
    }

    /// Whether bytes wait for the socket.
    pub fn has_unsent(&self) -> bool {
        self.sent < self.unsent.len()
    }

    /// Sends what waits, as far as the socket takes it.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub fn flush(&mut self) -> Result<(), ChannelError> {
        while self.has_unsent() {
            let waiting = std::mem::take(&mut self.unsent);
            let n = self.push(&waiting[self.sent..], &[]);
            self.unsent = waiting;
            match n? {
                0 => return Ok(()),
                n => self.sent += n,
            }
        }
        self.unsent.clear();
        self.sent = 0;
        Ok(())
    }

    fn push(&mut self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<usize, ChannelError> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            let fits = control.push(SendAncillaryMessage::ScmRights(fds));
            assert!(fits, "at most {MAX_FDS} descriptors");
        }
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match sendmsg(&self.socket, &[IoSlice::new(bytes)], &mut control, flags) {
            Ok(n) => Ok(n),
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            Err(Errno::PIPE | Errno::CONNRESET) => Err(ChannelError::Closed),
            Err(errno) => Err(ChannelError::System(errno)),
        }
    }

    /// Waits until something can be received, or until `deadline`. False when it is over.
    ///
    /// # Errors
    /// [`ChannelError::System`].
    pub fn wait_readable(&self, deadline: Instant) -> Result<bool, ChannelError> {
        self.wait(PollFlags::IN, deadline)
    }

    /// As [`Channel::wait_readable`] until something can be sent.
    ///
    /// # Errors
    /// [`ChannelError::System`].
    pub fn wait_writable(&self, deadline: Instant) -> Result<bool, ChannelError> {
        self.wait(PollFlags::OUT, deadline)
    }

    fn wait(&self, flags: PollFlags, deadline: Instant) -> Result<bool, ChannelError> {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut items = [PollFd::new(&self.socket, flags)];
        match poll(&mut items, Some(&timespec(left))) {
            Ok(0) => Ok(Instant::now() < deadline),
            Ok(_) | Err(Errno::INTR) => Ok(true),
            Err(errno) => Err(ChannelError::System(errno)),
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A duration as `poll` wants it.
pub fn timespec(duration: Duration) -> Timespec {
    let tv_sec = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    Timespec { tv_sec, tv_nsec: duration.subsec_nanos().into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{command, message};
    use std::io::Write;

    fn pair() -> (Channel, UnixStream) {
        let (a, b) = UnixStream::pair().unwrap();
        (Channel::new(a).unwrap(), b)
    }

    #[test]
    fn messages_come_out_whole_whatever_pieces_they_come_in() {
        let (mut channel, mut other) = pair();
        let first = message(1, command::REGION_WRITE, 0, &[&[7; 9000]]);
        let second = message(2, command::RESET, 0, &[]);
        let all = [first, second].concat();
        let mut got = Vec::new();
        for piece in all.chunks(100) {
            other.write_all(piece).unwrap();
            while let Some(message) = channel.receive().unwrap() {
                got.push(message);
            }
        }
        assert_eq!(got.len(), 2);
        assert_eq!((got[0].header.id, got[0].payload.as_slice()), (1, [7; 9000].as_slice()));
        assert_eq!((got[1].header.id, got[1].payload.len()), (2, 0));
        drop(other);
        assert_eq!(channel.receive().unwrap_err(), ChannelError::Closed);
    }

    #[test]
    fn descriptors_belong_to_the_message_they_came_with() {
        let (mut channel, other) = pair();
        let mut sender = Channel::new(other).unwrap();
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let both = [reader.as_fd(), writer.as_fd()];
        assert!(sender.send(&message(1, command::DMA_MAP, 0, &[&[1; 32]]), &both).unwrap());
        assert!(sender.send(&message(2, command::RESET, 0, &[]), &[]).unwrap());
        assert!(sender.send(&message(3, command::SET_IRQS, 0, &[&[1; 20]]), &both[1..]).unwrap());
        let counts: Vec<_> =
            std::iter::from_fn(|| channel.receive().unwrap()).map(|m| (m.header.id, m.fds.len())).collect();
        assert_eq!(counts, [(1, 2), (2, 0), (3, 1)]);
    }

    #[test]
    fn lengths_that_no_message_has_end_the_connection() {
        for size in [0, 15, MAX_MESSAGE_BYTES as u32 + 1, u32::MAX] {
            let (mut channel, mut other) = pair();
            other.write_all(&Header { size, ..Header::default() }.to_bytes()).unwrap();
            assert_eq!(channel.receive().unwrap_err(), ChannelError::BadSize { size });
        }
    }

    #[test]
    fn what_the_socket_does_not_take_waits() {
        let (channel, other) = pair();
        let (mut sender, mut receiver) = (channel, Channel::new(other).unwrap());
        let long = message(1, command::REGION_READ, 1, &[&vec![5; MAX_TRANSFER]]);
        assert!(sender.send(&long, &[]).unwrap() && sender.has_unsent());
        assert!(!sender.send(&long, &[]).unwrap(), "one message waits, not two");
        let deadline = Instant::now() + Duration::from_secs(20);
        let got = loop {
            sender.flush().unwrap();
            if let Some(got) = receiver.receive().unwrap() {
                break got;
            }
            assert!(sender.wait_writable(deadline).unwrap());
        };
        assert_eq!(got.payload.len(), MAX_TRANSFER);
        assert!(!sender.has_unsent());
    }

    const MAX_TRANSFER: usize = crate::message::MAX_TRANSFER_BYTES;

    #[test]
    fn waiting_ends_with_the_deadline() {
        let (channel, mut other) = pair();
        assert!(!channel.wait_readable(Instant::now() + Duration::from_millis(5)).unwrap());
        other.write_all(&[1]).unwrap();
        assert!(channel.wait_readable(Instant::now() + Duration::from_secs(20)).unwrap());
    }
}
