//! Whether a node is well: the one rule behind `/healthz`.

use fairlane_engine::types::TimestampUs;
use serde::Serialize;

use crate::node::HEARTBEAT_US_LIMIT;
use crate::stage::core::CoreReport;

/// An idle thread comes round every half second.
const LOOKED_US_MAX: u64 = 5_000_000;
/// An idle committee commits about an anchor a heartbeat, a second by default.
const ANCHOR_US_MAX: u64 = 10_000_000;
// No heartbeat that a node starts with makes an idle committee look ill.
const _: () = assert!(2 * HEARTBEAT_US_LIMIT <= ANCHOR_US_MAX);

/// The verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Health {
    /// It takes envelopes, and what it takes will be ordered.
    pub(super) ok: bool,
    /// Why not, a sentence each.
    pub(super) reasons: Vec<String>,
    /// The round of its next vertex.
    pub(super) round: u64,
    /// Anchors committed since it was started.
    pub(super) anchors: u64,
    /// Batches opened.
    pub(super) batches: u64,
    /// Batches that its settlement worker has settled.
    pub(super) settled: u64,
}

/// Judges what the core stage last published, at `now`.
pub(super) fn judge(core: &CoreReport, now: TimestampUs) -> Health {
    let standing = &core.standing;
    let mut reasons = Vec::new();
    let looked = now.since_us(TimestampUs(standing.looked_us));
    if looked > LOOKED_US_MAX {
        let seconds = looked / 1_000_000;
        reasons.push(format!("the core stage has not come round for {seconds} s"));
    }
    let anchor = now.since_us(TimestampUs(standing.anchor_us));
    if anchor > ANCHOR_US_MAX {
        reasons.push(format!(
            "no anchor was committed for {} s: a quorum of authorities is not reached",
            anchor / 1_000_000
        ));
    }
    if standing.is_disk_full {
        reasons.push("the disk that holds the journal is full: clients are told Busy".into());
    }
    if standing.is_catching_up {
        reasons.push("it was away and takes from peers what it has missed".into());
    }
    Health {
        ok: reasons.is_empty(),
        reasons,
        round: core.round.0,
        anchors: core.engine.anchors,
        batches: core.batches,
        settled: standing.settled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::core::Standing;

    const NOW: TimestampUs = TimestampUs(1_000_000_000);

    fn reasons_of(change: impl FnOnce(&mut Standing)) -> Vec<String> {
        let mut core = CoreReport::default();
        (core.standing.looked_us, core.standing.anchor_us) = (NOW.0, NOW.0);
        change(&mut core.standing);
        let health = judge(&core, NOW);
        assert_eq!(health.ok, health.reasons.is_empty());
        health.reasons
    }

    #[test]
    fn each_thing_that_ails_a_node_is_said_and_nothing_else() {
        assert_eq!(reasons_of(|_| ()), Vec::<String>::new());
        type Change = fn(&mut Standing);
        let changes: [(Change, &str); 4] = [
            (|s| s.looked_us -= LOOKED_US_MAX + 1, "core stage"),
            (|s| s.anchor_us -= ANCHOR_US_MAX + 1, "no anchor"),
            (|s| s.is_disk_full = true, "disk"),
            (|s| s.is_catching_up = true, "away"),
        ];
        for (change, word) in changes {
            let reasons = reasons_of(change);
            assert_eq!(reasons.len(), 1);
            assert!(reasons[0].contains(word), "{reasons:?}");
        }
        let at_bounds = |s: &mut Standing| {
            s.looked_us -= LOOKED_US_MAX;
            s.anchor_us -= ANCHOR_US_MAX;
        };
        assert_eq!(reasons_of(at_bounds), Vec::<String>::new());
    }
}
