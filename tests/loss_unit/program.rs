//! The program of the unit in plain Rust against `LossRecovery`: many more jobs than the block can be given.

use super::model::Conn;
use super::record::Record;
use super::{b, n, Test};
use chimney_hdl::micro::machine::Machine;
use chimney_hdl::prelude::{bits, Bits};
use chimney_hdl::tcp::loss::code::program;
use chimney_hdl::tcp::loss::job::{LossJob, LossKind, LossResult};
use chimney_hdl::tcp::loss::words::{input, put, result, word, Outputs, WORDS};
use chimney_hdl_kernel::diff::{long, Rnd};
use std::collections::BTreeMap;

/// What has to happen besides.
const MORE: [&str; 12] = [
    "WindowOpened",
    "Rested",
    "first true calm false",
    "first true calm true",
    "first false calm true",
    "timer Reorder",
    "timer Probe",
    "timer Rto",
    "lost true room false",
    "sent in recovery",
    "cubic true entered true",
    "cubic false entered true",
];
/// Connections.
const CONNS: usize = 8;

/// The inputs of a job.
pub fn inputs(job: &LossJob) -> [u32; input::COUNT] {
    std::array::from_fn(|i| n(word(*job, b(i as u32))))
}

/// The answer, from what the program put out.
pub fn answer(job: &LossJob, outputs: &[u32; WORDS]) -> LossResult {
    let all = outputs.iter().enumerate();
    let o = all
        .fold(Outputs::default(), |o, (i, word)| put(o, bits::<5>(i as u64), Bits::from(u64::from(*word))));
    result(*job, o)
}

/// RFC 6675, RFC 8985, RFC 9937, RFC 5681.
#[test]
fn the_program_decides_as_the_core_does() {
    let mut r = Rnd::new(Rnd::seed_for("loss_program"));
    let jobs = if long() { 2_000_000 } else { 50_000 };
    let mut machine = Machine::new(&program());
    let mut records = [[0; WORDS]; CONNS];
    let mut now_us = r.next_u64() as u32;
    let mut conns: Vec<Conn> = (0..CONNS).map(|_| Conn::new(&mut r)).collect();
    let mut slowest: BTreeMap<String, (u64, u64, u64)> = BTreeMap::new();
    let mut test = Test::default();
    for count in 0..jobs {
        let conn = r.below(CONNS as u64) as usize;
        if r.chance(1, 4000) {
            conns[conn] = Conn::new(&mut r);
        }
        let (job, want) = conns[conn].event(&mut r, &mut now_us, conn);
        machine.state = records[conn];
        let clocks = machine.run(&inputs(&job));
        let text = format!("{count}: {job:x?} {:x?}", records[conn]);
        records[conn] = machine.state;
        let got = answer(&job, &machine.outputs);
        want.compare(&got, &Record::new(&records[conn]), &text);
        conns[conn].answered(&got);
        test.note(&got, &want, &job);
        let (before, after) = want.ranges;
        let name = match job.kind {
            LossKind::Ack if got.has_entered => "recovery begins".into(),
            LossKind::Ack => format!("ack of {} blocks, {before} ranges before, {after} after", n(job.count)),
            kind => format!("{kind:?}"),
        };
        let (most, all, sum) = slowest.entry(name).or_default();
        (*most, *all, *sum) = (clocks.max(*most), *all + 1, *sum + clocks);
    }
    for (name, (most, all, sum)) in slowest {
        eprintln!("{name}: {all} times, {} clocks, at most {most}", sum / all);
    }
    test.judge(100, &MORE);
}
