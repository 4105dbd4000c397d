//! An engine from the records that it had made durable: what [`Effect::Persist`] asked for, in order, or any prefix.
//!
//! The records are replayed: vertices go through the DAG, the commit rule and the fair order again, which are pure
//! functions of them, so what was decided is decided again, an anchor where it is recorded and not before: the engine is
//! never ahead of what it was. Opened batches are recorded so that none is opened again. Records were checked before they were written and are the node's own, so
//! signatures and proofs are not checked again; that they belong together is.
//!
//! Why a prefix will do: an own vertex is sent only when its record and all before it are durable. So whatever of this
//! node anybody has seen is in every prefix that a crash can leave, and a vertex whose record is lost was seen by nobody.
//! Its parents were recorded before it; its entries' envelopes, too. What a torn tail takes away, peers' vertices and
//! envelopes, is fetched again as if it had never come.
//!
//! I1: the recovered engine makes its next vertex above every own vertex in the records, so it never makes a second one
//! in a slot. I2: positions go on where the last own vertex ended; what was accepted and not listed is unlisted, in the
//! order of acceptance. I3: batches open from the first one whose header is not in the records
//! ([`Engine::next_open_seq`]); a shell that knows of more that it settled throws those away by seq. I4: numbers of
//! records go on from the journal's: after k records the first new one is k + 1, and [`Input::Durable`] counts them all.
//! I5: what follows from the records and is not among them (an anchor, a share message) is made durable or sent anew.
//!
//! Not kept: which clients wait for what, counters (they count since the start).
//!
//! Cost: linear in the records. A vertex costs hashes, not a signature check; a sealed envelope one point decoding (4 us);
//! measured with open envelopes at n = 4: 5.5 us a record. Shares are made for batches that are not opened yet, and for others when a peer asks.

use super::*;
use crate::batch::header::HEADER_LEN;
use crate::dag::{Vertex, VertexError};
use crate::seal::envelope::EnvelopeError;
use crate::wire::{DecodeError, Reader};

/// Why records do not make an engine. Each names the record by its number, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoverError {
    /// Not a vertex of this committee, or, where it says so, not an own one.
    #[error("record {record} is no vertex of this committee: {error}")]
    Vertex {
        /// Which.
        record: u64,
        /// What is wrong with it.
        error: VertexError,
    },
    /// An own vertex is by somebody else.
    #[error("record {record} is another authority's vertex, recorded as an own one")]
    NotOwn {
        /// Which.
        record: u64,
    },
    /// A vertex stands before one of its parents.
    #[error("record {record} is a vertex whose parent {parent:?} is not recorded before it")]
    Parent {
        /// Which.
        record: u64,
        /// The parent.
        parent: VertexRef,
    },
    /// Not an envelope for this committee's key.
    #[error("record {record} is no envelope for this committee: {error}")]
    Envelope {
        /// Which.
        record: u64,
        /// What is wrong with it.
        error: EnvelopeError,
    },
    /// An anchor that the vertices before it do not give.
    #[error("record {record} is an anchor that the recorded vertices do not give")]
    Anchor {
        /// Which.
        record: u64,
    },
    /// Not a batch header.
    #[error("record {record} is no batch header: {error}")]
    Header {
        /// Which.
        record: u64,
        /// What is wrong with it.
        error: DecodeError,
    },
    /// Not evidence.
    #[error("record {record} is no evidence: {error}")]
    Evidence {
        /// Which.
        record: u64,
        /// What is wrong with it.
        error: DecodeError,
    },
    /// Not a part of a state of this committee.
    #[error("record {record} is no part of a state: {error}")]
    State {
        /// Which.
        record: u64,
        /// What is wrong with it.
        error: DecodeError,
    },
    /// A batch that the anchors before it do not give.
    #[error("record {record} is a batch that the recorded vertices and envelopes do not give")]
    Batch {
        /// Which.
        record: u64,
    },
}

impl Engine {
    /// Rebuilds the engine of an authority from its durable records; what it must do or say first goes to `effects`.
    ///
    /// Takes what [`Engine::new`] takes. None of `records` may be missing but at the end; there may be none at all.
    /// Errors: the records are not of this committee and authority, or do not fit together.
    pub fn recover(
        committee: Arc<Committee>,
        own: AuthorityIndex,
        keys: impl Into<EngineKeys>,
        config: EngineConfig,
        now: TimestampUs,
        records: impl IntoIterator<Item = Record>,
        effects: &mut Vec<Effect>,
    ) -> Result<Self, RecoverError> {
        let mut replay = Replay {
            engine: Self::new(committee, own, keys, config),
            now,
            plans: VecDeque::new(),
            newest_own: None,
            state: Vec::new(),
            effects: Vec::new(),
        };
        let mut number = 0;
        for record in records {
            number += 1;
            replay.take(number, record)?;
        }
        Ok(replay.finish(number, effects))
    }
}

/// An engine that takes in its own records.
struct Replay {
    engine: Engine,
    now: TimestampUs,
    /// Batches that were cut and whose header has not come yet.
    plans: VecDeque<BatchPlan>,
    newest_own: Option<VerifiedVertex>,
    /// What has been gathered of a state that was taken over.
    state: Vec<u8>,
    /// What the engine asks for on the way; it was done then.
    effects: Vec<Effect>,
}

impl Replay {
    fn take(&mut self, record: u64, body: Record) -> Result<(), RecoverError> {
        match body {
            Record::Envelope(bytes) => self.take_envelope(record, bytes),
            Record::OwnVertex(bytes) => self.take_own_vertex(record, &bytes),
            Record::Vertex(bytes) => {
                let vertex = self.restore(record, &bytes)?;
                self.link(record, vertex)
            }
            Record::Anchor(bytes) => self.take_anchor(record, &bytes),
            Record::Batch(bytes) => self.take_batch(record, &bytes),
            Record::Evidence(bytes) => {
                let evidence = Evidence::decode(&bytes)
                    .map_err(|error| RecoverError::Evidence { record, error })?;
                self.engine.restore_evidence(evidence);
                Ok(())
            }
            Record::State(bytes) => self.take_state(record, &bytes),
        }
    }

    fn take_envelope(&mut self, record: u64, bytes: Arc<[u8]>) -> Result<(), RecoverError> {
        let engine = &mut self.engine;
        let chain_id = engine.committee.chain_id;
        let is_known = |chain, key_id| chain == chain_id && engine.keys.find(key_id).is_some();
        let envelope = VerifiedEnvelope::restore(bytes, is_known)
            .map_err(|error| RecoverError::Envelope { record, error })?;
        engine.envelope_wants.forget(&envelope.digest());
        let held = engine.table.find(&envelope.digest());
        // One that expired and was let go of may have been accepted again; here it may not be let go of yet.
        let entry = match held.map(|held| held.entry()) {
            Some(entry) => entry,
            None => engine.table.hold(envelope, None),
        };
        engine.local.append(entry);
        Ok(())
    }

    fn take_own_vertex(&mut self, record: u64, bytes: &[u8]) -> Result<(), RecoverError> {
        let vertex = self.restore(record, bytes)?;
        let engine = &mut self.engine;
        if vertex.author() != engine.own {
            return Err(RecoverError::NotOwn { record });
        }
        let (round, first) = (vertex.round(), vertex.first_position());
        engine.local.relist(round, first, vertex.entries());
        for (index, entry) in vertex.entries().iter().enumerate() {
            if let Some(held) = engine.table.find_mut(&entry.digest) {
                held.listed = Some((vertex.reference(), index as u32));
            }
        }
        engine.proposer.round = engine.proposer.round.max(round.next());
        engine.proposer.last_timestamp = vertex.timestamp();
        engine.proposer.last = Some(vertex.reference());
        self.newest_own = Some(vertex.clone());
        self.link(record, vertex.clone())?;
        self.engine.dag.remember_own(vertex);
        Ok(())
    }

    fn restore(&self, record: u64, bytes: &[u8]) -> Result<VerifiedVertex, RecoverError> {
        Vertex::restore(bytes, &self.engine.committee)
            .map_err(|error| RecoverError::Vertex { record, error })
    }

    fn link(&mut self, record: u64, vertex: VerifiedVertex) -> Result<(), RecoverError> {
        let linked = self.engine.dag.restore(vertex.clone());
        if linked.map_err(|parent| RecoverError::Parent { record, parent })? {
            self.engine
                .note_accepted(self.now, &[vertex], &mut self.effects);
            self.effects.clear();
        }
        Ok(())
    }

    /// What decides an anchor was accepted, and so recorded, before it.
    fn take_anchor(&mut self, record: u64, bytes: &[u8]) -> Result<(), RecoverError> {
        self.engine.commit_next(self.now, &mut self.effects);
        let is_it = |effect: &Effect| matches!(effect, Effect::Persist(Record::Anchor(body)) if **body == *bytes);
        if !self.effects.drain(..).any(|effect| is_it(&effect)) {
            return Err(RecoverError::Anchor { record });
        }
        self.cut();
        Ok(())
    }

    fn take_batch(&mut self, record: u64, bytes: &[u8]) -> Result<(), RecoverError> {
        let header = crate::effect::header_of_batch(bytes)
            .map_err(|error| RecoverError::Header { record, error })?;
        if let Some(gap) = &mut self.engine.syncing.gap {
            if !gap.pass(&header) {
                return Err(RecoverError::Batch { record });
            }
            if gap.is_closed() {
                self.engine.syncing.gap = None;
            }
            self.engine.note_settled(&header, &[]);
            return Ok(());
        }
        self.cut();
        let settled = self.engine.reveal.settled();
        let fits =
            |plan: &BatchPlan| plan.is_of(&header) && (header.seq.0, header.previous) == settled;
        let Some(plan) = self.plans.pop_front().filter(fits) else {
            return Err(RecoverError::Batch { record });
        };
        let digests: Vec<Digest> = plan.digests().collect();
        self.engine.reveal.skip(&plan, header.hash());
        self.engine.note_settled(&header, &digests);
        Ok(())
    }

    /// Gathers a state that was taken over; one of which the end is lost was never gone on from.
    fn take_state(&mut self, record: u64, bytes: &[u8]) -> Result<(), RecoverError> {
        let refused = |error| RecoverError::State { record, error };
        let mut reader = Reader::new(bytes);
        let header = reader.bytes(HEADER_LEN).and_then(BatchHeader::decode);
        let header = header.map_err(refused)?;
        let (index, of) = (
            reader.u32().map_err(refused)?,
            reader.u32().map_err(refused)?,
        );
        let chunk = reader.bytes(reader.left()).map_err(refused)?;
        if index == 0 {
            self.state.clear();
        }
        self.state.extend_from_slice(chunk);
        if index + 1 < of {
            return Ok(());
        }
        let committee = self.engine.committee.clone();
        let state = State::restore(&committee, header.state_root, &self.state);
        let restored = state.map_err(refused)?;
        self.state = Vec::new();
        // What was decided before and had no place in the chain yet the state has.
        self.plans.clear();
        self.engine
            .install(self.now, &header, restored, &mut self.effects);
        self.effects.clear();
        Ok(())
    }

    /// Cuts the emissions whose envelopes are here.
    fn cut(&mut self) {
        let engine = &mut self.engine;
        while let Some(emission) = engine.emissions.front() {
            let mut entries = emission.entries.iter();
            if entries.any(|entry| engine.table.find(&entry.digest).is_none()) {
                return;
            }
            let emission = engine.emissions.pop().expect("it is the front one");
            let seq = BatchSeq(engine.reveal.next_seq().0 + self.plans.len() as u64);
            for plan in engine.cut(emission, seq) {
                engine.place(plan.seq, &plan.envelopes, &mut self.effects);
                self.plans.push_back(plan);
            }
        }
    }

    fn finish(mut self, records: u64, effects: &mut Vec<Effect>) -> Engine {
        self.cut();
        let mut engine = self.engine;
        engine.counters = Counters {
            records_recovered: records,
            ..Counters::default()
        };
        engine.records = records;
        for plan in self.plans {
            engine.start(plan, self.now, effects);
        }
        // Anchors whose record was lost.
        engine.on_accepted(self.now, Vec::new(), effects);
        engine.try_emit(self.now, effects);
        // It may never have left; whoever has it already loses nothing.
        if let Some(vertex) = self.newest_own {
            // An idle node that beat its heart at once would be a round ahead of the others, and wait for theirs.
            engine.proposer.made = vertex.timestamp().min(self.now);
            let bytes = vertex.bytes().clone();
            effects.push(Effect::Broadcast(PeerMessage::Vertex(bytes)));
        }
        engine
    }
}
