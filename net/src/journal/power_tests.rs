//! Loss of power under the real writer and reader, seeded: what was written and not synced is dropped, torn or full of holes.
//!
//! The writer runs on a disk that remembers what was written since the last sync, and dies at a drawn operation. Then each
//! file gets what the loss leaves: nothing of what was not synced, a beginning that ends at any byte, or any of its sectors
//! or pages. The reader must find every record that was reported durable, and nothing that was not pushed; the journal goes
//! on behind it, for several lives.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Mutex;

use fairlane_engine::types::{AuthorityIndex, ChainId, Epoch};

use super::super::device::Device;
use super::super::{JournalIdentity, Kind};
use super::*;

const IDENTITY: JournalIdentity = JournalIdentity {
    chain_id: ChainId(7),
    authority: AuthorityIndex(1),
};
const LIVES: u64 = 4;

/// Numbers that follow from a seed.
struct Chance {
    seed: u64,
    drawn: u64,
}

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.drawn += 1;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.seed.to_be_bytes());
        hasher.update(&self.drawn.to_be_bytes());
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        u64::from_be_bytes(bytes) % bound
    }
}

/// What one file holds: its length, what is durable, and what was written since.
#[derive(Default)]
struct Image {
    len: u64,
    durable: Vec<u8>,
    pending: Vec<(u64, Vec<u8>)>,
    /// Its name is durable.
    is_named: bool,
}

/// A disk, and how many operations it has left.
#[derive(Default)]
struct Disk {
    files: BTreeMap<PathBuf, Image>,
    operations_left: u64,
    /// It says that it has synced, and has not.
    is_lying: bool,
}

#[derive(Clone)]
struct PoweredDisk(Arc<Mutex<Disk>>);

impl Disk {
    /// The power goes while the last operation is under way.
    fn step(&mut self) -> io::Result<()> {
        if self.operations_left <= 1 {
            self.operations_left = 0;
            return Err(io::Error::other("the power is gone"));
        }
        self.operations_left -= 1;
        Ok(())
    }
}

impl Device for PoweredDisk {
    type File = PathBuf;

    fn make(&mut self, path: &Path, len: u64) -> Result<PathBuf, JournalError> {
        let mut disk = self.0.lock().unwrap();
        let image = Image {
            len,
            ..Image::default()
        };
        disk.files.insert(path.to_path_buf(), image);
        disk.step().map_err(JournalError::io("making", path))?;
        disk.files.get_mut(path).unwrap().is_named = true;
        Ok(path.to_path_buf())
    }

    fn write(&mut self, file: &PathBuf, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        let image = disk.files.get_mut(file).unwrap();
        image.pending.push((at, bytes.to_vec()));
        disk.step()
    }

    fn sync(&mut self, file: &PathBuf) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        disk.step()?;
        if !disk.is_lying {
            let image = disk.files.get_mut(file).unwrap();
            for (at, bytes) in std::mem::take(&mut image.pending) {
                put(&mut image.durable, at, &bytes);
            }
        }
        Ok(())
    }
}

fn put(file: &mut Vec<u8>, at: u64, bytes: &[u8]) {
    let end = at as usize + bytes.len();
    file.resize(file.len().max(end), 0);
    file[at as usize..end].copy_from_slice(bytes);
}

/// What a loss of power leaves of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    /// Only the process died: everything that was written, whole.
    None,
    All,
    /// All but a beginning, which ends at any byte.
    Tail,
    /// Of each write any of its pieces of so many bytes.
    Pieces(usize),
}

impl Image {
    fn after(mut self, loss: Loss, chance: &mut Chance) -> Option<Vec<u8>> {
        if !self.is_named && loss != Loss::None && chance.below(2) == 0 {
            return None;
        }
        let written: usize = self.pending.iter().map(|(_, bytes)| bytes.len()).sum();
        let mut kept = chance.below(written as u64 + 1) as usize;
        for (at, bytes) in std::mem::take(&mut self.pending) {
            match loss {
                Loss::None => put(&mut self.durable, at, &bytes),
                Loss::All => {}
                Loss::Tail => {
                    let len = bytes.len().min(kept);
                    kept -= len;
                    put(&mut self.durable, at, &bytes[..len]);
                }
                Loss::Pieces(piece) => {
                    let mut from = 0;
                    while from < bytes.len() {
                        // Pieces lie at multiples of their length in the file.
                        let len = piece - (at as usize + from) % piece;
                        let to = bytes.len().min(from + len);
                        if chance.below(2) == 0 {
                            put(&mut self.durable, at + from as u64, &bytes[from..to]);
                        }
                        from = to;
                    }
                }
            }
        }
        // A file without a durable name may have lost its length, too.
        if self.is_named || chance.below(2) == 0 {
            self.durable.resize(self.len as usize, 0);
        }
        Some(self.durable)
    }
}

/// A record that says in which life it was pushed, so that one that is found says whether it belongs there.
fn record(life: u64, number: u64, chance: &mut Chance) -> Record<Vec<u8>> {
    let mut body = vec![life as u8; chance.below(700) as usize];
    body.extend_from_slice(&number.to_be_bytes());
    Record {
        kind: [Kind::Envelope, Kind::OwnVertex, Kind::Vertex][chance.below(3) as usize],
        epoch: Epoch(0),
        body,
    }
}

struct Run {
    folder: tempfile::TempDir,
    chance: Chance,
    durability: Durability,
    segment_len: u64,
    is_lying: bool,
    /// What was pushed and not lost.
    pushed: Vec<Record<Vec<u8>>>,
}

impl Run {
    fn new(seed: u64, is_lying: bool) -> Self {
        let mut chance = Chance { seed, drawn: 0 };
        Self {
            folder: tempfile::tempdir().unwrap(),
            durability: [Durability::Sync, Durability::Async][chance.below(2) as usize],
            segment_len: SEGMENT_LEN_MIN << chance.below(4),
            chance,
            is_lying,
            pushed: Vec::new(),
        }
    }

    /// One life, up to the loss of power, and what is found behind it. Errors: a promise is broken.
    fn live(&mut self, life: u64) -> Result<(), String> {
        let disk = PoweredDisk(Arc::default());
        {
            let mut state = disk.0.lock().unwrap();
            state.operations_left = 1 + self.chance.below(60);
            state.is_lying = self.is_lying;
        }
        let folder = self.folder.path().to_path_buf();
        let mut reader = JournalReader::open_own(&folder, IDENTITY).map_err(said)?;
        while reader.try_next().map_err(said)?.is_some() {}
        let end = reader.into_end().map_err(said)?;
        let (index, records) = cut_torn_tail(&folder, end).map_err(said)?;
        let shared = Arc::new(Shared::default());
        shared.durable.store(records, Ordering::Release);
        let store = Segments::begin(
            disk.clone(),
            &folder,
            IDENTITY,
            self.segment_len,
            index,
            records,
        );
        let mut synced = records;
        if let Ok(store) = store {
            synced = self.write(life, store, records, &shared);
        }
        let written = shared.durable.load(Ordering::Acquire);
        self.lose_power(&disk, written, synced)
    }

    /// Pushes and writes until the power is gone; gives how many records were synced.
    fn write(&mut self, life: u64, store: impl Store, records: u64, shared: &Arc<Shared>) -> u64 {
        let (mut queue, taken) = rtrb::RingBuffer::new(64);
        let mut writer = Writer {
            queue: taken,
            shared: Arc::clone(shared),
            store,
            wake: || {},
            durability: self.durability,
            buffer: Vec::new(),
            written: records,
            synced: records,
            marked: records,
            synced_at: Instant::now(),
            is_idle: true,
            part_len: 64 << self.chance.below(8),
            trimmer: None,
            snapshot: None,
        };
        loop {
            for _ in 0..self.chance.below(6) {
                let record = record(life, self.pushed.len() as u64, &mut self.chance);
                let len = record.body.len() as u64;
                if queue.push(record.clone()).is_ok() {
                    shared.queued_bytes.fetch_add(len, Ordering::AcqRel);
                    self.pushed.push(record);
                }
            }
            let done = match self.chance.below(8) {
                0 => writer.sync(),
                1 => writer.store.prepare().map(|_| ()),
                _ if writer.queue.slots() > 0 => writer.write_group(),
                _ => Ok(()),
            };
            if done.is_err() {
                return writer.synced;
            }
        }
    }

    fn lose_power(&mut self, disk: &PoweredDisk, written: u64, synced: u64) -> Result<(), String> {
        let losses = [
            Loss::None,
            Loss::All,
            Loss::Tail,
            Loss::Pieces(512),
            Loss::Pieces(4096),
        ];
        let loss = losses[self.chance.below(losses.len() as u64) as usize];
        for (path, image) in std::mem::take(&mut disk.0.lock().unwrap().files) {
            if let Some(bytes) = image.after(loss, &mut self.chance) {
                std::fs::write(path, bytes).unwrap();
            }
        }
        let promised = match (self.durability, loss) {
            (Durability::Sync, _) | (_, Loss::None) => written,
            (Durability::Async, _) => synced,
        };
        let found = self.read()?;
        if found < promised {
            return Err(format!(
                "{found} records are left of {promised} that were promised, {loss:?}"
            ));
        }
        self.pushed.truncate(found as usize);
        Ok(())
    }

    /// How many records there are. Errors: the journal is refused, or holds something else than was pushed.
    fn read(&self) -> Result<u64, String> {
        let mut reader = JournalReader::open_own(self.folder.path(), IDENTITY).map_err(said)?;
        let mut found = 0;
        while let Some(read) = reader.try_next().map_err(said)? {
            let pushed = self.pushed.get(found as usize);
            let is_it = pushed
                .is_some_and(|pushed| (pushed.kind, &pushed.body[..]) == (read.kind, read.body));
            if !is_it || read.number != found {
                return Err(format!("record {found} is not what was pushed"));
            }
            found += 1;
        }
        Ok(found)
    }
}

fn said(error: JournalError) -> String {
    error.to_string()
}

fn run(seed: u64, is_lying: bool) -> Result<(), String> {
    let mut run = Run::new(seed, is_lying);
    (0..LIVES).try_for_each(|life| run.live(life))
}

#[test]
fn what_is_durable_survives_every_loss_of_power() {
    for seed in 0..SEEDS {
        run(seed, false).unwrap_or_else(|what| panic!("seed {seed}: {what}"));
    }
}

#[test]
fn a_disk_that_lies_about_its_syncs_is_found_out() {
    let found = (0..50).filter(|seed| run(*seed, true).is_err()).count();
    assert!(found > 10, "{found} of 50 seeds");
}

/// Runs of the law.
const SEEDS: u64 = 1000;
