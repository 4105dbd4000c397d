//! When to make the next own vertex: the round rules of the Mysticeti proposer with the vote wait, and the idle rule.
//!
//! Source: Babel et al., Mysticeti, NDSS 2025; the vote wait after Starfish (eprint 2025/567): waiting for the leader's
//! vertex alone is not live. Departs: a node that has nothing to order proposes only once a heartbeat, and rounds keep a
//! least distance in time. Pure: what the DAG says comes in as [`RoundView`].

pub mod leader_wait;

use crate::types::TimestampUs;

/// What the DAG says about the round an authority is to make its vertex in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundView {
    /// The leader's vertex of the round before is there, and a quorum of that round's vertices voted for the leader
    /// before it, or a quorum did not.
    pub leader_wait_over: bool,
    /// A quorum of authors has vertices in this round already.
    pub quorum_ahead: bool,
    /// There is something to order (see the idle rule).
    pub has_work: bool,
}

/// Why a vertex is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The leader wait is over.
    Leader,
    /// A quorum is in this round already.
    Behind,
    /// The longest wait has passed since the round was entered.
    Timeout,
}

/// Now, or not before a time at which to look again (`None`: only when the view changes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Make the vertex.
    Now(Reason),
    /// Look again then, or when the view changes.
    Wait(Option<TimestampUs>),
}

/// Durations of the rules, microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaceConfig {
    /// Longest wait for the leader and its votes.
    pub leader_wait_us: u64,
    /// Least distance between own vertices.
    pub interval_us_min: u64,
    /// Longest distance between own vertices of an idle node.
    pub heartbeat_us: u64,
}

/// Decides for a round entered at `entered`, after an own vertex made at `made`.
pub fn pace(
    config: &PaceConfig,
    view: RoundView,
    entered: TimestampUs,
    made: TimestampUs,
    now: TimestampUs,
) -> Pace {
    let timeout_at = entered.plus_us(config.leader_wait_us);
    let reason = if view.quorum_ahead {
        Reason::Behind
    } else if view.leader_wait_over {
        Reason::Leader
    } else {
        Reason::Timeout
    };
    let interval_over = made.plus_us(config.interval_us_min);
    let mut not_before = match reason {
        // A quorum has kept its distance already, so rounds do not run free; and whoever kept it once more would stay behind
        // for ever, each vertex too late to be cited in its round.
        Reason::Behind => return Pace::Now(reason),
        Reason::Timeout => timeout_at.max(interval_over),
        Reason::Leader => interval_over,
    };
    if !view.has_work {
        not_before = not_before.max(made.plus_us(config.heartbeat_us));
    }
    if now >= not_before {
        Pace::Now(reason)
    } else {
        Pace::Wait(Some(not_before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: PaceConfig = PaceConfig {
        leader_wait_us: 200,
        interval_us_min: 10,
        heartbeat_us: 1_000,
    };
    const WAITING: RoundView = RoundView {
        leader_wait_over: false,
        quorum_ahead: false,
        has_work: true,
    };

    fn at(view: RoundView, now: u64) -> Pace {
        pace(
            &CONFIG,
            view,
            TimestampUs(50),
            TimestampUs(45),
            TimestampUs(now),
        )
    }

    #[test]
    fn without_the_leader_or_its_votes_the_vertex_waits_its_longest() {
        assert_eq!(at(WAITING, 249), Pace::Wait(Some(TimestampUs(250))));
        assert_eq!(at(WAITING, 250), Pace::Now(Reason::Timeout));
    }

    #[test]
    fn with_them_it_waits_only_for_the_round_interval() {
        let view = RoundView {
            leader_wait_over: true,
            ..WAITING
        };
        assert_eq!(at(view, 54), Pace::Wait(Some(TimestampUs(55))));
        assert_eq!(at(view, 55), Pace::Now(Reason::Leader));
    }

    #[test]
    fn a_node_that_is_behind_catches_up_without_keeping_distance() {
        let view = RoundView {
            quorum_ahead: true,
            ..WAITING
        };
        assert_eq!(at(view, 46), Pace::Now(Reason::Behind));
        let idle = RoundView {
            has_work: false,
            ..view
        };
        assert_eq!(at(idle, 46), Pace::Now(Reason::Behind));
    }

    #[test]
    fn an_idle_node_only_beats_its_heart() {
        let view = RoundView {
            leader_wait_over: true,
            has_work: false,
            ..WAITING
        };
        assert_eq!(at(view, 500), Pace::Wait(Some(TimestampUs(1_045))));
        assert_eq!(at(view, 1_045), Pace::Now(Reason::Leader));
    }
}
