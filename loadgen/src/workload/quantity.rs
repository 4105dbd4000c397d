//! Sizes of orders as on a real exchange: quantities drawn from the distribution of a recorded feed.
//!
//! The table holds quantiles of the 21,313 trades of the BTCUSDT perpetual on 8 August 2024 over 343 s, in contracts of 1 BTC:
//! a quarter is at the smallest common sizes, the median is 0.016, one in a hundred is above 1.1, the largest is 46. Between
//! two quantiles the logarithm is drawn evenly, and the result is rounded to the lot of 0.001.

use crate::rng::Rng;

/// A quantity in units of 10^-8, a whole number of lots, from one lot.
pub(super) fn draw(rng: &mut Rng) -> u64 {
    let at = rng.next_unit();
    let above = QUANTILES.partition_point(|(part, _)| *part < at);
    let (high_part, high) = QUANTILES[above.min(QUANTILES.len() - 1)];
    let (low_part, low) = QUANTILES[above.saturating_sub(1)];
    let part = (at - low_part) / (high_part - low_part);
    let lots = low * (high / low).powf(part.clamp(0.0, 1.0));
    (lots.round() as u64).max(1) * LOT_E8
}

/// One lot, in units of 10^-8.
pub(super) const LOT_E8: u64 = 100_000;

/// Part of all trades that are at most so large, and how large, in lots.
const QUANTILES: [(f64, f64); 25] = [
    (0.0, 1.0),
    (1.0 / 64.0, 2.0),
    (14.0 / 64.0, 2.0),
    (15.0 / 64.0, 3.0),
    (18.0 / 64.0, 3.0),
    (20.0 / 64.0, 4.0),
    (22.0 / 64.0, 5.0),
    (24.0 / 64.0, 7.0),
    (27.0 / 64.0, 10.0),
    (30.0 / 64.0, 13.0),
    (32.0 / 64.0, 16.0),
    (35.0 / 64.0, 22.0),
    (38.0 / 64.0, 29.0),
    (42.0 / 64.0, 40.0),
    (45.0 / 64.0, 58.0),
    (48.0 / 64.0, 81.0),
    (52.0 / 64.0, 120.0),
    (56.0 / 64.0, 200.0),
    (60.0 / 64.0, 403.0),
    (63.0 / 64.0, 944.0),
    (0.99, 1_146.0),
    (0.995, 1_972.0),
    (0.999, 5_904.0),
    (0.9999, 26_344.0),
    (1.0, 46_000.0),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_the_quantiles_of_the_feed() {
        let mut rng = Rng::new(4);
        let mut drawn: Vec<u64> = (0..100_000).map(|_| draw(&mut rng)).collect();
        drawn.sort_unstable();
        assert!(drawn.iter().all(|e8| e8 % LOT_E8 == 0 && *e8 > 0));
        assert!(*drawn.last().unwrap() <= 46_000 * LOT_E8);
        for (part, lots) in [(0.25, 3.0), (0.5, 16.0), (0.75, 81.0), (0.99, 1_146.0)] {
            let at = drawn[(part * drawn.len() as f64) as usize] / LOT_E8;
            let ratio = at as f64 / lots;
            assert!((0.85..1.18).contains(&ratio), "{part}: {at} lots");
        }
    }

    #[test]
    fn the_table_ascends() {
        assert!(QUANTILES.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert!(QUANTILES.windows(2).all(|pair| pair[0].1 <= pair[1].1));
    }
}
