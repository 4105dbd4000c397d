//! Makes envelopes for one rollup: sealed, or open where its policy allows it.

use std::sync::Arc;

use fairlane_engine::seal::{
    Envelope, EnvelopeError, EnvelopeKind, LabelFields, SealError, SealingKey, Unsealed,
    open_envelope, seal_all, size_class,
};
use fairlane_engine::types::{Entry, RollupId, TimestampUs};
use zeroize::Zeroizing;

/// What stays the same from envelope to envelope. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Sealer {
    /// The committee key.
    pub key: SealingKey,
    /// The rollup.
    pub rollup: RollupId,
    /// Sealed or open.
    pub kind: EnvelopeKind,
    /// 16 bytes of the sender's choice, public and authenticated by nobody.
    pub sender_tag: [u8; 16],
    /// What of a payload's length shows.
    pub padding: PadTo,
}

/// What length payloads are padded to before they are sealed: how much of theirs shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PadTo {
    /// Nothing: the true length shows.
    Nothing,
    /// The next of [`fairlane_engine::seal::SIZE_CLASSES`]: one of nine lengths shows.
    SizeClass,
    /// Always this many bytes, one more than the longest payload: nothing shows but that it is at most so long.
    Len(u32),
}

impl Sealer {
    /// Makes an envelope that is ordered until `valid_until`, at most 60 s ahead of the nodes' clocks.
    ///
    /// Fresh randomness from the operating system each time: to submit again, keep the envelope and submit its bytes.
    /// If sealed some 20 us where the machine has AVX-512 IFMA, some 65 where not. Errors: a payload that is too long, or no randomness.
    pub fn make(&self, payload: &[u8], valid_until: TimestampUs) -> Result<Envelope, SealerError> {
        let mut made = self.make_all(&[payload], valid_until);
        made.pop().expect("one a payload")
    }

    /// As [`Sealer::make`] for each of `payloads`, in their order, many at once in half the time; one that is refused harms no
    /// other.
    pub fn make_all(
        &self,
        payloads: &[&[u8]],
        valid_until: TimestampUs,
    ) -> Vec<Result<Envelope, SealerError>> {
        let fields: Vec<LabelFields> = payloads
            .iter()
            .map(|payload| self.fields(payload, valid_until))
            .collect();
        let both = payloads.iter().zip(&fields);
        let made = match self.kind {
            EnvelopeKind::Sealed => {
                let mut entropy = Zeroizing::new(vec![[0; 64]; payloads.len()]);
                if let Err(error) = getrandom::fill(entropy.as_flattened_mut()) {
                    return vec![Err(error.into()); payloads.len()];
                }
                let unsealed = both.zip(entropy.iter());
                let unsealed: Vec<Unsealed<'_>> = unsealed
                    .map(|((payload, fields), entropy)| Unsealed {
                        fields,
                        payload,
                        entropy,
                    })
                    .collect();
                seal_all(&self.key, &unsealed)
            }
            EnvelopeKind::Open => both
                .map(|(payload, fields)| open_envelope(&self.key, fields, payload))
                .collect(),
        };
        let decode = |bytes: Result<Vec<u8>, SealError>| Ok(Envelope::decode(Arc::from(bytes?))?);
        made.into_iter().map(decode).collect()
    }

    fn fields(&self, payload: &[u8], valid_until: TimestampUs) -> LabelFields {
        LabelFields {
            rollup: self.rollup,
            valid_until,
            sender_tag: self.sender_tag,
            padded_len: match self.padding {
                PadTo::Nothing => None,
                // What no class holds is refused for its length when it is sealed.
                PadTo::SizeClass => Some(size_class(payload.len()).unwrap_or(u32::MAX)),
                PadTo::Len(len) => Some(len),
            },
        }
    }
}

/// What authorities list for `envelope`, and what its receipts are checked against.
pub fn entry_of(envelope: &Envelope) -> Entry {
    Entry {
        digest: envelope.digest(),
        valid_until: envelope.label().valid_until,
    }
}

/// Why an envelope cannot be made.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub enum SealerError {
    /// The payload does not fit.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// What was made does not read back.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The operating system gives no randomness.
    #[error("the operating system gives no randomness: {0}")]
    Entropy(#[from] getrandom::Error),
}

#[cfg(test)]
mod tests {
    use fairlane_engine::seal::deal;
    use fairlane_engine::types::{ChainId, Epoch};

    use super::*;

    fn sealer(kind: EnvelopeKind) -> Sealer {
        let (key, _) = deal(ChainId(7), Epoch(0), 4, 3, &[1; 32]).unwrap();
        Sealer {
            key,
            rollup: RollupId(1),
            kind,
            sender_tag: [2; 16],
            padding: PadTo::Nothing,
        }
    }

    #[test]
    fn an_envelope_says_what_it_was_made_for() {
        for kind in [EnvelopeKind::Sealed, EnvelopeKind::Open] {
            let envelope = sealer(kind).make(&[5; 128], TimestampUs(9)).unwrap();
            let label = envelope.label();
            assert_eq!(
                (label.kind, label.rollup, label.payload_len),
                (kind, RollupId(1), 128)
            );
            let entry = entry_of(&envelope);
            assert_eq!(entry.digest.0, *blake3::hash(envelope.bytes()).as_bytes());
            assert_eq!(entry.valid_until, TimestampUs(9));
        }
    }

    #[test]
    fn payloads_of_one_size_class_have_one_length_and_keep_their_content() {
        for kind in [EnvelopeKind::Sealed, EnvelopeKind::Open] {
            let sealer = Sealer {
                padding: PadTo::SizeClass,
                ..sealer(kind)
            };
            let len = |payload: &[u8]| {
                let envelope = sealer.make(payload, TimestampUs(9)).unwrap();
                if let Some(carried) = envelope.open_payload() {
                    assert_eq!(envelope.label().content(carried), Some(payload));
                }
                (envelope.bytes().len(), envelope.label().payload_len)
            };
            assert_eq!(len(b""), len(&[1; 63]));
            assert_eq!(len(&[1; 64]), len(&[1; 127]));
            assert_ne!(len(&[1; 63]), len(&[1; 64]));
            assert_eq!(len(&[1; 959]).1, 960);
            let refused = sealer.make(&[0; 16_112], TimestampUs(9)).unwrap_err();
            let too_large = matches!(refused, SealerError::Seal(SealError::TooLarge { .. }));
            assert!(too_large, "{refused}");
        }
    }

    #[test]
    fn many_made_at_once_keep_their_order_and_one_refused_harms_no_other() {
        let too_long = [0; 16_385];
        let payloads: [&[u8]; 4] = [b"a", b"bb", &too_long, b"dddd"];
        for kind in [EnvelopeKind::Sealed, EnvelopeKind::Open] {
            let made = sealer(kind).make_all(&payloads, TimestampUs(9));
            let len = |made: &Result<Envelope, SealerError>| {
                let label = made.as_ref().ok().map(|envelope| *envelope.label());
                label.map(|label| (label.kind, label.payload_len))
            };
            let lens: Vec<_> = made.iter().map(len).collect();
            let expected = [Some(1), Some(2), None, Some(4)];
            assert_eq!(lens, expected.map(|len| len.map(|len| (kind, len))));
        }
        let same = sealer(EnvelopeKind::Sealed).make_all(&[b"same", b"same"], TimestampUs(9));
        let [Ok(one), Ok(other)] = &same[..] else {
            panic!("both are made")
        };
        assert_ne!(one.digest(), other.digest());
        assert!(
            sealer(EnvelopeKind::Sealed)
                .make_all(&[], TimestampUs(9))
                .is_empty()
        );
    }

    #[test]
    fn two_seals_of_one_payload_are_two_envelopes() {
        let sealer = sealer(EnvelopeKind::Sealed);
        let make = || sealer.make(b"same", TimestampUs(9)).unwrap();
        assert_ne!(make().digest(), make().digest());
        assert!(sealer.make(&[0; 20_000], TimestampUs(9)).is_err());
    }
}
