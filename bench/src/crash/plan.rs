//! Who is killed when: drawn from a seed.

use std::fmt;
use std::time::Duration;

use fairlane_net::journal::Durability;

use crate::attack::chance::Chance;

/// How the nodes of the committees write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durabilities {
    /// All so.
    Only(Durability),
    /// Drawn, committee by committee: the death of a process must not show in either.
    Drawn,
}

/// What happens at some time after the start of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// kill -9 of an authority.
    Kill(u8),
    /// It is started again.
    Start(u8),
    /// kill -9 of the settlement worker.
    KillWorker,
    /// It is started again.
    StartWorker,
}

/// One round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    /// In order of time.
    pub acts: Vec<(Duration, Act)>,
    /// All authorities are killed at the same instant.
    pub all_at_once: bool,
}

/// What does not change in the life of a committee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Beside whom the worker settles.
    pub settle_node: u8,
    /// Of all nodes.
    pub durability: Durability,
}

/// The source of rounds.
#[derive(Debug)]
pub struct Chances {
    chance: Chance,
    authorities: u8,
    durability: Durabilities,
    /// In every second round somebody stays away for so long that it is behind by more than its peers keep.
    is_away: bool,
    /// Beside whom the worker settles, where only the two of them are killed.
    settlement: Option<u8>,
}

impl Chances {
    /// Those of one committee.
    pub fn new(seed: u64, authorities: u8, durability: Durabilities, is_away: bool) -> Self {
        Self {
            chance: Chance::new(seed, "crash"),
            authorities,
            durability,
            is_away,
            settlement: None,
        }
    }

    /// From now on each round kills the worker and `settle_node`, in whatever order, and nobody else.
    pub fn only_settlement(&mut self, settle_node: u8) {
        self.settlement = Some(settle_node);
    }

    /// To be drawn once, before the first round.
    pub fn setting(&mut self) -> Setting {
        let settle_node = self.chance.below(self.authorities.into()) as u8;
        let drawn = match self.chance.below(2) {
            0 => Durability::Sync,
            _ => Durability::Async,
        };
        Setting {
            settle_node,
            durability: match self.durability {
                Durabilities::Only(durability) => durability,
                Durabilities::Drawn => drawn,
            },
        }
    }

    /// The next round.
    pub fn round(&mut self) -> Round {
        if let Some(node) = self.settlement {
            return self.settlement_round(node);
        }
        let n = usize::from(self.authorities);
        let f = (n - 1) / 3;
        let count = match self.chance.below(10) {
            0..=2 => 1,
            3..=4 => f.max(1),
            5 => (f + 1 + self.chance.below(n)).min(n),
            _ => n,
        };
        let is_at_once = self.chance.below(2) == 0;
        let at = self.ms(FIRST_KILL_MS, KILLS_WITHIN_MS);
        let mut acts = Vec::new();
        for victim in self.draw(count) {
            let at = match is_at_once {
                true => at,
                false => self.ms(FIRST_KILL_MS, KILLS_WITHIN_MS),
            };
            self.down(&mut acts, at, Act::Kill(victim), Act::Start(victim));
        }
        if self.is_away && self.chance.below(2) == 0 {
            let victim = self.draw(1)[0];
            acts.retain(|(_, act)| !matches!(act, Act::Kill(of) | Act::Start(of) if *of == victim));
            acts.extend([(at, Act::Kill(victim)), (at + AWAY, Act::Start(victim))]);
        }
        if self.chance.below(3) == 0 {
            let at = self.ms(0, FIRST_KILL_MS + KILLS_WITHIN_MS);
            self.down(&mut acts, at, Act::KillWorker, Act::StartWorker);
        }
        acts.sort_by_key(|(at, _)| *at);
        Round {
            acts,
            all_at_once: is_at_once && count == n,
        }
    }

    fn settlement_round(&mut self, node: u8) -> Round {
        let mut acts = Vec::new();
        let both = [
            (Act::Kill(node), Act::Start(node)),
            (Act::KillWorker, Act::StartWorker),
        ];
        for (kill, start) in both {
            let at = self.ms(FIRST_KILL_MS, KILLS_WITHIN_MS);
            self.down(&mut acts, at, kill, start);
        }
        acts.sort_by_key(|(at, _)| *at);
        Round {
            acts,
            all_at_once: false,
        }
    }

    /// A kill and a start, and now and then another of each while it recovers.
    fn down(&mut self, acts: &mut Vec<(Duration, Act)>, at: Duration, kill: Act, start: Act) {
        let back = at + self.ms(0, DOWN_MS);
        acts.extend([(at, kill), (back, start)]);
        if self.chance.below(4) == 0 {
            let again = back + self.ms(0, AGAIN_WITHIN_MS);
            let back = again + self.ms(0, DOWN_MS);
            acts.extend([(again, kill), (back, start)]);
        }
    }

    /// So many different authorities.
    fn draw(&mut self, count: usize) -> Vec<u8> {
        let mut all: Vec<u8> = (0..self.authorities).collect();
        for at in 0..count {
            let other = at + self.chance.below(all.len() - at);
            all.swap(at, other);
        }
        all.truncate(count);
        all
    }

    fn ms(&mut self, from: usize, within: usize) -> Duration {
        // In tenths: a round of a committee is shorter than a millisecond's grid would show.
        let tenths = 10 * from + self.chance.below(10 * within + 1);
        Duration::from_micros(100 * tenths as u64)
    }
}

impl Round {
    /// Authorities killed.
    pub fn kills(&self) -> u32 {
        self.count(|act| matches!(act, Act::Kill(_)))
    }

    /// Times that the worker is killed.
    pub fn kills_worker(&self) -> u32 {
        self.count(|act| *act == Act::KillWorker)
    }

    fn count(&self, is_one: impl Fn(&Act) -> bool) -> u32 {
        self.acts.iter().filter(|(_, act)| is_one(act)).count() as u32
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let victims = self.acts.iter().filter_map(|(_, act)| match act {
            Act::Kill(victim) => Some(victim.to_string()),
            Act::KillWorker => Some("worker".into()),
            Act::Start(_) | Act::StartWorker => None,
        });
        let at_once = if self.all_at_once { " at once" } else { "" };
        let victims: Vec<String> = victims.collect();
        f.pad(&format!("killed {}{at_once}", victims.join(" ")))
    }
}

/// Rounds of one committee before the next starts on empty folders.
pub const ROUNDS_A_COMMITTEE: u32 = 8;
/// Load before the first kill of a round.
const FIRST_KILL_MS: usize = 150;
/// And the time in which kills are drawn.
const KILLS_WITHIN_MS: usize = 600;
/// Longest time between a kill and the start.
const DOWN_MS: usize = 300;
/// Some hundred rounds.
const AWAY: Duration = Duration::from_secs(5);
/// A second kill comes so soon after the start at the latest.
const AGAIN_WITHIN_MS: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_of_settlement_kill_the_worker_and_its_node_in_any_order_and_nobody_else() {
        let mut chances = Chances::new(1, 5, Durabilities::Drawn, false);
        let node = chances.setting().settle_node;
        chances.only_settlement(node);
        let rounds: Vec<Round> = (0..100).map(|_| chances.round()).collect();
        for round in &rounds {
            assert!(round.kills() >= 1 && round.kills_worker() >= 1, "{round:?}");
            let is_other = |act: &Act| matches!(act, Act::Kill(of) if *of != node);
            assert!(!round.acts.iter().any(|(_, act)| is_other(act)));
        }
        let is_first = |round: &&Round| round.acts[0].1 == Act::KillWorker;
        let worker_first = rounds.iter().filter(is_first).count();
        assert!((20..80).contains(&worker_first), "{worker_first}");
    }

    #[test]
    fn a_seed_gives_the_same_rounds_and_whoever_is_killed_is_started_after() {
        let rounds = |seed| -> Vec<Round> {
            let mut chances = Chances::new(seed, 5, Durabilities::Drawn, seed == 3);
            chances.setting();
            (0..200).map(|_| chances.round()).collect()
        };
        assert_eq!(rounds(1), rounds(1));
        assert_ne!(rounds(1), rounds(2));
        let away = |round: &Round| round.acts.last().is_some_and(|(at, _)| *at > AWAY);
        assert!(rounds(3).iter().any(away) && !rounds(1).iter().any(away));
        let rounds = [rounds(1), rounds(3)].concat();
        assert!(rounds.iter().any(|round| round.all_at_once));
        assert!(rounds.iter().any(|round| round.kills() == 1));
        assert!(rounds.iter().any(|round| round.kills_worker() > 1));
        assert!(
            rounds.iter().any(|round| round.kills() > 5),
            "some die again"
        );
        for round in rounds {
            for authority in 0..5 {
                let of_it = round.acts.iter().filter_map(|(_, act)| match act {
                    Act::Kill(of) if *of == authority => Some(true),
                    Act::Start(of) if *of == authority => Some(false),
                    _ => None,
                });
                let of_it: Vec<bool> = of_it.collect();
                assert!(of_it.len().is_multiple_of(2), "{round:?}");
                assert!(
                    of_it.chunks(2).all(|pair| pair == [true, false]),
                    "{round:?}"
                );
            }
        }
    }
}
