//! `fairlane-bench syscalls`.

use std::path::PathBuf;
use std::time::Duration;

use fairlane_bench::live::syscalls::{self, SyscallsPlan};
use fairlane_bench::live::write_json;
use fairlane_loadgen::duration::parse_duration;

use super::binary;

#[derive(Debug, clap::Args)]
pub(crate) struct SyscallsArguments {
    /// The fairlane binary to run [default: the one beside this binary].
    #[arg(long, value_name = "FILE")]
    fairlane: Option<PathBuf>,
    /// Authorities.
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    nodes: u8,
    /// Open envelopes a second.
    #[arg(long, default_value_t = 5000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
    /// How long they are counted.
    #[arg(long, default_value = "5s", value_name = "TIME", value_parser = parse_duration)]
    duration: Duration,
    /// Write the report to FILE as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub(crate) fn run(arguments: &SyscallsArguments) -> anyhow::Result<()> {
    let plan = SyscallsPlan {
        authorities: arguments.nodes,
        rate: arguments.rate,
        duration: arguments.duration,
    };
    let report = syscalls::run(&plan, &binary(arguments.fairlane.as_deref())?)?;
    print!("{report}");
    write_json(arguments.json.as_deref(), &report)
}
