//! Nodes that are away and come back: crashes with restarts, short and long, one by one and all at once.
//!
//! Drawn from a stream of its own, for every second block of [`BLOCK_LEN`] seeds, on top of what the seed stands for
//! anyway: the other seeds stand for what they stood for before there were restarts.
//!
//! Who is away for long counts towards f. All others may restart meanwhile: what they had settled is on their disks.

use super::*;

/// How nodes are away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absence {
    /// Some are away for longer than others keep what they missed.
    Long,
    /// Many restart, at different times.
    Short,
    /// All restart at about the same time.
    AllAtOnce,
}

/// Whether there are absences in the run of this seed.
pub(crate) const fn is_drawn(seed: u64) -> bool {
    seed / BLOCK_LEN % 2 == 1
}

impl Scenario {
    /// Adds absences to what is drawn.
    pub(super) fn draw_absences(&mut self, is_wide: bool, chance: &mut Chance) {
        let absence = *chance.pick(&[
            Absence::Long,
            Absence::Long,
            Absence::Short,
            Absence::AllAtOnce,
        ]);
        self.absence = Some(absence);
        self.parameters.checkpoint_interval_rounds = *chance.pick(&[8, 8, 16, 32]);
        self.outages.clear();
        let unit_us = if is_wide { 3 } else { 1 };
        match absence {
            Absence::Long => {
                self.parameters.gc_depth_rounds = *chance.pick(&[16, 16, 32, 64, GC_DEPTH_ROUNDS]);
                self.heal_us = unit_us * chance.between(400_000, 1_500_000);
                // Rounds run on also when there is nothing to order: those who are away fall behind.
                self.config.heartbeat_us = match is_wide {
                    true => *chance.pick(&[60_000, 100_000]),
                    false => *chance.pick(&[3_000, 6_000, 20_000]),
                };
                self.draw_long(chance);
                // From a stream of its own, as it was added later.
                let others = &mut Chance::new(self.seed, "others restart");
                if others.one_in(2) {
                    self.restart_others(others);
                }
            }
            Absence::Short | Absence::AllAtOnce => {
                self.parameters.gc_depth_rounds = *chance.pick(&[128, GC_DEPTH_ROUNDS]);
                if self.parameters.gc_depth_rounds < GC_DEPTH_ROUNDS {
                    self.pauses.clear();
                }
                self.heal_us = self.heal_us.max(unit_us * chance.between(200_000, 700_000));
                self.draw_short(absence, chance);
            }
        }
        // There is something to order while they are away, and after.
        let during_us = self.clients.during_us;
        self.clients.during_us = during_us.max(self.heal_us + chance.below(300_000));
    }

    /// Up to f of those who keep the rules are away, in place of as many who do not.
    fn draw_long(&mut self, chance: &mut Chance) {
        let faulty_max = faulty_max(self.n as usize) as u64;
        let away = chance.between(1, faulty_max);
        self.faulty.truncate((faulty_max - away) as usize);
        (self.is_starving, self.is_slowing_leaders) = (false, false);
        for authority in self.draw_honest(chance).into_iter().take(away as usize) {
            let from_us = chance.below(self.heal_us / 3);
            let to_us = self.heal_us * 2 / 3 + chance.below(self.heal_us / 4);
            match chance.below(4) {
                0 => self.pauses.push(Pause {
                    authority,
                    from_us,
                    to_us,
                }),
                1 if self.outages.is_empty() => self.outages.push(Outage {
                    from_us,
                    to_us,
                    side: (0..self.n as usize)
                        .map(|at| u8::from(at == authority))
                        .collect(),
                }),
                _ => self.restarts.push(Restart {
                    authority,
                    at_us: from_us,
                    down_us: to_us - from_us,
                }),
            }
            // Once more while it catches up.
            if chance.one_in(3) {
                self.restarts.push(Restart {
                    authority,
                    at_us: to_us + chance.below(60_000),
                    down_us: chance.below(20_000),
                });
            }
        }
        self.cover_restarts();
    }

    /// Those who are not away restart while others are, at about the same time or one by one.
    fn restart_others(&mut self, chance: &mut Chance) {
        let is_away = |at: &usize| {
            self.restarts.iter().any(|restart| restart.authority == *at)
                || self.pauses.iter().any(|pause| pause.authority == *at)
        };
        let alone = self.outages.iter();
        let alone: Vec<usize> = alone
            .filter_map(|outage| outage.side.iter().position(|side| *side == 1))
            .collect();
        let others = self.draw_honest(chance).into_iter();
        let others: Vec<usize> = others
            .filter(|at| !is_away(at) && !alone.contains(at))
            .collect();
        let at_us = self.heal_us / 3 + chance.below(self.heal_us / 3);
        let apart_us = *chance.pick(&[1, 20_000, self.heal_us / 4]);
        for authority in others {
            self.restarts.push(Restart {
                authority,
                at_us: at_us + chance.below(apart_us),
                down_us: chance.below(DOWN_SHORT_US_MAX),
            });
        }
        self.cover_restarts();
    }

    fn draw_short(&mut self, absence: Absence, chance: &mut Chance) {
        let honest = self.draw_honest(chance);
        match absence {
            Absence::AllAtOnce => {
                let at_us = chance.below(self.heal_us * 3 / 4);
                let apart_us = *chance.pick(&[1, 1_000, 20_000]);
                for authority in honest {
                    self.restarts.push(Restart {
                        authority,
                        at_us: at_us + chance.below(apart_us),
                        down_us: chance.below(DOWN_SHORT_US_MAX),
                    });
                }
            }
            _ => {
                for _ in 0..chance.between(1, 2 * honest.len() as u64) {
                    self.restarts.push(Restart {
                        authority: *chance.pick(&honest),
                        at_us: chance.below(self.heal_us),
                        down_us: chance.below(DOWN_SHORT_US_MAX),
                    });
                }
            }
        }
        self.cover_restarts();
    }

    /// Those who keep the rules, in any order.
    pub(super) fn draw_honest(&self, chance: &mut Chance) -> Vec<usize> {
        let is_faulty = |at: &usize| self.faulty.iter().any(|fault| fault.authority == *at);
        let mut honest: Vec<usize> = (0..self.n as usize).filter(|at| !is_faulty(at)).collect();
        chance.shuffle(&mut honest);
        honest
    }

    /// All has healed only when the last one is back.
    fn cover_restarts(&mut self) {
        let back = self
            .restarts
            .iter()
            .map(|restart| restart.at_us + restart.down_us);
        self.heal_us = self.heal_us.max(back.max().unwrap_or(0) + 1);
    }
}

/// Seeds of one kind in a row.
pub(super) const BLOCK_LEN: u64 = 64;
/// The longest that a node is away for a short time, microseconds.
const DOWN_SHORT_US_MAX: u64 = 50_000;
