//! Settled batches read back from the journal while it goes on being written, for peers that missed them.
//!
//! A segment is looked through once for where its batches stand, by the heads of its records alone; which segment holds a
//! batch is found by bisection, for batches stand in order of seq. What is read is checked before it is given out: an
//! archive by its record's checksum, headers by their chain. A batch whose record is in the writer's hands yet, or was
//! removed with its segment, is not there.
//!
//! Bounds: where the batches of [`INDEXED_SEGMENTS_MAX`] segments stand (24 bytes each), and first and last seq of every
//! segment that was looked at. Cost, measured in the page cache with records of 400 to 600
//! bytes: 21 ms to look through a segment of 64 MiB, once; then 2.4 us a batch, 0.25 ms for 256 headers.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fairlane_engine::batch::{BatchHeader, HEADER_LEN};
use fairlane_engine::effect::archive_of_batch;
use fairlane_engine::sync::part::{HEADERS_MAX, Item};
use fairlane_engine::types::{BatchSeq, Epoch};

use super::JournalError;
use super::record::{FRAME_HEADER_LEN, FrameHead, Kind, Parsed, frame_len, parse};
use super::segment::{segment_indices, segment_path};

/// Finds the batches of one epoch in a journal's folder.
#[derive(Debug)]
pub struct BatchReader {
    folder: PathBuf,
    epoch: Epoch,
    /// Indices of the segments, ascending, as of the last look.
    segments: Vec<u64>,
    /// First and last seq in segments that will not change any more; none where no batch stands.
    ranges: BTreeMap<u64, Option<(BatchSeq, BatchSeq)>>,
    indexed: BTreeMap<u64, Indexed>,
    /// Counts uses, to know which index was not used for the longest time.
    uses: u64,
}

/// Where the batches of one segment stand.
#[derive(Debug, Default)]
struct Indexed {
    /// Ascending by seq.
    places: Vec<Place>,
    /// Byte at which the next record begins, or will.
    read_to: u64,
    used: u64,
}

/// Where one batch stands.
#[derive(Clone, Copy, Debug)]
struct Place {
    seq: BatchSeq,
    /// Of its frame.
    offset: u64,
    body_len: u32,
}

impl BatchReader {
    /// Over the batches of `epoch` in `folder`; nothing is read yet.
    pub fn new(folder: &Path, epoch: Epoch) -> Self {
        Self {
            folder: folder.to_path_buf(),
            epoch,
            segments: Vec::new(),
            ranges: BTreeMap::new(),
            indexed: BTreeMap::new(),
            uses: 0,
        }
    }

    /// What [`fairlane_engine::effect::Effect::Load`] asks for; none when it is not there. Errors: the disk fails.
    pub fn load(&mut self, item: Item) -> Result<Option<Arc<[u8]>>, JournalError> {
        match item {
            Item::Batch(seq) => self.archive(seq),
            Item::Headers(last) => self.headers(last),
            Item::Proof(_) | Item::State(_) => Ok(None),
        }
    }

    /// The segment that holds a batch; none when it is not there. Errors: the disk fails.
    pub(super) fn segment_of(&mut self, seq: BatchSeq) -> Result<Option<u64>, JournalError> {
        Ok(self.locate(seq)?.map(|(segment, _)| segment))
    }

    fn archive(&mut self, seq: BatchSeq) -> Result<Option<Arc<[u8]>>, JournalError> {
        let Some((segment, place)) = self.locate(seq)? else {
            return Ok(None);
        };
        let Some((file, path)) = self.open(segment)? else {
            return Ok(None);
        };
        let mut frame = vec![0; frame_len(place.body_len as usize)];
        if !read(&file, &path, place.offset, &mut frame)? {
            return Ok(None);
        }
        Ok(match parse(&frame) {
            Parsed::Frame { body, .. } => archive_of_batch(body).map(Arc::from),
            Parsed::End | Parsed::Bad(_) | Parsed::Unknown(_) => None,
        })
    }

    /// The headers up to `last` as far as they are here, at most [`HEADERS_MAX`], each named by the one after it.
    fn headers(&mut self, last: BatchSeq) -> Result<Option<Arc<[u8]>>, JournalError> {
        let mut headers: Vec<[u8; HEADER_LEN]> = Vec::new();
        let mut expected = None;
        let mut opened: Option<(u64, File, PathBuf)> = None;
        let first = last.0.saturating_sub(HEADERS_MAX as u64 - 1);
        for seq in (first..=last.0).rev() {
            let Some((segment, place)) = self.locate(BatchSeq(seq))? else {
                break;
            };
            if opened.as_ref().is_none_or(|(index, ..)| *index != segment) {
                let file = self.open(segment)?;
                opened = file.map(|(file, path)| (segment, file, path));
            }
            let Some((_, file, path)) = &opened else {
                break;
            };
            let mut bytes = [0; HEADER_LEN];
            if !read(
                file,
                path,
                place.offset + FRAME_HEADER_LEN as u64,
                &mut bytes,
            )? {
                break;
            }
            let is_next = |header: &BatchHeader| {
                header.seq.0 == seq && expected.is_none_or(|hash| hash == header.hash())
            };
            let Some(header) = BatchHeader::decode(&bytes).ok().filter(is_next) else {
                break;
            };
            expected = Some(header.previous);
            headers.push(bytes);
        }
        headers.reverse();
        Ok((!headers.is_empty()).then(|| headers.concat().into()))
    }

    /// The segment that holds a batch, and where it stands there.
    fn locate(&mut self, seq: BatchSeq) -> Result<Option<(u64, Place)>, JournalError> {
        if let Some(found) = self.locate_in_known(seq)? {
            return Ok(Some(found));
        }
        // It may be in what was written, or removed, since the last look.
        let segments = segment_indices(&self.folder)?;
        if segments != self.segments {
            let first = segments.first().copied().unwrap_or(u64::MAX);
            self.ranges = self.ranges.split_off(&first);
            self.indexed = self.indexed.split_off(&first);
            self.segments = segments;
        }
        self.locate_in_known(seq)
    }

    fn locate_in_known(&mut self, seq: BatchSeq) -> Result<Option<(u64, Place)>, JournalError> {
        let (mut low, mut high) = (0, self.segments.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let mut at = middle;
            let mut range = None;
            while at < high && range.is_none() {
                range = self.range(self.segments[at], seq)?;
                at += 1;
            }
            match range {
                None => high = middle,
                Some((first, _)) if seq < first => high = middle,
                Some((_, last)) if seq > last => low = at,
                Some(_) => {
                    let segment = self.segments[at - 1];
                    let index = self.index(segment, seq)?;
                    let found = index.places.binary_search_by_key(&seq, |place| place.seq);
                    return Ok(found.ok().map(|found| (segment, index.places[found])));
                }
            }
        }
        Ok(None)
    }

    /// First and last seq of a segment; of the one that is being written, as far as `wanted` needs it.
    fn range(
        &mut self,
        segment: u64,
        wanted: BatchSeq,
    ) -> Result<Option<(BatchSeq, BatchSeq)>, JournalError> {
        if let Some(range) = self.ranges.get(&segment) {
            return Ok(*range);
        }
        let is_whole = self.segments.last() != Some(&segment);
        let upto = if is_whole { SEQ_END } else { wanted };
        let places = &self.index(segment, upto)?.places;
        let ends = places.first().zip(places.last());
        let range = ends.map(|(first, last)| (first.seq, last.seq));
        if is_whole {
            self.ranges.insert(segment, range);
        }
        Ok(range)
    }

    /// Where the batches of a segment stand: up to `wanted`, or to its end if that is not there.
    fn index(&mut self, segment: u64, wanted: BatchSeq) -> Result<&Indexed, JournalError> {
        let is_new = !self.indexed.contains_key(&segment);
        if is_new && self.indexed.len() >= INDEXED_SEGMENTS_MAX {
            let oldest = self.indexed.iter().min_by_key(|(_, index)| index.used);
            if let Some(oldest) = oldest.map(|(segment, _)| *segment) {
                self.indexed.remove(&oldest);
            }
        }
        let mut index = self.indexed.remove(&segment).unwrap_or_default();
        self.uses += 1;
        index.used = self.uses;
        let is_there = index.places.last().is_some_and(|last| wanted <= last.seq);
        if !is_there && let Some((file, path)) = self.open(segment)? {
            index.read_on(&file, &path, self.epoch)?;
        }
        Ok(self.indexed.entry(segment).or_insert(index))
    }

    /// A segment's file; none when it was removed.
    fn open(&self, segment: u64) -> Result<Option<(File, PathBuf)>, JournalError> {
        let path = segment_path(&self.folder, segment);
        match File::open(&path) {
            Ok(file) => Ok(Some((file, path))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(JournalError::io("opening", &path)(error)),
        }
    }
}

impl Indexed {
    /// Looks through what was written behind what is known, up to where no record stands yet.
    fn read_on(&mut self, file: &File, path: &Path, epoch: Epoch) -> Result<(), JournalError> {
        let mut window = Window::default();
        let mut head = [0; HEAD_LEN];
        loop {
            let Some(record) = window.head(file, path, self.read_to, &mut head)? else {
                return Ok(());
            };
            if record.kind == Kind::Batch && record.epoch == epoch {
                // Of a record that is just being written this much may be missing: it is looked at again.
                let Ok(header) = BatchHeader::decode(&head[FRAME_HEADER_LEN..]) else {
                    return Ok(());
                };
                let place = Place {
                    seq: header.seq,
                    offset: self.read_to,
                    body_len: record.body_len,
                };
                // A batch that was recorded again after a crash counts where it stands last.
                while self.places.pop_if(|known| known.seq >= place.seq).is_some() {}
                self.places.push(place);
            }
            self.read_to += frame_len(record.body_len as usize) as u64;
        }
    }
}

/// A part of a file in memory, so that short records do not cost a read each.
#[derive(Default)]
struct Window {
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// The head of the record at `at`, and what follows it as far as `head` goes; none where no record stands.
    fn head(
        &mut self,
        file: &File,
        path: &Path,
        at: u64,
        head: &mut [u8; HEAD_LEN],
    ) -> Result<Option<FrameHead>, JournalError> {
        let is_in =
            at >= self.start && at + HEAD_LEN as u64 <= self.start + self.bytes.len() as u64;
        if !is_in {
            self.bytes.resize(WINDOW_LEN, 0);
            let len = read_some(file, path, at, &mut self.bytes)?;
            self.bytes.truncate(len);
            self.start = at;
        }
        let from = (at - self.start) as usize;
        let there = &self.bytes[from..self.bytes.len().min(from + HEAD_LEN)];
        head.fill(0);
        head[..there.len()].copy_from_slice(there);
        Ok(FrameHead::parse(&head[..FRAME_HEADER_LEN]))
    }
}

/// Fills `bytes` from `at` on; false when the file ends before.
fn read(file: &File, path: &Path, at: u64, bytes: &mut [u8]) -> Result<bool, JournalError> {
    Ok(read_some(file, path, at, bytes)? == bytes.len())
}

/// Reads what there is from `at` on, at most as much as `bytes` takes.
fn read_some(file: &File, path: &Path, at: u64, bytes: &mut [u8]) -> Result<usize, JournalError> {
    let mut done = 0;
    while done < bytes.len() {
        match file.read_at(&mut bytes[done..], at + done as u64) {
            Ok(0) => break,
            Ok(len) => done += len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(JournalError::io("reading", path)(error)),
        }
    }
    Ok(done)
}

/// Behind every batch.
const SEQ_END: BatchSeq = BatchSeq(u64::MAX);
/// A record's head and a batch's header.
const HEAD_LEN: usize = FRAME_HEADER_LEN + HEADER_LEN;
/// Bytes read at a time.
const WINDOW_LEN: usize = 256 << 10;
/// Segments of which it is remembered where each batch stands.
pub const INDEXED_SEGMENTS_MAX: usize = 8;

#[cfg(test)]
#[path = "batches_tests.rs"]
mod tests;
