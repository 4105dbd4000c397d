//! The Fairlane load generator: offers a planned load to a committee and measures what becomes of every envelope.
//!
//! What this crate must never know: anything of a node but its client protocol. It is a pure client.
//!
//! - [`arrivals`]: when things are due, by a rate and a spread;
//! - [`workload`]: what is due when (trading, game sessions, plain envelopes, a recorded market);
//! - [`content`], [`record`]: the layouts of what envelopes carry;
//! - [`config`], [`control`]: what a run is made of, and the caller's hand on it;
//! - `feed`: seals ahead of time on a thread of its own;
//! - [`run`](mod@run): sends at the planned times and listens;
//! - `ledger`: the state of every envelope;
//! - [`latencies`], [`hlog`]: how long things took, second by second, and the log of it;
//! - [`outcome`]: what became of a run;
//! - [`report`], [`cli`]: the command, which writes it as text, JSON, CSV and a page of plots (feature `command`);
//! - [`host`], [`duration`], [`output`]: small things that other commands need, too.

#![forbid(unsafe_code)]

pub mod arrivals;
#[cfg(feature = "command")]
pub mod cli;
pub mod config;
pub mod content;
pub mod control;
pub mod duration;
mod feed;
pub mod hlog;
pub mod host;
pub mod hostile;
pub mod latencies;
mod ledger;
pub mod outcome;
pub mod output;
pub mod races;
pub mod record;
#[cfg(feature = "command")]
pub mod report;
mod rng;
pub mod rollups;
pub mod run;
pub mod sink;
pub mod workload;

pub use config::{ClosedLoop, Goal, LoadConfig, LoadError, Sealing};
pub use control::{Control, Phase, Progress};
pub use feed::FeedError;
pub use outcome::LoadOutcome;
pub use run::run;
