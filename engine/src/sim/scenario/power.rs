//! Losses of power: some nodes, or all of them, at one and the same instant.
//!
//! Only where they are asked for, and drawn from a stream of their own, on top of what the seed stands for anyway: what a seed
//! stands for without them stays.

use super::*;

/// Several lose power at once; each is back some time later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PowerLoss {
    pub(crate) at_us: u64,
    /// Which authorities, and for how long.
    pub(crate) authorities: Vec<(usize, u64)>,
}

impl Scenario {
    /// Adds losses of power to what is drawn.
    pub(crate) fn draw_power_losses(&mut self) {
        let chance = &mut Chance::new(self.seed, "power");
        self.absence.get_or_insert(Absence::AllAtOnce);
        let mut span_us = self.heal_us.max(chance.between(100_000, 500_000));
        if chance.one_in(2) {
            span_us = span_us.max(chance.between(500_000, 1_200_000));
            self.run_on(chance);
            // Those who keep silent may have what nobody else has, so everybody answers here.
            self.sync_us = *chance.pick(&[None, Some(5_000), Some(50_000), Some(1_000_000)]);
        }
        // With durability async as many as may be faulty, once: of more, what was agreed on may be lost.
        let losses = chance.between(1, 3);
        let losses = if self.sync_us.is_some() { 1 } else { losses };
        for _ in 0..losses {
            let mut honest = self.draw_honest(chance);
            let at_us = chance.below(span_us);
            if chance.one_in(2) {
                let count = chance.between(1, honest.len() as u64);
                honest.truncate(count as usize);
            }
            if self.sync_us.is_some() {
                honest.truncate(faulty_max(self.n as usize));
            }
            let down_us_max = *chance.pick(&[1, 1_000, DOWN_US_MAX]);
            let authorities = honest
                .into_iter()
                .map(|authority| (authority, chance.below(down_us_max)))
                .collect();
            self.power_losses.push(PowerLoss { at_us, authorities });
        }
        let back_us = self.power_losses.iter().flat_map(|loss| {
            let back_us = |(_, down_us): &(usize, u64)| loss.at_us + down_us;
            loss.authorities.iter().map(back_us)
        });
        self.heal_us = self.heal_us.max(back_us.max().unwrap_or(0) + 1);
        // There is something to order at the time, and after.
        let during_us = self.clients.during_us;
        self.clients.during_us = during_us.max(span_us + chance.below(200_000));
    }

    /// Rounds run on without anything else going wrong, few are kept, and snapshots are recorded.
    fn run_on(&mut self, chance: &mut Chance) {
        self.parameters.gc_depth_rounds = *chance.pick(&[16, 32, 64]);
        self.parameters.checkpoint_interval_rounds = *chance.pick(&[8, 16]);
        self.config.heartbeat_us = *chance.pick(&[3_000, 6_000, 20_000]);
        self.config.snapshot_bytes = *chance.pick(&[1, 10_000, 50_000]);
        self.absence = Some(Absence::Short);
        self.weather = Weather::default();
        self.outages.clear();
        self.pauses.clear();
        self.faulty.clear();
        self.restarts.clear();
        (self.is_starving, self.is_slowing_leaders) = (false, false);
    }
}

/// The longest that a node is without power, microseconds.
const DOWN_US_MAX: u64 = 50_000;
