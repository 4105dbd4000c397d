//! A committee of processes on this machine: keys of a dealer, settings as the trial wants them, one settlement worker.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use fairlane_client::committee_file::{Addresses, Directory};
use fairlane_engine::committee::{Parameters, Rollup, RollupPolicy};
use fairlane_engine::types::{ChainId, RollupId};
use fairlane_loadgen::LoadOutcome;
use fairlane_loadgen::arrivals::{Rate, Schedule, Spread};
use fairlane_loadgen::workload::plain::Plain;
use fairlane_loadgen::{Control, LoadConfig};
use fairlane_net::config::{BackendName, FinalityName, Timers};
use fairlane_net::journal::{AppendChoice, Durability};
use fairlane_net::localnet::children::Process;
use fairlane_net::node::NodeReport;
use fairlane_net::stage::clock;
use fairlane_net::stage::waiting::ReceiveMode;
use fairlane_net::testnet::{self, TestnetPlan, system_entropy};
use tempfile::TempDir;

/// What is started.
pub struct CommitteePlan<'a> {
    /// The `fairlane` binary.
    pub fairlane: &'a Path,
    /// Where each authority listens, by index.
    pub addresses: Vec<Addresses>,
    /// By which system calls nodes use the network.
    pub backend: BackendName,
    /// When nodes take what comes.
    pub receive: ReceiveMode,
    /// Timers of every node.
    pub timers: Timers,
    /// Changes a node's configuration before it is started.
    pub edit: &'a dyn Fn(u8, &mut toml::Table),
    /// The command that a node is started with, by index: the words before `node --config`.
    pub command: &'a dyn Fn(u8) -> Vec<String>,
}

/// The processes. Dropping it kills those that still run and removes their folder.
pub struct Committee {
    /// Whom clients talk to.
    pub directory: Directory,
    /// The authorities, by index.
    pub nodes: Vec<Process>,
    worker: Process,
    folder: TempDir,
}

impl<'a> CommitteePlan<'a> {
    /// `authorities` of them on free ports of this host, as `fairlane` alone would run.
    pub fn local(fairlane: &'a Path, authorities: u8) -> anyhow::Result<Self> {
        Ok(Self {
            fairlane,
            addresses: free_addresses(authorities)?,
            backend: BackendName::Auto,
            receive: ReceiveMode::default(),
            timers: Timers::default(),
            edit: &|_, _| {},
            command: &|_| Vec::new(),
        })
    }
}

impl Committee {
    /// Makes keys in a folder of its own and starts everybody. Errors: somebody does not start.
    pub fn start(plan: &CommitteePlan<'_>) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix(&folder_prefix())
            .tempdir()
            .context("cannot make a folder for a committee")?;
        let at = folder.path();
        let roster = testnet::write(&testnet_plan(plan), at, &mut system_entropy)?;
        let mut nodes = Vec::new();
        for index in 0..plan.addresses.len() as u8 {
            let config = at.join(format!("node-{index}.toml"));
            let text = std::fs::read_to_string(&config)?;
            let mut table: toml::Table = toml::from_str(&text)?;
            (plan.edit)(index, &mut table);
            std::fs::write(&config, toml::to_string(&table)?)?;
            let log = at.join(format!("node-{index}.log"));
            let words = (plan.command)(index);
            nodes.push(start(plan, &words, &["node", "--config"], &config, log)?);
        }
        for node in &mut nodes {
            node.wait_until("ready")?;
        }
        let config = at.join(format!("settle-{}.toml", ROLLUP.0));
        let log = at.join("settle.log");
        let mut worker = start(plan, &[], &["settle", "--config"], &config, log)?;
        worker.wait_until("attached")?;
        Ok(Self {
            directory: roster.into_directory()?,
            nodes,
            worker,
            folder,
        })
    }

    /// Keys, configurations, journals and logs; removed when this is dropped.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// For a process that ends at once: what dropping would remove.
    pub fn remove_folders_of_this_process() {
        let Ok(entries) = std::fs::read_dir(std::env::temp_dir()) else {
            return;
        };
        let prefix = folder_prefix();
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                let path = entry.path();
                // A node that still runs may write a file meanwhile; what somebody else removes is gone as well.
                for _ in 0..REMOVALS_MOST {
                    if std::fs::remove_dir_all(&path).is_ok() || !path.exists() {
                        break;
                    }
                    std::thread::sleep(REMOVAL_PAUSE);
                }
            }
        }
    }

    /// Processor time of all nodes so far, microseconds.
    pub fn cpu_us(&mut self) -> u64 {
        self.nodes.iter_mut().map(Process::cpu_us).sum()
    }

    /// Process ids of the nodes, by index.
    pub fn pids(&self) -> Vec<u32> {
        self.nodes.iter().map(Process::id).collect()
    }

    /// Errors: somebody has ended by itself, with its last words.
    pub fn check_all_run(&mut self) -> anyhow::Result<()> {
        for process in self.nodes.iter_mut().chain([&mut self.worker]) {
            if process.has_ended() {
                let words = process.last_words();
                anyhow::bail!("{} ended by itself: {words}", process.name);
            }
        }
        Ok(())
    }

    /// Stops everybody and gives what each node says of its life. Errors: somebody does not end well.
    pub fn stop(&mut self) -> anyhow::Result<Vec<NodeReport>> {
        for process in self.nodes.iter_mut().chain([&mut self.worker]) {
            process.ask_to_stop();
            let has_ended_well = process.wait_for_end();
            let words = process.last_words();
            ensure!(
                has_ended_well,
                "{} did not stop well: {words}",
                process.name
            );
        }
        let read = |index: usize| -> anyhow::Result<NodeReport> {
            let path = self.folder.path().join(format!("node-{index}/report.json"));
            Ok(serde_json::from_slice(&std::fs::read(path)?)?)
        };
        (0..self.nodes.len()).map(read).collect()
    }
}

/// Offers `rate` to a committee for `duration` as many independent senders would, and waits until everything has come to
/// its end; `change` changes the load's configuration.
pub fn offer(
    directory: &Directory,
    rate: &Rate,
    duration: Duration,
    change: impl FnOnce(&mut LoadConfig),
) -> anyhow::Result<LoadOutcome> {
    let schedule = Schedule::new(rate, Spread::Poisson, duration.as_micros() as u64, SEED)?;
    let workload = Box::new(Plain::new(schedule));
    let mut config = LoadConfig::new(directory.clone(), ROLLUP, workload);
    change(&mut config);
    Ok(fairlane_loadgen::run(config, &mut |_| {}, &Control::new())?)
}

fn start(
    plan: &CommitteePlan<'_>,
    words: &[String],
    arguments: &[&str],
    config: &Path,
    log: PathBuf,
) -> anyhow::Result<Process> {
    let program = words.first().map_or(plan.fairlane, Path::new);
    let fairlane = plan
        .fairlane
        .to_str()
        .context("the binary's path is no text")?;
    let mut all: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
    if !words.is_empty() {
        all.push(fairlane);
    }
    all.extend(arguments);
    let name = config.file_stem().unwrap_or_default().to_string_lossy();
    Process::start_program(program, &name, &all, config, log)
        .with_context(|| format!("cannot run {}", program.display()))
}

fn testnet_plan(plan: &CommitteePlan<'_>) -> TestnetPlan {
    TestnetPlan {
        chain_id: ChainId(1),
        epoch_start: clock(),
        parameters: Parameters::default(),
        rollups: vec![Rollup {
            id: ROLLUP,
            policy: RollupPolicy::Either,
        }],
        addresses: plan.addresses.clone(),
        udp: false,
        durability: Durability::Sync,
        backend: plan.backend,
        journal_backend: AppendChoice::default(),
        receive: plan.receive,
        timers: plan.timers,
        settle_node: 0,
        finality: FinalityName::Node,
        dkg: false,
        renew_us: None,
        retention_bytes: 0,
    }
}

/// Names of the folders of this process begin so.
fn folder_prefix() -> String {
    format!("fairlane-bench-{}-", std::process::id())
}

/// Ports of this host that nobody uses just now.
fn free_addresses(count: u8) -> anyhow::Result<Vec<Addresses>> {
    let mut held = Vec::new();
    let mut next = || -> anyhow::Result<SocketAddr> {
        let listener = TcpListener::bind((IpAddr::V4(Ipv4Addr::LOCALHOST), 0))?;
        let address = listener.local_addr()?;
        // Held until all are chosen, so that none is given out twice.
        held.push(listener);
        Ok(address)
    };
    (0..count)
        .map(|_| {
            Ok(Addresses {
                client: next()?,
                peer: next()?,
            })
        })
        .collect()
}

/// Resident memory of a process, bytes. Errors: it is gone.
pub fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("process {pid} is gone"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| {
        rest.trim()
            .trim_end_matches("kB")
            .trim()
            .parse::<u64>()
            .ok()
    });
    Ok(kib.context("/proc says no resident memory")? << 10)
}

/// Attempts to remove a folder that nodes still write to.
const REMOVALS_MOST: u32 = 20;
const REMOVAL_PAUSE: Duration = Duration::from_millis(20);
/// The one rollup.
pub const ROLLUP: RollupId = RollupId(1);
/// Of the arrivals' times: the same in every run.
const SEED: u64 = 1;
