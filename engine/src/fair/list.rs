//! A committed local order as far as it is pending: what was appended, less what has left, with ranks at one look.
//!
//! A *place* is where something was appended; it stays until the list is compacted. A rank counts what is still there
//! before a place: a bit a place, and how many bits are set before each word of them.
//!
//! I1 Ranks ascend with places, so either compares two pairs of one list alike.
//! I2 At most `2 len + PLACES_IDLE_MAX` places after [`List::compact_if_sparse`].
//!
//! Cost: O(1) to append, to take out and, amortized, to compact; counting anew costs a word for each 64 places behind the
//! first change since it was counted last, so what waits in front of it costs nothing. No allocation once grown.

/// Slots in order of their appending.
#[derive(Clone, Debug, Default)]
pub(super) struct List {
    slots: Vec<u32>,
    present: Vec<u64>,
    /// How many are present before each word, right for the words up to `counted`.
    before: Vec<u32>,
    counted: usize,
    len: usize,
}

impl List {
    /// Appends `slot`; gives its place.
    pub(super) fn push(&mut self, slot: u32) -> u32 {
        let place = self.slots.len();
        if place.is_multiple_of(64) {
            self.present.push(0);
        }
        self.present[place / 64] |= 1 << (place % 64);
        self.slots.push(slot);
        self.len += 1;
        u32::try_from(place).expect("expiry keeps far fewer than 2^32 pending")
    }

    /// Takes out what stands at `place`.
    pub(super) fn remove(&mut self, place: u32) {
        let (word, bit) = (place as usize / 64, 1 << (place % 64));
        assert_ne!(self.present[word] & bit, 0, "something stands there");
        self.present[word] &= !bit;
        self.counted = self.counted.min(word);
        self.len -= 1;
    }

    /// Makes [`List::rank`] right.
    pub(super) fn count(&mut self) {
        self.before.resize(self.present.len(), 0);
        for word in self.counted + 1..self.present.len() {
            self.before[word] = self.before[word - 1] + self.present[word - 1].count_ones();
        }
        self.counted = self.present.len().saturating_sub(1);
    }

    /// How many stand before `place`, since [`List::count`].
    pub(super) fn rank(&self, place: u32) -> u32 {
        let word = place as usize / 64;
        let lower = (1 << (place % 64)) - 1;
        self.before[word] + (self.present[word] & lower).count_ones()
    }

    /// How many are left.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// The slots that are left, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        super::bits::ones(self.present.iter().copied()).map(|place| self.slots[place])
    }

    /// Closes the gaps if there are more of them than slots; tells `moved` the slot at each new place.
    pub(super) fn compact_if_sparse(&mut self, mut moved: impl FnMut(u32, u32)) {
        if self.slots.len() <= 2 * self.len + PLACES_IDLE_MAX {
            return;
        }
        let mut kept = 0;
        for word in 0..self.present.len() {
            let mut left = std::mem::take(&mut self.present[word]);
            while left != 0 {
                let slot = self.slots[word * 64 + left.trailing_zeros() as usize];
                left &= left - 1;
                self.slots[kept] = slot;
                moved(slot, kept as u32);
                kept += 1;
            }
        }
        assert_eq!(kept, self.len, "a bit a slot");
        self.slots.truncate(kept);
        self.present.truncate(kept.div_ceil(64));
        self.present.fill(u64::MAX);
        if let Some(last) = self.present.last_mut() {
            *last >>= (64 - kept % 64) % 64;
        }
        self.before.truncate(self.present.len());
        self.counted = 0;
    }
}

/// Places that a list may hold beyond twice what is left in it.
pub(super) const PLACES_IDLE_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_count_what_is_left_before_a_place() {
        let mut list = List::default();
        let places: Vec<u32> = (0..300).map(|slot| list.push(slot)).collect();
        for slot in (0..300).filter(|slot| slot % 3 == 0) {
            list.remove(places[slot]);
        }
        list.count();
        for (rank, slot) in list.iter().collect::<Vec<_>>().into_iter().enumerate() {
            assert_eq!(list.rank(places[slot as usize]), rank as u32);
        }
        // A change in the middle, appended ones behind it, counted again.
        list.remove(places[130]);
        let last = list.push(300);
        list.count();
        assert_eq!(list.rank(last) as usize + 1, list.len());
    }

    #[test]
    fn compaction_keeps_the_order_and_tells_every_new_place() {
        for keep_one_in in [3, 64, 1_000_000] {
            let mut list = List::default();
            let mut places: Vec<u32> = (0..5000).map(|slot| list.push(slot)).collect();
            for (slot, place) in places.iter().enumerate() {
                if slot % keep_one_in != 1 {
                    list.remove(*place);
                }
            }
            let before: Vec<u32> = list.iter().collect();
            let mut moved = 0;
            list.compact_if_sparse(|slot, place| {
                places[slot as usize] = place;
                moved += 1;
            });
            assert_eq!((moved, list.slots.len()), (before.len(), before.len()));
            assert_eq!(list.iter().collect::<Vec<_>>(), before);
            list.push(9999);
            list.count();
            for (rank, slot) in before.iter().enumerate() {
                assert_eq!(list.rank(places[*slot as usize]), rank as u32);
            }
        }
    }
}
