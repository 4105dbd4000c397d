//! The curve under Ed25519 and ristretto255, eight points at a time, on x86-64 with AVX-512 IFMA.
//!
//! Whether the machine has the instructions is asked at run time ([`lanes::Ifma::try_new`]); who uses this has a portable way
//! that gives the same results, and tests that say so.
//!
//! There are no lanes of AVX2 yet. A model of four lanes (ten limbs of 25.5 bits, `vpmuludq`: 28 ns for four products, 19 ns for four
//! squares), without tables, choices and transpositions, was timed beside curve25519-dalek's own AVX2 code, both compiled for
//! x86-64-v3 on the machine of the README: a multiplication 23 us against 27 us, so at most 1.15 times as fast, since the
//! library keeps the four lanes busy with one point already; a decoding 1.6 us against 4.0 us; a sum of 2,048 points 1.7 us a
//! point against 2.75 us. Shares would gain nothing worth the code, checking and opening up to 1.8 times; but decoding
//! alone does not help, as the library takes no point that it has not decoded itself: it needs sums and combinations
//! in these lanes, too. A first whole version of them reached less than the model: beside the library, in one run on a busy
//! machine, decoding 512 points 1.7 times as fast, sums with their decoding 0.23 times at 8 points, 0.48 at 24 and 1.5 at 2,048, but
//! multiplications by a secret 0.85 times. So such lanes pay for decoding and large sums alone, and are not there.

pub(crate) mod affine;
pub(crate) mod combine;
mod constants;
pub(crate) mod decode;
pub(crate) mod digits;
pub(crate) mod eights;
pub(crate) mod encode;
pub(crate) mod field;
pub(crate) mod fixed;
pub(crate) mod invert;
pub(crate) mod lanes;
pub(crate) mod point;
pub(crate) mod power;
#[cfg(test)]
mod ristretto_tests;
pub(crate) mod rows;
mod single;
pub(crate) mod sum;
#[cfg(test)]
mod tests;
pub(crate) mod times;
