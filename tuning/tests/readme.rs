//! Holds the README to the command: a row for every command, with each of its flags.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, an unwrap that fails is the finding"
)]

use std::process::Command;

fn help(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_fairlane-tuning"))
        .args(arguments)
        .arg("--help")
        .output();
    String::from_utf8(output.unwrap().stdout).unwrap()
}

#[test]
fn every_command_has_a_row_with_all_its_flags() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let readme = std::fs::read_to_string(path).unwrap();
    let overview = help(&[]);
    let (_, commands) = overview.split_once("Commands:\n").unwrap();
    let commands: Vec<&str> = (commands.lines())
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(!commands.is_empty(), "{overview}");
    for command in commands {
        let start = format!("| `fairlane-tuning {command}");
        let row = readme.lines().find(|line| line.starts_with(&start));
        let row = row.unwrap_or_else(|| panic!("no row for {command}"));
        let help = help(&[command]);
        let flags: Vec<&str> = (help.lines())
            .filter_map(|line| line.trim_start().strip_prefix("--"))
            .filter_map(|rest| rest.split([' ', ',']).next())
            .collect();
        assert!(!flags.is_empty(), "{help}");
        for flag in flags.iter().filter(|flag| **flag != "root") {
            let stated = [" ", "]", "`"]
                .iter()
                .any(|end| row.contains(&format!("--{flag}{end}")));
            assert!(stated, "--{flag} of {command} is not in: {row}");
        }
    }
}
