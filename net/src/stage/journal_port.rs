//! The core stage's end of the journal: records in order, handed over when somebody waits for them.
//!
//! Only an own vertex is waited for (it leaves when it is durable, and so is everything before it). Other records are kept
//! back until one comes, or for [`KEPT_BACK_US_MAX`]: each hand-over costs a write and an fdatasync, and one that is
//! under way would hold up the vertex behind it. A crash loses what was kept back; none of it had been promised to anybody.
//!
//! What the journal's queue has no room for waits here, too; while it does, the core stage takes nothing new in.

use std::collections::VecDeque;
use std::sync::Arc;

use fairlane_engine::types::{Epoch, TimestampUs};

use super::Fatal;
use crate::journal::{Journal, JournalStats, Kind, Record, Refused};

/// Feeds one journal.
#[derive(Debug)]
pub struct JournalPort {
    journal: Option<Journal<Arc<[u8]>>>,
    epoch: Epoch,
    waiting: VecDeque<Record<Arc<[u8]>>>,
    /// An own vertex is among what waits.
    urgent: bool,
    /// When the first of what waits came.
    since: Option<TimestampUs>,
    /// The queue had no room.
    full: bool,
    /// Of a journal that has ended.
    stats: JournalStats,
}

/// Longest time that records are kept back when no own vertex comes, microseconds.
pub const KEPT_BACK_US_MAX: u64 = 10_000;
/// Records kept back at most.
pub const KEPT_BACK_MAX: usize = 1024;

/// How soon a full queue is tried again; the journal also wakes the stage when it has made progress.
const RETRY_US: u64 = 1_000;
/// And while the disk is full.
const DISK_FULL_RETRY_US: u64 = 100_000;

impl JournalPort {
    /// For a journal whose records are those of the engine, counted from 1, and no others.
    pub const fn new(journal: Journal<Arc<[u8]>>, epoch: Epoch) -> Self {
        Self {
            journal: Some(journal),
            epoch,
            waiting: VecDeque::new(),
            urgent: false,
            since: None,
            full: false,
            stats: JournalStats {
                records: 0,
                groups: 0,
                syncs: 0,
                bytes: 0,
            },
        }
    }

    /// Appends a record behind all before it.
    pub fn append(&mut self, kind: Kind, body: Arc<[u8]>) {
        self.urgent |= kind == Kind::OwnVertex;
        self.waiting.push_back(Record {
            kind,
            epoch: self.epoch,
            body,
        });
    }

    /// Hands on what waits if it is time to; gives when it will be. Errors: the journal has failed, and why.
    pub fn poll(&mut self, now: TimestampUs) -> Result<Option<TimestampUs>, Fatal> {
        if let Some(failure) = self.journal.as_ref().and_then(Journal::failure) {
            return Err(Fatal(failure.to_string()));
        }
        if self.waiting.is_empty() {
            return Ok(None);
        }
        let due = self.since.get_or_insert(now).plus_us(KEPT_BACK_US_MAX);
        if self.urgent || self.full || now >= due || self.waiting.len() >= KEPT_BACK_MAX {
            self.flush()?;
        }
        Ok((!self.waiting.is_empty()).then_some(match self.full {
            true if self.is_disk_full() => now.plus_us(DISK_FULL_RETRY_US),
            true => now.plus_us(RETRY_US),
            false => due,
        }))
    }

    /// Hands on what waits, as far as there is room.
    fn flush(&mut self) -> Result<(), Fatal> {
        let Some(journal) = &mut self.journal else {
            return Ok(());
        };
        (self.urgent, self.since, self.full) = (false, None, false);
        while let Some(record) = self.waiting.pop_front() {
            match journal.try_push(record) {
                Ok(_) => {}
                Err(Refused::Full(record)) => {
                    self.waiting.push_front(record);
                    self.full = true;
                    break;
                }
                // Told at the next poll, once the journal has named it.
                Err(Refused::Failed(_)) => break,
                Err(Refused::TooLarge(record)) => {
                    let len = record.body.len();
                    return Err(Fatal(format!(
                        "a record of {len} bytes is too long for the journal"
                    )));
                }
            }
        }
        Ok(())
    }

    /// Whether records wait for room.
    pub const fn is_backlogged(&self) -> bool {
        self.full
    }

    /// Whether the disk has no room: nothing becomes durable until it has.
    pub fn is_disk_full(&self) -> bool {
        self.journal.as_ref().is_some_and(Journal::is_disk_full)
    }

    /// How many of the records are durable, those from before this process among them.
    pub fn durable(&self) -> u64 {
        self.journal.as_ref().map_or(0, Journal::durable)
    }

    /// What was done so far; at the end, all of it.
    pub fn stats(&self) -> JournalStats {
        self.journal.as_ref().map_or(self.stats, Journal::stats)
    }

    /// Writes and syncs everything and ends the journal's thread. Errors: the journal has failed, or the disk is full: what
    /// waited for it had been promised to nobody.
    pub fn finish(&mut self) -> Result<(), Fatal> {
        while !self.waiting.is_empty() && !self.is_disk_full() {
            self.flush()?;
            std::thread::yield_now();
        }
        match self.journal.take().map(Journal::stop) {
            Some(Err(failure)) => Err(Fatal(failure.to_string())),
            Some(Ok(stats)) => {
                self.stats = stats;
                Ok(())
            }
            None => Ok(()),
        }
    }
}
