//! Rings with a subject: ordinary frames, and a connection's sends.

pub mod frames;
pub mod send;
