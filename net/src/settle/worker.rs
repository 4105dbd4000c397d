//! The settlement worker: out of the ring, into the sink, in groups.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fairlane_engine::batch::validate;
use fairlane_engine::types::{ChainId, RollupId};

use super::feed::Feed;
use super::journal_sink::JournalSink;
use super::proof::{Proof, ProofError, ProofRule};
use super::{Finality, NodeKey, SettleError, Sink};
use crate::ring::{RecordKind, RingRecord};

/// What a worker needs to know.
#[derive(Clone, Debug)]
pub struct SettleConfig {
    /// The node's settlement socket; of no use to a remote worker.
    pub socket: PathBuf,
    /// The node, where it is on another machine.
    pub remote: Option<RemoteNode>,
    /// The chain.
    pub chain_id: ChainId,
    /// The rollup that this worker settles for.
    pub rollup_id: RollupId,
    /// Folder of the journal sink.
    pub sink_folder: PathBuf,
    /// What the worker waits for before a batch counts as settled.
    pub proofs: ProofRule,
}

/// A node on another machine.
#[derive(Clone, Debug)]
pub struct RemoteNode {
    /// Its settlement port.
    pub address: SocketAddr,
    /// What the two know each other by.
    pub key: NodeKey,
}

impl SettleConfig {
    /// What makes its batches final.
    pub const fn finality(&self) -> Finality {
        self.proofs.finality()
    }
}

/// What a worker has done in one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SettleReport {
    /// Batches settled.
    pub batches: u64,
    /// Entries in them that are of the worker's rollup.
    pub entries: u64,
    /// Batches that were settled before and met again.
    pub skipped: u64,
    /// Certificates that made batches final.
    pub certificates: u64,
    /// Times that the words of f + 1 authorities made batches final.
    pub words: u64,
    /// Syncs of the sink.
    pub syncs: u64,
    /// Times that the sink's disk was full.
    pub disk_full: u64,
    /// Why it ended.
    pub ended: Ended,
}

/// Why a worker ended without an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ended {
    /// The node hung up; everything that it had published is settled.
    #[default]
    NodeGone,
    /// The worker was told to stop; what it has taken is settled.
    Stopped,
}

/// Settles into the journal sink of `config` until the node hangs up and the ring is drained, or `stop` is set.
pub fn run(config: &SettleConfig, stop: &AtomicBool) -> Result<SettleReport, SettleError> {
    let sink = JournalSink::open(&config.sink_folder, config.chain_id, config.rollup_id)?;
    let mut sink = sink.with_finality(config.finality());
    run_with(config, &mut sink, stop, || ())
}

/// As [`run`], into any sink; `on_attached` is called once the node has handed over its ring.
pub fn run_with(
    config: &SettleConfig,
    sink: &mut impl Sink,
    stop: &AtomicBool,
    on_attached: impl FnOnce(),
) -> Result<SettleReport, SettleError> {
    let feed = Feed::connect(config, sink.settled_count())?;
    on_attached();
    Worker {
        config,
        feed,
        sink,
        report: SettleReport::default(),
    }
    .run(stop)
}

struct Worker<'a, S> {
    config: &'a SettleConfig,
    feed: Feed,
    sink: &'a mut S,
    report: SettleReport,
}

impl<S: Sink> Worker<'_, S> {
    fn run(mut self, stop: &AtomicBool) -> Result<SettleReport, SettleError> {
        // Tells a node that was restarted what is settled already.
        self.feed.advance(self.sink.final_count())?;
        loop {
            // Asked before the ring: what was published before the hang-up is then seen below.
            let hung_up = self.feed.has_hung_up()?;
            if stop.load(Ordering::Acquire) {
                // What has been published by now, at most a ring; not what a node that goes on publishes meanwhile.
                for _ in 0..GROUPS_AT_STOP_MAX {
                    if !self.settle_group(stop)? {
                        break;
                    }
                }
                return Ok(SettleReport {
                    ended: Ended::Stopped,
                    ..self.report
                });
            }
            if self.settle_group(stop)? {
                continue;
            }
            if hung_up {
                return Ok(SettleReport {
                    ended: Ended::NodeGone,
                    ..self.report
                });
            }
            self.feed.wait()?;
        }
    }

    /// Takes what is available, up to a bound, with one sync; false when there was nothing.
    fn settle_group(&mut self, stop: &AtomicBool) -> Result<bool, SettleError> {
        let (mut taken, mut appended, mut bytes) = (0, 0, 0);
        let (mut certificates, mut words) = (0, 0);
        // What was appended but is not synced yet still counts as the end of the chain: the sink checks that.
        while bytes < GROUP_LEN_MAX {
            let Some(record) = self.feed.try_next()? else {
                break;
            };
            taken += 1;
            bytes += record.bytes.len();
            if record.kind == RecordKind::Certificate {
                match take_proof(self.sink, record.bytes, &self.config.proofs)? {
                    Some(Proof::Certificate(_)) => certificates += 1,
                    Some(Proof::Words(_)) => words += 1,
                    None => {}
                }
                continue;
            }
            match settle_record(self.sink, record, self.config.rollup_id)? {
                Some(entries) => {
                    appended += 1;
                    self.report.entries += entries;
                }
                None => self.report.skipped += 1,
            }
        }
        if taken == 0 {
            return Ok(false);
        }
        if appended + certificates + words > 0 {
            self.sync(stop)?;
            self.report.syncs += 1;
            self.report.batches += appended;
            self.report.certificates += certificates;
            self.report.words += words;
        }
        self.feed.advance(self.sink.final_count())?;
        Ok(true)
    }

    /// Syncs the sink; while its disk is full it waits, and the node meanwhile keeps in its journal what comes next.
    ///
    /// Errors: any other failure, or the disk is full still when the worker is to stop.
    fn sync(&mut self, stop: &AtomicBool) -> Result<(), SettleError> {
        let mut is_said = false;
        loop {
            match self.sink.sync() {
                Err(error) if error.is_disk_full() && !stop.load(Ordering::Acquire) => {
                    if !std::mem::replace(&mut is_said, true) {
                        self.report.disk_full += 1;
                        eprintln!("warning: {error}; settlement waits until there is room");
                    }
                    std::thread::sleep(ROOM_RETRY_INTERVAL);
                }
                outcome => {
                    if is_said && outcome.is_ok() {
                        eprintln!("there is room on the disk again: settlement goes on");
                    }
                    return outcome;
                }
            }
        }
    }
}

/// Checks a proof and hands it to the sink; none when nothing waits for it. What covers nothing new is not checked.
fn take_proof(
    sink: &mut impl Sink,
    bytes: &[u8],
    rule: &ProofRule,
) -> Result<Option<Proof>, SettleError> {
    if matches!(rule, ProofRule::Node) {
        return Ok(None);
    }
    let proof = Proof::decode(bytes).map_err(ProofError::from)?;
    if !rule.takes(&proof) || proof.covers().seq.0 < sink.final_count() {
        return Ok(None);
    }
    rule.check(&proof)?;
    Ok(sink.certify(&proof)?.then_some(proof))
}

/// Appends a batch unless it is settled: the count of its entries for `rollup_id`, or none when it was skipped.
fn settle_record(
    sink: &mut impl Sink,
    record: RingRecord<'_>,
    rollup_id: RollupId,
) -> Result<Option<u64>, SettleError> {
    let RingRecord { seq, bytes, .. } = record;
    let batch = validate(bytes).map_err(|source| SettleError::Batch { seq, source })?;
    let header = batch.header();
    let settled = sink.settled();
    let chain_error = |reason| {
        let settled = settled.map(|last| last.seq);
        SettleError::Chain {
            seq: header.seq,
            settled,
            reason,
        }
    };
    if header.seq.0 != seq {
        return Err(chain_error("the ring gives it another seq"));
    }
    if let Some(last) = settled
        && (header.epoch, header.seq) <= (last.epoch, last.seq)
    {
        if (header.epoch, header.seq) == (last.epoch, last.seq) && header != last {
            return Err(chain_error("another batch is settled under its seq"));
        }
        return Ok(None);
    }
    sink.append(&batch)?;
    let own = batch
        .entries()
        .filter(|entry| entry.rollup_id == rollup_id)
        .count();
    Ok(Some(own as u64))
}

/// Bytes of batches in one group, give or take one: beyond, a longer group gains nothing.
const GROUP_LEN_MAX: usize = 8 << 20;
/// Groups settled after being told to stop, at most.
const GROUPS_AT_STOP_MAX: usize = 64;
/// How soon a full disk is tried again.
const ROOM_RETRY_INTERVAL: Duration = Duration::from_millis(100);
