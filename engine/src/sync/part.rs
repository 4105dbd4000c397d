//! What a node that was away asks for piece by piece, and the pieces' encoding.
//!
//! Everything that is too long for one message, or may be, is cut into parts of [`PART_LEN_MAX`] bytes: the requester
//! asks for them one by one, so what is on its way to it is bounded by what it asked for.

use crate::types::{BatchSeq, Round};
use crate::wire::{DecodeError, Reader, Writer};

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    /// The newest checkpoint of an anchor above this round, and what proves it: see [`super::proof`].
    Proof(Round),
    /// The state of the checkpoint with this seq, as [`crate::state::State::transfer`] writes it.
    State(BatchSeq),
    /// Up to [`HEADERS_MAX`] headers of batches that end with this seq, ascending.
    Headers(BatchSeq),
    /// The archive of this batch.
    Batch(BatchSeq),
}

/// A request for one part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WantPart {
    /// Of what.
    pub item: Item,
    /// Which part, from 0.
    pub index: u32,
}

/// One part, or, when `of_len` is 0, that the item is not here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What was asked for.
    pub want: WantPart,
    /// Length of the whole item in bytes.
    pub of_len: u32,
    /// The bytes from `index * PART_LEN_MAX` on, [`PART_LEN_MAX`] of them or as many as are left.
    pub bytes: Vec<u8>,
}

impl Item {
    fn code(self) -> (u8, u64) {
        match self {
            Self::Proof(above) => (1, above.0),
            Self::State(seq) => (2, seq.0),
            Self::Headers(last) => (3, last.0),
            Self::Batch(seq) => (4, seq.0),
        }
    }

    fn from_code(code: u8, number: u64) -> Result<Self, DecodeError> {
        match code {
            1 => Ok(Self::Proof(Round(number))),
            2 => Ok(Self::State(BatchSeq(number))),
            3 => Ok(Self::Headers(BatchSeq(number))),
            4 => Ok(Self::Batch(BatchSeq(number))),
            _ => Err(DecodeError::NotCanonical("item")),
        }
    }
}

impl WantPart {
    /// Appends the encoding: item u8, its number u64, index u32.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (code, number) = self.item.code();
        Writer::new(out).u8(code).u64(number).u32(self.index);
    }

    /// Reads what [`WantPart::encode`] wrote. Errors: truncated, or an unknown item.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (code, number) = (reader.u8()?, reader.u64()?);
        Ok(Self {
            item: Item::from_code(code, number)?,
            index: reader.u32()?,
        })
    }
}

impl Part {
    /// The part of `item` that is asked for; "not here" when there is no item or no such part.
    pub fn of(want: WantPart, item: Option<&[u8]>) -> Self {
        let bytes = item.unwrap_or_default();
        let start = (want.index as usize).saturating_mul(PART_LEN_MAX);
        let (of_len, bytes) = match bytes.get(start..) {
            Some(rest) if !rest.is_empty() => {
                (bytes.len() as u32, &rest[..rest.len().min(PART_LEN_MAX)])
            }
            _ => (0, &[][..]),
        };
        Self {
            want,
            of_len,
            bytes: bytes.to_vec(),
        }
    }

    /// Appends the encoding: the request, length of the item u32, length of the part u32, its bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.want.encode(out);
        Writer::new(out)
            .u32(self.of_len)
            .count_u32(self.bytes.len())
            .bytes(&self.bytes);
    }

    /// Reads what [`Part::encode`] wrote. Errors: truncated, or longer than [`PART_LEN_MAX`].
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let want = WantPart::decode(reader)?;
        let of_len = reader.u32()?;
        let len = reader.count_u32("part", PART_LEN_MAX as u32)?;
        let bytes = reader.bytes(len)?.to_vec();
        Ok(Self {
            want,
            of_len,
            bytes,
        })
    }
}

/// Bytes of one part at most.
pub const PART_LEN_MAX: usize = 64 << 10;
/// Headers in one answer at most.
pub const HEADERS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_cut_into_parts_and_what_is_not_here_is_said() {
        let item = Item::Batch(BatchSeq(1));
        let bytes: Vec<u8> = (0..PART_LEN_MAX + 3).map(|at| at as u8).collect();
        let part = |index| Part::of(WantPart { item, index }, Some(&bytes));
        assert_eq!(part(0).bytes, bytes[..PART_LEN_MAX]);
        assert_eq!(part(1).bytes, bytes[PART_LEN_MAX..]);
        assert_eq!(part(1).of_len as usize, bytes.len());
        for beyond in [part(2), part(u32::MAX), Part::of(part(0).want, None)] {
            assert_eq!((beyond.of_len, beyond.bytes.len()), (0, 0));
        }
    }

    #[test]
    fn a_part_above_its_bound_and_an_unknown_item_are_refused() {
        let item = Item::State(BatchSeq(1));
        let want = WantPart { item, index: 0 };
        let bytes = vec![0; PART_LEN_MAX + 1];
        let (mut out, of_len) = (Vec::new(), 9);
        Part {
            want,
            of_len,
            bytes,
        }
        .encode(&mut out);
        let refused = Part::decode(&mut Reader::new(&out));
        assert!(
            matches!(refused, Err(DecodeError::TooLarge { .. })),
            "{refused:?}"
        );
        out[0] = 5;
        assert!(WantPart::decode(&mut Reader::new(&out)).is_err());
    }
}
