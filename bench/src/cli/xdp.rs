//! `fairlane-bench xdp`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use fairlane_bench::xdp::{self, XdpPlan};

#[derive(Debug, clap::Args)]
pub(crate) struct XdpArguments {
    /// Turns; in each, every way to receive has one.
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeat: u32,
    /// How long each is sent to.
    #[arg(long, default_value_t = 400, value_name = "MS", value_parser = clap::value_parser!(u64).range(10..=60_000))]
    milliseconds: u64,
    /// Bytes of payload of a datagram.
    #[arg(long, default_value_t = 256, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(1..=1472))]
    payload: u16,
    /// Write the figures to FILE as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub(crate) fn run(arguments: XdpArguments) -> anyhow::Result<()> {
    let report = xdp::run(
        &XdpPlan {
            repeat: arguments.repeat,
            time: Duration::from_millis(arguments.milliseconds),
            payload_bytes: arguments.payload.into(),
        },
        &mut |next| eprintln!("{next}"),
    )?;
    print!("{report}");
    if let Some(path) = arguments.json {
        let json = serde_json::to_string_pretty(&report)? + "\n";
        std::fs::write(&path, json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
