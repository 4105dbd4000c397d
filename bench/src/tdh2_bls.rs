//! The sealing over BLS12-381 G1 instead of ristretto255: the same scheme, the same batching, by blst. Only here, so that the
//! choice of group stays a measured one.
//!
//! As in the engine: proofs of a batch in one sum with 128-bit weights, one proof for all shares of a message, small
//! integers for the coefficients up to sixteen authorities, points normalised together before they are encoded. What differs
//! is what the group gives: 48 bytes a point, a subgroup check at every decoding, no table for fixed bases.
//!
//! Not for use: scalars drawn from hashes have 254 bits, and nothing is erased.

use blst::{MultiPoint, blst_p1, blst_p1_affine, p1_affines};
use blstrs::{G1Affine, G1Projective, Scalar};
use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit, Nonce};
use group::ff::Field;
use group::prime::PrimeCurveAffine;
use group::{Curve, Group};

/// A committee with all its secrets.
pub struct Bls {
    delta: u64,
    second: G1Projective,
    key: G1Projective,
    secrets: Vec<Scalar>,
    publics: Vec<G1Affine>,
}

/// A sealed envelope.
#[derive(Clone)]
pub struct Sealed {
    label: [u8; 64],
    /// U, U2, W, W2.
    points: [[u8; 48]; 4],
    ciphertext: Vec<u8>,
    z: Scalar,
}

/// An authority's shares for a batch, without the header and the signature that both groups have.
#[derive(Clone)]
pub struct Shares {
    author: usize,
    shares: Vec<[u8; 48]>,
    a: [u8; 48],
    b: [u8; 48],
    zeta: Scalar,
}

impl Bls {
    /// Deals a committee; `delta` is that of the engine's key for as many.
    pub fn of(authorities: u32, threshold: u32, delta: u64) -> Self {
        let polynomial: Vec<Scalar> = (0..threshold)
            .map(|power| scalar("deal", &[&power.to_be_bytes()]))
            .collect();
        let value = |at: u32| {
            let at = Scalar::from(u64::from(at));
            let coefficients = polynomial.iter().rev();
            coefficients.fold(Scalar::ZERO, |sum, c| sum * at + c)
        };
        let secrets: Vec<Scalar> = (1..=authorities).map(value).collect();
        let publics = secrets.iter().map(|x| (base() * x).to_affine());
        Self {
            delta,
            second: G1Projective::hash_to_curve(b"second", b"bench", &[]),
            key: base() * (polynomial[0] * Scalar::from(delta)),
            publics: publics.collect(),
            secrets,
        }
    }

    /// Seals `payload`; `number` stands for fresh randomness.
    pub fn seal(&self, payload: &[u8], number: u32) -> Sealed {
        let label = [7; 64];
        let secret = |tag| scalar(tag, &[&number.to_be_bytes(), payload]);
        let (r, s) = (secret("r"), secret("s"));
        let points = normalised(&[
            base() * r,
            self.second * r,
            base() * s,
            self.second * s,
            self.key * r,
        ]);
        let encoded: [[u8; 48]; 5] = std::array::from_fn(|at| points[at].to_compressed());
        let [u, u2, w, w2, d] = encoded;
        let mut ciphertext = [&r.to_bytes_le()[..], payload].concat();
        cipher(&u, &d, &label)
            .encrypt_in_place(&Nonce::default(), &[], &mut ciphertext)
            .expect("a payload is far below the cipher's bound");
        let mut sealed = Sealed {
            label,
            points: [u, u2, w, w2],
            ciphertext,
            z: Scalar::ZERO,
        };
        sealed.z = s + r * sealed.challenge();
        sealed
    }

    /// The U of each envelope, if every point decodes and every proof holds.
    pub fn check(&self, sealed: &[Sealed]) -> Option<Vec<G1Affine>> {
        let mut weights = weights("check", sealed.iter().map(|s| s.z.to_bytes_le()));
        let mut us = Vec::with_capacity(sealed.len());
        let (mut short, mut long) = (Sum::default(), Sum::default());
        let (mut of_g, mut of_second) = (Scalar::ZERO, Scalar::ZERO);
        for sealed in sealed {
            let points: Vec<G1Affine> = sealed.points.iter().map(decode).collect::<Option<_>>()?;
            let (a, b) = (weights.draw(), weights.draw());
            let e = sealed.challenge();
            short.add(&points[2], a.0);
            short.add(&points[3], b.0);
            long.add(&points[0], (a.1 * e).to_bytes_le());
            long.add(&points[1], (b.1 * e).to_bytes_le());
            of_g += a.1 * sealed.z;
            of_second += b.1 * sealed.z;
            us.push(points[0]);
        }
        let right = base() * of_g + self.second * of_second;
        (short.total() + long.total() == right).then_some(us)
    }

    /// The shares of `author` for the batch of `us`, with their proof.
    pub fn share(&self, author: usize, us: &[G1Affine]) -> Shares {
        let secret = &self.secrets[author];
        let products: Vec<G1Projective> = us.iter().map(|u| u * secret).collect();
        let products = normalised(&products);
        let shares: Vec<[u8; 48]> = products.iter().map(G1Affine::to_compressed).collect();
        let (t, u_star, _) = self.aggregate(author, us, &shares, None);
        let nonce = scalar("nonce", &[&secret.to_bytes_le(), &t]);
        let points = [u_star, u_star * secret, base() * nonce, u_star * nonce];
        let encoded = normalised(&points);
        let [u_star, d_star, a, b] = [0, 1, 2, 3].map(|at| encoded[at].to_compressed());
        let c = scalar("proof", &[&t, &u_star, &d_star, &a, &b]);
        Shares {
            author,
            shares,
            a,
            b,
            zeta: nonce + c * secret,
        }
    }

    /// The D of a message, decoded and nothing more.
    pub fn claim(&self, message: &Shares) -> Option<Vec<G1Affine>> {
        message.shares.iter().map(decode).collect()
    }

    /// The D of a message whose proof holds.
    pub fn verify(&self, message: &Shares, us: &[G1Affine]) -> Option<Vec<G1Affine>> {
        if message.shares.len() != us.len() {
            return None;
        }
        let points = self.claim(message)?;
        let (a, b) = (decode(&message.a)?, decode(&message.b)?);
        let (author, shares) = (message.author, &message.shares);
        let (t, u_star, d_star) = self.aggregate(author, us, shares, Some(&points));
        let encoded = normalised(&[u_star, d_star]);
        let [u_bytes, d_bytes] = [0, 1].map(|at| encoded[at].to_compressed());
        let c = scalar("proof", &[&t, &u_bytes, &d_bytes, &message.a, &message.b]);
        let same_base = base() * message.zeta == self.publics[author] * c + a;
        let same_ratio = u_star * message.zeta == d_star * c + b;
        (same_base && same_ratio).then_some(points)
    }

    /// T, U* and, for these points, D*.
    fn aggregate(
        &self,
        author: usize,
        us: &[G1Affine],
        shares: &[[u8; 48]],
        points: Option<&[G1Affine]>,
    ) -> ([u8; 32], G1Projective, G1Projective) {
        let mut parts = vec![self.publics[author].to_compressed()];
        parts.extend(us.iter().map(G1Affine::to_compressed));
        parts.extend(shares);
        let parts: Vec<&[u8]> = parts.iter().map(|part| &part[..]).collect();
        let t = *hash("share", &parts).finalize().as_bytes();
        let mut weights = weights("weights", [t]);
        let (mut u_star, mut d_star) = (Sum::default(), Sum::default());
        for (at, u) in us.iter().enumerate() {
            let weight = weights.draw().0;
            u_star.add(u, weight);
            if let Some(points) = points {
                d_star.add(&points[at], weight);
            }
        }
        (t, u_star.total(), d_star.total())
    }

    /// D of every entry from the shares of these authorities.
    pub fn combine(&self, authors: &[usize], shares: &[Vec<G1Affine>]) -> Vec<G1Affine> {
        let entries = 0..shares[0].len();
        let combined: Vec<G1Projective> = if self.publics.len() <= 16 {
            let digits: Vec<Vec<i8>> = authors
                .iter()
                .map(|author| signed_digits(self.small_coefficient(*author, authors)))
                .collect();
            entries
                .map(|at| small_combination(&digits, |share| &shares[share][at]))
                .collect()
        } else {
            let coefficients: Vec<[u8; 32]> = authors
                .iter()
                .map(|author| coefficient(*author, authors).to_bytes_le())
                .collect();
            entries
                .map(|at| {
                    let points: Vec<blst_p1_affine> =
                        shares.iter().map(|points| *points[at].as_ref()).collect();
                    projective(&points[..].mult(coefficients.as_flattened(), 255))
                })
                .collect()
        };
        normalised(&combined)
    }

    /// Delta lambda, exactly.
    fn small_coefficient(&self, author: usize, authors: &[usize]) -> i128 {
        let others = || authors.iter().filter(|other| **other != author);
        let numerator: i128 = others().map(|other| *other as i128 + 1).product();
        let denominator: i128 = others()
            .map(|other| *other as i128 - author as i128)
            .product();
        i128::from(self.delta) * numerator / denominator
    }

    /// r and the payload of each envelope, if under these D every one opens with U = r g and D = r X.
    pub fn open(
        &self,
        sealed: &[Sealed],
        us: &[G1Affine],
        ds: &[G1Affine],
    ) -> Option<Vec<(Scalar, Vec<u8>)>> {
        let mut weights = weights("reveals", sealed.iter().map(|s| s.z.to_bytes_le()));
        let mut opened = Vec::with_capacity(sealed.len());
        let mut sum = Sum::default();
        let (mut of_g, mut of_key) = (Scalar::ZERO, Scalar::ZERO);
        for ((sealed, u), d) in sealed.iter().zip(us).zip(ds) {
            let mut content = sealed.ciphertext.clone();
            cipher(&sealed.points[0], &d.to_compressed(), &sealed.label)
                .decrypt_in_place(&Nonce::default(), &[], &mut content)
                .ok()?;
            let (r, payload) = content.split_first_chunk()?;
            let r: Scalar = Option::from(Scalar::from_bytes_le(r))?;
            let (a, b) = (weights.draw(), weights.draw());
            sum.add(u, a.0);
            sum.add(d, b.0);
            of_g += a.1 * r;
            of_key += b.1 * r;
            opened.push((r, payload.to_vec()));
        }
        (sum.total() == base() * of_g + self.key * of_key).then_some(opened)
    }
}

impl Sealed {
    /// Its length on the wire, in bytes.
    pub fn wire_len(&self) -> usize {
        self.label.len() + self.points.as_flattened().len() + self.ciphertext.len() + 32
    }

    fn challenge(&self) -> Scalar {
        let [u, u2, w, w2] = &self.points;
        scalar("envelope", &[&self.label, u, u2, w, w2, &self.ciphertext])
    }
}

impl Shares {
    /// Its length on the wire with the header and the signature of the engine's messages, in bytes.
    pub fn wire_len(&self) -> usize {
        1 + 16 + 8 + 32 + 1 + 4 + self.shares.as_flattened().len() + 2 * 48 + 32 + 64
    }
}

/// Points and scalars of `LEN` bytes that are summed in one multi-scalar multiplication.
struct Sum<const LEN: usize> {
    points: Vec<blst_p1_affine>,
    scalars: Vec<u8>,
}

impl<const LEN: usize> Default for Sum<LEN> {
    fn default() -> Self {
        Self {
            points: Vec::new(),
            scalars: Vec::new(),
        }
    }
}

impl<const LEN: usize> Sum<LEN> {
    fn add(&mut self, point: &G1Affine, scalar: [u8; LEN]) {
        self.points.push(*point.as_ref());
        self.scalars.extend(scalar);
    }

    fn total(&self) -> G1Projective {
        if self.points.is_empty() {
            return G1Projective::identity();
        }
        projective(&self.points[..].mult(&self.scalars, 8 * LEN))
    }
}

/// Draws 128-bit weights.
struct Weights(blake3::OutputReader);

impl Weights {
    /// As bytes, least first, and as a scalar.
    fn draw(&mut self) -> ([u8; 16], Scalar) {
        let mut bytes = [0; 32];
        self.0.fill(&mut bytes[..16]);
        let scalar = Option::from(Scalar::from_bytes_le(&bytes)).expect("128 bits are a scalar");
        let (weight, _) = bytes.split_first_chunk().expect("32 bytes hold 16");
        (*weight, scalar)
    }
}

fn weights(tag: &str, parts: impl IntoIterator<Item = [u8; 32]>) -> Weights {
    let parts: Vec<[u8; 32]> = parts.into_iter().collect();
    let parts: Vec<&[u8]> = parts.iter().map(|part| &part[..]).collect();
    Weights(hash(tag, &parts).finalize_xof())
}

fn hash(tag: &str, parts: &[&[u8]]) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new_derive_key(tag);
    for part in parts {
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher
}

fn scalar(tag: &str, parts: &[&[u8]]) -> Scalar {
    let mut bytes = *hash(tag, parts).finalize().as_bytes();
    bytes[31] &= 0x3f;
    Option::from(Scalar::from_bytes_le(&bytes)).expect("254 bits are below the order")
}

fn cipher(u: &[u8; 48], d: &[u8; 48], label: &[u8; 64]) -> ChaCha20Poly1305 {
    let key = *hash("kem", &[u, d, label]).finalize().as_bytes();
    ChaCha20Poly1305::new(&key.into())
}

fn base() -> G1Projective {
    G1Projective::generator()
}

/// Strictly: canonical, in the subgroup, not the identity.
fn decode(bytes: &[u8; 48]) -> Option<G1Affine> {
    let point: Option<G1Affine> = G1Affine::from_compressed(bytes).into();
    point.filter(|point| !bool::from(point.is_identity()))
}

fn projective(point: &blst_p1) -> G1Projective {
    G1Projective::from_raw_unchecked(point.x.into(), point.y.into(), point.z.into())
}

/// All of them with one inversion.
fn normalised(points: &[G1Projective]) -> Vec<G1Affine> {
    let points: Vec<blst_p1> = points.iter().map(|point| *point.as_ref()).collect();
    let affine = p1_affines::from(&points);
    let affine = affine.as_slice().iter();
    affine
        .map(|point| G1Affine::from_raw_unchecked(point.x.into(), point.y.into(), false))
        .collect()
}

/// lambda for committees above sixteen.
fn coefficient(author: usize, authors: &[usize]) -> Scalar {
    let at = Scalar::from(author as u64 + 1);
    let others = authors.iter().filter(|other| **other != author);
    let (mut numerator, mut denominator) = (Scalar::ONE, Scalar::ONE);
    for other in others.map(|other| Scalar::from(*other as u64 + 1)) {
        numerator *= other;
        denominator *= other - at;
    }
    numerator * denominator.invert().expect("authors are different")
}

/// As the engine's: digits -1, 0, 1, least first, no two neighbours both non-zero.
fn signed_digits(mut rest: i128) -> Vec<i8> {
    let mut digits = Vec::new();
    while rest != 0 {
        let digit = match rest.rem_euclid(4) {
            1 => 1,
            3 => -1,
            _ => 0,
        };
        digits.push(digit);
        rest = (rest - i128::from(digit)) / 2;
    }
    digits
}

fn small_combination<'a>(
    digits: &[Vec<i8>],
    point: impl Fn(usize) -> &'a G1Affine,
) -> G1Projective {
    let length = digits.iter().map(Vec::len).max().unwrap_or(0);
    let mut sum = G1Projective::identity();
    for place in (0..length).rev() {
        sum = sum.double();
        for (share, digits) in digits.iter().enumerate() {
            match digits.get(place) {
                Some(1) => sum += point(share),
                Some(-1) => sum -= point(share),
                _ => {}
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sealing::Sealing;

    fn opens(authorities: u32, threshold: u32) {
        let delta = Sealing::of(authorities, threshold).key.delta();
        let bls = Bls::of(authorities, threshold, delta);
        let sealed: Vec<Sealed> = (0..3).map(|number| bls.seal(b"payload", number)).collect();
        let us = bls.check(&sealed).unwrap();
        let authors: Vec<usize> = (0..authorities as usize).collect();
        for authors in authors.windows(threshold as usize) {
            let messages = authors.iter().map(|author| bls.share(*author, &us));
            let points: Vec<Vec<G1Affine>> = messages
                .map(|message| bls.verify(&message, &us).unwrap())
                .collect();
            let ds = bls.combine(authors, &points);
            let opened = bls.open(&sealed, &us, &ds).unwrap();
            assert!(opened.iter().all(|(_, payload)| payload == b"payload"));
        }
    }

    #[test]
    fn any_t_shares_open_with_small_and_with_full_coefficients() {
        for (authorities, threshold) in [(4, 3), (7, 5), (16, 11), (17, 12)] {
            opens(authorities, threshold);
        }
    }

    #[test]
    fn what_was_changed_does_not_hold() {
        let bls = Bls::of(4, 3, Sealing::of(4, 3).key.delta());
        let sealed: Vec<Sealed> = (0..3).map(|number| bls.seal(b"payload", number)).collect();
        let us = bls.check(&sealed).unwrap();
        let mut changed = sealed.clone();
        changed[1].ciphertext[0] ^= 1;
        assert!(bls.check(&changed).is_none());
        let message = bls.share(0, &us);
        let mut permuted = message.clone();
        permuted.shares.swap(0, 1);
        assert!(bls.verify(&message, &us).is_some());
        assert!(bls.verify(&permuted, &us).is_none());
        let points: Vec<Vec<G1Affine>> = [&permuted, &bls.share(1, &us), &bls.share(2, &us)]
            .iter()
            .map(|message| bls.claim(message).unwrap())
            .collect();
        let ds = bls.combine(&[0, 1, 2], &points);
        assert!(bls.open(&sealed, &us, &ds).is_none());
        assert_eq!(sealed[0].wire_len(), 64 + 4 * 48 + 32 + 7 + 16 + 32);
        assert_eq!(message.wire_len(), 254 + 3 * 48);
    }
}
