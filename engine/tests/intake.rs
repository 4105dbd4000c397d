//! What comes over the links of authorities is verified together, and each message gets the verdict that it gets alone.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, an unwrap that fails is the finding"
)]

mod common;

use std::sync::Arc;

use common::{START, World};
use ed25519_dalek::SigningKey;
use fairlane_engine::committee::Parameters;
use fairlane_engine::config::EngineConfig;
use fairlane_engine::dag::{Settled, VerifiedVertex, VertexDraft, VertexRef, genesis};
use fairlane_engine::input::Input;
use fairlane_engine::intake::{self, FromLink, Rubbish};
use fairlane_engine::message::PeerMessage;
use fairlane_engine::seal::{Envelope, EnvelopeVerifier, deal};
use fairlane_engine::types::{AuthorityIndex, ChainId, Entry, Epoch, Position, Round, Sha256Hash};

const SECOND: u64 = 1_000_000;

/// Authority 1's first vertex, which lists `entries`.
fn listing(world: &World, entries: Vec<Entry>) -> VerifiedVertex {
    let start = |author| genesis(&world.committee, AuthorityIndex(author));
    let parents: Vec<VertexRef> = [1, 0, 2, 3].map(start).to_vec();
    let draft = VertexDraft {
        chain_id: world.committee.chain_id,
        epoch: world.committee.epoch,
        round: Round(1),
        author: AuthorityIndex(1),
        timestamp: START,
        first_position: Position(0),
        parents,
        entries,
        settled: Settled {
            count: 0,
            hash: Sha256Hash::default(),
        },
    };
    draft.sign(&SigningKey::from_bytes(&[2; 32]))
}

fn message(from: u8, message: &PeerMessage) -> FromLink {
    let mut body = Vec::new();
    message.encode_body(&mut body);
    (AuthorityIndex(from), message.kind(), body)
}

fn name(verdict: &Result<Input, Rubbish>) -> String {
    match verdict {
        Ok(Input::PeerEnvelope { from, envelope }) => {
            format!("{from:?} envelope {:?}", envelope.digest())
        }
        Ok(Input::WantEnvelopes { from, .. }) => format!("{from:?} wants"),
        Ok(input) => format!("{input:?}"),
        Err(rubbish) => rubbish.name().to_owned(),
    }
}

#[test]
fn messages_verified_together_get_the_verdicts_that_they_get_one_by_one() {
    let mut world = World::new(4, Parameters::default(), EngineConfig::default());
    let good: Vec<_> = (0..40).map(|id| world.sealed(id, 30 * SECOND)).collect();
    let mut changed = world.sealed(50, 30 * SECOND).to_vec();
    let at = changed.len() - 33;
    changed[at] ^= 1;
    let unlisted = world.sealed(51, 30 * SECOND);
    let own_key = world.key.clone();
    let (other, _) = deal(ChainId(1), Epoch(0), 4, 3, &[77; 32]).unwrap();
    world.key = other.into();
    let foreign = world.sealed(52, 30 * SECOND);
    world.key = own_key;

    let entry = |bytes: &Arc<[u8]>| {
        let envelope = Envelope::decode(bytes.clone()).unwrap();
        Entry {
            digest: envelope.digest(),
            valid_until: envelope.label().valid_until,
        }
    };
    let changed: Arc<[u8]> = changed.into();
    let mut listed: Vec<Entry> = good.iter().map(entry).collect();
    listed.extend([entry(&changed), entry(&foreign)]);
    let wanted = listed[7].digest;
    let vertex = listing(&world, listed);
    let (from, mut effects) = (AuthorityIndex(1), Vec::new());
    let engine = &mut world.nodes[0].engine;
    engine.handle(START, Input::Vertex { from, vertex }, &mut effects);

    let envelope = |from, bytes: &Arc<[u8]>| message(from, &PeerMessage::Envelope(bytes.clone()));
    let mut messages: Vec<FromLink> = good[..20].iter().map(|good| envelope(1, good)).collect();
    messages.push(envelope(2, &changed));
    messages.push(envelope(3, &unlisted));
    messages.push((from, 0xff, vec![1, 2, 3]));
    messages.push(message(2, &PeerMessage::WantEnvelopes(vec![wanted])));
    messages.push(envelope(2, &foreign));
    messages.push((from, messages[0].1, vec![0; 9]));
    messages.extend(good[20..].iter().map(|good| envelope(2, good)));
    // Another one's answer to the same question.
    messages.push(envelope(3, &good[5]));

    let verifier = EnvelopeVerifier::new((*world.key).clone(), [5; 32]);
    let (engine, committee) = (&world.nodes[0].engine, &world.committee);
    let alone: Vec<String> = messages
        .iter()
        .map(|(from, kind, body)| {
            let verdict = intake::verify(engine, committee, &verifier, *from, *kind, body);
            name(&verdict)
        })
        .collect();
    let together = intake::verify_all(engine, committee, &verifier, messages);
    let together: Vec<String> = together.iter().map(|(_, verdict)| name(verdict)).collect();
    assert_eq!(together, alone);
    let middle = [
        "envelope_proof",
        "envelope_unasked",
        "message",
        "AuthorityIndex(2) wants",
        "envelope_key",
        "envelope_encoding",
    ];
    assert_eq!(together[20..26], middle);
    let envelopes = together.iter().filter(|name| name.contains(" envelope "));
    assert_eq!(envelopes.count(), 41);
}
