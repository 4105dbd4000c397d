//! What batches hold against what the definition emits, anchor by anchor.

use std::collections::{BTreeMap, VecDeque};

use super::Found;
use super::order::{Emitted, Order, TooMany};
use super::replay::{Replay, Step};
use crate::batch::header::BatchHeader;
use crate::committee::Parameters;
use crate::dag::{VerifiedVertex, VertexRef};
use crate::types::{AuthorityIndex, Digest, Round};

/// Replays anchors and compares what follows from them.
pub(crate) struct Fair {
    replay: Replay,
    order: Option<Order>,
    /// Emitted by the definition and in no batch yet.
    due: VecDeque<Due>,
    /// Which group each emitted pair is of, for groups of two and more.
    group_of: BTreeMap<Digest, u64>,
    groups: u64,
    pub(crate) emissions: u64,
    checkpoint_interval: u64,
    /// The first anchor of this round or a later one is a checkpoint.
    checkpoint_due: u64,
}

struct Due {
    round: Round,
    left: VecDeque<Digest>,
    group_wait_cut: u32,
    cap_fired: u32,
    /// Its last batch has a state root; it has a batch even if nothing is emitted.
    is_checkpoint: bool,
}

impl Fair {
    /// At the start of an epoch.
    pub(crate) fn new(n: usize, parameters: &Parameters) -> Self {
        let interval = parameters.checkpoint_interval_rounds;
        Self {
            replay: Replay::new(n, parameters.gc_depth_rounds),
            order: Some(Order::new(n, parameters.deferral_cap)),
            due: VecDeque::new(),
            group_of: BTreeMap::new(),
            groups: 0,
            emissions: 0,
            checkpoint_interval: interval,
            checkpoint_due: interval,
        }
    }

    /// A correct node keeps a vertex.
    pub(crate) fn on_kept(&mut self, vertex: &VerifiedVertex) {
        self.replay.keep(vertex);
    }

    /// The first correct node writes the next anchor down. Gives what the anchor adds.
    pub(crate) fn on_anchor(&mut self, record: &[u8]) -> Result<Step, String> {
        let anchor = anchor_of(record);
        let time = number(&record[49..57]);
        let step = self.replay.commit(anchor)?;
        if step.time.0 != time {
            let expected = step.time.0;
            return Err(format!("consensus time {time} where {expected} follows"));
        }
        let is_checkpoint = anchor.round.0 >= self.checkpoint_due;
        if is_checkpoint {
            let interval = self.checkpoint_interval;
            self.checkpoint_due = (anchor.round.0 / interval + 1) * interval;
        }
        let emitted = self.order.as_mut().map(|order| order.step(&step));
        match emitted {
            Some(Ok(emitted)) => self.note(anchor.round, emitted, is_checkpoint),
            Some(Err(TooMany)) => (self.order, self.due) = (None, VecDeque::new()),
            None => {}
        }
        Ok(step)
    }

    fn note(&mut self, round: Round, emitted: Emitted, is_checkpoint: bool) {
        if emitted.groups.is_empty() && !is_checkpoint {
            return;
        }
        self.emissions += u64::from(!emitted.groups.is_empty());
        for group in emitted.groups.iter().filter(|group| group.len() > 1) {
            self.groups += 1;
            for digest in group {
                self.group_of.insert(*digest, self.groups);
            }
        }
        self.due.push_back(Due {
            round,
            left: emitted.groups.into_iter().flatten().collect(),
            group_wait_cut: emitted.group_wait_cut,
            cap_fired: emitted.cap_fired,
            is_checkpoint,
        });
    }

    /// The first correct node opens the next batch.
    pub(crate) fn on_batch(&mut self, header: &BatchHeader, digests: &[Digest]) -> Found {
        if self.order.is_none() {
            return Ok(());
        }
        let seq = header.seq.0;
        let Some(due) = self.due.front_mut() else {
            return Err(format!("batch {seq} holds what nothing emits"));
        };
        let counted = (header.group_wait_cut, header.cap_fired);
        if due.round != header.anchor_round || (due.group_wait_cut, due.cap_fired) != counted {
            return Err(format!(
                "batch {seq} of anchor round {} counts {counted:?}; by definition round {} with {:?}",
                header.anchor_round.0,
                due.round.0,
                (due.group_wait_cut, due.cap_fired)
            ));
        }
        // They stand in the first batch of an emission.
        (due.group_wait_cut, due.cap_fired) = (0, 0);
        for (index, digest) in digests.iter().enumerate() {
            let expected = due.left.pop_front();
            if expected != Some(*digest) {
                return Err(format!(
                    "batch {seq} has {digest:?} at {index}, by definition {expected:?}"
                ));
            }
        }
        let is_rooted = header.state_root.0 != [0; 32];
        if is_rooted != (due.is_checkpoint && due.left.is_empty()) {
            return Err(format!("batch {seq} has a state root: {is_rooted}"));
        }
        if due.left.is_empty() {
            self.due.pop_front();
        }
        Ok(())
    }

    /// Whether the definition is still followed: it gives up for the rest of a run where too much is pending at once.
    pub(crate) const fn is_followed(&self) -> bool {
        self.order.is_some()
    }

    /// Whether both are of one cycle; nothing when that was not followed to the end.
    pub(crate) fn are_in_one_cycle(&self, x: &Digest, y: &Digest) -> Option<bool> {
        self.order.as_ref()?;
        let group = self.group_of.get(x);
        Some(group.is_some() && group == self.group_of.get(y))
    }
}

/// The anchor that a record is of.
pub(crate) fn anchor_of(record: &[u8]) -> VertexRef {
    VertexRef {
        round: Round(number(&record[8..16])),
        author: AuthorityIndex(record[16]),
        digest: Digest(array(&record[17..49])),
    }
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(array(bytes))
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}
