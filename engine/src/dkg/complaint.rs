//! A complaint: the share of one deal to its author is bad, shown so that everybody decides alike.
//!
//! It publishes S = e_j R, the Diffie-Hellman value under which the share was masked, with a proof that S has to R the
//! ratio that E_j has to g (Chaum-Pedersen with a hashed challenge). With S everybody unmasks the share and holds it
//! against the commitments. S serves for this share of this deal only, as R is the deal's own.
//!
//! Body, after the head of [`super::message`]: dealer u8 | S 32 | e 32 | z 32.

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::VartimeMultiscalarMul;

use crate::dkg::deal::VerifiedDeal;
use crate::dkg::keys::DecryptionKey;
use crate::dkg::message::scalar;
use crate::dkg::session::Session;
use crate::seal::group::EncodedPoint;
use crate::types::AuthorityIndex;
use crate::wire::{DecodeError, Reader, Writer};

/// A complaint as it was sent; [`Complaint::judge`] says what it is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// About whose deal.
    pub dealer: AuthorityIndex,
    /// S.
    pub(super) shared: EncodedPoint,
    pub(super) challenge: Scalar,
    pub(super) response: Scalar,
}

/// What a complaint comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The dealer sent a bad share: its deal counts no more.
    Upheld,
    /// The share is good; the complaint harms nobody but its author, whose share everybody knows now.
    Unfounded,
    /// S is not proven to be the Diffie-Hellman value: it says nothing.
    Unproven,
}

impl Complaint {
    /// The complaint of `receiver`, who holds `key`, about `deal`.
    ///
    /// The nonce comes from e_j and the statement, so there is no randomness to fail.
    pub(super) fn make(
        session: &Session,
        deal: &VerifiedDeal,
        receiver: AuthorityIndex,
        key: &DecryptionKey,
    ) -> Self {
        let ephemeral = deal.ephemeral();
        let shared = EncodedPoint::encode(ephemeral.point() * key.secret())
            .expect("neither a decryption key nor R is zero, and the group's order is prime");
        let nonce = session
            .transcript(TAG_NONCE, deal.dealer())
            .part(&[receiver.0])
            .part(ephemeral.bytes())
            .part(key.secret().as_bytes())
            .secret_scalar();
        let nonce: &Scalar = &nonce;
        let images = [RistrettoPoint::mul_base(nonce), ephemeral.point() * nonce];
        let challenge = challenge(session, deal, receiver, &shared, &images);
        Self {
            dealer: deal.dealer(),
            shared,
            challenge,
            response: nonce + challenge * key.secret(),
        }
    }

    /// Decides the complaint of `receiver`, a member, about `deal`, which is the dealer's that it names.
    pub(super) fn judge(
        &self,
        session: &Session,
        deal: &VerifiedDeal,
        receiver: AuthorityIndex,
    ) -> Judgement {
        let (e, z) = (&self.challenge, &self.response);
        let key = session.encryption_key(receiver);
        let images = [
            RistrettoPoint::vartime_double_scalar_mul_basepoint(&-e, &key.point(), z),
            RistrettoPoint::vartime_multiscalar_mul(
                [*z, -e],
                [deal.ephemeral().point(), self.shared.point()],
            ),
        ];
        if challenge(session, deal, receiver, &self.shared, &images) != *e {
            return Judgement::Unproven;
        }
        match deal.share_of(session, receiver, &self.shared.point()) {
            Some(_) => Judgement::Unfounded,
            None => Judgement::Upheld,
        }
    }

    pub(super) fn encode_body(&self, out: &mut Vec<u8>) {
        Writer::new(out)
            .u8(self.dealer.0)
            .bytes(self.shared.bytes())
            .bytes(self.challenge.as_bytes())
            .bytes(self.response.as_bytes());
    }

    /// Reads a body. Errors: not a canonical encoding.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let dealer = AuthorityIndex(reader.u8()?);
        let shared = EncodedPoint::decode(&reader.array()?);
        Ok(Self {
            dealer,
            shared: shared.ok_or(DecodeError::NotCanonical("complaint's point"))?,
            challenge: scalar(reader, "challenge")?,
            response: scalar(reader, "response")?,
        })
    }
}

fn challenge(
    session: &Session,
    deal: &VerifiedDeal,
    receiver: AuthorityIndex,
    shared: &EncodedPoint,
    images: &[RistrettoPoint; 2],
) -> Scalar {
    session
        .transcript(TAG_PROOF, deal.dealer())
        .part(&[receiver.0])
        .part(session.encryption_key(receiver).bytes())
        .part(deal.ephemeral().bytes())
        .part(shared.bytes())
        .part(images[0].compress().as_bytes())
        .part(images[1].compress().as_bytes())
        .scalar()
}

/// Length of a body, in bytes.
pub(super) const BODY_LEN: usize = 1 + 3 * 32;

const TAG_NONCE: &str = "fairlane/1/dkg-complaint-nonce";
const TAG_PROOF: &str = "fairlane/1/dkg-complaint-proof";
