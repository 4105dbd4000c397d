//! Three attacks on waiting: clients that try to hold up everybody else's envelopes.
//!
//! - The Condorcet client (Kelkar et al., Themis, CCS 2023; Vafadar and Khabbazian, Condorcet Attack Against Fair
//!   Transaction Ordering, AFT 2023): two envelopes A and B, so sent that a third of the authorities has A, honest
//!   envelopes, B; a third has them, B, A; and a third B, A, them: A before them before B before A.
//! - The chain client: rings of its own envelopes, one position further turned at each authority.
//! - The half-seen attack: an envelope that some authorities are never sent. *Split* goes to f + 1, to half of them
//!   later: no majority ever forms on it, which halts FairDAG-RL. *Early* goes to just over q/2, who have it before all.

use serde::Serialize;

use super::delay::Delays;
use super::lists::{Conduct, Lie, publish};
use super::network::{MS, Network, Ns, Profile};
use super::rules::{fairdag_rl, ours};
use super::traffic::{Drafting, Role};

/// An attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attack {
    /// None.
    None,
    /// Two envelopes every 20 ms around 5 ms of honest ones.
    Condorcet,
    /// So many of its own envelopes an anchor, in rings over so many anchors.
    Chain {
        /// Envelopes.
        an_anchor: u32,
        /// Anchors.
        over: u32,
    },
    /// One every 5 ms to f + 1, to half of them 4 ms later.
    HalfSeenSplit,
    /// One every 5 ms to just over q/2.
    HalfSeenEarly,
}

impl Attack {
    /// All that are run.
    pub const ALL: [Self; 11] = [
        Self::None,
        Self::Condorcet,
        Self::chain(2, 8),
        Self::chain(20, 8),
        Self::chain(2, 32),
        Self::chain(5, 32),
        Self::chain(10, 32),
        Self::chain(20, 32),
        Self::chain(2, 128),
        Self::HalfSeenSplit,
        Self::HalfSeenEarly,
    ];

    const fn chain(an_anchor: u32, over: u32) -> Self {
        Self::Chain { an_anchor, over }
    }

    /// As tables name it.
    pub fn name(self) -> String {
        match self {
            Self::None => "none".into(),
            Self::Condorcet => "Condorcet client".into(),
            Self::Chain { an_anchor, over } => format!("chain, {an_anchor} an anchor over {over}"),
            Self::HalfSeenSplit => "half-seen, split".into(),
            Self::HalfSeenEarly => "half-seen, early".into(),
        }
    }

    fn add(self, drafting: &mut Drafting<'_>, authorities: usize, end: Ns) {
        let faulty = (authorities - 1) / 3;
        let quorum = authorities - faulty;
        let mut send = |time: &dyn Fn(usize) -> Option<Ns>| {
            let sent: Vec<Option<Ns>> = (0..authorities).map(time).collect();
            drafting.add_sent_to(&sent, Role::Hostile, 0, None);
        };
        match self {
            Self::None => {}
            Self::Condorcet => {
                for start in (0..end).step_by(20 * MS as usize) {
                    let (late, bit) = (start + 5 * MS, MS / 2);
                    send(&|to| Some([start, late + bit, start + bit][to % 3]));
                    send(&|to| Some([late, late, start][to % 3]));
                }
            }
            Self::Chain { an_anchor, over } => {
                let (ring, span) = (Ns::from(over * an_anchor), Ns::from(over) * ANCHOR_NS);
                for start in (0..end).step_by(span as usize) {
                    for place in 0..ring {
                        let turned =
                            |to: usize| (place + ring * to as Ns / authorities as Ns) % ring;
                        send(&|to| Some(start + turned(to) * span / ring));
                    }
                }
            }
            Self::HalfSeenSplit => {
                for start in (0..end).step_by(5 * MS as usize) {
                    let later = |to| start + 4 * MS * Ns::from(to > faulty / 2);
                    send(&|to| (to <= faulty).then(|| later(to)));
                }
            }
            Self::HalfSeenEarly => {
                for start in (0..end).step_by(5 * MS as usize) {
                    send(&|to| (to <= quorum / 2).then_some(start));
                }
            }
        }
    }
}

/// What an attack does to honest envelopes.
#[derive(Clone, Debug, Serialize)]
pub struct Wait {
    /// n.
    pub authorities: usize,
    /// The attack.
    pub attack: Attack,
    /// Honest envelopes under our rule.
    pub ours: Delays,
    /// Of ours: ordered because the wait for their group was cut.
    pub group_wait_cut: u64,
    /// Of ours: ordered because the cap fired.
    pub cap_fired: u64,
    /// Of ours: size of the largest group.
    pub group_len_max: u32,
    /// Honest envelopes under FairDAG-RL.
    pub fairdag_rl: Delays,
}

/// Runs `attacks` on a LAN against the same honest traffic: `seconds` of [`HONEST_RATE`] envelopes a second.
pub fn run(authorities: usize, attacks: &[Attack], seconds: u64, seed: u64) -> Vec<Wait> {
    let network = Network::new(Profile::Lan);
    let faulty = (authorities - 1) / 3;
    let end = seconds * 1000 * MS;
    let attacked = |attack: &Attack| {
        let mut drafting = Drafting::new(&network, authorities, seed);
        drafting.add_honest(HONEST_RATE, end);
        attack.add(&mut drafting, authorities, end);
        let traffic = drafting.finish();
        let listed = |learns| {
            let conduct = Conduct {
                lie: Lie::None,
                faulty,
                learns,
            };
            publish(&network, &traffic, conduct, DRAIN_NS, seed)
        };
        let lists = listed(true);
        let fair = ours::order(&lists);
        let told = listed(false);
        let rl = fairdag_rl::order(&told);
        Wait {
            authorities,
            attack: *attack,
            ours: Delays::of(&lists, &traffic, &fair.ordered, end),
            group_wait_cut: fair.group_wait_cut,
            cap_fired: fair.cap_fired,
            group_len_max: fair.group_len_max,
            fairdag_rl: Delays::of(&told, &traffic, &rl, end),
        }
    };
    attacks.iter().map(attacked).collect()
}

/// Honest envelopes a second.
pub const HONEST_RATE: f64 = 1000.0;

/// An anchor of the LAN comes about so often.
const ANCHOR_NS: Ns = 2 * MS;

/// How long the anchors go on after the last envelope.
const DRAIN_NS: Ns = 1000 * MS;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_orders_everybody_under_every_attack_and_a_split_envelope_halts_fairdag_rl() {
        let attacks = [
            Attack::None,
            Attack::Condorcet,
            Attack::chain(2, 32),
            Attack::HalfSeenSplit,
            Attack::HalfSeenEarly,
        ];
        let waits = run(5, &attacks, 1, 1);
        for wait in &waits {
            assert!(wait.ours.envelopes > 900, "{wait:?}");
            assert_eq!(wait.ours.never, 0, "{wait:?}");
            assert!(wait.ours.max_anchors <= 64, "{wait:?}");
        }
        let of = |attack| {
            let found = waits.iter().find(|wait| wait.attack == attack);
            found.expect("every attack is run")
        };
        assert_eq!(of(Attack::None).fairdag_rl.never, 0);
        let halted = of(Attack::HalfSeenSplit).fairdag_rl;
        assert!(halted.never * 2 > halted.envelopes, "{halted:?}");
        let chained = of(Attack::chain(2, 32));
        assert!(
            chained.ours.mean_ms > of(Attack::None).ours.mean_ms,
            "{chained:?}"
        );
        assert!(chained.group_len_max > 1, "{chained:?}");
    }
}
