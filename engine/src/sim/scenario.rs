//! What one seed stands for: the committee, its network, disks and clocks, what goes wrong when, and who breaks the rules.
//!
//! Everything is drawn here and printed with `--verbose`; a run adds nothing but the streams of [`Chance`] for single
//! messages. At most f authorities are faulty; whatever else goes wrong heals at [`Scenario::heal_us`].

pub(crate) mod absence;
pub(crate) mod key_changes;
pub(crate) mod power;

use absence::Absence;
use key_changes::KeyChanges;
use power::PowerLoss;

use super::byzantine::{VICES, Vice};
use super::chance::Chance;
use super::check::faulty_max;
use super::clock::Clock;
use super::disk::DiskProfile;
use super::network::{Profile, Weather};
use super::workload::Clients;
use crate::committee::Parameters;
use crate::config::EngineConfig;
use crate::engine::UNOPENED_MAX;
use crate::sync::served::BATCHES_KEPT_MAX;

/// One run, as drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    pub(crate) n: u8,
    pub(crate) parameters: Parameters,
    pub(crate) config: EngineConfig,
    pub(crate) profile: Profile,
    pub(crate) weather: Weather,
    pub(crate) disk: DiskProfile,
    /// One an authority.
    pub(crate) clocks: Vec<Clock>,
    pub(crate) outages: Vec<Outage>,
    pub(crate) pauses: Vec<Pause>,
    /// Who is faulty how; a crash counts as a fault, a restart does not.
    pub(crate) faulty: Vec<Faulty>,
    pub(crate) clients: Clients,
    /// The network delivers what helps to decide last, within its bounds, for as long as the run lasts.
    pub(crate) is_starving: bool,
    /// Until all heals, a leader's vertices reach some nodes only when others have stopped waiting for them.
    pub(crate) is_slowing_leaders: bool,
    /// How nodes are away, if they are.
    pub(crate) absence: Option<Absence>,
    pub(crate) restarts: Vec<Restart>,
    pub(crate) power_losses: Vec<PowerLoss>,
    /// How sealing keys change, if they do.
    pub(crate) key_changes: Option<KeyChanges>,
    /// With durability async: how often a disk syncs, microseconds.
    pub(crate) sync_us: Option<u64>,
    /// When everything that heals has healed, microseconds of virtual time.
    pub(crate) heal_us: u64,
}

/// A node crashes, loses what was not durable, and starts again from the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Restart {
    pub(crate) authority: usize,
    pub(crate) at_us: u64,
    pub(crate) down_us: u64,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outage {
    pub(crate) from_us: u64,
    pub(crate) to_us: u64,
    /// The side of each authority; twins stand on both of their audiences'.
    pub(crate) side: Vec<u8>,
}

/// An authority's process stands still; what is sent to it waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pause {
    pub(crate) authority: usize,
    pub(crate) from_us: u64,
    pub(crate) to_us: u64,
}

/// One of the f.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Faulty {
    pub(crate) authority: usize,
    pub(crate) kind: FaultKind,
}

/// In which way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// It stops for good.
    Crash {
        /// When, microseconds of virtual time.
        at_us: u64,
    },
    /// It goes on and breaks the rules.
    Byzantine(Vec<Vice>),
}

impl Scenario {
    /// What `seed` stands for; of a committee of `n` if that is given.
    pub(crate) fn draw(seed: u64, n: Option<u8>) -> Self {
        let chance = &mut Chance::new(seed, "scenario");
        let drawn_n = *chance.pick(&SIZES);
        let n = n.unwrap_or(drawn_n);
        let is_wide = chance.permille(300);
        let mut scenario = Self {
            seed,
            n,
            parameters: Parameters {
                deferral_cap: *chance.pick(&[8, 64, 64]),
                gc_depth_rounds: GC_DEPTH_ROUNDS,
                leader_return_anchors: *chance.pick(&[2, 8, 32]),
                checkpoint_interval_rounds: *chance.pick(&[8, 64, 256]),
                vertex_entries_max: *chance.pick(&[3, 64, 1024]),
                // Nobody certifies here: certificates follow from what engines put out.
                ..Parameters::default()
            },
            config: config(is_wide, chance),
            profile: match (is_wide, chance.one_in(10)) {
                (true, _) => Profile::Wan,
                (false, true) => Profile::Constant(chance.between(100, 3000)),
                (false, false) => Profile::Lan,
            },
            weather: Weather::default(),
            disk: DiskProfile {
                write_us_min: 40,
                write_us_max: *chance.pick(&[60, 400, 3000]),
                stall_one_in: *chance.pick(&[0, 0, 100]),
            },
            clocks: vec![Clock::default(); n as usize],
            outages: Vec::new(),
            pauses: Vec::new(),
            faulty: Vec::new(),
            clients: clients(n, is_wide, chance),
            is_starving: false,
            is_slowing_leaders: false,
            absence: None,
            restarts: Vec::new(),
            power_losses: Vec::new(),
            key_changes: None,
            sync_us: None,
            heal_us: 0,
        };
        if !chance.one_in(8) {
            scenario.draw_faults(is_wide, chance);
        }
        // What is drawn last leaves the rest of a seed as it is.
        if scenario.heal_us > 0 && !scenario.is_starving && chance.one_in(24) {
            scenario.black_out(chance);
        }
        if scenario.has_vice(Vice::WrongShares) {
            // Clients in league with whoever gives them.
            scenario.clients.void_permille = scenario.clients.void_permille.max(100);
        }
        if absence::is_drawn(seed) {
            scenario.draw_absences(is_wide, &mut Chance::new(seed, "absences"));
        }
        if key_changes::is_drawn(seed) {
            scenario.draw_key_changes(is_wide, &mut Chance::new(seed, "key changes"));
        }
        // From a stream of its own, too. Few: then commits are held back all the time.
        let unopened_max = UNOPENED_MAX;
        scenario.config.unopened_max =
            *Chance::new(seed, "unopened").pick(&[1, 4, 16, unopened_max, unopened_max]);
        let kept_max = BATCHES_KEPT_MAX as u32;
        scenario.config.batches_kept_max =
            *Chance::new(seed, "batches kept").pick(&[0, 1, 8, kept_max]);
        scenario
    }

    /// No chance and no fault but `crashed` authorities that stop at the start; see [`super::run_steady`].
    pub(crate) fn steady(n: u8, delay_us: u64, crashed: u8) -> Self {
        let mut scenario = Self::draw(0, Some(n));
        scenario.config = EngineConfig {
            // Above the slowest wait for votes, so that only a leader that is gone runs into it.
            leader_timeout_us: 2 * delay_us,
            round_interval_us_min: 1,
            ..EngineConfig::default()
        };
        scenario.profile = Profile::Constant(delay_us);
        scenario.weather = Weather::default();
        scenario.disk = DiskProfile {
            write_us_min: 0,
            write_us_max: 0,
            stall_one_in: 0,
        };
        scenario.clocks.fill(Clock::default());
        (scenario.outages, scenario.pauses) = (Vec::new(), Vec::new());
        (scenario.is_starving, scenario.is_slowing_leaders) = (false, false);
        scenario.key_changes = None;
        let crash = |authority| Faulty {
            authority,
            kind: FaultKind::Crash { at_us: 0 },
        };
        // Spread over the schedule, as they would be by chance.
        let apart = usize::from(n) / usize::from(crashed.max(1));
        scenario.faulty = (0..usize::from(crashed))
            .map(|at| crash(at * apart))
            .collect();
        scenario.clients = Clients {
            envelopes: 400,
            sealed_permille: 0,
            void_permille: 0,
            to_one_permille: 0,
            to_some_permille: 0,
            again_permille: 0,
            short_permille: 0,
            during_us: 200 * delay_us,
            way_us_max: 0,
        };
        scenario.heal_us = 0;
        scenario
    }

    /// Whether an authority stops for good.
    pub(crate) fn crashes(&self, authority: usize) -> bool {
        let is_crash = |fault: &Faulty| matches!(fault.kind, FaultKind::Crash { .. });
        self.faulty
            .iter()
            .any(|fault| fault.authority == authority && is_crash(fault))
    }

    fn has_vice(&self, vice: Vice) -> bool {
        let has = |faulty: &Faulty| matches!(&faulty.kind, FaultKind::Byzantine(vices) if vices.contains(&vice));
        self.faulty.iter().any(has)
    }

    fn draw_faults(&mut self, is_wide: bool, chance: &mut Chance) {
        let n = self.n as usize;
        self.heal_us = match is_wide {
            true => chance.between(600_000, 2_000_000),
            false => chance.between(100_000, 600_000),
        };
        if chance.one_in(2) {
            self.weather = Weather {
                loss_permille: *chance.pick(&[0, 0, 5, 50]),
                double_permille: *chance.pick(&[0, 20]),
                held_up_permille: *chance.pick(&[0, 0, 10]),
                is_reordering: chance.one_in(2),
            };
        }
        if chance.one_in(2) {
            for clock in &mut self.clocks {
                *clock = Clock {
                    offset_us: chance.below(400_001) as i64 - 200_000,
                    drift_ppm: chance.below(201) as i64 - 100,
                };
            }
        }
        if chance.one_in(3) {
            for _ in 0..chance.between(1, 2) {
                let (from_us, to_us) = self.draw_span(chance);
                let is_split = chance.one_in(2);
                let side = match is_split {
                    true => (0..n).map(|_| chance.below(2) as u8).collect(),
                    false => {
                        let lonely = chance.below(n as u64) as usize;
                        (0..n).map(|at| u8::from(at == lonely)).collect()
                    }
                };
                self.outages.push(Outage {
                    from_us,
                    to_us,
                    side,
                });
            }
        }
        if chance.one_in(3) {
            for _ in 0..chance.between(1, 3) {
                let (from_us, to_us) = self.draw_span(chance);
                self.pauses.push(Pause {
                    authority: chance.below(n as u64) as usize,
                    from_us,
                    to_us,
                });
            }
        }
        self.is_slowing_leaders = chance.one_in(4);
        if chance.one_in(12) {
            self.starve(chance);
            return;
        }
        self.draw_faulty(chance);
    }

    /// Faulty authorities that never vote, on a network that shows everybody the leader's vertices and theirs first.
    ///
    /// Source: Starfish, eprint 2025/567: a node that waits for the leader's vertex alone can be kept from ever seeing a
    /// quorum of votes.
    fn starve(&mut self, chance: &mut Chance) {
        let mut authorities: Vec<usize> = (0..self.n as usize).collect();
        chance.shuffle(&mut authorities);
        self.is_starving = true;
        self.is_slowing_leaders = false;
        self.profile = Profile::Lan;
        self.config.leader_timeout_us = 40_000;
        self.config.round_interval_us_min = 3_000;
        for authority in authorities.into_iter().take(faulty_max(self.n as usize)) {
            let kind = FaultKind::Byzantine(vec![Vice::NeverVotes]);
            self.faulty.push(Faulty { authority, kind });
        }
    }

    /// No side has a quorum until envelopes have expired that every node has listed by then.
    fn black_out(&mut self, chance: &mut Chance) {
        let mut side: Vec<u8> = (0..self.n).map(|at| at % 2).collect();
        chance.shuffle(&mut side);
        self.heal_us = BLACKOUT_US;
        self.outages = vec![Outage {
            from_us: chance.below(self.clients.during_us / 2),
            to_us: BLACKOUT_US,
            side,
        }];
        self.clients.short_permille = 500;
    }

    fn draw_faulty(&mut self, chance: &mut Chance) {
        let n = self.n as usize;
        let mut authorities: Vec<usize> = (0..n).collect();
        chance.shuffle(&mut authorities);
        let count = match chance.one_in(4) {
            true => chance.below(faulty_max(n) as u64 + 1) as usize,
            false => faulty_max(n),
        };
        // Faulty authorities are often in league, so often all of them have the same vices.
        let shared = chance.one_in(2).then(|| draw_vices(chance));
        for authority in authorities.into_iter().take(count) {
            let kind = match chance.one_in(5) {
                true => FaultKind::Crash {
                    at_us: chance.below(self.heal_us),
                },
                false => {
                    let vices = shared.clone().unwrap_or_else(|| draw_vices(chance));
                    FaultKind::Byzantine(vices)
                }
            };
            if matches!(kind, FaultKind::Byzantine(_)) && chance.one_in(3) {
                self.clocks[authority].offset_us = chance.below(20_000_001) as i64 - 10_000_000;
            }
            self.faulty.push(Faulty { authority, kind });
        }
    }

    /// A part of the faulty phase.
    fn draw_span(&self, chance: &mut Chance) -> (u64, u64) {
        let a = chance.below(self.heal_us);
        let b = chance.below(self.heal_us);
        (a.min(b), a.max(b) + 1)
    }
}

fn draw_vices(chance: &mut Chance) -> Vec<Vice> {
    let mut vices: Vec<Vice> = (0..chance.between(1, 3))
        .map(|_| *chance.pick(&VICES))
        .collect();
    vices.sort_unstable();
    vices.dedup();
    if vices.contains(&Vice::Twins) {
        // Two engines with one key accept two vertices a slot; a third would leave one of them no room for its own.
        vices.retain(|vice| *vice != Vice::Equivocates);
    }
    vices
}

fn config(is_wide: bool, chance: &mut Chance) -> EngineConfig {
    let (leader_timeout_us, round_interval_us_min) = match is_wide {
        true => (
            *chance.pick(&[150_000, 300_000]),
            *chance.pick(&[20_000, 50_000]),
        ),
        false => (
            *chance.pick(&[10_000, 30_000]),
            *chance.pick(&[1_000, 2_000, 5_000]),
        ),
    };
    EngineConfig {
        leader_timeout_us,
        leader_timeout_us_min: leader_timeout_us / 3,
        leader_timeout_us_max: 10 * leader_timeout_us,
        round_interval_us_min,
        heartbeat_us: *chance.pick(&[200_000, 1_000_000]),
        fetch_grace_us: leader_timeout_us / 2,
        fetch_retry_us: 2 * leader_timeout_us,
        unlisted_max: *chance.pick(&[64, 65_536]),
        ..EngineConfig::default()
    }
}

fn clients(n: u8, is_wide: bool, chance: &mut Chance) -> Clients {
    let envelopes = chance.between(5, if n > 7 { 40 } else { 80 });
    let is_sealing = chance.one_in(4);
    Clients {
        envelopes,
        sealed_permille: if is_sealing {
            1000 * 12 / envelopes.max(12)
        } else {
            0
        },
        void_permille: if is_sealing && chance.one_in(2) {
            150
        } else {
            0
        },
        to_one_permille: *chance.pick(&[0, 100, 1000]),
        to_some_permille: *chance.pick(&[0, 300]),
        again_permille: *chance.pick(&[0, 100]),
        short_permille: *chance.pick(&[0, 0, 200]),
        during_us: match is_wide {
            true => chance.between(500_000, 3_000_000),
            false => chance.between(20_000, 700_000),
        },
        way_us_max: match is_wide {
            true => 150_000,
            false => *chance.pick(&[0, 1_000, 20_000]),
        },
    }
}

/// How long a blackout lasts, microseconds: longer than what is valid for a short time.
const BLACKOUT_US: u64 = 5_000_000;

/// Sizes of committees, small ones more often.
const SIZES: [u8; 10] = [4, 4, 4, 5, 5, 7, 7, 10, 10, 16];

/// More rounds than a node can miss while a fault lasts; with less, one that misses more needs the state of a peer.
pub(crate) const GC_DEPTH_ROUNDS: u64 = 4096;
