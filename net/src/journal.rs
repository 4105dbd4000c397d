//! The node's journal: what must survive a crash, in pre-allocated segments, made durable in groups.
//!
//! One thread takes everything that is queued, writes it with one call and makes it durable with one `fdatasync`, then
//! says up to which record number that holds. So the cost of a sync is shared by all records that came while the one
//! before was running, and nobody waits for more than two of them.
//!
//! ```text
//! journal-0000000000.seg   | Header | Durable | record | record | .. | Durable | record | .. zeros |
//! record                   | length u32 | kind u8 | epoch u32 | crc32c u32 | body |      big-endian
//! ```
//!
//! The crc covers length, kind, epoch and body. Kind 0 is no kind, so zeros end a segment.
//!
//! I1 a record number is reported durable only after the `fdatasync` that covers it (with [`Durability::Async`]: after
//!    the write; the sync follows within a second).
//! I2 a segment is synced before the next one begins, and each `Durable` mark says how many records were synced when it
//!    was written. So a flaw is a torn tail exactly when no later mark and no later segment vouches for what it hit:
//!    pages of one unsynced write may reach the disk in any order, and a valid record behind a bad one proves nothing.
//!    Marks repeat a random salt of their segment, so that nobody forges one inside a body.
//! I3 a torn tail is cut when the journal is next started; a corrupt middle is an error, never skipped. Where the journal
//!    was stopped cleanly a mark says how far it went ([`stop_mark`]): then a torn or missing end is an error, too.
//! I4 an error of the disk ends the journal. After a failed `fdatasync` above all, whatever its reason: the system may have
//!    dropped the pages that it could not write and call the next sync a success, so trying again would vouch for what is
//!    not there.
//! I5 but for a disk that is full when something is written: the writer waits and writes the same bytes at the same place
//!    again until there is room. Meanwhile nothing becomes durable, so nothing is sent; what is half written is no whole
//!    record, and a crash then leaves a torn tail. A segment's space is reserved when it is begun, so this is where a full
//!    disk is met, where the file system can reserve.
//! I6 a segment is removed only when a durable snapshot makes it needless for a start ([`Trim`]); the lowest goes first.
//!
//! Measured (ext4 on a virtio disk, p50 of write + fdatasync, 4 KiB / 32 KiB, two interleaved runs of 150): plain append
//! 200 / 250 us, `fallocate` only 200 / 340 us (each write converts unwritten extents), zeroed beforehand 180 / 180 us.
//! Zeroing 8 MiB costs 16 ms, the whole 64 MiB 130 ms. Hence: reserve the segment, zero its first 8 MiB at start, and keep
//! 8 MiB ahead of the writer in steps of 256 KiB once nothing came for a millisecond, but not behind a group of 128 KiB or
//! more: there the zeros cost more than they save.
//!
//! A group is written and synced by `pwrite` and `fdatasync`, or as one submission of both, linked, to an io_uring
//! ([`AppendChoice`]). The kernel hands every sync of an io_uring to a worker thread. Where the journal's thread has a core of
//! its own that costs nothing and saves nothing (4 KiB: 165 us and 87 us of processor, 165 and 89 with io_uring); where the
//! worker wakes up elsewhere it doubles both (110 and 39 us, 190 and 91). So the plain calls are the default. What pays with
//! both: a group of more than 256 KiB is written in parts, and the disk begins with one while the next is encoded (groups of
//! 1 MB then reach 0.93 to 1.00 of a bare loop's throughput, 0.77 without).

mod append;
mod batches;
mod device;
mod loader;
mod lock;
mod reader;
mod record;
mod segment;
mod snapshot;
mod stop_mark;
mod survey;
mod trim;
mod uring;
mod writeback;
mod writer;

use std::path::{Path, PathBuf};

use fairlane_engine::types::{AuthorityIndex, ChainId};
use fairlane_engine::wire::DecodeError;

pub use append::{Append, AppendChoice, AppendPath};
pub use batches::{BatchReader, INDEXED_SEGMENTS_MAX};
pub use loader::BatchLoader;
pub use lock::FolderLock;
pub use reader::{JournalEnd, JournalReader, JournalRecord, Torn};
pub use record::{Kind, Record};
pub(crate) use segment::{draw_salt, sync_folder};
pub use survey::{JournalSurvey, KindFigures, Range, SegmentFigures};
pub(crate) use trim::TAILS_TOLD_MAX;
pub use trim::{Retention, Trim};
pub use writer::{Journal, JournalStats, Refused, StoppedJournal};

/// When a record counts as durable.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    serde::Serialize,
    serde::Deserialize,
    clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// After `fdatasync`: survives the loss of power.
    #[default]
    Sync,
    /// After the write, with an `fdatasync` a second: survives the death of the process only.
    Async,
}

/// Whose journal it is: stands at the start of every segment, so that folders are not mixed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalIdentity {
    /// The chain.
    pub chain_id: ChainId,
    /// The authority whose node writes.
    pub authority: AuthorityIndex,
}

impl std::fmt::Display for JournalIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of chain {}", self.authority, self.chain_id.0)
    }
}

/// How a journal is kept.
#[derive(Clone, Debug)]
pub struct JournalConfig {
    /// The data folder; made if it is not there.
    pub folder: PathBuf,
    /// Whose journal it is.
    pub identity: JournalIdentity,
    /// When a record counts as durable.
    pub durability: Durability,
    /// By which system calls groups are written and made durable.
    pub append: AppendChoice,
    /// Bytes in a segment, at least [`SEGMENT_LEN_MIN`].
    pub segment_len: u64,
    /// Records that wait for the disk at most; when as many wait, [`Journal::try_push`] gives the record back.
    pub queue_len_max: usize,
}

impl JournalConfig {
    /// The defaults for `folder`: sync, 64 MiB segments, 8,192 queued records.
    pub fn new(folder: impl Into<PathBuf>, identity: JournalIdentity) -> Self {
        Self {
            folder: folder.into(),
            identity,
            durability: Durability::default(),
            append: AppendChoice::default(),
            segment_len: SEGMENT_LEN_DEFAULT,
            queue_len_max: QUEUE_LEN_DEFAULT,
        }
    }
}

/// Why a journal cannot be written or read. Each is one sentence for the operator.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk or the quota is full.
    #[error("the disk that holds {} is full: free some space", path.display())]
    Full {
        /// What was being written.
        path: PathBuf,
    },
    /// Any other failure of the system.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// To which file or folder.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Another process holds the folder.
    #[error("{} is in use by another process: stop it or choose another data folder", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// The folder belongs to another chain or authority.
    #[error(
        "{} says at byte 0 that it is of {found}, and it should be of {expected}: choose another data folder",
        path.display()
    )]
    Foreign {
        /// The segment that says so.
        path: PathBuf,
        /// Whose it is.
        found: JournalIdentity,
        /// Whose it should be.
        expected: JournalIdentity,
    },
    /// A durable record is damaged: nothing behind it may be used without it.
    #[error(
        "{} is corrupt at byte {offset} ({reason}), in a part that was durable: restore it from a copy, or start anew",
        path.display()
    )]
    Corrupt {
        /// The segment.
        path: PathBuf,
        /// Offset of the bad record, bytes.
        offset: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A header record does not decode though its checksum holds: another version wrote it.
    #[error(
        "{} begins at byte 0 with a header of another format ({source}): use the version of fairlane that wrote it",
        path.display()
    )]
    Header {
        /// The segment.
        path: PathBuf,
        /// Why.
        source: DecodeError,
    },
    /// A whole record is of a kind that is not known.
    #[error(
        "{} holds at byte {offset} a record of kind {code}, which this version does not know: use the version of fairlane that wrote it",
        path.display()
    )]
    UnknownKind {
        /// The segment.
        path: PathBuf,
        /// Offset of the record, bytes.
        offset: u64,
        /// Its kind's code.
        code: u8,
    },
    /// The configured segment is too short.
    #[error("segments of {0} bytes are too short: at least {SEGMENT_LEN_MIN}")]
    SegmentLen(u64),
    /// io_uring was demanded for the journal and does not work here.
    #[error(
        "the journal cannot be written through io_uring here ({0}): allow io_uring, or set journal_backend to auto or plain"
    )]
    UringRefused(std::io::Error),
    /// The journal's thread cannot be started.
    #[error("the journal's thread cannot be started: {0}")]
    Thread(std::io::Error),
}

impl JournalError {
    /// Maps an error of syncing `path`. A full disk is no exception: what was written may be lost (I4).
    pub(crate) fn sync<E: Into<std::io::Error>>(path: &Path) -> impl FnOnce(E) -> Self {
        // The path is copied when it is told, not in every call that goes well.
        move |source| Self::Io {
            what: "syncing",
            path: path.to_path_buf(),
            source: source.into(),
        }
    }

    /// Maps an error of the system on `path`, telling a full disk from the rest.
    pub(crate) fn io<E: Into<std::io::Error>>(
        what: &'static str,
        path: &Path,
    ) -> impl FnOnce(E) -> Self {
        move |source| {
            let (source, path) = (source.into(), path.to_path_buf());
            match source.kind() {
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                    Self::Full { path }
                }
                _ => Self::Io { what, path, source },
            }
        }
    }
}

/// Bytes in a segment unless configured otherwise.
pub const SEGMENT_LEN_DEFAULT: u64 = 64 << 20;
/// Shortest segment, bytes.
pub const SEGMENT_LEN_MIN: u64 = 4096;
/// Longest body of a record, bytes; half a segment where segments are short. A batch's archive fits.
pub const BODY_LEN_MAX: usize = 2 << 20;
/// Records that wait for the disk unless configured otherwise.
pub const QUEUE_LEN_DEFAULT: usize = 8192;
/// Bytes that wait for the disk at most; when as many wait, [`Journal::try_push`] gives the record back.
pub const QUEUE_BYTES_MAX: u64 = 64 << 20;
/// Bytes in one write, give or take a record: beyond, a longer group gains nothing.
pub const GROUP_LEN_MAX: usize = 4 << 20;

#[cfg(test)]
mod tests;

#[cfg(test)]
mod fake_disk_tests;

#[cfg(test)]
mod cost_tests;
