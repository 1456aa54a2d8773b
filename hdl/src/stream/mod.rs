//! Streams and buses: bundles, FIFO, skid buffer.
