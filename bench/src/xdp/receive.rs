//! The ways to receive.

use std::io::IoSliceMut;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use fairlane_net::backend::xdp::{Mode, Xdp};
use fairlane_net::backend::{
    self, BackendConfig, BackendKind, DatagramLimits, DatagramSource as _, Event, ListenerTag,
};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, setsockopt, sockopt};
use nix::time::{ClockId, clock_gettime};

use super::Turn;
use super::network::{Network, RECEIVER, RECEIVER_END};

/// A way to receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// recvmmsg of 64, asleep until something is there.
    Recvmmsg,
    /// The same, never asleep.
    RecvmmsgSpin,
    /// The node's backend over io_uring, asleep until something is there.
    Uring,
    /// The same, watching AF_XDP.
    UringXdp,
    /// AF_XDP with poll(2).
    Xdp(Mode),
    /// AF_XDP, never asleep.
    XdpSpin(Mode),
}

impl Way {
    /// In the order in which they take turns; the first is the yardstick.
    pub(super) const ALL: [Self; 8] = [
        Self::Recvmmsg,
        Self::RecvmmsgSpin,
        Self::Uring,
        Self::UringXdp,
        Self::Xdp(Mode::Generic),
        Self::XdpSpin(Mode::Generic),
        Self::Xdp(Mode::Native),
        Self::XdpSpin(Mode::Native),
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Recvmmsg => "recvmmsg",
            Self::RecvmmsgSpin => "recvmmsg, spinning",
            Self::Uring => "io_uring, the node's backend",
            Self::UringXdp => "AF_XDP generic, watched by it",
            Self::Xdp(Mode::Generic) => "AF_XDP generic, poll",
            Self::XdpSpin(Mode::Generic) => "AF_XDP generic, spinning",
            Self::Xdp(Mode::Native) => "AF_XDP native, poll",
            Self::XdpSpin(Mode::Native) => "AF_XDP native, spinning",
        }
    }
}

/// One turn of `way`; the calling thread is the one that receives.
pub(super) fn receive(way: Way, network: &Network, time: Duration) -> anyhow::Result<Turn> {
    let job = Job { network, time };
    match way {
        Way::Recvmmsg => by_recvmmsg(job, MsgFlags::MSG_WAITFORONE),
        Way::RecvmmsgSpin => by_recvmmsg(job, MsgFlags::MSG_DONTWAIT),
        Way::Uring => by_backend(job, false),
        Way::UringXdp => by_backend(job, true),
        Way::Xdp(mode) => by_xdp(job, mode, true),
        Way::XdpSpin(mode) => by_xdp(job, mode, false),
    }
}

fn by_recvmmsg(job: Job<'_>, flags: MsgFlags) -> anyhow::Result<Turn> {
    let socket = socket()?;
    let port = socket.local_addr()?.port();
    let mut headers: MultiHeaders<SockaddrIn> = MultiHeaders::preallocate(BATCH, None);
    let mut buffers = Box::new([[0; 2048]; BATCH]);
    let fd = socket.as_raw_fd();
    let spins = flags.contains(MsgFlags::MSG_DONTWAIT);
    job.run(port, spins, &mut || {
        let mut slices = buffers.each_mut().map(|buffer| [IoSliceMut::new(buffer)]);
        let received = recvmmsg(fd, &mut headers, slices.iter_mut(), flags, None);
        match received {
            Ok(results) => Ok(results.count() as u64),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(0),
            Err(errno) => Err(errno).context("recvmmsg failed"),
        }
    })
}

fn by_backend(job: Job<'_>, has_xdp: bool) -> anyhow::Result<Turn> {
    let mut backend = backend::open(BackendKind::Uring, BackendConfig::default())?;
    let limits = DatagramLimits {
        bytes_max: 2048,
        send_queue_bytes_max: 1 << 20,
        kernel_buffer_bytes: RECEIVE_BUFFER_BYTES,
        gro: false,
    };
    let any = SocketAddr::from((RECEIVER, 0));
    let bound = backend.bind_udp(any, SOCKET, limits)?;
    if has_xdp {
        for queue in Xdp::open(RECEIVER_END, bound, Some(Mode::Generic))?.queues {
            backend.watch_datagrams(SOCKET, Box::new(queue))?;
        }
    }
    job.run(bound.port(), false, &mut || {
        let mut count = 0;
        backend.poll(Some(WAIT), &mut |event| {
            count += u64::from(matches!(event, Event::Datagram { .. }));
        })?;
        Ok(count)
    })
}

fn by_xdp(job: Job<'_>, mode: Mode, sleeps: bool) -> anyhow::Result<Turn> {
    // The kernel's socket, as beside a node.
    let fallback = socket()?;
    let bound = fallback.local_addr()?;
    let mut xdp = Xdp::open(RECEIVER_END, bound, Some(mode))?;
    // A veth pair as made here has one queue.
    let queue = xdp.queues.first_mut().context("no queue was opened")?;
    job.run(bound.port(), !sleeps, &mut || {
        if sleeps {
            queue.wait(WAIT)?;
        }
        let mut count = 0;
        queue.take(BATCH as u32, &mut |_, _| count += 1);
        Ok(count)
    })
}

fn socket() -> anyhow::Result<UdpSocket> {
    let socket = UdpSocket::bind((RECEIVER, 0)).context("cannot bind the receiver's socket")?;
    setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER_BYTES)?;
    socket.set_read_timeout(Some(WAIT))?;
    Ok(socket)
}

/// What is to be received: datagrams for so long.
#[derive(Clone, Copy)]
struct Job<'a> {
    network: &'a Network,
    time: Duration,
}

impl Job<'_> {
    /// Receives at `port` until the sender has done. `turn` receives what is there, waiting for it unless it spins: how many.
    fn run(
        self,
        port: u16,
        spins: bool,
        turn: &mut dyn FnMut() -> anyhow::Result<u64>,
    ) -> anyhow::Result<Turn> {
        let clock = cost_of_clock();
        let before = thread_time()?;
        self.network.start(port, self.time)?;
        let mut received = 0;
        let mut busy = Duration::ZERO;
        let mut looked = Instant::now();
        let sent = loop {
            let began = Instant::now();
            let got = turn()?;
            if got > 0 {
                busy += began.elapsed().saturating_sub(clock);
                received += got;
            } else if looked.elapsed() > ASK_EVERY {
                looked = Instant::now();
                if let Some(sent) = self.network.sent() {
                    break sent?;
                }
            }
        };
        let cost = if spins { busy } else { thread_time()? - before };
        // What was sent last may have come after the last look.
        loop {
            match turn()? {
                0 => break,
                late => received += late,
            }
        }
        anyhow::ensure!(
            received > 0,
            "nothing was received of {sent} datagrams sent"
        );
        Ok(Turn {
            sent,
            received,
            received_per_s: received as f64 / self.time.as_secs_f64(),
            cost_ns: cost.as_nanos() as f64 / received as f64,
        })
    }
}

/// Processor time of the calling thread.
fn thread_time() -> anyhow::Result<Duration> {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
    Ok(Duration::from(time))
}

/// What two readings of the clock add to what lies between them.
fn cost_of_clock() -> Duration {
    let began = Instant::now();
    for _ in 0..CLOCKS {
        std::hint::black_box(Instant::now());
    }
    began.elapsed() / CLOCKS
}

const SOCKET: ListenerTag = ListenerTag(0);
const BATCH: usize = 64;
const CLOCKS: u32 = 10_000;
/// How often the sender is asked whether it has done, when nothing comes.
const ASK_EVERY: Duration = Duration::from_millis(1);
const WAIT: Duration = Duration::from_millis(5);
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;
