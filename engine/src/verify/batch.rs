//! A recorded batch against the plan that the order gives: everything in it is made once more, from the envelopes, the
//! published r of what is revealed, and the share messages of what is void.
//!
//! Of the record itself only two things are taken over, each of which is then held to the envelope: which entries are said
//! to be void, and r. Header, roots and archive are made from that and compared byte for byte, so nothing in a record
//! escapes by not being looked at.
//!
//! Cost an entry: two products of fixed points, all of a batch with one inversion, the cipher, and three hashes.

use std::cmp::Ordering;

use rkyv::util::AlignedVec;

use crate::batch::archive::{
    ArchivedBatchEntry, BatchEntry, BatchWriter, Outcome, PAYLOAD_SLACK_LEN, access, payload_root,
};
use crate::batch::header::BatchHeader;
use crate::committee::Committee;
use crate::reveal::plan::BatchPlan;
use crate::seal::{PublishedPoint, SealingKey, VerifiedEnvelope, open_published, published_points};
use crate::types::{BatchSeq, Sha256Hash};

use super::fault::{Found, Rule};
use super::sequence::Planned;

/// Buffers for archives, kept from batch to batch.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    recorded: AlignedVec<16>,
    made: AlignedVec<16>,
}

/// What a batch was found to hold.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) open: u64,
    pub(super) revealed: u64,
    pub(super) payload_bytes: u64,
    /// Indices of void entries.
    pub(super) void: Vec<usize>,
}

/// Holds the batch of `header` and `archive`, which stands in its place after the header with hash `previous`, to its plan. That its void
/// entries are void is left to be shown.
pub(super) fn judge(
    committee: &Committee,
    planned: &Planned,
    previous: Sha256Hash,
    (header, archive): (&BatchHeader, &[u8]),
    scratch: &mut Scratch,
) -> Result<Contents, Found> {
    let plan = &planned.plan;
    let recorded = &mut scratch.recorded;
    recorded.clear();
    recorded.extend_from_slice(archive);
    let archived = access(recorded).map_err(|error| Found::new(Rule::Archive, error))?;
    let said = archived.entries.iter().map(ArchivedBatchEntry::to_entry);
    let said: Vec<BatchEntry> = said.collect();
    check_order(plan, &said)?;

    let made = &mut scratch.made;
    made.clear();
    made.resize(plan.archive_len_max(), 0);
    let region = &mut made[..PAYLOAD_SLACK_LEN + plan.payload_len()];
    let opened = open(planned, &said, region)?;
    let (entries, contents) = compare(plan, &said, opened, (region, &archived.payload))?;

    let writer = BatchWriter::new(made, plan.payload_len())
        .map_err(|error| Found::new(Rule::Archive, error))?;
    let root = payload_root(&entries, writer.payload());
    let root = root.map_err(|error| Found::new(Rule::Archive, error))?;
    let expected = BatchHeader {
        chain_id: committee.chain_id,
        epoch: committee.epoch,
        seq: plan.seq,
        previous,
        anchor_round: plan.anchor_round,
        time_us: plan.time,
        order_root: plan.order_root,
        payload_root: root,
        state_root: plan.state_root,
        entries: entries.len() as u32,
        void: contents.void.len() as u32,
        group_wait_cut: plan.group_wait_cut,
        cap_fired: plan.cap_fired,
    };
    check_header(&expected, header)?;
    let len = writer.finish(&expected, &entries);
    let len = len.map_err(|error| Found::new(Rule::Archive, error))?;
    if made[..len] != *archive {
        let what = "the archive differs from what its header, entries and payload give";
        return Err(Found::new(Rule::Archive, what));
    }
    Ok(contents)
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

/// Whether the entries are the planned ones, in their order.
fn check_order(plan: &BatchPlan, said: &[BatchEntry]) -> Result<(), Found> {
    for (index, (entry, envelope)) in said.iter().zip(&plan.envelopes).enumerate() {
        let (found, digest) = (hex::encode(&entry.digest[..4]), envelope.digest());
        if entry.digest != digest.0 {
            let what = format!("{found} stands where the order gives {digest:?}");
            return Err(Found::new(Rule::Order, what).in_entry(index));
        }
        let (found, rollup) = (entry.rollup_id, envelope.label().rollup.0);
        if found != rollup {
            let what = format!("it is said to be for rollup {found} and is for {rollup}");
            return Err(Found::new(Rule::Archive, what).in_entry(index));
        }
    }
    let (found, planned) = (said.len(), plan.envelopes.len());
    if found != planned {
        let what = format!("it has {found} entries, and the order and the bounds give {planned}");
        return Err(Found::new(Rule::Cut, what).in_entry(found.min(planned)));
    }
    Ok(())
}

/// Puts every payload to its place in `region`, the last one first as when a batch is opened; void ones stay as they come.
fn open(planned: &Planned, said: &[BatchEntry], region: &mut [u8]) -> Result<Vec<Outcome>, Found> {
    let plan = &planned.plan;
    let sealing = planned.key.as_deref().map(|key| &key.sealing);
    let mut points = published(plan, said, sealing)?.into_iter().rev();
    let mut outcomes = vec![Outcome::Void; said.len()];
    let mut end = region.len();
    for (index, (entry, envelope)) in said.iter().zip(&plan.envelopes).enumerate().rev() {
        let start = end - envelope.label().payload_len as usize;
        let (offset, len) = ((start - PAYLOAD_SLACK_LEN) as u32, (end - start) as u32);
        outcomes[index] = match entry.outcome {
            Outcome::Void => Outcome::Void,
            Outcome::Open { .. } => {
                let payload = envelope.open_payload();
                let payload = payload.expect("what is no sealed envelope is an open one");
                region[start..end].copy_from_slice(payload);
                Outcome::Open { offset, len }
            }
            Outcome::Revealed { r, .. } => {
                let point = points.next().expect("one point a revealed entry");
                let out = &mut region[start - PAYLOAD_SLACK_LEN..end];
                if !open_published(envelope, &point, out) {
                    let what = "its envelope does not open to this r";
                    return Err(Found::new(Rule::Reveal, what).in_entry(index));
                }
                Outcome::Revealed { r, offset, len }
            }
        };
        end = start;
    }
    Ok(outcomes)
}

/// The points of what is revealed, in order.
fn published(
    plan: &BatchPlan,
    said: &[BatchEntry],
    sealing: Option<&SealingKey>,
) -> Result<Vec<PublishedPoint>, Found> {
    let wrong = |index, what| Err(Found::new(Rule::Reveal, what).in_entry(index));
    let mut claims = Vec::with_capacity(said.len());
    let mut places = Vec::with_capacity(said.len());
    for (index, (entry, envelope)) in said.iter().zip(&plan.envelopes).enumerate() {
        let envelope: &VerifiedEnvelope = envelope;
        match (&entry.outcome, envelope.u()) {
            (Outcome::Open { .. }, None) | (Outcome::Void, Some(_)) => {}
            (Outcome::Revealed { r, .. }, Some(_)) => {
                claims.push((envelope.envelope(), r));
                places.push(index);
            }
            (Outcome::Open { .. }, Some(_)) => {
                return wrong(index, "it is said to be open and is sealed");
            }
            (_, None) => return wrong(index, "it is said to be sealed and is open"),
        }
    }
    if claims.is_empty() {
        return Ok(Vec::new());
    }
    let sealing = sealing.expect("a batch with sealed entries has their key");
    let points = published_points(sealing, &claims).into_iter();
    let points = points.zip(places).map(|(point, index)| {
        let what = "U of its envelope is not r g";
        point.ok_or_else(|| Found::new(Rule::Reveal, what).in_entry(index))
    });
    points.collect()
}

/// Cuts the padding off and holds each payload to what is recorded.
fn compare(
    plan: &BatchPlan,
    said: &[BatchEntry],
    opened: Vec<Outcome>,
    (region, recorded): (&[u8], &[u8]),
) -> Result<(Vec<BatchEntry>, Contents), Found> {
    let mut contents = Contents::default();
    let mut entries = Vec::with_capacity(said.len());
    let carried = &region[PAYLOAD_SLACK_LEN..];
    for (index, (entry, outcome)) in said.iter().zip(opened).enumerate() {
        let content = outcome.range().map(|(offset, len)| {
            let carried = &carried[offset as usize..][..len as usize];
            let label = plan.envelopes[index].label();
            (offset, label.content(carried).unwrap_or(carried))
        });
        let outcome = match (outcome, content) {
            (Outcome::Revealed { r, .. }, Some((offset, content))) => {
                contents.revealed += 1;
                let len = content.len() as u32;
                Outcome::Revealed { r, offset, len }
            }
            (Outcome::Open { .. }, Some((offset, content))) => {
                contents.open += 1;
                let len = content.len() as u32;
                Outcome::Open { offset, len }
            }
            _ => {
                contents.void.push(index);
                Outcome::Void
            }
        };
        let found = entry.outcome.range().map(|(offset, len)| {
            let rest = recorded.get(offset as usize..)?;
            rest.get(..len as usize)
        });
        let expected = content.map(|(_, content)| Some(content));
        if found != expected {
            let what = "its payload is not what its envelope holds";
            return Err(Found::new(Rule::Reveal, what).in_entry(index));
        }
        contents.payload_bytes += content.map_or(0, |(_, content)| content.len() as u64);
        entries.push(BatchEntry { outcome, ..*entry });
    }
    Ok((entries, contents))
}

/// Names the first field that differs.
fn check_header(expected: &BatchHeader, header: &BatchHeader) -> Result<(), Found> {
    let fields = [
        (
            "chain id",
            expected.chain_id == header.chain_id,
            Rule::Header,
        ),
        ("epoch", expected.epoch == header.epoch, Rule::Header),
        (
            "anchor round",
            expected.anchor_round == header.anchor_round,
            Rule::Header,
        ),
        ("time", expected.time_us == header.time_us, Rule::Header),
        (
            "order root",
            expected.order_root == header.order_root,
            Rule::Header,
        ),
        (
            "payload root",
            expected.payload_root == header.payload_root,
            Rule::Header,
        ),
        (
            "state root",
            expected.state_root == header.state_root,
            Rule::State,
        ),
        (
            "count of entries",
            expected.entries == header.entries,
            Rule::Header,
        ),
        (
            "count of void entries",
            expected.void == header.void,
            Rule::Header,
        ),
        (
            "count of group waits cut",
            expected.group_wait_cut == header.group_wait_cut,
            Rule::Header,
        ),
        (
            "count of deferral caps fired",
            expected.cap_fired == header.cap_fired,
            Rule::Header,
        ),
    ];
    match fields.into_iter().find(|(_, is_equal, _)| !is_equal) {
        Some((field, _, rule)) => {
            let what = format!("its {field} is not what everything before it gives");
            Err(Found::new(rule, what))
        }
        None => Ok(()),
    }
}
