//! What is said in the end.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fairlane_engine::verify::{Trusted, TrustedFrom};
use serde::Serialize;

use super::node::{NodeReport, PlacedFault, Rules};
use super::worker::WorkerReport;

/// The whole verdict.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    /// Whether everything holds.
    pub(super) holds: bool,
    /// The first thing that is wrong.
    pub(super) fault: Option<PlacedFault>,
    /// What is trusted: the committee file.
    committee_file: PathBuf,
    /// Its BLAKE3 hash, in hexadecimal; none when it changed under our hands.
    committee_hash: Option<String>,
    chain_id: u64,
    epoch: u32,
    authorities: u32,
    /// How long it took, seconds.
    seconds: f64,
    /// Entries of batches recomputed, over all journals, a second.
    entries_a_second: f64,
    /// Longest consensus time that a journal spans over how long it took.
    times_real_time: f64,
    nodes: Vec<NodeReport>,
    workers: Vec<WorkerReport>,
}

impl Report {
    pub(super) fn new(
        committee_file: &Path,
        rules: &Rules,
        nodes: Vec<NodeReport>,
        workers: Vec<WorkerReport>,
        took: Duration,
    ) -> Self {
        let of_nodes = nodes.iter().filter_map(|node| node.fault.clone());
        let of_workers = workers.iter().filter_map(|worker| worker.fault.clone());
        let fault = of_nodes.chain(of_workers).next();
        let seconds = took.as_secs_f64();
        let entries: u64 = nodes.iter().map(|node| node.figures.entries).sum();
        let spans = nodes.iter().map(|node| node.recorded_s);
        let bytes = std::fs::read(committee_file).ok();
        Self {
            holds: fault.is_none(),
            fault,
            committee_file: committee_file.to_path_buf(),
            committee_hash: bytes.map(|bytes| blake3::hash(&bytes).to_hex().to_string()),
            chain_id: rules.committee.chain_id.0,
            epoch: rules.committee.epoch.0,
            authorities: rules.committee.thresholds().authorities(),
            seconds,
            entries_a_second: entries as f64 / seconds,
            times_real_time: spans.fold(0.0, f64::max) / seconds,
            nodes,
            workers,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "chain {}, epoch {}, {} authorities, as {} has them\n",
            self.chain_id,
            self.epoch,
            self.authorities,
            self.committee_file.display()
        )?;
        writeln!(
            f,
            "{:<12}{:>10}{:>10}{:>10}{:>10}{:>10}{:>8}{:>8}{:>9}",
            "authority",
            "vertices",
            "anchors",
            "batches",
            "entries",
            "revealed",
            "open",
            "void",
            "seconds"
        )?;
        for node in &self.nodes {
            show_node(f, node)?;
        }
        if !self.workers.is_empty() {
            writeln!(f, "\n{:<32}{:>10}{:>10}", "settled", "batches", "entries")?;
        }
        for worker in &self.workers {
            show_worker(f, worker)?;
        }
        writeln!(f)?;
        for node in &self.nodes {
            show_remarks(f, node)?;
        }
        writeln!(
            f,
            "{:.1} s, {:.0} entries a second, {:.0} times as fast as it was recorded",
            self.seconds, self.entries_a_second, self.times_real_time
        )?;
        let faults = self.nodes.iter().filter_map(|node| node.fault.as_ref());
        let of_workers = self.workers.iter();
        for fault in faults.chain(of_workers.filter_map(|worker| worker.fault.as_ref())) {
            writeln!(f, "DOES NOT HOLD: {fault}")?;
        }
        match self.holds {
            true => writeln!(
                f,
                "holds: signatures, parents, commit rule, fair order, reveals, headers, hash chain, certificates{}",
                match self.workers.is_empty() {
                    true => "",
                    false => ", and what was settled is that, each batch once",
                }
            ),
            false => Ok(()),
        }
    }
}

fn show_node(f: &mut fmt::Formatter<'_>, node: &NodeReport) -> fmt::Result {
    let figures = &node.figures;
    writeln!(
        f,
        "{:<12}{:>10}{:>10}{:>10}{:>10}{:>10}{:>8}{:>8}{:>9.2}",
        node.authority.map_or("?".to_owned(), |of| of.to_string()),
        figures.vertices,
        figures.anchors,
        figures.batches,
        figures.entries,
        figures.revealed,
        figures.open,
        figures.void,
        node.seconds
    )
}

fn show_worker(f: &mut fmt::Formatter<'_>, worker: &WorkerReport) -> fmt::Result {
    let folder = worker.folder.file_name().unwrap_or_default();
    let (folder, before) = (folder.to_string_lossy(), worker.before);
    write!(
        f,
        "{folder:<32}{:>10}{:>10}",
        worker.batches, worker.entries
    )?;
    if before > 0 {
        write!(f, "  the first {before} by the hash chain alone")?;
    }
    if worker.certificates > 0 {
        let (certificates, covered) = (worker.certificates, worker.on_certificates);
        write!(
            f,
            "  {certificates} certificates hold; {covered} batches waited for one"
        )?;
    }
    if worker.words > 0 {
        let (words, covered) = (worker.words, worker.on_words);
        write!(
            f,
            "  {words} times the words of f + 1 authorities hold; {covered} batches waited for them"
        )?;
    }
    writeln!(f)
}

/// What a reader should know of a journal beside its figures.
fn show_remarks(f: &mut fmt::Formatter<'_>, node: &NodeReport) -> fmt::Result {
    let Some(authority) = node.authority else {
        return writeln!(f, "{}: nothing was recorded", node.folder.display());
    };
    let mut remark = |what: String| writeln!(f, "authority {authority}: {what}");
    if node.is_in_use {
        remark("in use by a running process: this is how far it was just now".to_owned())?;
    }
    for trusted in &node.trusted {
        remark(trust(trusted))?;
    }
    let figures = &node.figures;
    if figures.batches_taken > 0 {
        let (batches, entries) = (figures.batches_taken, figures.entries_taken);
        remark(format!(
            "{batches} batches with {entries} entries came from peers: their order is not recomputed from this journal"
        ))?;
    }
    if figures.certificates > 0 {
        let (count, certified) = (figures.certificates, figures.certified);
        let unplaced = match figures.certificates_unplaced {
            0 => String::new(),
            old => format!("; {old} of them are of batches before those checked here"),
        };
        remark(format!(
            "{count} certificates hold and cover {certified} batches{unplaced}"
        ))?;
    }
    if figures.void_vouched > 0 {
        let count = figures.void_vouched;
        remark(format!(
            "{count} void entries have no share messages here; f + 1 authorities vouch for their batches"
        ))?;
    }
    if figures.evidence > 0 || !node.faulty.is_empty() {
        let (count, faulty) = (figures.evidence, &node.faulty);
        remark(format!(
            "{count} pieces of evidence hold; the vertices of {faulty:?} contradict each other"
        ))?;
    }
    if figures.evidence_unjudged > 0 {
        let count = figures.evidence_unjudged;
        remark(format!(
            "{count} pieces of evidence are of shares for sealing keys that are not known here: not judged"
        ))?;
    }
    if node.holds && node.unrecorded_batches + node.unrecorded_anchors > 0 {
        let (batches, anchors) = (node.unrecorded_batches, node.unrecorded_anchors);
        remark(format!(
            "at the end {anchors} anchors are decided and {batches} batches ordered that are not recorded yet"
        ))?;
    }
    if let Some(torn) = &node.torn {
        remark(format!("a tail that never became durable begins in {torn}"))?;
    }
    Ok(())
}

fn trust(trusted: &Trusted) -> String {
    let seq = trusted.seq;
    let from = match trusted.from {
        TrustedFrom::Snapshot => "its own snapshot (the journal before it was removed)",
        TrustedFrom::Peer => "a peer (it had been away)",
    };
    let vouched = match trusted.is_vouched {
        true => "f + 1 authorities have signed its header or a later one",
        false => "NOBODY in this journal vouches for it",
    };
    format!("the check begins behind batch {seq}, whose state is from {from}; {vouched}")
}

impl fmt::Display for PlacedFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.rule)?;
        if let Some(seq) = self.seq {
            write!(f, "batch {seq}, ")?;
        }
        if let Some(entry) = self.entry {
            write!(f, "entry {entry}, ")?;
        }
        write!(f, "{} ({}", self.what, self.file.display())?;
        if let Some(offset) = self.offset {
            write!(f, " at byte {offset}")?;
        }
        if let Some(record) = self.record {
            write!(f, ", record {record}")?;
        }
        write!(f, ")")
    }
}
