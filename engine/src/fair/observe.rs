//! What the committed local orders hold that is not yet ordered: the pending pairs and each authority's list of them.
//!
//! Fairlane protocol, fair order, first half of a step (consensus time, append, drop). After the local orders of a DAG
//! as in Kang et al., FairDAG 2025. Departs: the key is the pair (digest, valid_until), so ordering needs no payload,
//! and a pair that too few list leaves at a consensus time that all nodes share, not at a local one.
//!
//! I1 A pair stands at most once in a list: only an authority's first listing counts.
//! I2 A pair emitted or dropped is not pending again before its `valid_until` has passed; after that it is dropped at the
//!    anchor that brings it, however many list it: nobody need hold its bytes any more.
//! I3 The lists hold exactly the pending pairs, in committed order, so an index in a list is a rank.
//!
//! Cost: O(log m) a listing; O(n m + m log m) where something leaves. Memory: what is pending, which expiry bounds by
//! 90 s of vertices, and what was emitted and has not expired.

use std::collections::{BTreeMap, BTreeSet};

use super::bits::Bits;
use super::params::FairParams;
use crate::mutant::{self, Mutant};
use crate::types::{AuthorityIndex, AuthoritySet, Digest, Entry, TimestampUs};
use crate::wire::{DecodeError, Reader, Writer};

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
    /// How many were pending before this anchor; the others came with it.
    known_len: usize,
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
            known_len: 0,
            consensus_time: TimestampUs::default(),
            quorum: params.quorum(),
            listings_max: 0,
        }
    }

    /// Begins a step: moves consensus time to `now` (never back) and forgets the emitted pairs that expired before it.
    pub(super) fn advance(&mut self, now: TimestampUs) {
        self.known_len = self.pending.len();
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

    /// Drops the pairs that are not ready and whose `valid_until` is past or too far ahead, and those that were past when
    /// this anchor brought them, ready or not; gives them ascending.
    ///
    /// A pair that was dropped, and whose bytes everybody has let go of, may yet be listed by all who had not listed it
    /// before, within one anchor. Emitted then, it would have to be revealed, and nobody could.
    pub(super) fn drop_expired(&mut self) -> Vec<Entry> {
        let latest = self.consensus_time.plus_us(AHEAD_US_MAX);
        let mut gone = Bits::empty(self.pending.len());
        let mut dropped = Vec::new();
        for (at, pair) in self.pending.iter().enumerate() {
            let until = pair.entry.valid_until;
            let (is_past, is_far) = (until < self.consensus_time, until > latest);
            let is_new = at >= self.known_len && !mutant::is(Mutant::EmitsExpired);
            if (is_past && is_new) || ((is_past || is_far) && !self.is_ready(pair)) {
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

    /// Appends consensus time u64, the pending pairs in order of arrival (u32; digest 32, valid_until u64, deferred u32,
    /// overlooked u8 each) and each authority's list of them (u32; indices u32). Who has listed a pair follows.
    pub(super) fn encode_state(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer
            .u64(self.consensus_time.0)
            .count_u32(self.pending.len());
        for pair in &self.pending {
            writer
                .bytes(&pair.entry.digest.0)
                .u64(pair.entry.valid_until.0)
                .u32(pair.deferred)
                .u8(u8::from(pair.is_overlooked));
        }
        for list in &self.lists {
            writer.count_u32(list.len());
            for at in list {
                writer.u32(*at);
            }
        }
    }

    /// Reads what [`Observed::encode_state`] wrote; what was emitted is to be remembered apart. Errors: anything else.
    pub(super) fn decode_state(
        params: FairParams,
        reader: &mut Reader<'_>,
    ) -> Result<Self, DecodeError> {
        let mut observed = Self::new(params);
        observed.consensus_time = reader.timestamp()?;
        let most = (reader.left() / PENDING_LEN).try_into();
        let count = reader.count_u32("pending pairs", most.unwrap_or(u32::MAX))?;
        for at in 0..count as u32 {
            let entry = Entry {
                digest: reader.digest()?,
                valid_until: reader.timestamp()?,
            };
            let pair = Pending {
                entry,
                listed_by: AuthoritySet::EMPTY,
                deferred: reader.u32()?,
                is_overlooked: match reader.u8()? {
                    0 => false,
                    1 => true,
                    _ => return Err(DecodeError::NotCanonical("overlooked")),
                },
            };
            if observed.index.insert(key_of(&entry), at).is_some() {
                return Err(DecodeError::NotCanonical("pending pairs"));
            }
            observed.pending.push(pair);
        }
        for authority in (0..params.authorities()).map(|at| AuthorityIndex(at as u8)) {
            let listed = reader.count_u32("listed pairs", count as u32)?;
            for _ in 0..listed {
                let at = reader.u32()?;
                let pair = observed.pending.get_mut(at as usize);
                let listed_by = pair.map(|pair| &mut pair.listed_by);
                if !listed_by.is_some_and(|listed_by| listed_by.insert(authority)) {
                    return Err(DecodeError::NotCanonical("listed pairs"));
                }
                observed.lists[authority.as_usize()].push(at);
            }
        }
        let listings = observed.pending.iter().map(|pair| pair.listed_by.len());
        observed.listings_max = listings.max().unwrap_or(0);
        match observed
            .pending
            .iter()
            .any(|pair| pair.listed_by.is_empty())
        {
            true => Err(DecodeError::NotCanonical("pending pairs")),
            false => Ok(observed),
        }
    }

    /// Remembers that `entries` were emitted, as far as they have not expired.
    pub(super) fn remember_emitted(&mut self, entries: &[Entry]) {
        let unexpired = entries
            .iter()
            .filter(|entry| entry.valid_until >= self.consensus_time);
        self.emitted.extend(unexpired.map(key_of));
    }

    /// How many emitted pairs are remembered.
    pub(super) fn emitted_len(&self) -> usize {
        self.emitted.len()
    }

    /// Whether a quorum lists `pair`. Listings only grow, so a pair once ready stays ready.
    pub(super) fn is_ready(&self, pair: &Pending) -> bool {
        pair.listed_by.len() + u32::from(mutant::is(Mutant::ReadyLessOne)) >= self.quorum
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
        if self.emitted.contains(&key) && !mutant::is(Mutant::NoDuplicateFilter) {
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

/// Encoded length of a pending pair in the state, bytes.
const PENDING_LEN: usize = 45;

/// Expiry first, so that what has expired is one end of a sorted set.
type Key = (TimestampUs, Digest);

const fn key_of(entry: &Entry) -> Key {
    (entry.valid_until, entry.digest)
}

/// How far ahead of consensus time a pair's `valid_until` may be, microseconds.
const AHEAD_US_MAX: u64 = 90_000_000;
