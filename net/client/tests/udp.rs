//! The client over UDP against nodes that lose datagrams, forget it, or are not there.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests, in which a panic is the report"
)]
#![allow(dead_code, reason = "the support file serves other tests, too")]

#[path = "support/fake_node.rs"]
mod fake_node;

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fairlane_client::protocol::{
    Ack, AckCode, DATAGRAM_ENVELOPE_LEN_MAX, DATAGRAM_LEN_MAX, DatagramRequest, OrderedItem,
    encode_acks, encode_datagram_token, encode_datagram_unknown, encode_ordered, encode_settled,
    encode_welcome, pack_notices,
};
use fairlane_client::{Client, ClientOptions, CloseReason, Event, Observer, Transport};
use fairlane_engine::types::{AuthorityIndex, BatchSeq, Entry};
use fake_node::{KEY, committee, key_id, welcome};

/// How a node behaves.
#[derive(Clone, Copy, Default)]
struct Manners {
    /// Loses one in so many datagrams, of both directions together; 0: none.
    loses: u64,
    /// Answers with a token of its own only, and every time another.
    forgets_after: Option<u64>,
    /// What was submitted this long ago counts as settled: a duplicate.
    settles_after: Option<Duration>,
}

/// A node on a thread and a UDP port of its own. An envelope's tag is its batch.
struct UdpNode {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    submissions: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

struct Serving {
    socket: UdpSocket,
    index: u8,
    manners: Manners,
    datagrams: u64,
    token: u64,
    nonces: BTreeMap<SocketAddr, u64>,
    seen: BTreeMap<u64, (Vec<u8>, Instant)>,
    submissions: Arc<AtomicU64>,
}

impl UdpNode {
    fn start(index: u8, manners: Manners) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        let address = socket.local_addr().unwrap();
        let (is_over, submissions) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let mut serving = Serving {
            socket,
            index,
            manners,
            datagrams: u64::from(index),
            token: 70,
            nonces: BTreeMap::new(),
            seen: BTreeMap::new(),
            submissions: Arc::clone(&submissions),
        };
        let flag = Arc::clone(&is_over);
        let thread = std::thread::spawn(move || {
            while !flag.load(Ordering::SeqCst) {
                serving.serve_one();
            }
        });
        Self {
            address,
            is_over,
            submissions,
            thread: Some(thread),
        }
    }
}

impl Drop for UdpNode {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the node failed");
        }
    }
}

impl Serving {
    fn is_lost(&mut self) -> bool {
        self.datagrams += 1;
        // By chance, from a seed: a strict third would fall into step with what is sent again.
        let mut mixed =
            self.datagrams.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (u64::from(self.index) << 32);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^= mixed >> 31;
        self.manners.loses > 0 && mixed.is_multiple_of(self.manners.loses)
    }

    fn serve_one(&mut self) {
        let mut bytes = [0; 2 * DATAGRAM_LEN_MAX];
        let Ok((len, from)) = self.socket.recv_from(&mut bytes) else {
            return;
        };
        assert!(len <= DATAGRAM_LEN_MAX);
        if self.is_lost() {
            return;
        }
        match DatagramRequest::decode(&bytes[..len]).unwrap() {
            DatagramRequest::Hello { nonce, token, .. } if token != self.token => {
                let mut out = Vec::new();
                encode_datagram_token(&mut out, nonce, self.token);
                self.send(from, &out);
            }
            DatagramRequest::Hello { nonce, .. } => {
                self.nonces.insert(from, nonce);
                let mut frames = Vec::new();
                encode_welcome(&mut frames, &welcome(self.index, key_id()));
                self.notice(from, frames);
            }
            DatagramRequest::Submit { token, .. } if token != self.token => {
                let mut out = Vec::new();
                encode_datagram_unknown(&mut out, token);
                self.send(from, &out);
            }
            DatagramRequest::Submit { tag, envelope, .. } => self.take(from, tag, envelope),
        }
    }

    fn take(&mut self, from: SocketAddr, tag: u64, envelope: &[u8]) {
        let count = self.submissions.fetch_add(1, Ordering::SeqCst) + 1;
        if Some(count) == self.manners.forgets_after {
            // As if it was started again.
            self.token += 1;
            self.nonces.clear();
            return;
        }
        let first = (envelope.to_vec(), Instant::now());
        let (known, since) = self.seen.entry(tag).or_insert(first);
        assert_eq!(known, envelope, "the same bytes each time");
        let is_settled = self
            .manners
            .settles_after
            .is_some_and(|after| since.elapsed() >= after);
        let (code, detail) = match is_settled {
            true => (AckCode::Duplicate, tag),
            false => (AckCode::Accepted, 0),
        };
        let mut frames = Vec::new();
        encode_acks(&mut frames, &[Ack { tag, code, detail }]);
        if self.manners.settles_after.is_none() {
            encode_ordered(&mut frames, BatchSeq(tag), &[OrderedItem { tag, index: 0 }]);
        }
        encode_settled(&mut frames, 1);
        self.notice(from, frames);
    }

    fn notice(&mut self, to: SocketAddr, frames: Vec<u8>) {
        let nonce = self.nonces[&to];
        let mut datagrams = Vec::new();
        pack_notices(&frames, nonce, &mut |bytes| datagrams.push(bytes.to_vec()));
        for bytes in datagrams {
            self.send(to, &bytes);
        }
    }

    fn send(&mut self, to: SocketAddr, bytes: &[u8]) {
        if !self.is_lost() {
            // A client that is gone is no fault of the test's.
            let _ = self.socket.send_to(bytes, to);
        }
    }
}

#[derive(Default)]
struct Log {
    events: Vec<(u8, Event)>,
}

impl Observer for Log {
    fn receipt_wanted(&self, _: u64) -> Option<Entry> {
        None
    }

    fn on_event(&mut self, authority: AuthorityIndex, event: Event) {
        self.events.push((authority.0, event));
    }
}

impl Log {
    fn acks(&self, tag: u64) -> Vec<(u8, AckCode)> {
        let acks = self.events.iter().filter_map(|(who, event)| match event {
            Event::Ack(ack) if ack.tag == tag => Some((*who, ack.code)),
            _ => None,
        });
        acks.collect()
    }

    fn place(&self, tag: u64) -> Option<BatchSeq> {
        self.events.iter().find_map(|(_, event)| match event {
            Event::Ordered { tag: of, seq, .. } | Event::Batched { tag: of, seq } if *of == tag => {
                Some(*seq)
            }
            _ => None,
        })
    }

    fn has_reason(&self, wanted: &CloseReason) -> bool {
        self.events.iter().any(|(_, event)| match event {
            Event::Disconnected { reason } | Event::ConnectFailed { reason } => reason == wanted,
            _ => false,
        })
    }
}

fn client_of(addresses: &[SocketAddr]) -> Client {
    let options = ClientOptions {
        transport: Transport::Udp,
        ..ClientOptions::default()
    };
    let committee = committee(addresses.len() as u8);
    Client::new(committee, KEY.clone(), addresses, options)
}

fn poll_until(client: &mut Client, log: &mut Log, is_done: impl Fn(&Client, &Log) -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !is_done(client, log) {
        assert!(Instant::now() < until, "nothing for 30 s: {:?}", log.events);
        client.poll(Duration::from_millis(20), log).unwrap();
    }
}

fn addresses(nodes: &[UdpNode]) -> Vec<SocketAddr> {
    nodes.iter().map(|node| node.address).collect()
}

#[test]
fn a_third_of_all_datagrams_is_lost_and_every_envelope_has_its_place() {
    const ENVELOPES: u64 = 200;
    let manners = Manners {
        loses: 3,
        ..Manners::default()
    };
    let nodes: Vec<UdpNode> = (0..4).map(|index| UdpNode::start(index, manners)).collect();
    let (mut client, mut log) = (client_of(&addresses(&nodes)), Log::default());
    let live = client
        .connect_all(Duration::from_secs(20), &mut log)
        .unwrap();
    assert_eq!(live.len(), 4);
    for tag in 0..ENVELOPES {
        let envelope = vec![tag as u8; 1 + tag as usize * 6];
        assert_eq!(client.submit(tag, &envelope).unwrap().len(), 4);
        client.poll(Duration::ZERO, &mut log).unwrap();
    }
    poll_until(&mut client, &mut log, |_, log| {
        (0..ENVELOPES).all(|tag| !log.acks(tag).is_empty() && log.place(tag).is_some())
    });
    for tag in 0..ENVELOPES {
        // Once it has a place it is not followed any more: later answers may be told twice.
        let acks = log.acks(tag);
        assert!(acks.iter().all(|(_, code)| *code == AckCode::Accepted));
        assert_eq!(log.place(tag), Some(BatchSeq(tag)));
    }
    let counts = client.resend_counts();
    assert!(counts.resent > 0, "{counts:?}");
    assert_eq!((counts.given_up, counts.unfollowed), (0, 0));
}

#[test]
fn a_place_that_was_lost_is_found_out_by_sending_again() {
    let manners = Manners {
        settles_after: Some(Duration::from_millis(300)),
        ..Manners::default()
    };
    let nodes = [UdpNode::start(0, manners)];
    let (mut client, mut log) = (client_of(&addresses(&nodes)), Log::default());
    client
        .connect_all(Duration::from_secs(20), &mut log)
        .unwrap();
    client.submit(9, b"envelope").unwrap();
    poll_until(&mut client, &mut log, |_, log| log.place(9).is_some());
    assert_eq!(log.acks(9), [(0, AckCode::Accepted)]);
    let included = Event::Batched {
        tag: 9,
        seq: BatchSeq(9),
    };
    assert!(log.events.contains(&(0, included)));
}

#[test]
fn a_node_that_was_started_again_gets_what_it_did_not_answer() {
    let manners = Manners {
        forgets_after: Some(3),
        ..Manners::default()
    };
    let nodes = [UdpNode::start(0, manners)];
    let (mut client, mut log) = (client_of(&addresses(&nodes)), Log::default());
    client
        .connect_all(Duration::from_secs(20), &mut log)
        .unwrap();
    for tag in 0..6 {
        let reached = client.submit(tag, b"envelope").unwrap();
        assert_eq!(reached.len(), 1);
    }
    poll_until(&mut client, &mut log, |_, log| {
        (0..6).all(|tag| log.place(tag).is_some())
    });
    assert!(log.has_reason(&CloseReason::Forgotten));
    assert!(nodes[0].submissions.load(Ordering::SeqCst) >= 7);
}

#[test]
fn a_port_where_nobody_listens_is_noticed_and_tried_again() {
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let (mut client, mut log) = (client_of(&[address]), Log::default());
    let live = client
        .connect_all(Duration::from_millis(700), &mut log)
        .unwrap();
    assert!(live.is_empty());
    let refused = CloseReason::Io(std::io::ErrorKind::ConnectionRefused);
    assert!(log.has_reason(&refused), "{:?}", log.events);
    assert!(client.submit(1, b"envelope").unwrap().is_empty());
}

#[test]
fn a_silent_node_is_given_up_and_a_long_envelope_refused() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let (mut client, mut log) = (client_of(&[address]), Log::default());
    let live = client
        .connect_all(Duration::from_millis(5_500), &mut log)
        .unwrap();
    assert!(live.is_empty() && log.has_reason(&CloseReason::Timeout));
    // It was asked several times meanwhile.
    silent.set_nonblocking(true).unwrap();
    let hellos = std::iter::from_fn(|| silent.recv(&mut [0; 64]).ok());
    assert!(hellos.count() >= 4);
    let long = vec![1; DATAGRAM_ENVELOPE_LEN_MAX + 1];
    let error = client.submit(1, &long).unwrap_err();
    assert_eq!(
        (error.len, error.max),
        (long.len(), DATAGRAM_ENVELOPE_LEN_MAX)
    );
}

#[test]
fn what_others_write_changes_nothing() {
    let nodes = [UdpNode::start(0, Manners::default())];
    let (mut client, mut log) = (client_of(&addresses(&nodes)), Log::default());
    // A node that answers with a nonce that is not the client's, and with rubbish, is as good as silent.
    let liar = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (mut lied_to, mut other_log) = (client_of(&[liar.local_addr().unwrap()]), Log::default());
    lied_to.poll(Duration::ZERO, &mut other_log).unwrap();
    lied_to.poll(Duration::ZERO, &mut other_log).unwrap();
    liar.set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let (_, from) = liar.recv_from(&mut [0; 64]).unwrap();
    let mut frames = Vec::new();
    encode_welcome(&mut frames, &welcome(0, key_id()));
    pack_notices(&frames, 1, &mut |bytes| {
        liar.send_to(bytes, from).unwrap();
    });
    for rubbish in [&b""[..], b"x", &[1; 2_000]] {
        liar.send_to(rubbish, from).unwrap();
    }
    for _ in 0..5 {
        lied_to
            .poll(Duration::from_millis(20), &mut other_log)
            .unwrap();
    }
    assert!(lied_to.live().is_empty() && other_log.events.is_empty());
    client
        .connect_all(Duration::from_secs(20), &mut log)
        .unwrap();
    assert_eq!(client.live().len(), 1);
}
