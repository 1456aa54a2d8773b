//! Tests of the server with a client that says what it likes.

use super::*;
use crate::device::Limit;
use crate::golden::{Config, Golden};
use crate::host_mem::DmaPort;
use crate::model::RtlNic;
use crate::rng::{test_seed, Rng};
use chimney_abi::desc::{StatusLine, HEARTBEAT_US};
use chimney_abi::regs;
use chimney_vfio_user::memory::SharedMemory;
use chimney_vfio_user::message::*;
use chimney_vfio_user::{pci, words};
use rustix::event::{eventfd, EventfdFlags};
use rustix::io::Errno;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Instant;

/// Random messages that the server with the golden model takes at least.
const GOLDEN_MESSAGES: u64 = 100_000;
/// The same with the RTL: for the short run, or for the long one.
const RTL_MESSAGES: [u64; 2] = [2_000, 100_000];

/// A server with its device, and a client.
struct Rig<D> {
    server: Server,
    device: D,
    memory: HostMemory,
    path: PathBuf,
    client: Channel,
}

impl Rig<Golden<DmaPort>> {
    /// The golden model. The client has agreed on a version.
    fn new(name: &str) -> Self {
        Self::with(name, |memory| Golden::new(Config::default(), memory.port()))
    }
}

impl<D: Device> Rig<D> {
    /// The device that `make` makes. The client has agreed on a version.
    fn with(name: &str, make: impl FnOnce(&HostMemory) -> D) -> Self {
        let path = std::env::temp_dir().join(format!("chimney-{}-{name}", std::process::id()));
        let memory = HostMemory::new();
        let device = make(&memory);
        let server = Server::bind(&path, memory.clone()).unwrap();
        let client = Channel::new(UnixStream::connect(&path).unwrap()).unwrap();
        let mut rig = Self { server, device, memory, path, client };
        rig.agree();
        rig
    }

    fn agree(&mut self) {
        let version = [&Version { major: 0, minor: 1 }.to_bytes()[..], b"{}\0"].concat();
        let reply = self.call(command::VERSION, &version, &[]).unwrap();
        assert_eq!(Version::from_bytes(&reply), Some(Version { major: 0, minor: 1 }));
        assert_eq!(reply.last(), Some(&0));
    }

    /// Another client in place of this one, which is gone.
    fn reconnect(&mut self) {
        let (nowhere, _) = UnixStream::pair().unwrap();
        self.client = Channel::new(nowhere).unwrap();
        self.client = Channel::new(UnixStream::connect(&self.path).unwrap()).unwrap();
        while self.server.poll(&mut self.device) {}
    }

    /// A command and its answer: payload, or error number.
    fn call(&mut self, command: u16, payload: &[u8], fds: &[BorrowedFd<'_>]) -> Result<Vec<u8>, i32> {
        assert!(self.client.send(&message(77, command, 0, &[payload]), fds).unwrap());
        for _ in 0..1000 {
            self.client.flush().unwrap();
            self.server.poll(&mut self.device);
            let Some(reply) = self.client.receive().unwrap() else { continue };
            assert_eq!((reply.header.id, reply.header.command), (77, command));
            let is_error = reply.header.flags & FLAG_ERROR != 0;
            return if is_error { Err(reply.header.errno as i32) } else { Ok(reply.payload) };
        }
        panic!("no answer");
    }

    fn read(&mut self, region: u32, offset: u64, count: u32) -> Result<Vec<u8>, i32> {
        let access = RegionAccess { offset, region, count };
        let reply = self.call(command::REGION_READ, &access.to_bytes(), &[])?;
        assert_eq!(RegionAccess::from_bytes(&reply), Some(access));
        Ok(reply[RegionAccess::BYTES..].to_vec())
    }

    fn write(&mut self, region: u32, offset: u64, data: &[u8]) -> Result<(), i32> {
        let access = RegionAccess { offset, region, count: data.len() as u32 };
        self.call(command::REGION_WRITE, &[&access.to_bytes(), data].concat(), &[]).map(drop)
    }

    fn register(&mut self, reg: &chimney_abi::layout::Reg) -> u32 {
        let bytes = self.read(0, reg.offset.into(), 4).unwrap();
        u32::from_le_bytes(bytes.try_into().unwrap())
    }

    fn set_register(&mut self, reg: &chimney_abi::layout::Reg, value: u32) {
        self.write(0, reg.offset.into(), &value.to_le_bytes()).unwrap();
    }

    fn map(&mut self, address: u64, size: u64, flags: u32, fd: &OwnedFd) -> Result<(), i32> {
        let map = DmaMap { argsz: 32, flags, offset: 0, address, size };
        self.call(command::DMA_MAP, &map.to_bytes(), &[fd.as_fd()]).map(drop)
    }

    fn unmap(&mut self, address: u64, size: u64) -> Result<(), i32> {
        let unmap = DmaUnmap { argsz: 24, flags: 0, address, size };
        self.call(command::DMA_UNMAP, &unmap.to_bytes(), &[]).map(drop)
    }

    fn run(&mut self, us: u64) {
        let until_us = self.device.now_us() + us;
        self.device.advance(Limit::until(until_us));
        self.server.notify(&self.device);
    }

    /// A device that writes its status line to `iova`.
    fn start(&mut self, iova: u64) {
        self.set_register(&regs::STATUS_BASE_LO, iova as u32);
        self.set_register(&regs::STATUS_BASE_HI, (iova >> 32) as u32);
        let command = pci::COMMAND_MASTER | pci::COMMAND_MEMORY;
        self.write(region::CONFIG, pci::COMMAND.into(), &command.to_le_bytes()).unwrap();
        self.set_register(&regs::CTRL, 1);
    }

    /// Another client finds the device as it should be.
    fn is_in_order(&mut self) {
        self.reconnect();
        self.agree();
        assert_eq!(self.register(&regs::ID) >> 16, regs::ID_MAGIC);
        let (memory, fd) = SharedMemory::create("test", 4096).unwrap();
        self.map(IOVA, 4096, MAP_READ | MAP_WRITE, &fd).unwrap();
        self.start(IOVA);
        self.run(2 * PERIOD_US);
        assert!(heartbeat(&memory) > 0);
    }
}

fn heartbeat(memory: &SharedMemory) -> u32 {
    let mut line = [0; StatusLine::BYTES];
    words::read(memory.words(), 0, &mut line);
    StatusLine::from_bytes(&line).heartbeat
}

const IOVA: u64 = 0x12_3456_7000;
/// Time between two writes of the status line, microseconds.
const PERIOD_US: u64 = HEARTBEAT_US as u64;

#[test]
fn the_device_says_what_it_is() {
    let mut rig = Rig::new("info");
    let info = DeviceInfo { argsz: 16, ..DeviceInfo::default() };
    let info = rig.call(command::GET_INFO, &info.to_bytes(), &[]).unwrap();
    let info = DeviceInfo::from_bytes(&info).unwrap();
    assert_eq!((info.flags, info.regions, info.irqs), (DEVICE_PCI | DEVICE_RESET, 9, 5));
    let sizes: Vec<u64> = (0..9)
        .map(|index| {
            let ask = RegionInfo { argsz: 32, index, ..RegionInfo::default() };
            let reply = rig.call(command::GET_REGION_INFO, &ask.to_bytes(), &[]).unwrap();
            RegionInfo::from_bytes(&reply).unwrap().size
        })
        .collect();
    assert_eq!(sizes, [regs::BAR0_BYTES.into(), 0, 4096, 0, 0, 0, 0, 256, 0]);
    let counts: Vec<u32> = (0..5)
        .map(|index| {
            let ask = IrqInfo { argsz: 16, index, ..IrqInfo::default() };
            let reply = rig.call(command::GET_IRQ_INFO, &ask.to_bytes(), &[]).unwrap();
            IrqInfo::from_bytes(&reply).unwrap().count
        })
        .collect();
    assert_eq!(counts, [0, 0, 1, 1, 1]);
    assert_eq!(rig.register(&regs::ID) >> 16, regs::ID_MAGIC);
}

#[test]
fn a_refused_command_says_why_and_leaves_the_stream_in_order() {
    let mut rig = Rig::new("refused");
    let invalid = Err(Errno::INVAL.raw_os_error());
    assert_eq!(rig.read(9, 0, 4), invalid);
    assert_eq!(rig.read(0, 0, u32::MAX).map(drop), invalid.clone().map(|_: Vec<u8>| ()));
    assert_eq!(rig.write(99, 0, &[1; 300]), Err(Errno::INVAL.raw_os_error()));
    assert_eq!(rig.call(99, &[1; 5000], &[]), Err(Errno::NOTSUP.raw_os_error()));
    assert_eq!(rig.call(command::DMA_MAP, &[0; 7], &[]), invalid);
    assert_eq!(rig.call(command::VERSION, &[0; 4], &[]), invalid, "only once");
    let bools =
        SetIrqs { argsz: 23, flags: irq::DATA_BOOL | irq::ACTION_TRIGGER, index: 2, start: 0, count: 3 };
    assert_eq!(rig.call(command::SET_IRQS, &[&bools.to_bytes()[..], &[1; 3]].concat(), &[]), invalid);
    assert_eq!(rig.register(&regs::ID) >> 16, regs::ID_MAGIC);
    assert_eq!(rig.server.counters().refused, 7);
}

#[test]
fn dma_goes_to_the_memory_of_the_client_and_stops_with_the_map() {
    let mut rig = Rig::new("dma");
    let (memory, fd) = SharedMemory::create("test", 8192).unwrap();
    rig.map(IOVA, 8192, MAP_READ | MAP_WRITE, &fd).unwrap();
    rig.start(IOVA);
    rig.run(2 * PERIOD_US);
    let first = heartbeat(&memory);
    rig.run(2 * PERIOD_US);
    assert!(first > 0 && heartbeat(&memory) > first);
    assert_eq!(rig.server.counters().dma_faults, 0);
    rig.unmap(IOVA, 8192).unwrap();
    let last = heartbeat(&memory);
    rig.run(2 * PERIOD_US);
    assert_eq!(heartbeat(&memory), last);
    assert!(rig.server.counters().dma_faults > 0);
}

#[test]
fn a_map_that_the_device_may_only_read_is_not_written() {
    let mut rig = Rig::new("read-only");
    let (memory, fd) = SharedMemory::create("test", 4096).unwrap();
    rig.map(IOVA, 4096, MAP_READ, &fd).unwrap();
    rig.start(IOVA);
    rig.run(2 * PERIOD_US);
    assert_eq!(heartbeat(&memory), 0);
    assert!(rig.server.counters().dma_faults > 0);
}

#[test]
fn maps_that_cannot_be_are_refused_and_generous_unmaps_are_not() {
    let mut rig = Rig::new("maps");
    let (_memory, fd) = SharedMemory::create("test", 8192).unwrap();
    let both = MAP_READ | MAP_WRITE;
    rig.map(0x4000, 4096, both, &fd).unwrap();
    assert_eq!(rig.map(0x4000, 4096, both, &fd), Err(Errno::EXIST.raw_os_error()));
    for (address, size, flags) in [
        (0x8000, 0, both),
        (0x8000, 12288, both),
        (0x8001, 4096, both),
        (0x8000, 100, both),
        (!0xfff, 4096, both),
        (0x8000, 4096, 0),
        (0x8000, 4096, 7),
    ] {
        assert_eq!(rig.map(address, size, flags, &fd), Err(Errno::INVAL.raw_os_error()));
    }
    let (reader, _writer) = rustix::pipe::pipe().unwrap();
    assert_eq!(rig.map(0x8000, 4096, both, &reader), Err(Errno::PERM.raw_os_error()));
    let rom = DmaMap { argsz: 32, flags: both, offset: 0, address: 0xf_0000, size: 0x1_0000 };
    rig.call(command::DMA_MAP, &rom.to_bytes(), &[]).unwrap();
    rig.unmap(0xfef0_0000, 0xffff_ffff_0110_0000).unwrap();
    assert_eq!(rig.memory.regions(), 1);
    rig.unmap(0, u64::MAX).unwrap();
    assert_eq!(rig.memory.regions(), 0);
    rig.unmap(0x4000, 4096).unwrap();
}

#[test]
fn an_eventfd_is_signalled_and_anything_else_is_refused() {
    let mut rig = Rig::new("irq");
    let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap();
    let flags = irq::DATA_EVENTFD | irq::ACTION_TRIGGER;
    let set = SetIrqs { argsz: 20, flags, index: irq::MSIX, start: 0, count: 1 };
    let (reader, _writer) = rustix::pipe::pipe().unwrap();
    let refused = rig.call(command::SET_IRQS, &set.to_bytes(), &[reader.as_fd()]);
    assert_eq!(refused, Err(Errno::INVAL.raw_os_error()));
    rig.call(command::SET_IRQS, &set.to_bytes(), &[fd.as_fd()]).unwrap();
    let software = SetIrqs { flags: irq::DATA_NONE | irq::ACTION_TRIGGER, ..set };
    rig.call(command::SET_IRQS, &software.to_bytes(), &[]).unwrap();
    let mut count = [0; 8];
    assert_eq!(rustix::io::read(&fd, &mut count), Ok(8));
    rig.call(command::SET_IRQS, &SetIrqs { count: 0, ..software }.to_bytes(), &[]).unwrap();
    rig.call(command::SET_IRQS, &software.to_bytes(), &[]).unwrap();
    assert_eq!(rustix::io::read(&fd, &mut count), Err(Errno::AGAIN), "nobody wants to know any more");
    let request = SetIrqs { index: irq::REQUEST, ..set };
    assert!(!rig.server.request_release());
    rig.call(command::SET_IRQS, &request.to_bytes(), &[fd.as_fd()]).unwrap();
    assert!(rig.server.request_release());
    assert_eq!(rustix::io::read(&fd, &mut count), Ok(8));
}

#[test]
fn the_next_client_finds_a_device_after_power_on() {
    let mut rig = Rig::new("next");
    let (memory, fd) = SharedMemory::create("test", 4096).unwrap();
    rig.map(IOVA, 4096, MAP_READ | MAP_WRITE, &fd).unwrap();
    rig.start(IOVA);
    rig.run(2 * PERIOD_US);
    assert!(heartbeat(&memory) > 0);
    let _second = UnixStream::connect(&rig.path).unwrap();
    rig.server.poll(&mut rig.device);
    assert_eq!(rig.server.counters().turned_away, 1);
    rig.reconnect();
    assert_eq!(rig.memory.regions(), 0);
    let before = heartbeat(&memory);
    rig.run(2 * PERIOD_US);
    assert_eq!(heartbeat(&memory), before);
    rig.agree();
    assert_eq!(rig.register(&regs::CTRL), 0);
    assert_eq!(rig.register(&regs::STATUS_BASE_LO), 0);
    assert_eq!(rig.read(region::CONFIG, pci::COMMAND.into(), 2), Ok(vec![0, 0]));
    assert_eq!(rig.server.counters().clients, 2);
}

#[test]
fn a_path_in_use_is_said_and_one_left_behind_is_taken() {
    let rig = Rig::new("path");
    let taken = Server::bind(&rig.path, HostMemory::new());
    assert!(matches!(taken, Err(ServerError::InUse { .. })));
    let left = rig.path.with_extension("left");
    drop(UnixListener::bind(&left).unwrap());
    assert!(Server::bind(&left, HostMemory::new()).is_ok());
    let file = rig.path.with_extension("file");
    std::fs::write(&file, "no socket").unwrap();
    assert!(matches!(Server::bind(&file, HostMemory::new()), Err(ServerError::Bind { .. })));
    std::fs::remove_file(file).unwrap();
}

/// What random messages are made of.
struct Fuzz {
    rng: Rng,
    fds: Vec<OwnedFd>,
}

impl Fuzz {
    fn new(seed: u64) -> Self {
        let flags = rustix::fs::MemfdFlags::CLOEXEC;
        let unsealed = rustix::fs::memfd_create("unsealed", flags).unwrap();
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let event = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        let memory = SharedMemory::create("sealed", 1 << 20).unwrap().1;
        Self { rng: Rng::new(seed), fds: vec![memory, event, unsealed, reader, writer] }
    }

    /// A number near a limit, or any.
    fn number(&mut self) -> u64 {
        const EDGES: [u64; 14] =
            [0, 1, 2, 4, 8, 255, 256, 4096, 0x1_0000, 0x2_0000, 1 << 20, 1 << 31, 1 << 63, u64::MAX];
        match self.rng.below(4) {
            0 => self.rng.next_u64(),
            1 => self.rng.below(0x400) & !3,
            _ => {
                let edge = EDGES[self.rng.below(EDGES.len() as u64) as usize];
                edge.wrapping_add(self.rng.below(5)).wrapping_sub(self.rng.below(5))
            }
        }
    }

    /// A payload that mostly has the shape of its command; `as`: any bits will do.
    fn payload(&mut self, command: u16) -> Vec<u8> {
        let (a, b, c) = (self.number(), self.number(), self.number());
        let flags = self.rng.below(4) as u32;
        let page = |n: u64| n << 12;
        match command {
            command::VERSION => Version { major: flags as u16 & 1, minor: 1 }.to_bytes(),
            command::DMA_MAP => {
                let (offset, address, size) = (page(a & 0xff), page(b & 0xfff), page(c & 0x3f));
                DmaMap { argsz: 32, flags, offset, address, size }.to_bytes()
            }
            command::DMA_UNMAP => DmaUnmap { argsz: 24, flags: flags & 2, address: a, size: b }.to_bytes(),
            command::SET_IRQS => {
                let flags = irq::ACTION_TRIGGER | 1 << self.rng.below(4);
                let (index, start, count) = (c as u32 % 7, a as u32 % 2, b as u32 % 3);
                SetIrqs { argsz: 20, flags, index, start, count }.to_bytes()
            }
            command::REGION_READ | command::REGION_WRITE => {
                let region = [0, 0, 0, 2, region::CONFIG, a as u32][self.rng.below(6) as usize];
                let count = [4, 4, 8, 1, c as u32][self.rng.below(5) as usize];
                let register = (self.rng.below(0x200) & !3) + u64::from(regs::DOORBELL_BASE) * (a & 1);
                let offset = if region == 0 && count == 4 { register } else { b };
                let mut bytes = RegionAccess { offset, region, count }.to_bytes();
                bytes.extend(self.bytes(u64::from(count.min(600))));
                bytes
            }
            _ => self.bytes(40),
        }
    }

    fn bytes(&mut self, len: u64) -> Vec<u8> {
        (0..len).map(|_| self.rng.next_u64() as u8).collect()
    }

    fn message(&mut self) -> Vec<u8> {
        let command = self.rng.below(16) as u16;
        let payload = self.payload(command);
        let flags = [0, 0, 0, FLAG_NO_REPLY, self.number() as u32 & !FLAG_KIND][self.rng.below(5) as usize];
        let mut bytes = message(self.rng.next_u64() as u16, command, flags, &[&payload]);
        match self.rng.below(64) {
            0 => {
                let at = self.rng.below(bytes.len() as u64) as usize;
                bytes[at] ^= 1 << self.rng.below(8);
            }
            1 => bytes.truncate(self.rng.below(bytes.len() as u64) as usize),
            2 => bytes = self.bytes(64),
            _ => {}
        }
        bytes
    }

    /// Sends a message, sometimes with descriptors; false if the connection is over.
    fn send(&mut self, client: &mut Channel) -> bool {
        let bytes = self.message();
        let count = [0, 0, 1, 1, 1, 2, 5][self.rng.below(7) as usize];
        let first = self.rng.below(self.fds.len() as u64) as usize;
        let fds: Vec<_> = self.fds.iter().cycle().skip(first).take(count).map(AsFd::as_fd).collect();
        bytes.is_empty() || client.send(&bytes, &fds).is_ok()
    }
}

/// Whatever a client sends, the server goes on, and the next client finds the device as it should be. `least`: so many messages it
/// takes.
fn survives<D: Device>(mut rig: Rig<D>, least: u64) -> Rig<D> {
    let mut fuzz = Fuzz::new(test_seed(4711));
    let (start, mut sent) = (Instant::now(), 0_u64);
    while rig.server.counters().messages < least {
        let mut goes_on = fuzz.send(&mut rig.client);
        rig.server.poll(&mut rig.device);
        while goes_on {
            match rig.client.receive() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => goes_on = false,
            }
        }
        if sent.is_multiple_of(64) {
            rig.run(100);
            rig.device.rx_frame(&fuzz.bytes(80), false);
            while rig.device.pop_tx_frame().is_some() {}
        }
        sent += 1;
        if !goes_on || fuzz.rng.below(500) == 0 {
            rig.reconnect();
            assert_eq!(rig.memory.regions(), 0, "message {sent}: nothing is left of a client that is gone");
            if fuzz.rng.below(10) != 0 {
                rig.agree();
            }
        }
    }
    rig.is_in_order();
    let counters = rig.server.counters();
    println!("{sent} messages in {:.1} s: {counters:?}", start.elapsed().as_secs_f64());
    assert!(sent >= least && counters.messages >= least && counters.function.forced_resets == 0);
    assert!(counters.refused > 0 && counters.broken > 0 && counters.maps > 0 && counters.function.resets > 0);
    rig
}

#[test]
fn survives_whatever_a_client_sends() {
    survives(Rig::new("fuzz"), GOLDEN_MESSAGES);
}

#[test]
fn survives_whatever_a_client_sends_with_the_rtl() {
    let is_long = std::env::var_os("CHIMNEY_LONG").is_some();
    let rig = Rig::with("fuzz-rtl", |memory| RtlNic::virtual_time(memory, 8.0));
    let rig = survives(rig, RTL_MESSAGES[usize::from(is_long)]);
    assert_eq!(rig.device.violations(), None, "the buses kept their rules");
}
