//! The tables of a page that only some runs have: races, rollups, hostile traffic, checks.

use super::{LoadReport, escaped};

/// Appends those that the run has.
pub(super) fn write(page: &mut String, report: &LoadReport) {
    races(page, report);
    rollups(page, report);
    hostile(page, report);
    let checks = report.checks();
    if !checks.is_empty() {
        page.push_str("<h2>Checks</h2>\n");
        let rows = checks.iter().map(|(words, holds)| {
            let verdict = if *holds { "holds" } else { "DOES NOT HOLD" };
            vec![(*words).to_owned(), verdict.to_owned()]
        });
        grid(page, &[], rows);
    }
}

fn races(page: &mut String, report: &LoadReport) {
    if report.outcome.races.is_empty() {
        return;
    }
    page.push_str("<h2>Races: cancel against take, from different connections</h2>\n");
    let head = [
        "cancel led, ms",
        "on average, ms",
        "races",
        "cancel first",
        "of those decided",
        "take first",
        "unknown",
    ];
    let rows = report.outcome.races.iter().map(|race| {
        let part = race.cancel_first_part();
        vec![
            format!("{:.2}", race.lead_us as f64 / 1e3),
            format!("{:.2}", race.sent_lead_mean_us / 1e3),
            race.races.to_string(),
            race.cancel_first.to_string(),
            part.map_or_else(String::new, |part| format!("{:.0} %", part * 100.0)),
            race.take_first.to_string(),
            race.unknown.to_string(),
        ]
    });
    grid(page, &head, rows);
}

fn rollups(page: &mut String, report: &LoadReport) {
    if report.outcome.rollups.is_empty() {
        return;
    }
    page.push_str("<h2>By rollup</h2>\n");
    let head = [
        "rollup", "weight", "offered", "accepted", "refused", "settled", "p50, ms", "p99, ms",
    ];
    let rows = report.outcome.rollups.iter().map(|rollup| {
        let counts = [
            rollup.rollup,
            u64::from(rollup.weight),
            rollup.offered,
            rollup.accepted,
            rollup.refused,
            rollup.settled,
        ];
        let mut row: Vec<String> = counts.iter().map(u64::to_string).collect();
        let latencies = [rollup.settled_us.p50, rollup.settled_us.p99];
        row.extend(latencies.map(|us| format!("{:.2}", us as f64 / 1e3)));
        row
    });
    grid(page, &head, rows);
}

fn hostile(page: &mut String, report: &LoadReport) {
    if report.outcome.hostile.is_empty() {
        return;
    }
    page.push_str("<h2>Hostile traffic, in no figure above</h2>\n");
    let head = [
        "kind",
        "sent or opened",
        "failed",
        "hung up on",
        "ordered",
        "p50, ms",
        "answers",
    ];
    let rows = report.outcome.hostile.iter().map(|kind| {
        let answers = kind.answers.iter();
        let answers: Vec<String> = answers
            .map(|(code, count)| format!("{code} {count}"))
            .collect();
        let p50 = match kind.ordered {
            0 => String::new(),
            _ => format!("{:.2}", kind.ordered_us.p50 as f64 / 1e3),
        };
        vec![
            kind.kind.to_string(),
            kind.sent.to_string(),
            kind.failed.to_string(),
            kind.hung_up.to_string(),
            kind.ordered.to_string(),
            p50,
            answers.join(", "),
        ]
    });
    grid(page, &head, rows);
}

/// A table: its head, unless there is none, and a first column of names.
fn grid(page: &mut String, head: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    page.push_str("<table>\n");
    if !head.is_empty() {
        page.push_str("<tr class=\"head\">");
        for name in head {
            *page += &format!("<th>{}</th>", escaped(name));
        }
        page.push_str("</tr>\n");
    }
    for row in rows {
        page.push_str("<tr>");
        for (at, cell) in row.iter().enumerate() {
            let tag = if at == 0 { "th" } else { "td" };
            *page += &format!("<{tag}>{}</{tag}>", escaped(cell));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table>\n");
}
