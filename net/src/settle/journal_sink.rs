//! The default sink: an append-only file, one `fdatasync` for all batches that were available.
//!
//! A write that finds the disk full may be repeated; a failed `fdatasync` may not, whatever its reason: the system may have
//! dropped what it could not write, and call the next one a success.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use fairlane_engine::batch::{BatchHeader, BatchView};
use fairlane_engine::certificate::CertifiedHeader;
use fairlane_engine::types::{BatchSeq, ChainId, RollupId};
use rustix::fs::fdatasync;

use super::fault;
use super::proof::Proof;
use super::reader::{ARCHIVE_LEN_MAX, SettleReader, Stored, check_continues};
use super::sink_format::{
    Content, FILE_NAME, FileHead, Finality, RECORD_HEAD_LEN, RecordHead, record_len,
};
use super::{SettleError, Sink};
use crate::journal::{FolderLock, JournalError, draw_salt, sync_folder};

/// Appends batches to `settled.log` in its folder. Knows what it holds by reading the file when it is opened.
#[derive(Debug)]
pub struct JournalSink {
    file: File,
    path: PathBuf,
    _lock: FolderLock,
    salt: u64,
    /// Bytes written, and bytes synced; `synced_len <= written_len`.
    written_len: u64,
    synced_len: u64,
    appended: Option<BatchHeader>,
    settled: Option<BatchHeader>,
    /// Records that are not written to the file yet.
    buffer: Vec<u8>,
    /// What makes batches final that are appended from now on.
    finality: Finality,
    /// Batches that are appended and wait for a proof, the newest [`UNCOVERED_MAX`].
    uncovered: VecDeque<CertifiedHeader>,
    /// One above the highest batch that is final, and that will be with the next sync.
    final_count: u64,
    final_when_synced: u64,
}

impl JournalSink {
    /// Opens or makes the sink in `folder`, reads it through, and cuts a tail that a crash tore.
    ///
    /// Errors: the folder is in use, belongs to another chain or rollup, is corrupt, or the system refuses.
    pub fn open(
        folder: &Path,
        chain_id: ChainId,
        rollup_id: RollupId,
    ) -> Result<Self, SettleError> {
        let lock = FolderLock::take(folder)?;
        let path = folder.join(FILE_NAME);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(JournalError::io("opening", &path))?;
        fault::point()?;
        sync_folder(folder)?;
        fault::point()?;
        let mut reader = SettleReader::on_file(
            file.try_clone()
                .map_err(JournalError::io("opening", &path))?,
            path.clone(),
        )?;
        let salt = draw_salt(&path)?;
        let head = reader.head().unwrap_or(FileHead {
            chain_id,
            rollup_id,
            salt,
        });
        let (found, expected) = ((head.chain_id, head.rollup_id), (chain_id, rollup_id));
        if found != expected {
            return Err(SettleError::Foreign {
                path,
                found,
                expected,
            });
        }
        let mut ends = Ends::default();
        while let Some(stored) = reader.try_next_stored()? {
            ends.take(&stored);
        }
        file.set_len(reader.whole_len())
            .map_err(JournalError::io("cutting", &path))?;
        fault::point()?;
        let settled = reader.last().copied();
        let mut sink = Self {
            file,
            path,
            _lock: lock,
            salt: head.salt,
            written_len: reader.whole_len(),
            synced_len: 0,
            appended: settled,
            settled,
            // What is collected at most: it never grows while batches come.
            buffer: Vec::with_capacity(BUFFER_LEN_MAX + record_len(ARCHIVE_LEN_MAX)),
            finality: Finality::Node,
            uncovered: ends.uncovered,
            final_count: ends.final_count,
            final_when_synced: ends.final_count,
        };
        if reader.head().is_none() {
            sink.buffer.extend_from_slice(&head.encode());
        }
        sink.flush()?;
        sink.sync_file()?;
        Ok(sink)
    }

    /// The same, whose batches are final by `finality` from now on.
    #[must_use]
    pub const fn with_finality(mut self, finality: Finality) -> Self {
        self.finality = finality;
        self
    }

    fn push_record(&mut self, content: Content, bytes: &[u8]) {
        let head = RecordHead {
            salt: self.salt,
            len: u32::try_from(bytes.len()).expect("a batch is far below 4 GiB"),
            crc: crc32c::crc32c(bytes),
            content,
            synced_len: self.synced_len,
        };
        let end = self.buffer.len() + record_len(bytes.len());
        self.buffer.extend_from_slice(&head.encode());
        self.buffer.extend_from_slice(bytes);
        self.buffer.resize(end, 0);
    }

    /// Writes the buffered records. After [`JournalError::Full`] they are all still there, and what of them was written is
    /// written over.
    fn flush(&mut self) -> Result<(), SettleError> {
        fault::point()?;
        let part = fault::part_of(self.buffer.len());
        self.file
            .write_all_at(
                &self.buffer[..part.unwrap_or(self.buffer.len())],
                self.written_len,
            )
            .map_err(JournalError::io("writing", &self.path))?;
        fault::point()?;
        self.written_len += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn sync_file(&mut self) -> Result<(), SettleError> {
        fdatasync(&self.file).map_err(JournalError::sync(&self.path))?;
        fault::point()?;
        self.synced_len = self.written_len;
        Ok(())
    }
}

impl Sink for JournalSink {
    fn append(&mut self, batch: &BatchView<'_>) -> Result<(), SettleError> {
        check_continues(self.appended.as_ref(), batch.header())?;
        self.push_record(Content::Batch(self.finality), batch.bytes());
        let header = batch.header();
        self.appended = Some(*header);
        if self.finality != Finality::Node {
            push_uncovered(&mut self.uncovered, CertifiedHeader::from(header));
        } else {
            self.uncovered.clear();
            self.final_when_synced = header.seq.0 + 1;
        }
        if self.buffer.len() >= BUFFER_LEN_MAX {
            match self.flush() {
                // Met again, and waited for, when it is synced.
                Err(error) if error.is_disk_full() => {}
                outcome => outcome?,
            }
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), SettleError> {
        self.flush()?;
        self.sync_file()?;
        self.settled = self.appended;
        self.final_count = self.final_when_synced;
        Ok(())
    }

    fn certify(&mut self, proof: &Proof) -> Result<bool, SettleError> {
        for named in proof.named() {
            let mut uncovered = self.uncovered.iter();
            let Some(appended) = uncovered.find(|header| header.seq == named.seq) else {
                // Covered already, or so long ago that a later one will do.
                return Ok(false);
            };
            if *appended != named {
                return Err(SettleError::Chain {
                    seq: named.seq,
                    settled: self.settled.map(|last| last.seq),
                    reason: "a proof names another batch than the node gave: the node is wrong",
                });
            }
        }
        let seq = proof.covers().seq;
        self.push_record(Content::Proof, &proof.encode());
        drain_up_to(&mut self.uncovered, seq);
        self.final_when_synced = seq.0 + 1;
        Ok(true)
    }

    fn final_count(&self) -> u64 {
        self.final_count
    }

    fn settled(&self) -> Option<&BatchHeader> {
        self.settled.as_ref()
    }
}

/// What a file leaves a sink that goes on with it.
#[derive(Default)]
struct Ends {
    uncovered: VecDeque<CertifiedHeader>,
    final_count: u64,
}

impl Ends {
    fn take(&mut self, stored: &Stored) {
        match stored {
            Stored::Batch(batch) if batch.finality() != Finality::Node => {
                push_uncovered(&mut self.uncovered, CertifiedHeader::from(batch.header()));
            }
            Stored::Batch(batch) => {
                self.uncovered.clear();
                self.final_count = batch.header().seq.0 + 1;
            }
            Stored::Proof(proof) => {
                let seq = proof.covers().seq;
                drain_up_to(&mut self.uncovered, seq);
                self.final_count = self.final_count.max(seq.0 + 1);
            }
        }
    }
}

fn push_uncovered(uncovered: &mut VecDeque<CertifiedHeader>, header: CertifiedHeader) {
    if uncovered.len() == UNCOVERED_MAX {
        uncovered.pop_front();
    }
    uncovered.push_back(header);
}

fn drain_up_to(uncovered: &mut VecDeque<CertifiedHeader>, seq: BatchSeq) {
    let covered = uncovered.iter().take_while(|header| header.seq <= seq);
    let covered = covered.count();
    uncovered.drain(..covered);
}

/// Batches that wait for a proof and are remembered by their hash. A proof of an older one is passed over: a later one
/// covers it.
pub const UNCOVERED_MAX: usize = 1 << 16;
/// Bytes that are collected before they are written.
const BUFFER_LEN_MAX: usize = 4 << 20;
const _: () = assert!(RECORD_HEAD_LEN.is_multiple_of(super::sink_format::ALIGN));
