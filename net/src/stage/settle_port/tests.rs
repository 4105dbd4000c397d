//! Claims about several workers of one node: each gets every batch, and none is harmed by another, whatever that does.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fairlane_engine::types::{ChainId, RollupId};

use super::*;
use crate::node::Node;
use crate::one_node::{OneClient, OneNode};
use crate::ring::receive_fds;
use crate::settle::{SettleConfig, SettleError, SettleReader, SettleReport, run};

const RING_BYTES: u64 = 4 << 20;

/// A node that is running, with two rollups and short rings.
struct Running {
    files: OneNode,
    node: Node,
}

impl Running {
    fn start() -> Self {
        let files = OneNode::of_rollups(&[1, 2]);
        let text = std::fs::read_to_string(&files.config).unwrap();
        let text = text.replace(
            "settle_ring_bytes = 67108864",
            &format!("settle_ring_bytes = {RING_BYTES}"),
        );
        assert!(text.contains(&RING_BYTES.to_string()), "{text}");
        std::fs::write(&files.config, text).unwrap();
        let node = Node::start(&files.config).unwrap();
        Self { files, node }
    }

    fn folder(&self) -> &Path {
        self.files.config.parent().unwrap()
    }

    fn socket(&self) -> PathBuf {
        self.folder().join("node-0.sock")
    }

    fn worker(&self, rollup: u64, name: &str) -> Worker {
        let config = SettleConfig {
            socket: self.socket(),
            chain_id: ChainId(7),
            rollup_id: RollupId(rollup),
            sink_folder: self.folder().join(name),
            remote: None,
            proofs: crate::settle::ProofRule::Node,
        };
        let folder = config.sink_folder.clone();
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || run(&config, &told));
        Worker {
            folder,
            stop,
            thread,
        }
    }

    /// The figures of the workers of a rollup, in the order of their coming.
    fn figures(&self, rollup: u64) -> Vec<WorkerFigures> {
        let workers = self.node.report().workers;
        let of = workers.into_iter().filter(|worker| worker.rollup == rollup);
        of.collect()
    }

    /// How many were opened. A client hears of the last one a moment before the report does.
    fn batches(&self) -> u64 {
        let mut reported = self.node.report().batches;
        loop {
            std::thread::sleep(Duration::from_millis(50));
            let before = std::mem::replace(&mut reported, self.node.report().batches);
            if reported == before {
                return reported;
            }
        }
    }

    /// Waits until a worker of the rollup has settled all that is opened, at least `least` batches.
    fn wait_settled(&self, rollup: u64, least: u64) {
        wait_until("settled", || {
            let of = self.figures(rollup);
            let batches = self.batches();
            batches >= least && of.iter().any(|worker| worker.settled == batches)
        });
    }

    /// Somebody who attaches as a worker of rollup 2 and has the ring in hand.
    fn intruder(&self) -> (UnixStream, [OwnedFd; 3]) {
        let mut socket = UnixStream::connect(self.socket()).unwrap();
        let mut hello = vec![2];
        for word in [7u64, 2, 0] {
            hello.extend(word.to_be_bytes());
        }
        socket.write_all(&hello).unwrap();
        let mut answer = [0; 2];
        let (len, fds) = receive_fds(&socket, &mut answer).unwrap();
        assert_eq!((len, answer), (2, [2, 0]));
        (socket, fds.try_into().unwrap())
    }
}

struct Worker {
    folder: PathBuf,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<SettleReport, SettleError>>,
}

impl Worker {
    /// Stops it; how many batches it had settled in this life, and has in all.
    fn stop(self) -> (u64, u64) {
        self.stop.store(true, Ordering::Release);
        let report = self.thread.join().unwrap().unwrap();
        let mut reader = SettleReader::open(&self.folder).unwrap();
        let mut count = 0;
        // The reader holds each to the one before.
        while let Some(batch) = reader.try_next().unwrap() {
            assert_eq!(batch.header().seq.0, count);
            count += 1;
        }
        assert!(!reader.is_torn());
        (report.batches, count)
    }
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < until, "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn order(client: &mut OneClient, count: usize, payload_len: usize) {
    for index in 0..count {
        let mut payload = vec![7; payload_len];
        payload[..8].copy_from_slice(&(index as u64).to_be_bytes());
        let envelope = client.seal(&payload);
        client.submit(&envelope);
    }
    client.wait_ordered();
}

#[test]
fn workers_of_two_rollups_get_every_batch_and_one_that_is_gone_holds_up_nobody() {
    let running = Running::start();
    let mut client = running.files.client();
    let (first, second) = (running.worker(1, "first"), running.worker(2, "second"));
    let third = running.worker(1, "third");
    order(&mut client, 20, 100);
    for rollup in [1, 2] {
        running.wait_settled(rollup, 1);
    }
    let (_, gone_at) = second.stop();
    wait_until("gone", || !running.figures(2)[0].is_attached);
    order(&mut client, 20, 100);
    running.wait_settled(1, gone_at + 1);
    let batches = running.batches();
    wait_until("both", || {
        let of = running.figures(1);
        of.iter().all(|worker| worker.settled >= batches)
    });
    let away = running.figures(2)[0];
    assert_eq!(away.settled, gone_at);
    assert!(away.lag >= batches - gone_at);

    let second = running.worker(2, "second");
    running.wait_settled(2, batches);
    let back = running.figures(2);
    assert_eq!(back.len(), 1, "it has its slot again");
    assert_eq!((back[0].attachments, back[0].lies), (2, 0));
    let settled = [first, third, second].map(Worker::stop);
    let all = running.batches();
    assert_eq!(settled.map(|(_, count)| count), [all; 3]);
    assert_eq!(settled[2].0, all - gone_at, "nothing twice");
    let report = running.node.stop().unwrap();
    assert_eq!(report.workers.len(), 3);
    assert!(report.workers.iter().all(|worker| worker.lies == 0));
}

#[test]
fn a_worker_that_writes_rubbish_into_its_cursor_harms_nobody() {
    let running = Running::start();
    let mut client = running.files.client();
    let worker = running.worker(1, "honest");
    let (socket, [_data, cursor, _wake]) = running.intruder();
    let cursor = File::from(cursor);
    let stop = Arc::new(AtomicBool::new(false));
    let rubbish = {
        let stop = Arc::clone(&stop);
        let mut socket = socket.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut word = 1u64;
            while !stop.load(Ordering::Acquire) {
                for at in (0..4096).step_by(8) {
                    word = word.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(17);
                    cursor.write_all_at(&word.to_ne_bytes(), at).unwrap();
                }
                // As if it had settled something.
                let _ = socket.write_all(&[1]);
                std::thread::sleep(Duration::from_micros(500));
            }
        })
    };
    order(&mut client, 60, 1_000);
    running.wait_settled(1, 1);
    let batches = running.batches();
    wait_until("noticed", || running.figures(2)[0].lies > 0);
    let liar = running.figures(2)[0];
    assert!(
        liar.settled <= running.batches(),
        "what it was not handed it has not settled"
    );
    order(&mut client, 20, 1_000);
    running.wait_settled(1, batches + 1);
    stop.store(true, Ordering::Release);
    rubbish.join().unwrap();
    drop(socket);
    let all = running.batches();
    assert_eq!(worker.stop(), (all, all));
    running.node.stop().unwrap();
}

#[test]
fn a_worker_that_never_reads_is_turned_over_to_the_journal_and_the_other_goes_on() {
    let running = Running::start();
    let mut client = running.files.client();
    let worker = running.worker(1, "honest");
    let (_socket, _fds) = running.intruder();
    wait_until("live", || running.figures(2).iter().any(|of| of.is_live));
    // A quarter more than its ring holds.
    order(&mut client, 320, 16_000);
    running.wait_settled(1, 1);
    wait_until("turned over", || running.figures(2)[0].fallbacks == 1);
    order(&mut client, 10, 100);
    running.wait_settled(1, 1);
    let silent = running.figures(2)[0];
    assert!(silent.is_attached && !silent.is_live);
    assert_eq!((silent.settled, silent.lag), (0, running.batches()));
    assert!(silent.ring_bytes <= RING_BYTES && silent.ring_bytes > RING_BYTES / 2);
    let honest = running.figures(1)[0];
    assert_eq!((honest.fallbacks, honest.lag), (0, 0));
    let all = running.batches();
    assert_eq!(worker.stop(), (all, all));
    running.node.stop().unwrap();
}
