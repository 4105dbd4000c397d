//! A committee whose authorities are hosts of their own, far apart: agreement and latency under delay, jitter and loss,
//! with one authority cut off and healed, and then the leader of that moment.
//!
//! Latencies count from the planned time of an envelope to what a client next to everybody hears, in units of the one-way
//! delay between authorities.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use fairlane_client::committee_file::Addresses;
use fairlane_loadgen::LoadOutcome;
use fairlane_loadgen::arrivals::Rate;
use serde::Serialize;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::Check;
use super::committee::{Committee, CommitteePlan, offer};
use super::delayer::{Hosts, Way};

/// What is run.
#[derive(Clone, Debug)]
pub struct HostsPlan {
    /// Authorities, a host each.
    pub authorities: u8,
    /// One-way delays.
    pub delays: Vec<Duration>,
    /// How long each is measured.
    pub duration: Duration,
    /// How long an authority is cut off.
    pub cut: Duration,
    /// Envelopes a second.
    pub rate: u32,
    /// Of what is lost and how late the rest is.
    pub seed: u64,
}

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub struct Phase {
    /// What the network was like.
    pub name: String,
    /// One-way delay, ms.
    pub delay_ms: f64,
    /// Ordered and settled, p50 and p99, in one-way delays.
    pub ordered_p50: f64,
    /// 99th percentile.
    pub ordered_p99: f64,
    /// Median.
    pub settled_p50: f64,
    /// 99th percentile.
    pub settled_p99: f64,
    /// All of it.
    pub outcome: LoadOutcome,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct HostsReport {
    /// In the order in which they were measured.
    pub phases: Vec<Phase>,
    /// Packets carried, lost, and lost as too many were held.
    pub packets: (u64, u64, u64),
    /// Each bound, and whether it holds.
    pub checks: Vec<Check>,
}

impl HostsReport {
    /// Whether every bound holds.
    pub fn holds(&self) -> bool {
        self.checks.iter().all(|check| check.holds)
    }
}

/// Runs it. Errors: the host lacks something (root, namespaces, TUN devices), or the binary.
pub fn run(
    plan: &HostsPlan,
    fairlane: &Path,
    progress: &mut dyn FnMut(&str),
) -> anyhow::Result<HostsReport> {
    let first = plan.delays.first().copied().unwrap_or_default();
    remove_on_signals(plan.authorities)?;
    let hosts = Hosts::start(plan.authorities, clean(first), plan.seed)?;
    let addresses: Vec<Addresses> = (0..plan.authorities)
        .map(|host| Addresses {
            client: at(host, CLIENT_PORT),
            peer: at(host, PEER_PORT),
        })
        .collect();
    let edit = |host: u8, table: &mut toml::Table| {
        // They share this machine's cores, though their addresses do not say so.
        table.insert(
            "authorities_here".into(),
            i64::from(plan.authorities).into(),
        );
        let figures = at(host, FIGURES_PORT).to_string();
        table.insert("metrics_listen".into(), figures.into());
    };
    let command = |host: u8| hosts.command(host);
    let mut committee = CommitteePlan::local(fairlane, plan.authorities)?;
    committee.addresses = addresses;
    committee.edit = &edit;
    committee.command = &command;
    let mut committee = Committee::start(&committee)?;
    let mut report = HostsReport {
        phases: Vec::new(),
        packets: (0, 0, 0),
        checks: Vec::new(),
    };
    for delay in &plan.delays {
        for way in [clean(*delay), rough(*delay)] {
            hosts.set_way(way);
            progress(&format!("{}", Shown(way)));
            // The timers find out how slow the network is.
            std::thread::sleep(ADAPTING);
            let phase = measure(
                plan,
                &committee,
                way,
                &Shown(way).to_string(),
                plan.duration,
            )?;
            report.phases.push(phase);
        }
    }
    let way = rough(first);
    hosts.set_way(way);
    let last = plan.authorities - 1;
    for (what, is_leader) in [("an authority", false), ("the leader of the moment", true)] {
        let name = format!("{what} cut off for {:?}, then healed", plan.cut);
        progress(&name);
        std::thread::sleep(ADAPTING);
        let total = BEFORE_CUT + plan.cut + AFTER_CUT;
        let phase = std::thread::scope(|scope| {
            let hosts = &hosts;
            let cutter = scope.spawn(move || -> anyhow::Result<u8> {
                std::thread::sleep(LEAD + BEFORE_CUT);
                let victim = if is_leader {
                    leader(plan.authorities)?
                } else {
                    last
                };
                hosts.set_cut(victim, true);
                std::thread::sleep(plan.cut);
                hosts.set_cut(victim, false);
                Ok(victim)
            });
            let phase = measure(plan, &committee, way, &name, total);
            let victim = cutter
                .join()
                .map_err(|_| anyhow::anyhow!("a thread panicked"))??;
            let mut phase = phase?;
            phase.name = format!("{what} ({victim}) cut off for {:?}, healed", plan.cut);
            anyhow::Ok(phase)
        })?;
        report.phases.push(phase);
    }
    // What the healed one has missed is fetched.
    std::thread::sleep(AFTER_CUT);
    committee.check_all_run()?;
    let nodes = committee.stop()?;
    report.packets = hosts.counts();
    let behind = nodes
        .iter()
        .filter(|node| node.standing.is_catching_up)
        .count();
    judge(&mut report, plan, behind);
    let verified = Command::new(fairlane)
        .args(["verify", "--data"])
        .arg(committee.folder())
        .output()
        .context("cannot run fairlane verify")?;
    let said = String::from_utf8_lossy(&verified.stdout).into_owned();
    let words = said.lines().find(|line| line.contains("DOES NOT HOLD"));
    report.checks.push(Check::new(
        "all journals give one chain, and the settled order is theirs",
        words.unwrap_or("fairlane verify holds").to_owned(),
        verified.status.success(),
    ));
    Ok(report)
}

fn measure(
    plan: &HostsPlan,
    committee: &Committee,
    way: Way,
    name: &str,
    duration: Duration,
) -> anyhow::Result<Phase> {
    let rate = Rate::Constant(plan.rate.into());
    let outcome = offer(&committee.directory, &rate, duration, |config| {
        config.lead = LEAD
    })?;
    let delays = |us: u64| us as f64 / way.delay.as_micros().max(1) as f64;
    let (ordered, settled) = (outcome.latency_us.ordered, outcome.latency_us.settled);
    Ok(Phase {
        name: name.to_owned(),
        delay_ms: way.delay.as_secs_f64() * 1e3,
        ordered_p50: delays(ordered.p50),
        ordered_p99: delays(ordered.p99),
        settled_p50: delays(settled.p50),
        settled_p99: delays(settled.p99),
        outcome,
    })
}

fn judge(report: &mut HostsReport, plan: &HostsPlan, behind: usize) {
    let sum = |of: &dyn Fn(&LoadOutcome) -> u64| -> u64 {
        report.phases.iter().map(|phase| of(&phase.outcome)).sum()
    };
    let offered = sum(&|outcome| outcome.tally.offered);
    let settled = sum(&|outcome| outcome.tally.settled);
    let lost = sum(&|outcome| outcome.tally.lost);
    let disagreements = sum(&|outcome| outcome.order_disagreements);
    // Each delay was measured without loss, then with.
    let slowest = |skip: usize| {
        let all_there = report.phases.iter().take(2 * plan.delays.len());
        let p50s = all_there
            .skip(skip)
            .step_by(2)
            .map(|phase| phase.ordered_p50);
        p50s.fold(0.0, f64::max)
    };
    let (clean, rough) = (slowest(0), slowest(1));
    report.checks = vec![
        Check::new(
            "nothing accepted is lost",
            format!("{lost} lost"),
            lost == 0,
        ),
        Check::new(
            "everything offered is settled",
            format!("{settled} of {offered}"),
            settled == offered,
        ),
        Check::new(
            "no two nodes disagree",
            format!("{disagreements} times"),
            disagreements == 0,
        ),
        Check::new(
            format!("ordered p50 without loss: at most {CLEAN_DELAYS_MOST} one-way delays"),
            format!("{clean:.1}"),
            clean <= CLEAN_DELAYS_MOST,
        ),
        Check::new(
            format!("ordered p50 with jitter and loss: at most {ROUGH_DELAYS_MOST}"),
            format!("{rough:.1}"),
            rough <= ROUGH_DELAYS_MOST,
        ),
        Check::new(
            "nobody is behind at the end",
            format!("{behind} are"),
            behind == 0,
        ),
    ];
}

/// Who leads the round that the first authority is in, by the schedule in which nobody is left out.
fn leader(authorities: u8) -> anyhow::Result<u8> {
    let mut stream = TcpStream::connect_timeout(&at(0, FIGURES_PORT), ANSWER_TIMEOUT)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.write_all(b"GET /report HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let json = answer.find('{').map(|at| &answer[at..]);
    let json = json.context("an authority told no figures")?;
    let figures: serde_json::Value = serde_json::from_str(json.trim_end())?;
    let round = figures["round"]
        .as_u64()
        .context("the figures name no round")?;
    // The settlement worker's own authority stays: it is whom the trial listens to.
    Ok(((round % u64::from(authorities)) as u8).max(1))
}

/// An interrupt leaves no host behind; nodes end with this process.
fn remove_on_signals(authorities: u8) -> anyhow::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let names = Hosts::names(authorities);
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            names.remove_for_good();
            Committee::remove_folders_of_this_process();
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}

fn at(host: u8, port: u16) -> SocketAddr {
    SocketAddrV4::new(Hosts::address(host), port).into()
}

const fn clean(delay: Duration) -> Way {
    Way {
        delay,
        jitter: Duration::ZERO,
        loss: 0,
    }
}

/// A tenth of the delay more or less, and one packet in a hundred lost.
fn rough(delay: Duration) -> Way {
    Way {
        delay,
        jitter: delay / 10,
        loss: 100,
    }
}

struct Shown(Way);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Way {
            delay,
            jitter,
            loss,
        } = self.0;
        write!(f, "{delay:?} one way")?;
        if loss > 0 {
            write!(
                f,
                ", up to {jitter:?} jitter, {} % lost",
                f64::from(loss) / 100.0
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for HostsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "latency in one-way delays, from the planned time, for a client next to all"
        )?;
        writeln!(
            f,
            "  {:<52} {:>11} {:>8} {:>11} {:>8}",
            "", "ordered p50", "p99", "settled p50", "p99"
        )?;
        for phase in &self.phases {
            writeln!(
                f,
                "  {:<52} {:>11.1} {:>8.1} {:>11.1} {:>8.1}",
                phase.name,
                phase.ordered_p50,
                phase.ordered_p99,
                phase.settled_p50,
                phase.settled_p99
            )?;
        }
        let (carried, lost, overflowed) = self.packets;
        writeln!(
            f,
            "packets: {carried} carried, {lost} lost, {overflowed} too many at once"
        )?;
        for check in &self.checks {
            writeln!(f, "{check}")?;
        }
        Ok(())
    }
}

const CLIENT_PORT: u16 = 7000;
const PEER_PORT: u16 = 7001;
const FIGURES_PORT: u16 = 7002;
const LEAD: Duration = Duration::from_millis(500);
const ADAPTING: Duration = Duration::from_secs(3);
const BEFORE_CUT: Duration = Duration::from_secs(2);
const AFTER_CUT: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// An envelope waits half a round for a vertex, which is ordered three to four delays later.
const CLEAN_DELAYS_MOST: f64 = 6.0;
/// What is lost is sent again a round trip later, and holds up what follows it on its link.
const ROUGH_DELAYS_MOST: f64 = 9.0;
