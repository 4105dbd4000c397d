//! How long the fair order takes: the vertices of one journal put through DAG, commit rule and order once more, with a clock
//! beside the order, which the engine must not have.
//!
//! A measurement and no check: whether the order is the settled one is for [`crate::verify`] to say.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use fairlane_engine::commit::sequence::Committer;
use fairlane_engine::committee::Committee;
use fairlane_engine::dag::store::Dag;
use fairlane_engine::dag::{VerifiedVertex, Vertex};
use fairlane_engine::engine::tie_seed;
use fairlane_engine::fair::{Anchor, FairOrder};

use crate::journal::{JournalReader, Kind};

/// What it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FairCost {
    /// Anchors ordered.
    pub anchors: u64,
    /// Time of the order for all of them, nanoseconds.
    pub ns: u64,
}

impl FairCost {
    /// Orders what the journal in `folder` holds, up to a state that was taken over, if one was.
    ///
    /// Errors: the journal is damaged, or a record in it is no vertex.
    pub fn measure(folder: &Path, committee: &Arc<Committee>) -> anyhow::Result<Self> {
        let cap = committee.parameters.deferral_cap;
        let mut ordering = Ordering {
            dag: Dag::new(committee.clone()),
            committer: Committer::new(committee),
            fair: FairOrder::new((committee.thresholds(), cap)),
            cost: Self::default(),
        };
        let mut reader = JournalReader::open(folder)?;
        while let Some(record) = reader.try_next()? {
            match record.kind {
                Kind::OwnVertex | Kind::Vertex => {
                    ordering.add(Vertex::restore(record.body, committee)?);
                }
                Kind::State => break,
                _ => {}
            }
        }
        Ok(ordering.cost)
    }
}

struct Ordering {
    dag: Dag,
    committer: Committer,
    fair: FairOrder,
    cost: FairCost,
}

impl Ordering {
    fn add(&mut self, vertex: VerifiedVertex) {
        // What is not acceptable is no affair of a measurement.
        self.dag.insert(vertex);
        let mut more = true;
        while std::mem::take(&mut more) {
            for sub_dag in self.committer.advance(&self.dag) {
                self.cost.anchors += 1;
                let start = Instant::now();
                self.fair.step_ordered(&Anchor {
                    consensus_time: sub_dag.consensus_time,
                    tie_seed: tie_seed(&sub_dag),
                    appends: &sub_dag.appends,
                });
                self.cost.ns += start.elapsed().as_nanos() as u64;
                more |= !self.dag.raise_floor(self.committer.floor()).is_empty();
            }
        }
    }
}
