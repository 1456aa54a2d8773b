//! A vfio-user server: the NIC as a PCI function for whoever connects to a UNIX socket, one client at a time.
//!
//! ```text
//!   poll: accept -> messages -> replies        notify: interrupt line -> eventfd
//!     session.rs  what each command does         maps.rs    DMA_MAP, DMA_UNMAP -> host memory
//!                                                notify.rs  SET_IRQS -> eventfds
//! ```
//! Nothing here blocks and nothing happens by itself: who owns the device calls [`Server::poll`] and [`Server::notify`] between
//! its runs, so an unmap is complete when it is answered.
//!
//! **The client is not trusted.** What it asks for and may not have gets an error reply with a reason (`errno`) and leaves the
//! stream in order. A message that cannot be one ends the connection. When a connection ends, however it ends, DMA is
//! stopped in order, the function is reset, and all memory and eventfds are given back before the next client is let in.

mod maps;
mod notify;
mod session;

use crate::device::Device;
use crate::host_mem::HostMemory;
use crate::pci::{Function, FunctionCounters};
use chimney_vfio_user::channel::{timespec, Channel, ChannelError};
use rustix::event::{poll, PollFd, PollFlags};
use session::Session;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// Why there is no server.
#[derive(Debug, Error)]
pub enum ServerError {
    /// The socket cannot be made.
    #[error("cannot listen at {path}: {source}")]
    Bind {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another server listens there.
    #[error("another device already listens at {path}")]
    InUse {
        /// Where.
        path: PathBuf,
    },
}

/// What passed, since the server was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerCounters {
    /// At the function's boundary.
    pub function: FunctionCounters,
    /// DMA that was refused: unmapped, read only, or no bus master.
    pub dma_faults: u64,
    /// Commands taken.
    pub messages: u64,
    /// Commands answered with an error.
    pub refused: u64,
    /// Memory mapped.
    pub maps: u64,
    /// Clients served.
    pub clients: u64,
    /// Clients turned away, because there was one.
    pub turned_away: u64,
    /// Connections ended because no message could be made out.
    pub broken: u64,
}

/// The server. See the module page.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
    memory: HostMemory,
    function: Function,
    session: Option<Session>,
    counters: ServerCounters,
}

impl Server {
    /// Listens at `path`; the device that it will serve reaches `memory`. A socket that a dead server left behind is replaced.
    ///
    /// # Errors
    /// [`ServerError`].
    pub fn bind(path: &Path, memory: HostMemory) -> Result<Self, ServerError> {
        let fail = |source| ServerError::Bind { path: path.to_owned(), source };
        if UnixStream::connect(path).is_ok() {
            return Err(ServerError::InUse { path: path.to_owned() });
        }
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                use std::os::unix::fs::FileTypeExt;
                if !std::fs::symlink_metadata(path).map_err(fail)?.file_type().is_socket() {
                    return Err(fail(error));
                }
                std::fs::remove_file(path).map_err(fail)?;
                UnixListener::bind(path)
            }
            other => other,
        };
        let listener = listener.map_err(fail)?;
        listener.set_nonblocking(true).map_err(fail)?;
        let function = Function::new(memory.clone());
        let counters = ServerCounters::default();
        Ok(Self { listener, path: path.to_owned(), memory, function, session: None, counters })
    }

    /// Whether somebody is connected.
    pub fn has_client(&self) -> bool {
        self.session.is_some()
    }

    /// Whether the client has enabled the NIC; the wire of one that is not is unplugged.
    pub fn is_enabled(&self) -> bool {
        self.function.is_enabled()
    }

    /// Counters.
    pub fn counters(&self) -> ServerCounters {
        let dma_faults = self.memory.violations().0;
        ServerCounters { function: self.function.counters(), dma_faults, ..self.counters }
    }

    /// Takes in clients and messages that came, and answers. True if there was anything.
    pub fn poll(&mut self, device: &mut impl Device) -> bool {
        let any = self.serve(device);
        self.notify(device);
        // Whether there is room for another client is known when the one there is has said its last.
        any || self.accept()
    }

    fn serve(&mut self, device: &mut impl Device) -> bool {
        let Some(session) = &mut self.session else { return false };
        match session.poll(&mut self.function, device, &mut self.counters) {
            Ok(any) => any,
            Err(error) => {
                self.counters.broken += u64::from(error != ChannelError::Closed);
                self.end(device);
                true
            }
        }
    }

    /// Signals the interrupt if there is one. Call it whenever the device ran.
    pub fn notify(&mut self, device: &impl Device) {
        let Some(session) = &self.session else { return };
        if session.has_vector() && self.function.take_interrupt(device.irq()) {
            session.signal();
        }
    }

    /// Tells the client that the device is wanted back (the REQ interrupt). False if it does not listen for that.
    pub fn request_release(&self) -> bool {
        self.session.as_ref().is_some_and(Session::request_release)
    }

    /// Waits until a client or a message comes, or for so long.
    pub fn wait(&self, most: Duration) {
        let listener = PollFd::new(&self.listener, PollFlags::IN);
        let timeout = timespec(most);
        // An interrupted wait is a short one.
        let _ = match &self.session {
            None => poll(&mut [listener], Some(&timeout)),
            Some(session) => {
                let mut flags = PollFlags::IN;
                flags.set(PollFlags::OUT, session.channel().has_unsent());
                let socket = session.channel().as_fd();
                poll(&mut [listener, PollFd::from_borrowed_fd(socket, flags)], Some(&timeout))
            }
        };
    }

    fn accept(&mut self) -> bool {
        let Ok((socket, _)) = self.listener.accept() else { return false };
        if self.session.is_some() {
            self.counters.turned_away += 1; // it sees the end of the connection at once
            return true;
        }
        // A socket that cannot be made non-blocking is of no use.
        let Ok(channel) = Channel::new(socket) else { return false };
        self.counters.clients += 1;
        self.session = Some(Session::new(channel, self.memory.clone()));
        true
    }

    /// The connection is over: DMA stops while memory is still there, then everything is given back.
    fn end(&mut self, device: &mut impl Device) {
        self.function.reset(device);
        self.memory.unmap(0..u64::MAX);
        self.session = None;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Who finds no socket knows that there is no device.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests;
