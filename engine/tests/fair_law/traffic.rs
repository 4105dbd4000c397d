//! Random networks for the fair order: who received what when, who lies how, and where anchors cut the lists.

use fairlane_engine::fair::{Anchor, Emission, FairOrder, FairParams};
use fairlane_engine::types::{Digest, Entry, TimestampUs};

/// SplitMix64: a seed is the whole run.
pub(crate) struct Rng(pub u64);

impl Rng {
    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// Fisher and Yates.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// What a liar does with what it received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Turns everything round.
    Reverses,
    /// Turns blocks round, so that it lists in time and in the wrong order.
    ReversesBlocks,
    /// Shuffles blocks.
    Shuffles,
    /// Lists in the right order, far behind.
    Late,
    /// Lists nothing.
    Silent,
    /// Lists every other pair.
    Omits,
}

const LIES: [Lie; 6] = [
    Lie::Reverses,
    Lie::ReversesBlocks,
    Lie::Shuffles,
    Lie::Late,
    Lie::Silent,
    Lie::Omits,
];

/// A client that sends `len` pairs of its own, from `first`, in another rotation to each authority, to build cycles.
struct Ring {
    first: usize,
    len: usize,
}

impl Ring {
    fn draw(rng: &mut Rng, pairs: usize) -> Self {
        let len = (3 + rng.below(20)).min(pairs);
        Self {
            first: rng.below(pairs - len + 1),
            len,
        }
    }

    /// When `pair` is sent to `authority`.
    fn sent(&self, pair: usize, authority: usize, authorities: usize) -> usize {
        if !(self.first..self.first + self.len).contains(&pair) {
            return pair;
        }
        let turn = authority * self.len / authorities;
        self.first + (pair - self.first + turn) % self.len
    }
}

/// A run: the orders in which correct authorities received all pairs, and the anchors that commit the lists piecemeal.
pub(crate) struct Traffic {
    /// n, f and the cap.
    pub(crate) params: FairParams,
    /// Complete receive orders of the correct authorities, as numbers of pairs.
    pub(crate) received: Vec<Vec<usize>>,
    /// Per anchor, what each authority's list gains.
    pub(crate) anchors: Vec<Vec<Vec<usize>>>,
}

impl Traffic {
    /// Draws a run of `pairs` pairs sent one time unit apart, received with up to `jitter` units of delay; up to three
    /// clients build cycles, and `faulty` authorities lie.
    pub(crate) fn draw(
        rng: &mut Rng,
        params: FairParams,
        faulty: usize,
        pairs: usize,
        jitter: usize,
    ) -> Self {
        let authorities = params.authorities() as usize;
        let mut is_liar: Vec<bool> = (0..authorities).map(|index| index < faulty).collect();
        rng.shuffle(&mut is_liar);
        let anchors = 2 + rng.below(pairs / 2 + 2);
        let lag = 1 + rng.below(2 * jitter + 4);
        let mut traffic = Self {
            params,
            received: Vec::new(),
            anchors: vec![vec![Vec::new(); authorities]; anchors],
        };
        let rings: Vec<Ring> = (0..rng.below(4)).map(|_| Ring::draw(rng, pairs)).collect();
        for authority in 0..authorities {
            let sent = |pair: usize| {
                rings
                    .iter()
                    .fold(pair, |at, ring| ring.sent(at, authority, authorities))
            };
            let mut times: Vec<(usize, usize)> = (0..pairs)
                .map(|pair| (sent(pair) * 8 + rng.below(8 * jitter + 1), pair))
                .collect();
            times.sort_unstable();
            let mut list: Vec<usize> = times.iter().map(|(_, pair)| *pair).collect();
            let mut lag = lag;
            if is_liar[authority] {
                match LIES[rng.below(LIES.len())] {
                    Lie::Reverses => list.reverse(),
                    Lie::ReversesBlocks => {
                        list.chunks_mut(2 + rng.below(20)).for_each(<[_]>::reverse)
                    }
                    Lie::Shuffles => {
                        let block = 2 + rng.below(20);
                        list.chunks_mut(block).for_each(|block| rng.shuffle(block));
                    }
                    Lie::Late => lag += pairs / 2,
                    Lie::Silent => list.clear(),
                    Lie::Omits => list = list.into_iter().step_by(2).collect(),
                }
            } else {
                traffic.received.push(list.clone());
            }
            let mut next = 0;
            for (at, lists) in (1..).zip(&mut traffic.anchors) {
                let held = (at * (pairs + jitter) / anchors).saturating_sub(rng.below(lag));
                let until = if at == anchors {
                    list.len()
                } else {
                    held.min(list.len())
                };
                if until > next {
                    lists[authority] = list[next..until].to_vec();
                    next = until;
                }
            }
        }
        traffic
    }
}

/// Where each pair went out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Place in the whole order.
    pub(crate) at: usize,
    /// Number of its group; groups are counted over the whole run.
    pub(crate) group: usize,
    /// How many pairs its group has.
    pub(crate) group_len: usize,
    /// Somebody was emitted before its time: by the group wait at the same anchor, or by the cap up to then.
    pub(crate) after_cut: bool,
}

/// What an order made of a run.
#[derive(Default)]
pub(crate) struct Outcome {
    /// By pair; none if it was never emitted.
    pub(crate) places: Vec<Option<Place>>,
    /// Pairs that the cap emitted.
    pub(crate) cap_fired: u32,
    /// Pairs that the group wait emitted.
    pub(crate) group_wait_cut: u32,
    /// Groups of more than one.
    pub(crate) groups_tangled: u32,
}

/// Runs `traffic` through the fair order, then as many empty anchors as the cap allows waits.
pub(crate) fn run(traffic: &Traffic, pairs: usize) -> Outcome {
    let mut order = FairOrder::new(traffic.params);
    let mut outcome = Outcome {
        places: vec![None; pairs],
        ..Outcome::default()
    };
    let mut emitted = 0;
    let mut groups = 0;
    let nothing = vec![Vec::new(); traffic.params.authorities() as usize];
    let empty = std::iter::repeat_n(&nothing, traffic.params.deferral_cap() as usize + 1);
    for (number, lists) in (0..).zip(traffic.anchors.iter().chain(empty)) {
        let emission = step(&mut order, number, lists);
        outcome.cap_fired += emission.cap_fired;
        outcome.group_wait_cut += emission.group_wait_cut;
        let after_cut = outcome.cap_fired > 0 || emission.group_wait_cut > 0;
        for group in &emission.groups {
            outcome.groups_tangled += u32::from(group.len() > 1);
            for entry in group {
                let place = Place {
                    at: emitted,
                    group: groups,
                    group_len: group.len(),
                    after_cut,
                };
                let before = outcome.places[number_of(entry)].replace(place);
                assert_eq!(before, None, "emitted twice");
                emitted += 1;
            }
            groups += 1;
        }
    }
    outcome
}

/// One anchor that appends these pairs, by number.
pub(crate) fn step(order: &mut FairOrder, number: u64, lists: &[Vec<usize>]) -> Emission {
    let entries = |list: &Vec<usize>| list.iter().map(|pair| entry(*pair, 1 << 20)).collect();
    let appends: Vec<Vec<Entry>> = lists.iter().map(entries).collect();
    order.step(&Anchor {
        consensus_time: TimestampUs(number),
        tie_seed: *blake3::hash(&number.to_be_bytes()).as_bytes(),
        appends: &appends,
    })
}

/// The entry of pair `number`.
pub(crate) fn entry(number: usize, valid_until_us: u64) -> Entry {
    let mut digest = *blake3::hash(&number.to_be_bytes()).as_bytes();
    digest[..8].copy_from_slice(&(number as u64).to_be_bytes());
    Entry {
        digest: Digest(digest),
        valid_until: TimestampUs(valid_until_us),
    }
}

/// The number of an entry's pair.
pub(crate) fn number_of(entry: &Entry) -> usize {
    let (number, _) = entry.digest.0.split_at(8);
    number
        .iter()
        .fold(0, |value, byte| value << 8 | usize::from(*byte))
}
