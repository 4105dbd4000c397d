//! The client against nodes that behave, die, stall and lie.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests, in which a panic is the report"
)]

#[path = "support/fake_node.rs"]
mod fake_node;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use fairlane_client::protocol::{
    Ack, AckCode, ENVELOPE_LEN_MAX, FollowCode, FollowTarget, GoodbyeCode, IncludedEntry,
    NOTICE_LEN_MAX, OrderedItem, Reveal, SIGNED_HEADER_LEN, encode_acks, encode_certified,
    encode_following, encode_goodbye, encode_included, encode_ordered, encode_receipts,
    encode_settled, encode_welcome,
};
use fairlane_client::{
    Client, ClientOptions, CloseReason, Event, InclusionError, LinkCounts, Observer, Observers,
    ReceiptError, poll_all,
};
use fairlane_engine::batch::{BatchHeader, Outcome, payload_leaf};
use fairlane_engine::certificate::{Certificate, CertifiedHeader, SIGNATURE_LEN};
use fairlane_engine::dag::{Settled, SignedHeader, VertexHeader, entry_leaf};
use fairlane_engine::keyring::statement::KeyStatement;
use fairlane_engine::merkle;
use fairlane_engine::seal::SealingKey;
use fairlane_engine::types::{
    AuthorityIndex, AuthoritySet, BatchSeq, Digest, Entry, Epoch, KeyId, Position, Round,
    Sha256Hash, TimestampUs,
};
use fake_node::{
    CHAIN, FakeNode, KEY, Owned, Peer, ROLLUP, committee, key_id, key_plan, sealing_key,
    signing_key, welcome,
};

/// Keeps all events; wants receipts of the tags in `entries`.
#[derive(Default)]
struct Log {
    events: Vec<(u8, Event)>,
    entries: BTreeMap<u64, Entry>,
}

impl Observer for Log {
    fn receipt_wanted(&self, tag: u64) -> Option<Entry> {
        self.entries.get(&tag).copied()
    }

    fn on_event(&mut self, authority: AuthorityIndex, event: Event) {
        if let Event::Receipt { tag, .. } = &event {
            self.entries.remove(tag);
        }
        self.events.push((authority.0, event));
    }
}

impl Log {
    fn count(&self, is_it: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|(_, event)| is_it(event)).count()
    }

    fn last_reason(&self) -> Option<&CloseReason> {
        self.events.iter().rev().find_map(|(_, event)| match event {
            Event::Disconnected { reason } | Event::ConnectFailed { reason } => Some(reason),
            _ => None,
        })
    }
}

fn client_of(addresses: &[SocketAddr]) -> Client {
    let committee = committee(addresses.len() as u8);
    Client::new(committee, KEY.clone(), addresses, ClientOptions::default())
}

/// Polls until `is_done` or ten seconds are over, which fails the test.
fn poll_until(client: &mut Client, log: &mut Log, is_done: impl Fn(&Client, &Log) -> bool) {
    let until = Instant::now() + Duration::from_secs(10);
    while !is_done(client, log) {
        assert!(Instant::now() < until, "nothing for 10 s: {:?}", log.events);
        client.poll(Duration::from_millis(20), log).unwrap();
    }
}

fn accept_all(peer: &mut Peer, index: u8) {
    peer.greet(index, key_id());
    loop {
        let submissions = peer.submissions();
        if submissions.is_empty() {
            return;
        }
        let acks: Vec<Ack> = submissions
            .iter()
            .map(|(tag, _)| ack(*tag, AckCode::Accepted))
            .collect();
        peer.send(|out| encode_acks(out, &acks));
    }
}

const fn ack(tag: u64, code: AckCode) -> Ack {
    Ack {
        tag,
        code,
        detail: 0,
    }
}

#[test]
fn every_envelope_reaches_every_authority_unchanged_and_in_order() {
    let (sender, receiver) = mpsc::channel();
    let nodes: Vec<FakeNode> = (0..3)
        .map(|index| {
            let sender = sender.clone();
            FakeNode::start(move |peer| {
                let hello = peer.greet(index, key_id());
                assert!(hello.receipts && hello.ordered && hello.settled && hello.keys);
                assert_eq!(hello.chain_id, CHAIN);
                while let Some(Owned::Submit(tag, bytes)) = peer.request() {
                    sender.send((index, tag, bytes)).unwrap();
                    peer.send(|out| encode_acks(out, &[ack(tag, AckCode::Accepted)]));
                }
            })
        })
        .collect();
    let addresses: Vec<SocketAddr> = nodes.iter().map(|node| node.address).collect();
    let (mut client, mut log) = (client_of(&addresses), Log::default());
    let live = client
        .connect_all(Duration::from_secs(10), &mut log)
        .unwrap();
    assert_eq!(live.len(), 3);
    // More than one write takes, the longest envelope among them.
    let envelope = |tag: u64| vec![tag as u8; 1 + (tag as usize * 977) % ENVELOPE_LEN_MAX];
    for tag in 0..300 {
        assert_eq!(client.submit(tag, &envelope(tag)).unwrap(), live);
    }
    poll_until(&mut client, &mut log, |_, log| {
        log.count(|event| matches!(event, Event::Ack(_))) == 900
    });
    drop(client);
    drop(nodes);
    drop(sender);
    let mut next = [0u64; 3];
    for (index, tag, bytes) in receiver {
        assert_eq!(
            tag,
            next[usize::from(index)],
            "in order at authority {index}"
        );
        assert_eq!(bytes, envelope(tag));
        next[usize::from(index)] += 1;
    }
    assert_eq!(next, [300; 3]);
}

/// A log a client.
#[derive(Default)]
struct Logs([Log; 2]);

impl Observers for Logs {
    fn observer(&mut self, client: usize) -> &mut dyn Observer {
        &mut self.0[client]
    }
}

#[test]
fn two_clients_are_polled_together_and_each_hears_what_is_its_own() {
    let nodes: Vec<FakeNode> = (0..3)
        .map(|index| FakeNode::start_many(move |peer| accept_all(peer, index)))
        .collect();
    let addresses: Vec<SocketAddr> = nodes.iter().map(|node| node.address).collect();
    let mut clients = [client_of(&addresses), client_of(&addresses)];
    let mut logs = Logs::default();
    let until = Instant::now() + Duration::from_secs(10);
    let poll = |clients: &mut [Client; 2],
                logs: &mut Logs,
                is_done: &dyn Fn(&[Client; 2], &Logs) -> bool| {
        while !is_done(clients, logs) {
            assert!(Instant::now() < until, "nothing for 10 s");
            poll_all(clients, 1, Duration::from_millis(20), logs).unwrap();
        }
    };
    poll(&mut clients, &mut logs, &|clients, _| {
        clients.iter().all(|client| client.live().len() == 3)
    });
    let mut one = AuthoritySet::EMPTY;
    one.insert(AuthorityIndex(1));
    assert_eq!(clients[0].submit_to(7, b"to one", one).unwrap(), one);
    let live = clients[1].live();
    assert_eq!(clients[1].submit(8, b"to all").unwrap(), live);
    let acks = |log: &Log| -> Vec<(u8, u64)> {
        let acks = log.events.iter().filter_map(|(who, event)| match event {
            Event::Ack(ack) => Some((*who, ack.tag)),
            _ => None,
        });
        acks.collect()
    };
    poll(&mut clients, &mut logs, &|_, logs| {
        acks(&logs.0[0]).len() + acks(&logs.0[1]).len() == 4
    });
    assert_eq!(acks(&logs.0[0]), [(1, 7)]);
    let mut all = acks(&logs.0[1]);
    all.sort_unstable();
    assert_eq!(all, [(0, 8), (1, 8), (2, 8)]);
}

#[test]
fn submissions_between_two_polls_leave_packed_in_few_writes() {
    let (sender, receiver) = mpsc::channel();
    let node = FakeNode::start(move |peer| {
        peer.greet(0, key_id());
        while let batch @ 1.. = peer.submissions().len() {
            sender.send(batch).unwrap();
        }
    });
    let (mut client, mut log) = (client_of(&[node.address]), Log::default());
    client
        .connect_all(Duration::from_secs(10), &mut log)
        .unwrap();
    for tag in 0..100 {
        client.submit(tag, &[1; 400]).unwrap();
    }
    client.poll(Duration::ZERO, &mut log).unwrap();
    let mut batches = Vec::new();
    while batches.iter().sum::<usize>() < 100 {
        batches.push(receiver.recv_timeout(Duration::from_secs(10)).unwrap());
    }
    assert!(batches.len() <= 10, "100 submissions came in {batches:?}");
}

#[test]
fn notices_split_at_every_byte_are_put_together() {
    let node = FakeNode::start(|peer| {
        peer.greet(0, key_id());
        let mut bytes = Vec::new();
        encode_acks(
            &mut bytes,
            &[ack(1, AckCode::Busy), ack(2, AckCode::Duplicate)],
        );
        encode_ordered(&mut bytes, BatchSeq(3), &[OrderedItem { tag: 1, index: 2 }]);
        encode_settled(&mut bytes, 4);
        for byte in bytes {
            peer.send(|out| out.push(byte));
        }
        peer.wait_for_close();
    });
    let (mut client, mut log) = (client_of(&[node.address]), Log::default());
    poll_until(&mut client, &mut log, |_, log| {
        log.count(|event| matches!(event, Event::Settled { count: 4 })) == 1
    });
    let expected = [
        Event::Connected,
        Event::Ack(ack(1, AckCode::Busy)),
        Event::Ack(ack(2, AckCode::Duplicate)),
        Event::Ordered {
            tag: 1,
            seq: BatchSeq(3),
            index: 2,
        },
        Event::Settled { count: 4 },
    ];
    let events: Vec<Event> = log.events.into_iter().map(|(_, event)| event).collect();
    assert_eq!(events, expected);
    drop(client);
}

#[test]
fn frames_up_to_the_bound_are_taken_and_every_refusal_code_arrives() {
    let node = FakeNode::start(|peer| {
        peer.greet(0, key_id());
        let acks: Vec<Ack> = (0..30_000u64)
            .map(|tag| ack(tag, AckCode::ALL[(tag % 10) as usize]))
            .collect();
        peer.send(|out| encode_acks(out, &acks));
        peer.wait_for_close();
    });
    let (mut client, mut log) = (client_of(&[node.address]), Log::default());
    let is_ack = |event: &Event| matches!(event, Event::Ack(_));
    poll_until(&mut client, &mut log, |_, log| log.count(is_ack) == 30_000);
    for code in AckCode::ALL {
        let count = log.count(|event| matches!(event, Event::Ack(ack) if ack.code == code));
        assert_eq!(count, 3_000, "{}", code.name());
    }
    drop(client);
}

#[test]
fn a_node_that_dies_is_found_again_and_the_others_go_on() {
    let steady = FakeNode::start(|peer| accept_all(peer, 0));
    let dying = FakeNode::start(|peer| {
        peer.greet(1, key_id());
        if peer.number > 0 {
            peer.wait_for_close();
        }
    });
    let (mut client, mut log) = (client_of(&[steady.address, dying.address]), Log::default());
    poll_until(&mut client, &mut log, |client, _| {
        client.counts(AuthorityIndex(1)).unwrap().connects == 2
    });
    let counts = client.counts(AuthorityIndex(1)).unwrap();
    assert_eq!(counts.disconnects, 1);
    assert_eq!(log.last_reason(), Some(&CloseReason::Closed));
    assert_eq!(client.submit(5, &[1]).unwrap().len(), 2);
    poll_until(&mut client, &mut log, |_, log| {
        log.count(|event| *event == Event::Ack(ack(5, AckCode::Accepted))) == 1
    });
    assert_eq!(client.counts(AuthorityIndex(0)).unwrap().disconnects, 0);
    drop(client);
}

#[test]
fn nobody_listening_is_reported_and_retried_with_growing_waits() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (mut client, mut log) = (client_of(&[address]), Log::default());
    let start = Instant::now();
    let live = client
        .connect_all(Duration::from_millis(600), &mut log)
        .unwrap();
    assert!(live.is_empty() && start.elapsed() >= Duration::from_millis(600));
    let refused = Event::ConnectFailed {
        reason: CloseReason::Connect(std::io::ErrorKind::ConnectionRefused),
    };
    // At 0, 50, 150, 350 ms; fewer if the machine is slow, never the dozen of a constant wait.
    let attempts = log.count(|event| *event == refused);
    assert!((2..=4).contains(&attempts), "{attempts} attempts in 600 ms");
    assert!(client.submit(0, &[1]).unwrap().is_empty());
    assert_eq!(client.counts(AuthorityIndex(0)).unwrap().undelivered, 1);
}

#[test]
fn a_node_that_does_not_read_costs_bounded_memory_and_only_its_own_deliveries() {
    let (sender, receiver) = mpsc::channel::<()>();
    let stalled = FakeNode::start(move |peer| {
        peer.greet(0, key_id());
        let _ = receiver.recv();
    });
    let steady = FakeNode::start(|peer| accept_all(peer, 1));
    let options = ClientOptions {
        outgoing_len_max: 256 * 1024,
        ..ClientOptions::default()
    };
    let addresses = [stalled.address, steady.address];
    let mut client = Client::new(committee(2), KEY.clone(), &addresses, options);
    let mut log = Log::default();
    client
        .connect_all(Duration::from_secs(10), &mut log)
        .unwrap();
    let count = 3_000;
    for tag in 0..count {
        let reached = client.submit(tag, &[1; 16_000]).unwrap();
        assert!(
            reached.contains(AuthorityIndex(1)),
            "the other one is not held up"
        );
        client.poll(Duration::from_millis(1), &mut log).unwrap();
    }
    let undelivered = client.counts(AuthorityIndex(0)).unwrap().undelivered;
    assert!(
        undelivered > 0,
        "48 MB went into a socket that nobody reads"
    );
    poll_until(&mut client, &mut log, |_, log| {
        log.count(|event| matches!(event, Event::Ack(_))) == count as usize
    });
    sender.send(()).unwrap();
    drop(client);
}

#[test]
fn what_is_no_notice_closes_the_connection_with_a_reason() {
    let good = |out: &mut Vec<u8>| encode_welcome(out, &welcome(0, key_id()));
    let too_long = (NOTICE_LEN_MAX + 1).to_be_bytes().to_vec();
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (too_long, "bad frame"),
        (vec![0, 0, 0, 1, 1], "bad frame"),
        (vec![0, 0, 0, 2, 2, 0x85], "version 2"),
        (vec![0, 0, 0, 2, 1, 0x99], "notice kind"),
        (
            vec![0, 0, 0, 6, 1, 0x82, 0xff, 0xff, 0xff, 0xff],
            "bad frame",
        ),
        (vec![0, 0, 0, 3, 1, 0x85, 0], "truncated"),
        (
            {
                let mut out = Vec::new();
                good(&mut out);
                out
            },
            "second welcome",
        ),
        (
            {
                let mut out = Vec::new();
                encode_goodbye(&mut out, GoodbyeCode::TooSlow, "read faster");
                out
            },
            "read faster",
        ),
    ];
    for (bytes, words) in cases {
        let node = FakeNode::start(move |peer| {
            peer.greet(0, key_id());
            peer.send(|out| out.extend_from_slice(&bytes));
            peer.wait_for_close();
        });
        let (mut client, mut log) = (client_of(&[node.address]), Log::default());
        poll_until(&mut client, &mut log, |_, log| log.last_reason().is_some());
        let reason = log.last_reason().unwrap().to_string();
        assert!(reason.contains(words), "{reason:?} should say {words:?}");
        assert_eq!(client.counts(AuthorityIndex(0)).unwrap().disconnects, 1);
        drop(client);
    }
}

#[test]
fn a_node_other_than_the_committee_files_is_never_live() {
    let base = welcome(0, key_id());
    let cases = [
        (
            fairlane_client::protocol::Welcome {
                authority: AuthorityIndex(1),
                ..base
            },
            "authority",
        ),
        (
            fairlane_client::protocol::Welcome {
                epoch: Epoch(1),
                ..base
            },
            "epoch",
        ),
        (
            fairlane_client::protocol::Welcome {
                key_id: KeyId([8; 16]),
                ..base
            },
            "key id",
        ),
        (
            fairlane_client::protocol::Welcome {
                chain_id: fairlane_engine::types::ChainId(8),
                ..base
            },
            "chain id",
        ),
    ];
    for (other, words) in cases {
        let node = FakeNode::start(move |peer| {
            peer.send(|out| encode_welcome(out, &other));
            peer.wait_for_close();
        });
        let (mut client, mut log) = (client_of(&[node.address]), Log::default());
        poll_until(&mut client, &mut log, |_, log| log.last_reason().is_some());
        assert!(log.last_reason().unwrap().to_string().contains(words));
        assert_eq!(client.counts(AuthorityIndex(0)).unwrap().connects, 0);
        drop(client);
    }
    let early = FakeNode::start(|peer| {
        peer.send(|out| encode_settled(out, 1));
        peer.wait_for_close();
    });
    let (mut client, mut log) = (client_of(&[early.address]), Log::default());
    poll_until(&mut client, &mut log, |_, log| log.last_reason().is_some());
    assert_eq!(log.count(|event| matches!(event, Event::Settled { .. })), 0);
    drop(client);
}

/// A header by `author` over `entries`, signed with the key of `signer`.
fn header_over(entries: &[Entry], author: u8, signer: u8) -> [u8; SIGNED_HEADER_LEN] {
    let mut leaves: Vec<Sha256Hash> = entries.iter().map(entry_leaf).collect();
    let header = VertexHeader {
        chain_id: CHAIN,
        epoch: Epoch(0),
        round: Round(4),
        author: AuthorityIndex(author),
        timestamp: TimestampUs(5),
        first_position: Position(6),
        entry_count: entries.len() as u32,
        entries_root: merkle::root_in_place(&mut leaves),
        parent_count: 0,
        parents_root: Digest([0; 32]),
        settled: Settled::default(),
    };
    let signed: SignedHeader = header.sign(&signing_key(signer));
    let mut bytes = Vec::new();
    signed.encode(&mut bytes);
    bytes.try_into().unwrap()
}

fn entries() -> Vec<Entry> {
    (0..5)
        .map(|i| Entry {
            digest: Digest([i; 32]),
            valid_until: TimestampUs(100 + u64::from(i)),
        })
        .collect()
}

/// Sends receipts for tags 0.. = entries 0.. under `header`; wants those of `wanted`.
fn receive_receipts(
    header: [u8; SIGNED_HEADER_LEN],
    path_of: usize,
    wanted: &[(u64, Entry)],
) -> (Log, LinkCounts) {
    let tree = merkle::Tree::new(entries().iter().map(entry_leaf).collect());
    let node = FakeNode::start(move |peer| {
        peer.greet(0, key_id());
        let paths: Vec<Vec<Sha256Hash>> = (0..5)
            .map(|index| tree.path((index + path_of) % 5))
            .collect();
        let items: Vec<(u64, u32, &[Sha256Hash])> = paths
            .iter()
            .enumerate()
            .map(|(index, path)| (index as u64, index as u32, &path[..]))
            .collect();
        peer.send(|out| {
            encode_receipts(out, &header, &items);
            encode_settled(out, 1);
        });
        peer.wait_for_close();
    });
    let mut client = client_of(&[node.address]);
    let mut log = Log {
        entries: wanted.iter().copied().collect(),
        ..Log::default()
    };
    poll_until(&mut client, &mut log, |_, log| {
        log.count(|event| matches!(event, Event::Settled { .. })) == 1
    });
    let counts = client.counts(AuthorityIndex(0)).unwrap();
    // Before the node, whose script waits for it.
    drop(client);
    (log, counts)
}

#[test]
fn receipts_are_verified_once_a_header_and_only_when_wanted() {
    let entries = entries();
    let wanted = [(1, entries[1]), (3, entries[3])];
    let (log, counts) = receive_receipts(header_over(&entries, 0, 0), 0, &wanted);
    let tags: Vec<u64> = log
        .events
        .iter()
        .filter_map(|(_, event)| match event {
            Event::Receipt { tag, receipt } => {
                let entry = entries[*tag as usize];
                assert_eq!(receipt.verify(&committee(1), &entry), Ok(()));
                let other = entries[0];
                assert_eq!(
                    receipt.verify(&committee(1), &other),
                    Err(ReceiptError::Path)
                );
                Some(*tag)
            }
            _ => None,
        })
        .collect();
    assert_eq!(tags, [1, 3]);
    assert_eq!(counts.headers_verified, 1);

    let (log, counts) = receive_receipts(header_over(&entries, 0, 0), 0, &[]);
    assert_eq!(log.count(|event| matches!(event, Event::Receipt { .. })), 0);
    assert_eq!(counts.headers_verified, 0);
}

#[test]
fn receipts_that_do_not_verify_are_counted_and_not_believed() {
    let entries = entries();
    let honest = header_over(&entries, 0, 0);
    let other_entry = Entry {
        valid_until: TimestampUs(999),
        ..entries[1]
    };
    let mut garbage = honest;
    garbage[0] = 9;
    let cases = [
        (
            "signed with another key",
            header_over(&entries, 0, 1),
            0,
            entries[1],
        ),
        (
            "of an authority that is no member",
            header_over(&entries, 1, 1),
            0,
            entries[1],
        ),
        ("no header", garbage, 0, entries[1]),
        ("another leaf's path", honest, 1, entries[1]),
        ("another expiry", honest, 0, other_entry),
    ];
    for (what, header, path_of, entry) in cases {
        let (log, counts) = receive_receipts(header, path_of, &[(1, entry)]);
        assert_eq!(
            log.count(|event| matches!(event, Event::Receipt { .. })),
            0,
            "{what}"
        );
        let refused = log.count(|event| matches!(event, Event::ReceiptRefused { tag: 1, .. }));
        assert_eq!(refused, 1, "{what}");
        assert_eq!(counts.receipts_refused, 1);
    }
}

/// A batch of one open entry of [`ROLLUP`], and the entry.
fn batch_of_one(payload: &[u8]) -> (BatchHeader, Digest) {
    let digest = Digest([5; 32]);
    let len = payload.len() as u32;
    let leaf = payload_leaf(digest, ROLLUP, &Outcome::Open { offset: 0, len }, payload);
    let header = BatchHeader {
        chain_id: CHAIN,
        seq: BatchSeq(3),
        payload_root: merkle::root_in_place(&mut [leaf]),
        entries: 1,
        ..BatchHeader::default()
    };
    (header, digest)
}

fn included(header: &BatchHeader, name: u64, digest: Digest, payload: &[u8]) -> Vec<u8> {
    let entry = IncludedEntry {
        name,
        index: 0,
        digest,
        rollup_id: ROLLUP,
        reveal: Reveal::Open,
        payload,
        path: &[],
    };
    let mut bytes = Vec::new();
    encode_included(&mut bytes, header, &[entry]);
    bytes
}

#[test]
fn what_is_followed_is_asked_for_again_after_a_break_and_a_forged_entry_is_refused() {
    let (header, digest) = batch_of_one(b"bid");
    let wanted = FollowTarget::Digest(digest);
    let node = FakeNode::start(move |peer| {
        peer.greet(0, key_id());
        assert_eq!(peer.request(), Some(Owned::Follow(4, wanted)));
        if peer.number == 0 {
            // And hangs up.
            return;
        }
        peer.send(|out| {
            encode_following(out, 4, FollowCode::Following);
            encode_following(out, 5, FollowCode::TooMany);
            out.extend(included(&header, 4, digest, b"bid"));
            // Nobody follows this, so it is not looked at.
            out.extend(included(&header, 9, digest, b"ask"));
            out.extend(included(&header, 4, digest, b"ask"));
        });
        peer.wait_for_close();
    });
    let mut client = client_of(&[node.address]);
    let mut log = Log::default();
    client.follow(4, wanted);
    let refused = Event::InclusionRefused {
        reason: InclusionError::Path,
    };
    poll_until(&mut client, &mut log, |_, log| {
        log.count(|event| *event == refused) > 0
    });
    let is_included = |event: &Event| matches!(event, Event::Included { name: 4, inclusion } if inclusion.digest == digest);
    assert_eq!(log.count(is_included), 1, "{:?}", log.events);
    let code = FollowCode::TooMany;
    assert_eq!(
        log.count(|event| *event == Event::FollowRefused { name: 5, code }),
        1
    );
    assert_eq!(
        log.count(|event| matches!(event, Event::Certified { .. })),
        0
    );
    let counts = client.counts(AuthorityIndex(0)).unwrap();
    assert_eq!(counts.inclusions_refused, 1);
}

#[test]
fn a_node_whose_certificate_does_not_hold_is_hung_up_on() {
    let (header, digest) = batch_of_one(b"bid");
    let forged = Certificate {
        header: CertifiedHeader::from(&header),
        signers: AuthoritySet::EMPTY,
        signature: [0; SIGNATURE_LEN],
    };
    let node = FakeNode::start(move |peer| {
        peer.greet(0, key_id());
        peer.request();
        peer.send(|out| {
            // Of no use, as nothing waits for it.
            encode_certified(out, &forged, [header].into_iter());
            out.extend(included(&header, 4, digest, b"bid"));
            encode_certified(out, &forged, [header].into_iter());
        });
        peer.wait_for_close();
    });
    let mut client = client_of(&[node.address]);
    let mut log = Log::default();
    client.follow(4, FollowTarget::Digest(digest));
    let is_cut = |event: &Event| {
        let reason = CloseReason::BadCertificate(InclusionError::Keys);
        *event == Event::Disconnected { reason }
    };
    poll_until(&mut client, &mut log, |_, log| log.count(is_cut) > 0);
    let counts = client.counts(AuthorityIndex(0)).unwrap();
    assert_eq!(
        (counts.inclusions_refused, counts.certificates_verified),
        (1, 0)
    );
}

#[test]
fn an_envelope_that_no_node_takes_is_refused_here() {
    let mut client = client_of(&["127.0.0.1:1".parse().unwrap()]);
    assert!(client.submit(0, &[]).is_err());
    assert!(client.submit(0, &vec![0; ENVELOPE_LEN_MAX + 1]).is_err());
}

/// A committee of four that renews its keys.
fn renewing_client(addresses: &[SocketAddr]) -> Client {
    let committee = committee(4).with_key_plan(key_plan()).unwrap();
    Client::new(committee, KEY.clone(), addresses, ClientOptions::default())
}

#[test]
fn a_new_key_is_sealed_to_once_f_plus_one_nodes_vouch_for_it_and_a_liar_alone_changes_nothing() {
    let (go, mut gates) = (0..4).map(|_| mpsc::channel::<SealingKey>()).fold(
        (Vec::new(), Vec::new()),
        |(mut go, mut gates), (sender, gate)| {
            go.push(sender);
            gates.push(Some(gate));
            (go, gates)
        },
    );
    let nodes: Vec<FakeNode> = (0..4u8)
        .map(|index| {
            let gate = gates[usize::from(index)].take().unwrap();
            FakeNode::start(move |peer| {
                // Each greets with whatever it calls the newest key: no reason to hang up.
                peer.greet(index, sealing_key(5, index).key_id());
                while let Ok(key) = gate.recv() {
                    peer.vouch(index, &key);
                }
                peer.wait_for_close();
            })
        })
        .collect();
    let addresses: Vec<SocketAddr> = nodes.iter().map(|node| node.address).collect();
    let (mut client, mut log) = (renewing_client(&addresses), Log::default());
    let live = client.connect_all(Duration::from_secs(10), &mut log);
    assert_eq!(live.unwrap().len(), 4);
    let (own, next) = (sealing_key(1, 66), sealing_key(1, 7));

    // A liar's own key, and the true one, each with one voice.
    go[3].send(own.clone()).unwrap();
    go[0].send(next.clone()).unwrap();
    // A key of another committee shows that the client has read on.
    let (foreign, _) = fairlane_engine::seal::deal(CHAIN, Epoch(1), 7, 5, &[1; 32]).unwrap();
    go[3].send(foreign.clone()).unwrap();
    go[0].send(foreign).unwrap();
    let refused = |event: &Event| matches!(event, Event::KeyRefused { .. });
    poll_until(&mut client, &mut log, |_, log| log.count(refused) == 2);
    assert_eq!(*client.sealing_key(), *KEY);
    let of_liar = client.counts(AuthorityIndex(3)).unwrap();
    assert_eq!(of_liar.keys_refused, 1);

    go[1].send(next.clone()).unwrap();
    poll_until(&mut client, &mut log, |client, _| {
        *client.sealing_key() == next
    });
    go[2].send(next.clone()).unwrap();
    drop((go, client));
    drop(nodes);
    let said: Vec<&KeyStatement> = log
        .events
        .iter()
        .filter_map(|(_, event)| match event {
            Event::NewKey { statement } => Some(statement),
            _ => None,
        })
        .collect();
    assert_eq!(said.len(), 1, "said once");
    assert_eq!((&said[0].key, said[0].since), (&next, TimestampUs(5)));
}
