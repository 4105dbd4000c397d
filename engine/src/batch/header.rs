//! The batch header: 181 bytes at fixed offsets, big-endian, written by hand.
//!
//! An archive is no signing format (its layout belongs to a library), and a contract must be able to cut fields out of
//! the header by offset, so this encoding depends on nothing but this file. The header hash is SHA-256 of the bytes;
//! each header names the hash of the one before, so one certificate covers all batches up to its own.
//!
//! I1 one value, one encoding: `decode(encode(h)) == h` and every accepted byte string re-encodes to itself.

use sha2::{Digest as _, Sha256};

use crate::types::{BatchSeq, ChainId, Epoch, Round, Sha256Hash, TimestampUs};
use crate::wire::{DecodeError, Reader};

/// What is agreed about one batch. All integers are unsigned and big-endian in the encoding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchHeader {
    /// The chain that the committee serves.
    pub chain_id: ChainId,
    /// The epoch in which the batch was emitted.
    pub epoch: Epoch,
    /// Place in the chain of batches, from 0 in each epoch.
    pub seq: BatchSeq,
    /// Hash of the header before; all zero for the first batch of the chain.
    pub previous: Sha256Hash,
    /// Round of the anchor that emitted the entries; an emission may span several batches.
    pub anchor_round: Round,
    /// Consensus time of that anchor, microseconds.
    pub time_us: TimestampUs,
    /// Merkle root over the digests, in order.
    pub order_root: Sha256Hash,
    /// Merkle root over the reveals, in order.
    pub payload_root: Sha256Hash,
    /// Hash of the ordering state where the header is a checkpoint, else all zero.
    pub state_root: Sha256Hash,
    /// Entries in the batch, void ones too.
    pub entries: u32,
    /// Entries that are void.
    pub void: u32,
    /// Entries that no longer waited for unready members of their own group.
    pub group_wait_cut: u32,
    /// Entries emitted because the deferral cap fired.
    pub cap_fired: u32,
}

impl BatchHeader {
    /// The canonical bytes: what is hashed, archived and certified.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut out = [0u8; HEADER_LEN];
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        put(VERSION_AT, &[HEADER_VERSION]);
        put(CHAIN_ID_AT, &self.chain_id.0.to_be_bytes());
        put(EPOCH_AT, &self.epoch.0.to_be_bytes());
        put(SEQ_AT, &self.seq.0.to_be_bytes());
        put(PREVIOUS_AT, &self.previous.0);
        put(ANCHOR_ROUND_AT, &self.anchor_round.0.to_be_bytes());
        put(TIME_US_AT, &self.time_us.0.to_be_bytes());
        put(ORDER_ROOT_AT, &self.order_root.0);
        put(PAYLOAD_ROOT_AT, &self.payload_root.0);
        put(STATE_ROOT_AT, &self.state_root.0);
        put(ENTRIES_AT, &self.entries.to_be_bytes());
        put(VOID_AT, &self.void.to_be_bytes());
        put(GROUP_WAIT_CUT_AT, &self.group_wait_cut.to_be_bytes());
        put(CAP_FIRED_AT, &self.cap_fired.to_be_bytes());
        out
    }

    /// Reads the canonical bytes. Errors: unknown version, truncated, trailing bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        match reader.u8()? {
            HEADER_VERSION => {}
            version => return Err(DecodeError::Version(version)),
        }
        let header = Self {
            chain_id: ChainId(reader.u64()?),
            epoch: Epoch(reader.u32()?),
            seq: BatchSeq(reader.u64()?),
            previous: reader.sha256()?,
            anchor_round: Round(reader.u64()?),
            time_us: reader.timestamp()?,
            order_root: reader.sha256()?,
            payload_root: reader.sha256()?,
            state_root: reader.sha256()?,
            entries: reader.u32()?,
            void: reader.u32()?,
            group_wait_cut: reader.u32()?,
            cap_fired: reader.u32()?,
        };
        reader.finish()?;
        Ok(header)
    }

    /// SHA-256 of the canonical bytes.
    pub fn hash(&self) -> Sha256Hash {
        Sha256Hash(Sha256::digest(self.encode()).into())
    }

    /// Whether this header comes directly after `previous`: same chain, its hash named, the next seq (or the first of a
    /// later epoch).
    pub fn follows(&self, previous: &Self) -> bool {
        let next_in_epoch =
            self.epoch == previous.epoch && previous.seq.0.checked_add(1) == Some(self.seq.0);
        let first_of_epoch = self.epoch > previous.epoch && self.seq == BatchSeq(0);
        self.chain_id == previous.chain_id
            && (next_in_epoch || first_of_epoch)
            && self.previous == previous.hash()
    }

    /// Whether this may be the very first header of a chain.
    pub fn is_first(&self) -> bool {
        self.seq == BatchSeq(0) && self.previous == Sha256Hash::default()
    }
}

/// Version of the header's encoding.
pub const HEADER_VERSION: u8 = 1;
/// Bytes of an encoded header.
pub const HEADER_LEN: usize = CAP_FIRED_AT + 4;

/// Offset of the version, 1 byte.
pub const VERSION_AT: usize = 0;
/// Offset of the chain id, 8 bytes.
pub const CHAIN_ID_AT: usize = 1;
/// Offset of the epoch, 4 bytes.
pub const EPOCH_AT: usize = 9;
/// Offset of the seq, 8 bytes.
pub const SEQ_AT: usize = 13;
/// Offset of the previous header's hash, 32 bytes.
pub const PREVIOUS_AT: usize = 21;
/// Offset of the anchor's round, 8 bytes.
pub const ANCHOR_ROUND_AT: usize = 53;
/// Offset of the consensus time in microseconds, 8 bytes.
pub const TIME_US_AT: usize = 61;
/// Offset of the order root, 32 bytes.
pub const ORDER_ROOT_AT: usize = 69;
/// Offset of the payload root, 32 bytes.
pub const PAYLOAD_ROOT_AT: usize = 101;
/// Offset of the state root, 32 bytes.
pub const STATE_ROOT_AT: usize = 133;
/// Offset of the count of entries, 4 bytes.
pub const ENTRIES_AT: usize = 165;
/// Offset of the count of void entries, 4 bytes.
pub const VOID_AT: usize = 169;
/// Offset of the count of entries whose group wait was cut, 4 bytes.
pub const GROUP_WAIT_CUT_AT: usize = 173;
/// Offset of the count of entries for which the deferral cap fired, 4 bytes.
pub const CAP_FIRED_AT: usize = 177;

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> BatchHeader {
        BatchHeader {
            chain_id: ChainId(0x0102_0304_0506_0708),
            epoch: Epoch(0x090a_0b0c),
            seq: BatchSeq(0x0d0e_0f10_1112_1314),
            previous: Sha256Hash([0x20; 32]),
            anchor_round: Round(0x2122_2324_2526_2728),
            time_us: TimestampUs(0x292a_2b2c_2d2e_2f30),
            order_root: Sha256Hash([0x31; 32]),
            payload_root: Sha256Hash([0x32; 32]),
            state_root: Sha256Hash([0x33; 32]),
            entries: 0x4142_4344,
            void: 0x4546_4748,
            group_wait_cut: 0x494a_4b4c,
            cap_fired: 0x4d4e_4f50,
        }
    }

    #[test]
    fn golden_bytes_stand_at_their_offsets() {
        let golden = concat!(
            "01",
            "0102030405060708",
            "090a0b0c",
            "0d0e0f1011121314",
            "2020202020202020202020202020202020202020202020202020202020202020",
            "2122232425262728",
            "292a2b2c2d2e2f30",
            "3131313131313131313131313131313131313131313131313131313131313131",
            "3232323232323232323232323232323232323232323232323232323232323232",
            "3333333333333333333333333333333333333333333333333333333333333333",
            "41424344",
            "45464748",
            "494a4b4c",
            "4d4e4f50",
        );
        let bytes = header().encode();
        assert_eq!(hex::encode(bytes), golden);
        assert_eq!(bytes.len(), 181);
        assert_eq!(bytes[SEQ_AT], 0x0d);
        assert_eq!(bytes[STATE_ROOT_AT], 0x33);
        assert_eq!(bytes[CAP_FIRED_AT], 0x4d);
        let hash = "6d246584a44c989bb6cc60704fb35c6b2e36b95476649ba3e685576c9b856f0d";
        assert_eq!(header().hash().to_string(), hash);
    }

    #[test]
    fn every_bit_is_covered_and_what_decodes_encodes_to_the_same_bytes() {
        let bytes = header().encode();
        assert_eq!(BatchHeader::decode(&bytes), Ok(header()));
        for bit in 0..8 * HEADER_LEN {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            match BatchHeader::decode(&flipped) {
                Ok(other) => {
                    assert_eq!(other.encode(), flipped);
                    assert_ne!(other.hash(), header().hash(), "bit {bit}");
                }
                Err(error) => assert!(matches!(error, DecodeError::Version(_)), "bit {bit}"),
            }
        }
    }

    #[test]
    fn a_header_of_another_length_is_refused() {
        let bytes = header().encode();
        for len in 0..HEADER_LEN {
            assert!(BatchHeader::decode(&bytes[..len]).is_err(), "{len} bytes");
        }
        let long = [&bytes[..], &[0]].concat();
        assert_eq!(BatchHeader::decode(&long), Err(DecodeError::Trailing(1)));
    }

    #[test]
    fn a_header_follows_only_its_own_predecessor() {
        let first = BatchHeader {
            entries: 1,
            ..BatchHeader::default()
        };
        assert!(first.is_first());
        let second = BatchHeader {
            seq: BatchSeq(1),
            previous: first.hash(),
            ..first
        };
        assert!(second.follows(&first));
        assert!(!second.is_first());
        assert!(
            !BatchHeader {
                seq: BatchSeq(2),
                ..second
            }
            .follows(&first)
        );
        assert!(
            !BatchHeader {
                previous: second.hash(),
                ..second
            }
            .follows(&first)
        );
        assert!(
            !BatchHeader {
                chain_id: ChainId(9),
                ..second
            }
            .follows(&first)
        );
        let new_epoch = BatchHeader {
            epoch: Epoch(1),
            seq: BatchSeq(0),
            previous: second.hash(),
            ..second
        };
        assert!(new_epoch.follows(&second));
        assert!(
            !BatchHeader {
                seq: BatchSeq(1),
                ..new_epoch
            }
            .follows(&second)
        );
    }
}
