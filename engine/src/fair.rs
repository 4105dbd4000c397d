//! Fair order: from the committed local orders of all authorities to one order that no f of them can bend.
//!
//! A pure function of the sequence of anchors: each extends every authority's list and emits what is settled by then.
//! The law: call (x, y) *forced* when more correct authorities received x before y than y before x by over 2f. A forced
//! x is never emitted after y, except inside a cycle of forced-looking pairs, or when a wait was cut, which is counted.
//! Sources: Cachin et al., Quick Order Fairness, FC 2022 (the 2f difference, n > 3f); Kelkar et al., Themis, CCS 2023
//! (batch-order-fairness); Kang et al., FairDAG 2025 (local orders in a DAG). Departs from all three: a pair waits for
//! what could be forced before it rather than for a fixed window, unready pairs expire at a consensus time, and both a
//! group's wait and any wait are bounded.
//!
//! A step, in this order: consensus time, append, drop (`observe`); the strong predecessor relation (`precedence`); who
//! is emitted (`select`); in which order (`order`, by the components of `condense`).
//!
//! I1 Every pair is emitted at most once, and only when a quorum lists it.
//! I2 A pair listed by all correct authorities is emitted at most D anchors after it is ready, D the deferral cap.
//! I3 Nothing depends on the numbering of authorities or on how pairs are laid out in memory.
//!
//! A step knows pairs by slot in the pending table, and those that it looks at more closely as *nodes*: the ready ones, and
//! where somebody has waited long, whatever precedes those. Unready pairs that do not matter are not looked at.
//!
//! Cost of a step: a hash and O(n) for each pair that comes or goes, O(1) for each listing, a word for each 64 pending;
//! with r ready pairs O(n r) and a sort, and 64 comparisons in vector registers for each of them and each block of 64
//! whose interval of ranks meets its own (`ranks`): near linear where lists agree but for a jitter, whatever f of them do;
//! r^2 / 64 such comparisons where more than that is shuffled. A ready pair is related anew at each anchor that it waits.
//! Memory: about 100 + 8 n bytes a pending pair, r^2 / 4 bytes at worst while a step lasts. A step without a ready pair
//! allocates nothing once grown; one that emits, some thirty buffers and what it gives, and some more where there are cycles.
//!
//! Measured on one AVX-512 core, n = 5, jitter of 20 positions, all m emitted at once: 0.6 us a pair from digests at
//! m = 20 to 4,096 and 0.7 at 16,384, also when f reverse or shuffle; ten pairs beside 10,000 unready ones 7 us, beside none
//! 6. When all lists are shuffled and 1,024 pairs are one cycle, 4.8 ms. n = 16: 1.0 us a pair, n = 50: 2.4.

mod bits;
mod compare;
mod condense;
mod emitted;
mod list;
mod observe;
mod order;
mod params;
mod precedence;
mod ranks;
mod select;
mod stats;
mod table;

use bits::Bits;
use emitted::EmittedLog;
use observe::Observed;
use precedence::Relation;
use ranks::Ranks;
use select::{Late, Standing};

pub(crate) use emitted::encode_pairs;
pub use params::{FairParams, FairParamsError};
pub use stats::FairStats;

use std::sync::Arc;

use crate::mutant::{self, Mutant};
use crate::types::{AuthorityIndex, Entry, TimestampUs};
use crate::wire::{DecodeError, Reader};

/// The fair order of one epoch: what is listed and not yet ordered.
#[derive(Clone, Debug)]
pub struct FairOrder {
    params: FairParams,
    observed: Observed,
    emitted: EmittedLog,
    /// The ready pairs of the last step that had some, as nodes.
    ranks: Ranks,
    relation: Relation,
    /// A buffer of [`FairOrder::step`].
    interned: Interned,
    stats: FairStats,
}

/// An anchor whose pairs have been looked up.
#[derive(Clone, Debug, Default)]
pub struct Interned {
    tie_seed: [u8; 32],
    lists: Vec<Vec<u32>>,
}

/// One committed anchor, as far as the order is concerned.
#[derive(Clone, Copy, Debug)]
pub struct Anchor<'a> {
    /// Consensus time of the anchor; an earlier time than the previous anchor's counts as the previous one.
    pub consensus_time: TimestampUs,
    /// Keys the hash that breaks ties: hashed from the anchor's parents of the round before, its own left out.
    pub tie_seed: [u8; 32],
    /// What the sub-DAG adds to each authority's list, in committed local order; one slice an authority.
    pub appends: &'a [Vec<Entry>],
}

/// What one anchor orders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Emission {
    /// The final order: groups (strongly connected components) in order, and the order inside each; none empty.
    pub groups: Vec<Vec<Entry>>,
    /// Pairs emitted because they had waited ceil(D/8) anchors for their own group, without those taken along.
    pub group_wait_cut: u32,
    /// Pairs emitted because they had waited D anchors, without those taken along.
    pub cap_fired: u32,
    /// Groups of more than 1,024 pairs, ordered inside by rank alone.
    pub groups_oversized: u32,
    /// Pairs dropped unready: expired, or valid for longer than 90 s from now; ascending. A listing that comes after
    /// both the emission and the expiry of its pair stands here too, so "dropped" alone does not mean "never emitted".
    pub dropped: Vec<Entry>,
}

/// What one anchor orders, in one piece: an [`Emission`] without a vector for each group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ordered {
    /// The final order.
    pub entries: Vec<Entry>,
    /// Where each group ends in `entries`; ascending, the last is their number.
    pub ends: Vec<u32>,
    /// As in [`Emission`].
    pub group_wait_cut: u32,
    /// As in [`Emission`].
    pub cap_fired: u32,
    /// As in [`Emission`].
    pub groups_oversized: u32,
    /// As in [`Emission`].
    pub dropped: Vec<Entry>,
}

impl Ordered {
    /// The groups in order.
    pub fn groups(&self) -> impl Iterator<Item = &[Entry]> {
        let starts = std::iter::once(&0).chain(&self.ends);
        let spans = starts.zip(&self.ends);
        spans.map(|(start, end)| &self.entries[*start as usize..*end as usize])
    }
}

impl From<Ordered> for Emission {
    fn from(ordered: Ordered) -> Self {
        Self {
            groups: ordered.groups().map(<[Entry]>::to_vec).collect(),
            group_wait_cut: ordered.group_wait_cut,
            cap_fired: ordered.cap_fired,
            groups_oversized: ordered.groups_oversized,
            dropped: ordered.dropped,
        }
    }
}

impl FairOrder {
    /// An empty order. Takes [`FairParams`], or a committee's thresholds with its deferral cap.
    pub fn new(params: impl Into<FairParams>) -> Self {
        let params = params.into();
        Self {
            params,
            observed: Observed::new(params),
            emitted: EmittedLog::default(),
            ranks: Ranks::default(),
            relation: Relation::default(),
            interned: Interned::default(),
            stats: FairStats::default(),
        }
    }

    /// Takes in one committed anchor and gives what it settles.
    ///
    /// Every anchor is one step, also when several commit at once, and also when it appends nothing.
    ///
    /// Panics when `anchor.appends` has not one slice an authority: the caller's bug, whatever was received.
    pub fn step(&mut self, anchor: &Anchor<'_>) -> Emission {
        self.step_ordered(anchor).into()
    }

    /// [`FairOrder::step`], its result in one piece.
    pub fn step_ordered(&mut self, anchor: &Anchor<'_>) -> Ordered {
        let mut interned = std::mem::take(&mut self.interned);
        self.intern(anchor, &mut interned);
        let ordered = self.step_interned(&interned);
        self.interned = interned;
        ordered
    }

    /// The first half of a step: consensus time, and a slot for each pair that `anchor` lists.
    ///
    /// Apart from [`FairOrder::step_interned`], which must follow before anything else, so that each can be measured.
    ///
    /// Panics as [`FairOrder::step`] does.
    pub fn intern(&mut self, anchor: &Anchor<'_>, interned: &mut Interned) {
        let authorities = self.params.authorities() as usize;
        assert_eq!(anchor.appends.len(), authorities, "one list an authority");
        self.observed.advance(anchor.consensus_time);
        self.emitted.forget_expired(anchor.consensus_time);
        interned.tie_seed = anchor.tie_seed;
        interned.lists.resize(authorities, Vec::new());
        for (slots, entries) in interned.lists.iter_mut().zip(anchor.appends) {
            slots.clear();
            let slot = |entry: &Entry| self.observed.intern(entry, &self.emitted);
            slots.extend(entries.iter().filter_map(slot));
        }
    }

    /// The second half of a step: append, drop, select, order. `interned` is what [`FairOrder::intern`] just gave.
    pub fn step_interned(&mut self, interned: &Interned) -> Ordered {
        for (authority, slots) in (0..).map(AuthorityIndex).zip(&interned.lists) {
            self.observed.append(authority, slots);
        }
        let mut ordered = Ordered {
            dropped: self.observed.drop_expired(),
            ..Ordered::default()
        };
        if self.observed.listings_max() >= self.params.quorum() {
            let emitted = self.select(&mut ordered);
            if !emitted.is_empty() {
                self.arrange(&emitted, &interned.tie_seed, &mut ordered);
            }
            self.settle(&emitted);
            self.emitted.push(&ordered.entries);
        }
        self.observed.tidy();
        ordered
    }

    /// Appends the fair order's part of the canonical state: what is pending, and the hashes of what was emitted and has
    /// not expired. O(pending and listed, and emissions of the last 90 s).
    pub(crate) fn encode_state(&self, out: &mut Vec<u8>) {
        self.observed.encode_state(out);
        self.emitted.encode_state(out);
    }

    /// The emissions whose hashes stand in the state, in its order.
    pub(crate) fn emissions(&self) -> Vec<Arc<[Entry]>> {
        self.emitted.emissions()
    }

    /// An order that goes on where the one whose state this is stood; `emissions` is read behind the state.
    ///
    /// Errors: bytes that are no such state, or emissions that are not the state's.
    pub(crate) fn decode_state(
        params: impl Into<FairParams>,
        state: &mut Reader<'_>,
        emissions: &mut Reader<'_>,
    ) -> Result<Self, DecodeError> {
        let mut order = Self::new(params);
        order.observed = Observed::decode_state(order.params, state)?;
        order.emitted = EmittedLog::decode_state(state, emissions)?;
        Ok(order)
    }

    /// How many emitted pairs are remembered, and in how many emissions.
    pub fn emitted_len(&self) -> (usize, usize) {
        (self.emitted.pairs_len(), self.emitted.len())
    }

    /// How many pairs are listed and neither emitted nor dropped.
    pub fn pending_len(&self) -> usize {
        self.observed.table.len()
    }

    /// The pairs that are listed and neither emitted nor dropped, in order of arrival.
    pub fn pending(&self) -> impl Iterator<Item = &Entry> {
        self.observed.pending()
    }

    /// Whether some pending pair is listed by `at_least` authorities or more. O(1).
    pub const fn is_pending_listed_by(&self, at_least: u32) -> bool {
        let listings_max = self.observed.listings_max();
        listings_max > 0 && listings_max >= at_least
    }

    /// What was counted since this order was made or this was last asked; it is no part of the state.
    pub fn take_stats(&mut self) -> FairStats {
        std::mem::take(&mut self.stats)
    }

    /// Makes nodes of the ready pairs, relates them, and gives those that rules 1 to 3 emit.
    fn select(&mut self, ordered: &mut Ordered) -> Bits {
        let (authorities, quorum) = (self.params.authorities() as usize, self.params.quorum());
        self.observed.count_ranks();
        let observed = &self.observed;
        let slots = observed.table.ready().iter().map(|slot| slot as u32);
        let rank = |slot, list| observed.rank(slot, list);
        self.ranks.rebuild(authorities, quorum, slots, rank);
        let (mut ready, mut kept_back) = (self.ranks.none(), self.ranks.none());
        let table = &mut self.observed.table;
        let first = table.first_blocking();
        for (node, slot) in self.ranks.nodes() {
            ready.insert(node);
            if table.is_kept_back(slot, &first) {
                kept_back.insert(node);
            }
        }
        let mut emitted = self.ranks.none();
        if kept_back != ready {
            self.relation.rebuild(&self.ranks, quorum);
            emitted = select::unblocked(&self.relation, &ready, &kept_back);
        }
        ready.subtract(&emitted);
        let has_waited =
            |slot: u32| self.observed.table.pair(slot).deferred >= self.params.group_wait();
        let waiting = ready.iter().map(|node| self.ranks.slot(node));
        let mut waited: Vec<u32> = waiting.filter(|slot| has_waited(*slot)).collect();
        if !waited.is_empty() {
            waited.sort_unstable();
            if kept_back == ready {
                self.relation.rebuild(&self.ranks, quorum);
            }
            self.select_late(&waited, &mut emitted, ordered);
        }
        emitted
    }

    /// Applies rule 3 to those in `waited`, slots, ascending, of ready pairs that rule 2 leaves; adds to `emitted`, nodes.
    fn select_late(&mut self, waited: &[u32], emitted: &mut Bits, ordered: &mut Ordered) {
        let (authorities, quorum) = (self.params.authorities() as usize, self.params.quorum());
        let observed = &self.observed;
        let above = observed.table.with_ancestors(waited);
        let mut ranks = Ranks::default();
        let rank = |slot, list| observed.rank(slot, list);
        let slots = above.iter().map(|slot| slot as u32);
        ranks.rebuild(authorities, quorum, slots, rank);
        let mut relation = Relation::default();
        relation.rebuild(&ranks, quorum);
        let mut standings = vec![None; relation.len()];
        let mut waiting = ranks.none();
        for (node, slot) in ranks.nodes() {
            let pair = observed.table.pair(slot);
            standings[node] = Some(Standing {
                is_ready: observed.table.ready().contains(slot as usize),
                is_overlooked: pair.is_overlooked,
                deferred: pair.deferred,
            });
            if waited.binary_search(&slot).is_ok() {
                waiting.insert(node);
            }
        }
        let late: Late = select::late(&standings, &relation, self.params, &waiting);
        (ordered.group_wait_cut, ordered.cap_fired) = (late.group_wait_cut, late.cap_fired);
        let mut let_go = observed.table.none();
        for node in late.emitted.iter() {
            let_go.insert(ranks.slot(node) as usize);
        }
        for (node, slot) in self.ranks.nodes() {
            if let_go.contains(slot as usize) {
                emitted.insert(node);
            }
        }
        for node in late.overlooked.iter() {
            self.observed.table.overlook(ranks.slot(node));
        }
    }

    /// Orders what was selected (rule 4).
    fn arrange(&mut self, emitted: &Bits, tie_seed: &[u8; 32], ordered: &mut Ordered) {
        let table = &self.observed.table;
        let entry = |node: usize| &table.pair(self.ranks.slot(node)).entry;
        let quorum = self.params.quorum();
        let place = order::places(&self.ranks, emitted, tie_seed, entry);
        let arranged = order::arrange(&self.ranks, &self.relation, quorum, emitted, &place);
        assert_eq!(
            arranged.nodes.len(),
            emitted.count() as usize,
            "what is selected is emitted once"
        );
        let nodes = arranged.nodes.iter();
        ordered.entries = nodes.map(|node| *entry(*node as usize)).collect();
        ordered.ends = arranged.ends;
        ordered.groups_oversized = arranged.oversized;
        self.stats.on_groups(ordered);
    }

    /// Takes out what was emitted, and counts the anchor for the ready ones that go on waiting.
    fn settle(&mut self, emitted: &Bits) {
        let quorum = self.params.quorum();
        for (node, slot) in self.ranks.nodes() {
            let pair = self.observed.table.pair(slot);
            let is_ready = pair.listed_by.len() >= quorum;
            // Where the rule is broken on purpose a checker is to see it, and not this.
            assert!(
                is_ready || mutant::is(Mutant::ReadyLessOne),
                "only the ready are emitted"
            );
            if emitted.contains(node) {
                self.stats.on_emitted(pair.deferred);
                self.observed.remove(slot);
            } else if is_ready {
                self.observed.table.defer(slot);
            }
        }
    }
}

#[cfg(test)]
mod ranks_tests;
#[cfg(test)]
mod recovery_tests;
#[cfg(test)]
mod tests;
