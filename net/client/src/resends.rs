//! What was sent over UDP and may be lost: sent again, with the same bytes and tag, until it is known to have its place.
//!
//! Two things may be missing. An authority has not answered: the envelope is sent to it again, after 100 ms at first, then
//! after twice as long each time up to 2 s, because the fair order rests on many authorities receiving it. Or all have
//! answered, and none has told its place: after half a second one of those that accepted is asked by sending it again, each time
//! another. A node answers with the same ack and, while it is not settled, receipt and place; later with its batch.
//!
//! A place that one authority tells is its word alone: while others have not answered it takes f + 1 to end the sending, else a
//! faulty one that answers at once would turn each loss towards the others into an omission.
//!
//! Invariants: I1: the caller hears one ack an authority and envelope, but for those that come when the envelope is not followed
//! any more. I2: at most [`PENDING_MAX`] envelopes are followed, each for [`RESENDS_MAX`] attempts; what is beyond is sent once.
//!
//! Cost: a copy of each envelope until it has its place; O(log n) an answer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use fairlane_engine::types::{AuthorityIndex, AuthoritySet, BatchSeq};

use crate::client::Event;
use crate::protocol::{Ack, AckCode};

/// Envelopes that are followed, by tag.
#[derive(Debug)]
pub(crate) struct Resends {
    pending: BTreeMap<u64, Pending>,
    due: BTreeSet<(Instant, u64)>,
    /// The caller asks for places, so an envelope is done with when it has one; else when all have answered.
    wants_places: bool,
    /// f + 1.
    validity: u32,
    pub(crate) counts: ResendCounts,
}

/// What was counted of envelopes that were sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResendCounts {
    /// Datagrams sent again.
    pub resent: u64,
    /// Answers that were heard before.
    pub repeated: u64,
    /// Envelopes followed no longer, as nothing was heard for too long.
    pub given_up: u64,
    /// Envelopes not followed, as too many were.
    pub unfollowed: u64,
}

#[derive(Debug)]
struct Pending {
    envelope: Vec<u8>,
    unanswered: AuthoritySet,
    accepted: AuthoritySet,
    /// Who has told its place.
    tellers: AuthoritySet,
    attempts: u32,
    wait: Duration,
    due: Instant,
}

impl Resends {
    /// `validity` is f + 1: among so many authorities one is correct.
    pub(crate) fn new(wants_places: bool, validity: u32) -> Self {
        Self {
            pending: BTreeMap::new(),
            due: BTreeSet::new(),
            wants_places,
            validity,
            counts: ResendCounts::default(),
        }
    }

    /// An envelope was queued for `sent`.
    pub(crate) fn on_submit(
        &mut self,
        tag: u64,
        envelope: &[u8],
        sent: AuthoritySet,
        now: Instant,
    ) {
        self.forget(tag);
        if sent.is_empty() {
            return;
        }
        if self.pending.len() >= PENDING_MAX {
            self.counts.unfollowed += 1;
            return;
        }
        let due = now + WAIT_MIN;
        self.due.insert((due, tag));
        let pending = Pending {
            envelope: envelope.to_vec(),
            unanswered: sent,
            accepted: AuthoritySet::EMPTY,
            tellers: AuthoritySet::EMPTY,
            attempts: 0,
            wait: WAIT_MIN,
            due,
        };
        self.pending.insert(tag, pending);
    }

    /// An authority answered; what the caller is to hear of it goes to `tell`.
    pub(crate) fn on_ack(
        &mut self,
        authority: AuthorityIndex,
        ack: Ack,
        now: Instant,
        tell: &mut dyn FnMut(Event),
    ) {
        let Some(pending) = self.pending.get_mut(&ack.tag) else {
            return tell(Event::Ack(ack));
        };
        let is_first = pending.unanswered.contains(authority);
        pending.unanswered.remove(authority);
        self.counts.repeated += u64::from(!is_first);
        // The node has settled what it was sent before: that it accepted it, and where it stands, was lost on the way.
        let is_late = ack.code == AckCode::Duplicate && pending.attempts > 0;
        if ack.code == AckCode::Accepted || is_late {
            pending.accepted.insert(authority);
        }
        if is_first {
            let code = if is_late { AckCode::Accepted } else { ack.code };
            let detail = if is_late { 0 } else { ack.detail };
            tell(Event::Ack(Ack {
                code,
                detail,
                ..ack
            }));
        }
        if is_late {
            pending.tellers.insert(authority);
            let (tag, seq) = (ack.tag, BatchSeq(ack.detail));
            tell(Event::Batched { tag, seq });
        }
        self.forget_if_done(ack.tag, now);
    }

    /// An authority told an envelope's place.
    pub(crate) fn on_ordered(&mut self, authority: AuthorityIndex, tag: u64, now: Instant) {
        if let Some(pending) = self.pending.get_mut(&tag) {
            pending.tellers.insert(authority);
        }
        self.forget_if_done(tag, now);
    }

    /// When the next envelope is to be sent again.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// An envelope that is to be sent again by now: `send` gets its tag, its bytes and to whom. False when none is.
    pub(crate) fn resend_next(
        &mut self,
        now: Instant,
        send: impl FnOnce(u64, &[u8], AuthoritySet),
    ) -> bool {
        while let Some((at, tag)) = self.due.first().copied() {
            if at > now {
                return false;
            }
            let Some(pending) = self.pending.get_mut(&tag) else {
                self.due.remove(&(at, tag));
                continue;
            };
            let is_hopeless = pending.attempts >= RESENDS_MAX;
            if pending.is_placed(self.validity) || is_hopeless {
                self.counts.given_up += u64::from(pending.tellers.is_empty());
                self.forget(tag);
                continue;
            }
            let targets = pending.targets();
            pending.attempts += 1;
            pending.wait = (2 * pending.wait).min(WAIT_MAX);
            if pending.unanswered.is_empty() {
                pending.wait = pending.wait.max(PLACE_WAIT_MIN);
            }
            self.due.remove(&(at, tag));
            pending.due = now + pending.wait;
            self.due.insert((pending.due, tag));
            self.counts.resent += u64::from(targets.len());
            send(tag, &pending.envelope, targets);
            return true;
        }
        false
    }

    fn forget_if_done(&mut self, tag: u64, now: Instant) {
        let Some(pending) = self.pending.get_mut(&tag) else {
            return;
        };
        if !pending.unanswered.is_empty() {
            return;
        }
        if pending.is_placed(self.validity) || pending.accepted.is_empty() || !self.wants_places {
            return self.forget(tag);
        }
        // All have answered: its place is waited for a little longer before anybody is asked.
        let due = pending.due.max(now + PLACE_WAIT_MIN);
        self.due.remove(&(pending.due, tag));
        pending.due = due;
        self.due.insert((due, tag));
    }

    fn forget(&mut self, tag: u64) {
        if let Some(pending) = self.pending.remove(&tag) {
            self.due.remove(&(pending.due, tag));
        }
    }
}

impl Pending {
    /// Whether its place is known: from one authority when all have answered, else from so many that one of them is correct.
    const fn is_placed(&self, validity: u32) -> bool {
        let enough = if self.unanswered.is_empty() {
            1
        } else {
            validity
        };
        self.tellers.len() >= enough
    }

    /// Who has not answered; when all have, one of those that accepted, each time the next.
    fn targets(&self) -> AuthoritySet {
        if !self.unanswered.is_empty() || self.accepted.is_empty() {
            return self.unanswered;
        }
        let turn = self.attempts % self.accepted.len();
        let mut targets = AuthoritySet::EMPTY;
        if let Some(one) = self.accepted.iter().nth(turn as usize) {
            targets.insert(one);
        }
        targets
    }
}

/// Envelopes followed at a time: some 80 MB at most.
const PENDING_MAX: usize = 65_536;
/// Attempts after the first: some 20 s.
const RESENDS_MAX: u32 = 12;
/// First wait for an answer.
const WAIT_MIN: Duration = Duration::from_millis(100);
/// Longest wait between attempts.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// First wait for a place once all have answered.
const PLACE_WAIT_MIN: Duration = Duration::from_millis(500);

#[cfg(test)]
#[path = "resends_tests.rs"]
mod tests;
