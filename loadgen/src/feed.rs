//! Where envelopes come from, each with the time at which it is due.
//!
//! - *Ahead*: a thread seals them before their time, so that the cost of sealing delays none. It runs a bounded number of
//!   envelopes ahead (the depth of its queue) and then waits, whatever the length of the run. It also runs a bounded time
//!   ahead: each envelope is sealed to the key that is the newest then ([`KeyCell`]), and what was sealed long before it is
//!   sent would be sealed to a key that has ended meanwhile.
//! - *Inline*: each is sealed at its time by the thread that sends, as by a client that has nothing prepared; what sealing
//!   costs is in the latencies.
//! - *Pool*: a number of them is sealed before the start, and sent again and again. That is for sinks: a committee orders an
//!   envelope once.
//!
//! An envelope that is ready only after its planned time is counted as late: then the machine, not the committee, was the
//! limit.

mod maker;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fairlane_client::sealing::SealerError;
use fairlane_engine::seal::{Envelope, SealingKey};

pub(crate) use self::maker::{Maker, Validity};
use crate::config::Sealing;
use crate::hostile::maker::Companion;
use crate::races::RaceLeg;
use crate::workload::{Arrival, Workload, WorkloadError};

/// An envelope and when it is due.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    /// When it is due, in microseconds after the start.
    pub(crate) at_us: u64,
    /// What is sent then.
    pub(crate) envelope: Envelope,
    /// Index of its rollup in the mix.
    pub(crate) rollup: u8,
    /// If it is one of the two of a race.
    pub(crate) race: Option<RaceLeg>,
    /// What hostile clients send beside it; mostly nothing.
    pub(crate) companions: Vec<Companion>,
    /// Whether it was ready only after its time.
    pub(crate) is_late: bool,
}

/// The key to seal to, which may change while the thread runs.
#[derive(Clone, Debug)]
pub(crate) struct KeyCell(Arc<Mutex<SealingKey>>);

impl KeyCell {
    pub(crate) fn new(key: SealingKey) -> Self {
        Self(Arc::new(Mutex::new(key)))
    }

    /// From now on envelopes are sealed to this one.
    pub(crate) fn store(&self, key: SealingKey) {
        // A key is replaced in whole, so it is sound even if a thread has panicked.
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = key;
    }

    fn load(&self) -> SealingKey {
        let key = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        key.clone()
    }
}

/// What a feed is made of.
pub(crate) struct FeedPlan {
    pub(crate) workload: Box<dyn Workload>,
    pub(crate) maker: Maker,
    pub(crate) sealing: Sealing,
    /// How many envelopes may wait; from 1.
    pub(crate) look_ahead: usize,
    /// How long before it is due an envelope is sealed at the earliest.
    pub(crate) look_ahead_time: Duration,
}

/// What the feed has for its reader.
#[derive(Debug)]
pub(crate) enum Fed {
    /// The next envelope, which is due.
    Prepared(Prepared),
    /// The next one is due at this time, in microseconds after the start.
    Until(u64),
    /// The next one may be due, and is not sealed.
    NotYet,
    /// Nothing more.
    End,
}

/// The reading end; dropping it ends its thread.
pub(crate) struct Feed {
    source: Source,
    /// The next one, if its time is known and has not come.
    waiting: Option<Prepared>,
}

enum Source {
    Ahead(Ahead),
    Inline {
        workload: Box<dyn Workload>,
        maker: Box<Maker>,
        next: Option<Arrival>,
    },
    Pool {
        workload: Box<dyn Workload>,
        pool: Vec<Prepared>,
        at: usize,
    },
}

struct Ahead {
    queue: Option<Receiver<Result<Prepared, FeedError>>>,
    thread: Option<JoinHandle<()>>,
    is_over: Arc<AtomicBool>,
}

impl Feed {
    /// Starts it; a pool is sealed before this returns. Errors: the host refuses a thread, or the pool cannot be sealed.
    pub(crate) fn start(plan: FeedPlan) -> Result<Self, FeedError> {
        let (workload, maker) = (plan.workload, plan.maker);
        let source = match plan.sealing {
            Sealing::Ahead => Source::Ahead(Ahead::start(
                workload,
                maker,
                (plan.look_ahead, plan.look_ahead_time),
            )?),
            Sealing::Inline => Source::Inline {
                workload,
                maker: Box::new(maker),
                next: None,
            },
            Sealing::Pool(len) => Source::Pool {
                pool: maker.make_pool(len)?,
                workload,
                at: 0,
            },
        };
        Ok(Self {
            source,
            waiting: None,
        })
    }

    /// The next envelope, if it is due at `now_us`. Errors: the workload cannot go on, or sealing failed.
    ///
    /// Panics when the sealing thread did: a run cut short must not look like a run.
    pub(crate) fn next(&mut self, now_us: u64) -> Result<Fed, FeedError> {
        if let Some(waiting) = &self.waiting
            && waiting.at_us > now_us
        {
            return Ok(Fed::Until(waiting.at_us));
        }
        let next = match self.waiting.take() {
            Some(due) => return Ok(Fed::Prepared(due)),
            None => self.draw(now_us)?,
        };
        match next {
            Fed::Prepared(early) if early.at_us > now_us => {
                let at_us = early.at_us;
                self.waiting = Some(early);
                Ok(Fed::Until(at_us))
            }
            other => Ok(other),
        }
    }

    /// The next envelope whenever it is due: its plan's time means nothing to a closed loop. Errors: as [`Feed::next`].
    pub(crate) fn next_at_once(&mut self) -> Result<Fed, FeedError> {
        self.next(u64::MAX)
    }

    fn draw(&mut self, now_us: u64) -> Result<Fed, FeedError> {
        match &mut self.source {
            Source::Ahead(ahead) => ahead.next(),
            Source::Inline {
                workload,
                maker,
                next,
            } => {
                let arrival = match next.take() {
                    Some(arrival) => arrival,
                    None => match workload.next_arrival()? {
                        Some(arrival) => arrival,
                        None => return Ok(Fed::End),
                    },
                };
                if arrival.at_us > now_us {
                    let at_us = arrival.at_us;
                    *next = Some(arrival);
                    return Ok(Fed::Until(at_us));
                }
                let mut prepared = maker.make(&arrival)?;
                // It is never there before its time, by intent.
                prepared.is_late = false;
                Ok(Fed::Prepared(prepared))
            }
            Source::Pool { workload, pool, at } => {
                let Some(arrival) = workload.next_arrival()? else {
                    return Ok(Fed::End);
                };
                let prepared = Prepared {
                    at_us: arrival.at_us,
                    ..pool[*at].clone()
                };
                *at = (*at + 1) % pool.len();
                Ok(Fed::Prepared(prepared))
            }
        }
    }
}

impl Ahead {
    fn start(
        workload: Box<dyn Workload>,
        maker: Maker,
        (look_ahead, look_ahead_time): (usize, Duration),
    ) -> Result<Self, FeedError> {
        let (sender, queue) = sync_channel(look_ahead.max(1));
        let is_over = Arc::new(AtomicBool::new(false));
        let mut thread = Thread {
            workload,
            maker,
            look_ahead_time,
            is_over: is_over.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("sealing".to_owned())
            .spawn(move || thread.prepare_all(&sender))
            .map_err(|error| FeedError::Thread(error.kind()))?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
            is_over,
        })
    }

    fn next(&mut self) -> Result<Fed, FeedError> {
        let Some(queue) = &self.queue else {
            return Ok(Fed::End);
        };
        match queue.try_recv() {
            Ok(prepared) => prepared.map(Fed::Prepared),
            Err(TryRecvError::Empty) => Ok(Fed::NotYet),
            Err(TryRecvError::Disconnected) => {
                self.join();
                Ok(Fed::End)
            }
        }
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take()
            && let Err(panic) = thread.join()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        // The thread ends when its queue has no reader, or when it next wakes.
        self.queue = None;
        self.is_over.store(true, Ordering::Release);
        if !std::thread::panicking() {
            self.join();
        }
    }
}

/// What the sealing thread has.
struct Thread {
    workload: Box<dyn Workload>,
    maker: Maker,
    look_ahead_time: Duration,
    is_over: Arc<AtomicBool>,
}

impl Thread {
    fn prepare_all(&mut self, queue: &SyncSender<Result<Prepared, FeedError>>) {
        while let Some(prepared) = self.prepare().transpose() {
            let is_over = prepared.is_err();
            if queue.send(prepared).is_err() || is_over {
                return;
            }
        }
    }

    fn prepare(&mut self) -> Result<Option<Prepared>, FeedError> {
        let Some(arrival) = self.workload.next_arrival()? else {
            return Ok(None);
        };
        let earliest = match self.maker.validity {
            Validity::FromDue => self.maker.due(&arrival).checked_sub(self.look_ahead_time),
            // A closed loop sends it as soon as it can.
            Validity::FromNow => None,
        };
        while let Some(left) = earliest.and_then(|at| at.checked_duration_since(Instant::now()))
            && !left.is_zero()
        {
            if self.is_over.load(Ordering::Acquire) {
                return Ok(None);
            }
            std::thread::sleep(left.min(SLEEP_MAX));
        }
        self.maker.make(&arrival).map(Some)
    }
}

/// Why there is no next envelope.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FeedError {
    /// The workload cannot go on.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// Sealing failed.
    #[error(transparent)]
    Sealer(#[from] SealerError),
    /// No thread to seal on.
    #[error("the host refuses a thread: {0}")]
    Thread(std::io::ErrorKind),
}

/// Between two looks whether the run is over.
const SLEEP_MAX: Duration = Duration::from_millis(50);
