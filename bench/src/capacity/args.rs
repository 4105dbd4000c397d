//! The arguments of `fairlane-bench capacity`.

use std::path::PathBuf;
use std::time::Duration;

use fairlane_loadgen::duration::parse_duration;
use fairlane_net::journal::Durability;

use super::{CapacityPlan, run};
use crate::live::write_json;

/// What to replay.
#[derive(Debug, clap::Args)]
pub struct CapacityArguments {
    /// Folder of the recorded network: `fairlane localnet --kill 4@1ms --rate 2000 --duration 3s --data DIR`, not --dkg.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Authority to replay, the one that was killed; the last one unless said.
    #[arg(long, value_name = "I")]
    authority: Option<u8>,
    /// Authority whose journal is taken for what was sent; the first other one unless said.
    #[arg(long, value_name = "I")]
    witness: Option<u8>,
    /// Core that all threads of the replay are pinned to.
    #[arg(long, default_value_t = 0, value_name = "N")]
    core: usize,
    /// Recorded time that is given at once; more than a round took makes the replay wait for its disk. Default: the least
    /// time between two vertices of a node.
    #[arg(long, default_value = "2ms", value_name = "TIME", value_parser = parse_duration)]
    slice: Duration,
    /// When a record counts as durable.
    #[arg(long, value_enum, default_value_t)]
    durability: Durability,
    /// Where the journal of the replay is made and removed again; unless said, where temporary files are.
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Replays, each from the start; figures are medians.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    repeat: u32,
    /// Write the report to FILE as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Below the help: what is measured and what is not.
pub const CAPACITY_HELP: &str = "In it, all on one core: decoding and proofs of envelopes, verifying vertices, the DAG, the order, own vertices, \
own shares, opening with the shares of the others, the journal with its real syncs, signing for certificates, answers to clients. \
Not in it: sockets, framing and Noise (see `ingest`, and `cargo bench --bench session`), a settlement worker, collecting \
certificates, answering what others ask. Nobody cites the vertices of the replayed authority, so it lists their entries again \
every gc_depth_rounds rounds, as no other node does: the shorter the recording, the less of that; it is counted.\n\n\
Exit status: 0 its batches are the recorded ones; 1 not; 2 unusable input, said in one sentence.";

impl CapacityArguments {
    /// Replays and prints; whether the replayed batches are the recorded ones.
    ///
    /// # Errors
    /// In a sentence: why this recording cannot be replayed, or what the host lacks.
    pub fn run(self) -> anyhow::Result<bool> {
        let plan = CapacityPlan {
            data: self.data,
            authority: self.authority,
            witness: self.witness,
            core: self.core,
            slice: self.slice,
            durability: self.durability,
            scratch: self.scratch,
            repeat: self.repeat,
        };
        let report = run(&plan, &mut |step| eprintln!("{step}"))?;
        write_json(self.json.as_deref(), &report)?;
        print!("{report}");
        Ok(report.checks.iter().all(|check| check.holds))
    }
}
