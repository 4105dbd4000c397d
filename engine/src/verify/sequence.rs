//! From vertices to planned batches: the DAG, the commit rule, the fair order and the cut, once more.
//!
//! Acceptance is judged as a node judges its own records: a vertex stands behind its parents, or they lie at or below the
//! floor. An anchor is committed where its record stands, so that the state here is what the node's was.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use crate::commit::history::SubDag;
use crate::commit::sequence::Committer;
use crate::committee::Committee;
use crate::dag::VerifiedVertex;
use crate::dag::store::Dag;
use crate::engine::{UNOPENED_MAX, encode_anchor, tie_seed};
use crate::fair::{Anchor, FairOrder};
use crate::keyring::{CommitteeKey, Keyring};
use crate::reveal::plan::{BatchPlan, Emission};
use crate::seal::{Envelope, SealingKey};
use crate::state::{Restored, State};
use crate::types::{AuthorityIndex, BatchSeq, Digest, Entry, Round, Sha256Hash, TimestampUs};

use super::envelopes::Held;
use super::fault::{Found, Rule};

/// What the recorded vertices give.
pub(super) struct Sequence {
    committee: Arc<Committee>,
    dag: Dag,
    committer: Committer,
    fair: FairOrder,
    keys: Keyring,
    /// Ordered, and not cut yet.
    ordered: VecDeque<Ordered>,
    planned: VecDeque<Planned>,
    next_seq: BatchSeq,
}

/// What an anchor emits.
struct Ordered {
    anchor_round: Round,
    time: TimestampUs,
    entries: Vec<Entry>,
    group_wait_cut: u32,
    cap_fired: u32,
    state_root: Option<Sha256Hash>,
}

/// A batch that must come.
pub(super) struct Planned {
    pub(super) plan: BatchPlan<Envelope>,
    /// The keys that its envelopes may be of.
    pub(super) keys: Vec<Arc<CommitteeKey>>,
    /// Grows when those change.
    pub(super) keys_version: u64,
}

impl Sequence {
    /// Nothing ordered. `dealt` is the key of a committee that makes none.
    pub(super) fn new(
        committee: &Arc<Committee>,
        dealt: Option<SealingKey>,
        secret: [u8; 32],
    ) -> Self {
        let cap = committee.parameters.deferral_cap;
        let dealt = dealt.map(|sealing| CommitteeKey {
            sealing,
            share: None,
        });
        // Who only follows: an index matters to those who take part.
        let keys = Keyring::new(committee.clone(), AuthorityIndex(0), dealt, None, secret);
        Self {
            dag: Dag::new(committee.clone()),
            committer: Committer::new(committee),
            fair: FairOrder::new((committee.thresholds(), cap)),
            keys,
            ordered: VecDeque::new(),
            planned: VecDeque::new(),
            next_seq: BatchSeq(0),
            committee: committee.clone(),
        }
    }

    /// Goes on behind the checkpoint with this header, whose state was checked.
    pub(super) fn install(&mut self, next_seq: BatchSeq, restored: Restored) {
        self.committer = restored.committer;
        self.fair = restored.fair;
        self.keys.install(restored.keys);
        let committer = &self.committer;
        let (last, floor) = (committer.last_anchor(), committer.floor());
        // What is accepted by that is recorded as such.
        self.dag.install(last, floor, committer.committed());
        self.dag.raise_floor(floor);
        self.ordered.clear();
        self.planned.clear();
        self.next_seq = next_seq;
    }

    pub(super) fn add(&mut self, vertex: VerifiedVertex) -> Result<(), Found> {
        let reference = vertex.reference();
        let linked = self.dag.restore(vertex);
        let missing = |parent| {
            let what = format!("{reference:?} stands before its parent {parent:?}");
            Found::new(Rule::Parents, what)
        };
        linked.map(|_| ()).map_err(missing)
    }

    /// Commits the next anchor; its record must hold `recorded`. Gives whether it is a checkpoint.
    pub(super) fn commit(&mut self, recorded: &[u8], held: &mut Held) -> Result<bool, Found> {
        if self.planned.len() + self.ordered.len() > PLANNED_MAX {
            let what = format!("more than {PLANNED_MAX} batches are ordered and not recorded");
            return Err(Found::new(Rule::Chain, what).in_batch(self.next_recorded()));
        }
        let Some(sub_dag) = self.committer.advance_one(&self.dag) else {
            let what = "an anchor is recorded that the vertices before it do not decide";
            return Err(Found::new(Rule::Commit, what));
        };
        if *encode_anchor(&sub_dag) != *recorded {
            let what = format!(
                "another anchor is recorded than number {}, {:?}, at consensus time {}, which the rule gives",
                sub_dag.index, sub_dag.anchor, sub_dag.consensus_time.0
            );
            return Err(Found::new(Rule::Commit, what));
        }
        self.order(&sub_dag);
        self.let_go_of_expired(held);
        self.cut_ready(held)?;
        Ok(sub_dag.state.is_some())
    }

    /// How many further anchors the vertices decide. Nothing can be added after this.
    pub(super) fn count_undone(&mut self) -> u64 {
        let mut count = 0;
        while self.committer.advance_one(&self.dag).is_some() {
            self.dag.raise_floor(self.committer.floor());
            count += 1;
        }
        count
    }

    fn order(&mut self, sub_dag: &SubDag) {
        let (index, now) = (sub_dag.index, sub_dag.consensus_time);
        self.keys.on_anchor(index, now, &sub_dag.controls);
        if self.ordered.is_empty() {
            self.keys.drop_ended();
        }
        let ordered = self.fair.step_ordered(&Anchor {
            consensus_time: now,
            tie_seed: tie_seed(sub_dag),
            appends: &sub_dag.appends,
        });
        let state_root = sub_dag.state.as_deref().map(|committed| {
            let parts = (committed, &self.fair, &self.keys);
            State::new(&self.committee, sub_dag.anchor.round, parts).root
        });
        if !ordered.entries.is_empty() || state_root.is_some() {
            self.ordered.push_back(Ordered {
                anchor_round: sub_dag.anchor.round,
                time: now,
                entries: ordered.entries,
                group_wait_cut: ordered.group_wait_cut,
                cap_fired: ordered.cap_fired,
                state_root,
            });
        }
        self.dag.raise_floor(self.committer.floor());
    }

    /// The next batch that must be recorded. Errors: an envelope of it is missing or none; no anchor emits another.
    pub(super) fn next_planned(&mut self, held: &mut Held) -> Result<Planned, Found> {
        if let Some(planned) = self.planned.pop_front() {
            return Ok(planned);
        }
        let seq = self.next_seq;
        let Some(first) = self.ordered.front() else {
            let what = "a batch is recorded, and no anchor before it emits one";
            return Err(Found::new(Rule::Commit, what).in_batch(seq));
        };
        let mut entries = first.entries.iter();
        if let Some(entry) = entries.find(|entry| held.find(&entry.digest).is_none()) {
            let what = format!("the envelope {:?} that it holds is missing", entry.digest);
            return Err(Found::new(Rule::Envelope, what).in_batch(seq));
        }
        self.cut_ready(held)?;
        let planned = self.planned.pop_front();
        Ok(planned.expect("an emission whose envelopes are here was cut"))
    }

    /// The seq of the next batch that must be recorded.
    pub(super) fn next_recorded(&self) -> BatchSeq {
        let first = self.planned.front();
        first.map_or(self.next_seq, |planned| planned.plan.seq)
    }

    /// Cuts emissions whose envelopes are all here.
    fn cut_ready(&mut self, held: &mut Held) -> Result<(), Found> {
        while let Some(first) = self.ordered.front() {
            let mut entries = first.entries.iter();
            if entries.any(|entry| held.find(&entry.digest).is_none()) {
                break;
            }
            let Some(ordered) = self.ordered.pop_front() else {
                break;
            };
            self.cut(ordered, held)?;
        }
        Ok(())
    }

    fn cut(&mut self, ordered: Ordered, held: &mut Held) -> Result<(), Found> {
        let wrong = |what: String| Found::new(Rule::Envelope, what).in_batch(self.next_seq);
        let mut envelopes = Vec::with_capacity(ordered.entries.len());
        for entry in &ordered.entries {
            let envelope = held.find(&entry.digest).cloned();
            let envelope = envelope.expect("the caller has just looked");
            let until = envelope.label().valid_until;
            if until != entry.valid_until {
                let digest = entry.digest;
                let what = format!("{digest:?} expires at {}, not when listed", until.0);
                return Err(wrong(what));
            }
            held.forget(&entry.digest);
            envelopes.push(envelope);
        }
        let emission = Emission {
            anchor_round: ordered.anchor_round,
            time: ordered.time,
            envelopes,
            group_wait_cut: ordered.group_wait_cut,
            cap_fired: ordered.cap_fired,
            state_root: ordered.state_root,
        };
        for plan in emission.cut(self.next_seq) {
            self.next_seq = plan.seq.next();
            self.planned.push_back(Planned {
                plan,
                keys: self.keys.keys().to_vec(),
                keys_version: self.keys.version(),
            });
        }
        Ok(())
    }

    fn let_go_of_expired(&self, held: &mut Held) {
        let now = self.committer.consensus_time();
        if !held.is_due(now) {
            return;
        }
        let ordered = self.ordered.iter().flat_map(|ordered| &ordered.entries);
        let needed = ordered.chain(self.fair.pending());
        let needed: BTreeSet<Digest> = needed.map(|entry| entry.digest).collect();
        held.let_go(now, &needed);
    }

    /// Batches that are ordered and not recorded, of emissions that are not cut yet one.
    pub(super) fn planned_len(&self) -> usize {
        self.planned.len() + self.ordered.len()
    }

    pub(super) const fn keys(&self) -> &Keyring {
        &self.keys
    }

    pub(super) const fn committer(&self) -> &Committer {
        &self.committer
    }

    pub(super) const fn dag(&self) -> &Dag {
        &self.dag
    }
}

/// Batches that are ordered and not recorded above which they count as missing: a node commits nothing further at half as
/// many, and records what it has opened a little later.
pub const PLANNED_MAX: usize = 2 * UNOPENED_MAX as usize;
