//! The checkpoints that a node can serve: states whose batch is settled, and what proves them to others.
//!
//! I1: a state is served only under a header that this node settled, and only once v authorities vouch for it. I2: at
//! most [`CHECKPOINTS_KEPT_MAX`] are kept, so that a peer which has begun with one can finish although the next has come;
//! of those whose batch is not opened yet, the newest [`CHECKPOINTS_UNSETTLED_MAX`]. I3: of each author at most one claim
//! about a batch that is not settled here yet waits to be compared.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::proof::Proof;
use crate::batch::header::BatchHeader;
use crate::committee::Committee;
use crate::dag::SignedHeader;
use crate::state::State;
use crate::types::{AuthorityIndex, AuthoritySet, BatchSeq, Round};

/// Settled checkpoints kept.
pub const CHECKPOINTS_KEPT_MAX: usize = 2;
/// Checkpoints kept whose batch is cut and not opened yet.
pub const CHECKPOINTS_UNSETTLED_MAX: usize = 8;

/// The newest checkpoints.
#[derive(Debug, Default)]
pub struct Checkpoints {
    unsettled: BTreeMap<BatchSeq, State>,
    settled: VecDeque<Checkpoint>,
    claims: BTreeMap<AuthorityIndex, SignedHeader>,
}

/// A settled checkpoint.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// Its batch's header, which holds the state root.
    pub header: BatchHeader,
    /// The state.
    pub state: State,
    proof: Proof,
    /// Who vouches for it, up to a quorum.
    vouchers: AuthoritySet,
    /// The state as it is transferred, once somebody asked for it.
    transferred: Option<Arc<[u8]>>,
}

impl Checkpoints {
    /// The batch that carries the root of `state` is cut.
    pub fn on_cut(&mut self, seq: BatchSeq, state: State) {
        self.unsettled.insert(seq, state);
        if self.unsettled.len() > CHECKPOINTS_UNSETTLED_MAX {
            self.unsettled.pop_first();
        }
    }

    /// A batch is settled.
    pub fn on_settled(&mut self, header: &BatchHeader) {
        for checkpoint in &mut self.settled {
            checkpoint.proof.follow(header);
        }
        if let Some(state) = self.unsettled.remove(&header.seq) {
            assert_eq!(state.root, header.state_root, "the header is the batch's");
            self.settled.push_back(Checkpoint {
                header: *header,
                state,
                proof: Proof::new(*header),
                vouchers: AuthoritySet::EMPTY,
                transferred: None,
            });
            if self.settled.len() > CHECKPOINTS_KEPT_MAX {
                self.settled.pop_front();
            }
        }
        while self
            .unsettled
            .first_key_value()
            .is_some_and(|(seq, _)| *seq < header.seq)
        {
            self.unsettled.pop_first();
        }
        let settled = header.seq.0 + 1;
        for checkpoint in &mut self.settled {
            for claim in self.claims.values() {
                if checkpoint.proof.vouch(claim) {
                    checkpoint.vouchers.insert(claim.header.author);
                }
            }
        }
        self.claims
            .retain(|_, claim| claim.header.settled.count > settled);
    }

    /// An accepted vertex says how far its author has settled.
    pub fn on_vertex(&mut self, signed: &SignedHeader, settled: u64, committee: &Committee) {
        if signed.header.settled.count > settled {
            self.claims.entry(signed.header.author).or_insert(*signed);
            return;
        }
        for checkpoint in &mut self.settled {
            let is_enough = checkpoint.vouchers.len() >= committee.thresholds().quorum();
            if is_enough || !checkpoint.proof.names(signed) {
                continue;
            }
            checkpoint.vouchers.insert(signed.header.author);
            if !checkpoint.proof.is_complete(committee) {
                checkpoint.proof.vouch(signed);
            }
        }
    }

    /// The newest settled checkpoint that a quorum vouches for.
    pub fn newest_of_quorum(&self, committee: &Committee) -> Option<&Checkpoint> {
        let quorum = committee.thresholds().quorum();
        let mut newest_first = self.settled.iter().rev();
        newest_first.find(|checkpoint| checkpoint.vouchers.len() >= quorum)
    }

    /// The newest settled checkpoint.
    pub fn newest(&self) -> Option<&Checkpoint> {
        self.settled.back()
    }

    /// Proof of the newest proven checkpoint of an anchor above `above`.
    pub fn proof(&self, above: Round, committee: &Committee) -> Option<Vec<u8>> {
        let checkpoint = self.settled.iter().rev().find(|checkpoint| {
            checkpoint.header.anchor_round > above && checkpoint.proof.is_complete(committee)
        })?;
        let len = u32::try_from(checkpoint.state.transfer_len()).ok()?;
        Some(checkpoint.proof.encode(len))
    }

    /// The state of the checkpoint with this seq, as it is transferred.
    pub fn transferred(&mut self, seq: BatchSeq) -> Option<Arc<[u8]>> {
        let mut settled = self.settled.iter_mut();
        let checkpoint = settled.find(|checkpoint| checkpoint.header.seq == seq)?;
        let state = &checkpoint.state;
        let bytes = checkpoint
            .transferred
            .get_or_insert_with(|| state.transfer().into());
        Some(bytes.clone())
    }

    /// How many are kept, settled or not.
    pub fn len(&self) -> usize {
        self.unsettled.len() + self.settled.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
