//! `fairlane verify`: what was recorded and settled, checked again from signed data and the committee file alone.
//!
//! Of a node's journal everything is made once more ([`node`]; the rules are the engine's, [`fairlane_engine::verify`]). The
//! journals in a folder must hold the same batches ([`chain`]), and a settlement worker's must hold those, each once
//! ([`worker`]). Nothing is written but the report, and no key is needed.
//!
//! Trusted is the committee file: who the authorities are, their keys, and a dealer's sealing key.
//!
//! I1: memory is bounded by one segment of a journal for each thread and what a node holds; hashes of headers, batches and
//! vertices lie in files. I2: the first thing that is wrong with each source is named; that of the first source is the report's.

mod chain;
mod folder;
mod node;
mod report;
pub mod run;
mod worker;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::localnet::check_json;

use chain::{Chain, Seen};
use folder::Sources;
use node::{NodeReport, Rules};
use report::Report;
use worker::WorkerReport;

/// What to verify.
#[derive(Debug, clap::Args)]
pub struct VerifyArguments {
    /// The data folder of a node, or a folder that holds several: what `localnet --data` or `testnet --out` made.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The committee file: who the authorities are [default: committee.json in DIR, or in the folder above it].
    #[arg(long, value_name = "FILE")]
    committee: Option<PathBuf>,
    /// Write what was checked, and the first thing that is wrong, to FILE as JSON, too; its folder must be there.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Verifies and prints; true when everything holds.
///
/// Errors: there is no journal or no committee file, or one cannot be read.
pub fn run(arguments: &VerifyArguments) -> anyhow::Result<bool> {
    check_json(arguments.json.as_deref())?;
    let report = verify(arguments)?;
    print!("{report}");
    if let Some(path) = &arguments.json {
        let json = serde_json::to_string_pretty(&report)? + "\n";
        std::fs::write(path, json)
            .map_err(|error| anyhow::anyhow!("cannot write {}: {error}", path.display()))?;
    }
    Ok(report.holds)
}

fn verify(arguments: &VerifyArguments) -> anyhow::Result<Report> {
    let start = Instant::now();
    let sources = Sources::find(&arguments.data)?;
    let (path, rules) = Rules::load(&arguments.data, arguments.committee.as_deref())?;
    let chain = Chain::new()?;
    let nodes = verify_nodes(&sources, &rules, &chain, &|folder| {
        eprintln!("checking {}", folder.display());
    })?;
    anyhow::ensure!(
        nodes
            .iter()
            .any(|node| node.figures.records > 0 || node.fault.is_some()),
        "{}: nothing was ever recorded there",
        arguments.data.display()
    );
    let workers = verify_workers(&sources, &rules, &chain)?;
    Ok(Report::new(&path, &rules, nodes, workers, start.elapsed()))
}

fn verify_workers(
    sources: &Sources,
    rules: &Rules,
    chain: &Chain,
) -> anyhow::Result<Vec<WorkerReport>> {
    let folders = sources.workers.iter();
    let verified = folders.map(|folder| worker::verify(folder, rules, chain));
    verified.collect()
}

/// One thread a journal, as many at a time as there are processors.
fn verify_nodes(
    sources: &Sources,
    rules: &Rules,
    chain: &Chain,
    on_start: &(dyn Fn(&Path) + Sync),
) -> anyhow::Result<Vec<NodeReport>> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let authorities = rules.committee.thresholds().authorities();
    let is_several = sources.nodes.len() > 1;
    let seen = is_several.then(|| Seen::new(authorities)).transpose()?;
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.min(sources.nodes.len()) {
            scope.spawn(|| {
                while let Some(folder) = sources.nodes.get(next.fetch_add(1, Ordering::Relaxed)) {
                    on_start(folder);
                    let verified = node::verify(folder, rules, (chain, seen.as_ref()));
                    let mut done = done.lock().expect("nobody panics while it is held");
                    done.push((folder, verified));
                }
            });
        }
    });
    let mut done = done
        .into_inner()
        .expect("nobody panicked while it was held");
    let place = |folder: &PathBuf| sources.nodes.iter().position(|node| node == folder);
    done.sort_by_key(|(folder, _)| place(folder));
    done.into_iter().map(|(_, verified)| verified).collect()
}
