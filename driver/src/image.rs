//! Neighbor and path states to images and back; the image header.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use chimney_abi::cmd::{ImageKind, Status};
use chimney_abi::offload::{HostHandle, NeighborState, PathState, Token};
use chimney_abi::state::{
    ImageHeader, NeighborImage, PathImage, TcpRecord, HEADER_BYTES, IMAGE_REVISION, IMAGE_STRIDE,
    NEIGHBOR_LLC_SNAP, PATH_IPV6,
};

/// Bytes of one image.
pub const STRIDE: usize = IMAGE_STRIDE as usize;
const HEADER: usize = HEADER_BYTES as usize;

/// One image on its way to the device or back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image {
    bytes: [u8; STRIDE],
}

impl Image {
    /// An image with header and no body yet.
    pub fn new(kind: ImageKind, token: Token, parent: Option<Token>, handle: HostHandle) -> Self {
        let body = match kind {
            ImageKind::Neighbor => NeighborImage::BYTES,
            ImageKind::Path => PathImage::BYTES,
            ImageKind::Tcp => TcpRecord::BYTES,
        };
        let header = ImageHeader {
            kind: kind.code(),
            // Until the device says otherwise: an image that it could not even read stays a failure.
            status: Status::HardwareFailure.code(),
            id: token.index,
            parent: parent.map_or(0, |p| p.index),
            generation: token.generation,
            parent_generation: parent.map_or(0, |p| p.generation),
            length: (HEADER + body) as u16, // at most IMAGE_STRIDE
            revision: IMAGE_REVISION,
            host_handle: handle.0,
        };
        let mut bytes = [0; STRIDE];
        bytes[..HEADER].copy_from_slice(&header.to_bytes());
        Self { bytes }
    }

    /// With a body.
    pub fn with(mut self, body: &[u8]) -> Self {
        self.bytes[HEADER..HEADER + body.len()].copy_from_slice(body);
        self
    }

    /// As it lies in memory.
    pub fn bytes(&self) -> &[u8; STRIDE] {
        &self.bytes
    }

    /// Read back from memory.
    pub fn from_memory(bytes: [u8; STRIDE]) -> Self {
        Self { bytes }
    }

    /// The device's verdict; an unknown code is a failure.
    pub fn status(&self) -> Status {
        Status::try_from(ImageHeader::from_bytes(&self.head()).status).unwrap_or(Status::Failure)
    }

    /// The neighbor in the body.
    pub fn neighbor(&self) -> NeighborState {
        let n = NeighborImage::from_bytes(&self.body());
        NeighborState {
            src_mac: to_mac(n.src_mac),
            vlan: n.vlan,
            llc_snap: n.flags & NEIGHBOR_LLC_SNAP != 0,
            dst_mac: to_mac(n.dst_mac),
            host_reachability_ms: n.host_reachability_ms,
            nic_reachability_ms: n.nic_reachability_ms,
        }
    }

    /// The path in the body; the family is that of `like`.
    pub fn path(&self, like: &PathState) -> PathState {
        let p = PathImage::from_bytes(&self.body());
        let addr = |lo: u64, hi: u64| match like.src {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from((lo as u32).to_le_bytes())), // the low 32 bits
            IpAddr::V6(_) => {
                let mut octets = [0; 16];
                octets[..8].copy_from_slice(&lo.to_le_bytes());
                octets[8..].copy_from_slice(&hi.to_le_bytes());
                IpAddr::V6(Ipv6Addr::from(octets))
            }
        };
        PathState {
            src: addr(p.src_ip_lo, p.src_ip_hi),
            dst: addr(p.dst_ip_lo, p.dst_ip_hi),
            mtu: p.mtu,
            ip_id_start: p.ip_id_start,
            ip_id_counter: p.ip_id_counter,
        }
    }

    /// The TCP record in the body.
    pub fn tcp(&self) -> TcpRecord {
        TcpRecord::from_bytes(&self.body())
    }

    fn head(&self) -> [u8; HEADER] {
        self.bytes[..HEADER].try_into().expect("a header's length")
    }

    fn body<const N: usize>(&self) -> [u8; N] {
        self.bytes[HEADER..HEADER + N].try_into().expect("bodies fit the stride")
    }
}

/// The body of a neighbor.
pub fn neighbor_body(n: &NeighborState) -> [u8; NeighborImage::BYTES] {
    NeighborImage {
        dst_mac: from_mac(n.dst_mac),
        vlan: n.vlan,
        src_mac: from_mac(n.src_mac),
        flags: if n.llc_snap { NEIGHBOR_LLC_SNAP } else { 0 },
        host_reachability_ms: n.host_reachability_ms,
        nic_reachability_ms: n.nic_reachability_ms,
    }
    .to_bytes()
}

/// The body of a path.
pub fn path_body(p: &PathState) -> [u8; PathImage::BYTES] {
    let (src_ip_lo, src_ip_hi) = words(p.src);
    let (dst_ip_lo, dst_ip_hi) = words(p.dst);
    PathImage {
        src_ip_lo,
        src_ip_hi,
        dst_ip_lo,
        dst_ip_hi,
        mtu: p.mtu,
        ip_id_start: p.ip_id_start,
        ip_id_counter: p.ip_id_counter,
        flags: if p.src.is_ipv6() { PATH_IPV6 } else { 0 },
    }
    .to_bytes()
}

fn words(addr: IpAddr) -> (u64, u64) {
    match addr {
        IpAddr::V4(v4) => (u32::from_le_bytes(v4.octets()).into(), 0),
        IpAddr::V6(v6) => {
            let o = v6.octets();
            let word = |at: usize| o[at..at + 8].iter().rev().fold(0, |w, b| w << 8 | u64::from(*b));
            (word(0), word(8))
        }
    }
}

fn from_mac(mac: [u8; 6]) -> u64 {
    mac.iter().rev().fold(0, |w, b| w << 8 | u64::from(*b))
}

fn to_mac(word: u64) -> [u8; 6] {
    let b = word.to_le_bytes();
    [b[0], b[1], b[2], b[3], b[4], b[5]]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device that cannot read a header does not write it either; with 0 in it the object would count as taken over.
    #[test]
    fn an_image_that_the_device_does_not_answer_has_failed() {
        let token = Token { index: 3, generation: 9 };
        for kind in ImageKind::ALL {
            let image = Image::new(*kind, token, Some(token), HostHandle(5));
            assert_eq!(Image::from_memory(*image.bytes()).status(), Status::HardwareFailure);
        }
    }

    #[test]
    fn neighbor_and_path_survive_the_way_through_an_image() {
        let token = Token { index: 3, generation: 9 };
        let n = NeighborState {
            src_mac: [1, 2, 3, 4, 5, 6],
            dst_mac: [7, 8, 9, 10, 11, 12],
            vlan: 5,
            llc_snap: true,
            ..Default::default()
        };
        let image = Image::new(ImageKind::Neighbor, token, None, HostHandle(5)).with(&neighbor_body(&n));
        assert_eq!(image.neighbor(), n);
        for (src, dst) in [("10.0.0.1", "10.0.0.2"), ("2001:db8::1", "2001:db8::2")] {
            let (src, dst) = (src.parse().unwrap(), dst.parse().unwrap());
            let p = PathState { src, dst, mtu: 1500, ip_id_start: 0x8000, ip_id_counter: 7 };
            let image = Image::new(ImageKind::Path, token, Some(token), HostHandle(5)).with(&path_body(&p));
            assert_eq!(image.path(&p), p);
        }
        let p = PathState {
            src: "1.2.3.4".parse().unwrap(),
            dst: "5.6.7.8".parse().unwrap(),
            mtu: 0,
            ip_id_start: 0,
            ip_id_counter: 0,
        };
        assert_eq!(path_body(&p)[..4], [1, 2, 3, 4], "first byte on the wire in bits 7:0");
    }
}
