//! All leader slots together: decided from the highest round down, output from the lowest up.
//!
//! Source: Mysticeti, NDSS 2025, section 3.2. Output stops at the first undecided slot, so every node outputs a
//! prefix of one sequence.
//!
//! Each slot that is output may change the schedule ([`crate::commit::schedule`]). What was decided of the slots
//! behind it was decided for other leaders, perhaps through anchors that are none any more: it is forgotten, and they
//! are judged anew.
//!
//! Decisions are kept: a slot is judged by its own wave only again when that wave has grown, and never once decided.
//! So a call at every accepted vertex costs O(undecided slots) plus O(n^2 log n) for each wave that grew, typically
//! two or three; it never goes back over what was output.

use std::collections::{BTreeSet, VecDeque};

use crate::commit::decide::{Decision, decide_directly, decide_through};
use crate::commit::history::{History, SubDag};
use crate::commit::schedule::{
    FIRST_LED_ROUND, Schedule, certifying_round, first_deciding_anchor, voting_round,
};
use crate::committee::Committee;
use crate::dag::header::VertexRef;
use crate::dag::store::Dag;
use crate::mutant::{self, Mutant};
use crate::types::{AuthorityIndex, AuthoritySet, Round, TimestampUs};
use crate::wire::{DecodeError, Reader, Writer};

/// Turns a growing DAG into the sequence of sub-DAGs.
#[derive(Debug)]
pub struct Committer {
    /// The lowest slot that is not output.
    next: Round,
    /// Slots from `next` on.
    slots: VecDeque<Slot>,
    schedule: Schedule,
    history: History,
    commits: u64,
    skips: u64,
}

/// How far the sequence has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitCounters {
    /// Anchors output.
    pub commits: u64,
    /// Leader slots output as skipped.
    pub skips: u64,
    /// The lowest round whose slot is not output: output waits for it.
    pub undecided_round: Round,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    decision: Decision,
    /// Sizes of the voting and certifying rounds when they were last judged.
    judged: (u64, u64),
}

impl Committer {
    /// At the start of the epoch of `committee`.
    pub fn new(committee: &Committee) -> Self {
        Self {
            next: FIRST_LED_ROUND,
            slots: VecDeque::new(),
            schedule: Schedule::new(committee),
            history: History::new(committee),
            commits: 0,
            skips: 0,
        }
    }

    /// Decides what can be decided and gives the sub-DAGs that are now next in the sequence, in order.
    ///
    /// `dag` must be the same one at every call, grown, and pruned at most up to [`Committer::floor`].
    ///
    /// Panics: when it was pruned further, which would be a bug of the caller.
    pub fn advance(&mut self, dag: &Dag) -> Vec<SubDag> {
        std::iter::from_fn(|| self.advance_one(dag)).collect()
    }

    /// As [`Committer::advance`], up to the next sub-DAG alone; none when its slot is not decided yet.
    pub fn advance_one(&mut self, dag: &Dag) -> Option<SubDag> {
        let mut is_judged = false;
        loop {
            let front = self.slots.front().map(|slot| slot.decision);
            let (changed, sub_dag) = match front.unwrap_or(Decision::Undecided) {
                Decision::Undecided if is_judged => return None,
                Decision::Undecided => {
                    self.decide(dag);
                    is_judged = true;
                    continue;
                }
                Decision::Skip => {
                    self.skips += 1;
                    (self.schedule.on_skip(self.leader(self.next)), None)
                }
                Decision::Commit(anchor) => {
                    self.commits += 1;
                    let mut sub_dag = self.history.commit(dag, anchor);
                    let changed = self.schedule.on_anchor(&sub_dag);
                    if let Some(state) = &mut sub_dag.state {
                        self.encode_state(state);
                    }
                    (changed, Some(sub_dag))
                }
            };
            self.slots.pop_front();
            self.next = self.next.next();
            if changed {
                self.slots.clear();
                is_judged = false;
            }
            if sub_dag.is_some() {
                return sub_dag;
            }
        }
    }

    /// Who leads which round, as of the lowest slot that is not output.
    pub const fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Appends the commit rule's part of the canonical state, right after an anchor was output.
    ///
    /// The lowest slot that is not output follows from the anchor: it is the one after.
    pub(crate) fn encode_state(&self, out: &mut Vec<u8>) {
        self.history.encode_state(out);
        self.schedule.encode_state(&mut Writer::new(out));
    }

    /// A committer that goes on after the anchor whose state this is. Errors: bytes that are no such state.
    pub(crate) fn decode_state(
        committee: &Committee,
        reader: &mut Reader<'_>,
    ) -> Result<Self, DecodeError> {
        let history = History::decode_state(committee, reader)?;
        Ok(Self {
            next: history.last_anchor().next(),
            slots: VecDeque::new(),
            schedule: Schedule::decode_state(reader, committee)?,
            history,
            commits: 0,
            skips: 0,
        })
    }

    /// How many anchors were committed in the epoch.
    pub(crate) const fn anchors(&self) -> u64 {
        self.history.anchors()
    }

    /// Round of the last anchor; 0 before the first.
    pub(crate) const fn last_anchor(&self) -> Round {
        self.history.last_anchor()
    }

    /// The committed vertices above the floor, ascending.
    pub(crate) const fn committed(&self) -> &BTreeSet<VertexRef> {
        self.history.committed()
    }

    /// The decision so far for the slot of `round`; undecided for those not looked at. None for those output.
    pub fn decision(&self, round: Round) -> Option<Decision> {
        let at = round.0.checked_sub(self.next.0)?;
        let slot = usize::try_from(at).ok().and_then(|at| self.slots.get(at));
        Some(slot.map_or(Decision::Undecided, |slot| slot.decision))
    }

    /// The round at and below which no later sub-DAG takes a vertex; what the store may be pruned up to.
    pub const fn floor(&self) -> Round {
        self.history.floor()
    }

    /// Consensus time of the last anchor; the epoch's start before the first.
    pub const fn consensus_time(&self) -> TimestampUs {
        self.history.consensus_time()
    }

    /// Authorities whose fork committed history shows.
    pub const fn forked(&self) -> AuthoritySet {
        self.history.forked()
    }

    /// Whether a vertex is in some sub-DAG. Only for rounds above [`Committer::floor`]; false below.
    pub fn is_committed(&self, reference: &VertexRef) -> bool {
        self.history.contains(reference)
    }

    /// How far the sequence has come.
    pub const fn counters(&self) -> CommitCounters {
        CommitCounters {
            commits: self.commits,
            skips: self.skips,
            undecided_round: self.next,
        }
    }

    /// Judges every undecided slot that has voters, from the highest down.
    fn decide(&mut self, dag: &Dag) {
        // The highest slot with a voting round: skips need no more.
        let slots_wanted = dag.highest_round().0.saturating_sub(self.next.0);
        while (self.slots.len() as u64) < slots_wanted {
            self.slots.push_back(Slot::new());
        }
        let distance = (first_deciding_anchor(self.next).0 - self.next.0) as usize;
        let mut decider = None;
        for at in (0..self.slots.len()).rev() {
            let led = self.next.plus(at as u64);
            // Going down, this ends as the lowest slot from three rounds above that is not skipped.
            if let Some(slot) = self.slots.get(at + distance)
                && slot.decision != Decision::Skip
                && (slot.decision != Decision::Undecided
                    || !mutant::is(Mutant::PassesOverUndecided))
            {
                decider = Some(slot.decision);
            }
            let leader = self.leader(led);
            let slot = &mut self.slots[at];
            slot.judge(dag, led, leader);
            if let (Decision::Undecided, Some(Decision::Commit(anchor))) = (slot.decision, decider)
            {
                slot.decision = decide_through(dag, led, leader, &anchor);
            }
        }
    }

    fn leader(&self, led: Round) -> AuthorityIndex {
        let leader = self.schedule.leader(led);
        leader.expect("every slot is of a round from 1")
    }
}

impl Slot {
    const fn new() -> Self {
        Self {
            decision: Decision::Undecided,
            judged: (0, 0),
        }
    }

    /// Judges the slot by its own wave if that grew since the last time.
    fn judge(&mut self, dag: &Dag, led: Round, leader: AuthorityIndex) {
        let wave = (
            dag.count_of(voting_round(led)),
            dag.count_of(certifying_round(led)),
        );
        if self.decision == Decision::Undecided && wave != self.judged {
            self.judged = wave;
            self.decision = decide_directly(dag, led, leader);
        }
    }
}

#[cfg(test)]
#[path = "sequence_tests.rs"]
mod tests;
