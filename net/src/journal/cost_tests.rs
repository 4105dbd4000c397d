//! What the journal costs, beside a bare loop of sequential writes and syncs of the same sizes: figures, no verdicts.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Instant;

use fairlane_engine::types::{AuthorityIndex, ChainId, Epoch};

use super::*;

const IDENTITY: JournalIdentity = JournalIdentity {
    chain_id: ChainId(77),
    authority: AuthorityIndex(3),
};

/// `groups` groups of `records` records of `len` bytes, each group waited for. Seconds.
fn through_the_journal(
    folder: &Path,
    groups: u64,
    records: u64,
    len: usize,
) -> (f64, JournalStats) {
    let config = JournalConfig::new(folder, IDENTITY);
    let mut journal = Journal::start(&config, || {}).unwrap();
    let start = Instant::now();
    for group in 1..=groups {
        for _ in 0..records {
            let record = Record {
                kind: Kind::Envelope,
                epoch: Epoch(0),
                body: vec![0x5a; len],
            };
            journal.try_push(record).unwrap();
        }
        while journal.durable() < group * records {
            std::thread::yield_now();
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    (seconds, journal.stop().unwrap())
}

/// As many bytes in as many writes, each synced, appended to one file. Seconds.
fn bare(folder: &Path, groups: u64, bytes: u64) -> f64 {
    let path = folder.join("bare");
    let file = OpenOptions::new().create_new(true).write(true).open(path);
    let file = file.unwrap();
    let group = vec![0x5a; (bytes / groups) as usize];
    let start = Instant::now();
    for at in 0..groups {
        file.write_all_at(&group, at * group.len() as u64).unwrap();
        rustix::fs::fdatasync(&file).unwrap();
    }
    start.elapsed().as_secs_f64()
}

fn write_bytes() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = io
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|bytes| bytes.parse().ok()).unwrap_or(0)
}

#[test]
#[ignore = "prints figures: cargo test --release -p fairlane-net --lib journal::cost_tests -- --ignored --nocapture"]
fn figures() {
    for (groups, records, len) in [(400, 8, 500), (400, 64, 500), (100, 512, 2_000)] {
        for turn in 0..3 {
            let folder = tempfile::tempdir_in(".").unwrap();
            let before = write_bytes();
            let (journal_s, stats) = through_the_journal(folder.path(), groups, records, len);
            let on_device = write_bytes() - before;
            let bare_s = bare(folder.path(), groups, stats.bytes);
            let payload = groups * records * len as u64;
            println!(
                "{groups} groups of {records} x {len} bytes, turn {turn}: journal {:.1} MB/s, bare {:.1} MB/s, ratio {:.2}; {} syncs, {:.0} a second; bytes written a byte of payload {:.3}, to the device {:.2}",
                stats.bytes as f64 / 1e6 / journal_s,
                stats.bytes as f64 / 1e6 / bare_s,
                bare_s / journal_s,
                stats.syncs,
                stats.syncs as f64 / journal_s,
                stats.bytes as f64 / payload as f64,
                on_device as f64 / payload as f64,
            );
            let start = Instant::now();
            let mut reader = JournalReader::open(folder.path()).unwrap();
            while reader.try_next().unwrap().is_some() {}
            let seconds = start.elapsed().as_secs_f64();
            println!(
                "    read back at {:.2} s a GiB, from the page cache",
                seconds / (stats.bytes as f64 / (1u64 << 30) as f64)
            );
        }
    }
}

/// A journal of about `bytes`, left as by a kill: the last segment is not cut.
fn fill(folder: &Path, bytes: u64) -> JournalStats {
    let config = JournalConfig::new(folder, IDENTITY);
    let mut journal = Journal::start(&config, || {}).unwrap();
    let mut pushed = 0;
    while pushed < bytes {
        let body = vec![0x5a; 500];
        let mut record = Record {
            kind: Kind::Envelope,
            epoch: Epoch(0),
            body,
        };
        pushed += record.body.len() as u64;
        while let Err(refused) = journal.try_push(record) {
            let Refused::Full(again) = refused else {
                panic!("{refused:?}")
            };
            record = again;
            std::thread::yield_now();
        }
    }
    journal.stop().unwrap()
}

#[test]
#[ignore = "prints figures: cargo test --release -p fairlane-net --lib journal::cost_tests::a_start -- --ignored --nocapture"]
fn a_start() {
    for mib in [0, 1, 256] {
        let folder = tempfile::tempdir_in(".").unwrap();
        let stats = fill(folder.path(), mib << 20);
        let start = Instant::now();
        let end = JournalReader::open(folder.path()).unwrap().into_end();
        let read_s = start.elapsed().as_secs_f64();
        assert_eq!(end.unwrap().records, stats.records);
        let config = JournalConfig::new(folder.path(), IDENTITY);
        let start = Instant::now();
        let mut stopped = StoppedJournal::open(&config).unwrap();
        assert!(stopped.seek_snapshot().unwrap().is_none());
        let journal: Journal<Vec<u8>> = stopped.start(|| {}).unwrap();
        let start_s = start.elapsed().as_secs_f64();
        println!(
            "{mib} MiB, {} records, {} bytes: read in {read_s:.3} s; a start, with the search for a snapshot and a new segment, {start_s:.3} s, from the page cache",
            stats.records, stats.bytes,
        );
        drop(journal);
    }
}
