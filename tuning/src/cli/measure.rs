//! `fairlane-tuning measure`: runs the probes and shows their figures.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use super::look::cpus_to_use;
use super::{Cpus, Unusable, parse_cpus, print, print_json};
use crate::measure::{BUCKETS_US, CoreJitter, Measured, Plan, REFERENCE_SOURCE, Report, measure};
use crate::placement::{Wish, place};
use crate::text;
use crate::topology::Topology;
use crate::tree::Tree;

/// The long help.
pub(super) const ABOUT: &str = "\
Measure what this machine can do, for a few seconds: the waits and costs that a node's latency is made of.

  clock, syscall       what reading the clock and entering the kernel cost
  timer wake-up        how late a thread wakes that slept until a time, as cyclictest measures it
  thread wake-up       from one thread's call until another, asleep on another processor, runs
  ring hop             a message between two threads that spin, through the ring that the node uses
  loopback             256 bytes over TCP and back, both ends asleep while they wait; epoll and io_uring
  fdatasync            4 KiB written over in a file in --dir, and on the disk
  jitter               for each processor, how often and how long a thread that never waits is interrupted

Run it before and after `apply`, and when the machine is otherwise quiet: what else runs is in the figures. The probes \
run as ordinary threads pinned to the processors that `plan` names; the file is removed at once.";

/// Arguments of `measure`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// About how long all of it takes.
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=600))]
    seconds: u16,
    /// The processors, like 1-3: the first two talk to each other [default: those that `plan` names for one authority].
    #[arg(long, value_name = "LIST", value_parser = parse_cpus)]
    cores: Option<Cpus>,
    /// A folder on the disk that the node's journal will be on.
    #[arg(long, default_value = ".", value_name = "DIR")]
    dir: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(tree: &Tree, arguments: &Arguments) -> Result<bool, Unusable> {
    if !tree.is_this_machine() {
        return Err(Unusable(
            "measure runs on this machine: leave out --root".to_owned(),
        ));
    }
    if !arguments.dir.is_dir() {
        return Err(Unusable(format!(
            "--dir {}: no such folder",
            arguments.dir.display()
        )));
    }
    let topology = Topology::read(tree)?;
    let mut cpus = cpus_to_use(tree, &topology, arguments.cores.as_ref())?;
    if arguments.cores.is_none() {
        let wish = Wish {
            cpus: &cpus,
            authorities: 1,
            first_index: 0,
            interface_node: None,
        };
        cpus = place(&topology, &wish).authorities.swap_remove(0).cpus;
    }
    let plan = Plan {
        time: Duration::from_secs(arguments.seconds.into()),
        cpus: &cpus,
        load_before: load(tree),
        folder: &arguments.dir,
    };
    let report = measure(&plan, |name| eprintln!("measuring: {name}"));
    if arguments.json {
        print_json(&report)?;
    } else {
        print(&text_of(&report, text::columns()));
    }
    let is_whole = report.probes.iter().all(|probe| probe.times.is_ok());
    Ok(is_whole && report.jitter.iter().all(|core| core.found.is_ok()))
}

fn text_of(report: &Report, columns: usize) -> String {
    let mut out = String::new();
    let pair: Vec<String> = report.pair.iter().map(usize::to_string).collect();
    let _ = writeln!(
        out,
        "processors {}; disk of {}",
        pair.join(" and "),
        report.folder
    );
    if let Some(load) = report.load_before.filter(|load| *load > LOAD_QUIET) {
        let note = format!(
            "the machine was not quiet: a load of {load} in the minute before; its work is in the figures"
        );
        text::entry(&mut out, 0, "", 0, &note, columns);
    }
    out.push('\n');
    let _ = writeln!(
        out,
        "{:<18} {:>9} {:>9} {:>9} {:>9}   {:>9} {:>9}",
        "microseconds", "p50", "p99", "p99.9", "max", "ref. p50", "ref. p99"
    );
    for probe in &report.probes {
        row(&mut out, probe, columns);
    }
    out.push('\n');
    for probe in &report.probes {
        text::entry(&mut out, 0, probe.name, 20, probe.what, columns);
    }
    text::entry(&mut out, 0, "ref.", 20, REFERENCE_SOURCE, columns);
    out.push_str(
        "\njitter: interruptions a second of a thread that never waits, by their least length\n",
    );
    let heads: Vec<String> = BUCKETS_US
        .iter()
        .map(|least| format!("{:>6}", length(*least)))
        .collect();
    let _ = writeln!(
        out,
        "{:<5} {:>7} {:>9}  {}",
        "core",
        "lost",
        "longest",
        heads.join("")
    );
    for core in &report.jitter {
        core_row(&mut out, core);
    }
    out
}

/// Of the last minute.
fn load(tree: &Tree) -> Option<f64> {
    let text = tree.read("/proc/loadavg").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

fn row(out: &mut String, probe: &Measured, columns: usize) {
    match &probe.times {
        Err(why) => text::entry(
            out,
            0,
            probe.name,
            20,
            &format!("not measured: {why}"),
            columns,
        ),
        Ok(times) => {
            let figures = [times.p50_ns, times.p99_ns, times.p999_ns, times.max_ns];
            let _ = write!(out, "{:<18}", probe.name);
            for figure in figures {
                let _ = write!(out, " {:>9}", microseconds(figure));
            }
            if let Some(reference) = probe.reference {
                let _ = write!(out, "   {:>9}", microseconds(reference.p50_ns));
                if let Some(p99_ns) = reference.p99_ns {
                    let _ = write!(out, " {:>9}", microseconds(p99_ns));
                }
            }
            out.push('\n');
        }
    }
}

fn core_row(out: &mut String, core: &CoreJitter) {
    let found = match &core.found {
        Ok(found) => found,
        Err(why) => {
            let _ = writeln!(out, "{:<5} not measured: {why}", core.cpu);
            return;
        }
    };
    let lost_per_cent = 100.0 * found.lost_ns as f64 / found.time_ns.max(1) as f64;
    let longest = found.times.as_ref().map_or(0, |times| times.max_ns);
    let seconds = found.time_ns as f64 / 1e9;
    let counts: Vec<String> = (found.counts.iter())
        .map(|count| match count {
            0 => format!("{:>6}", "."),
            count => format!("{:>6.0}", (*count as f64 / seconds).max(1.0)),
        })
        .collect();
    let _ = writeln!(
        out,
        "{:<5} {lost_per_cent:>6.2}% {:>6} us  {}",
        core.cpu,
        microseconds(longest),
        counts.join("")
    );
}

/// Microseconds with three digits that count.
fn microseconds(nanoseconds: u64) -> String {
    match nanoseconds {
        0..10_000 => format!("{}.{:03}", nanoseconds / 1000, nanoseconds % 1000),
        10_000..100_000 => format!("{}.{}", nanoseconds / 1000, nanoseconds % 1000 / 100),
        _ => (nanoseconds / 1000).to_string(),
    }
}

fn length(microseconds: u64) -> String {
    match microseconds {
        0..1000 => format!("{microseconds}us"),
        _ => format!("{}ms", microseconds / 1000),
    }
}

/// A load up to which a machine passes for quiet.
const LOAD_QUIET: f64 = 0.5;
