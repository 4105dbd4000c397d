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
//! Cost of a step with m pending: O(n m) without a ready pair; else n m^2 comparisons in vector registers, m^2 / 32
//! words of rows and a search for groups on them. Measured on one AVX-512 core at n = 5, all m emitted at once: 20 us at
//! m = 20, 0.1 ms at 100, 5 ms at 1,000, 40 ms at 4,000.

mod bits;
mod condense;
mod emitted;
mod observe;
mod order;
mod params;
mod precedence;
mod select;

use emitted::EmittedLog;
use observe::Observed;
use precedence::{Ranks, Relation};
use select::{Selection, Standing};

pub(crate) use emitted::encode_pairs;
pub use params::{FairParams, FairParamsError};

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
    ranks: Ranks,
    relation: Relation,
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
        }
    }

    /// Takes in one committed anchor and gives what it settles.
    ///
    /// Every anchor is one step, also when several commit at once, and also when it appends nothing.
    ///
    /// Panics when `anchor.appends` has not one slice an authority: the caller's bug, whatever was received.
    pub fn step(&mut self, anchor: &Anchor<'_>) -> Emission {
        let authorities = self.params.authorities();
        assert_eq!(
            anchor.appends.len(),
            authorities as usize,
            "one list an authority"
        );
        self.observed.advance(anchor.consensus_time);
        self.emitted.forget_expired(anchor.consensus_time);
        for (authority, entries) in (0..).map(AuthorityIndex).zip(anchor.appends) {
            self.observed.append(authority, entries);
        }
        let dropped = self.observed.drop_expired();
        if self.observed.listings_max() < self.params.quorum() {
            return Emission {
                dropped,
                ..Emission::default()
            };
        }
        let selection = self.select();
        let emission = self.emit(&selection, &anchor.tie_seed, dropped);
        self.settle(&selection);
        self.emitted.push(emission.groups.iter().flatten().copied());
        emission
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
        for entries in order.emitted.emissions() {
            order.observed.remember_emitted(&entries);
        }
        Ok(order)
    }

    /// How many emitted pairs are remembered, and in how many emissions.
    pub fn emitted_len(&self) -> (usize, usize) {
        (self.observed.emitted_len(), self.emitted.len())
    }

    /// How many pairs are listed and neither emitted nor dropped.
    pub fn pending_len(&self) -> usize {
        self.observed.pending.len()
    }

    /// The pairs that are listed and neither emitted nor dropped, in order of arrival.
    pub fn pending(&self) -> impl Iterator<Item = &Entry> {
        self.observed.pending.iter().map(|pair| &pair.entry)
    }

    /// Whether some pending pair is listed by `at_least` authorities or more. O(1).
    pub const fn is_pending_listed_by(&self, at_least: u32) -> bool {
        let listings_max = self.observed.listings_max();
        listings_max > 0 && listings_max >= at_least
    }

    /// Relates the pending pairs as they stand and applies rules 1 to 3.
    fn select(&mut self) -> Selection {
        let observed = &self.observed;
        self.ranks.rebuild(&observed.lists, observed.pending.len());
        self.relation.rebuild(&self.ranks, self.params.quorum());
        let standing = |pair: &observe::Pending| -> Standing {
            let observe::Pending {
                deferred,
                is_overlooked,
                ..
            } = *pair;
            Standing {
                is_ready: observed.is_ready(pair),
                is_overlooked,
                deferred,
            }
        };
        let standings: Vec<Standing> = observed.pending.iter().map(standing).collect();
        select::select(&standings, &self.relation, self.params)
    }

    /// Orders what was selected (rule 4).
    fn emit(&self, selection: &Selection, tie_seed: &[u8; 32], dropped: Vec<Entry>) -> Emission {
        let pending = &self.observed.pending;
        let entry = |at: usize| &pending[at].entry;
        let (emitted, quorum) = (&selection.emitted, self.params.quorum());
        let place = order::places(&self.ranks, emitted, tie_seed, entry, pending.len());
        let arranged = order::arrange(&self.ranks, &self.relation, quorum, emitted, &place);
        let entries = |group: &Vec<u32>| group.iter().map(|at| *entry(*at as usize)).collect();
        let groups: Vec<Vec<Entry>> = arranged.groups.iter().map(entries).collect();
        let ordered: usize = groups.iter().map(Vec::len).sum();
        assert_eq!(
            ordered,
            emitted.count() as usize,
            "what is selected is emitted once"
        );
        Emission {
            groups,
            group_wait_cut: selection.group_wait_cut,
            cap_fired: selection.cap_fired,
            groups_oversized: arranged.oversized,
            dropped,
        }
    }

    /// Counts the anchor for who goes on waiting, marks whom the cap gave up on, and takes out what was emitted.
    fn settle(&mut self, selection: &Selection) {
        let quorum = self.params.quorum();
        for (at, pair) in self.observed.pending.iter_mut().enumerate() {
            let is_ready = pair.listed_by.len() >= quorum;
            // Where the rule is broken on purpose a checker is to see it, and not this.
            assert!(
                is_ready || !selection.emitted.contains(at) || mutant::is(Mutant::ReadyLessOne),
                "only the ready are emitted"
            );
            pair.deferred = pair.deferred.saturating_add(u32::from(is_ready));
            if selection.cap_fired > 0 && selection.overlooked.contains(at) {
                pair.is_overlooked = true;
            }
        }
        self.observed.take_emitted(&selection.emitted);
    }
}

#[cfg(test)]
mod tests;
