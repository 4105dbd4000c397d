//! The strong predecessor relation among the nodes of a step: squares of bits where blocks of nodes were compared, and
//! nothing where the intervals of whole blocks decide.
//!
//! Block I is *before* block J when every interval of I ends before any of J begins: then each of I's nodes strongly
//! precedes each of J's (`ranks`). So blocks that are before J are a start of all blocks by end, and blocks that J is
//! before are an end of all blocks by beginning. The others are *near*: all their 64 x 64 pairs are compared.
//!
//! I1 What is read off is the strong relation, whatever the intervals are.
//!
//! Cost: 64 rows a near pair of blocks, each way from one comparison: with intervals of w ranks O(m w n) in vector
//! registers and m w / 16 words of memory; at worst m^2 / 32 words. A look at all pairs of blocks, m^2 / 4,096.

use super::bits::Bits;
use super::compare::{strong, transpose};
use super::ranks::Ranks;
use crate::types::AUTHORITIES_MAX;

/// Who strongly precedes whom among the nodes of [`Ranks`].
#[derive(Clone, Debug, Default)]
pub(super) struct Relation {
    /// The near blocks of each block, ascending, itself among them.
    near: Vec<u32>,
    /// Where each block's start; one more at the end.
    near_at: Vec<usize>,
    /// For each node a word for each near block of its own.
    successors: Vec<u64>,
    predecessors: Vec<u64>,
    /// Blocks by where they begin, and from which of them on each block is before all.
    by_begin: Vec<u32>,
    first_after: Vec<u32>,
    /// Blocks by where they end, and how many of them are before each block.
    by_end: Vec<u32>,
    count_before: Vec<u32>,
}

/// What was compared of one node: near blocks, and a word of bits for each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'a> {
    /// Ascending.
    pub(super) blocks: &'a [u32],
    /// One for each.
    pub(super) words: &'a [u64],
}

impl Relation {
    /// Becomes the strong predecessor relation of `ranks` under `quorum`.
    pub(super) fn rebuild(&mut self, ranks: &Ranks, quorum: u32) {
        self.find_near(ranks.blocks(), ranks.spans());
        let mut filled = vec![0; ranks.blocks()];
        for block in 0..ranks.blocks() {
            for at in self.near_at[block]..self.near_at[block + 1] {
                let other = self.near[at] as usize;
                if other >= block {
                    self.compare(ranks, quorum, (block, other), &mut filled);
                }
            }
        }
    }

    /// How many nodes it is over, holes among them.
    pub(super) fn len(&self) -> usize {
        self.blocks() * 64
    }

    /// How many blocks of nodes.
    pub(super) fn blocks(&self) -> usize {
        self.near_at.len().saturating_sub(1)
    }

    /// Whom `x` precedes, as far as it was compared.
    pub(super) fn successors(&self, x: usize) -> Row<'_> {
        self.row(&self.successors, x)
    }

    /// Who precedes `x`, as far as it was compared.
    pub(super) fn predecessors(&self, x: usize) -> Row<'_> {
        self.row(&self.predecessors, x)
    }

    /// All blocks, by where they begin.
    pub(super) fn by_begin(&self) -> &[u32] {
        &self.by_begin
    }

    /// From which of [`Relation::by_begin`] on `x` precedes whole blocks.
    pub(super) fn first_after(&self, x: usize) -> usize {
        self.first_after[x / 64] as usize
    }

    /// All blocks, by where they end.
    pub(super) fn by_end(&self) -> &[u32] {
        &self.by_end
    }

    /// How many blocks of [`Relation::by_end`] precede `x` as a whole.
    pub(super) fn count_before(&self, x: usize) -> usize {
        self.count_before[x / 64] as usize
    }

    /// Makes `x` no longer precede `y`; they are of near blocks.
    pub(super) fn unlink(&mut self, x: usize, y: usize) {
        let (to, from) = (self.word_at(x, y / 64), self.word_at(y, x / 64));
        self.successors[to] &= !(1 << (y % 64));
        self.predecessors[from] &= !(1 << (x % 64));
    }

    fn row<'a>(&'a self, words: &'a [u64], x: usize) -> Row<'a> {
        let (start, end) = (self.near_at[x / 64], self.near_at[x / 64 + 1]);
        Row {
            blocks: &self.near[start..end],
            words: &words[start * 64 + x % 64 * (end - start)..][..end - start],
        }
    }

    /// Where the word of `x` over `block`, a near one, lies.
    fn word_at(&self, x: usize, block: usize) -> usize {
        let (start, end) = (self.near_at[x / 64], self.near_at[x / 64 + 1]);
        let at = match end - start == self.blocks() {
            true => block,
            false => {
                let near = self.near[start..end].binary_search(&(block as u32));
                near.expect("a near block")
            }
        };
        start * 64 + x % 64 * (end - start) + at
    }

    /// Compares the nodes of two near blocks, the second not before the first in number. `filled` counts each block's
    /// words so far.
    fn compare(
        &mut self,
        ranks: &Ranks,
        quorum: u32,
        (one, other): (usize, usize),
        filled: &mut [usize],
    ) {
        let existing = ranks.existing()[other];
        let (mut before, mut after) = ([0; 64], [0; 64]);
        let mut own = [0; AUTHORITIES_MAX];
        let mut nodes = ranks.existing()[one];
        while nodes != 0 {
            let lane = nodes.trailing_zeros() as usize;
            nodes &= nodes - 1;
            let own = ranks.own(one * 64 + lane, &mut own);
            let (succeeds, precedes) = strong(own, ranks.rows(other), quorum);
            (before[lane], after[lane]) = (succeeds & existing, precedes & existing);
        }
        self.fill(one, filled, &before, &after);
        if one != other {
            transpose(&mut before);
            transpose(&mut after);
            self.fill(other, filled, &after, &before);
        }
    }

    /// Writes the next word of every node of `block`.
    fn fill(
        &mut self,
        block: usize,
        filled: &mut [usize],
        successors: &[u64; 64],
        predecessors: &[u64; 64],
    ) {
        let (start, end) = (self.near_at[block], self.near_at[block + 1]);
        let mut at = start * 64 + filled[block];
        filled[block] += 1;
        for (succeeds, precedes) in successors.iter().zip(predecessors) {
            self.successors[at] = *succeeds;
            self.predecessors[at] = *precedes;
            at += end - start;
        }
    }

    /// Decides which blocks are near, and makes room for them.
    fn find_near(&mut self, blocks: usize, spans: Option<&[(u32, u32)]>) {
        let span = |block: usize| spans.map_or((0, u32::MAX), |spans| spans[block]);
        self.near.clear();
        self.near_at.clear();
        self.near_at.push(0);
        for block in 0..blocks {
            let (begin, end) = span(block);
            let is_near = |other: &usize| {
                let (other_begin, other_end) = span(*other);
                other_begin <= end && begin <= other_end
            };
            self.near
                .extend((0..blocks).filter(is_near).map(|other| other as u32));
            self.near_at.push(self.near.len());
        }
        for words in [&mut self.successors, &mut self.predecessors] {
            words.clear();
            words.resize(self.near.len() * 64, 0);
        }
        for sorted in [&mut self.by_begin, &mut self.by_end] {
            sorted.clear();
            sorted.extend(0..blocks as u32);
        }
        self.by_begin
            .sort_unstable_by_key(|block| span(*block as usize).0);
        self.by_end
            .sort_unstable_by_key(|block| span(*block as usize).1);
        self.first_after.clear();
        self.count_before.clear();
        for (begin, end) in (0..blocks).map(span) {
            let follows = |block: &u32| span(*block as usize).0 > end;
            let first_after = self.by_begin.partition_point(|block| !follows(block));
            let precedes = |block: &u32| span(*block as usize).1 < begin;
            let count_before = self.by_end.partition_point(precedes);
            self.first_after.push(first_after as u32);
            self.count_before.push(count_before as u32);
        }
    }
}

/// `from`, and all that a walk along the relation, or against it, reaches without leaving `through`.
pub(super) fn reached(relation: &Relation, from: &Bits, through: &Bits, way: Way) -> Bits {
    let mut seen = from.clone();
    let mut open = through.clone();
    open.subtract(from);
    let mut left: Vec<usize> = from.iter().collect();
    let mut far = Far::new(relation, way);
    while let Some(at) = left.pop() {
        let row = match way {
            Way::Along => relation.successors(at),
            Way::Against => relation.predecessors(at),
        };
        let mut take = |block: usize, mask: u64| {
            let fresh = mask & open.words()[block];
            open.clear(block, fresh);
            seen.fill(block, fresh);
            left.extend(super::bits::ones(std::iter::once(fresh)).map(|bit| block * 64 + bit));
        };
        for (block, word) in row.blocks.iter().zip(row.words) {
            take(*block as usize, *word);
        }
        while let Some(block) = far.next(relation, at) {
            take(block, u64::MAX);
        }
    }
    seen
}

/// Which way a walk goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// To whom a node precedes.
    Along,
    /// To who precedes a node.
    Against,
}

/// The whole blocks before or after nodes, each given once over a walk.
struct Far {
    way: Way,
    given: usize,
}

impl Far {
    const fn new(_relation: &Relation, way: Way) -> Self {
        Self { way, given: 0 }
    }

    /// A block all of whose nodes `at` precedes, or is preceded by, and that was not given yet.
    fn next(&mut self, relation: &Relation, at: usize) -> Option<usize> {
        let block = match self.way {
            Way::Along => {
                let last = relation.blocks() - self.given;
                (last > relation.first_after(at)).then(|| relation.by_begin()[last - 1])
            }
            Way::Against => {
                (self.given < relation.count_before(at)).then(|| relation.by_end()[self.given])
            }
        };
        self.given += usize::from(block.is_some());
        block.map(|block| block as usize)
    }
}

#[cfg(test)]
impl Relation {
    /// Whether `x` precedes `y`.
    pub(super) fn precedes(&self, x: usize, y: usize) -> bool {
        let row = self.successors(x);
        let near = row.blocks.iter().zip(row.words);
        let mut near = near.filter(|(block, _)| **block as usize == y / 64);
        match near.next() {
            Some((_, word)) => word >> (y % 64) & 1 == 1,
            None => {
                let after = &self.by_begin[self.first_after(x)..];
                let is_after = after.contains(&(y as u32 / 64));
                let before = &self.by_end[..self.count_before(y)];
                assert_eq!(is_after, before.contains(&(x as u32 / 64)));
                is_after
            }
        }
    }

    /// The relation over nodes below `len` with these edges.
    pub(super) fn drawn(len: usize, edges: &[(usize, usize)]) -> Self {
        let mut relation = Self::default();
        relation.find_near(super::bits::words_for(len), None);
        for (x, y) in edges {
            let (to, from) = (relation.word_at(*x, y / 64), relation.word_at(*y, x / 64));
            relation.successors[to] |= 1 << (y % 64);
            relation.predecessors[from] |= 1 << (x % 64);
        }
        relation
    }
}
