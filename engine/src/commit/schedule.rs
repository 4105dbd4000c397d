//! Who leads a round, and how the rounds of a leader's wave are called.
//!
//! The leader's vertex stands in round r, votes for it in r + 1, certificates in r + 2; later anchors decide from
//! r + 3 on. Round robin, one leader a round, from round 1 (round 0 is implicit and has nothing to commit).

use crate::committee::Committee;
use crate::types::{AuthorityIndex, Round};

/// The leader of `round`; none in round 0.
pub fn leader(committee: &Committee, round: Round) -> Option<AuthorityIndex> {
    (round >= FIRST_LED_ROUND).then(|| committee.leader(round))
}

/// The round whose vertices vote for the leader of `led`.
pub const fn voting_round(led: Round) -> Round {
    led.plus(1)
}

/// The round whose vertices certify the leader of `led`.
pub const fn certifying_round(led: Round) -> Round {
    led.plus(2)
}

/// The first round whose anchor can decide the slot of `led` through its history.
pub const fn first_deciding_anchor(led: Round) -> Round {
    led.plus(3)
}

/// The first round with a leader.
pub const FIRST_LED_ROUND: Round = Round(1);
