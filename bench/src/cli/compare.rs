//! `fairlane-bench compare`.

use std::path::PathBuf;

use anyhow::Context as _;
use fairlane_bench::compare::{self, page};
use fairlane_bench::live::write_json;

#[derive(Debug, clap::Args)]
pub(crate) struct CompareArguments {
    /// e2e.json or saturate.json of one run; the logs of e2e lie beside it.
    #[arg(value_name = "A.json")]
    a: PathBuf,
    /// The same of another.
    #[arg(value_name = "B.json")]
    b: PathBuf,
    /// Write the page, with both curves in one picture.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write the figures to FILE as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub(crate) fn run(arguments: &CompareArguments) -> anyhow::Result<()> {
    let pair = compare::read(&arguments.a, &arguments.b)?;
    let comparison = pair.compare()?;
    if let Some(path) = &arguments.html {
        let html = page::page(&pair, &comparison)?;
        std::fs::write(path, html).with_context(|| format!("cannot write {}", path.display()))?;
    }
    write_json(arguments.json.as_deref(), &comparison)?;
    print!("{comparison}");
    Ok(())
}
