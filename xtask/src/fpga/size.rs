//! `cargo xtask fpga size`: is the core for the small part within its limits? In pieces, on all processors; a step of `cargo xtask test`.

use std::process::ExitCode;

use anyhow::Result;

use super::cells::Cells;
use super::flow::Flow;
use super::part::{Limits, Part, ALL};
use crate::wheel;

/// Blocks of the core that are cut into pieces again.
const OPEN: &[&str] = &["proto"];

/// Runs it; the last line has the form of `cargo test`'s, so that `cargo xtask test` counts it.
///
/// # Errors
/// A tool is missing, or a step failed. A core that is too large is not an error but an exit status.
pub fn run() -> Result<ExitCode> {
    let parts: Vec<&'static Part> = ALL.iter().filter(|part| part.limits.is_some()).collect();
    let mut flow = Flow::new(wheel::FPGA.install()?, 1 + parts.len())?;
    flow.export(&parts)?;
    let (mut passed, mut failed) = (0, 0);
    for part in parts {
        let Some(limits) = &part.limits else { continue };
        let pieces = flow.synthesize_pieces(part, OPEN)?;
        let mut sum = Cells::default();
        pieces.iter().for_each(|(_, cells)| sum += *cells);
        print!("{}", table(part, &pieces, sum));
        for (text, ok) in verdicts(part, limits, sum) {
            println!("test fpga::{text} ... {}", if ok { "ok" } else { "FAILED" });
            *(if ok { &mut passed } else { &mut failed }) += 1;
        }
    }
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("test result: {word}. {passed} passed; {failed} failed; 0 ignored");
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn table(part: &Part, pieces: &[(String, Cells)], sum: Cells) -> String {
    let row = |name: &str, c: &Cells| {
        format!("{:>8} {:>8} {:>8} {:>5} {:>4}  {name}\n", c.lut, c.lut_ram, c.ff, c.ebr, c.dsp)
    };
    let mut out = format!("{}, {} connections, in pieces:\n", part.name, part.connections);
    out += &format!("{:>8} {:>8} {:>8} {:>5} {:>4}  piece\n", "LUT", "LUT RAM", "FF", "EBR", "DSP");
    pieces.iter().for_each(|(name, cells)| out += &row(name, cells));
    out + &row("all", &sum)
}

/// What was found beside what is allowed today and what it is to be; only the former can fail.
fn verdicts(part: &Part, limits: &Limits, sum: Cells) -> Vec<(String, bool)> {
    let one = |what: &str, found: u64, today: u64, goal: u64| {
        (format!("{} {what}: {found}, today's limit {today}, goal {goal}", part.name), found <= today)
    };
    vec![
        one("LUT", sum.lut, limits.today_lut, limits.goal_lut),
        one("EBR", sum.ebr, limits.today_ebr, limits.goal_ebr),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_above_the_limit_of_today_fails_and_the_goal_is_named() {
        let limits = Limits { goal_lut: 10, goal_ebr: 1, today_lut: 20, today_ebr: 2 };
        let sum = Cells { lut: 20, ebr: 3, ..Cells::default() };
        let found = verdicts(&ALL[0], &limits, sum);
        assert_eq!((found[0].1, found[1].1), (true, false));
        assert_eq!(found[0].0, "LFE5UM5G-45F LUT: 20, today's limit 20, goal 10");
        let table = table(&ALL[0], &[("proto".into(), sum)], sum);
        assert!(table.contains("proto\n") && table.ends_with("all\n"), "{table}");
    }

    #[test]
    fn a_limit_of_today_that_the_goal_has_passed_is_to_go() {
        for limits in ALL.iter().filter_map(|part| part.limits.as_ref()) {
            assert!(limits.today_lut >= limits.goal_lut && limits.today_ebr >= limits.goal_ebr);
        }
    }
}
