//! Malformed traffic against a running committee, beside an honest load that is measured with and without it.
//!
//! Attackers are threads of this process, each with its own way to misbehave, paced so that what is measured is what their
//! traffic does to the nodes and not how fast this process can send: fuzzed and cut frames, fuzzed envelopes, connections
//! that say nothing or stop in the middle, clients that never read, strangers at the peer port, rubbish at the port of
//! the figures, and [`datagrams`]. What they do is drawn from a seed.
//!
//! The honest load is measured in turns, alone and beside the attackers, so that both figures are of the same minutes; what
//! is compared are the medians of the turns.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::bail;
use fairlane_client::committee_file::Directory;
use fairlane_client::protocol::{Hello, encode_hello, encode_submit};
use fairlane_client::sealing::{PadTo, Sealer};
use fairlane_engine::seal::EnvelopeKind;
use fairlane_loadgen::LoadOutcome;
use fairlane_loadgen::arrivals::Rate;
use fairlane_loadgen::outcome::Distribution;
use fairlane_net::session::handshake::{GREETING_LEN, OPENING_LEN};
use fairlane_net::stage::clock;
use fairlane_net::stage::links::peers::LinkCounters;
use serde::Serialize;

use self::datagrams::{DatagramAttacker, DatagramWay};
use super::Check;
use super::committee::{Committee, CommitteePlan, ROLLUP, offer};
use crate::attack::chance::Chance;

mod datagrams;

/// What is run.
#[derive(Clone, Debug)]
pub struct HostilePlan {
    /// Authorities.
    pub authorities: u8,
    /// How long the attackers are at it.
    pub duration: Duration,
    /// Of all that they do.
    pub seed: u64,
    /// Honest envelopes a second.
    pub rate: u32,
    /// Acts of each kind a second.
    pub acts: u32,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct HostileReport {
    /// Of all that they did.
    pub seed: u64,
    /// The honest load alone, turn by turn.
    pub quiet: Vec<LoadOutcome>,
    /// The honest load beside the attackers, turn by turn.
    pub attacked: Vec<LoadOutcome>,
    /// Acts of each kind.
    pub acts: Vec<(String, u64)>,
    /// Settled p99 beside the attackers over that alone, medians of the turns.
    pub p99_ratio: f64,
    /// What the nodes counted, all together.
    pub counted: Vec<(String, u64)>,
    /// Each bound, and whether it holds.
    pub checks: Vec<Check>,
}

impl HostileReport {
    /// Whether every bound holds.
    pub fn holds(&self) -> bool {
        self.checks.iter().all(|check| check.holds)
    }
}

/// Where the attackers go, and what they know.
struct Targets {
    clients: Vec<SocketAddr>,
    peers: Vec<SocketAddr>,
    figures: Vec<SocketAddr>,
    directory: Directory,
}

/// A way to misbehave.
#[derive(Clone, Copy, Debug)]
enum Way {
    FuzzedFrames,
    FuzzedEnvelopes,
    CutFrames,
    HalfOpen,
    SlowReaders,
    Strangers,
    FuzzedHandshakes,
    Figures,
    Datagrams(DatagramWay),
}

impl Way {
    const ALL: [Self; 12] = [
        Self::FuzzedFrames,
        Self::FuzzedEnvelopes,
        Self::CutFrames,
        Self::HalfOpen,
        Self::SlowReaders,
        Self::Strangers,
        Self::FuzzedHandshakes,
        Self::Figures,
        Self::Datagrams(DatagramWay::ALL[0]),
        Self::Datagrams(DatagramWay::ALL[1]),
        Self::Datagrams(DatagramWay::ALL[2]),
        Self::Datagrams(DatagramWay::ALL[3]),
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::FuzzedFrames => "fuzzed frames at client ports",
            Self::FuzzedEnvelopes => "fuzzed envelopes in whole frames",
            Self::CutFrames => "valid beginnings, cut off",
            Self::HalfOpen => "connections that say nothing, held",
            Self::SlowReaders => "clients that submit and never read",
            Self::Strangers => "rubbish at peer ports",
            Self::FuzzedHandshakes => "fuzzed openings at peer ports",
            Self::Figures => "rubbish at the ports of figures",
            Self::Datagrams(way) => way.name(),
        }
    }
}

/// Runs it. Errors: the host or the binary. An authority that ends is a bound that does not hold.
pub fn run(
    plan: &HostilePlan,
    fairlane: &Path,
    progress: &mut dyn FnMut(&str),
) -> anyhow::Result<HostileReport> {
    let figures = free_ports(plan.authorities)?;
    let mut committee = CommitteePlan::local(fairlane, plan.authorities)?;
    let clients: Vec<SocketAddr> = committee.addresses.iter().map(|at| at.client).collect();
    let edit = |index: u8, table: &mut toml::Table| {
        let address = figures[usize::from(index)].to_string();
        table.insert("metrics_listen".into(), address.into());
        let address = clients[usize::from(index)].to_string();
        table.insert("udp_listen".into(), address.into());
        // Ten minutes of journals are not kept.
        table.insert("retention_bytes".into(), RETENTION_BYTES.into());
    };
    committee.edit = &edit;
    let peers = committee.addresses.iter().map(|at| at.peer).collect();
    let mut committee = Committee::start(&committee)?;
    let targets = Targets {
        clients: committee.directory.client_addresses(),
        peers,
        figures: figures.clone(),
        directory: committee.directory.clone(),
    };
    let rate = Rate::Constant(plan.rate.into());
    let directory = &committee.directory;
    let attacked_time = plan.duration / TURNS;
    let quiet_time = attacked_time.min(QUIET_MAX);
    progress(&format!(
        "{TURNS} turns: {quiet_time:?} alone, then {attacked_time:?} beside {} kinds of attackers",
        Way::ALL.len(),
    ));
    let (is_over, is_on) = (AtomicBool::new(false), AtomicBool::new(false));
    let done: [AtomicU64; Way::ALL.len()] = std::array::from_fn(|_| AtomicU64::new(0));
    let (quiet, attacked) = std::thread::scope(|scope| -> anyhow::Result<_> {
        for (way, done) in Way::ALL.into_iter().zip(&done) {
            let (targets, is_over, is_on) = (&targets, &is_over, &is_on);
            scope.spawn(move || attack(way, plan, targets, (is_over, is_on), done));
        }
        let mut turns = || -> anyhow::Result<_> {
            let (mut quiet, mut attacked) = (Vec::new(), Vec::new());
            for turn in 1..=TURNS {
                quiet.push(offer(directory, &rate, quiet_time, |_| {})?);
                is_on.store(true, Ordering::Relaxed);
                attacked.push(offer(directory, &rate, attacked_time, |_| {})?);
                is_on.store(false, Ordering::Relaxed);
                progress(&format!("turn {turn} of {TURNS}"));
                std::thread::sleep(CALM);
            }
            Ok((quiet, attacked))
        };
        let turns = turns();
        is_over.store(true, Ordering::Relaxed);
        turns
    })?;
    let all_run = committee.check_all_run();
    let mut report = HostileReport {
        seed: plan.seed,
        p99_ratio: median_of(&attacked, |settled| settled.p99)
            / median_of(&quiet, |settled| settled.p99).max(1.0),
        quiet,
        attacked,
        acts: Way::ALL
            .into_iter()
            .zip(&done)
            .map(|(way, done)| (way.name().to_owned(), done.load(Ordering::Relaxed)))
            .collect(),
        counted: Vec::new(),
        checks: Vec::new(),
    };
    let stopped = match all_run {
        Ok(()) => committee.stop(),
        Err(ended) => Err(ended),
    };
    match stopped {
        Ok(nodes) => {
            let sum =
                |of: &dyn Fn(&fairlane_net::node::NodeReport) -> u64| nodes.iter().map(of).sum();
            report.counted = vec![
                (
                    "clients cut for what they sent".into(),
                    sum(&|node| node.io.clients_cut),
                ),
                (
                    "clients cut for reading slowly".into(),
                    sum(&|node| node.io.clients_slow),
                ),
                (
                    "submissions refused".into(),
                    sum(&|node| node.submissions_refused),
                ),
                (
                    "submissions put off for bad proofs".into(),
                    sum(&|node| node.submissions_put_off),
                ),
                (
                    "peer connections refused before a session".into(),
                    sum(&|node| refused_at_the_door(&node.io.links)),
                ),
                (
                    "peer connections that came too often or were too many".into(),
                    sum(&|node| node.io.links.too_often + node.io.links.crowded),
                ),
                (
                    "handshakes that took too long".into(),
                    sum(&|node| node.io.links.late),
                ),
                (
                    "datagrams that do not decode".into(),
                    sum(&|node| node.io.datagrams.malformed),
                ),
                (
                    "datagrams that are too long".into(),
                    sum(&|node| node.io.datagrams.truncated),
                ),
                (
                    "datagrams without a good token".into(),
                    sum(&|node| node.io.datagrams.unknown),
                ),
            ];
            report
                .checks
                .push(Check::new("no authority ended", "all stopped well", true));
        }
        Err(error) => {
            let seen = format!("{error:#}");
            report
                .checks
                .push(Check::new("no authority ended", seen, false));
        }
    }
    judge(&mut report);
    Ok(report)
}

/// For its version, index, key or handshake.
const fn refused_at_the_door(links: &LinkCounters) -> u64 {
    links.version + links.index + links.gate + links.handshake
}

fn judge(report: &mut HostileReport) {
    let sum = |of: &dyn Fn(&LoadOutcome) -> u64| -> u64 {
        report.attacked.iter().chain(&report.quiet).map(of).sum()
    };
    let offered = sum(&|outcome| outcome.tally.offered);
    let lost = sum(&|outcome| outcome.tally.lost);
    let settled = sum(&|outcome| outcome.tally.settled);
    let disagreements = sum(&|outcome| outcome.order_disagreements);
    let mut add = |what: &str, seen: String, holds| {
        report.checks.push(Check::new(what, seen, holds));
    };
    add(
        "nothing accepted is lost",
        format!("{lost} lost of {offered}"),
        lost == 0,
    );
    add(
        "every honest envelope is accepted and settled",
        format!("{settled} settled of {offered}"),
        settled == offered,
    );
    add(
        "no two nodes disagree",
        format!("{disagreements} times"),
        disagreements == 0,
    );
    let counted = report
        .counted
        .iter()
        .filter(|(_, count)| *count > 0)
        .count();
    add(
        "the attackers were noticed",
        format!("in {counted} ways"),
        counted >= NOTICED_LEAST,
    );
    let ratio = report.p99_ratio;
    add(
        "honest p99 to settled: at most 3 times that of the quiet turns",
        format!("{ratio:.2} times"),
        ratio <= P99_RATIO_MAX,
    );
}

/// One kind of attacker, while it is its turn.
fn attack(
    way: Way,
    plan: &HostilePlan,
    targets: &Targets,
    (is_over, is_on): (&AtomicBool, &AtomicBool),
    done: &AtomicU64,
) {
    let mut attacker = Attacker::new(way, plan.seed, targets);
    let pause = Duration::from_secs(1) / plan.acts.max(1);
    while !is_over.load(Ordering::Relaxed) {
        if is_on.load(Ordering::Relaxed) {
            attacker.act();
            done.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(pause);
        } else {
            attacker.held.clear();
            std::thread::sleep(LOOKED_EVERY);
        }
    }
}

/// Of the turns' latencies to settled, microseconds.
fn median_of(turns: &[LoadOutcome], of: fn(&Distribution) -> u64) -> f64 {
    let mut all: Vec<u64> = turns
        .iter()
        .map(|turn| of(&turn.latency_us.settled))
        .collect();
    all.sort_unstable();
    all.get(all.len() / 2).map_or(0.0, |middle| *middle as f64)
}

/// One way to misbehave, again and again.
struct Attacker<'a> {
    way: Way,
    chance: Chance,
    targets: &'a Targets,
    /// A hello, and a submission that is as it should be.
    hello: Vec<u8>,
    submission: Vec<u8>,
    /// Connections that are held open, oldest first.
    held: std::collections::VecDeque<TcpStream>,
    /// What it does over UDP; none if it has no socket, or another way.
    datagrams: Option<DatagramAttacker>,
}

impl<'a> Attacker<'a> {
    fn new(way: Way, seed: u64, targets: &'a Targets) -> Self {
        let directory = &targets.directory;
        let mut hello = Vec::new();
        let wanted = Hello {
            chain_id: directory.committee.chain_id,
            receipts: true,
            ordered: true,
            settled: true,
            keys: true,
        };
        encode_hello(&mut hello, &wanted);
        let sealer = Sealer {
            key: directory.sealing_key.clone(),
            rollup: ROLLUP,
            kind: EnvelopeKind::Sealed,
            sender_tag: [6; 16],
            padding: PadTo::Nothing,
        };
        let mut submission = Vec::new();
        let valid_until = clock().plus_us(VALID_US);
        let envelope = sealer.make(&[9; 64], valid_until);
        let mut datagrams = None;
        if let Ok(envelope) = envelope {
            if let Way::Datagrams(way) = way {
                let envelope = envelope.bytes().to_vec();
                let clients = &targets.clients;
                datagrams = DatagramAttacker::new(way, seed, clients, wanted, envelope).ok();
            }
            let fits = encode_submit(&mut submission, 1, envelope.bytes());
            fits.expect("the sealer makes no envelope longer than nodes take");
        }
        Self {
            way,
            chance: Chance::new(seed, way.name()),
            targets,
            hello,
            submission,
            held: std::collections::VecDeque::new(),
            datagrams,
        }
    }

    /// Whatever comes of it: a node that hangs up is what it should be.
    fn act(&mut self) {
        if let Some(datagrams) = &mut self.datagrams {
            return datagrams.act();
        }
        let ports = match self.way {
            Way::Strangers | Way::FuzzedHandshakes => &self.targets.peers,
            Way::Figures => &self.targets.figures,
            _ => &self.targets.clients,
        };
        let address = ports[self.chance.below(ports.len())];
        let Ok(mut stream) = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) else {
            return;
        };
        let _ = stream.set_write_timeout(Some(CONNECT_TIMEOUT));
        let _ = stream.set_read_timeout(Some(CONNECT_TIMEOUT));
        let bytes = self.bytes();
        let _ = match self.way {
            Way::SlowReaders => self.flood(&mut stream),
            Way::FuzzedHandshakes => open_badly(&mut stream, &bytes),
            _ => stream.write_all(&bytes),
        };
        let is_held = match self.way {
            Way::HalfOpen | Way::SlowReaders => true,
            Way::CutFrames | Way::Strangers => self.chance.below(4) == 0,
            _ => false,
        };
        if is_held {
            self.held.push_back(stream);
            if self.held.len() > HELD_MOST {
                self.held.pop_front();
            }
        } else if self.chance.below(2) == 0 {
            let _ = stream.shutdown(Shutdown::Write);
        }
    }

    fn bytes(&mut self) -> Vec<u8> {
        let mut bytes = self.hello.clone();
        match self.way {
            Way::FuzzedFrames => {
                bytes.extend_from_slice(&self.submission);
                let flips = 1 + self.chance.below(8);
                self.flip(&mut bytes, 0, flips);
            }
            Way::FuzzedEnvelopes => {
                for _ in 0..=self.chance.below(8) {
                    let from = bytes.len();
                    bytes.extend_from_slice(&self.submission);
                    // Behind length, version, kind and tag: the frame is whole, its envelope is not.
                    let flips = 1 + self.chance.below(3);
                    self.flip(&mut bytes, from + SUBMIT_HEAD_LEN, flips);
                }
            }
            Way::CutFrames => {
                bytes.extend_from_slice(&self.submission);
                bytes.truncate(1 + self.chance.below(bytes.len()));
            }
            Way::HalfOpen => bytes.truncate(self.chance.below(2) * bytes.len()),
            Way::SlowReaders | Way::Datagrams(_) => {}
            Way::Strangers | Way::Figures => bytes = self.rubbish(4096),
            Way::FuzzedHandshakes => bytes = self.rubbish(2 * OPENING_LEN),
        }
        bytes
    }

    /// Submits one envelope again and again, which costs a node an answer each, and reads none of them.
    fn flood(&mut self, stream: &mut TcpStream) -> std::io::Result<()> {
        stream.write_all(&self.hello)?;
        for _ in 0..FLOOD {
            stream.write_all(&self.submission)?;
        }
        Ok(())
    }

    fn rubbish(&mut self, most: usize) -> Vec<u8> {
        let len = 1 + self.chance.below(most);
        (0..len).map(|_| self.chance.next() as u8).collect()
    }

    fn flip(&mut self, bytes: &mut [u8], from: usize, count: usize) {
        for _ in 0..count {
            let at = from + self.chance.below(bytes.len() - from);
            bytes[at] ^= 1 << self.chance.below(8);
        }
    }
}

/// Takes the greeting as an authority would, then goes on wrongly.
fn open_badly(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    stream.read_exact(&mut [0; GREETING_LEN])?;
    stream.write_all(bytes)
}

fn free_ports(count: u8) -> anyhow::Result<Vec<SocketAddr>> {
    let bind = |_| TcpListener::bind("127.0.0.1:0");
    let held: Vec<TcpListener> = (0..count).map(bind).collect::<Result<_, _>>()?;
    let ports: Result<Vec<_>, _> = held.iter().map(TcpListener::local_addr).collect();
    match ports {
        Ok(ports) => Ok(ports),
        Err(error) => bail!("no port is free: {error}"),
    }
}

impl fmt::Display for HostileReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "hostile traffic, seed {}", self.seed)?;
        for (way, acts) in &self.acts {
            writeln!(f, "  {way:<40} {acts:>8}")?;
        }
        writeln!(f, "counted by the nodes")?;
        for (what, count) in &self.counted {
            writeln!(f, "  {what:<40} {count:>8}")?;
        }
        writeln!(
            f,
            "honest load, settled p50 / p99, ms, medians of {TURNS} turns (least to most)"
        )?;
        for (name, turns) in [
            ("alone", &self.quiet),
            ("beside the attackers", &self.attacked),
        ] {
            let spread = |of: fn(&Distribution) -> u64| {
                let all = || turns.iter().map(|turn| of(&turn.latency_us.settled));
                let ms = |us: u64| us as f64 / 1e3;
                let (least, most) = (all().min().unwrap_or(0), all().max().unwrap_or(0));
                let median = median_of(turns, of) / 1e3;
                format!("{median:.1} ({:.1} to {:.1})", ms(least), ms(most))
            };
            let (p50, p99) = (spread(|settled| settled.p50), spread(|settled| settled.p99));
            writeln!(f, "  {name:<40} {p50:>24} {p99:>24}")?;
        }
        for check in &self.checks {
            writeln!(f, "{check}")?;
        }
        Ok(())
    }
}

/// Of each, alone and beside the attackers: odd, for a median.
const TURNS: u32 = 5;
/// After attackers, so that what they left behind is over.
const CALM: Duration = Duration::from_secs(1);
const LOOKED_EVERY: Duration = Duration::from_millis(20);
/// Of the kinds of counts that nodes keep.
const NOTICED_LEAST: usize = 6;
const QUIET_MAX: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
const P99_RATIO_MAX: f64 = 3.0;
/// Connections that an attacker holds.
const HELD_MOST: usize = 300;
/// Submissions of a client that never reads.
const FLOOD: usize = 64;
const VALID_US: u64 = 50_000_000;
const RETENTION_BYTES: i64 = 64 << 20;
/// Length, version, kind and tag in front of an envelope.
const SUBMIT_HEAD_LEN: usize = 4 + 2 + 8;
