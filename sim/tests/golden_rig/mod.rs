//! The smallest driver that can test a device: rings in one DMA region, no checks, no cleverness. The device is the golden model if
//! nothing else is said.
//!
//! The device is 10.0.0.1:1000, the peer 10.0.0.2:2000. The device's stream starts at [`ISS`], the peer's at [`IRS`].
#![allow(dead_code)] // Each test file uses its part of it.

pub mod end;
pub mod pages;
pub mod wire;

use chimney_abi::cmd::{ImageKind, Opcode, Status, TcpState};
use chimney_abi::desc::*;
use chimney_abi::state::*;
use chimney_abi::wire::ethernet;
use chimney_abi::{layout::Reg, regs};
use chimney_sim::device::{Device, Limit};
use chimney_sim::golden::{Config, Golden};
use chimney_sim::host_mem::{DmaAccess, DmaPort, DmaRegion, HostMemory};
use chimney_sim::net::guise::{six, Guise};
use std::net::Ipv4Addr;

/// First unacknowledged byte of the device at the offload.
pub const ISS: u32 = 1000;
/// Next byte expected from the peer at the offload.
pub const IRS: u32 = 5000;
/// Receive window at the offload.
pub const WINDOW: u32 = 65_536;
pub const MSS: u32 = 1460;
pub const NIC_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

const CMD: u64 = 0;
const CMD_DONE: u64 = 0x2000;
const TX: u64 = 0x3000;
const RX: u64 = 0x4000;
const RX_DONE: u64 = 0x5000;
pub const POOL: u64 = 0x6000;
const EVENT: u64 = 0x7000;
const STATUS: u64 = 0x8000;
const IMAGES: u64 = 0x9000;
const SHADOW: u64 = 0x1_0000;
pub const PAGE_MAP: u64 = 0x2_0000;
const SEND_RINGS: u64 = 0x4_0000;
pub const RECV_RINGS: u64 = 0x8_0000;
pub const PAGES: u64 = 0x10_0000;
const RX_BUFFERS: u64 = 0x80_0000;
const TX_BUFFERS: u64 = 0xb0_0000;
/// Memory for the test's own buffers.
pub const USER: u64 = 0x30_0000;
/// End of it.
const USER_END: u64 = 0x80_0000;
const TOTAL: usize = 0xe0_0000;
/// Bytes between two buffers for ordinary frames.
const FRAME_STRIDE: u64 = RX_BUFFER_BYTES as u64;
pub const RING_LOG2: u8 = 8;
const EVENT_LOG2: u8 = 9;
/// Bytes between two connections' send (or receive) rings.
const RING_STRIDE: u64 = 0x1000;

/// Device, memory and the little that a driver must remember.
pub struct Rig<D = Golden<DmaPort>> {
    pub nic: D,
    pub mem: HostMemory,
    pub region: DmaRegion,
    pub now_us: u64,
    cmd: u16,
    tx: u16,
    pub rx_posted: u16,
    rx_taken: u16,
    pub pool: u16,
    events: u16,
    send_idx: [u16; 256],
    recv_idx: [u16; 256],
    send_free: u64,
    /// Of the last offload, by connection.
    generation: [u8; 256],
    /// The other end of the wire: addresses and ports exchanged.
    is_peer: bool,
    /// Framing and family of neighbor 0, path 0 and the connections below.
    pub guise: Guise,
}

impl Default for Rig {
    fn default() -> Self {
        Self::new()
    }
}

impl Rig {
    /// A device that runs, with a neighbor, a path, 64 pool pages and 64 receive buffers.
    pub fn new() -> Rig {
        Self::at_side(false)
    }

    /// The same for the peer's side of the wire, to run two devices against each other.
    pub fn at_side(is_peer: bool) -> Rig {
        Self::built(is_peer, Config::default())
    }

    /// The same with other build parameters.
    pub fn built(is_peer: bool, config: Config) -> Rig {
        Self::in_guise(is_peer, config, Guise::default())
    }

    /// The same with another framing or family.
    pub fn in_guise(is_peer: bool, config: Config, guise: Guise) -> Rig {
        Rig::around(is_peer, guise, |mem| Golden::new(config, mem.port()))
    }

    /// An established connection 0 of generation 1.
    pub fn established() -> Rig {
        let mut rig = Rig::new();
        assert_eq!(rig.offload(0, 1, |_| {}), Status::Success);
        rig
    }

    pub fn count(&self, reg: &Reg) -> u64 {
        self.nic.counter(reg)
    }
}

impl<D: Device> Rig<D> {
    /// The same around any device.
    pub fn around(is_peer: bool, guise: Guise, make: impl FnOnce(&HostMemory) -> D) -> Self {
        let mem = HostMemory::new();
        let region = mem.alloc(TOTAL, DmaAccess::DeviceReadsWrites).unwrap();
        let nic = make(&mem);
        let mut rig = Self {
            nic,
            mem,
            region,
            now_us: 0,
            cmd: 0,
            tx: 0,
            rx_posted: 0,
            rx_taken: 0,
            pool: 0,
            events: 0,
            send_idx: [0; 256],
            recv_idx: [0; 256],
            send_free: USER + 0x20_0000,
            generation: [0; 256],
            is_peer,
            guise,
        };
        rig.bring_up();
        rig.give_pages(64);
        rig.give_rx_buffers(64);
        assert_eq!(rig.neighbor(0, Opcode::Initiate), Status::Success);
        assert_eq!(rig.path(0, Opcode::Initiate), Status::Success);
        rig
    }

    fn bring_up(&mut self) {
        let bases = [
            (&regs::CMD_BASE_LO, CMD),
            (&regs::CMD_DONE_BASE_LO, CMD_DONE),
            (&regs::TX_BASE_LO, TX),
            (&regs::RX_BASE_LO, RX),
            (&regs::RX_DONE_BASE_LO, RX_DONE),
            (&regs::POOL_RING_LO, POOL),
            (&regs::POOL_BASE_LO, PAGES),
            (&regs::EVENT_BASE_LO, EVENT),
            (&regs::SHADOW_BASE_LO, SHADOW),
            (&regs::PAGE_MAP_BASE_LO, PAGE_MAP),
            (&regs::STATUS_BASE_LO, STATUS),
        ];
        for (reg, at) in bases {
            let iova = self.iova(at);
            self.nic.mmio_write(reg.offset, iova as u32);
            self.nic.mmio_write(reg.offset + 4, (iova >> 32) as u32);
        }
        let sizes = regs::RING_SIZES.fields.iter().fold(0, |word, field| {
            field.set(word, u64::from(if field.name == "event" { EVENT_LOG2 } else { RING_LOG2 }))
        });
        self.write(&regs::RING_SIZES, sizes as u32);
        let [a, b, c, d, e, f] = if self.is_peer { PEER_MAC } else { NIC_MAC };
        self.write(&regs::MAC_LO, u32::from_le_bytes([a, b, c, d]));
        self.write(&regs::MAC_HI, u32::from_le_bytes([e, f, 0, 0]));
        self.write(&regs::IRQ_ENABLE, 0xF);
        self.write(&regs::CTRL, 1);
    }

    pub fn iova(&self, at: u64) -> u64 {
        self.region.iova() + at
    }

    pub fn write(&mut self, reg: &Reg, value: u32) {
        self.nic.mmio_write(reg.offset, value);
    }

    pub fn put(&self, at: u64, bytes: &[u8]) {
        self.region.write(at as usize, bytes);
    }

    pub fn get<const N: usize>(&self, at: u64) -> [u8; N] {
        let mut out = [0; N];
        self.region.read(at as usize, &mut out);
        out
    }

    pub fn bytes(&self, at: u64, len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        self.region.read(at as usize, &mut out);
        out
    }

    /// Lets time pass; all timers on the way fire in order.
    pub fn run_for(&mut self, us: u64) {
        self.now_us += us;
        self.nic.advance(Limit::until(self.now_us));
    }

    /// Does what is due without letting time pass.
    pub fn settle(&mut self) {
        self.run_for(0);
    }

    pub fn give_pages(&mut self, count: u16) {
        for _ in 0..count {
            let entry = PoolDesc { page: self.pool, reserved: 0 };
            self.put(POOL + u64::from(self.pool % 256) * 8, &entry.to_bytes());
            self.pool += 1;
        }
        self.write(&regs::POOL_PRODUCER, self.pool.into());
    }

    /// One page that was used before goes back to the pool.
    pub fn give_page(&mut self, page: u16) {
        let entry = PoolDesc { page, reserved: 0 };
        self.put(POOL + u64::from(self.pool % 256) * 8, &entry.to_bytes());
        self.pool = self.pool.wrapping_add(1);
        self.write(&regs::POOL_PRODUCER, self.pool.into());
    }

    /// Send data memory is used round and round; far more of it than a connection has in flight.
    pub fn recycle_send_memory(&mut self) {
        if self.send_free > USER_END - 0x4_0000 {
            self.send_free = USER + 0x20_0000;
        }
    }

    pub fn give_rx_buffers(&mut self, count: u16) {
        for _ in 0..count {
            let slot = u64::from(self.rx_posted % 256);
            let desc = RxDesc { addr: self.iova(RX_BUFFERS + slot * FRAME_STRIDE) };
            self.put(RX + slot * 8, &desc.to_bytes());
            self.rx_posted = self.rx_posted.wrapping_add(1);
        }
        self.write(&regs::RX_PRODUCER, self.rx_posted.into());
    }

    /// Frames that went up the ordinary path, with their verdict.
    pub fn handed_up(&mut self) -> Vec<(Vec<u8>, u16)> {
        let mut frames = Vec::new();
        loop {
            let slot = u64::from(self.rx_taken % 256);
            let done = RxDone::from_bytes(&self.get(RX_DONE + slot * 8));
            if done.phase != u8::from(phase(self.rx_taken, RING_LOG2)) {
                return frames;
            }
            assert_eq!(done.index, self.rx_taken);
            frames.push((self.bytes(RX_BUFFERS + slot * FRAME_STRIDE, done.len.into()), done.flags));
            self.rx_taken = self.rx_taken.wrapping_add(1);
        }
    }

    /// Puts a frame on the ordinary TX ring.
    pub fn transmit(&mut self, frame: &[u8], flags: u8, csum: (u8, u8)) {
        let (csum_start, csum_offset) = csum;
        self.transmit_desc(frame, TxDesc { flags, csum_start, csum_offset, ..TxDesc::default() });
    }

    /// Puts a frame on the ordinary TX ring with what `desc` says besides its place; a large one takes the buffers behind its own.
    pub fn transmit_desc(&mut self, frame: &[u8], desc: TxDesc) {
        let slot = u64::from(self.tx % 256);
        let at = TX_BUFFERS + slot * FRAME_STRIDE;
        self.put(at, frame);
        let desc = TxDesc { addr: self.iova(at), len: frame.len() as u16, ..desc };
        self.put(TX + slot * 16, &desc.to_bytes());
        self.tx = self.tx.wrapping_add(1);
        self.write(&regs::TX_PRODUCER, self.tx.into());
    }

    pub fn status_line(&self) -> StatusLine {
        StatusLine::from_bytes(&self.get(STATUS))
    }

    /// Runs one command; completion status and failed count.
    pub fn command(&mut self, command: Command) -> CommandDone {
        let slot = u64::from(self.cmd % 256);
        self.put(CMD + slot * 32, &command.to_bytes());
        let index = self.cmd;
        self.cmd = index.wrapping_add(1);
        self.write(&regs::CMD_PRODUCER, self.cmd.into());
        self.settle();
        let done = CommandDone::from_bytes(&self.get(CMD_DONE + slot * 8));
        assert_eq!(done.phase, u8::from(phase(index, RING_LOG2)), "command completed");
        assert_eq!(done.cookie, command.cookie);
        done
    }

    /// Runs a command on one image; its status and the body afterwards.
    pub fn image<const N: usize>(
        &mut self,
        op: Opcode,
        header: ImageHeader,
        body: &[u8; N],
    ) -> (Status, [u8; N]) {
        self.put(IMAGES, &header.to_bytes());
        self.put(IMAGES + 16, body);
        let iova = self.iova(IMAGES);
        let cookie = 7000 + self.cmd;
        let done = self.command(Command { opcode: op.code(), count: 1, cookie, iova, ..Command::default() });
        let header = ImageHeader::from_bytes(&self.get(IMAGES));
        assert_eq!(done.status, header.status);
        (Status::try_from(header.status).unwrap(), self.get(IMAGES + 16))
    }

    pub fn neighbor(&mut self, id: u16, op: Opcode) -> Status {
        let [a, b, c, d, e, f] = if self.is_peer { NIC_MAC } else { PEER_MAC };
        let dst_mac = u64::from_le_bytes([a, b, c, d, e, f, 0, 0]);
        let vlan = self.guise.tci.unwrap_or(0) & ethernet::VLAN_ID_MASK;
        let flags = if self.guise.is_llc_snap { NEIGHBOR_LLC_SNAP } else { 0 };
        let body = NeighborImage { dst_mac, vlan, flags, ..NeighborImage::default() };
        self.image(op, header(ImageKind::Neighbor, id, 0, NeighborImage::BYTES), &body.to_bytes()).0
    }

    pub fn path(&mut self, id: u16, op: Opcode) -> Status {
        let (own, other) = if self.is_peer { (2, 1) } else { (1, 2) };
        let (src_ip_lo, src_ip_hi) = self.ip(own);
        let (dst_ip_lo, dst_ip_hi) = self.ip(other);
        let body = PathImage {
            src_ip_lo,
            src_ip_hi,
            dst_ip_lo,
            dst_ip_hi,
            mtu: self.mtu(),
            ip_id_start: 0x8000,
            flags: if self.guise.v6.is_some() { PATH_IPV6 } else { 0 },
            ..PathImage::default()
        };
        self.image(op, header(ImageKind::Path, id, 0, PathImage::BYTES), &body.to_bytes()).0
    }

    /// A host of the wire, as a path has it.
    fn ip(&self, host: u8) -> (u64, u64) {
        let v4 = Ipv4Addr::new(10, 0, 0, host);
        if self.guise.v6.is_none() {
            return (u32::from_le_bytes(v4.octets()).into(), 0);
        }
        let octets = six(v4).octets();
        let (words, _) = octets.as_chunks::<8>();
        (u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1]))
    }

    /// The largest that the framing allows.
    pub fn mtu(&self) -> u16 {
        if self.guise.is_llc_snap {
            ethernet::MAX_SNAP_MTU
        } else {
            ethernet::MAX_MTU
        }
    }

    /// Text bytes per segment without options.
    pub fn mss(&self) -> u16 {
        self.mtu() - if self.guise.v6.is_some() { 60 } else { 40 }
    }

    /// The record of an idle established connection.
    pub fn record(&self, conn: u16) -> TcpRecord {
        if self.is_peer {
            let mut r = self.record_from(conn, IRS, ISS);
            std::mem::swap(&mut r.local_port, &mut r.remote_port);
            return r;
        }
        self.record_from(conn, ISS, IRS)
    }

    fn record_from(&self, conn: u16, iss: u32, irs: u32) -> TcpRecord {
        TcpRecord {
            local_port: 1000,
            remote_port: 2000 + conn,
            eff_mss: self.mss(),
            const_flags: if self.guise.v6.is_some() { CONST_IPV6 } else { 0 },
            flow_label: self.guise.v6.map_or(0, |v6| v6.flow_label),
            user_priority: (self.guise.tci.unwrap_or(0) >> ethernet::PRIORITY_SHIFT) as u8,
            cached_flags: CACHED_NAGLE,
            ttl: 64,
            max_retransmissions: 5,
            initial_rcv_wnd: WINDOW,
            tcp_state: TcpState::Established.code(),
            rcv_nxt: irs,
            rcv_right: irs + WINDOW,
            adv_right: irs + WINDOW,
            last_ack_sent: irs,
            snd_una: iss,
            snd_nxt: iss,
            snd_max: iss,
            snd_limit: iss,
            recover: iss,
            snd_wnd: 65_000,
            max_snd_wnd: 65_000,
            snd_wl1: irs,
            snd_wl2: iss,
            cwnd: 14_600,
            ssthresh: 1 << 30,
            rto_us: 300_000,
            rtx_deadline: NO_TIMER,
            ka_deadline: NO_TIMER,
            rcv_wind_shift: 1,
            send_ring: self.iova(SEND_RINGS + u64::from(conn) * RING_STRIDE),
            recv_ring: self.iova(RECV_RINGS + u64::from(conn) * RING_STRIDE),
            send_ring_log2: RING_LOG2,
            recv_ring_log2: RING_LOG2,
            ..TcpRecord::default()
        }
    }

    /// Offloads a connection; descriptors written before with [`Rig::write_send`] and [`Rig::write_post`] are known.
    pub fn offload(&mut self, conn: u16, generation: u8, change: impl FnOnce(&mut TcpRecord)) -> Status {
        let mut record = self.record(conn);
        record.send_producer = self.send_idx[usize::from(conn)];
        record.recv_producer = self.recv_idx[usize::from(conn)];
        change(&mut record);
        let status = self.image(Opcode::Initiate, tcp_header(conn, generation), &record.to_bytes()).0;
        if status == Status::Success {
            self.generation[usize::from(conn)] = generation;
        }
        status
    }

    pub fn take_back(&mut self, conn: u16, generation: u8, op: Opcode) -> (Status, TcpRecord) {
        let body = [0; TcpRecord::BYTES];
        let (status, body) = self.image(op, tcp_header(conn, generation), &body);
        if op == Opcode::Terminate {
            self.send_idx[usize::from(conn)] = 0;
            self.recv_idx[usize::from(conn)] = 0;
        }
        (status, TcpRecord::from_bytes(&body))
    }

    pub fn update(&mut self, conn: u16, generation: u8, record: &TcpRecord) -> Status {
        self.image(Opcode::Update, tcp_header(conn, generation), &record.to_bytes()).0
    }

    pub fn doorbell(&mut self, conn: u16, receive: bool, low: u32, limit: u32) {
        let at = regs::doorbell(conn, receive);
        self.nic.mmio_write(at, low);
        self.nic.mmio_write(at + 4, limit);
    }

    /// Writes a send descriptor for `data` without ringing.
    pub fn write_send(&mut self, conn: u16, seq: u32, data: &[u8], flags: u8) {
        let at = self.send_free;
        self.send_free += data.len() as u64;
        self.put(at, data);
        let desc = SendDesc { addr: self.iova(at), len: data.len() as u32, flags, seq };
        let index = &mut self.send_idx[usize::from(conn)];
        let slot = u64::from(*index % 256);
        *index = index.wrapping_add(1);
        self.put(SEND_RINGS + u64::from(conn) * RING_STRIDE + slot * 16, &desc.to_bytes());
    }

    pub fn ring_send(&mut self, conn: u16, generation: u8, flags: u8, limit: u32) {
        let producer = self.send_idx[usize::from(conn)];
        let low = u32::from(producer) | u32::from(generation) << 16 | u32::from(flags) << 24;
        self.doorbell(conn, false, low, limit);
        self.settle();
    }

    /// Posts and announces send data on connection 0, generation 1.
    pub fn send(&mut self, seq: u32, data: &[u8]) {
        self.write_send(0, seq, data, SEND_PUSH);
        self.ring_send(0, 1, 0, seq.wrapping_add(data.len() as u32));
    }

    /// Closes the sending half of connection 0 after `limit`.
    pub fn send_fin(&mut self, limit: u32) {
        self.ring_send(0, 1, regs::DOORBELL_FIN, limit);
    }

    /// Writes a receive descriptor for user memory at `at` without ringing.
    pub fn write_post(&mut self, conn: u16, at: u64, len: u32, flags: u8, seq: u32) {
        let desc = RecvDesc { addr: self.iova(at), len, flags, seq };
        let index = &mut self.recv_idx[usize::from(conn)];
        let slot = u64::from(*index % 256);
        *index = index.wrapping_add(1);
        self.put(RECV_RINGS + u64::from(conn) * RING_STRIDE + slot * 16, &desc.to_bytes());
    }

    pub fn ring_receive(&mut self, conn: u16, generation: u8, limit: u32) {
        let low = u32::from(self.recv_idx[usize::from(conn)]) | u32::from(generation) << 16;
        self.doorbell(conn, true, low, limit);
        self.settle();
    }

    /// Posts a buffer on connection 0 and announces it.
    pub fn post(&mut self, at: u64, len: u32, flags: u8, seq: u32) {
        self.write_post(0, at, len, flags, seq);
        self.ring_receive(0, 1, IRS + WINDOW);
    }

    /// Entry `index` of a receive ring as it is in memory now.
    pub fn post_back(&self, conn: u16, index: u16) -> RecvDesc {
        let at = RECV_RINGS + u64::from(conn) * RING_STRIDE + u64::from(index % 256) * 16;
        RecvDesc::from_bytes(&self.get(at))
    }

    /// The newer valid shadow record of a connection.
    pub fn shadow(&self, conn: u16) -> Shadow {
        let at = SHADOW + u64::from(conn) * u64::from(SHADOW_STRIDE);
        let slots = [Shadow::from_bytes(&self.get(at)), Shadow::from_bytes(&self.get(at + 32))];
        for (i, s) in slots.iter().enumerate().filter(|(_, s)| s.flags & SHADOW_VALID != 0) {
            assert_eq!(s.tag, s.tag_end);
            assert_eq!(usize::from(s.tag & 1), i);
        }
        // A reader drops slots of another generation; the later tag is the newer one.
        let is_ours =
            |s: &Shadow| s.flags & SHADOW_VALID != 0 && s.generation == self.generation[usize::from(conn)];
        let [a, b] = slots;
        match (is_ours(&a), is_ours(&b)) {
            (true, true) if b.tag.wrapping_sub(a.tag) as i16 > 0 => b,
            (false, true) => b,
            _ => a,
        }
    }

    /// Events since the last call; `consume` tells the device.
    pub fn events(&mut self, consume: bool) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            let slot = u64::from(self.events) & ((1 << EVENT_LOG2) - 1);
            let event = Event::from_bytes(&self.get(EVENT + slot * 8));
            if event.phase != u8::from(phase(self.events, EVENT_LOG2)) {
                break;
            }
            events.push(event);
            self.events = self.events.wrapping_add(1);
        }
        if consume {
            self.write(&regs::EVENT_CONSUMER, self.events.into());
            self.settle();
        }
        events
    }
}

pub fn header(kind: ImageKind, id: u16, parent: u16, body: usize) -> ImageHeader {
    ImageHeader {
        kind: kind.code(),
        id,
        parent,
        generation: 1,
        parent_generation: 1,
        length: (HEADER_BYTES as usize + body) as u16,
        revision: IMAGE_REVISION,
        ..ImageHeader::default()
    }
}

pub fn tcp_header(conn: u16, generation: u8) -> ImageHeader {
    ImageHeader { generation, ..header(ImageKind::Tcp, conn, 0, TcpRecord::BYTES) }
}

/// Bytes that tell where in the stream they are.
pub fn pattern(seq: u32, len: usize) -> Vec<u8> {
    (0..len as u32).map(|i| (seq.wrapping_add(i).wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}
