//! Key shares, and a dealer that makes them for test networks.
//!
//! A dealer knows the secret: production keys come from a distributed key generation, never from here. The share's
//! bytes are meant for a file that only its authority can read: version 1 | key id 16 | authority 1 | scalar 32.

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::group::{EncodedPoint, Transcript, decode_scalar};
use super::key::{KeyError, SealingKey, check_threshold};
use super::lagrange;
use crate::types::{AuthorityIndex, ChainId, Epoch, KeyId};
use crate::wire::{DecodeError, Reader, Writer};

/// What one authority keeps secret: x_i. Erased when dropped, never printed, used in constant time only.
pub struct KeyShare {
    key_id: KeyId,
    author: AuthorityIndex,
    secret: Zeroizing<Scalar>,
}

impl KeyShare {
    /// The key it is a share of.
    pub const fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The authority it belongs to.
    pub const fn author(&self) -> AuthorityIndex {
        self.author
    }

    /// The share of `author`, whose `secret` was computed here.
    ///
    /// Panics when x_i g is not X_i: what makes keys would be broken, and envelopes sealed to this one would not open.
    pub(crate) fn new(key: &SealingKey, author: AuthorityIndex, secret: Zeroizing<Scalar>) -> Self {
        let image = RistrettoPoint::mul_base(&secret);
        let holds = key
            .verification_share(author)
            .is_some_and(|share| bool::from(image.ct_eq(&share.point())));
        assert!(
            holds,
            "the share of {author} is of the key that it was computed with"
        );
        Self {
            key_id: key.key_id(),
            author,
            secret,
        }
    }

    /// x_i.
    pub(super) fn secret(&self) -> &Scalar {
        &self.secret
    }

    /// Its one encoding, erased when dropped.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_SHARE_LEN));
        Writer::new(&mut bytes)
            .u8(KEY_SHARE_VERSION)
            .bytes(&self.key_id.0)
            .u8(self.author.0)
            .bytes(self.secret.as_bytes());
        bytes
    }

    /// Reads a share of `key`.
    ///
    /// Errors: [`KeyError::KeyShareEncoding`] for bytes that no share has; [`KeyError::KeyShareForeign`] when it is of
    /// another key or x_i g is not X_i.
    pub fn from_bytes(key: &SealingKey, bytes: &[u8]) -> Result<Self, KeyError> {
        let share = Self::decode(bytes).map_err(|_| KeyError::KeyShareEncoding)?;
        let verification_share = key
            .verification_share(share.author)
            .filter(|_| share.key_id == key.key_id())
            .ok_or(KeyError::KeyShareForeign)?;
        let image = RistrettoPoint::mul_base(&share.secret);
        if bool::from(image.ct_eq(&verification_share.point())) {
            Ok(share)
        } else {
            Err(KeyError::KeyShareForeign)
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if version != KEY_SHARE_VERSION {
            return Err(DecodeError::Version(version));
        }
        let key_id = reader.key_id()?;
        let author = AuthorityIndex(reader.u8()?);
        let secret = Zeroizing::new(reader.array()?);
        reader.finish()?;
        let secret = decode_scalar(&secret).ok_or(DecodeError::NotCanonical("key share"))?;
        Ok(Self {
            key_id,
            author,
            secret: Zeroizing::new(secret),
        })
    }
}

impl std::fmt::Debug for KeyShare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyShare")
            .field("key_id", &self.key_id)
            .field("author", &self.author)
            .finish_non_exhaustive()
    }
}

/// Deals a key for `threshold` of `authorities`, for test networks only: whoever runs this knows the secret.
///
/// `entropy` is 32 uniformly random bytes; the same bytes and arguments give the same key. Shares come in authority
/// order. Errors: as [`SealingKey::from_parts`] for sizes and thresholds.
pub fn deal(
    chain_id: ChainId,
    epoch: Epoch,
    authorities: u32,
    threshold: u32,
    entropy: &[u8; 32],
) -> Result<(SealingKey, Vec<KeyShare>), KeyError> {
    let thresholds = check_threshold(authorities, threshold)?;
    let polynomial: Vec<Zeroizing<Scalar>> = (0..threshold)
        .map(|power| {
            Transcript::new(TAG_DEAL)
                .part(entropy)
                .part(&chain_id.0.to_be_bytes())
                .part(&epoch.0.to_be_bytes())
                .part(&authorities.to_be_bytes())
                .part(&threshold.to_be_bytes())
                .part(&power.to_be_bytes())
                .secret_scalar()
        })
        .collect();
    let secrets: Vec<Zeroizing<Scalar>> = thresholds
        .members()
        .map(|author| evaluate(&polynomial, Scalar::from(author.share_point())))
        .collect();
    let shares = thresholds
        .members()
        .zip(&secrets)
        .map(|(author, secret)| {
            EncodedPoint::encode(RistrettoPoint::mul_base(secret))
                .map(|share| *share.bytes())
                .ok_or(KeyError::VerificationShare(author))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let delta = Scalar::from(lagrange::delta(authorities, threshold));
    let secret = Zeroizing::new(*polynomial[0] * (delta + delta));
    let x = RistrettoPoint::mul_base(&secret).compress().to_bytes();
    let key = SealingKey::from_parts(chain_id, epoch, authorities, threshold, x, &shares)?;
    let shares = thresholds
        .members()
        .zip(secrets)
        .map(|(author, secret)| KeyShare {
            key_id: key.key_id(),
            author,
            secret,
        })
        .collect();
    Ok((key, shares))
}

/// The polynomial's value at `x`, in constant time.
pub(crate) fn evaluate(polynomial: &[Zeroizing<Scalar>], x: Scalar) -> Zeroizing<Scalar> {
    let mut value = Zeroizing::new(Scalar::ZERO);
    for coefficient in polynomial.iter().rev() {
        *value = *value * x + **coefficient;
    }
    value
}

/// Length of an encoded key share, in bytes.
pub const KEY_SHARE_LEN: usize = 50;
const KEY_SHARE_VERSION: u8 = 1;
const TAG_DEAL: &str = "fairlane/1/deal";

#[cfg(test)]
mod tests {
    use super::*;

    fn dealt(chain: u64, epoch: u32, entropy: u8) -> (SealingKey, Vec<KeyShare>) {
        deal(ChainId(chain), Epoch(epoch), 5, 4, &[entropy; 32]).unwrap()
    }

    #[test]
    fn any_t_shares_hold_the_secret_and_t_minus_1_do_not() {
        let (key, shares) = dealt(1, 0, 9);
        let recover = |chosen: &[usize]| {
            let points: Vec<u64> = chosen
                .iter()
                .map(|i| shares[*i].author().share_point())
                .collect();
            let sum: Scalar = match lagrange::Coefficients::new(17, 1, &points) {
                lagrange::Coefficients::Full(full) => full
                    .iter()
                    .zip(chosen)
                    .map(|(c, i)| c * shares[*i].secret())
                    .sum(),
                lagrange::Coefficients::Small(_) => panic!("17 authorities are many"),
            };
            RistrettoPoint::mul_base(&(sum * Scalar::from(2 * key.delta())))
        };
        let x = key.committee_key().point();
        for out in 0..5 {
            let four: Vec<usize> = (0..5).filter(|i| *i != out).collect();
            assert_eq!(recover(&four), x);
            assert_ne!(recover(&four[..3]), x);
        }
    }

    #[test]
    fn the_same_entropy_deals_the_same_key_and_other_entropy_or_context_another() {
        assert_eq!(dealt(1, 0, 9).0, dealt(1, 0, 9).0);
        let key = dealt(1, 0, 9).0;
        for other in [dealt(1, 0, 8).0, dealt(2, 0, 9).0, dealt(1, 1, 9).0] {
            assert_ne!(other.committee_key(), key.committee_key());
            assert_ne!(other.key_id(), key.key_id());
        }
    }

    #[test]
    fn thresholds_out_of_range_are_not_dealt() {
        for threshold in [0, 1, 5, 6] {
            assert!(deal(ChainId(1), Epoch(0), 5, threshold, &[1; 32]).is_err());
        }
        assert!(deal(ChainId(1), Epoch(0), 0, 0, &[1; 32]).is_err());
    }

    #[test]
    fn a_key_share_survives_its_bytes() {
        let (key, shares) = dealt(1, 0, 9);
        for share in &shares {
            let bytes = share.to_bytes();
            assert_eq!(bytes.len(), KEY_SHARE_LEN);
            let again = KeyShare::from_bytes(&key, &bytes).unwrap();
            assert_eq!(again.author(), share.author());
            assert_eq!(again.secret(), share.secret());
        }
    }

    #[test]
    fn a_foreign_or_malformed_key_share_is_refused() {
        let (key, shares) = dealt(1, 0, 9);
        let bytes = shares[3].to_bytes().to_vec();
        let read = |bytes: &[u8]| KeyShare::from_bytes(&key, bytes).map(|share| share.author());
        let changed = |at: usize, value: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = value;
            bytes
        };
        assert_eq!(read(&bytes), Ok(AuthorityIndex(3)));
        assert_eq!(read(&bytes[..49]), Err(KeyError::KeyShareEncoding));
        assert_eq!(
            read(&[&bytes[..], &[0]].concat()),
            Err(KeyError::KeyShareEncoding)
        );
        assert_eq!(read(&changed(0, 2)), Err(KeyError::KeyShareEncoding));
        assert_eq!(read(&changed(49, 0xff)), Err(KeyError::KeyShareEncoding));
        assert_eq!(read(&changed(1, !bytes[1])), Err(KeyError::KeyShareForeign));
        assert_eq!(read(&changed(17, 2)), Err(KeyError::KeyShareForeign));
        assert_eq!(read(&changed(17, 200)), Err(KeyError::KeyShareForeign));
        assert_eq!(
            read(&changed(18, !bytes[18])),
            Err(KeyError::KeyShareForeign)
        );
        let next_epoch = dealt(1, 1, 9).1[3].to_bytes();
        assert_eq!(read(&next_epoch), Err(KeyError::KeyShareForeign));
    }

    #[test]
    fn a_key_share_does_not_print_its_secret() {
        let share = &dealt(1, 0, 9).1[0];
        let printed = format!("{share:?}");
        assert!(!printed.contains(&hex::encode(share.secret().as_bytes())[..8]));
        assert!(printed.ends_with(".. }"));
    }
}
