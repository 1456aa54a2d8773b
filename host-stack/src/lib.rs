//! The sans-IO host stack.
