//! The fair order by its definition: sets, closures and nothing clever, as slow as it likes. An oracle for small runs.

use std::collections::{BTreeMap, BTreeSet};

use fairlane_engine::fair::{Anchor, Emission, FairParams};
use fairlane_engine::types::{Entry, TimestampUs};

/// The state that the definition speaks of.
pub(crate) struct ByDefinition {
    params: FairParams,
    now: TimestampUs,
    lists: Vec<Vec<Entry>>,
    emitted: Vec<Entry>,
    deferred: BTreeMap<Entry, u32>,
    overlooked: BTreeSet<Entry>,
}

type Pairs = BTreeSet<Entry>;

impl ByDefinition {
    pub(crate) fn new(params: FairParams) -> Self {
        Self {
            params,
            now: TimestampUs(0),
            lists: vec![Vec::new(); params.authorities() as usize],
            emitted: Vec::new(),
            deferred: BTreeMap::new(),
            overlooked: BTreeSet::new(),
        }
    }

    pub(crate) fn step(&mut self, anchor: &Anchor<'_>) -> Emission {
        self.now = self.now.max(anchor.consensus_time);
        let before = self.pending();
        for (list, entries) in self.lists.iter_mut().zip(anchor.appends) {
            for entry in entries {
                let known = self.emitted.contains(entry) && entry.valid_until >= self.now;
                if !known && !list.contains(entry) {
                    list.push(*entry);
                }
            }
        }
        let out_of_time = |entry: &Entry| {
            entry.valid_until < self.now || entry.valid_until > self.now.plus_us(90_000_000)
        };
        let came_too_late = |entry: &Entry| entry.valid_until < self.now && !before.contains(entry);
        let dropped: Vec<Entry> = self
            .pending()
            .into_iter()
            .filter(|entry| (!self.is_ready(entry) && out_of_time(entry)) || came_too_late(entry))
            .collect();
        self.forget(&dropped.iter().copied().collect());

        let (chosen, group_wait_cut, cap_fired, overlooked) = self.choose();
        self.overlooked.extend(overlooked);
        let groups = self.arrange(&chosen, &anchor.tie_seed);
        let ready: Vec<Entry> = self
            .pending()
            .into_iter()
            .filter(|entry| self.is_ready(entry))
            .collect();
        for entry in ready {
            *self.deferred.entry(entry).or_default() += 1;
        }
        self.emitted.extend(&chosen);
        self.forget(&chosen);
        Emission {
            groups,
            group_wait_cut,
            cap_fired,
            groups_oversized: 0,
            dropped,
        }
    }

    /// Rules 1 to 3: chosen, group wait cut, cap fired, newly overlooked.
    fn choose(&self) -> (Pairs, u32, u32, Pairs) {
        let pending = self.pending();
        let ready: Pairs = pending
            .iter()
            .filter(|entry| self.is_ready(entry))
            .copied()
            .collect();
        let blocking = |entry: &Entry| !ready.contains(entry) && !self.overlooked.contains(entry);
        let counted: Pairs = pending
            .iter()
            .filter(|entry| ready.contains(entry) || blocking(entry))
            .copied()
            .collect();
        let waited =
            |entry: &Entry, anchors: u32| self.deferred.get(entry).copied().unwrap_or(0) >= anchors;
        let waits_for = |entry: &Entry| -> Pairs {
            self.ancestors(entry, &counted)
                .into_iter()
                .filter(blocking)
                .collect()
        };
        let mut chosen: Pairs = ready
            .iter()
            .filter(|entry| waits_for(entry).is_empty())
            .copied()
            .collect();

        let free_of_its_group = |entry: &&Entry| {
            let group = self.group(entry, &pending);
            let walked = self.ancestors(entry, &ready);
            let met = walked
                .iter()
                .chain([*entry])
                .flat_map(|met| self.predecessors(met, &pending));
            met.filter(blocking).all(|unready| group.contains(&unready))
        };
        let late = ready.iter().filter(|entry| !chosen.contains(entry));
        let late = late.filter(|entry| waited(entry, self.params.group_wait()));
        let cut: Pairs = late.filter(free_of_its_group).copied().collect();
        chosen.extend(self.with_ready_ancestors(&cut, &ready));

        let late = ready.iter().filter(|entry| !chosen.contains(entry));
        let fired: Pairs = late
            .filter(|entry| waited(entry, self.params.deferral_cap()))
            .copied()
            .collect();
        chosen.extend(self.with_ready_ancestors(&fired, &ready));
        let overlooked = fired.iter().flat_map(waits_for).collect();
        (chosen, cut.len() as u32, fired.len() as u32, overlooked)
    }

    /// Rule 4.
    fn arrange(&self, chosen: &Pairs, tie_seed: &[u8; 32]) -> Vec<Vec<Entry>> {
        let place: BTreeMap<Entry, (usize, [u8; 32], TimestampUs)> = chosen
            .iter()
            .map(|entry| {
                let hash = *blake3::keyed_hash(tie_seed, &entry.digest.0).as_bytes();
                (*entry, (self.median_rank(entry), hash, entry.valid_until))
            })
            .collect();
        let edges: Vec<(Entry, Entry, u32)> = chosen
            .iter()
            .flat_map(|x| chosen.iter().map(move |y| (*x, *y)))
            .filter(|(x, y)| self.is_strong(x, y))
            .map(|(x, y)| (x, y, self.before(&x, &y) - self.before(&y, &x)))
            .collect();
        let groups = parts_in_order(chosen, &edges, &place);
        groups
            .iter()
            .map(|group| untangle(group, edges.clone(), &place))
            .collect()
    }

    fn pending(&self) -> Pairs {
        self.lists.iter().flatten().copied().collect()
    }

    fn is_ready(&self, entry: &Entry) -> bool {
        let listed = self
            .lists
            .iter()
            .filter(|list| list.contains(entry))
            .count();
        listed as u32 >= self.params.quorum()
    }

    fn before(&self, x: &Entry, y: &Entry) -> u32 {
        let at = |list: &[Entry], entry| list.iter().position(|listed| listed == entry);
        let holds = |list: &&Vec<Entry>| match (at(list, x), at(list, y)) {
            (Some(x), Some(y)) => x < y,
            (x, _) => x.is_some(),
        };
        self.lists.iter().filter(holds).count() as u32
    }

    fn is_strong(&self, x: &Entry, y: &Entry) -> bool {
        let (xy, yx) = (self.before(x, y), self.before(y, x));
        xy > yx && 2 * yx < self.params.quorum()
    }

    fn predecessors(&self, y: &Entry, within: &Pairs) -> Pairs {
        within
            .iter()
            .filter(|x| self.is_strong(x, y))
            .copied()
            .collect()
    }

    /// All that precedes `y` through `within`, which may be `y` itself in a cycle.
    fn ancestors(&self, y: &Entry, within: &Pairs) -> Pairs {
        let mut found = self.predecessors(y, within);
        loop {
            let more: Pairs = found
                .iter()
                .flat_map(|x| self.predecessors(x, within))
                .collect();
            let before = found.len();
            found.extend(more);
            if found.len() == before {
                return found;
            }
        }
    }

    /// The strongly connected component of `entry` over all pending.
    fn group(&self, entry: &Entry, pending: &Pairs) -> Pairs {
        let above = self.ancestors(entry, pending);
        above
            .into_iter()
            .filter(|x| self.ancestors(x, pending).contains(entry))
            .collect()
    }

    fn with_ready_ancestors(&self, from: &Pairs, ready: &Pairs) -> Pairs {
        from.iter()
            .flat_map(|y| self.ancestors(y, ready))
            .chain(from.iter().copied())
            .collect()
    }

    /// Lower median over authorities of the entries before it, absent last.
    fn median_rank(&self, entry: &Entry) -> usize {
        let rank = |list: &Vec<Entry>| {
            list.iter()
                .position(|listed| listed == entry)
                .unwrap_or(usize::MAX)
        };
        let mut ranks: Vec<usize> = self.lists.iter().map(rank).collect();
        ranks.sort_unstable();
        ranks[(ranks.len() - 1) / 2]
    }

    fn forget(&mut self, gone: &Pairs) {
        self.lists
            .iter_mut()
            .for_each(|list| list.retain(|entry| !gone.contains(entry)));
        self.deferred.retain(|entry, _| !gone.contains(entry));
        self.overlooked.retain(|entry| !gone.contains(entry));
    }
}

type Edges = [(Entry, Entry, u32)];
type Places = BTreeMap<Entry, (usize, [u8; 32], TimestampUs)>;

/// Components of `edges` over `pairs`: topological, the least place first among the free.
fn parts_in_order(pairs: &Pairs, edges: &Edges, place: &Places) -> Vec<Pairs> {
    let reach = |from: &Entry| -> Pairs {
        let mut found = Pairs::from([*from]);
        loop {
            let more: Vec<Entry> = edges
                .iter()
                .filter(|(x, y, _)| found.contains(x) && !found.contains(y) && pairs.contains(y))
                .map(|(_, y, _)| *y)
                .collect();
            if more.is_empty() {
                return found;
            }
            found.extend(more);
        }
    };
    let reached: BTreeMap<Entry, Pairs> = pairs.iter().map(|x| (*x, reach(x))).collect();
    let mut parts: BTreeSet<Pairs> = pairs
        .iter()
        .map(|x| {
            reached[x]
                .iter()
                .filter(|y| reached[*y].contains(x))
                .copied()
                .collect()
        })
        .collect();
    let mut ordered = Vec::new();
    while !parts.is_empty() {
        let is_free = |part: &&Pairs| {
            let mut into = edges
                .iter()
                .filter(|(x, y, _)| part.contains(y) && !part.contains(x));
            !into.any(|(x, _, _)| parts.iter().any(|other| other.contains(x)))
        };
        let least = |part: &&Pairs| part.iter().map(|entry| place[entry]).min();
        let next = parts
            .iter()
            .filter(is_free)
            .min_by_key(least)
            .expect("no cycle of parts")
            .clone();
        parts.remove(&next);
        ordered.push(next);
    }
    ordered
}

/// The order inside one cyclic part.
fn untangle(part: &Pairs, mut edges: Vec<(Entry, Entry, u32)>, place: &Places) -> Vec<Entry> {
    if part.len() == 1 {
        return part.iter().copied().collect();
    }
    edges.retain(|(x, y, _)| part.contains(x) && part.contains(y));
    let weakest = edges.iter().map(|(_, _, margin)| *margin).min();
    edges.retain(|(_, _, margin)| Some(*margin) != weakest);
    let parts = parts_in_order(part, &edges, place);
    parts
        .iter()
        .flat_map(|part| untangle(part, edges.clone(), place))
        .collect()
}
