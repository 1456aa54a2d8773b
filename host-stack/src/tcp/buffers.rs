//! The send buffer: bytes from SND.UNA on, sent and unsent, and the end of the stream.

use chimney_abi::SeqNum;
use std::collections::VecDeque;

/// Bytes that the peer has not acknowledged, then bytes that were never sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SendBuffer {
    base: SeqNum,
    bytes: VecDeque<u8>,
    capacity: usize,
    is_closed: bool,
    acknowledged: u64,
}

impl SendBuffer {
    /// An empty buffer whose first byte will have the sequence number `base`.
    #[must_use]
    pub fn new(base: SeqNum, capacity: usize) -> SendBuffer {
        SendBuffer { base, capacity, ..SendBuffer::default() }
    }

    /// Continues the stream after a hand-over: what is left of it begins at `base`.
    pub fn restore(&mut self, base: SeqNum, bytes: Vec<u8>, is_closed: bool) {
        self.acknowledged += u64::from(base - self.base);
        self.base = base;
        self.bytes = bytes.into();
        self.is_closed = is_closed;
    }

    /// Drops the bytes: another owner has them now.
    pub fn release(&mut self) {
        self.bytes = VecDeque::new();
    }

    /// Appends as much as there is room for; returns how much that was.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.free());
        self.bytes.extend(&bytes[..taken]);
        taken
    }

    /// Bytes that [`SendBuffer::push`] would take.
    #[must_use]
    pub fn free(&self) -> usize {
        self.capacity.saturating_sub(self.bytes.len())
    }

    /// Nothing more will be pushed: a FIN follows the last byte.
    pub fn close(&mut self) {
        self.is_closed = true;
    }

    /// True after [`SendBuffer::close`].
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Bytes in the buffer.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True without bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The sequence number after the last byte; the FIN's own.
    #[must_use]
    pub fn end(&self) -> SeqNum {
        // `as`: the capacity is far below 4 GiB.
        self.base + self.bytes.len() as u32
    }

    /// Bytes acknowledged by the peer so far.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Forgets the bytes before `ack`. A SYN or FIN in front or behind does no harm.
    pub fn acknowledge(&mut self, ack: SeqNum) {
        if ack.at_or_before(self.base) {
            return;
        }
        let count = ((ack - self.base) as usize).min(self.bytes.len());
        self.bytes.drain(..count);
        // `as`: bounded by the capacity.
        self.base += count as u32;
        self.acknowledged += count as u64;
    }

    /// A copy of at most `len` bytes from `seq` on.
    #[must_use]
    pub fn copy(&self, seq: SeqNum, len: u32) -> Vec<u8> {
        let start = ((seq - self.base) as usize).min(self.bytes.len());
        let end = (start + len as usize).min(self.bytes.len());
        let (a, b) = self.bytes.as_slices();
        let mut out = Vec::with_capacity(end - start);
        out.extend_from_slice(&a[start.min(a.len())..end.min(a.len())]);
        out.extend_from_slice(&b[start.saturating_sub(a.len())..end.saturating_sub(a.len())]);
        out
    }

    /// All bytes.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        self.bytes.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_cross_the_ring_and_stop_at_the_end() {
        let mut buffer = SendBuffer::new(SeqNum(0xFFFF_FFFE), 8);
        assert_eq!(buffer.push(b"abcdefghij"), 8);
        buffer.acknowledge(SeqNum(2));
        assert_eq!((buffer.push(b"ABCD"), buffer.end()), (4, SeqNum(10)));
        assert_eq!(buffer.copy(SeqNum(3), 5), b"fghAB");
        assert_eq!(buffer.copy(SeqNum(8), 50), b"CD");
        assert_eq!(buffer.acknowledged(), 4);
    }

    #[test]
    fn acknowledging_syn_and_fin_moves_no_bytes() {
        let mut buffer = SendBuffer::new(SeqNum(101), 8);
        buffer.push(b"xy");
        buffer.close();
        buffer.acknowledge(SeqNum(101));
        assert_eq!(buffer.end(), SeqNum(103));
        buffer.acknowledge(SeqNum(104));
        assert_eq!((buffer.end(), buffer.acknowledged()), (SeqNum(103), 2));
    }
}
