//! A whole vertex: signed header, parents and entries; and the only ways to get a [`VerifiedVertex`].
//!
//! Bytes: header 147, signature 64, parents (round u64, author u8, digest 32 each), entries (digest 32, valid_until
//! u64 each), and to the end a control section of at most [`CONTROL_LEN_MAX`] bytes, mostly empty; both counts stand in the
//! header, so all lengths are known before anything is allocated.
//!
//! The control section carries what the committee orders about itself ([`crate::dkg`]). The header covers it in
//! `parents_root`, which hashes the parents and then the section: the count of parents stands beside it, so one hash covers
//! both without doubt where one ends. A field of its own would make every receipt longer for what hardly any vertex has.
//!
//! [`Vertex::verify`] checks all that needs no other vertex: sizes, chain, epoch, author, signature, both roots, and
//! the parent rules (own previous vertex first, one an author, earlier rounds, a quorum of the round before).
//! Positions and timestamps need the author's previous vertex and are checked by the store.
//!
//! Invariants. I1: whoever holds a [`VerifiedVertex`] holds one that passed these checks, now or before this node
//! recorded it, or one that this process signed. I2: its bytes are the ones received, so re-sending costs no encoding.

use std::ops::Deref;
use std::sync::Arc;

use ed25519_dalek::SigningKey;

use crate::committee::Committee;
use crate::dag::header::{Settled, SignedHeader, VertexHeader, VertexRef, genesis};
use crate::merkle;
use crate::mutant::{self, Mutant};
use crate::types::{
    AuthorityIndex, AuthoritySet, ChainId, Digest, Entry, Epoch, Position, Round, Sha256Hash,
    TimestampUs,
};
use crate::wire::{DecodeError, Reader, Writer};

/// One authority's signed step in the DAG. Read-only; met only inside a [`VerifiedVertex`].
#[derive(Debug)]
pub struct Vertex {
    signed: SignedHeader,
    reference: VertexRef,
    parents: Vec<VertexRef>,
    entries: Vec<Entry>,
    control_len: usize,
    bytes: Arc<[u8]>,
}

impl Vertex {
    /// Decodes and checks a vertex that a peer sent.
    ///
    /// One signature check, one hash of the parents, a Merkle tree over m entries and a sort of them: O(m log m).
    /// Errors: the first rule of the module header that the bytes break.
    pub fn verify(bytes: &[u8], committee: &Committee) -> Result<VerifiedVertex, VertexError> {
        Self::read(bytes, committee, |signed| signed.verify(committee))
    }

    /// A vertex from this node's own durable records: its signature was checked before it was recorded.
    ///
    /// Costs [`Vertex::verify`] less the signature. Errors: the same, so a record that is no such vertex is found.
    pub fn restore(bytes: &[u8], committee: &Committee) -> Result<VerifiedVertex, VertexError> {
        Self::read(bytes, committee, |signed| signed.check_place(committee))
    }

    fn read(
        bytes: &[u8],
        committee: &Committee,
        check_signed: impl FnOnce(&SignedHeader) -> Result<(), VertexError>,
    ) -> Result<VerifiedVertex, VertexError> {
        let mut reader = Reader::new(bytes);
        let signed = SignedHeader::decode(&mut reader)?;
        let header = &signed.header;
        let control_len = check_length(header, committee, reader.left())?;
        check_signed(&signed)?;
        if header.round == Round(0) {
            return Err(VertexError::RoundZero);
        }
        let vertex = Self {
            reference: header.reference(),
            signed,
            parents: read_parents(&mut reader, header)?,
            entries: read_entries(&mut reader, header)?,
            control_len,
            bytes: bytes.into(),
        };
        let control = reader.bytes(control_len)?;
        reader.finish()?;
        if parents_root(&vertex.parents, control) != header.parents_root {
            return Err(VertexError::ParentsRoot);
        }
        if entries_root(&vertex.entries) != header.entries_root {
            return Err(VertexError::EntriesRoot);
        }
        check_parents(&vertex, committee)?;
        check_no_entry_twice(&vertex.entries)?;
        Ok(VerifiedVertex(Arc::new(vertex)))
    }

    /// What names it.
    pub const fn reference(&self) -> VertexRef {
        self.reference
    }

    /// Its round, from 1.
    pub const fn round(&self) -> Round {
        self.reference.round
    }

    /// Who signed it.
    pub const fn author(&self) -> AuthorityIndex {
        self.reference.author
    }

    /// The author's clock when it was made.
    pub const fn timestamp(&self) -> TimestampUs {
        self.signed.header.timestamp
    }

    /// Place of its first entry in the author's local order.
    pub const fn first_position(&self) -> Position {
        self.signed.header.first_position
    }

    /// Place that the author's next vertex starts at.
    pub const fn end_position(&self) -> Position {
        self.signed.header.end_position()
    }

    /// How far the author had settled.
    pub const fn settled(&self) -> Settled {
        self.signed.header.settled
    }

    /// Header and signature, for receipts.
    pub const fn signed_header(&self) -> &SignedHeader {
        &self.signed
    }

    /// All parents; the author's own previous vertex is the first.
    pub fn parents(&self) -> &[VertexRef] {
        &self.parents
    }

    /// The author's previous vertex, perhaps its genesis.
    pub fn own_previous(&self) -> VertexRef {
        self.parents[0]
    }

    /// The parent by `author` in `round`, if there is one. O(parents).
    pub fn parent_in(&self, round: Round, author: AuthorityIndex) -> Option<&VertexRef> {
        self.parents
            .iter()
            .find(|parent| parent.round == round && parent.author == author)
    }

    /// Entries in the author's local order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The leaves under `entries_root`, from which receipts' Merkle paths are made. One hash an entry.
    pub fn entry_leaves(&self) -> Vec<Sha256Hash> {
        self.entries.iter().map(entry_leaf).collect()
    }

    /// The control section; empty in most vertices.
    pub fn control(&self) -> &[u8] {
        &self.bytes[self.bytes.len() - self.control_len..]
    }

    /// The encoding, as it is sent and kept.
    pub const fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }
}

/// A vertex that passed [`Vertex::verify`], now or before it was recorded, or that this process signed. Cloning costs a reference count.
#[derive(Clone, Debug)]
pub struct VerifiedVertex(Arc<Vertex>);

impl Deref for VerifiedVertex {
    type Target = Vertex;

    fn deref(&self) -> &Vertex {
        &self.0
    }
}

impl PartialEq for VerifiedVertex {
    fn eq(&self, other: &Self) -> bool {
        self.reference == other.reference
    }
}

impl Eq for VerifiedVertex {}

/// What an authority puts into its next vertex.
#[derive(Clone, Debug)]
pub struct VertexDraft {
    /// The chain.
    pub chain_id: ChainId,
    /// The epoch.
    pub epoch: Epoch,
    /// The round, from 1.
    pub round: Round,
    /// The author.
    pub author: AuthorityIndex,
    /// The author's clock, not below its previous vertex's.
    pub timestamp: TimestampUs,
    /// The previous vertex's end position.
    pub first_position: Position,
    /// Own previous vertex first, then others, at most one an author, a quorum of them of the round before.
    pub parents: Vec<VertexRef>,
    /// Newly listed entries in local order.
    pub entries: Vec<Entry>,
    /// How far the author has settled.
    pub settled: Settled,
}

impl VertexDraft {
    /// Signs the draft with the author's key.
    ///
    /// The draft is our own, so the rules are its maker's to keep; a draft that breaks them gives a vertex that
    /// every peer's [`Vertex::verify`] refuses.
    ///
    /// Panics: more than 255 parents or 2^32 entries, or no parent (our own bounds are far below, and the own
    /// previous vertex always stands first).
    pub fn sign(self, key: &SigningKey) -> VerifiedVertex {
        self.sign_with_control(key, &[])
    }

    /// Signs the draft and a control section with it.
    ///
    /// Panics: as [`VertexDraft::sign`], and above [`CONTROL_LEN_MAX`] bytes.
    pub fn sign_with_control(self, key: &SigningKey, control: &[u8]) -> VerifiedVertex {
        assert!(
            control.len() <= CONTROL_LEN_MAX,
            "what an authority says fits a vertex"
        );
        assert!(
            self.parents.first().map(|parent| parent.author) == Some(self.author),
            "the own previous vertex is the first parent"
        );
        let header = VertexHeader {
            chain_id: self.chain_id,
            epoch: self.epoch,
            round: self.round,
            author: self.author,
            timestamp: self.timestamp,
            first_position: self.first_position,
            entry_count: u32::try_from(self.entries.len()).expect("entries are bounded far below"),
            entries_root: entries_root(&self.entries),
            parent_count: u8::try_from(self.parents.len()).expect("one parent an authority"),
            parents_root: parents_root(&self.parents, control),
            settled: self.settled,
        };
        let signed = header.sign(key);
        let mut bytes = Vec::with_capacity(encoded_len(&header) + control.len());
        signed.encode(&mut bytes);
        encode_parents(&self.parents, &mut bytes);
        for entry in &self.entries {
            Writer::new(&mut bytes)
                .bytes(&entry.digest.0)
                .u64(entry.valid_until.0);
        }
        bytes.extend_from_slice(control);
        VerifiedVertex(Arc::new(Vertex {
            reference: header.reference(),
            signed,
            parents: self.parents,
            entries: self.entries,
            control_len: control.len(),
            bytes: bytes.into(),
        }))
    }
}

/// The Merkle leaf of an entry: digest and valid_until, big-endian.
pub fn entry_leaf(entry: &Entry) -> Sha256Hash {
    merkle::leaf_hash(&[&entry.digest.0, &entry.valid_until.0.to_be_bytes()])
}

/// Longest encoding of a vertex that `committee` allows, in bytes: the bound of a receive buffer.
pub fn vertex_len_max(committee: &Committee) -> usize {
    let parents = committee.thresholds().authorities() as usize;
    let entries = committee.parameters.vertex_entries_max as usize;
    SignedHeader::LEN + parents * VertexRef::LEN + entries * ENTRY_LEN + CONTROL_LEN_MAX
}

/// Longest control section, in bytes: one message of a key generation.
pub const CONTROL_LEN_MAX: usize = crate::dkg::MESSAGE_LEN_MAX;

/// Why a vertex is not one: always the fault of who signed or sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VertexError {
    /// Not a canonical encoding, or above a bound.
    #[error("vertex encoding: {0}")]
    Decode(#[from] DecodeError),
    /// For another chain.
    #[error("vertex for chain {}", .0.0)]
    Chain(ChainId),
    /// For another epoch.
    #[error("vertex for epoch {}", .0.0)]
    Epoch(Epoch),
    /// The author is not in the committee.
    #[error("{0} is not a member")]
    Author(AuthorityIndex),
    /// The signature does not verify.
    #[error("bad signature by {0}")]
    Signature(AuthorityIndex),
    /// Round 0 holds implicit vertices only.
    #[error("a vertex was sent for round 0")]
    RoundZero,
    /// The parents, or the control section, are not those that the header commits to.
    #[error("parents do not match the header")]
    ParentsRoot,
    /// The entries are not those that the header commits to.
    #[error("entries do not match the header")]
    EntriesRoot,
    /// The first parent is not the author's own.
    #[error("the first parent is not the author's previous vertex")]
    OwnPrevious,
    /// A parent is by nobody in the committee, or names a genesis vertex that is none.
    #[error("no vertex of {0} can be that parent")]
    ParentUnknown(AuthorityIndex),
    /// Two parents are by one author.
    #[error("two parents by {0}")]
    ParentTwice(AuthorityIndex),
    /// A parent is not of an earlier round.
    #[error("the parent by {0} is not of an earlier round")]
    ParentRound(AuthorityIndex),
    /// Too few parents of the round before.
    #[error("{found} parents of the round before, {wanted} wanted")]
    ParentQuorum {
        /// How many there are.
        found: u32,
        /// The quorum.
        wanted: u32,
    },
    /// One entry stands twice.
    #[error("entry {0:?} stands twice")]
    EntryTwice(Digest),
}

const ENTRY_LEN: usize = 40;

fn encoded_len(header: &VertexHeader) -> usize {
    SignedHeader::LEN
        + usize::from(header.parent_count) * VertexRef::LEN
        + header.entry_count as usize * ENTRY_LEN
}

/// Holds the counts to their bounds and to the bytes that are there, before anything is allocated; gives the length of the
/// control section.
fn check_length(
    header: &VertexHeader,
    committee: &Committee,
    left: usize,
) -> Result<usize, VertexError> {
    let parents_max = committee.thresholds().authorities();
    let entries_max = committee.parameters.vertex_entries_max;
    let counts = [
        ("parents", u32::from(header.parent_count), parents_max),
        ("entries", header.entry_count, entries_max),
    ];
    for (field, value, max) in counts {
        if value > max {
            let (value, max) = (value.into(), max.into());
            return Err(DecodeError::TooLarge { field, value, max }.into());
        }
    }
    let wanted = encoded_len(header) - SignedHeader::LEN;
    if left < wanted {
        return Err(DecodeError::Truncated { wanted, left }.into());
    }
    let control = left - wanted;
    if control > CONTROL_LEN_MAX {
        return Err(DecodeError::Trailing(control).into());
    }
    Ok(control)
}

fn read_parents(
    reader: &mut Reader<'_>,
    header: &VertexHeader,
) -> Result<Vec<VertexRef>, DecodeError> {
    (0..header.parent_count)
        .map(|_| VertexRef::decode(reader))
        .collect()
}

fn read_entries(reader: &mut Reader<'_>, header: &VertexHeader) -> Result<Vec<Entry>, DecodeError> {
    (0..header.entry_count)
        .map(|_| {
            Ok(Entry {
                digest: reader.digest()?,
                valid_until: reader.timestamp()?,
            })
        })
        .collect()
}

fn check_parents(vertex: &Vertex, committee: &Committee) -> Result<(), VertexError> {
    if vertex.parents.first().map(|parent| parent.author) != Some(vertex.author()) {
        return Err(VertexError::OwnPrevious);
    }
    let mut authors = AuthoritySet::EMPTY;
    let mut of_round_before = 0u32;
    for parent in &vertex.parents {
        let author = parent.author;
        if !committee.thresholds().has_member(author) {
            return Err(VertexError::ParentUnknown(author));
        }
        if parent.round >= vertex.round() {
            return Err(VertexError::ParentRound(author));
        }
        if parent.round == Round(0) && *parent != genesis(committee, author) {
            return Err(VertexError::ParentUnknown(author));
        }
        if !authors.insert(author) && !mutant::is(Mutant::TwinParents) {
            return Err(VertexError::ParentTwice(author));
        }
        // Authors differ (just checked), so counting parents counts authors.
        of_round_before += u32::from(parent.round.next() == vertex.round());
    }
    let wanted = committee.thresholds().quorum();
    if of_round_before < wanted {
        let found = of_round_before;
        return Err(VertexError::ParentQuorum { found, wanted });
    }
    Ok(())
}

fn check_no_entry_twice(entries: &[Entry]) -> Result<(), VertexError> {
    let mut sorted = entries.to_vec();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(VertexError::EntryTwice(pair[0].digest)),
        None => Ok(()),
    }
}

fn encode_parents(parents: &[VertexRef], out: &mut Vec<u8>) {
    for parent in parents {
        parent.encode(out);
    }
}

fn parents_root(parents: &[VertexRef], control: &[u8]) -> Digest {
    let mut bytes = Vec::with_capacity(parents.len() * VertexRef::LEN + control.len());
    encode_parents(parents, &mut bytes);
    bytes.extend_from_slice(control);
    Digest(*blake3::hash(&bytes).as_bytes())
}

fn entries_root(entries: &[Entry]) -> Sha256Hash {
    let mut leaves: Vec<Sha256Hash> = entries.iter().map(entry_leaf).collect();
    merkle::root_in_place(&mut leaves)
}

#[cfg(test)]
#[path = "vertex_tests.rs"]
mod tests;
