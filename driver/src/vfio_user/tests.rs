//! Tests of the transport against servers that misbehave; `tests/transport` of the workspace has one that does not.

use super::*;
use crate::bus::DmaMemory;
use std::os::unix::net::UnixListener;
use std::thread::JoinHandle;

/// A server that answers commands, one after the other, with what `answer` says: (flags, error number, payload).
fn server(
    name: &str,
    mut answer: impl FnMut(u16, &[u8]) -> Option<(u32, u32, Vec<u8>)> + Send + 'static,
) -> (PathBuf, JoinHandle<()>) {
    let path = std::env::temp_dir().join(format!("chimney-{}-{name}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    let thread = std::thread::spawn(move || {
        let mut channel = Channel::new(listener.accept().unwrap().0).unwrap();
        loop {
            let came = match channel.receive() {
                Ok(Some(message)) => message,
                Ok(None) => {
                    channel.wait_readable(Instant::now() + Duration::from_secs(20)).unwrap();
                    continue;
                }
                Err(_) => return,
            };
            let Some((flags, errno, payload)) = answer(came.header.command, &came.payload) else { return };
            let size = (message::HEADER_BYTES + payload.len()) as u32;
            let header = message::Header { size, flags, errno, ..came.header };
            if flags != u32::MAX {
                channel.send(&[header.to_bytes(), payload].concat(), &[]).unwrap();
            }
        }
    });
    (path, thread)
}

/// The answers of a device that is all right.
fn good(command: u16, payload: &[u8]) -> Option<(u32, u32, Vec<u8>)> {
    let payload = match command {
        command::VERSION => [Version { major: 0, minor: 1 }.to_bytes(), b"{}\0".to_vec()].concat(),
        command::GET_INFO => DeviceInfo { argsz: 16, flags: 3, regions: 9, irqs: 5 }.to_bytes(),
        command::GET_REGION_INFO => RegionInfo { size: 1 << 20, ..RegionInfo::default() }.to_bytes(),
        command::GET_IRQ_INFO => IrqInfo { count: 1, ..IrqInfo::default() }.to_bytes(),
        command::REGION_READ => [payload, &[1, 2, 3, 4]].concat(),
        _ => Vec::new(),
    };
    Some((message::FLAG_REPLY, 0, payload))
}

fn open(path: &Path) -> Result<VfioUser, OpenError> {
    VfioUser::open(path, Duration::from_millis(200))
}

#[test]
fn nobody_there_says_what_to_do() {
    let error = open(Path::new("no-such-socket")).unwrap_err().to_string();
    assert!(error.contains("chimney device --socket no-such-socket"), "{error}");
}

#[test]
fn a_server_that_hangs_up_is_busy() {
    let (path, thread) = server("busy", |_, _| None);
    assert!(matches!(open(&path), Err(OpenError::Busy { .. })));
    thread.join().unwrap();
}

#[test]
fn a_device_without_a_register_bar_is_strange() {
    let (path, thread) = server("strange", |command, payload| match command {
        command::GET_REGION_INFO => Some((message::FLAG_REPLY, 0, RegionInfo::default().to_bytes())),
        _ => good(command, payload),
    });
    let error = open(&path).unwrap_err();
    assert!(error.to_string().contains("BAR0"), "{error}");
    thread.join().unwrap();
}

#[test]
fn an_error_reply_is_an_error_and_the_transport_goes_on() {
    let (path, thread) = server("refuses", |command, payload| match command {
        command::DMA_MAP => Some((message::FLAG_REPLY | message::FLAG_ERROR, 28, Vec::new())),
        _ => good(command, payload),
    });
    let mut bus = open(&path).unwrap();
    let refused = bus.allocate(100, DeviceAccess::Reads).unwrap_err();
    assert_eq!(refused, BusError::Refused { what: "mapping memory", errno: 28 });
    assert_eq!((bus.read32(0), bus.fault()), (0x0403_0201, None));
    drop(bus);
    thread.join().unwrap();
}

#[test]
fn no_answer_in_time_is_the_end_and_says_so() {
    let (path, thread) = server("silent", |command, payload| match command {
        command::REGION_READ => Some((u32::MAX, 0, Vec::new())),
        _ => good(command, payload),
    });
    let mut bus = open(&path).unwrap();
    let memory = bus.allocate(100, DeviceAccess::ReadsWrites).unwrap();
    assert_eq!(bus.read32(0), u32::MAX);
    assert_eq!(bus.fault(), Some(BusError::Timeout { what: "a register read", ms: 200 }));
    let since = Instant::now();
    assert_eq!(bus.read32(0), u32::MAX);
    bus.write32(0, 1);
    assert_eq!(bus.reset(), Err(BusError::Gone { what: "a reset" }));
    assert!(since.elapsed() < Duration::from_millis(150), "nothing is waited for twice");
    memory.write(90, &[7; 10]);
    let mut out = [0; 2];
    memory.read(98, &mut out);
    assert_eq!(out, [7; 2], "memory stays, so that connections can be rebuilt from it");
    drop((bus, memory));
    thread.join().unwrap();
}

#[test]
fn an_answer_to_another_question_is_nonsense() {
    let (path, thread) = server("nonsense", |command, payload| match command {
        command::REGION_READ => Some((message::FLAG_REPLY, 0, vec![0; 3])),
        _ => good(command, payload),
    });
    let mut bus = open(&path).unwrap();
    assert_eq!(bus.read32(0), u32::MAX);
    assert_eq!(bus.fault(), Some(BusError::Nonsense { what: "a register read" }));
    drop(bus);
    thread.join().unwrap();
}

#[test]
fn memory_knows_its_bounds_and_lies_apart() {
    let (path, thread) = server("bounds", good);
    let mut bus = open(&path).unwrap();
    let a = bus.allocate(4096, DeviceAccess::ReadsWrites).unwrap();
    let b = bus.allocate(16, DeviceAccess::Reads).unwrap();
    assert_eq!(b.iova() - a.iova(), 2 * PAGE_BYTES, "a page between the two is mapped for nobody");
    a.store_u64(4088, 5);
    assert_eq!((a.load_u64(4088), b.len_bytes()), (5, 16));
    let past = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| b.load_u64(16)));
    assert!(past.is_err());
    drop((a, b, bus));
    thread.join().unwrap();
}
