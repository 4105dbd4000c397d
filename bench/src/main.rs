//! `fairlane-bench`: measurements that are runs of their own; see `fairlane-bench --help`.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use fairlane_bench::attack::network::Profile;
use fairlane_bench::attack::waiting::Attack;
use fairlane_bench::attack::{self, AttackPlan, plot};

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

fn main() -> ExitCode {
    let Command::Attack(arguments) = Cli::parse().command;
    match run_attack(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
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
    print!("{report}");
    write(out, "attack.txt", &report.to_string())?;
    write(
        out,
        "attack.json",
        &(serde_json::to_string_pretty(&report)? + "\n"),
    )?;
    for n in report.sizes() {
        for network in Profile::ALL {
            let name = format!("race-{}-n{n}.svg", network.name());
            write(out, &name, &plot::race(&report, n, network)?)?;
        }
        write(out, &format!("delay-n{n}.svg"), &plot::delay(&report, n)?)?;
    }
    Ok(())
}

fn write(folder: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let path = folder.join(name);
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// One liar, and three.
const SIZES_DEFAULT: [usize; 2] = [5, 10];
