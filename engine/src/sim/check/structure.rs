//! The rules of the DAG, on what correct nodes accept and send.
//!
//! Accepted: own previous vertex first, at most one parent an author, a quorum of the round before, no entry twice. Made:
//! positions without a gap, time not running backwards. Sent: an own vertex only when its record is durable, and one a
//! round for ever. Receipts: for durable vertices only, and no crash takes one from whom it was given. (What others' positions and times are worth is [`super::replay`]'s to judge.)

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Found, quorum};
use crate::dag::header::VertexHeader;
use crate::dag::{VerifiedVertex, VertexRef};
use crate::types::{Digest, Position, TimestampUs};

/// What was judged so far.
pub(crate) struct Structure {
    n: usize,
    judged: BTreeSet<VertexRef>,
    /// Where each node's own vertices have got to: round, next position, time.
    made: BTreeMap<usize, (u64, Position, TimestampUs)>,
    /// For each node, its own vertices that were written down, by round: the record's number and the bytes.
    written: BTreeMap<(usize, u64), Written>,
    /// For each node the round of its newest own vertex that it sent.
    sent: BTreeMap<usize, u64>,
    /// Nodes and rounds of vertices for which receipts were given.
    receipted: BTreeSet<(usize, u64)>,
    receipts: u64,
}

type Written = (u64, Arc<[u8]>);

impl Structure {
    /// For a committee of `n`.
    pub(crate) const fn new(n: usize) -> Self {
        Self {
            n,
            judged: BTreeSet::new(),
            made: BTreeMap::new(),
            written: BTreeMap::new(),
            sent: BTreeMap::new(),
            receipted: BTreeSet::new(),
            receipts: 0,
        }
    }

    /// A correct node has accepted (or made) `vertex`.
    pub(crate) fn on_accepted(&mut self, node: usize, vertex: &VerifiedVertex) -> Found {
        let reference = vertex.reference();
        if self.judged.contains(&reference) {
            return Ok(());
        }
        self.judge(vertex)
            .map_err(|fault| format!("node {node} accepted {}: {fault}", name(&reference)))?;
        self.judged.insert(reference);
        if self.judged.len() > JUDGED_MAX {
            self.judged.pop_first();
        }
        Ok(())
    }

    fn judge(&self, vertex: &VerifiedVertex) -> Found {
        let before = vertex.round().minus(1);
        let mut authors = BTreeSet::new();
        let mut of_round_before = 0;
        for parent in vertex.parents() {
            if !authors.insert(parent.author) {
                return Err(format!("two parents by {}", parent.author));
            }
            if parent.round > before {
                return Err(format!("the parent {} is not older", name(parent)));
            }
            of_round_before += usize::from(parent.round == before);
        }
        if vertex.own_previous().author != vertex.author() {
            return Err("the first parent is another author's".to_owned());
        }
        if of_round_before < quorum(self.n) {
            return Err(format!("{of_round_before} parents of the round before"));
        }
        let mut listed: Vec<Digest> = vertex.entries().iter().map(|entry| entry.digest).collect();
        listed.sort_unstable();
        if listed.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err("an entry stands twice".to_owned());
        }
        Ok(())
    }

    /// An own vertex of a correct node follows the one that it made before. One made again after a crash took it follows
    /// an older one, which is not known here any more.
    fn judge_own(&mut self, node: usize, vertex: &VerifiedVertex) -> Found {
        let made = (vertex.round().0, vertex.end_position(), vertex.timestamp());
        let before = self.made.insert(node, made);
        let Some((_, position, time)) =
            before.filter(|(round, _, _)| *round == vertex.own_previous().round.0)
        else {
            return Ok(());
        };
        let found = vertex.first_position();
        if found != position {
            return Err(format!(
                "node {node} goes on at position {} where {} is next",
                found.0, position.0
            ));
        }
        if vertex.timestamp() < time {
            return Err(format!("node {node} lets its time run backwards"));
        }
        Ok(())
    }

    /// A correct node asks that an own vertex be written down, as its record number `record`.
    pub(crate) fn on_own_record(
        &mut self,
        node: usize,
        record: u64,
        vertex: &VerifiedVertex,
    ) -> Found {
        let round = vertex.round().0;
        let kept = (record, vertex.bytes().clone());
        if let Some((_, before)) = self.written.insert((node, round), kept)
            && before != *vertex.bytes()
        {
            return Err(format!(
                "node {node} makes a second vertex for round {round}"
            ));
        }
        self.judge_own(node, vertex)?;
        self.on_accepted(node, vertex)
    }

    /// A node crashes and has its first `durable` records left. Errors: it had sent a vertex that is lost.
    pub(crate) fn on_crash(&mut self, node: usize, durable: u64) -> Found {
        self.written
            .retain(|(at, _), (record, _)| *at != node || *record <= durable);
        let of_node = self.receipted.range((node, 0)..=(node, u64::MAX));
        let mut lost = of_node.filter(|receipted| !self.written.contains_key(receipted));
        if let Some((_, round)) = lost.next() {
            return Err(format!(
                "node {node} had given receipts for its vertex of round {round} and loses it"
            ));
        }
        match self.sent.get(&node) {
            Some(sent) if !self.written.contains_key(&(node, *sent)) => Err(format!(
                "node {node} had sent its vertex of round {sent} and loses it"
            )),
            _ => Ok(()),
        }
    }

    /// A disk with durability async loses what had counted as durable, vertices that were sent among it.
    pub(crate) fn on_loss(&mut self, node: usize, durable: u64) {
        self.written
            .retain(|(at, _), (record, _)| *at != node || *record <= durable);
        let written = &self.written;
        self.receipted
            .retain(|receipted| receipted.0 != node || written.contains_key(receipted));
        let left = written.range((node, 0)..=(node, u64::MAX)).next_back();
        match left {
            Some(((_, round), _)) => self.sent.insert(node, *round),
            None => self.sent.remove(&node),
        };
    }

    /// A correct node, of which the first `durable` records are safe, gives a receipt under this vertex header.
    pub(crate) fn on_receipt(&mut self, node: usize, header: &VertexHeader, durable: u64) -> Found {
        let round = header.round.0;
        let mut said = Vec::new();
        header.encode(&mut said);
        self.receipts += 1;
        match self.written.get(&(node, round)) {
            Some((record, bytes)) if *record <= durable && bytes.starts_with(&said) => {
                self.receipted.insert((node, round));
                Ok(())
            }
            // Given again, for a vertex that is not compared any more.
            None if self.sent.get(&node).is_some_and(|sent| round < *sent) => Ok(()),
            _ => Err(format!(
                "node {node} gives a receipt for a vertex of round {round} that is not durable"
            )),
        }
    }

    /// How many receipts were judged.
    pub(crate) const fn receipts(&self) -> u64 {
        self.receipts
    }

    /// The round of the newest own vertex that a node sent.
    pub(crate) fn sent_by(&self, node: usize) -> u64 {
        self.sent.get(&node).copied().unwrap_or(0)
    }

    /// An own vertex leaves a correct node of which the first `durable` records are safe.
    pub(crate) fn on_own_sent(&mut self, node: usize, bytes: &[u8], durable: u64) -> Found {
        let round = round_of(bytes);
        let Some((record, written)) = self.written.get(&(node, round)) else {
            return match self.sent.get(&node) {
                Some(sent) if round < *sent => Ok(()),
                _ => Err(format!(
                    "node {node} sends a vertex of round {round} that it did not write"
                )),
            };
        };
        if **written != *bytes {
            return Err(format!(
                "node {node} sends another vertex of round {round} than it wrote"
            ));
        }
        if *record > durable {
            return Err(format!(
                "node {node} sends its vertex of round {round}, record {record}, with {durable} durable"
            ));
        }
        let sent = self.sent.entry(node).or_default();
        *sent = round.max(*sent);
        let kept_from = sent.saturating_sub(OWN_KEPT_ROUNDS);
        while let Some((key, _)) = self.written.range((node, 0)..(node, kept_from)).next() {
            let key = *key;
            self.written.remove(&key);
            self.receipted.remove(&key);
        }
        Ok(())
    }
}

fn name(vertex: &VertexRef) -> String {
    format!("{}.{} {:?}", vertex.author.0, vertex.round.0, vertex.digest)
}

/// The round that an encoded vertex says.
pub(crate) fn round_of(bytes: &[u8]) -> u64 {
    let mut round = [0; 8];
    round.copy_from_slice(&bytes[ROUND_AT..ROUND_AT + 8]);
    u64::from_be_bytes(round)
}

/// Where an encoded vertex says its round: behind version, chain and epoch.
const ROUND_AT: usize = 1 + 8 + 4;
/// And its author.
pub(crate) const AUTHOR_AT: usize = ROUND_AT + 8;
/// Judged vertices kept, lowest rounds first to go.
const JUDGED_MAX: usize = 65_536;
/// Own vertices kept to compare, in rounds.
const OWN_KEPT_ROUNDS: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vertex_that_was_sent_survives_every_crash() {
        let crashed = |sent: &[u64], durable| {
            let mut structure = Structure::new(4);
            for round in 1..=3 {
                let kept = (10 * round, Arc::from(&b"vertex"[..]));
                structure.written.insert((0, round), kept);
            }
            structure.sent.extend(sent.iter().map(|round| (0, *round)));
            structure.on_crash(0, durable)
        };
        assert_eq!(crashed(&[2], 20), Ok(()), "the third never left");
        assert_eq!(crashed(&[], 0), Ok(()), "none ever left");
        assert!(crashed(&[3], 29).is_err());
    }

    #[test]
    fn no_crash_takes_a_vertex_for_which_receipts_were_given() {
        let crashed = |durable| {
            let mut structure = Structure::new(4);
            for round in 1..=3 {
                let kept = (10 * round, Arc::from(&b"vertex"[..]));
                structure.written.insert((0, round), kept);
            }
            structure.receipted.extend([(0, 2), (1, 9)]);
            structure.on_crash(0, durable)
        };
        assert_eq!(crashed(20), Ok(()));
        assert!(crashed(19).is_err());
    }
}
