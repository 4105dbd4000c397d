//! The final order of what an anchor emits: groups in topological order, and the order inside a group.
//!
//! Fairlane protocol, fair order, rule 4. Groups are the strongly connected components of the strong relation among the
//! emitted (batch order as in Kelkar et al., Themis, CCS 2023). Free choices go by *place*: lower median of a pair's
//! ranks, then a hash that clients cannot grind, because its key is made of vertices that did not exist when they chose
//! their bytes. A group's place is the least of its members'.
//! Departs: inside a group Themis looks for a Hamiltonian path; we drop the edges of the weakest margin (xy - yx), all
//! at once, until the group falls apart, order the parts like groups, and go on inside each. So the best supported
//! relations survive longest, and the result does not depend on where a search starts.
//!
//! Cost: a group search and a heap (`condense`), a sort by rank, a hash for each pair that shares its rank; a group of k
//! costs at most n searches of k^2 / 64 words a part and k^2 bytes, one above [`GROUP_PAIRS_MAX`] only a sort.

use std::cmp::Ordering;

use super::bits::{Bits, ones};
use super::compare::margins;
use super::condense::Components;
use super::precedence::Relation;
use super::ranks::Ranks;
use crate::types::{AUTHORITIES_MAX, Entry};

/// The emitted nodes in their final order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Arranged {
    /// Groups in order; inside a group, nodes in order.
    pub(super) nodes: Vec<u32>,
    /// Where each group ends in `nodes`.
    pub(super) ends: Vec<u32>,
    /// Groups above [`GROUP_PAIRS_MAX`], ordered by place alone.
    pub(super) oversized: u32,
}

/// Orders the nodes in `emitted`; `relation` is the strong one of `ranks` under `quorum`, `place` is indexed by node.
pub(super) fn arrange(
    ranks: &Ranks,
    relation: &Relation,
    quorum: u32,
    emitted: &Bits,
    place: &[u32],
) -> Arranged {
    let components = Components::find(relation, emitted);
    let order = components.in_order(relation, emitted, place);
    let mut arranged = Arranged {
        nodes: Vec::with_capacity(emitted.count() as usize),
        ends: Vec::with_capacity(order.len()),
        oversized: 0,
    };
    for component in order {
        let start = arranged.nodes.len();
        arranged
            .nodes
            .extend(components.members(component as usize));
        let group = &mut arranged.nodes[start..];
        // Ascending by place, so that an index inside the group is its place inside the group.
        group.sort_unstable_by_key(|node| place[*node as usize]);
        if group.len() > GROUP_PAIRS_MAX {
            arranged.oversized += 1;
        } else if group.len() > 1 {
            untangle(ranks, quorum, group);
        }
        arranged.ends.push(arranged.nodes.len() as u32);
    }
    arranged
}

/// For each node its place in the order of free choices, all different; what is not in `emitted` gets 0.
///
/// By lower median of ranks, then BLAKE3 of the digest keyed with `tie_seed`, then `valid_until` (two pairs of one
/// digest, which only a liar makes).
pub(super) fn places<'a>(
    ranks: &Ranks,
    emitted: &Bits,
    tie_seed: &[u8; 32],
    entry: impl Fn(usize) -> &'a Entry,
) -> Vec<u32> {
    let by_rank = |node: usize| u64::from(ranks.lower_median(node)) << 32 | node as u64;
    let mut nodes: Vec<u64> = emitted.iter().map(by_rank).collect();
    nodes.sort_unstable();
    let node = |ranked: u64| ranked as u32 as usize;
    let mut keyed = Vec::new();
    for tied in nodes.chunk_by_mut(|left, right| left >> 32 == right >> 32) {
        if tied.len() > 1 {
            keyed.clear();
            keyed.extend(tied.iter().map(|ranked| {
                let entry = entry(node(*ranked));
                let hash = blake3::keyed_hash(tie_seed, &entry.digest.0);
                (*hash.as_bytes(), entry.valid_until, *ranked)
            }));
            keyed.sort_unstable();
            for (ranked, (_, _, of)) in tied.iter_mut().zip(&keyed) {
                *ranked = *of;
            }
        }
    }
    let mut places = vec![0; ranks.blocks() * 64];
    for (place, ranked) in (0..).zip(nodes) {
        places[node(ranked)] = place;
    }
    places
}

/// Orders one group of at least two and at most [`GROUP_PAIRS_MAX`], which stands in order of places.
fn untangle(ranks: &Ranks, quorum: u32, group: &mut [u32]) {
    let by_place = group.to_vec();
    let inner: Vec<u32> = (0..by_place.len() as u32).collect();
    let order = Tangle::of(ranks, quorum, &by_place).order(inner.clone(), &inner);
    for (node, at) in group.iter_mut().zip(order) {
        *node = by_place[at as usize];
    }
}

/// A group with the edges that are left in it.
struct Tangle {
    relation: Relation,
    /// Margins xy - yx of every x over every y, a row of blocks an x; read only where the relation has an edge.
    margins: Vec<[u8; 64]>,
}

impl Tangle {
    fn of(ranks: &Ranks, quorum: u32, group: &[u32]) -> Self {
        let ranks = ranks.of_group(group);
        let mut relation = Relation::default();
        relation.rebuild(&ranks, quorum);
        let mut own = [0; AUTHORITIES_MAX];
        let mut all = Vec::with_capacity(group.len() * ranks.blocks());
        for x in 0..group.len() {
            let own = ranks.own(x, &mut own);
            all.extend((0..ranks.blocks()).map(|block| margins(own, ranks.rows(block))));
        }
        Self {
            relation,
            margins: all,
        }
    }

    /// Untangles `whole`, a cyclic part: drops edges until it falls apart, orders the parts, goes on inside each.
    fn order(mut self, whole: Vec<u32>, place: &[u32]) -> Vec<u32> {
        let mut order = Vec::with_capacity(whole.len());
        // The parts still to be ordered, the first one last.
        let mut parts = vec![whole];
        while let Some(part) = parts.pop() {
            if let [only] = part[..] {
                order.push(only);
                continue;
            }
            let mut within = Bits::empty(self.relation.len());
            part.iter()
                .for_each(|member| within.insert(*member as usize));
            self.drop_weakest(&within);
            let fallen = Components::find(&self.relation, &within);
            let next = fallen.in_order(&self.relation, &within, place);
            parts.extend(
                next.iter()
                    .rev()
                    .map(|part| fallen.members(*part as usize).to_vec()),
            );
        }
        order
    }

    /// Drops the edges of the weakest margin among those left inside `part`, which is cyclic.
    fn drop_weakest(&mut self, part: &Bits) {
        let mut weakest = Vec::new();
        let mut margin_least = u8::MAX;
        for x in part.iter() {
            let margins = &self.margins[x * part.words().len()..];
            // All blocks of a group are near ones.
            let row = self.relation.successors(x).words.iter().zip(part.words());
            for y in ones(row.map(|(row, part)| row & part)) {
                let margin = margins[y / 64][y % 64];
                match margin.cmp(&margin_least) {
                    Ordering::Greater => continue,
                    Ordering::Less => weakest.clear(),
                    Ordering::Equal => {}
                }
                margin_least = margin;
                weakest.push((x, y));
            }
        }
        assert!(!weakest.is_empty(), "a cyclic part has edges");
        for (x, y) in weakest {
            self.relation.unlink(x, y);
        }
    }
}

/// Above so many pairs a group is ordered by place alone: 1,024 squared bytes of margins is what one step may take.
pub(super) const GROUP_PAIRS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Digest, TimestampUs};

    /// All of `pairs`, ordered from lists drawn as words, places by letter ("A" first) unless ranks differ.
    fn arranged(lists: &[Vec<u32>], pairs: usize, quorum: u32) -> Arranged {
        let (mut ranks, mut relation) = (Ranks::default(), Relation::default());
        ranks.rebuild_drawn(lists, pairs, quorum);
        relation.rebuild(&ranks, quorum);
        let mut all = Bits::empty(relation.len());
        ranks.nodes().for_each(|(node, _)| all.insert(node));
        let entries: Vec<Entry> = (0..pairs).map(entry).collect();
        let pair = |node: usize| &entries[ranks.slot(node) as usize];
        let place = places(&ranks, &all, &[7; 32], pair);
        let mut arranged = arrange(&ranks, &relation, quorum, &all, &place);
        for node in &mut arranged.nodes {
            *node = ranks.slot(*node as usize);
        }
        arranged
    }

    impl Arranged {
        fn groups(&self) -> Vec<Vec<u32>> {
            let starts = std::iter::once(0).chain(self.ends.iter().copied());
            let group = |(start, end): (u32, &u32)| &self.nodes[start as usize..*end as usize];
            starts
                .zip(&self.ends)
                .map(group)
                .map(<[u32]>::to_vec)
                .collect()
        }
    }

    fn entry(at: usize) -> Entry {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&(at as u64).to_be_bytes());
        Entry {
            digest: Digest(digest),
            valid_until: TimestampUs(1),
        }
    }

    fn drawn(lists: &[&str]) -> Vec<Vec<u32>> {
        let number = |list: &&str| {
            list.bytes()
                .map(|letter| u32::from(letter - b'A'))
                .collect()
        };
        lists.iter().map(number).collect()
    }

    #[test]
    fn strong_predecessors_go_first_whatever_the_ranks_say() {
        // B before A in every list that holds both; C and D lift the rank of B.
        let lists = drawn(&["CDBA", "CDBA", "CDBA", "CDBA"]);
        assert_eq!(
            arranged(&lists, 4, 3).groups(),
            vec![vec![2], vec![3], vec![1], vec![0]]
        );
    }

    #[test]
    fn free_pairs_go_by_lower_median_rank() {
        // A against B is 2 : 2, so both are free at first. Ranks of A: 1 0 2 1, of B: 2 1 0 0; lower medians 1 and 0.
        let lists = drawn(&["CAB", "ABC", "BCA", "BAC"]);
        assert_eq!(arranged(&lists, 3, 3).groups()[0], vec![1]);
    }

    #[test]
    fn equal_ranks_are_decided_by_the_keyed_hash() {
        let lists = drawn(&["AB", "BA", "AB", "BA"]);
        let mut ranks = Ranks::default();
        ranks.rebuild_drawn(&lists, 2, 3);
        let mut all = Bits::empty(2);
        (0..2).for_each(|at| all.insert(at));
        let entries = [entry(0), entry(1)];
        let mut first = [0u32; 2];
        for seed in 0..64u8 {
            let place = places(&ranks, &all, &[seed; 32], |at| &entries[at]);
            let hash =
                |at: usize| *blake3::keyed_hash(&[seed; 32], &entries[at].digest.0).as_bytes();
            assert_eq!(place[0] < place[1], hash(0) < hash(1));
            first[usize::from(place[1] < place[0])] += 1;
        }
        assert!(
            first[0] > 10 && first[1] > 10,
            "the seed decides, not the digest: {first:?}"
        );
    }

    #[test]
    fn two_pairs_of_one_digest_have_places_of_their_own() {
        let lists = drawn(&["AB", "BA"]);
        let mut ranks = Ranks::default();
        ranks.rebuild_drawn(&lists, 2, 3);
        let mut all = Bits::empty(2);
        (0..2).for_each(|at| all.insert(at));
        let entries = [2, 1].map(|us| Entry {
            valid_until: TimestampUs(us),
            ..entry(0)
        });
        assert_eq!(
            places(&ranks, &all, &[0; 32], |at| &entries[at])[..2],
            [1, 0]
        );
    }

    #[test]
    fn a_group_falls_apart_at_its_weakest_margin() {
        // Every neighbour leads the next 4 : 1, but E leads A only 3 : 1, since the second list holds neither.
        let lists = drawn(&["ABCDE", "BCD", "CDEAB", "DEABC", "EABCD"]);
        assert_eq!(arranged(&lists, 5, 4).groups(), vec![vec![0, 1, 2, 3, 4]]);
        // The same with B before C the weakest.
        let lists = drawn(&["ABCDE", "BCDEA", "CDEAB", "DEA", "EABCD"]);
        assert_eq!(arranged(&lists, 5, 4).groups(), vec![vec![2, 3, 4, 0, 1]]);
    }

    #[test]
    fn a_cycle_of_equal_margins_is_one_group_ordered_by_place() {
        let lists = drawn(&["ABC", "BCA", "CAB", ""]);
        let arranged = arranged(&lists, 3, 3);
        let mut by_hash = [0u32, 1, 2];
        by_hash.sort_by_key(|at| {
            *blake3::keyed_hash(&[7; 32], &entry(*at as usize).digest.0).as_bytes()
        });
        assert_eq!(arranged.groups(), vec![by_hash.to_vec()]);
    }

    #[test]
    fn parts_that_are_still_cycles_are_untangled_in_their_turn() {
        // Two cycles, 0 1 2 and 3 4 5, tied into one by 2 > 3 and 5 > 0; the last of each triple is the margin.
        let edges = [
            (0, 1, 1),
            (1, 2, 3),
            (2, 0, 2),
            (3, 4, 3),
            (4, 5, 3),
            (5, 3, 2),
            (2, 3, 3),
            (5, 0, 1),
        ];
        let mut tangle = Tangle {
            relation: Relation::drawn(6, &edges.map(|(x, y, _)| (x, y))),
            margins: vec![[0; 64]; 6],
        };
        for (x, y, margin) in edges {
            tangle.margins[x][y] = margin;
        }
        // Margin 1 goes first and leaves 1 > 2, then 2 > 0 and 2 > 3, and the cycle 3 4 5; that one loses 5 > 3 next.
        let place = [5, 4, 3, 2, 1, 0];
        assert_eq!(
            tangle.order((0..6).collect(), &place),
            vec![1, 2, 3, 4, 5, 0]
        );
    }

    #[test]
    fn a_group_above_the_limit_goes_by_place_alone_and_is_counted() {
        let ring = |pairs: u32| -> Vec<Vec<u32>> {
            let turned = |part: u32| {
                let mut list: Vec<u32> = (0..pairs).collect();
                list.rotate_left((part * pairs / 5) as usize);
                list
            };
            (0..5).map(turned).collect()
        };
        let within = arranged(&ring(20), 20, 4);
        assert_eq!((within.groups().len(), within.oversized), (1, 0));
        let pairs = GROUP_PAIRS_MAX as u32 + 1;
        let above = arranged(&ring(pairs), pairs as usize, 4);
        assert_eq!((above.groups().len(), above.oversized), (1, 1));
        assert_eq!(above.groups()[0].len(), pairs as usize);
    }
}
