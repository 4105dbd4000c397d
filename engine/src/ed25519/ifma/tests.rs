//! The sums against dalek's.

use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
use curve25519_dalek::traits::VartimeMultiscalarMul as _;

use super::*;

#[test]
fn sums_are_those_of_dalek_for_keys_of_any_order() {
    let bounds = [Scalar::ZERO, Scalar::ONE, -Scalar::ONE, Scalar::from(8u8)];
    let drawn = (1..9u64).map(|n| (Scalar::from(n) * -Scalar::from(u128::MAX)).invert());
    let scalars: Vec<Scalar> = bounds.into_iter().chain(drawn).collect();
    for (index, torsion) in EIGHT_TORSION.iter().enumerate() {
        for a in [
            ED25519_BASEPOINT_POINT * scalars[5 + index % 4] + torsion,
            *torsion,
        ] {
            let Some(table) = KeyTable::new(&a) else {
                eprintln!("skipped: the machine has no AVX-512 IFMA");
                return;
            };
            for (k, s) in scalars
                .iter()
                .flat_map(|k| scalars.iter().map(move |s| (k, s)))
            {
                let expected =
                    EdwardsPoint::vartime_multiscalar_mul([k, s], [-a, ED25519_BASEPOINT_POINT]);
                assert_eq!(table.expected_r(k, s), expected.compress().to_bytes());
            }
        }
    }
}
