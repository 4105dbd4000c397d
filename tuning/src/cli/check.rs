//! `fairlane-tuning check`: the findings, for people and for machines.

use std::fmt::Write as _;

use serde::Serialize;

use super::look::{Look, LookArguments};
use super::{Unusable, print, print_json};
use crate::check::{Finding, Matters, Remedy, Surroundings, Verdict, is_good_enough};
use crate::cpu_list;
use crate::network::Interface;
use crate::text;
use crate::topology::Topology;
use crate::tree::Tree;

/// The long help.
pub(super) const ABOUT: &str = "\
Read the machine and say, for each knob, what it is, what is wanted, why, and how much it matters.

Needs no privilege and changes nothing. Each knob is one of
  ok      as wanted
  OFF     not as wanted; what mends it is said: apply, you by hand, or the host
  unread  could not be read, and why; nothing is guessed
  -       this machine does not have it, or nothing depends on it here
and matters much (high: latency is several times what it could be, or a node cannot work), somewhat (medium: seen in \
the tail of the latencies), or little (low).

For a pipeline: the exit status is 1 when something that matters at least --fail-on is OFF.";

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    look: LookArguments,
    /// How much a knob that is off must matter for exit status 1.
    #[arg(long, value_enum, default_value_t = Matters::High, value_name = "MATTERS")]
    fail_on: Matters,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    machine: &'a Surroundings,
    topology: &'a Topology,
    interface: Option<&'a Interface>,
    stages: &'a [usize],
    findings: &'a [Finding],
    fail_on: Matters,
    good_enough: bool,
}

pub(super) fn run(tree: &Tree, arguments: &Arguments) -> Result<bool, Unusable> {
    let look = Look::at(tree, &arguments.look)?;
    let good_enough = is_good_enough(&look.findings, arguments.fail_on);
    if arguments.json {
        print_json(&Report {
            machine: &look.surroundings,
            topology: &look.topology,
            interface: look.interface.as_ref(),
            stages: &look.stages,
            findings: &look.findings,
            fail_on: arguments.fail_on,
            good_enough,
        })?;
    } else {
        print(&report(&look, arguments.fail_on, text::columns()));
    }
    Ok(good_enough)
}

fn report(look: &Look, fail_on: Matters, columns: usize) -> String {
    let mut out = String::new();
    text::entry(
        &mut out,
        0,
        "machine",
        10,
        &look.surroundings.to_string(),
        columns,
    );
    text::entry(&mut out, 0, "", 10, &look.topology.to_string(), columns);
    if let Some(interface) = &look.interface {
        text::entry(&mut out, 0, "network", 10, &interface.to_string(), columns);
    }
    text::entry(
        &mut out,
        0,
        "stages",
        10,
        &format!("on {}", cpu_list::format(&look.stages)),
        columns,
    );
    out.push('\n');
    for finding in &look.findings {
        show(&mut out, finding, columns);
    }
    out.push('\n');
    summary(&mut out, &look.findings, fail_on, columns);
    out
}

fn show(out: &mut String, finding: &Finding, columns: usize) {
    let head = format!(
        "{:<7} {:<7} {:<21} ",
        finding.verdict, finding.matters, finding.knob
    );
    text::entry(out, 0, &head, HANGING, &finding.now, columns);
    if finding.verdict != Verdict::Absent {
        text::entry(out, LABEL, "wanted", LABEL + 8, &finding.wanted, columns);
        text::entry(out, LABEL, "why", LABEL + 8, &finding.why, columns);
    }
    match &finding.remedy {
        None => {}
        Some(Remedy::Apply(changes)) => {
            let files = changes.len();
            let what = format!(
                "fairlane-tuning apply --only {} ({files} file{})",
                finding.knob,
                if files == 1 { "" } else { "s" }
            );
            text::entry(out, LABEL, "mend", LABEL + 8, &what, columns);
        }
        Some(Remedy::Hand(what)) => text::entry(out, LABEL, "by hand", LABEL + 8, what, columns),
        Some(Remedy::Host(what)) => text::entry(out, LABEL, "host", LABEL + 8, what, columns),
    }
}

fn summary(out: &mut String, findings: &[Finding], fail_on: Matters, columns: usize) {
    let count = |verdict: Verdict| {
        findings
            .iter()
            .filter(|finding| finding.verdict == verdict)
            .count()
    };
    let _ = writeln!(
        out,
        "{} ok, {} off, {} unread, {} not here",
        count(Verdict::Good),
        count(Verdict::Off),
        count(Verdict::Unread),
        count(Verdict::Absent)
    );
    for matters in [Matters::High, Matters::Medium, Matters::Low] {
        let names: Vec<&str> = (findings.iter())
            .filter(|finding| finding.verdict == Verdict::Off && finding.matters == matters)
            .map(|finding| finding.knob)
            .collect();
        if !names.is_empty() {
            text::entry(
                out,
                2,
                &format!("off, {matters}"),
                15,
                &names.join(", "),
                columns,
            );
        }
    }
    let verdict = if is_good_enough(findings, fail_on) {
        format!("good enough: nothing that matters at least {fail_on} is off")
    } else {
        format!("not good enough: something that matters at least {fail_on} is off")
    };
    let _ = writeln!(out, "{verdict}");
}

/// Where the value of a finding begins, and the lines below it.
const HANGING: usize = 38;
const LABEL: usize = 16;
