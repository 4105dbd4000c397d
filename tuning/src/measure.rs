//! What this machine can do, measured: the waits and costs that a node's latency is made of.
//!
//! Every probe runs for its share of the time it is given and no longer, on processors that are named, as an ordinary
//! thread like the node's; probes that spin do so for a tenth of a second to a few seconds. What else runs meanwhile is
//! in the figures: that is what a node meets there, too.
//!
//! Departs from cyclictest and sysjitter in one thing: nothing runs with real-time priority, as no thread of a node does.

use std::path::Path;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Serialize, Serializer};

mod cost;
mod disk;
mod jitter;
mod loopback;
mod ring;
mod wake;

pub use jitter::{BUCKETS_US, CoreJitter};

/// What to measure, and where.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// How long all of it may take, about.
    pub time: Duration,
    /// The processors: the first two talk to each other, the jitter is taken on all of them.
    pub cpus: &'a [usize],
    /// The load before it began.
    pub load_before: Option<f64>,
    /// The folder whose disk is measured.
    pub folder: &'a Path,
}

/// One probe's figures, or why it could not be run.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// Its name.
    pub name: &'static str,
    /// What was timed.
    pub what: &'static str,
    /// The figures.
    #[serde(serialize_with = "or_failed")]
    pub times: Result<Times, String>,
    /// The same on a quiet machine, where it is known.
    pub reference: Option<Reference>,
}

/// A distribution of times, nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Times {
    /// How many were taken.
    pub count: u64,
    /// Median.
    pub p50_ns: u64,
    /// 99 of 100 were at most this.
    pub p99_ns: u64,
    /// 999 of 1,000 were at most this.
    pub p999_ns: u64,
    /// The longest.
    pub max_ns: u64,
}

/// Figures of another machine, to hold one's own against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Reference {
    /// Median.
    pub p50_ns: u64,
    /// 99 of 100, where it is known.
    pub p99_ns: Option<u64>,
}

/// Everything that was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The processors that talked to each other.
    pub pair: Vec<usize>,
    /// Threads that ran or wanted to, on average over the minute before (`/proc/loadavg`); none when it cannot be read.
    pub load_before: Option<f64>,
    /// Where the disk was measured, and what it is.
    pub folder: String,
    /// The probes, in order.
    pub probes: Vec<Measured>,
    /// Interruptions of a thread that never waits, a processor each.
    pub jitter: Vec<CoreJitter>,
}

/// Runs all probes; `progress` is told the name of each as it starts.
///
/// Panics when the plan names no processor.
pub fn measure(plan: &Plan<'_>, mut progress: impl FnMut(&str)) -> Report {
    let first = *plan.cpus.first().expect("a plan names a processor");
    let second = plan.cpus.get(1).copied();
    let share = |per_mille: u32| plan.time * per_mille / 1000;
    let apart = || second.ok_or_else(|| "needs two processors".to_owned());
    let mut probes = Vec::new();
    let mut run = |name, what, reference, probe: &mut dyn FnMut() -> Result<Times, String>| {
        progress(name);
        probes.push(Measured {
            name,
            what,
            times: probe(),
            reference,
        });
    };
    run(
        "clock",
        "reading the clock, mean of 1,000",
        reference(16, None),
        &mut || cost::clock(first, share(20)),
    );
    run(
        "syscall",
        "a system call that does nothing, mean of 1,000",
        reference(80, None),
        &mut || cost::syscall(first, share(20)),
    );
    run(
        "timer wake-up",
        "late after sleeping until a time, every 1 ms",
        None,
        &mut || wake::timer(first, share(150)),
    );
    run(
        "thread wake-up",
        "from one thread's call to another's waking",
        reference(3_000, None),
        &mut || wake::thread(first, apart()?, share(130)),
    );
    run(
        "ring hop",
        "a message through a ring, both ends spinning",
        reference(163, Some(305)),
        &mut || ring::hop(first, apart()?, share(50)),
    );
    run(
        "loopback, epoll",
        "256 bytes over TCP and back, both ends sleeping",
        None,
        &mut || {
            loopback::round_trips(
                first,
                second.unwrap_or(first),
                share(110),
                loopback::serve_epoll,
            )
        },
    );
    run(
        "loopback, io_uring",
        "the same, the server on io_uring",
        None,
        &mut || {
            loopback::round_trips(
                first,
                second.unwrap_or(first),
                share(110),
                loopback::serve_uring,
            )
        },
    );
    run(
        "fdatasync",
        "4 KiB written over and on the disk",
        reference(111_000, Some(571_000)),
        &mut || disk::sync(first, plan.folder, share(110)),
    );
    progress("jitter");
    let cores = u32::try_from(plan.cpus.len()).unwrap_or(u32::MAX);
    let jitter = (plan.cpus.iter())
        .map(|cpu| jitter::of_core(*cpu, share(300) / cores))
        .collect();
    Report {
        pair: std::iter::once(first).chain(second).collect(),
        load_before: plan.load_before,
        folder: format!("{} ({})", plan.folder.display(), disk::kind_of(plan.folder)),
        probes,
        jitter,
    }
}

/// Where the references are from: our own figures of a quiet machine, taken by the same methods (median of several runs).
pub const REFERENCE_SOURCE: &str = "a quiet virtual machine with 2 processors, Linux 6.18, that polls before it halts \
    (halt-poll; without it a thread's wake-up took 40 us there), virtio disk behind a host's cache";

const fn reference(p50_ns: u64, p99_ns: Option<u64>) -> Option<Reference> {
    Some(Reference { p50_ns, p99_ns })
}

/// The figures themselves, or `{"failed": why}`.
fn or_failed<T: Serialize, S: Serializer>(
    result: &Result<T, String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Failed<'a> {
        failed: &'a str,
    }
    match result {
        Ok(value) => value.serialize(serializer),
        Err(failed) => Failed { failed }.serialize(serializer),
    }
}

/// Collects times.
struct Collected(Histogram<u64>);

impl Collected {
    fn new() -> Self {
        // 1 ns to 100 s with three digits.
        Self(Histogram::new_with_bounds(1, 100_000_000_000, 3).expect("these bounds are in order"))
    }

    fn record(&mut self, time: Duration) {
        self.0
            .saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(1));
    }

    fn finish(&self) -> Result<Times, String> {
        if self.0.is_empty() {
            return Err(
                "nothing was measured in its share of the time; give more --seconds".to_owned(),
            );
        }
        Ok(Times {
            count: self.0.len(),
            p50_ns: self.0.value_at_quantile(0.5),
            p99_ns: self.0.value_at_quantile(0.99),
            p999_ns: self.0.value_at_quantile(0.999),
            max_ns: self.0.max(),
        })
    }
}

/// Pins the calling thread.
fn pin(cpu: usize) -> Result<(), String> {
    let mut set = rustix::thread::CpuSet::new();
    if cpu >= rustix::thread::CpuSet::MAX_CPU {
        return Err(format!("processor {cpu} is above what can be pinned to"));
    }
    set.set(cpu);
    rustix::thread::sched_setaffinity(None, &set)
        .map_err(|errno| format!("cannot run on processor {cpu}: {errno}"))
}

/// Runs `body` on a thread of its own on that processor, and waits for it.
fn on<T: Send>(cpu: usize, body: impl FnOnce() -> Result<T, String> + Send) -> Result<T, String> {
    std::thread::scope(|scope| join(scope.spawn(|| pin(cpu).and_then(|()| body()))))
}

/// What a thread ended with; a panic in it goes on here.
fn join<T>(thread: std::thread::ScopedJoinHandle<'_, T>) -> T {
    match thread.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}
