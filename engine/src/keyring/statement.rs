//! An authority's signed word that the committee has made a sealing key: how clients learn of it.
//!
//! A client must not seal to a key because one node says so: that node could name a key of its own. All correct authorities
//! make the same statement of a key, byte for byte, and sign it with the keys of the committee file; of f + 1 that vouch for
//! the same bytes one is correct, so the key is the committee's. Whoever counts them keeps to one vote an authority.
//!
//! Bytes, integers big-endian: `version u8 = 1 | chain_id u64 | epoch u32 | since_us u64 | n u32 | t u32 | X 32 | X_0 .. X_n-1,
//! 32 each`. Signed is `"fairlane/1/key-statement" | BLAKE3-256(bytes)`, a prefix that no other signature of an authority has.
//!
//! The whole key is signed, not its name: a name has 16 bytes, and a dealer that deals last could look for two keys that
//! share one. `since_us` is the consensus time of the anchor that made the key: the key before it ends 90 s later.
//!
//! It is no proof that the key is the newest: an old statement stays true. Nodes refuse what is sealed to a key that has ended.

use ed25519_dalek::{Signature, Signer as _, SigningKey};

use crate::admit::label_rules::PEER_TIME_AHEAD_US_MAX;
use crate::committee::Committee;
use crate::seal::key::{KeyError, SealingKey};
use crate::types::{AUTHORITIES_MAX, AuthorityIndex, ChainId, Epoch, TimestampUs};
use crate::wire::{DecodeError, Reader, Writer};

/// A key that the committee has made, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyStatement {
    /// Consensus time of the anchor that made it.
    pub since: TimestampUs,
    /// The key.
    pub key: SealingKey,
}

/// What of a statement can be read without any arithmetic: its shape holds, the key in it was not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatementHead {
    /// The chain.
    pub chain_id: ChainId,
    /// The epoch that the key is for: a later key has a higher one.
    pub epoch: Epoch,
    /// See [`KeyStatement::since`].
    pub since: TimestampUs,
    /// n.
    pub authorities: u32,
    /// t.
    pub threshold: u32,
}

impl KeyStatement {
    /// The bytes that an authority signs.
    pub fn encode(&self) -> Vec<u8> {
        let key = &self.key;
        let mut bytes = Vec::with_capacity(len(key.thresholds().authorities()));
        let mut writer = Writer::new(&mut bytes);
        writer
            .u8(VERSION)
            .u64(key.chain_id().0)
            .u32(key.epoch().0)
            .u64(self.since.0)
            .u32(key.thresholds().authorities())
            .u32(key.threshold())
            .bytes(key.committee_key().bytes());
        for share in key.verification_shares() {
            writer.bytes(share.bytes());
        }
        bytes
    }

    /// Reads a statement and checks the key in it: some milliseconds for up to 16 authorities, so to be asked once the
    /// statement is vouched for.
    ///
    /// Errors: not one statement and nothing else, or a key that cannot be.
    pub fn decode(bytes: &[u8]) -> Result<Self, StatementError> {
        let mut reader = Reader::new(bytes);
        let head = StatementHead::read(&mut reader)?;
        let x = reader.array()?;
        let shares: Result<Vec<[u8; 32]>, DecodeError> =
            (0..head.authorities).map(|_| reader.array()).collect();
        let (chain_id, epoch) = (head.chain_id, head.epoch);
        let (n, t) = (head.authorities, head.threshold);
        let key = SealingKey::from_parts(chain_id, epoch, n, t, x, &shares?)?;
        reader.finish()?;
        Ok(Self {
            since: head.since,
            key,
        })
    }

    /// Until when the key before this one is of use: no envelope sealed to it may be valid for longer.
    pub const fn end_of_the_one_before(&self) -> TimestampUs {
        self.since.plus_us(PEER_TIME_AHEAD_US_MAX)
    }
}

impl StatementHead {
    /// Looks at the shape of a statement. Errors: it has not that of one.
    pub fn of(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let head = Self::read(&mut reader)?;
        reader.bytes(len(head.authorities) - HEAD_LEN)?;
        reader.finish()?;
        Ok(head)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let version = reader.u8()?;
        if version != VERSION {
            return Err(DecodeError::Version(version));
        }
        let head = Self {
            chain_id: ChainId(reader.u64()?),
            epoch: Epoch(reader.u32()?),
            since: TimestampUs(reader.u64()?),
            authorities: reader.u32()?,
            threshold: reader.u32()?,
        };
        if head.authorities as usize > AUTHORITIES_MAX {
            return Err(DecodeError::TooLarge {
                field: "authorities",
                value: head.authorities.into(),
                max: AUTHORITIES_MAX as u64,
            });
        }
        Ok(head)
    }
}

/// Signs the bytes of a statement.
pub fn sign_statement(bytes: &[u8], key: &SigningKey) -> Signature {
    key.sign(&signed_message(bytes))
}

/// Whether `author`, a member of `committee`, signed these bytes as a statement. Never for who is no member.
pub fn is_signed_by(
    bytes: &[u8],
    committee: &Committee,
    author: AuthorityIndex,
    signature: &Signature,
) -> bool {
    committee.verify(author, &signed_message(bytes), signature)
}

fn signed_message(bytes: &[u8]) -> Vec<u8> {
    [SIGNATURE_TAG, blake3::hash(bytes).as_bytes()].concat()
}

const fn len(authorities: u32) -> usize {
    HEAD_LEN + 32 * (1 + authorities as usize)
}

/// Longest statement, in bytes.
pub const STATEMENT_LEN_MAX: usize = HEAD_LEN + 32 * (1 + AUTHORITIES_MAX);

const HEAD_LEN: usize = 1 + 8 + 4 + 8 + 4 + 4;
const VERSION: u8 = 1;
const SIGNATURE_TAG: &[u8] = b"fairlane/1/key-statement";

/// Why bytes are no statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Not the encoding of one.
    #[error("key statement: {0}")]
    Decode(#[from] DecodeError),
    /// It names a key that cannot be.
    #[error("key statement: {0}")]
    Key(#[from] KeyError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::committee::Parameters;
    use crate::seal::deal::deal;

    fn statement(n: u32) -> KeyStatement {
        let t = n - (n - 1) / 3;
        let (key, _) = deal(ChainId(7), Epoch(3), n, t, &[1; 32]).unwrap();
        KeyStatement {
            since: TimestampUs(5_000_000),
            key,
        }
    }

    fn signer(index: u8) -> SigningKey {
        SigningKey::from_bytes(&[index + 1; 32])
    }

    fn committee() -> Committee {
        let keys = (0..4).map(|index| signer(index).verifying_key());
        let (chain, parameters) = (ChainId(7), Parameters::default());
        let start = TimestampUs(1);
        Committee::new(chain, Epoch(0), start, parameters, vec![], keys.collect()).unwrap()
    }

    #[test]
    fn a_statement_reads_back_and_has_one_encoding() {
        for n in [1, 4, 7] {
            let statement = statement(n);
            let bytes = statement.encode();
            assert_eq!(bytes.len(), 61 + 32 * n as usize);
            assert_eq!(KeyStatement::decode(&bytes), Ok(statement.clone()));
            let head = StatementHead::of(&bytes).unwrap();
            assert_eq!((head.epoch, head.since), (Epoch(3), statement.since));
            assert_eq!((head.chain_id, head.authorities), (ChainId(7), n));
            for cut in 0..bytes.len() {
                assert!(StatementHead::of(&bytes[..cut]).is_err(), "cut at {cut}");
                assert!(KeyStatement::decode(&bytes[..cut]).is_err());
            }
            let long = [&bytes[..], &[0]].concat();
            assert!(StatementHead::of(&long).is_err() && KeyStatement::decode(&long).is_err());
        }
        assert_eq!(
            statement(4).end_of_the_one_before(),
            TimestampUs(95_000_000)
        );
    }

    #[test]
    fn another_version_too_many_authorities_and_points_of_no_key_are_refused() {
        let bytes = statement(4).encode();
        let with = |at: usize, value: u8| {
            let mut changed = bytes.clone();
            changed[at] = value;
            changed
        };
        assert_eq!(StatementHead::of(&with(0, 2)), Err(DecodeError::Version(2)));
        assert!(StatementHead::of(&with(21, 1)).is_err(), "2^24 authorities");
        assert!(StatementHead::of(&with(24, 129)).is_err());
        // The shape is that of a statement, and the key is none.
        for at in [28, 29, 61] {
            let changed = with(at, bytes[at] ^ 1);
            assert!(StatementHead::of(&changed).is_ok());
            assert!(KeyStatement::decode(&changed).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_signature_is_of_its_author_over_every_byte_and_of_nothing_else() {
        let (committee, bytes) = (committee(), statement(4).encode());
        let signature = sign_statement(&bytes, &signer(2));
        let holds = |bytes: &[u8], author: u8| {
            is_signed_by(bytes, &committee, AuthorityIndex(author), &signature)
        };
        assert!(holds(&bytes, 2));
        assert!(!holds(&bytes, 1) && !holds(&bytes, 4), "another's");
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(!holds(&changed, 2), "byte {at}");
        }
        let plain = signer(2).sign(&bytes);
        let author = AuthorityIndex(2);
        assert!(
            !is_signed_by(&bytes, &committee, author, &plain),
            "no domain"
        );
    }
}
