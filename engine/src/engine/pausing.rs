//! Holding back commits while what was decided cannot be opened, so that a settlement that stands still bounds memory.
//!
//! What an anchor emits is held, envelopes and all, until its batches are open. That takes shares of others, and where
//! more than f of them withhold theirs, it takes for ever. So an engine that holds [`UNOPENED_MAX`] batches, or
//! [`UNOPENED_BYTES_MAX`] bytes of their envelopes, is *full* and commits no further anchor. It takes vertices in and
//! makes its own, up to a window of rounds above its last anchor; so rounds, and with them everything else, come to a
//! stand when all are full. What is decided is the same on every node; only when it is acted on differs.
//!
//! Why that costs no liveness while at most f are faulty. Take the lowest batch that some correct node has not opened. A
//! full node holds it, so its last anchor is at or past the one that emits that batch, and it goes on proposing for a
//! window of rounds above; a correct node that has not committed that anchor holds nothing and is not full. So that anchor
//! gets committed by all of them, all give their share, and what was lost is asked for: share messages of
//! [`crate::reveal::SHARES_KEPT_MAX`] batches are kept, which is more than a full node and a window of rounds need. A
//! quorum that goes on without this node and forgets them has settled further: its checkpoints are vouched for, and this
//! node, when nothing has opened for a while, takes one over, drops the plans that it covers and fetches their batches.
//! Nor do those give a share who took over a state that covers that batch. The checkpoint of that state lies at or above the
//! batch and is vouched for; where this node has plans beyond it, it needs no state and only fetches the batches up to it.
//!
//! Not only a full node may ask in vain. Whoever starts from a snapshot cannot make its shares again for what lies before,
//! and what a snapshot covers a quorum has settled; so a node that asks every peer for shares of its next batch, again and
//! again, looks for such a checkpoint too, and goes on committing meanwhile. Envelopes of settled batches are held as long
//! as a node that lags may come to them by rounds; one that lacks them all the same for what it is to cut next counts as
//! full, so that the next checkpoint lies ahead of it and it can take its state.
//!
//! I1: an emission is taken in whole; so what is held may exceed the bounds by one anchor's. I2: while full, no vertex
//! above twice that window is taken in; it is fetched once commits go on.

use super::*;

impl Engine {
    /// Whether as much is decided and not opened as may be, or what is next can never be cut here.
    pub(super) fn is_full(&self) -> bool {
        let batches = self.reveal.active_len() + self.emissions.len();
        batches >= self.config.unopened_max.max(1) as usize
            || self.unopened_bytes() >= UNOPENED_BYTES_MAX
            || self.lacks_envelopes_in_vain()
    }

    /// Bytes of envelopes that are ordered and not opened.
    pub(super) fn unopened_bytes(&self) -> usize {
        self.reveal.active_bytes() + self.emissions.bytes()
    }

    /// Whether commits are held back. A shell whose own consumer of batches is the reason should let go of that.
    pub const fn is_paused(&self) -> bool {
        self.paused_since.is_some()
    }

    /// Whether commits were held back and need not be any more.
    pub(super) fn may_resume(&self) -> bool {
        self.is_paused() && !self.is_full()
    }

    /// Notes whether commits are held back from here on, after as many as could be.
    pub(super) fn note_paused(&mut self, now: TimestampUs) {
        if self.is_full() {
            self.counters.pauses += u64::from(!self.is_paused());
            self.paused_since.get_or_insert(now);
        }
    }

    /// Since when nothing has opened for so long that asking for shares does not seem to help.
    fn stuck_at(&self) -> Option<TimestampUs> {
        let wait_us = STUCK_AFTER_RETRIES * self.config.fetch_retry_us;
        self.paused_since.map(|since| since.plus_us(wait_us))
    }

    /// Whether a checkpoint of others is the way on.
    pub(super) fn is_stuck(&self, now: TimestampUs) -> bool {
        self.stuck_at().is_some_and(|at| at <= now) && self.is_full()
    }

    /// When this node will be stuck; none while that is seen to.
    pub(super) fn stuck_due(&self) -> Option<TimestampUs> {
        let is_seen_to = self.is_asking_for_checkpoint() || self.syncing.proof_at.is_some();
        let has_peers = self.committee.thresholds().authorities() > 1;
        self.stuck_at().filter(|_| has_peers && !is_seen_to)
    }

    /// Whether an own vertex may be made in `round`.
    pub(super) fn may_propose_in(&self, round: Round) -> bool {
        round <= self.committer.last_anchor().plus(self.window_rounds()) || !self.is_full()
    }

    /// Whether vertices of `round` are left to be fetched later.
    pub(super) fn is_held_off(&self, round: Round) -> bool {
        let window = 2 * self.window_rounds();
        round > self.committer.last_anchor().plus(window) && self.is_full()
    }
}

/// Emissions whose envelopes are not all here yet, in order.
#[derive(Debug, Default)]
pub(super) struct Emissions {
    queue: VecDeque<PendingEmission>,
    bytes: usize,
}

impl Emissions {
    pub(super) fn push(&mut self, emission: PendingEmission) {
        self.bytes += emission.bytes;
        self.queue.push_back(emission);
    }

    pub(super) fn front(&self) -> Option<&PendingEmission> {
        self.queue.front()
    }

    pub(super) fn pop(&mut self) -> Option<PendingEmission> {
        let emission = self.queue.pop_front()?;
        self.bytes -= emission.bytes;
        Some(emission)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &PendingEmission> {
        self.queue.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Bytes that their envelopes take, or may take.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Batches decided and not opened above which no further anchor is committed.
pub const UNOPENED_MAX: u32 = 3072;
/// And bytes of their envelopes.
pub const UNOPENED_BYTES_MAX: usize = 64 << 20;
/// A full node in which nothing opens for so many times the wait for an answer asks for a checkpoint.
const STUCK_AFTER_RETRIES: u64 = 4;

// What a full node lacks others still have when they are some hundred anchors further.
const _: () = assert!(UNOPENED_MAX as usize + 1024 <= crate::reveal::SHARES_KEPT_MAX);
