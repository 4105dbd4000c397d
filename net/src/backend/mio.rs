//! The epoll backend, through mio, for machines where io_uring is refused (many containers).
//!
//! Edge-triggered: every descriptor is registered once, for reading and writing, and read or written until the kernel
//! says "would block". A connection that has more than its share to read goes on the `ready` list and continues in the
//! next poll, which then does not sleep. Datagram sockets likewise, one recvfrom a datagram: a probe found recvmmsg of 64 only
//! 7 % faster.
//!
//! Invariants: M1. A connection that may have bytes to read without another edge coming stands in `ready`. M2. An event
//! of a token whose connection is gone finds nothing: tokens carry the generation.
//!
//! Cost: one epoll_wait a poll, one recv a 64 KiB (and one that finds nothing), one sendmsg a burst of sends, one system
//! call a datagram.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::io::Errno;
use rustix::net::{self, RecvFlags, SendAncillaryBuffer, SendFlags, SocketFlags};

use super::datagram::Datagrams;
use super::gro;
use super::life::Step;
use super::socket;
use super::source::{DatagramSource, Sources};
use super::table::Table;
use super::waker::Waker;
use super::{
    Backend, BackendConfig, BackendKind, ConnId, Counters, DatagramLimits, Event, ListenLimits,
    ListenerTag, SendRefused,
};

/// [`Backend`] over one epoll instance.
pub struct MioBackend {
    poll: Poll,
    ready_events: Events,
    table: Table<Ready>,
    datagrams: Datagrams,
    sources: Sources,
    ready: Vec<ConnId>,
    waker: Waker,
    receive_buffer: Vec<u8>,
    gather: Duration,
}

/// What mio keeps of a connection.
#[derive(Debug, Default)]
struct Ready {
    is_listed: bool,
}

impl MioBackend {
    /// Builds the backend.
    ///
    /// # Errors
    /// No descriptor or memory for the epoll instance or the eventfd.
    pub fn new(config: BackendConfig) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Waker::new(true)?;
        let fd = waker.as_raw_fd();
        poll.registry()
            .register(&mut SourceFd(&fd), WAKER, Interest::READABLE)?;
        Ok(Self {
            poll,
            ready_events: Events::with_capacity(EVENTS_MAX),
            table: Table::new(config),
            datagrams: Datagrams::default(),
            sources: Sources::default(),
            ready: Vec::new(),
            waker,
            receive_buffer: vec![0; RECEIVE_BYTES],
            gather: Duration::ZERO,
        })
    }

    fn register(&self, fd: RawFd, token: Token, interest: Interest) -> io::Result<()> {
        let registry = self.poll.registry();
        registry.register(&mut SourceFd(&fd), token, interest)
    }

    fn apply(&mut self, id: ConnId, step: Step) {
        let Some(link) = self.table.slots.get(id) else {
            return;
        };
        match step {
            Step::Wait => {}
            Step::Finish => socket::finish(&link.fd),
            Step::Kill => {
                let fd = link.fd.as_raw_fd();
                // An error means that it was not registered: it failed before.
                let _ = self.poll.registry().deregister(&mut SourceFd(&fd));
                self.table.mark_dead(id);
            }
        }
    }

    fn on_event(&mut self, token: Token, is_readable: bool, events: &mut dyn FnMut(Event<'_>)) {
        if token == WAKER {
            return self.waker.drain();
        }
        if let Some(source) = source_of(token) {
            return self.sources.take(source, &mut self.table.counters, events);
        }
        if let Some(socket) = datagram_socket_of(token) {
            if is_readable {
                self.read_datagrams(socket, events);
            }
            return self.write_datagrams(socket);
        }
        if let Some(listener) = listener_of(token) {
            return self.accept(listener, events);
        }
        let id = ConnId::from_bits(token.0 as u64);
        let Some(link) = self.table.slots.get(id) else {
            return;
        };
        if link.life.is_connecting() {
            self.finish_connect(id, events);
        }
        if is_readable {
            self.read(id, events);
        }
        self.write(id);
    }

    fn accept(&mut self, listener: usize, events: &mut dyn FnMut(Event<'_>)) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        for _ in 0..ACCEPTS_MAX {
            let Some(entry) = self.table.listeners.get_mut(listener) else {
                return;
            };
            match net::accept_with(&entry.fd, flags) {
                Ok(fd) => {
                    let raw = fd.as_raw_fd();
                    if let Some(id) = self.table.admit(listener, fd, events) {
                        self.watch(id, raw);
                    }
                }
                Err(Errno::AGAIN) => return,
                Err(errno) => {
                    self.table.counters.accept_errors += 1;
                    if !socket::is_passing(errno) {
                        entry.retry_at = Some(Instant::now() + socket::ACCEPT_RETRY);
                        return;
                    }
                }
            }
        }
        // No edge will come for those still waiting.
        self.table.listeners[listener].retry_at = Some(Instant::now());
    }

    fn watch(&mut self, id: ConnId, fd: RawFd) {
        let interest = Interest::READABLE | Interest::WRITABLE;
        let Err(error) = self.register(fd, token_of(id), interest) else {
            return;
        };
        if let Some(link) = self.table.slots.get_mut(id) {
            let step = link.life.on_error(error.kind());
            self.apply(id, step);
        }
    }

    fn finish_connect(&mut self, id: ConnId, events: &mut dyn FnMut(Event<'_>)) {
        let Some(link) = self.table.slots.get_mut(id) else {
            return;
        };
        match socket::connected(&link.fd) {
            Ok(()) => self.table.connected(id, events),
            Err(io::ErrorKind::WouldBlock) => {}
            Err(kind) => {
                let step = link.life.on_error(kind);
                self.apply(id, step);
            }
        }
    }

    /// Reads until nothing is left or the connection has had its share.
    fn read(&mut self, id: ConnId, events: &mut dyn FnMut(Event<'_>)) {
        let mut share = READ_SHARE_BYTES;
        loop {
            let Some(link) = self.table.slots.get_mut(id) else {
                return;
            };
            if link.life.is_dead() || link.life.is_connecting() {
                return;
            }
            if share == 0 {
                if !link.io.is_listed {
                    link.io.is_listed = true;
                    self.ready.push(id);
                }
                return;
            }
            let flags = RecvFlags::DONTWAIT;
            let step = match net::recv(&link.fd, self.receive_buffer.as_mut_slice(), flags) {
                Ok((0, _)) => {
                    let step = self.table.peer_finished(id);
                    return self.apply(id, step);
                }
                Ok((count, _)) => {
                    share = share.saturating_sub(count);
                    if link.life.is_open() {
                        self.table.counters.received_bytes += count as u64;
                        let bytes = &self.receive_buffer[..count];
                        events(Event::Received { conn: id, bytes });
                    }
                    Step::Wait
                }
                Err(Errno::INTR) => Step::Wait,
                Err(Errno::AGAIN) => return,
                Err(errno) => link.life.on_error(io::Error::from(errno).kind()),
            };
            self.apply(id, step);
        }
    }

    /// Writes until nothing is queued or the kernel takes no more.
    fn write(&mut self, id: ConnId) {
        loop {
            let Some(link) = self.table.slots.get_mut(id) else {
                return;
            };
            if !link.life.is_writable() || link.outbox.is_empty() {
                return;
            }
            let mut slices = [IoSlice::new(&[]); IOVECS_MAX];
            let mut count = 0;
            for (slice, bytes) in slices.iter_mut().zip(link.outbox.slices(IOVECS_MAX)) {
                *slice = IoSlice::new(bytes);
                count += 1;
            }
            let mut no_control = SendAncillaryBuffer::default();
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            let step = match net::sendmsg(&link.fd, &slices[..count], &mut no_control, flags) {
                Ok(sent) => {
                    link.outbox.advance(sent, &mut self.table.pool);
                    self.table.counters.sent_bytes += sent as u64;
                    if link.outbox.is_empty() {
                        link.life.on_drained()
                    } else {
                        Step::Wait
                    }
                }
                Err(Errno::INTR) => Step::Wait,
                Err(Errno::AGAIN) => return,
                Err(errno) => link.life.on_error(io::Error::from(errno).kind()),
            };
            self.apply(id, step);
        }
    }

    /// Receives until nothing is left or the socket has had its share.
    fn read_datagrams(&mut self, index: usize, events: &mut dyn FnMut(Event<'_>)) {
        if self.datagrams.sockets[index].limits.gro {
            return self.read_messages(index, events);
        }
        for _ in 0..DATAGRAMS_SHARE {
            let socket = &mut self.datagrams.sockets[index];
            let counters = &mut self.table.counters;
            let buffer = self.receive_buffer.as_mut_slice();
            match net::recvfrom(&socket.fd, buffer, RecvFlags::DONTWAIT) {
                Ok((count, ..)) if count > socket.limits.bytes_max => {
                    counters.datagrams_truncated += 1;
                }
                Ok((count, _, from)) => {
                    let Some(peer) = from.and_then(|from| SocketAddr::try_from(from).ok()) else {
                        continue;
                    };
                    counters.datagrams_received += 1;
                    counters.received_bytes += count as u64;
                    let (socket, bytes) = (socket.tag, &self.receive_buffer[..count]);
                    events(Event::Datagram {
                        socket,
                        peer,
                        bytes,
                    });
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => {
                    counters.datagram_errors += 1;
                    socket.retry_at = Some(Instant::now() + socket::ACCEPT_RETRY);
                    return;
                }
            }
        }
        self.datagrams.sockets[index].is_listed = true;
    }

    /// As [`Self::read_datagrams`], each message perhaps of several datagrams.
    fn read_messages(&mut self, index: usize, events: &mut dyn FnMut(Event<'_>)) {
        let before = self.table.counters.datagrams_received;
        for _ in 0..DATAGRAMS_SHARE {
            // A message may be of several datagrams; what is refused of it is not counted as received.
            if self.table.counters.datagrams_received - before >= DATAGRAMS_SHARE as u64 {
                break;
            }
            let socket = &mut self.datagrams.sockets[index];
            let counters = &mut self.table.counters;
            match gro::receive(&socket.fd, self.receive_buffer.as_mut_slice()) {
                Ok(received) if received.is_truncated => counters.datagrams_truncated += 1,
                Ok(received) => {
                    let Some(peer) = received.peer else {
                        continue;
                    };
                    let message = gro::Message {
                        socket: socket.tag,
                        peer,
                        bytes: &self.receive_buffer[..received.len],
                        segment_bytes: received.segment_bytes,
                    };
                    message.hand_out(socket.limits, counters, events);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => {
                    counters.datagram_errors += 1;
                    socket.retry_at = Some(Instant::now() + socket::ACCEPT_RETRY);
                    return;
                }
            }
        }
        self.datagrams.sockets[index].is_listed = true;
    }

    /// Sends until nothing is queued or the kernel takes no more.
    fn write_datagrams(&mut self, index: usize) {
        let socket = &mut self.datagrams.sockets[index];
        while let Some(outgoing) = socket.pop() {
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match net::sendto(&socket.fd, &outgoing.bytes, flags, &outgoing.to) {
                Err(Errno::INTR) => socket.push_back(outgoing),
                // An edge comes when there is room.
                Err(Errno::AGAIN) => return socket.push_back(outgoing),
                sent => {
                    let (pool, counters) = (&mut self.table.pool, &mut self.table.counters);
                    socket.on_sent(outgoing, sent.is_ok(), pool, counters);
                }
            }
        }
    }

    fn write_dirty(&mut self) {
        while let Some(id) = self.table.take_dirty() {
            self.write(id);
        }
        for index in 0..self.datagrams.sockets.len() {
            self.write_datagrams(index);
        }
    }

    /// Continues those that had more to read than their share.
    fn read_ready(&mut self, events: &mut dyn FnMut(Event<'_>)) {
        for id in std::mem::take(&mut self.ready) {
            if let Some(link) = self.table.slots.get_mut(id) {
                link.io.is_listed = false;
                self.read(id, events);
            }
        }
        for index in 0..self.datagrams.sockets.len() {
            if std::mem::take(&mut self.datagrams.sockets[index].is_listed) {
                self.read_datagrams(index, events);
            }
        }
        self.sources.take_listed(&mut self.table.counters, events);
    }

    fn has_ready(&self) -> bool {
        let mut sockets = self.datagrams.sockets.iter();
        !self.ready.is_empty()
            || sockets.any(|socket| socket.is_listed)
            || self.sources.has_listed()
    }

    fn expire(&mut self, events: &mut dyn FnMut(Event<'_>)) {
        let now = Instant::now();
        while let Some((id, step)) = self.table.take_expired(now) {
            self.apply(id, step);
        }
        while let Some(listener) = self.table.take_retry(now) {
            self.accept(listener, events);
        }
        while let Some(socket) = self.datagrams.take_retry(now) {
            self.read_datagrams(socket, events);
        }
    }

    /// Sleeps until an event, at most `wait`, and handles what came.
    fn wait(
        &mut self,
        wait: Option<Duration>,
        events: &mut dyn FnMut(Event<'_>),
    ) -> io::Result<()> {
        let waited = self.poll.poll(&mut self.ready_events, wait);
        if self.waker.unpark() {
            events(Event::Woken);
        }
        match waited {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            waited => waited?,
        }
        let came = std::mem::replace(&mut self.ready_events, Events::with_capacity(0));
        for event in &came {
            let is_readable = event.is_readable() || event.is_read_closed() || event.is_error();
            self.on_event(event.token(), is_readable, events);
        }
        self.ready_events = came;
        Ok(())
    }
}

impl Backend for MioBackend {
    fn kind(&self) -> BackendKind {
        BackendKind::Mio
    }

    fn listen(
        &mut self,
        address: SocketAddr,
        tag: ListenerTag,
        limits: ListenLimits,
    ) -> io::Result<SocketAddr> {
        let (fd, bound) = socket::listen(address, true)?;
        let raw = fd.as_raw_fd();
        let listener = self.table.add_listener(fd, tag, limits);
        self.register(raw, Token(LISTENER_0 + listener), Interest::READABLE)?;
        Ok(bound)
    }

    fn connect(&mut self, address: SocketAddr, tag: u32) -> io::Result<ConnId> {
        let (id, step) = self.table.connect(address, tag)?;
        if step == Step::Wait {
            let raw = self.table.slots.get(id).map(|link| link.fd.as_raw_fd());
            if let Some(raw) = raw {
                self.watch(id, raw);
            }
        }
        self.apply(id, step);
        Ok(id)
    }

    fn send(&mut self, conn: ConnId, bytes: Vec<u8>) -> Result<(), SendRefused> {
        self.table.send(conn, bytes)
    }

    fn bind_udp(
        &mut self,
        address: SocketAddr,
        tag: ListenerTag,
        limits: DatagramLimits,
    ) -> io::Result<SocketAddr> {
        let (index, bound) = self.datagrams.bind(address, tag, limits, true)?;
        let raw = self.datagrams.sockets[index].fd.as_raw_fd();
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.register(raw, Token(DATAGRAM_SOCKET_0 + index), interest)
            .inspect_err(|_| self.datagrams.unbind_last())?;
        Ok(bound)
    }

    fn watch_datagrams(
        &mut self,
        socket: ListenerTag,
        source: Box<dyn DatagramSource>,
    ) -> io::Result<()> {
        let limits = self.datagrams.limits(socket)?;
        let index = self.sources.add(source, socket, limits.bytes_max)?;
        let (fd, token) = (self.sources.fd(index), Token(SOURCE_0 + index));
        // Registering tells of what has come before.
        self.register(fd, token, Interest::READABLE)
            .inspect_err(|_| self.sources.remove_last())
    }

    fn send_datagram(
        &mut self,
        socket: ListenerTag,
        to: SocketAddr,
        bytes: &[u8],
    ) -> Result<(), SendRefused> {
        let (pool, counters) = (&mut self.table.pool, &mut self.table.counters);
        self.datagrams.push(socket, to, bytes, pool, counters)
    }

    fn queued_bytes(&self, conn: ConnId) -> Option<usize> {
        let link = self.table.slots.get(conn)?;
        Some(link.outbox.bytes())
    }

    fn buffer(&mut self) -> Vec<u8> {
        self.table.pool.take()
    }

    fn close(&mut self, conn: ConnId) {
        let step = self.table.close(conn);
        self.apply(conn, step);
    }

    fn abort(&mut self, conn: ConnId) {
        let step = self.table.abort(conn);
        self.apply(conn, step);
    }

    fn poll(
        &mut self,
        timeout: Option<Duration>,
        events: &mut dyn FnMut(Event<'_>),
    ) -> io::Result<()> {
        self.write_dirty();
        let has_news = self.table.bury(events);
        let mut wait = self.datagrams.sleep_max(self.table.sleep_max(timeout));
        if has_news || self.has_ready() || (wait != Some(Duration::ZERO) && !self.waker.try_park())
        {
            wait = Some(Duration::ZERO);
        }
        self.read_ready(events);
        if wait.is_none_or(|wait| wait > self.gather) && !self.gather.is_zero() {
            // The waker stays parked: whoever wakes it makes epoll return at once afterwards.
            std::thread::sleep(self.gather);
        }
        self.wait(wait, events)?;
        self.expire(events);
        self.table.bury(events);
        Ok(())
    }

    fn set_gather(&mut self, gather: Duration) {
        self.gather = gather;
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn counters(&self) -> Counters {
        let mut counters = self.tallied();
        counters.datagrams_dropped += self.datagrams.dropped();
        counters
    }

    fn tallied(&self) -> Counters {
        let mut counters = self.table.counters;
        self.sources.count(&mut counters);
        counters
    }
}

fn token_of(id: ConnId) -> Token {
    Token(id.to_bits() as usize)
}

fn listener_of(token: Token) -> Option<usize> {
    token.0.checked_sub(LISTENER_0)
}

fn datagram_socket_of(token: Token) -> Option<usize> {
    token.0.checked_sub(DATAGRAM_SOCKET_0)
}

fn source_of(token: Token) -> Option<usize> {
    token.0.checked_sub(SOURCE_0)
}

/// Above all connection ids, which have 56 bits.
const LISTENER_0: usize = 1 << 60;
/// Above all listeners.
const DATAGRAM_SOCKET_0: usize = 1 << 61;
/// Above all datagram sockets.
const SOURCE_0: usize = 1 << 62;
const WAKER: Token = Token(usize::MAX);

/// A token must hold a connection's 56 bits.
const _: () = assert!(usize::BITS >= 64, "64-bit machines only");

const EVENTS_MAX: usize = 1024;
/// Longer than any datagram.
const RECEIVE_BYTES: usize = 64 << 10;
/// Bytes read from one connection before the others have their turn.
const READ_SHARE_BYTES: usize = 256 << 10;
/// Datagrams received on one socket before the others have their turn.
const DATAGRAMS_SHARE: usize = 256;
/// Connections accepted before the others have their turn.
const ACCEPTS_MAX: usize = 256;
const IOVECS_MAX: usize = 64;
