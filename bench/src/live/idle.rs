//! Thousands of clients that are connected and say nothing, beside an honest load.
//!
//! The connections are another process's: one process has not files enough for both ends. Measured are the memory that a
//! node takes for each, and what they do to the honest load.

use std::fmt;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use fairlane_client::protocol::{Hello, encode_hello};
use fairlane_engine::types::ChainId;
use fairlane_loadgen::LoadOutcome;
use fairlane_loadgen::arrivals::Rate;
use fairlane_net::config::BackendName;
use fairlane_net::open_files;
use serde::Serialize;

use super::Check;
use super::committee::{Committee, CommitteePlan, offer, resident_bytes};

/// What is run.
#[derive(Clone, Debug)]
pub struct IdlePlan {
    /// Connections to the first authority.
    pub connections: u32,
    /// Authorities.
    pub authorities: u8,
    /// By which system calls nodes use the network.
    pub backend: BackendName,
    /// How long the honest load is sent, alone and beside them.
    pub duration: Duration,
    /// Honest envelopes a second.
    pub rate: u32,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct IdleReport {
    /// How many there were.
    pub connections: u32,
    /// By which system calls nodes used the network.
    pub backend: String,
    /// Resident bytes of the node for each of them.
    pub bytes_each: f64,
    /// Open files of the node while they were there.
    pub files: usize,
    /// The honest load alone, and beside them.
    pub alone: LoadOutcome,
    /// Beside them.
    pub beside: LoadOutcome,
    /// Clients that the node has taken in its life.
    pub clients: u64,
    /// Each bound, and whether it holds.
    pub checks: Vec<Check>,
}

impl IdleReport {
    /// Whether every bound holds.
    pub fn holds(&self) -> bool {
        self.checks.iter().all(|check| check.holds)
    }
}

/// Runs it; `program` is this program, for the process that connects. Errors: the host or the binary.
pub fn run(plan: &IdlePlan, fairlane: &Path, program: &Path) -> anyhow::Result<IdleReport> {
    let mut committee = CommitteePlan::local(fairlane, plan.authorities)?;
    committee.backend = plan.backend;
    let mut committee = Committee::start(&committee)?;
    let rate = Rate::Constant(plan.rate.into());
    let alone = offer(&committee.directory, &rate, plan.duration, |_| {})?;
    let node = committee.pids()[0];
    let before = resident_bytes(node)?;
    let address = committee.directory.client_addresses()[0];
    let idle = Idle::start(
        program,
        address,
        &committee.directory.committee.chain_id,
        plan.connections,
    )?;
    let after = resident_bytes(node)?;
    let files = std::fs::read_dir(format!("/proc/{node}/fd"))?.count();
    let beside = offer(&committee.directory, &rate, plan.duration, |_| {})?;
    let still = idle.end()?;
    committee.check_all_run()?;
    let reports = committee.stop()?;
    let mut report = IdleReport {
        connections: plan.connections,
        backend: reports[0].backend.clone(),
        bytes_each: after.saturating_sub(before) as f64 / f64::from(plan.connections),
        files,
        clients: reports[0].io.clients,
        alone,
        beside,
        checks: Vec::new(),
    };
    let connections = plan.connections;
    let tally = &report.beside.tally;
    report.checks = vec![
        Check::new(
            format!("{connections} clients are connected at once"),
            format!(
                "{} files open, {still} connections at the end",
                report.files
            ),
            report.files as u64 > u64::from(connections) && still == connections,
        ),
        Check::new(
            "the honest load is accepted and settled beside them",
            format!("{} of {}", tally.settled, tally.offered),
            tally.settled == tally.offered && tally.lost == 0,
        ),
        Check::new(
            format!("memory for each: at most {BYTES_EACH_MOST} bytes"),
            format!("{:.0} bytes", report.bytes_each),
            report.bytes_each <= BYTES_EACH_MOST,
        ),
    ];
    Ok(report)
}

/// The process that holds the connections.
struct Idle(Child);

impl Idle {
    /// Errors: it cannot connect as often as it should.
    fn start(
        program: &Path,
        address: SocketAddr,
        chain: &ChainId,
        connections: u32,
    ) -> anyhow::Result<Self> {
        let child = Command::new(program)
            .arg("idle-clients")
            .args(["--address", &address.to_string()])
            .args(["--chain", &chain.0.to_string()])
            .args(["--connections", &connections.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the process that connects")?;
        let mut idle = Self(child);
        let said = idle.said()?;
        ensure!(
            said == connections,
            "{said} of {connections} connections came up"
        );
        Ok(idle)
    }

    /// The number on the next line that it says.
    fn said(&mut self) -> anyhow::Result<u32> {
        let out = self
            .0
            .stdout
            .as_mut()
            .context("its output was asked to be piped")?;
        let mut line = String::new();
        // A reader for each line: the process says nothing until it is asked again.
        BufReader::new(out).read_line(&mut line)?;
        line.trim()
            .parse()
            .with_context(|| format!("the process that connects said {line:?}"))
    }

    /// Has it count what is still connected, and end.
    fn end(mut self) -> anyhow::Result<u32> {
        drop(self.0.stdin.take());
        let still = self.said()?;
        self.0.wait()?;
        Ok(still)
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        // It has ended already where all went well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Connects so many times, says hello on each and how many were welcomed, and holds them until standard input ends; then
/// says how many are still there. The other end of [`run`]. Errors: the host refuses.
pub fn connect(address: SocketAddr, chain: u64, connections: u32) -> anyhow::Result<()> {
    for said in open_files::raise_limit() {
        eprintln!("idle clients: {said}");
    }
    let mut hello = Vec::new();
    let wanted = Hello {
        chain_id: ChainId(chain),
        receipts: false,
        ordered: false,
        settled: false,
        keys: false,
    };
    encode_hello(&mut hello, &wanted);
    let mut streams = Vec::new();
    for _ in 0..connections {
        let connected = TcpStream::connect(address);
        let mut stream = match connected {
            Ok(stream) => stream,
            Err(error) => bail!("connection {}: {error}", streams.len()),
        };
        stream.set_read_timeout(Some(WELCOME_TIMEOUT))?;
        stream.write_all(&hello)?;
        streams.push(stream);
    }
    let mut welcomed = 0;
    let mut bytes = [0; 512];
    for stream in &mut streams {
        welcomed += u32::from(matches!(stream.read(&mut bytes), Ok(len) if len > 0));
    }
    println!("{welcomed}");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    let mut still = 0;
    for stream in &mut streams {
        stream.set_nonblocking(true)?;
        let would_block = |error: &std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
        still += u32::from(matches!(stream.read(&mut bytes), Err(error) if would_block(&error)));
    }
    println!("{still}");
    Ok(())
}

impl fmt::Display for IdleReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} idle clients at one of the authorities, backend {}: {:.0} bytes of its memory each",
            self.connections, self.backend, self.bytes_each
        )?;
        writeln!(f, "honest load, settled p50 / p99, ms")?;
        for (name, outcome) in [("alone", &self.alone), ("beside them", &self.beside)] {
            let settled = outcome.latency_us.settled;
            let (p50, p99) = (settled.p50 as f64 / 1e3, settled.p99 as f64 / 1e3);
            writeln!(f, "  {name:<40} {p50:>8.1} {p99:>8.1}")?;
        }
        for check in &self.checks {
            writeln!(f, "{check}")?;
        }
        Ok(())
    }
}

const WELCOME_TIMEOUT: Duration = Duration::from_secs(10);
/// More for a connection that says nothing would be a leak.
const BYTES_EACH_MOST: f64 = 2048.0;
