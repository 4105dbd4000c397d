//! Claims about a node that finds its journal damaged: it recovers the very state that its records give, or refuses.
//!
//! The journal is a real one, of a committee of one that ordered a few envelopes.

use std::path::PathBuf;
use std::sync::Arc;

use fairlane_client::committee_file::Roster;
use fairlane_engine::types::AuthorityIndex;

use super::*;
use crate::config::{NodeConfig, read_toml, resolve};
use crate::journal::{JournalConfig, JournalIdentity, JournalReader};
use crate::node::{Node, read_keys};
use crate::one_node::OneNode;
use crate::stage::clock;

/// A node that has stopped, and its journal's bytes.
struct Stopped {
    of: OneNode,
    config: NodeConfig,
    segment: PathBuf,
    bytes: Vec<u8>,
    /// Of its clean stop.
    mark: Vec<u8>,
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
        let of = OneNode::new();
        let node = Node::start(&of.config).unwrap();
        let mut client = of.client();
        for _ in 0..envelopes {
            let envelope = client.seal(b"one");
            client.order(&envelope);
        }
        node.stop().unwrap();
        let segment = of.data.join("journal-0000000000.seg");
        let mut bytes = std::fs::read(&segment).unwrap();
        let mark = std::fs::read(of.data.join(MARK)).unwrap();
        let written = mark[26..34].try_into().map(u64::from_be_bytes).unwrap();
        bytes.truncate(written as usize);
        // As a kill leaves it.
        std::fs::remove_file(of.data.join(MARK)).unwrap();
        Self {
            mark,
            config: read_toml(&of.config).unwrap(),
            of,
            segment,
            bytes,
        }
    }

    /// Starts the engine on this journal instead.
    fn recover_from(&self, bytes: &[u8]) -> anyhow::Result<Reached> {
        std::fs::write(&self.segment, bytes).unwrap();
        let own = AuthorityIndex(0);
        let roster = &self.of.roster;
        let keys = read_keys(&self.config, roster, own, &self.segment)?;
        let identity = JournalIdentity {
            chain_id: roster.committee.chain_id,
            authority: own,
        };
        let mut journal = StoppedJournal::open(&JournalConfig::new(&self.of.data, identity))?;
        let recovery = Recovery {
            committee: Arc::new(roster.committee.clone()),
            own,
            keys,
            timers: self.config.timers.into(),
            now: clock(),
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
        let mut reader = JournalReader::open(&self.of.data).unwrap();
        let mut ends = Vec::new();
        while let Some(len) = reader.try_next().unwrap().map(|record| record.body.len()) {
            let (_, start) = reader.place().unwrap();
            ends.push(start as usize + 13 + len);
        }
        ends
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
fn after_a_clean_stop_every_flipped_byte_is_refused_by_file_and_offset() {
    let stopped = Stopped::after(2);
    let whole = stopped.recover_from(&stopped.bytes).unwrap();
    let before_last = *stopped.ends().iter().rev().nth(1).unwrap();
    std::fs::write(stopped.of.data.join(MARK), &stopped.mark).unwrap();
    assert_eq!(stopped.recover_from(&stopped.bytes).unwrap(), whole);
    // The last record is in the last group; the other test has those before.
    for at in before_last..stopped.bytes.len() {
        let mut flipped = stopped.bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        let words = stopped.recover_from(&flipped).unwrap_err().to_string();
        assert!(
            words.contains("journal-0000000000.seg"),
            "byte {at}: {words}"
        );
        assert!(words.contains("at byte"), "byte {at}: {words}");
        assert!(words.contains("restore it"), "byte {at}: {words}");
    }
    // A mark that is damaged itself vouches for nothing, and takes nothing.
    for at in 0..stopped.mark.len() {
        let mut flipped = stopped.mark.clone();
        flipped[at] ^= 1;
        std::fs::write(stopped.of.data.join(MARK), flipped).unwrap();
        assert_eq!(stopped.recover_from(&stopped.bytes).unwrap(), whole);
    }
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

/// Time to read the journal of node 0 of a kept network, to make its engine of all records, and of its newest snapshot and
/// what follows.
#[test]
#[ignore = "prints figures: localnet --open --rate 10000 --duration 60s --data DIR; then FAIRLANE_NETWORK=DIR cargo test --release -p fairlane-net --lib recovery::tests::figures -- --ignored --nocapture"]
fn figures() {
    let network = std::env::var_os("FAIRLANE_NETWORK").expect("the folder of a kept network");
    let file = PathBuf::from(network).join("node-0.toml");
    let config: NodeConfig = read_toml(&file).unwrap();
    let roster = Roster::load(&resolve(&file, &config.committee)).unwrap();
    let own = AuthorityIndex(0);
    let identity = JournalIdentity {
        chain_id: roster.committee.chain_id,
        authority: own,
    };
    let journal = JournalConfig::new(resolve(&file, &config.data), identity);
    let recovery = || Recovery {
        committee: Arc::new(roster.committee.clone()),
        own,
        keys: read_keys(&config, &roster, own, &file).unwrap(),
        timers: config.timers.into(),
        now: clock(),
    };
    let (mut records, mut bytes) = (0u64, 0u64);
    let read = Instant::now();
    let mut reader = JournalReader::open(&journal.folder).unwrap();
    while let Some(record) = reader.try_next().unwrap() {
        records += 1;
        bytes += record.body.len() as u64;
    }
    let (gib, read_s) = (
        bytes as f64 / (1u64 << 30) as f64,
        read.elapsed().as_secs_f64(),
    );
    println!(
        "{records} records, {gib:.2} GiB: read and checked in {read_s:.2} s, {:.2} s a GiB",
        read_s / gib
    );

    let (replay, with) = (Instant::now(), recovery());
    let mut stopped = StoppedJournal::open(&journal).unwrap();
    let mut all = Records {
        journal: &mut stopped,
        count: 0,
        bytes: 0,
        failure: None,
    };
    let recorded = Recorded {
        snapshot: Vec::new(),
        before: 0,
        records: &mut all,
    };
    let (committee, keys, timers) = (with.committee, with.keys, with.timers);
    let engine = Engine::recover_from(
        committee,
        own,
        keys,
        timers,
        clock(),
        recorded,
        &mut Vec::new(),
    );
    let replayed = engine.unwrap();
    let replay_s = replay.elapsed().as_secs_f64();
    println!(
        "an engine of all of them in {replay_s:.2} s, {:.2} s a GiB",
        replay_s / gib
    );
    drop(stopped);

    let start = Instant::now();
    let mut stopped = StoppedJournal::open(&journal).unwrap();
    let (engine, _) = recovery().run(&mut stopped).unwrap();
    println!(
        "from the newest snapshot on in {:.3} s, {} records",
        start.elapsed().as_secs_f64(),
        engine.counters().records_recovered
    );
    let reached = |engine: &Engine| (engine.round(), engine.next_open_seq());
    assert_eq!(reached(&engine), reached(&replayed));
}

/// What a clean stop leaves beside the segments.
const MARK: &str = "stopped";
/// Bytes before the first record.
const SEGMENT_HEADER_LEN: usize = 39;
