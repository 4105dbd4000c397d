//! What a run reports, ready for JSON: every envelope in one class, every latency from its planned time.

use std::collections::BTreeMap;
use std::fmt;

use fairlane_client::LinkCounts;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::hostile::HostileOutcome;
use crate::latencies::{Interval, Stage};
use crate::races::RaceOutcome;

/// Every envelope in one class: offered = accepted + refused + unanswered, accepted = settled + lost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Planned and given to the client.
    pub offered: u64,
    /// At least one node that was not killed accepted it.
    pub accepted: u64,
    /// Every node that it went to, and that was not killed, refused it.
    pub refused: u64,
    /// `refused` by the code heard first.
    pub refused_by_code: BTreeMap<String, u64>,
    /// The rest.
    pub unanswered: u64,
    /// Accepted, and in a batch that the settlement worker has synced.
    pub settled: u64,
    /// Accepted, and not settled by the end of the run; 0 where acks were all that was waited for.
    pub lost: u64,
    /// Settled, though no node that was not killed accepted it; in no other class but its own.
    pub settled_unaccepted: u64,
}

/// One distribution, in microseconds; all 0 when nothing was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distribution {
    /// How many were measured.
    pub count: u64,
    /// Half are at or below.
    pub p50: u64,
    /// 90 % are at or below.
    pub p90: u64,
    /// 99 % are at or below.
    pub p99: u64,
    /// 99.9 % are at or below.
    pub p999: u64,
    /// The largest.
    pub max: u64,
}

impl Distribution {
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        Self {
            count: histogram.len(),
            p50: histogram.value_at_quantile(0.5),
            p90: histogram.value_at_quantile(0.9),
            p99: histogram.value_at_quantile(0.99),
            p999: histogram.value_at_quantile(0.999),
            max: histogram.max(),
        }
    }
}

/// Microseconds from the planned time of an envelope to the first notice of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatencySummary {
    /// To the first acceptance.
    pub ack: Distribution,
    /// To the first receipt that verifies.
    pub receipt: Distribution,
    /// To the first notice of its place in the order.
    pub ordered: Distribution,
    /// To the notice that its batch is synced by the settlement worker.
    pub settled: Distribution,
}

impl LatencySummary {
    /// Each stage and its distribution, in the order in which they are reached.
    pub const fn stages(&self) -> [(Stage, Distribution); 4] {
        [
            (Stage::Ack, self.ack),
            (Stage::Receipt, self.receipt),
            (Stage::Ordered, self.ordered),
            (Stage::Settled, self.settled),
        ]
    }
}

/// A table in milliseconds, a line a stage.
impl fmt::Display for LatencySummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "latency from the planned send time, ms")?;
        write!(f, "  {:<9}", "")?;
        for name in ["p50", "p90", "p99", "p99.9", "max"] {
            write!(f, "{name:>9}")?;
        }
        writeln!(f)?;
        for (stage, latency) in self.stages() {
            write!(f, "  {:<9}", stage.name())?;
            let Distribution {
                p50,
                p90,
                p99,
                p999,
                max,
                ..
            } = latency;
            for value in [p50, p90, p99, p999, max] {
                write!(f, "{:>9.2}", value as f64 / 1e3)?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// Whether the load that was planned is the load that was offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Offering {
    /// From the start to the last planned envelope, in seconds.
    pub planned_s: f64,
    /// Envelopes a second that were planned.
    pub planned_tps: f64,
    /// Envelopes a second that were given to the client.
    pub achieved_tps: f64,
    /// How long after their planned time envelopes were given to the client, in microseconds.
    pub send_lag_us: Distribution,
    /// The mean of it, in microseconds.
    pub send_lag_mean_us: f64,
    /// Envelopes that were sealed only after their planned time.
    pub sealed_late: u64,
    /// The load generator itself was the limit: read no latency of this run as the committee's.
    pub was_limited: bool,
    /// More than one in a hundred envelopes was sealed too late: if it was the limit, this is what limited it.
    #[serde(default)]
    pub sealing_was_limit: bool,
}

/// What the link to one authority went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkOutcome {
    /// Submissions that found the link down or its queue full.
    pub undelivered: u64,
    /// Times it went live.
    pub connects: u64,
    /// Times it was live and broke.
    pub disconnects: u64,
    /// Receipts that did not verify.
    pub receipts_refused: u64,
}

impl From<LinkCounts> for LinkOutcome {
    fn from(counts: LinkCounts) -> Self {
        Self {
            undelivered: counts.undelivered,
            connects: counts.connects,
            disconnects: counts.disconnects,
            receipts_refused: counts.receipts_refused,
        }
    }
}

/// A sealing key of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KeyUse {
    /// Its name, in hexadecimal.
    pub key_id: String,
    /// The epoch that it is for.
    pub epoch: u32,
    /// When the client took it, after f + 1 authorities had vouched for it, in seconds from the start of the load; 0 for the
    /// one that it began with.
    pub from_s: f64,
    /// Envelopes sent that are sealed to it; open ones name it, too.
    pub envelopes: u64,
}

/// What became of one rollup's part of a mixed load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollupOutcome {
    /// The rollup.
    pub rollup: u64,
    /// Its weight in the mix.
    pub weight: u32,
    /// Envelopes for it that were given to the client.
    pub offered: u64,
    /// Those that a node accepted.
    pub accepted: u64,
    /// Those that every node refused.
    pub refused: u64,
    /// Those that were settled.
    pub settled: u64,
    /// Microseconds from the planned time to settlement.
    pub settled_us: Distribution,
}

/// Refusing answers within one second.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalSecond {
    /// Which second of the run, from 0.
    pub second: u64,
    /// Answers by code, every node's counted.
    pub by_code: BTreeMap<String, u64>,
}

/// What became of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LoadOutcome {
    /// Every envelope in one class.
    #[serde(flatten)]
    pub tally: Tally,
    /// Settled envelopes a second, from the start to the last settlement.
    pub throughput_tps: f64,
    /// Latencies.
    pub latency_us: LatencySummary,
    /// The same second by second; not in the JSON, see [`crate::hlog`].
    #[serde(skip)]
    pub intervals: Vec<Interval>,
    /// When the run began, microseconds since the Unix epoch.
    pub start_us: u64,
    /// Planned against offered.
    pub offering: Offering,
    /// Envelopes neither settled nor refused when the last one had been sent.
    pub backlog: u64,
    /// The same in seconds of the planned load.
    pub backlog_s: f64,
    /// Refusing answers by code, every node's counted.
    pub refusals_by_code: BTreeMap<String, u64>,
    /// The same for each second that has any.
    #[serde(default)]
    pub refusals_by_second: Vec<RefusalSecond>,
    /// Envelopes planned for each second of the run that has any, with the second.
    #[serde(default)]
    pub offered_by_second: Vec<(u64, u64)>,
    /// By rollup; empty where the load is for one.
    #[serde(default)]
    pub rollups: Vec<RollupOutcome>,
    /// Cancels against takes, by how far apart they were due; empty where there were no races.
    #[serde(default)]
    pub races: Vec<RaceOutcome>,
    /// Clients of a closed loop, whose latencies do not count what waited to be sent; 0 for an open loop.
    #[serde(default)]
    pub closed_clients: u32,
    /// What became of hostile traffic, by kind; its answers are in no other figure.
    #[serde(default)]
    pub hostile: Vec<HostileOutcome>,
    /// Envelopes with a receipt that verifies.
    pub receipts: u64,
    /// Receipts that were wanted and do not verify.
    pub receipts_refused: u64,
    /// Notices that put an envelope elsewhere than an earlier notice did: 0, or two nodes disagree on the order.
    pub order_disagreements: u64,
    /// Notices about envelopes that the node was never sent, or had answered already.
    pub stray_notices: u64,
    /// The sealing keys, in the order in which the client took them.
    pub keys: Vec<KeyUse>,
    /// Notices of keys that counted for nothing.
    pub keys_refused: u64,
    /// Datagrams sent again; 0 over TCP.
    #[serde(default)]
    pub resent: u64,
    /// Envelopes sent again as every authority had told them Busy.
    #[serde(default)]
    pub retried: u64,
    /// How often, all together.
    #[serde(default)]
    pub retries: u64,
    /// By authority.
    pub links: Vec<LinkOutcome>,
    /// Whether every envelope came to its end before the drain timeout.
    pub is_drained: bool,
    /// Whether the caller stopped the run before its plan was over.
    pub is_stopped: bool,
}
