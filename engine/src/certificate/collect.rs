//! From single words to certificates, at an authority that wants them.
//!
//! Words may come before the own batch is opened, late, twice, wrong, or for batches that nobody certifies. The first of
//! an author for a batch counts. What is kept of each author is bounded by itself, so nobody displaces another's.
//!
//! I1 a certificate is of a header that this node has opened, and verified when it is given out.
//! I2 wrong words cost little: after the first one the author's words are used only where the others' do not suffice yet,
//!    each is then checked alone (one equation), and one that failed for a batch is not tried for it again. So f liars cost
//!    f equations a batch, and once each up to 2 ceil(log2 n).
//! I3 a valid word for another header than ours at the same seq is an alarm, once an author: it, or this node, is wrong.
//!
//! Cost: a map entry a word; one aggregation (see [`super::aggregate`]) a certificate.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::aggregate::aggregate_but;
use super::cert::{Certificate, CertifiedHeader};
use super::key::SignatureBytes;
use super::keys::CertificateKeys;
use crate::types::{AuthorityIndex, AuthoritySet, BatchSeq, Sha256Hash};
use crate::wire::{DecodeError, Reader, Writer};

/// One authority's word for a header of the committee's chain and epoch, as it goes over a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vouch {
    /// The batch.
    pub seq: BatchSeq,
    /// Hash of its header.
    pub hash: Sha256Hash,
    /// The author's signature.
    pub signature: SignatureBytes,
}

impl Vouch {
    /// Appends the canonical bytes: seq u64, hash 32, signature 48.
    pub fn encode(&self, out: &mut Vec<u8>) {
        Writer::new(out)
            .u64(self.seq.0)
            .bytes(&self.hash.0)
            .bytes(&self.signature);
    }

    /// Reads the canonical bytes. Errors: another length.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let vouch = Self {
            seq: BatchSeq(reader.u64()?),
            hash: reader.sha256()?,
            signature: reader.array()?,
        };
        reader.finish()?;
        Ok(vouch)
    }
}

/// What became of words; counts since start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CollectorCounts {
    /// Words of others that were taken.
    pub taken: u64,
    /// Those that came after the certificate, twice, or when too many of their author waited.
    pub late: u64,
    /// Words that do not hold.
    pub bad: u64,
    /// Valid words for another header than ours: alarm.
    pub contradictions: u64,
    /// Certificates made.
    pub made: u64,
    /// Own batches that were signed and got no certificate of their own; a later one covers them.
    pub passed_over: u64,
}

/// Puts certificates together.
#[derive(Clone, Debug)]
pub struct Collector {
    keys: Arc<CertificateKeys>,
    own: AuthorityIndex,
    /// Own headers that are signed and not covered by a certificate, at most [`UNCERTIFIED_MAX`].
    open: BTreeMap<BatchSeq, Open>,
    /// By author: words for batches above the newest certificate, at most [`VOUCHES_A_MEMBER_MAX`] each.
    kept: Vec<BTreeMap<BatchSeq, Vouch>>,
    certified: Option<BatchSeq>,
    /// Who has sent a wrong word.
    suspects: AuthoritySet,
    /// Who has vouched for another header than ours.
    contradicting: AuthoritySet,
    counts: CollectorCounts,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    header: CertifiedHeader,
    /// Whose words for it do not hold.
    refused: AuthoritySet,
}

impl Collector {
    /// For the authority `own`.
    pub fn new(keys: Arc<CertificateKeys>, own: AuthorityIndex) -> Self {
        let members = keys.thresholds().authorities() as usize;
        Self {
            keys,
            own,
            open: BTreeMap::new(),
            kept: vec![BTreeMap::new(); members],
            certified: None,
            suspects: AuthoritySet::EMPTY,
            contradicting: AuthoritySet::EMPTY,
            counts: CollectorCounts::default(),
        }
    }

    /// This authority has opened and signed a batch; gives the certificate when enough others were faster.
    pub fn on_own(
        &mut self,
        header: CertifiedHeader,
        signature: SignatureBytes,
    ) -> Option<Certificate> {
        let seq = header.seq;
        if self.is_covered(seq) {
            return None;
        }
        self.open.insert(
            seq,
            Open {
                header,
                refused: AuthoritySet::EMPTY,
            },
        );
        while self.open.len() > UNCERTIFIED_MAX {
            self.open.pop_first();
            self.counts.passed_over += 1;
        }
        let hash = header.hash;
        self.keep(
            self.own,
            Vouch {
                seq,
                hash,
                signature,
            },
        );
        for author in self.keys.thresholds().members() {
            let other = self.kept[author.as_usize()].get(&seq).copied();
            if let Some(other) = other.filter(|other| other.hash != hash) {
                self.on_contradiction(author, other);
            }
        }
        self.try_certify(seq)
    }

    /// A member's word came over its own link; gives the certificate when it is the last that was needed.
    pub fn on_vouch(&mut self, from: AuthorityIndex, vouch: Vouch) -> Option<Certificate> {
        let seq = vouch.seq;
        let is_refused = |open: &Open| open.refused.contains(from);
        if self.is_covered(seq)
            || self.open.get(&seq).is_some_and(is_refused)
            || !self.keep(from, vouch)
        {
            self.counts.late += 1;
            return None;
        }
        self.counts.taken += 1;
        let ours = self.open.get(&seq)?.header.hash;
        if ours != vouch.hash {
            self.on_contradiction(from, vouch);
            return None;
        }
        self.try_certify(seq)
    }

    /// What was counted.
    pub const fn counts(&self) -> CollectorCounts {
        self.counts
    }

    /// Who has vouched for another header than this node has opened.
    pub const fn contradicting(&self) -> AuthoritySet {
        self.contradicting
    }

    fn is_covered(&self, seq: BatchSeq) -> bool {
        self.certified.is_some_and(|certified| seq <= certified)
    }

    /// Keeps a word, the first of its author for its batch; false when it is not kept.
    fn keep(&mut self, author: AuthorityIndex, vouch: Vouch) -> bool {
        let Some(kept) = self.kept.get_mut(author.as_usize()) else {
            return false;
        };
        if kept.contains_key(&vouch.seq) {
            return false;
        }
        kept.insert(vouch.seq, vouch);
        if kept.len() <= VOUCHES_A_MEMBER_MAX {
            return true;
        }
        // The newest are worth most: a certificate covers what lies below.
        let lowest = kept.pop_first();
        lowest.is_some_and(|(seq, _)| seq != vouch.seq)
    }

    /// Looks at a word for another header than ours.
    fn on_contradiction(&mut self, author: AuthorityIndex, vouch: Vouch) {
        self.kept[author.as_usize()].remove(&vouch.seq);
        let Some(open) = self.open.get_mut(&vouch.seq) else {
            return;
        };
        open.refused.insert(author);
        if self.contradicting.contains(author) {
            return;
        }
        let other = CertifiedHeader {
            hash: vouch.hash,
            ..open.header
        };
        let key = self.keys.find(author);
        if key.is_some_and(|key| key.verify(&other, &vouch.signature)) {
            self.contradicting.insert(author);
            self.counts.contradictions += 1;
        } else {
            self.suspects.insert(author);
            self.counts.bad += 1;
        }
    }

    fn try_certify(&mut self, seq: BatchSeq) -> Option<Certificate> {
        let open = *self.open.get(&seq)?;
        let all: Vec<(AuthorityIndex, SignatureBytes)> = (self.keys.thresholds().members())
            .zip(&self.kept)
            .filter_map(|(author, kept)| Some((author, kept.get(&seq)?)))
            .filter(|(_, vouch)| vouch.hash == open.header.hash)
            .map(|(author, vouch)| (author, vouch.signature))
            .collect();
        let quorum = self.keys.thresholds().quorum() as usize;
        let trusted: Vec<_> = all
            .iter()
            .copied()
            .filter(|(author, _)| !self.suspects.contains(*author))
            .collect();
        let used = if trusted.len() >= quorum {
            trusted
        } else {
            all
        };
        if used.len() < quorum {
            return None;
        }
        let made = aggregate_but(&open.header, &used, self.suspects, &self.keys);
        for author in made.bad.iter() {
            self.kept[author.as_usize()].remove(&seq);
            self.suspects.insert(author);
            self.counts.bad += 1;
            if let Some(open) = self.open.get_mut(&seq) {
                open.refused.insert(author);
            }
        }
        let certificate = made.certificate?;
        self.counts.made += 1;
        self.certified = Some(seq);
        let below = self.open.range(..seq).count();
        self.counts.passed_over += below as u64;
        self.open.retain(|open, _| *open > seq);
        for kept in &mut self.kept {
            kept.retain(|kept, _| *kept > seq);
        }
        Some(certificate)
    }
}

/// Own batches that are signed and wait for others' words, at most; the oldest goes, a later one covers it.
pub const UNCERTIFIED_MAX: usize = 64;
/// Words of one author that wait for the own batch or for others', at most; the lowest goes.
pub const VOUCHES_A_MEMBER_MAX: usize = 64;

#[cfg(test)]
#[path = "collect_tests.rs"]
mod tests;
