//! A TAP device: frames in user space on this side, a Linux network interface on the other.
//!
//! Opened without `IFF_VNET_HDR`, so that every frame is an ordinary one with a checksum computed by the kernel, at most
//! MTU long; non-blocking, because the simulation never waits for the wire. Not persistent: the interface disappears with
//! the last handle, also when the process is killed.
//!
//! This file holds the only `unsafe` of the network part: two system calls that the standard library does not offer.
#![allow(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use thiserror::Error;

/// The device that makes TAPs.
pub const TUN_DEVICE: &str = "/dev/net/tun";

/// What can go wrong with a TAP.
#[derive(Debug, Error)]
pub enum TapError {
    /// `/dev/net/tun` is missing or may not be opened.
    #[error("cannot open {TUN_DEVICE}: {0}")]
    Open(#[source] io::Error),
    /// The interface was refused.
    #[error("cannot create TAP {name}: {source}")]
    Create {
        /// Wanted name.
        name: String,
        /// Reason.
        #[source]
        source: io::Error,
    },
    /// The interface is gone or down.
    #[error("TAP {name} is unplugged: {source}")]
    Unplugged {
        /// Its name.
        name: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// An open TAP.
#[derive(Debug)]
pub struct Tap {
    file: File,
    name: String,
}

impl Tap {
    /// Create an interface in the network namespace of this process. A `%d` in `name` is replaced by the kernel.
    ///
    /// # Errors
    /// [`TapError::Open`] without the right or the device; [`TapError::Create`] when the name is taken or too long.
    pub fn create(name: &str) -> Result<Self, TapError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
            .open(TUN_DEVICE)
            .map_err(TapError::Open)?;
        let name = set_interface(&file, name)
            .map_err(|source| TapError::Create { name: name.to_owned(), source })?;
        Ok(Self { file, name })
    }

    /// Name that the interface got when it was created.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The next frame that the kernel sent, if there is one: its length in `buffer`, which should hold the MTU and a header.
    ///
    /// # Errors
    /// [`TapError::Unplugged`].
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, TapError> {
        match self.file.read(buffer) {
            Ok(0) => Ok(None),
            Ok(n) => Ok(Some(n)),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
            Err(source) => Err(TapError::Unplugged { name: self.name.clone(), source }),
        }
    }

    /// Give a frame to the kernel. False when it was not taken now (queue full) or is no frame at all (too short or too
    /// long): a wire loses such frames, and the caller counts them.
    ///
    /// # Errors
    /// [`TapError::Unplugged`].
    pub fn write(&mut self, frame: &[u8]) -> Result<bool, TapError> {
        match self.file.write(frame) {
            Ok(n) => Ok(n == frame.len()),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(false),
            Err(e) if matches!(e.raw_os_error(), Some(libc::EINVAL | libc::ENOBUFS | libc::ENOMEM)) => {
                Ok(false)
            }
            Err(source) => Err(TapError::Unplugged { name: self.name.clone(), source }),
        }
    }

    /// Wait until a frame can be read or the time is over. True when there is something (a frame or an error) to read.
    pub fn wait_readable(&self, timeout: Duration) -> bool {
        let mut item = libc::pollfd { fd: self.file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let millis = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: `item` is one initialised pollfd that lives and is not touched otherwise during the call; the
        // descriptor is open because `self.file` is borrowed.
        let n = unsafe { libc::poll(&mut item, 1, millis) };
        n > 0
    }
}

/// `TUNSETIFF`: attach the open file to a new interface; its final name.
fn set_interface(file: &File, name: &str) -> io::Result<String> {
    // SAFETY: `ifreq` is plain data of the C library; all zero bytes are a valid value of every member.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() || name.contains('\0') {
        return Err(io::Error::new(ErrorKind::InvalidInput, "interface name too long"));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char; // same bits
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short; // fits, by definition
                                                                                      // SAFETY: TUNSETIFF reads and writes one `ifreq`, which `request` is; it lives during the call, is not aliased, and its
                                                                                      // name is terminated (the array was zeroed and the name is shorter). The descriptor is open.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF as _, &mut request) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    let bytes = request.ifr_name.iter().take_while(|&&c| c != 0).map(|&c| c as u8); // same bits
    Ok(String::from_utf8_lossy(&bytes.collect::<Vec<_>>()).into_owned())
}
