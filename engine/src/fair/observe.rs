//! What the committed local orders hold that is not yet ordered: the pending pairs and each authority's list of them.
//!
//! Fairlane protocol, fair order, first half of a step (consensus time, append, drop). After the local orders of a DAG
//! as in Kang et al., FairDAG 2025. Departs: the key is the pair (digest, valid_until), so ordering needs no payload,
//! and a pair that too few list leaves at a consensus time that all nodes share, not at a local one.
//!
//! I1 A pair stands at most once in a list: only an authority's first listing counts.
//! I2 A pair dropped is not pending again before its `valid_until` has passed; after that it is dropped at the anchor that
//!    brings it, however many list it: nobody need hold its bytes any more.
//! I3 The lists hold exactly the pending pairs, in committed order, so ranks follow from places.
//! I4 At the end of a step every unready pair is within its time, and expires by a heap: nothing is looked through.
//!
//! Cost: a hash and O(n) a pair that comes and goes, O(1) a listing, O(log m) a pair that waits unready. What is pending
//! and does not change costs nothing. Memory: what is pending, which expiry bounds by 90 s of vertices.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::compare::ABSENT;
use super::emitted::EmittedLog;
use super::list::List;
use super::params::FairParams;
use super::table::Table;
use crate::mutant::{self, Mutant};
use crate::types::{AuthorityIndex, Entry, TimestampUs};
use crate::wire::{DecodeError, Reader, Writer};

/// The pending pairs and the lists of them.
#[derive(Clone, Debug)]
pub(super) struct Observed {
    /// The pending pairs by slot.
    pub(super) table: Table,
    /// For each authority, the pending pairs it lists, in committed order.
    lists: Vec<List>,
    /// The pending pairs as they were met.
    arrivals: List,
    /// Those that came with this anchor.
    fresh: Vec<u32>,
    /// Unready pairs by expiry, and some that became ready or left.
    expiries: BinaryHeap<Reverse<(TimestampUs, u32)>>,
    consensus_time: TimestampUs,
    quorum: u32,
    /// How many pending pairs have so many listings.
    with_listings: Vec<u32>,
    listings_max: u32,
}

impl Observed {
    /// Nothing listed yet.
    pub(super) fn new(params: FairParams) -> Self {
        let authorities = params.authorities() as usize;
        Self {
            table: Table::new(params),
            lists: vec![List::default(); authorities],
            arrivals: List::default(),
            fresh: Vec::new(),
            expiries: BinaryHeap::new(),
            consensus_time: TimestampUs::default(),
            quorum: params.quorum(),
            with_listings: vec![0; authorities + 1],
            listings_max: 0,
        }
    }

    /// Begins a step: moves consensus time to `now`, never back.
    pub(super) fn advance(&mut self, now: TimestampUs) {
        self.fresh.clear();
        self.consensus_time = self.consensus_time.max(now);
    }

    /// Gives `entry`'s slot, a new one if it was not pending; none if it was emitted and has not expired.
    ///
    /// What is new must be listed before the step goes on.
    pub(super) fn intern(&mut self, entry: &Entry, emitted: &EmittedLog) -> Option<u32> {
        if let Some(slot) = self.table.find(entry) {
            return Some(slot);
        }
        let is_emitted = entry.valid_until >= self.consensus_time && emitted.contains(entry);
        if is_emitted && !mutant::is(Mutant::NoDuplicateFilter) {
            return None;
        }
        Some(self.insert(*entry))
    }

    /// Extends the list of `authority` (a member) by the pairs in `slots`, in order.
    pub(super) fn append(&mut self, authority: AuthorityIndex, slots: &[u32]) {
        let mutated = u32::from(mutant::is(Mutant::ReadyLessOne));
        for slot in slots.iter().copied() {
            let mut listed_by = self.table.pair(slot).listed_by;
            if !listed_by.insert(authority) {
                continue;
            }
            let place = self.lists[authority.as_usize()].push(slot);
            self.table.set_place(slot, authority.as_usize(), place);
            let least = self.quorum - mutated;
            self.table.note_listing(slot, listed_by, least);
            let listings = listed_by.len();
            self.with_listings[listings as usize - 1] -= u32::from(listings > 1);
            self.with_listings[listings as usize] += 1;
            self.listings_max = self.listings_max.max(listings);
        }
    }

    /// Drops the pairs that are not ready and whose `valid_until` is past or too far ahead, and those that were past when
    /// this anchor brought them, ready or not; gives them ascending.
    ///
    /// A pair that was dropped, and whose bytes everybody has let go of, may yet be listed by all who had not listed it
    /// before, within one anchor. Emitted then, it would have to be revealed, and nobody could.
    pub(super) fn drop_expired(&mut self) -> Vec<Entry> {
        let mut dropped = Vec::new();
        let latest = self.consensus_time.plus_us(AHEAD_US_MAX);
        let fresh = std::mem::take(&mut self.fresh);
        for slot in fresh.iter().copied() {
            let entry = self.table.pair(slot).entry;
            let until = entry.valid_until;
            let is_ready = self.table.ready().contains(slot as usize);
            let is_past = until < self.consensus_time;
            let is_new = !mutant::is(Mutant::EmitsExpired);
            if (is_past && is_new) || ((is_past || until > latest) && !is_ready) {
                dropped.push(entry);
                self.remove(slot);
            } else if !is_ready {
                self.expiries.push(Reverse((until, slot)));
            }
        }
        // The buffer stays; `advance` empties it.
        self.fresh = fresh;
        while let Some(Reverse((until, slot))) = self.expiries.peek().copied()
            && until < self.consensus_time
        {
            self.expiries.pop();
            if self.is_waiting_until(until, slot) {
                dropped.push(self.table.pair(slot).entry);
                self.remove(slot);
            }
        }
        if self.expiries.len() > 2 * self.table.len() + EXPIRIES_IDLE_MAX {
            let mut expiries = std::mem::take(&mut self.expiries);
            expiries.retain(|Reverse((until, slot))| self.is_waiting_until(*until, *slot));
            self.expiries = expiries;
        }
        dropped.sort_unstable();
        dropped
    }

    /// Takes the pair in `slot` out of the table and of every list.
    pub(super) fn remove(&mut self, slot: u32) {
        let listings = self.table.pair(slot).listed_by.len();
        self.with_listings[listings as usize] -= 1;
        while self.listings_max > 0 && self.with_listings[self.listings_max as usize] == 0 {
            self.listings_max -= 1;
        }
        for (at, list) in self.lists.iter_mut().enumerate() {
            let place = self.table.place(slot, at);
            if place != ABSENT {
                list.remove(place);
            }
        }
        self.arrivals.remove(self.table.pair(slot).arrived);
        self.table.remove(slot);
    }

    /// Ends a step: closes the gaps where they have become many.
    pub(super) fn tidy(&mut self) {
        let Self {
            table,
            lists,
            arrivals,
            ..
        } = self;
        for (at, list) in lists.iter_mut().enumerate() {
            list.compact_if_sparse(|slot, place| table.set_place(slot, at, place));
        }
        arrivals.compact_if_sparse(|slot, place| table.set_arrived(slot, place));
    }

    /// Makes [`Observed::rank`] right.
    pub(super) fn count_ranks(&mut self) {
        self.lists.iter_mut().for_each(List::count);
    }

    /// How many pending pairs stand before `slot` in the list of authority `list`; [`ABSENT`] if it is not listed there.
    pub(super) fn rank(&self, slot: u32, list: usize) -> u32 {
        match self.table.place(slot, list) {
            ABSENT => ABSENT,
            place => self.lists[list].rank(place),
        }
    }

    /// The pending pairs in order of arrival.
    pub(super) fn pending(&self) -> impl Iterator<Item = &Entry> {
        let slots = self.arrivals.iter();
        slots.map(|slot| &self.table.pair(slot).entry)
    }

    /// The most authorities that list one pending pair; 0 when nothing is pending.
    pub(super) const fn listings_max(&self) -> u32 {
        self.listings_max
    }

    /// Appends consensus time u64, the pending pairs in order of arrival (u32; digest 32, valid_until u64, deferred u32,
    /// overlooked u8 each) and each authority's list of them (u32; indices u32). Who has listed a pair follows.
    pub(super) fn encode_state(&self, out: &mut Vec<u8>) {
        let mut arrivals = self.arrivals.clone();
        arrivals.count();
        let mut writer = Writer::new(out);
        writer.u64(self.consensus_time.0).count_u32(arrivals.len());
        for slot in arrivals.iter() {
            let pair = self.table.pair(slot);
            writer
                .bytes(&pair.entry.digest.0)
                .u64(pair.entry.valid_until.0)
                .u32(pair.deferred)
                .u8(u8::from(pair.is_overlooked));
        }
        for list in &self.lists {
            writer.count_u32(list.len());
            for slot in list.iter() {
                writer.u32(arrivals.rank(self.table.pair(slot).arrived));
            }
        }
    }

    /// Reads what [`Observed::encode_state`] wrote. Errors: anything else.
    pub(super) fn decode_state(
        params: FairParams,
        reader: &mut Reader<'_>,
    ) -> Result<Self, DecodeError> {
        let mut observed = Self::new(params);
        observed.consensus_time = reader.timestamp()?;
        let most = (reader.left() / PENDING_LEN).try_into();
        let count = reader.count_u32("pending pairs", most.unwrap_or(u32::MAX))?;
        let mut slots = Vec::with_capacity(count);
        for _ in 0..count {
            let entry = Entry {
                digest: reader.digest()?,
                valid_until: reader.timestamp()?,
            };
            let deferred = reader.u32()?;
            let is_overlooked = match reader.u8()? {
                0 => false,
                1 => true,
                _ => return Err(DecodeError::NotCanonical("overlooked")),
            };
            if observed.table.find(&entry).is_some() {
                return Err(DecodeError::NotCanonical("pending pairs"));
            }
            let slot = observed.insert(entry);
            observed.table.restore(slot, deferred, is_overlooked);
            slots.push(slot);
        }
        for authority in (0..params.authorities()).map(|at| AuthorityIndex(at as u8)) {
            let listed = reader.count_u32("listed pairs", count as u32)?;
            for _ in 0..listed {
                let slot = slots.get(reader.u32()? as usize).copied();
                let is_fresh =
                    |slot: &u32| !observed.table.pair(*slot).listed_by.contains(authority);
                let Some(slot) = slot.filter(is_fresh) else {
                    return Err(DecodeError::NotCanonical("listed pairs"));
                };
                observed.append(authority, &[slot]);
            }
        }
        observed.expect_all_in_time(&slots)?;
        Ok(observed)
    }

    /// What is read back is a step's end (I4): every pair is listed, and every unready one within its time.
    fn expect_all_in_time(&mut self, slots: &[u32]) -> Result<(), DecodeError> {
        self.fresh.clear();
        let in_time = self.consensus_time..=self.consensus_time.plus_us(AHEAD_US_MAX);
        for slot in slots.iter().copied() {
            let pair = self.table.pair(slot);
            let until = pair.entry.valid_until;
            let is_ready = self.table.ready().contains(slot as usize);
            if pair.listed_by.is_empty() || !(is_ready || in_time.contains(&until)) {
                return Err(DecodeError::NotCanonical("pending pairs"));
            }
            if !is_ready {
                self.expiries.push(Reverse((until, slot)));
            }
        }
        Ok(())
    }

    fn insert(&mut self, entry: Entry) -> u32 {
        let arrivals = &mut self.arrivals;
        let slot = self.table.insert(entry, |slot| arrivals.push(slot));
        self.fresh.push(slot);
        slot
    }

    /// Whether an unready pair that expires then is in `slot`. (If it is not the one that was noted, it expires alike.)
    fn is_waiting_until(&self, until: TimestampUs, slot: u32) -> bool {
        let is_taken = self.table.taken().contains(slot as usize);
        let is_ready = self.table.ready().contains(slot as usize);
        is_taken && !is_ready && self.table.pair(slot).entry.valid_until == until
    }
}

/// Encoded length of a pending pair in the state, bytes.
const PENDING_LEN: usize = 45;

/// How far ahead of consensus time a pair's `valid_until` may be, microseconds.
const AHEAD_US_MAX: u64 = 90_000_000;

/// Expiries kept beyond twice what is pending.
const EXPIRIES_IDLE_MAX: usize = 1024;
