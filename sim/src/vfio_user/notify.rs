//! Whom to notify: `SET_IRQS`.

use chimney_vfio_user::message::{irq, SetIrqs};
use chimney_vfio_user::pci::VECTORS;
use rustix::fs::{fcntl_getfl, fcntl_setfl, readlink, OFlags};
use rustix::io::{write, Errno};
use std::os::fd::{AsRawFd, OwnedFd};

/// What a link to an eventfd says.
const EVENTFD_LINK: &[u8] = b"anon_inode:[eventfd]";

/// Vectors that an interrupt index has; all have eventfds.
pub(super) fn vectors(index: u32) -> u32 {
    match index {
        irq::MSIX => VECTORS.into(),
        irq::ERROR | irq::REQUEST => 1,
        _ => 0,
    }
}

/// The eventfds of one client.
#[derive(Debug, Default)]
pub(super) struct Notifier {
    /// By index; none has more than one vector.
    fds: [Option<OwnedFd>; irq::COUNT as usize],
}

impl Notifier {
    /// Whether somebody wants to know.
    pub(super) fn is_set(&self, index: u32) -> bool {
        self.fds[index as usize].is_some()
    }

    /// Signals; false if nobody wants to know.
    pub(super) fn signal(&self, index: u32) -> bool {
        let Some(fd) = &self.fds[index as usize] else { return false };
        // It does not block. A counter that is full says that it was signalled before and not read.
        let _ = write(fd, &1u64.to_ne_bytes());
        true
    }

    /// Does what the client wants with an index.
    pub(super) fn set(&mut self, request: SetIrqs, data: &[u8], fds: Vec<OwnedFd>) -> Result<(), i32> {
        let invalid = Err(Errno::INVAL.raw_os_error());
        if request.index >= irq::COUNT || request.flags & irq::ACTION_TRIGGER == 0 {
            return invalid;
        }
        let end = request.start.checked_add(request.count);
        if end.is_none_or(|end| end > vectors(request.index)) {
            return invalid;
        }
        match request.flags & !irq::ACTION_TRIGGER {
            irq::DATA_NONE if request.count == 0 => self.fds[request.index as usize] = None,
            irq::DATA_NONE => drop(self.signal(request.index)),
            irq::DATA_BOOL => match data.first() {
                Some(0) => {}
                Some(_) if request.count == 1 => drop(self.signal(request.index)),
                _ => return invalid,
            },
            irq::DATA_EVENTFD => return self.assign(request, fds),
            _ => return invalid,
        }
        Ok(())
    }

    /// Takes an eventfd, or gives one up: a vector for which no descriptor came.
    fn assign(&mut self, request: SetIrqs, fds: Vec<OwnedFd>) -> Result<(), i32> {
        if fds.len() > request.count as usize {
            return Err(Errno::INVAL.raw_os_error());
        }
        if request.count == 0 {
            return Ok(());
        }
        let fd = fds.into_iter().next();
        if let Some(fd) = &fd {
            check(fd).map_err(Errno::raw_os_error)?;
        }
        self.fds[request.index as usize] = fd;
        Ok(())
    }
}

/// An eventfd, and from now on one that cannot hold us up: a client that lets its counter run full would.
fn check(fd: &OwnedFd) -> Result<(), Errno> {
    let link = readlink(format!("/proc/self/fd/{}", fd.as_raw_fd()), Vec::new())?;
    if link.as_bytes() != EVENTFD_LINK {
        return Err(Errno::INVAL);
    }
    fcntl_setfl(fd, fcntl_getfl(fd)? | OFlags::NONBLOCK)
}
