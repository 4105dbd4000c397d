//! UDP_GRO: what a sender put into one GSO train comes out of the kernel as one long message, which is cut up here.
//!
//! The kernel joins consecutive datagrams of one sender and of one length, the last perhaps shorter, and says that length in
//! a control message; without one the message is a datagram by itself. One receive then brings up to 64 envelopes, at the
//! price of a buffer that is long enough for all of them.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, OwnedFd};

use super::datagram::address_of;
use super::{Counters, DatagramLimits, Event, ListenerTag};

/// One message from a UDP socket, with what the kernel says about it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    /// Through which socket.
    pub(super) socket: ListenerTag,
    pub(super) peer: SocketAddr,
    pub(super) bytes: &'a [u8],
    /// Length of each datagram in it but the last; none: it is one.
    pub(super) segment_bytes: Option<usize>,
}

impl Message<'_> {
    /// Hands out its datagrams in order; those above the socket's bound are counted and left out.
    pub(super) fn hand_out(
        self,
        limits: DatagramLimits,
        counters: &mut Counters,
        events: &mut dyn FnMut(Event<'_>),
    ) {
        let whole = self.bytes.len().max(1);
        let step = self.segment_bytes.map_or(whole, |bytes| bytes.max(1));
        let mut rest = self.bytes;
        loop {
            let (bytes, others) = rest.split_at(step.min(rest.len()));
            if bytes.len() > limits.bytes_max {
                counters.datagrams_truncated += 1;
            } else {
                counters.datagrams_received += 1;
                counters.received_bytes += bytes.len() as u64;
                events(Event::Datagram {
                    socket: self.socket,
                    peer: self.peer,
                    bytes,
                });
            }
            if others.is_empty() {
                return;
            }
            rest = others;
        }
    }
}

/// Asks the kernel to join datagrams on this socket. Errors: it cannot (before Linux 5.0).
pub(super) fn enable(fd: &OwnedFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: `on` lives through the call and the length is its own.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_GRO,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// What a receive gave: how many bytes, whether there were more, from whom, and the length of each datagram in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Received {
    pub(super) len: usize,
    pub(super) is_truncated: bool,
    pub(super) peer: Option<SocketAddr>,
    pub(super) segment_bytes: Option<usize>,
}

/// Receives one message without waiting. Errors: the kernel's; `WouldBlock` when there is none.
pub(super) fn receive(fd: &OwnedFd, buffer: &mut [u8]) -> io::Result<Received> {
    let mut name = [0u8; size_of::<libc::sockaddr_in6>()];
    let mut control = Control([0; CONTROL_LEN]);
    let mut iovec = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: all zeroes is a valid msghdr: null pointers with zero lengths.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_name = name.as_mut_ptr().cast();
    header.msg_namelen = name.len() as libc::socklen_t;
    header.msg_iov = &raw mut iovec;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = CONTROL_LEN;
    // SAFETY: name, iovec, buffer and control live through the call, and the header has their true lengths.
    let len = unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT) };
    let len = usize::try_from(len).map_err(|_| io::Error::last_os_error())?;
    let name = &name[..(header.msg_namelen as usize).min(name.len())];
    let control = &control.0[..header.msg_controllen.min(CONTROL_LEN)];
    Ok(Received {
        len,
        is_truncated: header.msg_flags & libc::MSG_TRUNC != 0,
        peer: address_of(name),
        segment_bytes: segment_bytes_of(control),
    })
}

/// The length that a UDP_GRO control message gives, if that is what stands first in `control`.
///
/// Nothing else is asked for on these sockets. In the machine's order: total length, level, type, value.
pub(super) fn segment_bytes_of(control: &[u8]) -> Option<usize> {
    let (len, rest) = control.split_first_chunk::<8>()?;
    let (level, rest) = rest.split_first_chunk::<4>()?;
    let (kind, rest) = rest.split_first_chunk::<4>()?;
    let (value, _) = rest.split_first_chunk::<4>()?;
    let is_gro = i32::from_ne_bytes(*level) == libc::SOL_UDP
        && i32::from_ne_bytes(*kind) == libc::UDP_GRO
        && usize::from_ne_bytes(*len) >= CONTROL_HEAD_LEN + size_of::<libc::c_int>();
    let value = usize::try_from(i32::from_ne_bytes(*value)).ok()?;
    (is_gro && value > 0).then_some(value)
}

#[repr(align(8))]
struct Control([u8; CONTROL_LEN]);

/// `struct cmsghdr` on 64-bit machines, the only ones.
const CONTROL_HEAD_LEN: usize = 16;
/// Room for one control message with an int.
pub(super) const CONTROL_LEN: usize = 24;
/// Longest message: what 16 bits of a length can say.
pub(super) const JOINED_BYTES_MAX: usize = 65_535;
/// Receive buffers of a socket on io_uring, so that their length stays affordable: 4 MiB together.
pub(super) const BUFFERS: u16 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(len: usize, segment_bytes: Option<usize>, bytes_max: usize) -> (Vec<usize>, Counters) {
        let (bytes, mut counters, mut lens) = (vec![7; len], Counters::default(), Vec::new());
        let message = Message {
            socket: ListenerTag(1),
            peer: SocketAddr::from(([127, 0, 0, 1], 1)),
            bytes: &bytes,
            segment_bytes,
        };
        let limits = DatagramLimits {
            bytes_max,
            send_queue_bytes_max: 0,
            kernel_buffer_bytes: 0,
            gro: true,
        };
        message.hand_out(limits, &mut counters, &mut |event| match event {
            Event::Datagram { bytes, .. } => lens.push(bytes.len()),
            other => panic!("{other:?}"),
        });
        (lens, counters)
    }

    #[test]
    fn a_message_is_cut_at_the_length_that_the_kernel_says_and_the_last_may_be_shorter() {
        assert_eq!(cut(1_000, None, 1_232).0, [1_000]);
        assert_eq!(cut(0, None, 1_232).0, [0]);
        assert_eq!(cut(1_000, Some(1_000), 1_232).0, [1_000]);
        assert_eq!(cut(1_000, Some(400), 1_232).0, [400, 400, 200]);
        assert_eq!(cut(800, Some(400), 1_232).0, [400, 400]);
        let (lens, counters) = cut(1_000, Some(400), 300);
        assert_eq!(lens, [200]);
        assert_eq!(counters.datagrams_truncated, 2);
        assert_eq!(
            (counters.datagrams_received, counters.received_bytes),
            (1, 200)
        );
    }

    #[test]
    fn only_a_whole_control_message_of_gro_counts() {
        let message = |level: i32, kind: i32, len: usize, value: i32| {
            let mut bytes = len.to_ne_bytes().to_vec();
            bytes.extend_from_slice(&level.to_ne_bytes());
            bytes.extend_from_slice(&kind.to_ne_bytes());
            bytes.extend_from_slice(&value.to_ne_bytes());
            bytes
        };
        let good = message(libc::SOL_UDP, libc::UDP_GRO, 20, 512);
        assert_eq!(segment_bytes_of(&good), Some(512));
        for cut in 0..good.len() {
            assert_eq!(segment_bytes_of(&good[..cut]), None);
        }
        for bad in [
            message(libc::SOL_SOCKET, libc::UDP_GRO, 20, 512),
            message(libc::SOL_UDP, libc::UDP_SEGMENT, 20, 512),
            message(libc::SOL_UDP, libc::UDP_GRO, 19, 512),
            message(libc::SOL_UDP, libc::UDP_GRO, 20, 0),
            message(libc::SOL_UDP, libc::UDP_GRO, 20, -1),
        ] {
            assert_eq!(segment_bytes_of(&bad), None);
        }
    }
}
