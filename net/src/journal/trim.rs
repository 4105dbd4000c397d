//! Old segments are removed: a thread of its own, told by the writer when a snapshot is durable.
//!
//! A segment goes when no start needs it (it lies wholly before the tail of the newest durable snapshot), and the segments from
//! it on hold more than [`Retention::bytes`]. One that holds a batch which the settlement worker has not settled, or lies
//! behind one, stays until they hold more than [`Retention::unsettled_bytes`].
//!
//! I1: the lowest goes first, and its name is gone for good before the next one goes: what is left has no gap.

use std::fmt;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use fairlane_engine::types::{BatchSeq, Epoch};

use super::JournalError;
use super::batches::BatchReader;
use super::reader::read_header;
use super::segment::{segment_indices, segment_path, sync_folder};

/// How much of a journal is kept at least, beyond what a start needs. Bytes of segments; 0 keeps everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Of what is settled, for peers that ask.
    pub bytes: u64,
    /// Where the settlement worker has not settled all of it.
    pub unsettled_bytes: u64,
}

/// What decides which segments go.
pub struct Trim {
    pub(super) folder: PathBuf,
    pub(super) retention: Retention,
    pub(super) batches: BatchReader,
    /// How many batches the settlement worker has settled.
    pub(super) settled: Box<dyn Fn() -> u64 + Send>,
}

impl fmt::Debug for Trim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trim")
            .field("folder", &self.folder)
            .field("retention", &self.retention)
            .finish_non_exhaustive()
    }
}

impl Trim {
    /// For the journal in `folder` with batches of `epoch`.
    pub fn new(
        folder: impl Into<PathBuf>,
        epoch: Epoch,
        retention: Retention,
        settled: impl Fn() -> u64 + Send + 'static,
    ) -> Self {
        let folder = folder.into();
        Self {
            batches: BatchReader::new(&folder, epoch),
            folder,
            retention,
            settled: Box::new(settled),
        }
    }

    /// Removes what may go when no record numbered below `tail` is needed any more; gives how many segments went.
    ///
    /// Errors: the folder cannot be read or changed.
    pub fn trim(&mut self, tail: u64) -> Result<usize, JournalError> {
        let segments = segment_indices(&self.folder)?;
        let Some(end) = self.end_of_needless(&segments, tail)? else {
            return Ok(0);
        };
        let unsettled = self.batches.segment_of(BatchSeq((self.settled)()))?;
        if unsettled.is_some_and(|unsettled| unsettled < end) {
            eprintln!(
                "warning: batches that the settlement worker has not settled are removed: the journal holds more than retention_unsettled_bytes"
            );
        }
        let mut removed = 0;
        for index in segments.into_iter().take_while(|index| *index < end) {
            let path = segment_path(&self.folder, index);
            std::fs::remove_file(&path).map_err(JournalError::io("removing", &path))?;
            sync_folder(&self.folder)?;
            removed += 1;
        }
        Ok(removed)
    }

    /// The first segment that stays; none when all do.
    fn end_of_needless(
        &mut self,
        segments: &[u64],
        tail: u64,
    ) -> Result<Option<u64>, JournalError> {
        let Retention {
            bytes,
            unsettled_bytes,
        } = self.retention;
        if bytes == 0 {
            return Ok(None);
        }
        let mut first_unsettled = None;
        let mut is_needed = true;
        let mut total = 0;
        for (place, index) in segments.iter().enumerate().rev() {
            let path = segment_path(&self.folder, *index);
            let metadata = std::fs::metadata(&path).map_err(JournalError::io("sizing", &path))?;
            total += metadata.len();
            if is_needed {
                // The tail begins in the last segment whose first record is not behind it.
                let header = read_header(&path)?;
                is_needed = header.is_none_or(|header| header.first_record > tail);
                continue;
            }
            if total <= bytes {
                continue;
            }
            let unsettled = match first_unsettled {
                Some(known) => known,
                None => {
                    let found = self.batches.segment_of(BatchSeq((self.settled)()))?;
                    *first_unsettled.insert(found)
                }
            };
            let is_unsettled = unsettled.is_some_and(|unsettled| *index >= unsettled);
            if is_unsettled && (unsettled_bytes == 0 || total <= unsettled_bytes) {
                continue;
            }
            return Ok(segments.get(place + 1).copied());
        }
        Ok(None)
    }
}

/// The thread that trims. Dropping it ends the thread once what it is doing is done.
#[derive(Debug)]
pub(super) struct Trimmer {
    tails: Option<SyncSender<u64>>,
    thread: Option<JoinHandle<()>>,
}

impl Trimmer {
    /// Errors: the system gives no thread.
    pub(super) fn start(trim: Trim) -> Result<Self, JournalError> {
        let (tails, told) = sync_channel(TAILS_TOLD_MAX);
        let thread = std::thread::Builder::new()
            .name("trimmer".into())
            .spawn(move || run(trim, &told))
            .map_err(JournalError::Thread)?;
        Ok(Self {
            tails: Some(tails),
            thread: Some(thread),
        })
    }

    /// No record numbered below `tail` is needed any more. Never waits: while the thread is busy this is left to the next time.
    pub(super) fn tell(&self, tail: u64) {
        if let Some(tails) = &self.tails {
            let _ = tails.try_send(tail);
        }
    }
}

impl Drop for Trimmer {
    fn drop(&mut self) {
        self.tails = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(mut trim: Trim, tails: &Receiver<u64>) {
    for tail in tails {
        match trim.trim(tail) {
            Ok(0) => {}
            Ok(removed) => eprintln!("the journal was trimmed: {removed} segments removed"),
            // The journal goes on; the disk fills up as without trimming.
            Err(error) => eprintln!("warning: the journal cannot be trimmed: {error}"),
        }
    }
}

#[cfg(test)]
#[path = "trim_tests.rs"]
mod tests;

/// Places that the trimmer was told and has not looked at: the newest says what all before it do.
pub(crate) const TAILS_TOLD_MAX: usize = 1;
