//! Local settings of one authority's engine: none of them changes what is agreed, only when this node acts.

use crate::engine::UNOPENED_MAX;
use crate::engine::snapshot::SNAPSHOT_BYTES_DEFAULT;
use crate::pace::leader_wait::LeaderWaitBounds;
use crate::sync::served::BATCHES_KEPT_MAX;

/// Timers and bounds of one engine; times in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineConfig {
    /// After twice this time in a round the own vertex is made without the leader's, until more is known of the network;
    /// see [`crate::pace::leader_wait`].
    pub leader_timeout_us: u64,
    /// The leader timeout never falls below this.
    pub leader_timeout_us_min: u64,
    /// The leader timeout never grows above this. Twice this must cover what correct authorities need on a slow day.
    pub leader_timeout_us_max: u64,
    /// Shortest time between two own vertices, so that rounds do not run free and eat the cores.
    pub round_interval_us_min: u64,
    /// Longest time between two own vertices when there is nothing to order.
    pub heartbeat_us: u64,
    /// How long something missing is waited for before it is asked for; it is usually on its way.
    pub fetch_grace_us: u64,
    /// First wait for an answer before the next authority is asked; doubles with every attempt.
    pub fetch_retry_us: u64,
    /// Accepted but unlisted envelopes above which clients' submissions are answered Busy.
    pub unlisted_max: u32,
    /// Batches decided and not opened above which no further anchor is committed; at least 1.
    pub unopened_max: u32,
    /// Settled batches kept in memory for peers that missed them; older ones are read from the disk.
    pub batches_kept_max: u32,
    /// Bytes of records after which a snapshot is recorded; see [`crate::engine::snapshot`].
    pub snapshot_bytes: u64,
}

impl EngineConfig {
    /// Bounds of the wait for a leader: twice the timeouts.
    pub const fn leader_wait_bounds(&self) -> LeaderWaitBounds {
        LeaderWaitBounds {
            min_us: self.leader_timeout_us_min.saturating_mul(2),
            initial_us: self.leader_timeout_us.saturating_mul(2),
            max_us: self.leader_timeout_us_max.saturating_mul(2),
        }
    }
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            leader_timeout_us: 30_000,
            leader_timeout_us_min: 10_000,
            leader_timeout_us_max: 1_000_000,
            round_interval_us_min: 2_000,
            heartbeat_us: 1_000_000,
            fetch_grace_us: 10_000,
            fetch_retry_us: 50_000,
            unlisted_max: 65_536,
            unopened_max: UNOPENED_MAX,
            batches_kept_max: BATCHES_KEPT_MAX as u32,
            snapshot_bytes: SNAPSHOT_BYTES_DEFAULT,
        }
    }
}
