//! GF(2^255 - 19) eight elements at a time: what the curve needs of it, whatever the instructions.
//!
//! There are two kinds, [`super::ifma`] and [`super::avx2`]. All that is made of lanes is written once, for any kind, and
//! compiled for each. Which kind a machine has is asked at run time.
//!
//! Lanes are *carried* if `+`, `-`, `*` or one of the constructors made them. What else may be multiplied says so.
//!
//! What is done with lanes is done inside [`Machine::vectorize`], which compiles it for the instructions whatever the
//! program as a whole is compiled for; so all that it calls is `#[inline(always)]`, or calls it again.

use std::fmt::Debug;
use std::ops::Mul;

use pulp::NullaryFnOnce;
use zeroize::Zeroize;

use super::field::Element;
use super::point::{Extended, Field};
use super::power::Power;

/// Instructions that the machine has: to have one is to be able to use them. Of no size.
pub(crate) trait Machine: Copy + Debug + Send + Sync + 'static {
    type Lanes: Lanes<Machine = Self>;

    /// Whether a chain of squarings of one vector of lanes leaves waits that another fills.
    const PAIRS: bool;

    /// Does `op` with the instructions.
    fn vectorize<Op: NullaryFnOnce>(self, op: Op) -> Op::Output;
}

/// Eight elements.
pub(crate) trait Lanes: Field + Power + Zeroize + Send + Sync + 'static {
    type Machine: Machine<Lanes = Self>;
    type Sum: Sum<Lanes = Self>;
    type Packed: Packed<Index = Self::Index>;
    /// Of an entry of a table, one in each lane.
    type Index: Copy;
    /// A point outside of lanes.
    type Row: Copy;

    /// The same element in all lanes, from limbs of radix 2^51, each below 2^51.
    fn splat_limbs(machine: Self::Machine, limbs: &[u64; 5]) -> Self;

    /// The same element in all lanes.
    #[inline(always)]
    fn splat(machine: Self::Machine, element: Element) -> Self {
        Self::splat_limbs(machine, &element.canonical_limbs())
    }

    /// From the limbs of each lane, of radix 2^51 and each below 2^51, by limb and lane.
    fn from_columns(machine: Self::Machine, columns: [[u64; LANES]; 5]) -> Self;

    /// The limbs of each lane, of radix 2^51, by limb and lane: below 2^51 if these are canonical, else below 2^52.
    fn columns(self) -> [[u64; LANES]; 5];

    /// The element of lane 0.
    fn first(self) -> Element;

    /// Each lane's element, for lane `from[i]` in lane i.
    fn permuted(self, from: [i64; LANES]) -> Self;

    /// In lanes of `mask` the negative, for what [`Lanes::entry`] gave. May only be multiplied.
    fn negated_where(self, mask: u8) -> Self;

    /// In lanes of `mask` the element of `other`.
    fn replaced_where(self, mask: u8, other: &Self) -> Self;

    /// The start of a sum that is carried once, at its end.
    fn sum(self) -> Self::Sum;

    /// The same elements in their canonical representation: below 2^255 - 19, each limb below its radix.
    fn canonical(self) -> Self;

    /// Which lanes hold an odd number, for elements in canonical representation: the *negative* ones of RFC 9496.
    fn odd(self) -> u8;

    /// Which lanes hold 0, for elements in canonical representation.
    fn zero(self) -> u8;

    /// Which lanes hold the same element as in `other`, whatever the representation.
    #[inline(always)]
    fn equal(self, other: Self) -> u8 {
        (self - other).canonical().zero()
    }

    /// The same elements, of a form that tables may keep and that can be negated.
    fn entry(self) -> Self;

    /// As tables keep them.
    fn packed(self) -> Self::Packed;

    /// What was packed.
    fn unpacked(packed: Self::Packed) -> Self;

    /// What the digits of one place say, of -8 to 8 each, in constant time.
    fn choice(machine: Self::Machine, digits: &[i8; LANES]) -> Choice<Self::Index>;

    /// The neutral point as a row.
    fn neutral_row() -> Self::Row;

    /// One point a lane.
    fn of_rows(machine: Self::Machine, rows: [&Self::Row; LANES]) -> Extended<Self>;

    /// One point a row.
    fn to_rows(points: &Extended<Self>) -> [Self::Row; LANES];
}

/// Up to six elements or so added up, not yet carried.
pub(crate) trait Sum: Copy {
    type Lanes;

    fn plus(self, other: Self::Lanes) -> Self;

    fn minus(self, other: Self::Lanes) -> Self;

    /// The elements.
    fn carried(self) -> Self::Lanes;

    /// The elements, of at most three, to be multiplied by something carried and for nothing else.
    fn as_factor(self) -> Self::Lanes;
}

/// Eight elements as tables keep them, from which an entry is chosen in constant time.
pub(crate) trait Packed: Copy {
    type Index;

    /// In lanes of `mask` the element of `other`.
    fn changed_where(self, mask: u8, other: &Self) -> Self;

    /// In lanes of `mask` the one among the eight of `from` that the lane's index says.
    fn taken(self, mask: u8, index: Self::Index, from: &Self) -> Self;
}

/// Which entry of a table of one to eight times a point each lane takes.
pub(crate) struct Choice<Index> {
    /// Of digits that are not 0.
    pub(crate) index: Index,
    pub(crate) non_zero: u8,
    pub(crate) negative: u8,
}

/// Sixteen elements: a chain of squarings waits for each result, and two chains fill each other's waits.
#[derive(Clone, Copy)]
pub(crate) struct Pair<L>(pub(crate) L, pub(crate) L);

impl<L: Lanes> Mul for Pair<L> {
    type Output = Self;

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Self(self.0 * other.0, self.1 * other.1)
    }
}

impl<L: Lanes> Power for Pair<L> {
    #[inline(always)]
    fn square(self) -> Self {
        Self(self.0.square(), self.1.square())
    }
}

/// Elements in [`Lanes`].
pub(crate) const LANES: usize = 8;
