//! Envelopes: their bytes, and how a client puts a payload into an open one.
//!
//! Sealed: label 64 | U 32 | U2 32 | W 32 | W2 32 | C | z 32, where C is r | payload | padding under
//! ChaCha20-Poly1305 with its tag, 32 + payload length + 16 bytes. Open: label 64 | payload | padding.
//!
//! [`Envelope::decode`] checks the structure, so that a batch can be cut by lengths before anything is opened; points,
//! scalar and proof are the business of [`super::proof`]. The digest is computed here and in [`super::digests`], from the
//! bytes, and nowhere else: a digest that a client or peer claims is never used.

use std::sync::Arc;

use curve25519_dalek::scalar::Scalar;
use zeroize::Zeroizing;

use super::digests::Digests;
use super::group::Transcript;
use super::key::SealingKey;
use super::label::{EnvelopeKind, LABEL_LEN, Label, PADDING_MARKER, Padding};
use crate::types::{Digest, RollupId, TimestampUs};

/// An envelope of sound structure; whether its proof holds is not known. Cloning copies no payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    bytes: Arc<[u8]>,
    label: Label,
    digest: Digest,
}

impl Envelope {
    /// Reads the label and holds the length against it.
    ///
    /// Errors: [`EnvelopeError::TooLarge`] above [`ENVELOPE_LEN_MAX`]; [`EnvelopeError::Malformed`] for a label that is
    /// not canonical or a length that is not exactly the label's.
    pub fn decode(bytes: Arc<[u8]>) -> Result<Self, EnvelopeError> {
        let mut envelope = Self::decode_undigested(bytes)?;
        envelope.digest = Digest(*blake3::hash(&envelope.bytes).as_bytes());
        Ok(envelope)
    }

    /// [`Self::decode`] of each, in their order, onto `out`; their digests are made side by side, at a fraction of the cost.
    pub fn decode_all(
        all: impl IntoIterator<Item = Arc<[u8]>>,
        digests: &mut Digests,
        out: &mut Vec<Result<Self, EnvelopeError>>,
    ) {
        let before = out.len();
        out.extend(all.into_iter().map(Self::decode_undigested));
        digests.fill(&mut out[before..]);
    }

    fn decode_undigested(bytes: Arc<[u8]>) -> Result<Self, EnvelopeError> {
        if bytes.len() > ENVELOPE_LEN_MAX {
            return Err(EnvelopeError::TooLarge);
        }
        let label = bytes.first_chunk().ok_or(EnvelopeError::Malformed)?;
        let label = Label::decode(label).map_err(|_| EnvelopeError::Malformed)?;
        let overhead = overhead(label.kind);
        if bytes.len().checked_sub(overhead) != Some(label.payload_len as usize) {
            return Err(EnvelopeError::Malformed);
        }
        Ok(Self {
            bytes,
            label,
            digest: Digest([0; 32]),
        })
    }

    /// Of all its bytes; none else is ever given.
    pub(super) const fn set_digest(&mut self, digest: Digest) {
        self.digest = digest;
    }

    /// All its bytes.
    pub const fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }

    /// Its clear part.
    pub const fn label(&self) -> &Label {
        &self.label
    }

    /// BLAKE3-256 of all its bytes.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The payload as carried, padding included, of an open envelope; `None` for a sealed one.
    pub fn open_payload(&self) -> Option<&[u8]> {
        (self.label.kind == EnvelopeKind::Open).then(|| &self.bytes[LABEL_LEN..])
    }

    /// The encoding of U as carried, perhaps of no point; `None` for an open envelope.
    pub fn u_encoding(&self) -> Option<&[u8; 32]> {
        self.sealed_fields().map(|fields| fields.u)
    }

    /// The fields of a sealed envelope; `None` for an open one.
    pub(super) fn sealed_fields(&self) -> Option<SealedFields<'_>> {
        if self.label.kind != EnvelopeKind::Sealed {
            return None;
        }
        let (label, rest) = self.bytes.split_first_chunk()?;
        let (points, rest) = rest.split_at_checked(4 * POINT_LEN)?;
        let (points, _) = points.as_chunks::<POINT_LEN>();
        let (ciphertext, z) = rest.split_last_chunk()?;
        let [u, u2, w, w2] = points else { return None };
        Some(SealedFields {
            label,
            u,
            u2,
            w,
            w2,
            ciphertext,
            z,
        })
    }
}

impl AsRef<Self> for Envelope {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// Where the fields of a sealed envelope stand in its bytes.
pub(super) struct SealedFields<'a> {
    pub(super) label: &'a [u8; LABEL_LEN],
    pub(super) u: &'a [u8; POINT_LEN],
    pub(super) u2: &'a [u8; POINT_LEN],
    pub(super) w: &'a [u8; POINT_LEN],
    pub(super) w2: &'a [u8; POINT_LEN],
    /// Tag included.
    pub(super) ciphertext: &'a [u8],
    pub(super) z: &'a [u8; 32],
}

impl SealedFields<'_> {
    /// e: a hash of everything but z.
    pub(super) fn challenge(&self) -> Scalar {
        Transcript::new(TAG_ENVELOPE)
            .part(self.label)
            .parts([self.u, self.u2, self.w, self.w2])
            .part(self.ciphertext)
            .scalar()
    }

    /// K for the true or supposed D.
    pub(super) fn content_key(&self, d: &[u8; POINT_LEN]) -> Zeroizing<[u8; 32]> {
        content_key(self.u, d, self.label)
    }
}

pub(super) fn content_key(
    u: &[u8; 32],
    d: &[u8; 32],
    label: &[u8; LABEL_LEN],
) -> Zeroizing<[u8; 32]> {
    Transcript::new(TAG_KEM)
        .part(u)
        .part(d)
        .part(label)
        .secret_key()
}

/// Why an envelope is refused; each is a reply code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Not the canonical encoding of an envelope.
    #[error("not the encoding of an envelope")]
    Malformed,
    /// For another chain, committee key or epoch.
    #[error("made for another chain or committee key")]
    WrongKey,
    /// Above [`ENVELOPE_LEN_MAX`].
    #[error("longer than {ENVELOPE_LEN_MAX} bytes")]
    TooLarge,
    /// The proof does not hold.
    #[error("the proof does not hold")]
    BadProof,
}

/// What a client says about an envelope; the key and the payload give the rest of the label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LabelFields {
    /// The rollup that it is for.
    pub rollup: RollupId,
    /// Consensus time after which it is not ordered any more.
    pub valid_until: TimestampUs,
    /// Opaque bytes, public.
    pub sender_tag: [u8; 16],
    /// Length to pad the payload to, in bytes, at least one more than the payload has; `None` shows its true length.
    pub padded_len: Option<u32>,
}

/// Why a client cannot make an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The envelope would be longer than [`ENVELOPE_LEN_MAX`].
    #[error("a payload of {len} bytes, padding included, is above {max}")]
    TooLarge {
        /// Payload and padding, in bytes.
        len: usize,
        /// The longest there may be in an envelope of this kind, in bytes.
        max: usize,
    },
    /// The padded length leaves no byte for the padding.
    #[error("a payload of {len} bytes cannot be padded to {padded_len}")]
    PaddedLen {
        /// Payload, in bytes.
        len: usize,
        /// What it was to be padded to, in bytes.
        padded_len: u32,
    },
}

/// Puts `payload` into an open envelope. Errors: as [`seal()`](super::seal()).
pub fn open_envelope(
    key: &SealingKey,
    fields: &LabelFields,
    payload: &[u8],
) -> Result<Vec<u8>, SealError> {
    let label = make_label(EnvelopeKind::Open, key, fields, payload)?;
    let carried_len = label.payload_len as usize;
    let mut out = Vec::with_capacity(LABEL_LEN + carried_len);
    out.extend_from_slice(&label.encode());
    push_padded(&mut out, payload, carried_len);
    Ok(out)
}

pub(super) fn make_label(
    kind: EnvelopeKind,
    key: &SealingKey,
    fields: &LabelFields,
    payload: &[u8],
) -> Result<Label, SealError> {
    let len = payload.len();
    let padded_len = fields.padded_len.unwrap_or(0);
    if fields.padded_len.is_some() && padded_len as usize <= len {
        return Err(SealError::PaddedLen { len, padded_len });
    }
    let carried_len = len.max(padded_len as usize);
    let max = ENVELOPE_LEN_MAX - overhead(kind);
    if carried_len > max {
        return Err(SealError::TooLarge {
            len: carried_len,
            max,
        });
    }
    Ok(Label {
        kind,
        padding: match fields.padded_len {
            None => Padding::None,
            Some(_) => Padding::Iso7816,
        },
        rollup: fields.rollup,
        chain_id: key.chain_id(),
        key_id: key.key_id(),
        valid_until: fields.valid_until,
        sender_tag: fields.sender_tag,
        // At most ENVELOPE_LEN_MAX, checked above.
        payload_len: carried_len as u32,
    })
}

/// Appends `payload`, padded to `carried_len` unless it has that length already.
pub(super) fn push_padded(out: &mut Vec<u8>, payload: &[u8], carried_len: usize) {
    let end = out.len() + carried_len;
    out.extend_from_slice(payload);
    if out.len() < end {
        out.push(PADDING_MARKER);
        out.resize(end, 0);
    }
}

/// What an envelope has beside the carried payload, in bytes.
const fn overhead(kind: EnvelopeKind) -> usize {
    match kind {
        EnvelopeKind::Open => LABEL_LEN,
        EnvelopeKind::Sealed => SEALED_OVERHEAD,
    }
}

/// The longest envelope, in bytes.
pub const ENVELOPE_LEN_MAX: usize = 16 * 1024;
/// What sealing adds to a payload, in bytes: label, four points, r, cipher tag, z.
pub const SEALED_OVERHEAD: usize = LABEL_LEN + 4 * POINT_LEN + SECRET_LEN + TAG_LEN + 32;
/// Length of the encoded r that precedes the payload inside the seal, in bytes.
pub(super) const SECRET_LEN: usize = 32;
/// Length of the cipher's tag, in bytes.
pub(super) const TAG_LEN: usize = 16;
const POINT_LEN: usize = 32;
const TAG_KEM: &str = "fairlane/1/kem";
const TAG_ENVELOPE: &str = "fairlane/1/envelope";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::{deal, seal};
    use crate::types::{ChainId, Epoch};

    fn key() -> SealingKey {
        deal(ChainId(1), Epoch(0), 4, 3, &[3; 32]).unwrap().0
    }

    fn fields(padded_len: Option<u32>) -> LabelFields {
        LabelFields {
            rollup: RollupId(5),
            valid_until: TimestampUs(1_000_000),
            sender_tag: [6; 16],
            padded_len,
        }
    }

    fn decode(bytes: Vec<u8>) -> Result<Envelope, EnvelopeError> {
        Envelope::decode(bytes.into())
    }

    #[test]
    fn a_sealed_envelope_is_272_bytes_longer_than_its_payload() {
        assert_eq!(SEALED_OVERHEAD, 272);
        let sealed = seal(&key(), &fields(None), &[7; 128], &[1; 64]).unwrap();
        assert_eq!(sealed.len(), 400);
        let envelope = decode(sealed.clone()).unwrap();
        assert_eq!(envelope.label().payload_len, 128);
        assert_eq!(envelope.label().key_id, key().key_id());
        assert_eq!(envelope.digest().0, *blake3::hash(&sealed).as_bytes());
        assert_eq!(envelope.open_payload(), None);
    }

    #[test]
    fn digests_made_side_by_side_are_the_ones_made_alone() {
        // Every length that an envelope of one chunk can have, and some beyond; some are none, in between.
        let lengths = (0..=1_100).chain([2_000, 4_096, 10_000]);
        let mut all: Vec<Arc<[u8]>> = Vec::new();
        for len in lengths {
            let payload: Vec<u8> = (0..len).map(|at| (at * 7 + len) as u8).collect();
            let copies = 1 + len % 3 * 9;
            for copy in 0..copies {
                let mut payload = payload.clone();
                payload.push(copy as u8);
                all.push(
                    open_envelope(&key(), &fields(None), &payload)
                        .unwrap()
                        .into(),
                );
            }
            if len % 50 == 0 {
                all.push(payload.into());
            }
        }
        // Shapes mixed, as they come.
        let shuffled: Vec<Arc<[u8]>> = (0..all.len())
            .map(|at| all[at * 7_919 % all.len()].clone())
            .collect();
        let mut digests = Digests::default();
        for portion in [all, shuffled].concat().chunks(300) {
            let mut out = vec![Err(EnvelopeError::TooLarge)];
            Envelope::decode_all(portion.iter().cloned(), &mut digests, &mut out);
            let alone = portion.iter().cloned().map(Envelope::decode);
            assert_eq!(out[0], Err(EnvelopeError::TooLarge), "what was there stays");
            assert_eq!(out[1..], alone.collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_open_envelope_carries_its_payload_in_the_clear() {
        let envelope = decode(open_envelope(&key(), &fields(None), b"hello").unwrap()).unwrap();
        assert_eq!(envelope.open_payload(), Some(&b"hello"[..]));
        assert_eq!(envelope.bytes().len(), 64 + 5);
        assert!(envelope.sealed_fields().is_none());
        let padded = decode(open_envelope(&key(), &fields(Some(9)), b"hello").unwrap()).unwrap();
        assert_eq!(padded.open_payload(), Some(&b"hello\x80\0\0\0"[..]));
        assert_eq!(
            padded.label().content(padded.open_payload().unwrap()),
            Some(&b"hello"[..])
        );
    }

    #[test]
    fn a_sealed_envelope_shows_nothing_of_its_payload() {
        let payload = [0xa5; 64];
        let sealed = seal(&key(), &fields(None), &payload, &[1; 64]).unwrap();
        assert!(sealed.windows(4).all(|window| window != &payload[..4]));
    }

    #[test]
    fn the_same_entropy_repeats_the_bytes_and_never_the_secrets_of_another_payload() {
        let u = |payload: &[u8], entropy: u8, tag: u8| {
            let fields = LabelFields {
                sender_tag: [tag; 16],
                ..fields(None)
            };
            let sealed = seal(&key(), &fields, payload, &[entropy; 64]).unwrap();
            sealed[64..96].to_vec()
        };
        assert_eq!(u(b"a", 1, 0), u(b"a", 1, 0));
        assert_ne!(u(b"a", 1, 0), u(b"b", 1, 0), "another payload");
        assert_ne!(u(b"a", 1, 0), u(b"a", 2, 0), "other entropy");
        assert_ne!(u(b"a", 1, 0), u(b"a", 1, 1), "another label");
    }

    #[test]
    fn a_sealed_envelope_of_fixed_entropy_is_these_bytes() {
        let sealed = seal(&key(), &fields(None), b"golden", &[1; 64]).unwrap();
        assert_eq!(
            hex::encode(decode(sealed).unwrap().digest().0),
            "8146d9340bb097f007558b08d2a51bd21e155e04f6ce2ab27339fe5805ac3071"
        );
    }

    #[test]
    fn every_length_but_the_labels_own_is_malformed() {
        for whole in [
            seal(&key(), &fields(None), b"payload", &[1; 64]).unwrap(),
            open_envelope(&key(), &fields(None), b"payload").unwrap(),
        ] {
            assert!(decode(whole.clone()).is_ok());
            for len in 0..whole.len() {
                assert_eq!(decode(whole[..len].to_vec()), Err(EnvelopeError::Malformed));
            }
            let longer = [&whole[..], &[0]].concat();
            assert_eq!(decode(longer), Err(EnvelopeError::Malformed));
        }
    }

    #[test]
    fn the_longest_envelope_passes_and_one_byte_more_does_not() {
        let (sealed_max, open_max) = (16_384 - 272, 16_384 - 64);
        let long = vec![1u8; open_max + 1];
        let sealed = seal(&key(), &fields(None), &long[..sealed_max], &[1; 64]).unwrap();
        assert!(decode(sealed).is_ok());
        let open = open_envelope(&key(), &fields(None), &long[..open_max]).unwrap();
        assert!(decode(open).is_ok());
        let too_large = |len, max| Err(SealError::TooLarge { len, max });
        let one_more = seal(&key(), &fields(None), &long[..=sealed_max], &[1; 64]);
        assert_eq!(one_more, too_large(sealed_max + 1, sealed_max));
        let one_more = open_envelope(&key(), &fields(None), &long);
        assert_eq!(one_more, too_large(open_max + 1, open_max));
        let huge = seal(&key(), &fields(Some(u32::MAX)), b"a", &[1; 64]);
        assert_eq!(huge, too_large(u32::MAX as usize, sealed_max));
        assert_eq!(
            decode(vec![1; ENVELOPE_LEN_MAX + 1]),
            Err(EnvelopeError::TooLarge)
        );
    }

    #[test]
    fn padding_needs_a_byte_of_its_own() {
        let refused = SealError::PaddedLen {
            len: 3,
            padded_len: 3,
        };
        assert_eq!(
            open_envelope(&key(), &fields(Some(3)), b"abc"),
            Err(refused)
        );
        let zero = SealError::PaddedLen {
            len: 0,
            padded_len: 0,
        };
        assert_eq!(open_envelope(&key(), &fields(Some(0)), b""), Err(zero));
        assert!(open_envelope(&key(), &fields(Some(4)), b"abc").is_ok());
    }
}
