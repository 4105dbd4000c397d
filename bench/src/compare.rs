//! Two reports side by side, in words and on a page: of `e2e` (cell by cell) or of `saturate` (knee by knee).
//!
//! It describes and does not judge: each figure of A and of B, how far apart they are, and whether the runs of the two
//! sides overlap. Reports made on two days differ by what the host did on those days; whether a version got slower is for
//! `e2e --against` and `gate`, whose runs take turns. What cannot be held against each other is refused: reports of
//! different kinds, without a common cell, or measured by different rules. Different machines are allowed and said first,
//! for that is often the question.

pub mod page;

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use serde::Serialize;
use serde_json::Value;

use crate::e2e::{Cell, E2e, E2eRun, Side};
use crate::saturate::Saturation;

/// A report, and where it was read.
pub struct Source<R> {
    /// The file.
    pub path: PathBuf,
    /// What stands in it.
    pub report: R,
}

/// Two reports of one kind.
pub enum Pair {
    /// Of `e2e`.
    E2e(Box<[Source<E2e>; 2]>),
    /// Of `saturate`.
    Saturation(Box<[Source<Saturation>; 2]>),
}

/// What the two say.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// What A is: file, commit, machine.
    pub a: String,
    /// The same of B.
    pub b: String,
    /// What to know before reading on.
    pub warnings: Vec<String>,
    /// Cell by cell.
    pub lines: Vec<Line>,
}

/// One figure of one cell.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// Which cell.
    pub cell: String,
    /// Which figure, with its unit.
    pub figure: &'static str,
    /// Median of the runs of A, and of B.
    pub medians: [f64; 2],
    /// Least and greatest of the runs of A, and of B.
    pub ranges: [[f64; 2]; 2],
    /// Runs of A, and of B.
    pub runs: [usize; 2],
}

impl Line {
    /// Errors: a run that does not say the figure.
    fn of(cell: &str, figure: &'static str, sides: [Vec<f64>; 2]) -> anyhow::Result<Self> {
        let range = |values: &[f64]| {
            let least = values.iter().copied().fold(f64::INFINITY, f64::min);
            [
                least,
                values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            ]
        };
        ensure!(
            sides.iter().flatten().all(|value| value.is_finite()),
            "a run of {cell} does not say {figure}: was it written by another version?"
        );
        Ok(Self {
            cell: cell.to_owned(),
            figure,
            ranges: [range(&sides[0]), range(&sides[1])],
            runs: [sides[0].len(), sides[1].len()],
            medians: sides.map(crate::e2e::median),
        })
    }

    /// Whether some run of A lies within what B's runs span, or the reverse.
    pub fn overlaps(&self) -> bool {
        let [a, b] = self.ranges;
        a[0] <= b[1] && b[0] <= a[1]
    }

    /// What a reader should take from it.
    pub fn words(&self) -> String {
        let [a, b] = self.medians;
        let apart = match (a, b) {
            (a, b) if a == b => "the same".to_owned(),
            (a, _) if a <= 0.0 => "A has none".to_owned(),
            (a, b) if b >= 1.5 * a => format!("{:.1} times A", b / a),
            (a, b) => format!("{:+.1} %", 100.0 * (b / a - 1.0)),
        };
        let sure = match (self.runs, self.overlaps()) {
            ([1, _] | [_, 1], _) => "one run a side: no spread is known",
            (_, true) => "within the spread of the runs",
            (_, false) => "beyond the spread of the runs",
        };
        format!("{apart}, {sure}")
    }
}

/// Reads both. Errors: a file that is no such report, or two that cannot be held against each other.
pub fn read(a: &Path, b: &Path) -> anyhow::Result<Pair> {
    let values = [value(a)?, value(b)?];
    let kinds = [kind(a, &values[0])?, kind(b, &values[1])?];
    ensure!(
        kinds[0] == kinds[1],
        "{} is a report of {} and {} one of {}: give two of one kind",
        a.display(),
        kinds[0],
        b.display(),
        kinds[1]
    );
    let [value_a, value_b] = values;
    if kinds[0] == "e2e" {
        let pair = [source::<E2e>(a, value_a)?, source::<E2e>(b, value_b)?];
        check_e2e(&pair)?;
        return Ok(Pair::E2e(Box::new(pair)));
    }
    let pair = [
        source::<Saturation>(a, value_a)?,
        source::<Saturation>(b, value_b)?,
    ];
    check_saturation(&pair)?;
    Ok(Pair::Saturation(Box::new(pair)))
}

fn value(path: &Path) -> anyhow::Result<Value> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("{} is no JSON", path.display()))
}

fn kind(path: &Path, value: &Value) -> anyhow::Result<&'static str> {
    match (value.get("runs"), value.get("saturated")) {
        (Some(_), None) => Ok("e2e"),
        (None, Some(_)) => Ok("saturate"),
        _ => bail!(
            "{} is neither a report of fairlane-bench e2e nor one of saturate",
            path.display()
        ),
    }
}

fn source<R: serde::de::DeserializeOwned>(path: &Path, value: Value) -> anyhow::Result<Source<R>> {
    let report = serde_json::from_value(value)
        .with_context(|| format!("{} was written by another version", path.display()))?;
    let path = path.to_path_buf();
    Ok(Source { path, report })
}

fn check_e2e([a, b]: &[Source<E2e>; 2]) -> anyhow::Result<()> {
    ensure!(
        !common(&a.report, &b.report).is_empty(),
        "{} and {} have no cell of the matrix in common: A has {}, B has {}",
        a.path.display(),
        b.path.display(),
        names(&a.report),
        names(&b.report)
    );
    let planned = |of: &E2e| of.runs[0].report["duration_s"].as_f64();
    ensure!(
        planned(&a.report) == planned(&b.report),
        "the runs of {} send for {:?} s and those of {} for {:?}: run both as long",
        a.path.display(),
        planned(&a.report).unwrap_or(0.0),
        b.path.display(),
        planned(&b.report).unwrap_or(0.0)
    );
    Ok(())
}

fn check_saturation([a, b]: &[Source<Saturation>; 2]) -> anyhow::Result<()> {
    let common = a.report.saturated.iter();
    let mut common = common.filter(|of| b.report.saturated.iter().any(|b| b.cell == of.cell));
    ensure!(
        common.next().is_some(),
        "{} and {} have no committee in common",
        a.path.display(),
        b.path.display()
    );
    ensure!(
        (a.report.rule, a.report.step_s) == (b.report.rule, b.report.step_s),
        "the knees were found by different rules (A: {}, {} s a step; B: {}, {} s a step)",
        a.report.rule,
        a.report.step_s,
        b.report.rule,
        b.report.step_s
    );
    Ok(())
}

/// The cells that both have measured, in A's order.
fn common<'a>(a: &'a E2e, b: &E2e) -> Vec<&'a Cell> {
    let cells = a.cells().into_iter();
    let is_there = |all: &E2e, cell: &Cell| !all.of(cell, Side::Current).is_empty();
    cells
        .filter(|cell| is_there(a, cell) && is_there(b, cell))
        .collect()
}

fn names(all: &E2e) -> String {
    let names: Vec<String> = all.cells().into_iter().map(Cell::name).collect();
    names.join(", ")
}

impl Pair {
    /// What the two say. Errors: a run that lacks a figure.
    pub fn compare(&self) -> anyhow::Result<Comparison> {
        match self {
            Self::E2e(pair) => compare_e2e(pair),
            Self::Saturation(pair) => compare_saturation(pair),
        }
    }
}

fn compare_e2e([a, b]: &[Source<E2e>; 2]) -> anyhow::Result<Comparison> {
    let common = common(&a.report, &b.report);
    let machine = |of: &E2e| {
        let report = &of.runs[0].report;
        let word = |name: &str| report[name].as_str().unwrap_or("unknown").to_owned();
        format!(
            "{}, {} cores, Linux {}",
            word("host"),
            report["cores"],
            word("kernel")
        )
    };
    let commit = |of: &Source<E2e>| {
        let runs = of.report.of(common[0], Side::Current);
        runs[0].report["commit"]
            .as_str()
            .unwrap_or("unknown")
            .to_owned()
    };
    let mut warnings = machines([machine(&a.report), machine(&b.report)]);
    for (name, of) in [("A", a), ("B", b)] {
        for cell in of.report.cells() {
            if !common.contains(&cell) {
                warnings.push(format!("{} is in {name} only", cell.name()));
            }
        }
        let broken = of.report.runs.iter().filter(|run| !run.holds).count();
        if broken > 0 {
            warnings.push(format!("in {broken} runs of {name} A CHECK DOES NOT HOLD"));
        }
    }
    let mut lines = Vec::new();
    for cell in &common {
        for (figure, path, factor) in FIGURES {
            let side = |of: &E2e| -> Vec<f64> {
                let runs = of.of(cell, Side::Current).into_iter();
                let figure = |run: &E2eRun| run.report.pointer(path).and_then(Value::as_f64);
                runs.map(|run| figure(run).unwrap_or(f64::NAN) * factor)
                    .collect()
            };
            lines.push(Line::of(
                &cell.name(),
                figure,
                [side(&a.report), side(&b.report)],
            )?);
        }
    }
    Ok(Comparison {
        a: format!("{}, commit {}", a.path.display(), commit(a)),
        b: format!("{}, commit {}", b.path.display(), commit(b)),
        warnings,
        lines,
    })
}

fn compare_saturation([a, b]: &[Source<Saturation>; 2]) -> anyhow::Result<Comparison> {
    let machine = |of: &Source<Saturation>| of.report.host.to_string();
    let mut warnings = machines([machine(a), machine(b)]);
    let mut lines = Vec::new();
    for one in &a.report.saturated {
        let name = one.cell.to_string();
        let Some(other) = b.report.saturated.iter().find(|of| of.cell == one.cell) else {
            warnings.push(format!("{name} is in A only"));
            continue;
        };
        let (Some(knee_a), Some(knee_b)) = (one.curve.knee(), other.curve.knee()) else {
            warnings.push(format!(
                "{name} has no knee in both: not even the low load holds"
            ));
            continue;
        };
        for (of, curve) in [("A", &one.curve), ("B", &other.curve)] {
            if curve.is_open_ended {
                warnings.push(format!(
                    "{name}: the knee of {of} lies above what was tried"
                ));
            }
        }
        let low = |us: u64| us as f64 / 1e3;
        let figures = [
            ("knee, envelopes/s", knee_a.rate, knee_b.rate),
            (
                "p99 at low load, ms",
                low(one.curve.low_p99_us),
                low(other.curve.low_p99_us),
            ),
            (
                "p50 at the knee, ms",
                low(knee_a.p50_us),
                low(knee_b.p50_us),
            ),
            ("CPU at the knee, us", knee_a.cpu_us, knee_b.cpu_us),
        ];
        for (figure, a, b) in figures {
            lines.push(Line::of(&name, figure, [vec![a], vec![b]])?);
        }
    }
    for other in &b.report.saturated {
        if !a.report.saturated.iter().any(|of| of.cell == other.cell) {
            warnings.push(format!("{} is in B only", other.cell));
        }
    }
    Ok(Comparison {
        a: format!("{}, commit {}", a.path.display(), a.report.commit),
        b: format!("{}, commit {}", b.path.display(), b.report.commit),
        warnings,
        lines,
    })
}

fn machines([a, b]: [String; 2]) -> Vec<String> {
    if a == b {
        return Vec::new();
    }
    vec![format!("different machines: A on {a}; B on {b}")]
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "A: {}\nB: {}", self.a, self.b)?;
        for warning in &self.warnings {
            writeln!(f, "note: {warning}")?;
        }
        let mut cell = "";
        for line in &self.lines {
            if line.cell != cell {
                cell = &line.cell;
                writeln!(f, "\n{cell}")?;
            }
            let [a, b] = line.medians;
            writeln!(
                f,
                "  {:<22}{a:>10.2}{b:>10.2}   {}",
                line.figure,
                line.words()
            )?;
        }
        writeln!(
            f,
            "\nMedians of the runs, A and then B. This describes; whether B is slower is judged by runs in turns: e2e \
             --against, gate."
        )
    }
}

/// Name and unit, where it stands in the report of `localnet`, and what its number is multiplied with.
const FIGURES: [(&str, &str, f64); 5] = [
    ("settled/s", "/throughput_tps", 1.0),
    ("settled p50, ms", "/latency_us/settled/p50", 1e-3),
    ("settled p99, ms", "/latency_us/settled/p99", 1e-3),
    ("settled p99.9, ms", "/latency_us/settled/p999", 1e-3),
    ("lost", "/lost", 1.0),
];

#[cfg(test)]
mod tests;
