//! `vectors/sealing.json` is what the formulas give, and what the engine gives: every step computed twice, here.
//!
//! [`plain`] computes each value from the formulas of design and crate documentation; [`make`] holds the engine's own
//! against it and puts the file together. To write the file anew after a change of format:
//! `cargo test -p fairlane-engine --test sealing_vectors -- --ignored write_the_file`.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, an unwrap that fails is the finding"
)]

mod format;
#[allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses the parts that it needs"
)]
#[path = "../common/hostile.rs"]
mod hostile;
mod make;
mod plain;
mod refused;

use std::path::PathBuf;

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/sealing.json")
}

#[test]
fn the_file_holds_what_formulas_and_engine_give() {
    let text = std::fs::read_to_string(path()).unwrap();
    let kept: format::Vectors = serde_json::from_str(&text).unwrap();
    assert_eq!(kept, make::vectors());
}

#[test]
#[ignore = "writes the file that the other test reads"]
fn write_the_file() {
    let mut text = serde_json::to_string_pretty(&make::vectors()).unwrap();
    text.push('\n');
    std::fs::write(path(), text).unwrap();
}
