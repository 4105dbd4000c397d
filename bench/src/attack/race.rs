//! The race: how often an attacker that reacts to a victim's envelope is ordered before it.

use serde::Serialize;

use super::law::{Forced, Kept};
use super::lists::{Conduct, Lie, Lists, publish};
use super::network::{MS, Network, Ns, Profile};
use super::rules::{Ordered, Rule, ours};
use super::traffic::{Drafting, Traffic};

/// What is raced.
#[derive(Clone, Debug)]
pub struct RacePlan {
    /// n.
    pub authorities: usize,
    /// Where everybody is.
    pub profile: Profile,
    /// Times from the victim's sending to the attacker's.
    pub gaps: Vec<Ns>,
    /// Pairs for each gap.
    pub pairs: usize,
    /// Of everything that is drawn.
    pub seed: u64,
}

/// What came of it, for one lie and one rule.
#[derive(Clone, Debug, Serialize)]
pub struct Race {
    /// n.
    pub authorities: usize,
    /// f.
    pub faulty: usize,
    /// Name of the network.
    pub network: &'static str,
    /// How f authorities help.
    pub lie: Lie,
    /// Who orders.
    pub rule: Rule,
    /// For each gap the share of pairs whose attacker is first.
    pub attacker_first: Vec<f64>,
    /// Pairs of which neither was ordered by the end.
    pub undecided: u64,
    /// What became of forced pairs.
    pub kept: Kept,
}

/// Races under all lies and rules: the same traffic for all, and the same lists under one lie.
pub fn run(plan: &RacePlan) -> Vec<Race> {
    let network = Network::new(plan.profile);
    let faulty = (plan.authorities - 1) / 3;
    let mut drafting = Drafting::new(&network, plan.authorities, plan.seed);
    let end = drafting.add_pairs(&plan.gaps, plan.pairs, spacing(plan.profile));
    drafting.add_honest(HONEST_RATE, end);
    let traffic = drafting.finish();
    let mut races = Vec::new();
    for lie in Lie::ALL {
        let conduct = Conduct {
            lie,
            faulty,
            learns: true,
        };
        let lists = publish(&network, &traffic, conduct, DRAIN_NS, plan.seed);
        let forced = Forced::find(&lists);
        for rule in Rule::ALL {
            let (ordered, kept) = ordered_by(rule, &lists, &forced, &traffic);
            let mut race = judged(lie, rule, &traffic, plan.gaps.len(), &ordered, kept);
            race.network = plan.profile.name();
            races.push(race);
        }
    }
    races
}

/// The order of `rule`, and what became of forced pairs under it. Panics where ours breaks the law.
pub fn ordered_by(
    rule: Rule,
    lists: &Lists,
    forced: &Forced,
    traffic: &Traffic,
) -> (Ordered, Kept) {
    if rule == Rule::Ours {
        let fair = ours::order(lists);
        let kept = forced.kept_by_ours(&fair);
        return (fair.ordered, kept);
    }
    let ordered = rule.order(lists, &traffic.role);
    let kept = forced.kept_by(&ordered);
    (ordered, kept)
}

/// Counts who comes first in `ordered`, for each of so many gaps.
pub fn judged(
    lie: Lie,
    rule: Rule,
    traffic: &Traffic,
    gaps: usize,
    ordered: &Ordered,
    kept: Kept,
) -> Race {
    let mut first = vec![0u32; gaps];
    let mut pairs = first.clone();
    let mut undecided = 0;
    for pair in &traffic.pairs {
        pairs[pair.gap] += 1;
        match ordered.is_before(pair.attacker, pair.victim) {
            Some(is_first) => first[pair.gap] += u32::from(is_first),
            None => undecided += 1,
        }
    }
    let share = |(first, pairs): (u32, u32)| f64::from(first) / f64::from(pairs.max(1));
    Race {
        authorities: traffic.authorities,
        faulty: (traffic.authorities - 1) / 3,
        network: "",
        lie,
        rule,
        attacker_first: first.into_iter().zip(pairs).map(share).collect(),
        undecided,
        kept,
    }
}

/// Times between pairs: several rounds, so that pairs hardly meet.
const fn spacing(profile: Profile) -> Ns {
    match profile {
        Profile::Lan => 25 * MS,
        Profile::Wan | Profile::WanApart => 60 * MS,
    }
}

/// Honest envelopes a second beside the pairs.
pub const HONEST_RATE: f64 = 500.0;

/// How long the anchors go on after the last envelope, so that all is ordered.
const DRAIN_NS: Ns = 3000 * MS;

#[cfg(test)]
mod tests {
    use super::*;

    fn raced(profile: Profile, seed: u64) -> Vec<Race> {
        run(&RacePlan {
            authorities: 4,
            profile,
            gaps: vec![0, MS],
            pairs: 60,
            seed,
        })
    }

    fn of(races: &[Race], rule: Rule, lie: Lie) -> &Race {
        let is_it = |race: &&Race| race.rule == rule && race.lie == lie;
        races
            .iter()
            .find(is_it)
            .expect("every rule meets every lie")
    }

    #[test]
    fn a_race_repeats_by_its_seed() {
        let text = |seed| serde_json::to_string(&raced(Profile::Lan, seed)).expect("figures");
        assert_eq!(text(1), text(1));
        assert_ne!(text(1), text(2));
    }

    #[test]
    fn on_a_lan_one_millisecond_decides_ours_whatever_the_liar_does_and_not_the_others() {
        let races = raced(Profile::Lan, 1);
        for lie in Lie::ALL {
            let ours = of(&races, Rule::Ours, lie);
            assert_eq!(ours.attacker_first[1], 0.0, "{lie:?}");
            assert_eq!((ours.undecided, ours.kept.turned), (0, 0), "{lie:?}");
            assert!(ours.kept.forced > 1000, "{lie:?} {:?}", ours.kept);
        }
        let late = of(&races, Rule::Leader, Lie::ListLate);
        assert!(
            late.attacker_first[1] > 0.05,
            "a lying leader has its turn: {late:?}"
        );
        let drawn = of(&races, Rule::Hash, Lie::None).attacker_first[0];
        assert!((0.3..0.7).contains(&drawn), "{drawn}");
        for race in &races {
            assert_eq!(race.undecided, 0, "{race:?}");
        }
    }
}
