//! A pass of PROTO as functions of its record: any event, any record, any segment, command, and answer.
//!
//! ```text
//!   Given --> taken: stages 1 to 4 --> planned: stage 5 --> left_by: stage 6 --> the record as it goes back
//! ```
//! What is true between two stages is assumed of any record there by the next part, and asserted of it by the one before.

use chimney_hdl::prelude::*;
use chimney_hdl::tcp::loss::growth::Growth;
use chimney_hdl::tcp::proto::admit::Image;
use chimney_hdl::tcp::proto::event::Event;
use chimney_hdl::tcp::proto::op::INITIATE;
use chimney_hdl::tcp::proto::record::Work;
use chimney_hdl::tcp::proto::stages::{
    enter, left, stage1, stage2, stage3, stage4, stage5, stage6, went, Told,
};
use chimney_hdl::tcp::proto::step::{Env, Pick, Step};

/// What a pass is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Given {
    /// The event.
    pub what: Event,
    /// The record that it finds.
    pub w: Work,
    /// What comes with it.
    pub told: Told,
    /// Segment size, when it is looked at first.
    pub smss3: Bits<32>,
    /// What CUBIC's program last said of the window's growth.
    pub growth: Growth,
    /// Clocks and registers.
    pub env: Env,
}

/// What stages 5 and 6 are given beside the pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, LogicStruct)]
pub struct Late {
    /// Segment size, when it is looked at again.
    pub smss5: Bits<32>,
    /// There is room for a question to CUBIC's program.
    pub may_ask: Bit,
    /// No job is under way.
    pub quiet: Bit,
    /// Clocks and registers.
    pub env: Env,
}

/// Stages 1 to 4: what an event of the kind `pick` does to the record. `image`: of a command.
#[kernel]
pub fn taken(g: Given, pick: Pick, image: Image) -> Step {
    let (e, v) = (Event { pick, ..g.what }, g.env);
    let s = stage1(enter(e, g.w, false, (g.told.op, image), v), e, g.told, image, v);
    stage4(stage3(stage2(s, e.seg, v), g.smss3, g.growth, v), e.seg, v)
}

/// Stage 5: what is to be sent.
#[kernel]
pub fn planned(s: Step, l: Late) -> Step {
    stage5(s, l.smss5, l.env)
}

/// Stage 6, and the record that goes back if it is not forgotten.
#[kernel]
pub fn left_by(s: Step, l: Late) -> Work {
    left(stage6(went(s, l.env), l.quiet, l.may_ask, l.env))
}

/// The image of a command is taken over in this pass: its numbers are the host's.
#[kernel]
pub fn takes_over(g: Given, pick: Pick) -> bool {
    pick == Pick::Op && g.told.op.opcode == INITIATE
}
