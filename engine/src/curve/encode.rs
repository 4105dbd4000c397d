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
use super::lanes::{LANES, Lanes, Machine};
use super::point::Extended;
use super::power::Power as _;

/// A point and its encoding.
pub(crate) type Encoded = ([u8; 32], Affine);

/// The doubles of `points`, encoded, in their order; as many as lanes, so eight for each.
pub(crate) fn double_and_encode<M: Machine>(machine: M, points: &[Eight<M>]) -> Vec<Encoded> {
    let constants = Constants::shared();
    let mut product = M::Lanes::splat_limbs(machine, &[1, 0, 0, 0, 0]);
    let mut states = Zeroizing::new(Vec::with_capacity(points.len()));
    for points in points {
        let state = machine.vectorize(Begin {
            machine,
            constants,
            points,
            before: &product,
        });
        product = state.product;
        states.push(state);
    }
    let mut inverse = machine.vectorize(Invert(&product));
    let mut encoded = vec![([0; 32], Affine::NEUTRAL); points.len() * LANES];
    let eights = encoded.as_chunks_mut::<LANES>().0;
    for (state, out) in states.iter().zip(eights).rev() {
        let finished = machine.vectorize(Finish {
            machine,
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
struct State<L> {
    e: L,
    f: L,
    g: L,
    h: L,
    /// Lanes where e f g h is 0: there the double is in the coset of the identity.
    zero: u8,
    /// e f g h, or 1 where that is 0, of the eights up to and without this one, and with it.
    before: L,
    product: L,
}

impl<L: Lanes> Zeroize for State<L> {
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

struct Begin<'a, M: Machine> {
    machine: M,
    constants: &'a Constants,
    points: &'a Eight<M>,
    before: &'a M::Lanes,
}

impl<M: Machine> NullaryFnOnce for Begin<'_, M> {
    type Output = State<M::Lanes>;

    #[inline(always)]
    fn call(self) -> Self::Output {
        let constants = self.constants.in_lanes(self.machine);
        let Extended { x, y, z, t } = *self.points;
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

struct Invert<'a, L>(&'a L);

impl<L: Lanes> NullaryFnOnce for Invert<'_, L> {
    type Output = L;

    #[inline(always)]
    fn call(self) -> L {
        self.0.power_p_less_2()
    }
}

struct Finish<'a, M: Machine> {
    machine: M,
    constants: &'a Constants,
    state: &'a State<M::Lanes>,
    /// Of the state's product.
    inverse: &'a M::Lanes,
}

struct Finished<L> {
    /// The encodings as elements, canonical.
    s: L,
    /// The doubles, canonical.
    x: L,
    y: L,
    /// Of the product of the eights before.
    inverse: L,
}

impl<M: Machine> NullaryFnOnce for Finish<'_, M> {
    type Output = Finished<M::Lanes>;

    #[inline(always)]
    fn call(self) -> Self::Output {
        let constants = self.constants.in_lanes(self.machine);
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
fn encoding<L: Lanes>(
    constants: &LaneConstants<L>,
    [e, f, g, h]: [L; 4],
    z_inverse: L,
    t_inverse: L,
) -> L {
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
