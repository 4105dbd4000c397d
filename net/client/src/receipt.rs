//! Receipts: an authority's signed word that it listed an envelope, checkable by anyone with the committee file.
//!
//! A receipt is the signed header of the vertex that lists the envelope, the envelope's index among its entries, and
//! the Merkle path from there to the header's `entries_root`. Only a fork by the authority can contradict it.
//!
//! Cost: one Ed25519 verification a header, and one SHA-256 for each level of the tree.

use fairlane_engine::committee::Committee;
use fairlane_engine::dag::{SignedHeader, VertexError, entry_leaf};
use fairlane_engine::merkle;
use fairlane_engine::types::{AuthorityIndex, Entry, Sha256Hash};
use fairlane_engine::wire::{DecodeError, Reader};

/// The proof that an authority listed an envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The vertex's header with its author's signature.
    pub signed_header: SignedHeader,
    /// Index of the envelope among the vertex's entries, from 0.
    pub entry_index: u32,
    /// Siblings from the envelope's leaf up to `entries_root`.
    pub path: Vec<Sha256Hash>,
}

impl Receipt {
    /// Checks signature and path for `entry` (digest and expiry of the envelope). Errors: what does not hold.
    pub fn verify(&self, committee: &Committee, entry: &Entry) -> Result<(), ReceiptError> {
        self.signed_header.verify(committee)?;
        verify_path(&self.signed_header, self.entry_index, &self.path, entry)
    }
}

/// Reads and verifies a header that the node of `author` sent.
///
/// Errors: not a header, signed by nobody or by somebody else.
pub(crate) fn verify_header(
    bytes: &[u8],
    committee: &Committee,
    author: AuthorityIndex,
) -> Result<SignedHeader, ReceiptError> {
    let mut reader = Reader::new(bytes);
    let signed = SignedHeader::decode(&mut reader)?;
    reader.finish()?;
    if signed.header.author != author {
        return Err(ReceiptError::Author(signed.header.author));
    }
    signed.verify(committee)?;
    Ok(signed)
}

/// Checks that `entry` stands at `entry_index` under the header's root; the header is verified already.
pub(crate) fn verify_path(
    signed: &SignedHeader,
    entry_index: u32,
    path: &[Sha256Hash],
    entry: &Entry,
) -> Result<(), ReceiptError> {
    let header = &signed.header;
    let (at, of) = (u64::from(entry_index), u64::from(header.entry_count));
    if !merkle::verify_path(entry_leaf(entry), at, of, path, header.entries_root) {
        return Err(ReceiptError::Path);
    }
    Ok(())
}

/// Why a receipt proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// Not the encoding of a signed header.
    #[error("receipt: {0}")]
    Decode(#[from] DecodeError),
    /// The header does not verify.
    #[error("receipt: {0}")]
    Header(#[from] VertexError),
    /// The header is another authority's than the one that sent it.
    #[error("receipt with a header by {0}")]
    Author(AuthorityIndex),
    /// The path does not lead from the envelope to the root.
    #[error("the envelope is not under the receipt's root")]
    Path,
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use fairlane_engine::committee::Parameters;
    use fairlane_engine::dag::{Settled, VertexHeader};
    use fairlane_engine::types::{ChainId, Digest, Epoch, Position, Round, TimestampUs};

    use super::*;
    use crate::protocol::{ENVELOPE_LEN_MAX, SIGNED_HEADER_LEN};

    #[test]
    fn frames_leave_room_for_exactly_one_signed_header_and_the_longest_envelope() {
        assert_eq!(SignedHeader::LEN, SIGNED_HEADER_LEN);
        assert_eq!(fairlane_engine::seal::ENVELOPE_LEN_MAX, ENVELOPE_LEN_MAX);
    }

    #[test]
    fn a_header_counts_only_from_its_own_author() {
        let keys = [1, 2].map(|seed| SigningKey::from_bytes(&[seed; 32]));
        let committee = Committee::new(
            ChainId(7),
            Epoch(0),
            TimestampUs(1),
            Parameters::default(),
            Vec::new(),
            keys.iter().map(SigningKey::verifying_key).collect(),
        )
        .unwrap();
        let header = VertexHeader {
            chain_id: ChainId(7),
            epoch: Epoch(0),
            round: Round(1),
            author: AuthorityIndex(1),
            timestamp: TimestampUs(1),
            first_position: Position(0),
            entry_count: 0,
            entries_root: Sha256Hash([0; 32]),
            parent_count: 0,
            parents_root: Digest([0; 32]),
            settled: Settled::default(),
        };
        let mut bytes = Vec::new();
        header.sign(&keys[1]).encode(&mut bytes);
        let by = |author| verify_header(&bytes, &committee, AuthorityIndex(author)).map(|_| ());
        assert_eq!(by(1), Ok(()));
        assert_eq!(by(0), Err(ReceiptError::Author(AuthorityIndex(1))));
    }
}
