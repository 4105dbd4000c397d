//! What stands in a settlement worker's journal and whether it is whole, for people: read to its end, never written.
//!
//! Every record's checksum, every batch against its header, and the chain of headers are checked. Works beside a running
//! worker: it then tells how far the records went when it came to their end.

use std::path::Path;

use fairlane_engine::types::RollupId;
use serde::Serialize;

use super::proof::Proof;
use super::reader::{SettleReader, SettledBatch, Stored};
use super::sink_format::{FILE_NAME, FORMAT_VERSION};
use super::{Finality, SettleError};
use crate::journal::{FolderLock, JournalError, Range};

/// What stands in the journal of one worker.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SettleSurvey {
    /// Version of the format.
    pub format: u8,
    /// The chain; none in a file without a head.
    pub chain_id: Option<u64>,
    /// The rollup that the worker settles.
    pub rollup_id: Option<u64>,
    /// Whether a process holds the folder.
    pub is_in_use: bool,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Bytes of it that hold its head and whole records.
    pub record_bytes: u64,
    /// Settled batches.
    pub batches: u64,
    /// Their seqs.
    pub seqs: Option<Range>,
    /// Their epochs.
    pub epochs: Option<Range>,
    /// Entries in them.
    pub entries: u64,
    /// Entries of the worker's own rollup.
    pub own_entries: u64,
    /// Void entries.
    pub void: u64,
    /// Bytes of payload.
    pub payload_bytes: u64,
    /// Batches settled on the word of the worker's own node alone.
    pub on_nodes_word: u64,
    /// Batches that are final, or will be, by the words of f + 1 authorities.
    pub on_words: u64,
    /// Batches that are final, or will be, by a certificate.
    pub on_certificates: u64,
    /// Certificates.
    pub certificates: u64,
    /// Times that the words of f + 1 authorities made batches final.
    pub words: u64,
    /// Those of these batches that no such proof covers yet.
    pub uncovered: u64,
    /// Hash of the last batch's header, in hexadecimal.
    pub last_hash: Option<String>,
    /// Where a tail begins that a crash tore, or that is being written.
    pub torn: Option<String>,
    /// What is wrong; empty in a journal that is whole.
    pub flaws: Vec<String>,
}

impl SettleSurvey {
    /// Whether the folder holds a worker's journal.
    pub fn is_there(folder: &Path) -> bool {
        folder.join(FILE_NAME).is_file()
    }

    /// Reads the journal in `folder`. What is wrong in it is in the result.
    ///
    /// Errors: it cannot be read, is no settlement journal, or a version wrote it that is not known.
    pub fn take(folder: &Path) -> Result<Self, SettleError> {
        let path = folder.join(FILE_NAME);
        let file = std::fs::metadata(&path).map_err(JournalError::io("looking at", &path))?;
        let mut survey = Self {
            format: FORMAT_VERSION,
            is_in_use: FolderLock::is_held(folder),
            file_bytes: file.len(),
            ..Self::default()
        };
        let place = path.display();
        match survey.read(folder) {
            Ok(()) => {}
            Err(error @ (SettleError::Batch { .. } | SettleError::Chain { .. })) => {
                let at = survey.record_bytes;
                survey.flaws.push(format!(
                    "{place} at byte {at}: {error}; restore it from a copy, or settle anew"
                ));
            }
            Err(
                error @ (SettleError::Format { .. } | SettleError::File(JournalError::Io { .. })),
            ) => {
                return Err(error);
            }
            Err(error) => survey.flaws.push(error.to_string()),
        }
        Ok(survey)
    }

    /// Whether nothing is wrong; a torn tail is not: the next start cuts it.
    pub fn is_whole(&self) -> bool {
        self.flaws.is_empty()
    }

    fn read(&mut self, folder: &Path) -> Result<(), SettleError> {
        let mut reader = SettleReader::open(folder)?;
        let rollup = reader.head().map(|head| head.rollup_id);
        if let Some(head) = reader.head() {
            self.chain_id = Some(head.chain_id.0);
            self.rollup_id = Some(head.rollup_id.0);
        }
        self.record_bytes = reader.whole_len();
        while let Some(stored) = reader.try_next_stored()? {
            match stored {
                Stored::Batch(batch) => self.add(&batch, rollup)?,
                Stored::Proof(proof) => {
                    match proof {
                        Proof::Certificate(_) => self.certificates += 1,
                        Proof::Words(_) => self.words += 1,
                    }
                    let last = reader.last().map_or(0, |last| last.seq.0);
                    let behind = last.saturating_sub(proof.covers().seq.0);
                    self.uncovered = self.uncovered.min(behind);
                }
            }
            self.record_bytes = reader.whole_len();
        }
        if reader.is_torn() {
            self.torn = Some(format!(
                "{} at byte {}: no whole record stands there",
                folder.join(FILE_NAME).display(),
                reader.whole_len()
            ));
        }
        Ok(())
    }

    fn add(&mut self, batch: &SettledBatch, rollup: Option<RollupId>) -> Result<(), SettleError> {
        let header = batch.header();
        self.batches += 1;
        Range::widen(&mut self.seqs, header.seq.0);
        Range::widen(&mut self.epochs, u64::from(header.epoch.0));
        self.entries += u64::from(header.entries);
        self.void += u64::from(header.void);
        self.uncovered += 1;
        match batch.finality() {
            Finality::Node => {
                self.on_nodes_word += 1;
                self.uncovered = 0;
            }
            Finality::Validity => self.on_words += 1,
            Finality::Certificate => self.on_certificates += 1,
        }
        self.last_hash = Some(hex::encode(header.hash().0));
        for entry in batch.view()?.entries() {
            self.own_entries += u64::from(rollup == Some(entry.rollup_id));
            self.payload_bytes += entry.payload.len() as u64;
        }
        Ok(())
    }
}
