//! Evidence: a value that shows anyone, offline, that an authority is faulty.
//!
//! Three kinds, each made of nothing but signed bytes and what they commit to:
//!
//! - a fork: two vertices of one author of which neither reaches the other ([`crate::dag::ForkEvidence`]), also across slots;
//! - a broken link: a vertex that names its author's previous one and contradicts it: a gap in positions, or time that
//!   runs backwards (the previous one is none for a first vertex, which starts at position 0 and the epoch's start);
//! - a bad share: a signed share message that does not hold, with the envelopes whose digests hash to the order root
//!   that it signs. The points that the shares are for stand in the envelopes, so nothing else need be believed.
//!
//! To check it takes the committee of its epoch and, for shares, the public sealing key. An honest authority signs nothing
//! that passes [`Evidence::check`]: its vertices form one chain, and its shares are those of the batch it signs for.
//!
//! Bytes: version 1 | kind 1 | author 1 | parts, each a u32 length and so many bytes; a bad share has the message and then
//! each envelope, in order, up to the end. At most [`EVIDENCE_LEN_MAX`]; a bad share of a batch too large for that gives no
//! evidence (its author is checked before use from then on, so its next smaller batch will).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::batch::archive::{BATCH_ENTRIES_MAX, order_root};
use crate::committee::Committee;
use crate::dag::{ForkEvidence, VerifiedVertex, Vertex, VertexError};
use crate::seal::envelope::{Envelope, EnvelopeError};
use crate::seal::group::EncodedPoint;
use crate::seal::key::SealingKey;
use crate::seal::share::ShareMessage;
use crate::types::{AuthorityIndex, Digest, Position, Round};
use crate::wire::{DecodeError, Reader, Writer};

/// Longest evidence, in bytes: a journal record holds it.
pub const EVIDENCE_LEN_MAX: usize = 2 << 20;

/// What an authority did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum EvidenceKind {
    /// Signed two vertices of which neither reaches the other.
    Fork = 1,
    /// Signed a vertex that contradicts the one before it.
    BrokenLink = 2,
    /// Signed decryption shares that are none.
    BadShare = 3,
}

impl std::fmt::Display for EvidenceKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Fork => "a fork",
            Self::BrokenLink => "a vertex that contradicts the one before it",
            Self::BadShare => "decryption shares that do not hold",
        })
    }
}

/// Signed bytes that show an authority at fault. Nothing is known of them until [`Evidence::check`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    kind: EvidenceKind,
    author: AuthorityIndex,
    parts: Vec<Arc<[u8]>>,
}

impl Evidence {
    /// Of a fork.
    pub fn of_fork(fork: &ForkEvidence) -> Self {
        Self {
            kind: EvidenceKind::Fork,
            author: fork.author(),
            parts: vec![fork.older.bytes().clone(), fork.newer.bytes().clone()],
        }
    }

    /// Of a vertex that contradicts `previous`, to which it links; none for a first vertex.
    pub fn of_broken_link(previous: Option<&VerifiedVertex>, vertex: &VerifiedVertex) -> Self {
        let mut parts: Vec<Arc<[u8]>> = vec![vertex.bytes().clone()];
        parts.extend(previous.map(|previous| previous.bytes().clone()));
        Self {
            kind: EvidenceKind::BrokenLink,
            author: vertex.author(),
            parts,
        }
    }

    /// Of a share message for the batch of these envelopes, in order. None when it would be too long.
    pub fn of_bad_share<'a>(
        message: &ShareMessage,
        envelopes: impl IntoIterator<Item = &'a Envelope>,
    ) -> Option<Self> {
        let mut parts: Vec<Arc<[u8]>> = vec![message.encode().into()];
        parts.extend(
            envelopes
                .into_iter()
                .map(|envelope| envelope.bytes().clone()),
        );
        let evidence = Self {
            kind: EvidenceKind::BadShare,
            author: message.author,
            parts,
        };
        (evidence.encoded_len() <= EVIDENCE_LEN_MAX).then_some(evidence)
    }

    /// What it is of.
    pub const fn kind(&self) -> EvidenceKind {
        self.kind
    }

    /// Whom it accuses.
    pub const fn author(&self) -> AuthorityIndex {
        self.author
    }

    /// Its one encoding.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.encoded_len());
        let mut writer = Writer::new(&mut bytes);
        writer
            .u8(EVIDENCE_VERSION)
            .u8(self.kind as u8)
            .u8(self.author.0);
        for part in &self.parts {
            writer.count_u32(part.len()).bytes(part);
        }
        bytes
    }

    /// Reads evidence; whether it holds is for [`Evidence::check`] to say.
    ///
    /// Errors: an unknown version or kind, too long, or not made of as many whole parts as its kind has.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > EVIDENCE_LEN_MAX {
            return Err(too_large("evidence", bytes.len(), EVIDENCE_LEN_MAX));
        }
        let mut reader = Reader::new(bytes);
        match reader.u8()? {
            EVIDENCE_VERSION => {}
            version => return Err(DecodeError::Version(version)),
        }
        let (kind, parts_min, parts_max) = match reader.u8()? {
            1 => (EvidenceKind::Fork, 2, 2),
            2 => (EvidenceKind::BrokenLink, 1, 2),
            3 => (EvidenceKind::BadShare, 2, 1 + BATCH_ENTRIES_MAX),
            _ => return Err(DecodeError::NotCanonical("kind of evidence")),
        };
        let author = AuthorityIndex(reader.u8()?);
        let mut parts = Vec::new();
        while reader.left() > 0 {
            if parts.len() == parts_max {
                return Err(DecodeError::Trailing(reader.left()));
            }
            let len = reader.count_u32("part of evidence", EVIDENCE_LEN_MAX as u32)?;
            parts.push(reader.bytes(len)?.into());
        }
        if parts.len() < parts_min {
            return Err(DecodeError::NotCanonical("parts of evidence"));
        }
        Ok(Self {
            kind,
            author,
            parts,
        })
    }

    /// Whether it proves its author faulty, to anyone who knows the committee of its epoch and its public sealing key.
    ///
    /// Two signatures for vertices; for shares a signature, one hash an envelope, and the proof of the whole message.
    /// Errors: why it proves nothing.
    pub fn check(&self, committee: &Committee, key: &SealingKey) -> Result<(), EvidenceError> {
        match self.kind {
            EvidenceKind::Fork => self.check_fork(committee),
            EvidenceKind::BrokenLink => self.check_broken_link(committee),
            EvidenceKind::BadShare => self.check_bad_share(committee, key),
        }
    }

    /// As [`Self::check`], for what needs no sealing key to be judged; none for shares.
    pub fn check_vertices(&self, committee: &Committee) -> Option<Result<(), EvidenceError>> {
        match self.kind {
            EvidenceKind::Fork => Some(self.check_fork(committee)),
            EvidenceKind::BrokenLink => Some(self.check_broken_link(committee)),
            EvidenceKind::BadShare => None,
        }
    }

    fn check_fork(&self, committee: &Committee) -> Result<(), EvidenceError> {
        let (older, newer) = (self.vertex(0, committee)?, self.vertex(1, committee)?);
        let holds = ForkEvidence { older, newer }.holds();
        holds.then_some(()).ok_or(EvidenceError::Holds)
    }

    fn check_broken_link(&self, committee: &Committee) -> Result<(), EvidenceError> {
        let vertex = self.vertex(0, committee)?;
        let link = vertex.own_previous();
        let (expected, previous) = if self.parts.len() == 1 {
            if link.round != Round(0) {
                return Err(EvidenceError::Unrelated);
            }
            (Position(0), committee.epoch_start)
        } else {
            let previous = self.vertex(1, committee)?;
            if link != previous.reference() {
                return Err(EvidenceError::Unrelated);
            }
            (previous.end_position(), previous.timestamp())
        };
        let broken = vertex.first_position() != expected || vertex.timestamp() < previous;
        broken.then_some(()).ok_or(EvidenceError::Holds)
    }

    fn check_bad_share(
        &self,
        committee: &Committee,
        key: &SealingKey,
    ) -> Result<(), EvidenceError> {
        let message = ShareMessage::decode(&self.parts[0])?;
        let Some(signing_key) = committee.signing_keys().get(self.author.as_usize()) else {
            return Err(EvidenceError::Author);
        };
        if message.author != self.author {
            return Err(EvidenceError::Author);
        }
        let mut digests: Vec<Digest> = Vec::with_capacity(self.parts.len() - 1);
        let mut points: Vec<EncodedPoint> = Vec::new();
        for part in &self.parts[1..] {
            let envelope = Envelope::decode(part.clone())?;
            digests.push(envelope.digest());
            if let Some(u) = envelope.u_encoding() {
                points.push(EncodedPoint::decode(u).ok_or(EvidenceError::Point)?);
            }
        }
        if order_root(digests.into_iter()) != message.order_root {
            return Err(EvidenceError::Unrelated);
        }
        let (seq, root) = (message.seq, message.order_root);
        match message.verify(key, signing_key, seq, root, &points) {
            Err(error) if error.is_evidence() => Ok(()),
            Err(_) => Err(EvidenceError::Signature),
            Ok(_) => Err(EvidenceError::Holds),
        }
    }

    fn vertex(&self, part: usize, committee: &Committee) -> Result<VerifiedVertex, EvidenceError> {
        let vertex = Vertex::verify(&self.parts[part], committee)?;
        if vertex.author() == self.author {
            Ok(vertex)
        } else {
            Err(EvidenceError::Author)
        }
    }

    fn encoded_len(&self) -> usize {
        3 + self.parts.iter().map(|part| 4 + part.len()).sum::<usize>()
    }
}

/// Why evidence proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// A part does not decode.
    #[error("a part does not decode: {0}")]
    Decode(#[from] DecodeError),
    /// A vertex is none of this committee, or not signed.
    #[error("{0}")]
    Vertex(#[from] VertexError),
    /// An envelope is none.
    #[error("an envelope does not decode: {0}")]
    Envelope(#[from] EnvelopeError),
    /// An envelope's U is no point: no batch holds it.
    #[error("an envelope holds no point")]
    Point,
    /// A part is by somebody else than whom it accuses, or by no member.
    #[error("a part is not of the accused")]
    Author,
    /// The share message is not signed by the accused, or not of this key.
    #[error("the share message is not signed by the accused for this key")]
    Signature,
    /// The parts do not belong together.
    #[error("the parts do not belong together")]
    Unrelated,
    /// What was signed is in order.
    #[error("what was signed is in order")]
    Holds,
}

/// The evidence that a node has met: one piece an author and kind, so at most three times the committee.
#[derive(Debug, Default)]
pub struct EvidenceBook {
    kept: BTreeMap<(AuthorityIndex, EvidenceKind), Evidence>,
}

impl EvidenceBook {
    /// Whether a piece of this kind is kept against this author.
    pub fn has(&self, author: AuthorityIndex, kind: EvidenceKind) -> bool {
        self.kept.contains_key(&(author, kind))
    }

    /// Keeps a piece; gives whether it is the first of its author and kind. A second one is dropped.
    pub fn keep(&mut self, evidence: Evidence) -> bool {
        let key = (evidence.author, evidence.kind);
        let first = !self.kept.contains_key(&key);
        if first {
            self.kept.insert(key, evidence);
        }
        first
    }

    /// All pieces, by author, then kind.
    pub fn iter(&self) -> impl Iterator<Item = &Evidence> {
        self.kept.values()
    }

    /// How many pieces are kept.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether nobody was found at fault.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}

const EVIDENCE_VERSION: u8 = 1;

const fn too_large(field: &'static str, value: usize, max: usize) -> DecodeError {
    DecodeError::TooLarge {
        field,
        value: value as u64,
        max: max as u64,
    }
}

#[cfg(test)]
#[path = "evidence_tests.rs"]
mod tests;
