//! Numbers in radix 16 with signed digits.

use zeroize::Zeroizing;

/// The digits of a number below 2^254 in radix 16, each -8 to 7, least first.
///
/// With 8 added at each place beforehand, a digit is what stands there less 8; the sum is below 2^256.
pub(crate) fn digits(number: &[u8; 32]) -> [i8; PLACES] {
    let mut digits = [0; PLACES];
    write_digits(number, &mut digits);
    digits
}

/// As [`digits`], of a secret number: in constant time, and erased when dropped.
pub(crate) fn secret_digits(number: &[u8; 32]) -> Zeroizing<[i8; PLACES]> {
    let mut digits = Zeroizing::new([0; PLACES]);
    write_digits(number, &mut digits);
    digits
}

/// Straight into their place: no other memory holds them.
fn write_digits(number: &[u8; 32], digits: &mut [i8; PLACES]) {
    let mut carry = 0u16;
    for (pair, byte) in digits.as_chunks_mut().0.iter_mut().zip(number) {
        let sum = u16::from(*byte) + 0x88 + carry;
        // The low byte; the rest is the carry. Both halves are 0 to 15 before 8 is taken off.
        let low = sum as u8;
        *pair = [(low & 15) as i8 - 8, (low >> 4) as i8 - 8];
        carry = sum >> 8;
    }
    assert_eq!(carry, 0, "the number is below 2^254");
}

/// Digits of radix 16 in 256 bits.
pub(crate) const PLACES: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn digits_add_up(mut number: [u8; 32]) {
            number[31] &= 0x3f;
            assert_digits_add_up(&number);
        }
    }

    fn assert_digits_add_up(number: &[u8; 32]) {
        let digits = digits(number);
        assert_eq!(digits, *secret_digits(number));
        assert!(digits.iter().all(|digit| (-8..8).contains(digit)));
        let mut carry = 0i32;
        for (pair, byte) in digits.as_chunks::<2>().0.iter().zip(number) {
            let sum = i32::from(pair[0]) + 16 * i32::from(pair[1]) + carry;
            assert_eq!(sum & 0xff, i32::from(*byte));
            carry = sum >> 8;
        }
        assert_eq!(carry, 0);
    }

    #[test]
    fn digits_of_the_ends_of_the_range_add_up() {
        let mut largest = [0xff; 32];
        largest[31] = 0x3f;
        for number in [[0; 32], [0x88; 32].map(|b| b & 0x3f), largest, [0x37; 32]] {
            assert_digits_add_up(&number);
        }
    }
}
