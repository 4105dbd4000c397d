//! Claims about the journal over both paths: what it says is durable comes back, torn tails are cut, corrupt middles are errors.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fairlane_engine::types::{AuthorityIndex, ChainId, Epoch};

use super::segment::{segment_indices, segment_path};
use super::*;

const IDENTITY: JournalIdentity = JournalIdentity {
    chain_id: ChainId(77),
    authority: AuthorityIndex(3),
};

macro_rules! suite {
    ($($test:ident),* $(,)?) => {
        mod plain {
            $(#[test]
            fn $test() {
                super::$test(super::AppendChoice::Plain);
            })*
        }
        mod uring {
            $(#[test]
            fn $test() {
                if super::has_uring(stringify!($test)) {
                    super::$test(super::AppendChoice::Uring);
                }
            })*
        }
    };
}

suite! {
    what_is_pushed_is_read_back_over_many_segments_and_restarts,
    what_is_reported_durable_is_in_the_file_at_that_moment,
    a_group_shares_one_sync,
    async_reports_after_the_write_and_syncs_at_the_stop,
    async_syncs_within_a_second_or_so_without_being_asked,
    a_tail_torn_at_any_byte_is_cut_and_said_so_and_the_journal_goes_on,
    a_hole_in_an_unsynced_group_is_torn_though_valid_records_follow,
    a_mark_forged_inside_an_envelope_does_not_make_a_torn_tail_corrupt,
    after_a_clean_stop_a_flaw_in_the_last_group_is_refused_and_after_a_kill_it_is_torn,
    after_a_clean_stop_missing_segments_are_noticed,
    the_mark_of_a_stop_is_gone_while_the_journal_runs_and_a_damaged_one_vouches_for_nothing,
    a_segment_that_holds_records_but_no_header_is_corrupt,
    a_corrupt_or_zeroed_middle_is_an_error_and_the_journal_does_not_start,
    a_flaw_in_an_earlier_segment_or_a_missing_one_is_an_error,
    a_segment_whose_header_never_reached_the_disk_is_begun_again,
    another_identity_or_a_second_process_is_refused,
    a_body_above_the_bound_comes_back,
    an_idle_writer_zeroes_ahead_and_records_still_come_back,
    a_segment_of_another_version_is_an_error,
}

/// Whether io_uring can be tested here; says why not where nobody can overlook it.
pub(super) fn has_uring(test: &str) -> bool {
    match Append::choose(AppendChoice::Uring) {
        Ok(_) => true,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "SKIPPED uring::{test}: {error}");
            false
        }
    }
}

pub(super) fn config(folder: &Path, append: AppendChoice) -> JournalConfig {
    // Short segments: the tests should not zero 8 MiB each.
    JournalConfig {
        segment_len: 64 << 10,
        append,
        ..JournalConfig::new(folder, IDENTITY)
    }
}

pub(super) fn record(number: u64) -> Record<Vec<u8>> {
    let kinds = [
        Kind::Envelope,
        Kind::OwnVertex,
        Kind::Vertex,
        Kind::Anchor,
        Kind::Evidence,
    ];
    Record {
        kind: kinds[number as usize % kinds.len()],
        epoch: Epoch(number as u32 / 100),
        body: vec![number as u8; (number as usize * 37) % 300],
    }
}

fn start(config: &JournalConfig) -> Journal<Vec<u8>> {
    Journal::start(config, || {}).unwrap()
}

fn push_all(journal: &mut Journal<Vec<u8>>, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let mut next = record(number);
        loop {
            match journal.try_push(next) {
                Ok(given) => break assert_eq!(given, number),
                Err(Refused::Full(back)) => next = back,
                Err(refused) => panic!("{refused:?}"),
            }
            std::thread::yield_now();
        }
    }
}

/// Reads everything, checks that it is what was pushed, and gives the end.
fn read_all(folder: &Path) -> Result<JournalEnd, JournalError> {
    let mut reader = JournalReader::open(folder)?;
    let mut expected = 0;
    while let Some(read) = reader.try_next()? {
        let pushed = record(expected);
        assert_eq!(read.number, expected);
        assert_eq!(
            (read.kind, read.epoch, read.body),
            (pushed.kind, pushed.epoch, &pushed.body[..])
        );
        expected += 1;
    }
    reader.into_end()
}

pub(super) fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "never: {what}");
        std::thread::sleep(Duration::from_micros(200));
    }
}

fn what_is_pushed_is_read_back_over_many_segments_and_restarts(append: AppendChoice) {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), append);
    let mut journal = start(&config);
    push_all(&mut journal, 0..2000);
    assert_eq!(journal.stop().unwrap().records, 2000);
    let mut journal = start(&config);
    assert_eq!(journal.durable(), 2000, "a restart goes on counting");
    push_all(&mut journal, 2000..2500);
    journal.stop().unwrap();
    let end = read_all(folder.path()).unwrap();
    assert_eq!((end.records, end.torn), (2500, None));
    assert!(segment_indices(folder.path()).unwrap().len() > 3);
}

fn what_is_reported_durable_is_in_the_file_at_that_moment(append: AppendChoice) {
    let folder = tempfile::tempdir().unwrap();
    let wakes = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&wakes);
    let wake = move || {
        counter.fetch_add(1, Ordering::Relaxed);
    };
    let mut journal = Journal::start(&config(folder.path(), append), wake).unwrap();
    for number in 0..20 {
        push_all(&mut journal, number..number + 1);
        wait_until("durable", || journal.durable() > number);
        assert!(read_all(folder.path()).unwrap().records > number);
    }
    assert!(
        wakes.load(Ordering::Relaxed) >= 20,
        "each progress wakes the owner"
    );
    journal.stop().unwrap();
}

fn a_group_shares_one_sync(append: AppendChoice) {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = start(&config(folder.path(), append));
    push_all(&mut journal, 0..5000);
    let stats = journal.stop().unwrap();
    assert_eq!(stats.records, 5000);
    assert!(stats.syncs * 4 < stats.records, "{stats:?}");
    assert!(stats.syncs >= 1);
}

fn async_reports_after_the_write_and_syncs_at_the_stop(append: AppendChoice) {
    let folder = tempfile::tempdir().unwrap();
    let config = JournalConfig {
        durability: Durability::Async,
        ..config(folder.path(), append)
    };
    let mut journal = start(&config);
    push_all(&mut journal, 0..50);
    wait_until("durable", || journal.durable() == 50);
    assert_eq!(journal.stats().syncs, 0);
    assert_eq!(journal.stop().unwrap().syncs, 1);
    assert_eq!(read_all(folder.path()).unwrap().records, 50);
}

fn async_syncs_within_a_second_or_so_without_being_asked(append: AppendChoice) {
    let folder = tempfile::tempdir().unwrap();
    let config = JournalConfig {
        durability: Durability::Async,
        ..config(folder.path(), append)
    };
    let mut journal = start(&config);
    push_all(&mut journal, 0..5);
    wait_until("synced", || journal.stats().syncs == 1);
}

/// A journal that was stopped, as if its process had been killed instead.
fn forget_the_stop(folder: &Path) {
    std::fs::remove_file(folder.join(stop_mark::NAME)).unwrap();
}

/// As a kill leaves it: a folder with `records` records of which the last `tail` were written in a group of their own.
fn folder_with_tail(
    append: AppendChoice,
    records: u64,
    tail: u64,
) -> (tempfile::TempDir, JournalConfig, u64) {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), append);
    let mut journal = start(&config);
    push_all(&mut journal, 0..records - tail);
    wait_until("durable", || journal.durable() == records - tail);
    let (_, before) = read_all(folder.path()).unwrap().last.unwrap();
    push_all(&mut journal, records - tail..records);
    journal.stop().unwrap();
    forget_the_stop(folder.path());
    (folder, config, before)
}

fn a_tail_torn_at_any_byte_is_cut_and_said_so_and_the_journal_goes_on(append: AppendChoice) {
    let (folder, config, before) = folder_with_tail(append, 8, 1);
    let path = segment_path(folder.path(), 0);
    let whole = std::fs::read(&path).unwrap();
    let (_, after) = read_all(folder.path()).unwrap().last.unwrap();
    for len in before..after {
        let mut torn = whole.clone();
        torn[len as usize..].fill(0);
        std::fs::write(&path, &torn).unwrap();
        let end = read_all(folder.path()).unwrap();
        assert_eq!(end.records, 7, "cut to {len} bytes");
        let (_, whole_len) = end.last.unwrap();
        let is_dirty = torn[whole_len as usize..].iter().any(|byte| *byte != 0);
        assert_eq!(end.torn.is_some(), is_dirty, "cut to {len} bytes: {end:?}");
    }
    // As a shorter file too, then restarted.
    std::fs::write(&path, &whole[..after as usize - 1]).unwrap();
    assert_eq!(
        read_all(folder.path()).unwrap().torn.unwrap().reason,
        "it is cut off"
    );
    let mut journal = start(&config);
    assert_eq!(journal.durable(), 7);
    push_all(&mut journal, 7..12);
    journal.stop().unwrap();
    let end = read_all(folder.path()).unwrap();
    assert_eq!((end.records, end.torn), (12, None));
}

fn a_hole_in_an_unsynced_group_is_torn_though_valid_records_follow(append: AppendChoice) {
    let (folder, config, before) = folder_with_tail(append, 12, 4);
    let path = segment_path(folder.path(), 0);
    let mut bytes = std::fs::read(&path).unwrap();
    // Behind the mark, in the first record of the last group: a page that did not reach the disk.
    bytes[before as usize + record::MARK_FRAME_LEN + 20] ^= 0xFF;
    std::fs::write(&path, &bytes).unwrap();
    // The four records may have made one group or several; only one group is surely unsynced.
    let last_group_only = record::durable_claim_max(&bytes, salt_of(&bytes)) == 8;
    match read_all(folder.path()) {
        Ok(end) => {
            assert!(last_group_only);
            assert_eq!((end.records, end.torn.is_some()), (8, true));
            let mut journal = start(&config);
            push_all(&mut journal, 8..9);
            journal.stop().unwrap();
            assert_eq!(read_all(folder.path()).unwrap().records, 9);
        }
        Err(error) => assert!(!last_group_only, "{error}"),
    }
}

fn salt_of(bytes: &[u8]) -> u64 {
    match record::parse(bytes) {
        record::Parsed::Frame { body, .. } => record::SegmentHeader::decode(body).unwrap().salt,
        other => panic!("{other:?}"),
    }
}

fn a_mark_forged_inside_an_envelope_does_not_make_a_torn_tail_corrupt(append: AppendChoice) {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), append);
    let mut journal = start(&config);
    let mut body = Vec::new();
    record::push_durable_mark(&mut body, 0, u64::MAX);
    body.resize(5000, 0);
    journal
        .try_push(Record {
            kind: Kind::Envelope,
            epoch: Epoch(0),
            body,
        })
        .unwrap();
    journal.stop().unwrap();
    forget_the_stop(folder.path());
    let path = segment_path(folder.path(), 0);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[record::HEADER_FRAME_LEN + 4500] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let end = read_all(folder.path()).unwrap();
    assert_eq!((end.records, end.torn.is_some()), (0, true));
}

fn after_a_clean_stop_a_flaw_in_the_last_group_is_refused_and_after_a_kill_it_is_torn(
    append: AppendChoice,
) {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), append);
    let mut journal = start(&config);
    push_all(&mut journal, 0..8);
    wait_until("durable", || journal.durable() == 8);
    let (_, before) = read_all(folder.path()).unwrap().last.unwrap();
    push_all(&mut journal, 8..12);
    journal.stop().unwrap();
    let path = segment_path(folder.path(), 0);
    let whole = std::fs::read(&path).unwrap();
    let (_, after) = read_all(folder.path()).unwrap().last.unwrap();
    for at in (before..after).step_by(3) {
        let mut flawed = whole.clone();
        flawed[at as usize] ^= 4;
        std::fs::write(&path, &flawed).unwrap();
        let error = Journal::<Vec<u8>>::start(&config, || {}).unwrap_err();
        let words = error.to_string();
        assert!(
            words.contains("journal-0000000000.seg is corrupt at byte"),
            "{words}"
        );
        flawed[at as usize..].fill(0);
        std::fs::write(&path, &flawed).unwrap();
        read_all(folder.path()).unwrap_err();
    }
    // The refusals changed nothing; without the mark the same flaw is a crash's.
    std::fs::write(&path, &whole[..after as usize - 1]).unwrap();
    forget_the_stop(folder.path());
    let end = read_all(folder.path()).unwrap();
    assert_eq!((end.records, end.torn.is_some()), (11, true));
    start(&config).stop().unwrap();
}

fn after_a_clean_stop_missing_segments_are_noticed(append: AppendChoice) {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), append);
    let mut journal = start(&config);
    push_all(&mut journal, 0..1500);
    journal.stop().unwrap();
    let segments = segment_indices(folder.path()).unwrap();
    assert!(segments.len() >= 3);
    for index in segments.iter().rev() {
        std::fs::remove_file(segment_path(folder.path(), *index)).unwrap();
        let error = Journal::<Vec<u8>>::start(&config, || {}).unwrap_err();
        let last = segment_path(folder.path(), segments[segments.len() - 1]);
        assert!(
            error.to_string().starts_with(&last.display().to_string()),
            "{error}"
        );
    }
}

fn the_mark_of_a_stop_is_gone_while_the_journal_runs_and_a_damaged_one_vouches_for_nothing(
    append: AppendChoice,
) {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), append);
    start(&config).stop().unwrap();
    let path = folder.path().join(stop_mark::NAME);
    let mut records = 0;
    for at in 0..std::fs::read(&path).unwrap().len() {
        let mut mark = std::fs::read(&path).unwrap();
        mark[at] ^= 1;
        std::fs::write(&path, &mark).unwrap();
        let mut journal = start(&config);
        assert!(!path.exists());
        push_all(&mut journal, records..records + 1);
        records += 1;
        // As a drop, which stops it too.
        drop(journal);
        assert_eq!(read_all(folder.path()).unwrap().records, records);
    }
}

fn a_segment_that_holds_records_but_no_header_is_corrupt(append: AppendChoice) {
    let (folder, _, _) = folder_with_tail(append, 8, 1);
    let path = segment_path(folder.path(), 0);
    let whole = std::fs::read(&path).unwrap();
    for flaw in [0..1, 0..record::HEADER_FRAME_LEN, 20..21] {
        let mut bytes = whole.clone();
        bytes[flaw]
            .iter_mut()
            .for_each(|byte| *byte = if *byte == 0 { 1 } else { 0 });
        std::fs::write(&path, &bytes).unwrap();
        assert!(matches!(
            read_all(folder.path()),
            Err(JournalError::Corrupt { .. })
        ));
    }
}

fn a_corrupt_or_zeroed_middle_is_an_error_and_the_journal_does_not_start(append: AppendChoice) {
    let (folder, config, before) = folder_with_tail(append, 40, 1);
    let path = segment_path(folder.path(), 0);
    let whole = std::fs::read(&path).unwrap();
    // A later mark vouches for every record before `before`.
    for at in (record::HEADER_FRAME_LEN as u64..before).step_by(7) {
        let mut bytes = whole.clone();
        bytes[at as usize] ^= 0x10;
        std::fs::write(&path, &bytes).unwrap();
        match read_all(folder.path()) {
            Err(JournalError::Corrupt { .. }) => {}
            other => panic!("byte {at}: {other:?}"),
        }
    }
    let mut bytes = whole.clone();
    bytes[before as usize / 2..before as usize].fill(0);
    std::fs::write(&path, &bytes).unwrap();
    let error = Journal::<Vec<u8>>::start(&config, || {}).unwrap_err();
    assert!(matches!(error, JournalError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains("is corrupt at byte"));
}

fn a_flaw_in_an_earlier_segment_or_a_missing_one_is_an_error(append: AppendChoice) {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), append);
    let mut journal = start(&config);
    push_all(&mut journal, 0..1500);
    journal.stop().unwrap();
    assert!(segment_indices(folder.path()).unwrap().len() >= 3);
    let first = segment_path(folder.path(), 0);
    let whole = std::fs::read(&first).unwrap();
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap();
    let mut flawed = whole.clone();
    flawed[used] ^= 1;
    std::fs::write(&first, &flawed).unwrap();
    assert!(
        matches!(read_all(folder.path()), Err(JournalError::Corrupt { .. })),
        "last record"
    );
    flawed[used - 400..].fill(0);
    std::fs::write(&first, &flawed).unwrap();
    assert!(
        matches!(read_all(folder.path()), Err(JournalError::Corrupt { .. })),
        "zeroed end"
    );
    std::fs::write(&first, &whole).unwrap();
    read_all(folder.path()).unwrap();
    std::fs::remove_file(segment_path(folder.path(), 1)).unwrap();
    assert!(
        matches!(read_all(folder.path()), Err(JournalError::Corrupt { .. })),
        "missing"
    );
}

fn a_segment_whose_header_never_reached_the_disk_is_begun_again(append: AppendChoice) {
    let (folder, config, _) = folder_with_tail(append, 8, 1);
    std::fs::write(segment_path(folder.path(), 1), [0; 5000]).unwrap();
    let end = read_all(folder.path()).unwrap();
    assert_eq!(end.records, 8);
    let mut journal = start(&config);
    push_all(&mut journal, 8..9);
    journal.stop().unwrap();
    assert_eq!(read_all(folder.path()).unwrap().records, 9);
    assert_eq!(segment_indices(folder.path()).unwrap(), [0, 1]);
}

fn another_identity_or_a_second_process_is_refused(append: AppendChoice) {
    let (_folder, config, _) = folder_with_tail(append, 8, 1);
    let other = JournalIdentity {
        authority: AuthorityIndex(4),
        ..IDENTITY
    };
    let foreign = JournalConfig {
        identity: other,
        ..config.clone()
    };
    let error = Journal::<Vec<u8>>::start(&foreign, || {}).unwrap_err();
    assert!(matches!(error, JournalError::Foreign { .. }), "{error}");
    let held = start(&config);
    let error = Journal::<Vec<u8>>::start(&config, || {}).unwrap_err();
    assert!(matches!(error, JournalError::Locked { .. }), "{error}");
    drop(held);
    start(&config);
}

fn a_body_above_the_bound_comes_back(append: AppendChoice) {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = start(&config(folder.path(), append));
    let large = Record {
        kind: Kind::Batch,
        epoch: Epoch(0),
        body: vec![1; (32 << 10) + 1],
    };
    assert_eq!(
        journal.try_push(large.clone()),
        Err(Refused::TooLarge(large.clone()))
    );
    let fits = Record {
        body: vec![1; 32 << 10],
        ..large
    };
    for number in 0..4 {
        assert_eq!(
            journal.try_push(fits.clone()),
            Ok(number),
            "one after the other, each rolls over"
        );
    }
    assert_eq!(journal.stop().unwrap().records, 4);
    assert_eq!(segment_indices(folder.path()).unwrap().len(), 4);
    assert_eq!(
        JournalReader::open(folder.path())
            .unwrap()
            .into_end()
            .unwrap()
            .records,
        4
    );
}

fn an_idle_writer_zeroes_ahead_and_records_still_come_back(append: AppendChoice) {
    let folder = tempfile::tempdir().unwrap();
    let config = JournalConfig {
        segment_len: 16 << 20,
        ..config(folder.path(), append)
    };
    let mut journal = start(&config);
    let body = || Record {
        kind: Kind::Batch,
        epoch: Epoch(0),
        body: vec![0xEE; 1 << 20],
    };
    for _ in 0..12 {
        journal.try_push(body()).unwrap();
        std::thread::sleep(Duration::from_millis(3));
    }
    journal.stop().unwrap();
    assert_eq!(
        JournalReader::open(folder.path())
            .unwrap()
            .into_end()
            .unwrap()
            .records,
        12
    );
}

#[test]
fn an_empty_or_missing_folder_holds_no_records() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(read_all(folder.path()).unwrap().records, 0);
    assert_eq!(read_all(&folder.path().join("missing")).unwrap().records, 0);
}

fn a_segment_of_another_version_is_an_error(append: AppendChoice) {
    let (folder, _, _) = folder_with_tail(append, 8, 1);
    let mut body = vec![2u8];
    body.extend_from_slice(&[0; 25]);
    let mut frame = Vec::new();
    record::push_frame(&mut frame, Kind::Header, Epoch(0), &body);
    let path = segment_path(folder.path(), 0);
    OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .write_all_at(&frame, 0)
        .unwrap();
    assert!(matches!(
        read_all(folder.path()),
        Err(JournalError::Header { .. })
    ));
}
