//! What the report says of the settled batches, from the worker's journal.

use std::path::Path;

use crate::settle::SettleReader;

/// Counts of the settlement worker's journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Batches.
    pub batches: u64,
    /// Void entries.
    pub void: u64,
    /// Entries for which the deferral cap fired, by the headers.
    pub cap_fired: u64,
    /// Entries that a group-wait cut let go, by the headers.
    pub group_wait_cut: u64,
}

impl Settled {
    /// Reads the sink's journal in `folder`. Errors: it is damaged, or ends in a torn record.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        let mut settled = Self::default();
        let mut reader = SettleReader::open(folder)?;
        while let Some(batch) = reader.try_next()? {
            let header = batch.header();
            settled.batches += 1;
            settled.void += u64::from(header.void);
            settled.cap_fired += u64::from(header.cap_fired);
            settled.group_wait_cut += u64::from(header.group_wait_cut);
        }
        anyhow::ensure!(
            !reader.is_torn(),
            "the settlement journal ends in a torn record"
        );
        Ok(settled)
    }
}
