//! The same pairs as several authorities received them: in the order of sending, jittered by a few positions.

use fairlane_engine::types::{AuthorityIndex, Digest, Entry, TimestampUs};

/// One list an authority; each holds all of `pairs` pairs.
///
/// Pairs are sent one position apart and each authority receives each after its own delay, below `jitter` positions.
/// So near neighbours change places and far ones never do: pairs `jitter` or more apart stand everywhere as sent.
pub fn jittered(authorities: u8, pairs: u32, jitter: u32) -> Vec<Vec<Entry>> {
    let received = |authority| {
        let arrival = |pair| u64::from(pair) * FINE + delay(authority, pair, jitter);
        let mut order: Vec<u32> = (0..pairs).collect();
        order.sort_by_key(|pair| (arrival(*pair), *pair));
        order.into_iter().map(entry).collect()
    };
    (0..authorities).map(AuthorityIndex).map(received).collect()
}

/// The pair that was sent in that place.
pub fn entry(pair: u32) -> Entry {
    Entry {
        digest: Digest(*blake3::hash(&pair.to_be_bytes()).as_bytes()),
        valid_until: TimestampUs(60_000_000),
    }
}

/// What `authority` receives `pair` late by, below `jitter` positions, in [`FINE`]ths of one.
fn delay(authority: AuthorityIndex, pair: u32, jitter: u32) -> u64 {
    let mut input = [authority.0; 5];
    input[1..].copy_from_slice(&pair.to_be_bytes());
    let hash = blake3::hash(&input);
    let drawn = hash.as_bytes().iter().take(8);
    let drawn = drawn.fold(0, |value, byte| value << 8 | u64::from(*byte));
    drawn % (u64::from(jitter) * FINE).max(1)
}

/// Parts that a position is divided into.
const FINE: u64 = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;
    use fairlane_engine::fair::{Anchor, FairOrder, FairParams};

    fn places(list: &[Entry], pairs: u32) -> Vec<usize> {
        let place = |pair| list.iter().position(|listed| *listed == entry(pair));
        (0..pairs).map(|pair| place(pair).unwrap()).collect()
    }

    #[test]
    fn only_pairs_less_than_the_jitter_apart_change_places() {
        let (pairs, jitter) = (200, 4);
        for list in jittered(5, pairs, jitter) {
            assert_eq!(list.len(), pairs as usize);
            let places = places(&list, pairs);
            for (sent, place) in places.iter().enumerate() {
                let later = places.iter().skip(sent + jitter as usize);
                assert!(later.into_iter().all(|other| other > place));
            }
        }
    }

    #[test]
    fn authorities_disagree_with_jitter_and_agree_without() {
        let jittered_lists = jittered(5, 50, 4);
        for (at, list) in jittered_lists.iter().enumerate() {
            assert!(jittered_lists[at + 1..].iter().all(|other| other != list));
        }
        let sent: Vec<Entry> = (0..50).map(entry).collect();
        assert_eq!(jittered(5, 50, 0), vec![sent; 5]);
    }

    #[test]
    fn one_step_emits_all_pairs() {
        for pairs in [20, 100, 1000] {
            let mut order = FairOrder::new(FairParams::new(5, 1, 64).unwrap());
            let emission = order.step(&Anchor {
                consensus_time: TimestampUs(1_000_000),
                tie_seed: [3; 32],
                appends: &jittered(5, pairs, 4),
            });
            let emitted: usize = emission.groups.iter().map(Vec::len).sum();
            assert_eq!((emitted, order.pending_len()), (pairs as usize, 0));
            assert!(
                emission.groups.len() > pairs as usize / 8,
                "a few positions only"
            );
        }
    }
}
