//! What is still to happen, in order of virtual time; what falls on one microsecond happens in the order it was planned.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// A queue of happenings of kind `E`.
pub(crate) struct Queue<E> {
    heap: BinaryHeap<Planned<E>>,
    serial: u64,
}

struct Planned<E> {
    at_us: u64,
    serial: u64,
    event: E,
}

impl<E> Queue<E> {
    /// Nothing planned.
    pub(crate) const fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
            serial: 0,
        }
    }

    /// Plans `event` for `at_us`.
    pub(crate) fn plan(&mut self, at_us: u64, event: E) {
        self.serial += 1;
        self.heap.push(Planned {
            at_us,
            serial: self.serial,
            event,
        });
    }

    /// Takes the next one, with its time.
    pub(crate) fn pop(&mut self) -> Option<(u64, E)> {
        let planned = self.heap.pop()?;
        Some((planned.at_us, planned.event))
    }
}

impl<E> PartialEq for Planned<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Planned<E> {}

impl<E> PartialOrd for Planned<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Planned<E> {
    // The heap gives its greatest first, so earlier is greater.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at_us, other.serial).cmp(&(self.at_us, self.serial))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earlier_first_and_of_equals_the_one_planned_first() {
        let mut queue = Queue::new();
        for (at, name) in [(5, 'c'), (1, 'a'), (5, 'd'), (2, 'b')] {
            queue.plan(at, name);
        }
        let order: String = std::iter::from_fn(|| queue.pop().map(|(_, name)| name)).collect();
        assert_eq!(order, "abcd");
    }
}
