//! Records and their frames.

use fairlane_engine::types::{AuthorityIndex, ChainId, Epoch};
use fairlane_engine::wire::{DecodeError, Reader, Writer};

use super::{BODY_LEN_MAX, JournalIdentity};

/// What a record holds. The codes stand in the files: never reuse one (8 was of own share messages, made anew instead).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// First in every segment: format version, chain, authority, number of the segment's first record. The journal's own.
    Header = 1,
    /// How many records were synced when this was written. The journal's own.
    Durable = 2,
    /// The bytes of an envelope.
    Envelope = 3,
    /// A vertex of this node: durable before it is sent.
    OwnVertex = 4,
    /// A vertex of somebody else.
    Vertex = 5,
    /// An anchor that was decided.
    Anchor = 6,
    /// A batch that was opened: its header, its archive.
    Batch = 7,
    /// Evidence of a faulty authority.
    Evidence = 9,
    /// Part of a state that was taken over from a peer.
    State = 10,
    /// Part of an own snapshot.
    Snapshot = 11,
    /// A certificate, of a batch that is recorded before it.
    Certificate = 12,
    /// A share message of a batch with void entries, its proof checked.
    Share = 13,
}

impl Kind {
    const ALL: [Self; 12] = [
        Self::Header,
        Self::Durable,
        Self::Envelope,
        Self::OwnVertex,
        Self::Vertex,
        Self::Anchor,
        Self::Batch,
        Self::Evidence,
        Self::State,
        Self::Snapshot,
        Self::Certificate,
        Self::Share,
    ];

    const fn code(self) -> u8 {
        self as u8
    }

    fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// Whether the journal writes this kind for itself: such records have no number.
    pub const fn is_own(self) -> bool {
        matches!(self, Self::Header | Self::Durable)
    }
}

/// A record to be written; its body may be shared with whoever sends the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<B> {
    /// What it holds, none of the journal's own kinds.
    pub kind: Kind,
    /// The epoch that it belongs to.
    pub epoch: Epoch,
    /// Its bytes, at most [`BODY_LEN_MAX`].
    pub body: B,
}

/// What stands at some place of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed<'a> {
    /// A whole record.
    Frame {
        kind: Kind,
        epoch: Epoch,
        body: &'a [u8],
    },
    /// Zeros, or nothing: no record was written here.
    End,
    /// Something that is no record.
    Bad(&'static str),
    /// A whole record of a kind that this program does not know: a newer one wrote it.
    Unknown(u8),
}

/// Appends the frame of a record to `out`.
pub(super) fn push_frame(out: &mut Vec<u8>, kind: Kind, epoch: Epoch, body: &[u8]) {
    let start = out.len();
    Writer::new(out)
        .count_u32(body.len())
        .u8(kind.code())
        .u32(epoch.0);
    let crc = crc32c::crc32c_append(crc32c::crc32c(&out[start..]), body);
    Writer::new(out).u32(crc).bytes(body);
}

/// Reads the frame at the start of `bytes`.
pub(super) fn parse(bytes: &[u8]) -> Parsed<'_> {
    let frame_head = &bytes[..bytes.len().min(FRAME_HEADER_LEN)];
    if frame_head.iter().all(|byte| *byte == 0) {
        return Parsed::End;
    }
    let mut reader = Reader::new(bytes);
    let (Ok(len), Ok(code), Ok(epoch), Ok(crc)) =
        (reader.u32(), reader.u8(), reader.u32(), reader.u32())
    else {
        return Parsed::Bad("its header is cut off");
    };
    if len as usize > BODY_LEN_MAX {
        return Parsed::Bad("its length is above the bound");
    }
    let Ok(body) = reader.bytes(len as usize) else {
        return Parsed::Bad("it is cut off");
    };
    if crc32c::crc32c_append(crc32c::crc32c(&bytes[..CRC_AT]), body) != crc {
        return Parsed::Bad("its checksum does not hold");
    }
    match Kind::from_code(code) {
        Some(kind) => Parsed::Frame {
            kind,
            epoch: Epoch(epoch),
            body,
        },
        None => Parsed::Unknown(code),
    }
}

/// What the first bytes of a frame say, before its checksum is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHead {
    pub(super) kind: Kind,
    pub(super) epoch: Epoch,
    pub(super) body_len: u32,
}

impl FrameHead {
    /// None where no frame begins.
    pub(super) fn parse(head: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(head);
        let (body_len, code, epoch) = (reader.u32(), reader.u8(), reader.u32());
        let (body_len, epoch) = (body_len.ok()?, Epoch(epoch.ok()?));
        let kind = Kind::from_code(code.ok()?)?;
        (body_len as usize <= BODY_LEN_MAX).then_some(Self {
            kind,
            epoch,
            body_len,
        })
    }
}

/// Bytes of the frame of a body of `len` bytes.
pub(super) const fn frame_len(len: usize) -> usize {
    FRAME_HEADER_LEN + len
}

/// The body of a [`Kind::Header`] record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) identity: JournalIdentity,
    /// Number of the first record in the segment: all before are in earlier segments, and synced.
    pub(super) first_record: u64,
    /// Drawn at random for each segment and repeated in its marks: a client that writes the bytes of a mark into an
    /// envelope cannot know it, so a forged mark never makes a torn tail look corrupt.
    pub(super) salt: u64,
}

impl SegmentHeader {
    /// The whole frame.
    pub(super) fn to_frame(self) -> Vec<u8> {
        let mut body = Vec::with_capacity(HEADER_FRAME_LEN);
        Writer::new(&mut body)
            .u8(FORMAT_VERSION)
            .u64(self.identity.chain_id.0)
            .u8(self.identity.authority.0)
            .u64(self.first_record)
            .u64(self.salt);
        let mut frame = Vec::with_capacity(HEADER_FRAME_LEN);
        push_frame(&mut frame, Kind::Header, Epoch(0), &body);
        frame
    }

    pub(super) fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        match reader.u8()? {
            FORMAT_VERSION => {}
            version => return Err(DecodeError::Version(version)),
        }
        let chain_id = ChainId(reader.u64()?);
        let authority = AuthorityIndex(reader.u8()?);
        let identity = JournalIdentity {
            chain_id,
            authority,
        };
        let (first_record, salt) = (reader.u64()?, reader.u64()?);
        reader.finish()?;
        Ok(Self {
            identity,
            first_record,
            salt,
        })
    }
}

/// Appends a [`Kind::Durable`] mark: `records` records were synced when it was written.
pub(super) fn push_durable_mark(out: &mut Vec<u8>, salt: u64, records: u64) {
    let mut body = [0; 16];
    body[..8].copy_from_slice(&salt.to_be_bytes());
    body[8..].copy_from_slice(&records.to_be_bytes());
    push_frame(out, Kind::Durable, Epoch(0), &body);
}

/// The largest count that any mark of the segment in `bytes` vouches for, whatever lies around the marks.
///
/// O(bytes): a mark is recognised by its first nine bytes before its checksum is computed. The zeros at the end cost a
/// comparison of blocks only: no mark begins in them, for its kind is not zero.
pub(super) fn durable_claim_max(bytes: &[u8], salt: u64) -> u64 {
    let mut mark = Vec::with_capacity(MARK_FRAME_LEN);
    push_durable_mark(&mut mark, salt, 0);
    let head = &mark[..CRC_AT];
    // The last mark may itself end in zeros.
    let end = bytes.len().min(written_len(bytes) + MARK_FRAME_LEN);
    bytes[..end]
        .windows(MARK_FRAME_LEN)
        .filter(|window| window.starts_with(head))
        .filter_map(|window| match parse(window) {
            Parsed::Frame {
                kind: Kind::Durable,
                body,
                ..
            } => body.strip_prefix(&salt.to_be_bytes()),
            _ => None,
        })
        .filter_map(|count| count.try_into().ok())
        .map(u64::from_be_bytes)
        .max()
        .unwrap_or(0)
}

/// How many of `bytes` are left without the zeros at their end.
pub(super) fn written_len(bytes: &[u8]) -> usize {
    let is_zero = |block: &&[u8]| **block == ZEROS[..block.len()];
    let zeros: usize = bytes
        .rchunks(ZEROS.len())
        .take_while(is_zero)
        .map(<[u8]>::len)
        .sum();
    let bytes = &bytes[..bytes.len() - zeros];
    bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1)
}

/// Version of the format, in every segment's header.
pub(super) const FORMAT_VERSION: u8 = 1;
const CRC_AT: usize = 9;
pub(super) const FRAME_HEADER_LEN: usize = CRC_AT + 4;
/// Bytes of the frame that opens a segment.
pub(super) const HEADER_FRAME_LEN: usize = frame_len(26);
/// Bytes of the frame of a mark.
pub(super) const MARK_FRAME_LEN: usize = frame_len(16);
/// Zeros are looked for in blocks of so many bytes, which the library compares by vectors.
static ZEROS: [u8; 4096] = [0; 4096];

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn golden_frame() {
        let mut frame = Vec::new();
        push_frame(&mut frame, Kind::OwnVertex, Epoch(7), b"body");
        assert_eq!(hex::encode(&frame), "00000004040000000787d79e83626f6479");
        let parsed = Parsed::Frame {
            kind: Kind::OwnVertex,
            epoch: Epoch(7),
            body: b"body",
        };
        assert_eq!(parse(&frame), parsed);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let mut frame = Vec::new();
        push_frame(&mut frame, Kind::Batch, Epoch(1), b"some bytes");
        for bit in 0..8 * frame.len() {
            let mut flipped = frame.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(parse(&flipped), Parsed::Bad(_)), "bit {bit}");
        }
        for len in 4..frame.len() {
            assert!(
                matches!(parse(&frame[..len]), Parsed::Bad(_)),
                "{len} bytes"
            );
        }
    }

    #[test]
    fn zeros_are_the_end_and_every_kind_has_one_code() {
        assert_eq!(parse(&[]), Parsed::End);
        assert_eq!(parse(&[0; 100]), Parsed::End);
        for kind in Kind::ALL {
            assert_eq!(Kind::from_code(kind.code()), Some(kind));
        }
        assert_eq!(Kind::from_code(0), None);
        assert_eq!(Kind::from_code(14), None);
    }

    #[test]
    fn a_whole_record_of_an_unknown_kind_is_told_from_a_flaw() {
        let mut frame = Vec::new();
        push_frame(&mut frame, Kind::Batch, Epoch(1), b"some bytes");
        frame[4] = 0xFE;
        let crc = crc32c::crc32c_append(crc32c::crc32c(&frame[..CRC_AT]), b"some bytes");
        frame[CRC_AT..FRAME_HEADER_LEN].copy_from_slice(&crc.to_be_bytes());
        assert_eq!(parse(&frame), Parsed::Unknown(0xFE));
    }

    #[test]
    fn a_mark_is_found_between_any_bytes() {
        let mut bytes = vec![0xAB; 37];
        push_durable_mark(&mut bytes, 1, 5);
        bytes.extend_from_slice(&[0, 0, 0]);
        push_durable_mark(&mut bytes, 1, 9);
        assert_eq!(durable_claim_max(&bytes, 1), 9);
        assert_eq!(
            durable_claim_max(&bytes, 2),
            0,
            "a mark of another segment, or a forged one"
        );
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        assert_eq!(
            durable_claim_max(&bytes, 1),
            5,
            "a damaged mark vouches for nothing"
        );
        assert_eq!(durable_claim_max(&[], 1), 0);
    }

    /// Every place looked at, and no zeros left out.
    fn claim_anywhere(bytes: &[u8], salt: u64) -> u64 {
        let claims = (0..bytes.len()).filter_map(|at| match parse(&bytes[at..]) {
            Parsed::Frame {
                kind: Kind::Durable,
                body,
                ..
            } if body.len() == 16 && body.starts_with(&salt.to_be_bytes()) => {
                body[8..].try_into().ok().map(u64::from_be_bytes)
            }
            _ => None,
        });
        claims.max().unwrap_or(0)
    }

    #[test]
    fn a_mark_that_ends_in_zeros_is_found_before_zeros() {
        for records in [1u64 << 8, 1 << 24, 1 << 40, 1 << 56] {
            for behind in [0, 1, 4095, 4096, 4097, 3 * 4096] {
                let mut bytes = vec![7; 5];
                push_durable_mark(&mut bytes, 1, records);
                bytes.resize(bytes.len() + behind, 0);
                assert_eq!(durable_claim_max(&bytes, 1), records, "{behind} zeros");
            }
        }
        // Its salt is of zeros too: all behind the checksum but one byte is zero.
        let mut bytes = Vec::new();
        push_durable_mark(&mut bytes, 0, 1 << 56);
        bytes.resize(9000, 0);
        assert_eq!(durable_claim_max(&bytes, 0), 1 << 56);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn claims_are_those_of_a_look_at_every_place(
            pieces in vec((any::<u8>(), 0usize..9000, 0u64..1 << 40, 0u32..41), 0..4),
        ) {
            let mut bytes = Vec::new();
            for (fill, len, records, zero_bits) in pieces {
                bytes.resize(bytes.len() + len, fill % 2);
                push_durable_mark(&mut bytes, 3, records >> zero_bits << (zero_bits % 24));
                bytes.truncate(bytes.len() - fill as usize / 2 % 4);
            }
            let zeros = bytes.len() % 7000;
            bytes.resize(bytes.len() + zeros, 0);
            prop_assert_eq!(durable_claim_max(&bytes, 3), claim_anywhere(&bytes, 3));
            let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            prop_assert_eq!(written_len(&bytes), written);
        }
    }
}
