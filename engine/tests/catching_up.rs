//! What a node that was cut off lacks reaches it however messages came meanwhile.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, an unwrap that fails is the finding"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{START, World};
use ed25519_dalek::SigningKey;
use fairlane_engine::committee::{Committee, Parameters};
use fairlane_engine::config::EngineConfig;
use fairlane_engine::dag::{
    PENDING_PER_AUTHOR_MAX, Settled, VerifiedVertex, VertexDraft, VertexRef, genesis,
};
use fairlane_engine::effect::Effect;
use fairlane_engine::engine::{Engine, SHARES_ASKED_MAX};
use fairlane_engine::input::Input;
use fairlane_engine::message::PeerMessage;
use fairlane_engine::types::{AuthorityIndex, Position, Round, Sha256Hash, TimestampUs};

const SECOND: u64 = 1_000_000;

/// Steady sealed load, one batch an envelope, while no share reaches node 3.
#[test]
fn a_node_that_missed_the_shares_of_200_batches_is_level_within_a_few_retries() {
    let config = EngineConfig::default();
    let mut world = World::new(4, Parameters::default(), config);
    world.lost_shares_to = Some(3);
    let mut id = 0;
    let unopened = |world: &World| world.nodes[3].engine.unopened_len();
    while unopened(&world) < 200 {
        let envelope = world.sealed(id, 30 * SECOND);
        for to in 0..4 {
            world.submit(to, id, envelope.clone(), 0);
        }
        id += 1;
        world.run_for(10_000);
        assert!(id < 1_000, "{} are unopened", unopened(&world));
    }
    assert!(unopened(&world) > 3 * SHARES_ASKED_MAX);
    world.run_for(SECOND);
    let asked = world.nodes[3].engine.counters().share_requests;
    world.run_for(SECOND);
    let asked_more = world.nodes[3].engine.counters().share_requests - asked;
    // Two shares lack; the wait has grown to eight times the first.
    let most = 2 * SHARES_ASKED_MAX as u64 * (SECOND / (8 * config.fetch_retry_us) + 1);
    assert!((1..=most).contains(&asked_more), "{asked_more} of {most}");

    world.lost_shares_to = None;
    // The last wait for an answer runs out first.
    let is_level = |world: &World| world.nodes[3].engine.unopened_len() == 0;
    assert!(world.run_until(10 * config.fetch_retry_us, is_level));
    assert_eq!(world.nodes[3].settled, world.nodes[0].settled);
}

/// Vertices that correct peers hold, and what a node that is behind does with them.
struct Behind {
    engine: Engine,
    now: TimestampUs,
    held: BTreeMap<VertexRef, VerifiedVertex>,
    /// Nobody gives these.
    withheld: BTreeSet<VertexRef>,
    /// Of a hundred answers so many are lost.
    lost_percent: u64,
    chance: u64,
}

impl Behind {
    fn new(n: u8, held: Vec<VerifiedVertex>, parameters: Parameters) -> Self {
        let world = World::new(n, parameters, EngineConfig::default());
        let (engine, _) = world.recover(n as usize - 1, Vec::new()).unwrap();
        Self {
            engine,
            now: START.plus_us(SECOND),
            held: held
                .into_iter()
                .map(|vertex| (vertex.reference(), vertex))
                .collect(),
            withheld: BTreeSet::new(),
            lost_percent: 0,
            chance: 1,
        }
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.chance = self
            .chance
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.chance >> 33) % below
    }

    /// A vertex comes; what the engine asks for then comes too, at once and in the order of asking.
    fn give(&mut self, vertex: &VerifiedVertex) {
        let mut effects = Vec::new();
        let input = Input::Vertex {
            from: vertex.author(),
            vertex: vertex.clone(),
        };
        self.engine.handle(self.now, input, &mut effects);
        self.answer(effects);
    }

    fn answer(&mut self, effects: Vec<Effect>) {
        let mut effects: std::collections::VecDeque<Effect> = effects.into();
        while let Some(effect) = effects.pop_front() {
            let answers: Vec<VerifiedVertex> = match effect {
                Effect::Send {
                    message: PeerMessage::WantVertices(wanted),
                    ..
                } => wanted
                    .iter()
                    .filter_map(|wanted| self.held.get(wanted))
                    .cloned()
                    .collect(),
                Effect::Send {
                    message: PeerMessage::WantRounds { after, count },
                    ..
                } => {
                    let rounds = after.0 + 1..=after.0 + u64::from(count);
                    let held = self.held.values();
                    held.filter(|vertex| rounds.contains(&vertex.round().0))
                        .cloned()
                        .collect()
                }
                _ => continue,
            };
            for vertex in answers {
                let is_lost = self.draw(100) < self.lost_percent;
                if is_lost || self.withheld.contains(&vertex.reference()) {
                    continue;
                }
                let mut more = Vec::new();
                let input = Input::Vertex {
                    from: vertex.author(),
                    vertex,
                };
                self.engine.handle(self.now, input, &mut more);
                effects.extend(more);
            }
        }
    }

    /// Lets time pass until the engine has everything, or for so long.
    fn run_for(&mut self, us: u64) -> bool {
        let end = self.now.plus_us(us);
        while self.now < end {
            if self.engine.footprint().vertices == self.held.len() {
                return true;
            }
            let Some(due) = self.engine.next_deadline(self.now) else {
                return false;
            };
            self.now = due.max(self.now.plus_us(100));
            let mut effects = Vec::new();
            self.engine.handle(self.now, Input::Tick, &mut effects);
            self.answer(effects);
        }
        false
    }
}

/// Keeps everything, so that no floor helps.
fn deep() -> Parameters {
    Parameters {
        gc_depth_rounds: 4096,
        ..Parameters::default()
    }
}

/// Authority `author`'s vertex of `round` over its own previous one and `others`.
fn vertex(
    committee: &Committee,
    author: u8,
    round: u64,
    parents: Vec<VertexRef>,
    at: u64,
) -> VerifiedVertex {
    let draft = VertexDraft {
        chain_id: committee.chain_id,
        epoch: committee.epoch,
        round: Round(round),
        author: AuthorityIndex(author),
        timestamp: START.plus_us(at),
        first_position: Position(0),
        parents,
        entries: Vec::new(),
        settled: Settled {
            count: 0,
            hash: Sha256Hash::default(),
        },
    };
    draft.sign(&SigningKey::from_bytes(&[author + 1; 32]))
}

/// Of 7 authorities, 1 to 5 make `rounds` rounds of their own; 0 follows them, and they cite it in round `cited_in` only.
fn one_follows(
    committee: &Committee,
    rounds: u64,
    followed: u64,
    cited_in: u64,
) -> Vec<VerifiedVertex> {
    let start = |author: u8| genesis(committee, AuthorityIndex(author));
    let mut tips: Vec<VertexRef> = (0..6).map(start).collect();
    let mut all = Vec::new();
    for round in 1..=rounds {
        let before = tips.clone();
        for author in 0..6_u8 {
            if author == 0 && round > followed {
                continue;
            }
            let own = before[author as usize];
            let others = (0..6_u8).filter(|other| *other != author);
            let cited = others.filter(|other| *other != 0 || round == cited_in);
            let parents = std::iter::once(own).chain(cited.map(|other| before[other as usize]));
            let made = vertex(committee, author, round, parents.collect(), round);
            tips[author as usize] = made.reference();
            all.push(made);
        }
    }
    all
}

#[test]
fn what_came_while_its_author_had_too_many_waiting_is_asked_for_again() {
    let committee = World::new(7, deep(), EngineConfig::default()).committee;
    let followed = PENDING_PER_AUTHOR_MAX as u64 + 44;
    let all = one_follows(&committee, followed + 20, followed, followed + 10);
    let first = all[0].reference();
    let mut behind = Behind::new(7, all.clone(), deep());
    behind.withheld.insert(first);
    for vertex in all.iter().filter(|vertex| vertex.reference() != first) {
        behind.give(vertex);
    }
    assert!(!behind.run_for(SECOND));
    let waiting = behind.engine.footprint().vertices_pending;
    assert!(waiting > PENDING_PER_AUTHOR_MAX, "{waiting} wait");
    assert!(
        behind.engine.counters().vertices_refused > 0,
        "one too many"
    );

    behind.withheld.clear();
    assert!(
        behind.run_for(10 * SECOND),
        "{:?}, {:?}",
        behind.engine.footprint(),
        behind.engine.counters()
    );
}

#[test]
fn a_node_that_missed_400_rounds_catches_up_in_whatever_order_they_come_and_with_losses() {
    let committee = World::new(7, deep(), EngineConfig::default()).committee;
    let all = one_follows(&committee, 400, 400, 0);
    for seed in 0..4 {
        let mut behind = Behind::new(7, all.clone(), deep());
        (behind.chance, behind.lost_percent) = (seed, 30);
        let mut order = all.clone();
        order.reverse();
        for at in (1..order.len()).rev().filter(|_| seed > 0) {
            let other = behind.draw(at as u64 + 1) as usize;
            order.swap(at, other);
        }
        for vertex in order {
            if behind.draw(100) >= behind.lost_percent {
                behind.give(&vertex);
            }
        }
        // What nobody cites yet cannot be known to be missing: it is named again by what comes after it.
        let newest = || all.iter().filter(|vertex| vertex.round() == Round(400));
        let has_all = (0..20).any(|_| {
            newest().for_each(|vertex| behind.give(vertex));
            behind.run_for(SECOND)
        });
        assert!(
            has_all,
            "order {seed}: {:?}, {:?}",
            behind.engine.footprint(),
            behind.engine.counters()
        );
    }
}

/// Somebody else has the own key, and peers have seen what it signed first.
#[test]
fn an_own_vertex_is_accepted_although_two_foreign_ones_are_in_its_slot() {
    let world = World::new(4, Parameters::default(), EngineConfig::default());
    let (mut engine, _) = world.recover(3, Vec::new()).unwrap();
    let now = START.plus_us(2 * SECOND);
    let mut effects = Vec::new();
    engine.handle(now, Input::Tick, &mut effects);
    let records = effects
        .iter()
        .filter(|effect| matches!(effect, Effect::Persist(_)))
        .count() as u64;
    assert_eq!((engine.counters().vertices_made, records), (1, 1));
    let parents = [3, 0, 1, 2].map(|author| genesis(&world.committee, AuthorityIndex(author)));
    for at in 1..=2 {
        let foreign = vertex(&world.committee, 3, 1, parents.to_vec(), at);
        let from = AuthorityIndex(0);
        let input = Input::Vertex {
            from,
            vertex: foreign,
        };
        engine.handle(now, input, &mut effects);
    }
    assert_eq!(engine.footprint().vertices, 2);
    effects.clear();
    engine.handle(now, Input::Durable { records }, &mut effects);
    assert_eq!(engine.footprint().vertices, 3);
    let sent = |effect: &Effect| matches!(effect, Effect::Broadcast(PeerMessage::Vertex(_)));
    assert!(effects.iter().any(sent));
    assert_eq!(engine.counters().forks, 1);
}
