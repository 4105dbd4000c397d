//! The same tests for each kind of lanes.
#![allow(
    clippy::duplicate_mod,
    reason = "a file of tests is compiled once for each kind"
)]

mod avx2;
mod ifma;
