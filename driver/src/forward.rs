//! Forward: a segment that reached the host goes to the device as if it came from the wire (spec 12.1, R-242).
//!
//! The host gives TCP header and payload; the driver puts the IPv4 and Ethernet headers back that such a segment had,
//! from path and neighbor, and sends the frame with `TX_LOOPBACK`. It completes when the device has taken it: from then on it is
//! processed or, if the connection is leaving, comes up the ordinary path. It is never lost.

use core::net::IpAddr;

use chimney_abi::cmd::Status;
use chimney_abi::desc::TX_LOOPBACK;
use chimney_abi::offload::{HostHandle, OffloadClient, OffloadError, Token};
use chimney_abi::wire::{ethernet, ip_protocol, ipv4, tcp};

use crate::bus::Bus;
use crate::conn::Phase;
use crate::driver::Driver;
use crate::queue::frames::MAX_FRAME_BYTES;

/// Where the segment begins in the frame.
const SEGMENT_OFFSET: usize = ethernet::HEADER_LEN + ipv4::HEADER_LEN;

/// A forward that is not complete.
#[derive(Debug)]
pub(crate) struct Forward {
    pub token: Token,
    pub handle: HostHandle,
    /// The frame, until it has a ring slot.
    pub frame: Vec<u8>,
    /// Length of the segment in it.
    pub segment_bytes: usize,
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
        let frame =
            build_frame(self.config.mac, neighbor.state.dst_mac, path.state.dst, path.state.src, segment)
                .ok_or(OffloadError::OutOfRange)?;
        let id = self.next_forward;
        self.next_forward += 1;
        self.forwards.insert(id, Forward { token, handle, frame, segment_bytes: segment.len() });
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
            if !self.queues.tx.push(&forward.frame, TX_LOOPBACK, Some(id)) {
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
            let segment = forward.frame[SEGMENT_OFFSET..][..forward.segment_bytes].to_vec(); // without padding
            client.forward_complete(forward.handle, Status::UploadInProgress, segment);
        }
    }
}

/// The frame in which the segment came, or would have come; nothing if it fits no frame.
fn build_frame(own: [u8; 6], peer: [u8; 6], from: IpAddr, to: IpAddr, segment: &[u8]) -> Option<Vec<u8>> {
    let (IpAddr::V4(from), IpAddr::V4(to)) = (from, to) else { return None };
    let total = ipv4::HEADER_LEN + segment.len();
    if segment.len() < tcp::HEADER_LEN || ethernet::HEADER_LEN + total > MAX_FRAME_BYTES {
        return None;
    }
    let mut frame = vec![0; ethernet::HEADER_LEN + total];
    frame[ethernet::DST..][..6].copy_from_slice(&own);
    frame[ethernet::SRC..][..6].copy_from_slice(&peer);
    frame[ethernet::ETHERTYPE..][..2].copy_from_slice(&ethernet::TYPE_IPV4.to_be_bytes());
    let ip = &mut frame[ethernet::HEADER_LEN..];
    ip[ipv4::VERSION_IHL] = ipv4::VERSION_IHL_PLAIN;
    ip[ipv4::TOTAL_LEN..][..2].copy_from_slice(&(total as u16).to_be_bytes()); // at most MAX_FRAME_BYTES
    ip[ipv4::FLAGS_FRAGMENT..][..2].copy_from_slice(&ipv4::FLAG_DF.to_be_bytes());
    ip[ipv4::TTL] = ipv4::DEFAULT_TTL;
    ip[ipv4::PROTOCOL] = ip_protocol::TCP;
    ip[ipv4::SRC..][..4].copy_from_slice(&from.octets());
    ip[ipv4::DST..][..4].copy_from_slice(&to.octets());
    let sum = ipv4_checksum(&ip[..ipv4::HEADER_LEN]);
    ip[ipv4::CHECKSUM..][..2].copy_from_slice(&sum.to_be_bytes());
    ip[ipv4::HEADER_LEN..].copy_from_slice(segment);
    frame.resize(frame.len().max(ethernet::MIN_FRAME_LEN), 0);
    Some(frame)
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

    #[test]
    fn the_frame_looks_like_one_from_the_peer() {
        let (from, to) = ("10.0.0.2".parse().unwrap(), "10.0.0.1".parse().unwrap());
        let frame = build_frame([1; 6], [2; 6], from, to, &[7; 20]).unwrap();
        assert_eq!(frame.len(), ethernet::MIN_FRAME_LEN);
        assert_eq!((&frame[..6], &frame[6..12]), (&[1; 6][..], &[2; 6][..]));
        let ip = &frame[14..34];
        let sum: u32 = ip.chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "header checksum");
        assert_eq!((&ip[12..16], &ip[16..20]), (&[10, 0, 0, 2][..], &[10, 0, 0, 1][..]));
        assert_eq!(&frame[34..54], &[7; 20]);
        assert!(build_frame([1; 6], [2; 6], from, to, &[7; 19]).is_none());
        assert!(build_frame([1; 6], [2; 6], from, to, &[7; 2048]).is_none());
    }
}
