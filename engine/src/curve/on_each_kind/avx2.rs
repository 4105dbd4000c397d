//! The tests of lanes on AVX2.

use std::io::Write as _;

use crate::curve::avx2::Avx2 as Kind;

/// The instructions; where the machine has not got them, says so: the test has nothing to test.
fn machine() -> Option<Kind> {
    let machine = Kind::try_new();
    if machine.is_none() {
        // Past the capture of output: a test that tests nothing must be seen.
        let _ = writeln!(std::io::stderr(), "SKIPPED: the machine has no AVX2");
    }
    machine
}

/// Above every limb of 51 bits of what is carried.
const CARRIED: u64 = (1 << 51) + (1 << 42) + (1 << 26) + (1 << 11);

#[path = "../fixed_tests.rs"]
mod fixed_tests;
#[path = "../ristretto_tests.rs"]
mod ristretto_tests;
#[path = "../tests.rs"]
mod tests;
