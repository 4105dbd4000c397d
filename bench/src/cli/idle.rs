//! `fairlane-bench idle`.

use std::path::PathBuf;
use std::time::Duration;

use fairlane_bench::live::idle::{self, IdlePlan};
use fairlane_bench::live::write_json;
use fairlane_loadgen::duration::parse_duration;
use fairlane_net::config::BackendName;

use super::binary;

#[derive(Debug, clap::Args)]
pub(crate) struct IdleArguments {
    /// The fairlane binary to run [default: the one beside this binary].
    #[arg(long, value_name = "FILE")]
    fairlane: Option<PathBuf>,
    /// Connections to one authority.
    #[arg(long, default_value_t = 10_000, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=16_000))]
    connections: u32,
    /// Authorities.
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u8).range(4..=31))]
    nodes: u8,
    /// How the nodes use the network.
    #[arg(long, value_enum, default_value_t = BackendName::Auto)]
    backend: BackendName,
    /// How long the honest load is sent, alone and beside them.
    #[arg(long, default_value = "5s", value_name = "TIME", value_parser = parse_duration)]
    duration: Duration,
    /// Honest envelopes a second.
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=2000))]
    rate: u32,
    /// Write the report to FILE as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct IdleClientsArguments {
    #[arg(long)]
    address: std::net::SocketAddr,
    #[arg(long)]
    chain: u64,
    #[arg(long)]
    connections: u32,
}

pub(crate) fn run(arguments: &IdleArguments) -> anyhow::Result<bool> {
    let plan = IdlePlan {
        connections: arguments.connections,
        authorities: arguments.nodes,
        backend: arguments.backend,
        duration: arguments.duration,
        rate: arguments.rate,
    };
    let fairlane = binary(arguments.fairlane.as_deref())?;
    let report = idle::run(&plan, &fairlane, &std::env::current_exe()?)?;
    print!("{report}");
    write_json(arguments.json.as_deref(), &report)?;
    Ok(report.holds())
}

/// The hidden half of `idle`: connects, and holds on until it is told to end.
pub(crate) fn connect(arguments: &IdleClientsArguments) -> anyhow::Result<()> {
    idle::connect(arguments.address, arguments.chain, arguments.connections)
}
