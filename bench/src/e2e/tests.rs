use std::time::SystemTime;

use fairlane_loadgen::hlog;
use fairlane_loadgen::latencies::{Interval, Stage};
use serde_json::json;

use super::*;

fn cell(nodes: u8) -> Cell {
    Cell {
        nodes,
        rate: 500,
        payload: 128,
        durability: "sync".to_owned(),
        backend: "auto".to_owned(),
    }
}

fn program() -> Program {
    Program {
        path: PathBuf::from("fairlane"),
        flags: Vec::new(),
    }
}

#[test]
fn two_versions_change_places_from_round_to_round() {
    let mut plan = E2ePlan {
        out: PathBuf::new(),
        current: program(),
        baseline: Some(program()),
        cells: Vec::new(),
        repeat: 4,
        duration: "1s".to_owned(),
    };
    let sides = |plan: &E2ePlan, round| -> Vec<Side> {
        let turns = turns(plan, round);
        turns.into_iter().map(|(side, _)| side).collect()
    };
    assert_eq!(sides(&plan, 1), [Side::Baseline, Side::Current]);
    assert_eq!(sides(&plan, 2), [Side::Current, Side::Baseline]);
    plan.baseline = None;
    assert_eq!(sides(&plan, 2), [Side::Current]);
}

/// Three runs of a cell, of which the second lost something.
fn results(folder: &Path) -> E2e {
    let mut all = E2e::default();
    for (round, p50) in [(1, 10_000), (2, 30_000), (3, 11_000)] {
        let hlog = PathBuf::from(format!("{round}.hlog"));
        let interval = Interval {
            stage: Stage::Settled,
            start_us: 0,
            len_us: 1_000_000,
            counts: vec![(p50, 900), (2 * p50, 100)],
        };
        let mut file = std::fs::File::create(folder.join(&hlog)).expect("a file");
        hlog::write(&mut file, SystemTime::UNIX_EPOCH, &[], &[interval]).expect("a disk");
        all.runs.push(E2eRun {
            cell: cell(5),
            side: Side::Current,
            round,
            hlog,
            holds: round != 2,
            report: json!({
                "host": "a <host>", "cores": 2, "kernel": "6.1", "commit": "abc", "duration_s": 1.0,
                "throughput_tps": 490.0, "settled": 1_000, "lost": u32::from(round == 2), "refused": 0,
                "latency_us": {"settled": {"p50": p50, "p99": 2 * p50, "p999": 2 * p50}},
                "processes": [{"name": "a", "cpu_s": 1.5}, {"name": "b", "cpu_s": 0.5}],
            }),
        });
    }
    all
}

#[test]
fn a_cell_comes_to_the_median_of_its_runs_and_a_run_that_does_not_hold_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let all = results(folder.path());
    let summary = all.summary();
    assert_eq!(summary.len(), 1);
    assert_eq!(summary[0].settled_ms, [11.0, 22.0, 22.0]);
    assert_eq!(summary[0].lost_refused, [1, 0]);
    assert_eq!(summary[0].cpu_us, 2_000.0);
    assert!(!all.holds());
    let text = all.to_string();
    assert!(text.contains("A CHECK DOES NOT HOLD in round 2"), "{text}");
}

#[test]
fn the_page_asks_for_nothing_from_elsewhere_and_shows_every_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let page = page::page(&results(folder.path()), folder.path()).expect("a page");
    let links = page.replace("http://www.w3.org/2000/svg", "");
    assert!(
        !links.contains("http") && !links.contains("<script"),
        "{links}"
    );
    assert!(page.contains("a &lt;host>"));
    assert!(page.matches("<polyline").count() >= 3);
    assert!(page.contains("current, 3 runs"));
}
