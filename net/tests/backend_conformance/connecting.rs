//! Coming up, in both directions, or failing to.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use fairlane_net::backend::{
    Backend, BackendConfig, CloseReason, ListenLimits, ListenerTag, SendRefused,
};
use rustix::net::{AddressFamily, SocketType};

use super::Open;
use super::host::{CLIENTS, Host, PATIENCE, any_port, client_of, pattern};

pub(crate) fn a_connection_between_two_backends_works_both_ways(open: Open) {
    let (mut left, mut right) = (Host::new(open), Host::new(open));
    let out = left.backend.connect(right.address, 77).unwrap();
    let give_up = Instant::now() + PATIENCE;
    while left.connected.is_empty() || right.accepted.is_empty() {
        assert!(Instant::now() < give_up);
        left.poll(Duration::from_millis(5));
        right.poll(Duration::from_millis(5));
    }
    assert_eq!(left.connected, [(out, 77)]);
    let back = right.accepted[0];
    let (there, here) = (pattern(700_000, 1), pattern(700_000, 2));
    left.backend.send(out, there.clone()).unwrap();
    right.backend.send(back, here.clone()).unwrap();
    while left.received(out).len() < here.len() || right.received(back).len() < there.len() {
        assert!(Instant::now() < give_up);
        left.poll(Duration::from_millis(1));
        right.poll(Duration::from_millis(1));
    }
    assert!(left.received(out) == here);
    assert!(right.received(back) == there);
}

pub(crate) fn bytes_queued_before_connected_are_delivered(open: Open) {
    let mut host = Host::new(open);
    let listener = TcpListener::bind(any_port()).unwrap();
    let address = listener.local_addr().unwrap();
    let conn = host.backend.connect(address, 5).unwrap();
    host.backend.send(conn, b"early".to_vec()).unwrap();
    host.until("the connection", |host| host.connected == [(conn, 5)]);
    host.backend.send(conn, b" late".to_vec()).unwrap();
    host.until("the writes", |host| {
        host.backend.queued_bytes(conn) == Some(0)
    });
    let (mut accepted, _) = listener.accept().unwrap();
    let mut got = [0; 10];
    accepted.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"early late");
}

pub(crate) fn a_refused_connect_is_a_failed_connect(open: Open) {
    let mut host = Host::new(open);
    // Bound and never listening, so that nobody else gets the port.
    let holder = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&holder, &any_port()).unwrap();
    let address = rustix::net::getsockname(&holder).unwrap();
    let address = address.try_into().unwrap();
    for tag in 0..20 {
        let conn = host.backend.connect(address, tag).unwrap();
        assert!(matches!(
            host.until_closed(conn),
            CloseReason::ConnectFailed(io::ErrorKind::ConnectionRefused)
        ));
    }
    assert!(host.connected.is_empty());
}

pub(crate) fn a_connect_without_an_answer_times_out(open: Open) {
    let config = BackendConfig {
        connect_timeout: Duration::from_millis(300),
        ..BackendConfig::default()
    };
    let mut host = Host::with(open, config);
    let (_listener, address, _filling) = listener_that_answers_no_more();
    let start = Instant::now();
    let conn = host.backend.connect(address, 0).unwrap();
    assert_eq!(
        host.until_closed(conn),
        CloseReason::ConnectFailed(io::ErrorKind::TimedOut)
    );
    assert!(start.elapsed() >= Duration::from_millis(300));
    assert!(host.connected.is_empty());
}

pub(crate) fn closing_while_connecting_ends_it(open: Open) {
    let mut host = Host::new(open);
    let (_listener, address, _filling) = listener_that_answers_no_more();
    let conn = host.backend.connect(address, 0).unwrap();
    host.poll(Duration::ZERO);
    host.backend.send(conn, vec![1]).unwrap();
    host.backend.close(conn);
    assert_eq!(host.backend.send(conn, vec![1]), Err(SendRefused::Closed));
    let lost = CloseReason::Local { flushed: false };
    assert_eq!(host.until_closed(conn), lost);
}

pub(crate) fn a_listener_at_its_limit_closes_the_next_and_leaves_others_alone(open: Open) {
    const PEERS: ListenerTag = ListenerTag(2);
    let mut host = Host::new(open);
    let limits = ListenLimits {
        connections_max: 3,
        send_queue_bytes_max: 1000,
    };
    let limited = host.backend.listen(any_port(), PEERS, limits).unwrap();
    let kept: Vec<TcpStream> = (0..3).map(|_| client_of(limited)).collect();
    let over: Vec<TcpStream> = (0..2).map(|_| client_of(limited)).collect();
    host.until("the refusals", |host| host.backend.counters().refused == 2);
    assert_eq!(host.accepted.len(), 3);
    for mut client in over {
        // End of stream or a reset: in any case, over.
        assert!(matches!(client.read(&mut [0; 1]), Ok(0) | Err(_)));
    }
    // The other listener is open, and a freed place can be taken again.
    let (_client, _) = host.client();
    drop(kept);
    host.until("the closes", |host| {
        host.seen
            .values()
            .filter(|seen| seen.closed.is_some())
            .count()
            == 3
    });
    let mut again = client_of(limited);
    host.until("the place", |host| host.accepted.len() == 5);
    again.write_all(b"x").unwrap();
    host.until_received(host.accepted[4], 1);
}

pub(crate) fn a_taken_port_is_an_error(open: Open) {
    let mut host = Host::new(open);
    let limits = ListenLimits {
        connections_max: 1,
        send_queue_bytes_max: 1,
    };
    let error = host
        .backend
        .listen(host.address, CLIENTS, limits)
        .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    let mut other: Box<dyn Backend> = open(BackendConfig::default());
    let error = other.listen(host.address, CLIENTS, limits).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
}

/// A listener whose accept queue is full: the kernel drops further SYNs, as an unreachable host would.
fn listener_that_answers_no_more() -> (impl Sized, std::net::SocketAddr, impl Sized) {
    let listener = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&listener, &any_port()).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let address = rustix::net::getsockname(&listener).unwrap();
    let address = address.try_into().unwrap();
    let mut filling = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
        filling.push(stream);
        assert!(filling.len() < 16, "the accept queue never fills");
    }
    (listener, address, filling)
}
