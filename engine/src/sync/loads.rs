//! Settled batches that are in memory no more and are read from the disk for peers that ask for them.
//!
//! The engine asks its shell for one item at a time and peer, in turn, and the shell answers; see
//! [`crate::effect::Effect::Load`]. What was read is kept for a while, because a long item is asked for part by part.
//!
//! I1: at most [`LOADS_MAX`] items are being read; of each peer at most [`LOADS_A_PEER_MAX`] wait, so none can keep
//! another from being served. I2: what was read takes at most [`LOADED_KEPT_MAX`] places and [`LOADED_KEPT_BYTES_MAX`]
//! bytes, give or take one item; the longest unused goes first. I3: every request that is taken is answered once, if the
//! shell answers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::part::{HEADERS_MAX, Item, WantPart};
use crate::batch::header::HEADER_LEN;
use crate::effect::{Record, archive_of_batch, header_of_batch};
use crate::types::AuthorityIndex;

/// Items read from the disk at a time.
pub const LOADS_MAX: usize = 4;
/// Items of one peer that wait for the disk.
pub const LOADS_A_PEER_MAX: usize = 8;
/// Items kept that were read.
pub const LOADED_KEPT_MAX: usize = 64;
/// And bytes of them.
pub const LOADED_KEPT_BYTES_MAX: usize = 16 << 20;

/// What is read, and for whom.
#[derive(Debug, Default)]
pub struct Loads {
    under_way: BTreeSet<Item>,
    /// By peer, in order of asking; of one item the newest request of a peer.
    waiting: BTreeMap<AuthorityIndex, VecDeque<WantPart>>,
    /// Whose request was taken last.
    last_served: AuthorityIndex,
    /// The longest unused first.
    kept: VecDeque<(Item, Arc<[u8]>)>,
    kept_bytes: usize,
}

impl Loads {
    /// An item that was read before and is still here.
    pub fn find(&mut self, item: Item) -> Option<Arc<[u8]>> {
        let at = self.kept.iter().position(|(kept, _)| *kept == item)?;
        let found = self.kept.remove(at)?;
        let bytes = found.1.clone();
        self.kept.push_back(found);
        Some(bytes)
    }

    /// Has an item read for a peer. False when too many wait for it.
    pub fn want(&mut self, from: AuthorityIndex, want: WantPart) -> bool {
        let waiting = self.waiting.entry(from).or_default();
        if let Some(before) = waiting.iter_mut().find(|before| before.item == want.item) {
            *before = want;
            return true;
        }
        if waiting.len() >= LOADS_A_PEER_MAX {
            return false;
        }
        waiting.push_back(want);
        true
    }

    /// What the shell is to read now: the peers have their turns.
    pub fn take_due(&mut self) -> Vec<Item> {
        let mut due = Vec::new();
        while self.under_way.len() < LOADS_MAX
            && let Some((peer, item)) = self.next()
        {
            self.last_served = peer;
            self.under_way.insert(item);
            due.push(item);
        }
        due
    }

    /// The next peer in turn of whose items none is being read, and its first.
    fn next(&self) -> Option<(AuthorityIndex, Item)> {
        let (upto, behind): (Vec<_>, Vec<_>) = self
            .waiting
            .iter()
            .partition(|(peer, _)| **peer <= self.last_served);
        let mut in_turn = behind.into_iter().chain(upto);
        in_turn.find_map(|(peer, wants)| {
            let first = wants.front()?;
            let is_served = wants.iter().any(|want| self.under_way.contains(&want.item));
            (!is_served).then_some((*peer, first.item))
        })
    }

    /// The shell has read an item, or has not got it; gives who is to be answered.
    pub fn on_loaded(
        &mut self,
        item: Item,
        bytes: Option<Arc<[u8]>>,
    ) -> Vec<(AuthorityIndex, WantPart)> {
        if !self.under_way.remove(&item) {
            return Vec::new();
        }
        if let Some(bytes) = bytes {
            self.keep(item, bytes);
        }
        let mut answers = Vec::new();
        for (peer, wants) in &mut self.waiting {
            if let Some(at) = wants.iter().position(|want| want.item == item) {
                answers.extend(wants.remove(at).map(|want| (*peer, want)));
            }
        }
        answers
    }

    fn keep(&mut self, item: Item, bytes: Arc<[u8]>) {
        self.kept_bytes += bytes.len();
        self.kept.push_back((item, bytes));
        while self.kept.len() > 1
            && (self.kept.len() > LOADED_KEPT_MAX || self.kept_bytes > LOADED_KEPT_BYTES_MAX)
        {
            let (_, oldest) = self.kept.pop_front().expect("it holds more than one");
            self.kept_bytes -= oldest.len();
        }
    }

    /// A peer is not there any more.
    pub fn forget(&mut self, peer: AuthorityIndex) {
        self.waiting.remove(&peer);
    }

    /// How many requests wait, and how many bytes are kept.
    pub fn len(&self) -> (usize, usize) {
        (
            self.waiting.values().map(VecDeque::len).sum(),
            self.kept_bytes,
        )
    }
}

/// Answers [`crate::effect::Effect::Load`] from records that are all in memory: what a simulator's disk does. O(records).
pub fn load_from_records(records: &[Record], item: Item) -> Option<Arc<[u8]>> {
    let bodies = records.iter().rev().filter_map(|record| match record {
        Record::Batch(body) => Some(body),
        _ => None,
    });
    let seq_of = |body: &[u8]| header_of_batch(body).map(|header| header.seq).ok();
    match item {
        Item::Batch(seq) => {
            let mut bodies = bodies;
            let body = bodies.find(|body| seq_of(body) == Some(seq))?;
            archive_of_batch(body).map(Arc::from)
        }
        Item::Headers(last) => {
            let bodies = bodies.skip_while(|body| seq_of(body) != Some(last));
            let mut headers: Vec<&[u8]> = bodies
                .take(HEADERS_MAX)
                .map(|body| &body[..HEADER_LEN])
                .collect();
            headers.reverse();
            (!headers.is_empty()).then(|| headers.concat().into())
        }
        Item::Proof(_) | Item::State(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::BatchSeq;

    fn want(seq: u64, index: u32) -> WantPart {
        let item = Item::Batch(BatchSeq(seq));
        WantPart { item, index }
    }

    fn peer(at: u8) -> AuthorityIndex {
        AuthorityIndex(at)
    }

    fn bytes(len: usize) -> Option<Arc<[u8]>> {
        Some(vec![7; len].into())
    }

    #[test]
    fn peers_have_their_turns_and_each_one_item_at_a_time() {
        let mut loads = Loads::default();
        for seq in 0..LOADS_A_PEER_MAX as u64 {
            assert!(loads.want(peer(1), want(seq, 0)));
        }
        assert!(!loads.want(peer(1), want(99, 0)), "as many as may wait");
        assert!(
            loads.want(peer(1), want(0, 3)),
            "asked again: the newest counts"
        );
        assert_eq!(loads.take_due(), vec![want(0, 0).item]);
        for other in 2..9 {
            assert!(loads.want(peer(other), want(u64::from(other) * 10, 0)));
        }
        let due = loads.take_due();
        assert_eq!(
            due,
            [20, 30, 40].map(|seq| want(seq, 0).item),
            "{LOADS_MAX} in all"
        );
        let answers = loads.on_loaded(want(0, 0).item, bytes(1));
        assert_eq!(answers, vec![(peer(1), want(0, 3))]);
        assert_eq!(loads.take_due(), vec![want(50, 0).item], "others first");
        loads.forget(peer(6));
        for (done, next) in [(20, 70), (30, 80), (40, 1)] {
            loads.on_loaded(want(done, 0).item, None);
            assert_eq!(loads.take_due(), vec![want(next, 0).item]);
        }
    }

    #[test]
    fn one_reading_answers_all_that_wait_for_it_and_what_nobody_asked_for_is_dropped() {
        let mut loads = Loads::default();
        assert!(loads.want(peer(1), want(5, 0)) && loads.want(peer(2), want(5, 9)));
        assert_eq!(loads.take_due().len(), 1);
        assert!(loads.on_loaded(want(6, 0).item, bytes(1)).is_empty());
        assert!(loads.find(want(6, 0).item).is_none());
        let answers = loads.on_loaded(want(5, 0).item, None);
        assert_eq!(answers, vec![(peer(1), want(5, 0)), (peer(2), want(5, 9))]);
        assert!(loads.find(want(5, 0).item).is_none(), "it is not here");
        assert_eq!(loads.len(), (0, 0));
    }

    #[test]
    fn what_is_kept_stays_within_both_bounds_and_the_longest_unused_goes() {
        let mut loads = Loads::default();
        let load = |loads: &mut Loads, seq: u64, len: usize| {
            assert!(loads.want(peer(1), want(seq, 0)));
            loads.take_due();
            loads.on_loaded(want(seq, 0).item, bytes(len));
        };
        for seq in 0..LOADED_KEPT_MAX as u64 {
            load(&mut loads, seq, 1);
        }
        assert!(
            loads.find(want(0, 0).item).is_some(),
            "used: now the newest"
        );
        load(&mut loads, 100, 1);
        assert!(loads.find(want(1, 0).item).is_none());
        assert!(loads.find(want(0, 0).item).is_some());
        assert_eq!(loads.len(), (0, LOADED_KEPT_MAX));
        load(&mut loads, 101, LOADED_KEPT_BYTES_MAX);
        assert_eq!(loads.len(), (0, LOADED_KEPT_BYTES_MAX));
        assert!(loads.find(want(101, 0).item).is_some());
    }
}
