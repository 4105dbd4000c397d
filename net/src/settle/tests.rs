//! Claims about settlement, end to end: producer, ring, socket, worker, sink, reader.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fairlane_engine::batch::{
    BatchEntry, BatchWriter, Outcome, PAYLOAD_SLACK_LEN, archive_len_max, order_root, payload_root,
    validate,
};
use fairlane_engine::certificate::{Certificate, CertifiedHeader};
use fairlane_engine::types::{ChainId, Digest, Epoch, RollupId, Sha256Hash};
use rkyv::util::AlignedVec;

use super::handshake::Hello;
use super::sink_format::{Content, FILE_HEAD_LEN, FILE_NAME, RECORD_HEAD_LEN, RecordHead};
use super::*;
use crate::journal::BatchLoader;
use crate::ring::CAPACITY_DEFAULT;

pub(super) const CHAIN: ChainId = ChainId(11);
pub(super) const ROLLUP: RollupId = RollupId(22);

/// The chain of batches that a correct node would emit: batch `seq` has `seq % 5` entries, every second of our rollup.
#[derive(Default)]
pub(super) struct Chain {
    last: Option<BatchHeader>,
}

impl Chain {
    /// Writes the next batch behind its payload, as the reveal stage does, and gives its length.
    fn write_next(&mut self, room: &mut [u8]) -> usize {
        let seq = self.last.map_or(0, |last| last.seq.0 + 1);
        let payload_of = |index: u64| vec![(seq + index) as u8; 40 + (seq as usize % 7) * 100];
        let mut at = 0;
        let entries: Vec<BatchEntry> = (0..seq % 5)
            .map(|index| {
                let payload = payload_of(index);
                let start = PAYLOAD_SLACK_LEN + at;
                room[start..start + payload.len()].copy_from_slice(&payload);
                let (offset, len) = (at as u32, payload.len() as u32);
                at += payload.len();
                let digest = digest_of(seq, index);
                let rollup_id = ROLLUP.0 + index % 2;
                BatchEntry {
                    digest,
                    rollup_id,
                    outcome: Outcome::Open { offset, len },
                }
            })
            .collect();
        self.seal(room, at, &entries)
    }

    /// Ends the next batch, whose payload is in `room`; gives its length.
    fn seal(&mut self, room: &mut [u8], payload_len: usize, entries: &[BatchEntry]) -> usize {
        let seq = self.last.map_or(0, |last| last.seq.0 + 1);
        let writer = BatchWriter::new(room, payload_len).unwrap();
        let header = BatchHeader {
            chain_id: CHAIN,
            seq: BatchSeq(seq),
            previous: self.last.map_or(Sha256Hash::default(), |last| last.hash()),
            order_root: order_root(entries.iter().map(|entry| Digest(entry.digest))),
            payload_root: payload_root(entries, writer.payload()).unwrap(),
            entries: entries.len() as u32,
            ..BatchHeader::default()
        };
        self.last = Some(header);
        writer.finish(&header, entries).unwrap()
    }

    pub(super) fn next_archive(&mut self) -> AlignedVec<16> {
        let mut archive = AlignedVec::new();
        archive.resize(ROOM, 0);
        let len = self.write_next(&mut archive);
        archive.resize(len, 0);
        archive
    }
}

/// Some digest: which one does not matter here.
fn digest_of(seq: u64, index: u64) -> [u8; 32] {
    let mut digest = [0x5D; 32];
    digest[..8].copy_from_slice(&seq.to_be_bytes());
    digest[8..16].copy_from_slice(&index.to_be_bytes());
    digest
}

/// Room for the largest batch of [`Chain`].
const ROOM: usize = archive_len_max(4, 4 * 640);

/// A node without a committee: it only emits batches, keeps them, and feeds the first worker that comes.
pub(super) struct Node {
    inner: Arc<Mutex<Inner>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

struct Inner {
    chain: Chain,
    /// With the seq that the ring is told.
    archives: Vec<(u64, AlignedVec<16>)>,
    /// Each stands behind so many batches.
    certificates: Vec<(usize, Vec<u8>)>,
    server: SettleServer,
    worker: Option<Fed>,
    settled: u64,
}

struct Fed {
    attachment: Attachment,
    next: usize,
    next_certificate: usize,
}

impl Inner {
    /// Feeds the worker as far as there is room; whether it has all.
    fn pump(&mut self) -> bool {
        if let Some(fed) = &self.worker {
            // Asked first: what it said last counts.
            let is_up = fed.attachment.link.is_up();
            let believed = fed.attachment.watch.settled_count().min(fed.next as u64);
            self.settled = self.settled.max(believed);
            if !is_up {
                self.worker = None;
            }
        }
        if self.worker.is_none() {
            self.worker = self.server.try_attached().map(|mut attachment| {
                let next = self.archives.len().min(attachment.settled as usize);
                attachment.producer.start_at(next as u64);
                // The newest of before, too: what it covers may wait for it still.
                let newer = self
                    .certificates
                    .iter()
                    .position(|(behind, _)| *behind > next);
                let next_certificate = newer.unwrap_or(self.certificates.len()).saturating_sub(1);
                Fed {
                    attachment,
                    next,
                    next_certificate,
                }
            });
        }
        let Some(fed) = &mut self.worker else {
            return false;
        };
        loop {
            let certificate = self.certificates.get(fed.next_certificate);
            let producer = &mut fed.attachment.producer;
            if let Some((behind, bytes)) = certificate
                && *behind <= fed.next
            {
                let Some(room) = producer.reserve(bytes.len()) else {
                    return false;
                };
                room.copy_from_slice(bytes);
                producer.commit_certificate(bytes.len());
                fed.next_certificate += 1;
            } else if let Some((seq, archive)) = self.archives.get(fed.next) {
                let Some(room) = producer.reserve(archive.len()) else {
                    return false;
                };
                room.copy_from_slice(archive);
                producer.commit(*seq, archive.len());
                fed.next += 1;
            } else {
                return true;
            }
        }
    }
}

impl Node {
    pub(super) fn start(folder: &Path, ring_bytes: u64) -> Self {
        Self::serving(folder, ring_bytes, &[ROLLUP])
    }

    pub(super) fn serving(folder: &Path, ring_bytes: u64, rollups: &[RollupId]) -> Self {
        let config = ServerConfig {
            socket: folder.join("socket"),
            chain_id: CHAIN,
            rollups: rollups.to_vec(),
            ring_bytes,
        };
        let server = SettleServer::start(config, no_loader(folder), || ()).unwrap();
        let inner = Arc::new(Mutex::new(Inner {
            chain: Chain::default(),
            archives: Vec::new(),
            certificates: Vec::new(),
            server,
            worker: None,
            settled: 0,
        }));
        let stop = Arc::new(AtomicBool::new(false));
        let (pumped, stopped) = (Arc::clone(&inner), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Acquire) {
                pumped.lock().unwrap().pump();
                std::thread::sleep(Duration::from_micros(100));
            }
        });
        Self {
            inner,
            stop,
            thread: Some(thread),
        }
    }

    /// Takes remote workers in, at a free port.
    pub(super) fn listen(&self, keys: WorkerKeys) -> SocketAddr {
        let server = &mut self.inner.lock().unwrap().server;
        server.listen("127.0.0.1:0".parse().unwrap(), keys).unwrap();
        server.remote_address().unwrap()
    }

    pub(super) fn remote_figures(&self) -> RemoteFigures {
        self.inner.lock().unwrap().server.remote_figures()
    }

    /// Emits batches of one entry with `len` bytes of payload.
    pub(super) fn emit_long(&mut self, batches: u64, len: usize) {
        let mut inner = self.inner.lock().unwrap();
        for _ in 0..batches {
            let mut archive = AlignedVec::new();
            archive.resize(archive_len_max(1, len), 0);
            let seq = inner.archives.len() as u64;
            for (at, byte) in archive[PAYLOAD_SLACK_LEN..][..len].iter_mut().enumerate() {
                *byte = (at as u64 ^ seq) as u8;
            }
            let entries = [BatchEntry {
                digest: digest_of(seq, 0),
                rollup_id: ROLLUP.0,
                outcome: Outcome::Open {
                    offset: 0,
                    len: len as u32,
                },
            }];
            let archive_len = inner.chain.seal(&mut archive, len, &entries);
            archive.resize(archive_len, 0);
            inner.archives.push((seq, archive));
        }
    }

    /// As certificates name a batch of this node's chain.
    pub(super) fn header(&self, seq: u64) -> CertifiedHeader {
        let mut chain = Chain::default();
        for _ in 0..=seq {
            chain.next_archive();
        }
        CertifiedHeader::from(&chain.last.unwrap())
    }

    pub(super) fn certify(&mut self, certificate: &Certificate) {
        self.prove(&Proof::Certificate(*certificate));
    }

    pub(super) fn prove(&mut self, proof: &Proof) {
        let mut inner = self.inner.lock().unwrap();
        let behind = inner.archives.len();
        inner.certificates.push((behind, proof.encode()));
    }

    pub(super) fn emitted(&self) -> u64 {
        self.inner.lock().unwrap().archives.len() as u64
    }

    pub(super) fn emit(&mut self, batches: u64) {
        let mut inner = self.inner.lock().unwrap();
        for _ in 0..batches {
            let archive = inner.chain.next_archive();
            let seq = inner.chain.last.unwrap().seq.0;
            inner.archives.push((seq, archive));
        }
        inner.pump();
    }

    /// Gives the worker these bytes as the next batch.
    fn emit_bytes(&mut self, bytes: &[u8]) {
        let mut archive = AlignedVec::new();
        archive.extend_from_slice(bytes);
        self.inner.lock().unwrap().archives.push((0, archive));
    }

    fn with_chain(&mut self, change: impl FnOnce(&mut Chain)) {
        change(&mut self.inner.lock().unwrap().chain);
    }

    pub(super) fn settled_count(&self) -> u64 {
        self.inner.lock().unwrap().settled
    }

    pub(super) fn wait_attached(&self) {
        wait_until("attached", || self.inner.lock().unwrap().worker.is_some());
    }

    /// Hangs up on the worker that is fed, if one is.
    pub(super) fn cut_worker(&self) {
        let inner = self.inner.lock().unwrap();
        if let Some(fed) = &inner.worker {
            fed.attachment.link.cut();
        }
    }

    pub(super) fn wait_detached(&self) {
        wait_until("detached", || {
            let inner = self.inner.lock().unwrap();
            inner.worker.is_none() && !inner.server.is_attached()
        });
    }

    pub(super) fn wait_settled(&self) {
        let emitted = self.emitted();
        wait_until("settled", || self.settled_count() == emitted);
    }
}

impl Drop for Node {
    /// A worker that is there gets everything before the node is gone.
    fn drop(&mut self) {
        wait_until("fed", || {
            let mut inner = self.inner.lock().unwrap();
            inner.pump() || inner.worker.is_none()
        });
        self.stop.store(true, Ordering::Release);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// What reads no batch: [`Node`] has them all.
pub(super) fn no_loader(folder: &Path) -> MakeLoader {
    let folder = folder.to_path_buf();
    Box::new(move || BatchLoader::start(&folder, Epoch(0), || ()))
}

pub(super) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(30), "never: {what}");
        std::thread::sleep(Duration::from_micros(200));
    }
}

pub(super) fn config(folder: &Path) -> SettleConfig {
    SettleConfig {
        socket: folder.join("socket"),
        chain_id: CHAIN,
        rollup_id: ROLLUP,
        sink_folder: folder.join("sink"),
        remote: None,
        proofs: ProofRule::Node,
    }
}

pub(super) struct WorkerThread {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<SettleReport, SettleError>>,
}

impl WorkerThread {
    pub(super) fn start(folder: &Path) -> Self {
        Self::start_with(config(folder))
    }

    pub(super) fn start_with(config: SettleConfig) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        Self {
            stop,
            thread: std::thread::spawn(move || run(&config, &told)),
        }
    }

    pub(super) fn stop(self) -> SettleReport {
        self.stop.store(true, Ordering::Release);
        self.join().unwrap()
    }

    /// Stops it; whether it met its node or not does not matter.
    pub(super) fn stop_or_fail(self) {
        self.stop.store(true, Ordering::Release);
        let _ = self.join();
    }

    fn join(self) -> Result<SettleReport, SettleError> {
        self.thread.join().unwrap()
    }
}

/// Asserts that the sink holds exactly the first `batches` batches of the chain, byte for byte.
pub(super) fn assert_settled(folder: &Path, batches: u64) {
    assert_settled_by(folder, batches, Finality::Node);
}

pub(super) fn assert_settled_by(folder: &Path, batches: u64, finality: Finality) {
    let mut reader = SettleReader::open(&folder.join("sink")).unwrap();
    let mut chain = Chain::default();
    for seq in 0..batches {
        let batch = reader
            .try_next()
            .unwrap()
            .unwrap_or_else(|| panic!("batch {seq} is missing"));
        assert_eq!(
            batch.archive(),
            chain.next_archive().as_slice(),
            "batch {seq}"
        );
        assert_eq!(batch.finality(), finality);
        assert_eq!(batch.view().unwrap().header(), batch.header());
    }
    assert!(
        reader.try_next().unwrap().is_none(),
        "nothing twice, nothing invented"
    );
    assert!(!reader.is_torn());
}

#[test]
fn every_batch_is_settled_once_in_order_and_the_node_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::start(folder.path(), CAPACITY_DEFAULT);
    node.emit(50);
    let worker = WorkerThread::start(folder.path());
    node.wait_settled();
    node.wait_attached();
    for _ in 0..20 {
        node.emit(1);
        node.wait_settled();
    }
    let report = worker.stop();
    assert_eq!(
        (report.batches, report.skipped, report.ended),
        (70, 0, Ended::Stopped)
    );
    // Of 0, 1, 2, 3, 4 entries in turn, those with an even index are ours: 0 + 1 + 1 + 2 + 2.
    assert_eq!(report.entries, 70 / 5 * 6);
    assert!(
        report.syncs >= 21 && report.syncs < 70,
        "the first 50 share syncs: {report:?}"
    );
    assert_settled(folder.path(), 70);
}

#[test]
fn a_worker_stopped_and_started_again_and_again_settles_exactly_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::start(folder.path(), 1 << 16);
    let mut settled = 0;
    for round in 0..6 {
        let worker = WorkerThread::start(folder.path());
        node.emit(37 + round);
        let report = worker.stop();
        settled += report.batches;
        assert_eq!(report.skipped, 0, "a clean stop gives back what it settled");
        node.wait_detached();
    }
    let worker = WorkerThread::start(folder.path());
    node.wait_settled();
    settled += worker.stop().batches;
    assert_eq!(settled, node.emitted());
    assert_settled(folder.path(), node.emitted());
}

/// A sink that dies right after its sync, before anybody can be told.
struct DiesAfterSync(JournalSink);

impl Sink for DiesAfterSync {
    fn append(&mut self, batch: &BatchView<'_>) -> Result<(), SettleError> {
        self.0.append(batch)
    }

    fn sync(&mut self) -> Result<(), SettleError> {
        self.0.sync()?;
        Err(SettleError::Handshake("killed"))
    }

    fn settled(&self) -> Option<&BatchHeader> {
        self.0.settled()
    }
}

#[test]
fn a_worker_that_dies_between_its_sync_and_the_cursor_repeats_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::start(folder.path(), CAPACITY_DEFAULT);
    node.emit(10);
    let config = config(folder.path());
    let mut sink = DiesAfterSync(JournalSink::open(&config.sink_folder, CHAIN, ROLLUP).unwrap());
    let died = run_with(&config, &mut sink, &AtomicBool::new(false), || ()).unwrap_err();
    assert!(matches!(died, SettleError::Handshake("killed")));
    assert_eq!(node.settled_count(), 0, "the node was not told");
    // Of ten, what the ring held when it looked.
    let had = sink.settled_count();
    assert!(had > 0);
    drop(sink);
    node.emit(5);
    node.wait_detached();
    let worker = WorkerThread::start(folder.path());
    node.wait_settled();
    let report = worker.stop();
    assert_eq!((report.skipped, report.batches), (0, 15 - had));
    assert_settled(folder.path(), 15);
}

#[test]
fn a_ring_far_shorter_than_what_goes_through_it_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::start(folder.path(), 1 << 15);
    node.emit(400);
    let worker = WorkerThread::start(folder.path());
    node.emit(400);
    node.wait_settled();
    worker.stop();
    assert_settled(folder.path(), 800);
}

#[test]
fn a_worker_whose_node_is_gone_drains_the_ring_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::start(folder.path(), CAPACITY_DEFAULT);
    let worker = WorkerThread::start(folder.path());
    node.emit(3);
    node.wait_settled();
    node.emit(500);
    drop(node);
    let report = worker.join().unwrap();
    assert_eq!((report.batches, report.ended), (503, Ended::NodeGone));
    assert_settled(folder.path(), 503);
}

#[test]
fn a_worker_goes_on_with_a_node_that_was_restarted_and_emits_again_from_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::start(folder.path(), CAPACITY_DEFAULT);
    let worker = WorkerThread::start(folder.path());
    node.emit(20);
    node.wait_settled();
    drop(node);
    worker.join().unwrap();
    let mut node = Node::start(folder.path(), CAPACITY_DEFAULT);
    let worker = WorkerThread::start(folder.path());
    node.wait_attached();
    node.emit(30);
    node.wait_settled();
    let report = worker.stop();
    assert_eq!((report.skipped, report.batches), (20, 10));
    assert_settled(folder.path(), 30);
}

#[test]
fn a_node_that_tells_another_story_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::start(folder.path(), CAPACITY_DEFAULT);
    let worker = WorkerThread::start(folder.path());
    node.emit(4);
    node.wait_settled();
    drop(node);
    worker.join().unwrap();

    // Another batch 3 after a restart.
    let mut node = Node::start(folder.path(), CAPACITY_DEFAULT);
    let worker = WorkerThread::start(folder.path());
    node.wait_attached();
    node.emit(3);
    node.with_chain(|chain| chain.last.as_mut().unwrap().cap_fired = 9);
    node.emit(1);
    let refused = worker.join().unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("another batch is settled under its seq"),
        "{refused}"
    );
    drop(node);

    // A gap.
    let mut node = Node::start(folder.path(), CAPACITY_DEFAULT);
    let worker = WorkerThread::start(folder.path());
    node.wait_attached();
    node.emit(4);
    node.with_chain(|chain| drop(chain.next_archive()));
    node.emit(1);
    let refused = worker.join().unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("batches in between are missing"),
        "{refused}"
    );
    drop(node);

    // Bytes that are no batch.
    let mut node = Node::start(folder.path(), CAPACITY_DEFAULT);
    let worker = WorkerThread::start(folder.path());
    node.wait_attached();
    node.emit_bytes(&[0xAA; 64]);
    let refused = worker.join().unwrap_err();
    assert!(
        matches!(refused, SettleError::Batch { seq: 0, .. }),
        "{refused}"
    );
    assert_settled(folder.path(), 4);
}

#[test]
fn strangers_are_refused_and_do_not_disturb_the_worker() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::start(folder.path(), CAPACITY_DEFAULT);
    let connect = |change: fn(&mut SettleConfig)| {
        let mut config = config(folder.path());
        config.sink_folder = folder.path().join("stranger");
        change(&mut config);
        run(&config, &AtomicBool::new(true))
    };
    let refused = connect(|config| config.chain_id = ChainId(12)).unwrap_err();
    assert!(refused.to_string().contains("another chain"), "{refused}");
    std::fs::remove_dir_all(folder.path().join("stranger")).unwrap();
    let refused = connect(|config| config.rollup_id = RollupId(23)).unwrap_err();
    assert!(
        refused.to_string().contains("does not know the rollup"),
        "{refused}"
    );
    std::fs::remove_dir_all(folder.path().join("stranger")).unwrap();

    let mut nonsense = UnixStream::connect(folder.path().join("socket")).unwrap();
    nonsense.write_all(&[0xFF; 25]).unwrap();
    let mut answer = Vec::new();
    let _ = nonsense.read_to_end(&mut answer);
    assert_eq!(answer, handshake::Answer::Malformed.encode());

    let worker = WorkerThread::start(folder.path());
    node.wait_attached();
    // The seats that are left, taken by workers that never read.
    let hello = Hello {
        chain_id: CHAIN,
        rollup_id: ROLLUP,
        settled: 0,
    };
    let others: Vec<UnixStream> = (1..WORKERS_MAX)
        .map(|_| {
            let mut other = UnixStream::connect(folder.path().join("socket")).unwrap();
            other.write_all(&hello.encode()).unwrap();
            let mut answer = [0; 2];
            other.read_exact(&mut answer).unwrap();
            assert_eq!(answer, handshake::Answer::Welcome.encode());
            other
        })
        .collect();
    let refused = connect(|_| ()).unwrap_err();
    assert!(
        refused.to_string().contains("as many workers as it can"),
        "{refused}"
    );
    drop(others);
    let _silent = UnixStream::connect(folder.path().join("socket")).unwrap();
    node.emit(5);
    node.wait_settled();
    worker.stop();
    assert_settled(folder.path(), 5);
}

#[test]
fn a_client_that_says_nothing_does_not_keep_the_worker_out() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::start(folder.path(), CAPACITY_DEFAULT);
    let _silent = UnixStream::connect(folder.path().join("socket")).unwrap();
    let mut half = UnixStream::connect(folder.path().join("socket")).unwrap();
    let hello = Hello {
        settled: 0,
        chain_id: CHAIN,
        rollup_id: ROLLUP,
    }
    .encode();
    half.write_all(&hello[..5]).unwrap();
    let worker = WorkerThread::start(folder.path());
    node.emit(1);
    node.wait_settled();
    worker.stop();
}

#[test]
fn a_stale_socket_is_replaced_a_live_one_and_a_file_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let node = Node::start(folder.path(), CAPACITY_DEFAULT);
    let start = |socket: PathBuf| {
        let config = ServerConfig {
            socket,
            chain_id: CHAIN,
            rollups: vec![],
            ring_bytes: 4096,
        };
        SettleServer::start(config, no_loader(folder.path()), || ())
    };
    assert!(matches!(
        start(socket.clone()),
        Err(SettleError::Socket { .. })
    ));
    drop(node);
    assert!(!socket.exists(), "a server takes its socket with it");
    let file = folder.path().join("precious");
    std::fs::write(&file, "data").unwrap();
    assert!(start(file.clone()).is_err());
    assert_eq!(std::fs::read(&file).unwrap(), b"data");
    let nobody = config(folder.path());
    let error = run(&nobody, &AtomicBool::new(false)).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("connecting to the node's settlement socket"),
        "{error}"
    );
}

/// A sink of `batches` batches, each synced on its own, and its file's bytes.
pub(super) fn sink_of(folder: &Path, batches: u64) -> Vec<u8> {
    let mut chain = Chain::default();
    let mut sink = JournalSink::open(&folder.join("sink"), CHAIN, ROLLUP).unwrap();
    for _ in 0..batches {
        sink.append(&validate(&chain.next_archive()).unwrap())
            .unwrap();
        sink.sync().unwrap();
    }
    assert_eq!(sink.settled_count(), batches);
    std::fs::read(folder.join("sink").join(FILE_NAME)).unwrap()
}

#[test]
fn a_sink_torn_at_any_byte_of_its_last_record_is_cut_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let before = sink_of(folder.path(), 3).len();
    let folder = tempfile::tempdir().unwrap();
    let whole = sink_of(folder.path(), 4);
    let mut chain = Chain::default();
    let last = (0..4).map(|_| chain.next_archive()).last().unwrap();
    let path = folder.path().join("sink").join(FILE_NAME);
    for len in before..whole.len() {
        std::fs::write(&path, &whole[..len]).unwrap();
        let mut reader = SettleReader::open(&folder.path().join("sink")).unwrap();
        while reader.try_next().unwrap().is_some() {}
        assert_eq!(reader.is_torn(), len > before, "cut to {len} bytes");
        let mut sink = JournalSink::open(&folder.path().join("sink"), CHAIN, ROLLUP).unwrap();
        assert_eq!(sink.settled_count(), 3, "cut to {len} bytes");
        if len % 64 == 0 {
            sink.append(&validate(&last).unwrap()).unwrap();
            sink.sync().unwrap();
            drop(sink);
            assert_settled(folder.path(), 4);
        }
    }
    for len in 0..=FILE_HEAD_LEN {
        std::fs::write(&path, &whole[..len]).unwrap();
        let sink = JournalSink::open(&folder.path().join("sink"), CHAIN, ROLLUP).unwrap();
        assert_eq!(sink.settled_count(), 0, "cut to {len} bytes");
    }
}

#[test]
fn a_flaw_in_any_byte_of_a_synced_record_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let whole = sink_of(folder.path(), 3);
    let path = folder.path().join("sink").join(FILE_NAME);
    // The third record says that the second was synced; the second ends where the third begins.
    let salt = u64::from_be_bytes(whole[32..40].try_into().unwrap());
    let heads: Vec<usize> = (FILE_HEAD_LEN..whole.len())
        .step_by(16)
        .filter(|at| RecordHead::decode(&whole[*at..], salt).is_some())
        .collect();
    assert_eq!(heads.len(), 3);
    let archive_len = RecordHead::decode(&whole[heads[1]..], salt).unwrap().len as usize;
    let second = heads[1]..heads[1] + RECORD_HEAD_LEN + archive_len;
    for at in (FILE_HEAD_LEN..heads[0] + RECORD_HEAD_LEN).chain(second) {
        let mut flawed = whole.clone();
        flawed[at] ^= 1;
        std::fs::write(&path, &flawed).unwrap();
        let error = JournalSink::open(&folder.path().join("sink"), CHAIN, ROLLUP).unwrap_err();
        assert!(
            error.to_string().contains("is corrupt at byte"),
            "byte {at}: {error}"
        );
    }
}

#[test]
fn a_record_head_forged_inside_a_payload_does_not_make_a_torn_tail_corrupt() {
    let folder = tempfile::tempdir().unwrap();
    let whole = sink_of(folder.path(), 2);
    let path = folder.path().join("sink").join(FILE_NAME);
    let content = Content::Batch(Finality::Node);
    let forged = RecordHead {
        salt: 0,
        len: 64,
        crc: 0,
        content,
        synced_len: u64::MAX,
    }
    .encode();
    let mut torn = whole.clone();
    torn.extend_from_slice(&[0xEE; 64]);
    torn.extend_from_slice(&forged);
    std::fs::write(&path, &torn).unwrap();
    let sink = JournalSink::open(&folder.path().join("sink"), CHAIN, ROLLUP).unwrap();
    assert_eq!(sink.settled_count(), 2);
    assert_eq!(std::fs::read(&path).unwrap(), whole, "the tail is cut");
}

#[test]
fn a_sink_of_another_chain_or_in_use_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let sink = folder.path().join("sink");
    sink_of(folder.path(), 1);
    let other = JournalSink::open(&sink, ChainId(12), ROLLUP).unwrap_err();
    assert!(matches!(other, SettleError::Foreign { .. }));
    let other = JournalSink::open(&sink, CHAIN, RollupId(23)).unwrap_err();
    assert!(matches!(other, SettleError::Foreign { .. }));
    let _held = JournalSink::open(&sink, CHAIN, ROLLUP).unwrap();
    let other = JournalSink::open(&sink, CHAIN, ROLLUP).unwrap_err();
    assert!(matches!(
        other,
        SettleError::File(JournalError::Locked { .. })
    ));
}

#[test]
fn what_was_appended_and_not_synced_is_not_settled() {
    let folder = tempfile::tempdir().unwrap();
    let mut chain = Chain::default();
    let mut sink = JournalSink::open(&folder.path().join("sink"), CHAIN, ROLLUP).unwrap();
    let first = chain.next_archive();
    sink.append(&validate(&first).unwrap()).unwrap();
    assert_eq!((sink.settled_count(), sink.settled()), (0, None));
    let again = sink.append(&validate(&first).unwrap()).unwrap_err();
    assert!(
        matches!(again, SettleError::Chain { .. }),
        "the same batch twice is refused"
    );
    sink.sync().unwrap();
    assert_eq!(sink.settled_count(), 1);
}

/// The process that `a_worker_killed_at_any_instant..` kills; does nothing when run for itself.
#[test]
#[ignore = "it is the worker process of another test"]
fn worker_process() {
    if let Some(folder) = std::env::var_os(WORKER_FOLDER) {
        run(&config(Path::new(&folder)), &AtomicBool::new(false)).unwrap();
    }
}

#[test]
fn a_worker_killed_at_any_instant_leaves_each_batch_settled_exactly_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::start(folder.path(), 1 << 16);
    for round in 0..8u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "settle::tests::worker_process", "--ignored"])
            .env(WORKER_FOLDER, folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let before = node.settled_count();
        wait_until("the process settles", || {
            node.emit(1);
            node.settled_count() > before
        });
        let until = Instant::now() + Duration::from_micros(300 * round);
        while Instant::now() < until {
            node.emit(1);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        node.wait_detached();
        node.emit(1);
    }
    let worker = WorkerThread::start(folder.path());
    node.wait_settled();
    worker.stop();
    assert!(node.emitted() > 8);
    assert_settled(folder.path(), node.emitted());
}

const WORKER_FOLDER: &str = "FAIRLANE_TEST_WORKER_FOLDER";
