//! What an authority's core is given while everybody is up: envelopes from clients, then vertices that list them.
//!
//! Authority 0 is the one that is measured: it makes its own vertices, which the others here do not cite, so the DAG that it
//! is given does not depend on it. Clients sent every envelope to everybody, so every vertex of a round lists the same
//! ones. They are open: sealing is measured elsewhere.

use std::sync::Arc;

use ed25519_dalek::SigningKey;
use fairlane_engine::committee::{Committee, Parameters, Rollup, RollupPolicy};
use fairlane_engine::config::EngineConfig;
use fairlane_engine::dag::{Settled, VerifiedVertex, VertexDraft, VertexRef, genesis};
use fairlane_engine::effect::Effect;
use fairlane_engine::engine::Engine;
use fairlane_engine::input::{ClientTag, Input};
use fairlane_engine::reveal::RevealKeys;
use fairlane_engine::seal::{
    Envelope, EnvelopeVerifier, LabelFields, SealingKey, VerifiedEnvelope, deal, open_envelope,
};
use fairlane_engine::types::{
    AuthorityIndex, ChainId, Entry, Epoch, Position, RollupId, Round, TimestampUs,
};

/// A committee, and per round what authority 0 is given.
pub struct CoreRun {
    committee: Arc<Committee>,
    key: Arc<SealingKey>,
    rounds: Vec<(Vec<VerifiedEnvelope>, Vec<VerifiedVertex>)>,
}

/// What a core has done with a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// Vertices of others that it accepted.
    pub accepted: u64,
    /// Anchors that it committed.
    pub anchors: u64,
    /// Entries that it emitted and opened.
    pub emitted: u64,
    /// Batches that it opened.
    pub batches: u64,
}

impl CoreRun {
    /// `rounds` rounds of a committee of `authorities`, `entries` new envelopes a round.
    pub fn new(authorities: u8, rounds: u64, entries: u64) -> Self {
        let keys: Vec<SigningKey> = (1..=authorities)
            .map(|byte| SigningKey::from_bytes(&[byte; 32]))
            .collect();
        let committee = Arc::new(committee(&keys));
        let key = Arc::new(dealt(authorities).0);
        let verifier = EnvelopeVerifier::new((*key).clone(), [1; 32]);
        let others = || committee.thresholds().members().skip(1);
        let mut before: Vec<VertexRef> = others().map(|a| genesis(&committee, a)).collect();
        let mut run = Vec::new();
        for round in (1..=rounds).map(Round) {
            let envelopes = envelopes(&key, &verifier, round, entries);
            let listed: Vec<Entry> = envelopes.iter().map(entry_of).collect();
            let vertices: Vec<VerifiedVertex> = others()
                .map(|author| {
                    let draft = draft(&committee, round, author, &before, &listed);
                    draft.sign(&keys[author.as_usize()])
                })
                .collect();
            before = vertices.iter().map(|vertex| vertex.reference()).collect();
            run.push((envelopes, vertices));
        }
        Self {
            committee,
            key,
            rounds: run,
        }
    }

    /// How many vertices it gives.
    pub fn vertices(&self) -> u64 {
        self.rounds
            .iter()
            .map(|(_, vertices)| vertices.len() as u64)
            .sum()
    }

    /// A new core of authority 0.
    pub fn engine(&self) -> Engine {
        let n = self.committee.thresholds().authorities() as u8;
        let share = dealt(n).1.swap_remove(0);
        let keys = RevealKeys {
            sealing: self.key.clone(),
            share,
            signing: SigningKey::from_bytes(&[1; 32]),
            process_secret: [1; 32],
        };
        let config = EngineConfig::default();
        Engine::new(self.committee.clone(), AuthorityIndex(0), keys, config)
    }

    /// Gives it all to `engine`, a round every two milliseconds, with a disk that takes no time.
    pub fn play(&self, engine: &mut Engine) -> Done {
        let mut at = START;
        let (mut records, mut tag) = (0, 0);
        let mut effects = Vec::new();
        let mut room = Room::default();
        for (envelopes, vertices) in &self.rounds {
            let submissions = envelopes.iter().map(|envelope| {
                tag += 1;
                let client = ClientTag { connection: 1, tag };
                let envelope = envelope.clone();
                Input::Submission { client, envelope }
            });
            let received = vertices.iter().map(|vertex| Input::Vertex {
                from: vertex.author(),
                vertex: vertex.clone(),
            });
            for input in submissions.chain(received) {
                engine.handle(at, input, &mut effects);
                engine.advance_reveal(at, &mut effects);
                room.open_all(engine, &mut effects);
                let persisted = effects
                    .drain(..)
                    .filter(|e| matches!(e, Effect::Persist(_)));
                records += persisted.count() as u64;
            }
            engine.handle(at, Input::Durable { records }, &mut effects);
            at = at.plus_us(ROUND_US);
        }
        let counters = engine.counters();
        Done {
            accepted: counters.vertices_accepted,
            anchors: counters.anchors,
            emitted: counters.emitted,
            batches: counters.batches,
        }
    }
}

/// Where batches are opened; kept, as a node keeps its ring.
#[derive(Default)]
struct Room(rkyv::util::AlignedVec<16>);

impl Room {
    fn open_all(&mut self, engine: &mut Engine, effects: &mut Vec<Effect>) {
        while let Some(len) = engine.ready_len_max() {
            self.0.resize(len.max(self.0.len()), 0);
            if engine.open_next(&mut self.0, effects).is_none() {
                return;
            }
        }
    }
}

fn dealt(authorities: u8) -> (SealingKey, Vec<fairlane_engine::seal::KeyShare>) {
    let n = u32::from(authorities);
    deal(ChainId(1), Epoch(0), n, n - (n - 1) / 3, &[9; 32]).expect("a quorum of a committee")
}

fn committee(keys: &[SigningKey]) -> Committee {
    let keys = keys.iter().map(SigningKey::verifying_key).collect();
    let rollups = vec![Rollup {
        id: RollupId(7),
        policy: RollupPolicy::Either,
    }];
    Committee::new(
        ChainId(1),
        Epoch(0),
        START,
        Parameters::default(),
        rollups,
        keys,
    )
    .expect("distinct keys and default parameters")
}

fn envelopes(
    key: &SealingKey,
    verifier: &EnvelopeVerifier,
    round: Round,
    count: u64,
) -> Vec<VerifiedEnvelope> {
    let fields = LabelFields {
        rollup: RollupId(7),
        valid_until: START.plus_us(50_000_000),
        sender_tag: [0; 16],
        padded_len: None,
    };
    let made = (0..count).map(|at| {
        let mut payload = [0; 128];
        payload[..8].copy_from_slice(&round.0.to_be_bytes());
        payload[8..16].copy_from_slice(&at.to_be_bytes());
        let bytes = open_envelope(key, &fields, &payload).expect("a short payload");
        Envelope::decode(bytes.into()).expect("it was just made")
    });
    let verdicts = verifier.check(made.collect());
    let verified: Result<Vec<_>, _> = verdicts.into_iter().collect();
    verified.expect("an open envelope has no proof to fail")
}

fn entry_of(envelope: &VerifiedEnvelope) -> Entry {
    Entry {
        digest: envelope.digest(),
        valid_until: envelope.label().valid_until,
    }
}

fn draft(
    committee: &Committee,
    round: Round,
    author: AuthorityIndex,
    before: &[VertexRef],
    listed: &[Entry],
) -> VertexDraft {
    let mut parents = before.to_vec();
    // The own previous vertex stands first; authority 0 has no place among them.
    parents[..author.as_usize()].rotate_right(1);
    VertexDraft {
        chain_id: committee.chain_id,
        epoch: committee.epoch,
        round,
        author,
        timestamp: START.plus_us(round.0 * ROUND_US),
        first_position: Position(round.minus(1).0 * listed.len() as u64),
        parents,
        entries: listed.to_vec(),
        settled: Settled::default(),
    }
}

const START: TimestampUs = TimestampUs(1_000_000);
const ROUND_US: u64 = 2_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_accepts_every_vertex_commits_and_opens_what_they_list() {
        for authorities in [4, 10] {
            let run = CoreRun::new(authorities, 40, 5);
            let done = run.play(&mut run.engine());
            assert_eq!(done.accepted, run.vertices());
            // The slots of authority 0 are skipped once, and then others'.
            assert!((36..=38).contains(&done.anchors), "{done:?}");
            assert!(done.emitted >= 35 * 5, "{done:?}");
            assert!(done.batches >= 30, "{done:?}");
        }
    }

    #[test]
    fn submissions_together_are_taken_as_one_by_one() {
        let run = CoreRun::new(4, 5, 20);
        let (mut one_by_one, mut together) = (run.engine(), run.engine());
        let (mut of_one, mut of_all) = (Vec::new(), Vec::new());
        let mut at = START;
        for (envelopes, _) in &run.rounds {
            // Some of them twice.
            let submitted = envelopes.iter().chain(&envelopes[..3]).cloned();
            let tagged: Vec<(ClientTag, VerifiedEnvelope)> = (0..)
                .map(|tag| ClientTag { connection: 1, tag })
                .zip(submitted)
                .collect();
            for (client, envelope) in tagged.clone() {
                one_by_one.handle(at, Input::Submission { client, envelope }, &mut of_one);
            }
            together.submit(at, tagged, &mut of_all);
            one_by_one.handle(at, Input::Tick, &mut of_one);
            together.handle(at, Input::Tick, &mut of_all);
            at = at.plus_us(ROUND_US);
        }
        assert!(of_one.len() > 5 * 23, "{}", of_one.len());
        assert_eq!(format!("{of_one:?}"), format!("{of_all:?}"));
        assert_eq!(one_by_one.counters(), together.counters());
    }
}
