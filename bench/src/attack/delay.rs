//! What an order costs in time: how long an envelope that a quorum lists waits before it is ordered.
//!
//! The yardstick is the first anchor that commits a listing by a quorum (n - f): by then agreement has done its part, and
//! what follows is the order's own wait. A rule that asks for fewer listings may be done before that: its delay is
//! negative.

use serde::Serialize;

use super::lists::{Conduct, Lie, Lists, publish};
use super::network::{MS, Network, Ns, Profile};
use super::rules::{Ordered, Rule, Tally};
use super::traffic::{Drafting, Role, Traffic};

/// Delays of the honest envelopes of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Delays {
    /// Envelopes that a quorum listed.
    pub envelopes: u64,
    /// Of these, not ordered by the end of the run.
    pub never: u64,
    /// Mean of those that were, milliseconds.
    pub mean_ms: f64,
    /// 99 of 100 had less, milliseconds.
    pub p99_ms: f64,
    /// The longest, milliseconds.
    pub max_ms: f64,
    /// Mean, anchors.
    pub mean_anchors: f64,
    /// The longest, anchors.
    pub max_anchors: i64,
}

impl Delays {
    /// Measures what `ordered` did to the honest envelopes sent before `until`.
    pub fn of(lists: &Lists, traffic: &Traffic, ordered: &Ordered, until: Ns) -> Self {
        let mut ready = vec![None; lists.envelopes()];
        let mut tally = Tally::new(lists.envelopes());
        for at in 0..lists.cuts.len() {
            for envelope in tally.reached(lists, at, lists.quorum()) {
                ready[envelope as usize] = Some(at);
            }
        }
        let mut delays = Self::default();
        let mut waits: Vec<(i64, i64)> = Vec::new();
        for (envelope, ready) in ready.iter().enumerate() {
            let is_counted =
                traffic.role[envelope] == Role::Honest && traffic.sent[envelope] < until;
            let Some(ready) = ready.filter(|_| is_counted) else {
                continue;
            };
            delays.envelopes += 1;
            let Some(anchor) = ordered.anchor[envelope] else {
                delays.never += 1;
                continue;
            };
            let commit = |at: usize| lists.cuts[at].commit as i64;
            let wait = commit(anchor as usize) - commit(ready);
            waits.push((wait, i64::from(anchor) - ready as i64));
        }
        waits.sort_unstable();
        let mean = |sum: i64| sum as f64 / waits.len().max(1) as f64;
        let in_ms = |wait: Option<&(i64, i64)>| wait.map_or(0.0, |wait| wait.0 as f64 / MS as f64);
        delays.mean_ms = mean(waits.iter().map(|wait| wait.0).sum()) / MS as f64;
        delays.p99_ms = in_ms(waits.get(waits.len() * 99 / 100));
        delays.max_ms = in_ms(waits.last());
        delays.mean_anchors = mean(waits.iter().map(|wait| wait.1).sum());
        delays.max_anchors = waits.iter().map(|wait| wait.1).max().unwrap_or(0);
        delays
    }
}

/// Delays under one rule and one lie, for one jitter after another.
#[derive(Clone, Debug, Serialize)]
pub struct Sweep {
    /// n.
    pub authorities: usize,
    /// How f authorities behave.
    pub lie: Lie,
    /// Who orders.
    pub rule: Rule,
    /// At each of the jitters.
    pub delays: Vec<Delays>,
}

/// Sweeps the jitter of what clients send on a LAN: `seconds` of [`RATE`] honest envelopes a second for each.
pub fn sweep(authorities: usize, jitters: &[Ns], seconds: u64, seed: u64) -> Vec<Sweep> {
    let faulty = (authorities - 1) / 3;
    let mut sweeps: Vec<Sweep> = SERIES
        .iter()
        .map(|(rule, lie)| Sweep {
            authorities,
            lie: *lie,
            rule: *rule,
            delays: Vec::new(),
        })
        .collect();
    for jitter in jitters {
        let network = Network {
            client_jitter_ns: *jitter,
            ..Network::new(Profile::Lan)
        };
        let mut drafting = Drafting::new(&network, authorities, seed);
        drafting.add_honest(RATE, seconds * 1000 * MS);
        let traffic = drafting.finish();
        for sweep in &mut sweeps {
            let conduct = Conduct {
                lie: sweep.lie,
                faulty,
                learns: true,
            };
            let lists = publish(&network, &traffic, conduct, DRAIN_NS, seed);
            let ordered = sweep.rule.order(&lists, &traffic.role);
            sweep
                .delays
                .push(Delays::of(&lists, &traffic, &ordered, traffic.end));
        }
    }
    sweeps
}

/// Honest envelopes a second: one a millisecond, so that a jitter in milliseconds is one in envelopes.
pub const RATE: f64 = 1000.0;

/// What is swept. Liars help nobody here: there are no pairs; they reverse, or are late.
const SERIES: [(Rule, Lie); 6] = [
    (Rule::Ours, Lie::None),
    (Rule::Ours, Lie::Reverse),
    (Rule::Ours, Lie::Delay),
    (Rule::FairdagAb, Lie::None),
    (Rule::FairdagAb, Lie::Delay),
    (Rule::Hash, Lie::None),
];

/// How long the anchors go on after the last envelope.
const DRAIN_NS: Ns = 2000 * MS;

#[cfg(test)]
mod tests {
    use super::super::rules::drawn::lists;
    use super::*;

    #[test]
    fn a_delay_counts_from_the_first_quorum_to_the_order() {
        // A has its third listing at the second anchor, which commits at 200 ns, and goes at the third, at 300.
        let words = ["A1", "A1", "A1", ""];
        let cuts: [(usize, &[usize]); 3] =
            [(0, &[1, 1, 0, 0]), (0, &[1, 1, 1, 0]), (0, &[1, 1, 1, 0])];
        let drawn = lists(1, &words, &cuts);
        let traffic = Traffic {
            authorities: 4,
            sent: vec![0],
            role: vec![Role::Honest],
            ..Traffic::default()
        };
        let mut ordered = Ordered::none(1);
        let never = Delays::of(&drawn, &traffic, &ordered, 1);
        assert_eq!((never.envelopes, never.never), (1, 1));
        ordered.push(0, Some(2));
        let delays = Delays::of(&drawn, &traffic, &ordered, 1);
        assert_eq!((delays.never, delays.max_anchors), (0, 1));
        assert_eq!(delays.max_ms, 1e-4);
    }

    #[test]
    fn without_jitter_ours_waits_for_nobody_and_all_are_ordered() {
        let sweeps = sweep(4, &[0, 3 * MS], 1, 1);
        for sweep in &sweeps {
            assert!(
                sweep.delays.iter().all(|delays| delays.never == 0),
                "{sweep:?}"
            );
        }
        let ours = &sweeps[0].delays;
        assert!(ours[0].mean_ms < 0.5, "{ours:?}");
        assert!(ours[1].mean_ms > ours[0].mean_ms, "{ours:?}");
    }
}
