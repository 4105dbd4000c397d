//! Whole runs of a small committee: what they report, and what they leave when they end, are killed or interrupted.
//!
//! No latency is asserted: these runs share the machine with whatever else it does. They run one at a time, since each
//! starts a handful of processes.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fairlane_loadgen::hlog;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::sandbox::{Ran, Sandbox, is_private, wait};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

pub(crate) fn turn() -> MutexGuard<'static, ()> {
    // A test that failed in its turn leaves nothing half done here.
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a committee of four for two seconds with these flags; gives what it said and its report.
pub(crate) fn run_localnet(sandbox: &Sandbox, flags: &[&str]) -> (Ran, Value) {
    let fixed = ["localnet", "--nodes", "4", "--json", "report.json"];
    let ran = sandbox.run(&[&fixed, flags].concat());
    assert_eq!(ran.status, Some(0), "{ran:?}");
    sandbox.assert_nothing_runs();
    let json = std::fs::read(sandbox.path("report.json")).unwrap();
    let report: Value = serde_json::from_slice(&json).unwrap();
    assert_contract(&report);
    (ran, report)
}

/// What every report of a run that holds must say, whatever the load was.
pub(crate) fn assert_contract(report: &Value) {
    let number = |name: &str| {
        let value = &report[name];
        value.as_u64().unwrap_or_else(|| panic!("{name}: {value}"))
    };
    assert_eq!(number("nodes"), 4);
    for name in ["batches", "anchors"] {
        assert!(number(name) > 0, "{name}");
    }
    for name in ["void", "deferral_cap_fired"] {
        assert_eq!(number(name), 0, "{name}");
    }
    assert_eq!(
        number("offered"),
        number("accepted") + number("refused") + number("unanswered")
    );
    assert_eq!(number("accepted"), number("settled") + number("lost"));
    assert_eq!(number("lost"), 0);
    assert!(number("accepted") > 0);
    let by_code = report["refused_by_code"].as_object().unwrap();
    let by_code = by_code.values().map(|count| count.as_u64().unwrap());
    assert_eq!(by_code.sum::<u64>(), number("refused"));
    for name in ["durability", "backend", "commit", "host"] {
        let text = report[name].as_str().unwrap();
        assert!(!text.is_empty(), "{name}");
    }
    for name in ["duration_s", "throughput_tps"] {
        assert!(report[name].as_f64().unwrap() > 0.0, "{name}");
    }
    for name in ["agreement", "order_rechecked", "certificates_hold"] {
        assert_eq!(report[name], Value::Bool(true), "{name}");
    }
    for kind in ["ack", "receipt", "ordered", "settled"] {
        let quantiles = ["p50", "p90", "p99", "p999", "max"].map(|quantile| {
            let value = &report["latency_us"][kind][quantile];
            value
                .as_u64()
                .unwrap_or_else(|| panic!("{kind} {quantile}: {value}"))
        });
        assert!(quantiles[0] > 0, "{kind}");
        assert!(quantiles.is_sorted(), "{kind}: {quantiles:?}");
    }
}

#[test]
fn a_run_reports_what_the_contract_names_and_keeps_the_data_folder_it_was_given() {
    let _turn = turn();
    let sandbox = Sandbox::new();
    let flags = ["--duration", "2s", "--rate", "100", "--data", "data"];
    let (ran, report) = run_localnet(&sandbox, &flags);
    assert_eq!(report["durability"], "sync");
    assert_eq!(report["finality"], "node");
    assert!(report["certificates"].as_u64().unwrap() > 0);
    assert_eq!(report["faults"], Value::Array(Vec::new()));
    assert_eq!(report["duration_s"].as_f64(), Some(2.0));
    // Poisson arrivals: 200 on average, and 14 either way is one standard deviation.
    let offered = report["offered"].as_u64().unwrap();
    assert!((100..=300).contains(&offered), "{offered}");
    let text = [
        "offered",
        "settled",
        "p99",
        "4 authorities",
        "durability sync",
    ];
    for word in text {
        assert!(ran.stdout.contains(word), "no {word:?} in {}", ran.stdout);
    }
    assert!(!ran.stdout.contains("DOES NOT HOLD"), "{}", ran.stdout);

    for index in 0..4 {
        assert!(is_private(
            &sandbox.path(&format!("data/node-{index}.toml"))
        ));
        assert!(sandbox.path(&format!("data/node-{index}")).is_dir());
    }
    assert!(sandbox.path("data/committee.json").is_file());
    assert!(sandbox.path("data/settle-1").is_dir());
    let left = sandbox.listing();
    let temporary = left
        .iter()
        .filter(|path| path.starts_with(sandbox.path("tmp")));
    assert_eq!(temporary.count(), 1, "{left:?}");

    // A run does not go on in a folder that was used.
    let again = sandbox.run(&["localnet", "--data", "data"]);
    again.assert_refused(&["not empty"]);
    assert_eq!(sandbox.listing(), left);
}

#[test]
fn epoll_open_envelopes_and_asynchronous_durability_are_said_in_the_report() {
    let _turn = turn();
    let sandbox = Sandbox::new();
    let before = sandbox.listing();
    let load = ["--duration", "2s", "--rate", "100", "--open"];
    let kind = ["--backend", "mio", "--durability", "async"];
    let log = ["--hlog", "latencies.hlog"];
    let (_, report) = run_localnet(&sandbox, &[&load[..], &kind[..], &log[..]].concat());
    assert_eq!(report["backend"], "mio");
    assert_eq!(report["durability"], "async");
    assert_eq!(report["sealed"], false);

    let log = std::fs::read(sandbox.path("latencies.hlog")).unwrap();
    for tag in ["ack", "receipt", "ordered", "settled"] {
        let lines = hlog::read(&log).unwrap();
        let tagged = lines.iter().filter(|line| line.tag.as_deref() == Some(tag));
        let counts = tagged.map(|line| line.histogram.len());
        assert_eq!(Some(counts.sum()), report["offered"].as_u64(), "{tag}");
    }
    std::fs::remove_file(sandbox.path("latencies.hlog")).unwrap();
    std::fs::remove_file(sandbox.path("report.json")).unwrap();
    assert_eq!(
        sandbox.listing(),
        before,
        "a temporary folder goes on success"
    );
}

#[test]
fn a_killed_authority_is_survived_and_nothing_accepted_is_lost() {
    let _turn = turn();
    let sandbox = Sandbox::new();
    let flags = ["--duration", "2s", "--rate", "100", "--kill", "1@500ms"];
    let (_, report) = run_localnet(&sandbox, &flags);
    let survivors = report["node_reports"].as_array().unwrap();
    let survivors: Vec<u64> = survivors
        .iter()
        .map(|node| node["index"].as_u64().unwrap())
        .collect();
    assert_eq!(survivors, [0, 2, 3]);
}

#[test]
fn a_killed_authority_that_is_started_again_goes_on_from_its_journal() {
    let _turn = turn();
    let sandbox = Sandbox::new();
    let data = sandbox.argument("data");
    let kill = [
        "--kill",
        "1@500ms",
        "--restart",
        "1@1s",
        "--kill",
        "1@1500ms",
        "--restart",
        "1@1600ms",
    ];
    let flags = ["--duration", "3s", "--rate", "100", "--data", &data];
    let (_, report) = run_localnet(&sandbox, &[&flags[..], &kill[..]].concat());
    let nodes = report["node_reports"].as_array().unwrap();
    assert_eq!(
        nodes.len(),
        4,
        "the one that was killed answers for itself, too"
    );
    let counts = &nodes[1]["engine"];
    assert!(counts["records_recovered"].as_u64().unwrap() > 0);
    for node in nodes {
        assert_eq!(
            node["engine"]["forks"], 0,
            "nobody made two vertices for a round"
        );
    }
    let log = std::fs::read_to_string(sandbox.path("data/node-1-start-3.log")).unwrap();
    assert!(log.contains("recovered from"), "{log}");
}

#[test]
fn settlement_goes_on_beside_a_node_that_was_killed_and_started_again() {
    let _turn = turn();
    let sandbox = Sandbox::new();
    let data = sandbox.argument("data");
    let kill = [
        "--kill",
        "1@1s",
        "--restart",
        "1@1500ms",
        "--settle-at",
        "1",
    ];
    let flags = ["--duration", "3s", "--rate", "100", "--data", &data];
    let (_, report) = run_localnet(&sandbox, &[&flags[..], &kill[..]].concat());
    assert_eq!(report["settled"], report["offered"]);
    let log = std::fs::read_to_string(sandbox.path("data/settle-1.log")).unwrap();
    assert!(log.contains("waiting for the node"), "{log}");
    let settled = log.lines().filter(|line| line.starts_with("settled"));
    assert_eq!(
        settled.count(),
        2,
        "once until it died, once until the end: {log}"
    );
}

#[test]
fn a_trace_is_replayed_whole_and_as_much_faster_as_asked() {
    let _turn = turn();
    let sandbox = Sandbox::new();
    let mut lines = vec!["receive_time_ns,symbol,kind,side,price,quantity,trade_id".to_owned()];
    // Twenty seconds, with ten trades in each of their first milliseconds.
    for second in 0..20_u64 {
        for trade in 0..10 {
            let time = 1_723_075_200_000_000_000 + second * 1_000_000_000 + trade * 100_000;
            let id = second * 10 + trade;
            lines.push(format!("{time},BTCUSDT,trade,sell,55000.25,0.001,{id}"));
        }
    }
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let path = sandbox.trace("trace.csv.gz", &lines);
    let (_, report) = run_localnet(&sandbox, &["--replay", &path, "--speed", "20"]);
    assert_eq!(report["offered"], 200);
    let planned_s = report["duration_s"].as_f64().unwrap();
    assert!((0.9..=1.1).contains(&planned_s), "{planned_s}");
}

#[test]
fn an_interrupted_run_stops_its_children_and_removes_its_folder() {
    let _turn = turn();
    let sandbox = Sandbox::new();
    let before = sandbox.listing();
    let (mut child, pid) = start_long_run(&sandbox);
    kill_process(pid, Signal::TERM).unwrap();
    let status = wait(&mut child);
    let ran = sandbox.ran(status);
    assert_eq!(ran.status, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("fairlane: interrupted"), "{ran:?}");
    sandbox.assert_nothing_runs();
    assert_eq!(sandbox.listing(), before);
}

#[test]
fn children_do_not_outlive_a_run_that_is_killed() {
    let _turn = turn();
    let sandbox = Sandbox::new();
    let (mut child, _) = start_long_run(&sandbox);
    child.kill().unwrap();
    child.wait().unwrap();
    sandbox.wait_for_the_end_of_all();
}

/// Starts a run that takes a minute and waits until every process of it is there.
fn start_long_run(sandbox: &Sandbox) -> (std::process::Child, Pid) {
    let arguments = [
        "localnet",
        "--nodes",
        "4",
        "--duration",
        "60s",
        "--rate",
        "50",
    ];
    let mut child = sandbox.start(&arguments);
    let until = Instant::now() + Duration::from_secs(60);
    while sandbox.processes().len() < 6 {
        assert!(Instant::now() < until, "it does not start");
        assert_eq!(child.try_wait().unwrap(), None, "it ended");
        std::thread::sleep(Duration::from_millis(50));
    }
    let pid = Pid::from_raw(child.id().cast_signed()).unwrap();
    (child, pid)
}

#[test]
fn a_committee_makes_its_key_itself_before_the_load_starts() {
    let _turn = turn();
    let sandbox = Sandbox::new();
    let flags = [
        "--dkg",
        "--duration",
        "2s",
        "--rate",
        "100",
        "--data",
        "data",
    ];
    let (ran, report) = run_localnet(&sandbox, &flags);
    assert!(report["key_made_s"].as_f64().unwrap() > 0.0);
    assert!(
        ran.stdout
            .contains("sealing key made by the committee itself")
    );
    let read = |path: &str| -> Value {
        let json = std::fs::read(sandbox.path(path)).unwrap();
        serde_json::from_slice(&json).unwrap()
    };
    assert!(
        read("data/committee.json").get("committee_key").is_none(),
        "nobody dealt"
    );
    let made = read("data/node-0/committee.json");
    assert_eq!(made["key_epoch"], 1);
    for index in 0..4 {
        assert_eq!(read(&format!("data/node-{index}/committee.json")), made);
        let config = std::fs::read_to_string(sandbox.path(&format!("data/node-{index}.toml")));
        let config = config.unwrap();
        assert!(config.contains("decryption_key") && !config.contains("key_share"));
    }
    let counted = |name: &str| -> Vec<u64> {
        let nodes = report["node_reports"].as_array().unwrap();
        let of = |node: &Value| node["engine"][name].as_u64().unwrap();
        nodes.iter().map(of).collect()
    };
    assert_eq!(counted("keys_made"), [1; 4]);
    assert_eq!(counted("keys_without_share"), [0; 4]);
}

#[test]
fn an_authority_that_is_killed_finds_its_share_of_the_made_key_in_its_journal() {
    let _turn = turn();
    let sandbox = Sandbox::new();
    let kill = ["--kill", "1@500ms", "--restart", "1@1s"];
    let flags = ["--dkg", "--duration", "3s", "--rate", "100"];
    let (_, report) = run_localnet(&sandbox, &[&flags[..], &kill[..]].concat());
    let node = &report["node_reports"][1]["engine"];
    assert!(node["records_recovered"].as_u64().unwrap() > 0);
    assert_eq!(node["keys_without_share"], 0);
}

/// What a run says of its keys: each newer than the one before, all that was sent sealed to one of them, and nothing of it
/// refused or unanswered. Gives their epochs.
fn epochs_of(report: &Value) -> Vec<u64> {
    let keys = report["keys"].as_array().unwrap();
    let epochs: Vec<u64> = keys
        .iter()
        .map(|key| key["epoch"].as_u64().unwrap())
        .collect();
    assert!(epochs.len() > 1, "no key was changed: {keys:?}");
    assert!(epochs.is_sorted_by(|one, next| one < next), "{epochs:?}");
    let sealed = |key: &Value| key["envelopes"].as_u64().unwrap();
    assert!(sealed(&keys[0]) > 0 && sealed(&keys[1]) > 0, "{keys:?}");
    let all: u64 = keys.iter().map(sealed).sum();
    assert_eq!(all, report["offered"].as_u64().unwrap());
    for name in ["refused", "unanswered", "keys_refused"] {
        assert_eq!(report[name], 0, "{name}");
    }
    for node in report["node_reports"].as_array().unwrap() {
        assert_eq!(node["engine"]["keys_without_share"], 0);
    }
    epochs
}

#[test]
fn keys_change_under_load_with_nothing_refused_unanswered_or_lost() {
    let _turn = turn();
    let sandbox = Sandbox::new();
    let flags = ["--new-key-every", "1s", "--duration", "4s", "--rate", "100"];
    let (ran, report) = run_localnet(&sandbox, &[&flags[..], &["--data", "data"]].concat());
    let epochs = epochs_of(&report);
    assert!(
        ran.stdout
            .contains("sealing key made by the committee itself")
    );
    assert_eq!(
        ran.stdout.matches("  sealing key ").count(),
        1 + epochs.len()
    );
    for index in 0..4 {
        let file = sandbox.path(&format!("data/node-{index}/committee.json"));
        let file: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        assert!(
            file["key_epoch"].as_u64() >= epochs.last().copied(),
            "{file}"
        );
    }
}

#[test]
fn an_authority_that_is_killed_between_two_keys_comes_back_with_its_share_of_both() {
    let _turn = turn();
    let sandbox = Sandbox::new();
    let flags = ["--new-key-every", "1s", "--duration", "5s", "--rate", "100"];
    let kill = ["--kill", "1@1500ms", "--restart", "1@2500ms"];
    let (_, report) = run_localnet(&sandbox, &[&flags[..], &kill[..]].concat());
    epochs_of(&report);
    let node = &report["node_reports"][1]["engine"];
    assert!(node["records_recovered"].as_u64().unwrap() > 0);
    assert!(node["keys_made"].as_u64().unwrap() > 0, "one more since");
}

#[test]
fn a_committee_founded_from_public_keys_makes_its_key_and_every_node_writes_it_down() {
    let _turn = turn();
    let sandbox = Sandbox::new();
    let run = |arguments: &[&str]| {
        let ran = sandbox.run(arguments);
        assert_eq!(ran.status, Some(0), "{ran:?}");
    };
    let ports = free_ports(8);
    let mut committee = vec![
        "committee".to_owned(),
        "--out".into(),
        "committee.json".into(),
    ];
    for (index, ports) in ports.chunks(2).enumerate() {
        let keys = format!("authority-{index}");
        run(&["keygen", "--out", &keys]);
        assert!(is_private(&sandbox.path(&format!("{keys}/secret.toml"))));
        let [client, peer] = [ports[0], ports[1]].map(|port| format!("127.0.0.1:{port}"));
        committee.push("--authority".into());
        committee.push(format!("{keys}/authority.json,{client},{peer}"));
    }
    run(&committee.iter().map(String::as_str).collect::<Vec<_>>());
    let founded = std::fs::read_to_string(sandbox.path("committee.json")).unwrap();
    assert!(
        founded.contains(r#""renew_us": 86400000000"#),
        "a new key each day"
    );
    let once = ["--out", "once.json", "--new-key-every", "never"];
    let authorities = committee[3..].iter().map(String::as_str);
    let never: Vec<&str> = ["committee"]
        .into_iter()
        .chain(once)
        .chain(authorities)
        .collect();
    run(&never);
    let kept = std::fs::read_to_string(sandbox.path("once.json")).unwrap();
    assert!(!kept.contains("renew_us"));
    let mut nodes = Vec::new();
    for index in 0..4 {
        let keys = format!("authority-{index}");
        run(&["join", "--keys", &keys, "--committee", "committee.json"]);
        let config = format!("{keys}/node.toml");
        nodes.push(sandbox.start(&["node", "--config", &config]));
    }
    let made = |index: usize| sandbox.path(&format!("authority-{index}/node/committee.json"));
    let until = Instant::now() + Duration::from_secs(60);
    while !(0..4).all(|index| made(index).exists()) {
        assert!(
            Instant::now() < until,
            "no key in a minute: {:?}",
            sandbox.ran(None)
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let first = std::fs::read_to_string(made(0)).unwrap();
    assert!(first.contains("committee_key"));
    for index in 1..4 {
        assert_eq!(std::fs::read_to_string(made(index)).unwrap(), first);
    }
    for node in &mut nodes {
        let pid = Pid::from_raw(node.id().try_into().unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        assert_eq!(wait(node), Some(0));
    }
    sandbox.assert_nothing_runs();
}

/// Ports of this host that nobody uses just now.
pub(crate) fn free_ports(count: usize) -> Vec<u16> {
    let bind = |_| std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let held: Vec<std::net::TcpListener> = (0..count).map(bind).collect();
    held.iter()
        .map(|port| port.local_addr().unwrap().port())
        .collect()
}

#[test]
fn the_topology_is_printed_and_nothing_is_started_or_written() {
    let sandbox = Sandbox::new();
    let net = sandbox.argument("net");
    let made = sandbox.run(&["testnet", "--nodes", "4", "--out", &net]);
    assert_eq!(made.status, Some(0), "{made:?}");
    let before = sandbox.listing();
    let config = sandbox.argument("net/node-2.toml");
    let ran = sandbox.run(&["node", "--config", &config, "--print-topology"]);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let words = [
        "authority 2 of 4",
        "network  ",
        "journal  plain",
        "io -> core",
        "16384 messages",
        "full: submissions: Busy",
        "receive  arrival: ",
        "park: sleeps until something comes",
        "refused, dropped, cut",
    ];
    for word in words {
        assert!(ran.stdout.contains(word), "{word} in {}", ran.stdout);
    }
    assert!(!ran.stdout.contains("control"), "no metrics are served");
    assert_eq!(sandbox.listing(), before);

    // The same sentence as at a start, where the setting cannot be.
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text.replace("mode = \"batch\"", "mode = \"spin\"");
    let text = text.replace("authorities_here = 4", "authorities_here = 4096");
    std::fs::write(&config, text).unwrap();
    for flags in [&["--print-topology"][..], &[]] {
        let arguments: Vec<&str> = ["node", "--config", &config]
            .iter()
            .chain(flags)
            .copied()
            .collect();
        sandbox
            .run(&arguments)
            .assert_refused(&["wait.mode", "core of its own", "batch"]);
    }
    assert_eq!(sandbox.listing(), before);
    sandbox.assert_nothing_runs();
}
