//! What the settlement ring is good for: batches between two pinned processes through shared memory, beside a Unix socket
//! and a pipe in the same run, and beside what the machine's memory gives.
//!
//! The writer has each batch in a buffer of its own and hands it over: into the ring by one copy, which is what opening a
//! batch into it costs, into the others by `write`. The reader is a process of its own and adds up every word where it lies:
//! in the ring, or in the buffer that `read` filled. Both wait as a node and its worker do, asleep; where `spin` is said,
//! both turn in place instead.
//!
//! Latency is from just before the batch is handed over to just after the reader has its first bytes (ring) or all of them
//! (socket and pipe: a batch that has not wholly come cannot be read), one batch at a time, 200 us apart.

mod link;
mod reader;

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Serialize;

pub use reader::read_for_writer;

use link::{Order, Peer, Said, Transport, Wait, Writer};

/// What is run.
#[derive(Clone, Copy, Debug)]
pub struct RingPlan {
    /// Cores of the writer and of the reader.
    pub cores: [usize; 2],
    /// How long each throughput is measured.
    pub time: Duration,
    /// Bytes of records in the ring.
    pub ring_bytes: u64,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct RingReport {
    /// Bytes of records in the ring.
    pub ring_bytes: u64,
    /// By size of the batches.
    pub sizes: Vec<OfSize>,
}

/// Figures of batches of one size.
#[derive(Clone, Debug, Serialize)]
pub struct OfSize {
    /// Bytes of a batch.
    pub size: usize,
    /// Copying it from a buffer on and on through as much memory as the ring has, GB a second (10^9 bytes).
    pub memcpy_gb_s: f64,
    /// The ring, the ring with both ends spinning, a Unix socket, a pipe.
    pub ways: Vec<OfWay>,
}

/// Figures of one way to hand batches over.
#[derive(Clone, Debug, Serialize)]
pub struct OfWay {
    /// Its name.
    pub way: String,
    /// Batches a second.
    pub batches_s: f64,
    /// GB a second.
    pub gb_s: f64,
    /// Of the bandwidth of memcpy.
    pub of_memcpy: f64,
    /// One way, nanoseconds.
    pub p50_ns: u64,
    /// One way, nanoseconds.
    pub p99_ns: u64,
}

/// Runs it, reader and all. Errors: the system refuses, or the reader got something else than was sent.
pub fn run(plan: &RingPlan) -> anyhow::Result<RingReport> {
    fairlane_net::node::pin(plan.cores[0]);
    let mut peer = Peer::start(plan.cores[1], plan.ring_bytes)?;
    let mut sizes = Vec::new();
    for size in SIZES {
        let memcpy_gb_s = memcpy(size, plan.ring_bytes as usize, plan.time);
        let mut ways = Vec::new();
        for (transport, wait) in WAYS {
            let (batches, took) = throughput(&mut peer, transport, wait, size, plan.time)?;
            let latency = latency(&mut peer, transport, wait, size)?;
            let gb_s = batches as f64 * size as f64 / took.as_secs_f64() / 1e9;
            ways.push(OfWay {
                way: format!("{transport}{wait}"),
                batches_s: batches as f64 / took.as_secs_f64(),
                gb_s,
                of_memcpy: gb_s / memcpy_gb_s,
                p50_ns: latency.p50_ns,
                p99_ns: latency.p99_ns,
            });
        }
        sizes.push(OfSize {
            size,
            memcpy_gb_s,
            ways,
        });
    }
    peer.stop()?;
    Ok(RingReport {
        ring_bytes: plan.ring_bytes,
        sizes,
    })
}

fn throughput(
    peer: &mut Peer,
    transport: Transport,
    wait: Wait,
    size: usize,
    time: Duration,
) -> anyhow::Result<(u64, Duration)> {
    let mut writer = peer.begin(Order {
        transport,
        wait,
        size,
    })?;
    let mut batch = filled(size);
    // Until memory is there and everybody awake.
    let warm_until = Instant::now() + time / 5;
    let mut sum = 0u64;
    let mut send = |writer: &mut Writer<'_>, word: u64| {
        batch[8..16].copy_from_slice(&word.to_ne_bytes());
        sum = sum.wrapping_add(word);
        writer.send(&mut batch, 1)
    };
    let mut word = 0;
    while Instant::now() < warm_until {
        word += 1;
        send(&mut writer, word)?;
    }
    let (start, first) = (Instant::now(), word);
    // One look at the clock for some: it would show in the smallest.
    while start.elapsed() < time {
        for _ in 0..LOOK_EVERY {
            word += 1;
            send(&mut writer, word)?;
        }
    }
    let said = writer.finish(size)?;
    let took = start.elapsed();
    let expected = sum.wrapping_add(word.wrapping_mul(rest_sum(size)));
    anyhow::ensure!(
        said.count == word && said.sum == expected,
        "the reader got {} batches of {word}, or other bytes",
        said.count
    );
    Ok((word - first, took))
}

fn latency(peer: &mut Peer, transport: Transport, wait: Wait, size: usize) -> anyhow::Result<Said> {
    let mut writer = peer.begin(Order {
        transport,
        wait,
        size,
    })?;
    let mut batch = filled(size);
    for _ in 0..LATENCIES {
        // Asleep as whoever waits for an anchor, not turning on the reader's core.
        std::thread::sleep(BETWEEN);
        let now = link::now_ns();
        writer.send(&mut batch, now)?;
    }
    writer.finish(size)
}

/// Copies one buffer on and on through `span` bytes; GB a second.
fn memcpy(size: usize, span: usize, time: Duration) -> f64 {
    let from = filled(size);
    let mut to = vec![1u8; span.max(size)];
    let (start, mut copies, mut at) = (Instant::now(), 0u64, 0);
    while start.elapsed() < time {
        for _ in 0..LOOK_EVERY {
            if at + size > to.len() {
                at = 0;
            }
            to[at..at + size].copy_from_slice(std::hint::black_box(&from));
            at += size;
        }
        copies += LOOK_EVERY;
    }
    let took = start.elapsed();
    std::hint::black_box(&to);
    copies as f64 * size as f64 / took.as_secs_f64() / 1e9
}

fn filled(size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    for (index, word) in bytes.chunks_exact_mut(8).enumerate().skip(2) {
        word.copy_from_slice(&(index as u64).to_ne_bytes());
    }
    bytes
}

/// What the words of a batch add up to that are the same in all.
fn rest_sum(size: usize) -> u64 {
    (2..size as u64 / 8).sum()
}

impl fmt::Display for RingReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "ring of {} MiB", self.ring_bytes >> 20)?;
        for of in &self.sizes {
            writeln!(
                f,
                "\n{:>7} KiB      batches/s      GB/s  of memcpy   one way p50       p99, us      (memcpy {:.1} GB/s)",
                of.size >> 10,
                of.memcpy_gb_s
            )?;
            for way in &of.ways {
                writeln!(
                    f,
                    "{:<13} {:>12.0}  {:>8.2}  {:>9.2}  {:>12.2}  {:>8.2}",
                    way.way,
                    way.batches_s,
                    way.gb_s,
                    way.of_memcpy,
                    way.p50_ns as f64 / 1e3,
                    way.p99_ns as f64 / 1e3,
                )?;
            }
        }
        Ok(())
    }
}

/// Reads a plan's cores. Errors: not two numbers.
pub fn parse_cores(text: &str) -> anyhow::Result<[usize; 2]> {
    let parse = || {
        let (writer, reader) = text.split_once(',')?;
        Some([writer.trim().parse().ok()?, reader.trim().parse().ok()?])
    };
    parse().with_context(|| format!("{text:?} names no two cores: give them like 0,1"))
}

const SIZES: [usize; 3] = [1 << 10, 64 << 10, 1 << 20];
const WAYS: [(Transport, Wait); 4] = [
    (Transport::Ring, Wait::Asleep),
    (Transport::Ring, Wait::Spin),
    (Transport::Socket, Wait::Asleep),
    (Transport::Pipe, Wait::Asleep),
];
const LOOK_EVERY: u64 = 8;
const LATENCIES: usize = 2_000;
const BETWEEN: Duration = Duration::from_micros(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_read_as_written() {
        assert_eq!(parse_cores("0,1").unwrap(), [0, 1]);
        assert!(parse_cores("0").is_err() && parse_cores("a,b").is_err());
    }

    #[test]
    fn the_sum_of_a_batch_is_that_of_its_words() {
        let batch = filled(1 << 10);
        let words = batch.chunks_exact(8).skip(2);
        let sum: u64 = words
            .map(|word| u64::from_ne_bytes(word.try_into().unwrap_or_default()))
            .sum();
        assert_eq!(sum, rest_sum(1 << 10));
    }
}
