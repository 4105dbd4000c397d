//! Envelopes from a socket to their positions in the local order, beside a bare loop that only reads.
//!
//! A client pinned to one core sends open envelopes as fast as they are taken to [`fairlane_net::ingest`], a node as far as
//! its local order, on the other core: backend, framing, gate, digest, duplicates, position, ack. There is no proof to check and
//! nothing behind the position. The bare loop reads what the same client sends and does nothing with it. Ways and loops take
//! turns, and each is held against the bare loop of the same turn, as the machine's speed drifts.
//!
//! The client has at most [`sender::WINDOW`] envelopes unanswered, fewer than those for which a node tells Busy; towards the
//! bare loop the kernel's buffers are the only bound. On loopback the kernel's part of receiving runs mostly on the client's
//! core: it is in the rate, not in the node's processor time.

pub mod args;
mod sender;
mod sink;

use std::fmt;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use fairlane_engine::seal::digests::Digests;
use fairlane_engine::seal::{Envelope, deal};
use fairlane_engine::types::{ChainId, Epoch, TimestampUs};
use fairlane_loadgen::host::{COMMIT, Host};
use fairlane_net::backend::BackendKind;
use fairlane_net::ingest::{Figures, Ingest, ROLLUP};
use fairlane_net::node::pin;
use fairlane_net::stage::clock;
use fairlane_net::stage::waiting::{ReceiveMode, Wait};
use serde::Serialize;

use self::sender::Sent;
use crate::live::Check;

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct IngestPlan {
    /// Turns of each way.
    pub repeat: u32,
    /// How long is sent in each.
    pub time: Duration,
}

/// How a client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Transport {
    /// TCP, a write for each message.
    #[serde(rename = "TCP, 1 a write")]
    TcpOne,
    /// TCP, a write for 64 messages.
    #[serde(rename = "TCP, 64 a write")]
    TcpMany,
    /// UDP, an envelope a datagram.
    #[serde(rename = "UDP")]
    Udp,
    /// The same in GSO trains of 64, taken together by GRO.
    #[serde(rename = "UDP, trains of 64")]
    UdpTrains,
}

impl Transport {
    const ALL: [Self; 4] = [Self::TcpOne, Self::TcpMany, Self::Udp, Self::UdpTrains];

    const fn name(self) -> &'static str {
        match self {
            Self::TcpOne => "TCP, 1 a write",
            Self::TcpMany => "TCP, 64 a write",
            Self::Udp => "UDP",
            Self::UdpTrains => "UDP, trains of 64",
        }
    }

    /// Messages in one write; over UDP datagrams in one system call.
    const fn batch(self) -> usize {
        match self {
            Self::TcpOne => 1,
            Self::TcpMany | Self::Udp | Self::UdpTrains => 64,
        }
    }
}

/// What one loop did in one turn.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Turn {
    /// Envelopes that arrived: at the bare loop read, at the node placed.
    pub envelopes: u64,
    /// Of them a second.
    pub per_s: f64,
    /// Processor time of the receiving thread for each, nanoseconds.
    pub cpu_ns: f64,
    /// Sent and not placed: told Busy, or lost by the kernel.
    pub lost: u64,
}

/// A transport over a backend, and the bare loop beside it.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// How it was sent.
    pub transport: Transport,
    /// `uring` or `mio`.
    pub backend: String,
    /// In the order in which they were taken.
    pub turns: Vec<Turn>,
    /// The bare loop's, turn by turn.
    pub bare: Vec<Turn>,
    /// Median of the rates to those of the bare loop in the same turn.
    pub ratio: f64,
    /// Mean times of the steps of admission in the last turn, nanoseconds an envelope.
    pub steps_ns: Vec<(String, f64)>,
}

/// What was measured, and where.
#[derive(Clone, Debug, Serialize)]
pub struct IngestReport {
    /// Of this program.
    pub commit: String,
    /// Processor, cores and kernel.
    pub host: String,
    /// How long was sent in a turn, milliseconds.
    pub milliseconds: u128,
    /// BLAKE3 of one envelope on the node's core, nanoseconds.
    pub hash_ns: f64,
    /// Decoding one among 64, most of which is its digest: what a node does.
    pub decode_ns: f64,
    /// One a transport and backend.
    pub rows: Vec<Row>,
    /// What is asked of them.
    pub checks: Vec<Check>,
}

/// Measures; `progress` hears of each way.
///
/// # Errors
/// In a sentence: fewer than two cores, or what the kernel refused.
pub fn run(plan: &IngestPlan, progress: &mut dyn FnMut(&str)) -> anyhow::Result<IngestReport> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    ensure!(
        cores >= 2,
        "a node and its client need a core each, and this process may use one only"
    );
    let host = Host::read().to_string();
    let (hash_ns, decode_ns) = on_core(NODE_CORE, hash_ns)?;
    let mut rows = Vec::new();
    for transport in Transport::ALL {
        progress(transport.name());
        let mut turns = [Vec::new(), Vec::new()];
        let mut figures = [None; 2];
        let mut bare = Vec::new();
        for _ in 0..plan.repeat {
            bare.push(sink::turn(transport, plan.time)?);
            for (at, kind) in BACKENDS.into_iter().enumerate() {
                let (turn, figure) = turn(kind, transport, plan.time)?;
                turns[at].push(turn);
                figures[at] = Some(figure);
            }
        }
        for ((kind, turns), figures) in BACKENDS.into_iter().zip(turns).zip(figures) {
            let pairs = turns.iter().zip(&bare);
            let figures = figures.context("every backend has a turn")?;
            rows.push(Row {
                transport,
                backend: kind.to_string(),
                ratio: median(pairs.map(|(turn, bare)| turn.per_s / bare.per_s).collect()),
                turns,
                bare: bare.clone(),
                steps_ns: steps_ns(&figures),
            });
        }
    }
    Ok(IngestReport {
        commit: COMMIT.to_owned(),
        host,
        milliseconds: plan.time.as_millis(),
        hash_ns,
        decode_ns,
        checks: rows.iter().filter_map(check).collect(),
        rows,
    })
}

/// One turn of a node.
fn turn(
    kind: BackendKind,
    transport: Transport,
    time: Duration,
) -> anyhow::Result<(Turn, Figures)> {
    let is_train = transport == Transport::UdpTrains;
    let wait = Wait {
        receive: ReceiveMode::Turn,
        ..Wait::default()
    };
    let node = Ingest::start(kind, NODE_CORE, wait, is_train)?;
    let messages = sender::Messages::new(&node.key, ROLLUP, until())?;
    let before = cpu_time(node.thread_id)?;
    let sent: Sent = on_core(CLIENT_CORE, || match transport {
        Transport::TcpOne | Transport::TcpMany => {
            sender::tcp(node.tcp, messages, transport.batch(), true, time)
        }
        Transport::Udp | Transport::UdpTrains => {
            sender::udp(node.udp, messages, transport, true, time)
        }
    })?;
    let cpu = cpu_time(node.thread_id)? - before;
    let figures = node.stop()?;
    ensure!(figures.placed > 0, "the node placed none of what was sent");
    let turn = Turn {
        envelopes: figures.placed,
        per_s: figures.placed as f64 / sent.elapsed.as_secs_f64(),
        cpu_ns: cpu.as_nanos() as f64 / figures.placed as f64,
        lost: sent.count - figures.placed.min(sent.count),
    };
    Ok((turn, figures))
}

/// Until when the envelopes of a turn are valid.
fn until() -> TimestampUs {
    clock().plus_us(VALID_US)
}

fn steps_ns(figures: &Figures) -> Vec<(String, f64)> {
    let placed = figures.placed as f64;
    let steps = figures.steps.named().into_iter();
    steps
        .filter(|(_, step)| step.items > 0)
        .map(|(name, step)| (name.to_owned(), step.ns as f64 / placed))
        .collect()
}

/// What is asked of a row, if anything.
fn check(row: &Row) -> Option<Check> {
    let what = format!("{} over {}", row.transport.name(), row.backend);
    Some(match row.transport {
        Transport::UdpTrains => return None,
        Transport::TcpOne | Transport::Udp => Check::new(
            format!("{what}: at least {RATIO_LEAST} of the bare loop"),
            format!("{:.2}", row.ratio),
            row.ratio >= RATIO_LEAST,
        ),
        Transport::TcpMany => {
            let rate = median(row.turns.iter().map(|turn| turn.per_s).collect());
            Check::new(
                format!("{what}: at least 1,000,000 a second on its core"),
                format!("{rate:.0}"),
                rate >= RATE_LEAST,
            )
        }
    })
}

/// Processor time of a thread of this process.
fn cpu_time(thread_id: i32) -> anyhow::Result<Duration> {
    let path = format!("/proc/self/task/{thread_id}/schedstat");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let first = text.split_whitespace().next();
    let ns = first.and_then(|word| word.parse().ok());
    Ok(Duration::from_nanos(ns.with_context(|| {
        format!("{path} has no processor time")
    })?))
}

/// The digest of one envelope, nanoseconds of processor time: alone, and among [`PORTION`].
fn hash_ns() -> anyhow::Result<(f64, f64)> {
    let (key, _) = deal(ChainId(1), Epoch(0), 4, 3, &[3; 32])?;
    let envelope: Arc<[u8]> = sender::Messages::new(&key, ROLLUP, until())?
        .envelope()
        .into();
    let portion = vec![envelope; PORTION];
    let of = |work: &mut dyn FnMut()| -> anyhow::Result<f64> {
        let before = sink::thread_time()?;
        for _ in 0..HASHES {
            work();
        }
        let took = sink::thread_time()? - before;
        Ok(took.as_nanos() as f64 / f64::from(HASHES))
    };
    let alone = of(&mut || {
        black_box(blake3::hash(black_box(&portion[0])));
    })?;
    let (mut digests, mut decoded) = (Digests::default(), Vec::new());
    let together = of(&mut || {
        Envelope::decode_all(portion.iter().cloned(), &mut digests, &mut decoded);
        black_box(&mut decoded).clear();
    })?;
    Ok((alone, together / PORTION as f64))
}

/// Runs `work` on a thread of its own, pinned to `core`.
fn on_core<T: Send>(
    core: usize,
    work: impl FnOnce() -> anyhow::Result<T> + Send,
) -> anyhow::Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            pin(core);
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

impl fmt::Display for IngestReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "fairlane-bench ingest, commit {}", self.commit)?;
        writeln!(f, "  {}", self.host)?;
        writeln!(
            f,
            "  open envelopes of {ENVELOPE_LEN} bytes, {} ms a turn, medians (least to most); decoding and digest of one: {:.0} ns \
             among {PORTION}; its BLAKE3 alone {:.0}\n",
            self.milliseconds, self.decode_ns, self.hash_ns
        )?;
        writeln!(
            f,
            "{:<18} {:<8} {:>32} {:>7} {:>9} {:>7} {:>7}",
            "", "", "envelopes a second", "ratio", "ns each", "digest", "lost"
        )?;
        let spread = |turns: &[Turn]| {
            let mut all: Vec<f64> = turns.iter().map(|turn| turn.per_s).collect();
            all.sort_by(f64::total_cmp);
            let (least, most) = (all[0], all[all.len() - 1]);
            format!("{:.0} ({least:.0} to {most:.0})", median(all))
        };
        let cpu = |turns: &[Turn]| median(turns.iter().map(|turn| turn.cpu_ns).collect());
        let lost = |turns: &[Turn]| turns.iter().map(|turn| turn.lost).sum::<u64>();
        let mut bare_shown = None;
        for row in &self.rows {
            let name = row.transport.name();
            if bare_shown != Some(row.transport) {
                bare_shown = Some(row.transport);
                let (rates, ns, lost) = (spread(&row.bare), cpu(&row.bare), lost(&row.bare));
                writeln!(
                    f,
                    "{name:<18} {:<8} {rates:>32} {:>7} {ns:>9.0} {:>7} {lost:>7}",
                    "bare", "", ""
                )?;
            }
            let (rates, ns, lost) = (spread(&row.turns), cpu(&row.turns), lost(&row.turns));
            writeln!(
                f,
                "{name:<18} {:<8} {rates:>32} {:>7.2} {ns:>9.0} {:>5.0} % {lost:>7}",
                row.backend,
                row.ratio,
                100.0 * self.decode_ns / ns
            )?;
            let steps = row
                .steps_ns
                .iter()
                .map(|(name, ns)| format!("{name} {ns:.0}"));
            let steps: Vec<String> = steps.collect();
            writeln!(f, "{:<27} of it, ns: {}", "", steps.join(", "))?;
        }
        writeln!(f, "\nchecks")?;
        for check in &self.checks {
            writeln!(f, "{check}")?;
        }
        Ok(())
    }
}

const BACKENDS: [BackendKind; 2] = [BackendKind::Uring, BackendKind::Mio];
/// The first core of this host: the node's io and core stages, or the bare loop.
const NODE_CORE: usize = 0;
/// The client's.
const CLIENT_CORE: usize = 1;
/// All bytes of an envelope.
const ENVELOPE_LEN: usize = 512;
const VALID_US: u64 = 50_000_000;
const HASHES: u32 = 20_000;
/// As many as share a write.
const PORTION: usize = 64;
/// Of the bare loop's rate, where each message costs it a system call.
const RATIO_LEAST: f64 = 0.7;
/// Envelopes a second where 64 share one.
const RATE_LEAST: f64 = 1e6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_places_what_is_sent_and_the_bare_loop_reads_it() {
        let plan = IngestPlan {
            repeat: 1,
            time: Duration::from_millis(30),
        };
        let report = run(&plan, &mut |_| {}).unwrap();
        assert_eq!(report.rows.len(), 8);
        for row in &report.rows {
            let (turn, bare) = (row.turns[0], row.bare[0]);
            assert!(turn.envelopes > 100 && bare.envelopes > 100, "{row:?}");
            assert!(turn.cpu_ns > 0.0 && bare.cpu_ns > 0.0, "{row:?}");
            if matches!(row.transport, Transport::TcpOne | Transport::TcpMany) {
                assert_eq!((turn.lost, bare.lost), (0, 0), "{row:?}");
            }
        }
        assert_eq!(report.checks.len(), 6);
    }
}
