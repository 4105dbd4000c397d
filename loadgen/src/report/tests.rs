//! One made-up run, in each form.

use super::*;
use crate::hostile::HostileKind;
use crate::latencies::Interval;
use crate::outcome::{Distribution, LatencySummary, Offering, RefusalSecond, RollupOutcome, Tally};
use crate::races::RaceOutcome;

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
            refusals_by_second: vec![RefusalSecond {
                second: 2,
                by_code: [("busy".to_owned(), 3)].into(),
            }],
            offered_by_second: (0..5).map(|second| (second, 500)).collect(),
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
fn the_page_has_five_plots_and_asks_for_nothing() {
    let page = html::page(&report()).unwrap();
    assert_eq!(page.matches("<svg").count(), 5);
    assert!(page.contains("&lt;seed&gt;") && !page.contains("<seed>"));
    for outside in ["<script", "<link", "src=", "url(", "@import"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("busy"));
    // A run in which nothing was answered has a page, too.
    html::page(&LoadReport::default()).unwrap();
}

#[test]
fn races_rollups_and_hostile_traffic_stand_in_text_and_page_where_there_are_any() {
    let mut report = report();
    let parts = [
        "races",
        "Races",
        "by rollup",
        "By rollup",
        "hostile",
        "Hostile",
    ];
    let (text, page) = (report.to_string(), html::page(&report).unwrap());
    // The words under the plot of refusals speak of hostile envelopes, and of none that there are.
    assert!(parts.iter().all(|part| !text.contains(part)), "{text}");
    assert!(!page.contains("Hostile traffic") && !page.contains("Races"));
    report.outcome.races = vec![RaceOutcome {
        lead_us: -200,
        races: 4,
        cancel_first: 1,
        take_first: 2,
        unknown: 1,
        sent_lead_mean_us: -210.0,
    }];
    let rollup = |rollup, weight| RollupOutcome {
        rollup,
        weight,
        ..RollupOutcome::default()
    };
    report.outcome.rollups = vec![rollup(7, 3), rollup(9, 1)];
    let mut forged = HostileOutcome::new(HostileKind::BadProof);
    forged.sent = 5;
    forged.answers = [("bad_proof".to_owned(), 20)].into();
    report.outcome.hostile = vec![forged];
    let (text, page) = (report.to_string(), html::page(&report).unwrap());
    for words in [
        "-0.20 ms",
        "33 %",
        "bad_proof 20",
        "nothing forged was ordered",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    for words in ["-0.20", "33 %", "bad_proof 20", "By rollup", "<th>7</th>"] {
        assert!(page.contains(words), "{words}");
    }
    assert!(report.holds());
    report.outcome.hostile[0].ordered = 1;
    assert!(!report.holds(), "a forged envelope was ordered");
    assert!(report.to_string().contains("DOES NOT HOLD"));
}

#[test]
fn a_closed_loop_is_labelled_as_such_and_acks_alone_promise_nothing_more() {
    let mut closed = report();
    closed.outcome.closed_clients = 8;
    let (text, page) = (closed.to_string(), html::page(&closed).unwrap());
    for said in [&text, &page] {
        assert!(
            said.contains("do not count what waited to be sent"),
            "{said}"
        );
        assert!(!said.to_lowercase().contains("latency from the planned"));
    }
    let mut acks = report();
    acks.acks_only = true;
    acks.outcome.tally.settled = 0;
    let text = acks.to_string();
    assert!(text.contains("nothing was waited for but acks"));
    assert!(
        !text.contains("settled") && !text.contains("holds"),
        "{text}"
    );
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
