//! `fairlane-bench`: measurements that are runs of their own; see `fairlane-bench --help`.

#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;

use fairlane_bench::capacity::args::{CAPACITY_HELP, CapacityArguments};
use fairlane_bench::ingest::args::IngestArguments;

use cli::{CRASH_STATUS, EXIT_STATUS};
use cli::{
    attack, compare, crash, e2e, gate, hostile, hosts, idle, overload, ring, rtt, saturate,
    syscalls, xdp,
};

// That of the programs that it measures; see `fairlane_net::memory`.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

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
    Attack(attack::AttackArguments),
    /// The race of attackers and victims on the orders that a real local network recorded, f of them bent afterwards.
    AttackLocalnet(attack::AttackLocalnetArguments),
    /// Replay a recorded local network into one of its authorities, alone on one core: envelopes a second of that core.
    #[command(after_help = CAPACITY_HELP)]
    Capacity(CapacityArguments),
    /// Lay two reports of e2e or of saturate side by side, in words and as a page.
    Compare(compare::CompareArguments),
    /// Kill authorities and settlement workers under load, again and again, and judge what their journals say.
    #[command(after_help = CRASH_STATUS)]
    Crash(crash::CrashArguments),
    /// Run a local network several times for each cell of a matrix of settings, two versions in turns where asked.
    #[command(after_help = EXIT_STATUS)]
    E2e(e2e::E2eArguments),
    /// Receive UDP in every way there is, side by side on a veth pair in network namespaces that go with the run; needs root.
    Xdp(xdp::XdpArguments),
    /// Judge whether latencies got worse, from HdrHistogram logs of several runs of each side.
    #[command(after_help = EXIT_STATUS)]
    Gate(gate::GateArguments),
    /// Take envelopes in as far as the local order, for each backend and transport, beside a bare loop that only reads.
    #[command(after_help = EXIT_STATUS)]
    Ingest(IngestArguments),
    /// Send malformed traffic to every port of a local committee, and measure an honest load with and without it.
    #[command(after_help = EXIT_STATUS)]
    Hostile(hostile::HostileArguments),
    /// Run a committee on hosts of their own (network namespaces) with delays, jitter, loss and cuts between them; needs root.
    #[command(after_help = EXIT_STATUS)]
    Hosts(hosts::HostsArguments),
    /// Hold thousands of idle connections to an authority, and measure its memory and an honest load beside them.
    #[command(after_help = EXIT_STATUS)]
    Idle(idle::IdleArguments),
    /// The process of `idle` that connects.
    #[command(hide = true)]
    IdleClients(idle::IdleClientsArguments),
    /// Offer several times as much as a local committee can take, with a modest client beside; hold it to bounds.
    #[command(after_help = EXIT_STATUS)]
    Overload(overload::OverloadArguments),
    /// Measure from submission to acknowledgement at low load, for each way to wait, beside a bare ping-pong.
    #[command(after_help = EXIT_STATUS)]
    Rtt(rtt::RttArguments),
    /// Find the knee of a local committee's latency-throughput curve, for sizes, backends, sealed and open envelopes.
    #[command(after_help = EXIT_STATUS)]
    Saturate(saturate::SaturateArguments),
    /// Count system calls for each envelope, on io_uring and on epoll; needs the perf command, and root.
    #[command(after_help = EXIT_STATUS)]
    Syscalls(syscalls::SyscallsArguments),
    /// Hand batches to another process through the settlement ring, a Unix socket and a pipe: latency and throughput.
    Ring(ring::RingArguments),
    /// The reading process of `ring`.
    #[command(hide = true)]
    RingReader {
        /// Core to run on.
        #[arg(long)]
        core: usize,
    },
}

fn main() -> ExitCode {
    // As the programs that it measures.
    let _ = fairlane_net::memory::refuse_huge_pages();
    let done = match Cli::parse().command {
        Command::Attack(arguments) => attack::run(&arguments).map(|()| true),
        Command::AttackLocalnet(arguments) => {
            attack::run_attack_localnet(&arguments).map(|()| true)
        }
        Command::Capacity(arguments) => arguments.run(),
        Command::Compare(arguments) => compare::run(&arguments).map(|()| true),
        Command::Crash(arguments) => crash::run(&arguments),
        Command::E2e(arguments) => e2e::run(arguments),
        Command::Gate(arguments) => gate::run(arguments),
        Command::Ring(arguments) => ring::run(&arguments).map(|()| true),
        Command::RingReader { core } => fairlane_bench::ring::read_for_writer(core).map(|()| true),
        Command::Ingest(arguments) => arguments.run(),
        Command::Hostile(arguments) => hostile::run(&arguments),
        Command::Hosts(arguments) => hosts::run(&arguments),
        Command::Idle(arguments) => idle::run(&arguments),
        Command::IdleClients(arguments) => idle::connect(&arguments).map(|()| true),
        Command::Overload(arguments) => overload::run(&arguments),
        Command::Rtt(arguments) => rtt::run(&arguments),
        Command::Saturate(arguments) => saturate::run(&arguments),
        Command::Syscalls(arguments) => syscalls::run(&arguments).map(|()| true),
        Command::Xdp(arguments) => xdp::run(arguments).map(|()| true),
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
