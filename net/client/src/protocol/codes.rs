//! Answer codes: what a node says about a submission, and why it hangs up.

use fairlane_engine::wire::DecodeError;

/// A node's answer to one submission; everything but [`AckCode::Accepted`] is a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum AckCode {
    /// Has, or already had, a position in the node's local order. Detail: 0.
    Accepted = 0,
    /// Over a quota or a full queue. Detail: retry after so many microseconds.
    Busy = 1,
    /// Under two seconds of validity left by the node's clock. Detail: 0.
    Expired = 2,
    /// Sealed to another key, or for another chain. Detail: 0.
    WrongKey = 3,
    /// The committee does not order for this rollup. Detail: 0.
    UnknownRollup = 4,
    /// Above the size limit. Detail: 0.
    TooLarge = 5,
    /// The proof of the sealed envelope does not hold. Detail: 0.
    BadProof = 6,
    /// Not an envelope, or its length contradicts its label. Detail: 0.
    Malformed = 7,
    /// Already settled. Detail: the seq of its batch.
    Duplicate = 8,
    /// An open envelope for a sealed-only rollup, or the reverse. Detail: 0.
    PolicyMismatch = 9,
}

impl AckCode {
    /// Every code, ascending by its number.
    pub const ALL: [Self; 10] = [
        Self::Accepted,
        Self::Busy,
        Self::Expired,
        Self::WrongKey,
        Self::UnknownRollup,
        Self::TooLarge,
        Self::BadProof,
        Self::Malformed,
        Self::Duplicate,
        Self::PolicyMismatch,
    ];

    /// The number on the wire.
    pub const fn as_u8(self) -> u8 {
        self as u8
    }

    /// The code with this number. Errors: a number that stands for none.
    pub fn from_u8(number: u8) -> Result<Self, DecodeError> {
        Self::ALL
            .get(usize::from(number))
            .copied()
            .ok_or(DecodeError::NotCanonical("ack code"))
    }

    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Busy => "busy",
            Self::Expired => "expired",
            Self::WrongKey => "wrong_key",
            Self::UnknownRollup => "unknown_rollup",
            Self::TooLarge => "too_large",
            Self::BadProof => "bad_proof",
            Self::Malformed => "malformed",
            Self::Duplicate => "duplicate",
            Self::PolicyMismatch => "policy_mismatch",
        }
    }
}

/// Why a node closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum GoodbyeCode {
    /// The node stops.
    Stopping = 0,
    /// The client sent bytes that are no frame of this protocol, or no hello first.
    BadFrame = 1,
    /// The client asks for another chain.
    WrongChain = 2,
    /// The client does not read its notices.
    TooSlow = 3,
    /// The node serves as many connections as it may.
    TooManyConnections = 4,
}

impl GoodbyeCode {
    /// Every code, ascending by its number.
    pub const ALL: [Self; 5] = [
        Self::Stopping,
        Self::BadFrame,
        Self::WrongChain,
        Self::TooSlow,
        Self::TooManyConnections,
    ];

    /// The number on the wire.
    pub const fn as_u8(self) -> u8 {
        self as u8
    }

    /// The code with this number. Errors: a number that stands for none.
    pub fn from_u8(number: u8) -> Result<Self, DecodeError> {
        Self::ALL
            .get(usize::from(number))
            .copied()
            .ok_or(DecodeError::NotCanonical("goodbye code"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_reads_back_and_the_next_number_is_refused() {
        for (number, code) in AckCode::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(code.as_u8()), number);
            assert_eq!(AckCode::from_u8(code.as_u8()), Ok(code));
            let json = serde_json::to_string(&code).unwrap();
            assert_eq!(json, format!("\"{}\"", code.name()), "one name everywhere");
        }
        assert!(AckCode::from_u8(10).is_err());
        for (number, code) in GoodbyeCode::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(code.as_u8()), number);
            assert_eq!(GoodbyeCode::from_u8(code.as_u8()), Ok(code));
        }
        assert!(GoodbyeCode::from_u8(5).is_err());
    }
}
