//! Liveness: a valid envelope that reached a correct node is settled within a stated number of rounds, counted from when it
//! was accepted or from when the last fault had healed, whichever is later; and every correct node gets it.
//!
//! The bound is the sum of three. While an envelope or a vertex is fetched the others' rounds go on, at their least interval
//! at the fastest: as many as fit into four of the first waits for an answer (a holder is asked every second time, waits
//! double at every second one, and a holder that comes back is asked at once). Then as many anchors as a wait for a
//! predecessor may last, the deferral cap D. Then six rounds an authority for faulty leaders: each may cost a slot in its
//! rotation and a wave to decide that slot through a later one, and lists may be as many vertices long. The first term is
//! measured, not derived: waits may grow to eight times the first, so the worst case of the fetching alone is 16.
//! The simulator prints how much of its bound the slowest envelope took.
//!
//! The rounds are those of the correct node that is furthest ahead. An envelope that expires soon is promised nothing.

use std::collections::BTreeMap;

use crate::types::Digest;

/// What was promised, and how it went.
pub(crate) struct Live {
    /// Within how many rounds each is settled.
    pub(crate) rounds_max: u64,
    /// Promised and not settled: the round at which the promise counts from.
    open: BTreeMap<Digest, u64>,
    healed_round: Option<u64>,
    /// The longest that one took, in rounds.
    pub(crate) rounds_worst: u64,
    pub(crate) settled: u64,
    /// Sum of rounds that they took.
    pub(crate) rounds_sum: u64,
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
    pub(crate) fn on_promised(&mut self, digest: Digest, round: u64) {
        let from = self.healed_round.map_or(round, |healed| healed.max(round));
        self.open.entry(digest).or_insert(from);
    }

    /// The last fault has healed.
    pub(crate) fn on_healed(&mut self, round: u64) {
        self.healed_round = Some(round);
        for from in self.open.values_mut() {
            *from = round.max(*from);
        }
    }

    /// The first correct node has settled an envelope, in round `round`. Errors: it took too long.
    pub(crate) fn on_settled(&mut self, digest: &Digest, round: u64) -> super::Found {
        let Some(from) = self.open.remove(digest) else {
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

    /// What is promised and not settled.
    pub(crate) fn unsettled(&self) -> impl Iterator<Item = &Digest> {
        self.open.keys()
    }

    /// How many that are.
    pub(crate) fn unsettled_len(&self) -> usize {
        self.open.len()
    }
}
