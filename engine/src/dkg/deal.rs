//! A deal: one authority's random secret, shared among all.
//!
//! With the polynomial P of degree t - 1: commitments A_k = a_k g, a point R = r g, and for each authority j the share
//! P(j + 1) plus a mask, a hash of r E_j = e_j R, session, dealer, receiver and keys. A proof of knowledge of a_0 and r
//! (two Schnorr proofs with one challenge over everything) binds all of it to session and dealer.
//!
//! Body, after the head of [`super::message`]: A 32 each, t of them | R 32 | masked shares 32 each, n of them |
//! e 32 | z_a 32 | z_r 32. Sizes follow from the session, so a body has one length.
//!
//! Whether the shares are good only their receivers see; [`VerifiedDeal`] says that everything else holds.
//!
//! Cost: making is t + 3 fixed-base and n variable-base multiplications (n = 5: 0.2 ms); verifying is t + 1 decoded points
//! and two double multiplications; looking at one's share is two multiplications and t steps of a few doublings.

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::Identity;
use zeroize::Zeroizing;

use crate::dkg::assurance;
use crate::dkg::keys::{DecryptionKey, EncryptionKey};
use crate::dkg::message::scalar;
use crate::dkg::session::Session;
use crate::seal::deal::evaluate;
use crate::seal::group::{EncodedPoint, Transcript};
use crate::types::AuthorityIndex;
use crate::wire::{DecodeError, Reader, Writer};

/// A deal of which all holds that everybody can check.
#[derive(Clone, Debug)]
pub struct VerifiedDeal {
    dealer: AuthorityIndex,
    commitments: Vec<EncodedPoint>,
    ephemeral: EncodedPoint,
    masked_shares: Vec<Scalar>,
}

impl VerifiedDeal {
    /// Reads and checks the deal of `dealer`, a member.
    ///
    /// Errors: [`DealError`].
    pub(super) fn read(
        session: &Session,
        dealer: AuthorityIndex,
        reader: &mut Reader<'_>,
    ) -> Result<Self, DealError> {
        let (n, t) = (session.thresholds().authorities(), session.threshold());
        let wanted = body_len(n, t);
        let left = reader.left();
        if left < wanted {
            return Err(DecodeError::Truncated { wanted, left }.into());
        }
        if left > wanted {
            return Err(DecodeError::Trailing(left - wanted).into());
        }
        let commitments = (0..t)
            .map(|_| point(reader, "commitment"))
            .collect::<Result<Vec<_>, _>>()?;
        let ephemeral = point(reader, "ephemeral point")?;
        let masked_shares = (0..n)
            .map(|_| scalar(reader, "masked share"))
            .collect::<Result<Vec<_>, _>>()?;
        let deal = Self {
            dealer,
            commitments,
            ephemeral,
            masked_shares,
        };
        let e = scalar(reader, "challenge")?;
        let z_a = scalar(reader, "response")?;
        let z_r = scalar(reader, "response")?;
        let nonce_of = |public: &EncodedPoint, z: &Scalar| {
            RistrettoPoint::vartime_double_scalar_mul_basepoint(&-e, &public.point(), z)
        };
        let k_a = nonce_of(&deal.commitments[0], &z_a);
        let k_r = nonce_of(&deal.ephemeral, &z_r);
        match deal.challenge(session, &k_a, &k_r) == e {
            true => Ok(deal),
            false => Err(DealError::Proof),
        }
    }

    /// Who dealt.
    pub const fn dealer(&self) -> AuthorityIndex {
        self.dealer
    }

    /// A_0, ..., A_(t-1).
    pub(super) fn commitments(&self) -> &[EncodedPoint] {
        &self.commitments
    }

    /// R.
    pub(super) const fn ephemeral(&self) -> &EncodedPoint {
        &self.ephemeral
    }

    /// The share that was dealt to `receiver`, who holds `key`; `None` when it does not fit the commitments.
    pub(super) fn own_share(
        &self,
        session: &Session,
        receiver: AuthorityIndex,
        key: &DecryptionKey,
    ) -> Option<Zeroizing<Scalar>> {
        let shared = Zeroizing::new(self.ephemeral.point() * key.secret());
        self.share_of(session, receiver, &shared)
    }

    /// The share of `receiver` under the Diffie-Hellman value `shared`; `None` when it does not fit the commitments.
    pub(super) fn share_of(
        &self,
        session: &Session,
        receiver: AuthorityIndex,
        shared: &RistrettoPoint,
    ) -> Option<Zeroizing<Scalar>> {
        let key = session.encryption_key(receiver);
        let mask = mask(session, self.dealer, receiver, key, &self.ephemeral, shared);
        let share = Zeroizing::new(self.masked_shares[receiver.as_usize()] - *mask);
        let fits = RistrettoPoint::mul_base(&share) == self.image(receiver);
        fits.then_some(share)
    }

    /// s g for the share s that fits the commitments.
    pub(super) fn image(&self, receiver: AuthorityIndex) -> RistrettoPoint {
        evaluate_at(self.commitments.iter().map(EncodedPoint::point), receiver)
    }

    fn challenge(&self, session: &Session, k_a: &RistrettoPoint, k_r: &RistrettoPoint) -> Scalar {
        let shares = self.masked_shares.iter().map(Scalar::as_bytes);
        session
            .transcript(TAG_PROOF, self.dealer)
            .parts(self.commitments.iter().map(EncodedPoint::bytes))
            .part(self.ephemeral.bytes())
            .parts(shares)
            .part(k_a.compress().as_bytes())
            .part(k_r.compress().as_bytes())
            .scalar()
    }
}

/// A deal in the making: secret, erased when dropped.
pub(super) struct Draft {
    dealer: AuthorityIndex,
    entropy: Zeroizing<[u8; 32]>,
    polynomial: Vec<Zeroizing<Scalar>>,
    ephemeral: Zeroizing<Scalar>,
    /// What is sent to each authority, unmasked.
    pub(super) shares: Vec<Zeroizing<Scalar>>,
}

impl Draft {
    /// Draws a polynomial for `dealer` from 32 uniformly random bytes; the same bytes and session give the same deal.
    pub(super) fn new(session: &Session, dealer: AuthorityIndex, entropy: &[u8; 32]) -> Self {
        let drawn = |tag: &str, index: u32| draw(session, dealer, entropy, tag, index);
        let polynomial: Vec<Zeroizing<Scalar>> = (0..session.threshold())
            .map(|power| drawn(TAG_COEFFICIENT, power))
            .collect();
        let points = session.thresholds().members();
        let shares = points
            .map(|receiver| evaluate(&polynomial, Scalar::from(receiver.share_point())))
            .collect();
        Self {
            dealer,
            entropy: Zeroizing::new(*entropy),
            ephemeral: drawn(TAG_EPHEMERAL, 0),
            polynomial,
            shares,
        }
    }

    /// With another slope, so that the share of `receiver` is this one; the secret stays.
    #[cfg(test)]
    pub(super) fn with_share(mut self, receiver: AuthorityIndex, share: Scalar) -> Self {
        let at = |member: AuthorityIndex| Scalar::from(member.share_point());
        let steeper = (share - *self.shares[receiver.as_usize()]) * at(receiver).invert();
        *self.polynomial[1] += steeper;
        for (member, share) in (0..).map(AuthorityIndex).zip(&mut self.shares) {
            **share += steeper * at(member);
        }
        self
    }

    /// Appends the body of the assurance of `receiver`: of the share that fits the commitments of `deal`, which is this one.
    pub(super) fn encode_assurance(
        &self,
        session: &Session,
        deal: &VerifiedDeal,
        receiver: AuthorityIndex,
        out: &mut Vec<u8>,
    ) {
        let share = evaluate(&self.polynomial, Scalar::from(receiver.share_point()));
        assurance::encode_body(session, deal, receiver, &share, &self.entropy, out);
    }

    /// Appends the body: commitments, masked shares, proof.
    pub(super) fn encode_body(&self, session: &Session, out: &mut Vec<u8>) {
        let commitments = self.polynomial.iter().map(|a| committed(a)).collect();
        let ephemeral = committed(&self.ephemeral);
        let secret: &Scalar = &self.ephemeral;
        let receivers = session.thresholds().members();
        let masked_shares = receivers.zip(&self.shares).map(|(receiver, share)| {
            let key = session.encryption_key(receiver);
            let shared = Zeroizing::new(key.point() * secret);
            **share + *mask(session, self.dealer, receiver, key, &ephemeral, &shared)
        });
        let deal = VerifiedDeal {
            dealer: self.dealer,
            masked_shares: masked_shares.collect(),
            commitments,
            ephemeral,
        };
        // Nonces come from the entropy and from what the challenge covers, so that none ever meets two challenges.
        let sent = deal.masked_shares.iter().map(Scalar::as_bytes);
        let sent = session.transcript(TAG_SENT, self.dealer).parts(sent).hash();
        let nonce = |index: u32| {
            session
                .transcript(TAG_NONCE, self.dealer)
                .part(&*self.entropy)
                .part(&sent)
                .part(&index.to_be_bytes())
                .secret_scalar()
        };
        let (k_a, k_r) = (nonce(0), nonce(1));
        let image = |k: &Scalar| RistrettoPoint::mul_base(k);
        let e = deal.challenge(session, &image(&k_a), &image(&k_r));
        let z_a = *k_a + e * *self.polynomial[0];
        let z_r = *k_r + e * *self.ephemeral;
        let mut writer = Writer::new(out);
        for commitment in &deal.commitments {
            writer.bytes(commitment.bytes());
        }
        writer.bytes(deal.ephemeral.bytes());
        for scalar in deal.masked_shares.iter().chain([&e, &z_a, &z_r]) {
            writer.bytes(scalar.as_bytes());
        }
    }
}

/// Why bytes are no deal: visible to everybody, so refused by everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DealError {
    /// Not a canonical encoding of the session's sizes.
    #[error("deal encoding: {0}")]
    Decode(#[from] DecodeError),
    /// The dealer does not know what it committed to, or dealt for another session, or is another.
    #[error("the proof of knowledge does not hold")]
    Proof,
}

/// The value at `receiver`'s share point of the polynomial with these committed coefficients, A_0 first.
///
/// Variable time: for public points only. Horner's rule with a multiplier of 8 bits: some 12 additions a coefficient.
pub(super) fn evaluate_at(
    coefficients: impl DoubleEndedIterator<Item = RistrettoPoint>,
    receiver: AuthorityIndex,
) -> RistrettoPoint {
    let at = receiver.share_point();
    coefficients
        .rev()
        .fold(RistrettoPoint::identity(), |sum, coefficient| {
            times_small(&sum, at) + coefficient
        })
}

fn times_small(point: &RistrettoPoint, by: u64) -> RistrettoPoint {
    let mut product = RistrettoPoint::identity();
    for bit in (0..u64::BITS - by.leading_zeros()).rev() {
        product += product;
        if by >> bit & 1 == 1 {
            product += point;
        }
    }
    product
}

/// Length of a body for n authorities and threshold t, in bytes.
pub(super) const fn body_len(n: u32, t: u32) -> usize {
    32 * (t as usize + 1 + n as usize + 3)
}

fn point(reader: &mut Reader<'_>, field: &'static str) -> Result<EncodedPoint, DecodeError> {
    EncodedPoint::decode(&reader.array()?).ok_or(DecodeError::NotCanonical(field))
}

fn committed(secret: &Scalar) -> EncodedPoint {
    EncodedPoint::encode(RistrettoPoint::mul_base(secret))
        .expect("a hash is zero modulo the group order with probability 2^-252")
}

fn draw(
    session: &Session,
    dealer: AuthorityIndex,
    entropy: &[u8; 32],
    tag: &str,
    index: u32,
) -> Zeroizing<Scalar> {
    let transcript: Transcript = session.transcript(tag, dealer);
    let transcript = transcript.part(entropy).part(&index.to_be_bytes());
    transcript.secret_scalar()
}

/// What is added to the share of `receiver`.
fn mask(
    session: &Session,
    dealer: AuthorityIndex,
    receiver: AuthorityIndex,
    key: &EncryptionKey,
    ephemeral: &EncodedPoint,
    shared: &RistrettoPoint,
) -> Zeroizing<Scalar> {
    let shared = Zeroizing::new(shared.compress().to_bytes());
    session
        .transcript(TAG_MASK, dealer)
        .part(&[receiver.0])
        .part(key.bytes())
        .part(ephemeral.bytes())
        .part(&*shared)
        .secret_scalar()
}

const TAG_COEFFICIENT: &str = "fairlane/1/dkg-coefficient";
const TAG_EPHEMERAL: &str = "fairlane/1/dkg-ephemeral";
const TAG_MASK: &str = "fairlane/1/dkg-mask";
const TAG_NONCE: &str = "fairlane/1/dkg-nonce";
const TAG_SENT: &str = "fairlane/1/dkg-sent";
const TAG_PROOF: &str = "fairlane/1/dkg-proof";
