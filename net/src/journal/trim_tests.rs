//! Claims about trimming: what a start needs stays, what is to be kept stays, and the rest goes, from the lowest up.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fairlane_engine::batch::BatchHeader;
use fairlane_engine::effect::SnapshotPart;
use fairlane_engine::types::{AuthorityIndex, ChainId};

use super::*;
use crate::journal::{
    Journal, JournalConfig, JournalIdentity, JournalReader, Kind, Record, Refused, StoppedJournal,
};

const EPOCH: Epoch = Epoch(0);
const IDENTITY: JournalIdentity = JournalIdentity {
    chain_id: ChainId(1),
    authority: AuthorityIndex(0),
};
const SEGMENT: u64 = 16 << 10;

fn config(folder: &Path) -> JournalConfig {
    JournalConfig {
        segment_len: SEGMENT,
        ..JournalConfig::new(folder, IDENTITY)
    }
}

fn push(journal: &mut Journal<Vec<u8>>, kind: Kind, body: Vec<u8>) -> u64 {
    let mut next = Record {
        kind,
        epoch: EPOCH,
        body,
    };
    loop {
        match journal.try_push(next) {
            Ok(number) => return number,
            Err(Refused::Full(back)) => next = back,
            Err(refused) => panic!("{refused:?}"),
        }
        std::thread::yield_now();
    }
}

fn header(seq: u64) -> BatchHeader {
    BatchHeader {
        seq: BatchSeq(seq),
        ..BatchHeader::default()
    }
}

/// A batch between other records.
fn push_batch(journal: &mut Journal<Vec<u8>>, seq: u64) -> u64 {
    push(journal, Kind::Vertex, vec![7; 300]);
    let body = [&header(seq).encode()[..], &[1; 200]].concat();
    push(journal, Kind::Batch, body)
}

/// A snapshot in two parts, with which no record numbered below `tail` is needed.
fn push_snapshot(journal: &mut Journal<Vec<u8>>, seq: u64, tail: u64) {
    for index in 0..2 {
        let part = SnapshotPart {
            header: header(seq),
            tail_from: tail + 1,
            index,
            of: 2,
            bytes: &[seq as u8; 500],
        };
        push(journal, Kind::Snapshot, part.encode());
    }
}

fn bytes_in(folder: &Path) -> u64 {
    let indices = segment_indices(folder).unwrap();
    // One may be removed meanwhile.
    let len = |index| std::fs::metadata(segment_path(folder, index)).map_or(0, |file| file.len());
    indices.into_iter().map(len).sum()
}

fn trim(folder: &Path, bytes: u64, unsettled_bytes: u64, settled: u64) -> Trim {
    let retention = Retention {
        bytes,
        unsettled_bytes,
    };
    Trim::new(folder, EPOCH, retention, move || settled)
}

/// Two hundred batches, and the numbers of their records.
fn folder_of_batches() -> (tempfile::TempDir, Vec<u64>) {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::start(&config(folder.path()), || {}).unwrap();
    let numbers = (0..200).map(|seq| push_batch(&mut journal, seq)).collect();
    journal.stop().unwrap();
    (folder, numbers)
}

#[test]
fn a_long_run_stays_within_what_is_kept_and_starts_again_from_the_newest_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let settled = Arc::new(AtomicU64::new(0));
    let (mut most, mut seq, mut written) = (0, 0, 0);
    for life in 0..5 {
        let mut stopped = StoppedJournal::open(&config(folder.path())).unwrap();
        let found = stopped.seek_snapshot().unwrap();
        if life > 0 {
            let (parts, before) = found.unwrap();
            let part = SnapshotPart::decode(&parts[0]).unwrap();
            assert_eq!((parts.len(), part.header), (2, header(seq - 1)));
            let first = stopped.try_next().unwrap().unwrap();
            assert_eq!((first.number, first.kind), (before, Kind::Batch));
        }
        let retention = Retention {
            bytes: 4 * SEGMENT,
            unsettled_bytes: 0,
        };
        let watched = Arc::clone(&settled);
        stopped.set_trim(Trim::new(folder.path(), EPOCH, retention, move || {
            watched.load(Ordering::Relaxed)
        }));
        let mut journal = stopped.start(|| {}).unwrap();
        for _ in 0..400 {
            let number = push_batch(&mut journal, seq);
            seq += 1;
            if seq % 20 == 0 {
                settled.store(seq, Ordering::Relaxed);
                push_snapshot(&mut journal, seq - 1, number);
                while journal.durable() <= number {
                    std::thread::yield_now();
                }
                most = most.max(bytes_in(folder.path()));
            }
        }
        // The trimmer is done when the journal has stopped.
        written += journal.stop().unwrap().bytes;
        let kept = bytes_in(folder.path());
        assert!(kept <= 6 * SEGMENT, "{kept} bytes after life {life}");
    }
    assert!(most < written / 4, "{most} at most, of {written} written");
    let mut reader = JournalReader::open(folder.path()).unwrap();
    let mut last = None;
    while let Some(record) = reader.try_next().unwrap() {
        last = Some(record.number);
    }
    assert_eq!(last, Some(2 * seq + 2 * seq / 20 - 1), "no number is lost");
}

#[test]
fn what_a_start_needs_stays_however_little_is_to_be_kept() {
    let (folder, numbers) = folder_of_batches();
    let before = segment_indices(folder.path()).unwrap();
    assert!(
        trim(folder.path(), 1, 1, u64::MAX)
            .trim(numbers[120])
            .unwrap()
            > 2
    );
    let mut reader = JournalReader::open(folder.path()).unwrap();
    let first = reader.try_next().unwrap().unwrap().number;
    assert!(
        first <= numbers[120] && first + 60 > numbers[120],
        "{first}"
    );
    let after = segment_indices(folder.path()).unwrap();
    assert!(before.ends_with(&after), "from the lowest up: {after:?}");
    assert_eq!(
        trim(folder.path(), 1, 1, u64::MAX)
            .trim(numbers[120])
            .unwrap(),
        0
    );
}

#[test]
fn nothing_goes_where_everything_or_as_much_is_to_be_kept() {
    let (folder, numbers) = folder_of_batches();
    let all = bytes_in(folder.path());
    assert_eq!(
        trim(folder.path(), 0, 0, u64::MAX)
            .trim(numbers[199])
            .unwrap(),
        0
    );
    assert_eq!(
        trim(folder.path(), all, 0, u64::MAX)
            .trim(numbers[199])
            .unwrap(),
        0
    );
    assert_eq!(trim(folder.path(), 1, 1, u64::MAX).trim(0).unwrap(), 0);
}

#[test]
fn a_batch_that_the_worker_has_not_settled_stays_up_to_a_bound_of_its_own() {
    let (folder, numbers) = folder_of_batches();
    let has = |seq| {
        let mut reader = BatchReader::new(folder.path(), EPOCH);
        reader.segment_of(BatchSeq(seq)).unwrap().is_some()
    };
    trim(folder.path(), 1, 0, 50).trim(numbers[199]).unwrap();
    assert!(has(50) && has(199) && !has(0));
    trim(folder.path(), 1, 3 * SEGMENT, 50)
        .trim(numbers[199])
        .unwrap();
    assert!(!has(50) && has(199));
    assert!(bytes_in(folder.path()) <= 3 * SEGMENT);
}
