//! The yardstick: a loop that reads what comes and does nothing with it.

use std::io::{ErrorKind, IoSliceMut, Read as _};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use fairlane_engine::seal::{SealingKey, deal};
use fairlane_engine::types::{ChainId, Epoch, RollupId};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, setsockopt, sockopt};
use nix::time::{ClockId, clock_gettime};

use super::sender::{self, Sent};
use super::{CLIENT_CORE, ENVELOPE_LEN, NODE_CORE, Transport, Turn, on_core, until};

/// What the loop read.
struct Got {
    envelopes: u64,
    cpu: Duration,
    last: Instant,
}

/// One turn of the bare loop.
pub(super) fn turn(transport: Transport, time: Duration) -> anyhow::Result<Turn> {
    let messages = sender::Messages::new(&key()?, RollupId(1), until())?;
    let (say_address, address) = channel();
    let has_sent = AtomicBool::new(false);
    let (got, sent) = std::thread::scope(|scope| -> anyhow::Result<(Got, Sent)> {
        let reading = scope.spawn(|| {
            on_core(NODE_CORE, || match transport {
                Transport::TcpOne | Transport::TcpMany => read_tcp(&say_address),
                Transport::Udp => read_udp(&say_address, &has_sent),
                Transport::UdpTrains => read_trains(&say_address, &has_sent),
            })
        });
        let sent = send(transport, &address, messages, time);
        has_sent.store(true, Ordering::Release);
        let got = reading.join();
        let got = got.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok((got?, sent?))
    })?;
    ensure!(got.envelopes > 0, "the bare loop read nothing");
    let elapsed = got.last.saturating_duration_since(sent.began);
    Ok(Turn {
        envelopes: got.envelopes,
        per_s: got.envelopes as f64 / elapsed.as_secs_f64(),
        cpu_ns: got.cpu.as_nanos() as f64 / got.envelopes as f64,
        lost: sent.count - got.envelopes.min(sent.count),
    })
}

fn send(
    transport: Transport,
    address: &Receiver<std::net::SocketAddr>,
    messages: sender::Messages,
    time: Duration,
) -> anyhow::Result<Sent> {
    let to = address.recv().context("the bare loop did not start")?;
    on_core(CLIENT_CORE, || match transport {
        Transport::TcpOne | Transport::TcpMany => {
            sender::tcp(to, messages, transport.batch(), false, time)
        }
        Transport::Udp | Transport::UdpTrains => sender::udp(to, messages, transport, false, time),
    })
}

fn read_tcp(say: &Sender<std::net::SocketAddr>) -> anyhow::Result<Got> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    say.send(listener.local_addr()?).context("nobody sends")?;
    let (mut stream, _) = listener.accept()?;
    let mut bytes = vec![0; READ_LEN];
    let (mut total, before, mut last) = (0, thread_time()?, Instant::now());
    loop {
        match stream.read(&mut bytes)? {
            0 => break,
            len => total += len as u64,
        }
        last = Instant::now();
    }
    Ok(Got {
        envelopes: total / (ENVELOPE_LEN as u64 + TCP_HEAD_LEN),
        cpu: thread_time()? - before,
        last,
    })
}

fn read_udp(say: &Sender<std::net::SocketAddr>, has_sent: &AtomicBool) -> anyhow::Result<Got> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    setsockopt(&socket, sockopt::RcvBuf, &KERNEL_BYTES)?;
    socket.set_read_timeout(Some(WAIT))?;
    say.send(socket.local_addr()?).context("nobody sends")?;
    let mut headers: MultiHeaders<SockaddrIn> = MultiHeaders::preallocate(BATCH, None);
    let mut buffers = vec![[0; 2048]; BATCH];
    let (mut envelopes, before, mut last) = (0, thread_time()?, Instant::now());
    loop {
        let mut slices: Vec<[IoSliceMut<'_>; 1]> = buffers
            .iter_mut()
            .map(|buffer| [IoSliceMut::new(buffer)])
            .collect();
        let flags = MsgFlags::MSG_WAITFORONE;
        let fd = socket.as_raw_fd();
        match recvmmsg(fd, &mut headers, slices.iter_mut(), flags, None) {
            Ok(results) => {
                envelopes += results.count() as u64;
                last = Instant::now();
            }
            Err(Errno::EAGAIN | Errno::EINTR) if has_sent.load(Ordering::Acquire) => break,
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("recvmmsg failed"),
        }
    }
    Ok(Got {
        envelopes,
        cpu: thread_time()? - before,
        last,
    })
}

/// With UDP_GRO a whole train comes at once.
fn read_trains(say: &Sender<std::net::SocketAddr>, has_sent: &AtomicBool) -> anyhow::Result<Got> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    setsockopt(&socket, sockopt::RcvBuf, &KERNEL_BYTES)?;
    setsockopt(&socket, sockopt::UdpGroSegment, &true)?;
    socket.set_read_timeout(Some(WAIT))?;
    say.send(socket.local_addr()?).context("nobody sends")?;
    let mut bytes = vec![0; READ_LEN];
    let (mut total, before, mut last) = (0, thread_time()?, Instant::now());
    loop {
        match socket.recv(&mut bytes) {
            Ok(len) => {
                total += len as u64;
                last = Instant::now();
            }
            Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error.into()),
            Err(_) if has_sent.load(Ordering::Acquire) => break,
            Err(_) => {}
        }
    }
    Ok(Got {
        envelopes: total / (ENVELOPE_LEN as u64 + UDP_HEAD_LEN),
        cpu: thread_time()? - before,
        last,
    })
}

fn key() -> anyhow::Result<SealingKey> {
    Ok(deal(ChainId(1), Epoch(0), 4, 3, &[1; 32])?.0)
}

/// Processor time of the calling thread.
pub(super) fn thread_time() -> anyhow::Result<Duration> {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
    Ok(Duration::from(time))
}

/// Length, version, kind and tag before an envelope.
const TCP_HEAD_LEN: u64 = 14;
/// Version, kind, token and tag before an envelope.
const UDP_HEAD_LEN: u64 = 18;
const READ_LEN: usize = 64 << 10;
/// As a node asks for.
const KERNEL_BYTES: usize = 4 << 20;
const WAIT: Duration = Duration::from_millis(20);
const BATCH: usize = 64;
