//! The delivery algorithm (spec 9.3) on top of [`Receive`]: completion, indication, refusal, the peer's FIN.
//!
//! Completions and indications of a connection are serial by construction: they are made here, from
//! [`poll`](chimney_abi::offload::Offload::poll), and a call-back cannot call the driver.
//!
//! Push mode without the device: bytes that reach a post through pages carry no PSH mark, so a partly filled push-mode post is
//! completed as soon as nothing is left to fill it with, as if the push timer had run out at once.

use chimney_abi::cmd::Status;
use chimney_abi::offload::{ConnectionEvent, Consumed, HostHandle, OffloadClient};

use crate::arena::Buffers;
use crate::bus::DmaMemory;
use crate::receive::{Post, Receive};

impl<M: DmaMemory> Receive<M> {
    /// Delivers what can be delivered. Returns true if a call-back was made.
    pub fn deliver(
        &mut self,
        handle: HostHandle,
        buffers: &mut Buffers<M>,
        client: &mut dyn OffloadClient,
    ) -> bool {
        let mut any = false;
        loop {
            self.fill_posts(buffers);
            any |= self.complete_posts(handle, buffers, client);
            if self.buf.is_empty() || self.refused || !self.may_indicate() {
                break;
            }
            any = true;
            self.indicate(handle, client);
        }
        any | self.deliver_fin(handle, buffers, client)
    }

    /// Completes every post with `status`; bytes that were placed count.
    pub fn fail_posts(
        &mut self,
        handle: HostHandle,
        status: Status,
        buffers: &mut Buffers<M>,
        client: &mut dyn OffloadClient,
    ) {
        for post in self.posts.drain(..) {
            complete(&post, handle, status, buffers, client);
        }
    }

    /// Completes posts from the front as long as they are finished.
    pub(crate) fn complete_posts(
        &mut self,
        handle: HostHandle,
        buffers: &mut Buffers<M>,
        client: &mut dyn OffloadClient,
    ) -> bool {
        let mut any = false;
        while let Some(status) = self.front_status() {
            let Some(post) = self.posts.pop_front() else { break };
            complete(&post, handle, status, buffers, client);
            any = true;
        }
        any
    }

    /// The status with which the first post is finished, if it is.
    fn front_status(&self) -> Option<Status> {
        let post = self.posts.front()?;
        if post.slot.is_some() {
            return None;
        }
        if self.fin_indicated {
            return Some(Status::InvalidState);
        }
        // Nothing more can come for it now, and no later post is with the device: that one might have to
        // follow this one without a gap.
        let is_last_word = self.buf.is_empty() && self.posts.iter().all(|p| p.slot.is_none());
        let is_done = post.room() == 0
            || post.closed && self.buf.is_empty()
            || post.filled > 0 && !post.no_push && is_last_word
            || post.filled > 0 && self.fin && self.buf.is_empty(); // G-01: a FIN pushes
        is_done.then_some(Status::Success)
    }

    /// only when no posted receive is available. One that the device is filling with later bytes is not available.
    fn may_indicate(&self) -> bool {
        match self.posts.front().and_then(|post| post.slot) {
            Some(slot) => self.is_filling(slot),
            None => self.posts.is_empty(),
        }
    }

    fn indicate(&mut self, handle: HostHandle, client: &mut dyn OffloadClient) {
        let wanted = match self.indication_size {
            0 => self.buf.len(),
            n => self.buf.len().min(n as usize),
        };
        let chunk = &self.buf.make_contiguous()[..wanted];
        let consumed = match client.receive_indicate(handle, chunk) {
            Consumed::All => {
                self.indicated = self.indicated.saturating_add(wanted as u32); // a few windows at most
                wanted
            }
            Consumed::Part(n) => {
                self.refused = true;
                wanted.min(n as usize)
            }
            Consumed::None => {
                self.refused = true;
                0
            }
        };
        self.buf.drain(..consumed);
    }

    /// the disconnect is indicated when all earlier data was consumed; G-01: posts that wait then complete empty.
    fn deliver_fin(
        &mut self,
        handle: HostHandle,
        buffers: &mut Buffers<M>,
        client: &mut dyn OffloadClient,
    ) -> bool {
        if !self.fin || self.fin_indicated || !self.buf.is_empty() || self.indicated > 0 {
            return false;
        }
        self.fin_indicated = true;
        client.event(handle, ConnectionEvent::Disconnect);
        self.fail_posts(handle, Status::Success, buffers, client);
        true
    }
}

fn complete<M: DmaMemory>(
    post: &Post,
    handle: HostHandle,
    status: Status,
    buffers: &mut Buffers<M>,
    client: &mut dyn OffloadClient,
) {
    buffers.give_back(post.buffer);
    client.receive_complete(handle, post.buffer, status, post.filled);
}

#[cfg(test)]
mod tests {
    //! A scripted device: the test writes back posts and fills pages as the guide says, in orders that need a race.
    use super::*;
    use crate::arena::Buffers;
    use crate::dma::DmaView;
    use crate::error::ConnFault;
    use crate::fake::{FakeMemory, News, Notes};
    use crate::pool::{PageMap, Pool};
    use crate::ring::Ring;
    use crate::shadow::Progress;
    use chimney_abi::desc::EDGE_SLACK;
    use chimney_abi::desc::{PoolDesc, RecvDesc, PAGE_BYTES, RECV_RETIRED};

    /// First byte of the stream: 100 bytes before the end of a page and of the sequence space.
    const START: u32 = u32::MAX - 99;

    struct Script {
        recv: Receive<FakeMemory>,
        ring: DmaView<FakeMemory>,
        map: PageMap<FakeMemory>,
        buffers: Buffers<FakeMemory>,
        pool: Pool<FakeMemory>,
        host: Notes,
        now: Progress,
    }

    fn byte(offset: u32) -> u8 {
        (offset.wrapping_mul(31) >> 3) as u8
    }

    impl Script {
        fn new() -> Self {
            let view = |len| DmaView::new(FakeMemory::new(0x10_0000, len));
            let (ring, map_view) = (view(8 * 16), view(256));
            let map = || PageMap::new(map_view.clone(), 1);
            let pool_ring = Ring::new("pool", view(64), 3, PoolDesc::BYTES);
            let recv_ring = Ring::new("receive", ring.clone(), 3, RecvDesc::BYTES);
            let now = Progress {
                text_end: START,
                peer_fin: false,
                pool_mode: false,
                post_idx: 0,
                post_off: 0,
                snd_una: 0,
                fin_acked: false,
            };
            Self {
                recv: Receive::new(recv_ring, map(), START, START.wrapping_add(50_000), 50_000),
                ring,
                map: map(),
                buffers: Buffers::new(view(64 * 1024)),
                pool: Pool::new(pool_ring, view(8 * PAGE_BYTES as usize), 7),
                host: Notes::default(),
                now,
            }
        }

        fn post(&mut self, len: u32, no_push: bool) {
            let buffer = self.buffers.allocate(len.max(1)).unwrap();
            let at = self.buffers.lend(buffer, 0, len).unwrap();
            let is_signal = len == 0;
            self.recv.post(Post {
                buffer,
                at,
                len,
                filled: 0,
                no_push,
                is_signal,
                slot: None,
                closed: false,
            });
        }

        /// Rings the doorbell if it is due: the posts are the device's.
        fn ring(&mut self) -> bool {
            self.recv.give_posts(&self.buffers, 1460)
        }

        fn desc(&self, index: u16) -> RecvDesc {
            let mut bytes = [0; RecvDesc::BYTES];
            self.ring.read(usize::from(index % 8) * 16, &mut bytes);
            RecvDesc::from_bytes(&bytes)
        }

        fn seq(offset: u32) -> u32 {
            START.wrapping_add(offset)
        }

        /// The device fills `[from, from + len)` of the stream into the post and retires it.
        fn retire(&mut self, index: u16, from: u32, len: u32) {
            let desc = self.desc(index);
            let at = (desc.addr - self.buffers.view().iova(0)) as usize;
            for i in 0..len {
                self.buffers.view().write(at + i as usize, &[byte(from + i)]);
            }
            let back = RecvDesc { len, flags: desc.flags | RECV_RETIRED, seq: Self::seq(from), ..desc };
            self.ring.write(usize::from(index % 8) * 16, &back.to_bytes());
            self.now.post_idx = index + 1;
            self.now.text_end = Self::seq(from + len);
        }

        /// The device puts `[from, to)` into pages and is in pool mode; posts below `post_idx` are skipped.
        fn pages(&mut self, from: u32, to: u32, post_idx: u16) {
            for offset in from..to {
                let seq = Self::seq(offset);
                let page = self.map.page(seq).unwrap_or_else(|| {
                    let page = self.pool.take().unwrap();
                    self.map.set(seq, page);
                    page
                });
                self.pool.write(page, (seq % PAGE_BYTES) as usize, &[byte(offset)]);
            }
            (self.now.pool_mode, self.now.post_idx) = (true, post_idx);
            self.now.text_end = Self::seq(to);
        }

        fn poll(&mut self) {
            self.recv.advance(&self.now, &self.buffers, &mut self.pool).unwrap();
            self.recv.deliver(HostHandle(1), &mut self.buffers, &mut self.host);
            for news in std::mem::take(&mut self.host.news) {
                let (buffer, len) = match news {
                    News::Bytes(bytes) => {
                        self.host.stream.extend(bytes);
                        continue;
                    }
                    News::Buffer(buffer, len) => (buffer, len),
                };
                let at = self.buffers.locate(buffer, 0, len).unwrap();
                let mut bytes = vec![0; len as usize];
                self.buffers.view().read(at, &mut bytes);
                self.host.stream.extend(bytes);
            }
            let want: Vec<u8> = (0..self.host.stream.len() as u32).map(byte).collect();
            assert!(self.host.stream == want, "stream order, {} bytes", want.len());
        }
    }

    #[test]
    fn a_skipped_post_is_filled_from_pages_and_given_again() {
        let mut s = Script::new();
        s.post(300, true);
        assert!(s.ring());
        s.pages(0, 200, 1);
        s.poll();
        assert!(s.host.done.is_empty(), "not full yet");
        assert!(s.ring());
        let desc = s.desc(1);
        assert_eq!((desc.len, desc.seq), (100, Script::seq(200)));
        s.now.pool_mode = false;
        s.retire(1, 200, 100);
        s.poll();
        assert_eq!(s.host.done, [(Status::Success, 300)]);
    }

    #[test]
    fn nothing_is_given_behind_a_post_that_is_still_under_way() {
        let mut s = Script::new();
        s.post(300, true);
        s.ring();
        s.post(100, true);
        s.ring();
        s.pages(0, 200, 1); // the second doorbell has not arrived
        s.poll();
        assert!(!s.ring(), "the first post must not get behind the second");
        s.pages(200, 300, 1);
        s.now.pool_mode = false; // the second begins exactly here
        s.poll();
        s.retire(1, 300, 100);
        s.poll();
        assert_eq!(s.host.done, [(Status::Success, 300), (Status::Success, 100)]);
    }

    #[test]
    fn a_post_used_before_its_turn_is_emptied_and_used_again() {
        let mut s = Script::new();
        for (len, no_push) in [(300, false), (200, true), (400, true)] {
            s.post(len, no_push);
            s.ring();
        }
        s.retire(0, 0, 250); // PSH: 50 bytes short of what the others were posted for
        s.poll();
        s.pages(250, 500, 2); // the second is skipped; it takes 200 of these 250 bytes
        s.now.pool_mode = false; // the third begins at the byte it was posted for
        s.retire(2, 500, 150);
        s.poll();
        assert_eq!(s.host.done[..2], [(Status::Success, 250), (Status::Success, 200)]);
        s.now.pool_mode = true;
        s.pages(650, 900, 3);
        s.poll();
        assert_eq!(s.host.done[2], (Status::Success, 400));
        assert_eq!(s.host.stream.len(), 900);
    }

    #[test]
    fn bytes_before_a_post_that_the_device_is_filling_are_indicated() {
        let mut s = Script::new();
        for (len, no_push) in [(300, false), (200, true), (400, true)] {
            s.post(len, no_push);
            s.ring();
        }
        s.retire(0, 0, 250);
        s.poll();
        s.pages(250, 500, 2);
        s.now.pool_mode = false;
        (s.now.text_end, s.now.post_off) = (Script::seq(510), 10); // the third has ten bytes, and waits to be full
        s.poll();
        assert_eq!(s.host.stream.len(), 500, "nobody waits for the third");
        s.retire(2, 500, 400);
        s.now.post_off = 0;
        s.poll();
        assert_eq!(s.host.stream.len(), 900);
    }

    #[test]
    fn a_finished_push_post_takes_no_later_bytes() {
        let mut s = Script::new();
        s.post(300, false);
        s.post(300, false);
        s.ring();
        s.retire(0, 0, 100);
        s.retire(1, 100, 50);
        s.pages(150, 160, 2);
        s.poll();
        assert_eq!(s.host.done, [(Status::Success, 100), (Status::Success, 60)]);
    }

    #[test]
    fn pages_go_back_once_they_are_behind() {
        let mut s = Script::new();
        let spare = s.pool.spare();
        s.pages(0, 3 * PAGE_BYTES, 0);
        assert_eq!(s.pool.spare(), spare - 4);
        s.poll();
        assert_eq!(s.pool.spare(), spare - 1, "the last page is not full");
        s.recv.release_pages(&mut s.pool);
        assert_eq!((s.pool.spare(), s.pool.double_frees()), (spare, 0));
    }

    #[test]
    fn what_cannot_be_is_a_fault() {
        let fault = |change: fn(&mut Script)| {
            let mut s = Script::new();
            s.post(300, true);
            s.ring();
            change(&mut s);
            s.recv.advance(&s.now, &s.buffers, &mut s.pool).unwrap_err()
        };
        let next = |s: &mut Script, offset| s.now.text_end = Script::seq(offset);
        assert!(matches!(
            fault(|s| s.now.text_end = Script::seq(0).wrapping_sub(1)),
            ConnFault::ReceiveNext { .. }
        ));
        assert!(matches!(
            fault(|s| s.now.text_end = Script::seq(50_001 + EDGE_SLACK)),
            ConnFault::ReceiveNext { .. }
        ));
        assert!(matches!(fault(|s| s.now.post_idx = 2), ConnFault::Post { .. }));
        assert!(matches!(fault(|s| s.retire(0, 5, 300)), ConnFault::Page { .. }), "no page for five bytes");
        assert!(matches!(fault(|s| s.now.post_off = 301), ConnFault::Post { .. }));
        let mut s = Script::new();
        s.post(300, true);
        s.ring();
        next(&mut s, 10);
        assert!(s.recv.advance(&s.now, &s.buffers, &mut s.pool).is_err(), "ten bytes are nowhere");
        s.retire(0, 0, 300);
        next(&mut s, 299);
        assert!(s.recv.advance(&s.now, &s.buffers, &mut s.pool).is_err(), "more retired than received");
    }
}
