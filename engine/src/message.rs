//! What authorities say to each other, and its encoding.
//!
//! A message is a kind byte and a body; framing (length, version) belongs to the transport. Vertices and share messages
//! are signed by their authors and so may come from anybody; requests and envelopes mean the same whoever sends them.

use std::sync::Arc;

use crate::dag::VertexRef;
use crate::dag::header::bounded_round;
use crate::sync::part::{Part, WantPart};
use crate::types::{AuthorityIndex, BatchSeq, Digest, Round, TimestampUs};
use crate::wire::{DecodeError, Reader, Writer};

/// A message to another authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerMessage {
    /// An encoded vertex.
    Vertex(Arc<[u8]>),
    /// Asks for vertices, at most [`WANT_VERTICES_MAX`].
    WantVertices(Vec<VertexRef>),
    /// Asks for envelopes, at most [`WANT_ENVELOPES_MAX`].
    WantEnvelopes(Vec<Digest>),
    /// An encoded envelope.
    Envelope(Arc<[u8]>),
    /// An encoded share message.
    Share(Arc<[u8]>),
    /// Asks for the peer's share message of one batch.
    WantShare(BatchSeq),
    /// Asks for all vertices of the `count` rounds after `after`.
    WantRounds {
        /// The round before the first.
        after: Round,
        /// How many.
        count: u32,
    },
    /// Asks for a part of a checkpoint or of a settled batch.
    WantPart(WantPart),
    /// Such a part.
    Part(Part),
    /// Asks for the newest vertex of whoever asks.
    WantNewest {
        /// Comes back with the answer.
        token: TimestampUs,
    },
    /// An encoded vertex, the newest of the receiver's that the sender has.
    Newest {
        /// As asked.
        token: TimestampUs,
        /// None when there is none.
        vertex: Option<Arc<[u8]>>,
    },
}

/// Kind of a [`crate::certificate::Vouch`]. Not a [`PeerMessage`]: certificates are no affair of the engine's, so the shell
/// takes these out before.
pub const VOUCH_KIND: u8 = 0x4d;

/// Vertices that one request may name.
pub const WANT_VERTICES_MAX: u32 = 256;
/// Envelopes that one request may name.
pub const WANT_ENVELOPES_MAX: u32 = 1024;

/// Kind bytes, apart from those of the client protocol (below 0x40 and above 0x80).
mod kind {
    pub(super) const VERTEX: u8 = 0x42;
    pub(super) const WANT_VERTICES: u8 = 0x43;
    pub(super) const WANT_ENVELOPES: u8 = 0x44;
    pub(super) const ENVELOPE: u8 = 0x45;
    pub(super) const SHARE: u8 = 0x46;
    pub(super) const WANT_SHARE: u8 = 0x47;
    pub(super) const WANT_ROUNDS: u8 = 0x48;
    pub(super) const WANT_PART: u8 = 0x49;
    pub(super) const PART: u8 = 0x4a;
    pub(super) const WANT_NEWEST: u8 = 0x4b;
    pub(super) const NEWEST: u8 = 0x4c;
}

impl PeerMessage {
    /// The kind byte.
    pub const fn kind(&self) -> u8 {
        match self {
            Self::Vertex(_) => kind::VERTEX,
            Self::WantVertices(_) => kind::WANT_VERTICES,
            Self::WantEnvelopes(_) => kind::WANT_ENVELOPES,
            Self::Envelope(_) => kind::ENVELOPE,
            Self::Share(_) => kind::SHARE,
            Self::WantShare(_) => kind::WANT_SHARE,
            Self::WantRounds { .. } => kind::WANT_ROUNDS,
            Self::WantPart(_) => kind::WANT_PART,
            Self::Part(_) => kind::PART,
            Self::WantNewest { .. } => kind::WANT_NEWEST,
            Self::Newest { .. } => kind::NEWEST,
        }
    }

    /// Whether messages of this kind only ask: what answers them changes nothing here.
    pub const fn is_request(kind: u8) -> bool {
        matches!(
            kind,
            kind::WANT_VERTICES
                | kind::WANT_ENVELOPES
                | kind::WANT_SHARE
                | kind::WANT_ROUNDS
                | kind::WANT_PART
        )
    }

    /// Appends the body (all but the kind) to `out`.
    pub fn encode_body(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        match self {
            Self::Vertex(bytes) | Self::Envelope(bytes) | Self::Share(bytes) => {
                writer.bytes(bytes);
            }
            Self::WantVertices(refs) => {
                writer.count_u32(refs.len());
                for vertex in refs {
                    writer
                        .u64(vertex.round.0)
                        .u8(vertex.author.0)
                        .bytes(&vertex.digest.0);
                }
            }
            Self::WantEnvelopes(digests) => {
                writer.count_u32(digests.len());
                for digest in digests {
                    writer.bytes(&digest.0);
                }
            }
            Self::WantShare(seq) => {
                writer.u64(seq.0);
            }
            Self::WantRounds { after, count } => {
                writer.u64(after.0).u32(*count);
            }
            Self::WantPart(want) => want.encode(out),
            Self::Part(part) => part.encode(out),
            Self::WantNewest { token } => {
                writer.u64(token.0);
            }
            Self::Newest { token, vertex } => {
                writer
                    .u64(token.0)
                    .bytes(vertex.as_deref().unwrap_or_default());
            }
        }
    }

    /// Reads a body of the given kind. Errors: an unknown kind, a count above its bound, bytes too few or too many.
    pub fn decode(kind: u8, body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let message = match kind {
            // Their own decoders check these bytes; each is bounded by the frame that carried it.
            kind::VERTEX => return Ok(Self::Vertex(body.into())),
            kind::ENVELOPE => return Ok(Self::Envelope(body.into())),
            kind::SHARE => return Ok(Self::Share(body.into())),
            kind::WANT_VERTICES => {
                let count = reader.count_u32("wanted vertices", WANT_VERTICES_MAX)?;
                let mut refs = Vec::with_capacity(count);
                for _ in 0..count {
                    let round = Round(reader.u64()?);
                    let author = AuthorityIndex(reader.u8()?);
                    refs.push(VertexRef {
                        round,
                        author,
                        digest: reader.digest()?,
                    });
                }
                Self::WantVertices(refs)
            }
            kind::WANT_ENVELOPES => {
                let count = reader.count_u32("wanted envelopes", WANT_ENVELOPES_MAX)?;
                let mut digests = Vec::with_capacity(count);
                for _ in 0..count {
                    digests.push(reader.digest()?);
                }
                Self::WantEnvelopes(digests)
            }
            kind::WANT_SHARE => Self::WantShare(BatchSeq(reader.u64()?)),
            kind::WANT_ROUNDS => Self::WantRounds {
                after: bounded_round(&mut reader)?,
                count: reader.u32()?,
            },
            kind::WANT_PART => Self::WantPart(WantPart::decode(&mut reader)?),
            kind::PART => Self::Part(Part::decode(&mut reader)?),
            kind::WANT_NEWEST => Self::WantNewest {
                token: reader.timestamp()?,
            },
            kind::NEWEST => {
                let token = reader.timestamp()?;
                let vertex = reader.bytes(reader.left())?;
                let vertex = (!vertex.is_empty()).then(|| vertex.into());
                Self::Newest { token, vertex }
            }
            _ => return Err(DecodeError::NotCanonical("message kind")),
        };
        reader.finish()?;
        Ok(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::part::Item;

    fn round_trip(message: PeerMessage) -> Vec<u8> {
        let mut body = Vec::new();
        message.encode_body(&mut body);
        assert_eq!(
            PeerMessage::decode(message.kind(), &body),
            Ok(message.clone())
        );
        body
    }

    #[test]
    fn every_kind_is_read_back() {
        let vertex = VertexRef {
            round: Round(9),
            author: AuthorityIndex(2),
            digest: Digest([7; 32]),
        };
        round_trip(PeerMessage::Vertex(Arc::from(&b"v"[..])));
        round_trip(PeerMessage::Envelope(Arc::from(&b"e"[..])));
        round_trip(PeerMessage::Share(Arc::from(&b"s"[..])));
        round_trip(PeerMessage::WantVertices(vec![vertex, vertex]));
        let after = Round(7);
        round_trip(PeerMessage::WantRounds { after, count: 9 });
        for item in [
            Item::Proof(Round(3)),
            Item::State(BatchSeq(4)),
            Item::Headers(BatchSeq(5)),
            Item::Batch(BatchSeq(6)),
        ] {
            let want = WantPart { item, index: 2 };
            round_trip(PeerMessage::WantPart(want));
            let bytes = vec![1, 2, 3];
            round_trip(PeerMessage::Part(Part {
                want,
                of_len: 9,
                bytes,
            }));
        }
        let token = TimestampUs(9);
        round_trip(PeerMessage::WantNewest { token });
        for vertex in [None, Some(Arc::from(&b"v"[..]))] {
            round_trip(PeerMessage::Newest { token, vertex });
        }
        round_trip(PeerMessage::WantEnvelopes(vec![Digest([1; 32])]));
        assert_eq!(
            round_trip(PeerMessage::WantShare(BatchSeq(258))),
            [0, 0, 0, 0, 0, 0, 1, 2]
        );
    }

    #[test]
    fn a_claimed_count_is_refused_before_it_is_allocated() {
        let body = u32::MAX.to_be_bytes();
        for kind in [kind::WANT_VERTICES, kind::WANT_ENVELOPES] {
            let refused = PeerMessage::decode(kind, &body);
            assert!(
                matches!(refused, Err(DecodeError::TooLarge { .. })),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn unknown_kinds_truncated_and_trailing_bytes_are_refused() {
        assert!(PeerMessage::decode(0x7f, &[]).is_err());
        assert!(PeerMessage::decode(VOUCH_KIND, &[]).is_err());
        assert!(PeerMessage::decode(kind::WANT_SHARE, &[0; 7]).is_err());
        assert!(PeerMessage::decode(kind::WANT_SHARE, &[0; 9]).is_err());
        assert!(PeerMessage::decode(kind::WANT_ENVELOPES, &[0, 0, 0, 1, 5]).is_err());
    }
}
