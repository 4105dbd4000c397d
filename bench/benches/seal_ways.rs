//! The library against the lanes, by how many points there are: where the lanes begin to pay, which is what the constants of
//! `engine/src/seal/many.rs` say. Throughput is points.

use std::hint::black_box;

use criterion::Criterion;
use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use fairlane_bench::measure::{self, operation};
use fairlane_engine::seal::forced::Forced;

fn main() {
    measure::run(&[decoding, multiplying, checking]);
}

fn decoding(criterion: &mut Criterion) {
    for count in EACH {
        let encodings = encodings(count);
        for (name, way) in Forced::all() {
            operation(criterion, "ways::decode", count.into())
                .bench_function(format!("points={count},by={name}"), |bencher| {
                    bencher.iter(|| way.decode(black_box(&encodings)))
                });
        }
    }
}

fn multiplying(criterion: &mut Criterion) {
    for count in EACH {
        for (name, way) in Forced::all() {
            let points = way.decode(&encodings(count));
            operation(criterion, "ways::multiply", count.into())
                .bench_function(format!("points={count},by={name}"), |bencher| {
                    bencher.iter(|| way.multiply(black_box(&points), &scalar(7)))
                });
        }
    }
}

/// Decoding included: the way of a check is chosen once, for both.
fn checking(criterion: &mut Criterion) {
    for count in SUMS {
        let encodings = encodings(count);
        for (name, way) in Forced::all() {
            operation(criterion, "ways::check", count.into())
                .bench_function(format!("points={count},by={name}"), |bencher| {
                    bencher.iter(|| way.check(black_box(&encodings), &scalar(7)))
                });
        }
    }
}

fn scalar(number: u32) -> Scalar {
    let mut wide = [7; 64];
    wide[..4].copy_from_slice(&number.to_le_bytes());
    wide[32..36].copy_from_slice(&number.to_le_bytes());
    Scalar::from_bytes_mod_order_wide(&wide)
}

fn encodings(count: u32) -> Vec<[u8; 32]> {
    let points = (1..=count).map(|number| RistrettoPoint::mul_base(&scalar(number)));
    points.map(|point| point.compress().to_bytes()).collect()
}

const EACH: [u32; 8] = [1, 2, 3, 4, 6, 8, 16, 512];
const SUMS: [u32; 8] = [2, 4, 6, 8, 12, 16, 24, 2048];
