//! Strict Ed25519 verification, fast for keys that stay.
//!
//! A committee verifies thousands of signatures a second by the same few keys. A [`StrictVerifier`] keeps a table of
//! multiples of its key, and gives exactly the verdict of ed25519-dalek's `verify_strict`, on every input. Where the
//! machine lacks AVX-512 IFMA, it asks that function itself.
//!
//! Why the verdicts are the same. Let A be the key, (R, s) the signature, k = SHA-512(R | A | message) mod l; all of these as
//! bytes. `verify_strict` accepts iff (1) s < l, (2) A is not of small order, (3) R decodes to a point (4) that is not of
//! small order, and (5) the canonical encoding of R' = k (-A) + s B is R. Here (1) is asked of the same library and (2)
//! decided when the verifier is made. (5) implies (3), since R' is a point and its encoding decodes to it; and given (5), (4)
//! says that R is none of the eight canonical encodings of points of small order. R' is the same point here and there: both
//! take k and s as the integers 0 <= k, s < l and add integer multiples by formulas that are complete on the whole curve, so
//! also where A has a part of small order (k A then depends on k as an integer modulo 8 l; none of the two reduces it).
//!
//! Everything is public: nothing here is, or needs to be, independent of values in time. Nothing secret may come here.
//!
//! Cost of a verification: 19 point additions in eight lanes, one inversion, one SHA-512: a fifth of the time that
//! `verify_strict` takes on the same machine (bench `ed25519`). Memory: 64 KiB a key, so 8 MiB for the largest committee, and
//! as much once for the base point; a table takes as long to make as some eight calls of `verify_strict`, at its first use.

#[cfg(target_arch = "x86_64")]
mod ifma;
#[cfg(not(target_arch = "x86_64"))]
#[path = "ed25519/portable.rs"]
mod ifma;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::OnceLock;

use curve25519_dalek::scalar::Scalar;
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest as _, Sha512};

use ifma::KeyTable;

/// A key, ready to verify many signatures.
pub struct StrictVerifier {
    key: VerifyingKey,
    /// Whether the key is of small order: then it verifies nothing.
    is_weak: bool,
    /// `None` inside where the machine has not the instructions.
    table: OnceLock<Option<KeyTable>>,
}

impl StrictVerifier {
    /// For `key`. The table is made when it is first needed.
    pub fn new(key: VerifyingKey) -> Self {
        Self {
            key,
            is_weak: key.is_weak(),
            table: OnceLock::new(),
        }
    }

    /// The key.
    pub const fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// Whether `signature` is one of `message` by the key: the verdict of [`VerifyingKey::verify_strict`].
    pub fn verify(&self, message: &[u8], signature: &Signature) -> bool {
        let table = self
            .table
            .get_or_init(|| KeyTable::new(&self.key.to_edwards()));
        let Some(table) = table else {
            return self.key.verify_strict(message, signature).is_ok();
        };
        if self.is_weak {
            return false;
        }
        let r = signature.r_bytes();
        let Some(s) = Scalar::from_canonical_bytes(*signature.s_bytes()).into_option() else {
            return false;
        };
        let k = Scalar::from_hash(
            Sha512::new()
                .chain_update(r)
                .chain_update(self.key.as_bytes())
                .chain_update(message),
        );
        table.expected_r(&k, &s) == *r && !is_small_order(r)
    }
}

/// Whether the point that `encoding` encodes is of small order; `encoding` is that of a point, and canonical.
fn is_small_order(encoding: &[u8; 32]) -> bool {
    // The eight differ in y or in the sign of x alone.
    let mut y = *encoding;
    y[31] &= 0x7f;
    SMALL_ORDER_Y.contains(&y)
}

impl fmt::Debug for StrictVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.fmt(f)
    }
}

/// y of the points of small order, little-endian.
///
/// Source: Chalkias, Garillot and Nikolaenko, Taming the many EdDSAs, SSR 2020, table 6; tested against the library's points.
const SMALL_ORDER_Y: [[u8; 32]; 5] = [
    // The neutral point, (0, 1).
    [
        0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00,
    ],
    // Order 2: (0, -1).
    [
        0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0x7f,
    ],
    // Order 4: (+-2^((p - 1) / 4), 0).
    [
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00,
    ],
    // Order 8, four of them.
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
];
