//! What a reading of the clock and a system call cost: batches, as one is shorter than the clock can tell.

use std::hint::black_box;
use std::time::{Duration, Instant};

use super::{Collected, Times, on};

pub(super) fn clock(cpu: usize, time: Duration) -> Result<Times, String> {
    batches(cpu, time, || {
        black_box(Instant::now());
    })
}

pub(super) fn syscall(cpu: usize, time: Duration) -> Result<Times, String> {
    batches(cpu, time, || {
        black_box(rustix::process::getppid());
    })
}

fn batches(
    cpu: usize,
    time: Duration,
    mut operation: impl FnMut() + Send,
) -> Result<Times, String> {
    on(cpu, || {
        let mut times = Collected::new();
        let end = Instant::now() + time;
        while Instant::now() < end {
            let start = Instant::now();
            for _ in 0..BATCH {
                operation();
            }
            times.record(start.elapsed() / BATCH);
        }
        times.finish()
    })
}

const BATCH: u32 = 1000;
