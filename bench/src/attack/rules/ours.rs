//! This project's rule: the engine's own fair order, as nodes run it.

use std::collections::BTreeMap;

use fairlane_engine::fair::{Anchor, FairOrder, FairParams};
use fairlane_engine::types::{Digest, Entry, TimestampUs};

use super::Ordered;
use crate::attack::lists::{Listing, Lists};

/// The order, and what the law makes exceptions for.
#[derive(Clone, Debug, Default)]
pub struct Fair {
    /// The order.
    pub ordered: Ordered,
    /// Number of each envelope's group, counted over the whole run, and how many it has.
    pub group: Vec<Option<(u32, u32)>>,
    /// Whether a wait had been cut when it went: for its group at that anchor, or by the cap up to then.
    pub after_cut: Vec<bool>,
    /// Ordered because they had waited for their own group for an eighth of the cap.
    pub group_wait_cut: u64,
    /// Ordered because they had waited for the cap.
    pub cap_fired: u64,
    /// Size of the largest group.
    pub group_len_max: u32,
    /// Groups of more than one.
    pub groups_tangled: u64,
}

/// Puts the lists through the engine, with the default deferral cap.
pub fn order(lists: &Lists) -> Fair {
    let params = FairParams::new(
        lists.authorities() as u32,
        lists.faulty as u32,
        DEFERRAL_CAP,
    )
    .expect("n, f and the cap are this bench's own");
    let mut order = FairOrder::new(params);
    let mut fair = Fair {
        ordered: Ordered::none(lists.envelopes()),
        group: vec![None; lists.envelopes()],
        after_cut: vec![false; lists.envelopes()],
        ..Fair::default()
    };
    let number: BTreeMap<Digest, u32> = lists.digests.iter().copied().zip(0..).collect();
    let entry = |listing: &Listing| Entry {
        digest: lists.digests[listing.envelope as usize],
        valid_until: TIME,
    };
    let mut groups = 0;
    for (at, cut) in lists.cuts.iter().enumerate() {
        let appends: Vec<Vec<Entry>> = lists
            .appends(at)
            .map(|appended| appended.iter().map(entry).collect())
            .collect();
        let emission = order.step(&Anchor {
            consensus_time: TIME,
            tie_seed: cut.seed,
            appends: &appends,
        });
        fair.group_wait_cut += u64::from(emission.group_wait_cut);
        fair.cap_fired += u64::from(emission.cap_fired);
        let after_cut = fair.cap_fired > 0 || emission.group_wait_cut > 0;
        for group in &emission.groups {
            let len = group.len() as u32;
            fair.group_len_max = fair.group_len_max.max(len);
            fair.groups_tangled += u64::from(len > 1);
            for entry in group {
                let envelope = number[&entry.digest];
                fair.ordered.push(envelope, Some(at));
                fair.group[envelope as usize] = Some((groups, len));
                fair.after_cut[envelope as usize] = after_cut;
            }
            groups += 1;
        }
    }
    fair
}

/// The default of a committee.
pub const DEFERRAL_CAP: u32 = 64;

/// Nothing expires: no envelope here is meant to.
const TIME: TimestampUs = TimestampUs(0);

#[cfg(test)]
mod tests {
    use super::super::drawn::{lists, word};
    use super::*;

    #[test]
    fn a_liar_alone_turns_no_unanimous_pair_round() {
        let words = ["A1 B2", "A1 B2", "A1 B2", "B1 A2"];
        let fair = order(&lists(1, &words, &[(3, &[2, 2, 2, 2])]));
        assert_eq!(word(&fair.ordered), "AB");
        assert_eq!((fair.groups_tangled, fair.cap_fired), (0, 0));
        assert_eq!(fair.group, [Some((0, 1)), Some((1, 1))]);
    }

    #[test]
    fn what_could_be_forced_first_is_waited_for() {
        let words = ["A1 B2", "A1 B2", "B1 A2", ""];
        let waits = order(&lists(1, &words, &[(0, &[2, 2, 1, 0])]));
        assert_eq!(word(&waits.ordered), "");
        let goes = order(&lists(1, &words, &[(0, &[2, 2, 1, 0]), (0, &[2, 2, 2, 0])]));
        assert_eq!(word(&goes.ordered), "AB");
    }
}
