//! `fairlane-bench hostile`.

use std::path::PathBuf;
use std::time::Duration;

use fairlane_bench::live::hostile::{self, HostilePlan};
use fairlane_bench::live::write_json;
use fairlane_loadgen::duration::parse_duration;

use super::binary;

#[derive(Debug, clap::Args)]
pub(crate) struct HostileArguments {
    /// The fairlane binary to run [default: the one beside this binary].
    #[arg(long, value_name = "FILE")]
    fairlane: Option<PathBuf>,
    /// How long the attackers are at it: 20s, 10m.
    #[arg(long, default_value = "10m", value_name = "TIME", value_parser = parse_duration)]
    duration: Duration,
    /// Authorities.
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u8).range(4..=31))]
    nodes: u8,
    /// Honest envelopes a second.
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=2000))]
    rate: u32,
    /// Acts of each kind of attacker a second.
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    acts: u32,
    /// Of what the attackers do.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the report to FILE as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub(crate) fn run(arguments: &HostileArguments) -> anyhow::Result<bool> {
    let plan = HostilePlan {
        authorities: arguments.nodes,
        duration: arguments.duration,
        seed: arguments.seed,
        rate: arguments.rate,
        acts: arguments.acts,
    };
    let fairlane = binary(arguments.fairlane.as_deref())?;
    let report = hostile::run(&plan, &fairlane, &mut |line| eprintln!("{line}"))?;
    print!("{report}");
    write_json(arguments.json.as_deref(), &report)?;
    Ok(report.holds())
}
