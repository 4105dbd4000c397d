//! Crashes and what comes after: the disk keeps a prefix of the records, and the engine is made from those, or from the newest
//! snapshot among them and the tail that is read with it.

use std::collections::BTreeSet;

use super::*;
use crate::effect::{Record, SnapshotPart, header_of_batch};
use crate::engine::snapshot::newest_snapshot;
use crate::engine::{Engine, Recorded};
use crate::types::Round;

impl World {
    /// A node loses its memory and what its disk had not written; it is back after `down_us`.
    pub(super) fn stop(&mut self, node: usize, down_us: u64) {
        self.halt(node, down_us, false);
    }

    fn halt(&mut self, node: usize, down_us: u64, is_power_lost: bool) {
        let is_async = self.scenario.sync_us.is_some();
        let at = &mut self.nodes[node];
        if !at.is_up {
            return;
        }
        at.before = at.tally();
        at.is_up = false;
        at.life += 1;
        (at.timer_us, at.ticked_us) = (None, None);
        at.distrusts &= at.engine.is_asking();
        match is_power_lost {
            true => at.disk.lose_power(),
            false => at.disk.crash(),
        }
        at.distrusts |= is_power_lost && is_async;
        let durable = at.disk.durable();
        if is_power_lost && is_async {
            self.checks.structure.on_loss(node, durable);
            let vertices = self.nodes[node].disk.records().iter();
            let vertices = vertices.filter_map(|record| match record {
                Record::OwnVertex(bytes) | Record::Vertex(bytes) => Some(&**bytes),
                _ => None,
            });
            self.checks.decide.on_loss(node, vertices);
        }
        let found = self.checks.structure.on_crash(node, durable);
        self.hold("structure", found);
        self.checks.decide.on_crash(node, durable);
        let received = Received::of(self.nodes[node].disk.records());
        self.checks.live.on_crash(node, &received.known);
        self.checks.received.insert(node, received);
        self.note(8, node, &Content::default());
        let back_us = self.now_us + down_us;
        self.queue.plan(back_us, Event::Start { node });
    }

    /// Several nodes lose power at once.
    pub(super) fn lose_power(&mut self, loss: usize) {
        self.power_losses += 1;
        for (authority, down_us) in self.scenario.power_losses[loss].authorities.clone() {
            for node in self.nodes_of[authority].clone() {
                self.halt(node, down_us, true);
            }
        }
    }

    /// A node that crashed starts again from its records, does what follows from them, and links are made anew.
    pub(super) fn start_again(&mut self, node: usize) {
        self.restarts += 1;
        let at = &mut self.nodes[node];
        let own = at.authority;
        let mut effects = Vec::new();
        at.disk.on_start();
        let records = at.disk.records();
        let snapshot = newest_snapshot(records).unwrap_or_default();
        let before = snapshot.first().map_or(0, |part| {
            let part = SnapshotPart::decode(part).expect("an engine writes whole snapshots");
            part.tail_from - 1
        });
        self.snapshot_starts += u64::from(before > 0);
        let recovered = Engine::recover_from(
            self.committee.clone(),
            own,
            self.keys.engine_keys(
                own.as_usize(),
                self.scenario.key_changes.as_ref(),
                node as u64 | at.life << 32,
            ),
            self.scenario.config,
            at.clock.at(self.now_us),
            Recorded {
                snapshot,
                before,
                records: records[before as usize..].iter().cloned(),
            },
            &mut effects,
        );
        match recovered {
            Ok(engine) => at.engine = engine,
            Err(error) => return self.fail("recover", format!("node {node}: {error}")),
        }
        at.is_up = true;
        if at.distrusts {
            at.engine
                .distrust_records(at.clock.at(self.now_us), &mut effects);
        }
        let next = at.engine.next_open_seq().0 as usize;
        let records = at.disk.records().iter().rev();
        let recorded = records.clone().find_map(headers_up_to).unwrap_or(0);
        let anchor = records.clone().find_map(anchor_round).unwrap_or_default();
        self.checks.blind.on_restart(node, anchor);
        let found = self.checks.chain.on_restart(node, next, recorded);
        self.hold("chain", found);
        self.follow_up(node, &mut effects);
        for other in (0..self.nodes.len()).filter(|other| *other != node) {
            let peer = self.nodes[other].authority;
            if peer == own {
                continue;
            }
            // Both ends notice at their own time.
            for (node, peer) in [(node, peer), (other, own)] {
                let at_us = self.now_us + self.chance.below(RELINK_US_MAX);
                self.queue.plan(at_us, Event::Relink { node, peer });
            }
        }
    }
}

impl Received {
    /// What a node has received by its records.
    fn of(records: &[Record]) -> Self {
        let (mut order, mut known) = (Vec::new(), BTreeSet::new());
        for record in records {
            if let Record::Envelope(bytes) = record {
                let digest = Digest(*blake3::hash(bytes).as_bytes());
                if known.insert(digest) {
                    order.push(digest);
                }
            }
        }
        Self { order, known }
    }
}

/// How many batches are settled as of a record that says so.
fn headers_up_to(record: &Record) -> Option<usize> {
    let Record::Batch(bytes) = record else {
        return None;
    };
    let header = header_of_batch(bytes).expect("an engine writes headers");
    Some(header.seq.0 as usize + 1)
}

/// How far a node has committed as of a record that says so.
fn anchor_round(record: &Record) -> Option<Round> {
    let Record::Anchor(bytes) = record else {
        return None;
    };
    let mut round = [0; 8];
    round.copy_from_slice(&bytes[8..16]);
    Some(Round(u64::from_be_bytes(round)))
}

/// A link is made anew within this time, microseconds.
const RELINK_US_MAX: u64 = 20_000;
