//! Sealing keys that change during a run: how often, within which window, and who deals badly to whom.
//!
//! Drawn from a stream of its own, for two of every eight blocks of seeds, one without absences and one with, that no kept
//! seed lies in: the others stand for what they stood for before keys changed.
//!
//! A node that was away for the whole window and was dealt a bad share has none of that key ([`crate::dkg`]); with another
//! that keeps its shares to itself nothing would open. So where somebody deals badly nobody is away, and the window is longer
//! than the run: the key is there when all n have acknowledged it.

use super::absence::BLOCK_LEN;
use super::*;
use crate::types::{AuthorityIndex, AuthoritySet};

/// How keys change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyChanges {
    pub(crate) window_anchors: u64,
    pub(crate) renew_us: u64,
    /// Who deals bad shares, and to whom.
    pub(crate) cheats: Vec<(usize, AuthoritySet)>,
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
        if self.absence.is_none() && chance.one_in(2) {
            changes.cheats = self.draw_cheats(chance);
        }
        if !changes.cheats.is_empty() {
            changes.window_anchors = LONG_WINDOW_ANCHORS;
        }
        // What is sealed to each key is drawn when there is one; of what is drawn before, some are sealed, too.
        self.clients.sealed_permille = self.clients.sealed_permille.max(150);
        self.key_changes = Some(changes);
    }

    fn draw_cheats(&self, chance: &mut Chance) -> Vec<(usize, AuthoritySet)> {
        let byzantine = self.faulty.iter().filter(|faulty| match &faulty.kind {
            FaultKind::Byzantine(_) => true,
            FaultKind::Crash { .. } => false,
        });
        let dealers: Vec<usize> = byzantine.map(|faulty| faulty.authority).collect();
        let mut cheats = Vec::new();
        for dealer in dealers {
            let mut victims = AuthoritySet::EMPTY;
            for _ in 0..chance.between(1, 3) {
                let victim = chance.below(self.n.into()) as u8;
                if usize::from(victim) != dealer {
                    victims.insert(AuthorityIndex(victim));
                }
            }
            cheats.push((dealer, victims));
        }
        cheats
    }
}

/// More anchors than any run has.
const LONG_WINDOW_ANCHORS: u64 = 1 << 20;
