//! The `fairlane-loadgen` binary from outside: bad input is one sentence and exit status 2.

#![cfg(feature = "command")]
#![allow(
    clippy::unwrap_used,
    reason = "in a test, an unwrap that fails is the finding"
)]

use std::path::Path;
use std::process::{Command, Output};

fn run(folder: &Path, flags: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fairlane-loadgen"))
        .args(flags)
        .current_dir(folder)
        .output()
        .unwrap()
}

#[test]
fn bad_input_is_one_sentence_and_exit_status_2() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("odd.json"), "{}").unwrap();
    let committee = ["--committee", "odd.json"];
    for (flags, words) in [
        (vec!["--committee", "absent.json"], "absent.json"),
        (vec!["--committee", "odd.json"], "odd.json"),
        (
            [&committee[..], &["--json", "."]].concat(),
            "that is a folder",
        ),
        (
            [&committee[..], &["--html", "no/x.html"]].concat(),
            "there is no folder no",
        ),
        (
            [&committee[..], &["--replay", "none.csv.gz"]].concat(),
            "none.csv.gz",
        ),
        (vec!["sink", "--committee", "absent.json"], "absent.json"),
        (
            [&committee[..], &["--workload", "gaming", "--ticks", "0"]].concat(),
            "a game has",
        ),
    ] {
        let output = run(folder.path(), &flags);
        assert_eq!(output.status.code(), Some(2), "{flags:?}: {output:?}");
        assert!(output.stdout.is_empty());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            said.starts_with("fairlane-loadgen: ") && said.contains(words),
            "{said}"
        );
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    for flags in [
        &["--rate", "0"][..],
        &["--arrivals", "often"],
        &["--races", "5"],
        &["--rollup", "1:0"],
        &["--hostile", "rude=1%"],
        &["--pool", "9", "--closed", "2"],
        &[],
    ] {
        let flags = match flags {
            [] => vec![],
            flags => [&committee[..], flags].concat(),
        };
        assert_eq!(
            run(folder.path(), &flags).status.code(),
            Some(2),
            "{flags:?}"
        );
    }
}
