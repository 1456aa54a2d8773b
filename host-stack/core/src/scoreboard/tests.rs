use super::*;
use proptest::prelude::*;
use std::{vec, vec::Vec};

const SMSS: u32 = 1000;

fn snd(una: u32, max: u32) -> SendVars {
    SendVars { snd_una: SeqNum(una), snd_nxt: SeqNum(max), snd_max: SeqNum(max), ..SendVars::default() }
}

fn range(start: u32, end: u32) -> SeqRange {
    SeqRange { start: SeqNum(start), end: SeqNum(end) }
}

fn board(una: u32, max: u32, blocks: &[SeqRange]) -> Scoreboard {
    let mut board = Scoreboard::new(SeqNum(una));
    board.on_ack(SeqNum(una), &snd(una, max), blocks);
    board
}

#[test]
fn blocks_outside_of_what_was_sent_are_ignored() {
    let mut b = Scoreboard::new(SeqNum(1000));
    let vars = snd(1000, 10_000);
    let bad = [range(500, 900), range(900, 12_000), range(3000, 2000), range(1000, 2000)];
    assert!(!b.on_ack(SeqNum(1000), &vars, &bad).is_new_sack);
    let first = b.on_ack(SeqNum(1000), &vars, &[range(2000, 3000)]);
    assert!(first.is_new_sack && first.bytes == 1000 && first.first_sent_end == Some(SeqNum(3000)));
    assert_eq!(b.on_ack(SeqNum(1000), &vars, &[range(2000, 3000)]), Delivery::default());
}

/// Its start is after SND.UNA, its end after its start, and SND.MAX after its end: once around the circle.
#[test]
fn a_block_around_the_whole_sequence_space_is_ignored() {
    let mut b = Scoreboard::new(SeqNum(1000));
    let vars = snd(1000, 10_000);
    let around = range(0x7000_0000, 0xe000_0000);
    let delivery = b.on_ack(SeqNum(1000), &vars, &[around]);
    assert!(!delivery.is_new_sack && delivery.bytes == 0 && b.is_empty());
    assert_eq!(b.pipe(&vars), 9000);
}

/// The tables of RFC 2883 4.1 to 4.3.
#[test]
fn duplicates_are_recognised_as_in_rfc_2883() {
    let table: [(&str, u32, Vec<SeqRange>, bool); 8] = [
        ("4.1.1 a duplicate below the ACK", 4000, vec![range(3000, 3500)], true),
        ("4.1.2 with a real block behind it", 4000, vec![range(3000, 3500), range(4500, 5000)], true),
        ("4.1.3 a duplicate of data above the ACK", 4000, vec![range(5000, 5500), range(4500, 5500)], true),
        ("4.2.1 a duplicate of part of a segment", 2500, vec![range(1000, 1500)], true),
        ("a plain block", 4000, vec![range(4500, 5000)], false),
        ("two plain blocks", 4000, vec![range(6000, 6500), range(4500, 5000)], false),
        ("nothing", 4000, vec![], false),
        ("an empty block", 4000, vec![range(3000, 3000)], false),
    ];
    for (name, ack, blocks, want) in table {
        assert_eq!(is_dsack(&blocks, SeqNum(ack)), want, "{name}");
    }
}

#[test]
fn two_lost_holes_are_resent_in_order_and_counted_in_the_pipe() {
    let vars = snd(0, 10_000);
    let mut b = board(0, 10_000, &[range(1000, 4000), range(5000, 8000)]);
    assert_eq!((b.pipe(&vars), b.next_lost(&vars, SMSS)), (4000, None));
    b.holes_mut(&vars).for_each(|(_, hole)| hole.is_lost = true);
    assert_eq!(b.pipe(&vars), 2000, "only the tail");
    assert_eq!(b.next_lost(&vars, SMSS), Some(range(0, 1000)));
    b.on_resend(range(0, 1000), 7);
    assert_eq!(b.pipe(&vars), 3000);
    assert_eq!(b.next_lost(&vars, 600), Some(range(4000, 4600)));
    b.on_resend(range(4000, 5000), 9);
    assert_eq!((b.pipe(&vars), b.next_lost(&vars, SMSS)), (4000, None));
    // Both retransmissions arrive: the later one is the news.
    let got = b.on_ack(SeqNum(0), &snd(8000, 10_000), &[]);
    assert_eq!(got.resent, Some(Resent { end: SeqNum(5000), sent_us: 9 }));
    assert_eq!((got.bytes, got.is_reordered, b.is_empty()), (2000, false, true));
}

#[test]
fn a_hole_that_fills_by_itself_was_reordered() {
    let mut b = board(0, 10_000, &[range(1000, 4000)]);
    let got = b.on_ack(SeqNum(0), &snd(4000, 10_000), &[]);
    assert!(got.is_reordered && got.resent.is_none() && got.bytes == 1000);
    let mut b = board(0, 10_000, &[range(2000, 4000)]);
    assert!(b.on_ack(SeqNum(0), &snd(0, 10_000), &[range(1000, 4000)]).is_reordered);
}

#[test]
fn the_fifth_range_drives_out_the_second_from_the_top() {
    let blocks = [range(1000, 2000), range(3000, 4000), range(5000, 6000), range(7000, 8000)];
    let mut b = board(0, 20_000, &blocks);
    let got = b.on_ack(SeqNum(0), &snd(0, 20_000), &[range(9000, 10_000)]);
    assert_eq!(b.ranges(), [blocks[0], blocks[1], blocks[2], range(9000, 10_000)]);
    assert_eq!(
        (got.first_sent_end, got.bytes),
        (Some(SeqNum(10_000)), 0),
        "what was forgotten does not count"
    );
    // A new one below the top takes the place of the one it drives out.
    b.on_ack(SeqNum(0), &snd(0, 20_000), &[range(2500, 2700)]);
    assert_eq!(b.ranges(), [blocks[0], range(2500, 2700), blocks[1], range(9000, 10_000)]);
}

#[test]
fn a_timeout_marks_everything_lost_but_what_was_reported() {
    let vars = snd(0, 10_000);
    let mut b = board(0, 10_000, &[range(1000, 2000)]);
    b.on_resend(range(0, 1000), 3);
    b.mark_all_lost(&vars);
    let mut sent = Vec::new();
    while let Some(part) = b.next_lost(&vars, 4000) {
        b.on_resend(part, 5);
        sent.push(part);
    }
    assert_eq!(sent, [range(0, 1000), range(2000, 6000), range(6000, 10_000)]);
    assert_eq!(b.pipe(&vars), 9000);
    // What was sent after the timeout is not lost; what the tail lost stays lost when it becomes a hole.
    let later = snd(0, 12_000);
    assert_eq!((b.pipe(&later), b.next_lost(&later, SMSS)), (11_000, None));
    b.mark_all_lost(&vars);
    b.on_ack(SeqNum(0), &later, &[range(11_000, 12_000)]);
    assert_eq!(b.next_lost(&later, SMSS), Some(range(0, 1000)));
    b.on_resend(range(0, 1000), 5);
    assert_eq!(b.next_lost(&later, SMSS), None, "a hole that is lost only in part waits for its judgement");
}

#[test]
fn old_numbers_do_not_come_back_after_half_of_the_sequence_space() {
    let mut b = Scoreboard::new(SeqNum(0));
    b.on_resend(range(0, 1000), 1);
    let mut una = SeqNum(0);
    for _ in 0..40 {
        let next = una + (1 << 28);
        b.on_ack(una, &snd(next.0, next.0), &[]);
        una = next;
        assert_eq!(b.next_lost(&snd(una.0, una.0.wrapping_add(5000)), SMSS), None);
        assert_eq!(b.pipe(&snd(una.0, una.0.wrapping_add(5000))), 5000);
    }
}

proptest! {
    #![proptest_config(crate::test_seed::config())]

    #[test]
    fn ranges_stay_sorted_and_the_pipe_bounded_whatever_is_reported(
        una: u32,
        steps in proptest::collection::vec((0u8..4, 1u32..60, 1u32..20), 1..60),
    ) {
        let mut vars = snd(una, una.wrapping_add(100 * SMSS));
        let mut b = Scoreboard::new(SeqNum(una));
        for (what, at, len) in steps {
            let before = (vars.snd_una, b.sacked_bytes());
            match what {
                0 => {
                    vars.snd_una += (at * 300).min(vars.flight_size());
                    vars.snd_max += at * 300;
                    b.on_ack(before.0, &vars, &[]);
                }
                1 => {
                    let block = SeqRange::new(vars.snd_una + at * SMSS, len * SMSS);
                    let got = b.on_ack(before.0, &vars, &[block]);
                    prop_assert!(got.bytes <= len * SMSS);
                }
                2 => b.holes_mut(&vars).for_each(|(_, hole)| hole.is_lost = true),
                _ => {
                    if at > 55 { b.mark_all_lost(&vars) }
                    if let Some(part) = b.next_lost(&vars, SMSS) {
                        prop_assert!(!part.is_empty() && part.len() <= SMSS);
                        prop_assert!(part.start.at_or_after(vars.snd_una) && part.end.at_or_before(vars.snd_max));
                        prop_assert!(b.ranges().iter().all(|r| !holds(r, part.start) && !holds(r, part.end - 1)));
                        let pipe = b.pipe(&vars);
                        b.on_resend(part, at);
                        prop_assert_eq!(b.pipe(&vars), pipe + part.len());
                    }
                }
            }
            let mut floor = vars.snd_una;
            for r in b.ranges() {
                prop_assert!(r.start.at_or_after(floor) && r.start.before(r.end) && r.end.at_or_before(vars.snd_max));
                floor = r.end;
            }
            prop_assert!(b.pipe(&vars) + b.sacked_bytes() <= vars.flight_size());
        }
    }
}
