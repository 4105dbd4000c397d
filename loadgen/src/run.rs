//! One run: connect, seal ahead, send each envelope at its planned time, listen, drain, report.
//!
//! One thread (the caller's) sends and receives; a second one seals. The loop sleeps in the client's poll until the
//! next planned send or the next notice; it never spins. Open loop: nothing that a node does or fails to do moves a
//! planned time, and every latency counts from it.

use std::time::{Duration, Instant, SystemTime};

use fairlane_client::protocol::AckCode;
use fairlane_client::sealing::{PadTo, Sealer, entry_of};
use fairlane_client::{Client, ClientOptions, Event, Observer};
use fairlane_engine::seal::{EnvelopeKind, SealingKey};
use fairlane_engine::types::{AuthorityIndex, AuthoritySet, Entry, KeyId, TimestampUs};
use hdrhistogram::Histogram;

use crate::config::{LoadConfig, LoadError};
use crate::control::{Control, LastSecond, Phase, Progress};
use crate::feed::{Fed, Feed, FeedPlan, KeyCell, Prepared};
use crate::latencies::{Stage, histogram};
use crate::ledger::Ledger;
use crate::outcome::{Distribution, KeyUse, LatencySummary, LoadOutcome, Offering};

/// Runs to its end and says what became of every envelope.
///
/// Takes as long as the plan, then until every envelope has come to its end or nothing has changed for the drain
/// timeout. Errors: a configuration that cannot be, too few authorities, a workload that breaks off, or a host that
/// refuses threads or polling. What nodes do wrong is in the outcome, never an error.
pub fn run(
    config: LoadConfig,
    progress: &mut dyn FnMut(&Progress),
    control: &Control,
) -> Result<LoadOutcome, LoadError> {
    config.validate()?;
    let mut run = Run::connect(&config)?;
    let start_time = wall_clock_us()?.plus_us(duration_us(config.lead));
    run.listener.start = Instant::now() + config.lead;
    let mut feed = Feed::start(FeedPlan {
        workload: config.workload,
        sealer: Sealer {
            key: config.directory.sealing_key.clone(),
            rollup: config.rollup,
            kind: if config.open {
                EnvelopeKind::Open
            } else {
                EnvelopeKind::Sealed
            },
            sender_tag: [0; 16],
            padding: PadTo::Nothing,
        },
        payload_len: config.payload_len,
        start: run.listener.start,
        start_time,
        look_ahead: config.look_ahead.max(1),
        look_ahead_time: config.look_ahead_time,
        key: run.listener.keys.cell.clone(),
    })?;
    run.prepare(progress, control)?;
    run.send(&mut feed, duration_us(config.coalesce), progress, control)?;
    drop(feed);
    let backlog = run.listener.ledger.open_count(control.killed());
    let is_drained = run.drain(config.drain_timeout, progress, control)?;
    let mut outcome = run.outcome(control.killed());
    outcome.start_us = start_time.0;
    outcome.backlog = backlog;
    outcome.backlog_s = ratio(backlog as f64, outcome.offering.planned_tps);
    outcome.is_drained = is_drained;
    outcome.is_stopped = control.is_stopped();
    Ok(outcome)
}

/// The ledger as an observer: adds the time.
struct Listener {
    start: Instant,
    ledger: Ledger,
    /// Why links failed, for the error when too few come up.
    failures: Vec<Option<String>>,
    keys: Keys,
}

/// The keys of the run.
struct Keys {
    /// What the sealing thread seals to.
    cell: KeyCell,
    /// In the order in which they were taken.
    used: Vec<(KeyId, KeyUse)>,
    refused: u64,
}

impl Keys {
    fn new(key: &SealingKey) -> Self {
        let mut keys = Self {
            cell: KeyCell::new(key.clone()),
            used: Vec::new(),
            refused: 0,
        };
        keys.take(0, key);
        keys
    }

    fn take(&mut self, now_us: u64, key: &SealingKey) {
        self.cell.store(key.clone());
        let key_use = KeyUse {
            key_id: key.key_id().to_string(),
            epoch: key.epoch().0,
            from_s: seconds(now_us),
            envelopes: 0,
        };
        self.used.push((key.key_id(), key_use));
    }

    fn count(&mut self, key_id: KeyId) {
        let mut newest_first = self.used.iter_mut().rev();
        if let Some((_, key_use)) = newest_first.find(|(id, _)| *id == key_id) {
            key_use.envelopes += 1;
        }
    }
}

impl Listener {
    fn now_us(&self) -> u64 {
        duration_us(Instant::now().saturating_duration_since(self.start))
    }
}

impl Observer for Listener {
    fn receipt_wanted(&self, tag: u64) -> Option<Entry> {
        self.ledger.receipt_wanted(tag)
    }

    fn on_event(&mut self, authority: AuthorityIndex, event: Event) {
        if let Event::Disconnected { reason } | Event::ConnectFailed { reason } = &event {
            self.failures[authority.as_usize()] = Some(reason.to_string());
        }
        match &event {
            Event::NewKey { statement } => self.keys.take(self.now_us(), &statement.key),
            Event::KeyRefused { .. } => self.keys.refused += 1,
            _ => {}
        }
        self.ledger.on_event(self.now_us(), authority, &event);
    }
}

/// How a turn of sending ended.
enum Sent {
    /// Nothing more before this time.
    Until(u64),
    /// More is due already.
    More,
    /// All there is.
    All,
}

struct Run {
    client: Client,
    listener: Listener,
    send_lag: Histogram<u64>,
    sealed_late: u64,
    last_planned_us: u64,
    last_sent_us: u64,
    next_report: Instant,
    last_second: LastSecond,
    /// The second that is not over, and what was offered when it began.
    second: u64,
    offered_before: u64,
}

impl Run {
    fn connect(config: &LoadConfig) -> Result<Self, LoadError> {
        let directory = &config.directory;
        let addresses = directory.client_addresses();
        let mut run = Self {
            client: Client::new(
                directory.committee.clone(),
                directory.sealing_key.clone(),
                &addresses,
                ClientOptions {
                    transport: config.transport,
                    ..ClientOptions::default()
                },
            ),
            listener: Listener {
                start: Instant::now(),
                ledger: Ledger::new(),
                failures: vec![None; addresses.len()],
                keys: Keys::new(&directory.sealing_key),
            },
            send_lag: histogram(),
            sealed_late: 0,
            last_planned_us: 0,
            last_sent_us: 0,
            next_report: Instant::now(),
            last_second: LastSecond::default(),
            second: 0,
            offered_before: 0,
        };
        let live = run
            .client
            .connect_all(config.connect_timeout, &mut run.listener)?;
        if live.len() >= config.live_min {
            return Ok(run);
        }
        let members = directory.committee.thresholds().members();
        let missing: Vec<String> = members
            .filter(|member| !live.contains(*member))
            .map(|member| {
                let failure = run.listener.failures[member.as_usize()].take();
                let reason = failure.unwrap_or_else(|| "no answer".to_owned());
                format!("{member} at {}: {reason}", addresses[member.as_usize()])
            })
            .collect();
        Err(LoadError::TooFewLive {
            live: live.len(),
            wanted: config.live_min,
            missing: missing.join("; "),
        })
    }

    /// Listens until the start, while the first envelopes are sealed.
    fn prepare(
        &mut self,
        progress: &mut dyn FnMut(&Progress),
        control: &Control,
    ) -> Result<(), LoadError> {
        while !control.is_stopped() {
            let left = self
                .listener
                .start
                .saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.poll(left, Phase::Preparing, progress)?;
        }
        Ok(())
    }

    fn send(
        &mut self,
        feed: &mut Feed,
        coalesce_us: u64,
        progress: &mut dyn FnMut(&Progress),
        control: &Control,
    ) -> Result<(), LoadError> {
        let mut waiting: Option<Prepared> = None;
        let mut next_send_us = 0u64;
        while !control.is_stopped() {
            let now_us = self.listener.now_us();
            let mut wait_us = next_send_us.saturating_sub(now_us);
            if wait_us == 0 {
                match self.send_due(feed, &mut waiting, now_us)? {
                    Sent::Until(due_us) => {
                        next_send_us = due_us.max(now_us + coalesce_us);
                        wait_us = next_send_us - now_us;
                    }
                    Sent::More => {}
                    Sent::All => return Ok(()),
                }
            }
            self.poll(Duration::from_micros(wait_us), Phase::Sending, progress)?;
        }
        Ok(())
    }

    /// Sends what is due by `now_us`, up to [`SENDS_MAX`].
    fn send_due(
        &mut self,
        feed: &mut Feed,
        waiting: &mut Option<Prepared>,
        now_us: u64,
    ) -> Result<Sent, LoadError> {
        for _ in 0..SENDS_MAX {
            let prepared = match waiting.take() {
                Some(prepared) => prepared,
                None => match feed.next()? {
                    Fed::Prepared(prepared) => prepared,
                    Fed::NotYet => return Ok(Sent::Until(now_us + FEED_WAIT_US)),
                    Fed::End => return Ok(Sent::All),
                },
            };
            if prepared.at_us > now_us {
                let due_us = prepared.at_us;
                *waiting = Some(prepared);
                return Ok(Sent::Until(due_us));
            }
            self.submit(&prepared);
        }
        Ok(Sent::More)
    }

    fn submit(&mut self, prepared: &Prepared) {
        let ledger = &mut self.listener.ledger;
        let envelope = &prepared.envelope;
        let sent = self
            .client
            .submit(ledger.offered(), envelope.bytes())
            .expect("the sealer makes no envelope longer than nodes take");
        ledger.on_sent(prepared.at_us, sent, entry_of(envelope));
        self.listener.keys.count(envelope.label().key_id);
        let now_us = self.listener.now_us();
        self.send_lag
            .saturating_record(now_us.saturating_sub(prepared.at_us));
        self.sealed_late += u64::from(prepared.is_late);
        self.last_planned_us = prepared.at_us;
        self.last_sent_us = now_us;
    }

    /// Listens until every envelope has come to its end, or nothing changes for `timeout`; whether it was the former.
    fn drain(
        &mut self,
        timeout: Duration,
        progress: &mut dyn FnMut(&Progress),
        control: &Control,
    ) -> Result<bool, LoadError> {
        let began_us = self.listener.now_us();
        let mut next_look = Instant::now();
        loop {
            let now = Instant::now();
            if now < next_look {
                self.poll(next_look - now, Phase::Draining, progress)?;
                continue;
            }
            next_look = now + DRAIN_TICK;
            if self.listener.ledger.open_count(control.killed()) == 0 {
                return Ok(true);
            }
            let changed_us = self.listener.ledger.last_change_us().max(began_us);
            if self.listener.now_us() - changed_us >= duration_us(timeout) {
                return Ok(false);
            }
        }
    }

    /// Polls, and reports progress when it is time.
    fn poll(
        &mut self,
        timeout: Duration,
        phase: Phase,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<(), LoadError> {
        let now = Instant::now();
        if now >= self.next_report {
            self.next_report = now + REPORT_TICK;
            self.look_at_the_second();
            progress(&self.progress(phase));
        }
        self.client
            .poll(timeout.min(REPORT_TICK), &mut self.listener)?;
        Ok(())
    }

    /// Once a second: what the one before was like.
    fn look_at_the_second(&mut self) {
        let second = self.listener.now_us() / 1_000_000;
        if second == self.second {
            return;
        }
        let ledger = &self.listener.ledger;
        let offered = ledger.offered();
        self.last_second = LastSecond {
            offered: offered - self.offered_before,
            settled: ledger.latencies.of_second(Stage::Settled, second - 1),
        };
        (self.second, self.offered_before) = (second, offered);
    }

    fn progress(&self, phase: Phase) -> Progress {
        let ledger = &self.listener.ledger;
        let settled = ledger.latencies.total(Stage::Settled);
        Progress {
            phase,
            elapsed_us: self.listener.now_us(),
            offered: ledger.offered(),
            acked: ledger.counts.acked,
            ordered: ledger.counts.ordered,
            settled: ledger.counts.settled,
            refused: ledger.counts.refusals,
            live: self.client.live().len(),
            settled_p50_us: if settled.is_empty() {
                0
            } else {
                settled.value_at_quantile(0.5)
            },
            last_second: self.last_second,
        }
    }

    fn outcome(&self, killed: AuthoritySet) -> LoadOutcome {
        let ledger = &self.listener.ledger;
        let (counts, latencies) = (&ledger.counts, &ledger.latencies);
        let refusals = AckCode::ALL.into_iter().zip(counts.refusals);
        let authorities = 0..self.listener.failures.len();
        LoadOutcome {
            tally: ledger.tally(killed),
            throughput_tps: ratio(counts.settled as f64, seconds(ledger.last_settled_us())),
            latency_us: LatencySummary {
                ack: Distribution::of(latencies.total(Stage::Ack)),
                receipt: Distribution::of(latencies.total(Stage::Receipt)),
                ordered: Distribution::of(latencies.total(Stage::Ordered)),
                settled: Distribution::of(latencies.total(Stage::Settled)),
            },
            offering: self.offering(),
            refusals_by_code: refusals
                .filter(|(_, count)| *count > 0)
                .map(|(code, count)| (code.name().to_owned(), count))
                .collect(),
            intervals: latencies.intervals(),
            receipts: counts.receipted,
            receipts_refused: counts.receipts_refused,
            order_disagreements: counts.order_disagreements,
            stray_notices: counts.strays,
            keys: self
                .listener
                .keys
                .used
                .iter()
                .map(|(_, key)| key.clone())
                .collect(),
            keys_refused: self.listener.keys.refused,
            resent: self.client.resend_counts().resent,
            links: authorities
                .filter_map(|index| self.client.counts(AuthorityIndex(index as u8)))
                .map(Into::into)
                .collect(),
            ..LoadOutcome::default()
        }
    }

    fn offering(&self) -> Offering {
        let offered = self.listener.ledger.offered() as f64;
        let send_lag_us = Distribution::of(&self.send_lag);
        Offering {
            planned_s: seconds(self.last_planned_us),
            planned_tps: ratio(offered, seconds(self.last_planned_us)),
            achieved_tps: ratio(offered, seconds(self.last_sent_us)),
            send_lag_us,
            send_lag_mean_us: self.send_lag.mean(),
            sealed_late: self.sealed_late,
            was_limited: send_lag_us.p99 > SEND_LAG_P99_MAX_US,
        }
    }
}

fn wall_clock_us() -> Result<TimestampUs, LoadError> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let us = since.map_err(|_| LoadError::Clock)?.as_micros();
    u64::try_from(us)
        .map(TimestampUs)
        .map_err(|_| LoadError::Clock)
}

fn duration_us(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1_000_000.0
}

/// 0 where there is nothing to divide by.
fn ratio(count: f64, of: f64) -> f64 {
    if of > 0.0 { count / of } else { 0.0 }
}

/// Sends between two polls, so that a burst does not keep notices waiting.
const SENDS_MAX: usize = 256;
/// How long to wait for a sealing thread that is behind.
const FEED_WAIT_US: u64 = 500;
/// Between two looks at what is still open.
const DRAIN_TICK: Duration = Duration::from_millis(20);
/// Between two progress reports, and the longest sleep.
const REPORT_TICK: Duration = Duration::from_millis(100);
/// Above this lag the generator, not the committee, makes the latencies.
const SEND_LAG_P99_MAX_US: u64 = 5_000;
