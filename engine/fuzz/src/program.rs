//! Reads fuzz input as a program of what happens to an engine: valid messages, mutated ones, forged and re-signed ones, and
//! plain bytes, in any order, over any link, at any time.
//!
//! The first byte says how much of the recorded run precedes it. Faulty authorities have keys, so vertices are made with any
//! content and signed: mutation of bytes alone would never get past a signature.

use fairlane_engine::dag::{Settled, VerifiedVertex, VertexDraft, VertexRef, genesis};
use fairlane_engine::input::Input;
use fairlane_engine::types::{
    AuthorityIndex, Digest, Entry, Position, Round, Sha256Hash, TimestampUs,
};

use crate::recording::{AUTHORITIES, Happening, Message, Recording, recording, signing_key};
use crate::victim::Victim;

/// Steps of one program at most, so that each execution stays short.
const STEPS_MAX: usize = 96;

/// Runs `bytes` against a new engine.
pub fn run(bytes: &[u8]) {
    let recording = recording();
    let mut input = Source { bytes };
    let Some(preceding) = input.byte() else {
        return;
    };
    let mut victim = Victim::new(recording, usize::from(preceding));
    let mut sent: Vec<VerifiedVertex> = Vec::new();
    for _ in 0..STEPS_MAX {
        let Some(step) = input.byte() else {
            return;
        };
        step_of(step, &mut input, recording, &mut victim, &mut sent);
    }
}

fn step_of(
    step: u8,
    input: &mut Source<'_>,
    recording: &Recording,
    victim: &mut Victim,
    sent: &mut Vec<VerifiedVertex>,
) {
    match step % 12 {
        0 | 1 => victim.receive(&recorded(input, recording)),
        2 => {
            let mut message = recorded(input, recording);
            message.from = input.author();
            for _ in 0..=input.number() % 4 {
                mutate(input, &mut message.body);
            }
            victim.receive(&message);
        }
        3 => {
            let (mut message, other) = (recorded(input, recording), recorded(input, recording));
            let keep = input.number() as usize % (message.body.len() + 1);
            let from = input.number() as usize % (other.body.len() + 1);
            message.body.truncate(keep);
            message.body.extend_from_slice(&other.body[from..]);
            victim.receive(&message);
        }
        4 => {
            let (from, kind) = (input.author(), 0x40 + input.number() as u8 % 12);
            let len = input.number() as usize % 200;
            let body = input.take(len).to_vec();
            victim.receive(&Message { from, kind, body });
        }
        5 | 6 => {
            let vertex = forged_vertex(input, recording, sent);
            victim.receive(&message_of(&vertex, input.author()));
            sent.push(vertex);
        }
        7 if !sent.is_empty() => {
            let at = input.number() as usize % sent.len();
            victim.receive(&message_of(&sent[at], input.author()));
        }
        7 => {}
        8 => {
            victim.now = victim.now.plus_us(u64::from(input.number()) * 37);
            victim.input(Input::Tick);
        }
        9 => {
            let peer = input.author();
            if peer != AuthorityIndex(0) {
                victim.input(Input::PeerDown { peer });
                victim.input(Input::PeerUp { peer });
            }
        }
        10 => victim.sync(),
        _ => {
            let at = input.number() as usize % recording.envelopes.len();
            let bytes = recording.envelopes[at].clone();
            victim.happen(&Happening::Submit(at as u64, bytes));
        }
    }
}

fn recorded(input: &mut Source<'_>, recording: &Recording) -> Message {
    recording.messages[input.number() as usize % recording.messages.len()].clone()
}

fn mutate(input: &mut Source<'_>, bytes: &mut Vec<u8>) {
    let (at, value) = (input.number() as usize, input.byte().unwrap_or(1));
    if bytes.is_empty() {
        bytes.push(value);
        return;
    }
    let at = at % bytes.len();
    match value % 8 {
        0 => bytes.truncate(at),
        1 => bytes.push(value),
        2 => bytes.insert(at, value),
        _ => bytes[at] ^= value,
    }
}

/// A vertex with any content, signed by its author: like a recorded one, or like one sent before, with changes.
fn forged_vertex(
    input: &mut Source<'_>,
    recording: &Recording,
    sent: &[VerifiedVertex],
) -> VerifiedVertex {
    let committee = &recording.committee;
    let vertices: Vec<&VerifiedVertex> = recording.vertices.iter().chain(sent).collect();
    let model = vertices[input.number() as usize % vertices.len()];
    // Anybody but the victim is faulty; more than f of them, so that promises break and nothing else may.
    let author = AuthorityIndex(1 + input.byte().unwrap_or(0) % (AUTHORITIES - 1));
    let pick = |at: u16| -> VertexRef { vertices[usize::from(at) % vertices.len()].reference() };
    let mut parents = model.parents().to_vec();
    let mut round = model.round();
    let mut timestamp = model.timestamp();
    let mut first_position = model.first_position();
    let mut entries = model.entries().to_vec();
    let mut settled = model.settled();
    for _ in 0..input.byte().unwrap_or(0) % 6 {
        match input.byte().unwrap_or(0) % 8 {
            0 => timestamp = TimestampUs(timestamp.0.wrapping_add(u64::from(input.number())) - 999),
            1 => first_position = Position(u64::from(input.number())),
            2 => {
                let index = input.number() as usize % parents.len();
                parents[index] = pick(input.number());
            }
            3 => parents.push(pick(input.number())),
            4 => {
                let digest = Digest([input.byte().unwrap_or(0); 32]);
                let valid_until = timestamp.plus_us(u64::from(input.number()) * 2_000);
                entries.push(Entry {
                    digest,
                    valid_until,
                });
            }
            5 => {
                // A whole new round upon what is there.
                round = round.plus(u64::from(input.byte().unwrap_or(1) % 4));
            }
            6 => {
                settled = Settled {
                    count: u64::from(input.number()),
                    hash: Sha256Hash([input.byte().unwrap_or(0); 32]),
                };
            }
            _ => entries.truncate(input.number() as usize % (entries.len() + 1)),
        }
    }
    // The own link first, or the signer refuses to sign.
    match parents.iter().position(|parent| parent.author == author) {
        Some(at) => parents.swap(0, at),
        None => parents.insert(0, genesis(committee, author)),
    }
    parents.truncate(255);
    let draft = VertexDraft {
        chain_id: committee.chain_id,
        epoch: committee.epoch,
        round: round.max(Round(1)),
        author,
        timestamp,
        first_position,
        parents,
        entries,
        settled,
    };
    draft.sign(&signing_key(author.0))
}

fn message_of(vertex: &VerifiedVertex, from: AuthorityIndex) -> Message {
    Message {
        from,
        kind: 0x42,
        body: vertex.bytes().to_vec(),
    }
}

/// Fuzz input, read from the front; zeros when it is used up.
struct Source<'a> {
    bytes: &'a [u8],
}

impl<'a> Source<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }

    fn number(&mut self) -> u16 {
        let high = self.byte().unwrap_or(0);
        u16::from_be_bytes([high, self.byte().unwrap_or(0)])
    }

    /// A link: over any but the victim's own.
    fn author(&mut self) -> AuthorityIndex {
        AuthorityIndex(1 + self.byte().unwrap_or(0) % (AUTHORITIES - 1))
    }

    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.bytes.split_at(len.min(self.bytes.len()));
        self.bytes = rest;
        taken
    }
}
