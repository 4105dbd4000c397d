//! Holds the README to the code: every bound in its limits tables, every flag and setting in its references.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, an unwrap that fails is the finding"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use fairlane_net::config::{Quotas, Timers};
use fairlane_net::stage::waiting::Wait;

/// One constant that bounds something.
#[derive(Debug)]
struct Bound {
    name: String,
    /// Its value as the code says it.
    value: String,
    file: PathBuf,
}

#[test]
fn every_bound_stands_in_the_limits_tables_with_its_value() {
    let readme = readme();
    let rows: Vec<&str> = readme
        .lines()
        .filter(|line| line.starts_with('|'))
        .collect();
    let folders = ["engine/src", "net/src", "net/client/src"];
    let bounds: Vec<Bound> = folders
        .iter()
        .flat_map(|folder| bounds_in(folder))
        .collect();
    assert!(bounds.len() > 50, "found only {} bounds", bounds.len());
    let missing: Vec<String> = bounds
        .iter()
        .filter(|bound| !rows.iter().any(|row| states(row, bound)))
        .map(|bound| format!("{}: {} = {}", bound.file.display(), bound.name, bound.value))
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn no_row_names_a_bound_that_is_gone() {
    let bounds: Vec<Bound> = ["engine/src", "net/src", "net/client/src", "loadgen/src"]
        .iter()
        .flat_map(|folder| bounds_in(folder))
        .collect();
    for row in readme().lines().filter(|line| line.starts_with('|')) {
        let name_cell = row.split('|').nth(1).unwrap_or_default();
        for name in name_cell.split('`').filter(|part| is_bound(part)) {
            let known = bounds.iter().any(|bound| bound.name == name);
            assert!(known, "{name} is in no source");
        }
    }
}

#[test]
fn a_row_states_a_bound_only_with_its_very_value() {
    let bound = |value: &str| Bound {
        name: "X_MAX".into(),
        value: value.into(),
        file: PathBuf::new(),
    };
    let row = "| `X_MAX` | 4 MiB | refused | `4 << 20` |";
    assert!(states(row, &bound("4 << 20")));
    assert!(!states(row, &bound("4 << 2")));
    assert!(!states(
        "| `XX_MAX` | 4 MiB | refused | `4 << 20` |",
        &bound("4 << 20")
    ));
}

#[test]
fn every_flag_of_localnet_and_testnet_stands_in_the_command_reference() {
    let readme = readme();
    let of_journal = ["journal inspect", "journal check"];
    for command in ["localnet", "testnet", "node", "settle", "verify"]
        .iter()
        .chain(&of_journal)
    {
        let fairlane = env!("CARGO_BIN_EXE_fairlane");
        let words = command.split(' ').chain(["--help"]);
        let output = Command::new(fairlane).args(words).output();
        let help = String::from_utf8(output.unwrap().stdout).unwrap();
        let words = help.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
        let flags: Vec<&str> = words.filter(|word| word.starts_with("--")).collect();
        assert!(flags.len() > 1, "{help}");
        for flag in flags.iter().filter(|flag| **flag != "--help") {
            let stated = [" ", "`"]
                .iter()
                .any(|end| readme.contains(&format!("{flag}{end}")));
            assert!(stated, "{flag} of {command}");
        }
    }
}

#[test]
fn every_timer_quota_and_wait_stands_in_the_settings_with_its_default() {
    let readme = readme();
    let timers = toml::Table::try_from(Timers::default()).unwrap();
    let quotas = toml::Table::try_from(Quotas::default()).unwrap();
    let wait = toml::Table::try_from(Wait::default()).unwrap();
    assert!(timers.len() > 4 && quotas.len() > 1 && wait.len() > 1);
    for (part, defaults) in [("timers", timers), ("quotas", quotas), ("wait", wait)] {
        for (name, value) in defaults {
            let row = format!("| `{part}.{name}` | {value} |");
            assert!(readme.contains(&row), "{row}");
        }
    }
}

fn readme() -> String {
    std::fs::read_to_string(repository().join("README.md")).unwrap()
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Whether a row of a table names the bound in its first cell and gives its value in the last.
fn states(row: &str, bound: &Bound) -> bool {
    let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
    let holds = |cell: Option<&&str>, text: &str| {
        cell.is_some_and(|cell| cell.split('`').any(|part| part == text))
    };
    holds(cells.first(), &bound.name) && holds(cells.last(), &bound.value)
}

/// The bounds among the constants of a folder's sources; what stands inside of functions and tests is indented.
fn bounds_in(folder: &str) -> Vec<Bound> {
    let mut bounds = Vec::new();
    let mut folders = vec![repository().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            // What `localnet` searches for is a criterion of its own, stated with `--rate max`; the simulator is in no node.
            let is_apart = path.ends_with("src/localnet") || path.ends_with("src/sim");
            if path.is_dir() && !is_apart {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let source = std::fs::read_to_string(&path).unwrap();
                bounds.extend(source.lines().filter_map(|line| bound_of(line, &path)));
            }
        }
    }
    bounds
}

fn bound_of(line: &str, file: &Path) -> Option<Bound> {
    let visible = line.starts_with("pub") || line.starts_with("const ");
    let (_, declared) = line.split_once("const ").filter(|_| visible)?;
    let (name, rest) = declared.split_once(": ")?;
    let (_, value) = rest.split_once(" = ")?;
    is_bound(name).then(|| Bound {
        name: name.to_owned(),
        value: value.trim_end_matches(';').to_owned(),
        file: file.to_path_buf(),
    })
}

fn is_bound(name: &str) -> bool {
    let is_upper = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    name.chars().all(is_upper)
        && ["_MAX", "_DEPTH", "_LIMIT"]
            .iter()
            .any(|end| name.ends_with(end))
}
