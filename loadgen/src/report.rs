//! What a run of the command reports: as text, JSON, CSV, HdrHistogram log and a page of plots.

mod html;
mod plots;

use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use fairlane_engine::types::RollupId;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::hlog;
use crate::host::{COMMIT, Host};
use crate::latencies::{Stage, histogram};
use crate::outcome::LoadOutcome;

pub(crate) use html::write as write_html;

/// Everything about one run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LoadReport {
    /// Commit of the load generator.
    pub commit: String,
    /// The machine that it ran on.
    pub host: Host,
    /// The load, in words.
    pub load: String,
    /// How many authorities the committee has.
    pub authorities: u32,
    /// The rollup.
    pub rollup: u64,
    /// Bytes of payload in each envelope.
    pub payload_len: usize,
    /// Sealed envelopes, or open ones.
    pub sealed: bool,
    /// What became of it.
    pub outcome: LoadOutcome,
}

impl LoadReport {
    pub(crate) fn new(
        load: String,
        authorities: u32,
        rollup: RollupId,
        payload_len: usize,
        sealed: bool,
        outcome: LoadOutcome,
    ) -> Self {
        Self {
            commit: COMMIT.to_owned(),
            host: Host::read(),
            load,
            authorities,
            rollup: rollup.0,
            payload_len,
            sealed,
            outcome,
        }
    }

    /// Whether everything accepted was settled and no two notices disagree on a place.
    pub const fn holds(&self) -> bool {
        self.outcome.tally.lost == 0 && self.outcome.order_disagreements == 0
    }

    /// All latencies to `stage`, from its intervals.
    fn histogram(&self, stage: Stage) -> Histogram<u64> {
        let mut all = histogram();
        let intervals = self.outcome.intervals.iter();
        for interval in intervals.filter(|interval| interval.stage == stage) {
            for (latency_us, count) in &interval.counts {
                all.saturating_record_n(*latency_us, *count);
            }
        }
        all
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.sealed { "sealed" } else { "open" };
        let outcome = &self.outcome;
        let (tally, offering) = (&outcome.tally, &outcome.offering);
        writeln!(f, "fairlane-loadgen, commit {}", self.commit)?;
        writeln!(f, "  {}", self.host)?;
        writeln!(
            f,
            "  {} authorities, rollup {}, {kind} envelopes of {} bytes",
            self.authorities, self.rollup, self.payload_len
        )?;
        writeln!(f, "  {}", self.load)?;
        writeln!(f, "\nenvelopes")?;
        writeln!(
            f,
            "  offered {}  accepted {}  refused {}  unanswered {}",
            tally.offered, tally.accepted, tally.refused, tally.unanswered
        )?;
        for (code, count) in &tally.refused_by_code {
            writeln!(f, "    refused {code}: {count}")?;
        }
        writeln!(f, "  settled {}  lost {}", tally.settled, tally.lost)?;
        writeln!(
            f,
            "  planned {:.0} a second, sent {:.0}, settled {:.0}",
            offering.planned_tps, offering.achieved_tps, outcome.throughput_tps
        )?;
        if outcome.resent > 0 {
            writeln!(f, "  datagrams sent again {}", outcome.resent)?;
        }
        write!(f, "\n{}", outcome.latency_us)?;
        writeln!(f, "\nload generator")?;
        writeln!(
            f,
            "  sent p99 {:.2} ms after the planned time, {} sealed late: {}",
            offering.send_lag_us.p99 as f64 / 1e3,
            offering.sealed_late,
            match offering.was_limited {
                true => "IT WAS THE LIMIT, read no latency above as the committee's",
                false => "it was not the limit",
            }
        )?;
        if outcome.is_stopped {
            writeln!(f, "  stopped before its plan was over")?;
        }
        if !outcome.is_drained {
            writeln!(f, "  gave up waiting for what was still open")?;
        }
        writeln!(f, "\nchecks")?;
        let verdict = |holds| if holds { "holds" } else { "DOES NOT HOLD" };
        let lost = verdict(tally.lost == 0);
        writeln!(f, "  nothing accepted was lost        {lost}")?;
        let agree = verdict(outcome.order_disagreements == 0);
        writeln!(f, "  notices agree on every place     {agree}")
    }
}

pub(crate) fn write_hlog(path: &Path, report: &LoadReport) -> std::io::Result<()> {
    let comments = [
        format!("fairlane-loadgen, commit {}", report.commit),
        report.load.clone(),
    ];
    hlog::write_file(path, &comments, &report.outcome)
}

/// A line a percentile and stage: those that HdrHistogram's own output has, five to each halving of the distance to 1.
pub(crate) fn write_csv(path: &Path, report: &LoadReport) -> std::io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    writeln!(file, "stage,quantile,latency_us,count_at_or_below")?;
    for stage in Stage::ALL {
        let all = report.histogram(stage);
        let mut count = 0;
        for value in all.iter_quantiles(CSV_TICKS_PER_HALVING) {
            count += value.count_since_last_iteration();
            writeln!(
                file,
                "{},{:.9},{},{}",
                stage.name(),
                value.quantile_iterated_to(),
                value.value_iterated_to(),
                count
            )?;
        }
    }
    file.flush()
}

const CSV_TICKS_PER_HALVING: u32 = 5;

#[cfg(test)]
mod tests;
