//! A settlement worker in its steady state: it copies no payload and allocates nothing, batch after batch.
//!
//! In a binary of its own, because the allocator that counts is the whole program's.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, an unwrap that fails is the finding"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fairlane_engine::batch::{
    BatchEntry, BatchHeader, BatchView, BatchWriter, Outcome, PAYLOAD_SLACK_LEN, archive_len_max,
    order_root, payload_root,
};
use fairlane_engine::types::{BatchSeq, ChainId, Digest, Epoch, RollupId, Sha256Hash};
use fairlane_net::journal::BatchLoader;
use fairlane_net::settle::{
    JournalSink, ServerConfig, SettleConfig, SettleError, SettleServer, Sink, run_with,
};

/// Counts the allocations of each thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // A thread that ends has no counter any more, and is nobody's steady state.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call goes to the system's allocator as it came; counting touches a cell of the thread's own.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

/// Where the rings of this process are mapped.
fn ring_mappings() -> Vec<std::ops::Range<usize>> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let rings = maps
        .lines()
        .filter(|line| line.contains("memfd:fairlane-ring"));
    let ranges = rings.map(|line| {
        let (start, rest) = line.split_once('-').unwrap();
        let end = rest.split(' ').next().unwrap();
        let address = |text| usize::from_str_radix(text, 16).unwrap();
        address(start)..address(end)
    });
    ranges.collect()
}

/// A journal sink that looks at what it is given.
struct Watching {
    sink: JournalSink,
    mappings: Vec<std::ops::Range<usize>>,
    batches: u64,
    payload_bytes: u64,
    outside: u64,
    /// Allocations of the worker's thread when the steady state began, and as of the last sync.
    began: Option<u64>,
    now: u64,
    syncs: u64,
}

impl Sink for Watching {
    fn append(&mut self, batch: &BatchView<'_>) -> Result<(), SettleError> {
        if self.mappings.is_empty() {
            self.mappings = ring_mappings();
        }
        self.batches += 1;
        for entry in batch.entries() {
            let start = entry.payload.as_ptr() as usize;
            let end = start + entry.payload.len();
            let inside = |range: &std::ops::Range<usize>| range.start <= start && end <= range.end;
            self.outside += u64::from(!self.mappings.iter().any(inside));
            self.payload_bytes += entry.payload.len() as u64;
        }
        self.sink.append(batch)
    }

    fn sync(&mut self) -> Result<(), SettleError> {
        self.sink.sync()?;
        self.syncs += 1;
        self.now = allocations();
        if self.batches >= WARM_UP && self.began.is_none() {
            (self.began, self.syncs) = (Some(self.now), 0);
        }
        Ok(())
    }

    fn settled(&self) -> Option<&BatchHeader> {
        self.sink.settled()
    }
}

/// Writes the batch behind `last` into `room`; of 3 entries and 6,000 bytes of payload.
fn write(last: &mut Option<BatchHeader>, room: &mut [u8]) -> usize {
    let seq = last.map_or(0, |last| last.seq.0 + 1);
    room[PAYLOAD_SLACK_LEN..PAYLOAD_SLACK_LEN + PAYLOAD_LEN].fill(seq as u8 | 1);
    let entries: Vec<BatchEntry> = (0..3u32)
        .map(|index| BatchEntry {
            digest: [index as u8; 32],
            rollup_id: ROLLUP.0,
            outcome: Outcome::Open {
                offset: index * 2_000,
                len: 2_000,
            },
        })
        .collect();
    let writer = BatchWriter::new(room, PAYLOAD_LEN).unwrap();
    let header = BatchHeader {
        chain_id: CHAIN,
        seq: BatchSeq(seq),
        previous: last.map_or(Sha256Hash::default(), |last| last.hash()),
        order_root: order_root(entries.iter().map(|entry| Digest(entry.digest))),
        payload_root: payload_root(&entries, writer.payload()).unwrap(),
        entries: 3,
        ..BatchHeader::default()
    };
    *last = Some(header);
    writer.finish(&header, &entries).unwrap()
}

#[test]
fn a_worker_reads_payload_where_the_node_wrote_it_and_allocates_nothing_batch_after_batch() {
    let folder = tempfile::tempdir().unwrap();
    let config = SettleConfig {
        socket: folder.path().join("socket"),
        chain_id: CHAIN,
        rollup_id: ROLLUP,
        sink_folder: folder.path().join("sink"),
        remote: None,
        proofs: fairlane_net::settle::ProofRule::Node,
    };
    let server = ServerConfig {
        socket: config.socket.clone(),
        chain_id: CHAIN,
        rollups: vec![ROLLUP],
        ring_bytes: 1 << 20,
    };
    let empty = folder.path().to_path_buf();
    let make_loader = move || BatchLoader::start(Path::new(&empty), Epoch(0), || ());
    let server = SettleServer::start(server, Box::new(make_loader), || ()).unwrap();

    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    let worker = std::thread::spawn(move || {
        let sink = JournalSink::open(&config.sink_folder, CHAIN, ROLLUP).unwrap();
        let mut sink = Watching {
            sink,
            mappings: Vec::new(),
            batches: 0,
            payload_bytes: 0,
            outside: 0,
            began: None,
            now: 0,
            syncs: 0,
        };
        let report = run_with(&config, &mut sink, &told, || ()).unwrap();
        (sink, report)
    });
    let until = Instant::now() + Duration::from_secs(60);
    let mut attachment = loop {
        assert!(Instant::now() < until, "no worker came");
        if let Some(attachment) = server.try_attached() {
            break attachment;
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    let (mut last, mut node_allocations) = (None, 0);
    for seq in 0..BATCHES {
        assert!(Instant::now() < until, "the worker does not read on");
        let before = allocations();
        while attachment.producer.reserve(ROOM).is_none() {
            std::thread::sleep(Duration::from_micros(100));
        }
        let mut in_ring = allocations() - before;
        // Making a batch up allocates; in a node the engine has it.
        let len = write(&mut last, attachment.producer.reserved_mut().unwrap());
        let before = allocations();
        attachment.producer.commit(seq, len);
        in_ring += allocations() - before;
        node_allocations += in_ring;
        if seq % 50 == 0 {
            // The worker parks now and then, and is woken.
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    while attachment.watch.settled_count() < BATCHES {
        assert!(Instant::now() < until, "the worker does not settle");
        std::thread::sleep(Duration::from_millis(1));
    }
    stop.store(true, Ordering::Release);
    let (sink, report) = worker.join().unwrap();

    assert_eq!((report.batches, sink.batches), (BATCHES, BATCHES));
    assert_eq!(sink.payload_bytes, BATCHES * PAYLOAD_LEN as u64);
    assert!(!sink.mappings.is_empty());
    assert_eq!(
        sink.outside, 0,
        "payloads that the sink saw outside of the shared memory"
    );
    assert!(sink.syncs >= 10, "{} syncs in the steady state", sink.syncs);
    let began = sink.began.expect("a warm-up is shorter than the run");
    assert_eq!(
        sink.now - began,
        0,
        "allocations in {} batches",
        BATCHES - WARM_UP
    );
    assert_eq!(
        node_allocations, 0,
        "allocations of the node's end of the ring"
    );
}

#[test]
fn the_allocator_counts() {
    let before = allocations();
    std::hint::black_box(vec![1u8; 100]);
    assert_eq!(allocations() - before, 1);
}

const CHAIN: ChainId = ChainId(3);
const ROLLUP: RollupId = RollupId(4);
const PAYLOAD_LEN: usize = 6_000;
const ROOM: usize = archive_len_max(3, PAYLOAD_LEN);
const BATCHES: u64 = 3_000;
/// Buffers have grown by then.
const WARM_UP: u64 = 1_000;
