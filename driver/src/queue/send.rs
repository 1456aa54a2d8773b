//! A connection's send side: requests in, ring descriptors, completions by acknowledgment.
//!
//! ```text
//!   una            limit                 end        sequence numbers
//!    |-- in ring ----|-- queued requests --|
//!    pieces (descriptors), freed when una passes them; requests complete in order, acknowledged (R-171)
//! ```
//! A segment may touch at most 16 descriptors, so runs of small requests are copied together into one staging
//! piece. The bytes of an offload are staged too; a staged piece is freed when it is acknowledged.

use std::collections::VecDeque;

use chimney_abi::desc::{SendDesc, MAX_DESC_PER_SEGMENT, MAX_POSTED, SEND_PUSH};
use chimney_abi::offload::BufferId;
use chimney_abi::SeqNum;

use crate::arena::{Buffers, Span};
use crate::bus::DmaMemory;
use crate::error::ConnFault;
use crate::ring::Ring;

/// Requests below this length, at least, are merged with their neighbours.
const SMALL_BYTES: u32 = 256;
/// Large requests in a segment, at most, each with a small one that has no neighbour to be merged with, and the parts at both ends.
const LARGE_PER_SEGMENT: u32 = (MAX_DESC_PER_SEGMENT - 2) / 2;
/// Most bytes of a merged piece.
const MERGED_BYTES: u32 = 4096;
/// Most bytes of one descriptor (the field has 24 bits).
const MAX_PIECE_BYTES: u32 = 1 << 23;
/// Bytes that may be posted and not acknowledged; there is room for a FIN behind them.
const MOST_POSTED: u32 = MAX_POSTED - 1;

/// Requests below this length are merged, when a segment has at most `mss` bytes.
fn small_bytes(mss: u16) -> u32 {
    SMALL_BYTES.max(u32::from(mss).div_ceil(LARGE_PER_SEGMENT))
}

/// A send of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The buffer.
    pub buffer: BufferId,
    /// Place in the arena.
    pub at: usize,
    /// Length, bytes.
    pub len: u32,
    /// Sequence number after its last byte.
    pub end: SeqNum,
}

/// A descriptor in the ring.
#[derive(Debug)]
struct Piece {
    seq: SeqNum,
    len: u32,
    at: usize,
    push: bool,
    staging: Option<Span>,
}

/// The send side.
#[derive(Debug)]
pub struct SendQueue<M> {
    ring: Ring<M>,
    /// Requests below this length are merged with their neighbours.
    small_bytes: u32,
    pieces: VecDeque<Piece>,
    posted: VecDeque<Request>,
    queued: VecDeque<Request>,
    una: SeqNum,
    limit: SeqNum,
    end: SeqNum,
}

impl<M: DmaMemory> SendQueue<M> {
    /// An empty queue; the next byte has sequence number `una`, and a segment at most `mss` bytes.
    pub fn new(ring: Ring<M>, una: u32, mss: u16) -> Self {
        let una = SeqNum(una);
        Self {
            ring,
            small_bytes: small_bytes(mss),
            pieces: VecDeque::new(),
            posted: VecDeque::new(),
            queued: VecDeque::new(),
            una,
            limit: una,
            end: una,
        }
    }

    /// The ring.
    pub fn ring(&self) -> &Ring<M> {
        &self.ring
    }

    /// Sequence number after the last byte in the ring.
    pub fn limit(&self) -> u32 {
        self.limit.0
    }

    /// Oldest unacknowledged byte (never the FIN).
    pub fn una(&self) -> u32 {
        self.una.0
    }

    /// Sequence number after the last byte accepted.
    pub fn end(&self) -> u32 {
        self.end.0
    }

    /// True if everything accepted is in the ring.
    pub fn is_posted(&self) -> bool {
        self.queued.is_empty()
    }

    /// True if everything accepted is acknowledged and completed.
    pub fn is_empty(&self) -> bool {
        self.queued.is_empty() && self.posted.is_empty() && self.una == self.end
    }

    /// Puts the bytes of an offload into the ring (R-103, R-104), one descriptor per push mark as far as they fit.
    /// False if arena or ring is too small; then nothing was taken.
    pub fn stage(&mut self, buffers: &mut Buffers<M>, data: &[u8], push_marks: &[u32]) -> bool {
        let Ok(len) = u32::try_from(data.len()) else { return false };
        if len == 0 {
            return true;
        }
        // Half of the ring stays free for new sends; marks beyond that are only hints and are dropped.
        let most_marks = (self.ring.room() / 2).saturating_sub(len / MAX_PIECE_BYTES + 1) as usize;
        let mut cuts: Vec<u32> =
            push_marks.iter().copied().filter(|&m| m > 0 && m < len).take(most_marks).collect();
        cuts.push(len);
        let mut from = 0;
        for cut in cuts {
            while from < cut {
                let n = (cut - from).min(MAX_PIECE_BYTES);
                let push = from + n == cut;
                if !self.stage_piece(buffers, &data[from as usize..(from + n) as usize], push) {
                    self.free_pieces(buffers);
                    return false;
                }
                from += n;
            }
        }
        self.end = self.limit;
        true
    }

    /// A request of so many bytes can ever be posted: the ring has entries for it, and it is no more than may be posted.
    pub fn can_take(&self, len: u32) -> bool {
        is_postable(len, self.ring.log2())
    }

    /// Accepts a request (R-169); it goes to the ring with the next [`SendQueue::fill`].
    pub fn push(&mut self, buffer: BufferId, at: usize, len: u32) {
        self.end += len;
        self.queued.push_back(Request { buffer, at, len, end: self.end });
    }

    /// Moves queued requests into the ring as far as it has room. True if the device must be told.
    pub fn fill(&mut self, buffers: &mut Buffers<M>) -> bool {
        let before = (self.ring.producer(), self.limit);
        while let Some(first) = self.queued.front().copied() {
            if self.ring.room() == 0 {
                break;
            }
            let run = self.small_run();
            if run > 1 && self.merge(buffers, run) {
                continue;
            }
            if !self.post_whole(buffers, first) {
                break;
            }
        }
        before != (self.ring.producer(), self.limit)
    }

    /// Believes an acknowledgment; gives the requests that are complete, in order.
    ///
    /// # Errors
    /// [`ConnFault::SendAck`].
    pub fn acknowledge(&mut self, una: u32, buffers: &mut Buffers<M>) -> Result<Vec<Request>, ConnFault> {
        let una = SeqNum(una);
        if una.before(self.una) || una.after(self.limit) {
            return Err(ConnFault::SendAck { una: una.0, from: self.una.0, to: self.limit.0 });
        }
        self.una = una;
        while self.pieces.front().is_some_and(|p| (p.seq + p.len).at_or_before(una)) {
            let Some(piece) = self.pieces.pop_front() else { break };
            let next = self.ring.consumer().wrapping_add(1);
            self.ring.retire_to(next).expect("a piece has a ring entry");
            if let Some(span) = piece.staging {
                buffers.arena().release(span);
            }
        }
        let mut done = Vec::new();
        while let Some(request) = self.posted.front().copied().filter(|r| r.end.at_or_before(una)) {
            self.posted.pop_front();
            done.push(request);
        }
        Ok(done)
    }

    /// Empties the queue: the requests not complete, each with its acknowledged bytes. The device is done with it.
    pub fn abandon(&mut self, buffers: &mut Buffers<M>) -> Vec<(Request, u32)> {
        self.free_pieces(buffers);
        let una = self.una;
        let acked = |r: &Request| {
            let start = r.end - r.len;
            una.distance_from(start).clamp(0, i32::try_from(r.len).unwrap_or(i32::MAX)) as u32
            // not negative
        };
        self.posted.drain(..).chain(self.queued.drain(..)).map(|r| (r, acked(&r))).collect()
    }

    /// The bytes from `una` to the end of everything accepted, and the offsets after which PSH is due.
    pub fn collect(&self, buffers: &Buffers<M>) -> (Vec<u8>, Vec<u32>) {
        let mut bytes = Vec::with_capacity((self.end - self.una) as usize);
        let mut marks = Vec::new();
        let mut add = |seq: SeqNum, at: usize, len: u32, push: bool| {
            let skip = self.una.distance_from(seq).max(0) as usize; // not negative
            let len = len as usize;
            if skip < len {
                let from = bytes.len();
                bytes.resize(from + len - skip, 0);
                buffers.view().read(at + skip, &mut bytes[from..]);
                if push {
                    marks.push(bytes.len() as u32); // below 2^31, the span of one window of sequence space
                }
            }
        };
        self.pieces.iter().for_each(|p| add(p.seq, p.at, p.len, p.push));
        self.queued.iter().for_each(|r| add(r.end - r.len, r.at, r.len, true));
        (bytes, marks)
    }

    /// So many bytes more may be posted now.
    fn may_post(&self, len: u32) -> bool {
        self.limit - self.una <= MOST_POSTED.saturating_sub(len)
    }

    /// Length of the run of small requests at the front that fits one merged piece, and may be posted.
    fn small_run(&self) -> usize {
        let mut sum = 0;
        let fits = |r: &&Request| {
            sum += r.len;
            r.len > 0 && r.len < self.small_bytes && sum <= MERGED_BYTES && self.may_post(sum)
        };
        self.queued.iter().take_while(fits).count()
    }

    fn merge(&mut self, buffers: &mut Buffers<M>, run: usize) -> bool {
        let mut bytes = Vec::with_capacity(MERGED_BYTES as usize);
        for request in self.queued.iter().take(run) {
            let from = bytes.len();
            bytes.resize(from + request.len as usize, 0);
            buffers.view().read(request.at, &mut bytes[from..]);
        }
        let merged = self.stage_piece(buffers, &bytes, true);
        if merged {
            self.posted.extend(self.queued.drain(..run));
        }
        merged
    }

    fn stage_piece(&mut self, buffers: &mut Buffers<M>, bytes: &[u8], push: bool) -> bool {
        let len = bytes.len() as u32; // at most MAX_PIECE_BYTES
        if self.ring.room() == 0 || !self.may_post(len) {
            return false;
        }
        let Some(span) = buffers.arena().allocate(len) else { return false };
        let at = span.start();
        buffers.view().write(at, bytes);
        self.post_piece(
            buffers.view().iova(at),
            Piece { seq: self.limit, len, at, push, staging: Some(span) },
        );
        true
    }

    /// Posts a request in place. False if the ring has no room for all of its pieces, or more would be posted than may be.
    fn post_whole(&mut self, buffers: &Buffers<M>, request: Request) -> bool {
        let pieces = request.len.div_ceil(MAX_PIECE_BYTES);
        if self.ring.room() < pieces || !self.may_post(request.len) {
            return false;
        }
        let mut done = 0;
        while done < request.len {
            let len = (request.len - done).min(MAX_PIECE_BYTES);
            let at = request.at + done as usize;
            done += len;
            let push = done == request.len;
            self.post_piece(buffers.view().iova(at), Piece { seq: self.limit, len, at, push, staging: None });
        }
        self.queued.pop_front();
        self.posted.push_back(request);
        true
    }

    fn post_piece(&mut self, addr: u64, piece: Piece) {
        let flags = if piece.push { SEND_PUSH } else { 0 }; // R-176
        let desc = SendDesc { addr, len: piece.len, flags, seq: piece.seq.0 };
        self.ring.push(&desc.to_bytes()).expect("room was checked");
        self.limit += piece.len;
        self.pieces.push_back(piece);
    }

    fn free_pieces(&mut self, buffers: &mut Buffers<M>) {
        for piece in self.pieces.drain(..) {
            if let Some(span) = piece.staging {
                buffers.arena().release(span);
            }
        }
    }
}

/// A request of so many bytes finds entries in a ring of `1 << log2`, and is no more than may be posted at once.
fn is_postable(len: u32, log2: u8) -> bool {
    len <= MOST_POSTED && len.div_ceil(MAX_PIECE_BYTES) <= 1 << log2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dma::DmaView;
    use crate::fake::FakeMemory;

    const LOG2: u8 = 10;
    const MSS: u16 = 1460;

    fn queue() -> (SendQueue<FakeMemory>, Buffers<FakeMemory>) {
        let view = DmaView::new(FakeMemory::new(0x1000, SendDesc::BYTES << LOG2));
        let ring = Ring::new("send", view, LOG2, SendDesc::BYTES);
        (
            SendQueue::new(ring, 0xffff_0000, MSS),
            Buffers::new(DmaView::new(FakeMemory::new(1 << 32, 1 << 20))),
        )
    }

    /// The device refuses a doorbell with a limit that is 2^30 and more beyond `snd_una`, all of it (guide section 7).
    #[test]
    fn merged_requests_are_posted_no_further_than_others() {
        let (mut send, mut buffers) = queue();
        let some = buffers.allocate(4096).expect("room");
        let una = send.una();
        // Nobody reads these bytes: a request that is posted in place is an address.
        send.push(some, 0, MOST_POSTED - 1000);
        for _ in 0..20 {
            send.push(some, 0, 100);
        }
        assert!(send.fill(&mut buffers));
        assert_eq!(send.limit().wrapping_sub(una), MOST_POSTED, "ten of them, and no more");
        assert!(!send.fill(&mut buffers) && !send.is_posted());
        send.acknowledge(una.wrapping_add(MOST_POSTED), &mut buffers).expect("all of it was posted");
        assert!(send.fill(&mut buffers) && send.is_posted());
        assert_eq!(send.limit(), send.end());
    }

    #[test]
    fn more_than_may_be_posted_is_not_staged() {
        let (mut send, mut buffers) = queue();
        let some = buffers.allocate(64).expect("room");
        send.push(some, 0, MOST_POSTED - 10);
        assert!(send.fill(&mut buffers));
        assert!(!send.stage_piece(&mut buffers, &[0; 11], true));
        assert!(send.stage_piece(&mut buffers, &[0; 10], true));
    }

    #[test]
    fn a_request_that_would_wait_for_ever_is_not_taken() {
        assert!(is_postable(0, 1) && is_postable(2 * MAX_PIECE_BYTES, 1) && is_postable(MOST_POSTED, 7));
        assert!(!is_postable(2 * MAX_PIECE_BYTES + 1, 1), "three entries");
        assert!(!is_postable(MOST_POSTED + 1, 15));
    }

    #[test]
    fn a_segment_of_any_length_touches_at_most_sixteen_descriptors() {
        for mss in [1, 536, 1460, 1793, 8960, u16::MAX] {
            // One byte, then a request that is just not merged, and so on; the segment begins and ends within one.
            let large = u32::from(mss).div_ceil(small_bytes(mss));
            assert!(2 * large + 2 <= MAX_DESC_PER_SEGMENT, "{mss}");
        }
    }
}
