//! TCP: the rules as pure functions, and the blocks that keep connections.

pub mod acceptable;
pub mod ack;
pub mod cwnd;
pub mod dues;
pub mod hystart;
pub mod lookup;
pub mod loss;
pub mod pages;
pub mod place;
pub mod proto;
pub mod ranges;
pub mod rtt;
pub mod rx_options;
pub mod rx_parse;
pub mod seq;
pub mod timers;
pub mod tx;
pub mod watchdog;
pub mod window;
