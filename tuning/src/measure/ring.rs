//! How long a message takes through a lock-free ring between two processors that both spin: half of there and back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{Collected, Times, join, pin};

pub(super) fn hop(first: usize, second: usize, time: Duration) -> Result<Times, String> {
    let (mut there, mut echo_in) = rtrb::RingBuffer::<u64>::new(RING);
    let (mut echo_out, mut back) = rtrb::RingBuffer::<u64>::new(RING);
    let is_over = AtomicBool::new(false);
    let time = time.min(SPIN_MAX);
    std::thread::scope(|scope| {
        let is_over = &is_over;
        let echo = scope.spawn(move || {
            let pinned = pin(second);
            while !is_over.load(Ordering::Relaxed) && !echo_in.is_abandoned() {
                match echo_in.pop() {
                    // One message is on its way at a time, so there is room.
                    Ok(message) => echo_out.push(message).expect("the ring is empty"),
                    Err(_) => std::hint::spin_loop(),
                }
            }
            pinned
        });
        let asking = scope.spawn(move || {
            let pinned = pin(first);
            let mut times = Collected::new();
            let end = Instant::now() + time;
            let mut start = Instant::now();
            while start < end {
                there.push(0).expect("the ring is empty");
                while back.pop().is_err() {
                    if back.is_abandoned() {
                        return Err("the other thread has ended".to_owned());
                    }
                    std::hint::spin_loop();
                }
                let now = Instant::now();
                times.record((now - start) / 2);
                start = now;
            }
            is_over.store(true, Ordering::Relaxed);
            pinned.and_then(|()| times.finish())
        });
        let times = join(asking);
        join(echo)?;
        times
    })
}

const RING: usize = 8;
/// Two spinning threads take two processors from everybody else.
const SPIN_MAX: Duration = Duration::from_secs(1);
