//! One worker's feed: which batch it gets next, and from where.
//!
//! - journal: its next batch is opened already; read back, two at a time, in order;
//! - live: its next batch is the next that is opened.

use std::collections::VecDeque;
use std::sync::Arc;

use fairlane_engine::certificate::Certificate;
use fairlane_engine::sync::part::Item;
use fairlane_engine::types::{BatchSeq, TimestampUs};

use super::super::settled_words::{LatestWords, SettledWords};
use crate::journal::BatchLoader;
use crate::ring::{Producer, RingWatch};
use crate::settle::{Attachment, Proof, WorkerLink};

/// A worker that is attached.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) producer: Producer,
    pub(super) loader: BatchLoader,
    pub(super) link: WorkerLink,
    watch: RingWatch,
    source: Source,
    /// It has every batch below this seq, or its ring holds it.
    handed: u64,
    certificates: Certificates,
    pub(super) words: SettledWords,
    /// Times that its ring stayed full, so that it was turned over to the journal.
    pub(super) fallbacks: u64,
}

/// What a worker lacks, and the journal does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lacks(pub(super) u64);

/// Where the worker's next batch comes from.
#[derive(Debug)]
enum Source {
    Journal(Backlog),
    Live,
}

/// Batches that are opened and not in the ring.
#[derive(Debug)]
struct Backlog {
    /// The next for the ring.
    next: u64,
    /// Asked for and not read yet, ascending; what stands before the first is in `read`.
    asked: VecDeque<u64>,
    /// Read, from `next` on.
    read: VecDeque<Arc<[u8]>>,
    /// One was not there: since when, and when to look again. The journal writes in groups.
    absent: Option<(TimestampUs, TimestampUs)>,
}

impl Feed {
    /// For a worker that has come, while `opened` batches are opened. `newest` is the newest certificate, `words` what was said
    /// last.
    pub(super) fn new(
        attachment: Attachment,
        opened: u64,
        (newest, words): (Option<Certificate>, SettledWords),
    ) -> Self {
        let Attachment {
            rollup_id: _,
            settled,
            mut producer,
            watch,
            loader,
            link,
        } = attachment;
        // A worker may have settled what the node has not recorded before it died: then it meets that once more.
        let first = settled.min(opened);
        producer.start_at(first);
        Self {
            producer,
            loader,
            link,
            watch,
            source: Source::at(first, opened),
            handed: first,
            certificates: Certificates(newest.into_iter().collect()),
            words,
            fallbacks: 0,
        }
    }

    /// Goes on with what the journal has for it; gives when to be called again, if nothing else happens.
    ///
    /// Errors: what it needs is not to be had.
    pub(super) fn poll(
        &mut self,
        now: TimestampUs,
        (opened, is_disk_full): (u64, bool),
        latest: &LatestWords,
    ) -> Result<Option<TimestampUs>, Lacks> {
        if is_disk_full && let Source::Journal(backlog) = &mut self.source {
            backlog.wait_for_disk(now);
        }
        let feed_at = self.feed(now, opened)?;
        let certify_at = self.hand_certificate(now);
        let words_at = self.hand_words(now, latest);
        let again = feed_at.into_iter().chain(certify_at).chain(words_at);
        Ok(again.min())
    }

    /// Hands on the words of f + 1 authorities that vouch for more than any before; gives when there may be room.
    fn hand_words(&mut self, now: TimestampUs, latest: &LatestWords) -> Option<TimestampUs> {
        let (count, words) = self.words.agreed(self.handed, latest)?;
        let bytes = Proof::Words(words).encode();
        let Some(room) = self.producer.reserve(bytes.len()) else {
            return Some(now.plus_us(FULL_RETRY_US));
        };
        room[..bytes.len()].copy_from_slice(&bytes);
        self.producer.commit_certificate(bytes.len());
        self.words.on_handed_on(count);
        None
    }

    /// Hands on the newest certificate whose batch the worker has, or the ring; gives when there may be room.
    fn hand_certificate(&mut self, now: TimestampUs) -> Option<TimestampUs> {
        let certificate = self.certificates.newest_below(self.handed)?;
        let bytes = certificate.encode();
        let Some(room) = self.producer.reserve(bytes.len()) else {
            return Some(now.plus_us(FULL_RETRY_US));
        };
        room[..bytes.len()].copy_from_slice(&bytes);
        self.producer.commit_certificate(bytes.len());
        self.certificates.drop_up_to(certificate.header.seq);
        None
    }

    fn feed(&mut self, now: TimestampUs, opened: u64) -> Result<Option<TimestampUs>, Lacks> {
        let Source::Journal(backlog) = &mut self.source else {
            return Ok(None);
        };
        while let Some((item, archive)) = self.loader.try_take() {
            backlog.take(item, archive, now);
        }
        while let Some(archive) = backlog.read.front() {
            let Some(room) = self.producer.reserve(archive.len()) else {
                return Ok(Some(now.plus_us(FULL_RETRY_US)));
            };
            room[..archive.len()].copy_from_slice(archive);
            self.producer.commit(backlog.next, archive.len());
            backlog.read.pop_front();
            backlog.next += 1;
            self.handed = backlog.next;
        }
        if backlog.next == opened && backlog.asked.is_empty() {
            self.source = Source::Live;
            return Ok(None);
        }
        let again = backlog.look(now)?;
        if again.is_none() {
            backlog.ask(opened, &mut self.loader);
        }
        Ok(again)
    }

    /// Whether the next batch goes into the ring as it is opened.
    pub(super) const fn is_live(&self) -> bool {
        matches!(self.source, Source::Live)
    }

    /// Publishes the `len` bytes that were written to the room that was reserved.
    pub(super) fn commit(&mut self, seq: BatchSeq, len: usize) {
        self.producer.commit(seq.0, len);
        self.handed = seq.0 + 1;
    }

    /// Publishes a copy of an archive; where there is no room the worker is turned over to the journal.
    pub(super) fn copy(&mut self, seq: BatchSeq, archive: &[u8]) {
        let Some(room) = self.producer.reserve(archive.len()) else {
            return self.fall_back(seq.0);
        };
        room[..archive.len()].copy_from_slice(archive);
        self.commit(seq, archive.len());
    }

    /// The ring stays full: from `next` on the worker is served from the journal.
    pub(super) fn fall_back(&mut self, next: u64) {
        self.source = Source::Journal(Backlog::from(next));
        self.fallbacks += 1;
    }

    /// A certificate for the worker, once it has the batch.
    pub(super) fn certified(&mut self, certificate: &Certificate) {
        self.certificates.push(*certificate);
    }

    /// It says that it has settled every batch below this seq; of what it was not handed it is not believed.
    pub(super) fn settled(&self) -> u64 {
        self.watch.settled_count().min(self.handed)
    }
}

/// Certificates that wait until the worker has their batches, ascending by seq.
#[derive(Debug, Default)]
struct Certificates(VecDeque<Certificate>);

impl Certificates {
    /// When there is no room the last gives way to the new one, which covers its batches, too: those before are of use
    /// sooner, and the newest of all must not be missed.
    fn push(&mut self, certificate: Certificate) {
        if self.0.len() == CERTIFICATES_WAITING_MAX {
            self.0.pop_back();
        }
        self.0.push_back(certificate);
    }

    fn newest_below(&self, seq: u64) -> Option<Certificate> {
        let behind = self.0.partition_point(|made| made.header.seq.0 < seq);
        self.0.get(behind.checked_sub(1)?).copied()
    }

    fn drop_up_to(&mut self, seq: BatchSeq) {
        self.0.retain(|made| made.header.seq > seq);
    }
}

impl Source {
    fn at(next: u64, opened: u64) -> Self {
        match next < opened {
            true => Self::Journal(Backlog::from(next)),
            false => Self::Live,
        }
    }
}

impl Backlog {
    const fn from(next: u64) -> Self {
        Self {
            next,
            asked: VecDeque::new(),
            read: VecDeque::new(),
            absent: None,
        }
    }

    /// The disk is full: what was opened waits for it, and the journal may lack it for as long.
    const fn wait_for_disk(&mut self, now: TimestampUs) {
        if let Some((since, _)) = &mut self.absent {
            *since = now;
        }
    }

    /// When to look again for one that was not there. Errors: it was not there for too long.
    fn look(&self, now: TimestampUs) -> Result<Option<TimestampUs>, Lacks> {
        let Some((since, again)) = self.absent else {
            return Ok(None);
        };
        if now >= since.plus_us(ABSENT_US_MAX) {
            return Err(Lacks(self.next));
        }
        Ok((now < again).then_some(again))
    }

    /// Has the batches behind what is read or asked for read, up to [`READ_AHEAD`] and below `opened`.
    fn ask(&mut self, opened: u64, loader: &mut BatchLoader) {
        while self.read.len() + self.asked.len() < READ_AHEAD {
            let next = self.next + (self.read.len() + self.asked.len()) as u64;
            if next >= opened {
                return;
            }
            loader.ask(Item::Batch(BatchSeq(next)));
            self.asked.push_back(next);
        }
    }

    /// One was read, or is not there. Answers come in the order of the questions, as one thread gives them.
    fn take(&mut self, item: Item, archive: Option<Arc<[u8]>>, now: TimestampUs) {
        let Item::Batch(seq) = item else {
            return;
        };
        // What was asked for before a fall back is not waited for any more.
        if self.asked.front() != Some(&seq.0) {
            return;
        }
        self.asked.pop_front();
        match archive {
            Some(archive) if seq.0 == self.next + self.read.len() as u64 => {
                self.read.push_back(archive);
                self.absent = None;
            }
            // Behind one that is not there: asked for again with it.
            Some(_) => {}
            None => {
                let since = self.absent.map_or(now, |(since, _)| since);
                self.absent = Some((since, now.plus_us(RETRY_US)));
            }
        }
    }
}

/// Certificates that wait for a worker that is behind.
pub const CERTIFICATES_WAITING_MAX: usize = 1024;
/// Batches read from the journal ahead of the ring.
const READ_AHEAD: usize = 2;
/// How soon a record on its way to the disk is looked for again, microseconds.
const RETRY_US: u64 = 5_000;
/// How soon room in a full ring is looked for again, microseconds; a worker that makes room says so.
const FULL_RETRY_US: u64 = 50_000;
/// How long a batch that was opened may be absent from the journal, microseconds: its record may wait for the disk. While
/// that is full the time does not count.
const ABSENT_US_MAX: u64 = 10_000_000;

#[cfg(test)]
mod tests {
    use fairlane_engine::certificate::{CertifiedHeader, SIGNATURE_LEN};
    use fairlane_engine::types::{AuthoritySet, ChainId, Epoch, Sha256Hash};

    use super::*;

    fn archive(seq: u64) -> Option<Arc<[u8]>> {
        Some(seq.to_be_bytes().into())
    }

    #[test]
    fn what_is_absent_is_asked_for_again_and_nothing_overtakes_it() {
        let now = TimestampUs(1);
        let mut backlog = Backlog::from(5);
        backlog.asked.extend([5, 6]);
        backlog.take(Item::Batch(BatchSeq(5)), None, now);
        backlog.take(Item::Batch(BatchSeq(6)), archive(6), now);
        assert!(backlog.read.is_empty() && backlog.asked.is_empty());
        assert_eq!(backlog.absent, Some((now, now.plus_us(RETRY_US))));
        backlog.asked.extend([5, 6]);
        backlog.take(Item::Batch(BatchSeq(5)), archive(5), now);
        backlog.take(Item::Batch(BatchSeq(6)), archive(6), now);
        assert_eq!((backlog.read.len(), backlog.absent), (2, None));
    }

    #[test]
    fn what_is_absent_for_too_long_is_lacking_and_a_full_disk_stops_the_clock() {
        let mut backlog = Backlog::from(5);
        let mut now = TimestampUs(1);
        let ask_in_vain = |backlog: &mut Backlog, now| {
            backlog.asked.push_back(5);
            backlog.take(Item::Batch(BatchSeq(5)), None, now);
        };
        ask_in_vain(&mut backlog, now);
        for _ in 0..100 {
            now = now.plus_us(ABSENT_US_MAX / 10);
            backlog.wait_for_disk(now);
            assert_eq!(backlog.look(now), Ok(None), "it is asked for again");
            ask_in_vain(&mut backlog, now);
        }
        // There is room again: what waits for the disk has its time from here on.
        let again = now.plus_us(RETRY_US);
        assert_eq!(backlog.look(now), Ok(Some(again)));
        assert_eq!(backlog.look(now.plus_us(ABSENT_US_MAX - 1)), Ok(None));
        assert_eq!(backlog.look(now.plus_us(ABSENT_US_MAX)), Err(Lacks(5)));
    }

    fn certificate(seq: u64) -> Certificate {
        Certificate {
            header: CertifiedHeader {
                chain_id: ChainId(1),
                epoch: Epoch(0),
                seq: BatchSeq(seq),
                hash: Sha256Hash([seq as u8; 32]),
            },
            signers: AuthoritySet::EMPTY,
            signature: [0; SIGNATURE_LEN],
        }
    }

    #[test]
    fn a_worker_that_is_behind_gets_the_newest_certificate_of_what_it_has_and_then_the_next() {
        let mut certificates = Certificates::default();
        for seq in [3, 7, 12] {
            certificates.push(certificate(seq));
        }
        assert_eq!(certificates.newest_below(3), None);
        assert_eq!(certificates.newest_below(9), Some(certificate(7)));
        certificates.drop_up_to(BatchSeq(7));
        assert_eq!(certificates.newest_below(12), None);
        assert_eq!(certificates.newest_below(13), Some(certificate(12)));
        for seq in 13..13 + 2 * CERTIFICATES_WAITING_MAX as u64 {
            certificates.push(certificate(seq));
        }
        assert_eq!(certificates.0.len(), CERTIFICATES_WAITING_MAX);
        assert_eq!(
            certificates.0[0],
            certificate(12),
            "the oldest are of use first"
        );
        let newest = 12 + 2 * CERTIFICATES_WAITING_MAX as u64;
        assert_eq!(
            certificates.newest_below(newest + 1),
            Some(certificate(newest)),
            "no other follows when nothing happens"
        );
    }

    #[test]
    fn answers_to_questions_of_before_are_left_out() {
        let mut backlog = Backlog::from(9);
        backlog.take(Item::Batch(BatchSeq(5)), archive(5), TimestampUs(1));
        backlog.take(Item::Headers(BatchSeq(9)), archive(9), TimestampUs(1));
        assert!(backlog.read.is_empty());
    }
}
