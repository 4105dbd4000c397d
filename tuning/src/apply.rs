//! Writing what a check offers to mend, and taking it back.
//!
//! Invariants:
//! - I1: a file is written only after its old content stands, synced, in the state file; so a crash leaves nothing that
//!   [`undo`] does not know.
//! - I2: a file whose old content cannot be read is not written.
//! - I3: the old content that is recorded is the one before the first of several applies, until it is undone.
//! - I4: `undo` writes only where what `apply` left is still there. What somebody else has set since stays.
//! - I5: each file is a step of its own: what the kernel refuses is said, and the next one is tried.
//!
//! What is under `/sys` and `/proc/sys` is gone with the next boot; so a state of an earlier boot is no state.

use std::fmt;
use std::io;

use crate::check::Change;
use crate::cpu_list;
use crate::tree::{Tree, Unread};

mod state;

pub use state::{Entry, State, StateError, StateFile};

/// A file of a knob, to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The knob.
    pub knob: String,
    /// The file and its new content.
    pub change: Change,
}

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The knob.
    pub knob: String,
    /// The file.
    pub path: String,
    /// Its content before; none when it could not be read.
    pub before: Option<String>,
    /// Its content wanted.
    pub wanted: String,
    /// What happened.
    pub result: StepResult,
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepResult {
    /// Written, and read back as wanted.
    Done,
    /// Written; the kernel made something else of it.
    DoneAs(String),
    /// It was so already.
    Already,
    /// A dry run: it would be written.
    Would,
    /// Not done, and why.
    Refused(String),
    /// Not undone: somebody else has set this since.
    Foreign(String),
}

impl StepResult {
    /// Whether what was asked for is, or would be, so.
    pub const fn is_well(&self) -> bool {
        !matches!(self, Self::Refused(_) | Self::Foreign(_))
    }
}

/// Makes the changes, one by one.
///
/// # Errors
/// The state file cannot be read or written; nothing was changed that it does not name.
pub fn apply(
    tree: &Tree,
    file: &StateFile,
    steps: &[Step],
    is_dry: bool,
) -> Result<Vec<Outcome>, StateError> {
    let mut state = file.load(&boot_id(tree))?;
    let mut outcomes = Vec::new();
    for step in steps {
        let before = tree.read(&step.change.path).map(|text| chosen(&text));
        let result = match &before {
            Err(unread) => {
                StepResult::Refused(format!("{}, so it could not be undone", unread.why))
            }
            Ok(before) if is_same(&step.change.path, before, &step.change.value) => {
                StepResult::Already
            }
            Ok(_) if is_dry => foreseen(tree, &step.change.path),
            Ok(before) => write_recorded(tree, file, &mut state, step, before)?,
        };
        outcomes.push(Outcome {
            knob: step.knob.clone(),
            path: step.change.path.clone(),
            before: before.ok(),
            wanted: step.change.value.clone(),
            result,
        });
    }
    Ok(outcomes)
}

/// Takes back what the state file names, the last first, and empties it of what was taken back.
///
/// # Errors
/// The state file cannot be read or written.
pub fn undo(tree: &Tree, file: &StateFile, is_dry: bool) -> Result<Vec<Outcome>, StateError> {
    let mut state = file.load(&boot_id(tree))?;
    let mut outcomes = Vec::new();
    for entry in state.entries.clone().into_iter().rev() {
        let now = tree.read(&entry.path).map(|text| chosen(&text));
        let result = match &now {
            Err(unread) => StepResult::Refused(unread.why.clone()),
            Ok(now) if is_same(&entry.path, now, &entry.before) => StepResult::Already,
            Ok(now) if !is_same(&entry.path, now, &entry.after) => StepResult::Foreign(now.clone()),
            Ok(_) if is_dry => foreseen(tree, &entry.path),
            Ok(_) => match write(tree, &entry.path, &entry.before) {
                Ok(()) => read_back(tree, &entry.path, &entry.before),
                Err(why) => StepResult::Refused(why),
            },
        };
        if !is_dry && !matches!(result, StepResult::Refused(_)) {
            state.entries.retain(|kept| kept.path != entry.path);
            file.save(&state)?;
        }
        outcomes.push(Outcome {
            knob: entry.knob,
            path: entry.path,
            before: now.ok(),
            wanted: entry.before,
            result,
        });
    }
    Ok(outcomes)
}

fn write_recorded(
    tree: &Tree,
    file: &StateFile,
    state: &mut State,
    step: &Step,
    before: &str,
) -> Result<StepResult, StateError> {
    let unchanged = state.clone();
    state.record(&step.knob, &step.change.path, before, &step.change.value);
    file.save(state)?;
    if let Err(why) = write(tree, &step.change.path, &step.change.value) {
        *state = unchanged;
        file.save(state)?;
        return Ok(StepResult::Refused(why));
    }
    let result = read_back(tree, &step.change.path, &step.change.value);
    if let StepResult::DoneAs(now) = &result {
        state.record(&step.knob, &step.change.path, before, now);
        file.save(state)?;
    }
    Ok(result)
}

/// One write of the whole content, as the kernel's files want it; never makes a file.
fn write(tree: &Tree, path: &str, value: &str) -> Result<(), String> {
    use std::io::Write as _;
    std::fs::OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(tree.locate(path))
        .and_then(|mut file| file.write_all(value.as_bytes()))
        .map_err(|error| refusal(&error))
}

fn read_back(tree: &Tree, path: &str, value: &str) -> StepResult {
    match tree.read(path) {
        Ok(text) if is_same(path, &chosen(&text), value) => StepResult::Done,
        Ok(text) => StepResult::DoneAs(chosen(&text)),
        Err(Unread { why, .. }) => StepResult::DoneAs(format!("nothing that can be read: {why}")),
    }
}

/// What a dry run can know: whether this process may write the file.
fn foreseen(tree: &Tree, path: &str) -> StepResult {
    match rustix::fs::access(tree.locate(path), rustix::fs::Access::WRITE_OK) {
        Ok(()) => StepResult::Would,
        Err(errno) => StepResult::Refused(refusal(&io::Error::from(errno))),
    }
}

fn refusal(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "not permitted: it takes root, and in a container the host's".to_owned()
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "read-only here, as in a container: only the host can do it".to_owned()
        }
        _ => format!("the kernel refused: {error}"),
    }
}

/// Of a list of choices the chosen one: `always [madvise] never`.
fn chosen(text: &str) -> String {
    crate::check::selected(text).unwrap_or(text).to_owned()
}

/// Whether two contents of a file mean the same.
fn is_same(path: &str, one: &str, other: &str) -> bool {
    if path.ends_with("_list") {
        return cpu_list::parse(one).is_ok() && cpu_list::parse(one) == cpu_list::parse(other);
    }
    one.split_whitespace().eq(other.split_whitespace())
}

/// The number that the kernel gives each boot; empty where it does not.
fn boot_id(tree: &Tree) -> String {
    tree.read("/proc/sys/kernel/random/boot_id")
        .unwrap_or_default()
}

impl fmt::Display for StepResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::DoneAs(now) => write!(f, "done, the kernel made {now} of it"),
            Self::Already => f.write_str("so already"),
            Self::Would => f.write_str("would be written"),
            Self::Refused(why) => write!(f, "NOT DONE: {why}"),
            Self::Foreign(now) => write!(f, "LEFT: somebody else has set it to {now} since"),
        }
    }
}
