//! Ending a poll from another thread, and sleeping when there is nothing to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::Open;
use super::host::{Host, PATIENCE};

pub(crate) fn a_wake_ends_a_parked_poll(open: Open) {
    let mut host = Host::new(open);
    for round in 1..=5 {
        let waker = host.waker();
        let thread = thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            waker.wake();
        });
        let start = Instant::now();
        while host.woken < round {
            assert!(start.elapsed() < PATIENCE);
            host.poll(PATIENCE * 2);
        }
        thread.join().unwrap();
    }
    assert_eq!(host.woken, 5);
}

pub(crate) fn a_wake_before_the_poll_is_not_lost(open: Open) {
    let mut host = Host::new(open);
    host.waker().wake();
    host.waker().clone().wake();
    host.poll(PATIENCE * 2);
    assert_eq!(
        host.woken, 1,
        "several wakes between two polls are one event"
    );
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(100) {
        host.poll(Duration::from_millis(50));
    }
    assert_eq!(host.woken, 1, "a wake is told once");
}

pub(crate) fn every_handover_from_another_thread_is_seen(open: Open) {
    const HANDOVERS: u64 = 5_000;
    let mut host = Host::new(open);
    let (given, taken) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let thread = {
        let (waker, given, taken) = (host.waker(), Arc::clone(&given), Arc::clone(&taken));
        thread::spawn(move || {
            // One at a time, so that a single lost wake leaves the poller asleep.
            for value in 1..=HANDOVERS {
                given.store(value, Ordering::Release);
                waker.wake();
                while taken.load(Ordering::Acquire) < value {
                    thread::yield_now();
                }
            }
        })
    };
    let start = Instant::now();
    while taken.load(Ordering::Relaxed) < HANDOVERS {
        taken.store(given.load(Ordering::Acquire), Ordering::Release);
        if given.load(Ordering::Acquire) < HANDOVERS {
            host.poll(PATIENCE * 2);
        }
        assert!(start.elapsed() < PATIENCE, "a wake was lost");
    }
    thread.join().unwrap();
}

pub(crate) fn an_idle_poll_sleeps(open: Open) {
    let mut host = Host::new(open);
    assert_sleeps(&mut host);
}

pub(crate) fn a_connected_but_silent_poll_sleeps(open: Open) {
    let mut host = Host::new(open);
    let _clients: Vec<_> = (0..50).map(|_| host.client()).collect();
    host.waker().wake();
    host.poll(Duration::ZERO);
    assert_sleeps(&mut host);
}

/// Half a second of polling takes half a second and next to no processor time.
pub(crate) fn assert_sleeps(host: &mut Host) {
    let (start, cpu_start) = (Instant::now(), thread_cpu());
    let mut polls = 0;
    while start.elapsed() < Duration::from_millis(500) {
        host.poll(Duration::from_millis(50));
        polls += 1;
    }
    assert!(polls <= 15, "{polls} polls in the time of ten");
    let used = thread_cpu() - cpu_start;
    assert!(
        used < Duration::from_millis(50),
        "{used:?} of processor time"
    );
}

fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
