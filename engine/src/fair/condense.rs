//! Strongly connected components of a relation, and their topological order with free choices by place.
//!
//! Kosaraju's two searches over rows of words: "the next unvisited successor" is one AND, so a search costs m^2 / 64
//! word operations whatever the number of edges. (Tarjan's single search looks at every edge, and in a near total order
//! there are m^2 / 2 of them.) Explicit stacks: a client that builds a long chain must not overflow a thread's.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::bits::{Bits, ones};
use super::precedence::Relation;

/// The components of a relation restricted to some indices.
#[derive(Clone, Debug, Default)]
pub(super) struct Components {
    /// Members of the first component, then of the second, and so on.
    members: Vec<u32>,
    /// Where each component starts in `members`; one more at the end.
    starts: Vec<usize>,
    /// The component of each index; meaningless outside the restriction.
    of: Vec<u32>,
}

impl Components {
    /// Finds the components of `relation` among `within`, in a topological order of theirs.
    pub(super) fn find(relation: &Relation, within: &Bits) -> Self {
        let finished = finish_order(relation, within);
        let mut found = Self {
            members: Vec::with_capacity(finished.len()),
            starts: vec![0],
            of: vec![0; relation.len()],
        };
        let mut unvisited = within.clone();
        for root in finished.into_iter().rev() {
            if unvisited.contains(root as usize) {
                unvisited.remove(root as usize);
                found.collect(relation, &mut unvisited, root);
            }
        }
        found
    }

    /// How many components there are.
    pub(super) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// The component of `index`, an index of the restriction.
    pub(super) fn of(&self, index: usize) -> usize {
        self.of[index] as usize
    }

    /// The members of `component`, in no order that means anything.
    pub(super) fn members(&self, component: usize) -> &[u32] {
        &self.members[self.starts[component]..self.starts[component + 1]]
    }

    /// Adds the component of `root`: what reaches it and was not visited.
    fn collect(&mut self, relation: &Relation, unvisited: &mut Bits, root: u32) {
        let component = self.len() as u32;
        let mut next = self.members.len();
        self.members.push(root);
        while let Some(member) = self.members.get(next).copied() {
            next += 1;
            self.of[member as usize] = component;
            let row = relation.predecessors(member as usize);
            for (word, row) in row.iter().enumerate() {
                let fresh = row & unvisited.words()[word];
                for at in ones(std::iter::once(fresh)).map(|bit| word * 64 + bit) {
                    unvisited.remove(at);
                    self.members.push(at as u32);
                }
            }
        }
        self.starts.push(self.members.len());
    }

    /// The components in topological order; where several are free, the one with the least place goes first.
    ///
    /// A component's place is the least of its members'; `place` is indexed like the relation, and no two are equal.
    pub(super) fn in_order(&self, relation: &Relation, within: &Bits, place: &[u32]) -> Vec<u32> {
        let least = |component: u32| {
            let members = self.members(component as usize).iter();
            members.map(|member| place[*member as usize]).min()
        };
        let mut waits_for = self.edges_into(relation, within);
        let mut free: BinaryHeap<_> = (0..self.len() as u32)
            .filter(|component| waits_for[*component as usize] == 0)
            .map(|component| Reverse((least(component), component)))
            .collect();
        let mut order = Vec::with_capacity(self.len());
        let mut left = within.clone();
        while let Some(Reverse((_, component))) = free.pop() {
            order.push(component);
            let members = self.members(component as usize);
            members
                .iter()
                .for_each(|member| left.remove(*member as usize));
            for member in members {
                let row = relation.successors(*member as usize).iter();
                for after in ones(row.zip(left.words()).map(|(row, left)| row & left)) {
                    let after = self.of[after];
                    waits_for[after as usize] -= 1;
                    if waits_for[after as usize] == 0 {
                        free.push(Reverse((least(after), after)));
                    }
                }
            }
        }
        assert_eq!(order.len(), self.len(), "a condensation has no cycle");
        order
    }

    /// For each component, how many pairs of the relation lead into it from others of `within`.
    fn edges_into(&self, relation: &Relation, within: &Bits) -> Vec<u32> {
        let mut others = within.clone();
        let mut counts = Vec::with_capacity(self.len());
        for members in (0..self.len()).map(|component| self.members(component)) {
            members.iter().for_each(|own| others.remove(*own as usize));
            let into = |member: &u32| -> u32 {
                let row = relation.predecessors(*member as usize).iter();
                row.zip(others.words())
                    .map(|(row, others)| (row & others).count_ones())
                    .sum()
            };
            counts.push(members.iter().map(into).sum());
            members.iter().for_each(|own| others.insert(*own as usize));
        }
        counts
    }
}

/// The indices of `within` as a depth-first search along successors leaves them.
fn finish_order(relation: &Relation, within: &Bits) -> Vec<u32> {
    let mut unvisited = within.clone();
    let mut finished = Vec::with_capacity(within.count() as usize);
    // Index, and the first word of its row that may still hold an unvisited successor.
    let mut path: Vec<(usize, usize)> = Vec::new();
    for root in within.iter() {
        if !unvisited.contains(root) {
            continue;
        }
        unvisited.remove(root);
        path.push((root, 0));
        while let Some((index, from)) = path.last_mut() {
            let row = &relation.successors(*index)[*from..];
            let mut fresh = row
                .iter()
                .zip(&unvisited.words()[*from..])
                .map(|(row, mask)| row & mask);
            let Some(skipped) = fresh.position(|word| word != 0) else {
                finished.push(*index as u32);
                path.pop();
                continue;
            };
            *from += skipped;
            let word = row[skipped] & unvisited.words()[*from];
            let next = *from * 64 + word.trailing_zeros() as usize;
            unvisited.remove(next);
            path.push((next, 0));
        }
    }
    finished
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(len: usize, edges: &[(usize, usize)]) -> (Relation, Bits) {
        let relation = Relation::drawn(len, edges);
        let mut all = Bits::empty(len);
        (0..len).for_each(|index| all.insert(index));
        (relation, all)
    }

    fn ordered(relation: &Relation, within: &Bits, place: &[u32]) -> Vec<Vec<u32>> {
        let components = Components::find(relation, within);
        let sorted = |component: u32| {
            let mut members = components.members(component as usize).to_vec();
            members.sort_unstable();
            members
        };
        components
            .in_order(relation, within, place)
            .into_iter()
            .map(sorted)
            .collect()
    }

    #[test]
    fn cycles_are_one_component_and_the_rest_are_single() {
        let (relation, all) = drawn(6, &[(0, 1), (1, 2), (2, 0), (2, 3), (4, 5), (5, 4), (5, 0)]);
        let groups = ordered(&relation, &all, &[0, 1, 2, 3, 4, 5]);
        assert_eq!(groups, vec![vec![4, 5], vec![0, 1, 2], vec![3]]);
    }

    #[test]
    fn free_choices_go_by_the_least_place_of_a_member() {
        let (relation, all) = drawn(5, &[(0, 1), (1, 0), (2, 3)]);
        let groups = ordered(&relation, &all, &[9, 1, 2, 0, 8]);
        assert_eq!(groups, vec![vec![0, 1], vec![2], vec![3], vec![4]]);
    }

    #[test]
    fn what_is_left_out_neither_blocks_nor_joins() {
        let (relation, mut within) = drawn(4, &[(0, 1), (1, 2), (2, 0), (3, 2)]);
        within.remove(1);
        let groups = ordered(&relation, &within, &[3, 2, 1, 0]);
        assert_eq!(groups, vec![vec![3], vec![2], vec![0]]);
    }

    #[test]
    fn a_chain_of_ten_thousand_needs_no_deep_stack() {
        let edges: Vec<_> = (1..10_000).map(|at| (at, at - 1)).collect();
        let (relation, all) = drawn(10_000, &edges);
        let place: Vec<u32> = (0..10_000).collect();
        let groups = ordered(&relation, &all, &place);
        assert_eq!(groups.len(), 10_000);
        assert_eq!(groups[0], vec![9_999]);
    }
}
