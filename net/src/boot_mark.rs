//! Whether a journal may have lost its end: a mark in the data folder says that a node with durability async runs, and since
//! which start of the machine.
//!
//! What a process has written survives the process; with durability async it does not survive the machine. So a mark of
//! another start of the machine means: what counted as durable may be gone, and peers must be asked before anything is signed
//! ([`fairlane_engine::engine::Engine::distrust_records`]). A clean stop syncs the journal and takes the mark away.
//!
//! I1: the mark of this start is durable before anything is sent that the disk may lose, and not before the question that an
//! older mark raises is answered.

use std::path::{Path, PathBuf};

use crate::journal::{Durability, JournalError, sync_folder};

/// The mark of one data folder.
#[derive(Debug)]
pub struct BootMark {
    folder: PathBuf,
    durability: Durability,
    /// Names this start of the machine; empty where the system does not tell.
    boot: String,
    is_confirmed: bool,
}

impl BootMark {
    /// For the node of `folder`.
    pub fn new(folder: &Path, durability: Durability) -> Self {
        let boot = std::fs::read_to_string(BOOT_ID).unwrap_or_default();
        Self::of_boot(folder, durability, boot)
    }

    fn of_boot(folder: &Path, durability: Durability, boot: String) -> Self {
        Self {
            folder: folder.to_path_buf(),
            durability,
            boot,
            is_confirmed: false,
        }
    }

    /// Whether the journal may lack records that had counted as durable. Errors: the mark cannot be read.
    pub fn is_doubtful(&self) -> Result<bool, JournalError> {
        let path = self.folder.join(NAME);
        match std::fs::read_to_string(&path) {
            Ok(mark) => Ok(self.boot.is_empty() || mark != self.boot),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(JournalError::io("reading", &path)(error)),
        }
    }

    /// Nothing is in doubt (any more): marks this start, or takes the mark away where everything is synced. Once.
    ///
    /// Errors: the folder cannot be written.
    pub fn confirm(&mut self) -> Result<(), JournalError> {
        if std::mem::replace(&mut self.is_confirmed, true) {
            return Ok(());
        }
        match self.durability {
            Durability::Sync => self.remove(),
            Durability::Async => self.write(),
        }
    }

    /// The journal is synced to its end and ends. Errors: the folder cannot be written.
    pub fn clear(&self) -> Result<(), JournalError> {
        match self.is_confirmed {
            true => self.remove(),
            // What was in doubt still is.
            false => Ok(()),
        }
    }

    fn write(&self) -> Result<(), JournalError> {
        let (path, made) = (self.folder.join(NAME), self.folder.join(MADE_NAME));
        std::fs::write(&made, &self.boot).map_err(JournalError::io("writing", &made))?;
        let file = std::fs::File::open(&made).map_err(JournalError::io("opening", &made))?;
        file.sync_all()
            .map_err(JournalError::io("syncing", &made))?;
        std::fs::rename(&made, &path).map_err(JournalError::io("renaming", &made))?;
        sync_folder(&self.folder)
    }

    fn remove(&self) -> Result<(), JournalError> {
        let path = self.folder.join(NAME);
        match std::fs::remove_file(&path) {
            Ok(()) => sync_folder(&self.folder),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(JournalError::io("removing", &path)(error)),
        }
    }
}

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const NAME: &str = "async-since";
const MADE_NAME: &str = "async-since.new";

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(folder: &Path, durability: Durability, boot: &str) -> BootMark {
        BootMark::of_boot(folder, durability, boot.to_owned())
    }

    #[test]
    fn only_another_start_of_the_machine_after_async_is_doubtful() {
        let folder = tempfile::tempdir().unwrap();
        let at = |durability, boot| mark(folder.path(), durability, boot);
        assert!(!at(Durability::Async, "a").is_doubtful().unwrap(), "new");
        at(Durability::Sync, "a").confirm().unwrap();
        assert!(!at(Durability::Sync, "b").is_doubtful().unwrap(), "synced");
        at(Durability::Async, "a").confirm().unwrap();
        assert!(
            !at(Durability::Async, "a").is_doubtful().unwrap(),
            "only the process died"
        );
        assert!(at(Durability::Async, "b").is_doubtful().unwrap());
        assert!(
            at(Durability::Sync, "b").is_doubtful().unwrap(),
            "whatever comes after"
        );
        assert!(
            at(Durability::Async, "").is_doubtful().unwrap(),
            "nobody knows"
        );
    }

    #[test]
    fn the_doubt_stays_until_it_is_answered_and_a_clean_stop_leaves_none() {
        let folder = tempfile::tempdir().unwrap();
        let at = |boot| mark(folder.path(), Durability::Async, boot);
        at("a").confirm().unwrap();
        at("b").clear().unwrap();
        assert!(
            at("b").is_doubtful().unwrap(),
            "stopped before the answers came"
        );
        let mut answered = at("b");
        answered.confirm().unwrap();
        assert!(!at("b").is_doubtful().unwrap());
        answered.clear().unwrap();
        assert!(!at("c").is_doubtful().unwrap());
    }
}
