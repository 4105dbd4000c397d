//! `fairlane-bench rtt`.

use std::path::PathBuf;
use std::time::Duration;

use fairlane_bench::live::rtt::{self, RttPlan};
use fairlane_bench::live::write_json;
use fairlane_loadgen::duration::parse_duration;
use fairlane_net::config::BackendName;

use super::binary;

#[derive(Debug, clap::Args)]
pub(crate) struct RttArguments {
    /// The fairlane binary to run [default: the one beside this binary].
    #[arg(long, value_name = "FILE")]
    fairlane: Option<PathBuf>,
    /// Round trips of each kind.
    #[arg(long, default_value_t = 1000, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    samples: u32,
    /// Between an answer and the next submission: 2ms, 100ms.
    #[arg(long, default_value = "4ms", value_name = "TIME", value_parser = parse_duration)]
    pause: Duration,
    /// How the node uses the network.
    #[arg(long, value_enum, default_value_t = BackendName::Auto)]
    backend: BackendName,
    /// Write the report to FILE as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub(crate) fn run(arguments: &RttArguments) -> anyhow::Result<bool> {
    let plan = RttPlan {
        samples: arguments.samples,
        pause: arguments.pause,
        backend: arguments.backend,
    };
    let report = rtt::run(&plan, &binary(arguments.fairlane.as_deref())?)?;
    print!("{report}");
    write_json(arguments.json.as_deref(), &report)?;
    Ok(report.holds())
}
