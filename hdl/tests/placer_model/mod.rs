//! The placer in plain Rust: what orders do to posts and pages, and which commands they mean, in order (programmer's guide 6, spec 9.3).

use chimney_abi::desc::{PAGE_BYTES, PAGE_SLOTS, RECV_NO_PUSH, RECV_RETIRED, SHADOW_STRIDE};
use std::collections::HashMap;

/// Base addresses in host memory.
pub const SHADOWS: u64 = 0x10_0000;
/// See [`SHADOWS`].
pub const MAPS: u64 = 0x11_0000;
/// See [`SHADOWS`].
pub const POOL: u64 = 0x100_0000;
/// log2 of the entries of a receive ring.
pub const RECV_LOG2: u32 = 4;
const RECV_RING: u64 = 0x14_0000;
/// Most bytes of one payload command.
const PIECE: u32 = 2048;

/// A posted receive as the host wrote it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Post {
    /// Address.
    pub addr: u64,
    /// Bytes.
    pub len: u32,
    /// Flags.
    pub flags: u8,
    /// First byte.
    pub seq: u32,
    /// It cannot be read.
    pub broken: bool,
}

/// What the placer keeps.
#[derive(Clone, Copy, Debug, Default)]
pub struct Posts {
    /// Entries posted.
    pub producer: u16,
    /// Entry in use.
    pub idx: u16,
    /// Bytes placed in it.
    pub off: u32,
    /// The entry, once read.
    pub post: Option<Post>,
    /// Bytes go to pages.
    pub pool: bool,
    /// A descriptor could not be read.
    pub fault: bool,
    /// Shadow records since the connection began.
    pub records: usize,
}

/// An order, or a question.
#[derive(Clone, Copy, Debug, Default)]
pub struct Order {
    pub conn: u64,
    pub generation: u8,
    pub load: Option<Posts>,
    pub tell: bool,
    pub reserved: u64,
    pub bell: Option<u16>,
    pub seq: u32,
    pub len: u16,
    pub src: u16,
    pub is_ooo: bool,
    pub jump: bool,
    pub push: bool,
    pub fin: bool,
    pub is_segment: bool,
    pub handed_up: bool,
    pub free: u16,
    pub publish: bool,
    pub rcv_nxt: u32,
    pub right: u32,
    pub data: bool,
    pub now: bool,
    pub raise: bool,
}

/// What comes out of the placer, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Out {
    /// Text from packet memory to host memory.
    Piece { src: u16, iova: u64, len: u16 },
    /// A page map entry.
    Map { iova: u64, page: u16, generation: u8, seq: u32 },
    /// A post's second beat.
    Retire { iova: u64, len: u32, flags: u8, seq: u32 },
    /// Packet memory is given back.
    Free { len: u16 },
    /// A shadow record, and what it makes durable.
    Shadow(Record),
    /// No shadow record.
    Nothing,
    /// An event.
    Raise { conn: u64, generation: u8 },
    /// A verdict.
    Verdict { handed_up: bool },
    /// Posts are told: index, bytes in it, pool mode.
    Told { idx: u16, off: u32, pool: bool },
}

/// A shadow record, and what it makes durable.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Record {
    pub conn: u64,
    pub idx: u16,
    pub off: u32,
    pub pool: bool,
    pub nxt: u32,
    pub right: u32,
    pub fault: bool,
    /// Orders that wanted it.
    pub count: u64,
    /// Segments whose text it counts.
    pub data: u64,
    /// Acknowledge at once.
    pub now: bool,
}

/// Address of shadow record number `tag` of a connection.
pub fn shadow_at(conn: u64, tag: u16) -> u64 {
    SHADOWS + u64::from(SHADOW_STRIDE) * conn + u64::from(SHADOW_STRIDE / 2) * u64::from(tag & 1)
}

/// Page of pool ring entry `index`.
pub fn page(index: u64) -> u16 {
    (index.wrapping_mul(40_503) & 0xffff) as u16
}

/// Address of a receive ring.
pub fn ring(conn: u64) -> u64 {
    RECV_RING + conn * 0x1000
}

/// Address of a receive ring entry.
pub fn entry(conn: u64, idx: u16) -> u64 {
    ring(conn) + 16 * u64::from(idx & ((1 << RECV_LOG2) - 1))
}

/// All connections.
#[derive(Default)]
pub struct Model {
    /// Posts per connection.
    pub posts: [Posts; 4],
    /// The receive rings.
    pub memory: HashMap<u64, Post>,
    /// Page map: connection and slot to tag and page.
    pub map: HashMap<(u64, u32), (u32, u16)>,
    /// Pages taken from the pool.
    pub taken: u64,
    /// What is expected.
    pub out: std::collections::VecDeque<Out>,
    /// Posts skipped and doorbells not believed.
    pub bad: u64,
    changed: bool,
}

impl Model {
    /// The page of a byte, if the map has it.
    pub fn find(&self, conn: u64, seq: u32) -> Option<u16> {
        let tag = seq / PAGE_BYTES;
        self.map.get(&(conn, tag % PAGE_SLOTS)).filter(|(t, _)| *t == tag).map(|(_, page)| *page)
    }

    /// Reads the next post. A post for `next` ends pool mode; outside of pool mode every one is used.
    fn read_post(&mut self, conn: u64, next: u32) {
        let p = &mut self.posts[conn as usize];
        let post = self.memory[&entry(conn, p.idx)];
        if post.broken || p.fault {
            (p.fault, p.pool, p.idx) = (true, true, p.producer);
        } else if post.len != 0 && (!p.pool || post.seq == next) {
            (p.post, p.pool, p.off) = (Some(post), false, 0);
        } else {
            p.idx = p.idx.wrapping_add(1);
            self.bad += u64::from(post.len == 0);
        }
    }

    fn retire(&mut self, conn: u64, end: u32) {
        let p = &mut self.posts[conn as usize];
        let post = p.post.take().expect("a post is in use");
        let (iova, flags) = (entry(conn, p.idx) + 8, post.flags | RECV_RETIRED);
        self.out.push_back(Out::Retire { iova, len: p.off, flags, seq: end.wrapping_sub(p.off) });
        (p.idx, p.off) = (p.idx.wrapping_add(1), 0);
        self.changed = true;
    }

    fn enter_pool(&mut self, conn: u64, end: u32) {
        if self.part_filled(conn) {
            self.retire(conn, end);
        }
        let p = &mut self.posts[conn as usize];
        (p.idx, p.post, p.pool) = (p.producer, None, true);
        self.changed = true;
    }

    fn part_filled(&self, conn: u64) -> bool {
        let p = &self.posts[conn as usize];
        !p.pool && p.post.is_some() && p.off != 0
    }

    fn put_page(&mut self, o: &Order, at: u32, src: u16, left: u32) -> u32 {
        let tag = at / PAGE_BYTES;
        let (slot, in_page) = (tag % PAGE_SLOTS, at % PAGE_BYTES);
        let len = left.min(PAGE_BYTES - in_page);
        let page = self.find(o.conn, at).unwrap_or_else(|| {
            let fresh = page(self.taken);
            self.taken += 1;
            self.map.insert((o.conn, slot), (tag, fresh));
            let iova = MAPS + o.conn * u64::from(PAGE_SLOTS) * 8 + u64::from(slot) * 8;
            let seq = tag * PAGE_BYTES;
            self.out.push_back(Out::Map { iova, page: fresh, generation: o.generation, seq });
            fresh
        });
        let iova = POOL + u64::from(page) * u64::from(PAGE_BYTES) + u64::from(in_page);
        self.out.push_back(Out::Piece { src, iova, len: len as u16 });
        len
    }

    fn put_post(&mut self, o: &Order, at: u32, src: u16, left: u32) -> u32 {
        let p = &mut self.posts[o.conn as usize];
        let post = p.post.expect("a post is in use");
        let len = left.min(post.len - p.off).min(PIECE);
        self.out.push_back(Out::Piece { src, iova: post.addr + u64::from(p.off), len: len as u16 });
        p.off += len;
        if p.off == post.len {
            self.retire(o.conn, at.wrapping_add(len));
        }
        len
    }

    /// Places the text of an order; returns the sequence number behind it.
    fn text(&mut self, o: &Order) -> u32 {
        let (mut at, mut src, mut left) = (o.seq, o.src, u32::from(o.len));
        while left > 0 {
            let p = self.posts[o.conn as usize];
            let len = if o.is_ooo || p.pool {
                self.put_page(o, at, src, left)
            } else if p.post.is_some() {
                self.put_post(o, at, src, left)
            } else {
                if p.idx != p.producer {
                    self.changed = true;
                    self.read_post(o.conn, o.rcv_nxt);
                } else {
                    self.enter_pool(o.conn, at);
                }
                0
            };
            (at, src, left) = (at.wrapping_add(len), src.wrapping_add(len as u16), left - len);
        }
        at
    }

    /// Carries out an order.
    pub fn order(&mut self, o: &Order) {
        let conn = o.conn as usize;
        self.changed = false;
        if let Some(load) = o.load {
            self.posts[conn] = load;
        }
        let bell = o.bell.filter(|p| p.wrapping_sub(self.posts[conn].idx) <= 1 << RECV_LOG2);
        self.bad += u64::from(o.bell.is_some() && bell.is_none());
        self.posts[conn].producer = bell.unwrap_or(self.posts[conn].producer);
        let end = self.text(o);
        while o.bell.is_some() && self.posts[conn].pool && self.posts[conn].idx != self.posts[conn].producer {
            self.changed = true;
            self.read_post(o.conn, o.rcv_nxt);
        }
        let pushes = o.push && self.posts[conn].post.is_some_and(|p| p.flags & RECV_NO_PUSH == 0);
        if self.part_filled(o.conn) && (o.fin || pushes) {
            self.retire(o.conn, end);
        }
        if o.jump && !self.posts[conn].pool {
            self.enter_pool(o.conn, end);
        }
        self.finish(o);
    }

    /// What follows the text.
    fn finish(&mut self, o: &Order) {
        if o.free != 0 {
            self.out.push_back(Out::Free { len: o.free });
        }
        let p = &mut self.posts[o.conn as usize];
        if o.publish || self.changed {
            let Posts { idx, off, pool, fault, .. } = *p;
            let (nxt, right) = (o.rcv_nxt, o.right);
            let (count, data, now) = (u64::from(o.publish), u64::from(o.data), o.now);
            let record = Record { conn: o.conn, idx, off, pool, nxt, right, fault, count, data, now };
            self.out.push_back(Out::Shadow(record));
            p.records += 1;
            if o.raise || self.changed {
                self.out.push_back(Out::Raise { conn: o.conn, generation: o.generation });
            }
        } else {
            self.out.push_back(Out::Nothing);
        }
        let told = Out::Told { idx: p.idx, off: p.off, pool: p.pool };
        self.out.extend((o.tell || o.load.is_some()).then_some(told));
        self.out.extend(o.is_segment.then_some(Out::Verdict { handed_up: o.handed_up }));
    }

    /// Answers a question: does the post take all of it, and how many pages are missing?
    pub fn ask(&mut self, conn: u64, seq: u32, len: u16) -> (bool, u64) {
        let p = |m: &Self| m.posts[conn as usize];
        while !p(self).pool && p(self).post.is_none() && p(self).idx != p(self).producer {
            self.read_post(conn, 0);
        }
        let in_post = !p(self).pool && p(self).post.is_some_and(|x| x.len - p(self).off >= u32::from(len));
        let (mut at, mut left, mut missing) = (seq, u32::from(len), 0);
        while left > 0 {
            missing += u64::from(self.find(conn, at).is_none());
            let step = left.min(PAGE_BYTES - at % PAGE_BYTES);
            (at, left) = (at.wrapping_add(step), left - step);
        }
        (in_post, missing)
    }
}
