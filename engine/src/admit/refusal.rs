//! Why a submission is refused, as the client is told.

use crate::types::BatchSeq;

/// A refusal of one envelope. [`Refusal::code`] is what stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The node holds all it can; come back later.
    #[error("busy, retry after {retry_after_us} us")]
    Busy {
        /// When to try again, microseconds from now.
        retry_after_us: u64,
    },
    /// Less than [`super::label_rules::TIME_LEFT_US_MIN`] is left until `valid_until`.
    #[error("expired, or about to")]
    Expired,
    /// Sealed to another committee key, or for another chain.
    #[error("sealed to another key or chain")]
    WrongKey,
    /// The committee does not serve this rollup.
    #[error("unknown rollup")]
    UnknownRollup,
    /// Larger than an envelope may be.
    #[error("too large")]
    TooLarge,
    /// The proof does not hold.
    #[error("bad proof")]
    BadProof,
    /// Not an envelope, or its label is out of bounds.
    #[error("malformed")]
    Malformed,
    /// Already settled.
    #[error("duplicate of an entry of batch {}", seq.0)]
    Duplicate {
        /// In which batch.
        seq: BatchSeq,
    },
    /// The rollup takes only sealed, or only open, envelopes.
    #[error("the rollup's policy does not take this kind of envelope")]
    PolicyMismatch,
}

impl Refusal {
    /// The code on the wire; 0 is "accepted".
    pub const fn code(self) -> u8 {
        match self {
            Self::Busy { .. } => 1,
            Self::Expired => 2,
            Self::WrongKey => 3,
            Self::UnknownRollup => 4,
            Self::TooLarge => 5,
            Self::BadProof => 6,
            Self::Malformed => 7,
            Self::Duplicate { .. } => 8,
            Self::PolicyMismatch => 9,
        }
    }

    /// The detail on the wire: retry-after in microseconds, or the batch; else 0.
    pub const fn detail(self) -> u64 {
        match self {
            Self::Busy { retry_after_us } => retry_after_us,
            Self::Duplicate { seq } => seq.0,
            _ => 0,
        }
    }
}

impl From<crate::seal::envelope::EnvelopeError> for Refusal {
    fn from(error: crate::seal::envelope::EnvelopeError) -> Self {
        use crate::seal::envelope::EnvelopeError;
        match error {
            EnvelopeError::TooLarge => Self::TooLarge,
            EnvelopeError::WrongKey => Self::WrongKey,
            EnvelopeError::BadProof => Self::BadProof,
            EnvelopeError::Malformed => Self::Malformed,
        }
    }
}
