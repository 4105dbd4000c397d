//! The own local order: what was accepted, in the order it was accepted, and how far own vertices have listed it.
//!
//! I1: a position is given once and in order. I2: an entry leaves `unlisted` only into an own vertex; if that vertex is
//! left out of every sub-DAG (it fell below the floor), its entries come back and are listed again at new positions.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::types::{Digest, Entry, Position, Round};

/// One authority's receive order, from the first unlisted entry on.
#[derive(Debug, Default)]
pub struct LocalOrder {
    unlisted: VecDeque<Entry>,
    /// Position of the first unlisted entry.
    next_position: Position,
    /// Entries of own vertices that no committed sub-DAG holds yet, by round.
    uncommitted: BTreeMap<Round, Vec<Entry>>,
}

impl LocalOrder {
    /// Gives `entry` the next position.
    pub fn append(&mut self, entry: Entry) {
        self.unlisted.push_back(entry);
    }

    /// How many accepted entries no own vertex lists yet.
    pub fn unlisted_len(&self) -> usize {
        self.unlisted.len()
    }

    /// How many own vertices with entries no committed sub-DAG holds yet.
    pub fn uncommitted_len(&self) -> usize {
        self.uncommitted.len()
    }

    /// Takes the next entries, at most `entries_max`, for the own vertex of `round`; with the first one's position.
    pub fn list(&mut self, round: Round, entries_max: u32) -> (Position, Vec<Entry>) {
        let count = self.unlisted.len().min(entries_max as usize);
        let entries: Vec<Entry> = self.unlisted.drain(..count).collect();
        let first = self.next_position;
        self.next_position = Position(first.0 + entries.len() as u64);
        if !entries.is_empty() {
            self.uncommitted.insert(round, entries.clone());
        }
        (first, entries)
    }

    /// An own vertex from the durable records listed `entries`, the first at `first`: they are taken as listed.
    ///
    /// They stand at the front, except where entries came back from below the floor: so O(entries) as a rule.
    pub fn relist(&mut self, round: Round, first: Position, entries: &[Entry]) {
        for entry in entries {
            if let Some(at) = self.unlisted.iter().position(|unlisted| unlisted == entry) {
                self.unlisted.remove(at);
            }
        }
        self.resume(Position(first.0 + entries.len() as u64));
        if !entries.is_empty() {
            self.uncommitted.insert(round, entries.to_vec());
        }
    }

    /// Positions go on at `next`, or where they had got to if that is further.
    pub fn resume(&mut self, next: Position) {
        self.next_position = self.next_position.max(next);
    }

    /// The accepted entries that no own vertex lists yet, in order.
    pub fn unlisted(&self) -> impl Iterator<Item = &Entry> {
        self.unlisted.iter()
    }

    /// Whether no own vertex lists it yet. O(unlisted).
    pub fn is_unlisted(&self, entry: &Entry) -> bool {
        self.unlisted.contains(entry)
    }

    /// The own vertex of `round` is in a committed sub-DAG.
    pub fn on_committed(&mut self, round: Round) {
        self.uncommitted.remove(&round);
    }

    /// No further sub-DAG takes in vertices of round <= `floor`: what they listed is unlisted again. Gives how many.
    pub fn on_floor(&mut self, floor: Round) -> usize {
        let above = self.uncommitted.split_off(&floor.next());
        let below = std::mem::replace(&mut self.uncommitted, above);
        let before = self.unlisted.len();
        if below.is_empty() {
            return 0;
        }
        // One that was let go of and taken in again waits here already.
        let mut waiting: BTreeSet<Digest> =
            self.unlisted.iter().map(|entry| entry.digest).collect();
        let again = below.into_values().flatten();
        self.unlisted
            .extend(again.filter(|entry| waiting.insert(entry.digest)));
        self.unlisted.len() - before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::TimestampUs;

    fn entry(id: u8) -> Entry {
        Entry {
            digest: Digest([id; 32]),
            valid_until: TimestampUs(9),
        }
    }

    #[test]
    fn positions_run_on_from_vertex_to_vertex() {
        let mut order = LocalOrder::default();
        (1..=5).for_each(|id| order.append(entry(id)));
        assert_eq!(
            order.list(Round(1), 2),
            (Position(0), vec![entry(1), entry(2)])
        );
        assert_eq!(
            order.list(Round(2), 9),
            (Position(2), vec![entry(3), entry(4), entry(5)])
        );
        assert_eq!(order.list(Round(3), 9), (Position(5), vec![]));
    }

    #[test]
    fn entries_of_a_vertex_left_out_are_listed_again_at_new_positions() {
        let mut order = LocalOrder::default();
        (1..=3).for_each(|id| order.append(entry(id)));
        order.list(Round(1), 1);
        order.list(Round(2), 1);
        order.on_committed(Round(2));
        assert_eq!(order.on_floor(Round(2)), 1);
        assert_eq!(
            order.list(Round(3), 9),
            (Position(2), vec![entry(3), entry(1)])
        );
        assert_eq!(order.on_floor(Round(2)), 0, "it comes back once");
    }

    #[test]
    fn what_comes_back_and_was_taken_in_again_is_listed_once() {
        let mut local = LocalOrder::default();
        for id in [1, 2] {
            local.append(entry(id));
        }
        local.list(Round(3), 2);
        local.append(entry(2));
        assert!(local.is_unlisted(&entry(2)) && !local.is_unlisted(&entry(1)));
        assert_eq!(local.on_floor(Round(3)), 1);
        let (_, listed) = local.list(Round(9), 8);
        assert_eq!(listed, [entry(2), entry(1)]);
    }
}
