//! The node's side: a thread that accepts, and one for each worker that pumps its ring into its socket.
//!
//! A stranger must not keep a worker out: while all places are taken who comes takes that of a handshake under way, the
//! oldest of the address that has most of them, since an honest one is over in a round trip. Who has shown that it is a worker
//! keeps its place.

use std::io::{self, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, recv};

use super::super::attach::{Attacher, Connection, Seat, WORKERS_MAX};
use super::super::handshake::{Answer, Hello};
use super::handshake::WorkerKeys;
use super::{
    ALIVE_EVERY, Cause, FRAME_HEAD_LEN, HANDSHAKE_TIME_MAX, KIND_ALIVE, KIND_BATCH,
    KIND_CERTIFICATE, REMOTE_CONNECTIONS_MAX, RemoteCounts, SILENCE_TIME_MAX, WRITE_TIME_MAX,
};
use crate::ring::{Consumer, RecordKind, RingRecord};
use crate::session::handshake::NONCE_LEN;
use crate::session::records::Session;

/// Listens for remote workers; dropping it hangs up on them.
#[derive(Debug)]
pub(in crate::settle) struct RemoteServer {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl RemoteServer {
    /// Starts to listen. Errors: the address is in use, or the system refuses.
    pub(in crate::settle) fn start(
        address: SocketAddr,
        keys: WorkerKeys,
        attacher: Arc<Attacher>,
        counts: Arc<RemoteCounts>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let shared = Arc::new(Shared {
            keys,
            attacher,
            counts,
            stop: Arc::clone(&stop),
        });
        let thread = std::thread::Builder::new()
            .name("settle-tcp".into())
            .spawn(move || accept(&listener, &shared))?;
        Ok(Self {
            address,
            stop,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub(in crate::settle) const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for RemoteServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // It waits in accept: a connection of our own ends that. Without one it ends with the process.
        let woken = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        if let Some(thread) = self.thread.take().filter(|_| woken.is_ok()) {
            let _ = thread.join();
        }
    }
}

struct Shared {
    keys: WorkerKeys,
    attacher: Arc<Attacher>,
    counts: Arc<RemoteCounts>,
    stop: Arc<AtomicBool>,
}

/// A connection's thread, and its socket to be hung up on.
struct Served {
    thread: JoinHandle<()>,
    socket: TcpStream,
    address: IpAddr,
    place: Arc<Place>,
}

/// What the threads know of a connection's place.
#[derive(Default)]
struct Place {
    /// Its worker has shown itself.
    is_kept: AtomicBool,
    /// Somebody else has it.
    is_lost: AtomicBool,
}

impl Served {
    /// Hangs up on it, and waits for its thread, which then has nothing to wait for.
    fn end(self) {
        let _ = self.socket.shutdown(Shutdown::Both);
        let _ = self.thread.join();
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut served: Vec<Served> = Vec::new();
    loop {
        let accepted = listener.accept();
        if shared.stop.load(Ordering::Acquire) {
            break;
        }
        served.retain(|one| !one.thread.is_finished());
        let Ok((stream, from)) = accepted else {
            // Too many open files, as a rule: without a pause this would spin.
            std::thread::sleep(RETRY_AFTER);
            continue;
        };
        if served.len() == REMOTE_CONNECTIONS_MAX {
            let handshakes = served.iter().enumerate();
            let handshakes =
                handshakes.filter(|(_, one)| !one.place.is_kept.load(Ordering::Acquire));
            let Some(oldest) = to_displace(handshakes.map(|(at, one)| (at, one.address))) else {
                shared.counts.add(Cause::Crowded);
                continue;
            };
            let displaced = served.remove(oldest);
            displaced.place.is_lost.store(true, Ordering::Release);
            displaced.end();
        }
        let (Ok(socket), Ok(held)) = (stream.try_clone(), stream.try_clone()) else {
            continue;
        };
        let own = Arc::clone(shared);
        let place = Arc::<Place>::default();
        let held_place = Arc::clone(&place);
        let spawned = std::thread::Builder::new()
            .name("settle-worker".into())
            .spawn(move || {
                if let Err(cause) = serve(stream, &own, &held_place.is_kept) {
                    let is_lost = held_place.is_lost.load(Ordering::Acquire);
                    own.counts.add(if is_lost { Cause::Crowded } else { cause });
                }
                // Others hold the connection, too: without this the other end would not learn that it is over.
                let _ = held.shutdown(Shutdown::Both);
            });
        if let Ok(thread) = spawned {
            served.push(Served {
                thread,
                socket,
                address: from.ip(),
                place,
            });
        }
    }
    for one in &served {
        let _ = one.socket.shutdown(Shutdown::Both);
    }
    served.into_iter().for_each(Served::end);
}

/// Of handshakes under way, oldest first, the one to give way: the first of the address that has most.
fn to_displace(handshakes: impl Iterator<Item = (usize, IpAddr)> + Clone) -> Option<usize> {
    let of = |address| handshakes.clone().filter(move |(_, one)| *one == address);
    // The first of equals is the oldest.
    let most = handshakes
        .clone()
        .map(|(_, address)| of(address).count())
        .max()?;
    let mut candidates = handshakes.clone();
    candidates
        .find(|(_, address)| of(*address).count() == most)
        .map(|(at, _)| at)
}

/// One connection to its end. Errors: why it came to nothing, if it did.
fn serve(mut stream: TcpStream, shared: &Shared, is_kept: &AtomicBool) -> Result<(), Cause> {
    let until = Instant::now() + HANDSHAKE_TIME_MAX;
    let prepared = stream
        .set_nodelay(true)
        .and_then(|()| stream.set_write_timeout(Some(WRITE_TIME_MAX)));
    prepared.map_err(|_| Cause::Silent)?;
    let mut nonce = [0; NONCE_LEN];
    getrandom::fill(&mut nonce).map_err(|_| Cause::Silent)?;
    let (session, hello, seat) = shared.keys.accept(&mut stream, &nonce, until, |hello| {
        match shared.attacher.judge(hello) {
            Answer::Welcome => match shared.attacher.try_seat() {
                Some(seat) => (Answer::Welcome, Some(seat)),
                None => (Answer::Busy, None),
            },
            answer => (answer, None),
        }
    })?;
    let mut pump = Pump {
        stream,
        session,
        out: Vec::new(),
        settled: 0,
        heard_at: Instant::now(),
        said_at: Instant::now(),
    };
    // Message 1 alone could come from somebody who stole the node's key: a worker shows itself by a record.
    while !pump.hear()? {
        if Instant::now() >= until {
            return Err(Cause::Silent);
        }
        wait(&[pump.stream.as_fd()], Duration::from_millis(100)).map_err(|_| Cause::Silent)?;
    }
    is_kept.store(true, Ordering::Release);
    pump.run(shared, &seat, &hello)
}

/// A worker that is taken in.
struct Pump {
    stream: TcpStream,
    session: Session,
    /// Sealed and not written.
    out: Vec<u8>,
    /// What it says is final.
    settled: u64,
    heard_at: Instant,
    said_at: Instant,
}

impl Pump {
    fn run(mut self, shared: &Shared, seat: &Seat, hello: &Hello) -> Result<(), Cause> {
        let held = self.stream.try_clone().map_err(|_| Cause::Silent)?;
        let attached = (shared.attacher).attach(seat, hello, Connection::Tcp(held));
        let fds = attached.ok().flatten().ok_or(Cause::Refused)?;
        let clone = |fd: std::os::fd::BorrowedFd<'_>| fd.try_clone_to_owned();
        let [data, cursor, wake] = fds.as_fds().map(clone);
        let (Ok(data), Ok(cursor), Ok(wake)) = (data, cursor, wake) else {
            return Err(Cause::Refused);
        };
        let consumer = Consumer::attach([data, cursor, wake]);
        let mut consumer = consumer.map_err(|_| Cause::Refused)?;
        shared.counts.add(Cause::Taken);
        drop(fds);
        // What happens from here on is a worker that leaves, not a stranger.
        while !shared.stop.load(Ordering::Acquire) {
            let Ok(has_heard) = self.hear() else {
                break;
            };
            let Ok(has_sent) = self.send_ring(&mut consumer) else {
                break;
            };
            if (has_heard || has_sent) && consumer.advance(self.settled) {
                shared.attacher.wake();
            }
            if self.heard_at.elapsed() > SILENCE_TIME_MAX {
                break;
            }
            if has_sent {
                continue;
            }
            if self.said_at.elapsed() >= ALIVE_EVERY {
                self.seal(KIND_ALIVE, 0, &[]);
                if self.flush().is_err() {
                    break;
                }
            }
            let Ok(is_idle) = consumer.is_idle_after_parking() else {
                break;
            };
            if is_idle {
                let fds = [self.stream.as_fd(), consumer.wake_fd()];
                if wait(&fds, ALIVE_EVERY).is_err() {
                    break;
                }
            }
            consumer.on_wake();
        }
        // Its last count may have come together with its end; the seat's end wakes the core stage.
        let _ = consumer.advance(self.settled);
        Ok(())
    }

    /// Takes in what the worker has said; whether it said anything. Errors: it is gone, or broke the session.
    fn hear(&mut self) -> Result<bool, Cause> {
        let mut has_heard = false;
        let mut bytes = [0; 4096];
        loop {
            let len = match recv(&self.stream, &mut bytes, RecvFlags::DONTWAIT) {
                Ok((_, 0)) => return Err(Cause::Silent),
                Ok((_, len)) => len,
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(has_heard),
                Err(_) => return Err(Cause::Silent),
            };
            let mut input = &bytes[..len];
            while let Some(said) = self.session.open(&mut input).map_err(|_| Cause::Broken)? {
                let said: [u8; 8] = said.try_into().map_err(|_| Cause::Broken)?;
                self.settled = self.settled.max(u64::from_be_bytes(said));
                self.heard_at = Instant::now();
                has_heard = true;
            }
        }
    }

    /// Sends what the ring has, up to a bound; whether there was anything.
    fn send_ring(&mut self, consumer: &mut Consumer) -> Result<bool, Cause> {
        while self.out.len() < WRITE_LEN_MAX {
            let Some(record) = consumer.try_next().map_err(|_| Cause::Broken)? else {
                break;
            };
            let RingRecord { seq, kind, bytes } = record;
            let kind = match kind {
                RecordKind::Batch => KIND_BATCH,
                RecordKind::Certificate => KIND_CERTIFICATE,
            };
            self.seal(kind, seq, bytes);
        }
        let has_any = !self.out.is_empty();
        self.flush()?;
        Ok(has_any)
    }

    fn seal(&mut self, kind: u8, seq: u64, bytes: &[u8]) {
        let mut head = [kind; FRAME_HEAD_LEN];
        head[1..9].copy_from_slice(&seq.to_be_bytes());
        let len = u32::try_from(bytes.len()).expect("a record is at most half a ring of 4 GiB");
        head[9..].copy_from_slice(&len.to_be_bytes());
        self.session.seal(&head, &mut self.out);
        if !bytes.is_empty() {
            self.session.seal(bytes, &mut self.out);
        }
    }

    fn flush(&mut self) -> Result<(), Cause> {
        if self.out.is_empty() {
            return Ok(());
        }
        self.stream
            .write_all(&self.out)
            .map_err(|_| Cause::Silent)?;
        self.out.clear();
        self.said_at = Instant::now();
        Ok(())
    }
}

fn wait(fds: &[std::os::fd::BorrowedFd<'_>], time: Duration) -> io::Result<()> {
    let mut polled: Vec<PollFd<'_>> = (fds.iter())
        .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
        .collect();
    let timeout = Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(time.subsec_nanos()),
    };
    match poll(&mut polled, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

// Who keeps a place has a seat, so some place can always be taken over.
const _: () = assert!(WORKERS_MAX < REMOTE_CONNECTIONS_MAX);
/// Bytes that are sealed before they are written, give or take a batch.
const WRITE_LEN_MAX: usize = 256 << 10;
const RETRY_AFTER: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_gives_way_is_the_oldest_of_the_address_that_has_most() {
        let of = |addresses: &[u8]| {
            let places = addresses.iter().map(|last| IpAddr::from([10, 0, 0, *last]));
            to_displace(places.collect::<Vec<_>>().into_iter().enumerate())
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[1, 2, 3]), Some(0), "each has one");
        assert_eq!(of(&[1, 2, 3, 2]), Some(1));
        assert_eq!(of(&[1, 2, 3, 2, 1, 3, 3]), Some(2));
    }
}
