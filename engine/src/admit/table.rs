//! The envelopes this authority holds, by digest: bytes, waiting clients, and what has become of each.
//!
//! I1: an envelope is held from acceptance until its `valid_until` has passed and it is settled or dropped (and at most
//! [`GRAIN_US`] more, as expiries are kept by the grain), if settled a while longer, and as long as a node that lags may
//! come to its batch by rounds; so duplicates are known as long as they could be submitted again, and memory is bounded by
//! the admission bound times [`super::label_rules::TIME_AHEAD_US_MAX`] plus that while. Rounds go by slowly only where
//! little is admitted.

use std::collections::BTreeMap;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Place;
use smallvec::SmallVec;

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
    pub clients: SmallVec<[ClientTag; 1]>,
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
///
/// Found by a hash of the digest that is keyed with a secret of this process: clients choose digests, as far as they care to
/// try, but do not know which fall together. Nothing hangs on the order in which the table is gone through.
#[derive(Debug)]
pub struct EnvelopeTable {
    key: [u64; 2],
    /// With the hash, so that a table that grows looks at no envelope; boxed, so that it moves none.
    held: HashTable<(u64, Box<Held>)>,
    /// When to look at each next, in grains of [`GRAIN_US`]: a set of all instants would cost more than the table.
    by_expiry: BTreeMap<u64, Vec<Digest>>,
}

impl EnvelopeTable {
    /// Nothing is held. `process_secret` is random, and of this process alone.
    pub fn new(process_secret: &[u8; 32]) -> Self {
        let derived = blake3::derive_key("fairlane/1/envelope-table", process_secret);
        let (words, _) = derived.as_chunks();
        Self {
            key: [0, 1].map(|word| u64::from_le_bytes(words[word])),
            held: HashTable::new(),
            by_expiry: BTreeMap::new(),
        }
    }

    /// The envelope with this digest.
    pub fn find(&self, digest: &Digest) -> Option<&Held> {
        let found = self.held.find(self.hash(digest), is_of(digest));
        found.map(|(_, held)| &**held)
    }

    /// The envelope with this digest, to change.
    pub fn find_mut(&mut self, digest: &Digest) -> Option<&mut Held> {
        let found = self.held.find_mut(self.hash(digest), is_of(digest));
        found.map(|(_, held)| &mut **held)
    }

    /// Changes every envelope held, each by itself, in no order.
    pub fn for_each_mut(&mut self, mut change: impl FnMut(&mut Held)) {
        self.held.iter_mut().for_each(|(_, held)| change(held));
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
        self.held.iter().map(|(_, held)| held.record).min()
    }

    /// A folded product of two words of the digest, each masked by the key.
    fn hash(&self, digest: &Digest) -> u64 {
        let (words, _) = digest.0.as_chunks();
        let [a, b] = [0, 1].map(|word| u64::from_le_bytes(words[word]) ^ self.key[word]);
        let product = u128::from(a) * u128::from(b);
        (product >> 64) as u64 ^ product as u64
    }

    fn remove(&mut self, digest: &Digest) {
        let found = self.held.find_entry(self.hash(digest), is_of(digest));
        if let Ok(entry) = found {
            entry.remove();
        }
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
        look_at(&mut self.by_expiry, entry.valid_until, entry.digest);
        let hash = self.hash(&entry.digest);
        let place = self
            .held
            .entry(hash, is_of(&entry.digest), |(hash, _)| *hash);
        match place {
            Place::Vacant(place) => place.insert((hash, Box::new(held))),
            Place::Occupied(_) => panic!("an envelope takes one position"),
        };
        entry
    }

    /// Lets go of what expired before `consensus_time` and was dropped, and of what was settled [`SETTLED_KEPT_US`] after
    /// it expired, unless it is in the batch `kept_from` or a later one: a node that was away meanwhile still asks for the
    /// bytes. Each at most [`GRAIN_US`] later. O(what goes, and what is kept on).
    pub fn purge(&mut self, consensus_time: TimestampUs, kept_from: BatchSeq) {
        let reached = grain_of(consensus_time);
        while let Some(first) = self.by_expiry.first_entry() {
            if *first.key() >= reached {
                return;
            }
            for digest in first.remove() {
                let Some(held) = self.find(&digest) else {
                    continue;
                };
                let kept_until = held.entry().valid_until.plus_us(SETTLED_KEPT_US);
                let next = match held.phase {
                    Phase::Settled { .. } if kept_until >= consensus_time => kept_until,
                    Phase::Settled { seq } if seq < kept_from => {
                        self.remove(&digest);
                        continue;
                    }
                    Phase::Dropped => {
                        self.remove(&digest);
                        continue;
                    }
                    // Ready entries do not expire: look again a little later, not at every anchor.
                    Phase::Settled { .. } | Phase::Pending | Phase::Ordered { .. } => {
                        consensus_time.plus_us(RECHECK_US)
                    }
                };
                look_at(&mut self.by_expiry, next, digest);
            }
        }
    }
}

fn look_at(by_expiry: &mut BTreeMap<u64, Vec<Digest>>, at: TimestampUs, digest: Digest) {
    by_expiry.entry(grain_of(at)).or_default().push(digest);
}

const fn grain_of(at: TimestampUs) -> u64 {
    at.0 / GRAIN_US
}

fn is_of(digest: &Digest) -> impl Fn(&(u64, Box<Held>)) -> bool {
    move |(_, held)| held.envelope.digest() == *digest
}

/// A settled envelope is kept for peers that lag this long after it expired; who lags more takes the state of a peer.
pub const SETTLED_KEPT_US: u64 = 30_000_000;
/// Expiries are looked at together that lie in one such span.
pub const GRAIN_US: u64 = 100_000;
/// An expired envelope that is kept on all the same is looked at again after this time.
const RECHECK_US: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::{Envelope, EnvelopeVerifier, LabelFields, deal, open_envelope};
    use crate::types::{ChainId, Epoch, RollupId};

    /// Open envelopes, the one with number i valid until i milliseconds.
    fn envelopes(count: u64) -> Vec<VerifiedEnvelope> {
        let (key, _) = deal(ChainId(1), Epoch(0), 4, 3, &[3; 32]).unwrap();
        let made = (0..count).map(|id| {
            let fields = LabelFields {
                rollup: RollupId(1),
                valid_until: TimestampUs(id * 1_000),
                sender_tag: [0; 16],
                padded_len: None,
            };
            let bytes = open_envelope(&key, &fields, &id.to_be_bytes()).unwrap();
            Envelope::decode(bytes.into()).unwrap()
        });
        let verdicts = EnvelopeVerifier::new(key.clone(), [1; 32]).check(made.collect());
        verdicts.into_iter().map(Result::unwrap).collect()
    }

    #[test]
    fn each_envelope_is_found_until_it_is_let_go_of_and_others_are_not() {
        let all = envelopes(2_000);
        let (held, others) = all.split_at(1_500);
        let mut table = EnvelopeTable::new(&[7; 32]);
        for (record, envelope) in held.iter().enumerate() {
            table.hold(envelope.clone(), record as u64 + 10, None);
        }
        for (record, envelope) in held.iter().enumerate() {
            let found = table.find(&envelope.digest()).unwrap();
            assert_eq!(found.record, record as u64 + 10);
            assert_eq!(found.envelope.digest(), envelope.digest());
        }
        let is_held = |table: &EnvelopeTable, envelope: &VerifiedEnvelope| {
            table.find(&envelope.digest()).is_some()
        };
        assert!(!others.iter().any(|envelope| is_held(&table, envelope)));
        // All were dropped; a thousand of them have expired, and as much of a second is whole grains.
        for envelope in held {
            table.find_mut(&envelope.digest()).unwrap().phase = Phase::Dropped;
        }
        table.purge(TimestampUs(1_000_000 + GRAIN_US - 1), BatchSeq(0));
        assert_eq!((table.len(), table.lowest_record()), (500, Some(1_010)));
        assert!(
            !held[..1_000]
                .iter()
                .any(|envelope| is_held(&table, envelope))
        );
        assert!(
            held[1_000..]
                .iter()
                .all(|envelope| is_held(&table, envelope))
        );
    }

    #[test]
    #[should_panic(expected = "one position")]
    fn an_envelope_is_held_once() {
        let mut table = EnvelopeTable::new(&[7; 32]);
        for envelope in [0, 0].map(|at| envelopes(1)[at].clone()) {
            table.hold(envelope, 1, None);
        }
    }
}
