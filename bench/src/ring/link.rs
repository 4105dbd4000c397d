//! The writer's end: the reader's process, and the three ways to it.

use std::fmt;
use std::io::{ErrorKind, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::SystemTime;

use anyhow::Context as _;
use fairlane_net::ring::{self, Producer, RingFds, RingWatch, send_fds};

/// How batches are handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Ring,
    Socket,
    Pipe,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ring => "ring",
            Self::Socket => "Unix socket",
            Self::Pipe => "pipe",
        })
    }
}

/// What both ends do while there is nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    Asleep,
    Spin,
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Asleep => "",
            Self::Spin => ", spin",
        })
    }
}

/// What the reader is to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) transport: Transport,
    pub(super) wait: Wait,
    pub(super) size: usize,
}

impl Order {
    pub(super) fn encode(self) -> [u8; ORDER_LEN] {
        let mut bytes = [0; ORDER_LEN];
        bytes[0] = self.transport as u8;
        bytes[1] = self.wait as u8;
        bytes[8..].copy_from_slice(&(self.size as u64).to_ne_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8; ORDER_LEN]) -> Self {
        Self {
            transport: match bytes[0] {
                0 => Transport::Ring,
                1 => Transport::Socket,
                _ => Transport::Pipe,
            },
            wait: match bytes[1] {
                0 => Wait::Asleep,
                _ => Wait::Spin,
            },
            size: word_at(bytes, 8) as usize,
        }
    }
}

/// What the reader says of one run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Said {
    /// Batches.
    pub(super) count: u64,
    /// Sum of their words but the first.
    pub(super) sum: u64,
    pub(super) p50_ns: u64,
    pub(super) p99_ns: u64,
}

impl Said {
    pub(super) fn encode(self) -> [u8; SAID_LEN] {
        let mut bytes = [0; SAID_LEN];
        let words = [self.count, self.sum, self.p50_ns, self.p99_ns];
        for (into, word) in bytes.chunks_exact_mut(8).zip(words) {
            into.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8; SAID_LEN]) -> Self {
        Self {
            count: word_at(bytes, 0),
            sum: word_at(bytes, 8),
            p50_ns: word_at(bytes, 16),
            p99_ns: word_at(bytes, 24),
        }
    }
}

/// The reader's process.
pub(super) struct Peer {
    child: Child,
    /// Orders there, results back.
    control: UnixStream,
    /// Bytes of a reader that gives back room.
    notices: UnixStream,
    producer: Producer,
    next_seq: u64,
    watch: RingWatch,
    _fds: RingFds,
    socket: UnixStream,
    pipe: PipeWriter,
}

impl Peer {
    /// Starts this binary once more as the reader, on `core`.
    pub(super) fn start(core: usize, ring_bytes: u64) -> anyhow::Result<Self> {
        let (control, theirs) = UnixStream::pair()?;
        let (notices, their_notices) = UnixStream::pair()?;
        let (socket, their_socket) = UnixStream::pair()?;
        let (their_pipe, pipe): (PipeReader, PipeWriter) = std::io::pipe()?;
        let (producer, watch, fds) = ring::create(ring_bytes, 0)?;
        let child = Command::new(std::env::current_exe()?)
            .args(["ring-reader", "--core", &core.to_string()])
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .context("cannot start the reader")?;
        send_fds(&control, b"ring", &fds.as_fds())?;
        let ways = [
            their_notices.as_fd(),
            their_socket.as_fd(),
            their_pipe.as_fd(),
        ];
        send_fds(&control, b"ways", &ways)?;
        watch.set_parked(false);
        Ok(Self {
            child,
            control,
            notices,
            producer,
            next_seq: 0,
            watch,
            _fds: fds,
            socket,
            pipe,
        })
    }

    /// Has the reader begin a run.
    pub(super) fn begin(&mut self, order: Order) -> anyhow::Result<Writer<'_>> {
        self.control.write_all(&order.encode())?;
        // It is at its place.
        self.control.read_exact(&mut [0])?;
        Ok(Writer { peer: self, order })
    }

    /// Ends the reader. Errors: it did not end well.
    pub(super) fn stop(self) -> anyhow::Result<()> {
        let Self {
            mut child, control, ..
        } = self;
        drop(control);
        anyhow::ensure!(child.wait()?.success(), "the reader failed");
        Ok(())
    }
}

/// One run's writing end.
pub(super) struct Writer<'a> {
    peer: &'a mut Peer,
    order: Order,
}

impl Writer<'_> {
    /// Hands a batch over, whose first word becomes `first`; 0 ends the run.
    pub(super) fn send(&mut self, batch: &mut [u8], first: u64) -> anyhow::Result<()> {
        batch[..8].copy_from_slice(&first.to_ne_bytes());
        match self.order.transport {
            Transport::Ring => self.send_to_ring(batch)?,
            Transport::Socket => self.peer.socket.write_all(batch)?,
            Transport::Pipe => self.peer.pipe.write_all(batch)?,
        }
        Ok(())
    }

    fn send_to_ring(&mut self, batch: &[u8]) -> anyhow::Result<()> {
        while !self.try_send_to_ring(batch) {
            match self.order.wait {
                Wait::Spin => std::hint::spin_loop(),
                Wait::Asleep => self.wait_for_room(batch)?,
            }
        }
        Ok(())
    }

    fn try_send_to_ring(&mut self, batch: &[u8]) -> bool {
        let Some(room) = self.peer.producer.reserve(batch.len()) else {
            return false;
        };
        room.copy_from_slice(batch);
        let seq = self.peer.next_seq;
        self.peer.next_seq += 1;
        self.peer.producer.commit(seq, batch.len());
        true
    }

    fn wait_for_room(&mut self, batch: &[u8]) -> anyhow::Result<()> {
        self.peer.watch.set_parked(true);
        if self.peer.producer.reserve(batch.len()).is_none() {
            self.peer.notices.read_exact(&mut [0])?;
        }
        self.peer.watch.set_parked(false);
        // Notices that came meanwhile.
        self.peer.notices.set_nonblocking(true)?;
        let mut bytes = [0; 64];
        while matches!(self.peer.notices.read(&mut bytes), Ok(len) if len > 0) {}
        self.peer.notices.set_nonblocking(false)?;
        Ok(())
    }

    /// Ends the run; what the reader says of it.
    pub(super) fn finish(mut self, size: usize) -> anyhow::Result<Said> {
        self.send(&mut vec![0; size], 0)?;
        let mut bytes = [0; SAID_LEN];
        match self.peer.control.read_exact(&mut bytes) {
            Ok(()) => Ok(Said::decode(&bytes)),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                anyhow::bail!("the reader has ended")
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Nanoseconds of the system's clock, which both processes read.
pub(super) fn now_ns() -> u64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

pub(super) fn word_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_ne_bytes(word)
}

pub(super) const ORDER_LEN: usize = 16;
const SAID_LEN: usize = 32;
