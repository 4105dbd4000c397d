//! The shell of a Fairlane node: sockets, threads, files, clocks.
//!
//! It must never know what a vote or a fair order is: it moves bytes to and from the engine.

pub mod backend;
pub mod boot_mark;
#[doc(hidden)]
pub mod capacity;
pub mod certifier;
pub mod cli;
pub mod config;
pub mod control;
pub mod deframe;
pub mod fair_order;
pub mod founding;
pub mod frame;
#[doc(hidden)]
pub mod ingest;
pub mod inspect;
pub mod journal;
pub mod localnet;
pub mod memory;
pub mod node;
pub mod open_files;
mod recovery;
pub mod ring;
pub mod session;
pub mod settle;
mod slice;
pub mod stage;
mod sync;
pub mod testnet;
pub mod topology;
pub mod tun;
mod udp_xdp;
pub mod verify;

#[cfg(test)]
mod disk_full_tests;
#[cfg(test)]
mod one_node;
#[cfg(test)]
mod receive_order_tests;
