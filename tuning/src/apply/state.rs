//! The state file: what `apply` has changed in this boot, and what was there before.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

/// What was changed, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// 1.
    pub version: u32,
    /// The kernel's number of the boot in which it was changed.
    pub boot_id: String,
    /// A file each.
    pub entries: Vec<Entry>,
}

/// A file that was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The knob.
    pub knob: String,
    /// The file.
    pub path: String,
    /// Its content before the first change.
    pub before: String,
    /// Its content after the last.
    pub after: String,
}

/// A state file that this process alone uses while this lives.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    /// Locked; none in a dry run, which changes nothing.
    _lock: Option<File>,
}

/// Why a state file cannot be used, in a sentence.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Reading, writing or locking failed.
    #[error("the state file {path}: {source}; --state FILE names another one")]
    Io {
        /// The file.
        path: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// Another process holds it.
    #[error("the state file {0} is in use by another fairlane-tuning")]
    Busy(String),
    /// It is not what `apply` writes.
    #[error("{path} is no state of fairlane-tuning: {what}")]
    Malformed {
        /// The file.
        path: String,
        /// What is wrong with it.
        what: String,
    },
}

impl State {
    fn empty(boot_id: &str) -> Self {
        Self {
            version: VERSION,
            boot_id: boot_id.to_owned(),
            entries: Vec::new(),
        }
    }

    /// Notes a change; the content before the first one is kept.
    pub(super) fn record(&mut self, knob: &str, path: &str, before: &str, after: &str) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.path == path) {
            entry.after = after.to_owned();
            return;
        }
        self.entries.push(Entry {
            knob: knob.to_owned(),
            path: path.to_owned(),
            before: before.to_owned(),
            after: after.to_owned(),
        });
    }
}

impl StateFile {
    /// Takes the file for changes: makes its folder and locks it.
    ///
    /// # Errors
    /// The folder or the lock cannot be made, or another process has it.
    pub fn take(path: &Path) -> Result<Self, StateError> {
        let wrong = |source: io::Error| io_error(path, source);
        std::fs::create_dir_all(folder_of(path)).map_err(wrong)?;
        let lock_path = with_suffix(path, "lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(lock_path)
            .map_err(wrong)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: Some(lock),
            }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(StateError::Busy(path.display().to_string())),
            Err(errno) => Err(wrong(errno.into())),
        }
    }

    /// Looks at the file without making or locking anything: for dry runs.
    pub fn look_at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            _lock: None,
        }
    }

    /// What was changed in the boot with this number; nothing when there is no file, or it is of another boot.
    ///
    /// # Errors
    /// It cannot be read, or is not what `apply` writes.
    pub fn load(&self, boot_id: &str) -> Result<State, StateError> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(State::empty(boot_id));
            }
            Err(error) => return Err(io_error(&self.path, error)),
        };
        let malformed = |what: String| StateError::Malformed {
            path: self.path.display().to_string(),
            what,
        };
        let state: State =
            serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?;
        if state.version != VERSION {
            return Err(malformed(format!(
                "it has version {}, not {VERSION}",
                state.version
            )));
        }
        if let Some(entry) = state
            .entries
            .iter()
            .find(|entry| !is_kernel_file(&entry.path))
        {
            return Err(malformed(format!(
                "{} is no file of the kernel",
                entry.path
            )));
        }
        Ok(if state.boot_id == boot_id {
            state
        } else {
            State::empty(boot_id)
        })
    }

    /// Replaces the file at once, synced before and after.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&self, state: &State) -> Result<(), StateError> {
        self.replace(state)
            .map_err(|error| io_error(&self.path, error))
    }

    fn replace(&self, state: &State) -> io::Result<()> {
        let text = serde_json::to_string_pretty(state).map_err(io::Error::from)?;
        let fresh = with_suffix(&self.path, "new");
        let mut file = File::create(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        std::fs::rename(&fresh, &self.path)?;
        File::open(folder_of(&self.path))?.sync_all()
    }
}

/// Root writes what a state file names: nothing but the kernel's settings may stand there.
fn is_kernel_file(path: &str) -> bool {
    ["/sys/", "/proc/"]
        .iter()
        .any(|start| path.starts_with(start))
        && !path.split('/').any(|part| part == "..")
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

fn io_error(path: &Path, source: io::Error) -> StateError {
    StateError::Io {
        path: path.display().to_string(),
        source,
    }
}

const VERSION: u32 = 1;
