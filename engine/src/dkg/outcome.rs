//! What a key generation says: of each message, and of itself in the end.

use crate::dkg::deal::DealError;
use crate::seal::deal::KeyShare;
use crate::seal::key::{KeyError, SealingKey};
use crate::types::{AuthorityIndex, AuthoritySet, Epoch};
use crate::wire::DecodeError;

/// A message that changed something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The first deal of its author.
    Deal,
    /// A complaint that refutes the deal of this dealer, or an assurance with which it refutes its own.
    Refuted(AuthorityIndex),
    /// An acknowledgement of something that its author had not acknowledged.
    Ack,
    /// This authority has its share of the author's deal for certain.
    Assured(AuthorityIndex),
}

/// Why a message changes nothing: to be counted, never to be stopped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not a canonical encoding.
    #[error("message encoding: {0}")]
    Decode(#[from] DecodeError),
    /// For another epoch.
    #[error("for epoch {}", .0.0)]
    Epoch(Epoch),
    /// By nobody of the committee.
    #[error("{0} is not a member")]
    Author(AuthorityIndex),
    /// The generation is over.
    #[error("the generation is over")]
    Over,
    /// A deal after the window.
    #[error("a deal after the window for deals")]
    Late,
    /// A second deal, a second complaint about one deal, anything about a refuted deal, or an acknowledgement of nothing new.
    #[error("it was said before")]
    Repeated,
    /// An assurance to one who has no need of it: it has acknowledged or is assured, or has time left to complain.
    #[error("{0} needs no assurance")]
    Unneeded(AuthorityIndex),
    /// A complaint about, or an acknowledgement of, a deal that is not in the log; an assurance without an own one.
    #[error("{0} has not dealt")]
    NoDeal(AuthorityIndex),
    /// A deal whose proof of knowledge does not hold.
    #[error("the deal's proof of knowledge does not hold")]
    Proof,
    /// A complaint about a good share.
    #[error("the share of {0} is good")]
    Unfounded(AuthorityIndex),
    /// A complaint whose proof does not hold.
    #[error("the complaint about {0} is not proven")]
    Unproven(AuthorityIndex),
}

impl From<DealError> for Fault {
    fn from(error: DealError) -> Self {
        match error {
            DealError::Decode(error) => Self::Decode(error),
            DealError::Proof => Self::Proof,
        }
    }
}

/// How a generation ends: the same for all, but for the own share.
#[derive(Debug)]
pub enum Outcome {
    /// There is a key.
    Done(Box<Generated>),
    /// There is none; the old one stays in force.
    Failed(Failure),
}

/// A new key.
#[derive(Debug)]
pub struct Generated {
    /// The committee's public key.
    pub key: SealingKey,
    /// The member's own share, wherever it was meanwhile; `None` for one that only follows.
    pub share: Option<KeyShare>,
    /// Whose secrets it is the sum of.
    pub qualified: AuthoritySet,
    /// Which of them dealt the member a bad share and then assured it of a good one.
    pub mended: AuthoritySet,
}

/// Why there is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The window passed without q good deals.
    #[error("{deals} good deals where {wanted} are needed")]
    TooFewDeals {
        /// How many there are.
        deals: u32,
        /// q.
        wanted: u32,
    },
    /// All windows passed, and of fewer than q deals all authorities hold their shares for certain: dealers were away, or
    /// started again, while others were, too.
    #[error("{settled} deals of which all hold their shares for certain where {wanted} are needed")]
    TooFewSettled {
        /// How many there are.
        settled: u32,
        /// q.
        wanted: u32,
    },
    /// The deals add up to what is no key: probability 2^-252 a point, whatever the faulty deal.
    #[error(transparent)]
    Key(KeyError),
}
