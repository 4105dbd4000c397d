//! Applying and undoing on copies of machines: what was there comes back, whatever was refused on the way.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, an unwrap that fails is the finding"
)]

use std::path::PathBuf;

use fairlane_tuning::apply::{Outcome, StateError, StateFile, Step, StepResult, apply, undo};
use fairlane_tuning::check::Change;
use proptest::prelude::*;
use support::{Machine, flat};

#[path = "support/shape.rs"]
mod support;

const SOMAXCONN: &str = "/proc/sys/net/core/somaxconn";
const BUSY_POLL: &str = "/proc/sys/net/core/busy_poll";
const THP: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

fn machine() -> Machine {
    Machine::healthy(flat(4)).file(BOOT, "boot-1")
}

fn state_path(machine: &Machine) -> PathBuf {
    machine.path().join("var/lib/state.json")
}

fn step(path: &str, value: &str) -> Step {
    Step {
        knob: "knob".to_owned(),
        change: Change {
            path: path.to_owned(),
            value: value.to_owned(),
        },
    }
}

fn apply_to(machine: &Machine, steps: &[Step]) -> Vec<Outcome> {
    let file = StateFile::take(&state_path(machine)).unwrap();
    apply(&machine.tree(), &file, steps, false).unwrap()
}

fn undo_at(machine: &Machine) -> Vec<Outcome> {
    let file = StateFile::take(&state_path(machine)).unwrap();
    undo(&machine.tree(), &file, false).unwrap()
}

fn results(outcomes: &[Outcome]) -> Vec<StepResult> {
    outcomes
        .iter()
        .map(|outcome| outcome.result.clone())
        .collect()
}

#[test]
fn what_is_applied_is_written_once_and_taken_back() {
    let machine = machine();
    let steps = [step(SOMAXCONN, "8192"), step(THP, "never")];
    assert_eq!(
        results(&apply_to(&machine, &steps)),
        [StepResult::Done, StepResult::Done]
    );
    assert_eq!(
        (machine.content(SOMAXCONN), machine.content(THP)),
        ("8192".into(), "never".into())
    );
    assert_eq!(
        results(&apply_to(&machine, &steps)),
        [StepResult::Already, StepResult::Already]
    );
    let undone = undo_at(&machine);
    assert_eq!(undone[0].path, THP, "the last first");
    assert_eq!(
        (machine.content(SOMAXCONN), machine.content(THP)),
        ("4096".into(), "madvise".into())
    );
    assert_eq!(undo_at(&machine), [], "there is nothing left");
}

#[test]
fn the_content_before_the_first_apply_comes_back_after_several() {
    let machine = machine();
    apply_to(&machine, &[step(SOMAXCONN, "5000")]);
    apply_to(&machine, &[step(SOMAXCONN, "6000")]);
    undo_at(&machine);
    assert_eq!(machine.content(SOMAXCONN), "4096");
}

#[test]
fn what_somebody_else_has_set_since_stays() {
    let machine = machine();
    apply_to(&machine, &[step(SOMAXCONN, "5000"), step(BUSY_POLL, "50")]);
    machine.write(SOMAXCONN, "7000");
    let undone = undo_at(&machine);
    assert_eq!(
        results(&undone),
        [StepResult::Done, StepResult::Foreign("7000".into())]
    );
    assert_eq!(
        (machine.content(SOMAXCONN), machine.content(BUSY_POLL)),
        ("7000".into(), "0".into())
    );
    assert_eq!(undo_at(&machine), []);
}

#[test]
fn a_file_that_cannot_be_read_or_written_is_said_and_the_next_is_done() {
    let machine = machine();
    // The kernel takes no write to this one from anybody.
    let refusing = machine.tree().locate("/sys/refusing");
    std::os::unix::fs::symlink("/proc/version", &refusing).unwrap();
    let steps = [
        step("/sys/absent", "1"),
        step("/sys/refusing", "1"),
        step(SOMAXCONN, "5000"),
    ];
    let outcomes = apply_to(&machine, &steps);
    assert!(
        matches!(&outcomes[0].result, StepResult::Refused(why) if why.contains("could not be undone"))
    );
    assert!(
        matches!(&outcomes[1].result, StepResult::Refused(_)),
        "{outcomes:?}"
    );
    assert_eq!(outcomes[2].result, StepResult::Done);
    assert!(!machine.tree().has("/sys/absent"), "no file is made");
    let undone = undo_at(&machine);
    assert_eq!(undone.len(), 1, "what was not changed is not undone");
}

#[test]
fn nothing_is_written_that_cannot_be_recorded() {
    let machine = machine();
    let file = StateFile::take(&state_path(&machine)).unwrap();
    std::fs::create_dir(machine.path().join("var/lib/state.json.new")).unwrap();
    let failed = apply(&machine.tree(), &file, &[step(SOMAXCONN, "5000")], false);
    assert!(matches!(failed, Err(StateError::Io { .. })));
    assert_eq!(machine.content(SOMAXCONN), "4096");
}

#[test]
fn a_crash_between_record_and_write_leaves_nothing_to_undo() {
    let machine = machine();
    apply_to(&machine, &[step(SOMAXCONN, "5000")]);
    // As if it had never been written.
    machine.write(SOMAXCONN, "4096");
    assert_eq!(results(&undo_at(&machine)), [StepResult::Already]);
    assert_eq!(machine.content(SOMAXCONN), "4096");
}

#[test]
fn a_state_of_an_earlier_boot_is_none() {
    let machine = machine();
    apply_to(&machine, &[step(SOMAXCONN, "5000")]);
    machine.write(BOOT, "boot-2");
    assert_eq!(undo_at(&machine), []);
    assert_eq!(machine.content(SOMAXCONN), "5000");
}

#[test]
fn a_dry_run_writes_nothing_at_all() {
    let machine = machine();
    let file = StateFile::look_at(&state_path(&machine));
    let outcomes = apply(&machine.tree(), &file, &[step(SOMAXCONN, "5000")], true).unwrap();
    assert_eq!(results(&outcomes), [StepResult::Would]);
    assert_eq!(machine.content(SOMAXCONN), "4096");
    assert!(!machine.path().join("var").exists());
    apply_to(&machine, &[step(SOMAXCONN, "5000")]);
    let before = std::fs::read(state_path(&machine)).unwrap();
    let outcomes = undo(&machine.tree(), &file, true).unwrap();
    assert_eq!(results(&outcomes), [StepResult::Would]);
    assert_eq!(machine.content(SOMAXCONN), "5000");
    assert_eq!(std::fs::read(state_path(&machine)).unwrap(), before);
}

#[test]
fn only_one_process_changes_at_a_time() {
    let machine = machine();
    let _first = StateFile::take(&state_path(&machine)).unwrap();
    assert!(matches!(
        StateFile::take(&state_path(&machine)),
        Err(StateError::Busy(_))
    ));
}

#[test]
fn a_state_that_names_other_files_than_the_kernels_is_refused() {
    let machine = machine();
    apply_to(&machine, &[step(SOMAXCONN, "5000")]);
    let good = std::fs::read_to_string(state_path(&machine)).unwrap();
    let bad = [
        good.replace(SOMAXCONN, "/etc/passwd"),
        good.replace(SOMAXCONN, "/proc/../etc/passwd"),
        good.replace("\"version\": 1", "\"version\": 2"),
        good.replace("\"knob\"", "\"knub\""),
        good[..good.len() / 2].to_owned(),
        String::new(),
    ];
    for text in bad {
        assert_ne!(text, good);
        std::fs::write(state_path(&machine), text).unwrap();
        let file = StateFile::take(&state_path(&machine)).unwrap();
        let refused = undo(&machine.tree(), &file, false);
        assert!(
            matches!(refused, Err(StateError::Malformed { .. })),
            "{refused:?}"
        );
    }
    assert_eq!(machine.content(SOMAXCONN), "5000");
}

#[test]
fn lists_of_processors_are_compared_by_what_they_mean() {
    let list = "/proc/irq/40/smp_affinity_list";
    let machine = machine().file(list, "0,1,2");
    assert_eq!(
        results(&apply_to(&machine, &[step(list, "0-2")])),
        [StepResult::Already]
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever is applied in whatever pieces, undo gives back what was there.
    #[test]
    fn undo_gives_back_what_was_there(
        writes in prop::collection::vec((0..4_usize, 0..5_u32), 1..8),
    ) {
        let paths = [
            SOMAXCONN,
            BUSY_POLL,
            "/proc/sys/net/core/rmem_max",
            "/proc/sys/net/ipv4/tcp_rmem",
        ];
        let machine = machine();
        let before = paths.map(|path| machine.content(path));
        for piece in writes.chunks(2) {
            let steps: Vec<Step> = (piece.iter())
                .map(|(place, value)| step(paths[*place], &value.to_string()))
                .collect();
            apply_to(&machine, &steps);
        }
        undo_at(&machine);
        prop_assert_eq!(paths.map(|path| machine.content(path)), before);
    }
}
