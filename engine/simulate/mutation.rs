//! The mutation check: each broken rule must be caught by some seed.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use fairlane_engine::mutant::{Mutant, activate};
use fairlane_engine::sim::{self, Keyring, Options};

/// The rule of this name.
pub(crate) fn by_name(name: &str) -> Option<Mutant> {
    let named = |mutant: &&Mutant| format!("{mutant:?}") == name;
    Mutant::ALL.iter().find(named).copied()
}

/// Runs `seeds` for each broken rule, or `only` for one, until one fails; exit status 1 when a rule can be broken unnoticed.
pub(crate) fn check(
    only: Option<Mutant>,
    seeds: Range<u64>,
    options: Options,
    keyring: &mut Keyring,
) -> ExitCode {
    // What a panic says stands in the verdict; a broken rule may well trip an assertion.
    std::panic::set_hook(Box::new(|_| {}));
    let mut survivors = 0;
    for mutant in only.as_ref().map_or(Mutant::ALL, std::slice::from_ref) {
        activate(Some(*mutant));
        let caught = seeds.clone().find_map(|seed| {
            let ran = catch_unwind(AssertUnwindSafe(|| sim::run(seed, options, keyring)));
            let verdict = match ran {
                Ok(report) => report.failure?.to_string(),
                Err(_) => "an assertion of the engine".to_owned(),
            };
            Some((seed, verdict))
        });
        match caught {
            Some((seed, verdict)) => println!("{mutant:?}: caught by seed {seed}: {verdict}"),
            None => {
                survivors += 1;
                println!("{mutant:?}: NOT caught by seeds {seeds:?}");
            }
        }
    }
    activate(None);
    println!("{survivors} broken rules unnoticed");
    ExitCode::from(u8::from(survivors > 0))
}
