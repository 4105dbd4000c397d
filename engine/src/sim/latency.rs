//! How long after they were sent vertices are committed, on every correct node.

use std::collections::BTreeMap;

use crate::dag::VertexRef;

/// Times of vertices of correct authorities, and what came of them.
#[derive(Default)]
pub(crate) struct Latency {
    sent_us: BTreeMap<VertexRef, u64>,
    /// What each anchor commits, by its index: when it was sent, and whether it is the anchor itself.
    committed: Vec<Vec<(u64, bool)>>,
    pub(crate) of_leaders: Mean,
    pub(crate) of_all: Mean,
}

/// A sum and how many it is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mean {
    /// The sum, microseconds.
    pub sum_us: u64,
    /// How many.
    pub count: u64,
}

impl Mean {
    fn add(&mut self, us: u64) {
        self.sum_us += us;
        self.count += 1;
    }
}

impl Latency {
    /// A correct node sends an own vertex.
    pub(crate) fn on_sent(&mut self, vertex: VertexRef, now_us: u64) {
        self.sent_us.entry(vertex).or_insert(now_us);
    }

    /// The next anchor commits `vertices`, the last of which is the anchor.
    pub(crate) fn on_anchor(&mut self, vertices: &[VertexRef]) {
        let last = vertices.len().saturating_sub(1);
        let times = vertices.iter().enumerate().filter_map(|(at, vertex)| {
            let sent_us = self.sent_us.remove(vertex)?;
            Some((sent_us, at == last))
        });
        self.committed.push(times.collect());
    }

    /// A correct node has committed the anchor of this index.
    pub(crate) fn on_committed(&mut self, index: usize, now_us: u64) {
        for (sent_us, is_leader) in self.committed.get(index).into_iter().flatten() {
            self.of_all.add(now_us - sent_us);
            if *is_leader {
                self.of_leaders.add(now_us - sent_us);
            }
        }
    }
}
