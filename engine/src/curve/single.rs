//! One point, which a sum of many came to: whether it is the identity of ristretto255, and its encoding.

use super::constants::Constants;
use super::field::Element;
use super::point::Extended;
use super::power::Power as _;

impl Extended<Element> {
    /// Whether the point is in the coset of the identity: one with x or y 0. Source: RFC 9496, section 4.3.3.
    pub(crate) fn is_ristretto_identity(&self) -> bool {
        self.x == Element::ZERO || self.y == Element::ZERO
    }

    /// The ristretto255 encoding. Variable time. Source: RFC 9496, section 4.3.2.
    pub(crate) fn ristretto_encoding(&self) -> [u8; 32] {
        let Self { x, y, z, t } = *self;
        let (u1, u2) = ((z + y) * (z - y), x * y);
        // There is no root just where u1 or u2 is 0, at points of the identity: for what follows it is 0 then.
        let root = Element::root_of_ratio(Element::ONE, u1 * u2.square());
        let inverse_root = root.unwrap_or(Element::ZERO);
        let (den1, den2) = (inverse_root * u1, inverse_root * u2);
        let z_inverse = den1 * den2 * t;
        let constants = Constants::shared();
        let i = constants.root_of_minus_one();
        let (x, y, den) = if (t * z_inverse).is_odd() {
            (y * i, x * i, den1 * constants.magic())
        } else {
            (x, y, den2)
        };
        let y = if (x * z_inverse).is_odd() { -y } else { y };
        let s = den * (z - y);
        if s.is_odd() { -s } else { s }.to_bytes()
    }
}
