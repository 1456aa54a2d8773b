//! A connection's receive side: posts, what the device placed, the window.
//!
//! ```text
//!            taken                      text_end          right edge
//!   --------- | ------------------------- | ------------------ |
//!   delivered |  buf (copied)   |  pages, current post  |  promised
//! ```
//! * `posts` is FIFO (R-182). A post is the device's while it has a ring index (`slot`), else the driver's.
//! * `taken` is the first byte not yet taken from the device; `buf` holds in-order bytes taken from pages (or brought by
//!   the offload) and not yet delivered. A page goes back to the pool once everything in it was taken.
//! * Order: ring entries below `post_idx` in ring order, each after the page bytes in front of it; then the page bytes up
//!   to the current post. A retired post whose turn has not come is emptied into `buf` and used again.
//!
//! The delivery algorithm itself is in `deliver`.

use std::collections::VecDeque;

use chimney_abi::desc::{RecvDesc, EDGE_SLACK, MAX_RCV_WINDOW, PAGE_BYTES, RECV_NO_PUSH, RECV_RETIRED};
use chimney_abi::offload::BufferId;
use chimney_abi::SeqNum;

use crate::arena::Buffers;
use crate::bus::DmaMemory;
use crate::error::ConnFault;
use crate::pool::{PageMap, Pool};
use crate::ring::Ring;
use crate::shadow::Progress;

/// Most bytes of one ring entry (the field has 24 bits); a longer post is handed over in turns.
const MAX_ENTRY_BYTES: u32 = (1 << 24) - 1;

/// A posted receive.
#[derive(Debug)]
pub struct Post {
    /// The buffer.
    pub buffer: BufferId,
    /// Place of the first byte behind the prefilled ones.
    pub at: usize,
    /// Bytes wanted.
    pub len: u32,
    /// Bytes placed.
    pub filled: u32,
    /// Non-push mode (R-186).
    pub no_push: bool,
    /// Zero-length post of the host: only re-enables indication (R-199).
    pub is_signal: bool,
    /// Ring index while the device owns it.
    pub slot: Option<u16>,
    /// Push mode, retired by the device with some bytes: complete when nothing is left to fill it with (R-185).
    pub closed: bool,
}

impl Post {
    /// Bytes still wanted.
    pub fn room(&self) -> u32 {
        self.len - self.filled
    }
}

/// The receive side.
#[derive(Debug)]
pub struct Receive<M> {
    pub(crate) ring: Ring<M>,
    pub(crate) map: PageMap<M>,
    pub(crate) posts: VecDeque<Post>,
    pub(crate) buf: VecDeque<u8>,
    /// Refused (or brought by an offload): wait for a post (R-197, R-100).
    pub(crate) refused: bool,
    /// The peer's FIN is in order.
    pub(crate) fin: bool,
    /// The disconnect was indicated.
    pub(crate) fin_indicated: bool,
    /// The connection was aborted and its posts are the host's again: what the device says of them is old.
    is_over: bool,
    /// Accepted by the host in indications and not returned yet.
    pub(crate) indicated: u32,
    /// Preferred bytes per indication (R-200).
    pub(crate) indication_size: u32,
    taken: SeqNum,
    text_end: SeqNum,
    /// Bytes the device has put into the current post.
    current: u32,
    window: u32,
    limit: SeqNum,
    recycled: SeqNum,
}

impl<M: DmaMemory> Receive<M> {
    /// The receive side of a connection whose next text byte is `next`, right edge `right`.
    pub fn new(ring: Ring<M>, map: PageMap<M>, next: u32, right: u32, window: u32) -> Self {
        let next = SeqNum(next);
        Self {
            ring,
            map,
            posts: VecDeque::new(),
            buf: VecDeque::new(),
            refused: false,
            fin: false,
            fin_indicated: false,
            is_over: false,
            indicated: 0,
            indication_size: 0,
            taken: next,
            text_end: next,
            current: 0,
            window: window.min(MAX_RCV_WINDOW),
            limit: SeqNum(right),
            recycled: SeqNum(next.0 & !(PAGE_BYTES - 1)),
        }
    }

    /// Puts the undelivered bytes of an offload in front of everything (R-098, R-100, R-101).
    pub fn preload(&mut self, bytes: &[u8]) {
        self.buf.extend(bytes);
        self.refused = !bytes.is_empty();
    }

    /// Queues a post (R-182).
    pub fn post(&mut self, post: Post) {
        // R-197, R-199: every post re-enables indication.
        self.refused = false;
        self.posts.push_back(post);
    }

    /// The host consumed bytes it had accepted (R-199).
    pub fn returned(&mut self, len_bytes: u32) {
        self.indicated = self.indicated.saturating_sub(len_bytes);
    }

    /// Another window is wanted (R-062); a smaller one is reached by not advancing the edge (law L3).
    pub fn set_window(&mut self, window: u32) {
        self.window = window.min(MAX_RCV_WINDOW);
    }

    /// The largest right edge that was ever rung.
    pub fn limit(&self) -> u32 {
        self.limit.0
    }

    /// End of the in-order text.
    pub fn text_end(&self) -> u32 {
        self.text_end.0
    }

    /// Takes what the device did since the last call.
    ///
    /// # Errors
    /// A [`ConnFault`] when it cannot be: the connection has failed.
    pub fn advance(
        &mut self,
        p: &Progress,
        buffers: &Buffers<M>,
        pool: &mut Pool<M>,
    ) -> Result<(), ConnFault> {
        if self.is_over {
            return Ok(());
        }
        let end = SeqNum(p.text_end);
        if end.before(self.text_end) || end.after(self.limit + EDGE_SLACK) {
            return Err(ConnFault::ReceiveNext { rcv_nxt: end.0, from: self.text_end.0, to: self.limit.0 });
        }
        self.text_end = end;
        self.fin |= p.peer_fin;
        while self.ring.consumer() != p.post_idx {
            let index = self.ring.consumer();
            let next = index.wrapping_add(1);
            self.ring.retire_to(next).map_err(|_| ConnFault::Post { index: p.post_idx })?;
            self.take_entry(index, buffers, pool)?;
        }
        self.current = if p.pool_mode { 0 } else { p.post_off };
        self.check_current(p.post_idx)?;
        self.take_pages(end - self.current, pool)?;
        if self.fin {
            // No further text is accepted: the device has retired what it used and will not touch the rest.
            self.posts.iter_mut().for_each(|post| post.slot = None);
        }
        self.recycle(pool);
        Ok(())
    }

    /// Fills posts of the driver, in order, from `buf`.
    pub(crate) fn fill_posts(&mut self, buffers: &Buffers<M>) {
        for post in &mut self.posts {
            if post.slot.is_some() || self.buf.is_empty() {
                break;
            }
            let n = (post.room() as usize).min(self.buf.len());
            let mut at = post.at + post.filled as usize;
            let (a, b) = self.buf.as_slices();
            let a = &a[..n.min(a.len())];
            for part in [a, &b[..n - a.len()]] {
                buffers.view().write(at, part);
                at += part.len();
            }
            self.buf.drain(..n);
            post.filled += n as u32; // at most room
        }
    }

    /// Gives posts to the device. True if the doorbell must be rung (for them, or for the window).
    pub fn give_posts(&mut self, buffers: &Buffers<M>, eff_mss: u32) -> bool {
        self.hand_over(buffers) | self.open_window(eff_mss)
    }

    /// What the doorbell carries: producer index and stream limit.
    pub fn doorbell(&self) -> (u16, u32) {
        (self.ring.publish(), self.limit.0)
    }

    /// True if the device has put bytes into this ring entry.
    pub(crate) fn is_filling(&self, slot: u16) -> bool {
        self.current > 0 && self.ring.consumer() == slot
    }

    /// Takes the bytes of the current post, which the device no longer touches (upload, loss).
    pub fn take_current(&mut self, buffers: &Buffers<M>) {
        let n = std::mem::take(&mut self.current);
        if n > 0 {
            if let Some(at) = self.posts.iter().position(|post| post.slot == Some(self.ring.consumer())) {
                self.accept(at, n, buffers);
                self.taken += n;
            }
        }
        self.posts.iter_mut().for_each(|post| post.slot = None);
        self.fill_posts(buffers);
    }

    /// The connection was aborted (R-221): bytes in the current post count, and nothing follows them.
    pub(crate) fn end(&mut self, buffers: &Buffers<M>) {
        self.take_current(buffers);
        self.is_over = true;
    }

    /// Out-of-order bytes in pages.
    ///
    /// # Errors
    /// [`ConnFault::Page`].
    pub fn out_of_order(&self, pool: &Pool<M>, start: u32, end: u32) -> Result<Vec<u8>, ConnFault> {
        let mut bytes = Vec::new();
        if SeqNum(end).after(SeqNum(start)) && end.wrapping_sub(start) <= MAX_RCV_WINDOW {
            pool.copy_out(&self.map, start, end, |part| bytes.extend_from_slice(part))?;
        }
        Ok(bytes)
    }

    /// Gives every page back; the device is done with them.
    pub fn release_pages(&self, pool: &mut Pool<M>) {
        self.map.drain().into_iter().for_each(|page| pool.recycle(page));
    }

    /// One ring entry that the device is done with.
    fn take_entry(&mut self, index: u16, buffers: &Buffers<M>, pool: &Pool<M>) -> Result<(), ConnFault> {
        let fault = ConnFault::Post { index };
        let Some(at) = self.posts.iter().position(|post| post.slot == Some(index)) else {
            // After the FIN the driver has its posts back; a doorbell that came late makes the device skip them.
            return if self.fin { Ok(()) } else { Err(fault) };
        };
        self.posts[at].slot = None;
        let mut bytes = [0; RecvDesc::BYTES];
        self.ring.read(index, &mut bytes);
        let desc = RecvDesc::from_bytes(&bytes);
        if desc.flags & RECV_RETIRED == 0 {
            return Ok(()); // skipped: nothing was placed
        }
        let seq = SeqNum(desc.seq);
        let fits = seq.at_or_after(self.taken) && (seq + desc.len).at_or_before(self.text_end);
        if !fits || desc.len > self.posts[at].room() {
            return Err(fault);
        }
        self.take_pages(seq, pool)?;
        self.posts[at].slot = Some(index); // it holds bytes: not to be filled from `buf` now
        self.fill_posts(buffers);
        self.accept(at, desc.len, buffers);
        self.taken += desc.len;
        Ok(())
    }

    /// `len` bytes that the device placed in post `at`: its own if its turn has come, else moved to `buf`.
    fn accept(&mut self, at: usize, len: u32, buffers: &Buffers<M>) {
        let is_next =
            self.buf.is_empty() && self.posts.iter().take(at).all(|post| post.room() == 0 || post.closed);
        if is_next {
            // What came before is complete as it is: later bytes must not get into it.
            self.posts.iter_mut().take(at).for_each(|post| post.len = post.filled);
        }
        let post = &mut self.posts[at];
        post.slot = None;
        if is_next {
            post.filled += len;
            post.closed = !post.no_push && len > 0;
        } else {
            let mut bytes = vec![0; len as usize];
            buffers.view().read(post.at + post.filled as usize, &mut bytes);
            self.buf.extend(bytes);
            self.fill_posts(buffers);
        }
    }

    fn take_pages(&mut self, to: SeqNum, pool: &Pool<M>) -> Result<(), ConnFault> {
        if to.before(self.taken) {
            return Err(ConnFault::Page { seq: to.0 });
        }
        let buf = &mut self.buf;
        pool.copy_out(&self.map, self.taken.0, to.0, |part| buf.extend(part))?;
        self.taken = to;
        Ok(())
    }

    fn check_current(&self, post_idx: u16) -> Result<(), ConnFault> {
        let room = self.posts.iter().find(|post| post.slot == Some(post_idx)).map_or(0, Post::room);
        (self.current <= room).then_some(()).ok_or(ConnFault::Post { index: post_idx })
    }

    /// Pages whose bytes were all received in order. They were all taken, or went to the current post instead.
    /// Waiting for the post would be too late: the device may reuse the slot 32 pages on, and the page were lost.
    fn recycle(&mut self, pool: &mut Pool<M>) {
        while (self.recycled + PAGE_BYTES).at_or_before(self.text_end) {
            if let Some(page) = self.map.remove(self.recycled.0) {
                pool.recycle(page);
            }
            self.recycled += PAGE_BYTES;
        }
    }

    fn hand_over(&mut self, buffers: &Buffers<M>) -> bool {
        // Bytes in `buf` come first. A post must not get behind one that was posted later, so nothing is given
        // while the device still holds a post behind one of the driver's.
        let first = self.posts.iter().position(|post| post.slot.is_none()).unwrap_or(self.posts.len());
        let in_order = self.posts.iter().skip(first).all(|post| post.slot.is_none());
        if self.fin || !self.buf.is_empty() || !in_order {
            return false;
        }
        let mut seq = self.taken;
        let mut any = false;
        for post in &mut self.posts {
            if post.slot.is_none() && (post.is_signal || post.closed) {
                break; // completed by the delivery algorithm, in its turn
            }
            if post.slot.is_none() {
                let addr = buffers.view().iova(post.at + post.filled as usize);
                let flags = if post.no_push { RECV_NO_PUSH } else { 0 };
                let len = post.room().min(MAX_ENTRY_BYTES);
                let desc = RecvDesc { addr, len, flags, seq: seq.0 };
                let Some(index) = self.ring.push(&desc.to_bytes()) else { break };
                post.slot = Some(index);
                any = true;
            }
            seq += post.room();
        }
        any
    }

    /// G-02: the window is what the host wants less what it has not consumed; L3: the edge never moves left.
    fn open_window(&mut self, eff_mss: u32) -> bool {
        let unconsumed = (self.buf.len() as u32).saturating_add(self.indicated); // `buf` is at most a few windows
        let limit = self.text_end + self.window - unconsumed.min(self.window);
        let gain = limit.distance_from(self.limit);
        // The device rings its own bell for tiny steps (RFC 9293 3.8.6.2.2); do not wake it for less than a segment.
        let step = eff_mss.min(self.window / 4).max(1);
        let is_due = gain > 0 && !self.fin && gain.unsigned_abs() >= step;
        if is_due {
            self.limit = limit;
        }
        is_due
    }
}
