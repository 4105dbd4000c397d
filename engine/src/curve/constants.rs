//! Constants of the curve and of its quotient ristretto255.

use std::sync::LazyLock;

use super::field::Element;
use super::lanes::Lanes;

/// Each as the limbs of its canonical representation. Made once.
pub(crate) struct Constants {
    /// d of the curve is -121665 / 121666; this is the negative.
    minus_d: [u64; 5],
    twice_d: [u64; 5],
    /// Of the two roots, the non-negative: 2^((p - 1) / 4).
    root_of_minus_one: [u64; 5],
    /// 1 / sqrt(-1 - d), non-negative.
    magic: [u64; 5],
}

impl Constants {
    /// The only ones.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: LazyLock<Constants> = LazyLock::new(|| {
            let minus_d = Element::small(121_665) * Element::small(121_666).invert();
            let d = -minus_d;
            let magic = Element::root_of_ratio(Element::ONE, -Element::ONE - d)
                .expect("-1 - d is a square");
            let non_negative = |root: Element| if root.is_odd() { -root } else { root };
            Constants {
                minus_d: minus_d.canonical_limbs(),
                twice_d: (d + d).canonical_limbs(),
                root_of_minus_one: non_negative(Element::root_of_minus_one()).canonical_limbs(),
                magic: non_negative(magic).canonical_limbs(),
            }
        });
        &SHARED
    }

    pub(crate) fn root_of_minus_one(&self) -> Element {
        Element::from_limbs(self.root_of_minus_one)
    }

    pub(crate) fn magic(&self) -> Element {
        Element::from_limbs(self.magic)
    }

    /// The same in all lanes.
    #[inline(always)]
    pub(crate) fn in_lanes<L: Lanes>(&self, machine: L::Machine) -> LaneConstants<L> {
        let splat = |limbs: &[u64; 5]| L::splat_limbs(machine, limbs);
        LaneConstants {
            zero: splat(&[0; 5]),
            one: splat(&[1, 0, 0, 0, 0]),
            minus_d: splat(&self.minus_d),
            twice_d: splat(&self.twice_d),
            root_of_minus_one: splat(&self.root_of_minus_one),
            magic: splat(&self.magic),
        }
    }
}

/// As [`Constants`], in all lanes.
pub(crate) struct LaneConstants<L> {
    pub(crate) zero: L,
    pub(crate) one: L,
    pub(crate) minus_d: L,
    pub(crate) twice_d: L,
    pub(crate) root_of_minus_one: L,
    pub(crate) magic: L,
}
