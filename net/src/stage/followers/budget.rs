//! How much followers are told at a time: so many bytes a connection, and so many in all.

use std::collections::BTreeMap;

/// What was told since the last time that all of it was sent.
#[derive(Debug, Default)]
pub(super) struct Budget {
    told: usize,
    by_connection: BTreeMap<u64, usize>,
}

impl Budget {
    /// Whether `len` more bytes may be told to a connection; then they are counted.
    pub(super) fn take(&mut self, connection: u64, len: usize) -> bool {
        let own = self.by_connection.get(&connection).copied().unwrap_or(0);
        let may = own + len <= TOLD_BYTES_A_CLIENT_MAX && self.told + len <= TOLD_BYTES_MAX;
        if may {
            self.by_connection.insert(connection, own + len);
            self.told += len;
        }
        may
    }
}

/// Bytes of entries that one follower is told at a time: what its connection's queue takes.
pub const TOLD_BYTES_A_CLIENT_MAX: usize = 4 << 20;
/// Bytes of entries that all followers together are told at a time.
pub const TOLD_BYTES_MAX: usize = 16 << 20;
