//! The io_uring backend: multishot accept and receive, provided buffers, one system call a poll.
//!
//! Submissions wait in `backlog` until the next poll, which submits and sleeps in one call. Completions are copied out
//! of the ring first and handled after, so handlers may submit.
//!
//! Invariants:
//! - U1. Memory named by a submission stays until its completion: message headers and queued bytes in the connection's
//!   slot, which is freed only when nothing of the connection is outstanding; the waker's counter and the receive
//!   buffers until the ring is quiet. A ring that cannot be quieted leaks them.
//! - U2. `outstanding` counts submissions without their last completion, a connection's `pending` its part of them.
//! - U3. An open connection has its receive armed: a completion without MORE arms it again.
//! - U4. A killed connection submits nothing but one cancel.
//! - U5. A datagram socket has buffers of its own, so that a flood of datagrams takes none from connections; its receive
//!   is armed or due to be armed at `retry_at`.
//! - U6. The poll of a source is armed; one that ends without MORE is armed again, which tells of what has come meanwhile.
//!
//! Departs from textbook io_uring: an outgoing connection is started by connect(2) and awaited by a poll operation, so
//! that no address has to be kept for the kernel. Plain descriptors: registered ones gained nothing beyond the noise in a probe.

use std::io;
use std::mem::ManuallyDrop;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use io_uring::squeue::Entry;

use self::buffers::BufferRing;
use self::datagram::Flights;
use self::message::Message;
use self::ring::{Completion, Ring};
use super::datagram::Datagrams;
use super::life::Step;
use super::socket;
use super::source::{DatagramSource, Sources};
use super::table::{Link, Table};
use super::waker::Waker;
use super::{
    Backend, BackendConfig, BackendKind, ConnId, Counters, DatagramLimits, Event, ListenLimits,
    ListenerTag, SendRefused,
};

mod buffers;
mod complete;
mod datagram;
mod message;
mod op;
mod ring;
mod setup;

/// [`Backend`] over one io_uring. Not `Send`: it lives on the thread that built it.
pub struct UringBackend {
    ring: Ring,
    memory: ManuallyDrop<Memory>,
    batch: Vec<Completion>,
    is_stopping: bool,
    gather: Duration,
}

/// What the kernel may use while operations are outstanding (U1).
struct Memory {
    table: Table<Flight>,
    buffers: BufferRing,
    datagrams: Datagrams,
    /// What the kernel uses of each datagram socket, by its index.
    flights: Vec<Flights>,
    sources: Sources,
    waker: Waker,
    wake_counter: Box<u64>,
}

/// A connection's operations.
#[derive(Debug, Default)]
struct Flight {
    /// Submissions without their last completion.
    pending: u32,
    is_sending: bool,
    is_cancelled: bool,
    message: Option<Box<Message>>,
}

impl UringBackend {
    /// Builds the backend; the calling thread must be the one that polls it.
    ///
    /// # Errors
    /// What the kernel says of the ring or of its buffers; see [`super::probe()`] for what it means.
    pub fn new(config: BackendConfig) -> io::Result<Self> {
        let ring = Ring::new(&config.uring)?;
        let sizes = config.uring;
        let (submitter, group) = (ring.submitter(), buffers::GROUP);
        let buffers = BufferRing::register(&submitter, group, sizes.buffers, sizes.buffer_bytes)?;
        let memory = Memory {
            table: Table::new(config),
            buffers,
            datagrams: Datagrams::default(),
            flights: Vec::new(),
            sources: Sources::default(),
            waker: Waker::new(false)?,
            wake_counter: Box::new(0),
        };
        let mut backend = Self {
            ring,
            memory: ManuallyDrop::new(memory),
            batch: Vec::new(),
            is_stopping: false,
            gather: Duration::ZERO,
        };
        backend.arm_wake();
        Ok(backend)
    }

    /// Takes in a connected, blocking stream socket, for the self-test.
    pub(super) fn adopt(&mut self, fd: OwnedFd) -> Option<ConnId> {
        let id = self.memory.table.adopt(fd)?;
        self.arm_recv(id);
        Some(id)
    }

    fn link(&mut self, id: ConnId) -> Option<&mut Link<Flight>> {
        self.memory.table.slots.get_mut(id)
    }

    /// Submits an operation on a connection's descriptor.
    ///
    /// What the entry names besides the descriptor must lie in the connection's slot (U1).
    fn submit_for(&mut self, id: ConnId, entry: impl FnOnce(RawFd) -> Entry) {
        if let Some(link) = self.memory.table.slots.get_mut(id) {
            link.io.pending += 1;
            let entry = entry(link.fd.as_raw_fd());
            // SAFETY: a slot and its descriptor are released only when `pending` is 0 again; the message header is
            // boxed in the slot and the bytes it points at are locked in the slot's outbox.
            unsafe { self.ring.submit(entry) };
        }
    }

    fn arm_wake(&mut self) {
        let counter: *mut u64 = &mut *self.memory.wake_counter;
        let entry = op::wake(self.memory.waker.as_raw_fd(), counter);
        // SAFETY: the eventfd and the boxed counter are in `memory`, dropped only when nothing is outstanding.
        unsafe { self.ring.submit(entry) };
    }

    fn arm_accept(&mut self, listener: usize) {
        let fd = self.memory.table.listeners[listener].fd.as_raw_fd();
        // SAFETY: listeners stay in `memory` until nothing is outstanding.
        unsafe { self.ring.submit(op::accept(listener, fd)) };
    }

    fn arm_source(&mut self, index: usize) {
        let fd = self.memory.sources.fd(index);
        // SAFETY: sources stay in `memory` until nothing is outstanding.
        unsafe { self.ring.submit(op::watch(index, fd)) };
    }

    /// A source has become readable; `more`: its poll goes on.
    fn on_source(&mut self, index: usize, more: bool, events: &mut dyn FnMut(Event<'_>)) {
        if self.is_stopping {
            return;
        }
        if !more {
            self.arm_source(index);
        }
        let Memory { table, sources, .. } = &mut *self.memory;
        sources.take(index, &mut table.counters, events);
    }

    fn arm_recv(&mut self, id: ConnId) {
        self.submit_for(id, |fd| op::recv(id, fd));
    }

    fn arm_connect(&mut self, id: ConnId) {
        self.submit_for(id, |fd| op::connect(id, fd));
    }

    /// Starts a write of what is queued, unless one is under way.
    fn arm_send(&mut self, id: ConnId) {
        let Some(link) = self.link(id) else {
            return;
        };
        if link.io.is_sending || !link.life.is_writable() || link.outbox.is_empty() {
            return;
        }
        link.io.is_sending = true;
        let message = link.io.message.get_or_insert_default();
        let (header, count) = message.point_at(&link.outbox);
        link.outbox.lock(count);
        self.submit_for(id, |fd| op::send(id, fd, header));
    }

    fn send_dirty(&mut self) {
        while let Some(id) = self.memory.table.take_dirty() {
            self.arm_send(id);
        }
    }

    fn apply(&mut self, id: ConnId, step: Step) {
        match step {
            Step::Wait => {}
            Step::Finish => {
                if let Some(link) = self.link(id) {
                    socket::finish(&link.fd);
                }
            }
            Step::Kill => self.kill(id),
        }
    }

    /// Ends a connection's operations; it is buried when the last has completed.
    fn kill(&mut self, id: ConnId) {
        if let Some(link) = self.link(id)
            && link.io.pending > 0
            && !link.io.is_cancelled
        {
            link.io.is_cancelled = true;
            self.submit_for(id, |fd| op::cancel(id, fd));
        }
        self.bury_if_quiet(id);
    }

    fn bury_if_quiet(&mut self, id: ConnId) {
        if let Some(link) = self.link(id)
            && link.life.is_dead()
            && link.io.pending == 0
        {
            self.memory.table.mark_dead(id);
        }
    }

    fn expire(&mut self) {
        let now = Instant::now();
        while let Some((id, step)) = self.memory.table.take_expired(now) {
            self.apply(id, step);
        }
        while let Some(listener) = self.memory.table.take_retry(now) {
            self.arm_accept(listener);
        }
        while let Some(socket) = self.memory.datagrams.take_retry(now) {
            self.arm_recv_datagram(socket);
        }
    }

    /// Cancels everything and waits for it; false when the kernel did not let go in time.
    fn quiet(&mut self) -> bool {
        self.is_stopping = true;
        // SAFETY: the entry names no memory.
        unsafe { self.ring.submit(op::cancel_all()) };
        let give_up = Instant::now() + STOP_TIMEOUT;
        while self.ring.outstanding() > 0 {
            if Instant::now() > give_up
                || self.ring.enter(Some(STOP_SLICE), Duration::ZERO).is_err()
            {
                return false;
            }
            self.complete(&mut |_| {});
        }
        let of_sockets = self.memory.flights.iter().map(|flights| &flights.buffers);
        let mut rings = of_sockets.chain([&self.memory.buffers]);
        rings.all(|buffers| buffers.unregister(&self.ring.submitter()).is_ok())
    }
}

impl Backend for UringBackend {
    fn kind(&self) -> BackendKind {
        BackendKind::Uring
    }

    fn listen(
        &mut self,
        address: SocketAddr,
        tag: ListenerTag,
        limits: ListenLimits,
    ) -> io::Result<SocketAddr> {
        let (fd, bound) = socket::listen(address, false)?;
        let listener = self.memory.table.add_listener(fd, tag, limits);
        self.arm_accept(listener);
        Ok(bound)
    }

    fn connect(&mut self, address: SocketAddr, tag: u32) -> io::Result<ConnId> {
        let (id, step) = self.memory.table.connect(address, tag)?;
        match step {
            Step::Kill => self.kill(id),
            Step::Wait | Step::Finish => self.arm_connect(id),
        }
        Ok(id)
    }

    fn send(&mut self, conn: ConnId, bytes: Vec<u8>) -> Result<(), SendRefused> {
        self.memory.table.send(conn, bytes)
    }

    fn bind_udp(
        &mut self,
        address: SocketAddr,
        tag: ListenerTag,
        limits: DatagramLimits,
    ) -> io::Result<SocketAddr> {
        self.bind_datagrams(address, tag, limits)
    }

    fn watch_datagrams(
        &mut self,
        socket: ListenerTag,
        source: Box<dyn DatagramSource>,
    ) -> io::Result<()> {
        let limits = self.memory.datagrams.limits(socket)?;
        let index = self.memory.sources.add(source, socket, limits.bytes_max)?;
        self.arm_source(index);
        Ok(())
    }

    fn send_datagram(
        &mut self,
        socket: ListenerTag,
        to: SocketAddr,
        bytes: &[u8],
    ) -> Result<(), SendRefused> {
        let Memory {
            table, datagrams, ..
        } = &mut *self.memory;
        datagrams.push(socket, to, bytes, &mut table.pool, &mut table.counters)
    }

    fn queued_bytes(&self, conn: ConnId) -> Option<usize> {
        let link = self.memory.table.slots.get(conn)?;
        Some(link.outbox.bytes())
    }

    fn buffer(&mut self) -> Vec<u8> {
        self.memory.table.pool.take()
    }

    fn close(&mut self, conn: ConnId) {
        let step = self.memory.table.close(conn);
        self.apply(conn, step);
    }

    fn abort(&mut self, conn: ConnId) {
        let step = self.memory.table.abort(conn);
        self.apply(conn, step);
    }

    fn poll(
        &mut self,
        timeout: Option<Duration>,
        events: &mut dyn FnMut(Event<'_>),
    ) -> io::Result<()> {
        let has_news = self.memory.table.bury(events);
        self.send_dirty();
        self.send_datagrams();
        let memory = &*self.memory;
        let mut wait = memory.datagrams.sleep_max(memory.table.sleep_max(timeout));
        if has_news
            || memory.sources.has_listed()
            || (wait != Some(Duration::ZERO) && !memory.waker.try_park())
        {
            wait = Some(Duration::ZERO);
        }
        let entered = self.ring.enter(wait, self.gather);
        if self.memory.waker.unpark() {
            events(Event::Woken);
        }
        entered?;
        let Memory { table, sources, .. } = &mut *self.memory;
        sources.take_listed(&mut table.counters, events);
        self.complete(events);
        self.expire();
        self.memory.table.bury(events);
        Ok(())
    }

    fn set_gather(&mut self, gather: Duration) {
        self.gather = if self.ring.can_gather() {
            gather
        } else {
            Duration::ZERO
        };
    }

    fn waker(&self) -> Waker {
        self.memory.waker.clone()
    }

    fn counters(&self) -> Counters {
        let mut counters = self.tallied();
        counters.datagrams_dropped += self.memory.datagrams.dropped();
        counters
    }

    fn tallied(&self) -> Counters {
        let mut counters = self.memory.table.counters;
        self.memory.sources.count(&mut counters);
        counters
    }
}

impl Drop for UringBackend {
    fn drop(&mut self) {
        if self.quiet() {
            // SAFETY: dropped once, here, and not used after; the kernel has let go of all of it.
            unsafe { ManuallyDrop::drop(&mut self.memory) };
        }
        // Else leaked: memory that the kernel may still write to must not be used for anything else.
    }
}

const STOP_TIMEOUT: Duration = Duration::from_secs(5);
const STOP_SLICE: Duration = Duration::from_millis(50);
