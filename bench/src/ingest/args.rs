//! The arguments of `fairlane-bench ingest`.

use std::path::PathBuf;
use std::time::Duration;

use super::{IngestPlan, run};
use crate::live::write_json;

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct IngestArguments {
    /// Turns; in each, every backend and the bare loop have one.
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeat: u32,
    /// How long is sent in each; what is placed is kept in memory, some 700 bytes an envelope.
    #[arg(long, default_value_t = 300, value_name = "MS", value_parser = clap::value_parser!(u64).range(10..=5_000))]
    milliseconds: u64,
    /// Write the report to FILE as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl IngestArguments {
    /// Measures and prints; whether every bound holds.
    ///
    /// # Errors
    /// In a sentence: what the host lacks.
    pub fn run(self) -> anyhow::Result<bool> {
        let plan = IngestPlan {
            repeat: self.repeat,
            time: Duration::from_millis(self.milliseconds),
        };
        let report = run(&plan, &mut |way| eprintln!("{way}"))?;
        write_json(self.json.as_deref(), &report)?;
        print!("{report}");
        Ok(report.checks.iter().all(|check| check.holds))
    }
}
