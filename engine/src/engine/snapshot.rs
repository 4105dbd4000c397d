//! Own snapshots: with one, a node starts again from the tail of its journal, and what lies before may be removed.
//!
//! A snapshot is the state of a settled checkpoint ([`crate::state`]) and what is needed beside it that no later record
//! holds: the newest own vertex and the evidence. It is recorded when [`EngineConfig::snapshot_bytes`] of records have come
//! since the last one and a quorum's signed vertices name the checkpoint as settled: there are no certificates yet.
//!
//! What is read with it: all records from a place on, [`SnapshotPart::tail_from`], chosen so that none before matters.
//! - Vertices: whatever is not in the state lies above the state's floor. At every checkpoint's anchor a mark is made, of how
//!   many records there are and the highest round that any of them is of; the tail begins behind the newest mark whose
//!   rounds all lie at or below that floor.
//! - Envelopes: none that is held was recorded before the tail: what is pending, may be ordered, or could be submitted again.
//! - Anchors and batches up to the checkpoint are in the state; all later ones were recorded behind its mark.
//!
//! I1: while a checkpoint cannot serve (nobody vouches, batches are missing, the own vertex is somebody else's), none is
//! recorded, and the journal stays whole. I2: a snapshot changes nothing of what an engine does; a crash within one leaves
//! the one before it.
//!
//! Cost: nothing but a comparison an input until one is due; then one pass over the envelopes held and a copy of the state.

use super::*;
use crate::effect::SnapshotPart;

/// What is needed to record the next snapshot.
#[derive(Debug)]
pub(super) struct Snapshots {
    /// Bytes of records since the last one.
    pub(super) bytes: u64,
    /// The checkpoint of the last one.
    last: Option<BatchSeq>,
    marks: VecDeque<Mark>,
}

/// The journal at a checkpoint's anchor.
#[derive(Clone, Copy, Debug)]
struct Mark {
    anchor: Round,
    /// Of the state at this anchor.
    floor: Round,
    /// No record up to here is of a vertex above this round.
    highest: Round,
    records: u64,
}

impl Default for Snapshots {
    fn default() -> Self {
        Self::behind(0, Round(0), None)
    }
}

impl Snapshots {
    /// At a start: none of the first `records` records is of a vertex above `highest`.
    pub(super) fn behind(records: u64, highest: Round, last: Option<BatchSeq>) -> Self {
        let mark = Mark {
            anchor: Round(0),
            floor: Round(0),
            highest,
            records,
        };
        Self {
            bytes: 0,
            last,
            marks: VecDeque::from([mark]),
        }
    }

    /// How many marks are kept.
    pub(super) fn len(&self) -> usize {
        self.marks.len()
    }

    /// Behind how many records all vertices stand that the state of the checkpoint at `anchor` lacks.
    fn records_before(&self, anchor: Round) -> Option<u64> {
        let at_anchor = |mark: &&Mark| mark.anchor == anchor;
        let floor = self.marks.iter().rev().find(at_anchor)?.floor;
        let serves = |mark: &&Mark| mark.highest <= floor;
        let mark = self.marks.iter().rev().find(serves)?;
        Some(mark.records)
    }

    /// Lets go of marks that no later snapshot needs.
    fn forget_before(&mut self, records: u64) {
        while self
            .marks
            .get(1)
            .is_some_and(|next| next.records <= records)
        {
            self.marks.pop_front();
        }
    }
}

impl Engine {
    /// An anchor whose state may become a snapshot is committed.
    pub(super) fn mark_checkpoint(&mut self, anchor: Round) {
        let mark = Mark {
            anchor,
            floor: self.committer.floor(),
            highest: self.dag.highest_round().max(self.proposer.round),
            records: self.records,
        };
        self.snapshots.marks.push_back(mark);
        if self.snapshots.marks.len() > SNAPSHOT_MARKS_MAX {
            self.snapshots.marks.pop_front();
        }
    }

    /// Records a snapshot if one is due.
    pub(super) fn try_snapshot(&mut self, effects: &mut Vec<Effect>) {
        if self.snapshots.bytes < self.config.snapshot_bytes || self.syncing.gap.is_some() {
            return;
        }
        let Some(checkpoint) = self.checkpoints.newest_of_quorum(&self.committee) else {
            return;
        };
        let (header, last) = (checkpoint.header, self.snapshots.last);
        if last.is_some_and(|last| header.seq <= last) {
            return;
        }
        let (Some(records), Some(own)) = (
            self.snapshots.records_before(header.anchor_round),
            self.newest_own(),
        ) else {
            return;
        };
        let held = self.table.lowest_record();
        let tail_from = held.map_or(records + 1, |held| held.min(records + 1));
        let content = self.snapshot_content(own.as_deref(), &checkpoint.state);
        let chunks = content.chunks(STATE_RECORD_LEN_MAX);
        let of = chunks.len() as u32;
        for (index, bytes) in (0..).zip(chunks) {
            let part = SnapshotPart {
                header,
                tail_from,
                index,
                of,
                bytes,
            };
            self.persist(Record::Snapshot(part.encode().into()), effects);
        }
        self.snapshots.forget_before(records);
        (self.snapshots.bytes, self.snapshots.last) = (0, Some(header.seq));
        self.counters.snapshots += 1;
    }

    /// The newest own vertex that was recorded, durable or not; none when it is not here, and no bytes before the first.
    fn newest_own(&self) -> Option<Option<Arc<[u8]>>> {
        if let Some((vertex, _)) = &self.proposer.in_flight {
            return Some(Some(vertex.bytes().clone()));
        }
        let Some(last) = &self.proposer.last else {
            return Some(None);
        };
        let vertex = self.dag.find(last)?;
        Some(Some(vertex.bytes().clone()))
    }

    fn snapshot_content(&self, own: Option<&[u8]>, state: &State) -> Vec<u8> {
        let own = own.unwrap_or_default();
        let mut content = Vec::with_capacity(state.transfer_len() + own.len() + 16);
        crate::wire::Writer::new(&mut content)
            .u8(SNAPSHOT_VERSION)
            .count_u32(own.len())
            .bytes(own)
            .count_u32(self.evidence.len());
        for evidence in self.evidence.iter() {
            let bytes = evidence.encode();
            crate::wire::Writer::new(&mut content)
                .count_u32(bytes.len())
                .bytes(&bytes);
        }
        content.extend_from_slice(&state.transfer());
        content
    }
}

/// The newest whole snapshot among `records`, as what its parts hold, in order.
pub fn newest_snapshot(records: &[Record]) -> Option<Vec<Arc<[u8]>>> {
    let part = |at: usize| match records.get(at) {
        Some(Record::Snapshot(body)) => SnapshotPart::decode(body).ok(),
        _ => None,
    };
    let is_last = |at: &usize| part(*at).is_some_and(|part| part.index + 1 == part.of);
    let whole = |last: usize| {
        let first = last.checked_sub(part(last)?.index as usize)?;
        let follows = |at: usize| Some(part(at + 1)?.follows(&part(at)?));
        let is_whole = part(first)?.index == 0 && (first..last).all(|at| follows(at) == Some(true));
        is_whole.then(|| {
            records[first..=last]
                .iter()
                .map(|record| record.body().clone())
                .collect()
        })
    };
    (0..records.len()).rev().filter(is_last).find_map(whole)
}

/// Version of what a snapshot holds.
pub(crate) const SNAPSHOT_VERSION: u8 = 1;
/// Bytes of records between two snapshots, unless configured otherwise.
pub const SNAPSHOT_BYTES_DEFAULT: u64 = 32 << 20;
/// Places remembered from which the journal may have to be read; with more, the oldest is forgotten.
pub const SNAPSHOT_MARKS_MAX: usize = 1024;
