//! FairDAG-RL: batches by a graph of pairwise majorities, each final only when every pair of it is decided.
//!
//! Kang et al., FairDAG, 2025, with gamma = 1; thresholds and weights as in its public implementations (ResilientDB
//! `fairdag_rl`; lesserbug/FairDAG_RL): at each anchor, the envelopes that f + 1 lists hold and no earlier graph has make
//! a graph; a pair gets an edge once f + 1 lists that hold *both* agree on it, the larger side winning; a graph is
//! final when all its pairs have one, in turn, and goes out up to its last component with an envelope that n - f hold
//! (*solid*). Envelopes after that one join a later graph. Authorities list what clients send them, not what others list.

use std::collections::{BTreeMap, VecDeque};

use super::Ordered;
use crate::attack::lists::Lists;

/// The order, with one number for each envelope: inside a component by number, where the paper takes a path.
pub fn order(lists: &Lists) -> Ordered {
    let mut rl = FairDagRl::new(lists);
    for at in 0..lists.cuts.len() {
        rl.step(at);
    }
    rl.ordered
}

struct FairDagRl<'a> {
    lists: &'a Lists,
    ordered: Ordered,
    /// Rank of each envelope in each committed list.
    ranks: Vec<Vec<Option<u32>>>,
    /// Envelopes that enough lists hold and no graph has.
    waiting: Vec<u32>,
    graphs: VecDeque<Vec<u32>>,
}

impl<'a> FairDagRl<'a> {
    fn new(lists: &'a Lists) -> Self {
        Self {
            lists,
            ordered: Ordered::none(lists.envelopes()),
            ranks: vec![Vec::new(); lists.envelopes()],
            waiting: Vec::new(),
            graphs: VecDeque::new(),
        }
    }

    fn step(&mut self, at: usize) {
        let n = self.lists.authorities();
        let before = |authority: usize| {
            at.checked_sub(1)
                .map_or(0, |at| self.lists.cuts[at].upto[authority])
        };
        for (authority, appended) in self.lists.appends(at).enumerate() {
            for (rank, listing) in (before(authority) as u32..).zip(appended) {
                let ranks = &mut self.ranks[listing.envelope as usize];
                ranks.resize(n, None);
                ranks[authority] = Some(rank);
                if ranks.iter().flatten().count() == self.lists.faulty + 1 {
                    self.waiting.push(listing.envelope);
                }
            }
        }
        let graph: Vec<u32> = std::mem::take(&mut self.waiting);
        if !graph.is_empty() {
            self.graphs.push_back(graph);
        }
        while self.try_finish(at) {}
    }

    /// Orders the first graph if all its pairs are decided.
    fn try_finish(&mut self, at: usize) -> bool {
        let Some(graph) = self.graphs.front() else {
            return false;
        };
        let mut edges = vec![Vec::new(); graph.len()];
        for (i, x) in graph.iter().enumerate() {
            for (j, y) in graph.iter().enumerate().skip(i + 1) {
                match self.is_before(*x, *y) {
                    None => return false,
                    Some(true) => edges[i].push(j),
                    Some(false) => edges[j].push(i),
                }
            }
        }
        let is_solid = |envelope: u32| {
            let ranks = self.ranks[envelope as usize].iter();
            ranks.flatten().count() >= self.lists.quorum()
        };
        // All its pairs are decided, so its components stand in one line, and fewer successors means later.
        let component = components(&edges);
        let mut line: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        for (at, envelope) in graph.iter().enumerate() {
            line.entry(component[at]).or_default().push(*envelope);
        }
        let line: Vec<Vec<u32>> = line.into_values().collect();
        let has_solid = |part: &Vec<u32>| part.iter().any(|at| is_solid(*at));
        // Without a solid envelope all of them join a later graph.
        let ordered = line.iter().rposition(has_solid).map_or(0, |last| last + 1);
        self.graphs.pop_front();
        for (place, part) in line.into_iter().enumerate() {
            for envelope in part {
                if place < ordered {
                    self.ordered.push(envelope, Some(at));
                } else {
                    self.waiting.push(envelope);
                }
            }
        }
        true
    }

    /// Whether the pair's edge goes from `x` to `y`; none while too few lists hold both.
    fn is_before(&self, x: u32, y: u32) -> Option<bool> {
        let (mut ahead, mut behind) = (0, 0);
        for (x, y) in self.ranks[x as usize].iter().zip(&self.ranks[y as usize]) {
            if let (Some(x), Some(y)) = (x, y) {
                ahead += usize::from(x < y);
                behind += usize::from(x > y);
            }
        }
        (ahead.max(behind) > self.lists.faulty).then_some(ahead >= behind)
    }
}

/// For each node of a tournament the place of its strongly connected component in their one line.
///
/// By out-degrees (Landau): sorted downwards, a component ends where their sum is that of all edges inside and beyond.
fn components(edges: &[Vec<usize>]) -> Vec<usize> {
    let nodes = edges.len();
    let mut by_degree: Vec<usize> = (0..nodes).collect();
    by_degree.sort_by_key(|at| (usize::MAX - edges[*at].len(), *at));
    let mut component = vec![0; nodes];
    let (mut place, mut sum) = (0, 0);
    for (at, node) in by_degree.into_iter().enumerate() {
        component[node] = place;
        sum += edges[node].len();
        let taken = at + 1;
        if sum == taken * (taken - 1) / 2 + taken * (nodes - taken) {
            place += 1;
        }
    }
    component
}

#[cfg(test)]
mod tests {
    use super::super::drawn::{lists, word};
    use super::*;

    #[test]
    fn majorities_decide_and_a_cycle_is_one_component() {
        // 0 > 1 > 2 > 0, and all of them before 3, after 4.
        let edges = [vec![1, 3], vec![2, 3], vec![0, 3], vec![], vec![0, 1, 2, 3]];
        assert_eq!(components(&edges), [1, 1, 1, 2, 0]);
        let words = ["A1 B2 C3", "A1 C2 B3", "A1 C2 B3", "B1 C2 A3"];
        let drawn = lists(1, &words, &[(0, &[3, 3, 3, 3])]);
        assert_eq!(
            word(&order(&drawn)),
            "ACB",
            "C and B are even: the first in the graph wins"
        );
    }

    #[test]
    fn one_pair_that_two_lists_split_on_halts_all_that_follows() {
        // X is seen by two only, once before A and once after it: neither side ever has two.
        let words = ["X1 A2 B9 C9", "A1 X2 B9 C9", "A1 B9 C9", "A1 B9 C9"];
        let words = words.map(|word| word.replace('X', "D"));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let cuts: [(usize, &[usize]); 3] =
            [(0, &[2, 2, 1, 1]), (0, &[4, 4, 3, 3]), (0, &[4, 4, 3, 3])];
        assert_eq!(word(&order(&lists(1, &words, &cuts))), "");
        // Seen by all, it goes.
        let words = ["D1 A2 B9", "A1 D2 B9", "A1 D2 B9", "A1 D2 B9"];
        let drawn = lists(1, &words, &[(0, &[2, 2, 2, 2]), (0, &[3, 3, 3, 3])]);
        assert_eq!(word(&order(&drawn)), "ADB");
    }
}
