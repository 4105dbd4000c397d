//! The whole core with verified vertices, and the committer alone.

use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, SamplingMode};
use fairlane_bench::core_run::CoreRun;
use fairlane_bench::measure::{self, operation};
use fairlane_bench::vertices::FullDag;
use fairlane_engine::commit::Committer;
use fairlane_engine::dag::Dag;

fn main() {
    measure::run(&[vertices, advancing]);
}

/// Everything that a core does with [`ROUNDS`] rounds of verified vertices of all others, from acceptance over commit and fair
/// order to opened (open) batches, its own vertices included: throughput is others' vertices.
fn vertices(criterion: &mut Criterion) {
    for n in [4, 10, 50] {
        let run = CoreRun::new(n, ROUNDS, ENTRIES);
        let mut group = operation(criterion, "core::vertices", run.vertices());
        group.sampling_mode(SamplingMode::Flat);
        group.bench_function(format!("n={n}"), |bencher| {
            bencher.iter_batched_ref(
                || run.engine(),
                |engine| run.play(engine),
                BatchSize::PerIteration,
            );
        });
    }
}

/// What the committer costs a round of a full DAG when it is asked at every vertex: throughput is rounds. The store's
/// part is not counted.
fn advancing(criterion: &mut Criterion) {
    for n in [4, 10, 50] {
        let full = FullDag::new(n, ROUNDS, 1);
        let mut group = operation(criterion, "commit::advance_round", 1);
        group.bench_function(format!("n={n}"), |bencher| {
            bencher.iter_custom(|rounds| {
                let mut spent = Duration::ZERO;
                let mut left = rounds;
                while left > 0 {
                    let played = left.min(ROUNDS);
                    spent += advance(&full, played * u64::from(n));
                    left -= played;
                }
                spent
            });
        });
    }
}

/// The time in the committer for the first `vertices` of `full`.
fn advance(full: &FullDag, vertices: u64) -> Duration {
    let mut dag = Dag::new(full.committee.clone());
    let mut committer = Committer::new(&full.committee);
    let mut spent = Duration::ZERO;
    for vertex in full.vertices.iter().take(vertices as usize) {
        dag.insert(vertex.clone());
        let start = Instant::now();
        let output = committer.advance(&dag);
        spent += start.elapsed();
        drop(output);
        dag.raise_floor(committer.floor());
    }
    spent
}

/// Enough that the first rounds, in which nothing commits, do not show.
const ROUNDS: u64 = 128;
/// New envelopes a round, each listed by everybody: at 2 ms a round, 10,000 a second.
const ENTRIES: u64 = 20;
