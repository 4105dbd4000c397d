//! How much more a node takes from clients: as much as it brings to an end within half a second, fairly among them.
//!
//! What is accepted waits to be ordered and opened. A node that accepts all it is offered under overload only makes that
//! wait longer, until most of it expires. So the core stage measures how much it has taken and not opened, and how fast it
//! opens; the IO stage looks at both before it takes a submission ([`Gate`]). Within the window everything is taken. Above
//! it a client may still submit its fair part of what the committee opens, so who sends little is served whatever the
//! others do; far above it nobody is.
//!
//! Authorities take different parts of an overload, and each orders what the others took. So a node counts all that it
//! holds, whoever accepted it, and a client's part is of an n-th of what is opened.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fairlane_engine::types::TimestampUs;

/// What the core stage tells the IO stage. Each figure is whole by itself; none leads to another.
#[derive(Debug)]
pub struct Pressure {
    /// Envelopes that the node has taken and not opened.
    in_flight: AtomicU64,
    /// Envelopes opened a second, lately.
    rate: AtomicU64,
}

impl Pressure {
    /// Nothing is under way yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            in_flight: AtomicU64::new(0),
            rate: AtomicU64::new(0),
        })
    }
}

/// What has become of envelopes in this life of the node; counts that only grow.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fates {
    /// Taken, from clients and from vertices.
    pub taken: u64,
    /// Opened in a batch.
    pub opened: u64,
    /// Dropped, as they expired before they were ordered.
    pub dropped: u64,
}

impl Fates {
    const fn ended(self) -> u64 {
        self.opened + self.dropped
    }
}

/// The core stage's end: follows counts that only grow.
#[derive(Debug)]
pub struct Gauge {
    shared: Arc<Pressure>,
    /// As of when nothing was under way.
    before: Fates,
    /// When the rate was last looked at, and what had been opened then.
    looked: Option<(TimestampUs, u64)>,
    rate: u64,
}

impl Gauge {
    /// For the figures in `shared`.
    pub const fn new(shared: Arc<Pressure>) -> Self {
        Self {
            shared,
            before: Fates {
                taken: 0,
                opened: 0,
                dropped: 0,
            },
            looked: None,
            rate: 0,
        }
    }

    /// Takes the counts as of now; `is_idle`: nothing is under way.
    ///
    /// Not every end is counted here (what was taken in another life, or by others while this node was away), so the
    /// difference is set right whenever nothing is under way.
    pub fn look(&mut self, now: TimestampUs, fates: Fates, is_idle: bool) {
        let (at, opened_before) = *self.looked.get_or_insert_with(|| {
            // What an earlier life of the node took has no other counts.
            self.before = fates;
            (now, fates.opened)
        });
        let taken = fates.taken - self.before.taken;
        let ended = fates.ended() - self.before.ended();
        if is_idle || ended > taken {
            self.before = fates;
        }
        let in_flight = if is_idle {
            0
        } else {
            taken.saturating_sub(ended)
        };
        let passed_us = now.since_us(at);
        if passed_us >= RATE_SLOT_US {
            let opened = fates.opened - opened_before;
            let rate = opened.saturating_mul(1_000_000) / passed_us;
            // A mean over some seconds: batches come in bursts.
            self.rate = (3 * self.rate + rate) / 4;
            self.looked = Some((now, fates.opened));
        }
        // Relaxed: figures to decide by, which nothing else hangs on.
        self.shared.in_flight.store(in_flight, Ordering::Relaxed);
        self.shared.rate.store(self.rate, Ordering::Relaxed);
    }
}

/// The IO stage's end: whether a submission is taken.
#[derive(Debug)]
pub struct Gate {
    shared: Arc<Pressure>,
    authorities: u64,
    /// What each client submitted in the current slot, by its connection's slot.
    submitted: Vec<Submitted>,
    slot: u64,
    /// Clients that submitted in the current slot, and in the one before.
    active: u64,
    active_before: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Submitted {
    slot: u64,
    count: u64,
}

impl Gate {
    /// For one of so many authorities.
    pub fn new(shared: Arc<Pressure>, authorities: usize) -> Self {
        Self {
            shared,
            authorities: authorities.max(1) as u64,
            submitted: Vec::new(),
            slot: 0,
            active: 0,
            active_before: 0,
        }
    }

    /// Whether a submission of the client at `conn` is taken, while `waiting` others have not reached the core stage.
    pub fn takes(&mut self, conn: usize, waiting: usize, now: TimestampUs) -> bool {
        let count = self.count(conn, now);
        let in_flight = self.shared.in_flight.load(Ordering::Relaxed) + waiting as u64;
        let rate = self.shared.rate.load(Ordering::Relaxed);
        let window = (rate * WINDOW_MS / 1_000).max(WINDOW_LEAST);
        if in_flight < window {
            return true;
        }
        let clients = self.active.max(self.active_before) + 1;
        let part = rate * SLOT_US / 1_000_000 / (self.authorities * clients);
        in_flight < WINDOWS_MAX * window && count <= part.max(1)
    }

    /// Counts a submission; how many the client has made in this slot of time.
    fn count(&mut self, conn: usize, now: TimestampUs) -> u64 {
        let slot = now.0 / SLOT_US;
        if slot != self.slot {
            let is_next = slot == self.slot + 1;
            self.active_before = if is_next { self.active } else { 0 };
            (self.slot, self.active) = (slot, 0);
        }
        if self.submitted.len() <= conn {
            self.submitted.resize(conn + 1, Submitted::default());
        }
        let submitted = &mut self.submitted[conn];
        if submitted.slot != slot {
            *submitted = Submitted { slot, count: 0 };
            self.active += 1;
        }
        submitted.count += 1;
        submitted.count
    }
}

/// Everything is taken while less is under way than is opened in this time.
const WINDOW_MS: u64 = 500;
/// Or less than this: a machine that was idle has opened nothing lately, and takes a burst all the same.
const WINDOW_LEAST: u64 = 8_192;
/// At so many windows nothing is taken.
const WINDOWS_MAX: u64 = 4;
/// Over which a client's part is counted.
const SLOT_US: u64 = 100_000;
/// Over which the rate is measured.
const RATE_SLOT_US: u64 = 500_000;

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> TimestampUs {
        TimestampUs(1_000_000_000 + ms * 1_000)
    }

    fn fates(taken: u64, opened: u64) -> Fates {
        Fates {
            taken,
            opened,
            dropped: 0,
        }
    }

    #[test]
    fn a_burst_from_idle_is_taken_up_to_the_window() {
        let shared = Pressure::new();
        let mut gate = Gate::new(shared, 5);
        assert!((0..WINDOW_LEAST).all(|waiting| gate.takes(1, waiting as usize, at(0))));
        // Beyond it one a slot: nothing is known of what the machine can do.
        assert!(!gate.takes(1, WINDOW_LEAST as usize, at(0)));
        assert!(gate.takes(2, WINDOW_LEAST as usize, at(0)));
        assert!(!gate.takes(2, WINDOW_LEAST as usize, at(0)));
    }

    #[test]
    fn the_window_follows_what_is_opened() {
        let shared = Pressure::new();
        let (mut gauge, mut gate) = (Gauge::new(shared.clone()), Gate::new(shared, 5));
        for second in 0..20 {
            // 20,000 a second, 5,000 of them always under way.
            let under_way = if second == 0 { 0 } else { 5_000 };
            let counts = fates(under_way + second * 20_000, second * 20_000);
            gauge.look(at(second * 1_000), counts, false);
        }
        assert!(
            gate.takes(1, 4_900, at(20_000)),
            "nearly 10,000 are opened in half a second"
        );
        for _ in 0..300 {
            gate.takes(1, 5_000, at(20_000));
        }
        assert!(!gate.takes(1, 5_000, at(20_000)));
    }

    #[test]
    fn under_overload_the_greedy_is_refused_and_the_modest_is_not() {
        let shared = Pressure::new();
        shared.rate.store(2_000, Ordering::Relaxed);
        shared.in_flight.store(2 * WINDOW_LEAST, Ordering::Relaxed);
        let mut gate = Gate::new(shared, 5);
        let (mut greedy, mut refused) = (0, 0);
        for ms in 0..1_000 {
            for _ in 0..10 {
                greedy += u64::from(gate.takes(1, 0, at(ms)));
            }
            if ms % 50 == 0 {
                refused += u64::from(!gate.takes(2, 0, at(ms)));
            }
        }
        assert_eq!(refused, 0);
        // A third of a fifth of 2,000.
        assert!((100..=200).contains(&greedy), "{greedy}");
    }

    #[test]
    fn far_above_the_window_nobody_is_taken() {
        let shared = Pressure::new();
        shared
            .in_flight
            .store(WINDOWS_MAX * WINDOW_LEAST, Ordering::Relaxed);
        assert!(!Gate::new(shared, 4).takes(1, 0, at(0)));
    }

    #[test]
    fn what_ended_unseen_is_forgotten_when_nothing_is_under_way() {
        let shared = Pressure::new();
        let mut gauge = Gauge::new(shared.clone());
        let in_flight = || shared.in_flight.load(Ordering::Relaxed);
        let mut look = |ms, fates, is_idle| gauge.look(at(ms), fates, is_idle);
        look(0, fates(0, 0), false);
        look(0, fates(1_000, 400), false);
        assert_eq!(in_flight(), 600);
        look(1, fates(1_000, 400), true);
        assert_eq!(in_flight(), 0);
        look(2, fates(1_010, 405), false);
        assert_eq!(in_flight(), 5);
        // Others' batches that this node never took: more ends than beginnings.
        look(3, fates(1_010, 9_000), false);
        look(4, fates(1_020, 9_000), false);
        assert_eq!(in_flight(), 10);
        let dropped = Fates {
            dropped: 4,
            ..fates(1_020, 9_000)
        };
        look(5, dropped, false);
        assert_eq!(in_flight(), 6);
    }
}
