//! From a final order to opened batches: cut, share, collect, combine, open.
//!
//! A share message leaves only after this node has decided the anchor that *emits* the batch: the only caller of
//! [`Reveal::start`] is the engine, with what the fair order emitted. Batches are cut by label payload lengths before
//! anything is opened, so every node cuts alike.
//!
//! Opening is optimistic: t share messages, the own one among them, are combined without checking signatures or proofs,
//! and what comes out counts if it checks against r itself (see [`crate::seal::open`]). Else signatures and proofs are
//! checked, what does not hold is dropped and asked for again, and t proven shares decide. Which t they are makes no
//! difference (Shoup and Gennaro, TDH2: the combined value is unique).
//!
//! A message is taken unchecked only over its author's own link, and only while its author is no suspect. Links are
//! authenticated by the shell, which names who sent what; nothing safe hangs on it. Whoever's message failed once, its own
//! or forged with its stolen link key, is checked before use from then on; so each authority can cost a correct one a
//! single fallback.
//!
//! I1: batches open in order of seq, each once. I2: Void is an outcome of the envelope's bytes and the true D, never of
//! something missing: a plan holds every envelope before it starts, and proven shares decide. I3: what peers send ahead
//! of us is bounded by [`EARLY_AUTHOR_MAX`]. I4: only what an author signed is held against it.

pub mod collect;
mod kept;
mod opening;
pub mod plan;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::batch::archive::{
    self, BatchEntry, BatchWriter, Outcome as EntryOutcome, PAYLOAD_SLACK_LEN,
};
use crate::batch::header::BatchHeader;
use crate::committee::Committee;
use crate::evidence::Evidence;
use crate::keyring::{CommitteeKey, EngineKeys};
use crate::mutant::{self, Mutant};
use crate::reveal::collect::{Collect, Collected};
use crate::reveal::kept::{Kept, OwnMessage};
use crate::reveal::opening::Opening;
use crate::reveal::plan::BatchPlan;
use crate::seal::deal::KeyShare;
use crate::seal::group::EncodedPoint;
use crate::seal::key::SealingKey;
use crate::seal::share::{ShareError, ShareMessage, VerifiedShare};
use crate::types::{
    AuthorityIndex, AuthoritySet, BatchSeq, Digest, KeyId, Round, Sha256Hash, TimestampUs,
};

pub use kept::{SHARES_KEPT_BYTES_MAX, SHARES_KEPT_MAX};

/// Share messages of one author for batches not cut here yet; each at most some 131 KB.
pub const EARLY_AUTHOR_MAX: usize = 64;

/// What an engine reveals with where a dealer made the key, secrets among it.
pub struct RevealKeys {
    /// The committee's public sealing key.
    pub sealing: Arc<SealingKey>,
    /// This authority's share of the secret one.
    pub share: KeyShare,
    /// Signs share messages.
    pub signing: ed25519_dalek::SigningKey,
    /// 32 uniformly random bytes that nobody else knows, for the weights of batched checks.
    pub process_secret: [u8; 32],
}

/// A batch that was opened into a caller's buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedBatch {
    /// Its place in the chain.
    pub seq: BatchSeq,
    /// Its header.
    pub header: BatchHeader,
    /// SHA-256 of the encoded header.
    pub header_hash: Sha256Hash,
    /// Length of the archive, from the start of the buffer, in bytes.
    pub archive_len: usize,
    /// Digests in order.
    pub digests: Vec<Digest>,
    /// Where some entries are void: the encoded share messages, of t authorities, whose proven shares decided that.
    pub void_proof: Vec<Arc<[u8]>>,
}

/// Why a share message was not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShareFault {
    /// For a batch that is opened already, or a second one of its author: normal traffic.
    Late,
    /// Too far ahead of this node.
    TooEarly,
    /// Its author or its key are not of this committee.
    Foreign,
    /// It does not hold for the batch as this node knows it.
    Refused(AuthorityIndex, ShareError),
}

/// The reveal stage of one authority.
pub struct Reveal {
    committee: Arc<Committee>,
    own: AuthorityIndex,
    signing: ed25519_dalek::SigningKey,
    process_secret: [u8; 32],
    /// The keys in use, oldest first.
    keys: Vec<Arc<CommitteeKey>>,
    /// Started, not yet opened; keys are consecutive from `open_next_seq`.
    active: BTreeMap<BatchSeq, Active>,
    /// Bytes of their envelopes.
    active_bytes: usize,
    early: BTreeMap<(BatchSeq, AuthorityIndex), Box<ShareMessage>>,
    early_count: Vec<usize>,
    own_messages: Kept,
    next_seq: BatchSeq,
    open_next_seq: BatchSeq,
    previous_hash: Sha256Hash,
    /// In whose name a message came that did not hold: checked before use.
    suspects: AuthoritySet,
    /// Failed proofs since they were last taken.
    failed: Vec<(AuthorityIndex, ShareError)>,
    /// Against whom evidence was found, and what of it was not taken yet.
    accused: AuthoritySet,
    evidence: Vec<Evidence>,
    fallbacks: u64,
}

struct Active {
    plan: BatchPlan,
    /// What its sealed entries are sealed to; none without such. Held until it is opened, also when the key has ended.
    key: Option<Arc<CommitteeKey>>,
    collect: Collect,
    /// When its reveal started here.
    started: TimestampUs,
}

/// A batch that lacks shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lacking {
    /// Its place in the chain.
    pub seq: BatchSeq,
    /// When its reveal started here.
    pub started: TimestampUs,
    /// From whom nothing more is needed for it.
    pub done_with: AuthoritySet,
    /// How many more shares open it.
    pub shares: u32,
}

impl Reveal {
    /// Nothing revealed yet; for a committee with one key, a dealer's.
    pub fn new(committee: Arc<Committee>, own: AuthorityIndex, keys: RevealKeys) -> Self {
        let keys: EngineKeys = keys.into();
        let mut reveal = Self::without_keys(committee, own, keys.signing, keys.process_secret);
        reveal.keys.extend(keys.dealt.map(Arc::new));
        reveal
    }

    /// Nothing revealed yet, and no key to reveal with. `process_secret` as in [`RevealKeys`].
    pub fn without_keys(
        committee: Arc<Committee>,
        own: AuthorityIndex,
        signing: ed25519_dalek::SigningKey,
        process_secret: [u8; 32],
    ) -> Self {
        let early_count = vec![0; committee.thresholds().authorities() as usize];
        Self {
            committee,
            own,
            signing,
            process_secret,
            keys: Vec::new(),
            active: BTreeMap::new(),
            active_bytes: 0,
            early: BTreeMap::new(),
            early_count,
            own_messages: Kept::default(),
            next_seq: BatchSeq(0),
            open_next_seq: BatchSeq(0),
            previous_hash: Sha256Hash([0; 32]),
            suspects: AuthoritySet::EMPTY,
            failed: Vec::new(),
            accused: AuthoritySet::EMPTY,
            evidence: Vec::new(),
            fallbacks: 0,
        }
    }

    /// Reveals with these keys from now on; batches that have started keep theirs.
    pub fn set_keys(&mut self, keys: &[Arc<CommitteeKey>]) {
        self.keys = keys.to_vec();
    }

    fn key(&self, key_id: KeyId) -> Option<&Arc<CommitteeKey>> {
        self.keys.iter().find(|key| key.key_id() == key_id)
    }

    /// The seq that the next plan gets.
    pub const fn next_seq(&self) -> BatchSeq {
        self.next_seq
    }

    /// How many batches are opened, and the header hash of the last (zero before the first).
    pub const fn settled(&self) -> (u64, Sha256Hash) {
        (self.open_next_seq.0, self.previous_hash)
    }

    /// Batches whose order is final and that are not opened yet.
    pub fn active_len(&self) -> usize {
        self.active.len()
    }

    /// Bytes of their envelopes.
    pub const fn active_bytes(&self) -> usize {
        self.active_bytes
    }

    /// Share messages kept: of others for batches not cut yet, and own ones.
    pub fn shares_len(&self) -> (usize, usize) {
        (self.early.len(), self.own_messages.len())
    }

    /// Starts the reveal of a batch whose order is final; gives the own share message to broadcast, if it has sealed
    /// entries and this node a share of their key. One variable-base multiplication a sealed entry.
    ///
    /// Panics when plans do not come in order of seq, or one is sealed to an unknown key: such an envelope is not taken.
    pub fn start(&mut self, plan: BatchPlan, now: TimestampUs) -> Option<Arc<[u8]>> {
        let seq = plan.seq;
        assert_eq!(seq, self.next_seq, "batches start in order");
        self.next_seq = seq.next();
        let us = plan.sealed_points();
        let key = plan.key_id().map(|key_id| {
            let key = self.key(key_id);
            key.expect("envelopes of unknown keys are not taken")
                .clone()
        });
        let threshold = key.as_ref().map_or(0, |key| key.sealing.threshold());
        let mut collect = Collect::new(us, threshold);
        let mut message = None;
        let made = key
            .as_deref()
            .and_then(|key| self.make_message(key, seq, plan.order_root, collect.points()));
        if let Some((made, own_share)) = made {
            let bytes: Arc<[u8]> = made.encode().into();
            collect.add_proven(own_share);
            self.own_messages.keep(seq, OwnMessage::Made(bytes.clone()));
            message = Some(bytes);
        }
        self.active_bytes += plan.envelopes_len();
        let active = Active {
            plan,
            key,
            collect,
            started: now,
        };
        self.active.insert(seq, active);
        message
    }

    /// Goes past a batch that was opened before a restart, with the hash of its header; its share message can be asked for.
    ///
    /// Panics when plans do not come in order of seq, or one before it is still to be opened.
    pub fn skip(&mut self, plan: &BatchPlan, header_hash: Sha256Hash) {
        assert_eq!(plan.seq, self.next_seq, "batches come in order");
        assert_eq!(plan.seq, self.open_next_seq, "batches open in order");
        self.next_seq = plan.seq.next();
        self.open_next_seq = self.next_seq;
        self.previous_hash = header_hash;
        if let Some(key_id) = plan.key_id() {
            let unmade = OwnMessage::Unmade {
                key_id,
                order_root: plan.order_root,
                points: plan.sealed_points(),
            };
            self.own_messages.keep(plan.seq, unmade);
        }
    }

    /// Goes on behind a batch that others opened, with the hash of its header: what was not opened yet is not opened here.
    pub fn jump(&mut self, next: BatchSeq, previous_hash: Sha256Hash) {
        self.active.clear();
        self.active_bytes = 0;
        (self.next_seq, self.open_next_seq) = (next, next);
        self.previous_hash = previous_hash;
        while let Some(first) = self.early.first_entry()
            && first.key().0 < next
        {
            self.early_count[first.key().1.as_usize()] -= 1;
            first.remove();
        }
    }

    /// Goes on opening at `next`, at most the next seq, behind batches that come from others; plans from there on stay.
    pub fn pass(&mut self, next: BatchSeq, previous_hash: Sha256Hash) {
        let above = self.active.split_off(&next);
        for (_, passed) in std::mem::replace(&mut self.active, above) {
            self.active_bytes -= passed.plan.envelopes_len();
        }
        (self.open_next_seq, self.previous_hash) = (next, previous_hash);
    }

    /// The round of the anchor that emits the lowest batch that is not opened.
    pub fn lowest_anchor(&self) -> Option<Round> {
        let (_, lowest) = self.active.first_key_value()?;
        Some(lowest.plan.anchor_round)
    }

    /// The own shares; none where this node has no share of the key.
    fn make_message(
        &self,
        key: &CommitteeKey,
        seq: BatchSeq,
        order_root: Sha256Hash,
        points: &[EncodedPoint],
    ) -> Option<(ShareMessage, VerifiedShare)> {
        let (share, sealing) = (key.share.as_ref()?, &key.sealing);
        let made = ShareMessage::make(share, sealing, &self.signing, seq, order_root, points);
        Some(made.expect("the own share is of the own key, and a batch is within its bounds"))
    }

    /// What must not be: the own shares for envelopes that nothing has emitted.
    #[cfg(feature = "mutants")]
    pub(crate) fn share_too_early(
        &self,
        envelopes: &[crate::seal::VerifiedEnvelope],
    ) -> Option<Arc<[u8]>> {
        let us: Vec<EncodedPoint> = envelopes.iter().filter_map(|e| e.u().copied()).collect();
        let root = archive::order_root(envelopes.iter().map(|envelope| envelope.digest()));
        let key_id = envelopes.iter().find(|e| e.u().is_some())?.label().key_id;
        let key = self.key(key_id)?;
        let (share, signing) = (key.share.as_ref()?, &self.signing);
        let made = ShareMessage::make(share, &key.sealing, signing, self.next_seq, root, &us);
        Some(made.ok()?.0.encode().into())
    }

    /// Share messages that arrived before their batch was cut here; to be given to [`Self::on_share`].
    pub fn take_early(&mut self, seq: BatchSeq) -> Vec<Box<ShareMessage>> {
        let mut taken = Vec::new();
        for author in self.committee.thresholds().members() {
            if let Some(message) = self.early.remove(&(seq, author)) {
                self.early_count[author.as_usize()] -= 1;
                taken.push(message);
            }
        }
        taken
    }

    /// A share message that came over the link of `from`. `Ok(true)` when its batch just became ready to open.
    ///
    /// Costs one decoded point an entry; for an author that is a suspect, also signature and proof.
    pub fn on_share(
        &mut self,
        from: AuthorityIndex,
        message: Box<ShareMessage>,
    ) -> Result<bool, ShareFault> {
        let (author, seq) = (message.author, message.seq);
        let known = self.committee.thresholds().has_member(author) && author != self.own;
        let active_key = self.active.get(&seq).map(|active| active.key.as_ref());
        let fits = match active_key {
            Some(key) => key.is_none_or(|key| key.key_id() == message.key_id),
            None => seq < self.open_next_seq || self.key(message.key_id).is_some(),
        };
        if !known || !fits {
            return Err(ShareFault::Foreign);
        }
        if seq < self.open_next_seq {
            return Err(ShareFault::Late);
        }
        let signing_key = &self.committee.signing_keys()[author.as_usize()];
        let Some(active) = self.active.get_mut(&seq) else {
            return self.keep_early(from, message);
        };
        if active.collect.is_complete() || active.collect.is_done_with(author) {
            return Err(ShareFault::Late);
        }
        let Some(key) = &active.key else {
            return Err(ShareFault::Late);
        };
        let (order_root, key) = (active.plan.order_root, &key.sealing);
        let us = active.collect.points();
        let taken = if from == author && !self.suspects.contains(author) {
            match message.claim(key, seq, order_root, us.len()) {
                Ok(claimed) => Ok(active.collect.add_claimed(claimed)),
                // What is wrong with it says something of its author only if that signed it.
                Err(error) => Err(message.check_signature(signing_key).err().unwrap_or(error)),
            }
        } else {
            let verified = message.verify(key, signing_key, seq, order_root, us);
            verified.map(|verified| active.collect.add_proven(verified))
        };
        match taken {
            Ok(collected) => Ok(collected == Collected::Complete),
            Err(error) => {
                if error.is_evidence() {
                    // Checking costs as much as using: an author gets one attempt a batch.
                    active.collect.refuse(author);
                    if self.accused.insert(author) {
                        let evidence = active.plan.evidence_against(&message);
                        self.evidence.extend(evidence);
                    }
                }
                Err(ShareFault::Refused(author, error))
            }
        }
    }

    /// Share messages that optimistic opening has used and whose proof then failed, since this was last called.
    pub fn take_failed(&mut self) -> Vec<(AuthorityIndex, ShareError)> {
        std::mem::take(&mut self.failed)
    }

    /// Evidence of bad shares found since this was last called: one piece an author.
    pub fn take_evidence(&mut self) -> Vec<Evidence> {
        std::mem::take(&mut self.evidence)
    }

    fn keep_early(
        &mut self,
        from: AuthorityIndex,
        message: Box<ShareMessage>,
    ) -> Result<bool, ShareFault> {
        let key = (message.seq, message.author);
        let count = &mut self.early_count[message.author.as_usize()];
        if self.early.contains_key(&key) {
            return Err(ShareFault::Late);
        }
        if *count >= EARLY_AUTHOR_MAX {
            return Err(ShareFault::TooEarly);
        }
        let author = message.author;
        if from != author || self.suspects.contains(author) {
            // Unsigned, it would take its supposed author's places.
            message
                .check_signature(&self.committee.signing_keys()[author.as_usize()])
                .map_err(|error| ShareFault::Refused(author, error))?;
        }
        *count += 1;
        self.early.insert(key, message);
        Ok(false)
    }

    /// The own share message of a batch, while it is kept. One variable-base multiplication a sealed entry where the
    /// batch was opened before a restart and nobody has asked since.
    pub fn own_message(&mut self, seq: BatchSeq) -> Option<Arc<[u8]>> {
        match self.own_messages.find(seq)? {
            OwnMessage::Made(bytes) => Some(bytes.clone()),
            OwnMessage::Unmade {
                key_id,
                order_root,
                points,
            } => {
                let key = self.key(*key_id)?;
                let (made, _) = self.make_message(key, seq, *order_root, points)?;
                let bytes: Arc<[u8]> = made.encode().into();
                self.own_messages.keep(seq, OwnMessage::Made(bytes.clone()));
                Some(bytes)
            }
        }
    }

    /// Batches that optimistic opening did not decide, since the start.
    pub const fn fallbacks(&self) -> u64 {
        self.fallbacks
    }

    /// The batches that still lack shares, ascending.
    pub fn lacking(&self) -> impl Iterator<Item = Lacking> {
        let lacking = |active: &&Active| !active.collect.is_complete();
        let batches = self.active.values().filter(lacking);
        batches.map(|active| Lacking {
            seq: active.plan.seq,
            started: active.started,
            done_with: active.collect.done_with(),
            shares: active.collect.shares_lacking(),
        })
    }

    /// Bytes that the next batch takes at most, when it is ready to open.
    pub fn ready_len_max(&self) -> Option<usize> {
        let (_, active) = self.active.first_key_value()?;
        active
            .collect
            .is_complete()
            .then(|| active.plan.archive_len_max())
    }

    /// Opens the next batch into `out`: plaintext goes straight to its place, entries and root follow behind it.
    ///
    /// Gives `None` when no batch is ready. `out` must have [`Self::ready_len_max`] bytes and be 16-byte aligned.
    ///
    /// Panics when `out` is too short: the caller has just asked for the length.
    pub fn open_next(&mut self, out: &mut [u8]) -> Option<OpenedBatch> {
        let len_max = self.ready_len_max()?;
        assert!(out.len() >= len_max, "the buffer holds the batch");
        let (seq, mut active) = self.active.pop_first()?;
        let Some(entries) = self.open_active(&mut active, out) else {
            // Shares that do not hold were dropped, and more are needed.
            self.active.insert(seq, active);
            return None;
        };
        self.open_next_seq = seq.next();
        let plan = active.plan;
        self.active_bytes -= plan.envelopes_len();
        let writer = BatchWriter::new(out, plan.payload_len())
            .expect("a plan is cut to the payload bound, and the buffer holds it");
        let header = self.header(&plan, &entries, writer.payload());
        let archive_len = writer.finish(&header, &entries).expect(
            "archive_len_max bounds what the writer needs, and the header counts its entries",
        );
        let header_hash = header.hash();
        let proofs = active.collect.proofs().filter(|_| header.void > 0);
        let void_proof = proofs.map(|message| message.encode().into()).collect();
        let digests = plan
            .envelopes
            .iter()
            .map(|envelope| envelope.digest())
            .collect();
        self.previous_hash = header_hash;
        Some(OpenedBatch {
            seq,
            header,
            header_hash,
            archive_len,
            digests,
            void_proof,
        })
    }

    /// Decides every entry; none when proofs failed and shares are lacking now.
    fn open_active(&mut self, active: &mut Active, out: &mut [u8]) -> Option<Vec<BatchEntry>> {
        let Active {
            plan, collect, key, ..
        } = active;
        let region = &mut out[..PAYLOAD_SLACK_LEN + plan.payload_len()];
        let Some(key) = key.as_deref().map(|key| &key.sealing) else {
            // Nothing is sealed.
            return Some(Opening::decrypt(plan, &[], region).revealed(region));
        };
        let points = collect.combine(key);
        let opening = Opening::decrypt(plan, &points, region);
        let hold = mutant::is(Mutant::OpensOnClientsWord)
            || opening.reveals_hold(key, &self.process_secret);
        let proven = match collect.proven() {
            Some(proven) => proven,
            None if hold && opening.is_whole() => return Some(opening.revealed(region)),
            None => {
                self.fallbacks += 1;
                match collect.prove_all(key, self.committee.signing_keys()) {
                    // The very shares that were combined hold: so do the points.
                    Ok(proven) => proven,
                    Err(failed) => {
                        self.note_failed(plan, failed);
                        return None;
                    }
                }
            }
        };
        Some(opening.judged(proven, hold, region))
    }

    fn note_failed(&mut self, plan: &BatchPlan, failed: Vec<(Box<ShareMessage>, ShareError)>) {
        for (message, error) in failed {
            self.suspects.insert(message.author);
            self.failed.push((message.author, error));
            if error.is_evidence() && self.accused.insert(message.author) {
                self.evidence.extend(plan.evidence_against(&message));
            }
        }
    }

    fn header(&self, plan: &BatchPlan, entries: &[BatchEntry], payload: &[u8]) -> BatchHeader {
        let void = entries
            .iter()
            .filter(|entry| entry.outcome == EntryOutcome::Void)
            .count();
        BatchHeader {
            chain_id: self.committee.chain_id,
            epoch: self.committee.epoch,
            seq: plan.seq,
            previous: self.previous_hash,
            anchor_round: plan.anchor_round,
            time_us: plan.time,
            order_root: plan.order_root,
            payload_root: archive::payload_root(entries, payload)
                .expect("every range was written inside the payload"),
            state_root: plan.state_root,
            entries: entries.len() as u32,
            void: void as u32,
            group_wait_cut: plan.group_wait_cut,
            cap_fired: plan.cap_fired,
        }
    }
}
