//! What makes a batch final for a worker that does not take its node's word: a certificate, or the words of f + 1
//! authorities.
//!
//! Each vertex that an authority signs names how many batches it has opened and the hash of the last one's header. Headers are
//! chained, so such a word vouches for all batches up to that one. Of f + 1 authorities one is correct, and a correct one opens
//! only what the agreed order gives: so f + 1 words that name headers of one chain make final what the lowest of them covers.
//! They need not name the same batch, and they come with the vertices that are sent anyway, milliseconds after a batch;
//! certificates come each `certificate_interval_us`, and convince a contract, too.
//!
//! ```text
//! words   kind u8 = 2 | count u8 | signed vertex headers, 211 bytes each, ascending by author
//! ```
//!
//! An encoded certificate begins with its version, 1, so the first byte tells the two apart.
//!
//! I1 no author is counted twice, and one set of words has one encoding. I2 the worker checks every signature against the
//! committee file, and the sink every named hash against its own chain: the node is believed nothing.

use std::sync::Arc;

use fairlane_engine::certificate::{
    Certificate, CertificateError, CertificateKeys, CertifiedHeader,
};
use fairlane_engine::committee::Committee;
use fairlane_engine::dag::{SignedHeader, VertexError};
use fairlane_engine::types::{AUTHORITIES_MAX, AuthorityIndex, BatchSeq};
use fairlane_engine::wire::{DecodeError, Reader};

use super::Finality;

/// What a worker waits for before a batch is settled, and what it is checked with.
#[derive(Clone, Debug, Default)]
pub enum ProofRule {
    /// Nothing: its own node's word is enough.
    #[default]
    Node,
    /// The words of f + 1 authorities, or a certificate where that comes first.
    Validity(Arc<Committee>),
    /// A certificate.
    Certificate(Arc<CertificateKeys>),
}

impl ProofRule {
    /// What batches that wait for it are recorded as.
    pub const fn finality(&self) -> Finality {
        match self {
            Self::Node => Finality::Node,
            Self::Validity(_) => Finality::Validity,
            Self::Certificate(_) => Finality::Certificate,
        }
    }

    /// Whether a proof of this kind is waited for at all.
    pub(super) fn takes(&self, proof: &Proof) -> bool {
        match (self, proof) {
            (Self::Node, _) | (Self::Certificate(_), Proof::Words(_)) => false,
            (Self::Validity(committee), Proof::Certificate(_)) => {
                committee.certificate_keys().is_some()
            }
            (Self::Validity(_), Proof::Words(_))
            | (Self::Certificate(_), Proof::Certificate(_)) => true,
        }
    }

    /// Checks the signatures of a proof that [`Self::takes`]. Errors: it does not hold, or is not of a kind that is taken.
    pub(super) fn check(&self, proof: &Proof) -> Result<(), ProofError> {
        match (self, proof) {
            (Self::Certificate(keys), Proof::Certificate(certificate)) => {
                Ok(certificate.verify(keys)?)
            }
            (Self::Validity(committee), proof) => proof.verify(committee),
            (Self::Node, _) | (Self::Certificate(_), Proof::Words(_)) => Err(ProofError::Unwanted),
        }
    }
}

/// What vouches for batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// At least q authorities, in one signature.
    Certificate(Certificate),
    /// At least f + 1 authorities, a signature each.
    Words(Words),
}

impl Proof {
    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Certificate(certificate) => certificate.encode().to_vec(),
            Self::Words(words) => words.encode(),
        }
    }

    /// Reads the canonical bytes; checks no signature. Errors: neither a certificate nor words.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        match bytes.first() {
            Some(&WORDS_KIND) => Words::decode(bytes).map(Self::Words),
            _ => Certificate::decode(bytes).map(Self::Certificate),
        }
    }

    /// The headers that it names; at least one.
    pub fn named(&self) -> Vec<CertifiedHeader> {
        match self {
            Self::Certificate(certificate) => vec![certificate.header],
            Self::Words(words) => words.0.iter().map(named_by).collect(),
        }
    }

    /// The header up to which it vouches, the lowest that it names.
    pub fn covers(&self) -> CertifiedHeader {
        let named = self.named().into_iter();
        let lowest = named.min_by_key(|header| (header.epoch, header.seq));
        lowest.expect("words that name nothing do not decode")
    }

    /// Checks every signature. Errors: the first thing that does not hold.
    pub fn verify(&self, committee: &Committee) -> Result<(), ProofError> {
        match self {
            Self::Certificate(certificate) => {
                let keys = committee.certificate_keys().ok_or(ProofError::Keys)?;
                Ok(certificate.verify(keys)?)
            }
            Self::Words(words) => words.verify(committee),
        }
    }
}

/// Signed vertex headers of different authors, ascending by author, each of which names a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words(Vec<SignedHeader>);

impl Words {
    /// Of these headers; none unless they are of different authors and each names a batch.
    pub fn new(mut headers: Vec<SignedHeader>) -> Option<Self> {
        headers.sort_by_key(|signed| signed.header.author);
        let words = Self(headers);
        words.check_form().is_ok().then_some(words)
    }

    fn check_form(&self) -> Result<(), DecodeError> {
        let authors = |pair: &[SignedHeader]| pair[0].header.author < pair[1].header.author;
        if self.0.is_empty() || self.0.len() > AUTHORITIES_MAX || !self.0.windows(2).all(authors) {
            return Err(DecodeError::NotCanonical("authors of words"));
        }
        match self.0.iter().any(|signed| signed.header.settled.count == 0) {
            true => Err(DecodeError::NotCanonical("a word of no batch")),
            false => Ok(()),
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(2 + self.0.len() * SignedHeader::LEN);
        let count = u8::try_from(self.0.len()).expect("a word an authority");
        bytes.extend_from_slice(&[WORDS_KIND, count]);
        for signed in &self.0 {
            signed.encode(&mut bytes);
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != WORDS_KIND {
            return Err(DecodeError::NotCanonical("kind of a proof"));
        }
        let count = reader.u8()?;
        let left = reader.left();
        if left != usize::from(count) * SignedHeader::LEN {
            return Err(DecodeError::NotCanonical("length of words"));
        }
        let headers = (0..count).map(|_| SignedHeader::decode(&mut reader));
        let words = Self(headers.collect::<Result<_, _>>()?);
        words.check_form()?;
        Ok(words)
    }

    fn verify(&self, committee: &Committee) -> Result<(), ProofError> {
        let (found, wanted) = (self.0.len() as u32, committee.thresholds().validity());
        if found < wanted {
            return Err(ProofError::Few { found, wanted });
        }
        for signed in &self.0 {
            signed
                .verify(committee)
                .map_err(|source| ProofError::Word {
                    author: signed.header.author,
                    source,
                })?;
        }
        Ok(())
    }
}

/// The header that a word vouches for, which names a batch.
fn named_by(signed: &SignedHeader) -> CertifiedHeader {
    let header = &signed.header;
    CertifiedHeader {
        chain_id: header.chain_id,
        epoch: header.epoch,
        seq: BatchSeq(header.settled.count.saturating_sub(1)),
        hash: header.settled.hash,
    }
}

/// Why a proof makes nothing final.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Not its encoding.
    #[error("{0}")]
    Decode(#[from] DecodeError),
    /// A certificate that does not hold.
    #[error("{0}")]
    Certificate(#[from] CertificateError),
    /// The committee file has no keys that certificates could be checked with.
    #[error("the committee file has no keys for certificates")]
    Keys,
    /// A word that its author did not sign, or not for this chain and epoch.
    #[error("the word of {author}: {source}")]
    Word {
        /// Who is said to have signed.
        author: AuthorityIndex,
        /// What does not hold.
        source: VertexError,
    },
    /// Too few authorities.
    #[error("{found} authorities vouch, and {wanted} are needed")]
    Few {
        /// How many do.
        found: u32,
        /// f + 1.
        wanted: u32,
    },
    /// Of a kind that is not waited for.
    #[error("it is of a kind that is not waited for")]
    Unwanted,
}

/// First byte of words; a certificate's is its version, 1.
const WORDS_KIND: u8 = 2;

#[cfg(test)]
pub(super) mod tests {
    use ed25519_dalek::SigningKey;
    use fairlane_engine::certificate::SIGNATURE_LEN;
    use fairlane_engine::committee::Parameters;
    use fairlane_engine::dag::{Settled, VertexHeader};
    use fairlane_engine::types::{
        AuthoritySet, ChainId, Digest, Epoch, Position, Round, Sha256Hash, TimestampUs,
    };

    use super::*;

    pub(in crate::settle) const EPOCH: Epoch = Epoch(0);

    fn key(author: u8) -> SigningKey {
        SigningKey::from_bytes(&[author + 1; 32])
    }

    /// A committee without certificates.
    pub(in crate::settle) fn committee(chain_id: ChainId, authorities: u8) -> Committee {
        let keys = (0..authorities).map(|author| key(author).verifying_key());
        let start = TimestampUs(1);
        let rules = Parameters::default();
        Committee::new(chain_id, EPOCH, start, rules, Vec::new(), keys.collect()).unwrap()
    }

    /// The word of `author` for a header.
    pub(in crate::settle) fn word(author: u8, of: &CertifiedHeader) -> SignedHeader {
        let header = VertexHeader {
            chain_id: of.chain_id,
            epoch: of.epoch,
            round: Round(9),
            author: AuthorityIndex(author),
            timestamp: TimestampUs(1),
            first_position: Position(0),
            entry_count: 0,
            entries_root: Sha256Hash([0; 32]),
            parent_count: 0,
            parents_root: Digest([0; 32]),
            settled: Settled {
                count: of.seq.0 + 1,
                hash: of.hash,
            },
        };
        header.sign(&key(author))
    }

    pub(in crate::settle) fn words(authors: &[(u8, CertifiedHeader)]) -> Proof {
        let headers = authors.iter().map(|(author, of)| word(*author, of));
        Proof::Words(Words::new(headers.collect()).unwrap())
    }

    fn header(seq: u64) -> CertifiedHeader {
        CertifiedHeader {
            chain_id: ChainId(7),
            epoch: EPOCH,
            seq: BatchSeq(seq),
            hash: Sha256Hash([seq as u8 + 1; 32]),
        }
    }

    #[test]
    fn f_plus_one_hold_and_vouch_as_far_as_the_lowest_of_them_whatever_the_size() {
        for authorities in 1..=13u8 {
            let committee = committee(ChainId(7), authorities);
            let wanted = committee.thresholds().validity() as u8;
            let authors: Vec<_> = (0..wanted)
                .map(|of| (of, header(9 - u64::from(of))))
                .collect();
            let proof = words(&authors);
            assert_eq!(proof.verify(&committee), Ok(()), "{authorities}");
            assert_eq!(proof.covers(), header(10 - u64::from(wanted)));
            assert_eq!(proof.named().len(), usize::from(wanted));
            if wanted > 1 {
                let (found, wanted) = (u32::from(wanted) - 1, u32::from(wanted));
                let few = words(&authors[1..]);
                let refused = Err(ProofError::Few { found, wanted });
                assert_eq!(few.verify(&committee), refused, "f words do not suffice");
            }
        }
    }

    #[test]
    fn an_author_is_counted_once() {
        let twice = [word(2, &header(3)), word(2, &header(4))];
        assert_eq!(Words::new(twice.to_vec()), None);
        let mut bytes = words(&[(1, header(3)), (2, header(4))]).encode();
        let (first, second) = bytes[2..].split_at_mut(SignedHeader::LEN);
        second.copy_from_slice(first);
        let refused = Err(DecodeError::NotCanonical("authors of words"));
        assert_eq!(Proof::decode(&bytes), refused);
        // Nor are two authors who stand in the other order another set of words.
        let mut bytes = words(&[(1, header(3)), (2, header(3))]).encode();
        let (first, second) = bytes[2..].split_at_mut(SignedHeader::LEN);
        first.swap_with_slice(second);
        assert_eq!(Proof::decode(&bytes), refused);
    }

    #[test]
    fn a_word_of_another_chain_epoch_or_signer_and_an_altered_one_are_refused() {
        let committee = committee(ChainId(7), 4);
        let good = word(1, &header(3));
        let with = |other: SignedHeader| {
            let words = Words::new(vec![good, other]).unwrap();
            words.verify(&committee)
        };
        assert_eq!(with(word(2, &header(3))), Ok(()));
        let wrong = |author, source| {
            let author = AuthorityIndex(author);
            Err(ProofError::Word { author, source })
        };
        let chain_id = ChainId(8);
        let elsewhere = word(
            2,
            &CertifiedHeader {
                chain_id,
                ..header(3)
            },
        );
        assert_eq!(with(elsewhere), wrong(2, VertexError::Chain(chain_id)));
        let epoch = Epoch(1);
        let later = word(2, &CertifiedHeader { epoch, ..header(3) });
        assert_eq!(with(later), wrong(2, VertexError::Epoch(epoch)));
        let stranger = word(4, &header(3));
        let author = AuthorityIndex(4);
        assert_eq!(with(stranger), wrong(4, VertexError::Author(author)));
        let mut altered = word(2, &header(3));
        altered.header.settled.hash = Sha256Hash([9; 32]);
        let author = AuthorityIndex(2);
        assert_eq!(with(altered), wrong(2, VertexError::Signature(author)));
        let mut of_another = word(2, &header(3));
        of_another.header.author = AuthorityIndex(3);
        let author = AuthorityIndex(3);
        assert_eq!(with(of_another), wrong(3, VertexError::Signature(author)));
    }

    #[test]
    fn any_flipped_bit_of_a_word_is_noticed_and_what_decodes_encodes_to_the_same() {
        let committee = committee(ChainId(7), 4);
        let bytes = words(&[(1, header(3)), (2, header(4))]).encode();
        assert_eq!(Proof::decode(&bytes).unwrap().encode(), bytes);
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let Ok(proof) = Proof::decode(&flipped) else {
                continue;
            };
            assert_eq!(proof.encode(), flipped);
            assert!(proof.verify(&committee).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(Proof::decode(&bytes[..len]).is_err(), "{len} bytes");
        }
        assert!(Proof::decode(&[&bytes[..], &[0]].concat()).is_err());
    }

    #[test]
    fn words_have_their_golden_bytes_and_certificates_their_own() {
        let bytes = words(&[(2, header(3))]).encode();
        assert_eq!(bytes[..2], [2, 1]);
        let mut signed = Vec::new();
        word(2, &header(3)).encode(&mut signed);
        assert_eq!(bytes[2..], signed);
        let certificate = Certificate {
            header: header(5),
            signers: AuthoritySet::EMPTY,
            signature: [0; SIGNATURE_LEN],
        };
        let proof = Proof::decode(&certificate.encode()).unwrap();
        assert_eq!(proof, Proof::Certificate(certificate));
        assert_eq!(
            (proof.covers(), proof.named()),
            (header(5), vec![header(5)])
        );
    }

    #[test]
    fn a_word_that_names_no_batch_vouches_for_nothing() {
        let mut nothing = word(1, &header(0));
        nothing.header.settled = Settled::default();
        assert_eq!(Words::new(vec![nothing]), None);
        assert_eq!(Words::new(Vec::new()), None);
    }
}
