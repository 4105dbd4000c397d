//! The law, held over every order made here: a forced pair is not turned round outside a cycle unless a wait was cut.
//!
//! (x, y) is forced when more correct authorities received x before y than y before x by over 2f. Shares nothing with
//! the engine but its output.

use serde::Serialize;

use super::lists::Lists;
use super::rules::Ordered;
use super::rules::ours::Fair;

/// Forced pairs of a run: of all envelopes sent within [`WINDOW`] of each other.
#[derive(Clone, Debug)]
pub struct Forced {
    pairs: Vec<(u32, u32)>,
}

/// What an order made of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// Forced pairs of which at least one is ordered.
    pub forced: u64,
    /// Of these, turned round.
    pub turned: u64,
    /// Of these, inside one group of three and more, or after a wait was cut.
    pub excepted: u64,
}

impl Kept {
    /// Adds another run.
    pub const fn add(&mut self, other: Self) {
        self.forced += other.forced;
        self.turned += other.turned;
        self.excepted += other.excepted;
    }
}

impl Forced {
    /// Finds them in the lists of the correct.
    pub fn find(lists: &Lists) -> Self {
        let ranks = |list: &Vec<super::lists::Listing>| {
            let mut rank = vec![None; lists.envelopes()];
            for (at, listing) in list.iter().enumerate() {
                rank[listing.envelope as usize] = Some(at);
            }
            rank
        };
        let ranks: Vec<Vec<Option<usize>>> = lists.correct().iter().map(ranks).collect();
        let mut pairs = Vec::new();
        for x in 0..lists.envelopes() {
            for y in x + 1..lists.envelopes().min(x + WINDOW) {
                let mut lead = 0i32;
                for rank in &ranks {
                    // Listed by one only counts as no word on it: that is what the law promises least for.
                    if let (Some(x), Some(y)) = (rank[x], rank[y]) {
                        lead += if x < y { 1 } else { -1 };
                    }
                }
                if lead.unsigned_abs() as usize > 2 * lists.faulty {
                    let forced = if lead > 0 { (x, y) } else { (y, x) };
                    pairs.push((forced.0 as u32, forced.1 as u32));
                }
            }
        }
        Self { pairs }
    }

    /// How any rule treats them.
    pub fn kept_by(&self, ordered: &Ordered) -> Kept {
        let mut kept = Kept::default();
        for (x, y) in &self.pairs {
            let Some(is_kept) = ordered.is_before(*x, *y) else {
                continue;
            };
            kept.forced += 1;
            kept.turned += u64::from(!is_kept);
        }
        kept
    }

    /// How ours treats them. Panics where the law is broken: no figure of such a run means anything.
    pub fn kept_by_ours(&self, fair: &Fair) -> Kept {
        let mut kept = Kept::default();
        for (x, y) in &self.pairs {
            let Some(is_kept) = fair.ordered.is_before(*x, *y) else {
                continue;
            };
            kept.forced += 1;
            if is_kept {
                continue;
            }
            let (first, second) = (fair.group[*x as usize], fair.group[*y as usize]);
            let in_group = first == second && second.is_some_and(|(_, len)| len >= 3);
            assert!(
                in_group || fair.after_cut[*y as usize],
                "({x}, {y}) is forced and was turned round: {first:?} after {second:?}"
            );
            kept.turned += 1;
            kept.excepted += 1;
        }
        kept
    }
}

/// Envelopes whose numbers are so far apart or further are not compared.
pub const WINDOW: usize = 32;

#[cfg(test)]
mod tests {
    use super::super::rules::drawn::lists;
    use super::super::rules::ours;
    use super::*;

    #[test]
    fn forced_is_ahead_at_more_than_2f_more() {
        let words = ["A1 B2 C3", "A1 C2 B3", "A1 B2 C3", "C1 B2 A3"];
        let drawn = lists(1, &words, &[(0, &[3, 3, 3, 3])]);
        // Of the three correct ones A leads everybody by 3, B leads C by 2 : 1.
        assert_eq!(Forced::find(&drawn).pairs, [(0, 1), (0, 2)]);
        let kept = Forced::find(&drawn).kept_by_ours(&ours::order(&drawn));
        assert_eq!(
            kept,
            Kept {
                forced: 2,
                turned: 0,
                excepted: 0
            }
        );
    }

    #[test]
    #[should_panic(expected = "is forced and was turned round")]
    fn a_broken_law_stops_the_bench() {
        let words = ["A1 B2", "A1 B2", "A1 B2", "A1 B2"];
        let drawn = lists(1, &words, &[(0, &[2, 2, 2, 2])]);
        let mut fair = ours::order(&drawn);
        fair.ordered.place.swap(0, 1);
        Forced::find(&drawn).kept_by_ours(&fair);
    }
}
