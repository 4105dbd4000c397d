//! A short run of a committee of four on virtual time: what authority 0 was given, and what everybody sent to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use ed25519_dalek::SigningKey;
use fairlane_engine::committee::{Committee, Parameters, Rollup, RollupPolicy};
use fairlane_engine::config::EngineConfig;
use fairlane_engine::dag::VerifiedVertex;
use fairlane_engine::effect::Effect;
use fairlane_engine::engine::Engine;
use fairlane_engine::input::{ClientTag, Input};
use fairlane_engine::intake;
use fairlane_engine::message::PeerMessage;
use fairlane_engine::reveal::RevealKeys;
use fairlane_engine::seal::{
    Envelope, EnvelopeVerifier, KeyShare, LabelFields, SealingKey, deal, open_envelope, seal,
};
use fairlane_engine::types::{AuthorityIndex, ChainId, Epoch, RollupId, TimestampUs};

/// Authorities of the recorded committee.
pub const AUTHORITIES: u8 = 4;
/// When its epoch starts.
pub const START: TimestampUs = TimestampUs(1_700_000_000_000_000);

const ROLLUP: RollupId = RollupId(7);
const DELAY_US: u64 = 500;
const DISK_US: u64 = 100;
const ENVELOPES: u64 = 24;
const LASTS_US: u64 = 120_000;

/// One thing that happened to authority 0.
#[derive(Clone, Debug)]
pub enum Happening {
    /// Bytes from a peer.
    Message(Message),
    /// An envelope from a client.
    Submit(u64, Arc<[u8]>),
    /// So many records are durable.
    Durable(u64),
    /// A link came up.
    Up(AuthorityIndex),
    /// A deadline came.
    Tick,
}

/// Bytes that an authority sent.
#[derive(Clone, Debug)]
pub struct Message {
    /// Who.
    pub from: AuthorityIndex,
    /// Kind byte.
    pub kind: u8,
    /// The rest.
    pub body: Vec<u8>,
}

/// The committee, and all that happened to authority 0, in order.
pub struct Recording {
    /// The committee.
    pub committee: Arc<Committee>,
    /// Its sealing key.
    pub key: Arc<SealingKey>,
    /// Its inputs, with time; decoded and verified once, so that repeating them is cheap.
    pub inputs: Vec<(TimestampUs, Input)>,
    /// The messages among them, as bytes.
    pub messages: Vec<Message>,
    /// The vertices among them.
    pub vertices: Vec<VerifiedVertex>,
    /// The envelopes that clients sent.
    pub envelopes: Vec<Arc<[u8]>>,
}

/// The recording, made once a process.
pub fn recording() -> &'static Recording {
    static RECORDING: OnceLock<Recording> = OnceLock::new();
    RECORDING.get_or_init(record)
}

/// The key that an authority signs with.
pub fn signing_key(author: u8) -> SigningKey {
    SigningKey::from_bytes(&[author + 1; 32])
}

/// A new engine of authority `own`, and the verifier of its envelopes.
pub fn engine_of(
    committee: &Arc<Committee>,
    key: &Arc<SealingKey>,
    own: u8,
) -> (Engine, EnvelopeVerifier) {
    let process_secret = [own; 32];
    let keys = RevealKeys {
        sealing: key.clone(),
        share: key_share(own),
        signing: signing_key(own),
        process_secret,
    };
    let config = EngineConfig::default();
    let engine = Engine::new(committee.clone(), AuthorityIndex(own), keys, config);
    (
        engine,
        EnvelopeVerifier::new((**key).clone(), process_secret),
    )
}

/// The share of the sealing key that an authority has.
pub fn key_share(author: u8) -> KeyShare {
    let (key, shares) = dealt();
    let bytes = shares[usize::from(author)].to_bytes();
    KeyShare::from_bytes(key, &bytes).expect("a share survives its bytes")
}

/// Dealt once: that costs milliseconds.
fn dealt() -> &'static (SealingKey, Vec<KeyShare>) {
    static DEALT: OnceLock<(SealingKey, Vec<KeyShare>)> = OnceLock::new();
    DEALT.get_or_init(|| {
        let dealt = deal(ChainId(1), Epoch(0), u32::from(AUTHORITIES), 3, &[9; 32]);
        dealt.expect("3 of 4 is in range")
    })
}

fn record() -> Recording {
    let keys = (0..AUTHORITIES).map(|author| signing_key(author).verifying_key());
    let rollups = vec![Rollup {
        id: ROLLUP,
        policy: RollupPolicy::Either,
    }];
    // Small windows, so that a short input gets to their ends.
    let parameters = Parameters {
        gc_depth_rounds: 8,
        vertex_entries_max: 64,
        leader_return_anchors: 2,
        ..Parameters::default()
    };
    let committee = Committee::new(
        ChainId(1),
        Epoch(0),
        START,
        parameters,
        rollups,
        keys.collect(),
    );
    let committee = Arc::new(committee.expect("distinct keys, parameters in range"));
    let key = Arc::new(dealt().0.clone());
    let envelopes = (0..ENVELOPES).map(|id| envelope(&key, id)).collect();
    let mut run = Run {
        nodes: (0..AUTHORITIES)
            .map(|own| engine_of(&committee, &key, own))
            .collect(),
        records: vec![0; usize::from(AUTHORITIES)],
        queue: BTreeMap::new(),
        serial: 0,
        now: START,
        recording: Recording {
            committee,
            key,
            inputs: Vec::new(),
            messages: Vec::new(),
            vertices: Vec::new(),
            envelopes,
        },
    };
    run.run();
    run.recording
}

fn envelope(key: &SealingKey, id: u64) -> Arc<[u8]> {
    let fields = LabelFields {
        rollup: ROLLUP,
        valid_until: START.plus_us(30_000_000),
        sender_tag: [0; 16],
        padded_len: None,
    };
    let mut entropy = [3; 64];
    entropy[..8].copy_from_slice(&id.to_be_bytes());
    let payload = id.to_be_bytes();
    let bytes = match id % 4 {
        0 => open_envelope(key, &fields, &payload),
        _ => seal(key, &fields, &payload, &entropy),
    };
    bytes.expect("a short payload").into()
}

/// The committee at work.
struct Run {
    nodes: Vec<(Engine, EnvelopeVerifier)>,
    records: Vec<u64>,
    queue: BTreeMap<(TimestampUs, u64), (u8, Happening)>,
    serial: u64,
    now: TimestampUs,
    recording: Recording,
}

impl Run {
    fn run(&mut self) {
        for at in 0..AUTHORITIES {
            let peers = (0..AUTHORITIES).filter(|peer| *peer != at);
            for peer in peers {
                self.schedule(0, at, Happening::Up(AuthorityIndex(peer)));
            }
        }
        for id in 0..ENVELOPES {
            let bytes = self.recording.envelopes[id as usize].clone();
            // Some are given to one authority alone, so that the others fetch them.
            for at in (0..AUTHORITIES).filter(|at| id % 5 != 0 || *at == (id % 4) as u8) {
                let after = id * 3_000 + u64::from(at);
                self.schedule(after, at, Happening::Submit(id, bytes.clone()));
            }
        }
        let end = START.plus_us(LASTS_US);
        while self.now < end {
            let deadlines = (0..AUTHORITIES).filter_map(|at| {
                let (engine, _) = &self.nodes[usize::from(at)];
                Some((engine.next_deadline(self.now)?.max(self.now), at))
            });
            let timer = deadlines.min();
            let queued = self.queue.first_key_value().map(|((at, _), _)| *at);
            match (queued, timer) {
                (Some(at), timer) if timer.is_none_or(|(due, _)| at <= due) => {
                    self.now = at;
                    if let Some((_, (to, happening))) = self.queue.pop_first() {
                        self.happen(to, happening);
                    }
                }
                (_, Some((due, at))) => {
                    self.now = due;
                    self.happen(at, Happening::Tick);
                }
                (_, None) => return,
            }
        }
    }

    fn schedule(&mut self, after_us: u64, to: u8, happening: Happening) {
        self.serial += 1;
        let at = (self.now.plus_us(after_us), self.serial);
        self.queue.insert(at, (to, happening));
    }

    fn happen(&mut self, to: u8, happening: Happening) {
        if to == 0 {
            if let Happening::Message(message) = &happening {
                self.recording.messages.push(message.clone());
            }
        }
        let (engine, verifier) = &mut self.nodes[usize::from(to)];
        let committee = &self.recording.committee;
        let input = input_of(engine, committee, verifier, &happening);
        let Some(input) = input else { return };
        if to == 0 {
            self.recording.inputs.push((self.now, input.clone()));
            if let Input::Vertex { vertex, .. } = &input {
                self.recording.vertices.push(vertex.clone());
            }
        }
        let mut effects = Vec::new();
        engine.handle(self.now, input, &mut effects);
        engine.advance_reveal(self.now, &mut effects);
        open_all(engine, &mut effects);
        for effect in effects {
            self.apply(to, effect);
        }
    }

    fn apply(&mut self, at: u8, effect: Effect) {
        match effect {
            Effect::Persist(_) => {
                let records = &mut self.records[usize::from(at)];
                *records += 1;
                let records = *records;
                self.schedule(DISK_US, at, Happening::Durable(records));
            }
            Effect::Send { to, message } => self.send(at, to.0, &message),
            Effect::Broadcast(message) => {
                for to in (0..AUTHORITIES).filter(|to| *to != at) {
                    self.send(at, to, &message);
                }
            }
            _ => {}
        }
    }

    fn send(&mut self, from: u8, to: u8, message: &PeerMessage) {
        let mut body = Vec::new();
        message.encode_body(&mut body);
        let message = Message {
            from: AuthorityIndex(from),
            kind: message.kind(),
            body,
        };
        self.schedule(DELAY_US, to, Happening::Message(message));
    }
}

/// The input that a happening is to `engine`; none for bytes that are refused.
pub fn input_of(
    engine: &Engine,
    committee: &Committee,
    verifier: &EnvelopeVerifier,
    happening: &Happening,
) -> Option<Input> {
    match happening {
        Happening::Message(Message { from, kind, body }) => {
            intake::verify(engine, committee, verifier, *from, *kind, body).ok()
        }
        Happening::Submit(tag, bytes) => {
            let envelope = Envelope::decode(bytes.clone()).ok()?;
            let envelope = verifier.check(vec![envelope]).pop()?.ok()?;
            let client = ClientTag {
                connection: 1,
                tag: *tag,
            };
            Some(Input::Submission { client, envelope })
        }
        Happening::Durable(records) => Some(Input::Durable { records: *records }),
        Happening::Up(peer) => Some(Input::PeerUp { peer: *peer }),
        Happening::Tick => Some(Input::Tick),
    }
}

/// Opens every batch that is ready.
pub fn open_all(engine: &mut Engine, effects: &mut Vec<Effect>) {
    while let Some(len) = engine.ready_len_max() {
        // Room for an aligned start anywhere in it.
        let mut room = vec![0u8; len + 16];
        let aligned = room.as_ptr().align_offset(16);
        if engine
            .open_next(&mut room[aligned..aligned + len], effects)
            .is_none()
        {
            return;
        }
    }
}

/// Every encoding of a kind that was sent, once.
pub fn bodies_of(kind: u8) -> BTreeSet<Vec<u8>> {
    let of_kind = recording().messages.iter().filter(|m| m.kind == kind);
    of_kind.map(|message| message.body.clone()).collect()
}
