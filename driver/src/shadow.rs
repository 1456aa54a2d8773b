//! Reading shadow records, and the part of them (or of an image) that moves a connection forward.
//!
//! The device alternates between two slots and writes the four words of a record upwards. The reader takes them
//! downwards: if the last word (read first) is the new one, the three before it are; if the first word (read last) is
//! still the old one, nothing had been written. A mixture shows two different tags and is dropped; the other slot then
//! holds the record before it.

use chimney_abi::desc::{Shadow, SHADOW_FIN_ACKED, SHADOW_PEER_FIN, SHADOW_POOL_MODE, SHADOW_VALID};
use chimney_abi::state::{TcpRecord, DELEG_FIN_SENT, DELEG_PEER_FIN, DELEG_POOL_MODE};

use crate::bus::DmaMemory;
use crate::dma::DmaView;

/// The newest record of a connection, if there is one of its generation.
pub fn read<M: DmaMemory>(view: &DmaView<M>, generation: u8) -> Option<Shadow> {
    let slot = |i: u16| {
        let mut bytes = [0u8; Shadow::BYTES];
        for word in (0..Shadow::BYTES / 8).rev() {
            let value = view.load_u64(usize::from(i) * Shadow::BYTES + word * 8);
            bytes[word * 8..word * 8 + 8].copy_from_slice(&value.to_le_bytes());
        }
        let s = Shadow::from_bytes(&bytes);
        let whole = s.tag == s.tag_end && s.tag & 1 == i && s.flags & SHADOW_VALID != 0;
        (whole && s.generation == generation).then_some(s)
    };
    match (slot(0), slot(1)) {
        (Some(a), Some(b)) => Some(if is_later(a.tag, b.tag) { a } else { b }),
        (a, b) => a.or(b),
    }
}

/// True if tag `a` is later than `b`, modulo 2^16.
pub fn is_later(a: u16, b: u16) -> bool {
    (a.wrapping_sub(b) as i16) > 0 // the signed distance
}

/// How far the device is with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// End of the received text: `rcv_nxt` without the peer's FIN.
    pub text_end: u32,
    /// The peer's FIN is in order.
    pub peer_fin: bool,
    /// The engine is in pool mode.
    pub pool_mode: bool,
    /// Receive ring entries below it are done.
    pub post_idx: u16,
    /// Bytes in entry `post_idx`.
    pub post_off: u32,
    /// `snd_una` as it stands.
    pub snd_una: u32,
    /// Our FIN is acknowledged and counted in `snd_una`.
    pub fin_acked: bool,
}

impl From<&Shadow> for Progress {
    fn from(s: &Shadow) -> Self {
        let peer_fin = s.flags & SHADOW_PEER_FIN != 0;
        Self {
            text_end: s.rcv_nxt.wrapping_sub(peer_fin.into()),
            peer_fin,
            pool_mode: s.flags & SHADOW_POOL_MODE != 0,
            post_idx: s.post_idx,
            post_off: s.post_off,
            snd_una: s.snd_una,
            fin_acked: s.flags & SHADOW_FIN_ACKED != 0,
        }
    }
}

impl From<&TcpRecord> for Progress {
    fn from(r: &TcpRecord) -> Self {
        let peer_fin = r.deleg_flags & DELEG_PEER_FIN != 0;
        Self {
            text_end: r.rcv_nxt.wrapping_sub(peer_fin.into()),
            peer_fin,
            pool_mode: r.deleg_flags & DELEG_POOL_MODE != 0,
            post_idx: r.post_idx,
            post_off: r.post_off,
            snd_una: r.snd_una,
            fin_acked: r.deleg_flags & DELEG_FIN_SENT != 0 && r.snd_una == r.snd_limit.wrapping_add(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeMemory;

    fn put(view: &DmaView<FakeMemory>, tag: u16, tag_end: u16, generation: u8, rcv_nxt: u32) {
        let s = Shadow { tag, tag_end, generation, rcv_nxt, flags: SHADOW_VALID, ..Shadow::default() };
        view.write(usize::from(tag & 1) * Shadow::BYTES, &s.to_bytes());
    }

    #[test]
    fn takes_the_later_whole_record_of_its_own_generation() {
        let view = DmaView::new(FakeMemory::new(0, 64));
        let rcv_nxt = |generation| read(&view, generation).map(|s| s.rcv_nxt);
        assert_eq!(rcv_nxt(3), None, "an all-zero slot is no record");
        put(&view, 2, 2, 3, 100);
        assert_eq!((rcv_nxt(3), rcv_nxt(4)), (Some(100), None));
        put(&view, 3, 3, 3, 200);
        assert_eq!(rcv_nxt(3), Some(200));
        put(&view, 4, 2, 3, 300);
        assert_eq!(rcv_nxt(3), Some(200), "a torn record is dropped");
        put(&view, 0xffff, 0xffff, 3, 400);
        put(&view, 0, 0, 3, 500);
        assert_eq!(rcv_nxt(3), Some(500), "tags wrap");
    }
}
