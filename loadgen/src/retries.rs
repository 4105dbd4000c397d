//! What every authority has told Busy is sent again, as a client would: after the longest wait that one of them named.
//!
//! Off unless asked for ([`crate::LoadConfig::busy_retries`]): a load that is offered once shows what a committee turns away, one
//! that comes again shows that what was turned away is taken later. The bytes are the same, so the order holds them once; latencies
//! go on from the first planned time.
//!
//! Only what all that it was sent to have answered is sent again, and only if all said Busy: who has accepted it has it ordered,
//! and any other refusal is final. An authority that names an hour is faulty, and waited for no longer than
//! [`WAIT_LONGEST_US`]. Pure: time comes in with every call, as microseconds after the start of the run.
//!
//! Cost: the envelope, which is shared and not copied, until it is accepted; O(log n) an answer.

use std::collections::{BTreeMap, BTreeSet};

use fairlane_client::protocol::{Ack, AckCode};
use fairlane_engine::seal::Envelope;

/// Envelopes that may yet have to be sent again.
#[derive(Debug)]
pub(crate) struct Retries {
    /// Times that one is sent again.
    max: u32,
    kept: BTreeMap<u64, Kept>,
    /// When, and which tag.
    due: BTreeSet<(u64, u64)>,
    pub(crate) counts: RetryCounts,
}

/// What was sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RetryCounts {
    /// Envelopes that were, once or more.
    pub(crate) envelopes: u64,
    /// How often, all together.
    pub(crate) times: u64,
}

#[derive(Debug)]
struct Kept {
    /// Which of the run's clients it goes by.
    client: usize,
    envelope: Envelope,
    /// The longest wait that was named since it was last sent.
    wait_us: u64,
    times: u32,
    /// It is due at some time: nothing that is said of it counts until then.
    is_due: bool,
}

/// One that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Again {
    pub(crate) tag: u64,
    pub(crate) client: usize,
    pub(crate) envelope: Envelope,
}

impl Retries {
    /// Each is sent again `max` times at most; nothing is kept where that is 0.
    pub(crate) fn new(max: u32) -> Self {
        Self {
            max,
            kept: BTreeMap::new(),
            due: BTreeSet::new(),
            counts: RetryCounts::default(),
        }
    }

    /// An envelope was sent for the first time.
    pub(crate) fn on_sent(&mut self, tag: u64, client: usize, envelope: &Envelope) {
        if self.max > 0 {
            let kept = Kept {
                client,
                envelope: envelope.clone(),
                wait_us: 0,
                times: 0,
                is_due: false,
            };
            self.kept.insert(tag, kept);
        }
    }

    /// An authority has answered; `is_refused`: with it all have, and refused. Gives whether it is sent again.
    pub(crate) fn on_ack(&mut self, now_us: u64, ack: &Ack, is_refused: bool) -> bool {
        let kept = self.kept.get_mut(&ack.tag);
        let Some(kept) = kept.filter(|kept| !kept.is_due) else {
            return false;
        };
        if ack.code != AckCode::Busy || (is_refused && kept.times >= self.max) {
            self.kept.remove(&ack.tag);
            return false;
        }
        kept.wait_us = kept.wait_us.max(ack.detail).min(WAIT_LONGEST_US);
        if is_refused {
            kept.is_due = true;
            self.due
                .insert((now_us.saturating_add(kept.wait_us), ack.tag));
        }
        is_refused
    }

    /// When the next one is due, if one waits.
    pub(crate) fn next_us(&self) -> Option<u64> {
        self.due.first().map(|(at_us, _)| *at_us)
    }

    /// The next one, if it is due by `now_us`.
    pub(crate) fn take_due(&mut self, now_us: u64) -> Option<Again> {
        let (_, tag) = self.due.first().filter(|(at_us, _)| *at_us <= now_us)?;
        let tag = *tag;
        self.due.pop_first();
        let kept = self.kept.get_mut(&tag)?;
        self.counts.envelopes += u64::from(kept.times == 0);
        self.counts.times += 1;
        kept.times += 1;
        kept.wait_us = 0;
        kept.is_due = false;
        Some(Again {
            tag,
            client: kept.client,
            envelope: kept.envelope.clone(),
        })
    }

    /// Nothing is sent again from now on; gives the tags that waited.
    pub(crate) fn end(&mut self) -> impl Iterator<Item = u64> + use<> {
        self.kept.clear();
        std::mem::take(&mut self.due)
            .into_iter()
            .map(|(_, tag)| tag)
    }
}

/// No correct node names a longer wait.
const WAIT_LONGEST_US: u64 = 5_000_000;

#[cfg(test)]
mod tests {
    use fairlane_client::sealing::{PadTo, Sealer};
    use fairlane_engine::seal::{EnvelopeKind, deal};
    use fairlane_engine::types::{ChainId, Epoch, RollupId, TimestampUs};

    use super::*;

    fn envelope() -> Envelope {
        let sealer = Sealer {
            key: deal(ChainId(1), Epoch(0), 4, 3, &[1; 32]).unwrap().0,
            rollup: RollupId(1),
            kind: EnvelopeKind::Open,
            sender_tag: [0; 16],
            padding: PadTo::Nothing,
        };
        sealer.make(&[7; 64], TimestampUs(1)).unwrap()
    }

    const fn ack(tag: u64, code: AckCode, detail: u64) -> Ack {
        Ack { tag, code, detail }
    }

    const fn busy(tag: u64, wait_us: u64) -> Ack {
        ack(tag, AckCode::Busy, wait_us)
    }

    #[test]
    fn what_all_told_busy_comes_again_after_the_longest_wait_until_its_times_are_over() {
        let envelope = envelope();
        let mut retries = Retries::new(2);
        retries.on_sent(5, 1, &envelope);
        for time in 0..2 {
            let at_us = time * 10_000_000;
            assert!(!retries.on_ack(at_us, &busy(5, 800), false));
            assert!(!retries.on_ack(at_us, &busy(5, 1_000), false));
            assert_eq!(retries.next_us(), None, "not all have answered");
            assert!(retries.on_ack(at_us + 40, &busy(5, 20), true));
            assert_eq!(retries.next_us(), Some(at_us + 1_040));
            assert_eq!(retries.take_due(at_us + 1_039), None);
            let again = retries.take_due(at_us + 1_040).unwrap();
            assert_eq!((again.tag, again.client), (5, 1));
            assert_eq!(again.envelope, envelope, "the same bytes");
            assert_eq!(retries.take_due(u64::MAX), None);
        }
        assert!(!retries.on_ack(30_000_000, &busy(5, 20), true));
        let (envelopes, times) = (1, 2);
        assert_eq!(retries.counts, RetryCounts { envelopes, times });
        assert!(retries.kept.is_empty());
    }

    #[test]
    fn what_one_accepts_or_refuses_otherwise_does_not_come_again() {
        for last in [AckCode::Accepted, AckCode::Expired] {
            let mut retries = Retries::new(2);
            retries.on_sent(5, 0, &envelope());
            retries.on_ack(1, &ack(5, last, 0), false);
            assert!(!retries.on_ack(2, &busy(5, 20), true), "{last:?}");
            assert_eq!(retries.next_us(), None);
            assert!(retries.kept.is_empty());
        }
    }

    #[test]
    fn who_answers_twice_makes_it_come_neither_twice_nor_never() {
        let mut retries = Retries::new(2);
        retries.on_sent(5, 0, &envelope());
        assert!(retries.on_ack(1, &busy(5, 20), true));
        assert!(!retries.on_ack(2, &busy(5, 900), true));
        assert!(!retries.on_ack(3, &ack(5, AckCode::Accepted, 0), true));
        assert!(retries.take_due(21).is_some());
        assert_eq!(retries.take_due(u64::MAX), None);
    }

    #[test]
    fn nobody_is_waited_for_an_hour_and_nothing_after_the_end() {
        let mut retries = Retries::new(2);
        for tag in [5, 6] {
            retries.on_sent(tag, 0, &envelope());
            assert!(retries.on_ack(7, &busy(tag, u64::MAX), true));
        }
        assert_eq!(retries.next_us(), Some(7 + WAIT_LONGEST_US));
        assert_eq!(retries.end().collect::<Vec<_>>(), [5, 6]);
        assert_eq!(retries.take_due(u64::MAX), None);
    }

    #[test]
    fn nothing_is_kept_where_nothing_is_to_come_again() {
        let mut retries = Retries::new(0);
        retries.on_sent(5, 0, &envelope());
        assert!(!retries.on_ack(1, &busy(5, 20), true));
        assert!(retries.kept.is_empty());
    }
}
