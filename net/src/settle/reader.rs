//! Reading what a journal sink holds: for the sink itself at its start, and for whoever checks the result.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use fairlane_engine::batch::{
    BATCH_ENTRIES_MAX, BATCH_PAYLOAD_MAX, BatchError, BatchHeader, BatchView, EntryView, access,
    archive_len_max, validate,
};
use fairlane_engine::types::{BatchSeq, ChainId, Epoch, RollupId};
use rkyv::util::AlignedVec;

use super::SettleError;
use super::proof::Proof;
use super::sink_format::{
    ALIGN, Content, FILE_HEAD_LEN, FILE_NAME, FileHead, Finality, RECORD_HEAD_LEN, RecordHead,
    SALT_AT, record_len,
};
use crate::journal::JournalError;

/// One settled batch.
#[derive(Debug)]
pub struct SettledBatch {
    header: BatchHeader,
    finality: Finality,
    archive: AlignedVec<16>,
}

impl SettledBatch {
    /// Its header; it follows the header of the batch before.
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// Whose word it was settled on.
    pub const fn finality(&self) -> Finality {
        self.finality
    }

    /// Its archive, as the node wrote it.
    pub fn archive(&self) -> &[u8] {
        &self.archive
    }

    /// The entries, checked against the header again.
    pub fn view(&self) -> Result<BatchView<'_>, SettleError> {
        validate(&self.archive).map_err(|source| SettleError::Batch {
            seq: self.header.seq.0,
            source,
        })
    }

    /// The entries of one rollup, each with its index in the batch. Errors: as [`Self::view`].
    pub fn entries_of(
        &self,
        rollup: RollupId,
    ) -> Result<impl Iterator<Item = (u32, EntryView<'_>)>, SettleError> {
        let entries = (0..).zip(self.view()?.entries());
        Ok(entries.filter(move |(_, entry)| entry.rollup_id == rollup))
    }
}

/// A record of the file.
#[derive(Debug)]
pub(super) enum Stored {
    Batch(SettledBatch),
    Proof(Proof),
}

/// A whole record and the length of its content, nothing at the end of the file, or why there is no whole record.
type Read = Result<Option<(Stored, usize)>, &'static str>;

/// Reads the settled batches of a folder in order: checksums, headers and the hash chain are checked on the way.
///
/// A batch that waits for a proof is not settled: it and what follows are given out once a certificate, or the words of f + 1
/// authorities, stand behind them, or a batch that needs none (the worker was told to wait for less). Signatures are the worker's affair and
/// not checked again. May read while the sink writes: it then ends where the sink's whole records end.
#[derive(Debug)]
pub struct SettleReader {
    file: File,
    path: PathBuf,
    head: Option<FileHead>,
    last: Option<BatchHeader>,
    at: u64,
    torn: bool,
    /// The highest batch that a proof met so far covers.
    covered: Option<(Epoch, BatchSeq)>,
    /// Where a batch begins that needs no proof: all before is final.
    final_before: u64,
}

impl SettleReader {
    /// Opens the sink's file in `folder`. Errors: it is not there, cannot be read, or is no sink's file.
    pub fn open(folder: &Path) -> Result<Self, SettleError> {
        let path = folder.join(FILE_NAME);
        let file = File::open(&path).map_err(JournalError::io("opening", &path))?;
        Self::on_file(file, path)
    }

    pub(super) fn on_file(file: File, path: PathBuf) -> Result<Self, SettleError> {
        let mut reader = Self {
            file,
            path,
            head: None,
            last: None,
            at: 0,
            torn: false,
            covered: None,
            final_before: 0,
        };
        let mut head = [0; FILE_HEAD_LEN];
        let len = reader.read_up_to(&mut head, 0)?;
        if len < FILE_HEAD_LEN {
            reader.torn = len > 0;
            return Ok(reader);
        }
        match FileHead::decode(&head) {
            Ok(head) => reader.head = Some(head),
            Err(source) => {
                return Err(SettleError::Format {
                    path: reader.path,
                    source,
                });
            }
        }
        reader.at = FILE_HEAD_LEN as u64;
        reader.check_salt()?;
        Ok(reader)
    }

    /// The next settled batch; none behind the last, [`is_torn`](Self::is_torn) then tells if bytes follow that are no
    /// whole record. What waits for a proof is met again at the next call.
    ///
    /// Errors: a record is damaged that was synced, or the chain does not hold.
    pub fn try_next(&mut self) -> Result<Option<SettledBatch>, SettleError> {
        let before = (self.at, self.last);
        loop {
            let place = self.at;
            match self.try_next_stored()? {
                None => return Ok(None),
                Some(Stored::Proof(proof)) => self.note(&proof),
                Some(Stored::Batch(batch)) => {
                    if self.is_final(&batch, place) || self.looks_final(&batch, place)? {
                        return Ok(Some(batch));
                    }
                    (self.at, self.last) = before;
                    return Ok(None);
                }
            }
        }
    }

    /// The next proof, whatever batches stand before it; not to be mixed with [`Self::try_next`]. Errors: as there.
    pub(crate) fn try_next_proof(&mut self) -> Result<Option<Proof>, SettleError> {
        while let Some(stored) = self.try_next_stored()? {
            if let Stored::Proof(proof) = stored {
                return Ok(Some(proof));
            }
        }
        Ok(None)
    }

    fn is_final(&self, batch: &SettledBatch, place: u64) -> bool {
        let place_in_chain = (batch.header.epoch, batch.header.seq);
        batch.finality == Finality::Node
            || place < self.final_before
            || self.covered >= Some(place_in_chain)
    }

    fn note(&mut self, proof: &Proof) {
        let header = proof.covers();
        self.covered = self.covered.max(Some((header.epoch, header.seq)));
    }

    /// Reads on to what makes a batch final. Each record is so read twice at most, but for those at the end.
    fn looks_final(&mut self, batch: &SettledBatch, place: u64) -> Result<bool, SettleError> {
        let file = self.file.try_clone();
        let mut ahead = Self {
            file: file.map_err(JournalError::io("reading", &self.path))?,
            path: self.path.clone(),
            ..*self
        };
        while let Some(stored) = ahead.try_next_stored()? {
            match stored {
                Stored::Proof(proof) => self.note(&proof),
                Stored::Batch(later) if later.finality == Finality::Node => {
                    self.final_before = ahead.at;
                }
                Stored::Batch(_) => {}
            }
            if self.is_final(batch, place) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The next record; none behind the last whole one. Errors: as [`Self::try_next`].
    pub(super) fn try_next_stored(&mut self) -> Result<Option<Stored>, SettleError> {
        let Some(FileHead { salt, .. }) = self.head else {
            return Ok(None);
        };
        let mut record = self.read_record(salt)?;
        if let Err(reason) = record
            && self.is_vouched_for(salt)?
        {
            // Beside a sink this place may have been read before it was written, and the record that vouches for it after:
            // what vouches was written later than what it vouches for, so a second reading settles it.
            record = self.read_record(salt)?;
            if record.is_err() {
                return Err(self.corrupt(self.at, reason));
            }
        }
        match record {
            Ok(Some((stored, len))) => {
                if let Stored::Batch(batch) = &stored {
                    self.last = Some(batch.header);
                }
                self.at += record_len(len) as u64;
                Ok(Some(stored))
            }
            Ok(None) => Ok(None),
            Err(_) => {
                self.torn = true;
                Ok(None)
            }
        }
    }

    /// Whether bytes follow the last whole record: a write that a crash cut off.
    pub const fn is_torn(&self) -> bool {
        self.torn
    }

    /// Header of the last batch read.
    pub const fn last(&self) -> Option<&BatchHeader> {
        self.last.as_ref()
    }

    /// Chain and rollup that it is of; none in a file without a head.
    pub fn identity(&self) -> Option<(ChainId, RollupId)> {
        self.head.map(|head| (head.chain_id, head.rollup_id))
    }

    pub(super) const fn head(&self) -> Option<FileHead> {
        self.head
    }

    /// Length of the whole records, the file's head included.
    pub(super) const fn whole_len(&self) -> u64 {
        self.at
    }

    /// The record at the current place and the length of its content; none at the end of the file, a reason when there is no whole record.
    fn read_record(&self, salt: u64) -> Result<Read, SettleError> {
        let mut head = [0; RECORD_HEAD_LEN];
        match self.read_up_to(&mut head, self.at)? {
            0 => return Ok(Ok(None)),
            RECORD_HEAD_LEN => {}
            _ => return Ok(Err("its header is cut off")),
        }
        let Some(head) = RecordHead::decode(&head, salt) else {
            return Ok(Err("its header does not hold"));
        };
        let len = head.len as usize;
        if len > ARCHIVE_LEN_MAX {
            return Ok(Err("its length is above the bound"));
        }
        let mut archive = AlignedVec::<16>::new();
        // The padding too: a record is whole when all its bytes are there.
        archive.resize(record_len(len) - RECORD_HEAD_LEN, 0);
        let start = self.at + RECORD_HEAD_LEN as u64;
        if self.read_up_to(&mut archive, start)? < archive.len() {
            return Ok(Err("it is cut off"));
        }
        archive.resize(len, 0);
        if crc32c::crc32c(&archive) != head.crc {
            return Ok(Err("its checksum does not hold"));
        }
        let stored = match head.content {
            Content::Proof => match Proof::decode(&archive) {
                Ok(proof) => Stored::Proof(proof),
                Err(_) => return Ok(Err("it is neither a certificate nor words of authorities")),
            },
            Content::Batch(finality) => {
                let header = self.header_of(&archive)?;
                check_continues(self.last.as_ref(), &header)?;
                Stored::Batch(SettledBatch {
                    header,
                    finality,
                    archive,
                })
            }
        };
        Ok(Ok(Some((stored, len))))
    }

    fn header_of(&self, archive: &[u8]) -> Result<BatchHeader, SettleError> {
        let seq = self.last.map_or(0, |last| last.seq.0 + 1);
        let header = access(archive).and_then(|batch| Ok(BatchHeader::decode(&batch.header)?));
        header.map_err(|source: BatchError| SettleError::Batch { seq, source })
    }

    /// Whether a later record was written when the current place was synced: else a flaw here is a torn tail.
    fn is_vouched_for(&self, salt: u64) -> Result<bool, SettleError> {
        const STEP: usize = 1 << 20;
        let mut window = vec![0; STEP + RECORD_HEAD_LEN];
        let mut at = self.at + ALIGN as u64;
        loop {
            let len = self.read_up_to(&mut window, at)?;
            let heads = (0..len.min(STEP)).step_by(ALIGN);
            let vouched = heads
                .filter_map(|offset| RecordHead::decode(&window[offset..len], salt))
                .any(|head| head.synced_len > self.at);
            if vouched || len < window.len() {
                return Ok(vouched);
            }
            at += STEP as u64;
        }
    }

    /// Holds the salt of the file's head against the first record's: by the salt all records are known, so with a damaged
    /// one every record would look torn. The head is synced before any record is written.
    fn check_salt(&self) -> Result<(), SettleError> {
        let mut first = [0; RECORD_HEAD_LEN];
        let read = self.read_up_to(&mut first, self.at)?;
        let is_whole = |salt| read == RECORD_HEAD_LEN && RecordHead::decode(&first, salt).is_some();
        let (Some(head), Some(salt)) = (self.head, RecordHead::salt_of(&first)) else {
            return Ok(());
        };
        if salt != head.salt && is_whole(salt) {
            return Err(self.corrupt(SALT_AT, "its salt is not that of its records"));
        }
        Ok(())
    }

    fn corrupt(&self, offset: u64, reason: &'static str) -> SettleError {
        let path = self.path.clone();
        let corrupt = JournalError::Corrupt {
            path,
            offset,
            reason,
        };
        corrupt.into()
    }

    fn read_up_to(&self, into: &mut [u8], at: u64) -> Result<usize, SettleError> {
        let mut len = 0;
        while len < into.len() {
            match self.file.read_at(&mut into[len..], at + len as u64) {
                Ok(0) => break,
                Ok(read) => len += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(JournalError::io("reading", &self.path)(error).into()),
            }
        }
        Ok(len)
    }
}

/// Whether `header` is the one that comes after `settled`, or the chain's first where nothing is. Errors: it is not.
pub fn check_continues(
    settled: Option<&BatchHeader>,
    header: &BatchHeader,
) -> Result<(), SettleError> {
    let reason = match settled {
        None if header.is_first() => return Ok(()),
        None => "it is not the first of the chain",
        Some(last) if header.follows(last) => return Ok(()),
        Some(last) if header.chain_id != last.chain_id => "it is of another chain",
        Some(last) if header.previous == last.hash() => "batches in between are missing",
        Some(last) if header.epoch == last.epoch && header.seq == last.seq.next() => {
            "it names another batch as the one before"
        }
        Some(_) => "batches in between are missing",
    };
    let settled = settled.map(|last| last.seq);
    Err(SettleError::Chain {
        seq: header.seq,
        settled,
        reason,
    })
}

/// Bytes of the longest archive.
pub(super) const ARCHIVE_LEN_MAX: usize = archive_len_max(BATCH_ENTRIES_MAX, BATCH_PAYLOAD_MAX);
