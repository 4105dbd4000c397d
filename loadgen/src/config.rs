//! What a run is made of, and why it cannot be.

use std::time::Duration;

use fairlane_client::Transport;
use fairlane_client::committee_file::Directory;
use fairlane_client::protocol::DATAGRAM_ENVELOPE_LEN_MAX;
use fairlane_engine::committee::RollupPolicy;
use fairlane_engine::seal::{ENVELOPE_LEN_MAX, KeyError, LABEL_LEN, SEALED_OVERHEAD};
use fairlane_engine::types::{AuthoritySet, RollupId};

use crate::content::CONTENT_LEN_MIN;
use crate::feed::FeedError;
use crate::hostile::{HostileKind, HostilePlan};
use crate::rollups::RollupMix;
use crate::workload::Workload;

/// What to offer to whom.
pub struct LoadConfig {
    /// The committee, its key and its addresses.
    pub directory: Directory,
    /// The rollups that envelopes are for.
    pub rollups: RollupMix,
    /// Open envelopes instead of sealed ones.
    pub open: bool,
    /// Bytes of payload in each envelope, from [`CONTENT_LEN_MIN`].
    pub payload_len: usize,
    /// When envelopes are due and what they carry.
    pub workload: Box<dyn Workload>,
    /// When and by whom envelopes are sealed.
    pub sealing: Sealing,
    /// A closed loop instead of the workload's times, of which only the contents are taken then.
    pub closed: Option<ClosedLoop>,
    /// What is sent beside the honest load.
    pub hostile: HostilePlan,
    /// Authorities that envelopes are submitted to; `None` for all.
    pub targets: Option<AuthoritySet>,
    /// What an envelope has come to its end with.
    pub goal: Goal,
    /// Seed of what is not the workload's: who is hostile when, and which rollup is drawn.
    pub seed: u64,
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
    /// How often an envelope is sent again that every authority has told Busy, each time after the longest wait that one of them
    /// named; its latencies count from its first time. 0: never, and it is refused.
    pub busy_retries: u32,
}

/// When and by whom envelopes are sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sealing {
    /// Before their time, on a thread of its own: what sealing costs delays none.
    Ahead,
    /// At their time, by the thread that sends: what sealing costs is in the latencies.
    Inline,
    /// So many before the start, which are sent again and again: for sinks, as a committee orders each once. From 1.
    Pool(usize),
}

/// Clients of which each sends an envelope when its last one has come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClosedLoop {
    /// How many, from 1 to [`CLIENTS_MAX`]. They share one connection to each authority.
    pub clients: u32,
    /// For how long they begin new ones.
    pub duration: Duration,
}

/// What an envelope has come to its end with, unless it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// The first ack.
    Ack,
    /// The word that it is settled.
    Settled,
}

impl LoadConfig {
    /// A run with 128-byte sealed payloads that needs all authorities; change what should differ.
    pub fn new(directory: Directory, rollup: RollupId, workload: Box<dyn Workload>) -> Self {
        Self {
            live_min: directory.committee.thresholds().authorities(),
            directory,
            rollups: RollupMix::one(rollup),
            open: false,
            payload_len: 128,
            workload,
            sealing: Sealing::Ahead,
            closed: None,
            hostile: HostilePlan::default(),
            targets: None,
            goal: Goal::Settled,
            seed: 1,
            transport: Transport::Tcp,
            connect_timeout: Duration::from_secs(10),
            lead: Duration::from_millis(500),
            look_ahead: 16 * 1024,
            look_ahead_time: Duration::from_secs(10),
            coalesce: Duration::ZERO,
            drain_timeout: Duration::from_secs(10),
            busy_retries: 0,
        }
    }

    /// Errors: a payload that does not fit, a rollup that is not served or takes no such envelopes, or parts that do not go
    /// together.
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
        let shares = self.rollups.shares().iter();
        let mut rollups = shares.map(|share| share.id);
        rollups.try_for_each(|rollup| self.validate_rollup(rollup))?;
        self.validate_parts()
    }

    fn validate_rollup(&self, rollup: RollupId) -> Result<(), LoadError> {
        let kind = if self.open { "open" } else { "sealed" };
        match self.directory.committee.rollup_policy(rollup) {
            None => Err(LoadError::Rollup(rollup.0)),
            Some(RollupPolicy::Either) => Ok(()),
            Some(policy) if (policy == RollupPolicy::Open) == self.open => Ok(()),
            Some(_) => Err(LoadError::Policy {
                rollup: rollup.0,
                kind,
            }),
        }
    }

    /// What does not go together.
    fn validate_parts(&self) -> Result<(), LoadError> {
        let is_pool = matches!(self.sealing, Sealing::Pool(_));
        let has_races = self.workload.has_races();
        let authorities = self.directory.committee.thresholds().authorities();
        let outside = |set: AuthoritySet| set.iter().any(|who| u32::from(who.0) >= authorities);
        let wrong = if self.sealing == Sealing::Pool(0) {
            "a pool holds at least one envelope"
        } else if is_pool && self.goal == Goal::Settled {
            "a pool is sent again and again, and a committee orders an envelope once: it ends with the ack"
        } else if is_pool && (has_races || !self.hostile.is_empty() || self.closed.is_some()) {
            "a pool has no races, no hostile traffic and no closed loop"
        } else if self.closed.is_some() && has_races {
            "a closed loop has no races: its clients wait for each other's time"
        } else if self
            .closed
            .is_some_and(|closed| !(1..=CLIENTS_MAX).contains(&closed.clients))
        {
            "a closed loop has 1 to 10000 clients"
        } else if !self.hostile.is_empty() && self.transport == Transport::Udp {
            "hostile traffic goes over TCP alone"
        } else if self.busy_retries > 0 && self.transport == Transport::Udp {
            "what is told Busy is sent again over TCP alone: over UDP an answer to the time before may come after it"
        } else if self.open && self.hostile.amount(HostileKind::BadProof) > 0.0 {
            "open envelopes carry no proof that could be bad"
        } else if self
            .targets
            .is_some_and(|set| set.is_empty() || outside(set))
        {
            "envelopes are submitted to authorities of the committee, at least one, from 0"
        } else {
            return Ok(());
        };
        Err(LoadError::Parts(wrong))
    }
}

/// Most clients of a closed loop.
pub const CLIENTS_MAX: u32 = 10_000;

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
    /// Parts that do not go together, or are out of range.
    #[error("{0}")]
    Parts(&'static str),
    /// No key to seal hostile envelopes to.
    #[error(transparent)]
    Key(#[from] KeyError),
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
