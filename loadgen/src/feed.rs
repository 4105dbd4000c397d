//! The sealing thread: makes envelopes ahead of their time, so that the cost of sealing delays none of them.
//!
//! It runs a bounded number of envelopes ahead (the depth of its queue) and then waits, whatever the length of the
//! run. An envelope that is ready only after its planned time is counted as late: then the machine, not the committee,
//! was the limit.
//!
//! It also runs a bounded time ahead: each envelope is sealed to the key that is the newest then ([`KeyCell`]), and what was
//! sealed long before it is sent would be sealed to a key that has ended meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fairlane_client::sealing::{Sealer, SealerError};
use fairlane_engine::seal::{Envelope, SealingKey};
use fairlane_engine::types::TimestampUs;

use crate::workload::{Workload, WorkloadError};

/// An envelope that waits for its planned time.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// When it is due, in microseconds after the start.
    pub(crate) at_us: u64,
    /// What is sent then.
    pub(crate) envelope: Envelope,
    /// Whether it was ready only after that.
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

/// What the thread needs to know.
pub(crate) struct FeedPlan {
    pub(crate) workload: Box<dyn Workload>,
    pub(crate) key: KeyCell,
    /// With any key: it is replaced by that of the cell.
    pub(crate) sealer: Sealer,
    pub(crate) payload_len: usize,
    /// The start of the run by both clocks.
    pub(crate) start: Instant,
    pub(crate) start_time: TimestampUs,
    /// How many envelopes may wait; from 1.
    pub(crate) look_ahead: usize,
    /// How long before it is due an envelope is sealed at the earliest.
    pub(crate) look_ahead_time: Duration,
}

/// What the feed has for its reader.
#[derive(Debug)]
pub(crate) enum Fed {
    /// The next envelope.
    Prepared(Prepared),
    /// Nothing yet: sealing is behind.
    NotYet,
    /// Nothing more.
    End,
}

/// The reading end; dropping it ends the thread.
#[derive(Debug)]
pub(crate) struct Feed {
    queue: Option<Receiver<Result<Prepared, FeedError>>>,
    thread: Option<JoinHandle<()>>,
    is_over: Arc<AtomicBool>,
}

impl Feed {
    pub(crate) fn start(plan: FeedPlan) -> std::io::Result<Self> {
        let (sender, queue) = sync_channel(plan.look_ahead);
        let is_over = Arc::new(AtomicBool::new(false));
        let flag = is_over.clone();
        let thread = std::thread::Builder::new()
            .name("sealing".to_owned())
            .spawn(move || prepare_all(plan, &sender, &flag))?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
            is_over,
        })
    }

    /// The next envelope, if it is ready. Errors: the workload cannot go on, or sealing failed.
    ///
    /// Panics when the sealing thread did: a run cut short must not look like a run.
    pub(crate) fn next(&mut self) -> Result<Fed, FeedError> {
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

impl Drop for Feed {
    fn drop(&mut self) {
        // The thread ends when its queue has no reader, or when it next wakes.
        self.queue = None;
        self.is_over.store(true, Ordering::Release);
        if !std::thread::panicking() {
            self.join();
        }
    }
}

fn prepare_all(
    mut plan: FeedPlan,
    queue: &SyncSender<Result<Prepared, FeedError>>,
    is_over: &AtomicBool,
) {
    while let Some(prepared) = prepare(&mut plan, is_over).transpose() {
        let is_over = prepared.is_err();
        if queue.send(prepared).is_err() || is_over {
            return;
        }
    }
}

fn prepare(plan: &mut FeedPlan, is_over: &AtomicBool) -> Result<Option<Prepared>, FeedError> {
    let Some(arrival) = plan.workload.next_arrival()? else {
        return Ok(None);
    };
    let due = plan.start + Duration::from_micros(arrival.at_us);
    let earliest = due.checked_sub(plan.look_ahead_time);
    while let Some(left) = earliest.and_then(|at| at.checked_duration_since(Instant::now()))
        && !left.is_zero()
    {
        if is_over.load(Ordering::Acquire) {
            return Ok(None);
        }
        std::thread::sleep(left.min(SLEEP_MAX));
    }
    plan.sealer.key = plan.key.load();
    let payload = arrival.content.encode(plan.payload_len);
    let valid_until = plan.start_time.plus_us(arrival.at_us).plus_us(VALIDITY_US);
    let envelope = plan.sealer.make(&payload, valid_until)?;
    Ok(Some(Prepared {
        at_us: arrival.at_us,
        envelope,
        is_late: Instant::now() > due,
    }))
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
}

/// How long after its planned time an envelope is valid: below the 60 s that nodes allow, by what clocks may differ.
const VALIDITY_US: u64 = 50_000_000;
/// Between two looks whether the run is over.
const SLEEP_MAX: Duration = Duration::from_millis(50);
