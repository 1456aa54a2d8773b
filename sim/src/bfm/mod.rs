//! Bus partners of the NIC ("bus functional models").
//!
//! All of them work the same way. The port values of one clock are a plain struct per direction. What a partner drives
//! is registered: it depends only on earlier clocks. So a clock is
//!
//! ```text
//!   drive partner.out() into the model, settle   ->   sample what the model drives   ->   clock edge   ->   partner.tick(sampled)
//! ```
//!
//! and the same sampled pair goes to the checkers. Nothing allocates per clock once the queues have their size.

pub mod axi;
pub mod axi_memory;
pub mod axil;
pub mod axis;
