//! Who comes before whom: ranks of the pending pairs in every list, and the strong predecessor relation they give.
//!
//! xy = authorities whose committed list has x before y, absent counting as after. x is a *strong predecessor* of y
//! when xy > yx and 2 yx < q: just then (x, y) could be forced, given what is listed. Source: the 2f difference of
//! Cachin et al., Quick Order Fairness, FC 2022, stated here on partial lists.
//!
//! I1 The relation is antisymmetric: xy > yx and yx > xy exclude each other. It need not be transitive.
//! I2 Relabelling authorities changes nothing: only counts enter.
//!
//! Cost: n m^2 comparisons that run in vector registers, and two rows of m bits a pair.

use super::bits::words_for;
use crate::types::AUTHORITIES_MAX;

/// For each authority, the rank of every pending pair in its list.
///
/// Rank: how many pending pairs stand before it there; [`ABSENT`] where it is not listed.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranks {
    /// One row an authority, in blocks of 64 pairs, the last padded with [`ABSENT`].
    table: Vec<[u32; 64]>,
    pairs: usize,
}

impl Ranks {
    /// Reads the ranks of `pairs` pending pairs off the authorities' lists.
    pub(super) fn rebuild(&mut self, lists: &[Vec<u32>], pairs: usize) {
        let blocks = words_for(pairs);
        self.pairs = pairs;
        self.table.clear();
        self.table.resize(lists.len() * blocks, [ABSENT; 64]);
        for (row, list) in self.table.chunks_exact_mut(blocks.max(1)).zip(lists) {
            for (rank, at) in (0..).zip(list) {
                row[*at as usize / 64][*at as usize % 64] = rank;
            }
        }
    }

    /// The same ranks for the pairs of `group` alone, the first of them at index 0.
    pub(super) fn of_group(&self, group: &[u32]) -> Self {
        let rows = self.rows().flat_map(|row| {
            let rank = |at: &u32| row[*at as usize / 64][*at as usize % 64];
            group.chunks(64).map(move |chunk| {
                let mut block = [ABSENT; 64];
                chunk
                    .iter()
                    .zip(&mut block)
                    .for_each(|(at, place)| *place = rank(at));
                block
            })
        });
        Self {
            table: rows.collect(),
            pairs: group.len(),
        }
    }

    /// Lower median of the ranks of `x` over all authorities, absent last. A listed rank whenever a majority lists it.
    pub(super) fn lower_median(&self, x: usize) -> u32 {
        let mut ranks = [ABSENT; AUTHORITIES_MAX];
        let mut authorities = 0;
        for (rank, row) in ranks.iter_mut().zip(self.rows()) {
            *rank = row[x / 64][x % 64];
            authorities += 1;
        }
        let (_, median, _) = ranks[..authorities].select_nth_unstable((authorities - 1) / 2);
        *median
    }

    /// Margins xy - yx of `x` over every y, 0 where y is not behind: blocks of 64, of which the last may be padded.
    pub(super) fn margins(&self, x: usize) -> impl Iterator<Item = [u8; 64]> {
        (0..words_for(self.pairs)).map(move |block| {
            let counts = Counts::of(self, x, block);
            // At most 128 authorities count, so a margin fits.
            std::array::from_fn(|k| counts.ahead[k].saturating_sub(counts.behind[k]) as u8)
        })
    }

    /// One row of blocks an authority.
    fn rows(&self) -> impl Iterator<Item = &[[u32; 64]]> {
        self.table.chunks_exact(words_for(self.pairs).max(1))
    }
}

/// A relation over `len` indices, as a row of successors and a row of predecessors each.
#[derive(Clone, Debug, Default)]
pub(super) struct Relation {
    successors: Vec<u64>,
    predecessors: Vec<u64>,
    words: usize,
    len: usize,
}

impl Relation {
    /// Becomes the strong predecessor relation of `ranks` under `quorum`.
    pub(super) fn rebuild(&mut self, ranks: &Ranks, quorum: u32) {
        self.reset(ranks.pairs);
        for x in 0..self.len {
            for word in 0..self.words {
                let (before, after) = Counts::of(ranks, x, word).strong(quorum);
                let existing = u64::MAX >> (64 - (self.len - word * 64).min(64));
                self.successors[x * self.words + word] = before & existing;
                self.predecessors[x * self.words + word] = after & existing;
            }
        }
    }

    /// How many indices it is over.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Whom `x` precedes, as a row of words.
    pub(super) fn successors(&self, x: usize) -> &[u64] {
        &self.successors[x * self.words..][..self.words]
    }

    /// Who precedes `x`, as a row of words.
    pub(super) fn predecessors(&self, x: usize) -> &[u64] {
        &self.predecessors[x * self.words..][..self.words]
    }

    /// Makes `x` no longer precede `y`.
    pub(super) fn unlink(&mut self, x: usize, y: usize) {
        self.successors[x * self.words + y / 64] &= !(1 << (y % 64));
        self.predecessors[y * self.words + x / 64] &= !(1 << (x % 64));
    }

    fn reset(&mut self, len: usize) {
        self.len = len;
        self.words = words_for(len);
        for rows in [&mut self.successors, &mut self.predecessors] {
            rows.clear();
            rows.resize(len * words_for(len), 0);
        }
    }
}

/// Whether what is listed lets x be forced before y: `ahead` = xy, `behind` = yx.
///
/// 2 yx < q is written without the product, whose overflow check would keep the loop over a block scalar.
const fn is_strong(ahead: u32, behind: u32, quorum: u32) -> bool {
    ahead > behind && behind < quorum.div_ceil(2)
}

/// xy and yx of one x against the 64 pairs y of a block.
struct Counts {
    ahead: [u32; 64],
    behind: [u32; 64],
}

impl Counts {
    fn of(ranks: &Ranks, x: usize, block: usize) -> Self {
        let (mut ahead, mut behind) = ([0u32; 64], [0u32; 64]);
        for row in ranks.rows() {
            let own = row[x / 64][x % 64];
            for (k, other) in row[block].iter().enumerate() {
                // At most 128 authorities count, so nothing wraps; a checked addition would keep the loop scalar.
                ahead[k] = ahead[k].wrapping_add(u32::from(own < *other));
                behind[k] = behind[k].wrapping_add(u32::from(*other < own));
            }
        }
        Self { ahead, behind }
    }

    /// Whom x strongly precedes, and who strongly precedes x.
    fn strong(&self, quorum: u32) -> (u64, u64) {
        let (mut before, mut after) = ([0u8; 64], [0u8; 64]);
        for k in 0..64 {
            let (ahead, behind) = (self.ahead[k], self.behind[k]);
            before[k] = u8::from(is_strong(ahead, behind, quorum));
            after[k] = u8::from(is_strong(behind, ahead, quorum));
        }
        (packed(&before), packed(&after))
    }
}

/// One bit of each of 64 bytes that are 0 or 1, the first lowest.
fn packed(flags: &[u8; 64]) -> u64 {
    let (eights, _) = flags.as_chunks::<8>();
    // The product moves bit 0 of byte i to bit 56 + i, and no two of its terms meet.
    let byte =
        |flags: &[u8; 8]| u64::from_le_bytes(*flags).wrapping_mul(0x0102_0408_1020_4080) >> 56;
    eights
        .iter()
        .rev()
        .fold(0, |word, flags| word << 8 | byte(flags))
}

/// The rank of what a list does not hold: after all that it holds.
pub(super) const ABSENT: u32 = u32::MAX;

#[cfg(test)]
impl Relation {
    /// Whether `x` precedes `y`.
    pub(super) fn precedes(&self, x: usize, y: usize) -> bool {
        self.successors(x)[y / 64] >> (y % 64) & 1 == 1
    }

    /// The relation over `len` indices with these edges.
    pub(super) fn drawn(len: usize, edges: &[(usize, usize)]) -> Self {
        let mut relation = Self::default();
        relation.reset(len);
        for (x, y) in edges {
            relation.successors[x * relation.words + y / 64] |= 1 << (y % 64);
            relation.predecessors[y * relation.words + x / 64] |= 1 << (x % 64);
        }
        relation
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// xy and yx.
    fn counts(ranks: &Ranks, x: usize, y: usize) -> (u32, u32) {
        let counts = Counts::of(ranks, x, y / 64);
        (counts.ahead[y % 64], counts.behind[y % 64])
    }

    /// Relation of pairs named by letters, from lists drawn as words: "ABC" lists A, B, C.
    fn drawn(lists: &[&str], pairs: usize, quorum: u32) -> (Ranks, Relation) {
        let lists: Vec<Vec<u32>> = lists
            .iter()
            .map(|list| {
                list.bytes()
                    .map(|letter| u32::from(letter - b'A'))
                    .collect()
            })
            .collect();
        let (mut ranks, mut relation) = (Ranks::default(), Relation::default());
        ranks.rebuild(&lists, pairs);
        relation.rebuild(&ranks, quorum);
        (ranks, relation)
    }

    #[test]
    fn strong_means_just_that_the_pair_could_still_be_forced() {
        let mut cases = 0;
        for n in 4..=25u32 {
            for f in 0..=(n - 1) / 3 {
                for (xy, yx) in (0..=n).flat_map(|xy| (0..=n - xy).map(move |yx| (xy, yx))) {
                    let miss = n - xy - yx;
                    let could_be_forced = xy > yx && xy + miss + f.min(yx) > 2 * f + yx;
                    assert_eq!(
                        is_strong(xy, yx, n - f),
                        could_be_forced,
                        "n={n} f={f} {xy}:{yx}"
                    );
                    cases += 1;
                }
            }
        }
        assert!(cases > 15_000, "enumerated {cases}");
    }

    #[test]
    fn absent_counts_as_after_and_both_absent_as_neither() {
        let (ranks, _) = drawn(&["AB", "A", "", "BA"], 3, 3);
        assert_eq!(counts(&ranks, 0, 1), (2, 1));
        assert_eq!(counts(&ranks, 2, 0), (0, 3));
        assert_eq!(counts(&ranks, 1, 2), (2, 0));
        assert_eq!(ranks.margins(1).next().unwrap()[..3], [0, 0, 2]);
    }

    #[test]
    fn half_a_quorum_against_breaks_a_strong_relation() {
        // q = 4 of 5: one contrary list is tolerated, two are not.
        let (_, tolerated) = drawn(&["AB", "AB", "AB", "AB", "BA"], 2, 4);
        assert!(tolerated.precedes(0, 1) && !tolerated.precedes(1, 0));
        let (_, broken) = drawn(&["AB", "AB", "AB", "BA", "BA"], 2, 4);
        assert!(!broken.precedes(0, 1) && !broken.precedes(1, 0));
    }

    #[test]
    fn the_median_is_the_lower_one_and_absent_is_last() {
        let (ranks, _) = drawn(&["AB", "BA", "AB", "B"], 2, 3);
        // A: 0, 1, 0, absent. B: 1, 0, 1, 0.
        assert_eq!(ranks.lower_median(0), 0);
        assert_eq!(ranks.lower_median(1), 0);
        let (ranks, _) = drawn(&["BA", "A", "", "", ""], 2, 4);
        assert_eq!(ranks.lower_median(0), ABSENT);
    }

    #[test]
    fn rows_agree_with_counts_beyond_one_word() {
        let list: Vec<u32> = (0..150).collect();
        let mut turned = list.clone();
        turned.rotate_left(70);
        let lists = [list.clone(), turned.clone(), list.clone()];
        let before = |list: &[u32], x: u32, y: u32| {
            let at = |pair| list.iter().position(|listed| *listed == pair);
            at(x) < at(y)
        };
        let (mut ranks, mut relation) = (Ranks::default(), Relation::default());
        ranks.rebuild(&lists, 150);
        relation.rebuild(&ranks, 3);
        for (x, y) in (0..150).flat_map(|x| (0..150).map(move |y| (x, y))) {
            let ahead = 2 * u32::from(before(&list, x, y)) + u32::from(before(&turned, x, y));
            let behind = 2 * u32::from(before(&list, y, x)) + u32::from(before(&turned, y, x));
            let (x, y) = (x as usize, y as usize);
            let strong = is_strong(ahead, behind, 3);
            assert_eq!(counts(&ranks, x, y), (ahead, behind));
            assert_eq!(relation.precedes(x, y), strong);
            assert_eq!(
                relation.predecessors(y)[x / 64] >> (x % 64) & 1 == 1,
                strong
            );
        }
        let beyond = relation.successors(0)[2] >> (150 - 128);
        assert_eq!(
            beyond, 0,
            "the padding of the last word precedes and follows nobody"
        );
    }

    #[test]
    fn ranks_of_a_group_keep_its_order_in_every_list() {
        let lists: Vec<Vec<u32>> = vec![(0..200).collect(), (0..100).rev().collect()];
        let mut ranks = Ranks::default();
        ranks.rebuild(&lists, 200);
        let group: Vec<u32> = (0..200).step_by(2).collect();
        let inner = ranks.of_group(&group);
        for (x, y) in (0..100).flat_map(|x| (0..100).map(move |y| (x, y))) {
            assert_eq!(counts(&inner, x, y), counts(&ranks, 2 * x, 2 * y));
        }
    }

    #[test]
    fn packing_takes_one_bit_a_byte() {
        for bit in 0..64 {
            let mut flags = [0; 64];
            flags[bit] = 1;
            assert_eq!(packed(&flags), 1 << bit);
        }
        assert_eq!(packed(&[1; 64]), u64::MAX);
    }
}
