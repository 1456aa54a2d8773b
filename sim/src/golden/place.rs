//! Where received bytes go: posted buffers in direct mode, pool pages in pool mode and for everything out of
//! order (programmer's guide, section 6).
//!
//! ```text
//!            no post left, or next bytes already lie in pages
//!   direct ---------------------------------------------------> pool
//!     ^                                                          |
//!     `------ receive doorbell, a post with seq = rcv_nxt -------'
//! ```

use super::conn::Conn;
use super::rings::Ring;
use super::{Dma, DmaError, Golden};
use chimney_abi::desc::{
    PageMapEntry, RecvDesc, PAGE_BYTES, PAGE_LOG2, PAGE_MAP_STRIDE, PAGE_SLOTS, RECV_NO_PUSH, RECV_RETIRED,
};
use chimney_abi::state::{DELEG_POOL_MODE, DELEG_POST_LOADED, TIMER_PUSH};
use chimney_abi::{regs, SeqNum};
use chimney_host_stack_core::ranges::SeqRange;

impl<D: Dma> Golden<D> {
    /// Places text that begins at `rcv_nxt`, and takes in the out-of-order ranges it reaches. Returns how far
    /// `rcv_nxt` moved.
    pub(super) fn place_in_order(&mut self, conn: &mut Conn, text: &[u8]) -> Result<u32, DmaError> {
        let start = conn.rcv_nxt();
        let mut rest = text;
        while !rest.is_empty() {
            // Bytes of a range lie in pages already; a post must not be filled past its start.
            let hole =
                conn.ooo.as_slice().first().map_or(usize::MAX, |r| (r.start - conn.rcv_nxt()) as usize);
            let wanted = rest.len().min(hole);
            let placed = self.place_bytes(conn, &rest[..wanted], conn.rcv_nxt() == start)?;
            rest = &rest[placed..];
            if placed < wanted {
                break;
            }
            let skipped = self.join_ranges(conn)?;
            rest = &rest[rest.len().min(skipped as usize)..];
        }
        let moved = conn.rcv_nxt() - start;
        if moved > 0 {
            conn.shadow_dirty = true;
            conn.event_due = true;
        }
        Ok(moved)
    }

    /// Places bytes at `rcv_nxt` and moves it; fewer than given if pages run out. `is_first`: the segment begins with them.
    fn place_bytes(&mut self, conn: &mut Conn, bytes: &[u8], is_first: bool) -> Result<usize, DmaError> {
        let mut placed = 0;
        if !conn.is_pool_mode() {
            placed = self.fill_posts(conn, bytes)?;
            // `as`: at most the length of a frame.
            conn.rec.rcv_nxt = (conn.rcv_nxt() + placed as u32).0;
        }
        if placed < bytes.len() {
            self.enter_pool_mode(conn)?;
            let more = self.write_pages(conn, conn.rcv_nxt(), &bytes[placed..])?;
            conn.sample.on_place(is_first && placed == 0 && more > 0, false);
            conn.rec.rcv_nxt = (conn.rcv_nxt() + more as u32).0;
            placed += more;
        }
        Ok(placed)
    }

    /// When `rcv_nxt` has reached an out-of-order range, takes it in; returns its length.
    fn join_ranges(&mut self, conn: &mut Conn) -> Result<u32, DmaError> {
        let nxt = conn.rcv_nxt();
        let reached = conn.ooo.as_slice().first().is_some_and(|r| r.start.at_or_before(nxt));
        if !reached {
            return Ok(0);
        }
        self.enter_pool_mode(conn)?;
        let next = conn.ooo.pop_contiguous(nxt);
        conn.rec.rcv_nxt = next.0;
        Ok(next - nxt)
    }

    /// R-246: out-of-order text goes to pages. False if nothing of it could be taken.
    pub(super) fn place_out_of_order(
        &mut self,
        conn: &mut Conn,
        seq: SeqNum,
        text: &[u8],
    ) -> Result<bool, DmaError> {
        // `as`: at most the length of a frame.
        let range = SeqRange::new(seq, text.len() as u32);
        conn.again = conn.ooo.covers(&range).then_some(range);
        let mut trial = conn.ooo;
        if trial.insert(range).is_err() {
            self.regs.count(&regs::CNT_DROP_NO_RANGE, 1);
            conn.rec.cnt_drops = conn.rec.cnt_drops.wrapping_add(1);
            return Ok(false);
        }
        let placed = self.write_pages(conn, seq, text)?;
        // With a cut tail the range may no longer touch the one it would have merged with.
        if placed == 0 || conn.ooo.insert(SeqRange::new(seq, placed as u32)).is_err() {
            return Ok(false);
        }
        conn.rec.cnt_ooo = conn.rec.cnt_ooo.wrapping_add(1);
        Ok(true)
    }

    /// Direct mode: fills posts in ring order; fewer bytes than given if there are no more posts.
    fn fill_posts(&mut self, conn: &mut Conn, bytes: &[u8]) -> Result<usize, DmaError> {
        let mut placed = 0;
        while placed < bytes.len() && (conn.has(DELEG_POST_LOADED) || self.load_post(conn)?) {
            let room = (conn.rec.post_len - conn.rec.post_off) as usize;
            let n = room.min(bytes.len() - placed);
            let at = conn.rec.post_addr.wrapping_add(u64::from(conn.rec.post_off));
            self.port.write(at, &bytes[placed..placed + n])?;
            placed += n;
            // `as`: at most the length of a frame.
            conn.rec.post_off += n as u32;
            if n == room {
                conn.sample.on_place(false, placed < bytes.len());
                self.retire_post(conn, conn.rcv_nxt() + placed as u32)?;
            } else if conn.rec.post_flags & RECV_NO_PUSH == 0 {
                // R-188: the first byte starts the push timer, further ones restart it.
                let deadline = self.now32().wrapping_add(self.regs.get(&regs::PUSH_US));
                conn.start_timer(TIMER_PUSH, deadline);
            }
        }
        Ok(placed)
    }

    /// Loads the post at `post_idx`; false if there is none.
    fn load_post(&mut self, conn: &mut Conn) -> Result<bool, DmaError> {
        while conn.rec.post_idx != conn.rec.recv_producer {
            let desc = self.read_post(conn)?;
            if desc.len > 0 {
                self.use_post(conn, &desc);
                return Ok(true);
            }
            self.regs.count(&regs::CNT_BAD_REQUEST, 1);
            skip_post(conn);
        }
        Ok(false)
    }

    fn read_post(&mut self, conn: &Conn) -> Result<RecvDesc, DmaError> {
        Ok(RecvDesc::from_bytes(&self.port.record(post_iova(conn))?))
    }

    fn use_post(&mut self, conn: &mut Conn, desc: &RecvDesc) {
        let r = &mut conn.rec;
        (r.post_addr, r.post_len, r.post_flags, r.post_off) = (desc.addr, desc.len, desc.flags, 0);
        conn.set(DELEG_POST_LOADED);
    }

    /// The current post is done: its bytes end before `end`. The write-back precedes the shadow record.
    fn retire_post(&mut self, conn: &mut Conn, end: SeqNum) -> Result<(), DmaError> {
        let r = &conn.rec;
        let back = RecvDesc {
            addr: r.post_addr,
            len: r.post_off,
            flags: r.post_flags | RECV_RETIRED,
            seq: (end - r.post_off).0,
        };
        let second_beat = RecvDesc::BYTES / 2;
        let at = post_iova(conn).wrapping_add(second_beat as u64);
        self.port.write(at, &back.to_bytes()[second_beat..])?;
        conn.stop_timer(TIMER_PUSH);
        skip_post(conn);
        Ok(())
    }

    /// Retires the current post if it holds bytes and is in push mode (PSH, push timer), or in any mode if
    /// `also_no_push` (G-01: the peer's FIN).
    pub(super) fn push_post(&mut self, conn: &mut Conn, also_no_push: bool) -> Result<(), DmaError> {
        let is_partial = conn.has(DELEG_POST_LOADED) && conn.rec.post_off > 0;
        if is_partial && (also_no_push || conn.rec.post_flags & RECV_NO_PUSH == 0) {
            self.retire_post(conn, conn.rcv_nxt())?;
        }
        Ok(())
    }

    /// From now on bytes go to pages; every post known so far is skipped.
    fn enter_pool_mode(&mut self, conn: &mut Conn) -> Result<(), DmaError> {
        if conn.is_pool_mode() {
            return Ok(());
        }
        self.push_post(conn, true)?;
        conn.clear(DELEG_POST_LOADED);
        conn.rec.post_off = 0;
        conn.rec.post_idx = conn.rec.recv_producer;
        conn.set(DELEG_POOL_MODE);
        conn.shadow_dirty = true;
        conn.event_due = true;
        Ok(())
    }

    /// After a receive doorbell in pool mode: a post whose first byte is the next one to place starts direct
    /// mode; any other raced with data and is skipped.
    pub(super) fn examine_posts(&mut self, conn: &mut Conn) -> Result<(), DmaError> {
        while conn.is_pool_mode() && conn.rec.post_idx != conn.rec.recv_producer {
            let desc = self.read_post(conn)?;
            if desc.len > 0 && SeqNum(desc.seq) == conn.rcv_nxt() {
                conn.clear(DELEG_POOL_MODE);
                self.use_post(conn, &desc);
                conn.shadow_dirty = true;
                conn.event_due = true;
            } else {
                skip_post(conn);
            }
        }
        Ok(())
    }

    /// Writes bytes to the pages of their slots; fewer than given if the pool is empty.
    fn write_pages(&mut self, conn: &mut Conn, seq: SeqNum, bytes: &[u8]) -> Result<usize, DmaError> {
        let mut done = 0;
        while done < bytes.len() {
            let at = seq + done as u32;
            let offset = at.0 % PAGE_BYTES;
            let slot = ((at.0 >> PAGE_LOG2) % PAGE_SLOTS) as usize;
            let is_new = !holds(conn, slot, at);
            if is_new && !self.map_page(conn, slot, at)? {
                self.regs.count(&regs::CNT_DROP_NO_PAGE, 1);
                conn.rec.cnt_drops = conn.rec.cnt_drops.wrapping_add(1);
                break;
            }
            let n = ((PAGE_BYTES - offset) as usize).min(bytes.len() - done);
            let iova = self.page_iova(conn.pages[slot].page).wrapping_add(u64::from(offset));
            self.port.write(iova, &bytes[done..done + n])?;
            if is_new {
                self.publish_page(conn, slot)?;
            }
            done += n;
        }
        Ok(done)
    }

    /// Takes a page for a slot; false if the pool is empty.
    fn map_page(&mut self, conn: &mut Conn, slot: usize, at: SeqNum) -> Result<bool, DmaError> {
        let Some(page) = self.take_page()? else { return Ok(false) };
        let seq = at.0 & !(PAGE_BYTES - 1);
        conn.pages[slot] = PageMapEntry { page, generation: conn.rec.generation, valid: 1, seq };
        Ok(true)
    }

    /// Tells the host about a page, before the shadow record that counts its bytes.
    fn publish_page(&mut self, conn: &Conn, slot: usize) -> Result<(), DmaError> {
        let at = self.page_map_iova(conn.id).wrapping_add((slot * PageMapEntry::BYTES) as u64);
        self.port.write(at, &conn.pages[slot].to_bytes())
    }

    /// Address of a connection's page map.
    pub(super) fn page_map_iova(&self, id: u16) -> u64 {
        let offset = u64::from(id) * u64::from(PAGE_MAP_STRIDE);
        self.regs.address(&regs::PAGE_MAP_BASE_LO).wrapping_add(offset)
    }
}

/// True if the slot's page is the one for the lap that `at` is in.
fn holds(conn: &Conn, slot: usize, at: SeqNum) -> bool {
    let entry = &conn.pages[slot];
    entry.valid != 0 && entry.generation == conn.rec.generation && entry.seq == at.0 & !(PAGE_BYTES - 1)
}

fn post_iova(conn: &Conn) -> u64 {
    let offset = Ring::offset(conn.rec.post_idx, conn.rec.recv_ring_log2, RecvDesc::BYTES);
    conn.rec.recv_ring.wrapping_add(offset)
}

fn skip_post(conn: &mut Conn) {
    conn.clear(DELEG_POST_LOADED);
    conn.rec.post_off = 0;
    conn.rec.post_idx = conn.rec.post_idx.wrapping_add(1);
    conn.shadow_dirty = true;
    conn.event_due = true;
}
