//! A timing model of the DAG: when each authority makes its vertices, what each anchor commits, and when.
//!
//! After Mysticeti (Babel et al., NDSS 2025) as this project builds it, without its faults: an authority makes the vertex
//! of round r when a quorum of round r - 1 is there and the leader's of r - 1 too, or a timeout has passed, and at least
//! 2 ms after its last. A leader's vertex commits when a quorum of the next round cites it, at the time when a quorum of
//! the round after that has reached authority 0; else it is skipped. Links keep their order.

use std::collections::VecDeque;

use super::chance::Chance;
use super::network::{MS, Network, Ns};

/// When vertices were made, and the anchors that committed.
#[derive(Clone, Debug, Default)]
pub struct Rounds {
    /// For each authority the time of its vertex of every round, from round 0.
    pub made: Vec<Vec<Ns>>,
    /// Committed anchors in order.
    pub anchors: Vec<AnchorTime>,
}

/// One committed anchor.
#[derive(Clone, Debug)]
pub struct AnchorTime {
    /// Its round.
    pub round: usize,
    /// Who made it.
    pub leader: usize,
    /// When it is known to be committed.
    pub commit: Ns,
    /// For each authority the highest round whose vertex it commits.
    pub covers: Vec<usize>,
    /// Keys hashes that decide an order.
    pub seed: [u8; 32],
}

/// Runs the DAG from time 0 until all made vertices are past `end`; vertices of those in `is_slow` take `hold` longer.
///
/// `faulty` is f of n = `is_slow.len()`.
pub fn run(
    network: &Network,
    faulty: usize,
    is_slow: &[bool],
    hold: Ns,
    end: Ns,
    seed: u64,
) -> Rounds {
    let n = is_slow.len();
    let late = |slow: &bool| if *slow { hold } else { 0 };
    let mut dag = Dag {
        network,
        n,
        seed,
        quorum: n - faulty,
        late: is_slow.iter().map(late).collect(),
        chance: Chance::new(seed, "links"),
        rounds: Rounds {
            made: vec![vec![0]; n],
            anchors: Vec::new(),
        },
        covers: (0..n).map(|own| vec![covers_own(n, own)]).collect(),
        links: vec![Link::default(); n * n],
        arrivals: Vec::new(),
        votes: Vec::new(),
    };
    for round in 0.. {
        dag.send(round);
        dag.commit(round);
        if dag.rounds.made.iter().all(|made| made[round] > end) {
            break;
        }
        dag.make_next(round);
    }
    dag.rounds
}

/// The state of all authorities and links.
struct Dag<'a> {
    network: &'a Network,
    n: usize,
    seed: u64,
    quorum: usize,
    /// How much longer the vertices of each author take.
    late: Vec<Ns>,
    chance: Chance,
    rounds: Rounds,
    /// For each vertex, by author and round, the highest round of each author in its history.
    covers: Vec<Vec<Vec<Option<usize>>>>,
    /// Link `from * n + to`.
    links: Vec<Link>,
    /// For each round when its vertices arrive, by link.
    arrivals: Vec<Vec<Ns>>,
    /// For each round how many vertices of the next cite its leader's.
    votes: Vec<usize>,
}

/// A link that keeps its order.
#[derive(Clone, Debug, Default)]
struct Link {
    last_arrival: Ns,
    /// Sent and not taken in: when they arrive, and their rounds.
    under_way: VecDeque<(Ns, usize)>,
    /// Newest round taken in.
    known: Option<usize>,
}

impl Dag<'_> {
    /// Sends the vertices of `round` to everybody.
    fn send(&mut self, round: usize) {
        let mut arrivals = Vec::with_capacity(self.n * self.n);
        for (at, link) in self.links.iter_mut().enumerate() {
            let (from, to) = (at / self.n, at % self.n);
            let delay = match from == to {
                true => 0,
                false => self.network.link_delay(&mut self.chance, from, to) + self.late[from],
            };
            let arrival = self.rounds.made[from][round] + delay;
            link.last_arrival = link.last_arrival.max(arrival);
            link.under_way.push_back((link.last_arrival, round));
            arrivals.push(link.last_arrival);
        }
        self.arrivals.push(arrivals);
    }

    /// The vertices of `round` certify the leader's of two rounds before, if a quorum cited that one.
    fn commit(&mut self, round: usize) {
        let Some(led) = round
            .checked_sub(2)
            .filter(|led| self.votes[*led] >= self.quorum)
        else {
            return;
        };
        let leader = led % self.n;
        let certified = nth(&self.arrivals[round], self.n, 0, self.quorum);
        let before = self.rounds.anchors.last().map_or(0, |anchor| anchor.commit);
        let covers = self.covers[leader][led].iter();
        let mut key = [0; 16];
        key[..8].copy_from_slice(&self.seed.to_be_bytes());
        key[8..].copy_from_slice(&(led as u64).to_be_bytes());
        self.rounds.anchors.push(AnchorTime {
            round: led,
            leader,
            commit: certified.max(before),
            covers: covers.map(|covered| covered.unwrap_or(0)).collect(),
            seed: *blake3::hash(&key).as_bytes(),
        });
    }

    /// Everybody makes its vertex of the round after `round`.
    fn make_next(&mut self, round: usize) {
        let n = self.n;
        let leader = round % n;
        let mut votes = 0;
        for own in 0..n {
            let enter = nth(&self.arrivals[round], n, own, self.quorum);
            let led = self.arrivals[round][leader * n + own];
            let waited = enter.max(led.min(enter + self.network.profile.leader_timeout_ns()));
            let made = waited.max(self.rounds.made[own][round] + ROUND_INTERVAL_NS);
            let mut covers = self.covers[own][round].clone();
            for from in 0..n {
                let link = &mut self.links[from * n + own];
                while let Some((_, newest)) = link.under_way.front().filter(|next| next.0 <= made) {
                    link.known = Some(*newest);
                    link.under_way.pop_front();
                }
                let Some(newest) = link.known else { continue };
                for (have, theirs) in covers.iter_mut().zip(&self.covers[from][newest]) {
                    *have = (*have).max(*theirs);
                }
            }
            votes += usize::from(self.links[leader * n + own].known == Some(round));
            covers[own] = Some(round + 1);
            self.covers[own].push(covers);
            self.rounds.made[own].push(made);
        }
        self.votes.push(votes);
    }
}

/// The history of a first vertex: itself.
fn covers_own(n: usize, own: usize) -> Vec<Option<usize>> {
    (0..n).map(|author| (author == own).then_some(0)).collect()
}

/// When the `count`-th vertex of a round reaches `to`.
fn nth(arrivals: &[Ns], n: usize, to: usize, count: usize) -> Ns {
    let mut at: Vec<Ns> = (0..n).map(|from| arrivals[from * n + to]).collect();
    at.sort_unstable();
    at[count - 1]
}

/// Least time between own vertices: the default of a node.
const ROUND_INTERVAL_NS: Ns = 2 * MS;

#[cfg(test)]
mod tests {
    use super::super::network::Profile;
    use super::*;

    #[test]
    fn every_leader_commits_when_all_are_timely_and_anchors_only_grow() {
        let network = Network::new(Profile::Lan);
        let rounds = run(&network, 1, &[false; 4], 0, 200 * MS, 3);
        assert!(rounds.anchors.len() > 60, "{}", rounds.anchors.len());
        for (at, anchor) in rounds.anchors.iter().enumerate() {
            assert_eq!((anchor.round, anchor.leader), (at, at % 4));
            assert_eq!(anchor.covers[anchor.leader], anchor.round);
            let made = rounds.made[anchor.leader][anchor.round];
            assert!(
                anchor.commit > made + 4 * MS,
                "two more rounds and their way"
            );
        }
        for pair in rounds.anchors.windows(2) {
            assert!(pair[0].commit <= pair[1].commit);
            let grows = pair[0].covers.iter().zip(&pair[1].covers);
            assert!(grows.clone().all(|(before, after)| before <= after));
        }
    }

    #[test]
    fn a_slow_authority_is_committed_late_and_leads_nothing() {
        let network = Network::new(Profile::Lan);
        let slow = [false, false, false, true];
        let rounds = run(&network, 1, &slow, 20 * MS, 400 * MS, 3);
        assert!(rounds.anchors.len() > 30);
        assert!(rounds.anchors.iter().all(|anchor| anchor.leader != 3));
        let late = rounds.anchors.iter().skip(20);
        assert!(
            late.into_iter()
                .all(|anchor| anchor.covers[3] + 2 < anchor.round)
        );
    }
}
