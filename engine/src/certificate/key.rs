//! One authority's certificate key.

use std::fmt;

use blst::BLST_ERROR;
use blst::min_sig::{PublicKey, SecretKey, Signature};
use zeroize::Zeroizing;

use super::cert::CertifiedHeader;
use super::{KEY_LEN, SIGNATURE_LEN};

/// A compressed point of G1 that nobody has looked at yet.
pub type SignatureBytes = [u8; SIGNATURE_LEN];

/// A public key: a point of the right subgroup, not the identity.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CertificateKey(PublicKey);

impl CertificateKey {
    /// Reads a compressed point of G2; none for what is not canonical, not on the curve or in its subgroup, or the
    /// identity.
    pub fn decode(bytes: &[u8; KEY_LEN]) -> Option<Self> {
        let key = PublicKey::uncompress(bytes).ok()?;
        key.validate().ok()?;
        Some(Self(key))
    }

    /// Its one encoding.
    pub fn bytes(&self) -> [u8; KEY_LEN] {
        self.0.compress()
    }

    /// The uncompressed point, as blst writes it: x.c1 | x.c0 | y.c1 | y.c0, 48 bytes each.
    pub fn uncompressed(&self) -> [u8; 2 * KEY_LEN] {
        self.0.serialize()
    }

    /// Whether `possession` shows that somebody knows the secret of this key.
    pub fn is_possessed(&self, possession: &Possession) -> bool {
        decode_signature(&possession.0)
            .is_some_and(|signature| verifies(&signature, &self.bytes(), POSSESSION_DST, &self.0))
    }

    /// Whether `signature` is this key's for `header`. One pairing equation.
    pub fn verify(&self, header: &CertifiedHeader, signature: &SignatureBytes) -> bool {
        decode_signature(signature).is_some_and(|signature| {
            verifies(&signature, &header.message(), SIGNATURE_DST, &self.0)
        })
    }

    pub(super) const fn point(&self) -> &PublicKey {
        &self.0
    }
}

impl fmt::Debug for CertificateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CertificateKey({})", hex::encode(&self.bytes()[..4]))
    }
}

/// Shows that who publishes a key knows its secret: a signature of the key's bytes under a tag of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Possession(pub SignatureBytes);

impl fmt::Debug for Possession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Possession({})", hex::encode(&self.0[..4]))
    }
}

/// The secret half. Erased when dropped, never printed.
#[derive(Clone)]
pub struct CertificateSecret {
    secret: SecretKey,
    public: CertificateKey,
}

impl CertificateSecret {
    /// Makes one of 32 uniformly random bytes.
    pub fn generate(entropy: &[u8; 32]) -> Self {
        let secret = SecretKey::key_gen(entropy, KEY_INFO);
        Self::of(secret.expect("32 bytes are as many as it asks for"))
    }

    /// Reads the encoding of [`Self::to_bytes`]; none for 0 and what is not below the group's order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
        SecretKey::from_bytes(bytes).ok().map(Self::of)
    }

    fn of(secret: SecretKey) -> Self {
        let public = CertificateKey(secret.sk_to_pk());
        Self { secret, public }
    }

    /// A scalar, big-endian; erased when dropped.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.secret.to_bytes())
    }

    /// The public half.
    pub const fn public(&self) -> CertificateKey {
        self.public
    }

    /// What stands beside the key in the committee file.
    pub fn possession(&self) -> Possession {
        let key = self.public.bytes();
        Possession(self.secret.sign(&key, POSSESSION_DST, &[]).compress())
    }

    /// Vouches for `header` and all headers before it. The same header always gives the same bytes.
    pub fn sign(&self, header: &CertifiedHeader) -> SignatureBytes {
        let signature = self.secret.sign(&header.message(), SIGNATURE_DST, &[]);
        signature.compress()
    }
}

impl fmt::Debug for CertificateSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateSecret")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

/// A point of the right subgroup, not the identity; none for other bytes.
pub(super) fn decode_signature(bytes: &SignatureBytes) -> Option<Signature> {
    let signature = Signature::uncompress(bytes).ok()?;
    signature.validate(true).ok()?;
    Some(signature)
}

/// The pairing equation, for points that were checked.
pub(super) fn verifies(signature: &Signature, message: &[u8], dst: &[u8], key: &PublicKey) -> bool {
    signature.verify(false, message, dst, &[], key, false) == BLST_ERROR::BLST_SUCCESS
}

/// Domain of signatures over checkpoints.
pub const SIGNATURE_DST: &[u8] = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_";
/// Domain of proofs of possession.
pub const POSSESSION_DST: &[u8] = b"BLS_POP_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_";
const KEY_INFO: &[u8] = b"fairlane/1/certificate-key";
