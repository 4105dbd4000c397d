//! Several times as much load as the committee can take: does it keep working, answer everybody, and recover?
//!
//! First the highest rate that holds is looked for. Then one run on the same committee: half of that rate, several times
//! it, half of it again; all envelopes sealed ahead, so that the client's work does not show as the committee's. Beside it a
//! second client sends little: it must be served as if the first were not there.
//!
//! Committee and clients share the processors of one machine, so the report says what each spent before and during the
//! overload ([`Cost`]): what the clients take is not there for the nodes, whatever these do.

use std::fmt;
use std::num::NonZero;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::bail;
use fairlane_loadgen::LoadOutcome;
use fairlane_loadgen::arrivals::Rate;
use fairlane_loadgen::latencies::{Interval, Stage};
use fairlane_net::localnet::children::read_cpu_us;
use fairlane_net::localnet::search::{self, Step};
use fairlane_net::node::{NodeReport, process_cpu_us};
use fairlane_net::stage::waiting::ReceiveMode;
use serde::Serialize;

use super::Check;
use super::committee::{Committee, CommitteePlan, offer, resident_bytes};

/// What is run.
#[derive(Clone, Debug)]
pub struct OverloadPlan {
    /// Authorities.
    pub authorities: u8,
    /// Open envelopes instead of sealed ones.
    pub open: bool,
    /// So many times the highest rate that holds.
    pub times: f64,
    /// For how long.
    pub duration: Duration,
    /// The highest rate, where it is known and not to be looked for.
    pub peak: Option<f64>,
    /// When nodes take what comes.
    pub receive: ReceiveMode,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct OverloadReport {
    /// Highest rate that held, envelopes a second.
    pub peak: f64,
    /// The rates that were tried for it.
    pub search: Vec<Step>,
    /// Offered during the overload, envelopes a second.
    pub offered_rate: f64,
    /// Settled a second during it.
    pub goodput: f64,
    /// The load's outcome.
    pub outcome: LoadOutcome,
    /// The modest client's.
    pub modest: LoadOutcome,
    /// Settled in each second, and the 99th percentile of these from their planned time, ms.
    pub seconds: Vec<(u64, u64, f64)>,
    /// Resident memory of all nodes together each half second, MiB.
    pub resident_mib: Vec<u64>,
    /// Processor seconds during the run: of all nodes, and of the clients.
    pub processor_s: (f64, f64),
    /// What it cost at half the peak, and during the overload.
    pub costs: Vec<Cost>,
    /// What the nodes did in the whole run, each figure the mean of all nodes.
    pub nodes: NodeFigures,
    /// Each bound, and whether it holds.
    pub checks: Vec<Check>,
}

/// What a part of the run cost in processor time.
#[derive(Clone, Debug, Serialize)]
pub struct Cost {
    /// Which part.
    pub what: String,
    /// Settled a second, both clients'.
    pub settled: f64,
    /// Processor time of all nodes for each settled envelope, microseconds.
    pub nodes_us: f64,
    /// Part of all processors that the nodes had.
    pub nodes_part: f64,
    /// Part of all processors that the clients had.
    pub clients_part: f64,
}

/// What nodes did, the mean of all.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct NodeFigures {
    /// Envelopes taken, from clients and from authorities.
    pub accepted: u64,
    /// Of these, fetched from authorities that listed them.
    pub fetched: u64,
    /// Submissions answered Busy by the IO stage.
    pub busy: u64,
    /// Time for proofs of submissions, for verifying what authorities sent (with proofs of what was fetched), in the
    /// engine, for shares, for opening; ms.
    pub steps_ms: [u64; 5],
}

/// What the sampler saw at an instant.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// Since the load was asked for.
    at: Duration,
    /// Resident memory of all nodes together, bytes.
    resident: u64,
    /// Processor time of all nodes, and of this process, so far, microseconds.
    cpu_us: (u64, u64),
}

impl OverloadReport {
    /// Whether every bound holds.
    pub fn holds(&self) -> bool {
        self.checks.iter().all(|check| check.holds)
    }
}

/// Runs it. Errors: the host or the binary, or an authority that ends.
pub fn run(
    plan: &OverloadPlan,
    fairlane: &Path,
    progress: &mut dyn FnMut(&str),
) -> anyhow::Result<OverloadReport> {
    let mut committee = CommitteePlan::local(fairlane, plan.authorities)?;
    committee.receive = plan.receive;
    let mut committee = Committee::start(&committee)?;
    let (peak, search) = match plan.peak {
        Some(peak) => (peak, Vec::new()),
        None => find_peak(plan, &committee, progress)?,
    };
    progress(&format!("highest rate that holds: {peak:.0} a second"));

    // Equal pieces: one before, as many as the overload takes, one after.
    let piece = plan.duration / OVERLOAD_PIECES;
    let offered_rate = peak * plan.times;
    let mut rates = vec![peak / 2.0];
    rates.extend([offered_rate].repeat(OVERLOAD_PIECES as usize));
    rates.push(peak / 2.0);
    let total = piece * (OVERLOAD_PIECES + 2);
    let offered: f64 = rates.iter().map(|rate| rate * piece.as_secs_f64()).sum();
    let lead = LEAD_MIN + SEALING_TIME.mul_f64(if plan.open { 0.0 } else { offered });
    let is_over = AtomicBool::new(false);
    let spent_before = (committee.cpu_us(), process_cpu_us());
    let (outcome, modest, samples) = std::thread::scope(|scope| {
        let (directory, pids) = (&committee.directory, committee.pids());
        let is_over = &is_over;
        let sampler = scope.spawn(move || sample(&pids, lead, is_over));
        let modest = scope.spawn(|| {
            let rate = Rate::Constant(MODEST_RATE);
            offer(directory, &rate, total, |config| {
                config.open = plan.open;
                config.lead = lead;
            })
        });
        let outcome = offer(directory, &Rate::Steps(rates), total, |config| {
            config.open = plan.open;
            config.lead = lead;
            config.look_ahead = LOOK_AHEAD;
            config.look_ahead_time = lead + total;
        });
        let modest = modest.join();
        is_over.store(true, Ordering::Relaxed);
        match (modest, sampler.join()) {
            (Ok(modest), Ok(resident)) => anyhow::Ok((outcome?, modest?, resident?)),
            _ => bail!("a thread of the trial panicked; its message is above"),
        }
    })?;
    let spent = |now: u64, before: u64| now.saturating_sub(before) as f64 / 1e6;
    let processor_s = (
        spent(committee.cpu_us(), spent_before.0),
        spent(process_cpu_us(), spent_before.1),
    );
    committee.check_all_run()?;
    let nodes = node_figures(&committee.stop()?);
    let mut report = OverloadReport {
        peak,
        search,
        offered_rate,
        goodput: 0.0,
        processor_s,
        seconds: seconds(&outcome.intervals),
        resident_mib: samples.iter().map(|sample| sample.resident >> 20).collect(),
        costs: Vec::new(),
        nodes,
        outcome,
        modest,
        checks: Vec::new(),
    };
    let parts = [
        ("half the peak", 1, piece.as_secs()),
        (
            "overload",
            piece.as_secs() + 2,
            (piece * (OVERLOAD_PIECES + 1)).as_secs(),
        ),
    ];
    let cost = |(what, from, to)| cost(what, &report, &samples, from..to);
    report.costs = parts.into_iter().map(cost).collect();
    judge(plan, &mut report, piece);
    Ok(report)
}

fn find_peak(
    plan: &OverloadPlan,
    committee: &Committee,
    progress: &mut dyn FnMut(&str),
) -> anyhow::Result<(f64, Vec<Step>)> {
    let found = search::highest_rate(PEAK_TIME, |rate, duration| {
        progress(&format!("trying {rate:.0} a second"));
        offer(
            &committee.directory,
            &Rate::Constant(rate),
            duration,
            |config| {
                config.open = plan.open;
            },
        )
    })?;
    let best = found.steps.iter().rev().find(|step| step.held);
    match best {
        Some(step) => Ok((step.rate, found.steps)),
        None => bail!("no rate holds on this machine"),
    }
}

/// Looks at the processes each half second; times count from the first planned envelope.
fn sample(pids: &[u32], lead: Duration, is_over: &AtomicBool) -> anyhow::Result<Vec<Sample>> {
    let begun = Instant::now();
    let mut samples = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let resident = pids.iter().map(|pid| resident_bytes(*pid));
        let cpu_us = pids.iter().filter_map(|pid| read_cpu_us(*pid)).sum();
        // Before the first is planned nobody asks.
        if let Some(at) = begun.elapsed().checked_sub(lead) {
            samples.push(Sample {
                at,
                resident: resident.sum::<anyhow::Result<u64>>()?,
                cpu_us: (cpu_us, process_cpu_us()),
            });
        }
        std::thread::sleep(SAMPLE_EVERY);
    }
    Ok(samples)
}

/// What the seconds of the run in `range` cost.
fn cost(what: &str, report: &OverloadReport, samples: &[Sample], range: Range<u64>) -> Cost {
    let modest = seconds(&report.modest.intervals);
    let all = report.seconds.iter().chain(&modest);
    let within = all.filter(|(second, ..)| range.contains(second));
    let settled: u64 = within.map(|(_, settled, _)| settled).sum();
    let first_from = |second| {
        let mut from = samples
            .iter()
            .filter(move |sample| sample.at.as_secs() >= second);
        from.next()
    };
    let (Some(first), Some(last)) = (first_from(range.start), first_from(range.end)) else {
        return Cost {
            what: what.to_owned(),
            settled: 0.0,
            nodes_us: 0.0,
            nodes_part: 0.0,
            clients_part: 0.0,
        };
    };
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    let time_us = (last.at - first.at).as_micros() as f64;
    let nodes_us = (last.cpu_us.0 - first.cpu_us.0) as f64;
    let clients_us = (last.cpu_us.1 - first.cpu_us.1) as f64;
    Cost {
        what: what.to_owned(),
        settled: settled as f64 / (range.end - range.start).max(1) as f64,
        nodes_us: nodes_us / settled.max(1) as f64,
        nodes_part: nodes_us / (time_us * processors as f64),
        clients_part: clients_us / (time_us * processors as f64),
    }
}

fn node_figures(reports: &[NodeReport]) -> NodeFigures {
    let mean = |of: &dyn Fn(&NodeReport) -> u64| {
        reports.iter().map(of).sum::<u64>() / reports.len().max(1) as u64
    };
    let engine = |name| mean(&|report| report.engine.get(name).copied().unwrap_or_default());
    let step = |of: &dyn Fn(&NodeReport) -> u64| mean(of) / 1_000_000;
    NodeFigures {
        accepted: engine("accepted"),
        fetched: engine("fetched"),
        busy: mean(&|report| report.io.busy),
        steps_ms: [
            step(&|report| report.steps.proof.ns),
            step(&|report| report.steps.verify.ns),
            step(&|report| report.steps.engine.ns),
            step(&|report| report.steps.reveal.ns),
            step(&|report| report.steps.open.ns),
        ],
    }
}

fn seconds(intervals: &[Interval]) -> Vec<(u64, u64, f64)> {
    let settled = intervals
        .iter()
        .filter(|interval| interval.stage == Stage::Settled);
    settled
        .map(|interval| {
            let count: u64 = interval.counts.iter().map(|(_, count)| count).sum();
            (
                interval.start_us / 1_000_000,
                count,
                quantile_ms(&interval.counts, count),
            )
        })
        .collect()
}

/// 99th percentile of counted values in ascending order, ms.
fn quantile_ms(counts: &[(u64, u64)], total: u64) -> f64 {
    let wanted = (total * 99).div_ceil(100);
    let mut seen = 0;
    for (us, count) in counts {
        seen += count;
        if seen >= wanted {
            return *us as f64 / 1e3;
        }
    }
    0.0
}

fn judge(plan: &OverloadPlan, report: &mut OverloadReport, piece: Duration) {
    let (begins, ends) = (piece.as_secs(), (piece * (OVERLOAD_PIECES + 1)).as_secs());
    // The first two seconds fill the queues.
    let within = |second: u64| (begins + 2..ends).contains(&second);
    let settled: u64 = report
        .seconds
        .iter()
        .filter(|(second, ..)| within(*second))
        .map(|(_, settled, _)| settled)
        .sum();
    report.goodput = settled as f64 / (ends - begins - 2).max(1) as f64;
    let mut checks = Vec::new();
    let mut check = |what: String, seen: String, holds| checks.push(Check::new(what, seen, holds));
    let part = report.goodput / report.peak;
    check(
        format!(
            "goodput at {} times the peak: at least 90 % of it",
            plan.times
        ),
        format!("{:.0} a second, {:.0} %", report.goodput, part * 100.0),
        part >= 0.9,
    );
    let tally = &report.outcome.tally;
    check(
        "every envelope is answered".into(),
        format!("{} unanswered of {}", tally.unanswered, tally.offered),
        tally.unanswered == 0,
    );
    check(
        "nothing accepted is lost".into(),
        format!("{} lost of {}", tally.lost, tally.accepted),
        tally.lost == 0 && report.modest.tally.lost == 0,
    );
    let during = report.seconds.iter().filter(|(second, ..)| within(*second));
    let slowest = during.map(|(_, _, p99)| *p99).fold(0.0, f64::max);
    check(
        format!("accepted: p99 to settled at most {P99_MS_MAX} ms in any second"),
        format!("{slowest:.0} ms"),
        slowest <= P99_MS_MAX,
    );
    let at = |second: u64| {
        let after = report.seconds.iter().filter(move |(of, ..)| *of >= second);
        after.map(|(_, _, p99)| *p99).fold(0.0, f64::max)
    };
    let recovered = (ends..ends + piece.as_secs()).find(|second| at(*second) <= RECOVERED_MS);
    check(
        format!("a second after it, p99 to settled is below {RECOVERED_MS} ms"),
        match recovered {
            Some(second) => format!("from second {} on", second - ends),
            None => format!("never; {:.0} ms at the end", at(ends + piece.as_secs() - 1)),
        },
        recovered.is_some_and(|second| second <= ends + 1),
    );
    let (offered, accepted) = (report.modest.tally.offered, report.modest.tally.accepted);
    check(
        "a client that sends little beside it: 99.9 % accepted".into(),
        format!("{accepted} of {offered}"),
        accepted as f64 >= 0.999 * offered as f64,
    );
    let (early, late) = memory(&report.resident_mib, begins, ends);
    check(
        format!("memory in its last third: at most {MEMORY_GROWTH} times the middle one"),
        format!("{early} MiB, then {late} MiB"),
        (late as f64) <= MEMORY_GROWTH * early as f64,
    );
    let offering = &report.outcome.offering;
    check(
        "as much was offered as was planned: at least 95 %".into(),
        format!(
            "{:.0} of {:.0} a second",
            offering.achieved_tps, offering.planned_tps
        ),
        offering.achieved_tps >= 0.95 * offering.planned_tps,
    );
    report.checks = checks;
}

/// The largest samples in the second and the last third of the overload, MiB.
fn memory(samples: &[u64], begins: u64, ends: u64) -> (u64, u64) {
    let per_second = 1000 / SAMPLE_EVERY.as_millis() as u64;
    let third = (ends - begins) / 3;
    let most = |from: u64, to: u64| {
        let range = (from * per_second) as usize..(to * per_second) as usize;
        let range = range.start.min(samples.len())..range.end.min(samples.len());
        samples[range].iter().copied().max().unwrap_or_default()
    };
    (
        most(begins + third, begins + 2 * third),
        most(begins + 2 * third, ends),
    )
}

impl fmt::Display for OverloadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "overload: highest rate that holds {:.0} a second, offered {:.0} a second",
            self.peak, self.offered_rate
        )?;
        writeln!(f, "\n  second  settled  p99 ms")?;
        for (second, settled, p99) in &self.seconds {
            writeln!(f, "  {second:>6} {settled:>8} {p99:>7.0}")?;
        }
        let tally = &self.outcome.tally;
        writeln!(
            f,
            "\n  offered {}  accepted {}  refused {}  unanswered {}  settled {}  lost {}",
            tally.offered,
            tally.accepted,
            tally.refused,
            tally.unanswered,
            tally.settled,
            tally.lost
        )?;
        writeln!(f, "  refusals by code {:?}", self.outcome.refusals_by_code)?;
        let (nodes, clients) = self.processor_s;
        writeln!(f, "  processor: nodes {nodes:.1} s, clients {clients:.1} s")?;
        for cost in &self.costs {
            writeln!(
                f,
                "  {:<14} {:.0} settled a second, {:.0} us of the nodes' processor time each; of all processors the nodes \
                 had {:.0} %, the clients {:.0} %",
                cost.what,
                cost.settled,
                cost.nodes_us,
                cost.nodes_part * 100.0,
                cost.clients_part * 100.0
            )?;
        }
        let NodeFigures {
            accepted,
            fetched,
            busy,
            steps_ms: [proof, verify, engine, reveal, open],
        } = self.nodes;
        writeln!(
            f,
            "  a node: {accepted} taken, {fetched} of them fetched, {busy} told Busy; proofs {proof} ms, verify {verify} ms, \
             engine {engine} ms, reveal {reveal} ms, open {open} ms"
        )?;
        let modest = self.modest.latency_us.settled;
        writeln!(
            f,
            "  beside it {MODEST_RATE} a second: settled p50 / p99 {:.1} / {:.1} ms\n",
            modest.p50 as f64 / 1e3,
            modest.p99 as f64 / 1e3
        )?;
        for check in &self.checks {
            writeln!(f, "{check}")?;
        }
        Ok(())
    }
}

/// The overload is so many pieces, with one before and one after it.
const OVERLOAD_PIECES: u32 = 3;
/// Of the client that sends little, envelopes a second.
const MODEST_RATE: f64 = 20.0;
/// In which all is sealed: so long for each, and a little more.
const SEALING_TIME: Duration = Duration::from_micros(70);
const LEAD_MIN: Duration = Duration::from_secs(3);
/// As many sealed envelopes wait in memory at most.
const LOOK_AHEAD: usize = 2_000_000;
/// How long the rate found must hold.
const PEAK_TIME: Duration = Duration::from_secs(8);
const SAMPLE_EVERY: Duration = Duration::from_millis(500);
/// Bound of the latency of what is accepted, in any second of the overload.
const P99_MS_MAX: f64 = 2_000.0;
/// As the search for the highest rate demands it.
const RECOVERED_MS: f64 = 250.0;
/// Accepted envelopes are remembered until they expire, so memory grows for half a minute at any rate.
const MEMORY_GROWTH: f64 = 1.5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_counts_every_value() {
        assert_eq!(quantile_ms(&[(1_000, 99), (5_000, 1)], 100), 1.0);
        assert_eq!(quantile_ms(&[(1_000, 98), (5_000, 2)], 100), 5.0);
        assert_eq!(quantile_ms(&[(7_000, 1)], 1), 7.0);
    }

    #[test]
    fn memory_is_compared_between_the_middle_and_the_last_third() {
        let samples: Vec<u64> = (0..2 * 50).collect();
        // From second 10 to 40: the middle third ends at 30.
        assert_eq!(memory(&samples, 10, 40), (59, 79));
    }
}
