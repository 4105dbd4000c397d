//! The deterministic core of Fairlane: sealing, DAG consensus, fair order, reveal and batches.
//!
//! What this crate must never know: sockets, files, threads, clocks and ambient randomness. Time, received bytes and
//! secrets come in as inputs; what must be sent, kept or published goes out as effects. Same inputs, same effects,
//! byte for byte: the simulator and the node run this same code. `tests/purity.rs` holds the crate to it.

#![forbid(unsafe_code)]

pub mod committee;
pub mod merkle;
pub mod types;
pub mod wire;
