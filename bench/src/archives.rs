//! A batch and the buffer that its archive is written to: payload in place, as opening leaves it.

use fairlane_engine::batch::{
    BatchEntry, BatchHeader, Outcome, PAYLOAD_SLACK_LEN, archive_len_max, order_root, payload_root,
};
use fairlane_engine::types::{BatchSeq, Digest};
use rkyv::util::AlignedVec;

/// What a batch's archive is written from.
pub struct Revealed {
    /// Agrees with the entries and the payload.
    pub header: BatchHeader,
    /// All revealed, in order, their payloads back to back.
    pub entries: Vec<BatchEntry>,
    /// Bytes of payload.
    pub payload_len: usize,
    /// Holds the payload, and has room for the archive around it; aligned for reading in place.
    pub buffer: AlignedVec<16>,
}

impl Revealed {
    /// `count` entries of `entry_len` payload bytes each, all revealed.
    pub fn new(count: u32, entry_len: u32) -> Self {
        let payload_len = count as usize * entry_len as usize;
        let payload: Vec<u8> = (0..=u8::MAX).cycle().take(payload_len).collect();
        let entries: Vec<BatchEntry> = (0..count).map(|at| entry(at, entry_len)).collect();
        let header = BatchHeader {
            seq: BatchSeq(3),
            order_root: order_root(entries.iter().map(|entry| Digest(entry.digest))),
            payload_root: payload_root(&entries, &payload).expect("ranges are inside the payload"),
            entries: count,
            ..BatchHeader::default()
        };
        let mut buffer = AlignedVec::new();
        buffer.resize(archive_len_max(entries.len(), payload_len), 0);
        buffer[PAYLOAD_SLACK_LEN..PAYLOAD_SLACK_LEN + payload_len].copy_from_slice(&payload);
        Self {
            header,
            entries,
            payload_len,
            buffer,
        }
    }
}

fn entry(at: u32, len: u32) -> BatchEntry {
    let digest = *blake3::hash(&at.to_be_bytes()).as_bytes();
    BatchEntry {
        digest,
        rollup_id: 5,
        outcome: Outcome::Revealed {
            r: digest,
            offset: at * len,
            len,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairlane_engine::batch::{BatchWriter, validate};

    #[test]
    fn written_again_and_again_it_is_the_same_valid_archive() {
        let Revealed {
            header,
            entries,
            payload_len,
            mut buffer,
        } = Revealed::new(256, 128);
        let mut written = Vec::new();
        for _ in 0..2 {
            let writer = BatchWriter::new(&mut buffer, payload_len).unwrap();
            let len = writer.finish(&header, &entries).unwrap();
            let view = validate(&buffer[..len]).unwrap();
            assert_eq!(*view.header(), header);
            assert_eq!(view.entries().len(), 256);
            assert!(view.entries().all(|entry| entry.payload.len() == 128));
            written.push(buffer[..len].to_vec());
        }
        assert_eq!(written[0], written[1]);
    }
}
