//! Connections that misbehave: half-open ones and slow readers, held for the whole run, and frames above the bound.
//!
//! A thread of its own with blocking connects and short timeouts, so that a node that lets it wait holds up nothing else.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fairlane_client::protocol::{
    FollowTarget, Hello, REQUEST_LEN_MAX, encode_follow, encode_hello, encode_submit,
};
use fairlane_engine::types::{ChainId, RollupId};

use super::{HostileKind, HostileOutcome, HostilePlan};

/// The thread; dropping it ends it.
pub(crate) struct Connections {
    orders: Option<SyncSender<Order>>,
    thread: Option<JoinHandle<Vec<HostileOutcome>>>,
    /// Frames that the thread was too slow for.
    oversize_missed: u64,
    /// What still waits for the thread then is not worth waiting for.
    is_over: Arc<AtomicBool>,
}

/// What the thread is to do.
enum Order {
    /// A frame above the bound.
    Oversize,
    /// An honest envelope that slow readers submit, too.
    Bait(Arc<[u8]>),
}

impl Connections {
    /// Opens what `plan` holds, to `addresses` in turn. Errors: the host refuses a thread.
    pub(crate) fn start(
        plan: &HostilePlan,
        addresses: Vec<SocketAddr>,
        chain_id: ChainId,
        rollup: RollupId,
    ) -> std::io::Result<Self> {
        let (orders, received) = sync_channel(ORDERS_MAX);
        let kinds = plan.kinds();
        let kinds = kinds.filter(|kind| kind.is_held() || *kind == HostileKind::Oversize);
        let outcomes = kinds.map(|kind| (kind, HostileOutcome::new(kind)));
        let is_over = Arc::new(AtomicBool::new(false));
        let mut thread = Thread {
            is_over: is_over.clone(),
            addresses,
            chain_id,
            rollup,
            outcomes: outcomes.collect(),
            held: Vec::new(),
            turn: 0,
            baits: 0,
        };
        let wanted = [HostileKind::HalfOpen, HostileKind::SlowReaders]
            .map(|kind| (kind, plan.amount(kind) as usize));
        let thread = std::thread::Builder::new()
            .name("hostile".to_owned())
            .spawn(move || {
                for (kind, count) in wanted {
                    thread.open(kind, count);
                }
                thread.serve(&received);
                thread.outcomes.into_values().collect()
            })?;
        Ok(Self {
            orders: Some(orders),
            thread: Some(thread),
            oversize_missed: 0,
            is_over,
        })
    }

    /// Sends a frame above the bound soon.
    pub(crate) fn send_oversize(&mut self) {
        let orders = self.orders.as_ref();
        let sent = orders.is_some_and(|orders| orders.try_send(Order::Oversize).is_ok());
        self.oversize_missed += u64::from(!sent);
    }

    /// Gives slow readers an honest envelope to submit; one that they are too slow for is left out.
    pub(crate) fn bait(&self, envelope: &Arc<[u8]>) {
        if let Some(orders) = &self.orders {
            let _ = orders.try_send(Order::Bait(envelope.clone()));
        }
    }

    /// Ends the thread and says what became of its connections.
    pub(crate) fn finish(mut self) -> Vec<HostileOutcome> {
        let mut outcomes = self.join();
        for outcome in &mut outcomes {
            if outcome.kind == HostileKind::Oversize {
                outcome.failed += self.oversize_missed;
            }
        }
        outcomes
    }

    fn join(&mut self) -> Vec<HostileOutcome> {
        self.is_over.store(true, Ordering::Relaxed);
        self.orders = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(outcomes)) => outcomes,
            Some(Err(panic)) if !std::thread::panicking() => std::panic::resume_unwind(panic),
            _ => Vec::new(),
        }
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        self.join();
    }
}

struct Thread {
    is_over: Arc<AtomicBool>,
    addresses: Vec<SocketAddr>,
    chain_id: ChainId,
    rollup: RollupId,
    outcomes: BTreeMap<HostileKind, HostileOutcome>,
    held: Vec<Held>,
    /// Connections opened so far; says which node is next.
    turn: usize,
    baits: u64,
}

/// A connection that is held.
struct Held {
    kind: HostileKind,
    /// `None` once the node has closed it.
    stream: Option<TcpStream>,
    /// What could not be written yet.
    rest: Vec<u8>,
}

impl Thread {
    /// Opens connections that begin a hello and stop, or that ask for everything.
    fn open(&mut self, kind: HostileKind, count: usize) {
        let mut opening = self.hello(true);
        if kind == HostileKind::HalfOpen {
            opening.truncate(opening.len() / 2);
        } else {
            encode_follow(&mut opening, 0, FollowTarget::Rollup(self.rollup));
        }
        for _ in 0..count {
            let stream = self.connect(&opening);
            let held = stream.and_then(|stream| stream.set_nonblocking(true).map(|()| stream));
            match held {
                Ok(stream) => {
                    self.outcome(kind).sent += 1;
                    self.held.push(Held {
                        kind,
                        stream: Some(stream),
                        rest: Vec::new(),
                    });
                }
                Err(_) => self.outcome(kind).failed += 1,
            }
        }
    }

    fn hello(&self, wants_all: bool) -> Vec<u8> {
        let mut frame = Vec::new();
        let hello = Hello {
            chain_id: self.chain_id,
            receipts: wants_all,
            ordered: wants_all,
            settled: wants_all,
            keys: wants_all,
        };
        encode_hello(&mut frame, &hello);
        frame
    }

    fn serve(&mut self, orders: &Receiver<Order>) {
        let mut next_look = Instant::now();
        loop {
            match orders.recv_timeout(LOOK_TIME) {
                Ok(Order::Oversize) if self.is_over.load(Ordering::Relaxed) => {
                    self.outcome(HostileKind::Oversize).failed += 1;
                }
                Ok(Order::Oversize) => self.send_oversize(),
                Ok(Order::Bait(envelope)) => self.feed_readers(&envelope),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if Instant::now() >= next_look {
                next_look = Instant::now() + LOOK_TIME;
                self.look();
            }
        }
        self.look();
    }

    /// Connects to the next node and writes `opening`.
    fn connect(&mut self, opening: &[u8]) -> std::io::Result<TcpStream> {
        let address = self.addresses[self.turn % self.addresses.len()];
        self.turn += 1;
        let mut stream = TcpStream::connect_timeout(&address, WAIT_MAX)?;
        stream.set_write_timeout(Some(WAIT_MAX))?;
        stream.set_read_timeout(Some(WAIT_MAX))?;
        stream.write_all(opening)?;
        Ok(stream)
    }

    fn send_oversize(&mut self) {
        let mut frame = self.hello(false);
        let len = REQUEST_LEN_MAX + 1;
        frame.extend_from_slice(&len.to_be_bytes());
        frame.resize(frame.len() + len as usize, 1);
        let sent = self.connect(&frame);
        let outcome = self.outcome(HostileKind::Oversize);
        match sent {
            Ok(mut stream) => {
                outcome.sent += 1;
                outcome.hung_up += u64::from(is_closed_after_all(&mut stream));
            }
            // Closed while it was written: the node looks at the length first.
            Err(error) if is_hang_up(error.kind()) => {
                outcome.sent += 1;
                outcome.hung_up += 1;
            }
            Err(_) => outcome.failed += 1,
        }
    }

    /// Lets every slow reader submit `envelope`, unless what it wrote before is not taken yet.
    fn feed_readers(&mut self, envelope: &[u8]) {
        let mut frame = Vec::new();
        if encode_submit(&mut frame, self.baits, envelope).is_err() {
            return;
        }
        self.baits += 1;
        for held in &mut self.held {
            if held.kind == HostileKind::SlowReaders && held.rest.is_empty() {
                held.rest.extend_from_slice(&frame);
            }
        }
        self.look();
    }

    /// Writes what is left, and finds out who was hung up on.
    fn look(&mut self) {
        let mut closed = Vec::new();
        for held in &mut self.held {
            let Some(stream) = &mut held.stream else {
                continue;
            };
            let seen = match held.kind {
                // A slow reader must not read; that it was hung up on shows when it writes.
                HostileKind::SlowReaders => write_some(stream, &mut held.rest),
                _ => read_some(stream),
            };
            if seen.is_err_and(|error| error.kind() != ErrorKind::WouldBlock) {
                held.stream = None;
                closed.push(held.kind);
            }
        }
        for kind in closed {
            self.outcome(kind).hung_up += 1;
        }
    }

    fn outcome(&mut self, kind: HostileKind) -> &mut HostileOutcome {
        let outcome = self.outcomes.entry(kind);
        outcome.or_insert_with(|| HostileOutcome::new(kind))
    }
}

fn write_some(stream: &mut TcpStream, rest: &mut Vec<u8>) -> std::io::Result<()> {
    while !rest.is_empty() {
        let len = stream.write(rest)?;
        rest.drain(..len);
    }
    Ok(())
}

fn read_some(stream: &mut TcpStream) -> std::io::Result<()> {
    match stream.read(&mut [0; 256])? {
        0 => Err(ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// Reads what the node still says; whether it closes in time.
fn is_closed_after_all(stream: &mut TcpStream) -> bool {
    // A node that writes on and on is no reason to wait for longer.
    let until = Instant::now() + WAIT_MAX;
    loop {
        match stream.read(&mut [0; 1024]) {
            Ok(0) => return true,
            Ok(_) if Instant::now() >= until => return false,
            Ok(_) => {}
            Err(error) => return is_hang_up(error.kind()),
        }
    }
}

const fn is_hang_up(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted
    )
}

/// Orders that wait for the thread.
const ORDERS_MAX: usize = 1_024;
/// Between two looks at what is held.
const LOOK_TIME: Duration = Duration::from_millis(20);
/// For a node to take a connection, or to close one.
const WAIT_MAX: Duration = Duration::from_secs(1);
