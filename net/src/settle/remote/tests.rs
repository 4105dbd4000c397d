//! Claims about workers on other machines: the same batches, exactly once, and nothing for strangers.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use fairlane_engine::types::{AuthorityIndex, RollupId};

use super::super::fault::{self, DIED};
use super::super::tests::{CHAIN, Node, WorkerThread, assert_settled, config, wait_until};
use super::super::{RemoteNode, SettleConfig, SettleError, run};
use super::handshake::OPENING_LEN;
use super::*;
use crate::ring::CAPACITY_DEFAULT;
use crate::session::keys::LinkSecret;

const NODE: AuthorityIndex = AuthorityIndex(3);

fn secret(byte: u8) -> LinkSecret {
    LinkSecret::from_bytes(&[byte; 32])
}

/// A node that knows the worker with key 2.
fn start(folder: &Path, ring_bytes: u64) -> (Node, SocketAddr) {
    let node = Node::start(folder, ring_bytes);
    let keys = WorkerKeys::new(
        CHAIN,
        NODE,
        secret(1),
        &[secret(9).public(), secret(2).public()],
    );
    let address = node.listen(keys.unwrap());
    (node, address)
}

fn remote(folder: &Path, address: SocketAddr) -> SettleConfig {
    let key = NodeKey {
        index: NODE,
        public: secret(1).public(),
        own: secret(2),
    };
    SettleConfig {
        socket: "nowhere".into(),
        remote: Some(RemoteNode { address, key }),
        ..config(folder)
    }
}

#[test]
fn a_remote_worker_settles_every_batch_once_and_goes_on_from_its_own_count() {
    let folder = tempfile::tempdir().unwrap();
    // Far shorter than what goes through it, and frames of several records.
    let (mut node, address) = start(folder.path(), 1 << 15);
    node.emit(300);
    let mut settled = 0;
    for _ in 0..5 {
        let worker = WorkerThread::start_with(remote(folder.path(), address));
        node.emit(100);
        node.wait_settled();
        let report = worker.stop();
        assert_eq!(report.skipped, 0);
        settled += report.batches;
        node.wait_detached();
        node.emit(10);
    }
    assert_eq!(settled, 300 + 5 * 100 + 4 * 10);
    assert_settled(folder.path(), settled);
    assert_eq!(node.remote_figures().workers, 5);
}

#[test]
fn a_batch_of_many_records_arrives_as_it_left() {
    let folder = tempfile::tempdir().unwrap();
    let (mut node, address) = start(folder.path(), CAPACITY_DEFAULT);
    node.emit_long(3, 200_000);
    let worker = WorkerThread::start_with(remote(folder.path(), address));
    node.wait_settled();
    assert_eq!(worker.stop().batches, 3);
}

/// Runs a remote worker that dies at its `point`-th point; whether it did.
fn run_until_death(folder: &Path, address: SocketAddr, node: &Node, point: u64) -> bool {
    let (config, stop) = (remote(folder, address), AtomicBool::new(false));
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

#[test]
fn a_remote_worker_that_dies_around_any_of_its_writes_settles_every_batch_exactly_once() {
    let mut deaths = 0;
    for point in 0.. {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let (mut node, address) = start(folder, CAPACITY_DEFAULT);
        node.emit(4);
        let has_died = run_until_death(folder, address, &node, point);
        deaths += u64::from(has_died);
        node.wait_detached();
        node.emit(3);
        run_until_death(folder, address, &node, point);
        node.wait_detached();
        node.emit(2);
        assert!(!run_until_death(folder, address, &node, u64::MAX));
        assert_settled(folder, 9);
        if !has_died {
            break;
        }
    }
    assert!(deaths >= 10, "{deaths}");
}

#[test]
fn node_and_remote_worker_that_go_and_come_in_any_order_settle_exactly_once() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..12u64 {
        // The node has its batches again from its journal.
        let (mut node, address) = start(folder.path(), 1 << 16);
        node.emit(20 * round);
        let first = WorkerThread::start_with(remote(folder.path(), address));
        node.emit(20);
        if round % 2 == 0 {
            node.wait_settled();
            first.stop();
            node.wait_detached();
            let second = WorkerThread::start_with(remote(folder.path(), address));
            drop(node);
            // Whether it met the node or not.
            second.stop_or_fail();
        } else {
            drop(node);
            first.stop_or_fail();
        }
    }
    let (mut node, address) = start(folder.path(), 1 << 16);
    node.emit(240);
    let last = WorkerThread::start_with(remote(folder.path(), address));
    node.wait_settled();
    last.stop();
    assert_settled(folder.path(), 240);
}

/// How many bytes the node says, before and after these, until it hangs up.
fn say(address: SocketAddr, bytes: &[u8]) -> usize {
    let mut stream = TcpStream::connect(address).unwrap();
    let greeted = stream.read_exact(&mut [0; 33]).is_ok();
    let mut heard = Vec::new();
    // A reset is a hang-up, too.
    let _ = stream.write_all(bytes);
    let _ = stream.read_to_end(&mut heard);
    33 * usize::from(greeted) + heard.len()
}

#[test]
fn strangers_and_garbage_are_refused_and_counted_and_hold_up_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let (mut node, address) = start(folder.path(), CAPACITY_DEFAULT);
    let worker = WorkerThread::start_with(remote(folder.path(), address));
    node.wait_attached();
    assert_eq!(
        say(address, &[7; OPENING_LEN]),
        33,
        "a greeting and no more"
    );
    let mut garbage = vec![0xA5; OPENING_LEN + 500];
    garbage[0] = VERSION;
    for _ in 0..3 {
        assert_eq!(say(address, &garbage), 33);
    }
    let _silent = TcpStream::connect(address).unwrap();
    // A worker with a key that the node does not know, and one with another node in mind.
    let mut unknown = remote(folder.path(), address);
    unknown.sink_folder = folder.path().join("unknown");
    let mut other = unknown.clone();
    unknown.remote.as_mut().unwrap().key.own = secret(5);
    other.remote.as_mut().unwrap().key.public = secret(6).public();
    for config in [&unknown, &other] {
        let refused = run(config, &AtomicBool::new(false)).unwrap_err();
        assert!(refused.to_string().contains("hung up"), "{refused}");
    }
    let mut foreign = remote(folder.path(), address);
    foreign.sink_folder = folder.path().join("foreign");
    foreign.rollup_id = RollupId(99);
    let refused = run(&foreign, &AtomicBool::new(false)).unwrap_err();
    assert!(
        refused.to_string().contains("does not know the rollup"),
        "{refused}"
    );
    node.emit(50);
    node.wait_settled();
    worker.stop();
    wait_until("counted", || {
        node.remote_figures()
            == RemoteFigures {
                workers: 1,
                crowded: 0,
                silent: 1,
                version: 1,
                gate: 5,
                broken: 0,
                refused: 1,
            }
    });
    assert_settled(folder.path(), 50);
}

/// Somebody who connects, is greeted, and says nothing.
fn silent(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.read_exact(&mut [0; 33]).unwrap();
    stream
}

#[test]
fn strangers_that_take_every_place_keep_no_worker_out_and_displace_none() {
    let folder = tempfile::tempdir().unwrap();
    let (mut node, address) = start(folder.path(), CAPACITY_DEFAULT);
    let mut held: Vec<TcpStream> = (0..REMOTE_CONNECTIONS_MAX)
        .map(|_| silent(address))
        .collect();
    let worker = WorkerThread::start_with(remote(folder.path(), address));
    node.wait_attached();
    assert_eq!(held[0].read(&mut [0]).unwrap(), 0, "the oldest gave way");
    held.extend((0..2 * REMOTE_CONNECTIONS_MAX).map(|_| silent(address)));
    node.emit(20);
    node.wait_settled();
    assert_eq!(worker.stop().batches, 20, "in one life");
    let figures = node.remote_figures();
    assert_eq!(figures.workers, 1);
    assert!(
        figures.crowded > REMOTE_CONNECTIONS_MAX as u64,
        "{figures:?}"
    );
}

#[test]
fn the_last_count_of_a_worker_that_hangs_up_with_it_counts() {
    let folder = tempfile::tempdir().unwrap();
    let (mut node, address) = start(folder.path(), CAPACITY_DEFAULT);
    node.emit(3);
    let mut stream = TcpStream::connect(address).unwrap();
    let until = std::time::Instant::now() + HANDSHAKE_TIME_MAX;
    let hello = super::super::handshake::Hello {
        chain_id: CHAIN,
        rollup_id: RollupId(22),
        settled: 0,
    };
    let key = remote(folder.path(), address).remote.unwrap().key;
    let mut session = key.connect(&mut stream, &hello, until).unwrap();
    let mut say = |stream: &mut TcpStream, count: u64| {
        let mut out = Vec::new();
        session.seal(&count.to_be_bytes(), &mut out);
        stream.write_all(&out).unwrap();
    };
    say(&mut stream, 0);
    node.wait_attached();
    wait_until("handed over", || stream.peek(&mut [0; 4096]).unwrap() > 500);
    // The count and the end leave in one segment.
    rustix::net::sockopt::set_tcp_cork(&stream, true).unwrap();
    say(&mut stream, 3);
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    wait_until("counted", || node.settled_count() == 3);
}

#[test]
fn an_opening_is_good_for_one_greeting_and_no_byte_of_it_may_be_another() {
    let (keys, hello) = (
        WorkerKeys::new(CHAIN, NODE, secret(1), &[secret(2).public()]).unwrap(),
        super::super::handshake::Hello {
            chain_id: CHAIN,
            rollup_id: RollupId(22),
            settled: 7,
        },
    );
    let key = NodeKey {
        index: NODE,
        public: secret(1).public(),
        own: secret(2),
    };
    // What a worker says to a greeting with this nonce.
    let nonce = [4; 32];
    let (mut ours, theirs) = pair();
    let until = std::time::Instant::now() + HANDSHAKE_TIME_MAX;
    let opening = std::thread::scope(|scope| {
        let worker = scope.spawn(move || {
            let mut theirs = theirs;
            key.connect(&mut theirs, &hello, until)
                .map(|_| ())
                .unwrap_err()
        });
        let mut greeting = [VERSION; 33];
        greeting[1..].copy_from_slice(&nonce);
        ours.write_all(&greeting).unwrap();
        let mut opening = [0; OPENING_LEN];
        ours.read_exact(&mut opening).unwrap();
        drop(ours);
        worker.join().unwrap();
        opening
    });
    let judge = |opening: &[u8; OPENING_LEN], nonce: [u8; 32]| {
        let (mut ours, mut theirs) = pair();
        theirs.write_all(opening).unwrap();
        let answer = super::super::handshake::Answer::Welcome;
        let accepted = keys.accept(&mut ours, &nonce, until, |hello| {
            assert_eq!(hello.settled, 7);
            (answer, Some(()))
        });
        accepted.map(|_| ()).err()
    };
    assert_eq!(judge(&opening, nonce), None);
    assert_eq!(judge(&opening, [5; 32]), Some(Cause::Gate));
    for at in 0..OPENING_LEN {
        let mut changed = opening;
        changed[at] ^= 1;
        let cause = if at == 0 { Cause::Version } else { Cause::Gate };
        assert_eq!(judge(&changed, nonce), Some(cause), "byte {at}");
    }
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener.accept().unwrap().0, theirs)
}
