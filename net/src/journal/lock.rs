//! One process a folder: an advisory lock that the system drops with the process.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

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
        let until = Instant::now() + TAKE_TIMEOUT;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self { _file: file }),
                // Whoever only looks holds it for an instant.
                Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < until => {
                    std::thread::sleep(TAKE_TIMEOUT / 20);
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    let path = folder.to_path_buf();
                    return Err(JournalError::Locked { path });
                }
                Err(errno) => return Err(JournalError::io("locking", &path)(errno)),
            }
        }
    }

    /// Whether a process holds `folder`; nothing is made or kept.
    pub fn is_held(folder: &Path) -> bool {
        let Ok(file) = File::open(folder.join(Self::NAME)) else {
            return false;
        };
        let shared = flock(&file, FlockOperation::NonBlockingLockShared);
        shared == Err(rustix::io::Errno::WOULDBLOCK)
    }
}

/// How long another process may hold a folder before it counts as in use.
const TAKE_TIMEOUT: Duration = Duration::from_millis(200);
