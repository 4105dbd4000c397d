//! Checks a node's records from nothing but the committee: what `fairlane verify` says of a journal.
//!
//! A verifier takes the records in their order, whatever wrote them, and makes everything once more that follows from signed
//! data: signatures and parents of vertices, the sequence of anchors, the fair order, where batches are cut, reveals,
//! headers, archives and certificates. It believes no checksum, no digest and no count. The first thing that is wrong is a [`Fault`], and
//! nothing behind it is looked at.
//!
//! What follows from the records is recomputed by the node's own code: [`crate::dag`], [`crate::commit`], [`crate::fair`].
//! Whether that does what it should is for others to say: the simulator's checkers share no rule with it.
//!
//! What cannot be recomputed is said, never passed over ([`Verified::trusted`]): a state that was taken from a peer, or an
//! own snapshot where the journal before it was removed. For these, and for void entries of batches that were fetched, stands
//! what f + 1 authorities have signed ([`witness`]).
//!
//! I1: memory does not grow with the number of records: what is held is what a node holds, and hashes of the last
//! [`CLAIMS_MAX`] headers. I2: nothing in a record panics. I3: a fault is of the first record that shows it, though it may be
//! found some records later: reveals are checked many at once, and for void entries without share messages vouchers may
//! still come; if none do by the end, they are named.
//!
//! Cost: a vertex one signature check and its share of the commit rule and the fair order; an entry its envelope's proof, two
//! products of fixed points and the cipher.

mod batch;
mod certified;
mod envelopes;
mod fault;
mod figures;
mod reveals;
mod sequence;
mod taken;
mod taking;
mod void;
mod witness;

pub use fault::{Fault, Rule};
pub use figures::{Figures, Trusted, TrustedFrom, Verified};
pub use reveals::UNCHECKED_MAX;
pub use sequence::PLANNED_MAX;
pub use witness::CLAIMS_MAX;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::batch::archive::Outcome;
use crate::batch::header::BatchHeader;
use crate::committee::Committee;
use crate::dag::{SignedHeader, VerifiedVertex, Vertex, VertexError};
use crate::effect::{Record, archive_of_batch, header_of_batch};
use crate::evidence::{Evidence, EvidenceError};
use crate::seal::{Envelope, SealingKey, ShareMessage};
use crate::types::{AuthorityIndex, BatchSeq, Digest, Round, Sha256Hash, TimestampUs};
use crate::wire::Reader;

use batch::{Said, Scratch};
use envelopes::Held;
use fault::Found;
use reveals::{Claim, Reveals};
use sequence::Sequence;
use taken::{Fetched, Parts};
use void::Shares;
use witness::Witness;

/// Checks the records of one node, one by one.
pub struct Verifier {
    committee: Arc<Committee>,
    own: AuthorityIndex,
    sequence: Sequence,
    held: Held,
    witness: Witness,
    shares: Shares,
    reveals: Reveals,
    known: Option<Box<dyn Known>>,
    /// Where the own snapshot that it starts from stands: what lies before its checkpoint is passed over.
    base: Option<Base>,
    states: Parts,
    snapshots: Parts,
    /// The checkpoint up to which batches come from peers.
    fetched: Option<Fetched>,
    /// Hash of the last header, and the seq behind it.
    previous: Sha256Hash,
    next: BatchSeq,
    /// Void entries without share messages, as long as nobody vouches for their batches.
    unproven: VecDeque<Unproven>,
    newest_own: Round,
    trusted: Vec<Trusted>,
    first: Option<BatchSeq>,
    times: Option<(TimestampUs, TimestampUs)>,
    figures: Figures,
    scratch: Scratch,
}

/// What was found to hold in other journals of the same committee, by hashes of its bytes: it need not be checked again.
pub trait Known: Send {
    /// Whether the vertex in this slot, with this hash, holds.
    fn has_vertex(&self, slot: (Round, AuthorityIndex), hash: &Digest) -> bool;
    /// It holds.
    fn note_vertex(&self, slot: (Round, AuthorityIndex), hash: &Digest);
    /// Whether the record of the batch with this seq, with this hash, says the truth of its envelopes.
    fn has_batch(&self, seq: BatchSeq, hash: &Digest) -> bool;
    /// It does.
    fn note_batch(&self, seq: BatchSeq, hash: &Digest);
}

/// What a snapshot covers.
#[derive(Clone, Copy, Debug)]
struct Base {
    anchors: u64,
    seq: BatchSeq,
    floor: Round,
}

/// Void entries that nothing shows to be void yet.
#[derive(Clone, Copy, Debug)]
struct Unproven {
    record: u64,
    seq: BatchSeq,
    entry: usize,
    entries: u64,
}

impl Verifier {
    /// For the records of authority `own` from the first of the epoch on.
    ///
    /// `dealt` is the sealing key that a dealer made, if one did: a committee's own keys follow from the records. `secret` is 32 uniformly random bytes that whoever
    /// wrote the records does not know: weights of batched proof checks come from it.
    pub fn new(
        committee: Arc<Committee>,
        own: AuthorityIndex,
        dealt: Option<SealingKey>,
        secret: [u8; 32],
    ) -> Self {
        Self {
            own,
            sequence: Sequence::new(&committee, dealt, secret),
            held: Held::default(),
            witness: Witness::new(committee.thresholds()),
            shares: Shares::new(),
            reveals: Reveals::new(secret),
            known: None,
            base: None,
            states: Parts::default(),
            snapshots: Parts::default(),
            fetched: None,
            previous: Sha256Hash::default(),
            next: BatchSeq(0),
            unproven: VecDeque::new(),
            newest_own: Round(0),
            trusted: Vec::new(),
            first: None,
            times: None,
            figures: Figures::default(),
            scratch: Scratch::default(),
            committee,
        }
    }

    /// Does not check again what is known to hold: signatures of vertices, and what batches say of their envelopes.
    #[must_use]
    pub fn with_known(mut self, known: Box<dyn Known>) -> Self {
        self.known = Some(known);
        self
    }

    /// Goes on from an own snapshot, whose parts these are, before any record: the journal before it is not there.
    ///
    /// `record` is the number of its last part. The records to be taken are those from its `tail_from` on.
    /// Errors: it is no snapshot of this committee.
    pub fn start_from(&mut self, record: u64, parts: &[Arc<[u8]>]) -> Result<(), Fault> {
        self.install_snapshot(parts)
            .map_err(|found| found.at(record))
    }

    /// Takes the record with this number. Errors: the first thing that is wrong.
    pub fn take(&mut self, number: u64, record: &Record) -> Result<(), Fault> {
        self.figures.records += 1;
        let taken = self.take_record(number, record);
        taken.map_err(|found| self.earliest(found).at(number))
    }

    /// What waits to be checked was recorded before, so it comes first if it does not hold.
    fn earliest(&mut self, found: Found) -> Found {
        if let Err(earlier) = self.check_reveals() {
            return earlier;
        }
        self.first_unproven().unwrap_or(found)
    }

    fn take_record(&mut self, number: u64, record: &Record) -> Result<(), Found> {
        match record {
            Record::Envelope(bytes) => self.take_envelope(bytes),
            Record::OwnVertex(bytes) => self.take_vertex(bytes, true),
            Record::Vertex(bytes) => self.take_vertex(bytes, false),
            Record::Anchor(bytes) => self.take_anchor(bytes),
            Record::Batch(bytes) => self.take_batch(number, bytes),
            Record::Share(bytes) => self.take_share(bytes),
            Record::Evidence(bytes) => self.take_evidence(bytes),
            Record::State(bytes) => self.take_state(bytes),
            Record::Snapshot(bytes) => self.take_snapshot(bytes),
            Record::Certificate(bytes) => self.take_certificate(bytes),
        }
    }

    fn take_envelope(&mut self, bytes: &Arc<[u8]>) -> Result<(), Found> {
        let envelope = Envelope::decode(bytes.clone());
        let envelope = envelope.map_err(|error| Found::new(Rule::Envelope, error))?;
        let chain = envelope.label().chain_id;
        if chain != self.committee.chain_id {
            let digest = envelope.digest();
            let what = format!("{digest:?} is for chain {}", chain.0);
            return Err(Found::new(Rule::Envelope, what));
        }
        self.figures.envelopes += 1;
        self.held.hold(envelope);
        Ok(())
    }

    fn take_vertex(&mut self, bytes: &[u8], is_own: bool) -> Result<(), Found> {
        let vertex = self.read_vertex(bytes)?;
        let reference = vertex.reference();
        if is_own {
            let what = match (reference.author == self.own, self.newest_own) {
                (false, _) => format!("{reference:?} is recorded as one of {}", self.own),
                (true, newest) if reference.round <= newest => {
                    format!(
                        "{reference:?} stands behind an own one of round {}",
                        newest.0
                    )
                }
                _ => String::new(),
            };
            if !what.is_empty() {
                return Err(Found::new(Rule::Own, what));
            }
            self.newest_own = reference.round;
        }
        self.figures.vertices += 1;
        self.figures.listed += vertex.entries().len() as u64;
        self.witness.on_vertex(reference.author, vertex.settled())?;
        self.forget_vouched();
        if self.base.is_some_and(|base| reference.round <= base.floor) {
            return Ok(());
        }
        self.sequence.add(vertex)
    }

    fn read_vertex(&self, bytes: &[u8]) -> Result<VerifiedVertex, Found> {
        let wrong = |error| {
            let rule = match error {
                VertexError::Signature(_) => Rule::Signature,
                _ => Rule::Vertex,
            };
            Found::new(rule, error)
        };
        let Some(known) = &self.known else {
            return Vertex::verify(bytes, &self.committee).map_err(wrong);
        };
        let hash = hash(bytes);
        let signed = SignedHeader::decode(&mut Reader::new(bytes));
        let signed = signed.map_err(|error| wrong(error.into()))?;
        let slot = (signed.header.round, signed.header.author);
        if known.has_vertex(slot, &hash) {
            return Vertex::restore(bytes, &self.committee).map_err(wrong);
        }
        let vertex = Vertex::verify(bytes, &self.committee).map_err(wrong)?;
        known.note_vertex(slot, &hash);
        Ok(vertex)
    }

    fn take_anchor(&mut self, bytes: &[u8]) -> Result<(), Found> {
        let index = Reader::new(bytes).u64();
        let index = index.map_err(|error| Found::new(Rule::Record, error))?;
        if self.base.is_some_and(|base| index < base.anchors) {
            return Ok(());
        }
        let is_checkpoint = self.sequence.commit(bytes, &mut self.held)?;
        let now = self.sequence.committer().consensus_time();
        let first = self.times.map_or(now, |(first, _)| first);
        self.times = Some((first, now));
        self.figures.anchors += 1;
        self.figures.checkpoints += u64::from(is_checkpoint);
        Ok(())
    }

    fn take_certificate(&mut self, bytes: &[u8]) -> Result<(), Found> {
        let certified = certified::judge(&self.committee, &self.witness, self.next, bytes)?;
        self.figures.certificates += 1;
        self.figures.certificates_unplaced += u64::from(!certified.is_placed);
        self.figures.certified = self.figures.certified.max(certified.next.0);
        Ok(())
    }

    fn take_share(&mut self, bytes: &[u8]) -> Result<(), Found> {
        let message = ShareMessage::decode(bytes);
        let message = message.map_err(|error| Found::new(Rule::Record, error))?;
        if !self.committee.thresholds().has_member(message.author) {
            let what = format!("a share message of {}, who is no member", message.author);
            return Err(Found::new(Rule::Void, what).in_batch(message.seq));
        }
        self.shares.insert(message.author, message);
        Ok(())
    }

    fn take_batch(&mut self, number: u64, bytes: &[u8]) -> Result<(), Found> {
        let header = header_of_batch(bytes).map_err(|error| Found::new(Rule::Record, error))?;
        let shares = std::mem::take(&mut self.shares);
        if self.base.is_some_and(|base| header.seq <= base.seq) {
            return Ok(());
        }
        let archive = archive_of_batch(bytes).unwrap_or_default();
        match self.fetched {
            Some(fetched) => self.take_fetched(fetched, &header, archive),
            None => {
                let seq = self.next;
                let hash = match self.known {
                    Some(_) => hash(bytes),
                    None => Digest::default(),
                };
                let taken = self.take_next((number, hash), (&header, archive), shares);
                taken.map_err(|found| found.in_batch(seq))
            }
        }
    }

    /// The batch that must come next.
    fn take_next(
        &mut self,
        (record, hash): (u64, Digest),
        (header, archive): (&BatchHeader, &[u8]),
        shares: Shares,
    ) -> Result<(), Found> {
        batch::check_place((self.next, self.previous), header)?;
        let planned = self.sequence.next_planned(&mut self.held)?;
        let (plan, recorded) = (planned.plan, (header, archive));
        let said = batch::judge(&self.committee, &plan, recorded, &mut self.scratch)?;
        self.count(&said);
        // Share messages are no part of the batch's record, so where it has void entries they are looked at in each journal.
        let known = self.known.as_deref().filter(|_| header.void == 0);
        if !known.is_some_and(|known| known.has_batch(header.seq, &hash)) {
            self.note_unproven(record, header.seq, (&said, &shares));
            if self.reveals.is_due(planned.keys_version) {
                self.check_reveals()?;
            }
            let has_void = header.void > 0;
            self.reveals.push(Claim {
                record,
                hash,
                plan,
                said,
                keys: planned.keys,
                keys_version: planned.keys_version,
                shares: if has_void { shares } else { Shares::new() },
            });
        }
        self.first.get_or_insert(header.seq);
        self.pass(header)
    }

    /// Void entries before which no share message stands.
    fn note_unproven(&mut self, record: u64, seq: BatchSeq, (said, shares): (&Said, &Shares)) {
        let void = said.void();
        let Some(entry) = void.first().copied() else {
            return;
        };
        self.figures.shares += shares.len() as u64;
        if shares.is_empty() {
            self.unproven.push_back(Unproven {
                record,
                seq,
                entry,
                entries: void.len() as u64,
            });
        }
    }

    /// Checks what batches have said of their envelopes since the last time.
    fn check_reveals(&mut self) -> Result<(), Found> {
        let claims = self.reveals.check(&self.committee)?;
        let Some(known) = &self.known else {
            return Ok(());
        };
        for claim in claims {
            known.note_batch(claim.plan.seq, &claim.hash);
        }
        Ok(())
    }

    fn count(&mut self, said: &Said) {
        let figures = &mut self.figures;
        figures.batches += 1;
        figures.entries += said.entries.len() as u64;
        for entry in &said.entries {
            match entry.outcome {
                Outcome::Open { len, .. } => {
                    figures.open += 1;
                    figures.payload_bytes += u64::from(len);
                }
                Outcome::Revealed { len, .. } => {
                    figures.revealed += 1;
                    figures.payload_bytes += u64::from(len);
                }
                Outcome::Void => figures.void += 1,
            }
        }
    }

    fn pass(&mut self, header: &BatchHeader) -> Result<(), Found> {
        (self.next, self.previous) = (header.seq.next(), header.hash());
        self.witness.on_header(header.seq, self.previous)?;
        self.forget_vouched();
        match self.unproven.len() > CLAIMS_MAX {
            true => Err(self.first_unproven().expect("there are some")),
            false => Ok(()),
        }
    }

    /// Void entries whose batches are vouched for by now are no fault.
    fn forget_vouched(&mut self) {
        if self.unproven.is_empty() {
            return;
        }
        let vouched = self.witness.vouched();
        while let Some(first) = self.unproven.front()
            && first.seq.0 < vouched
        {
            self.figures.void_vouched += first.entries;
            self.unproven.pop_front();
        }
    }

    fn first_unproven(&self) -> Option<Found> {
        let first = self.unproven.front()?;
        let what = "it is said to be void, no share message shows it, and not f + 1 authorities vouch for its batch";
        let found = Found::new(Rule::Void, what).in_entry(first.entry);
        Some(found.in_batch(first.seq).in_record(first.record))
    }

    fn take_evidence(&mut self, bytes: &[u8]) -> Result<(), Found> {
        let wrong = |error: &dyn std::fmt::Display| Found::new(Rule::Evidence, error);
        let evidence = Evidence::decode(bytes).map_err(|error| wrong(&error))?;
        let keys = self.sequence.keys().keys();
        let unjudged =
            |verdict: &Result<(), EvidenceError>| matches!(verdict, Err(EvidenceError::Signature));
        // Of a share message that holds for one key others see no signature for theirs.
        let by_keys = || {
            let verdicts = keys
                .iter()
                .map(|key| evidence.check(&self.committee, &key.sealing));
            verdicts.into_iter().find(|verdict| !unjudged(verdict))
        };
        match evidence.check_vertices(&self.committee).or_else(by_keys) {
            Some(Ok(())) => self.figures.evidence += 1,
            Some(Err(error)) => return Err(wrong(&error)),
            None => self.figures.evidence_unjudged += 1,
        }
        Ok(())
    }

    /// Figures so far.
    pub const fn figures(&self) -> &Figures {
        &self.figures
    }

    /// The seq of the next batch, and the hash of the header before it.
    pub const fn settled(&self) -> (BatchSeq, Sha256Hash) {
        (self.next, self.previous)
    }

    /// At the end of the records. Errors: a void entry that nothing shows to be void.
    pub fn finish(mut self) -> Result<Verified, Fault> {
        self.check_reveals().map_err(|found| found.at(0))?;
        if let Some(found) = self.first_unproven() {
            return Err(found.at(0));
        }
        let unrecorded_batches = self.sequence.planned_len() as u64;
        let unrecorded_anchors = self.sequence.count_undone();
        let vouched = self.witness.vouched();
        let mut faulty = self.sequence.committer().forked();
        let dag = self.sequence.dag();
        faulty = faulty.union(dag.forked());
        for broken in dag.broken_links() {
            faulty.insert(broken.vertex.author());
        }
        for trusted in &mut self.trusted {
            trusted.is_vouched = trusted.seq < vouched;
        }
        self.figures.envelopes_left = self.held.len() as u64;
        Ok(Verified {
            figures: self.figures,
            span: self.first.map(|first| (first, self.next.0)),
            times: self.times,
            vouched,
            trusted: self.trusted,
            unrecorded_batches,
            unrecorded_anchors,
            faulty: faulty.iter().collect(),
        })
    }
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier")
            .field("own", &self.own)
            .field("next", &self.next)
            .field("figures", &self.figures)
            .finish_non_exhaustive()
    }
}

fn hash(bytes: &[u8]) -> Digest {
    Digest(*blake3::hash(bytes).as_bytes())
}

/// States that were taken over in one journal: each is a time that the node was away.
pub const TRUSTED_MAX: usize = 65_536;
