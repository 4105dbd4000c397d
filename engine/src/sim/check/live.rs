//! Liveness: a valid envelope that reached a correct node is settled within a stated number of rounds, counted from when it
//! was accepted or from when the last fault had healed, whichever is later; and every correct node gets it.
//!
//! The bound is the sum of three. While an envelope or a vertex is fetched the others' rounds go on, at their least interval
//! at the fastest: as many as fit into two of the longest waits for an answer, each eight times the first, since a holder
//! is asked every second time. Then as many anchors as a wait for a predecessor may last, the deferral cap D. Then twelve
//! rounds an authority for faulty leaders: each may cost a slot in its rotation, and a wave to decide that slot through a
//! later one. Half of the first term was enough for 2,700 seeds and too little for two of the next 1,300; the simulator
//! prints the largest share of a bound that was used.
//!
//! The rounds are those of the correct node that is furthest ahead. An envelope that expires soon is promised nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::types::Digest;

/// What was promised, and how it went.
pub(crate) struct Live {
    /// Within how many rounds each is settled.
    pub(crate) rounds_max: u64,
    /// Promised and not settled.
    open: BTreeMap<Digest, Promise>,
    healed_round: Option<u64>,
    /// The longest that one took, in rounds.
    pub(crate) rounds_worst: u64,
    pub(crate) settled: u64,
    /// Sum of rounds that they took.
    pub(crate) rounds_sum: u64,
}

/// Promised and not settled.
#[derive(Default)]
struct Promise {
    /// The round from which it counts.
    from: u64,
    /// The correct nodes that have accepted it.
    holders: BTreeSet<usize>,
}

impl Live {
    /// Settled within `rounds_max` rounds.
    pub(crate) const fn new(rounds_max: u64) -> Self {
        Self {
            rounds_max,
            open: BTreeMap::new(),
            healed_round: None,
            rounds_worst: 0,
            settled: 0,
            rounds_sum: 0,
        }
    }

    /// A correct node has accepted an envelope, in round `round`.
    pub(crate) fn on_promised(&mut self, node: usize, digest: Digest, round: u64) {
        let from = self.healed_round.map_or(round, |healed| healed.max(round));
        let promise = self.open.entry(digest).or_insert_with(|| Promise {
            from,
            holders: BTreeSet::new(),
        });
        promise.holders.insert(node);
    }

    /// A node has lost all but `kept` in a crash: what no other correct node has accepted nobody promises any more.
    pub(crate) fn on_crash(&mut self, node: usize, kept: &BTreeSet<Digest>) {
        self.open.retain(|digest, promise| {
            if !kept.contains(digest) {
                promise.holders.remove(&node);
            }
            !promise.holders.is_empty()
        });
    }

    /// The last fault has healed.
    pub(crate) fn on_healed(&mut self, round: u64) {
        self.healed_round = Some(round);
        for promise in self.open.values_mut() {
            promise.from = round.max(promise.from);
        }
    }

    /// The first correct node has settled an envelope, in round `round`. Errors: it took too long.
    pub(crate) fn on_settled(&mut self, digest: &Digest, round: u64) -> super::Found {
        let Some(Promise { from, .. }) = self.open.remove(digest) else {
            return Ok(());
        };
        if self.healed_round.is_none() {
            return Ok(());
        }
        let took = round.saturating_sub(from);
        self.settled += 1;
        self.rounds_sum += took;
        self.rounds_worst = self.rounds_worst.max(took);
        match took <= self.rounds_max {
            true => Ok(()),
            false => Err(format!(
                "{digest:?} was settled {took} rounds after it was due to count, {} are promised",
                self.rounds_max
            )),
        }
    }

    /// The round in which the last fault had healed.
    pub(crate) const fn healed_round(&self) -> Option<u64> {
        self.healed_round
    }

    /// What is promised and not settled.
    pub(crate) fn unsettled(&self) -> impl Iterator<Item = &Digest> {
        self.open.keys()
    }

    /// How many that are.
    pub(crate) fn unsettled_len(&self) -> usize {
        self.open.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_crash_takes_from_its_only_holder_is_promised_by_nobody() {
        let mut live = Live::new(10);
        let digests: Vec<Digest> = (1..=3).map(|byte| Digest([byte; 32])).collect();
        for digest in &digests {
            live.on_promised(0, *digest, 1);
        }
        live.on_promised(1, digests[1], 2);
        // The first stays on the disk, the second with another node; the third is gone.
        live.on_crash(0, &BTreeSet::from([digests[0]]));
        let left: Vec<&Digest> = live.unsettled().collect();
        assert_eq!(left, [&digests[0], &digests[1]]);
    }
}
