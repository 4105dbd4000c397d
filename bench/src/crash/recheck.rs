//! What can be checked from the nodes' own records after a round: that they agree, and that the order is the rule's. A check of
//! its own, beside `fairlane verify`, and short: both would have to be wrong.
//!
//! A node's journal holds every vertex it accepted and the header of every batch it opened. The vertices are put through
//! the DAG, the commit rule and the fair order once more, from nothing; what comes out must be the settled order. The
//! headers must be the settled chain's, seq by seq.

use std::path::Path;
use std::sync::Arc;

use fairlane_engine::commit::sequence::Committer;
use fairlane_engine::committee::Committee;
use fairlane_engine::dag::store::{Dag, Inserted};
use fairlane_engine::dag::{VerifiedVertex, Vertex};
use fairlane_engine::effect::header_of_batch;
use fairlane_engine::engine::tie_seed;
use fairlane_engine::fair::{Anchor, FairOrder};
use fairlane_engine::types::{Digest, Sha256Hash};

use fairlane_net::journal::{JournalReader, JournalRecord, Kind};
use fairlane_net::settle::SettleReader;

/// What the settlement worker's journal holds.
#[derive(Clone, Debug, Default)]
pub struct Settled {
    /// Header hashes by seq.
    pub hashes: Vec<Sha256Hash>,
    /// Digests in order.
    pub digests: Vec<Digest>,
}

impl Settled {
    /// Reads the sink's journal in `folder`: every batch is validated again, and the hash chain with it.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        let mut settled = Self::default();
        let mut reader = SettleReader::open(folder)?;
        while let Some(batch) = reader.try_next()? {
            settled.hashes.push(batch.header().hash());
            for entry in batch.view()?.entries() {
                settled.digests.push(entry.digest);
            }
        }
        anyhow::ensure!(
            !reader.is_torn(),
            "the settlement journal ends in a torn record"
        );
        Ok(settled)
    }
}

/// What one node's journal says.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    /// Header hashes of the batches it opened, by seq.
    pub hashes: Vec<Sha256Hash>,
    /// The order that its vertices give when everything is recomputed.
    pub digests: Vec<Digest>,
    /// It took over a state from its peers: the vertices before are not here, and from there on nothing is recomputed.
    pub took_over: bool,
}

impl Recorded {
    /// Reads a node's journal and recomputes the order; every record is shown to `look`, too.
    ///
    /// Errors: the journal is damaged, or a vertex in it does not hold.
    pub fn read_and(
        folder: &Path,
        committee: &Arc<Committee>,
        look: &mut dyn FnMut(&JournalRecord<'_>),
    ) -> anyhow::Result<Self> {
        let mut recheck = Recheck::new(committee);
        let mut reader = JournalReader::open(folder)?;
        while let Some(record) = reader.try_next()? {
            look(&record);
            match record.kind {
                Kind::OwnVertex | Kind::Vertex if !recheck.recorded.took_over => {
                    recheck.add(Vertex::verify(record.body, committee)?)?;
                }
                Kind::State => recheck.recorded.took_over = true,
                Kind::Batch => {
                    recheck
                        .recorded
                        .hashes
                        .push(header_of_batch(record.body)?.hash());
                }
                _ => {}
            }
        }
        Ok(recheck.recorded)
    }
}

/// DAG, commit rule and fair order, from nothing.
struct Recheck {
    dag: Dag,
    committer: Committer,
    fair: FairOrder,
    recorded: Recorded,
}

impl Recheck {
    fn new(committee: &Arc<Committee>) -> Self {
        let cap = committee.parameters.deferral_cap;
        Self {
            dag: Dag::new(committee.clone()),
            committer: Committer::new(committee),
            fair: FairOrder::new((committee.thresholds(), cap)),
            recorded: Recorded::default(),
        }
    }

    fn add(&mut self, vertex: VerifiedVertex) -> anyhow::Result<()> {
        match self.dag.insert(vertex) {
            // What a node accepted late may lie below the floor by now, as it did there.
            Inserted::Accepted(_) | Inserted::Known | Inserted::BelowFloor => {}
            refused => anyhow::bail!("a recorded vertex is not acceptable again: {refused:?}"),
        }
        let mut more = true;
        while std::mem::take(&mut more) {
            for sub_dag in self.committer.advance(&self.dag) {
                let ordered = self.fair.step_ordered(&Anchor {
                    consensus_time: sub_dag.consensus_time,
                    tie_seed: tie_seed(&sub_dag),
                    appends: &sub_dag.appends,
                });
                let entries = ordered.entries.iter();
                self.recorded
                    .digests
                    .extend(entries.map(|entry| entry.digest));
                more |= !self.dag.raise_floor(self.committer.floor()).is_empty();
            }
        }
        Ok(())
    }
}

/// The two verdicts of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdicts {
    /// Every surviving node holds the settled header hash at each settled seq.
    pub agreement: bool,
    /// Recomputing from each surviving node's vertices gives the settled order, as far as its vertices go; and those of one
    /// at least go all the way.
    pub order_rechecked: bool,
}

/// Compares what the nodes recorded with what was settled.
pub fn compare(settled: &Settled, nodes: &[Recorded]) -> Verdicts {
    let holds_chain = |node: &Recorded| node.hashes.starts_with(&settled.hashes);
    let gives_order = |node: &Recorded| match node.took_over {
        true => {
            settled.digests.starts_with(&node.digests) || node.digests.starts_with(&settled.digests)
        }
        false => node.digests.starts_with(&settled.digests),
    };
    // Nodes may have opened more than was settled; of that, too, nobody may hold anything else.
    let longest = nodes
        .iter()
        .map(|node| &node.hashes)
        .max_by_key(|hashes| hashes.len());
    let no_fork =
        longest.is_some_and(|longest| nodes.iter().all(|node| longest.starts_with(&node.hashes)));
    Verdicts {
        agreement: no_fork && nodes.iter().all(holds_chain),
        order_rechecked: nodes.iter().any(|node| !node.took_over) && nodes.iter().all(gives_order),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(hashes: &[u8], digests: &[u8]) -> Recorded {
        Recorded {
            hashes: hashes.iter().map(|id| Sha256Hash([*id; 32])).collect(),
            digests: digests.iter().map(|id| Digest([*id; 32])).collect(),
            ..Recorded::default()
        }
    }

    fn settled(hashes: &[u8], digests: &[u8]) -> Settled {
        let Recorded {
            hashes, digests, ..
        } = node(hashes, digests);
        Settled { hashes, digests }
    }

    #[test]
    fn nodes_that_hold_the_chain_and_give_the_order_pass() {
        let verdicts = compare(
            &settled(&[1, 2], &[7, 8]),
            &[node(&[1, 2], &[7, 8]), node(&[1, 2, 3], &[7, 8, 9])],
        );
        assert_eq!(
            verdicts,
            Verdicts {
                agreement: true,
                order_rechecked: true
            }
        );
    }

    #[test]
    fn one_other_hash_a_missing_batch_or_another_order_is_found() {
        let chain = settled(&[1, 2], &[7, 8]);
        let good = node(&[1, 2], &[7, 8]);
        assert!(!compare(&chain, &[good.clone(), node(&[1, 4], &[7, 8])]).agreement);
        assert!(!compare(&chain, &[good.clone(), node(&[1], &[7, 8])]).agreement);
        assert!(!compare(&chain, &[node(&[1, 2, 3], &[]), node(&[1, 2, 4], &[])]).agreement);
        assert!(!compare(&chain, &[good.clone(), node(&[1, 2], &[8, 7])]).order_rechecked);
        assert!(!compare(&chain, &[good.clone(), node(&[1, 2], &[7])]).order_rechecked);
        let late = Recorded {
            took_over: true,
            ..node(&[1, 2], &[7])
        };
        assert!(compare(&chain, &[good.clone(), late.clone()]).order_rechecked);
        assert!(
            !compare(&chain, std::slice::from_ref(&late)).order_rechecked,
            "nobody's vertices go all the way"
        );
        let wrong = Recorded {
            digests: vec![Digest([8; 32])],
            ..late
        };
        assert!(!compare(&chain, &[good.clone(), wrong]).order_rechecked);
        let none = compare(&chain, &[]);
        assert!(!none.agreement && !none.order_rechecked);
    }
}
