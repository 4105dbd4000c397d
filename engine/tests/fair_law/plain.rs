//! The fair order compared pair by pair: every pending pair against every other, a bit a relation, at every anchor.
//!
//! The yardstick of the fast one, for runs too large for the definition: quadratic and plain, and shares nothing with what
//! it judges but the types that go in and come out. Tarjan's search where that one has Kosaraju's, edges counted where that
//! one watches, no interval anywhere.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use fairlane_engine::fair::{Anchor, Emission, FairParams};
use fairlane_engine::types::{Entry, TimestampUs};

/// A fair order that compares all with all.
pub(crate) struct Plain {
    params: FairParams,
    now: TimestampUs,
    /// In order of arrival.
    pending: Vec<Pending>,
    /// How many pairs each authority has listed.
    listed: Vec<usize>,
    emitted: BTreeSet<(TimestampUs, Entry)>,
}

struct Pending {
    entry: Entry,
    /// For each authority, how many pairs it had listed before this one.
    places: Vec<Option<usize>>,
    deferred: u32,
    is_overlooked: bool,
}

/// Who is before whom: `rows[x]` has the bit of every y that x precedes.
struct Before {
    rows: Vec<Vec<u64>>,
}

impl Plain {
    /// Nothing listed yet.
    pub(crate) fn new(params: FairParams) -> Self {
        Self {
            params,
            now: TimestampUs(0),
            pending: Vec::new(),
            listed: vec![0; params.authorities() as usize],
            emitted: BTreeSet::new(),
        }
    }

    /// One anchor.
    pub(crate) fn step(&mut self, anchor: &Anchor<'_>) -> Emission {
        self.now = self.now.max(anchor.consensus_time);
        let now = self.now;
        self.emitted.retain(|(valid_until, _)| *valid_until >= now);
        let known = self.pending.len();
        self.append(anchor);
        let dropped = self.drop_expired(known);
        let quorum = self.params.quorum() as usize;
        let ready: Vec<bool> = self
            .pending
            .iter()
            .map(|pair| pair.places.iter().flatten().count() >= quorum)
            .collect();
        if !ready.contains(&true) {
            return Emission {
                dropped,
                ..Emission::default()
            };
        }
        let before = self.relate();
        let mut emission = Emission {
            dropped,
            ..Emission::default()
        };
        let chosen = self.choose(&ready, &before, &mut emission);
        self.arrange(&chosen, &before, &anchor.tie_seed, &mut emission);
        for (pair, is_ready) in self.pending.iter_mut().zip(&ready) {
            pair.deferred += u32::from(*is_ready);
        }
        let gone = emission
            .groups
            .iter()
            .flatten()
            .map(|entry| (entry.valid_until, *entry));
        self.emitted.extend(gone);
        let mut chosen = chosen.iter();
        self.pending.retain(|_| chosen.next() == Some(&false));
        emission
    }

    fn append(&mut self, anchor: &Anchor<'_>) {
        let numbered = self.pending.iter().enumerate();
        let mut index: BTreeMap<Entry, usize> =
            numbered.map(|(at, pair)| (pair.entry, at)).collect();
        for (authority, entries) in anchor.appends.iter().enumerate() {
            for entry in entries {
                if self.emitted.contains(&(entry.valid_until, *entry)) {
                    continue;
                }
                let at = *index.entry(*entry).or_insert(self.pending.len());
                if at == self.pending.len() {
                    self.pending.push(Pending {
                        entry: *entry,
                        places: vec![None; self.listed.len()],
                        deferred: 0,
                        is_overlooked: false,
                    });
                }
                let place = &mut self.pending[at].places[authority];
                if place.is_none() {
                    *place = Some(self.listed[authority]);
                    self.listed[authority] += 1;
                }
            }
        }
    }

    fn drop_expired(&mut self, known: usize) -> Vec<Entry> {
        let (now, quorum) = (self.now, self.params.quorum() as usize);
        let mut dropped = Vec::new();
        let mut at = 0;
        self.pending.retain(|pair| {
            at += 1;
            let is_past = pair.entry.valid_until < now;
            let is_far = pair.entry.valid_until.0 > now.0 + 90_000_000;
            let is_ready = pair.places.iter().flatten().count() >= quorum;
            let goes = (is_past && at > known) || ((is_past || is_far) && !is_ready);
            if goes {
                dropped.push(pair.entry);
            }
            !goes
        });
        dropped.sort_unstable();
        dropped
    }

    fn relate(&self) -> Before {
        let quorum = self.params.quorum() as usize;
        let places: Vec<Vec<usize>> = self
            .pending
            .iter()
            .map(|pair| {
                let place = |place: &Option<usize>| place.unwrap_or(usize::MAX);
                pair.places.iter().map(place).collect()
            })
            .collect();
        let mut before = Before {
            rows: vec![vec![0; places.len().div_ceil(64)]; places.len()],
        };
        for x in 0..places.len() {
            for y in 0..x {
                let (xy, yx) = counts(&places[x], &places[y]);
                if xy > yx && 2 * yx < quorum {
                    before.rows[x][y / 64] |= 1 << (y % 64);
                } else if yx > xy && 2 * xy < quorum {
                    before.rows[y][x / 64] |= 1 << (x % 64);
                }
            }
        }
        before
    }

    /// Rules 1 to 3.
    fn choose(&mut self, ready: &[bool], before: &Before, emission: &mut Emission) -> Vec<bool> {
        let len = ready.len();
        let blocking: Vec<bool> = (0..len)
            .map(|at| !ready[at] && !self.pending[at].is_overlooked)
            .collect();
        let mut blocked = blocking.clone();
        let mut left: Vec<usize> = (0..len).filter(|at| blocking[*at]).collect();
        while let Some(x) = left.pop() {
            for y in before.after(x) {
                if (ready[y] || blocking[y]) && !blocked[y] {
                    blocked[y] = true;
                    left.push(y);
                }
            }
        }
        let mut chosen: Vec<bool> = (0..len).map(|at| ready[at] && !blocked[at]).collect();
        let has_waited = |plain: &Self, anchors: u32, chosen: &[bool]| -> Vec<usize> {
            let late =
                |at: &usize| ready[*at] && !chosen[*at] && plain.pending[*at].deferred >= anchors;
            (0..len).filter(late).collect()
        };
        let late = has_waited(self, self.params.group_wait(), &chosen);
        if late.is_empty() {
            return chosen;
        }
        let group_of = before.groups(&vec![true; len]);
        let is_free = |y: &usize| {
            let mut walked = before.ancestors(&[*y], ready);
            walked.push(*y);
            let unready = (0..len).filter(|x| blocking[*x]);
            let mut outsiders = unready.filter(|x| group_of[*x] != group_of[*y]);
            !outsiders.any(|x| walked.iter().any(|met| before.is(x, *met)))
        };
        let cut: Vec<usize> = late.into_iter().filter(is_free).collect();
        emission.group_wait_cut = cut.len() as u32;
        for at in before.ancestors(&cut, ready).iter().chain(&cut) {
            chosen[*at] = true;
        }
        let fired = has_waited(self, self.params.deferral_cap(), &chosen);
        emission.cap_fired = fired.len() as u32;
        for at in before.ancestors(&fired, ready).iter().chain(&fired) {
            chosen[*at] = true;
        }
        let counted: Vec<bool> = (0..len).map(|at| ready[at] || blocking[at]).collect();
        for at in before.ancestors(&fired, &counted) {
            self.pending[at].is_overlooked |= !ready[at];
        }
        chosen
    }

    /// Rule 4.
    fn arrange(
        &self,
        chosen: &[bool],
        before: &Before,
        tie_seed: &[u8; 32],
        emission: &mut Emission,
    ) {
        let mut by_key: Vec<_> = (0..chosen.len())
            .filter(|at| chosen[*at])
            .zip(self.median_ranks(chosen))
            .map(|(at, median)| {
                let entry = self.pending[at].entry;
                let hash = blake3::keyed_hash(tie_seed, &entry.digest.0);
                ((median, *hash.as_bytes(), entry.valid_until), at)
            })
            .collect();
        by_key.sort_unstable();
        let mut place = vec![0; chosen.len()];
        for (number, (_, at)) in by_key.iter().enumerate() {
            place[*at] = number;
        }
        let groups = before.parts(chosen, &place);
        let mut inner = Before { rows: Vec::new() };
        if groups.iter().any(|group| group.len() > 1) {
            inner.rows.clone_from(&before.rows);
        }
        for mut group in groups {
            if group.len() > 1024 {
                emission.groups_oversized += 1;
                group.sort_unstable_by_key(|at| place[*at]);
            } else {
                self.untangle(&mut inner, &mut group, &place);
            }
            let entries = group.iter().map(|at| self.pending[*at].entry);
            emission.groups.push(entries.collect());
        }
    }

    /// Brings a part into order: without its weakest edges it falls into parts, which are ordered in their turn.
    fn untangle(&self, before: &mut Before, part: &mut Vec<usize>, place: &[usize]) {
        if part.len() == 1 {
            return;
        }
        let margin = |x: usize, y: usize| {
            let places = |at: usize| -> Vec<usize> {
                let place = |place: &Option<usize>| place.unwrap_or(usize::MAX);
                self.pending[at].places.iter().map(place).collect()
            };
            let (xy, yx) = counts(&places(x), &places(y));
            xy - yx
        };
        let mut within = vec![false; place.len()];
        part.iter().for_each(|at| within[*at] = true);
        let mut edges: Vec<(usize, usize, usize)> = Vec::new();
        for x in part.iter().copied() {
            let inside = before.after(x).filter(|y| within[*y]);
            edges.extend(inside.map(|y| (margin(x, y), x, y)));
        }
        let weakest = edges.iter().map(|(margin, ..)| *margin).min();
        for (margin, x, y) in edges {
            if Some(margin) == weakest {
                before.rows[x][y / 64] &= !(1 << (y % 64));
            }
        }
        let parts = before.parts(&within, place);
        part.clear();
        for mut smaller in parts {
            self.untangle(before, &mut smaller, place);
            part.append(&mut smaller);
        }
    }

    /// Lower medians of ranks over authorities of the chosen, ascending by index; absent last.
    fn median_ranks(&self, chosen: &[bool]) -> Vec<usize> {
        let mut ranks = vec![Vec::new(); chosen.len()];
        for authority in 0..self.listed.len() {
            let places = self.pending.iter().map(|pair| pair.places[authority]);
            let mut list: Vec<(usize, usize)> = places
                .enumerate()
                .filter_map(|(at, place)| place.map(|place| (place, at)))
                .collect();
            list.sort_unstable();
            let mut rank_of = vec![usize::MAX; chosen.len()];
            for (rank, (_, at)) in list.into_iter().enumerate() {
                rank_of[at] = rank;
            }
            ranks
                .iter_mut()
                .zip(rank_of)
                .for_each(|(ranks, rank)| ranks.push(rank));
        }
        let of_chosen = ranks.iter_mut().zip(chosen).filter(|(_, chosen)| **chosen);
        of_chosen
            .map(|(ranks, _)| {
                ranks.sort_unstable();
                ranks[(ranks.len() - 1) / 2]
            })
            .collect()
    }
}

/// In how many lists x stands before y, and y before x; one place a list, the highest where it is absent.
fn counts(x: &[usize], y: &[usize]) -> (usize, usize) {
    let mut counts = (0, 0);
    for (x, y) in x.iter().zip(y) {
        counts.0 += usize::from(x < y);
        counts.1 += usize::from(y < x);
    }
    counts
}

impl Before {
    fn is(&self, x: usize, y: usize) -> bool {
        self.rows[x][y / 64] >> (y % 64) & 1 == 1
    }

    /// Whom `x` precedes.
    fn after(&self, x: usize) -> impl Iterator<Item = usize> {
        self.rows[x].iter().enumerate().flat_map(|(word, bits)| {
            let mut left = *bits;
            std::iter::from_fn(move || {
                let bit = left.trailing_zeros() as usize;
                left &= left.wrapping_sub(1);
                (bit < 64).then_some(word * 64 + bit)
            })
        })
    }

    /// Who precedes one of `from` through `within`, themselves only where a cycle leads back.
    fn ancestors(&self, from: &[usize], within: &[bool]) -> Vec<usize> {
        let mut is_found = vec![false; within.len()];
        let mut left = from.to_vec();
        while let Some(y) = left.pop() {
            for x in 0..within.len() {
                if within[x] && !is_found[x] && self.is(x, y) {
                    is_found[x] = true;
                    left.push(x);
                }
            }
        }
        (0..within.len()).filter(|x| is_found[*x]).collect()
    }

    /// The number of each index's strongly connected component among `within`.
    fn groups(&self, within: &[bool]) -> Vec<usize> {
        const NONE: usize = usize::MAX;
        let mut number = vec![NONE; within.len()];
        let mut low = vec![NONE; within.len()];
        let mut group = vec![NONE; within.len()];
        let (mut count, mut groups) = (0, 0);
        let mut stack = Vec::new();
        for root in (0..within.len()).filter(|at| within[*at]) {
            if number[root] != NONE {
                continue;
            }
            let mut path = vec![(root, self.after(root))];
            (number[root], low[root], count) = (count, count, count + 1);
            stack.push(root);
            while let Some((at, after)) = path.last_mut() {
                let at = *at;
                if let Some(next) = after.next() {
                    if within[next] && number[next] == NONE {
                        (number[next], low[next], count) = (count, count, count + 1);
                        stack.push(next);
                        path.push((next, self.after(next)));
                    } else if within[next] && group[next] == NONE {
                        low[at] = low[at].min(number[next]);
                    }
                    continue;
                }
                path.pop();
                if let Some((above, _)) = path.last() {
                    low[*above] = low[*above].min(low[at]);
                }
                if low[at] == number[at] {
                    while let Some(member) = stack.pop() {
                        group[member] = groups;
                        if member == at {
                            break;
                        }
                    }
                    groups += 1;
                }
            }
        }
        group
    }

    /// The components among `within`, topologically, the one with the least place first among the free.
    fn parts(&self, within: &[bool], place: &[usize]) -> Vec<Vec<usize>> {
        let group = self.groups(within);
        let count = group.iter().filter(|group| **group != usize::MAX).max();
        let mut parts = vec![Vec::new(); count.map_or(0, |most| most + 1)];
        let members = (0..within.len()).filter(|at| within[*at]);
        members.for_each(|at| parts[group[at]].push(at));
        let outward = |part: &Vec<usize>| -> Vec<usize> {
            let own = group[part[0]];
            let after = part.iter().flat_map(|x| self.after(*x));
            let outside = after.filter(|y| within[*y] && group[*y] != own);
            outside.map(|y| group[y]).collect()
        };
        let mut into = vec![0; parts.len()];
        for part in &parts {
            outward(part).iter().for_each(|group| into[*group] += 1);
        }
        let least = |at: usize| parts[at].iter().map(|member| place[*member]).min();
        let mut free: BinaryHeap<_> = (0..parts.len())
            .filter(|at| into[*at] == 0)
            .map(|at| Reverse((least(at), at)))
            .collect();
        let mut ordered = Vec::new();
        while let Some(Reverse((_, at))) = free.pop() {
            for next in outward(&parts[at]) {
                into[next] -= 1;
                if into[next] == 0 {
                    free.push(Reverse((least(next), next)));
                }
            }
            ordered.push(at);
        }
        ordered.into_iter().map(|at| parts[at].clone()).collect()
    }
}
