//! Choosing by which system calls groups reach the disk: tried, not guessed.

use std::fmt;

use super::JournalError;
use super::uring::LinkedRing;

/// What was asked for.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    serde::Serialize,
    serde::Deserialize,
    clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum AppendChoice {
    /// io_uring where it works and the network uses it, else the plain calls.
    Auto,
    /// io_uring or nothing.
    Uring,
    /// The plain calls: they never cost more (see the journal's figures).
    #[default]
    Plain,
}

/// By which system calls a group is written and made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendPath {
    /// One submission of a write linked to an `fdatasync`.
    Uring,
    /// `pwrite`, then `fdatasync`.
    Plain,
}

impl fmt::Display for AppendPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uring => "uring",
            Self::Plain => "plain",
        })
    }
}

/// The path that is used and the sentence for the log that says why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// Which.
    pub path: AppendPath,
    /// Why, in a few words.
    pub reason: String,
}

impl Append {
    /// Tries io_uring unless the plain calls were asked for; gives its ring where it is to be used.
    ///
    /// Errors: [`JournalError::UringRefused`] if it was demanded and does not work.
    /// As [`Self::choose`], to say what a start would choose. Errors: io_uring was asked for and does not work.
    pub(crate) fn probe(choice: AppendChoice) -> Result<Self, JournalError> {
        Self::choose(choice).map(|(append, _)| append)
    }

    pub(super) fn choose(choice: AppendChoice) -> Result<(Self, Option<LinkedRing>), JournalError> {
        let (path, reason, ring) = match (choice, choice.open()) {
            (_, None) => (AppendPath::Plain, "pwrite and fdatasync".to_owned(), None),
            (_, Some(Ok(ring))) => {
                let reason = "io_uring, whose linked write and sync passed a self-test".to_owned();
                (AppendPath::Uring, reason, Some(ring))
            }
            (AppendChoice::Uring, Some(Err(error))) => {
                return Err(JournalError::UringRefused(error));
            }
            (_, Some(Err(error))) => {
                let reason =
                    format!("pwrite and fdatasync, as io_uring does not work here: {error}");
                (AppendPath::Plain, reason, None)
            }
        };
        Ok((Self { path, reason }, ring))
    }
}

impl AppendChoice {
    fn open(self) -> Option<std::io::Result<LinkedRing>> {
        (self != Self::Plain).then(LinkedRing::open)
    }
}
