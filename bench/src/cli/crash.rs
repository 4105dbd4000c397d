//! `fairlane-bench crash`.

use std::path::PathBuf;
use std::time::Duration;

use fairlane_bench::crash::plan::Durabilities;
use fairlane_bench::crash::{self, CrashPlan};
use fairlane_net::journal::Durability;

use super::binary;

#[derive(Debug, clap::Args)]
pub(crate) struct CrashArguments {
    /// The fairlane binary to run [default: the one beside this binary].
    #[arg(long, value_name = "FILE")]
    fairlane: Option<PathBuf>,
    /// Rounds of kills, restarts and checks; one takes 2 to 3 seconds [default: 200, or with --minutes what fits].
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Begin no round after so many minutes.
    #[arg(long, value_name = "M", value_parser = clap::value_parser!(u32).range(1..))]
    minutes: Option<u32>,
    /// Of who is killed when.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Authorities.
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u8).range(4..=31))]
    nodes: u8,
    /// Envelopes a second.
    #[arg(long, default_value_t = 150, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=2000))]
    rate: u32,
    /// How nodes write [default: drawn for each committee].
    #[arg(long, value_enum)]
    durability: Option<Durability>,
    /// In every second round an authority also stays away for five seconds: then it needs a state from its peers.
    #[arg(long)]
    away: bool,
    /// Kill the settlement worker and its node in every round, in any order, and nobody else.
    #[arg(long, conflicts_with = "away")]
    settlement: bool,
}

pub(crate) fn run(arguments: &CrashArguments) -> anyhow::Result<bool> {
    let rounds = match (arguments.rounds, arguments.minutes) {
        (Some(rounds), _) => rounds,
        (None, Some(_)) => u32::MAX,
        (None, None) => ROUNDS_DEFAULT,
    };
    let durability = arguments.durability;
    let plan = CrashPlan {
        fairlane: binary(arguments.fairlane.as_deref())?,
        authorities: arguments.nodes,
        rounds,
        time: arguments
            .minutes
            .map(|minutes| Duration::from_secs(60 * u64::from(minutes))),
        seed: arguments.seed,
        rate: arguments.rate,
        durability: durability.map_or(Durabilities::Drawn, Durabilities::Only),
        is_away: arguments.away,
        is_settlement: arguments.settlement,
    };
    let report = crash::run(&plan, &mut |line| println!("{line}"))?;
    print!("{report}");
    Ok(report.failure.is_none())
}

const ROUNDS_DEFAULT: u32 = 200;
