//! One authority's process: configuration in, threads running, a report when it stops.
//!
//! ```text
//! clients  --io_uring--> [io] --ring--> [core] --ring--> [journal] (write, fdatasync)
//! peers   <--io_uring--> [io] <--ring-- [core] --shared memory--> settlement workers
//!                                          ^--bounded channels--> [certifier] (signatures, pairings)
//! ```
//!
//! Which stage has which thread and core is planned by `fairlane-tuning` and printed at start.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fairlane_client::committee_file::Roster;
use fairlane_engine::certificate::CertificateSecret;
use fairlane_engine::keyring::EngineKeys;
use fairlane_engine::seal::EnvelopeVerifier;
use fairlane_engine::types::AuthorityIndex;
use fairlane_tuning::CorePlan;
use serde::{Deserialize, Serialize};

pub use self::hosted::pin;
use self::hosted::{EndsNode, Hosted};
pub(crate) use self::secrets::{read_certificate_secret, read_keys};
use self::secrets::{read_link_keys, worker_keys};
use crate::backend::{self, BackendChoice, BackendKind, Chosen};
use crate::boot_mark::BootMark;
use crate::certifier::{Certifier, CertifierCounts};
use crate::config::{BackendName, NodeConfig, Quotas, Timers, resolve};
use crate::control::Control;
use crate::journal::{
    AppendChoice, BODY_LEN_MAX, BatchLoader, Durability, Journal, JournalConfig, JournalIdentity,
    JournalStats, Retention, StoppedJournal, Trim,
};
use crate::open_files;
use crate::recovery::{Recovery, Started};
use crate::session::keys::LinkKeys;
use crate::settle::RemoteFigures;
use crate::stage::bucket::Allowance;
use crate::stage::certificate_port::CertificatePort;
use crate::stage::core::{CorePorts, CoreReport, CoreStage, DiskFullCounts, Standing};
use crate::stage::followers::FollowCounts;
use crate::stage::io::{IoAddresses, IoCounters, IoPorts};
use crate::stage::journal_port::JournalPort;
use crate::stage::key_watch::{KeyCell, KeyWatch};
use crate::stage::links::datagrams::DatagramClients;
use crate::stage::pressure::{Gauge, Pressure};
use crate::stage::rollup_quotas::{RATE_MAX, RollupQuotas};
use crate::stage::settle_port::{SettlePort, WorkerFigures};
use crate::stage::standings::Standings;
use crate::stage::stats::CoreSteps;
use crate::stage::waiting;
use crate::stage::{Fatal, WakeCell, clock};
use crate::testnet::system_entropy;
use crate::udp_xdp::UdpXdp;

mod hosted;
mod secrets;

/// How long an address may be in use before a node gives up.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(3);
/// Messages between the IO and the core stage, each way.
pub const STAGE_RING_DEPTH: usize = 16_384;
/// Longest `timers.heartbeat_us`: an idle committee commits an anchor a heartbeat, and none for twice this time looks ill.
pub const HEARTBEAT_US_LIMIT: u64 = 5_000_000;

/// What a node says of itself when it stops; `report.json` in its data folder.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct NodeReport {
    /// Which authority.
    pub index: u8,
    /// Name of the network backend.
    pub backend: String,
    /// By which system calls the journal was written.
    #[serde(default)]
    pub journal_backend: String,
    /// The round it was in.
    pub round: u64,
    /// Batches opened.
    pub batches: u64,
    /// Counts of the engine, by name.
    pub engine: std::collections::BTreeMap<String, u64>,
    /// Counts of the IO stage.
    pub io: IoCounters,
    /// Time by step of the core stage.
    pub steps: CoreSteps,
    /// What the journal has done in this life of the node.
    #[serde(default)]
    pub journal: JournalStats,
    /// Messages of authorities that did not decode or verify.
    pub messages_refused: u64,
    /// The same by reason.
    pub messages_refused_by_reason: std::collections::BTreeMap<String, u64>,
    /// Submissions that did not decode, or whose proof failed.
    pub submissions_refused: u64,
    /// What was not done because the disk that holds the journal was full.
    #[serde(default)]
    pub disk_full: DiskFullCounts,
    /// Submissions told Busy because proofs of their client failed lately.
    #[serde(default)]
    pub submissions_put_off: u64,
    /// Submissions told Busy because their rollup has its rate.
    #[serde(default)]
    pub submissions_over_rate: u64,
    /// Where it stood when it stopped.
    #[serde(default)]
    pub standing: Standing,
    /// What was done about certificates.
    #[serde(default)]
    pub certificates: CertifierCounts,
    /// What was done for clients that follow.
    #[serde(default)]
    pub follow: FollowCounts,
    /// How each settlement worker stood that it knew.
    #[serde(default)]
    pub workers: Vec<WorkerFigures>,
    /// Connections at the settlement port.
    #[serde(default)]
    pub settle_port: RemoteFigures,
    /// Processor time of the process, microseconds.
    pub cpu_us: u64,
}

/// A node that is running.
pub struct Node {
    index: AuthorityIndex,
    backend: Chosen,
    data: PathBuf,
    stop: Arc<AtomicBool>,
    wakes: Vec<WakeCell>,
    threads: Vec<JoinHandle<()>>,
    faults: mpsc::Receiver<Fatal>,
    figures: Figures,
    /// Serves until the node is gone.
    _control: Option<Control>,
}

impl Node {
    /// Starts the node that the configuration file at `path` describes. Says on stderr what it chose and why.
    ///
    /// Errors: one sentence on what is wrong with configuration, keys, data folder, host or ports.
    pub fn start(path: &Path) -> anyhow::Result<Self> {
        let config: NodeConfig = crate::config::read_toml(path)?;
        let roster = Roster::load(&resolve(path, &config.committee))?;
        let own = AuthorityIndex(config.index);
        let keys = read_keys(&config, &roster, own, path)?;
        let link_keys = read_link_keys(&config, &roster, own, path)?;
        let certificate_secret = read_certificate_secret(&config, &roster.committee, own, path)?;
        let wrong = |what: String| anyhow::anyhow!("{}: {what}", path.display());
        check_quotas(config.quotas).map_err(wrong)?;
        check_timers(config.timers).map_err(wrong)?;
        let plan = plan_cores(&config);
        config.wait.check(&plan).map_err(wrong)?;
        let data = resolve(path, &config.data);
        crate::recovery::check_folder(&data)?;
        check_addresses(&config)?;
        let udp_xdp = UdpXdp::open(config.udp_xdp.as_deref(), config.udp_listen)?;
        let chosen = backend::probe(choice(config.backend))?;
        eprintln!("{own}: backend {}: {}", chosen.kind, chosen.reason);
        if let Some(facts) = &udp_xdp.facts {
            eprintln!("{own}: datagrams by {facts}");
        }
        eprint!("{own}: {plan}");
        for said in open_files::raise_limit() {
            eprintln!("{own}: {said}");
        }
        eprintln!("{own}: wait {}", config.wait);
        eprintln!("{own}: receive {}", config.wait.said_of(&plan));
        let setup = Setup {
            config,
            roster,
            own,
            keys,
            link_keys,
            certificate_secret,
            data,
            chosen,
            plan,
            udp_xdp,
        };
        setup.start(path)
    }

    /// Which network backend it uses.
    pub const fn backend(&self) -> BackendKind {
        self.backend.kind
    }

    /// Waits until every stage has ended, because the node was stopped or a stage failed.
    pub fn wait(&self) {
        while self.threads.iter().any(|thread| !thread.is_finished()) {
            // Nobody wakes this; the timeout bounds how late an end is noticed.
            std::thread::park_timeout(std::time::Duration::from_millis(100));
            if self.stop.load(Ordering::Acquire) {
                return;
            }
        }
    }

    /// A handle that stops the node from another thread.
    pub fn stopper(&self) -> Stopper {
        Stopper {
            stop: self.stop.clone(),
            wakes: self.wakes.clone(),
        }
    }

    /// The report as of now.
    pub fn report(&self) -> NodeReport {
        self.figures.report()
    }

    /// Stops, writes what is queued, and gives the report, which is also in the data folder.
    pub fn stop(mut self) -> anyhow::Result<NodeReport> {
        self.stopper().stop();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                anyhow::bail!("a stage of {} panicked; its message is above", self.index);
            }
        }
        let report = self.figures.report();
        let json = serde_json::to_string_pretty(&report)?;
        let written = std::fs::write(self.data.join(REPORT_FILE), json);
        // A disk that is full fails both, and the stage's words say more.
        if let Ok(fault) = self.faults.try_recv() {
            return Err(fault.into());
        }
        written?;
        Ok(report)
    }
}

/// Where a node's figures are published, for its report and for whoever watches it.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    index: AuthorityIndex,
    backend: BackendKind,
    journal_backend: String,
    io: Arc<Mutex<IoCounters>>,
    core: Arc<Mutex<CoreReport>>,
}

impl Figures {
    pub(crate) fn new(
        index: AuthorityIndex,
        (backend, journal_backend): (BackendKind, String),
        io: Arc<Mutex<IoCounters>>,
        core: Arc<Mutex<CoreReport>>,
    ) -> Self {
        Self {
            index,
            backend,
            journal_backend,
            io,
            core,
        }
    }

    /// The figures as of now.
    pub(crate) fn report(&self) -> NodeReport {
        let core = self.core();
        let named = core
            .engine
            .named()
            .map(|(name, value)| (name.to_owned(), value));
        NodeReport {
            index: self.index.0,
            backend: self.backend.to_string(),
            journal_backend: self.journal_backend.clone(),
            round: core.round.0,
            batches: core.batches,
            engine: named.collect(),
            io: *lock(&self.io),
            steps: core.steps,
            journal: core.journal,
            messages_refused: core.messages_refused.total(),
            messages_refused_by_reason: core
                .messages_refused
                .named()
                .map(|(name, count)| (name.to_owned(), count))
                .collect(),
            submissions_refused: core.submissions_refused,
            disk_full: core.disk_full,
            submissions_put_off: core.submissions_put_off,
            submissions_over_rate: core.submissions_over_rate,
            standing: core.standing,
            certificates: core.certificates,
            follow: core.follow,
            workers: core.workers.into_iter().flatten().collect(),
            settle_port: core.settle_port,
            cpu_us: process_cpu_us(),
        }
    }

    /// What the core stage last published.
    pub(crate) fn core(&self) -> CoreReport {
        lock(&self.core).clone()
    }
}

/// Stops a node.
#[derive(Clone, Debug)]
pub struct Stopper {
    stop: Arc<AtomicBool>,
    wakes: Vec<WakeCell>,
}

impl Stopper {
    /// Asks every stage to stop.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.wakes.iter().for_each(WakeCell::wake);
    }
}

/// Everything that was read and checked before anything is started.
struct Setup {
    config: NodeConfig,
    roster: Roster,
    own: AuthorityIndex,
    keys: EngineKeys,
    link_keys: Arc<LinkKeys>,
    certificate_secret: CertificateSecret,
    data: PathBuf,
    chosen: Chosen,
    plan: CorePlan,
    udp_xdp: UdpXdp,
}

/// What one thread needs to build its stages where they will run.
struct ThreadParts {
    io: Option<(IoPorts, DatagramClients)>,
    core: Option<CoreStage>,
}

impl Setup {
    fn start(self, path: &Path) -> anyhow::Result<Node> {
        let Self {
            config,
            roster,
            own,
            keys,
            link_keys,
            certificate_secret,
            data,
            chosen,
            plan,
            udp_xdp,
        } = self;
        if config.wait.is_spin() {
            leave_to_spinners(&plan);
        }
        let committee = Arc::new(roster.committee.clone());
        let key = KeyCell::default();
        let made_file = data.join(MADE_COMMITTEE_FILE);
        let made_file = committee.key_plan().map(|_| (roster.clone(), made_file));
        let stop = Arc::new(AtomicBool::new(false));
        let (fault_sender, faults) = mpsc::channel();
        let io_counters = Arc::new(Mutex::new(IoCounters::default()));
        let core_report = Arc::new(Mutex::new(CoreReport::default()));

        // One wake a thread; a stage that shares its thread with the one it talks to needs none.
        let (io_wake, core_wake) = (WakeCell::default(), WakeCell::default());
        let shared_thread = plan.threads.iter().any(|thread| {
            thread.stages.contains(&fairlane_tuning::Stage::Io)
                && thread.stages.contains(&fairlane_tuning::Stage::Core)
        });
        let thread_of_core = if shared_thread {
            io_wake.clone()
        } else {
            core_wake.clone()
        };
        let between = |wake: &WakeCell| {
            if shared_thread {
                WakeCell::default()
            } else {
                wake.clone()
            }
        };

        let mut settle = SettlePort::start(
            &resolve(path, &config.settle_socket),
            config.settle_ring_bytes,
            &committee,
            {
                let (wake, data, epoch) = (thread_of_core.clone(), data.clone(), committee.epoch);
                Box::new(move || {
                    let wake = wake.clone();
                    BatchLoader::start(&data, epoch, move || wake.wake())
                })
            },
            {
                let wake = thread_of_core.clone();
                move || wake.wake()
            },
        )?;
        if let Some(address) = config.settle_listen {
            let secret = link_keys.secret().clone();
            let keys = worker_keys(&config, committee.chain_id, own, secret);
            settle.listen(
                address,
                keys.map_err(|what| anyhow::anyhow!("{}: {what}", path.display()))?,
            )?;
        }
        let boot = BootMark::new(&data, config.durability);
        let (mut engine, journal) = {
            let wake = thread_of_core.clone();
            let recovery = Recovery {
                committee: committee.clone(),
                own,
                keys,
                timers: config.timers.into(),
                now: clock(),
            };
            let settled_by_all = settle.settled_by_all();
            let settled = move || settled_by_all.load(Ordering::Acquire);
            let append = append_choice(config.journal_backend, chosen.kind);
            recover_and_start(
                &config,
                &plan,
                &data,
                append,
                recovery,
                settled,
                move || wake.wake(),
            )?
        };
        let journal_backend = journal.append_path().map_or_else(String::new, |append| {
            eprintln!("{own}: journal {}: {}", append.path, append.reason);
            append.path.to_string()
        });

        if boot.is_doubtful()? {
            eprintln!(
                "{own}: the machine went down while durability was async, so the journal may have lost its end: peers are asked for the newest vertex of this node before it makes another"
            );
            let (engine, effects) = &mut engine;
            engine.distrust_records(clock(), effects);
        }

        let loader = BatchLoader::start(&data, committee.epoch, {
            let wake = thread_of_core.clone();
            move || wake.wake()
        })?;

        let certificate_keys = committee.certificate_keys().cloned();
        let certificate_keys = certificate_keys.expect("its own key was found among them");
        let certifier = Certifier::start(certificate_keys, own, certificate_secret, {
            let wake = thread_of_core.clone();
            move || wake.wake()
        })?;
        let mut certificates = CertificatePort::new(
            certifier,
            committee.parameters.certificate_interval_us,
            committee.thresholds().authorities(),
            config.certificates,
        );
        if let Some(header) = engine.0.newest_header() {
            settle.on_opened(header);
            certificates.on_opened(header, clock());
        }

        let (to_core, from_io) = rtrb::RingBuffer::new(STAGE_RING_DEPTH);
        let (to_io, from_core) = rtrb::RingBuffer::new(STAGE_RING_DEPTH);
        let mut verifier = EnvelopeVerifier::without_keys(system_entropy()?);
        let mut watch = KeyWatch::new(key.clone(), made_file);
        // Nobody is connected yet who would have to be told.
        watch.look(&engine.0, &mut verifier)?;
        let Quotas {
            bad_proofs,
            bad_proof_refill_us,
            rollup_rate,
            datagram_rate,
        } = config.quotas;
        let bad_proofs = Allowance {
            burst: bad_proofs,
            refill_us: bad_proof_refill_us,
        };
        let pressure = Pressure::new();
        let core = CoreStage::new(
            engine,
            committee.clone(),
            verifier,
            (Standings::new(bad_proofs), RollupQuotas::new(rollup_rate)),
            CorePorts {
                from_io,
                to_io,
                io: between(&io_wake),
                journal: JournalPort::new(journal, committee.epoch),
                loader,
                settle,
                certificates,
                keys: watch,
                boot,
                pressure: Gauge::new(pressure.clone()),
                report: core_report.clone(),
            },
        );
        let io_ports = IoPorts {
            to_core,
            from_core,
            core: between(&core_wake),
            pressure,
            counters: io_counters.clone(),
            datagram_sources: udp_xdp.sources,
        };
        let addresses = IoAddresses {
            client_listen: config.client_listen,
            udp_listen: config.udp_listen,
            udp_gro: config.udp_gro,
            peer_listen: config.peer_listen,
            peers: roster
                .addresses
                .iter()
                .map(|addresses| addresses.peer)
                .collect(),
        };

        let figures = Figures::new(
            own,
            (chosen.kind, journal_backend),
            io_counters,
            core_report,
        );
        let control = config
            .metrics_listen
            .map(|address| Control::start(address, figures.clone()))
            .transpose()?;
        let mut parts = ThreadParts {
            io: Some((
                io_ports,
                DatagramClients::new(system_entropy()?, datagram_rate),
            )),
            core: Some(core),
        };
        let (ready_sender, ready) = mpsc::channel();
        let mut threads = Vec::new();
        for thread in &plan.threads {
            let io = thread.stages.contains(&fairlane_tuning::Stage::Io);
            let core = thread.stages.contains(&fairlane_tuning::Stage::Core);
            if !io && !core {
                continue;
            }
            let hosted = Hosted {
                io: parts.io.take_if(|_| io),
                core: parts.core.take_if(|_| core),
                wake: if io {
                    io_wake.clone()
                } else {
                    core_wake.clone()
                },
                chosen: chosen.kind,
                committee: committee.clone(),
                link_keys: link_keys.clone(),
                key: key.clone(),
                addresses: addresses.clone(),
                core_index: thread.core,
                wait: config.wait,
                stop: stop.clone(),
                ready: ready_sender.clone(),
            };
            let faults = fault_sender.clone();
            let ends_node = EndsNode(Stopper {
                stop: stop.clone(),
                wakes: vec![io_wake.clone(), core_wake.clone()],
            });
            let name = if io { "io" } else { "core" };
            let spawned = std::thread::Builder::new()
                .name(name.into())
                .spawn(move || {
                    let _ends_node = ends_node;
                    let ready = hosted.ready.clone();
                    if let Err(fault) = hosted.run() {
                        // Whoever waits for ready hears it there, else `stop` does.
                        let _ = ready.send(Err(fault.clone()));
                        let _ = faults.send(fault);
                    }
                })?;
            threads.push(spawned);
        }
        drop(ready_sender);
        let node = Node {
            index: own,
            backend: chosen,
            data,
            stop,
            wakes: vec![io_wake, core_wake],
            threads,
            faults,
            figures,
            _control: control,
        };
        for _ in 0..node.threads.len() {
            if let Ok(Err(fault)) = ready.recv() {
                node.stopper().stop();
                return Err(fault.into());
            }
        }
        Ok(node)
    }
}

/// Takes the journal of the data folder, makes the engine of it, and goes on writing behind what is there.
fn recover_and_start(
    config: &NodeConfig,
    plan: &CorePlan,
    data: &Path,
    append: AppendChoice,
    recovery: Recovery,
    settled: impl Fn() -> u64 + Send + 'static,
    wake: impl Fn() + Send + 'static,
) -> anyhow::Result<(Started, Journal<Arc<[u8]>>)> {
    let identity = JournalIdentity {
        chain_id: recovery.committee.chain_id,
        authority: recovery.own,
    };
    let mut journal = JournalConfig::new(data, identity);
    journal.durability = config.durability;
    journal.append = append;
    journal.segment_len = config.journal_segment_bytes;
    let least = 2 * BODY_LEN_MAX as u64;
    anyhow::ensure!(
        journal.segment_len >= least,
        "journal_segment_bytes = {} is too small: at least {least}, so that any record fits",
        journal.segment_len
    );
    let mut journal = StoppedJournal::open(&journal)?;
    let epoch = recovery.committee.epoch;
    let started_engine = recovery.run(&mut journal)?;
    let retention = Retention {
        bytes: config.retention_bytes,
        unsettled_bytes: config.retention_unsettled_bytes,
    };
    journal.set_trim(Trim::new(data, epoch, retention, settled));
    let core = plan
        .threads
        .iter()
        .find(|thread| thread.stages.contains(&fairlane_tuning::Stage::Journal))
        .map(|thread| thread.core);
    // A thread takes over the cores of the one that starts it.
    let before = rustix::thread::sched_getaffinity(None);
    if let Some(core) = core {
        pin(core);
    }
    let started = journal.start(wake);
    if let Ok(before) = before {
        // Restoring what was in force a moment ago.
        let _ = rustix::thread::sched_setaffinity(None, &before);
    }
    Ok((started_engine, started?))
}

/// Finds out before a journal is read and begun whether its addresses are free.
///
/// The kernel may close the sockets of a node that was killed a moment after it is gone: that is waited for.
fn check_addresses(config: &NodeConfig) -> anyhow::Result<()> {
    let addresses = [
        ("client", Some(config.client_listen)),
        ("peer", Some(config.peer_listen)),
        ("metrics", config.metrics_listen),
        ("settlement", config.settle_listen),
    ];
    let until = Instant::now() + ADDRESS_TIMEOUT;
    for (what, address) in addresses {
        let Some(address) = address else {
            continue;
        };
        wait_until_free(
            until,
            &format!("listen on the {what} address {address}"),
            || std::net::TcpListener::bind(address).map(drop),
        )?;
    }
    if let Some(address) = config.udp_listen {
        let what = format!("receive datagrams at the udp_listen address {address}");
        wait_until_free(until, &what, || {
            std::net::UdpSocket::bind(address).map(drop)
        })?;
    }
    Ok(())
}

/// Binds until it works. Errors: it does not, by `until` or for another reason than that the address is in use.
fn wait_until_free(
    until: Instant,
    what: &str,
    bind: impl Fn() -> std::io::Result<()>,
) -> anyhow::Result<()> {
    while let Err(error) = bind() {
        anyhow::ensure!(
            error.kind() == std::io::ErrorKind::AddrInUse && Instant::now() < until,
            "cannot {what}: {error}; free the port or choose another"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

pub(crate) fn check_quotas(quotas: Quotas) -> Result<(), String> {
    if quotas.bad_proofs == 0 || quotas.bad_proof_refill_us == 0 {
        return Err("quotas.bad_proofs and quotas.bad_proof_refill_us start at 1".to_owned());
    }
    if quotas.rollup_rate > RATE_MAX {
        return Err(format!("quotas.rollup_rate is at most {RATE_MAX}"));
    }
    if quotas.datagram_rate > RATE_MAX {
        return Err(format!("quotas.datagram_rate is at most {RATE_MAX}"));
    }
    Ok(())
}

/// Errors: an idle node would look ill, as it would commit no anchor for longer than its health check waits.
pub(crate) fn check_timers(timers: Timers) -> Result<(), String> {
    if timers.heartbeat_us > HEARTBEAT_US_LIMIT {
        return Err(format!(
            "timers.heartbeat_us = {} is too long: at most {HEARTBEAT_US_LIMIT}",
            timers.heartbeat_us
        ));
    }
    Ok(())
}

/// Keeps threads that are started from now on, but for those that pin themselves, off the cores on which threads spin.
fn leave_to_spinners(plan: &CorePlan) {
    let Ok(mut cores) = rustix::thread::sched_getaffinity(None) else {
        return;
    };
    for thread in plan.threads.iter().filter(|thread| waiting::spins(thread)) {
        cores.unset(thread.core);
    }
    if cores.count() > 0 {
        // A host that refuses leaves them where the scheduler puts them, which is slower, not wrong.
        let _ = rustix::thread::sched_setaffinity(None, &cores);
    }
}

pub(crate) fn plan_cores(config: &NodeConfig) -> CorePlan {
    let cores: Vec<usize> = core_affinity::get_core_ids()
        .unwrap_or_default()
        .iter()
        .map(|core| core.id)
        .collect();
    let cores = if cores.is_empty() { vec![0] } else { cores };
    let (place, authorities) = (usize::from(config.index), config.authorities_here.max(1));
    config.wait.plan(&cores, place, authorities)
}

pub(crate) const fn choice(name: BackendName) -> BackendChoice {
    match name {
        BackendName::Auto => BackendChoice::Auto,
        BackendName::Uring => BackendChoice::Uring,
        BackendName::Mio => BackendChoice::Mio,
    }
}

/// Where the choice is left to the node, a network without io_uring means a journal without.
pub(crate) const fn append_choice(choice: AppendChoice, network: BackendKind) -> AppendChoice {
    match (choice, network) {
        (AppendChoice::Auto, BackendKind::Mio) => AppendChoice::Plain,
        (choice, _) => choice,
    }
}

/// User and system time of this process so far, microseconds.
pub fn process_cpu_us() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    u64::try_from(time.tv_sec * 1_000_000 + time.tv_nsec / 1_000).unwrap_or(0)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Figures are plain numbers, whole at any instant.
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Name of the committee file with the key that the committee made, in a node's data folder.
pub const MADE_COMMITTEE_FILE: &str = "committee.json";

/// Name of the report in a node's data folder.
pub const REPORT_FILE: &str = "report.json";

/// The durability that reports name.
pub const fn durability_name(durability: Durability) -> &'static str {
    match durability {
        Durability::Sync => "sync",
        Durability::Async => "async",
    }
}
