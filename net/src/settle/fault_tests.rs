//! Claims about a worker that dies around any of its writes, and about one whose disk is full.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::fault::{self, DIED};
use super::sink_format::FILE_NAME;
use super::tests::{CHAIN, Node, ROLLUP, WorkerThread, assert_settled, config, wait_until};
use super::*;
use crate::disk_full_tests::SmallDisk;
use crate::ring::CAPACITY_DEFAULT;

/// Runs a worker that dies at its `point`-th point; whether it did.
fn run_until_death(folder: &Path, node: &Node, point: u64) -> bool {
    let (config, stop) = (config(folder), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            fault::tests::die_at(point);
            run(&config, &stop)
        });
        let emitted = node.emitted();
        wait_until("dead or done", || {
            worker.is_finished() || node.settled_count() == emitted
        });
        stop.store(true, Ordering::Release);
        match worker.join().unwrap() {
            Ok(_) => false,
            Err(SettleError::Handshake(DIED)) => true,
            Err(error) => panic!("{error}"),
        }
    })
}

/// Batches that anybody finds in the sink now: each once and in order, which the reader checks.
fn found_outside(folder: &Path) -> u64 {
    let Ok(mut reader) = SettleReader::open(&folder.join("sink")) else {
        return 0;
    };
    let mut count = 0;
    while let Some(batch) = reader.try_next().unwrap() {
        assert_eq!(batch.header().seq, BatchSeq(count));
        count += 1;
    }
    count
}

#[test]
fn a_worker_that_dies_around_any_of_its_writes_settles_every_batch_exactly_once() {
    let mut deaths = 0;
    for point in 0.. {
        let folder = tempfile::tempdir().unwrap();
        let mut node = Node::start(folder.path(), CAPACITY_DEFAULT);
        node.emit(4);
        let has_died = run_until_death(folder.path(), &node, point);
        deaths += u64::from(has_died);
        let found = found_outside(folder.path());
        assert!(
            node.settled_count() <= found,
            "point {point}: the node was told of more than is there"
        );
        node.wait_detached();
        node.emit(3);
        // Once more at the same place, now on what the first death left.
        run_until_death(folder.path(), &node, point);
        node.wait_detached();
        assert!(found_outside(folder.path()) >= found, "point {point}");
        node.emit(2);
        let worker = WorkerThread::start(folder.path());
        node.wait_settled();
        worker.stop();
        assert_settled(folder.path(), 9);
        if !has_died {
            break;
        }
    }
    // Making the file, its head, a group and the notice: each write has a point before, one inside or one after it.
    assert!(deaths >= 15, "{deaths}");
}

/// A sink whose disk is full for some syncs.
struct Full {
    sink: JournalSink,
    syncs: u32,
}

impl Sink for Full {
    fn append(&mut self, batch: &BatchView<'_>) -> Result<(), SettleError> {
        self.sink.append(batch)
    }

    fn sync(&mut self) -> Result<(), SettleError> {
        if self.syncs > 0 {
            self.syncs -= 1;
            let path = PathBuf::from("fake");
            return Err(JournalError::Full { path }.into());
        }
        self.sink.sync()
    }

    fn settled(&self) -> Option<&BatchHeader> {
        self.sink.settled()
    }
}

#[test]
fn a_worker_whose_disk_is_full_waits_and_settles_what_it_had_once_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::start(folder.path(), CAPACITY_DEFAULT);
    node.emit(20);
    let (config, stop) = (config(folder.path()), AtomicBool::new(false));
    let sink = JournalSink::open(&config.sink_folder, CHAIN, ROLLUP).unwrap();
    let mut full = Full { sink, syncs: 3 };
    let report = std::thread::scope(|scope| {
        let worker = scope.spawn(|| run_with(&config, &mut full, &stop, || ()));
        node.wait_settled();
        stop.store(true, Ordering::Release);
        worker.join().unwrap().unwrap()
    });
    assert_eq!((report.batches, report.disk_full), (20, 1));
    drop(full);
    assert_settled(folder.path(), 20);
}

#[test]
fn a_worker_that_is_stopped_while_its_disk_is_full_says_so_and_settles_later() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::start(folder.path(), CAPACITY_DEFAULT);
    node.emit(20);
    let (config, stop) = (config(folder.path()), AtomicBool::new(false));
    let sink = JournalSink::open(&config.sink_folder, CHAIN, ROLLUP).unwrap();
    let mut full = Full {
        sink,
        syncs: u32::MAX,
    };
    let stopped = std::thread::scope(|scope| {
        let worker = scope.spawn(|| run_with(&config, &mut full, &stop, || ()).unwrap_err());
        std::thread::sleep(Duration::from_millis(300));
        assert!(!worker.is_finished(), "it waits for room");
        stop.store(true, Ordering::Release);
        worker.join().unwrap()
    });
    assert!(stopped.is_disk_full(), "{stopped}");
    drop(full);
    assert_eq!(node.settled_count(), 0);
    node.wait_detached();
    let worker = WorkerThread::start(folder.path());
    node.wait_settled();
    worker.stop();
    assert_settled(folder.path(), 20);
}

#[test]
fn a_real_full_disk_is_waited_for_and_what_was_half_written_is_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&folder.path().join("sink"), 1) else {
        return;
    };
    let mut node = Node::start(folder.path(), CAPACITY_DEFAULT);
    let worker = WorkerThread::start(folder.path());
    node.wait_attached();
    disk.fill();
    node.emit(200);
    // The page of the file's head takes some more bytes; the next has no room.
    let file = folder.path().join("sink").join(FILE_NAME);
    wait_until("half written", || {
        std::fs::metadata(&file).unwrap().len() >= 4096
    });
    assert!(node.settled_count() < 200);
    disk.free();
    node.wait_settled();
    let report = worker.stop();
    assert_eq!(report.batches, 200);
    assert!(report.disk_full >= 1, "{report:?}");
    assert_settled(folder.path(), 200);
}
