//! Random DAGs: faulty authorities miss rounds and sign twins, in one slot or across slots; all others sign one vertex
//! a round with a random quorum of parents, sometimes more, sometimes older ones too.

use std::collections::BTreeSet;
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use fairlane_engine::commit::{Committer, SubDag};
use fairlane_engine::committee::{Committee, Parameters};
use fairlane_engine::dag::{Dag, Settled, VerifiedVertex, VertexDraft, VertexRef, genesis};
use fairlane_engine::types::{
    AuthorityIndex, ChainId, Digest, Entry, Epoch, Position, Round, TimestampUs,
};

/// A small seeded generator (splitmix64), so that a case is its seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub(crate) fn percent(&mut self, chance: u64) -> bool {
        self.next() % 100 < chance
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
    }
}

/// A committee and a random DAG, parents before children.
pub(crate) struct Scenario {
    pub(crate) committee: Arc<Committee>,
    pub(crate) vertices: Vec<VerifiedVertex>,
}

/// How a scenario is drawn.
struct Maker {
    committee: Arc<Committee>,
    keys: Vec<SigningKey>,
    faulty: u8,
    /// How likely a vertex cites one of the round before beyond its quorum, and cites the leader first, in percent.
    link_chance: u64,
    leader_chance: u64,
    random: Random,
    /// Of each author all vertices so far.
    own: Vec<Vec<VerifiedVertex>>,
    vertices: Vec<VerifiedVertex>,
}

impl Scenario {
    /// At most f faulty ones, as the seed says.
    pub(crate) fn new(authorities: u8, rounds: u64, seed: u64, gc_depth_rounds: u64) -> Self {
        let mut random = Random(seed);
        let faulty_max = (authorities - 1) / 3;
        let faulty = random.below(usize::from(faulty_max) + 1) as u8;
        Self::with_faulty(authorities, faulty, rounds, random, gc_depth_rounds)
    }

    /// As [`Scenario::new`], with the first `faulty` authorities faulty, perhaps more than f.
    pub(crate) fn with_faulty(
        authorities: u8,
        faulty: u8,
        rounds: u64,
        mut random: Random,
        gc_depth_rounds: u64,
    ) -> Self {
        let keys: Vec<SigningKey> = (0..authorities)
            .map(|author| SigningKey::from_bytes(&[author + 1; 32]))
            .collect();
        let parameters = Parameters {
            gc_depth_rounds,
            // Few, so that some come back within the rounds that are drawn.
            leader_return_anchors: 2,
            ..Parameters::default()
        };
        let verifying = keys.iter().map(SigningKey::verifying_key).collect();
        let start = TimestampUs(1_000_000);
        let committee = Committee::new(ChainId(1), Epoch(0), start, parameters, vec![], verifying);
        let committee = Arc::new(committee.expect("the parameters are in range"));
        let mut maker = Maker {
            faulty,
            link_chance: random.next() % 101,
            leader_chance: random.next() % 101,
            own: vec![Vec::new(); usize::from(authorities)],
            vertices: Vec::new(),
            committee,
            keys,
            random,
        };
        for round in 1..=rounds {
            maker.draw_round(round);
        }
        Self {
            committee: maker.committee,
            vertices: maker.vertices,
        }
    }

    /// What each insertion in this order outputs, one after the other; all as one sequence.
    pub(crate) fn sequence(&self, order: &[VerifiedVertex], prune: bool) -> Vec<SubDag> {
        let (mut dag, mut committer) = (Dag::new(self.committee.clone()), self.committer());
        let mut sequence = Vec::new();
        for vertex in order {
            dag.insert(vertex.clone());
            sequence.extend(committer.advance(&dag));
            if prune {
                dag.raise_floor(committer.floor());
                sequence.extend(committer.advance(&dag));
            }
        }
        sequence
    }

    pub(crate) fn dag(&self) -> Dag {
        let mut dag = Dag::new(self.committee.clone());
        for vertex in &self.vertices {
            dag.insert(vertex.clone());
        }
        assert_eq!(dag.counters().accepted, self.vertices.len() as u64);
        dag
    }

    pub(crate) fn committer(&self) -> Committer {
        Committer::new(&self.committee)
    }

    /// A view that some node may have: random vertices and all of their history, parents first.
    pub(crate) fn view(&self, random: &mut Random) -> Vec<VerifiedVertex> {
        let chance = random.next() % 40;
        let highest = random.below(self.vertices.len() + 1);
        let mut kept = BTreeSet::new();
        for vertex in self.vertices[..highest].iter().rev() {
            if random.percent(chance) {
                kept.insert(vertex.reference());
            }
            if kept.contains(&vertex.reference()) {
                kept.extend(vertex.parents());
            }
        }
        let in_view = |vertex: &&VerifiedVertex| kept.contains(&vertex.reference());
        self.vertices.iter().filter(in_view).cloned().collect()
    }
}

impl Maker {
    fn draw_round(&mut self, round: u64) {
        let mut drawn = Vec::new();
        for author in self.committee.thresholds().members() {
            let twins = match author.0 < self.faulty {
                true => self.random.below(3),
                false => 1,
            };
            for twin in 0..twins {
                drawn.push(self.draw(round, author, twin as u64));
            }
        }
        for vertex in drawn {
            self.own[vertex.author().as_usize()].push(vertex.clone());
            self.vertices.push(vertex);
        }
    }

    fn draw(&mut self, round: u64, author: AuthorityIndex, twin: u64) -> VerifiedVertex {
        let own = self.own[author.as_usize()].clone();
        // A fork across slots: a faulty author now and then goes back to any of its vertices.
        let back = author.0 < self.faulty && self.random.percent(30) && !own.is_empty();
        let previous = match back {
            true => own.get(self.random.below(own.len())),
            false => own.last(),
        };
        let link = previous.map_or(genesis(&self.committee, author), |own| own.reference());
        let entries = self.random.below(3);
        let draft = VertexDraft {
            chain_id: self.committee.chain_id,
            epoch: self.committee.epoch,
            round: Round(round),
            author,
            timestamp: TimestampUs(1_000_000 + round * 1000 + self.random.next() % 1000),
            first_position: previous.map_or(Position(0), |own| own.end_position()),
            parents: self.parents(round, link),
            entries: (0..entries)
                .map(|index| entry(round, author, twin, index))
                .collect(),
            settled: Settled::default(),
        };
        draft.sign(&self.keys[author.as_usize()])
    }

    /// The own link, a random quorum of the round before, perhaps more of it, perhaps something older.
    fn parents(&mut self, round: u64, link: VertexRef) -> Vec<VertexRef> {
        let quorum = self.committee.thresholds().quorum() as usize;
        let before = Round(round - 1);
        // As good a guess as any: who leads in the end depends on what is drawn here.
        let leader = AuthorityIndex((before.0 % self.own.len() as u64) as u8);
        let mut others: Vec<AuthorityIndex> = self.committee.thresholds().members().collect();
        others.retain(|author| *author != link.author);
        self.random.shuffle(&mut others);
        if self.random.percent(self.leader_chance) {
            others.sort_by_key(|author| *author != leader);
        }
        let mut parents = vec![link];
        let mut of_before = usize::from(link.round == before);
        let mut without = Vec::new();
        for author in others {
            let twins = self.of_round(before, author);
            let wanted = of_before < quorum || self.random.percent(self.link_chance);
            if twins.is_empty() || !wanted {
                without.push(author);
                continue;
            }
            parents.push(twins[self.random.below(twins.len())]);
            of_before += 1;
        }
        for author in without {
            let older: Vec<VertexRef> = self.own[author.as_usize()]
                .iter()
                .map(|vertex| vertex.reference())
                .filter(|vertex| vertex.round < before)
                .collect();
            if !older.is_empty() && self.random.percent(20) {
                parents.push(older[self.random.below(older.len())]);
            }
        }
        parents
    }

    fn of_round(&self, round: Round, author: AuthorityIndex) -> Vec<VertexRef> {
        if round == Round(0) {
            return vec![genesis(&self.committee, author)];
        }
        let own = self.own[author.as_usize()].iter();
        let own = own.map(|vertex| vertex.reference());
        own.filter(|vertex| vertex.round == round).collect()
    }
}

fn entry(round: u64, author: AuthorityIndex, twin: u64, index: usize) -> Entry {
    let name = format!("{round}/{author}/{twin}/{index}");
    Entry {
        digest: Digest(*blake3::hash(name.as_bytes()).as_bytes()),
        valid_until: TimestampUs(u64::MAX),
    }
}
