//! The page of a matrix of runs: a table, and for each cell the latencies of all its runs as percentile curves.
//!
//! One HTML file that needs nothing else: no script, no font and no picture from elsewhere.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use fairlane_loadgen::hlog;
use fairlane_loadgen::ticks::short_number;
use hdrhistogram::Histogram;
use plotters::style::RGBColor;

use super::{Cell, E2e, E2eRun, Side};
use crate::chart::{Axes, COLORS, Series, drawn, logarithmic_ticks};

/// Draws the page; reads the logs of the runs, below `folder`. Errors: a log that cannot be read.
pub fn page(all: &E2e, folder: &Path) -> anyhow::Result<String> {
    let mut html = head("e2e") + TITLE;
    if let Some(run) = all.runs.first() {
        let word = |name: &str| run.report[name].as_str().unwrap_or("unknown").to_owned();
        writeln!(
            html,
            "<p>{}, {} cores, Linux {}; each run sends for {} s.</p>",
            escaped(&word("host")),
            run.report["cores"],
            escaped(&word("kernel")),
            run.report["duration_s"],
        )?;
    }
    table(&mut html, all)?;
    for cell in all.cells() {
        let picture = curves(all, cell, folder)?;
        writeln!(html, "<figure>{picture}</figure>")?;
    }
    html.push_str("</body></html>\n");
    Ok(html)
}

fn table(html: &mut String, all: &E2e) -> std::fmt::Result {
    html.push_str(
        "<table class=\"names\"><thead><tr><th>cell<th>side<th>commit<th>runs<th>settled/s<th>p50, ms<th>p99, ms<th>p99.9, ms\
         <th>lost<th>refused<th>CPU, us an envelope</tr></thead>\n",
    );
    for line in all.summary() {
        let ([p50, p99, p999], [lost, refused]) = (line.settled_ms, line.lost_refused);
        writeln!(
            html,
            "<tr><td>{}<td>{}<td>{}<td>{}<td>{:.0}<td>{p50:.2}<td>{p99:.2}<td>{p999:.2}<td>{lost}<td>{refused}<td>{:.0}</tr>",
            escaped(&line.cell),
            line.side.name(),
            escaped(&line.commit),
            line.runs,
            line.settled_tps,
            line.cpu_us
        )?;
    }
    html.push_str(
        "</table><p>Settled latency from the planned send time; medians of the runs.</p>\n",
    );
    Ok(())
}

fn curves(all: &E2e, cell: &Cell, folder: &Path) -> anyhow::Result<String> {
    let mut series = Vec::new();
    for (side, color) in [(Side::Baseline, COLORS[1]), (Side::Current, COLORS[0])] {
        let runs = all.of(cell, side);
        series.extend(curve_series(side.name(), color, &runs, folder)?);
    }
    percentiles(&cell.name(), series)
}

/// A line a run, and one line of the legend for all of them. Errors: a log that cannot be read.
pub(crate) fn curve_series(
    name: &str,
    color: RGBColor,
    runs: &[&E2eRun],
    folder: &Path,
) -> anyhow::Result<Vec<Series>> {
    let one = |(at, run): (usize, &&E2eRun)| {
        let name = match at {
            0 => format!("{name}, {} runs", runs.len()),
            _ => String::new(),
        };
        let points = curve(&settled(run, folder)?);
        Ok(Series {
            name,
            color,
            points,
        })
    };
    runs.iter().enumerate().map(one).collect()
}

/// How many milliseconds (logarithmic) at which percentile (its distance to 100 % logarithmic).
pub(crate) fn percentiles(cell: &str, series: Vec<Series>) -> anyhow::Result<String> {
    let heights = || {
        series
            .iter()
            .flat_map(|series| &series.points)
            .map(|point| point.1)
    };
    let least = heights().fold(6.0, f64::min);
    let most = heights().fold(least + 0.5, f64::max);
    let y = least - 0.05..most + 0.05;
    let axes = Axes {
        x_title: "percentile",
        x_label: percentile,
        y_ticks: logarithmic_ticks(&y),
        y,
        y_label: |exponent| short_number(10f64.powf(*exponent) / 1_000.0),
        dots: false,
    };
    drawn(
        &format!("Settled latency, ms: {cell}"),
        &axes,
        &[(String::new(), series)],
    )
}

/// Nines of the percentile against the logarithm of the latency in microseconds.
fn curve(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    let nines_most = (histogram.len().max(10) as f64).log10();
    let steps = (nines_most * STEPS_A_NINE) as u32;
    let at = |step: u32| {
        let nines = f64::from(step) / STEPS_A_NINE;
        let latency = histogram.value_at_quantile(1.0 - 10f64.powf(-nines)).max(1);
        (nines, (latency as f64).log10())
    };
    (0..=steps).map(at).collect()
}

/// The percentile of so many nines; nothing between whole numbers of them.
fn percentile(nines: &f64) -> String {
    if nines.fract().abs() > 1e-6 {
        return String::new();
    }
    let digits = (nines - 2.0).max(0.0) as usize;
    format!("{:.digits$}", 100.0 - 10f64.powf(2.0 - nines))
}

fn settled(run: &E2eRun, folder: &Path) -> anyhow::Result<Histogram<u64>> {
    let path = folder.join(&run.hlog);
    let log = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let lines = hlog::read(&log).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
    let mut all = Histogram::new(3)?;
    for line in lines
        .iter()
        .filter(|line| line.tag.as_deref() == Some("settled"))
    {
        all.add(&line.histogram)
            .map_err(|error| anyhow::anyhow!("{error}"))?;
    }
    Ok(all)
}

pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

const TITLE: &str = "<h1>Runs of a local network</h1>\n";

const STYLE: &str = "body{font-family:sans-serif;margin:2em auto;max-width:78em;color:#222}\
    table{border-collapse:collapse;font-variant-numeric:tabular-nums}\
    td,th{padding:.25em .7em;text-align:right;border-bottom:1px solid #ddd}\
    .names td:nth-child(-n+3),.names th:nth-child(-n+3){text-align:left}\
    figure{margin:2em 0}";

/// How a page begins, up to its heading.
pub(crate) fn head(command: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>fairlane-bench {command}</title>\
         <style>{STYLE}</style></head><body>"
    )
}

const STEPS_A_NINE: f64 = 40.0;
