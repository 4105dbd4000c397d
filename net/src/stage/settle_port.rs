//! The core stage's end of settlement: who settles, which batch each gets next, and how far each has settled.
//!
//! A batch is opened straight into the ring of a worker that keeps up, and copied into the rings of the others that do.
//! Who does not keep up gets it later from the journal, which holds every batch: so is served who comes for the first
//! time, who was away, whose node was, and who is slow, and none of them stops consensus or another worker. While no worker
//! that keeps up has room, batches wait unopened for a while ([`super::core::UNSETTLED_MAX`]).

mod feed;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fairlane_engine::batch::{BATCH_ENTRIES_MAX, BATCH_PAYLOAD_MAX, BatchHeader, archive_len_max};
use fairlane_engine::certificate::Certificate;
use fairlane_engine::committee::{Committee, Thresholds};
use fairlane_engine::dag::SignedHeader;
use fairlane_engine::types::{BatchSeq, TimestampUs};
use serde::{Deserialize, Serialize};

use super::settled_words::{LatestWords, SettledWords};
use crate::ring;
use crate::settle::{
    Attachment, MakeLoader, RemoteFigures, ServerConfig, SettleServer, WORKERS_MAX, WorkerKeys,
};
use feed::{Feed, Lacks};

pub use feed::CERTIFICATES_WAITING_MAX;

/// Room for batches and the way to the workers.
#[derive(Debug)]
pub struct SettlePort {
    server: SettleServer,
    /// Workers that are there, and that were, at most [`WORKERS_MAX`].
    slots: Vec<Slot>,
    /// Into whose ring the next batch is opened: the one that [`Self::reserve`] found room in.
    lead: usize,
    newest_certificate: Option<Certificate>,
    /// What authorities' vertices say of batches.
    words: LatestWords,
    thresholds: Thresholds,
    /// One above the highest seq up to which any worker has settled.
    settled: u64,
    /// What the journal is told: every worker known has settled what is below.
    settled_by_all: Arc<AtomicU64>,
}

/// A worker, there or away.
#[derive(Debug)]
struct Slot {
    figures: WorkerFigures,
    /// What was counted for those that had it before.
    before: Counted,
    feed: Option<Feed>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    fallbacks: u64,
    lies: u64,
}

/// How one settlement worker stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerFigures {
    /// The rollup that it settles.
    pub rollup: u64,
    /// It is there.
    pub is_attached: bool,
    /// Its batches come as they are opened; else from the journal, or it is away.
    pub is_live: bool,
    /// Batches that it has settled, of all.
    pub settled: u64,
    /// Batches opened that it has not settled.
    pub lag: u64,
    /// Bytes in its ring that it has not given back.
    pub ring_bytes: u64,
    /// Times that it came.
    pub attachments: u64,
    /// Times that its ring stayed full, so that it was turned over to the journal.
    pub fallbacks: u64,
    /// Times that its cursor held what no correct worker writes.
    pub lies: u64,
}

/// The figures of all workers, by slot.
pub type WorkerTable = [Option<WorkerFigures>; WORKERS_MAX];

impl SettlePort {
    /// Listens for workers on `socket`, each to have a ring of `ring_bytes`; what `make_loader` makes reads this node's
    /// batches. `wake` is called when a worker comes, goes, or has settled something.
    ///
    /// Errors: somebody else listens there, the size is no power of two or too small for a batch, or the system refuses.
    pub fn start(
        socket: &Path,
        ring_bytes: u64,
        committee: &Committee,
        make_loader: MakeLoader,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        // Found out now, not when a worker comes.
        drop(ring::create(ring_bytes, 0)?);
        let longest = archive_len_max(BATCH_ENTRIES_MAX, BATCH_PAYLOAD_MAX) as u64;
        anyhow::ensure!(
            ring::record_len_max(ring_bytes) >= longest,
            "settle_ring_bytes = {ring_bytes} is too small: a batch may take {longest} bytes, and the ring holds twice that"
        );
        let config = ServerConfig {
            socket: socket.to_path_buf(),
            chain_id: committee.chain_id,
            rollups: committee.rollups.iter().map(|rollup| rollup.id).collect(),
            ring_bytes,
        };
        Ok(Self {
            server: SettleServer::start(config, make_loader, wake)?,
            slots: Vec::new(),
            lead: 0,
            newest_certificate: None,
            words: LatestWords::new(committee.thresholds()),
            thresholds: committee.thresholds(),
            settled: 0,
            settled_by_all: Arc::default(),
        })
    }

    /// Takes workers in that come over TCP, too. Errors: the address is in use, or the system refuses.
    pub fn listen(&mut self, address: SocketAddr, keys: WorkerKeys) -> anyhow::Result<()> {
        Ok(self.server.listen(address, keys)?)
    }

    /// What became of connections at the settlement port.
    pub fn remote_figures(&self) -> RemoteFigures {
        self.server.remote_figures()
    }

    /// Lets go of who has left, takes in who has come, and goes on with what the journal has for each. `opened` batches are
    /// opened, and have been asked to be recorded; while the journal's disk is full that may take any time.
    ///
    /// Gives when to be called again, if nothing else happens.
    pub fn poll(
        &mut self,
        now: TimestampUs,
        opened: u64,
        is_disk_full: bool,
    ) -> Option<TimestampUs> {
        for slot in &mut self.slots {
            if slot.feed.as_ref().is_some_and(|feed| !feed.link.is_up()) {
                slot.note(opened);
                slot.release(&self.server);
            }
        }
        while let Some(attachment) = self.server.try_attached() {
            self.seat(attachment, opened);
        }
        let mut again = None;
        for slot in &mut self.slots {
            match slot
                .feed
                .as_mut()
                .map(|feed| feed.poll(now, (opened, is_disk_full), &self.words))
            {
                None => {}
                Some(Ok(at)) => again = at.into_iter().chain(again).min(),
                Some(Err(Lacks(seq))) => {
                    eprintln!(
                        "a settlement worker of rollup {} lacks batch {seq}, which the journal does not hold; it was cut off, and the node goes on without it",
                        slot.figures.rollup
                    );
                    self.server.note_absent_below(seq + 1);
                    slot.release(&self.server);
                }
            }
            slot.note(opened);
        }
        let settled = self.slots.iter().map(|slot| slot.figures.settled);
        self.settled = settled.clone().max().unwrap_or(0).max(self.settled);
        let by_all = settled.min().unwrap_or(0);
        self.settled_by_all.store(by_all, Ordering::Release);
        again
    }

    /// Gives a worker that has come the slot that it most likely had before, else a free one, else that of one away.
    fn seat(&mut self, attachment: Attachment, opened: u64) {
        let (rollup, said) = (attachment.rollup_id.0, attachment.settled);
        let away = self
            .slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.feed.is_none());
        let own = away
            .clone()
            .filter(|(_, slot)| slot.figures.rollup == rollup);
        let own = own.min_by_key(|(_, slot)| slot.figures.settled.abs_diff(said));
        let at = match (own, away.clone().next()) {
            (Some((at, _)), _) => at,
            (None, _) if self.slots.len() < WORKERS_MAX => {
                self.slots.push(Slot::of(rollup));
                self.slots.len() - 1
            }
            (None, Some((at, _))) => {
                self.slots[at] = Slot::of(rollup);
                at
            }
            // Seats are counted, so one has left that is not noticed yet: the worker comes back.
            (None, None) => return attachment.link.cut(),
        };
        let mut words = SettledWords::new(self.thresholds);
        for signed in self.words.all() {
            words.on_vertex(signed);
        }
        let proofs = (self.newest_certificate, words);
        let slot = &mut self.slots[at];
        slot.figures.attachments += 1;
        slot.feed = Some(Feed::new(attachment, opened, proofs));
    }

    /// Whether the next batch goes to a worker as it is opened.
    pub fn is_live(&self) -> bool {
        self.feeds().any(Feed::is_live)
    }

    /// Whether a worker is there.
    pub fn is_attached(&self) -> bool {
        self.server.is_attached()
    }

    /// Room for an archive of at most `len_max` bytes; none while every worker that gets batches as they are opened is too
    /// far behind.
    pub fn reserve(&mut self, len_max: usize) -> Option<&mut [u8]> {
        let mut feeds = self.slots.iter_mut().map(|slot| slot.feed.as_mut());
        self.lead = feeds.position(|feed| {
            feed.is_some_and(|feed| feed.is_live() && feed.producer.reserve(len_max).is_some())
        })?;
        self.slots[self.lead].feed.as_mut()?.producer.reserved_mut()
    }

    /// Publishes what was written to the room that was reserved, to every worker that keeps up. Those that have no room are
    /// served from the journal.
    ///
    /// Panics without a reservation: a bug of the caller.
    pub fn commit(&mut self, seq: BatchSeq, len: usize) {
        let (before, rest) = self.slots.split_at_mut(self.lead);
        let (lead, after) = rest.split_first_mut().expect("room was reserved");
        let lead = lead.feed.as_mut().expect("room was reserved");
        let written = lead.producer.reserved_mut().expect("room was reserved");
        let others = before.iter_mut().chain(after);
        for feed in others.filter_map(|slot| slot.feed.as_mut()) {
            if feed.is_live() {
                feed.copy(seq, &written[..len]);
            }
        }
        lead.commit(seq, len);
    }

    /// A batch is opened here, the next of the chain; or, at a start, was the last before.
    pub fn on_opened(&mut self, header: &BatchHeader) {
        self.words.on_opened(header);
    }

    /// A vertex with this header, whose signature holds, came from its author, or has left here.
    pub fn on_vertex(&mut self, signed: &SignedHeader) {
        self.words.on_vertex(signed);
        for feed in self.slots.iter_mut().filter_map(|slot| slot.feed.as_mut()) {
            feed.words.on_vertex(signed);
        }
    }

    /// A certificate for the workers, once they have the batch; kept for one that has not come yet, too: of the last batch
    /// before a pause no other is made.
    pub fn certified(&mut self, certificate: &Certificate) {
        self.newest_certificate = Some(*certificate);
        for feed in self.slots.iter_mut().filter_map(|slot| slot.feed.as_mut()) {
            feed.certified(certificate);
        }
    }

    /// The rings stay full: from `next` on those workers are served from the journal.
    pub fn fall_back(&mut self, next: u64) {
        for feed in self.slots.iter_mut().filter_map(|slot| slot.feed.as_mut()) {
            if feed.is_live() {
                feed.fall_back(next);
            }
        }
    }

    /// Tells another thread up to which seq every worker known has settled; 0 while none is known.
    pub fn settled_by_all(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.settled_by_all)
    }

    /// A worker has settled every batch below this seq, as of the last poll.
    pub const fn settled_count(&self) -> u64 {
        self.settled
    }

    /// How each worker stands, as of the last poll.
    pub fn figures(&self) -> WorkerTable {
        let mut table = WorkerTable::default();
        for (row, slot) in table.iter_mut().zip(&self.slots) {
            *row = Some(slot.figures);
        }
        table
    }

    fn feeds(&self) -> impl Iterator<Item = &Feed> {
        self.slots.iter().filter_map(|slot| slot.feed.as_ref())
    }
}

impl Slot {
    fn of(rollup: u64) -> Self {
        let figures = WorkerFigures {
            rollup,
            ..WorkerFigures::default()
        };
        Self {
            figures,
            before: Counted::default(),
            feed: None,
        }
    }

    /// Writes down how the worker stands.
    fn note(&mut self, opened: u64) {
        let figures = &mut self.figures;
        figures.is_attached = self.feed.is_some();
        if let Some(feed) = &mut self.feed {
            figures.settled = feed.settled();
            figures.is_live = feed.is_live();
            figures.ring_bytes = feed.producer.look_at_backlog();
            figures.fallbacks = self.before.fallbacks + feed.fallbacks;
            figures.lies = self.before.lies + feed.producer.lies();
        }
        figures.lag = opened.saturating_sub(figures.settled);
    }

    /// Lets go of the worker.
    fn release(&mut self, server: &SettleServer) {
        let Some(feed) = self.feed.take() else {
            return;
        };
        feed.link.cut();
        let figures = &mut self.figures;
        self.before = Counted {
            fallbacks: figures.fallbacks,
            lies: figures.lies,
        };
        (figures.is_attached, figures.is_live, figures.ring_bytes) = (false, false, 0);
        server.retire(feed.producer, feed.loader);
    }
}

#[cfg(test)]
mod tests;
