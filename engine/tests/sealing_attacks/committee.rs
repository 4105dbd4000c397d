//! A whole committee given different bytes in different places.

use fairlane_engine::committee::Parameters;
use fairlane_engine::config::EngineConfig;
use fairlane_engine::seal::{Envelope, LabelFields, seal};

use crate::common::{ROLLUP, World};

const SECOND: u64 = 1_000_000;

fn world() -> World {
    World::new(4, Parameters::default(), EngineConfig::default())
}

fn assert_agreement(world: &World) {
    for node in &world.nodes[1..] {
        assert_eq!(node.settled, world.nodes[0].settled);
    }
}

#[test]
fn an_envelope_sent_in_two_forms_is_two_envelopes_on_every_node() {
    let mut world = world();
    let forms = [1, 2].map(|tag| {
        let fields = LabelFields {
            rollup: ROLLUP,
            valid_until: world.now.plus_us(30 * SECOND),
            sender_tag: [tag; 16],
            padded_len: None,
        };
        seal(&world.key, &fields, b"the same", &[5; 64]).unwrap()
    });
    for to in 0..4 {
        world.submit(to, 1, forms[to % 2].as_slice().into(), 0);
    }
    world.run_for(2 * SECOND);
    assert_agreement(&world);
    let settled = &world.nodes[0].settled;
    let mut expected = forms.map(|form| Envelope::decode(form.into()).unwrap().digest());
    let mut digests = settled.digests.clone();
    expected.sort();
    digests.sort();
    assert_eq!(digests, expected, "each once, wherever it was sent");
    assert!(
        settled
            .payloads
            .iter()
            .all(|p| p.as_deref() == Some(b"the same"))
    );
}

#[test]
fn a_spoiled_copy_is_refused_and_the_true_one_fetched() {
    // In the label (another sender), in U, in the content, and in the proof.
    for at in [50, 70, 200, 270] {
        let mut world = world();
        let honest = world.sealed(1, 30 * SECOND);
        let mut spoiled = honest.to_vec();
        spoiled[at] ^= 1;
        for to in 0..4 {
            let bytes = match to < 2 {
                true => honest.clone(),
                false => spoiled.as_slice().into(),
            };
            world.submit(to, 1, bytes, 0);
        }
        world.run_for(2 * SECOND);
        assert_agreement(&world);
        let settled = &world.nodes[0].settled;
        let digest = Envelope::decode(honest).unwrap().digest();
        assert_eq!(settled.digests, [digest], "byte {at}");
        for node in &world.nodes[2..] {
            assert_eq!(node.engine.counters().fetched, 1, "byte {at}");
        }
    }
}

#[test]
fn other_bytes_than_the_digest_names_are_never_taken() {
    let mut world = world();
    // Whatever envelope it is asked for, authority 3 gives this one, whose proof holds.
    let other = world.sealed(99, 30 * SECOND);
    world.swapped_envelopes = Some((3, other.clone()));
    for id in 0..20 {
        // Sent to the liar and to one more: the rest has to ask.
        for to in [3, id as usize % 3] {
            world.submit(to, id, world.sealed(id, 30 * SECOND), 2_000 * id);
        }
    }
    // And one that only the liar has: nobody gets its bytes, and nothing waits for it.
    let alone = world.sealed(50, 30 * SECOND);
    world.submit(3, 50, alone, 7_000);
    world.run_for(3 * SECOND);
    assert_agreement(&world);
    let settled = &world.nodes[0].settled;
    let mut ids: Vec<u64> = settled
        .payloads
        .iter()
        .map(|payload| u64::from_be_bytes(payload.as_deref().unwrap().try_into().unwrap()))
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, Vec::from_iter(0..20));
    let unasked = world.nodes[..3]
        .iter()
        .map(|node| node.engine.counters().peer_envelopes_unasked);
    assert!(unasked.sum::<u64>() > 0, "the liar was asked and did lie");
    let digest = Envelope::decode(other).unwrap().digest();
    assert!(!settled.digests.contains(&digest));
}
