//! Opening: t proven shares give D, and D with the envelope's bytes decides revealed or void.
//!
//! An envelope is revealed just when C opens under K(D), its first 32 bytes are a canonical r, and U = r g; else it is
//! void: data, never an error. D is unique, since the shares are proven, so every node decides the same, whichever t
//! authorities it heard first. (A client that seals garbage under a valid proof therefore hurts nobody but itself.)
//!
//! Opening is optimistic: any t shares are combined unproven, and what they open counts if U = r g and D = r X for every
//! entry (checked together), because that D is then the true one. Else the proofs are checked and t proven shares decide.
//! (A commitment chosen by the client in place of D = r X would not do: with one faulty authority the envelope would open
//! on the nodes that used its false share, and be void on the others.)
//!
//! After a reveal r is public: with it anyone recomputes D = r X and checks the reveal from the envelope alone.
//!
//! Variable time throughout: shares, coefficients and r are public by now.
//!
//! Cost an entry: combining is about 8 to 59 doublings and a third as many additions a share (n <= 16), and a share of
//! one inversion, eight entries at a time where the machine has the instructions (`seal/many.rs`); checking reveals is
//! two points of a multi-scalar multiplication with short factors; opening a proven one is one fixed-base multiplication
//! and the cipher.

use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit, Nonce};
use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;

use super::envelope::{Envelope, SECRET_LEN, SealedFields, TAG_LEN};
use super::group::{EncodedPoint, base_generator, decode_scalar, next_weight};
use super::key::SealingKey;
use super::lagrange::Coefficients;
use super::many::{Factor, Point, Way, double_fixed_products};
use super::share::{SharePoints, VerifiedShare};
use crate::types::AuthoritySet;

/// D = r X of one sealed envelope, encoded: combined from proven shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedPoint([u8; 32]);

impl SharedPoint {
    /// Its encoding.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// What unproven shares combine to: r X if they are true ones, which [`reveals_hold`] finds out.
#[derive(Clone, Copy, Debug)]
pub struct ClaimedPoint(Point);

impl ClaimedPoint {
    /// Its encoding.
    #[cfg(feature = "sim")]
    pub(crate) const fn encoding(&self) -> &[u8; 32] {
        self.0.encoding()
    }
}

/// Combines the proven shares of exactly t different authorities for one batch into its D, in the batch's order.
///
/// Errors: see [`CombineError`].
pub fn combine(
    key: &SealingKey,
    shares: &[&VerifiedShare],
) -> Result<Vec<SharedPoint>, CombineError> {
    let points: Vec<&SharePoints> = shares.iter().map(|share| share.as_ref()).collect();
    let combined = combine_points(key, &points)?.into_iter();
    Ok(combined
        .map(|point| SharedPoint(*point.encoding()))
        .collect())
}

/// As [`combine`], for shares of which not all are proven.
pub fn combine_claimed(
    key: &SealingKey,
    shares: &[&SharePoints],
) -> Result<Vec<ClaimedPoint>, CombineError> {
    let combined = combine_points(key, shares)?.into_iter();
    Ok(combined.map(ClaimedPoint).collect())
}

fn combine_points(key: &SealingKey, shares: &[&SharePoints]) -> Result<Vec<Point>, CombineError> {
    let Some(first) = shares.first() else {
        return Err(CombineError::Number {
            shares: 0,
            threshold: key.threshold(),
        });
    };
    if shares.len() != key.threshold() as usize {
        return Err(CombineError::Number {
            shares: shares.len(),
            threshold: key.threshold(),
        });
    }
    let mut authors = AuthoritySet::EMPTY;
    for share in shares {
        if share.key_id() != key.key_id() {
            return Err(CombineError::WrongKey);
        }
        let same_batch = share.seq() == first.seq()
            && share.order_root() == first.order_root()
            && share.points().len() == first.points().len();
        if !same_batch {
            return Err(CombineError::MixedBatches);
        }
        if !authors.insert(share.author()) {
            return Err(CombineError::SameAuthor);
        }
    }

    let points: Vec<u64> = shares
        .iter()
        .map(|share| share.author().share_point())
        .collect();
    let coefficients = Coefficients::new(key.thresholds().authorities(), key.delta(), &points);
    // The sums lack the factor 2 of X, which encoding many at once puts back.
    let rows: Vec<&[Point]> = shares.iter().map(|share| share.points()).collect();
    Ok(Way::for_each_of(first.points().len()).double_combinations(&coefficients, &rows))
}

/// Why shares do not combine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CombineError {
    /// Not exactly t.
    #[error("{shares} shares where exactly {threshold} combine")]
    Number {
        /// How many there are.
        shares: usize,
        /// t.
        threshold: u32,
    },
    /// Shares of another key or epoch.
    #[error("shares of another key")]
    WrongKey,
    /// Shares for different batches or orders.
    #[error("shares for different batches")]
    MixedBatches,
    /// Two shares of one authority.
    #[error("two shares of one authority")]
    SameAuthor,
}

/// What an envelope turned out to be, on every node alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its content could be read.
    Revealed {
        /// The client's r, canonical; published, so that anyone can check.
        r: [u8; 32],
    },
    /// Nothing can be read in it. It keeps its place in the batch.
    Void,
}

/// Decides a sealed envelope and decrypts it straight into `out`: r, then the payload as carried.
///
/// `u` is its U and `d` its D. On [`Outcome::Void`] all of `out` is zero.
///
/// Panics: when `out` is not exactly [`opened_len`] bytes, or the envelope is open or `u` not its own; all three are
/// known before and never follow from what a peer sent.
pub fn open_into(
    envelope: &Envelope,
    u: &EncodedPoint,
    d: &SharedPoint,
    out: &mut [u8],
) -> Outcome {
    let fields = sealed_fields(envelope, out);
    assert_eq!(fields.u, u.bytes(), "U is the envelope's own");
    match decrypt(&fields, d.bytes(), out) {
        Some((r, scalar)) if u.is(&RistrettoPoint::mul_base(&scalar)) => Outcome::Revealed { r },
        _ => {
            out.fill(0);
            Outcome::Void
        }
    }
}

/// What an envelope seems to hold under a D that nobody has proven.
#[derive(Clone, Copy, Debug)]
pub struct ClaimedReveal {
    /// The client's r, canonical.
    pub r: [u8; 32],
    scalar: Scalar,
}

impl ClaimedReveal {
    /// Whether U = r g. One fixed-base multiplication.
    pub fn is_of(&self, u: &EncodedPoint) -> bool {
        u.is(&RistrettoPoint::mul_base(&self.scalar))
    }
}

/// Decrypts a sealed envelope into `out` under an unproven D; none, and `out` undefined, when C does not open or holds
/// no canonical r. What it gives counts only if [`reveals_hold`]; none decides nothing.
///
/// Panics: when `out` is not exactly [`opened_len`] bytes or the envelope is open.
pub fn open_claimed(
    envelope: &Envelope,
    d: &ClaimedPoint,
    out: &mut [u8],
) -> Option<ClaimedReveal> {
    let fields = sealed_fields(envelope, out);
    let (r, scalar) = decrypt(&fields, d.0.encoding(), out)?;
    Some(ClaimedReveal { r, scalar })
}

/// Whether U = r g and D = r X for every reveal: then each D is the true one, whoever gave the shares, and the outcome
/// is the one that proven shares give.
///
/// One random linear combination of all the equations with independent 128-bit weights, from a hash of what is checked
/// keyed by a secret of this process: who chose a false share could not know them. O(reveals) points in one
/// multi-scalar multiplication.
pub fn reveals_hold(
    key: &SealingKey,
    process_secret: &[u8; 32],
    reveals: &[(&EncodedPoint, &ClaimedPoint, ClaimedReveal)],
) -> bool {
    let mut hasher = blake3::Hasher::new_keyed(process_secret);
    hasher.update(TAG_REVEALS);
    for (u, d, reveal) in reveals {
        hasher
            .update(u.bytes())
            .update(d.0.encoding())
            .update(&reveal.r);
    }
    let mut stream = hasher.finalize_xof();
    let (mut of_g, mut of_x) = (Scalar::ZERO, Scalar::ZERO);
    let mut terms = Vec::with_capacity(2 * reveals.len() + 2);
    for (u, d, reveal) in reveals {
        let (a, b) = (next_weight(&mut stream), next_weight(&mut stream));
        of_g -= Scalar::from(a) * reveal.scalar;
        of_x -= Scalar::from(b) * reveal.scalar;
        terms.extend([(Factor::Short(a), u.as_point()), (Factor::Short(b), &d.0)]);
    }
    let way = Way::for_sum_of(terms.len() + 2);
    let generators = [base_generator(), key.generator()].map(|g| g.point_for(way));
    terms.extend([of_g, of_x].map(Factor::Full).into_iter().zip(&generators));
    way.sum(&terms).is_identity()
}

/// Checks a published reveal from the envelope and r alone, and decrypts into `out` as [`open_into`] does.
///
/// True just when [`open_into`] with the true D gives `Revealed { r }`; else all of `out` is zero. It takes a reveal of
/// r to be a claim: that an envelope is void cannot be checked this way.
///
/// Panics: when `out` is not exactly [`opened_len`] bytes or the envelope is open.
pub fn check_reveal(key: &SealingKey, envelope: &Envelope, r: &[u8; 32], out: &mut [u8]) -> bool {
    let published = published_points(key, &[(envelope, r)]).remove(0);
    let holds = published.is_some_and(|point| open_published(envelope, &point, out));
    if !holds {
        out.fill(0);
    }
    holds
}

/// D = r X for a published r of which U = r g.
#[derive(Clone, Copy, Debug)]
pub struct PublishedPoint {
    r: [u8; 32],
    d: [u8; 32],
}

/// What published reveals give, one a claim, in order; none where r is not canonical or U is not r g.
///
/// Nothing is left to chance: both products of each claim are made, all of them with one inversion.
///
/// Panics when an envelope is open.
pub fn published_points(
    key: &SealingKey,
    claims: &[(&Envelope, &[u8; 32])],
) -> Vec<Option<PublishedPoint>> {
    let scalars: Vec<Option<Scalar>> = claims.iter().map(|(_, r)| decode_scalar(r)).collect();
    // Encoding doubles; what is no scalar is left out behind.
    let halves: Vec<Scalar> = scalars
        .iter()
        .map(|r| r.unwrap_or_default().div_by_2())
        .collect();
    let of_g = halves.iter().map(|half| (base_generator(), half));
    let of_x = halves.iter().map(|half| (key.generator(), half));
    let terms: Vec<_> = of_g.chain(of_x).collect();
    let doubles = double_fixed_products(&terms);
    let (us, ds) = doubles.split_at(claims.len());
    let points = scalars.iter().zip(us).zip(ds);
    let points = claims.iter().zip(points);
    points
        .map(|((envelope, r), ((scalar, u), d))| {
            let expected = envelope
                .u_encoding()
                .expect("only sealed envelopes are opened");
            let holds = scalar.is_some() && u == expected;
            holds.then_some(PublishedPoint { r: **r, d: *d })
        })
        .collect()
}

/// Decrypts a sealed envelope into `out` under the point that a published r gives. False, and `out` undefined, when it does
/// not open to that r: then r does not reveal it.
///
/// Panics: when `out` is not exactly [`opened_len`] bytes or the envelope is open.
pub fn open_published(envelope: &Envelope, point: &PublishedPoint, out: &mut [u8]) -> bool {
    let fields = sealed_fields(envelope, out);
    decrypt(&fields, &point.d, out).is_some_and(|(inner, _)| inner == point.r)
}

/// How many bytes a sealed envelope opens to: r, then the payload as carried.
pub fn opened_len(envelope: &Envelope) -> usize {
    SECRET_LEN + envelope.label().payload_len as usize
}

fn sealed_fields<'a>(envelope: &'a Envelope, out: &[u8]) -> SealedFields<'a> {
    assert_eq!(
        out.len(),
        opened_len(envelope),
        "room for r and the payload"
    );
    envelope
        .sealed_fields()
        .expect("only sealed envelopes are opened")
}

/// The canonical r that C holds under `d`, if C opens and holds one; `out` then holds r and the payload.
fn decrypt(fields: &SealedFields<'_>, d: &[u8; 32], out: &mut [u8]) -> Option<([u8; 32], Scalar)> {
    let (content, tag) = fields.ciphertext.split_last_chunk::<TAG_LEN>()?;
    let buffer = InOutBuf::new(content, out).ok()?;
    ChaCha20Poly1305::new((&*fields.content_key(d)).into())
        .decrypt_inout_detached(&Nonce::default(), &[], buffer, tag.into())
        .ok()?;
    let r = *out.first_chunk()?;
    Some((r, decode_scalar(&r)?))
}

/// Tells these weights from others drawn with the same secret.
const TAG_REVEALS: &[u8] = b"fairlane/1/reveals";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::fixture::{Net, ROOT, SEQ, crafted, fields, us};
    use crate::seal::{ShareMessage, VerifiedEnvelope, open_envelope};

    const ORDER: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";

    /// Opens with the D that every t-subset agrees on, into a buffer that is not clean.
    fn open(net: &Net, envelope: &VerifiedEnvelope) -> (Outcome, Vec<u8>) {
        let d = net.combine_every_way(&us(std::slice::from_ref(envelope)))[0];
        let mut out = vec![0xee; opened_len(envelope)];
        let outcome = open_into(envelope, envelope.u().unwrap(), &d, &mut out);
        (outcome, out)
    }

    #[test]
    fn what_was_sealed_is_revealed_by_every_subset_of_every_committee() {
        for (authorities, threshold) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 4), (5, 2), (7, 5)] {
            let net = Net::new(0, authorities, threshold);
            let envelope = net.check(net.sealed(b"buy low", 1)).unwrap();
            let (outcome, out) = open(&net, &envelope);
            let Outcome::Revealed { r } = outcome else {
                panic!("n = {authorities}, t = {threshold}: {outcome:?}");
            };
            assert_eq!(out[..32], r);
            assert_eq!(out[32..], *b"buy low");
        }
    }

    #[test]
    fn committees_above_sixteen_open_with_full_coefficients() {
        let net = Net::new(0, 17, 12);
        let envelopes: Vec<_> = (0..3)
            .map(|i| net.check(net.sealed(&[i; 9], i)).unwrap())
            .collect();
        let us = us(&envelopes);
        let shares: Vec<VerifiedShare> = (0..17).map(|author| net.make(author, &us).1).collect();
        for skip in [0, 2, 5] {
            let chosen: Vec<&VerifiedShare> = shares.iter().skip(skip).take(12).collect();
            let ds = combine(&net.key, &chosen).unwrap();
            for ((envelope, d), i) in envelopes.iter().zip(&ds).zip(0..) {
                let mut out = vec![0; opened_len(envelope)];
                let outcome = open_into(envelope, envelope.u().unwrap(), d, &mut out);
                assert!(matches!(outcome, Outcome::Revealed { .. }));
                assert_eq!(out[32..], [i; 9]);
            }
        }
    }

    #[test]
    fn a_batch_keeps_its_order_and_an_empty_payload_opens() {
        let net = Net::new(0, 4, 3);
        let payloads = [&b"first"[..], b"", b"third"];
        let envelopes: Vec<_> = payloads
            .iter()
            .map(|payload| net.check(net.sealed(payload, 9)).unwrap())
            .collect();
        let ds = net.combine_every_way(&us(&envelopes));
        for ((envelope, d), payload) in envelopes.iter().zip(&ds).zip(payloads) {
            let mut out = vec![0; opened_len(envelope)];
            let outcome = open_into(envelope, envelope.u().unwrap(), d, &mut out);
            assert!(matches!(outcome, Outcome::Revealed { .. }));
            assert_eq!(&out[32..], payload);
        }
    }

    #[test]
    fn a_valid_proof_over_anything_dishonest_is_void_for_every_subset() {
        let net = Net::new(0, 5, 4);
        let (r, other) = (Scalar::from(123u64), Scalar::from(124u64));
        let content = |r: &[u8]| [r, b"payload"].concat();
        // r plus the group order: the same scalar, not canonical.
        let mut above: [u8; 32] = hex::decode(ORDER).unwrap().try_into().unwrap();
        above[0] += 1;
        let cases = [
            (
                "garbage under a key of nobody's",
                other,
                content(r.as_bytes()),
            ),
            ("another r", r, content(other.as_bytes())),
            ("zeros for r", r, content(&[0; 32])),
            ("ones for r", r, content(&[0xff; 32])),
        ];
        for (name, r_of_d, content) in cases {
            let envelope = net.check(crafted(&net.key, r, r_of_d, &content)).unwrap();
            let (outcome, out) = open(&net, &envelope);
            assert_eq!(outcome, Outcome::Void, "{name}");
            assert!(
                out.iter().all(|byte| *byte == 0),
                "{name}: nothing is left in the buffer"
            );
        }
        let one = Scalar::ONE;
        let envelope = net
            .check(crafted(&net.key, one, one, &content(&above)))
            .unwrap();
        assert_eq!(open(&net, &envelope).0, Outcome::Void, "a non-canonical r");
        let honest = net
            .check(crafted(&net.key, one, one, &content(one.as_bytes())))
            .unwrap();
        let revealed = Outcome::Revealed { r: one.to_bytes() };
        assert_eq!(
            open(&net, &honest).0,
            revealed,
            "the crafting itself is sound"
        );
    }

    #[test]
    fn a_wrong_d_opens_nothing() {
        let net = Net::new(0, 4, 3);
        let envelopes = [1, 2].map(|entropy| net.check(net.sealed(b"payload", entropy)).unwrap());
        let ds = net.combine_every_way(&us(&envelopes));
        let mut out = vec![0xee; opened_len(&envelopes[0])];
        let outcome = open_into(&envelopes[0], envelopes[0].u().unwrap(), &ds[1], &mut out);
        assert_eq!(outcome, Outcome::Void);
        assert_eq!(out, vec![0; out.len()]);
    }

    #[test]
    fn anyone_checks_a_reveal_from_the_envelope_and_r() {
        let net = Net::new(0, 4, 3);
        let envelope = net.check(net.sealed(b"payload", 1)).unwrap();
        let (outcome, opened) = open(&net, &envelope);
        let Outcome::Revealed { r } = outcome else {
            panic!("{outcome:?}");
        };
        let mut out = vec![0xee; opened.len()];
        assert!(check_reveal(&net.key, &envelope, &r, &mut out));
        assert_eq!(out, opened);
        let wrong = (decode_scalar(&r).unwrap() + Scalar::ONE).to_bytes();
        for bad in [wrong, [0; 32], [0xff; 32]] {
            assert!(!check_reveal(&net.key, &envelope, &bad, &mut out));
            assert_eq!(out, vec![0; out.len()]);
        }
        let other_key = Net::new(1, 4, 3).key;
        assert!(!check_reveal(&other_key, &envelope, &r, &mut out));
    }

    #[test]
    fn no_r_reveals_a_void_envelope() {
        let net = Net::new(0, 4, 3);
        let (r, other) = (Scalar::from(123u64), Scalar::from(124u64));
        for inner in [&other, &Scalar::ZERO] {
            let content = [inner.as_bytes(), &b"payload"[..]].concat();
            let envelope = net.check(crafted(&net.key, r, r, &content)).unwrap();
            let mut out = vec![0xee; opened_len(&envelope)];
            for claimed in [r, *inner] {
                assert!(!check_reveal(
                    &net.key,
                    &envelope,
                    claimed.as_bytes(),
                    &mut out
                ));
            }
        }
    }

    #[test]
    fn only_t_shares_of_different_authorities_for_one_batch_combine() {
        let net = Net::new(0, 5, 4);
        let us = us(&[1, 2].map(|entropy| net.check(net.sealed(b"payload", entropy)).unwrap()));
        let shares: Vec<VerifiedShare> = (0..5).map(|author| net.make(author, &us).1).collect();
        let all: Vec<&VerifiedShare> = shares.iter().collect();
        let refuse =
            |last: &VerifiedShare| combine(&net.key, &[all[0], all[1], all[2], last]).unwrap_err();
        let number = |shares| CombineError::Number {
            shares,
            threshold: 4,
        };
        assert!(combine(&net.key, &all[..4]).is_ok());
        assert_eq!(combine(&net.key, &all[..3]), Err(number(3)));
        assert_eq!(combine(&net.key, &all), Err(number(5)));
        assert_eq!(combine(&net.key, &[]), Err(number(0)));
        assert_eq!(refuse(all[0]), CombineError::SameAuthor);
        assert_eq!(
            refuse(&Net::new(1, 5, 4).make(3, &us).1),
            CombineError::WrongKey
        );
        let make = |seq, root, us| {
            let (share, signing_key) = (&net.key_shares[3], &net.signing_keys[3]);
            ShareMessage::make(share, &net.key, signing_key, seq, root, us)
                .unwrap()
                .1
        };
        let other_root = crate::types::Sha256Hash([0; 32]);
        for other in [
            make(SEQ.next(), ROOT, &us),
            make(SEQ, other_root, &us),
            make(SEQ, ROOT, &us[..1]),
        ] {
            assert_eq!(refuse(&other), CombineError::MixedBatches);
        }
        let foreign: Vec<VerifiedShare> =
            (0..4).map(|a| Net::new(1, 5, 4).make(a, &us).1).collect();
        let foreign: Vec<&VerifiedShare> = foreign.iter().collect();
        assert_eq!(combine(&net.key, &foreign), Err(CombineError::WrongKey));
    }

    #[test]
    fn the_order_in_which_shares_arrive_changes_nothing() {
        let net = Net::new(0, 5, 4);
        let us = us(&[net.check(net.sealed(b"payload", 1)).unwrap()]);
        let shares: Vec<VerifiedShare> = (0..4).map(|author| net.make(author, &us).1).collect();
        let forward: Vec<&VerifiedShare> = shares.iter().collect();
        let backward: Vec<&VerifiedShare> = shares.iter().rev().collect();
        assert_eq!(combine(&net.key, &forward), combine(&net.key, &backward));
    }

    #[test]
    #[should_panic(expected = "room for r and the payload")]
    fn a_buffer_of_another_length_is_our_own_bug() {
        let net = Net::new(0, 1, 1);
        let envelope = net.check(net.sealed(b"payload", 1)).unwrap();
        let d = net.combine_every_way(&us(std::slice::from_ref(&envelope)))[0];
        open_into(&envelope, envelope.u().unwrap(), &d, &mut [0; 38]);
    }

    #[test]
    #[should_panic(expected = "only sealed envelopes are opened")]
    fn opening_an_open_envelope_is_our_own_bug() {
        let net = Net::new(0, 1, 1);
        let open = open_envelope(&net.key, &fields(), b"payload").unwrap();
        let open = net.check(open).unwrap();
        check_reveal(&net.key, &open, &[1; 32], &mut [0; 39]);
    }
}
