//! The command line: what users type, and what the exit status means.
//!
//! Exit 0: all holds. 1: it ran and something does not hold. 2: bad input or environment, said in one sentence. Reports go
//! to standard output, progress and logs to standard error.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::{Parser, Subcommand};
use fairlane_client::Transport;
use fairlane_client::committee_file::{Addresses, CommitteeFile, Roster};
use fairlane_engine::committee::{Parameters, Rollup, RollupPolicy};
use fairlane_engine::types::{AuthorityIndex, ChainId, RollupId};
use fairlane_loadgen::duration::parse_duration;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use zeroize::Zeroizing;

use crate::config::{self, BackendName, FinalityName, SinkName, Timers};
use crate::fair_order;
use crate::founding::{self, Founder};
use crate::inspect::{self, JournalCommand};
use crate::journal::{AppendChoice, Durability};
use crate::localnet::{self, LocalnetPlan, Offered};
use crate::node::Node;
use crate::session::keys::LinkSecret;
use crate::settle::{Event, JournalSink, NdjsonSink, NodeKey, ProofRule, RemoteNode, Sink};
use crate::stage::clock;
use crate::stage::waiting::ReceiveMode;
use crate::testnet::{self, TestnetPlan, system_entropy};
use crate::topology::Topology;
use crate::verify::{self, VerifyArguments};

/// Fairlane: a decentralized sequencer with receive-order fairness over sealed transactions.
///
/// Without a command it runs `localnet` with its defaults: a committee of five authorities on this machine, ten seconds
/// of sealed trading load, checks of everything that was settled, and a report.
#[derive(Debug, Parser)]
#[command(name = "fairlane", version, max_term_width = 100, after_help = EXIT_STATUS)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a whole committee on this machine under load, check what it settled, and report.
    #[command(after_help = EXIT_STATUS)]
    Localnet(LocalnetArguments),
    /// Make the keys and configuration files of a test network (whoever runs this sees every key: for tests only).
    Testnet(TestnetArguments),
    /// Make one authority's own keys: authority.json, which the others are told, and secret.toml, which stays here.
    Keygen {
        /// Folder for both, absent or empty.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Put a committee together from public keys; it makes its sealing key itself when its nodes first run.
    Committee(CommitteeArguments),
    /// Make a node's configuration from its authority's own keys and the committee file.
    Join {
        /// The folder that `keygen` made; node.toml and settle-ROLLUP.toml are written into it.
        #[arg(long, value_name = "DIR")]
        keys: PathBuf,
        /// The committee file.
        #[arg(long, value_name = "FILE")]
        committee: PathBuf,
    },
    /// Run one authority, until SIGINT or SIGTERM.
    Node {
        /// The authority's configuration: a node-I.toml that `testnet` wrote, or a node.toml that `join` wrote.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Only print what it would consist of: threads and cores, how each waits, queues and what happens when one is full.
        #[arg(long)]
        print_topology: bool,
    },
    /// Make the key of a settlement worker that is on another machine than its node; its public half is printed, for
    /// `settle_workers` in the node's configuration.
    #[command(name = "settle-key")]
    SettleKey {
        /// File for the secret half; it must not be there.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Run the settlement worker of one rollup; when the node goes away, wait until it is back.
    Settle {
        /// The worker's configuration: a settle-1.toml that `testnet` or `join` wrote.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Apply the fair order's rule to local orders written in a JSON file, as an auditor would.
    #[command(name = "fair-order", long_about = fair_order::ABOUT, after_help = fair_order::FORMAT)]
    FairOrder {
        /// The local orders, as described below.
        #[arg(long, value_name = "FILE")]
        input: PathBuf,
        /// Write the result to FILE instead of standard output.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
    },
    /// Check again, from signed data and the committee file alone, what nodes recorded and a settlement worker settled.
    #[command(after_help = VERIFY_STATUS, long_about = VERIFY_ABOUT)]
    Verify(VerifyArguments),
    /// Look into the journal of a node or of a settlement worker; nothing is changed, and it may be running.
    #[command(subcommand, after_help = JOURNAL_STATUS)]
    Journal(JournalCommand),
}

#[derive(Debug, clap::Args)]
struct LocalnetArguments {
    /// How many authorities to run, each as a process of its own.
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    nodes: u8,
    /// How long to send load: 10s, 500ms, 2m [default: 10s; with --replay the whole trace].
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    duration: Option<Duration>,
    /// Envelopes (transactions) to send per second; `max` searches for the highest rate that holds [default: 500; with
    /// --replay the trace's own times].
    #[arg(long, value_name = "N|max", value_parser = parse_rate)]
    rate: Option<Rate>,
    /// Send a recorded market instead of synthetic trading: a gzipped CSV file whose first line is
    /// receive_time_ns,symbol,kind,side,price,quantity,trade_id.
    #[arg(long, value_name = "FILE.csv.gz")]
    replay: Option<PathBuf>,
    /// Replay the trace X times faster than it was recorded [default: 1].
    #[arg(long, value_name = "X", requires = "replay", conflicts_with = "rate")]
    speed: Option<f64>,
    /// Bytes of payload in each envelope: a trading record of 56, then zeros.
    #[arg(long, default_value_t = 128, value_name = "BYTES")]
    payload: usize,
    /// Send open envelopes, which anybody can read, instead of sealed ones: what sealing costs is the difference.
    #[arg(long)]
    open: bool,
    /// How envelopes travel to the nodes: tcp, or udp, one envelope a datagram.
    #[arg(long, value_name = "tcp|udp", default_value_t = Transport::Tcp)]
    transport: Transport,
    /// Send what every authority has told Busy again, up to N times, each after the longest wait that one of them named, as a
    /// client would; its latencies count from its first time [default: never, it is refused].
    #[arg(long, value_name = "N")]
    retry_busy: Option<u32>,
    /// Let the committee make its sealing key itself before the load starts, instead of a dealer.
    #[arg(long)]
    dkg: bool,
    /// As --dkg, and the committee makes its next sealing key TIME after each, under load; clients learn of it.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    new_key_every: Option<Duration>,
    /// When an authority may send what it signed: once it is on disk, or once it is written (synced every second).
    #[arg(long, value_enum, default_value_t = Durability::Sync)]
    durability: Durability,
    /// How the nodes use the network: io_uring, epoll (mio), or io_uring where the kernel allows it (auto).
    #[arg(long, value_enum, default_value_t = BackendName::Auto)]
    backend: BackendName,
    /// How the nodes write their journals: plain calls, io_uring, or io_uring where it works and --backend takes it (auto).
    #[arg(long, value_enum, default_value_t = AppendChoice::Plain)]
    journal_backend: AppendChoice,
    /// When the nodes take what came over TCP: at once, which keeps the order between connections, or once a turn.
    #[arg(long, value_enum, default_value_t = ReceiveMode::Arrival)]
    receive: ReceiveMode,
    /// Kill authority I (the first is 0) at time T after the load began, like 1@3s; may be given several times.
    #[arg(long, value_name = "I@T", value_parser = parse_moment)]
    kill: Vec<(u8, Duration)>,
    /// Start authority I again at time T, after it was killed: it goes on from its journal; may be given several times.
    #[arg(long, value_name = "I@T", value_parser = parse_moment)]
    restart: Vec<(u8, Duration)>,
    /// Settle beside authority I [default: the first that is never killed].
    #[arg(long, value_name = "I")]
    settle_at: Option<u8>,
    /// What makes a batch final for the settlement worker: its own node's word, those of f + 1 authorities, or a certificate.
    #[arg(long, value_enum, default_value_t)]
    finality: FinalityName,
    /// Listen on the ports from P on, two for each authority [default: free ones].
    #[arg(long, value_name = "P", value_parser = clap::value_parser!(u16).range(1..))]
    base_port: Option<u16>,
    /// Folder for keys, journals and logs, absent or empty; it is kept [default: a temporary one, removed on success].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Write the report to FILE as JSON, too; its folder must be there.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the latencies, second by second, to FILE as an HdrHistogram log; its folder must be there.
    #[arg(long, value_name = "FILE")]
    hlog: Option<PathBuf>,
    /// Least time between two vertices of a node: longer costs latency and spares processor time [default: 2ms].
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    round_interval: Option<Duration>,
}

#[derive(Debug, clap::Args)]
struct TestnetArguments {
    /// How many authorities.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    nodes: u8,
    /// Folder for committee.json, node-I.toml (secret) and settle-1.toml, absent or empty.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Use the ports of 127.0.0.1 from P on, two for each authority.
    #[arg(long, default_value_t = 7000, value_name = "P", value_parser = clap::value_parser!(u16).range(1..))]
    base_port: u16,
}

#[derive(Debug, clap::Args)]
struct CommitteeArguments {
    /// An authority: its authority.json, and where clients and authorities will reach it. Once for each, in order.
    #[arg(long, value_name = "FILE,CLIENT,PEER", required = true, value_parser = founding::parse_founder)]
    authority: Vec<Founder>,
    /// The committee file to write; it must not be there.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The chain's id.
    #[arg(long, default_value_t = 1, value_name = "ID")]
    chain: u64,
    /// The id of a rollup that is served, sealed envelopes only; may be given several times [default: 1].
    #[arg(long, value_name = "ID")]
    rollup: Vec<u64>,
    /// How long after each sealing key the committee begins to make the next, at most a day; `never` keeps the first.
    /// Renewal limits what a stolen key opens. It goes on while up to f authorities are down, and these have their shares of
    /// what was made meanwhile when they are back.
    #[arg(long, default_value = "24h", value_name = "TIME|never", value_parser = parse_renewal)]
    new_key_every: Renewal,
}

/// When a committee renews its sealing key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Renewal {
    Never,
    Every(Duration),
}

impl Renewal {
    fn renew_us(self) -> Option<u64> {
        match self {
            Self::Never => None,
            Self::Every(time) => u64::try_from(time.as_micros()).ok(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Rate {
    Fixed(f64),
    Max,
}

/// What a user did wrong, or what the host lacks: one sentence, exit status 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unusable(String);

/// Parses the command line, runs it, and gives the exit status.
pub fn main() -> ExitCode {
    // Slower without, no less right.
    let _ = crate::memory::refuse_huge_pages();
    let cli = Cli::parse();
    let default = || Command::Localnet(LocalnetArguments::parse_defaults());
    let done = match cli.command.unwrap_or_else(default) {
        Command::Localnet(arguments) => run_localnet(arguments),
        Command::Testnet(arguments) => make_testnet(&arguments).map(|()| true),
        Command::Keygen { out } => make_keys(&out).map(|()| true),
        Command::Committee(arguments) => found(arguments).map(|()| true),
        Command::Join { keys, committee } => join(&keys, &committee).map(|()| true),
        Command::Node {
            config,
            print_topology: true,
        } => print_topology(&config).map(|()| true),
        Command::Node { config, .. } => run_node(&config).map(|()| true),
        Command::SettleKey { out } => make_settle_key(&out).map(|()| true),
        Command::Settle { config } => run_settle(&config).map(|()| true),
        Command::FairOrder { input, json } => {
            fair_order::run(&input, json.as_deref()).map(|()| true)
        }
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Journal(command) => inspect::run(&command),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("fairlane: {error}");
            ExitCode::from(2)
        }
    }
}

impl LocalnetArguments {
    fn parse_defaults() -> Self {
        #[derive(Parser)]
        struct Defaults {
            #[command(flatten)]
            arguments: LocalnetArguments,
        }
        Defaults::parse_from(["fairlane"]).arguments
    }

    fn plan(self) -> Result<LocalnetPlan, Unusable> {
        let offered = match (&self.replay, self.rate, self.speed) {
            (Some(_), Some(Rate::Max), _) => {
                return Err(Unusable(
                    "--rate max finds its own load: leave out --replay, or give a number".into(),
                ));
            }
            (Some(path), Some(Rate::Fixed(rate)), _) => Offered::Trace {
                path: path.clone(),
                pace: fairlane_loadgen::workload::Pace::Rate(rate),
                duration: self.duration,
            },
            (Some(path), None, speed) => Offered::Trace {
                path: path.clone(),
                pace: fairlane_loadgen::workload::Pace::Speed(speed.unwrap_or(1.0)),
                duration: self.duration,
            },
            (None, Some(Rate::Max), _) => Offered::Max {
                duration: self.duration.unwrap_or(DURATION_DEFAULT),
            },
            (None, rate, _) => Offered::Synthetic {
                rate: match rate {
                    Some(Rate::Fixed(rate)) => rate,
                    _ => RATE_DEFAULT,
                },
                duration: self.duration.unwrap_or(DURATION_DEFAULT),
            },
        };
        if self.retry_busy.is_some() && self.rate == Some(Rate::Max) {
            return Err(Unusable(
                "--rate max looks for what is taken the first time: leave out --retry-busy".into(),
            ));
        }
        if let Some((index, _)) = self.kill.iter().find(|(index, _)| *index >= self.nodes) {
            return Err(Unusable(format!(
                "--kill {index}@...: there are authorities 0 to {} only",
                self.nodes - 1
            )));
        }
        if (0..self.nodes).all(|index| self.kill.iter().any(|(killed, _)| *killed == index)) {
            return Err(Unusable(
                "--kill leaves no authority: name fewer of them".into(),
            ));
        }
        let dead = |index: &u8| self.is_down(&(*index, Duration::MAX));
        if let Some(index) = self.settle_at
            && (index >= self.nodes || dead(&index))
        {
            return Err(Unusable(format!(
                "--settle-at {index}: name an authority from 0 to {} that is there at the end",
                self.nodes - 1
            )));
        }
        if let Some((index, at)) = self.restart.iter().find(|again| !self.is_down(again)) {
            return Err(Unusable(format!(
                "--restart {index}@{at:?}: authority {index} runs at that time; kill it before, with --kill {index}@..."
            )));
        }
        let mut timers = Timers::default();
        if let Some(interval) = self.round_interval {
            timers.round_interval_us_min = interval.as_micros() as u64;
        }
        Ok(LocalnetPlan {
            nodes: self.nodes,
            offered,
            payload_len: self.payload,
            open: self.open,
            transport: self.transport,
            busy_retries: self.retry_busy.unwrap_or(0),
            dkg: self.dkg,
            new_key_every: self.new_key_every,
            durability: self.durability,
            backend: self.backend,
            journal_backend: self.journal_backend,
            receive: self.receive,
            kills: self.kill,
            restarts: self.restart,
            settle_at: self.settle_at,
            finality: self.finality,
            base_port: self.base_port,
            data: self.data,
            json: self.json,
            hlog: self.hlog,
            timers,
        })
    }
}

impl LocalnetArguments {
    /// Whether an authority was killed more often than started again by the time at which it is to be started.
    fn is_down(&self, (index, at): &(u8, Duration)) -> bool {
        let before = |moments: &[(u8, Duration)]| {
            let of_it = moments.iter().filter(|(of, when)| of == index && when < at);
            of_it.count()
        };
        before(&self.kill) > before(&self.restart)
    }
}

fn run_localnet(arguments: LocalnetArguments) -> anyhow::Result<bool> {
    localnet::run(arguments.plan()?)
}

fn make_testnet(arguments: &TestnetArguments) -> anyhow::Result<()> {
    localnet::check_absent_or_empty(&arguments.out)?;
    let last = u32::from(arguments.base_port) + 2 * u32::from(arguments.nodes) - 1;
    anyhow::ensure!(
        last <= u32::from(u16::MAX),
        "--base-port {} leaves no room for {} authorities below 65536",
        arguments.base_port,
        arguments.nodes
    );
    let address = |offset: u16| {
        SocketAddr::new(
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            arguments.base_port + offset,
        )
    };
    let addresses = (0..u16::from(arguments.nodes))
        .map(|index| Addresses {
            client: address(2 * index),
            peer: address(2 * index + 1),
        })
        .collect();
    let plan = TestnetPlan {
        chain_id: ChainId(1),
        epoch_start: clock(),
        parameters: Parameters::default(),
        rollups: vec![Rollup {
            id: RollupId(1),
            policy: RollupPolicy::Either,
        }],
        addresses,
        durability: Durability::Sync,
        backend: BackendName::Auto,
        journal_backend: AppendChoice::default(),
        receive: ReceiveMode::default(),
        retention_bytes: config::retention_bytes(),
        udp: true,
        timers: Timers::default(),
        settle_node: 0,
        finality: FinalityName::Node,
        dkg: false,
        renew_us: None,
    };
    testnet::write(&plan, &arguments.out, &mut system_entropy)?;
    println!(
        "{} authorities, rollup 1, settlement worker at authority 0: {}",
        arguments.nodes,
        arguments.out.display()
    );
    println!(
        "start each with: fairlane node --config {}/node-I.toml",
        arguments.out.display()
    );
    Ok(())
}

fn make_keys(out: &std::path::Path) -> anyhow::Result<()> {
    localnet::check_absent_or_empty(out)?;
    let mut entropy = [[0; 32]; 4].map(Zeroizing::new);
    for bytes in &mut entropy {
        **bytes = system_entropy()?;
    }
    founding::make_keys(out, entropy.each_ref().map(|bytes| &**bytes))?;
    println!(
        "tell the others: {}",
        out.join(founding::AUTHORITY_FILE).display()
    );
    println!(
        "tell nobody:     {}",
        out.join(founding::SECRET_FILE).display()
    );
    Ok(())
}

fn found(arguments: CommitteeArguments) -> anyhow::Result<()> {
    let mut rollups = arguments.rollup;
    if rollups.is_empty() {
        rollups.push(1);
    }
    let rollups = rollups.into_iter().map(|id| Rollup {
        id: RollupId(id),
        policy: RollupPolicy::Sealed,
    });
    let chain_id = ChainId(arguments.chain);
    let renew_us = arguments.new_key_every.renew_us();
    let founders = &arguments.authority;
    let roster = founding::found(chain_id, clock(), rollups.collect(), renew_us, founders)?;
    let path = arguments.out.display();
    let mut file = std::fs::File::create_new(&arguments.out)
        .map_err(|error| Unusable(format!("cannot write {path}: {error}")))?;
    file.write_all(CommitteeFile::describe_roster(&roster).to_json().as_bytes())?;
    println!("{} authorities: {path}", arguments.authority.len());
    println!("each makes its configuration with: fairlane join --keys DIR --committee {path}");
    Ok(())
}

fn join(keys: &std::path::Path, committee: &std::path::Path) -> anyhow::Result<()> {
    let index = founding::join(keys, committee)?;
    let config = keys.join(founding::NODE_FILE);
    println!(
        "authority {index}: fairlane node --config {}",
        config.display()
    );
    Ok(())
}

fn print_topology(config: &std::path::Path) -> anyhow::Result<()> {
    print!("{}", Topology::read(config)?);
    Ok(())
}

fn run_node(config: &std::path::Path) -> anyhow::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let node = Node::start(config)?;
    let stopper = node.stopper();
    println!("ready");
    // The thread ends with the process.
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            stopper.stop();
        }
    });
    node.wait();
    node.stop()?;
    Ok(())
}

fn run_settle(path: &std::path::Path) -> anyhow::Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    {
        let stop = stop.clone();
        std::thread::spawn(move || {
            if signals.forever().next().is_some() {
                stop.store(true, Ordering::Release);
            }
        });
    }
    let config: config::SettleConfig = config::read_toml(path)?;
    let (socket, remote) = where_the_node_is(path, &config)?;
    let worker = crate::settle::SettleConfig {
        socket,
        remote,
        chain_id: ChainId(config.chain_id),
        rollup_id: RollupId(config.rollup),
        sink_folder: config::resolve(path, &config.data),
        proofs: proof_rule(path, &config)?,
    };
    let (mut sink, has_stdout) = open_sink(path, &config, &worker)?;
    crate::settle::serve(&worker, &mut sink, &stop, |event| match event {
        // Where standard output belongs to the lines, nothing else is said there.
        Event::Attached if has_stdout => eprintln!("attached"),
        Event::Attached => println!("attached"),
        Event::Ended(report) => eprintln!(
            "settled {} batches, {} entries of rollup {}, with {} syncs",
            report.batches, report.entries, config.rollup, report.syncs
        ),
        Event::Waiting(error) => eprintln!("waiting for the node: {error}"),
    })?;
    Ok(())
}

/// The node's socket, or the node on another machine. Errors: the configuration names neither, both, or not all of it.
fn where_the_node_is(
    path: &std::path::Path,
    config: &config::SettleConfig,
) -> anyhow::Result<(PathBuf, Option<RemoteNode>)> {
    let wrong = |what: &str| anyhow::anyhow!("{}: {what}", path.display());
    let node = match (&config.socket, &config.node) {
        (Some(socket), None) => return Ok((config::resolve(path, socket), None)),
        (None, Some(node)) => node,
        (Some(_), Some(_)) => {
            anyhow::bail!(wrong(
                "socket and node name two ways to a node: leave one out"
            ))
        }
        (None, None) => {
            anyhow::bail!(wrong(
                "name the node: socket beside it, or node = \"tcp://ADDRESS:PORT\""
            ))
        }
    };
    let address = node
        .strip_prefix("tcp://")
        .and_then(|rest| rest.parse().ok());
    let address: SocketAddr =
        address.ok_or_else(|| wrong("node is not like \"tcp://10.0.0.1:7200\""))?;
    let (Some(committee), Some(authority), Some(key)) =
        (&config.committee, config.authority, &config.key)
    else {
        let what = "node needs committee, the committee file, authority, which one the node is, and key, the file that `fairlane settle-key` made";
        anyhow::bail!(wrong(what));
    };
    let roster = Roster::load(&config::resolve(path, committee))?;
    anyhow::ensure!(
        roster.committee.chain_id.0 == config.chain_id,
        wrong("the committee file is of another chain")
    );
    let public = roster.link_keys.get(usize::from(authority));
    let public = *public.ok_or_else(|| wrong("authority names none of the committee file"))?;
    let key = config::resolve(path, key);
    let text = std::fs::read_to_string(&key)
        .map_err(|error| anyhow::anyhow!("cannot read {}: {error}", key.display()))?;
    let text = Zeroizing::new(text);
    let mut own = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text.trim(), &mut *own)
        .map_err(|_| anyhow::anyhow!("{} holds no key of a worker", key.display()))?;
    let key = NodeKey {
        index: AuthorityIndex(authority),
        public,
        own: LinkSecret::from_bytes(&own),
    };
    Ok((PathBuf::new(), Some(RemoteNode { address, key })))
}

/// Makes a remote worker's key: the secret half into a file of its owner's, the public half to standard output.
fn make_settle_key(out: &std::path::Path) -> anyhow::Result<()> {
    anyhow::ensure!(!out.exists(), "{} is there already", out.display());
    let secret = LinkSecret::from_bytes(&Zeroizing::new(system_entropy()?));
    let text = Zeroizing::new(hex::encode(secret.bytes()) + "\n");
    testnet::write_secret(out, &text)
        .map_err(|error| anyhow::anyhow!("cannot write {}: {error}", out.display()))?;
    println!("{}", hex::encode(secret.public()));
    Ok(())
}

/// The sink that a worker's configuration names, and whether it has standard output for itself.
fn open_sink(
    path: &std::path::Path,
    config: &config::SettleConfig,
    worker: &crate::settle::SettleConfig,
) -> anyhow::Result<(Box<dyn Sink>, bool)> {
    let wrong = |what: &str| anyhow::anyhow!("{}: {what}", path.display());
    let lines = match (config.sink, &config.ndjson) {
        (SinkName::Journal, None) => None,
        (SinkName::Ndjson, Some(lines)) => Some(lines),
        (SinkName::Journal, Some(_)) => {
            anyhow::bail!(wrong("ndjson is of no use without sink = \"ndjson\""))
        }
        (SinkName::Ndjson, None) => {
            let what = "sink = \"ndjson\" needs ndjson, a file, or \"-\" for standard output";
            anyhow::bail!(wrong(what))
        }
    };
    let folder = &worker.sink_folder;
    let journal = JournalSink::open(folder, worker.chain_id, worker.rollup_id)?;
    let journal = journal.with_finality(worker.finality());
    Ok(match lines {
        None => (Box::new(journal), false),
        Some(lines) if lines == std::path::Path::new("-") => {
            (Box::new(NdjsonSink::to_stdout(journal, folder)?), true)
        }
        Some(lines) => {
            let lines = config::resolve(path, lines);
            (
                Box::new(NdjsonSink::to_file(journal, folder, lines)?),
                false,
            )
        }
    })
}

/// What a worker waits for, and checks it with. Errors: the committee file, it is of another chain, or lacks the keys.
fn proof_rule(path: &std::path::Path, config: &config::SettleConfig) -> anyhow::Result<ProofRule> {
    let wrong = |what: &str| anyhow::anyhow!("{}: {what}", path.display());
    let needs = match config.finality {
        FinalityName::Node => return Ok(ProofRule::Node),
        FinalityName::Validity => "finality = \"f+1\" needs committee, the committee file",
        FinalityName::Certificate => {
            "finality = \"certificate\" needs committee, the committee file"
        }
    };
    let committee = config.committee.as_ref().ok_or_else(|| wrong(needs))?;
    let roster = Roster::load(&config::resolve(path, committee))?;
    anyhow::ensure!(
        roster.committee.chain_id.0 == config.chain_id,
        wrong("the committee file is of another chain")
    );
    if config.finality == FinalityName::Validity {
        return Ok(ProofRule::Validity(Arc::new(roster.committee)));
    }
    let keys = roster.committee.certificate_keys().cloned();
    let keys = keys.ok_or_else(|| {
        wrong("finality = \"certificate\", and the committee file has no keys for certificates")
    })?;
    Ok(ProofRule::Certificate(keys))
}

const EXIT_STATUS: &str = "Exit status: 0 everything checked holds; 1 it ran and something does not hold; \
2 bad input, or the machine lacks something, said in one sentence.";

const VERIFY_ABOUT: &str = "Check again, from signed data and the committee file alone, what nodes recorded and a settlement worker settled.

A node's journal holds every signed vertex that it accepted, every envelope, and every batch that it opened. From the \
vertices the order is computed once more; from the envelopes, and what was published with each, every reveal; from these, \
every header, and the chain of their hashes. Several journals must give one chain, and a worker's journal must hold that \
chain, each batch once. No key is needed and nothing is believed but the committee file. The folder may be in use.

What cannot be computed again is said: where a journal begins with a snapshot, or its node took over a state after it had \
been away.";

const VERIFY_STATUS: &str = "Exit status: 0 everything holds; 1 something does not: the first thing is named with its batch, \
entry, rule and file; 2 there is no journal or committee file, or it cannot be read.";

const JOURNAL_STATUS: &str = "Exit status: 0 the journal is whole (a tail that a crash tore is: the next start cuts it); \
1 it is not; 2 there is none, or it cannot be read or judged.";

const DURATION_DEFAULT: Duration = Duration::from_secs(10);
const RATE_DEFAULT: f64 = 500.0;

fn parse_renewal(text: &str) -> Result<Renewal, String> {
    match text {
        "never" => Ok(Renewal::Never),
        time => parse_duration(time).map(Renewal::Every),
    }
}

fn parse_rate(text: &str) -> Result<Rate, String> {
    if text == "max" {
        return Ok(Rate::Max);
    }
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= fairlane_loadgen::workload::PACE_MAX => {
            Ok(Rate::Fixed(rate))
        }
        _ => Err(format!(
            "a rate is `max` or a number above 0 and at most {}",
            fairlane_loadgen::workload::PACE_MAX
        )),
    }
}

fn parse_moment(text: &str) -> Result<(u8, Duration), String> {
    let wrong = || "give an authority and a time, like 1@3s".to_owned();
    let (index, time) = text.split_once('@').ok_or_else(wrong)?;
    Ok((index.parse().map_err(|_| wrong())?, parse_duration(time)?))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_rates_and_kills_read_as_written() {
        let every = |time: &str| parse_renewal(time).map(Renewal::renew_us);
        assert_eq!(every("1440m"), Ok(Some(86_400_000_000)));
        assert_eq!(every("24h"), every("1440m"));
        assert_eq!(every("never"), Ok(None));
        assert!(every("0s").is_err() && every("25h").is_err());
        assert_eq!(parse_rate("max"), Ok(Rate::Max));
        assert_eq!(parse_rate("12.5"), Ok(Rate::Fixed(12.5)));
        assert!(parse_rate("0").is_err() && parse_rate("inf").is_err());
        assert_eq!(parse_moment("1@3s"), Ok((1, Duration::from_secs(3))));
        assert!(parse_moment("1").is_err() && parse_moment("x@3s").is_err());
    }

    #[test]
    fn flags_that_contradict_each_other_are_refused() {
        let parse = |flags: &[&str]| {
            let arguments = ["fairlane", "localnet"].iter().chain(flags);
            Cli::try_parse_from(arguments)
        };
        assert!(parse(&["--speed", "2"]).is_err(), "a speed without a trace");
        let plan = |flags: &[&str]| match parse(flags).unwrap().command {
            Some(Command::Localnet(arguments)) => arguments.plan(),
            _ => panic!("localnet was asked for"),
        };
        assert!(plan(&["--kill", "5@1s"]).is_err());
        assert!(plan(&["--nodes", "1", "--kill", "0@1s"]).is_err());
        assert!(plan(&["--restart", "1@1s"]).is_err());
        assert!(plan(&["--kill", "1@2s", "--restart", "1@1s"]).is_err());
        assert!(plan(&["--kill", "1@2s", "--restart", "1@3s"]).is_ok());
        let twice = ["--kill", "1@1s", "--restart", "1@2s", "--restart", "1@3s"];
        assert!(plan(&twice).is_err());
        assert!(plan(&["--settle-at", "5"]).is_err());
        assert!(plan(&["--settle-at", "1", "--kill", "1@1s"]).is_err());
        assert!(plan(&["--settle-at", "1", "--kill", "2@1s"]).is_ok());
        assert!(plan(&["--replay", "x.csv.gz", "--rate", "max"]).is_err());
        assert!(plan(&["--retry-busy", "3", "--rate", "max"]).is_err());
        assert!(
            plan(&["--retry-busy", "3", "--rate", "100"]).is_ok_and(|plan| plan.busy_retries == 3)
        );
        assert!(plan(&[]).is_ok_and(|plan| plan.busy_retries == 0));
    }
}
