//! The command line of `fairlane-tuning`: what users type, and what the exit status means.
//!
//! Reports go to standard output, what went wrong to standard error. Bad input, or a machine that lacks what a command
//! needs, is said in one sentence with exit status 2.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::cpu_list;
use crate::tree::{Tree, Unread};

mod apply;
mod check;
mod look;
mod measure;
mod plan;

/// Reads, plans, tunes and measures the machine that a Fairlane authority runs on.
///
/// A first look, without any privilege and without changing anything: `fairlane-tuning check`. Then `plan` says which
/// cores to give to the node, `apply` (as root) sets what can be set and undone, and `measure` shows what the machine
/// is capable of, before and after.
#[derive(Debug, Parser)]
#[command(name = "fairlane-tuning", version, max_term_width = 100, after_help = EXIT_STATUS)]
struct Cli {
    /// Look at the copies of /sys and /proc under DIR instead of this machine's: another machine's, or a test's.
    #[arg(long, global = true, value_name = "DIR")]
    root: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read the machine and say, for each knob, what it is, what is wanted, why, and how much it matters.
    #[command(long_about = check::ABOUT)]
    Check(check::Arguments),
    /// Say which processors to start the node with, why these, and which stage will run where.
    #[command(long_about = plan::ABOUT)]
    Plan(plan::Arguments),
    /// Write what `check` offers to mend, recording what stood there before.
    #[command(long_about = apply::ABOUT)]
    Apply(apply::ApplyArguments),
    /// Take back what `apply` has written.
    #[command(long_about = apply::UNDO_ABOUT)]
    Undo(apply::UndoArguments),
    /// Measure what the machine can do: wake-ups, rings, loopback, disk, clock, jitter.
    #[command(long_about = measure::ABOUT)]
    Measure(measure::Arguments),
}

/// What a user did wrong, or what the machine lacks: one sentence, exit status 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unusable(pub(crate) String);

impl From<Unread> for Unusable {
    fn from(unread: Unread) -> Self {
        Self(format!("cannot read {unread}"))
    }
}

/// Parses the command line, runs it, and gives the exit status.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(Unusable(sentence)) => {
            eprintln!("fairlane-tuning: {sentence}");
            ExitCode::from(2)
        }
    }
}

fn run(cli: Cli) -> Result<bool, Unusable> {
    let tree = match &cli.root {
        None => Tree::of_this_machine(),
        Some(root) if root.is_dir() => Tree::under(root),
        Some(root) => {
            return Err(Unusable(format!(
                "--root {}: no such folder",
                root.display()
            )));
        }
    };
    match cli.command {
        Command::Check(arguments) => check::run(&tree, &arguments),
        Command::Plan(arguments) => plan::run(&tree, &arguments),
        Command::Apply(arguments) => apply::run_apply(&tree, &arguments),
        Command::Undo(arguments) => apply::run_undo(&tree, &arguments),
        Command::Measure(arguments) => measure::run(&tree, &arguments),
    }
}

/// Writes a report; a reader that has gone away is no error.
pub(crate) fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
}

/// Writes a value as JSON, indented.
pub(crate) fn print_json(value: &impl serde::Serialize) -> Result<(), Unusable> {
    let text = serde_json::to_string_pretty(value);
    let text = text.map_err(|error| Unusable(format!("the report is no JSON: {error}")))?;
    print(&format!("{text}\n"));
    Ok(())
}

/// A list of processors on the command line.
fn parse_cpus(text: &str) -> Result<Cpus, String> {
    match cpu_list::parse(text) {
        Ok(cpus) if cpus.is_empty() => {
            Err("no processor is named; write them like 0-3,8".to_owned())
        }
        Ok(cpus) => Ok(Cpus(cpus)),
        Err(wrong) => Err(format!("{wrong}; write them like 0-3,8")),
    }
}

/// Processors that a user names, ascending, at least one.
#[derive(Clone, Debug)]
pub(crate) struct Cpus(pub(crate) Vec<usize>);

const EXIT_STATUS: &str = "Exit status: 0 good enough, or done; 1 something that matters is off, or could not be \
    done; 2 bad input, or the machine lacks what the command needs, said in one sentence.";
