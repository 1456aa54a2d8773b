//! The contract: registers, descriptors, state objects, commands, wire offsets.
