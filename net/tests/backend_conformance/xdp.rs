//! The suite's datagrams through AF_XDP on `lo`, watched by each backend: what a UDP socket promises holds there, too.
//!
//! Each test has network interfaces of its own. Where this process may not make them, or not use AF_XDP, the tests say so on
//! stderr and pass. Two of the suite are not run here: they wait for the kernel's socket to run out of buffers, which nothing
//! reaches here (full rings are tested beside the socket).

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use fairlane_net::backend::xdp::Xdp;
use fairlane_net::backend::{
    Backend, BackendConfig, BackendKind, ConnId, Counters, DatagramLimits, DatagramSource, Event,
    ListenLimits, ListenerTag, SendRefused, Waker,
};

use super::host::{Host, any_port};
use super::own_network::in_own_network;
use super::{Open, datagrams, has_uring, open_mio, open_uring};

/// A backend whose UDP sockets have AF_XDP on `lo` beside them.
struct WithXdp(Box<dyn Backend>);

impl Backend for WithXdp {
    fn bind_udp(
        &mut self,
        address: SocketAddr,
        tag: ListenerTag,
        limits: DatagramLimits,
    ) -> io::Result<SocketAddr> {
        let bound = self.0.bind_udp(address, tag, limits)?;
        let xdp = Xdp::open("lo", bound, None).map_err(io::Error::other)?;
        for queue in xdp.queues {
            self.0.watch_datagrams(tag, Box::new(queue))?;
        }
        Ok(bound)
    }

    fn watch_datagrams(
        &mut self,
        tag: ListenerTag,
        source: Box<dyn DatagramSource>,
    ) -> io::Result<()> {
        self.0.watch_datagrams(tag, source)
    }

    fn kind(&self) -> BackendKind {
        self.0.kind()
    }

    fn listen(
        &mut self,
        address: SocketAddr,
        tag: ListenerTag,
        limits: ListenLimits,
    ) -> io::Result<SocketAddr> {
        self.0.listen(address, tag, limits)
    }

    fn connect(&mut self, address: SocketAddr, tag: u32) -> io::Result<ConnId> {
        self.0.connect(address, tag)
    }

    fn send(&mut self, conn: ConnId, bytes: Vec<u8>) -> Result<(), SendRefused> {
        self.0.send(conn, bytes)
    }

    fn send_datagram(
        &mut self,
        socket: ListenerTag,
        to: SocketAddr,
        bytes: &[u8],
    ) -> Result<(), SendRefused> {
        self.0.send_datagram(socket, to, bytes)
    }

    fn queued_bytes(&self, conn: ConnId) -> Option<usize> {
        self.0.queued_bytes(conn)
    }

    fn buffer(&mut self) -> Vec<u8> {
        self.0.buffer()
    }

    fn close(&mut self, conn: ConnId) {
        self.0.close(conn);
    }

    fn abort(&mut self, conn: ConnId) {
        self.0.abort(conn);
    }

    fn poll(
        &mut self,
        timeout: Option<Duration>,
        events: &mut dyn FnMut(Event<'_>),
    ) -> io::Result<()> {
        self.0.poll(timeout, events)
    }

    fn set_gather(&mut self, gather: Duration) {
        self.0.set_gather(gather);
    }

    fn waker(&self) -> Waker {
        self.0.waker()
    }

    fn counters(&self) -> Counters {
        self.0.counters()
    }
}

fn open_uring_xdp(config: BackendConfig) -> Box<dyn Backend> {
    Box::new(WithXdp(open_uring(config)))
}

fn open_mio_xdp(config: BackendConfig) -> Box<dyn Backend> {
    Box::new(WithXdp(open_mio(config)))
}

macro_rules! suite {
    ($($module:ident :: $test:ident),* $(,)?) => {
        mod uring {
            $(#[test]
            fn $test() {
                if super::has_uring(stringify!($test)) {
                    super::in_own_network(stringify!($test), || {
                        super::$module::$test(super::open_uring_xdp);
                    });
                }
            })*
        }
        mod mio {
            $(#[test]
            fn $test() {
                super::in_own_network(stringify!($test), || {
                    super::$module::$test(super::open_mio_xdp);
                });
            })*
        }
    };
}

suite! {
    datagrams::datagrams_come_whole_with_their_sender_and_in_order,
    datagrams::an_empty_datagram_is_one_and_others_follow,
    datagrams::a_longer_one_than_the_bound_is_counted_and_not_handed_out,
    datagrams::an_unreachable_port_does_not_end_the_socket,
    datagrams::what_the_kernel_refuses_is_counted_and_the_rest_leaves,
    datagrams::a_full_queue_refuses_and_takes_again,
    datagrams::ipv6_works_as_ipv4,
    datagrams::sockets_and_connections_share_a_poll,
    datagrams::a_datagram_ends_a_parked_poll_and_a_silent_socket_sleeps,
    datagrams::dropping_a_backend_with_datagrams_in_flight_frees_the_port,
    own::datagrams_come_through_af_xdp_and_not_through_the_socket,
    own::more_than_a_share_at_once_is_all_handed_out,
    own::a_tag_without_a_socket_watches_nothing,
}

/// What only a source can show.
mod own {
    use super::*;

    const SOCKET: ListenerTag = ListenerTag(9);
    const LIMITS: DatagramLimits = DatagramLimits {
        bytes_max: 1_232,
        send_queue_bytes_max: 1 << 20,
        kernel_buffer_bytes: 1 << 20,
        gro: false,
    };

    fn bound(open: Open) -> (Host, UdpSocket) {
        let mut host = Host::with(open, BackendConfig::default());
        let address = host.backend.bind_udp(any_port(), SOCKET, LIMITS).unwrap();
        let client = UdpSocket::bind(any_port()).unwrap();
        client.connect(address).unwrap();
        (host, client)
    }

    pub(super) fn datagrams_come_through_af_xdp_and_not_through_the_socket(open: Open) {
        let (mut host, client) = bound(open);
        for _ in 0..10 {
            client.send(b"through").unwrap();
        }
        // Too long for AF_XDP: the kernel's socket gets it, and finds it too long as well.
        client.send(&[0; 9_000]).unwrap();
        host.until("all", |host| {
            let told = host.backend.counters();
            told.datagrams_received == 10 && told.datagrams_truncated == 1
        });
        let told = host.backend.counters().sources;
        assert_eq!((told.datagrams, told.bytes, told.malformed), (10, 70, 0));
    }

    pub(super) fn more_than_a_share_at_once_is_all_handed_out(open: Open) {
        let (mut host, client) = bound(open);
        for round in 1..=5 {
            // Nothing more comes to end a poll: what is left over must not wait for it.
            for _ in 0..3_000 {
                client.send(b"burst").unwrap();
            }
            host.until("the burst", |host| host.datagrams.len() == 3_000 * round);
        }
        assert_eq!(host.backend.counters().datagrams_dropped, 0);
    }

    pub(super) fn a_tag_without_a_socket_watches_nothing(open: Open) {
        let (mut host, _client) = bound(open);
        let other = UdpSocket::bind("127.0.0.1:0").unwrap();
        let refused = Xdp::open("lo", other.local_addr().unwrap(), None).unwrap_err();
        assert!(
            refused.to_string().contains("of somebody else"),
            "{refused}"
        );
        drop(host);
        host = Host::with(
            |config| fairlane_net::backend::open(BackendKind::Mio, config).unwrap(),
            BackendConfig::default(),
        );
        let xdp = open_when_free(other.local_addr().unwrap());
        for queue in xdp.queues {
            let refused = host.backend.watch_datagrams(SOCKET, Box::new(queue));
            assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    }

    /// The kernel lets go of an io_uring's descriptors, and with them of the interface, a moment after it is dropped.
    fn open_when_free(bound: SocketAddr) -> Xdp {
        for _ in 0..500 {
            match Xdp::open("lo", bound, None) {
                Ok(xdp) => return xdp,
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
        panic!("the interface is still taken");
    }
}
