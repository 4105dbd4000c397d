//! What one core can carry of a committee: a recorded run replayed into one authority, without its neighbours.
//!
//! On a machine of two cores the authorities of a local network take the processor from each other, so its throughput is
//! that of all of them together. Here one authority runs alone: the core stage of a node with its journal, its certifier and its
//! settlement port, all pinned to one core, is given what clients and the other authorities sent in a recorded run, as fast as it
//! takes it, with the recorded time as its clock. It does what it would have done: checks proofs, verifies vertices, orders,
//! makes and signs its own vertices and shares, opens with the shares of the others, records, signs for certificates, answers
//! clients. The authority is one that was killed early in the recorded run, so its own vertices now contradict none and are
//! cited by none; those of the others decide the order, so its batches must be the recorded ones, hash by hash: that is the check.
//!
//! Not in it: sockets, framing and Noise, for which there are `fairlane-bench ingest` and `cargo bench --bench session`; a
//! settlement worker; collecting certificates, which is the work of a node with a worker; what others ask of a node.
//! As nobody cites its vertices, it lists their entries again once they are below the floor, every `gc_depth_rounds` rounds,
//! which a cited node does not: the longer the recording, the more of that. It is counted in the report.

pub mod args;
mod recording;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use fairlane_engine::effect::header_of_batch;
use fairlane_engine::types::{AuthorityIndex, BatchSeq, Sha256Hash};
use fairlane_loadgen::host::{COMMIT, Host};
use fairlane_net::capacity::{Member, Replay, Sent};
use fairlane_net::journal::{Durability, FolderLock, JournalReader, Kind};
use fairlane_net::node::{durability_name, pin, process_cpu_us};
use fairlane_net::stage::core::CoreReport;
use serde::Serialize;

use self::recording::{Recording, Slice, config_path};
use crate::live::Check;

/// What is replayed, and how.
#[derive(Clone, Debug)]
pub struct CapacityPlan {
    /// Folder of the recorded network.
    pub data: PathBuf,
    /// Which authority is replayed; none: the last.
    pub authority: Option<u8>,
    /// From whose journal; none: the first other one's.
    pub witness: Option<u8>,
    /// Core that everything is pinned to.
    pub core: usize,
    /// How much recorded time is given at once.
    pub slice: Duration,
    /// When its records count as durable.
    pub durability: Durability,
    /// Folder in which its journal is made and removed again; none: the system's for temporary files.
    pub scratch: Option<PathBuf>,
    /// Replays, each from the start.
    pub repeat: u32,
}

/// One replay.
#[derive(Clone, Debug, Serialize)]
pub struct Turn {
    /// From the first envelope until the last batch was opened, seconds.
    pub wall_s: f64,
    /// Processor time of the process meanwhile, seconds.
    pub cpu_s: f64,
    /// Envelopes that got a position.
    pub placed: u64,
    /// Batches opened that are the recorded ones.
    pub same_batches: u64,
    /// Own vertices made.
    pub own_vertices: u64,
    /// Entries of own vertices listed again, as nobody cites them.
    pub relisted: u64,
    /// Requests to others, which nobody answers.
    pub requests: u64,
    /// Messages for others, to one or to all, and their bytes, each counted once.
    pub peer_messages: u64,
    /// Bytes of these.
    pub peer_bytes: u64,
    /// Bytes for clients.
    pub client_bytes: u64,
    /// Records in its journal.
    pub journal_records: u64,
    /// Their bytes.
    pub journal_bytes: u64,
    /// Syncs.
    pub journal_syncs: u64,
    /// Wall time of each step of the core stage, seconds; another thread of the core may have run in it.
    pub steps_s: Vec<(String, f64)>,
    /// Processor time by thread, seconds: `core` is the one that polls the core stage.
    pub threads_s: BTreeMap<String, f64>,
}

/// What was measured, and where.
#[derive(Clone, Debug, Serialize)]
pub struct CapacityReport {
    /// Of this program.
    pub commit: String,
    /// Processor, cores and kernel.
    pub host: String,
    /// Which authority was replayed.
    pub authority: u8,
    /// From whose journal.
    pub witness: u8,
    /// Authorities of the committee.
    pub authorities: u32,
    /// `sync` or `async`.
    pub durability: &'static str,
    /// Core that everything ran on.
    pub core: usize,
    /// Recorded time that was given at once, microseconds.
    pub slice_us: u64,
    /// Envelopes given.
    pub envelopes: u64,
    /// Of them sealed.
    pub sealed: u64,
    /// Vertices of others given.
    pub vertices: u64,
    /// Batches to be opened.
    pub batches: u64,
    /// From the first envelope to the last batch, seconds of recorded time.
    pub recorded_s: f64,
    /// Median of the turns: envelopes a second of one core.
    pub per_s: f64,
    /// One a replay.
    pub turns: Vec<Turn>,
    /// What is asked of them.
    pub checks: Vec<Check>,
}

/// Replays; `progress` hears of each step.
///
/// # Errors
/// In a sentence: why the recording cannot be replayed, or what the system refuses.
pub fn run(plan: &CapacityPlan, progress: &mut dyn FnMut(&str)) -> anyhow::Result<CapacityReport> {
    let (own, witness, authorities) = who(plan)?;
    progress("reading the journals, and making the shares of the others");
    let recording = Recording::read(&plan.data, own, witness)?;
    let slice_us = u64::try_from(plan.slice.as_micros()).unwrap_or(u64::MAX);
    let mut turns = Vec::new();
    for turn in 1..=plan.repeat {
        progress(&format!("replay {turn} of {}", plan.repeat));
        let authorities = u8::try_from(authorities).context("more authorities than there are")?;
        let slices = recording.slices(own, authorities, slice_us.max(1));
        turns.push(pinned(plan.core, || replay(plan, own, &recording, slices))?);
    }
    let rates = turns
        .iter()
        .map(|turn| recording.envelopes as f64 / turn.wall_s);
    Ok(CapacityReport {
        commit: COMMIT.to_owned(),
        host: Host::read().to_string(),
        authority: own.0,
        witness: witness.0,
        authorities,
        durability: durability_name(plan.durability),
        core: plan.core,
        slice_us,
        envelopes: recording.envelopes,
        sealed: recording.sealed,
        vertices: recording.vertices,
        batches: recording.batches.len() as u64,
        recorded_s: recording.span_us() as f64 / 1e6,
        per_s: median(rates.collect()),
        checks: checks(&recording, &turns),
        turns,
    })
}

/// Who is replayed, from whose journal, in a committee of how many.
fn who(plan: &CapacityPlan) -> anyhow::Result<(AuthorityIndex, AuthorityIndex, u32)> {
    let first = Member::read(&config_path(&plan.data, AuthorityIndex(0)))?;
    let thresholds = first.roster.committee.thresholds();
    let last = thresholds.members().last();
    let own = plan.authority.map(AuthorityIndex).or(last);
    let own = own.context("the committee has no members")?;
    let mut others = thresholds.members().filter(|other| *other != own);
    let witness = plan.witness.map(AuthorityIndex).or_else(|| others.next());
    let witness = witness.context("a committee of one has nobody who recorded what it sent")?;
    for named in [own, witness] {
        ensure!(
            thresholds.has_member(named),
            "there is no authority {} in this committee",
            named.0
        );
        let folder = Member::read(&config_path(&plan.data, named))?.data;
        ensure!(
            !FolderLock::is_held(&folder),
            "authority {} is running: stop the network first",
            named.0
        );
    }
    ensure!(
        own != witness,
        "an authority is no witness of its own replay"
    );
    Ok((own, witness, thresholds.authorities()))
}

/// One replay, on the calling thread.
fn replay(
    plan: &CapacityPlan,
    own: AuthorityIndex,
    recording: &Recording,
    slices: Vec<Slice>,
) -> anyhow::Result<Turn> {
    let scratch = match &plan.scratch {
        Some(folder) => tempfile::tempdir_in(folder),
        None => tempfile::tempdir(),
    };
    let scratch = scratch.context("cannot make a folder for the journal of the replay")?;
    let config = config_path(&plan.data, own);
    copy_journal(&Member::read(&config)?.data, scratch.path())?;
    let start = slices.first().context("there is something to replay")?.now;
    let mut replay = Replay::start(&config, scratch.path(), plan.durability, start.0)?;
    let mut slices = slices.into_iter().peekable();
    let mut now = start;
    while let Some(slice) = slices.next_if(|slice| slice.submissions == 0) {
        now = slice.now;
        replay.feed(now, slice.messages)?;
    }
    let before = Meter::read(&replay)?;
    for slice in slices {
        now = slice.now;
        replay.feed(now, slice.messages)?;
    }
    let wanted = recording.batches.len() as u64;
    for _ in 0..LAST_SLICES {
        if replay.figures().0.batches >= wanted {
            break;
        }
        now.0 = (now.0).plus_us(u64::try_from(plan.slice.as_micros()).unwrap_or(u64::MAX));
        replay.feed(now, [])?;
    }
    let after = Meter::read(&replay)?;
    replay.finish()?;
    let opened = opened(scratch.path())?;
    let same = |(seq, hash): &(&BatchSeq, &Sha256Hash)| opened.get(*seq) == Some(*hash);
    let same_batches = recording.batches.iter().filter(same).count() as u64;
    Ok(after.since(&before, same_batches))
}

/// What has been used and done so far.
struct Meter {
    at: Instant,
    cpu_us: u64,
    threads: BTreeMap<String, Duration>,
    core: CoreReport,
    sent: Sent,
}

impl Meter {
    fn read(replay: &Replay) -> anyhow::Result<Self> {
        let (core, sent) = replay.figures();
        Ok(Self {
            at: Instant::now(),
            cpu_us: process_cpu_us(),
            threads: threads()?,
            core,
            sent,
        })
    }

    fn since(&self, before: &Self, same_batches: u64) -> Turn {
        let (engine, engine_before) = (&self.core.engine, &before.core.engine);
        let requests = |core: &CoreReport| {
            let engine = &core.engine;
            engine.vertex_requests + engine.envelope_requests + engine.share_requests
        };
        let messages = |sent: &Sent| sent.to_one + sent.to_all;
        let (journal, journal_before) = (&self.core.journal, &before.core.journal);
        let steps = self.core.steps.named().into_iter();
        let steps = steps.zip(before.core.steps.named());
        let threads = self.threads.iter().map(|(name, time)| {
            let before = before.threads.get(name).copied().unwrap_or_default();
            (name.clone(), time.saturating_sub(before).as_secs_f64())
        });
        Turn {
            wall_s: (self.at - before.at).as_secs_f64(),
            cpu_s: (self.cpu_us - before.cpu_us) as f64 / 1e6,
            placed: engine.accepted - engine_before.accepted,
            same_batches,
            own_vertices: engine.vertices_made - engine_before.vertices_made,
            relisted: engine.relisted - engine_before.relisted,
            requests: requests(&self.core) - requests(&before.core),
            peer_messages: messages(&self.sent) - messages(&before.sent),
            peer_bytes: self.sent.peer_bytes - before.sent.peer_bytes,
            client_bytes: self.sent.client_bytes - before.sent.client_bytes,
            journal_records: journal.records - journal_before.records,
            journal_bytes: journal.bytes - journal_before.bytes,
            journal_syncs: journal.syncs - journal_before.syncs,
            steps_s: steps
                .map(|((name, step), (_, before))| {
                    (name.to_owned(), (step.ns - before.ns) as f64 / 1e9)
                })
                .collect(),
            threads_s: threads.collect(),
        }
    }
}

fn checks(recording: &Recording, turns: &[Turn]) -> Vec<Check> {
    let least = |of: fn(&Turn) -> u64| turns.iter().map(of).min().unwrap_or(0);
    let of = |what: &str, seen: u64, wanted: u64| {
        Check::new(what, format!("{seen} of {wanted}"), seen == wanted)
    };
    let batches = recording.batches.len() as u64;
    vec![
        of(
            "its batches are the recorded ones",
            least(|turn| turn.same_batches),
            batches,
        ),
        of(
            "every envelope got its position",
            least(|turn| turn.placed),
            recording.envelopes,
        ),
    ]
}

/// Header hashes of the batches in the journal in `folder`.
fn opened(folder: &Path) -> anyhow::Result<BTreeMap<BatchSeq, Sha256Hash>> {
    let mut opened = BTreeMap::new();
    let mut reader = JournalReader::open(folder)?;
    while let Some(record) = reader.try_next()? {
        if record.kind == Kind::Batch {
            let header = header_of_batch(record.body)?;
            opened.insert(header.seq, header.hash());
        }
    }
    Ok(opened)
}

/// Copies the segments of the journal in `from`, which may be missing.
fn copy_journal(from: &Path, to: &Path) -> anyhow::Result<()> {
    let Ok(entries) = std::fs::read_dir(from) else {
        return Ok(());
    };
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "seg") {
            let name = path.file_name().unwrap_or_default();
            let copied = std::fs::copy(&path, to.join(name));
            copied.with_context(|| format!("cannot copy {}", path.display()))?;
        }
    }
    Ok(())
}

/// Processor time of this process's threads by name; the calling one's name is `core`.
fn threads() -> anyhow::Result<BTreeMap<String, Duration>> {
    let own = rustix::thread::gettid().as_raw_nonzero().get().to_string();
    let mut threads = BTreeMap::new();
    for entry in std::fs::read_dir("/proc/self/task").context("cannot read /proc/self/task")? {
        let task = entry?.path();
        // A thread may end between these lines; then it has nothing to say.
        let (Ok(name), Ok(stat)) = (
            std::fs::read_to_string(task.join("comm")),
            std::fs::read_to_string(task.join("schedstat")),
        ) else {
            continue;
        };
        let is_own = task.file_name().is_some_and(|id| id == own.as_str());
        let name = if is_own { "core" } else { name.trim() };
        let ns = stat
            .split_whitespace()
            .next()
            .and_then(|ns| ns.parse().ok());
        *threads.entry(name.to_owned()).or_default() += Duration::from_nanos(ns.unwrap_or(0));
    }
    Ok(threads)
}

/// Runs `work` on a thread of its own; it and every thread that it starts run on `core` alone.
fn pinned<T: Send>(
    core: usize,
    work: impl FnOnce() -> anyhow::Result<T> + Send,
) -> anyhow::Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            ensure!(
                pin(core),
                "core {core} is refused: name another with --core"
            );
            work()
        });
        let done = thread.join();
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The middle one, or the lower of two; there is at least one.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() - 1) / 2]
}

impl fmt::Display for CapacityReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "fairlane-bench capacity, commit {}", self.commit)?;
        writeln!(f, "  {}", self.host)?;
        writeln!(
            f,
            "  authority {} of {}, alone on core {}, given what authority {} recorded, {} us at once; durability {}\n",
            self.authority,
            self.authorities,
            self.core,
            self.witness,
            self.slice_us,
            self.durability
        )?;
        let rate = self.envelopes as f64 / self.recorded_s;
        writeln!(
            f,
            "recorded: {} envelopes ({} sealed), {} vertices of others, {} batches in {:.2} s: {rate:.0} a second",
            self.envelopes, self.sealed, self.vertices, self.batches, self.recorded_s
        )?;
        let of = |value: fn(&Turn) -> f64| {
            let mut all: Vec<f64> = self.turns.iter().map(value).collect();
            all.sort_by(f64::total_cmp);
            (median(all.clone()), all[0], all[all.len() - 1])
        };
        let envelopes = self.envelopes as f64;
        let (wall, least, most) = of(|turn| turn.wall_s);
        writeln!(
            f,
            "replayed: {wall:.2} s, {:.0} envelopes a second of one core ({:.0} to {:.0} in {} turns)",
            self.per_s,
            envelopes / most,
            envelopes / least,
            self.turns.len()
        )?;
        let (cpu, ..) = of(|turn| turn.cpu_s);
        writeln!(
            f,
            "processor: {:.1} us an envelope: {:.0} a second if the disk were never waited for; {:.0} % of the core were used\n",
            1e6 * cpu / envelopes,
            envelopes / cpu,
            100.0 * cpu / wall
        )?;
        self.write_last_turn(f)?;
        writeln!(f, "\nchecks")?;
        for check in &self.checks {
            writeln!(f, "{check}")?;
        }
        Ok(())
    }
}

impl CapacityReport {
    /// Where the time of the last turn went, and what it made.
    fn write_last_turn(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(turn) = self.turns.last() else {
            return Ok(());
        };
        let each = |seconds: f64| 1e6 * seconds / self.envelopes as f64;
        writeln!(f, "of the last turn, us an envelope")?;
        let mut rest = turn.wall_s;
        for (name, seconds) in &turn.steps_s {
            rest -= seconds;
            writeln!(f, "  {name:<10} {:>8.2}", each(*seconds))?;
        }
        writeln!(
            f,
            "  {:<10} {:>8.2}  other threads, where they interrupted no step; waiting",
            "rest",
            each(rest)
        )?;
        let threads = (turn.threads_s.iter()).filter(|(_, seconds)| each(**seconds) >= 0.005);
        let threads = threads.map(|(name, seconds)| format!("{name} {:.2}", each(*seconds)));
        writeln!(
            f,
            "  processor time by thread: {}",
            threads.collect::<Vec<_>>().join(", ")
        )?;
        writeln!(
            f,
            "own vertices {}, entries listed again {}, requests to others {}",
            turn.own_vertices, turn.relisted, turn.requests
        )?;
        writeln!(
            f,
            "for others {} messages, {} bytes; for clients {} bytes",
            turn.peer_messages, turn.peer_bytes, turn.client_bytes
        )?;
        writeln!(
            f,
            "journal {} records, {:.0} bytes an envelope, {} syncs",
            turn.journal_records,
            turn.journal_bytes as f64 / self.envelopes as f64,
            turn.journal_syncs
        )
    }
}

/// Slices without a message at the end until every batch is open.
const LAST_SLICES: u32 = 500;

#[cfg(test)]
mod tests;
