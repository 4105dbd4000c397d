//! A world at virtual time 0.

use super::*;
use crate::engine::Engine;
use crate::sim::byzantine::{Byzantine, Vice};
use crate::sim::disk::Disk;
use crate::sim::node::Tally;
use crate::sim::scenario::{FaultKind, GC_DEPTH_ROUNDS};
use crate::sim::workload::Audience;

/// Builds what the scenario says and plans what will happen from outside.
pub(super) fn world(scenario: Scenario, keys: &Arc<CommitteeKeys>, options: Options) -> World {
    let committee = keys.committee(scenario.parameters, scenario.key_changes.as_ref());
    let (nodes, nodes_of) = nodes(&scenario, keys, &committee);
    let chance = |user: &str| Chance::new(scenario.seed, user);
    let workload = workload(&scenario, keys, &nodes, &mut chance("clients"));
    let last = workload
        .submissions
        .iter()
        .map(|submission| submission.at_us);
    let mut world = World {
        network: Network::new(
            scenario.profile,
            scenario.weather,
            nodes.len(),
            chance("network"),
        ),
        memo: Memo::new(
            committee.clone(),
            (*keys.sealing).clone(),
            !options.is_without_memo,
        ),
        last_submission_us: last.max().unwrap_or(0),
        checks: Checks {
            chain: Chain::default(),
            blind: Blind::default(),
            structure: Structure::new(scenario.n as usize),
            decide: Decide::new(scenario.n as usize, &scenario.parameters),
            live: Live::new(rounds_max(&scenario)),
            fair: Fair::new(scenario.n as usize, &scenario.parameters),
            latency: Latency::default(),
            keys: Keys::default(),
            law: LawTally::default(),
            received: BTreeMap::new(),
        },
        seen: Seen::default(),
        committee,
        keys: keys.clone(),
        nodes,
        nodes_of,
        queue: Queue::new(),
        now_us: 0,
        workload,
        failure: None,
        trace: blake3::Hasher::new(),
        events: 0,
        front_round: 0,
        healed: false,
        restarts: 0,
        power_losses: 0,
        snapshot_starts: 0,
        loads: 0,
        laws_judged: 0,
        effects: Vec::new(),
        chance: chance("world"),
        key_chance: chance("key clients"),
        scratch: rkyv::util::AlignedVec::new(),
        scenario,
    };
    world.plan_all();
    world.link_all();
    world
}

/// Rounds within which a promised envelope is settled once all has healed.
///
/// See [`crate::sim::check::live`] for what the three terms stand for.
fn rounds_max(scenario: &Scenario) -> u64 {
    let config = &scenario.config;
    let back_off = 16 * config.fetch_retry_us / config.round_interval_us_min;
    let (cap, n) = (
        u64::from(scenario.parameters.deferral_cap),
        u64::from(scenario.n),
    );
    if scenario.absence.is_none() {
        return back_off + cap + 12 * n;
    }
    // What fell below the floor is listed again when the floor has passed it, and whoever lists it may first have to wait
    // for a checkpoint that is still served when it asks. One that comes back asks for a state first and for batches then.
    let parameters = &scenario.parameters;
    let window = match parameters.gc_depth_rounds {
        depth if depth < GC_DEPTH_ROUNDS => depth + 8 * parameters.checkpoint_interval_rounds,
        _ => 0,
    };
    2 * back_off + window + cap + 12 * n
}

fn nodes(
    scenario: &Scenario,
    keys: &CommitteeKeys,
    committee: &Arc<Committee>,
) -> (Vec<Node>, Vec<Vec<usize>>) {
    let n = scenario.n as usize;
    let mut nodes = Vec::new();
    let mut nodes_of = vec![Vec::new(); n];
    let vices_of = |authority: usize| {
        scenario
            .faulty
            .iter()
            .find_map(|faulty| match &faulty.kind {
                FaultKind::Byzantine(vices) if faulty.authority == authority => Some(vices.clone()),
                _ => None,
            })
    };
    let twins = (0..n)
        .filter(|authority| vices_of(*authority).is_some_and(|vices| vices.contains(&Vice::Twins)));
    let keys_run: Vec<usize> = (0..n).chain(twins).collect();
    for (at, authority) in keys_run.iter().copied().enumerate() {
        let stream = |user: &str| Chance::new(scenario.seed, &format!("{user} {at}"));
        let own = AuthorityIndex(authority as u8);
        let engine_keys = keys.engine_keys(authority, scenario.key_changes.as_ref(), at as u64);
        let signing = engine_keys.signing.clone();
        let byzantine = vices_of(authority).map(|vices| {
            let is_twin = vices.contains(&Vice::Twins);
            let mut byzantine =
                Byzantine::new(vices, own, committee.clone(), signing, stream("byzantine"));
            byzantine.audience = is_twin.then(|| audience(scenario, authority, at >= n));
            byzantine
        });
        let mut clock = scenario.clocks[authority];
        // Two engines that see the same and have one clock would make the same vertices.
        if at >= n {
            clock.offset_us = 1;
        }
        nodes_of[authority].push(at);
        nodes.push(Node {
            authority: own,
            engine: Engine::new(committee.clone(), own, engine_keys, scenario.config),
            clock,
            disk: {
                let mut disk = Disk::new(scenario.disk, stream("disk"));
                disk.set_async(scenario.sync_us);
                disk
            },
            distrusts: false,
            byzantine,
            will_crash: scenario.crashes(authority),
            life: 0,
            before: Tally::default(),
            is_up: true,
            pauses: Vec::new(),
            timer_us: None,
            ticked_us: None,
        });
    }
    let cheats = scenario.key_changes.iter().flat_map(|keys| &keys.cheats);
    for cheat in cheats {
        for node in &nodes_of[cheat.dealer] {
            let engine = &mut nodes[*node].engine;
            engine.deal_badly_to(cheat.victims, cheat.assures_nobody);
        }
    }
    (nodes, nodes_of)
}

/// Who hears one of an authority's twins: each peer hears the one, the other, or both.
fn audience(scenario: &Scenario, authority: usize, is_second: bool) -> Vec<bool> {
    let mut chance = Chance::new(scenario.seed, &format!("twins {authority}"));
    (0..scenario.n)
        .map(|_| match chance.below(5) {
            0 => true,
            side => (side % 2 == 0) == is_second,
        })
        .collect()
}

fn workload(
    scenario: &Scenario,
    keys: &CommitteeKeys,
    nodes: &[Node],
    chance: &mut Chance,
) -> Workload {
    let held_up_us_max: Vec<u64> = nodes
        .iter()
        .map(|node| match node.byzantine {
            Some(_) => FAULTY_WAY_US_MAX,
            None => 0,
        })
        .collect();
    let gives_wrong_shares = |vices: &[Vice]| vices.contains(&Vice::WrongShares);
    let accomplice = scenario
        .faulty
        .iter()
        .find_map(|faulty| match &faulty.kind {
            FaultKind::Byzantine(vices) if gives_wrong_shares(vices) => Some(faulty.authority),
            _ => None,
        });
    let audience = Audience {
        nodes: nodes.len(),
        held_up_us_max: &held_up_us_max,
        accomplice,
    };
    Workload::draw(&scenario.clients, &audience, keys, chance)
}

impl World {
    fn plan_all(&mut self) {
        for at in 0..self.workload.submissions.len() {
            let at_us = self.workload.submissions[at].at_us;
            self.queue.plan(at_us, Event::Submit { at });
        }
        for (outage, span) in self.scenario.outages.iter().enumerate() {
            let outage = Some(outage);
            self.queue.plan(span.from_us, Event::Part { outage });
            self.queue.plan(span.to_us, Event::Part { outage: None });
        }
        for pause in &self.scenario.pauses {
            for node in &self.nodes_of[pause.authority] {
                self.nodes[*node].pauses.push((pause.from_us, pause.to_us));
            }
        }
        for faulty in &self.scenario.faulty {
            if let FaultKind::Crash { at_us } = faulty.kind {
                let node = faulty.authority;
                self.queue.plan(at_us, Event::Crash { node });
            }
        }
        for restart in &self.scenario.restarts {
            let (node, down_us) = (restart.authority, restart.down_us);
            self.queue
                .plan(restart.at_us, Event::Stop { node, down_us });
        }
        for (loss, drawn) in self.scenario.power_losses.iter().enumerate() {
            self.queue.plan(drawn.at_us, Event::LosePower { loss });
        }
        self.queue.plan(self.scenario.heal_us, Event::Heal);
        self.queue.plan(LOOK_US, Event::Look);
    }

    fn link_all(&mut self) {
        for node in 0..self.nodes.len() {
            for peer in self.committee.clone().thresholds().members() {
                if peer != self.nodes[node].authority {
                    self.input(node, Input::PeerUp { peer });
                }
            }
        }
    }
}

/// How long a faulty authority may sit on a submission, microseconds.
const FAULTY_WAY_US_MAX: u64 = 200_000;
