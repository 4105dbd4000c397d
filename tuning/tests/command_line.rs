//! The command as users meet it: exit statuses, sentences, JSON; on copies of machines, and on this one.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, an unwrap that fails is the finding"
)]

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use support::{Machine, SERVER, flat};
use tempfile::TempDir;

#[path = "support/shape.rs"]
mod support;

const TUNING: &str = env!("CARGO_BIN_EXE_fairlane-tuning");

fn run(root: Option<&Path>, arguments: &[&str]) -> Output {
    let mut command = Command::new(TUNING);
    if let Some(root) = root {
        command.arg("--root").arg(root);
    }
    command.args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn status(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn check_says_by_its_status_whether_the_machine_is_good_enough() {
    let machine = Machine::healthy(flat(8));
    let good = run(Some(machine.path()), &["check"]);
    assert_eq!(status(&good), 0, "{}", stdout(&good));
    assert_eq!(
        status(&run(
            Some(machine.path()),
            &["check", "--fail-on", "medium"]
        )),
        1
    );
    machine.write(
        "/sys/devices/system/cpu/cpu1/cpufreq/scaling_governor",
        "powersave",
    );
    let bad = run(Some(machine.path()), &["check"]);
    assert_eq!(status(&bad), 1);
    assert!(stdout(&bad).contains("fairlane-tuning apply --only governor (1 file)"));
}

#[test]
fn bad_input_is_one_sentence_and_status_two() {
    let machine = Machine::healthy(flat(2));
    let cases: [&[&str]; 7] = [
        &["measure", "--seconds", "1"],
        &["check", "--cores", "9"],
        &["check", "--interface", "nosuch0"],
        &["plan", "--cores", "x"],
        &["plan", "--authorities", "0"],
        &["apply", "--only", "nosuch"],
        &["nosuch"],
    ];
    for arguments in cases {
        let output = run(Some(machine.path()), arguments);
        assert_eq!(status(&output), 2, "{arguments:?}");
        assert!(
            output.stdout.is_empty() && !output.stderr.is_empty(),
            "{arguments:?}"
        );
    }
    let nowhere = run(Some(Path::new("/nonexistent")), &["check"]);
    let said = String::from_utf8(nowhere.stderr.clone()).unwrap();
    assert_eq!((status(&nowhere), said.lines().count()), (2, 1), "{said}");
    let empty = TempDir::new().unwrap();
    let output = run(Some(empty.path()), &["check"]);
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(status(&output), 2);
    assert!(said.contains("/sys/devices/system/cpu/online"), "{said}");
}

#[test]
fn a_copy_of_a_machine_is_not_confused_with_this_one() {
    let machine = Machine::healthy(flat(2));
    let report = json(&run(Some(machine.path()), &["check", "--json"]));
    let findings = report["findings"].as_array().unwrap();
    for name in ["io-uring", "nic-rings"] {
        let finding = findings
            .iter()
            .find(|finding| finding["knob"] == name)
            .unwrap();
        assert_eq!(finding["verdict"], "unread", "{finding}");
    }
}

#[test]
fn plan_prints_what_to_start_and_what_will_happen() {
    let machine = Machine::healthy(SERVER);
    let text = stdout(&run(Some(machine.path()), &["plan"]));
    assert!(
        text.contains("taskset --cpu-list 1-3 fairlane node --config node-0.toml"),
        "{text}"
    );
    assert!(text.contains("authorities_here = 1"), "{text}");
    assert!(text.contains("wait.mode = \"spin\""), "{text}");
    let report = json(&run(
        Some(machine.path()),
        &["plan", "--authorities", "2", "--json"],
    ));
    let authorities = report["placement"]["authorities"].as_array().unwrap();
    assert_eq!(authorities.len(), 2);
    assert_eq!(authorities[0]["plan"]["threads"][0]["stages"][0], "io");
}

#[test]
fn apply_and_undo_mend_and_restore_a_machine() {
    let machine = Machine::healthy(flat(8));
    let governor = "/sys/devices/system/cpu/cpu2/cpufreq/scaling_governor";
    machine.write(governor, "powersave");
    machine.write("/proc/sys/net/core/somaxconn", "128");
    assert_eq!(status(&run(Some(machine.path()), &["check"])), 1);
    let dry = run(Some(machine.path()), &["apply", "--dry-run"]);
    assert!(
        stdout(&dry).contains("powersave -> performance: would be written"),
        "{}",
        stdout(&dry)
    );
    assert_eq!(machine.content(governor), "powersave");
    let one = run(Some(machine.path()), &["apply", "--only", "governor"]);
    assert_eq!(status(&one), 0, "{}", stdout(&one));
    assert_eq!(machine.content("/proc/sys/net/core/somaxconn"), "128");
    assert_eq!(status(&run(Some(machine.path()), &["apply"])), 0);
    assert_eq!(machine.content("/proc/sys/net/core/somaxconn"), "4096");
    assert_eq!(status(&run(Some(machine.path()), &["check"])), 0);
    let again = run(Some(machine.path()), &["apply"]);
    assert!(
        stdout(&again).contains("nothing to write"),
        "{}",
        stdout(&again)
    );
    assert_eq!(status(&run(Some(machine.path()), &["undo"])), 0);
    assert_eq!(machine.content(governor), "powersave");
    assert_eq!(machine.content("/proc/sys/net/core/somaxconn"), "128");
    let nothing = run(Some(machine.path()), &["undo"]);
    assert!(
        stdout(&nothing).contains("nothing to undo"),
        "{}",
        stdout(&nothing)
    );
}

#[test]
fn a_knob_that_apply_cannot_mend_is_said_with_what_can() {
    let machine = Machine::healthy(flat(8));
    let output = run(Some(machine.path()), &["apply", "--only", "isolcpus"]);
    assert_eq!(status(&output), 1);
    assert!(
        stdout(&output).contains("isolcpus=managed_irq,domain,1-3"),
        "{}",
        stdout(&output)
    );
}

#[test]
fn this_machine_is_checked_without_any_privilege() {
    // As nobody when the test runs as root; the program is copied to where nobody may read it.
    let folder = TempDir::new().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = folder.path().join("fairlane-tuning");
    // Not by this process: a child that another test starts meanwhile would hold the copy open for writing.
    let copied = Command::new("cp").arg(TUNING).arg(&program).status();
    assert!(copied.unwrap().success());
    let mut command = Command::new(&program);
    command.args(["check", "--json"]).current_dir("/");
    if rustix::process::getuid().is_root() {
        command.gid(65534).uid(65534);
    }
    let output = command.output().unwrap();
    assert!(
        [0, 1].contains(&status(&output)),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let report = json(&output);
    assert!(report["findings"].as_array().unwrap().len() > 30);
    assert!(
        report["topology"]["cpus"]
            .as_array()
            .is_some_and(|cpus| !cpus.is_empty())
    );
}

#[test]
fn this_machine_would_be_changed_by_nobody_in_a_dry_run() {
    let folder = TempDir::new().unwrap();
    let state = folder.path().join("deep/state.json");
    let output = run(
        None,
        &["apply", "--dry-run", "--state", state.to_str().unwrap()],
    );
    assert!(
        [0, 1].contains(&status(&output)),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(!folder.path().join("deep").exists());
}

#[test]
fn measure_gives_figures_or_the_reason_and_leaves_nothing() {
    let folder = TempDir::new().unwrap();
    let dir = folder.path().to_str().unwrap();
    let output = run(None, &["measure", "--seconds", "1", "--dir", dir, "--json"]);
    let report = json(&output);
    let probes = report["probes"].as_array().unwrap();
    let names: Vec<&str> = probes
        .iter()
        .map(|probe| probe["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "clock",
            "syscall",
            "timer wake-up",
            "thread wake-up",
            "ring hop",
            "loopback, epoll",
            "loopback, io_uring",
            "fdatasync"
        ]
    );
    let mut failed = 0;
    for probe in probes {
        let times = &probe["times"];
        if let Some(why) = times["failed"].as_str() {
            // io_uring may be refused where this runs, and a machine may have one processor.
            assert!(
                !why.is_empty() && probe["name"] != "clock" && probe["name"] != "syscall",
                "{probe}"
            );
            failed += 1;
            continue;
        }
        let figures =
            ["p50_ns", "p99_ns", "p999_ns", "max_ns"].map(|name| times[name].as_u64().unwrap());
        assert!(figures.is_sorted() && figures[0] > 0, "{probe}");
        assert!(times["count"].as_u64().unwrap() > 0, "{probe}");
    }
    for core in report["jitter"].as_array().unwrap() {
        let found = &core["found"];
        assert!(
            found["lost_ns"].as_u64().unwrap() <= found["time_ns"].as_u64().unwrap(),
            "{core}"
        );
    }
    assert_eq!(status(&output), i32::from(failed > 0), "{report}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    let nowhere = run(None, &["measure", "--dir", "/nonexistent"]);
    assert_eq!(status(&nowhere), 2);
}

#[test]
fn every_command_explains_itself() {
    for command in ["check", "plan", "apply", "undo", "measure"] {
        let output = run(None, &[command, "--help"]);
        assert_eq!(status(&output), 0);
        assert!(stdout(&output).lines().count() > 12, "{}", stdout(&output));
    }
}
