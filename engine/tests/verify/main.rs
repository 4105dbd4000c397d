//! The verifier of records: what honest nodes record holds, whatever happened to them; and whoever changes a record is
//! found, by the rule that he broke.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, an unwrap that fails is the finding"
)]

#[path = "../common/mod.rs"]
mod common;

mod certified;
mod edit;
mod honest;
mod taken_over;
mod tampered;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use common::World;
use fairlane_engine::committee::{Committee, Parameters};
use fairlane_engine::config::EngineConfig;
use fairlane_engine::effect::{Record, SnapshotPart};
use fairlane_engine::seal::SealingKey;
use fairlane_engine::types::{AuthorityIndex, BatchSeq, Digest, Round};
use fairlane_engine::verify::{self, Fault, Verified, Verifier};

pub(crate) const SECOND: u64 = 1_000_000;
/// Whose journal is looked at, and tampered with: whoever holds it has this authority's keys.
pub(crate) const OWN: u8 = 0;

/// Checkpoints, and rounds also when there is nothing to order.
pub(crate) fn world() -> World {
    let parameters = Parameters {
        gc_depth_rounds: 16,
        checkpoint_interval_rounds: 16,
        ..Parameters::default()
    };
    let config = EngineConfig {
        heartbeat_us: 4_000,
        leader_timeout_us: 8_000,
        ..EngineConfig::default()
    };
    World::new(4, parameters, config)
}

/// Sealed envelopes, every fifth an open one and every seventh one that opens for nobody, one every 0.4 ms to all.
pub(crate) fn load(world: &mut World, ids: std::ops::Range<u64>) {
    let first = ids.start;
    for id in ids {
        let envelope = match (id % 5, id % 7) {
            (4, _) => world.open_envelope(id, 3 * SECOND),
            (_, 6) => world.garbage(id, 3 * SECOND),
            _ => world.sealed(id, 3 * SECOND),
        };
        for to in 0..world.nodes.len() {
            world.submit(to, id, envelope.clone(), (id - first) * 400 + to as u64);
        }
    }
}

/// What a verifier is told beside the records.
#[derive(Clone)]
pub(crate) struct Known {
    pub(crate) committee: Arc<Committee>,
    pub(crate) dealt: Option<SealingKey>,
    pub(crate) own: AuthorityIndex,
}

impl Known {
    pub(crate) fn of(world: &World, own: u8) -> Self {
        Self {
            committee: world.committee.clone(),
            dealt: Some((*world.key).clone()),
            own: AuthorityIndex(own),
        }
    }

    pub(crate) fn verifier(&self) -> Verifier {
        let (committee, dealt) = (self.committee.clone(), self.dealt.clone());
        Verifier::new(committee, self.own, dealt, [7; 32])
    }

    /// All records from the first.
    pub(crate) fn verify(&self, records: &[Record]) -> Result<Verified, Fault> {
        let mut verifier = self.verifier();
        for (number, record) in (0..).zip(records) {
            verifier.take(number, record)?;
        }
        verifier.finish()
    }

    /// As [`Self::verify`], when other journals have been looked at.
    pub(crate) fn verify_beside(&self, seen: &Seen, records: &[Record]) -> Result<Verified, Fault> {
        let mut verifier = self.verifier().with_known(Box::new(seen.clone()));
        for (number, record) in (0..).zip(records) {
            verifier.take(number, record)?;
        }
        verifier.finish()
    }

    /// From a snapshot, those before its tail being gone.
    pub(crate) fn verify_tail(
        &self,
        records: &[Record],
        snapshot: &[Arc<[u8]>],
    ) -> Result<Verified, Fault> {
        let mut verifier = self.verifier();
        verifier.start_from(0, snapshot)?;
        let before = SnapshotPart::decode(&snapshot[0]).unwrap().tail_from - 1;
        for (number, record) in (before..).zip(&records[before as usize..]) {
            verifier.take(number, record)?;
        }
        verifier.finish()
    }
}

/// What holds in journals that were looked at.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    vertices: Arc<Mutex<BTreeMap<(Round, AuthorityIndex), Digest>>>,
    batches: Arc<Mutex<BTreeMap<BatchSeq, Digest>>>,
}

impl verify::Known for Seen {
    fn has_vertex(&self, slot: (Round, AuthorityIndex), hash: &Digest) -> bool {
        self.vertices.lock().unwrap().get(&slot) == Some(hash)
    }

    fn note_vertex(&self, slot: (Round, AuthorityIndex), hash: &Digest) {
        self.vertices.lock().unwrap().insert(slot, *hash);
    }

    fn has_batch(&self, seq: BatchSeq, hash: &Digest) -> bool {
        self.batches.lock().unwrap().get(&seq) == Some(hash)
    }

    fn note_batch(&self, seq: BatchSeq, hash: &Digest) {
        self.batches.lock().unwrap().insert(seq, *hash);
    }
}
