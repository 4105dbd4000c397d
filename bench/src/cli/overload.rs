//! `fairlane-bench overload`.

use std::path::PathBuf;
use std::time::Duration;

use fairlane_bench::live::overload::{self, OverloadPlan};
use fairlane_bench::live::write_json;
use fairlane_loadgen::duration::parse_duration;
use fairlane_net::stage::waiting::ReceiveMode;

use super::binary;

#[derive(Debug, clap::Args)]
pub(crate) struct OverloadArguments {
    /// The fairlane binary to run [default: the one beside this binary].
    #[arg(long, value_name = "FILE")]
    fairlane: Option<PathBuf>,
    /// Authorities.
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    nodes: u8,
    /// Open envelopes instead of sealed ones.
    #[arg(long)]
    open: bool,
    /// Offer so many times the highest rate that holds.
    #[arg(long, default_value_t = 5, value_name = "X", value_parser = clap::value_parser!(u16).range(2..=100))]
    times: u16,
    /// For how long: 30s, 2m; a third of it before and after at half the highest rate.
    #[arg(long, default_value = "30s", value_name = "TIME", value_parser = parse_duration)]
    duration: Duration,
    /// The highest rate that holds, where it is known [default: looked for first, about a minute].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    peak: Option<u32>,
    /// When the nodes take what came over TCP: at once, which keeps the order between connections, or once a turn.
    #[arg(long, value_enum, default_value_t = ReceiveMode::Arrival)]
    receive: ReceiveMode,
    /// Write the report to FILE as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub(crate) fn run(arguments: &OverloadArguments) -> anyhow::Result<bool> {
    let plan = OverloadPlan {
        authorities: arguments.nodes,
        open: arguments.open,
        times: arguments.times.into(),
        duration: arguments.duration,
        peak: arguments.peak.map(f64::from),
        receive: arguments.receive,
    };
    let fairlane = binary(arguments.fairlane.as_deref())?;
    let report = overload::run(&plan, &fairlane, &mut |line| eprintln!("{line}"))?;
    print!("{report}");
    write_json(arguments.json.as_deref(), &report)?;
    Ok(report.holds())
}
