//! What a label must say, decided from the envelope and the committee alone.

use crate::admit::refusal::Refusal;
use crate::committee::{Committee, RollupPolicy};
use crate::seal::envelope::Envelope;
use crate::seal::label::EnvelopeKind;
use crate::types::{KeyId, TimestampUs};

/// A client's submission with less time left than this is refused: it would expire on its way.
pub const TIME_LEFT_US_MIN: u64 = 2_000_000;
/// A client may set `valid_until` at most this far ahead of max(consensus time, own clock).
pub const TIME_AHEAD_US_MAX: u64 = 60_000_000;
/// What a peer lists may lie this far ahead of consensus time: the client bound plus room for clocks.
pub const PEER_TIME_AHEAD_US_MAX: u64 = 90_000_000;

/// Checks chain, key, rollup and kind: the same answer on every authority. Cost: one binary search over rollups.
///
/// `takes_key` says whether envelopes of a key are taken that expire then.
pub fn check_label(
    committee: &Committee,
    takes_key: impl FnOnce(KeyId, TimestampUs) -> bool,
    envelope: &Envelope,
) -> Result<(), Refusal> {
    let label = envelope.label();
    if label.chain_id != committee.chain_id || !takes_key(label.key_id, label.valid_until) {
        return Err(Refusal::WrongKey);
    }
    match (committee.rollup_policy(label.rollup), label.kind) {
        (None, _) => Err(Refusal::UnknownRollup),
        (Some(RollupPolicy::Sealed), EnvelopeKind::Open)
        | (Some(RollupPolicy::Open), EnvelopeKind::Sealed) => Err(Refusal::PolicyMismatch),
        (Some(_), _) => Ok(()),
    }
}

/// Checks a client's `valid_until` against the local clock; never applied to what peers list.
pub fn check_client_expiry(
    valid_until: TimestampUs,
    now: TimestampUs,
    consensus_time: TimestampUs,
) -> Result<(), Refusal> {
    if valid_until < now.plus_us(TIME_LEFT_US_MIN) {
        return Err(Refusal::Expired);
    }
    if valid_until > now.max(consensus_time).plus_us(TIME_AHEAD_US_MAX) {
        return Err(Refusal::Malformed);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_between_two_and_sixty_seconds() {
        let now = TimestampUs(1_000_000_000);
        let check = |ahead| check_client_expiry(now.plus_us(ahead), now, TimestampUs(0));
        assert_eq!(check(TIME_LEFT_US_MIN - 1), Err(Refusal::Expired));
        assert_eq!(check(TIME_LEFT_US_MIN), Ok(()));
        assert_eq!(check(TIME_AHEAD_US_MAX), Ok(()));
        assert_eq!(check(TIME_AHEAD_US_MAX + 1), Err(Refusal::Malformed));
    }

    #[test]
    fn a_slow_clock_does_not_refuse_what_consensus_time_allows() {
        let consensus = TimestampUs(1_000_000_000);
        let slow = TimestampUs(990_000_000);
        let until = consensus.plus_us(TIME_AHEAD_US_MAX);
        assert_eq!(check_client_expiry(until, slow, consensus), Ok(()));
    }
}
