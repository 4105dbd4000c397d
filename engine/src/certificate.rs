//! Certificates: at least q authorities vouch, with one short signature, for a batch header and so for the whole chain
//! up to it.
//!
//! BLS signatures over BLS12-381 (blst), signatures in G1 and keys in G2, after draft-irtf-cfrg-bls-signature-05 with
//! proofs of possession: same-message aggregation is sound only for keys whose owners have shown that they know the
//! secret, or a member could choose a key that cancels the others' (rogue key).
//!
//! ```text
//! message       "fairlane/1/checkpoint" | chain id u64 | epoch u32 | seq u64 | header hash 32       73 bytes
//! certificate   version u8 | chain id u64 | epoch u32 | seq u64 | header hash 32 | signers 16 | signature 48
//! ```
//!
//! I1 who signed is a set of bits, so nobody is counted twice; bits beyond the committee are refused.
//! I2 a [`CertificateKeys`] holds only keys in the right subgroup, not the identity, each possessed and standing once.
//! I3 one value, one encoding. The signature's point is checked when the certificate is, not when it is decoded.
//! I4 whether a certificate holds is a function of its bytes and the committee's keys: no randomness, no threads.
//!
//! Cost: one pairing equation a verification; measured by `cargo bench -p fairlane-bench --bench certificate`.

mod aggregate;
mod cadence;
mod cert;
mod collect;
pub mod evm;
mod key;
mod keys;

pub use aggregate::{Aggregated, aggregate};
pub use cadence::Cadence;
pub use cert::{CERTIFICATE_LEN, Certificate, CertificateError, CertifiedHeader};
pub use collect::{Collector, CollectorCounts, UNCERTIFIED_MAX, VOUCHES_A_MEMBER_MAX, Vouch};
pub use key::{
    CertificateKey, CertificateSecret, POSSESSION_DST, Possession, SIGNATURE_DST, SignatureBytes,
};
pub use keys::{CertificateKeys, CertificateKeysError};

/// Bytes of a signature or proof of possession: a compressed point of G1.
pub const SIGNATURE_LEN: usize = 48;
/// Bytes of a public key: a compressed point of G2.
pub const KEY_LEN: usize = 96;

#[cfg(test)]
mod tests;
