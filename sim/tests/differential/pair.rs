//! Both devices, each with its driver and memory, and what they are compared by.

use super::conn::Conn;
use super::dut::Dut;
use super::golden_rig::wire::Seg;
use super::golden_rig::{Rig, PAGES, PAGE_MAP, USER};
use chimney_abi::cmd::{Opcode, Phase, Status, TcpState};
use chimney_abi::desc::*;
use chimney_abi::state::{
    TcpRecord, CONST_ECN, CONST_SACK, DELEG_POOL_MODE, DELEG_STOPPED, ECN_REDUCED, NO_TIMER,
};
use chimney_sim::device::Device;
use chimney_sim::net::guise::Guise;
use chimney_sim::rng::Rng;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Connections.
pub const CONNS: u16 = 6;
/// Steps between two looks at all memory.
const LOOK_STEPS: u64 = 64;
/// SACK blocks beside timestamps (RFC 2018 3).
const MOST_WITH_TIMESTAMPS: usize = 3;
/// Without.
const MOST_BLOCKS: usize = chimney_abi::wire::tcp::MAX_SACK_BLOCKS;
/// Stimuli and segments that a failure shows.
const SHOWN: usize = 200;

/// The number in an environment variable.
pub fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

pub struct Pair {
    pub gold: Rig<Dut>,
    pub rtl: Rig<Dut>,
    pub rng: Rng,
    seed: u64,
    pub steps: u64,
    conns: Vec<Option<Conn>>,
    log: VecDeque<String>,
    /// When each connection sent last.
    sent_us: BTreeMap<u16, u64>,
    seen: BTreeMap<&'static str, u64>,
    /// From this step on every record is compared after every step: to find where a difference begins.
    queries_from: u64,
}

impl Pair {
    pub fn new(seed: u64) -> Self {
        let guise = Guise::default();
        Self {
            gold: Rig::around(false, guise, Dut::golden),
            rtl: Rig::around(false, guise, Dut::rtl),
            rng: Rng::new(seed),
            seed,
            steps: 0,
            conns: (0..CONNS).map(|_| None).collect(),
            log: VecDeque::new(),
            sent_us: BTreeMap::new(),
            seen: BTreeMap::new(),
            queries_from: number("CHIMNEY_QUERIES").unwrap_or(u64::MAX),
        }
    }

    /// The same to both, and the same from both.
    pub fn both<T: PartialEq + std::fmt::Debug>(&mut self, f: impl Fn(&mut Rig<Dut>) -> T) -> T {
        let (want, got) = (f(&mut self.gold), f(&mut self.rtl));
        if want != got {
            self.fail(&difference(&format!("{want:#?}"), &format!("{got:#?}")));
        }
        want
    }

    pub fn note(&mut self, kind: &'static str, what: String) {
        *self.seen.entry(kind).or_default() += 1;
        while self.log.len() >= SHOWN {
            self.log.pop_front();
        }
        self.log.push_back(format!("{} us: {kind} {what}", self.gold.now_us));
    }

    pub fn fail(&self, what: &str) -> ! {
        let log: Vec<_> = self.log.iter().map(String::as_str).collect();
        let replay = format!("CHIMNEY_SEED={} CHIMNEY_STEPS={}", self.seed, self.steps);
        let (step, us) = (self.steps, self.gold.now_us);
        panic!("step {step}, {us} us: {what}\nafter\n{}\nagain with {replay}", log.join("\n"));
    }

    /// When a connection sent last.
    pub fn sent_us(&self, conn: u16) -> Option<u64> {
        self.sent_us.get(&conn).copied()
    }

    /// Lets time pass, deadline by deadline.
    pub fn pass(&mut self, us: u64) {
        let end = self.gold.now_us + us;
        while self.gold.now_us < end {
            let due = self.gold.nic.next_deadline().unwrap_or(end);
            let now = due.clamp(self.gold.now_us + 1, end);
            for rig in [&mut self.gold, &mut self.rtl] {
                let us = now - rig.now_us;
                rig.run_for(us);
            }
            if self.rtl.nic.now_us() != now {
                self.fail(&format!("it is {now} us, and the RTL's clock says {}", self.rtl.nic.now_us()));
            }
            self.compare();
        }
    }

    /// One stimulus.
    pub fn step(&mut self) {
        self.steps += 1;
        let id = self.rng.below(CONNS.into()) as u16;
        match self.rng.below(100) {
            0..=9 => {
                let us = match self.rng.below(40) {
                    0 => self.rng.below(3_000_000),
                    1..=8 => self.rng.below(300_000),
                    9..=20 => self.rng.below(20_000),
                    _ => self.rng.below(1000),
                };
                self.note("time", format!("{us} us"));
                self.pass(us);
            }
            _ => {
                let mut conn = self.conns[usize::from(id)].take();
                let goes_on = match &mut conn {
                    Some(conn) => conn.step(self),
                    None => {
                        conn = Some(Conn::open(self, id));
                        true
                    }
                };
                if goes_on {
                    self.conns[usize::from(id)] = conn;
                }
            }
        }
        self.compare();
        if self.steps >= self.queries_from {
            for id in 0..CONNS {
                if let Some(generation) = self.conns[usize::from(id)].as_ref().map(|conn| conn.generation) {
                    self.take_back(id, generation, Opcode::Query);
                }
            }
        }
        if self.steps.is_multiple_of(LOOK_STEPS) {
            self.look();
        }
    }

    /// What both have sent and written since the last time.
    pub fn compare(&mut self) {
        let (frames, got) = (sent(&mut self.gold), sent(&mut self.rtl));
        if meaning(&frames) != meaning(&got) {
            let list = |segs: &[Seg]| segs.iter().map(brief).collect::<Vec<_>>().join("\n  ");
            self.fail(&format!("golden sent\n  {}\nRTL sent\n  {}", list(&frames), list(&got)));
        }
        for seg in frames {
            let at = usize::from(seg.conn);
            self.sent_us.insert(seg.conn, self.gold.now_us);
            self.log.push_back(format!("      sent {}", brief(&seg)));
            if let Some(conn) = self.conns.get_mut(at).and_then(Option::as_mut) {
                conn.heard(&seg);
            } else {
                self.strays(&seg);
            }
        }
        let up = self.both(Rig::handed_up);
        if !up.is_empty() {
            let count = up.len() as u16;
            self.both(|rig| rig.give_rx_buffers(count));
        }
        self.both(|rig| (0..CONNS).map(|conn| counted(rig.shadow(conn))).collect::<Vec<_>>());
        self.both(|rig| {
            let mut events: Vec<_> =
                rig.events(false).iter().map(|e| (e.conn, e.generation, e.kind)).collect();
            if !events.is_empty() {
                rig.events(true);
            }
            events.sort_unstable();
            events.dedup();
            events
        });
    }

    /// A segment of the connection that is in hand.
    fn strays(&mut self, seg: &Seg) {
        self.log.push_back(format!("      sent {}", brief(seg)));
    }

    /// All memory that the device may write.
    fn look(&mut self) {
        let areas = [(PAGE_MAP, 0x2_0000), (0x8_0000, 0x8_0000), (PAGES, 0x4_0000), (USER, 0x20_0000)];
        for (at, len) in areas {
            let (want, got) = (self.gold.bytes(at, len), self.rtl.bytes(at, len));
            if let Some(i) = want.iter().zip(&got).position(|(a, b)| a != b) {
                let i = i & !7;
                let (want, got) = (&want[i..i + 8], &got[i..i + 8]);
                self.fail(&format!("memory at {:#x}: golden {want:x?}, RTL {got:x?}", at + i as u64));
            }
        }
        if let Some(text) = self.rtl.nic.violations() {
            self.fail(&text);
        }
    }

    /// An image of both.
    pub fn take_back(&mut self, conn: u16, generation: u8, op: Opcode) -> (Status, TcpRecord) {
        self.both(|rig| {
            let (status, image) = rig.take_back(conn, generation, op);
            (status, told(image))
        })
    }

    /// Ends every connection.
    pub fn end(&mut self) {
        for id in 0..CONNS {
            if let Some(conn) = self.conns[usize::from(id)].take() {
                self.take_back(id, conn.generation, Opcode::Terminate);
            }
        }
        self.look();
        println!("{} steps: {:?}", self.steps, self.seen);
    }
}

/// What a record says that must not wait for the next one.
fn counted(shadow: Shadow) -> Shadow {
    // That a FIN was sent is said with its acknowledgment at the latest.
    let state = match TcpState::try_from(shadow.state & 0xF) {
        Ok(TcpState::FinWait1) => TcpState::Established.code(),
        Ok(TcpState::LastAck) => TcpState::CloseWait.code(),
        _ => shadow.state & 0xF,
    };
    Shadow { tag: 0, tag_end: 0, snd_max: 0, snd_wnd: 0, state: state | shadow.state & 0xF0, ..shadow }
}

/// The lines that are not the same, with how often the last line that begins a list entry came before.
fn difference(want: &str, got: &str) -> String {
    let (mut out, mut entry) = (String::new(), 0);
    for (a, b) in want.lines().zip(got.lines()) {
        entry += u32::from(a.ends_with('{'));
        if a != b {
            out += &format!("entry {entry}: golden {}, RTL {}\n", a.trim(), b.trim());
        }
    }
    if out.is_empty() {
        out = format!("golden {want}\nRTL {got}");
    }
    out
}

/// Segments, by connection; the IP ID follows from the order among them.
fn sent(rig: &mut Rig<Dut>) -> Vec<Seg> {
    let mut sent = rig.sent();
    sent.sort_by_key(|seg| seg.conn);
    for seg in &mut sent {
        seg.ip_id = 0;
    }
    sent
}

/// A segment in a line.
pub fn brief(seg: &Seg) -> String {
    let flags = [
        (seg.fin, "FIN"),
        (seg.syn, "SYN"),
        (seg.rst, "RST"),
        (seg.psh, "PSH"),
        (seg.urg, "URG"),
        (seg.ece, "ECE"),
        (seg.cwr, "CWR"),
        (seg.no_ack, "no ACK"),
    ];
    let flags: Vec<_> = flags.iter().filter(|f| f.0).map(|f| f.1).collect();
    format!(
        "conn {} seq {} len {} ack {} wnd {} {} ecn {} ts {:?} sack {:?}",
        seg.conn,
        seg.seq,
        seg.text.len(),
        seg.ack,
        seg.wnd,
        flags.join(" "),
        seg.ecn,
        seg.ts,
        seg.sack
    )
}

/// An image as far as both must agree.
fn told(image: TcpRecord) -> TcpRecord {
    // The frames are compared by what they mean. Which range was the newest before the newest was filled the RTL does not know.
    let mut r = TcpRecord { shadow_tag: 0, cnt_segs_out: 0, ooo_recent: 0, ..image };
    // Nothing runs for a connection that is stopped, whatever an update says of keepalive.
    if r.deleg_flags & DELEG_STOPPED != 0 {
        r.ka_deadline = NO_TIMER;
    }
    // In pool mode there is no post; the RTL's record has what it read of one that it left out.
    if r.deleg_flags & DELEG_POOL_MODE != 0 {
        (r.post_addr, r.post_len, r.post_flags) = (0, 0, 0);
    }
    // What a recovery, or the window of a mark, ended at says nothing any more once it is acknowledged; the RTL has one field for both. With SACK it says
    // nothing of a loss anyway: there a repaired one (RFC 8985 7.4.2) sets it as well.
    let is_over = (r.recover.wrapping_sub(r.snd_una) as i32) <= 0;
    let has_one = r.const_flags & (CONST_SACK | CONST_ECN) == CONST_SACK;
    if r.phase == Phase::Open.code() && r.ecn & ECN_REDUCED == 0 && (is_over || has_one) {
        r.recover = r.snd_una;
    }
    r
}

/// What the peers are told, at one moment. Connections have no order among each other. Text acknowledges too, so an acknowledgment beside it says nothing
/// unless it has SACK blocks; which of the two goes first depends on whether text has to wait for the loss unit, and the RTL may send text before what just
/// arrived is durable. So the last acknowledgment of a moment counts for all of a connection.
fn meaning(frames: &[Seg]) -> Vec<Seg> {
    let is_bare = |s: &Seg| s.text.is_empty() && !(s.fin || s.rst || s.syn);
    let (bare, mut all): (Vec<Seg>, Vec<Seg>) = frames.iter().cloned().partition(is_bare);
    let with_text: BTreeSet<u16> = all.iter().map(|s| s.conn).collect();
    for ack in bare {
        if !with_text.contains(&ack.conn) {
            all.push(ack);
            continue;
        }
        for s in all.iter_mut().filter(|s| s.conn == ack.conn && !s.rst) {
            (s.ack, s.wnd) = (ack.ack, ack.wnd);
        }
        if !ack.sack.is_empty() {
            all.push(Seg { seq: 0, ..ack });
        }
    }
    for s in &mut all {
        // Behind the block that changed last the RTL has the others by their place, the golden model by when they changed; three of four are not the same
        // three, and when the newest is gone another one is the newest.
        if s.ts.is_some() && s.sack.len() == MOST_WITH_TIMESTAMPS {
            s.sack.fill((0, 0));
        }
        // The same when text that came again takes the place of one of four.
        if s.sack.len() == MOST_BLOCKS && came_again(s) {
            s.sack.truncate(1);
        }
        s.sack.sort_unstable();
    }
    all.sort_by_key(|s| s.conn);
    // Two timers of one moment, a delayed acknowledgment and a probe for example, may send one or two.
    all.dedup_by(|a, b| a == b && a.text.is_empty());
    all
}

/// RFC 2883 4.2: the first block lies below the acknowledgment, or in the second.
fn came_again(s: &Seg) -> bool {
    let [first, second, ..] = s.sack[..] else { return false };
    let is_before = |a: u32, b: u32| (b.wrapping_sub(a) as i32) >= 0;
    is_before(first.1, s.ack) || (is_before(second.0, first.0) && is_before(first.1, second.1))
}
