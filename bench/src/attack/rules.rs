//! The rules that are compared: each makes an order from the same lists.
//!
//! Ours is the engine's own code. The others are models of what their papers and sources order by; what they cost in
//! messages, and their agreement, is left out.

pub mod fairdag_rl;
pub mod hash;
pub mod leader;
pub mod median;
pub mod ours;

use serde::Serialize;

use super::lists::Lists;
use super::traffic::Role;

/// A rule by which an order is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// This project's.
    Ours,
    /// Median of timestamps that a proposer collects.
    Pompe,
    /// The f + 1 lowest timestamp of all that are committed.
    FairdagAb,
    /// The leader's own list.
    Leader,
    /// A keyed hash within an anchor.
    Hash,
    /// A keyed hash, and the attacker sends eight envelopes.
    HashEight,
}

impl Rule {
    /// All that are compared by who comes first.
    pub const ALL: [Self; 6] = [
        Self::Ours,
        Self::Pompe,
        Self::FairdagAb,
        Self::Leader,
        Self::Hash,
        Self::HashEight,
    ];

    /// As tables and plots name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ours => "Fairlane",
            Self::Pompe => "Pompe",
            Self::FairdagAb => "FairDAG-AB",
            Self::Leader => "leader's order",
            Self::Hash => "hash order",
            Self::HashEight => "hash order, 8 tries",
        }
    }

    /// Orders `lists`; `role` says whom liars help, which proposers of Pompe do, too.
    pub fn order(self, lists: &Lists, role: &[Role]) -> Ordered {
        match self {
            Self::Ours => ours::order(lists).ordered,
            Self::Pompe => median::pompe(lists, role),
            Self::FairdagAb => median::fairdag_ab(lists),
            Self::Leader => leader::order(lists),
            Self::Hash => hash::order(lists, role, 1),
            Self::HashEight => hash::order(lists, role, 8),
        }
    }
}

/// What a rule made of the lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ordered {
    /// Place of each envelope in the order; none if it was not ordered by the end.
    pub place: Vec<Option<u32>>,
    /// The anchor at which each was ordered; none, too, where a rule knows no anchors.
    pub anchor: Vec<Option<u32>>,
    len: u32,
}

impl Ordered {
    /// Nothing ordered yet, of so many envelopes.
    pub fn none(envelopes: usize) -> Self {
        Self {
            place: vec![None; envelopes],
            anchor: vec![None; envelopes],
            len: 0,
        }
    }

    /// Puts `envelope` last, at this anchor.
    pub fn push(&mut self, envelope: u32, anchor: Option<usize>) {
        let place = &mut self.place[envelope as usize];
        assert_eq!(*place, None, "an envelope is ordered once");
        *place = Some(self.len);
        self.anchor[envelope as usize] = anchor.map(|at| at as u32);
        self.len += 1;
    }

    /// Whether it is ordered.
    pub fn has(&self, envelope: u32) -> bool {
        self.place[envelope as usize].is_some()
    }

    /// Whether `first` comes before `second`, of which at least one is ordered; none if neither is.
    pub fn is_before(&self, first: u32, second: u32) -> Option<bool> {
        match (self.place[first as usize], self.place[second as usize]) {
            (None, None) => None,
            (Some(first), Some(second)) => Some(first < second),
            (first, None) => Some(first.is_some()),
            (None, Some(_)) => Some(false),
        }
    }
}

/// Counts, anchor by anchor, how many committed lists hold each envelope.
#[derive(Clone, Debug)]
pub struct Tally {
    listed_by: Vec<u16>,
}

impl Tally {
    /// For so many envelopes.
    pub fn new(envelopes: usize) -> Self {
        Self {
            listed_by: vec![0; envelopes],
        }
    }

    /// Takes in anchor `at` and gives the envelopes that `count` lists hold since then, ascending.
    pub fn reached(&mut self, lists: &Lists, at: usize, count: usize) -> Vec<u32> {
        let mut reached = Vec::new();
        for listing in lists.appends(at).flatten() {
            let listed_by = &mut self.listed_by[listing.envelope as usize];
            *listed_by += 1;
            if usize::from(*listed_by) == count {
                reached.push(listing.envelope);
            }
        }
        reached.sort_unstable();
        reached
    }
}

#[cfg(test)]
pub(super) mod drawn {
    //! Lists drawn as words: "A2 B5" lists envelope 0 at time 2, then envelope 1 at time 5.

    use super::super::lists::{Cut, Listing, Lists};
    use super::super::traffic::digest_of;

    /// `cuts` gives for each anchor its leader and how much of each list it commits.
    pub(crate) fn lists(faulty: usize, words: &[&str], cuts: &[(usize, &[usize])]) -> Lists {
        let listing = |word: &str| Listing {
            envelope: u32::from(word.as_bytes()[0] - b'A'),
            claimed: word[1..].parse().expect("a time follows the letter"),
        };
        let list = |words: &&str| words.split_whitespace().map(listing).collect();
        let lists: Vec<Vec<Listing>> = words.iter().map(list).collect();
        let envelopes = lists.iter().flatten().map(|listing| listing.envelope + 1);
        let cut = |(at, (leader, upto)): (usize, &(usize, &[usize]))| Cut {
            commit: 100 * (at as u64 + 1),
            leader: *leader,
            upto: upto.to_vec(),
            told_until: lists
                .iter()
                .zip(*upto)
                .map(|(list, upto)| list[..*upto].last().map_or(0, |last| last.claimed))
                .collect(),
            seed: [at as u8; 32],
        };
        Lists {
            faulty,
            liars: faulty,
            digests: (0..envelopes.max().unwrap_or(0)).map(digest_of).collect(),
            cuts: cuts.iter().enumerate().map(cut).collect(),
            lists,
        }
    }

    /// The order as a word.
    pub(crate) fn word(ordered: &super::Ordered) -> String {
        let mut placed: Vec<(u32, char)> = (ordered.place.iter().zip('A'..))
            .filter_map(|(place, letter)| Some(((*place)?, letter)))
            .collect();
        placed.sort_unstable();
        placed.into_iter().map(|(_, letter)| letter).collect()
    }
}
