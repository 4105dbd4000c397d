//! Envelopes that batches to come may hold.
//!
//! I1: what is held is what a node holds: envelopes that have not expired, and ready ones that have. An envelope goes when it
//! is cut into a batch.

use std::collections::{BTreeMap, BTreeSet};

use crate::seal::Envelope;
use crate::types::{Digest, TimestampUs};

/// Envelopes by digest and expiry.
#[derive(Debug, Default)]
pub(super) struct Held {
    by_digest: BTreeMap<Digest, Envelope>,
    by_expiry: BTreeSet<(TimestampUs, Digest)>,
    /// When it is next looked for expired ones.
    due: TimestampUs,
}

impl Held {
    pub(super) fn hold(&mut self, envelope: Envelope) {
        let digest = envelope.digest();
        self.by_expiry
            .insert((envelope.label().valid_until, digest));
        self.by_digest.insert(digest, envelope);
    }

    pub(super) fn find(&self, digest: &Digest) -> Option<&Envelope> {
        self.by_digest.get(digest)
    }

    pub(super) fn forget(&mut self, digest: &Digest) {
        if let Some(envelope) = self.by_digest.remove(digest) {
            self.by_expiry
                .remove(&(envelope.label().valid_until, *digest));
        }
    }

    /// Whether expired ones may be let go of by now; at most once in [`LOOK_EVERY_US`].
    pub(super) fn is_due(&self, now: TimestampUs) -> bool {
        let first = self.by_expiry.first();
        now >= self.due && first.is_some_and(|(until, _)| *until < now)
    }

    /// Lets go of what has expired and is not in `needed`. O(expired log held).
    pub(super) fn let_go(&mut self, now: TimestampUs, needed: &BTreeSet<Digest>) {
        let lowest_kept = (now, Digest([0; 32]));
        let kept = self.by_expiry.split_off(&lowest_kept);
        for (until, digest) in std::mem::replace(&mut self.by_expiry, kept) {
            if needed.contains(&digest) {
                self.by_expiry.insert((until, digest));
            } else {
                self.by_digest.remove(&digest);
            }
        }
        self.due = now.plus_us(LOOK_EVERY_US);
    }

    pub(super) fn len(&self) -> usize {
        self.by_digest.len()
    }
}

/// Consensus time between two looks for expired envelopes.
const LOOK_EVERY_US: u64 = 1_000_000;
