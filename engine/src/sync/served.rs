//! The newest settled batches, kept in memory for peers that missed them.
//!
//! I1: at most [`BATCHES_KEPT_MAX`] batches and [`BATCHES_KEPT_BYTES_MAX`] bytes, the newest, without a gap. What is older
//! is read from the disk: see [`super::loads`]. Cost: nothing but the journal's copy of every archive.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::batch::header::BatchHeader;
use crate::effect::archive_of_batch;
use crate::sync::part::HEADERS_MAX;
use crate::types::BatchSeq;

/// Settled batches kept for peers.
pub const BATCHES_KEPT_MAX: usize = 16_384;
/// Bytes of archives kept for peers.
pub const BATCHES_KEPT_BYTES_MAX: usize = 64 << 20;

/// A window of settled batches.
#[derive(Debug)]
pub struct Served {
    /// Headers and records.
    batches: VecDeque<(BatchHeader, Arc<[u8]>)>,
    batches_max: usize,
    bytes: usize,
}

impl Served {
    /// Nothing kept yet; `batches_max` batches at most.
    pub const fn new(batches_max: usize) -> Self {
        Self {
            batches: VecDeque::new(),
            batches_max,
            bytes: 0,
        }
    }

    /// Takes in the next settled batch, with the body of its record ([`crate::effect::Record::Batch`]).
    pub fn push(&mut self, header: &BatchHeader, record: Arc<[u8]>) {
        let last = self.batches.back().map(|(last, _)| last.seq.next());
        if last.is_some_and(|next| next != header.seq) {
            (self.batches, self.bytes) = (VecDeque::new(), 0);
        }
        self.bytes += record.len();
        self.batches.push_back((*header, record));
        while self.batches.len() > self.batches_max || self.bytes > BATCHES_KEPT_BYTES_MAX {
            let (_, oldest) = self.batches.pop_front().expect("it holds what it counts");
            self.bytes -= oldest.len();
        }
    }

    /// The archive of a batch.
    pub fn archive(&self, seq: BatchSeq) -> Option<&[u8]> {
        let (_, record) = self.batches.get(self.place(seq)?)?;
        archive_of_batch(record)
    }

    /// Encoded headers, at most [`HEADERS_MAX`], that end with `last`.
    pub fn headers(&self, last: BatchSeq) -> Option<Vec<u8>> {
        let end = self.place(last).filter(|at| *at < self.batches.len())? + 1;
        let start = end.saturating_sub(HEADERS_MAX);
        let headers = self.batches.range(start..end);
        Some(headers.flat_map(|(header, _)| header.encode()).collect())
    }

    /// How many batches are kept, and their bytes.
    pub fn len(&self) -> (usize, usize) {
        (self.batches.len(), self.bytes)
    }

    fn place(&self, seq: BatchSeq) -> Option<usize> {
        let (first, _) = self.batches.front()?;
        usize::try_from(seq.0.checked_sub(first.seq.0)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::header::HEADER_LEN;

    #[test]
    fn the_window_holds_the_newest_within_both_bounds() {
        let mut served = Served::new(BATCHES_KEPT_MAX);
        let record = |len: usize| -> Arc<[u8]> { vec![0; HEADER_LEN + len].into() };
        let mut header = BatchHeader::default();
        for seq in 0..BATCHES_KEPT_MAX as u64 + 5 {
            header.seq = BatchSeq(seq);
            served.push(&header, record(2));
        }
        let bytes = (HEADER_LEN + 2) * BATCHES_KEPT_MAX;
        assert_eq!(served.len(), (BATCHES_KEPT_MAX, bytes));
        assert!(served.archive(BatchSeq(4)).is_none() && served.archive(BatchSeq(5)).is_some());
        assert!(served.archive(header.seq.next()).is_none());
        assert!(served.headers(header.seq.next()).is_none());
        let headers = served.headers(BatchSeq(7)).unwrap();
        assert_eq!(headers.len(), 3 * HEADER_LEN);
        header.seq = header.seq.next();
        served.push(&header, record(BATCHES_KEPT_BYTES_MAX - HEADER_LEN));
        assert_eq!(served.len(), (1, BATCHES_KEPT_BYTES_MAX));
    }
}
