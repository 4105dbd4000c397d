//! Ends: ours, theirs, orderly or not.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use fairlane_net::backend::{BackendConfig, CloseReason, SendRefused};

use super::Open;
use super::host::{Host, client_of, pattern, reset_on_drop};

pub(crate) fn close_delivers_what_was_queued(open: Open) {
    let mut host = Host::new(open);
    let (mut client, conn) = host.client();
    let sent = pattern(3 << 20, 1);
    host.backend.send(conn, sent.clone()).unwrap();
    host.backend.close(conn);
    assert_eq!(host.backend.send(conn, vec![1]), Err(SendRefused::Closed));
    let reader = thread::spawn(move || {
        let mut got = Vec::new();
        client.read_to_end(&mut got).unwrap();
        got
    });
    let all = CloseReason::Local { flushed: true };
    assert_eq!(host.until_closed(conn), all);
    assert!(reader.join().unwrap() == sent);
}

pub(crate) fn close_of_a_peer_that_never_reads_ends_after_linger(open: Open) {
    let config = BackendConfig {
        linger: Duration::from_millis(300),
        send_queue_bytes_max: 64 << 20,
        ..BackendConfig::default()
    };
    let mut host = Host::with(open, config);
    let (_client, conn) = host.client();
    host.backend.send(conn, vec![0; 32 << 20]).unwrap();
    let start = Instant::now();
    host.backend.close(conn);
    let cut = CloseReason::Local { flushed: false };
    assert_eq!(host.until_closed(conn), cut);
    assert!(start.elapsed() >= Duration::from_millis(300));
    // Likewise a peer that has all and never sends its FIN.
    let (_client, conn) = host.client();
    host.backend.close(conn);
    let all = CloseReason::Local { flushed: true };
    assert_eq!(host.until_closed(conn), all);
}

pub(crate) fn nothing_is_received_after_close(open: Open) {
    let mut host = Host::new(open);
    let (mut client, conn) = host.client();
    client.write_all(b"before").unwrap();
    host.until_received(conn, 6);
    client.write_all(&pattern(100_000, 1)).unwrap();
    host.backend.close(conn);
    client.write_all(&pattern(100_000, 2)).unwrap();
    drop(client);
    host.until_closed(conn);
    assert_eq!(host.received(conn), b"before");
}

pub(crate) fn abort_resets(open: Open) {
    let mut host = Host::new(open);
    let (mut client, conn) = host.client();
    host.backend.send(conn, vec![1; 1000]).unwrap();
    host.backend.abort(conn);
    host.backend.abort(conn);
    host.backend.close(conn);
    let lost = CloseReason::Local { flushed: false };
    assert_eq!(host.until_closed(conn), lost);
    let error = client.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

pub(crate) fn a_peers_reset_is_a_reset(open: Open) {
    let mut host = Host::new(open);
    for _ in 0..20 {
        let (client, conn) = host.client();
        reset_on_drop(&client).unwrap();
        drop(client);
        assert_eq!(host.until_closed(conn), CloseReason::Reset);
    }
}

pub(crate) fn a_half_close_gets_what_was_queued_and_is_closed(open: Open) {
    let mut host = Host::new(open);
    let (mut client, conn) = host.client();
    let sent = pattern(3 << 20, 5);
    host.backend.send(conn, sent.clone()).unwrap();
    // The kernel's buffers are full and ours is not empty when the FIN comes.
    host.poll(Duration::ZERO);
    client.write_all(b"bye").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let reader = thread::spawn(move || {
        // Leaves the FIN time to arrive first.
        thread::sleep(Duration::from_millis(100));
        let mut got = Vec::new();
        client.read_to_end(&mut got).unwrap();
        got
    });
    assert_eq!(host.until_closed(conn), CloseReason::Peer);
    assert_eq!(host.received(conn), b"bye");
    assert!(reader.join().unwrap() == sent);
}

pub(crate) fn an_old_id_does_not_touch_the_new_connection(open: Open) {
    let mut host = Host::new(open);
    let (client, old) = host.client();
    drop(client);
    host.until_closed(old);
    let (mut client, new) = host.client();
    assert_eq!(new.slot(), old.slot(), "the slot is used again");
    assert_ne!(new, old);
    assert_eq!(host.backend.send(old, vec![1]), Err(SendRefused::Closed));
    assert_eq!(host.backend.queued_bytes(old), None);
    host.backend.close(old);
    host.backend.abort(old);
    client.write_all(b"alive").unwrap();
    host.until_received(new, 5);
    host.backend.send(new, b"yes".to_vec()).unwrap();
    host.until("the write", |host| {
        host.backend.queued_bytes(new) == Some(0)
    });
    let mut got = [0; 3];
    client.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"yes");
    assert_eq!(host.closed(new), None);
}

pub(crate) fn dropping_a_backend_in_full_flight_closes_everything(open: Open) {
    let mut host = Host::new(open);
    let mut clients: Vec<_> = (0..50).map(|_| host.client()).collect();
    for (client, conn) in &mut clients {
        // Receives that are not taken, sends that cannot complete, accepts that wait.
        client.write_all(&pattern(20_000, 1)).unwrap();
        host.backend.send(*conn, vec![0; 4 << 20]).unwrap();
    }
    host.poll(Duration::ZERO);
    let waiting = client_of(host.address);
    let waker = host.waker();
    let start = Instant::now();
    drop(host);
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "it waited in vain"
    );
    waker.wake();
    for (mut client, _) in clients {
        // What was in the kernel's buffers, then the end or a reset; a leaked socket would fall silent instead.
        let mut sink = vec![0; 1 << 20];
        let end = loop {
            match client.read(&mut sink) {
                Ok(0) => break None,
                Ok(_) => {}
                Err(error) => break Some(error.kind()),
            }
        };
        assert!(
            matches!(end, None | Some(io::ErrorKind::ConnectionReset)),
            "{end:?}"
        );
    }
    drop(waiting);
}
