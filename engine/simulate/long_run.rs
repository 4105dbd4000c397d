//! One committee over very many rounds: what an engine holds, and what the process takes, must not grow with time.
//!
//! A steady trickle of open envelopes, a fixed delay on every link, and spells in which the last authority is cut off: short
//! ones, after which it asks for rounds, and long ones, after which it takes over a checkpoint. A vertex is verified once,
//! where it is sent. All authorities must settle the same chain.
//!
//! Every count of [`Footprint`] has its bound in [`bound`]; resident memory, read from the operating system, may at the end
//! exceed what it was after the first tenth by a tenth.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use ed25519_dalek::SigningKey;
use fairlane_engine::admit::table::SETTLED_KEPT_US;
use fairlane_engine::committee::{Committee, Parameters, Rollup, RollupPolicy};
use fairlane_engine::config::EngineConfig;
use fairlane_engine::dag::{PENDING_PER_AUTHOR_MAX, VerifiedVertex, Vertex};
use fairlane_engine::effect::{Effect, Record};
use fairlane_engine::engine::{Engine, Footprint, HEADER_HASHES_KEPT_MAX, UNOPENED_BYTES_MAX};
use fairlane_engine::fetch::WANTED_MAX;
use fairlane_engine::input::{ClientTag, Input};
use fairlane_engine::message::PeerMessage;
use fairlane_engine::reveal::{EARLY_AUTHOR_MAX, RevealKeys, SHARES_KEPT_MAX};
use fairlane_engine::seal::{
    Envelope, EnvelopeVerifier, LabelFields, SealingKey, ShareMessage, VerifiedEnvelope, deal,
    open_envelope,
};
use fairlane_engine::sync::checkpoints::{CHECKPOINTS_KEPT_MAX, CHECKPOINTS_UNSETTLED_MAX};
use fairlane_engine::sync::download::DOWNLOADS_MAX;
use fairlane_engine::sync::served::{BATCHES_KEPT_BYTES_MAX, BATCHES_KEPT_MAX};
use fairlane_engine::types::{AuthorityIndex, ChainId, Epoch, RollupId, Sha256Hash, TimestampUs};

/// Runs `n` authorities until the first is in round `rounds`; prints what they hold ten times on the way.
pub(crate) fn run(n: u8, rounds: u64) -> ExitCode {
    let start = Instant::now();
    let mut world = World::new(n);
    let step = (rounds / 10).max(1);
    let (mut most_early, mut resident_early) = (Footprint::default(), 0);
    let mut faults = Vec::new();
    for part in 1..=10 {
        let most = world.run_until(part * step);
        let resident = resident_kib();
        let counters = world.nodes[n as usize - 1].engine.counters();
        println!(
            "round {}: {} batches, {resident} KiB resident, {:.0} s; the last authority has taken {} states and fetched {} batches",
            part * step,
            world.settled_everywhere,
            start.elapsed().as_secs_f64(),
            counters.states_taken,
            counters.batches_fetched,
        );
        let named: Vec<String> = most
            .named()
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        println!("  at most: {}", named.join(", "));
        for (name, count) in most.named() {
            let bound = bound(name, n.into(), &world.committee.parameters);
            if count > bound {
                faults.push(format!(
                    "{name} is {count} by round {}, more than {bound}",
                    part * step
                ));
            }
        }
        if part == 1 {
            (most_early, resident_early) = (most, resident);
        } else if part == 10 {
            for ((name, early), (_, late)) in most_early.named().zip(most.named()) {
                if late > early + early / 4 + 64 {
                    faults.push(format!("{name} has grown from {early} to {late}"));
                }
            }
            if resident > resident_early + resident_early / 10 {
                faults.push(format!(
                    "resident memory has grown from {resident_early} to {resident} KiB"
                ));
            }
        }
    }
    if world.settled_everywhere < rounds / 100 {
        faults.push(format!(
            "only {} batches are settled everywhere",
            world.settled_everywhere
        ));
    }
    faults.append(&mut world.faults);
    for fault in &faults {
        println!("FAILED: {fault}");
    }
    ExitCode::from(u8::from(!faults.is_empty()))
}

/// How many of a kind one engine may hold under this load.
///
/// Panics for a kind that is not named here: whoever adds one says what bounds it.
fn bound(name: &str, n: usize, parameters: &Parameters) -> usize {
    let interval = parameters.checkpoint_interval_rounds as usize;
    // Above the floor: G rounds, what is not decided yet, and what comes in until a node that was away has caught up.
    let window = n * (2 * parameters.gc_depth_rounds as usize + 2 * interval);
    match name {
        "envelopes" => ENVELOPES_HELD_MAX,
        "unlisted" | "fair_pending" | "fair_emitted" | "fair_emissions" | "emissions"
        | "batches_active" => ENVELOPES_ALIVE_MAX,
        // Each with its expiry.
        "envelope_wants" => 2 * ENVELOPES_ALIVE_MAX,
        "vertices"
        | "vertices_named"
        | "committed"
        | "vertices_uncommitted"
        | "own_uncommitted" => window,
        "vertices_retained" => n * 2 * interval,
        "vertices_pending" => n * PENDING_PER_AUTHOR_MAX,
        "vertex_wants" => WANTED_MAX.min(n * n * PENDING_PER_AUTHOR_MAX),
        "unopened_bytes" => UNOPENED_BYTES_MAX,
        "shares_early" => n * EARLY_AUTHOR_MAX,
        "shares_kept" => SHARES_KEPT_MAX,
        "header_hashes" => HEADER_HASHES_KEPT_MAX,
        "checkpoints" => CHECKPOINTS_KEPT_MAX + CHECKPOINTS_UNSETTLED_MAX,
        "batches_kept" => BATCHES_KEPT_MAX,
        "batches_kept_bytes" => BATCHES_KEPT_BYTES_MAX,
        // Nothing is read.
        "loads_waiting" | "loaded_bytes" => 0,
        "downloads" => DOWNLOADS_MAX,
        // A batch a round at most, while one is away and comes back.
        "gap" => 2 * LONG_SPELL_ROUNDS as usize,
        other => panic!("{other} has no bound"),
    }
}

/// Resident memory of this process, KiB; 0 where the operating system does not tell.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

struct World {
    committee: Arc<Committee>,
    sealing: Arc<SealingKey>,
    verifier: EnvelopeVerifier,
    nodes: Vec<Node>,
    queue: BTreeMap<(u64, u64), Event>,
    serial: u64,
    now_us: u64,
    envelopes: u64,
    /// Whether the last authority is cut off.
    is_cut: bool,
    /// Header hashes that not everybody has settled yet, and how many have.
    settling: BTreeMap<u64, (Sha256Hash, usize)>,
    settled_everywhere: u64,
    faults: Vec<String>,
}

struct Node {
    engine: Engine,
    records: u64,
    durable: u64,
    /// When its timer is due.
    due_us: Option<u64>,
    is_writing: bool,
    out: rkyv::util::AlignedVec<16>,
}

enum Event {
    Vertex {
        to: usize,
        from: usize,
        vertex: VerifiedVertex,
    },
    Message {
        to: usize,
        from: usize,
        message: PeerMessage,
    },
    Written {
        node: usize,
        records: u64,
    },
    Submit,
}

impl World {
    fn new(n: u8) -> Self {
        let parameters = Parameters {
            gc_depth_rounds: 64,
            checkpoint_interval_rounds: 128,
            ..Parameters::default()
        };
        let config = EngineConfig {
            heartbeat_us: 1_000,
            leader_timeout_us: 1_500,
            leader_timeout_us_min: 1_000,
            round_interval_us_min: 500,
            ..EngineConfig::default()
        };
        let signing = |at: u8| SigningKey::from_bytes(&[at + 1; 32]);
        let keys = (0..n).map(|at| signing(at).verifying_key()).collect();
        let rollups = vec![Rollup {
            id: ROLLUP,
            policy: RollupPolicy::Either,
        }];
        let committee = Committee::new(CHAIN, Epoch(0), START, parameters, rollups, keys);
        let committee = Arc::new(committee.expect("these keys are a committee"));
        let quorum = committee.thresholds().quorum();
        let dealt = deal(CHAIN, Epoch(0), n.into(), quorum, &[9; 32]);
        let (sealing, shares) = dealt.expect("the quorum is within range");
        let sealing = Arc::new(sealing);
        let engines = (0..n).zip(shares).map(|(at, share)| {
            let keys = RevealKeys {
                sealing: sealing.clone(),
                share,
                signing: signing(at),
                process_secret: [at; 32],
            };
            Engine::new(committee.clone(), AuthorityIndex(at), keys, config)
        });
        let nodes = engines.map(|engine| Node {
            engine,
            records: 0,
            durable: 0,
            due_us: None,
            is_writing: false,
            out: rkyv::util::AlignedVec::new(),
        });
        let mut world = Self {
            nodes: nodes.collect(),
            verifier: EnvelopeVerifier::new((*sealing).clone(), [7; 32]),
            committee,
            sealing,
            queue: BTreeMap::new(),
            serial: 0,
            now_us: 0,
            envelopes: 0,
            is_cut: false,
            settling: BTreeMap::new(),
            settled_everywhere: 0,
            faults: Vec::new(),
        };
        for at in 0..world.nodes.len() {
            world.link_up(at);
        }
        world.plan(1, Event::Submit);
        world
    }

    /// Runs until the first authority is in `round`; gives the most of each kind that any engine held on the way.
    fn run_until(&mut self, round: u64) -> Footprint {
        let mut most = Footprint::default();
        let mut looked = self.round();
        while self.round() < round && self.faults.is_empty() {
            self.step();
            let now = self.round();
            if now >= looked + LOOK_ROUNDS {
                looked = now;
                self.cut_or_join(now);
                for node in &self.nodes {
                    most = most.max(node.engine.footprint());
                }
            }
        }
        most
    }

    fn round(&self) -> u64 {
        self.nodes[0].engine.round().0
    }

    fn step(&mut self) {
        let timer = (0..self.nodes.len()).filter_map(|at| Some((self.nodes[at].due_us?, at)));
        let timer = timer.min();
        let event = self.queue.first_key_value().map(|((at_us, _), _)| *at_us);
        match (event, timer) {
            (event, Some((due_us, at))) if event.is_none_or(|event| due_us < event) => {
                // One that has just looked and has more to do looks again a moment later.
                self.now_us = due_us.max(self.now_us + 1);
                self.input(at, Input::Tick);
            }
            (Some(at_us), _) => {
                self.now_us = self.now_us.max(at_us);
                let (_, event) = self.queue.pop_first().expect("it has a first one");
                self.happen(event);
            }
            (None, _) => self.faults.push("nothing happens any more".into()),
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Vertex { to, from, vertex } => {
                let from = AuthorityIndex(from as u8);
                self.input(to, Input::Vertex { from, vertex });
            }
            Event::Message { to, from, message } => {
                if let Some(input) = self.received(AuthorityIndex(from as u8), message) {
                    self.input(to, input);
                }
            }
            Event::Written { node, records } => {
                (self.nodes[node].is_writing, self.nodes[node].durable) = (false, records);
                self.input(node, Input::Durable { records });
            }
            Event::Submit => self.submit(),
        }
    }

    fn received(&self, from: AuthorityIndex, message: PeerMessage) -> Option<Input> {
        Some(match message {
            PeerMessage::Vertex(bytes) => {
                let vertex = Vertex::verify(&bytes, &self.committee).ok()?;
                Input::Vertex { from, vertex }
            }
            PeerMessage::Envelope(bytes) => {
                let envelope = self.verified(bytes)?;
                Input::PeerEnvelope { from, envelope }
            }
            PeerMessage::Share(bytes) => {
                let message = Box::new(ShareMessage::decode(&bytes).ok()?);
                Input::Share { from, message }
            }
            PeerMessage::WantVertices(vertices) => Input::WantVertices { from, vertices },
            PeerMessage::WantEnvelopes(digests) => Input::WantEnvelopes { from, digests },
            PeerMessage::WantShare(seq) => Input::WantShare { from, seq },
            PeerMessage::WantRounds { after, count } => Input::WantRounds { from, after, count },
            PeerMessage::WantPart(want) => Input::WantPart { from, want },
            PeerMessage::Part(part) => Input::Part { from, part },
            // Nobody loses anything here.
            PeerMessage::WantNewest { .. } | PeerMessage::Newest { .. } => return None,
        })
    }

    fn verified(&self, bytes: Arc<[u8]>) -> Option<VerifiedEnvelope> {
        let envelope = Envelope::decode(bytes).ok()?;
        self.verifier.check(vec![envelope]).pop()?.ok()
    }

    /// The next envelope, to all that are there.
    fn submit(&mut self) {
        let tag = self.envelopes;
        self.envelopes += 1;
        let fields = LabelFields {
            rollup: ROLLUP,
            valid_until: START.plus_us(self.now_us + VALID_US),
            sender_tag: [0; 16],
            padded_len: None,
        };
        let bytes = open_envelope(&self.sealing, &fields, &tag.to_be_bytes());
        let bytes: Arc<[u8]> = bytes.expect("it is short").into();
        let envelope = self.verified(bytes).expect("it is well formed");
        for at in 0..self.nodes.len() - usize::from(self.is_cut) {
            let client = ClientTag { connection: 1, tag };
            let envelope = envelope.clone();
            self.input(at, Input::Submission { client, envelope });
        }
        self.plan(ENVELOPE_GAP_US, Event::Submit);
    }

    fn input(&mut self, at: usize, input: Input) {
        let now = START.plus_us(self.now_us);
        let mut effects = Vec::new();
        let engine = &mut self.nodes[at].engine;
        engine.handle(now, input, &mut effects);
        engine.advance_reveal(now, &mut effects);
        self.carry_out(at, &mut effects);
        self.open(at, &mut effects);
        self.carry_out(at, &mut effects);
        let node = &mut self.nodes[at];
        // One write at a time, and only while somebody waits for it: that saves most of them.
        if !node.is_writing && node.records > node.durable && node.engine.is_eager(now) {
            node.is_writing = true;
            let records = node.records;
            self.plan(WRITE_US, Event::Written { node: at, records });
        }
        let node = &mut self.nodes[at];
        let due = node.engine.next_deadline(now);
        node.due_us = due.map(|due| due.since_us(START).max(self.now_us));
    }

    fn carry_out(&mut self, at: usize, effects: &mut Vec<Effect>) {
        for effect in effects.drain(..) {
            match effect {
                Effect::Persist(Record::Evidence(_)) => {
                    self.faults.push(format!("authority {at} accuses somebody"));
                }
                Effect::Persist(_) => self.nodes[at].records += 1,
                Effect::Send { to, message } => self.send(at, to.as_usize(), message),
                Effect::Broadcast(PeerMessage::Vertex(bytes)) => {
                    let vertex = Vertex::verify(&bytes, &self.committee);
                    let vertex = vertex.expect("what an engine makes is well formed");
                    for to in 0..self.nodes.len() {
                        let (from, vertex) = (at, vertex.clone());
                        self.post(from, to, Event::Vertex { to, from, vertex });
                    }
                }
                Effect::Broadcast(message) => {
                    for to in 0..self.nodes.len() {
                        self.send(at, to, message.clone());
                    }
                }
                // Nobody is away for longer than what is kept in memory.
                Effect::Load { item } => self.faults.push(format!("authority {at} reads {item:?}")),
                Effect::Ack { .. }
                | Effect::Receipts { .. }
                | Effect::Ordered { .. }
                | Effect::BatchReady { .. } => {}
            }
        }
    }

    fn send(&mut self, from: usize, to: usize, message: PeerMessage) {
        self.post(from, to, Event::Message { to, from, message });
    }

    fn post(&mut self, from: usize, to: usize, event: Event) {
        let last = self.nodes.len() - 1;
        if from != to && !(self.is_cut && (from == last || to == last)) {
            self.plan(DELAY_US, event);
        }
    }

    fn plan(&mut self, after_us: u64, event: Event) {
        self.serial += 1;
        self.queue
            .insert((self.now_us + after_us, self.serial), event);
    }

    fn open(&mut self, at: usize, effects: &mut Vec<Effect>) {
        let everybody = self.nodes.len();
        let Node { engine, out, .. } = &mut self.nodes[at];
        while let Some(len) = engine.ready_len_max() {
            out.resize(len, 0);
            let Some(opened) = engine.open_next(out, effects) else {
                return;
            };
            let seq = opened.seq.0;
            let settling = self.settling.entry(seq).or_insert((opened.header_hash, 0));
            settling.1 += 1;
            if settling.0 != opened.header_hash {
                self.faults
                    .push(format!("authority {at} settles another batch {seq}"));
            } else if settling.1 == everybody {
                self.settling.remove(&seq);
                self.settled_everywhere += 1;
            }
        }
    }

    /// Cuts the last authority off, or lets it come back, as the plan says for `round`.
    fn cut_or_join(&mut self, round: u64) {
        let at = round % SPELL_EVERY_ROUNDS;
        let is_short = (SHORT_SPELL_AT..SHORT_SPELL_AT + SHORT_SPELL_ROUNDS).contains(&at);
        let is_long = (LONG_SPELL_AT..LONG_SPELL_AT + LONG_SPELL_ROUNDS).contains(&at);
        let was_cut = std::mem::replace(&mut self.is_cut, is_short || is_long);
        if was_cut && !self.is_cut {
            let last = self.nodes.len() - 1;
            self.link_up(last);
            for at in 0..last {
                let peer = AuthorityIndex(last as u8);
                self.input(at, Input::PeerUp { peer });
            }
        }
    }

    fn link_up(&mut self, at: usize) {
        for peer in (0..self.nodes.len()).filter(|peer| *peer != at) {
            let peer = AuthorityIndex(peer as u8);
            self.input(at, Input::PeerUp { peer });
        }
    }
}

const CHAIN: ChainId = ChainId(1);
const ROLLUP: RollupId = RollupId(7);
const START: TimestampUs = TimestampUs(1_700_000_000_000_000);
/// One way on every link, microseconds.
const DELAY_US: u64 = 400;
/// A write to disk, microseconds.
const WRITE_US: u64 = 20;
/// From one envelope to the next, microseconds: some four rounds.
const ENVELOPE_GAP_US: u64 = 2_000;
/// How long an envelope is valid, microseconds.
const VALID_US: u64 = 2_500_000;
/// Envelopes that are valid at one time, and as many again that expired while somebody was behind.
const ENVELOPES_ALIVE_MAX: usize = 2 * (VALID_US / ENVELOPE_GAP_US) as usize;
/// Those and the ones that are kept for peers that lag.
const ENVELOPES_HELD_MAX: usize =
    ENVELOPES_ALIVE_MAX + (SETTLED_KEPT_US / ENVELOPE_GAP_US) as usize;
/// How often counts are taken, rounds.
const LOOK_ROUNDS: u64 = 10;
/// Spells come once in so many rounds, the first ones within the first tenth of a million.
const SPELL_EVERY_ROUNDS: u64 = 50_000;
const SHORT_SPELL_AT: u64 = 10_000;
const SHORT_SPELL_ROUNDS: u64 = 100;
const LONG_SPELL_AT: u64 = 25_000;
const LONG_SPELL_ROUNDS: u64 = 1_500;
