//! Decryption shares: one signed message an authority and batch, with one proof for all of its shares.
//!
//! For the U_1..U_m of a batch the authority gives D_j = x_i U_j, and proves that one x_i did it: with 128-bit weights
//! rho_j drawn from a hash T of everything, a Chaum-Pedersen proof that (g, X_i) and (sum rho_j U_j, sum rho_j D_j) have
//! the same ratio. The nonce comes from x_i and T, so there is no randomness to fail.
//!
//! T covers key, seq, order root, author, X_i, the count, and all U and D in order: a message that is permuted, cut,
//! stretched, or moved to another batch or author proves nothing. The message is signed, so one that is signed and does
//! not hold is evidence against its author ([`ShareError::is_evidence`]).
//!
//! Bytes: version 1 | key id 16 | seq 8 | order root 32 | author 1 | count 4 | D 32 each | A 32 | B 32 | zeta 32 |
//! signature 64. The signature is over "fairlane/1/share-message" and a hash of what precedes it.
//!
//! Cost for m shares: making is m + 2 constant-time multiplications, a fixed-base one, and a multi-scalar multiplication
//! over m points with short factors; verifying is m point decodings and two such sums. Where the machine has AVX-512 IFMA
//! (`seal/many.rs`) a share of a large batch is made in less than half the time of one multiplication, and verified in less
//! than that of one decoding: bench `seal`.

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::VartimeMultiscalarMul;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use super::deal::KeyShare;
use super::group::{EncodedPoint, Transcript, decode_scalar, next_weight};
use super::key::SealingKey;
use super::many::{Factor, Point, Way};
use crate::types::{AuthorityIndex, BatchSeq, KeyId, Sha256Hash};
use crate::wire::{DecodeError, Reader, Writer};

/// An authority's shares for one batch, as sent; nothing about it is known to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareMessage {
    /// The key they are shares of.
    pub key_id: KeyId,
    /// The batch.
    pub seq: BatchSeq,
    /// Merkle root over the digests of the batch, in order.
    pub order_root: Sha256Hash,
    /// Whose shares they are.
    pub author: AuthorityIndex,
    /// Encodings of the D, one for each sealed envelope of the batch, in order; 1 to [`SHARES_MAX`].
    pub shares: Vec<[u8; 32]>,
    /// A = k g.
    pub a: [u8; 32],
    /// B = k U*.
    pub b: [u8; 32],
    /// zeta = k + c x_i.
    pub zeta: [u8; 32],
    /// Ed25519, by the author's signing key.
    pub signature: [u8; 64],
}

impl ShareMessage {
    /// Makes the message for the U of a batch's sealed envelopes, in order, and its shares as verified ones.
    ///
    /// x_i and the nonce meet constant-time operations only. Errors: [`ShareError::WrongKey`] when `key_share` is not a
    /// share of `key`, [`ShareError::Count`] for no U or more than [`SHARES_MAX`].
    pub fn make(
        key_share: &KeyShare,
        key: &SealingKey,
        signing_key: &SigningKey,
        seq: BatchSeq,
        order_root: Sha256Hash,
        us: &[EncodedPoint],
    ) -> Result<(Self, VerifiedShare), ShareError> {
        let author = key_share.author();
        if key_share.key_id() != key.key_id() {
            return Err(ShareError::WrongKey);
        }
        if us.is_empty() || us.len() > SHARES_MAX {
            return Err(ShareError::Count);
        }
        let verification_share = key.verification_share(author).ok_or(ShareError::Author)?;

        let half = Zeroizing::new(key_share.secret().div_by_2());
        let half: &Scalar = &half;
        let points: Vec<Point> =
            Way::for_each_of(us.len()).double_products(us.iter().map(EncodedPoint::as_point), half);
        let shares: Vec<[u8; 32]> = points.iter().map(|share| *share.encoding()).collect();
        let statement = Statement {
            key_id: key.key_id(),
            seq,
            order_root,
            author,
            verification_share,
            us,
        };
        let transcript = statement.transcript(&shares);
        let u_star = weighted_sum(&transcript, us.iter().map(EncodedPoint::as_point));
        let nonce = Transcript::new(TAG_NONCE)
            .part(key_share.secret().as_bytes())
            .part(&transcript)
            .secret_scalar();
        let nonce: &Scalar = &nonce;
        let half_nonce = Zeroizing::new(nonce.div_by_2());
        // Halves: encoding several points at once doubles them, and costs one inversion instead of three.
        let base = u_star.library();
        let encoded = RistrettoPoint::double_and_compress_batch(&[
            base * half,
            RistrettoPoint::mul_base(&half_nonce),
            base * *half_nonce,
        ]);
        let u_star = u_star.encoding();
        let [d_star, a, b] = [0, 1, 2].map(|at| encoded[at].to_bytes());
        let c = challenge(&transcript, u_star, &d_star, &a, &b);
        let mut message = Self {
            key_id: key.key_id(),
            seq,
            order_root,
            author,
            shares,
            a,
            b,
            zeta: (nonce + c * key_share.secret()).to_bytes(),
            signature: [0; 64],
        };
        message.signature = signing_key.sign(&message.signed_bytes()).to_bytes();
        let verified = VerifiedShare {
            points: SharePoints::of(&message, points),
            message: message.clone(),
        };
        Ok((message, verified))
    }

    /// Checks only that the author signed this; `verifying_key` is that of the author.
    ///
    /// Errors: [`ShareError::Signature`].
    pub fn check_signature(&self, verifying_key: &VerifyingKey) -> Result<(), ShareError> {
        let signature = Signature::from_bytes(&self.signature);
        verifying_key
            .verify_strict(&self.signed_bytes(), &signature)
            .map_err(|_| ShareError::Signature)
    }

    fn decode_shares(&self) -> Result<Vec<Point>, ShareError> {
        let decoded = Way::for_each_of(self.shares.len()).decode(&self.shares);
        decoded
            .into_iter()
            .collect::<Option<_>>()
            .ok_or(ShareError::Malformed)
    }

    /// Checks the message against the batch as this node knows it: `us` are the U of its sealed envelopes, in order.
    ///
    /// Errors: see [`ShareError`]; the first that applies, in its order.
    pub fn verify(
        &self,
        key: &SealingKey,
        verifying_key: &VerifyingKey,
        seq: BatchSeq,
        order_root: Sha256Hash,
        us: &[EncodedPoint],
    ) -> Result<VerifiedShare, ShareError> {
        if self.key_id != key.key_id() {
            return Err(ShareError::WrongKey);
        }
        if self.seq != seq || self.order_root != order_root {
            return Err(ShareError::WrongBatch);
        }
        let verification_share = key
            .verification_share(self.author)
            .ok_or(ShareError::Author)?;
        self.check_signature(verifying_key)?;
        if us.is_empty() || self.shares.len() != us.len() {
            return Err(ShareError::Count);
        }
        let points = self.decode_shares()?;
        self.check_proof(verification_share, us, &points)?;
        Ok(VerifiedShare {
            points: SharePoints::of(self, points),
            message: self.clone(),
        })
    }

    /// Checks the proof; `points` are the decoded shares, as many as `us`.
    fn check_proof(
        &self,
        verification_share: &EncodedPoint,
        us: &[EncodedPoint],
        points: &[Point],
    ) -> Result<(), ShareError> {
        let (a, b) = (decode_point(&self.a)?, decode_point(&self.b)?);
        let zeta = decode_scalar(&self.zeta).ok_or(ShareError::Malformed)?;
        let statement = Statement {
            key_id: self.key_id,
            seq: self.seq,
            order_root: self.order_root,
            author: self.author,
            verification_share,
            us,
        };
        let transcript = statement.transcript(&self.shares);
        let u_star = weighted_sum(&transcript, us.iter().map(EncodedPoint::as_point));
        let d_star = weighted_sum(&transcript, points);
        let encodings = [u_star.encoding(), d_star.encoding()];
        let c = challenge(&transcript, encodings[0], encodings[1], &self.a, &self.b);
        let same_base = RistrettoPoint::vartime_double_scalar_mul_basepoint(
            &-c,
            &verification_share.point(),
            &zeta,
        ) == a;
        let same_ratio = RistrettoPoint::vartime_multiscalar_mul(
            [zeta, -c],
            [u_star.library(), d_star.library()],
        ) == b;
        if same_base && same_ratio {
            Ok(())
        } else {
            Err(ShareError::Proof)
        }
    }

    /// The message's one encoding. Panics above [`u32::MAX`] shares.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.encode_unsigned();
        Writer::new(&mut bytes).bytes(&self.signature);
        bytes
    }

    /// Reads a message; points and scalars are judged by [`ShareMessage::verify`].
    ///
    /// Errors: an unknown version, no share or more than [`SHARES_MAX`], missing or surplus bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if version != SHARE_VERSION {
            return Err(DecodeError::Version(version));
        }
        let key_id = reader.key_id()?;
        let seq = BatchSeq(reader.u64()?);
        let order_root = reader.sha256()?;
        let author = AuthorityIndex(reader.u8()?);
        // SHARES_MAX fits a u32, so the cast keeps the value.
        let count = reader.count_u32("shares", SHARES_MAX as u32)?;
        if count == 0 {
            return Err(DecodeError::NotCanonical("share count"));
        }
        // Taken in one piece, so that a count that the bytes do not back allocates nothing.
        let (shares, _) = reader.bytes(count * 32)?.as_chunks::<32>();
        let message = Self {
            key_id,
            seq,
            order_root,
            author,
            shares: shares.to_vec(),
            a: reader.array()?,
            b: reader.array()?,
            zeta: reader.array()?,
            signature: reader.array()?,
        };
        reader.finish()?;
        Ok(message)
    }

    fn encode_unsigned(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SHARE_MESSAGE_OVERHEAD + 32 * self.shares.len());
        Writer::new(&mut bytes)
            .u8(SHARE_VERSION)
            .bytes(&self.key_id.0)
            .u64(self.seq.0)
            .bytes(&self.order_root.0)
            .u8(self.author.0)
            .count_u32(self.shares.len())
            .bytes(self.shares.as_flattened())
            .bytes(&self.a)
            .bytes(&self.b)
            .bytes(&self.zeta);
        bytes
    }

    /// What is signed: a prefix that no other signature of an authority has, and a hash of the message.
    pub(crate) fn signed_bytes(&self) -> Vec<u8> {
        let hash = Transcript::new(TAG_MESSAGE)
            .part(&self.encode_unsigned())
            .hash();
        [TAG_MESSAGE.as_bytes(), &hash].concat()
    }
}

/// Shares of one authority for one batch whose proof holds.
#[derive(Clone, Debug)]
pub struct VerifiedShare {
    points: SharePoints,
    message: ShareMessage,
}

impl VerifiedShare {
    /// The message that proves them, to anyone who knows the batch's envelopes.
    pub const fn message(&self) -> &ShareMessage {
        &self.message
    }
}

impl std::ops::Deref for VerifiedShare {
    type Target = SharePoints;

    fn deref(&self) -> &SharePoints {
        &self.points
    }
}

impl AsRef<SharePoints> for VerifiedShare {
    fn as_ref(&self) -> &SharePoints {
        &self.points
    }
}

impl ShareMessage {
    /// Decodes the shares for optimistic opening, without checking signature or proof.
    ///
    /// `count` is how many sealed envelopes the batch has. Errors: [`ShareError::WrongKey`], [`ShareError::WrongBatch`],
    /// [`ShareError::Author`], [`ShareError::Count`], [`ShareError::Malformed`].
    pub fn claim(
        &self,
        key: &SealingKey,
        seq: BatchSeq,
        order_root: Sha256Hash,
        count: usize,
    ) -> Result<ClaimedShare, ShareError> {
        if self.key_id != key.key_id() {
            return Err(ShareError::WrongKey);
        }
        if self.seq != seq || self.order_root != order_root {
            return Err(ShareError::WrongBatch);
        }
        if key.verification_share(self.author).is_none() {
            return Err(ShareError::Author);
        }
        if count == 0 || self.shares.len() != count {
            return Err(ShareError::Count);
        }
        let points = self.decode_shares()?;
        Ok(ClaimedShare {
            points: SharePoints::of(self, points),
            message: self.clone(),
        })
    }
}

/// Shares as they came, decoded, neither signature nor proof checked: for optimistic opening only, where a reveal is
/// checked against r itself.
#[derive(Clone, Debug)]
pub struct ClaimedShare {
    points: SharePoints,
    message: ShareMessage,
}

impl ClaimedShare {
    /// Checks signature and proof after all; nothing is decoded twice. Errors: [`ShareError::Signature`],
    /// [`ShareError::Count`], [`ShareError::Malformed`], [`ShareError::Proof`], and the message back.
    ///
    /// `verifying_key` is that of the author, `us` are the U of the batch that was claimed for.
    pub fn prove(
        self,
        key: &SealingKey,
        verifying_key: &VerifyingKey,
        us: &[EncodedPoint],
    ) -> Result<VerifiedShare, (Box<ShareMessage>, ShareError)> {
        match self.check(key, verifying_key, us) {
            Ok(()) => Ok(VerifiedShare {
                points: self.points,
                message: self.message,
            }),
            Err(error) => Err((Box::new(self.message), error)),
        }
    }

    fn check(
        &self,
        key: &SealingKey,
        verifying_key: &VerifyingKey,
        us: &[EncodedPoint],
    ) -> Result<(), ShareError> {
        let message = &self.message;
        if message.key_id != key.key_id() {
            return Err(ShareError::WrongKey);
        }
        let verification_share = key.verification_share(message.author);
        let verification_share = verification_share.ok_or(ShareError::Author)?;
        message.check_signature(verifying_key)?;
        if us.len() != message.shares.len() {
            return Err(ShareError::Count);
        }
        message.check_proof(verification_share, us, self.points.points())
    }
}

impl AsRef<SharePoints> for ClaimedShare {
    fn as_ref(&self) -> &SharePoints {
        &self.points
    }
}

/// The decoded D of one authority for one batch, whatever is known of them.
#[derive(Clone, Debug)]
pub struct SharePoints {
    key_id: KeyId,
    seq: BatchSeq,
    order_root: Sha256Hash,
    author: AuthorityIndex,
    points: Vec<Point>,
}

impl SharePoints {
    fn of(message: &ShareMessage, points: Vec<Point>) -> Self {
        Self {
            key_id: message.key_id,
            seq: message.seq,
            order_root: message.order_root,
            author: message.author,
            points,
        }
    }

    /// The key they are shares of.
    pub const fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The batch.
    pub const fn seq(&self) -> BatchSeq {
        self.seq
    }

    /// The batch's Merkle root over digests.
    pub const fn order_root(&self) -> Sha256Hash {
        self.order_root
    }

    /// Whose shares they are.
    pub const fn author(&self) -> AuthorityIndex {
        self.author
    }

    /// The D, in the batch's order.
    pub(super) fn points(&self) -> &[Point] {
        &self.points
    }
}

/// Why shares are refused; checked in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    /// Shares of another key or epoch.
    #[error("shares of another key")]
    WrongKey,
    /// Shares for another batch, or for another order of this one.
    #[error("shares for another batch or order")]
    WrongBatch,
    /// The author is no member.
    #[error("the author is no member of the committee")]
    Author,
    /// The author did not sign this.
    #[error("the signature does not hold")]
    Signature,
    /// Not one share for each sealed envelope of the batch.
    #[error("not one share for each sealed envelope")]
    Count,
    /// A point or scalar that is not canonical, or the identity.
    #[error("a point or scalar is not canonical")]
    Malformed,
    /// The proof does not hold.
    #[error("the proof does not hold")]
    Proof,
}

impl ShareError {
    /// Whether the signed message shows anyone who knows the batch that its author is faulty.
    pub const fn is_evidence(self) -> bool {
        matches!(self, Self::Count | Self::Malformed | Self::Proof)
    }
}

fn decode_point(bytes: &[u8; 32]) -> Result<RistrettoPoint, ShareError> {
    let point = EncodedPoint::decode(bytes).ok_or(ShareError::Malformed)?;
    Ok(point.point())
}

/// What the proof is about, but for the D.
struct Statement<'a> {
    key_id: KeyId,
    seq: BatchSeq,
    order_root: Sha256Hash,
    author: AuthorityIndex,
    verification_share: &'a EncodedPoint,
    us: &'a [EncodedPoint],
}

impl Statement<'_> {
    /// T, for the encodings of the D.
    fn transcript(&self, shares: &[[u8; 32]]) -> [u8; 32] {
        Transcript::new(TAG_SHARE)
            .part(&self.key_id.0)
            .part(&self.seq.0.to_be_bytes())
            .part(&self.order_root.0)
            .part(&[self.author.0])
            .part(self.verification_share.bytes())
            .part(&(self.us.len() as u64).to_be_bytes())
            .parts(self.us.iter().map(EncodedPoint::bytes))
            .parts(shares)
            .hash()
    }
}

/// The sum of rho_j P_j with the weights that T gives.
fn weighted_sum<'a>(transcript: &[u8; 32], points: impl IntoIterator<Item = &'a Point>) -> Point {
    let mut stream = Transcript::new(TAG_WEIGHTS).part(transcript).stream();
    let terms: Vec<(Factor, &Point)> = points
        .into_iter()
        .map(|point| (Factor::Short(next_weight(&mut stream)), point))
        .collect();
    Way::for_sum_of(terms.len()).sum(&terms).point()
}

/// c, for the encodings of the aggregates and the commitments.
fn challenge(
    transcript: &[u8; 32],
    u_star: &[u8; 32],
    d_star: &[u8; 32],
    a: &[u8; 32],
    b: &[u8; 32],
) -> Scalar {
    Transcript::new(TAG_PROOF)
        .part(transcript)
        .part(u_star)
        .part(d_star)
        .part(a)
        .part(b)
        .scalar()
}

/// The most shares in one message: the most entries in a batch.
pub const SHARES_MAX: usize = 4096;
/// What a message has beside its shares, in bytes.
pub const SHARE_MESSAGE_OVERHEAD: usize = 1 + 16 + 8 + 32 + 1 + 4 + 3 * 32 + 64;
const SHARE_VERSION: u8 = 1;
const TAG_SHARE: &str = "fairlane/1/share";
const TAG_WEIGHTS: &str = "fairlane/1/share-weights";
const TAG_NONCE: &str = "fairlane/1/share-nonce";
const TAG_PROOF: &str = "fairlane/1/share-proof";
const TAG_MESSAGE: &str = "fairlane/1/share-message";

#[cfg(test)]
mod tests;
