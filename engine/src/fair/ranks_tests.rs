//! Intervals decide nothing that comparing would not, and spare comparing whatever f authorities do.

use super::compare::{ABSENT, is_strong, precedes};
use super::precedence::Relation;
use super::ranks::*;
use crate::types::AUTHORITIES_MAX;

#[test]
fn whatever_is_set_aside_and_left_out_disjoint_intervals_are_strong() {
    let mut cases = 0;
    for n in 1..=128u32 {
        for quorum in (n - (n - 1) / 3)..=n {
            let spare = (quorum - 1) / 2;
            for aside in 0..=spare {
                let left_out = (spare - aside) / 2;
                let contrary = aside + 2 * left_out;
                // At worst all that are set aside, or have one of the two outside its interval, are against it.
                for against in 0..=contrary {
                    assert!(is_strong(n - contrary, against, quorum), "n={n} q={quorum}");
                    assert!(n - aside > 2 * left_out, "an interval has two ends");
                    cases += 1;
                }
            }
            assert_eq!(spare / 2, (quorum - 1) / 4, "nobody set aside");
            assert!(spare >= n - quorum, "all liars can be set aside");
        }
    }
    assert!(cases > 100_000, "enumerated {cases}");
}

/// Lists that agree up to `jitter` places, of which some turn all round, some shuffle, and some end early.
fn lists(n: usize, pairs: u32, jitter: u64, seed: u64) -> Vec<Vec<u32>> {
    let mut state = seed;
    let mut draw = |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let list = |at: usize| {
        let mut pairs: Vec<(u64, u32)> = (0..pairs)
            .map(|pair| (u64::from(pair) * 8 + draw(8 * jitter + 1), pair))
            .collect();
        match (at, seed % 4) {
            (0, 1) => pairs.iter_mut().for_each(|(at, _)| *at = (1 << 40) - *at),
            (0, 2) => pairs.iter_mut().for_each(|(at, _)| *at = draw(1 << 30)),
            (0, 3) => pairs.truncate(pairs.len() / 3),
            _ => pairs.truncate(pairs.len() - draw(20) as usize),
        }
        // Some are late everywhere, each list by something else.
        for (at, pair) in &mut pairs {
            if pair.is_multiple_of(97) {
                *at += draw(8 * 300);
            }
        }
        pairs.sort_unstable();
        pairs.into_iter().map(|(_, pair)| pair).collect()
    };
    (0..n).map(list).collect()
}

#[test]
fn the_relation_is_that_of_all_pairs_compared_whatever_the_intervals() {
    let mut far = 0;
    for (seed, n) in (0..24).zip([4, 5, 7, 10, 16, 25].into_iter().cycle()) {
        let quorum = (n - (n - 1) / 3) as u32;
        let pairs = 300 + 40 * seed as u32;
        let drawn = lists(n, pairs, 3 + 7 * (seed % 5), seed);
        let mut ranks = Ranks::default();
        ranks.rebuild_drawn(&drawn, pairs as usize, quorum);
        let mut relation = Relation::default();
        relation.rebuild(&ranks, quorum);
        let nodes: Vec<usize> = ranks.nodes().map(|(node, _)| node).collect();
        let mut seen: Vec<u32> = ranks.nodes().map(|(_, slot)| slot).collect();
        seen.sort_unstable();
        assert_eq!(
            seen,
            (0..pairs).collect::<Vec<_>>(),
            "each pair is one node"
        );
        let own = |node: usize| {
            let mut own = [0; AUTHORITIES_MAX];
            ranks.own(node, &mut own).to_vec()
        };
        let all: Vec<Vec<u32>> = nodes.iter().map(|node| own(*node)).collect();
        for (x, its) in nodes.iter().zip(&all) {
            far += relation.blocks() - relation.first_after(*x);
            for (y, others) in nodes.iter().zip(&all) {
                let expected = precedes(its, others, quorum);
                assert_eq!(relation.precedes(*x, *y), expected, "seed {seed}: {x}, {y}");
            }
        }
    }
    assert!(far > 10_000, "intervals decided something: {far}");
}

#[test]
fn liars_who_reverse_or_shuffle_all_make_nobody_compare_with_all() {
    for n in [4, 5, 7, 10, 16, 50] {
        let faulty = (n - 1) / 3;
        let mut lists: Vec<Vec<u32>> = vec![];
        for (at, seed) in (0..n).zip(4..) {
            let of_turners = lists_of_kind(at < faulty, at);
            lists.push(of_turners.unwrap_or_else(|| self::lists(1, 4096, 20, 4 * seed).remove(0)));
        }
        let mut ranks = Ranks::default();
        ranks.rebuild_drawn(&lists, 4096, (n - faulty) as u32);
        let mut relation = Relation::default();
        relation.rebuild(&ranks, (n - faulty) as u32);
        let near: usize = (0..relation.blocks())
            .map(|block| relation.successors(block * 64).blocks.len())
            .sum();
        assert!(
            near <= 12 * relation.blocks(),
            "n={n}: {near} of {}",
            relation.blocks()
        );
    }
}

/// What a liar lists: even ones all reversed, odd ones all shuffled.
fn lists_of_kind(is_liar: bool, at: usize) -> Option<Vec<u32>> {
    let mut list: Vec<u32> = (0..4096).rev().collect();
    if at % 2 == 1 {
        list.sort_by_key(|pair| pair.wrapping_mul(0x9e37_79b9 ^ at as u32) % 65_521);
    }
    is_liar.then_some(list)
}

#[test]
fn the_median_is_the_lower_one_and_absent_is_last() {
    let median = |lists: &[&[u32]], quorum| {
        let lists: Vec<Vec<u32>> = lists.iter().map(|list| list.to_vec()).collect();
        let mut ranks = Ranks::default();
        ranks.rebuild_drawn(&lists, 2, quorum);
        (ranks.lower_median(0), ranks.lower_median(1))
    };
    assert_eq!(median(&[&[0, 1], &[1, 0], &[0, 1], &[1]], 3), (0, 0));
    assert_eq!(median(&[&[1, 0], &[0], &[], &[], &[]], 4), (ABSENT, ABSENT));
}

#[test]
fn ranks_of_a_group_keep_its_order_in_every_list() {
    let lists: Vec<Vec<u32>> = vec![(0..200).collect(), (0..100).rev().collect()];
    let mut ranks = Ranks::default();
    ranks.rebuild_drawn(&lists, 200, 2);
    let group: Vec<u32> = ranks
        .nodes()
        .map(|(node, _)| node as u32)
        .step_by(2)
        .collect();
    let inner = ranks.of_group(&group);
    let (mut own, mut its) = ([0; AUTHORITIES_MAX], [0; AUTHORITIES_MAX]);
    for (at, node) in group.iter().enumerate() {
        assert_eq!(inner.own(at, &mut own), ranks.own(*node as usize, &mut its));
    }
}
