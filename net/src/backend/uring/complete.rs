//! What follows from a completion.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::time::Instant;

use rustix::io::Errno;

use super::UringBackend;
use super::op::Op;
use super::ring::Completion;
use crate::backend::life::Step;
use crate::backend::{ConnId, Event, socket};

impl UringBackend {
    /// Handles every completion that is there.
    pub(super) fn complete(&mut self, events: &mut dyn FnMut(Event<'_>)) {
        let mut batch = std::mem::take(&mut self.batch);
        self.ring.take_completions(&mut batch);
        for completion in batch.drain(..) {
            self.on_completion(completion, events);
        }
        self.batch = batch;
    }

    fn on_completion(&mut self, completion: Completion, events: &mut dyn FnMut(Event<'_>)) {
        match completion.op {
            Some(Op::Accept(listener)) => self.on_accept(listener, completion, events),
            Some(Op::Wake) => {
                if !self.is_stopping {
                    self.arm_wake();
                }
            }
            Some(Op::Recv(id)) => self.on_recv(id, completion, events),
            Some(Op::Send(id)) => self.on_send(id, completion.result),
            Some(Op::Connect(id)) => self.on_connect(id, events),
            Some(Op::Cancel(id)) => self.on_last_completion(id),
            Some(Op::CancelAll) => {}
            Some(Op::RecvDatagram(socket)) => self.on_recv_datagram(socket, completion, events),
            Some(Op::SendDatagram(place)) => self.on_sent_datagram(place, completion.result),
            Some(Op::Source(index)) => self.on_source(index, completion.more, events),
            None => debug_assert!(false, "only our own operations complete"),
        }
    }

    fn on_accept(
        &mut self,
        listener: usize,
        completion: Completion,
        events: &mut dyn FnMut(Event<'_>),
    ) {
        if completion.result >= 0 {
            // SAFETY: a successful accept hands over a new descriptor that nobody else owns.
            let fd = unsafe { OwnedFd::from_raw_fd(completion.result) };
            if self.is_stopping {
                return;
            }
            if let Some(id) = self.memory.table.admit(listener, fd, events) {
                self.arm_recv(id);
            }
        } else {
            self.memory.table.counters.accept_errors += 1;
        }
        if completion.more || self.is_stopping {
            return;
        }
        let is_passing = completion.result >= 0
            || socket::is_passing(Errno::from_raw_os_error(-completion.result));
        if is_passing {
            self.arm_accept(listener);
        } else {
            let retry_at = Instant::now() + socket::ACCEPT_RETRY;
            self.memory.table.listeners[listener].retry_at = Some(retry_at);
        }
    }

    fn on_recv(&mut self, id: ConnId, completion: Completion, events: &mut dyn FnMut(Event<'_>)) {
        let memory = &mut *self.memory;
        let link = memory.table.slots.get(id);
        let is_open = link.is_some_and(|link| link.life.is_open());
        if let Some(buffer) = completion.buffer {
            if is_open && completion.result > 0 {
                let bytes = memory.buffers.bytes(buffer, completion.result as usize);
                memory.table.counters.received_bytes += bytes.len() as u64;
                events(Event::Received { conn: id, bytes });
            }
            memory.buffers.recycle(buffer);
        }
        let step = match completion.result {
            0 => self.memory.table.peer_finished(id),
            1.. => Step::Wait,
            error => self.on_recv_error(id, -error),
        };
        if completion.more {
            return self.apply(id, step);
        }
        self.on_last_completion(id);
        self.apply(id, step);
        // After the peer's FIN there is nothing more to receive; a writing connection learns its fate by writing.
        let is_alive = self.link(id).is_some_and(|link| !link.life.is_dead());
        if is_alive && completion.result != 0 && !self.is_stopping {
            self.arm_recv(id);
        }
    }

    fn on_recv_error(&mut self, id: ConnId, errno: i32) -> Step {
        match Errno::from_raw_os_error(errno) {
            Errno::NOBUFS => {
                self.memory.table.counters.buffers_exhausted += 1;
                Step::Wait
            }
            Errno::INTR | Errno::AGAIN => Step::Wait,
            _ => self.on_error(id, errno),
        }
    }

    fn on_send(&mut self, id: ConnId, result: i32) {
        self.on_last_completion(id);
        let table = &mut self.memory.table;
        let mut step = Step::Wait;
        if let Some(link) = table.slots.get_mut(id) {
            link.io.is_sending = false;
            link.outbox.unlock();
            if let Ok(sent) = usize::try_from(result) {
                link.outbox.advance(sent, &mut table.pool);
                table.counters.sent_bytes += sent as u64;
                if link.outbox.is_empty() {
                    step = link.life.on_drained();
                }
            } else {
                step = match Errno::from_raw_os_error(-result) {
                    Errno::INTR | Errno::AGAIN => Step::Wait,
                    _ => self.on_error(id, -result),
                };
            }
        }
        self.apply(id, step);
        if !self.is_stopping {
            self.arm_send(id);
        }
    }

    fn on_connect(&mut self, id: ConnId, events: &mut dyn FnMut(Event<'_>)) {
        self.on_last_completion(id);
        if self.is_stopping {
            return;
        }
        let Some(link) = self.link(id) else {
            return;
        };
        if !link.life.is_connecting() {
            return;
        }
        let up = socket::connected(&link.fd)
            .and_then(|()| socket::set_blocking(&link.fd).map_err(|error| error.kind()));
        match up {
            Ok(()) => {
                self.memory.table.connected(id, events);
                self.arm_recv(id);
            }
            Err(io::ErrorKind::WouldBlock) => self.arm_connect(id),
            Err(kind) => {
                let step = link.life.on_error(kind);
                self.apply(id, step);
            }
        }
    }

    fn on_error(&mut self, id: ConnId, errno: i32) -> Step {
        let kind = io::Error::from_raw_os_error(errno).kind();
        self.link(id)
            .map_or(Step::Wait, |link| link.life.on_error(kind))
    }

    /// One operation of a connection is over for good.
    fn on_last_completion(&mut self, id: ConnId) {
        if let Some(link) = self.link(id) {
            link.io.pending -= 1;
        }
        self.bury_if_quiet(id);
    }
}
