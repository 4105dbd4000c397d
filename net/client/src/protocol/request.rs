//! What a client sends: hello, then submissions and what it wants to follow.

use fairlane_engine::types::ChainId;
use fairlane_engine::wire::{DecodeError, Reader, Writer};

use super::{ENVELOPE_LEN_MAX, FollowTarget, kind, read_head, write_frame};

/// The first frame of a connection: which chain, and which notices the client wants besides acks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The chain that the client means; a node of another one hangs up.
    pub chain_id: ChainId,
    /// Wants signed receipts.
    pub receipts: bool,
    /// Wants the place of its envelopes in the order.
    pub ordered: bool,
    /// Wants to hear how many batches are settled.
    pub settled: bool,
    /// Wants to hear of the sealing key, at once and whenever there is another.
    pub keys: bool,
}

/// A frame from a client, borrowed from the bytes it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Opens the connection.
    Hello(Hello),
    /// Submits one envelope.
    Submit {
        /// The client's name for it on this connection; notices repeat it.
        tag: u64,
        /// The envelope's bytes, 1 to [`ENVELOPE_LEN_MAX`] of them, not looked at.
        envelope: &'a [u8],
    },
    /// Asks to be told of entries with their proofs.
    Follow {
        /// The client's name for it on this connection; notices repeat it.
        name: u64,
        /// Of which entries.
        target: FollowTarget,
    },
}

impl<'a> Request<'a> {
    /// Reads a frame's content, as [`super::next_frame`] cuts it. Errors: anything but one canonical request.
    pub fn decode(content: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(content);
        let kind = read_head(&mut reader)?;
        Self::decode_body(kind, reader.bytes(reader.left())?)
    }

    /// Reads the body of a frame of this kind, whose version was checked. Errors: as [`Self::decode`].
    pub fn decode_body(kind: u8, body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        match kind {
            kind::HELLO => decode_hello(reader).map(Self::Hello),
            kind::SUBMIT => {
                let tag = reader.u64()?;
                let len = reader.left();
                if len == 0 {
                    return Err(DecodeError::Truncated { wanted: 1, left: 0 });
                }
                if len > ENVELOPE_LEN_MAX {
                    return Err(DecodeError::TooLarge {
                        field: "envelope",
                        value: len as u64,
                        max: ENVELOPE_LEN_MAX as u64,
                    });
                }
                let envelope = reader.bytes(len)?;
                Ok(Self::Submit { tag, envelope })
            }
            kind::FOLLOW => {
                let name = reader.u64()?;
                let target = FollowTarget::read(&mut reader)?;
                reader.finish()?;
                Ok(Self::Follow { name, target })
            }
            _ => Err(DecodeError::NotCanonical("request kind")),
        }
    }
}

/// Appends a hello frame.
pub fn encode_hello(out: &mut Vec<u8>, hello: &Hello) {
    write_frame(out, kind::HELLO, |body| {
        Writer::new(body).u64(hello.chain_id.0).u8(flags_of(hello));
    });
}

/// The notices that a hello asks for, as bits.
pub(super) fn flags_of(hello: &Hello) -> u8 {
    u8::from(hello.receipts)
        | u8::from(hello.ordered) << FLAG_ORDERED
        | u8::from(hello.settled) << FLAG_SETTLED
        | u8::from(hello.keys) << FLAG_KEYS
}

/// Appends a submit frame. Errors: an envelope that is empty or above [`ENVELOPE_LEN_MAX`]; nothing is appended then.
pub fn encode_submit(out: &mut Vec<u8>, tag: u64, envelope: &[u8]) -> Result<(), EnvelopeLenError> {
    if !(1..=ENVELOPE_LEN_MAX).contains(&envelope.len()) {
        return Err(EnvelopeLenError {
            len: envelope.len(),
            max: ENVELOPE_LEN_MAX,
        });
    }
    write_frame(out, kind::SUBMIT, |body| {
        Writer::new(body).u64(tag).bytes(envelope);
    });
    Ok(())
}

/// Appends a follow frame.
pub fn encode_follow(out: &mut Vec<u8>, name: u64, target: FollowTarget) {
    write_frame(out, kind::FOLLOW, |body| {
        Writer::new(body).u64(name);
        target.encode(body);
    });
}

/// An envelope that no submit frame, or no datagram, can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an envelope has 1 to {max} bytes over this transport, not {len}")]
pub struct EnvelopeLenError {
    /// What it has.
    pub len: usize,
    /// What it may have.
    pub max: usize,
}

fn decode_hello(mut reader: Reader<'_>) -> Result<Hello, DecodeError> {
    let chain_id = ChainId(reader.u64()?);
    let flags = reader.u8()?;
    reader.finish()?;
    hello_of(chain_id, flags)
}

/// Reverses [`flags_of`]. Errors: bits that ask for nothing known.
pub(super) fn hello_of(chain_id: ChainId, flags: u8) -> Result<Hello, DecodeError> {
    if flags >> (FLAG_KEYS + 1) != 0 {
        return Err(DecodeError::NotCanonical("hello flags"));
    }
    Ok(Hello {
        chain_id,
        receipts: flags & 1 != 0,
        ordered: flags >> FLAG_ORDERED & 1 != 0,
        settled: flags >> FLAG_SETTLED & 1 != 0,
        keys: flags >> FLAG_KEYS & 1 != 0,
    })
}

/// Bit numbers of the hello flags; receipts are bit 0.
const FLAG_ORDERED: u8 = 1;
const FLAG_SETTLED: u8 = 2;
const FLAG_KEYS: u8 = 3;

#[cfg(test)]
mod tests {
    use super::super::{LENGTH_LEN, REQUEST_LEN_MAX, next_frame};
    use super::*;

    const HELLO: Hello = Hello {
        chain_id: ChainId(0x0102_0304_0506_0708),
        receipts: true,
        ordered: false,
        settled: true,
        keys: true,
    };

    #[test]
    fn requests_have_these_bytes() {
        let mut bytes = Vec::new();
        encode_hello(&mut bytes, &HELLO);
        assert_eq!(hex::encode(&bytes), "0000000b010101020304050607080d");
        assert_eq!(
            Request::decode(&bytes[LENGTH_LEN..]),
            Ok(Request::Hello(HELLO))
        );
        bytes.clear();
        encode_submit(&mut bytes, 9, b"abc").unwrap();
        assert_eq!(hex::encode(&bytes), "0000000d01020000000000000009616263");
        let envelope = &b"abc"[..];
        let submit = Request::Submit { tag: 9, envelope };
        assert_eq!(Request::decode(&bytes[LENGTH_LEN..]), Ok(submit));
    }

    #[test]
    fn truncated_requests_are_refused() {
        let mut bytes = Vec::new();
        encode_hello(&mut bytes, &HELLO);
        for cut in 0..bytes.len() - LENGTH_LEN {
            assert!(Request::decode(&bytes[LENGTH_LEN..][..cut]).is_err());
        }
        // A submit frame's envelope runs to the frame's end, so the length field alone bounds it from below.
        let mut bytes = Vec::new();
        encode_submit(&mut bytes, 9, b"a").unwrap();
        for cut in 0..bytes.len() - LENGTH_LEN {
            assert!(Request::decode(&bytes[LENGTH_LEN..][..cut]).is_err());
        }
    }

    #[test]
    fn the_longest_envelope_fits_its_frame_and_one_byte_more_is_refused() {
        let mut bytes = Vec::new();
        let longest = vec![7; ENVELOPE_LEN_MAX];
        encode_submit(&mut bytes, 0, &longest).unwrap();
        let (content, _) = next_frame(&bytes, REQUEST_LEN_MAX).unwrap().unwrap();
        assert!(Request::decode(content).is_ok(), "fits exactly");
        let before = bytes.len();
        let above = vec![7; ENVELOPE_LEN_MAX + 1];
        assert!(encode_submit(&mut bytes, 0, &above).is_err());
        assert!(encode_submit(&mut bytes, 0, &[]).is_err());
        assert_eq!(bytes.len(), before);
        let mut content = bytes[LENGTH_LEN..].to_vec();
        content.push(7);
        assert!(matches!(
            Request::decode(&content),
            Err(DecodeError::TooLarge { .. })
        ));
    }

    #[test]
    fn unknown_versions_kinds_flags_and_trailing_bytes_are_refused() {
        let mut bytes = Vec::new();
        encode_hello(&mut bytes, &HELLO);
        let content = &bytes[LENGTH_LEN..];
        let with = |at: usize, value: u8| {
            let mut changed = content.to_vec();
            changed[at] = value;
            Request::decode(&changed).map(|_| ())
        };
        assert_eq!(with(0, 2), Err(DecodeError::Version(2)));
        assert_eq!(
            with(1, 0x81),
            Err(DecodeError::NotCanonical("request kind"))
        );
        assert_eq!(with(10, 16), Err(DecodeError::NotCanonical("hello flags")));
        let long = [content, &[0]].concat();
        assert_eq!(Request::decode(&long), Err(DecodeError::Trailing(1)));
    }
}
