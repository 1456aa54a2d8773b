//! [`Driver`]: one device, its objects, and the poll loop.
//!
//! ```text
//!   poll: mask interrupts -> status line -> commands -> ordinary frames -> events -> connections -> doorbells -> heartbeat -> unmask
//! ```
//! Events are hints: the consumer index is written before the shadow records are read, so that progress after
//! the reading raises another event (guide section 10).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chimney_abi::desc::{RX_IP_CSUM_OK, RX_L4_CSUM_OK};
use chimney_abi::offload::{
    FrameInfo, HostHandle, NeighborState, OffloadClient, PathState, Token, NCE_STALE_MS,
};
use chimney_abi::regs;

use crate::bus::Bus;
use crate::config::Config;
use crate::conn::{Conn, Phase, Shared};
use crate::error::{ConnFault, DriverError};
use crate::forward::Forward;
use crate::mmio::{Mmio, MmioCounts, ALL_ONES};
use crate::nic::{self, Heartbeat, Identity, Pulse, Queues, ALL_CAUSES};
use crate::ops::Op;
use crate::reach::Reach;
use crate::table::Table;
use crate::tree::Operation;

/// Time between two questions whether the device must be given up, microseconds.
const ALARM_US: u64 = 5000;

/// An offloaded neighbor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Neighbor {
    pub handle: HostHandle,
    /// The ages in it are old.
    pub state: NeighborState,
    pub reach: Reach,
    /// The device sends nothing through it.
    pub is_invalid: bool,
    pub phase: Phase,
}

/// An offloaded path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path {
    pub handle: HostHandle,
    pub state: PathState,
    pub neighbor: Token,
    pub phase: Phase,
}

/// What the driver saw that should not be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DriverStats {
    /// Register accesses.
    pub mmio: MmioCounts,
    /// Entries that the device wrote and the driver took: events, frames, completed commands; and frames sent.
    pub completions: u64,
    /// Ordinary frames queued for the device since bring-up.
    pub frames_queued: u64,
    /// Those of them that it has taken.
    pub frames_taken: u64,
    /// Command completions that answer nothing.
    pub unexpected_completions: u64,
    /// Ordinary receive completions with an impossible length or order.
    pub bad_frames: u64,
    /// Pages the device gave back that it did not have.
    pub double_frees: u64,
    /// Events for no connection.
    pub stale_events: u64,
    /// Times that the host was asked whether a neighbor is reachable (R-269).
    pub reachability_queries: u64,
    /// Buffer memory in use, the driver's own pieces included, bytes.
    pub arena_used_bytes: u32,
    /// Pages with the driver.
    pub spare_pages: usize,
    /// Connections in the table.
    pub connections: usize,
    /// The last contradiction that cost an upload its image.
    pub last_fault: Option<ConnFault>,
}

/// The miniport of one device.
#[derive(Debug)]
pub struct Driver<B: Bus> {
    pub(crate) mmio: Mmio<B>,
    pub(crate) config: Config,
    pub(crate) identity: Identity,
    pub(crate) queues: Queues<B::Memory>,
    pub(crate) shared: Shared<B::Memory>,
    pub(crate) neighbors: Table<Neighbor>,
    pub(crate) paths: Table<Path>,
    pub(crate) conns: Table<Conn<B::Memory>>,
    /// Operations that have no ring entry or image memory yet.
    pub(crate) waiting: VecDeque<Op>,
    pub(crate) in_flight: BTreeMap<u16, Op>,
    /// Operations that the device has done, waiting for forwards (R-147).
    pub(crate) finished: VecDeque<Operation>,
    pub(crate) forwards: BTreeMap<u64, Forward>,
    pub(crate) forward_queue: VecDeque<u64>,
    pub(crate) next_forward: u64,
    /// Connections to look at in this poll.
    pub(crate) due: BTreeSet<u16>,
    pub(crate) now_us: u64,
    pub(crate) lost: Option<DriverError>,
    pub(crate) last_fault: Option<ConnFault>,
    /// NceStaleTicks of the host (R-027), milliseconds.
    pub(crate) nce_stale_ms: u32,
    pub(crate) reachability_queries: u64,
    /// When the neighbors of connections that send were looked at.
    pub(crate) reach_checked_us: u64,
    heartbeat: Heartbeat,
    /// When the transport was last asked for an alarm.
    asked_us: u64,
    stale_events: u64,
    pub(crate) completions: u64,
    /// Interrupts are enabled.
    is_armed: bool,
    /// When there was work last, while they are not.
    worked_us: u64,
}

impl<B: Bus> Driver<B> {
    /// Brings the device up (guide section 1).
    ///
    /// # Errors
    /// [`DriverError`]: no device, another contract, no memory.
    pub fn open(bus: B, config: Config) -> Result<Self, DriverError> {
        config.check()?;
        let mut mmio = Mmio::new(bus);
        // Whoever used it before may have left it in any state.
        mmio.bus().reset()?;
        let identity = nic::identify(&mut mmio, &config)?;
        nic::reset(&mut mmio)?;
        let (queues, shared) = Queues::map(mmio.bus(), &config, &identity.capabilities)?;
        queues.start(&shared.pool, &mut mmio, &config)?;
        let caps = identity.capabilities;
        let mut driver = Self {
            mmio,
            config,
            identity,
            queues,
            shared,
            neighbors: Table::new(caps.table_entries),
            paths: Table::new(caps.table_entries),
            conns: Table::new(caps.connections),
            waiting: VecDeque::new(),
            in_flight: BTreeMap::new(),
            finished: VecDeque::new(),
            forwards: BTreeMap::new(),
            forward_queue: VecDeque::new(),
            next_forward: 0,
            due: BTreeSet::new(),
            now_us: 0,
            lost: None,
            last_fault: None,
            nce_stale_ms: NCE_STALE_MS,
            reachability_queries: 0,
            reach_checked_us: 0,
            heartbeat: Heartbeat::default(),
            asked_us: 0,
            stale_events: 0,
            completions: 0,
            is_armed: true,
            worked_us: 0,
        };
        driver.ring_producers();
        Ok(driver)
    }

    /// Stops the device for good: queues, interrupts, bus master, reset, in this order; no DMA afterwards. The connections must
    /// have been terminated.
    ///
    /// # Errors
    /// [`DriverError::Timeout`], [`DriverError::Gone`], [`DriverError::Bus`].
    pub fn stop(&mut self) -> Result<(), DriverError> {
        nic::stop(&mut self.mmio)?;
        let bus = self.mmio.bus();
        bus.set_interrupts(false)?;
        bus.set_master(false)?;
        Ok(bus.reset()?)
    }

    /// The transport.
    pub fn bus(&mut self) -> &mut B {
        self.mmio.bus()
    }

    /// Why the device was given up, if it was.
    pub fn lost(&self) -> Option<DriverError> {
        self.lost
    }

    /// What the device said about a connection that cannot be true, if it did.
    pub fn fault(&self, token: Token) -> Option<ConnFault> {
        self.conns.get(token)?.fault
    }

    /// Counters of the driver.
    pub fn stats(&self) -> DriverStats {
        DriverStats {
            mmio: self.mmio.counts(),
            completions: self.completions,
            frames_queued: self.queues.tx.queued(),
            frames_taken: self.queues.tx.taken(),
            unexpected_completions: self.queues.mailbox.unexpected(),
            bad_frames: self.queues.rx.bad_entries(),
            double_frees: self.shared.pool.double_frees(),
            stale_events: self.stale_events,
            reachability_queries: self.reachability_queries,
            arena_used_bytes: self.shared.buffers.used_bytes(),
            spare_pages: self.shared.pool.spare(),
            connections: self.conns.tokens().len(),
            last_fault: self.last_fault,
        }
    }

    /// A device counter (not for fast paths).
    ///
    /// # Errors
    /// [`DriverError::Gone`].
    pub fn counter(&mut self, reg: &chimney_abi::layout::Reg) -> Result<u64, DriverError> {
        self.mmio.read_counter(reg)
    }

    pub(crate) fn poll_device(&mut self, now_us: u64, client: &mut dyn OffloadClient) -> bool {
        if self.lost.is_some() {
            return false;
        }
        self.now_us = now_us;
        self.mask_interrupts();
        let mut any = match self.poll_status(client) {
            Ok(any) => any,
            Err(error) => return self.lose(error, client),
        };
        any |= match self.poll_commands(client) {
            Ok(any) => any,
            Err(error) => return self.lose(error, client),
        };
        any |= self.poll_frames(client);
        self.poll_events();
        any |= self.progress_due(client);
        any |= self.finish_ops(client);
        any |= self.check_reach(client);
        let writes = self.mmio.counts().writes;
        any |= self.flush(client);
        any |= self.mmio.counts().writes != writes; // the device has something to do
        if let Some(error) = self.check_pulse() {
            any |= self.lose(error, client);
        }
        any | self.unmask_interrupts(any)
    }

    /// An interrupt says that there is work, and that there is more of it is likely: from now on the driver polls, and the
    /// device is not to interrupt it.
    fn mask_interrupts(&mut self) {
        if self.is_armed && self.mmio.bus().interrupt_pending() {
            self.is_armed = false;
            self.worked_us = self.now_us;
            self.write(&regs::IRQ_ENABLE, 0u32);
        }
    }

    /// When nothing was to be done for a while, interrupts come again. True if that was so: what came before is not
    /// announced, so everything is to be looked at once more.
    fn unmask_interrupts(&mut self, has_worked: bool) -> bool {
        if has_worked || self.is_armed {
            self.worked_us = self.now_us;
            return false;
        }
        if self.lost.is_some() || self.now_us.saturating_sub(self.worked_us) < self.config.poll_us {
            return false;
        }
        self.is_armed = true;
        self.write(&regs::IRQ_STATUS, ALL_CAUSES);
        self.write(&regs::IRQ_ENABLE, ALL_CAUSES);
        true
    }

    /// Whether the device interrupts when there is work. Who wants to sleep until then polls until this is so and a poll had
    /// nothing to do.
    pub fn is_armed(&self) -> bool {
        self.is_armed
    }

    /// Consumer indices of the status line.
    fn poll_status(&mut self, client: &mut dyn OffloadClient) -> Result<bool, DriverError> {
        let line = self.queues.status();
        self.shared.pool.retire_to(line.pool_consumer)?;
        let done = self.queues.tx.retire_to(line.tx_consumer)?;
        let any = !done.is_empty();
        self.completions += done.len() as u64; // at most a ring's length
        for tag in done {
            self.forward_done(tag, client);
        }
        Ok(any)
    }

    fn poll_frames(&mut self, client: &mut dyn OffloadClient) -> bool {
        let mut any = false;
        while let Some((frame, flags)) = self.queues.rx.pop() {
            any = true;
            self.completions += 1;
            let info = FrameInfo {
                ip_checksum_ok: flags & RX_IP_CSUM_OK != 0,
                l4_checksum_ok: flags & RX_L4_CSUM_OK != 0,
            };
            client.frame(frame, info);
        }
        any
    }

    fn poll_events(&mut self) {
        let mut any = false;
        while let Some(event) = self.queues.events.pop() {
            any = true;
            self.completions += 1;
            let token = Token { index: event.conn, generation: event.generation };
            if self.conns.get(token).is_some() {
                self.due.insert(event.conn);
            } else {
                self.stale_events += 1; // the last words of a connection that is gone
            }
        }
        if any {
            self.write(&regs::EVENT_CONSUMER, self.queues.events.consumer());
        }
    }

    fn progress_due(&mut self, client: &mut dyn OffloadClient) -> bool {
        let mut any = false;
        for index in self.due.clone() {
            let Some(token) = self.conns.token(index) else { continue };
            let Some(conn) = self.conns.get_mut(token) else { continue };
            let before = conn.marks();
            any |= conn.progress(&mut self.shared, client);
            if conn.marks() != before && conn.fault.is_none() {
                let path = conn.path;
                self.confirm(path);
            }
        }
        any
    }

    /// Rings every doorbell that is due, each at most once; commands last, because a command sees all doorbells before it.
    fn flush(&mut self, client: &mut dyn OffloadClient) -> bool {
        let mut any = false;
        for index in std::mem::take(&mut self.due) {
            let Some(token) = self.conns.token(index) else { continue };
            let Some(conn) = self.conns.get_mut(token) else { continue };
            let (send, receive) = conn.flush(&mut self.shared);
            if conn.is_sending() {
                let path = conn.path;
                any |= self.ask_below(path, client);
            }
            if let Some(bell) = send {
                self.mmio.doorbell(index, false, bell.low, bell.limit);
            }
            if let Some(bell) = receive {
                self.mmio.doorbell(index, true, bell.low, bell.limit);
            }
        }
        self.submit_waiting();
        self.queue_forwards();
        self.ring_producers();
        any
    }

    fn ring_producers(&mut self) {
        let due = [
            (&regs::POOL_PRODUCER, self.shared.pool.refill()),
            (&regs::RX_PRODUCER, self.queues.rx.ring_due()),
            (&regs::TX_PRODUCER, self.queues.tx.ring_due()),
            (&regs::CMD_PRODUCER, self.queues.mailbox.ring_due()),
        ];
        for (reg, index) in due {
            if let Some(index) = index {
                self.write(reg, index);
            }
        }
    }

    fn write(&mut self, reg: &'static chimney_abi::layout::Reg, value: impl Into<u32>) {
        self.mmio.write(reg, value.into()).expect("the register can be written");
    }

    /// Why the device must be given up, if it must.
    fn check_pulse(&mut self) -> Option<DriverError> {
        if self.now_us.saturating_sub(self.asked_us) >= ALARM_US {
            self.asked_us = self.now_us;
            if let Some(alarm) = self.mmio.bus().alarm() {
                return Some(DriverError::Alarm(alarm));
            }
        }
        if self.queues.mailbox.is_overdue(self.now_us) {
            return Some(DriverError::Timeout { what: "a command" });
        }
        let count = self.queues.status().heartbeat;
        match self.heartbeat.check(count, self.now_us, self.config.heartbeat_limit_us) {
            Pulse::Alive => None,
            Pulse::Dead => Some(DriverError::Timeout { what: nic::HEARTBEAT }),
            Pulse::Suspicious => match self.mmio.read(&regs::ID) {
                Ok(ALL_ONES) => Some(DriverError::Gone { register: regs::ID.name }),
                Ok(_) => None,
                Err(error) => Some(error),
            },
        }
    }
}
