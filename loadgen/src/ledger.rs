//! The account of every envelope: what was sent, who answered what, where it was ordered, when it was settled.
//!
//! An envelope's state is sets of authorities, so that who counts can be decided at the end, when it is known which
//! nodes were killed. Pure: time comes in with every event, as microseconds after the start of the run.
//!
//! Invariants:
//! - I1: each latency is counted once an envelope, from its planned time (no coordinated omission).
//! - I2: offered = accepted + refused + unanswered and accepted = settled + lost, for any set of killed nodes.
//! - I3: what a node says of an envelope that it was never sent changes nothing, and is counted.
//!
//! Cost: about 100 bytes an envelope, 60 more until its first receipt; O(log n) an event at most.

use std::collections::BTreeMap;

use fairlane_client::Event;
use fairlane_client::protocol::AckCode;
use fairlane_engine::types::{AuthorityIndex, AuthoritySet, BatchSeq, Entry};
use hdrhistogram::Histogram;

use crate::config::Goal;
use crate::latencies::{Latencies, Stage, histogram};
use crate::outcome::{Distribution, RollupOutcome, Tally};
use crate::races::Place;
use crate::rollups::RollupShare;

/// One envelope.
#[derive(Clone, Copy, Debug)]
struct Record {
    planned_us: u64,
    /// Index of its rollup.
    rollup: u8,
    /// Authorities that it was queued for.
    sent: AuthoritySet,
    /// Authorities that accepted it.
    accepted: AuthoritySet,
    /// Authorities that refused it.
    refused: AuthoritySet,
    /// The code of the first refusal, also if who gave it is killed later.
    first_refusal: Option<AckCode>,
    /// Batch and index, as first heard; the index may be heard later, or never.
    place: Option<Place>,
    is_settled: bool,
    /// All have refused it, and it is to be sent again.
    is_held: bool,
}

/// An envelope that was given to the client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    /// From when its latencies count, in microseconds after the start.
    pub(crate) planned_us: u64,
    /// Authorities that it was queued for.
    pub(crate) sent: AuthoritySet,
    /// What its receipt is checked against; `None` if none is wanted.
    pub(crate) entry: Option<Entry>,
    /// Index of its rollup.
    pub(crate) rollup: u8,
}

/// All envelopes of a run; the tag is the index.
#[derive(Debug)]
pub(crate) struct Ledger {
    goal: Goal,
    records: Vec<Record>,
    /// Entries of envelopes without a receipt yet.
    unreceipted: BTreeMap<u64, Entry>,
    /// Ordered envelopes whose batch is not settled yet.
    unsettled: BTreeMap<u64, Vec<u64>>,
    /// Batches settled so far.
    batches_settled: u64,
    /// Tags that may still change; compacted while draining.
    open: Vec<u64>,
    last_change_us: u64,
    last_settled_us: u64,
    pub(crate) counts: Counts,
    pub(crate) latencies: Latencies,
    /// By rollup: latencies to settlement; empty where there is one rollup.
    settled_by_rollup: Vec<Histogram<u64>>,
    /// Refusing acks by code number, for each second that has any.
    refusals_by_second: BTreeMap<u64, RefusalCounts>,
    /// Envelopes planned for each second that has any.
    offered_by_second: BTreeMap<u64, u64>,
}

/// Refusing answers by the number of their code.
pub(crate) type RefusalCounts = [u64; AckCode::ALL.len()];

/// What is counted as it happens, whoever is killed later.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) acked: u64,
    pub(crate) receipted: u64,
    pub(crate) ordered: u64,
    pub(crate) settled: u64,
    pub(crate) receipts_refused: u64,
    pub(crate) order_disagreements: u64,
    pub(crate) strays: u64,
    /// Refusing acks by code number, every node's counted.
    pub(crate) refusals: RefusalCounts,
}

impl Ledger {
    /// Of a run with so many rollups, in which an envelope has come to its end at `goal`.
    pub(crate) fn new(goal: Goal, rollups: usize) -> Self {
        let apart = if rollups > 1 { rollups } else { 0 };
        Self {
            goal,
            settled_by_rollup: (0..apart).map(|_| histogram()).collect(),
            refusals_by_second: BTreeMap::new(),
            offered_by_second: BTreeMap::new(),
            records: Vec::new(),
            unreceipted: BTreeMap::new(),
            unsettled: BTreeMap::new(),
            batches_settled: 0,
            open: Vec::new(),
            last_change_us: 0,
            last_settled_us: 0,
            counts: Counts::default(),
            latencies: Latencies::new(),
        }
    }

    /// How many envelopes were offered; also the next tag.
    pub(crate) const fn offered(&self) -> u64 {
        self.records.len() as u64
    }

    /// When a notice last changed the state of an envelope.
    pub(crate) const fn last_change_us(&self) -> u64 {
        self.last_change_us
    }

    /// When an envelope was last found settled.
    pub(crate) const fn last_settled_us(&self) -> u64 {
        self.last_settled_us
    }

    /// The place of `tag` in the order, as first heard.
    pub(crate) fn place(&self, tag: u64) -> Option<Place> {
        let record = self.records.get(usize::try_from(tag).ok()?)?;
        record.place
    }

    /// Whether `tag` was sent and nothing more is waited for.
    pub(crate) fn is_over(&self, tag: u64) -> bool {
        let record = usize::try_from(tag)
            .ok()
            .and_then(|at| self.records.get(at));
        record.is_some_and(|record| {
            !record.sent.is_empty() && !record.is_open(self.goal, AuthoritySet::EMPTY)
        })
    }

    /// Refusing acks by code number, for each second that has any.
    pub(crate) const fn refusals_by_second(&self) -> &BTreeMap<u64, RefusalCounts> {
        &self.refusals_by_second
    }

    /// Envelopes planned for each second that has any.
    pub(crate) const fn offered_by_second(&self) -> &BTreeMap<u64, u64> {
        &self.offered_by_second
    }

    /// Enters the next envelope.
    pub(crate) fn on_sent(&mut self, envelope: Sent) {
        let tag = self.offered();
        let sent = envelope.sent;
        *self
            .offered_by_second
            .entry(envelope.planned_us / 1_000_000)
            .or_default() += 1;
        self.records.push(Record {
            planned_us: envelope.planned_us,
            rollup: envelope.rollup,
            sent,
            accepted: AuthoritySet::EMPTY,
            refused: AuthoritySet::EMPTY,
            first_refusal: None,
            place: None,
            is_settled: false,
            is_held: false,
        });
        self.open.push(tag);
        if let Some(entry) = envelope.entry
            && !sent.is_empty()
        {
            self.unreceipted.insert(tag, entry);
        }
    }

    /// Whether all that `tag` was sent to have refused it.
    pub(crate) fn is_refused(&self, tag: u64) -> bool {
        let record = usize::try_from(tag)
            .ok()
            .and_then(|at| self.records.get(at));
        record.is_some_and(|record| matches!(record.class(AuthoritySet::EMPTY), Class::Refused(_)))
    }

    /// Whether `tag`, which all have refused, is to be sent again: until then it has not come to its end.
    pub(crate) fn hold(&mut self, tag: u64, is_held: bool) {
        self.records[tag as usize].is_held = is_held;
    }

    /// `tag` was queued again for `sent`, whose answers count from now on; if that is nobody, those before do.
    pub(crate) fn on_sent_again(&mut self, tag: u64, sent: AuthoritySet) {
        let record = &mut self.records[tag as usize];
        record.is_held = false;
        if !sent.is_empty() {
            record.sent = sent;
            record.refused = AuthoritySet::EMPTY;
        }
    }

    /// What a receipt of `tag` is checked against, until the first one.
    pub(crate) fn receipt_wanted(&self, tag: u64) -> Option<Entry> {
        self.unreceipted.get(&tag).copied()
    }

    /// Takes what the client heard from `authority`.
    pub(crate) fn on_event(&mut self, now_us: u64, authority: AuthorityIndex, event: &Event) {
        match event {
            Event::Ack(ack) => self.on_ack(now_us, authority, ack.tag, ack.code),
            Event::Receipt { tag, .. } => {
                // Asked for by `receipt_wanted`, so the record is there.
                if self.unreceipted.remove(tag).is_some() {
                    let planned_us = self.records[*tag as usize].planned_us;
                    self.counts.receipted += 1;
                    self.latencies.record(
                        Stage::Receipt,
                        now_us,
                        now_us.saturating_sub(planned_us),
                    );
                }
            }
            Event::ReceiptRefused { .. } => self.counts.receipts_refused += 1,
            Event::Ordered { tag, seq, index } => {
                self.on_ordered(now_us, authority, *tag, (*seq, Some(*index)));
            }
            Event::Batched { tag, seq } => {
                self.on_ordered(now_us, authority, *tag, (*seq, None));
            }
            Event::Settled { count } => self.on_settled(now_us, *count),
            // Keys are the run's business.
            Event::NewKey { .. } | Event::KeyRefused { .. } => {}
            // A load follows nothing.
            Event::Included { .. }
            | Event::Certified { .. }
            | Event::FollowRefused { .. }
            | Event::InclusionRefused { .. } => {}
            Event::Connected | Event::Disconnected { .. } | Event::ConnectFailed { .. } => {}
        }
    }

    fn on_ack(&mut self, now_us: u64, authority: AuthorityIndex, tag: u64, code: AckCode) {
        let Some(record) = record_of(&mut self.records, tag, authority) else {
            self.counts.strays += 1;
            return;
        };
        if record.accepted.contains(authority) || record.refused.contains(authority) {
            self.counts.strays += 1;
            return;
        }
        self.last_change_us = now_us;
        if code == AckCode::Accepted {
            if record.accepted.is_empty() {
                self.counts.acked += 1;
                self.latencies
                    .record(Stage::Ack, now_us, now_us.saturating_sub(record.planned_us));
            }
            record.accepted.insert(authority);
        } else {
            record.refused.insert(authority);
            record.first_refusal.get_or_insert(code);
            let code = usize::from(code.as_u8());
            self.counts.refusals[code] += 1;
            self.refusals_by_second
                .entry(now_us / 1_000_000)
                .or_default()[code] += 1;
        }
    }

    fn on_ordered(&mut self, now_us: u64, authority: AuthorityIndex, tag: u64, place: Place) {
        let Some(record) = record_of(&mut self.records, tag, authority) else {
            self.counts.strays += 1;
            return;
        };
        if let Some(known) = &mut record.place {
            let differs = known
                .1
                .is_some_and(|index| place.1.is_some_and(|other| index != other));
            self.counts.order_disagreements += u64::from(known.0 != place.0 || differs);
            known.1 = known.1.or(place.1);
            return;
        }
        record.place = Some(place);
        self.last_change_us = now_us;
        self.counts.ordered += 1;
        self.latencies.record(
            Stage::Ordered,
            now_us,
            now_us.saturating_sub(record.planned_us),
        );
        let BatchSeq(seq) = place.0;
        if seq < self.batches_settled {
            self.settle(now_us, tag);
        } else {
            self.unsettled.entry(seq).or_default().push(tag);
        }
    }

    fn on_settled(&mut self, now_us: u64, count: u64) {
        if count <= self.batches_settled {
            return;
        }
        self.batches_settled = count;
        let later = self.unsettled.split_off(&count);
        for tag in std::mem::replace(&mut self.unsettled, later)
            .into_values()
            .flatten()
        {
            self.settle(now_us, tag);
        }
    }

    fn settle(&mut self, now_us: u64, tag: u64) {
        let record = &mut self.records[tag as usize];
        record.is_settled = true;
        self.last_change_us = now_us;
        self.last_settled_us = now_us;
        self.counts.settled += 1;
        let latency_us = now_us.saturating_sub(record.planned_us);
        if let Some(settled) = self.settled_by_rollup.get_mut(usize::from(record.rollup)) {
            settled.saturating_record(latency_us);
        }
        self.latencies.record(Stage::Settled, now_us, latency_us);
    }

    /// How many envelopes may still change, were `killed` not to answer any more. Amortised O(1) an envelope.
    pub(crate) fn open_count(&mut self, killed: AuthoritySet) -> u64 {
        let (records, goal) = (&self.records, self.goal);
        self.open
            .retain(|tag| records[*tag as usize].is_open(goal, killed));
        self.open.len() as u64
    }

    /// Classifies every envelope, without what `killed` nodes said.
    pub(crate) fn tally(&self, killed: AuthoritySet) -> Tally {
        let mut tally = Tally {
            offered: self.offered(),
            ..Tally::default()
        };
        for record in &self.records {
            match record.class(killed) {
                Class::Accepted => {
                    tally.accepted += 1;
                    tally.settled += u64::from(record.is_settled);
                }
                Class::Refused(code) => {
                    tally.refused += 1;
                    *tally
                        .refused_by_code
                        .entry(code.name().to_owned())
                        .or_default() += 1;
                    tally.settled_unaccepted += u64::from(record.is_settled);
                }
                Class::Unanswered => {
                    tally.unanswered += 1;
                    tally.settled_unaccepted += u64::from(record.is_settled);
                }
            }
        }
        tally.lost = match self.goal {
            Goal::Settled => tally.accepted - tally.settled,
            Goal::Ack => 0,
        };
        tally
    }

    /// What became of the envelopes of each rollup, without what `killed` nodes said; empty where there is one rollup.
    pub(crate) fn by_rollup(
        &self,
        shares: &[RollupShare],
        killed: AuthoritySet,
    ) -> Vec<RollupOutcome> {
        let both = shares.iter().zip(&self.settled_by_rollup);
        let mut outcomes: Vec<RollupOutcome> = both
            .map(|(share, settled)| RollupOutcome {
                rollup: share.id.0,
                weight: share.weight,
                settled_us: Distribution::of(settled),
                ..RollupOutcome::default()
            })
            .collect();
        for record in &self.records {
            let Some(outcome) = outcomes.get_mut(usize::from(record.rollup)) else {
                continue;
            };
            outcome.offered += 1;
            match record.class(killed) {
                Class::Accepted => outcome.accepted += 1,
                Class::Refused(_) => outcome.refused += 1,
                Class::Unanswered => {}
            }
            outcome.settled += u64::from(record.is_settled);
        }
        outcomes
    }
}

enum Class {
    Accepted,
    Refused(AckCode),
    Unanswered,
}

impl Record {
    fn class(&self, killed: AuthoritySet) -> Class {
        if !without(self.accepted, killed).is_empty() {
            return Class::Accepted;
        }
        let asked = without(self.sent, killed);
        let is_refused = !asked.is_empty() && asked.iter().all(|who| self.refused.contains(who));
        match self.first_refusal {
            Some(code) if is_refused => Class::Refused(code),
            _ => Class::Unanswered,
        }
    }

    fn is_open(&self, goal: Goal, killed: AuthoritySet) -> bool {
        let is_reachable = !without(self.sent, killed).is_empty();
        is_reachable
            && !self.is_settled
            && match self.class(killed) {
                Class::Accepted => goal == Goal::Settled,
                Class::Refused(_) => self.is_held,
                Class::Unanswered => true,
            }
    }
}

/// The record of `tag` if it was sent to `authority`.
fn record_of(records: &mut [Record], tag: u64, authority: AuthorityIndex) -> Option<&mut Record> {
    let record = records.get_mut(usize::try_from(tag).ok()?)?;
    record.sent.contains(authority).then_some(record)
}

fn without(mut set: AuthoritySet, killed: AuthoritySet) -> AuthoritySet {
    if !killed.is_empty() {
        for authority in killed.iter() {
            set.remove(authority);
        }
    }
    set
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
