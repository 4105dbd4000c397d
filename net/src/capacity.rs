//! A node without its IO stage, for `fairlane-bench capacity`: no part of what a node runs.
//!
//! The core stage as [`crate::node`] assembles it, with its journal, its certifier and its settlement port, whose rings to
//! and from the IO stage are held by whoever replays: what clients and authorities sent goes in, what the node answers is
//! counted and thrown away. The time is an argument throughout, so what is replayed is judged as of when it was recorded.
//! It stands in this crate because it is made of parts that nobody else shall use.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use fairlane_client::committee_file::Roster;
use fairlane_engine::committee::Committee;
use fairlane_engine::keyring::EngineKeys;
use fairlane_engine::seal::EnvelopeVerifier;
use fairlane_engine::types::{AuthorityIndex, Round, TimestampUs};

use crate::boot_mark::BootMark;
use crate::certifier::Certifier;
use crate::config::{NodeConfig, read_toml, resolve};
use crate::journal::{
    BatchLoader, Durability, Journal, JournalConfig, JournalIdentity, StoppedJournal,
};
use crate::node::{STAGE_RING_DEPTH, read_certificate_secret, read_keys};
use crate::recovery::{Recovery, Started};
use crate::stage::bucket::Allowance;
use crate::stage::certificate_port::CertificatePort;
use crate::stage::core::{CorePorts, CoreReport, CoreStage};
use crate::stage::journal_port::JournalPort;
use crate::stage::key_watch::{KeyCell, KeyWatch};
use crate::stage::messages::{FromCore, ToCore};
use crate::stage::pressure::{Gauge, Pressure};
use crate::stage::rollup_quotas::RollupQuotas;
use crate::stage::settle_port::SettlePort;
use crate::stage::standings::Standings;
use crate::stage::{Polled, Stage, Wake, WakeCell};
use crate::testnet::system_entropy;

/// One authority of a recorded network: what it is started from.
#[derive(Debug)]
pub struct Member {
    /// Its configuration.
    pub config: NodeConfig,
    /// The committee.
    pub roster: Roster,
    /// Which one it is.
    pub own: AuthorityIndex,
    /// Its data folder.
    pub data: std::path::PathBuf,
}

impl Member {
    /// Reads the configuration file at `path`, and the committee file that it names.
    ///
    /// # Errors
    /// In a sentence: what is wrong with either.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let config: NodeConfig = read_toml(path)?;
        let roster = Roster::load(&resolve(path, &config.committee))?;
        Ok(Self {
            own: AuthorityIndex(config.index),
            data: resolve(path, &config.data),
            config,
            roster,
        })
    }

    /// Its signing key, and its share of the key that a dealer made.
    ///
    /// # Errors
    /// In a sentence: the keys in the file at `path` are not those of the committee file.
    pub fn keys(&self, path: &Path) -> anyhow::Result<EngineKeys> {
        read_keys(&self.config, &self.roster, self.own, path)
    }
}

/// What the node gave the IO stage to send, counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    /// Messages to one other authority.
    pub to_one: u64,
    /// Messages to all others.
    pub to_all: u64,
    /// Bytes of both, each counted once.
    pub peer_bytes: u64,
    /// Bytes to clients.
    pub client_bytes: u64,
}

/// A node that is being given what was recorded.
pub struct Replay {
    stage: CoreStage,
    to_core: rtrb::Producer<ToCore>,
    from_core: rtrb::Consumer<FromCore>,
    report: Arc<Mutex<CoreReport>>,
    sent: Sent,
}

impl Replay {
    /// Starts the node of the configuration file at `path` on the journal in `folder`, which may be empty, as of `now`. Its
    /// threads run where the calling thread may, and it is woken through that thread.
    ///
    /// # Errors
    /// In a sentence: what is wrong with its keys or the journal, or what the system refuses.
    pub fn start(
        path: &Path,
        folder: &Path,
        durability: Durability,
        now: TimestampUs,
    ) -> anyhow::Result<Self> {
        let member = Member::read(path)?;
        let committee = Arc::new(member.roster.committee.clone());
        let wake = WakeCell::default();
        wake.set(Wake::Thread(std::thread::current()));
        let waker = || {
            let wake = wake.clone();
            move || wake.wake()
        };
        let mut settle = settle_port(&member.config, folder, &committee, &wake)?;
        let recovery = Recovery {
            committee: committee.clone(),
            own: member.own,
            keys: member.keys(path)?,
            timers: member.config.timers.into(),
            now,
        };
        let (engine, journal) = recover(&member.config, folder, durability, recovery, waker())?;
        let mut certificates = certificate_port(&member, path, waker())?;
        if let Some(header) = engine.0.newest_header() {
            settle.on_opened(header);
            certificates.on_opened(header, now);
        }
        let (to_core, from_io) = rtrb::RingBuffer::new(STAGE_RING_DEPTH);
        let (to_io, from_core) = rtrb::RingBuffer::new(STAGE_RING_DEPTH);
        let mut verifier = EnvelopeVerifier::without_keys(system_entropy()?);
        let mut keys = KeyWatch::new(KeyCell::default(), None);
        keys.look(&engine.0, &mut verifier)?;
        let quotas = member.config.quotas;
        let bad_proofs = Allowance {
            burst: quotas.bad_proofs,
            refill_us: quotas.bad_proof_refill_us,
        };
        let report = Arc::new(Mutex::new(CoreReport::default()));
        let stage = CoreStage::new(
            engine,
            committee.clone(),
            verifier,
            (
                Standings::new(bad_proofs),
                RollupQuotas::new(quotas.rollup_rate),
            ),
            CorePorts {
                from_io,
                to_io,
                io: WakeCell::default(),
                journal: JournalPort::new(journal, committee.epoch),
                loader: BatchLoader::start(folder, committee.epoch, waker())?,
                settle,
                certificates,
                keys,
                boot: BootMark::new(folder, durability),
                pressure: Gauge::new(Pressure::new()),
                report: report.clone(),
            },
        );
        Ok(Self {
            stage,
            to_core,
            from_core,
            report,
            sent: Sent::default(),
        })
    }

    /// Gives it what came by `now`, in this order, and polls it until it has done all that it can do by then.
    ///
    /// Others are in `round`: while its own vertex is more than [`LAG_ROUNDS`] rounds behind, its disk is waited for,
    /// as a node that lags further behind is none that carries the load.
    ///
    /// # Errors
    /// In a sentence: what stopped the node, or that it takes nothing in any more.
    pub fn feed(
        &mut self,
        (now, round): (TimestampUs, Round),
        messages: impl IntoIterator<Item = ToCore>,
    ) -> anyhow::Result<()> {
        for message in messages {
            let mut left = Some(message);
            while let Some(message) = left.take() {
                if let Err(rtrb::PushError::Full(message)) = self.to_core.push(message) {
                    left = Some(message);
                    self.poll(now)?;
                }
            }
        }
        let (mut due_polls, mut waits) = (0, 0);
        loop {
            let (deadline, is_eager) = match self.poll(now)? {
                Polled::Busy => continue,
                Polled::Idle(deadline) => (deadline, false),
                Polled::Eager(deadline) => (deadline, true),
            };
            // Its journal has as much as may wait, or its own vertex is on the way to the disk: that wakes this thread.
            let is_held_back = self.to_core.slots() < STAGE_RING_DEPTH;
            if is_held_back || (is_eager && self.lags_behind(round)) {
                waits += 1;
                ensure!(
                    waits < STALLED_WAITS,
                    "the node did nothing for {} s",
                    STALLED_WAITS / 1_000
                );
                std::thread::park_timeout(Duration::from_millis(1));
            } else if due_polls < DUE_POLLS && deadline.is_some_and(|at| at <= now) {
                due_polls += 1;
            } else {
                return Ok(());
            }
        }
    }

    fn lags_behind(&self, round: Round) -> bool {
        lock(&self.report).round.plus(LAG_ROUNDS) < round
    }

    fn poll(&mut self, now: TimestampUs) -> anyhow::Result<Polled> {
        let polled = self.stage.poll(now)?;
        while let Ok(message) = self.from_core.pop() {
            self.sent.count(&message);
        }
        Ok(polled)
    }

    /// Its figures as of the last poll, and what it sent.
    pub fn figures(&self) -> (CoreReport, Sent) {
        (lock(&self.report).clone(), self.sent)
    }

    /// Writes and syncs all of its journal.
    ///
    /// # Errors
    /// In a sentence: why the journal failed.
    pub fn finish(mut self) -> anyhow::Result<()> {
        Ok(self.stage.finish()?)
    }
}

impl Sent {
    const fn count(&mut self, message: &FromCore) {
        match message {
            FromCore::ToPeer { bytes, .. } => {
                self.to_one += 1;
                self.peer_bytes += bytes.len() as u64;
            }
            FromCore::ToPeers { bytes } => {
                self.to_all += 1;
                self.peer_bytes += bytes.len() as u64;
            }
            FromCore::ToClient { bytes, .. } => self.client_bytes += bytes.len() as u64,
            FromCore::CutPeer { .. } | FromCore::NewKey { .. } | FromCore::Settled { .. } => {}
        }
    }
}

fn settle_port(
    config: &NodeConfig,
    folder: &Path,
    committee: &Committee,
    wake: &WakeCell,
) -> anyhow::Result<SettlePort> {
    let make_loader = {
        let (wake, data, epoch) = (wake.clone(), folder.to_path_buf(), committee.epoch);
        Box::new(move || {
            let wake = wake.clone();
            BatchLoader::start(&data, epoch, move || wake.wake())
        })
    };
    let wake = wake.clone();
    SettlePort::start(
        &folder.join("settle.sock"),
        config.settle_ring_bytes,
        committee,
        make_loader,
        move || wake.wake(),
    )
}

fn recover(
    config: &NodeConfig,
    folder: &Path,
    durability: Durability,
    recovery: Recovery,
    wake: impl Fn() + Send + 'static,
) -> anyhow::Result<(Started, Journal<Arc<[u8]>>)> {
    let identity = JournalIdentity {
        chain_id: recovery.committee.chain_id,
        authority: recovery.own,
    };
    let mut journal = JournalConfig::new(folder, identity);
    journal.durability = durability;
    journal.append = config.journal_backend;
    journal.segment_len = config.journal_segment_bytes;
    let mut journal = StoppedJournal::open(&journal)?;
    let started = recovery.run(&mut journal)?;
    Ok((started, journal.start(wake)?))
}

fn certificate_port(
    member: &Member,
    path: &Path,
    wake: impl Fn() + Send + 'static,
) -> anyhow::Result<CertificatePort> {
    let (config, committee) = (&member.config, &member.roster.committee);
    let secret = read_certificate_secret(config, committee, member.own, path)?;
    let keys = committee.certificate_keys().cloned();
    let keys = keys.context("the committee has no certificate keys")?;
    Ok(CertificatePort::new(
        Certifier::start(keys, member.own, secret, wake)?,
        committee.parameters.certificate_interval_us,
        committee.thresholds().authorities(),
        config.certificates,
    ))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Figures are plain numbers, whole at any instant.
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Rounds that its own vertices may be behind before its disk is waited for.
pub const LAG_ROUNDS: u64 = 4;
/// Polls in a row for deadlines that have passed: a tick that was asked for may ask for another.
const DUE_POLLS: u32 = 8;
/// Waits of a millisecond at most in a row before the node counts as stuck.
const STALLED_WAITS: u32 = 30_000;
