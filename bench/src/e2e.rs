//! Whole runs of a local network: a matrix of settings, each run several times, two versions in turns where asked.
//!
//! Each run is `fairlane localnet` as anybody would start it. Its report and its log of latencies are kept; what a cell
//! of the matrix came to is their median. Versions take turns and change places from round to round (A B, B A, ...), so
//! that a host that gets slower or faster meanwhile does so for both; `fairlane-bench gate` judges such runs.

pub mod page;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What is run.
#[derive(Clone, Debug)]
pub struct E2ePlan {
    /// Folder for e2e.json, e2e.html, and the logs of each side.
    pub out: PathBuf,
    /// What is measured.
    pub current: Program,
    /// What it is held against, in turns.
    pub baseline: Option<Program>,
    /// The matrix.
    pub cells: Vec<Cell>,
    /// Runs of each cell and side.
    pub repeat: u32,
    /// How long each sends, as `localnet` takes it.
    pub duration: String,
}

/// One version, or one way to run it.
#[derive(Clone, Debug)]
pub struct Program {
    /// The fairlane binary.
    pub path: PathBuf,
    /// Further flags of `localnet`.
    pub flags: Vec<String>,
}

/// One cell of the matrix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// Authorities.
    pub nodes: u8,
    /// Envelopes a second.
    pub rate: u32,
    /// Bytes of payload in each.
    pub payload: u32,
    /// `sync` or `async`.
    pub durability: String,
    /// `auto`, `uring` or `mio`.
    pub backend: String,
}

impl Cell {
    /// As a name of folders and plots.
    pub fn name(&self) -> String {
        format!(
            "n{}-rate{}-payload{}-{}-{}",
            self.nodes, self.rate, self.payload, self.durability, self.backend
        )
    }
}

/// Which of two versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// What is held against.
    Baseline,
    /// What is measured.
    Current,
}

impl Side {
    /// As a folder's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Current => "current",
        }
    }
}

/// One run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct E2eRun {
    /// Which cell.
    pub cell: Cell,
    /// Which version.
    pub side: Side,
    /// From 1.
    pub round: u32,
    /// Its log, below the folder of the results.
    pub hlog: PathBuf,
    /// Whether every check of the run holds.
    pub holds: bool,
    /// The report of `localnet`, as it wrote it.
    pub report: Value,
}

/// All runs, and what they ran on.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct E2e {
    /// The runs, as they were made.
    pub runs: Vec<E2eRun>,
}

/// Runs the matrix, telling of each run before it starts; writes the results into the plan's folder.
///
/// Errors: a program that cannot be run, or that refuses its flags. A run whose checks do not hold is in the results.
pub fn run(plan: &E2ePlan, tell: &mut dyn FnMut(&str)) -> anyhow::Result<E2e> {
    let mut all = E2e::default();
    for round in 1..=plan.repeat {
        for cell in &plan.cells {
            for (side, program) in turns(plan, round) {
                let name = cell.name();
                tell(&format!(
                    "round {round} of {}: {name}, {}",
                    plan.repeat,
                    side.name()
                ));
                all.runs.push(run_once(plan, cell, side, program, round)?);
                write(
                    &plan.out.join("e2e.json"),
                    &(serde_json::to_string_pretty(&all)? + "\n"),
                )?;
            }
        }
    }
    write(&plan.out.join("e2e.html"), &page::page(&all, &plan.out)?)?;
    Ok(all)
}

/// Who runs in `round`, and in which order: each side goes first in every other round.
fn turns(plan: &E2ePlan, round: u32) -> Vec<(Side, &Program)> {
    let mut turns = vec![(Side::Current, &plan.current)];
    if let Some(baseline) = &plan.baseline {
        let place = usize::from(round.is_multiple_of(2));
        turns.insert(place, (Side::Baseline, baseline));
    }
    turns
}

fn run_once(
    plan: &E2ePlan,
    cell: &Cell,
    side: Side,
    program: &Program,
    round: u32,
) -> anyhow::Result<E2eRun> {
    let folder = Path::new(side.name()).join(cell.name());
    std::fs::create_dir_all(plan.out.join(&folder)).with_context(|| {
        format!(
            "cannot make the folder {}",
            plan.out.join(&folder).display()
        )
    })?;
    let hlog = folder.join(format!("{round:03}.hlog"));
    let json = tempfile::NamedTempFile::new().context("cannot make a file for the report")?;
    let status = Command::new(&program.path)
        .arg("localnet")
        .args(["--nodes", &cell.nodes.to_string()])
        .args(["--rate", &cell.rate.to_string()])
        .args(["--payload", &cell.payload.to_string()])
        .args(["--durability", &cell.durability, "--backend", &cell.backend])
        .args(["--duration", &plan.duration])
        .arg("--hlog")
        .arg(plan.out.join(&hlog))
        .arg("--json")
        .arg(json.path())
        .args(&program.flags)
        .stdin(Stdio::null())
        // Its page of text is not this command's: the report is read as JSON.
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .with_context(|| format!("cannot run {}", program.path.display()))?;
    let text = std::fs::read_to_string(json.path())?;
    let Ok(report) = serde_json::from_str(&text) else {
        let words = String::from_utf8_lossy(&status.stderr);
        let last = words.lines().rev().find(|line| !line.trim().is_empty());
        anyhow::bail!(
            "{} localnet ended with {}: {}",
            program.path.display(),
            status.status,
            last.unwrap_or("it said nothing")
        );
    };
    Ok(E2eRun {
        cell: cell.clone(),
        side,
        round,
        hlog,
        holds: status.status.success(),
        report,
    })
}

impl E2e {
    /// Whether every check of every run holds.
    pub fn holds(&self) -> bool {
        self.runs.iter().all(|run| run.holds)
    }

    /// The cells, each once, in order of appearance.
    pub fn cells(&self) -> Vec<&Cell> {
        let mut cells: Vec<&Cell> = Vec::new();
        for run in &self.runs {
            if !cells.contains(&&run.cell) {
                cells.push(&run.cell);
            }
        }
        cells
    }

    /// The runs of one cell and side.
    pub fn of(&self, cell: &Cell, side: Side) -> Vec<&E2eRun> {
        let runs = self.runs.iter();
        runs.filter(|run| run.side == side && run.cell == *cell)
            .collect()
    }

    /// One line a cell and side: medians over its runs.
    pub fn summary(&self) -> Vec<Summary> {
        let mut lines = Vec::new();
        for cell in self.cells() {
            for side in [Side::Baseline, Side::Current] {
                let runs = self.of(cell, side);
                if !runs.is_empty() {
                    lines.push(Summary::of(cell, side, &runs));
                }
            }
        }
        lines
    }
}

/// What the runs of a cell and side came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// The cell's name.
    pub cell: String,
    /// Which version.
    pub side: Side,
    /// Commit that the version says it was built from.
    pub commit: String,
    /// How many runs.
    pub runs: usize,
    /// Settled envelopes a second, the median.
    pub settled_tps: f64,
    /// Settled latency in milliseconds: p50, p99 and p99.9, each the median of the runs.
    pub settled_ms: [f64; 3],
    /// Lost and refused in all runs together.
    pub lost_refused: [u64; 2],
    /// Processor time of all processes for one settled envelope, microseconds, the median.
    pub cpu_us: f64,
}

impl Summary {
    fn of(cell: &Cell, side: Side, runs: &[&E2eRun]) -> Self {
        let number = |run: &E2eRun, path: &str| {
            run.report
                .pointer(path)
                .and_then(Value::as_f64)
                .unwrap_or(0.0)
        };
        let median_of = |path: &str| median(runs.iter().map(|run| number(run, path)).collect());
        let sum_of = |path: &str| runs.iter().map(|run| number(run, path) as u64).sum();
        let cpu_us = |run: &E2eRun| {
            let processes = run.report["processes"].as_array();
            let seconds = processes
                .into_iter()
                .flatten()
                .filter_map(|of| of["cpu_s"].as_f64());
            1e6 * seconds.sum::<f64>() / number(run, "/settled").max(1.0)
        };
        Self {
            cell: cell.name(),
            side,
            commit: runs[0].report["commit"]
                .as_str()
                .unwrap_or("unknown")
                .to_owned(),
            runs: runs.len(),
            settled_tps: median_of("/throughput_tps"),
            settled_ms: ["p50", "p99", "p999"]
                .map(|figure| median_of(&format!("/latency_us/settled/{figure}")) / 1_000.0),
            lost_refused: [sum_of("/lost"), sum_of("/refused")],
            cpu_us: median(runs.iter().map(|run| cpu_us(run)).collect()),
        }
    }
}

impl fmt::Display for E2e {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = [
            "runs",
            "settled/s",
            "p50 ms",
            "p99 ms",
            "p99.9 ms",
            "lost",
            "refused",
            "CPU us",
        ];
        let [runs, rate, p50, p99, p999, lost, refused, cpu] = columns;
        writeln!(
            f,
            "{:40} {:9} {runs:>4} {rate:>9} {p50:>8} {p99:>8} {p999:>9} {lost:>5} {refused:>8} {cpu:>8}",
            "cell", "side"
        )?;
        for line in self.summary() {
            let ([p50, p99, p999], [lost, refused]) = (line.settled_ms, line.lost_refused);
            writeln!(
                f,
                "{:40} {:9} {:4} {:9.0} {p50:8.2} {p99:8.2} {p999:9.2} {lost:5} {refused:8} {:8.0}",
                line.cell,
                line.side.name(),
                line.runs,
                line.settled_tps,
                line.cpu_us
            )?;
        }
        writeln!(
            f,
            "\nsettled latency, medians of the runs; CPU: of all processes, an envelope"
        )?;
        for run in self.runs.iter().filter(|run| !run.holds) {
            writeln!(
                f,
                "A CHECK DOES NOT HOLD in round {} of {}, {}",
                run.round,
                run.cell.name(),
                run.side.name()
            )?;
        }
        Ok(())
    }
}

/// Of none: 0.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        _ if values.is_empty() => 0.0,
        0 => (values[middle - 1] + values[middle]) / 2.0,
        _ => values[middle],
    }
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests;
