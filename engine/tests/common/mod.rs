//! A committee in one thread on virtual time: every message goes through its encoding, every link has a fixed delay.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses the parts that it needs"
)]

pub mod hostile;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use fairlane_engine::batch::archive::{Outcome, validate};
use fairlane_engine::committee::{Committee, Parameters, Rollup, RollupPolicy, Thresholds};
use fairlane_engine::config::EngineConfig;
use fairlane_engine::dag::Vertex;
use fairlane_engine::dkg::{DecryptionKey, KeyPlan};
use fairlane_engine::effect::{Effect, Record, SnapshotPart};
use fairlane_engine::engine::snapshot::newest_snapshot;
use fairlane_engine::engine::{Engine, Recorded, RecoverError};
use fairlane_engine::input::{ClientTag, Input};
use fairlane_engine::keyring::{CommitteeKey, EngineKeys};
use fairlane_engine::message::PeerMessage;
use fairlane_engine::seal::{
    Envelope, EnvelopeError, EnvelopeVerifier, LabelFields, SealingKey, ShareMessage, deal,
    open_envelope, seal,
};
use fairlane_engine::sync::loads::load_from_records;
use fairlane_engine::sync::part::{Item, Part};
use fairlane_engine::types::{
    AuthorityIndex, ChainId, Digest, Epoch, RollupId, Round, Sha256Hash, TimestampUs,
};

pub const START: TimestampUs = TimestampUs(1_700_000_000_000_000);
pub const ROLLUP: RollupId = RollupId(7);
const DEAL: [u8; 32] = [9; 32];

/// Receives the shares of node `at`.
pub fn decryption_key(at: u8) -> DecryptionKey {
    DecryptionKey::generate(&[at + 40; 32])
}

/// What one node has settled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    pub hashes: Vec<Sha256Hash>,
    pub digests: Vec<Digest>,
    pub payloads: Vec<Option<Vec<u8>>>,
}

pub struct Node {
    pub engine: Engine,
    pub settled: Settled,
    pub acks: Vec<(ClientTag, bool)>,
    pub receipts: usize,
    pub ordered: usize,
    pub journal: Vec<Record>,
    /// Records known to be durable.
    pub durable: u64,
    verifier: EnvelopeVerifier,
    /// The version of the keys that the verifier has.
    version: u64,
    alive: bool,
    /// Which start of the node this is: what an earlier one was told about its disk does not count.
    life: u64,
}

enum Happening {
    Message {
        to: usize,
        from: usize,
        message: PeerMessage,
    },
    Durable {
        at: usize,
        life: u64,
        records: u64,
    },
    Submit {
        to: usize,
        tag: u64,
        bytes: Arc<[u8]>,
    },
    Loaded {
        at: usize,
        life: u64,
        item: Item,
    },
}

pub struct World {
    pub nodes: Vec<Node>,
    pub committee: Arc<Committee>,
    /// What envelopes are sealed to: the dealt key, or what a test puts here.
    pub key: Arc<SealingKey>,
    /// Nobody dealt: the committee makes its keys itself.
    is_undealt: bool,
    pub now: TimestampUs,
    pub delay_us: u64,
    pub disk_us: u64,
    /// Whose shares are wrong, if anybody's.
    pub corrupt_shares_of: Option<usize>,
    /// Share messages to this one are lost.
    pub lost_shares_to: Option<usize>,
    /// No envelope reaches this one over its links.
    pub lost_envelopes_to: Option<usize>,
    /// Share messages from and to these are lost.
    pub without_shares: Vec<usize>,
    /// Who answers a peer that is behind with something else, and what.
    pub liars: Vec<usize>,
    pub lie: fn(Part) -> Part,
    /// Who answers whoever asks for an envelope with this one.
    pub swapped_envelopes: Option<(usize, Arc<[u8]>)>,
    /// Old batches are on no disk any more.
    pub are_disks_shortened: bool,
    /// Messages from one to the other are lost.
    pub cut: BTreeSet<(usize, usize)>,
    config: EngineConfig,
    /// Every vertex that somebody sent, by slot.
    sent: BTreeMap<(AuthorityIndex, Round), Digest>,
    queue: BTreeMap<(TimestampUs, u64), Happening>,
    serial: u64,
}

impl World {
    pub fn new(n: u8, parameters: Parameters, config: EngineConfig) -> Self {
        Self::with_keys(n, parameters, config, None, false)
    }

    /// A committee with a plan for its keys: made by itself from the first on, or after one that was dealt.
    pub fn generating(
        n: u8,
        parameters: Parameters,
        config: EngineConfig,
        (window_anchors, renew_us): (u64, Option<u64>),
        is_undealt: bool,
    ) -> Self {
        let public = |index| decryption_key(index).public();
        let thresholds = Thresholds::new(usize::from(n)).unwrap();
        let plan = KeyPlan {
            encryption_keys: (0..n).map(public).collect(),
            threshold: thresholds.quorum(),
            window_anchors,
            renew_us,
        };
        Self::with_keys(n, parameters, config, Some(plan), is_undealt)
    }

    fn with_keys(
        n: u8,
        parameters: Parameters,
        config: EngineConfig,
        plan: Option<KeyPlan>,
        is_undealt: bool,
    ) -> Self {
        let signing: Vec<SigningKey> = (0..n)
            .map(|index| SigningKey::from_bytes(&[index + 1; 32]))
            .collect();
        let keys = signing.iter().map(SigningKey::verifying_key).collect();
        let rollups = vec![Rollup {
            id: ROLLUP,
            policy: RollupPolicy::Either,
        }];
        let mut committee =
            Committee::new(ChainId(1), Epoch(0), START, parameters, rollups, keys).unwrap();
        if let Some(plan) = plan {
            committee = committee.with_key_plan(plan).unwrap();
        }
        let committee = Arc::new(committee);
        let thresholds = committee.thresholds();
        let (key, shares) = deal(
            ChainId(1),
            Epoch(0),
            u32::from(n),
            thresholds.quorum(),
            &DEAL,
        )
        .unwrap();
        let key = Arc::new(key);
        let nodes = shares
            .into_iter()
            .zip(signing)
            .enumerate()
            .map(|(index, (share, signing))| {
                let process_secret = [index as u8; 32];
                let dealt = CommitteeKey {
                    sealing: (*key).clone(),
                    share: Some(share),
                };
                let keys = EngineKeys {
                    dealt: (!is_undealt).then_some(dealt),
                    decryption: Some(Arc::new(decryption_key(index as u8)))
                        .filter(|_| committee.key_plan().is_some()),
                    signing,
                    process_secret,
                };
                let own = AuthorityIndex(index as u8);
                let engine = Engine::new(committee.clone(), own, keys, config);
                let mut verifier = EnvelopeVerifier::without_keys([index as u8; 32]);
                verifier.set_keys(engine.keys().keys().iter().map(|key| &key.sealing));
                Node {
                    version: engine.keys().version(),
                    engine,
                    settled: Settled::default(),
                    acks: Vec::new(),
                    receipts: 0,
                    ordered: 0,
                    journal: Vec::new(),
                    durable: 0,
                    verifier,
                    alive: true,
                    life: 0,
                }
            })
            .collect();
        let mut world = Self {
            nodes,
            committee,
            key,
            is_undealt,
            now: START,
            delay_us: 500,
            disk_us: 100,
            corrupt_shares_of: None,
            lost_shares_to: None,
            lost_envelopes_to: None,
            without_shares: Vec::new(),
            liars: Vec::new(),
            lie: |part| part,
            swapped_envelopes: None,
            are_disks_shortened: false,
            cut: BTreeSet::new(),
            config,
            sent: BTreeMap::new(),
            queue: BTreeMap::new(),
            serial: 0,
        };
        for at in 0..n as usize {
            world.link_up(at);
        }
        world
    }

    /// `at` is told that its links are up.
    fn link_up(&mut self, at: usize) {
        for peer in (0..self.nodes.len()).filter(|peer| *peer != at) {
            let peer = AuthorityIndex(peer as u8);
            self.input(at, Input::PeerUp { peer });
        }
    }

    fn keys(&self, at: usize) -> EngineKeys {
        let thresholds = self.committee.thresholds();
        let (n, t) = (thresholds.authorities(), thresholds.quorum());
        let (key, mut shares) = deal(ChainId(1), Epoch(0), n, t, &DEAL).unwrap();
        let dealt = CommitteeKey {
            sealing: key,
            share: Some(shares.remove(at)),
        };
        let decryption = Arc::new(decryption_key(at as u8));
        EngineKeys {
            dealt: (!self.is_undealt).then_some(dealt),
            decryption: Some(decryption).filter(|_| self.committee.key_plan().is_some()),
            signing: SigningKey::from_bytes(&[at as u8 + 1; 32]),
            // Of another process than the one before it.
            process_secret: [at as u8 + 128; 32],
        }
    }

    /// An engine for node `at` from `records`, and what it does first.
    pub fn recover(
        &self,
        at: usize,
        records: Vec<Record>,
    ) -> Result<(Engine, Vec<Effect>), RecoverError> {
        let own = AuthorityIndex(at as u8);
        let (committee, keys) = (self.committee.clone(), self.keys(at));
        let mut effects = Vec::new();
        let snapshot = newest_snapshot(&records).unwrap_or_default();
        let first = snapshot.first().map(|part| SnapshotPart::decode(part));
        let before = first.map_or(0, |part| part.unwrap().tail_from - 1);
        let recorded = Recorded {
            snapshot,
            before,
            // What a shell may have removed.
            records: records.into_iter().skip(before as usize),
        };
        let engine = Engine::recover_from(
            committee,
            own,
            keys,
            self.config,
            self.now,
            recorded,
            &mut effects,
        )?;
        Ok((engine, effects))
    }

    /// Node `at` crashes, loses all but its first `records` records, and starts again from those.
    ///
    /// What it had settled stays settled: its settlement worker is another process.
    pub fn restart(&mut self, at: usize, records: usize) {
        assert!(
            records as u64 >= self.nodes[at].durable,
            "a disk keeps what it called durable"
        );
        self.start_again(at, records, false);
    }

    /// As [`World::restart`] when the disk had called durable what it did not keep.
    pub fn restart_distrusting(&mut self, at: usize, records: usize) {
        self.start_again(at, records, true);
    }

    fn start_again(&mut self, at: usize, records: usize, distrusts: bool) {
        let own = AuthorityIndex(at as u8);
        self.nodes[at].journal.truncate(records);
        let journal = self.nodes[at].journal.clone();
        let (mut engine, mut effects) = self.recover(at, journal).unwrap();
        if distrusts {
            engine.distrust_records(self.now, &mut effects);
        }
        let node = &mut self.nodes[at];
        (node.engine, node.durable, node.alive) = (engine, records as u64, true);
        node.life += 1;
        // No version of the new engine's: the verifier is given its keys.
        node.version = u64::MAX;
        self.refresh_verifier(at);
        for effect in effects {
            self.apply(at, effect);
        }
        self.link_up(at);
        for peer in (0..self.nodes.len()).filter(|peer| *peer != at) {
            self.input(peer, Input::PeerDown { peer: own });
            self.input(peer, Input::PeerUp { peer: own });
        }
    }

    pub fn sealed(&self, id: u64, valid_for_us: u64) -> Arc<[u8]> {
        let mut entropy = [3; 64];
        entropy[..8].copy_from_slice(&id.to_be_bytes());
        seal(
            &self.key,
            &self.fields(valid_for_us),
            &id.to_be_bytes(),
            &entropy,
        )
        .unwrap()
        .into()
    }

    fn fields(&self, valid_for_us: u64) -> LabelFields {
        LabelFields {
            rollup: ROLLUP,
            valid_until: self.now.plus_us(valid_for_us),
            sender_tag: [0; 16],
            padded_len: None,
        }
    }

    /// Cuts every link of `at`, both ways.
    pub fn part(&mut self, at: usize) {
        let peers = (0..self.nodes.len()).filter(|peer| *peer != at);
        self.cut
            .extend(peers.flat_map(|peer| [(at, peer), (peer, at)]));
    }

    /// Brings every link of `at` up again.
    pub fn join(&mut self, at: usize) {
        self.cut.retain(|(from, to)| *from != at && *to != at);
        self.link_up(at);
        let own = AuthorityIndex(at as u8);
        for peer in (0..self.nodes.len()).filter(|peer| *peer != at) {
            self.input(peer, Input::PeerUp { peer: own });
        }
    }

    /// Whether some link of `at` is up.
    pub fn is_linked(&self, at: usize) -> bool {
        (0..self.nodes.len()).any(|peer| peer != at && !self.cut.contains(&(peer, at)))
    }

    pub fn kill(&mut self, index: usize) {
        self.nodes[index].alive = false;
    }

    pub fn submit(&mut self, to: usize, tag: u64, bytes: Arc<[u8]>, after_us: u64) {
        self.schedule(after_us, Happening::Submit { to, tag, bytes });
    }

    /// A peer sends an envelope that was not asked for.
    pub fn push_envelope(&mut self, from: usize, to: usize, bytes: Arc<[u8]>) {
        self.send(from, to, PeerMessage::Envelope(bytes));
    }

    fn schedule(&mut self, after_us: u64, happening: Happening) {
        self.serial += 1;
        self.queue
            .insert((self.now.plus_us(after_us), self.serial), happening);
    }

    /// Runs until `us` microseconds have passed.
    pub fn run_for(&mut self, us: u64) {
        self.run_until(us, |_| false);
    }

    /// Runs until `is_over`, asked after every step, or until `us` microseconds have passed. Gives whether it was.
    pub fn run_until(&mut self, us: u64, is_over: impl Fn(&Self) -> bool) -> bool {
        let end = self.now.plus_us(us);
        loop {
            if is_over(self) {
                return true;
            }
            let now = self.now;
            let deadline = |node: &Node| node.engine.next_deadline(now);
            let alive = self.nodes.iter().enumerate().filter(|(_, node)| node.alive);
            let timer = alive
                .filter_map(|(at, node)| Some((deadline(node)?.max(now), at)))
                .min();
            let event = self.queue.first_key_value().map(|(key, _)| *key);
            let event_first = match (event, timer) {
                (Some((at, _)), Some((due, _))) => at <= due,
                (Some(_), None) => true,
                _ => false,
            };
            let next = if event_first {
                event.map(|(at, _)| at)
            } else {
                timer.map(|(at, _)| at)
            };
            let Some(next) = next.filter(|next| *next <= end) else {
                self.now = end;
                return false;
            };
            self.now = next;
            if event_first {
                let (_, happening) = self.queue.pop_first().unwrap();
                self.happen(happening);
            } else if let Some((_, at)) = timer {
                self.input(at, Input::Tick);
            }
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Durable { at, life, records } => {
                if life == self.nodes[at].life {
                    self.nodes[at].durable = records;
                    self.input(at, Input::Durable { records });
                }
            }
            Happening::Loaded { at, life, item } => {
                if life == self.nodes[at].life {
                    let journal = &self.nodes[at].journal;
                    let bytes = load_from_records(journal, item);
                    let bytes = bytes.filter(|_| !self.are_disks_shortened);
                    self.input(at, Input::Loaded { item, bytes });
                }
            }
            Happening::Message { to, from, message } => self.deliver(to, from, message),
            Happening::Submit { to, tag, bytes } => {
                let Ok(envelope) = Envelope::decode(bytes) else {
                    return;
                };
                let client = ClientTag { connection: 1, tag };
                let mut verdicts = self.nodes[to].verifier.check(vec![envelope]);
                if let Ok(envelope) = verdicts.remove(0) {
                    self.input(to, Input::Submission { client, envelope });
                }
            }
        }
    }

    fn deliver(&mut self, to: usize, from: usize, message: PeerMessage) {
        let mut body = Vec::new();
        message.encode_body(&mut body);
        let message = PeerMessage::decode(message.kind(), &body).unwrap();
        let from = AuthorityIndex(from as u8);
        let input = match message {
            PeerMessage::Vertex(bytes) => Input::Vertex {
                from,
                vertex: Vertex::verify(&bytes, &self.committee).unwrap(),
            },
            PeerMessage::Envelope(bytes) => {
                let envelope = Envelope::decode(bytes).unwrap();
                let again = envelope.clone();
                let mut verdicts = self.nodes[to].verifier.check(vec![envelope]);
                match verdicts.remove(0) {
                    Ok(envelope) => Input::PeerEnvelope { from, envelope },
                    // It may be sealed to a key that is not known here yet; a driver may check its proof all the same.
                    Err(error) => {
                        assert_eq!(error, EnvelopeError::WrongKey);
                        let verifier = EnvelopeVerifier::new((*self.key).clone(), [9; 32]);
                        match verifier.check(vec![again]).remove(0) {
                            Ok(envelope) => Input::PeerEnvelope { from, envelope },
                            Err(_) => return,
                        }
                    }
                }
            }
            PeerMessage::Share(bytes) => {
                let message = Box::new(ShareMessage::decode(&bytes).unwrap());
                Input::Share { from, message }
            }
            PeerMessage::WantVertices(vertices) => Input::WantVertices { from, vertices },
            PeerMessage::WantEnvelopes(digests) => Input::WantEnvelopes { from, digests },
            PeerMessage::WantShare(seq) => Input::WantShare { from, seq },
            PeerMessage::WantRounds { after, count } => Input::WantRounds { from, after, count },
            PeerMessage::WantPart(want) => Input::WantPart { from, want },
            PeerMessage::Part(part) => Input::Part { from, part },
            PeerMessage::WantNewest { token } => Input::WantNewest { from, token },
            PeerMessage::Newest { token, vertex } => Input::Newest {
                from,
                token,
                vertex: vertex.map(|bytes| Vertex::verify(&bytes, &self.committee).unwrap()),
            },
        };
        self.input(to, input);
    }

    fn input(&mut self, at: usize, input: Input) {
        if !self.nodes[at].alive {
            return;
        }
        let mut effects = Vec::new();
        let engine = &mut self.nodes[at].engine;
        engine.handle(self.now, input, &mut effects);
        engine.advance_reveal(self.now, &mut effects);
        self.refresh_verifier(at);
        for effect in effects {
            self.apply(at, effect);
        }
    }

    fn refresh_verifier(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let keys = node.engine.keys();
        if keys.version() != node.version {
            node.version = keys.version();
            let keys = keys.keys().iter().map(|key| &key.sealing);
            node.verifier.set_keys(keys);
        }
    }

    fn apply(&mut self, at: usize, effect: Effect) {
        match effect {
            Effect::Persist(record) => {
                self.nodes[at].journal.push(record);
                let (records, life) = (self.nodes[at].journal.len() as u64, self.nodes[at].life);
                self.schedule(self.disk_us, Happening::Durable { at, life, records });
            }
            Effect::Send { to, message } => self.send(at, to.as_usize(), message),
            Effect::Broadcast(message) => {
                for to in (0..self.nodes.len()).filter(|to| *to != at) {
                    self.send(at, to, message.clone());
                }
            }
            Effect::Ack { client, outcome } => {
                self.nodes[at].acks.push((client, outcome.is_ok()));
            }
            Effect::Receipts { header, items } => {
                header.verify(&self.committee).unwrap();
                self.nodes[at].receipts += items.len();
            }
            Effect::Ordered { items, .. } => self.nodes[at].ordered += items.len(),
            Effect::BatchReady { .. } => self.open(at),
            Effect::Load { item } => {
                let life = self.nodes[at].life;
                self.schedule(self.disk_us, Happening::Loaded { at, life, item });
            }
        }
    }

    fn send(&mut self, from: usize, to: usize, message: PeerMessage) {
        if let PeerMessage::Vertex(bytes) = &message {
            self.note_sent(bytes);
        }
        if !self.nodes[to].alive || self.cut.contains(&(from, to)) {
            return;
        }
        let is_lost = [from, to].iter().any(|at| self.without_shares.contains(at));
        if matches!(message, PeerMessage::Share(_)) && (is_lost || self.lost_shares_to == Some(to))
        {
            return;
        }
        if matches!(message, PeerMessage::Envelope(_)) && self.lost_envelopes_to == Some(to) {
            return;
        }
        let message = match message {
            PeerMessage::Part(part) if self.liars.contains(&from) => {
                PeerMessage::Part((self.lie)(part))
            }
            PeerMessage::Envelope(bytes) => PeerMessage::Envelope(match &self.swapped_envelopes {
                Some((liar, other)) if *liar == from => other.clone(),
                _ => bytes,
            }),
            PeerMessage::Share(bytes) if self.corrupt_shares_of == Some(from) => {
                let honest = ShareMessage::decode(&bytes).unwrap();
                PeerMessage::Share(self.wrong_shares(from, &honest).encode().into())
            }
            other => other,
        };
        self.schedule(self.delay_us, Happening::Message { to, from, message });
    }

    /// Nobody ever sees two vertices of one slot.
    fn note_sent(&mut self, bytes: &[u8]) {
        let reference = Vertex::restore(bytes, &self.committee).unwrap().reference();
        let slot = (reference.author, reference.round);
        let before = self.sent.insert(slot, reference.digest);
        assert!(
            before.is_none_or(|digest| digest == reference.digest),
            "{reference:?} is a second vertex in its slot"
        );
    }

    fn wrong_shares(&self, author: usize, honest: &ShareMessage) -> ShareMessage {
        let thresholds = self.committee.thresholds();
        let (n, t) = (thresholds.authorities(), thresholds.quorum());
        let (key, shares) = deal(ChainId(1), Epoch(0), n, t, &DEAL).unwrap();
        let signing = SigningKey::from_bytes(&[author as u8 + 1; 32]);
        hostile::wrong_shares(honest, &shares[author], &key, &signing)
    }

    pub fn garbage(&self, id: u64, valid_for_us: u64) -> Arc<[u8]> {
        let valid_until = self.now.plus_us(valid_for_us);
        hostile::garbage_envelope(&self.key, ROLLUP, valid_until, id).into()
    }

    fn open(&mut self, at: usize) {
        let mut effects = Vec::new();
        let node = &mut self.nodes[at];
        while let Some(len) = node.engine.ready_len_max() {
            let mut bytes = rkyv::util::AlignedVec::<16>::new();
            bytes.resize(len, 0);
            let Some(opened) = node.engine.open_next(&mut bytes, &mut effects) else {
                break;
            };
            let seq = opened.seq.0 as usize;
            if let Some(hash) = node.settled.hashes.get(seq) {
                // Opened again after a restart: the worker has it and throws it away.
                assert_eq!(*hash, opened.header_hash, "the same batch at the same seq");
                continue;
            }
            let view = validate(&bytes[..opened.archive_len]).unwrap();
            assert_eq!(node.settled.hashes.len(), seq, "no batch is left out");
            node.settled.hashes.push(opened.header_hash);
            for entry in view.entries() {
                let payload = (entry.outcome != Outcome::Void).then(|| entry.payload.to_vec());
                node.settled.digests.push(entry.digest);
                node.settled.payloads.push(payload);
            }
        }
        for effect in effects {
            self.apply(at, effect);
        }
    }

    pub fn open_envelope(&self, id: u64, valid_for_us: u64) -> Arc<[u8]> {
        open_envelope(&self.key, &self.fields(valid_for_us), &id.to_be_bytes())
            .unwrap()
            .into()
    }
}
