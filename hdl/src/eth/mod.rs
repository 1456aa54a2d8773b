//! Frames in: packet memory and the receive path in front of the dispatcher.
pub mod framing;
pub mod rx;
pub mod rx_stream;
pub mod tx;
