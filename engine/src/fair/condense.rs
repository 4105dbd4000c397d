//! Strongly connected components of a relation, and their topological order with free choices by place.
//!
//! Kosaraju's two searches over words: "the next unvisited successor" is one AND a near block, and one look at the blocks
//! that follow as a whole. (Tarjan's single search looks at every edge, and in a near total order there are m^2 / 2 of them.)
//! The order is Kahn's, but edges are not counted: each component watches one node that has to go before it, the last by
//! number, and looks for another when that one has gone. Explicit stacks: a client that builds a long chain must not
//! overflow a thread's.
//!
//! I1 A component that watches nobody is free. What a look has passed is gone or its own, so no look goes back.
//!
//! Cost: two searches and one look a node, each over its near words: m^2 / 64 words at worst; m log m for the heap.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::bits::Bits;
use super::precedence::Relation;

/// The components of a relation restricted to some nodes.
#[derive(Clone, Debug, Default)]
pub(super) struct Components {
    /// Members of the first component, then of the second, and so on.
    members: Vec<u32>,
    /// Where each component starts in `members`; one more at the end.
    starts: Vec<u32>,
    /// The component of each node; meaningless outside the restriction.
    of: Vec<u32>,
}

impl Components {
    /// Finds the components of `relation` among `within`, in a topological order of theirs.
    pub(super) fn find(relation: &Relation, within: &Bits) -> Self {
        let finished = finish_order(relation, within);
        let mut found = Self {
            members: Vec::with_capacity(finished.len()),
            starts: Vec::with_capacity(finished.len() + 1),
            of: vec![0; relation.len()],
        };
        found.starts.push(0);
        let mut unvisited = within.clone();
        let mut passed = 0;
        for root in finished.into_iter().rev() {
            if unvisited.contains(root as usize) {
                unvisited.remove(root as usize);
                found.collect(relation, &mut unvisited, &mut passed, root);
            }
        }
        found
    }

    /// How many components there are.
    pub(super) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// The component of `node`, which is one of the restriction.
    pub(super) fn of(&self, node: usize) -> usize {
        self.of[node] as usize
    }

    /// The members of `component`, in no order that means anything.
    pub(super) fn members(&self, component: usize) -> &[u32] {
        let (start, end) = (self.starts[component], self.starts[component + 1]);
        &self.members[start as usize..end as usize]
    }

    /// Adds the component of `root`: what reaches it and was not visited. The first `passed` blocks by end are visited.
    fn collect(
        &mut self,
        relation: &Relation,
        unvisited: &mut Bits,
        passed: &mut usize,
        root: u32,
    ) {
        let component = self.len() as u32;
        let mut next = self.members.len();
        self.members.push(root);
        while let Some(member) = self.members.get(next).copied() {
            next += 1;
            self.of[member as usize] = component;
            let row = relation.predecessors(member as usize);
            for (block, word) in row.blocks.iter().zip(row.words) {
                self.take(unvisited, *block as usize, *word);
            }
            while *passed < relation.count_before(member as usize) {
                self.take(unvisited, relation.by_end()[*passed] as usize, u64::MAX);
                *passed += 1;
            }
        }
        self.starts.push(self.members.len() as u32);
    }

    /// Adds the unvisited nodes of `mask` in `block` to the members.
    fn take(&mut self, unvisited: &mut Bits, block: usize, mask: u64) {
        let mut fresh = mask & unvisited.words()[block];
        unvisited.clear(block, fresh);
        while fresh != 0 {
            self.members
                .push((block * 64) as u32 + fresh.trailing_zeros());
            fresh &= fresh - 1;
        }
    }

    /// The components in topological order; where several are free, the one with the least place goes first.
    ///
    /// A component's place is the least of its members'; `place` is indexed by node, and no two are equal.
    pub(super) fn in_order(&self, relation: &Relation, within: &Bits, place: &[u32]) -> Vec<u32> {
        let least = |component: u32| {
            let members = self.members(component as usize).iter();
            members.map(|member| place[*member as usize]).min()
        };
        let mut watch = Watch::new(self, relation, within);
        let mut free = BinaryHeap::with_capacity(self.len());
        for component in 0..self.len() as u32 {
            if watch.is_free(component) {
                free.push(Reverse((least(component), component)));
            }
        }
        let mut order = Vec::with_capacity(self.len());
        while let Some(Reverse((_, component))) = free.pop() {
            order.push(component);
            let members = self.members(component as usize);
            members
                .iter()
                .for_each(|member| watch.left.remove(*member as usize));
            for member in members {
                let mut watcher = std::mem::replace(&mut watch.watchers[*member as usize], NONE);
                while watcher != NONE {
                    let next = watch.looks[watcher as usize].next;
                    if watch.is_free(watcher) {
                        free.push(Reverse((least(watcher), watcher)));
                    }
                    watcher = next;
                }
            }
        }
        assert_eq!(order.len(), self.len(), "a condensation has no cycle");
        order
    }
}

/// Who waits for whom while components are put in order.
struct Watch<'a> {
    components: &'a Components,
    relation: &'a Relation,
    /// The nodes that have not gone yet.
    left: Bits,
    /// The members of the component that looks, if it has several.
    own: Bits,
    /// So many blocks by end have gone.
    gone: usize,
    /// The first component that watches each node; the others by `Look::next`.
    watchers: Vec<u32>,
    looks: Vec<Look>,
}

/// How far a component has looked for who has to go before it.
#[derive(Clone, Copy, Debug)]
struct Look {
    /// Which member.
    member: u32,
    /// How many of its near blocks are to be looked at.
    near: u32,
    /// How many of the blocks that precede it as a whole.
    far: u32,
    /// The next component that watches the same node.
    next: u32,
}

impl<'a> Watch<'a> {
    fn new(components: &'a Components, relation: &'a Relation, within: &Bits) -> Self {
        let mut watch = Self {
            components,
            relation,
            left: within.clone(),
            own: Bits::empty(relation.len()),
            gone: 0,
            watchers: vec![NONE; relation.len()],
            looks: Vec::with_capacity(components.len()),
        };
        for component in 0..components.len() {
            let look = watch.first_look(component, 0);
            watch.looks.push(look);
        }
        watch
    }

    /// Whether nobody has to go before `component`; if somebody has, it watches them.
    fn is_free(&mut self, component: u32) -> bool {
        let members = self.components.members(component as usize);
        if members.len() > 1 {
            members
                .iter()
                .for_each(|own| self.own.insert(*own as usize));
        }
        let found = self.look(component as usize);
        if members.len() > 1 {
            members
                .iter()
                .for_each(|own| self.own.remove(*own as usize));
        }
        if let Some(node) = found {
            let first = std::mem::replace(&mut self.watchers[node], component);
            self.looks[component as usize].next = first;
        }
        found.is_none()
    }

    /// The last node, as far as blocks go, that is left and precedes a member of `component` from outside.
    fn look(&mut self, component: usize) -> Option<usize> {
        let members = self.components.members(component);
        let mut look = self.looks[component];
        let mut found = None;
        while let Some(member) = members.get(look.member as usize).copied() {
            found = self.look_near(&mut look, member as usize);
            if found.is_none() {
                found = self.look_far(&mut look);
            }
            if found.is_some() {
                break;
            }
            look = self.first_look(component, look.member + 1);
        }
        self.looks[component] = look;
        found
    }

    fn look_near(&self, look: &mut Look, member: usize) -> Option<usize> {
        let row = self.relation.predecessors(member);
        while look.near > 0 {
            let at = look.near as usize - 1;
            let block = row.blocks[at] as usize;
            if let Some(node) = self.last_of(block, row.words[at]) {
                return Some(node);
            }
            look.near -= 1;
        }
        None
    }

    fn look_far(&mut self, look: &mut Look) -> Option<usize> {
        let by_end = self.relation.by_end();
        while self.gone < by_end.len() && self.left.words()[by_end[self.gone] as usize] == 0 {
            self.gone += 1;
        }
        while look.far as usize > self.gone {
            let block = by_end[look.far as usize - 1] as usize;
            if let Some(node) = self.last_of(block, u64::MAX) {
                return Some(node);
            }
            look.far -= 1;
        }
        None
    }

    /// The last node of `block` within `mask` that is left and not one of the own.
    fn last_of(&self, block: usize, mask: u64) -> Option<usize> {
        let word = mask & self.left.words()[block] & !self.own.words()[block];
        (word != 0).then(|| block * 64 + 63 - word.leading_zeros() as usize)
    }

    /// Nothing looked at yet of `member`, if there is one.
    fn first_look(&self, component: usize, member: u32) -> Look {
        let members = self.components.members(component);
        let (near, far) = members.get(member as usize).map_or((0, 0), |node| {
            let near = self.relation.predecessors(*node as usize).blocks.len();
            (near, self.relation.count_before(*node as usize))
        });
        Look {
            member,
            near: near as u32,
            far: far as u32,
            next: NONE,
        }
    }
}

/// The nodes of `within` as a depth-first search along successors leaves them.
fn finish_order(relation: &Relation, within: &Bits) -> Vec<u32> {
    let mut unvisited = within.clone();
    let mut finished = Vec::with_capacity(within.count() as usize);
    // Node, and the first of its near blocks that may still hold an unvisited successor.
    let mut path: Vec<(u32, u32)> = Vec::new();
    // The blocks by begin from here on are visited.
    let mut open = relation.blocks();
    for root in within.iter() {
        if !unvisited.contains(root) {
            continue;
        }
        unvisited.remove(root);
        path.push((root as u32, 0));
        while let Some((node, near)) = path.last_mut() {
            let row = relation.successors(*node as usize);
            let mut next = None;
            while next.is_none() && (*near as usize) < row.blocks.len() {
                let block = row.blocks[*near as usize] as usize;
                let word = row.words[*near as usize] & unvisited.words()[block];
                match word {
                    0 => *near += 1,
                    _ => next = Some(block * 64 + word.trailing_zeros() as usize),
                }
            }
            while next.is_none() && open > relation.first_after(*node as usize) {
                let block = relation.by_begin()[open - 1] as usize;
                match unvisited.words()[block] {
                    0 => open -= 1,
                    word => next = Some(block * 64 + word.trailing_zeros() as usize),
                }
            }
            match next {
                Some(next) => {
                    unvisited.remove(next);
                    path.push((next as u32, 0));
                }
                None => {
                    finished.push(*node);
                    path.pop();
                }
            }
        }
    }
    finished
}

/// No component.
const NONE: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(len: usize, edges: &[(usize, usize)]) -> (Relation, Bits) {
        let relation = Relation::drawn(len, edges);
        let mut all = Bits::empty(relation.len());
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
