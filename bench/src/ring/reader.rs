//! The reader: a process of its own that does what it is told over its standard input, a socket.

use std::io::{PipeReader, Read, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;

use anyhow::Context as _;
use fairlane_net::ring::{Consumer, receive_fds};
use hdrhistogram::Histogram;
use rustix::event::{PollFd, PollFlags, poll};

use super::link::{ORDER_LEN, Order, Said, Transport, Wait, now_ns, word_at};

/// Reads batches as the process at the other end of standard input orders, until that is gone.
pub fn read_for_writer(core: usize) -> anyhow::Result<()> {
    fairlane_net::node::pin(core);
    let stdin = std::io::stdin().as_fd().try_clone_to_owned()?;
    let mut control = UnixStream::from(stdin);
    let consumer = Consumer::attach(receive::<4>(&control)?)?;
    let [notices, socket, pipe] = receive::<4>(&control)?;
    let mut reader = Reader {
        consumer,
        notices: notices.into(),
        socket: socket.into(),
        pipe: pipe.into(),
        settled: 0,
    };
    let mut bytes = [0; ORDER_LEN];
    while control.read_exact(&mut bytes).is_ok() {
        let order = Order::decode(&bytes);
        control.write_all(&[1])?;
        let said = reader.run(order)?;
        control.write_all(&said.encode())?;
    }
    Ok(())
}

/// Three descriptors and `N` bytes beside them.
fn receive<const N: usize>(control: &UnixStream) -> anyhow::Result<[OwnedFd; 3]> {
    let (_, fds) = receive_fds(control, &mut [0; N])?;
    let fds = fds.try_into().ok();
    fds.context("this is a part of `fairlane-bench ring` and not to be run by itself")
}

struct Reader {
    consumer: Consumer,
    notices: UnixStream,
    socket: UnixStream,
    pipe: PipeReader,
    settled: u64,
}

/// What is known of the batches of a run.
struct Tally {
    said: Said,
    latencies: Histogram<u64>,
}

impl Reader {
    fn run(&mut self, order: Order) -> anyhow::Result<Said> {
        let mut tally = Tally {
            said: Said::default(),
            // Of a fixed size: one that grows on its own does not in `saturating_record`.
            latencies: Histogram::new_with_max(LATENCY_NS_MAX, 3)?,
        };
        match order.transport {
            Transport::Ring => self.run_ring(order.wait, &mut tally)?,
            Transport::Socket => run_stream(&mut self.socket, order.size, &mut tally)?,
            Transport::Pipe => run_stream(&mut self.pipe, order.size, &mut tally)?,
        }
        tally.said.p50_ns = tally.latencies.value_at_quantile(0.5);
        tally.said.p99_ns = tally.latencies.value_at_quantile(0.99);
        Ok(tally.said)
    }

    fn run_ring(&mut self, wait: Wait, tally: &mut Tally) -> anyhow::Result<()> {
        let mut is_over = false;
        while !is_over {
            let mut taken = 0;
            // As much as a worker takes before it gives back.
            while taken < GROUP_LEN_MAX
                && let Some(record) = self.consumer.try_next()?
            {
                taken += record.bytes.len();
                self.settled = record.seq + 1;
                is_over = !tally.add(record.bytes);
            }
            if taken > 0 {
                if self.consumer.advance(self.settled) {
                    self.notices.write_all(&[1])?;
                }
            } else if wait == Wait::Spin {
                std::hint::spin_loop();
            } else {
                if self.consumer.is_idle_after_parking()? {
                    let wake = self.consumer.wake_fd();
                    let mut fds = [PollFd::from_borrowed_fd(wake, PollFlags::IN)];
                    poll(&mut fds, None)?;
                }
                self.consumer.on_wake();
            }
        }
        Ok(())
    }
}

fn run_stream(stream: &mut impl Read, size: usize, tally: &mut Tally) -> anyhow::Result<()> {
    let mut batch = vec![0; size];
    loop {
        stream.read_exact(&mut batch)?;
        if !tally.add(&batch) {
            return Ok(());
        }
    }
}

impl Tally {
    /// Reads every word of a batch; false when it was the last of the run.
    fn add(&mut self, batch: &[u8]) -> bool {
        let sent_ns = word_at(batch, 0);
        if sent_ns == 0 {
            return false;
        }
        if sent_ns > 1 {
            let ns = now_ns().saturating_sub(sent_ns);
            // A clock that was set back meanwhile costs one sample.
            self.latencies.saturating_record(ns.max(1));
        }
        self.said.count += 1;
        let words = batch[8..].chunks_exact(8);
        let sum = words.fold(0u64, |sum, word| sum.wrapping_add(word_at(word, 0)));
        self.said.sum = self.said.sum.wrapping_add(sum);
        true
    }
}

const GROUP_LEN_MAX: usize = 8 << 20;
/// Longest latency that is told apart, 10 s.
const LATENCY_NS_MAX: u64 = 10_000_000_000;
