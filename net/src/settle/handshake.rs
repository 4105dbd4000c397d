//! The first two messages on the settlement socket: who the worker is, and the node's answer with the descriptors.
//!
//! ```text
//! hello   version u8 | chain id u64 | rollup id u64 | batches settled u64             worker -> node
//! answer  version u8 | code u8 (0: descriptors follow: data, cursor, wake pipe)       node -> worker
//! ```
//!
//! Afterwards every byte from the worker is a wake-up and means nothing else.

use fairlane_engine::types::{ChainId, RollupId};
use fairlane_engine::wire::{DecodeError, Reader, Writer};

use super::SettleError;

/// What a worker says first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) chain_id: ChainId,
    pub(super) rollup_id: RollupId,
    /// It has every batch below this seq, final or not: what it is fed begins here.
    pub(super) settled: u64,
}

impl Hello {
    pub(super) fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HELLO_LEN);
        Writer::new(&mut bytes)
            .u8(VERSION)
            .u64(self.chain_id.0)
            .u64(self.rollup_id.0)
            .u64(self.settled);
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        match reader.u8()? {
            VERSION => {}
            version => return Err(DecodeError::Version(version)),
        }
        let hello = Self {
            chain_id: ChainId(reader.u64()?),
            rollup_id: RollupId(reader.u64()?),
            settled: reader.u64()?,
        };
        reader.finish()?;
        Ok(hello)
    }
}

/// What the node answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Answer {
    /// The descriptors are beside this message.
    Welcome = 0,
    /// As many workers are attached as a node serves.
    Busy = 1,
    /// The node serves another chain.
    WrongChain = 2,
    /// The node does not know the rollup.
    UnknownRollup = 3,
    /// The hello was not understood.
    Malformed = 4,
    /// The node's journal does not hold what the worker lacks.
    Behind = 5,
}

impl Answer {
    const ALL: [Self; 6] = [
        Self::Welcome,
        Self::Busy,
        Self::WrongChain,
        Self::UnknownRollup,
        Self::Malformed,
        Self::Behind,
    ];

    pub(super) const fn encode(self) -> [u8; ANSWER_LEN] {
        [VERSION, self as u8]
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [VERSION, code] => Self::from_code(*code),
            _ => None,
        }
    }

    pub(super) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|answer| *answer as u8 == code)
    }

    /// Why the worker is not welcome.
    pub(super) const fn refusal(self) -> SettleError {
        SettleError::Refused(match self {
            Self::Busy => return SettleError::Busy,
            Self::Welcome => "it does not",
            Self::WrongChain => "it serves another chain",
            Self::UnknownRollup => "it does not know the rollup",
            Self::Malformed => "it did not understand the hello",
            Self::Behind => {
                "its journal does not hold what this worker lacks: restore the sink from a copy, or attach to a node that keeps more"
            }
        })
    }
}

/// Version of the handshake.
const VERSION: u8 = 2;
/// Bytes of a hello.
pub(super) const HELLO_LEN: usize = 25;
/// Bytes of an answer.
pub(super) const ANSWER_LEN: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_handshake() {
        let hello = Hello {
            chain_id: ChainId(5),
            rollup_id: RollupId(6),
            settled: 7,
        };
        assert_eq!(
            hex::encode(hello.encode()),
            "02000000000000000500000000000000060000000000000007"
        );
        assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
        assert!(Hello::decode(&hello.encode()[1..]).is_err());
        for answer in Answer::ALL {
            assert_eq!(Answer::decode(&answer.encode()), Some(answer));
        }
        assert_eq!(Answer::decode(&[2, 9]), None);
        assert_eq!(Answer::decode(&[1, 0]), None);
    }
}
