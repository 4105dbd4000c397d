//! The curve under Ed25519 and ristretto255, eight points at a time, on x86-64 with AVX-512 IFMA.
//!
//! Whether the machine has the instructions is asked at run time ([`lanes::Ifma::try_new`]); who uses this has a portable way
//! that gives the same results, and tests that say so.

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
