//! One boundary for every device behind the ABI: the golden model and the Verilated RTL.
//!
//! ```text
//!   driver side                              wire side
//!     mmio_read, mmio_write  ->  +--------+  <- rx_frame
//!     irq                    <-  | Device |  -> pop_tx_frame
//!     host memory  <--- DMA ---- +--------+
//!                        advance(limit)
//! ```
//! Nothing happens by itself: a device works only inside [`Device::advance`] (and a clocked one also
//! inside a register access, for as many cycles as its bus needs). Host memory is given to the device when
//! it is made; it is not part of this trait.
//!
//! Time is in microseconds of one clock that device, host stack and link share ([`crate::clock`]). An untimed
//! device takes it from [`Limit::until_us`]; a clocked one makes it, cycle by cycle.

/// How long a device may run. It stops at the first limit that it meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Most clock cycles.
    pub cycles: u64,
    /// Stop when the clock shows this time, microseconds.
    pub until_us: u64,
    /// Stop as soon as a frame came out or the interrupt line rose.
    pub stop_at_output: bool,
}

impl Limit {
    /// Run for a number of cycles.
    #[must_use]
    pub const fn cycles(cycles: u64) -> Limit {
        Limit { cycles, until_us: u64::MAX, stop_at_output: false }
    }

    /// Run until the clock shows a time.
    #[must_use]
    pub const fn until(until_us: u64) -> Limit {
        Limit { cycles: u64::MAX, until_us, stop_at_output: false }
    }

    /// The same limit, but return early when there is something to take away.
    #[must_use]
    pub const fn or_output(self) -> Limit {
        Limit { stop_at_output: true, ..self }
    }
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Advance {
    /// Clock cycles that passed; an untimed device computes them from its register `TIME_INC`.
    pub cycles: u64,
    /// True if a frame came out or the interrupt line rose.
    pub has_output: bool,
}

/// What passed a device's boundary, for reports and for tests of "no register read on a fast path".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceStats {
    /// Clock cycles; 0 for a device without a clock that was only driven by time.
    pub cycles: u64,
    /// Register reads.
    pub mmio_reads: u64,
    /// Register and doorbell writes.
    pub mmio_writes: u64,
    /// DMA read transfers.
    pub dma_reads: u64,
    /// DMA write transfers.
    pub dma_writes: u64,
    /// Bytes read by DMA.
    pub dma_read_bytes: u64,
    /// Bytes written by DMA.
    pub dma_write_bytes: u64,
    /// Frames that came in from the wire.
    pub rx_frames: u64,
    /// Frames that went out to the wire.
    pub tx_frames: u64,
}

/// A NIC behind the ABI of `chimney-abi`.
pub trait Device {
    /// Reads a 32-bit register; `offset` in BAR0, bytes. All ones if the device is gone.
    fn mmio_read(&mut self, offset: u32) -> u32;

    /// Writes a 32-bit register or half of a doorbell.
    fn mmio_write(&mut self, offset: u32, value: u32);

    /// Puts a frame (without FCS) on the wire towards the device. `bad` = the MAC saw an error in it.
    /// The device takes it in when it runs; frames wait in order.
    fn rx_frame(&mut self, frame: &[u8], bad: bool);

    /// Takes the next frame that the device sent, in order.
    fn pop_tx_frame(&mut self) -> Option<Vec<u8>>;

    /// Level of the interrupt line.
    fn irq(&self) -> bool;

    /// The time of the device's clock, microseconds; never goes backwards.
    fn now_us(&self) -> u64;

    /// Lets the device work. The time never goes backwards: a limit in the past runs what is due now.
    fn advance(&mut self, limit: Limit) -> Advance;

    /// The earliest time at which the device has something to do if nothing else happens; `None` if it
    /// does not know (a clocked device) or waits for nothing.
    fn next_deadline(&self) -> Option<u64>;

    /// Boundary counters.
    fn stats(&self) -> DeviceStats;

    /// The reset pin: everything as after power-on, whatever the device was doing; transfers under way are forgotten.
    fn power_on_reset(&mut self);

    /// The device is pulled out, or its clock stops, in the middle of whatever it does. DMA writes that are on
    /// their way may or may not arrive; `seed` decides. It is not used any more afterwards.
    fn vanish(&mut self, seed: u64) {
        let _ = seed;
    }
}
