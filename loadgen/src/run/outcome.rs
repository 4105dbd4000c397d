//! Puts together what became of a run.

use std::collections::BTreeMap;

use fairlane_client::protocol::AckCode;
use fairlane_engine::types::{AuthorityIndex, AuthoritySet};

use super::{Run, ratio, seconds};
use crate::hostile::HostileOutcome;
use crate::latencies::Stage;
use crate::ledger::RefusalCounts;
use crate::outcome::{
    Distribution, LatencySummary, LinkOutcome, LoadOutcome, Offering, RefusalSecond,
};
use crate::rollups::RollupShare;

impl Run {
    /// What became of everything, without what `killed` nodes said.
    pub(super) fn outcome(
        &mut self,
        killed: AuthoritySet,
        rollups: &[RollupShare],
        closed_clients: u32,
    ) -> LoadOutcome {
        let hostile = self.hostile_outcomes();
        let ledger = &self.ears.honest.ledger;
        let (counts, latencies) = (&ledger.counts, &ledger.latencies);
        let authorities = 0..self.ears.honest.failures.len();
        let races = self.races.outcomes(|tag| ledger.place(tag));
        LoadOutcome {
            tally: ledger.tally(killed),
            throughput_tps: ratio(counts.settled as f64, seconds(ledger.last_settled_us())),
            latency_us: LatencySummary {
                ack: Distribution::of(latencies.total(Stage::Ack)),
                receipt: Distribution::of(latencies.total(Stage::Receipt)),
                ordered: Distribution::of(latencies.total(Stage::Ordered)),
                settled: Distribution::of(latencies.total(Stage::Settled)),
            },
            offering: self.offering(closed_clients > 0),
            refusals_by_code: by_code(&counts.refusals),
            refusals_by_second: ledger
                .refusals_by_second()
                .iter()
                .map(|(second, refusals)| RefusalSecond {
                    second: *second,
                    by_code: by_code(refusals),
                })
                .collect(),
            offered_by_second: ledger
                .offered_by_second()
                .iter()
                .map(|(second, count)| (*second, *count))
                .collect(),
            rollups: ledger.by_rollup(rollups, killed),
            races,
            hostile,
            closed_clients,
            intervals: latencies.intervals(),
            receipts: counts.receipted,
            receipts_refused: counts.receipts_refused,
            order_disagreements: counts.order_disagreements,
            stray_notices: counts.strays,
            keys: self
                .ears
                .honest
                .keys
                .used
                .iter()
                .map(|(_, key)| key.clone())
                .collect(),
            keys_refused: self.ears.honest.keys.refused,
            resent: self
                .clients
                .iter()
                .map(|client| client.resend_counts().resent)
                .sum(),
            retried: self.ears.honest.retries.counts.envelopes,
            retries: self.ears.honest.retries.counts.times,
            links: authorities
                .map(|index| self.link(AuthorityIndex(index as u8)))
                .collect(),
            ..LoadOutcome::default()
        }
    }

    fn offering(&self, is_closed: bool) -> Offering {
        let offered = self.ears.honest.ledger.offered() as f64;
        let send_lag_us = Distribution::of(&self.send_lag);
        // A closed loop is never behind its plan, but it may wait for sealing.
        let starved = is_closed && self.sealed_late as f64 > SEALED_LATE_PART_MAX * offered;
        Offering {
            planned_s: seconds(self.last_planned_us),
            planned_tps: ratio(offered, seconds(self.last_planned_us)),
            achieved_tps: ratio(offered, seconds(self.last_sent_us)),
            send_lag_us,
            send_lag_mean_us: self.send_lag.mean(),
            sealed_late: self.sealed_late,
            was_limited: send_lag_us.p99 > SEND_LAG_P99_MAX_US || starved,
            sealing_was_limit: self.sealed_late as f64 > SEALED_LATE_PART_MAX * offered,
        }
    }

    /// What the honest connections to `authority` went through, together.
    fn link(&self, authority: AuthorityIndex) -> LinkOutcome {
        let honest = match &self.ears.hostile {
            Some((at, _)) => &self.clients[..*at],
            None => &self.clients[..],
        };
        let counts = honest.iter().filter_map(|client| client.counts(authority));
        counts
            .map(LinkOutcome::from)
            .fold(LinkOutcome::default(), |sum, link| LinkOutcome {
                undelivered: sum.undelivered + link.undelivered,
                connects: sum.connects + link.connects,
                disconnects: sum.disconnects + link.disconnects,
                receipts_refused: sum.receipts_refused + link.receipts_refused,
            })
    }

    /// Ends what is held, and says what became of all that was hostile.
    fn hostile_outcomes(&mut self) -> Vec<HostileOutcome> {
        let mut outcomes = match &self.ears.hostile {
            Some((_, hostile)) => hostile.outcomes(),
            None => Vec::new(),
        };
        if let Some(connections) = self.connections.take() {
            outcomes.extend(connections.finish());
        }
        outcomes.sort_by_key(|outcome| outcome.kind);
        outcomes
    }
}

fn by_code(counts: &RefusalCounts) -> BTreeMap<String, u64> {
    let all = AckCode::ALL.into_iter().zip(counts);
    all.filter(|(_, count)| **count > 0)
        .map(|(code, count)| (code.name().to_owned(), *count))
        .collect()
}

/// Above this lag the generator, not the committee, makes the latencies.
const SEND_LAG_P99_MAX_US: u64 = 5_000;
/// Above this part of envelopes that were sealed too late, sealing is what holds up.
const SEALED_LATE_PART_MAX: f64 = 0.01;
