//! An engine that is fed, and the invariants that hold whatever it is fed.
//!
//! I1: no panic. I2: bytes from a peer end in a counted reason, or in an input that moves a count. I3: one input has at most
//! [`EFFECTS_MAX`] effects, and they carry at most [`EFFECT_BYTES_MAX`]. I4: own vertices are at most one a round, each
//! signed by us. Memory is bounded by libFuzzer's limits (README.md).

use std::collections::BTreeSet;

use fairlane_engine::dag::Vertex;
use fairlane_engine::effect::{Effect, Record};
use fairlane_engine::engine::Engine;
use fairlane_engine::evidence::Evidence;
use fairlane_engine::input::Input;
use fairlane_engine::intake::{self, RubbishCounts};
use fairlane_engine::message::PeerMessage;
use fairlane_engine::seal::EnvelopeVerifier;
use fairlane_engine::types::{AuthorityIndex, Round, TimestampUs};

use crate::recording::{Happening, Message, Recording, engine_of, input_of, open_all};

/// Effects of one input at most: a request for 1,024 envelopes and a wave of vertices stay far below.
const EFFECTS_MAX: usize = 8192;
/// Bytes that the effects of one input carry at most.
const EFFECT_BYTES_MAX: usize = 64 << 20;

/// Authority 0 of the recorded committee.
pub struct Victim {
    recording: &'static Recording,
    engine: Engine,
    verifier: EnvelopeVerifier,
    /// The time of the next input.
    pub now: TimestampUs,
    rubbish: RubbishCounts,
    records: u64,
    own_rounds: BTreeSet<Round>,
}

impl Victim {
    /// After the first `inputs` of the recording.
    pub fn new(recording: &'static Recording, inputs: usize) -> Self {
        let (engine, verifier) = engine_of(&recording.committee, &recording.key, 0);
        let mut victim = Self {
            recording,
            engine,
            verifier,
            now: crate::recording::START,
            rubbish: RubbishCounts::default(),
            records: 0,
            own_rounds: BTreeSet::new(),
        };
        for (at, input) in recording.inputs.iter().take(inputs) {
            victim.now = *at;
            victim.input(input.clone());
        }
        victim
    }

    /// As in the recording: what is no input is dropped.
    pub fn happen(&mut self, happening: &Happening) {
        let committee = &self.recording.committee;
        if let Some(input) = input_of(&self.engine, committee, &self.verifier, happening) {
            self.input(input);
        }
    }

    /// Bytes from a peer.
    pub fn receive(&mut self, message: &Message) {
        let before = self.counted();
        let committee = &self.recording.committee;
        let Message { from, kind, body } = message;
        match intake::verify(&self.engine, committee, &self.verifier, *from, *kind, body) {
            Ok(input) => self.input(input),
            Err(reason) => self.rubbish.add(reason),
        }
        assert!(self.counted() > before, "a peer's bytes went uncounted");
    }

    /// All that is on its way to the disk is durable.
    pub fn sync(&mut self) {
        let records = self.records;
        self.input(Input::Durable { records });
    }

    /// Anything.
    pub fn input(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.engine.handle(self.now, input, &mut effects);
        self.engine.advance_reveal(self.now, &mut effects);
        open_all(&mut self.engine, &mut effects);
        assert!(effects.len() <= EFFECTS_MAX, "{} effects", effects.len());
        let bytes: usize = effects.iter().map(len_of).sum();
        assert!(bytes <= EFFECT_BYTES_MAX, "{bytes} bytes of effects");
        for effect in &effects {
            self.look_at(effect);
        }
        self.engine.next_deadline(self.now);
    }

    fn look_at(&mut self, effect: &Effect) {
        let Effect::Persist(record) = effect else {
            return;
        };
        self.records += 1;
        let committee = &self.recording.committee;
        match record {
            Record::OwnVertex(bytes) => {
                let vertex = Vertex::verify(bytes, committee).expect("own vertices are valid");
                assert_eq!(vertex.author(), AuthorityIndex(0));
                assert!(self.own_rounds.insert(vertex.round()), "one vertex a round");
            }
            Record::Evidence(bytes) => {
                let evidence = Evidence::decode(bytes).expect("it is an encoding");
                let checked = evidence.check(committee, &self.recording.key);
                checked.expect("what is recorded against somebody holds");
            }
            _ => {}
        }
    }

    fn counted(&self) -> u64 {
        let engine = self.engine.counters().named().map(|(_, count)| count);
        engine.sum::<u64>() + self.rubbish.total()
    }
}

fn len_of(effect: &Effect) -> usize {
    let message = match effect {
        Effect::Persist(_) => return 0,
        Effect::Send { message, .. } | Effect::Broadcast(message) => message,
        Effect::Receipts { items, .. } => return items.len() * 64,
        _ => return 0,
    };
    match message {
        PeerMessage::Vertex(bytes) | PeerMessage::Envelope(bytes) | PeerMessage::Share(bytes) => {
            bytes.len()
        }
        _ => 0,
    }
}
