//! From share messages to an opened batch, through the reveal stage of one authority: the optimistic path and what can make
//! it fail. Decoding what peers send, combining, decrypting and checking are in it; the own shares are made before.

use criterion::{BatchSize, Criterion};
use fairlane_bench::measure::{self, operation};
use fairlane_bench::reveals::{Arriving, Revealing, open};

fn main() {
    measure::run(&[opening]);
}

/// Throughput is sealed entries, so the figures compare with those of `seal`.
fn opening(criterion: &mut Criterion) {
    let (honest, void) = (Revealing::new(ENTRIES), Revealing::with_a_void(ENTRIES));
    for (path, revealing, arriving) in [
        ("optimistic", &honest, Arriving::Honest),
        ("one-bad-message", &honest, Arriving::OneBad),
        ("one-void-entry", &void, Arriving::Honest),
        ("checked-before-use", &honest, Arriving::Checked),
    ] {
        let messages = revealing.messages(arriving);
        let mut buffer = revealing.buffer();
        operation(criterion, "reveal::open", ENTRIES.into()).bench_function(
            format!("n=5,t=4,entries={ENTRIES},path={path}"),
            |bencher| {
                bencher.iter_batched(
                    || (revealing.started(), messages.clone()),
                    |(mut reveal, messages)| {
                        let opened = open(&mut reveal, arriving, messages, &mut buffer);
                        (reveal, opened)
                    },
                    BatchSize::PerIteration,
                );
            },
        );
    }
}

/// Sealed envelopes in the batch.
const ENTRIES: u32 = 512;
