//! What the user of the driver chooses.

use chimney_abi::desc::{EDGE_SLACK, MAX_RCV_WINDOW, PAGE_BYTES, PAGE_SLOTS};

use crate::error::DriverError;

/// Sizes and times. The default serves 64 connections with full windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Interface MAC address.
    pub mac: [u8; 6],
    /// log2 of the command ring.
    pub cmd_log2: u8,
    /// log2 of the ordinary TX ring.
    pub tx_log2: u8,
    /// log2 of the ordinary RX ring.
    pub rx_log2: u8,
    /// log2 of each connection's send ring.
    pub send_log2: u8,
    /// log2 of each connection's receive ring.
    pub recv_log2: u8,
    /// Most connections used, of those the device has.
    pub connections: u32,
    /// Pages in the pool. Each connection reserves [`quota_pages`] of its window; without them its offload is refused.
    pub pool_pages: u16,
    /// Pages the driver keeps back for out-of-order bytes that an offload brings.
    pub reserve_pages: u16,
    /// Memory for buffers, bytes.
    pub arena_bytes: usize,
    /// `TIME_INC`, if not the reset value.
    pub time_inc: Option<u32>,
    /// `HASH_KEY`: who knows it can aim connections at one place of the device's table. None: a random one with each reset.
    pub hash_key: Option<u64>,
    /// Start value of the device clock, microseconds.
    pub start_us: u32,
    /// Least time between interrupts, microseconds.
    pub irq_holdoff_us: u32,
    /// Time without work after which the driver waits for an interrupt again; until then it polls, and interrupts are
    /// disabled, microseconds.
    pub poll_us: u64,
    /// A command that takes longer means that the device is stuck, microseconds.
    pub command_deadline_us: u64,
    /// Time without a heartbeat after which the identity register is read (law L2), microseconds.
    pub heartbeat_limit_us: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mac: [0x02, 0, 0, 0, 0, 1],
            cmd_log2: 6,
            tx_log2: 8,
            rx_log2: 8,
            send_log2: 8,
            recv_log2: 6,
            connections: 64,
            pool_pages: 64 * PAGE_SLOTS as u16 + 64,
            reserve_pages: 64,
            arena_bytes: 16 << 20,
            time_inc: None,
            hash_key: None,
            start_us: 0,
            irq_holdoff_us: 0,
            poll_us: 500,
            command_deadline_us: 1_000_000,
            heartbeat_limit_us: 50_000,
        }
    }
}

impl Config {
    /// Checks what the contract demands.
    ///
    /// # Errors
    /// [`DriverError::Config`].
    pub fn check(&self) -> Result<(), DriverError> {
        let logs = [self.cmd_log2, self.tx_log2, self.rx_log2, self.send_log2, self.recv_log2];
        if logs.iter().any(|l| !(1..=15).contains(l)) {
            return Err(DriverError::Config { what: "a ring has 2^1 to 2^15 entries" });
        }
        if self.pool_pages > 1 << 15 || self.pool_pages <= self.reserve_pages {
            return Err(DriverError::Config {
                what: "the pool has at most 2^15 pages and more than its reserve",
            });
        }
        if self.connections == 0 || self.arena_bytes < PAGE_BYTES as usize {
            return Err(DriverError::Config { what: "at least one connection and one page of arena" });
        }
        Ok(())
    }
}

/// Pages that a window may occupy: it may begin in the middle of a page, and rounding may carry it further.
pub fn quota_pages(window_bytes: u32) -> u32 {
    let window = window_bytes.min(MAX_RCV_WINDOW) + EDGE_SLACK;
    (window.div_ceil(PAGE_BYTES) + 1).min(PAGE_SLOTS)
}

/// The smallest log2 of a ring with at least `entries` entries.
pub fn ring_log2(entries: u32) -> u8 {
    entries.next_power_of_two().trailing_zeros().max(1) as u8 // below 32
}
