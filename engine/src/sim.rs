//! A whole committee in one thread on virtual time: the same core that the node runs, with everything around it simulated.
//!
//! A run is its seed. From it follow the committee, its network, disks, clocks, clients, faults and faulty authorities
//! ([`scenario`]), and every single delay. What must hold is judged by checkers of their own ([`check`]), which know
//! nothing of how the engine comes to its results. Two runs of one seed are the same to the byte ([`Report::trace`]).
//!
//! A node here is what `fairlane-net`'s core stage is to an engine: it verifies what comes, hands it in, writes records to
//! its disk, sends, and opens batches. Nothing here may know a clock, a thread or a file either; the binary `simulate` does.

mod byzantine;
mod chance;
mod check;
mod clock;
mod disk;
mod hostile;
mod keys;
mod latency;
mod memo;
mod network;
mod node;
mod queue;
mod report;
mod scenario;
mod workload;
mod world;

pub use check::Failure;
pub use check::law::LawTally;
pub use keys::Keyring;
pub use latency::Mean;
pub use report::Report;

use scenario::Scenario;
use world::World;

/// How a seed is run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The size of the committee; drawn from the seed when not given.
    pub n: Option<u8>,
    /// Every node checks every signature and proof itself.
    pub is_without_memo: bool,
    /// Nodes lose power, beside all else that the seed stands for.
    pub is_losing_power: bool,
}

/// Runs one seed.
pub fn run(seed: u64, options: Options, keyring: &mut Keyring) -> Report {
    let scenario = scenario(seed, options);
    let keys = keyring.of_size(scenario.n);
    World::new(scenario, keys, options).run()
}

/// Runs a committee of `n` without chance: every message takes `delay_us`, writing takes nothing, nobody is faulty but
/// `crashed` authorities, which stop at the start. For the figures of commit latency.
pub fn run_steady(n: u8, delay_us: u64, crashed: u8, keyring: &mut Keyring) -> Report {
    let scenario = Scenario::steady(n, delay_us, crashed);
    World::new(scenario, keyring.of_size(n), Options::default()).run()
}

/// What the seed stands for, for people.
pub fn describe(seed: u64, options: Options) -> String {
    format!("{:#?}", scenario(seed, options))
}

fn scenario(seed: u64, options: Options) -> Scenario {
    let mut scenario = Scenario::draw(seed, options.n);
    if options.is_losing_power {
        scenario.draw_power_losses();
    }
    scenario
}
