//! Following: a client asks for a digest or a rollup, a node answers with entries as batches are opened, each with the path
//! to its header's `payload_root`, and then with certificates and the headers that lead to them.

use fairlane_engine::batch::{BatchHeader, HEADER_LEN};
use fairlane_engine::certificate::{CERTIFICATE_LEN, Certificate};
use fairlane_engine::merkle::PATH_LEN_MAX;
use fairlane_engine::types::{Digest, RollupId, Sha256Hash};
use fairlane_engine::wire::{DecodeError, Reader, Writer};

use super::notice::{HASH_LEN, Path, read_path};
use super::{ENVELOPE_LEN_MAX, NOTICE_LEN_MAX, kind, write_frame};

/// What a client follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FollowTarget {
    /// One envelope, until it stands in a batch.
    Digest(Digest),
    /// Every entry of a rollup, from now on.
    Rollup(RollupId),
}

impl FollowTarget {
    pub(super) fn encode(self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        match self {
            Self::Digest(digest) => writer.u8(TARGET_DIGEST).bytes(&digest.0),
            Self::Rollup(rollup) => writer.u8(TARGET_ROLLUP).u64(rollup.0),
        };
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.u8()? {
            TARGET_DIGEST => Ok(Self::Digest(reader.digest()?)),
            TARGET_ROLLUP => Ok(Self::Rollup(RollupId(reader.u64()?))),
            _ => Err(DecodeError::NotCanonical("what is followed")),
        }
    }
}

/// A node's answer to a wish to follow; everything but [`FollowCode::Following`] is a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FollowCode {
    /// From the next batch on.
    Following = 0,
    /// The node has no room for the wish now: try again.
    Busy = 1,
    /// The connection follows as much as it may, or the node serves as many followers as it may.
    TooMany = 2,
    /// The committee does not order for this rollup.
    UnknownRollup = 3,
    /// The connection follows something under this name already.
    NameInUse = 4,
    /// The connection follows this under another name already.
    AlreadyFollowed = 5,
    /// Not an answer: a wish has ended, as there was more to tell than the node tells at a time. What the batch holds of it, and
    /// every batch from there on, is not told of.
    Overrun = 6,
}

impl FollowCode {
    /// Every code, ascending by its number.
    pub const ALL: [Self; 7] = [
        Self::Following,
        Self::Busy,
        Self::TooMany,
        Self::UnknownRollup,
        Self::NameInUse,
        Self::AlreadyFollowed,
        Self::Overrun,
    ];

    /// The number on the wire.
    pub const fn as_u8(self) -> u8 {
        self as u8
    }

    /// The code with this number. Errors: a number that stands for none.
    pub fn from_u8(number: u8) -> Result<Self, DecodeError> {
        let code = Self::ALL.get(usize::from(number)).copied();
        code.ok_or(DecodeError::NotCanonical("follow code"))
    }

    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Following => "following",
            Self::Busy => "busy",
            Self::TooMany => "too_many",
            Self::UnknownRollup => "unknown_rollup",
            Self::NameInUse => "name_in_use",
            Self::AlreadyFollowed => "already_followed",
            Self::Overrun => "overrun",
        }
    }
}

/// What became of an envelope, as its leaf under `payload_root` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reveal {
    /// It was never sealed.
    Open,
    /// It opened, with this r.
    Revealed {
        /// See `WIRE.md`, sealing.
        r: [u8; 32],
    },
    /// It opens for nobody.
    Void,
}

/// An entry of a batch, and the path from it to the batch's `payload_root`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IncludedItem<'a> {
    /// The client's name for what it follows.
    pub name: u64,
    /// Place in the batch, from 0.
    pub index: u32,
    /// Of the envelope.
    pub digest: Digest,
    /// That it is for.
    pub rollup_id: RollupId,
    /// What became of it.
    pub reveal: Reveal,
    /// Its payload; empty when it is void.
    pub payload: &'a [u8],
    /// Siblings from the leaf up to `payload_root`.
    pub path: Path<'a>,
}

/// Entries of one batch that the client follows, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Included<'a> {
    /// The batch's header, not checked.
    pub header: BatchHeader,
    items: &'a [u8],
}

impl<'a> Included<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let header = BatchHeader::decode(reader.bytes(HEADER_LEN)?)?;
        let count = reader.count_u32("entries", NOTICE_LEN_MAX)?;
        if count == 0 {
            return Err(DecodeError::NotCanonical("empty list"));
        }
        let items = reader.bytes(reader.left())?;
        let mut walk = Reader::new(items);
        for _ in 0..count {
            read_item(&mut walk)?;
        }
        walk.finish()?;
        Ok(Self { header, items })
    }

    /// The entries, in the node's order.
    pub fn iter(self) -> impl Iterator<Item = IncludedItem<'a>> {
        let mut walk = Reader::new(self.items);
        std::iter::from_fn(move || read_item(&mut walk).ok())
    }
}

/// A certificate, and headers up to the one that it names; nothing is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Certified<'a> {
    /// The certificate.
    pub certificate: Certificate,
    headers: &'a [u8],
}

impl<'a> Certified<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let certificate = Certificate::decode(reader.bytes(CERTIFICATE_LEN)?)?;
        let count = reader.count_u32("headers", CERTIFIED_HEADERS_MAX)?;
        if count == 0 {
            return Err(DecodeError::NotCanonical("empty list"));
        }
        let headers = reader.bytes(count * HEADER_LEN)?;
        let certified = Self {
            certificate,
            headers,
        };
        for header in headers.chunks(HEADER_LEN) {
            BatchHeader::decode(header)?;
        }
        Ok(certified)
    }

    /// The headers, ascending.
    pub fn headers(self) -> impl Iterator<Item = BatchHeader> + 'a {
        let encoded = self.headers.chunks(HEADER_LEN);
        // Each was read once by `read`; flat_map only keeps this free of a panic.
        encoded.flat_map(BatchHeader::decode)
    }
}

/// Appends the answer to a wish to follow.
pub fn encode_following(out: &mut Vec<u8>, name: u64, code: FollowCode) {
    write_frame(out, kind::FOLLOWING, |body| {
        Writer::new(body).u64(name).u8(code.as_u8());
    });
}

/// An entry to be told of: as [`IncludedItem`], its path as hashes.
#[derive(Clone, Copy, Debug)]
pub struct IncludedEntry<'a> {
    /// See [`IncludedItem`]; likewise below.
    pub name: u64,
    /// Place in the batch.
    pub index: u32,
    /// Of the envelope.
    pub digest: Digest,
    /// That it is for.
    pub rollup_id: RollupId,
    /// What became of it.
    pub reveal: Reveal,
    /// Its payload.
    pub payload: &'a [u8],
    /// Siblings, lowest first.
    pub path: &'a [Sha256Hash],
}

/// Appends entries of the batch with this header in as many frames as they need; none when there are no entries.
///
/// Panics on a payload above any envelope's, or a path above [`PATH_LEN_MAX`]: no batch of ours holds such.
pub fn encode_included(out: &mut Vec<u8>, header: &BatchHeader, entries: &[IncludedEntry<'_>]) {
    let mut rest = entries;
    while !rest.is_empty() {
        let mut len = 0;
        let fits = rest.iter().take_while(|entry| {
            len += entry_len(entry);
            len <= ITEMS_ROOM
        });
        let (part, after) = rest.split_at(fits.count());
        assert!(!part.is_empty(), "an entry fits a frame");
        write_frame(out, kind::INCLUDED, |body| {
            Writer::new(body)
                .bytes(&header.encode())
                .count_u32(part.len());
            for entry in part {
                write_entry(body, entry);
            }
        });
        rest = after;
    }
}

/// Bytes of the frames that [`encode_included`] makes of so many entries with so many bytes of payload and so many hashes in
/// each path: at most that many.
pub const fn included_len_max(entries: usize, payload_len: usize, path_len: usize) -> usize {
    let items = entries * (ITEM_LEN_MIN + path_len * HASH_LEN) + payload_len;
    items + (1 + items / (ITEMS_ROOM - LONGEST_ITEM_LEN)) * INCLUDED_HEAD_LEN
}

/// Appends a certificate with the headers that lead up to the one that it names, the last of them.
///
/// Panics when there are none, or more than [`CERTIFIED_HEADERS_MAX`].
pub fn encode_certified(
    out: &mut Vec<u8>,
    certificate: &Certificate,
    headers: impl ExactSizeIterator<Item = BatchHeader>,
) {
    let count = headers.len();
    assert!(
        (1..=CERTIFIED_HEADERS_MAX as usize).contains(&count),
        "the caller keeps so many headers and no more"
    );
    write_frame(out, kind::CERTIFIED, |body| {
        Writer::new(body)
            .bytes(&certificate.encode())
            .count_u32(count);
        for header in headers {
            Writer::new(body).bytes(&header.encode());
        }
    });
}

fn entry_len(entry: &IncludedEntry<'_>) -> usize {
    assert!(
        entry.payload.len() <= ENVELOPE_LEN_MAX && entry.path.len() <= PATH_LEN_MAX as usize,
        "an entry is as long as an envelope at most, and a batch's tree 32 deep"
    );
    ITEM_LEN_MIN + entry.payload.len() + entry.path.len() * HASH_LEN
}

fn write_entry(out: &mut Vec<u8>, entry: &IncludedEntry<'_>) {
    let (outcome, r) = match entry.reveal {
        Reveal::Open => (OUTCOME_OPEN, [0; 32]),
        Reveal::Revealed { r } => (OUTCOME_REVEALED, r),
        Reveal::Void => (OUTCOME_VOID, [0; 32]),
    };
    let mut writer = Writer::new(out);
    writer
        .u64(entry.name)
        .u32(entry.index)
        .bytes(&entry.digest.0)
        .u64(entry.rollup_id.0)
        .u8(outcome)
        .bytes(&r)
        .count_u32(entry.payload.len())
        .bytes(entry.payload)
        .u8(entry.path.len() as u8);
    for hash in entry.path {
        writer.bytes(&hash.0);
    }
}

fn read_item<'a>(reader: &mut Reader<'a>) -> Result<IncludedItem<'a>, DecodeError> {
    let name = reader.u64()?;
    let index = reader.u32()?;
    let digest = reader.digest()?;
    let rollup_id = RollupId(reader.u64()?);
    let (outcome, r): (u8, [u8; 32]) = (reader.u8()?, reader.array()?);
    let len = reader.count_u32("payload", ENVELOPE_LEN_MAX as u32)?;
    let payload = reader.bytes(len)?;
    let reveal = match outcome {
        OUTCOME_REVEALED => Reveal::Revealed { r },
        _ if r != [0; 32] => return Err(DecodeError::NotCanonical("r")),
        OUTCOME_OPEN => Reveal::Open,
        OUTCOME_VOID if payload.is_empty() => Reveal::Void,
        _ => return Err(DecodeError::NotCanonical("outcome")),
    };
    Ok(IncludedItem {
        name,
        index,
        digest,
        rollup_id,
        reveal,
        payload,
        path: read_path(reader)?,
    })
}

/// Headers that come with a certificate; entries of older batches are not proven.
pub const CERTIFIED_HEADERS_MAX: u32 = 1024;

const TARGET_DIGEST: u8 = 1;
const TARGET_ROLLUP: u8 = 2;
// As in the archive of a batch.
const OUTCOME_OPEN: u8 = 0;
const OUTCOME_REVEALED: u8 = 1;
const OUTCOME_VOID: u8 = 2;
/// An entry without payload and path.
const ITEM_LEN_MIN: usize = 8 + 4 + 32 + 8 + 1 + 32 + 4 + 1;
const LONGEST_ITEM_LEN: usize = ITEM_LEN_MIN + ENVELOPE_LEN_MAX + PATH_LEN_MAX as usize * HASH_LEN;
const ITEMS_ROOM: usize = NOTICE_LEN_MAX as usize - 2 - HEADER_LEN - 4;
/// A frame of entries without any.
const INCLUDED_HEAD_LEN: usize = super::LENGTH_LEN + 2 + HEADER_LEN + 4;
const _: () = assert!(
    2 + CERTIFICATE_LEN + 4 + CERTIFIED_HEADERS_MAX as usize * HEADER_LEN
        <= NOTICE_LEN_MAX as usize
);

#[cfg(test)]
mod tests {
    use fairlane_engine::batch::Outcome;
    use fairlane_engine::certificate::{CertifiedHeader, SIGNATURE_LEN};
    use fairlane_engine::types::AuthoritySet;

    use super::super::{LENGTH_LEN, Notice, Request, encode_follow, next_frame};
    use super::*;

    fn contents(bytes: &[u8]) -> Vec<&[u8]> {
        let (mut rest, mut found) = (bytes, Vec::new());
        while let Some((content, used)) = next_frame(rest, NOTICE_LEN_MAX).unwrap() {
            found.push(content);
            rest = &rest[used..];
        }
        assert!(rest.is_empty());
        found
    }

    #[test]
    fn wishes_and_answers_have_these_bytes() {
        let digest = FollowTarget::Digest(Digest([0xab; 32]));
        let rollup = FollowTarget::Rollup(RollupId(3));
        let golden = [
            (
                digest,
                format!("0000002b0103000000000000000901{}", "ab".repeat(32)),
            ),
            (
                rollup,
                "00000013010300000000000000090200000000000000 03".replace(' ', ""),
            ),
        ];
        for (target, golden) in golden {
            let mut bytes = Vec::new();
            encode_follow(&mut bytes, 9, target);
            assert_eq!(hex::encode(&bytes), golden);
            let content = &bytes[LENGTH_LEN..];
            let wish = Request::Follow { name: 9, target };
            assert_eq!(Request::decode(content), Ok(wish));
            for cut in 0..content.len() {
                assert!(Request::decode(&content[..cut]).is_err());
            }
            let mut other = content.to_vec();
            other[10] = 3;
            assert!(Request::decode(&other).is_err(), "follows nothing");
        }
        for (number, code) in (0u8..).zip(FollowCode::ALL) {
            let mut bytes = Vec::new();
            encode_following(&mut bytes, 9, code);
            assert_eq!(
                hex::encode(&bytes),
                format!("0000000b01880000000000000009{number:02x}")
            );
            let notice = Notice::Following { name: 9, code };
            assert_eq!(Notice::decode(&bytes[LENGTH_LEN..]), Ok(notice));
        }
        assert!(FollowCode::from_u8(FollowCode::ALL.len() as u8).is_err());
    }

    fn entry(index: u32, payload: &[u8]) -> IncludedEntry<'_> {
        IncludedEntry {
            name: 5,
            index,
            digest: Digest([7; 32]),
            rollup_id: RollupId(2),
            reveal: Reveal::Revealed { r: [9; 32] },
            payload,
            path: &[Sha256Hash([1; 32]), Sha256Hash([2; 32])],
        }
    }

    #[test]
    fn entries_read_back_over_as_many_frames_as_they_need() {
        let payload = vec![3; ENVELOPE_LEN_MAX];
        let entries: Vec<_> = (0..40).map(|index| entry(index, &payload)).collect();
        let header = BatchHeader::default();
        let mut bytes = Vec::new();
        encode_included(&mut bytes, &header, &entries);
        let mut found = Vec::new();
        let frames = contents(&bytes);
        assert_eq!(frames.len(), 3);
        for content in frames {
            let Ok(Notice::Included(included)) = Notice::decode(content) else {
                panic!("entries are entries");
            };
            assert_eq!(included.header, header);
            found.extend(included.iter());
        }
        assert_eq!(found.len(), entries.len());
        for (found, entry) in found.iter().zip(&entries) {
            assert_eq!((found.index, found.payload), (entry.index, entry.payload));
            assert_eq!(found.path.hashes(), entry.path);
        }
        bytes.clear();
        encode_included(&mut bytes, &header, &[]);
        assert!(bytes.is_empty());
    }

    #[test]
    fn the_bound_of_what_entries_take_is_close_and_kept() {
        let payload = vec![3; ENVELOPE_LEN_MAX];
        for (count, len) in [(1, 0), (2, 7), (40, ENVELOPE_LEN_MAX), (4096, 256)] {
            let entries: Vec<_> = (0..count)
                .map(|index| entry(index as u32, &payload[..len]))
                .collect();
            let mut bytes = Vec::new();
            encode_included(&mut bytes, &BatchHeader::default(), &entries);
            let most = included_len_max(count, count * len, 2);
            let frames = contents(&bytes).len();
            assert!(
                bytes.len() <= most,
                "{count} of {len}: {} {most}",
                bytes.len()
            );
            assert!(
                most <= bytes.len() + frames * INCLUDED_HEAD_LEN,
                "{count} of {len}"
            );
        }
    }

    #[test]
    fn entries_that_are_cut_or_not_canonical_are_refused() {
        let mut bytes = Vec::new();
        encode_included(&mut bytes, &BatchHeader::default(), &[entry(0, b"abc")]);
        let content = &bytes[LENGTH_LEN..];
        assert!(Notice::decode(content).is_ok());
        for cut in 0..content.len() {
            assert!(Notice::decode(&content[..cut]).is_err(), "{cut} bytes");
        }
        let outcome_at = 2 + HEADER_LEN + 4 + 8 + 4 + 32 + 8;
        for outcome in [0, 2, 3] {
            let mut other = content.to_vec();
            other[outcome_at] = outcome;
            assert!(Notice::decode(&other).is_err(), "with r: {outcome}");
        }
        let mut void = content.to_vec();
        void[outcome_at] = 2;
        void[outcome_at + 1..][..32].fill(0);
        assert!(Notice::decode(&void).is_err(), "void with a payload");
        let mut long = content.to_vec();
        long[outcome_at + 33..][..4].copy_from_slice(&u32::MAX.to_be_bytes());
        let refused = Notice::decode(&long);
        assert!(matches!(refused, Err(DecodeError::TooLarge { .. })));
    }

    #[test]
    fn a_certificate_comes_with_at_least_one_header_and_a_bounded_count() {
        let header = BatchHeader::default();
        let certificate = Certificate {
            header: CertifiedHeader::from(&header),
            signers: AuthoritySet::EMPTY,
            signature: [0; SIGNATURE_LEN],
        };
        let mut bytes = Vec::new();
        let most = vec![header; CERTIFIED_HEADERS_MAX as usize];
        encode_certified(&mut bytes, &certificate, most.iter().copied());
        let content = contents(&bytes)[0];
        let Ok(Notice::Certified(certified)) = Notice::decode(content) else {
            panic!("what is certified is certified");
        };
        assert_eq!(certified.certificate, certificate);
        assert!(certified.headers().eq(most));
        for count in [0, CERTIFIED_HEADERS_MAX + 1, CERTIFIED_HEADERS_MAX - 1] {
            let mut other = content.to_vec();
            other[2 + CERTIFICATE_LEN..][..4].copy_from_slice(&count.to_be_bytes());
            assert!(Notice::decode(&other).is_err(), "{count} headers");
        }
    }

    #[test]
    fn outcomes_are_numbered_as_in_a_batch() {
        let (r, offset, len) = ([0; 32], 0, 0);
        assert_eq!(Outcome::Open { offset, len }.code(), OUTCOME_OPEN);
        assert_eq!(
            Outcome::Revealed { r, offset, len }.code(),
            OUTCOME_REVEALED
        );
        assert_eq!(Outcome::Void.code(), OUTCOME_VOID);
    }
}
