//! How long is measured, and how ids and throughput are stated: the same for every bench.

use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};

/// Runs `benches` with this crate's settings, which the command line may override.
pub fn run(benches: &[fn(&mut Criterion)]) {
    let mut criterion = Criterion::default()
        .sample_size(SAMPLES)
        .warm_up_time(WARM_UP)
        .measurement_time(MEASURED)
        .nresamples(RESAMPLES)
        .without_plots()
        .configure_from_args();
    for bench in benches {
        bench(&mut criterion);
    }
    criterion.final_summary();
}

/// Starts the benches of one `module::operation`, of which one call does `elements` of what it is for.
///
/// What follows is the second half of the id: `key=value`, several of them separated by commas.
pub fn operation<'a>(
    criterion: &'a mut Criterion,
    name: &str,
    elements: u64,
) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(elements));
    group
}

/// Enough for a median and a spread; the whole run stays short.
const SAMPLES: usize = 20;
const WARM_UP: Duration = Duration::from_millis(500);
/// The slowest bench needs most of it for its samples.
const MEASURED: Duration = Duration::from_secs(3);
/// A tenth of the library's: with so few samples, more resampling narrows nothing.
const RESAMPLES: usize = 10_000;
