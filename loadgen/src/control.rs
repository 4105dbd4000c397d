//! The caller's side of a run that is under way: stop it, say who was killed, watch it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use fairlane_client::protocol::AckCode;
use fairlane_engine::types::{AuthorityIndex, AuthoritySet};

use crate::outcome::Distribution;

/// The caller's hand on a run, from any thread. Clones are the same hand.
#[derive(Clone, Debug, Default)]
pub struct Control(Arc<ControlState>);

#[derive(Debug, Default)]
struct ControlState {
    is_stopped: AtomicBool,
    killed: Mutex<AuthoritySet>,
}

impl Control {
    /// A run that goes on to its end, with nobody killed.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends sending within a tenth of a second; the run still drains and reports.
    pub fn stop(&self) {
        self.0.is_stopped.store(true, Ordering::Relaxed);
    }

    /// Says that the caller kills the node of `authority`: its word counts for nothing in this run, past or future.
    pub fn declare_killed(&self, authority: AuthorityIndex) {
        let killed = self.0.killed.lock();
        // The set is whole at any instant, also if a holder panicked.
        killed
            .unwrap_or_else(PoisonError::into_inner)
            .insert(authority);
    }

    /// Who was declared killed.
    pub fn killed(&self) -> AuthoritySet {
        *self.0.killed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether sending is to end.
    pub(crate) fn is_stopped(&self) -> bool {
        self.0.is_stopped.load(Ordering::Relaxed)
    }
}

/// Where a run stands; given some ten times a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What it does.
    pub phase: Phase,
    /// Microseconds after the start; 0 before.
    pub elapsed_us: u64,
    /// Envelopes given to the client.
    pub offered: u64,
    /// Envelopes that a node accepted.
    pub acked: u64,
    /// Envelopes in the order.
    pub ordered: u64,
    /// Envelopes settled.
    pub settled: u64,
    /// Refusing answers, by code, in the order of [`AckCode::ALL`].
    pub refused: [u64; AckCode::ALL.len()],
    /// Refusing answers to hostile envelopes; `None` where there are none.
    pub hostile_refused: Option<u64>,
    /// Authorities connected.
    pub live: u32,
    /// Median so far from planned to settled, in microseconds; 0 if none is.
    pub settled_p50_us: u64,
    /// The last whole second.
    pub last_second: LastSecond,
}

/// What happened in the last whole second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LastSecond {
    /// Envelopes given to the client.
    pub offered: u64,
    /// Latencies of what was settled in it, microseconds.
    pub settled: Distribution,
}

/// What a run does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Seals the first envelopes.
    Preparing,
    /// Sends as planned.
    Sending,
    /// Has sent all, and listens.
    Draining,
}
