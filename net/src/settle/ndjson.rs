//! A sink that writes a line of JSON for each final batch, to a file or to standard output, beside the worker's journal.
//!
//! ```text
//! {"chain_id":1,"epoch":0,"seq":7,"time_us":1754000000000000,"hash":"..","header":"..","finality":"node","entries":[
//!  {"digest":"..","rollup_id":1,"r":"..","payload":".."},{"digest":"..","rollup_id":2,"void":true}]}      (one line)
//! ```
//!
//! All bytes are lower-case hexadecimal. `hash` is SHA-256 of `header`; entries of every rollup are there, in order, so that
//! who reads a line can compute both roots in its header. `r` is missing for open envelopes.
//!
//! The journal is written and synced first and says what is settled; lines follow it, and a batch that waits for more than
//! the node's word has no line until it is final. So the sink is a projection of the journal:
//!
//! I1 a file holds the line of every final batch exactly once, from the chain's first on: its cursor is the file itself. At
//!    the start each line is held against the journal's batch; what a crash or a loss of power tore at the end is cut;
//!    anything else that is not what the journal gives is an error, and nothing is written.
//! I2 a batch counts as settled when its line is synced.
//! I3 standard output cannot be read back. How far it got is noted in the worker's folder after each flush, so after a
//!    crash the lines of at most one group are written once more: at least once, never less. Readers tell by `seq`.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read as _, Write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use fairlane_engine::batch::{BatchHeader, BatchView, Outcome};
use rustix::fs::{FlockOperation, fdatasync, flock};

use super::fault;
use super::{Finality, JournalSink, Proof, SettleError, SettleReader, Sink};
use crate::journal::{JournalError, sync_folder};

/// Writes lines behind a [`JournalSink`].
#[derive(Debug)]
pub struct NdjsonSink {
    journal: JournalSink,
    reader: SettleReader,
    output: Output,
    /// Lines that are not written yet.
    buffer: Vec<u8>,
    /// One above the seq of the last batch whose line is buffered, and whose line is synced.
    buffered_count: u64,
    synced_count: u64,
}

#[derive(Debug)]
enum Output {
    File {
        file: File,
        path: PathBuf,
        written_len: u64,
    },
    Stdout {
        cursor: File,
        path: PathBuf,
    },
}

impl NdjsonSink {
    /// Lines go to the file at `path`, behind those that are there. `folder` is the journal's.
    ///
    /// Errors: the file is in use or holds something else than the lines of this journal, or the system refuses.
    pub fn to_file(
        journal: JournalSink,
        folder: &Path,
        path: impl Into<PathBuf>,
    ) -> Result<Self, SettleError> {
        let path = path.into();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options
            .open(&path)
            .map_err(JournalError::io("opening", &path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(JournalError::Locked { path }.into()),
            Err(errno) => return Err(JournalError::io("locking", &path)(errno).into()),
        }
        fault::point()?;
        if let Some(parent) = path.parent().filter(|parent| *parent != Path::new("")) {
            sync_folder(parent)?;
        }
        let (written_len, count) = match_lines(&file, &path, folder)?;
        let reader = read_up_to(folder, count)?;
        file.set_len(written_len)
            .map_err(JournalError::io("cutting", &path))?;
        fault::point()?;
        fdatasync(&file).map_err(JournalError::sync(&path))?;
        let output = Output::File {
            file,
            path,
            written_len,
        };
        Self::behind(journal, reader, output, count)
    }

    /// Lines go to standard output, from the first on that `folder` does not note as written.
    ///
    /// Errors: the system refuses.
    pub fn to_stdout(journal: JournalSink, folder: &Path) -> Result<Self, SettleError> {
        let path = folder.join(CURSOR_NAME);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let cursor = options
            .open(&path)
            .map_err(JournalError::io("opening", &path))?;
        sync_folder(folder)?;
        let count = read_cursor(&cursor);
        let reader = read_up_to(folder, count)?;
        // A cursor that was damaged, or of another journal, repeats lines and leaves none out.
        let count = count_read(&reader);
        Self::behind(journal, reader, Output::Stdout { cursor, path }, count)
    }

    fn behind(
        journal: JournalSink,
        reader: SettleReader,
        output: Output,
        count: u64,
    ) -> Result<Self, SettleError> {
        let mut sink = Self {
            journal,
            reader,
            output,
            buffer: Vec::new(),
            buffered_count: count,
            synced_count: count,
        };
        // What the journal has and a crash kept from the output.
        sink.write_lines()?;
        Ok(sink)
    }

    /// Writes and syncs the lines of what is final and has none.
    fn write_lines(&mut self) -> Result<(), SettleError> {
        while self.synced_count < self.journal.final_count() {
            while self.buffer.len() < BUFFER_LEN_MAX
                && self.buffered_count < self.journal.final_count()
                && let Some(batch) = self.reader.try_next()?
            {
                push_line(&mut self.buffer, &batch.view()?, batch.finality());
                self.buffered_count = batch.header().seq.0 + 1;
            }
            if self.buffer.is_empty() {
                return Ok(());
            }
            self.flush()?;
        }
        Ok(())
    }

    /// Writes the buffered lines. After [`JournalError::Full`] they are all still there.
    fn flush(&mut self) -> Result<(), SettleError> {
        fault::point()?;
        let part = fault::part_of(self.buffer.len());
        let bytes = &self.buffer[..part.unwrap_or(self.buffer.len())];
        match &mut self.output {
            Output::File {
                file,
                path,
                written_len,
            } => {
                file.write_all_at(bytes, *written_len)
                    .map_err(JournalError::io("writing", path))?;
                fault::point()?;
                fdatasync(&*file).map_err(JournalError::sync(path))?;
                fault::point()?;
                *written_len += self.buffer.len() as u64;
            }
            Output::Stdout { cursor, path } => {
                let mut out = std::io::stdout().lock();
                let said = out.write_all(bytes).and_then(|()| out.flush());
                said.map_err(JournalError::io("writing lines to", Path::new("-")))?;
                fault::point()?;
                cursor
                    .write_all_at(&encode_cursor(self.buffered_count), 0)
                    .map_err(JournalError::io("writing", path))?;
                fdatasync(&*cursor).map_err(JournalError::sync(path))?;
            }
        }
        self.buffer.clear();
        self.synced_count = self.buffered_count;
        Ok(())
    }
}

impl Sink for NdjsonSink {
    fn append(&mut self, batch: &BatchView<'_>) -> Result<(), SettleError> {
        self.journal.append(batch)
    }

    fn sync(&mut self) -> Result<(), SettleError> {
        self.journal.sync()?;
        self.write_lines()
    }

    fn settled(&self) -> Option<&BatchHeader> {
        self.journal.settled()
    }

    fn certify(&mut self, proof: &Proof) -> Result<bool, SettleError> {
        self.journal.certify(proof)
    }

    fn final_count(&self) -> u64 {
        self.synced_count
    }
}

/// Holds the file against what the journal gives: the length of the lines that are right, and how many batches they are.
///
/// What a crash or a loss of power tore ends them: behind it each byte is the one that was written there, or a zero, as a file
/// system leaves where it grew a file and did not write. Errors: the file holds anything else.
fn match_lines(file: &File, path: &Path, folder: &Path) -> Result<(u64, u64), SettleError> {
    let mut reader = SettleReader::open(folder)?;
    let file = file.try_clone();
    let mut lines = BufReader::new(file.map_err(JournalError::io("reading", path))?);
    let (mut len, mut count, mut is_torn) = (0, 0, false);
    let (mut line, mut expected) = (Vec::new(), Vec::new());
    loop {
        let batch = reader.try_next()?;
        expected.clear();
        if let Some(batch) = &batch {
            push_line(&mut expected, &batch.view()?, batch.finality());
        }
        line.clear();
        // At least a byte, which says that something is there.
        let mut part = lines.by_ref().take(expected.len().max(1) as u64);
        let read = part.read_to_end(&mut line);
        read.map_err(JournalError::io("reading", path))?;
        if line.is_empty() {
            return Ok((len, count));
        }
        let corrupt = |reason| {
            let path = path.to_path_buf();
            JournalError::Corrupt {
                path,
                offset: len,
                reason,
            }
        };
        let Some(batch) = batch else {
            let reason = "the worker's journal does not give this line: keep the two together";
            return Err(corrupt(reason).into());
        };
        is_torn |= line != expected;
        if !is_torn {
            len += line.len() as u64;
            count = batch.header().seq.0 + 1;
        } else if !line
            .iter()
            .zip(&expected)
            .all(|(is, was)| is == was || *is == 0)
        {
            return Err(corrupt("the line is not that of the journal's batch").into());
        }
    }
}

/// A reader of the journal in `folder` that has read `count` batches, or all, if there are fewer.
fn read_up_to(folder: &Path, count: u64) -> Result<SettleReader, SettleError> {
    let mut reader = SettleReader::open(folder)?;
    while count_read(&reader) < count && reader.try_next()?.is_some() {}
    Ok(reader)
}

fn count_read(reader: &SettleReader) -> u64 {
    reader.last().map_or(0, |last| last.seq.0 + 1)
}

/// Appends the line of a batch, its end included.
pub(super) fn push_line(out: &mut Vec<u8>, batch: &BatchView<'_>, finality: Finality) {
    let header = batch.header();
    let text = format!(
        "{LINE_START}{},\"epoch\":{},\"seq\":{},\"time_us\":{},\"hash\":\"",
        header.chain_id.0, header.epoch.0, header.seq.0, header.time_us.0
    );
    out.extend_from_slice(text.as_bytes());
    push_hex(out, &header.hash().0);
    out.extend_from_slice(b"\",\"header\":\"");
    push_hex(out, &header.encode());
    out.extend_from_slice(b"\",\"finality\":\"");
    out.extend_from_slice(finality.name().as_bytes());
    out.extend_from_slice(b"\",\"entries\":[");
    for (index, entry) in batch.entries().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        out.extend_from_slice(comma.as_bytes());
        out.extend_from_slice(b"{\"digest\":\"");
        push_hex(out, &entry.digest.0);
        let rollup = format!("\",\"rollup_id\":{}", entry.rollup_id.0);
        out.extend_from_slice(rollup.as_bytes());
        match entry.outcome {
            Outcome::Void => out.extend_from_slice(b",\"void\":true}"),
            Outcome::Open { .. } => push_payload(out, entry.payload),
            Outcome::Revealed { r, .. } => {
                out.extend_from_slice(b",\"r\":\"");
                push_hex(out, &r);
                out.push(b'"');
                push_payload(out, entry.payload);
            }
        }
    }
    out.extend_from_slice(b"]}\n");
}

fn push_payload(out: &mut Vec<u8>, payload: &[u8]) {
    out.extend_from_slice(b",\"payload\":\"");
    push_hex(out, payload);
    out.extend_from_slice(b"\"}");
}

fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + 2 * bytes.len(), 0);
    hex::encode_to_slice(bytes, &mut out[start..]).expect("there are two digits a byte");
}

fn encode_cursor(count: u64) -> [u8; CURSOR_LEN] {
    let mut bytes = [0; CURSOR_LEN];
    bytes[..8].copy_from_slice(&count.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[..8]);
    bytes[8..].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// What the cursor says; 0 when it is not there or was torn: lines are then repeated.
fn read_cursor(cursor: &File) -> u64 {
    let mut bytes = [0; CURSOR_LEN];
    if cursor.read_exact_at(&mut bytes, 0).is_err() {
        return 0;
    }
    let mut count = [0; 8];
    count.copy_from_slice(&bytes[..8]);
    let count = u64::from_be_bytes(count);
    if encode_cursor(count) == bytes {
        count
    } else {
        0
    }
}

/// How every line begins.
const LINE_START: &str = "{\"chain_id\":";
/// Notes in the worker's folder how many batches standard output has.
const CURSOR_NAME: &str = "ndjson-stdout";
const CURSOR_LEN: usize = 12;
/// Bytes of lines that are collected before they are written.
const BUFFER_LEN_MAX: usize = 4 << 20;

#[cfg(test)]
mod tests;
