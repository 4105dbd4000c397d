//! Datagrams: whole or not at all, and nobody ends the socket.

use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use fairlane_net::backend::{BackendConfig, BackendKind, DatagramLimits, ListenerTag, SendRefused};

use super::Open;
use super::host::{Host, PATIENCE, any_port, pattern};
use super::load::tiny_rings;
use super::waking::assert_sleeps;

const SOCKET: ListenerTag = ListenerTag(9);
pub(crate) const BYTES_MAX: usize = 1_232;
pub(crate) const LIMITS: DatagramLimits = DatagramLimits {
    bytes_max: BYTES_MAX,
    send_queue_bytes_max: 1 << 20,
    kernel_buffer_bytes: 1 << 20,
    gro: false,
};

/// A backend with one datagram socket, and where that is.
fn bound(open: Open) -> (Host, SocketAddr) {
    bound_with(open, BackendConfig::default(), any_port(), LIMITS)
}

pub(crate) fn bound_with(
    open: Open,
    config: BackendConfig,
    at: SocketAddr,
    limits: DatagramLimits,
) -> (Host, SocketAddr) {
    let mut host = Host::with(open, config);
    let address = host.backend.bind_udp(at, SOCKET, limits).unwrap();
    (host, address)
}

/// A client's socket, connected to ours, that fails rather than hangs.
pub(crate) fn client_of(address: SocketAddr) -> UdpSocket {
    let any = SocketAddr::new(address.ip(), 0);
    let client = UdpSocket::bind(any).unwrap();
    client.connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

pub(crate) fn until_received(host: &mut Host, count: usize) {
    host.until("datagrams", |host| host.datagrams.len() >= count);
    assert_eq!(host.datagrams.len(), count);
}

fn receive(client: &UdpSocket) -> Vec<u8> {
    let mut bytes = vec![0; 1 << 16];
    let count = client.recv(&mut bytes).unwrap();
    bytes.truncate(count);
    bytes
}

pub(crate) fn datagrams_come_whole_with_their_sender_and_in_order(open: Open) {
    let (mut host, address) = bound(open);
    let clients: Vec<UdpSocket> = (0..3).map(|_| client_of(address)).collect();
    let sent: Vec<Vec<u8>> = (0..200)
        .map(|i| pattern(1 + i * 6, i as u64))
        .chain([pattern(BYTES_MAX, 1000)])
        .collect();
    // In portions that fit the kernel's buffers as most machines bound them.
    let mut count = 0;
    for portion in sent.chunks(20) {
        for bytes in portion {
            for client in &clients {
                client.send(bytes).unwrap();
            }
        }
        count += portion.len() * clients.len();
        until_received(&mut host, count);
    }
    for client in &clients {
        let own = client.local_addr().unwrap();
        let mut from_it = host.datagrams.iter().filter(|(peer, _)| *peer == own);
        assert!(
            sent.iter()
                .all(|bytes| from_it.next().is_some_and(|(_, got)| got == bytes))
        );
        // And back, in the order of the calls.
        for portion in sent.chunks(20) {
            for bytes in portion {
                host.backend.send_datagram(SOCKET, own, bytes).unwrap();
            }
            host.poll(Duration::ZERO);
            assert!(portion.iter().all(|bytes| receive(client) == *bytes));
        }
    }
    host.until("the sends to be counted", |host| {
        host.backend.counters().datagrams_sent == count as u64
    });
    let told = host.backend.counters();
    let total = sent.iter().map(Vec::len).sum::<usize>() * clients.len();
    assert_eq!(told.datagrams_received, count as u64);
    assert_eq!(told.received_bytes, total as u64);
    assert_eq!(told.sent_bytes, total as u64);
    assert_eq!(told.datagrams_dropped, 0);
}

pub(crate) fn an_empty_datagram_is_one_and_others_follow(open: Open) {
    let (mut host, address) = bound(open);
    let client = client_of(address);
    for _ in 0..5 {
        client.send(b"").unwrap();
        client.send(b"full").unwrap();
    }
    until_received(&mut host, 10);
    for pair in host.datagrams.chunks(2) {
        assert!(pair[0].1.is_empty() && pair[1].1 == b"full");
    }
    let own = client.local_addr().unwrap();
    host.backend.send_datagram(SOCKET, own, b"").unwrap();
    host.poll(Duration::ZERO);
    assert_eq!(receive(&client), b"");
}

pub(crate) fn a_longer_one_than_the_bound_is_counted_and_not_handed_out(open: Open) {
    let (mut host, address) = bound(open);
    let client = client_of(address);
    for len in [BYTES_MAX + 1, BYTES_MAX + 64, 9_000, 65_507] {
        client.send(&pattern(len, 1)).unwrap();
        client.send(b"between").unwrap();
    }
    until_received(&mut host, 4);
    assert!(host.datagrams.iter().all(|(_, bytes)| bytes == b"between"));
    assert_eq!(host.backend.counters().datagrams_truncated, 4);
    assert_eq!(host.backend.counters().datagrams_received, 4);
}

pub(crate) fn buffers_for_datagrams_may_run_out(open: Open) {
    let (mut host, address) = bound_with(open, tiny_rings(), any_port(), LIMITS);
    let client = client_of(address);
    // All of it lies in the kernel before the next poll: far more than four buffers hold.
    for i in 0..100 {
        client.send(&pattern(700, i)).unwrap();
    }
    until_received(&mut host, 100);
    for (i, (_, bytes)) in host.datagrams.iter().enumerate() {
        assert!(*bytes == pattern(700, i as u64));
    }
    if host.backend.kind() == BackendKind::Uring {
        assert!(host.backend.counters().buffers_exhausted > 0);
    }
}

pub(crate) fn what_the_kernel_drops_is_counted(open: Open) {
    const SENT: u64 = 500;
    let limits = DatagramLimits {
        kernel_buffer_bytes: 1,
        ..LIMITS
    };
    let (mut host, address) = bound_with(open, tiny_rings(), any_port(), limits);
    let client = client_of(address);
    for i in 0..SENT {
        client.send(&pattern(1_000, i)).unwrap();
    }
    host.until("all to be counted", |host| {
        let told = host.backend.counters();
        told.datagrams_received + told.datagrams_dropped == SENT
    });
    assert!(host.backend.counters().datagrams_dropped > 0);
    client.send(b"after").unwrap();
    host.until("the last", |host| {
        host.datagrams
            .last()
            .is_some_and(|(_, last)| last == b"after")
    });
}

pub(crate) fn an_unreachable_port_does_not_end_the_socket(open: Open) {
    let (mut host, address) = bound(open);
    let client = client_of(address);
    // Bound, and then not: nobody is there, and the kernel answers each datagram with an ICMP error.
    let nobody = UdpSocket::bind(any_port()).unwrap().local_addr().unwrap();
    let own = client.local_addr().unwrap();
    for round in 0..20 {
        host.backend.send_datagram(SOCKET, nobody, b"?").unwrap();
        host.backend.send_datagram(SOCKET, own, b"!").unwrap();
        host.poll(Duration::ZERO);
        assert_eq!(receive(&client), b"!");
        client.send(b"here").unwrap();
        until_received(&mut host, round + 1);
    }
    host.until("the sends", |host| {
        let told = host.backend.counters();
        told.datagrams_sent + told.datagrams_unsent == 40
    });
    assert_eq!(host.backend.counters().datagram_errors, 0);
}

pub(crate) fn what_the_kernel_refuses_is_counted_and_the_rest_leaves(open: Open) {
    let (mut host, address) = bound(open);
    let client = client_of(address);
    let own = client.local_addr().unwrap();
    // Another family; too long for any datagram; port 0.
    let v6 = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 9));
    let no_port = SocketAddr::new(own.ip(), 0);
    host.backend.send_datagram(SOCKET, v6, b"a").unwrap();
    let long = vec![0; 65_508];
    host.backend.send_datagram(SOCKET, own, &long).unwrap();
    host.backend.send_datagram(SOCKET, no_port, b"b").unwrap();
    host.backend.send_datagram(SOCKET, own, b"good").unwrap();
    host.poll(Duration::ZERO);
    assert_eq!(receive(&client), b"good");
    host.until("all to be counted", |host| {
        let told = host.backend.counters();
        (told.datagrams_unsent, told.datagrams_sent) == (3, 1)
    });
    let unknown = host.backend.send_datagram(ListenerTag(77), own, b"x");
    assert_eq!(unknown, Err(SendRefused::Closed));
    let again = host.backend.bind_udp(any_port(), SOCKET, LIMITS);
    assert_eq!(
        again.unwrap_err().kind(),
        std::io::ErrorKind::InvalidInput,
        "a tag names one socket"
    );
    let taken = host.backend.bind_udp(address, ListenerTag(78), LIMITS);
    assert_eq!(taken.unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
}

pub(crate) fn a_full_queue_refuses_and_takes_again(open: Open) {
    let limits = DatagramLimits {
        send_queue_bytes_max: 100_000,
        ..LIMITS
    };
    let (mut host, address) = bound_with(open, BackendConfig::default(), any_port(), limits);
    let client = client_of(address);
    let own = client.local_addr().unwrap();
    let fill = |host: &mut Host| {
        let mut count = 0;
        let bytes = pattern(1_000, 1);
        while host.backend.send_datagram(SOCKET, own, &bytes).is_ok() {
            count += 1;
            assert!(count < 1_000, "there is no bound");
        }
        count
    };
    let first = fill(&mut host);
    assert!((80..=100).contains(&first), "{first} of 1,000 bytes");
    assert_eq!(host.backend.counters().datagrams_refused, 1);
    host.until("the sends", |host| {
        host.backend.counters().datagrams_sent == first
    });
    assert_eq!(fill(&mut host), first, "the whole bound is free again");
    assert_eq!(host.backend.counters().datagrams_refused, 2);
    // Empty ones are bounded, too.
    host.until("the sends", |host| {
        host.backend.counters().datagrams_sent == 2 * first
    });
    let mut empty = 0;
    while host.backend.send_datagram(SOCKET, own, b"").is_ok() {
        empty += 1;
        assert!(empty < 100_000, "empty datagrams have no bound");
    }
}

pub(crate) fn ipv6_works_as_ipv4(open: Open) {
    let at = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 0));
    let (mut host, address) = bound_with(open, BackendConfig::default(), at, LIMITS);
    assert!(address.is_ipv6() && address.port() > 0);
    let client = client_of(address);
    client.send(b"six").unwrap();
    until_received(&mut host, 1);
    let own = client.local_addr().unwrap();
    assert_eq!(host.datagrams[0], (own, b"six".to_vec()));
    host.backend.send_datagram(SOCKET, own, b"back").unwrap();
    host.poll(Duration::ZERO);
    assert_eq!(receive(&client), b"back");
}

pub(crate) fn sockets_and_connections_share_a_poll(open: Open) {
    let (mut host, address) = bound(open);
    let (mut stream, conn) = host.client();
    let client = client_of(address);
    let flood = thread::spawn(move || {
        for i in 0..20_000u64 {
            // A full buffer of the kernel drops; that is what a flood is.
            let _ = client.send(&pattern(100, i));
        }
    });
    for round in 1..=50 {
        stream.write_all(b"through").unwrap();
        host.until_received(conn, 7 * round);
    }
    flood.join().unwrap();
    host.until("the flood to pass", |host| {
        let told = host.backend.counters();
        told.datagrams_received + told.datagrams_dropped == 20_000
    });
}

pub(crate) fn a_datagram_ends_a_parked_poll_and_a_silent_socket_sleeps(open: Open) {
    let (mut host, address) = bound(open);
    let client = client_of(address);
    for round in 1..=3 {
        let client = client.try_clone().unwrap();
        let thread = thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            client.send(b"knock").unwrap();
        });
        let start = Instant::now();
        while host.datagrams.len() < round {
            assert!(start.elapsed() < PATIENCE);
            host.poll(PATIENCE * 2);
        }
        thread.join().unwrap();
    }
    host.waker().wake();
    host.poll(PATIENCE * 2);
    assert_eq!(host.woken, 1, "a wake ends it, too");
    assert_sleeps(&mut host);
}

pub(crate) fn dropping_a_backend_with_datagrams_in_flight_frees_the_port(open: Open) {
    let (mut host, address) = bound_with(open, tiny_rings(), any_port(), LIMITS);
    let client = client_of(address);
    let own = client.local_addr().unwrap();
    for i in 0..300 {
        client.send(&pattern(1_000, i)).unwrap();
        host.backend
            .send_datagram(SOCKET, own, &pattern(1_000, i))
            .unwrap();
    }
    host.poll(Duration::ZERO);
    let start = Instant::now();
    drop(host);
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "it waited in vain"
    );
    // The kernel lets go of an io_uring's descriptors a moment later.
    let give_up = Instant::now() + PATIENCE;
    while let Err(error) = UdpSocket::bind(address) {
        assert!(Instant::now() < give_up, "{error}");
        thread::sleep(Duration::from_millis(10));
    }
}
