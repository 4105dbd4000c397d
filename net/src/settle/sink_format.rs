//! The file of the journal sink: a head, then records at 16-byte aligned offsets, so that archives can be read in place.
//!
//! ```text
//! head    magic 8 | version u8, 7 zero | chain id u64 | rollup id u64 | salt u64 | 8 zero
//! record  salt u64 | content len u32 | content crc32c u32 | synced_len u64 | kind u8, 3 zero | head crc32c u32
//!         content, zero padding to 16
//! ```
//!
//! The content of kinds 0, 1 and 2 is a batch's archive, and the kind says whose word makes it final ([`Finality`]); kind 128
//! is a certificate, or the words of f + 1 authorities: it makes final what stands before it up to the batch that it covers.
//!
//! All integers big-endian. `synced_len` is how many bytes of the file were synced when the record was written. So, as in
//! the node's journal, a flaw is a torn tail exactly when no later record head vouches for the place where it is. The salt
//! is random and the file's own, so that nobody forges a record head inside a payload.

use fairlane_engine::types::{ChainId, RollupId};
use fairlane_engine::wire::{DecodeError, Reader, Writer};

/// Whose word made a batch final for the sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Finality {
    /// The worker's own node.
    #[default]
    Node = 0,
    /// f + 1 nodes agree on the header's hash.
    Validity = 1,
    /// A certificate covers the header.
    Certificate = 2,
}

impl Finality {
    const ALL: [Self; 3] = [Self::Node, Self::Validity, Self::Certificate];

    /// As settings and lines of JSON name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Validity => "f+1",
            Self::Certificate => "certificate",
        }
    }
}

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// A batch's archive.
    Batch(Finality),
    /// An encoded [`Proof`](super::proof::Proof).
    Proof,
}

impl Content {
    const fn code(self) -> u8 {
        match self {
            Self::Batch(finality) => finality as u8,
            Self::Proof => 128,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        let mut all = Finality::ALL
            .into_iter()
            .map(Self::Batch)
            .chain([Self::Proof]);
        all.find(|known| known.code() == code)
    }
}

/// The file's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileHead {
    pub(super) chain_id: ChainId,
    pub(super) rollup_id: RollupId,
    /// Repeated by every record.
    pub(super) salt: u64,
}

impl FileHead {
    pub(super) fn encode(self) -> [u8; FILE_HEAD_LEN] {
        let mut bytes = Vec::with_capacity(FILE_HEAD_LEN);
        Writer::new(&mut bytes)
            .bytes(FILE_MAGIC)
            .u8(FORMAT_VERSION)
            .bytes(&[0; 7])
            .u64(self.chain_id.0)
            .u64(self.rollup_id.0)
            .u64(self.salt)
            .bytes(&[0; 8]);
        let mut out = [0; FILE_HEAD_LEN];
        out.copy_from_slice(&bytes);
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        if reader.bytes(FILE_MAGIC.len())? != FILE_MAGIC {
            return Err(DecodeError::NotCanonical("the magic"));
        }
        match reader.u8()? {
            FORMAT_VERSION => {}
            version => return Err(DecodeError::Version(version)),
        }
        reader.bytes(7)?;
        let head = Self {
            chain_id: ChainId(reader.u64()?),
            rollup_id: RollupId(reader.u64()?),
            salt: reader.u64()?,
        };
        reader.bytes(8)?;
        reader.finish()?;
        Ok(head)
    }
}

/// What stands before each archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordHead {
    /// The file's.
    pub(super) salt: u64,
    /// Bytes of the content, without padding.
    pub(super) len: u32,
    pub(super) crc: u32,
    pub(super) content: Content,
    /// Bytes of the file that were synced when this was written.
    pub(super) synced_len: u64,
}

impl RecordHead {
    pub(super) fn encode(self) -> [u8; RECORD_HEAD_LEN] {
        let mut out = [0; RECORD_HEAD_LEN];
        out[..8].copy_from_slice(&self.salt.to_be_bytes());
        out[8..12].copy_from_slice(&self.len.to_be_bytes());
        out[12..16].copy_from_slice(&self.crc.to_be_bytes());
        out[16..24].copy_from_slice(&self.synced_len.to_be_bytes());
        out[24] = self.content.code();
        let (covered, crc) = out.split_at_mut(RECORD_HEAD_LEN - 4);
        crc.copy_from_slice(&crc32c::crc32c(covered).to_be_bytes());
        out
    }

    /// The salt that the first bytes name, whether they are a head or not.
    pub(super) fn salt_of(bytes: &[u8; RECORD_HEAD_LEN]) -> Option<u64> {
        Reader::new(bytes).u64().ok()
    }

    /// The head in the first bytes, none if they are no head of the file with this salt.
    pub(super) fn decode(bytes: &[u8], salt: u64) -> Option<Self> {
        let bytes = bytes.get(..RECORD_HEAD_LEN)?;
        let mut reader = Reader::new(bytes);
        if reader.u64().ok()? != salt {
            return None;
        }
        let (len, crc) = (reader.u32().ok()?, reader.u32().ok()?);
        let (synced_len, code) = (reader.u64().ok()?, reader.u8().ok()?);
        reader.bytes(3).ok()?;
        let (covered, _) = bytes.split_at(RECORD_HEAD_LEN - 4);
        if reader.u32().ok()? != crc32c::crc32c(covered) {
            return None;
        }
        Some(Self {
            salt,
            len,
            crc,
            content: Content::from_code(code)?,
            synced_len,
        })
    }
}

/// Bytes that a record takes in the file.
pub(super) const fn record_len(archive_len: usize) -> usize {
    RECORD_HEAD_LEN + archive_len.next_multiple_of(ALIGN)
}

const FILE_MAGIC: &[u8; 8] = b"FLSETTLE";
/// Version of the format, in the file's head.
pub(super) const FORMAT_VERSION: u8 = 1;
/// Where the salt stands in the file's head.
pub(super) const SALT_AT: u64 = 32;
/// Bytes before the first record.
pub(super) const FILE_HEAD_LEN: usize = 48;
/// Bytes before each archive.
pub(super) const RECORD_HEAD_LEN: usize = 32;
/// Alignment of records and archives in the file.
pub(super) const ALIGN: usize = 16;
/// The sink's file in its folder.
pub(super) const FILE_NAME: &str = "settled.log";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_heads() {
        let head = FileHead {
            chain_id: ChainId(1),
            rollup_id: RollupId(0x0203),
            salt: 0x99,
        };
        let bytes = head.encode();
        let golden = concat!(
            "464c534554544c450100000000000000",
            "00000000000000010000000000000203",
            "00000000000000990000000000000000",
        );
        assert_eq!(hex::encode(bytes), golden);
        assert_eq!(FileHead::decode(&bytes), Ok(head));
        let record = RecordHead {
            salt: 0x99,
            len: 5,
            crc: 0x0a0b_0c0d,
            content: Content::Batch(Finality::Validity),
            synced_len: 64,
        };
        let bytes = record.encode();
        let golden = "0000000000000099000000050a0b0c0d00000000000000400100000068da6e7f";
        assert_eq!(hex::encode(bytes), golden);
        assert_eq!(RecordHead::decode(&bytes, 0x99), Some(record));
        assert_eq!(
            RecordHead::decode(&bytes, 0x98),
            None,
            "of another file, or forged"
        );
    }

    #[test]
    fn any_flipped_bit_of_a_record_head_is_noticed() {
        let content = Content::Batch(Finality::Node);
        let record = RecordHead {
            salt: 3,
            len: 5,
            crc: 7,
            content,
            synced_len: 64,
        };
        for bit in 0..8 * RECORD_HEAD_LEN {
            let mut bytes = record.encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(RecordHead::decode(&bytes, 3), None, "bit {bit}");
        }
    }
}
