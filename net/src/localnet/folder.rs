//! The data folder of a run: made, measured, and removed again unless it is to be kept.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// A folder that is removed when dropped, unless it is kept.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    /// Folders above it that were made for it, innermost first.
    made_above: Vec<PathBuf>,
    /// What to remove when it is not kept.
    remove: Remove,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remove {
    /// The folder itself: it was made here.
    Folder,
    /// What is in it: it was there, and empty.
    Contents,
    Nothing,
}

impl DataFolder {
    /// Makes the folder at `path`, or a temporary one. Errors: it is not empty, or cannot be made.
    pub fn make(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else {
            let made = tempfile::Builder::new()
                .prefix("fairlane-")
                .tempdir()
                .with_context(|| {
                    format!(
                        "cannot make a folder in {}: free some space or set TMPDIR",
                        std::env::temp_dir().display()
                    )
                })?;
            return Ok(Self {
                path: made.keep(),
                made_above: Vec::new(),
                remove: Remove::Folder,
            });
        };
        check_absent_or_empty(path)?;
        let remove = if path.exists() {
            Remove::Contents
        } else {
            Remove::Folder
        };
        let path = std::path::absolute(path)
            .with_context(|| format!("cannot use the folder {}", path.display()))?;
        let above = path.ancestors().skip(1);
        let made_above = above.take_while(|folder| !folder.exists());
        // Held before anything is made, so that a failure half way is cleaned up, too.
        let folder = Self {
            made_above: made_above.map(Path::to_path_buf).collect(),
            path,
            remove,
        };
        std::fs::create_dir_all(&folder.path)
            .with_context(|| format!("cannot make the folder {}", folder.path.display()))?;
        Ok(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves it there.
    pub const fn keep(&mut self) {
        self.remove = Remove::Nothing;
    }

    /// Errors: the disk has no room for the journals of `nodes` nodes and a worker.
    pub fn check_room(&self, nodes: u64) -> anyhow::Result<()> {
        let wanted = (nodes + 1) * ROOM_A_PROCESS;
        let disk = rustix::fs::statvfs(&self.path)?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        anyhow::ensure!(
            free >= wanted,
            "{} has {} MiB free and {nodes} authorities need {} MiB: free some space or choose another --data folder",
            self.path.display(),
            free >> 20,
            wanted >> 20
        );
        Ok(())
    }
}

impl Drop for DataFolder {
    fn drop(&mut self) {
        // What cannot be removed is left; there is nobody to tell on the way out.
        match self.remove {
            Remove::Nothing => {}
            Remove::Folder => {
                let _ = std::fs::remove_dir_all(&self.path);
                // Only empty ones go: somebody else may have put something there meanwhile.
                for folder in &self.made_above {
                    let _ = std::fs::remove_dir(folder);
                }
            }
            Remove::Contents => {
                for entry in std::fs::read_dir(&self.path)
                    .into_iter()
                    .flatten()
                    .flatten()
                {
                    let path = entry.path();
                    let _ = if path.is_dir() {
                        std::fs::remove_dir_all(path)
                    } else {
                        std::fs::remove_file(path)
                    };
                }
            }
        }
    }
}

/// Errors: `path` is there and not an empty folder.
pub fn check_absent_or_empty(path: &Path) -> anyhow::Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let mut entries = std::fs::read_dir(path)
        .with_context(|| format!("{} is not a folder that can be read", path.display()))?;
    anyhow::ensure!(
        entries.next().is_none(),
        "{} is not empty: give a folder that is absent or empty",
        path.display()
    );
    Ok(())
}

/// Free space that a node or the worker needs to start: one journal segment and room to go on.
const ROOM_A_PROCESS: u64 = 128 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_made_here_goes_unless_it_is_kept() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("above/data");
        drop(DataFolder::make(Some(&path)).unwrap());
        assert!(!path.exists() && !parent.path().join("above").exists());
        let mut folder = DataFolder::make(Some(&path)).unwrap();
        folder.keep();
        drop(folder);
        assert!(path.exists());
    }

    #[test]
    fn an_empty_folder_of_the_user_stays_and_is_emptied_and_a_full_one_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let folder = DataFolder::make(Some(parent.path())).unwrap();
        std::fs::write(folder.path().join("x"), "y").unwrap();
        assert!(check_absent_or_empty(parent.path()).is_err());
        assert!(DataFolder::make(Some(parent.path())).is_err());
        drop(folder);
        assert!(check_absent_or_empty(parent.path()).is_ok());
        assert!(parent.path().exists());
    }
}
