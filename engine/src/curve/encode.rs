//! Encodings of the doubles of many points, with one inversion for all.
//!
//! Encoding a point takes a root; encoding its double does not, since the root is then known. So who wants the encodings
//! of many points r P makes r/2 P and encodes the doubles. Source: curve25519-dalek's `double_and_compress_batch`, after
//! Hamburg's Decaf (CRYPTO 2015); the inversion is Montgomery's trick, eight chains in lockstep. No branch and no address
//! depends on the points, which may be secret: what lies in memory between the two halves is erased.
//!
//! Cost of eight: 38 multiplications and squarings; of all: one inversion of lanes, 254 squarings.

use pulp::NullaryFnOnce;
use zeroize::{Zeroize, Zeroizing};

use super::affine::Affine;
use super::constants::{Constants, LaneConstants};
use super::eights::Eight;
use super::lanes::{Ifma, LANES, Lanes};
use super::power::Power as _;

/// A point and its encoding.
pub(crate) type Encoded = ([u8; 32], Affine);

/// The doubles of `points`, encoded, in their order; as many as lanes, so eight for each.
pub(crate) fn double_and_encode(ifma: Ifma, points: &[Eight]) -> Vec<Encoded> {
    let constants = Constants::shared();
    let mut product = Lanes::splat_limbs(ifma, &[1, 0, 0, 0, 0]);
    let mut states = Zeroizing::new(Vec::with_capacity(points.len()));
    for points in points {
        let state = ifma.vectorize(Begin {
            ifma,
            constants,
            points,
            before: &product,
        });
        product = state.product;
        states.push(state);
    }
    let mut inverse = ifma.vectorize(Invert(&product));
    let mut encoded = vec![([0; 32], Affine::NEUTRAL); points.len() * LANES];
    let eights = encoded.as_chunks_mut::<LANES>().0;
    for (state, out) in states.iter().zip(eights).rev() {
        let finished = ifma.vectorize(Finish {
            ifma,
            constants,
            state,
            inverse: &inverse,
        });
        inverse = finished.inverse;
        let points = Affine::from_lanes(finished.x, finished.y);
        let encodings = finished.s.columns();
        for (lane, out) in out.iter_mut().enumerate() {
            *out = (bytes(encodings.map(|limb| limb[lane])), points[lane]);
        }
    }
    encoded
}

/// Of limbs below 2^51, little-endian.
fn bytes(limbs: [u64; 5]) -> [u8; 32] {
    let [a, b, c, d, e] = limbs;
    let words = [
        a | b << 51,
        b >> 13 | c << 38,
        c >> 26 | d << 25,
        d >> 39 | e << 12,
    ];
    let mut bytes = [0; 32];
    for (to, word) in bytes.as_chunks_mut().0.iter_mut().zip(words) {
        *to = u64::to_le_bytes(word);
    }
    bytes
}

/// Before the inversion; the double is (e/f, g/h).
struct State {
    e: Lanes,
    f: Lanes,
    g: Lanes,
    h: Lanes,
    /// Lanes where e f g h is 0: there the double is in the coset of the identity.
    zero: u8,
    /// e f g h, or 1 where that is 0, of the eights up to and without this one, and with it.
    before: Lanes,
    product: Lanes,
}

impl Zeroize for State {
    fn zeroize(&mut self) {
        let Self {
            e,
            f,
            g,
            h,
            zero,
            before,
            product,
        } = self;
        for lanes in [e, f, g, h, before, product] {
            lanes.zeroize();
        }
        zero.zeroize();
    }
}

struct Begin<'a> {
    ifma: Ifma,
    constants: &'a Constants,
    points: &'a Eight,
    before: &'a Lanes,
}

impl NullaryFnOnce for Begin<'_> {
    type Output = State;

    #[inline(always)]
    fn call(self) -> State {
        let constants = self.constants.in_lanes(self.ifma);
        let Eight { x, y, z, t } = *self.points;
        let (xx, yy, zz) = (x.square(), y.square(), z.square());
        let minus_dtt = t.square() * constants.minus_d;
        let e = x * (y + y);
        let (f, g, h) = (zz - minus_dtt, yy + xx, zz + minus_dtt);
        let efgh = (e * g) * (f * h);
        let zero = efgh.canonical().zero();
        let factor = efgh.replaced_where(zero, &constants.one);
        State {
            e,
            f,
            g,
            h,
            zero,
            before: *self.before,
            product: *self.before * factor,
        }
    }
}

struct Invert<'a>(&'a Lanes);

impl NullaryFnOnce for Invert<'_> {
    type Output = Lanes;

    #[inline(always)]
    fn call(self) -> Lanes {
        self.0.power_p_less_2()
    }
}

struct Finish<'a> {
    ifma: Ifma,
    constants: &'a Constants,
    state: &'a State,
    /// Of the state's product.
    inverse: &'a Lanes,
}

struct Finished {
    /// The encodings as elements, canonical.
    s: Lanes,
    /// The doubles, canonical.
    x: Lanes,
    y: Lanes,
    /// Of the product of the eights before.
    inverse: Lanes,
}

impl NullaryFnOnce for Finish<'_> {
    type Output = Finished;

    #[inline(always)]
    fn call(self) -> Finished {
        let constants = self.constants.in_lanes(self.ifma);
        let State {
            e, f, g, h, zero, ..
        } = *self.state;
        let (eg, fh) = (e * g, f * h);
        let factor = (eg * fh).replaced_where(zero, &constants.one);
        let inverse = *self.inverse * factor;
        let own = (*self.inverse * self.state.before).replaced_where(zero, &constants.zero);
        // 1 / (f h) and 1 / (e g); 0 where e f g h is.
        let (z_inverse, t_inverse) = (eg * own, fh * own);

        let x = (e * h * z_inverse).canonical();
        let y = (g * f * z_inverse)
            .replaced_where(zero, &constants.one)
            .canonical();
        Finished {
            s: encoding(&constants, [e, f, g, h], z_inverse, t_inverse),
            x,
            y,
            inverse,
        }
    }
}

/// Names and steps of the source.
#[inline(always)]
fn encoding(
    constants: &LaneConstants,
    [e, f, g, h]: [Lanes; 4],
    z_inverse: Lanes,
    t_inverse: Lanes,
) -> Lanes {
    let rotate = (e * g * z_inverse).canonical().odd();
    let i = constants.root_of_minus_one;
    let (rotated_e, rotated_g, rotated_h) = (g, constants.zero - e, f * i);
    let magic = constants.magic.replaced_where(rotate, &i);
    let e = e.replaced_where(rotate, &rotated_e);
    let g = g.replaced_where(rotate, &rotated_g);
    let h = h.replaced_where(rotate, &rotated_h);
    let negative = (h * e * z_inverse).canonical().odd();
    let g = g.replaced_where(negative, &(constants.zero - g));
    let s = ((h - g) * (magic * (g * t_inverse))).canonical();
    s.replaced_where(s.odd(), &(constants.zero - s).canonical())
}
