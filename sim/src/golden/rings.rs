//! Device-wide rings: ordinary TX and RX, buffer pool, status line.

use super::{Dma, DmaError, Golden, RxFrame};
use crate::golden::shadow::Cause;
use chimney_abi::desc::{self, PoolDesc, RxDesc, RxDone, StatusLine, TxDesc};
use chimney_abi::layout::Reg;
use chimney_abi::regs;
use chimney_abi::wire::ethernet;
use chimney_host_stack_core::checksum::Checksum;
use chimney_host_stack_core::lso::Large;

/// Producer (from the host) and consumer (ours) of one ring, free-running.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ring {
    pub producer: u16,
    pub consumer: u16,
}

impl Ring {
    pub fn is_empty(self) -> bool {
        self.producer == self.consumer
    }

    /// Offset of an entry in a ring of `1 << log2` entries of `bytes`.
    pub fn offset(index: u16, log2: u8, bytes: usize) -> u64 {
        u64::from(u32::from(index) & ((1 << log2) - 1)) * bytes as u64
    }

    /// Takes a new producer index unless it overtakes the consumer.
    pub fn produce(&mut self, producer: u16, log2: u8) -> bool {
        let entries = producer.wrapping_sub(self.consumer);
        let is_good = u32::from(entries) <= 1 << log2 && producer.wrapping_sub(self.producer) <= entries;
        if is_good {
            self.producer = producer;
        }
        is_good
    }

    /// Takes the next entry.
    pub fn consume(&mut self) -> u16 {
        let index = self.consumer;
        self.consumer = index.wrapping_add(1);
        index
    }
}

/// The device-wide rings.
#[derive(Clone, Debug, Default)]
pub(super) struct Rings {
    pub cmd: Ring,
    tx: Ring,
    rx: Ring,
    pool: Ring,
    heartbeat: u32,
    status_dirty: bool,
    tx_moved: bool,
    /// An entry could not be written: the heart has stopped, until reset.
    is_lost: bool,
}

impl Rings {
    /// Lets the heartbeat count up.
    pub fn beat(&mut self, beats: u64) {
        // `as`: the heartbeat wraps at 32 bits.
        self.heartbeat = self.heartbeat.wrapping_add(beats as u32);
        self.status_dirty = true;
    }

    pub fn has_work(&self) -> bool {
        !self.cmd.is_empty() || !self.tx.is_empty()
    }
}

/// What a TX descriptor wants sent.
struct Fetched {
    frames: Vec<Vec<u8>>,
    /// For our own receive path.
    is_loopback: bool,
}

/// The segments of a large frame, `None` if it cannot be divided.
fn segments(frame: &[u8], mss: u16) -> Option<Vec<Vec<u8>>> {
    let large = Large::new(frame, mss)?;
    let pieces = (0..large.count()).filter_map(|i| large.piece(i));
    Some(pieces.map(|p| [p.headers(), p.text].concat()).collect())
}

/// A frame with the checksum that its descriptor wants, `None` if its field does not lie in the frame.
fn with_checksum(mut frame: Vec<u8>, d: &TxDesc) -> Option<Vec<u8>> {
    if d.flags & desc::TX_CSUM != 0 {
        let start = usize::from(d.csum_start);
        let field = start + usize::from(d.csum_offset);
        if field + 2 > frame.len() {
            return None;
        }
        let mut sum = Checksum::default();
        sum.add_bytes(&frame[start..]);
        // RFC 768: a zero is sent as all ones; for TCP both mean the same.
        let value = Some(sum.finish()).filter(|v| *v != 0).unwrap_or(u16::MAX);
        frame[field..field + 2].copy_from_slice(&value.to_be_bytes());
    }
    Some(frame)
}

impl<D: Dma> Golden<D> {
    pub(super) fn is_producer(&self, reg: &Reg) -> bool {
        (regs::CMD_PRODUCER.offset..=regs::EVENT_CONSUMER.offset).contains(&reg.offset)
    }

    /// A new producer (or the event consumer) from the host; false if it is impossible.
    pub(super) fn set_producer(&mut self, reg: &Reg, index: u16) -> bool {
        let sizes = self.regs.sizes();
        match reg.offset {
            o if o == regs::CMD_PRODUCER.offset => self.rings.cmd.produce(index, sizes.cmd),
            o if o == regs::TX_PRODUCER.offset => self.rings.tx.produce(index, sizes.tx),
            o if o == regs::RX_PRODUCER.offset => self.rings.rx.produce(index, sizes.rx),
            o if o == regs::POOL_PRODUCER.offset => self.rings.pool.produce(index, sizes.pool),
            o if o == regs::EVENT_CONSUMER.offset => self.consume_events(index),
            _ => false,
        }
    }

    /// Sends the next frame of the ordinary TX ring.
    pub(super) fn next_tx_frame(&mut self) -> bool {
        if self.rings.tx.is_empty() {
            return false;
        }
        let index = self.rings.tx.consume();
        (self.rings.status_dirty, self.rings.tx_moved) = (true, true);
        match self.fetch_tx_frame(index) {
            Ok(Some(fetched)) => self.send_fetched(fetched),
            Ok(None) => self.regs.count(&regs::CNT_BAD_REQUEST, 1),
            // `STATUS.dma_error` tells; the frame is lost as on a wire.
            Err(DmaError) => {}
        }
        true
    }

    /// A frame of the ring, or the segments of a large one.
    fn send_fetched(&mut self, fetched: Fetched) {
        for frame in fetched.frames {
            if fetched.is_loopback {
                self.rx_queue.push_back(RxFrame { bytes: frame, bad: false, is_loopback: true });
            } else {
                self.transmit(frame);
            }
        }
    }

    /// What a TX descriptor wants sent, with checksums filled in; `None` = it is refused.
    fn fetch_tx_frame(&mut self, index: u16) -> Result<Option<Fetched>, DmaError> {
        let at = Ring::offset(index, self.regs.sizes().tx, TxDesc::BYTES);
        let d = TxDesc::from_bytes(&self.port.record(self.regs.address(&regs::TX_BASE_LO).wrapping_add(at))?);
        let len = usize::from(d.len);
        let is_large = d.flags & desc::TX_LSO != 0;
        let most = if is_large { usize::from(u16::MAX) } else { ethernet::MAX_JUMBO_LEN };
        if !(ethernet::HEADER_LEN..=most).contains(&len) || (is_large && d.mss == 0) {
            return Ok(None);
        }
        let mut frame = vec![0; len];
        self.port.read(d.addr, &mut frame)?;
        let is_loopback = d.flags & desc::TX_LOOPBACK != 0;
        let frames =
            if is_large { segments(&frame, d.mss) } else { with_checksum(frame, &d).map(|f| vec![f]) };
        Ok(frames.map(|frames| Fetched { frames, is_loopback }))
    }

    /// A frame leaves for the wire, padded with zeros if it is shorter than Ethernet allows.
    pub(super) fn transmit(&mut self, mut frame: Vec<u8>) {
        if self.is_dead() {
            return;
        }
        frame.resize(frame.len().max(ethernet::MIN_FRAME_LEN), 0);
        self.regs.count(&regs::CNT_TX_FRAMES, 1);
        self.regs.count(&regs::CNT_TX_BYTES, frame.len() as u64);
        self.tx_out.push_back(frame);
    }

    /// Law L4: a frame that the engine does not take goes up unmodified, with its verdict.
    pub(super) fn hand_up(&mut self, frame: &[u8], verdict: u16) {
        if self.rings.rx.is_empty() {
            // Law L5: the device never waits for the host.
            return self.regs.count(&regs::CNT_DROP_NO_BUFFER, 1);
        }
        let index = self.rings.rx.consume();
        self.rings.status_dirty = true;
        // An error is sticky in `STATUS`; the buffer still completes, empty, so that the rings stay in step.
        let is_written = self.write_rx_buffer(index, frame).is_ok();
        let log2 = self.regs.sizes().rx;
        let done = RxDone {
            // `as`: at most RX_BUFFER_BYTES.
            len: if is_written { frame.len() as u16 } else { 0 },
            flags: if is_written { verdict } else { 0 },
            index,
            reserved: 0,
            phase: desc::phase(index, log2).into(),
        };
        let at =
            self.regs.address(&regs::RX_DONE_BASE_LO).wrapping_add(Ring::offset(index, log2, RxDone::BYTES));
        match self.port.write(at, &done.to_bytes()) {
            Ok(()) => self.irq.raise(Cause::Rx),
            Err(DmaError) => self.lose_ring(),
        }
    }

    /// A ring has a hole, behind which the host sees nothing: without a heartbeat it goes on from its own memory (law L2).
    pub(super) fn lose_ring(&mut self) {
        self.rings.is_lost = true;
    }

    fn write_rx_buffer(&mut self, index: u16, frame: &[u8]) -> Result<(), DmaError> {
        let at = Ring::offset(index, self.regs.sizes().rx, RxDesc::BYTES);
        let d = RxDesc::from_bytes(&self.port.record(self.regs.address(&regs::RX_BASE_LO).wrapping_add(at))?);
        self.port.write(d.addr, frame)
    }

    /// Takes a free page from the pool.
    pub(super) fn take_page(&mut self) -> Result<Option<u16>, DmaError> {
        if self.rings.pool.is_empty() {
            return Ok(None);
        }
        let index = self.rings.pool.consume();
        self.rings.status_dirty = true;
        let at = Ring::offset(index, self.regs.sizes().pool, PoolDesc::BYTES);
        let bytes = self.port.record(self.regs.address(&regs::POOL_RING_LO).wrapping_add(at))?;
        Ok(Some(PoolDesc::from_bytes(&bytes).page))
    }

    /// Address of a pool page.
    pub(super) fn page_iova(&self, page: u16) -> u64 {
        let offset = u64::from(page) << desc::PAGE_LOG2;
        self.regs.address(&regs::POOL_BASE_LO).wrapping_add(offset)
    }

    pub(super) fn command_taken(&mut self) -> u16 {
        self.rings.status_dirty = true;
        self.rings.cmd.consume()
    }

    /// Rewrites the status line if anything in it moved.
    pub(super) fn write_status_line(&mut self) {
        if !std::mem::take(&mut self.rings.status_dirty) || self.rings.is_lost {
            return;
        }
        let line = StatusLine {
            heartbeat: self.rings.heartbeat,
            tx_consumer: self.rings.tx.consumer,
            pool_consumer: self.rings.pool.consumer,
            cmd_consumer: self.rings.cmd.consumer,
            rx_consumer: self.rings.rx.consumer,
            now_us: self.now32(),
        };
        let at = self.regs.address(&regs::STATUS_BASE_LO);
        let is_written = self.port.write(at, &line.to_bytes()).is_ok();
        if std::mem::take(&mut self.rings.tx_moved) && is_written {
            self.irq.raise(Cause::Tx);
        }
    }
}
