//! The #[kernel] attribute: one text, native simulation and Verilog.
