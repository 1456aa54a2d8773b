//! The PCI function around a NIC: config space, BARs, bus master, reset and the interrupt vector.
//!
//! ```text
//!   config space --> bus master --> host memory: DMA at all?    interrupt line --> vector: whom to notify, when
//!                --> FLR --------> stop DMA, reset the NIC
//!   BAR0 ----------> registers and doorbells, words of 32 bits
//! ```
//! The device itself is lent for each call: who runs it also moves its frames. The in-process transport and the vfio-user
//! server are two ways to this same function.

mod config;

use crate::device::{Device, Limit};
use crate::host_mem::HostMemory;
use chimney_abi::regs;
use chimney_vfio_user::pci;
use config::ConfigSpace;

/// Looks at a device that stops or resets.
const RESET_LOOKS: u32 = 1000;
/// Clock cycles between them. Cycles and not microseconds: a NIC that is simulated in real time has less than one in each, and
/// needs thousands for what is under way in the middle of a transfer.
const RESET_STEP_CYCLES: u64 = 64;

/// An access that the function does not have: outside, or of another length than a register's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such place in the function")]
pub struct BadAccess;

/// What passed the function's boundary, since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FunctionCounters {
    /// Words read from BAR0.
    pub mmio_reads: u64,
    /// Words written to BAR0, doorbells included.
    pub mmio_writes: u64,
    /// Send doorbells that were rung: their second words.
    pub send_doorbells: u64,
    /// Receive doorbells.
    pub receive_doorbells: u64,
    /// Interrupts signalled.
    pub interrupts: u64,
    /// Resets.
    pub resets: u64,
    /// Resets in which the NIC did not come to rest, so that its reset pin was used: transfers under way were cut off.
    pub forced_resets: u64,
    /// Accesses to places that are not there.
    pub bad_accesses: u64,
}

/// The interrupt line becomes messages: one for each time it rises, and one more if it is still up when the driver
/// clears causes, because then there is no edge.
#[derive(Clone, Copy, Debug)]
struct Vector {
    is_armed: bool,
}

/// A PCI function. See the module page.
#[derive(Debug)]
pub struct Function {
    config: ConfigSpace,
    /// MSI-X table and pending bits: whoever emulates the bus has its own, so nothing here reads them.
    msix: Vec<u8>,
    vector: Vector,
    memory: HostMemory,
    is_enabled: bool,
    counters: FunctionCounters,
}

impl Function {
    /// A function after power-on, whose device reaches `memory`; it is no bus master, so there is no DMA yet.
    pub fn new(memory: HostMemory) -> Self {
        memory.set_master(false);
        Self {
            config: ConfigSpace::new(),
            msix: vec![0; pci::MSIX_BAR_BYTES as usize],
            vector: Vector { is_armed: true },
            memory,
            is_enabled: false,
            counters: FunctionCounters::default(),
        }
    }

    /// Counters.
    pub fn counters(&self) -> FunctionCounters {
        self.counters
    }

    /// Whether the NIC was enabled (`CTRL`): the wire of one that is not is unplugged.
    pub fn is_enabled(&self) -> bool {
        self.is_enabled
    }

    /// Reads config space.
    ///
    /// # Errors
    /// [`BadAccess`].
    pub fn config_read(&mut self, offset: u64, out: &mut [u8]) -> Result<(), BadAccess> {
        let read = self.config.read(offset, out);
        self.count_bad(read)
    }

    /// Writes config space; may reset the function.
    ///
    /// # Errors
    /// [`BadAccess`].
    pub fn config_write(
        &mut self,
        device: &mut impl Device,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), BadAccess> {
        let wants_reset = self.config.write(offset, bytes);
        let wants_reset = self.count_bad(wants_reset)?;
        if wants_reset {
            self.reset(device);
        }
        self.memory.set_master(self.config.is_master());
        Ok(())
    }

    /// Reads a BAR: of BAR0 one word or two, or a part of a word.
    ///
    /// # Errors
    /// [`BadAccess`].
    pub fn bar_read(
        &mut self,
        device: &mut impl Device,
        bar: u32,
        offset: u64,
        out: &mut [u8],
    ) -> Result<(), BadAccess> {
        let at = place(bar, offset, out.len());
        let at = self.count_bad(at)?;
        if bar == pci::MSIX_BAR {
            out.copy_from_slice(&self.msix[at..at + out.len()]);
            return Ok(());
        }
        for piece in words(at, out.len()) {
            self.counters.mmio_reads += 1;
            let word = device.mmio_read(piece.word).to_le_bytes();
            out[piece.from..][..piece.len].copy_from_slice(&word[piece.skip..][..piece.len]);
        }
        Ok(())
    }

    /// Writes a BAR: of BAR0 one word or two.
    ///
    /// # Errors
    /// [`BadAccess`].
    pub fn bar_write(
        &mut self,
        device: &mut impl Device,
        bar: u32,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), BadAccess> {
        let at = place(bar, offset, bytes.len()).and_then(|at| {
            let is_whole = bar == pci::MSIX_BAR || bytes.len() >= 4;
            is_whole.then_some(at).ok_or(BadAccess)
        });
        let at = self.count_bad(at)?;
        if bar == pci::MSIX_BAR {
            self.msix[at..at + bytes.len()].copy_from_slice(bytes);
            return Ok(());
        }
        for (piece, word) in words(at, bytes.len()).zip(bytes.chunks_exact(4)) {
            let value = u32::from_le_bytes(word.try_into().expect("four bytes"));
            self.register_write(device, piece.word, value);
        }
        Ok(())
    }

    fn register_write(&mut self, device: &mut impl Device, offset: u32, value: u32) {
        self.counters.mmio_writes += 1;
        if offset >= regs::DOORBELL_BASE && !offset.is_multiple_of(regs::DOORBELL_RECEIVE) {
            let is_receive = offset % regs::DOORBELL_STRIDE >= regs::DOORBELL_RECEIVE;
            self.counters.receive_doorbells += u64::from(is_receive);
            self.counters.send_doorbells += u64::from(!is_receive);
        }
        device.mmio_write(offset, value);
        if offset == regs::CTRL.offset {
            self.is_enabled = value & 1 != 0;
        } else if offset == regs::RESET.offset && value & 1 != 0 {
            self.is_enabled = false;
        } else if offset == regs::IRQ_STATUS.offset {
            self.vector.is_armed = true;
        }
    }

    /// Resets the function: DMA ends in order if it can, the NIC is as after power-on, it is no bus master.
    pub fn reset(&mut self, device: &mut impl Device) {
        self.counters.resets += 1;
        device.mmio_write(regs::CTRL.offset, 0);
        let is_idle = wait(device, regs::STATUS.offset, |status| status & 1 != 0);
        device.mmio_write(regs::RESET.offset, 1);
        let is_done = wait(device, regs::RESET.offset, |reset| reset == 0);
        if !is_idle || !is_done {
            self.counters.forced_resets += 1;
            device.power_on_reset();
        }
        self.is_enabled = false;
        self.config = ConfigSpace::new();
        self.msix.fill(0);
        self.vector.is_armed = true;
        self.memory.set_master(false);
    }

    /// Whether an interrupt is to be signalled now; `line`: level of the NIC's interrupt line. One that a function which is no
    /// bus master may not signal waits until it is one.
    pub fn take_interrupt(&mut self, line: bool) -> bool {
        self.vector.is_armed |= !line;
        let now = line && self.vector.is_armed && self.memory.is_master();
        if now {
            self.vector.is_armed = false;
            self.counters.interrupts += 1;
        }
        now
    }

    fn count_bad<T>(&mut self, result: Result<T, BadAccess>) -> Result<T, BadAccess> {
        self.counters.bad_accesses += u64::from(result.is_err());
        result
    }
}

fn wait(device: &mut impl Device, register: u32, done: impl Fn(u32) -> bool) -> bool {
    for _ in 0..RESET_LOOKS {
        if done(device.mmio_read(register)) {
            return true;
        }
        device.advance(Limit::cycles(RESET_STEP_CYCLES));
    }
    false
}

/// The offset of an access inside its BAR, if it is all inside, aligned and as long as a bus makes it.
fn place(bar: u32, offset: u64, len: usize) -> Result<usize, BadAccess> {
    let at = usize::try_from(offset).map_err(|_| BadAccess)?;
    let end = at.checked_add(len).ok_or(BadAccess)?;
    let is_inside = end <= pci::bar_bytes(bar) as usize;
    let is_natural = matches!(len, 1 | 2 | 4 | 8) && at.is_multiple_of(len);
    (is_inside && is_natural).then_some(at).ok_or(BadAccess)
}

/// A piece of an access that lies in one register.
struct Piece {
    /// Offset of the register, bytes.
    word: u32,
    /// First byte in it.
    skip: usize,
    /// First byte in the access.
    from: usize,
    /// Length, bytes.
    len: usize,
}

fn words(at: usize, len: usize) -> impl Iterator<Item = Piece> {
    let skip = at % 4;
    // `as`: inside a BAR.
    let first = (at - skip) as u32;
    (0..len.div_ceil(4)).map(move |i| Piece {
        word: first + 4 * i as u32,
        skip,
        from: 4 * i,
        len: len.min(4),
    })
}

#[cfg(test)]
mod tests;
