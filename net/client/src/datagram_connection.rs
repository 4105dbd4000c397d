//! One UDP socket towards a node: proves the own address, packs envelopes into datagrams, reads notices.
//!
//! The socket is connected, so the kernel drops what others send to it, and tells when nobody listens at the node's port. What
//! does not bear the nonce, or does not decode, is dropped and changes nothing: anybody can write a node's address.
//!
//! Invariants:
//! - I1: what waits to be sent is bounded in bytes; a queue that is full refuses.
//! - I2: what comes can close the connection only if it bears the nonce or token, and never panics it.
//!
//! Cost: one copy of an envelope, and one system call a datagram, or a train of those of one length that are due at once.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::net::sockopt;

use crate::connection::CloseReason;
use crate::protocol::{
    DATAGRAM_LEN_MAX, DatagramNotice, Hello, Notice, encode_datagram_hello, encode_datagram_submit,
};
use crate::train;

/// A way to one node over UDP.
#[derive(Debug)]
pub(crate) struct DatagramConnection {
    socket: UdpSocket,
    hello: Hello,
    nonce: u64,
    /// 0: none yet.
    token: u64,
    outgoing: VecDeque<Vec<u8>>,
    /// Several that are due at once leave in one system call.
    trains: bool,
    outgoing_len: usize,
    outgoing_len_max: usize,
    /// Buffers to use again.
    spare: Vec<Vec<u8>>,
    /// When the next hello is due, and how long to wait after it.
    hello_at: Instant,
    wait: Duration,
    is_welcomed: bool,
    heard_at: Instant,
    sent_at: Instant,
    incoming: Box<[u8; DATAGRAM_LEN_MAX + 1]>,
}

impl DatagramConnection {
    /// A socket towards `address` that says hello at the first [`Self::on_time`].
    ///
    /// Errors: no socket, no random bytes, or an address that the host cannot send to.
    pub(crate) fn start(
        address: SocketAddr,
        hello: Hello,
        outgoing_len_max: usize,
        now: Instant,
    ) -> io::Result<Self> {
        let any: IpAddr = match address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(address)?;
        socket.set_nonblocking(true)?;
        // What the host does not grant is only lost sooner.
        let _ = sockopt::set_socket_recv_buffer_size(&socket, KERNEL_BYTES);
        let mut nonce = [0; 8];
        getrandom::fill(&mut nonce).map_err(|_| io::ErrorKind::Other)?;
        Ok(Self {
            socket,
            hello,
            nonce: u64::from_be_bytes(nonce),
            token: 0,
            outgoing: VecDeque::new(),
            trains: true,
            outgoing_len: 0,
            outgoing_len_max,
            spare: Vec::new(),
            hello_at: now,
            wait: HELLO_WAIT_MIN,
            is_welcomed: false,
            heard_at: now,
            sent_at: now,
            incoming: Box::new([0; DATAGRAM_LEN_MAX + 1]),
        })
    }

    /// Queues an envelope; false, and nothing queued, when the bound is met or no datagram carries it.
    pub(crate) fn queue(&mut self, tag: u64, envelope: &[u8]) -> bool {
        if self.outgoing_len + DATAGRAM_LEN_MAX > self.outgoing_len_max {
            return false;
        }
        let mut bytes = self.spare.pop().unwrap_or_default();
        let is_written = encode_datagram_submit(&mut bytes, self.token, tag, envelope).is_ok();
        if is_written {
            self.push(bytes);
        }
        is_written
    }

    pub(crate) const fn outgoing_len(&self) -> usize {
        self.outgoing_len
    }

    /// Sends as much of the queue as the socket takes. Errors: nobody listens there, or the host cannot send.
    pub(crate) fn flush(&mut self) -> Result<(), CloseReason> {
        while let Some(bytes) = self.outgoing.front() {
            let count = match self.trains {
                true => train::len_of(self.outgoing.iter().map(Vec::len)),
                false => 1,
            };
            let sent = match count {
                1 => self.socket.send(bytes).map(|_| ()),
                _ => train::send(&self.socket, self.outgoing.iter().take(count)),
            };
            match sent {
                Ok(()) => (0..count).for_each(|_| self.pop()),
                // The kernel or the device cannot cut them up: from now on each goes by itself.
                Err(error) if count > 1 && train::is_refused(&error) => self.trains = false,
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return Ok(()),
                    io::ErrorKind::Interrupted => {}
                    kind => return Err(CloseReason::Io(kind)),
                },
            }
        }
        Ok(())
    }

    /// Reads what is there, up to [`RECEIVES_MAX`] datagrams, and gives each notice on.
    ///
    /// Errors: the node does not know this client any more, breaks the protocol, or is not there; or `on_notice` says so.
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        on_notice: &mut dyn FnMut(Notice<'_>) -> Result<(), CloseReason>,
    ) -> Result<(), CloseReason> {
        for _ in 0..RECEIVES_MAX {
            let len = match self.socket.recv(&mut self.incoming[..]) {
                Ok(len) => len,
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return Ok(()),
                    io::ErrorKind::Interrupted => continue,
                    kind => return Err(CloseReason::Io(kind)),
                },
            };
            match DatagramNotice::decode(&self.incoming[..len]) {
                Ok(DatagramNotice::Notices { nonce, frames }) if nonce == self.nonce => {
                    self.heard_at = now;
                    self.is_welcomed = true;
                    self.wait = HELLO_WAIT_MIN;
                    for content in DatagramNotice::frames(frames) {
                        on_notice(Notice::decode(content)?)?;
                    }
                }
                Ok(DatagramNotice::Token { nonce, token }) if nonce == self.nonce => {
                    // A late answer to an earlier hello is as good as one in time.
                    self.heard_at = now;
                    self.token = token;
                    if !self.is_welcomed {
                        self.say_hello(now);
                        self.flush()?;
                    }
                }
                Ok(DatagramNotice::Unknown { token }) if token == self.token && token != 0 => {
                    return Err(CloseReason::Forgotten);
                }
                // Somebody else's, or nobody's.
                Ok(_) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// When [`Self::on_time`] has something to do.
    pub(crate) fn deadline(&self) -> Instant {
        if !self.is_welcomed {
            return self.hello_at;
        }
        let silent = self.heard_at + SILENCE_TIME;
        let idle = self.sent_at + IDLE_TIME;
        silent.min(idle).max(self.hello_at)
    }

    /// Says hello when it is time. Errors: the node was silent for [`SILENCE_TIME_MAX`].
    pub(crate) fn on_time(&mut self, now: Instant) -> Result<(), CloseReason> {
        if self.is_welcomed && now.duration_since(self.heard_at) > SILENCE_TIME_MAX {
            return Err(CloseReason::Silent);
        }
        if self.deadline() <= now {
            self.say_hello(now);
        }
        Ok(())
    }

    /// A hello is short and rare: it is queued whatever the bound says.
    fn say_hello(&mut self, now: Instant) {
        let mut bytes = self.spare.pop().unwrap_or_default();
        encode_datagram_hello(&mut bytes, &self.hello, self.nonce, self.token);
        self.push(bytes);
        self.sent_at = now;
        self.hello_at = now + self.wait;
        self.wait = (2 * self.wait).min(HELLO_WAIT_MAX);
    }

    fn push(&mut self, bytes: Vec<u8>) {
        self.outgoing_len += bytes.len();
        self.outgoing.push_back(bytes);
    }

    fn pop(&mut self) {
        if let Some(bytes) = self.outgoing.pop_front() {
            self.outgoing_len -= bytes.len();
            if self.spare.len() < SPARE_MAX {
                self.spare.push(bytes);
            }
        }
    }
}

impl AsFd for DatagramConnection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// First and longest wait between hellos that are not answered.
const HELLO_WAIT_MIN: Duration = Duration::from_millis(100);
const HELLO_WAIT_MAX: Duration = Duration::from_secs(1);
/// A node that was silent for so long is asked whether it is there.
const SILENCE_TIME: Duration = Duration::from_secs(1);
/// So long after its last hello a client says that it is there: nodes forget who is silent for 30 s.
const IDLE_TIME: Duration = Duration::from_secs(5);
/// A node that is silent for so long is taken to be gone.
const SILENCE_TIME_MAX: Duration = Duration::from_secs(5);
/// Datagrams received from one node before others get their turn.
const RECEIVES_MAX: usize = 256;
/// Buffers kept to be used again.
const SPARE_MAX: usize = 256;
/// Asked of the kernel for what was received and not read yet.
const KERNEL_BYTES: usize = 1 << 20;
