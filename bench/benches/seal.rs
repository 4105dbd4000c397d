//! Sealing, from the client's envelope to the opened payload, and beside it the group operations that it is made of.
//!
//! The primitives are in the same run so that each figure can be read as so many multiplications, on whatever host.

use std::hint::black_box;

use criterion::{BatchSize, Criterion};
use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::VartimeMultiscalarMul;
use fairlane_bench::measure::{self, operation};
use fairlane_bench::sealing::{
    ENTROPY, ORDER_ROOT, PAYLOAD_LEN, SEQ, Sealing, label_fields, payload, us,
};
use fairlane_engine::seal::forced::Forced;
use fairlane_engine::seal::{
    ClaimedShare, EncodedPoint, ShareMessage, SharePoints, Unsealed, VerifiedShare, combine,
    combine_claimed, open_claimed, open_into, opened_len, reveals_hold, seal, seal_all,
};

/// With `WAY=avx2`, `ifma` or `library` in the environment, all is done that way, else the best way that the machine has.
fn main() {
    if let Ok(way) = std::env::var("WAY") {
        assert!(Forced::choose(&way), "this machine has no such way: {way}");
    }
    measure::run(&[
        primitives,
        many_by_the_library,
        decoding,
        sealing,
        sealing_many,
        checking,
        sharing,
        opening,
        opening_optimistically,
    ]);
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

/// The library on as many points as a batch has: what the engine's lanes are to be held against. Throughput is points.
fn many_by_the_library(criterion: &mut Criterion) {
    let points: Vec<RistrettoPoint> = (1..=4 * POINTS).map(point).collect();
    let scalars: Vec<Scalar> = (1..=4 * POINTS).map(scalar).collect();
    let batch = &points[..POINTS as usize];
    let encodings: Vec<CompressedRistretto> = batch.iter().map(|p| p.compress()).collect();
    let id = format!("points={POINTS},by=library");
    operation(criterion, "group::decode", POINTS.into()).bench_function(&id, |bencher| {
        bencher.iter_with_large_drop(|| -> Vec<_> {
            encodings.iter().map(|bytes| bytes.decompress()).collect()
        });
    });
    operation(criterion, "group::multiply", POINTS.into()).bench_function(&id, |bencher| {
        bencher.iter_with_large_drop(|| {
            let products: Vec<_> = batch.iter().map(|point| point * scalars[0]).collect();
            RistrettoPoint::double_and_compress_batch(&products)
        });
    });
    // As many points, and every second scalar as short, as in a check of a batch.
    let short = |(at, scalar): (usize, &Scalar)| match at % 2 {
        0 => *scalar,
        _ => Scalar::from(u128::from_le_bytes(
            *scalar.as_bytes().first_chunk().expect("32 bytes"),
        )),
    };
    let scalars: Vec<Scalar> = scalars.iter().enumerate().map(short).collect();
    operation(criterion, "group::sum", (4 * POINTS).into()).bench_function(
        format!("points={},by=library", 4 * POINTS),
        |bencher| {
            bencher.iter(|| RistrettoPoint::vartime_multiscalar_mul(&scalars, &points));
        },
    );
}

fn decoding(criterion: &mut Criterion) {
    let encodings: Vec<[u8; 32]> = (1..=POINTS)
        .map(|at| point(at).compress().to_bytes())
        .collect();
    operation(criterion, "group::decode", POINTS.into()).bench_function(
        format!("points={POINTS},by=engine"),
        |bencher| {
            bencher.iter_with_large_drop(|| EncodedPoint::decode_all(black_box(&encodings)));
        },
    );
}

fn scalar(number: u32) -> Scalar {
    let mut wide = [7; 64];
    wide[..4].copy_from_slice(&number.to_le_bytes());
    wide[32..36].copy_from_slice(&number.to_le_bytes());
    Scalar::from_bytes_mod_order_wide(&wide)
}

fn point(number: u32) -> RistrettoPoint {
    RistrettoPoint::mul_base(&scalar(number))
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

/// Many at once, as a gateway does: throughput is envelopes.
fn sealing_many(criterion: &mut Criterion) {
    let key = Sealing::dealt().key;
    let fields = label_fields();
    for count in [8, 64] {
        let payloads: Vec<_> = (0..count).map(payload).collect();
        let unsealed: Vec<Unsealed<'_>> = payloads
            .iter()
            .map(|payload| Unsealed {
                fields: &fields,
                payload,
                entropy: &ENTROPY,
            })
            .collect();
        operation(criterion, "seal::seal_all", count.into()).bench_function(
            format!("payload={PAYLOAD_LEN},envelopes={count}"),
            |bencher| bencher.iter(|| seal_all(&key, black_box(&unsealed))),
        );
    }
}

/// Envelopes checked together: throughput is envelopes.
fn checking(criterion: &mut Criterion) {
    let sealing = Sealing::dealt();
    let verifier = sealing.verifier();
    for batch in [1, 8, 64, POINTS] {
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

/// A batch opened from the own shares and those that t - 1 others claim: their decoding, combining, decrypting, and the
/// check of all reveals. Throughput is envelopes.
fn opening_optimistically(criterion: &mut Criterion) {
    let sealing = Sealing::dealt();
    let (key, envelopes) = (&sealing.key, sealing.verified(POINTS));
    let us = us(&envelopes);
    let (n, t) = (key.thresholds().authorities(), key.threshold());
    let own = sealing.share(0, &us).1;
    let others = (1..t as usize).map(|author| sealing.share(author, &us).0);
    let others: Vec<ShareMessage> = others.collect();
    let mut out = vec![0; opened_len(&envelopes[0])];
    operation(criterion, "seal::open_batch", POINTS.into()).bench_function(
        format!("n={n},t={t},points={POINTS}"),
        |bencher| {
            bencher.iter(|| {
                let claim = |message: &ShareMessage| {
                    message
                        .claim(key, SEQ, ORDER_ROOT, us.len())
                        .expect("an honest message")
                };
                let claimed: Vec<ClaimedShare> = others.iter().map(claim).collect();
                let mut shares: Vec<&SharePoints> = vec![own.as_ref()];
                shares.extend(claimed.iter().map(|share| share.as_ref()));
                let ds = combine_claimed(key, &shares).expect("t shares of one batch");
                let reveals: Vec<_> = envelopes
                    .iter()
                    .zip(&us)
                    .zip(&ds)
                    .map(|((envelope, u), d)| {
                        let reveal = open_claimed(envelope, d, &mut out);
                        (u, d, reveal.expect("honest shares open it"))
                    })
                    .collect();
                assert!(reveals_hold(key, &[8; 32], &reveals));
            });
        },
    );
}

/// Sealed envelopes in the batch that is checked, shared, combined and opened.
const POINTS: u32 = 512;
