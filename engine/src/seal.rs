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
//! Security (the page for auditors is `seal/SECURITY.md`):
//! - Secrecy holds against chosen ciphertexts, with static corruption, in the random oracle model under the decisional
//!   Diffie-Hellman assumption. `t` colluding authorities read everything at any time, unseen; fewer learn nothing and change no
//!   outcome; more than n - t that refuse keep everybody from opening.
//! - The challenge e covers every byte but z, and the content key covers U, D and the label: a seal cannot be taken to another
//!   chain, epoch, rollup, sender, expiry or length, nor U to other content. An authority gives shares only for checked
//!   envelopes: for a U of which nobody proved to know r, a share would open someone else's.
//! - r is inside the ciphertext because D = r X is then checked by anyone, and tells the D of t true shares from one that a false
//!   share gave. A commitment of the client's choice would not: in league with one authority it would open on some nodes only.
//! - r is public after the reveal, so it must never serve twice: it is derived from randomness, label and payload.
//! - Still visible: length (a client may pad to a [`size_class()`]), rollup, expiry, sender tag, and when and from where it was
//!   sent. Checking and opening take variable time, on public values only.
//! - Key generation is not part of this: a dealer knows everything.
//!
//! Every hash with a tag is BLAKE3 in its key derivation mode: context string = the tag, key material = the parts, each
//! preceded by its length as eight big-endian bytes. The digest of an envelope is the plain hash of its bytes.

#[cfg(any(test, feature = "sim"))]
pub(crate) mod crafted;
pub mod deal;
pub mod digests;
pub mod envelope;
#[cfg(test)]
mod fixture;
pub mod group;
pub mod key;
pub mod label;
pub(crate) mod lagrange;
mod many;
pub mod open;
pub mod proof;
mod sealing;
pub mod share;
pub mod size_class;

#[cfg(feature = "bench")]
pub use many::forced;
pub(crate) use many::{Generator, double_fixed_products};

pub use deal::{KeyShare, deal};
pub use envelope::{
    ENVELOPE_LEN_MAX, Envelope, EnvelopeError, LabelFields, SEALED_OVERHEAD, SealError,
    open_envelope,
};
pub use group::EncodedPoint;
pub use key::{KeyError, SealingKey};
pub use label::{EnvelopeKind, LABEL_LEN, Label, Padding};
pub use open::{
    ClaimedPoint, ClaimedReveal, CombineError, Outcome, PublishedPoint, SharedPoint, check_reveal,
    combine, combine_claimed, open_claimed, open_into, open_published, opened_len,
    published_points, reveals_hold,
};
pub use proof::{EnvelopeVerifier, VerifiedEnvelope};
pub use sealing::{Unsealed, seal, seal_all};
pub use share::{ClaimedShare, SHARES_MAX, ShareError, ShareMessage, SharePoints, VerifiedShare};
pub use size_class::{SIZE_CLASSES, size_class};
