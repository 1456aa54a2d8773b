//! Two stacks in one process: ordinary life, and hand-overs in the middle of it.

mod hand_over;
mod two_stacks;
mod world;
