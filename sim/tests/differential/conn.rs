//! One connection, as its host and its peer know it, and what they may do next.

use super::golden_rig::wire::Seg;
use super::golden_rig::{pattern, RING_LOG2, USER, WINDOW};
use super::pair::{brief, Pair};
use chimney_abi::cmd::{Opcode, Status, TcpState};
use chimney_abi::desc::*;
use chimney_abi::state::*;
use chimney_sim::rng::Rng;

/// Bytes of posted buffers, and how many a connection has.
const POST_SLOT: u64 = 0x2000;
const POST_SLOTS: u64 = 40;
/// Of the peer at first, unscaled.
const PEER_WINDOW: u16 = 65_000;
/// Most bytes that the host posts beyond what is acknowledged.
const MOST_UNSENT: u32 = 30_000;
/// The least that an edge moves, so that the peer hears of it at once: two of the largest segments.
const LEAST_EDGE: i32 = 3000;

pub struct Conn {
    pub id: u16,
    pub generation: u8,
    const_flags: u16,
    mss: u32,
    /// The device's stream: acknowledged by the peer, highest number that the peer saw, end of what the host posted.
    acked: u32,
    seen: u32,
    limit: u32,
    fin_posted: bool,
    /// The peer's stream: first number that it has not sent yet.
    seq: u32,
    fin_sent: bool,
    /// Where text began that left a hole before it.
    ahead: Vec<u32>,
    /// The right edge of the device's window.
    right: u32,
    /// What the device acknowledged.
    peer_una: u32,
    wnd: u16,
    /// SND.WL1 and SND.WL2.
    wl: (u32, u32),
    ts_val: u32,
    ts_recent: u32,
    /// The last one of ours that it echoed.
    echoed: u32,
    post_slot: u64,
    posts: u16,
    post_seq: u32,
}

fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.below(from.len() as u64) as usize]
}

/// An established connection, at random; without its ports and rings.
fn drawn(rng: &mut Rng) -> TcpRecord {
    let const_flags = pick(rng, &[0, CONST_TIMESTAMPS, CONST_SACK, CONST_SACK | CONST_TIMESTAMPS])
        | if rng.chance(0.3) { CONST_ECN } else { 0 }
        | CONST_NEWRENO;
    let (iss, irs) = (rng.next_u64() as u32, rng.next_u64() as u32);
    let mss = 500 + rng.below(900) as u32;
    let rcv_wind_shift = 1 + rng.below(3) as u8;
    let generation = 1 + rng.below(255) as u8;
    let cached_flags = pick(rng, &[0, CACHED_NAGLE, CACHED_KEEP_ALIVE, CACHED_NAGLE | CACHED_KEEP_ALIVE]);
    let snd_wind_shift = rng.below(3) as u8;
    let (cwnd, ssthresh) = (mss * (1 + rng.below(20) as u32), pick(rng, &[1 << 30, 8 * mss]));
    let srtt_us_x8 = pick(rng, &[0, 8 * 20_000]);
    let max_rt_us = pick(rng, &[0, MAX_RT_UNLIMITED, 2_000_000]);
    let right = irs.wrapping_add(WINDOW);
    let snd_wnd = u32::from(PEER_WINDOW) << snd_wind_shift;
    TcpRecord {
        generation,
        const_flags,
        cached_flags,
        eff_mss: mss as u16,
        snd_wind_shift,
        rcv_wind_shift,
        ttl: 64,
        max_retransmissions: 5,
        initial_rcv_wnd: WINDOW,
        ka_timeout_ms: 900,
        ka_interval_ms: 200,
        ka_probe_count: 3,
        max_rt_us,
        tcp_state: TcpState::Established.code(),
        deleg_flags: DELEG_POOL_MODE,
        rcv_nxt: irs,
        rcv_right: right,
        adv_right: right,
        last_ack_sent: irs,
        snd_una: iss,
        snd_nxt: iss,
        snd_max: iss,
        snd_limit: iss,
        recover: iss,
        snd_wl1: irs,
        snd_wl2: iss,
        snd_wnd,
        max_snd_wnd: snd_wnd,
        cwnd,
        ssthresh,
        srtt_us_x8,
        rttvar_us_x4: srtt_us_x8 / 4,
        rto_us: 300_000,
        rtx_deadline: NO_TIMER,
        ka_deadline: NO_TIMER,
        send_ring_log2: RING_LOG2,
        recv_ring_log2: RING_LOG2,
        ..TcpRecord::default()
    }
}

/// A generation that comes after.
fn next_generation(old: u8) -> u8 {
    if old == 255 {
        1
    } else {
        old + 1
    }
}

impl Conn {
    /// A fresh connection in both devices.
    pub fn open(pair: &mut Pair, id: u16) -> Self {
        let d = drawn(&mut pair.rng);
        let (generation, const_flags, mss) = (d.generation, d.const_flags, u32::from(d.eff_mss));
        let (iss, irs) = (d.snd_una, d.rcv_nxt);
        let what = format!("flags {const_flags:#x} {:#x} iss {iss} irs {irs} mss {mss}", d.cached_flags);
        pair.note("open", format!("conn {id} generation {generation} {what}"));
        let change = |r: &mut TcpRecord| {
            *r = TcpRecord {
                local_port: r.local_port,
                remote_port: r.remote_port,
                send_ring: r.send_ring,
                recv_ring: r.recv_ring,
                send_producer: r.send_producer,
                recv_producer: r.recv_producer,
                ..d
            };
        };
        let status = pair.both(|rig| rig.offload(id, generation, change));
        assert_eq!(status, Status::Success);
        Self {
            id,
            generation,
            const_flags,
            mss,
            acked: iss,
            seen: iss,
            limit: iss,
            fin_posted: false,
            seq: irs,
            fin_sent: false,
            ahead: Vec::new(),
            right: irs.wrapping_add(WINDOW),
            peer_una: irs,
            wnd: PEER_WINDOW,
            wl: (irs, iss),
            ts_val: 1000,
            ts_recent: 0,
            echoed: 0,
            post_slot: 0,
            posts: 0,
            post_seq: irs,
        }
    }

    /// The peer sees a segment of the device.
    pub fn heard(&mut self, seg: &Seg) {
        let end = seg.seq.wrapping_add(seg.text.len() as u32 + u32::from(seg.fin));
        if (end.wrapping_sub(self.seen) as i32) > 0 {
            self.seen = end;
        }
        if (seg.ack.wrapping_sub(self.peer_una) as i32) > 0 {
            self.peer_una = seg.ack;
        }
        if let Some((val, echoed)) = seg.ts {
            (self.ts_recent, self.echoed) = (val, echoed);
        }
    }

    /// Its newest record: not one of a connection that had the id and the generation before.
    fn record(&self, pair: &Pair) -> Option<Shadow> {
        let shadow = pair.gold.shadow(self.id);
        (shadow.rcv_nxt.wrapping_sub(self.peer_una) <= WINDOW).then_some(shadow)
    }

    /// The record, or what it would say if there were one.
    fn known(&self, pair: &Pair) -> Shadow {
        let state = TcpState::Established.code();
        self.record(pair).unwrap_or(Shadow { rcv_nxt: self.peer_una, state, ..Shadow::default() })
    }

    /// Something happens. False: the connection is gone.
    pub fn step(&mut self, pair: &mut Pair) -> bool {
        let shadow = self.known(pair);
        let state = TcpState::try_from(shadow.state & 0xF).unwrap_or(TcpState::Closed);
        let is_over = shadow.flags & (SHADOW_ABORTED | SHADOW_RETRIEVE) != 0 || !state.may_offload();
        let is_closed = self.fin_sent && shadow.flags & SHADOW_FIN_ACKED != 0;
        if (is_over || is_closed) && pair.rng.chance(0.3) {
            return self.close(pair);
        }
        match pair.rng.below(1000) {
            0..=499 => self.segment(pair),
            500..=699 => self.send(pair),
            700..=899 => self.receive(pair, &shadow),
            900..=949 => self.acknowledge(pair),
            950..=979 => self.query(pair),
            980..=989 => return self.hand_over(pair),
            990..=992 => return self.close(pair),
            // Of a FIN alone the RTL writes no record, so there must be one.
            993 if self.record(pair).is_some() => self.fin(pair),
            994..=996 => self.update(pair),
            _ => {}
        }
        true
    }

    /// Up from the device for good.
    fn close(&mut self, pair: &mut Pair) -> bool {
        pair.note("close", format!("conn {}", self.id));
        pair.take_back(self.id, self.generation, Opcode::Terminate);
        let id = self.id;
        pair.both(|rig| rig.give_back_pages(id, true, 0));
        false
    }

    fn query(&mut self, pair: &mut Pair) {
        pair.note("query", format!("conn {}", self.id));
        pair.take_back(self.id, self.generation, Opcode::Query);
    }

    fn update(&mut self, pair: &mut Pair) {
        let rng = &mut pair.rng;
        let flags = pick(
            rng,
            &[0, CACHED_NAGLE, CACHED_KEEP_ALIVE | CACHED_KEEP_ALIVE_RESTART, CACHED_MAX_RT_RESTART],
        );
        let record = TcpRecord {
            cached_flags: flags,
            ttl: 1 + rng.below(200) as u8,
            ka_timeout_ms: 500,
            ka_interval_ms: 100,
            ka_probe_count: 2,
            max_retransmissions: 5,
            initial_rcv_wnd: WINDOW,
            max_rt_us: pick(rng, &[0, MAX_RT_UNLIMITED]),
            ..TcpRecord::default()
        };
        pair.note("update", format!("conn {} flags {flags:#x}", self.id));
        let (id, generation) = (self.id, self.generation);
        pair.both(|rig| rig.update(id, generation, &record));
    }

    /// Up and down again.
    fn hand_over(&mut self, pair: &mut Pair) -> bool {
        pair.note("hand-over", format!("conn {}", self.id));
        let (status, image) = pair.take_back(self.id, self.generation, Opcode::Terminate);
        let state = TcpState::try_from(image.tcp_state).unwrap_or(TcpState::Closed);
        let over = DELEG_ABORTED | DELEG_STOPPED | DELEG_INVALID;
        let (id, old) = (self.id, self.generation);
        if status != Status::Success || !state.may_offload() || image.deleg_flags & over != 0 {
            pair.both(|rig| rig.give_back_pages(id, true, 0));
            return false;
        }
        self.generation = next_generation(old);
        let generation = self.generation;
        // The device reads the page map of what is out of order, of nothing else.
        let has_ranges = image.ooo0_start != image.ooo0_end;
        if !has_ranges {
            self.ahead.clear();
        }
        pair.both(|rig| {
            if has_ranges {
                rig.carry_pages(id, generation);
            } else {
                rig.give_back_pages(id, true, 0);
            }
            let start = image.snd_una;
            let len = image.snd_limit.wrapping_sub(start);
            // A FIN that is acknowledged lies behind the limit.
            if len != 0 && len < 1 << 31 {
                rig.recycle_send_memory();
                rig.write_send(id, start, &pattern(start, len as usize), SEND_PUSH);
            }
            rig.offload(id, generation, |r| {
                *r = TcpRecord {
                    send_producer: r.send_producer,
                    recv_producer: 0,
                    // The host has added them up.
                    cnt_segs_in: 0,
                    cnt_segs_out: 0,
                    cnt_retransmits: 0,
                    cnt_ooo: 0,
                    cnt_dup: 0,
                    cnt_drops: 0,
                    ..image
                };
                r.deleg_flags |= DELEG_POOL_MODE;
            })
        });
        self.posts = 0;
        self.post_seq = image.rcv_nxt;
        true
    }

    /// The host posts text.
    fn send(&mut self, pair: &mut Pair) {
        let room = MOST_UNSENT.saturating_sub(self.limit.wrapping_sub(self.acked));
        if self.fin_posted || room == 0 {
            return;
        }
        let rng = &mut pair.rng;
        let most = pick(rng, &[10, 1000, 6000]);
        let len = (1 + rng.below(most) as u32).min(room);
        let flags = pick(rng, &[0, SEND_PUSH]);
        let (id, generation, seq) = (self.id, self.generation, self.limit);
        self.limit = self.limit.wrapping_add(len);
        let limit = self.limit;
        pair.note("send", format!("conn {id} seq {seq} len {len} flags {flags}"));
        pair.both(|rig| {
            rig.recycle_send_memory();
            rig.write_send(id, seq, &pattern(seq, len as usize), flags);
            rig.ring_send(id, generation, 0, limit);
        });
    }

    /// The host closes its half.
    fn fin(&mut self, pair: &mut Pair) {
        self.fin_posted = true;
        let (id, generation, limit) = (self.id, self.generation, self.limit);
        pair.note("fin", format!("conn {id} limit {limit}"));
        pair.both(|rig| rig.ring_send(id, generation, chimney_abi::regs::DOORBELL_FIN, limit));
    }

    /// The host reads, posts buffers and offers a window.
    fn receive(&mut self, pair: &mut Pair, shadow: &Shadow) {
        let rng = &mut pair.rng;
        let (id, generation, nxt) = (self.id, self.generation, shadow.rcv_nxt);
        // An edge that the peer need not hear of is in the RTL's next record, and in one of its own of the golden model.
        let wanted = nxt.wrapping_add(if rng.chance(0.9) { WINDOW } else { WINDOW / 2 });
        if (wanted.wrapping_sub(self.right) as i32) >= LEAST_EDGE {
            self.right = wanted;
        }
        let limit = self.right;
        let mut posts = Vec::new();
        if shadow.flags & SHADOW_POOL_MODE != 0 || self.posts == shadow.post_idx {
            self.post_seq = nxt;
        }
        if rng.chance(0.5) && self.posts.wrapping_sub(shadow.post_idx) < 8 {
            let slot = self.post_slot % POST_SLOTS + u64::from(id) * POST_SLOTS;
            self.post_slot += 1;
            let len = 1 + rng.below(POST_SLOT) as u32;
            posts.push((USER + slot * POST_SLOT, len, pick(rng, &[0, RECV_NO_PUSH]), self.post_seq));
            self.post_seq = self.post_seq.wrapping_add(len);
            self.posts = self.posts.wrapping_add(1);
        }
        pair.note("receive", format!("conn {id} limit {limit} posts {posts:x?}"));
        pair.both(|rig| {
            for &(at, len, flags, seq) in &posts {
                rig.write_post(id, at, len, flags, seq);
            }
            rig.give_back_pages(id, false, nxt);
            rig.ring_receive(id, generation, limit);
        });
    }

    /// What the device could send if an acknowledgment let it.
    fn has_unsent(&self) -> bool {
        self.seen != self.limit.wrapping_add(u32::from(self.fin_posted)) || self.acked != self.seen
    }

    /// The peer's options, and the acknowledgment that the device knows already: if text lets the device send, the RTL sends before the
    /// text is durable and the golden model after it, so one acknowledges it and the other does not.
    fn blank(&mut self, rng: &mut Rng) -> Seg {
        if !self.has_unsent() {
            return self.news(rng);
        }
        let seg = self.news(rng);
        Seg { wnd: self.wnd, ..self.silent(seg) }
    }

    /// Without news.
    fn silent(&self, seg: Seg) -> Seg {
        Seg { ack: self.acked, sack: Vec::new(), ece: false, ..seg }
    }

    /// The peer's options and acknowledgment.
    fn news(&mut self, rng: &mut Rng) -> Seg {
        let in_flight = self.seen.wrapping_sub(self.acked);
        let ack = match rng.below(20) {
            0 => self.acked.wrapping_sub(rng.below(3000) as u32),
            1 => self.seen.wrapping_add(rng.below(2000) as u32),
            2..=7 => self.acked,
            8..=12 => self.acked.wrapping_add(rng.below(u64::from(in_flight) + 1) as u32),
            _ => self.seen,
        };
        self.ts_val = self.ts_val.wrapping_add(rng.below(3) as u32);
        let has_ts = self.const_flags & CONST_TIMESTAMPS != 0;
        // One that the device certainly finds too old.
        let old = self.ts_val.wrapping_sub(50);
        let is_old = (old.wrapping_sub(self.echoed) as i32) < 0 && rng.chance(0.02);
        let val = if is_old { old } else { self.ts_val };
        let sack = self.const_flags & CONST_SACK != 0 && ack.wrapping_sub(self.acked) < in_flight;
        let blocks = if sack && rng.chance(0.3) { 1 + rng.below(3) } else { 0 };
        let sack = (0..blocks).map(|_| self.block(rng)).collect();
        let wnd = pick(rng, &[0, 3000, 20_000, 65_000, 65_000, 65_000]);
        let seg = Seg {
            conn: self.id,
            ack,
            wnd,
            ts: (has_ts != rng.chance(0.02)).then_some((val, self.ts_recent)),
            ecn: if rng.chance(0.1) { rng.below(4) as u8 } else { 0 },
            ece: rng.chance(0.05),
            cwr: rng.chance(0.05),
            sack,
            ..Seg::default()
        };
        // When a window opens that was closed on text in flight, the RTL tells the loss unit of that alone.
        if self.wnd == 0 && in_flight != 0 {
            self.silent(seg)
        } else {
            seg
        }
    }

    /// A block of what the peer has, above the acknowledgment; now and then something else.
    fn block(&self, rng: &mut Rng) -> (u32, u32) {
        let in_flight = u64::from(self.seen.wrapping_sub(self.acked)) + 1;
        let start = self.acked.wrapping_add(rng.below(in_flight) as u32);
        let end = start.wrapping_add(1 + rng.below(2 * u64::from(self.mss)) as u32);
        if rng.chance(0.9) && (end.wrapping_sub(self.seen) as i32) > 0 {
            return (start, self.seen.wrapping_add(u32::from(start == self.seen)));
        }
        (start, end)
    }

    fn acknowledge(&mut self, pair: &mut Pair) {
        let mut seg = self.news(&mut pair.rng);
        seg.seq = self.seq;
        self.give(pair, seg);
    }

    /// A segment of the peer.
    fn segment(&mut self, pair: &mut Pair) {
        let mut seg = self.blank(&mut pair.rng);
        let rng = &mut pair.rng;
        let most = pick(rng, &[1, 100, 1400]);
        let len = rng.below(most + 1) as u32;
        seg.psh = rng.chance(0.5);
        let ahead = self.seq.wrapping_sub(self.peer_una);
        let is_full = ahead > WINDOW / 2;
        match rng.below(20) {
            // Lost or late: the peer goes on behind it.
            0..=2 if !self.fin_sent && !is_full => {
                self.seq = self.seq.wrapping_add(1 + rng.below(3000) as u32);
                seg.seq = self.seq;
                self.seq = self.seq.wrapping_add(len);
            }
            3..=7 if ahead != 0 => {
                seg.seq = self.peer_una.wrapping_sub(if rng.chance(0.2) { rng.below(500) as u32 } else { 0 });
                // Up to the first number that was never sent.
                let most = self.seq.wrapping_sub(seg.seq);
                seg.text = pattern(seg.seq, len.min(most) as usize);
                return self.give(pair, seg);
            }
            8 => {
                seg.seq = self.peer_una.wrapping_add(rng.below(80_000) as u32).wrapping_sub(8000);
                let most = self.seq.wrapping_sub(seg.seq);
                let len = if most < 1 << 31 { len.min(most) } else { 0 };
                seg.text = pattern(seg.seq, len as usize);
                return self.give(pair, seg);
            }
            _ if self.fin_sent || is_full => {
                seg.seq = self.seq;
                let odd = rng.below(100);
                mark(&mut seg, odd);
                return self.give(pair, seg);
            }
            _ => {
                seg.seq = self.seq;
                self.seq = self.seq.wrapping_add(len);
            }
        }
        seg.text = pattern(seg.seq, len as usize);
        match rng.below(400) {
            4 | 5 => {
                seg.fin = true;
                self.fin_sent = true;
                self.seq = self.seq.wrapping_add(1);
            }
            odd => mark(&mut seg, odd),
        }
        self.give(pair, seg);
    }

    /// What the device knows after a segment that it takes.
    fn tell(&mut self, seg: &Seg, nxt: u32) {
        let len = seg.text.len() as u32 + u32::from(seg.fin);
        let (from, to) =
            (seg.seq.wrapping_sub(nxt) as i32, seg.seq.wrapping_add(len).wrapping_sub(nxt) as i32);
        let is_there = (seg.seq.wrapping_sub(self.right) as i32) < 0 && (from >= 0 || to > 0);
        let is_timed =
            self.const_flags & CONST_TIMESTAMPS == 0 || seg.ts.is_some_and(|ts| ts.0 == self.ts_val);
        if !is_there || !is_timed || seg.rst || seg.syn || seg.no_ack || seg.urg {
            return;
        }
        let moved = seg.ack.wrapping_sub(self.acked);
        if moved > self.seen.wrapping_sub(self.acked) {
            return;
        }
        self.acked = seg.ack;
        let is_newer = seg.seq.wrapping_sub(self.wl.0) as i32;
        if is_newer > 0 || is_newer == 0 && (seg.ack.wrapping_sub(self.wl.1) as i32) >= 0 {
            (self.wnd, self.wl) = (seg.wnd, (seg.seq, seg.ack));
        }
    }

    fn give(&mut self, pair: &mut Pair, mut seg: Seg) {
        let nxt = self.known(pair).rcv_nxt;
        let first = seg.seq.wrapping_sub(nxt) as i32;
        if first > 0 && !seg.text.is_empty() {
            self.ahead.push(seg.seq);
        }
        self.ahead.retain(|start| (start.wrapping_sub(nxt) as i32) > 0);
        // What fills a hole ends with it: of what lies behind the range above, the RTL takes nothing and the golden model all.
        if let (true, Some(hole)) =
            (first <= 0, self.ahead.iter().map(|start| start.wrapping_sub(seg.seq)).min())
        {
            seg.text.truncate(hole as usize);
            seg.fin &= seg.text.len() < hole as usize;
        }
        self.tell(&seg, nxt);
        pair.note("segment", brief(&seg));
        // No round trip takes no time.
        if pair.sent_us(seg.conn) == Some(pair.gold.now_us) {
            pair.pass(1);
        }
        pair.both(|rig| rig.peer(seg.clone()));
    }
}

/// Flags that a peer has no reason for.
fn mark(seg: &mut Seg, odd: u64) {
    match odd {
        0 => seg.rst = true,
        1 => seg.syn = true,
        2 => seg.urg = true,
        3 => seg.no_ack = true,
        _ => {}
    }
}
