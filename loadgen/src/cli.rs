//! The command line of `fairlane-loadgen`: what users type, what is written where, and what the exit status means.
//!
//! The report goes to standard output, progress and what went wrong to standard error. Exit 0: everything accepted was
//! settled and no two nodes disagreed; 1: it ran, and that does not hold; 2: bad input or environment, one sentence.

mod live;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use fairlane_client::Transport;
use fairlane_client::committee_file::Directory;
use fairlane_engine::types::RollupId;

use crate::arrivals::{Rate, Schedule, Spread};
use crate::duration::parse_duration;
use crate::output::check_output;
use crate::report::{LoadReport, write_csv, write_hlog, write_html};
use crate::workload::gaming::Gaming;
use crate::workload::plain::Plain;
use crate::workload::replay::Replay;
use crate::workload::synthetic::Synthetic;
use crate::workload::{Pace, Workload};
use crate::{Control, LoadConfig};

/// Offers a planned load to a committee, and measures what becomes of every envelope.
///
/// The load is open: each envelope has a planned time, it is sent then whatever the committee does, and its latency counts
/// from then. So a committee that stalls cannot hide it. Envelopes are sealed before they are due. What the committee
/// answers is measured to four points: the first ack, the first signed receipt, the place in the order, and the word that the
/// settlement worker has it on disk.
///
/// A committee to try it on: `fairlane testnet --nodes 4 --out net`, then in one terminal each `fairlane node --config
/// net/node-0.toml` to 3 and `fairlane settle --config net/settle-1.toml`.
#[derive(Debug, Parser)]
#[command(name = "fairlane-loadgen", version, max_term_width = 100, after_help = EXIT_STATUS)]
struct Cli {
    /// The committee file: who orders, under which key, at which addresses.
    #[arg(long, value_name = "FILE")]
    committee: PathBuf,
    /// Id of the rollup that all envelopes are for [default: the first of the committee file].
    #[arg(long, value_name = "ID")]
    rollup: Option<u64>,
    /// What envelopes carry, and how they come: orders and cancels of a market, inputs of game sessions, or numbers.
    #[arg(long, value_enum, default_value_t = Kind::Trading, conflicts_with = "replay")]
    workload: Kind,
    /// Envelopes a second, for trading and plain: one number, FROM..TO for a ramp, or A,B,C for steps of equal length.
    #[arg(long, value_name = "RATE", default_value = "500", conflicts_with_all = ["replay", "sessions", "ticks"])]
    rate: Rate,
    /// How they are spread at that rate: poisson (as of many senders), even, or bursts:N (N at one instant).
    #[arg(
        long,
        value_name = "SPREAD",
        default_value = "poisson",
        conflicts_with = "replay"
    )]
    arrivals: Spread,
    /// Sessions of the gaming workload, each of which sends an input a tick.
    #[arg(long, value_name = "N", default_value_t = 50)]
    sessions: u32,
    /// Ticks a second of each session; games commonly have 20, 60 or 128.
    #[arg(long, value_name = "HZ", default_value_t = 20)]
    ticks: u32,
    /// Let sessions tick each at an offset of its own instead of all together, which is a burst every tick.
    #[arg(long)]
    unsynchronised: bool,
    /// Send a recorded market: a gzipped CSV file whose first line is
    /// receive_time_ns,symbol,kind,side,price,quantity,trade_id.
    #[arg(long, value_name = "FILE.csv.gz")]
    replay: Option<PathBuf>,
    /// Replay it X times faster than it was recorded.
    #[arg(long, value_name = "X", default_value_t = 1.0, requires = "replay")]
    speed: f64,
    /// How long to send [default: 10s; with --replay all of it].
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    duration: Option<Duration>,
    /// Bytes of payload in each envelope, from 56.
    #[arg(long, value_name = "BYTES", default_value_t = 128)]
    payload: usize,
    /// The load follows from this number: the same number, the same load.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Send open envelopes, which anybody can read; the rollup's policy must allow them.
    #[arg(long)]
    open: bool,
    /// How envelopes travel: tcp, or udp, one envelope a datagram, to nodes that listen for them (udp_listen).
    #[arg(long, value_name = "tcp|udp", default_value_t = Transport::Tcp)]
    transport: Transport,
    /// Begin when N authorities are connected [default: all].
    #[arg(long, value_name = "N")]
    live: Option<u32>,
    /// How long to wait for them.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "10s")]
    connect_timeout: Duration,
    /// How long to go on listening after the last envelope when nothing changes any more.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "10s")]
    drain_timeout: Duration,
    /// Write the report to FILE as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the report to FILE as one HTML page with plots, which needs nothing else.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write the latencies, second by second, to FILE as an HdrHistogram log.
    #[arg(long, value_name = "FILE")]
    hlog: Option<PathBuf>,
    /// Write the percentiles of the latencies to FILE as CSV.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Orders and cancels; a few busy instruments by Zipf's law.
    Trading,
    /// Inputs of --sessions sessions at --ticks a second.
    Gaming,
    /// Numbers in envelopes of one size.
    Plain,
}

const EXIT_STATUS: &str = "Exit status: 0, everything accepted was settled and no two nodes disagree on the order; 1, it ran \
and that does not hold; 2, bad input or environment, said in one sentence.";

/// Parses the command line, runs it, and gives the exit status.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(sentence) => {
            eprintln!("fairlane-loadgen: {sentence}");
            ExitCode::from(2)
        }
    }
}

fn run(cli: &Cli) -> Result<bool, String> {
    for (flag, path) in cli.outputs() {
        check_output(flag, path)?;
    }
    let (workload, mut described) = cli.workload()?;
    if cli.transport == Transport::Udp {
        described += ", over UDP";
    }
    let directory = Directory::load(&cli.committee).map_err(|error| error.to_string())?;
    let rollups = &directory.committee.rollups;
    let rollup = cli.rollup.map(RollupId);
    let rollup = rollup.or_else(|| rollups.first().map(|rollup| rollup.id));
    let rollup = rollup.ok_or("the committee orders for no rollup")?;
    let authorities = directory.committee.thresholds().authorities();
    let mut config = LoadConfig::new(directory, rollup, workload);
    config.open = cli.open;
    config.transport = cli.transport;
    config.payload_len = cli.payload;
    config.live_min = cli.live.unwrap_or(authorities).clamp(1, authorities);
    config.connect_timeout = cli.connect_timeout;
    config.drain_timeout = cli.drain_timeout;
    let control = Control::new();
    stop_on_signal(&control)?;
    let mut live = live::View::new(&described);
    let outcome = crate::run(config, &mut |progress| live.show(progress), &control);
    live.end();
    let outcome = outcome.map_err(|error| error.to_string())?;
    let report = LoadReport::new(
        described,
        authorities,
        rollup,
        cli.payload,
        !cli.open,
        outcome,
    );
    print!("{report}");
    write_outputs(cli, &report)?;
    Ok(report.holds())
}

fn write_outputs(cli: &Cli, report: &LoadReport) -> Result<(), String> {
    let failed =
        |path: &Path, error: std::io::Error| format!("cannot write {}: {error}", path.display());
    if let Some(path) = &cli.json {
        let json = serde_json::to_string_pretty(report).map_err(|error| error.to_string())?;
        std::fs::write(path, json + "\n").map_err(|error| failed(path, error))?;
    }
    if let Some(path) = &cli.html {
        write_html(path, report).map_err(|error| failed(path, error))?;
    }
    if let Some(path) = &cli.hlog {
        write_hlog(path, report).map_err(|error| failed(path, error))?;
    }
    if let Some(path) = &cli.csv {
        write_csv(path, report).map_err(|error| failed(path, error))?;
    }
    Ok(())
}

impl Cli {
    fn outputs(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let outputs = [
            ("--json", &self.json),
            ("--html", &self.html),
            ("--hlog", &self.hlog),
            ("--csv", &self.csv),
        ];
        let outputs = outputs.into_iter();
        outputs.filter_map(|(flag, path)| Some((flag, path.as_deref()?)))
    }

    /// The load, and what it is in words.
    fn workload(&self) -> Result<(Box<dyn Workload>, String), String> {
        let sentence = |error: crate::workload::WorkloadError| error.to_string();
        if let Some(path) = &self.replay {
            let end_us = self.duration.map(duration_us);
            let pace = Pace::Speed(self.speed).validate().map_err(sentence)?;
            let replay = Replay::open(path, pace, end_us).map_err(sentence)?;
            let described = format!("{} at speed {}", path.display(), self.speed);
            return Ok((Box::new(replay), described));
        }
        let duration = self.duration.unwrap_or(DURATION_DEFAULT);
        let duration_us = duration_us(duration);
        let for_s = duration.as_secs_f64();
        if self.workload == Kind::Gaming {
            let (sessions, ticks) = (self.sessions, self.ticks);
            let together = !self.unsynchronised;
            let gaming = Gaming::new(sessions, ticks, together, duration_us, self.seed);
            let how = if together { "together" } else { "apart" };
            let described = format!(
                "gaming, {sessions} sessions ticking {how} at {ticks} a second for {for_s} s, seed {}",
                self.seed
            );
            return Ok((Box::new(gaming.map_err(sentence)?), described));
        }
        let schedule = Schedule::new(&self.rate, self.arrivals, duration_us, self.seed);
        let schedule = schedule.map_err(sentence)?;
        let (workload, name): (Box<dyn Workload>, _) = match self.workload {
            Kind::Plain => (Box::new(Plain::new(schedule)), "plain"),
            _ => (Box::new(Synthetic::on(schedule, self.seed)), "trading"),
        };
        let (rate, spread, seed) = (&self.rate, self.arrivals, self.seed);
        let described = format!("{name}, {rate}, {spread}, for {for_s} s, seed {seed}");
        Ok((workload, described))
    }
}

/// The first interrupt ends sending, and the report is still made; the second ends the process.
fn stop_on_signal(control: &Control) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("the host refuses signals: {error}");
    let mut signals = signal_hook::iterator::Signals::new([
        signal_hook::consts::SIGINT,
        signal_hook::consts::SIGTERM,
    ])
    .map_err(failed)?;
    let control = control.clone();
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            let mut signals = signals.forever();
            if signals.next().is_some() {
                control.stop();
            }
            if signals.next().is_some() {
                std::process::exit(2);
            }
        })
        .map_err(failed)?;
    Ok(())
}

fn duration_us(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

const DURATION_DEFAULT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn each_workload_is_said_in_words() {
        let described = |flags: &str| {
            let flags = flags.split_whitespace();
            let words = ["fairlane-loadgen", "--committee", "c.json"];
            let cli = Cli::try_parse_from(words.into_iter().chain(flags));
            cli.map_err(|error| error.to_string())?
                .workload()
                .map(|(_, words)| words)
        };
        assert_eq!(
            described("--rate 100..200 --arrivals bursts:5 --duration 3s"),
            Ok("trading, 100 to 200 a second, bursts of 5, for 3 s, seed 1".to_owned())
        );
        assert_eq!(
            described("--workload gaming --ticks 60 --unsynchronised"),
            Ok("gaming, 50 sessions ticking apart at 60 a second for 10 s, seed 1".to_owned())
        );
        assert!(
            described("--workload plain")
                .unwrap()
                .starts_with("plain, 500 a second")
        );
        for wrong in [
            "--rate 0",
            "--arrivals now",
            "--duration 0s",
            "--replay x --rate 5",
        ] {
            assert!(described(wrong).is_err(), "{wrong}");
        }
        let none = described("--workload gaming --sessions 0").unwrap_err();
        assert!(none.contains("a game has 1 to"), "{none}");
    }
}
