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

use super::snapshot::{SNAPSHOT_VERSION, Snapshots};
use super::*;
use crate::batch::header::HEADER_LEN;
use crate::dag::{Vertex, VertexError};
use crate::effect::SnapshotPart;
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
    /// Not a snapshot of this committee.
    #[error("the snapshot does not decode: {error}")]
    Snapshot {
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
        let recorded = Recorded {
            snapshot: Vec::new(),
            before: 0,
            records,
        };
        Self::recover_from(committee, own, keys, config, now, recorded, effects)
    }

    /// As [`Engine::recover`], from a snapshot of its own and the records that are to be read with it.
    pub fn recover_from(
        committee: Arc<Committee>,
        own: AuthorityIndex,
        keys: impl Into<EngineKeys>,
        config: EngineConfig,
        now: TimestampUs,
        recorded: Recorded<impl IntoIterator<Item = Record>>,
        effects: &mut Vec<Effect>,
    ) -> Result<Self, RecoverError> {
        let mut replay = Replay {
            engine: Self::new(committee, own, keys, config),
            now,
            plans: VecDeque::new(),
            newest_own: None,
            state: Vec::new(),
            base: None,
            effects: Vec::new(),
        };
        let mut number = recorded.before;
        if !recorded.snapshot.is_empty() {
            replay.take_snapshot(number, &recorded.snapshot)?;
        }
        for record in recorded.records {
            // What the engine asks for on the way has the number that it had then.
            replay.engine.records = number;
            number += 1;
            replay.take(number, record)?;
        }
        Ok(replay.finish(number, effects))
    }
}

/// What a journal holds for an engine that starts again.
#[derive(Clone, Debug)]
pub struct Recorded<I> {
    /// The bodies of a whole snapshot's parts, in order; empty to start from the first record.
    pub snapshot: Vec<Arc<[u8]>>,
    /// How many records there are before the first of `records`: less than the snapshot's `tail_from`.
    pub before: u64,
    /// All records behind those.
    pub records: I,
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
    /// The snapshot that it starts from.
    base: Option<Base>,
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
            // Whoever starts here has started from another, or from the beginning. Shares are for who checks batches, a
            // certificate is of a batch whose record stands before it: nothing here follows from them.
            Record::Snapshot(_) | Record::Share(_) | Record::Certificate(_) => Ok(()),
        }
    }

    fn take_envelope(&mut self, record: u64, bytes: Arc<[u8]>) -> Result<(), RecoverError> {
        let engine = &mut self.engine;
        let chain_id = engine.committee.chain_id;
        let is_known = |chain, key_id| chain == chain_id && engine.keys.find(key_id).is_some();
        let envelope = match VerifiedEnvelope::restore(bytes, is_known) {
            Ok(envelope) => envelope,
            // Its key may have ended before the snapshot: then nothing needs it any more.
            Err(EnvelopeError::WrongKey) if self.base.is_some() => return Ok(()),
            Err(error) => return Err(RecoverError::Envelope { record, error }),
        };
        engine.envelope_wants.forget(&envelope.digest());
        let held = engine.table.find(&envelope.digest());
        let is_again = held.is_some();
        // One that expired and was let go of may have been accepted again; here it may not be let go of yet.
        let entry = match held.map(|held| held.entry()) {
            Some(entry) => entry,
            None => engine.table.hold(envelope, record, None),
        };
        if let Some(phase) = self.base.as_ref().and_then(|base| base.outcome(&entry)) {
            if let Some(held) = engine.table.find_mut(&entry.digest) {
                held.phase = phase;
            }
            return Ok(());
        }
        // Taken in twice, and the vertex that listed it first lies below the floor of a snapshot: it is listed again once.
        if !(is_again && engine.local.is_unlisted(&entry)) {
            engine.local.append(entry);
        }
        Ok(())
    }

    fn take_own_vertex(&mut self, record: u64, bytes: &[u8]) -> Result<(), RecoverError> {
        let vertex = self.restore(record, bytes)?;
        let engine = &mut self.engine;
        if vertex.author() != engine.own {
            return Err(RecoverError::NotOwn { record });
        }
        let (round, first) = (vertex.round(), vertex.first_position());
        if let Some(base) = self.base.as_mut().filter(|base| round <= base.floor) {
            // Whether a sub-DAG holds it is not known: what is not done with is listed again.
            let digests = vertex.entries().iter().map(|entry| entry.digest);
            base.listed.extend(digests);
            return Ok(());
        }
        engine.local.relist(round, first, vertex.entries());
        if engine.committer.is_committed(&vertex.reference()) {
            engine.local.on_committed(round);
        }
        for (index, entry) in vertex.entries().iter().enumerate() {
            if let Some(held) = engine.table.find_mut(&entry.digest) {
                held.listed = Some((vertex.reference(), index as u32));
            }
        }
        self.go_on_from(&vertex);
        self.link(record, vertex.clone())?;
        self.engine.dag.remember_own(vertex);
        Ok(())
    }

    /// An own vertex: the next one is made above it, unless a newer one is known.
    fn go_on_from(&mut self, vertex: &VerifiedVertex) {
        let proposer = &mut self.engine.proposer;
        if vertex.round() < proposer.round {
            return;
        }
        proposer.round = vertex.round().next();
        proposer.last_timestamp = vertex.timestamp();
        proposer.last = Some(vertex.reference());
        self.newest_own = Some(vertex.clone());
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
        let mut reader = Reader::new(bytes);
        let index = reader.u64().map_err(|_| RecoverError::Anchor { record })?;
        if self.base.as_ref().is_some_and(|base| index < base.anchors) {
            return Ok(());
        }
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
        if self
            .base
            .as_ref()
            .is_some_and(|base| header.seq <= base.seq)
        {
            return Ok(());
        }
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
        if self
            .base
            .as_ref()
            .is_some_and(|base| header.seq <= base.seq)
        {
            return Ok(());
        }
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

    /// Goes on from an own snapshot; `records` are before the first that is read with it.
    fn take_snapshot(&mut self, records: u64, parts: &[Arc<[u8]>]) -> Result<(), RecoverError> {
        let refused = |error| RecoverError::Snapshot { error };
        let mut content = Vec::new();
        let mut last: Option<SnapshotPart<'_>> = None;
        for body in parts {
            let part = SnapshotPart::decode(body).map_err(refused)?;
            let is_next = last.map_or(part.index == 0, |last| part.follows(&last));
            if !is_next || part.tail_from <= records {
                return Err(refused(DecodeError::NotCanonical("parts of a snapshot")));
            }
            content.extend_from_slice(part.bytes);
            last = Some(part);
        }
        let Some(last) = last.filter(|last| last.index + 1 == last.of) else {
            return Err(refused(DecodeError::NotCanonical("parts of a snapshot")));
        };
        let (header, tail_from) = (last.header, last.tail_from);
        let mut reader = Reader::new(&content);
        match reader.u8().map_err(refused)? {
            SNAPSHOT_VERSION => {}
            version => return Err(refused(DecodeError::Version(version))),
        }
        let own = read_framed(&mut reader).map_err(refused)?;
        if !own.is_empty() {
            let vertex = self.restore(records, own)?;
            if vertex.author() != self.engine.own {
                return Err(RecoverError::NotOwn { record: records });
            }
            self.go_on_from(&vertex);
            self.engine.local.resume(vertex.end_position());
        }
        let authors = self.engine.committee.thresholds().authorities();
        let kinds_max = 8 * authors;
        for _ in 0..reader.count_u32("evidence", kinds_max).map_err(refused)? {
            let bytes = read_framed(&mut reader).map_err(refused)?;
            let evidence = Evidence::decode(bytes).map_err(refused)?;
            self.engine.restore_evidence(evidence);
        }
        let state = reader.bytes(reader.left()).map_err(refused)?;
        let committee = self.engine.committee.clone();
        let restored = State::restore(&committee, header.state_root, state).map_err(refused)?;
        let state = restored.state(&committee);
        let engine = &mut self.engine;
        engine.install(self.now, &header, restored, &mut self.effects);
        self.effects.clear();
        // All batches up to the checkpoint are settled here.
        engine.syncing.gap = None;
        engine.checkpoints.on_cut(header.seq, state);
        engine.note_settled(&header, &[]);
        let floor = engine.committer.floor();
        engine.snapshots = Snapshots::behind(tail_from - 1, floor, Some(header.seq));
        self.base = Some(Base::of(engine, &header));
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
        if let Some(base) = &self.base {
            let unlisted = engine.local.unlisted();
            let again = unlisted.filter(|entry| base.was_listed(&entry.digest));
            engine.counters.relisted = again.count() as u64;
        }
        for plan in self.plans {
            engine.start(plan, self.now, effects);
        }
        // Anchors whose record was lost.
        engine.on_accepted(self.now, Vec::new(), effects);
        engine.try_emit(self.now, effects);
        // Not before: a newer vertex known before an older one looks like a fork.
        if let Some(vertex) = self.newest_own.as_ref().filter(|_| self.base.is_some()) {
            engine.dag.remember_own(vertex.clone());
        }
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

/// What a snapshot says of records that come with it.
struct Base {
    anchors: u64,
    seq: BatchSeq,
    floor: Round,
    time: TimestampUs,
    emitted: BTreeSet<Digest>,
    pending: BTreeSet<Digest>,
    /// What own vertices at or below the floor list.
    listed: BTreeSet<Digest>,
}

impl Base {
    /// Of an engine that has just taken over the state of the checkpoint.
    fn of(engine: &Engine, header: &BatchHeader) -> Self {
        let emissions = engine.fair.emissions();
        let emitted = emissions.iter().flat_map(|entries| entries.iter());
        Self {
            anchors: engine.committer.anchors(),
            seq: header.seq,
            floor: engine.committer.floor(),
            time: engine.consensus_time,
            emitted: emitted.map(|entry| entry.digest).collect(),
            pending: engine.fair.pending().map(|entry| entry.digest).collect(),
            listed: BTreeSet::new(),
        }
    }

    /// What had become of an envelope by then; none when it was not done with.
    fn outcome(&self, entry: &Entry) -> Option<Phase> {
        if self.emitted.contains(&entry.digest) {
            return Some(Phase::Settled { seq: self.seq });
        }
        let is_over = entry.valid_until < self.time && !self.pending.contains(&entry.digest);
        is_over.then_some(Phase::Dropped)
    }

    fn was_listed(&self, digest: &Digest) -> bool {
        self.listed.contains(digest) || self.pending.contains(digest)
    }
}

fn read_framed<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    let most = reader.left().try_into().unwrap_or(u32::MAX);
    let len = reader.count_u32("snapshot", most)?;
    reader.bytes(len)
}
