//! Runs many seeds of the simulator and gives a verdict: a line for each seed that breaks a promise, with the command that
//! repeats it, and a summary.

#![allow(
    clippy::disallowed_types,
    reason = "only this binary tells how long a run took; nothing that is simulated sees a clock"
)]

mod long_run;
#[cfg(feature = "mutants")]
mod mutation;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
#[cfg(feature = "mutants")]
use fairlane_engine::mutant::Mutant;
use fairlane_engine::sim::{self, Keyring, Mean, Options, Report};

/// Simulates whole committees on virtual time, one a seed, and checks every promise.
#[derive(Parser)]
#[command(name = "simulate")]
struct Args {
    /// Which seeds: one number, or `FROM..TO`; 0..100 unless given, and 0..2000 for the mutation check.
    #[arg(long)]
    seeds: Option<String>,
    /// Size of every committee; drawn from the seed unless given.
    #[arg(long)]
    n: Option<u8>,
    /// Every node checks every signature and proof itself.
    #[arg(long)]
    no_memo: bool,
    /// Nodes lose power besides, some or all at one instant.
    #[arg(long)]
    power_loss: bool,
    /// Print every scenario and report.
    #[arg(long)]
    verbose: bool,
    /// Run every seed twice and compare the traces.
    #[arg(long)]
    twice: bool,
    /// Instead of seeds: commit latency with this one-way delay, microseconds, with nobody and with f authorities crashed.
    #[arg(long)]
    latency: Option<u64>,
    /// Instead of seeds: one committee (of 4 unless `--n` is given) for so many rounds, with a look at what it holds.
    #[arg(long)]
    rounds: Option<u64>,
    /// Break this rule and see what the seeds say.
    #[cfg(feature = "mutants")]
    #[arg(long)]
    mutant: Option<String>,
    /// Break one rule after the other, and run seeds until a checker catches it.
    #[cfg(feature = "mutants")]
    #[arg(long)]
    mutation_check: bool,
}

impl Args {
    const fn default_seeds(&self) -> &'static str {
        #[cfg(feature = "mutants")]
        if self.mutation_check {
            return "0..2000";
        }
        "0..100"
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let seeds = args.seeds.as_deref().unwrap_or(args.default_seeds());
    let Some(seeds) = parse_seeds(seeds) else {
        eprintln!("--seeds takes a number or FROM..TO, not {seeds:?}");
        return ExitCode::from(2);
    };
    let options = Options {
        n: args.n,
        is_without_memo: args.no_memo,
        is_losing_power: args.power_loss,
    };
    let mut keyring = Keyring::default();
    #[cfg(feature = "mutants")]
    {
        let mutant = args.mutant.as_deref().map(mutation::by_name);
        if mutant == Some(None) {
            eprintln!("--mutant takes one of {:?}", Mutant::ALL);
            return ExitCode::from(2);
        }
        let mutant = mutant.flatten();
        if args.mutation_check {
            return mutation::check(mutant, seeds, options, &mut keyring);
        }
        fairlane_engine::mutant::activate(mutant);
    }
    if let Some(rounds) = args.rounds {
        return long_run::run(args.n.unwrap_or(4), rounds);
    }
    if let Some(delay_us) = args.latency {
        return print_latency(delay_us, args.n, &mut keyring);
    }
    let mut total = Total::default();
    let start = Instant::now();
    for seed in seeds {
        let repeat = repeat_command(seed, &args);
        if args.verbose {
            eprintln!("{}", sim::describe(seed, options));
        }
        let Ok(report) = catch_unwind(AssertUnwindSafe(|| sim::run(seed, options, &mut keyring)))
        else {
            total.failed += 1;
            println!("seed {seed}: panic; repeat: {repeat}");
            continue;
        };
        if args.verbose {
            eprintln!("{report:#?}");
        }
        if args.twice {
            let again = sim::run(seed, options, &mut keyring);
            if again.trace != report.trace {
                total.failed += 1;
                println!("seed {seed}: two runs differ; repeat: {repeat}");
            }
        }
        if let Some(failure) = &report.failure {
            total.failed += 1;
            println!("seed {seed}: n = {}: {failure}; repeat: {repeat}", report.n);
        }
        total.add(&report);
        if total.seeds.is_multiple_of(100) {
            eprintln!(
                "{} seeds, {:.0} s",
                total.seeds,
                start.elapsed().as_secs_f64()
            );
        }
    }
    total.print(start.elapsed().as_secs_f64());
    ExitCode::from(u8::from(total.failed > 0))
}

fn print_latency(delay_us: u64, n: Option<u8>, keyring: &mut Keyring) -> ExitCode {
    let mut failed = false;
    for n in n.map_or(vec![4, 5, 7, 10, 16], |n| vec![n]) {
        for crashed in [0, (n - 1) / 3] {
            let report = sim::run_steady(n, delay_us, crashed, keyring);
            let in_delays =
                |mean: Mean| mean.sum_us as f64 / mean.count.max(1) as f64 / delay_us as f64;
            println!(
                "n = {n}, {crashed} crashed, delay d = {delay_us} us: a leader's vertex commits in {:.2} d, any in {:.2} d; {} commits in {} rounds",
                in_delays(report.leader_latency),
                in_delays(report.vertex_latency),
                report.commits,
                report.rounds
            );
            if let Some(failure) = report.failure {
                println!("n = {n}, {crashed} crashed: {failure}");
                failed = true;
            }
        }
    }
    ExitCode::from(u8::from(failed))
}

fn parse_seeds(text: &str) -> Option<Range<u64>> {
    if let Some((from, to)) = text.split_once("..") {
        return Some(from.parse().ok()?..to.parse().ok()?);
    }
    let seed = text.parse().ok()?;
    Some(seed..seed + 1)
}

fn repeat_command(seed: u64, args: &Args) -> String {
    let n = args.n.map_or(String::new(), |n| format!(" --n {n}"));
    let power = if args.power_loss { " --power-loss" } else { "" };
    format!(
        "cargo run --release -p fairlane-engine --features sim --bin simulate -- --seeds {seed}{n}{power}"
    )
}

#[derive(Default)]
struct Total {
    seeds: u64,
    failed: u64,
    sum: Report,
    /// The most that an envelope took of the rounds promised to it.
    of_bound_worst: f64,
}

impl Total {
    fn add(&mut self, report: &Report) {
        self.seeds += 1;
        let sum = &mut self.sum;
        sum.virtual_us += report.virtual_us;
        sum.events += report.events;
        sum.rounds += report.rounds;
        sum.commits += report.commits;
        sum.batches += report.batches;
        sum.entries += report.entries;
        sum.promised += report.promised;
        sum.rounds_sum += report.rounds_sum;
        sum.rounds_worst = sum.rounds_worst.max(report.rounds_worst);
        let of_bound = |report: &Report| report.rounds_worst as f64 / report.rounds_max as f64;
        self.of_bound_worst = self.of_bound_worst.max(of_bound(report));
        sum.judged += report.judged;
        sum.gave_up += report.gave_up;
        sum.shares += report.shares;
        sum.shares_bad += report.shares_bad;
        sum.void += report.void;
        sum.keys_made += report.keys_made;
        sum.shares_assured += report.shares_assured;
        sum.shares_mended += report.shares_mended;
        sum.restarts += report.restarts;
        sum.power_losses += report.power_losses;
        sum.receipts += report.receipts;
        sum.adopted += report.adopted;
        sum.snapshot_starts += report.snapshot_starts;
        sum.loads += report.loads;
        sum.states_taken += report.states_taken;
        sum.batches_fetched += report.batches_fetched;
        sum.laws_judged += report.laws_judged;
        sum.forks += report.forks;
        sum.law.forced += report.law.forced;
        sum.law.in_cycle += report.law.in_cycle;
        sum.law.after_cut += report.law.after_cut;
    }

    fn print(&self, seconds: f64) {
        let sum = &self.sum;
        println!(
            "{} seeds, {} failed; {:.2} virtual hours, {} rounds, {} commits, {} batches, {} entries ({} void), {} events",
            self.seeds,
            self.failed,
            sum.virtual_us as f64 / 3.6e9,
            sum.rounds,
            sum.commits,
            sum.batches,
            sum.entries,
            sum.void,
            sum.events
        );
        println!(
            "promised: {} settled after the last fault, mean {:.1} rounds, worst {}, {:.0} % of a bound at most; {} shares judged, {} bad ones found; {} forks",
            sum.promised,
            sum.rounds_sum as f64 / sum.promised.max(1) as f64,
            sum.rounds_worst,
            100.0 * self.of_bound_worst,
            sum.shares,
            sum.shares_bad,
            sum.forks
        );
        println!(
            "commit rule: {} outputs of anchors judged; fair order: {} forced pairs, {} turned round in a cycle, {} behind a cut wait; {} seeds where the definition gave up",
            sum.judged, sum.law.forced, sum.law.in_cycle, sum.law.after_cut, sum.gave_up
        );
        println!(
            "away and back: {} restarts ({} from a snapshot), {} losses of power, {} lost vertices taken over, {} receipts judged, {} state syncs, {} batches fetched, {} readings from disks; the law judged in {} seeds",
            sum.restarts,
            sum.snapshot_starts,
            sum.power_losses,
            sum.adopted,
            sum.receipts,
            sum.states_taken,
            sum.batches_fetched,
            sum.loads,
            sum.laws_judged
        );
        println!(
            "sealing keys: {} made, {} shares assured in the log, {} bad ones made good by that",
            sum.keys_made, sum.shares_assured, sum.shares_mended
        );
        println!("{seconds:.1} s of real time");
    }
}
