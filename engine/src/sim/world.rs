//! The run itself: takes what happens next, lets it happen, and shows the checkers what nodes are given and ask for.
//!
//! A node is fed as the node's core stage feeds its engine: handle, go on with the reveal, carry out, open what is ready.

mod restart;
mod shell;
mod start;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use super::Options;
use super::chance::Chance;
use super::check::blind::Blind;
use super::check::chain::Chain;
use super::check::decide::Decide;
use super::check::fair::Fair;
use super::check::keys::Keys;
use super::check::law::{self, LawTally};
use super::check::live::Live;
use super::check::structure::Structure;
use super::check::{Failure, Found, faulty_max};
use super::keys::CommitteeKeys;
use super::latency::Latency;
use super::memo::{Content, Memo, Seen, content};
use super::network::Network;
use super::node::Node;
use super::queue::Queue;
use super::report::Report;
use super::scenario::Scenario;
use super::workload::Workload;
use crate::committee::Committee;
use crate::effect::Effect;
use crate::input::Input;
use crate::message::PeerMessage;
use crate::sync::part::Item;
use crate::types::{AuthorityIndex, Digest};

/// Something that happens at a time.
pub(super) enum Event {
    /// A message arrives.
    Deliver {
        to: usize,
        from: AuthorityIndex,
        message: Rc<Posted>,
    },
    /// A write is done.
    Written { node: usize, life: u64, covers: u64 },
    /// Something is read from a disk.
    Loaded { node: usize, life: u64, item: Item },
    /// A client's submission arrives.
    Submit { at: usize },
    /// A node's timer may be due.
    Timer { node: usize },
    /// A link breaks and comes back.
    Relink { node: usize, peer: AuthorityIndex },
    /// The network is parted, or whole again.
    Part { outage: Option<usize> },
    /// A node stops for good.
    Crash { node: usize },
    /// A node crashes and will be back, if it is up.
    Stop { node: usize, down_us: u64 },
    /// Nodes lose power, all at this instant.
    LosePower { loss: usize },
    /// A node starts again from its records.
    Start { node: usize },
    /// The last fault has healed.
    Heal,
    /// Time to see whether all is done.
    Look,
}

/// A message on its way, perhaps to several.
pub(super) struct Posted {
    message: PeerMessage,
    /// Names its bytes, if it is more than a request.
    content: Content,
}

/// A committee, its surroundings and its judges.
pub(super) struct World {
    scenario: Scenario,
    committee: Arc<Committee>,
    keys: Arc<CommitteeKeys>,
    nodes: Vec<Node>,
    /// The nodes that have each authority's key.
    nodes_of: Vec<Vec<usize>>,
    network: Network,
    queue: Queue<Event>,
    now_us: u64,
    memo: Memo,
    seen: Seen,
    workload: Workload,
    checks: Checks,
    failure: Option<Failure>,
    trace: blake3::Hasher,
    events: u64,
    /// The highest round of a correct node.
    front_round: u64,
    healed: bool,
    last_submission_us: u64,
    restarts: u64,
    power_losses: u64,
    /// Starts from a snapshot with which some records are not read.
    snapshot_starts: u64,
    /// Batches, and headers of batches, that were read from disks.
    loads: u64,
    laws_judged: u64,
    effects: Vec<Effect>,
    /// Draws what the world itself decides.
    chance: Chance,
    /// Draws what is sealed to new keys.
    key_chance: Chance,
    scratch: rkyv::util::AlignedVec<16>,
}

struct Checks {
    chain: Chain,
    blind: Blind,
    structure: Structure,
    decide: Decide,
    live: Live,
    fair: Fair,
    latency: Latency,
    keys: Keys,
    law: LawTally,
    /// For each correct node what it received, in order.
    received: BTreeMap<usize, Received>,
}

#[derive(Default)]
struct Received {
    order: Vec<Digest>,
    known: std::collections::BTreeSet<Digest>,
}

impl World {
    /// A world at virtual time 0, with everything planned that the scenario says.
    pub(super) fn new(scenario: Scenario, keys: Arc<CommitteeKeys>, options: Options) -> Self {
        start::world(scenario, &keys, options)
    }

    /// Runs until all is settled, a promise is broken, or there is no hope left.
    pub(super) fn run(mut self) -> Report {
        while self.failure.is_none() {
            let Some((at_us, event)) = self.queue.pop() else {
                break;
            };
            self.now_us = at_us;
            let horizon_us = self.last_submission_us.max(self.scenario.heal_us) + SETTLE_US_MAX;
            if at_us > horizon_us {
                self.fail("live", self.what_is_missing());
                break;
            }
            if matches!(event, Event::Look) {
                if self.is_done() {
                    break;
                }
                self.queue.plan(at_us + LOOK_US, Event::Look);
                continue;
            }
            self.events += 1;
            self.happen(event);
        }
        if self.failure.is_none() {
            self.judge_order();
        }
        self.report()
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Deliver { to, from, message } => self.deliver(to, from, message),
            Event::Written { node, life, covers } => self.on_written(node, life, covers),
            Event::Loaded { node, life, item } => self.on_loaded(node, life, item),
            Event::Submit { at } => self.on_submission(at),
            Event::Timer { node } => self.on_timer(node),
            Event::Relink { node, peer } => {
                self.input(node, Input::PeerDown { peer });
                self.input(node, Input::PeerUp { peer });
            }
            Event::Part { outage } => self.part(outage),
            Event::Crash { node } => self.nodes[node].is_up = false,
            Event::Stop { node, down_us } => self.stop(node, down_us),
            Event::LosePower { loss } => self.lose_power(loss),
            Event::Start { node } => self.start_again(node),
            Event::Heal => {
                self.healed = true;
                self.network.calm();
                self.checks.live.on_healed(self.front_round);
            }
            Event::Look => {}
        }
    }

    /// Parts the network, or heals it; broken links come back one by one.
    fn part(&mut self, outage: Option<usize>) {
        let sides = |world: &Self, outage: usize| -> Vec<u8> {
            let side = &world.scenario.outages[outage].side;
            world
                .nodes
                .iter()
                .map(|node| side[node.authority.as_usize()])
                .collect()
        };
        let Some(outage) = outage else {
            let links: Vec<(usize, usize)> = (0..self.nodes.len())
                .flat_map(|a| (0..self.nodes.len()).map(move |b| (a, b)))
                .filter(|(a, b)| a != b && !self.network.is_connected(*a, *b))
                .collect();
            self.network.part(None);
            for (node, other) in links {
                let peer = self.nodes[other].authority;
                // A link is made anew by both ends, some time apart.
                let after_us = 1_000 + 7_919 * (node * self.nodes.len() + other) as u64 % 50_000;
                self.queue
                    .plan(self.now_us + after_us, Event::Relink { node, peer });
            }
            return;
        };
        let side = sides(self, outage);
        self.network.part(Some(side));
    }

    fn is_done(&self) -> bool {
        if !self.healed || self.now_us < self.last_submission_us {
            return false;
        }
        let batches = self.checks.chain.batches().len();
        let have_all = |node: usize| self.checks.chain.opened_by(node) == batches;
        self.checks.live.unsettled_len() == 0
            && self.correct().all(have_all)
            && self.correct().all(|node| self.takes_part(node))
    }

    /// Whether a node has made a vertex in a round that nobody had left behind when the last fault had healed.
    fn takes_part(&self, node: usize) -> bool {
        let healed = self.checks.live.healed_round().unwrap_or(0);
        self.checks.structure.sent_by(node) >= healed
    }

    fn what_is_missing(&self) -> String {
        let batches = self.checks.chain.batches().len();
        let behind: Vec<String> = self
            .correct()
            .filter(|node| self.checks.chain.opened_by(*node) < batches)
            .map(|node| {
                let round = self.nodes[node].engine.round().0;
                let opened = self.checks.chain.opened_by(node);
                format!("node {node} in round {round} has {opened} of {batches} batches")
            })
            .collect();
        let absent: Vec<usize> = self.correct().filter(|at| !self.takes_part(*at)).collect();
        let unsettled: Vec<String> = self
            .checks
            .live
            .unsettled()
            .take(3)
            .map(|digest| self.whereabouts(digest))
            .collect();
        format!(
            "not settled {} s after the last fault: {} envelopes, such as {unsettled:?}; round {}; {}; not proposing: {absent:?}",
            SETTLE_US_MAX / 1_000_000,
            self.checks.live.unsettled_len(),
            self.front_round,
            behind.join(", ")
        )
    }

    /// Who has an envelope, who asks for it, and who does neither.
    fn whereabouts(&self, digest: &Digest) -> String {
        let nodes: Vec<String> = self
            .correct()
            .map(|node| {
                let received = self.checks.received.get(&node);
                let has = received.is_some_and(|received| received.known.contains(digest));
                let wants = self.nodes[node].engine.is_envelope_wanted(digest);
                let sign = match (has, wants) {
                    (true, _) => "has",
                    (false, true) => "asks",
                    (false, false) => "ignores",
                };
                format!("{node} {sign}")
            })
            .collect();
        format!("{digest:?} ({})", nodes.join(", "))
    }

    fn judge_order(&mut self) {
        // Who lists again what it had listed lists in another order than it received in. That takes as much from the law as
        // a faulty authority, and the law holds for f of them.
        let lists_again = |node: &usize| self.nodes[*node].tally().relisted > 0;
        let again = self.correct().filter(lists_again).count();
        let n = self.scenario.n as usize;
        if again + self.scenario.faulty.len() > faulty_max(n) && again > 0 {
            return;
        }
        self.laws_judged = 1;
        let received: Vec<&[Digest]> = self
            .correct()
            .filter(|node| !lists_again(node))
            .map(|node| {
                let received = self.checks.received.get(&node);
                received.map_or(&[][..], |received| received.order.as_slice())
            })
            .collect();
        // What expires soon may have been dropped unready.
        let last_us = super::clock::START.plus_us(self.now_us + EXPIRY_MARGIN_US);
        let truths = &self.workload.truth;
        let may_be_missing =
            |digest: &Digest| truths.get(digest).is_none_or(|(_, until)| *until < last_us);
        // Where the definition was not followed, only what is surely no cycle could be judged: nothing is.
        let fair = &self.checks.fair;
        let are_in_one_cycle = |x: &Digest, y: &Digest| fair.are_in_one_cycle(x, y).unwrap_or(true);
        let judged = law::judge(
            n,
            &received,
            &self.checks.chain,
            are_in_one_cycle,
            may_be_missing,
        );
        let found = law::add(&mut self.checks.law, judged);
        self.hold("law", found);
    }

    /// The nodes to which the promises apply.
    fn correct(&self) -> impl Iterator<Item = usize> {
        (0..self.nodes.len()).filter(|node| self.nodes[*node].is_correct())
    }

    fn hold(&mut self, checker: &'static str, found: Found) {
        if let Err(what) = found {
            self.fail(checker, what);
        }
    }

    fn fail(&mut self, checker: &'static str, what: String) {
        let at_us = self.now_us;
        self.failure.get_or_insert(Failure {
            checker,
            at_us,
            what,
        });
    }

    /// Makes something part of what a run is.
    fn note(&mut self, kind: u8, node: usize, what: &Content) {
        let mut line = [0; 10];
        line[..8].copy_from_slice(&self.now_us.to_be_bytes());
        line[8] = kind;
        line[9] = node as u8;
        self.trace.update(&line);
        self.trace.update(what);
    }

    fn report(self) -> Report {
        let correct: Vec<&Node> = self.nodes.iter().filter(|node| node.is_correct()).collect();
        let counters = || correct.iter().map(|node| node.engine.counters());
        let live = &self.checks.live;
        Report {
            failure: self.failure,
            n: self.scenario.n,
            trace: *self.trace.finalize().as_bytes(),
            virtual_us: self.now_us,
            events: self.events,
            rounds: self.front_round,
            commits: self.checks.chain.anchors_len() as u64,
            batches: self.checks.chain.batches().len() as u64,
            entries: self.checks.chain.entries(),
            rounds_worst: live.rounds_worst,
            rounds_max: live.rounds_max,
            promised: live.settled,
            rounds_sum: live.rounds_sum,
            laws_judged: self.laws_judged,
            law: self.checks.law,
            judged: self.checks.decide.judged,
            gave_up: u64::from(!self.checks.fair.is_followed()),
            shares: self.checks.blind.shares(),
            forks: counters().map(|counters| counters.forks).max().unwrap_or(0),
            shares_bad: counters().map(|counters| counters.shares_bad_proof).sum(),
            leader_latency: self.checks.latency.of_leaders,
            vertex_latency: self.checks.latency.of_all,
            restarts: self.restarts,
            power_losses: self.power_losses,
            snapshot_starts: self.snapshot_starts,
            adopted: correct.iter().map(|node| node.tally().adopted).sum(),
            receipts: self.checks.structure.receipts(),
            loads: self.loads,
            states_taken: correct.iter().map(|node| node.tally().states_taken).sum(),
            batches_fetched: correct
                .iter()
                .map(|node| node.tally().batches_fetched)
                .sum(),
            keys_made: self.checks.keys.made,
            shares_assured: counters()
                .map(|counters| counters.key_shares_assured)
                .max()
                .unwrap_or(0),
            shares_mended: correct.iter().map(|node| node.tally().shares_mended).sum(),
            void: counters().map(|counters| counters.void).max().unwrap_or(0),
        }
    }
}

/// How often to see whether all is done, microseconds.
const LOOK_US: u64 = 20_000;
/// What is promised is settled everywhere after this time without faults, microseconds.
const SETTLE_US_MAX: u64 = 30_000_000;
/// What has less time left than this at the end may be dropped, microseconds.
const EXPIRY_MARGIN_US: u64 = 5_000_000;
