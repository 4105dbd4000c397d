//! The way into the core stage: the ring, and in front of it what authorities sent while it was full.
//!
//! First come, first served, and still no client takes the whole ring: while k clients have submissions in it, each may have
//! as many as 1/(k + 1) of it, so there is room for one more. Who offers more than the node takes is told Busy; who offers
//! little is not, whatever the others do. (When a client joins, those before it may hold more than their new part until the
//! core has taken as much as the ring holds.)

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
    depth: usize,
    /// Whose each message in the ring is: a client's slot, or [`NO_CLIENT`].
    in_ring: VecDeque<u32>,
    /// How many submissions in the ring are each client's, by slot.
    submitted: Vec<usize>,
    /// How many clients have some.
    submitting: usize,
    /// How many submissions in the ring are anybody's.
    submissions: usize,
    backlog: VecDeque<ToCore>,
    /// How many of the backlog are each authority's messages, by index.
    waiting: Vec<usize>,
}

impl CoreQueue {
    /// Nothing waits.
    pub fn new(ring: rtrb::Producer<ToCore>, authorities: usize) -> Self {
        let depth = ring.buffer().capacity();
        Self {
            ring,
            depth,
            in_ring: VecDeque::with_capacity(depth),
            submitted: Vec::new(),
            submitting: 0,
            submissions: 0,
            backlog: VecDeque::new(),
            waiting: vec![0; authorities],
        }
    }

    /// Whether messages wait for room in the ring.
    pub fn is_backlogged(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Submissions that the core stage has not taken out of the ring, as of the last look.
    pub const fn submissions_len(&self) -> usize {
        self.submissions
    }

    /// Hands over a submission of the client in `slot`; false when there is no room for it now.
    pub fn try_submit(&mut self, slot: usize, submission: ToCore) -> bool {
        self.notice_taken();
        if self.submitted.len() <= slot {
            self.submitted.resize(slot + 1, 0);
        }
        let is_new = self.submitted[slot] == 0;
        let part = self.depth / (self.submitting + usize::from(is_new) + 1);
        let has_room = self.backlog.is_empty() && self.submitted[slot] < part.max(1);
        if !has_room || self.push(submission, slot as u32).is_err() {
            return false;
        }
        self.submitted[slot] += 1;
        self.submissions += 1;
        self.submitting += usize::from(is_new);
        true
    }

    /// Hands a message over, behind those that already wait. For what happens to connections: bounded by
    /// how fast these come and go, which is their stages' to bound.
    pub fn hand_over(&mut self, message: ToCore) {
        if !self.backlog.is_empty() {
            self.wait(message);
        } else if let Err(message) = self.push(message, NO_CLIENT) {
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
            if let Err(message) = self.push(message, NO_CLIENT) {
                self.backlog.push_front(message);
                return;
            }
            if let Some(from) = from {
                self.waiting[from] -= 1;
            }
        }
    }

    /// Puts a message into the ring; gives it back when that is full.
    fn push(&mut self, message: ToCore, of: u32) -> Result<(), ToCore> {
        let pushed = self.ring.push(message);
        pushed.map_err(|rtrb::PushError::Full(message)| message)?;
        if self.in_ring.len() == self.depth {
            // There was room, so the core has taken some since the last look.
            self.notice_taken();
        }
        self.in_ring.push_back(of);
        Ok(())
    }

    /// Follows what the core stage has taken out of the ring since the last look.
    fn notice_taken(&mut self) {
        let left = self.depth - self.ring.slots();
        while self.in_ring.len() > left {
            let Some(of) = self.in_ring.pop_front() else {
                return;
            };
            if let Some(count) = self.submitted.get_mut(of as usize) {
                *count -= 1;
                self.submissions -= 1;
                self.submitting -= usize::from(*count == 0);
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

/// No connection has this slot.
const NO_CLIENT: u32 = u32::MAX;

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

    fn submission() -> ToCore {
        ToCore::Submit {
            connection: 1,
            tag: 0,
            bytes: std::sync::Arc::from(&b""[..]),
        }
    }

    #[test]
    fn a_client_that_offers_little_is_never_refused_whatever_the_others_offer() {
        let (mut queue, mut out) = queue(64);
        let (mut greedy_taken, mut greedy_refused) = ([0; 3], 0);
        for turn in 0..10_000 {
            for step in 0..60 {
                let greedy = (turn + step) % 3;
                match queue.try_submit(10 + greedy, submission()) {
                    true => greedy_taken[greedy] += 1,
                    false => greedy_refused += 1,
                }
            }
            // The core takes a sixth of what is offered, and a message of an authority comes between.
            for _ in 0..10 {
                out.pop().unwrap();
            }
            queue.hand_over(ToCore::PeerUp {
                peer: AuthorityIndex(0),
            });
            let modest = queue.try_submit(3, submission());
            // The first turns fill the ring before all of them are known.
            assert!(modest || turn < 10, "refused in turn {turn}");
        }
        assert!(greedy_refused > 400_000);
        let (least, most) = (greedy_taken.iter().min(), greedy_taken.iter().max());
        let (least, most) = (*least.unwrap(), *most.unwrap());
        assert!(
            least * 10 >= most * 9,
            "between themselves: {greedy_taken:?}"
        );
        assert!(!queue.is_backlogged());
    }

    #[test]
    fn one_client_takes_half_of_the_ring_and_what_the_core_takes_is_free_again() {
        let (mut queue, mut out) = queue(64);
        let fill = |queue: &mut CoreQueue, slot| {
            let sends = (0..100).filter(|_| queue.try_submit(slot, submission()));
            sends.count()
        };
        assert_eq!(fill(&mut queue, 5), 32);
        assert_eq!(fill(&mut queue, 6), 21);
        while out.pop().is_ok() {}
        assert_eq!(fill(&mut queue, 6), 32);
        queue.notice_taken();
        assert_eq!((queue.submitting, queue.submitted[5]), (1, 0));
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
        assert!(!queue.try_submit(1, submission()));
        queue.hand_over_backlog();
        assert!(matches!(out.pop(), Ok(ToCore::PeerDown { .. })));
        queue.hand_over_backlog();
        assert!(matches!(out.pop(), Ok(ToCore::Peer { .. })));
        assert!(!queue.is_backlogged());
        assert!(queue.try_submit(1, submission()));
        assert!(!queue.try_submit(2, submission()), "the ring is full");
        assert_eq!(queue.waiting, [0; 8]);
    }
}
