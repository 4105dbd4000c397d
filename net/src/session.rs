//! Sessions between authorities: who is at the other end, and bytes that nobody else can read, change or repeat.
//!
//! ```text
//! the higher index accepts                     the lower index connects
//!   greeting  version u8 = 1 | nonce 32  --->
//!                                        <---    opening  version u8 = 1 | index u8 | gate 32 | Noise message 1 (96)
//!   reply     Noise message 2 (48)       --->
//!   records   length u16 BE | ciphertext <-->    records
//! ```
//!
//! Noise_IK_25519_ChaChaPoly_BLAKE2s (Perrin, The Noise Protocol Framework, revision 34) by the crate snow, with the link
//! keys of the committee file. The prologue holds the committee, both indices and the nonce, so a session is of one
//! committee and one pair, and an opening is good for one greeting.
//!
//! The gate is a keyed BLAKE3 of nonce and message 1 under a key that only the two authorities can compute, made once at
//! start. It costs a stranger's victim one hash: without a valid one no curve operation is done. It keeps load off and
//! proves nothing else; who is there, the handshake proves.
//!
//! Who accepts believes in the other end at its first record: message 1 alone could come from somebody who stole the
//! *accepting* end's key. So who connects sends a record at once, an empty one if need be.
//!
//! Records carry the frames of [`crate::frame`] as one stream; a frame may span several, and an empty record is a sign of
//! life. Each direction counts its records, the count is the nonce, and after every [`REKEY_RECORDS`] its key is
//! replaced (Noise section 4.2): repeated, reordered, left-out, inserted or changed records do not open.
//!
//! No IO here and no clock. Randomness: the nonce is given, ephemeral keys come from the system through snow.
//!
//! Invariants: S1. Who accepts does no curve operation for bytes that pass no gate. S2. A fault is final. S3. What is held of a peer's bytes
//! is one handshake message or one record. S4. After the handshake nothing is allocated.

pub mod handshake;
pub mod keys;
pub mod records;

/// Version byte of greeting and opening.
pub const LINK_VERSION: u8 = 1;
/// Bytes of a record's length field.
pub const RECORD_HEAD_LEN: usize = 2;
/// A record: ciphertext and tag, without the length field. Noise allows 65,535; small ones keep buffers in the cache.
pub const RECORD_LEN_MAX: usize = 16 << 10;
/// A record's tag.
pub const TAG_LEN: usize = 16;
/// Records under one key: at most 16 MiB.
pub const REKEY_RECORDS: u64 = 1024;

/// What is wrong with what came from the other end. Final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Greeting or opening is of another version.
    #[error("the version is not {LINK_VERSION}")]
    Version,
    /// The index is no authority's that connects here.
    #[error("no authority with that index connects here")]
    Index,
    /// The gate does not hold: another key, another committee, or an opening that was for another greeting.
    #[error("the gate does not hold")]
    Gate,
    /// The authority opens too many sessions.
    #[error("too many sessions in a short time")]
    TooOften,
    /// A Noise message does not open.
    #[error("the handshake does not hold")]
    Handshake,
    /// A record shorter than a tag or above [`RECORD_LEN_MAX`].
    #[error("a record's length is out of bounds")]
    RecordLength,
    /// A record does not open: changed, repeated, reordered, inserted, or one before it is missing.
    #[error("a record does not open")]
    Record,
}

#[cfg(test)]
pub(crate) mod tests;
