//! The envelopes this authority holds, by digest: bytes, waiting clients, and what has become of each.
//!
//! I1: an envelope is held from acceptance until its `valid_until` has passed and it is settled or dropped, if settled a
//! while longer, and as long as a node that lags may come to its batch by rounds; so duplicates are known as long as they
//! could be submitted again, and memory is bounded by the admission bound times [`super::label_rules::TIME_AHEAD_US_MAX`]
//! plus that while. Rounds go by slowly only where little is admitted.

use std::collections::{BTreeMap, BTreeSet};

use crate::dag::VertexRef;
use crate::input::ClientTag;
use crate::seal::proof::VerifiedEnvelope;
use crate::types::{BatchSeq, Digest, Entry, TimestampUs};

/// Clients that are told about one envelope; a further re-sender is acked but hears no more.
pub const CLIENTS_AN_ENVELOPE_MAX: usize = 8;

/// What has become of an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Accepted, not yet in the fair order's output.
    Pending,
    /// Its place is final.
    Ordered {
        /// The batch.
        seq: BatchSeq,
        /// The index in it.
        index: u32,
    },
    /// Its batch is opened.
    Settled {
        /// The batch.
        seq: BatchSeq,
    },
    /// It expired before q authorities listed it.
    Dropped,
}

/// One envelope held.
#[derive(Clone, Debug)]
pub struct Held {
    /// The envelope.
    pub envelope: VerifiedEnvelope,
    /// The number of its record.
    pub record: u64,
    /// Who is told about it, at most [`CLIENTS_AN_ENVELOPE_MAX`].
    pub clients: Vec<ClientTag>,
    /// The own vertex that lists it and the index in it, once durable.
    pub listed: Option<(VertexRef, u32)>,
    /// What has become of it.
    pub phase: Phase,
}

impl Held {
    /// The entry under which it is ordered.
    pub fn entry(&self) -> Entry {
        Entry {
            digest: self.envelope.digest(),
            valid_until: self.envelope.label().valid_until,
        }
    }
}

/// All envelopes held.
#[derive(Debug, Default)]
pub struct EnvelopeTable {
    held: BTreeMap<Digest, Held>,
    by_expiry: BTreeSet<(TimestampUs, Digest)>,
}

impl EnvelopeTable {
    /// The envelope with this digest.
    pub fn find(&self, digest: &Digest) -> Option<&Held> {
        self.held.get(digest)
    }

    /// The envelope with this digest, to change.
    pub fn find_mut(&mut self, digest: &Digest) -> Option<&mut Held> {
        self.held.get_mut(digest)
    }

    /// Changes every envelope held, by digest.
    pub fn for_each_mut(&mut self, change: impl FnMut(&mut Held)) {
        self.held.values_mut().for_each(change);
    }

    /// How many are held.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// The lowest number of a record whose envelope is held; none while none is. O(held).
    pub fn lowest_record(&self) -> Option<u64> {
        self.held.values().map(|held| held.record).min()
    }

    /// Holds an envelope that is not held yet, and whose record has this number.
    ///
    /// Panics when it is: the caller has just looked.
    pub fn hold(
        &mut self,
        envelope: VerifiedEnvelope,
        record: u64,
        client: Option<ClientTag>,
    ) -> Entry {
        let held = Held {
            envelope,
            record,
            clients: client.into_iter().collect(),
            listed: None,
            phase: Phase::Pending,
        };
        let entry = held.entry();
        self.by_expiry.insert((entry.valid_until, entry.digest));
        let before = self.held.insert(entry.digest, held);
        assert!(before.is_none(), "an envelope takes one position");
        entry
    }

    /// Lets go of what expired before `consensus_time` and was dropped, and of what was settled [`SETTLED_KEPT_US`] after
    /// it expired, unless it is in the batch `kept_from` or a later one: a node that was away meanwhile still asks for the
    /// bytes. O(what goes, and what is kept on).
    pub fn purge(&mut self, consensus_time: TimestampUs, kept_from: BatchSeq) {
        let mut kept = Vec::new();
        while let Some((until, digest)) = self.by_expiry.pop_first() {
            if until >= consensus_time {
                kept.push((until, digest));
                break;
            }
            let held = self.held.get(&digest);
            let expired = held.map(|held| held.entry().valid_until);
            let kept_until = expired.map_or(until, |expired| expired.plus_us(SETTLED_KEPT_US));
            match held.map(|held| held.phase) {
                Some(Phase::Settled { .. }) if kept_until >= consensus_time => {
                    kept.push((kept_until, digest));
                }
                Some(Phase::Settled { seq }) if seq >= kept_from => {
                    kept.push((consensus_time.plus_us(RECHECK_US), digest));
                }
                Some(Phase::Settled { .. } | Phase::Dropped) => {
                    self.held.remove(&digest);
                }
                // Ready entries do not expire: look again a little later, not at every anchor.
                Some(_) => kept.push((consensus_time.plus_us(RECHECK_US), digest)),
                None => {}
            }
        }
        self.by_expiry.extend(kept);
    }
}

/// A settled envelope is kept for peers that lag this long after it expired; who lags more takes the state of a peer.
pub const SETTLED_KEPT_US: u64 = 30_000_000;
/// An expired envelope that is kept on all the same is looked at again after this time.
const RECHECK_US: u64 = 1_000_000;
