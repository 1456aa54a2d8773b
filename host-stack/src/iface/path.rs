//! Path objects: local and remote address, MTU, and the IP identifications of both owners.

use crate::wire::ip::header_len;
use chimney_abi::wire::ipv4::ID_TARGET_START;
use chimney_abi::wire::{ipv6, tcp};
use chimney_host_stack_core::ip_id::ip_id;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Smallest MTU that an ICMP message may set for IPv4 (RFC 1191 3 allows 68; below 576 it is rather an attack).
const MIN_PATH_MTU: u16 = 576;

/// The same for the family of `ip` (RFC 8201 4).
fn min_mtu(ip: IpAddr) -> u16 {
    if ip.is_ipv4() {
        MIN_PATH_MTU
    } else {
        ipv6::MIN_MTU
    }
}

/// One pair of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// Our address.
    pub src: IpAddr,
    /// The peer's address.
    pub dst: IpAddr,
    /// Path MTU, bytes.
    pub mtu: u16,
    /// Packets the host has sent on this path; not counted for IPv6, which has no identifications.
    pub host_counter: u32,
    /// Packets a target has sent on this path; goes down with an offload and comes back.
    pub target_counter: u16,
}

impl Path {
    /// First identification of the target's half.
    pub const TARGET_ID_START: u16 = ID_TARGET_START;
    /// How far a target that is gone may have come, at a guess, as R-280 wants to know it. This is the golden section of its half:
    /// however many targets are lost one after the other, each begins far from where all before it were.
    const LOST_STEP: u16 = 0x4F1B;

    /// The identification of the host's next packet, in 0x0000 to 0x7FFF.
    pub fn next_id(&mut self) -> u16 {
        let id = ip_id(0, self.host_counter);
        self.host_counter = self.host_counter.wrapping_add(1);
        id
    }

    /// Passes over the identifications of `count` packets: segments of a large frame, numbered by a device.
    pub fn skip_ids(&mut self, count: u32) {
        self.host_counter = self.host_counter.wrapping_add(count);
    }

    /// The target is gone with its count: the next one must not repeat its identifications within a packet's lifetime (R-280, law L3).
    pub fn lose_target(&mut self) {
        self.target_counter = self.target_counter.wrapping_add(Self::LOST_STEP);
    }

    /// Payload bytes per segment: the peer's MSS and the path, less options on every segment
    /// (RFC 9293 3.7.1).
    #[must_use]
    pub fn eff_mss(&self, remote_mss: u16, has_timestamps: bool) -> u32 {
        let by_path = usize::from(self.mtu) - header_len(self.dst) - tcp::HEADER_LEN;
        let options = if has_timestamps { tcp::TIMESTAMPS_PADDED_LEN } else { 0 };
        // `as`: at most 65535.
        (by_path.min(usize::from(remote_mss.max(tcp::MIN_MSS))) - options) as u32
    }
}

/// The paths of one interface.
#[derive(Debug)]
pub struct PathTable {
    mtu: u16,
    paths: BTreeMap<(IpAddr, IpAddr), Path>,
}

impl PathTable {
    /// No path yet; new ones start with the link's MTU.
    #[must_use]
    pub fn new(mtu: u16) -> PathTable {
        PathTable { mtu, paths: BTreeMap::new() }
    }

    /// The path from `src` to `dst`; a new one starts with the link's MTU.
    pub fn get(&mut self, src: IpAddr, dst: IpAddr) -> &mut Path {
        let mtu = self.mtu.max(min_mtu(dst));
        let fresh = Path { src, dst, mtu, host_counter: 0, target_counter: 0 };
        self.paths.entry((src, dst)).or_insert(fresh)
    }

    /// The MSS that we advertise to `dst` (RFC 9293 3.7.1: from the link's MTU, options not subtracted).
    #[must_use]
    pub fn local_mss(&self, dst: IpAddr) -> u16 {
        // `as`: header lengths are 20 and 40.
        self.mtu.max(min_mtu(dst)) - header_len(dst) as u16 - tcp::HEADER_LEN as u16
    }

    /// RFC 1191, RFC 8201: a router reported a smaller MTU. Returns true if the path changed.
    pub fn reduce_mtu(&mut self, src: IpAddr, dst: IpAddr, mtu: u16) -> bool {
        let is_smaller = self.is_smaller(src, dst, mtu);
        if is_smaller {
            self.get(src, dst).mtu = mtu.max(min_mtu(dst));
        }
        is_smaller
    }

    /// Whether such a report changes the path.
    pub fn is_smaller(&mut self, src: IpAddr, dst: IpAddr, mtu: u16) -> bool {
        mtu.max(min_mtu(dst)) < self.get(src, dst).mtu
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

    /// Verifies
    #[test]
    fn identifications_wrap_inside_the_hosts_half() {
        let mut table = PathTable::new(1500);
        let path = table.get(V4, V4);
        path.host_counter = 0x7FFF;
        assert_eq!([path.next_id(), path.next_id()], [0x7FFF, 0]);
    }

    /// Verifies: R-280
    #[test]
    fn targets_lost_one_after_the_other_repeat_no_identification_soon() {
        let mut table = PathTable::new(1500);
        let path = table.get(V4, V4);
        let mut starts = Vec::new();
        for _ in 0..10 {
            let start = ip_id(Path::TARGET_ID_START, path.target_counter.into());
            let near = |s: &u16| s.abs_diff(start).min(0x8000 - s.abs_diff(start)) < 1500;
            assert!(!starts.iter().any(near), "{start:#x} after {starts:x?}");
            starts.push(start);
            path.lose_target();
        }
    }

    #[test]
    fn segment_size_is_the_smaller_of_peer_and_path_less_options() {
        let mut table = PathTable::new(1500);
        for (ip, mss, ts, want) in [
            (V4, 1460, false, 1460),
            (V4, 9000, true, 1448),
            (V4, 536, true, 524),
            (V4, 1, true, 76),
            (V6, 9000, false, 1440),
            (V6, 1220, true, 1208),
        ] {
            assert_eq!(table.get(ip, ip).eff_mss(mss, ts), want, "{ip}, MSS {mss}");
        }
    }

    #[test]
    fn no_message_takes_a_path_below_what_its_family_guarantees() {
        let mut table = PathTable::new(1500);
        for (ip, smallest) in [(V4, 576), (V6, 1280)] {
            assert!(table.reduce_mtu(ip, ip, 100));
            assert_eq!(table.get(ip, ip).mtu, smallest);
            assert!(!table.reduce_mtu(ip, ip, 1499), "it never grows");
        }
    }
}
