//! A small network is recorded in this process, three of its four authorities running, and the fourth is replayed.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use fairlane_client::committee_file::Addresses;
use fairlane_client::sealing::{PadTo, Sealer};
use fairlane_client::{Client, ClientOptions, Event, Observer};
use fairlane_engine::committee::{Parameters, Rollup, RollupPolicy};
use fairlane_engine::seal::EnvelopeKind;
use fairlane_engine::types::{AuthoritySet, ChainId, Entry, RollupId};
use fairlane_net::config::{BackendName, FinalityName, Timers};
use fairlane_net::journal::AppendChoice;
use fairlane_net::node::{Node, NodeReport};
use fairlane_net::stage::clock;
use fairlane_net::stage::waiting::ReceiveMode;
use fairlane_net::testnet::{self, TestnetPlan, system_entropy};
use tempfile::TempDir;

use super::*;

const OWN: AuthorityIndex = AuthorityIndex(3);
const WITNESS: AuthorityIndex = AuthorityIndex(1);
const ENVELOPES: u64 = 120;

/// Which submissions have their place, by the word of which authority.
#[derive(Default)]
struct Ordered(std::collections::BTreeSet<(AuthorityIndex, u64)>);

impl Observer for Ordered {
    fn receipt_wanted(&self, _: u64) -> Option<Entry> {
        None
    }

    fn on_event(&mut self, authority: AuthorityIndex, event: Event) {
        if let Event::Ordered { tag, .. } = event {
            self.0.insert((authority, tag));
        }
    }
}

/// The folder of a committee of four, of which three have ordered envelopes; every third envelope is open. And how often the
/// witness had to ask the others for something.
fn record() -> (TempDir, u64) {
    let folder = tempfile::tempdir().unwrap();
    let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let held: Vec<[TcpListener; 2]> = (0..4).map(|_| [free(), free()]).collect();
    let addresses = held
        .iter()
        .map(|held| held.each_ref().map(|port| port.local_addr().unwrap()))
        .map(|[client, peer]| Addresses { client, peer })
        .collect();
    drop(held);
    let plan = TestnetPlan {
        chain_id: ChainId(7),
        epoch_start: clock(),
        parameters: Parameters::default(),
        rollups: vec![Rollup {
            id: RollupId(1),
            policy: RollupPolicy::Either,
        }],
        addresses,
        durability: Durability::Async,
        backend: BackendName::Auto,
        journal_backend: AppendChoice::default(),
        receive: ReceiveMode::default(),
        udp: false,
        timers: Timers::default(),
        settle_node: 0,
        finality: FinalityName::Node,
        dkg: false,
        renew_us: None,
        retention_bytes: 0,
    };
    let roster = testnet::write(&plan, folder.path(), &mut system_entropy).unwrap();
    let path = |index| config_path(folder.path(), AuthorityIndex(index));
    let nodes: Vec<Node> = (0..3)
        .map(|index| Node::start(&path(index)).unwrap())
        .collect();
    let directory = roster.into_directory().unwrap();
    let key = directory.sealing_key.clone();
    let client_addresses = directory.client_addresses();
    let options = ClientOptions::default();
    let mut client = Client::new(directory.committee, key.clone(), &client_addresses, options);
    let mut running = AuthoritySet::EMPTY;
    (0..3).for_each(|index| {
        running.insert(AuthorityIndex(index));
    });
    let mut ordered = Ordered::default();
    let live = client
        .connect_to(running, Duration::from_secs(30), &mut ordered)
        .unwrap();
    assert_eq!(live.len(), 3);
    for tag in 1..=ENVELOPES {
        let sealer = Sealer {
            key: key.clone(),
            rollup: RollupId(1),
            kind: match tag % 3 {
                0 => EnvelopeKind::Open,
                _ => EnvelopeKind::Sealed,
            },
            sender_tag: [0; 16],
            padding: PadTo::Nothing,
        };
        let envelope = sealer.make(&tag.to_be_bytes(), clock().plus_us(50_000_000));
        client.submit(tag, envelope.unwrap().bytes()).unwrap();
        client.poll(Duration::from_millis(1), &mut ordered).unwrap();
    }
    let until = Instant::now() + Duration::from_secs(60);
    while (ordered.0.len() as u64) < 3 * ENVELOPES {
        assert!(Instant::now() < until, "{} are ordered", ordered.0.len());
        client
            .poll(Duration::from_millis(20), &mut ordered)
            .unwrap();
    }
    let reports: Vec<NodeReport> = nodes.into_iter().map(|node| node.stop().unwrap()).collect();
    let asked = ["vertex_requests", "envelope_requests", "share_requests"]
        .map(|name| reports[WITNESS.as_usize()].engine[name]);
    (folder, asked.iter().sum())
}

fn plan(data: &Path) -> CapacityPlan {
    CapacityPlan {
        data: data.to_path_buf(),
        authority: None,
        witness: Some(WITNESS.0),
        core: 0,
        slice: Duration::from_millis(2),
        durability: Durability::Sync,
        scratch: None,
        repeat: 2,
    }
}

#[test]
fn a_replayed_authority_opens_the_recorded_batches_and_others_are_noticed() {
    let (folder, asked) = record();
    let plan = plan(folder.path());
    let report = run(&plan, &mut |_| {}).unwrap();
    assert_eq!((report.authority, report.envelopes), (OWN.0, ENVELOPES));
    assert_eq!(report.sealed, ENVELOPES / 3 * 2);
    assert!(report.batches > 0 && report.vertices > 0, "{report:?}");
    assert_eq!(report.turns.len(), 2);
    for turn in &report.turns {
        assert_eq!(turn.same_batches, report.batches, "{turn:?}");
        assert_eq!(turn.placed, ENVELOPES, "{turn:?}");
        // What the witness had at hand the replayed one has, too.
        assert!(turn.requests == 0 || asked > 0, "{turn:?}");
        assert!(turn.own_vertices > 0 && turn.wall_s > 0.0, "{turn:?}");
    }
    assert!(report.checks.iter().all(|check| check.holds), "{report}");

    let mut recording = Recording::read(folder.path(), OWN, WITNESS).unwrap();
    let first = recording.batches.values_mut().next().unwrap();
    first.0[0] ^= 1;
    let slices = recording.slices(OWN, 4, 2_000);
    let turn = replay(&plan, OWN, &recording, slices).unwrap();
    assert_eq!(turn.same_batches, report.batches - 1);
    let checks = checks(&recording, &[turn]);
    assert_eq!(
        checks.iter().map(|check| check.holds).collect::<Vec<_>>(),
        [false, true]
    );
}

#[test]
fn what_cannot_be_replayed_is_refused_in_a_sentence() {
    let (folder, _) = record();
    let refused = |change: fn(&mut CapacityPlan)| {
        let mut plan = plan(folder.path());
        change(&mut plan);
        run(&plan, &mut |_| {}).unwrap_err().to_string()
    };
    let all_there = refused(|plan| (plan.authority, plan.witness) = (Some(0), Some(1)));
    assert!(all_there.contains("--kill 0@1ms"), "{all_there}");
    let itself = refused(|plan| plan.witness = Some(3));
    assert!(itself.contains("no witness of its own"), "{itself}");
    let nobody = refused(|plan| plan.authority = Some(4));
    assert!(nobody.contains("no authority 4"), "{nobody}");
    let nothing = refused(|plan| (plan.authority, plan.witness) = (Some(0), Some(3)));
    assert!(nothing.contains("no envelope and no batch"), "{nothing}");
}
