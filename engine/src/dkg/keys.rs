//! The key pair with which an authority receives shares: E = e g over ristretto255.

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use zeroize::Zeroizing;

use crate::seal::group::{EncodedPoint, Transcript, decode_scalar};

/// E_j, public; stands in the committee file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncryptionKey(EncodedPoint);

impl EncryptionKey {
    /// Decodes strictly; `None` for what is no canonical encoding of a point other than the identity.
    pub fn decode(bytes: &[u8; 32]) -> Option<Self> {
        EncodedPoint::decode(bytes).map(Self)
    }

    /// Its one encoding.
    pub const fn bytes(&self) -> &[u8; 32] {
        self.0.bytes()
    }

    /// The group element.
    pub(super) fn point(&self) -> RistrettoPoint {
        self.0.point()
    }
}

/// e_j, secret. Erased when dropped, never printed, used in constant time only.
pub struct DecryptionKey {
    secret: Zeroizing<Scalar>,
    public: EncryptionKey,
}

impl DecryptionKey {
    /// Makes one of 32 uniformly random bytes.
    ///
    /// Panics when they hash to zero: probability 2^-252.
    pub fn generate(entropy: &[u8; 32]) -> Self {
        let secret = Transcript::new(TAG_DECRYPTION_KEY)
            .part(entropy)
            .secret_scalar();
        Self::of(secret).expect("a hash is zero modulo the group order with probability 2^-252")
    }

    /// Reads the encoding of [`Self::to_bytes`]; `None` for anything else.
    pub fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
        Self::of(Zeroizing::new(decode_scalar(bytes)?))
    }

    fn of(secret: Zeroizing<Scalar>) -> Option<Self> {
        let public = EncodedPoint::encode(RistrettoPoint::mul_base(&secret))?;
        let public = EncryptionKey(public);
        Some(Self { secret, public })
    }

    /// Its one encoding, erased when dropped.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.secret.to_bytes())
    }

    /// What others encrypt to.
    pub const fn public(&self) -> EncryptionKey {
        self.public
    }

    /// e_j.
    pub(super) fn secret(&self) -> &Scalar {
        &self.secret
    }
}

impl std::fmt::Debug for DecryptionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DecryptionKey")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

const TAG_DECRYPTION_KEY: &str = "fairlane/1/decryption-key";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_pair_survives_its_bytes_and_prints_no_secret() {
        let key = DecryptionKey::generate(&[7; 32]);
        let again = DecryptionKey::from_bytes(&key.to_bytes()).unwrap();
        assert_eq!(again.public(), key.public());
        assert_eq!(
            EncryptionKey::decode(key.public().bytes()),
            Some(key.public())
        );
        assert_ne!(
            key.public(),
            DecryptionKey::generate(&[8; 32]).public(),
            "other bytes, other key"
        );
        let printed = format!("{key:?}");
        assert!(!printed.contains(&hex::encode(&key.to_bytes()[..4])));
    }

    #[test]
    fn zero_the_identity_and_what_is_not_canonical_are_no_keys() {
        assert!(DecryptionKey::from_bytes(&[0; 32]).is_none());
        assert!(DecryptionKey::from_bytes(&[0xff; 32]).is_none());
        assert!(EncryptionKey::decode(&[0; 32]).is_none());
        assert!(EncryptionKey::decode(&[0xff; 32]).is_none());
    }
}
