//! The way into the core stage: the ring, and in front of it what authorities sent while it was full.

use std::collections::VecDeque;

use fairlane_engine::types::AuthorityIndex;

use crate::stage::messages::ToCore;

/// Authorities' messages that wait for room in the ring to the core stage.
pub const BACKLOG_MAX: usize = 16_384;
/// Of these, one authority's.
pub const BACKLOG_A_PEER_MAX: usize = 4_096;

/// Messages to the core stage, in the order in which they came.
pub struct CoreQueue {
    ring: rtrb::Producer<ToCore>,
    backlog: VecDeque<ToCore>,
    /// How many of the backlog are each authority's messages, by index.
    waiting: Vec<usize>,
}

impl CoreQueue {
    /// Nothing waits.
    pub fn new(ring: rtrb::Producer<ToCore>, authorities: usize) -> Self {
        Self {
            ring,
            backlog: VecDeque::new(),
            waiting: vec![0; authorities],
        }
    }

    /// Whether messages wait for room in the ring.
    pub fn is_backlogged(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Hands over what its sender may try again: false when there is no room at once.
    pub fn try_hand_over(&mut self, message: ToCore) -> bool {
        self.backlog.is_empty() && self.ring.push(message).is_ok()
    }

    /// Hands a message over, behind those that already wait. For what happens to connections: bounded by their number.
    pub fn hand_over(&mut self, message: ToCore) {
        if !self.backlog.is_empty() {
            self.wait(message);
        } else if let Err(rtrb::PushError::Full(message)) = self.ring.push(message) {
            self.wait(message);
        }
    }

    /// Hands over what an authority sent; gives the authority that has too much waiting, to be cut.
    pub fn hand_over_from(
        &mut self,
        from: AuthorityIndex,
        kind: u8,
        body: Vec<u8>,
    ) -> Option<AuthorityIndex> {
        self.hand_over(ToCore::Peer { from, kind, body });
        if self.waiting[from.as_usize()] > BACKLOG_A_PEER_MAX {
            return Some(from);
        }
        if self.backlog.len() <= BACKLOG_MAX {
            return None;
        }
        let most = (0..self.waiting.len()).max_by_key(|index| self.waiting[*index]);
        most.map(|index| AuthorityIndex(index as u8))
    }

    /// Hands on what waited, as far as there is room.
    pub fn hand_over_backlog(&mut self) {
        while let Some(message) = self.backlog.pop_front() {
            let from = sender_of(&message);
            if let Err(rtrb::PushError::Full(message)) = self.ring.push(message) {
                self.backlog.push_front(message);
                return;
            }
            if let Some(from) = from {
                self.waiting[from] -= 1;
            }
        }
    }

    fn wait(&mut self, message: ToCore) {
        if let Some(from) = sender_of(&message) {
            self.waiting[from] += 1;
        }
        self.backlog.push_back(message);
    }
}

fn sender_of(message: &ToCore) -> Option<usize> {
    match message {
        ToCore::Peer { from, .. } => Some(from.as_usize()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(depth: usize) -> (CoreQueue, rtrb::Consumer<ToCore>) {
        let (ring, out) = rtrb::RingBuffer::new(depth);
        (CoreQueue::new(ring, 8), out)
    }

    fn flood(queue: &mut CoreQueue, from: u8, count: usize) -> Option<AuthorityIndex> {
        let from = AuthorityIndex(from);
        let sends = (0..count).map(|_| queue.hand_over_from(from, 0x42, Vec::new()));
        sends.last().flatten()
    }

    #[test]
    fn an_authority_that_floods_is_named_before_it_takes_the_room_of_the_others() {
        let (mut queue, _out) = queue(1);
        assert_eq!(flood(&mut queue, 1, 1 + BACKLOG_A_PEER_MAX), None);
        assert_eq!(flood(&mut queue, 2, 100), None);
        assert_eq!(flood(&mut queue, 1, 1), Some(AuthorityIndex(1)));
        assert_eq!(flood(&mut queue, 2, 1), None);
    }

    #[test]
    fn when_all_together_send_too_much_the_one_with_most_is_named() {
        let (mut queue, _out) = queue(1);
        flood(&mut queue, 0, 1);
        let each = BACKLOG_MAX / 6;
        for from in 1..7 {
            assert_eq!(flood(&mut queue, from, each + usize::from(from == 3)), None);
        }
        let rest = BACKLOG_MAX - 6 * each;
        assert_eq!(flood(&mut queue, 0, rest), Some(AuthorityIndex(3)));
    }

    #[test]
    fn what_waited_goes_first_and_a_submission_does_not_overtake_it() {
        let (mut queue, mut out) = queue(1);
        flood(&mut queue, 1, 1);
        queue.hand_over(ToCore::PeerDown {
            peer: AuthorityIndex(1),
        });
        flood(&mut queue, 2, 1);
        assert!(matches!(out.pop(), Ok(ToCore::Peer { .. })));
        assert!(!queue.try_hand_over(ToCore::ClientDown { connection: 1 }));
        queue.hand_over_backlog();
        assert!(matches!(out.pop(), Ok(ToCore::PeerDown { .. })));
        queue.hand_over_backlog();
        assert!(matches!(out.pop(), Ok(ToCore::Peer { .. })));
        assert!(!queue.is_backlogged());
        assert!(queue.try_hand_over(ToCore::ClientDown { connection: 1 }));
        assert_eq!(queue.waiting, [0; 8]);
    }
}
