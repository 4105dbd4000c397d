//! Certificates among the records: kept when they are of the node's own chain, an alarm when they are not.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, an unwrap that fails is the finding"
)]

mod common;

use common::World;
use fairlane_engine::batch::BatchHeader;
use fairlane_engine::certificate::{Certificate, CertifiedHeader, SIGNATURE_LEN};
use fairlane_engine::committee::Parameters;
use fairlane_engine::config::EngineConfig;
use fairlane_engine::effect::{Effect, Record, header_of_batch};
use fairlane_engine::input::Input;
use fairlane_engine::types::{AuthoritySet, BatchSeq};

const SECOND: u64 = 1_000_000;

fn settled_world() -> World {
    let mut world = World::new(4, Parameters::default(), EngineConfig::default());
    for id in 0..12 {
        let envelope = world.open_envelope(id, 30 * SECOND);
        for to in 0..4 {
            world.submit(to, id, envelope.clone(), id * 20_000);
        }
    }
    world.run_for(2 * SECOND);
    world
}

fn headers(world: &World) -> Vec<BatchHeader> {
    let records = world.nodes[0].journal.iter();
    let headers = records.filter_map(|record| match record {
        Record::Batch(bytes) => Some(header_of_batch(bytes).unwrap()),
        _ => None,
    });
    headers.collect()
}

fn of(header: &BatchHeader) -> Certificate {
    Certificate {
        header: CertifiedHeader::from(header),
        signers: AuthoritySet::from_mask(0b111),
        signature: [7; SIGNATURE_LEN],
    }
}

fn recorded(world: &mut World, certificate: Certificate) -> Vec<Record> {
    let (now, mut effects) = (world.now, Vec::new());
    let engine = &mut world.nodes[0].engine;
    engine.handle(now, Input::Certified { certificate }, &mut effects);
    let records = effects.into_iter().filter_map(|effect| match effect {
        Effect::Persist(record @ Record::Certificate(_)) => Some(record),
        _ => None,
    });
    records.collect()
}

#[test]
fn a_certificate_of_an_opened_batch_is_recorded_and_a_start_passes_over_it() {
    let mut world = settled_world();
    let headers = headers(&world);
    assert!(headers.len() >= 3, "{} batches", headers.len());
    let certificate = of(&headers[1]);
    let records = recorded(&mut world, certificate);
    let bytes: Record = Record::Certificate(certificate.encode().as_slice().into());
    assert_eq!(records, std::slice::from_ref(&bytes));
    assert_eq!(world.nodes[0].engine.counters().certificates, 1);

    let place = world.nodes[0].journal.len() / 2;
    world.nodes[0].journal.insert(place, bytes);
    let before = world.nodes[0].engine.newest_header().copied();
    assert_eq!(before.as_ref(), headers.last());
    let all = world.nodes[0].journal.len();
    world.restart(0, all);
    let engine = &world.nodes[0].engine;
    assert_eq!(engine.newest_header().copied(), before);
    assert_eq!(engine.counters().records_recovered, all as u64);
}

#[test]
fn a_certificate_of_another_header_is_an_alarm_and_of_no_batch_here_is_counted() {
    let mut world = settled_world();
    let headers = headers(&world);
    let mut other = of(&headers[1]);
    other.header.hash.0[0] ^= 1;
    assert_eq!(recorded(&mut world, other), []);
    assert_eq!(world.nodes[0].engine.counters().divergence, 1);
    let mut later = of(&headers[1]);
    later.header.seq = BatchSeq(headers.len() as u64 + 5);
    assert_eq!(recorded(&mut world, later), []);
    let counters = world.nodes[0].engine.counters();
    assert_eq!(
        (counters.certificates, counters.certificates_unplaced),
        (0, 1)
    );
}
