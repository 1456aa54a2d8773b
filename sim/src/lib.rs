//! The Verilated NIC, the golden model and the world around them.
