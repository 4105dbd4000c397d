//! `fairlane-bench saturate`.

use std::path::PathBuf;
use std::time::Duration;

use fairlane_bench::saturate::knee::Rule;
use fairlane_bench::saturate::{self, Cell, SaturatePlan};
use fairlane_loadgen::duration::parse_duration;
use fairlane_net::config::BackendName;

use super::binary;

#[derive(Debug, clap::Args)]
pub(crate) struct SaturateArguments {
    /// Folder for saturate.json and saturate.html; made if it is not there.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The fairlane binary to run [default: the one beside this binary].
    #[arg(long, value_name = "FILE")]
    fairlane: Option<PathBuf>,
    /// Authorities: one number or several, like 4,7,10.
    #[arg(long, default_value = "5", value_name = "N,...", value_delimiter = ',', value_parser = clap::value_parser!(u8).range(1..=64))]
    nodes: Vec<u8>,
    /// auto, uring, mio, or several.
    #[arg(
        long,
        value_enum,
        default_value = "auto",
        value_name = "NAME,...",
        value_delimiter = ','
    )]
    backend: Vec<BackendName>,
    /// sealed, open, or both.
    #[arg(long, default_value = "sealed", value_name = "NAME,...", value_delimiter = ',', value_parser = ["sealed", "open"])]
    envelopes: Vec<String>,
    /// Bytes of payload in each; one number or several.
    #[arg(long, default_value = "128", value_name = "BYTES,...", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(32..=16_000))]
    payload: Vec<u16>,
    /// How long each rate is offered; some fifteen rates a committee.
    #[arg(long, default_value = "4s", value_name = "TIME", value_parser = parse_duration)]
    step: Duration,
    /// The low load, whose 99th percentile is the yardstick; envelopes a second.
    #[arg(long, default_value_t = 250, value_name = "N", value_parser = clap::value_parser!(u32).range(10..=100_000))]
    low: u32,
    /// Try no higher rate.
    #[arg(long, default_value_t = 500_000, value_name = "N", value_parser = clap::value_parser!(u32).range(20..=1_000_000))]
    max: u32,
    /// So many times the 99th percentile at low load is in time.
    #[arg(long, default_value_t = 3.0, value_name = "X", value_parser = parse_times)]
    times: f64,
}

/// Whether every committee holds at least the low load.
pub(crate) fn run(arguments: &SaturateArguments) -> anyhow::Result<bool> {
    anyhow::ensure!(
        arguments.max > arguments.low,
        "--max {} is not above --low {}",
        arguments.max,
        arguments.low
    );
    let mut cells = Vec::new();
    for nodes in &arguments.nodes {
        for payload in &arguments.payload {
            for envelopes in &arguments.envelopes {
                for backend in &arguments.backend {
                    cells.push(Cell {
                        nodes: *nodes,
                        backend: *backend,
                        open: envelopes == "open",
                        payload: usize::from(*payload),
                    });
                }
            }
        }
    }
    let plan = SaturatePlan {
        out: arguments.out.clone(),
        fairlane: binary(arguments.fairlane.as_deref())?,
        cells,
        step: arguments.step,
        rule: Rule {
            low_rate: f64::from(arguments.low),
            rate_max: f64::from(arguments.max),
            times: arguments.times,
        },
    };
    let all = saturate::run(&plan, &mut |step| eprintln!("{step}"))?;
    print!("{all}");
    Ok(all.holds())
}

fn parse_times(text: &str) -> Result<f64, String> {
    let times = text.parse::<f64>().ok();
    times
        .filter(|times| (1.2..=100.0).contains(times))
        .ok_or_else(|| "a number from 1.2 to 100, like 3".to_owned())
}
