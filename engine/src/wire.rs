//! Canonical binary encoding: big-endian integers, length-checked reads, no allocation before the length is known.
//!
//! Every format of ours (label, vertex, share message, frames) is written by [`Writer`] and read by [`Reader`]; a
//! decoder must end with [`Reader::finish`], so trailing bytes are refused and each value has exactly one encoding.

use crate::types::{Digest, KeyId, Sha256Hash, TimestampUs};

/// Why bytes were not a canonical encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end before the value does.
    #[error("truncated: {wanted} bytes wanted, {left} left")]
    Truncated {
        /// Bytes that the next field takes.
        wanted: usize,
        /// Bytes that are left.
        left: usize,
    },
    /// Bytes are left after the last field.
    #[error("{0} trailing bytes")]
    Trailing(usize),
    /// A count or length is above its named bound.
    #[error("{field} is {value}, above its bound {max}")]
    TooLarge {
        /// The field's name.
        field: &'static str,
        /// What the bytes claim.
        value: u64,
        /// The bound.
        max: u64,
    },
    /// A field holds a value that no correct encoder writes.
    #[error("{0} is not canonical")]
    NotCanonical(&'static str),
    /// A format version that this build does not know.
    #[error("version {0} is unknown")]
    Version(u8),
}

/// Reads a canonical encoding from the front of a byte slice.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// How many bytes are left.
    pub const fn left(&self) -> usize {
        self.rest.len()
    }

    /// The next `len` bytes. Errors: [`DecodeError::Truncated`].
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        if self.rest.len() < len {
            return Err(DecodeError::Truncated {
                wanted: len,
                left: self.rest.len(),
            });
        }
        let (head, rest) = self.rest.split_at(len);
        self.rest = rest;
        Ok(head)
    }

    /// The next `N` bytes as an array. Errors: [`DecodeError::Truncated`].
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut out = [0u8; N];
        out.copy_from_slice(self.bytes(N)?);
        Ok(out)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    /// Two bytes, big-endian.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    /// Four bytes, big-endian.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// Eight bytes, big-endian.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// A count of items, refused above `max` before anything is allocated for it.
    pub fn count_u32(&mut self, field: &'static str, max: u32) -> Result<usize, DecodeError> {
        let value = self.u32()?;
        if value > max {
            return Err(DecodeError::TooLarge {
                field,
                value: value.into(),
                max: max.into(),
            });
        }
        Ok(value as usize)
    }

    /// A 32-byte BLAKE3 digest.
    pub fn digest(&mut self) -> Result<Digest, DecodeError> {
        Ok(Digest(self.array()?))
    }

    /// A 32-byte SHA-256 hash.
    pub fn sha256(&mut self) -> Result<Sha256Hash, DecodeError> {
        Ok(Sha256Hash(self.array()?))
    }

    /// A 16-byte key id.
    pub fn key_id(&mut self) -> Result<KeyId, DecodeError> {
        Ok(KeyId(self.array()?))
    }

    /// A timestamp in microseconds.
    pub fn timestamp(&mut self) -> Result<TimestampUs, DecodeError> {
        Ok(TimestampUs(self.u64()?))
    }

    /// Refuses trailing bytes.
    pub fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::Trailing(self.rest.len()))
        }
    }
}

/// Writes a canonical encoding to the end of a byte vector.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    /// Appends to `out`; what is already there stays.
    pub const fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    /// Raw bytes, without a length.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.out.extend_from_slice(bytes);
        self
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.out.push(value);
        self
    }

    /// Two bytes, big-endian.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    /// Four bytes, big-endian.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    /// Eight bytes, big-endian.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    /// A count, four bytes. Panics above `u32::MAX`: our own bounds are far below it.
    pub fn count_u32(&mut self, count: usize) -> &mut Self {
        self.u32(u32::try_from(count).expect("every count we write is bounded far below 2^32"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut bytes = Vec::new();
        Writer::new(&mut bytes)
            .u8(7)
            .u16(0x0102)
            .u32(0x0304_0506)
            .u64(9)
            .bytes(b"abc");
        assert_eq!(bytes[..3], [7, 1, 2]);
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.u8(), Ok(7));
        assert_eq!(reader.u16(), Ok(0x0102));
        assert_eq!(reader.u32(), Ok(0x0304_0506));
        assert_eq!(reader.u64(), Ok(9));
        assert_eq!(reader.bytes(3), Ok(&b"abc"[..]));
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn a_short_read_is_refused_and_leaves_the_rest() {
        let mut reader = Reader::new(&[1, 2]);
        assert_eq!(
            reader.u32(),
            Err(DecodeError::Truncated { wanted: 4, left: 2 })
        );
        assert_eq!(reader.u16(), Ok(0x0102));
    }

    #[test]
    fn a_count_above_its_bound_and_trailing_bytes_are_refused() {
        let mut reader = Reader::new(&[0, 0, 1, 0, 9]);
        let refused = DecodeError::TooLarge {
            field: "entries",
            value: 256,
            max: 255,
        };
        assert_eq!(reader.count_u32("entries", 255), Err(refused));
        assert_eq!(reader.finish(), Err(DecodeError::Trailing(1)));
    }
}
