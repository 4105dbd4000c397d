//! The fair order by its definition, on sets as bit masks: the judge of what `crate::fair` emits, and of cycles.
//!
//! Follows design section 6 rule by rule and shares no code with the implementation. At most [`PENDING_MAX`] pending pairs:
//! a run with more is judged by the law alone from there on, and says so.

use std::collections::{BTreeMap, BTreeSet};

use super::quorum;
use super::replay::Step;
use crate::types::{Digest, Entry, TimestampUs};

/// Everything listed and not yet emitted.
pub(crate) struct Order {
    quorum: usize,
    cap: u32,
    now: TimestampUs,
    lists: Vec<Vec<Entry>>,
    emitted: BTreeSet<Entry>,
    deferred: BTreeMap<Entry, u32>,
    overlooked: BTreeSet<Entry>,
}

/// What one anchor emits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Emitted {
    /// Groups in order, each in order.
    pub(crate) groups: Vec<Vec<Digest>>,
    pub(crate) group_wait_cut: u32,
    pub(crate) cap_fired: u32,
}

/// A set of pending pairs, by their index.
type Mask = u128;

/// Too many pairs are pending for this judge.
pub(crate) struct TooMany;

impl Order {
    /// Nothing listed by `n` authorities; `cap` is D.
    pub(crate) fn new(n: usize, cap: u32) -> Self {
        Self {
            quorum: quorum(n),
            cap,
            now: TimestampUs(0),
            lists: vec![Vec::new(); n],
            emitted: BTreeSet::new(),
            deferred: BTreeMap::new(),
            overlooked: BTreeSet::new(),
        }
    }

    /// Takes in one anchor.
    pub(crate) fn step(&mut self, step: &Step) -> Result<Emitted, TooMany> {
        self.now = self.now.max(step.time);
        let before = self.pending();
        for (list, entries) in self.lists.iter_mut().zip(&step.appends) {
            for entry in entries {
                let is_done = self.emitted.contains(entry) && entry.valid_until >= self.now;
                if !is_done && !list.contains(entry) {
                    list.push(*entry);
                }
            }
        }
        let latest = self.now.plus_us(90_000_000);
        let listed = self.pending();
        let late: Vec<Entry> = listed
            .iter()
            .filter(|(entry, listings)| {
                let is_past = entry.valid_until < self.now;
                let is_unready = **listings < self.quorum;
                (is_past && !before.contains_key(entry))
                    || (is_unready && (is_past || entry.valid_until > latest))
            })
            .map(|(entry, _)| *entry)
            .collect();
        self.forget(&late);
        let pending = self.pending();
        if pending.values().all(|listings| *listings < self.quorum) {
            return Ok(Emitted::default());
        }
        if pending.len() > PENDING_MAX {
            return Err(TooMany);
        }
        let table = Table::new(self, &pending);
        let choice = table.choose(self.cap);
        self.overlooked.extend(table.entries_of(choice.overlooked));
        let groups = table.arrange(choice.chosen, &step.tie_seed);
        let chosen = table.entries_of(choice.chosen);
        for entry in table.entries_of(table.ready & !choice.chosen) {
            *self.deferred.entry(entry).or_default() += 1;
        }
        self.emitted.extend(&chosen);
        self.forget(&chosen);
        Ok(Emitted {
            groups,
            group_wait_cut: choice.cut.count_ones(),
            cap_fired: choice.fired.count_ones(),
        })
    }

    /// Pending pairs, each with how many list it.
    fn pending(&self) -> BTreeMap<Entry, usize> {
        let mut listings = BTreeMap::new();
        for entry in self.lists.iter().flatten() {
            *listings.entry(*entry).or_default() += 1;
        }
        listings
    }

    fn forget(&mut self, gone: &[Entry]) {
        let gone: BTreeSet<&Entry> = gone.iter().collect();
        for list in &mut self.lists {
            list.retain(|entry| !gone.contains(entry));
        }
        self.deferred.retain(|entry, _| !gone.contains(entry));
        self.overlooked.retain(|entry| !gone.contains(entry));
    }
}

/// The pending pairs of one anchor by index, and how they stand to each other.
struct Table {
    entries: Vec<Entry>,
    deferred: Vec<u32>,
    ready: Mask,
    /// Unready and not overlooked.
    blocking: Mask,
    /// For each y the x that are strong predecessors of it.
    strong: Vec<Mask>,
    /// xy - yx where x is a strong predecessor of y.
    margin: BTreeMap<(usize, usize), usize>,
    /// Lower median of the places in the lists.
    median: Vec<usize>,
}

struct Choice {
    chosen: Mask,
    cut: Mask,
    fired: Mask,
    overlooked: Mask,
}

impl Table {
    fn new(order: &Order, pending: &BTreeMap<Entry, usize>) -> Self {
        let entries: Vec<Entry> = pending.keys().copied().collect();
        let ranks: Vec<Vec<usize>> = order
            .lists
            .iter()
            .map(|list| {
                let places: BTreeMap<&Entry, usize> = list.iter().zip(0..).collect();
                let place = |entry| places.get(entry).copied().unwrap_or(usize::MAX);
                entries.iter().map(place).collect()
            })
            .collect();
        let len = entries.len();
        let before = |x: usize, y: usize| ranks.iter().filter(|rank| rank[x] < rank[y]).count();
        let (mut strong, mut margin) = (vec![0; len], BTreeMap::new());
        for (y, predecessors) in strong.iter_mut().enumerate() {
            for x in 0..len {
                let (xy, yx) = (before(x, y), before(y, x));
                if xy > yx && 2 * yx < order.quorum {
                    *predecessors |= bit(x);
                    margin.insert((x, y), xy - yx);
                }
            }
        }
        let where_true = |holds: &dyn Fn(&Entry) -> bool| -> Mask {
            (0..len).filter(|at| holds(&entries[*at])).map(bit).sum()
        };
        let ready = where_true(&|entry| pending[entry] >= order.quorum);
        let overlooked = where_true(&|entry| order.overlooked.contains(entry));
        let median = (0..len)
            .map(|at| {
                let mut places: Vec<usize> = ranks.iter().map(|rank| rank[at]).collect();
                places.sort_unstable();
                places[(places.len() - 1) / 2]
            })
            .collect();
        let waited = |entry| order.deferred.get(entry).copied().unwrap_or(0);
        Self {
            deferred: entries.iter().map(waited).collect(),
            ready,
            blocking: where_true(&|_| true) & !ready & !overlooked,
            strong,
            margin,
            median,
            entries,
        }
    }

    /// All that precedes each pair through members of `within`.
    fn ancestors(&self, within: Mask) -> Vec<Mask> {
        (0..self.entries.len())
            .map(|y| {
                let (mut found, mut fresh) = (0, self.strong[y] & within);
                while fresh != 0 {
                    found |= fresh;
                    let next = members(fresh).fold(0, |next, x| next | self.strong[x]);
                    fresh = next & within & !found;
                }
                found
            })
            .collect()
    }

    /// Rules 1 to 3.
    fn choose(&self, cap: u32) -> Choice {
        let all: Mask = (0..self.entries.len()).map(bit).sum();
        let of_ready = self.ancestors(self.ready);
        let of_counted = self.ancestors(self.ready | self.blocking);
        let of_all = self.ancestors(all);
        let waits_for = |y: usize| of_counted[y] & self.blocking;
        let with_ancestors = |from: Mask| members(from).fold(from, |set, y| set | of_ready[y]);
        let pick = |from: Mask, holds: &dyn Fn(usize) -> bool| -> Mask {
            members(from).filter(|at| holds(*at)).map(bit).sum()
        };
        let mut chosen = pick(self.ready, &|y| waits_for(y) == 0);

        let waits_for_its_group_only = |y: usize| {
            let group: Mask = pick(of_all[y], &|x| of_all[x] & bit(y) != 0);
            let walked = of_ready[y] | bit(y);
            let met = members(walked).fold(0, |met, at| met | self.strong[at]);
            met & self.blocking & !group == 0
        };
        let group_wait = cap.div_ceil(8);
        let cut = pick(self.ready & !chosen, &|y| {
            self.deferred[y] >= group_wait && waits_for_its_group_only(y)
        });
        chosen |= with_ancestors(cut);

        let fired = pick(self.ready & !chosen, &|y| self.deferred[y] >= cap);
        chosen |= with_ancestors(fired);
        Choice {
            chosen,
            cut,
            fired,
            overlooked: members(fired).fold(0, |set, y| set | waits_for(y)),
        }
    }

    /// Rule 4.
    fn arrange(&self, chosen: Mask, tie_seed: &[u8; 32]) -> Vec<Vec<Digest>> {
        let place: Vec<_> = (0..self.entries.len())
            .map(|at| {
                let entry = &self.entries[at];
                let hash = *blake3::keyed_hash(tie_seed, &entry.digest.0).as_bytes();
                (self.median[at], hash, entry.valid_until)
            })
            .collect();
        let edges: Vec<(usize, usize, usize)> = self
            .margin
            .iter()
            .filter(|((x, y), _)| bit(*x) & chosen != 0 && bit(*y) & chosen != 0)
            .map(|((x, y), margin)| (*x, *y, *margin))
            .collect();
        parts_in_order(chosen, &edges, &place)
            .into_iter()
            .map(|part| {
                let order = untangle(part, &edges, &place);
                order.iter().map(|at| self.entries[*at].digest).collect()
            })
            .collect()
    }

    fn entries_of(&self, set: Mask) -> Vec<Entry> {
        members(set).map(|at| self.entries[at]).collect()
    }
}

/// Strongly connected parts of `edges` over `set`: topological, of the free ones the one with the least place first.
fn parts_in_order<P: Ord>(set: Mask, edges: &[(usize, usize, usize)], place: &[P]) -> Vec<Mask> {
    let mut into: BTreeMap<usize, Mask> = BTreeMap::new();
    for (x, y, _) in edges {
        *into.entry(*y).or_default() |= bit(*x) & set;
    }
    let into = |y: usize| into.get(&y).copied().unwrap_or(0);
    let reached: BTreeMap<usize, Mask> = members(set)
        .map(|y| {
            let (mut found, mut fresh) = (bit(y), bit(y));
            while fresh != 0 {
                let next = members(fresh).fold(0, |next, at| next | into(at));
                fresh = next & !found;
                found |= next;
            }
            (y, found)
        })
        .collect();
    let part_of = |y: usize| -> Mask {
        members(reached[&y])
            .filter(|x| reached[x] & bit(y) != 0)
            .map(bit)
            .sum()
    };
    let mut parts: Vec<Mask> = Vec::new();
    let mut left = set;
    while left != 0 {
        let is_free = |part: Mask| {
            let sources = members(part).fold(0, |sources, y| sources | into(y));
            sources & left & !part == 0
        };
        let next = members(left)
            .filter(|y| is_free(part_of(*y)))
            .min_by_key(|y| &place[*y])
            .expect("parts have no cycle");
        parts.push(part_of(next));
        left &= !part_of(next);
    }
    parts
}

/// The order inside one part: the weakest edges go until it falls apart. As deep as there are different margins.
fn untangle<P: Ord>(part: Mask, edges: &[(usize, usize, usize)], place: &[P]) -> Vec<usize> {
    if part.count_ones() == 1 {
        return members(part).collect();
    }
    let inside = |edge: &&(usize, usize, usize)| bit(edge.0) & part != 0 && bit(edge.1) & part != 0;
    let weakest = edges.iter().filter(inside).map(|edge| edge.2).min();
    let kept: Vec<_> = edges
        .iter()
        .filter(inside)
        .filter(|edge| Some(edge.2) != weakest)
        .copied()
        .collect();
    parts_in_order(part, &kept, place)
        .into_iter()
        .flat_map(|part| untangle(part, &kept, place))
        .collect()
}

const fn bit(at: usize) -> Mask {
    1 << at
}

fn members(set: Mask) -> impl Iterator<Item = usize> + Clone {
    (0..PENDING_MAX).filter(move |at| set & bit(*at) != 0)
}

/// Pending pairs at most: the bits of a mask.
pub(crate) const PENDING_MAX: usize = 128;
