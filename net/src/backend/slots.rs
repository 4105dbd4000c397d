//! A slab whose keys carry a generation: a key of a freed slot finds nothing, also after the slot is used again.
//!
//! Invariant: the generation of a slot grows with each removal (and wraps after 2^32 of them).

use super::{ConnId, SLOTS_MAX};

/// Values by [`ConnId`]. All calls are O(1); grows to the most values held at a time and stays there.
#[derive(Debug)]
pub(super) struct Slots<T> {
    entries: Vec<Entry<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Slots<T> {
    pub(super) fn new() -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Whether [`Self::insert`] would find a place.
    pub(super) fn has_room(&self) -> bool {
        !self.free.is_empty() || self.entries.len() < SLOTS_MAX as usize
    }

    /// Stores `value`; `None` when all 2^24 slots are taken.
    pub(super) fn insert(&mut self, value: T) -> Option<ConnId> {
        if let Some(slot) = self.free.pop() {
            let entry = &mut self.entries[slot as usize];
            entry.value = Some(value);
            return Some(ConnId {
                slot,
                generation: entry.generation,
            });
        }
        let slot = u32::try_from(self.entries.len()).ok()?;
        if slot >= SLOTS_MAX {
            return None;
        }
        self.entries.push(Entry {
            generation: 0,
            value: Some(value),
        });
        Some(ConnId {
            slot,
            generation: 0,
        })
    }

    pub(super) fn get(&self, id: ConnId) -> Option<&T> {
        let entry = self.entries.get(id.slot())?;
        if entry.generation != id.generation {
            return None;
        }
        entry.value.as_ref()
    }

    pub(super) fn get_mut(&mut self, id: ConnId) -> Option<&mut T> {
        let entry = self.entries.get_mut(id.slot())?;
        if entry.generation != id.generation {
            return None;
        }
        entry.value.as_mut()
    }

    /// Takes the value out; the id is dead from here on.
    pub(super) fn remove(&mut self, id: ConnId) -> Option<T> {
        let entry = self.entries.get_mut(id.slot())?;
        if entry.generation != id.generation {
            return None;
        }
        let value = entry.value.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(id.slot);
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_id_finds_nothing_in_a_slot_used_again() {
        let mut slots = Slots::new();
        let old = slots.insert('a').unwrap();
        assert_eq!(slots.remove(old), Some('a'));
        let new = slots.insert('b').unwrap();
        assert_eq!(new.slot(), old.slot());
        assert_ne!(new, old);
        assert_eq!(slots.get(old), None);
        assert_eq!(slots.get_mut(old), None);
        assert_eq!(slots.remove(old), None);
        assert_eq!(slots.get(new), Some(&'b'));
    }

    #[test]
    fn an_id_survives_the_trip_through_user_data() {
        let id = ConnId {
            slot: SLOTS_MAX - 1,
            generation: u32::MAX,
        };
        assert_eq!(ConnId::from_bits(id.to_bits()), id);
        assert_eq!(ConnId::from_bits(id.to_bits() | (0xff << 56)), id);
        assert!(id.to_bits() < 1 << 56);
    }
}
