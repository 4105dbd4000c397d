//! The journal's thread: group commit, and the handle through which its owner feeds it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fairlane_engine::effect::SnapshotPart;

use super::append::Append;
use super::device::Files;
use super::lock::FolderLock;
use super::reader::{JournalEnd, JournalReader, JournalRecord};
use super::record::{Kind, MARK_FRAME_LEN, Record, frame_len, push_durable_mark, push_frame};
use super::segment::{Segments, Store, segment_path, sync_folder};
use super::snapshot::{Found, find_snapshot};
use super::stop_mark::StopMark;
use super::trim::{Trim, Trimmer};
use super::{
    BODY_LEN_MAX, Durability, GROUP_LEN_MAX, JournalConfig, JournalError, QUEUE_BYTES_MAX,
    SEGMENT_LEN_MIN,
};

/// The owner's end of a journal. Dropping it stops the journal once everything queued is written.
#[derive(Debug)]
pub struct Journal<B> {
    queue: rtrb::Producer<Record<B>>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    body_len_max: usize,
    /// Number of the next record.
    next: u64,
    /// What was chosen; none in tests with a disk of their own.
    append: Option<Append>,
    /// Held until the thread has ended; none in tests without a folder.
    lock: Option<FolderLock>,
}

/// Why a record was not taken; it comes back.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused<B> {
    /// As many records or bytes as may wait are waiting: try again when the journal reports progress.
    Full(Record<B>),
    /// The journal has failed: see [`Journal::failure`].
    Failed(Record<B>),
    /// The body is above the bound.
    TooLarge(Record<B>),
}

/// What a journal has done since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct JournalStats {
    /// Records written.
    pub records: u64,
    /// Writes, each of one group of records.
    pub groups: u64,
    /// Syncs of groups; preparing disk space is not counted.
    pub syncs: u64,
    /// Bytes written.
    pub bytes: u64,
}

impl<B: AsRef<[u8]> + Send + 'static> Journal<B> {
    /// Opens the journal in the configured folder, cuts a torn tail, begins a new segment and starts the thread.
    ///
    /// `wake` is called on the journal's thread after each progress of [`durable`](Self::durable), and on failure. Errors:
    /// as of [`StoppedJournal::open`] and [`StoppedJournal::start`].
    pub fn start(
        config: &JournalConfig,
        wake: impl Fn() + Send + 'static,
    ) -> Result<Self, JournalError> {
        StoppedJournal::open(config)?.start(wake)
    }

    pub(super) fn start_on(
        store: impl Store,
        config: &JournalConfig,
        records: u64,
        trim: Option<Trim>,
        wake: impl Fn() + Send + 'static,
    ) -> Result<Self, JournalError> {
        let (queue, taken) = rtrb::RingBuffer::new(config.queue_len_max);
        let shared = Arc::new(Shared {
            durable: AtomicU64::new(records),
            ..Shared::default()
        });
        let writer = Writer {
            queue: taken,
            shared: Arc::clone(&shared),
            store,
            wake,
            durability: config.durability,
            buffer: Vec::new(),
            written: records,
            synced: records,
            marked: records,
            synced_at: Instant::now(),
            is_idle: true,
            part_len: PART_LEN,
            trimmer: trim.map(Trimmer::start).transpose()?,
            snapshot: None,
        };
        let thread = std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || writer.run())
            .map_err(JournalError::Thread)?;
        let body_len_max = BODY_LEN_MAX.min(config.segment_len as usize / 2);
        Ok(Self {
            queue,
            shared,
            thread: Some(thread),
            body_len_max,
            next: records,
            append: None,
            lock: None,
        })
    }

    /// Queues a record and gives its number. Never waits.
    ///
    /// Panics on one of the journal's own kinds.
    pub fn try_push(&mut self, record: Record<B>) -> Result<u64, Refused<B>> {
        assert!(
            !record.kind.is_own(),
            "headers and marks are the journal's own"
        );
        let len = record.body.as_ref().len();
        if len > self.body_len_max {
            return Err(Refused::TooLarge(record));
        }
        if self.failure().is_some() {
            return Err(Refused::Failed(record));
        }
        let waiting = self.shared.queued_bytes.load(Ordering::Acquire);
        if waiting > 0 && waiting + len as u64 > QUEUE_BYTES_MAX {
            return Err(Refused::Full(record));
        }
        // Before the push, so that the writer never takes off what was not added.
        self.shared
            .queued_bytes
            .fetch_add(len as u64, Ordering::AcqRel);
        if let Err(rtrb::PushError::Full(record)) = self.queue.push(record) {
            self.shared
                .queued_bytes
                .fetch_sub(len as u64, Ordering::AcqRel);
            return Err(Refused::Full(record));
        }
        self.wake_writer();
        self.next += 1;
        Ok(self.next - 1)
    }

    /// Every record numbered below this is durable in the sense of the configured [`Durability`].
    pub fn durable(&self) -> u64 {
        self.shared.durable.load(Ordering::Acquire)
    }

    /// Whether the disk has no room: records wait, and are written once there is some. Nothing is lost, nothing is durable.
    pub fn is_disk_full(&self) -> bool {
        self.shared.disk_full.load(Ordering::Acquire)
    }

    /// Why the journal has ended; the node must stop then.
    pub fn failure(&self) -> Option<&Arc<JournalError>> {
        self.shared.failure.get()
    }

    /// By which system calls groups are written, and why. None where a test has a disk of its own.
    pub const fn append_path(&self) -> Option<&Append> {
        self.append.as_ref()
    }

    /// What was done so far.
    pub fn stats(&self) -> JournalStats {
        self.shared.stats()
    }

    /// Writes and syncs everything queued, and ends the thread.
    pub fn stop(mut self) -> Result<JournalStats, Arc<JournalError>> {
        self.join();
        match self.failure() {
            Some(failure) => Err(Arc::clone(failure)),
            None => Ok(self.stats()),
        }
    }

    fn wake_writer(&self) {
        // Pairs with the fence in `Writer::park`: either the writer sees the record, or this sees it parked.
        fence(Ordering::SeqCst);
        if self.shared.parked.load(Ordering::Relaxed)
            && let Some(thread) = &self.thread
        {
            thread.thread().unpark();
        }
    }
}

impl<B> Journal<B> {
    fn join(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // The thread does not panic on what it is given; if it did, its message is on stderr and the rest goes on.
            let _ = thread.join();
        }
    }
}

impl<B> Drop for Journal<B> {
    fn drop(&mut self) {
        self.join();
        self.lock = None;
    }
}

/// A journal that is held and read, and not written yet.
#[derive(Debug)]
pub struct StoppedJournal {
    config: JournalConfig,
    lock: FolderLock,
    reader: JournalReader,
    trim: Option<Trim>,
}

impl StoppedJournal {
    /// Takes the configured folder, which is made if it is not there.
    ///
    /// Errors: the folder is in use or has a gap, the segments are to be too short, or the system refuses.
    pub fn open(config: &JournalConfig) -> Result<Self, JournalError> {
        if config.segment_len < SEGMENT_LEN_MIN {
            return Err(JournalError::SegmentLen(config.segment_len));
        }
        let lock = FolderLock::take(&config.folder)?;
        let reader = JournalReader::open_own(&config.folder, config.identity)?;
        Ok(Self {
            config: config.clone(),
            lock,
            reader,
            trim: None,
        })
    }

    /// The next record; none at the end. Errors: as of [`JournalReader::try_next`], or it is somebody else's journal.
    pub fn try_next(&mut self) -> Result<Option<JournalRecord<'_>>, JournalError> {
        self.reader.try_next()
    }

    /// Where the record that was read last begins.
    pub fn place(&self) -> Option<(&Path, u64)> {
        self.reader.place()
    }

    /// Goes on behind the newest whole snapshot, before anything is read: gives its parts, and how many records there are
    /// before the next one. None when there is no snapshot.
    ///
    /// Errors: as of [`JournalReader::try_next`].
    pub fn seek_snapshot(&mut self) -> Result<Option<Found>, JournalError> {
        let (found, newest) = find_snapshot(&self.config.folder)?;
        self.reader.give(newest);
        if let Some((_, before)) = &found {
            self.reader.seek(*before)?;
        }
        Ok(found)
    }

    /// Has old segments removed while the journal runs.
    pub fn set_trim(&mut self, trim: Trim) {
        self.trim = Some(trim);
    }

    /// Reads what is left, cuts a torn tail, begins a new segment and starts the thread; see [`Journal::start`].
    ///
    /// Says on stderr what was cut. Errors: the journal is foreign, corrupt or full, or the system refuses.
    pub fn start<B: AsRef<[u8]> + Send + 'static>(
        mut self,
        wake: impl Fn() + Send + 'static,
    ) -> Result<Journal<B>, JournalError> {
        while self.try_next()?.is_some() {}
        let end = self.reader.into_end()?;
        StopMark::remove(&self.config.folder)?;
        let (index, records) = cut_torn_tail(&self.config.folder, end)?;
        let (append, ring) = Append::choose(self.config.append)?;
        let store = Segments::begin(
            Files::new(ring),
            &self.config.folder,
            self.config.identity,
            self.config.segment_len,
            index,
            records,
        )?;
        let mut journal = Journal::start_on(store, &self.config, records, self.trim, wake)?;
        journal.append = Some(append);
        journal.lock = Some(self.lock);
        Ok(journal)
    }
}

#[derive(Debug, Default)]
struct Shared {
    durable: AtomicU64,
    queued_bytes: AtomicU64,
    parked: AtomicBool,
    stopping: AtomicBool,
    disk_full: AtomicBool,
    failure: OnceLock<Arc<JournalError>>,
    records: AtomicU64,
    groups: AtomicU64,
    syncs: AtomicU64,
    bytes: AtomicU64,
}

impl Shared {
    fn stats(&self) -> JournalStats {
        JournalStats {
            records: self.records.load(Ordering::Relaxed),
            groups: self.groups.load(Ordering::Relaxed),
            syncs: self.syncs.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}

struct Writer<B, S, W> {
    queue: rtrb::Consumer<Record<B>>,
    shared: Arc<Shared>,
    store: S,
    wake: W,
    durability: Durability,
    buffer: Vec<u8>,
    /// Records appended, synced, and vouched for by a mark or a header: marked <= synced <= written.
    written: u64,
    synced: u64,
    marked: u64,
    synced_at: Instant,
    /// Nothing came for [`PREPARE_DELAY`] after the last group.
    is_idle: bool,
    /// See [`PART_LEN`].
    part_len: usize,
    trimmer: Option<Trimmer>,
    /// A snapshot that is written and not synced: how many records it is durable with, and where its tail begins.
    snapshot: Option<(u64, u64)>,
}

impl<B: AsRef<[u8]> + Send, S: Store, W: Fn()> Writer<B, S, W> {
    fn run(mut self) {
        if let Err(error) = self.write_until_stopped() {
            // Set once, here only.
            let _ = self.shared.failure.set(Arc::new(error));
            (self.wake)();
        }
    }

    fn write_until_stopped(&mut self) -> Result<(), JournalError> {
        loop {
            // Asked before the queue is looked at: what was queued before the stop is then seen.
            let stopping = self.shared.stopping.load(Ordering::Acquire);
            if self.queue.slots() > 0 {
                self.is_idle = false;
                self.write_group()?;
            } else if stopping {
                self.sync()?;
                self.store.close(self.written);
                return Ok(());
            } else {
                self.idle()?;
            }
            if self.is_sync_due() {
                self.sync()?;
            }
        }
    }

    /// Writes what is queued, up to the bound of a group or the end of the segment, and reports it.
    fn write_group(&mut self) -> Result<(), JournalError> {
        self.buffer.clear();
        let mut taken = 0;
        let mut body_bytes = 0;
        let mut group_len = 0;
        while group_len + self.buffer.len() < GROUP_LEN_MAX {
            let Ok(record) = self.queue.peek() else {
                break;
            };
            let len = record.body.as_ref().len();
            if self.marked < self.synced && taken == 0 {
                push_durable_mark(&mut self.buffer, self.store.salt(), self.synced);
            }
            let end = (self.buffer.len() + frame_len(len) + MARK_FRAME_LEN) as u64;
            if end > self.store.left() {
                if taken > 0 {
                    break;
                }
                self.roll()?;
                continue;
            }
            push_frame(
                &mut self.buffer,
                record.kind,
                record.epoch,
                record.body.as_ref(),
            );
            taken += 1;
            if record.kind == Kind::Snapshot
                && let Ok(part) = SnapshotPart::decode(record.body.as_ref())
                && part.index + 1 == part.of
            {
                self.snapshot = Some((self.written + taken, part.tail_from.saturating_sub(1)));
            }
            let _ = self.queue.pop();
            body_bytes += len as u64;
            if self.buffer.len() >= self.part_len {
                self.wait_for_room(|writer| writer.store.append_part(&writer.buffer))?;
                group_len += self.buffer.len();
                self.buffer.clear();
            }
        }
        self.marked = self.synced;
        let is_synced = self.durability == Durability::Sync;
        self.wait_for_room(|writer| match is_synced {
            true => writer.store.append_synced(&mut writer.buffer),
            false => writer.store.append(&writer.buffer),
        })?;
        self.written += taken;
        self.shared
            .queued_bytes
            .fetch_sub(body_bytes, Ordering::AcqRel);
        self.shared.records.fetch_add(taken, Ordering::Relaxed);
        self.shared.groups.fetch_add(1, Ordering::Relaxed);
        self.shared
            .bytes
            .fetch_add((group_len + self.buffer.len()) as u64, Ordering::Relaxed);
        if is_synced {
            self.on_synced();
        }
        self.shared.durable.store(self.written, Ordering::Release);
        (self.wake)();
        Ok(())
    }

    /// Everything before a new segment is durable, which its header vouches for.
    fn roll(&mut self) -> Result<(), JournalError> {
        self.buffer.clear();
        self.sync()?;
        self.wait_for_room(|writer| writer.store.roll(writer.written))?;
        self.marked = self.written;
        Ok(())
    }

    /// Tries again while the disk is full: what was half written is written over (I5 of the journal).
    ///
    /// Errors: any other failure; or the disk is full still when the journal is to stop.
    fn wait_for_room(
        &mut self,
        mut write: impl FnMut(&mut Self) -> Result<(), JournalError>,
    ) -> Result<(), JournalError> {
        loop {
            let outcome = write(self);
            let is_full = matches!(outcome, Err(JournalError::Full { .. }));
            if self.shared.disk_full.swap(is_full, Ordering::AcqRel) != is_full {
                (self.wake)();
            }
            if !is_full || self.shared.stopping.load(Ordering::Acquire) {
                return outcome;
            }
            std::thread::park_timeout(ROOM_RETRY_INTERVAL);
        }
    }

    fn sync(&mut self) -> Result<(), JournalError> {
        if self.synced < self.written {
            self.store.sync()?;
            self.on_synced();
        }
        self.synced_at = Instant::now();
        Ok(())
    }

    /// All that was written is durable.
    fn on_synced(&mut self) {
        self.shared.syncs.fetch_add(1, Ordering::Relaxed);
        self.synced = self.written;
        if let Some((_, tail)) = self.snapshot.take_if(|(end, _)| *end <= self.synced)
            && let Some(trimmer) = &self.trimmer
        {
            trimmer.tell(tail);
        }
    }

    fn is_sync_due(&self) -> bool {
        self.synced < self.written && self.synced_at.elapsed() >= ASYNC_SYNC_INTERVAL
    }

    /// Waits for a record; when none came for a while, prepares a little disk space.
    fn idle(&mut self) -> Result<(), JournalError> {
        if !std::mem::replace(&mut self.is_idle, true) {
            self.park(Some(PREPARE_DELAY));
            return Ok(());
        }
        match self.store.prepare() {
            Ok(true) => return Ok(()),
            // Whoever writes there next finds out.
            Ok(false) | Err(JournalError::Full { .. }) => {}
            Err(error) => return Err(error),
        }
        self.park((self.synced < self.written).then_some(ASYNC_SYNC_INTERVAL));
        Ok(())
    }

    /// Waits for a record or the stop, at most for `longest`.
    fn park(&self, longest: Option<Duration>) {
        self.shared.parked.store(true, Ordering::Relaxed);
        // Pairs with the fence in `Journal::wake_writer`.
        fence(Ordering::SeqCst);
        if self.queue.slots() == 0 && !self.shared.stopping.load(Ordering::Acquire) {
            match longest {
                Some(longest) => std::thread::park_timeout(longest),
                None => std::thread::park(),
            }
        }
        self.shared.parked.store(false, Ordering::Relaxed);
    }
}

/// Cuts what a crash tore, and gives the index of the segment to begin and the number of its first record.
fn cut_torn_tail(folder: &Path, end: JournalEnd) -> Result<(u64, u64), JournalError> {
    let Some((index, len)) = end.last else {
        return Ok((0, end.records));
    };
    if let Some(torn) = &end.torn {
        eprintln!(
            "the journal ends in a record that a crash tore ({} at byte {}: {}); it never became durable and is cut",
            torn.path.display(),
            torn.offset,
            torn.reason
        );
    }
    let path = segment_path(folder, index);
    if len == 0 {
        std::fs::remove_file(&path).map_err(JournalError::io("removing", &path))?;
        sync_folder(folder)?;
        return Ok((index, end.records));
    }
    cut(&path, len)?;
    Ok((index + 1, end.records))
}

fn cut(path: &Path, len: u64) -> Result<(), JournalError> {
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(path)
        .map_err(JournalError::io("opening", path))?;
    file.set_len(len)
        .map_err(JournalError::io("cutting", path))?;
    file.sync_all().map_err(JournalError::io("syncing", path))
}

/// A longer group is written in parts, so that the disk works at one while the next is made; one sync covers them all.
const PART_LEN: usize = 256 << 10;
/// How long nothing must have come before disk space is prepared: a record that comes during a step of that waits for it.
const PREPARE_DELAY: Duration = Duration::from_millis(1);
/// How soon a full disk is tried again.
const ROOM_RETRY_INTERVAL: Duration = Duration::from_millis(200);
/// With [`Durability::Async`], what is written is synced within this time.
const ASYNC_SYNC_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
#[path = "power_tests.rs"]
mod power_tests;
