//! Orders by timestamps: Pompe, and FairDAG-AB.
//!
//! Pompe (Zhang et al., Byzantine Ordered Consensus without Byzantine Oligarchy, OSDI 2020, ordering phase): a proposer
//! collects n - f signed timestamps and their median is the envelope's. An honest proposer takes the first n - f answers,
//! one that helps the attacker the n - f lowest. Its sequencing phase adds no choice.
//!
//! FairDAG-AB (Kang et al., FairDAG, 2025; the public implementation in ResilientDB, `fairdag.cpp`): timestamps are
//! committed by a DAG; the (f + 1)-th lowest of those committed when n - f are is the envelope's, and it is ordered when
//! no other envelope, seen or not, can get a lower one. Departs in its favour: an authority's newest vertex, not its
//! newest listing, bounds what it may list later.

use std::collections::BTreeSet;

use super::Ordered;
use crate::attack::lists::Lists;
use crate::attack::network::Ns;
use crate::attack::traffic::Role;

/// The order of Pompe.
pub fn pompe(lists: &Lists, role: &[Role]) -> Ordered {
    let mut claims: Vec<Vec<Ns>> = vec![Vec::new(); lists.envelopes()];
    let mut lies = claims.clone();
    let (correct, quorum) = (lists.correct().len(), lists.quorum());
    for (authority, list) in lists.lists.iter().enumerate() {
        let of = if authority < correct {
            &mut claims
        } else {
            &mut lies
        };
        for listing in list {
            of[listing.envelope as usize].push(listing.claimed);
        }
    }
    let mut stamped: Vec<(Ns, u32)> = Vec::with_capacity(lists.envelopes());
    for (envelope, (mut claims, lies)) in (0..).zip(claims.into_iter().zip(lies)) {
        claims.sort_unstable();
        if role[envelope as usize] != Role::Attacker {
            // Liars answer at once, whatever they claim, so that an honest proposer takes their answers.
            claims.truncate(quorum.saturating_sub(lies.len()));
        }
        claims.extend(lies);
        claims.sort_unstable();
        claims.truncate(quorum);
        if claims.len() == quorum {
            stamped.push((claims[(quorum - 1) / 2], envelope));
        }
    }
    stamped.sort_unstable();
    let mut ordered = Ordered::none(lists.envelopes());
    for (_, envelope) in stamped {
        ordered.push(envelope, None);
    }
    ordered
}

/// The order of FairDAG-AB.
pub fn fairdag_ab(lists: &Lists) -> Ordered {
    let mut ordered = Ordered::none(lists.envelopes());
    let mut claims: Vec<Vec<Option<Ns>>> = vec![Vec::new(); lists.envelopes()];
    // Listed and not stamped yet; stamped and not ordered yet.
    let mut open = BTreeSet::new();
    let mut stamped: BTreeSet<(Ns, u32)> = BTreeSet::new();
    for (at, cut) in lists.cuts.iter().enumerate() {
        for (authority, appended) in lists.appends(at).enumerate() {
            for listing in appended {
                let claims = &mut claims[listing.envelope as usize];
                if claims.is_empty() {
                    claims.resize(lists.authorities(), None);
                    open.insert(listing.envelope);
                }
                claims[authority] = Some(listing.claimed);
            }
        }
        let stamp = |envelope: &u32| {
            let mut known: Vec<Ns> = claims[*envelope as usize]
                .iter()
                .flatten()
                .copied()
                .collect();
            known.sort_unstable();
            (known.len() >= lists.quorum()).then(|| (known[lists.faulty], *envelope))
        };
        let new: Vec<(Ns, u32)> = open.iter().filter_map(stamp).collect();
        for (time, envelope) in new {
            open.remove(&envelope);
            stamped.insert((time, envelope));
        }
        let bound = |claims: &[Option<Ns>]| {
            let later = |(authority, claim): (usize, &Option<Ns>)| {
                claim.unwrap_or(cut.told_until[authority] + 1)
            };
            let mut least: Vec<Ns> = claims.iter().enumerate().map(later).collect();
            least.sort_unstable();
            least[lists.faulty]
        };
        let unseen = bound(&vec![None; lists.authorities()]);
        let least = open
            .iter()
            .map(|envelope| bound(&claims[*envelope as usize]))
            .fold(unseen, Ns::min);
        while let Some((time, envelope)) = stamped.first().copied()
            && time < least
        {
            stamped.pop_first();
            ordered.push(envelope, Some(at));
        }
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::super::drawn::{lists, word};
    use super::*;

    #[test]
    fn pompe_orders_by_the_median_of_three_of_four() {
        // Of A an honest proposer takes 1 and 2 and the liar's 90: median 2. Of B 3, 4 and the liar's: 4.
        let words = ["A1 B3", "A2 B4", "A30 B31", "A90 B91"];
        let drawn = lists(1, &words, &[(0, &[2, 2, 2, 2])]);
        assert_eq!(word(&pompe(&drawn, &[Role::Honest; 2])), "AB");
    }

    #[test]
    fn in_pompe_a_proposer_that_helps_chooses_the_lowest_three() {
        // A is at 10, 20 and late: median 20. B is at 15, 25, 35, and early at the liar: the lowest three have median 15.
        let words = ["A10 B15", "A20 B25", "A30 B35", "B1 A90"];
        let drawn = lists(1, &words, &[(0, &[2, 2, 2, 2])]);
        assert_eq!(word(&pompe(&drawn, &[Role::Victim, Role::Attacker])), "BA");
        assert_eq!(
            word(&pompe(&drawn, &[Role::Honest; 2])),
            "BA",
            "a tie of 15 with 20"
        );
        // Without the lie the same envelopes are 10 20 30 and 15 25 35.
        let words = ["A10 B15", "A20 B25", "A30 B35", "A30 B35"];
        let drawn = lists(1, &words, &[(0, &[2, 2, 2, 2])]);
        assert_eq!(word(&pompe(&drawn, &[Role::Victim, Role::Attacker])), "AB");
    }

    #[test]
    fn fairdag_ab_orders_by_the_second_lowest_of_three() {
        // A 1 9 9 has 9; B 2 3 8 has 3; C comes later everywhere.
        let words = ["A1 B2 C20", "B3 A9 C20", "B8 A9 C20", ""];
        let drawn = lists(1, &words, &[(0, &[3, 3, 3, 0])]);
        let ordered = fairdag_ab(&drawn);
        assert_eq!(word(&ordered), "BAC", "the silent fourth holds up nobody");
    }

    #[test]
    fn fairdag_ab_waits_while_another_may_get_a_lower_stamp() {
        // B is stamped 7 at first; A is listed at 1 once, and the second has told nothing yet.
        let words = ["A1 B5 C30", "B6", "B7 A8", "B8 A9"];
        let cuts: [(usize, &[usize]); 2] = [(0, &[2, 0, 1, 1]), (0, &[3, 1, 2, 2])];
        let ordered = fairdag_ab(&lists(1, &words, &cuts));
        assert_eq!(ordered.anchor, [Some(1), Some(1), None]);
        assert_eq!(word(&ordered), "BA");
    }
}
