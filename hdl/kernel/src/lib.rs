//! The library behind #[kernel], and the differential block harness.
