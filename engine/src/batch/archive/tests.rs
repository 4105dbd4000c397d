//! Claims about archives: what is written is read back in place, and nothing else is accepted.

use proptest::prelude::*;
use rkyv::util::AlignedVec;

use super::*;
use crate::batch::header::BatchHeader;
use crate::types::BatchSeq;

/// A batch as a test describes it: per entry, whether it is open, revealed or void, and its payload.
fn batch(kinds: &[(u8, &[u8])]) -> (BatchHeader, Vec<BatchEntry>, Vec<u8>) {
    let mut payload = Vec::new();
    let entries: Vec<BatchEntry> = kinds
        .iter()
        .enumerate()
        .map(|(index, (kind, bytes))| {
            let (offset, len) = (payload.len() as u32, bytes.len() as u32);
            let outcome = match kind {
                0 => Outcome::Open { offset, len },
                1 => Outcome::Revealed {
                    r: [index as u8 ^ 0x80; 32],
                    offset,
                    len,
                },
                _ => Outcome::Void,
            };
            if outcome != Outcome::Void {
                payload.extend_from_slice(bytes);
            }
            BatchEntry {
                digest: [index as u8; 32],
                rollup_id: 7 + index as u64,
                outcome,
            }
        })
        .collect();
    let header = header_of(&entries, &payload);
    (header, entries, payload)
}

fn header_of(entries: &[BatchEntry], payload: &[u8]) -> BatchHeader {
    BatchHeader {
        seq: BatchSeq(3),
        order_root: order_root(entries.iter().map(|entry| Digest(entry.digest))),
        payload_root: payload_root(entries, payload).unwrap(),
        entries: entries.len() as u32,
        void: entries
            .iter()
            .filter(|entry| entry.outcome == Outcome::Void)
            .count() as u32,
        ..BatchHeader::default()
    }
}

/// Writes the archive over a buffer full of `noise`, as a reused ring slot would be.
fn write(
    header: &BatchHeader,
    entries: &[BatchEntry],
    payload: &[u8],
    noise: u8,
) -> Result<AlignedVec<16>, BatchError> {
    let mut bytes = AlignedVec::<16>::new();
    bytes.resize(archive_len_max(entries.len(), payload.len()), noise);
    bytes[PAYLOAD_SLACK_LEN..PAYLOAD_SLACK_LEN + payload.len()].copy_from_slice(payload);
    let len = BatchWriter::new(&mut bytes, payload.len())?.finish(header, entries)?;
    bytes.resize(len, 0);
    Ok(bytes)
}

fn three() -> (BatchHeader, Vec<BatchEntry>, Vec<u8>) {
    batch(&[(0, b"open"), (2, b""), (1, b"revealed!")])
}

#[test]
fn what_is_written_is_read_back_in_place() {
    let (header, entries, payload) = three();
    let bytes = write(&header, &entries, &payload, 0xEE).unwrap();
    let view = validate(&bytes).unwrap();
    assert_eq!(*view.header(), header);
    let read: Vec<_> = view.entries().collect();
    assert_eq!(read.len(), 3);
    assert_eq!(read[0].payload, b"open");
    assert_eq!(
        (read[1].outcome, read[1].payload),
        (Outcome::Void, &b""[..])
    );
    assert_eq!(read[2].payload, b"revealed!");
    assert_eq!(read[2].outcome, entries[2].outcome);
    assert_eq!(
        (read[2].digest, read[2].rollup_id),
        (Digest([2; 32]), RollupId(9))
    );
    let payload_at = read[0].payload.as_ptr() as usize - bytes.as_ptr() as usize;
    assert_eq!(payload_at, PAYLOAD_SLACK_LEN, "read where it was written");
}

#[test]
fn the_archive_does_not_depend_on_what_the_buffer_held_before() {
    let (_, mut entries, mut payload) = three();
    // A void entry whose label promised four bytes leaves a gap in front of the last entry.
    payload.splice(4..4, *b"junk");
    entries[2].outcome = Outcome::Revealed {
        r: [3; 32],
        offset: 8,
        len: 9,
    };
    let header = header_of(&entries, &payload);
    let first = write(&header, &entries, &payload, 0x00).unwrap();
    payload[4..8].copy_from_slice(b"else");
    let second = write(&header, &entries, &payload, 0xFF).unwrap();
    assert_eq!(first.as_slice(), second.as_slice());
    assert_eq!(
        validate(&first).unwrap().entries().last().unwrap().payload,
        b"revealed!"
    );
}

#[test]
fn golden_archive_hash() {
    let (header, entries, payload) = three();
    let bytes = write(&header, &entries, &payload, 0).unwrap();
    assert_eq!(
        blake3::hash(&bytes).to_hex().as_str(),
        "f86a66dc745df5426bf5eec66db610a3327ea39cd1af62f742de41a439a1ba04"
    );
}

#[test]
fn the_empty_batch_and_the_largest_are_written_and_read() {
    let (header, entries, payload) = batch(&[]);
    let bytes = write(&header, &entries, &payload, 1).unwrap();
    assert_eq!(validate(&bytes).unwrap().entries().len(), 0);

    let piece = vec![0x5A; BATCH_PAYLOAD_MAX / BATCH_ENTRIES_MAX];
    let kinds = vec![(1u8, piece.as_slice()); BATCH_ENTRIES_MAX];
    let (header, entries, payload) = batch(&kinds);
    assert_eq!(payload.len(), BATCH_PAYLOAD_MAX);
    let bytes = write(&header, &entries, &payload, 1).unwrap();
    assert_eq!(validate(&bytes).unwrap().entries().len(), BATCH_ENTRIES_MAX);
}

#[test]
fn above_a_bound_nothing_is_written_or_read() {
    let (header, entries, _) = batch(&vec![(2u8, &b""[..]); BATCH_ENTRIES_MAX + 1]);
    let refused = BatchError::TooLarge {
        field: "entries",
        value: 4097,
        max: 4096,
    };
    assert_eq!(write(&header, &entries, &[], 0).unwrap_err(), refused);
    let mut room = vec![0; archive_len_max(0, BATCH_PAYLOAD_MAX + 1)];
    let refused = BatchWriter::new(&mut room, BATCH_PAYLOAD_MAX + 1).unwrap_err();
    assert!(matches!(
        refused,
        BatchError::TooLarge {
            field: "payload bytes",
            ..
        }
    ));
}

#[test]
fn a_buffer_too_small_is_an_error_at_every_length() {
    let (header, entries, payload) = three();
    let len = write(&header, &entries, &payload, 0).unwrap().len();
    for have in 0..len {
        let mut room = vec![0; have];
        let written = BatchWriter::new(&mut room, payload.len())
            .and_then(|writer| writer.finish(&header, &entries));
        assert_eq!(written, Err(BatchError::NoRoom { have: have as u64 }));
    }
}

#[test]
fn a_range_outside_the_payload_or_out_of_order_is_refused() {
    let (header, entries, payload) = three();
    let ranges = [
        (3, 9),
        (5, 9),
        (u32::MAX, 1),
        (0, u32::MAX),
        (u32::MAX, u32::MAX),
    ];
    for (offset, len) in ranges {
        let mut bad = entries.clone();
        bad[2].outcome = Outcome::Open { offset, len };
        let refused = write(&header, &bad, &payload, 0).unwrap_err();
        assert_eq!(refused, BatchError::Range { index: 2 }, "{offset} + {len}");
    }
}

#[test]
fn an_archive_that_differs_from_its_header_is_refused() {
    let (header, entries, payload) = three();
    let read = |header: &BatchHeader, entries: &[BatchEntry], payload: &[u8]| {
        let bytes = write(header, entries, payload, 0).unwrap();
        validate(&bytes).map(|_| ()).unwrap_err()
    };
    let mut other = entries.clone();
    other[0].digest[0] ^= 1;
    assert_eq!(read(&header, &other, &payload), BatchError::OrderRoot);
    let mut other = entries.clone();
    other[0].rollup_id += 1;
    assert_eq!(read(&header, &other, &payload), BatchError::PayloadRoot);
    let mut other = entries.clone();
    other[2].outcome = Outcome::Revealed {
        r: [9; 32],
        offset: 4,
        len: 9,
    };
    assert_eq!(read(&header, &other, &payload), BatchError::PayloadRoot);
    let mut other = payload.clone();
    other[0] ^= 1;
    assert_eq!(read(&header, &entries, &other), BatchError::PayloadRoot);
    let miscounted = BatchHeader { void: 2, ..header };
    let refused = write(&miscounted, &entries, &payload, 0).unwrap_err();
    assert!(matches!(
        refused,
        BatchError::Count {
            field: "void entries",
            header: 2,
            archive: 1
        }
    ));
}

#[test]
fn bytes_in_a_gap_are_refused_by_the_reader() {
    let (_, mut entries, mut payload) = batch(&[(0, b"open"), (2, b"")]);
    payload.extend_from_slice(b"----");
    entries.truncate(2);
    let header = header_of(&entries, &payload);
    let mut bytes = write(&header, &entries, &payload, 0).unwrap();
    assert!(validate(&bytes).is_ok());
    bytes[PAYLOAD_SLACK_LEN + 5] = 1;
    assert_eq!(validate(&bytes).map(|_| ()), Err(BatchError::Gap));
}

#[test]
fn every_truncation_is_refused() {
    let (header, entries, payload) = three();
    let bytes = write(&header, &entries, &payload, 0).unwrap();
    for len in 0..bytes.len() {
        assert!(validate(&bytes[..len]).is_err(), "{len} bytes");
    }
}

proptest! {
    /// A flipped bit is refused, or it changes the header (whose hash the chain covers): never a panic, never another
    /// content under the same header.
    #[test]
    fn a_flipped_bit_never_changes_the_content_under_a_header(
        at in any::<prop::sample::Index>(), bit in 0..8u32,
    ) {
        let (header, entries, payload) = three();
        let mut bytes = write(&header, &entries, &payload, 0).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        match validate(&bytes) {
            Ok(view) if *view.header() == header => {
                let honest = write(&header, &entries, &payload, 0).unwrap();
                let content = |view: &BatchView<'_>| -> Vec<_> {
                    let of = |e: EntryView<'_>| (e.digest, e.rollup_id, e.leaf(), e.payload.to_vec());
                    view.entries().map(of).collect()
                };
                prop_assert_eq!(content(&view), content(&validate(&honest).unwrap()));
            }
            Ok(_) | Err(_) => {}
        }
    }

    /// Any batch survives the way through the archive.
    #[test]
    fn any_batch_is_read_back(
        kinds in prop::collection::vec((0..3u8, prop::collection::vec(any::<u8>(), 0..70)), 0..40),
        noise: u8,
    ) {
        let kinds: Vec<_> = kinds.iter().map(|(kind, bytes)| (*kind, bytes.as_slice())).collect();
        let (header, entries, payload) = batch(&kinds);
        let bytes = write(&header, &entries, &payload, noise).unwrap();
        prop_assert!(bytes.len() <= archive_len_max(entries.len(), payload.len()));
        let view = validate(&bytes).unwrap();
        for ((entry, read), (kind, bytes)) in entries.iter().zip(view.entries()).zip(&kinds) {
            prop_assert_eq!(entry.outcome, read.outcome);
            prop_assert_eq!(read.payload, if *kind < 2 { *bytes } else { &[] });
        }
    }
}
