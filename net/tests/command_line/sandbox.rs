//! A folder in which one test runs the binary, and sees what it leaves behind.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

/// Longest time that any run of these tests may take; far above what they need, so that a hang fails and load does not.
const RUN_TIMEOUT: Duration = Duration::from_secs(240);

/// A folder for one test: `tmp` in it is the binary's TMPDIR.
pub(crate) struct Sandbox {
    folder: TempDir,
}

/// What a run said.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for inner in ["tmp", "said"] {
            std::fs::create_dir(folder.path().join(inner)).expect("a folder in it");
        }
        Self { folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The path as an argument.
    pub(crate) fn argument(&self, name: &str) -> String {
        self.path(name).to_str().expect("a path of text").to_owned()
    }

    /// Writes a gzipped trace with these lines.
    pub(crate) fn trace(&self, name: &str, lines: &[&str]) -> String {
        let file = File::create(self.path(name)).expect("a file");
        let mut encoder = GzEncoder::new(file, Compression::fast());
        for line in lines {
            writeln!(encoder, "{line}").expect("a line");
        }
        encoder.finish().expect("the end of the file");
        self.argument(name)
    }

    /// Runs the binary to its end.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Ran {
        let mut child = self.start(arguments);
        let status = wait(&mut child);
        self.ran(status)
    }

    /// Starts the binary; what it says is read by [`Self::ran`].
    pub(crate) fn start<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Child {
        let said = |name: &str| File::create(self.path(name)).expect("a file");
        Command::new(env!("CARGO_BIN_EXE_fairlane"))
            .args(arguments)
            .env("TMPDIR", self.path("tmp"))
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(said("said/stdout"))
            .stderr(said("said/stderr"))
            .spawn()
            .expect("the binary starts")
    }

    /// Starts the binary beside others of this sandbox; what it says is not kept.
    pub(crate) fn start_apart<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_fairlane"))
            .args(arguments)
            .env("TMPDIR", self.path("tmp"))
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts")
    }

    pub(crate) fn ran(&self, status: Option<i32>) -> Ran {
        let read = |name: &str| {
            let bytes = std::fs::read(self.path(name)).expect("what it said");
            String::from_utf8(bytes).expect("it says text")
        };
        Ran {
            status,
            stdout: read("said/stdout"),
            stderr: read("said/stderr"),
        }
    }

    /// Every file and folder, but for what was said.
    pub(crate) fn listing(&self) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::new();
        let mut folders = vec![self.folder.path().to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.starts_with(self.path("said")) {
                    continue;
                }
                if path.is_dir() {
                    folders.push(path.clone());
                }
                found.insert(path);
            }
        }
        found
    }

    /// Processes that were started in this sandbox: their TMPDIR gives them away.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let marker = [b"TMPDIR=", self.path("tmp").as_os_str().as_bytes(), b"\0"].concat();
        let entries = std::fs::read_dir("/proc").expect("/proc is there");
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        pids.filter(|pid: &u32| {
            // A process that is gone, or is another user's, is none of ours.
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment
                .windows(marker.len())
                .any(|window| window == marker)
        })
        .collect()
    }

    pub(crate) fn assert_nothing_runs(&self) {
        let running = self.processes();
        assert!(running.is_empty(), "left running: {running:?}");
    }

    /// Waits until nothing that was started here runs any more.
    pub(crate) fn wait_for_the_end_of_all(&self) {
        let until = Instant::now() + RUN_TIMEOUT;
        while !self.processes().is_empty() {
            assert!(
                Instant::now() < until,
                "still there: {:?}",
                self.processes()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Ran {
    /// Asserts that it was refused: status 2, nothing on standard output, and one sentence that holds all `words`.
    pub(crate) fn assert_refused(&self, words: &[&str]) {
        assert_eq!(self.status, Some(2), "{self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
        let first = self.stderr.lines().next().unwrap_or_default();
        if let Some(sentence) = first.strip_prefix("fairlane: ") {
            assert_eq!(self.stderr.lines().count(), 1, "{self:?}");
            assert!(!sentence.trim().is_empty(), "{self:?}");
        } else {
            // The parser of the command line adds a hint of its own below its sentence.
            assert!(first.starts_with("error: "), "{self:?}");
        }
        for word in words {
            assert!(self.stderr.contains(word), "no {word:?} in {self:?}");
        }
    }
}

/// Waits for the end of a run; one that takes too long is killed and fails the test.
pub(crate) fn wait(child: &mut Child) -> Option<i32> {
    let until = Instant::now() + RUN_TIMEOUT;
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return status.code();
        }
        if Instant::now() > until {
            // It may end in between; then there is nothing to kill.
            let _ = child.kill();
            panic!("the run took longer than {RUN_TIMEOUT:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether `path` is for its owner only.
pub(crate) fn is_private(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    let metadata = std::fs::metadata(path).expect("the file is there");
    metadata.permissions().mode() & 0o077 == 0
}
