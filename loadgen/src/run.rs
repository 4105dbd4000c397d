//! One run: connect, seal ahead, send each envelope at its planned time, listen, drain, report.
//!
//! One thread (the caller's) sends and receives; a second one seals. The loop sleeps in the client's poll until the
//! next planned send or the next notice; it never spins. Open loop: nothing that a node does or fails to do moves a
//! planned time, and every latency counts from it.

mod closed;
mod listener;
mod outcome;

use std::time::{Duration, Instant, SystemTime};

use fairlane_client::sealing::{PadTo, Sealer, entry_of};
use fairlane_client::{Client, ClientOptions, poll_all};
use fairlane_engine::seal::EnvelopeKind;
use fairlane_engine::types::{AuthorityIndex, AuthoritySet, TimestampUs};
use hdrhistogram::Histogram;

use self::listener::{Ears, Keys, Listener};
use crate::config::{Goal, LoadConfig, LoadError, Sealing};
use crate::control::{Control, LastSecond, Phase, Progress};
use crate::feed::{Fed, Feed, FeedPlan, Maker, Prepared, Validity};
use crate::hostile::HostileKind;
use crate::hostile::connections::Connections;
use crate::hostile::listener::HostileListener;
use crate::hostile::maker::{Companion, HostileMaker};
use crate::latencies::{Stage, histogram};
use crate::ledger::{Ledger, Sent};
use crate::outcome::LoadOutcome;
use crate::races::Races;
use crate::retries::Retries;

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
    // A pool is sealed before the start, however long that takes.
    let lead = match config.sealing {
        Sealing::Pool(len) => config.lead + POOL_TIME.saturating_mul(len as u32),
        _ => config.lead,
    };
    let start_time = wall_clock_us()?.plus_us(duration_us(lead));
    run.start_at(Instant::now() + lead);
    let maker = run.maker(&config, start_time)?;
    let (closed, rollups) = (config.closed, config.rollups.clone());
    let clients = closed.map_or(u32::MAX, |closed| closed.clients) as usize;
    let mut feed = Feed::start(FeedPlan {
        workload: config.workload,
        maker,
        sealing: config.sealing,
        // What waits for a closed loop grows old.
        look_ahead: config.look_ahead.clamp(1, clients.saturating_mul(2)),
        look_ahead_time: config.look_ahead_time,
    })?;
    let mut start_us = start_time.0;
    if let Sealing::Pool(_) = config.sealing {
        run.start_at(Instant::now() + START_AFTER_POOL);
        start_us = wall_clock_us()?.plus_us(duration_us(START_AFTER_POOL)).0;
    }
    run.prepare(progress, control)?;
    match closed {
        None => run.send(&mut feed, duration_us(config.coalesce), progress, control)?,
        Some(closed) => {
            run.send_closed(&mut feed, closed, config.drain_timeout, progress, control)?;
        }
    }
    drop(feed);
    if control.is_stopped() {
        run.ears.honest.end_retries();
    }
    let backlog = run.ears.honest.ledger.open_count(control.killed());
    let is_drained = run.drain(config.drain_timeout, progress, control)?;
    let mut outcome = {
        let clients = closed.map_or(0, |closed| closed.clients);
        run.outcome(control.killed(), rollups.shares(), clients)
    };
    outcome.start_us = start_us;
    outcome.backlog = backlog;
    outcome.backlog_s = ratio(backlog as f64, outcome.offering.planned_tps);
    outcome.is_drained = is_drained;
    outcome.is_stopped = control.is_stopped();
    Ok(outcome)
}

/// How a turn of sending ended.
enum Turn {
    /// Nothing more before this time.
    Until(u64),
    /// More is due already.
    More,
    /// All there is.
    All,
}

struct Run {
    /// Makers' connections first, then those of takes if there are races, then hostile ones if there are any.
    clients: Vec<Client>,
    ears: Ears,
    /// Frames above the bound, half-open connections, slow readers.
    connections: Option<Connections>,
    /// Who is submitted to.
    targets: AuthoritySet,
    /// Whether receipts are checked.
    has_receipts: bool,
    races: Races,
    /// The client that was first given something since the last poll: it writes first.
    first: Option<usize>,
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
        let members = directory.committee.thresholds().members();
        let all = members.fold(AuthoritySet::EMPTY, |mut all, member| {
            all.insert(member);
            all
        });
        let is_followed = config.goal == Goal::Settled;
        let options = ClientOptions {
            transport: config.transport,
            receipts: is_followed,
            ordered: is_followed,
            settled: is_followed,
            ..ClientOptions::default()
        };
        let client = || {
            let (committee, key) = (directory.committee.clone(), directory.sealing_key.clone());
            Client::new(committee, key, &addresses, options)
        };
        let honest = if config.workload.has_races() { 2 } else { 1 };
        let hostile =
            (!config.hostile.is_empty()).then(|| (honest, HostileListener::new(&config.hostile)));
        let mut run = Self {
            clients: (0..honest + usize::from(hostile.is_some()))
                .map(|_| client())
                .collect(),
            ears: Ears {
                honest: Listener {
                    start: Instant::now(),
                    ledger: Ledger::new(config.goal, config.rollups.shares().len()),
                    failures: vec![None; addresses.len()],
                    keys: Keys::new(&directory.sealing_key),
                    retries: Retries::new(config.busy_retries),
                },
                hostile,
            },
            connections: None,
            targets: config.targets.unwrap_or(all),
            has_receipts: is_followed,
            races: Races::default(),
            first: None,
            send_lag: histogram(),
            sealed_late: 0,
            last_planned_us: 0,
            last_sent_us: 0,
            next_report: Instant::now(),
            last_second: LastSecond::default(),
            second: 0,
            offered_before: 0,
        };
        run.connect_clients(config)?;
        if !config.hostile.is_empty() {
            let chain_id = directory.committee.chain_id;
            let rollup = config.rollups.shares()[0].id;
            let connections = Connections::start(&config.hostile, addresses, chain_id, rollup)?;
            run.connections = Some(connections);
        }
        Ok(run)
    }

    /// Connects every client. Errors: too few authorities are there.
    fn connect_clients(&mut self, config: &LoadConfig) -> Result<(), LoadError> {
        let wanted = config.live_min.min(self.targets.len());
        let addresses = config.directory.client_addresses();
        for at in 0..self.clients.len() {
            use fairlane_client::Observers as _;
            let observer = self.ears.observer(at);
            let live =
                self.clients[at].connect_to(self.targets, config.connect_timeout, observer)?;
            let missing: Vec<AuthorityIndex> = self
                .targets
                .iter()
                .filter(|target| !live.contains(*target))
                .collect();
            let live = self.targets.len() - missing.len() as u32;
            if live >= wanted {
                continue;
            }
            let missing: Vec<String> = missing
                .into_iter()
                .map(|member| {
                    let failure = self.ears.honest.failures[member.as_usize()].take();
                    let reason = failure.unwrap_or_else(|| "no answer".to_owned());
                    format!("{member} at {}: {reason}", addresses[member.as_usize()])
                })
                .collect();
            return Err(LoadError::TooFewLive {
                live,
                wanted,
                missing: missing.join("; "),
            });
        }
        Ok(())
    }

    fn start_at(&mut self, start: Instant) {
        self.ears.honest.start = start;
        if let Some((_, hostile)) = &mut self.ears.hostile {
            hostile.start = start;
        }
    }

    /// What makes the run's envelopes. Errors: no key to seal hostile ones to.
    fn maker(&self, config: &LoadConfig, start_time: TimestampUs) -> Result<Maker, LoadError> {
        let key = &config.directory.sealing_key;
        let hostile = &config.hostile;
        let hostile = (!hostile.is_empty())
            .then(|| HostileMaker::new(hostile.clone(), key, config.seed))
            .transpose()?;
        Ok(Maker {
            key: self.ears.honest.keys.cell.clone(),
            sealer: Sealer {
                key: key.clone(),
                rollup: config.rollups.shares()[0].id,
                kind: match config.open {
                    true => EnvelopeKind::Open,
                    false => EnvelopeKind::Sealed,
                },
                sender_tag: [0; 16],
                padding: PadTo::Nothing,
            },
            rollups: config.rollups.clone().seeded(config.seed),
            payload_len: config.payload_len,
            start: self.ears.honest.start,
            start_time,
            validity: match config.closed {
                Some(_) => Validity::FromNow,
                None => Validity::FromDue,
            },
            hostile,
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
                .ears
                .honest
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
        let mut next_send_us = 0u64;
        while !control.is_stopped() {
            let now_us = self.ears.honest.now_us();
            let mut wait_us = next_send_us.saturating_sub(now_us);
            if wait_us == 0 {
                match self.send_due(feed, now_us)? {
                    Turn::Until(due_us) => {
                        next_send_us = due_us.max(now_us + coalesce_us);
                        wait_us = next_send_us - now_us;
                    }
                    Turn::More => {}
                    Turn::All => return Ok(()),
                }
            }
            self.poll(Duration::from_micros(wait_us), Phase::Sending, progress)?;
        }
        Ok(())
    }

    /// Sends what is due by `now_us`, up to [`SENDS_MAX`]. Ends where connections change: what is due after that is not to
    /// leave with what the first connection was given before.
    fn send_due(&mut self, feed: &mut Feed, now_us: u64) -> Result<Turn, LoadError> {
        for _ in 0..SENDS_MAX {
            match feed.next(now_us)? {
                Fed::Prepared(prepared) => {
                    let client = self.submit(&prepared);
                    if self.first != Some(client) {
                        return Ok(Turn::More);
                    }
                }
                Fed::Until(due_us) => return Ok(Turn::Until(due_us)),
                Fed::NotYet => return Ok(Turn::Until(now_us + FEED_WAIT_US)),
                Fed::End => return Ok(Turn::All),
            }
        }
        Ok(Turn::More)
    }

    /// Gives which client it went to.
    fn submit(&mut self, prepared: &Prepared) -> usize {
        let envelope = &prepared.envelope;
        let client = usize::from(prepared.race.is_some_and(|leg| leg.is_take));
        self.first.get_or_insert(client);
        let tag = self.ears.honest.ledger.offered();
        let sent = self.clients[client]
            .submit_to(tag, envelope.bytes(), self.targets)
            .expect("the sealer makes no envelope longer than nodes take");
        let honest = &mut self.ears.honest;
        honest.ledger.on_sent(Sent {
            planned_us: prepared.at_us,
            sent,
            entry: self.has_receipts.then(|| entry_of(envelope)),
            rollup: prepared.rollup,
        });
        honest.keys.count(envelope.label().key_id);
        if !sent.is_empty() {
            honest.retries.on_sent(tag, client, envelope);
        }
        let now_us = honest.now_us();
        if let Some(leg) = prepared.race {
            self.races.on_sent(leg, tag, now_us);
        }
        self.send_lag
            .saturating_record(now_us.saturating_sub(prepared.at_us));
        self.sealed_late += u64::from(prepared.is_late);
        self.last_planned_us = prepared.at_us;
        self.last_sent_us = now_us;
        for companion in &prepared.companions {
            self.submit_hostile(prepared.at_us, companion);
        }
        if let Some(connections) = &self.connections
            && tag.is_multiple_of(BAIT_EVERY)
        {
            connections.bait(envelope.bytes());
        }
        client
    }

    fn submit_hostile(&mut self, planned_us: u64, companion: &Companion) {
        if companion.kind == HostileKind::Oversize {
            if let Some(connections) = &mut self.connections {
                connections.send_oversize();
            }
            return;
        }
        let Some((client, hostile)) = &mut self.ears.hostile else {
            return;
        };
        let tag = hostile.next_tag();
        let targets = match companion.kind {
            HostileKind::OneAuthority => {
                let nth = tag % u64::from(self.targets.len());
                let chosen = self.targets.iter().nth(nth as usize);
                chosen.map_or(self.targets, one)
            }
            _ => self.targets,
        };
        let sent = self.clients[*client]
            .submit_to(tag, &companion.bytes, targets)
            .expect("what is changed in an envelope is not its length");
        hostile.on_sent(companion.kind, planned_us, !sent.is_empty());
    }

    /// Listens until every envelope has come to its end, or nothing changes for `timeout`; whether it was the former.
    fn drain(
        &mut self,
        timeout: Duration,
        progress: &mut dyn FnMut(&Progress),
        control: &Control,
    ) -> Result<bool, LoadError> {
        let began_us = self.ears.honest.now_us();
        let mut next_look = Instant::now();
        loop {
            let now = Instant::now();
            if now < next_look {
                self.poll(next_look - now, Phase::Draining, progress)?;
                continue;
            }
            next_look = now + DRAIN_TICK;
            if self.ears.honest.ledger.open_count(control.killed()) == 0 {
                return Ok(true);
            }
            let changed_us = self.ears.honest.ledger.last_change_us().max(began_us);
            if self.ears.honest.now_us() - changed_us >= duration_us(timeout) {
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
        self.send_again();
        let first = self.first.take().unwrap_or(0);
        let mut timeout = timeout.min(REPORT_TICK);
        if let Some(next_us) = self.ears.honest.retries.next_us() {
            let left_us = next_us.saturating_sub(self.ears.honest.now_us());
            timeout = timeout.min(Duration::from_micros(left_us));
        }
        poll_all(&mut self.clients, first, timeout, &mut self.ears)?;
        Ok(())
    }

    /// Sends again what was told Busy and is due, up to [`SENDS_MAX`].
    fn send_again(&mut self) {
        let honest = &mut self.ears.honest;
        for _ in 0..SENDS_MAX {
            let Some(again) = honest.retries.take_due(honest.now_us()) else {
                return;
            };
            let sent = self.clients[again.client]
                .submit_to(again.tag, again.envelope.bytes(), self.targets)
                .expect("its length has not changed");
            honest.ledger.on_sent_again(again.tag, sent);
        }
    }

    /// Once a second: what the one before was like.
    fn look_at_the_second(&mut self) {
        let second = self.ears.honest.now_us() / 1_000_000;
        if second == self.second {
            return;
        }
        let ledger = &self.ears.honest.ledger;
        let offered = ledger.offered();
        self.last_second = LastSecond {
            offered: offered - self.offered_before,
            settled: ledger.latencies.of_second(Stage::Settled, second - 1),
        };
        (self.second, self.offered_before) = (second, offered);
    }

    fn progress(&self, phase: Phase) -> Progress {
        let ledger = &self.ears.honest.ledger;
        let settled = ledger.latencies.total(Stage::Settled);
        Progress {
            phase,
            elapsed_us: self.ears.honest.now_us(),
            offered: ledger.offered(),
            acked: ledger.counts.acked,
            ordered: ledger.counts.ordered,
            settled: ledger.counts.settled,
            refused: ledger.counts.refusals,
            live: self.clients[0].live().len(),
            hostile_refused: self
                .ears
                .hostile
                .as_ref()
                .map(|(_, hostile)| hostile.refused()),
            settled_p50_us: if settled.is_empty() {
                0
            } else {
                settled.value_at_quantile(0.5)
            },
            last_second: self.last_second,
        }
    }
}

fn one(authority: AuthorityIndex) -> AuthoritySet {
    let mut set = AuthoritySet::EMPTY;
    set.insert(authority);
    set
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
/// Every so many honest envelopes slow readers submit one, too.
const BAIT_EVERY: u64 = 8;
/// For sealing an envelope of a pool, amply: so much later they expire.
const POOL_TIME: Duration = Duration::from_micros(20);
/// Between a pool that is sealed and the start.
const START_AFTER_POOL: Duration = Duration::from_millis(100);
