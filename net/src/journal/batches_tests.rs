//! Claims about reading batches back: each is found wherever it stands, also while the journal is written; what is not
//! there, or damaged, is not given out.

use std::os::unix::fs::FileExt as _;
use std::sync::mpsc;
use std::time::Duration;

use fairlane_engine::sync::loads::LOADS_MAX;
use fairlane_engine::types::{AuthorityIndex, ChainId, Sha256Hash, TimestampUs};

use super::*;
use crate::journal::{BatchLoader, Journal, JournalConfig, JournalIdentity, Record, Refused};

const EPOCH: Epoch = Epoch(2);

/// Short segments: a few batches each.
fn start(folder: &Path) -> Journal<Vec<u8>> {
    let identity = JournalIdentity {
        chain_id: ChainId(77),
        authority: AuthorityIndex(3),
    };
    let config = JournalConfig {
        segment_len: 16 << 10,
        ..JournalConfig::new(folder, identity)
    };
    Journal::start(&config, || {}).unwrap()
}

/// Batches that follow each other; their archives are any bytes here.
fn chain(len: u64) -> Vec<(BatchHeader, Vec<u8>)> {
    let mut previous = Sha256Hash::default();
    let batch = |seq| {
        let header = BatchHeader {
            seq: BatchSeq(seq),
            previous,
            time_us: TimestampUs(seq),
            ..BatchHeader::default()
        };
        previous = header.hash();
        (
            header,
            vec![seq as u8 ^ 0x5a; 1 + (seq as usize * 131) % 1_500],
        )
    };
    (0..len).map(batch).collect()
}

fn push(journal: &mut Journal<Vec<u8>>, kind: Kind, epoch: Epoch, body: Vec<u8>) {
    let mut next = Record { kind, epoch, body };
    loop {
        match journal.try_push(next) {
            Ok(_) => return,
            Err(Refused::Full(back)) => next = back,
            Err(refused) => panic!("{refused:?}"),
        }
        std::thread::yield_now();
    }
}

/// Batches between other records, and one of another epoch with the same seq before each.
fn push_all(journal: &mut Journal<Vec<u8>>, batches: &[(BatchHeader, Vec<u8>)]) {
    for (header, archive) in batches {
        let body = [&header.encode()[..], archive].concat();
        push(
            journal,
            Kind::Vertex,
            EPOCH,
            vec![9; header.seq.0 as usize % 300],
        );
        let mut foreign = body.clone();
        foreign.truncate(HEADER_LEN + 1);
        push(journal, Kind::Batch, Epoch(1), foreign);
        push(journal, Kind::Batch, EPOCH, body);
        push(journal, Kind::Envelope, EPOCH, vec![1; 100]);
    }
}

fn wait_until_durable(journal: &Journal<Vec<u8>>, records: u64) {
    let start = std::time::Instant::now();
    while journal.durable() < records {
        assert!(start.elapsed() < Duration::from_secs(20));
        std::thread::yield_now();
    }
}

fn archive_of(reader: &mut BatchReader, seq: u64) -> Option<Vec<u8>> {
    let found = reader.load(Item::Batch(BatchSeq(seq))).unwrap();
    found.map(|bytes| bytes.to_vec())
}

fn headers_of(reader: &mut BatchReader, last: u64) -> Option<Vec<u8>> {
    let found = reader.load(Item::Headers(BatchSeq(last))).unwrap();
    found.map(|bytes| bytes.to_vec())
}

fn encoded(batches: &[(BatchHeader, Vec<u8>)]) -> Vec<u8> {
    let headers = batches.iter().map(|(header, _)| header.encode());
    headers.flatten().collect()
}

#[test]
fn every_batch_and_its_headers_are_found_across_many_segments() {
    let folder = tempfile::tempdir().unwrap();
    let batches = chain(600);
    let mut journal = start(folder.path());
    push_all(&mut journal, &batches);
    journal.stop().unwrap();
    assert!(segment_indices(folder.path()).unwrap().len() > 4 * INDEXED_SEGMENTS_MAX);
    let mut reader = BatchReader::new(folder.path(), EPOCH);
    // From any place to any other: what is remembered of segments comes and goes.
    for at in 0..600 {
        let seq = at * 7_919 % 600;
        assert_eq!(
            archive_of(&mut reader, seq).as_ref(),
            Some(&batches[seq as usize].1)
        );
        assert!(reader.indexed.len() <= INDEXED_SEGMENTS_MAX);
    }
    for last in [0, 1, 254, 255, 256, 400, 599] {
        let first = (last + 1usize).saturating_sub(HEADERS_MAX);
        let expected = encoded(&batches[first..=last]);
        assert_eq!(headers_of(&mut reader, last as u64), Some(expected));
    }
    for absent in [600, u64::MAX] {
        assert_eq!(archive_of(&mut reader, absent), None);
        assert_eq!(headers_of(&mut reader, absent), None);
    }
    assert_eq!(reader.load(Item::State(BatchSeq(3))).unwrap(), None);
}

#[test]
fn what_is_written_meanwhile_is_found_once_it_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let batches = chain(200);
    let mut journal = start(folder.path());
    let mut reader = BatchReader::new(folder.path(), EPOCH);
    for (end, seq) in (0..).step_by(20).zip(0..10) {
        let (end, next): (usize, usize) = (end, end + 20);
        assert_eq!(archive_of(&mut reader, end as u64), None, "not written yet");
        push_all(&mut journal, &batches[end..next]);
        wait_until_durable(&journal, 4 * next as u64);
        assert_eq!(
            archive_of(&mut reader, seq).as_ref(),
            Some(&batches[seq as usize].1)
        );
        let last = next - 1;
        assert_eq!(
            archive_of(&mut reader, last as u64).as_ref(),
            Some(&batches[last].1)
        );
        let expected = encoded(&batches[..next]);
        assert_eq!(headers_of(&mut reader, last as u64), Some(expected));
    }
    for (header, archive) in &batches {
        assert_eq!(
            archive_of(&mut reader, header.seq.0).as_ref(),
            Some(archive)
        );
    }
}

/// Retention: what was removed is not here, what was not still is.
#[test]
fn batches_of_removed_segments_are_not_here() {
    let folder = tempfile::tempdir().unwrap();
    let batches = chain(200);
    let mut journal = start(folder.path());
    push_all(&mut journal, &batches);
    journal.stop().unwrap();
    let mut reader = BatchReader::new(folder.path(), EPOCH);
    assert!(
        archive_of(&mut reader, 0).is_some(),
        "the reader has seen them"
    );
    let segments = segment_indices(folder.path()).unwrap();
    for segment in &segments[..segments.len() / 2] {
        std::fs::remove_file(segment_path(folder.path(), *segment)).unwrap();
    }
    for mut reader in [reader, BatchReader::new(folder.path(), EPOCH)] {
        let there: Vec<u64> = (0..200)
            .filter(|seq| archive_of(&mut reader, *seq).is_some())
            .collect();
        let first = there[0];
        assert!((50..150).contains(&first), "{first}");
        assert_eq!(there, (first..200).collect::<Vec<u64>>());
        assert_eq!(headers_of(&mut reader, first - 1), None);
        let expected = encoded(&batches[first as usize..]);
        assert_eq!(
            headers_of(&mut reader, 199),
            Some(expected),
            "as far as they are here"
        );
    }
}

#[test]
fn a_damaged_record_is_not_given_out() {
    let folder = tempfile::tempdir().unwrap();
    let batches = chain(40);
    let mut journal = start(folder.path());
    push_all(&mut journal, &batches);
    journal.stop().unwrap();
    let mut reader = BatchReader::new(folder.path(), EPOCH);
    for (what, into) in [("header", 40), ("archive", HEADER_LEN + 1)] {
        let seq = if what == "header" { 20 } else { 21 };
        let (segment, place) = reader.locate(BatchSeq(seq)).unwrap().unwrap();
        let file = std::fs::OpenOptions::new()
            .write(true)
            .open(segment_path(folder.path(), segment))
            .unwrap();
        let at = place.offset + (FRAME_HEADER_LEN + into) as u64;
        file.write_all_at(&[0xee, 0xee], at).unwrap();
        assert_eq!(archive_of(&mut reader, seq), None, "{what}");
    }
    assert!(archive_of(&mut reader, 22).is_some());
    let expected = encoded(&batches[21..40]);
    assert_eq!(
        headers_of(&mut reader, 39),
        Some(expected),
        "down to the damaged one"
    );
}

#[test]
fn an_empty_or_missing_folder_has_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().to_path_buf(), folder.path().join("none")] {
        let mut reader = BatchReader::new(&path, EPOCH);
        assert_eq!(archive_of(&mut reader, 0), None);
        assert_eq!(headers_of(&mut reader, 9), None);
    }
}

#[test]
fn the_loader_answers_everything_once_and_wakes_whoever_waits() {
    let folder = tempfile::tempdir().unwrap();
    let batches = chain(100);
    let mut journal = start(folder.path());
    push_all(&mut journal, &batches);
    journal.stop().unwrap();
    let (woken, wakes) = mpsc::channel();
    let mut loader = BatchLoader::start(folder.path(), EPOCH, move || {
        let _ = woken.send(());
    })
    .unwrap();
    // More than may be: the rest is answered with none.
    let asked: Vec<Item> = (0..4 * LOADS_MAX as u64)
        .map(|seq| Item::Batch(BatchSeq(seq)))
        .collect();
    asked.iter().for_each(|item| loader.ask(*item));
    let mut answered = Vec::new();
    let mut found = 0;
    while answered.len() < asked.len() {
        while let Some((item, bytes)) = loader.try_take() {
            let Item::Batch(seq) = item else {
                panic!("{item:?} was not asked for");
            };
            if let Some(bytes) = bytes {
                assert_eq!(bytes[..], batches[seq.0 as usize].1);
                found += 1;
            }
            answered.push(item);
        }
        if answered.len() < asked.len() {
            wakes.recv_timeout(Duration::from_secs(20)).unwrap();
        }
    }
    answered.sort_unstable();
    assert_eq!(answered, asked);
    assert!(found >= LOADS_MAX, "{found}");
    // Dropped while it is busy: it ends.
    asked.iter().for_each(|item| loader.ask(*item));
    drop(loader);
}
