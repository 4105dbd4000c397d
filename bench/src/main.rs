//! `fairlane-bench`: measurements that are runs of their own; see `fairlane-bench --help`.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use fairlane_bench::attack::localnet::{self, LocalnetPlan};
use fairlane_bench::attack::report::Report;
use fairlane_bench::attack::waiting::Attack;
use fairlane_bench::attack::{self, AttackPlan, plot};
use fairlane_bench::crash::plan::Durabilities;
use fairlane_bench::crash::{self, CrashPlan};
use fairlane_bench::e2e::{self, Cell, E2ePlan, Program};
use fairlane_bench::gate::limit::Limit;
use fairlane_bench::gate::{self, GatePlan};
use fairlane_bench::ingest::args::IngestArguments;
use fairlane_bench::live::hostile::{self, HostilePlan};
use fairlane_bench::live::hosts::{self, HostsPlan};
use fairlane_bench::live::idle::{self, IdlePlan};
use fairlane_bench::live::overload::{self, OverloadPlan};
use fairlane_bench::live::rtt::{self, RttPlan};
use fairlane_bench::live::syscalls::{self, SyscallsPlan};
use fairlane_bench::live::write_json;
use fairlane_bench::ring::{self, RingPlan};
use fairlane_bench::xdp::{self, XdpPlan};
use fairlane_loadgen::duration::parse_duration;
use fairlane_net::config::BackendName;
use fairlane_net::journal::Durability;

/// Measurements of Fairlane that are runs of their own.
#[derive(Debug, Parser)]
#[command(name = "fairlane-bench", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Simulate attackers that react to a victim, and clients that hold others up, under this order and others.
    Attack(AttackArguments),
    /// The race of attackers and victims on the orders that a real local network recorded, f of them bent afterwards.
    AttackLocalnet(AttackLocalnetArguments),
    /// Kill authorities and settlement workers under load, again and again, and judge what their journals say.
    #[command(after_help = CRASH_STATUS)]
    Crash(CrashArguments),
    /// Run a local network several times for each cell of a matrix of settings, two versions in turns where asked.
    #[command(after_help = EXIT_STATUS)]
    E2e(E2eArguments),
    /// Receive UDP in every way there is, side by side on a veth pair in network namespaces that go with the run; needs root.
    Xdp(XdpArguments),
    /// Judge whether latencies got worse, from HdrHistogram logs of several runs of each side.
    #[command(after_help = EXIT_STATUS)]
    Gate(GateArguments),
    /// Take envelopes in as far as the local order, for each backend and transport, beside a bare loop that only reads.
    #[command(after_help = EXIT_STATUS)]
    Ingest(IngestArguments),
    /// Send malformed traffic to every port of a local committee, and measure an honest load with and without it.
    #[command(after_help = EXIT_STATUS)]
    Hostile(HostileArguments),
    /// Run a committee on hosts of their own (network namespaces) with delays, jitter, loss and cuts between them; needs root.
    #[command(after_help = EXIT_STATUS)]
    Hosts(HostsArguments),
    /// Hold thousands of idle connections to an authority, and measure its memory and an honest load beside them.
    #[command(after_help = EXIT_STATUS)]
    Idle(IdleArguments),
    /// The process of `idle` that connects.
    #[command(hide = true)]
    IdleClients(IdleClientsArguments),
    /// Offer several times as much as a local committee can take, with a modest client beside; hold it to bounds.
    #[command(after_help = EXIT_STATUS)]
    Overload(OverloadArguments),
    /// Measure from submission to acknowledgement at low load, for each way to wait, beside a bare ping-pong.
    #[command(after_help = EXIT_STATUS)]
    Rtt(RttArguments),
    /// Count system calls for each envelope, on io_uring and on epoll; needs the perf command, and root.
    #[command(after_help = EXIT_STATUS)]
    Syscalls(SyscallsArguments),
    /// Hand batches to another process through the settlement ring, a Unix socket and a pipe: latency and throughput.
    Ring(RingArguments),
    /// The reading process of `ring`.
    #[command(hide = true)]
    RingReader {
        /// Core to run on.
        #[arg(long)]
        core: usize,
    },
}

#[derive(Debug, clap::Args)]
struct SyscallsArguments {
    /// The fairlane binary to run [default: the one beside this binary].
    #[arg(long, value_name = "FILE")]
    fairlane: Option<PathBuf>,
    /// Authorities.
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    nodes: u8,
    /// Open envelopes a second.
    #[arg(long, default_value_t = 5000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
    /// How long they are counted.
    #[arg(long, default_value = "5s", value_name = "TIME", value_parser = parse_duration)]
    duration: Duration,
    /// Write the report to FILE as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct HostileArguments {
    /// The fairlane binary to run [default: the one beside this binary].
    #[arg(long, value_name = "FILE")]
    fairlane: Option<PathBuf>,
    /// How long the attackers are at it: 20s, 10m.
    #[arg(long, default_value = "10m", value_name = "TIME", value_parser = parse_duration)]
    duration: Duration,
    /// Authorities.
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u8).range(4..=31))]
    nodes: u8,
    /// Honest envelopes a second.
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=2000))]
    rate: u32,
    /// Acts of each kind of attacker a second.
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    acts: u32,
    /// Of what the attackers do.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the report to FILE as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct HostsArguments {
    /// The fairlane binary to run [default: the one beside this binary].
    #[arg(long, value_name = "FILE")]
    fairlane: Option<PathBuf>,
    /// Authorities, a host each.
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u8).range(4..=16))]
    nodes: u8,
    /// One-way delays; each is measured without and with jitter and loss.
    #[arg(long, default_value = "10ms,50ms", value_name = "TIME,...", value_delimiter = ',', value_parser = parse_duration)]
    delay: Vec<Duration>,
    /// How long each is measured.
    #[arg(long, default_value = "8s", value_name = "TIME", value_parser = parse_duration)]
    duration: Duration,
    /// How long an authority, and then the leader, is cut off.
    #[arg(long, default_value = "5s", value_name = "TIME", value_parser = parse_duration)]
    cut: Duration,
    /// Envelopes a second.
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=2000))]
    rate: u32,
    /// Of what is lost, and how late the rest is.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the report to FILE as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct IdleArguments {
    /// The fairlane binary to run [default: the one beside this binary].
    #[arg(long, value_name = "FILE")]
    fairlane: Option<PathBuf>,
    /// Connections to one authority.
    #[arg(long, default_value_t = 10_000, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=16_000))]
    connections: u32,
    /// Authorities.
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u8).range(4..=31))]
    nodes: u8,
    /// How the nodes use the network.
    #[arg(long, value_enum, default_value_t = BackendName::Auto)]
    backend: BackendName,
    /// How long the honest load is sent, alone and beside them.
    #[arg(long, default_value = "5s", value_name = "TIME", value_parser = parse_duration)]
    duration: Duration,
    /// Honest envelopes a second.
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=2000))]
    rate: u32,
    /// Write the report to FILE as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct IdleClientsArguments {
    #[arg(long)]
    address: std::net::SocketAddr,
    #[arg(long)]
    chain: u64,
    #[arg(long)]
    connections: u32,
}

#[derive(Debug, clap::Args)]
struct OverloadArguments {
    /// The fairlane binary to run [default: the one beside this binary].
    #[arg(long, value_name = "FILE")]
    fairlane: Option<PathBuf>,
    /// Authorities.
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    nodes: u8,
    /// Open envelopes instead of sealed ones.
    #[arg(long)]
    open: bool,
    /// Offer so many times the highest rate that holds.
    #[arg(long, default_value_t = 5, value_name = "X", value_parser = clap::value_parser!(u16).range(2..=100))]
    times: u16,
    /// For how long: 30s, 2m; a third of it before and after at half the highest rate.
    #[arg(long, default_value = "30s", value_name = "TIME", value_parser = parse_duration)]
    duration: Duration,
    /// The highest rate that holds, where it is known [default: looked for first, about a minute].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    peak: Option<u32>,
    /// Write the report to FILE as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct RttArguments {
    /// The fairlane binary to run [default: the one beside this binary].
    #[arg(long, value_name = "FILE")]
    fairlane: Option<PathBuf>,
    /// Round trips of each kind.
    #[arg(long, default_value_t = 1000, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    samples: u32,
    /// Between an answer and the next submission: 2ms, 100ms.
    #[arg(long, default_value = "4ms", value_name = "TIME", value_parser = parse_duration)]
    pause: Duration,
    /// How the node uses the network.
    #[arg(long, value_enum, default_value_t = BackendName::Auto)]
    backend: BackendName,
    /// Write the report to FILE as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct E2eArguments {
    /// Folder for e2e.json, e2e.html and the logs, current/CELL/ROUND.hlog; made if it is not there.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The fairlane binary to measure [default: the one beside this binary].
    #[arg(long, value_name = "FILE")]
    fairlane: Option<PathBuf>,
    /// Another fairlane binary, run in turns with the first; its logs go to baseline/CELL/ROUND.hlog.
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Runs of each cell and version.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=999))]
    repeat: u32,
    /// How long each run sends: 10s, 500ms, 2m.
    #[arg(long, default_value = "10s", value_name = "TIME")]
    duration: String,
    /// Authorities: one number or several, like 4,5,7.
    #[arg(long, default_value = "5", value_name = "N,...", value_delimiter = ',', value_parser = clap::value_parser!(u8).range(1..=64))]
    nodes: Vec<u8>,
    /// Envelopes a second; one number or several.
    #[arg(long, default_value = "500", value_name = "N,...", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: Vec<u32>,
    /// Bytes of payload in each; one number or several.
    #[arg(
        long,
        default_value = "128",
        value_name = "BYTES,...",
        value_delimiter = ','
    )]
    payload: Vec<u32>,
    /// sync, async, or both.
    #[arg(long, default_value = "sync", value_name = "NAME,...", value_delimiter = ',', value_parser = ["sync", "async"])]
    durability: Vec<String>,
    /// auto, uring, mio, or several.
    #[arg(long, default_value = "auto", value_name = "NAME,...", value_delimiter = ',', value_parser = ["auto", "uring", "mio"])]
    backend: Vec<String>,
    /// Further flags of `fairlane localnet` for the measured version only, in one argument.
    #[arg(
        long,
        default_value = "",
        value_name = "FLAGS",
        allow_hyphen_values = true
    )]
    flags: String,
    /// The same for the version that it is held against.
    #[arg(
        long,
        default_value = "",
        value_name = "FLAGS",
        allow_hyphen_values = true
    )]
    against_flags: String,
}

#[derive(Debug, clap::Args)]
struct GateArguments {
    /// Log of a run that is the yardstick, or a folder of such logs; may be given several times.
    #[arg(long, required = true, value_name = "FILE|DIR")]
    baseline: Vec<PathBuf>,
    /// Log of a run that is judged, or a folder; run i of both sides are held against each other.
    #[arg(long, required = true, value_name = "FILE|DIR")]
    current: Vec<PathBuf>,
    /// By how much a figure may grow: pNN, mean, or shift (all of the distribution).
    #[arg(
        long,
        default_value = "p50=10%,p99=15%,shift=10%",
        value_name = "FIGURE=N%,...",
        value_delimiter = ','
    )]
    max_regress: Vec<Limit>,
    /// Which lines of the logs.
    #[arg(long, default_value = "settled", value_name = "TAG")]
    tag: String,
    /// Confidence of the one-sided intervals, per cent.
    #[arg(long, default_value_t = 95.0, value_name = "PERCENT", value_parser = parse_confidence)]
    confidence: f64,
    /// Fail as well when the runs cannot tell.
    #[arg(long)]
    strict: bool,
    /// Write the figures to FILE as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct AttackArguments {
    /// Folder for attack.txt, attack.json and the plots; made if it is not there.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Authorities, of which floor((n - 1) / 3) lie; may be given several times [default: 5 and 10].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(4..=31))]
    nodes: Vec<u8>,
    /// Pairs of a victim and its attacker for each time between them.
    #[arg(long, default_value_t = 1000, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pairs: u32,
    /// Simulated seconds of each run that measures waiting.
    #[arg(long, default_value_t = 10, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Of everything that is drawn: the same seed gives the same figures, however fast the host is.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, clap::Args)]
struct AttackLocalnetArguments {
    /// Folder for attack-localnet.txt, .json and the plot; made if it is not there.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The fairlane binary to run [default: the one beside this binary].
    #[arg(long, value_name = "FILE")]
    fairlane: Option<PathBuf>,
    /// Authorities; the lists of the last floor((n - 1) / 3) are bent.
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u8).range(4..=31))]
    nodes: u8,
    /// Pairs of a victim and its attacker for each of nine times between them; 100 take 23 seconds.
    #[arg(long, default_value_t = 100, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pairs: u32,
    /// Of the times at which envelopes are sent.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, clap::Args)]
struct CrashArguments {
    /// The fairlane binary to run [default: the one beside this binary].
    #[arg(long, value_name = "FILE")]
    fairlane: Option<PathBuf>,
    /// Rounds of kills, restarts and checks; one takes 2 to 3 seconds [default: 200, or with --minutes what fits].
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Begin no round after so many minutes.
    #[arg(long, value_name = "M", value_parser = clap::value_parser!(u32).range(1..))]
    minutes: Option<u32>,
    /// Of who is killed when.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Authorities.
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u8).range(4..=31))]
    nodes: u8,
    /// Envelopes a second.
    #[arg(long, default_value_t = 150, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=2000))]
    rate: u32,
    /// How nodes write [default: drawn for each committee].
    #[arg(long, value_enum)]
    durability: Option<Durability>,
    /// In every second round an authority also stays away for five seconds: then it needs a state from its peers.
    #[arg(long)]
    away: bool,
    /// Kill the settlement worker and its node in every round, in any order, and nobody else.
    #[arg(long, conflicts_with = "away")]
    settlement: bool,
}

#[derive(Debug, clap::Args)]
struct RingArguments {
    /// Cores of the writer and of the reader.
    #[arg(long, default_value = "0,1", value_name = "A,B")]
    cores: String,
    /// How long each throughput is measured, milliseconds; there are fifteen.
    #[arg(long, default_value_t = 1000, value_name = "MS", value_parser = clap::value_parser!(u64).range(10..=60_000))]
    ms: u64,
    /// Bytes of records in the ring, a power of two from 4 MiB.
    #[arg(long, default_value_t = 64 << 20, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(4 << 20..))]
    ring_bytes: u64,
    /// Write the figures to FILE as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct XdpArguments {
    /// Turns; in each, every way to receive has one.
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeat: u32,
    /// How long each is sent to.
    #[arg(long, default_value_t = 400, value_name = "MS", value_parser = clap::value_parser!(u64).range(10..=60_000))]
    milliseconds: u64,
    /// Bytes of payload of a datagram.
    #[arg(long, default_value_t = 256, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(1..=1472))]
    payload: u16,
    /// Write the figures to FILE as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

const CRASH_STATUS: &str = "Exit status: 0 everything held; 1 something did not: what, where the journals are, and how to \
repeat it is said; 2 bad input, or the machine lacks something.";

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Attack(arguments) => run_attack(&arguments).map(|()| true),
        Command::AttackLocalnet(arguments) => run_attack_localnet(&arguments).map(|()| true),
        Command::Crash(arguments) => run_crash(&arguments),
        Command::E2e(arguments) => run_e2e(arguments),
        Command::Gate(arguments) => run_gate(arguments),
        Command::Ring(arguments) => run_ring(&arguments).map(|()| true),
        Command::RingReader { core } => ring::read_for_writer(core).map(|()| true),
        Command::Hostile(arguments) => run_hostile(&arguments),
        Command::Hosts(arguments) => run_hosts(&arguments),
        Command::Idle(arguments) => run_idle(&arguments),
        Command::IdleClients(IdleClientsArguments {
            address,
            chain,
            connections,
        }) => idle::connect(address, chain, connections).map(|()| true),
        Command::Overload(arguments) => run_overload(&arguments),
        Command::Rtt(arguments) => run_rtt(&arguments).map(|()| true),
        Command::Syscalls(arguments) => run_syscalls(&arguments).map(|()| true),
        Command::Ingest(arguments) => arguments.run(),
        Command::Xdp(arguments) => run_xdp(arguments).map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("fairlane-bench: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run_attack(arguments: &AttackArguments) -> anyhow::Result<()> {
    let out = &arguments.out;
    std::fs::create_dir_all(out)
        .with_context(|| format!("cannot make the folder {}", out.display()))?;
    let mut sizes = match &arguments.nodes[..] {
        [] => SIZES_DEFAULT.to_vec(),
        given => given.iter().map(|n| usize::from(*n)).collect(),
    };
    sizes.sort_unstable();
    sizes.dedup();
    let plan = AttackPlan {
        authorities: sizes,
        pairs: arguments.pairs as usize,
        attacks: Attack::ALL.to_vec(),
        seconds: arguments.seconds.into(),
        seed: arguments.seed,
    };
    let report = attack::run(&plan, &mut |next| eprintln!("{next}"));
    write_report(out, "attack", &report)?;
    for n in report.sizes() {
        write(out, &format!("delay-n{n}.svg"), &plot::delay(&report, n)?)?;
    }
    Ok(())
}

fn run_attack_localnet(arguments: &AttackLocalnetArguments) -> anyhow::Result<()> {
    let out = &arguments.out;
    std::fs::create_dir_all(out)
        .with_context(|| format!("cannot make the folder {}", out.display()))?;
    let plan = LocalnetPlan {
        fairlane: binary(arguments.fairlane.as_deref())?,
        authorities: arguments.nodes.into(),
        pairs: arguments.pairs as usize,
        seed: arguments.seed,
    };
    let folder = tempfile::tempdir().context("cannot make a folder for the run")?;
    let report = localnet::run(&plan, folder.path())?;
    write_report(out, "attack-localnet", &report)
}

fn run_crash(arguments: &CrashArguments) -> anyhow::Result<bool> {
    let rounds = match (arguments.rounds, arguments.minutes) {
        (Some(rounds), _) => rounds,
        (None, Some(_)) => u32::MAX,
        (None, None) => ROUNDS_DEFAULT,
    };
    let durability = arguments.durability;
    let plan = CrashPlan {
        fairlane: binary(arguments.fairlane.as_deref())?,
        authorities: arguments.nodes,
        rounds,
        time: arguments
            .minutes
            .map(|minutes| Duration::from_secs(60 * u64::from(minutes))),
        seed: arguments.seed,
        rate: arguments.rate,
        durability: durability.map_or(Durabilities::Drawn, Durabilities::Only),
        is_away: arguments.away,
        is_settlement: arguments.settlement,
    };
    let report = crash::run(&plan, &mut |line| println!("{line}"))?;
    print!("{report}");
    Ok(report.failure.is_none())
}

fn run_hostile(arguments: &HostileArguments) -> anyhow::Result<bool> {
    let plan = HostilePlan {
        authorities: arguments.nodes,
        duration: arguments.duration,
        seed: arguments.seed,
        rate: arguments.rate,
        acts: arguments.acts,
    };
    let fairlane = binary(arguments.fairlane.as_deref())?;
    let report = hostile::run(&plan, &fairlane, &mut |line| eprintln!("{line}"))?;
    print!("{report}");
    write_json(arguments.json.as_deref(), &report)?;
    Ok(report.holds())
}

fn run_hosts(arguments: &HostsArguments) -> anyhow::Result<bool> {
    let plan = HostsPlan {
        authorities: arguments.nodes,
        delays: arguments.delay.clone(),
        duration: arguments.duration,
        cut: arguments.cut,
        rate: arguments.rate,
        seed: arguments.seed,
    };
    let fairlane = binary(arguments.fairlane.as_deref())?;
    let report = hosts::run(&plan, &fairlane, &mut |line| eprintln!("{line}"))?;
    print!("{report}");
    write_json(arguments.json.as_deref(), &report)?;
    Ok(report.holds())
}

fn run_idle(arguments: &IdleArguments) -> anyhow::Result<bool> {
    let plan = IdlePlan {
        connections: arguments.connections,
        authorities: arguments.nodes,
        backend: arguments.backend,
        duration: arguments.duration,
        rate: arguments.rate,
    };
    let fairlane = binary(arguments.fairlane.as_deref())?;
    let report = idle::run(&plan, &fairlane, &std::env::current_exe()?)?;
    print!("{report}");
    write_json(arguments.json.as_deref(), &report)?;
    Ok(report.holds())
}

fn run_overload(arguments: &OverloadArguments) -> anyhow::Result<bool> {
    let plan = OverloadPlan {
        authorities: arguments.nodes,
        open: arguments.open,
        times: arguments.times.into(),
        duration: arguments.duration,
        peak: arguments.peak.map(f64::from),
    };
    let fairlane = binary(arguments.fairlane.as_deref())?;
    let report = overload::run(&plan, &fairlane, &mut |line| eprintln!("{line}"))?;
    print!("{report}");
    write_json(arguments.json.as_deref(), &report)?;
    Ok(report.holds())
}

fn run_rtt(arguments: &RttArguments) -> anyhow::Result<()> {
    let plan = RttPlan {
        samples: arguments.samples,
        pause: arguments.pause,
        backend: arguments.backend,
    };
    let report = rtt::run(&plan, &binary(arguments.fairlane.as_deref())?)?;
    print!("{report}");
    write_json(arguments.json.as_deref(), &report)
}

fn run_syscalls(arguments: &SyscallsArguments) -> anyhow::Result<()> {
    let plan = SyscallsPlan {
        authorities: arguments.nodes,
        rate: arguments.rate,
        duration: arguments.duration,
    };
    let report = syscalls::run(&plan, &binary(arguments.fairlane.as_deref())?)?;
    print!("{report}");
    write_json(arguments.json.as_deref(), &report)
}

/// The binary that was named, or the one beside this. Errors: there is none.
fn binary(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    let path = match named {
        Some(path) => path.to_path_buf(),
        None => std::env::current_exe()?.with_file_name("fairlane"),
    };
    anyhow::ensure!(
        path.is_file(),
        "{} is not there: build it (cargo build --release), or name one with --fairlane",
        path.display()
    );
    Ok(path)
}

/// Whether every check of every run holds.
fn run_e2e(arguments: E2eArguments) -> anyhow::Result<bool> {
    let flags = |flags: &str| flags.split_whitespace().map(str::to_owned).collect();
    let path = binary(arguments.fairlane.as_deref())?;
    let against = match (arguments.against, arguments.against_flags.is_empty()) {
        (None, true) => None,
        // Other flags of the same binary are another version, too.
        (None, false) => Some(path.clone()),
        (given, _) => given,
    };
    let mut cells = Vec::new();
    for nodes in &arguments.nodes {
        for rate in &arguments.rate {
            for payload in &arguments.payload {
                for durability in &arguments.durability {
                    for backend in &arguments.backend {
                        cells.push(Cell {
                            nodes: *nodes,
                            rate: *rate,
                            payload: *payload,
                            durability: durability.clone(),
                            backend: backend.clone(),
                        });
                    }
                }
            }
        }
    }
    let plan = E2ePlan {
        out: arguments.out,
        current: Program {
            path,
            flags: flags(&arguments.flags),
        },
        baseline: against.map(|path| Program {
            path,
            flags: flags(&arguments.against_flags),
        }),
        cells,
        repeat: arguments.repeat,
        duration: arguments.duration,
    };
    let all = e2e::run(&plan, &mut |next| eprintln!("{next}"))?;
    print!("{all}");
    Ok(all.holds())
}

/// Whether nothing is worse than allowed.
fn run_gate(arguments: GateArguments) -> anyhow::Result<bool> {
    let gated = gate::run(&GatePlan {
        baseline: arguments.baseline,
        current: arguments.current,
        tag: arguments.tag,
        limits: arguments.max_regress,
        confidence: arguments.confidence / 100.0,
    })?;
    print!("{gated}");
    if let Some(path) = arguments.json {
        let json = serde_json::to_string_pretty(&gated)? + "\n";
        std::fs::write(&path, json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let fails = gated.is_worse() || (arguments.strict && gated.is_unclear());
    Ok(!fails)
}

fn run_xdp(arguments: XdpArguments) -> anyhow::Result<()> {
    let report = xdp::run(
        &XdpPlan {
            repeat: arguments.repeat,
            time: Duration::from_millis(arguments.milliseconds),
            payload_bytes: arguments.payload.into(),
        },
        &mut |next| eprintln!("{next}"),
    )?;
    print!("{report}");
    if let Some(path) = arguments.json {
        let json = serde_json::to_string_pretty(&report)? + "\n";
        std::fs::write(&path, json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn run_ring(arguments: &RingArguments) -> anyhow::Result<()> {
    let report = ring::run(&RingPlan {
        cores: ring::parse_cores(&arguments.cores)?,
        time: Duration::from_millis(arguments.ms),
        ring_bytes: arguments.ring_bytes,
    })?;
    print!("{report}");
    if let Some(path) = &arguments.json {
        let json = serde_json::to_string_pretty(&report)? + "\n";
        std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn parse_confidence(text: &str) -> Result<f64, String> {
    let percent = text.parse::<f64>().ok();
    percent
        .filter(|percent| *percent > 50.0 && *percent < 100.0)
        .ok_or_else(|| "a confidence lies between 50 and 100, like 95".to_owned())
}

/// Prints the report, and writes it with its races' plots.
fn write_report(out: &Path, name: &str, report: &Report) -> anyhow::Result<()> {
    print!("{report}");
    write(out, &format!("{name}.txt"), &report.to_string())?;
    let json = serde_json::to_string_pretty(report)? + "\n";
    write(out, &format!("{name}.json"), &json)?;
    for n in report.sizes() {
        for network in &report.networks {
            let name = format!("race-{}-n{n}.svg", network.0);
            write(out, &name, &plot::race(report, n, *network)?)?;
        }
    }
    Ok(())
}

fn write(folder: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let path = folder.join(name);
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

const ROUNDS_DEFAULT: u32 = 200;
const EXIT_STATUS: &str = "Exit status: 0 all holds; 1 a run does not hold, or something is worse than allowed; \
                           2 unusable input, said in one sentence.";
/// One liar, and three.
const SIZES_DEFAULT: [usize; 2] = [5, 10];
