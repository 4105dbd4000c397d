//! The local orders that the authorities publish, truly or not, and how much of them each anchor commits.
//!
//! The last f authorities are liars and help every attacker of a pair. A vertex of theirs tells only what it could: an
//! envelope is in none that was made before they met it.

use fairlane_engine::types::Digest;
use serde::Serialize;

use super::chance::Chance;
use super::network::{Network, Ns};
use super::rounds::{self, Rounds};
use super::traffic::{Role, Traffic};

/// How liars help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lie {
    /// They do not: all are correct.
    None,
    /// In each vertex that lists both, the attacker is put before the victim.
    Reorder,
    /// They hold back their vertices.
    Delay,
    /// They list the victim only after the attacker and some rounds more.
    ListLate,
    /// The attacker's envelope reaches them as it is made, and goes to the front of the vertex in the making.
    ListEarly,
    /// Both of the above.
    EarlyAndLate,
    /// Each vertex lists in reverse.
    Reverse,
}

impl Lie {
    /// All, the honest case first.
    pub const ALL: [Self; 7] = [
        Self::None,
        Self::Reorder,
        Self::Delay,
        Self::ListLate,
        Self::ListEarly,
        Self::EarlyAndLate,
        Self::Reverse,
    ];

    /// As tables name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Reorder => "reorder",
            Self::Delay => "delay",
            Self::ListLate => "list late",
            Self::ListEarly => "list early",
            Self::EarlyAndLate => "early and late",
            Self::Reverse => "reverse",
        }
    }

    const fn lists_late(self) -> bool {
        matches!(self, Self::ListLate | Self::EarlyAndLate)
    }

    const fn lists_early(self) -> bool {
        matches!(self, Self::ListEarly | Self::EarlyAndLate)
    }
}

/// One entry of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Number of the envelope.
    pub envelope: u32,
    /// When its authority says it came; never goes back within a list.
    pub claimed: Ns,
}

/// What one anchor commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// When.
    pub commit: Ns,
    /// Who made it.
    pub leader: usize,
    /// For each authority how much of its list is committed now.
    pub upto: Vec<usize>,
    /// For each authority when its newest committed vertex was made: what it lists later came later.
    pub told_until: Vec<Ns>,
    /// Keys hashes that decide an order.
    pub seed: [u8; 32],
}

/// The lists and what is committed of them: all that an order may depend on.
#[derive(Clone, Debug)]
pub struct Lists {
    /// f.
    pub faulty: usize,
    /// How many of them lie: f, or none.
    pub liars: usize,
    /// Digest of each envelope.
    pub digests: Vec<Digest>,
    /// One list an authority; liars last.
    pub lists: Vec<Vec<Listing>>,
    /// Anchors in order.
    pub cuts: Vec<Cut>,
}

impl Lists {
    /// How many authorities.
    pub const fn authorities(&self) -> usize {
        self.lists.len()
    }

    /// How many envelopes.
    pub const fn envelopes(&self) -> usize {
        self.digests.len()
    }

    /// n - f.
    pub const fn quorum(&self) -> usize {
        self.lists.len() - self.faulty
    }

    /// The lists of the correct authorities.
    pub fn correct(&self) -> &[Vec<Listing>] {
        &self.lists[..self.lists.len() - self.liars]
    }

    /// What the anchor `at` adds to each list.
    pub fn appends(&self, at: usize) -> impl Iterator<Item = &[Listing]> {
        let before = at.checked_sub(1).map(|before| &self.cuts[before].upto);
        let from = move |authority: usize| before.map_or(0, |upto| upto[authority]);
        let upto = &self.cuts[at].upto;
        let lists = self.lists.iter().enumerate();
        lists.map(move |(authority, list)| &list[from(authority)..upto[authority]])
    }
}

/// How the authorities behave.
#[derive(Clone, Copy, Debug)]
pub struct Conduct {
    /// f of them lie so.
    pub lie: Lie,
    /// f.
    pub faulty: usize,
    /// Whether a correct authority lists what it first meets in a vertex: this project's authorities do.
    pub learns: bool,
}

impl Conduct {
    /// Whether this one of `n` lies: the last f do, if anybody does.
    pub fn is_liar(&self, authority: usize, n: usize) -> bool {
        authority >= n - self.faulty && self.lie != Lie::None
    }
}

/// Lets the authorities list `traffic` and agree on the lists; the anchors go on for `drain` after the last envelope.
pub fn publish(
    network: &Network,
    traffic: &Traffic,
    conduct: Conduct,
    drain: Ns,
    seed: u64,
) -> Lists {
    let n = traffic.authorities;
    let is_liar = |authority: usize| conduct.is_liar(authority, n);
    let hold = network.profile.hold_ns();
    let is_slow: Vec<bool> = (0..n)
        .map(|authority| is_liar(authority) && conduct.lie == Lie::Delay)
        .collect();
    let end = traffic.end + drain;
    let rounds = rounds::run(network, conduct.faulty, &is_slow, hold, end, seed);
    let mut arrival = traffic.arrival.clone();
    if conduct.learns {
        learn(&mut arrival, network, &rounds, is_liar, seed);
    }
    list(traffic, &arrival, &rounds, conduct, hold)
}

/// Lets the authorities list what reaches them at `arrival`, in vertices and under anchors that are known.
pub fn list(
    traffic: &Traffic,
    arrival: &[Vec<Option<Ns>>],
    rounds: &Rounds,
    conduct: Conduct,
    hold: Ns,
) -> Lists {
    let n = traffic.authorities;
    let partner = traffic.partners();
    let mut lists = Vec::with_capacity(n);
    let mut ends: Vec<Vec<usize>> = Vec::with_capacity(n);
    for authority in 0..n {
        let made = &rounds.made[authority];
        let lie = match conduct.is_liar(authority, n) {
            true => conduct.lie,
            false => Lie::None,
        };
        let met = meet(traffic, arrival, &partner, authority, lie, made, hold);
        let (list, end) = vertices(&met, made, lie, &partner, &traffic.role);
        lists.push(list);
        ends.push(end);
    }
    let cut = |anchor: &rounds::AnchorTime| {
        let covers = || anchor.covers.iter().enumerate();
        Cut {
            commit: anchor.commit,
            leader: anchor.leader,
            upto: covers().map(|(at, round)| ends[at][*round]).collect(),
            told_until: covers()
                .map(|(at, round)| rounds.made[at][*round])
                .collect(),
            seed: anchor.seed,
        }
    };
    Lists {
        faulty: conduct.faulty,
        liars: (0..n)
            .filter(|authority| conduct.is_liar(*authority, n))
            .count(),
        digests: traffic.digests.clone(),
        cuts: rounds.anchors.iter().map(cut).collect(),
        lists,
    }
}

/// What `authority` meets, and when it takes it to have met it, in that order.
fn meet(
    traffic: &Traffic,
    arrival: &[Vec<Option<Ns>>],
    partner: &[Option<u32>],
    authority: usize,
    lie: Lie,
    made: &[Ns],
    hold: Ns,
) -> Vec<(Ns, u32)> {
    let mut met: Vec<(Ns, u32)> = Vec::with_capacity(traffic.len());
    for (envelope, arrivals) in arrival.iter().enumerate() {
        let Some(mut at) = arrivals[authority] else {
            continue;
        };
        let role = traffic.role[envelope];
        if role == Role::Victim && lie.lists_late() {
            let attacker = partner[envelope].map(|attacker| &arrival[attacker as usize]);
            at = at.max(attacker.and_then(|met| met[authority]).unwrap_or(0)) + hold;
        }
        if role == Role::Attacker && lie.lists_early() {
            // A nanosecond after the vertex before: the first of the one in the making.
            let round = made.partition_point(|made| *made < traffic.sent[envelope]);
            at = made[round.saturating_sub(1)] + 1;
        }
        met.push((at, envelope as u32));
    }
    met.sort_unstable();
    met
}

/// Lets correct authorities whom a client left out meet its envelope in the first vertex that lists it, and fetch it.
fn learn(
    arrival: &mut [Vec<Option<Ns>>],
    network: &Network,
    rounds: &Rounds,
    is_liar: impl Fn(usize) -> bool,
    seed: u64,
) {
    let mut chance = Chance::new(seed, "fetches");
    for arrivals in arrival {
        let n = arrivals.len();
        if arrivals.iter().all(Option::is_some) {
            continue;
        }
        // Liars need not serve what they list.
        let told: Vec<(usize, Ns)> = (0..n)
            .filter(|from| !is_liar(*from))
            .filter_map(|from| Some((from, arrivals[from]?)))
            .map(|(from, met)| {
                let round = rounds.made[from].partition_point(|made| *made < met);
                (
                    from,
                    rounds.made[from][round.min(rounds.made[from].len() - 1)],
                )
            })
            .collect();
        for to in (0..n).filter(|to| !is_liar(*to)) {
            if arrivals[to].is_some() {
                continue;
            }
            let fetched = told.iter().map(|(from, made)| {
                let ways = [(*from, to), (to, *from), (*from, to)];
                let delays = ways.map(|(a, b)| network.link_delay(&mut chance, a, b));
                made + delays.iter().sum::<Ns>()
            });
            arrivals[to] = fetched.min();
        }
    }
}

/// Cuts what was met into vertices, lets `lie` arrange each, and gives the list and its length after each vertex.
fn vertices(
    met: &[(Ns, u32)],
    made: &[Ns],
    lie: Lie,
    partner: &[Option<u32>],
    role: &[Role],
) -> (Vec<Listing>, Vec<usize>) {
    let mut list = Vec::with_capacity(met.len());
    let mut ends = Vec::with_capacity(made.len());
    let mut from = 0;
    for made in made {
        let upto = from + met[from..].partition_point(|(at, _)| at <= made);
        let mut vertex: Vec<u32> = met[from..upto]
            .iter()
            .map(|(_, envelope)| *envelope)
            .collect();
        match lie {
            Lie::Reverse => vertex.reverse(),
            Lie::Reorder => put_attackers_first(&mut vertex, partner, role),
            _ => {}
        }
        // Times go up whatever the order is, else the vertex would be refused.
        let times = met[from..upto].iter().map(|(at, _)| *at);
        let listed = vertex.iter().zip(times);
        list.extend(listed.map(|(envelope, claimed)| Listing {
            envelope: *envelope,
            claimed,
        }));
        from = upto;
        ends.push(from);
    }
    (list, ends)
}

fn put_attackers_first(vertex: &mut Vec<u32>, partner: &[Option<u32>], role: &[Role]) {
    let attackers: Vec<u32> = vertex
        .iter()
        .copied()
        .filter(|envelope| role[*envelope as usize] == Role::Attacker)
        .collect();
    for attacker in attackers {
        let place = |envelope| vertex.iter().position(|listed| *listed == envelope);
        let victim = partner[attacker as usize].and_then(place);
        if let (Some(victim), Some(at)) = (victim, place(attacker))
            && victim < at
        {
            vertex.remove(at);
            vertex.insert(victim, attacker);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::network::{MS, Profile};
    use super::super::traffic::Drafting;
    use super::*;

    fn listed(lie: Lie) -> (Traffic, Lists) {
        let network = Network::new(Profile::Lan);
        let mut drafting = Drafting::new(&network, 4, 5);
        let end = drafting.add_pairs(&[MS], 20, 20 * MS);
        drafting.add_honest(500.0, end);
        let traffic = drafting.finish();
        let conduct = Conduct {
            lie,
            faulty: 1,
            learns: true,
        };
        let lists = publish(&network, &traffic, conduct, 100 * MS, 5);
        (traffic, lists)
    }

    /// How many attackers stand before their victim in the list of `authority`.
    fn turned(traffic: &Traffic, lists: &Lists, authority: usize) -> usize {
        let place = |envelope: u32| {
            let list = lists.lists[authority].iter();
            list.clone()
                .position(|listing| listing.envelope == envelope)
        };
        let is_turned =
            |pair: &&super::super::traffic::Pair| place(pair.attacker) < place(pair.victim);
        traffic.pairs.iter().filter(is_turned).count()
    }

    #[test]
    fn correct_authorities_list_everything_as_received_and_liars_list_it_once() {
        for lie in Lie::ALL {
            let (traffic, lists) = listed(lie);
            for (authority, list) in lists.lists.iter().enumerate() {
                let mut seen: Vec<u32> = list.iter().map(|listing| listing.envelope).collect();
                assert!(list.is_sorted_by_key(|listing| listing.claimed), "{lie:?}");
                if authority < 3 {
                    let at = |envelope: &u32| traffic.arrival[*envelope as usize][authority];
                    assert!(seen.is_sorted_by_key(at), "{lie:?}");
                }
                seen.sort_unstable();
                assert_eq!(
                    seen,
                    (0..traffic.len() as u32).collect::<Vec<_>>(),
                    "{lie:?}"
                );
            }
            for cuts in lists.cuts.windows(2) {
                let grows = cuts[0].upto.iter().zip(&cuts[1].upto);
                assert!(grows.clone().all(|(before, after)| before <= after));
            }
            let last = lists.cuts.last().map(|cut| cut.upto[0]);
            assert_eq!(last, Some(traffic.len()), "all is committed in the end");
        }
    }

    #[test]
    fn each_lie_turns_pairs_round_in_its_own_list_only() {
        for lie in Lie::ALL {
            let (traffic, lists) = listed(lie);
            assert_eq!(
                turned(&traffic, &lists, 0),
                turned(&traffic, &listed(Lie::None).1, 0)
            );
            let by_liar = turned(&traffic, &lists, 3);
            match lie {
                Lie::None | Lie::Delay => assert!(by_liar < 2, "{lie:?} {by_liar}"),
                Lie::ListLate | Lie::EarlyAndLate => assert_eq!(by_liar, 20, "{lie:?}"),
                // Only where both came between two vertices.
                _ => assert!((5..20).contains(&by_liar), "{lie:?} {by_liar}"),
            }
        }
    }

    #[test]
    fn an_envelope_that_some_were_not_sent_is_learned_from_a_vertex_or_never() {
        let network = Network::new(Profile::Lan);
        let mut drafting = Drafting::new(&network, 4, 5);
        let some = [Some(MS), None, None, None];
        drafting.add_sent_to(&some, Role::Hostile, 0, None);
        let traffic = drafting.finish();
        let listings = |learns| {
            let conduct = Conduct {
                lie: Lie::None,
                faulty: 1,
                learns,
            };
            let lists = publish(&network, &traffic, conduct, 100 * MS, 5).lists;
            lists.iter().map(Vec::len).collect::<Vec<_>>()
        };
        assert_eq!(listings(true), [1, 1, 1, 1]);
        assert_eq!(listings(false), [1, 0, 0, 0]);
    }
}
