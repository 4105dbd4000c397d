//! One process a folder: an advisory lock that the system drops with the process.

use std::fs::File;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::JournalError;

/// Holds a folder for this process while it lives.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// The file's name.
    pub const NAME: &str = "lock";

    /// Makes `folder` if need be and takes it. Errors: somebody else holds it, or the system refuses.
    pub fn take(folder: &Path) -> Result<Self, JournalError> {
        std::fs::create_dir_all(folder).map_err(JournalError::io("making the folder", folder))?;
        let path = folder.join(Self::NAME);
        let file = File::create(&path).map_err(JournalError::io("making", &path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(JournalError::Locked {
                path: folder.to_path_buf(),
            }),
            Err(errno) => Err(JournalError::io("locking", &path)(errno)),
        }
    }
}
