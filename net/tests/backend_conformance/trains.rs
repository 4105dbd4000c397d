//! Trains: what a sender gives to the kernel as one (UDP_SEGMENT) and a socket takes as one (UDP_GRO) are datagrams still.

use std::io::{IoSlice, Write as _};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;

use fairlane_net::backend::{BackendConfig, DatagramLimits};
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrIn, sendmsg};

use super::Open;
use super::datagrams::{BYTES_MAX, LIMITS, bound_with, client_of, until_received};
use super::host::{Host, PATIENCE, any_port, pattern};
use super::load::tiny_rings;

const JOINING: DatagramLimits = DatagramLimits {
    gro: true,
    ..LIMITS
};

fn joining(open: Open, config: BackendConfig) -> (Host, SocketAddr, UdpSocket) {
    let (host, address) = bound_with(open, config, any_port(), JOINING);
    (host, address, client_of(address))
}

/// Sends `bytes` as datagrams of `segment_len`, the last perhaps shorter.
fn send_train(client: &UdpSocket, bytes: &[u8], segment_len: u16) {
    let (fd, slices) = (client.as_raw_fd(), [IoSlice::new(bytes)]);
    let control = [ControlMessage::UdpGsoSegments(&segment_len)];
    let sent = sendmsg::<SockaddrIn>(fd, &slices, &control, MsgFlags::empty(), None);
    assert_eq!(sent.unwrap(), bytes.len());
}

pub(crate) fn a_train_is_handed_out_as_its_datagrams(open: Open) {
    let (mut host, _, client) = joining(open, BackendConfig::default());
    let from = client.local_addr().unwrap();
    let mut sent: Vec<Vec<u8>> = Vec::new();
    for (round, (bytes, segment)) in [(2_200, 400), (800, 400), (500, 500), (64 * 500, 500)]
        .into_iter()
        .enumerate()
    {
        let train = pattern(bytes, round as u64);
        send_train(&client, &train, segment);
        sent.extend(train.chunks(segment.into()).map(<[u8]>::to_vec));
        // One by itself between two trains.
        let alone = pattern(77, round as u64);
        client.send(&alone).unwrap();
        sent.push(alone);
    }
    until_received(&mut host, sent.len());
    for ((peer, bytes), sent) in host.datagrams.iter().zip(&sent) {
        assert_eq!((*peer, bytes), (from, sent));
    }
    let told = host.backend.counters();
    assert_eq!(told.datagrams_received, sent.len() as u64);
    let total: usize = sent.iter().map(Vec::len).sum();
    assert_eq!(told.received_bytes, total as u64);
    assert_eq!(told.datagrams_dropped, 0);
}

pub(crate) fn those_of_a_train_above_the_bound_are_counted_and_the_others_come(open: Open) {
    let (mut host, _, client) = joining(open, BackendConfig::default());
    let long = BYTES_MAX + 1;
    send_train(&client, &pattern(3 * long + 100, 1), long as u16);
    client.send(&pattern(long, 2)).unwrap();
    client.send(&[]).unwrap();
    client.send(b"after").unwrap();
    until_received(&mut host, 3);
    let lens: Vec<usize> = host
        .datagrams
        .iter()
        .map(|(_, bytes)| bytes.len())
        .collect();
    assert_eq!(lens, [100, 0, 5]);
    assert_eq!(host.backend.counters().datagrams_truncated, 4);
}

pub(crate) fn trains_of_several_senders_do_not_mix(open: Open) {
    let (mut host, address, first) = joining(open, tiny_rings());
    let second = client_of(address);
    for round in 0..20 {
        send_train(&first, &pattern(4_000, round), 200);
        send_train(&second, &pattern(3_000, round), 300);
        let count = (round as usize + 1) * 30;
        until_received(&mut host, count);
    }
    for (client, segment) in [(&first, 200), (&second, 300)] {
        let from = client.local_addr().unwrap();
        let of = host.datagrams.iter().filter(|(peer, _)| *peer == from);
        let bytes: Vec<&[u8]> = of.map(|(_, bytes)| &bytes[..]).collect();
        assert!(bytes.iter().all(|bytes| bytes.len() == segment));
        let len = if segment == 200 { 4_000 } else { 3_000 };
        let expected: Vec<u8> = (0..20).flat_map(|round| pattern(len, round)).collect();
        assert_eq!(bytes.concat(), expected);
    }
}

/// What is refused of a socket is no reason to stay with it: each turn has an end. (io_uring's is its completions.)
#[test]
fn datagrams_that_are_refused_do_not_hold_a_turn_of_epoll() {
    let (mut host, _, client) = joining(super::open_mio, BackendConfig::default());
    let too_long = pattern(BYTES_MAX + 1, 3);
    for _ in 0..400 {
        client.send(&too_long).unwrap();
    }
    host.poll(PATIENCE);
    let in_one_turn = host.backend.counters().datagrams_truncated;
    assert!(
        0 < in_one_turn && in_one_turn <= DATAGRAMS_A_TURN,
        "{in_one_turn}"
    );
    host.poll(PATIENCE);
    if host.backend.counters().datagrams_truncated <= DATAGRAMS_A_TURN {
        let why = "net.core.rmem_max has no room for more than a turn's";
        let _ = writeln!(std::io::stderr(), "SKIPPED the bound of a turn: {why}");
    }
}

/// `DATAGRAMS_SHARE` of the backend.
const DATAGRAMS_A_TURN: u64 = 256;
