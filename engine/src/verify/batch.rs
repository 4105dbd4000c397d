//! A recorded batch against the plan that the order gives: place, order, header and archive.
//!
//! Of the record itself only what is said to have become of each entry is taken over: void, or r and a payload. Header, roots
//! and archive are made once more from that and compared byte for byte, so nothing in a record escapes by not being looked
//! at. What is taken over is then held to the envelopes ([`super::reveals`]).
//!
//! Cost: two hashes an entry and one over the payload, and a copy of the archive.

use std::cmp::Ordering;

use rkyv::util::AlignedVec;

use crate::batch::archive::{
    ArchivedBatch, ArchivedBatchEntry, BatchEntry, BatchWriter, Outcome, PAYLOAD_SLACK_LEN, access,
    payload_root,
};
use crate::batch::header::BatchHeader;
use crate::committee::Committee;
use crate::reveal::plan::BatchPlan;
use crate::seal::{Envelope, EnvelopeKind};
use crate::types::{BatchSeq, Sha256Hash};

use super::fault::{Found, Rule};

/// Buffers for archives, kept from batch to batch.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    recorded: AlignedVec<16>,
    made: AlignedVec<16>,
}

/// What a batch says to hold.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) entries: Vec<BatchEntry>,
    /// The region that their ranges point into.
    pub(super) payload: Vec<u8>,
}

impl Said {
    /// The payload of an entry; empty for a void one.
    pub(super) fn payload(&self, index: usize) -> &[u8] {
        let range = self.entries[index].outcome.range();
        let (offset, len) = range.unwrap_or_default();
        &self.payload[offset as usize..][..len as usize]
    }

    /// Indices of the void entries, ascending.
    pub(super) fn void(&self) -> Vec<usize> {
        let entries = self.entries.iter().enumerate();
        let void = entries.filter(|(_, entry)| entry.outcome == Outcome::Void);
        void.map(|(index, _)| index).collect()
    }
}

/// Whether `header` is of the batch that comes next: with this seq, after the header with hash `previous`.
pub(super) fn check_place(
    (seq, previous): (BatchSeq, Sha256Hash),
    header: &BatchHeader,
) -> Result<(), Found> {
    let (seq, found) = (seq.0, header.seq.0);
    let what = match found.cmp(&seq) {
        Ordering::Less => format!("batch {found} stands where batch {seq} must follow"),
        Ordering::Greater => format!("it is missing: batch {found} stands in its place"),
        Ordering::Equal if header.previous != previous => {
            "it names another header as the one before it".to_owned()
        }
        Ordering::Equal => return Ok(()),
    };
    Err(Found::new(Rule::Chain, what))
}

/// Holds the batch of `header` and `archive`, which stands in its place, to its plan. That it says the truth of its
/// envelopes is left to be shown.
pub(super) fn judge(
    committee: &Committee,
    plan: &BatchPlan<Envelope>,
    (header, archive): (&BatchHeader, &[u8]),
    scratch: &mut Scratch,
) -> Result<Said, Found> {
    let Scratch { recorded, made } = scratch;
    recorded.clear();
    recorded.extend_from_slice(archive);
    let archived = access(recorded).map_err(|error| Found::new(Rule::Archive, error))?;
    let said = read(plan, archived)?;
    check_entries(plan, &said)?;
    let root = payload_root(&said.entries, &said.payload);
    let root = root.map_err(|error| Found::new(Rule::Archive, error))?;
    let expected = BatchHeader {
        chain_id: committee.chain_id,
        epoch: committee.epoch,
        seq: plan.seq,
        previous: header.previous,
        anchor_round: plan.anchor_round,
        time_us: plan.time,
        order_root: plan.order_root,
        payload_root: root,
        state_root: plan.state_root,
        entries: said.entries.len() as u32,
        void: said.void().len() as u32,
        group_wait_cut: plan.group_wait_cut,
        cap_fired: plan.cap_fired,
    };
    check_header(&expected, header)?;
    made.clear();
    made.resize(plan.archive_len_max(), 0);
    made[PAYLOAD_SLACK_LEN..][..said.payload.len()].copy_from_slice(&said.payload);
    let writer = BatchWriter::new(made, said.payload.len());
    let written = writer.and_then(|writer| writer.finish(&expected, &said.entries));
    let len = written.map_err(|error| Found::new(Rule::Archive, error))?;
    if made[..len] != *archive {
        let what = "the archive differs from what its header, entries and payload give";
        return Err(Found::new(Rule::Archive, what));
    }
    Ok(said)
}

/// The entries, which are the planned ones in their order, and the payload, which is as long as planned.
fn read(plan: &BatchPlan<Envelope>, archived: &ArchivedBatch) -> Result<Said, Found> {
    let entries = archived.entries.iter().map(ArchivedBatchEntry::to_entry);
    let entries: Vec<BatchEntry> = entries.collect();
    for (index, (entry, envelope)) in entries.iter().zip(&plan.envelopes).enumerate() {
        let digest = envelope.digest();
        if entry.digest != digest.0 {
            let found = hex::encode(&entry.digest[..4]);
            let what = format!("{found} stands where the order gives {digest:?}");
            return Err(Found::new(Rule::Order, what).in_entry(index));
        }
    }
    let (found, planned) = (entries.len(), plan.envelopes.len());
    if found != planned {
        let what = format!("it has {found} entries, and the order and the bounds give {planned}");
        return Err(Found::new(Rule::Cut, what).in_entry(found.min(planned)));
    }
    let (found, planned) = (archived.payload.len(), plan.payload_len());
    if found != planned {
        let what = format!("its payloads take {found} bytes, and by their labels {planned}");
        return Err(Found::new(Rule::Archive, what));
    }
    let payload = archived.payload.to_vec();
    Ok(Said { entries, payload })
}

/// Whether each entry is of its envelope's rollup and kind, and its payload stands where it was carried to.
fn check_entries(plan: &BatchPlan<Envelope>, said: &Said) -> Result<(), Found> {
    let mut start = 0;
    for (index, (entry, envelope)) in said.entries.iter().zip(&plan.envelopes).enumerate() {
        let label = envelope.label();
        let wrong = |rule, what: String| Err(Found::new(rule, what).in_entry(index));
        if entry.rollup_id != label.rollup.0 {
            let (found, rollup) = (entry.rollup_id, label.rollup.0);
            let what = format!("it is said to be for rollup {found} and is for {rollup}");
            return wrong(Rule::Archive, what);
        }
        match (entry.outcome, label.kind) {
            (Outcome::Open { .. }, EnvelopeKind::Sealed) => {
                return wrong(Rule::Reveal, "it is said to be open and is sealed".into());
            }
            (Outcome::Revealed { .. } | Outcome::Void, EnvelopeKind::Open) => {
                return wrong(Rule::Reveal, "it is said to be sealed and is open".into());
            }
            _ => {}
        }
        let is_in_place = |(offset, len): (u32, u32)| offset == start && len <= label.payload_len;
        if !entry.outcome.range().is_none_or(is_in_place) {
            return wrong(
                Rule::Reveal,
                "its payload is not where it was carried to".into(),
            );
        }
        start += label.payload_len;
    }
    Ok(())
}

/// Names the first field that differs.
fn check_header(expected: &BatchHeader, header: &BatchHeader) -> Result<(), Found> {
    let (is, of) = (header, expected);
    let fields = [
        ("chain id", is.chain_id == of.chain_id),
        ("epoch", is.epoch == of.epoch),
        ("anchor round", is.anchor_round == of.anchor_round),
        ("time", is.time_us == of.time_us),
        ("order root", is.order_root == of.order_root),
        ("payload root", is.payload_root == of.payload_root),
        (STATE_ROOT, is.state_root == of.state_root),
        ("count of entries", is.entries == of.entries),
        ("count of void entries", is.void == of.void),
        (
            "count of group waits cut",
            is.group_wait_cut == of.group_wait_cut,
        ),
        ("count of deferral caps fired", is.cap_fired == of.cap_fired),
    ];
    let Some((field, _)) = fields.into_iter().find(|(_, is_equal)| !is_equal) else {
        return Ok(());
    };
    let rule = match field {
        STATE_ROOT => Rule::State,
        _ => Rule::Header,
    };
    let what = format!("its {field} is not what everything before it gives");
    Err(Found::new(rule, what))
}

const STATE_ROOT: &str = "state root";
