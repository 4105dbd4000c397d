//! Where a worker's batches come from: a ring in memory that its node shares, or a TCP connection.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::handshake::{ANSWER_LEN, Answer, Hello};
use super::remote::RemoteFeed;
use super::{SettleConfig, SettleError, fault};
use crate::ring::{Consumer, RingRecord, receive_fds};

/// A worker's end of what its node feeds it.
pub(super) enum Feed {
    Ring(RingFeed),
    Remote(Box<RemoteFeed>),
}

impl Feed {
    /// Connects to the node and has itself fed from batch `settled` on.
    pub(super) fn connect(config: &SettleConfig, settled: u64) -> Result<Self, SettleError> {
        let hello = Hello {
            chain_id: config.chain_id,
            rollup_id: config.rollup_id,
            settled,
        };
        Ok(match &config.remote {
            Some(node) => Self::Remote(Box::new(RemoteFeed::connect(node, &hello)?)),
            None => Self::Ring(RingFeed::connect(config, &hello)?),
        })
    }

    /// The next record, if there is one. It stays valid until [`advance`](Self::advance) or the next call.
    pub(super) fn try_next(&mut self) -> Result<Option<RingRecord<'_>>, SettleError> {
        match self {
            Self::Ring(feed) => Ok(feed.consumer.try_next()?),
            Self::Remote(feed) => feed.try_next(),
        }
    }

    /// Gives back what was handed out, and says that every seq below `final_count` is final.
    pub(super) fn advance(&mut self, final_count: u64) -> Result<(), SettleError> {
        fault::point()?;
        match self {
            Self::Ring(feed) => feed.advance(final_count)?,
            Self::Remote(feed) => feed.say(final_count)?,
        }
        fault::point()
    }

    /// Whether the node is gone. What it had handed over before is still there to be read.
    pub(super) fn has_hung_up(&mut self) -> Result<bool, SettleError> {
        match self {
            Self::Ring(feed) => feed.has_hung_up(),
            Self::Remote(feed) => Ok(feed.has_hung_up()),
        }
    }

    /// Waits for the node; now and then returns so that the worker looks whether to stop.
    pub(super) fn wait(&mut self) -> Result<(), SettleError> {
        match self {
            Self::Ring(feed) => feed.wait(),
            Self::Remote(feed) => feed.wait(),
        }
    }
}

/// A ring of the node beside which the worker runs.
pub(super) struct RingFeed {
    socket: UnixStream,
    consumer: Consumer,
    path: PathBuf,
}

impl RingFeed {
    fn connect(config: &SettleConfig, hello: &Hello) -> Result<Self, SettleError> {
        let failed = |what| {
            let path = config.socket.clone();
            move |source| SettleError::Socket { what, path, source }
        };
        let socket = UnixStream::connect(&config.socket).map_err(failed("connecting to"))?;
        socket
            .set_read_timeout(Some(ANSWER_TIMEOUT))
            .map_err(failed("preparing"))?;
        match send(&socket, &hello.encode(), SendFlags::NOSIGNAL) {
            // A node that is busy says so at once and hangs up: its answer is there to be read. Otherwise the hello is far
            // below a socket buffer, so it is sent whole.
            Ok(_) | Err(rustix::io::Errno::PIPE) => {}
            Err(errno) => return Err(failed("greeting")(errno.into())),
        }
        let mut bytes = [0; ANSWER_LEN];
        let (len, fds) =
            receive_fds(&socket, &mut bytes).map_err(failed("waiting for an answer on"))?;
        match Answer::decode(&bytes[..len]) {
            Some(Answer::Welcome) => {}
            Some(answer) => return Err(answer.refusal()),
            None if len == 0 => return Err(SettleError::Handshake("the node hung up")),
            None => {
                return Err(SettleError::Handshake(
                    "the node's answer is not understood",
                ));
            }
        }
        let fds = fds
            .try_into()
            .map_err(|_| SettleError::Handshake("the node's answer lacks descriptors"))?;
        Ok(Self {
            socket,
            consumer: Consumer::attach(fds)?,
            path: config.socket.clone(),
        })
    }

    fn advance(&mut self, final_count: u64) -> Result<(), SettleError> {
        if self.consumer.advance(final_count) {
            fault::point()?;
            // Never waits: a full buffer means that wake-ups are on their way, and a hang-up is noticed elsewhere.
            let _ = send(
                &self.socket,
                &[1],
                SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
            );
        }
        Ok(())
    }

    fn has_hung_up(&self) -> Result<bool, SettleError> {
        let mut byte = [0];
        match recv(&self.socket, &mut byte, RecvFlags::DONTWAIT) {
            Ok((_, 0)) | Err(rustix::io::Errno::CONNRESET) => Ok(true),
            Ok(_) => Err(SettleError::Handshake(
                "the node sent what this version does not know",
            )),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(false),
            Err(errno) => Err(self.failed("reading", errno)),
        }
    }

    fn wait(&mut self) -> Result<(), SettleError> {
        if self.consumer.is_idle_after_parking()? {
            let fds = [self.consumer.wake_fd(), self.socket.as_fd()];
            wait_for(&fds).map_err(|errno| self.failed("waiting on", errno))?;
        }
        self.consumer.on_wake();
        Ok(())
    }

    fn failed(&self, what: &'static str, errno: rustix::io::Errno) -> SettleError {
        let path = self.path.clone();
        SettleError::Socket {
            what,
            path,
            source: errno.into(),
        }
    }
}

/// Waits until one of `fds` is readable, for a while.
pub(super) fn wait_for(fds: &[std::os::fd::BorrowedFd<'_>; 2]) -> Result<(), rustix::io::Errno> {
    let mut fds = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
    match poll(&mut fds, Some(&STOP_POLL_INTERVAL)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// How long the node may take to answer the hello.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a waiting worker looks whether to stop.
const STOP_POLL_INTERVAL: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};
