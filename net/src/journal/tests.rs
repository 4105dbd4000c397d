//! Claims about the journal: what it says is durable comes back, torn tails are cut, corrupt middles are errors.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use fairlane_engine::types::{AuthorityIndex, ChainId, Epoch};

use super::segment::{Store, segment_indices, segment_path};
use super::*;

const IDENTITY: JournalIdentity = JournalIdentity {
    chain_id: ChainId(77),
    authority: AuthorityIndex(3),
};

fn config(folder: &Path) -> JournalConfig {
    // Short segments: the tests should not zero 8 MiB each.
    JournalConfig {
        segment_len: 64 << 10,
        ..JournalConfig::new(folder, IDENTITY)
    }
}

fn record(number: u64) -> Record<Vec<u8>> {
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

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "never: {what}");
        std::thread::sleep(Duration::from_micros(200));
    }
}

#[test]
fn what_is_pushed_is_read_back_over_many_segments_and_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
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

#[test]
fn what_is_reported_durable_is_in_the_file_at_that_moment() {
    let folder = tempfile::tempdir().unwrap();
    let wakes = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&wakes);
    let wake = move || {
        counter.fetch_add(1, Ordering::Relaxed);
    };
    let mut journal = Journal::start(&config(folder.path()), wake).unwrap();
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

#[test]
fn a_group_shares_one_sync() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = start(&config(folder.path()));
    push_all(&mut journal, 0..5000);
    let stats = journal.stop().unwrap();
    assert_eq!(stats.records, 5000);
    assert!(stats.syncs * 4 < stats.records, "{stats:?}");
    assert!(stats.syncs >= 1);
}

#[test]
fn async_reports_after_the_write_and_syncs_at_the_stop() {
    let folder = tempfile::tempdir().unwrap();
    let config = JournalConfig {
        durability: Durability::Async,
        ..config(folder.path())
    };
    let mut journal = start(&config);
    push_all(&mut journal, 0..50);
    wait_until("durable", || journal.durable() == 50);
    assert_eq!(journal.stats().syncs, 0);
    assert_eq!(journal.stop().unwrap().syncs, 1);
    assert_eq!(read_all(folder.path()).unwrap().records, 50);
}

#[test]
fn async_syncs_within_a_second_or_so_without_being_asked() {
    let folder = tempfile::tempdir().unwrap();
    let config = JournalConfig {
        durability: Durability::Async,
        ..config(folder.path())
    };
    let mut journal = start(&config);
    push_all(&mut journal, 0..5);
    wait_until("synced", || journal.stats().syncs == 1);
}

/// A folder with `records` records of which the last `tail` were written in a group of their own.
fn folder_with_tail(records: u64, tail: u64) -> (tempfile::TempDir, JournalConfig, u64) {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let mut journal = start(&config);
    push_all(&mut journal, 0..records - tail);
    wait_until("durable", || journal.durable() == records - tail);
    let (_, before) = read_all(folder.path()).unwrap().last.unwrap();
    push_all(&mut journal, records - tail..records);
    journal.stop().unwrap();
    (folder, config, before)
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_and_said_so_and_the_journal_goes_on() {
    let (folder, config, before) = folder_with_tail(8, 1);
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

#[test]
fn a_hole_in_an_unsynced_group_is_torn_though_valid_records_follow() {
    let (folder, config, before) = folder_with_tail(12, 4);
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

#[test]
fn a_mark_forged_inside_an_envelope_does_not_make_a_torn_tail_corrupt() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
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
    let path = segment_path(folder.path(), 0);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[record::HEADER_FRAME_LEN + 4500] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let end = read_all(folder.path()).unwrap();
    assert_eq!((end.records, end.torn.is_some()), (0, true));
}

#[test]
fn a_segment_that_holds_records_but_no_header_is_corrupt() {
    let (folder, _, _) = folder_with_tail(8, 1);
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

#[test]
fn a_corrupt_or_zeroed_middle_is_an_error_and_the_journal_does_not_start() {
    let (folder, config, before) = folder_with_tail(40, 1);
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

#[test]
fn a_flaw_in_an_earlier_segment_or_a_missing_one_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
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

#[test]
fn a_segment_whose_header_never_reached_the_disk_is_begun_again() {
    let (folder, config, _) = folder_with_tail(8, 1);
    std::fs::write(segment_path(folder.path(), 1), [0; 5000]).unwrap();
    let end = read_all(folder.path()).unwrap();
    assert_eq!(end.records, 8);
    let mut journal = start(&config);
    push_all(&mut journal, 8..9);
    journal.stop().unwrap();
    assert_eq!(read_all(folder.path()).unwrap().records, 9);
    assert_eq!(segment_indices(folder.path()).unwrap(), [0, 1]);
}

#[test]
fn another_identity_or_a_second_process_is_refused() {
    let (_folder, config, _) = folder_with_tail(8, 1);
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

#[test]
fn a_body_above_the_bound_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = start(&config(folder.path()));
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

/// A disk that waits at a gate, and fails when told to.
#[derive(Clone, Default)]
struct FakeDisk {
    state: Arc<(Mutex<FakeState>, Condvar)>,
}

#[derive(Default)]
struct FakeState {
    closed: bool,
    failure: Option<rustix::io::Errno>,
    sync_failure: Option<rustix::io::Errno>,
    appends: u64,
    written: Vec<Vec<u8>>,
}

impl FakeDisk {
    fn set(&self, change: impl Fn(&mut FakeState)) {
        change(&mut self.state.0.lock().unwrap());
        self.state.1.notify_all();
    }

    fn appends(&self) -> u64 {
        self.state.0.lock().unwrap().appends
    }

    fn written(&self) -> Vec<Vec<u8>> {
        self.state.0.lock().unwrap().written.clone()
    }
}

impl Store for FakeDisk {
    fn salt(&self) -> u64 {
        0
    }

    fn left(&self) -> u64 {
        u64::MAX
    }

    fn append(&mut self, frames: &[u8]) -> Result<(), JournalError> {
        let mut state = self.state.0.lock().unwrap();
        state.appends += 1;
        // Large ones are those of a test that counts bytes, and would only fill memory.
        if frames.len() < 1 << 16 {
            state.written.push(frames.to_vec());
        }
        while state.closed {
            state = self.state.1.wait(state).unwrap();
        }
        match state.failure {
            Some(errno) => Err(JournalError::io("writing", &PathBuf::from("fake"))(errno)),
            None => Ok(()),
        }
    }

    fn sync(&mut self) -> Result<(), JournalError> {
        match self.state.0.lock().unwrap().sync_failure {
            Some(errno) => Err(JournalError::sync(&PathBuf::from("fake"))(errno)),
            None => Ok(()),
        }
    }

    fn roll(&mut self, _: u64) -> Result<(), JournalError> {
        Ok(())
    }

    fn prepare(&mut self) -> Result<bool, JournalError> {
        Ok(false)
    }
}

fn start_fake(disk: &FakeDisk, queue_len_max: usize) -> Journal<Vec<u8>> {
    let config = JournalConfig {
        queue_len_max,
        ..config(Path::new("unused"))
    };
    let config = JournalConfig {
        segment_len: SEGMENT_LEN_DEFAULT,
        ..config
    };
    Journal::start_on(disk.clone(), &config, 0, None, || {}).unwrap()
}

#[test]
fn a_full_queue_gives_the_record_back_and_takes_it_when_the_disk_goes_on() {
    let disk = FakeDisk::default();
    disk.set(|state| state.closed = true);
    let mut journal = start_fake(&disk, 4);
    journal.try_push(record(0)).unwrap();
    wait_until("the writer is at the disk", || disk.appends() == 1);
    for number in 1..=4 {
        assert_eq!(journal.try_push(record(number)), Ok(number));
    }
    assert_eq!(journal.try_push(record(5)), Err(Refused::Full(record(5))));
    assert_eq!(
        journal.durable(),
        0,
        "nothing is durable while the disk hangs"
    );
    disk.set(|state| state.closed = false);
    wait_until("drained", || journal.durable() == 5);
    assert_eq!(journal.try_push(record(5)), Ok(5));
    assert_eq!(journal.stop().unwrap().records, 6);
    assert_eq!(disk.appends(), 3, "what waited made one group");
}

#[test]
fn bytes_that_wait_are_bounded_too() {
    let disk = FakeDisk::default();
    disk.set(|state| state.closed = true);
    let mut journal = start_fake(&disk, 1000);
    let large = || Record {
        kind: Kind::Batch,
        epoch: Epoch(0),
        body: vec![0; BODY_LEN_MAX],
    };
    let taken = (0..1000)
        .take_while(|_| journal.try_push(large()).is_ok())
        .count();
    assert_eq!(taken as u64, QUEUE_BYTES_MAX / BODY_LEN_MAX as u64);
    disk.set(|state| state.closed = false);
    assert_eq!(journal.stop().unwrap().records, taken as u64);
}

#[test]
fn a_full_disk_is_waited_for_and_nothing_is_durable_until_there_is_room() {
    let disk = FakeDisk::default();
    let mut journal = start_fake(&disk, 16);
    journal.try_push(record(0)).unwrap();
    wait_until("durable", || journal.durable() == 1);
    disk.set(|state| state.failure = Some(rustix::io::Errno::NOSPC));
    journal.try_push(record(1)).unwrap();
    wait_until("full", || journal.is_disk_full());
    journal.try_push(record(2)).unwrap();
    let tried = disk.appends();
    wait_until("tried again", || disk.appends() > tried + 1);
    assert_eq!((journal.durable(), journal.failure().is_some()), (1, false));
    disk.set(|state| state.failure = None);
    wait_until("durable", || journal.durable() == 3);
    assert!(!journal.is_disk_full());
    let written = disk.written();
    let (first, tries) = written.split_first().unwrap();
    let (last, tries) = tries.split_last().unwrap();
    assert!(first != last && tries.len() > 2);
    assert!(
        tries.iter().all(|tried| *tried == tries[0]),
        "the same bytes are written again"
    );
    assert_eq!(journal.stop().unwrap().records, 3);
}

#[test]
fn a_journal_that_is_stopped_while_the_disk_is_full_says_so_in_one_sentence() {
    let disk = FakeDisk::default();
    disk.set(|state| state.failure = Some(rustix::io::Errno::DQUOT));
    let mut journal = start_fake(&disk, 16);
    journal.try_push(record(0)).unwrap();
    wait_until("full", || journal.is_disk_full());
    let failure = journal.stop().unwrap_err();
    let sentence = "the disk that holds fake is full: free some space";
    assert_eq!(failure.to_string(), sentence);
}

#[test]
fn any_other_failure_of_a_write_and_every_failure_of_a_sync_ends_the_journal() {
    let sets: [fn(&mut FakeState); 3] = [
        |state| state.failure = Some(rustix::io::Errno::IO),
        |state| state.sync_failure = Some(rustix::io::Errno::IO),
        // What was written may be lost by then: trying again would vouch for it.
        |state| state.sync_failure = Some(rustix::io::Errno::NOSPC),
    ];
    for set in sets {
        let disk = FakeDisk::default();
        let mut journal = start_fake(&disk, 16);
        journal.try_push(record(0)).unwrap();
        wait_until("durable", || journal.durable() == 1);
        disk.set(set);
        journal.try_push(record(1)).unwrap();
        wait_until("failed", || journal.failure().is_some());
        assert_eq!(journal.try_push(record(2)), Err(Refused::Failed(record(2))));
        assert_eq!((journal.durable(), journal.is_disk_full()), (1, false));
        journal.stop().unwrap_err();
    }
}

#[test]
fn an_idle_writer_zeroes_ahead_and_records_still_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let config = JournalConfig {
        segment_len: 16 << 20,
        ..config(folder.path())
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

#[test]
fn a_segment_of_another_version_is_an_error() {
    let (folder, _, _) = folder_with_tail(8, 1);
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
