//! k (-A) + s B for a key A that has a table, on AVX-512 IFMA.

mod multiply;
mod table;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use curve25519_dalek::constants::ED25519_BASEPOINT_COMPRESSED;
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;

use multiply::{Fixed, sum_of_multiples};
use table::Table;

/// The multiples of -A.
pub(super) struct KeyTable(Table);

impl KeyTable {
    /// For the key `a`; `None` when the machine has not the instructions. Costs 0.2 ms and 64 KiB.
    pub(super) fn new(a: &EdwardsPoint) -> Option<Self> {
        let _ = SHARED.as_ref()?;
        let table = Table::of_negative(&a.compress().to_bytes());
        Some(Self(table.expect("a point's encoding decodes")))
    }

    /// The canonical encoding of k (-A) + s B, B the base point.
    pub(super) fn expected_r(&self, k: &Scalar, s: &Scalar) -> [u8; 32] {
        let shared = SHARED.as_ref().expect("a table is made only with it");
        let multiples_of_a = (k.as_bytes(), &self.0);
        let multiples_of_b = (s.as_bytes(), &shared.base_table);
        sum_of_multiples(multiples_of_a, multiples_of_b, &shared.fixed)
    }
}

/// What all keys share.
struct Shared {
    fixed: Fixed,
    base_table: Table,
}

static SHARED: LazyLock<Option<Shared>> = LazyLock::new(|| {
    let base = ED25519_BASEPOINT_COMPRESSED.to_bytes();
    Some(Shared {
        fixed: Fixed::try_new()?,
        base_table: Table::of_point(&base).expect("the base point's encoding decodes"),
    })
});
