//! The pending pairs, by slot: what is known of each, and where each stands in every list.
//!
//! A pair keeps its slot as long as it is pending. Places lie 64 slots beside each other, list by list, so that one pair is
//! compared with 64 in vector registers.
//!
//! I1 A free slot stands in no list. I2 What a slot's number is shows nowhere outside.
//! I3 Only pairs that more than q / 2 list can keep a ready one back: it stands in q lists, and stands before the other in
//!    each of them that lacks the other. So what fewer list is not looked at for that, however much of it there is.
//!
//! Cost: a hash and O(1) to find, insert and remove; a pair takes 4 n bytes for its places, about 80 for the rest.

use hashbrown::HashTable;

use super::bits::Bits;
use super::compare::{ABSENT, Lanes, contrary_min, precedes, strong};
use super::params::FairParams;
use crate::types::{AUTHORITIES_MAX, AuthoritySet, Digest, Entry};

/// A pair that some committed list holds and that is neither emitted nor dropped.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    /// The pair.
    pub(super) entry: Entry,
    /// Who has listed it.
    pub(super) listed_by: AuthoritySet,
    /// Anchors at which it was ready and not emitted.
    pub(super) deferred: u32,
    /// The deferral cap fired while waiting for this one: it blocks nobody until it is ready.
    pub(super) is_overlooked: bool,
    /// Its place in the order of arrival.
    pub(super) arrived: u32,
    /// The slot that kept this one back when last asked; a guess where to look first.
    kept_back_by: u32,
}

/// Pending pairs by slot.
#[derive(Clone, Debug)]
pub(super) struct Table {
    authorities: usize,
    quorum: u32,
    pairs: Vec<Pending>,
    /// For each block of 64 slots a row a list.
    places: Vec<Lanes>,
    index: HashTable<u32>,
    free: Vec<u32>,
    taken: Bits,
    ready: Bits,
    /// Those that may keep ready ones back: unready, not overlooked, listed by more than q / 2.
    blocking: Bits,
    /// For each block and list, the first place among its blocking ones; right where `is_stale` is not set.
    firsts: Vec<u32>,
    is_stale: Vec<bool>,
}

impl Table {
    /// Nothing pending.
    pub(super) fn new(params: FairParams) -> Self {
        Self {
            authorities: params.authorities() as usize,
            quorum: params.quorum(),
            pairs: Vec::new(),
            places: Vec::new(),
            index: HashTable::new(),
            free: Vec::new(),
            taken: Bits::default(),
            ready: Bits::default(),
            blocking: Bits::default(),
            firsts: Vec::new(),
            is_stale: Vec::new(),
        }
    }

    /// How many are pending.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// The slot of `entry`.
    pub(super) fn find(&self, entry: &Entry) -> Option<u32> {
        let is_it = |slot: &u32| self.pairs[*slot as usize].entry == *entry;
        self.index.find(hash_of(entry), is_it).copied()
    }

    /// Gives `entry`, which is not pending, a slot.
    pub(super) fn insert(&mut self, entry: Entry, arrived: impl FnOnce(u32) -> u32) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| self.grow());
        self.pairs[slot as usize] = Pending {
            arrived: arrived(slot),
            ..vacant(entry)
        };
        self.taken.insert(slot as usize);
        let pairs = &self.pairs;
        let rehash = |slot: &u32| hash_of(&pairs[*slot as usize].entry);
        self.index.insert_unique(hash_of(&entry), slot, rehash);
        slot
    }

    /// Frees `slot`.
    pub(super) fn remove(&mut self, slot: u32) {
        let hash = hash_of(&self.pairs[slot as usize].entry);
        let found = self.index.find_entry(hash, |other| *other == slot);
        found.expect("what is taken out is pending").remove();
        for list in 0..self.authorities {
            self.set_place(slot, list, ABSENT);
        }
        self.set_blocking(slot, false);
        self.taken.remove(slot as usize);
        self.ready.remove(slot as usize);
        self.free.push(slot);
    }

    /// The pair in `slot`.
    pub(super) fn pair(&self, slot: u32) -> &Pending {
        &self.pairs[slot as usize]
    }

    /// Counts an anchor that left the pair in `slot` waiting.
    pub(super) fn defer(&mut self, slot: u32) {
        let pair = &mut self.pairs[slot as usize];
        pair.deferred = pair.deferred.saturating_add(1);
    }

    /// Sets how long the pair has waited and whether it is overlooked, as a state says.
    pub(super) fn restore(&mut self, slot: u32, deferred: u32, is_overlooked: bool) {
        let pair = &mut self.pairs[slot as usize];
        (pair.deferred, pair.is_overlooked) = (deferred, is_overlooked);
    }

    /// The pair moved to another place in the order of arrival.
    pub(super) fn set_arrived(&mut self, slot: u32, arrived: u32) {
        self.pairs[slot as usize].arrived = arrived;
    }

    /// From now on the pair blocks nobody until it is ready.
    pub(super) fn overlook(&mut self, slot: u32) {
        self.pairs[slot as usize].is_overlooked = true;
        self.set_blocking(slot, false);
    }

    /// Notes one more listing of `slot`; whether it is ready by that, or was. `least` is q, save under a mutant.
    pub(super) fn note_listing(&mut self, slot: u32, listed_by: AuthoritySet, least: u32) -> bool {
        let pair = &mut self.pairs[slot as usize];
        pair.listed_by = listed_by;
        let is_ready = listed_by.len() >= least;
        let may_block =
            !is_ready && !pair.is_overlooked && listed_by.len() >= blocking_min(self.quorum);
        if is_ready {
            self.ready.insert(slot as usize);
        }
        self.set_blocking(slot, may_block);
        is_ready
    }

    /// Where `slot` stands in `list`.
    pub(super) fn place(&self, slot: u32, list: usize) -> u32 {
        self.places[slot as usize / 64 * self.authorities + list][slot as usize % 64]
    }

    /// Sets where `slot` stands in `list`.
    pub(super) fn set_place(&mut self, slot: u32, list: usize, place: u32) {
        let block = slot as usize / 64;
        self.places[block * self.authorities + list][slot as usize % 64] = place;
        self.is_stale[block] |= self.blocking.contains(slot as usize);
    }

    /// Where `slot` stands in every list.
    pub(super) fn places(&self, slot: u32) -> [u32; AUTHORITIES_MAX] {
        let mut own = [ABSENT; AUTHORITIES_MAX];
        let block = &self.places[slot as usize / 64 * self.authorities..][..self.authorities];
        for (own, row) in own.iter_mut().zip(block) {
            *own = row[slot as usize % 64];
        }
        own
    }

    /// The slots that are taken.
    pub(super) const fn taken(&self) -> &Bits {
        &self.taken
    }

    /// The slots of ready pairs. Listings only grow, so a pair once ready stays ready.
    pub(super) const fn ready(&self) -> &Bits {
        &self.ready
    }

    /// Who of the 64 slots of `block` strongly precedes the pair with `own` places.
    fn predecessors(&self, own: &[u32], block: usize) -> u64 {
        let rows = &self.places[block * self.authorities..][..self.authorities];
        strong(own, rows, self.quorum).1
    }

    /// The pairs in `slots`, and all that strongly precede them, directly or through others; slots.
    ///
    /// A comparison in full with every block for each that is found.
    pub(super) fn with_ancestors(&self, slots: &[u32]) -> Bits {
        let mut found = self.none();
        slots.iter().for_each(|slot| found.insert(*slot as usize));
        let mut left = slots.to_vec();
        while let Some(slot) = left.pop() {
            let own = &self.places(slot)[..self.authorities];
            for block in 0..self.is_stale.len() {
                let mut fresh = self.predecessors(own, block) & !found.words()[block];
                found.fill(block, fresh);
                while fresh != 0 {
                    left.push((block * 64) as u32 + fresh.trailing_zeros());
                    fresh &= fresh - 1;
                }
            }
        }
        found
    }

    /// No slot.
    pub(super) fn none(&self) -> Bits {
        Bits::empty(self.pairs.len())
    }

    /// Where the first blocking ones stand, over all of them: list by list, absent where there are none.
    pub(super) fn first_blocking(&mut self) -> [u32; AUTHORITIES_MAX] {
        let mut first = [ABSENT; AUTHORITIES_MAX];
        for block in 0..self.is_stale.len() {
            if self.blocking.words()[block] == 0 {
                continue;
            }
            if std::mem::take(&mut self.is_stale[block]) {
                self.look_for_firsts(block);
            }
            let firsts = &self.firsts[block * self.authorities..][..self.authorities];
            for (first, other) in first.iter_mut().zip(firsts) {
                *first = (*first).min(*other);
            }
        }
        first
    }

    /// Whether a blocking pair strongly precedes the one in `slot`. `first` is [`Table::first_blocking`].
    ///
    /// O(n) where its last blocker still is one, or where it stands before all blocking ones in q / 2 lists; else a
    /// comparison of n places for each block with blocking ones, and one in full where that does not decide.
    pub(super) fn is_kept_back(&mut self, slot: u32, first: &[u32; AUTHORITIES_MAX]) -> bool {
        let own = &self.places(slot)[..self.authorities];
        let contrary = |firsts: &[u32]| {
            let before = own.iter().zip(firsts).filter(|(own, first)| own < first);
            before.count() as u32 >= contrary_min(self.quorum)
        };
        if contrary(first) {
            return false;
        }
        let guess = self.pairs[slot as usize].kept_back_by;
        if self.blocking.has(guess as usize) {
            let its = &self.places(guess)[..self.authorities];
            if precedes(its, own, self.quorum) {
                return true;
            }
        }
        let blocks = self.blocking.words().iter().enumerate();
        for (block, word) in blocks.filter(|(_, word)| **word != 0) {
            if contrary(&self.firsts[block * self.authorities..][..self.authorities]) {
                continue;
            }
            let found = self.predecessors(own, block) & word;
            if found != 0 {
                let blocker = block * 64 + found.trailing_zeros() as usize;
                self.pairs[slot as usize].kept_back_by = blocker as u32;
                return true;
            }
        }
        false
    }

    fn look_for_firsts(&mut self, block: usize) {
        let word = self.blocking.words()[block];
        let rows = &self.places[block * self.authorities..][..self.authorities];
        let firsts = &mut self.firsts[block * self.authorities..][..self.authorities];
        for (first, row) in firsts.iter_mut().zip(rows) {
            let lanes = super::bits::ones(std::iter::once(word)).map(|lane| row[lane]);
            *first = lanes.min().unwrap_or(ABSENT);
        }
    }

    fn set_blocking(&mut self, slot: u32, is_blocking: bool) {
        let slot = slot as usize;
        if is_blocking || self.blocking.contains(slot) {
            self.is_stale[slot / 64] = true;
            match is_blocking {
                true => self.blocking.insert(slot),
                false => self.blocking.remove(slot),
            }
        }
    }

    /// A block of slots more; gives its first, the others are free.
    fn grow(&mut self) -> u32 {
        let slots = self.pairs.len();
        let first = u32::try_from(slots).expect("expiry keeps far fewer than 2^32 pending");
        let none = Entry {
            digest: Digest::default(),
            valid_until: Default::default(),
        };
        self.pairs.resize(slots + 64, vacant(none));
        let rows = self.places.len() + self.authorities;
        self.places.resize(rows, [ABSENT; 64]);
        self.firsts.resize(rows, ABSENT);
        self.is_stale.push(false);
        for set in [&mut self.taken, &mut self.ready, &mut self.blocking] {
            set.extend(slots + 64);
        }
        self.free.extend((first + 1..first + 64).rev());
        first
    }
}

const fn vacant(entry: Entry) -> Pending {
    Pending {
        entry,
        listed_by: AuthoritySet::EMPTY,
        deferred: 0,
        is_overlooked: false,
        arrived: 0,
        kept_back_by: u32::MAX,
    }
}

/// So many list what can keep a ready pair back: q - ceil(q / 2) + 1.
const fn blocking_min(quorum: u32) -> u32 {
    quorum - contrary_min(quorum) + 1
}

/// Spreads pairs over the index, by eight bytes of a hash; several expiries of one digest, which only a liar makes, too.
///
/// A client that grinds digests into one of 2^17 buckets pays 2^17 hashes an envelope for a probe of a 16th of a group.
pub(super) fn hash_of(entry: &Entry) -> u64 {
    let (eight, _) = entry.digest.0.as_chunks::<8>();
    let expiry = entry.valid_until.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    u64::from_le_bytes(eight[0]) ^ expiry.rotate_left(32) ^ expiry
}

#[cfg(test)]
mod tests {
    use super::super::compare::is_strong;
    use super::*;
    use crate::types::{AuthorityIndex, TimestampUs};

    #[test]
    fn what_half_a_quorum_lists_keeps_no_ready_pair_back_and_what_more_list_may() {
        for n in 1..=40u32 {
            for quorum in (n - (n - 1) / 3)..=n {
                let keeps_back = |listed: u32, ready: u32| {
                    // The ready one stands before the other in every list that lacks the other.
                    let behind_least = ready.saturating_sub(listed);
                    (0..=listed).any(|ahead| {
                        (behind_least..=ready).any(|behind| is_strong(ahead, behind, quorum))
                    })
                };
                for listed in 0..quorum {
                    let ever = (quorum..=n).any(|ready| keeps_back(listed, ready));
                    assert_eq!(
                        ever,
                        listed >= blocking_min(quorum),
                        "n={n} q={quorum} {listed}"
                    );
                }
            }
        }
    }

    fn pair(id: u8) -> Entry {
        Entry {
            digest: Digest([id; 32]),
            valid_until: TimestampUs(u64::from(id)),
        }
    }

    /// Lists `slot` at these places, one an authority, as far as they are not absent.
    fn list(table: &mut Table, slot: u32, places: &[u32]) {
        let mut listed_by = AuthoritySet::EMPTY;
        for (at, place) in places
            .iter()
            .enumerate()
            .filter(|(_, place)| **place != ABSENT)
        {
            listed_by.insert(AuthorityIndex(at as u8));
            table.set_place(slot, at, *place);
            table.note_listing(slot, listed_by, table.quorum);
        }
    }

    fn is_kept_back(table: &mut Table, slot: u32) -> bool {
        let first = table.first_blocking();
        table.is_kept_back(slot, &first)
    }

    #[test]
    fn who_keeps_a_pair_back_is_found_in_any_block_and_forgotten_when_it_goes() {
        let mut table = Table::new(FairParams::new(5, 1, 64).unwrap());
        let slots: Vec<u32> = (0..200)
            .map(|id| table.insert(pair(id), |slot| slot))
            .collect();
        // All but two are listed by two: they stand before, and keep nobody back.
        for slot in &slots[..198] {
            list(&mut table, *slot, &[*slot, *slot, ABSENT, ABSENT, ABSENT]);
        }
        let (ready, blocker) = (slots[198], slots[199]);
        list(&mut table, ready, &[500, 500, 500, 500, ABSENT]);
        assert!(!is_kept_back(&mut table, ready));
        list(&mut table, blocker, &[400, 400, 400, ABSENT, ABSENT]);
        assert!(is_kept_back(&mut table, ready));
        assert!(is_kept_back(&mut table, ready), "asked again");
        table.set_place(blocker, 2, 600);
        assert!(!is_kept_back(&mut table, ready), "2 : 2");
        table.set_place(blocker, 2, 400);
        assert!(is_kept_back(&mut table, ready));
        table.overlook(blocker);
        assert!(!is_kept_back(&mut table, ready));
        // Another pair takes the slot of one that went; the guess must not outlive it.
        table.remove(blocker);
        assert_eq!(table.insert(pair(201), |slot| slot), blocker);
        assert!(!is_kept_back(&mut table, ready));
        assert_eq!(
            (table.find(&pair(199)), table.find(&pair(201))),
            (None, Some(blocker))
        );
    }
}
