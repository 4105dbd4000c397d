//! Claims about a node that finds its journal damaged: it recovers the very state that its records give, or refuses.
//!
//! The journal is a real one, of a committee of one that ordered a few envelopes.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fairlane_client::committee_file::{Addresses, Roster};
use fairlane_client::sealing::{PadTo, Sealer};
use fairlane_client::{Client, ClientOptions, Event, Observer};
use fairlane_engine::committee::{Parameters, Rollup, RollupPolicy};
use fairlane_engine::seal::EnvelopeKind;
use fairlane_engine::types::{AuthorityIndex, ChainId, Entry, RollupId};
use tempfile::TempDir;

use super::*;
use crate::config::{BackendName, NodeConfig, Timers, read_toml};
use crate::journal::{Durability, JournalConfig, JournalIdentity, JournalReader};
use crate::node::{Node, read_keys};
use crate::stage::clock;
use crate::testnet::{self, TestnetPlan, system_entropy};

/// A node that has stopped, and its journal's bytes.
struct Stopped {
    folder: TempDir,
    config: NodeConfig,
    roster: Roster,
    segment: PathBuf,
    bytes: Vec<u8>,
}

/// How far an engine is.
#[derive(Debug, PartialEq, Eq)]
struct Reached {
    records: u64,
    round: u64,
    next_open: u64,
    drained: bool,
}

impl Stopped {
    /// Runs a committee of one until `envelopes` envelopes are ordered, one after the other.
    fn after(envelopes: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let held = [free(), free()];
        let [client, peer] = held.each_ref().map(|port| port.local_addr().unwrap());
        drop(held);
        let plan = TestnetPlan {
            chain_id: ChainId(7),
            epoch_start: clock(),
            parameters: Parameters::default(),
            rollups: vec![Rollup {
                id: RollupId(1),
                policy: RollupPolicy::Sealed,
            }],
            addresses: vec![Addresses { client, peer }],
            durability: Durability::Sync,
            backend: BackendName::Auto,
            timers: Timers::default(),
            settle_node: 0,
            dkg: false,
            renew_us: None,
            retention_bytes: 0,
        };
        let roster = testnet::write(&plan, folder.path(), &mut system_entropy).unwrap();
        let path = folder.path().join("node-0.toml");
        let node = Node::start(&path).unwrap();
        submit(&roster, envelopes);
        node.stop().unwrap();
        let segment = folder.path().join("node-0/journal-0000000000.seg");
        let mut bytes = std::fs::read(&segment).unwrap();
        bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1);
        Self {
            config: read_toml(&path).unwrap(),
            folder,
            roster,
            segment,
            bytes,
        }
    }

    /// Starts the engine on this journal instead.
    fn recover_from(&self, bytes: &[u8]) -> anyhow::Result<Reached> {
        std::fs::write(&self.segment, bytes).unwrap();
        let own = AuthorityIndex(0);
        let keys = read_keys(&self.config, &self.roster, own, &self.segment)?;
        let identity = JournalIdentity {
            chain_id: self.roster.committee.chain_id,
            authority: own,
        };
        let folder = self.folder.path().join("node-0");
        let mut journal = StoppedJournal::open(&JournalConfig::new(folder, identity))?;
        let recovery = Recovery {
            committee: Arc::new(self.roster.committee.clone()),
            own,
            keys,
            timers: self.config.timers.into(),
        };
        let (engine, _) = recovery.run(&mut journal)?;
        Ok(Reached {
            records: engine.counters().records_recovered,
            round: engine.round().0,
            next_open: engine.next_open_seq().0,
            drained: engine.is_drained(),
        })
    }

    /// Where each record ends.
    fn ends(&self) -> Vec<usize> {
        std::fs::write(&self.segment, &self.bytes).unwrap();
        let mut reader = JournalReader::open(&self.folder.path().join("node-0")).unwrap();
        let mut ends = Vec::new();
        while let Some(len) = reader.try_next().unwrap().map(|record| record.body.len()) {
            let (_, start) = reader.place().unwrap();
            ends.push(start as usize + 13 + len);
        }
        ends
    }
}

fn submit(roster: &Roster, envelopes: u64) {
    struct Places(u64);
    impl Observer for Places {
        fn receipt_wanted(&self, _: u64) -> Option<Entry> {
            None
        }

        fn on_event(&mut self, _: AuthorityIndex, event: Event) {
            self.0 += u64::from(matches!(event, Event::Ordered { .. }));
        }
    }
    let directory = roster.clone().into_directory().unwrap();
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
    let mut places = Places(0);
    let until = Instant::now() + Duration::from_secs(60);
    client
        .connect_all(Duration::from_secs(30), &mut places)
        .unwrap();
    for tag in 0..envelopes {
        let envelope = sealer.make(b"one", clock().plus_us(30_000_000)).unwrap();
        client.submit(tag, envelope.bytes()).unwrap();
        while places.0 <= tag {
            assert!(Instant::now() < until, "nothing is ordered");
            client.poll(Duration::from_millis(20), &mut places).unwrap();
        }
    }
}

#[test]
fn every_flipped_byte_is_refused_by_file_and_offset_or_leaves_the_state_of_the_records_before_it() {
    let stopped = Stopped::after(2);
    let whole = stopped.recover_from(&stopped.bytes).unwrap();
    assert!(whole.records >= 8 && whole.next_open >= 1, "{whole:?}");
    let ends = stopped.ends();
    assert_eq!(ends.len() as u64, whole.records);
    // What the records before each one give: a torn tail leaves that.
    let prefixes: Vec<Reached> = std::iter::once(&SEGMENT_HEADER_LEN)
        .chain(&ends)
        .map(|end| stopped.recover_from(&stopped.bytes[..*end]).unwrap())
        .collect();
    let (mut refused, mut cut) = (0, 0);
    for at in 0..stopped.bytes.len() {
        let mut flipped = stopped.bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        match stopped.recover_from(&flipped) {
            Ok(reached) => {
                let whole_before = ends.iter().filter(|end| **end <= at).count();
                let kept = reached.records as usize;
                assert!(
                    kept >= whole_before,
                    "byte {at}: {kept} of {whole_before} records"
                );
                assert_eq!(reached, prefixes[kept], "byte {at}");
                cut += 1;
            }
            Err(error) => {
                let words = error.to_string();
                assert!(
                    words.contains("journal-0000000000.seg"),
                    "byte {at}: {words}"
                );
                assert!(words.contains("at byte"), "byte {at}: {words}");
                assert!(words.contains("restore it"), "byte {at}: {words}");
                refused += 1;
            }
        }
    }
    // All but the last group are vouched for by the marks of later ones.
    assert!(refused > cut && cut > 0, "{refused} refused, {cut} cut");
    assert_eq!(stopped.recover_from(&stopped.bytes).unwrap(), whole);
}

#[test]
fn zeroed_pages_and_shortened_files_are_refused_or_leave_the_state_of_the_records_before() {
    let stopped = Stopped::after(1);
    let ends = stopped.ends();
    let judge = |bytes: &[u8], first_change: usize| match stopped.recover_from(bytes) {
        Ok(reached) => {
            let whole_before = ends.iter().filter(|end| **end <= first_change).count();
            assert!(
                reached.records as usize >= whole_before,
                "from byte {first_change}"
            );
        }
        Err(error) => assert!(error.to_string().contains("at byte"), "{error}"),
    };
    for start in (0..stopped.bytes.len()).step_by(64) {
        for len in [1, 64, 512] {
            let mut zeroed = stopped.bytes.clone();
            let end = (start + len).min(zeroed.len());
            zeroed[start..end].fill(0);
            judge(&zeroed, start);
        }
        judge(&stopped.bytes[..start], start);
    }
}

/// Bytes before the first record.
const SEGMENT_HEADER_LEN: usize = 39;
