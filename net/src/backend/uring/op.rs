//! The operations in flight and the 64 bits that name them: kind (8 bits), then what it concerns (56 bits).

use io_uring::squeue::Entry;
use io_uring::types::{CancelBuilder, Fd};
use io_uring::{opcode, squeue};
use std::os::fd::RawFd;

use super::buffers::GROUP;
use crate::backend::ConnId;

/// What a completion belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// Multishot accept of the listener with this index.
    Accept(usize),
    /// The read of the waker's eventfd.
    Wake,
    /// Multishot receive.
    Recv(ConnId),
    /// A write of queued buffers.
    Send(ConnId),
    /// An outgoing socket becoming writable.
    Connect(ConnId),
    /// Cancelling all that a connection has in flight.
    Cancel(ConnId),
    /// Cancelling everything, at the end.
    CancelAll,
    /// Multishot receive of the datagram socket with this index.
    RecvDatagram(usize),
    /// A datagram on its way out.
    SendDatagram(Place),
    /// Multishot poll of the source of datagrams with this index.
    Source(usize),
}

/// Where a datagram on its way out is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Index of its socket, below 2^24.
    pub(super) socket: u32,
    /// Index among those that the kernel has of it.
    pub(super) flight: u32,
}

impl Op {
    /// The user data of this operation.
    pub(super) fn to_bits(self) -> u64 {
        let (kind, rest) = match self {
            Self::Accept(listener) => (0, listener as u64),
            Self::Wake => (1, 0),
            Self::Recv(id) => (2, id.to_bits()),
            Self::Send(id) => (3, id.to_bits()),
            Self::Connect(id) => (4, id.to_bits()),
            Self::Cancel(id) => (5, id.to_bits()),
            Self::CancelAll => (6, 0),
            Self::RecvDatagram(socket) => (7, socket as u64),
            Self::SendDatagram(Place { socket, flight }) => {
                (8, u64::from(socket) << 32 | u64::from(flight))
            }
            Self::Source(index) => (9, index as u64),
        };
        (kind << KIND_SHIFT) | rest
    }

    /// Reverses [`Self::to_bits`]; `None` for user data that is not ours.
    pub(super) fn from_bits(bits: u64) -> Option<Self> {
        let rest = bits & ((1 << KIND_SHIFT) - 1);
        let id = ConnId::from_bits(rest);
        Some(match bits >> KIND_SHIFT {
            0 => Self::Accept(rest as usize),
            1 => Self::Wake,
            2 => Self::Recv(id),
            3 => Self::Send(id),
            4 => Self::Connect(id),
            5 => Self::Cancel(id),
            6 => Self::CancelAll,
            7 => Self::RecvDatagram(rest as usize),
            8 => Self::SendDatagram(Place {
                socket: (rest >> 32) as u32,
                flight: rest as u32,
            }),
            9 => Self::Source(rest as usize),
            _ => return None,
        })
    }

    /// Names `entry` after this operation.
    pub(super) fn tag(self, entry: squeue::Entry) -> Entry {
        entry.user_data(self.to_bits())
    }
}

/// Accepts until it fails; each completion brings a blocking, close-on-exec descriptor.
pub(super) fn accept(listener: usize, fd: RawFd) -> Entry {
    let entry = opcode::AcceptMulti::new(Fd(fd)).flags(libc::SOCK_CLOEXEC);
    Op::Accept(listener).tag(entry.build())
}

/// Receives into provided buffers until the stream ends or the buffers do.
pub(super) fn recv(id: ConnId, fd: RawFd) -> Entry {
    Op::Recv(id).tag(opcode::RecvMulti::new(Fd(fd), GROUP).build())
}

/// Waits until an outgoing socket is connected or has failed.
pub(super) fn connect(id: ConnId, fd: RawFd) -> Entry {
    Op::Connect(id).tag(opcode::PollAdd::new(Fd(fd), libc::POLLOUT as u32).build())
}

/// Writes the message. The header, its iovecs and their bytes must stay until the completion.
pub(super) fn send(id: ConnId, fd: RawFd, message: *const libc::msghdr) -> Entry {
    let entry = opcode::SendMsg::new(Fd(fd), message).flags(libc::MSG_NOSIGNAL as u32);
    Op::Send(id).tag(entry.build())
}

/// Receives datagrams into provided buffers of `group` until those end. The header must stay until the last completion.
pub(super) fn recv_datagram(
    socket: usize,
    fd: RawFd,
    header: *const libc::msghdr,
    group: u16,
) -> Entry {
    let entry = opcode::RecvMsgMulti::new(Fd(fd), header, group);
    Op::RecvDatagram(socket).tag(entry.build())
}

/// Sends one datagram. The header, the address and the bytes that it names must stay until the completion.
pub(super) fn send_datagram(place: Place, fd: RawFd, header: *const libc::msghdr) -> Entry {
    let entry = opcode::SendMsg::new(Fd(fd), header).flags(libc::MSG_NOSIGNAL as u32);
    Op::SendDatagram(place).tag(entry.build())
}

/// Tells each time that a source of datagrams becomes readable.
pub(super) fn watch(index: usize, fd: RawFd) -> Entry {
    let entry = opcode::PollAdd::new(Fd(fd), libc::POLLIN as u32).multi(true);
    Op::Source(index).tag(entry.build())
}

/// Reads the waker's counter into `counter`, which must stay until the completion.
pub(super) fn wake(fd: RawFd, counter: *mut u64) -> Entry {
    let entry = opcode::Read::new(Fd(fd), counter.cast(), size_of::<u64>() as u32);
    Op::Wake.tag(entry.build())
}

/// Cancels all operations on a connection's descriptor.
pub(super) fn cancel(id: ConnId, fd: RawFd) -> Entry {
    let builder = CancelBuilder::fd(Fd(fd)).all();
    Op::Cancel(id).tag(opcode::AsyncCancel2::new(builder).build())
}

/// Cancels all operations of the ring.
pub(super) fn cancel_all() -> Entry {
    Op::CancelAll.tag(opcode::AsyncCancel2::new(CancelBuilder::any()).build())
}

const KIND_SHIFT: u32 = 56;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_data_names_each_operation_apart() {
        let id = ConnId::from_bits((77 << 32) | 5);
        let ops = [
            Op::Accept(3),
            Op::Wake,
            Op::Recv(id),
            Op::Send(id),
            Op::Connect(id),
            Op::Cancel(id),
            Op::CancelAll,
            Op::RecvDatagram(2),
            Op::SendDatagram(Place {
                socket: 15,
                flight: u32::MAX,
            }),
            Op::Source(3),
        ];
        for op in ops {
            assert_eq!(Op::from_bits(op.to_bits()), Some(op));
        }
        assert_eq!(Op::from_bits(10 << KIND_SHIFT), None);
    }
}
