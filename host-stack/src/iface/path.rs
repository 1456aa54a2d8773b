//! Path objects: local and remote address, MTU, and the IP identifications of both owners.

use chimney_abi::wire::ipv4::{HEADER_LEN, ID_TARGET_START};
use chimney_abi::wire::{ipv4, tcp};
use chimney_host_stack_core::ip_id::ip_id;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Smallest MTU that an ICMP message may set (RFC 1191 3 allows 68; below 576 it is rather an attack).
const MIN_PATH_MTU: u16 = 576;

/// One pair of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// Our address.
    pub src: Ipv4Addr,
    /// The peer's address.
    pub dst: Ipv4Addr,
    /// Path MTU, bytes.
    pub mtu: u16,
    /// Packets the host has sent on this path.
    pub host_counter: u32,
    /// Packets a target has sent on this path; goes down with an offload and comes back.
    pub target_counter: u16,
}

impl Path {
    /// First identification of the target's half.
    pub const TARGET_ID_START: u16 = ID_TARGET_START;

    /// The identification of the host's next packet, in 0x0000 to 0x7FFF.
    pub fn next_id(&mut self) -> u16 {
        let id = ip_id(0, self.host_counter);
        self.host_counter = self.host_counter.wrapping_add(1);
        id
    }

    /// Payload bytes per segment: the peer's MSS and the path, less options on every segment
    /// (RFC 9293 3.7.1).
    #[must_use]
    pub fn eff_mss(&self, remote_mss: u16, has_timestamps: bool) -> u32 {
        let by_path = usize::from(self.mtu) - HEADER_LEN - tcp::HEADER_LEN;
        let options = if has_timestamps { tcp::TIMESTAMPS_PADDED_LEN } else { 0 };
        // `as`: at most 65535.
        (by_path.min(usize::from(remote_mss.max(tcp::MIN_MSS))) - options) as u32
    }
}

/// The paths of one interface, by remote address.
#[derive(Debug)]
pub struct PathTable {
    src: Ipv4Addr,
    mtu: u16,
    paths: BTreeMap<Ipv4Addr, Path>,
}

impl PathTable {
    /// No path yet; new ones start with the link's MTU.
    #[must_use]
    pub fn new(src: Ipv4Addr, mtu: u16) -> PathTable {
        PathTable { src, mtu: mtu.max(MIN_PATH_MTU), paths: BTreeMap::new() }
    }

    /// The path to `dst`.
    pub fn get(&mut self, dst: Ipv4Addr) -> &mut Path {
        let fresh = Path { src: self.src, dst, mtu: self.mtu, host_counter: 0, target_counter: 0 };
        self.paths.entry(dst).or_insert(fresh)
    }

    /// The MSS that we advertise (RFC 9293 3.7.1: from the link's MTU, options not subtracted).
    #[must_use]
    pub fn local_mss(&self) -> u16 {
        // `as`: both header lengths are 20.
        self.mtu - ipv4::HEADER_LEN as u16 - tcp::HEADER_LEN as u16
    }

    /// RFC 1191: a router reported a smaller MTU. Returns true if the path changed.
    pub fn reduce_mtu(&mut self, dst: Ipv4Addr, mtu: u16) -> bool {
        let path = self.get(dst);
        let mtu = mtu.max(MIN_PATH_MTU);
        let is_smaller = mtu < path.mtu;
        path.mtu = path.mtu.min(mtu);
        is_smaller
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verifies
    #[test]
    fn identifications_wrap_inside_the_hosts_half() {
        let mut table = PathTable::new(Ipv4Addr::LOCALHOST, 1500);
        let path = table.get(Ipv4Addr::LOCALHOST);
        path.host_counter = 0x7FFF;
        assert_eq!([path.next_id(), path.next_id()], [0x7FFF, 0]);
    }

    #[test]
    fn segment_size_is_the_smaller_of_peer_and_path_less_options() {
        let mut table = PathTable::new(Ipv4Addr::LOCALHOST, 1500);
        let path = table.get(Ipv4Addr::LOCALHOST);
        for (mss, ts, want) in [(1460, false, 1460), (9000, true, 1448), (536, true, 524), (1, true, 76)] {
            assert_eq!(path.eff_mss(mss, ts), want);
        }
    }
}
