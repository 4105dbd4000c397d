//! Segment files: names, pre-allocation, appending, rolling over.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::fsync;

use super::device::{Device, Unsynced};
use super::record::SegmentHeader;
use super::stop_mark::StopMark;
use super::{JournalError, JournalIdentity};

/// Where the writer's bytes go. The one implementation is [`Segments`]; tests have one whose disk fails.
pub(super) trait Store: Send + 'static {
    /// The current segment's salt, which its marks repeat.
    fn salt(&self) -> u64;
    /// Bytes that the current segment still takes.
    fn left(&self) -> u64;
    /// Writes `frames` behind what is there; they fit.
    fn append(&mut self, frames: &[u8]) -> Result<(), JournalError>;
    /// As [`append`](Self::append), where more follows before the next sync: the disk may begin with it.
    fn append_part(&mut self, frames: &[u8]) -> Result<(), JournalError>;
    /// Returns when everything appended is durable.
    fn sync(&mut self) -> Result<(), JournalError>;
    /// Both; afterwards `frames` is as it was, except after the failure of a sync.
    fn append_synced(&mut self, frames: &mut Vec<u8>) -> Result<(), JournalError>;
    /// Begins the next segment; everything in the current one is synced. After [`JournalError::Full`] it may be asked for
    /// again, as [`append`](Self::append) may.
    fn roll(&mut self, first_record: u64) -> Result<(), JournalError>;
    /// Says for the next start how far the journal went, everything being synced. Where that fails, it is as after a crash.
    fn close(&mut self, records: u64);
    /// A small step of preparing disk space, for an idle writer; false when nothing is left to prepare.
    fn prepare(&mut self) -> Result<bool, JournalError>;
}

/// The segments of a folder, of which the last is written.
#[derive(Debug)]
pub(super) struct Segments<D: Device> {
    device: D,
    folder: PathBuf,
    identity: JournalIdentity,
    segment_len: u64,
    index: u64,
    path: PathBuf,
    file: D::File,
    salt: u64,
    /// Bytes written so far.
    used: u64,
    /// Bytes that are known to be written or zeroed on the disk: writing there changes no metadata.
    zeroed: u64,
    /// Bytes of the last group, and of the parts of one that is being appended.
    last_len: u64,
    parts_len: u64,
    /// The file is made and its header not written: the disk filled up in between.
    is_headless: bool,
}

impl<D: Device> Segments<D> {
    /// Begins segment `index` of `folder` and zeroes its start.
    pub(super) fn begin(
        mut device: D,
        folder: &Path,
        identity: JournalIdentity,
        segment_len: u64,
        index: u64,
        first_record: u64,
    ) -> Result<Self, JournalError> {
        let path = segment_path(folder, index);
        let file = device.make(&path, segment_len)?;
        let mut segments = Self {
            device,
            folder: folder.to_path_buf(),
            identity,
            segment_len,
            index,
            path,
            file,
            salt: 0,
            used: 0,
            zeroed: 0,
            last_len: 0,
            parts_len: 0,
            is_headless: false,
        };
        segments.zero_ahead(ZERO_AHEAD)?;
        segments.write_header(first_record)?;
        Ok(segments)
    }

    /// Durable before any record follows, so that a segment with records and no header is known to be corrupt.
    fn write_header(&mut self, first_record: u64) -> Result<(), JournalError> {
        self.salt = draw_salt(&self.path)?;
        let header = SegmentHeader {
            identity: self.identity,
            first_record,
            salt: self.salt,
        };
        self.append(&header.to_frame())?;
        self.sync()
    }

    /// The last `len` bytes of a group are written.
    fn end_group(&mut self, len: u64) {
        self.used += len;
        self.last_len = std::mem::take(&mut self.parts_len) + len;
    }

    /// Zeroes up to `len` more bytes behind what is zeroed; false when the segment ends there.
    fn zero_ahead(&mut self, len: u64) -> Result<bool, JournalError> {
        let from = self.zeroed.max(self.used);
        let to = (from + len).min(self.segment_len);
        let mut at = from;
        while at < to {
            let step = (to - at).min(ZEROS.len() as u64);
            self.device
                .write(&self.file, &ZEROS[..step as usize], at)
                .map_err(JournalError::io("zeroing", &self.path))?;
            at += step;
        }
        self.zeroed = to;
        Ok(to > from)
    }
}

impl<D: Device> Store for Segments<D> {
    fn salt(&self) -> u64 {
        self.salt
    }

    fn left(&self) -> u64 {
        self.segment_len - self.used
    }

    fn append(&mut self, frames: &[u8]) -> Result<(), JournalError> {
        self.device
            .write(&self.file, frames, self.used)
            .map_err(JournalError::io("writing", &self.path))?;
        self.end_group(frames.len() as u64);
        Ok(())
    }

    fn append_part(&mut self, frames: &[u8]) -> Result<(), JournalError> {
        // The page that the next part begins in is left to its writeback: none is written twice.
        let whole = |at: u64| at - at % PAGE_LEN;
        let from = whole(self.used);
        self.device
            .write(&self.file, frames, self.used)
            .map_err(JournalError::io("writing", &self.path))?;
        self.used += frames.len() as u64;
        self.parts_len += frames.len() as u64;
        let to = whole(self.used);
        self.device.begin_writeback(&self.file, from, to - from);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), JournalError> {
        self.device
            .sync(&self.file)
            .map_err(JournalError::sync(&self.path))
    }

    fn append_synced(&mut self, frames: &mut Vec<u8>) -> Result<(), JournalError> {
        let len = frames.len() as u64;
        self.device
            .write_synced(&self.file, frames, self.used)
            .map_err(|unsynced| match unsynced {
                Unsynced::Write(error) => JournalError::io("writing", &self.path)(error),
                Unsynced::Sync(error) => JournalError::sync(&self.path)(error),
            })?;
        self.end_group(len);
        Ok(())
    }

    fn roll(&mut self, first_record: u64) -> Result<(), JournalError> {
        if !self.is_headless {
            let path = segment_path(&self.folder, self.index + 1);
            self.file = self.device.make(&path, self.segment_len)?;
            self.path = path;
            self.index += 1;
            (self.used, self.zeroed) = (0, 0);
            self.is_headless = true;
        }
        self.write_header(first_record)?;
        self.is_headless = false;
        Ok(())
    }

    fn close(&mut self, records: u64) {
        let mark = StopMark {
            identity: self.identity,
            records,
            segment: self.index,
            offset: self.used,
        };
        if let Err(error) = mark.write(&self.folder) {
            eprintln!("warning: the journal is whole, but not marked as stopped: {error}");
        }
    }

    fn prepare(&mut self) -> Result<bool, JournalError> {
        if self.last_len >= ZERO_NO_MORE_LEN {
            return Ok(false);
        }
        if self.zeroed >= self.used + ZERO_AHEAD || !self.zero_ahead(ZERO_STEP)? {
            return Ok(false);
        }
        self.sync()?;
        Ok(true)
    }
}

/// Makes the names in `folder` durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), JournalError> {
    let handle = File::open(folder).map_err(JournalError::io("opening", folder))?;
    fsync(&handle).map_err(JournalError::sync(folder))
}

/// A random number for the file at `path`, which no client can know.
pub(crate) fn draw_salt(path: &Path) -> Result<u64, JournalError> {
    let failed = |error: getrandom::Error| std::io::Error::other(error.to_string());
    getrandom::u64()
        .map_err(failed)
        .map_err(JournalError::io("drawing a salt for", path))
}

/// The file of segment `index`.
pub(super) fn segment_path(folder: &Path, index: u64) -> PathBuf {
    folder.join(format!("journal-{index:010}.seg"))
}

/// The indices of the segments in `folder`, ascending; a folder that is not there has none.
pub(super) fn segment_indices(folder: &Path) -> Result<Vec<u64>, JournalError> {
    let listing = match std::fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(JournalError::io("listing", folder)(error)),
    };
    let mut indices = Vec::new();
    for entry in listing {
        let entry = entry.map_err(JournalError::io("listing", folder))?;
        let name = entry.file_name();
        let digits = name
            .to_str()
            .and_then(|name| name.strip_prefix("journal-")?.strip_suffix(".seg"));
        indices.extend(digits.and_then(|digits| digits.parse::<u64>().ok()));
    }
    indices.sort_unstable();
    Ok(indices)
}

/// Zeroed bytes that the writer keeps ahead of itself.
const ZERO_AHEAD: u64 = 8 << 20;
/// Zeroed in one step while idle: with its sync well below a millisecond, which a record may have to wait.
const ZERO_STEP: u64 = 256 << 10;
/// While groups are as long as this, nothing is zeroed ahead of them: a step and its sync take longer than its zeros save
/// the two groups or fewer that fit in, and the next group would wait for it.
const ZERO_NO_MORE_LEN: u64 = ZERO_STEP / 2;
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
/// What the system writes at a time, or a multiple of it.
const PAGE_LEN: u64 = 4096;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use fairlane_engine::types::{AuthorityIndex, ChainId};

    use super::*;

    /// A device that counts the bytes written, and those whose writeback was begun.
    struct Counting(Arc<AtomicU64>, Arc<AtomicU64>);

    impl Device for Counting {
        type File = ();

        fn make(&mut self, _: &Path, _: u64) -> Result<(), JournalError> {
            Ok(())
        }

        fn write(&mut self, _: &(), bytes: &[u8], _: u64) -> std::io::Result<()> {
            self.0.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            Ok(())
        }

        fn sync(&mut self, _: &()) -> std::io::Result<()> {
            Ok(())
        }

        fn begin_writeback(&mut self, _: &(), at: u64, len: u64) {
            let begun = self.1.swap(at + len, Ordering::Relaxed);
            assert_eq!(at, begun, "no page twice, and none left out");
            assert!(at.is_multiple_of(PAGE_LEN) && len.is_multiple_of(PAGE_LEN));
        }
    }

    fn begin(written: &Arc<AtomicU64>, begun: &Arc<AtomicU64>) -> Segments<Counting> {
        let identity = JournalIdentity {
            chain_id: ChainId(7),
            authority: AuthorityIndex(1),
        };
        let device = Counting(Arc::clone(written), Arc::clone(begun));
        Segments::begin(device, Path::new("nowhere"), identity, 64 << 20, 0, 0).unwrap()
    }

    #[test]
    fn the_disk_begins_with_whole_pages_of_parts_and_with_none_twice() {
        let begun = Arc::default();
        let mut segments = begin(&Arc::default(), &begun);
        for len in [5000, 1, 4096, 300_000, 7] {
            segments.append_part(&vec![1; len]).unwrap();
            let begun = begun.load(Ordering::Relaxed);
            assert!((begun..begun + PAGE_LEN).contains(&segments.used));
        }
    }

    #[test]
    fn a_group_in_parts_is_as_long_as_they_are_together() {
        let written = Arc::default();
        let mut segments = begin(&written, &Arc::default());
        for _ in 0..3 {
            segments.append_part(&vec![1; 100 << 10]).unwrap();
        }
        segments.append_synced(&mut vec![1; 10]).unwrap();
        assert!(
            !segments.prepare().unwrap(),
            "nothing is zeroed ahead of such groups"
        );
        segments.append_synced(&mut vec![1; 10]).unwrap();
        assert!(segments.prepare().unwrap());
    }

    #[test]
    fn an_idle_writer_zeroes_ahead_of_small_groups_and_not_of_large_ones() {
        let written = Arc::new(AtomicU64::new(0));
        let mut segments = begin(&written, &Arc::default());
        let mut zeroed_behind = |len: usize| {
            segments.append(&vec![1; len]).unwrap();
            let before = written.load(Ordering::Relaxed);
            while segments.prepare().unwrap() {}
            written.load(Ordering::Relaxed) - before
        };
        assert!(zeroed_behind(1000) > 0, "what the header took");
        for _ in 0..20 {
            assert_eq!(zeroed_behind(1 << 20), 0);
        }
        // 20 MiB are used, of which the first 8 were zeroed.
        let zeroed = zeroed_behind(1000);
        assert!((ZERO_AHEAD..ZERO_AHEAD + ZERO_STEP).contains(&zeroed));
        assert_eq!(zeroed_behind(1000), ZERO_STEP);
        assert_eq!(zeroed_behind(1000), 0, "there is enough");
    }
}
