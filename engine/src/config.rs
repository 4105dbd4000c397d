//! Local settings of one authority's engine: none of them changes what is agreed, only when this node acts.

/// Timers and bounds of one engine; times in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineConfig {
    /// After twice this time in a round the own vertex is made without the leader's.
    pub leader_timeout_us: u64,
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
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            leader_timeout_us: 30_000,
            round_interval_us_min: 2_000,
            heartbeat_us: 1_000_000,
            fetch_grace_us: 10_000,
            fetch_retry_us: 50_000,
            unlisted_max: 65_536,
        }
    }
}
