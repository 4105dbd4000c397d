//! `fairlane journal inspect` and `check`: what stands in a data folder, and whether it is whole.
//!
//! Reads a node's folder or a settlement worker's, whichever it is given, and never writes there. Beside a running
//! process it tells how far the records went when it came to their end.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::journal::{JournalSurvey, Range};
use crate::localnet::check_json;
use crate::settle::SettleSurvey;

/// What to do with a journal.
#[derive(Debug, clap::Subcommand)]
pub enum JournalCommand {
    /// Say what is in a journal, file by file and kind by kind, and whether it is whole.
    Inspect(JournalArguments),
    /// Say whether a journal is whole, and if not, where the flaw is and what to do.
    Check(JournalArguments),
}

/// Which journal.
#[derive(Debug, clap::Args)]
pub struct JournalArguments {
    /// The data folder of a node (it holds journal-*.seg) or of a settlement worker (it holds settled.log).
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Write what was found to FILE as JSON, too; its folder must be there.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Reads the journal and prints; true when it is whole.
///
/// Errors: the folder holds no journal, or one that cannot be read or judged.
pub fn run(command: &JournalCommand) -> anyhow::Result<bool> {
    let (JournalCommand::Inspect(arguments) | JournalCommand::Check(arguments)) = command;
    check_json(arguments.json.as_deref())?;
    let found = Found::read(&arguments.data)?;
    if matches!(command, JournalCommand::Inspect(_)) {
        print!("{found}");
    }
    print!("{}", Verdict(&found));
    if let Some(path) = &arguments.json {
        let json = serde_json::to_string_pretty(&found)? + "\n";
        std::fs::write(path, json)
            .map_err(|error| anyhow::anyhow!("cannot write {}: {error}", path.display()))?;
    }
    Ok(found.is_whole())
}

/// What a folder holds.
#[derive(Debug, Serialize)]
#[serde(tag = "journal_of", rename_all = "lowercase")]
enum Found {
    Node(Box<JournalSurvey>),
    Worker(Box<SettleSurvey>),
}

impl Found {
    fn read(data: &Path) -> anyhow::Result<Self> {
        let (node, worker) = (JournalSurvey::is_there(data), SettleSurvey::is_there(data));
        match (node, worker) {
            (true, false) => Ok(Self::Node(Box::new(JournalSurvey::take(data)?))),
            (false, true) => Ok(Self::Worker(Box::new(SettleSurvey::take(data)?))),
            (true, true) => anyhow::bail!(
                "{} holds both a node's journal and a worker's: each needs a folder of its own",
                data.display()
            ),
            (false, false) => anyhow::bail!("{}", nothing_there(data)),
        }
    }

    const fn is_whole(&self) -> bool {
        self.flaws().is_empty()
    }

    const fn flaws(&self) -> &Vec<String> {
        match self {
            Self::Node(survey) => &survey.flaws,
            Self::Worker(survey) => &survey.flaws,
        }
    }

    const fn torn(&self) -> Option<&String> {
        match self {
            Self::Node(survey) => survey.torn.as_ref(),
            Self::Worker(survey) => survey.torn.as_ref(),
        }
    }

    const fn is_in_use(&self) -> bool {
        match self {
            Self::Node(survey) => survey.is_in_use,
            Self::Worker(survey) => survey.is_in_use,
        }
    }
}

/// Names the folders below that do hold one: `localnet --data` and `testnet --out` are made of them.
fn nothing_there(data: &Path) -> String {
    let shown = data.display();
    let Ok(entries) = std::fs::read_dir(data) else {
        return format!("{shown} is not a folder that can be read");
    };
    let mut below: Vec<String> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| JournalSurvey::is_there(path) || SettleSurvey::is_there(path))
        .map(|path| path.display().to_string())
        .collect();
    below.sort();
    match below.is_empty() {
        true => format!(
            "{shown} holds no journal: name the data folder of a node or of a settlement worker"
        ),
        false => format!(
            "{shown} holds no journal itself: name one of {}",
            below.join(", ")
        ),
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(survey) => show_node(f, survey),
            Self::Worker(survey) => show_worker(f, survey),
        }
    }
}

fn show_node(f: &mut fmt::Formatter<'_>, survey: &JournalSurvey) -> fmt::Result {
    match (survey.authority, survey.chain_id) {
        (Some(authority), Some(chain)) => writeln!(
            f,
            "a node's journal: authority {authority} of chain {chain}, format {}",
            survey.format
        )?,
        _ => writeln!(
            f,
            "a node's journal without a header: nothing was ever recorded"
        )?,
    }
    writeln!(
        f,
        "{} records in {} bytes, {} bytes of files",
        survey.records, survey.record_bytes, survey.file_bytes
    )?;
    if survey.first_record > 0 {
        writeln!(
            f,
            "begins with record {}: those before were removed",
            survey.first_record
        )?;
    }
    writeln!(
        f,
        "\n{:<24}{:>14}{:>10}{:>14}{:>14}",
        "segment", "first record", "records", "bytes", "of file"
    )?;
    for of in &survey.segments {
        writeln!(
            f,
            "{:<24}{:>14}{:>10}{:>14}{:>14}",
            of.file, of.first_record, of.records, of.record_bytes, of.file_bytes
        )?;
    }
    writeln!(f, "\n{:<24}{:>10}{:>14}", "kind", "records", "bytes")?;
    for (name, of) in &survey.kinds {
        writeln!(f, "{name:<24}{:>10}{:>14}", of.records, of.bytes)?;
    }
    writeln!(f, "\nepochs          {}", span(survey.epochs))?;
    writeln!(f, "rounds          {}", span(survey.rounds))?;
    writeln!(
        f,
        "own vertices    rounds {}, listing {} envelopes",
        span(survey.own_rounds),
        survey.listed
    )?;
    writeln!(f, "anchors         {}", span(survey.anchors))?;
    writeln!(
        f,
        "batches opened  {}, with {} entries",
        span(survey.batches),
        survey.batch_entries
    )?;
    writeln!(
        f,
        "settled cursor  {}, by the newest own vertex\n",
        survey.settled_said
    )
}

fn show_worker(f: &mut fmt::Formatter<'_>, survey: &SettleSurvey) -> fmt::Result {
    match (survey.rollup_id, survey.chain_id) {
        (Some(rollup), Some(chain)) => writeln!(
            f,
            "a settlement worker's journal: rollup {rollup} of chain {chain}, format {}",
            survey.format
        )?,
        _ => writeln!(
            f,
            "a settlement worker's journal without a head: nothing was ever settled"
        )?,
    }
    writeln!(
        f,
        "{} batches in {} bytes, {} bytes of file\n",
        survey.batches, survey.record_bytes, survey.file_bytes
    )?;
    writeln!(f, "epochs          {}", span(survey.epochs))?;
    writeln!(f, "seqs            {}", span(survey.seqs))?;
    writeln!(f, "settled cursor  {}", survey.batches)?;
    writeln!(
        f,
        "entries         {}, of the own rollup {}, void {}",
        survey.entries, survey.own_entries, survey.void
    )?;
    writeln!(f, "payload         {} bytes", survey.payload_bytes)?;
    writeln!(
        f,
        "finality        {} batches on the word of the own node, {} on those of f + 1 authorities, {} on certificates; \
         {} times such words, {} certificates; {} batches not covered yet",
        survey.on_nodes_word,
        survey.on_words,
        survey.on_certificates,
        survey.words,
        survey.certificates,
        survey.uncovered
    )?;
    let last = survey.last_hash.as_deref().unwrap_or("none");
    writeln!(f, "last header     {last}\n")
}

fn span(range: Option<Range>) -> String {
    match range {
        Some(Range { first, last }) => format!("{first} to {last}"),
        None => "none".into(),
    }
}

/// The last lines: whole or not.
struct Verdict<'a>(&'a Found);

impl fmt::Display for Verdict<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = self.0;
        if found.is_in_use() {
            writeln!(
                f,
                "in use by a running process: this is how far it was just now"
            )?;
        }
        for flaw in found.flaws() {
            writeln!(f, "NOT WHOLE: {flaw}")?;
        }
        if let Some(torn) = found.torn() {
            let meaning = match found.is_in_use() {
                true => "it is being written",
                false => "it never became durable; the next start cuts it",
            };
            writeln!(f, "torn tail: {torn}; {meaning}")?;
        }
        match found.is_whole() {
            true => writeln!(
                f,
                "whole: every checksum holds, nothing is missing in between"
            ),
            false => Ok(()),
        }
    }
}
