//! A peer's vertex, from bytes to verified, and whole DAGs through store and commit rule.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, SamplingMode};
use fairlane_bench::measure::{self, operation};
use fairlane_bench::vertices::FullDag;
use fairlane_engine::commit::Committer;
use fairlane_engine::dag::{Dag, VerifiedVertex, Vertex};

fn main() {
    measure::run(&[verifying, committing]);
}

/// One vertex of round 2, whose parents are real ones: throughput is vertices.
fn verifying(criterion: &mut Criterion) {
    const AUTHORITIES: u8 = 5;
    for entries in [0, 20, 200] {
        let full = FullDag::new(AUTHORITIES, 2, entries);
        let bytes = full.last().bytes();
        operation(criterion, "dag::vertex_verify", 1).bench_function(
            format!("n={AUTHORITIES},entries={entries}"),
            |bencher| {
                bencher.iter_with_large_drop(|| Vertex::verify(black_box(bytes), &full.committee))
            },
        );
    }
}

/// All vertices of [`ROUNDS`] rounds, one by one in order, the commit rule asked after each: throughput is vertices.
fn committing(criterion: &mut Criterion) {
    for n in [4, 10] {
        let full = FullDag::new(n, ROUNDS, ENTRIES);
        let mut group = operation(
            criterion,
            "dag::insert_and_commit",
            full.vertices.len() as u64,
        );
        group.sampling_mode(SamplingMode::Flat);
        group.bench_function(format!("n={n}"), |bencher| {
            bencher.iter_batched_ref(
                || {
                    let dag = Dag::new(full.committee.clone());
                    (dag, Committer::new(&full.committee))
                },
                |(dag, committer)| insert_and_commit(dag, committer, &full.vertices),
                BatchSize::PerIteration,
            );
        });
    }
}

/// As a node does: insert, ask for what is committed, let go of what no later sub-DAG takes in. Gives the commits.
fn insert_and_commit(dag: &mut Dag, committer: &mut Committer, vertices: &[VerifiedVertex]) -> u64 {
    for vertex in vertices {
        dag.insert(vertex.clone());
        for sub_dag in committer.advance(dag) {
            black_box(sub_dag);
            dag.raise_floor(committer.floor());
        }
    }
    committer.counters().commits
}

/// Twice the rounds that are kept behind an anchor, so that half the run prunes as a long one does.
const ROUNDS: u64 = 512;
/// Entries in each vertex.
const ENTRIES: u32 = 4;
