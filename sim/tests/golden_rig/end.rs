//! One end of a transfer: sends and checks a known stream, reads posts and pages, hands the connection over.

use super::*;
use chimney_sim::rng::Rng;

/// Bytes of posted buffers in user memory.
const POST_SLOT: u64 = 0x1000;
const POST_SLOTS: u64 = 256;

/// Where received bytes lie.
#[derive(Clone, Copy, Debug)]
struct Placed {
    seq: u32,
    len: u32,
    at: u64,
}

pub struct End {
    pub rig: Rig,
    pub generation: u8,
    /// First sequence number of our stream and of the other's, and their lengths.
    out_start: u32,
    in_start: u32,
    pub out_len: u32,
    pub in_len: u32,
    /// Bytes announced to the device.
    posted: u32,
    fin_rung: bool,
    /// Bytes read from memory and found right.
    pub read: u32,
    seen_idx: u16,
    posts_rung: u16,
    post_seq: u32,
    post_slot: u64,
    pub handovers: u32,
    /// Largest numbers of bytes that one hand-over moved: unacknowledged, unsent, out of order.
    pub moved: [u32; 3],
    held: Vec<Vec<u8>>,
}

impl End {
    pub fn new(is_peer: bool, out_len: u32, in_len: u32, sack_ts: bool, guise: Guise) -> End {
        let mut rig = Rig::in_guise(is_peer, Config::default(), guise);
        let flags = if sack_ts { CONST_SACK | CONST_TIMESTAMPS } else { 0 };
        assert_eq!(
            rig.offload(0, 1, |r| {
                r.const_flags |= flags;
                r.max_rt_us = MAX_RT_UNLIMITED;
                r.eff_mss -= 12;
            }),
            Status::Success
        );
        let (out_start, in_start) = if is_peer { (IRS, ISS) } else { (ISS, IRS) };
        End {
            rig,
            generation: 1,
            out_start,
            in_start,
            out_len,
            in_len,
            posted: 0,
            fin_rung: false,
            read: 0,
            seen_idx: 0,
            posts_rung: 0,
            post_seq: in_start,
            post_slot: 0,
            handovers: 0,
            moved: [0; 3],
            held: Vec::new(),
        }
    }

    /// What the driver does between two frames.
    pub fn work(&mut self, rng: &mut Rng) {
        self.post_sends(rng);
        self.collect();
        self.give_back_pages();
        if rng.chance(0.2) {
            self.post_receives(rng);
        }
        let limit = (self.in_start + self.read).wrapping_add(WINDOW);
        self.rig.ring_receive(0, self.generation, limit);
        self.rig.events(true);
    }

    fn post_sends(&mut self, rng: &mut Rng) {
        let una = self.rig.shadow(0).snd_una.wrapping_sub(self.out_start);
        while self.posted < self.out_len && self.posted - una.min(self.posted) < 40_000 {
            let len = (1 + rng.below(6000) as u32).min(self.out_len - self.posted);
            let seq = self.out_start + self.posted;
            self.rig.recycle_send_memory();
            self.rig.write_send(0, seq, &pattern(seq, len as usize), rng.below(2) as u8);
            self.posted += len;
        }
        let done = self.posted == self.out_len;
        self.fin_rung |= done;
        let flags = if done { regs::DOORBELL_FIN } else { 0 };
        self.rig.ring_send(0, self.generation, flags, self.out_start + self.posted);
    }

    /// Reads and checks everything that the shadow record counts.
    pub fn collect(&mut self) {
        let s = self.rig.shadow(0);
        assert_eq!(s.generation, self.generation);
        let mut placed = Vec::new();
        while self.seen_idx != s.post_idx {
            let back = self.rig.post_back(0, self.seen_idx);
            if back.flags & RECV_RETIRED != 0 {
                placed.push(Placed { seq: back.seq, len: back.len, at: back.addr - self.rig.region.iova() });
            }
            self.seen_idx = self.seen_idx.wrapping_add(1);
        }
        if s.post_off > 0 {
            let at = self.rig.post_back(0, s.post_idx).addr - self.rig.region.iova();
            placed.push(Placed { seq: s.rcv_nxt.wrapping_sub(s.post_off), len: s.post_off, at });
        }
        let end = (s.rcv_nxt - self.in_start).min(self.in_len);
        while self.read < end {
            let seq = self.in_start + self.read;
            let bytes = match placed.iter().find(|p| seq.wrapping_sub(p.seq) < p.len) {
                Some(p) => {
                    let skip = seq.wrapping_sub(p.seq);
                    self.rig.bytes(p.at + u64::from(skip), (p.len - skip).min(end - self.read) as usize)
                }
                None => {
                    let in_page = PAGE_BYTES - seq % PAGE_BYTES;
                    let next_post = placed.iter().map(|p| p.seq.wrapping_sub(seq)).min().unwrap_or(u32::MAX);
                    self.rig.pooled(0, seq, in_page.min(next_post).min(end - self.read) as usize)
                }
            };
            assert_eq!(bytes, pattern(seq, bytes.len()), "byte {} of {}", self.read, self.in_len);
            self.read += bytes.len() as u32;
        }
    }

    /// A page goes back to the pool when every byte of it was read.
    fn give_back_pages(&mut self) {
        self.rig.give_back_pages(0, false, self.in_start + self.read);
    }

    fn post_receives(&mut self, rng: &mut Rng) {
        let s = self.rig.shadow(0);
        if s.flags & SHADOW_POOL_MODE != 0 || self.posts_rung == s.post_idx {
            self.post_seq = s.rcv_nxt;
        }
        for _ in 0..rng.below(3) {
            if self.posts_rung.wrapping_sub(s.post_idx) >= 8 {
                break;
            }
            let len = 1 + rng.below(POST_SLOT) as u32;
            let at = USER + self.post_slot % POST_SLOTS * POST_SLOT;
            self.post_slot += 1;
            self.rig.write_post(0, at, len, rng.below(2) as u8 & RECV_NO_PUSH, self.post_seq);
            self.post_seq = self.post_seq.wrapping_add(len);
            self.posts_rung = self.posts_rung.wrapping_add(1);
        }
    }

    /// Everything was sent, acknowledged and read, and both FINs are through.
    pub fn is_done(&self) -> bool {
        let s = self.rig.shadow(0);
        let all_out = s.flags & SHADOW_FIN_ACKED != 0;
        all_out && s.flags & SHADOW_PEER_FIN != 0 && self.read == self.in_len
    }

    /// Upload; in between frames reach the host; offload again under the next generation, and forward them.
    pub fn hand_over(&mut self, frames_in_between: &[Vec<u8>]) {
        let state = self.rig.shadow(0).state & 0xF;
        if !TcpState::try_from(state).unwrap().may_offload() {
            return;
        }
        let (status, image) = self.rig.take_back(0, self.generation, Opcode::Terminate);
        assert_eq!(status, Status::Success);
        self.collect();
        for frame in frames_in_between {
            self.rig.nic.rx_frame(frame, false);
        }
        self.rig.settle();
        self.held.extend(self.rig.handed_up().into_iter().map(|(f, _)| f));
        self.count_moved(&image);
        self.rebuild(image);
        self.handovers += 1;
        for frame in std::mem::take(&mut self.held) {
            self.rig.transmit(&frame, TX_LOOPBACK, (0, 0));
        }
        self.rig.settle();
        let up = self.rig.handed_up().len();
        assert_eq!(up, 0, "forwarded segments are the engine's");
        self.rig.give_rx_buffers(frames_in_between.len() as u16);
    }

    fn count_moved(&mut self, image: &TcpRecord) {
        let ooo = [
            (image.ooo0_start, image.ooo0_end),
            (image.ooo1_start, image.ooo1_end),
            (image.ooo2_start, image.ooo2_end),
            (image.ooo3_start, image.ooo3_end),
        ];
        let out_of_order: u32 = ooo.iter().map(|(a, b)| b.wrapping_sub(*a)).sum();
        let unsent = image.snd_limit.saturating_sub(image.snd_max);
        let now = [image.snd_max - image.snd_una, unsent, out_of_order];
        self.moved = std::array::from_fn(|i| self.moved[i].max(now[i]));
    }

    /// Offloads what was taken back: send ring from `snd_una`, out-of-order pages under the new generation.
    fn rebuild(&mut self, image: TcpRecord) {
        self.generation += 1;
        let start = image.snd_una.min(image.snd_limit);
        if start != image.snd_limit {
            let data = pattern(start, (image.snd_limit - start) as usize);
            self.rig.recycle_send_memory();
            self.rig.write_send(0, start, &data, SEND_PUSH);
        }
        self.rig.carry_pages(0, self.generation);
        (self.seen_idx, self.posts_rung, self.post_seq) = (0, 0, image.rcv_nxt);
        let status = self.rig.offload(0, self.generation, |r| {
            *r = TcpRecord { send_producer: r.send_producer, recv_producer: 0, ..image };
            r.deleg_flags |= DELEG_POOL_MODE;
        });
        assert_eq!(status, Status::Success);
    }
}
