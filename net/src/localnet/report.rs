//! What a run shows: the figures of the contract as JSON, and a page of text.

use std::collections::BTreeMap;
use std::fmt;

use fairlane_loadgen::host::{COMMIT, Host};
use fairlane_loadgen::outcome::{KeyUse, LatencySummary, LinkOutcome, Offering};
use serde::{Deserialize, Serialize};

use super::checked::Checked;
use super::search::Step;
use super::{LocalnetPlan, OfferedOutcome};
use crate::journal::JournalStats;
use crate::node::{NodeReport, durability_name};
use crate::stage::stats::CoreSteps;

/// Everything about one run; field names are a contract with those who read the JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Authorities.
    pub nodes: u8,
    /// How long sending took, seconds.
    pub duration_s: f64,
    /// `sync` or `async`.
    pub durability: String,
    /// Network backend of the nodes.
    pub backend: String,
    /// By which system calls they wrote their journals.
    pub journal_backend: String,
    /// Commit that the binary was built from.
    pub commit: String,
    /// Processor, cores and kernel.
    pub host: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Kernel release.
    pub kernel: String,
    /// Whether envelopes were sealed.
    pub sealed: bool,
    /// How envelopes travelled: `tcp` or `udp`.
    #[serde(default)]
    pub transport: String,
    /// Datagrams that clients sent again; 0 over TCP.
    #[serde(default)]
    pub resent: u64,
    /// Envelopes that every node told Busy and that were sent again.
    #[serde(default)]
    pub retried: u64,
    /// How often, all together.
    #[serde(default)]
    pub retries: u64,
    /// How long the committee took to make its sealing key, from when every node was ready, seconds; none where a dealer
    /// made it.
    #[serde(default)]
    pub key_made_s: Option<f64>,
    /// The sealing keys that the load used, and from when.
    #[serde(default)]
    pub keys: Vec<KeyUse>,
    /// Notices of keys that counted for nothing: 0, or a node is faulty.
    #[serde(default)]
    pub keys_refused: u64,
    /// Bytes of payload in each.
    pub payload_len: usize,
    /// Envelopes planned and sent.
    pub offered: u64,
    /// Acknowledged by a node that was not killed.
    pub accepted: u64,
    /// Refused by every live node.
    pub refused: u64,
    /// By the code heard first.
    pub refused_by_code: BTreeMap<String, u64>,
    /// Neither.
    pub unanswered: u64,
    /// Accepted and synced by the settlement worker; void ones count.
    pub settled: u64,
    /// Void entries in the settled batches.
    pub void: u64,
    /// Accepted and not settled.
    pub lost: u64,
    /// Settled envelopes a second.
    pub throughput_tps: f64,
    /// From the planned send time.
    pub latency_us: LatencySummary,
    /// Batches settled.
    pub batches: u64,
    /// Anchors at one node.
    pub anchors: u64,
    /// Highest round of a node.
    pub rounds: u64,
    /// Entries for which the deferral cap fired.
    pub deferral_cap_fired: u64,
    /// Entries that a group-wait cut let go.
    pub group_wait_cut: u64,
    /// Groups of more than one entry (Condorcet cycles) at one node.
    pub cycles: u64,
    /// Time of the fair order for one anchor, mean of all anchors of one node, microseconds: timed while its recorded lists
    /// are ordered again.
    #[serde(default)]
    pub fair_order_us_per_anchor: f64,
    /// Entries that were ready and waited for others by the rule, and for how many anchors on average, at one node.
    #[serde(default)]
    pub deferred: u64,
    /// See `deferred`.
    #[serde(default)]
    pub deferred_anchors_mean: f64,
    /// See [`Verdicts::agreement`](crate::verify::run::Verdicts::agreement), and nobody was told two places of one envelope.
    pub agreement: bool,
    /// See [`Verdicts::order_rechecked`](crate::verify::run::Verdicts::order_rechecked).
    pub order_rechecked: bool,
    /// See [`Verdicts::certificates_hold`](crate::verify::run::Verdicts::certificates_hold).
    #[serde(default)]
    pub certificates_hold: bool,
    /// Certificates of the node with most of them.
    #[serde(default)]
    pub certificates: u64,
    /// What made the batches final that the worker settled: `node`, `f+1` or `certificate`.
    #[serde(default)]
    pub finality: String,
    /// The first thing that is wrong with each journal.
    #[serde(default)]
    pub faults: Vec<String>,
    /// Processes that did not end well, and why.
    pub failures: Vec<String>,
    /// Planned against offered load.
    pub offering: Offering,
    /// Neither settled nor refused when sending ended, seconds of load.
    pub backlog_s: f64,
    /// Notices that contradicted an earlier one on an envelope's place.
    pub order_disagreements: u64,
    /// What the client's link to each authority went through.
    pub links: Vec<LinkOutcome>,
    /// Rates tried by `--rate max`.
    pub search: Vec<Step>,
    /// Processor time of each process.
    pub processes: Vec<ProcessFigures>,
    /// Wall time from the first start of load to the last notice, seconds.
    pub wall_s: f64,
    /// What each surviving node says of itself.
    pub node_reports: Vec<NodeReport>,
}

/// One process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProcessFigures {
    /// Which.
    pub name: String,
    /// Processor time, seconds.
    pub cpu_s: f64,
}

impl Report {
    /// Puts the figures together and judges.
    pub fn new(
        plan: &LocalnetPlan,
        offered: OfferedOutcome,
        checked: Checked,
        node_reports: Vec<NodeReport>,
        (processes, key_made_s): (Vec<ProcessFigures>, Option<f64>),
        failures: Vec<String>,
    ) -> Self {
        let Checked {
            verdicts,
            settled,
            fair_cost,
        } = checked;
        let OfferedOutcome {
            outcome,
            duration_s,
            steps,
            lost,
            wall,
        } = offered;
        let names = |of: fn(&NodeReport) -> &str| {
            let names: std::collections::BTreeSet<&str> = node_reports.iter().map(of).collect();
            names.into_iter().collect::<Vec<_>>().join("+")
        };
        let backend = names(|node| &node.backend);
        let journal_backend = names(|node| &node.journal_backend);
        let counter = |node: &NodeReport, name: &str| node.engine.get(name).copied().unwrap_or(0);
        let highest = |name: &str| {
            let counts = node_reports.iter().map(|node| counter(node, name));
            counts.max().unwrap_or(0)
        };
        let host = Host::read();
        Self {
            nodes: plan.nodes,
            duration_s,
            durability: durability_name(plan.durability).to_owned(),
            backend,
            journal_backend,
            commit: COMMIT.to_owned(),
            host: host.to_string(),
            cores: host.cores,
            kernel: host.kernel,
            sealed: !plan.open,
            transport: plan.transport.to_string(),
            resent: outcome.resent,
            retried: outcome.retried,
            retries: outcome.retries,
            key_made_s,
            keys: outcome.keys,
            keys_refused: outcome.keys_refused,
            payload_len: plan.payload_len,
            offered: outcome.tally.offered,
            accepted: outcome.tally.accepted,
            refused: outcome.tally.refused,
            refused_by_code: outcome.tally.refused_by_code,
            unanswered: outcome.tally.unanswered,
            settled: outcome.tally.settled,
            void: settled.void,
            lost,
            throughput_tps: outcome.throughput_tps,
            latency_us: outcome.latency_us,
            batches: settled.batches,
            anchors: fair_cost.anchors,
            rounds: node_reports
                .iter()
                .map(|node| node.round)
                .max()
                .unwrap_or(0),
            deferral_cap_fired: settled.cap_fired,
            group_wait_cut: settled.group_wait_cut,
            cycles: highest("cycles"),
            fair_order_us_per_anchor: ratio(fair_cost.ns as f64 / 1e3, fair_cost.anchors),
            deferred: highest("deferred"),
            deferred_anchors_mean: ratio(highest("deferred_anchors") as f64, highest("deferred")),
            agreement: verdicts.agreement && outcome.order_disagreements == 0,
            order_rechecked: verdicts.order_rechecked,
            certificates_hold: verdicts.certificates_hold,
            certificates: verdicts.certificates,
            finality: plan.finality.to_string(),
            faults: verdicts.faults,
            failures,
            offering: outcome.offering,
            backlog_s: outcome.backlog_s,
            order_disagreements: outcome.order_disagreements,
            links: outcome.links,
            search: steps,
            processes,
            wall_s: wall.as_secs_f64(),
            node_reports,
        }
    }

    /// Whether all holds: nothing accepted was lost, the nodes agree, the order is the rule's, certificates are of that chain,
    /// every process ended well.
    pub fn holds(&self) -> bool {
        self.lost == 0
            && self.agreement
            && self.order_rechecked
            && self.certificates_hold
            && self.failures.is_empty()
    }

    /// Mean steps of the surviving nodes.
    fn steps(&self) -> CoreSteps {
        let mut sum = CoreSteps::default();
        for node in &self.node_reports {
            sum.add(&node.steps);
        }
        sum
    }

    /// What certificates cost: the thread of each node that signs and, where they are wanted, collects.
    fn write_certificates(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = || self.node_reports.iter().map(|node| node.certificates);
        let made = counts().map(|counts| counts.collected.made).max();
        let cpu_us: u64 = counts().map(|counts| counts.cpu_us).sum();
        let (Some(made), Some(signed)) = (made, counts().map(|counts| counts.signed).max()) else {
            return Ok(());
        };
        let available_s = self.wall_s.max(f64::MIN_POSITIVE) * self.cores as f64;
        writeln!(
            f,
            "certificates: {made} made of {signed} batches signed; all nodes together {:.1} ms of processor time, {:.2} % of {} cores",
            cpu_us as f64 / 1e3,
            cpu_us as f64 / 1e4 / available_s,
            self.cores
        )
    }

    /// What the journals of the surviving nodes took, a mean node's.
    fn write_journal(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes = self.node_reports.len();
        if nodes == 0 {
            return Ok(());
        }
        let mut sum = JournalStats::default();
        for node in &self.node_reports {
            sum.bytes += node.journal.bytes;
            sum.syncs += node.journal.syncs;
            sum.records += node.journal.records;
            sum.groups += node.journal.groups;
        }
        let mean = |count: u64| count as f64 / nodes as f64;
        writeln!(
            f,
            "\njournal {}, mean of {nodes} nodes: {:.0} bytes an envelope, {:.0} syncs a second, {:.1} records a write",
            self.journal_backend,
            mean(sum.bytes) / self.settled.max(1) as f64,
            mean(sum.syncs) / self.wall_s.max(f64::MIN_POSITIVE),
            sum.records as f64 / sum.groups.max(1) as f64,
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.sealed { "sealed" } else { "open" };
        writeln!(f, "fairlane localnet, commit {}", self.commit)?;
        writeln!(f, "  {}", self.host)?;
        writeln!(
            f,
            "  {} authorities, durability {}, backend {}, {kind} envelopes of {} bytes",
            self.nodes, self.durability, self.backend, self.payload_len
        )?;
        if self.transport == "udp" {
            writeln!(
                f,
                "  over UDP, an envelope a datagram; {} sent again",
                self.resent
            )?;
        }
        if let Some(made_s) = self.key_made_s {
            let ms = made_s * 1e3;
            writeln!(
                f,
                "  sealing key made by the committee itself in {ms:.0} ms, before the load"
            )?;
        }
        for (number, key) in self.keys.iter().enumerate().filter(|_| self.keys.len() > 1) {
            let from = match number {
                0 => "from the start".to_owned(),
                _ => format!("from {:.1} s", key.from_s),
            };
            writeln!(
                f,
                "  sealing key {} of epoch {}, {from}: {} envelopes",
                key.key_id, key.epoch, key.envelopes
            )?;
        }
        if !self.search.is_empty() {
            writeln!(f, "\nrates tried")?;
            for step in &self.search {
                let verdict = match (step.held, step.generator_limited) {
                    (true, _) => "holds",
                    (false, false) => "does not hold",
                    (false, true) => "does not hold (the load generator was the limit)",
                };
                writeln!(
                    f,
                    "  {:>7.0}/s for {:>4.1} s  accepted {:>6.2} %  settled p99 {:>9.1} ms  backlog {:>5.2} s  {verdict}",
                    step.rate,
                    step.duration_s,
                    step.accepted_part * 100.0,
                    step.settled_p99_us as f64 / 1e3,
                    step.backlog_s
                )?;
            }
        }
        writeln!(f, "\nenvelopes")?;
        writeln!(
            f,
            "  offered {}  accepted {}  refused {}  unanswered {}",
            self.offered, self.accepted, self.refused, self.unanswered
        )?;
        for (code, count) in &self.refused_by_code {
            writeln!(f, "    refused {code}: {count}")?;
        }
        if self.retried > 0 {
            let (retried, retries) = (self.retried, self.retries);
            writeln!(
                f,
                "  told Busy by all and sent again {retried}, {retries} times in all"
            )?;
        }
        writeln!(
            f,
            "  settled {}  lost {}  void {}",
            self.settled, self.lost, self.void
        )?;
        writeln!(
            f,
            "  {:.0} settled a second over {:.1} s of sending{}",
            self.throughput_tps,
            self.duration_s,
            if self.offering.was_limited {
                "; the load generator was the limit"
            } else {
                ""
            }
        )?;
        write!(f, "\n{}", self.latency_us)?;
        writeln!(f, "\norder")?;
        writeln!(
            f,
            "  {} rounds, {} anchors, {} batches, {} cycles, group waits cut {}, deferral cap fired {}",
            self.rounds,
            self.anchors,
            self.batches,
            self.cycles,
            self.group_wait_cut,
            self.deferral_cap_fired
        )?;
        let settled_us = self.latency_us.settled.p50.max(1) as f64;
        writeln!(
            f,
            "  fair order: {:.1} us an anchor, {:.2} % of the settled p50; {} of the entries waited for others, {:.1} anchors on average",
            self.fair_order_us_per_anchor,
            100.0 * self.fair_order_us_per_anchor / settled_us,
            self.deferred,
            self.deferred_anchors_mean
        )?;
        write_steps(f, &self.steps(), self.node_reports.len())?;
        self.write_journal(f)?;
        self.write_certificates(f)?;
        writeln!(f, "\nprocessor seconds in {:.1} s", self.wall_s)?;
        for process in &self.processes {
            writeln!(f, "  {:<22}{:>7.2}", process.name, process.cpu_s)?;
        }
        writeln!(f, "\nchecks")?;
        let verdict = |holds: bool| if holds { "holds" } else { "DOES NOT HOLD" };
        writeln!(
            f,
            "  nothing accepted was lost        {}",
            verdict(self.lost == 0)
        )?;
        writeln!(
            f,
            "  surviving nodes agree            {}",
            verdict(self.agreement)
        )?;
        writeln!(
            f,
            "  order recomputed from records    {}",
            verdict(self.order_rechecked)
        )?;
        writeln!(
            f,
            "  certificates are of that chain   {}",
            verdict(self.certificates_hold)
        )?;
        for fault in &self.faults {
            writeln!(f, "  DOES NOT HOLD: {fault}")?;
        }
        for failure in &self.failures {
            writeln!(f, "  a process did not end well: {failure}")?;
        }
        Ok(())
    }
}

/// 0 where there is nothing to divide by.
fn ratio(sum: f64, count: u64) -> f64 {
    if count == 0 { 0.0 } else { sum / count as f64 }
}

fn write_steps(f: &mut fmt::Formatter<'_>, steps: &CoreSteps, nodes: usize) -> fmt::Result {
    if nodes == 0 {
        return Ok(());
    }
    writeln!(f, "\nsteps of the core stage, mean of {nodes} nodes")?;
    writeln!(
        f,
        "  {:<10}{:>10}{:>12}{:>12}",
        "", "total ms", "items", "us an item"
    )?;
    for (name, step) in steps.named() {
        let mean_us = step.mean().map_or(0.0, |mean| mean.as_nanos() as f64 / 1e3);
        let total_ms = step.ns as f64 / 1e6 / nodes as f64;
        let items = step.items / nodes as u64;
        writeln!(f, "  {name:<10}{total_ms:>10.1}{items:>12}{mean_us:>12.2}")?;
    }
    Ok(())
}
