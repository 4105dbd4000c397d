//! Claims about a node that finds its journal damaged: it recovers the very state that its records give, or refuses.
//!
//! The journal is a real one, of a committee of one that ordered a few envelopes.

use std::path::PathBuf;
use std::sync::Arc;

use fairlane_engine::types::AuthorityIndex;

use super::*;
use crate::config::{NodeConfig, read_toml};
use crate::journal::{JournalConfig, JournalIdentity, JournalReader};
use crate::node::{Node, read_keys};
use crate::one_node::OneNode;

/// A node that has stopped, and its journal's bytes.
struct Stopped {
    of: OneNode,
    config: NodeConfig,
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
        bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1);
        Self {
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
