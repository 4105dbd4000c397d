//! TCP and UDP for one IO thread: listeners, accepted and outgoing connections, datagram sockets, events.
//!
//! One trait, [`Backend`], two implementations (io_uring, and epoll through mio where io_uring is refused), one
//! conformance suite (`tests/backend_conformance.rs`) that both pass. No async runtime, no thread of its own, no
//! spinning: [`Backend::poll`] parks in the kernel until something happens.
//!
//! What both implementations promise:
//! - B1. A connection's events come in the order `Accepted` or `Connected`, any number of `Received`, one `Closed`;
//!   an outgoing connection that fails has only its `Closed`. Every id ever handed out ends in exactly one `Closed`,
//!   and no event bears an id after its `Closed`.
//! - B2. A [`ConnId`] carries a generation: an old id never reaches a newer connection.
//! - B3. Bytes of one connection leave in the order of the `send` calls, whole or not at all into the queue; the queue
//!   is bounded in bytes and a full one refuses, it never drops.
//! - B4. `close` delivers what was queued, then sends FIN and waits for the peer's, all within `linger`; `abort` drops
//!   what was queued and resets. Neither delivers another `Received`.
//! - B5. A peer's half-close is a close: what was queued for it is still delivered, later sends are refused.
//! - B6. `send` and `close` take effect at the next `poll` at the latest.
//! - B7. A wake between two polls is not lost: the next poll returns at once.
//! - B8. Datagrams are handed out whole, each with its sender, those of one sender in the order in which the kernel got
//!   them; one that is longer than the socket's bound is counted and not handed out. Sending one is an attempt: the queue is
//!   bounded and a full one refuses; what the kernel refuses is counted. No peer can end a datagram socket.
//!
//! Cost: io_uring one system call a poll; mio one a poll plus one a read or write. Probes of the two kernel interfaces
//! on loopback found them within 20 % of each other; how many messages a client puts into one write matters far more.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

mod datagram;
mod gro;
mod life;
mod mio;
mod outbox;
mod park;
mod probe;
mod slots;
mod socket;
mod source;
mod table;
mod uring;
mod waker;
#[cfg(feature = "xdp")]
pub mod xdp;

pub use mio::MioBackend;
pub use probe::{BackendChoice, BackendError, Chosen, open, probe};
pub use source::{DatagramSource, SourceCounters};
pub use uring::UringBackend;
pub use waker::Waker;

/// TCP connections and UDP sockets of one thread as a source of events.
///
/// Built and used on one thread (io_uring's single issuer); only the [`Waker`] crosses threads.
pub trait Backend {
    /// Which implementation this is.
    fn kind(&self) -> BackendKind;

    /// Listens on `address` (port 0: the kernel picks one) and gives the address bound.
    ///
    /// # Errors
    /// What the kernel says: address in use, no permission, no descriptor.
    fn listen(
        &mut self,
        address: SocketAddr,
        tag: ListenerTag,
        limits: ListenLimits,
    ) -> io::Result<SocketAddr>;

    /// Starts a connection; `Connected` with `tag`, or `Closed`, follows from a poll within `connect_timeout`.
    ///
    /// Bytes may be queued before it is connected.
    ///
    /// # Errors
    /// Only a local lack (descriptors, memory, slots); a refusal by the other side is an event.
    fn connect(&mut self, address: SocketAddr, tag: u32) -> io::Result<ConnId>;

    /// Queues `bytes`; several queued buffers leave in one write.
    ///
    /// # Errors
    /// [`SendRefused::Full`]: nothing of `bytes` was queued, try again after a poll; [`SendRefused::Closed`]: the
    /// connection is unknown, closing or closed.
    fn send(&mut self, conn: ConnId, bytes: Vec<u8>) -> Result<(), SendRefused>;

    /// Binds a UDP socket to `address` (port 0: the kernel picks one) and gives the address bound; it receives from the
    /// next poll on, until the backend is dropped.
    ///
    /// # Errors
    /// What the kernel says: address in use, no permission, no descriptor or memory; `InvalidInput` for a tag that another
    /// UDP socket of this backend has, or limits that no socket can keep.
    fn bind_udp(
        &mut self,
        address: SocketAddr,
        tag: ListenerTag,
        limits: DatagramLimits,
    ) -> io::Result<SocketAddr>;

    /// Hands out, from the next poll on, what comes through `source`, too, as datagrams of the UDP socket with this tag.
    ///
    /// The two are not ordered against each other.
    ///
    /// # Errors
    /// `InvalidInput` when no UDP socket has this tag, or for one source too many; what the kernel says of watching it.
    fn watch_datagrams(
        &mut self,
        socket: ListenerTag,
        source: Box<dyn DatagramSource>,
    ) -> io::Result<()>;

    /// Queues a copy of `bytes` as one datagram; it leaves at the next poll, unless the kernel has no room for it.
    ///
    /// # Errors
    /// [`SendRefused::Full`], counted; [`SendRefused::Closed`]: no UDP socket has this tag.
    fn send_datagram(
        &mut self,
        socket: ListenerTag,
        to: SocketAddr,
        bytes: &[u8],
    ) -> Result<(), SendRefused>;

    /// Bytes queued and not yet taken by the kernel; `None` for an unknown connection.
    fn queued_bytes(&self, conn: ConnId) -> Option<usize>;

    /// An empty buffer to fill and send, with the memory of one already sent when there is one.
    fn buffer(&mut self) -> Vec<u8>;

    /// Closes after delivering what is queued (B4). Unknown and closing connections are left as they are.
    fn close(&mut self, conn: ConnId);

    /// Resets the connection; what is queued is lost.
    fn abort(&mut self, conn: ConnId);

    /// Hands out what happened, waiting at most `timeout` (`None`: as long as it takes) if nothing has yet.
    ///
    /// May return early without any event. Never spins. `events` cannot call back into the backend: it notes what to
    /// send or close, and the owner does that after the poll.
    ///
    /// # Errors
    /// A local fault of the kernel interface: the node should stop. A peer's faults are `Closed` events.
    fn poll(
        &mut self,
        timeout: Option<Duration>,
        events: &mut dyn FnMut(Event<'_>),
    ) -> io::Result<()>;

    /// Lets the following polls go on for `gather` after they began, though something has happened: what arrives
    /// meanwhile is handed out together, which saves system calls and context switches. Zero, as at the start, for none.
    ///
    /// A wait shorter than `gather` is not lengthened. Sends leave at the beginning of a poll, so they are not delayed.
    fn set_gather(&mut self, gather: Duration);

    /// A handle by which other threads end a poll.
    fn waker(&self) -> Waker;

    /// What was counted so far. Asks the kernel for what only it knows: a system call a UDP socket.
    fn counters(&self) -> Counters;

    /// The same as known without a system call: `datagrams_dropped` lacks what the kernel dropped on UDP sockets.
    fn tallied(&self) -> Counters {
        self.counters()
    }
}

/// Something that happened on a backend.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A peer connected to a listener.
    Accepted {
        /// The new connection.
        conn: ConnId,
        /// The tag that the listener was opened with.
        listener: ListenerTag,
        /// The peer's address.
        peer: SocketAddr,
    },
    /// An outgoing connection is up.
    Connected {
        /// The connection.
        conn: ConnId,
        /// The tag given to `connect`.
        tag: u32,
    },
    /// Bytes came, in stream order.
    Received {
        /// The connection.
        conn: ConnId,
        /// At least one byte, borrowed from the backend's receive buffer.
        bytes: &'a [u8],
    },
    /// The connection is over and its id dead.
    Closed {
        /// The connection.
        conn: ConnId,
        /// Why.
        reason: CloseReason,
    },
    /// A datagram came.
    Datagram {
        /// The tag that the socket was bound with.
        socket: ListenerTag,
        /// Who claims to have sent it: anybody can write any address there.
        peer: SocketAddr,
        /// Its payload, none to `bytes_max` bytes, borrowed from the backend's receive buffer.
        bytes: &'a [u8],
    },
    /// Somebody called [`Waker::wake`] since the last poll.
    Woken,
}

/// A connection of one backend: a slot and how often the slot was used before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId {
    slot: u32,
    generation: u32,
}

impl ConnId {
    /// The slot, dense from 0 and used again after `Closed`: an index into tables of the owner.
    pub fn slot(self) -> usize {
        self.slot as usize
    }

    /// Packs the id into 56 bits: slot (24) above generation (32).
    fn to_bits(self) -> u64 {
        (u64::from(self.slot) << 32) | u64::from(self.generation)
    }

    /// Reverses [`Self::to_bits`]; bits above 56 are ignored.
    pub(crate) fn from_bits(bits: u64) -> Self {
        Self {
            slot: ((bits >> 32) as u32) & (SLOTS_MAX - 1),
            generation: bits as u32,
        }
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "conn {}.{}", self.slot, self.generation)
    }
}

/// Which listener a connection came through, or which UDP socket a datagram, chosen by the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerTag(pub u8);

/// Bounds of what comes through one listener, so that clients cannot use up what peers need.
#[derive(Clone, Copy, Debug)]
pub struct ListenLimits {
    /// Connections open at a time; one more is accepted and closed at once, and counted.
    pub connections_max: u32,
    /// Bytes queued towards one connection.
    pub send_queue_bytes_max: usize,
}

/// Bounds of one UDP socket.
#[derive(Clone, Copy, Debug)]
pub struct DatagramLimits {
    /// Longest payload that is handed out; what is longer is counted and dropped.
    pub bytes_max: usize,
    /// Bytes queued to be sent, 64 more counted for each datagram.
    pub send_queue_bytes_max: usize,
    /// Asked of the kernel for each of its two buffers; it may grant less (`net.core.rmem_max`, `wmem_max`).
    pub kernel_buffer_bytes: usize,
    /// Takes consecutive datagrams of one sender and one length from the kernel together (UDP_GRO, Linux 5.0).
    pub gro: bool,
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The peer closed or half-closed.
    Peer,
    /// The peer reset, or its machine did for it.
    Reset,
    /// An outgoing connection did not come up; `TimedOut` after `connect_timeout`.
    ConnectFailed(io::ErrorKind),
    /// Another error of the transport.
    Failed(io::ErrorKind),
    /// `close` or `abort` was called.
    Local {
        /// All queued bytes were handed to the kernel.
        flushed: bool,
    },
}

/// Why `send` queued nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendRefused {
    /// The peer reads too slowly: the queue has no room for these bytes.
    #[error("the send queue is full")]
    Full,
    /// The connection is unknown, closing or closed.
    #[error("the connection is closed")]
    Closed,
}

/// The implementations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendKind {
    /// io_uring with multishot accept and receive and provided buffers.
    Uring,
    /// epoll through mio.
    Mio,
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uring => "uring",
            Self::Mio => "mio",
        })
    }
}

/// Bounds and times of a backend.
#[derive(Clone, Copy, Debug)]
pub struct BackendConfig {
    /// Bytes queued towards one outgoing connection; accepted ones have their listener's bound.
    pub send_queue_bytes_max: usize,
    /// How long an outgoing connection may take to come up.
    pub connect_timeout: Duration,
    /// How long a closing connection may take to deliver what was queued and see the peer's FIN.
    pub linger: Duration,
    /// Sizes of the io_uring rings.
    pub uring: UringConfig,
}

impl Default for BackendConfig {
    fn default() -> Self {
        Self {
            send_queue_bytes_max: SEND_QUEUE_BYTES_MAX,
            connect_timeout: Duration::from_secs(3),
            linger: Duration::from_secs(2),
            uring: UringConfig::default(),
        }
    }
}

/// Sizes of the io_uring rings; powers of two.
#[derive(Clone, Copy, Debug)]
pub struct UringConfig {
    /// Submission entries; more submissions at once take another system call.
    pub sq_entries: u32,
    /// Completion entries; more at once wait in the kernel.
    pub cq_entries: u32,
    /// Provided receive buffers; when all are filled, receiving pauses until some were handed out.
    pub buffers: u16,
    /// Bytes of a receive buffer, the most a `Received` event bears. 4 KiB was best in a loopback probe.
    pub buffer_bytes: u32,
    /// So many completions end a gathering wait before its time.
    pub gather_want: u32,
}

impl Default for UringConfig {
    fn default() -> Self {
        Self {
            sq_entries: 1024,
            cq_entries: 8192,
            buffers: 1024,
            buffer_bytes: 4096,
            gather_want: 64,
        }
    }
}

/// Counted since the backend was built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections accepted and kept.
    pub accepted: u64,
    /// Connections accepted and closed at once, for their listener's limit or the end of the slots.
    pub refused: u64,
    /// Failed accepts: no descriptor left, or the peer gone before it was accepted.
    pub accept_errors: u64,
    /// Sends refused because the queue was full.
    pub send_full: u64,
    /// Receives that paused because all provided buffers were filled (io_uring only).
    pub buffers_exhausted: u64,
    /// Bytes received and handed out.
    pub received_bytes: u64,
    /// Bytes taken by the kernel.
    pub sent_bytes: u64,
    /// Datagrams handed out.
    pub datagrams_received: u64,
    /// Datagrams longer than their socket's bound, dropped.
    pub datagrams_truncated: u64,
    /// Datagrams that the kernel dropped, mostly because its buffer was full.
    pub datagrams_dropped: u64,
    /// Failed receives on UDP sockets: the kernel lacked something.
    pub datagram_errors: u64,
    /// Datagrams taken by the kernel.
    pub datagrams_sent: u64,
    /// Datagrams refused because the queue was full.
    pub datagrams_refused: u64,
    /// Datagrams that the kernel did not take: no route, a forbidden address, too long.
    pub datagrams_unsent: u64,
    /// What sources of datagrams count themselves; their datagrams and losses are in the counts above, too.
    pub sources: SourceCounters,
}

/// Default bound of the bytes queued towards one connection.
pub const SEND_QUEUE_BYTES_MAX: usize = 4 << 20;

/// Slots of a backend, 2^24: what 24 bits of an operation's user data can name.
const SLOTS_MAX: u32 = 1 << 24;
