//! `fairlane localnet`: a whole committee on this machine under load, checked and reported.
//!
//! Every authority and the settlement worker are processes of their own, of this same binary; the load generator runs
//! here. After the load has drained, the processes are stopped and their journals are read: agreement and order are
//! judged from those records, not from what anybody claimed while running.

pub mod checked;
pub mod children;
pub mod fair_cost;
pub mod folder;
pub mod keys;
pub mod report;
pub mod search;
pub mod settled;

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use fairlane_client::Transport;
use fairlane_client::committee_file::{Addresses, Directory};
use fairlane_engine::committee::{Committee, Parameters, Rollup, RollupPolicy};
use fairlane_engine::types::{AuthorityIndex, ChainId, RollupId};
use fairlane_loadgen::host::COMMIT;
use fairlane_loadgen::output::check_output;
use fairlane_loadgen::workload::replay::Replay;
use fairlane_loadgen::workload::synthetic::Synthetic;
use fairlane_loadgen::workload::{Pace, Workload};
use fairlane_loadgen::{Control, LoadConfig, LoadOutcome, Phase, Progress, hlog};
use indicatif::{ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::config::{BackendName, FinalityName, Timers};
use crate::journal::{AppendChoice, Durability};
use crate::node::{NodeReport, REPORT_FILE};
use crate::stage::clock;
use crate::stage::waiting::ReceiveMode;
use crate::testnet::{self, TestnetPlan, system_entropy};
use crate::verify::run::{node_folder, verify_run};

use checked::Checked;
use children::Process;
use folder::DataFolder;
use report::{ProcessFigures, Report};

pub use folder::check_absent_or_empty;

/// What a local network is to do.
#[derive(Clone, Debug)]
pub struct LocalnetPlan {
    /// Authorities.
    pub nodes: u8,
    /// The load.
    pub offered: Offered,
    /// Bytes of payload in each envelope.
    pub payload_len: usize,
    /// Open envelopes instead of sealed ones.
    pub open: bool,
    /// How envelopes travel.
    pub transport: Transport,
    /// How often an envelope that every node told Busy is sent again.
    pub busy_retries: u32,
    /// The committee makes its sealing key itself before the load starts.
    pub dkg: bool,
    /// And the next one so long after each, while the load runs.
    pub new_key_every: Option<Duration>,
    /// For every node.
    pub durability: Durability,
    /// For every node.
    pub backend: BackendName,
    /// For every node.
    pub journal_backend: AppendChoice,
    /// For every node.
    pub receive: ReceiveMode,
    /// Whom to kill, and when after the start of the load.
    pub kills: Vec<(u8, Duration)>,
    /// Whom to start again, and when; killed before.
    pub restarts: Vec<(u8, Duration)>,
    /// Beside which authority the settlement worker works; none: the first that is never killed.
    pub settle_at: Option<u8>,
    /// What makes a batch final for the worker.
    pub finality: FinalityName,
    /// First of the ports; none: free ones.
    pub base_port: Option<u16>,
    /// The data folder; none: a temporary one.
    pub data: Option<PathBuf>,
    /// Where to write the report as JSON.
    pub json: Option<PathBuf>,
    /// Where to write the latencies as an HdrHistogram log.
    pub hlog: Option<PathBuf>,
    /// For every node.
    pub timers: Timers,
}

/// What happens to a node during the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Kill,
    Restart,
}

impl LocalnetPlan {
    /// What happens to whom and when, in order of time.
    fn moments(&self) -> VecDeque<(Duration, u8, Moment)> {
        let all = |moments: &[(u8, Duration)], moment| {
            let all = moments.iter().map(|(index, at)| (*at, *index, moment));
            all.collect::<Vec<_>>()
        };
        let mut moments = all(&self.kills, Moment::Kill);
        moments.extend(all(&self.restarts, Moment::Restart));
        moments.sort_by_key(|(at, ..)| *at);
        moments.into()
    }
}

/// The load.
#[derive(Clone, Debug)]
pub enum Offered {
    /// Synthetic trading at a mean rate.
    Synthetic {
        /// Envelopes a second.
        rate: f64,
        /// How long.
        duration: Duration,
    },
    /// A recorded market.
    Trace {
        /// The file.
        path: PathBuf,
        /// When its events are due.
        pace: Pace,
        /// How much of it; none: all.
        duration: Option<Duration>,
    },
    /// Synthetic trading at the highest rate that holds.
    Max {
        /// How long it must hold.
        duration: Duration,
    },
}

/// Runs it; true when nothing accepted was lost and every check holds.
///
/// Errors: bad input or a host that lacks something, in one sentence; then nothing is left behind.
pub fn run(plan: LocalnetPlan) -> anyhow::Result<bool> {
    check_offered(&plan.offered)?;
    check_json(plan.json.as_deref())?;
    check_file("--hlog", plan.hlog.as_deref())?;
    let mut folder = DataFolder::make(plan.data.as_deref())?;
    folder.check_room(u64::from(plan.nodes))?;
    let control = Control::new();
    let interrupted = stop_on_signal(&control)?;
    let mut network = Network::start(&plan, folder.path())?;
    let offered = network.offer(&plan, &control);
    // A process that ended by itself explains a load that failed better than the load does.
    if let Some(ended) = network.unexpected_end() {
        folder.keep();
        anyhow::bail!("{ended}");
    }
    let offered = offered?;
    network.settle_down();
    let stopped = network.stop();
    if let Some(path) = &plan.hlog {
        let comment = format!("fairlane localnet, commit {COMMIT}");
        hlog::write_file(path, &[comment], &offered.outcome)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    let report = network.report(&plan, offered, stopped)?;
    print!("{report}");
    if let Some(path) = &plan.json {
        let json = serde_json::to_string_pretty(&report)?;
        std::fs::write(path, json + "\n")
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    anyhow::ensure!(
        !interrupted.load(std::sync::atomic::Ordering::Acquire),
        "interrupted"
    );
    if !report.holds() || plan.data.is_some() {
        folder.keep();
        eprintln!("journals, logs and keys are in {}", folder.path().display());
    }
    Ok(report.holds())
}

/// What came of the load: the run that counts, and the steps that led to it.
#[derive(Clone, Debug)]
pub struct OfferedOutcome {
    /// The run that is reported.
    pub outcome: LoadOutcome,
    /// How long it was planned to send, seconds.
    pub duration_s: f64,
    /// The rates that were tried, when the highest was looked for.
    pub steps: Vec<search::Step>,
    /// Lost in any run.
    pub lost: u64,
    /// From the first start to the last notice.
    pub wall: Duration,
}

/// The running processes.
struct Network {
    directory: Directory,
    data: PathBuf,
    nodes: Vec<Process>,
    /// Who is dead.
    killed: Vec<bool>,
    /// How often each was started.
    starts: Vec<u32>,
    worker: Process,
    /// How long the committee took to make its key once every node was ready, seconds; none where a dealer made it.
    key_made_s: Option<f64>,
    /// Processor time of this process when the load was over, before anything is rechecked.
    load_cpu_us: u64,
}

impl Network {
    fn start(plan: &LocalnetPlan, data: &Path) -> anyhow::Result<Self> {
        let never_killed =
            (0..plan.nodes).find(|index| plan.kills.iter().all(|(killed, _)| killed != index));
        let settle_node = plan.settle_at.or(never_killed).unwrap_or(0);
        let addresses = choose_addresses(plan.nodes, plan.base_port)?;
        let policy = if plan.open {
            RollupPolicy::Open
        } else {
            RollupPolicy::Sealed
        };
        let testnet = TestnetPlan {
            chain_id: ChainId(1),
            epoch_start: clock(),
            parameters: Parameters::default(),
            rollups: vec![Rollup { id: ROLLUP, policy }],
            addresses,
            durability: plan.durability,
            backend: plan.backend,
            journal_backend: plan.journal_backend,
            receive: plan.receive,
            // The order is computed again from all records.
            retention_bytes: 0,
            udp: plan.transport == Transport::Udp,
            timers: plan.timers,
            settle_node: usize::from(settle_node),
            finality: plan.finality,
            dkg: plan.dkg || plan.new_key_every.is_some(),
            renew_us: plan.new_key_every.map(|every| every.as_micros() as u64),
        };
        let roster = testnet::write(&testnet, data, &mut system_entropy)?;
        validate(plan, &keys::dealt_or_stand_in(&roster)?)?;
        let is_dealt = roster.committee.key_plan().is_none();
        let dealt = is_dealt.then(|| roster.into_directory()).transpose()?;
        let mut nodes = Vec::new();
        for index in 0..plan.nodes {
            nodes.push(start_node(data, index, 1)?);
        }
        for node in &mut nodes {
            node.wait_until("ready")?;
            // What it chose and why, and which stage runs on which core.
            eprint!("{}", node.log());
        }
        let mut key_made_s = None;
        let directory = match dealt {
            Some(directory) => directory,
            None => {
                let start = Instant::now();
                let directory = keys::wait_until_made(data, &mut nodes)?;
                key_made_s = Some(start.elapsed().as_secs_f64());
                directory
            }
        };
        let config = data.join(format!("settle-{}.toml", ROLLUP.0));
        let log = data.join(format!("settle-{}.log", ROLLUP.0));
        let name = "the settlement worker";
        let mut worker = Process::start(name, &["settle", "--config"], &config, log)?;
        worker.wait_until("attached")?;
        let killed = vec![false; nodes.len()];
        let starts = vec![1; nodes.len()];
        Ok(Self {
            directory,
            data: data.to_path_buf(),
            nodes,
            killed,
            starts,
            worker,
            key_made_s,
            load_cpu_us: 0,
        })
    }

    fn offer(&mut self, plan: &LocalnetPlan, control: &Control) -> anyhow::Result<OfferedOutcome> {
        let start = Instant::now();
        let (outcome, duration_s, steps) = match &plan.offered {
            Offered::Synthetic { rate, duration } => {
                let outcome = self.run_synthetic(plan, *rate, *duration, 1, control)?;
                (outcome, duration.as_secs_f64(), Vec::new())
            }
            Offered::Trace {
                path,
                pace,
                duration,
            } => {
                let end_us = duration.map(|duration| duration.as_micros() as u64);
                let workload = Replay::open(path, *pace, end_us)?;
                let outcome = self.run_load(plan, Box::new(workload), control)?;
                let planned_s = outcome.offering.planned_s;
                (outcome, planned_s, Vec::new())
            }
            Offered::Max { duration } => {
                let mut seed = 0;
                let found = search::highest_rate(*duration, |rate, duration| {
                    seed += 1;
                    self.run_synthetic(plan, rate, duration, seed, control)
                })?;
                (found.outcome, duration.as_secs_f64(), found.steps)
            }
        };
        let lost = steps
            .iter()
            .map(|step: &search::Step| step.lost)
            .sum::<u64>();
        let lost = if steps.is_empty() {
            outcome.tally.lost
        } else {
            lost
        };
        Ok(OfferedOutcome {
            outcome,
            duration_s,
            steps,
            lost,
            wall: start.elapsed(),
        })
    }

    fn run_synthetic(
        &mut self,
        plan: &LocalnetPlan,
        rate: f64,
        duration: Duration,
        seed: u64,
        control: &Control,
    ) -> anyhow::Result<LoadOutcome> {
        let workload = Synthetic::new(rate, duration.as_micros() as u64, seed)?;
        self.run_load(plan, Box::new(workload), control)
    }

    fn run_load(
        &mut self,
        plan: &LocalnetPlan,
        workload: Box<dyn Workload>,
        control: &Control,
    ) -> anyhow::Result<LoadOutcome> {
        let config = load_config(plan, &self.directory, workload);
        let line = progress_line();
        let mut moments = plan.moments();
        let mut failure = None;
        let outcome = fairlane_loadgen::run(
            config,
            &mut |progress| {
                line.set_message(progress_text(progress));
                let elapsed = Duration::from_micros(progress.elapsed_us);
                let is_due = |at: &Duration| progress.phase != Phase::Preparing && *at <= elapsed;
                while moments.front().is_some_and(|(at, ..)| is_due(at))
                    && let Some((_, index, moment)) = moments.pop_front()
                {
                    match moment {
                        Moment::Kill => {
                            control.declare_killed(AuthorityIndex(index));
                            self.kill(index);
                        }
                        Moment::Restart => {
                            if let Err(error) = self.start_again(index) {
                                failure = Some(error);
                                control.stop();
                            }
                        }
                    }
                }
                self.end_if_a_process_ended(control);
            },
            control,
        );
        line.finish_and_clear();
        match failure {
            Some(error) => Err(error),
            None => Ok(outcome?),
        }
    }

    fn kill(&mut self, index: u8) {
        self.nodes[usize::from(index)].kill();
        self.killed[usize::from(index)] = true;
    }

    /// Starts a dead node on what it left; it is not waited for.
    fn start_again(&mut self, index: u8) -> anyhow::Result<()> {
        let at = usize::from(index);
        self.starts[at] += 1;
        self.nodes[at] = start_node(&self.data, index, self.starts[at])?;
        self.killed[at] = false;
        Ok(())
    }

    /// A node that ends by itself ends the run: waiting for it would only hide why.
    fn end_if_a_process_ended(&mut self, control: &Control) {
        let ended = |(node, killed): (&mut Process, &bool)| !killed && node.has_ended();
        if self.nodes.iter_mut().zip(&self.killed).any(ended) || self.worker.has_ended() {
            control.stop();
        }
    }

    /// The first process that ended without being told to, and its last words.
    fn unexpected_end(&mut self) -> Option<String> {
        let survivors = self
            .nodes
            .iter_mut()
            .zip(&self.killed)
            .filter(|(_, killed)| !**killed);
        let mut all = survivors
            .map(|(node, _)| node)
            .chain(std::iter::once(&mut self.worker));
        let ended = all.find_map(|process| process.has_ended().then_some(process))?;
        let words = ended.last_words();
        Some(format!("{} ended during the run: {words}", ended.name))
    }

    /// Lets nodes that are a few rounds behind catch up before everybody is stopped.
    fn settle_down(&self) {
        std::thread::sleep(SETTLE_DOWN);
    }

    /// Stops nodes, then the worker; names those that did not end well.
    fn stop(&mut self) -> Vec<String> {
        let mut failed = Vec::new();
        // The worker ends by itself, so its figures are taken before.
        self.worker.cpu_us();
        self.load_cpu_us = crate::node::process_cpu_us();
        let killed = &self.killed;
        let survives = |(_, killed): &(&mut Process, &bool)| !**killed;
        for (node, _) in self.nodes.iter_mut().zip(killed).filter(survives) {
            node.ask_to_stop();
        }
        for (node, _) in self.nodes.iter_mut().zip(killed).filter(survives) {
            if !node.wait_for_end() {
                let words = node.last_words();
                failed.push(format!("{}: {words}", node.name));
            }
        }
        // Its node has hung up; it settles what was published, and would wait for the node to come back.
        self.worker.ask_to_stop();
        if !self.worker.wait_for_end() {
            let words = self.worker.last_words();
            failed.push(format!("{}: {words}", self.worker.name));
        }
        failed
    }

    fn report(
        &mut self,
        plan: &LocalnetPlan,
        offered: OfferedOutcome,
        failures: Vec<String>,
    ) -> anyhow::Result<Report> {
        let committee: Arc<Committee> = Arc::new(self.directory.committee.clone());
        let alive = (0u8..).zip(&self.killed);
        let survivors: Vec<u8> = alive
            .filter(|(_, killed)| !**killed)
            .map(|(index, _)| index)
            .collect();
        let verdicts = verify_run(&self.data, &survivors)?;
        let folders = survivors
            .iter()
            .map(|index| node_folder(&self.data, *index));
        let folders: Vec<PathBuf> = folders.collect();
        let checked = Checked::measure(verdicts, (&self.data, &folders), &committee)?;
        let mut node_reports: Vec<NodeReport> = Vec::new();
        for folder in folders {
            if let Ok(json) = std::fs::read_to_string(folder.join(REPORT_FILE)) {
                node_reports.push(serde_json::from_str(&json)?);
            }
        }
        let mut processes: Vec<ProcessFigures> = self
            .nodes
            .iter_mut()
            .zip(self.killed.iter().zip(&self.starts))
            .map(|(node, (killed, starts))| {
                let name = match (killed, starts) {
                    (true, _) => format!("{} (killed)", node.name),
                    (false, 1) => node.name.clone(),
                    (false, starts) => format!("{} (started {starts} times)", node.name),
                };
                ProcessFigures {
                    name,
                    cpu_s: node.cpu_us() as f64 / 1e6,
                }
            })
            .collect();
        let cpu_s = self.worker.cpu_us() as f64 / 1e6;
        processes.push(ProcessFigures {
            name: "settlement worker".into(),
            cpu_s,
        });
        let cpu_s = self.load_cpu_us as f64 / 1e6;
        processes.push(ProcessFigures {
            name: "load generator".into(),
            cpu_s,
        });
        Ok(Report::new(
            plan,
            offered,
            checked,
            node_reports,
            (processes, self.key_made_s),
            failures,
        ))
    }
}

/// Starts the node of authority `index` for the `start`-th time.
fn start_node(data: &Path, index: u8, start: u32) -> anyhow::Result<Process> {
    let name = AuthorityIndex(index).to_string();
    let config = data.join(format!("node-{index}.toml"));
    let log = match start {
        1 => data.join(format!("node-{index}.log")),
        _ => data.join(format!("node-{index}-start-{start}.log")),
    };
    Process::start(&name, &["node", "--config"], &config, log)
}

/// Refuses a load that cannot be before anything waits for it.
fn validate(plan: &LocalnetPlan, directory: &Directory) -> anyhow::Result<()> {
    let workload = Box::new(Synthetic::new(1.0, 1, 0)?);
    Ok(load_config(plan, directory, workload).validate()?)
}

fn load_config(
    plan: &LocalnetPlan,
    directory: &Directory,
    workload: Box<dyn Workload>,
) -> LoadConfig {
    let mut config = LoadConfig::new(directory.clone(), ROLLUP, workload);
    config.open = plan.open;
    config.transport = plan.transport;
    config.payload_len = plan.payload_len;
    config.busy_retries = plan.busy_retries;
    // Sealed so shortly before they are sent, envelopes show each change of keys.
    if let Some(every) = plan.new_key_every {
        config.look_ahead_time = LOOK_AHEAD.min(every);
    }
    config
}

/// Finds out what is wrong with a trace before anything is started.
fn check_offered(offered: &Offered) -> anyhow::Result<()> {
    if let Offered::Trace { path, pace, .. } = offered {
        pace.validate()?;
        Replay::survey(path)?;
    }
    Ok(())
}

pub(crate) fn check_json(path: Option<&Path>) -> anyhow::Result<()> {
    check_file("--json", path)
}

fn check_file(flag: &str, path: Option<&Path>) -> anyhow::Result<()> {
    let checked = path.map_or(Ok(()), |path| check_output(flag, path));
    checked.map_err(anyhow::Error::msg)
}

/// Two addresses on the loopback interface for each authority.
fn choose_addresses(nodes: u8, base_port: Option<u16>) -> anyhow::Result<Vec<Addresses>> {
    let mut held = Vec::new();
    let mut next = |offset: u16| -> anyhow::Result<SocketAddr> {
        let port = match base_port {
            None => 0,
            Some(base) => base.checked_add(offset).with_context(|| {
                format!("--base-port {base} leaves no room for {nodes} authorities below 65536")
            })?,
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).with_context(|| {
            format!("port {port} is in use or not allowed: choose another --base-port")
        })?;
        let address = listener.local_addr()?;
        // Held until all are chosen, so that none is given out twice.
        held.push(listener);
        Ok(address)
    };
    (0..u16::from(nodes))
        .map(|index| {
            Ok(Addresses {
                client: next(2 * index)?,
                peer: next(2 * index + 1)?,
            })
        })
        .collect()
}

/// Stops the load when the user interrupts; the processes are then stopped on the usual way out.
fn stop_on_signal(control: &Control) -> anyhow::Result<Arc<std::sync::atomic::AtomicBool>> {
    let interrupted = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let (control, flag) = (control.clone(), interrupted.clone());
    // The thread ends with the process.
    std::thread::spawn(move || {
        for _ in signals.forever() {
            flag.store(true, std::sync::atomic::Ordering::Release);
            control.stop();
        }
    });
    Ok(interrupted)
}

fn progress_line() -> ProgressBar {
    let line = ProgressBar::new_spinner();
    let style = ProgressStyle::with_template("{spinner} {msg}");
    line.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    line
}

fn progress_text(progress: &Progress) -> String {
    let phase = match progress.phase {
        Phase::Preparing => "sealing ahead",
        Phase::Sending => "sending",
        Phase::Draining => "draining",
    };
    format!(
        "{phase} {:5.1} s  offered {}  accepted {}  ordered {}  settled {}  refusals {}  p50 {:.1} ms  nodes {}",
        progress.elapsed_us as f64 / 1e6,
        progress.offered,
        progress.acked,
        progress.ordered,
        progress.settled,
        progress.refused.iter().sum::<u64>(),
        progress.settled_p50_us as f64 / 1e3,
        progress.live,
    )
}

/// How long before it is sent an envelope is sealed, where keys change.
const LOOK_AHEAD: Duration = Duration::from_millis(200);
/// The one rollup of a local network.
const ROLLUP: RollupId = RollupId(1);
/// Between the end of the load and the stop of the nodes.
const SETTLE_DOWN: Duration = Duration::from_secs(1);
