//! Bring-up, reset, stop and the heartbeat of one device (guide sections 1 and 10).

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use chimney_abi::desc::{
    Command, CommandDone, Event, PoolDesc, RecvDesc, RxDesc, SendDesc, StatusLine, TxDesc, PAGE_BYTES,
    PAGE_MAP_STRIDE, SHADOW_STRIDE,
};
use chimney_abi::layout::Reg;
use chimney_abi::offload::{Capabilities, Parameters};
use chimney_abi::state::IMAGE_STRIDE;
use chimney_abi::{regs, VERSION_MAJOR};

use crate::arena::{Arena, Buffers};
use crate::bus::{Bus, DeviceAccess};
use crate::config::{ring_log2, Config};
use crate::conn::Shared;
use crate::dma::DmaView;
use crate::error::DriverError;
use crate::mailbox::Mailbox;
use crate::mmio::{field, with_field, Mmio, ALL_ONES};
use crate::pool::Pool;
use crate::prepare::ConnMemory;
use crate::queue::frames::{max_large_frame, RxFrames, TxFrames, MAX_FRAME_BYTES};
use crate::ring::{DoneRing, Ring};

/// Polls of a state that is reached within microseconds.
const WAIT_ROUNDS: u32 = 1000;
/// Time between them, microseconds.
const WAIT_US: u32 = 10;

/// Everything mapped for the device but the host's buffers.
#[derive(Debug)]
pub struct Queues<M> {
    /// Commands.
    pub mailbox: Mailbox<M>,
    /// Image arrays of commands.
    pub images: Arena<M>,
    /// Ordinary frames out.
    pub tx: TxFrames<M>,
    /// Ordinary frames in.
    pub rx: RxFrames<M>,
    /// Events.
    pub events: DoneRing<M, Event>,
    status: DmaView<M>,
    shadows: DmaView<M>,
    page_maps: DmaView<M>,
    send_rings: DmaView<M>,
    recv_rings: DmaView<M>,
}

/// What the device is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Capabilities, as far as the driver uses them.
    pub capabilities: Capabilities,
}

/// Checks that a device of our contract answers.
///
/// # Errors
/// [`DriverError`].
pub fn identify<B: Bus>(mmio: &mut Mmio<B>, config: &Config) -> Result<Identity, DriverError> {
    let id = mmio.read(&regs::ID)?;
    if id == ALL_ONES {
        return Err(DriverError::Gone { register: regs::ID.name });
    }
    if field(&regs::ID, "magic", id) != regs::ID_MAGIC {
        return Err(DriverError::NotOurs { id });
    }
    let major = field(&regs::ID, "major", id) as u16; // a 16-bit field
    if major != VERSION_MAJOR {
        return Err(DriverError::Version { device: major, driver: VERSION_MAJOR });
    }
    let version = mmio.read(&regs::VERSION)?;
    let caps = mmio.read(&regs::CAPS)?;
    let count = |name| 1u32 << field(&regs::VERSION, name, version).min(16);
    let has = |name| field(&regs::CAPS, name, caps) != 0;
    let capabilities = Capabilities {
        ipv4: has("ipv4"),
        ipv6: has("ipv6"),
        vlan: has("vlan"),
        llc_snap: has("llc_snap"),
        sack_receive: has("sack_receive"),
        sack_send: has("sack_send"),
        ecn: has("ecn"),
        connections: count("conn_log2").min(config.connections),
        table_entries: count("table_log2"),
        max_rcv_window: chimney_abi::desc::MAX_RCV_WINDOW,
        // `as`: at most 65535.
        max_large_frame: if has("lso") { max_large_frame(config.tx_log2) as u32 } else { 0 },
    };
    Ok(Identity { capabilities })
}

/// Resets the device: everything as after power-on.
///
/// # Errors
/// [`DriverError::Timeout`], [`DriverError::Gone`].
pub fn reset<B: Bus>(mmio: &mut Mmio<B>) -> Result<(), DriverError> {
    mmio.write(&regs::RESET, 1)?;
    wait(mmio, "reset", &regs::RESET, |value| value == 0)
}

/// Stops all DMA; memory may be unmapped afterwards.
///
/// # Errors
/// As [`reset`].
pub fn stop<B: Bus>(mmio: &mut Mmio<B>) -> Result<(), DriverError> {
    mmio.write(&regs::CTRL, 0)?;
    wait(mmio, "stopping DMA", &regs::STATUS, |value| field(&regs::STATUS, "idle", value) != 0)
}

fn wait<B: Bus>(
    mmio: &mut Mmio<B>,
    what: &'static str,
    reg: &Reg,
    done: impl Fn(u32) -> bool,
) -> Result<(), DriverError> {
    for _ in 0..WAIT_ROUNDS {
        if done(mmio.read(reg)?) {
            return Ok(());
        }
        mmio.bus().wait_us(WAIT_US);
    }
    Err(DriverError::Timeout { what })
}

/// Sets the parameters of spec 2.6, and the limits of the watchdog.
///
/// # Errors
/// Never for a device of our contract.
pub fn set_parameters<B: Bus>(mmio: &mut Mmio<B>, p: &Parameters) -> Result<(), DriverError> {
    for (reg, value) in [
        (&regs::ACK_FREQUENCY, p.ack_frequency),
        (&regs::DELAYED_ACK_US, p.delayed_ack_us),
        (&regs::DUP_ACK_THRESHOLD, p.dup_ack_threshold),
        (&regs::PUSH_US, p.push_us),
        (&regs::MIN_RTO_US, p.min_rto_us),
        (&regs::MAX_RTO_US, p.max_rto_us),
        (&regs::FIN_WAIT_2_US, p.fin_wait_2_us),
    ] {
        mmio.write(reg, value)?;
    }
    for (reg, value) in p.watch.registers() {
        mmio.write(reg, value)?;
    }
    Ok(())
}

impl<M: crate::bus::DmaMemory> Queues<M> {
    /// Maps and lays out everything, all zero.
    ///
    /// # Errors
    /// [`DriverError::Bus`].
    pub fn map<B: Bus<Memory = M>>(
        bus: &mut B,
        config: &Config,
        caps: &Capabilities,
    ) -> Result<(Self, Shared<M>), DriverError> {
        let mut shared = |len| bus.allocate(len, DeviceAccess::ReadsWrites).map(DmaView::new);
        let done = |log2: u8| 8usize << log2;
        let conns = caps.connections as usize;
        let event_log2 = ring_log2(caps.connections + 1);
        let pool_log2 = ring_log2(config.pool_pages.into());
        let frames = |log2: u8| MAX_FRAME_BYTES << log2;
        // Every object of a full table in one command, twice over.
        let objects = conns + 2 * caps.table_entries as usize;
        let images = shared(2 * objects * IMAGE_STRIDE as usize)?;
        let cmd_done = DoneRing::<M, CommandDone>::new(shared(done(config.cmd_log2))?, config.cmd_log2);
        let rx_done = DoneRing::new(shared(done(config.rx_log2))?, config.rx_log2);
        let events = DoneRing::new(shared(done(event_log2))?, event_log2);
        let (rx_buffers, pages) =
            (shared(frames(config.rx_log2))?, shared(usize::from(config.pool_pages) * PAGE_BYTES as usize)?);
        let (status, shadows) = (shared(StatusLine::BYTES)?, shared(conns * SHADOW_STRIDE as usize)?);
        let page_maps = shared(conns * PAGE_MAP_STRIDE as usize)?;
        let recv_rings = shared(conns * (RecvDesc::BYTES << config.recv_log2))?;
        let mut read_only = |len| bus.allocate(len, DeviceAccess::Reads).map(DmaView::new);
        let mut ring =
            |name, log2: u8, bytes: usize| read_only(bytes << log2).map(|v| Ring::new(name, v, log2, bytes));
        let commands = ring("command", config.cmd_log2, Command::BYTES)?;
        let tx_ring = ring("transmit", config.tx_log2, TxDesc::BYTES)?;
        let rx_ring = ring("receive frame", config.rx_log2, RxDesc::BYTES)?;
        let pool_ring = ring("pool", pool_log2, PoolDesc::BYTES)?;
        let tx_buffers = read_only(frames(config.tx_log2))?;
        let send_rings = read_only(conns * (SendDesc::BYTES << config.send_log2))?;
        let arena = bus.allocate(config.arena_bytes, DeviceAccess::ReadsWrites).map(DmaView::new)?;
        let pool = Pool::new(pool_ring, pages, config.reserve_pages);
        let queues = Self {
            mailbox: Mailbox::new(commands, cmd_done),
            images: Arena::new(images),
            tx: TxFrames::new(tx_ring, tx_buffers),
            rx: RxFrames::new(rx_ring, rx_done, rx_buffers),
            events,
            status,
            shadows,
            page_maps,
            send_rings,
            recv_rings,
        };
        Ok((queues, Shared { buffers: Buffers::new(arena), pool }))
    }

    /// Tells the device where everything lies, lets it be bus master, and enables it.
    ///
    /// # Errors
    /// [`DriverError`].
    pub fn start<B: Bus<Memory = M>>(
        &self,
        pool: &Pool<M>,
        mmio: &mut Mmio<B>,
        config: &Config,
    ) -> Result<(), DriverError> {
        use regs as r;
        for (low, high, addr) in [
            (&r::CMD_BASE_LO, &r::CMD_BASE_HI, self.mailbox.ring().iova()),
            (&r::CMD_DONE_BASE_LO, &r::CMD_DONE_BASE_HI, self.mailbox.done_ring().iova()),
            (&r::TX_BASE_LO, &r::TX_BASE_HI, self.tx.ring().iova()),
            (&r::RX_BASE_LO, &r::RX_BASE_HI, self.rx.ring().iova()),
            (&r::RX_DONE_BASE_LO, &r::RX_DONE_BASE_HI, self.rx.done_ring().iova()),
            (&r::POOL_RING_LO, &r::POOL_RING_HI, pool.ring().iova()),
            (&r::POOL_BASE_LO, &r::POOL_BASE_HI, pool.iova()),
            (&r::EVENT_BASE_LO, &r::EVENT_BASE_HI, self.events.iova()),
            (&r::SHADOW_BASE_LO, &r::SHADOW_BASE_HI, self.shadows.iova(0)),
            (&r::PAGE_MAP_BASE_LO, &r::PAGE_MAP_BASE_HI, self.page_maps.iova(0)),
            (&r::STATUS_BASE_LO, &r::STATUS_BASE_HI, self.status.iova(0)),
        ] {
            mmio.write_pair(low, high, addr)?;
        }
        let sizes = [
            ("cmd", self.mailbox.ring().log2()),
            ("tx", self.tx.ring().log2()),
            ("rx", self.rx.ring().log2()),
            ("pool", pool.ring().log2()),
            ("event", self.events.log2()),
        ];
        let word = sizes
            .iter()
            .fold(0, |word, (name, log2)| with_field(&r::RING_SIZES, name, word, u32::from(*log2)));
        mmio.write(&r::RING_SIZES, word)?;
        let [m0, m1, m2, m3, m4, m5] = config.mac;
        mmio.write(&r::MAC_LO, u32::from_le_bytes([m0, m1, m2, m3]))?;
        mmio.write(&r::MAC_HI, u32::from_le_bytes([m4, m5, 0, 0]))?;
        mmio.write(&r::TIME_SET, config.start_us)?;
        if let Some(inc) = config.time_inc {
            mmio.write(&r::TIME_INC, inc)?;
        }
        mmio.write_pair(&r::HASH_KEY_LO, &r::HASH_KEY_HI, config.hash_key.unwrap_or_else(random_key))?;
        mmio.write(&r::IRQ_HOLDOFF_US, config.irq_holdoff_us)?;
        mmio.bus().set_interrupts(true)?;
        mmio.bus().set_master(true)?;
        mmio.write(&r::IRQ_ENABLE, ALL_CAUSES)?;
        mmio.write(&r::CTRL, with_field(&r::CTRL, "enable", 0, 1))
    }

    /// The status line, word by word.
    pub fn status(&self) -> StatusLine {
        let mut bytes = [0; StatusLine::BYTES];
        bytes[..8].copy_from_slice(&self.status.load_u64(0).to_le_bytes());
        bytes[8..].copy_from_slice(&self.status.load_u64(8).to_le_bytes());
        StatusLine::from_bytes(&bytes)
    }

    /// Memory of connection `index`.
    pub fn conn_memory(&self, index: u16, config: &Config) -> ConnMemory<M> {
        let part = |view: &DmaView<M>, stride: usize| view.part(usize::from(index) * stride, stride);
        ConnMemory {
            send_ring: part(&self.send_rings, SendDesc::BYTES << config.send_log2),
            recv_ring: part(&self.recv_rings, RecvDesc::BYTES << config.recv_log2),
            shadow: part(&self.shadows, SHADOW_STRIDE as usize),
            page_map: part(&self.page_maps, PAGE_MAP_STRIDE as usize),
        }
    }
}

/// A number that nobody else knows.
fn random_key() -> u64 {
    // The standard library seeds this hasher from the operating system's random numbers.
    RandomState::new().build_hasher().finish()
}

/// Every interrupt cause.
pub const ALL_CAUSES: u32 = {
    let mut word = 0u64;
    let mut i = 0;
    while i < regs::IRQ_STATUS.fields.len() {
        let f = regs::IRQ_STATUS.fields[i];
        word = f.set(word, chimney_abi::layout::mask(f.width_bits));
        i += 1;
    }
    word as u32 // fields of a 32-bit register
};

/// Watches the status line (law L2): a device whose heartbeat stands still is looked at, then given up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Heartbeat {
    last: u32,
    seen_us: u64,
    polls: u32,
}

/// What a device that is given up for its heartbeat did not finish ([`DriverError::Timeout`]).
pub const HEARTBEAT: &str = "a heartbeat";

/// What the heartbeat says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulse {
    /// It beats.
    Alive,
    /// It stands still for the limit: read the identity register.
    Suspicious,
    /// It stands still for twice the limit.
    Dead,
}

impl Heartbeat {
    /// Polls that must have seen the same count: the host itself may have slept.
    const POLLS: u32 = 3;

    /// Looks at the count.
    pub fn check(&mut self, count: u32, now_us: u64, limit_us: u64) -> Pulse {
        if count != self.last || self.polls == 0 {
            *self = Self { last: count, seen_us: now_us, polls: 1 };
            return Pulse::Alive;
        }
        self.polls = self.polls.saturating_add(1);
        match now_us.saturating_sub(self.seen_us) {
            still if self.polls <= Self::POLLS || still < limit_us => Pulse::Alive,
            still if still < 2 * limit_us => Pulse::Suspicious,
            _ => Pulse::Dead,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeBus;

    #[test]
    fn refuses_strangers_and_other_major_versions() {
        let mut mmio = Mmio::new(FakeBus::default());
        let config = Config::default();
        mmio.bus().poke(&regs::ID, 0x1234_0001);
        assert_eq!(identify(&mut mmio, &config), Err(DriverError::NotOurs { id: 0x1234_0001 }));
        mmio.bus().poke(&regs::ID, regs::ID_MAGIC << 16 | 9);
        assert_eq!(
            identify(&mut mmio, &config),
            Err(DriverError::Version { device: 9, driver: VERSION_MAJOR })
        );
        mmio.bus().poke(&regs::ID, ALL_ONES);
        assert_eq!(identify(&mut mmio, &config), Err(DriverError::Gone { register: "ID" }));
    }

    #[test]
    fn a_reset_that_never_ends_is_an_error() {
        let mut mmio = Mmio::new(FakeBus::default());
        assert_eq!(reset(&mut mmio), Err(DriverError::Timeout { what: "reset" }));
    }

    #[test]
    fn a_heartbeat_that_stands_still_is_suspicious_then_dead_but_not_after_a_pause_of_the_host() {
        let mut beat = Heartbeat::default();
        assert_eq!(beat.check(1, 0, 50), Pulse::Alive);
        assert_eq!(beat.check(1, 500, 50), Pulse::Alive, "one look after a pause says nothing");
        assert_eq!(beat.check(2, 510, 50), Pulse::Alive);
        for now in 511..520 {
            assert_eq!(beat.check(2, now, 50), Pulse::Alive);
        }
        assert_eq!(beat.check(2, 560, 50), Pulse::Suspicious);
        assert_eq!(beat.check(2, 610, 50), Pulse::Dead);
        assert_eq!(beat.check(3, 611, 50), Pulse::Alive);
    }
}
