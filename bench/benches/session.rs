//! Links between authorities: what sealing and opening cost a message, a handshake both its ends, and a stranger its victim.

use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput};
use ed25519_dalek::SigningKey;
use fairlane_bench::measure::{self, operation};
use fairlane_engine::committee::{Committee, Parameters, Rollup, RollupPolicy};
use fairlane_engine::types::{AuthorityIndex, ChainId, Epoch, RollupId, TimestampUs};
use fairlane_net::session::handshake::{Handshake, OPENING_LEN};
use fairlane_net::session::keys::{LinkKeys, LinkSecret};
use fairlane_net::session::records::Session;

fn main() {
    measure::run(&[records, handshakes]);
}

/// Throughput is bytes of the message.
fn records(criterion: &mut Criterion) {
    for len in [256, 4 << 10, 64 << 10] {
        let bytes = vec![7; len];
        let (mut connected, _) = pair();
        let mut group = operation(criterion, "session::seal", 1);
        group.throughput(Throughput::Bytes(len as u64));
        let mut out = Vec::new();
        group.bench_function(format!("len={len}"), |bencher| {
            bencher.iter(|| {
                out.clear();
                connected.seal(&bytes, &mut out);
            });
        });
        group.finish();
        let (mut connected, mut accepted) = pair();
        let mut group = operation(criterion, "session::open", 1);
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(format!("len={len}"), |bencher| {
            bencher.iter_batched_ref(
                || {
                    let mut out = Vec::new();
                    connected.seal(&bytes, &mut out);
                    out
                },
                |sealed| {
                    let mut input = &sealed[..];
                    while let Some(plain) = accepted.open(&mut input).expect("records in order") {
                        std::hint::black_box(plain);
                    }
                },
                BatchSize::SmallInput,
            );
        });
        group.finish();
    }
}

fn handshakes(criterion: &mut Criterion) {
    let (zero, two) = (keys(0), keys(2));
    operation(criterion, "session::handshake", 1).bench_function("ends=2", |bencher| {
        bencher.iter(|| shake(&zero, &two));
    });
    let mut opening = vec![1, 0];
    opening.resize(OPENING_LEN, 7);
    operation(criterion, "session::refuse", 1).bench_function("at=gate", |bencher| {
        bencher.iter_batched_ref(
            || Handshake::accept(two.clone(), [9; 32], &mut Vec::new()),
            |accepting| {
                let refused = feed(accepting, &opening);
                assert!(refused.is_none());
            },
            BatchSize::SmallInput,
        );
    });
}

fn pair() -> (Session, Session) {
    shake(&keys(0), &keys(2))
}

fn shake(connects: &Arc<LinkKeys>, accepts: &Arc<LinkKeys>) -> (Session, Session) {
    let mut greeting = Vec::new();
    let mut accepting = Handshake::accept(accepts.clone(), [9; 32], &mut greeting);
    let mut connecting = Handshake::connect(connects.clone(), accepts.own());
    let (opening, _) = feed(&mut connecting, &greeting).expect("a greeting");
    let (reply, accepted) = feed(&mut accepting, &opening).expect("an opening");
    let (_, connected) = feed(&mut connecting, &reply).expect("a reply");
    let both = connected.zip(accepted);
    both.expect("the handshake is complete")
}

fn feed(end: &mut Handshake, mut input: &[u8]) -> Option<(Vec<u8>, Option<Session>)> {
    let mut out = Vec::new();
    let session = end.feed(&mut input, &mut out, &mut |_| true).ok()?;
    Some((out, session))
}

fn keys(index: u8) -> Arc<LinkKeys> {
    let secret = |index: u8| LinkSecret::from_bytes(&[index + 50; 32]);
    let signing = (0..4).map(|index| SigningKey::from_bytes(&[index; 32]).verifying_key());
    let rollup = Rollup {
        id: RollupId(1),
        policy: RollupPolicy::Sealed,
    };
    let committee = Committee::new(
        ChainId(7),
        Epoch(0),
        TimestampUs(1),
        Parameters::default(),
        vec![rollup],
        signing.collect(),
    );
    let publics: Vec<_> = (0..4).map(|index| secret(index).public()).collect();
    let committee = committee.expect("a committee of four");
    let keys = LinkKeys::new(&committee, &publics, AuthorityIndex(index), secret(index));
    Arc::new(keys.expect("keys that belong together"))
}
