//! Claims about a worker that is wanted for as long as its machine runs.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::AtomicU64;

use super::super::handshake::{Answer, Hello};
use super::super::tests::{CHAIN, Node, ROLLUP, assert_settled, config, wait_until};
use super::super::{JournalSink, WORKERS_MAX};
use super::*;
use crate::ring::CAPACITY_DEFAULT;

/// A seat, taken by somebody who never reads; none while all are taken.
fn try_seat(folder: &Path) -> Option<UnixStream> {
    let mut socket = UnixStream::connect(folder.join("socket")).unwrap();
    let hello = Hello {
        chain_id: CHAIN,
        rollup_id: ROLLUP,
        settled: 0,
    };
    // Who is busy says so and hangs up at once.
    let _ = socket.write_all(&hello.encode());
    let mut answer = [0; 2];
    socket.read_exact(&mut answer).unwrap();
    (answer == Answer::Welcome.encode()).then_some(socket)
}

#[test]
fn a_worker_that_was_there_waits_for_a_seat() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut node = Node::start(folder, CAPACITY_DEFAULT);
    let stop = AtomicBool::new(false);
    let (lives, waited) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let served = scope.spawn(|| {
            let config = config(folder);
            let mut sink = JournalSink::open(&config.sink_folder, CHAIN, ROLLUP)?;
            serve(&config, &mut sink, &stop, |event| {
                let counter = match event {
                    Event::Attached => &lives,
                    Event::Waiting(SettleError::Busy) => &waited,
                    Event::Waiting(_) | Event::Ended(_) => return,
                };
                counter.fetch_add(1, Ordering::AcqRel);
            })
        });
        node.wait_attached();
        let mut seats: Vec<UnixStream> =
            (1..WORKERS_MAX).filter_map(|_| try_seat(folder)).collect();
        // Its own seat, too: a connection that is dead and of which the node does not know looks the same.
        node.cut_worker();
        wait_until("all seats are taken", || {
            seats.extend(try_seat(folder));
            seats.len() == WORKERS_MAX || served.is_finished()
        });
        wait_until("it waits", || {
            waited.load(Ordering::Acquire) > 0 || served.is_finished()
        });
        let before = lives.load(Ordering::Acquire);
        drop(seats);
        node.emit(5);
        wait_until("it is back", || {
            lives.load(Ordering::Acquire) > before || served.is_finished()
        });
        assert!(!served.is_finished(), "{:?}", served.join());
        node.wait_settled();
        stop.store(true, Ordering::Release);
        served.join().unwrap().unwrap();
    });
    assert_settled(folder, 5);
}
