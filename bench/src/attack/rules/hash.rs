//! Hash order: what f + 1 lists hold for the first time at an anchor goes by a keyed hash.
//!
//! What EspressoSystems/timeboost does within a round (sequencer, hash of seed and sender): nobody can foresee the seed,
//! so the order is a lottery, and whoever sends more envelopes draws more tickets.

use super::{Ordered, Tally};
use crate::attack::lists::Lists;
use crate::attack::traffic::Role;

/// The order by hash, where each attacker of a pair sends `tries` envelopes at once, of which the best counts.
pub fn order(lists: &Lists, role: &[Role], tries: u32) -> Ordered {
    let mut ordered = Ordered::none(lists.envelopes());
    let mut tally = Tally::new(lists.envelopes());
    for (at, cut) in lists.cuts.iter().enumerate() {
        let mut new = tally.reached(lists, at, lists.faulty + 1);
        let ticket = |envelope: u32, tried: u32| {
            let mut hasher = blake3::Hasher::new_keyed(&cut.seed);
            hasher
                .update(&envelope.to_be_bytes())
                .update(&tried.to_be_bytes());
            *hasher.finalize().as_bytes()
        };
        new.sort_by_cached_key(|envelope| {
            let is_attacker = role[*envelope as usize] == Role::Attacker;
            let tries = if is_attacker { tries } else { 1 };
            (0..tries).map(|tried| ticket(*envelope, tried)).min()
        });
        for envelope in new {
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
    fn what_f_plus_one_list_goes_with_its_anchor_and_the_seed_decides_within() {
        let words = ["A1 B2 C3", "A1 C2", "B1", ""];
        let drawn = lists(1, &words, &[(0, &[1, 1, 0, 0]), (0, &[3, 2, 1, 0])]);
        let plain = [Role::Honest; 3];
        let ordered = order(&drawn, &plain, 1);
        assert_eq!(ordered.anchor, [Some(0), Some(1), Some(1)]);
        let mut ends = [0, 0];
        for seed in 0..64 {
            let mut other = drawn.clone();
            other.cuts[1].seed = [seed; 32];
            let order = word(&order(&other, &plain, 1));
            ends[usize::from(order == "ACB")] += 1;
        }
        assert!(ends[0] > 10 && ends[1] > 10, "{ends:?}");
    }

    #[test]
    fn eight_tries_win_eight_times_of_nine() {
        let words = ["A1 B2", "A1 B2", "", ""];
        let mut drawn = lists(1, &words, &[(0, &[2, 2, 0, 0])]);
        let role = [Role::Victim, Role::Attacker];
        let mut first = 0;
        for seed in 0..900u32 {
            drawn.cuts[0].seed[..4].copy_from_slice(&seed.to_be_bytes());
            first += u32::from(word(&order(&drawn, &role, 8)) == "BA");
        }
        assert!((760..840).contains(&first), "{first}");
    }
}
