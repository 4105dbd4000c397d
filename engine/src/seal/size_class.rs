//! The lengths that clients pad payloads to, so that a length tells little.
//!
//! Few and far apart: an observer learns one of nine values. Doubling costs at most half of the padded payload and a quarter
//! on average over equally likely lengths; the cost of carrying an envelope is in its proof and shares, not in its bytes. The
//! class before 1,024 is what fits one UDP datagram of 1,232 bytes when sealed. Source of the trade: Nikitin et al., Reducing
//! Metadata Leakage from Encrypted Files and Communication with PURBs, PETS 2019, whose finer classes (at most 12 % longer) leak
//! more: a payload of 100 and one of 120 bytes would differ.

use super::envelope::{ENVELOPE_LEN_MAX, SEALED_OVERHEAD};

/// Padded payload lengths, ascending, in bytes; the last is the longest that there is.
pub const SIZE_CLASSES: [u32; 9] = [
    64,
    128,
    256,
    512,
    960,
    2048,
    4096,
    8192,
    // At most ENVELOPE_LEN_MAX.
    (ENVELOPE_LEN_MAX - SEALED_OVERHEAD) as u32,
];

/// The least class that holds `payload_len` bytes and a byte of padding; `None` for what no class holds.
pub fn size_class(payload_len: usize) -> Option<u32> {
    let holds = |class: &u32| payload_len < *class as usize;
    SIZE_CLASSES.into_iter().find(holds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_gets_the_least_class_that_leaves_a_byte_for_padding() {
        assert_eq!(size_class(0), Some(64));
        for pair in SIZE_CLASSES.windows(2) {
            assert!(pair[0] < pair[1]);
            assert_eq!(size_class(pair[0] as usize - 1), Some(pair[0]));
            assert_eq!(size_class(pair[0] as usize), Some(pair[1]));
        }
        let max = ENVELOPE_LEN_MAX - SEALED_OVERHEAD;
        assert_eq!(size_class(max - 1), Some(max as u32));
        assert_eq!(size_class(max), None);
    }

    #[test]
    fn a_class_of_960_fits_a_datagram_when_sealed() {
        assert_eq!(960 + SEALED_OVERHEAD, 1232);
    }
}
