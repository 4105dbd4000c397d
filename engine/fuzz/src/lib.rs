//! What the fuzz targets share: a recorded committee ([`recording`]), an engine that is fed ([`victim`]), a reveal stage with a
//! liar among its peers and clients ([`opening`]), and four authorities that certify ([`certifying`]).
//!
//! How to run it stands in README.md.

#![forbid(unsafe_code)]

pub mod certifying;
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
