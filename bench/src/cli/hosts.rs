//! `fairlane-bench hosts`.

use std::path::PathBuf;
use std::time::Duration;

use fairlane_bench::live::hosts::{self, HostsPlan};
use fairlane_bench::live::write_json;
use fairlane_loadgen::duration::parse_duration;

use super::binary;

#[derive(Debug, clap::Args)]
pub(crate) struct HostsArguments {
    /// The fairlane binary to run [default: the one beside this binary].
    #[arg(long, value_name = "FILE")]
    fairlane: Option<PathBuf>,
    /// Authorities, a host each.
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u8).range(4..=16))]
    nodes: u8,
    /// One-way delays; each is measured without and with jitter and loss.
    #[arg(long, default_value = "10ms,50ms", value_name = "TIME,...", value_delimiter = ',', value_parser = parse_duration)]
    delay: Vec<Duration>,
    /// How long each is measured.
    #[arg(long, default_value = "8s", value_name = "TIME", value_parser = parse_duration)]
    duration: Duration,
    /// How long an authority, and then the leader, is cut off.
    #[arg(long, default_value = "5s", value_name = "TIME", value_parser = parse_duration)]
    cut: Duration,
    /// Envelopes a second.
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=2000))]
    rate: u32,
    /// Of what is lost, and how late the rest is.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the report to FILE as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub(crate) fn run(arguments: &HostsArguments) -> anyhow::Result<bool> {
    let plan = HostsPlan {
        authorities: arguments.nodes,
        delays: arguments.delay.clone(),
        duration: arguments.duration,
        cut: arguments.cut,
        rate: arguments.rate,
        seed: arguments.seed,
    };
    let fairlane = binary(arguments.fairlane.as_deref())?;
    let report = hosts::run(&plan, &fairlane, &mut |line| eprintln!("{line}"))?;
    print!("{report}");
    write_json(arguments.json.as_deref(), &report)?;
    Ok(report.holds())
}
