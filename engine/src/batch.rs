//! Batches: what settlement gets. A hash-chained header and an archive of the ordered, revealed entries.
//!
//! The header is what gets hashed, certified and checked by contracts; the archive is what a settlement worker reads in
//! place out of shared memory. Everything in the archive hangs on the header through `order_root` and `payload_root`.

pub mod archive;
pub mod header;

pub use archive::{
    ArchivedBatch, BATCH_ENTRIES_MAX, BATCH_PAYLOAD_MAX, BatchEntry, BatchError, BatchView,
    BatchWriter, EntryView, Outcome, PAYLOAD_SLACK_LEN, access, archive_len_max, order_root,
    payload_leaf, payload_root, validate,
};
pub use header::{BatchHeader, HEADER_LEN};
