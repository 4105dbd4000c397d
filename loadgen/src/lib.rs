//! The Fairlane load generator: offers a planned load to a committee and measures what becomes of every envelope.
//!
//! What this crate must never know: anything of a node but its client protocol. It is a pure client.
//!
//! # What it measures
//!
//! A load is *open*: a plan says when each envelope is due, it is sent then whatever the committee does, and its latency counts
//! from that time, not from when it could be sent. A committee that stalls for a second has a thousand late envelopes at a
//! thousand a second, and they are all counted; a generator that waits for answers would have one. That generator is there,
//! too, for comparison ([`ClosedLoop`]), and its report says on every page what it leaves out.
//!
//! Four latencies an envelope: to the first ack, to the first receipt that verifies, to its place in the order, to the word
//! that the settlement worker has it on disk. Each envelope ends in one class: offered = accepted + refused + unanswered,
//! accepted = settled + lost. A refusal counts once every authority that it was sent to has refused it. What all told Busy can be
//! sent again after the wait that they named ([`LoadConfig::busy_retries`]); its latencies go on from its first time.
//!
//! Envelopes are sealed ahead on a thread of their own, so that the client's cryptography delays none ([`Sealing::Ahead`]);
//! [`Sealing::Inline`] puts it into the latencies. The generator watches itself: where one envelope in a hundred left more than
//! 5 ms late it says that it was the limit, and whether sealing or sending was behind; submissions that found a full queue
//! say that the target was.
//!
//! # What it sends
//!
//! - *Trading*: orders and cancels over 64 instruments by Zipf's law, prices that walk, sizes from a recorded feed; and races
//!   ([`races`]), in which an order's cancel and somebody else's take of it come up to 5 ms apart over different connections.
//!   The report says by how far apart they were due who was ordered first.
//! - *Gaming*: sessions that each send an input a tick, together or apart.
//! - *Plain*: numbers of one size. *Replay*: a recorded market at its own times.
//! - Each for one rollup or several by weight ([`rollups`]), with figures by rollup.
//! - *Hostile* traffic beside it ([`hostile`]): bad proofs, duplicates, expired envelopes, a wrong epoch, frames above the bound,
//!   half-open connections, slow readers, and clients that tell one authority alone. It has connections and an account of its
//!   own; the honest load stays envelope for envelope what it is without.
//!
//! Everything but the sealing's randomness follows from the seed.
//!
//! # The command
//!
//! ```text
//! fairlane-loadgen --committee net/committee.json                                  500 a second of trading for 10 s
//!     --rate 200..2000 --duration 1m                                               a ramp
//!     --rate 500,1000,2000 --arrivals bursts:50                                    steps, in bursts
//!     --workload gaming --sessions 200 --ticks 60                                  bursts of 200 every 16.7 ms
//!     --replay trades.csv.gz --speed 20                                            a recorded market
//!     --rollup 1:3,2:1                                                             two rollups
//!     --hostile bad-proof=1%,half-open=20                                          beside misbehaving clients
//!     --retry-busy 20                                                              sends again what all told Busy
//!     --closed 16                                                                  a closed loop, for comparison
//!     --json r.json --html r.html --hlog r.hlog --csv r.csv                        the same figures for other tools
//! fairlane-loadgen sink --committee net/committee.json --authority 0               counts what comes, orders nothing
//! fairlane-loadgen --committee net/committee.json --to 0 --pool 50000 --rate 200000 --workload plain
//! ```
//!
//! The report goes to standard output; on a terminal, rates, the last second's percentiles and refusals by code stand on
//! standard error as it runs. The first interrupt ends sending, and the report is still made. Exit status 0: everything
//! accepted was settled, no two nodes disagree on a place, nothing forged was ordered; 1: it ran and that does not hold; 2: bad
//! input or environment, one sentence.
//!
//! # The library
//!
//! ```no_run
//! use std::path::Path;
//!
//! use fairlane_client::committee_file::Directory;
//! use fairlane_engine::types::RollupId;
//! use fairlane_loadgen::workload::synthetic::Synthetic;
//! use fairlane_loadgen::{Control, LoadConfig, run};
//!
//! let directory = Directory::load(Path::new("committee.json"))?;
//! let workload = Synthetic::new(500.0, 10_000_000, 1)?.with_races(0.05)?;
//! let config = LoadConfig::new(directory, RollupId(1), Box::new(workload));
//! let outcome = run(config, &mut |_| {}, &Control::new())?;
//! println!("{}", outcome.latency_us);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - [`arrivals`]: when things are due, by a rate and a spread;
//! - [`workload`]: what is due when (trading, game sessions, plain envelopes, a recorded market);
//! - [`content`], [`record`]: the layouts of what envelopes carry;
//! - [`rollups`], [`races`], [`hostile`]: which rollup, who was first, who misbehaves;
//! - [`config`], [`control`]: what a run is made of, and the caller's hand on it;
//! - `feed`: where sealed envelopes come from;
//! - [`run`](mod@run): sends at the planned times and listens;
//! - `ledger`: the state of every envelope; `retries`: what is sent again when all told Busy;
//! - [`latencies`], [`hlog`]: how long things took, second by second, and the log of it;
//! - [`outcome`]: what became of a run;
//! - [`sink`]: stands in for authorities, to measure the generator;
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
mod retries;
mod rng;
pub mod rollups;
pub mod run;
pub mod sink;
#[doc(hidden)]
pub mod ticks;
pub mod workload;

pub use config::{ClosedLoop, Goal, LoadConfig, LoadError, Sealing};
pub use control::{Control, Phase, Progress};
pub use feed::FeedError;
pub use outcome::LoadOutcome;
pub use run::run;
