//! `fairlane-bench gate`.

use std::path::PathBuf;

use anyhow::Context as _;
use fairlane_bench::gate::limit::Limit;
use fairlane_bench::gate::{self, GatePlan};

#[derive(Debug, clap::Args)]
pub(crate) struct GateArguments {
    /// Log of a run that is the yardstick, or a folder of such logs; may be given several times.
    #[arg(long, required = true, value_name = "FILE|DIR")]
    baseline: Vec<PathBuf>,
    /// Log of a run that is judged, or a folder; run i of both sides are held against each other.
    #[arg(long, required = true, value_name = "FILE|DIR")]
    current: Vec<PathBuf>,
    /// By how much a figure may grow: pNN, mean, or shift (all of the distribution).
    #[arg(
        long,
        default_value = "p50=10%,p99=15%,shift=10%",
        value_name = "FIGURE=N%,...",
        value_delimiter = ','
    )]
    max_regress: Vec<Limit>,
    /// Which lines of the logs.
    #[arg(long, default_value = "settled", value_name = "TAG")]
    tag: String,
    /// Confidence of the one-sided intervals, per cent.
    #[arg(long, default_value_t = 95.0, value_name = "PERCENT", value_parser = parse_confidence)]
    confidence: f64,
    /// Take each current latency as if it had been so much longer, like 20%: would these runs have shown it?
    #[arg(long, value_name = "N%", value_parser = parse_injected)]
    inject: Option<f64>,
    /// Fail as well when the runs cannot tell.
    #[arg(long)]
    strict: bool,
    /// Write the figures to FILE as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Whether nothing is worse than allowed.
pub(crate) fn run(arguments: GateArguments) -> anyhow::Result<bool> {
    let gated = gate::run(&GatePlan {
        baseline: arguments.baseline,
        current: arguments.current,
        tag: arguments.tag,
        limits: arguments.max_regress,
        confidence: arguments.confidence / 100.0,
        injected: arguments.inject.unwrap_or(1.0),
    })?;
    print!("{gated}");
    if let Some(path) = arguments.json {
        let json = serde_json::to_string_pretty(&gated)? + "\n";
        std::fs::write(&path, json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let fails = gated.is_worse() || (arguments.strict && gated.is_unclear());
    Ok(!fails)
}

fn parse_confidence(text: &str) -> Result<f64, String> {
    let percent = text.parse::<f64>().ok();
    percent
        .filter(|percent| *percent > 50.0 && *percent < 100.0)
        .ok_or_else(|| "a confidence lies between 50 and 100, like 95".to_owned())
}

/// How many times as long, from `20%`.
fn parse_injected(text: &str) -> Result<f64, String> {
    let percent = text.strip_suffix('%').and_then(|text| text.parse().ok());
    percent
        .filter(|percent| *percent > 0.0 && *percent <= 1_000.0)
        .map(|percent: f64| 1.0 + percent / 100.0)
        .ok_or_else(|| "a slowdown is above 0% and at most 1000%, like 20%".to_owned())
}
