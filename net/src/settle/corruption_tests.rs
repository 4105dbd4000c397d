//! Claims about a damaged settlement journal: whatever byte is flipped, what was vouched for is still there or the worker
//! refuses; it never goes on from anything else.

use std::path::Path;

use fairlane_engine::batch::validate;

use super::sink_format::{FILE_HEAD_LEN, FILE_NAME, RECORD_HEAD_LEN, RecordHead, record_len};
use super::tests::{CHAIN, Chain, ROLLUP, sink_of};
use super::*;

/// Where each record of a whole file ends, and up to where its last record's writer had synced.
fn ends_and_synced(bytes: &[u8]) -> (Vec<usize>, usize) {
    let salt = u64::from_be_bytes(bytes[32..40].try_into().unwrap());
    let (mut ends, mut at, mut synced) = (Vec::new(), FILE_HEAD_LEN, 0);
    while at < bytes.len() {
        let head = RecordHead::decode(&bytes[at..at + RECORD_HEAD_LEN], salt).unwrap();
        synced = head.synced_len as usize;
        at += record_len(head.len as usize);
        ends.push(at);
    }
    (ends, synced)
}

#[test]
fn every_flipped_byte_is_refused_by_file_and_offset_or_costs_no_more_than_the_last_record() {
    let folder = tempfile::tempdir().unwrap();
    let whole = sink_of(folder.path(), 5);
    let (ends, synced) = ends_and_synced(&whole);
    assert_eq!(synced, ends[3], "each of the five was synced on its own");
    let path = folder.path().join("sink").join(FILE_NAME);
    let (mut refused, mut cut, mut same) = (0, 0, 0);
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        std::fs::write(&path, &flipped).unwrap();
        // The sink reads as anybody does, and syncs then: that often only where the heads are.
        let settled = match at < FILE_HEAD_LEN || at.is_multiple_of(97) {
            true => JournalSink::open(&folder.path().join("sink"), CHAIN, ROLLUP)
                .map(|sink| sink.settled_count()),
            false => count(&folder.path().join("sink")),
        };
        match settled {
            Ok(5) => same += 1,
            Ok(4) => {
                assert!(at >= synced, "byte {at} was vouched for");
                cut += 1;
            }
            Ok(count) => panic!("byte {at}: {count} batches are left"),
            Err(error) => {
                let words = error.to_string();
                assert!(words.contains(FILE_NAME), "byte {at}: {words}");
                assert!(words.contains("at byte"), "byte {at}: {words}");
                refused += 1;
            }
        }
    }
    // Bytes that nothing depends on: reserved ones of the head, and padding.
    assert!(same <= 15 + 5 * 15, "{same}");
    assert!(cut > (whole.len() - synced) / 2, "{cut}");
    assert!(refused > synced / 2, "{refused}");
}

#[test]
fn after_any_flip_that_is_not_refused_the_same_chain_is_settled_on() {
    let folder = tempfile::tempdir().unwrap();
    let whole = sink_of(folder.path(), 3);
    let path = folder.path().join("sink").join(FILE_NAME);
    let mut went_on = 0;
    for at in (0..whole.len()).step_by(13) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        std::fs::write(&path, &flipped).unwrap();
        let Ok(mut sink) = JournalSink::open(&folder.path().join("sink"), CHAIN, ROLLUP) else {
            continue;
        };
        let mut chain = Chain::default();
        let archives: Vec<_> = (0..5).map(|_| chain.next_archive()).collect();
        for archive in &archives[sink.settled_count() as usize..] {
            sink.append(&validate(archive).unwrap()).unwrap();
        }
        sink.sync().unwrap();
        drop(sink);
        let settled = archives_in(&folder.path().join("sink"));
        assert!(
            settled
                .iter()
                .zip(&archives)
                .all(|(is, was)| is[..] == was[..]),
            "byte {at}"
        );
        assert_eq!(settled.len(), archives.len(), "byte {at}");
        went_on += 1;
    }
    assert!(went_on > 3, "{went_on}");
}

fn count(folder: &Path) -> Result<u64, SettleError> {
    let mut reader = SettleReader::open(folder)?;
    let mut count = 0;
    while reader.try_next()?.is_some() {
        count += 1;
    }
    Ok(count)
}

fn archives_in(folder: &Path) -> Vec<Vec<u8>> {
    let mut reader = SettleReader::open(folder).unwrap();
    let mut archives = Vec::new();
    while let Some(batch) = reader.try_next().unwrap() {
        archives.push(batch.archive().to_vec());
    }
    archives
}
