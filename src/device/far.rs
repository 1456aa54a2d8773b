//! What can be on the wire of a device.

use super::frame_socket::FrameSocket;
use anyhow::Result;
use chimney_host_stack::{Address, ConnId, ListenerId, MacAddr, Stack, StackConfig, TcpConfig};
use chimney_sim::net::impairment::Impairment;
use chimney_sim::net::netns::PeerConfig;
use chimney_sim::net::tap::{Tap, TapError};
use chimney_sim::net::wire::{FarEnd, QueueEnd};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

pub use chimney_check::ECHO_PORT;

/// MAC address of the echo peer.
pub const ECHO_MAC: MacAddr = MacAddr([0x02, 0xc4, 0x1e, 0, 0, 0x07]);
/// Bytes of a connection that wait to be echoed; more are not read, so that the window closes.
const MOST_WAITING: usize = 256 << 10;

/// `--wire`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WireChoice {
    /// Nothing; frames are lost.
    None,
    /// Every frame comes back to its sender.
    Reflect,
    /// A second instance of our stack.
    Echo,
    /// A TAP with this name.
    Tap(String),
    /// A UNIX socket at this path.
    Socket(PathBuf),
}

impl FromStr for WireChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "none" => Ok(Self::None),
            None if text == "reflect" => Ok(Self::Reflect),
            None if text == "echo" => Ok(Self::Echo),
            Some(("tap", name)) if !name.is_empty() => Ok(Self::Tap(name.to_owned())),
            Some(("socket", path)) if !path.is_empty() => Ok(Self::Socket(path.into())),
            _ => Err("a wire is none, reflect, echo, tap:NAME or socket:PATH".into()),
        }
    }
}

pub(super) fn impairment(text: &str) -> Result<Impairment, String> {
    text.parse().map_err(|e: chimney_sim::net::impairment::ParseError| e.to_string())
}

/// The far end of the wire.
pub enum Far {
    /// Nobody.
    Nobody,
    /// Every frame comes back, addresses exchanged.
    Reflector(QueueEnd),
    /// A peer that sends back what it receives on a connection.
    Echo(Box<EchoPeer>),
    /// A Linux network interface.
    Tap(Tap),
    /// Whoever is at the socket.
    Socket(FrameSocket),
}

impl Far {
    /// Makes what was chosen.
    ///
    /// # Errors
    /// When a TAP or a socket cannot be made.
    pub fn open(choice: &WireChoice) -> Result<Self> {
        Ok(match choice {
            WireChoice::None => Self::Nobody,
            WireChoice::Reflect => Self::Reflector(QueueEnd::default()),
            WireChoice::Echo => Self::Echo(Box::new(EchoPeer::new(&PeerConfig::default())?)),
            WireChoice::Tap(name) => Self::Tap(Tap::create(name)?),
            WireChoice::Socket(path) => Self::Socket(FrameSocket::listen(path)?),
        })
    }

    /// Runs what is due there.
    pub fn poll(&mut self, now_us: u64) {
        match self {
            Self::Reflector(queue) => {
                while let Some(mut frame) = queue.arrived.pop_front() {
                    if frame.len() >= 12 {
                        let (dst, src) = frame[..12].split_at_mut(6);
                        dst.swap_with_slice(src);
                        queue.to_send.push_back(frame);
                    }
                }
            }
            Self::Echo(peer) => peer.poll(now_us),
            Self::Nobody | Self::Tap(_) | Self::Socket(_) => {}
        }
    }
}

impl FarEnd for Far {
    fn take(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, TapError> {
        match self {
            Self::Nobody => Ok(None),
            Self::Reflector(queue) => queue.take(buffer),
            Self::Echo(peer) => peer.queue.take(buffer),
            Self::Tap(tap) => tap.take(buffer),
            Self::Socket(socket) => Ok(socket.take(buffer)),
        }
    }

    fn give(&mut self, frame: &[u8]) -> Result<bool, TapError> {
        match self {
            Self::Nobody => Ok(false),
            Self::Reflector(queue) => queue.give(frame),
            Self::Echo(peer) => peer.queue.give(frame),
            Self::Tap(tap) => tap.give(frame),
            Self::Socket(socket) => Ok(socket.give(frame)),
        }
    }
}

/// A second instance of our stack that sends back what it receives (RFC 862).
pub struct EchoPeer {
    queue: QueueEnd,
    stack: Stack,
    listener: ListenerId,
    /// Bytes that were received and not sent yet.
    waiting: BTreeMap<ConnId, Vec<u8>>,
}

impl EchoPeer {
    /// A peer with the addresses of the builtin network.
    ///
    /// # Errors
    /// Never in practice: the ports of a new stack are free.
    pub fn new(net: &PeerConfig) -> Result<Self> {
        let mut stack = Stack::new(StackConfig {
            mac: ECHO_MAC,
            addresses: vec![Address::new(net.peer_ip, net.prefix_len)],
            mtu: net.mtu,
            secret: 0xec40,
            tcp: TcpConfig::default(),
        });
        let listener = stack.listen(ECHO_PORT, 64)?;
        Ok(Self { queue: QueueEnd::default(), stack, listener, waiting: BTreeMap::new() })
    }

    fn poll(&mut self, now_us: u64) {
        while let Some(frame) = self.queue.arrived.pop_front() {
            self.stack.handle_frame(now_us, &frame);
        }
        while self.stack.next_event().is_some() {}
        while let Some(id) = self.stack.accept(self.listener) {
            self.waiting.insert(id, Vec::new());
        }
        let stack = &mut self.stack;
        self.waiting.retain(|id, waiting| echo(stack, *id, waiting));
        self.queue.to_send.extend(self.stack.poll(now_us));
    }
}

/// Moves bytes of one connection; false when it is over.
fn echo(stack: &mut Stack, id: ConnId, waiting: &mut Vec<u8>) -> bool {
    let mut bytes = [0; 16 << 10];
    while waiting.len() < MOST_WAITING {
        match stack.recv(id, &mut bytes) {
            Ok(0) => break,
            Ok(n) => waiting.extend_from_slice(&bytes[..n]),
            Err(_) => return false,
        }
    }
    match stack.send(id, waiting) {
        Ok(n) => drop(waiting.drain(..n)),
        Err(_) => return false,
    }
    let is_over = stack.status(id).map_or(true, |s| s.has_peer_closed && s.readable_bytes == 0);
    if is_over && waiting.is_empty() {
        // The connection may be gone already.
        let _ = stack.close(id);
        return false;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wires_are_spelled_as_the_help_says() {
        assert_eq!("tap:chimney0".parse(), Ok(WireChoice::Tap("chimney0".into())));
        assert_eq!("socket:a:b".parse(), Ok(WireChoice::Socket("a:b".into())));
        assert_eq!("reflect".parse(), Ok(WireChoice::Reflect));
        for wrong in ["", "tap:", "socket", "wet string"] {
            assert!(wrong.parse::<WireChoice>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_reflected_frame_has_its_addresses_exchanged() {
        let mut far = Far::open(&WireChoice::Reflect).unwrap();
        let frame: Vec<u8> = (0..60).collect();
        assert!(far.give(&frame).unwrap() && far.give(&[1; 5]).unwrap());
        far.poll(0);
        let mut buffer = [0; 100];
        assert_eq!(far.take(&mut buffer).unwrap(), Some(60));
        assert_eq!((&buffer[..6], &buffer[6..12]), (&frame[6..12], &frame[..6]));
        assert_eq!(&buffer[12..60], &frame[12..]);
        assert_eq!(far.take(&mut buffer).unwrap(), None);
    }
}
