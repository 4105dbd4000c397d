//! Who can jump the queue, and who can hold it up: simulated attacks on this project's order and on others.
//!
//! `fairlane-bench attack`: clients, authorities and their links are simulated ([`network`], [`rounds`]);
//! what the authorities list ([`lists`]) is the same for every rule ([`rules`]), so that rules differ by what they make of
//! it. Ours is the engine's own code, and the law is held over each of its orders ([`law`]).
//!
//! - [`race`]: how often an attacker that reacts to a victim comes first, with f authorities helping;
//! - [`delay`]: what waiting costs as jitter grows;
//! - [`waiting`]: what clients can do to others' waiting;
//! - [`localnet`], [`recorded`]: the race on orders that a real committee recorded, `fairlane-bench attack-localnet`;
//! - [`report`], [`plot`]: tables, JSON, and pictures.
//!
//! Not simulated: faults of the network, what a rule costs in messages, and blindness. Every attacker here is taken to
//! know that the victim's envelope is worth a race; where envelopes are sealed it does not.

pub mod chance;
pub mod delay;
pub mod law;
pub mod lists;
pub mod localnet;
pub mod network;
pub mod plot;
pub mod race;
pub mod recorded;
pub mod report;
pub mod rounds;
pub mod rules;
pub mod traffic;
pub mod waiting;

use network::{MS, Ns, Profile};
use report::Report;
use waiting::Attack;

/// How much is simulated.
#[derive(Clone, Debug)]
pub struct AttackPlan {
    /// Committee sizes.
    pub authorities: Vec<usize>,
    /// Pairs for each gap.
    pub pairs: usize,
    /// Attacks on waiting.
    pub attacks: Vec<Attack>,
    /// Simulated seconds of each run of the delays and the attacks on waiting.
    pub seconds: u64,
    /// Of everything that is drawn.
    pub seed: u64,
}

/// Runs everything; `progress` is told what comes next.
///
/// Panics where the law of the fair order is broken: that is a bug, and no figure would mean anything.
pub fn run(plan: &AttackPlan, progress: &mut dyn FnMut(&str)) -> Report {
    let mut report = Report {
        title: "fairlane-bench attack: simulated, the host's speed has no part in any figure",
        seed: plan.seed,
        pairs_a_gap: plan.pairs,
        seconds: plan.seconds,
        networks: Profile::ALL.map(|at| (at.name(), at.words())).to_vec(),
        gaps_ms: in_ms(&GAPS),
        jitters_ms: in_ms(&JITTERS),
        races: Vec::new(),
        sweeps: Vec::new(),
        waits: Vec::new(),
    };
    for authorities in plan.authorities.iter().copied() {
        for profile in Profile::ALL {
            progress(&format!("race, n = {authorities}, {}", profile.name()));
            report.races.extend(race::run(&race::RacePlan {
                authorities,
                profile,
                gaps: GAPS.to_vec(),
                pairs: plan.pairs,
                seed: plan.seed,
            }));
        }
        progress(&format!("delay by jitter, n = {authorities}"));
        let sweeps = delay::sweep(authorities, &JITTERS, plan.seconds, plan.seed);
        report.sweeps.extend(sweeps);
        progress(&format!("attacks on waiting, n = {authorities}"));
        let waits = waiting::run(authorities, &plan.attacks, plan.seconds, plan.seed);
        report.waits.extend(waits);
    }
    report
}

fn in_ms(times: &[Ns]) -> Vec<f64> {
    times.iter().map(|time| *time as f64 / MS as f64).collect()
}

/// Times from the victim's sending to the attacker's.
const GAPS: [Ns; 9] = [
    0,
    MS / 4,
    MS / 2,
    3 * MS / 4,
    MS,
    2 * MS,
    3 * MS,
    4 * MS,
    5 * MS,
];

/// Mean jitters of what clients send.
const JITTERS: [Ns; 8] = [0, MS / 4, MS / 2, MS, 2 * MS, 3 * MS, 4 * MS, 5 * MS];
