//! The memories agree with their Verilog.
#![allow(missing_docs)]

use chimney_hdl::mem::{LaneRam, LutRam, SdpRam, SplitRam};
use chimney_hdl::prelude::*;
use chimney_hdl_kernel::diff::diff;

#[derive(LogicStruct, Default, Copy, Clone, PartialEq, Debug)]
struct Word {
    a: Bits<33>,
    b: bool,
    c: Bits<7>,
}

#[test]
fn block_ram_returns_what_was_written() {
    diff(
        "sdp_ram",
        SdpRam::<Word, 4>::default(),
        4000,
        |u, r| {
            u.re.next = r.any();
            u.we.next = r.any();
            u.waddr.next = r.any();
            u.wdata.next = r.any();
            u.raddr.next = r.any();
        },
        |u, c| u.clock.next = c.into(),
    );
}

#[test]
fn parts_of_a_word_are_written_at_their_own_times() {
    diff(
        "split_ram",
        SplitRam::<Word, 4>::new(|first, second| Word { b: second.b, ..first }),
        4000,
        |u, r| {
            u.re.next = r.any();
            u.raddr.next = r.any();
            u.first_we.next = r.any();
            u.first_at.next = r.any();
            u.first.next = r.any();
            u.second_we.next = r.any();
            u.second_at.next = r.any();
            u.second.next = r.any();
        },
        |u, c| u.clock.next = c.into(),
    );
}

#[test]
fn lut_ram_reads_without_a_clock() {
    diff(
        "lut_ram",
        LutRam::<Bits<9>, 3>::default(),
        4000,
        |u, r| {
            u.we.next = r.any();
            u.waddr.next = r.any();
            u.wdata.next = r.any();
            u.raddr.next = r.any();
        },
        |u, c| u.clock.next = c.into(),
    );
}

#[test]
fn every_byte_lane_is_written_at_its_own_address() {
    diff(
        "lane_ram",
        LaneRam::<4>::default(),
        4000,
        |u, r| {
            u.re.next = r.any();
            u.we.next = r.any();
            u.up.next = r.any();
            u.waddr.next = r.any();
            u.wdata.next = r.any();
            u.raddr.next = r.any();
        },
        |u, c| u.clock.next = c.into(),
    );
}
