//! The processes of one committee: started, killed and started again as a round says.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use fairlane_client::committee_file::{Addresses, Directory};
use fairlane_engine::committee::{Parameters, Rollup, RollupPolicy};
use fairlane_engine::types::{AuthorityIndex, ChainId, RollupId};
use fairlane_net::config::{BackendName, FinalityName, Timers};
use fairlane_net::journal::AppendChoice;
use fairlane_net::localnet::children::Process;
use fairlane_net::stage::clock;
use fairlane_net::stage::waiting::ReceiveMode;
use fairlane_net::testnet::{self, TestnetPlan, system_entropy};

use super::CrashPlan;
use super::plan::{Act, Round, Setting};
use crate::attack::chance::Chance;

/// A committee and its worker.
pub struct Network {
    /// Whom the client talks to.
    pub directory: Directory,
    /// From start to ready, of every start after a kill.
    pub recoveries: Vec<Duration>,
    fairlane: PathBuf,
    folder: PathBuf,
    nodes: Vec<Member>,
    worker: Member,
}

/// A process that may be down, or not ready yet.
struct Member {
    name: String,
    command: &'static str,
    config: PathBuf,
    /// Ready when it says this.
    word: &'static str,
    process: Option<Process>,
    starts: u32,
    /// When it was started, until it is ready.
    starting: Option<Instant>,
}

impl Network {
    /// Makes keys in `folder` and starts everybody. Errors: somebody does not start.
    pub fn start(plan: &CrashPlan, setting: Setting, folder: &Path) -> anyhow::Result<Self> {
        let testnet = TestnetPlan {
            chain_id: ChainId(1),
            epoch_start: clock(),
            parameters: Parameters::default(),
            rollups: vec![Rollup {
                id: ROLLUP,
                policy: RollupPolicy::Sealed,
            }],
            addresses: free_addresses(plan.authorities)?,
            durability: setting.durability,
            backend: BackendName::Auto,
            journal_backend: AppendChoice::default(),
            receive: ReceiveMode::default(),
            udp: false,
            timers: Timers {
                // Slower rounds than the default: the machine's time is for starting processes here.
                round_interval_us_min: ROUND_INTERVAL_US,
                ..Timers::default()
            },
            settle_node: setting.settle_node.into(),
            finality: FinalityName::Node,
            dkg: false,
            renew_us: None,
            retention_bytes: 0,
        };
        let roster = testnet::write(&testnet, folder, &mut system_entropy)?;
        let member = |name: String, command, config: String, word| Member {
            name,
            command,
            config: folder.join(config),
            word,
            process: None,
            starts: 0,
            starting: None,
        };
        let node = |index: u8| {
            let name = AuthorityIndex(index).to_string();
            member(name, "node", format!("node-{index}.toml"), "ready")
        };
        let worker = format!("settle-{}.toml", ROLLUP.0);
        let mut network = Self {
            directory: roster.into_directory()?,
            recoveries: Vec::new(),
            fairlane: plan.fairlane.clone(),
            folder: folder.to_path_buf(),
            nodes: (0..plan.authorities).map(node).collect(),
            worker: member("the worker".into(), "settle", worker, "attached"),
        };
        for index in 0..plan.authorities {
            network.act(Act::Start(index))?;
        }
        network.wait_for_all()?;
        network.act(Act::StartWorker)?;
        network.wait_for_all()?;
        network.recoveries.clear();
        Ok(network)
    }

    /// Does what the round says at its times, and waits until everybody is ready again.
    ///
    /// Errors: somebody ended by itself, or does not come back.
    pub fn carry_out(&mut self, round: &Round) -> anyhow::Result<()> {
        let start = Instant::now();
        let mut acts: VecDeque<_> = round.acts.iter().copied().collect();
        while let Some((at, act)) = acts.front().copied() {
            if start.elapsed() >= at {
                self.act(act)?;
                acts.pop_front();
            } else {
                self.look()?;
                std::thread::sleep(LOOK_EVERY.min(at.saturating_sub(start.elapsed())));
            }
        }
        self.wait_for_all()
    }

    /// Errors: somebody has ended by itself.
    pub fn check_all_run(&mut self) -> anyhow::Result<()> {
        self.look()?;
        let all = self.nodes.iter().chain(std::iter::once(&self.worker));
        match all.into_iter().find(|member| member.process.is_none()) {
            Some(member) => bail!("{} does not run", member.name),
            None => Ok(()),
        }
    }

    /// Asks everybody to stop, and waits. Errors: somebody does not end well.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        for member in self.nodes.iter_mut().chain([&mut self.worker]) {
            let Some(process) = &mut member.process else {
                continue;
            };
            process.ask_to_stop();
            let has_ended_well = process.wait_for_end();
            ensure!(
                has_ended_well,
                "{} did not stop well: {}",
                member.name,
                process.last_words()
            );
        }
        Ok(())
    }

    fn act(&mut self, act: Act) -> anyhow::Result<()> {
        match act {
            Act::Kill(index) => self.nodes[usize::from(index)].kill(),
            Act::KillWorker => self.worker.kill(),
            Act::Start(index) => {
                self.nodes[usize::from(index)].start(&self.fairlane, &self.folder)?;
            }
            Act::StartWorker => self.worker.start(&self.fairlane, &self.folder)?,
        }
        Ok(())
    }

    fn wait_for_all(&mut self) -> anyhow::Result<()> {
        let until = Instant::now() + READY_TIMEOUT;
        loop {
            self.look()?;
            let mut all = self.nodes.iter().chain([&self.worker]);
            let Some(late) = all.find(|member| member.starting.is_some()) else {
                return Ok(());
            };
            ensure!(
                Instant::now() < until,
                "{} is not ready after {READY_TIMEOUT:?}",
                late.name
            );
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Notes who is ready; a worker that did not find its node is started again, as a supervisor would.
    fn look(&mut self) -> anyhow::Result<()> {
        for node in &mut self.nodes {
            if node.has_ended() {
                let words = node.process.as_mut().map(Process::last_words);
                bail!(
                    "{} ended by itself: {}",
                    node.name,
                    words.unwrap_or_default()
                );
            }
            if let Some(took) = node.became_ready() {
                self.recoveries.push(took);
            }
        }
        if self.worker.has_ended() {
            let words = self.worker.process.as_mut().map(Process::last_words);
            let words = words.unwrap_or_default();
            ensure!(
                self.worker.starting.is_some() && words.contains("settlement socket"),
                "the worker ended by itself: {words}"
            );
            let since = self.worker.starting;
            self.worker.start(&self.fairlane, &self.folder)?;
            self.worker.starting = since;
        }
        self.worker.became_ready();
        Ok(())
    }
}

impl Member {
    fn start(&mut self, fairlane: &Path, folder: &Path) -> anyhow::Result<()> {
        self.starts += 1;
        let stem = self
            .config
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy();
        let log = folder.join(format!("{stem}-start-{}.log", self.starts));
        let arguments = [self.command, "--config"];
        let process = Process::start_program(fairlane, &self.name, &arguments, &self.config, log);
        let process = process.with_context(|| format!("cannot run {}", fairlane.display()))?;
        self.process = Some(process);
        self.starting = Some(Instant::now());
        Ok(())
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
        self.starting = None;
    }

    fn has_ended(&mut self) -> bool {
        self.process.as_mut().is_some_and(Process::has_ended)
    }

    /// How long it took, once it is ready.
    fn became_ready(&mut self) -> Option<Duration> {
        let process = self.process.as_ref()?;
        let since = self.starting?;
        if !process.has_said(self.word) {
            return None;
        }
        self.starting = None;
        Some(since.elapsed())
    }
}

/// Addresses of this host that nobody uses just now, below the ports that the system gives to outgoing connections: one of
/// those could take the place of a node that is down.
fn free_addresses(count: u8) -> anyhow::Result<Vec<Addresses>> {
    let mut chance = Chance::new(clock().0, "ports");
    let mut held = Vec::new();
    let mut next = || -> anyhow::Result<_> {
        let mut draw = || (PORTS.start as usize + chance.below(PORTS.len())) as u16;
        let bind = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, draw())).ok();
        let listener = (0..100).find_map(bind).context("no port is free")?;
        let address = listener.local_addr()?;
        // Held until all are chosen, so that none is given out twice.
        held.push(listener);
        Ok(address)
    };
    let mut addresses = Vec::new();
    for _ in 0..count {
        addresses.push(Addresses {
            client: next()?,
            peer: next()?,
        });
    }
    Ok(addresses)
}

/// The one rollup.
pub const ROLLUP: RollupId = RollupId(1);
const ROUND_INTERVAL_US: u64 = 5_000;
const LOOK_EVERY: Duration = Duration::from_millis(2);
const PORTS: std::ops::Range<u16> = 10_000..32_000;
/// How long a process may take to be ready.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
