//! A node's engine from its journal, read once before anything else starts.
//!
//! The journal of a new node is empty, and its engine new. Otherwise the engine takes in its own records (see
//! [`Engine::recover`] for what that keeps and why a torn tail takes nothing from anybody); what it must say first is carried
//! out when the node runs. Records are streamed: memory holds one segment beside the engine. Where the journal holds a snapshot,
//! only that and the tail behind it are read.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use fairlane_engine::committee::Committee;
use fairlane_engine::config::EngineConfig;
use fairlane_engine::effect::{Effect, Record};
use fairlane_engine::engine::{Engine, Recorded};
use fairlane_engine::keyring::EngineKeys;
use fairlane_engine::types::{AuthorityIndex, TimestampUs};

use crate::journal::{FolderLock, JournalError, Kind, StoppedJournal};

/// What makes an engine, besides its records.
pub(crate) struct Recovery {
    pub(crate) committee: Arc<Committee>,
    pub(crate) own: AuthorityIndex,
    pub(crate) keys: EngineKeys,
    pub(crate) timers: EngineConfig,
    /// When it starts.
    pub(crate) now: TimestampUs,
}

/// An engine, and what it asks for first.
pub(crate) type Started = (Engine, Vec<Effect>);

impl Recovery {
    /// The engine, and what it asks for first. Says on stderr how far the journal led.
    ///
    /// Errors: the journal is damaged, somebody else's, or its records do not fit together; which one, and where it lies.
    pub(crate) fn run(self, journal: &mut StoppedJournal) -> anyhow::Result<(Engine, Vec<Effect>)> {
        let (own, start) = (self.own, Instant::now());
        let (snapshot, before) = journal.seek_snapshot()?.unwrap_or_default();
        let mut records = Records {
            journal,
            count: 0,
            bytes: 0,
            failure: None,
        };
        let mut effects = Vec::new();
        let recovered = Engine::recover_from(
            self.committee,
            self.own,
            self.keys,
            self.timers,
            self.now,
            Recorded {
                snapshot,
                before,
                records: &mut records,
            },
            &mut effects,
        );
        if let Some(failure) = records.failure {
            return Err(failure.into());
        }
        let (count, bytes) = (records.count, records.bytes);
        let engine = recovered.map_err(|error| match journal.place() {
            Some((path, offset)) => anyhow::anyhow!(
                "{} at byte {offset}: {error}; restore the journal from a copy, or start anew with new keys",
                path.display()
            ),
            None => error.into(),
        })?;
        if count > 0 {
            let from = match before {
                0 => String::new(),
                _ => format!("a snapshot and, behind record {before}, "),
            };
            eprintln!(
                "{own}: recovered from {from}{count} records ({:.1} MB) in {} ms: next round {}, next batch {}",
                bytes as f64 / 1e6,
                start.elapsed().as_millis(),
                engine.round().0,
                engine.next_open_seq().0,
            );
        }
        Ok((engine, effects))
    }
}

/// Errors: the folder is not empty and holds no journal: it is somebody else's.
pub(crate) fn check_folder(data: &Path) -> anyhow::Result<()> {
    let Ok(entries) = std::fs::read_dir(data) else {
        return Ok(());
    };
    let names: Vec<String> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    // A node that died before its first segment leaves its lock, or its socket.
    let is_own = |name: &String| {
        name.ends_with(".seg") || name.ends_with(".sock") || name == FolderLock::NAME
    };
    anyhow::ensure!(
        names.is_empty() || names.iter().any(is_own),
        "the data folder {} holds other files and no journal: give the node an empty folder, or its own",
        data.display()
    );
    Ok(())
}

/// The journal's records as the engine knows them, up to the end or a failure.
struct Records<'a> {
    journal: &'a mut StoppedJournal,
    count: u64,
    bytes: u64,
    failure: Option<JournalError>,
}

impl Iterator for Records<'_> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        match self.journal.try_next() {
            Ok(record) => {
                let record = record?;
                self.count += 1;
                self.bytes += record.body.len() as u64;
                Some(to_engine(record.kind, record.body.into()))
            }
            Err(failure) => {
                self.failure = Some(failure);
                None
            }
        }
    }
}

/// A journal's record for the engine. Panics on the journal's own kinds, which its reader keeps to itself.
pub(crate) fn to_engine(kind: Kind, body: Arc<[u8]>) -> Record {
    match kind {
        Kind::Envelope => Record::Envelope(body),
        Kind::OwnVertex => Record::OwnVertex(body),
        Kind::Vertex => Record::Vertex(body),
        Kind::Anchor => Record::Anchor(body),
        Kind::Batch => Record::Batch(body),
        Kind::Share => Record::Share(body),
        Kind::Evidence => Record::Evidence(body),
        Kind::State => Record::State(body),
        Kind::Snapshot => Record::Snapshot(body),
        Kind::Certificate => Record::Certificate(body),
        Kind::Header | Kind::Durable => unreachable!("the reader gives no records of its own"),
    }
}

/// An engine's record for the journal.
pub(crate) fn to_journal(record: Record) -> (Kind, Arc<[u8]>) {
    match record {
        Record::Envelope(body) => (Kind::Envelope, body),
        Record::OwnVertex(body) => (Kind::OwnVertex, body),
        Record::Vertex(body) => (Kind::Vertex, body),
        Record::Anchor(body) => (Kind::Anchor, body),
        Record::Batch(body) => (Kind::Batch, body),
        Record::Share(body) => (Kind::Share, body),
        Record::Evidence(body) => (Kind::Evidence, body),
        Record::State(body) => (Kind::State, body),
        Record::Snapshot(body) => (Kind::Snapshot, body),
        Record::Certificate(body) => (Kind::Certificate, body),
    }
}

#[cfg(test)]
#[path = "recovery_tests.rs"]
mod tests;
