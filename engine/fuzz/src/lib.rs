//! What the fuzz targets share: a recorded committee ([`recording`]), an engine that is fed ([`victim`]), and a reveal stage with a
//! liar among its peers and clients ([`opening`]).
//!
//! How to run it stands in README.md.

#![forbid(unsafe_code)]

#[allow(
    dead_code,
    unreachable_pub,
    reason = "each user takes the parts that it needs"
)]
#[path = "../../tests/common/hostile.rs"]
mod hostile;
pub mod opening;
pub mod program;
pub mod recording;
pub mod victim;
