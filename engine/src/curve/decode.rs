//! ristretto255 decoding, eight encodings at a time, or twice eight side by side.
//!
//! Source: RFC 9496, sections 4.2 and 4.3.1, step by step. Departs: the root is not made non-negative where its sign has no
//! effect on the result. Encodings are public: time and addresses may depend on whether they decode, and only on that.
//!
//! Cost of eight: 254 squarings and 31 multiplications of lanes.

use pulp::NullaryFnOnce;

use super::affine::Affine;
use super::constants::{Constants, LaneConstants};
use super::lanes::{LANES, Lanes, Machine, Pair};
use super::power::Power as _;

/// The points that `encodings` encode, in their order; `None` for what encodes none, and for the identity.
pub(crate) fn decode<M: Machine>(machine: M, encodings: &[[u8; 32]]) -> Vec<Option<Affine>> {
    let constants = Constants::shared();
    let mut points = Vec::with_capacity(encodings.len());
    let mut chunks = encodings.chunks(LANES);
    while let Some(low) = chunks.next() {
        let columns = read(low);
        let high = if M::PAIRS { chunks.next() } else { None };
        let Some(high) = high else {
            let decoded = machine.vectorize(Decode {
                machine,
                constants,
                encodings: &columns,
            });
            points.extend(kept(low, decoded));
            continue;
        };
        let [low_points, high_points] = machine.vectorize(DecodeTwice {
            machine,
            constants,
            encodings: [&columns, &read(high)],
        });
        points.extend(kept(low, low_points).chain(kept(high, high_points)));
    }
    points
}

/// Points and whether they are any.
struct Decoded<L> {
    x: L,
    y: L,
    /// The lanes whose element has a root, a non-negative t and a y other than 0.
    is_point: u8,
}

fn kept<L: Lanes>(
    encodings: &[[u8; 32]],
    decoded: Decoded<L>,
) -> impl Iterator<Item = Option<Affine>> {
    let points = Affine::from_lanes(decoded.x, decoded.y).into_iter();
    encodings
        .iter()
        .zip(points)
        .enumerate()
        .map(move |(lane, (encoding, point))| {
            (decoded.is_point >> lane & 1 == 1 && is_candidate(encoding)).then_some(point)
        })
}

/// Whether `encoding` is of a canonical and non-negative field element other than 0, which is the identity.
fn is_candidate(encoding: &[u8; 32]) -> bool {
    let is_even = encoding[0] & 1 == 0;
    let is_below_p = match encoding {
        [low, middle @ .., 0x7f] => *low < 0xed || middle.iter().any(|byte| *byte != 0xff),
        [.., high] => *high < 0x7f,
    };
    is_even && is_below_p && *encoding != [0; 32]
}

/// The elements of at most eight encodings, by limb and lane; the highest bit is left out of account.
fn read(encodings: &[[u8; 32]]) -> [[u64; LANES]; 5] {
    let mut columns = [[0; LANES]; 5];
    for (lane, encoding) in encodings.iter().enumerate() {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(encoding.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        let [a, b, c, d] = words;
        let low = (1 << 51) - 1;
        let limbs = [
            a,
            a >> 51 | b << 13,
            b >> 38 | c << 26,
            c >> 25 | d << 39,
            d >> 12,
        ];
        for (column, limb) in columns.iter_mut().zip(limbs) {
            column[lane] = limb & low;
        }
    }
    columns
}

struct Decode<'a, M> {
    machine: M,
    constants: &'a Constants,
    encodings: &'a [[u64; LANES]; 5],
}

impl<M: Machine> NullaryFnOnce for Decode<'_, M> {
    type Output = Decoded<M::Lanes>;

    #[inline(always)]
    fn call(self) -> Self::Output {
        let constants = self.constants.in_lanes(self.machine);
        let encodings = M::Lanes::from_columns(self.machine, *self.encodings);
        let start = Start::new(&constants, encodings);
        let power = start.base.power_2_252_less_3();
        start.finish(&constants, power)
    }
}

/// Two side by side.
struct DecodeTwice<'a, M> {
    machine: M,
    constants: &'a Constants,
    encodings: [&'a [[u64; LANES]; 5]; 2],
}

impl<M: Machine> NullaryFnOnce for DecodeTwice<'_, M> {
    type Output = [Decoded<M::Lanes>; 2];

    #[inline(always)]
    fn call(self) -> Self::Output {
        let constants = self.constants.in_lanes(self.machine);
        let [low, high] = self.encodings;
        let low = Start::new(&constants, M::Lanes::from_columns(self.machine, *low));
        let high = Start::new(&constants, M::Lanes::from_columns(self.machine, *high));
        let Pair(low_power, high_power) = Pair(low.base, high.base).power_2_252_less_3();
        [
            low.finish(&constants, low_power),
            high.finish(&constants, high_power),
        ]
    }
}

/// What is known before the root is taken; names are those of the source.
struct Start<L> {
    s: L,
    u1: L,
    u2: L,
    v: L,
    /// Of this the inverse of the root is taken.
    ratio_v: L,
    /// The power of this is.
    base: L,
}

impl<L: Lanes> Start<L> {
    #[inline(always)]
    fn new(constants: &LaneConstants<L>, s: L) -> Self {
        let ss = s.square();
        let (u1, u2) = (constants.one - ss, constants.one + ss);
        let u2_square = u2.square();
        let v = (constants.minus_d * u1.square()) - u2_square;
        let ratio_v = v * u2_square;
        let v3 = ratio_v.square() * ratio_v;
        Self {
            s,
            u1,
            u2,
            v,
            ratio_v,
            base: v3.square() * ratio_v,
        }
    }

    /// The rest, given `base`^((p - 5) / 8).
    #[inline(always)]
    fn finish(self, constants: &LaneConstants<L>, power: L) -> Decoded<L> {
        let v = self.ratio_v;
        let root = v.square() * v * power;
        let check = (v * root.square()).canonical();
        let correct = check.equal(constants.one);
        let flipped = (check + constants.one).canonical().zero();
        let flipped_i = (check + constants.root_of_minus_one).canonical().zero();
        let rotated = root * constants.root_of_minus_one;
        let inverse_root = root.replaced_where(flipped | flipped_i, &rotated);

        let den_x = inverse_root * self.u2;
        let den_y = inverse_root * den_x * self.v;
        let x = ((self.s + self.s) * den_x).canonical();
        let x = x.replaced_where(x.odd(), &(constants.zero - x).canonical());
        let y = (self.u1 * den_y).canonical();
        let t = (x * y).canonical();
        Decoded {
            x,
            y,
            is_point: (correct | flipped) & !t.odd() & !y.zero(),
        }
    }
}
