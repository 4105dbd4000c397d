//! The account of hostile envelopes: what nodes answer, and whether any gets a place.

use std::collections::BTreeMap;
use std::time::Instant;

use fairlane_client::protocol::AckCode;
use fairlane_client::{Event, Observer};
use fairlane_engine::types::{AuthorityIndex, Entry};
use hdrhistogram::Histogram;

use super::{HostileKind, HostileOutcome, HostilePlan};
use crate::latencies::histogram;
use crate::outcome::Distribution;

/// Hears what hostile connections hear.
pub(crate) struct HostileListener {
    pub(crate) start: Instant,
    kinds: BTreeMap<HostileKind, Account>,
    /// By tag.
    sent: Vec<Sent>,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    kind: HostileKind,
    planned_us: u64,
    is_ordered: bool,
}

struct Account {
    sent: u64,
    failed: u64,
    answers: [u64; AckCode::ALL.len()],
    ordered: Histogram<u64>,
}

impl HostileListener {
    pub(crate) fn new(plan: &HostilePlan) -> Self {
        let kinds = plan.kinds().filter(|kind| !kind.is_held());
        let account = || Account {
            sent: 0,
            failed: 0,
            answers: [0; AckCode::ALL.len()],
            ordered: histogram(),
        };
        Self {
            start: Instant::now(),
            kinds: kinds
                .filter(|kind| *kind != HostileKind::Oversize)
                .map(|kind| (kind, account()))
                .collect(),
            sent: Vec::new(),
        }
    }

    /// The tag of the next envelope.
    pub(crate) const fn next_tag(&self) -> u64 {
        self.sent.len() as u64
    }

    /// The next envelope was given to the client, and reached a queue or none.
    pub(crate) fn on_sent(&mut self, kind: HostileKind, planned_us: u64, is_queued: bool) {
        self.sent.push(Sent {
            kind,
            planned_us,
            is_ordered: false,
        });
        if let Some(account) = self.kinds.get_mut(&kind) {
            account.sent += u64::from(is_queued);
            account.failed += u64::from(!is_queued);
        }
    }

    /// Refusing answers so far.
    pub(crate) fn refused(&self) -> u64 {
        let accounts = self.kinds.values();
        let accepted = usize::from(AckCode::Accepted.as_u8());
        accounts
            .map(|account| account.answers.iter().sum::<u64>() - account.answers[accepted])
            .sum()
    }

    /// What became of each kind.
    pub(crate) fn outcomes(&self) -> Vec<HostileOutcome> {
        let outcome = |(kind, account): (&HostileKind, &Account)| {
            let answers = AckCode::ALL.into_iter().zip(account.answers);
            HostileOutcome {
                sent: account.sent,
                failed: account.failed,
                answers: answers
                    .filter(|(_, count)| *count > 0)
                    .map(|(code, count)| (code.name().to_owned(), count))
                    .collect(),
                ordered: account.ordered.len(),
                ordered_us: Distribution::of(&account.ordered),
                ..HostileOutcome::new(*kind)
            }
        };
        self.kinds.iter().map(outcome).collect()
    }

    fn on_ordered(&mut self, tag: u64) {
        let since = Instant::now().saturating_duration_since(self.start);
        let now_us = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
        let at = usize::try_from(tag).ok();
        let Some(sent) = at.and_then(|at| self.sent.get_mut(at)) else {
            return;
        };
        if std::mem::replace(&mut sent.is_ordered, true) {
            return;
        }
        if let Some(account) = self.kinds.get_mut(&sent.kind) {
            let latency_us = now_us.saturating_sub(sent.planned_us);
            account.ordered.saturating_record(latency_us);
        }
    }
}

impl Observer for HostileListener {
    fn receipt_wanted(&self, _tag: u64) -> Option<Entry> {
        None
    }

    fn on_event(&mut self, _authority: AuthorityIndex, event: Event) {
        match event {
            Event::Ack(ack) => {
                let at = usize::try_from(ack.tag).ok();
                let sent = at.and_then(|at| self.sent.get(at));
                if let Some(account) = sent.and_then(|sent| self.kinds.get_mut(&sent.kind)) {
                    account.answers[usize::from(ack.code.as_u8())] += 1;
                }
            }
            Event::Ordered { tag, .. } | Event::Batched { tag, .. } => self.on_ordered(tag),
            // Its own links and keys are no concern of a hostile client.
            _ => {}
        }
    }
}
