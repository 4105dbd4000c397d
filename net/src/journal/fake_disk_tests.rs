//! Claims about the queue before the disk, and about a disk that hangs, fills up or fails.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};

use fairlane_engine::types::Epoch;

use super::segment::Store;
use super::tests::{config, record, wait_until};
use super::*;

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

    fn append_part(&mut self, frames: &[u8]) -> Result<(), JournalError> {
        self.append(frames)
    }

    fn append_synced(&mut self, frames: &mut Vec<u8>) -> Result<(), JournalError> {
        self.append(frames)?;
        self.sync()
    }

    fn roll(&mut self, _: u64) -> Result<(), JournalError> {
        Ok(())
    }

    fn close(&mut self, _: u64) {}

    fn prepare(&mut self) -> Result<bool, JournalError> {
        Ok(false)
    }
}

fn start_fake(disk: &FakeDisk, queue_len_max: usize) -> Journal<Vec<u8>> {
    let config = JournalConfig {
        queue_len_max,
        ..config(Path::new("unused"), AppendChoice::Plain)
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
fn a_long_group_is_written_in_parts_and_synced_once() {
    let disk = FakeDisk::default();
    disk.set(|state| state.closed = true);
    let mut journal = start_fake(&disk, 100);
    journal.try_push(record(0)).unwrap();
    wait_until("the writer is at the disk", || disk.appends() == 1);
    for _ in 0..20 {
        let body = vec![7; 100 << 10];
        let (kind, epoch) = (Kind::Envelope, Epoch(0));
        journal.try_push(Record { kind, epoch, body }).unwrap();
    }
    disk.set(|state| state.closed = false);
    wait_until("drained", || journal.durable() == 21);
    let stats = journal.stop().unwrap();
    assert_eq!((stats.groups, stats.syncs), (2, 2));
    assert!(stats.bytes > 20 * (100 << 10), "{stats:?}");
    assert_eq!(disk.appends(), 1 + 6 + 1, "three records fill a part");
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
