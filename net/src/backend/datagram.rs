//! UDP sockets of a backend: what waits to be sent, bounded in bytes, and what both implementations share.
//!
//! A datagram socket has no peer and no end: it is bound once and stays until the backend is dropped. Errors that others
//! cause (an unreachable port, a lost route) concern one datagram, which is counted and forgotten; the kernel reports none of
//! them on a socket that is not connected and did not ask (no IP_RECVERR).
//!
//! Invariants: D1. `queued_bytes` is the sum of what waits and what the kernel reads, each datagram counted with
//! [`DATAGRAM_OVERHEAD_BYTES`], so that empty ones are bounded, too. D2. A socket in use is never removed: an index
//! stays valid.
//!
//! Cost: one copy of each datagram sent, into a buffer used again.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use super::outbox::Pool;
use super::{Counters, DatagramLimits, ListenerTag, SendRefused, gro, socket};

/// The UDP sockets of one backend, in the order of their binding.
#[derive(Debug, Default)]
pub(super) struct Datagrams {
    pub(super) sockets: Vec<DatagramSocket>,
}

/// One bound UDP socket.
#[derive(Debug)]
pub(super) struct DatagramSocket {
    pub(super) fd: OwnedFd,
    pub(super) tag: ListenerTag,
    pub(super) limits: DatagramLimits,
    /// When to receive again after a failure.
    pub(super) retry_at: Option<Instant>,
    /// mio: there may be more to read without another edge.
    pub(super) is_listed: bool,
    queue: VecDeque<Outgoing>,
    queued_bytes: usize,
}

/// A datagram that waits to be sent.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) to: SocketAddr,
    pub(super) bytes: Vec<u8>,
}

impl Datagrams {
    /// Binds a socket and gives its index and address.
    ///
    /// # Errors
    /// What the kernel says; `InvalidInput` for a bound of more than any datagram holds, a tag in use, or one socket too many.
    pub(super) fn bind(
        &mut self,
        address: SocketAddr,
        tag: ListenerTag,
        limits: DatagramLimits,
        nonblocking: bool,
    ) -> io::Result<(usize, SocketAddr)> {
        let is_taken = self.sockets.iter().any(|socket| socket.tag == tag);
        let is_full = self.sockets.len() >= DATAGRAM_SOCKETS_MAX;
        if is_taken || is_full || limits.bytes_max > DATAGRAM_BYTES_MAX {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let (fd, bound) = socket::bind_udp(address, limits.kernel_buffer_bytes, nonblocking)?;
        if limits.gro {
            gro::enable(&fd)?;
        }
        self.sockets.push(DatagramSocket {
            fd,
            tag,
            limits,
            retry_at: None,
            is_listed: false,
            queue: VecDeque::new(),
            queued_bytes: 0,
        });
        Ok((self.sockets.len() - 1, bound))
    }

    /// The bounds of the socket with this tag.
    ///
    /// # Errors
    /// `InvalidInput`: there is none.
    pub(super) fn limits(&self, tag: ListenerTag) -> io::Result<DatagramLimits> {
        let socket = self.sockets.iter().find(|socket| socket.tag == tag);
        socket
            .map(|socket| socket.limits)
            .ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }

    /// Takes back the binding just made, of which nothing is used yet.
    pub(super) fn unbind_last(&mut self) {
        self.sockets.pop();
    }

    /// Queues a copy of `bytes`.
    pub(super) fn push(
        &mut self,
        tag: ListenerTag,
        to: SocketAddr,
        bytes: &[u8],
        pool: &mut Pool,
        counters: &mut Counters,
    ) -> Result<(), SendRefused> {
        let Some(socket) = self.sockets.iter_mut().find(|socket| socket.tag == tag) else {
            return Err(SendRefused::Closed);
        };
        let cost = bytes.len() + DATAGRAM_OVERHEAD_BYTES;
        if cost > socket.limits.send_queue_bytes_max - socket.queued_bytes {
            counters.datagrams_refused += 1;
            return Err(SendRefused::Full);
        }
        socket.queued_bytes += cost;
        let mut copy = pool.take();
        copy.extend_from_slice(bytes);
        socket.queue.push_back(Outgoing { to, bytes: copy });
        Ok(())
    }

    /// How long a poll may sleep: until `timeout` or a socket's retry.
    pub(super) fn sleep_max(&self, timeout: Option<Duration>) -> Option<Duration> {
        let Some(at) = self.sockets.iter().filter_map(|s| s.retry_at).min() else {
            return timeout;
        };
        let until = at.saturating_duration_since(Instant::now());
        Some(timeout.map_or(until, |timeout| timeout.min(until)))
    }

    /// A socket that is due to receive again.
    pub(super) fn take_retry(&mut self, now: Instant) -> Option<usize> {
        let due = |socket: &DatagramSocket| socket.retry_at.is_some_and(|at| at <= now);
        let index = self.sockets.iter().position(due)?;
        self.sockets[index].retry_at = None;
        Some(index)
    }

    /// Datagrams that the kernel dropped on these sockets, mostly because nobody received them in time.
    pub(super) fn dropped(&self) -> u64 {
        let drops = |socket: &DatagramSocket| kernel_drops(&socket.fd).unwrap_or(0);
        self.sockets.iter().map(drops).sum()
    }
}

impl DatagramSocket {
    /// Whether nothing waits to be handed to the kernel.
    pub(super) fn is_drained(&self) -> bool {
        self.queue.is_empty()
    }

    /// The next datagram to hand to the kernel; [`Self::on_sent`] follows when the kernel is done with it.
    pub(super) fn pop(&mut self) -> Option<Outgoing> {
        self.queue.pop_front()
    }

    /// The kernel took none of it for now: it is next again.
    pub(super) fn push_back(&mut self, outgoing: Outgoing) {
        self.queue.push_front(outgoing);
    }

    /// The kernel is done with a datagram: counts it, and gives its buffer back.
    pub(super) fn on_sent(
        &mut self,
        outgoing: Outgoing,
        is_sent: bool,
        pool: &mut Pool,
        counters: &mut Counters,
    ) {
        let len = outgoing.bytes.len();
        self.queued_bytes -= len + DATAGRAM_OVERHEAD_BYTES;
        if is_sent {
            counters.datagrams_sent += 1;
            counters.sent_bytes += len as u64;
        } else {
            counters.datagrams_unsent += 1;
        }
        pool.give(outgoing.bytes);
    }
}

/// The kernel's count of datagrams dropped on a socket.
fn kernel_drops(fd: &OwnedFd) -> io::Result<u64> {
    let mut figures = [0u32; MEMINFO_FIGURES];
    let mut len = size_of_val(&figures) as libc::socklen_t;
    // SAFETY: `figures` has room for `len` bytes, both live through the call, and any bytes make a u32.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            figures.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(u64::from(figures[MEMINFO_DROPS]))
}

/// An address as the kernel writes it: family in the machine's order, port, address, for IPv6 its flow and scope.
///
/// `None` for another family or too few bytes.
pub(super) fn address_of(name: &[u8]) -> Option<SocketAddr> {
    let (family, rest) = name.split_first_chunk::<2>()?;
    let (port, rest) = rest.split_first_chunk::<2>()?;
    let port = u16::from_be_bytes(*port);
    match i32::from(u16::from_ne_bytes(*family)) {
        libc::AF_INET => {
            let (ip, _) = rest.split_first_chunk::<4>()?;
            Some(SocketAddrV4::new(Ipv4Addr::from(*ip), port).into())
        }
        libc::AF_INET6 => {
            let (flow, rest) = rest.split_first_chunk::<4>()?;
            let (ip, rest) = rest.split_first_chunk::<16>()?;
            let (scope, _) = rest.split_first_chunk::<4>()?;
            let (flow, scope) = (u32::from_ne_bytes(*flow), u32::from_ne_bytes(*scope));
            Some(SocketAddrV6::new(Ipv6Addr::from(*ip), port, flow, scope).into())
        }
        _ => None,
    }
}

/// Datagram sockets of one backend.
const DATAGRAM_SOCKETS_MAX: usize = 16;
/// The longest datagram that UDP over IPv4 carries: 65,535 less both headers.
const DATAGRAM_BYTES_MAX: usize = 65_507;
/// What a queued datagram counts beside its bytes.
const DATAGRAM_OVERHEAD_BYTES: usize = 64;
/// Figures of SO_MEMINFO, and which of them counts drops (linux/sock_diag.h).
const MEMINFO_FIGURES: usize = 9;
const MEMINFO_DROPS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_as_the_kernel_writes_them() {
        let mut v4 = (libc::AF_INET as u16).to_ne_bytes().to_vec();
        v4.extend_from_slice(&[0x1f, 0x90, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(address_of(&v4), Some("127.0.0.1:8080".parse().unwrap()));
        let mut v6 = (libc::AF_INET6 as u16).to_ne_bytes().to_vec();
        v6.extend_from_slice(&[0x1f, 0x90, 0, 0, 0, 0]);
        v6.extend_from_slice(&Ipv6Addr::LOCALHOST.octets());
        assert_eq!(address_of(&v6), None, "no scope");
        v6.extend_from_slice(&[0; 4]);
        assert_eq!(address_of(&v6), Some("[::1]:8080".parse().unwrap()));
        for cut in 0..8 {
            assert_eq!(address_of(&v4[..cut]), None);
        }
        assert_eq!(address_of(&[1, 0, 0, 0, 0, 0, 0, 0]), None, "a Unix socket");
    }

    #[test]
    fn the_queue_is_bounded_by_bytes_and_by_number() {
        let (mut pool, mut counters) = (Pool::default(), Counters::default());
        let mut datagrams = Datagrams::default();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let limits = DatagramLimits {
            bytes_max: 1_232,
            send_queue_bytes_max: 10 * DATAGRAM_OVERHEAD_BYTES,
            kernel_buffer_bytes: 1 << 16,
            gro: false,
        };
        let tag = ListenerTag(3);
        let (index, bound) = datagrams.bind(any, tag, limits, true).unwrap();
        assert!(datagrams.bind(any, tag, limits, true).is_err(), "one a tag");
        let mut push = |datagrams: &mut Datagrams, counters: &mut Counters| {
            datagrams.push(tag, bound, &[], &mut pool, counters)
        };
        for _ in 0..10 {
            assert_eq!(push(&mut datagrams, &mut counters), Ok(()));
        }
        assert_eq!(push(&mut datagrams, &mut counters), Err(SendRefused::Full));
        assert_eq!(counters.datagrams_refused, 1);
        let socket = &mut datagrams.sockets[index];
        let first = socket.pop().unwrap();
        socket.push_back(first);
        let first = socket.pop().unwrap();
        let mut spare = Pool::default();
        socket.on_sent(first, true, &mut spare, &mut counters);
        assert_eq!(push(&mut datagrams, &mut counters), Ok(()));
        let unknown = datagrams.push(ListenerTag(9), bound, &[], &mut spare, &mut counters);
        assert_eq!(unknown, Err(SendRefused::Closed));
    }
}
