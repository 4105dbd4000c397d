//! Signatures of one committee, verified by tables of its keys and by the library.

use std::hint::black_box;

use criterion::Criterion;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use fairlane_bench::measure::{self, operation};
use fairlane_engine::ed25519::StrictVerifier;

fn main() {
    measure::run(&[verifying]);
}

/// Signatures of vertices of [`KEYS`] authorities in turn: throughput is signatures.
fn verifying(criterion: &mut Criterion) {
    for keys in [5, 100] {
        let signed: Vec<(VerifyingKey, Signature)> = (0..keys)
            .map(|byte| {
                let key = SigningKey::from_bytes(&[byte; 32]);
                (key.verifying_key(), key.sign(&MESSAGE))
            })
            .collect();
        let mut turn = signed.iter().cycle();
        operation(criterion, "ed25519::verify_strict", 1).bench_function(
            format!("keys={keys}"),
            |bencher| {
                bencher.iter(|| {
                    let (key, signature) = turn.next().expect("a cycle has no end");
                    assert!(key.verify_strict(black_box(&MESSAGE), signature).is_ok());
                })
            },
        );
        let verifiers: Vec<(StrictVerifier, Signature)> = signed
            .iter()
            .map(|(key, signature)| (StrictVerifier::new(*key), *signature))
            .collect();
        let mut turn = verifiers.iter().cycle();
        operation(criterion, "ed25519::verify", 1).bench_function(
            format!("keys={keys}"),
            |bencher| {
                bencher.iter(|| {
                    let (verifier, signature) = turn.next().expect("a cycle has no end");
                    assert!(verifier.verify(black_box(&MESSAGE), signature));
                })
            },
        );
    }
}

/// As long as what is signed of a vertex: a tag and a digest.
const MESSAGE: [u8; 49] = *b"fairlane/1/vertex0123456789abcdef0123456789abcdef";
