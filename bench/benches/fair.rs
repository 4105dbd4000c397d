//! One step of the fair order: throughput is pairs ordered, or added.
//!
//! An order is kept from step to step, as in a node. Every step brings other pairs, a second of consensus time later, that
//! expire two seconds on: what a step costs holds looking pairs up, remembering emitted ones and forgetting old ones.
//! `step_interned` leaves out the looking up; `all_pairs` is the plain quadratic order that tests judge the fast one by.

#[path = "../../engine/tests/fair_law/plain.rs"]
mod plain;

use std::cell::RefCell;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion};
use fairlane_bench::local_orders::{entry, jittered};
use fairlane_bench::measure::{self, operation};
use fairlane_engine::fair::{Anchor, FairOrder, FairParams, Interned, Ordered};
use fairlane_engine::types::{Entry, TimestampUs};
use plain::Plain;

fn main() {
    measure::run(&[sizes, liars, adding, all_pairs]);
}

/// All of m pairs listed by all and emitted, for committees and loads of several sizes.
fn sizes(criterion: &mut Criterion) {
    for (n, most) in [(5, 16_384), (16, 16_384), (50, 4_096)] {
        for m in [20, 128, 1_024, 4_096, 16_384] {
            if m <= most {
                let lists = jittered(n, m, JITTER);
                measured(criterion, "fair::step_interned", "", &lists, true);
                measured(criterion, "fair::step", "", &lists, false);
            }
        }
    }
}

/// f authorities lie, or nobody agrees with anybody.
fn liars(criterion: &mut Criterion) {
    for (n, m) in [
        (5, 1_024),
        (5, 16_384),
        (16, 1_024),
        (16, 4_096),
        (50, 1_024),
    ] {
        let faulty = usize::from((n - 1) / 3);
        let mut reversed = jittered(n, m, JITTER);
        reversed[..faulty]
            .iter_mut()
            .for_each(|list| list.reverse());
        measured(criterion, "fair::step", ",f=reverse", &reversed, false);
        let mut shuffled = jittered(n, m, JITTER);
        shuffled[..faulty].iter_mut().for_each(|list| shuffle(list));
        measured(criterion, "fair::step", ",f=shuffle", &shuffled, false);
        if m < 16_384 {
            shuffled.iter_mut().for_each(|list| shuffle(list));
            measured(criterion, "fair::step", ",all=shuffle", &shuffled, false);
        }
    }
}

/// Ten pairs that all list come to what waits unready, listed by so many of five.
fn adding(criterion: &mut Criterion) {
    for (pending, by) in [(0, 0), (10_000, 1), (10_000, 2), (10_000, 3), (100_000, 1)] {
        let waiting: Vec<Entry> = (0..pending).map(entry).collect();
        let of = |authority| {
            if authority < by {
                waiting.clone()
            } else {
                Vec::new()
            }
        };
        // Time hardly passes, so that what waits goes on waiting, and a thousand emissions are remembered.
        let mut load = Load {
            step_us: 1,
            valid_us: 1_000,
            ..Load::of(jittered(5, 10, JITTER))
        };
        let appends: Vec<Vec<Entry>> = (0..5).map(of).collect();
        load.order.step_ordered(&anchor_of(0, &appends));
        let load = RefCell::new(load);
        operation(criterion, "fair::step_added", 10).bench_function(
            format!("n=5,added=10,pending={pending},listed_by={by}"),
            |bencher| {
                bencher.iter_batched(
                    || load.borrow_mut().next(),
                    |()| load.borrow_mut().step(),
                    BatchSize::PerIteration,
                );
            },
        );
        assert_eq!(load.borrow().order.pending_len(), pending as usize);
    }
}

fn all_pairs(criterion: &mut Criterion) {
    for m in [128, 1_024, 4_096, 16_384] {
        let lists = jittered(5, m, JITTER);
        let anchor = anchor_of(1_000_000, &lists);
        let mut group = operation(criterion, "fair::step_all_pairs", m.into());
        group.sample_size(10).warm_up_time(Duration::from_millis(1));
        group.bench_function(format!("n=5,m={m},jitter={JITTER}"), |bencher| {
            bencher.iter_custom(|steps| {
                let params = params_of(&lists);
                let mut orders: Vec<Plain> = (0..steps).map(|_| Plain::new(params)).collect();
                let start = Instant::now();
                orders.iter_mut().for_each(|order| {
                    std::hint::black_box(order.step(&anchor));
                });
                start.elapsed()
            });
        });
    }
}

fn measured(
    criterion: &mut Criterion,
    name: &str,
    what: &str,
    lists: &[Vec<Entry>],
    interned: bool,
) {
    let (n, m) = (lists.len(), lists[0].len());
    let load = RefCell::new(Load::of(lists.to_vec()));
    operation(criterion, name, m as u64).bench_function(
        format!("n={n},m={m},jitter={JITTER}{what}"),
        |bencher| match interned {
            true => bencher.iter_batched(
                || load.borrow_mut().next_interned(),
                |()| load.borrow_mut().step_interned(),
                BatchSize::PerIteration,
            ),
            false => bencher.iter_batched(
                || load.borrow_mut().next(),
                |()| load.borrow_mut().step(),
                BatchSize::PerIteration,
            ),
        },
    );
    assert_eq!(
        load.borrow().order.pending_len(),
        0,
        "all that came was emitted"
    );
}

/// The same lists again and again, of other pairs each time.
struct Load {
    order: FairOrder,
    lists: Vec<Vec<Entry>>,
    interned: Interned,
    steps: u64,
    time_us: u64,
    /// Consensus time from step to step.
    step_us: u64,
    /// How long pairs are valid, and remembered.
    valid_us: u64,
}

impl Load {
    fn of(lists: Vec<Vec<Entry>>) -> Self {
        Self {
            order: FairOrder::new(params_of(&lists)),
            lists,
            interned: Interned::default(),
            steps: 0,
            time_us: 0,
            step_us: 1_000_000,
            valid_us: 2_000_000,
        }
    }

    /// Other pairs, later.
    fn next(&mut self) {
        self.steps += 1;
        self.time_us += self.step_us;
        let number = self.steps.to_le_bytes();
        for entry in self.lists.iter_mut().flatten() {
            // The last eight bytes, and the two lowest of those that pairs are looked up by.
            entry.digest.0[24..].copy_from_slice(&number);
            entry.digest.0[0] = entry.digest.0[8] ^ number[0];
            entry.digest.0[1] = entry.digest.0[9] ^ number[1];
            entry.valid_until = TimestampUs(self.time_us + self.valid_us);
        }
    }

    fn next_interned(&mut self) {
        self.next();
        let anchor = anchor_of(self.time_us, &self.lists);
        self.order.intern(&anchor, &mut self.interned);
    }

    fn step(&mut self) -> Ordered {
        let anchor = anchor_of(self.time_us, &self.lists);
        self.order.step_ordered(&anchor)
    }

    fn step_interned(&mut self) -> Ordered {
        self.order.step_interned(&self.interned)
    }
}

fn anchor_of(time_us: u64, lists: &[Vec<Entry>]) -> Anchor<'_> {
    Anchor {
        consensus_time: TimestampUs(time_us),
        tie_seed: [3; 32],
        appends: lists,
    }
}

/// f = floor((n - 1) / 3), D = 64.
fn params_of(lists: &[Vec<Entry>]) -> FairParams {
    let authorities = lists.len() as u32;
    FairParams::new(authorities, (authorities - 1) / 3, 64).expect("fewer than a third may lie")
}

/// Every pair somewhere else, by the hash of its digest and of where it stood.
fn shuffle(list: &mut [Entry]) {
    let mut at = 0u32;
    list.sort_by_cached_key(|entry| {
        at += 1;
        *blake3::hash(&[&entry.digest.0[..], &at.to_be_bytes()].concat()).as_bytes()
    });
}

/// Positions that a pair is received late by, at most.
const JITTER: u32 = 20;
