//! Datagrams over `lo`, and every refusal, in network namespaces of the tests' own.

use std::net::UdpSocket;

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

use super::testing::in_own_network;
use super::*;

/// A kernel's socket at the address, which is the fallback, and the queue of `lo`.
fn open(address: &str) -> (UdpSocket, XdpQueue) {
    let fallback = UdpSocket::bind(address).unwrap();
    fallback
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let bound = fallback.local_addr().unwrap();
    let mut xdp = Xdp::open("lo", bound, None).unwrap();
    assert_eq!(xdp.queues.len(), 1);
    (fallback, xdp.queues.remove(0))
}

/// What is counted, the kernel's part of it too.
fn counters(queue: &XdpQueue) -> SourceCounters {
    std::thread::sleep(LOSSES_EVERY);
    queue.counters()
}

/// Takes `count` datagrams, waiting for them, and gives their peers and bytes.
fn take(queue: &mut XdpQueue, count: usize) -> Vec<(SocketAddr, Vec<u8>)> {
    let mut taken = Vec::new();
    let give_up = Instant::now() + Duration::from_secs(20);
    while taken.len() < count {
        assert!(Instant::now() < give_up, "{} of {count} came", taken.len());
        queue.wait(Duration::from_millis(50)).unwrap();
        queue.take(64, &mut |peer, bytes| taken.push((peer, bytes.to_vec())));
    }
    taken
}

#[test]
fn datagrams_arrive_in_order_with_their_peer_over_both_families() {
    in_own_network("datagrams_arrive_in_order", || {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let (fallback, mut queue) = open(address);
            let client = UdpSocket::bind(address).unwrap();
            client.connect(fallback.local_addr().unwrap()).unwrap();
            for index in 0..1_000_u32 {
                let mut bytes = index.to_le_bytes().to_vec();
                bytes.resize(4 + (index as usize * 7) % 1_400, 0xa5);
                client.send(&bytes).unwrap();
            }
            let taken = take(&mut queue, 1_000);
            for (index, (peer, bytes)) in taken.iter().enumerate() {
                assert_eq!(*peer, client.local_addr().unwrap());
                assert_eq!(bytes[..4], (index as u32).to_le_bytes());
                assert_eq!(bytes.len(), 4 + (index * 7) % 1_400);
            }
            let counters = counters(&queue);
            assert_eq!((counters.datagrams, counters.malformed), (1_000, 0));
            assert_eq!(counters.dropped + counters.ring_full, 0);
        }
    });
}

#[test]
fn a_reply_through_the_kernels_socket_reaches_the_peer() {
    in_own_network("a_reply_through_the_kernels_socket", || {
        let (fallback, mut queue) = open("127.0.0.1:0");
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client
            .send_to(b"ask", fallback.local_addr().unwrap())
            .unwrap();
        let (peer, _) = take(&mut queue, 1).remove(0);
        fallback.send_to(b"answer", peer).unwrap();
        let mut buffer = [0; 16];
        let (length, from) = client.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"answer");
        assert_eq!(from, fallback.local_addr().unwrap());
    });
}

#[test]
fn what_is_too_long_for_a_chunk_and_what_comes_after_closing_go_to_the_kernels_socket() {
    in_own_network("what_is_too_long_for_a_chunk", || {
        let (fallback, mut queue) = open("127.0.0.1:0");
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(fallback.local_addr().unwrap()).unwrap();
        let longest = program::PACKET_LEN_MAX - 42;
        let mut buffer = vec![0; 64 << 10];
        for length in [longest + 1, 9_000, 60_000] {
            client.send(&vec![1; length]).unwrap();
            assert_eq!(fallback.recv(&mut buffer).unwrap(), length);
        }
        client.send(&vec![2; longest]).unwrap();
        assert_eq!(take(&mut queue, 1)[0].1.len(), longest);
        assert_eq!(counters(&queue).dropped, 0);
        drop(queue);
        client.send(b"after").unwrap();
        assert_eq!(fallback.recv(&mut buffer).unwrap(), 5);
    });
}

#[test]
fn rings_that_run_full_lose_what_is_counted_and_go_on() {
    in_own_network("rings_that_run_full", || {
        let (fallback, mut queue) = open("127.0.0.1:0");
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(fallback.local_addr().unwrap()).unwrap();
        let sent = u64::from(socket::RING_DEPTH) + 1_000;
        for _ in 0..sent {
            client.send(b"flood").unwrap();
        }
        let held = take(&mut queue, socket::RING_DEPTH as usize).len() as u64;
        let first = counters(&queue);
        let lost = first.dropped + first.ring_full;
        assert_eq!(held + lost, sent);
        assert!(lost >= 1_000);
        // Three times round the rings.
        for round in 0..3 * socket::RING_DEPTH / 64 {
            for _ in 0..64 {
                client.send(&round.to_le_bytes()).unwrap();
            }
            let taken = take(&mut queue, 64);
            assert!(
                taken
                    .iter()
                    .all(|(_, bytes)| bytes[..] == round.to_le_bytes())
            );
        }
        let last = counters(&queue);
        assert_eq!(last.dropped + last.ring_full, lost);
    });
}

#[test]
fn a_flood_beside_a_spinning_receiver_is_received_or_counted() {
    in_own_network("a_flood_beside_a_spinning_receiver", || {
        const SENT: u64 = 200_000;
        let (fallback, mut queue) = open("127.0.0.1:0");
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(fallback.local_addr().unwrap()).unwrap();
        let sender = std::thread::spawn(move || {
            for index in 0..SENT {
                client.send(&index.to_le_bytes()).unwrap();
            }
        });
        let (mut received, mut last) = (0, None);
        let mut each = |_, bytes: &[u8]| {
            let index = u64::from_le_bytes(bytes.try_into().unwrap());
            assert!(last.is_none_or(|last| last < index), "{last:?}, {index}");
            last = Some(index);
            received += 1;
        };
        while !sender.is_finished() {
            queue.take(64, &mut each);
        }
        while queue.take(64, &mut each) {}
        sender.join().unwrap();
        let counted = counters(&queue);
        assert_eq!(received + counted.dropped + counted.ring_full, SENT);
    });
}

#[test]
fn a_limit_leaves_the_rest_for_the_next_time() {
    in_own_network("a_limit_leaves_the_rest", || {
        let (fallback, mut queue) = open("127.0.0.1:0");
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        for byte in 0..10 {
            client
                .send_to(&[byte], fallback.local_addr().unwrap())
                .unwrap();
        }
        let mut taken = Vec::new();
        let mut each = |_, bytes: &[u8]| taken.push(bytes[0]);
        assert!(queue.take(3, &mut each));
        assert!(queue.take(6, &mut each));
        assert!(!queue.take(6, &mut each));
        assert_eq!(taken, (0..10).collect::<Vec<u8>>());
    });
}

#[test]
fn a_queue_can_be_opened_again_as_soon_as_it_is_closed() {
    in_own_network("a_queue_can_be_opened_again", || {
        let bound: SocketAddr = "127.0.0.1:7000".parse().unwrap();
        for _ in 0..20 {
            drop(Xdp::open("lo", bound, None).unwrap());
        }
    });
}

#[test]
fn a_second_program_on_an_interface_is_refused_in_a_sentence() {
    in_own_network("a_second_program_on_an_interface", || {
        let bound: SocketAddr = "127.0.0.1:7000".parse().unwrap();
        let _first = Xdp::open("lo", bound, None).unwrap();
        let second = Xdp::open("lo", bound, None).unwrap_err();
        assert!(matches!(second, XdpError::Busy { .. }), "{second:?}");
        assert_sentence(&second, "ip link show lo");
    });
}

#[test]
fn native_mode_is_refused_on_lo_with_the_kernels_reason() {
    in_own_network("native_mode_is_refused_on_lo", || {
        let bound: SocketAddr = "127.0.0.1:7000".parse().unwrap();
        let refused = Xdp::open("lo", bound, Some(Mode::Native)).unwrap_err();
        assert!(matches!(refused, XdpError::Failed { .. }), "{refused:?}");
        assert_sentence(&refused, "attaching the program");
        let facts = Xdp::open("lo", bound, None).unwrap().facts;
        assert_eq!((facts.mode, facts.is_zero_copy), (Mode::Generic, false));
        assert!(
            facts
                .to_string()
                .starts_with("AF_XDP on lo, generic (SKB) mode, copy, 1 queue")
        );
    });
}

#[test]
fn each_capability_that_is_missing_is_named() {
    let cases = [
        (CapabilitySet::NET_RAW, "CAP_NET_RAW (for the socket)"),
        (
            CapabilitySet::BPF | CapabilitySet::SYS_ADMIN,
            "CAP_BPF (to load its program)",
        ),
        (CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN (to attach it)"),
    ];
    for (dropped, name) in cases {
        in_own_network("each_capability_that_is_missing", move || {
            let held = capabilities(None).unwrap();
            let effective = held.effective.difference(dropped);
            set_capabilities(None, CapabilitySets { effective, ..held }).unwrap();
            let refused = Xdp::open("lo", "127.0.0.1:7000".parse().unwrap(), None).unwrap_err();
            assert_sentence(&refused, name);
            assert_eq!(
                refused.to_string().matches("(to ").count()
                    + refused.to_string().matches("(for ").count(),
                1
            );
        });
    }
}

#[test]
fn wrong_names_and_ports_are_refused_in_a_sentence() {
    let bound: SocketAddr = "127.0.0.1:7000".parse().unwrap();
    let refused = Xdp::open("nosuch0", bound, None).unwrap_err();
    assert_sentence(&refused, "nosuch0");
    let refused = Xdp::open("lo", "127.0.0.1:0".parse().unwrap(), None).unwrap_err();
    assert_sentence(&refused, "not 0");
}

fn assert_sentence(error: &XdpError, part: &str) {
    let text = error.to_string();
    assert!(text.contains(part), "{text}");
    assert!(!text.contains('\n') && !text.contains("  "), "{text}");
}
