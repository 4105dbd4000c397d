//! The checkpoints that a node can serve: states whose batch is settled, with its header.
//!
//! I1: a state is served only under a header that this node settled. I2: at most [`CHECKPOINTS_KEPT_MAX`] are kept, so
//! that a peer which has begun with one can finish although the next has come; of those whose batch is not opened yet,
//! the newest [`CHECKPOINTS_UNSETTLED_MAX`].

use std::collections::{BTreeMap, VecDeque};

use crate::batch::header::BatchHeader;
use crate::state::State;
use crate::types::BatchSeq;

/// Settled checkpoints kept.
pub const CHECKPOINTS_KEPT_MAX: usize = 2;
/// Checkpoints kept whose batch is cut and not opened yet.
pub const CHECKPOINTS_UNSETTLED_MAX: usize = 8;

/// The newest checkpoints.
#[derive(Debug, Default)]
pub struct Checkpoints {
    unsettled: BTreeMap<BatchSeq, State>,
    settled: VecDeque<Checkpoint>,
}

/// A settled checkpoint.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// Its batch's header, which holds the state root.
    pub header: BatchHeader,
    /// The state.
    pub state: State,
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
        let Some(state) = self.unsettled.remove(&header.seq) else {
            return;
        };
        assert_eq!(state.root, header.state_root, "the header is the batch's");
        self.settled.push_back(Checkpoint {
            header: *header,
            state,
        });
        if self.settled.len() > CHECKPOINTS_KEPT_MAX {
            self.settled.pop_front();
        }
    }

    /// Settled checkpoints, oldest first.
    pub fn settled(&self) -> impl DoubleEndedIterator<Item = &Checkpoint> {
        self.settled.iter()
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
