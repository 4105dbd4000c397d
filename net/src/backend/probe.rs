//! Choosing a backend at start: io_uring if it works here, which is tried and not guessed.
//!
//! The self-test is the real backend on a socket pair: ring setup, provided buffers, multishot receive, a write and
//! the peer's FIN. What the kernel refuses is turned into a sentence that says what to do.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::str::FromStr;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::{
    Backend, BackendConfig, BackendKind, CloseReason, Event, MioBackend, UringBackend, UringConfig,
};

/// What the user asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackendChoice {
    /// io_uring where it works, else mio.
    #[default]
    Auto,
    /// io_uring or nothing.
    Uring,
    /// mio.
    Mio,
}

/// The backend that will be used and the sentence for the log that says why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Which.
    pub kind: BackendKind,
    /// Why, in a sentence.
    pub reason: String,
}

/// Why there is no backend.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// io_uring was demanded and does not work here.
    #[error(
        "io_uring does not work here ({cause}): {remedy}, or choose the mio backend (--backend mio or auto)"
    )]
    UringRefused {
        /// What failed.
        cause: String,
        /// What would help.
        remedy: String,
    },
    /// The chosen backend could not be built.
    #[error(
        "the {kind} backend could not be started ({source}): check the limits on open files and memory"
    )]
    Start {
        /// Which.
        kind: BackendKind,
        /// What the kernel said.
        source: io::Error,
    },
    /// Not one of the names.
    #[error("unknown backend {0:?}: use auto, uring or mio")]
    UnknownName(String),
}

impl FromStr for BackendChoice {
    type Err = BackendError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "auto" => Ok(Self::Auto),
            "uring" => Ok(Self::Uring),
            "mio" => Ok(Self::Mio),
            other => Err(BackendError::UnknownName(other.to_owned())),
        }
    }
}

impl fmt::Display for BackendChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Uring => "uring",
            Self::Mio => "mio",
        })
    }
}

/// Chooses a backend, testing io_uring unless mio was asked for. Takes about a millisecond.
///
/// # Errors
/// [`BackendError::UringRefused`] if io_uring was demanded and fails its test.
pub fn probe(choice: BackendChoice) -> Result<Chosen, BackendError> {
    if choice == BackendChoice::Mio {
        return Ok(Chosen {
            kind: BackendKind::Mio,
            reason: "mio (epoll), as asked for".to_owned(),
        });
    }
    match (test_uring(), choice) {
        (Ok(()), _) => Ok(Chosen {
            kind: BackendKind::Uring,
            reason: "io_uring passed its self-test".to_owned(),
        }),
        (Err(error), BackendChoice::Auto) => Ok(Chosen {
            kind: BackendKind::Mio,
            reason: format!("mio (epoll), as io_uring does not work here: {error}"),
        }),
        (Err(error), _) => Err(BackendError::UringRefused {
            remedy: remedy(&error),
            cause: error.to_string(),
        }),
    }
}

/// Builds the backend on the calling thread, which must be the one that polls it.
///
/// # Errors
/// [`BackendError::Start`] with what the kernel said.
pub fn open(kind: BackendKind, config: BackendConfig) -> Result<Box<dyn Backend>, BackendError> {
    let backend: io::Result<Box<dyn Backend>> = match kind {
        BackendKind::Uring => UringBackend::new(config).map(|backend| Box::new(backend) as _),
        BackendKind::Mio => MioBackend::new(config).map(|backend| Box::new(backend) as _),
    };
    backend.map_err(|source| BackendError::Start { kind, source })
}

/// Sends bytes through a socket pair into a small backend and sees whether they, and then the FIN, arrive.
fn test_uring() -> io::Result<()> {
    let mut backend = UringBackend::new(BackendConfig {
        uring: UringConfig {
            sq_entries: 8,
            cq_entries: 16,
            buffers: 4,
            buffer_bytes: 4096,
            ..UringConfig::default()
        },
        ..BackendConfig::default()
    })?;
    let (ours, theirs): (OwnedFd, OwnedFd) = socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let conn = backend
        .adopt(ours)
        .ok_or_else(|| io::Error::other("no slot for the test connection"))?;
    rustix::io::write(&theirs, TEST_BYTES)?;
    drop(theirs);

    let mut received = Vec::new();
    let mut closed = None;
    let give_up = Instant::now() + TEST_TIMEOUT;
    while closed.is_none() {
        if Instant::now() > give_up {
            return Err(io::Error::other("its self-test saw no completion in time"));
        }
        backend.poll(Some(TEST_TIMEOUT), &mut |event| match event {
            Event::Received { bytes, .. } => received.extend_from_slice(bytes),
            Event::Closed { conn: id, reason } if id == conn => closed = Some(reason),
            _ => {}
        })?;
    }
    match closed {
        Some(CloseReason::Peer) if received == TEST_BYTES => Ok(()),
        Some(CloseReason::Failed(kind)) => Err(io::Error::new(
            kind,
            format!("receiving into provided buffers fails ({kind}); Linux 6.0 is needed"),
        )),
        _ => Err(io::Error::other("its self-test received wrong bytes")),
    }
}

fn remedy(error: &io::Error) -> String {
    let is = |errno: Errno| error.raw_os_error() == Some(errno.raw_os_error());
    if is(Errno::PERM) || is(Errno::ACCESS) {
        let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled")
            .map_or("unreadable".to_owned(), |text| text.trim().to_owned());
        return format!(
            "set kernel.io_uring_disabled to 0 (it is {disabled}) or allow the io_uring system calls in the \
             container's seccomp profile"
        );
    }
    if is(Errno::NOSYS) {
        return "use a kernel with io_uring (Linux 6.1 or later), or allow its system calls in the container's \
                seccomp profile"
            .to_owned();
    }
    if is(Errno::NOMEM) {
        return "raise the locked-memory limit (ulimit -l, or LimitMEMLOCK of the service)"
            .to_owned();
    }
    "use Linux 6.1 or later".to_owned()
}

const TEST_BYTES: &[u8] = b"fairlane";
const TEST_TIMEOUT: Duration = Duration::from_secs(2);
