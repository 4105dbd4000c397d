//! What the committed local orders hold that is not yet ordered: the pending pairs and each authority's list of them.
//!
//! Fairlane protocol, fair order, first half of a step (consensus time, append, drop). After the local orders of a DAG
//! as in Kang et al., FairDAG 2025. Departs: the key is the pair (digest, valid_until), so ordering needs no payload,
//! and a pair that too few list leaves at a consensus time that all nodes share, not at a local one.
//!
//! I1 A pair stands at most once in a list: only an authority's first listing counts.
//! I2 A pair emitted is not pending again before its `valid_until` has passed; after that a listing by fewer than a
//!    quorum is dropped at the anchor that brings it. (At most 2f authorities can list a pair after its emission: the
//!    f that had not yet, and f liars again; 2f is below the quorum.)
//! I3 The lists hold exactly the pending pairs, in committed order, so an index in a list is a rank.
//!
//! Cost: O(log m) a listing; O(n m + m log m) where something leaves. Memory: what is pending, which expiry bounds by
//! 90 s of vertices, and what was emitted and has not expired.

use std::collections::{BTreeMap, BTreeSet};

use super::bits::Bits;
use super::params::FairParams;
use crate::types::{AuthorityIndex, AuthoritySet, Digest, Entry, TimestampUs};

/// A pair that some committed list holds and that is neither emitted nor dropped.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    /// The pair.
    pub(super) entry: Entry,
    /// Who has listed it.
    pub(super) listed_by: AuthoritySet,
    /// Anchors at which it was ready and not emitted.
    pub(super) deferred: u32,
    /// The deferral cap fired while waiting for this one: it blocks nobody until it is ready.
    pub(super) is_overlooked: bool,
}

/// The pending pairs, the lists of them, and what was emitted and may yet be listed again.
#[derive(Clone, Debug)]
pub(super) struct Observed {
    /// Pending pairs; their index is what lists, ranks and relation speak of within a step.
    pub(super) pending: Vec<Pending>,
    /// For each authority, the pending pairs it lists, in committed order.
    pub(super) lists: Vec<Vec<u32>>,
    index: BTreeMap<Key, u32>,
    emitted: BTreeSet<Key>,
    consensus_time: TimestampUs,
    quorum: u32,
    listings_max: u32,
}

impl Observed {
    /// Nothing listed yet.
    pub(super) fn new(params: FairParams) -> Self {
        Self {
            pending: Vec::new(),
            lists: vec![Vec::new(); params.authorities() as usize],
            index: BTreeMap::new(),
            emitted: BTreeSet::new(),
            consensus_time: TimestampUs::default(),
            quorum: params.quorum(),
            listings_max: 0,
        }
    }

    /// Moves consensus time to `now` (never back) and forgets the emitted pairs that expired before it.
    pub(super) fn advance(&mut self, now: TimestampUs) {
        self.consensus_time = self.consensus_time.max(now);
        let oldest_kept = (self.consensus_time, Digest::default());
        if self.emitted.first().is_some_and(|key| *key < oldest_kept) {
            self.emitted = self.emitted.split_off(&oldest_kept);
        }
    }

    /// Extends the list of `authority` (a member) by `entries`, in order.
    pub(super) fn append(&mut self, authority: AuthorityIndex, entries: &[Entry]) {
        for entry in entries {
            let Some(at) = self.intern(*entry) else {
                continue;
            };
            let pair = &mut self.pending[at as usize];
            if pair.listed_by.insert(authority) {
                self.lists[authority.as_usize()].push(at);
                self.listings_max = self.listings_max.max(pair.listed_by.len());
            }
        }
    }

    /// Drops the pairs that are not ready and whose `valid_until` is past or too far ahead; gives them ascending.
    pub(super) fn drop_expired(&mut self) -> Vec<Entry> {
        let latest = self.consensus_time.plus_us(AHEAD_US_MAX);
        let in_time = self.consensus_time..=latest;
        let mut gone = Bits::empty(self.pending.len());
        let mut dropped = Vec::new();
        for (at, pair) in self.pending.iter().enumerate() {
            if !in_time.contains(&pair.entry.valid_until) && !self.is_ready(pair) {
                gone.insert(at);
                dropped.push(pair.entry);
            }
        }
        self.remove(&gone);
        dropped.sort_unstable();
        dropped
    }

    /// Takes out the pairs in `emitted` and remembers them until they expire.
    pub(super) fn take_emitted(&mut self, emitted: &Bits) {
        for at in emitted.iter() {
            self.emitted.insert(key_of(&self.pending[at].entry));
        }
        self.remove(emitted);
    }

    /// Whether a quorum lists `pair`. Listings only grow, so a pair once ready stays ready.
    pub(super) fn is_ready(&self, pair: &Pending) -> bool {
        pair.listed_by.len() >= self.quorum
    }

    /// The most authorities that list one pending pair; 0 when nothing is pending.
    pub(super) const fn listings_max(&self) -> u32 {
        self.listings_max
    }

    /// The index of `entry` among the pending, which it joins if it is new; none if it was emitted.
    fn intern(&mut self, entry: Entry) -> Option<u32> {
        let key = key_of(&entry);
        if let Some(at) = self.index.get(&key) {
            return Some(*at);
        }
        if self.emitted.contains(&key) {
            return None;
        }
        let at =
            u32::try_from(self.pending.len()).expect("expiry keeps far fewer than 2^32 pending");
        self.index.insert(key, at);
        self.pending.push(Pending {
            entry,
            listed_by: AuthoritySet::EMPTY,
            deferred: 0,
            is_overlooked: false,
        });
        Some(at)
    }

    /// Takes the pairs in `gone` out of the table, the index and every list, closing the gaps.
    fn remove(&mut self, gone: &Bits) {
        if gone.is_empty() {
            return;
        }
        let mut moved_to = Vec::with_capacity(self.pending.len());
        let mut kept = 0;
        for at in 0..self.pending.len() {
            moved_to.push(kept);
            kept += u32::from(!gone.contains(at));
        }
        let mut at = 0;
        self.pending.retain(|_| {
            at += 1;
            !gone.contains(at - 1)
        });
        let is_kept = |at: &mut u32| {
            let old = *at as usize;
            *at = moved_to[old];
            !gone.contains(old)
        };
        self.index.retain(|_, at| is_kept(at));
        for list in &mut self.lists {
            list.retain_mut(is_kept);
        }
        assert_eq!(
            self.index.len(),
            self.pending.len(),
            "one key a pending pair"
        );
        let listings = self.pending.iter().map(|pair| pair.listed_by.len());
        self.listings_max = listings.max().unwrap_or(0);
    }
}

/// Expiry first, so that what has expired is one end of a sorted set.
type Key = (TimestampUs, Digest);

const fn key_of(entry: &Entry) -> Key {
    (entry.valid_until, entry.digest)
}

/// How far ahead of consensus time a pair's `valid_until` may be, microseconds.
const AHEAD_US_MAX: u64 = 90_000_000;
