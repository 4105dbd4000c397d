//! The signed, fixed-size header of a vertex, and the reference that names a vertex.
//!
//! The header alone is what a receipt carries: it commits to the entries by a Merkle root and to the parents by a
//! hash, so 211 bytes and a path prove that an authority listed an envelope.
//!
//! Layout, big-endian: version u8 = 1, chain_id u64, epoch u32, round u64, author u8, timestamp_us u64,
//! first_position u64, entry_count u32, entries_root 32, parent_count u8, parents_root 32, settled_count u64,
//! settled_hash 32. The digest of a vertex is BLAKE3 of these bytes; the signature is Ed25519 over
//! `"fairlane/1/vertex"` and the digest.
//!
//! Invariants. I1: one header has one encoding. I2: rounds and positions are bounded ([`ROUND_MAX`],
//! [`POSITION_MAX`]), so arithmetic on what a peer signed cannot overflow.

use ed25519_dalek::{Signature, Signer, SigningKey};

use crate::committee::Committee;
use crate::dag::vertex::VertexError;
use crate::merkle;
use crate::types::{
    AuthorityIndex, ChainId, Digest, Epoch, Position, Round, Sha256Hash, TimestampUs,
};
use crate::wire::{DecodeError, Reader, Writer};

/// Names one vertex: its slot (round, author) and the digest of its header.
///
/// The order (round, author, digest) is a topological order: parents are of lower rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VertexRef {
    /// Its round; 0 only for the implicit genesis vertices.
    pub round: Round,
    /// Who signed it.
    pub author: AuthorityIndex,
    /// BLAKE3 of its header bytes.
    pub digest: Digest,
}

impl VertexRef {
    /// Encoded length: round u64, author u8, digest 32.
    pub const LEN: usize = 41;

    /// Appends the encoding to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        Writer::new(out)
            .u64(self.round.0)
            .u8(self.author.0)
            .bytes(&self.digest.0);
    }

    /// Reads one reference. Errors: truncated, or a round above [`ROUND_MAX`].
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            round: bounded_round(reader)?,
            author: AuthorityIndex(reader.u8()?),
            digest: reader.digest()?,
        })
    }
}

/// How far an author had settled when it signed: a free alarm for divergence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Batches settled so far in this epoch; 0 for none.
    pub count: u64,
    /// Header hash of batch `count - 1`; all zero when there is none.
    pub hash: Sha256Hash,
}

/// What the author of a vertex signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VertexHeader {
    /// The chain it is for.
    pub chain_id: ChainId,
    /// The epoch it is for.
    pub epoch: Epoch,
    /// Its round, from 1.
    pub round: Round,
    /// Who signs.
    pub author: AuthorityIndex,
    /// The author's clock, never below that of its previous vertex.
    pub timestamp: TimestampUs,
    /// Place of the first entry in the author's local order.
    pub first_position: Position,
    /// How many entries it lists.
    pub entry_count: u32,
    /// Merkle root over [`crate::dag::entry_leaf`] of each entry, in local order.
    pub entries_root: Sha256Hash,
    /// How many parents it has.
    pub parent_count: u8,
    /// BLAKE3 of the encoded parents and, behind them, of the vertex's control section.
    pub parents_root: Digest,
    /// How far the author had settled.
    pub settled: Settled,
}

impl VertexHeader {
    /// Encoded length in bytes.
    pub const LEN: usize = 147;

    /// Appends the encoding to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        Writer::new(out)
            .u8(VERTEX_VERSION)
            .u64(self.chain_id.0)
            .u32(self.epoch.0)
            .u64(self.round.0)
            .u8(self.author.0)
            .u64(self.timestamp.0)
            .u64(self.first_position.0)
            .u32(self.entry_count)
            .bytes(&self.entries_root.0)
            .u8(self.parent_count)
            .bytes(&self.parents_root.0)
            .u64(self.settled.count)
            .bytes(&self.settled.hash.0);
    }

    /// Reads one header.
    ///
    /// Errors: truncated, an unknown version, a round or position above its bound, a settled hash without a count.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let version = reader.u8()?;
        if version != VERTEX_VERSION {
            return Err(DecodeError::Version(version));
        }
        let header = Self {
            chain_id: ChainId(reader.u64()?),
            epoch: Epoch(reader.u32()?),
            round: bounded_round(reader)?,
            author: AuthorityIndex(reader.u8()?),
            timestamp: reader.timestamp()?,
            first_position: Position(bounded(reader.u64()?, "first_position", POSITION_MAX)?),
            entry_count: reader.u32()?,
            entries_root: reader.sha256()?,
            parent_count: reader.u8()?,
            parents_root: reader.digest()?,
            settled: Settled {
                count: reader.u64()?,
                hash: reader.sha256()?,
            },
        };
        if header.settled.count == 0 && header.settled.hash != Sha256Hash::default() {
            return Err(DecodeError::NotCanonical("settled_hash"));
        }
        Ok(header)
    }

    /// BLAKE3 of the encoding.
    pub fn digest(&self) -> Digest {
        let mut bytes = Vec::with_capacity(Self::LEN);
        self.encode(&mut bytes);
        Digest(*blake3::hash(&bytes).as_bytes())
    }

    /// The reference that names the vertex of this header. One hash.
    pub fn reference(&self) -> VertexRef {
        VertexRef {
            round: self.round,
            author: self.author,
            digest: self.digest(),
        }
    }

    /// Position that the author's next vertex starts at.
    pub const fn end_position(&self) -> Position {
        // Cannot overflow: I2 bounds the first term at 2^56, the second is 32 bits.
        Position(self.first_position.0 + self.entry_count as u64)
    }

    /// Signs this header with the author's key.
    pub fn sign(self, key: &SigningKey) -> SignedHeader {
        SignedHeader {
            signature: key.sign(&signed_message(&self.digest())),
            header: self,
        }
    }
}

/// A header with its author's signature: the signed half of a receipt.
///
/// Decoding does not verify; ask [`SignedHeader::verify`] before believing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedHeader {
    /// What was signed.
    pub header: VertexHeader,
    /// Ed25519 over `"fairlane/1/vertex"` and the header's digest.
    pub signature: Signature,
}

impl SignedHeader {
    /// Encoded length in bytes: the header and 64 bytes of signature.
    pub const LEN: usize = VertexHeader::LEN + 64;

    /// Appends the encoding to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.header.encode(out);
        Writer::new(out).bytes(&self.signature.to_bytes());
    }

    /// Reads one signed header without verifying it. Errors: as [`VertexHeader::decode`].
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            header: VertexHeader::decode(reader)?,
            signature: Signature::from_bytes(&reader.array()?),
        })
    }

    /// Checks chain, epoch, author and signature (strictly: no small-order keys, canonical scalars).
    ///
    /// Errors: the first of these that does not hold.
    pub fn verify(&self, committee: &Committee) -> Result<(), VertexError> {
        self.check_place(committee)?;
        let header = &self.header;
        let message = signed_message(&header.digest());
        if !committee.verify(header.author, &message, &self.signature) {
            return Err(VertexError::Signature(header.author));
        }
        Ok(())
    }

    /// Chain, epoch and author, without the signature. Errors: the first of these that does not hold.
    pub(crate) fn check_place(&self, committee: &Committee) -> Result<(), VertexError> {
        let header = &self.header;
        if header.chain_id != committee.chain_id {
            return Err(VertexError::Chain(header.chain_id));
        }
        if header.epoch != committee.epoch {
            return Err(VertexError::Epoch(header.epoch));
        }
        if !committee.thresholds().has_member(header.author) {
            return Err(VertexError::Author(header.author));
        }
        Ok(())
    }
}

/// The implicit vertex of `author` in round 0: no entries, no parents, stamped with the epoch's start.
///
/// Its digest is that of the header it would have; nobody signs, sends or stores it.
pub fn genesis(committee: &Committee, author: AuthorityIndex) -> VertexRef {
    VertexHeader {
        chain_id: committee.chain_id,
        epoch: committee.epoch,
        round: Round(0),
        author,
        timestamp: committee.epoch_start,
        first_position: Position(0),
        entry_count: 0,
        entries_root: merkle::root_in_place(&mut []),
        parent_count: 0,
        parents_root: Digest(*blake3::hash(&[]).as_bytes()),
        settled: Settled::default(),
    }
    .reference()
}

/// Largest round that decodes: thousands of years at one a microsecond, and far from overflow.
pub const ROUND_MAX: u64 = 1 << 56;

/// Largest first position that decodes, for the same reason.
pub const POSITION_MAX: u64 = 1 << 56;

const VERTEX_VERSION: u8 = 1;

const SIGNATURE_TAG: &[u8] = b"fairlane/1/vertex";

fn signed_message(digest: &Digest) -> Vec<u8> {
    [SIGNATURE_TAG, &digest.0].concat()
}

/// A round that a peer or a state names. Errors: truncated, or above [`ROUND_MAX`].
pub(crate) fn bounded_round(reader: &mut Reader<'_>) -> Result<Round, DecodeError> {
    Ok(Round(bounded(reader.u64()?, "round", ROUND_MAX)?))
}

/// A position that a peer or a state names. Errors: truncated, or above [`POSITION_MAX`].
pub(crate) fn bounded_position(reader: &mut Reader<'_>) -> Result<Position, DecodeError> {
    let position = bounded(reader.u64()?, "position", POSITION_MAX)?;
    Ok(Position(position))
}

const fn bounded(value: u64, field: &'static str, max: u64) -> Result<u64, DecodeError> {
    if value > max {
        return Err(DecodeError::TooLarge { field, value, max });
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::committee::Parameters;
    use crate::dag::drawn;

    fn header() -> VertexHeader {
        VertexHeader {
            chain_id: ChainId(0x0102_0304_0506_0708),
            epoch: Epoch(0x0a0b_0c0d),
            round: Round(0x11),
            author: AuthorityIndex(0x22),
            timestamp: TimestampUs(0x33),
            first_position: Position(0x44),
            entry_count: 0x55,
            entries_root: Sha256Hash([0x66; 32]),
            parent_count: 0x77,
            parents_root: Digest([0x88; 32]),
            settled: Settled {
                count: 0x99,
                hash: Sha256Hash([0xaa; 32]),
            },
        }
    }

    #[test]
    fn header_encoding_has_its_golden_bytes() {
        let mut bytes = Vec::new();
        header().encode(&mut bytes);
        let golden = [
            "01",
            "0102030405060708",
            "0a0b0c0d",
            "0000000000000011",
            "22",
            "0000000000000033",
            "0000000000000044",
            "00000055",
            &"66".repeat(32),
            "77",
            &"88".repeat(32),
            "0000000000000099",
            &"aa".repeat(32),
        ]
        .concat();
        assert_eq!(hex::encode(&bytes), golden);
        assert_eq!(bytes.len(), VertexHeader::LEN);
        let mut reader = Reader::new(&bytes);
        assert_eq!(VertexHeader::decode(&mut reader), Ok(header()));
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn a_signed_header_verifies_alone_and_for_its_chain_epoch_and_author_only() {
        let committee = drawn::committee(4, Parameters::default());
        let good = VertexHeader {
            chain_id: committee.chain_id,
            epoch: committee.epoch,
            author: AuthorityIndex(2),
            ..header()
        };
        let signed = good.sign(&drawn::key(2));
        let mut bytes = Vec::new();
        signed.encode(&mut bytes);
        assert_eq!(bytes.len(), SignedHeader::LEN);
        assert_eq!(SignedHeader::decode(&mut Reader::new(&bytes)), Ok(signed));
        assert_eq!(signed.verify(&committee), Ok(()));

        let by_another = good.sign(&drawn::key(1));
        let refused = Err(VertexError::Signature(AuthorityIndex(2)));
        assert_eq!(by_another.verify(&committee), refused);
        let chain_id = ChainId(8);
        let elsewhere = VertexHeader { chain_id, ..good }.sign(&drawn::key(2));
        assert_eq!(
            elsewhere.verify(&committee),
            Err(VertexError::Chain(chain_id))
        );
        let epoch = Epoch(4);
        let later = VertexHeader { epoch, ..good }.sign(&drawn::key(2));
        assert_eq!(later.verify(&committee), Err(VertexError::Epoch(epoch)));
        let author = AuthorityIndex(200);
        let stranger = VertexHeader { author, ..good }.sign(&drawn::key(2));
        assert_eq!(
            stranger.verify(&committee),
            Err(VertexError::Author(author))
        );
    }

    #[test]
    fn rounds_and_positions_above_their_bounds_and_a_hash_of_nothing_settled_are_refused() {
        let decode = |header: VertexHeader| {
            let mut bytes = Vec::new();
            header.encode(&mut bytes);
            VertexHeader::decode(&mut Reader::new(&bytes))
        };
        let mut far = header();
        far.round = Round(u64::MAX);
        assert!(matches!(
            decode(far),
            Err(DecodeError::TooLarge { field: "round", .. })
        ));
        let mut long = header();
        long.first_position = Position(u64::MAX);
        let refused = decode(long);
        assert!(matches!(
            refused,
            Err(DecodeError::TooLarge {
                field: "first_position",
                ..
            })
        ));
        let mut none = header();
        none.settled.count = 0;
        assert_eq!(decode(none), Err(DecodeError::NotCanonical("settled_hash")));
    }

    #[test]
    fn genesis_differs_by_author_chain_and_epoch() {
        let committee = drawn::committee(4, Parameters::default());
        let mut other = (*committee).clone();
        other.epoch = Epoch(4);
        let first = genesis(&committee, AuthorityIndex(0));
        assert_eq!(first.round, Round(0));
        assert_ne!(first.digest, genesis(&committee, AuthorityIndex(1)).digest);
        assert_ne!(first.digest, genesis(&other, AuthorityIndex(0)).digest);
        other.epoch = committee.epoch;
        other.chain_id = ChainId(8);
        assert_ne!(first.digest, genesis(&other, AuthorityIndex(0)).digest);
    }
}
