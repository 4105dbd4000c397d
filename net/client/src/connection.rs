//! One non-blocking TCP connection to a node: packs frames into few writes, cuts frames out of reads.
//!
//! Frames queued between two writes leave in one: on loopback, 64 messages a write carry some 40 times as many a second
//! as one a write. Protocol order (hello first, welcome first) is the
//! business of the link that owns it.
//!
//! Invariants:
//! - I1: both buffers are bounded; a queue that is full refuses, it never drops what it took.
//! - I2: what a node sends can close the connection, never panic it.
//!
//! Cost: one copy of a frame into the send buffer; received frames are read in place.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

use fairlane_engine::wire::DecodeError;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::inclusion::InclusionError;
use crate::protocol::{GoodbyeCode, LENGTH_LEN, NOTICE_LEN_MAX, Notice, next_frame};

/// A connection to one node. Dropping it closes it, with whatever was queued.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    outgoing: Vec<u8>,
    /// How much of `outgoing` has been written.
    written: usize,
    outgoing_len_max: usize,
    incoming: Vec<u8>,
    /// How much of `incoming` holds received bytes.
    filled: usize,
}

impl Connection {
    /// Starts to connect, without waiting: it is up once the socket is writable and [`Connection::connected`] agrees.
    ///
    /// At most `outgoing_len_max` bytes wait to be written. Errors: no socket, or the address refuses at once.
    pub fn start(address: SocketAddr, outgoing_len_max: usize) -> io::Result<Self> {
        let family = match address {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        match rustix::net::connect(&socket, &address) {
            Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        let stream = TcpStream::from(socket);
        // Frames are packed here already; waiting for more in the kernel would only add delay.
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            outgoing: Vec::new(),
            written: 0,
            outgoing_len_max,
            incoming: vec![0; READ_LEN],
            filled: 0,
        })
    }

    /// Whether a started connection is up; for a socket that became writable. Errors: why it is not.
    pub fn connected(&self) -> io::Result<()> {
        match self.stream.take_error()? {
            Some(error) => Err(error),
            None => self.stream.peer_addr().map(|_| ()),
        }
    }

    /// Queues a whole frame to be written by [`Connection::flush`]; false, and nothing queued, when the bound is met.
    pub fn queue(&mut self, frame: &[u8]) -> bool {
        if self.outgoing_len() + frame.len() > self.outgoing_len_max {
            return false;
        }
        if self.written > self.outgoing.len() / 2 {
            self.outgoing.drain(..self.written);
            self.written = 0;
        }
        self.outgoing.extend_from_slice(frame);
        true
    }

    /// Bytes queued and not written yet.
    pub fn outgoing_len(&self) -> usize {
        self.outgoing.len() - self.written
    }

    /// Writes as much of the queue as the socket takes. Errors: the connection is broken.
    pub fn flush(&mut self) -> Result<(), CloseReason> {
        while self.outgoing_len() > 0 {
            match self.stream.write(&self.outgoing[self.written..]) {
                Ok(0) => return Err(CloseReason::Closed),
                Ok(len) => self.written += len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(CloseReason::Io(error.kind())),
            }
        }
        self.outgoing.clear();
        self.written = 0;
        Ok(())
    }

    /// Reads what is there, up to 16 reads so that one busy node starves no other, and gives each notice on.
    ///
    /// Errors: the node closed, the connection broke, a frame is bad, or `on_notice` says so.
    pub fn receive(
        &mut self,
        on_notice: &mut dyn FnMut(Notice<'_>) -> Result<(), CloseReason>,
    ) -> Result<(), CloseReason> {
        for _ in 0..READS_MAX {
            if self.filled == self.incoming.len() {
                // A frame longer than the buffer; `next_frame` has checked its length, so this ends at INCOMING_MAX.
                assert!(self.filled < INCOMING_MAX, "a frame within its bound fits");
                self.incoming.resize((2 * self.filled).min(INCOMING_MAX), 0);
            }
            match self.stream.read(&mut self.incoming[self.filled..]) {
                Ok(0) => return Err(CloseReason::Closed),
                Ok(len) => {
                    self.filled += len;
                    let is_drained = self.filled < self.incoming.len();
                    self.take_frames(on_notice)?;
                    // A read that left room took all there was; poll says when there is more.
                    if is_drained {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(CloseReason::Io(error.kind())),
            }
        }
        Ok(())
    }

    fn take_frames(
        &mut self,
        on_notice: &mut dyn FnMut(Notice<'_>) -> Result<(), CloseReason>,
    ) -> Result<(), CloseReason> {
        let mut at = 0;
        while let Some((content, used)) =
            next_frame(&self.incoming[at..self.filled], NOTICE_LEN_MAX)?
        {
            on_notice(Notice::decode(content)?)?;
            at += used;
        }
        self.incoming.copy_within(at..self.filled, 0);
        self.filled -= at;
        Ok(())
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Why a connection ended, or never began.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// Could not connect.
    #[error("could not connect: {0}")]
    Connect(io::ErrorKind),
    /// Not up, or not welcomed, in time.
    #[error("no welcome in time")]
    Timeout,
    /// The node closed without a word.
    #[error("the node closed the connection")]
    Closed,
    /// Reading or writing failed.
    #[error("the connection broke: {0}")]
    Io(io::ErrorKind),
    /// Over UDP: nothing came for too long, though the node was asked.
    #[error("the node is silent")]
    Silent,
    /// Over UDP: the node was started again, or has forgotten this client for its silence.
    #[error("the node does not know this client any more")]
    Forgotten,
    /// Bytes that are no notice.
    #[error("the node sent a bad frame: {0}")]
    BadFrame(#[from] DecodeError),
    /// A notice where none of its kind may stand.
    #[error("the node sent {0}")]
    OutOfPlace(&'static str),
    /// The node at this address is not the one in the committee file.
    #[error("another node answers at this address: its {0} differs from the committee file")]
    WrongNode(&'static str),
    /// A certificate that does not hold, or headers that do not lead to it: checking costs a pairing each.
    #[error("the node sent a certificate that does not hold: {0}")]
    BadCertificate(InclusionError),
    /// The node said why.
    #[error("the node hung up ({code:?}): {text}")]
    Goodbye {
        /// Its code.
        code: GoodbyeCode,
        /// Its words.
        text: String,
    },
}

/// Reads of one turn before other nodes get theirs.
const READS_MAX: usize = 16;
/// First size of the receive buffer.
const READ_LEN: usize = 64 * 1024;
/// Bound of the receive buffer: the longest frame.
const INCOMING_MAX: usize = NOTICE_LEN_MAX as usize + LENGTH_LEN;
