//! What authorities' vertices say of the batches that this node hands to its settlement workers: f + 1 words make them final
//! for a worker that wants that.
//!
//! Every vertex names how many batches its author has opened, and the hash of the last one's header. Of each author the newest
//! word is kept that names a batch which the worker has, or the ring, and whose hash is ours; the lowest batch named by the
//! f + 1 highest of these is what f + 1 authorities vouch for. The own word counts once it has left for the others: a vertex
//! that a crash takes back was never signed.
//!
//! Nothing is kept on the disk: every vertex says it anew, one a second at least.

use std::collections::VecDeque;

use fairlane_engine::batch::BatchHeader;
use fairlane_engine::committee::Thresholds;
use fairlane_engine::dag::SignedHeader;
use fairlane_engine::types::{BatchSeq, Sha256Hash};

use crate::settle::Words;

/// What all workers have in common: own headers, and what was said last.
#[derive(Debug)]
pub(super) struct LatestWords {
    /// Hashes of the newest own headers; `next` is the seq behind them.
    hashes: VecDeque<Sha256Hash>,
    next: u64,
    /// By author, for who comes while nothing happens.
    last: Vec<Option<SignedHeader>>,
}

/// The words of all authorities, for one worker.
#[derive(Debug)]
pub(super) struct SettledWords {
    thresholds: Thresholds,
    /// By author: what was said of batches that the worker may not have yet, ascending.
    ahead: Vec<VecDeque<SignedHeader>>,
    /// By author: the newest word for a batch that it has.
    newest: Vec<Option<SignedHeader>>,
    /// One above the highest batch for which words were handed on.
    handed_on: u64,
}

impl LatestWords {
    /// Nothing was said yet.
    pub(super) fn new(thresholds: Thresholds) -> Self {
        Self {
            hashes: VecDeque::new(),
            next: 0,
            last: vec![None; thresholds.authorities() as usize],
        }
    }

    /// The next batch is opened here; or, at a start, was the last before.
    pub(super) fn on_opened(&mut self, header: &BatchHeader) {
        let BatchSeq(seq) = header.seq;
        if seq != self.next {
            self.hashes.clear();
        }
        if self.hashes.len() == OWN_HASHES_MAX {
            self.hashes.pop_front();
        }
        self.hashes.push_back(header.hash());
        self.next = seq + 1;
    }

    /// A vertex with this header, whose signature holds, came from its author, or left here.
    pub(super) fn on_vertex(&mut self, signed: &SignedHeader) {
        let Some(last) = self.last.get_mut(signed.header.author.as_usize()) else {
            return;
        };
        let count = |signed: &SignedHeader| signed.header.settled.count;
        if last.as_ref().is_none_or(|last| count(last) < count(signed)) {
            *last = Some(*signed);
        }
    }

    /// What each author said last.
    pub(super) fn all(&self) -> impl Iterator<Item = &SignedHeader> {
        self.last.iter().flatten()
    }

    fn hash(&self, seq: u64) -> Option<Sha256Hash> {
        let back = usize::try_from(self.next.checked_sub(seq)?).ok()?;
        let at = self.hashes.len().checked_sub(back)?;
        self.hashes.get(at).copied()
    }
}

impl SettledWords {
    /// For a worker that has come: nothing was said yet.
    pub(super) fn new(thresholds: Thresholds) -> Self {
        let authors = thresholds.authorities() as usize;
        Self {
            thresholds,
            ahead: vec![VecDeque::new(); authors],
            newest: vec![None; authors],
            handed_on: 0,
        }
    }

    /// A vertex with this header, whose signature holds, came from its author, or left here.
    pub(super) fn on_vertex(&mut self, signed: &SignedHeader) {
        let (author, count) = (signed.header.author.as_usize(), signed.header.settled.count);
        let (Some(ahead), Some(newest)) = (self.ahead.get_mut(author), self.newest.get(author))
        else {
            return;
        };
        let said = ahead.back().or(newest.as_ref());
        let is_new = count > said.map_or(0, |said| said.header.settled.count);
        // When there is no room the new one goes: those before are of use sooner, and there will be newer ones.
        if is_new && ahead.len() < WORDS_AHEAD_MAX {
            ahead.push_back(*signed);
        }
    }

    /// The words of f + 1 authorities that vouch for more batches below `handed`, those that the worker has, than any before;
    /// with how many that is.
    pub(super) fn agreed(&mut self, handed: u64, latest: &LatestWords) -> Option<(u64, Words)> {
        for author in 0..self.newest.len() {
            self.take_up_to(author, handed, latest);
        }
        // Mostly nothing is new, and this is asked at each turn: then nothing is copied.
        let is_new = |signed: &&SignedHeader| signed.header.settled.count > self.handed_on;
        let said = self.newest.iter().flatten().filter(is_new);
        if said.clone().count() < self.thresholds.validity() as usize {
            return None;
        }
        let mut words: Vec<SignedHeader> = said.copied().collect();
        words.sort_by_key(|signed| std::cmp::Reverse(signed.header.settled.count));
        words.truncate(self.thresholds.validity() as usize);
        let lowest = words.last()?.header.settled.count;
        Some((lowest, Words::new(words)?))
    }

    /// Words that vouch for all batches below `count` were handed on.
    pub(super) fn on_handed_on(&mut self, count: u64) {
        self.handed_on = count;
    }

    fn take_up_to(&mut self, author: usize, handed: u64, latest: &LatestWords) {
        while let Some(first) = self.ahead[author].front()
            && first.header.settled.count <= handed
        {
            let settled = first.header.settled;
            let ours = latest.hash(settled.count - 1);
            let word = self.ahead[author].pop_front();
            // One that names another header is no word for our chain; the engine raises the alarm.
            if ours == Some(settled.hash) {
                self.newest[author] = word;
            }
        }
    }
}

/// Words of one author for batches that the worker may not have yet; a further one is let go of.
const WORDS_AHEAD_MAX: usize = 64;
/// Hashes of own headers that words are compared with; the oldest goes.
const OWN_HASHES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use fairlane_engine::dag::{Settled, VertexHeader};
    use fairlane_engine::types::{
        AuthorityIndex, ChainId, Digest, Epoch, Position, Round, TimestampUs,
    };

    use super::*;

    struct Both {
        latest: LatestWords,
        words: SettledWords,
    }

    impl Both {
        fn on_opened(&mut self, header: &BatchHeader) {
            self.latest.on_opened(header);
        }

        fn on_vertex(&mut self, signed: &SignedHeader) {
            self.latest.on_vertex(signed);
            self.words.on_vertex(signed);
        }

        fn agreed(&mut self, handed: u64) -> Option<(u64, Words)> {
            self.words.agreed(handed, &self.latest)
        }

        /// Another worker comes.
        fn begin_again(&mut self) {
            self.words = SettledWords::new(self.words.thresholds);
            for signed in self.latest.all() {
                self.words.on_vertex(signed);
            }
        }
    }

    fn opened(words: &mut Both, seqs: std::ops::Range<u64>) {
        for seq in seqs {
            words.on_opened(&header(seq));
        }
    }

    fn header(seq: u64) -> BatchHeader {
        BatchHeader {
            seq: BatchSeq(seq),
            ..BatchHeader::default()
        }
    }

    fn word(author: u8, count: u64, hash: Sha256Hash) -> SignedHeader {
        let header = VertexHeader {
            chain_id: ChainId(0),
            epoch: Epoch(0),
            round: Round(1),
            author: AuthorityIndex(author),
            timestamp: TimestampUs(1),
            first_position: Position(0),
            entry_count: 0,
            entries_root: Sha256Hash([0; 32]),
            parent_count: 0,
            parents_root: Digest([0; 32]),
            settled: Settled { count, hash },
        };
        header.sign(&SigningKey::from_bytes(&[1; 32]))
    }

    fn say(words: &mut Both, author: u8, count: u64) {
        words.on_vertex(&word(author, count, header(count.wrapping_sub(1)).hash()));
    }

    /// Of four, so that f + 1 is 2.
    fn of_four() -> Both {
        let thresholds = Thresholds::new(4).unwrap();
        Both {
            latest: LatestWords::new(thresholds),
            words: SettledWords::new(thresholds),
        }
    }

    fn count(agreed: Option<(u64, Words)>) -> Option<u64> {
        agreed.map(|(count, _)| count)
    }

    #[test]
    fn the_second_highest_word_of_four_says_how_far_and_each_advance_is_given_once() {
        let mut words = of_four();
        opened(&mut words, 0..10);
        say(&mut words, 0, 9);
        assert_eq!(count(words.agreed(10)), None, "one may be the faulty one");
        say(&mut words, 0, 9);
        assert_eq!(count(words.agreed(10)), None, "nor does it count twice");
        say(&mut words, 1, 4);
        assert_eq!(count(words.agreed(10)), Some(4));
        words.words.on_handed_on(4);
        assert_eq!(count(words.agreed(10)), None);
        say(&mut words, 2, 7);
        say(&mut words, 3, 0);
        assert_eq!(count(words.agreed(10)), Some(7));
        words.begin_again();
        assert_eq!(count(words.agreed(10)), Some(7));
    }

    #[test]
    fn a_word_for_what_the_worker_has_not_waits_and_one_for_another_chain_counts_for_nothing() {
        let mut words = of_four();
        opened(&mut words, 0..10);
        say(&mut words, 0, 5);
        say(&mut words, 0, 9);
        say(&mut words, 1, 8);
        assert_eq!(count(words.agreed(4)), None);
        assert_eq!(count(words.agreed(7)), None, "only one of them is so low");
        assert_eq!(count(words.agreed(8)), Some(5));
        assert_eq!(count(words.agreed(9)), Some(8));
        words.words.on_handed_on(8);
        words.on_vertex(&word(2, 10, Sha256Hash([7; 32])));
        words.on_vertex(&word(3, 10, Sha256Hash([7; 32])));
        assert_eq!(count(words.agreed(10)), None);
    }

    #[test]
    fn words_of_no_member_and_far_ahead_are_bounded() {
        let mut words = of_four();
        say(&mut words, 9, 5);
        for count in 1..=3 * WORDS_AHEAD_MAX as u64 {
            say(&mut words, 1, count);
        }
        assert_eq!(words.words.ahead[1].len(), WORDS_AHEAD_MAX);
        opened(&mut words, 0..2 * OWN_HASHES_MAX as u64);
        assert_eq!(words.latest.hashes.len(), OWN_HASHES_MAX);
        assert_eq!(words.latest.hash(OWN_HASHES_MAX as u64 - 1), None);
        let first = OWN_HASHES_MAX as u64;
        assert_eq!(words.latest.hash(first), Some(header(first).hash()));
        assert_eq!(words.latest.hash(2 * first), None);
    }
}
