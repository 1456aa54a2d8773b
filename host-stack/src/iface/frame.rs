//! A frame to send: a whole one, or a large one that a device divides into segments.

use chimney_host_stack_core::lso::Large;
use std::ops::Deref;

/// A frame to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The frame without FCS; a large one has no checksums.
    pub bytes: Vec<u8>,
    /// 0 = send it as it is; else it is a large frame of TCP, and this is what each of its segments carries of the text, bytes.
    pub mss: u16,
}

impl Frame {
    /// The frames to send where nobody divides large ones: itself, or its segments.
    #[must_use]
    pub fn into_segments(self) -> Vec<Vec<u8>> {
        if self.mss == 0 {
            return vec![self.bytes];
        }
        let large = Large::new(&self.bytes, self.mss);
        let pieces = large.iter().flat_map(|large| (0..large.count()).filter_map(|i| large.piece(i)));
        pieces.map(|p| [p.headers(), p.text].concat()).collect()
    }
}

impl From<Vec<u8>> for Frame {
    fn from(bytes: Vec<u8>) -> Frame {
        Frame { bytes, mss: 0 }
    }
}

impl Deref for Frame {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}
