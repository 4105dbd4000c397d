//! Many connections at once, and rings too small for them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::{self, JoinHandle};

use fairlane_net::backend::{BackendConfig, BackendKind, CloseReason, ConnId, UringConfig};

use super::Open;
use super::host::{Host, Random, client_of, pattern, reset_on_drop};

pub(crate) fn two_hundred_connections_at_once(open: Open) {
    let mut host = Host::new(open);
    echo_over(&mut host, 200, 3_000);
}

pub(crate) fn rings_of_a_few_entries_lose_nothing(open: Open) {
    let mut host = Host::with(open, tiny_rings());
    echo_over(&mut host, 200, 3_000);
}

pub(crate) fn receive_buffers_may_run_out(open: Open) {
    let mut host = Host::with(open, tiny_rings());
    let mut clients: Vec<_> = (0..40).map(|_| host.client()).collect();
    // All of it lies in the kernel before the next poll: far more than four buffers hold.
    for (i, (client, _)) in clients.iter_mut().enumerate() {
        client.write_all(&pattern(30_000, i as u64)).unwrap();
    }
    for (i, (_, conn)) in clients.iter().enumerate() {
        host.until_received(*conn, 30_000);
        assert!(host.received(*conn) == pattern(30_000, i as u64));
    }
    if host.backend.kind() == BackendKind::Uring {
        assert!(host.backend.counters().buffers_exhausted > 0);
    }
}

pub(crate) fn a_storm_of_five_hundred_reconnects(open: Open) {
    const CLIENTS: usize = 5;
    const TIMES: usize = 100;
    let mut host = Host::new(open);
    let address = host.address;
    let storm: Vec<JoinHandle<()>> = (0..CLIENTS)
        .map(|client| {
            thread::spawn(move || {
                for time in 0..TIMES {
                    let mut stream = client_of(address);
                    // Silent, talking, or rude.
                    match (client + time) % 3 {
                        0 => {}
                        1 => stream.write_all(b"hello").unwrap(),
                        _ => reset_on_drop(&stream).unwrap(),
                    }
                }
            })
        })
        .collect();
    host.until("the storm to pass", |host| {
        let told = host.backend.counters();
        let all = told.accepted + told.accept_errors == (CLIENTS * TIMES) as u64;
        all && host.seen.values().all(|seen| seen.closed.is_some())
    });
    for client in storm {
        client.join().unwrap();
    }
    let told = host.backend.counters();
    assert_eq!(host.accepted.len() as u64, told.accepted);
    let hellos = host.seen.values().filter(|seen| seen.received == b"hello");
    assert_eq!(hellos.count(), (CLIENTS * TIMES).div_ceil(3));
    // Slots are used again: never many more than connections at a time.
    let (mut client, conn) = host.client();
    client.write_all(b"calm").unwrap();
    host.until_received(conn, 4);
}

pub(crate) fn random_sends_closes_and_aborts_keep_the_promises(open: Open) {
    for (seed, config) in [
        (1, BackendConfig::default()),
        (2, tiny_rings()),
        (3, tiny_rings()),
    ] {
        let mut host = Host::with(open, config);
        let mut random = Random(seed);
        let mut clients: Vec<(TcpStream, ConnId)> = Vec::new();
        for _ in 0..2_000 {
            random_step(&mut host, &mut random, &mut clients);
        }
        drop(clients);
        host.until("all to end", |host| {
            let accepted = host.backend.counters().accepted;
            host.accepted.len() as u64 == accepted
                && host.seen.values().all(|seen| seen.closed.is_some())
        });
    }
}

/// One random thing that a client or the owner of the backend may do.
fn random_step(host: &mut Host, random: &mut Random, clients: &mut Vec<(TcpStream, ConnId)>) {
    if clients.is_empty() || (clients.len() < 20 && random.below(8) == 0) {
        return clients.push(host.client());
    }
    let at = random.below(clients.len());
    let (stream, conn) = &mut clients[at];
    let conn = *conn;
    match random.below(12) {
        // Errors are the point: the other side may have ended it already.
        0..4 => drop(host.backend.send(conn, vec![7; 1 + random.below(50_000)])),
        4 => host.backend.close(conn),
        5 => host.backend.abort(conn),
        6 => drop(clients.swap_remove(at)),
        7 => {
            let (stream, _) = clients.swap_remove(at);
            reset_on_drop(&stream).unwrap();
        }
        8 | 9 => {
            stream.set_nonblocking(true).unwrap();
            let _ = stream.write(&vec![1; 1 + random.below(20_000)]);
            let _ = stream.read(&mut vec![0; 60_000]);
        }
        _ => host.poll(std::time::Duration::ZERO),
    }
    // A connection that we ended is gone for its client too.
    if matches!(host.closed(conn), Some(CloseReason::Local { .. })) {
        clients.retain(|(_, other)| *other != conn);
    }
}

/// Clients that all connect, then all write, then all read back what they wrote.
fn echo_over(host: &mut Host, count: usize, bytes: usize) {
    let address: SocketAddr = host.address;
    let clients = thread::spawn(move || {
        let mut streams: Vec<TcpStream> = (0..count).map(|_| client_of(address)).collect();
        for (i, stream) in streams.iter_mut().enumerate() {
            stream.write_all(&pattern(bytes, i as u64)).unwrap();
        }
        let mut back = vec![0; bytes];
        for (i, stream) in streams.iter_mut().enumerate() {
            stream.read_exact(&mut back).unwrap();
            assert!(
                back == pattern(bytes, i as u64),
                "client {i} got other bytes"
            );
        }
        streams
    });
    host.until("the echoes", |host| {
        for (&conn, seen) in &mut host.seen {
            if !seen.received.is_empty() && seen.closed.is_none() {
                let mut reply = host.backend.buffer();
                reply.append(&mut seen.received);
                host.backend.send(conn, reply).unwrap();
            }
        }
        clients.is_finished()
    });
    assert_eq!(host.accepted.len(), count);
    let streams = clients.join().unwrap();
    assert!(host.seen.values().all(|seen| seen.closed.is_none()));
    assert_eq!(
        host.backend.counters().received_bytes,
        (count * bytes) as u64
    );
    assert_eq!(host.backend.counters().sent_bytes, (count * bytes) as u64);
    drop(streams);
    host.until("the closes", |host| {
        host.seen
            .values()
            .all(|seen| seen.closed == Some(CloseReason::Peer))
    });
}

/// Rings so small that submissions wait, completions overflow and buffers run out. mio has none of them.
pub(crate) fn tiny_rings() -> BackendConfig {
    BackendConfig {
        uring: UringConfig {
            sq_entries: 4,
            cq_entries: 8,
            buffers: 4,
            buffer_bytes: 512,
            ..UringConfig::default()
        },
        ..BackendConfig::default()
    }
}
