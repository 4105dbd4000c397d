//! What the fuzz targets share: a recorded committee ([`recording`]) and an engine that is fed ([`victim`]).
//!
//! How to run it stands in README.md.

#![forbid(unsafe_code)]

pub mod program;
pub mod recording;
pub mod victim;
