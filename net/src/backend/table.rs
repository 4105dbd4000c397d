//! What both backends keep: connections, listeners, deadlines, and who has to be reported closed.
//!
//! The table does no reading or writing; it decides. A backend applies the [`Step`]s it gives, and calls
//! [`Table::mark_dead`] once no operation of a killed connection is outstanding. `Io` is what a backend adds to a
//! connection.
//!
//! Invariants: T1. A slot is freed only in [`Table::bury`], together with its `Closed` event (B1, B2). T2. A deadline
//! stands in `deadlines` if and only if the connection names it. T3. A listener's `connections` counts the
//! connections in the table that came through it.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::life::{Life, Step};
use super::outbox::{Outbox, Pool};
use super::slots::Slots;
use super::socket;
use super::{BackendConfig, ConnId, Counters, Event, ListenLimits, ListenerTag, SendRefused};

/// Connections and listeners of one backend. Calls are O(1), with deadlines O(log connections).
#[derive(Debug)]
pub(super) struct Table<Io> {
    pub(super) config: BackendConfig,
    pub(super) slots: Slots<Link<Io>>,
    pub(super) listeners: Vec<Listener>,
    pub(super) counters: Counters,
    pub(super) pool: Pool,
    deadlines: BTreeSet<(Instant, ConnId)>,
    dirty: Vec<ConnId>,
    dead: VecDeque<ConnId>,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Link<Io> {
    pub(super) fd: OwnedFd,
    pub(super) life: Life,
    pub(super) outbox: Outbox,
    /// What `connect` was given; 0 for accepted connections.
    pub(super) tag: u32,
    pub(super) io: Io,
    listener: Option<usize>,
    deadline: Option<Instant>,
    is_dirty: bool,
    is_marked_dead: bool,
}

/// One listening socket.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) fd: OwnedFd,
    /// When to accept again after a failure.
    pub(super) retry_at: Option<Instant>,
    tag: ListenerTag,
    limits: ListenLimits,
    connections: u32,
}

impl<Io: Default> Table<Io> {
    pub(super) fn new(config: BackendConfig) -> Self {
        Self {
            config,
            slots: Slots::new(),
            listeners: Vec::new(),
            counters: Counters::default(),
            pool: Pool::default(),
            deadlines: BTreeSet::new(),
            dirty: Vec::new(),
            dead: VecDeque::new(),
        }
    }

    /// Adds a listener and gives its index.
    pub(super) fn add_listener(
        &mut self,
        fd: OwnedFd,
        tag: ListenerTag,
        limits: ListenLimits,
    ) -> usize {
        self.listeners.push(Listener {
            fd,
            retry_at: None,
            tag,
            limits,
            connections: 0,
        });
        self.listeners.len() - 1
    }

    /// Takes in an accepted socket and reports it, or closes it: over the limit, no slot, or gone already.
    pub(super) fn admit(
        &mut self,
        listener: usize,
        fd: OwnedFd,
        events: &mut dyn FnMut(Event<'_>),
    ) -> Option<ConnId> {
        let entry = &mut self.listeners[listener];
        if entry.connections >= entry.limits.connections_max || !self.slots.has_room() {
            self.counters.refused += 1;
            return None;
        }
        let Ok(peer) = socket::accepted(&fd) else {
            self.counters.accept_errors += 1;
            return None;
        };
        let mut link = Link::new(fd, Life::open(), entry.limits.send_queue_bytes_max);
        link.listener = Some(listener);
        let conn = self.slots.insert(link)?;
        entry.connections += 1;
        self.counters.accepted += 1;
        events(Event::Accepted {
            conn,
            listener: entry.tag,
            peer,
        });
        Some(conn)
    }

    /// Takes in a connection that is up, from elsewhere.
    pub(super) fn adopt(&mut self, fd: OwnedFd) -> Option<ConnId> {
        let bytes_max = self.config.send_queue_bytes_max;
        self.slots.insert(Link::new(fd, Life::open(), bytes_max))
    }

    /// Starts an outgoing connection. The step is `Kill` when it failed at once.
    pub(super) fn connect(&mut self, address: SocketAddr, tag: u32) -> io::Result<(ConnId, Step)> {
        if !self.slots.has_room() {
            return Err(io::Error::other("all connection slots are in use"));
        }
        let (fd, failed) = socket::connect(address)?;
        let mut link = Link::new(fd, Life::connecting(), self.config.send_queue_bytes_max);
        link.tag = tag;
        let step = match failed {
            Some(kind) => link.life.on_error(kind),
            None => Step::Wait,
        };
        let id = self
            .slots
            .insert(link)
            .ok_or_else(|| io::Error::other("all connection slots are in use"))?;
        if step == Step::Wait {
            self.set_deadline(id, self.config.connect_timeout);
        }
        Ok((id, step))
    }

    /// Queues bytes and remembers to write them.
    pub(super) fn send(&mut self, id: ConnId, bytes: Vec<u8>) -> Result<(), SendRefused> {
        let Some(link) = self.slots.get_mut(id) else {
            return Err(SendRefused::Closed);
        };
        if !link.life.is_sendable() {
            return Err(SendRefused::Closed);
        }
        if !link.outbox.try_push(bytes, &mut self.pool) {
            self.counters.send_full += 1;
            return Err(SendRefused::Full);
        }
        self.mark_dirty(id);
        Ok(())
    }

    /// The owner closes; sets the linger deadline.
    pub(super) fn close(&mut self, id: ConnId) -> Step {
        let Some(link) = self.slots.get_mut(id) else {
            return Step::Wait;
        };
        let was_sendable = link.life.is_sendable();
        let step = link.life.on_close(link.outbox.is_empty());
        if was_sendable && step != Step::Kill {
            self.set_deadline(id, self.config.linger);
        }
        step
    }

    /// The owner aborts.
    pub(super) fn abort(&mut self, id: ConnId) -> Step {
        let Some(link) = self.slots.get_mut(id) else {
            return Step::Wait;
        };
        let step = link.life.on_abort(link.outbox.is_empty());
        if step == Step::Kill {
            socket::reset_on_close(&link.fd);
        }
        step
    }

    /// The peer sent FIN; sets the linger deadline if something is still to be delivered.
    pub(super) fn peer_finished(&mut self, id: ConnId) -> Step {
        let Some(link) = self.slots.get_mut(id) else {
            return Step::Wait;
        };
        let was_open = link.life.is_open();
        let step = link.life.on_peer_finished(link.outbox.is_empty());
        if was_open && step == Step::Wait {
            self.set_deadline(id, self.config.linger);
        }
        step
    }

    /// An outgoing connection is up: reports it and readies what was queued meanwhile.
    pub(super) fn connected(&mut self, id: ConnId, events: &mut dyn FnMut(Event<'_>)) {
        self.clear_deadline(id);
        let Some(link) = self.slots.get_mut(id) else {
            return;
        };
        link.life.on_connected();
        events(Event::Connected {
            conn: id,
            tag: link.tag,
        });
        if !link.outbox.is_empty() {
            self.mark_dirty(id);
        }
    }

    /// Notes that queued bytes wait for a write.
    pub(super) fn mark_dirty(&mut self, id: ConnId) {
        if let Some(link) = self.slots.get_mut(id)
            && !link.is_dirty
        {
            link.is_dirty = true;
            self.dirty.push(id);
        }
    }

    /// A connection with queued bytes to write, each once.
    pub(super) fn take_dirty(&mut self) -> Option<ConnId> {
        while let Some(id) = self.dirty.pop() {
            if let Some(link) = self.slots.get_mut(id) {
                link.is_dirty = false;
                return Some(id);
            }
        }
        None
    }

    /// Nothing of a killed connection is outstanding any more: it will be buried.
    pub(super) fn mark_dead(&mut self, id: ConnId) {
        self.clear_deadline(id);
        if let Some(link) = self.slots.get_mut(id) {
            debug_assert!(link.life.is_dead(), "only the dead are buried");
            if !link.is_marked_dead {
                link.is_marked_dead = true;
                self.dead.push_back(id);
            }
        }
    }

    /// Closes the sockets of the dead, frees their slots and reports them; whether there were any.
    pub(super) fn bury(&mut self, events: &mut dyn FnMut(Event<'_>)) -> bool {
        let mut buried = false;
        while let Some(conn) = self.dead.pop_front() {
            let Some(link) = self.slots.remove(conn) else {
                continue;
            };
            if let Some(listener) = link.listener {
                self.listeners[listener].connections -= 1;
            }
            let reason = link.life.reason();
            drop(link);
            buried = true;
            events(Event::Closed { conn, reason });
        }
        buried
    }

    /// How long a poll may sleep: until `timeout`, a deadline or a listener's retry, whichever is first.
    pub(super) fn sleep_max(&self, timeout: Option<Duration>) -> Option<Duration> {
        let deadline = self.deadlines.first().map(|(at, _)| *at);
        let retry = self.listeners.iter().filter_map(|l| l.retry_at).min();
        let Some(at) = deadline.into_iter().chain(retry).min() else {
            return timeout;
        };
        let until = at.saturating_duration_since(Instant::now());
        Some(timeout.map_or(until, |timeout| timeout.min(until)))
    }

    /// A connection whose deadline has passed, and what follows from it.
    pub(super) fn take_expired(&mut self, now: Instant) -> Option<(ConnId, Step)> {
        let (at, id) = *self.deadlines.first()?;
        if at > now {
            return None;
        }
        self.clear_deadline(id);
        let link = self.slots.get_mut(id)?;
        Some((id, link.life.on_deadline()))
    }

    /// A listener that is due to accept again.
    pub(super) fn take_retry(&mut self, now: Instant) -> Option<usize> {
        let due = |listener: &Listener| listener.retry_at.is_some_and(|at| at <= now);
        let index = self.listeners.iter().position(due)?;
        self.listeners[index].retry_at = None;
        Some(index)
    }

    fn set_deadline(&mut self, id: ConnId, after: Duration) {
        self.clear_deadline(id);
        if let Some(link) = self.slots.get_mut(id) {
            let at = Instant::now() + after;
            link.deadline = Some(at);
            self.deadlines.insert((at, id));
        }
    }

    fn clear_deadline(&mut self, id: ConnId) {
        if let Some(at) = self.slots.get_mut(id).and_then(|link| link.deadline.take()) {
            self.deadlines.remove(&(at, id));
        }
    }
}

impl<Io: Default> Link<Io> {
    fn new(fd: OwnedFd, life: Life, send_queue_bytes_max: usize) -> Self {
        Self {
            fd,
            life,
            outbox: Outbox::new(send_queue_bytes_max),
            tag: 0,
            io: Io::default(),
            listener: None,
            deadline: None,
            is_dirty: false,
            is_marked_dead: false,
        }
    }
}
