//! The wire protocol between a client and a node: one definition, used by both ends.
//!
//! Frame = length u32 (of what follows it) | version u8 = 1 | kind u8 | body; integers are big-endian. A client opens
//! with [`Hello`], a node answers [`Welcome`]; then submissions go up and notices come down, unsolicited and in any
//! order. The two directions have kinds of their own (0x01.. up, 0x81.. down). Over UDP a datagram carries one envelope up,
//! or the same frames down ([`datagram`]). `WIRE.md` in this crate's folder describes
//! it all for clients in other languages, and a test holds it to this code.
//!
//! Invariants:
//! - I1: a value has exactly one encoding: unknown flags, codes, kinds and versions, empty lists and trailing bytes are
//!   refused.
//! - I2: decoders borrow and allocate nothing, whatever a count claims; no input makes them panic.
//! - I3: encoders never write a frame above its bound: a long list becomes several frames.
//!
//! Cost: one pass over the bytes.

mod codes;
mod datagram;
mod follow;
mod notice;
mod request;

pub use codes::{AckCode, GoodbyeCode};
pub use datagram::{
    DATAGRAM_ENVELOPE_LEN_MAX, DATAGRAM_FRAMES_LEN_MAX, DATAGRAM_LEN_MAX, DATAGRAM_NOTICE_LEN_MAX,
    DatagramNotice, DatagramRequest, encode_datagram_hello, encode_datagram_submit,
    encode_datagram_token, encode_datagram_unknown, pack_notices,
};
pub use follow::{
    CERTIFIED_HEADERS_MAX, Certified, FollowCode, FollowTarget, Included, IncludedEntry,
    IncludedItem, Reveal, encode_certified, encode_following, encode_included, included_len_max,
};
pub use notice::{
    Ack, Acks, KeyNotice, Notice, Ordered, OrderedItem, Path, ReceiptItem, Receipts, Welcome,
    encode_acks, encode_acks_within, encode_goodbye, encode_key, encode_ordered,
    encode_ordered_within, encode_receipts, encode_receipts_within, encode_settled, encode_welcome,
};
pub use request::{EnvelopeLenError, Hello, Request, encode_follow, encode_hello, encode_submit};

use fairlane_engine::wire::DecodeError;

/// Version of this protocol, the first byte after the length of every frame.
pub const PROTOCOL_VERSION: u8 = 1;

/// Longest envelope that a node takes over TCP, in bytes.
pub const ENVELOPE_LEN_MAX: usize = 16 * 1024;

/// Bound of the length field of frames that a client sends: version, kind, tag and the longest envelope.
pub const REQUEST_LEN_MAX: u32 = 2 + 8 + ENVELOPE_LEN_MAX as u32;

/// Bound of the length field of frames that a node sends.
pub const NOTICE_LEN_MAX: u32 = 256 * 1024;

/// Bytes of the length field.
pub const LENGTH_LEN: usize = 4;

/// Bytes of a signed vertex header, as receipts carry it: header 147 and signature 64.
pub const SIGNED_HEADER_LEN: usize = 211;

/// Longest text of a goodbye, in bytes of UTF-8.
pub const GOODBYE_TEXT_LEN_MAX: usize = 256;

/// Frame kinds, client to node below 0x80, node to client from 0x80.
pub mod kind {
    /// First frame of a client.
    pub const HELLO: u8 = 0x01;
    /// One envelope.
    pub const SUBMIT: u8 = 0x02;
    /// What to tell of as it happens.
    pub const FOLLOW: u8 = 0x03;
    /// First frame of a node.
    pub const WELCOME: u8 = 0x81;
    /// Answers to submissions.
    pub const ACKS: u8 = 0x82;
    /// Signed receipts.
    pub const RECEIPTS: u8 = 0x83;
    /// Places in a batch.
    pub const ORDERED: u8 = 0x84;
    /// How many batches are settled.
    pub const SETTLED: u8 = 0x85;
    /// Why the node closes the connection.
    pub const GOODBYE: u8 = 0x86;
    /// A sealing key that the authority vouches for.
    pub const KEY: u8 = 0x87;
    /// Answer to a wish to follow.
    pub const FOLLOWING: u8 = 0x88;
    /// Entries that are followed, with their paths.
    pub const INCLUDED: u8 = 0x89;
    /// A certificate, and the headers up to it.
    pub const CERTIFIED: u8 = 0x8a;
}

/// Kinds of datagrams, client to node below 0x80, node to client from 0x80; none is the kind of a frame.
pub mod datagram_kind {
    /// Asks for a token, shows one, or says that the client is there.
    pub const HELLO: u8 = 0x21;
    /// One envelope.
    pub const SUBMIT: u8 = 0x22;
    /// A token for the next hello.
    pub const TOKEN: u8 = 0xa1;
    /// Frames.
    pub const NOTICES: u8 = 0xa2;
    /// No client is known by this token.
    pub const UNKNOWN: u8 = 0xa3;
}

/// Cuts the first whole frame off `bytes`: its content (version, kind, body) and how many bytes it took.
///
/// `None` when the frame is not all there yet. `len_max` is [`REQUEST_LEN_MAX`] on a node and [`NOTICE_LEN_MAX`] on a
/// client, and is checked as soon as the length is there, so nobody waits for or makes room for more.
/// Errors: a length above `len_max`, or too short for version and kind.
pub fn next_frame(bytes: &[u8], len_max: u32) -> Result<Option<(&[u8], usize)>, DecodeError> {
    let Some((head, rest)) = bytes.split_first_chunk::<LENGTH_LEN>() else {
        return Ok(None);
    };
    let len = u32::from_be_bytes(*head);
    if len > len_max {
        return Err(DecodeError::TooLarge {
            field: "frame length",
            value: len.into(),
            max: len_max.into(),
        });
    }
    if len < 2 {
        return Err(DecodeError::NotCanonical("frame length"));
    }
    let len = len as usize;
    Ok(rest.get(..len).map(|content| (content, LENGTH_LEN + len)))
}

/// Writes one frame of `kind` whose body `body` appends. Panics when the body is above any frame's bound (I3).
fn write_frame(out: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, PROTOCOL_VERSION, kind]);
    body(out);
    let len = u32::try_from(out.len() - start - LENGTH_LEN).unwrap_or(u32::MAX);
    assert!(
        len <= NOTICE_LEN_MAX,
        "our encoders split lists before a frame grows too long"
    );
    out[start..start + LENGTH_LEN].copy_from_slice(&len.to_be_bytes());
}

/// Reads version and kind of a frame's content.
fn read_head(reader: &mut fairlane_engine::wire::Reader<'_>) -> Result<u8, DecodeError> {
    let version = reader.u8()?;
    if version != PROTOCOL_VERSION {
        return Err(DecodeError::Version(version));
    }
    reader.u8()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_cut_off_only_when_it_is_all_there() {
        let mut bytes = Vec::new();
        encode_settled(&mut bytes, 7);
        let whole = bytes.len();
        bytes.extend_from_slice(&[0, 0]);
        for cut in 0..whole {
            assert_eq!(next_frame(&bytes[..cut], NOTICE_LEN_MAX), Ok(None));
        }
        let (content, used) = next_frame(&bytes, NOTICE_LEN_MAX).unwrap().unwrap();
        assert_eq!((content.len() + LENGTH_LEN, used), (whole, whole));
    }

    #[test]
    fn a_length_above_the_bound_is_refused_before_its_bytes_arrive() {
        let bytes = (NOTICE_LEN_MAX + 1).to_be_bytes();
        assert!(matches!(
            next_frame(&bytes, NOTICE_LEN_MAX),
            Err(DecodeError::TooLarge { .. })
        ));
        for len in 0..2u32 {
            let refused = Err(DecodeError::NotCanonical("frame length"));
            assert_eq!(next_frame(&len.to_be_bytes(), NOTICE_LEN_MAX), refused);
        }
    }
}
