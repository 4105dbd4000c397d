//! Sealing: an envelope that nobody can read until its place in the order is final, and then everybody can.
//!
//! The scheme is TDH2 of Shoup and Gennaro (Securing Threshold Cryptosystems against Chosen Ciphertext Attack, J.
//! Cryptology 2002) as a key encapsulation over ristretto255 (RFC 9496), with ChaCha20-Poly1305 for the content. A
//! client encapsulates to the committee key X; any `t` authorities open together, fewer learn nothing.
//!
//! Departs from the paper:
//! - The ephemeral secret r is sealed with the payload and published at the reveal, so a reveal is checked from the
//!   envelope and r alone: U = r g and D = r X.
//! - The proof carries commitments instead of the challenge (W, W2, z), so that many envelopes are checked by one
//!   multi-scalar multiplication; likewise one proof covers all shares that an authority gives for a batch.
//! - X = 2 Delta x g where Delta clears the Lagrange denominators: combining takes small integers, and the 2 allows
//!   encoding many points with one inversion.
//!
//! Invariants:
//! - I1 every byte of an envelope is covered by its proof, each field with its length; every value has one encoding.
//! - I2 only [`proof`] makes a [`VerifiedEnvelope`], only [`share`] makes a [`VerifiedShare`], only [`open`] makes a
//!   [`SharedPoint`]: nothing unproven reaches a decision.
//! - I3 whether an envelope is revealed or void follows from its bytes and the true D alone: the same on every node.
//! - I4 key shares, proof nonces and a client's r and s meet constant-time operations only and are zeroized. What a
//!   library leaves on its stack or in a freed scratch buffer is outside our reach.
//!
//! Security holds against chosen ciphertexts, with static corruption, in the random oracle model under the
//! decisional Diffie-Hellman assumption; `t` colluding authorities can read everything at any time.
//!
//! Every hash with a tag is BLAKE3 in its key derivation mode: context string = the tag, key material = the parts, each
//! preceded by its length as eight big-endian bytes. The digest of an envelope is the plain hash of its bytes.

#[cfg(any(test, feature = "sim"))]
pub(crate) mod crafted;
pub mod deal;
pub mod envelope;
#[cfg(test)]
mod fixture;
pub mod group;
pub mod key;
pub mod label;
pub(crate) mod lagrange;
pub mod open;
pub mod proof;
pub mod share;
pub mod size_class;

pub use deal::{KeyShare, deal};
pub use envelope::{
    ENVELOPE_LEN_MAX, Envelope, EnvelopeError, LabelFields, SEALED_OVERHEAD, SealError,
    open_envelope, seal,
};
pub use group::EncodedPoint;
pub use key::{KeyError, SealingKey};
pub use label::{EnvelopeKind, LABEL_LEN, Label, Padding};
pub use open::{
    ClaimedPoint, ClaimedReveal, CombineError, Outcome, SharedPoint, check_reveal, combine,
    combine_claimed, open_claimed, open_into, opened_len, reveals_hold,
};
pub use proof::{EnvelopeVerifier, VerifiedEnvelope};
pub use share::{ClaimedShare, SHARES_MAX, ShareError, ShareMessage, SharePoints, VerifiedShare};
pub use size_class::{SIZE_CLASSES, size_class};
