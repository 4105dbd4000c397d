//! One pair against 64 others: who strongly precedes whom.
//!
//! xy = authorities whose committed list has x before y, absent counting as after. x is a *strong predecessor* of y
//! when xy > yx and 2 yx < q: just then (x, y) could be forced, given what is listed. Source: the 2f difference of
//! Cachin et al., Quick Order Fairness, FC 2022, stated here on partial lists.
//!
//! I1 The relation is antisymmetric: xy > yx and yx > xy exclude each other. It need not be transitive.
//! I2 Relabelling authorities changes nothing: only counts enter.
//!
//! Cost: 128 n comparisons that run in vector registers, two lanes of counts, a word of bits each way.

/// Where 64 pairs stand in one list, by rank or by place; [`ABSENT`] where they are not listed.
pub(super) type Lanes = [u32; 64];

/// The place and rank of what a list does not hold: after all that it holds.
pub(super) const ABSENT: u32 = u32::MAX;

/// Whom x strongly precedes, and who strongly precedes x, as a bit for each of 64 others.
///
/// `own` has x's place in each list, `others` theirs. Padding that no list holds is preceded by all.
pub(super) fn strong(own: &[u32], others: &[Lanes], quorum: u32) -> (u64, u64) {
    let counts = Counts::of(own, others);
    let (mut before, mut after) = ([0u8; 64], [0u8; 64]);
    for k in 0..64 {
        let (ahead, behind) = (counts.ahead[k], counts.behind[k]);
        before[k] = u8::from(is_strong(ahead, behind, quorum));
        after[k] = u8::from(is_strong(behind, ahead, quorum));
    }
    (packed(&before), packed(&after))
}

/// Margins xy - yx of x over each of 64 others, 0 where y is not behind.
pub(super) fn margins(own: &[u32], others: &[Lanes]) -> [u8; 64] {
    let counts = Counts::of(own, others);
    // At most 128 authorities count, so a margin fits.
    std::array::from_fn(|k| counts.ahead[k].saturating_sub(counts.behind[k]) as u8)
}

/// Whether x strongly precedes y; one place a list.
pub(super) fn precedes(x: &[u32], y: &[u32], quorum: u32) -> bool {
    let (mut ahead, mut behind) = (0, 0);
    for (x, y) in x.iter().zip(y) {
        ahead += u32::from(x < y);
        behind += u32::from(y < x);
    }
    is_strong(ahead, behind, quorum)
}

/// Against so many lists nothing is strong: ceil(q / 2).
pub(super) const fn contrary_min(quorum: u32) -> u32 {
    quorum.div_ceil(2)
}

/// Whether what is listed lets x be forced before y: `ahead` = xy, `behind` = yx.
///
/// 2 yx < q is written without the product, whose overflow check would keep the loop over a block scalar.
pub(super) const fn is_strong(ahead: u32, behind: u32, quorum: u32) -> bool {
    ahead > behind && behind < contrary_min(quorum)
}

/// xy and yx of one x against 64 pairs y.
struct Counts {
    ahead: [u32; 64],
    behind: [u32; 64],
}

impl Counts {
    fn of(own: &[u32], others: &[Lanes]) -> Self {
        let (mut ahead, mut behind) = ([0u32; 64], [0u32; 64]);
        for (own, row) in own.iter().zip(others) {
            for (k, other) in row.iter().enumerate() {
                // At most 128 authorities count, so nothing wraps; a checked addition would keep the loop scalar.
                ahead[k] = ahead[k].wrapping_add(u32::from(own < other));
                behind[k] = behind[k].wrapping_add(u32::from(other < own));
            }
        }
        Self { ahead, behind }
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

/// Turns a square of bits: bit j of word i becomes bit i of word j. Source: Hacker's Delight, section 7-3.
pub(super) fn transpose(square: &mut [u64; 64]) {
    let mut width = 32;
    let mut mask = 0x0000_0000_ffff_ffff_u64;
    while width != 0 {
        for group in square.chunks_exact_mut(2 * width) {
            let (low, high) = group.split_at_mut(width);
            for (low, high) in low.iter_mut().zip(high) {
                let swapped = (*low >> width ^ *high) & mask;
                *low ^= swapped << width;
                *high ^= swapped;
            }
        }
        width /= 2;
        mask ^= mask << width;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        // A, B and C in four lists: "AB", "A", "", "BA".
        let mut others = [[ABSENT; 64]; 4];
        others[0][..2].copy_from_slice(&[0, 1]);
        others[1][0] = 0;
        others[3][..2].copy_from_slice(&[1, 0]);
        let counts = |x: usize, y: usize| {
            let own: Vec<u32> = others.iter().map(|row| row[x]).collect();
            let counts = Counts::of(&own, &others);
            (counts.ahead[y], counts.behind[y])
        };
        assert_eq!(
            [counts(0, 1), counts(2, 0), counts(1, 2)],
            [(2, 1), (0, 3), (2, 0)]
        );
        let own: Vec<u32> = others.iter().map(|row| row[1]).collect();
        assert_eq!(margins(&own, &others)[..3], [0, 0, 2]);
    }

    #[test]
    fn half_a_quorum_against_breaks_a_strong_relation() {
        // q = 4 of 5: one contrary list is tolerated, two are not.
        let against = |lists: usize| -> (Vec<u32>, Vec<u32>) {
            (0..5)
                .map(|at| if at < lists { (1, 0) } else { (0, 1) })
                .unzip()
        };
        for (lists, is_strong) in [(0, true), (1, true), (2, false), (3, false)] {
            let (x, y) = against(lists);
            assert_eq!(precedes(&x, &y, 4), is_strong);
            let others: Vec<Lanes> = y.iter().map(|place| [*place; 64]).collect();
            let all = if is_strong { u64::MAX } else { 0 };
            assert_eq!(strong(&x, &others, 4).0, all);
        }
    }

    #[test]
    fn a_block_is_compared_as_its_pairs_are() {
        let place = |x: u32, list: u32| match (x * 37 + list * 11) % 23 {
            0 => ABSENT,
            at => (x + at * list * list) % 70 * 100 + x,
        };
        for (n, quorum) in [(4, 3), (5, 4), (16, 11)] {
            let others: Vec<Lanes> = (0..n)
                .map(|list| std::array::from_fn(|k| place(k as u32, list)))
                .collect();
            for x in 0..100 {
                let own: Vec<u32> = (0..n).map(|list| place(x, list)).collect();
                let (before, after) = strong(&own, &others, quorum);
                for k in 0..64 {
                    let other: Vec<u32> = others.iter().map(|row| row[k]).collect();
                    assert_eq!(before >> k & 1 == 1, precedes(&own, &other, quorum));
                    assert_eq!(after >> k & 1 == 1, precedes(&other, &own, quorum));
                }
            }
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

    #[test]
    fn a_square_is_turned_along_its_diagonal() {
        let square: [u64; 64] =
            std::array::from_fn(|row| (row as u64 + 7).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut turned = square;
        transpose(&mut turned);
        for (row, column) in (0..64).flat_map(|row| (0..64).map(move |column| (row, column))) {
            assert_eq!(square[row] >> column & 1, turned[column] >> row & 1);
        }
    }
}
