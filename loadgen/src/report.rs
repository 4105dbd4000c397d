//! What a run of the command reports: as text, JSON, CSV, HdrHistogram log and a page of plots.

mod html;
mod plots;
mod text;

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::hlog;
use crate::host::{COMMIT, Host};
use crate::hostile::HostileOutcome;
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
    /// The rollups, with their weights where there are several.
    pub rollups: String,
    /// Bytes of payload in each envelope.
    pub payload_len: usize,
    /// Sealed envelopes, or open ones.
    pub sealed: bool,
    /// Acks were all that was waited for.
    #[serde(default)]
    pub acks_only: bool,
    /// What became of it.
    pub outcome: LoadOutcome,
}

impl LoadReport {
    /// Of this binary on this host, with nothing measured.
    pub(crate) fn here() -> Self {
        Self {
            commit: COMMIT.to_owned(),
            host: Host::read(),
            ..Self::default()
        }
    }

    /// Whether everything accepted was settled, no two notices disagree on a place, and nothing was ordered that every node
    /// must refuse.
    pub fn holds(&self) -> bool {
        self.checks().iter().all(|(_, holds)| *holds)
    }

    /// What must hold, in words, and whether it does.
    fn checks(&self) -> Vec<(&'static str, bool)> {
        let outcome = &self.outcome;
        let mut checks = Vec::new();
        if !self.acks_only {
            checks.push(("nothing accepted was lost", outcome.tally.lost == 0));
            checks.push((
                "notices agree on every place",
                outcome.order_disagreements == 0,
            ));
        }
        if !outcome.hostile.is_empty() {
            let holds = outcome.hostile.iter().all(HostileOutcome::holds);
            checks.push(("nothing forged was ordered", holds));
        }
        checks
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
