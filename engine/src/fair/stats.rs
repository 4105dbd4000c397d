//! What the fair order counts of its own doing, for operators: none of it is state, and none decides anything.

use super::Ordered;

/// Counts since an order was made, or they were last taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FairStats {
    /// Pairs emitted.
    pub emitted: u64,
    /// Those of them that had been ready at an earlier anchor and waited.
    pub deferred: u64,
    /// How many anchors they waited, all together.
    pub deferred_anchors: u64,
    /// The longest of these waits, in anchors.
    pub deferred_anchors_max: u64,
    /// Groups of more than one pair.
    pub cycles: u64,
    /// Pairs in such groups.
    pub cycle_pairs: u64,
    /// Pairs in the largest of them.
    pub cycle_pairs_max: u64,
    /// Groups too large to be ordered by anything but rank.
    pub groups_oversized: u64,
}

impl FairStats {
    /// A pair is emitted after `deferred` anchors.
    pub(super) fn on_emitted(&mut self, deferred: u32) {
        let deferred = u64::from(deferred);
        self.emitted += 1;
        self.deferred += u64::from(deferred > 0);
        self.deferred_anchors += deferred;
        self.deferred_anchors_max = self.deferred_anchors_max.max(deferred);
    }

    /// An anchor emits these groups.
    pub(super) fn on_groups(&mut self, ordered: &Ordered) {
        self.groups_oversized += u64::from(ordered.groups_oversized);
        for group in ordered.groups().filter(|group| group.len() > 1) {
            let len = group.len() as u64;
            self.cycles += 1;
            self.cycle_pairs += len;
            self.cycle_pairs_max = self.cycle_pairs_max.max(len);
        }
    }
}
