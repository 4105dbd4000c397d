//! From submission to acknowledgement on loopback at low load, beside a bare ping-pong of as many bytes in the same run.
//!
//! A committee of one on this machine: its io and core stages on the first core, client and journal on the second. The
//! client sends one envelope, looks for the answer without sleeping, pauses, and sends the next. Open envelopes have no
//! proof; sealed ones have one to be checked. The bare ping-pong is a loop of read and write on the node's core, which
//! sleeps in read, or never sleeps where the node spins.
//!
//! Parts of the full path, each measured in the same run: the bare round trip, the gathering that the setting asks for,
//! screening, checking the proof, the engine's step, and handing on the answer.

use std::fmt;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use fairlane_client::committee_file::Directory;
use fairlane_client::protocol::{
    AckCode, Hello, NOTICE_LEN_MAX, Notice, encode_hello, encode_submit, next_frame,
};
use fairlane_client::sealing::{PadTo, Sealer};
use fairlane_engine::seal::EnvelopeKind;
use fairlane_net::config::BackendName;
use fairlane_net::node::{NodeReport, pin};
use fairlane_net::stage::clock;
use fairlane_net::stage::waiting::{ReceiveMode, Wait, WaitMode};
use hdrhistogram::Histogram;
use serde::Serialize;

use super::Check;
use super::committee::{Committee, CommitteePlan, ROLLUP};

/// What is measured.
#[derive(Clone, Debug)]
pub struct RttPlan {
    /// Round trips of each kind.
    pub samples: u32,
    /// Between an answer and the next submission.
    pub pause: Duration,
    /// By which system calls the node uses the network.
    pub backend: BackendName,
}

/// One way to wait, one kind of envelope.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// `park`, `batch` or `spin`.
    pub wait: String,
    /// `open` or `sealed`.
    pub envelopes: String,
    /// Microseconds.
    pub p50_us: f64,
    /// Microseconds.
    pub p99_us: f64,
    /// Median of the bare ping-pong, microseconds.
    pub bare_p50_us: f64,
    /// 99th percentile of it.
    pub bare_p99_us: f64,
    /// Median over the bare median.
    pub ratio: f64,
    /// What the path is made of, by name, microseconds.
    pub parts_us: Vec<(String, f64)>,
    /// Median over the sum of the parts.
    pub over_parts: f64,
}

/// All rows, and what was left out.
#[derive(Clone, Debug, Serialize)]
pub struct RttReport {
    /// By which system calls the node used the network.
    pub backend: String,
    /// Round trips a row.
    pub samples: u32,
    /// Measured.
    pub rows: Vec<Row>,
    /// Why a way to wait is missing, a sentence each.
    pub left_out: Vec<String>,
    /// Each bound, and whether it holds.
    pub checks: Vec<Check>,
}

impl RttReport {
    /// Whether every bound holds.
    pub fn holds(&self) -> bool {
        self.checks.iter().all(|check| check.holds)
    }
}

/// Runs it. Errors: the host or the binary.
pub fn run(plan: &RttPlan, fairlane: &Path) -> anyhow::Result<RttReport> {
    let cores = std::thread::available_parallelism()?.get();
    let mut report = RttReport {
        backend: String::new(),
        samples: plan.samples,
        rows: Vec::new(),
        left_out: Vec::new(),
        checks: Vec::new(),
    };
    for mode in [WaitMode::Park, WaitMode::Batch, WaitMode::Spin] {
        if mode == WaitMode::Spin && cores < 2 {
            let what = "spin: it needs two cores, one for the node and one for the client";
            report.left_out.push(what.into());
            continue;
        }
        let bare = bare(plan, mode)?;
        for kind in [EnvelopeKind::Open, EnvelopeKind::Sealed] {
            let (path, node) = full(plan, fairlane, mode, kind)?;
            report.backend.clone_from(&node.backend);
            report.rows.push(row(mode, kind, &bare, &path, &node));
        }
    }
    report.checks = report.rows.iter().map(check).collect();
    Ok(report)
}

fn check(row: &Row) -> Check {
    let wait = &row.wait;
    match row.envelopes.as_str() {
        SEALED => Check::new(
            format!("{wait}, sealed: at most {PARTS_RATIO_MAX} times the sum of the parts"),
            format!("{:.2}", row.over_parts),
            row.over_parts <= PARTS_RATIO_MAX,
        ),
        _ => Check::new(
            format!("{wait}, open: at most {BARE_RATIO_MAX} times the bare ping-pong"),
            format!("{:.2}", row.ratio),
            row.ratio <= BARE_RATIO_MAX,
        ),
    }
}

fn row(
    mode: WaitMode,
    kind: EnvelopeKind,
    bare: &Histogram<u64>,
    path: &Histogram<u64>,
    node: &NodeReport,
) -> Row {
    let us = |histogram: &Histogram<u64>, q| histogram.value_at_quantile(q) as f64 / 1e3;
    let (p50_us, bare_p50_us) = (us(path, 0.5), us(bare, 0.5));
    let wait = wait_of(mode);
    let steps = &node.steps;
    let submissions = steps.screen.items.max(1) as f64;
    let of = |ns: u64| ns as f64 / submissions / 1e3;
    let mut parts_us = vec![
        ("bare round trip".to_owned(), bare_p50_us),
        (
            "gathering, at most".to_owned(),
            wait.gather().as_micros() as f64,
        ),
        ("screening".to_owned(), of(steps.screen.ns)),
        ("proof".to_owned(), of(steps.proof.ns)),
    ];
    let mean = |step: &fairlane_net::stage::stats::Step| {
        step.mean().map_or(0.0, |mean| mean.as_nanos() as f64 / 1e3)
    };
    parts_us.push(("engine, an input".to_owned(), mean(&steps.engine)));
    parts_us.push(("effects, one".to_owned(), mean(&steps.effects)));
    let sum: f64 = parts_us.iter().map(|(_, us)| us).sum();
    Row {
        wait: name_of(mode).to_owned(),
        envelopes: match kind {
            EnvelopeKind::Open => "open",
            EnvelopeKind::Sealed => SEALED,
        }
        .to_owned(),
        p50_us,
        p99_us: us(path, 0.99),
        bare_p50_us,
        bare_p99_us: us(bare, 0.99),
        ratio: p50_us / bare_p50_us,
        parts_us,
        over_parts: p50_us / sum,
    }
}

/// The setting of a row. Nothing is gathered where what comes is taken at once.
fn wait_of(mode: WaitMode) -> Wait {
    Wait {
        mode,
        receive: match mode {
            WaitMode::Batch => ReceiveMode::Turn,
            WaitMode::Park | WaitMode::Spin => ReceiveMode::Arrival,
        },
        ..Wait::default()
    }
}

/// Round trips through a node.
fn full(
    plan: &RttPlan,
    fairlane: &Path,
    mode: WaitMode,
    kind: EnvelopeKind,
) -> anyhow::Result<(Histogram<u64>, NodeReport)> {
    let edit = |_, table: &mut toml::Table| {
        let wait = wait_of(mode);
        let wait = toml::Table::try_from(wait).expect("a setting of plain values is TOML");
        table.insert("wait".into(), wait.into());
    };
    let mut committee = CommitteePlan::local(fairlane, 1)?;
    committee.backend = plan.backend;
    committee.edit = &edit;
    let mut committee = Committee::start(&committee)?;
    let path = on_core(CLIENT_CORE, || {
        round_trips(plan, &committee.directory, kind)
    })?;
    let mut reports = committee.stop()?;
    let report = reports.pop().context("the node wrote no report")?;
    Ok((path, report))
}

fn round_trips(
    plan: &RttPlan,
    directory: &Directory,
    kind: EnvelopeKind,
) -> anyhow::Result<Histogram<u64>> {
    let mut stream = connect(directory.client_addresses()[0])?;
    let mut frame = Vec::new();
    let hello = Hello {
        chain_id: directory.committee.chain_id,
        receipts: false,
        ordered: false,
        settled: false,
        keys: false,
    };
    encode_hello(&mut frame, &hello);
    stream.write_all(&frame)?;
    let mut incoming = Incoming::default();
    incoming.wait_for(&mut stream, |notice| matches!(notice, Notice::Welcome(_)))?;

    let sealer = Sealer {
        key: directory.sealing_key.clone(),
        rollup: ROLLUP,
        kind,
        sender_tag: [0; 16],
        padding: PadTo::Nothing,
    };
    let mut histogram = histogram()?;
    for tag in 0..u64::from(plan.samples + WARM_UP) {
        let mut payload = [0; PAYLOAD_LEN];
        payload[..8].copy_from_slice(&tag.to_be_bytes());
        let envelope = sealer.make(&payload, clock().plus_us(VALID_US))?;
        frame.clear();
        encode_submit(&mut frame, tag, envelope.bytes())?;
        std::thread::sleep(plan.pause);
        let start = Instant::now();
        stream.write_all(&frame)?;
        let mut refused = None;
        incoming.wait_for(&mut stream, |notice| match notice {
            Notice::Acks(acks) => acks.iter().any(|ack| {
                refused = (ack.code != AckCode::Accepted).then_some(ack.code);
                ack.tag == tag
            }),
            _ => false,
        })?;
        let took = start.elapsed();
        ensure!(
            refused.is_none(),
            "the node refused an envelope: {refused:?}"
        );
        if tag >= u64::from(WARM_UP) {
            histogram.saturating_record(took.as_nanos() as u64);
        }
    }
    Ok(histogram)
}

/// What came and is not read yet.
#[derive(Default)]
struct Incoming(Vec<u8>);

impl Incoming {
    /// Reads without sleeping until `is_it` says so of a notice.
    fn wait_for(
        &mut self,
        stream: &mut TcpStream,
        mut is_it: impl FnMut(Notice<'_>) -> bool,
    ) -> anyhow::Result<()> {
        let until = Instant::now() + ANSWER_TIMEOUT;
        let mut bytes = [0; 4096];
        loop {
            while let Some((content, len)) = next_frame(&self.0, NOTICE_LEN_MAX)? {
                let found = is_it(Notice::decode(content)?);
                self.0.drain(..len);
                if found {
                    return Ok(());
                }
            }
            match stream.read(&mut bytes) {
                Ok(0) => bail!("the node closed the connection"),
                Ok(len) => self.0.extend_from_slice(&bytes[..len]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    ensure!(
                        Instant::now() < until,
                        "no answer within {ANSWER_TIMEOUT:?}"
                    );
                    std::hint::spin_loop();
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Round trips of as many bytes to a loop that sends back an ack's worth.
fn bare(plan: &RttPlan, mode: WaitMode) -> anyhow::Result<Histogram<u64>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    let server = std::thread::spawn(move || -> anyhow::Result<()> {
        pin(NODE_CORE);
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(mode == WaitMode::Spin)?;
        let mut bytes = [0; PING_LEN];
        let mut filled = 0;
        while !flag.load(Ordering::Relaxed) {
            match stream.read(&mut bytes[filled..]) {
                Ok(0) => return Ok(()),
                Ok(len) => filled += len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::hint::spin_loop(),
                Err(error) => return Err(error.into()),
            }
            if filled == PING_LEN {
                stream.write_all(&bytes[..PONG_LEN])?;
                filled = 0;
            }
        }
        Ok(())
    });
    let measured = on_core(CLIENT_CORE, || -> anyhow::Result<_> {
        let mut stream = connect(address)?;
        let mut histogram = histogram()?;
        let (ping, mut pong) = ([7; PING_LEN], [0; PONG_LEN]);
        for sample in 0..plan.samples + WARM_UP {
            std::thread::sleep(plan.pause);
            let start = Instant::now();
            stream.write_all(&ping)?;
            let mut filled = 0;
            while filled < PONG_LEN {
                match stream.read(&mut pong[filled..]) {
                    Ok(0) => bail!("the other end closed"),
                    Ok(len) => filled += len,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => std::hint::spin_loop(),
                    Err(error) => return Err(error.into()),
                }
            }
            if sample >= WARM_UP {
                histogram.saturating_record(start.elapsed().as_nanos() as u64);
            }
        }
        Ok(histogram)
    });
    stop.store(true, Ordering::Relaxed);
    match server.join() {
        Ok(ended) => ended?,
        Err(_) => bail!("the bare loop panicked; its message is above"),
    }
    measured
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
        match thread.join() {
            Ok(done) => done,
            Err(_) => bail!("a measuring thread panicked; its message is above"),
        }
    })
}

fn connect(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000_000, 3)?)
}

const fn name_of(mode: WaitMode) -> &'static str {
    match mode {
        WaitMode::Park => "park",
        WaitMode::Batch => "batch",
        WaitMode::Spin => "spin",
    }
}

impl fmt::Display for RttReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "submission to acknowledgement, one node, backend {}, {} round trips a row, microseconds",
            self.backend, self.samples
        )?;
        writeln!(
            f,
            "  {:<6} {:<8} {:>8} {:>8}   {:>8} {:>8}   {:>7}   {:>10}",
            "wait", "", "p50", "p99", "bare p50", "bare p99", "to bare", "to parts"
        )?;
        for row in &self.rows {
            writeln!(
                f,
                "  {:<6} {:<8} {:>8.1} {:>8.1}   {:>8.1} {:>8.1}   {:>7.2}   {:>10.2}",
                row.wait,
                row.envelopes,
                row.p50_us,
                row.p99_us,
                row.bare_p50_us,
                row.bare_p99_us,
                row.ratio,
                row.over_parts
            )?;
            let parts = row
                .parts_us
                .iter()
                .map(|(name, us)| format!("{name} {us:.1}"));
            writeln!(
                f,
                "         parts: {}",
                parts.collect::<Vec<_>>().join(", ")
            )?;
        }
        for what in &self.left_out {
            writeln!(f, "  left out: {what}")?;
        }
        for check in &self.checks {
            writeln!(f, "{check}")?;
        }
        Ok(())
    }
}

const SEALED: &str = "sealed";
/// Median of the sealed path over the sum of its parts.
const PARTS_RATIO_MAX: f64 = 1.5;
/// Median of the path without a proof over that of the bare ping-pong.
const BARE_RATIO_MAX: f64 = 3.0;
/// The first core of this host: the node's io and core stages.
const NODE_CORE: usize = 0;
/// The client's.
const CLIENT_CORE: usize = 1;
/// Round trips before those that count.
const WARM_UP: u32 = 200;
const PAYLOAD_LEN: usize = 128;
/// A submission of a sealed envelope with such a payload, its frame included.
const PING_LEN: usize = 414;
/// An ack alone in its frame.
const PONG_LEN: usize = 24;
const VALID_US: u64 = 30_000_000;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
