//! A settlement worker's journal against the chain that the nodes' journals give.
//!
//! Each batch must hold against its own header, each header must follow the one before, and its hash must be the one that
//! was recomputed. Certificates that it keeps must be of that chain and signed by at least q. Batches before the first that any journal here holds hang on that by the hash chain.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;

use crate::journal::JournalError;
use crate::settle::{Finality, Proof, SettleError, SettleReader};

use super::chain::Chain;
use super::node::{PlacedFault, Rules};

/// What was found in one worker's journal.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct WorkerReport {
    /// Its folder.
    pub(super) folder: PathBuf,
    /// Whether everything in it holds.
    pub(super) holds: bool,
    /// The first thing that is wrong.
    pub(super) fault: Option<PlacedFault>,
    /// Batches settled, each once.
    pub(super) batches: u64,
    /// Entries in them.
    pub(super) entries: u64,
    /// Of the batches those before the first that a journal here holds: they hang on that by the hash chain.
    pub(super) before: u64,
    /// Of the batches those settled on the word of the worker's own node.
    pub(super) on_nodes_word: u64,
    /// Of the batches those settled because the words of f + 1 authorities cover them.
    pub(super) on_words: u64,
    /// Of the batches those settled because a certificate covers them.
    pub(super) on_certificates: u64,
    /// Certificates that hold.
    pub(super) certificates: u64,
    /// Sets of words of f + 1 authorities that hold.
    pub(super) words: u64,
    /// Whether bytes follow the last whole record: a write that a crash cut off, or that is under way.
    pub(super) is_torn: bool,
    /// How long it took, seconds.
    pub(super) seconds: f64,
}

/// Verifies the journal in `folder`. What is wrong in it is in the result. Errors: it cannot be read.
pub(super) fn verify(folder: &Path, rules: &Rules, chain: &Chain) -> anyhow::Result<WorkerReport> {
    let start = Instant::now();
    let mut report = WorkerReport {
        folder: folder.to_path_buf(),
        ..WorkerReport::default()
    };
    let read = read(folder, rules, chain, &mut report);
    match read.and_then(|()| check_proofs(folder, rules, chain, &mut report)) {
        Ok(()) => report.holds = true,
        Err(Stop::Wrong(seq, what)) => {
            report.fault = Some(PlacedFault {
                rule: "settlement".to_owned(),
                what,
                seq,
                entry: None,
                file: folder.to_path_buf(),
                offset: None,
                record: None,
            });
        }
        Err(Stop::Unreadable(error)) => return Err(error),
    }
    report.seconds = start.elapsed().as_secs_f64();
    Ok(report)
}

enum Stop {
    /// In this batch, where it is about one.
    Wrong(Option<u64>, String),
    Unreadable(anyhow::Error),
}

impl From<SettleError> for Stop {
    fn from(error: SettleError) -> Self {
        let what = error.to_string();
        match error {
            SettleError::Batch { seq, .. } => Self::Wrong(Some(seq), what),
            SettleError::Chain { seq, .. } => Self::Wrong(Some(seq.0), what),
            SettleError::File(JournalError::Corrupt { .. }) => Self::Wrong(None, what),
            other => Self::Unreadable(other.into()),
        }
    }
}

impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Self {
        Self::Unreadable(error)
    }
}

fn read(
    folder: &Path,
    rules: &Rules,
    chain: &Chain,
    report: &mut WorkerReport,
) -> Result<(), Stop> {
    let mut reader = SettleReader::open(folder)?;
    if let Some((of, rollup)) = reader.identity() {
        let committee = &rules.committee;
        let serves = committee.rollups.iter().any(|known| known.id == rollup);
        if of != committee.chain_id || !serves {
            let (chain, rollup) = (of.0, rollup.0);
            let what = format!(
                "it is of rollup {rollup} of chain {chain}, which the committee file is not"
            );
            return Err(Stop::Wrong(None, what));
        }
    }
    let mut is_met = false;
    while let Some(batch) = reader.try_next()? {
        let (seq, hash) = (batch.header().seq.0, batch.header().hash());
        let view = batch.view()?;
        match chain.find(seq)? {
            Some(recorded) if recorded == hash => is_met = true,
            Some(_) => {
                let what = "the nodes' journals hold another header for it";
                return Err(Stop::Wrong(Some(seq), what.to_owned()));
            }
            None if is_met => {
                let what = "it is settled, and no journal here holds it";
                return Err(Stop::Wrong(Some(seq), what.to_owned()));
            }
            None => report.before += 1,
        }
        report.batches += 1;
        report.entries += view.entries().len() as u64;
        *match batch.finality() {
            Finality::Node => &mut report.on_nodes_word,
            Finality::Validity => &mut report.on_words,
            Finality::Certificate => &mut report.on_certificates,
        } += 1;
    }
    report.is_torn = reader.is_torn();
    if report.batches > 0 && !is_met {
        let what = "nothing that is settled stands in a journal here";
        return Err(Stop::Wrong(None, what.to_owned()));
    }
    Ok(())
}

/// Holds certificates and words of authorities to the chain and to the committee's keys. They are read apart from the batches: what makes a batch
/// final stands behind it.
fn check_proofs(
    folder: &Path,
    rules: &Rules,
    chain: &Chain,
    report: &mut WorkerReport,
) -> Result<(), Stop> {
    let mut reader = SettleReader::open(folder)?;
    while let Some(proof) = reader.try_next_proof()? {
        let (called, count) = match proof {
            Proof::Certificate(_) => ("certificate", &mut report.certificates),
            Proof::Words(_) => ("words of f + 1 authorities", &mut report.words),
        };
        let verdict = proof.verify(&rules.committee);
        let seq = proof.covers().seq.0;
        verdict.map_err(|error| Stop::Wrong(Some(seq), format!("its {called}: {error}")))?;
        for named in proof.named() {
            let recorded = chain.find(named.seq.0)?;
            if recorded.is_some_and(|recorded| recorded != named.hash) {
                let what = format!("a header that its {called} names is another one");
                return Err(Stop::Wrong(Some(named.seq.0), what));
            }
        }
        *count += 1;
    }
    Ok(())
}
