//! Claims about gaps: only the checkpoint's chain is taken, in order, each batch once, however often it is lengthened.

use super::*;
use crate::batch::archive::{BatchWriter, archive_len_max, order_root, payload_root};
use crate::sync::part::HEADERS_MAX;

/// Empty batches that follow each other, from seq 0; `salt` tells one chain from another.
fn chain(len: u64, salt: u64) -> Vec<BatchHeader> {
    let mut headers: Vec<BatchHeader> = Vec::new();
    for seq in 0..len {
        headers.push(BatchHeader {
            seq: BatchSeq(seq),
            previous: headers.last().map_or(ZERO, BatchHeader::hash),
            time_us: crate::types::TimestampUs(salt),
            order_root: order_root(std::iter::empty()),
            payload_root: payload_root(&[], &[]).unwrap(),
            ..BatchHeader::default()
        });
    }
    headers
}

fn archive(header: &BatchHeader) -> Vec<u8> {
    let mut bytes = rkyv::util::AlignedVec::<16>::new();
    bytes.resize(archive_len_max(0, 0), 0);
    let writer = BatchWriter::new(&mut bytes, 0).unwrap();
    let len = writer.finish(header, &[]).unwrap();
    bytes[..len].to_vec()
}

/// What a correct peer gives for such a request.
fn headers(chain: &[BatchHeader], last: BatchSeq) -> Vec<u8> {
    let end = last.0 as usize + 1;
    let part = &chain[end.saturating_sub(HEADERS_MAX)..end];
    part.iter().flat_map(BatchHeader::encode).collect()
}

/// Gives what is wanted, at most `most` times, and settles what is ready; gives the seqs that were settled.
fn serve(gap: &mut Gap, chain: &[BatchHeader], most: usize) -> Vec<u64> {
    let mut settled = Vec::new();
    for _ in 0..most {
        for item in gap.wanted(4) {
            match item {
                Item::Headers(last) => assert!(gap.take_headers(&headers(chain, last))),
                Item::Batch(seq) => {
                    assert!(gap.take_batch(seq, &archive(&chain[seq.0 as usize])));
                }
                other => panic!("{other:?} is not of a gap"),
            }
        }
        assert!(gap.ready.len() <= GAP_READY_MAX);
        while let Some(batch) = gap.settle() {
            settled.push(batch.header.seq.0);
        }
    }
    settled
}

const ZERO: Sha256Hash = Sha256Hash([0; 32]);

#[test]
fn every_batch_up_to_the_checkpoint_is_settled_in_order_and_once() {
    for (from, to) in [(0, 0), (0, 1), (0, 700), (299, 300), (5, 1000)] {
        let chain = chain(to + 1, 0);
        let previous = match from {
            0 => ZERO,
            _ => chain[from as usize - 1].hash(),
        };
        let mut gap = Gap::new(BatchSeq(from), previous, &chain[to as usize]);
        assert!(!gap.is_closed());
        assert_eq!(gap.span(), (BatchSeq(from), BatchSeq(to + 1)));
        let settled = serve(&mut gap, &chain, 1_100);
        assert_eq!(settled, (from..=to).collect::<Vec<u64>>());
        assert!(gap.is_closed() && gap.is_empty() && !gap.is_foreign());
        assert_eq!(gap.span(), (BatchSeq(to + 1), BatchSeq(to + 1)));
        assert_eq!(gap.settled(), (to + 1, chain[to as usize].hash()));
        assert!(gap.wanted(4).is_empty());
    }
}

#[test]
fn what_is_of_another_chain_is_refused() {
    let (chain, other) = (chain(301, 0), chain(301, 1));
    let mut gap = Gap::new(BatchSeq(0), ZERO, &chain[300]);
    let last = BatchSeq(299);
    assert_eq!(gap.wanted(4), vec![Item::Headers(last)]);
    for wrong in [
        headers(&other, last),
        headers(&chain, BatchSeq(298)),
        headers(&chain, BatchSeq(300)),
        headers(&chain, last)[1..].to_vec(),
        Vec::new(),
    ] {
        assert!(!gap.take_headers(&wrong));
        assert_eq!(gap.len(), 1, "nothing of it is kept");
    }
    serve(&mut gap, &chain, 1);
    assert_eq!(gap.wanted(4)[0], Item::Headers(BatchSeq(43)));
    serve(&mut gap, &chain, 1);
    let first = BatchSeq(0);
    assert!(gap.wanted(4).contains(&Item::Batch(first)));
    assert!(!gap.take_batch(first, &archive(&other[0])));
    assert!(!gap.take_batch(first, &archive(&chain[1])));
    assert!(!gap.take_batch(first, &[]));
    assert!(!gap.take_batch(BatchSeq(301), &archive(&chain[1])));
    assert!(gap.ready().is_none());
}

#[test]
fn a_chain_that_does_not_join_what_was_settled_here_is_foreign() {
    let chain = chain(10, 0);
    let mut gap = Gap::new(BatchSeq(4), Sha256Hash([7; 32]), &chain[9]);
    assert!(!gap.is_foreign(), "nobody knows yet");
    assert!(gap.take_headers(&headers(&chain, BatchSeq(8))));
    assert!(gap.is_foreign());
}

/// I4, whenever the later checkpoints come, and also when another comes before the last one's headers have.
#[test]
fn a_later_checkpoint_adds_to_what_is_known() {
    let chain = chain(2_401, 0);
    for before in [0, 1, 2, 3, 10, 300] {
        for between in [0, 1, 3] {
            let mut gap = Gap::new(BatchSeq(0), ZERO, &chain[1_200]);
            let mut settled = serve(&mut gap, &chain, before);
            let known = gap.len();
            for checkpoint in [1_700, 2_000, 2_400] {
                gap = gap.up_to(&chain[checkpoint]);
                assert!(
                    gap.len() > known.min(1_200 - settled.len()),
                    "nothing is forgotten"
                );
                settled.extend(serve(&mut gap, &chain, between));
            }
            settled.extend(serve(&mut gap, &chain, 2_500));
            assert_eq!(settled, (0..=2_400).collect::<Vec<u64>>());
            assert!(gap.is_closed() && gap.is_empty());
        }
    }
}

#[test]
fn a_restart_goes_past_what_was_settled_whatever_is_known() {
    let chain = chain(801, 0);
    for served in [0, 1, 2, 3, 50] {
        let mut gap = Gap::new(BatchSeq(0), ZERO, &chain[400]).up_to(&chain[800]);
        let mut settled = serve(&mut gap, &chain, served);
        let passed = settled.len() as u64..500;
        for seq in passed.clone() {
            assert!(!gap.pass(&chain[seq as usize + 1]), "not the next");
            assert!(gap.pass(&chain[seq as usize]));
        }
        settled.extend(passed);
        settled.extend(serve(&mut gap, &chain, 900));
        assert_eq!(settled, (0..=800).collect::<Vec<u64>>());
        assert!(gap.is_closed() && gap.is_empty());
    }
}
