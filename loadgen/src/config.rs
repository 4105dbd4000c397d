//! What a run is made of, and why it cannot be.

use std::time::Duration;

use fairlane_client::Transport;
use fairlane_client::committee_file::Directory;
use fairlane_client::protocol::DATAGRAM_ENVELOPE_LEN_MAX;
use fairlane_engine::committee::RollupPolicy;
use fairlane_engine::seal::{ENVELOPE_LEN_MAX, LABEL_LEN, SEALED_OVERHEAD};
use fairlane_engine::types::RollupId;

use crate::content::CONTENT_LEN_MIN;
use crate::feed::FeedError;
use crate::workload::Workload;

/// What to offer to whom.
pub struct LoadConfig {
    /// The committee, its key and its addresses.
    pub directory: Directory,
    /// The rollup that all envelopes are for.
    pub rollup: RollupId,
    /// Open envelopes instead of sealed ones.
    pub open: bool,
    /// Bytes of payload in each envelope, from [`CONTENT_LEN_MIN`].
    pub payload_len: usize,
    /// When envelopes are due and what they carry.
    pub workload: Box<dyn Workload>,
    /// How envelopes travel.
    pub transport: Transport,
    /// How many authorities must be connected for the run to begin.
    pub live_min: u32,
    /// How long to wait for them.
    pub connect_timeout: Duration,
    /// Time between being connected and the start, in which the first envelopes are sealed.
    pub lead: Duration,
    /// How many sealed envelopes may wait for their time; bounds memory.
    pub look_ahead: usize,
    /// How long before its time an envelope is sealed at the earliest: so long it may be on its way with a key that is not
    /// the newest any more. At most 30 s, or it might outlive its key.
    pub look_ahead_time: Duration,
    /// At least so long between two sends: later ones wait and leave together. Zero sends each at its time. The wait
    /// counts as latency.
    pub coalesce: Duration,
    /// How long the drain goes on without any change.
    pub drain_timeout: Duration,
}

impl LoadConfig {
    /// A run with 128-byte sealed payloads that needs all authorities; change what should differ.
    pub fn new(directory: Directory, rollup: RollupId, workload: Box<dyn Workload>) -> Self {
        Self {
            live_min: directory.committee.thresholds().authorities(),
            directory,
            rollup,
            open: false,
            payload_len: 128,
            workload,
            transport: Transport::Tcp,
            connect_timeout: Duration::from_secs(10),
            lead: Duration::from_millis(500),
            look_ahead: 16 * 1024,
            look_ahead_time: Duration::from_secs(10),
            coalesce: Duration::ZERO,
            drain_timeout: Duration::from_secs(10),
        }
    }

    /// Errors: a payload that does not fit, or a rollup that is not served or takes no such envelopes.
    pub fn validate(&self) -> Result<(), LoadError> {
        let overhead = if self.open {
            LABEL_LEN
        } else {
            SEALED_OVERHEAD
        };
        let max = match self.transport {
            Transport::Tcp => ENVELOPE_LEN_MAX,
            Transport::Udp => DATAGRAM_ENVELOPE_LEN_MAX,
        };
        let max = max - overhead;
        if !(CONTENT_LEN_MIN..=max).contains(&self.payload_len) {
            let len = self.payload_len;
            return Err(LoadError::PayloadLen { len, max });
        }
        let kind = if self.open { "open" } else { "sealed" };
        match self.directory.committee.rollup_policy(self.rollup) {
            None => Err(LoadError::Rollup(self.rollup.0)),
            Some(RollupPolicy::Either) => Ok(()),
            Some(policy) if (policy == RollupPolicy::Open) == self.open => Ok(()),
            Some(_) => Err(LoadError::Policy {
                rollup: self.rollup.0,
                kind,
            }),
        }
    }
}

/// Why a run cannot be, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A payload length that no record or no envelope fits.
    #[error("a payload has {CONTENT_LEN_MIN} to {max} bytes, not {len}")]
    PayloadLen {
        /// What was asked for.
        len: usize,
        /// The longest.
        max: usize,
    },
    /// A rollup that the committee does not serve.
    #[error("the committee does not order for rollup {0}")]
    Rollup(u64),
    /// Sealed envelopes for an open-only rollup, or the reverse.
    #[error("rollup {rollup} takes no {kind} envelopes")]
    Policy {
        /// The rollup.
        rollup: u64,
        /// What it does not take.
        kind: &'static str,
    },
    /// Too few authorities are connected.
    #[error("only {live} of {wanted} authorities wanted are connected ({missing})")]
    TooFewLive {
        /// How many are.
        live: u32,
        /// How many must be.
        wanted: u32,
        /// Who is not, and why.
        missing: String,
    },
    /// There is no next envelope.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// The host's clock stands before 1970 or after 2500.
    #[error("the host's clock cannot be right")]
    Clock,
    /// The host refuses a thread or to poll.
    #[error("the host refuses: {0}")]
    Host(#[from] std::io::Error),
}
