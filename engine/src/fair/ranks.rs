//! The ranks of the pairs that a step looks at, as nodes: 64 beside each other, list by list, and in an order that keeps
//! together what stands together.
//!
//! A node's *interval*: set b lists aside, leave out the t lowest and t highest of its ranks in the others, and take the
//! span of the rest. Where x's interval ends before y's begins, x is a strong predecessor of y, without comparison:
//! at most t of the other lists have y below its interval and at most t have x above its own, so at least n - b - 2t lists
//! have x before y and at most b + 2t have y before x; and 2 (b + 2t) < q <= n makes that strong. The b = 0 case is
//! t = floor((q - 1) / 4). Setting aside floor((q - 1) / 2) lists, which are f or more, means that f authorities that
//! reverse or shuffle everything widen no interval.
//!
//! Which lists are set aside, and which nodes count as wide, decides about time only: the relation is the same.
//!
//! I1 Ranks of different lists are compared only to find intervals; any numbering that ascends in each list is sound.
//!
//! Cost: O(n m + m log m), the n m part in vector registers (n^2 m / 3 for the medians). Memory: 8 n bytes a node.

use super::bits::{Bits, words_for};
use super::compare::{ABSENT, Lanes};
use crate::types::AUTHORITIES_MAX;

/// Ranks of nodes in every list, in blocks of 64 nodes; a block may have holes at its end.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranks {
    authorities: usize,
    /// For each block a row a list.
    rows: Vec<Lanes>,
    /// The slot of each node; [`HOLE`] where there is none.
    slots: Vec<u32>,
    existing: Vec<u64>,
    medians: Vec<u32>,
    /// First and last rank of each block's intervals. None: one block, or not looked for.
    spans: Vec<(u32, u32)>,
    scratch: Scratch,
}

/// Buffers that are kept from step to step.
#[derive(Clone, Debug, Default)]
struct Scratch {
    rows: Vec<Lanes>,
    lows: Vec<u32>,
    highs: Vec<u32>,
    other_lows: Vec<u32>,
    other_highs: Vec<u32>,
    order: Vec<(u64, u32)>,
}

impl Ranks {
    /// Takes in the pairs in `slots`; `rank` gives a slot's rank in a list.
    pub(super) fn rebuild(
        &mut self,
        authorities: usize,
        quorum: u32,
        slots: impl Iterator<Item = u32>,
        rank: impl Fn(u32, usize) -> u32,
    ) {
        self.authorities = authorities;
        self.slots.clear();
        self.slots.extend(slots);
        self.spans.clear();
        self.rows.clear();
        let nodes = self.slots.len();
        self.rows
            .resize(words_for(nodes) * authorities, [ABSENT; 64]);
        for (node, slot) in self.slots.iter().enumerate() {
            let block = &mut self.rows[node / 64 * authorities..][..authorities];
            for (list, row) in block.iter_mut().enumerate() {
                row[node % 64] = rank(*slot, list);
            }
        }
        self.find_medians();
        if nodes > 64 {
            self.find_intervals(quorum);
            self.lay_out();
        }
        self.slots.resize(words_for(self.slots.len()) * 64, HOLE);
        self.note_existing();
    }

    /// The same ranks for the nodes of `group` alone, the first of them at 0.
    pub(super) fn of_group(&self, group: &[u32]) -> Self {
        let mut rows = vec![[ABSENT; 64]; words_for(group.len()) * self.authorities];
        for (at, node) in group.iter().enumerate() {
            for list in 0..self.authorities {
                rows[at / 64 * self.authorities + list][at % 64] = self.rank(*node, list);
            }
        }
        let mut slots: Vec<u32> = group
            .iter()
            .map(|node| self.slots[*node as usize])
            .collect();
        slots.resize(words_for(slots.len()) * 64, HOLE);
        let mut ranks = Self {
            authorities: self.authorities,
            rows,
            slots,
            ..Self::default()
        };
        ranks.note_existing();
        ranks
    }

    /// How many blocks there are.
    pub(super) fn blocks(&self) -> usize {
        words_for(self.slots.len())
    }

    /// No node.
    pub(super) fn none(&self) -> Bits {
        Bits::empty(self.slots.len())
    }

    /// The nodes of each block that exist.
    pub(super) fn existing(&self) -> &[u64] {
        &self.existing
    }

    /// The slot of `node`.
    pub(super) fn slot(&self, node: usize) -> u32 {
        self.slots[node]
    }

    /// Every node with its slot.
    pub(super) fn nodes(&self) -> impl Iterator<Item = (usize, u32)> {
        let slots = self.slots.iter().copied().enumerate();
        slots.filter(|(_, slot)| *slot != HOLE)
    }

    /// A row of ranks a list.
    pub(super) fn rows(&self, block: usize) -> &[Lanes] {
        &self.rows[block * self.authorities..][..self.authorities]
    }

    /// The ranks of `node`.
    pub(super) fn own<'a>(&self, node: usize, own: &'a mut [u32; AUTHORITIES_MAX]) -> &'a [u32] {
        for (own, row) in own.iter_mut().zip(self.rows(node / 64)) {
            *own = row[node % 64];
        }
        &own[..self.authorities]
    }

    /// Lower median of the ranks of `node` over all authorities, absent last. A listed rank whenever a majority lists it.
    pub(super) fn lower_median(&self, node: usize) -> u32 {
        self.medians[node]
    }

    /// Where each block's intervals begin and end; nothing where all blocks are to be compared.
    pub(super) fn spans(&self) -> Option<&[(u32, u32)]> {
        (!self.spans.is_empty()).then_some(&self.spans)
    }

    fn note_existing(&mut self) {
        let word = |slots: &[u32]| {
            let bits = slots.iter().rev().map(|slot| u64::from(*slot != HOLE));
            bits.fold(0, |word, bit| word << 1 | bit)
        };
        self.existing.clear();
        self.existing.extend(self.slots.chunks(64).map(word));
    }

    fn rank(&self, node: u32, list: usize) -> u32 {
        self.rows[node as usize / 64 * self.authorities + list][node as usize % 64]
    }

    fn find_medians(&mut self) {
        let middle = (self.authorities - 1) / 2;
        self.medians.clear();
        for block in self.rows.chunks_exact(self.authorities) {
            self.scratch.rows.clear();
            self.scratch.rows.extend_from_slice(block);
            lift_lowest(&mut self.scratch.rows, middle + 1);
            self.medians.extend_from_slice(&self.scratch.rows[middle]);
        }
    }

    /// Finds every node's interval, in the better of two ways: lists set aside, or ranks left out node by node.
    fn find_intervals(&mut self, quorum: u32) {
        let spare = (quorum as usize - 1) / 2;
        let by_disorder = self.lists_by_disorder();
        self.intervals(&by_disorder[..self.authorities - spare], 0);
        if spare < 2 {
            return;
        }
        let aside = self.width_sum();
        let Scratch {
            lows,
            highs,
            other_lows,
            other_highs,
            ..
        } = &mut self.scratch;
        std::mem::swap(lows, other_lows);
        std::mem::swap(highs, other_highs);
        self.intervals(&by_disorder[..self.authorities - spare % 2], spare / 2);
        if aside <= self.width_sum() {
            let Scratch {
                lows,
                highs,
                other_lows,
                other_highs,
                ..
            } = &mut self.scratch;
            std::mem::swap(lows, other_lows);
            std::mem::swap(highs, other_highs);
        }
    }

    /// The lists, the one first whose ranks stray least from the medians.
    fn lists_by_disorder(&self) -> Vec<usize> {
        let most = self.slots.len() as u32;
        let mut strays = vec![0u64; self.authorities];
        let blocks = self.rows.chunks_exact(self.authorities);
        for (block, medians) in blocks.zip(self.medians.as_chunks::<64>().0) {
            for (row, strays) in block.iter().zip(&mut strays) {
                let mut sum = 0u32;
                for (rank, median) in row.iter().zip(medians) {
                    sum = sum.wrapping_add(rank.abs_diff(*median).min(most));
                }
                *strays += u64::from(sum);
            }
        }
        let mut lists: Vec<usize> = (0..self.authorities).collect();
        lists.sort_by_key(|list| strays[*list]);
        lists
    }

    /// The interval of each node over `lists`, the `left_out` lowest and highest ranks not counted.
    fn intervals(&mut self, lists: &[usize], left_out: usize) {
        self.scratch.lows.clear();
        self.scratch.highs.clear();
        for block in self.rows.chunks_exact(self.authorities) {
            let rows = &mut self.scratch.rows;
            rows.clear();
            rows.extend(lists.iter().map(|list| block[*list]));
            lift_lowest(rows, left_out + 1);
            self.scratch.lows.extend_from_slice(&rows[left_out]);
            sink_highest(rows, left_out + 1);
            self.scratch.highs.extend_from_slice(&rows[left_out]);
        }
    }

    /// How wide all intervals are together, none wider than all ranks.
    fn width_sum(&self) -> u64 {
        let top = self.top();
        let ends = self.scratch.lows.iter().zip(&self.scratch.highs);
        let widths = ends.map(|(low, high)| u64::from(high.min(&top).saturating_sub(*low)));
        widths.sum()
    }

    /// The highest rank at which an interval begins; what ends above it ends behind all.
    fn top(&self) -> u32 {
        let lows = self.scratch.lows[..self.slots.len()].iter();
        lows.copied()
            .filter(|low| *low != ABSENT)
            .max()
            .unwrap_or(0)
    }

    /// Puts the nodes in order of their intervals' middles, those with wide intervals into blocks of their own behind.
    ///
    /// One wide node would make a whole block wide, and be compared with all by 64 times as many.
    fn lay_out(&mut self) {
        let nodes = self.slots.len();
        let top = self.top();
        let Scratch {
            rows,
            lows,
            highs,
            order,
            ..
        } = &mut self.scratch;
        let width = |node: usize| highs[node].min(top).saturating_sub(lows[node]);
        let widest = width_limit((0..nodes).map(width), nodes);
        order.clear();
        let mut narrow = 0;
        for node in 0..nodes {
            let is_wide = width(node) > widest;
            narrow += usize::from(!is_wide);
            let middle = u64::from(lows[node]) + u64::from(highs[node].min(top));
            order.push((u64::from(is_wide) << 63 | middle, node as u32));
        }
        order.sort_unstable();
        let authorities = self.authorities;
        let padding = words_for(narrow) * 64 - narrow;
        let blocks = words_for(narrow) + words_for(nodes - narrow);
        rows.clear();
        rows.resize(blocks * authorities, [ABSENT; 64]);
        let mut slots = vec![HOLE; blocks * 64];
        let mut medians = vec![ABSENT; blocks * 64];
        self.spans.resize(blocks, (ABSENT, 0));
        for (at, (_, node)) in order.iter().enumerate() {
            let to = if at < narrow { at } else { at + padding };
            let node = *node as usize;
            let from = &self.rows[node / 64 * authorities..][..authorities];
            let into = &mut rows[to / 64 * authorities..][..authorities];
            for (into, from) in into.iter_mut().zip(from) {
                into[to % 64] = from[node % 64];
            }
            slots[to] = self.slots[node];
            medians[to] = self.medians[node];
            let span = &mut self.spans[to / 64];
            *span = (span.0.min(lows[node]), span.1.max(highs[node]));
        }
        std::mem::swap(&mut self.rows, rows);
        (self.slots, self.medians) = (slots, medians);
    }
}

/// Brings the `count` lowest of each lane into the first rows, ascending.
fn lift_lowest(rows: &mut [Lanes], count: usize) {
    for at in 0..count.min(rows.len().saturating_sub(1)) {
        let (low, others) = rows[at..].split_first_mut().expect("a row is left");
        for other in others {
            for (low, other) in low.iter_mut().zip(other) {
                (*low, *other) = ((*low).min(*other), (*low).max(*other));
            }
        }
    }
}

/// Brings the `count` highest of each lane into the first rows, descending.
fn sink_highest(rows: &mut [Lanes], count: usize) {
    for at in 0..count.min(rows.len().saturating_sub(1)) {
        let (high, others) = rows[at..].split_first_mut().expect("a row is left");
        for other in others {
            for (high, other) in high.iter_mut().zip(other) {
                (*high, *other) = ((*high).max(*other), (*high).min(*other));
            }
        }
    }
}

/// The width of interval up to which nodes are laid out by their middles: the power of two that asks for least.
///
/// A narrow node meets the blocks across a width, a wide one all, and all meet it.
fn width_limit(widths: impl Iterator<Item = u32>, nodes: usize) -> u32 {
    let mut with_bits = [0usize; 33];
    for width in widths {
        with_bits[32 - width.leading_zeros() as usize] += 1;
    }
    let blocks = words_for(nodes);
    let (mut narrow, mut best) = (0, (usize::MAX, 0));
    for (bits, count) in with_bits.iter().enumerate() {
        narrow += count;
        let across = blocks.min((1usize << bits) / 64 + 2);
        let cost = narrow * across + (nodes - narrow) * 2 * blocks;
        if cost < best.0 {
            best = (cost, bits as u32);
        }
    }
    1u32.checked_shl(best.1).map_or(u32::MAX, |limit| limit - 1)
}

/// In place of the slot of a node that does not exist.
pub(super) const HOLE: u32 = u32::MAX;

#[cfg(test)]
impl Ranks {
    /// The ranks of pairs below `pairs` in `lists` of their numbers.
    pub(super) fn rebuild_drawn(&mut self, lists: &[Vec<u32>], pairs: usize, quorum: u32) {
        let mut ranks = vec![vec![ABSENT; pairs]; lists.len()];
        for (ranks, list) in ranks.iter_mut().zip(lists) {
            for (rank, pair) in (0..).zip(list) {
                ranks[*pair as usize] = rank;
            }
        }
        let rank = |slot: u32, list: usize| ranks[list][slot as usize];
        self.rebuild(lists.len(), quorum, 0..pairs as u32, rank);
    }
}
