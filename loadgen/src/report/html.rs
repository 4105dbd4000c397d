//! The report as one page that needs nothing else: no script, no font, no picture from elsewhere.

mod sections;

use std::fmt::Write as _;
use std::path::Path;

use super::text::{CLOSED, limit_lines};
use super::{LoadReport, plots};

/// Writes the page.
pub(crate) fn write(path: &Path, report: &LoadReport) -> std::io::Result<()> {
    std::fs::write(path, page(report).map_err(std::io::Error::other)?)
}

/// The page. Errors: a plot that cannot be drawn.
pub(super) fn page(report: &LoadReport) -> Result<String, String> {
    let mut page = String::from(HEAD);
    let tally = &report.outcome.tally;
    let sealed = if report.sealed { "sealed" } else { "open" };
    let add = |page: &mut String, text: std::fmt::Arguments<'_>| {
        // A string takes whatever is written.
        let _ = page.write_fmt(text);
    };
    add(
        &mut page,
        format_args!("<h1>{}</h1>\n", escaped(&report.load)),
    );
    let lead = format!(
        "{} authorities, rollup {}, {sealed} envelopes of {} bytes. {}. Commit {}.",
        report.authorities, report.rollups, report.payload_len, report.host, report.commit
    );
    add(&mut page, format_args!("<p>{}</p>\n", escaped(&lead)));
    let limits = limit_lines(&report.outcome);
    let class = match report.outcome.offering.was_limited {
        true => " class=\"limited\"",
        false => "",
    };
    let limits = escaped(&limits.join("; "));
    add(
        &mut page,
        format_args!("<p{class}>Load generator: {limits}.</p>\n"),
    );
    let offering = &report.outcome.offering;
    let figures = [
        ("offered", tally.offered.to_string()),
        ("accepted", tally.accepted.to_string()),
        ("refused", tally.refused.to_string()),
        ("unanswered", tally.unanswered.to_string()),
        ("settled", tally.settled.to_string()),
        ("lost", tally.lost.to_string()),
        ("planned a second", format!("{:.0}", offering.planned_tps)),
        ("sent a second", format!("{:.0}", offering.achieved_tps)),
        (
            "settled a second",
            format!("{:.0}", report.outcome.throughput_tps),
        ),
    ];
    table(&mut page, &figures);

    let from = match report.outcome.closed_clients {
        0 => "planned send time",
        _ => "sending",
    };
    add(
        &mut page,
        format_args!("<h2>Latency from the {from}, ms</h2>\n"),
    );
    if report.outcome.closed_clients > 0 {
        add(
            &mut page,
            format_args!("<p class=\"limited\">{CLOSED}</p>\n"),
        );
    }
    page.push_str("<table><tr><th></th>");
    page.push_str("<th>p50</th><th>p90</th><th>p99</th><th>p99.9</th><th>max</th></tr>\n");
    for (stage, latency) in report.outcome.latency_us.stages() {
        add(&mut page, format_args!("<tr><th>{}</th>", stage.name()));
        let values = [
            latency.p50,
            latency.p90,
            latency.p99,
            latency.p999,
            latency.max,
        ];
        for value in values {
            add(
                &mut page,
                format_args!("<td>{:.2}</td>", value as f64 / 1e3),
            );
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table>\n");

    type Draw = fn(&LoadReport) -> Result<String, String>;
    let plots: [(&str, &str, Draw); 5] = [
        (
            "By percentile",
            "The distance to 100 % shrinks tenfold from tick to tick; both axes are logarithmic.",
            plots::percentiles,
        ),
        (
            "By stage",
            "What each stage adds to the one before, to the median and to the 99th percentile.",
            plots::stages,
        ),
        (
            "Over time",
            "Latency to settlement by the second in which it was noticed: the darker, the more envelopes; the line is the median.",
            plots::heat_map,
        ),
        (
            "Throughput",
            "Envelopes offered, accepted and settled in each second.",
            plots::throughput,
        ),
        (
            "Refusals",
            "Refusing answers in each second by code, every node's counted; those to hostile envelopes are not among them.",
            plots::refusals,
        ),
    ];
    for (title, words, draw) in plots {
        add(
            &mut page,
            format_args!("<h2>{title}</h2>\n<p>{words}</p>\n"),
        );
        if title == "Refusals" && report.outcome.refusals_by_code.is_empty() {
            page.push_str("<p>None.</p>\n");
            continue;
        }
        let svg = draw(report).map_err(|error| format!("drawing {title:?}: {error}"))?;
        add(&mut page, format_args!("<figure>{svg}</figure>\n"));
    }
    let refusals = &report.outcome.refusals_by_code;
    let refusals: Vec<(&str, String)> = refusals
        .iter()
        .map(|(code, count)| (code.as_str(), count.to_string()))
        .collect();
    if !refusals.is_empty() {
        table(&mut page, &refusals);
    }
    sections::write(&mut page, report);
    page.push_str("</body></html>\n");
    Ok(page)
}

fn table(page: &mut String, rows: &[(&str, String)]) {
    page.push_str("<table>\n");
    for (name, value) in rows {
        let (name, value) = (escaped(name), escaped(value));
        let _ = writeln!(page, "<tr><th>{name}</th><td>{value}</td></tr>");
    }
    page.push_str("</table>\n");
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}

const HEAD: &str = "<!doctype html>
<html lang=\"en\"><head><meta charset=\"utf-8\"><title>fairlane-loadgen</title>
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">
<style>
body { font: 15px/1.45 system-ui, sans-serif; color: #1a1a1a; max-width: 50rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.35rem; } h2 { font-size: 1.05rem; margin-top: 2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 500; padding: .15rem 1.2rem .15rem 0; }
p { max-width: 45rem; } tr.head th { color: #555; text-align: right; } tr.head th:first-child { text-align: left; }
td { text-align: right; padding: .15rem 0 .15rem 1.2rem; }
figure { margin: 0; } svg { max-width: 100%; height: auto; }
.limited { background: #fff3cd; padding: .6rem .8rem; }
</style></head><body>
";
