//! A message over TCP to a server on this machine and back: the server on epoll (mio) or on io_uring.
//!
//! Both ends sleep while they wait, as a client and a node do; so a round trip has two wake-ups in it. The io_uring
//! server arms one receive and one send at a time through compio-driver, which owns the buffers while the kernel has
//! them; the node's own backend arms receives that stay (multishot), so this is the slower use of the two.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use compio_driver::op::{Recv, Send};
use compio_driver::{DriverType, Key, OpCode, Proactor, PushEntry, SharedFd};

use super::{Collected, Times, join, on, pin};

/// Serves one connection until the other end closes it.
type Server = fn(TcpStream) -> Result<(), String>;

pub(super) fn round_trips(
    client: usize,
    server: usize,
    time: Duration,
    serve: Server,
) -> Result<Times, String> {
    // Both ends are there before a thread is: whichever gives up, the other one sees its end close.
    let (asking, served) = connected().map_err(|error| said("connecting", &error))?;
    std::thread::scope(|scope| {
        let serving = scope.spawn(move || {
            pin(server)?;
            serve(served)
        });
        let times = on(client, || {
            ask(asking, time)
                .map_err(|error| said("asking", &error))?
                .finish()
        });
        // The server's own trouble explains the client's.
        join(serving)?;
        times
    })
}

fn connected() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let asking = TcpStream::connect(listener.local_addr()?)?;
    let (served, _) = listener.accept()?;
    for stream in [&asking, &served] {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
    }
    Ok((asking, served))
}

fn ask(mut stream: TcpStream, time: Duration) -> io::Result<Collected> {
    let mut times = Collected::new();
    let mut message = [7; MESSAGE_LEN];
    let end = Instant::now() + time;
    let mut start = Instant::now();
    while start < end {
        stream.write_all(&message)?;
        stream.read_exact(&mut message)?;
        let now = Instant::now();
        times.record(now - start);
        start = now;
    }
    Ok(times)
}

pub(super) fn serve_epoll(stream: TcpStream) -> Result<(), String> {
    echo_epoll(stream).map_err(|error| said("epoll", &error))
}

fn echo_epoll(stream: TcpStream) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    let mut stream = mio::net::TcpStream::from_std(stream);
    let mut poll = mio::Poll::new()?;
    let mut events = mio::Events::with_capacity(8);
    (poll.registry()).register(&mut stream, mio::Token(0), mio::Interest::READABLE)?;
    let mut buffer = [0; MESSAGE_LEN];
    loop {
        poll.poll(&mut events, Some(PATIENCE))?;
        if events.is_empty() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => return Ok(()),
                // So little always fits into the socket's buffer.
                Ok(length) => stream.write_all(&buffer[..length])?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
    }
}

pub(super) fn serve_uring(stream: TcpStream) -> Result<(), String> {
    let ring = Proactor::builder()
        .capacity(8)
        .driver_type(DriverType::IoUring)
        .build();
    let mut ring = ring.map_err(|error| said("io_uring", &error))?;
    echo_uring(&mut ring, stream).map_err(|error| said("io_uring", &error))
}

fn echo_uring(ring: &mut Proactor, stream: TcpStream) -> io::Result<()> {
    let socket = SharedFd::new(OwnedFd::from(stream));
    loop {
        let received = finish(ring, Recv::new(socket.clone(), [0_u8; MESSAGE_LEN], 0))?;
        if received == 0 {
            return Ok(());
        }
        let mut left = received;
        while left > 0 {
            // What was received does not matter to the time; its length does.
            left -= finish(ring, Send::new(socket.clone(), vec![7_u8; left], 0))?;
        }
    }
}

/// Submits one operation and sleeps until it is done.
fn finish<T: OpCode + 'static>(ring: &mut Proactor, operation: T) -> io::Result<usize> {
    let mut key: Key<T> = match ring.push(operation) {
        PushEntry::Ready(result) => return result.0,
        PushEntry::Pending(key) => key,
    };
    loop {
        ring.poll(Some(PATIENCE))?;
        key = match ring.pop(key) {
            PushEntry::Ready(result) => return result.0,
            PushEntry::Pending(key) => key,
        };
    }
}

fn said(what: &str, error: &io::Error) -> String {
    format!("{what}: {error}")
}

const MESSAGE_LEN: usize = 256;
/// For an answer; a probe that hangs ends with an error.
const PATIENCE: Duration = Duration::from_secs(2);
