//! What a node sends: welcome, answers, receipts, places, settlement, keys, goodbye.

use fairlane_engine::keyring::statement::StatementHead;
use fairlane_engine::merkle::PATH_LEN_MAX;
use fairlane_engine::types::{AuthorityIndex, BatchSeq, ChainId, Epoch, KeyId, Sha256Hash};
use fairlane_engine::wire::{DecodeError, Reader, Writer};

use super::{
    AckCode, Certified, FollowCode, GOODBYE_TEXT_LEN_MAX, GoodbyeCode, Included, NOTICE_LEN_MAX,
    SIGNED_HEADER_LEN, kind, read_head, write_frame,
};

/// The first frame of a node: who it is and which key envelopes must be sealed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The authority that the node runs.
    pub authority: AuthorityIndex,
    /// The chain it serves.
    pub chain_id: ChainId,
    /// Its current epoch.
    pub epoch: Epoch,
    /// The newest sealing key; zeros before there is one.
    pub key_id: KeyId,
}

/// The unsigned answer to one submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The client's tag.
    pub tag: u64,
    /// The answer.
    pub code: AckCode,
    /// What it means depends on the code.
    pub detail: u64,
}

/// The place of one envelope in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderedItem {
    /// The client's tag.
    pub tag: u64,
    /// Index within the batch, from 0.
    pub index: u32,
}

/// One receipt: where the envelope stands among the entries of the vertex, and the Merkle path that proves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiptItem<'a> {
    /// The client's tag.
    pub tag: u64,
    /// Index among the vertex's entries, from 0.
    pub entry_index: u32,
    /// Siblings from the leaf up to `entries_root`.
    pub path: Path<'a>,
}

/// A Merkle path as it lies on the wire: whole SHA-256 hashes, lowest first, at most [`PATH_LEN_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path<'a>(&'a [u8]);

impl Path<'_> {
    /// The hashes, lowest first.
    pub fn hashes(self) -> Vec<Sha256Hash> {
        let (hashes, _) = self.0.as_chunks::<HASH_LEN>();
        hashes.iter().map(|hash| Sha256Hash(*hash)).collect()
    }
}

/// A frame from a node, borrowed from the bytes it came in and checked to its last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice<'a> {
    /// Opens the connection.
    Welcome(Welcome),
    /// Answers to submissions.
    Acks(Acks<'a>),
    /// Receipts from one vertex.
    Receipts(Receipts<'a>),
    /// Places in one batch.
    Ordered(Ordered<'a>),
    /// All batches with a seq below `count` are synced by the settlement worker's sink.
    Settled {
        /// How many batches that is.
        count: u64,
    },
    /// The authority vouches for a sealing key.
    Key(KeyNotice<'a>),
    /// The answer to a wish to follow.
    Following {
        /// The client's name for what it follows.
        name: u64,
        /// The answer.
        code: FollowCode,
    },
    /// Entries that are followed.
    Included(Included<'a>),
    /// A certificate that covers such entries.
    Certified(Certified<'a>),
    /// The node closes the connection.
    Goodbye {
        /// Why.
        code: GoodbyeCode,
        /// Why, in a sentence; not trusted, at most [`GOODBYE_TEXT_LEN_MAX`] bytes.
        text: &'a str,
    },
}

impl<'a> Notice<'a> {
    /// Reads a frame's content, as [`super::next_frame`] cuts it. Errors: anything but one canonical notice.
    pub fn decode(content: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(content);
        let notice = match read_head(&mut reader)? {
            kind::WELCOME => Self::Welcome(Welcome {
                authority: AuthorityIndex(reader.u8()?),
                chain_id: ChainId(reader.u64()?),
                epoch: Epoch(reader.u32()?),
                key_id: reader.key_id()?,
            }),
            kind::ACKS => Self::Acks(Acks::read(&mut reader)?),
            kind::RECEIPTS => Self::Receipts(Receipts::read(&mut reader)?),
            kind::ORDERED => Self::Ordered(Ordered::read(&mut reader)?),
            kind::SETTLED => Self::Settled {
                count: reader.u64()?,
            },
            kind::KEY => Self::Key(KeyNotice {
                signature: read_signature(&mut reader)?,
                statement: read_statement(&mut reader)?,
            }),
            kind::FOLLOWING => Self::Following {
                name: reader.u64()?,
                code: FollowCode::from_u8(reader.u8()?)?,
            },
            kind::INCLUDED => Self::Included(Included::read(&mut reader)?),
            kind::CERTIFIED => Self::Certified(Certified::read(&mut reader)?),
            kind::GOODBYE => {
                let code = GoodbyeCode::from_u8(reader.u8()?)?;
                let text = read_text(&mut reader)?;
                Self::Goodbye { code, text }
            }
            _ => return Err(DecodeError::NotCanonical("notice kind")),
        };
        reader.finish()?;
        Ok(notice)
    }
}

/// The answers of one frame, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acks<'a>(&'a [u8]);

impl<'a> Acks<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let items = read_items(reader, ACK_LEN)?;
        let acks = Self(items);
        for chunk in items.as_chunks::<ACK_LEN>().0 {
            read_ack(chunk)?;
        }
        Ok(acks)
    }

    /// The answers, in the node's order.
    pub fn iter(self) -> impl Iterator<Item = Ack> + 'a {
        let (chunks, _) = self.0.as_chunks::<ACK_LEN>();
        // Every chunk was read once by `read`; flat_map only keeps this free of a panic.
        chunks.iter().flat_map(read_ack)
    }
}

/// The receipts of one frame, at least one, all from one vertex.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipts<'a> {
    /// The signed vertex header, not checked.
    pub signed_header: &'a [u8],
    items: &'a [u8],
}

impl<'a> Receipts<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let signed_header = reader.bytes(SIGNED_HEADER_LEN)?;
        let count = reader.count_u32("receipts", NOTICE_LEN_MAX)?;
        if count == 0 {
            return Err(DecodeError::NotCanonical("empty list"));
        }
        let items = reader.bytes(reader.left())?;
        let mut walk = Reader::new(items);
        for _ in 0..count {
            read_receipt(&mut walk)?;
        }
        walk.finish()?;
        Ok(Self {
            signed_header,
            items,
        })
    }

    /// The receipts, in the node's order.
    pub fn iter(self) -> impl Iterator<Item = ReceiptItem<'a>> {
        let mut walk = Reader::new(self.items);
        std::iter::from_fn(move || read_receipt(&mut walk).ok())
    }
}

/// The places of one frame, at least one, all in one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ordered<'a> {
    /// The batch.
    pub seq: BatchSeq,
    items: &'a [u8],
}

impl<'a> Ordered<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            seq: BatchSeq(reader.u64()?),
            items: read_items(reader, ORDERED_LEN)?,
        })
    }

    /// The places, in the node's order.
    pub fn iter(self) -> impl Iterator<Item = OrderedItem> + 'a {
        let (chunks, _) = self.items.as_chunks::<ORDERED_LEN>();
        chunks.iter().flat_map(read_ordered)
    }
}

/// A sealing key that an authority vouches for: a statement of the shape of one, and a signature; neither is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyNotice<'a> {
    /// Ed25519, by the authority of the node.
    pub signature: &'a [u8; KEY_SIGNATURE_LEN],
    /// See [`fairlane_engine::keyring::statement`].
    pub statement: &'a [u8],
}

fn read_signature<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8; KEY_SIGNATURE_LEN], DecodeError> {
    let signature = reader.bytes(KEY_SIGNATURE_LEN)?.first_chunk();
    signature.ok_or(DecodeError::NotCanonical("signature"))
}

fn read_statement<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    let statement = reader.bytes(reader.left())?;
    StatementHead::of(statement)?;
    Ok(statement)
}

/// Appends a welcome frame.
pub fn encode_welcome(out: &mut Vec<u8>, welcome: &Welcome) {
    write_frame(out, kind::WELCOME, |body| {
        Writer::new(body)
            .u8(welcome.authority.0)
            .u64(welcome.chain_id.0)
            .u32(welcome.epoch.0)
            .bytes(&welcome.key_id.0);
    });
}

/// Appends the answers in as many frames as they need; none when there are no answers.
pub fn encode_acks(out: &mut Vec<u8>, acks: &[Ack]) {
    encode_acks_within(out, acks, NOTICE_LEN_MAX);
}

/// As [`encode_acks`], with `len_max`, of 512 or more, as the bound of each frame's length field.
pub fn encode_acks_within(out: &mut Vec<u8>, acks: &[Ack], len_max: u32) {
    for part in acks.chunks(items_max(len_max, 0, ACK_LEN)) {
        write_frame(out, kind::ACKS, |body| {
            let mut writer = Writer::new(body);
            writer.count_u32(part.len());
            for ack in part {
                writer.u64(ack.tag).u8(ack.code.as_u8()).u64(ack.detail);
            }
        });
    }
}

/// Appends receipts from one vertex in as many frames as they need, each with the header: (tag, entry index, path).
///
/// Panics on a path above [`PATH_LEN_MAX`]: no tree of ours is deeper.
pub fn encode_receipts(
    out: &mut Vec<u8>,
    signed_header: &[u8; SIGNED_HEADER_LEN],
    receipts: &[(u64, u32, &[Sha256Hash])],
) {
    encode_receipts_within(out, signed_header, receipts, NOTICE_LEN_MAX);
}

/// As [`encode_receipts`], with `len_max` as the bound of each frame's length field, except that a receipt that is longer by
/// itself has a frame of its own.
pub fn encode_receipts_within(
    out: &mut Vec<u8>,
    signed_header: &[u8; SIGNED_HEADER_LEN],
    mut receipts: &[(u64, u32, &[Sha256Hash])],
    len_max: u32,
) {
    let room = len_max as usize - FRAME_HEAD_LEN - SIGNED_HEADER_LEN - COUNT_LEN;
    while !receipts.is_empty() {
        let mut len = 0;
        let fitting = receipts.iter().take_while(|(.., path)| {
            len += RECEIPT_LEN_MIN + path.len() * HASH_LEN;
            len <= room
        });
        let (part, rest) = receipts.split_at(fitting.count().max(1));
        receipts = rest;
        write_frame(out, kind::RECEIPTS, |body| {
            let mut writer = Writer::new(body);
            writer.bytes(signed_header).count_u32(part.len());
            for (tag, entry_index, path) in part {
                assert!(
                    path.len() <= PATH_LEN_MAX as usize,
                    "a tree of 32-bit indices is at most 32 deep"
                );
                writer.u64(*tag).u32(*entry_index).u8(path.len() as u8);
                for hash in *path {
                    writer.bytes(&hash.0);
                }
            }
        });
    }
}

/// Appends places in one batch in as many frames as they need; none when there are no places.
pub fn encode_ordered(out: &mut Vec<u8>, seq: BatchSeq, items: &[OrderedItem]) {
    encode_ordered_within(out, seq, items, NOTICE_LEN_MAX);
}

/// As [`encode_ordered`], with `len_max`, of 512 or more, as the bound of each frame's length field.
pub fn encode_ordered_within(
    out: &mut Vec<u8>,
    seq: BatchSeq,
    items: &[OrderedItem],
    len_max: u32,
) {
    for part in items.chunks(items_max(len_max, 8, ORDERED_LEN)) {
        write_frame(out, kind::ORDERED, |body| {
            let mut writer = Writer::new(body);
            writer.u64(seq.0).count_u32(part.len());
            for item in part {
                writer.u64(item.tag).u32(item.index);
            }
        });
    }
}

/// Appends the notice that all batches with a seq below `count` are settled.
pub fn encode_settled(out: &mut Vec<u8>, count: u64) {
    write_frame(out, kind::SETTLED, |body| {
        Writer::new(body).u64(count);
    });
}

/// Appends the notice that the authority vouches for a key.
pub fn encode_key(out: &mut Vec<u8>, notice: &KeyNotice<'_>) {
    write_frame(out, kind::KEY, |body| {
        Writer::new(body)
            .bytes(notice.signature)
            .bytes(notice.statement);
    });
}

/// Appends a goodbye; a text above [`GOODBYE_TEXT_LEN_MAX`] bytes is cut at a character.
pub fn encode_goodbye(out: &mut Vec<u8>, code: GoodbyeCode, text: &str) {
    let mut len = text.len().min(GOODBYE_TEXT_LEN_MAX);
    while !text.is_char_boundary(len) {
        len -= 1;
    }
    write_frame(out, kind::GOODBYE, |body| {
        Writer::new(body)
            .u8(code.as_u8())
            .bytes(&text.as_bytes()[..len]);
    });
}

/// How many items of `item_len` bytes fit one frame beside `head_len` bytes of its own.
const fn items_max(len_max: u32, head_len: usize, item_len: usize) -> usize {
    (len_max as usize - FRAME_HEAD_LEN - COUNT_LEN - head_len) / item_len
}

/// A counted list of fixed-size items that fills the rest of the frame exactly.
fn read_items<'a>(reader: &mut Reader<'a>, item_len: usize) -> Result<&'a [u8], DecodeError> {
    let count = reader.count_u32("items", NOTICE_LEN_MAX)?;
    if count == 0 {
        return Err(DecodeError::NotCanonical("empty list"));
    }
    // At most 2^18 items of at most 17 bytes: no overflow.
    reader.bytes(count * item_len)
}

fn read_ack(chunk: &[u8; ACK_LEN]) -> Result<Ack, DecodeError> {
    let mut reader = Reader::new(chunk);
    Ok(Ack {
        tag: reader.u64()?,
        code: AckCode::from_u8(reader.u8()?)?,
        detail: reader.u64()?,
    })
}

fn read_ordered(chunk: &[u8; ORDERED_LEN]) -> Result<OrderedItem, DecodeError> {
    let mut reader = Reader::new(chunk);
    Ok(OrderedItem {
        tag: reader.u64()?,
        index: reader.u32()?,
    })
}

fn read_receipt<'a>(reader: &mut Reader<'a>) -> Result<ReceiptItem<'a>, DecodeError> {
    let tag = reader.u64()?;
    let entry_index = reader.u32()?;
    let path = read_path(reader)?;
    Ok(ReceiptItem {
        tag,
        entry_index,
        path,
    })
}

/// A path behind its length.
pub(super) fn read_path<'a>(reader: &mut Reader<'a>) -> Result<Path<'a>, DecodeError> {
    let path_len = reader.u8()?;
    if u32::from(path_len) > PATH_LEN_MAX {
        return Err(DecodeError::TooLarge {
            field: "path",
            value: path_len.into(),
            max: PATH_LEN_MAX.into(),
        });
    }
    Ok(Path(reader.bytes(usize::from(path_len) * HASH_LEN)?))
}

fn read_text<'a>(reader: &mut Reader<'a>) -> Result<&'a str, DecodeError> {
    let len = reader.left();
    if len > GOODBYE_TEXT_LEN_MAX {
        return Err(DecodeError::TooLarge {
            field: "goodbye text",
            value: len as u64,
            max: GOODBYE_TEXT_LEN_MAX as u64,
        });
    }
    str::from_utf8(reader.bytes(len)?).map_err(|_| DecodeError::NotCanonical("goodbye text"))
}

/// Version and kind.
const FRAME_HEAD_LEN: usize = 2;
const COUNT_LEN: usize = 4;
pub(super) const HASH_LEN: usize = 32;
const KEY_SIGNATURE_LEN: usize = 64;
const ACK_LEN: usize = 8 + 1 + 8;
const ORDERED_LEN: usize = 8 + 4;
/// A receipt without its path.
const RECEIPT_LEN_MIN: usize = 8 + 4 + 1;

#[cfg(test)]
#[path = "notice_tests.rs"]
mod tests;
