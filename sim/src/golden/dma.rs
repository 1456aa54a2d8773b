//! The model's way to host memory: a small trait, and a port that counts transfers.
//!
//! Writes are durable at once. [`DmaPort::die_after_writes`] cuts the device off after a number of
//! writes: what was written before is in memory, nothing after it is (law L2 is tested with that).

use crate::host_mem;
use thiserror::Error;

/// The bus refused a transfer, or the device is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the bus answered with an error")]
pub struct DmaError;

/// Host memory as the device sees it.
pub trait Dma {
    /// Fills `out` from I/O virtual address `iova`.
    ///
    /// # Errors
    /// [`DmaError`] if any byte is outside what the device may read.
    fn read(&mut self, iova: u64, out: &mut [u8]) -> Result<(), DmaError>;

    /// Stores `data` at I/O virtual address `iova`.
    ///
    /// # Errors
    /// [`DmaError`] if any byte is outside what the device may write; then nothing was stored.
    fn write(&mut self, iova: u64, data: &[u8]) -> Result<(), DmaError>;
}

impl Dma for host_mem::DmaPort {
    fn read(&mut self, iova: u64, out: &mut [u8]) -> Result<(), DmaError> {
        host_mem::DmaPort::read(self, iova, out).map_err(|_| DmaError)
    }

    fn write(&mut self, iova: u64, data: &[u8]) -> Result<(), DmaError> {
        host_mem::DmaPort::write(self, iova, data).map_err(|_| DmaError)
    }
}

/// A [`Dma`] with counters and a fuse.
#[derive(Debug)]
pub(super) struct DmaPort<D> {
    dma: D,
    /// Transfers and bytes so far.
    pub reads: u64,
    pub writes: u64,
    pub read_bytes: u64,
    pub write_bytes: u64,
    /// An error response was seen; sticky until reset (`STATUS.dma_error`).
    pub has_failed: bool,
    writes_left: Option<u64>,
    is_dead: bool,
}

impl<D: Dma> DmaPort<D> {
    pub fn new(dma: D) -> Self {
        Self {
            dma,
            reads: 0,
            writes: 0,
            read_bytes: 0,
            write_bytes: 0,
            has_failed: false,
            writes_left: None,
            is_dead: false,
        }
    }

    /// The device dies when it attempts write number `writes` + 1 from now.
    pub fn die_after_writes(&mut self, writes: u64) {
        self.writes_left = Some(writes);
    }

    pub fn kill(&mut self) {
        self.is_dead = true;
    }

    pub fn is_dead(&self) -> bool {
        self.is_dead
    }

    pub fn read(&mut self, iova: u64, out: &mut [u8]) -> Result<(), DmaError> {
        if self.is_dead {
            return Err(DmaError);
        }
        self.reads += 1;
        self.read_bytes += out.len() as u64;
        let result = self.dma.read(iova, out);
        self.has_failed |= result.is_err();
        result
    }

    pub fn write(&mut self, iova: u64, data: &[u8]) -> Result<(), DmaError> {
        match &mut self.writes_left {
            Some(0) => self.is_dead = true,
            Some(left) => *left -= 1,
            None => {}
        }
        if self.is_dead {
            return Err(DmaError);
        }
        self.writes += 1;
        self.write_bytes += data.len() as u64;
        let result = self.dma.write(iova, data);
        self.has_failed |= result.is_err();
        result
    }

    /// Reads a record of `N` bytes.
    pub fn record<const N: usize>(&mut self, iova: u64) -> Result<[u8; N], DmaError> {
        let mut bytes = [0; N];
        self.read(iova, &mut bytes)?;
        Ok(bytes)
    }
}
