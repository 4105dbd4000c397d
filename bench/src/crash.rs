//! kill -9 at random instants, again and again, under load: does anybody break its word?
//!
//! `fairlane-bench crash` runs real committees of the `fairlane` binary with a settlement worker beside one authority.
//! In each round one, f, or all authorities are killed at random instants, sometimes the worker, some of them once more
//! while they recover; they are started again, the load comes to rest, and what is on the disks is judged ([`check`]):
//!
//! - the journals agree on every batch, and the settled order is what the vertices in them give, computed anew;
//! - every envelope for which an authority signed a receipt is settled, and the vertex of that receipt is in that
//!   authority's journal;
//! - nothing is settled twice;
//! - nobody signed two vertices for a round, and nobody holds evidence of a fault.
//!
//! The client ([`load`]) sends an envelope again until it has a receipt: an acknowledgement promises nothing.
//!
//! What is killed and when is drawn from a seed; what the machine makes of it is not, so the same seed is the same
//! attempt, not the same run. Every few rounds a new committee starts on empty folders, with a seed of its own, so that
//! journals stay short and a failure is repeated by few rounds.

pub mod check;
pub mod load;
pub mod network;
pub mod plan;
pub mod recheck;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use fairlane_net::node::durability_name;

use load::Load;
use network::Network;
use plan::{Durabilities, Round};

/// What is run.
#[derive(Clone, Debug)]
pub struct CrashPlan {
    /// The `fairlane` binary.
    pub fairlane: PathBuf,
    /// Authorities.
    pub authorities: u8,
    /// Rounds, unless the time is up before.
    pub rounds: u32,
    /// No round begins after this.
    pub time: Option<Duration>,
    /// Of whom is killed when.
    pub seed: u64,
    /// Envelopes a second.
    pub rate: u32,
    /// How the nodes write.
    pub durability: Durabilities,
    /// Some stay away until they need a state from their peers.
    pub is_away: bool,
    /// Each round kills the worker and its node, and nobody else.
    pub is_settlement: bool,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct CrashReport {
    /// Rounds that were judged.
    pub rounds: u32,
    /// Committees.
    pub committees: u32,
    /// Authorities killed.
    pub kills: u64,
    /// Rounds in which all were down at once.
    pub all_down: u32,
    /// Settlement workers killed.
    pub worker_kills: u64,
    /// Envelopes sent.
    pub envelopes: u64,
    /// Of which an authority at least gave a receipt.
    pub accepted: u64,
    /// Receipts.
    pub receipts: u64,
    /// Envelopes settled.
    pub settled: u64,
    /// Times that an envelope was sent again.
    pub resent: u64,
    /// From the start of a process to its being ready, after a kill.
    pub recoveries: Vec<Duration>,
    /// Journals that took over a state from peers: their node had been away for too long.
    pub took_over: u64,
    /// What did not hold, and how to repeat it.
    pub failure: Option<Failure>,
}

/// What did not hold.
#[derive(Clone, Debug)]
pub struct Failure {
    /// In one sentence or a few.
    pub what: String,
    /// Keys, journals and logs.
    pub data: PathBuf,
    /// Seed of the committee that failed.
    pub seed: u64,
    /// In which of its rounds.
    pub round: u32,
    /// What else the command was given.
    pub flags: String,
}

impl CrashPlan {
    /// The flags that make this plan, but for rounds and seed.
    fn flags(&self) -> String {
        let mut flags = format!("--nodes {} --rate {}", self.authorities, self.rate);
        if let Durabilities::Only(durability) = self.durability {
            flags += &format!(" --durability {}", durability_name(durability));
        }
        if self.is_away {
            flags += " --away";
        }
        if self.is_settlement {
            flags += " --settlement";
        }
        flags
    }
}

/// Runs it; `progress` is given a line a round.
///
/// Errors: the host or the binary, not what is being tested.
pub fn run(plan: &CrashPlan, progress: &mut dyn FnMut(&str)) -> anyhow::Result<CrashReport> {
    let start = Instant::now();
    let mut report = CrashReport::default();
    let is_over = |report: &CrashReport| {
        report.rounds >= plan.rounds || plan.time.is_some_and(|time| start.elapsed() >= time)
    };
    while !is_over(&report) && report.failure.is_none() {
        let seed = plan.seed + u64::from(report.committees);
        let rounds = plan::ROUNDS_A_COMMITTEE.min(plan.rounds - report.rounds);
        let folder = tempfile::Builder::new()
            .prefix("fairlane-crash-")
            .tempdir()
            .context("cannot make a folder for a committee")?;
        let mut round = 0;
        let ran = run_committee(
            plan,
            seed,
            folder.path(),
            &mut report,
            &mut |report, line| {
                round += 1;
                progress(line);
                round < rounds && !is_over(report)
            },
        );
        report.committees += 1;
        if let Err(error) = ran {
            report.failure = Some(Failure {
                what: format!("{error:#}"),
                data: folder.keep(),
                seed,
                round: round + 1,
                flags: plan.flags(),
            });
        }
    }
    Ok(report)
}

/// Rounds of one committee, until `next` says that it was the last. Errors: what did not hold.
fn run_committee(
    plan: &CrashPlan,
    seed: u64,
    folder: &Path,
    report: &mut CrashReport,
    next: &mut dyn FnMut(&CrashReport, &str) -> bool,
) -> anyhow::Result<()> {
    let mut chances = plan::Chances::new(seed, plan.authorities, plan.durability, plan.is_away);
    let setting = chances.setting();
    if plan.is_settlement {
        chances.only_settlement(setting.settle_node);
    }
    let mut network = Network::start(plan, setting, folder)?;
    let load = Load::start(&network.directory, plan.rate)?;
    let mut judge = check::Judge::open(folder, &network.directory, plan.authorities)?;
    loop {
        let (round, start) = (chances.round(), Instant::now());
        let before = network.recoveries.len();
        network.carry_out(&round)?;
        load.come_to_rest(&mut judge, &mut network)?;
        let judged = judge.judge(&load, &mut network)?;
        network.check_all_run()?;
        report.rounds += 1;
        report.kills += u64::from(round.kills());
        report.all_down += u32::from(round.all_at_once);
        report.worker_kills += u64::from(round.kills_worker());
        let recoveries = &network.recoveries[before..];
        let line = Line {
            round: report.rounds,
            seed,
            of: &round,
            judged: &judged,
            recovery: recoveries.iter().max().copied().unwrap_or_default(),
            took: start.elapsed(),
        };
        let go_on = next(report, &line.to_string());
        if !go_on {
            report.took_over += judged.took_over;
            break;
        }
        load.go_on();
    }
    let figures = load.stop()?;
    report.envelopes += figures.envelopes;
    report.accepted += figures.accepted;
    report.receipts += figures.receipts;
    report.resent += figures.resent;
    report.settled += judge.settled();
    report.recoveries.append(&mut network.recoveries);
    network.stop()?;
    judge.judge_stopped()
}

/// One round, for people.
struct Line<'a> {
    round: u32,
    seed: u64,
    of: &'a Round,
    judged: &'a check::Judged,
    recovery: Duration,
    took: Duration,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let judged = self.judged;
        write!(
            f,
            "round {:>4}  seed {}  {:<36} settled {:>6}  accepted {:>6}  batches {:>5}  recovery {:>4} ms  took {:.1} s",
            self.round,
            self.seed,
            self.of.to_string(),
            judged.settled,
            judged.accepted,
            judged.batches,
            self.recovery.as_millis(),
            self.took.as_secs_f64(),
        )
    }
}

impl fmt::Display for CrashReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n{} rounds, {} committees; killed: {} authorities (all at once in {} rounds), {} settlement workers",
            self.rounds, self.committees, self.kills, self.all_down, self.worker_kills
        )?;
        writeln!(
            f,
            "{} envelopes, {} accepted by {} receipts, {} settled, sent again {} times",
            self.envelopes, self.accepted, self.receipts, self.settled, self.resent
        )?;
        let (mut sorted, count) = (self.recoveries.clone(), self.recoveries.len());
        sorted.sort_unstable();
        if let (Some(median), Some(longest)) = (sorted.get(count / 2), sorted.last()) {
            writeln!(
                f,
                "{count} recoveries: median {} ms, longest {} ms; {} journals took over a state from peers",
                median.as_millis(),
                longest.as_millis(),
                self.took_over
            )?;
        }
        match &self.failure {
            None => writeln!(
                f,
                "agreement, nothing accepted lost, nothing settled twice, no contradiction, order recomputed: all hold"
            ),
            Some(failure) => writeln!(
                f,
                "DOES NOT HOLD, in round {} of the committee with seed {}: {}\njournals, logs and keys are in {}\nto repeat: fairlane-bench crash --rounds {} --seed {} {}",
                failure.round,
                failure.seed,
                failure.what,
                failure.data.display(),
                failure.round,
                failure.seed,
                failure.flags
            ),
        }
    }
}
