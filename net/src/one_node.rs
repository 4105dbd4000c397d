//! A committee of one in this process, for tests that look at what its node leaves on the disk.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use fairlane_client::committee_file::{Addresses, Roster};
use fairlane_client::protocol::AckCode;
use fairlane_client::sealing::{PadTo, Sealer};
use fairlane_client::{Client, ClientOptions, Event, Observer};
use fairlane_engine::committee::{Parameters, Rollup, RollupPolicy};
use fairlane_engine::seal::{Envelope, EnvelopeKind};
use fairlane_engine::types::{AuthorityIndex, ChainId, Entry, RollupId};
use tempfile::TempDir;

use crate::config::{BackendName, FinalityName, Timers};
use crate::journal::{AppendChoice, Durability};
use crate::stage::clock;
use crate::stage::waiting::ReceiveMode;
use crate::testnet::{self, TestnetPlan, system_entropy};

/// The files of a committee of one; its node is not started.
pub(crate) struct OneNode {
    /// Removed with everything in it when dropped.
    _folder: TempDir,
    pub(crate) roster: Roster,
    /// The node's configuration.
    pub(crate) config: PathBuf,
    /// Its data folder; not there yet.
    pub(crate) data: PathBuf,
}

impl OneNode {
    pub(crate) fn new() -> Self {
        Self::of_rollups(&[1])
    }

    /// The same with these rollups; clients seal for the first.
    pub(crate) fn of_rollups(rollups: &[u64]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let held = [free(), free()];
        let [client, peer] = held.each_ref().map(|port| port.local_addr().unwrap());
        drop(held);
        let plan = TestnetPlan {
            chain_id: ChainId(7),
            epoch_start: clock(),
            parameters: Parameters::default(),
            rollups: (rollups.iter())
                .map(|id| Rollup {
                    id: RollupId(*id),
                    policy: RollupPolicy::Sealed,
                })
                .collect(),
            addresses: vec![Addresses { client, peer }],
            durability: Durability::Sync,
            backend: BackendName::Auto,
            journal_backend: AppendChoice::default(),
            receive: ReceiveMode::default(),
            udp: true,
            timers: Timers::default(),
            settle_node: 0,
            finality: FinalityName::Node,
            dkg: false,
            renew_us: None,
            retention_bytes: 0,
        };
        let roster = testnet::write(&plan, folder.path(), &mut system_entropy).unwrap();
        Self {
            roster,
            config: folder.path().join("node-0.toml"),
            data: folder.path().join("node-0"),
            _folder: folder,
        }
    }

    /// A client that is connected.
    pub(crate) fn client(&self) -> OneClient {
        let directory = self.roster.clone().into_directory().unwrap();
        let key = directory.sealing_key.clone();
        let sealer = Sealer {
            key: key.clone(),
            rollup: RollupId(1),
            kind: EnvelopeKind::Sealed,
            sender_tag: [0; 16],
            padding: PadTo::Nothing,
        };
        let addresses = directory.client_addresses();
        let options = ClientOptions::default();
        let mut client = Client::new(directory.committee, key, &addresses, options);
        let mut heard = Heard::default();
        let live = client
            .connect_all(Duration::from_secs(30), &mut heard)
            .unwrap();
        assert_eq!(live.len(), 1, "the node takes clients");
        OneClient {
            client,
            sealer,
            heard,
            tags: 0,
        }
    }
}

/// A client that submits one after the other.
pub(crate) struct OneClient {
    client: Client,
    sealer: Sealer,
    heard: Heard,
    tags: u64,
}

/// What was heard since the last submission.
#[derive(Default)]
struct Heard {
    ack: Option<(u64, AckCode, u64)>,
    ordered: Option<u64>,
}

impl Observer for Heard {
    fn receipt_wanted(&self, _: u64) -> Option<Entry> {
        None
    }

    fn on_event(&mut self, _: AuthorityIndex, event: Event) {
        match event {
            Event::Ack(ack) => self.ack = Some((ack.tag, ack.code, ack.detail)),
            Event::Ordered { tag, .. } => self.ordered = Some(tag),
            _ => {}
        }
    }
}

impl OneClient {
    pub(crate) fn seal(&self, payload: &[u8]) -> Envelope {
        self.sealer
            .make(payload, clock().plus_us(50_000_000))
            .unwrap()
    }

    /// The node's answer, and its detail.
    pub(crate) fn submit(&mut self, envelope: &Envelope) -> (AckCode, u64) {
        self.tags += 1;
        let tag = self.tags;
        self.client.submit(tag, envelope.bytes()).unwrap();
        self.wait(|heard| matches!(heard.ack, Some((of, ..)) if of == tag));
        let (_, code, detail) = self.heard.ack.unwrap();
        (code, detail)
    }

    /// Submits it and waits until it has its place.
    pub(crate) fn order(&mut self, envelope: &Envelope) {
        assert_eq!(self.submit(envelope).0, AckCode::Accepted);
        self.wait_ordered();
    }

    /// Waits until what was submitted last has its place.
    pub(crate) fn wait_ordered(&mut self) {
        let tag = self.tags;
        self.wait(|heard| heard.ordered == Some(tag));
    }

    fn wait(&mut self, is_heard: impl Fn(&Heard) -> bool) {
        let until = Instant::now() + Duration::from_secs(60);
        while !is_heard(&self.heard) {
            assert!(Instant::now() < until, "no answer");
            self.client
                .poll(Duration::from_millis(20), &mut self.heard)
                .unwrap();
        }
    }
}
