//! The scheme written plainly, from the formulas: no tables, no halves, no batches, nothing of the engine's. What it
//! gives is held against the engine, step by step, by `main.rs`.

use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit, Nonce};
use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::Identity;

pub(crate) fn encode(point: &RistrettoPoint) -> [u8; 32] {
    point.compress().to_bytes()
}

pub(crate) fn g() -> RistrettoPoint {
    RistrettoPoint::mul_base(&Scalar::ONE)
}

pub(crate) fn g2() -> RistrettoPoint {
    RistrettoPoint::from_uniform_bytes(&stream("fairlane/1/second-generator", &[]))
}

fn hasher(tag: &str, parts: &[&[u8]]) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new_derive_key(tag);
    for part in parts {
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher
}

fn stream<const LEN: usize>(tag: &str, parts: &[&[u8]]) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    hasher(tag, parts).finalize_xof().fill(&mut bytes);
    bytes
}

pub(crate) fn hash(tag: &str, parts: &[&[u8]]) -> [u8; 32] {
    stream(tag, parts)
}

pub(crate) fn wide(tag: &str, parts: &[&[u8]]) -> Scalar {
    Scalar::from_bytes_mod_order_wide(&stream(tag, parts))
}

/// The least common multiple of the denominators of all Lagrange coefficients at 0; 1 above sixteen authorities.
pub(crate) fn delta(n: u32, t: u32) -> u64 {
    let mut delta = 1;
    if n > 16 {
        return delta;
    }
    for set in (0u32..1 << n).filter(|set| set.count_ones() == t) {
        let members: Vec<i128> = (0..n)
            .filter(|bit| set >> bit & 1 == 1)
            .map(|bit| i128::from(bit) + 1)
            .collect();
        for at in &members {
            let others = || members.iter().filter(|other| *other != at);
            let numerator: i128 = others().product();
            let denominator: i128 = others().map(|other| other - at).product();
            let lowest = (denominator / gcd(numerator, denominator)).unsigned_abs() as u64;
            delta = delta / gcd(delta.into(), lowest.into()) as u64 * lowest;
        }
    }
    delta
}

fn gcd(a: i128, b: i128) -> i128 {
    if b == 0 { a.abs() } else { gcd(b, a % b) }
}

/// The Lagrange coefficient at 0 of `author` among `authors`, both from 0.
pub(crate) fn lambda(author: u8, authors: &[u8]) -> Scalar {
    let at = Scalar::from(u64::from(author) + 1);
    let others = authors.iter().filter(|other| **other != author);
    others
        .map(|other| Scalar::from(u64::from(*other) + 1))
        .map(|other| other * (other - at).invert())
        .product()
}

/// A dealt key: coefficients, Delta, X and its id, and the secret of each authority.
pub(crate) struct Key {
    pub(crate) polynomial: Vec<Scalar>,
    pub(crate) delta: u64,
    pub(crate) x: RistrettoPoint,
    pub(crate) key_id: [u8; 16],
    pub(crate) secrets: Vec<Scalar>,
}

pub(crate) fn deal(chain_id: u64, epoch: u32, n: u32, t: u32, entropy: &[u8; 32]) -> Key {
    let [chain_id, epoch] = [&chain_id.to_be_bytes()[..], &epoch.to_be_bytes()[..]];
    let (count, threshold) = (n.to_be_bytes(), t.to_be_bytes());
    let coefficient = |power: u32| {
        let power = power.to_be_bytes();
        let parts = [entropy, chain_id, epoch, &count, &threshold, &power];
        wide("fairlane/1/deal", &parts)
    };
    let polynomial: Vec<Scalar> = (0..t).map(coefficient).collect();
    let secret = |author: u32| -> Scalar {
        let at = Scalar::from(author + 1);
        let terms = polynomial.iter().enumerate();
        terms
            .map(|(power, c)| (0..power).fold(*c, |term, _| term * at))
            .sum()
    };
    let secrets = (0..n).map(secret).collect();
    let delta = delta(n, t);
    let x = g() * (polynomial[0] * Scalar::from(2 * delta));
    let parts = [
        chain_id,
        epoch,
        &count,
        &threshold,
        &delta.to_be_bytes(),
        &encode(&x),
    ];
    let id = hash("fairlane/1/key-id", &parts);
    Key {
        polynomial,
        delta,
        x,
        key_id: *id.first_chunk().unwrap(),
        secrets,
    }
}

/// Every value that comes up in sealing.
pub(crate) struct Sealed {
    pub(crate) r: Scalar,
    pub(crate) s: Scalar,
    /// U, U2, W, W2.
    pub(crate) points: [[u8; 32]; 4],
    pub(crate) d: [u8; 32],
    pub(crate) content_key: [u8; 32],
    pub(crate) ciphertext: Vec<u8>,
    pub(crate) e: Scalar,
    pub(crate) z: Scalar,
}

/// Seals; `carried` is the payload with its padding.
pub(crate) fn seal(
    x: &RistrettoPoint,
    label: &[u8],
    payload: &[u8],
    carried: &[u8],
    entropy: &[u8; 64],
) -> Sealed {
    let secret = |tag| wide(tag, &[entropy, label, payload]);
    let (r, s) = (secret("fairlane/1/seal-r"), secret("fairlane/1/seal-s"));
    let points = [g() * r, g2() * r, g() * s, g2() * s].map(|point| encode(&point));
    let d = encode(&(x * r));
    let content_key = hash("fairlane/1/kem", &[&points[0], &d, label]);
    let mut ciphertext = [r.as_bytes(), carried].concat();
    ChaCha20Poly1305::new(&content_key.into())
        .encrypt_in_place(&Nonce::default(), &[], &mut ciphertext)
        .unwrap();
    let [u, u2, w, w2] = &points;
    let e = wide("fairlane/1/envelope", &[label, u, u2, w, w2, &ciphertext]);
    Sealed {
        r,
        s,
        points,
        d,
        content_key,
        e,
        z: s + r * e,
        ciphertext,
    }
}

/// Every value that comes up in making an authority's shares.
pub(crate) struct Shares {
    pub(crate) shares: Vec<[u8; 32]>,
    pub(crate) t: [u8; 32],
    pub(crate) rho: Vec<Scalar>,
    pub(crate) u_star: [u8; 32],
    pub(crate) d_star: [u8; 32],
    pub(crate) nonce: Scalar,
    pub(crate) a: [u8; 32],
    pub(crate) b: [u8; 32],
    pub(crate) c: Scalar,
    pub(crate) zeta: Scalar,
}

/// The shares of `author` with their proof; `context` is key id, seq and order root.
pub(crate) fn shares(
    secret: &Scalar,
    author: u8,
    context: [&[u8]; 3],
    us: &[RistrettoPoint],
) -> Shares {
    let ds: Vec<RistrettoPoint> = us.iter().map(|u| u * secret).collect();
    let encoded = |points: &[RistrettoPoint]| points.iter().map(encode).collect::<Vec<_>>();
    let (u_bytes, shares) = (encoded(us), encoded(&ds));
    let x_i = encode(&(g() * secret));
    let count = (us.len() as u64).to_be_bytes();
    let author = [author];
    let mut parts: Vec<&[u8]> = context.to_vec();
    parts.extend([&author[..], &x_i, &count]);
    parts.extend(u_bytes.iter().chain(&shares).map(|bytes| &bytes[..]));
    let t = hash("fairlane/1/share", &parts);

    let mut stream = hasher("fairlane/1/share-weights", &[&t]).finalize_xof();
    let rho: Vec<Scalar> = us
        .iter()
        .map(|_| {
            let mut weight = [0; 16];
            stream.fill(&mut weight);
            Scalar::from(u128::from_le_bytes(weight))
        })
        .collect();
    let sum = |points: &[RistrettoPoint]| {
        let terms = rho.iter().zip(points).map(|(rho, point)| rho * point);
        terms.fold(RistrettoPoint::identity(), |sum, term| sum + term)
    };
    let (u_star, d_star) = (sum(us), sum(&ds));
    let nonce = wide("fairlane/1/share-nonce", &[secret.as_bytes(), &t]);
    let (a, b) = (encode(&(g() * nonce)), encode(&(u_star * nonce)));
    let (u_star, d_star) = (encode(&u_star), encode(&d_star));
    let c = wide("fairlane/1/share-proof", &[&t, &u_star, &d_star, &a, &b]);
    Shares {
        shares,
        t,
        rho,
        u_star,
        d_star,
        nonce,
        a,
        b,
        c,
        zeta: nonce + c * secret,
    }
}
