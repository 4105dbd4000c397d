//! The committee's public sealing key: X, its verification shares, and everything that must hold between them.
//!
//! Authority i holds x_i, the value at i + 1 of a polynomial of degree t - 1 whose value at 0 is x; X_i = x_i g and
//! X = 2 Delta x g (see `seal/lagrange.rs` for Delta). [`SealingKey::from_parts`] takes nothing on trust: a committee
//! file whose shares do not lie on one polynomial with X would seal what nobody can open.
//!
//! Invariants: I1 every point is canonical and not the identity; I2 the X_i and X agree; I3 the key id names chain,
//! epoch, n, t, Delta and X, so that an envelope or share of another key or epoch is recognised before any curve work.

use std::sync::Arc;

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{IsIdentity, VartimeMultiscalarMul};

use super::group::{EncodedPoint, Transcript};
use super::lagrange;
use super::many::Generator;
use crate::committee::{CommitteeError, Thresholds};
use crate::types::{AuthorityIndex, ChainId, Epoch, KeyId};

/// The public key of a committee for one epoch. Cloning is cheap.
#[derive(Clone)]
pub struct SealingKey {
    parts: Arc<Parts>,
}

struct Parts {
    chain_id: ChainId,
    epoch: Epoch,
    thresholds: Thresholds,
    threshold: u32,
    delta: u64,
    key_id: KeyId,
    committee_key: EncodedPoint,
    generator: Generator,
    verification_shares: Vec<EncodedPoint>,
}

impl SealingKey {
    /// Puts a key together and checks all of it.
    ///
    /// `x` is the encoding of X, `shares` those of X_0, X_1, ... in authority order. Costs a multi-scalar
    /// multiplication over the shares and a table of 30 KiB; for up to 16 authorities some milliseconds more.
    ///
    /// Errors: n outside 1..=128, t outside v..=q, not n shares, a point that is not canonical or is the identity, or
    /// shares that do not lie on one polynomial of degree t - 1 with X.
    pub fn from_parts(
        chain_id: ChainId,
        epoch: Epoch,
        authorities: u32,
        threshold: u32,
        x: [u8; 32],
        shares: &[[u8; 32]],
    ) -> Result<Self, KeyError> {
        let thresholds = check_threshold(authorities, threshold)?;
        if shares.len() != authorities as usize {
            return Err(KeyError::ShareCount {
                shares: shares.len(),
                authorities,
            });
        }
        let committee_key = EncodedPoint::decode(&x).ok_or(KeyError::CommitteeKey)?;
        let verification_shares = thresholds
            .members()
            .zip(shares)
            .map(|(author, share)| {
                EncodedPoint::decode(share).ok_or(KeyError::VerificationShare(author))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let delta = lagrange::delta(authorities, threshold);
        let key_id = derive_key_id(chain_id, epoch, authorities, threshold, delta, &x);
        if !on_one_polynomial(
            key_id,
            threshold,
            delta,
            &committee_key,
            &verification_shares,
        ) {
            return Err(KeyError::Inconsistent);
        }
        Ok(Self {
            parts: Arc::new(Parts {
                chain_id,
                epoch,
                thresholds,
                threshold,
                delta,
                key_id,
                generator: Generator::new(committee_key.point()),
                committee_key,
                verification_shares,
            }),
        })
    }

    /// The chain it is for.
    pub fn chain_id(&self) -> ChainId {
        self.parts.chain_id
    }

    /// The epoch it is for.
    pub fn epoch(&self) -> Epoch {
        self.parts.epoch
    }

    /// n and the thresholds that follow from it.
    pub fn thresholds(&self) -> Thresholds {
        self.parts.thresholds
    }

    /// t, the number of authorities that open together.
    pub fn threshold(&self) -> u32 {
        self.parts.threshold
    }

    /// Delta, a function of n and t.
    pub fn delta(&self) -> u64 {
        self.parts.delta
    }

    /// Its name, which stands in every label.
    pub fn key_id(&self) -> KeyId {
        self.parts.key_id
    }

    /// X, to which clients seal.
    pub fn committee_key(&self) -> &EncodedPoint {
        &self.parts.committee_key
    }

    /// X_i of `author`; `None` if it is no member.
    pub fn verification_share(&self, author: AuthorityIndex) -> Option<&EncodedPoint> {
        self.parts.verification_shares.get(author.as_usize())
    }

    /// All X_i in authority order.
    pub fn verification_shares(&self) -> &[EncodedPoint] {
        &self.parts.verification_shares
    }

    /// X with its multiples.
    pub(super) fn generator(&self) -> &Generator {
        &self.parts.generator
    }
}

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealingKey")
            .field("key_id", &self.key_id())
            .field("epoch", &self.epoch())
            .field("authorities", &self.thresholds().authorities())
            .field("threshold", &self.threshold())
            .finish_non_exhaustive()
    }
}

impl PartialEq for SealingKey {
    fn eq(&self, other: &Self) -> bool {
        self.key_id() == other.key_id() && self.verification_shares() == other.verification_shares()
    }
}

impl Eq for SealingKey {}

/// Why parts do not make a sealing key, or bytes no key share of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A committee of a size that cannot be.
    #[error(transparent)]
    Committee(#[from] CommitteeError),
    /// t outside v..=q.
    #[error("a reveal threshold of {threshold} is not between {min} and {max}")]
    Threshold {
        /// What was asked for.
        threshold: u32,
        /// v: with fewer, the faulty alone could read.
        min: u32,
        /// q: with more, the faulty could keep everybody from reading.
        max: u32,
    },
    /// Not one verification share an authority.
    #[error("{shares} verification shares for {authorities} authorities")]
    ShareCount {
        /// How many shares there are.
        shares: usize,
        /// How many there must be.
        authorities: u32,
    },
    /// X is not the canonical encoding of a point other than the identity.
    #[error("the committee key is not a valid point")]
    CommitteeKey,
    /// An X_i is not the canonical encoding of a point other than the identity.
    #[error("the verification share of {0} is not a valid point")]
    VerificationShare(AuthorityIndex),
    /// The X_i and X do not belong together.
    #[error("the verification shares and the committee key do not belong together")]
    Inconsistent,
    /// Bytes that are no key share.
    #[error("not the encoding of a key share")]
    KeyShareEncoding,
    /// A key share of another sealing key.
    #[error("the key share belongs to another sealing key")]
    KeyShareForeign,
}

/// The thresholds of `authorities`, if `threshold` may be their reveal threshold.
pub(crate) fn check_threshold(authorities: u32, threshold: u32) -> Result<Thresholds, KeyError> {
    let thresholds = Thresholds::new(authorities as usize)?;
    let (min, max) = (thresholds.validity(), thresholds.quorum());
    if !(min..=max).contains(&threshold) {
        return Err(KeyError::Threshold {
            threshold,
            min,
            max,
        });
    }
    Ok(thresholds)
}

fn derive_key_id(
    chain_id: ChainId,
    epoch: Epoch,
    authorities: u32,
    threshold: u32,
    delta: u64,
    x: &[u8; 32],
) -> KeyId {
    let hash = Transcript::new(TAG_KEY_ID)
        .part(&chain_id.0.to_be_bytes())
        .part(&epoch.0.to_be_bytes())
        .part(&authorities.to_be_bytes())
        .part(&threshold.to_be_bytes())
        .part(&delta.to_be_bytes())
        .part(x)
        .hash();
    let (id, _) = hash.split_first_chunk().expect("32 bytes hold 16");
    KeyId(*id)
}

/// Whether x g = X / (2 Delta) at 0 and the X_i at 1..=n lie on one polynomial of degree t - 1.
///
/// A word of the dual code, sum of h(i) Y_i / product of (i - j), vanishes for every h of degree at most n - t just
/// when they do; for an h drawn from a hash of all inputs it vanishes otherwise with probability 2^-252. Source:
/// Cascudo and David, SCRAPE, ACNS 2017, section 2.1.
fn on_one_polynomial(
    key_id: KeyId,
    threshold: u32,
    delta: u64,
    committee_key: &EncodedPoint,
    shares: &[EncodedPoint],
) -> bool {
    let seed = Transcript::new(TAG_KEY_CHECK)
        .part(&key_id.0)
        .part(committee_key.bytes())
        .parts(shares.iter().map(EncodedPoint::bytes))
        .hash();
    // n - t + 1 coefficients; t <= q <= n, so there is at least one.
    let h: Vec<Scalar> = (0..=shares.len() as u64 - u64::from(threshold))
        .map(|power| {
            Transcript::new(TAG_KEY_CHECK_WORD)
                .part(&seed)
                .part(&power.to_be_bytes())
                .scalar()
        })
        .collect();
    let points = 0..=shares.len() as u64;
    let word = points.clone().map(|at| {
        let x = Scalar::from(at);
        let value = h.iter().rev().fold(Scalar::ZERO, |sum, c| sum * x + c);
        let differences: Scalar = points
            .clone()
            .filter(|other| *other != at)
            .map(|other| x - Scalar::from(other))
            .product();
        let scale = if at == 0 {
            differences * (Scalar::from(delta) + Scalar::from(delta))
        } else {
            differences
        };
        value * scale.invert()
    });
    let values = std::iter::once(committee_key).chain(shares);
    RistrettoPoint::vartime_multiscalar_mul(word, values.map(EncodedPoint::point)).is_identity()
}

const TAG_KEY_ID: &str = "fairlane/1/key-id";
const TAG_KEY_CHECK: &str = "fairlane/1/key-check";
const TAG_KEY_CHECK_WORD: &str = "fairlane/1/key-check-word";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::deal;

    fn parts_of(key: &SealingKey) -> ([u8; 32], Vec<[u8; 32]>) {
        let shares = key.verification_shares().iter();
        let shares = shares.map(|share| *share.bytes()).collect();
        (*key.committee_key().bytes(), shares)
    }

    fn dealt(authorities: u32, threshold: u32) -> SealingKey {
        deal(ChainId(7), Epoch(2), authorities, threshold, &[5; 32])
            .unwrap()
            .0
    }

    #[test]
    fn a_key_survives_being_taken_apart() {
        for (authorities, threshold) in [(1, 1), (2, 2), (4, 3), (5, 4), (5, 2), (17, 12)] {
            let key = dealt(authorities, threshold);
            let (x, shares) = parts_of(&key);
            let again =
                SealingKey::from_parts(ChainId(7), Epoch(2), authorities, threshold, x, &shares);
            assert_eq!(again, Ok(key));
        }
    }

    #[test]
    fn the_key_id_changes_with_each_field() {
        let id = |chain, epoch, n, t, delta, x| {
            derive_key_id(ChainId(chain), Epoch(epoch), n, t, delta, &[x; 32])
        };
        let ids = [
            id(1, 2, 5, 4, 12, 9),
            id(2, 2, 5, 4, 12, 9),
            id(1, 3, 5, 4, 12, 9),
            id(1, 2, 6, 4, 12, 9),
            id(1, 2, 5, 3, 12, 9),
            id(1, 2, 5, 4, 13, 9),
            id(1, 2, 5, 4, 12, 8),
        ];
        for (at, one) in ids.iter().enumerate() {
            assert!(!ids[at + 1..].contains(one), "id {at} stands twice");
        }
        assert_eq!(hex::encode(ids[0].0), "fedea2a45b4bbaf4716994e20a5c5472");
    }

    #[test]
    fn thresholds_outside_validity_to_quorum_are_refused() {
        for (authorities, min, max) in [(1, 1, 1), (4, 2, 3), (5, 2, 4), (7, 3, 5), (10, 4, 7)] {
            for threshold in 0..=authorities + 1 {
                let refused = KeyError::Threshold {
                    threshold,
                    min,
                    max,
                };
                match check_threshold(authorities, threshold) {
                    Ok(_) => assert!((min..=max).contains(&threshold)),
                    Err(error) => {
                        assert_eq!(error, refused);
                        assert!(!(min..=max).contains(&threshold));
                    }
                }
            }
        }
        assert!(check_threshold(0, 0).is_err() && check_threshold(129, 86).is_err());
    }

    #[test]
    fn a_share_off_the_polynomial_is_refused_wherever_it_stands() {
        for (authorities, threshold) in [(3, 3), (5, 2), (5, 4), (17, 6)] {
            let (x, shares) = parts_of(&dealt(authorities, threshold));
            let assemble = |x, shares: &[[u8; 32]]| {
                SealingKey::from_parts(ChainId(7), Epoch(2), authorities, threshold, x, shares)
            };
            for at in 0..shares.len() {
                let mut bad = shares.clone();
                bad[at] = x;
                assert_eq!(assemble(x, &bad), Err(KeyError::Inconsistent), "share {at}");
            }
            assert_eq!(assemble(shares[0], &shares), Err(KeyError::Inconsistent));
        }
    }

    #[test]
    fn shares_of_a_lower_threshold_pass_and_of_a_higher_one_do_not() {
        // Degree t - 2 is a special case of degree t - 1; degree t is not. X depends on Delta, so rescale by hand.
        let rescaled = |from: u32, to: u32| {
            let (_, shares) = parts_of(&dealt(5, from));
            let key = dealt(5, from);
            let scale = Scalar::from(lagrange::delta(5, to))
                * Scalar::from(lagrange::delta(5, from)).invert();
            let x = EncodedPoint::encode(key.committee_key().point() * scale).unwrap();
            SealingKey::from_parts(ChainId(7), Epoch(2), 5, to, *x.bytes(), &shares)
        };
        assert!(rescaled(3, 4).is_ok());
        assert_eq!(rescaled(4, 3), Err(KeyError::Inconsistent));
    }

    #[test]
    fn missing_surplus_and_malformed_parts_are_refused() {
        let (x, mut shares) = parts_of(&dealt(4, 3));
        let assemble =
            |x, shares: &[[u8; 32]]| SealingKey::from_parts(ChainId(7), Epoch(2), 4, 3, x, shares);
        let count = |shares| KeyError::ShareCount {
            shares,
            authorities: 4,
        };
        assert_eq!(assemble(x, &shares[..3]), Err(count(3)));
        assert_eq!(assemble([0; 32], &shares), Err(KeyError::CommitteeKey));
        assert_eq!(assemble([0xff; 32], &shares), Err(KeyError::CommitteeKey));
        shares.push(x);
        assert_eq!(assemble(x, &shares), Err(count(5)));
        shares.pop();
        shares[2] = [0; 32];
        let refused = KeyError::VerificationShare(AuthorityIndex(2));
        assert_eq!(assemble(x, &shares), Err(refused));
    }
}
