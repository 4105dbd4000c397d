use serde_json::json;

use super::*;

/// A file with the report of two runs of a cell of `nodes` authorities.
fn e2e(folder: &Path, name: &str, nodes: u8, p50_us: [u64; 2]) -> PathBuf {
    let runs: Vec<Value> = (p50_us.iter().zip(1..))
        .map(|(p50, round)| {
            json!({
                "cell": {"nodes": nodes, "rate": 500, "payload": 128, "durability": "sync", "backend": "auto"},
                "side": "current", "round": round, "hlog": "none.hlog", "holds": true,
                "report": {
                    "host": "a host", "cores": 2, "kernel": "6.1", "commit": "abc", "duration_s": 5.0,
                    "throughput_tps": 490.0, "lost": 0,
                    "latency_us": {"settled": {"p50": p50, "p99": 2 * p50, "p999": 3 * p50}},
                },
            })
        })
        .collect();
    written(folder, name, &json!({ "runs": runs }))
}

fn saturate(folder: &Path, name: &str, step_s: f64, knee: f64) -> PathBuf {
    let step = |rate: f64, holds: bool| {
        json!({
            "rate": rate, "settled_tps": rate, "goodput_tps": rate, "in_time": 1.0, "p50_us": 9_000, "p99_us": 15_000,
            "p999_us": 20_000, "refused": 0, "lost": 0, "cpu_us": 100.0, "was_limited": false, "holds": holds,
        })
    };
    let report = json!({
        "host": {"processor": "a host", "cores": 2, "kernel": "6.1"}, "commit": "abc", "step_s": step_s,
        "rule": {"low_rate": 100.0, "rate_max": 9_000.0, "times": 3.0},
        "saturated": [{
            "cell": {"nodes": 5, "backend": "auto", "open": false, "payload": 128},
            "low_p99_us": 15_000, "limit_us": 45_000, "is_open_ended": false,
            "steps": [step(100.0, true), step(knee, true), step(2.0 * knee, false)],
        }],
    });
    written(folder, name, &report)
}

fn written(folder: &Path, name: &str, report: &Value) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, report.to_string()).expect("a disk");
    path
}

#[test]
fn words_say_how_far_apart_and_whether_the_runs_overlap() {
    let folder = tempfile::tempdir().expect("a folder");
    let a = e2e(folder.path(), "a.json", 5, [10_000, 12_000]);
    let near = e2e(folder.path(), "near.json", 5, [11_000, 13_000]);
    let far = e2e(folder.path(), "far.json", 5, [13_000, 15_000]);
    let words = |b: &Path| {
        let comparison = read(&a, b).expect("alike").compare().expect("figures");
        let mut lines = comparison.lines.iter();
        let p50 = lines.find(|line| line.figure == "settled p50, ms");
        p50.expect("p50").words()
    };
    assert_eq!(words(&near), "+9.1 %, within the spread of the runs");
    assert_eq!(words(&far), "+27.3 %, beyond the spread of the runs");
    assert_eq!(words(&a), "the same, within the spread of the runs");
}

#[test]
fn knees_are_held_against_each_other_and_drawn_together() {
    let folder = tempfile::tempdir().expect("a folder");
    let a = saturate(folder.path(), "a.json", 4.0, 1_000.0);
    let b = saturate(folder.path(), "b.json", 4.0, 1_600.0);
    let pair = read(&a, &b).expect("alike");
    let comparison = pair.compare().expect("figures");
    let text = comparison.to_string();
    assert!(text.contains("knee, envelopes/s"), "{text}");
    assert!(text.contains("1.6 times A, one run a side"), "{text}");
    let page = page::page(&pair, &comparison).expect("a page");
    // Two panels with two curves and two knees each.
    assert!(page.matches("<polyline").count() >= 8);
    assert!(
        !page
            .replace("http://www.w3.org/2000/svg", "")
            .contains("http")
    );
}

#[test]
fn what_is_unlike_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let refused = |a: &Path, b: &Path| match read(a, b) {
        Ok(_) => panic!("{} and {} are unlike", a.display(), b.display()),
        Err(error) => format!("{error:#}"),
    };
    let five = e2e(folder, "five.json", 5, [1, 2]);
    let seven = e2e(folder, "seven.json", 7, [1, 2]);
    let error = refused(&five, &seven);
    assert!(error.contains("no cell of the matrix in common"), "{error}");
    let knee = saturate(folder, "knee.json", 4.0, 1_000.0);
    let error = refused(&five, &knee);
    assert!(error.contains("a report of e2e and"), "{error}");
    let short = saturate(folder, "short.json", 1.0, 1_000.0);
    let error = refused(&knee, &short);
    assert!(error.contains("different rules"), "{error}");
    let other = written(folder, "other.json", &json!({"figures": 1}));
    let error = refused(&five, &other);
    assert!(error.contains("neither a report"), "{error}");
    let empty = written(folder, "empty.json", &json!({"runs": []}));
    let error = refused(&empty, &empty);
    assert!(error.contains("no cell"), "{error}");
    let error = refused(&five, &folder.join("absent.json"));
    assert!(error.contains("absent.json"), "{error}");
}
