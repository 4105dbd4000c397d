//! `fairlane-tuning apply` and `undo`: what was written, file by file, and what is left to a person.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::look::{Look, LookArguments};
use super::{Unusable, print};
use crate::apply::{Outcome, StateError, StateFile, Step, apply, undo};
use crate::check::{Finding, Remedy, Verdict};
use crate::text;
use crate::tree::Tree;

/// The long help of `apply`.
pub(super) const ABOUT: &str = "\
Write what `check` offers to mend; `undo` takes it back.

Only settings of the running kernel (files under /sys and /proc) are written, each a step of its own: what stood in it \
is recorded in the state file first, then it is written, then read back. A file that is as wanted is left alone, so \
running it twice changes nothing. What the kernel refuses, or only the host of a container can do, is said, and the \
next file is tried. Command lines, services, limits and network devices are never touched: what to do about them by \
hand is printed.

It lasts until the next boot. To have it at every boot, run it from a unit before the node's:

    [Service]
    Type=oneshot
    RemainAfterExit=yes
    ExecStart=/usr/local/bin/fairlane-tuning apply
    ExecStop=/usr/local/bin/fairlane-tuning undo";

/// The long help of `undo`.
pub(super) const UNDO_ABOUT: &str = "\
Take back what `apply` has written since the machine was booted.

Each file gets what stood in it before the first `apply`, the last one first. A file that somebody else has set to \
something new since is left as it is, said, and forgotten. What was done before the last boot is gone anyway.";

/// Arguments of `apply`.
#[derive(Debug, clap::Args)]
pub(super) struct ApplyArguments {
    /// Say what would be written and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Only these knobs, by the names that `check` shows.
    #[arg(long, value_name = "KNOB,...", value_delimiter = ',')]
    only: Vec<String>,
    /// Where to record what is changed [default: /var/lib/fairlane-tuning/state.json].
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    #[command(flatten)]
    look: LookArguments,
}

/// Arguments of `undo`.
#[derive(Debug, clap::Args)]
pub(super) struct UndoArguments {
    /// Say what would be written and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Where `apply` recorded what it changed [default: /var/lib/fairlane-tuning/state.json].
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
}

impl From<StateError> for Unusable {
    fn from(error: StateError) -> Self {
        Self(error.to_string())
    }
}

pub(super) fn run_apply(tree: &Tree, arguments: &ApplyArguments) -> Result<bool, Unusable> {
    let look = Look::at(tree, &arguments.look)?;
    let chosen = choose(&look.findings, &arguments.only)?;
    let steps: Vec<Step> = chosen
        .iter()
        .flat_map(|finding| steps_of(finding))
        .collect();
    let outcomes = if steps.is_empty() {
        Vec::new()
    } else {
        let path = state_path(tree, arguments.state.as_deref());
        let file = state_file(&path, arguments.dry_run)?;
        apply(tree, &file, &steps, arguments.dry_run)?
    };
    let columns = text::columns();
    let mut out = String::new();
    show(&mut out, &outcomes, columns);
    if outcomes.is_empty() {
        out.push_str("nothing to write: what could be mended by writing is as wanted\n");
    }
    let left = remain(&mut out, &chosen, columns);
    print(&out);
    // Who asks for a knob by name and does not get it is told by the exit status, too.
    let is_left = !arguments.only.is_empty() && left > 0;
    Ok(!is_left && outcomes.iter().all(|outcome| outcome.result.is_well()))
}

pub(super) fn run_undo(tree: &Tree, arguments: &UndoArguments) -> Result<bool, Unusable> {
    let path = state_path(tree, arguments.state.as_deref());
    let outcomes = if path.exists() {
        let file = state_file(&path, arguments.dry_run)?;
        undo(tree, &file, arguments.dry_run)?
    } else {
        Vec::new()
    };
    let mut out = String::new();
    show(&mut out, &outcomes, text::columns());
    if outcomes.is_empty() {
        let nothing = format!(
            "nothing to undo: {} names nothing that was changed since the last boot",
            path.display()
        );
        text::entry(&mut out, 0, "", 0, &nothing, text::columns());
    }
    print(&out);
    Ok(outcomes.iter().all(|outcome| outcome.result.is_well()))
}

/// Where the state of this machine lies, or that of the copy that is looked at.
fn state_path(tree: &Tree, named: Option<&Path>) -> PathBuf {
    named.map_or_else(|| tree.locate(STATE_DEFAULT), Path::to_owned)
}

fn state_file(path: &Path, is_dry: bool) -> Result<StateFile, StateError> {
    if is_dry {
        Ok(StateFile::look_at(path))
    } else {
        StateFile::take(path)
    }
}

/// The findings that were asked for by name, or all.
fn choose<'a>(findings: &'a [Finding], only: &[String]) -> Result<Vec<&'a Finding>, Unusable> {
    let unknown =
        (only.iter()).find(|name| !findings.iter().any(|finding| finding.knob == name.as_str()));
    if let Some(name) = unknown {
        let names: Vec<&str> = findings.iter().map(|finding| finding.knob).collect();
        return Err(Unusable(format!(
            "--only {name}: there is no such knob; there are {}",
            names.join(", ")
        )));
    }
    let is_chosen =
        |finding: &&Finding| only.is_empty() || only.iter().any(|name| name == finding.knob);
    Ok(findings.iter().filter(is_chosen).collect())
}

fn steps_of(finding: &Finding) -> Vec<Step> {
    let Some(Remedy::Apply(changes)) = &finding.remedy else {
        return Vec::new();
    };
    let step = |change: &crate::check::Change| Step {
        knob: finding.knob.to_owned(),
        change: change.clone(),
    };
    changes.iter().map(step).collect()
}

fn show(out: &mut String, outcomes: &[Outcome], columns: usize) {
    let mut knob = "";
    for outcome in outcomes {
        if outcome.knob != knob {
            knob = &outcome.knob;
            let _ = writeln!(out, "{knob}");
        }
        let _ = writeln!(out, "  {}", outcome.path);
        let before = outcome.before.as_deref().unwrap_or("?");
        let shown = format!("{before} -> {}: {}", outcome.wanted, outcome.result);
        text::entry(out, 4, "", 4, &shown, columns);
    }
}

/// Writes what is off and not for `apply`; gives how many there are.
fn remain(out: &mut String, findings: &[&Finding], columns: usize) -> usize {
    let off = findings
        .iter()
        .filter(|finding| finding.verdict == Verdict::Off);
    let mut count = 0;
    for finding in off {
        let (who, what) = match &finding.remedy {
            Some(Remedy::Hand(what)) => ("by hand", what),
            Some(Remedy::Host(what)) => ("only the host", what),
            _ => continue,
        };
        if count == 0 {
            out.push_str("\nnot for this command:\n");
        }
        count += 1;
        text::entry(
            out,
            2,
            &format!("{} ({}), {who}: ", finding.knob, finding.matters),
            4,
            what,
            columns,
        );
    }
    count
}

const STATE_DEFAULT: &str = "/var/lib/fairlane-tuning/state.json";
