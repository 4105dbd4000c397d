//! Whether batches say the truth of their envelopes: proofs, reveals and voids of many batches at once.
//!
//! A batch of a few entries costs several times as much an entry as one of hundreds: the curve's lanes stay empty. So what
//! batches say waits here until [`UNCHECKED_MAX`] entries have come together, or somebody wants to know.
//!
//! I1: proofs of envelopes are checked with random weights, which a false one passes with probability 2^-128; reveals
//! exactly: U = r g and the content under D = r X, each by itself. I2: the first batch that does not hold is named, and in
//! it the first entry.
//!
//! Cost an entry: the envelope's proof, two products of fixed points, all of a group with one inversion, and the cipher.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::batch::archive::Outcome;
use crate::committee::Committee;
use crate::keyring::CommitteeKey;
use crate::reveal::plan::BatchPlan;
use crate::seal::{
    Envelope, EnvelopeVerifier, PublishedPoint, VerifiedEnvelope, open_published, opened_len,
    published_points,
};
use crate::types::{Digest, KeyId};

use super::batch::Said;
use super::fault::{Found, Rule};
use super::void::{self, Shares};

/// What one batch says, and what it is to be held to.
pub(super) struct Claim {
    /// The record that says it, and its hash.
    pub(super) record: u64,
    pub(super) hash: Digest,
    pub(super) plan: BatchPlan<Envelope>,
    pub(super) said: Said,
    pub(super) keys: Vec<Arc<CommitteeKey>>,
    pub(super) keys_version: u64,
    /// The share messages that stand before it; empty where it has no void entry, or none says anything.
    pub(super) shares: Shares,
}

/// Claims that wait to be checked.
pub(super) struct Reveals {
    verifier: EnvelopeVerifier,
    claims: VecDeque<Claim>,
    entries: usize,
}

impl Reveals {
    /// `secret` is for the weights: 32 bytes that whoever made the records does not know.
    pub(super) fn new(secret: [u8; 32]) -> Self {
        Self {
            verifier: EnvelopeVerifier::without_keys(secret),
            claims: VecDeque::new(),
            entries: 0,
        }
    }

    pub(super) fn push(&mut self, claim: Claim) {
        self.entries += claim.said.entries.len();
        self.claims.push_back(claim);
    }

    /// Whether it is time to check: another claim of these keys' version would be one too many.
    pub(super) fn is_due(&self, keys_version: u64) -> bool {
        let first = self.claims.front();
        let is_of_others = first.is_some_and(|first| first.keys_version != keys_version);
        is_of_others || self.entries >= UNCHECKED_MAX || self.claims.len() >= UNCHECKED_MAX
    }

    /// Checks all that waits; gives the claims, which hold. Errors: the first that does not, whose record it names.
    pub(super) fn check(&mut self, committee: &Committee) -> Result<VecDeque<Claim>, Found> {
        self.entries = 0;
        let claims = std::mem::take(&mut self.claims);
        let Some(first) = claims.front() else {
            return Ok(claims);
        };
        let keys = first.keys.iter().map(|key| &key.sealing);
        self.verifier.set_keys(keys);
        let all = claims.iter().flat_map(|claim| &claim.plan.envelopes);
        let mut verdicts = self.verifier.check(all.cloned().collect()).into_iter();
        let mut points = Points::of(&claims);
        for claim in &claims {
            let seq = claim.plan.seq;
            let of = verdicts.by_ref().take(claim.plan.envelopes.len());
            let proven = of.enumerate().map(|(index, verdict)| {
                verdict.map_err(|error| Found::new(Rule::Envelope, error).in_entry(index))
            });
            let checked = proven
                .collect::<Result<Vec<_>, _>>()
                .and_then(|envelopes| claim.check(committee, envelopes, &mut points));
            checked.map_err(|found| found.in_batch(seq).in_record(claim.record))?;
        }
        Ok(claims)
    }
}

impl Claim {
    fn check(
        &self,
        committee: &Committee,
        envelopes: Vec<VerifiedEnvelope>,
        points: &mut Points,
    ) -> Result<(), Found> {
        for (index, envelope) in envelopes.iter().enumerate() {
            let entry = &self.said.entries[index];
            let wrong = |what| Found::new(Rule::Reveal, what).in_entry(index);
            let opened: Vec<u8>;
            let carried = match entry.outcome {
                Outcome::Void => continue,
                Outcome::Open { .. } => envelope.open_payload().unwrap_or_default(),
                Outcome::Revealed { .. } => {
                    let point = points.next(envelope.label().key_id);
                    let point = point.ok_or_else(|| wrong("U of its envelope is not r g"))?;
                    let mut out = vec![0; opened_len(envelope)];
                    if !open_published(envelope, &point, &mut out) {
                        return Err(wrong("its envelope does not open to this r"));
                    }
                    opened = out;
                    &opened[opened.len() - envelope.label().payload_len as usize..]
                }
            };
            let content = envelope.label().content(carried).unwrap_or(carried);
            if content != self.said.payload(index) {
                return Err(wrong("its payload is not what its envelope holds"));
            }
        }
        if self.shares.is_empty() {
            return Ok(());
        }
        let key_id = self.plan.key_id();
        let key = self.keys.iter().find(|key| Some(key.key_id()) == key_id);
        let (plan, void) = (&self.plan, self.said.void());
        let order = (plan.seq, plan.order_root);
        let key = key.map(|key| &key.sealing);
        void::prove(committee, key, order, (&envelopes, &void), &self.shares)
    }
}

/// What the published r give, by key, in the order of the entries.
struct Points(BTreeMap<KeyId, std::vec::IntoIter<Option<PublishedPoint>>>);

impl Points {
    fn of(claims: &VecDeque<Claim>) -> Self {
        let mut by_key: BTreeMap<KeyId, Vec<(&Envelope, &[u8; 32])>> = BTreeMap::new();
        for claim in claims {
            for (entry, envelope) in claim.said.entries.iter().zip(&claim.plan.envelopes) {
                if let Outcome::Revealed { r, .. } = &entry.outcome {
                    let of_key = by_key.entry(envelope.label().key_id).or_default();
                    of_key.push((envelope, r));
                }
            }
        }
        let keys = claims.front().map_or(&[][..], |claim| &claim.keys);
        let known = by_key.into_iter().filter_map(|(key_id, claims)| {
            let key = keys.iter().find(|key| key.key_id() == key_id)?;
            let points = published_points(&key.sealing, &claims);
            Some((key_id, points.into_iter()))
        });
        Self(known.collect())
    }

    /// Of the next revealed entry sealed to this key; none where U is not r g.
    fn next(&mut self, key_id: KeyId) -> Option<PublishedPoint> {
        self.0.get_mut(&key_id)?.next()?
    }
}

/// Entries whose reveals wait to be checked together, and batches that do.
pub const UNCHECKED_MAX: usize = 512;
