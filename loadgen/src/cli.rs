//! The command line of `fairlane-loadgen`: what users type, what is written where, and what the exit status means.
//!
//! The report goes to standard output, progress and what went wrong to standard error. Exit 0: everything accepted was
//! settled, no two nodes disagreed, nothing was ordered that must be refused; 1: it ran, and that does not hold; 2: bad input
//! or environment, one sentence.

mod flags;
mod live;
mod sink;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use fairlane_client::Transport;
use fairlane_client::committee_file::Directory;

use self::flags::{Cli, Command, Kind, Load};
use crate::arrivals::{Rate, Schedule, Spread};
use crate::config::{ClosedLoop, Goal, Sealing};
use crate::output::check_output;
use crate::report::{LoadReport, write_csv, write_hlog, write_html};
use crate::rollups::RollupMix;
use crate::sink::authorities_of;
use crate::workload::gaming::Gaming;
use crate::workload::plain::Plain;
use crate::workload::replay::Replay;
use crate::workload::synthetic::Synthetic;
use crate::workload::{PACE_MAX, Pace, Workload};
use crate::{Control, LoadConfig};

/// Parses the command line, runs it, and gives the exit status.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match (cli.command, cli.load) {
        (Some(Command::Sink(flags)), _) => sink::run(&flags).map(|()| true),
        (None, Some(load)) => run(&load),
        (None, None) => Err("name a committee file, --committee FILE".to_owned()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(sentence) => {
            eprintln!("fairlane-loadgen: {sentence}");
            ExitCode::from(2)
        }
    }
}

fn run(load: &Load) -> Result<bool, String> {
    for (flag, path) in load.outputs() {
        check_output(flag, path)?;
    }
    let (workload, mut described) = load.workload()?;
    if load.transport == Transport::Udp {
        described += ", over UDP";
    }
    let directory = Directory::load(&load.committee).map_err(|error| error.to_string())?;
    let rollups = match &load.rollup {
        Some(rollups) => rollups.clone(),
        None => {
            let first = directory.committee.rollups.first();
            RollupMix::one(first.ok_or("the committee orders for no rollup")?.id)
        }
    };
    if !load.to.is_empty() {
        let listed: Vec<String> = load.to.iter().map(u8::to_string).collect();
        described += &format!(", to authority {} alone", listed.join(" and "));
    }
    if let Some(hostile) = &load.hostile {
        described += &format!("; beside it hostile traffic: {hostile}");
    }
    let targets = authorities_of(&directory, &load.to)?;
    let authorities = directory.committee.thresholds().authorities();
    let mut config = LoadConfig::new(directory, rollups.shares()[0].id, workload);
    config.rollups = rollups.clone();
    config.open = load.open;
    config.transport = load.transport;
    config.payload_len = load.payload;
    config.live_min = load.live.unwrap_or(authorities).clamp(1, authorities);
    config.connect_timeout = load.connect_timeout;
    config.drain_timeout = load.drain_timeout;
    config.busy_retries = load.retry_busy.unwrap_or(0);
    config.targets = Some(targets);
    config.hostile = load.hostile.clone().unwrap_or_default();
    config.seed = load.seed;
    config.closed = load.closed.map(|clients| ClosedLoop {
        clients,
        duration: load.duration.unwrap_or(DURATION_DEFAULT),
    });
    config.sealing = match (load.pool, load.seal_inline) {
        (Some(len), _) => Sealing::Pool(len),
        (None, true) => Sealing::Inline,
        (None, false) => Sealing::Ahead,
    };
    if load.pool.is_some() {
        config.goal = Goal::Ack;
    }
    let control = Control::new();
    stop_on_signal(&control)?;
    let mut live = live::View::new(&described);
    let outcome = crate::run(config, &mut |progress| live.show(progress), &control);
    live.end();
    let outcome = outcome.map_err(|error| error.to_string())?;
    let report = LoadReport {
        load: described,
        authorities,
        rollups: rollups.to_string(),
        payload_len: load.payload,
        sealed: !load.open,
        acks_only: load.pool.is_some(),
        outcome,
        ..LoadReport::here()
    };
    print!("{report}");
    write_outputs(load, &report)?;
    Ok(report.holds())
}

fn write_outputs(load: &Load, report: &LoadReport) -> Result<(), String> {
    let failed =
        |path: &Path, error: std::io::Error| format!("cannot write {}: {error}", path.display());
    if let Some(path) = &load.json {
        let json = serde_json::to_string_pretty(report).map_err(|error| error.to_string())?;
        std::fs::write(path, json + "\n").map_err(|error| failed(path, error))?;
    }
    if let Some(path) = &load.html {
        write_html(path, report).map_err(|error| failed(path, error))?;
    }
    if let Some(path) = &load.hlog {
        write_hlog(path, report).map_err(|error| failed(path, error))?;
    }
    if let Some(path) = &load.csv {
        write_csv(path, report).map_err(|error| failed(path, error))?;
    }
    Ok(())
}

impl Load {
    /// The load, and what it is in words.
    fn workload(&self) -> Result<(Box<dyn Workload>, String), String> {
        let (workload, mut described) = match &self.replay {
            Some(path) => self.replayed(path)?,
            None => self.synthetic()?,
        };
        if self.seal_inline {
            described += ", each sealed when it is due";
        }
        if let Some(len) = self.pool {
            described += &format!(", cycling {len} that are sealed before");
        }
        Ok((workload, described))
    }

    fn replayed(&self, path: &Path) -> Result<(Box<dyn Workload>, String), String> {
        let sentence = |error: crate::workload::WorkloadError| error.to_string();
        // A closed loop takes what the trace holds, at its own times, for the duration.
        let end_us = match self.closed {
            Some(_) => None,
            None => self.duration.map(duration_us),
        };
        let pace = Pace::Speed(self.speed).validate().map_err(sentence)?;
        let replay = Replay::open(path, pace, end_us).map_err(sentence)?;
        let described = match self.closed {
            Some(clients) => format!("{}, {}", path.display(), self.closed_words(clients)),
            None => format!("{} at speed {}", path.display(), self.speed),
        };
        Ok((Box::new(replay), described))
    }

    fn synthetic(&self) -> Result<(Box<dyn Workload>, String), String> {
        let sentence = |error: crate::workload::WorkloadError| error.to_string();
        let duration = self.duration.unwrap_or(DURATION_DEFAULT);
        let (for_s, seed) = (duration.as_secs_f64(), self.seed);
        // Of a closed loop's workload only the contents are taken, as many as are asked for.
        let (rate, spread, duration_us) = match self.closed {
            Some(_) => (Rate::Constant(PACE_MAX), Spread::Even, u64::MAX >> 12),
            None => (self.rate.clone(), self.arrivals, duration_us(duration)),
        };
        let when = match self.closed {
            Some(clients) => self.closed_words(clients),
            None => format!("{rate}, {spread}, for {for_s} s"),
        };
        if self.workload == Kind::Gaming {
            let (sessions, ticks) = (self.sessions, self.ticks);
            let together = !self.unsynchronised;
            let gaming = Gaming::new(sessions, ticks, together, duration_us, seed);
            let how = if together { "together" } else { "apart" };
            let when = match self.closed {
                Some(_) => format!("inputs of {sessions} sessions, {when}"),
                None => {
                    format!("{sessions} sessions ticking {how} at {ticks} a second for {for_s} s")
                }
            };
            let described = format!("gaming, {when}, seed {seed}");
            return Ok((Box::new(gaming.map_err(sentence)?), described));
        }
        let schedule = Schedule::new(&rate, spread, duration_us, seed).map_err(sentence)?;
        // Numbers are what a pool holds.
        if self.workload == Kind::Plain || self.pool.is_some() {
            let described = format!("plain, {when}, seed {seed}");
            return Ok((Box::new(Plain::new(schedule)), described));
        }
        let races = match self.closed {
            Some(_) => 0.0,
            None => self.races.unwrap_or(RACES_DEFAULT),
        };
        let trading = Synthetic::on(schedule, seed)
            .with_races(races)
            .map_err(sentence)?;
        let raced = match races {
            0.0 => String::new(),
            races => format!(", {}% of it races", races * 100.0),
        };
        let described = format!("trading, {when}{raced}, seed {seed}");
        Ok((Box::new(trading), described))
    }

    fn closed_words(&self, clients: u32) -> String {
        let for_s = self.duration.unwrap_or(DURATION_DEFAULT).as_secs_f64();
        let one = if clients == 1 { "client" } else { "clients" };
        format!("closed loop of {clients} {one} for {for_s} s")
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
/// Part of the trading workload that is races.
const RACES_DEFAULT: f64 = 0.05;

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

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
            let load = cli.map_err(|error| error.to_string())?.load;
            load.unwrap().workload().map(|(_, words)| words)
        };
        assert_eq!(
            described("--rate 100..200 --arrivals bursts:5 --duration 3s"),
            Ok(
                "trading, 100 to 200 a second, bursts of 5, for 3 s, 5% of it races, seed 1"
                    .to_owned()
            )
        );
        assert_eq!(
            described("--closed 8 --seal-inline --seed 2"),
            Ok(
                "trading, closed loop of 8 clients for 10 s, seed 2, each sealed when it is due"
                    .to_owned()
            )
        );
        assert_eq!(
            described("--pool 50000 --rate 200000"),
            Ok(
                "plain, 200000 a second, poisson, for 10 s, seed 1, cycling 50000 that are sealed before"
                    .to_owned()
            )
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
            "--closed 4 --rate 5",
            "--pool 5 --closed 4",
            "--races 5",
            "--rollup 1:0",
            "--hostile rude=1%",
        ] {
            assert!(described(wrong).is_err(), "{wrong}");
        }
        let none = described("--workload gaming --sessions 0").unwrap_err();
        assert!(none.contains("a game has 1 to"), "{none}");
    }
}
