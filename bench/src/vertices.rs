//! A DAG in which everybody is up and on time: each round, each authority cites all vertices of the round before.

use std::sync::Arc;

use ed25519_dalek::SigningKey;
use fairlane_engine::committee::{Committee, Parameters};
use fairlane_engine::dag::{Settled, VerifiedVertex, VertexDraft, VertexRef, genesis};
use fairlane_engine::types::{
    AuthorityIndex, ChainId, Digest, Entry, Epoch, Position, Round, TimestampUs,
};

/// A committee and all vertices of its first rounds.
pub struct FullDag {
    /// Whose vertices they are.
    pub committee: Arc<Committee>,
    /// By round, then author: parents before children.
    pub vertices: Vec<VerifiedVertex>,
}

impl FullDag {
    /// Rounds 1 to `rounds` of a committee of `authorities`, with `entries` different entries in each vertex.
    pub fn new(authorities: u8, rounds: u64, entries: u32) -> Self {
        let keys: Vec<SigningKey> = (1..=authorities)
            .map(|byte| SigningKey::from_bytes(&[byte; 32]))
            .collect();
        let committee = Arc::new(committee(&keys));
        let members = || committee.thresholds().members();
        let mut before: Vec<VertexRef> = members().map(|a| genesis(&committee, a)).collect();
        let mut vertices = Vec::new();
        for round in (1..=rounds).map(Round) {
            let of_round: Vec<VerifiedVertex> = members()
                .map(|author| {
                    let draft = draft(&committee, round, author, &before, entries);
                    draft.sign(&keys[author.as_usize()])
                })
                .collect();
            before = of_round.iter().map(|vertex| vertex.reference()).collect();
            vertices.extend(of_round);
        }
        Self {
            committee,
            vertices,
        }
    }

    /// The last vertex: none that follows cites it.
    ///
    /// Panics: when the DAG was made with no rounds.
    pub fn last(&self) -> &VerifiedVertex {
        self.vertices.last().expect("a DAG of one round or more")
    }
}

fn committee(keys: &[SigningKey]) -> Committee {
    let keys = keys.iter().map(SigningKey::verifying_key).collect();
    let parameters = Parameters::default();
    Committee::new(ChainId(1), Epoch(0), START, parameters, vec![], keys)
        .expect("distinct keys and default parameters")
}

fn draft(
    committee: &Committee,
    round: Round,
    author: AuthorityIndex,
    before: &[VertexRef],
    entries: u32,
) -> VertexDraft {
    let mut parents = before.to_vec();
    // The own previous vertex stands first, the others ascending behind it.
    parents[..=author.as_usize()].rotate_right(1);
    VertexDraft {
        chain_id: committee.chain_id,
        epoch: committee.epoch,
        round,
        author,
        timestamp: START.plus_us(round.0 * ROUND_US),
        first_position: Position(round.minus(1).0 * u64::from(entries)),
        parents,
        entries: (0..entries).map(|at| entry(round, author, at)).collect(),
        settled: Settled::default(),
    }
}

/// An entry that no other vertex lists and no other place of this one.
fn entry(round: Round, author: AuthorityIndex, at: u32) -> Entry {
    let mut input = [author.0; 13];
    input[1..9].copy_from_slice(&round.0.to_be_bytes());
    input[9..].copy_from_slice(&at.to_be_bytes());
    Entry {
        digest: Digest(*blake3::hash(&input).as_bytes()),
        valid_until: START.plus_us(60_000_000),
    }
}

const START: TimestampUs = TimestampUs(1_000_000);
const ROUND_US: u64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use fairlane_engine::commit::Committer;
    use fairlane_engine::dag::{Dag, Vertex};

    #[test]
    fn peers_verify_every_vertex() {
        for (authorities, entries) in [(4, 0), (5, 20), (10, 200)] {
            let full = FullDag::new(authorities, 3, entries);
            for vertex in &full.vertices {
                let verified = Vertex::verify(vertex.bytes(), &full.committee).unwrap();
                assert_eq!(verified, *vertex);
                assert_eq!(verified.entries().len(), entries as usize);
                assert_eq!(verified.parents().len(), usize::from(authorities));
            }
            assert_eq!(full.last().round(), Round(3));
        }
    }

    #[test]
    fn every_vertex_is_accepted_at_once_and_every_leader_whose_wave_is_whole_commits() {
        for authorities in [4, 10] {
            let rounds = 20;
            let full = FullDag::new(authorities, rounds, 4);
            let mut dag = Dag::new(full.committee.clone());
            let mut committer = Committer::new(&full.committee);
            let mut listed = 0;
            for vertex in &full.vertices {
                dag.insert(vertex.clone());
                for sub_dag in committer.advance(&dag) {
                    listed += sub_dag.appends.iter().map(Vec::len).sum::<usize>();
                }
            }
            assert_eq!(dag.counters().accepted, full.vertices.len() as u64);
            assert_eq!(dag.pending_len(), 0);
            let counters = committer.counters();
            assert_eq!((counters.commits, counters.skips), (rounds - 2, 0));
            // All before the last anchor's round, and the anchor's own.
            let committed = (rounds as usize - 3) * usize::from(authorities) + 1;
            assert_eq!(listed, committed * 4);
        }
    }
}
