//! The life of one connection as a state machine without IO; both backends drive it.
//!
//! ```text
//! Connecting --up--> Open --close--> Flushing --drained--> Finishing (FIN sent) --peer's FIN--> Dead
//!      |               |                 ^ `--peer's FIN first, then drained--------------------> Dead
//!      |               `--peer's FIN-----'
//!      `--any error, abort or deadline, from any state------------------------------------------> Dead
//! ```
//!
//! Invariants: L1. `Step::Kill` is given exactly once. L2. The first reason stays, except that a flush which fails
//! turns `Local { flushed: true }` into `false`. L3. Nothing is delivered and no send accepted after leaving `Open`.

use std::io;

use super::CloseReason;

/// Where a connection stands and, once it is known, why it ends.
#[derive(Debug)]
pub(super) struct Life {
    phase: Phase,
    reason: CloseReason,
}

/// What the backend has to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Step {
    /// Nothing.
    Wait,
    /// Send FIN: everything queued has left.
    Finish,
    /// End all operations, then release the socket and report `Closed`.
    Kill,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Connecting,
    Open,
    Flushing { peer_finished: bool },
    Finishing,
    Dead,
}

impl Life {
    /// An outgoing connection on its way.
    pub(super) fn connecting() -> Self {
        Self::new(Phase::Connecting)
    }

    /// A connection that is up.
    pub(super) fn open() -> Self {
        Self::new(Phase::Open)
    }

    fn new(phase: Phase) -> Self {
        let reason = CloseReason::Local { flushed: true };
        Self { phase, reason }
    }

    /// Whether it is still to come up.
    pub(super) fn is_connecting(&self) -> bool {
        self.phase == Phase::Connecting
    }

    /// Whether received bytes are handed out.
    pub(super) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Whether it only waits for its operations to end.
    pub(super) fn is_dead(&self) -> bool {
        self.phase == Phase::Dead
    }

    /// Whether `send` may queue.
    pub(super) fn is_sendable(&self) -> bool {
        matches!(self.phase, Phase::Connecting | Phase::Open)
    }

    /// Whether queued bytes may be written.
    pub(super) fn is_writable(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Flushing { .. })
    }

    /// Why it ended; meaningful once dead.
    pub(super) fn reason(&self) -> CloseReason {
        self.reason
    }

    /// The outgoing connection is up.
    pub(super) fn on_connected(&mut self) {
        debug_assert!(self.is_connecting(), "only a connecting socket comes up");
        self.phase = Phase::Open;
    }

    /// The peer sent FIN; `drained`: nothing is queued.
    pub(super) fn on_peer_finished(&mut self, drained: bool) -> Step {
        match self.phase {
            Phase::Connecting | Phase::Open => {
                self.reason = CloseReason::Peer;
                self.flush_or_kill(drained)
            }
            Phase::Flushing { .. } => self.flush_or_kill(drained),
            Phase::Finishing => self.kill(),
            Phase::Dead => Step::Wait,
        }
    }

    /// The owner closes; `drained`: nothing is queued.
    pub(super) fn on_close(&mut self, drained: bool) -> Step {
        match self.phase {
            Phase::Connecting => {
                self.reason = CloseReason::Local { flushed: drained };
                self.kill()
            }
            Phase::Open if drained => {
                self.phase = Phase::Finishing;
                Step::Finish
            }
            Phase::Open => {
                self.phase = Phase::Flushing {
                    peer_finished: false,
                };
                Step::Wait
            }
            Phase::Flushing { .. } | Phase::Finishing | Phase::Dead => Step::Wait,
        }
    }

    /// The owner aborts; `drained`: nothing is queued.
    pub(super) fn on_abort(&mut self, drained: bool) -> Step {
        if self.is_dead() {
            return Step::Wait;
        }
        if self.is_sendable() {
            self.reason = CloseReason::Local { flushed: drained };
        } else {
            self.mark_unflushed();
        }
        self.kill()
    }

    /// All queued bytes have left.
    pub(super) fn on_drained(&mut self) -> Step {
        match self.phase {
            Phase::Flushing {
                peer_finished: true,
            } => self.kill(),
            Phase::Flushing {
                peer_finished: false,
            } => {
                self.phase = Phase::Finishing;
                Step::Finish
            }
            Phase::Connecting | Phase::Open | Phase::Finishing | Phase::Dead => Step::Wait,
        }
    }

    /// The transport failed.
    pub(super) fn on_error(&mut self, kind: io::ErrorKind) -> Step {
        match self.phase {
            Phase::Connecting => self.reason = CloseReason::ConnectFailed(kind),
            Phase::Open => self.reason = failure(kind),
            Phase::Flushing { .. } => self.mark_unflushed(),
            Phase::Finishing => {}
            Phase::Dead => return Step::Wait,
        }
        self.kill()
    }

    /// The time to connect or to linger is over.
    pub(super) fn on_deadline(&mut self) -> Step {
        self.on_error(io::ErrorKind::TimedOut)
    }

    fn flush_or_kill(&mut self, drained: bool) -> Step {
        if drained {
            return self.kill();
        }
        self.phase = Phase::Flushing {
            peer_finished: true,
        };
        Step::Wait
    }

    fn kill(&mut self) -> Step {
        self.phase = Phase::Dead;
        Step::Kill
    }

    fn mark_unflushed(&mut self) {
        if let CloseReason::Local { flushed } = &mut self.reason {
            *flushed = *flushed && self.phase == Phase::Finishing;
        }
    }
}

fn failure(kind: io::ErrorKind) -> CloseReason {
    match kind {
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionAborted => CloseReason::Reset,
        other => CloseReason::Failed(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLUSHED: CloseReason = CloseReason::Local { flushed: true };
    const UNFLUSHED: CloseReason = CloseReason::Local { flushed: false };

    #[test]
    fn close_flushes_then_finishes_then_dies_on_the_peers_fin() {
        let mut life = Life::open();
        assert_eq!(life.on_close(false), Step::Wait);
        assert!(life.is_writable() && !life.is_sendable() && !life.is_open());
        assert_eq!(life.on_drained(), Step::Finish);
        assert_eq!(life.on_peer_finished(true), Step::Kill);
        assert_eq!(life.reason(), FLUSHED);
    }

    #[test]
    fn a_drained_close_finishes_at_once() {
        let mut life = Life::open();
        assert_eq!(life.on_close(true), Step::Finish);
        assert_eq!(life.on_close(true), Step::Wait);
    }

    #[test]
    fn the_peers_fin_waits_for_what_is_queued() {
        let mut life = Life::open();
        assert_eq!(life.on_peer_finished(false), Step::Wait);
        assert!(life.is_writable() && !life.is_sendable());
        assert_eq!(life.on_drained(), Step::Kill);
        assert_eq!(life.reason(), CloseReason::Peer);
    }

    #[test]
    fn a_flush_that_fails_or_lingers_out_says_so() {
        for step in [Life::on_deadline, |life: &mut Life| {
            life.on_error(io::ErrorKind::ConnectionReset)
        }] {
            let mut life = Life::open();
            assert_eq!(life.on_close(false), Step::Wait);
            assert_eq!(step(&mut life), Step::Kill);
            assert_eq!(life.reason(), UNFLUSHED);
        }
    }

    #[test]
    fn a_missing_fin_of_the_peer_does_not_unsay_the_flush() {
        let mut life = Life::open();
        assert_eq!(life.on_close(true), Step::Finish);
        assert_eq!(life.on_deadline(), Step::Kill);
        assert_eq!(life.reason(), FLUSHED);
    }

    #[test]
    fn a_connect_that_times_out_is_a_failed_connect() {
        let mut life = Life::connecting();
        assert_eq!(life.on_deadline(), Step::Kill);
        let expected = CloseReason::ConnectFailed(io::ErrorKind::TimedOut);
        assert_eq!(life.reason(), expected);
    }

    #[test]
    fn the_dead_are_killed_once() {
        let mut life = Life::open();
        assert_eq!(life.on_error(io::ErrorKind::BrokenPipe), Step::Kill);
        assert_eq!(life.reason(), CloseReason::Reset);
        assert_eq!(life.on_abort(false), Step::Wait);
        assert_eq!(life.on_close(true), Step::Wait);
        assert_eq!(life.on_drained(), Step::Wait);
        assert_eq!(life.on_peer_finished(true), Step::Wait);
        assert_eq!(life.on_deadline(), Step::Wait);
        assert_eq!(life.reason(), CloseReason::Reset);
    }

    #[test]
    fn abort_tells_whether_anything_was_lost() {
        let mut life = Life::open();
        assert_eq!(life.on_abort(false), Step::Kill);
        assert_eq!(life.reason(), UNFLUSHED);
        let mut life = Life::open();
        assert_eq!(life.on_abort(true), Step::Kill);
        assert_eq!(life.reason(), FLUSHED);
    }
}
