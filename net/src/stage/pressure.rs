//! How much more a node takes from clients: all of a burst, and of an overload as much as it brings to an end in a moment,
//! fairly among clients and alike at all authorities.
//!
//! What is accepted waits to be ordered and opened. A node that accepts all it is offered under overload only makes that
//! wait longer, until most of it expires. So the core stage measures how much it has taken and not opened, how long the
//! oldest of that has waited, and how fast it opens; the IO stage looks at these before it takes a submission ([`Gate`]).
//!
//! Calm, everything is taken: a market's burst is a few thousand envelopes in a second, and the second after it is quiet.
//! A node is *strained* once a burst is more than its machine opens in a moment ([`Burst`]), or once the oldest waits longer than [`LATE_US`] for as
//! long (so a slow machine does not live with a standing queue that no burst explains; after CoDel, Nichols and Jacobson,
//! CACM 2012). It is calm again when nobody was refused for [`CALM_US`]. Strained, the committee's rate is given out: more
//! than that while less waits than is opened in [`WINDOW_MS`], and less above it, in parts to the clients ([`Parts`]). The law
//! remembers nothing, and all that it looks at is common to correct authorities, so they take nearly the same; what one
//! takes and others do not, the others fetch and order too, and so a node counts all that it holds, whoever accepted it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fairlane_engine::types::TimestampUs;

use self::burst::{BURST_MAX, Burst};
use self::parts::{Parts, SLOT_US, UNITS};
use super::stats::Step;

pub mod burst;
pub mod parts;

/// What the core stage tells the IO stage. Each figure is whole by itself; none leads to another.
#[derive(Debug)]
pub struct Pressure {
    /// Envelopes that the node has taken and not opened.
    in_flight: AtomicU64,
    /// The same, its mean over the last moment ([`MEAN_US`]).
    in_flight_mean: AtomicU64,
    /// Envelopes opened a second, lately.
    rate: AtomicU64,
    /// How long the oldest of what is under way has waited, microseconds.
    delay_us: AtomicU64,
    /// So many are taken whole.
    burst: AtomicU64,
}

impl Pressure {
    /// Nothing is under way yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            in_flight: AtomicU64::new(0),
            in_flight_mean: AtomicU64::new(0),
            rate: AtomicU64::new(0),
            delay_us: AtomicU64::new(0),
            burst: AtomicU64::new(BURST_MAX),
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
    /// The mean of what is under way, in [`UNITS`], and as of when.
    mean: (TimestampUs, u64),
    /// How much had been taken when, since `before`: from the oldest that is under way on.
    taken: VecDeque<(TimestampUs, u64)>,
    burst: Burst,
}

impl Gauge {
    /// For the figures in `shared`.
    pub fn new(shared: Arc<Pressure>) -> Self {
        Self {
            shared,
            mean: (TimestampUs(0), 0),
            taken: VecDeque::new(),
            burst: Burst::default(),
            before: Fates {
                taken: 0,
                opened: 0,
                dropped: 0,
            },
            looked: None,
            rate: 0,
        }
    }

    /// Takes the counts as of now, `proofs` of all proofs that were checked; `is_idle`: nothing is under way.
    ///
    /// Not every end is counted here (what was taken in another life, or by others while this node was away), so the
    /// difference is set right whenever nothing is under way.
    pub fn look(&mut self, now: TimestampUs, fates: Fates, proofs: Step, is_idle: bool) {
        self.burst.look_at_checks(proofs);
        self.burst.look_at_opened(now, fates.opened);
        let (at, opened_before) = *self.looked.get_or_insert_with(|| {
            // What an earlier life of the node took has no other counts.
            self.before = fates;
            (now, fates.opened)
        });
        let taken = fates.taken - self.before.taken;
        let ended = fates.ended() - self.before.ended();
        if is_idle || ended > taken {
            self.before = fates;
            self.taken.clear();
        } else {
            self.note_taken(now, taken, ended);
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
            // A mean over some seconds, as batches come in bursts. More is believed sooner, but not at once: what was held up
            // opens at a rate that does not last, as its proofs are checked already.
            self.rate = match rate > self.rate {
                true => u64::midpoint(self.rate, rate),
                false => (3 * self.rate + rate) / 4,
            };
            self.looked = Some((now, fates.opened));
        }
        let (at, mean) = self.mean;
        let passed_us = now.since_us(at).min(MEAN_US);
        if passed_us >= MEAN_GRAIN_US {
            let sum = mean * (MEAN_US - passed_us) + in_flight * UNITS * passed_us;
            self.mean = (now, sum / MEAN_US);
        }
        // Relaxed: figures to decide by, which nothing else hangs on.
        let mean = self.mean.1 / UNITS;
        self.shared.in_flight_mean.store(mean, Ordering::Relaxed);
        self.shared.in_flight.store(in_flight, Ordering::Relaxed);
        self.shared.rate.store(self.rate, Ordering::Relaxed);
        let oldest = self.taken.front();
        let delay_us = oldest.map_or(0, |(at, _)| now.since_us(*at));
        self.shared.delay_us.store(delay_us, Ordering::Relaxed);
        (self.shared.burst).store(self.burst.size(), Ordering::Relaxed);
    }

    /// What is opened first was taken first, but for what the fair order moves: near enough to tell how long it waited.
    fn note_taken(&mut self, now: TimestampUs, taken: u64, ended: u64) {
        while self.taken.front().is_some_and(|(_, upto)| *upto <= ended) {
            self.taken.pop_front();
        }
        let is_due = match self.taken.back() {
            Some((at, upto)) => *upto < taken && now.since_us(*at) >= DELAY_GRAIN_US,
            None => taken > ended,
        };
        if is_due && self.taken.len() < DELAY_SAMPLES_MAX {
            self.taken.push_back((now, taken));
        }
    }
}

/// The IO stage's end: whether a submission is taken.
#[derive(Debug)]
pub struct Gate {
    shared: Arc<Pressure>,
    parts: Parts,
    /// Strained; and when a submission was last refused, or it began.
    strained: Option<TimestampUs>,
    /// Since when the oldest has waited for longer than [`LATE_US`].
    late: Option<TimestampUs>,
}

impl Gate {
    /// Calm at first.
    pub fn new(shared: Arc<Pressure>) -> Self {
        Self {
            shared,
            parts: Parts::default(),
            strained: None,
            late: None,
        }
    }

    /// Whether a submission of these bytes by the client at `conn` is taken, while `waiting` others have not reached the
    /// core stage.
    pub fn takes(&mut self, conn: usize, bytes: &[u8], waiting: usize, now: TimestampUs) -> bool {
        self.parts.count(conn, now);
        let in_flight = self.shared.in_flight.load(Ordering::Relaxed) + waiting as u64;
        let mean = self.shared.in_flight_mean.load(Ordering::Relaxed) + waiting as u64;
        let rate = (self.shared.rate.load(Ordering::Relaxed)).max(RATE_LEAST);
        let window = rate * WINDOW_MS / 1_000;
        let burst = window.max(self.shared.burst.load(Ordering::Relaxed));
        self.look(in_flight, window, burst, now);
        if self.strained.is_none() {
            return true;
        }
        let is_taken = in_flight < WINDOWS_MAX * burst
            && (self.parts).takes(conn, bytes, now, || budget(rate, mean, window));
        if !is_taken {
            self.strained = Some(now);
        }
        is_taken
    }

    /// Whether it is strained as of now.
    fn look(&mut self, in_flight: u64, window: u64, burst: u64, now: TimestampUs) {
        let is_late = self.shared.delay_us.load(Ordering::Relaxed) > LATE_US;
        let late = is_late.then(|| self.late.unwrap_or(now));
        self.late = late;
        match self.strained {
            Some(refused) if in_flight <= window && now.since_us(refused) >= CALM_US => {
                self.strained = None;
            }
            None if in_flight >= burst
                || late.is_some_and(|late| now.since_us(late) >= LATE_US) =>
            {
                self.strained = Some(now);
            }
            _ => {}
        }
    }
}

/// What may be taken in a slot while so much is under way, in [`UNITS`]: twice the rate with nothing under way, the rate at
/// a window, next to nothing from two on, where what is taken only keeps those served who offer little.
fn budget(rate: u64, in_flight: u64, window: u64) -> u64 {
    let share = (2 * UNITS).saturating_sub(in_flight * UNITS / window);
    (rate * SLOT_US / 1_000_000 * share.max(UNITS / 16)).max(BUDGET_LEAST * UNITS)
}

/// Strained, a node aims at having under way what is opened in this time.
const WINDOW_MS: u64 = 250;
/// At so many windows, or bursts, nothing is taken.
const WINDOWS_MAX: u64 = 4;
/// A wait of what is under way that no burst explains if it lasts as long.
const LATE_US: u64 = 1_000_000;
/// A node is calm when it has refused nobody for so long.
const CALM_US: u64 = 1_000_000;
/// Envelopes a second that a node counts upon, whatever it has opened lately.
const RATE_LEAST: u64 = 500;
/// Submissions in a slot that are taken at least, of all clients together: those of who offers little.
const BUDGET_LEAST: u64 = 16;
/// Over which the mean of what is under way is taken: batches are opened in bursts, and authorities look at different
/// instants. Without it what is taken swings, and each takes other parts (measured: 96 % of the peak, with it 143 %).
const MEAN_US: u64 = 200_000;
/// The mean is brought up to date this often at most.
const MEAN_GRAIN_US: u64 = 1_000;
/// Over which the rate is measured.
const RATE_SLOT_US: u64 = 500_000;
/// To which waits are measured.
const DELAY_GRAIN_US: u64 = 10_000;
/// Envelopes are valid for a minute: nothing waits longer than this many grains.
const DELAY_SAMPLES_MAX: usize = 8_192;

#[cfg(test)]
#[path = "pressure/law_tests.rs"]
mod law_tests;

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

    fn gate(shared: &Arc<Pressure>) -> Gate {
        Gate::new(shared.clone())
    }

    /// How many of `count` submissions of a client are taken at once.
    fn taken(gate: &mut Gate, conn: usize, count: u64, waiting: u64, now: TimestampUs) -> u64 {
        let takes = |id: &u64| gate.takes(conn, &id.to_be_bytes(), waiting as usize, now);
        (0..count).filter(takes).count() as u64
    }

    #[test]
    fn a_burst_from_idle_is_taken_whole_up_to_its_bound() {
        let mut gate = gate(&Pressure::new());
        for waiting in 0..BURST_MAX {
            assert!(gate.takes(1, &waiting.to_be_bytes(), waiting as usize, at(0)));
        }
        assert!(taken(&mut gate, 1, 1_000, BURST_MAX, at(10)) <= BUDGET_LEAST * 5 / 4 + 1);
        assert!(taken(&mut gate, 1, 1_000, BURST_MAX, at(110)) <= BUDGET_LEAST * 5 / 4 + 1);
        assert!(
            taken(&mut gate, 2, 1, BURST_MAX, at(20)) == 1,
            "who says little"
        );
    }

    #[test]
    fn a_fast_machine_has_a_window_of_what_it_opens() {
        let shared = Pressure::new();
        let (mut gauge, mut gate) = (Gauge::new(shared.clone()), gate(&shared));
        for second in 0..20 {
            // 80,000 a second, 15,000 of them always under way.
            let under_way = if second == 0 { 0 } else { 15_000 };
            let counts = fates(under_way + second * 80_000, second * 80_000);
            gauge.look(at(second * 1_000), counts, Step::default(), false);
        }
        // Nearly 20,000 are opened in a quarter of a second.
        assert_eq!(taken(&mut gate, 1, 100, 4_000, at(20_000)), 100);
        assert!(gate.strained.is_none());
        taken(&mut gate, 1, 1, 6_000, at(20_000));
        assert!(gate.strained.is_some());
    }

    #[test]
    fn a_wait_that_no_burst_explains_strains_and_calm_comes_back_when_nobody_is_refused() {
        let shared = Pressure::new();
        let (mut gauge, mut gate) = (Gauge::new(shared.clone()), gate(&shared));
        // 1,000 a second, two seconds behind.
        let look = |gauge: &mut Gauge, gate: &mut Gate, ms: u64, behind: u64| {
            gauge.look(
                at(ms),
                fates(ms, ms.saturating_sub(behind)),
                Step::default(),
                false,
            );
            gate.takes(1, &ms.to_be_bytes(), 0, at(ms));
            gate.strained.is_some()
        };
        let strained_at = (0..10_000).find(|ms| look(&mut gauge, &mut gate, *ms, 2_000));
        assert!(
            (1_900..=2_100).contains(&strained_at.unwrap()),
            "{strained_at:?}"
        );
        assert!((2_200..5_000).all(|ms| look(&mut gauge, &mut gate, ms, 2_000)));
        let calm_at = (5_000..9_000).find(|ms| !look(&mut gauge, &mut gate, *ms, 10));
        assert!((5_900..=6_600).contains(&calm_at.unwrap()), "{calm_at:?}");
    }

    #[test]
    fn a_burst_that_is_over_in_a_moment_does_not_strain() {
        let shared = Pressure::new();
        let (mut gauge, mut gate) = (Gauge::new(shared.clone()), gate(&shared));
        gauge.look(at(0), fates(0, 0), Step::default(), false);
        for ms in 1..1_900 {
            // 5,000 at once, opened at 2,500 a second.
            gauge.look(
                at(ms),
                fates(5_000, (ms * 5 / 2).min(4_999)),
                Step::default(),
                false,
            );
            assert!(gate.takes(1, &ms.to_be_bytes(), 0, at(ms)), "{ms}");
        }
        assert!(gate.strained.is_none());
    }

    #[test]
    fn far_above_the_window_nobody_is_taken() {
        let shared = Pressure::new();
        let most = WINDOWS_MAX * BURST_MAX;
        shared.in_flight.store(most, Ordering::Relaxed);
        assert_eq!(taken(&mut gate(&shared), 1, 10, 0, at(0)), 0);
    }

    #[test]
    fn what_ended_unseen_is_forgotten_when_nothing_is_under_way() {
        let shared = Pressure::new();
        let mut gauge = Gauge::new(shared.clone());
        let in_flight = || shared.in_flight.load(Ordering::Relaxed);
        let mut look = |ms, fates, is_idle| gauge.look(at(ms), fates, Step::default(), is_idle);
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
