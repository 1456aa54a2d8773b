//! Forward: a segment that reached the host goes to the device as if it came from the wire (spec 12.1, R-242).
//!
//! The host gives TCP header and payload; the driver puts the IP and Ethernet headers back that such a segment had,
//! from path and neighbor (with its tag, or the device would not take it: R-284), and sends the frame with `TX_LOOPBACK`. It completes when the device has taken it: from then on it is
//! processed or, if the connection is leaving, comes up the ordinary path. It is never lost.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ops::Range;

use chimney_abi::cmd::Status;
use chimney_abi::desc::TX_LOOPBACK;
use chimney_abi::offload::{HostHandle, OffloadClient, OffloadError, Token};
use chimney_abi::wire::{ethernet, ip_protocol, ipv4, ipv6, tcp};

use crate::bus::Bus;
use crate::conn::Phase;
use crate::driver::Driver;

/// A forward that is not complete.
#[derive(Debug)]
pub(crate) struct Forward {
    pub token: Token,
    pub handle: HostHandle,
    /// The frame, until it has a ring slot.
    pub frame: Vec<u8>,
    /// Where the segment lies in it.
    pub segment: Range<usize>,
}

/// The way that a forwarded segment came.
#[derive(Clone, Copy, Debug)]
struct Way {
    own: [u8; 6],
    peer: [u8; 6],
    vlan: u16,
    from: IpAddr,
    to: IpAddr,
}

impl<B: Bus> Driver<B> {
    pub(crate) fn forward_segment(&mut self, token: Token, segment: &[u8]) -> Result<(), OffloadError> {
        let conn = self.conns.get(token).ok_or(OffloadError::StaleToken)?;
        if conn.phase != Phase::Offloaded {
            return Err(OffloadError::WrongPhase);
        }
        let handle = conn.handle;
        let path = self.paths.get(conn.path).ok_or(OffloadError::StaleToken)?;
        let neighbor = self.neighbors.get(path.neighbor).ok_or(OffloadError::StaleToken)?;
        let way = Way {
            own: self.config.mac,
            peer: neighbor.state.dst_mac,
            vlan: neighbor.state.vlan,
            from: path.state.dst,
            to: path.state.src,
        };
        let (frame, place) = build_frame(&way, segment).ok_or(OffloadError::OutOfRange)?;
        let id = self.next_forward;
        self.next_forward += 1;
        self.forwards.insert(id, Forward { token, handle, frame, segment: place });
        self.forward_queue.push_back(id);
        if let Some(conn) = self.conns.get_mut(token) {
            conn.forwards += 1;
        }
        Ok(())
    }

    /// Puts forwards into the TX ring as far as it has room.
    pub(crate) fn queue_forwards(&mut self) {
        while let Some(&id) = self.forward_queue.front() {
            let Some(forward) = self.forwards.get(&id) else { break };
            // Not `OutOfRange`: a frame of another length was refused when it was built.
            if self.queues.tx.push(&forward.frame, TX_LOOPBACK, Some(id)).is_err() {
                break;
            }
            self.forward_queue.pop_front();
        }
    }

    /// The device has taken a forwarded frame.
    pub(crate) fn forward_done(&mut self, id: u64, client: &mut dyn OffloadClient) {
        let Some(forward) = self.forwards.remove(&id) else { return };
        let aborted = self.conns.get_mut(forward.token).is_some_and(|conn| {
            conn.forwards -= 1;
            conn.aborted
        });
        // after a reset the host drops the segment.
        let status = if aborted { Status::RequestAborted } else { Status::Success };
        client.forward_complete(forward.handle, status, Vec::new());
    }

    /// Gives every forward back (loss of the device): the host processes them.
    pub(crate) fn return_forwards(&mut self, client: &mut dyn OffloadClient) {
        self.forward_queue.clear();
        for (_, forward) in std::mem::take(&mut self.forwards) {
            let segment = forward.frame[forward.segment].to_vec(); // without padding
            client.forward_complete(forward.handle, Status::UploadInProgress, segment);
        }
    }
}

/// The frame in which the segment came, or would have come, and where it lies there; nothing if it fits no frame.
fn build_frame(way: &Way, segment: &[u8]) -> Option<(Vec<u8>, Range<usize>)> {
    let mut frame = Vec::with_capacity(ethernet::MAX_JUMBO_LEN);
    frame.extend(way.own);
    frame.extend(way.peer);
    if way.vlan != 0 {
        frame.extend(ethernet::TYPE_VLAN.to_be_bytes());
        frame.extend(way.vlan.to_be_bytes());
    }
    match (way.from, way.to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            frame.extend(ethernet::TYPE_IPV4.to_be_bytes());
            frame.extend(ipv4_header(from, to, segment.len())?);
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            frame.extend(ethernet::TYPE_IPV6.to_be_bytes());
            frame.extend(ipv6_header(from, to, segment.len())?);
        }
        _ => return None,
    }
    let place = frame.len()..frame.len() + segment.len();
    if segment.len() < tcp::HEADER_LEN || place.end > ethernet::MAX_JUMBO_LEN {
        return None;
    }
    frame.extend(segment);
    frame.resize(frame.len().max(ethernet::MIN_FRAME_LEN), 0);
    Some((frame, place))
}

fn ipv4_header(from: Ipv4Addr, to: Ipv4Addr, len: usize) -> Option<[u8; ipv4::HEADER_LEN]> {
    let mut ip = [0; ipv4::HEADER_LEN];
    let total = u16::try_from(ipv4::HEADER_LEN + len).ok()?;
    ip[ipv4::VERSION_IHL] = ipv4::VERSION_IHL_PLAIN;
    ip[ipv4::TOTAL_LEN..][..2].copy_from_slice(&total.to_be_bytes());
    ip[ipv4::FLAGS_FRAGMENT..][..2].copy_from_slice(&ipv4::FLAG_DF.to_be_bytes());
    ip[ipv4::TTL] = ipv4::DEFAULT_TTL;
    ip[ipv4::PROTOCOL] = ip_protocol::TCP;
    ip[ipv4::SRC..][..4].copy_from_slice(&from.octets());
    ip[ipv4::DST..][..4].copy_from_slice(&to.octets());
    let sum = ipv4_checksum(&ip);
    ip[ipv4::CHECKSUM..][..2].copy_from_slice(&sum.to_be_bytes());
    Some(ip)
}

fn ipv6_header(from: Ipv6Addr, to: Ipv6Addr, len: usize) -> Option<[u8; ipv6::HEADER_LEN]> {
    let mut ip = [0; ipv6::HEADER_LEN];
    ip[ipv6::VERSION_CLASS_FLOW] = ipv6::VERSION;
    ip[ipv6::PAYLOAD_LEN..][..2].copy_from_slice(&u16::try_from(len).ok()?.to_be_bytes());
    ip[ipv6::NEXT_HEADER] = ip_protocol::TCP;
    ip[ipv6::HOP_LIMIT] = ipv4::DEFAULT_TTL;
    ip[ipv6::SRC..][..16].copy_from_slice(&from.octets());
    ip[ipv6::DST..][..16].copy_from_slice(&to.octets());
    Some(ip)
}

/// RFC 791 3.1: complement of the ones-complement sum, over a header whose checksum field is zero.
fn ipv4_checksum(header: &[u8]) -> u16 {
    let sum: u32 = header.chunks_exact(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16); // ten words: two folds are enough
    !((folded & 0xffff) + (folded >> 16)) as u16 // below 2^16 after the folds
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(from: &str, to: &str, vlan: u16) -> Way {
        Way { own: [1; 6], peer: [2; 6], vlan, from: from.parse().unwrap(), to: to.parse().unwrap() }
    }

    #[test]
    fn the_frame_looks_like_one_from_the_peer() {
        let way = way("10.0.0.2", "10.0.0.1", 0);
        let (frame, place) = build_frame(&way, &[7; 20]).unwrap();
        assert_eq!((frame.len(), place), (ethernet::MIN_FRAME_LEN, 34..54));
        assert_eq!((&frame[..6], &frame[6..12]), (&[1; 6][..], &[2; 6][..]));
        let ip = &frame[14..34];
        let sum: u32 = ip.chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "header checksum");
        assert_eq!((&ip[12..16], &ip[16..20]), (&[10, 0, 0, 2][..], &[10, 0, 0, 1][..]));
        assert_eq!(&frame[34..54], &[7; 20]);
        assert!(build_frame(&way, &[7; 19]).is_none());
        assert!(build_frame(&way, &[7; ethernet::MAX_JUMBO_LEN]).is_none());
        assert!(build_frame(&way, &[7; 70_000]).is_none());
    }

    #[test]
    fn a_frame_of_a_tagged_neighbor_has_its_tag() {
        let (frame, place) = build_frame(&way("2001:db8::2", "2001:db8::1", 5), &[7; 20]).unwrap();
        assert_eq!((frame.len(), place), (78, 58..78));
        assert_eq!(frame[12..18], [0x81, 0, 0, 5, 0x86, 0xdd]);
        assert_eq!(frame[18..26], [0x60, 0, 0, 0, 0, 20, 6, 64]);
        assert_eq!((frame[41], frame[57]), (2, 1), "last byte of each address");
    }
}
