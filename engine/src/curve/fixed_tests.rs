//! Products of fixed points in lanes against curve25519-dalek.

use curve25519_dalek::scalar::Scalar;
use proptest::prelude::*;

use super::machine;
use super::ristretto_tests::{affine, any_scalar, point};
use crate::curve::encode::double_and_encode;
use crate::curve::fixed::{FixedTable, times_fixed};
use crate::curve::lanes::LANES;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn products_of_fixed_points_are_dalek_s(
        terms in prop::collection::vec((0..3usize, any_scalar()), 0..20),
        seed: u64,
    ) {
        let Some(machine) = machine() else { return Ok(()) };
        let points = [point(seed), point(seed ^ 1), point(seed ^ 2)];
        let tables: Vec<FixedTable<_>> = affine(machine, &points)
            .iter()
            .map(|point| FixedTable::new(machine, point))
            .collect();
        let pairs: Vec<_> = terms
            .iter()
            .map(|(at, scalar)| (&tables[*at], scalar.as_bytes()))
            .collect();
        let products = double_and_encode(machine, &times_fixed(machine, &pairs));
        prop_assert_eq!(products.len(), terms.len().next_multiple_of(LANES));
        for (lane, (encoding, _)) in products.iter().enumerate() {
            let (at, scalar) = terms.get(lane).copied().unwrap_or((0, Scalar::ZERO));
            let double = points[at] * (scalar + scalar);
            prop_assert_eq!(*encoding, double.compress().to_bytes());
        }
    }
}

/// Digits of every size and sign at every place.
#[test]
fn every_entry_of_a_table_is_its_multiple() {
    let Some(machine) = machine() else { return };
    let point = point(5);
    let table = FixedTable::new(machine, &affine(machine, &[point])[0]);
    for byte in (0..=0xff).step_by(0x11) {
        let mut number = [byte; 32];
        // Below 2^252, so below the order.
        number[31] &= 0x0f;
        let scalar = Scalar::from_canonical_bytes(number).unwrap();
        let product = double_and_encode(machine, &times_fixed(machine, &[(&table, &number)]));
        let double = point * (scalar + scalar);
        assert_eq!(product[0].0, double.compress().to_bytes(), "{byte:#x}");
    }
}
