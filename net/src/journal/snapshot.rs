//! The newest whole snapshot in a journal's folder, and the reader that goes on behind it.
//!
//! Segments are looked through from the newest down, each for its snapshot records alone. What lies behind a flaw is not
//! looked at: the reader, which comes after, says what the flaw means.

use std::path::Path;
use std::sync::Arc;

use fairlane_engine::effect::{Record, SnapshotPart};
use fairlane_engine::engine::snapshot::newest_snapshot;

use super::JournalError;
use super::record::{Kind, Parsed, frame_len, parse};
use super::segment::{segment_indices, segment_path};

/// A snapshot's parts, and how many records lie before the first that is to be read with it.
pub(super) type Found = (Vec<Arc<[u8]>>, u64);

/// A segment's index and bytes.
pub(super) type ReadSegment = (u64, Vec<u8>);

/// The newest snapshot that is whole, and the newest segment, which was read for it. Errors: the folder or a segment cannot
/// be read.
pub(super) fn find_snapshot(
    folder: &Path,
) -> Result<(Option<Found>, Option<ReadSegment>), JournalError> {
    let mut newest = None;
    // The first parts of a snapshot may stand in the segment before.
    let mut parts: Vec<Record> = Vec::new();
    for index in segment_indices(folder)?.into_iter().rev() {
        let path = segment_path(folder, index);
        let bytes = std::fs::read(&path).map_err(JournalError::io("reading", &path))?;
        parts.splice(0..0, snapshots_in(&bytes));
        if let Some(snapshot) = newest_snapshot(&parts)
            && let Some(first) = snapshot.first().map(|part| SnapshotPart::decode(part))
            && let Ok(part) = first
        {
            let before = part.tail_from.saturating_sub(1);
            return Ok((Some((snapshot, before)), newest.or(Some((index, bytes)))));
        }
        newest.get_or_insert((index, bytes));
        // What begins here and is not whole will not be.
        parts.retain(|part| !is_first(part));
    }
    Ok((None, newest))
}

fn is_first(part: &Record) -> bool {
    SnapshotPart::decode(part.body()).is_ok_and(|part| part.index == 0)
}

/// The snapshot records of a segment, up to where no record stands.
fn snapshots_in(segment: &[u8]) -> Vec<Record> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Parsed::Frame { kind, body, .. } = parse(&segment[at..]) {
        if kind == Kind::Snapshot {
            found.push(Record::Snapshot(body.into()));
        }
        at += frame_len(body.len());
    }
    found
}
