//! Sealing, from the client's envelope to the opened payload, and beside it the group operations that it is made of.
//!
//! The primitives are in the same run so that each figure can be read as so many multiplications, on whatever host.

use std::hint::black_box;

use criterion::{BatchSize, Criterion};
use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use fairlane_bench::measure::{self, operation};
use fairlane_bench::sealing::{
    ENTROPY, ORDER_ROOT, PAYLOAD_LEN, SEQ, Sealing, label_fields, payload, us,
};
use fairlane_engine::seal::{
    EncodedPoint, ShareMessage, VerifiedShare, combine, open_into, opened_len, seal,
};

fn main() {
    measure::run(&[primitives, sealing, checking, sharing, opening]);
}

fn primitives(criterion: &mut Criterion) {
    let scalar = Scalar::from_bytes_mod_order_wide(&[7; 64]);
    let point = RistrettoPoint::mul_base(&Scalar::from_bytes_mod_order_wide(&[9; 64]));
    let bytes = point.compress().to_bytes();
    operation(criterion, "group::multiply", 1)
        .bench_function("base=variable", |bencher| {
            bencher.iter(|| black_box(&point) * black_box(&scalar));
        })
        .bench_function("base=fixed", |bencher| {
            bencher.iter(|| RistrettoPoint::mul_base(black_box(&scalar)));
        });
    operation(criterion, "group::decode", 1).bench_function("points=1", |bencher| {
        bencher.iter(|| EncodedPoint::decode(black_box(&bytes)));
    });
}

/// What a client does for one envelope.
fn sealing(criterion: &mut Criterion) {
    let key = Sealing::dealt().key;
    let (fields, payload) = (label_fields(), payload(0));
    let id = format!("payload={PAYLOAD_LEN}");
    operation(criterion, "seal::seal", 1).bench_function(id, |bencher| {
        bencher.iter(|| seal(&key, &fields, black_box(&payload), &ENTROPY));
    });
}

/// Envelopes checked together: throughput is envelopes.
fn checking(criterion: &mut Criterion) {
    let sealing = Sealing::dealt();
    let verifier = sealing.verifier();
    for batch in [1, 32, 256] {
        let envelopes = sealing.envelopes(batch);
        operation(criterion, "seal::check", u64::from(batch)).bench_function(
            format!("batch={batch}"),
            |bencher| {
                bencher.iter_batched(
                    || envelopes.clone(),
                    |envelopes| verifier.check(envelopes),
                    BatchSize::SmallInput,
                );
            },
        );
    }
}

/// One authority's message for one batch, made and verified: throughput is shares.
fn sharing(criterion: &mut Criterion) {
    let sealing = Sealing::dealt();
    let us = us(&sealing.verified(POINTS));
    let (share, signing_key) = (&sealing.key_shares[0], &sealing.signing_keys[0]);
    let id = format!("points={POINTS}");
    operation(criterion, "seal::share", POINTS.into()).bench_function(&id, |bencher| {
        bencher.iter_with_large_drop(|| {
            ShareMessage::make(share, &sealing.key, signing_key, SEQ, ORDER_ROOT, &us)
        });
    });
    let (message, _) = sealing.share(0, &us);
    let verifying_key = sealing.verifying_key(0);
    operation(criterion, "seal::verify_share", POINTS.into()).bench_function(&id, |bencher| {
        bencher.iter_with_large_drop(|| {
            message.verify(&sealing.key, &verifying_key, SEQ, ORDER_ROOT, &us)
        });
    });
}

/// Shares of all authorities but the first combined, for a batch; and one envelope opened with what comes of it.
fn opening(criterion: &mut Criterion) {
    let sealing = Sealing::dealt();
    let (key, envelopes) = (&sealing.key, sealing.verified(POINTS));
    let us = us(&envelopes);
    let (n, t) = (key.thresholds().authorities(), key.threshold());
    let shares: Vec<VerifiedShare> = (0..n as usize)
        .map(|author| sealing.share(author, &us).1)
        .collect();
    let chosen: Vec<&VerifiedShare> = shares.iter().skip((n - t) as usize).collect();
    operation(criterion, "seal::combine", POINTS.into())
        .bench_function(format!("n={n},t={t},points={POINTS}"), |bencher| {
            bencher.iter_with_large_drop(|| combine(key, &chosen))
        });

    let ds = combine(key, &chosen).expect("t shares of different authorities for one batch");
    let (envelope, u, d) = (&envelopes[0], &us[0], &ds[0]);
    let mut out = vec![0; opened_len(envelope)];
    let id = format!("payload={PAYLOAD_LEN}");
    operation(criterion, "seal::open", 1).bench_function(id, |bencher| {
        bencher.iter(|| open_into(envelope, u, black_box(d), &mut out));
    });
}

/// Sealed envelopes in the batch that is shared and combined.
const POINTS: u32 = 512;
