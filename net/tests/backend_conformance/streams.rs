//! Bytes arrive whole, in order, and no further than the bounds allow.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use fairlane_net::backend::{BackendConfig, CloseReason, SendRefused};
use fairlane_net::deframe::Deframer;
use fairlane_net::frame;

use super::Open;
use super::host::{Host, Random, pattern};

pub(crate) fn echo_returns_the_same_bytes(open: Open) {
    let mut host = Host::new(open);
    let (mut client, conn) = host.client();
    for round in 0..50 {
        let sent = pattern(1 + round * 37, round as u64);
        client.write_all(&sent).unwrap();
        host.until_received(conn, sent.len());
        let mut reply = host.backend.buffer();
        reply.extend_from_slice(host.received(conn));
        host.seen.get_mut(&conn).unwrap().received.clear();
        host.backend.send(conn, reply).unwrap();
        host.until("the write", |host| {
            host.backend.queued_bytes(conn) == Some(0)
        });
        let mut back = vec![0; sent.len()];
        client.read_exact(&mut back).unwrap();
        assert_eq!(back, sent);
    }
}

pub(crate) fn frames_split_and_merged_arrive_as_sent(open: Open) {
    let mut host = Host::new(open);
    let (mut client, conn) = host.client();
    let mut random = Random(7);
    let frames: Vec<(u8, Vec<u8>)> = (0..300)
        .map(|i| (i as u8, pattern(random.below(9000), i)))
        .collect();
    let mut bytes = Vec::new();
    for (kind, body) in &frames {
        frame::append(&mut bytes, *kind, body, 1 << 14).unwrap();
    }
    let total = bytes.len();
    let writer = thread::spawn(move || {
        let mut random = Random(8);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            // Pieces from one byte, a header split in two, to many frames at once.
            let bound = [2, 7, 5_000, 40_000][random.below(4)];
            let (piece, after) = rest.split_at((1 + random.below(bound)).min(rest.len()));
            client.write_all(piece).unwrap();
            rest = after;
        }
        client
    });
    let mut deframer = Deframer::new(1 << 14);
    let mut got = Vec::new();
    let mut count = 0;
    host.until("all frames", |host| {
        let piece = std::mem::take(&mut host.seen.get_mut(&conn).unwrap().received);
        count += piece.len();
        let mut reader = deframer.feed(&piece);
        while let Some(frame) = reader.next().unwrap() {
            got.push((frame.kind, frame.body.to_vec()));
        }
        count == total
    });
    assert_eq!(got, frames);
    drop(writer.join().unwrap());
}

pub(crate) fn a_burst_then_silence_arrives_whole(open: Open) {
    let mut host = Host::new(open);
    let (mut client, conn) = host.client();
    let sent = pattern(3 << 20, 1);
    let copy = sent.clone();
    let writer = thread::spawn(move || {
        client.write_all(&copy).unwrap();
        client
    });
    host.until_received(conn, sent.len());
    assert!(host.received(conn) == sent);
    assert_eq!(host.closed(conn), None);
    assert_eq!(host.backend.counters().received_bytes, sent.len() as u64);
    drop(writer.join().unwrap());
}

pub(crate) fn bytes_before_the_fin_all_arrive(open: Open) {
    let mut host = Host::new(open);
    for round in 0..20 {
        let (mut client, conn) = host.client();
        let sent = pattern(100_000, round);
        client.write_all(&sent).unwrap();
        client.shutdown(Shutdown::Both).unwrap();
        drop(client);
        assert_eq!(host.until_closed(conn), CloseReason::Peer);
        assert!(host.received(conn) == sent);
    }
}

pub(crate) fn many_small_sends_keep_their_order(open: Open) {
    let mut host = Host::new(open);
    let (mut client, conn) = host.client();
    let sent = pattern(200_000, 3);
    for (i, chunk) in sent.chunks(20).enumerate() {
        host.backend.send(conn, chunk.to_vec()).unwrap();
        if i % 1000 == 0 {
            host.poll(Duration::ZERO);
        }
    }
    host.until("the writes", |host| {
        host.backend.queued_bytes(conn) == Some(0)
    });
    let mut back = vec![0; sent.len()];
    client.read_exact(&mut back).unwrap();
    assert!(back == sent);
    assert_eq!(host.backend.counters().sent_bytes, sent.len() as u64);
}

pub(crate) fn a_slow_reader_is_refused_at_the_bound_and_gets_every_byte(open: Open) {
    const BOUND: usize = 1 << 20;
    let config = BackendConfig {
        send_queue_bytes_max: BOUND,
        ..BackendConfig::default()
    };
    let mut host = Host::with(open, config);
    let (mut client, conn) = host.client();
    let bytes = pattern(32 << 20, 4);
    let mut chunks = bytes.chunks(10_000);
    let mut sent = 0;
    // The reader sleeps: the kernel's buffers fill, then ours, then we are told.
    let refused = loop {
        let chunk = chunks.next().expect("32 MiB do not fit any buffer");
        match host.backend.send(conn, chunk.to_vec()) {
            Ok(()) => sent += chunk.len(),
            Err(refused) => break refused,
        }
        assert!(host.backend.queued_bytes(conn).unwrap() <= BOUND);
        host.poll(Duration::ZERO);
    };
    assert_eq!(refused, SendRefused::Full);
    assert_eq!(host.backend.counters().send_full, 1);
    assert!(host.backend.queued_bytes(conn).unwrap() > BOUND - 10_000);

    let expected = bytes.clone();
    let reader = thread::spawn(move || {
        let (mut got, mut piece) = (Vec::new(), vec![0; 50_000]);
        while got.len() < expected.len() {
            let count = client.read(&mut piece).unwrap();
            assert_ne!(count, 0, "closed before the end");
            got.extend_from_slice(&piece[..count]);
        }
        assert!(got == expected);
        client
    });
    host.send_all(conn, &bytes[sent..]);
    host.until("the writes", |host| {
        host.backend.queued_bytes(conn) == Some(0)
    });
    drop(reader.join().unwrap());
}

pub(crate) fn one_send_above_the_bound_is_refused_whole(open: Open) {
    let config = BackendConfig {
        send_queue_bytes_max: 1000,
        ..BackendConfig::default()
    };
    let mut host = Host::with(open, config);
    let (mut client, conn) = host.client();
    assert_eq!(
        host.backend.send(conn, vec![1; 1001]),
        Err(SendRefused::Full)
    );
    assert_eq!(host.backend.send(conn, vec![2; 1000]), Ok(()));
    assert_eq!(host.backend.send(conn, vec![3; 1]), Err(SendRefused::Full));
    host.backend.close(conn);
    let reader = thread::spawn(move || {
        let mut got = Vec::new();
        client.read_to_end(&mut got).unwrap();
        got
    });
    host.until_closed(conn);
    assert_eq!(reader.join().unwrap(), vec![2; 1000]);
}
