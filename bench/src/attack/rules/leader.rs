//! The leader's order: each anchor orders what its leader lists and nobody ordered before, as the leader lists it.
//!
//! What leader-based BFT does (PBFT, HotStuff, and each block of a DAG that is ordered block by block). A lying leader
//! leads in its turn only.

use super::Ordered;
use crate::attack::lists::Lists;

/// The order by leaders.
pub fn order(lists: &Lists) -> Ordered {
    let mut ordered = Ordered::none(lists.envelopes());
    let mut done = vec![0; lists.authorities()];
    for (at, cut) in lists.cuts.iter().enumerate() {
        let (leader, upto) = (cut.leader, cut.upto[cut.leader]);
        for listing in &lists.lists[leader][done[leader]..upto] {
            if !ordered.has(listing.envelope) {
                ordered.push(listing.envelope, Some(at));
            }
        }
        done[leader] = upto;
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::super::drawn::{lists, word};
    use super::*;

    #[test]
    fn each_leader_in_its_turn_orders_what_it_lists() {
        let words = ["A1 B2 C3", "C1 B2 A3", "", ""];
        let first = lists(1, &words, &[(0, &[2, 3, 0, 0]), (1, &[3, 3, 0, 0])]);
        assert_eq!(word(&order(&first)), "ABC");
        let second = lists(1, &words, &[(1, &[2, 3, 0, 0]), (0, &[3, 3, 0, 0])]);
        assert_eq!(word(&order(&second)), "CBA");
        assert_eq!(order(&first).anchor, [Some(0), Some(0), Some(1)]);
    }
}
