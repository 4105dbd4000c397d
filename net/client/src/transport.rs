//! TCP or UDP to a node, the same to the link that uses it.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::str::FromStr;
use std::time::Instant;

use crate::connection::{CloseReason, Connection};
use crate::datagram_connection::DatagramConnection;
use crate::protocol::Notice;

/// How a client talks to its nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Transport {
    /// One connection a node; nothing that was queued is lost while it lasts.
    #[default]
    Tcp,
    /// One envelope a datagram; the client sends again what is not answered.
    Udp,
}

impl FromStr for Transport {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            other => Err(format!("unknown transport {other:?}: use tcp or udp")),
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// An open way to a node.
#[derive(Debug)]
pub(crate) enum Wire {
    Tcp(Connection),
    Udp(Box<DatagramConnection>),
}

/// One submission in the forms that the transports need.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Submission<'a> {
    /// The whole frame; empty where no link is over TCP.
    pub(crate) frame: &'a [u8],
    pub(crate) tag: u64,
    pub(crate) envelope: &'a [u8],
}

impl Wire {
    /// Over UDP notices may come in any order, and welcome more than once.
    pub(crate) const fn is_ordered(&self) -> bool {
        matches!(self, Self::Tcp(_))
    }

    /// Queues a submission; false, and nothing queued, when the bound is met.
    pub(crate) fn queue(&mut self, submission: Submission<'_>) -> bool {
        match self {
            Self::Tcp(connection) => connection.queue(submission.frame),
            Self::Udp(connection) => connection.queue(submission.tag, submission.envelope),
        }
    }

    /// Queues a wish to follow; false, and nothing queued, when the bound is met, and over UDP, which has none.
    pub(crate) fn follow(&mut self, frame: &[u8]) -> bool {
        match self {
            Self::Tcp(connection) => connection.queue(frame),
            Self::Udp(_) => false,
        }
    }

    /// Bytes queued and not written yet.
    pub(crate) fn outgoing_len(&self) -> usize {
        match self {
            Self::Tcp(connection) => connection.outgoing_len(),
            Self::Udp(connection) => connection.outgoing_len(),
        }
    }

    /// Writes as much of the queue as the socket takes. Errors: the way is broken.
    pub(crate) fn flush(&mut self) -> Result<(), CloseReason> {
        match self {
            Self::Tcp(connection) => connection.flush(),
            Self::Udp(connection) => connection.flush(),
        }
    }

    /// Takes what came. Errors: as [`Connection::receive`].
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        on_notice: &mut dyn FnMut(Notice<'_>) -> Result<(), CloseReason>,
    ) -> Result<(), CloseReason> {
        match self {
            Self::Tcp(connection) => connection.receive(on_notice),
            Self::Udp(connection) => connection.receive(now, on_notice),
        }
    }

    /// When [`Self::on_time`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Tcp(_) => None,
            Self::Udp(connection) => Some(connection.deadline()),
        }
    }

    /// Says hello when it is time. Errors: the node is silent for too long.
    pub(crate) fn on_time(&mut self, now: Instant) -> Result<(), CloseReason> {
        match self {
            Self::Tcp(_) => Ok(()),
            Self::Udp(connection) => connection.on_time(now),
        }
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(connection) => connection.as_fd(),
            Self::Udp(connection) => connection.as_fd(),
        }
    }
}
