//! Where a committee saturates: latency against throughput, and the knee of that curve by a stated rule.
//!
//! Each committee of the matrix is started once, and rates are offered to it one after the other, open loop: arrivals are a
//! Poisson process that waits for nobody, and every latency counts from the planned time, so that a committee that falls
//! behind cannot hide it by slowing its clients down (coordinated omission). See [`knee`] for the rule and the search.
//!
//! Everybody shares this machine: authorities, settlement worker, load generator. What is found is the knee of all of them
//! together on this host, not of a committee whose members have a host each.

pub mod knee;
pub mod page;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use fairlane_loadgen::LoadOutcome;
use fairlane_loadgen::arrivals::Rate;
use fairlane_loadgen::host::{COMMIT, Host};
use fairlane_loadgen::latencies::Stage;
use fairlane_net::config::BackendName;
use serde::{Deserialize, Serialize};

use crate::live::committee::{Committee, CommitteePlan, offer};
use knee::{Curve, Offer, Rule, Seen};

/// What is run.
#[derive(Clone, Debug)]
pub struct SaturatePlan {
    /// Folder for saturate.json and saturate.html.
    pub out: PathBuf,
    /// The fairlane binary.
    pub fairlane: PathBuf,
    /// The committees.
    pub cells: Vec<Cell>,
    /// How long each rate is offered.
    pub step: Duration,
    /// What counts as holding, and where the search begins.
    pub rule: Rule,
}

/// One committee of the matrix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// Authorities.
    pub nodes: u8,
    /// How they use the network.
    pub backend: BackendName,
    /// Open envelopes instead of sealed ones.
    pub open: bool,
    /// Bytes of payload in each.
    pub payload: usize,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.open { "open" } else { "sealed" };
        let backend = match self.backend {
            BackendName::Auto => "auto",
            BackendName::Uring => "uring",
            BackendName::Mio => "mio",
        };
        let Self { nodes, payload, .. } = self;
        write!(f, "n{nodes}-{kind}-payload{payload}-{backend}")
    }
}

/// What was found for one committee.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Saturated {
    /// Which.
    pub cell: Cell,
    /// The steps and what follows from them.
    #[serde(flatten)]
    pub curve: Curve,
}

/// All committees, and what they ran on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Saturation {
    /// The machine.
    pub host: Host,
    /// What was measured.
    pub commit: String,
    /// How long each rate was offered, seconds.
    pub step_s: f64,
    /// What counts as holding.
    pub rule: Rule,
    /// In the order of the plan.
    pub saturated: Vec<Saturated>,
}

/// Runs the matrix, telling of each step; writes the results into the plan's folder.
///
/// Errors: the host or the binary, or an authority that ends.
pub fn run(plan: &SaturatePlan, tell: &mut dyn FnMut(&str)) -> anyhow::Result<Saturation> {
    std::fs::create_dir_all(&plan.out)
        .with_context(|| format!("cannot make the folder {}", plan.out.display()))?;
    let mut all = Saturation {
        host: Host::read(),
        commit: COMMIT.to_owned(),
        step_s: plan.step.as_secs_f64(),
        rule: plan.rule,
        saturated: Vec::new(),
    };
    for cell in &plan.cells {
        let curve = run_cell(plan, cell, tell)?;
        all.saturated.push(Saturated {
            cell: cell.clone(),
            curve,
        });
        let json = serde_json::to_string_pretty(&all)? + "\n";
        write(&plan.out, "saturate.json", &json)?;
    }
    write(&plan.out, "saturate.html", &page::page(&all)?)?;
    Ok(all)
}

fn run_cell(plan: &SaturatePlan, cell: &Cell, tell: &mut dyn FnMut(&str)) -> anyhow::Result<Curve> {
    let mut committee = Committee::start(&CommitteePlan {
        backend: cell.backend,
        ..CommitteePlan::local(&plan.fairlane, cell.nodes)?
    })?;
    let curve = knee::find(&plan.rule, &mut |offered: Offer| {
        let cpu_before = committee.cpu_us();
        let rate = Rate::Constant(offered.rate);
        let outcome = offer(&committee.directory, &rate, plan.step, |config| {
            config.open = cell.open;
            config.payload_len = cell.payload;
        })?;
        committee.check_all_run()?;
        anyhow::ensure!(!outcome.is_stopped, "interrupted");
        let cpu_us = committee.cpu_us().saturating_sub(cpu_before);
        let seen = seen(&outcome, cpu_us);
        tell(&format!("{cell}: {seen}"));
        Ok(seen)
    })?;
    committee.stop()?;
    Ok(curve)
}

/// One run as the search takes it.
fn seen(outcome: &LoadOutcome, cpu_us: u64) -> Seen {
    let settled = outcome.latency_us.settled;
    let intervals = outcome.intervals.iter();
    let counts = intervals
        .filter(|interval| interval.stage == Stage::Settled)
        .flat_map(|interval| interval.counts.iter().copied());
    Seen {
        offered: outcome.tally.offered,
        offered_tps: outcome.offering.planned_tps,
        settled: outcome.tally.settled,
        refused: outcome.tally.refused,
        lost: outcome.tally.lost + outcome.tally.unanswered,
        settled_tps: outcome.throughput_tps,
        p50_us: settled.p50,
        p99_us: settled.p99,
        p999_us: settled.p999,
        cpu_us: cpu_us as f64 / settled.count.max(1) as f64,
        was_limited: outcome.offering.was_limited,
        counts: counts.collect(),
    }
}

impl Saturation {
    /// Whether every committee has a knee, or holds all that was offered.
    pub fn holds(&self) -> bool {
        let mut all = self.saturated.iter();
        all.all(|of| of.curve.knee().is_some())
    }
}

impl fmt::Display for Saturation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}; commit {}; {} s a step",
            self.host, self.commit, self.step_s
        )?;
        writeln!(f, "{}", self.rule)?;
        for Saturated { cell, curve } in &self.saturated {
            writeln!(f, "\n{cell}\n{curve}")?;
        }
        Ok(())
    }
}

fn write(folder: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let path = folder.join(name);
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}
