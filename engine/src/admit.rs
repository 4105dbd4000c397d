//! Admission: what gets a position in the local order, and what a client is answered.
//!
//! Three steps, cheap before dear: [`label_rules`] need only the envelope and the committee; [`table`] knows duplicates
//! and what has become of them; the proof is checked in batches by [`crate::seal::proof`]. What one correct authority
//! lists every correct authority lists, so an envelope from a peer is judged by its bytes alone, never by a local clock,
//! quota or queue.

pub mod label_rules;
pub mod local_order;
pub mod refusal;
pub mod table;
