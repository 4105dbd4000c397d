//! System calls of the nodes for each envelope, by thread, counted by the kernel (`perf stat`, tracepoint raw_syscalls).

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use fairlane_loadgen::arrivals::Rate;
use fairlane_net::config::BackendName;
use serde::Serialize;

use super::committee::{Committee, CommitteePlan, offer};

/// What is measured.
#[derive(Clone, Debug)]
pub struct SyscallsPlan {
    /// Authorities.
    pub authorities: u8,
    /// Open envelopes a second.
    pub rate: u32,
    /// How long they are counted.
    pub duration: Duration,
}

/// One backend.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// By which system calls nodes used the network.
    pub backend: String,
    /// Settled a second.
    pub settled_rate: f64,
    /// System calls of a node for each envelope that was settled, all its threads.
    pub per_envelope: f64,
    /// The same by name of the thread.
    pub by_thread: BTreeMap<String, f64>,
}

/// Counts for io_uring and for epoll.
#[derive(Clone, Debug, Serialize)]
pub struct SyscallsReport {
    /// Authorities.
    pub authorities: u8,
    /// Offered a second.
    pub rate: u32,
    /// One a backend.
    pub rows: Vec<Row>,
}

/// Runs it. Errors: the host has no `perf`, or lets nobody count; or the binary.
pub fn run(plan: &SyscallsPlan, fairlane: &Path) -> anyhow::Result<SyscallsReport> {
    let mut rows = Vec::new();
    for backend in [BackendName::Uring, BackendName::Mio] {
        rows.push(measure(plan, fairlane, backend)?);
    }
    Ok(SyscallsReport {
        authorities: plan.authorities,
        rate: plan.rate,
        rows,
    })
}

fn measure(plan: &SyscallsPlan, fairlane: &Path, backend: BackendName) -> anyhow::Result<Row> {
    let mut committee = CommitteePlan::local(fairlane, plan.authorities)?;
    committee.backend = backend;
    let mut committee = Committee::start(&committee)?;
    let pids = committee.pids();
    let rate = Rate::Constant(plan.rate.into());
    let total = plan.duration + 2 * MARGIN;
    let (outcome, counted) = std::thread::scope(|scope| {
        let counter = scope.spawn(|| {
            std::thread::sleep(LEAD + MARGIN);
            count(&pids, plan.duration)
        });
        let outcome = offer(&committee.directory, &rate, total, |config| {
            config.open = true;
            config.lead = LEAD;
        });
        (outcome, counter.join())
    });
    let (outcome, Ok(counted)) = (outcome?, counted) else {
        bail!("a measuring thread panicked; its message is above");
    };
    let counted = counted?;
    committee.check_all_run()?;
    let reports = committee.stop()?;
    let tally = &outcome.tally;
    ensure!(
        tally.settled == tally.offered,
        "{} of {} were settled: this machine does not bear {} a second",
        tally.settled,
        tally.offered,
        plan.rate
    );
    let settled_rate = tally.settled as f64 / total.as_secs_f64();
    let envelopes = settled_rate * plan.duration.as_secs_f64() * f64::from(plan.authorities);
    let by_thread: BTreeMap<String, f64> = counted
        .into_iter()
        .map(|(name, calls)| (name, calls as f64 / envelopes))
        .collect();
    Ok(Row {
        backend: reports[0].backend.clone(),
        settled_rate,
        per_envelope: by_thread.values().sum(),
        by_thread,
    })
}

/// System calls of these processes within `duration`, by name of the thread.
fn count(pids: &[u32], duration: Duration) -> anyhow::Result<BTreeMap<String, u64>> {
    let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
    let output = Command::new("perf")
        .args([
            "stat",
            "-x",
            ",",
            "--per-thread",
            "-e",
            "raw_syscalls:sys_enter",
        ])
        .args(["-p", &pids.join(",")])
        .args(["--", "sleep", &duration.as_secs_f64().to_string()])
        .output()
        .context("the perf command is not there: install linux-perf")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        output.status.success(),
        "perf cannot count system calls here ({}): run this as root",
        said.lines().next().unwrap_or_default()
    );
    let mut counted = BTreeMap::new();
    for line in said.lines() {
        let mut fields = line.split(',');
        let (Some(thread), Some(calls)) = (fields.next(), fields.next()) else {
            continue;
        };
        if let (Some((name, _)), Ok(calls)) = (thread.rsplit_once('-'), calls.parse::<u64>()) {
            *counted.entry(name.to_owned()).or_default() += calls;
        }
    }
    ensure!(!counted.is_empty(), "perf counted nothing: {said}");
    Ok(counted)
}

impl fmt::Display for SyscallsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "system calls of a node for each envelope, {} authorities, {} open envelopes a second",
            self.authorities, self.rate
        )?;
        for row in &self.rows {
            let threads = row.by_thread.iter().filter(|(_, calls)| **calls >= 0.0005);
            let threads = threads.map(|(name, calls)| format!("{name} {calls:.3}"));
            writeln!(
                f,
                "  {:<6} {:>6.3}  ({}), at {:.0} settled a second",
                row.backend,
                row.per_envelope,
                threads.collect::<Vec<_>>().join(", "),
                row.settled_rate
            )?;
        }
        Ok(())
    }
}

const LEAD: Duration = Duration::from_secs(1);
/// Before and after what is counted.
const MARGIN: Duration = Duration::from_secs(1);
