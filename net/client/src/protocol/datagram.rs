//! The same protocol over UDP: who talks from which address is proven once, then each datagram stands for itself.
//!
//! ```text
//! client                                            node
//!   hello (nonce, token 0)             27 bytes -->
//!                                               <-- token (nonce, token)      18 bytes; nothing is remembered
//!   hello (nonce, token)                        -->
//!                                               <-- notices (nonce, welcome frame, ..)
//!   submit (token, tag, envelope)               -->
//!                                               <-- notices (nonce, frames)   acks, receipts, places, settled, keys
//!                                               <-- unknown (token)           10 bytes, if the node knows no such client
//! ```
//!
//! A token is the node's keyed hash of the client's address, port and nonce, as in QUIC's Retry (RFC 9000, section 8.1): only
//! who receives at an address can name it, so a forged sender gets no client's place, no quota, and no answer longer than what it
//! sent. The nonce is the client's: only who sees its datagrams can answer in the node's name.
//!
//! Invariants: as those of [`super`]; and D1: an answer to somebody who has proven nothing is shorter than what it answers. D2: no
//! datagram is longer than [`DATAGRAM_LEN_MAX`], which every IPv6 path carries whole.

use fairlane_engine::types::ChainId;
use fairlane_engine::wire::{DecodeError, Reader, Writer};

use super::request::{EnvelopeLenError, flags_of, hello_of};
use super::{Hello, LENGTH_LEN, PROTOCOL_VERSION, datagram_kind, next_frame, read_head};

/// Longest datagram, either way: what IPv6 carries on every path (1,280) less its header and that of UDP.
pub const DATAGRAM_LEN_MAX: usize = 1_232;

/// Longest envelope that a datagram carries beside its version, kind, token and tag.
pub const DATAGRAM_ENVELOPE_LEN_MAX: usize = DATAGRAM_LEN_MAX - 18;

/// Bytes of frames in a datagram of notices, beside its version, kind and nonce.
pub const DATAGRAM_FRAMES_LEN_MAX: usize = DATAGRAM_LEN_MAX - 10;

/// Bound of the length field of frames in datagrams.
pub const DATAGRAM_NOTICE_LEN_MAX: u32 = (DATAGRAM_FRAMES_LEN_MAX - LENGTH_LEN) as u32;

/// A datagram from a client, borrowed from the bytes it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatagramRequest<'a> {
    /// Asks for a token, shows one, or says that the client is still there.
    Hello {
        /// What the client wants.
        hello: Hello,
        /// The client's, random; every answer repeats it.
        nonce: u64,
        /// What the node gave to this address and nonce; 0: none yet.
        token: u64,
    },
    /// Submits one envelope.
    Submit {
        /// What the node gave to this address.
        token: u64,
        /// The client's name for the envelope; notices repeat it.
        tag: u64,
        /// 1 to [`DATAGRAM_ENVELOPE_LEN_MAX`] bytes, not looked at.
        envelope: &'a [u8],
    },
}

impl<'a> DatagramRequest<'a> {
    /// Reads a whole datagram. Errors: anything but one canonical request.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = reader_of(bytes)?;
        match read_head(&mut reader)? {
            datagram_kind::HELLO => {
                let (chain_id, flags) = (ChainId(reader.u64()?), reader.u8()?);
                let (nonce, token) = (reader.u64()?, reader.u64()?);
                reader.finish()?;
                let hello = hello_of(chain_id, flags)?;
                Ok(Self::Hello {
                    hello,
                    nonce,
                    token,
                })
            }
            datagram_kind::SUBMIT => {
                let (token, tag) = (reader.u64()?, reader.u64()?);
                let len = reader.left();
                if len == 0 {
                    return Err(DecodeError::Truncated { wanted: 1, left: 0 });
                }
                let envelope = reader.bytes(len)?;
                Ok(Self::Submit {
                    token,
                    tag,
                    envelope,
                })
            }
            _ => Err(DecodeError::NotCanonical("request kind")),
        }
    }
}

/// A datagram from a node, borrowed from the bytes it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatagramNotice<'a> {
    /// Say hello again with this token, from the same address.
    Token {
        /// The client's.
        nonce: u64,
        /// Not 0.
        token: u64,
    },
    /// Notices.
    Notices {
        /// The client's.
        nonce: u64,
        /// One or more whole frames as over TCP; read them by [`DatagramNotice::frames`].
        frames: &'a [u8],
    },
    /// The node knows no client at this address with this token: say hello anew.
    Unknown {
        /// As it was sent.
        token: u64,
    },
}

impl<'a> DatagramNotice<'a> {
    /// Reads a whole datagram, its frames' contents apart. Errors: anything but one canonical datagram.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = reader_of(bytes)?;
        let notice = match read_head(&mut reader)? {
            datagram_kind::TOKEN => {
                let (nonce, token) = (reader.u64()?, reader.u64()?);
                if token == 0 {
                    return Err(DecodeError::NotCanonical("token"));
                }
                Self::Token { nonce, token }
            }
            datagram_kind::NOTICES => {
                let nonce = reader.u64()?;
                let frames = reader.bytes(reader.left())?;
                Self::check_frames(frames)?;
                Self::Notices { nonce, frames }
            }
            datagram_kind::UNKNOWN => Self::Unknown {
                token: reader.u64()?,
            },
            _ => return Err(DecodeError::NotCanonical("notice kind")),
        };
        reader.finish()?;
        Ok(notice)
    }

    /// The contents of the frames of a datagram, as [`super::Notice::decode`] reads them.
    pub fn frames(mut frames: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        std::iter::from_fn(move || {
            let (content, used) = next_frame(frames, DATAGRAM_NOTICE_LEN_MAX).ok()??;
            frames = &frames[used..];
            Some(content)
        })
    }

    fn check_frames(mut frames: &[u8]) -> Result<(), DecodeError> {
        loop {
            let Some((_, used)) = next_frame(frames, DATAGRAM_NOTICE_LEN_MAX)? else {
                return Err(DecodeError::NotCanonical("a frame that is cut off"));
            };
            frames = &frames[used..];
            if frames.is_empty() {
                return Ok(());
            }
        }
    }
}

/// Writes a hello datagram into `out`, which it empties first.
pub fn encode_datagram_hello(out: &mut Vec<u8>, hello: &Hello, nonce: u64, token: u64) {
    head(out, datagram_kind::HELLO)
        .u64(hello.chain_id.0)
        .u8(flags_of(hello))
        .u64(nonce)
        .u64(token);
}

/// Writes a submit datagram into `out`, which it empties first. Errors: an envelope that is empty or above
/// [`DATAGRAM_ENVELOPE_LEN_MAX`]; nothing is written then.
pub fn encode_datagram_submit(
    out: &mut Vec<u8>,
    token: u64,
    tag: u64,
    envelope: &[u8],
) -> Result<(), EnvelopeLenError> {
    if !(1..=DATAGRAM_ENVELOPE_LEN_MAX).contains(&envelope.len()) {
        return Err(EnvelopeLenError {
            len: envelope.len(),
            max: DATAGRAM_ENVELOPE_LEN_MAX,
        });
    }
    head(out, datagram_kind::SUBMIT)
        .u64(token)
        .u64(tag)
        .bytes(envelope);
    Ok(())
}

/// Writes a token datagram into `out`, which it empties first.
pub fn encode_datagram_token(out: &mut Vec<u8>, nonce: u64, token: u64) {
    head(out, datagram_kind::TOKEN).u64(nonce).u64(token);
}

/// Writes the datagram that says that a token is not known into `out`, which it empties first.
pub fn encode_datagram_unknown(out: &mut Vec<u8>, token: u64) {
    head(out, datagram_kind::UNKNOWN).u64(token);
}

/// Packs whole frames into as few datagrams as their order allows and gives each to `send`; how many frames are too long
/// for any and were left out.
pub fn pack_notices(mut frames: &[u8], nonce: u64, send: &mut dyn FnMut(&[u8])) -> u64 {
    let mut out = Vec::with_capacity(DATAGRAM_LEN_MAX);
    let (mut left_out, mut is_filled) = (0, false);
    let begin = |out: &mut Vec<u8>| {
        head(out, datagram_kind::NOTICES).u64(nonce);
    };
    begin(&mut out);
    while let Ok(Some((_, used))) = next_frame(frames, super::NOTICE_LEN_MAX) {
        let (frame, rest) = frames.split_at(used);
        frames = rest;
        if used > DATAGRAM_FRAMES_LEN_MAX {
            left_out += 1;
            continue;
        }
        if out.len() + used > DATAGRAM_LEN_MAX {
            send(&out);
            begin(&mut out);
        }
        out.extend_from_slice(frame);
        is_filled = true;
    }
    if is_filled {
        send(&out);
    }
    left_out
}

fn reader_of(bytes: &[u8]) -> Result<Reader<'_>, DecodeError> {
    if bytes.len() > DATAGRAM_LEN_MAX {
        return Err(DecodeError::TooLarge {
            field: "datagram",
            value: bytes.len() as u64,
            max: DATAGRAM_LEN_MAX as u64,
        });
    }
    Ok(Reader::new(bytes))
}

fn head(out: &mut Vec<u8>, kind: u8) -> Writer<'_> {
    out.clear();
    let mut writer = Writer::new(out);
    writer.u8(PROTOCOL_VERSION).u8(kind);
    writer
}

#[cfg(test)]
#[path = "datagram_tests.rs"]
mod tests;
