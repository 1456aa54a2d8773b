//! An open TCP chimney.

fn main() {}
