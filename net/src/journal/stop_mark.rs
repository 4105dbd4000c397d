//! The mark of a clean stop: a small file that says how far the journal went when it was stopped.
//!
//! Of the last group of a journal nothing behind it vouches, and of the last segment's being there neither: after a crash
//! that must be so. After a clean stop everything was synced, so a journal that ends before its mark was damaged.
//!
//! I1: the mark is durable only after everything it vouches for, and gone for good before the journal is changed again.
//! I2: a mark that does not decode, or is somebody else's, vouches for nothing: a journal without one is as after a crash.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use fairlane_engine::types::{AuthorityIndex, ChainId};
use fairlane_engine::wire::{DecodeError, Reader, Writer};

use super::reader::JournalEnd;
use super::segment::{segment_path, sync_folder};
use super::{JournalError, JournalIdentity};

/// Where a journal ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StopMark {
    pub(super) identity: JournalIdentity,
    /// How many records there were.
    pub(super) records: u64,
    /// The last segment, and how many of its bytes were written.
    pub(super) segment: u64,
    pub(super) offset: u64,
}

impl StopMark {
    /// Makes the mark of `folder` durable. Errors: the system refuses; then there is none, or an unfinished one.
    pub(super) fn write(self, folder: &Path) -> Result<(), JournalError> {
        let path = path(folder);
        let mut file = File::create(&path).map_err(JournalError::io("making", &path))?;
        file.write_all(&self.encode())
            .map_err(JournalError::io("writing", &path))?;
        file.sync_all().map_err(JournalError::sync(&path))?;
        sync_folder(folder)
    }

    /// The mark of `folder`, if it has one that is whole. Errors: it cannot be read.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>, JournalError> {
        let path = path(folder);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Self::decode(&bytes).ok()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(JournalError::io("reading", &path)(error)),
        }
    }

    /// Takes the mark of `folder` away for good: the journal is about to be changed.
    pub(super) fn remove(folder: &Path) -> Result<(), JournalError> {
        let path = path(folder);
        match std::fs::remove_file(&path) {
            Ok(()) => sync_folder(folder),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(JournalError::io("removing", &path)(error)),
        }
    }

    /// Holds the end of a journal of `identity` against the mark. Errors: records are gone; where.
    pub(super) fn check(
        &self,
        folder: &Path,
        identity: Option<JournalIdentity>,
        end: &JournalEnd,
    ) -> Result<(), JournalError> {
        let is_foreign = identity.is_some_and(|identity| identity != self.identity);
        if is_foreign || end.records >= self.records {
            return Ok(());
        }
        if let Some(torn) = &end.torn {
            return Err(JournalError::Corrupt {
                path: torn.path.clone(),
                offset: torn.offset,
                reason: torn.reason,
            });
        }
        let offset = match end.last {
            Some((segment, offset)) if segment == self.segment => offset,
            _ => 0,
        };
        Err(JournalError::Corrupt {
            path: segment_path(folder, self.segment),
            offset,
            reason: "records are gone that were there when the journal was stopped",
        })
    }

    fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(MARK_LEN);
        Writer::new(&mut bytes)
            .u8(VERSION)
            .u64(self.identity.chain_id.0)
            .u8(self.identity.authority.0)
            .u64(self.records)
            .u64(self.segment)
            .u64(self.offset);
        let crc = crc32c::crc32c(&bytes);
        Writer::new(&mut bytes).u32(crc);
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        match reader.u8()? {
            VERSION => {}
            version => return Err(DecodeError::Version(version)),
        }
        let identity = JournalIdentity {
            chain_id: ChainId(reader.u64()?),
            authority: AuthorityIndex(reader.u8()?),
        };
        let (records, segment, offset) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let crc = reader.u32()?;
        reader.finish()?;
        if crc32c::crc32c(&bytes[..MARK_LEN - CRC_LEN]) != crc {
            return Err(DecodeError::NotCanonical("the mark's checksum"));
        }
        Ok(Self {
            identity,
            records,
            segment,
            offset,
        })
    }
}

fn path(folder: &Path) -> PathBuf {
    folder.join(NAME)
}

/// The mark's name in the data folder.
pub(super) const NAME: &str = "stopped";
const VERSION: u8 = 1;
const CRC_LEN: usize = 4;
const MARK_LEN: usize = 1 + 8 + 1 + 8 + 8 + 8 + CRC_LEN;
