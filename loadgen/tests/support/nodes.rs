//! A committee of four fake nodes with one script, and runs against it.

#[path = "../../../net/client/tests/support/fake_node.rs"]
#[allow(
    dead_code,
    reason = "shared with the client's tests, which use the rest"
)]
pub(crate) mod fake_node;

use std::net::SocketAddr;
use std::time::Duration;

use fairlane_client::committee_file::{Addresses, Directory};
use fairlane_client::protocol::{
    Ack, AckCode, OrderedItem, encode_acks, encode_ordered, encode_settled, encode_welcome,
};
use fairlane_engine::committee::{Committee, Parameters, Rollup, RollupPolicy};
use fairlane_engine::seal::{SealingKey, deal};
use fairlane_engine::types::{BatchSeq, Epoch, KeyId, RollupId, TimestampUs};
use fairlane_loadgen::workload::synthetic::Synthetic;
use fairlane_loadgen::{Control, LoadConfig, LoadOutcome, run};
use fake_node::{CHAIN, FakeNode, Owned, Peer, ROLLUP, signing_key, welcome};

pub(crate) fn key() -> SealingKey {
    deal(CHAIN, Epoch(0), 4, 3, &[1; 32]).unwrap().0
}

pub(crate) fn directory(addresses: &[SocketAddr]) -> Directory {
    let signing_keys = (0..4).map(|index| signing_key(index).verifying_key());
    let rollups = [
        (ROLLUP, RollupPolicy::Either),
        (RollupId(2), RollupPolicy::Sealed),
    ];
    let committee = Committee::new(
        CHAIN,
        Epoch(0),
        TimestampUs(1),
        Parameters::default(),
        rollups.map(|(id, policy)| Rollup { id, policy }).to_vec(),
        signing_keys.collect(),
    );
    let addresses = addresses.iter().map(|address| Addresses {
        client: *address,
        peer: *address,
    });
    Directory {
        committee: committee.unwrap(),
        sealing_key: key(),
        addresses: addresses.collect(),
        link_keys: (0..4u8).map(|index| [index; 32]).collect(),
    }
}

/// A run of `rate` a second for `ms` against `nodes`, with waits that suit a test.
pub(crate) fn config(nodes: &[FakeNode], rate: f64, ms: u64) -> LoadConfig {
    let addresses: Vec<SocketAddr> = nodes.iter().map(|node| node.address).collect();
    let workload = Synthetic::new(rate, ms * 1_000, 11).unwrap();
    LoadConfig {
        lead: Duration::from_millis(150),
        drain_timeout: Duration::from_millis(1_500),
        ..LoadConfig::new(directory(&addresses), ROLLUP, Box::new(workload))
    }
}

pub(crate) fn run_all(config: LoadConfig) -> LoadOutcome {
    run(config, &mut |_| {}, &Control::new()).unwrap()
}

/// Four nodes with one script, which is told the node's index and the submissions until the client goes.
pub(crate) fn nodes(
    script: impl Fn(u8, &mut Peer, &[(u64, Vec<u8>)]) -> bool + Clone + Send + 'static,
) -> Vec<FakeNode> {
    let key_id = key().key_id();
    let start = |index| {
        let script = script.clone();
        FakeNode::start_many(move |peer| serve(index, key_id, peer, &script))
    };
    (0..4).map(start).collect()
}

/// Greets, then gives `script` submissions until it says false or the client goes.
pub(crate) fn serve(
    index: u8,
    key_id: KeyId,
    peer: &mut Peer,
    script: &impl Fn(u8, &mut Peer, &[(u64, Vec<u8>)]) -> bool,
) {
    match peer.request() {
        Some(Owned::Hello(_)) => peer.send(|out| encode_welcome(out, &welcome(index, key_id))),
        // A half-open connection that ends.
        None => return,
        Some(other) => panic!("the first frame is a hello, not {other:?}"),
    }
    loop {
        let submissions = peer.submissions();
        if submissions.is_empty() || !script(index, peer, &submissions) {
            return;
        }
    }
}

pub(crate) fn answer(peer: &mut Peer, submissions: &[(u64, Vec<u8>)], code: AckCode) {
    let acks: Vec<Ack> = submissions
        .iter()
        .map(|(tag, _)| Ack {
            tag: *tag,
            code,
            detail: 0,
        })
        .collect();
    peer.send(|out| encode_acks(out, &acks));
}

/// Orders as every node of this test would: by tag, ten to a batch, settled at once.
pub(crate) fn order_and_settle(peer: &mut Peer, submissions: &[(u64, Vec<u8>)]) {
    peer.send(|out| {
        for (tag, _) in submissions {
            let index = (tag % 10) as u32;
            encode_ordered(out, BatchSeq(tag / 10), &[OrderedItem { tag: *tag, index }]);
            encode_settled(out, tag / 10 + 1);
        }
    });
}

pub(crate) fn assert_adds_up(outcome: &LoadOutcome) {
    let tally = &outcome.tally;
    assert_eq!(
        tally.offered,
        tally.accepted + tally.refused + tally.unanswered
    );
    assert_eq!(tally.accepted, tally.settled + tally.lost);
    assert!(tally.offered > 0, "a run without envelopes shows nothing");
}
