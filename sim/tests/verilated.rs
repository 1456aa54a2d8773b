//! The bus models, the watchers and the generated bindings against Verilated RTL: the reference block copies memory
//! through AXI4, is programmed through AXI4-Lite and loops frames back.

use chimney_sim::bfm::axi::Resp;
use chimney_sim::bfm::axi_memory::{AxiFault, AxiTiming};
use chimney_sim::bfm::axis::AxisFrame;
use chimney_sim::ffi::{Reference, TraceError};
use chimney_sim::host_mem::{DmaAccess, DmaKind, HostMemory};
use chimney_sim::pins::ClockPins;
use chimney_sim::rig::Rig;
use chimney_sim::rng::{test_seed, Rng};

const BURST: u64 = 256;

/// The reference block in a rig, and its interrupts.
struct Bench {
    rig: Rig<Reference>,
    host: HostMemory,
    interrupts: u32,
}

impl Bench {
    fn new(timing: AxiTiming) -> Self {
        let host = HostMemory::new();
        Self { rig: Rig::new(Reference::new(), &host, timing), host, interrupts: 0 }
    }

    fn run_until(&mut self, limit: u64, mut done: impl FnMut(&mut Self) -> bool) {
        for _ in 0..limit {
            self.rig.clock();
            self.interrupts += u32::from(self.rig.model.interrupt());
            if done(self) {
                return;
            }
        }
        panic!("not done after {limit} clocks");
    }

    fn read(&mut self, addr: u32) -> u32 {
        self.rig.registers.read(addr);
        let mut answer = None;
        self.run_until(10_000, |b| {
            answer = b.rig.registers.pop_read();
            answer.is_some()
        });
        answer.expect("run_until saw it").value
    }

    fn start_copy(&mut self, from: u64, to: u64, bursts: u32) {
        let halves = |v: u64| (v as u32, (v >> 32) as u32);
        let (from, to) = (halves(from), halves(to));
        for (addr, value) in [(0x0, from.0), (0x4, from.1), (0x8, to.0), (0xc, to.1), (0x10, bursts)] {
            self.rig.registers.write(addr, value);
        }
        self.run_until(10_000, |b| b.rig.registers.is_idle());
    }

    fn assert_clean(&self) {
        assert_eq!(self.rig.violations(), None);
    }
}

fn copy(timing: AxiTiming, bursts: u64) {
    let mut bench = Bench::new(timing);
    let from = bench.host.alloc((bursts * BURST) as usize, DmaAccess::DeviceReads).unwrap();
    let to = bench.host.alloc((bursts * BURST) as usize, DmaAccess::DeviceReadsWrites).unwrap();
    let mut rng = Rng::new(timing.seed);
    let words: Vec<u64> = (0..bursts * BURST / 8).map(|_| rng.next_u64()).collect();
    words.iter().enumerate().for_each(|(i, w)| from.store_u64(8 * i, *w));
    bench.start_copy(from.iova(), to.iova(), bursts as u32);
    bench.run_until(1_000_000, |b| b.interrupts == 1);
    for (i, word) in words.iter().enumerate() {
        assert_eq!(to.load_u64(8 * i), word.wrapping_add(1), "word {i}");
    }
    assert_eq!(bench.read(0x14), 0);
    assert_eq!(bench.read(0x18), 0);
    bench.run_until(1000, |b| b.rig.memory.is_idle());
    let stats = bench.rig.memory.stats();
    assert_eq!((stats.read_beats, stats.write_beats), (bursts * 32, bursts * 32));
    assert_eq!(bench.host.violations().0, 0);
    bench.assert_clean();
}

#[test]
fn rtl_copies_memory_whatever_the_bus_timing() {
    let seed = test_seed(51);
    copy(AxiTiming::default(), 40);
    copy(AxiTiming::fixed(150), 40);
    for i in 0..4 {
        copy(AxiTiming::random(seed + i), 40);
    }
}

#[test]
fn rtl_sees_refused_and_failed_accesses() {
    let mut bench = Bench::new(AxiTiming::default());
    let from = bench.host.alloc(BURST as usize, DmaAccess::DeviceReads).unwrap();
    let to = bench.host.alloc(2 * BURST as usize, DmaAccess::DeviceReadsWrites).unwrap();
    // The second burst is read beyond the end, and its write is made to fail: 32 + 1 errors.
    let range = to.iova() + BURST..to.iova() + 2 * BURST;
    bench.rig.memory.inject(AxiFault { kind: DmaKind::Write, range, resp: Resp::SlvErr, count: 1 });
    bench.start_copy(from.iova(), to.iova(), 2);
    bench.run_until(100_000, |b| b.interrupts == 1);
    assert_eq!(bench.read(0x18), 33);
    let (count, kept) = bench.host.violations();
    assert_eq!((count, kept[0].kind, kept[0].addr_iova), (1, DmaKind::Read, from.iova() + BURST));
    assert_eq!(to.load_u64(0), 1);
    assert_eq!(to.load_u64(BURST as usize), 0);
    let text = bench.rig.violations().unwrap();
    assert!(text.starts_with("DMA: DMA Read of 256 bytes") && text.lines().count() == 2, "{text}");
}

#[test]
fn rtl_loops_frames_back_unchanged() {
    let seed = test_seed(52);
    for timing in [AxiTiming::default(), AxiTiming::random(seed)] {
        let mut bench = Bench::new(timing);
        let mut rng = Rng::new(seed);
        let frames: Vec<AxisFrame> = (1..200)
            .map(|len| AxisFrame {
                bytes: (0..len).map(|_| rng.next_u64() as u8).collect(),
                is_bad: rng.one_in_256(10),
            })
            .collect();
        frames.iter().for_each(|f| bench.rig.source.push_frame(f.clone()));
        let mut back = Vec::new();
        bench.run_until(200_000, |b| {
            back.extend(b.rig.sink.pop());
            back.len() == frames.len()
        });
        assert_eq!(back, frames);
        bench.assert_clean();
    }
}

#[test]
fn two_models_do_not_share_anything() {
    let (mut a, mut b) = (Bench::new(AxiTiming::default()), Bench::new(AxiTiming::default()));
    a.rig.registers.write(0, 0x1234);
    b.rig.registers.write(0, 0x5678);
    assert_eq!((a.read(0), b.read(0)), (0x1234, 0x5678));
    // A model may move to another thread.
    assert_eq!(std::thread::spawn(move || a.read(0)).join().unwrap(), 0x1234);
}

#[test]
fn a_wave_is_written_when_the_feature_is_there_and_refused_otherwise() {
    let mut bench = Bench::new(AxiTiming::default());
    let path = std::env::temp_dir().join(format!("chimney-wave-{}.fst", std::process::id()));
    match bench.rig.model.open_trace(&path) {
        Err(error) => assert!(error == TraceError::NotBuilt && !cfg!(feature = "trace"), "{error}"),
        Ok(()) => {
            bench.rig.trace_on();
            for _ in 0..100 {
                bench.rig.clock();
            }
            drop(bench);
            assert!(std::fs::metadata(&path).unwrap().len() > 100);
            std::fs::remove_file(path).unwrap();
        }
    }
}
