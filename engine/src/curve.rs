//! The curve under Ed25519 and ristretto255, eight points at a time, on x86-64 with AVX-512 IFMA or else with AVX2 and FMA.
//!
//! Whether the machine has the instructions is asked at run time ([`ifma::Ifma::try_new`], [`avx2::Avx2::try_new`]); who uses
//! this has a portable way that gives the same results, and tests that say so of either kind. How many points it takes until
//! lanes pay is said in `seal/many.rs`. Checks of Ed25519 use IFMA alone.
//!
//! AVX2 has no instruction for products of 51 bits; floats of 53 bits give them (see `avx2/four.rs`). Measured beside
//! curve25519-dalek's own AVX2 code, one run, compiled for x86-64-v3, on the machine of the README: of 512 points, decoding
//! 1.4 us against 4.7 us each, a multiplication by a secret 17.7 us against 32.0 us; a sum of 2,048 points, decoded, 3.1 us a
//! point against 7.3 us; a client's seal 54 us against 69 us. What bounds it: four products take 18 ns and four squares 14 ns,
//! with three ports full; and below some thirty terms a sum is bounded by its 250 doublings, done in all lanes, while the
//! library does them with one point in four lanes. Rejected: limbs of 25.5 bits and `vpmuludq`, 28 ns and 19 ns in a model,
//! with which a multiplication by a secret was 0.85 times as fast as the library's.

pub(crate) mod affine;
pub(crate) mod avx2;
pub(crate) mod combine;
mod constants;
pub(crate) mod decode;
pub(crate) mod digits;
pub(crate) mod eights;
pub(crate) mod encode;
pub(crate) mod field;
pub(crate) mod fixed;
pub(crate) mod ifma;
pub(crate) mod invert;
pub(crate) mod lanes;
#[cfg(test)]
mod on_each_kind;
pub(crate) mod point;
pub(crate) mod power;
pub(crate) mod rows;
mod single;
pub(crate) mod sum;
pub(crate) mod times;
