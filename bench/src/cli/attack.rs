//! `fairlane-bench attack` and `attack-localnet`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use fairlane_bench::attack::localnet::{self, LocalnetPlan};
use fairlane_bench::attack::report::Report;
use fairlane_bench::attack::waiting::Attack;
use fairlane_bench::attack::{self, AttackPlan, plot};

use super::binary;

#[derive(Debug, clap::Args)]
pub(crate) struct AttackArguments {
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
pub(crate) struct AttackLocalnetArguments {
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

pub(crate) fn run(arguments: &AttackArguments) -> anyhow::Result<()> {
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

pub(crate) fn run_attack_localnet(arguments: &AttackLocalnetArguments) -> anyhow::Result<()> {
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

/// One liar, and three.
const SIZES_DEFAULT: [usize; 2] = [5, 10];
