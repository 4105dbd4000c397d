//! Who can jump the queue, and who can hold it up: simulated attacks on this project's order and on others.
//!
//! Clients, authorities and their links are simulated ([`network`], [`traffic`], [`rounds`]); what the authorities list
//! ([`lists`]) is the same for every rule ([`rules`]), so that rules differ by what they make of it. Ours is the engine's
//! own code, and the law is held over each of its orders ([`law`]).

pub mod chance;
pub mod law;
pub mod lists;
pub mod network;
pub mod rounds;
pub mod rules;
pub mod traffic;
