//! State sync.

pub mod checkpoints;
