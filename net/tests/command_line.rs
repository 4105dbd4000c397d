//! The `fairlane` binary from outside: what bad input gets, and what a run leaves, reports and promises.
//!
//! Every test has a folder of its own that is also the binary's TMPDIR, so that whatever is left behind is seen.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, an unwrap that fails is the finding"
)]

#[path = "command_line/bad_input.rs"]
mod bad_input;
#[path = "command_line/certificates.rs"]
mod certificates;
#[path = "command_line/clients.rs"]
mod clients;
#[path = "command_line/fair_order.rs"]
mod fair_order;
#[path = "command_line/follow.rs"]
mod follow;
#[path = "command_line/journal.rs"]
mod journal;
#[path = "command_line/links.rs"]
mod links;
#[cfg(feature = "xdp")]
#[path = "support/own_network.rs"]
mod own_network;
#[path = "command_line/runs.rs"]
mod runs;
#[path = "command_line/sandbox.rs"]
mod sandbox;
#[path = "command_line/settle.rs"]
mod settle;
#[path = "command_line/udp_xdp.rs"]
mod udp_xdp;
#[path = "command_line/verify.rs"]
mod verify;
