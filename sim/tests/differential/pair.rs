//! Both devices, each with its driver and memory, and what they are compared by.

use super::conn::Conn;
use super::dut::Dut;
use super::golden_rig::wire::Seg;
use super::golden_rig::{Rig, PAGES, PAGE_MAP, USER};
use chimney_abi::cmd::{Opcode, Status, TcpState};
use chimney_abi::desc::*;
use chimney_abi::state::TcpRecord;
use chimney_sim::device::Device;
use chimney_sim::net::guise::Guise;
use chimney_sim::rng::Rng;
use std::collections::{BTreeMap, VecDeque};

/// Connections.
pub const CONNS: u16 = 6;
/// Steps between two looks at all memory.
const LOOK_STEPS: u64 = 64;
/// Stimuli that a failure shows.
const SHOWN: usize = 24;

pub struct Pair {
    pub gold: Rig<Dut>,
    pub rtl: Rig<Dut>,
    pub rng: Rng,
    pub steps: u64,
    conns: Vec<Option<Conn>>,
    log: VecDeque<String>,
    seen: BTreeMap<&'static str, u64>,
    /// Every record is compared after every step: to find where a difference begins.
    queries: bool,
}

impl Pair {
    pub fn new(seed: u64) -> Self {
        let guise = Guise::default();
        Self {
            gold: Rig::around(false, guise, Dut::golden),
            rtl: Rig::around(false, guise, Dut::rtl),
            rng: Rng::new(seed),
            steps: 0,
            conns: (0..CONNS).map(|_| None).collect(),
            log: VecDeque::new(),
            seen: BTreeMap::new(),
            queries: std::env::var_os("CHIMNEY_QUERIES").is_some(),
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
        if self.log.len() == SHOWN {
            self.log.pop_front();
        }
        self.log.push_back(format!("{} us: {kind} {what}", self.gold.now_us));
    }

    pub fn fail(&self, what: &str) -> ! {
        let log: Vec<_> = self.log.iter().map(String::as_str).collect();
        panic!("step {}: {what}\nafter\n{}", self.steps, log.join("\n"));
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
        if self.queries {
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
        if frames != got {
            let list = |segs: &[Seg]| segs.iter().map(brief).collect::<Vec<_>>().join("\n  ");
            self.fail(&format!("golden sent\n  {}\nRTL sent\n  {}", list(&frames), list(&got)));
        }
        for seg in frames {
            let at = usize::from(seg.conn);
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
            (status, TcpRecord { shadow_tag: 0, ..image })
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
        // Behind the block that changed last the RTL has the others by their place, the golden model by when they changed.
        seg.sack.truncate(1);
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
