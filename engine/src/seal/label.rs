//! The label: the clear part of an envelope, 64 bytes, big-endian, bound into its key and its proof.
//!
//! Byte by byte: version 1 | kind 1 | padding 1 | reserved 1 | rollup id 8 | chain id 8 | key id 16 | valid_until_us 8
//! | sender tag 16 | payload length 4. The payload length counts what is carried, padding included, because batches
//! are cut by it before anything is opened.
//!
//! The sender tag is opaque: nobody authenticates it, and no quota may look at it.

use crate::types::{ChainId, KeyId, RollupId, TimestampUs};
use crate::wire::{DecodeError, Reader, Writer};

/// The clear part of an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// Sealed or open.
    pub kind: EnvelopeKind,
    /// How the carried payload is padded.
    pub padding: Padding,
    /// The rollup that the envelope is for.
    pub rollup: RollupId,
    /// The chain that the committee serves.
    pub chain_id: ChainId,
    /// The committee key of the epoch it is for.
    pub key_id: KeyId,
    /// Consensus time after which it is not ordered any more.
    pub valid_until: TimestampUs,
    /// Opaque bytes of the sender's choice.
    pub sender_tag: [u8; 16],
    /// Length of the payload as carried, padding included, in bytes.
    pub payload_len: u32,
}

/// Whether the payload of an envelope is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvelopeKind {
    /// Readable by anyone; for rollups whose policy allows it.
    Open,
    /// Readable once its place in the order is final.
    Sealed,
}

/// How a payload is padded to hide its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// Not at all.
    None,
    /// One byte 0x80, then zeros (ISO/IEC 7816-4).
    Iso7816,
}

impl Label {
    /// The label's one encoding.
    pub fn encode(&self) -> [u8; LABEL_LEN] {
        let mut bytes = Vec::with_capacity(LABEL_LEN);
        Writer::new(&mut bytes)
            .u8(LABEL_VERSION)
            .u8(match self.kind {
                EnvelopeKind::Open => 0,
                EnvelopeKind::Sealed => 1,
            })
            .u8(match self.padding {
                Padding::None => 0,
                Padding::Iso7816 => 1,
            })
            .u8(0)
            .u64(self.rollup.0)
            .u64(self.chain_id.0)
            .bytes(&self.key_id.0)
            .u64(self.valid_until.0)
            .bytes(&self.sender_tag)
            .u32(self.payload_len);
        bytes
            .try_into()
            .expect("the fields of a label add up to its length")
    }

    /// Reads a label.
    ///
    /// Errors: an unknown version, kind or padding, a reserved byte that is not 0, or padding on an empty payload
    /// (padding takes at least one byte).
    pub fn decode(bytes: &[u8; LABEL_LEN]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if version != LABEL_VERSION {
            return Err(DecodeError::Version(version));
        }
        let kind = match reader.u8()? {
            0 => EnvelopeKind::Open,
            1 => EnvelopeKind::Sealed,
            _ => return Err(DecodeError::NotCanonical("envelope kind")),
        };
        let padding = match reader.u8()? {
            0 => Padding::None,
            1 => Padding::Iso7816,
            _ => return Err(DecodeError::NotCanonical("padding")),
        };
        if reader.u8()? != 0 {
            return Err(DecodeError::NotCanonical("reserved byte"));
        }
        let label = Self {
            kind,
            padding,
            rollup: RollupId(reader.u64()?),
            chain_id: ChainId(reader.u64()?),
            key_id: reader.key_id()?,
            valid_until: reader.timestamp()?,
            sender_tag: reader.array()?,
            payload_len: reader.u32()?,
        };
        reader.finish()?;
        if label.padding == Padding::Iso7816 && label.payload_len == 0 {
            return Err(DecodeError::NotCanonical("padded length"));
        }
        Ok(label)
    }

    /// What the client put in: `carried` without its padding.
    ///
    /// `None` when the padding that the label announces is not there. Padding is inside the seal, so this is never a
    /// reason to refuse an envelope or to make it void: such a payload stands in the batch as carried.
    pub fn content<'a>(&self, carried: &'a [u8]) -> Option<&'a [u8]> {
        if self.padding == Padding::None {
            return Some(carried);
        }
        let marker = carried.iter().rposition(|byte| *byte != 0)?;
        (carried[marker] == PADDING_MARKER).then(|| &carried[..marker])
    }
}

/// Length of an encoded label, in bytes.
pub const LABEL_LEN: usize = 64;
/// The first byte of ISO/IEC 7816-4 padding.
pub(super) const PADDING_MARKER: u8 = 0x80;
const LABEL_VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn label() -> Label {
        Label {
            kind: EnvelopeKind::Sealed,
            padding: Padding::Iso7816,
            rollup: RollupId(0x0102_0304_0506_0708),
            chain_id: ChainId(0x1112_1314_1516_1718),
            key_id: KeyId([0xaa; 16]),
            valid_until: TimestampUs(0x2122_2324_2526_2728),
            sender_tag: [0xbb; 16],
            payload_len: 0x3132_3334,
        }
    }

    #[test]
    fn the_encoding_is_these_bytes() {
        let golden = "01010100\
                      0102030405060708\
                      1112131415161718\
                      aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
                      2122232425262728\
                      bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\
                      31323334";
        assert_eq!(hex::encode(label().encode()), golden);
        assert_eq!(Label::decode(&label().encode()), Ok(label()));
        let open = Label {
            kind: EnvelopeKind::Open,
            padding: Padding::None,
            ..label()
        };
        assert_eq!(open.encode()[..4], [1, 0, 0, 0]);
        assert_eq!(Label::decode(&open.encode()), Ok(open));
    }

    #[test]
    fn unknown_versions_kinds_paddings_and_reserved_bits_are_refused() {
        let cases = [
            (0, DecodeError::Version(2)),
            (1, DecodeError::NotCanonical("envelope kind")),
            (2, DecodeError::NotCanonical("padding")),
            (3, DecodeError::NotCanonical("reserved byte")),
        ];
        for (at, refused) in cases {
            let mut bytes = label().encode();
            bytes[at] = 2;
            assert_eq!(Label::decode(&bytes), Err(refused));
        }
    }

    #[test]
    fn padding_without_a_byte_for_it_is_refused() {
        let empty = Label {
            payload_len: 0,
            ..label()
        };
        let refused = DecodeError::NotCanonical("padded length");
        assert_eq!(Label::decode(&empty.encode()), Err(refused));
    }

    #[test]
    fn every_decodable_label_has_one_encoding() {
        for at in 0..LABEL_LEN {
            for bit in 0..8 {
                let mut bytes = label().encode();
                bytes[at] ^= 1 << bit;
                if let Ok(decoded) = Label::decode(&bytes) {
                    assert_ne!(decoded, label(), "byte {at} bit {bit} means nothing");
                    assert_eq!(decoded.encode(), bytes);
                }
            }
        }
    }

    #[test]
    fn content_is_what_stands_before_the_marker() {
        let padded = label();
        assert_eq!(padded.content(b"ab\x80\0\0"), Some(&b"ab"[..]));
        assert_eq!(padded.content(b"ab\x80\x80"), Some(&b"ab\x80"[..]));
        assert_eq!(padded.content(b"\x80"), Some(&b""[..]));
        assert_eq!(padded.content(b"ab"), None, "no marker");
        assert_eq!(padded.content(b"\0\0"), None, "only zeros");
        let plain = Label {
            padding: Padding::None,
            ..label()
        };
        assert_eq!(plain.content(b"ab\x80"), Some(&b"ab\x80"[..]));
    }
}
