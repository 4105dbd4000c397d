//! The race on real local orders: a local network is run with pairs in its load, and its records are read back.
//!
//! `fairlane localnet` replays a trace that is made here: honest trades, and pairs of a victim and an attacker with known
//! times between them. All authorities of it are correct. Then the last f lists are bent as liars would, in the very
//! vertices that were recorded, and each rule orders what comes out. Unbent lists must give the settled order, entry by
//! entry, else the run is refused. A liar that holds back its vertices would have changed the others' too, so that lie is
//! left out. One client sends both halves of a pair over the same connections, so no attacker here is nearer than its
//! victim, and on a loopback without jitter none overtakes.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use fairlane_client::committee_file::Directory;
use fairlane_engine::commit::sequence::Committer;
use fairlane_engine::committee::Committee;
use fairlane_engine::dag::Vertex;
use fairlane_engine::dag::store::Dag;
use fairlane_engine::engine::tie_seed;
use fairlane_engine::types::Digest;
use fairlane_loadgen::record::TradeRecord;
use fairlane_loadgen::workload::replay::HEADER;
use fairlane_net::journal::{JournalReader, Kind};
use fairlane_net::settle::SettleReader;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::chance::Chance;
use super::law::Forced;
use super::lists::{Conduct, Lie, list};
use super::network::{MS, Ns, Profile};
use super::race::{Race, judged, ordered_by};
use super::recorded::{History, RecordedAnchor, RecordedEnvelope, RecordedVertex};
use super::report::Report;
use super::rules::{Rule, ours};
use super::traffic::Role;
use super::{GAPS, in_ms};

/// What is run.
#[derive(Clone, Debug)]
pub struct LocalnetPlan {
    /// The `fairlane` binary.
    pub fairlane: PathBuf,
    /// Authorities.
    pub authorities: usize,
    /// Pairs for each gap.
    pub pairs: usize,
    /// Of the times in the trace.
    pub seed: u64,
}

/// Runs a local network in `folder`, which is there and empty, and races on what it recorded.
///
/// Errors: the run failed or does not hold, or its records do not give the order that was settled.
pub fn run(plan: &LocalnetPlan, folder: &Path) -> anyhow::Result<Report> {
    let trace = folder.join("trace.csv.gz");
    write_trace(&trace, plan)?;
    let data = folder.join("data");
    let status = Command::new(&plan.fairlane)
        .arg("localnet")
        .args(["--nodes", &plan.authorities.to_string()])
        .arg("--replay")
        .arg(&trace)
        .arg("--data")
        .arg(&data)
        .stdin(Stdio::null())
        // Its report is not this command's: it goes where progress goes.
        .stdout(std::io::stderr())
        .status()
        .with_context(|| format!("cannot run {}", plan.fairlane.display()))?;
    ensure!(status.success(), "the local network ended with {status}");
    let directory = Directory::load(&data.join("committee.json"))?;
    let (sent, settled) = read_settled(&data.join("settle-1"))?;
    let history = read_journal(&data.join("node-0"), &Arc::new(directory.committee), sent)?;
    Ok(Report {
        title: "fairlane-bench attack-localnet: orders recorded on this machine, f of n lists bent",
        seed: plan.seed,
        pairs_a_gap: plan.pairs,
        seconds: 0,
        networks: vec![(NAME, "orders that a local network recorded")],
        gaps_ms: in_ms(&GAPS),
        jitters_ms: Vec::new(),
        races: races(history, &settled)?,
        sweeps: Vec::new(),
        waits: Vec::new(),
    })
}

/// Races under all lies but one and all rules.
fn races(history: History, settled: &[Digest]) -> anyhow::Result<Vec<Race>> {
    let (traffic, rounds) = history.convert()?;
    let faulty = (traffic.authorities - 1) / 3;
    let mut races = Vec::new();
    for lie in Lie::ALL.into_iter().filter(|lie| *lie != Lie::Delay) {
        let conduct = Conduct {
            lie,
            faulty,
            learns: true,
        };
        let hold = Profile::Lan.hold_ns();
        let lists = list(&traffic, &traffic.arrival, &rounds, conduct, hold);
        if lie == Lie::None {
            let fair = ours::order(&lists).ordered;
            let mut places = vec![None; settled.len()];
            for (envelope, place) in fair.place.iter().enumerate() {
                if let Some(slot) = place.and_then(|place| places.get_mut(place as usize)) {
                    *slot = Some(traffic.digests[envelope]);
                }
            }
            let is_same = places
                .iter()
                .zip(settled)
                .all(|(ours, theirs)| *ours == Some(*theirs));
            ensure!(is_same, "the recorded lists do not give the settled order");
        }
        let forced = Forced::find(&lists);
        for rule in Rule::ALL {
            let (ordered, kept) = ordered_by(rule, &lists, &forced, &traffic);
            let mut race = judged(lie, rule, &traffic, GAPS.len(), &ordered, kept);
            race.network = NAME;
            races.push(race);
        }
    }
    Ok(races)
}

/// Writes the trades to be sent: honest ones, and pairs whose trade id is their number times the gaps, plus the gap's.
fn write_trace(path: &Path, plan: &LocalnetPlan) -> anyhow::Result<()> {
    let mut chance = Chance::new(plan.seed, "trace");
    let pairs = (plan.pairs * GAPS.len()) as u64;
    let end = (pairs + 2) * SPACING_NS;
    let mut trades: Vec<(Ns, &str, u64)> = vec![(0, HONEST, 0)];
    let mut now = 0;
    while now < end {
        now += chance.exponential(1e9 / HONEST_RATE);
        trades.push((now, HONEST, trades.len() as u64));
    }
    for pair in 0..pairs {
        let at = (1 + pair) * SPACING_NS + chance.below(SPACING_NS as usize / 4) as Ns;
        trades.push((at, VICTIM, pair));
        trades.push((at + GAPS[pair as usize % GAPS.len()], ATTACKER, pair));
    }
    // Stable: a victim stands before an attacker of the same time.
    trades.sort_by_key(|trade| trade.0);
    let cannot = || format!("cannot write {}", path.display());
    let file = std::fs::File::create(path).with_context(cannot)?;
    let mut out = GzEncoder::new(std::io::BufWriter::new(file), Compression::fast());
    writeln!(out, "{HEADER}").with_context(cannot)?;
    for (at, symbol, id) in trades {
        writeln!(out, "{},{symbol},trade,buy,1,1,{id}", EPOCH_NS + at).with_context(cannot)?;
    }
    let mut buffer = out.finish().with_context(cannot)?;
    buffer.flush().with_context(cannot)
}

/// What was sent, by the payloads that the settlement worker was given, and the settled order.
fn read_settled(folder: &Path) -> anyhow::Result<(Vec<RecordedEnvelope>, Vec<Digest>)> {
    let (mut sent, mut settled) = (Vec::new(), Vec::new());
    let mut reader = SettleReader::open(folder)?;
    while let Some(batch) = reader.try_next()? {
        for entry in batch.view()?.entries() {
            let record = TradeRecord::decode(entry.payload)
                .context("a settled payload is no trade of the trace")?;
            let (number, gaps) = (record.reference, GAPS.len() as u64);
            let pair = Some((number, (number % gaps) as usize));
            let (role, pair) = match record.symbol.name() {
                VICTIM => (Role::Victim, pair),
                ATTACKER => (Role::Attacker, pair),
                _ => (Role::Honest, None),
            };
            sent.push(RecordedEnvelope {
                digest: entry.digest,
                planned: record.source_time_ns,
                role,
                pair,
            });
            settled.push(entry.digest);
        }
    }
    Ok((sent, settled))
}

/// The committed vertices and the anchors, by one node's journal and the commit rule.
fn read_journal(
    folder: &Path,
    committee: &Arc<Committee>,
    sent: Vec<RecordedEnvelope>,
) -> anyhow::Result<History> {
    let n = committee.thresholds().authorities() as usize;
    let mut history = History {
        vertices: vec![Vec::new(); n],
        anchors: Vec::new(),
        sent,
    };
    let mut dag = Dag::new(committee.clone());
    let mut committer = Committer::new(committee);
    let mut reader = JournalReader::open(folder)?;
    while let Some(record) = reader.try_next()? {
        if !matches!(record.kind, Kind::OwnVertex | Kind::Vertex) {
            continue;
        }
        // What cannot be accepted shows in an order that is not the settled one.
        dag.insert(Vertex::verify(record.body, committee)?);
        let mut more = true;
        while std::mem::take(&mut more) {
            for sub_dag in committer.advance(&dag) {
                for reference in &sub_dag.vertices {
                    let vertex = dag
                        .find(reference)
                        .context("a committed vertex is not there")?;
                    let entries = vertex.entries().iter().map(|entry| entry.digest).collect();
                    let made = vertex.timestamp().0 * 1000;
                    history.vertices[reference.author.as_usize()]
                        .push(RecordedVertex { made, entries });
                }
                history.anchors.push(RecordedAnchor {
                    leader: sub_dag.anchor.author.as_usize(),
                    time: sub_dag.consensus_time.0 * 1000,
                    seed: tie_seed(&sub_dag),
                    covers: history.vertices.iter().map(Vec::len).collect(),
                });
                more |= !dag.raise_floor(committer.floor()).is_empty();
            }
        }
    }
    Ok(history)
}

/// Name of the network in tables and files.
const NAME: &str = "localnet";

const HONEST: &str = "HONEST";
const VICTIM: &str = "VICTIM";
const ATTACKER: &str = "ATTACKER";

/// Honest trades a second.
const HONEST_RATE: f64 = 500.0;

/// Time between pairs.
const SPACING_NS: Ns = 25 * MS;

/// Time of the first trade; any will do.
const EPOCH_NS: Ns = 1_700_000_000_000_000_000;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use fairlane_loadgen::workload::replay::Replay;
    use fairlane_loadgen::workload::{Pace, Workload as _};

    use super::*;

    #[test]
    fn the_trace_is_one_and_its_pairs_keep_their_gaps() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace.csv.gz");
        let plan = LocalnetPlan {
            fairlane: PathBuf::new(),
            authorities: 5,
            pairs: 3,
            seed: 1,
        };
        write_trace(&path, &plan).unwrap();
        let mut replay = Replay::open(&path, Pace::Speed(1.0), None).unwrap();
        let mut halves: BTreeMap<u64, Vec<(String, u64)>> = BTreeMap::new();
        let mut honest = 0;
        while let Some(arrival) = replay.next_arrival().unwrap() {
            let record = *arrival.content.trade().unwrap();
            let name = record.symbol.name().to_owned();
            match &*name {
                HONEST => honest += 1,
                _ => {
                    let half = (name, record.source_time_ns);
                    halves.entry(record.reference).or_default().push(half);
                }
            }
        }
        assert_eq!(halves.len(), 3 * GAPS.len());
        assert!(honest > 200, "{honest}");
        for (number, half) in halves {
            let gap = GAPS[number as usize % GAPS.len()];
            assert_eq!((&*half[0].0, &*half[1].0), (VICTIM, ATTACKER));
            assert_eq!(half[1].1 - half[0].1, gap);
        }
    }
}
