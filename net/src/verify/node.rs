//! One node's journal, streamed through the engine's verifier.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use fairlane_client::committee_file::Roster;
use fairlane_engine::committee::Committee;
use fairlane_engine::effect::{Record, SnapshotPart};
use fairlane_engine::engine::snapshot::newest_snapshot;
use fairlane_engine::seal::SealingKey;
use fairlane_engine::types::BatchSeq;
use fairlane_engine::verify::{Fault, Figures, Trusted, Verified, Verifier};
use serde::Serialize;

use crate::journal::{FolderLock, JournalError, JournalReader, Kind};
use crate::recovery::to_engine;
use crate::testnet::{COMMITTEE_FILE, system_entropy};

use super::chain::{Chain, Seen};

/// What records are held to.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) committee: Arc<Committee>,
    /// The sealing key, where a dealer made it.
    pub(super) dealt: Option<SealingKey>,
}

impl Rules {
    /// Reads the committee file: `named`, or the one in the folder or above. Gives its path, too.
    ///
    /// Errors: it is not there, or none.
    pub(super) fn load(data: &Path, named: Option<&Path>) -> anyhow::Result<(PathBuf, Self)> {
        let path = match named {
            Some(path) => path.to_path_buf(),
            None => {
                let above = std::path::absolute(data).ok();
                let above = above.as_deref().and_then(Path::parent);
                let folders = [Some(data), above].into_iter().flatten();
                let mut files = folders.map(|folder| folder.join(COMMITTEE_FILE));
                let found = files.find(|path| path.is_file());
                found.ok_or_else(|| {
                    anyhow::anyhow!(
                        "there is no {COMMITTEE_FILE} in {} or above: name the committee file with --committee",
                        data.display()
                    )
                })?
            }
        };
        let roster = Roster::load(&path)?;
        let (committee, key) = (Arc::new(roster.committee), roster.sealing_key);
        anyhow::ensure!(
            key.is_some() || committee.key_plan().is_some(),
            "{} has no sealing key, and its committee makes none",
            path.display()
        );
        // A key in the file of a committee that makes its keys itself is for clients: they follow from the records.
        let dealt = key.filter(|_| committee.key_plan().is_none());
        Ok((path, Self { committee, dealt }))
    }
}

/// What was found in one journal.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct NodeReport {
    /// Its folder.
    pub(super) folder: PathBuf,
    /// Whose it is; none in a journal without a record.
    pub(super) authority: Option<u8>,
    /// Whether everything in it holds.
    pub(super) holds: bool,
    /// The first thing that is wrong.
    pub(super) fault: Option<PlacedFault>,
    /// How much was checked.
    pub(super) figures: Figures,
    /// Seq of the first batch that was recomputed.
    pub(super) first_seq: Option<u64>,
    /// One above the seq of the last.
    pub(super) next_seq: u64,
    /// Up to how many batches f + 1 authorities' signed vertices vouch for.
    pub(super) vouched: u64,
    /// States that were not recomputed.
    pub(super) trusted: Vec<Trusted>,
    /// Batches that the order gives and that are not recorded yet.
    pub(super) unrecorded_batches: u64,
    /// Anchors that the vertices decide and that are not recorded yet.
    pub(super) unrecorded_anchors: u64,
    /// Authorities whose vertices contradict each other.
    pub(super) faulty: Vec<u8>,
    /// Consensus time from the first anchor to the last, seconds.
    pub(super) recorded_s: f64,
    /// Where a tail begins that a crash tore, or that is being written.
    pub(super) torn: Option<String>,
    /// Whether a process holds the folder: then this is how far it was.
    pub(super) is_in_use: bool,
    /// How long it took, seconds.
    pub(super) seconds: f64,
}

/// The first thing that is wrong in a source, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct PlacedFault {
    /// The rule that does not hold.
    pub(super) rule: String,
    /// What is wrong, in words.
    pub(super) what: String,
    /// The batch, where it is about one.
    pub(super) seq: Option<u64>,
    /// The entry in it, from 0, where it is about one.
    pub(super) entry: Option<u32>,
    /// The file.
    pub(super) file: PathBuf,
    /// Offset of the record in it, bytes; none where the record was passed already.
    pub(super) offset: Option<u64>,
    /// Number of the record, from 0 over the life of the journal.
    pub(super) record: Option<u64>,
}

/// Why a journal is not read to its end.
enum Stop {
    /// Something in it is wrong.
    Fault(Box<PlacedFault>),
    /// It cannot be read.
    Unreadable(anyhow::Error),
}

impl Stop {
    fn fault(fault: PlacedFault) -> Self {
        Self::Fault(Box::new(fault))
    }
}

/// Number of the last part of a snapshot, and the bodies of all its parts.
type Snapshot = (u64, Vec<Arc<[u8]>>);

/// Verifies the journal in `folder`. What is wrong in it is in the result.
///
/// Errors: it cannot be read, or a version wrote it that is not known.
pub(super) fn verify(
    folder: &Path,
    rules: &Rules,
    (chain, seen): (&Chain, Option<&Seen>),
) -> anyhow::Result<NodeReport> {
    let start = Instant::now();
    let mut report = NodeReport {
        folder: folder.to_path_buf(),
        is_in_use: FolderLock::is_held(folder),
        ..NodeReport::default()
    };
    let reading = Reading {
        folder,
        rules,
        chain,
        seen,
    };
    match reading.run(&mut report) {
        Ok(()) => report.holds = true,
        Err(Stop::Fault(fault)) => report.fault = Some(*fault),
        Err(Stop::Unreadable(error)) => return Err(error),
    }
    report.seconds = start.elapsed().as_secs_f64();
    Ok(report)
}

struct Reading<'a> {
    folder: &'a Path,
    rules: &'a Rules,
    chain: &'a Chain,
    /// Where other journals are looked at, too.
    seen: Option<&'a Seen>,
}

impl Reading<'_> {
    fn run(&self, report: &mut NodeReport) -> Result<(), Stop> {
        let mut reader = self.open()?;
        let first = reader.try_next().map_err(|error| self.unread(error))?;
        let Some(first) = first.map(|record| record.number) else {
            return Ok(());
        };
        let identity = reader.identity();
        let identity = identity.expect("a record stands behind a segment's header");
        report.authority = Some(identity.authority.0);
        let committee = &self.rules.committee;
        if identity.chain_id != committee.chain_id
            || !committee.thresholds().has_member(identity.authority)
        {
            let what = format!("it is of {identity}, and the committee file is not");
            return Err(self.wrong(what));
        }
        let secret = system_entropy().map_err(|error| Stop::Unreadable(error.into()))?;
        let (own, dealt) = (identity.authority, self.rules.dealt.clone());
        let mut verifier = Verifier::new(committee.clone(), own, dealt, secret);
        if let Some(seen) = self.seen {
            verifier = verifier.with_known(Box::new(seen.clone()));
        }
        let mut from = 0;
        if first > 0 {
            let (number, snapshot) = self.first_snapshot(first)?;
            let part = SnapshotPart::decode(&snapshot[0]);
            from = part.map_or(0, |part| part.tail_from.saturating_sub(1));
            let started = verifier.start_from(number, &snapshot);
            started.map_err(|fault| Stop::fault(self.place(&fault, None)))?;
        }
        // The first record has been read.
        reader = self.open()?;
        reader.seek(from).map_err(|error| self.unread(error))?;
        let read = self.stream(&mut reader, &mut verifier);
        report.figures = *verifier.figures();
        report.next_seq = verifier.settled().0.0;
        report.torn = reader.end().and_then(|end| {
            let torn = end.torn.as_ref()?;
            Some(format!("{} at byte {}", torn.path.display(), torn.offset))
        });
        read?;
        let verified = verifier.finish();
        let verified = verified.map_err(|fault| Stop::fault(self.place(&fault, None)))?;
        report.take(verified);
        Ok(())
    }

    fn open(&self) -> Result<JournalReader, Stop> {
        JournalReader::open(self.folder).map_err(|error| self.unread(error))
    }

    fn stream(&self, reader: &mut JournalReader, verifier: &mut Verifier) -> Result<(), Stop> {
        loop {
            let next = reader.try_next().map_err(|error| self.unread(error))?;
            let Some(record) = next else {
                return Ok(());
            };
            let (number, epoch) = (record.number, record.epoch);
            let record = to_engine(record.kind, record.body.into());
            let place = || {
                reader
                    .place()
                    .map(|(path, offset)| (path.to_path_buf(), offset))
            };
            if epoch != self.rules.committee.epoch {
                let mut fault = self.fault("record", format!("it is of epoch {}", epoch.0));
                fault.record = Some(number);
                return Err(Stop::fault(fault.at(place())));
            }
            let before = verifier.settled().0;
            let taken = verifier.take(number, &record);
            taken.map_err(|fault| {
                let is_here = fault.record == number;
                Stop::fault(self.place(&fault, place().filter(|_| is_here)))
            })?;
            let (next, hash) = verifier.settled();
            if next != before {
                let seq = next.0 - 1;
                let agrees = self.chain.agree(seq, hash).map_err(Stop::Unreadable)?;
                if !agrees {
                    let what = "another journal in this folder holds another header for it";
                    let mut fault = self.fault("agreement", what.to_owned());
                    (fault.seq, fault.record) = (Some(seq), Some(number));
                    return Err(Stop::fault(fault.at(place())));
                }
            }
        }
    }

    /// The first whole snapshot whose tail is here, and the number of its last part; `first` is the first record there is.
    fn first_snapshot(&self, first: u64) -> Result<Snapshot, Stop> {
        let mut reader = self.open()?;
        let mut parts: Vec<Record> = Vec::new();
        while let Some(record) = reader.try_next().map_err(|error| self.unread(error))? {
            if record.kind != Kind::Snapshot {
                continue;
            }
            let number = record.number;
            if SnapshotPart::decode(record.body).is_ok_and(|part| part.index == 0) {
                parts.clear();
            }
            parts.push(Record::Snapshot(record.body.into()));
            let Some(snapshot) = newest_snapshot(&parts) else {
                continue;
            };
            let part = SnapshotPart::decode(&snapshot[0]);
            if part.is_ok_and(|part| part.tail_from > first) {
                return Ok((number, snapshot));
            }
        }
        let what = format!("it begins with record {first}, and no snapshot in it starts there");
        Err(self.wrong(what))
    }

    fn unread(&self, error: JournalError) -> Stop {
        match error {
            JournalError::Corrupt { .. } | JournalError::Foreign { .. } => {
                self.wrong(error.to_string())
            }
            other => Stop::Unreadable(other.into()),
        }
    }

    /// The journal itself is no whole one, or somebody else's.
    fn wrong(&self, what: String) -> Stop {
        Stop::fault(self.fault("journal", what))
    }

    fn fault(&self, rule: &str, what: String) -> PlacedFault {
        PlacedFault {
            rule: rule.to_owned(),
            what,
            seq: None,
            entry: None,
            file: self.folder.to_path_buf(),
            offset: None,
            record: None,
        }
    }

    fn place(&self, fault: &Fault, place: Option<(PathBuf, u64)>) -> PlacedFault {
        PlacedFault {
            seq: fault.seq.map(|BatchSeq(seq)| seq),
            entry: fault.entry,
            record: Some(fault.record),
            ..self.fault(fault.rule.name(), fault.what.clone())
        }
        .at(place)
    }
}

impl PlacedFault {
    fn at(mut self, place: Option<(PathBuf, u64)>) -> Self {
        if let Some((file, offset)) = place {
            (self.file, self.offset) = (file, Some(offset));
        }
        self
    }
}

impl NodeReport {
    fn take(&mut self, verified: Verified) {
        self.figures = verified.figures;
        self.first_seq = verified.span.map(|(first, _)| first.0);
        self.vouched = verified.vouched;
        self.trusted = verified.trusted;
        self.unrecorded_batches = verified.unrecorded_batches;
        self.unrecorded_anchors = verified.unrecorded_anchors;
        self.faulty = verified.faulty.iter().map(|author| author.0).collect();
        let between = |(first, last): (_, _)| us(last) - us(first);
        self.recorded_s = verified.times.map_or(0.0, between);
    }
}

fn us(time: fairlane_engine::types::TimestampUs) -> f64 {
    time.0 as f64 / 1e6
}
