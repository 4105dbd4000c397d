//! What taking in a worker means, whichever way it came: a seat, a ring of its own, and a word to the core stage.
//!
//! Each worker has a ring of its own. One ring with a cursor for each reader would save a copy a batch and further worker, and
//! bind them together: the slowest would hold back all, or be overtaken while it reads in place, which nobody can take
//! back. So a worker that is slow, dead or lying has its own ring to itself, and the others never learn of it.

use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};

use fairlane_engine::types::{ChainId, RollupId};

use super::SettleError;
use super::handshake::{Answer, Hello};
use crate::journal::{BatchLoader, JournalError};
use crate::ring::{self, Producer, RingFds, RingWatch};

/// Workers that a node serves at a time.
pub const WORKERS_MAX: usize = 8;

/// A worker that has come: what the node feeds it through, from batch `settled` on.
#[derive(Debug)]
pub struct Attachment {
    /// The rollup that it settles.
    pub rollup_id: RollupId,
    /// It says that it has every batch below this seq, final or not.
    pub settled: u64,
    /// The node's end of its ring.
    pub producer: Producer,
    /// Tells how far it has settled.
    pub watch: RingWatch,
    /// Reads what it has missed.
    pub loader: BatchLoader,
    /// Whether it is there still.
    pub link: WorkerLink,
}

/// The core stage's hold on a worker's connection.
#[derive(Debug)]
pub struct WorkerLink {
    gone: Arc<AtomicBool>,
    connection: Connection,
}

/// A worker's connection, to be hung up on.
#[derive(Debug)]
pub(super) enum Connection {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl WorkerLink {
    /// Whether the worker is there.
    pub fn is_up(&self) -> bool {
        !self.gone.load(Ordering::Acquire)
    }

    /// Hangs up on it.
    pub fn cut(&self) {
        // One that has hung up itself is cut already.
        let _ = match &self.connection {
            Connection::Unix(socket) => socket.shutdown(Shutdown::Both),
            Connection::Tcp(socket) => socket.shutdown(Shutdown::Both),
        };
    }
}

/// What a worker no longer needs; taking it apart costs the system calls that the core stage does not make.
#[derive(Debug)]
pub(super) struct Retired {
    _producer: Producer,
    _loader: BatchLoader,
}

/// Makes what reads a worker's missed batches.
pub type MakeLoader = Box<dyn Fn() -> Result<BatchLoader, JournalError> + Send + Sync>;

/// Takes workers in.
pub(super) struct Attacher {
    chain_id: ChainId,
    rollups: Vec<RollupId>,
    ring_bytes: u64,
    make_loader: MakeLoader,
    wake: Box<dyn Fn() + Send + Sync>,
    /// Seats taken.
    seated: AtomicUsize,
    /// The journal lacks every batch below this seq.
    absent_below: AtomicU64,
    offers: SyncSender<Attachment>,
    retired: Mutex<Receiver<Retired>>,
}

/// The core stage's end of an [`Attacher`].
#[derive(Debug)]
pub(super) struct Offers {
    pub(super) attachments: Receiver<Attachment>,
    pub(super) retired: SyncSender<Retired>,
}

impl Attacher {
    pub(super) fn new(
        chain_id: ChainId,
        rollups: Vec<RollupId>,
        ring_bytes: u64,
        make_loader: MakeLoader,
        wake: Box<dyn Fn() + Send + Sync>,
    ) -> (Arc<Self>, Offers) {
        let (offers, attachments) = sync_channel(WORKERS_MAX);
        let (retire, retired) = sync_channel(WORKERS_MAX);
        let attacher = Self {
            chain_id,
            rollups,
            ring_bytes,
            make_loader,
            wake,
            seated: AtomicUsize::new(0),
            absent_below: AtomicU64::new(0),
            offers,
            retired: Mutex::new(retired),
        };
        let offers = Offers {
            attachments,
            retired: retire,
        };
        (Arc::new(attacher), offers)
    }

    /// Wakes the core stage.
    pub(super) fn wake(&self) {
        (self.wake)();
    }

    pub(super) fn seated(&self) -> usize {
        self.seated.load(Ordering::Acquire)
    }

    /// Batches below `seq` are not to be had here any more.
    pub(super) fn note_absent_below(&self, seq: u64) {
        self.absent_below.fetch_max(seq, Ordering::AcqRel);
    }

    /// What to answer to a hello, seats aside.
    pub(super) fn judge(&self, hello: &Hello) -> Answer {
        if hello.chain_id != self.chain_id {
            Answer::WrongChain
        } else if !self.rollups.contains(&hello.rollup_id) {
            Answer::UnknownRollup
        } else if hello.settled < self.absent_below.load(Ordering::Acquire) {
            Answer::Behind
        } else {
            Answer::Welcome
        }
    }

    /// A seat; none while all are taken.
    pub(super) fn try_seat(self: &Arc<Self>) -> Option<Seat> {
        let take = |seated| (seated < WORKERS_MAX).then_some(seated + 1);
        let taken = self
            .seated
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, take);
        taken.is_ok().then(|| Seat {
            attacher: Arc::clone(self),
            gone: Arc::new(AtomicBool::new(false)),
        })
    }

    /// Makes a worker's ring and offers it to the core stage; none while that has not come round to those before.
    ///
    /// Errors: the system refuses.
    pub(super) fn attach(
        &self,
        seat: &Seat,
        hello: &Hello,
        connection: Connection,
    ) -> Result<Option<RingFds>, SettleError> {
        self.sweep();
        let (producer, watch, fds) = ring::create(self.ring_bytes, 0)?;
        let attachment = Attachment {
            rollup_id: hello.rollup_id,
            settled: hello.settled,
            producer,
            watch,
            loader: (self.make_loader)()?,
            link: WorkerLink {
                gone: Arc::clone(&seat.gone),
                connection,
            },
        };
        match self.offers.try_send(attachment) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => return Ok(None),
        }
        self.wake();
        Ok(Some(fds))
    }

    /// Takes apart what workers have left.
    pub(super) fn sweep(&self) {
        let retired = match self.retired.lock() {
            Ok(retired) => retired,
            // It holds nothing that a panic could leave half done.
            Err(poisoned) => poisoned.into_inner(),
        };
        retired.try_iter().for_each(drop);
    }
}

impl Offers {
    /// Hands what a worker no longer needs to where it costs nobody.
    pub(super) fn retire(&self, producer: Producer, loader: BatchLoader) {
        let retired = Retired {
            _producer: producer,
            _loader: loader,
        };
        // With so many at once it is done here.
        let _ = self.retired.try_send(retired);
    }
}

/// A worker's place; given back when it is dropped, and the core stage is told.
pub(super) struct Seat {
    attacher: Arc<Attacher>,
    gone: Arc<AtomicBool>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::Release);
        self.attacher.seated.fetch_sub(1, Ordering::AcqRel);
        self.attacher.wake();
    }
}
