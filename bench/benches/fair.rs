//! One step of the fair order in which all of m pairs are listed by all and emitted: throughput is pairs.
//!
//! The order is fresh at each step. A step that emits is what costs; what waits unready is appended and related only.

use criterion::{BatchSize, Criterion};
use fairlane_bench::local_orders::jittered;
use fairlane_bench::measure::{self, operation};
use fairlane_engine::fair::{Anchor, FairOrder, FairParams};
use fairlane_engine::types::TimestampUs;

fn main() {
    measure::run(&[stepping]);
}

fn stepping(criterion: &mut Criterion) {
    let params = FairParams::new(AUTHORITIES.into(), 1, 64).expect("one of five may lie");
    for m in [20, 100, 1000] {
        let appends = jittered(AUTHORITIES, m, JITTER);
        let anchor = Anchor {
            consensus_time: TimestampUs(1_000_000),
            tie_seed: [3; 32],
            appends: &appends,
        };
        operation(criterion, "fair::step", m.into()).bench_function(
            format!("n={AUTHORITIES},m={m}"),
            |bencher| {
                bencher.iter_batched_ref(
                    || FairOrder::new(params),
                    |order| order.step(&anchor),
                    BatchSize::SmallInput,
                );
            },
        );
    }
}

const AUTHORITIES: u8 = 5;
/// Positions that a pair is received late by, at most.
const JITTER: u32 = 4;
