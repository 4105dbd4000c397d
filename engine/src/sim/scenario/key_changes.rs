//! Sealing keys that change during a run: how often, within which window, and who deals badly to whom.
//!
//! Drawn from a stream of its own, for two of every eight blocks of seeds, one without absences and one with, that no kept
//! seed lies in: the others stand for what they stood for before keys changed.
//!
//! Who deals badly may deal well to those that it must assure afterwards ([`crate::dkg`]), or leave that be. Either way whoever
//! keeps the rules has a share of each key that is made, however long it was away: [`crate::sim::check::keys`].

use super::absence::BLOCK_LEN;
use super::*;
use crate::types::{AuthorityIndex, AuthoritySet};

/// How keys change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyChanges {
    pub(crate) window_anchors: u64,
    pub(crate) renew_us: u64,
    pub(crate) cheats: Vec<Cheat>,
}

/// Who deals bad shares, and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cheat {
    pub(crate) dealer: usize,
    pub(crate) victims: AuthoritySet,
    /// Whether it then assures nobody of a good one.
    pub(crate) assures_nobody: bool,
}

/// Whether keys change in the run of this seed.
pub(crate) const fn is_drawn(seed: u64) -> bool {
    matches!(seed / BLOCK_LEN % 8, 2 | 3)
}

impl Scenario {
    /// Adds changes of keys to what is drawn.
    pub(super) fn draw_key_changes(&mut self, is_wide: bool, chance: &mut Chance) {
        let unit = if is_wide { 4 } else { 1 };
        let mut changes = KeyChanges {
            window_anchors: *chance.pick(&[8, 24, 64, 400]),
            renew_us: unit * chance.between(20_000, 300_000),
            cheats: Vec::new(),
        };
        if chance.one_in(2) {
            changes.cheats = self.draw_cheats(chance);
        }
        if self.absence.is_none() && chance.one_in(2) {
            self.draw_ambush(&mut changes, unit, chance);
        }
        // What is sealed to each key is drawn when there is one; of what is drawn before, some are sealed, too.
        self.clients.sealed_permille = self.clients.sealed_permille.max(150);
        self.key_changes = Some(changes);
    }

    /// Those who break the rules and stay.
    fn byzantine(&self) -> Vec<usize> {
        let byzantine = self.faulty.iter().filter(|faulty| match &faulty.kind {
            FaultKind::Byzantine(_) => true,
            FaultKind::Crash { .. } => false,
        });
        byzantine.map(|faulty| faulty.authority).collect()
    }

    /// One that keeps the rules stands still while the first key is made; all who do not deal it a bad share, assure it of a
    /// good one, as they must to be heard, and then keep their own shares of all keys to themselves.
    fn draw_ambush(&mut self, changes: &mut KeyChanges, unit: u64, chance: &mut Chance) {
        let dealers = self.byzantine();
        if dealers.is_empty() {
            return;
        }
        let victim = self.draw_honest(chance)[0];
        let mut victims = AuthoritySet::EMPTY;
        victims.insert(AuthorityIndex(victim as u8));
        changes.window_anchors = *chance.pick(&[8, 24]);
        changes.cheats = dealers
            .into_iter()
            .map(|dealer| Cheat {
                dealer,
                victims,
                assures_nobody: false,
            })
            .collect();
        for faulty in &mut self.faulty {
            if let FaultKind::Byzantine(vices) = &mut faulty.kind {
                // What one does that forks is not heard any more.
                *vices = vec![Vice::WithholdsShares];
            }
        }
        let from_us = chance.below(changes.renew_us);
        let to_us = changes.renew_us + unit * chance.between(100_000, 400_000);
        self.pauses.push(Pause {
            authority: victim,
            from_us,
            to_us,
        });
        self.heal_us = self.heal_us.max(to_us);
        self.clients.during_us = self.clients.during_us.max(self.heal_us);
    }

    fn draw_cheats(&self, chance: &mut Chance) -> Vec<Cheat> {
        let away = self.restarts.iter().map(|restart| restart.authority);
        let away = away.chain(self.pauses.iter().map(|pause| pause.authority));
        let away: Vec<usize> = away.collect();
        let mut cheats = Vec::new();
        for dealer in self.byzantine() {
            let mut victims = AuthoritySet::EMPTY;
            for _ in 0..chance.between(1, 3) {
                let victim = match chance.one_in(2) && !away.is_empty() {
                    true => *chance.pick(&away),
                    false => chance.below(self.n.into()) as usize,
                };
                if victim != dealer {
                    victims.insert(AuthorityIndex(victim as u8));
                }
            }
            cheats.push(Cheat {
                dealer,
                victims,
                assures_nobody: chance.one_in(4),
            });
        }
        cheats
    }
}
