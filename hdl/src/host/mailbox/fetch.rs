//! Reads a run of beats from host memory, in bursts that end at 256-byte boundaries: commands, bodies of neighbors and paths, page maps.
//!
//! Latency: the read port's, per burst; one burst at a time. Throughput: one beat per clock within a
//! burst. Back-pressure: none on beats, the user must take each. Reset: idle (the top resets only when
//! nothing is outstanding).
use super::job::{Run, RunBeat};
use crate::prelude::*;
use crate::types::{ReadBeat, ReadReq};

/// Beats in a 256-byte block.
const BLOCK_BEATS: u64 = 32;

/// The reader. See the module page.
#[derive(LogicBlock, Default)]
pub struct Fetch {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// What to read.
    pub run: Signal<In, Run>,
    /// What was read.
    pub news: Signal<Out, RunBeat>,
    /// Read client: a request is offered.
    pub req_valid: Signal<Out, Bit>,
    /// It is taken.
    pub req_ready: Signal<In, Bit>,
    /// The request.
    pub req: Signal<Out, ReadReq>,
    /// A beat for this client.
    pub beat_valid: Signal<In, Bit>,
    /// The beat.
    pub beat: Signal<In, ReadBeat>,
    asking: Dff<Bit>,
    waiting: Dff<Bit>,
    at: Dff<Bits<64>>,
    left: Dff<Bits<7>>,
    failed: Dff<Bit>,
    ended: Dff<Bit>,
}

/// Beats of the next burst: up to the end of the 256-byte block.
#[kernel]
pub fn burst(at: Bits<64>, left: Bits<7>) -> Bits<7> {
    let room = bits::<7>(BLOCK_BEATS) - bit_cast::<7, 5>(at.get_bits::<5>(3));
    if left < room {
        left
    } else {
        room
    }
}

#[kernel]
impl Logic for Fetch {
    fn update(&mut self) {
        dff_setup!(self, clock, asking, waiting, at, left, failed, ended);
        let n = burst(self.at.q.val(), self.left.q.val());
        let (run, beat) = (self.run.val(), self.beat.val());
        let got = self.waiting.q.val() && self.beat_valid.val();
        self.news.next =
            RunBeat { valid: got, data: beat.data, done: self.ended.q.val(), error: self.failed.q.val() };
        self.req_valid.next = self.asking.q.val();
        self.req.next = ReadReq { iova: self.at.q.val(), beats: bit_cast::<6, _>(n) };
        self.ended.d.next = false;
        if run.start {
            self.at.d.next = run.iova;
            self.left.d.next = run.beats;
            self.failed.d.next = false;
            self.asking.d.next = true;
        }
        if self.asking.q.val() && self.req_ready.val() {
            self.asking.d.next = false;
            self.waiting.d.next = true;
            self.at.d.next = self.at.q.val() + (bit_cast::<64, _>(n) << 3u64);
            self.left.d.next = self.left.q.val() - n;
        }
        if got {
            if beat.error {
                self.failed.d.next = true;
            }
            if beat.last {
                self.waiting.d.next = false;
                let more = self.left.q.val().any();
                self.asking.d.next = more;
                self.ended.d.next = !more;
            }
        }
        dff_reset!(self, reset, asking, waiting, ended);
    }
}
