//! The deterministic core of Fairlane: sealing, DAG consensus, fair order, reveal and batches.
//!
//! What this crate must never know: sockets, files, threads, clocks and ambient randomness. Time, received bytes and
//! secrets come in as inputs; what must be sent, kept or published goes out as effects. Same inputs, same effects,
//! byte for byte: the simulator and the node run this same code. `tests/purity.rs` holds the crate to it.

#![forbid(unsafe_code)]

// Oracles that the integration tests share with unit tests call the crate by its name.
#[cfg(test)]
extern crate self as fairlane_engine;

pub mod admit;
pub mod batch;
pub mod certificate;
pub mod commit;
pub mod committee;
pub mod config;
pub mod counters;
#[cfg(target_arch = "x86_64")]
mod curve;
pub mod dag;
pub mod dkg;
pub mod ed25519;
pub mod effect;
pub mod engine;
pub mod evidence;
pub mod fair;
pub mod fetch;
pub mod input;
pub mod intake;
pub mod keyring;
pub mod merkle;
pub mod message;
pub mod mutant;
pub mod pace;
pub mod reveal;
pub mod seal;
#[cfg(feature = "sim")]
pub mod sim;
pub mod state;
pub mod sync;
pub mod types;
pub mod verify;
pub mod wire;
