//! Several datagrams of one length in one system call (UDP_SEGMENT): the kernel, or the network card, cuts them up.
//!
//! For who has many envelopes due at once, as a gateway has. Each is still a datagram of its own on the wire; the last may
//! be shorter. Linux 4.18.

use std::io::{self, IoSlice};
use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrIn, sendmsg};

/// How many of the datagrams with these lengths, from the first on, go together: at least 1.
pub(crate) fn len_of(mut lens: impl Iterator<Item = usize>) -> usize {
    let Some(first) = lens.next() else {
        return 1;
    };
    let (mut count, mut bytes) = (1, first);
    for len in lens {
        if count == TRAIN_MAX || len > first || len == 0 || bytes + len > TRAIN_BYTES_MAX {
            break;
        }
        count += 1;
        bytes += len;
        if len < first {
            break;
        }
    }
    count
}

/// Sends them; all or none. Errors: the kernel's.
pub(crate) fn send<'a>(
    socket: &UdpSocket,
    mut datagrams: impl Iterator<Item = &'a Vec<u8>> + Clone,
) -> io::Result<()> {
    let slices: Vec<IoSlice<'_>> = datagrams.clone().map(|bytes| IoSlice::new(bytes)).collect();
    let Some(first) = datagrams.next() else {
        return Ok(());
    };
    // A datagram is at most 1,232 bytes.
    let segment_len = first.len() as u16;
    let control = [ControlMessage::UdpGsoSegments(&segment_len)];
    let flags = MsgFlags::MSG_NOSIGNAL;
    sendmsg::<SockaddrIn>(socket.as_raw_fd(), &slices, &control, flags, None)
        .map(|_| ())
        .map_err(io::Error::from)
}

/// Whether the kernel or the device says that it cannot cut them up.
pub(crate) fn is_refused(error: &io::Error) -> bool {
    let refused = [
        Errno::EINVAL,
        Errno::EIO,
        Errno::EOPNOTSUPP,
        Errno::EMSGSIZE,
    ];
    let errno = error.raw_os_error().map(Errno::from_raw);
    errno.is_some_and(|errno| refused.contains(&errno))
}

/// Datagrams in a train: what every kernel that cuts them up takes.
const TRAIN_MAX: usize = 64;
/// Bytes of them: what UDP over IPv4 carries.
const TRAIN_BYTES_MAX: usize = 65_507;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_of_one_length_go_together_and_a_shorter_one_ends_the_train() {
        let of = |lens: &[usize]| len_of(lens.iter().copied());
        assert_eq!(of(&[]), 1);
        assert_eq!(of(&[500]), 1);
        assert_eq!(of(&[500, 500, 500]), 3);
        assert_eq!(of(&[500, 500, 400, 500]), 3);
        assert_eq!(of(&[500, 600, 500]), 1);
        assert_eq!(of(&[500, 0]), 1);
        assert_eq!(of(&[100; 100]), TRAIN_MAX);
        assert_eq!(of(&[1_232; 100]), TRAIN_BYTES_MAX / 1_232);
    }

    #[test]
    fn a_train_arrives_as_datagrams_in_order() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        let sent: Vec<Vec<u8>> = vec![vec![1; 500], vec![2; 500], vec![3; 120]];
        send(&sender, sent.iter()).unwrap();
        for datagram in &sent {
            let mut bytes = [0; 2048];
            let len = receiver.recv(&mut bytes).unwrap();
            assert_eq!(bytes[..len], datagram[..]);
        }
    }
}
