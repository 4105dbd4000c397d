//! The kernel's files under `/sys` and `/proc`, or a copy of them under another root.
//!
//! Everything that can be read from files is read through [`Tree`], so that tests show the same code other machines. What
//! cannot be read is an [`Unread`] with the path and the reason, never a guess.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The root under which `/sys`, `/proc` and `/etc` are looked for.
#[derive(Clone, Debug)]
pub struct Tree {
    root: PathBuf,
}

/// A file that could not be read, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// The path, without the root.
    pub path: String,
    /// What the kernel said, or what was wrong with the content.
    pub why: String,
    /// The file is not there: the machine or the kernel lacks what it stands for.
    pub is_absent: bool,
}

impl Tree {
    /// This machine.
    pub fn of_this_machine() -> Self {
        Self::under("/")
    }

    /// A copy under `root`.
    pub fn under(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where the file `path` (absolute) really lies.
    pub fn locate(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// The content of a file, without the white space around it.
    ///
    /// # Errors
    /// [`Unread`] with the kernel's reason.
    pub fn read(&self, path: &str) -> Result<String, Unread> {
        std::fs::read_to_string(self.locate(path))
            .map(|text| text.trim().to_owned())
            .map_err(|error| Unread::new(path, &error))
    }

    /// An integer in a file.
    ///
    /// # Errors
    /// [`Unread`], also when the content is no integer.
    pub fn read_number(&self, path: &str) -> Result<i64, Unread> {
        let text = self.read(path)?;
        text.parse().map_err(|_| Unread {
            path: path.to_owned(),
            why: format!("{text:?} is no number"),
            is_absent: false,
        })
    }

    /// A list of processors in a file.
    ///
    /// # Errors
    /// [`Unread`], also when the content is no such list.
    pub fn read_cpus(&self, path: &str) -> Result<Vec<usize>, Unread> {
        crate::cpu_list::parse(&self.read(path)?).map_err(|why| Unread {
            path: path.to_owned(),
            why,
            is_absent: false,
        })
    }

    /// Names in a folder that are `prefix` and a number, by number: `node0`, `node1`, `node10`.
    pub fn numbered(&self, folder: &str, prefix: &str) -> Vec<(usize, String)> {
        let mut found: Vec<(usize, String)> = (self.names(folder).into_iter())
            .filter_map(|name| {
                let number = name.strip_prefix(prefix)?.parse().ok()?;
                Some((number, format!("{folder}/{name}")))
            })
            .collect();
        found.sort_unstable();
        found
    }

    /// Names in a folder in order; none when it cannot be listed.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.locate(folder));
        let mut names: Vec<String> = (entries.into_iter().flatten().flatten())
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort_unstable();
        names
    }

    /// Whether there is something at `path`.
    pub fn has(&self, path: &str) -> bool {
        self.locate(path).exists()
    }

    /// Whether it is this machine's, not a copy.
    pub fn is_this_machine(&self) -> bool {
        self.root == Path::new("/")
    }
}

impl Unread {
    /// What reading `path` failed with.
    pub fn new(path: &str, error: &io::Error) -> Self {
        Self {
            path: path.to_owned(),
            why: error.to_string(),
            is_absent: error.kind() == io::ErrorKind::NotFound,
        }
    }
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.why)
    }
}

impl std::error::Error for Unread {}
