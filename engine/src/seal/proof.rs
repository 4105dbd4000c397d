//! Checking envelopes, a batch at once.
//!
//! The proof of one envelope holds when z g = W + e U and z g2 = W2 + e U2. A batch is one multi-scalar multiplication:
//! the sum over j of a_j (z_j g - W_j - e_j U_j) + b_j (z_j g2 - W2_j - e_j U2_j) is the identity, with 128-bit weights
//! that nobody outside this process can foresee. If it is not, the halves are checked, down to the guilty ones.
//!
//! The weights decide only how a verdict is found, not what it is: two nodes with different secrets give the same
//! verdict on every envelope, except with probability 2^-128.
//!
//! Cost for m sealed envelopes: 4 m point decodings and a multi-scalar multiplication over 4 m + 2 points, half of them with
//! short factors; each guilty one adds about 2 log2(m) smaller sums. One by one by the library that is 4 us and 1 to 2 us a
//! point; in lanes (`seal/many.rs`), for many envelopes at once, a third of it.

use std::ops::{Deref, Range};
use std::sync::Arc;

use curve25519_dalek::scalar::Scalar;
use zeroize::Zeroizing;

use super::envelope::{Envelope, EnvelopeError, SealedFields};
use super::group::{EncodedPoint, base_generator, decode_scalar, next_weight, second_generator};
use super::key::SealingKey;
use super::label::EnvelopeKind;
use super::many::{Factor, Point, Way};
use crate::types::{ChainId, KeyId};

/// An envelope for this key whose proof holds (an open one has none to hold). Cloning is cheap.
#[derive(Clone, Debug)]
pub struct VerifiedEnvelope {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    envelope: Envelope,
    /// Boxed: open envelopes have none, and it is longer than all the rest.
    u: Option<Box<EncodedPoint>>,
}

impl VerifiedEnvelope {
    fn new(envelope: Envelope, u: Option<EncodedPoint>) -> Self {
        let u = u.map(Box::new);
        Self {
            inner: Arc::new(Inner { envelope, u }),
        }
    }

    /// An envelope from this node's own durable records: it was checked before it was recorded, and is not again.
    ///
    /// `is_known` says for which chain and key there are envelopes. One point decoding. Errors: it is not an envelope, or
    /// for another chain or key, so it is no such record.
    pub fn restore(
        bytes: Arc<[u8]>,
        is_known: impl FnOnce(ChainId, KeyId) -> bool,
    ) -> Result<Self, EnvelopeError> {
        let envelope = Envelope::decode(bytes)?;
        let label = envelope.label();
        if !is_known(label.chain_id, label.key_id) {
            return Err(EnvelopeError::WrongKey);
        }
        let u = envelope
            .sealed_fields()
            .map(|fields| EncodedPoint::decode(fields.u).ok_or(EnvelopeError::Malformed))
            .transpose()?;
        Ok(Self::new(envelope, u))
    }

    /// U, of which authorities give shares; `None` for an open envelope.
    pub fn u(&self) -> Option<&EncodedPoint> {
        self.inner.u.as_deref()
    }

    /// The envelope itself.
    pub fn envelope(&self) -> &Envelope {
        &self.inner.envelope
    }
}

impl AsRef<Envelope> for VerifiedEnvelope {
    fn as_ref(&self) -> &Envelope {
        self.envelope()
    }
}

impl Deref for VerifiedEnvelope {
    type Target = Envelope;

    fn deref(&self) -> &Envelope {
        self.envelope()
    }
}

/// Checks envelopes for the keys of a committee.
pub struct EnvelopeVerifier {
    keys: Vec<(ChainId, KeyId)>,
    process_secret: Zeroizing<[u8; 32]>,
}

impl EnvelopeVerifier {
    /// `process_secret` is 32 uniformly random bytes that nobody else knows; it is an input so that the core stays free
    /// of randomness of its own.
    pub fn new(key: SealingKey, process_secret: [u8; 32]) -> Self {
        let mut verifier = Self::without_keys(process_secret);
        verifier.set_keys([&key]);
        verifier
    }

    /// A verifier that takes no envelope until it is given keys.
    pub fn without_keys(process_secret: [u8; 32]) -> Self {
        Self {
            keys: Vec::new(),
            process_secret: Zeroizing::new(process_secret),
        }
    }

    /// Takes envelopes for these keys from now on, and for no others.
    pub fn set_keys<'a>(&mut self, keys: impl IntoIterator<Item = &'a SealingKey>) {
        let named = keys.into_iter().map(|key| (key.chain_id(), key.key_id()));
        self.keys = named.collect();
    }

    /// Checks `envelopes`; verdicts come in their order.
    ///
    /// Errors, one an envelope: [`EnvelopeError::WrongKey`] for another chain or key, [`EnvelopeError::Malformed`] for a
    /// point or scalar that is not canonical or is the identity, [`EnvelopeError::BadProof`].
    pub fn check(&self, envelopes: Vec<Envelope>) -> Vec<Result<VerifiedEnvelope, EnvelopeError>> {
        let is_open = |envelope: &Envelope| envelope.label().kind == EnvelopeKind::Open;
        if envelopes.iter().all(is_open) {
            let open = envelopes.into_iter().map(|envelope| {
                self.read(&envelope)?;
                Ok(VerifiedEnvelope::new(envelope, None))
            });
            return open.collect();
        }
        let fields: Vec<Result<Option<SealedFields<'_>>, EnvelopeError>> = envelopes
            .iter()
            .map(|envelope| self.read(envelope))
            .collect();
        let encodings: Vec<[u8; 32]> = fields
            .iter()
            .flatten()
            .flatten()
            .flat_map(|fields| [*fields.u, *fields.u2, *fields.w, *fields.w2])
            .collect();
        let points = Way::for_sum_of(encodings.len()).decode(&encodings);
        let mut points = points.as_chunks().0.iter();
        // Claims are long, and open envelopes have none.
        let mut claims: Vec<Claim> = Vec::with_capacity(encodings.len() / 4);
        let read: Vec<Result<EnvelopeKind, EnvelopeError>> = fields
            .into_iter()
            .map(|fields| {
                let Some(fields) = fields? else {
                    return Ok(EnvelopeKind::Open);
                };
                let points = points.next().expect("four points a sealed envelope");
                let claim = Claim::decode(&fields, points).ok_or(EnvelopeError::Malformed)?;
                claims.push(claim);
                Ok(EnvelopeKind::Sealed)
            })
            .collect();
        let holds = self.holds(&envelopes, &claims);
        let mut proven = claims.into_iter().zip(holds);
        envelopes
            .into_iter()
            .zip(read)
            .map(|(envelope, read)| match read? {
                EnvelopeKind::Open => Ok(VerifiedEnvelope::new(envelope, None)),
                EnvelopeKind::Sealed => match proven.next() {
                    Some((claim, true)) => Ok(VerifiedEnvelope::new(envelope, Some(claim.u))),
                    Some((_, false)) | None => Err(EnvelopeError::BadProof),
                },
            })
            .collect()
    }

    /// The cheap checks; `None` for an open envelope.
    fn read<'a>(&self, envelope: &'a Envelope) -> Result<Option<SealedFields<'a>>, EnvelopeError> {
        let label = envelope.label();
        if !self.keys.contains(&(label.chain_id, label.key_id)) {
            return Err(EnvelopeError::WrongKey);
        }
        Ok(envelope.sealed_fields())
    }

    /// Which claims hold.
    fn holds(&self, envelopes: &[Envelope], claims: &[Claim]) -> Vec<bool> {
        if claims.is_empty() {
            return Vec::new();
        }
        let mut hasher = blake3::Hasher::new_keyed(&self.process_secret);
        for envelope in envelopes {
            hasher.update(&envelope.digest().0);
        }
        let mut stream = hasher.finalize_xof();
        let weighted: Vec<Weighted<'_>> = claims
            .iter()
            .map(|claim| Weighted {
                claim,
                a: next_weight(&mut stream),
                b: next_weight(&mut stream),
            })
            .collect();

        let mut holds = vec![false; claims.len()];
        let mut open: Vec<Range<usize>> =
            Vec::from_iter((!claims.is_empty()).then_some(0..claims.len()));
        while let Some(range) = open.pop() {
            if sum_is_identity(&weighted[range.clone()]) {
                holds[range].fill(true);
            } else if range.len() > 1 {
                let middle = range.start + range.len() / 2;
                open.push(range.start..middle);
                open.push(middle..range.end);
            }
        }
        holds
    }
}

impl std::fmt::Debug for EnvelopeVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EnvelopeVerifier")
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

/// What the proof of a sealed envelope says, decoded.
struct Claim {
    u: EncodedPoint,
    u2: Point,
    w: Point,
    w2: Point,
    z: Scalar,
    e: Scalar,
}

impl Claim {
    /// `points` are U, U2, W and W2 as far as they decode. `None` if one does not, or z is not canonical.
    fn decode(fields: &SealedFields<'_>, points: &[Option<Point>; 4]) -> Option<Self> {
        let [u, u2, w, w2] = *points;
        Some(Self {
            z: decode_scalar(fields.z)?,
            u: EncodedPoint::new(u?)?,
            u2: u2?,
            w: w?,
            w2: w2?,
            e: fields.challenge(),
        })
    }
}

/// A claim with the weights of its two equations.
struct Weighted<'a> {
    claim: &'a Claim,
    a: u128,
    b: u128,
}

/// Whether the weighted sum of all equations is the identity.
fn sum_is_identity(weighted: &[Weighted<'_>]) -> bool {
    let (mut of_g, mut of_g2) = (Scalar::ZERO, Scalar::ZERO);
    let mut terms = Vec::with_capacity(4 * weighted.len() + 2);
    for Weighted { claim, a, b } in weighted {
        let (scalar_a, scalar_b) = (Scalar::from(*a), Scalar::from(*b));
        of_g -= scalar_a * claim.z;
        of_g2 -= scalar_b * claim.z;
        terms.extend([
            (Factor::Short(*a), &claim.w),
            (Factor::Full(scalar_a * claim.e), claim.u.as_point()),
            (Factor::Short(*b), &claim.w2),
            (Factor::Full(scalar_b * claim.e), &claim.u2),
        ]);
    }
    let way = Way::for_sum_of(terms.len() + 2);
    let generators = [base_generator(), second_generator()].map(|g| g.point_for(way));
    terms.extend([of_g, of_g2].map(Factor::Full).into_iter().zip(&generators));
    way.sum(&terms).is_identity()
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::ristretto::RistrettoPoint;

    use super::*;
    use crate::seal::fixture::{Net, crafted, fields};
    use crate::seal::{SEALED_OVERHEAD, open_envelope, seal};
    use crate::types::RollupId;

    const POINT_FIELDS: [(&str, usize); 4] = [("U", 64), ("U2", 96), ("W", 128), ("W2", 160)];

    fn decoded(all: &[Vec<u8>]) -> Vec<Envelope> {
        let decode = |bytes: &Vec<u8>| Envelope::decode(bytes.as_slice().into()).unwrap();
        all.iter().map(decode).collect()
    }

    fn verdicts(net: &Net, secret: u8, all: &[Vec<u8>]) -> Vec<Option<EnvelopeError>> {
        EnvelopeVerifier::new(net.key.clone(), [secret; 32])
            .check(decoded(all))
            .into_iter()
            .map(Result::err)
            .collect()
    }

    /// A proof that fails: z plus `by`.
    fn with_z_moved(mut bytes: Vec<u8>, by: Scalar) -> Vec<u8> {
        let z = bytes.last_chunk_mut::<32>().unwrap();
        *z = (decode_scalar(z).unwrap() + by).to_bytes();
        bytes
    }

    #[test]
    fn a_sealed_and_an_open_envelope_pass_with_and_without_u() {
        let net = Net::new(0, 4, 3);
        let sealed = net.sealed(b"payload", 1);
        let verified = net.check(sealed.clone()).unwrap();
        assert_eq!(verified.u().unwrap().bytes()[..], sealed[64..96]);
        assert_eq!(verified.bytes()[..], sealed);
        let open = open_envelope(&net.key, &fields(), b"payload").unwrap();
        assert!(net.check(open).unwrap().u().is_none());
    }

    #[test]
    fn an_envelope_with_any_bit_flipped_is_refused() {
        let net = Net::new(0, 4, 3);
        let sealed = net.sealed(b"small", 1);
        for at in 0..sealed.len() {
            for bit in 0..8 {
                let mut flipped = sealed.clone();
                flipped[at] ^= 1 << bit;
                assert!(net.check(flipped).is_err(), "byte {at} bit {bit}");
            }
        }
    }

    #[test]
    fn a_proof_copied_under_another_label_is_refused() {
        let net = Net::new(0, 4, 3);
        let sealed = net.sealed(b"victim", 1);
        let mut other = fields();
        other.rollup = RollupId(6);
        let label = seal(&net.key, &other, b"victim", &[2; 64]).unwrap()[..64].to_vec();
        let copied = [&label[..], &sealed[64..]].concat();
        assert_eq!(net.check(copied).err(), Some(EnvelopeError::BadProof));
    }

    #[test]
    fn a_copied_u_with_content_of_its_own_is_refused() {
        let net = Net::new(0, 4, 3);
        let (victim, own) = (net.sealed(b"victim", 1), net.sealed(b"thief!", 2));
        for (name, fields) in [
            ("U", 64..96),
            ("U and U2", 64..128),
            ("all points", 64..192),
        ] {
            let mut copied = own.clone();
            copied[fields.clone()].copy_from_slice(&victim[fields]);
            assert_eq!(
                net.check(copied).err(),
                Some(EnvelopeError::BadProof),
                "{name}"
            );
        }
    }

    /// A proof of r = 5 with these U2, W and W2 and the z that an honest prover with s = 6 would give.
    fn with_points(net: &Net, points: [RistrettoPoint; 3]) -> Vec<u8> {
        let (r, s) = (Scalar::from(5u64), Scalar::from(6u64));
        let mut bytes = crafted(&net.key, r, r, &[1; 40]);
        for (at, point) in [96, 128, 160].into_iter().zip(points) {
            bytes[at..at + 32].copy_from_slice(point.compress().as_bytes());
        }
        let envelope = decoded(std::slice::from_ref(&bytes)).remove(0);
        let z = s + r * envelope.sealed_fields().unwrap().challenge();
        *bytes.last_chunk_mut::<32>().unwrap() = z.to_bytes();
        bytes
    }

    #[test]
    fn each_equation_is_checked_and_the_two_cannot_cancel() {
        let net = Net::new(0, 4, 3);
        let (r, s) = (Scalar::from(5u64), Scalar::from(6u64));
        let second = second_generator().library();
        let (u2, w, w2) = (second * r, RistrettoPoint::mul_base(&s), second * s);
        assert!(
            net.check(with_points(&net, [u2, w, w2])).is_ok(),
            "the honest points"
        );
        for (name, points) in [
            ("only the first holds", [u2 + second, w, w2]),
            ("only the second holds", [u2, w + second, w2]),
            ("only their sum holds", [u2, w + second, w2 - second]),
        ] {
            let verdict = net.check(with_points(&net, points)).err();
            assert_eq!(verdict, Some(EnvelopeError::BadProof), "{name}");
        }
    }

    #[test]
    fn identity_and_non_canonical_fields_are_malformed() {
        let net = Net::new(0, 4, 3);
        let sealed = net.sealed(b"payload", 1);
        for (name, at) in POINT_FIELDS {
            for bad in [[0; 32], [0xff; 32]] {
                let mut bytes = sealed.clone();
                bytes[at..at + 32].copy_from_slice(&bad);
                assert_eq!(
                    net.check(bytes).err(),
                    Some(EnvelopeError::Malformed),
                    "{name}"
                );
            }
        }
        // z plus the group order stands for the same scalar.
        let order = hex::decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
        let mut bytes = sealed.clone();
        let mut carry = 0;
        for (byte, add) in bytes
            .last_chunk_mut::<32>()
            .unwrap()
            .iter_mut()
            .zip(order.unwrap())
        {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            (*byte, carry) = (sum as u8, sum >> 8);
        }
        assert_eq!(net.check(bytes).err(), Some(EnvelopeError::Malformed));
    }

    #[test]
    fn an_identity_u_with_a_proof_that_holds_is_malformed() {
        let net = Net::new(0, 4, 3);
        let bytes = crafted(&net.key, Scalar::ZERO, Scalar::ZERO, &[0; 40]);
        assert_eq!(net.check(bytes).err(), Some(EnvelopeError::Malformed));
    }

    #[test]
    fn another_epoch_or_chain_is_the_wrong_key() {
        let (net, next) = (Net::new(0, 4, 3), Net::new(1, 4, 3));
        assert_eq!(
            net.check(next.sealed(b"a", 1)).err(),
            Some(EnvelopeError::WrongKey)
        );
        let open = open_envelope(&next.key, &fields(), b"a").unwrap();
        assert_eq!(net.check(open).err(), Some(EnvelopeError::WrongKey));
        let mut other_chain = net.sealed(b"a", 1);
        other_chain[19] ^= 1;
        assert_eq!(net.check(other_chain).err(), Some(EnvelopeError::WrongKey));
    }

    #[test]
    fn a_batch_finds_the_guilty_wherever_they_stand() {
        let net = Net::new(0, 4, 3);
        let good: Vec<Vec<u8>> = (0..7).map(|i| net.sealed(b"payload", i)).collect();
        for guilty in 0u32..1 << good.len() {
            let spoil = |(i, bytes): (usize, &Vec<u8>)| match guilty >> i & 1 {
                0 => bytes.clone(),
                _ => with_z_moved(bytes.clone(), Scalar::ONE),
            };
            let batch: Vec<Vec<u8>> = good.iter().enumerate().map(spoil).collect();
            let expected: Vec<_> = (0..good.len())
                .map(|i| (guilty >> i & 1 == 1).then_some(EnvelopeError::BadProof))
                .collect();
            assert_eq!(verdicts(&net, 1, &batch), expected);
        }
    }

    #[test]
    fn a_mixed_batch_gets_each_verdict_in_its_place() {
        let (net, next) = (Net::new(0, 4, 3), Net::new(1, 4, 3));
        let mut malformed = net.sealed(b"d", 4);
        malformed[64..96].fill(0);
        let batch = [
            net.sealed(b"a", 1),
            open_envelope(&net.key, &fields(), b"b").unwrap(),
            next.sealed(b"c", 3),
            malformed,
            with_z_moved(net.sealed(b"e", 5), Scalar::ONE),
            net.sealed(b"f", 6),
        ];
        let expected = [
            None,
            None,
            Some(EnvelopeError::WrongKey),
            Some(EnvelopeError::Malformed),
            Some(EnvelopeError::BadProof),
            None,
        ];
        assert_eq!(verdicts(&net, 1, &batch), expected);
        assert_eq!(
            verdicts(&net, 2, &batch),
            expected,
            "the secret changes no verdict"
        );
        let verifier = EnvelopeVerifier::new(net.key.clone(), [1; 32]);
        let passed = verifier.check(decoded(&batch)).remove(5).unwrap();
        assert_eq!(
            passed.u().unwrap().bytes()[..],
            batch[5][64..96],
            "U stays with its own"
        );
        assert!(verifier.check(Vec::new()).is_empty());
    }

    #[test]
    fn errors_that_cancel_in_a_plain_sum_do_not_pass() {
        let net = Net::new(0, 4, 3);
        let by = Scalar::from(3u64);
        let batch = [
            with_z_moved(net.sealed(b"a", 1), by),
            with_z_moved(net.sealed(b"b", 2), -by),
        ];
        assert_eq!(
            verdicts(&net, 1, &batch),
            [Some(EnvelopeError::BadProof); 2]
        );
        assert_eq!(batch[0].len(), SEALED_OVERHEAD + 1);
    }

    #[test]
    fn the_process_secret_is_not_printed() {
        let verifier = EnvelopeVerifier::new(Net::new(0, 4, 3).key, [0xab; 32]);
        let printed = format!("{verifier:?}").to_lowercase();
        assert!(!printed.contains("abab") && !printed.contains("171, 171"));
    }
}
