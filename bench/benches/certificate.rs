//! Certificates: what signing costs each authority, and what collecting costs the one that wants them.

use criterion::Criterion;
use fairlane_bench::measure::{self, operation};
use fairlane_engine::certificate::{
    CertificateKeys, CertificateSecret, CertifiedHeader, SignatureBytes, aggregate,
};
use fairlane_engine::types::{AuthorityIndex, BatchSeq, ChainId, Epoch, Sha256Hash};

fn main() {
    measure::run(&[single, whole, with_liars]);
}

fn header() -> CertifiedHeader {
    CertifiedHeader {
        chain_id: ChainId(1),
        epoch: Epoch(0),
        seq: BatchSeq(42),
        hash: Sha256Hash([7; 32]),
    }
}

fn secret(index: u8) -> CertificateSecret {
    CertificateSecret::generate(&[index; 32])
}

/// Keys of n authorities, and a quorum's signatures; the first `liars` of them do not hold.
fn quorum(n: u8, liars: usize) -> (CertificateKeys, Vec<(AuthorityIndex, SignatureBytes)>) {
    let secrets: Vec<CertificateSecret> = (0..n).map(secret).collect();
    let encoded: Vec<_> = secrets
        .iter()
        .map(|secret| (secret.public().bytes(), secret.possession()))
        .collect();
    let keys = CertificateKeys::new(ChainId(1), Epoch(0), &encoded).expect("these are keys");
    let other = CertifiedHeader {
        seq: BatchSeq(43),
        ..header()
    };
    let signatures = (0..n).zip(&secrets).map(|(index, secret)| {
        let signed = if usize::from(index) < liars {
            other
        } else {
            header()
        };
        (AuthorityIndex(index), secret.sign(&signed))
    });
    let wanted = keys.thresholds().quorum() as usize + liars;
    let signatures = signatures.take(wanted).collect();
    (keys, signatures)
}

fn single(criterion: &mut Criterion) {
    let (secret, header) = (secret(1), header());
    let signature = secret.sign(&header);
    let key = secret.public();
    operation(criterion, "certificate::sign", 1)
        .bench_function("n=1", |bencher| bencher.iter(|| secret.sign(&header)));
    operation(criterion, "certificate::verify_one", 1).bench_function("n=1", |bencher| {
        bencher.iter(|| assert!(key.verify(&header, &signature)));
    });
    let encoded = [(key.bytes(), secret.possession())];
    operation(criterion, "certificate::check_key", 1).bench_function("n=1", |bencher| {
        bencher.iter(|| CertificateKeys::new(ChainId(1), Epoch(0), &encoded).expect("a key"));
    });
}

/// Aggregating and verifying a quorum's signatures, and verifying what comes out of it.
fn whole(criterion: &mut Criterion) {
    for n in [5, 16, 100] {
        let (keys, signatures) = quorum(n, 0);
        operation(criterion, "certificate::aggregate", 1).bench_function(
            format!("n={n}"),
            |bencher| {
                bencher.iter(|| {
                    aggregate(&header(), &signatures, &keys)
                        .certificate
                        .is_some()
                });
            },
        );
        let made = aggregate(&header(), &signatures, &keys).certificate;
        let certificate = made.expect("a quorum has signed");
        operation(criterion, "certificate::verify", 1)
            .bench_function(format!("n={n}"), |bencher| {
                bencher.iter(|| certificate.verify(&keys).expect("it holds"))
            });
    }
}

/// The same with one signature beside them that does not hold.
fn with_liars(criterion: &mut Criterion) {
    for n in [5, 16, 100] {
        let (keys, signatures) = quorum(n, 1);
        operation(criterion, "certificate::aggregate_one_bad", 1).bench_function(
            format!("n={n}"),
            |bencher| {
                bencher.iter(|| {
                    let made = aggregate(&header(), &signatures, &keys);
                    assert!(made.certificate.is_some() && made.bad.len() == 1);
                });
            },
        );
    }
}
