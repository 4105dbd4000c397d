//! What sealing costs as the committee grows, over ristretto255 (the engine's) and, for comparison, over BLS12-381 G1.
//!
//! n authorities, of which t = n - f open. Figures are for a batch of [`ENTRIES`] with [`PAYLOAD_LEN`] bytes
//! of payload each; throughput is entries. BLS12-381 runs on as many
//! cores as it is given: measure with `taskset -c 0`.

use std::hint::black_box;

use blstrs::G1Affine;
use criterion::{Criterion, SamplingMode};
use fairlane_bench::measure::{self, operation};
use fairlane_bench::sealing::{
    ENTROPY, ORDER_ROOT, PAYLOAD_LEN, SEQ, Sealing, label_fields, payload, us,
};
use fairlane_bench::tdh2_bls::{Bls, Sealed, Shares};
use fairlane_engine::seal::{
    ClaimedShare, SEALED_OVERHEAD, SharePoints, combine_claimed, open_claimed, opened_len,
    reveals_hold, seal,
};
use group::ff::Field;

fn main() {
    wire_lens();
    measure::run(&[clients, ristretto, bls]);
}

/// n and t = n - f.
const COMMITTEES: [(u32, u32); 7] = [
    (4, 3),
    (7, 5),
    (10, 7),
    (16, 11),
    (31, 21),
    (64, 43),
    (100, 67),
];
/// Sealed envelopes in the batch.
const ENTRIES: u32 = 128;

/// What goes over the wire, which no clock measures: said once, before the rest.
fn wire_lens() {
    let sealing = Sealing::dealt();
    let bls = Bls::of(5, 4, sealing.key.delta());
    let (envelopes, sealed) = (sealing.verified(ENTRIES), sealed(&bls));
    let message = sealing.share(0, &us(&envelopes)).0.encode().len();
    let bls_us = bls.check(&sealed).expect("honest proofs hold");
    let bls_message = bls.share(0, &bls_us).wire_len();
    let overhead = sealed[0].wire_len() - payload(0).len();
    eprintln!("payloads of {PAYLOAD_LEN} bytes; bytes on the wire, ristretto255 and BLS12-381 G1:");
    eprintln!("  sealing adds to a payload       {SEALED_OVERHEAD} {overhead}");
    eprintln!("  a share message of {ENTRIES} entries  {message} {bls_message}");
    for (n, _) in COMMITTEES {
        let received = |message: usize| (n as usize - 1) * message / ENTRIES as usize;
        eprintln!(
            "  n={n}: a node receives an entry   {} {}",
            received(message),
            received(bls_message)
        );
    }
}

/// What does not depend on the committee's size.
fn clients(criterion: &mut Criterion) {
    let sealing = Sealing::dealt();
    let bls = Bls::of(5, 4, sealing.key.delta());
    let point = bls.check(&[bls.seal(&payload(0), 0)]).expect("it holds")[0];
    let bytes = point.to_compressed();
    let scalar = blstrs::Scalar::from(u64::MAX).square();
    let scalar = scalar.square();
    operation(criterion, "bls12_381::multiply", 1).bench_function("base=variable", |bencher| {
        bencher.iter(|| black_box(&point) * black_box(&scalar));
    });
    operation(criterion, "bls12_381::decode", 1).bench_function("points=1", |bencher| {
        bencher.iter(|| G1Affine::from_compressed(black_box(&bytes)));
    });
    operation(criterion, "tdh2::seal", 1)
        .bench_function("group=bls12-381-g1", |bencher| {
            bencher.iter(|| bls.seal(black_box(&payload(0)), 0));
        })
        .bench_function("group=ristretto255", |bencher| {
            bencher.iter(|| {
                seal(
                    &sealing.key,
                    &label_fields(),
                    black_box(&payload(0)),
                    &ENTROPY,
                )
            });
        });
    let sealed = sealed(&bls);
    let mut group = operation(criterion, "tdh2::check_envelopes", ENTRIES.into());
    group.bench_function(format!("group=bls12-381-g1,batch={ENTRIES}"), |bencher| {
        bencher.iter(|| bls.check(black_box(&sealed)));
    });
    let (verifier, envelopes) = (sealing.verifier(), sealing.envelopes(ENTRIES));
    group.bench_function(format!("group=ristretto255,batch={ENTRIES}"), |bencher| {
        bencher.iter(|| verifier.check(envelopes.clone()));
    });
}

fn sealed(bls: &Bls) -> Vec<Sealed> {
    (0..ENTRIES)
        .map(|number| bls.seal(&payload(number), number))
        .collect()
}

fn ristretto(criterion: &mut Criterion) {
    for (n, t) in COMMITTEES {
        let sealing = Sealing::of(n, t);
        let (key, envelopes) = (&sealing.key, sealing.verified(ENTRIES));
        let us = us(&envelopes);
        let id = format!("group=ristretto255,n={n},t={t}");
        bench(criterion, "tdh2::share", &id, || sealing.share(0, &us).0);
        let messages: Vec<_> = (0..t as usize)
            .map(|author| sealing.share(author, &us))
            .collect();
        let (first, verifying_key) = (&messages[0].0, sealing.verifying_key(0));
        bench(criterion, "tdh2::check_shares", &id, || {
            let verdict = first.verify(key, &verifying_key, SEQ, ORDER_ROOT, &us);
            verdict.expect("it is honest")
        });
        let own = &messages[0].1;
        let mut outs: Vec<Vec<u8>> = envelopes.iter().map(|e| vec![0; opened_len(e)]).collect();
        bench(criterion, "tdh2::open", &id, || {
            let claims: Vec<ClaimedShare> = messages[1..]
                .iter()
                .map(|(message, _)| message.claim(key, SEQ, ORDER_ROOT, us.len()))
                .collect::<Result<_, _>>()
                .expect("they are for this batch");
            let mut points: Vec<&SharePoints> = claims.iter().map(AsRef::as_ref).collect();
            points.push(own.as_ref());
            let ds = combine_claimed(key, &points).expect("t different authorities");
            let entries = envelopes.iter().zip(&us).zip(&ds).zip(&mut outs);
            let reveals: Vec<_> = entries
                .map(|(((envelope, u), d), out)| {
                    let reveal = open_claimed(envelope, d, out).expect("it is honest");
                    (u, d, reveal)
                })
                .collect();
            assert!(reveals_hold(key, &[8; 32], &reveals));
        });
    }
}

fn bls(criterion: &mut Criterion) {
    for (n, t) in COMMITTEES {
        let bls = Bls::of(n, t, Sealing::of(n, t).key.delta());
        let sealed = sealed(&bls);
        let us = bls.check(&sealed).expect("honest proofs hold");
        let id = format!("group=bls12-381-g1,n={n},t={t}");
        bench(criterion, "tdh2::share", &id, || bls.share(0, &us));
        let authors: Vec<usize> = (0..t as usize).collect();
        let messages: Vec<Shares> = authors.iter().map(|a| bls.share(*a, &us)).collect();
        bench(criterion, "tdh2::check_shares", &id, || {
            bls.verify(&messages[0], &us).expect("it is honest")
        });
        let own = bls.claim(&messages[0]).expect("it decodes");
        bench(criterion, "tdh2::open", &id, || {
            let mut points = vec![own.clone()];
            points.extend(
                messages[1..]
                    .iter()
                    .filter_map(|message| bls.claim(message)),
            );
            let ds = bls.combine(&authors, &points);
            bls.open(&sealed, &us, &ds).expect("they are honest")
        });
    }
}

/// One operation on the whole batch; few samples, as the slowest take most of a second each.
fn bench<T>(criterion: &mut Criterion, name: &str, id: &str, mut operate: impl FnMut() -> T) {
    let mut group = operation(criterion, name, ENTRIES.into());
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    group.bench_function(id, |bencher| bencher.iter_with_large_drop(&mut operate));
}
