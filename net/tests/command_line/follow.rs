//! Clients that follow a digest and a rollup of a running committee, and check what they are told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use fairlane_client::committee_file::Directory;
use fairlane_client::protocol::{FollowCode, FollowTarget, Reveal};
use fairlane_client::sealing::{PadTo, Sealer, entry_of};
use fairlane_client::{Client, ClientOptions, Event, Inclusion, Observer};
use fairlane_engine::seal::EnvelopeKind;
use fairlane_engine::types::{AuthorityIndex, BatchSeq, Entry, RollupId};
use fairlane_net::settle::SettleReader;
use fairlane_net::stage::clock;
use serde_json::Value;

use crate::links::wait_for_links;
use crate::runs::{assert_contract, turn};
use crate::sandbox::{Sandbox, wait};

const ROLLUP: u64 = 1;
const OWN: u64 = 2;
const UNKNOWN: u64 = 3;
const PAYLOAD: &[u8] = b"sell 3 at 17";

/// What came of each name.
#[derive(Default)]
struct Told {
    included: BTreeMap<u64, u64>,
    /// Of the rollup, by authority: places in the order.
    certified: BTreeMap<u8, Vec<(BatchSeq, u32)>>,
    own: Vec<Inclusion>,
    refused: BTreeSet<(u64, u8)>,
    wrong: Vec<Event>,
}

impl Observer for Told {
    fn receipt_wanted(&self, _tag: u64) -> Option<Entry> {
        None
    }

    fn on_event(&mut self, authority: AuthorityIndex, event: Event) {
        match event {
            Event::Included { name, .. } => *self.included.entry(name).or_default() += 1,
            Event::Certified {
                name: OWN,
                inclusion,
            } => self.own.push(inclusion),
            Event::Certified { inclusion, .. } => {
                let places = self.certified.entry(authority.0).or_default();
                places.push((inclusion.header.seq, inclusion.index));
            }
            Event::FollowRefused { name, code } => {
                self.refused.insert((name, code.as_u8()));
            }
            Event::InclusionRefused { .. } => self.wrong.push(event),
            _ => {}
        }
    }
}

#[test]
fn a_digest_and_a_rollup_are_followed_at_every_node_and_each_entry_is_proven_by_a_certificate() {
    let _turn = turn();
    let sandbox = Sandbox::new();
    let data = sandbox.argument("data");
    let mut flags = vec!["localnet", "--nodes", "4", "--json", "report.json"];
    flags.extend(["--duration", "5s", "--rate", "50", "--data", &data]);
    let mut run = sandbox.start(&flags);
    wait_for_links(&sandbox);
    let directory = Directory::load(&sandbox.path("data/committee.json")).unwrap();
    let sealer = Sealer {
        key: directory.sealing_key.clone(),
        rollup: RollupId(1),
        kind: EnvelopeKind::Sealed,
        sender_tag: [0; 16],
        padding: PadTo::SizeClass,
    };
    let envelope = sealer.make(PAYLOAD, clock().plus_us(40_000_000)).unwrap();
    let addresses = directory.client_addresses();
    let (key, options) = (directory.sealing_key, ClientOptions::default());
    let mut client = Client::new(directory.committee, key, &addresses, options);
    let mut told = Told::default();
    client.follow(ROLLUP, FollowTarget::Rollup(RollupId(1)));
    client.follow(OWN, FollowTarget::Digest(entry_of(&envelope).digest));
    client.follow(UNKNOWN, FollowTarget::Rollup(RollupId(77)));
    let live = client
        .connect_all(Duration::from_secs(30), &mut told)
        .unwrap();
    assert_eq!(live.len(), 4);
    client.submit(0, envelope.bytes()).unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    let is_done = |told: &Told| {
        let each = told.certified.values().filter(|places| places.len() >= 5);
        !told.own.is_empty() && each.count() == 4 && !told.refused.is_empty()
    };
    while !is_done(&told) {
        assert!(
            Instant::now() < until,
            "{:?} {:?}",
            told.included,
            sandbox.ran(None)
        );
        client.poll(Duration::from_millis(50), &mut told).unwrap();
    }
    drop(client);
    let status = wait(&mut run);
    let ran = sandbox.ran(status);
    assert_eq!(told.wrong, []);
    assert_eq!(told.own.len(), 1, "once, whoever was first");
    assert_eq!(told.own[0].payload, PAYLOAD);
    assert!(matches!(told.own[0].reveal, Reveal::Revealed { .. }));
    let unknown = FollowCode::UnknownRollup.as_u8();
    assert_eq!(told.refused, BTreeSet::from([(UNKNOWN, unknown)]));
    for places in told.certified.values() {
        assert!(
            places.windows(2).all(|pair| pair[0] < pair[1]),
            "in order, once"
        );
    }
    let json = std::fs::read(sandbox.path("report.json")).unwrap();
    let report: Value = serde_json::from_slice(&json).unwrap();
    assert_contract(&report);
    for node in report["node_reports"].as_array().unwrap() {
        assert_eq!(node["follow"]["followed"], 2, "{}", node["follow"]);
        assert_eq!(node["follow"]["refused"], 1, "{}", node["follow"]);
    }
    // The client's own envelope is in nobody's ledger, and settled all the same.
    let mut reader = SettleReader::open(&sandbox.path("data/settle-1")).unwrap();
    let own = &told.own[0];
    let batch = std::iter::from_fn(|| reader.try_next().unwrap())
        .find(|batch| batch.header().seq == own.header.seq);
    let batch = batch.unwrap_or_else(|| panic!("not settled: {ran:?}"));
    assert_eq!(batch.header(), &own.header);
    let view = batch.view().unwrap();
    let entry = view.entries().nth(own.index as usize).unwrap();
    assert_eq!((entry.digest, entry.payload), (own.digest, PAYLOAD));
}
