//! The placer: the only writer of a connection's receive memory, and of its posts, pages and shadow records.
//!
//! PROTO decides what is taken, the placer puts it there. It carries out one [`order::PlaceOrder`] after the other, so everything an
//! order writes is in host memory when the write response of its shadow record comes (law L2: one AXI ID, in order):
//!
//! ```text
//!   text --piece--> [PostAsk, PostWait, PostGot | Page] -> [PageMap] -> Piece -> .. -> [Retire] -> [Free] -> Shadow -> Raise
//! ```
//! | file | job |
//! |---|---|
//! | `order` | orders, and what is kept per connection |
//! | `step` | the decisions, one pure function per state |
//! | `write` | the commands to the write engine |
//! | `later` | which connections have an order that waits |
//! | `ahead` | the next post of a connection, read before it is needed |
//! | `placer` | the block: queue of orders, table of posts, page map |

pub mod ahead;
pub mod later;
pub mod order;
pub mod placer;
pub mod step;
pub mod write;
