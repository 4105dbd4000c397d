//! A tamperer's tools: whoever holds a journal writes any record anew, with all hashes and checksums as they must be.

use std::sync::Arc;

use fairlane_engine::batch::{ArchivedBatch, Outcome};
use fairlane_engine::batch::{
    BatchEntry, BatchHeader, BatchWriter, HEADER_LEN, PAYLOAD_SLACK_LEN, access, archive_len_max,
    order_root, payload_root,
};
use fairlane_engine::dag::{Vertex, VertexDraft};
use fairlane_engine::effect::{Record, archive_of_batch, header_of_batch};
use fairlane_engine::types::{BatchSeq, Digest, Sha256Hash};
use rkyv::util::AlignedVec;

use crate::common::World;

/// A batch taken apart.
#[derive(Clone)]
pub(crate) struct Batch {
    pub(crate) header: BatchHeader,
    pub(crate) entries: Vec<BatchEntry>,
    /// The region that the entries' ranges point into.
    pub(crate) payload: Vec<u8>,
}

impl Batch {
    pub(crate) fn read(record: &Record) -> Option<Self> {
        let Record::Batch(body) = record else {
            return None;
        };
        let mut aligned = AlignedVec::<16>::new();
        aligned.extend_from_slice(archive_of_batch(body).unwrap());
        let archived: &ArchivedBatch = access(&aligned).unwrap();
        Some(Self {
            header: header_of_batch(body).unwrap(),
            entries: archived
                .entries
                .iter()
                .map(|entry| entry.to_entry())
                .collect(),
            payload: archived.payload.to_vec(),
        })
    }

    /// Counts and roots follow from the contents again.
    pub(crate) fn seal_up(&mut self) {
        let digests = self.entries.iter().map(|entry| Digest(entry.digest));
        let is_void = |entry: &&BatchEntry| entry.outcome == Outcome::Void;
        self.header.order_root = order_root(digests);
        self.header.payload_root = payload_root(&self.entries, &self.payload).unwrap();
        self.header.entries = self.entries.len() as u32;
        self.header.void = self.entries.iter().filter(is_void).count() as u32;
    }

    /// The record of it. Counts in the header may be wrong: then they are put into an archive with the right ones.
    pub(crate) fn write(&self) -> Record {
        let mut counted = self.clone();
        counted.seal_up();
        let mut out = AlignedVec::<16>::new();
        out.resize(archive_len_max(self.entries.len(), self.payload.len()), 0);
        out[PAYLOAD_SLACK_LEN..][..self.payload.len()].copy_from_slice(&self.payload);
        let writer = BatchWriter::new(&mut out, self.payload.len()).unwrap();
        let len = writer.finish(&counted.header, &self.entries).unwrap();
        let at = place(&out[..len], &counted.header.encode());
        out[at..at + HEADER_LEN].copy_from_slice(&self.header.encode());
        record(&self.header, &out[..len])
    }

    /// The range of an entry's payload, in the region.
    pub(crate) fn range(&self, index: usize) -> std::ops::Range<usize> {
        let (offset, len) = self.entries[index].outcome.range().unwrap();
        offset as usize..(offset + len) as usize
    }
}

fn record(header: &BatchHeader, archive: &[u8]) -> Record {
    Record::Batch([&header.encode()[..], archive].concat().into())
}

fn place(bytes: &[u8], part: &[u8]) -> usize {
    let mut windows = bytes.windows(part.len());
    windows
        .position(|window| window == part)
        .expect("it is in there")
}

/// The place of the batch with this seq.
pub(crate) fn batch_at(records: &[Record], seq: u64) -> usize {
    let is_it = |record: &Record| matches!(record, Record::Batch(body) if header_of_batch(body).unwrap().seq.0 == seq);
    records.iter().position(is_it).unwrap()
}

/// The lowest batch that does, and comes behind three others.
pub(crate) fn find_batch(records: &[Record], wanted: impl Fn(&Batch) -> bool) -> u64 {
    let mut batches = records.iter().filter_map(Batch::read);
    let found = batches.find(|batch| batch.header.seq.0 >= 3 && wanted(batch));
    found.expect("some batch does").header.seq.0
}

/// Names in every header the one before it, up to the end.
pub(crate) fn relink(records: &mut [Record]) {
    let mut previous = Sha256Hash::default();
    for record in records {
        let Some(mut batch) = Batch::read(record) else {
            continue;
        };
        if batch.header.previous != previous {
            batch.header.previous = previous;
            *record = batch.write();
        }
        previous = batch.header.hash();
    }
}

/// As [`relink`]; and seqs count on from 0.
pub(crate) fn renumber(records: &mut [Record]) {
    let mut next = BatchSeq(0);
    for record in records.iter_mut() {
        if let Some(mut batch) = Batch::read(record) {
            batch.header.seq = next;
            *record = batch.write();
            next = next.next();
        }
    }
    relink(records);
}

/// Changes a batch; its counts and roots are made anew, and all headers behind it.
pub(crate) fn change_batch(records: &mut [Record], seq: u64, change: impl FnOnce(&mut Batch)) {
    let at = batch_at(records, seq);
    let mut batch = Batch::read(&records[at]).unwrap();
    change(&mut batch);
    batch.seal_up();
    records[at] = batch.write();
    relink(records);
}

/// Changes a header field, whatever the contents say; all headers behind it are made anew.
pub(crate) fn change_header(
    records: &mut [Record],
    seq: u64,
    change: impl FnOnce(&mut BatchHeader),
) {
    let at = batch_at(records, seq);
    let mut batch = Batch::read(&records[at]).unwrap();
    change(&mut batch.header);
    records[at] = batch.write();
    let mut previous = batch.header.hash();
    for record in &mut records[at + 1..] {
        if let Some(mut batch) = Batch::read(record) {
            batch.header.previous = previous;
            *record = batch.write();
            previous = batch.header.hash();
        }
    }
}

/// Changes the bytes of an archive behind its header's back.
pub(crate) fn change_archive(records: &mut [Record], seq: u64, change: impl FnOnce(&mut [u8])) {
    let at = batch_at(records, seq);
    let Record::Batch(body) = &records[at] else {
        panic!("a batch stands there");
    };
    let mut body = body.to_vec();
    change(&mut body[HEADER_LEN..]);
    records[at] = Record::Batch(body.into());
}

pub(crate) fn body_mut(record: &mut Record) -> &mut Arc<[u8]> {
    match record {
        Record::Envelope(body)
        | Record::OwnVertex(body)
        | Record::Vertex(body)
        | Record::Anchor(body)
        | Record::Batch(body)
        | Record::Share(body)
        | Record::Certificate(body)
        | Record::Evidence(body)
        | Record::State(body)
        | Record::Snapshot(body) => body,
    }
}

/// Changes the bytes of a record.
pub(crate) fn change_bytes(record: &mut Record, change: impl FnOnce(&mut Vec<u8>)) {
    let body = body_mut(record);
    let mut bytes = body.to_vec();
    change(&mut bytes);
    *body = bytes.into();
}

/// The place of the `skip`-th record that does.
pub(crate) fn find(records: &[Record], skip: usize, wanted: impl Fn(&Record) -> bool) -> usize {
    let places = records.iter().enumerate();
    let mut found = places.filter(|(_, record)| wanted(record)).skip(skip);
    found.next().expect("some record does").0
}

pub(crate) const fn is_vertex(record: &Record) -> bool {
    matches!(record, Record::Vertex(_))
}

pub(crate) const fn is_own_vertex(record: &Record) -> bool {
    matches!(record, Record::OwnVertex(_))
}

/// An own vertex changed and signed again: whoever holds the journal has the key.
pub(crate) fn resign(world: &World, record: &mut Record, change: impl FnOnce(&mut VertexDraft)) {
    let vertex = Vertex::restore(body_mut(record), &world.committee).unwrap();
    let mut draft = VertexDraft {
        chain_id: world.committee.chain_id,
        epoch: world.committee.epoch,
        round: vertex.round(),
        author: vertex.author(),
        timestamp: vertex.timestamp(),
        first_position: vertex.first_position(),
        parents: vertex.parents().to_vec(),
        entries: vertex.entries().to_vec(),
        settled: vertex.settled(),
    };
    change(&mut draft);
    let key = ed25519_dalek::SigningKey::from_bytes(&[vertex.author().0 + 1; 32]);
    *body_mut(record) = draft.sign(&key).bytes().clone();
}
