//! Who sends what, when, and when each authority receives it.

use fairlane_engine::types::Digest;

use super::chance::Chance;
use super::network::{MS, Network, Ns, Profile, REGIONS};

/// What an envelope is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everybody else's.
    Honest,
    /// Of a pair: sent first, the one to be overtaken.
    Victim,
    /// Of a pair: sent because the victim was seen; liars help it.
    Attacker,
    /// Of a client that builds cycles or hides envelopes from some authorities.
    Hostile,
}

/// All envelopes of a run, numbered in the order of sending.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    /// Authorities.
    pub authorities: usize,
    /// Digest of each.
    pub digests: Vec<Digest>,
    /// When each was sent.
    pub sent: Vec<Ns>,
    /// What each is for.
    pub role: Vec<Role>,
    /// When it reaches each authority, an envelope a row; none if its client sends it elsewhere only.
    pub arrival: Vec<Vec<Option<Ns>>>,
    /// Victims with their attackers.
    pub pairs: Vec<Pair>,
    /// When the last one was sent, or later.
    pub end: Ns,
}

/// A victim and its attacker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Number of the victim's envelope.
    pub victim: u32,
    /// Number of the attacker's.
    pub attacker: u32,
    /// Which of the gaps is between them.
    pub gap: usize,
}

impl Traffic {
    /// How many envelopes.
    pub const fn len(&self) -> usize {
        self.sent.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// For each victim its attacker, and the reverse; none for all others.
    pub fn partners(&self) -> Vec<Option<u32>> {
        let mut partner = vec![None; self.len()];
        for pair in &self.pairs {
            partner[pair.victim as usize] = Some(pair.attacker);
            partner[pair.attacker as usize] = Some(pair.victim);
        }
        partner
    }
}

/// The digest of a simulated envelope.
pub fn digest_of(envelope: u32) -> Digest {
    Digest(*blake3::hash(&envelope.to_be_bytes()).as_bytes())
}

/// One envelope before it has a number.
#[derive(Clone, Debug)]
pub struct Draft {
    /// When it is sent.
    pub sent: Ns,
    /// What for.
    pub role: Role,
    /// When it reaches each authority.
    pub arrival: Vec<Option<Ns>>,
    /// Of a pair: its number, and of which gap.
    pub pair: Option<(usize, usize)>,
}

/// What is sent, in the making.
pub struct Drafting<'a> {
    network: &'a Network,
    authorities: usize,
    chance: Chance,
    drafts: Vec<Draft>,
}

impl<'a> Drafting<'a> {
    /// Nothing yet.
    pub fn new(network: &'a Network, authorities: usize, seed: u64) -> Self {
        Self {
            network,
            authorities,
            chance: Chance::new(seed, "clients"),
            drafts: Vec::new(),
        }
    }

    /// Adds honest clients in all regions: Poisson, `rate` a second, until `end`.
    pub fn add_honest(&mut self, rate: f64, end: Ns) {
        let mut now = 0;
        loop {
            now += self.chance.exponential(1e9 / rate);
            if now >= end {
                return;
            }
            let region = self.chance.below(REGIONS);
            self.add(now, Role::Honest, region, None);
        }
    }

    /// Adds `count` pairs for each of `gaps`, by turns, one every `spacing`; gives when the last one is over.
    pub fn add_pairs(&mut self, gaps: &[Ns], count: usize, spacing: Ns) -> Ns {
        for number in 0..count * gaps.len() {
            let gap = number % gaps.len();
            // Where a round stands when a pair comes must not depend on which gap's turn it is.
            let at = (1 + number as Ns) * spacing + self.chance.below(spacing as usize / 4) as Ns;
            let region = self.chance.below(REGIONS);
            let elsewhere = self.chance.below(REGIONS);
            let attackers = match self.network.profile {
                Profile::Lan | Profile::Wan => region,
                Profile::WanApart => elsewhere,
            };
            self.add(at, Role::Victim, region, Some((number, gap)));
            self.add(
                at + gaps[gap],
                Role::Attacker,
                attackers,
                Some((number, gap)),
            );
        }
        (2 + (count * gaps.len()) as Ns) * spacing
    }

    /// Adds one envelope that reaches everybody by its own way.
    pub fn add(&mut self, sent: Ns, role: Role, region: usize, pair: Option<(usize, usize)>) {
        let at_each = vec![Some(sent); self.authorities];
        self.add_sent_to(&at_each, role, region, pair);
    }

    /// Adds one envelope whose client sends it to each authority at a time of its own, or never.
    pub fn add_sent_to(
        &mut self,
        sent: &[Option<Ns>],
        role: Role,
        region: usize,
        pair: Option<(usize, usize)>,
    ) {
        let mut arrive = |(authority, sent): (usize, &Option<Ns>)| {
            let delay = self
                .network
                .client_delay(&mut self.chance, region, authority);
            sent.map(|sent| sent + delay)
        };
        let arrival = sent.iter().enumerate().map(&mut arrive).collect();
        self.drafts.push(Draft {
            sent: sent.iter().flatten().min().copied().unwrap_or_default(),
            role,
            arrival,
            pair,
        });
    }

    /// Numbers everything in the order of sending.
    pub fn finish(mut self) -> Traffic {
        // Stable: of what is sent at the same time, a victim comes first, as it was added first.
        self.drafts.sort_by_key(|draft| draft.sent);
        let mut traffic = Traffic {
            authorities: self.authorities,
            ..Traffic::default()
        };
        let mut victims = std::collections::BTreeMap::new();
        for (number, draft) in (0..).zip(self.drafts) {
            match (draft.role, draft.pair) {
                (Role::Victim, Some((pair, _))) => {
                    victims.insert(pair, number);
                }
                (Role::Attacker, Some((pair, gap))) => traffic.pairs.push(Pair {
                    victim: victims[&pair],
                    attacker: number,
                    gap,
                }),
                _ => {}
            }
            traffic.end = traffic.end.max(draft.sent + MS);
            traffic.digests.push(digest_of(number));
            traffic.sent.push(draft.sent);
            traffic.role.push(draft.role);
            traffic.arrival.push(draft.arrival);
        }
        traffic
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(seed: u64) -> Traffic {
        let network = Network::new(Profile::Lan);
        let mut drafting = Drafting::new(&network, 4, seed);
        let end = drafting.add_pairs(&[0, 2 * MS], 10, 20 * MS);
        drafting.add_honest(1000.0, end);
        drafting.finish()
    }

    #[test]
    fn traffic_repeats_by_seed_and_pairs_keep_their_gap() {
        let traffic = drawn(7);
        let again = drawn(7);
        assert_eq!(
            (&traffic.sent, &traffic.arrival),
            (&again.sent, &again.arrival)
        );
        assert_ne!(traffic.arrival, drawn(8).arrival);
        assert!(traffic.sent.is_sorted());
        assert_eq!(traffic.pairs.len(), 20);
        for pair in &traffic.pairs {
            let [victim, attacker] = [pair.victim, pair.attacker].map(|at| at as usize);
            assert!(victim < attacker, "the victim is sent first");
            assert_eq!(
                traffic.sent[attacker] - traffic.sent[victim],
                pair.gap as Ns * 2 * MS
            );
            assert_eq!(traffic.role[victim], Role::Victim);
            assert_eq!(traffic.role[attacker], Role::Attacker);
        }
    }
}
