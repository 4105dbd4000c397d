//! The runs of one side, read from HdrHistogram logs.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use fairlane_loadgen::hlog;
use hdrhistogram::Histogram;

/// One run.
#[derive(Clone, Debug)]
pub struct Run {
    /// All intervals of it together.
    pub histogram: Histogram<u64>,
}

impl Run {
    /// The same run, each latency `times` as long.
    ///
    /// Errors: latencies longer than a histogram holds.
    pub fn slower(&self, times: f64) -> anyhow::Result<Self> {
        let mut histogram = Histogram::new(self.histogram.sigfig())?;
        for step in self.histogram.iter_recorded() {
            let value = (step.value_iterated_to() as f64 * times).round() as u64;
            histogram
                .record_n(value, step.count_at_value())
                .context("the injected slowdown makes latencies too long for a histogram")?;
        }
        Ok(Self { histogram })
    }
}

/// Reads the lines tagged `tag` of each log in `paths`, in order; a folder stands for all logs below it, sorted by path.
///
/// Errors: what cannot be read, or holds no such line, named with its file.
pub fn read_side(flag: &str, paths: &[PathBuf], tag: &str) -> anyhow::Result<Vec<Run>> {
    let mut runs = Vec::new();
    for path in paths {
        if path.is_dir() {
            let logs = logs_in(path)?;
            anyhow::ensure!(
                !logs.is_empty(),
                "{flag} {}: no .hlog file in it",
                path.display()
            );
            for log in logs {
                runs.push(read(&log, tag)?);
            }
        } else {
            runs.push(read(path, tag)?);
        }
    }
    Ok(runs)
}

fn logs_in(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("cannot read the folder {}", folder.display()))?;
    let mut logs = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            logs.extend(logs_in(&path)?);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "hlog")
        {
            logs.push(path);
        }
    }
    logs.sort();
    Ok(logs)
}

fn read(path: &Path, tag: &str) -> anyhow::Result<Run> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let lines =
        hlog::read(&bytes).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
    let tags: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.tag.as_deref())
        .collect();
    let mut histogram: Option<Histogram<u64>> = None;
    for line in lines.iter().filter(|line| line.tag.as_deref() == Some(tag)) {
        match &mut histogram {
            None => histogram = Some(line.histogram.clone()),
            Some(all) => all
                .add(&line.histogram)
                .map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?,
        }
    }
    let histogram = histogram.filter(|histogram| histogram.len() >= COUNT_MIN);
    let mut known: Vec<&str> = tags;
    known.sort_unstable();
    known.dedup();
    let histogram = histogram.with_context(|| {
        format!(
            "{} holds fewer than {COUNT_MIN} latencies tagged {tag:?}; its tags are: {}",
            path.display(),
            known.join(", ")
        )
    })?;
    Ok(Run { histogram })
}

/// With fewer a run says nothing about its distribution.
const COUNT_MIN: u64 = 100;
