//! The mutation check: each broken rule must be caught by some seed, and by that seed only because it is broken.

use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use fairlane_engine::mutant::{Mutant, activate};
use fairlane_engine::sim::{self, Keyring, Options};

/// The rule of this name.
pub(crate) fn by_name(name: &str) -> Option<Mutant> {
    let named = |mutant: &&Mutant| format!("{mutant:?}") == name;
    Mutant::ALL.iter().find(named).copied()
}

/// Runs `seeds` for each broken rule, or `only` for one, until one fails that holds unbroken.
///
/// Exit status 1 when a rule can be broken unnoticed, or a seed fails with nothing broken.
pub(crate) fn check(
    only: Option<Mutant>,
    seeds: Range<u64>,
    options: Options,
    keyring: &mut Keyring,
) -> ExitCode {
    // What a panic says stands in the verdict; a broken rule may well trip an assertion.
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string);
        let text = format!("{} at {}", said(info.payload()), place.unwrap_or_default());
        *PANIC.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }));
    let start = Instant::now();
    let (mut survivors, mut unsound) = (0, 0);
    for mutant in only.as_ref().map_or(Mutant::ALL, std::slice::from_ref) {
        let mutant_start = Instant::now();
        activate(Some(*mutant));
        let caught = seeds.clone().find_map(|seed| {
            let verdict = verdict(seed, options, keyring)?;
            Some((seed, verdict))
        });
        activate(None);
        let took = mutant_start.elapsed().as_secs_f64();
        let Some((seed, (checker, what))) = caught else {
            survivors += 1;
            println!("{mutant:?}: NOT caught by seeds {seeds:?}, {took:.1} s");
            continue;
        };
        let count = seed - seeds.start + 1;
        println!(
            "{mutant:?}: caught by {checker}, seed {seed}, the {count}. tried, {took:.1} s: {what}"
        );
        if let Some((checker, what)) = verdict(seed, options, keyring) {
            unsound += 1;
            println!("seed {seed} fails with nothing broken: {checker}: {what}");
        }
    }
    println!(
        "{survivors} broken rules unnoticed, {unsound} seeds that fail with nothing broken; {:.1} s",
        start.elapsed().as_secs_f64()
    );
    ExitCode::from(u8::from(survivors + unsound > 0))
}

/// Who finds something wrong in a run, and what.
fn verdict(seed: u64, options: Options, keyring: &mut Keyring) -> Option<(String, String)> {
    match catch_unwind(AssertUnwindSafe(|| sim::run(seed, options, keyring))) {
        Ok(report) => {
            let failure = report.failure?;
            Some((format!("the checker {:?}", failure.checker), failure.what))
        }
        Err(_) => {
            let said = PANIC.lock().unwrap_or_else(PoisonError::into_inner).clone();
            Some(("an assertion of the engine".to_owned(), said))
        }
    }
}

/// The words of a panic.
fn said(payload: &dyn Any) -> String {
    let constant = payload.downcast_ref::<&str>().map(ToString::to_string);
    let made = || payload.downcast_ref::<String>().cloned();
    constant.or_else(made).unwrap_or_default()
}

/// What the last panic said, and where.
static PANIC: Mutex<String> = Mutex::new(String::new());
