//! Sockets and their options, the same for every backend.
//!
//! A dead peer is noticed by keepalive after [`KEEPALIVE_IDLE`] + [`KEEPALIVE_PROBES`] x [`KEEPALIVE_INTERVAL`] when
//! nothing is sent, and after [`USER_TIMEOUT_MS`] when sent bytes stay unacknowledged.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, ipproto, sockopt};

/// A listening socket; `nonblocking` as the backend needs it.
///
/// SO_REUSEADDR is set, so that a restarted node gets its port back while old connections are in TIME_WAIT.
pub(super) fn listen(address: SocketAddr, nonblocking: bool) -> io::Result<(OwnedFd, SocketAddr)> {
    let fd = stream(address, nonblocking)?;
    sockopt::set_socket_reuseaddr(&fd, true)?;
    set_stream_options(&fd)?;
    net::bind(&fd, &address)?;
    net::listen(&fd, LISTEN_BACKLOG)?;
    let bound = SocketAddr::try_from(net::getsockname(&fd)?)?;
    Ok((fd, bound))
}

/// A non-blocking socket on its way to `address`, and the error if the connection failed at once (as a refusal on
/// loopback does).
pub(super) fn connect(address: SocketAddr) -> io::Result<(OwnedFd, Option<io::ErrorKind>)> {
    let fd = stream(address, true)?;
    set_stream_options(&fd)?;
    let failed = match net::connect(&fd, &address) {
        Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => None,
        Err(errno) => Some(io::Error::from(errno).kind()),
    };
    Ok((fd, failed))
}

/// Asks a socket that became writable whether its connection came up; `WouldBlock`: not yet.
pub(super) fn connected(fd: &OwnedFd) -> Result<(), io::ErrorKind> {
    match sockopt::socket_error(fd) {
        Ok(Ok(())) => {}
        Ok(Err(errno)) | Err(errno) => return Err(io::Error::from(errno).kind()),
    }
    match net::getpeername(fd) {
        Ok(Some(_)) => Ok(()),
        Ok(None) | Err(Errno::NOTCONN) => Err(io::ErrorKind::WouldBlock),
        Err(errno) => Err(io::Error::from(errno).kind()),
    }
}

/// Readies an accepted socket and gives the peer's address; an error when the peer is gone already.
pub(super) fn accepted(fd: &OwnedFd) -> io::Result<SocketAddr> {
    set_stream_options(fd)?;
    let peer = net::getpeername(fd)?.ok_or(io::ErrorKind::NotConnected)?;
    Ok(SocketAddr::try_from(peer)?)
}

/// Makes reads and writes wait in the kernel; io_uring answers EAGAIN on a non-blocking socket instead of polling it.
pub(super) fn set_blocking(fd: &OwnedFd) -> io::Result<()> {
    Ok(rustix::io::ioctl_fionbio(fd, false)?)
}

/// Sends FIN. An error means that the connection is over already, which the next read tells.
pub(super) fn finish(fd: &OwnedFd) {
    let _ = net::shutdown(fd, net::Shutdown::Write);
}

/// Makes the coming close a reset. An error leaves an ordinary close, which also ends the connection.
pub(super) fn reset_on_close(fd: &OwnedFd) {
    let _ = sockopt::set_socket_linger(fd, Some(Duration::ZERO));
}

/// Whether an accept that failed so may be tried again at once: the connection was at fault, or a signal. Other errors
/// (no descriptor, no memory) stay for a while, and trying at once would spin.
pub(super) fn is_passing(errno: Errno) -> bool {
    matches!(errno, Errno::CONNABORTED | Errno::INTR | Errno::AGAIN)
}

fn stream(address: SocketAddr, nonblocking: bool) -> io::Result<OwnedFd> {
    open(address, SocketType::STREAM, ipproto::TCP, nonblocking)
}

/// A UDP socket; `nonblocking` as the backend needs it.
///
/// `buffer_bytes` is asked for in each direction: the kernel grants what `net.core.rmem_max` and `wmem_max` allow. Without
/// SO_REUSEADDR, under which a second socket could take over the port.
pub(super) fn bind_udp(
    address: SocketAddr,
    buffer_bytes: usize,
    nonblocking: bool,
) -> io::Result<(OwnedFd, SocketAddr)> {
    let fd = open(address, SocketType::DGRAM, ipproto::UDP, nonblocking)?;
    sockopt::set_socket_recv_buffer_size(&fd, buffer_bytes)?;
    sockopt::set_socket_send_buffer_size(&fd, buffer_bytes)?;
    net::bind(&fd, &address)?;
    let bound = SocketAddr::try_from(net::getsockname(&fd)?)?;
    Ok((fd, bound))
}

fn open(
    address: SocketAddr,
    kind: SocketType,
    protocol: net::Protocol,
    nonblocking: bool,
) -> io::Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let mut flags = SocketFlags::CLOEXEC;
    flags.set(SocketFlags::NONBLOCK, nonblocking);
    Ok(net::socket_with(family, kind, flags, Some(protocol))?)
}

fn set_stream_options(fd: &OwnedFd) -> io::Result<()> {
    sockopt::set_tcp_nodelay(fd, true)?;
    sockopt::set_socket_keepalive(fd, true)?;
    sockopt::set_tcp_keepidle(fd, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(fd, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(fd, KEEPALIVE_PROBES)?;
    sockopt::set_tcp_user_timeout(fd, USER_TIMEOUT_MS)?;
    Ok(())
}

/// How long accepting pauses after an error that is not passing.
pub(super) const ACCEPT_RETRY: Duration = Duration::from_millis(50);

const LISTEN_BACKLOG: i32 = 4096;
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(3);
const KEEPALIVE_PROBES: u32 = 3;
const USER_TIMEOUT_MS: u32 = 15_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_gives_its_port_and_can_be_bound_again_at_once() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (listener, bound) = listen(any, true).unwrap();
        let (client, failed) = connect(bound).unwrap();
        assert_eq!(failed, None);
        let accepted_fd = rustix::net::accept(&listener).unwrap();
        drop(accepted_fd);
        drop(listener);
        drop(client);
        let (_again, rebound) = listen(bound, true).unwrap();
        assert_eq!(rebound, bound);
    }

    #[test]
    fn accepted_sockets_have_no_delay_and_notice_dead_peers() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (listener, bound) = listen(any, true).unwrap();
        let (client, _) = connect(bound).unwrap();
        let accepted_fd = rustix::net::accept(&listener).unwrap();
        let peer = accepted(&accepted_fd).unwrap();
        assert!(peer.ip().is_loopback());
        for fd in [&client, &accepted_fd] {
            assert!(sockopt::tcp_nodelay(fd).unwrap());
            assert!(sockopt::socket_keepalive(fd).unwrap());
            assert_eq!(sockopt::tcp_user_timeout(fd).unwrap(), USER_TIMEOUT_MS);
        }
    }
}
