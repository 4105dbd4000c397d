//! What is due earlier leaves earlier, whichever connection it goes over.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests, in which a panic is the report"
)]

#[path = "support/nodes.rs"]
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod nodes;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fairlane_client::Transport;
use fairlane_client::protocol::{
    Ack, AckCode, DATAGRAM_LEN_MAX, DatagramRequest, encode_acks, encode_welcome, pack_notices,
};
use fairlane_engine::types::{AuthorityIndex, AuthoritySet};
use fairlane_loadgen::workload::synthetic::Synthetic;
use fairlane_loadgen::{Goal, LoadConfig};
use nodes::fake_node::{ROLLUP, welcome};
use nodes::{directory, key, run_all};

/// A node on one socket, in which datagrams of all clients lie in the order in which they were sent.
struct Node {
    socket: UdpSocket,
    nonces: BTreeMap<SocketAddr, u64>,
    /// Whose each submission is, and its tag, which the generator counts as it sends; without those sent again.
    taken: Vec<(SocketAddr, u64)>,
    known: BTreeSet<u64>,
}

impl Node {
    fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let timeout = Some(Duration::from_millis(20));
        socket.set_read_timeout(timeout).unwrap();
        Self {
            socket,
            nonces: BTreeMap::new(),
            taken: Vec::new(),
            known: BTreeSet::new(),
        }
    }

    fn serve_one(&mut self) {
        let mut bytes = [0; 2 * DATAGRAM_LEN_MAX];
        let Ok((len, from)) = self.socket.recv_from(&mut bytes) else {
            return;
        };
        let mut frames = Vec::new();
        match DatagramRequest::decode(&bytes[..len]).unwrap() {
            DatagramRequest::Hello { nonce, .. } => {
                self.nonces.insert(from, nonce);
                encode_welcome(&mut frames, &welcome(0, key().key_id()));
            }
            DatagramRequest::Submit { tag, .. } => {
                if self.known.insert(tag) {
                    self.taken.push((from, tag));
                }
                let code = AckCode::Accepted;
                let ack = Ack {
                    tag,
                    code,
                    detail: 0,
                };
                encode_acks(&mut frames, &[ack]);
            }
        }
        pack_notices(&frames, self.nonces[&from], &mut |bytes| {
            self.socket.send_to(bytes, from).unwrap();
        });
    }
}

#[test]
fn what_is_due_together_over_two_connections_leaves_in_the_order_of_the_plan() {
    let mut node = Node::new();
    let address = node.socket.local_addr().unwrap();
    let mut targets = AuthoritySet::EMPTY;
    targets.insert(AuthorityIndex(0));
    let trading = Synthetic::new(2_000.0, 500_000, 11).unwrap();
    let config = LoadConfig {
        open: true,
        transport: Transport::Udp,
        goal: Goal::Ack,
        targets: Some(targets),
        // Some ten are due at each turn.
        coalesce: Duration::from_millis(5),
        lead: Duration::from_millis(100),
        drain_timeout: Duration::from_millis(1_500),
        ..LoadConfig::new(
            directory(&[address; 4]),
            ROLLUP,
            Box::new(trading.with_races(0.5).unwrap()),
        )
    };
    let is_over = AtomicBool::new(false);
    let (outcome, node) = std::thread::scope(|scope| {
        let serving = scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                node.serve_one();
            }
            node
        });
        let outcome = run_all(config);
        is_over.store(true, Ordering::SeqCst);
        (outcome, serving.join().unwrap())
    });
    assert_eq!(outcome.tally.accepted, outcome.tally.offered);
    let sources: BTreeSet<SocketAddr> = node.taken.iter().map(|(from, _)| *from).collect();
    assert_eq!(sources.len(), 2, "takes come over one of their own");
    let changes = node.taken.windows(2).filter(|two| two[0].0 != two[1].0);
    assert!(changes.count() > 100);
    let overtaken = node.taken.windows(2).filter(|two| two[0].1 > two[1].1);
    assert_eq!(overtaken.count(), 0);
}
