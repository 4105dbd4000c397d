//! What the journal costs over both paths, beside a bare loop of sequential writes and syncs of the same sizes: figures, no
//! verdicts.
//!
//! Each turn runs the bare loop and both paths one after the other, and a ratio is of one turn: the machine's speed drifts.
//! The bare loop writes to a file that is reserved, and zeroed at its beginning, as a segment is. The journal's thread and
//! the bare loop have one core, who pushes has another, as in a node.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use core_affinity::CoreId;
use fairlane_engine::types::{AuthorityIndex, ChainId, Epoch};
use rustix::time::{ClockId, clock_gettime};

use super::device::{Device, Files};
use super::*;

const IDENTITY: JournalIdentity = JournalIdentity {
    chain_id: ChainId(77),
    authority: AuthorityIndex(3),
};

/// Groups of records of one size, and how many of them may be on their way at a time.
#[derive(Clone, Copy)]
struct Load {
    groups: u64,
    records: u64,
    len: usize,
    /// 1: each group is waited for. 2: the next one is handed over meanwhile. More: the journal makes its own groups of what
    /// has come while it wrote, and the bare loop writes as many of these sizes.
    ahead: u64,
}

/// What one run took.
struct Cost {
    seconds: f64,
    cpu_us: f64,
    stats: JournalStats,
    /// Pages that were made dirty: what `/proc/self/io` calls written. It counts a whole run of pages for a byte in it.
    dirtied_bytes: u64,
    /// What the device was given to write meanwhile, by this process or another.
    device_bytes: u64,
}

impl Load {
    fn payload(self) -> u64 {
        self.groups * self.records * self.len as u64
    }

    fn through_the_journal(self, append: AppendChoice) -> (Cost, tempfile::TempDir) {
        let folder = tempfile::tempdir_in(".").unwrap();
        let mut config = JournalConfig::new(folder.path(), IDENTITY);
        config.append = append;
        let before = (write_bytes(), device_bytes(folder.path()));
        let pusher = std::thread::current();
        // The journal's thread takes over the core of the one that starts it.
        pin(1);
        let mut journal = Journal::start(&config, move || pusher.unpark()).unwrap();
        pin(0);
        // Made before: making them is no part of the journal's work.
        let body = |_| Arc::<[u8]>::from(vec![0x5a; self.len]);
        let bodies: Vec<Arc<[u8]>> = (0..self.records).map(body).collect();
        let (start, cpu) = (Instant::now(), cpu_us());
        for group in 1..=self.groups {
            for body in &bodies {
                let mut record = envelope(body.clone());
                while let Err(Refused::Full(again)) = journal.try_push(record) {
                    record = again;
                    std::thread::park_timeout(Duration::from_millis(10));
                }
            }
            let least = (group + 1).saturating_sub(self.ahead) * self.records;
            while journal.durable() < least {
                std::thread::park_timeout(Duration::from_millis(10));
            }
        }
        while journal.durable() < self.groups * self.records {
            std::thread::park_timeout(Duration::from_millis(10));
        }
        let (seconds, cpu_us) = (start.elapsed().as_secs_f64(), cpu_us() - cpu);
        let stats = journal.stop().unwrap();
        let cost = Cost {
            seconds,
            cpu_us,
            stats,
            dirtied_bytes: write_bytes() - before.0,
            device_bytes: device_bytes(folder.path()) - before.1,
        };
        (cost, folder)
    }
}

fn envelope<B>(body: B) -> Record<B> {
    Record {
        kind: Kind::Envelope,
        epoch: Epoch(0),
        body,
    }
}

/// As many bytes in as many writes, each synced, into one file that has their place. Seconds.
fn bare(writes: u64, bytes: u64) -> f64 {
    let folder = tempfile::tempdir_in(".").unwrap();
    let mut files = Files::new(None);
    let path = folder.path().join("bare");
    let reserved = bytes.next_multiple_of(SEGMENT_LEN_DEFAULT);
    let file = files.make(&path, reserved).unwrap();
    let zeroed = vec![0; 8 << 20];
    files.write(&file, &zeroed, 0).unwrap();
    files.sync(&file).unwrap();
    let group = vec![0x5a; (bytes / writes) as usize];
    pin(1);
    let start = Instant::now();
    for at in 0..writes {
        files.write(&file, &group, at * group.len() as u64).unwrap();
        files.sync(&file).unwrap();
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

/// Bytes that were written to the device which holds `path`, by anybody.
fn device_bytes(path: &Path) -> u64 {
    let device = std::fs::metadata(path).map_or(0, |folder| folder.dev());
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let stat = std::fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat"));
    let sectors = stat
        .ok()
        .and_then(|stat| stat.split_whitespace().nth(6)?.parse::<u64>().ok());
    512 * sectors.unwrap_or(0)
}

/// To the core at this place among those that may be used.
fn pin(place: usize) {
    // Asked before anything is pinned: then it is one core only.
    static CORES: OnceLock<Vec<CoreId>> = OnceLock::new();
    let cores = CORES.get_or_init(|| core_affinity::get_core_ids().unwrap_or_default());
    if let Some(core) = cores.get(place % cores.len().max(1)) {
        core_affinity::set_for_current(*core);
    }
}

fn cpu_us() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

fn median(mut figures: Vec<f64>) -> (f64, f64, f64) {
    figures.sort_by(f64::total_cmp);
    (
        figures[figures.len() / 2],
        figures[0],
        figures[figures.len() - 1],
    )
}

const TURNS: usize = 7;
const AHEAD: [(u64, &str); 3] = [
    (1, "each waited for"),
    (2, "two on their way"),
    (16, "up to sixteen on their way"),
];

#[test]
#[ignore = "prints figures: cargo test --release -p fairlane-net --lib journal::cost_tests::figures -- --ignored --nocapture"]
fn figures() {
    let sizes = [(400, 8, 500), (400, 64, 500), (100, 512, 2_000)];
    for (size, ahead, how) in sizes
        .into_iter()
        .flat_map(|size| AHEAD.map(|(ahead, how)| (size, ahead, how)))
    {
        let (groups, records, len) = size;
        let load = Load {
            groups,
            records,
            len,
            ahead,
        };
        println!("{groups} groups of {records} x {len} bytes, {how}:");
        let paths = [AppendChoice::Plain, AppendChoice::Uring];
        let mut ratios = [Vec::new(), Vec::new()];
        let mut shown = [Vec::new(), Vec::new()];
        for _ in 0..TURNS {
            for (place, path) in paths.into_iter().enumerate() {
                let (cost, _folder) = load.through_the_journal(path);
                let bare_s = bare(cost.stats.groups, cost.stats.bytes);
                ratios[place].push(bare_s / cost.seconds);
                shown[place].push(cost);
            }
        }
        for place in 0..paths.len() {
            let of = |figure: fn(&Cost) -> f64| median(shown[place].iter().map(figure).collect()).0;
            let (ratio, least, most) = median(ratios[place].clone());
            let cost = &shown[place][0];
            println!(
                "    {:5}: {:.1} MB/s, ratio to bare {ratio:.2} ({least:.2} to {most:.2}); {:.0} us and {:.0} us of processor a write of {:.0} bytes; {:.3} bytes written a byte of payload, {:.2} to the device ({:.2} dirtied)",
                ["plain", "uring"][place],
                of(|cost| cost.stats.bytes as f64 / 1e6 / cost.seconds),
                of(|cost| cost.seconds * 1e6 / cost.stats.groups as f64),
                of(|cost| cost.cpu_us / cost.stats.groups as f64),
                of(|cost| cost.stats.bytes as f64 / cost.stats.groups as f64),
                cost.stats.bytes as f64 / load.payload() as f64,
                of(|cost| cost.device_bytes as f64) / load.payload() as f64,
                of(|cost| cost.dirtied_bytes as f64) / load.payload() as f64,
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
        let mut record = envelope(body);
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
