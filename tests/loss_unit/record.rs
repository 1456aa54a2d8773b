//! A connection's record, out of its words.

use chimney_hdl::tcp::loss::words as w;

/// A lane: start and end of the range, of the hole below it how far it was sent again, when, and whether it is lost.
pub type Lane = (u32, u32, u32, u32, bool);

/// What the unit stores of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// Ranges in use.
    pub len: usize,
    /// Those, and what is left of others.
    pub lanes: [Lane; 4],
    /// How far it was sent again, when, and how far it is lost.
    pub tail: (u32, u32, u32),
    /// `xmit_ts`, round trip, the smallest ones, parity of the window of time, reordering seen.
    pub rack: (u32, u32, [u32; 2], bool, bool),
    /// What DSACKs made of the reordering window.
    pub dsacks: (u32, u32, Option<u32>),
    /// `delivered`, `out`, proportion.
    pub prr: (u32, u32, u32),
    /// Outstanding, its end, a retransmission.
    pub tlp: (bool, u32, bool),
}

impl Record {
    /// From the words.
    pub fn new(words: &[u32; w::WORDS]) -> Record {
        let at = |n: u8| words[usize::from(n)];
        let time = |n: u8| at(n) & w::TIME;
        let marks = at(w::MARKS);
        let is = |bit: u32| marks & bit != 0;
        let lane = |i: u8| {
            let lost = at(w::resent_us(i)) & w::LOST != 0;
            (at(w::start(i)), at(w::end(i)), at(w::resent(i)), time(w::resent_us(i)), lost)
        };
        let top = |n: u8, mask: u32| (at(n) & mask) >> w::TOP;
        Record {
            len: (marks & w::RANGES).count_ones() as usize,
            lanes: [lane(0), lane(1), lane(2), lane(3)],
            tail: (at(w::TAIL_RESENT), time(w::TAIL_US), at(w::TAIL_LOST)),
            rack: (
                time(w::XMIT),
                time(w::RTT),
                [time(w::MIN), time(w::OLD_MIN)],
                is(w::ODD),
                is(w::REORDERED),
            ),
            dsacks: (
                top(w::TAIL_US, w::EXTRA),
                top(w::RTT, w::PERSIST),
                is(w::HAS_ROUND).then(|| at(w::ROUND)),
            ),
            prr: (at(w::DELIVERED), at(w::OUT), marks & w::RATE),
            tlp: (is(w::PROBED), at(w::PROBE_END), is(w::PROBE_RESENT)),
        }
    }
}
