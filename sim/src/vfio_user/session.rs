//! One client: what each command does.

use super::maps::Maps;
use super::notify::{vectors, Notifier};
use super::ServerCounters;
use crate::device::Device;
use crate::host_mem::HostMemory;
use crate::pci::Function;
use chimney_vfio_user::channel::{Channel, ChannelError, Message};
use chimney_vfio_user::message::{self, command, irq, region};
use chimney_vfio_user::message::{
    DeviceInfo, DmaMap, DmaUnmap, IrqInfo, RegionAccess, RegionInfo, SetIrqs, Version,
};
use chimney_vfio_user::pci;
use rustix::io::Errno;

/// Commands that are done in one poll: a client that floods us does not stop the device.
const MOST_PER_POLL: usize = 64;
/// What we say about ourselves: one descriptor in a message is all that we ever need.
const CAPABILITIES: &[u8] = b"{\"capabilities\":{\"max_msg_fds\":1,\"max_data_xfer_size\":1048576}}\0";

/// The payload of a reply, or an error number.
type Answer = Result<Vec<u8>, i32>;

/// A client. See the module page.
#[derive(Debug)]
pub(super) struct Session {
    channel: Channel,
    has_version: bool,
    maps: Maps,
    notifier: Notifier,
}

impl Session {
    pub(super) fn new(channel: Channel, memory: HostMemory) -> Self {
        Self { channel, has_version: false, maps: Maps::new(memory), notifier: Notifier::default() }
    }

    pub(super) fn channel(&self) -> &Channel {
        &self.channel
    }

    pub(super) fn has_vector(&self) -> bool {
        self.notifier.is_set(irq::MSIX)
    }

    pub(super) fn signal(&self) {
        self.notifier.signal(irq::MSIX);
    }

    pub(super) fn request_release(&self) -> bool {
        self.notifier.signal(irq::REQUEST)
    }

    /// Does what came. While a reply waits for the client to take it, nothing more is read from that client.
    pub(super) fn poll(
        &mut self,
        function: &mut Function,
        device: &mut impl Device,
        counters: &mut ServerCounters,
    ) -> Result<bool, ChannelError> {
        let mut any = false;
        for _ in 0..MOST_PER_POLL {
            self.channel.flush()?;
            if self.channel.has_unsent() {
                break;
            }
            let Some(message) = self.channel.receive()? else { break };
            any = true;
            let header = message.header;
            if !header.is_command() {
                // We never ask a client for anything.
                return Err(ChannelError::BadSize { size: header.size });
            }
            counters.messages += 1;
            let answer = self.answer(message, function, device, counters);
            counters.refused += u64::from(answer.is_err());
            if header.wants_reply() {
                let reply = match answer {
                    Ok(payload) => {
                        message::message(header.id, header.command, message::FLAG_REPLY, &[&payload])
                    }
                    Err(errno) => message::error_reply(&header, errno),
                };
                self.channel.send(&reply, &[])?;
            }
        }
        Ok(any)
    }

    fn answer(
        &mut self,
        message: Message,
        function: &mut Function,
        device: &mut impl Device,
        counters: &mut ServerCounters,
    ) -> Answer {
        let payload = message.payload.as_slice();
        let is_version = message.header.command == command::VERSION;
        if is_version == self.has_version {
            return Err(Errno::INVAL.raw_os_error()); // first of all, and once
        }
        match message.header.command {
            command::VERSION => self.version(payload),
            command::DMA_MAP => {
                self.maps.map(parse(DmaMap::from_bytes(payload))?, &message.fds)?;
                counters.maps += 1;
                Ok(Vec::new())
            }
            command::DMA_UNMAP => {
                let request = parse(DmaUnmap::from_bytes(payload))?;
                self.maps.unmap(request)?;
                Ok(request.to_bytes())
            }
            command::GET_INFO => parse(DeviceInfo::from_bytes(payload)).map(device_info),
            command::GET_REGION_INFO => region_info(parse(RegionInfo::from_bytes(payload))?.index),
            command::GET_IRQ_INFO => irq_info(parse(IrqInfo::from_bytes(payload))?.index),
            command::SET_IRQS => {
                let request = parse(SetIrqs::from_bytes(payload))?;
                self.notifier.set(request, &payload[SetIrqs::BYTES..], message.fds)?;
                Ok(Vec::new())
            }
            command::REGION_READ => read(parse(RegionAccess::from_bytes(payload))?, function, device),
            command::REGION_WRITE => write(payload, function, device),
            command::RESET => {
                function.reset(device);
                Ok(Vec::new())
            }
            _ => Err(Errno::NOTSUP.raw_os_error()),
        }
    }

    fn version(&mut self, payload: &[u8]) -> Answer {
        let version = parse(Version::from_bytes(payload))?;
        let (major, minor) = message::VERSION;
        let text = &payload[Version::BYTES..];
        // The text is optional. What it can say concerns what we never send.
        if version.major != major || !(text.is_empty() || text.ends_with(&[0])) {
            return Err(Errno::INVAL.raw_os_error());
        }
        self.has_version = true;
        let ours = Version { major, minor: minor.min(version.minor) };
        Ok([ours.to_bytes(), CAPABILITIES.to_vec()].concat())
    }
}

/// A payload that is too short.
fn parse<T>(fields: Option<T>) -> Result<T, i32> {
    fields.ok_or(Errno::INVAL.raw_os_error())
}

fn device_info(_: DeviceInfo) -> Vec<u8> {
    let flags = message::DEVICE_RESET | message::DEVICE_PCI;
    let argsz = DeviceInfo::BYTES as u32; // 16
    DeviceInfo { argsz, flags, regions: region::COUNT, irqs: irq::COUNT }.to_bytes()
}

fn region_info(index: u32) -> Answer {
    if index >= region::COUNT {
        return Err(Errno::INVAL.raw_os_error());
    }
    let size = match index {
        region::CONFIG => pci::CONFIG_BYTES as u64, // 256
        bar => pci::bar_bytes(bar).into(),
    };
    let flags = if size == 0 { 0 } else { region::READ | region::WRITE };
    let argsz = RegionInfo::BYTES as u32; // 32
    Ok(RegionInfo { argsz, flags, index, cap_offset: 0, size, offset: 0 }.to_bytes())
}

fn irq_info(index: u32) -> Answer {
    if index >= irq::COUNT {
        return Err(Errno::INVAL.raw_os_error());
    }
    let count = vectors(index);
    let argsz = IrqInfo::BYTES as u32; // 16
    Ok(IrqInfo { argsz, flags: irq::EVENTFD | irq::NO_RESIZE, index, count }.to_bytes())
}

fn read(access: RegionAccess, function: &mut Function, device: &mut impl Device) -> Answer {
    let len = access.count as usize;
    if len > message::MAX_TRANSFER_BYTES {
        return Err(Errno::INVAL.raw_os_error());
    }
    let mut data = vec![0; len];
    let result = match access.region {
        region::CONFIG => function.config_read(access.offset, &mut data),
        bar => function.bar_read(device, bar, access.offset, &mut data),
    };
    result.map_err(|_| Errno::INVAL.raw_os_error())?;
    Ok([access.to_bytes(), data].concat())
}

fn write(payload: &[u8], function: &mut Function, device: &mut impl Device) -> Answer {
    let access = parse(RegionAccess::from_bytes(payload))?;
    let data = &payload[RegionAccess::BYTES..];
    if data.len() as u64 != u64::from(access.count) {
        return Err(Errno::INVAL.raw_os_error());
    }
    let result = match access.region {
        region::CONFIG => function.config_write(device, access.offset, data),
        bar => function.bar_write(device, bar, access.offset, data),
    };
    result.map_err(|_| Errno::INVAL.raw_os_error())?;
    Ok(access.to_bytes())
}
