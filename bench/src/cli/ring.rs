//! `fairlane-bench ring`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use fairlane_bench::ring::{self, RingPlan};

#[derive(Debug, clap::Args)]
pub(crate) struct RingArguments {
    /// Cores of the writer and of the reader.
    #[arg(long, default_value = "0,1", value_name = "A,B")]
    cores: String,
    /// How long each throughput is measured, milliseconds; there are fifteen.
    #[arg(long, default_value_t = 1000, value_name = "MS", value_parser = clap::value_parser!(u64).range(10..=60_000))]
    ms: u64,
    /// Bytes of records in the ring, a power of two from 4 MiB.
    #[arg(long, default_value_t = 64 << 20, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(4 << 20..))]
    ring_bytes: u64,
    /// Write the figures to FILE as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub(crate) fn run(arguments: &RingArguments) -> anyhow::Result<()> {
    let report = ring::run(&RingPlan {
        cores: ring::parse_cores(&arguments.cores)?,
        time: Duration::from_millis(arguments.ms),
        ring_bytes: arguments.ring_bytes,
    })?;
    print!("{report}");
    if let Some(path) = &arguments.json {
        let json = serde_json::to_string_pretty(&report)? + "\n";
        std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
