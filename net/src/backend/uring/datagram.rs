//! Datagram sockets on io_uring: multishot recvmsg into provided buffers, sendmsg for what goes out.
//!
//! A completion of the receive names a buffer that holds the kernel's header, the sender's address in a field of fixed
//! length, and the payload. An empty datagram ends the multishot receive (the kernel takes it for the end of a stream), as
//! lack of buffers does; both arm it again.
//!
//! Up to [`FLIGHTS_MAX`] datagrams of a socket are the kernel's at a time, submitted in the order of the queue. One that has
//! to wait for room in the socket's buffer may be overtaken, as on any network.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::Instant;

use io_uring::types::RecvMsgOut;
use rustix::io::Errno;
use rustix::net::SocketAddrAny;
use rustix::net::addr::SocketAddrArg as _;

use super::buffers::{BufferRing, GROUP};
use super::op::{self, Place};
use super::ring::Completion;
use super::{Memory, UringBackend};
use crate::backend::datagram::{Outgoing, address_of};
use crate::backend::{DatagramLimits, Event, ListenerTag, gro, socket};

/// What the kernel uses of one datagram socket while operations are outstanding.
pub(super) struct Flights {
    pub(super) buffers: BufferRing,
    /// Says how much of a buffer the address and the control message take; nothing else in it counts.
    receive_header: Box<libc::msghdr>,
    sending: Vec<Option<Box<Sending>>>,
    free: Vec<u32>,
}

/// One datagram that the kernel reads, boxed so that its address stays.
struct Sending {
    header: libc::msghdr,
    iovec: libc::iovec,
    name: SocketAddrAny,
    outgoing: Outgoing,
}

impl Flights {
    fn new(buffers: BufferRing, control_len: usize) -> Self {
        let mut receive_header = Box::new(empty_header());
        receive_header.msg_namelen = NAME_LEN;
        receive_header.msg_controllen = control_len;
        Self {
            buffers,
            receive_header,
            sending: (0..FLIGHTS_MAX).map(|_| None).collect(),
            free: (0..FLIGHTS_MAX).collect(),
        }
    }

    /// Keeps a datagram in the free place `flight` until the kernel is done with it; gives its header.
    fn keep(&mut self, flight: u32, outgoing: Outgoing) -> *const libc::msghdr {
        let name = outgoing.to.as_any();
        let sending = self.sending[flight as usize].insert(Box::new(Sending {
            header: empty_header(),
            iovec: libc::iovec {
                iov_base: std::ptr::null_mut(),
                iov_len: 0,
            },
            name,
            outgoing,
        }));
        let bytes = &sending.outgoing.bytes;
        sending.iovec.iov_base = bytes.as_ptr().cast_mut().cast();
        sending.iovec.iov_len = bytes.len();
        sending.header.msg_name = sending.name.as_ptr().cast_mut().cast();
        sending.header.msg_namelen = sending.name.addr_len();
        sending.header.msg_iov = &raw mut sending.iovec;
        sending.header.msg_iovlen = 1;
        &raw const sending.header
    }
}

impl fmt::Debug for Flights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.sending.len() - self.free.len();
        write!(f, "{count} datagrams in flight")
    }
}

impl UringBackend {
    /// Binds a datagram socket and arms its receive.
    pub(super) fn bind_datagrams(
        &mut self,
        address: SocketAddr,
        tag: ListenerTag,
        limits: DatagramLimits,
    ) -> io::Result<SocketAddr> {
        let sizes = self.memory.table.config.uring;
        let group = GROUP + 1 + self.memory.flights.len() as u16;
        let (index, bound) = self.memory.datagrams.bind(address, tag, limits, false)?;
        let (control_len, payload_len, buffers) = match limits.gro {
            true => (gro::CONTROL_LEN, gro::JOINED_BYTES_MAX, gro::BUFFERS),
            false => (0, limits.bytes_max, sizes.buffers),
        };
        let wanted = HEAD_LEN + NAME_LEN as usize + control_len + payload_len;
        // Aligned for the kernel's header; `bind` has refused what is longer than any datagram.
        let buffer_bytes = wanted.next_multiple_of(16) as u32;
        let buffers = BufferRing::register(&self.ring.submitter(), group, buffers, buffer_bytes)
            .inspect_err(|_| self.memory.datagrams.unbind_last())?;
        self.memory.flights.push(Flights::new(buffers, control_len));
        self.arm_recv_datagram(index);
        Ok(bound)
    }

    pub(super) fn arm_recv_datagram(&mut self, index: usize) {
        let fd = self.memory.datagrams.sockets[index].fd.as_raw_fd();
        let header: *const libc::msghdr = &*self.memory.flights[index].receive_header;
        let entry = op::recv_datagram(index, fd, header, GROUP + 1 + index as u16);
        // SAFETY: the socket, the boxed header and the buffers stay in `memory` until nothing is outstanding.
        unsafe { self.ring.submit(entry) };
    }

    /// Hands as many of the queued datagrams to the kernel as have a place.
    pub(super) fn send_datagrams(&mut self) {
        let Memory {
            datagrams, flights, ..
        } = &mut *self.memory;
        for (index, (socket, flights)) in datagrams.sockets.iter_mut().zip(flights).enumerate() {
            while !socket.is_drained()
                && let Some(flight) = flights.free.pop()
                && let Some(outgoing) = socket.pop()
            {
                let header = flights.keep(flight, outgoing);
                let place = Place {
                    socket: index as u32,
                    flight,
                };
                let entry = op::send_datagram(place, socket.fd.as_raw_fd(), header);
                // SAFETY: header, iovec and address are boxed and the bytes are on the heap; all stay in their place in
                // `memory` until `on_sent_datagram` takes them out, after the completion.
                unsafe { self.ring.submit(entry) };
            }
        }
    }

    pub(super) fn on_sent_datagram(&mut self, place: Place, result: i32) {
        let Memory {
            table,
            datagrams,
            flights,
            ..
        } = &mut *self.memory;
        let flights = &mut flights[place.socket as usize];
        if let Some(sent) = flights.sending[place.flight as usize].take() {
            flights.free.push(place.flight);
            let socket = &mut datagrams.sockets[place.socket as usize];
            let (pool, counters) = (&mut table.pool, &mut table.counters);
            socket.on_sent(sent.outgoing, result >= 0, pool, counters);
        }
    }

    pub(super) fn on_recv_datagram(
        &mut self,
        index: usize,
        completion: Completion,
        events: &mut dyn FnMut(Event<'_>),
    ) {
        let memory = &mut *self.memory;
        let (socket, flights) = (
            &mut memory.datagrams.sockets[index],
            &mut memory.flights[index],
        );
        let counters = &mut memory.table.counters;
        if let Some(buffer) = completion.buffer {
            let len = usize::try_from(completion.result).unwrap_or(0);
            let bytes = flights.buffers.bytes(buffer, len);
            if let Ok(message) = RecvMsgOut::parse(bytes, &flights.receive_header) {
                let bytes = message.payload_data();
                if message.is_payload_truncated() {
                    counters.datagrams_truncated += 1;
                } else if let Some(peer) = address_of(message.name_data()) {
                    let is_stopping = self.is_stopping;
                    let message = gro::Message {
                        socket: socket.tag,
                        peer,
                        bytes,
                        segment_bytes: gro::segment_bytes_of(message.control_data()),
                    };
                    message.hand_out(socket.limits, counters, &mut |event| {
                        if !is_stopping {
                            events(event);
                        }
                    });
                }
            }
            flights.buffers.recycle(buffer);
        }
        let is_passing = match completion.result {
            0.. => true,
            error => match Errno::from_raw_os_error(-error) {
                Errno::NOBUFS => {
                    counters.buffers_exhausted += 1;
                    true
                }
                errno => socket::is_passing(errno),
            },
        };
        if completion.more || self.is_stopping {
            return;
        }
        if is_passing {
            self.arm_recv_datagram(index);
        } else {
            counters.datagram_errors += 1;
            socket.retry_at = Some(Instant::now() + socket::ACCEPT_RETRY);
        }
    }
}

fn empty_header() -> libc::msghdr {
    // SAFETY: all zeroes is a valid msghdr: null pointers with zero lengths.
    unsafe { std::mem::zeroed() }
}

/// The kernel's header in front of a received message (`struct io_uring_recvmsg_out`).
const HEAD_LEN: usize = 16;
/// The field for the sender's address: an IPv6 one is the longest.
const NAME_LEN: libc::socklen_t = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
/// Datagrams of one socket that the kernel has at a time.
const FLIGHTS_MAX: u32 = 64;
