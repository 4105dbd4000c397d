//! Benches of the engine's hot operations, and the fixtures that they measure on.
//!
//! What this crate must never know: what is private to the engine, how a node or a socket works, and what a good figure
//! is. (Three modules run the `fairlane` binary and read what it wrote as anybody may: [`attack::localnet`], [`crash`], [`e2e`].) It measures
//! and says what it saw; no figure and no bound on one stands in its code, for a figure is true of one host on one day
//! only. The comparison that holds from host to host is a ratio between two figures of one run.
//!
//! Ids are `module::operation/key=value`; throughput counts what the operation is for (envelopes, points, pairs,
//! vertices, entries). One bench is run with `cargo bench -p fairlane-bench --bench seal -- check`, all with
//! `cargo bench -p fairlane-bench`.
//!
//! Invariants:
//! - I1 fixtures hold no randomness and no time: every run measures the same bytes.
//! - I2 a fixture is what the id says; the tests beside each fixture hold it to that.
//! - I3 what the operation is given is made outside of what is measured, and what it gives is dropped outside, where
//!   making or dropping could show.
//!
//! - [`measure`]: how long is measured, and how ids and throughput are stated;
//! - [`sealing`]: a dealt committee, its envelopes and shares;
//! - [`reveals`]: a batch under way to be opened, and what peers and clients may do about it;
//! - [`tdh2_bls`]: the sealing over another group, for comparison;
//! - [`local_orders`]: the same pairs as several authorities received them;
//! - [`vertices`]: a DAG in which everybody cites everybody;
//! - [`core_run`]: what a core is given while everybody is up;
//! - [`archives`]: a batch and the buffer that its archive is written to;
//! - [`attack`]: simulated attackers on this order and on others; a run of its own, `fairlane-bench attack`;
//! - [`crash`]: kill -9 under load, and what the journals say after; a run of its own, `fairlane-bench crash`;
//! - [`e2e`]: whole runs of a local network, `fairlane-bench e2e`;
//! - [`saturate`]: where a committee saturates, `fairlane-bench saturate`;
//! - [`compare`]: two reports of these side by side, `fairlane-bench compare`;
//! - [`gate`]: whether such runs got slower, `fairlane-bench gate`;
//! - [`ingest`]: from a socket to the local order, beside a bare loop, `fairlane-bench ingest`;
//! - [`capacity`]: a recorded run replayed into one authority on one core, `fairlane-bench capacity`;
//! - [`ring`]: batches between two processes, `fairlane-bench ring`;
//! - [`live`]: measurements and trials on running committees: `fairlane-bench rtt`,
//!   `overload`, `hostile`, `hosts`, `idle`, `syscalls`;
//! - [`xdp`]: ways to receive UDP, side by side on a veth pair, `fairlane-bench xdp`.

#![forbid(unsafe_code)]

pub mod archives;
pub mod attack;
pub mod capacity;
mod chart;
pub mod compare;
pub mod core_run;
pub mod crash;
pub mod e2e;
pub mod gate;
pub mod ingest;
pub mod live;
pub mod local_orders;
pub mod measure;
pub mod reveals;
pub mod ring;
pub mod saturate;
pub mod sealing;
pub mod tdh2_bls;
pub mod vertices;
pub mod xdp;
