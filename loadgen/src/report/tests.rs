//! One made-up run, in each form.

use super::*;
use crate::latencies::Interval;
use crate::outcome::{Distribution, LatencySummary, Offering, Tally};

pub(super) fn report() -> LoadReport {
    let mut intervals = Vec::new();
    for second in 0..5u64 {
        for (stage, base) in Stage::ALL.into_iter().zip([400, 1_200, 9_000, 11_000]) {
            let counts = (0..100).map(|at| (base + base * at * at / 9_000 + 40 * second, 5));
            intervals.push(Interval {
                stage,
                start_us: second * 1_000_000,
                len_us: 1_000_000,
                counts: counts.collect(),
            });
        }
    }
    let mut report = LoadReport {
        load: "trading, 500 a second, poisson, for 5 s, <seed> 1".to_owned(),
        authorities: 5,
        rollups: "1".to_owned(),
        payload_len: 128,
        sealed: true,
        outcome: LoadOutcome {
            tally: Tally {
                offered: 2_500,
                accepted: 2_500,
                settled: 2_500,
                ..Tally::default()
            },
            intervals,
            offering: Offering {
                planned_tps: 500.0,
                achieved_tps: 500.0,
                ..Offering::default()
            },
            throughput_tps: 499.0,
            refusals_by_code: [("busy".to_owned(), 3)].into(),
            is_drained: true,
            ..LoadOutcome::default()
        },
        ..LoadReport::here()
    };
    let of = |stage| Distribution::of(&report.histogram(stage));
    report.outcome.latency_us = LatencySummary {
        ack: of(Stage::Ack),
        receipt: of(Stage::Receipt),
        ordered: of(Stage::Ordered),
        settled: of(Stage::Settled),
    };
    report
}

#[test]
fn the_text_says_what_was_offered_what_became_of_it_and_what_holds() {
    let mut report = report();
    assert!(report.holds());
    let text = report.to_string();
    for words in [
        "offered 2500",
        "settled 2500  lost 0",
        "p99.9",
        "not the limit",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(!text.contains("DOES NOT HOLD") && !text.contains("gave up"));
    report.outcome.tally.lost = 1;
    report.outcome.order_disagreements = 1;
    report.outcome.offering.was_limited = true;
    assert!(!report.holds());
    let text = report.to_string();
    assert_eq!(text.matches("DOES NOT HOLD").count(), 2);
    assert!(text.contains("IT WAS THE LIMIT"));
}

#[test]
fn the_page_has_four_plots_and_asks_for_nothing() {
    let page = html::page(&report()).unwrap();
    assert_eq!(page.matches("<svg").count(), 4);
    assert!(page.contains("&lt;seed&gt;") && !page.contains("<seed>"));
    for outside in ["<script", "<link", "src=", "url(", "@import"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("busy"));
    // A run in which nothing was answered has a page, too.
    html::page(&LoadReport::default()).unwrap();
}

#[test]
fn percentiles_go_into_a_table_that_ends_with_the_largest() {
    let report = report();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("latency.csv");
    write_csv(&path, &report).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let mut lines = text.lines();
    assert_eq!(
        lines.next(),
        Some("stage,quantile,latency_us,count_at_or_below")
    );
    let settled: Vec<Vec<&str>> = lines
        .map(|line| line.split(',').collect::<Vec<_>>())
        .filter(|fields| fields[0] == "settled")
        .collect();
    let column = |at: usize| {
        settled
            .iter()
            .map(move |fields| fields[at].parse::<f64>().unwrap())
    };
    assert!(column(1).is_sorted() && column(2).is_sorted() && column(3).is_sorted());
    let last = settled.last().unwrap();
    assert_eq!(last[1], "1.000000000");
    assert_eq!(last[2].parse(), Ok(report.outcome.latency_us.settled.max));
    assert_eq!(last[3], "2500");
}

#[test]
fn the_log_reads_back() {
    let report = report();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("latency.hlog");
    write_hlog(&path, &report).unwrap();
    let lines = hlog::read(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(lines.len(), report.outcome.intervals.len());
}
